//! The tag by which a repository's owner lets its images be deleted.
//!
//! What the tags of a repository say is judged in [`crate::check_images::policy`], the same way when a check is scheduled
//! and when it is due.

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
    /// The value it must have; `enabled`, or settings of the repository's own, if none is given.
    pub value: Option<TagValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

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
