//! Registries and repositories of Amazon ECR.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::account::AccountId;
use crate::region::{Partition, Region};
use crate::text::{Quoted, validated_text};

validated_text! {
    /// A repository's name as ECR's API allows it: 2 to 256 characters of lower-case letters and digits, joined by
    /// single `.`, `_`, `-`, in parts joined by `/`.
    RepositoryName, RepositoryNameError, check
}

/// Why a text is no repository name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryNameError {
    /// Shorter than 2 or longer than 256 characters.
    #[error("repository name {0} is not 2 to 256 characters long")]
    Length(Quoted),
    /// A character or a sequence of characters that ECR does not allow.
    #[error("repository name {0} is not lower-case letters and digits joined by single '.', '_', '-' or '/'")]
    Malformed(Quoted),
}

fn check(text: &str) -> Result<(), RepositoryNameError> {
    if !(2..=256).contains(&text.len()) {
        return Err(RepositoryNameError::Length(Quoted::of(text)));
    }
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if text.split(['/', '.', '_', '-']).all(is_word) {
        Ok(())
    } else {
        Err(RepositoryNameError::Malformed(Quoted::of(text)))
    }
}

/// The registry of one account in one region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Registry {
    /// The account that holds it.
    pub account: AccountId,
    /// Where it is.
    pub region: Region,
}

impl Registry {
    /// The host that image references name this registry by, in one of its forms.
    pub fn host(&self, form: HostForm) -> String {
        let Self { account, region } = self;
        let suffix = form.suffix(region.partition());
        format!("{account}.{}.{region}.{suffix}", form.service_label())
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

/// The kinds of host name that every registry has. All of them lead to the same images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostForm {
    /// `ACCOUNT.dkr.ecr.REGION.amazonaws.com`
    Standard,
    /// `ACCOUNT.dkr.ecr-fips.REGION.amazonaws.com`
    Fips,
    /// `ACCOUNT.dkr-ecr.REGION.on.aws`
    DualStack,
    /// `ACCOUNT.dkr-ecr-fips.REGION.on.aws`
    DualStackFips,
}

impl HostForm {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Standard, Self::Fips, Self::DualStack, Self::DualStackFips];

    /// What stands between account and region.
    pub(crate) fn service_label(self) -> &'static str {
        match self {
            Self::Standard => "dkr.ecr",
            Self::Fips => "dkr.ecr-fips",
            Self::DualStack => "dkr-ecr",
            Self::DualStackFips => "dkr-ecr-fips",
        }
    }

    /// What stands after the region.
    pub(crate) fn suffix(self, partition: Partition) -> &'static str {
        match self {
            Self::Standard | Self::Fips => partition.dns_suffix(),
            Self::DualStack | Self::DualStackFips => partition.dual_stack_registry_suffix(),
        }
    }
}

/// A repository: its name and the registry that holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Repository {
    /// The registry that holds it.
    #[serde(flatten)]
    pub registry: Registry,
    /// Its name there.
    pub name: RepositoryName,
}

impl Repository {
    /// Its ARN, as `ecr:ListTagsForResource` wants it.
    pub fn arn(&self) -> String {
        let Registry { account, region } = &self.registry;
        format!("arn:{}:ecr:{region}:{account}:repository/{}", region.partition(), self.name)
    }

    /// Every text by which an image reference can name this repository: `HOST/NAME` for each form of host.
    pub fn spellings(&self) -> [String; HostForm::ALL.len()] {
        HostForm::ALL.map(|form| format!("{}/{}", self.registry.host(form), self.name))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_name_is_what_ecr_allows() {
        for (text, accepted) in [
            ("ab", true),
            ("team/shop-api", true),
            ("a/b.c_d-e/f0", true),
            ("a", false),
            ("", false),
            ("Team/api", false),
            ("team//api", false),
            ("/team", false),
            ("team/", false),
            ("team/-api", false),
            ("team--api", false),
            ("team/a'b", false),
            ("team/a%", false),
            ("team api", false),
        ] {
            assert_eq!(text.parse::<RepositoryName>().is_ok(), accepted, "{text}");
        }
        assert!("a".repeat(256).parse::<RepositoryName>().is_ok());
        assert!("a".repeat(257).parse::<RepositoryName>().is_err());
    }

    #[test]
    fn a_repository_is_spelled_by_every_host_of_its_partition() {
        let repository = |region: &str| Repository {
            registry: Registry { account: "111111111111".parse().unwrap(), region: region.parse().unwrap() },
            name: "team/api".parse().unwrap(),
        };
        assert_eq!(
            repository("eu-west-1").spellings(),
            [
                "111111111111.dkr.ecr.eu-west-1.amazonaws.com/team/api",
                "111111111111.dkr.ecr-fips.eu-west-1.amazonaws.com/team/api",
                "111111111111.dkr-ecr.eu-west-1.on.aws/team/api",
                "111111111111.dkr-ecr-fips.eu-west-1.on.aws/team/api",
            ]
        );
        assert_eq!(
            repository("cn-north-1").spellings(),
            [
                "111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn/team/api",
                "111111111111.dkr.ecr-fips.cn-north-1.amazonaws.com.cn/team/api",
                "111111111111.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn/team/api",
                "111111111111.dkr-ecr-fips.cn-north-1.on.amazonwebservices.com.cn/team/api",
            ]
        );
        assert_eq!(
            repository("us-gov-west-1").arn(),
            "arn:aws-us-gov:ecr:us-gov-west-1:111111111111:repository/team/api"
        );
    }

    #[test]
    fn a_repository_is_flat_in_json() {
        let json = r#"{"account":"111111111111","region":"eu-west-1","name":"team/api"}"#;
        let repository: Repository = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&repository).unwrap(), json);
        assert!(serde_json::from_str::<Repository>(&json.replace("team/api", "team/'")).is_err());
    }
}
