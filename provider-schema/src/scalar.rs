//! The validated scalars of the resource, one type for each meaning. A value of such a type is valid by construction.
//!
//! Each type's pattern, length or range is written once: [`std::str::FromStr`] (or `TryFrom<u32>`), serde and the JSON
//! Schema all use it. Sources of the patterns: the API models of the services that take the values.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use regex_lite::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A text or number that is not what its type demands. The message says what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got}")]
pub struct InvalidScalar {
    expected: &'static str,
    got: String,
}

impl InvalidScalar {
    fn text(expected: &'static str, got: &str) -> Self {
        const SHOWN: usize = 80;
        let cut: String = got.chars().take(SHOWN).collect();
        let ellipsis = if cut.len() < got.len() { "…" } else { "" };
        Self { expected, got: format!("{:?}{ellipsis}", cut) }
    }
}

macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident: $expected:literal, $length:expr, $pattern:literal;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The value as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidScalar;

            fn from_str(text: &str) -> Result<Self, InvalidScalar> {
                static PATTERN: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).unwrap());
                if $length.contains(&text.chars().count()) && PATTERN.is_match(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidScalar::text($expected, text))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidScalar;

            fn try_from(text: String) -> Result<Self, InvalidScalar> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": concat!($($doc),+).trim(),
                    "type": "string",
                    "minLength": $length.start(),
                    "maxLength": $length.end(),
                    "pattern": $pattern,
                })
            }
        }
    )+};
}

texts! {
    /// The name of an EcrCleanup; everything that it makes is named after it.
    Name: "a lower-case letter followed by at most 31 lower-case letters, digits and hyphens",
        1..=32, "^[a-z][a-z0-9-]{0,31}$";
    /// The id of an AWS account, 12 digits. In YAML, quote it: a leading zero is lost otherwise.
    AccountId: "an account id of 12 digits (quoted, or YAML drops a leading zero)",
        12..=12, "^[0-9]+$";
    /// An AWS Region, such as eu-west-1.
    Region: "an AWS Region such as eu-west-1",
        9..=20, "^[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}$";
    /// The id of an organization in AWS Organizations, such as o-a1b2c3d4e5.
    OrganizationId: "an organization id such as o-a1b2c3d4e5",
        12..=34, "^o-[a-z0-9]+$";
    /// The id of an organizational unit (ou-ab12-cd34ef56), or of the organization's root (r-ab12).
    OrganizationalUnitId: "an organizational unit id such as ou-ab12-cd34ef56, or a root id such as r-ab12",
        6..=68, "^(ou-[a-z0-9]{4,32}-[a-z0-9]{8,32}|r-[a-z0-9]{4,32})$";
    /// The ARN of an IAM role.
    RoleArn: "the ARN of an IAM role such as arn:aws:iam::111122223333:role/aggregator",
        20..=2048, "^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9/_+=,.@-]+$";
    /// The key of a tag on ECR repositories.
    TagKey: "a tag key of 1 to 128 letters, digits, spaces and _ . : / = + - @",
        1..=128, "^[A-Za-z0-9 _.:/=+@-]+$";
    /// The value of a tag on ECR repositories.
    TagValue: "a tag value of at most 256 letters, digits, spaces and _ . : / = + - @",
        0..=256, "^[A-Za-z0-9 _.:/=+@-]*$";
    /// An image tag in which * stands for any number of characters, at most four times, as in ECR lifecycle policies.
    TagPattern: "an image tag pattern of letters, digits, _ . - and at most four *",
        1..=128, r"^[A-Za-z0-9._-]*(\*[A-Za-z0-9._-]*){0,4}$";
    /// A task definition family in which * stands for any number of characters, at most four times.
    FamilyPattern: "a task definition family of letters, digits, _ - and at most four *",
        1..=255, r"^[A-Za-z0-9_-]*(\*[A-Za-z0-9_-]*){0,4}$";
    /// When opted-in repositories are swept: rate(N hours), rate(N days), a cron expression of EventBridge Scheduler in
    /// UTC, or off.
    SweepSchedule: "rate(N hours), rate(N days), a cron expression such as cron(0 3 * * ? *), or off",
        3..=256, r"^(off|rate\((1 hour|1 day|[1-9][0-9]{0,3} (hours|days))\)|cron\([A-Za-z0-9*?,/#L -]+\))$";
}

