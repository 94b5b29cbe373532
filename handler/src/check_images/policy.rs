//! The rules that a verdict obeys: those of the EcrCleanup, made stricter by a repository's own opt-in tag.
//!
//! Of the two the more cautious value always holds, so a tag never undoes `DryRun: true` and never shortens a window.
//! A tag value that does not parse takes part with nothing: [`Participation::Unreadable`] keeps every image.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::evidence::Participation;
use crate::image::Tag;
use crate::opt_in::OptInTag;
use crate::settings::{Action, Handling, Settings};
use crate::tag_pattern::TagPattern;

/// Under which rules an image is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    rollback_window: SignedDuration,
    keep_pulled: SignedDuration,
    keep_newest: usize,
    keep_tag_patterns: Vec<TagPattern>,
    dry_run: bool,
    ecs_only: bool,
    archives: bool,
    never_deployed: Handling,
    never_deployed_after: SignedDuration,
    untagged: Handling,
}

impl Policy {
    /// The rules that an EcrCleanup's settings make.
    pub fn of(settings: &Settings) -> Self {
        let newest = settings.keep_newest_images as usize;
        Self::new(settings.rollback_window(), newest, settings.keep_tag_patterns.clone(), settings.dry_run)
            .keeping_pulled(settings.keep_pulled_within())
            .archiving(settings.action == Action::Archive)
            .handling_never_deployed(settings.never_deployed_images, settings.never_deployed_after())
            .handling_untagged(settings.untagged_images)
    }

    /// The rules of an EcrCleanup: the rollback window, how many newest images stay, which tags protect (`*` stands for
    /// any characters), and whether anything is deleted at all.
    pub fn new(
        rollback_window: SignedDuration,
        keep_newest: usize,
        keep_tag_patterns: Vec<TagPattern>,
        dry_run: bool,
    ) -> Self {
        Self {
            rollback_window,
            keep_pulled: rollback_window,
            keep_newest,
            keep_tag_patterns,
            dry_run,
            ecs_only: false,
            archives: false,
            never_deployed: Handling::Check,
            never_deployed_after: SignedDuration::ZERO,
            untagged: Handling::Check,
        }
    }

    /// These rules with a time that an image stays after a recorded pull; the rollback window, if that is longer.
    #[must_use]
    pub fn keeping_pulled(self, keep_pulled: SignedDuration) -> Self {
        Self { keep_pulled: keep_pulled.max(self.rollback_window), ..self }
    }

    /// These rules with images archived (or else deleted).
    #[must_use]
    pub fn archiving(self, archives: bool) -> Self {
        Self { archives, ..self }
    }

    /// These rules with what becomes of images that no task definition ever named, and from which age they are checked.
    #[must_use]
    pub fn handling_never_deployed(self, never_deployed: Handling, never_deployed_after: SignedDuration) -> Self {
        Self { never_deployed, never_deployed_after, ..self }
    }

    /// These rules with what becomes of untagged images that belong to no index and no subject.
    #[must_use]
    pub fn handling_untagged(self, untagged: Handling) -> Self {
        Self { untagged, ..self }
    }

    /// Whether unused images are archived and not deleted.
    pub fn archives(&self) -> bool {
        self.archives
    }

    /// These rules for a repository with settings of its own; the more cautious of each holds.
    #[must_use]
    pub fn with(&self, repository: &RepositorySettings) -> Self {
        let rollback_window = self.rollback_window.max(repository.rollback_window.unwrap_or(SignedDuration::ZERO));
        Self {
            rollback_window,
            keep_pulled: self
                .keep_pulled
                .max(repository.keep_pulled.unwrap_or(SignedDuration::ZERO))
                .max(rollback_window),
            keep_newest: self.keep_newest.max(repository.keep_newest.unwrap_or(0)),
            keep_tag_patterns: self.keep_tag_patterns.clone(),
            dry_run: self.dry_run || repository.dry_run,
            // Only the repository's owner can say that none but ECS pulls from it.
            ecs_only: repository.ecs_only,
            archives: self.archives,
            never_deployed: self.never_deployed,
            never_deployed_after: self.never_deployed_after,
            untagged: self.untagged,
        }
    }

    /// Whether images stay that no task definition ever named.
    pub fn keeps_never_deployed(&self) -> bool {
        self.never_deployed == Handling::Keep
    }

    /// How long after its push an image stays at least that no task definition ever named.
    pub fn never_deployed_after(&self) -> SignedDuration {
        self.never_deployed_after
    }

    /// Whether untagged images stay that belong to no index and no subject.
    pub fn keeps_untagged(&self) -> bool {
        self.untagged == Handling::Keep
    }

    /// How long after the last change that concerns an image it stays at least.
    pub fn rollback_window(&self) -> SignedDuration {
        self.rollback_window
    }

    /// How long after a recorded pull an image stays at least; never less than the rollback window.
    pub fn keep_pulled(&self) -> SignedDuration {
        self.keep_pulled
    }

    /// How many of the newest images of a repository are never deleted.
    pub fn keep_newest(&self) -> usize {
        self.keep_newest
    }

    /// Whether to decide and report only.
    pub fn dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether the repository's owner says that nothing but ECS pulls from it.
    pub fn ecs_only(&self) -> bool {
        self.ecs_only
    }

    /// Whether a tag protects its image.
    pub fn protects(&self, tag: &Tag) -> bool {
        self.keep_tag_patterns.iter().any(|pattern| pattern.matches(tag))
    }
}

/// What a repository's opt-in tag sets for that repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositorySettings {
    rollback_window: Option<SignedDuration>,
    keep_pulled: Option<SignedDuration>,
    keep_newest: Option<usize>,
    dry_run: bool,
    ecs_only: bool,
}

