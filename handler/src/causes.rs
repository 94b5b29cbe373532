//! Errors as a log line shows them: with everything that led to them.

use std::error::Error;
use std::fmt;

/// An error and all its sources, joined by `: `.
pub struct Causes<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the batch failed")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn an_error_is_shown_with_its_sources() {
        let error = Outer("x".parse::<u8>().unwrap_err());
        assert_eq!(Causes(&error).to_string(), "the batch failed: invalid digit found in string");
    }
}