impl Name {
    /// The name of an EcrCleanup whose template gives none: the stack's name and the logical id, in lower case and with
    /// a hyphen for every other character. What does not fit 32 characters is cut, and then ends with a hyphen and the
    /// first 8 hexadecimal digits of the SHA-256 of `STACK/LOGICAL_ID`. The same input always gives the same name.
    pub fn derive(stack_name: &str, logical_id: &str) -> Self {
        const LENGTH: usize = 32;
        const HASH_DIGITS: usize = 8;
        let readable: String = format!("{stack_name}-{logical_id}")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        let readable = readable.trim_start_matches(|c: char| !c.is_ascii_lowercase());
        if (1..=LENGTH).contains(&readable.len()) {
            return Self(readable.to_owned());
        }
        let digest = Sha256::digest(format!("{stack_name}/{logical_id}"));
        let hash: String = digest.iter().take(HASH_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
        let kept = &readable[..readable.len().min(LENGTH - HASH_DIGITS - 1)];
        let kept = if kept.is_empty() { "x" } else { kept.trim_end_matches('-') };
        Self(format!("{kept}-{hash}"))
    }
}

macro_rules! numbers {
    ($($(#[doc = $doc:literal])+ $name:ident: $expected:literal, $range:expr;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u32", into = "u32")]
        pub struct $name(u32);

        impl $name {
            /// The value as a number.
            pub fn get(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = InvalidScalar;

            fn try_from(number: u32) -> Result<Self, InvalidScalar> {
                if $range.contains(&number) {
                    Ok(Self(number))
                } else {
                    Err(InvalidScalar { expected: $expected, got: number.to_string() })
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidScalar;

            fn from_str(text: &str) -> Result<Self, InvalidScalar> {
                let invalid = || InvalidScalar::text($expected, text);
                let digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
                let number: u32 = if digits_only { text.parse().map_err(|_| invalid())? } else { return Err(invalid()) };
                number.try_into().map_err(|_| invalid())
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> u32 {
                value.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": concat!($($doc),+).trim(),
                    "type": "integer",
                    "minimum": $range.start(),
                    "maximum": $range.end(),
                })
            }
        }
    )+};
}

numbers! {
    /// A rollback window in hours: at least one, at most a year.
    RollbackWindowHours: "a whole number of hours from 1 to 8760", 1..=8760;
    /// How long, in hours, an image stays after a recorded pull: at least one, at most a year.
    KeepPulledWithinHours: "a whole number of hours from 1 to 8760", 1..=8760;
    /// How long, in hours, after its push an image is checked that no task definition ever named: at least one, at most a
    /// year.
    NeverDeployedAfterHours: "a whole number of hours from 1 to 8760", 1..=8760;
    /// A number of revisions of a task definition, zero or more.
    RevisionCount: "a whole number from 0 to 1000000", 0..=1_000_000;
    /// A number of images, zero or more.
    ImageCount: "a whole number from 0 to 1000000", 0..=1_000_000;
    /// A share of the accounts in which something is done at once: at least one percent.
    ConcurrencyPercentage: "a whole number of percent from 1 to 100", 1..=100;
    /// A share of the accounts in which something may fail.
    TolerancePercentage: "a whole number of percent from 0 to 100", 0..=100;
    /// How long CloudFormation waits for an answer, in seconds.
    ServiceTimeout: "a whole number of seconds from 1 to 3600", 1..=3600;
}

impl Default for RollbackWindowHours {
    /// One day.
    fn default() -> Self {
        Self(24)
    }
}

impl Default for NeverDeployedAfterHours {
    /// Two weeks.
    fn default() -> Self {
        Self(336)
    }
}

impl Default for RevisionCount {
    /// None: no limit.
    fn default() -> Self {
        Self(0)
    }
}

impl Default for SweepSchedule {
    /// Once a day.
    fn default() -> Self {
        Self("rate(1 day)".to_owned())
    }
}

impl Default for ImageCount {
    /// None.
    fn default() -> Self {
        Self(0)
    }
}

impl Default for ConcurrencyPercentage {
    /// All of them.
    fn default() -> Self {
        Self(100)
    }
}

impl Default for TolerancePercentage {
    /// All of them.
    fn default() -> Self {
        Self(100)
    }
}

impl Default for ServiceTimeout {
    /// CloudFormation's own default, one hour.
    fn default() -> Self {
        Self(3600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every valid text is accepted and shown again unchanged, every invalid one refused, by the type and by its schema.
    fn check<T: FromStr<Err = InvalidScalar> + fmt::Display + JsonSchema>(valid: &[&str], invalid: &[&str]) {
        let schema = schemars::schema_for!(T);
        let validator = jsonschema::validator_for(schema.as_value()).unwrap();
        for text in valid {
            assert_eq!(text.parse::<T>().map(|value| value.to_string()), Ok((*text).to_owned()));
            assert!(validator.is_valid(&(*text).into()), "{} by its schema: {text:?}", T::schema_name());
        }
        for text in invalid {
            let problem = text.parse::<T>().map(|value| value.to_string()).expect_err(text);
            assert!(problem.to_string().contains("expected"), "{problem}");
            assert!(!validator.is_valid(&(*text).into()), "{} by its schema: {text:?}", T::schema_name());
        }
    }

    #[test]
    fn names() {
        let long = "a".repeat(32);
        let too_long = "a".repeat(33);
        check::<Name>(
            &["a", "prod", "prod-2", "a--b-", &long],
            &["", "Prod", "2nd", "-a", "a_b", "prod\n", "prod ", "é", &too_long],
        );
    }

    #[test]
    fn account_ids() {
        check::<AccountId>(
            &["111122223333", "000000000001"],
            &["", "11112222333", "1111222233334", "1111-2222-3333", "١١١١٢٢٢٢٣٣٣٣", "111122223333\n", " 111122223333"],
        );
    }

    #[test]
    fn regions() {
        check::<Region>(
            &["eu-west-1", "us-gov-east-1", "ap-southeast-12", "cn-northwest-1", "eusc-de-east-1", "us-isob-east-1"],
            &[
                "",
                "eu",
                "eu-west",
                "eu-west-",
                "EU-WEST-1",
                "eu_west_1",
                "eu-west-1a",
                "eu-west-123",
                "*",
                "mx-verylongregion-west-1",
            ],
        );
    }

    #[test]
    fn organizations_and_their_units() {
        check::<OrganizationId>(
            &["o-a1b2c3d4e5", "o-aa111bb222cc333dd444ee555ff666"],
            &["", "o-", "o-short", "O-A1B2C3D4E5", "ou-ab12-cd34ef56", "o-a1b2c3d4e5*"],
        );
        check::<OrganizationalUnitId>(
            &["ou-ab12-cd34ef56", "r-ab12", "ou-0123456789abcdef-0123456789abcdef"],
            &["", "r-", "r-a", "ou-ab12", "ou-ab12-cd34", "ou-ab12-cd34ef56/*", "OU-ab12-cd34ef56", "o-a1b2c3d4e5"],
        );
    }

    #[test]
    fn role_arns() {
        check::<RoleArn>(
            &[
                "arn:aws:iam::111122223333:role/aggregator",
                "arn:aws-us-gov:iam::111122223333:role/service-role/Config_1+=,.@-",
                "arn:aws-cn:iam::111122223333:role/r",
            ],
            &[
                "",
                "aggregator",
                "arn:aws:iam::111122223333:user/aggregator",
                "arn:aws:iam::1111:role/aggregator",
                "arn:aws:iam::111122223333:role/",
                "arn:aws:iam::111122223333:role/a*",
                "arn:gcp:iam::111122223333:role/aggregator",
            ],
        );
    }

    #[test]
    fn tags_of_repositories() {
        let longest_key = "k".repeat(128);
        let too_long_key = "k".repeat(129);
        check::<TagKey>(
            &["ecr-cleanup", "team:images/x =+@_.", &longest_key],
            &["", "a\"b", "a*", "a\nb", &too_long_key],
        );
        let longest_value = "v".repeat(256);
        let too_long_value = "v".repeat(257);
        check::<TagValue>(&["", "enabled", "a b=1", &longest_value], &["\"", "a,b", "{}", &too_long_value]);
    }

    #[test]
    fn image_tag_patterns() {
        let too_long = "a".repeat(129);
        check::<TagPattern>(
            &["*", "v1.*", "release-*", "*-*-*-*", "latest", "a_b.c-d*"],
            &["", "a b", "v1/*", "*****", "a*b*c*d*e*f", "é*", &too_long],
        );
    }

    #[test]
    fn family_patterns() {
        check::<FamilyPattern>(&["*", "web", "shop-*", "a_b-*-c"], &["", "a b", "web:1", "*****", "a.b"]);
    }

    #[test]
    fn sweep_schedules() {
        check::<SweepSchedule>(
            &[
                "off",
                "rate(1 hour)",
                "rate(1 day)",
                "rate(12 hours)",
                "rate(1 days)",
                "cron(0 3 * * ? *)",
                "cron(0 3 ? * MON-FRI *)",
            ],
            &[
                "",
                "Off",
                "rate(0 days)",
                "rate(5 minutes)",
                "rate(1 day) ",
                "at(2026-01-01T00:00:00)",
                "cron()",
                "daily",
                "rate(1.5 days)",
            ],
        );
    }

    #[test]
    fn numbers() {
        for (text, hours) in [("1", 1), ("24", 24), ("8760", 8760)] {
            assert_eq!(text.parse::<RollbackWindowHours>().map(RollbackWindowHours::get), Ok(hours));
        }
        for text in ["", "0", "8761", "-1", "+24", "24.0", "24h", "1e3", " 24", "99999999999999999999"] {
            assert!(text.parse::<RollbackWindowHours>().is_err(), "{text:?}");
        }
        assert_eq!("0".parse::<ImageCount>().map(ImageCount::get), Ok(0));
        assert!("1000001".parse::<ImageCount>().is_err());
        assert!("3601".parse::<ServiceTimeout>().is_err());
    }

    #[test]
    fn a_message_says_what_was_expected_and_what_came_and_is_cut() {
        let message = "x".repeat(1000).parse::<AccountId>().expect_err("not an account").to_string();
        assert!(message.starts_with("expected an account id of 12 digits") && message.contains("\"xxx"), "{message}");
        assert!(message.chars().count() < 200, "{message}");
    }

    #[test]
    fn derived_names_are_valid_and_readable_and_end_with_a_hash_when_cut() {
        let table = [
            ("registry", "EcrCleanup", "registry-ecrcleanup"),
            ("Prod-Images", "Cleanup", "prod-images-cleanup"),
            ("a", "b", "a-b"),
            ("exactly-sixteen1", "FifteenLetters1", "exactly-sixteen1-fifteenletters1"),
            ("one-more-sixteen1", "FifteenLetters1", "one-more-sixteen1-fifte-351612be"),
            ("", "EcrCleanup", "ecrcleanup"),
            ("1st", "EcrCleanup", "st-ecrcleanup"),
            ("", "", "x-8a5edab2"),
            ("日本", "", "x-99e3c23b"),
        ];
        let derived: Vec<_> = table.iter().map(|(stack, id, _)| Name::derive(stack, id).to_string()).collect();
        let expected: Vec<_> = table.iter().map(|(_, _, name)| (*name).to_owned()).collect();
        assert_eq!(derived, expected);
        for name in derived {
            assert_eq!(name.parse::<Name>().map(|name| name.to_string()), Ok(name));
        }
    }

    #[test]
    fn long_names_that_differ_at_the_end_stay_apart() {
        let stack = "a-stack-with-a-name-that-is-rather-long";
        assert_ne!(Name::derive(stack, "CleanupOne"), Name::derive(stack, "CleanupTwo"));
        assert_ne!(Name::derive(&format!("{stack}-1"), "C"), Name::derive(&format!("{stack}-2"), "C"));
    }
}
