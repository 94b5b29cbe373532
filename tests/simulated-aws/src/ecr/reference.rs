//! Image references, in every spelling under which ECR serves an image.

use crate::identity::{AccountId, Region};

/// A reference to an image in a private ECR registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    /// The registry's account.
    pub account: AccountId,
    /// The registry's region.
    pub region: Region,
    /// The repository.
    pub repository: String,
    /// The tag; `latest` if the text has neither tag nor digest.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<String>,
}

/// The domains behind `.dkr.ecr.REGION.` and `.dkr.ecr-fips.REGION.`, one for each partition.
const DOMAINS: [&str; 7] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "sc2s.sgov.gov",
    "c2s.ic.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];

/// The domains of the dual-stack hosts.
const DUAL_STACK_DOMAINS: [&str; 2] = ["on.aws", "on.amazonwebservices.com.cn"];

impl ImageReference {
    /// Reads a reference as a container runtime does; `None` if the host is not a private ECR registry's.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, rest) = text.split_once('/')?;
        let (account, region) = registry_of(host)?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (rest, None),
        };
        // A colon after the last slash begins the tag.
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (rest, None),
        };
        let tag = if tag.is_none() && digest.is_none() { Some("latest".to_owned()) } else { tag };
        Some(Self { account, region, repository: repository.to_owned(), tag, digest })
    }
}

fn registry_of(host: &str) -> Option<(AccountId, Region)> {
    let (account, rest) = host.split_once('.')?;
    let account = AccountId::new(account)?;
    let classic = rest.strip_prefix("dkr.ecr.").or_else(|| rest.strip_prefix("dkr.ecr-fips."));
    let dual_stack = rest.strip_prefix("dkr-ecr.").or_else(|| rest.strip_prefix("dkr-ecr-fips."));
    let (region, domains) = match (classic, dual_stack) {
        (Some(rest), _) => (rest, &DOMAINS[..]),
        (_, Some(rest)) => (rest, &DUAL_STACK_DOMAINS[..]),
        _ => return None,
    };
    let (region, domain) = region.split_once('.')?;
    domains.contains(&domain).then_some(())?;
    Some((account, Region::new(region)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn every_host_spelling_is_the_same_registry() {
        for host in [
            "111111111111.dkr.ecr.eu-west-1.amazonaws.com",
            "111111111111.dkr.ecr-fips.eu-west-1.amazonaws.com",
            "111111111111.dkr-ecr.eu-west-1.on.aws",
            "111111111111.dkr-ecr-fips.eu-west-1.on.aws",
        ] {
            let parsed = ImageReference::parse(&format!("{host}/team/app:1.0")).unwrap();
            assert_eq!(parsed.account.as_str(), "111111111111");
            assert_eq!(parsed.region.as_str(), "eu-west-1");
            assert_eq!((parsed.repository.as_str(), parsed.tag.as_deref()), ("team/app", Some("1.0")));
        }
    }

    #[test]
    fn tag_and_digest_are_told_apart() {
        let host = "111111111111.dkr.ecr.eu-west-1.amazonaws.com";
        for (rest, tag, digest) in [
            ("app".to_owned(), Some("latest"), None),
            ("app:v1".to_owned(), Some("v1"), None),
            (format!("app@{DIGEST}"), None, Some(DIGEST)),
            (format!("app:v1@{DIGEST}"), Some("v1"), Some(DIGEST)),
        ] {
            let parsed = ImageReference::parse(&format!("{host}/{rest}")).unwrap();
            assert_eq!(parsed.repository, "app");
            assert_eq!((parsed.tag.as_deref(), parsed.digest.as_deref()), (tag, digest), "{rest}");
        }
    }

    #[test]
    fn other_registries_are_none_of_ours() {
        for text in [
            "nginx:1.27",
            "public.ecr.aws/docker/library/nginx:1",
            "11111111111.dkr.ecr.eu-west-1.amazonaws.com/short-account",
            "111111111111.dkr.ecr.eu-west-1.example.com/app",
            "111111111111.dkr-ecr.eu-west-1.amazonaws.com/mixed",
        ] {
            assert_eq!(ImageReference::parse(text), None, "{text}");
        }
    }
}
