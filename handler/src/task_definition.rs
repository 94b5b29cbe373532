//! The name of one revision of an ECS task definition.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::account::{AccountId, AccountIdError};
use crate::region::{Region, RegionError};
use crate::tag_pattern::fits;
use crate::text::{Quoted, validated_text};

validated_text! {
    /// A task definition's family: 1 to 255 letters, digits, `_` and `-`.
    Family, FamilyError, check_family
}

/// Why a text is no family.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FamilyError {
    /// Not 1 to 255 letters, digits, `_` and `-`.
    #[error("task definition family {0} is not 1 to 255 letters, digits, '_' and '-'")]
    Malformed(Quoted),
}

fn check_family(text: &str) -> Result<(), FamilyError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if (1..=255).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(())
    } else {
        Err(FamilyError::Malformed(Quoted::of(text)))
    }
}

validated_text! {
    /// A pattern for families: up to 255 of a family's characters, and at most four times `*` for any of them or none.
    FamilyPattern, FamilyPatternError, check_family_pattern
}

/// Why a text is no pattern for families.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FamilyPatternError {
    /// Not as above.
    #[error("family pattern {0} is not 1 to 255 letters, digits, '_' and '-', and at most four '*'")]
    Malformed(Quoted),
}

fn check_family_pattern(text: &str) -> Result<(), FamilyPatternError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'*');
    let wildcards = text.bytes().filter(|&b| b == b'*').count();
    if (1..=255).contains(&text.len()) && text.bytes().all(allowed) && wildcards <= 4 {
        Ok(())
    } else {
        Err(FamilyPatternError::Malformed(Quoted::of(text)))
    }
}

impl FamilyPattern {
    /// Whether the whole family fits the pattern.
    pub fn matches(&self, family: &Family) -> bool {
        fits(self.as_str(), family.as_str())
    }
}

/// `arn:PARTITION:ecs:REGION:ACCOUNT:task-definition/FAMILY:REVISION`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TaskDefinitionArn {
    /// Where it is registered.
    pub region: Region,
    /// The account it is registered in.
    pub account: AccountId,
    /// Its family.
    pub family: Family,
    /// Which revision of the family, from 1.
    pub revision: NonZeroU32,
}

/// Why a text is no ARN of a task definition's revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskDefinitionArnError {
    /// Not of the form above.
    #[error("{0} is not the ARN of a task definition with a revision")]
    Malformed(Quoted),
    /// The region is not in the ARN's partition.
    #[error("task definition {arn}: region {region} is not in the ARN's partition")]
    Partition {
        /// The ARN.
        arn: Quoted,
        /// Its region.
        region: Region,
    },
    /// The region is refused.
    #[error("task definition {arn}: {source}")]
    Region {
        /// The ARN.
        arn: Quoted,
        /// What is wrong.
        source: RegionError,
    },
    /// The account is refused.
    #[error("task definition {arn}: {source}")]
    Account {
        /// The ARN.
        arn: Quoted,
        /// What is wrong.
        source: AccountIdError,
    },
    /// The family is refused.
    #[error("task definition {arn}: {source}")]
    Family {
        /// The ARN.
        arn: Quoted,
        /// What is wrong.
        source: FamilyError,
    },
}

impl TaskDefinitionArn {
    /// The account and region in which it is registered, and the only ones in which it can run.
    pub fn place(&self) -> (AccountId, Region) {
        (self.account.clone(), self.region.clone())
    }
}

impl FromStr for TaskDefinitionArn {
    type Err = TaskDefinitionArnError;

    fn from_str(text: &str) -> Result<Self, TaskDefinitionArnError> {
        let arn = || Quoted::of(text);
        let malformed = || TaskDefinitionArnError::Malformed(arn());
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "ecs", region, account, resource, revision] = parts[..] else {
            return Err(malformed());
        };
        let family = resource.strip_prefix("task-definition/").ok_or_else(malformed)?;
        // A sign or a leading zero would make two texts for one revision.
        if !revision.starts_with(|c: char| c.is_ascii_digit() && c != '0') {
            return Err(malformed());
        }
        let revision = revision.parse().map_err(|_| malformed())?;
        let region: Region = region.parse().map_err(|source| TaskDefinitionArnError::Region { arn: arn(), source })?;
        if region.partition().as_str() != partition {
            return Err(TaskDefinitionArnError::Partition { arn: arn(), region });
        }
        let account = account.parse().map_err(|source| TaskDefinitionArnError::Account { arn: arn(), source })?;
        let family = family.parse().map_err(|source| TaskDefinitionArnError::Family { arn: arn(), source })?;
        Ok(Self { region, account, family, revision })
    }
}

impl fmt::Display for TaskDefinitionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, account, family, revision } = self;
        write!(f, "arn:{}:ecs:{region}:{account}:task-definition/{family}:{revision}", region.partition())
    }
}

impl TryFrom<String> for TaskDefinitionArn {
    type Error = TaskDefinitionArnError;

    fn try_from(text: String) -> Result<Self, TaskDefinitionArnError> {
        text.parse()
    }
}

impl From<TaskDefinitionArn> for String {
    fn from(arn: TaskDefinitionArn) -> String {
        arn.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_arn_is_read_in_every_partition() {
        for text in [
            "arn:aws:ecs:eu-west-1:222222222222:task-definition/shop-api_1:12",
            "arn:aws-cn:ecs:cn-north-1:222222222222:task-definition/shop:1",
            "arn:aws-us-gov:ecs:us-gov-west-1:222222222222:task-definition/shop:1",
            "arn:aws-eusc:ecs:eusc-de-east-1:222222222222:task-definition/shop:4294967295",
        ] {
            assert_eq!(text.parse::<TaskDefinitionArn>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "is not the ARN"),
            ("shop:1", "is not the ARN"),
            ("arn:aws:ecs:eu-west-1:222222222222:task-definition/shop", "is not the ARN"),
            ("arn:aws:ecs:eu-west-1:222222222222:task-definition/shop:0", "is not the ARN"),
            ("arn:aws:ecs:eu-west-1:222222222222:task-definition/shop:01", "is not the ARN"),
            ("arn:aws:ecs:eu-west-1:222222222222:task-definition/shop:+1", "is not the ARN"),
            ("arn:aws:ecs:eu-west-1:222222222222:task-definition/shop:4294967296", "is not the ARN"),
            ("arn:aws:ecs:eu-west-1:222222222222:service/shop:1", "is not the ARN"),
            ("arn:aws:ec2:eu-west-1:222222222222:task-definition/shop:1", "is not the ARN"),
            ("arn:aws:ecs:cn-north-1:222222222222:task-definition/shop:1", "partition"),
            ("arn:aws:ecs:nowhere:222222222222:task-definition/shop:1", "region"),
            ("arn:aws:ecs:eu-west-1:22:task-definition/shop:1", "twelve digits"),
            ("arn:aws:ecs:eu-west-1:222222222222:task-definition/sh'op:1", "family"),
            ("arn:aws:ecs:eu-west-1:222222222222:task-definition/:1", "family"),
        ] {
            let error = text.parse::<TaskDefinitionArn>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics_and_accepted_text_prints_as_read(text in r"(\PC{0,40}|arn:(aws|aws-cn):ecs:(eu-west-1|cn-north-1):[0-9]{11,12}:task-definition/[a-zA-Z_'%-]{0,9}:[0-9+]{0,11})") {
            if let Ok(arn) = text.parse::<TaskDefinitionArn>() {
                prop_assert_eq!(arn.to_string(), text);
            }
        }
    }
}
