//! Patterns for image tags, with the wildcard `*` as in the `tagPatternList` of ECR lifecycle policies: it stands for
//! any characters or none, at most four times.

use crate::image::Tag;
use crate::text::{Quoted, validated_text};

validated_text! {
    /// A pattern: up to 128 of a tag's characters, and `*`.
    TagPattern, TagPatternError, check
}

/// Why a text is no tag pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagPatternError {
    /// Empty, too long or with a character that no tag has.
    #[error("tag pattern {0} is not 1 to 128 letters, digits, '_', '.', '-' and '*'")]
    Malformed(Quoted),
    /// More than four wildcards.
    #[error("tag pattern {0} has more than four wildcards")]
    Wildcards(Quoted),
}

fn check(text: &str) -> Result<(), TagPatternError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-*".contains(&b);
    if !(1..=128).contains(&text.len()) || !text.bytes().all(allowed) {
        return Err(TagPatternError::Malformed(Quoted::of(text)));
    }
    if text.bytes().filter(|&b| b == b'*').count() > 4 {
        return Err(TagPatternError::Wildcards(Quoted::of(text)));
    }
    Ok(())
}

impl TagPattern {
    /// Whether the whole tag fits the pattern.
    pub fn matches(&self, tag: &Tag) -> bool {
        fits(self.as_str(), tag.as_str())
    }
}

/// Whether the whole text fits a pattern in which `*` stands for any characters or none.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or("");
    // The leftmost place for each part leaves the most room for those that follow.
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wildcard_stands_for_any_characters_or_none() {
        for (pattern, tag, expected) in [
            ("prod", "prod", true),
            ("prod", "prod1", false),
            ("prod*", "prod", true),
            ("prod*", "prod-1", true),
            ("prod*", "a-prod", false),
            ("*prod", "a-prod", true),
            ("*prod", "prod-a", false),
            ("*", "anything", true),
            ("v*.0", "v1.0", true),
            ("v*.0", "v.0", true),
            ("v*.0", "v0", false),
            ("a*a", "a", false),
            ("a*ab*b", "aabb", true),
            ("a*ab*b", "aab", false),
            ("*test*1*2", "xtesty1z2", true),
            ("*test*1*2", "xtesty2z1", false),
            ("a**b", "ab", true),
        ] {
            let matched = pattern.parse::<TagPattern>().unwrap().matches(&tag.parse().unwrap());
            assert_eq!(matched, expected, "{pattern} {tag}");
        }
    }

    #[test]
    fn a_pattern_is_what_lifecycle_policies_allow() {
        for (pattern, accepted) in [
            ("*", true),
            ("*a*b*c*", true),
            ("*a*b*c*d*", false),
            ("", false),
            ("a?", false),
            ("a'b", false),
            ("a%", false),
        ] {
            assert_eq!(pattern.parse::<TagPattern>().is_ok(), accepted, "{pattern}");
        }
    }

    /// The textbook definition, slow and obvious.
    fn matches_by_definition(pattern: &[u8], tag: &[u8]) -> bool {
        match pattern.split_first() {
            None => tag.is_empty(),
            Some((b'*', rest)) => (0..=tag.len()).any(|n| matches_by_definition(rest, &tag[n..])),
            Some((c, rest)) => tag.first() == Some(c) && matches_by_definition(rest, &tag[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_follows_the_definition(pattern in r"[ab]{0,3}(\*[ab]{0,3}){0,4}", tag in "[ab]{1,12}") {
            prop_assume!(!pattern.is_empty());
            let matched = pattern.parse::<TagPattern>().unwrap().matches(&tag.parse().unwrap());
            prop_assert_eq!(matched, matches_by_definition(pattern.as_bytes(), tag.as_bytes()));
        }
    }
}
