//! AWS regions, the partitions they belong to, and the DNS suffixes of those.

use std::fmt;

use crate::text::{Quoted, validated_text};

validated_text! {
    /// A region's name, such as `eu-west-1`: at most 20 characters, so that names that end with a region fit their
    /// limits. Whether AWS has such a region is not asked; whether the name is safe anywhere is.
    Region, RegionError, check
}

/// Why a text is no region.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// Not words of letters joined by hyphens and ended by a number.
    #[error("{0} is not the name of a region")]
    Malformed(Quoted),
}

fn check(text: &str) -> Result<(), RegionError> {
    let refused = || RegionError::Malformed(Quoted::of(text));
    let (words, number) = text.rsplit_once('-').ok_or_else(refused)?;
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    let numbered = matches!(number.len(), 1 | 2) && number.bytes().all(|b| b.is_ascii_digit());
    let named = words.split('-').all(is_word) && words.split('-').count() >= 2 && words.len() >= 4;
    if numbered && named && text.len() <= 20 { Ok(()) } else { Err(refused()) }
}

/// A group of regions with its own accounts, ARNs and DNS suffixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partition {
    /// The commercial regions.
    Aws,
    /// China.
    AwsCn,
    /// GovCloud (US).
    AwsUsGov,
    /// The European Sovereign Cloud.
    AwsEusc,
    /// Isolated (`us-iso-…`).
    AwsIso,
    /// Isolated (`us-isob-…`).
    AwsIsoB,
    /// Isolated (`eu-isoe-…`).
    AwsIsoE,
    /// Isolated (`us-isof-…`).
    AwsIsoF,
}

impl Region {
    /// The partition this region belongs to, by the prefix of its name as in the SDKs' partition table.
    pub fn partition(&self) -> Partition {
        const BY_PREFIX: [(&str, Partition); 7] = [
            ("cn-", Partition::AwsCn),
            ("us-gov-", Partition::AwsUsGov),
            ("eusc-", Partition::AwsEusc),
            ("us-iso-", Partition::AwsIso),
            ("us-isob-", Partition::AwsIsoB),
            ("eu-isoe-", Partition::AwsIsoE),
            ("us-isof-", Partition::AwsIsoF),
        ];
        let found = BY_PREFIX.iter().find(|(prefix, _)| self.as_str().starts_with(prefix));
        found.map_or(Partition::Aws, |&(_, partition)| partition)
    }
}

impl Partition {
    /// The partition as ARNs spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsUsGov => "aws-us-gov",
            Self::AwsEusc => "aws-eusc",
            Self::AwsIso => "aws-iso",
            Self::AwsIsoB => "aws-iso-b",
            Self::AwsIsoE => "aws-iso-e",
            Self::AwsIsoF => "aws-iso-f",
        }
    }

    /// What host names of the partition's services end with.
    pub fn dns_suffix(self) -> &'static str {
        match self {
            Self::Aws | Self::AwsUsGov => "amazonaws.com",
            Self::AwsCn => "amazonaws.com.cn",
            Self::AwsEusc => "amazonaws.eu",
            Self::AwsIso => "c2s.ic.gov",
            Self::AwsIsoB => "sc2s.sgov.gov",
            Self::AwsIsoE => "cloud.adc-e.uk",
            Self::AwsIsoF => "csp.hci.ic.gov",
        }
    }

    /// What dual-stack registry hosts end with. Documented for the commercial partitions and China; for the others it
    /// follows the SDKs' table of dual-stack suffixes, because a spelling too many costs nothing and one too few could
    /// hide a use.
    pub fn dual_stack_registry_suffix(self) -> &'static str {
        match self {
            Self::Aws | Self::AwsUsGov => "on.aws",
            Self::AwsCn => "on.amazonwebservices.com.cn",
            Self::AwsEusc => "on.amazonwebservices.eu",
            Self::AwsIso => "on.aws.ic.gov",
            Self::AwsIsoB => "on.aws.scloud",
            Self::AwsIsoE => "on.cloud-aws.adc-e.uk",
            Self::AwsIsoF => "on.aws.hci.ic.gov",
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_words_and_a_number() {
        for (text, accepted) in [
            ("eu-west-1", true),
            ("ap-southeast-2", true),
            ("us-gov-west-1", true),
            ("us-isob-east-1", true),
            ("eusc-de-east-1", true),
            ("eu-west-12", true),
            ("", false),
            ("eu", false),
            ("eu-1", false),
            ("eu-west", false),
            ("eu--west-1", false),
            ("-west-1", false),
            ("EU-west-1", false),
            ("eu-west-1'", false),
            ("eu-west-123", false),
            ("eu-west_1", false),
            ("eu-verylongregionname-1", false),
        ] {
            assert_eq!(text.parse::<Region>().is_ok(), accepted, "{text}");
        }
    }

    #[test]
    fn every_region_has_a_partition() {
        for (region, partition, suffix) in [
            ("eu-west-1", "aws", "amazonaws.com"),
            ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
            ("us-gov-east-1", "aws-us-gov", "amazonaws.com"),
            ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
            ("us-iso-west-1", "aws-iso", "c2s.ic.gov"),
            ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
            ("eu-isoe-west-1", "aws-iso-e", "cloud.adc-e.uk"),
            ("us-isof-south-1", "aws-iso-f", "csp.hci.ic.gov"),
        ] {
            let found = region.parse::<Region>().unwrap().partition();
            assert_eq!((found.as_str(), found.dns_suffix()), (partition, suffix), "{region}");
        }
    }
}
