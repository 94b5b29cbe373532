//! Images, and the references by which a container names one.
//!
//! Promises: a reference is accepted only if it names an image of an ECR registry by one of AWS's host forms (or a
//! digest, a tag, both or neither); the host agrees with its region's partition; and everything accepted prints as it
//! was read. Everything else is refused with the reason.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::account::{AccountId, AccountIdError};
use crate::region::{Region, RegionError};
use crate::repository::{HostForm, Registry, Repository, RepositoryName, RepositoryNameError};
use crate::text::{Quoted, validated_text};

validated_text! {
    /// The digest of an image's manifest: `sha256:` and 64 lower-case hexadecimal digits.
    Digest, DigestError, check_digest
}

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not `sha256:` and 64 lower-case hexadecimal digits.
    #[error("digest {0} is not sha256: and 64 lower-case hexadecimal digits")]
    Malformed(Quoted),
}

fn check_digest(text: &str) -> Result<(), DigestError> {
    let is_hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if text.strip_prefix("sha256:").is_some_and(is_hex) {
        Ok(())
    } else {
        Err(DigestError::Malformed(Quoted::of(text)))
    }
}

impl Digest {
    /// The 64 hexadecimal digits alone.
    pub fn hex(&self) -> &str {
        &self.as_str()["sha256:".len()..]
    }
}

validated_text! {
    /// An image tag as the OCI distribution specification allows it.
    Tag, TagError, check_tag
}

/// Why a text is no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Not a letter, digit or `_`, followed by at most 127 of these and `.` and `-`.
    #[error("tag {0} is not 1 to 128 letters, digits, '_', '.', '-', beginning with none of the last two")]
    Malformed(Quoted),
}

fn check_tag(text: &str) -> Result<(), TagError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let accepted = (1..=128).contains(&text.len())
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
        && text.bytes().next().is_some_and(word);
    if accepted { Ok(()) } else { Err(TagError::Malformed(Quoted::of(text))) }
}

impl Tag {
    /// The tag that a reference without tag and digest means.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }
}

/// One image: a digest in a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageId {
    /// Where it is.
    pub repository: Repository,
    /// Which one it is.
    pub digest: Digest,
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

/// How a container names an image of an ECR registry: `HOST/NAME`, `HOST/NAME:TAG`, `HOST/NAME@DIGEST` or
/// `HOST/NAME:TAG@DIGEST`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ImageReference {
    repository: Repository,
    host: HostForm,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// What a reference asks its repository for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// The image with this digest; a tag beside it is decoration.
    Digest(Digest),
    /// The image that has this tag at the moment.
    Tag(Tag),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => write!(f, "@{digest}"),
            Self::Tag(tag) => write!(f, ":{tag}"),
        }
    }
}

/// Why a text is no reference to an image of an ECR registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageReferenceError {
    /// The image comes from elsewhere: Docker Hub, ECR Public, a registry of somebody else.
    #[error("image {0} is not in an ECR registry")]
    NotEcr(Quoted),
    /// The host begins like a registry's, but its account id cannot be one.
    #[error("image {image}: {source}")]
    Account {
        /// The reference.
        image: Quoted,
        /// What is wrong.
        source: AccountIdError,
    },
    /// The host's region cannot be one.
    #[error("image {image}: {source}")]
    Region {
        /// The reference.
        image: Quoted,
        /// What is wrong.
        source: RegionError,
    },
    /// The host ends otherwise than those of its region's partition.
    #[error("image {image}: registry hosts of this form in {region} end with {expected}")]
    Suffix {
        /// The reference.
        image: Quoted,
        /// The region in the host.
        region: Region,
        /// What the host should end with.
        expected: &'static str,
    },
    /// The repository's name is refused.
    #[error("image {image}: {source}")]
    RepositoryName {
        /// The reference.
        image: Quoted,
        /// What is wrong.
        source: RepositoryNameError,
    },
    /// The tag is refused.
    #[error("image {image}: {source}")]
    Tag {
        /// The reference.
        image: Quoted,
        /// What is wrong.
        source: TagError,
    },
    /// The digest is refused.
    #[error("image {image}: {source}")]
    Digest {
        /// The reference.
        image: Quoted,
        /// What is wrong.
        source: DigestError,
    },
}

