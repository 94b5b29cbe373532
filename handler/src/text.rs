//! Text that came from outside, on its way into a type with one meaning.
//!
//! Promises: a type made by [`validated_text!`] holds only text that its grammar accepts, however it was made (parsed,
//! deserialized, converted); and what was refused is quoted in errors shortened and escaped, so that no event can fill
//! or forge a log.

use std::fmt;

/// Refused text as an error shows it: escaped, in quotes, at most 80 characters of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// Quotes `text`.
    pub fn of(text: &str) -> Self {
        const SHOWN: usize = 80;
        match text.char_indices().nth(SHOWN) {
            None => Self(format!("{text:?}")),
            Some((end, _)) => Self(format!("{:?}…", &text[..end])),
        }
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Declares a newtype around a `String` that `$check: fn(&str) -> Result<(), $error>` accepts, with `FromStr`,
/// `Display`, ordering and serde.
macro_rules! validated_text {
    ($(#[$meta:meta])* $name:ident, $error:ty, $check:path) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
pub(crate) use validated_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_text_is_shortened_and_escaped() {
        assert_eq!(Quoted::of("a\"b\nc").to_string(), r#""a\"b\nc""#);
        assert_eq!(Quoted::of(&"é".repeat(81)).to_string(), format!("\"{}\"…", "é".repeat(80)));
        assert_eq!(Quoted::of(&"é".repeat(80)).to_string(), format!("\"{}\"", "é".repeat(80)));
    }
}