/// What a repository's `tags` say about taking part.
///
/// Without a required value the tag's value is `enabled`, or settings separated by spaces:
/// `rollback-window-hours=72 keep-newest=5 keep-pulled-within-hours=48 dry-run=true ecs-only=true`.
pub fn participation(tag: &OptInTag, tags: &BTreeMap<String, String>) -> Participation {
    let Some(actual) = tags.get(tag.key.as_str()) else { return Participation::Out };
    match &tag.value {
        Some(required) if actual == required.as_str() => Participation::In(RepositorySettings::default()),
        Some(_) => Participation::Out,
        None => match RepositorySettings::parse(actual) {
            Ok(settings) => Participation::In(settings),
            Err(reason) => Participation::Unreadable { reason },
        },
    }
}

impl RepositorySettings {
    fn parse(value: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        if value == "enabled" {
            return Ok(settings);
        }
        let mut seen = std::collections::BTreeSet::new();
        for word in value.split(' ').filter(|word| !word.is_empty()) {
            let (name, setting) =
                word.split_once('=').ok_or_else(|| format!("`{word}` is not of the form name=value"))?;
            if !seen.insert(name) {
                return Err(format!("`{name}` is set twice"));
            }
            match name {
                "rollback-window-hours" => settings.rollback_window = Some(hours(name, setting)?),
                "keep-pulled-within-hours" => settings.keep_pulled = Some(hours(name, setting)?),
                "keep-newest" => {
                    settings.keep_newest =
                        Some(setting.parse::<u32>().map_err(|_| format!("`{name}` is not a number: `{setting}`"))?
                            as usize);
                }
                "dry-run" => settings.dry_run = truth(name, setting)?,
                "ecs-only" => settings.ecs_only = truth(name, setting)?,
                _ => return Err(format!("`{name}` is not a setting")),
            }
        }
        if seen.is_empty() { Err("it is empty; `enabled` would take part".into()) } else { Ok(settings) }
    }
}

fn hours(name: &str, value: &str) -> Result<SignedDuration, String> {
    match value.parse::<u16>() {
        Ok(hours @ 1..=8760) => Ok(SignedDuration::from_hours(i64::from(hours))),
        _ => Err(format!("`{name}` is not a number of hours from 1 to 8760: `{value}`")),
    }
}

fn truth(name: &str, value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("`{name}` is neither true nor false: `{value}`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opt_in(key: &str, value: Option<&str>, tags: &BTreeMap<String, String>) -> Participation {
        let tag = OptInTag { key: key.parse().unwrap(), value: value.map(|value| value.parse().unwrap()) };
        participation(&tag, tags)
    }

    fn tags(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("ecr-cleanup".to_owned(), value.to_owned())])
    }

    #[test]
    fn a_repository_takes_part_only_with_the_tag_and_the_value_asked_for() {
        assert_eq!(opt_in("ecr-cleanup", None, &BTreeMap::new()), Participation::Out);
        assert_eq!(opt_in("ecr-cleanup", None, &tags("enabled")), Participation::In(RepositorySettings::default()));
        assert_eq!(opt_in("ecr-cleanup", Some("yes"), &tags("enabled")), Participation::Out);
        assert_eq!(opt_in("ecr-cleanup", Some("yes"), &tags("yes")), Participation::In(RepositorySettings::default()));
        assert_eq!(opt_in("other", None, &tags("enabled")), Participation::Out);
    }

    #[test]
    fn settings_in_a_tag_are_read_and_anything_else_is_refused() {
        let all = "rollback-window-hours=72 keep-newest=5 keep-pulled-within-hours=48 dry-run=true ecs-only=true";
        assert_eq!(
            opt_in("ecr-cleanup", None, &tags(all)),
            Participation::In(RepositorySettings {
                rollback_window: Some(SignedDuration::from_hours(72)),
                keep_pulled: Some(SignedDuration::from_hours(48)),
                keep_newest: Some(5),
                dry_run: true,
                ecs_only: true,
            })
        );
        for value in [
            "",
            " ",
            "Enabled",
            "true",
            "enabled keep-newest=5",
            "keep-newest=-1",
            "keep-newest=5 keep-newest=6",
            "rollback-window-hours=0",
            "rollback-window-hours=8761",
            "dry-run=yes",
            "delete-everything=true",
        ] {
            assert!(matches!(opt_in("ecr-cleanup", None, &tags(value)), Participation::Unreadable { .. }), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_tag_values_are_read_or_say_why_not(value in ".{0,256}") {
            match opt_in("ecr-cleanup", None, &tags(&value)) {
                Participation::In(_) => prop_assert!(value == "enabled" || value.contains('=')),
                Participation::Unreadable { reason } => prop_assert!(!reason.is_empty()),
                Participation::Out => prop_assert!(false, "the tag is there"),
            }
        }

        #[test]
        fn no_tag_value_makes_the_policy_less_cautious(
            window in 1i64..8760, newest in 0usize..50, dry_run: bool,
            value in "(rollback-window-hours=[0-9]{1,4} ?|keep-newest=[0-9]{1,3} ?|dry-run=(true|false) ?|ecs-only=true ?|.){0,4}",
        ) {
            let policy = Policy::new(SignedDuration::from_hours(window), newest, vec![], dry_run);
            if let Participation::In(settings) = opt_in("ecr-cleanup", None, &tags(&value)) {
                let strict = policy.with(&settings);
                prop_assert!(strict.rollback_window() >= policy.rollback_window());
                prop_assert!(strict.keep_pulled() >= strict.rollback_window());
                prop_assert!(strict.keep_newest() >= newest);
                prop_assert!(strict.dry_run() || !dry_run);
            }
        }
    }
}
