//! Whether a tag may move: the four kinds of tag mutability.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Home, INVALID, invalid};
use crate::World;
use crate::input::read;
use crate::operation::{Call, ServiceError};

/// A repository's rule for its tags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mutability {
    kind: Kind,
    filters: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Kind {
    #[default]
    Mutable,
    Immutable,
    ImmutableWithExclusion,
    MutableWithExclusion,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Filter {
    filter_type: FilterType,
    filter: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum FilterType {
    Wildcard,
}

impl Mutability {
    /// The rule, if kind and filters fit together: filters belong to the kinds with exclusion, one to five of them, each of
    /// up to 128 characters with at most two wildcards (ECR user guide, "Preventing image tags from being overwritten").
    pub(super) fn new(kind: Option<Kind>, filters: Option<Vec<Filter>>) -> Result<Self, ServiceError> {
        let kind = kind.unwrap_or_default();
        let filters: Vec<String> = filters
            .unwrap_or_default()
            .into_iter()
            .map(|Filter { filter_type: FilterType::Wildcard, filter }| filter)
            .collect();
        let excluding = matches!(kind, Kind::ImmutableWithExclusion | Kind::MutableWithExclusion);
        if excluding == filters.is_empty() || filters.len() > 5 {
            return Err(invalid(
                "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: '1 to 5 filters, and only with an exclusion'",
            ));
        }
        let well_formed = |filter: &&String| {
            (1..=128).contains(&filter.len())
                && filter.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'*'))
                && filter.bytes().filter(|b| *b == b'*').count() <= 2
        };
        if let Some(bad) = filters.iter().find(|filter| !well_formed(filter)) {
            return Err(invalid(format!(
                "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: '{bad}'"
            )));
        }
        Ok(Self { kind, filters })
    }

    /// Whether the tag may be moved to another image.
    pub(super) fn may_move(&self, tag: &str) -> bool {
        let excluded = || self.filters.iter().any(|filter| wildcard_matches(filter, tag));
        match self.kind {
            Kind::Mutable => true,
            Kind::Immutable => false,
            Kind::ImmutableWithExclusion => excluded(),
            Kind::MutableWithExclusion => !excluded(),
        }
    }

    /// Writes the members that a repository's description has for it.
    pub(super) fn write(&self, members: &mut Map<String, Value>) {
        members.insert("imageTagMutability".to_owned(), json!(self.kind));
        if !self.filters.is_empty() {
            let filters: Vec<_> =
                self.filters.iter().map(|filter| json!({"filterType": "WILDCARD", "filter": filter})).collect();
            members.insert("imageTagMutabilityExclusionFilters".to_owned(), Value::from(filters));
        }
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any characters.
fn wildcard_matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).any(|skip| rest.is_char_boundary(skip) && wildcard_matches(after, &rest[skip..]))
        }),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutImageTagMutability {
    registry_id: Option<String>,
    repository_name: String,
    image_tag_mutability: Kind,
    image_tag_mutability_exclusion_filters: Option<Vec<Filter>>,
}

pub(super) fn put(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: PutImageTagMutability = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    let mutability = Mutability::new(Some(input.image_tag_mutability), input.image_tag_mutability_exclusion_filters)?;
    let repository = world.ecr.repository_mut(&home, &input.repository_name)?;
    let mut answer = Map::new();
    answer.insert("registryId".to_owned(), json!(home.account.as_str()));
    answer.insert("repositoryName".to_owned(), json!(input.repository_name));
    mutability.write(&mut answer);
    repository.mutability = mutability;
    Ok(Value::Object(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_kinds_decide_which_tags_may_move() {
        let filter = |filter: &str| Filter { filter_type: FilterType::Wildcard, filter: filter.to_owned() };
        for (kind, filters, latest, dev) in [
            (Kind::Mutable, None, true, true),
            (Kind::Immutable, None, false, false),
            (Kind::ImmutableWithExclusion, Some(vec![filter("dev-*")]), false, true),
            (Kind::MutableWithExclusion, Some(vec![filter("dev-*")]), true, false),
            (Kind::ImmutableWithExclusion, Some(vec![filter("x"), filter("*-17")]), false, true),
        ] {
            let mutability = Mutability::new(Some(kind), filters).unwrap();
            assert_eq!((mutability.may_move("latest"), mutability.may_move("dev-17")), (latest, dev), "{mutability:?}");
        }
    }

    #[test]
    fn filters_and_kind_must_fit() {
        let filter = |filter: &str| Filter { filter_type: FilterType::Wildcard, filter: filter.to_owned() };
        for (kind, filters) in [
            (Kind::Mutable, Some(vec![filter("dev-*")])),
            (Kind::Immutable, Some(vec![filter("dev-*")])),
            (Kind::ImmutableWithExclusion, None),
            (Kind::MutableWithExclusion, Some(vec![filter("*a*b*")])),
            (Kind::MutableWithExclusion, Some(vec![filter("a/b")])),
            (Kind::MutableWithExclusion, Some(vec![filter("a"); 6])),
        ] {
            assert_eq!(Mutability::new(Some(kind), filters).unwrap_err().code, INVALID);
        }
    }
}