impl ImageReference {
    /// The repository that is named.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag that is written, if any.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest that is written, if any.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What the repository is asked for: the digest before the tag, `latest` where neither is written.
    pub fn selector(&self) -> Selector {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Selector::Digest(digest.clone()),
            (None, Some(tag)) => Selector::Tag(tag.clone()),
            (None, None) => Selector::Tag(Tag::latest()),
        }
    }
}

impl FromStr for ImageReference {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, ImageReferenceError> {
        let image = || Quoted::of(text);
        let not_ecr = || ImageReferenceError::NotEcr(image());
        let (host, path) = text.split_once('/').ok_or_else(not_ecr)?;
        let (account, rest) = host.split_once('.').ok_or_else(not_ecr)?;
        let (form, rest) = HostForm::ALL
            .into_iter()
            .find_map(|form| Some((form, rest.strip_prefix(form.service_label())?.strip_prefix('.')?)))
            .ok_or_else(not_ecr)?;
        let (region, suffix) = rest.split_once('.').ok_or_else(not_ecr)?;

        let account: AccountId =
            account.parse().map_err(|source| ImageReferenceError::Account { image: image(), source })?;
        let region: Region = region.parse().map_err(|source| ImageReferenceError::Region { image: image(), source })?;
        let expected = form.suffix(region.partition());
        if suffix != expected {
            return Err(ImageReferenceError::Suffix { image: image(), region, expected });
        }

