//! The id of an AWS account.

use crate::text::{Quoted, validated_text};

validated_text! {
    /// Twelve digits, kept as text because leading zeros count.
    AccountId, AccountIdError, check
}

/// Why a text is no account id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountIdError {
    /// Not exactly twelve ASCII digits.
    #[error("account id {0} is not twelve digits")]
    NotTwelveDigits(Quoted),
}

fn check(text: &str) -> Result<(), AccountIdError> {
    if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err(AccountIdError::NotTwelveDigits(Quoted::of(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_id_is_twelve_digits() {
        for (text, accepted) in [
            ("123456789012", true),
            ("000000000001", true),
            ("", false),
            ("12345678901", false),
            ("1234567890123", false),
            ("12345678901a", false),
            ("12345678901'", false),
            ("١٢٣٤٥٦", false),
        ] {
            assert_eq!(text.parse::<AccountId>().is_ok(), accepted, "{text}");
        }
        assert!(serde_json::from_str::<AccountId>("\"12\"").is_err());
    }
}
