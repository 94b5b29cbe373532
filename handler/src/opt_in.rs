//! The tag by which a repository's owner lets its images be deleted.
//!
//! Promise: a repository takes part only when the tag is there and its value is exactly the expected one; whatever
//! else it says, or that cannot be read, means no.

use serde::{Deserialize, Serialize};

use crate::text::{Quoted, validated_text};

validated_text! {
    /// The key of a resource tag: 1 to 128 letters, digits, spaces and `_ . : / = + - @`, not beginning with `aws:`.
    TagKey, ResourceTagError, check_key
}

validated_text! {
    /// The value of a resource tag: up to 256 letters, digits, spaces and `_ . : / = + - @`.
    TagValue, ResourceTagError, check_value
}

/// Why a text is no key or value of a resource tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceTagError {
    /// The key is refused.
    #[error("tag key {0} is not 1 to 128 letters, digits, spaces and _ . : / = + - @, or begins with aws:")]
    Key(Quoted),
    /// The value is refused.
    #[error("tag value {0} is not up to 256 letters, digits, spaces and _ . : / = + - @")]
    Value(Quoted),
}

/// ASCII only: ECR allows letters of other alphabets too, which nobody needs here and which would count more than one
/// byte against the limits of what carries the settings.
fn allowed(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b" _.:/=+-@".contains(&b)
}

fn check_key(text: &str) -> Result<(), ResourceTagError> {
    let reserved = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
    if (1..=128).contains(&text.len()) && text.bytes().all(allowed) && !reserved {
        Ok(())
    } else {
        Err(ResourceTagError::Key(Quoted::of(text)))
    }
}

fn check_value(text: &str) -> Result<(), ResourceTagError> {
    if text.len() <= 256 && text.bytes().all(allowed) { Ok(()) } else { Err(ResourceTagError::Value(Quoted::of(text))) }
}

/// Which tag opts a repository in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OptInTag {
    /// The tag's key.
    pub key: TagKey,
    /// The value it must have; `enabled` if none is given.
    pub value: Option<TagValue>,
}

/// Whether a repository takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptIn {
    /// It has the tag with the expected value.
    In,
    /// It does not have the tag.
    NoTag,
    /// It has the tag with another value, here quoted.
    OtherValue(Quoted),
}

impl OptInTag {
    /// What the repository's tags (`(key, value)` pairs as ECR lists them) say. Keys and values are compared exactly, as
    /// ECR and IAM do.
    pub fn judge<'a>(&self, tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> OptIn {
        let expected = self.value.as_ref().map_or("enabled", TagValue::as_str);
        match tags.into_iter().find(|(key, _)| *key == self.key.as_str()) {
            None => OptIn::NoTag,
            Some((_, value)) if value == expected => OptIn::In,
            Some((_, value)) => OptIn::OtherValue(Quoted::of(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_expected_value_opts_in() {
        let tag = |value: Option<&str>| OptInTag {
            key: "ecr-cleanup".parse().unwrap(),
            value: value.map(|v| v.parse().unwrap()),
        };
        let other = |value| OptIn::OtherValue(Quoted::of(value));
        for (value, tags, expected) in [
            (None, vec![("ecr-cleanup", "enabled")], OptIn::In),
            (None, vec![("team", "shop"), ("ecr-cleanup", "enabled")], OptIn::In),
            (None, vec![("ecr-cleanup", "Enabled")], other("Enabled")),
            (None, vec![("ecr-cleanup", "")], other("")),
            (None, vec![("ecr-cleanup", "rollback-window-hours=1")], other("rollback-window-hours=1")),
            (None, vec![("Ecr-Cleanup", "enabled")], OptIn::NoTag),
            (None, vec![], OptIn::NoTag),
            (Some("yes"), vec![("ecr-cleanup", "yes")], OptIn::In),
            (Some("yes"), vec![("ecr-cleanup", "enabled")], other("enabled")),
            (Some(""), vec![("ecr-cleanup", "")], OptIn::In),
        ] {
            assert_eq!(tag(value).judge(tags.clone()), expected, "{value:?} {tags:?}");
        }
    }

    #[test]
    fn keys_and_values_are_what_ecr_allows() {
        for (key, accepted) in [
            ("ecr-cleanup", true),
            ("a b:c/d=e+f-g@h_i.j", true),
            ("", false),
            ("aws:x", false),
            ("a'b", false),
            ("a<b", false),
        ] {
            assert_eq!(key.parse::<TagKey>().is_ok(), accepted, "{key}");
        }
        assert!("a".repeat(129).parse::<TagKey>().is_err());
        assert!("a".repeat(256).parse::<TagValue>().is_ok());
        assert!("a".repeat(257).parse::<TagValue>().is_err());
        assert!("\"".parse::<TagValue>().is_err());
    }
}