        let (named, digest) = match path.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (path, None),
        };
        let (name, tag) = match named.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (named, None),
        };
        let name: RepositoryName =
            name.parse().map_err(|source| ImageReferenceError::RepositoryName { image: image(), source })?;
        let tag = tag.map(str::parse).transpose();
        let digest = digest.map(str::parse).transpose();
        Ok(Self {
            repository: Repository { registry: Registry { account, region }, name },
            host: form,
            tag: tag.map_err(|source| ImageReferenceError::Tag { image: image(), source })?,
            digest: digest.map_err(|source| ImageReferenceError::Digest { image: image(), source })?,
        })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.repository.registry.host(self.host), self.repository.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for ImageReference {
    type Error = ImageReferenceError;

    fn try_from(text: String) -> Result<Self, ImageReferenceError> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn read(text: &str) -> Result<ImageReference, ImageReferenceError> {
        text.parse()
    }

    #[test]
    fn every_host_form_of_every_partition_is_read_with_tag_digest_both_and_none() {
        let hosts = [
            ("eu-west-1", "111111111111.dkr.ecr.eu-west-1.amazonaws.com"),
            ("us-east-1", "111111111111.dkr.ecr-fips.us-east-1.amazonaws.com"),
            ("eu-west-1", "111111111111.dkr-ecr.eu-west-1.on.aws"),
            ("us-west-2", "111111111111.dkr-ecr-fips.us-west-2.on.aws"),
            ("us-gov-west-1", "111111111111.dkr.ecr-fips.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", "111111111111.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn"),
            ("eusc-de-east-1", "111111111111.dkr.ecr.eusc-de-east-1.amazonaws.eu"),
            ("us-isob-east-1", "111111111111.dkr.ecr.us-isob-east-1.sc2s.sgov.gov"),
            ("us-iso-east-1", "111111111111.dkr.ecr.us-iso-east-1.c2s.ic.gov"),
            ("eu-isoe-west-1", "111111111111.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"),
            ("us-isof-south-1", "111111111111.dkr.ecr.us-isof-south-1.csp.hci.ic.gov"),
        ];
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        let tag: Tag = "v1.0_a-B".parse().unwrap();
        let ends = [
            (String::new(), Selector::Tag(Tag::latest())),
            (format!(":{tag}"), Selector::Tag(tag.clone())),
            (format!("@{digest}"), Selector::Digest(digest.clone())),
            (format!(":{tag}@{digest}"), Selector::Digest(digest.clone())),
        ];
        for (region, host) in hosts {
            for (end, selector) in &ends {
                let text = format!("{host}/team/api{end}");
                let reference = read(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
                let Repository { registry, name } = reference.repository();
                assert_eq!((registry.account.as_str(), registry.region.as_str()), ("111111111111", region), "{text}");
                assert_eq!((name.as_str(), &reference.selector()), ("team/api", selector), "{text}");
                assert_eq!(reference.to_string(), text);
                assert!(reference.repository().spellings().iter().any(|s| text.starts_with(s.as_str())), "{text}");
            }
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        let host = "111111111111.dkr.ecr.eu-west-1.amazonaws.com";
        for (text, reason) in [
            (String::new(), "is not in an ECR registry"),
            ("nginx".into(), "is not in an ECR registry"),
            ("library/nginx:1".into(), "is not in an ECR registry"),
            ("public.ecr.aws/nginx/nginx:1".into(), "is not in an ECR registry"),
            ("localhost:5000/a".into(), "is not in an ECR registry"),
            (format!("https://{host}/team/api"), "is not in an ECR registry"),
            (host.into(), "is not in an ECR registry"),
            ("11.dkr.ecr.eu-west-1.amazonaws.com/team/api".into(), "is not twelve digits"),
            ("111111111111.dkr.ecr.eu_west_1.amazonaws.com/team/api".into(), "is not the name of a region"),
            ("111111111111.dkr.ecr.cn-north-1.amazonaws.com/team/api".into(), "end with amazonaws.com.cn"),
            ("111111111111.dkr.ecr.eu-west-1.amazonaws.com.cn/team/api".into(), "end with amazonaws.com"),
            ("111111111111.dkr.ecr.eu-west-1.amazonaws.com.evil.example/team/api".into(), "end with amazonaws.com"),
            ("111111111111.dkr.ecr.eu-west-1.on.aws/team/api".into(), "end with amazonaws.com"),
            ("111111111111.dkr-ecr.eu-west-1.amazonaws.com/team/api".into(), "end with on.aws"),
            (format!("{host}:443/team/api"), "end with amazonaws.com"),
            (format!("{host}/Team/api"), "repository name"),
            (format!("{host}/"), "repository name"),
            (format!("{host}/team/api:"), "tag"),
            (format!("{host}/team/api:-a"), "tag"),
            (format!("{host}/team/api:a:b"), "tag"),
            (format!("{host}/team/api:a' OR '1"), "tag"),
            (format!("{host}/team/api@"), "digest"),
            (format!("{host}/team/api@sha512:{HEX}"), "digest"),
            (format!("{host}/team/api@sha256:{}", HEX.to_uppercase()), "digest"),
            (format!("{host}/team/api@sha256:{}", &HEX[1..]), "digest"),
            (format!(" {host}/team/api"), "is not twelve digits"),
            (format!("{host}/team/api\n"), "repository name"),
        ] {
            let error = read(&text).expect_err(&text).to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_tag_is_what_oci_allows() {
        for (text, accepted) in [
            ("a", true),
            ("_", true),
            ("1.0-rc.1", true),
            (".a", false),
            ("-a", false),
            ("", false),
            ("a%", false),
            ("ä", false),
        ] {
            assert_eq!(text.parse::<Tag>().is_ok(), accepted, "{text}");
        }
        assert!("a".repeat(128).parse::<Tag>().is_ok());
        assert!("a".repeat(129).parse::<Tag>().is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics_and_accepted_text_prints_as_read(text in r"(\PC{0,40}|[0-9]{11,13}\.(dkr\.ecr|dkr\.ecr-fips|dkr-ecr|dkr-ecr-fips)\.(eu-west-1|cn-north-1|[a-z-]{1,9}[0-9])\.(amazonaws\.com|amazonaws\.com\.cn|on\.aws|\PC{0,5})/[a-z/:@._'%-]{0,20}(@sha256:[0-9a-f]{64})?)") {
            if let Ok(reference) = read(&text) {
                prop_assert_eq!(&reference.to_string(), &text);
                prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./:@_-".contains(&b)));
                let json = serde_json::to_string(&reference).unwrap();
                prop_assert_eq!(serde_json::from_str::<ImageReference>(&json).unwrap(), reference);
            }
        }
    }
}
