//! What everything is called that an EcrCleanup consists of.
//!
//! Promises: every name is a pure function of the EcrCleanup's name and the kind of its workloads (and a region, where
//! names are global), begins with `ecr-cleanup-`, and fits the limits of the service it is for. Two kinds have no name
//! in common, so that one EcrCleanup can replace another.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::region::Region;
use crate::text::{Quoted, validated_text};

validated_text! {
    /// The name of an EcrCleanup: a lower-case letter, then up to 31 lower-case letters, digits and hyphens.
    Name, NameError, check
}

/// Why a text is no name of an EcrCleanup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not as above.
    #[error("name {0} is not a lower-case letter followed by up to 31 lower-case letters, digits and hyphens")]
    Malformed(Quoted),
}

fn check(text: &str) -> Result<(), NameError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let begun = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if begun && text.len() <= 32 && text.bytes().all(allowed) {
        Ok(())
    } else {
        Err(NameError::Malformed(Quoted::of(text)))
    }
}

/// How the workload accounts are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// By their ids.
    Accounts,
    /// By an organization and its units.
    Organization,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accounts => "accounts",
            Self::Organization => "organization",
        })
    }
}

/// `source` of the events that EcrCleanups publish.
pub const EVENT_SOURCE: &str = "ecr-cleanup";

/// `detail-type` of the event that asks for an image deletion check.
pub const CHECK_DUE: &str = "Image Deletion Check Due";

/// `detail-type` of the event that asks for a sweep.
pub const SWEEP_DUE: &str = "Sweep Due";

/// The names of one EcrCleanup's parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Names {
    /// The EcrCleanup's name.
    pub name: Name,
    /// The kind of its workloads.
    pub kind: Kind,
}

impl Names {
    /// What aggregator, event bus, schedule group and stack set are called.
    pub fn part(&self) -> String {
        format!("ecr-cleanup-{}-{}", self.name, self.kind)
    }

    /// The bus's rule that hands task definition events to `schedule-checks`.
    pub fn task_definitions_rule(&self) -> String {
        shortened(format!("{}-task-definitions", self.part()), LONGEST_RULE)
    }

    /// The bus's rule that hands due checks to `check-images`.
    pub fn checks_rule(&self) -> String {
        shortened(format!("{}-checks", self.part()), LONGEST_RULE)
    }

    /// The bus's rule that hands due sweeps to `sweep`.
    pub fn sweeps_rule(&self) -> String {
        shortened(format!("{}-sweeps", self.part()), LONGEST_RULE)
    }

    /// The family of the coverage probe.
    pub fn probe_family(&self) -> String {
        format!("{}-probe", self.part())
    }

    /// The role by which the checks ask a workload account itself. IAM is global, so that each region has its own.
    pub fn evidence_role(&self, region: &Region) -> String {
        format!("{}-{region}", self.evidence_role_prefix())
    }

    /// What stands before the region in [`Names::evidence_role`].
    pub fn evidence_role_prefix(&self) -> String {
        shortened(format!("{}-evidence", self.part()), LONGEST_PREFIX)
    }

    /// The role by which a workload account's rules put events on the bus.
    pub fn forward_role(&self, region: &Region) -> String {
        format!("{}-{region}", self.forward_role_prefix())
    }

    /// What stands before the region in [`Names::forward_role`], and before `-api-calls` and `-config-items` in the names
    /// of the workload accounts' rules.
    pub fn forward_role_prefix(&self) -> String {
        shortened(format!("{}-forward", self.part()), LONGEST_PREFIX)
    }
}

/// `-` and a region of 20 characters make of it a role name of 64, which is IAM's limit.
const LONGEST_PREFIX: usize = 43;
/// EventBridge's limit for the name of a rule.
const LONGEST_RULE: usize = 64;

/// The name, or its start with a hash of the whole.
fn shortened(name: String, longest: usize) -> String {
    if name.len() <= longest {
        return name;
    }
    format!("{}-{}", &name[..longest - 9], &sha256_hex(&name)[..8])
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.kind)
    }
}

/// The SHA-256 of `text` as 64 lower-case hexadecimal digits.
pub(crate) fn sha256_hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, kind: Kind) -> Names {
        Names { name: name.parse().unwrap(), kind }
    }

    #[test]
    fn a_name_begins_with_a_letter_and_has_at_most_32_characters() {
        for (text, accepted) in [
            ("prod", true),
            ("a", true),
            ("a-1", true),
            ("", false),
            ("1a", false),
            ("-a", false),
            ("Prod", false),
            ("a_b", false),
            ("a'b", false),
        ] {
            assert_eq!(text.parse::<Name>().is_ok(), accepted, "{text}");
        }
        assert!("a".repeat(32).parse::<Name>().is_ok());
        assert!("a".repeat(33).parse::<Name>().is_err());
    }

    #[test]
    fn parts_are_named_by_name_and_kind() {
        let prod = names("prod", Kind::Accounts);
        assert_eq!(prod.part(), "ecr-cleanup-prod-accounts");
        assert_eq!(prod.task_definitions_rule(), "ecr-cleanup-prod-accounts-task-definitions");
        assert_eq!(prod.checks_rule(), "ecr-cleanup-prod-accounts-checks");
        assert_eq!(prod.sweeps_rule(), "ecr-cleanup-prod-accounts-sweeps");
        assert_eq!(prod.probe_family(), "ecr-cleanup-prod-accounts-probe");
    }

    #[test]
    fn rule_names_fit_eventbridge_and_stay_apart() {
        let longest = names(&"a".repeat(32), Kind::Organization);
        let (task_definitions, checks) = (longest.task_definitions_rule(), longest.checks_rule());
        assert_eq!(checks, format!("ecr-cleanup-{}-organization-checks", "a".repeat(32)), "64 characters");
        assert_eq!(task_definitions.len(), 64, "{task_definitions}");
        assert!(task_definitions.starts_with("ecr-cleanup-aaaa"), "{task_definitions}");
        assert_ne!(
            task_definitions,
            names(&format!("{}b", "a".repeat(31)), Kind::Organization).task_definitions_rule()
        );
    }

    #[test]
    fn role_names_fit_iam_and_stay_apart() {
        let region: Region = "eu-west-1".parse().unwrap();
        assert_eq!(
            names("prod", Kind::Organization).evidence_role(&region),
            "ecr-cleanup-prod-organization-evidence-eu-west-1"
        );
        let longest = "a".repeat(32);
        let widest: Region = "abcdefghi-abcdefgh-1".parse().unwrap();
        let role = names(&longest, Kind::Organization).evidence_role(&widest);
        assert_eq!(role.len(), 64);
        assert!(role.starts_with("ecr-cleanup-aaaaaaaaaaaaaaaaaaaaaa-"), "{role}");
        assert!(role.ends_with("-abcdefghi-abcdefgh-1"), "{role}");
        assert_ne!(role, names(&longest, Kind::Accounts).evidence_role(&widest));
        assert_ne!(role, names(&longest, Kind::Organization).forward_role(&widest));
    }
}
