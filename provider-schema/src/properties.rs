//! The properties of a `Custom::EcrCleanup`, in CloudFormation's spelling, and how they are read from a request.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::reading::{Object, Problems, Read};
use crate::scalar::{
    AccountId, ConcurrencyPercentage, FamilyPattern, ImageCount, KeepPulledWithinHours, Name, NeverDeployedAfterHours,
    OrganizationId, OrganizationalUnitId, Region, RevisionCount, RoleArn, RollbackWindowHours, ServiceTimeout,
    SweepSchedule, TagKey, TagPattern, TagValue, TolerancePercentage,
};

/// Deletes container images of the opted-in ECR repositories once nothing in the covered accounts uses them any more
/// and the rollback window has passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[schemars(deny_unknown_fields, rename = "EcrCleanup")]
pub struct Properties {
    /// Names all that is made. Made from the stack's name and the logical id unless given. Changing it replaces the
    /// resource.
    #[schemars(with = "Option<Name>")]
    pub name: Name,
    /// The tag by which a repository takes part, and may say settings of its own.
    #[schemars(default)]
    pub opt_in_tag: OptInTag,
    /// The accounts and Regions that run containers from the hub's images.
    pub workloads: Workloads,
    /// How long, in hours, after the last change of a task definition its images are checked.
    #[schemars(default)]
    pub rollback_window_hours: RollbackWindowHours,
    /// Decide and report, but delete and archive nothing.
    #[schemars(default)]
    pub dry_run: bool,
    /// In each repository, the newest so many images by push time, not counting the children of indexes and referrers,
    /// are never deleted.
    #[schemars(default)]
    pub keep_newest_images: ImageCount,
    /// Images with a tag that matches one of these patterns are never deleted.
    #[schemars(default)]
    pub keep_tag_patterns: BTreeSet<TagPattern>,
    /// How long, in hours, an image stays at least after a recorded pull, to which 24 hours are added by which recorded
    /// pulls may lag. The rollback window unless given, and never less than that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_pulled_within_hours: Option<KeepPulledWithinHours>,
    /// Accounts that are knowingly left out: what they use is not looked for and does not keep an image.
    #[schemars(default)]
    pub uncovered_accounts: BTreeSet<AccountId>,
    /// What a repository policy means that admits others than the accounts of Workloads and UncoveredAccounts.
    #[schemars(default)]
    pub outside_pullers: OutsidePullers,
    /// What becomes of images that nothing uses any more.
    #[schemars(default)]
    pub action: Action,
    /// When the opted-in repositories are swept for images that no event told of; six hours after the installation at the
    /// earliest.
    #[schemars(default)]
    pub sweep_schedule: SweepSchedule,
    /// Whether images that no task definition of any status names are checked, or kept.
    #[schemars(default = "check")]
    pub never_deployed_images: KeepOrCheck,
    /// How long, in hours, after its push such an image is checked.
    #[schemars(default)]
    pub never_deployed_after_hours: NeverDeployedAfterHours,
    /// Whether untagged images that belong to no index and are attached to no other image are checked, or kept.
    #[schemars(default = "keep")]
    pub untagged_images: KeepOrCheck,
    /// How many of the newest ACTIVE revisions of a family of ServiceOnlyFamilies count as use, beside those that
    /// services, task sets, rules and live deployments run. Zero: all of them.
    #[schemars(default)]
    pub active_revisions_per_family: RevisionCount,
    /// Families of task definitions that nothing but services starts, to which ActiveRevisionsPerFamily applies.
    #[schemars(default)]
    pub service_only_families: BTreeSet<FamilyPattern>,
    /// How the stack set goes about it in many accounts and Regions.
    #[schemars(default)]
    pub rollout: Rollout,
    /// The ARN of the provider function, which the stack of provider.yaml exports. CloudFormation sees to it that it is
    /// there and uses it itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub service_token: Option<String>,
    /// How long, in seconds, CloudFormation waits for the provider.
    #[schemars(default)]
    pub service_timeout: ServiceTimeout,
    /// The version of the provider. A change of it alone makes CloudFormation update the resource, so that a new
    /// version of the provider brings along what it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_version: Option<String>,
}

/// The tag by which a repository takes part: it must carry this tag, with the value given here or else with the value
/// enabled or settings of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[schemars(deny_unknown_fields)]
pub struct OptInTag {
    /// The tag's key.
    pub key: TagKey,
    /// The value that the tag must have. Without it, the value enabled, or settings of the repository's own such as
    /// keep-newest=5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<TagValue>,
}

impl Default for OptInTag {
    /// The key `ecr-cleanup`, and no value.
    fn default() -> Self {
        #[expect(clippy::unwrap_used, reason = "a literal, parsed by the tests of this module")]
        Self { key: "ecr-cleanup".parse().unwrap(), value: None }
    }
}

/// The accounts and Regions that run containers from the hub's images: either accounts or parts of an organization. The
/// hub itself is always covered, listed or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[schemars(deny_unknown_fields)]
pub struct Workloads {
    /// Which accounts.
    #[serde(flatten)]
    pub source: WorkloadSource,
    /// Every Region where these accounts or the hub run containers, or where the hub's registries are to be cleaned up.
    #[schemars(length(min = 1))]
    pub regions: BTreeSet<Region>,
}

/// Which accounts run containers from the hub's images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum WorkloadSource {
    /// The accounts listed here.
    Accounts(Accounts),
    /// The accounts that the organizational units contain, at any depth and at any time.
    Organization(Organization),
}

/// Accounts, listed one by one. The workload template reaches them through a self-managed stack set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[schemars(deny_unknown_fields)]
pub struct Accounts {
    /// The ids of the accounts.
    #[schemars(length(min = 1))]
    pub account_ids: BTreeSet<AccountId>,
}

/// Parts of an organization. The workload template reaches their accounts through a service-managed stack set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[schemars(deny_unknown_fields)]
pub struct Organization {
    /// The id of the organization.
    pub organization_id: OrganizationId,
    /// The ids of the organizational units, or the id of the root.
    #[schemars(length(min = 1))]
    pub organizational_unit_ids: BTreeSet<OrganizationalUnitId>,
    /// The role by which AWS Config reads the organization for the aggregator.
    pub aggregator_role_arn: RoleArn,
    /// What the hub is in the organization.
    #[schemars(default)]
    pub call_as: CallAs,
}

/// What the hub is in the organization: SELF for the management account, or DELEGATED_ADMIN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CallAs {
    /// The management account.
    #[default]
    #[serde(rename = "SELF")]
    Management,
    /// A delegated administrator for CloudFormation StackSets and AWS Config.
    DelegatedAdmin,
}

/// What a repository policy means that admits others than the accounts of Workloads and UncoveredAccounts: Keep, that
/// the repository is kept as a whole, or Ignore, that what those others use does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub enum OutsidePullers {
    /// The repository is kept.
    #[default]
    Keep,
    /// They need no coverage.
    Ignore,
}

/// What becomes of images that nothing uses any more: Delete, or Archive, which moves them to the archive storage class,
/// from which they can be restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Action {
    /// They are deleted.
    #[default]
    Delete,
    /// They are archived.
    Archive,
}

/// Keep, or Check: whether images of a kind are checked and, if nothing uses them, deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum KeepOrCheck {
    /// They are kept.
    Keep,
    /// They are checked.
    Check,
}

fn keep() -> KeepOrCheck {
    KeepOrCheck::Keep
}

fn check() -> KeepOrCheck {
    KeepOrCheck::Check
}

/// How the stack set goes about it in many accounts and Regions: by default in all of them at once, without one failure
/// keeping it from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[schemars(deny_unknown_fields)]
pub struct Rollout {
    /// All Regions at once, or one after the other.
    #[schemars(default)]
    pub region_concurrency_type: RegionConcurrencyType,
    /// In how many percent of the accounts it works at once.
    #[schemars(default)]
    pub max_concurrent_percentage: ConcurrencyPercentage,
    /// In how many percent of the accounts of a Region it may fail before it goes on in no other.
    #[schemars(default)]
    pub failure_tolerance_percentage: TolerancePercentage,
    /// Whether it works in fewer accounts at once the fewer failures are tolerated.
    #[schemars(default)]
    pub concurrency_mode: ConcurrencyMode,
    /// Whether operations that do not conflict run at the same time, and those that do one after the other.
    #[schemars(default = "yes")]
    pub managed_execution: bool,
}

fn yes() -> bool {
    true
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            region_concurrency_type: RegionConcurrencyType::default(),
            max_concurrent_percentage: ConcurrencyPercentage::default(),
            failure_tolerance_percentage: TolerancePercentage::default(),
            concurrency_mode: ConcurrencyMode::default(),
            managed_execution: yes(),
        }
    }
}

/// PARALLEL for all Regions at once, or SEQUENTIAL for one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RegionConcurrencyType {
    /// All at once.
    #[default]
    Parallel,
    /// One after the other.
    Sequential,
}

/// SOFT_FAILURE_TOLERANCE, or STRICT_FAILURE_TOLERANCE, which never works in more accounts at once than may fail, and one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConcurrencyMode {
    /// As many as allowed.
    #[default]
    SoftFailureTolerance,
    /// As many as may fail, and one.
    StrictFailureTolerance,
}

impl Properties {
    /// Reads the `ResourceProperties` of a request from CloudFormation.
    ///
    /// Every scalar may be itself or the string that CloudFormation makes of it. `default_name` is the name of an
    /// EcrCleanup whose template gives none ([`Name::derive`]).
    ///
    /// # Errors
    /// All problems that the properties have.
    pub fn parse(properties: &Value, default_name: &Name) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let read = Self::read(properties, default_name, &mut problems);
        match read {
            Some(properties) if problems.is_empty() => Ok(properties),
            _ => Err(problems),
        }
    }

    fn read(properties: &Value, default_name: &Name, problems: &mut Problems) -> Option<Self> {
        let mut object = Object::open(properties, "", problems)?;
        let name = object.optional("Name");
        let opt_in_tag = object.optional("OptInTag");
        let workloads = object.required("Workloads");
        let rollback_window_hours = object.optional("RollbackWindowHours");
        let dry_run = object.optional("DryRun");
        let keep_newest_images = object.optional("KeepNewestImages");
        let keep_tag_patterns = object.optional("KeepTagPatterns");
        let keep_pulled_within_hours = object.optional("KeepPulledWithinHours");
        let uncovered_accounts = object.optional("UncoveredAccounts");
        let outside_pullers = object.optional("OutsidePullers");
        let action = object.optional("Action");
        let sweep_schedule = object.optional("SweepSchedule");
        let never_deployed_images = object.optional("NeverDeployedImages");
        let never_deployed_after_hours = object.optional("NeverDeployedAfterHours");
        let untagged_images = object.optional("UntaggedImages");
        let active_revisions_per_family = object.optional("ActiveRevisionsPerFamily");
        let service_only_families = object.optional("ServiceOnlyFamilies");
        let rollout = object.optional("Rollout");
        let service_token = object.optional("ServiceToken");
        let service_timeout = object.optional("ServiceTimeout");
        let provider_version = object.optional("ProviderVersion");
        object.close();
        Some(Self {
            name: name?.unwrap_or_else(|| default_name.clone()),
            opt_in_tag: opt_in_tag?.unwrap_or_default(),
            workloads: workloads?,
            rollback_window_hours: rollback_window_hours?.unwrap_or_default(),
            dry_run: dry_run?.unwrap_or_default(),
            keep_newest_images: keep_newest_images?.unwrap_or_default(),
            keep_tag_patterns: keep_tag_patterns?.unwrap_or_default(),
            keep_pulled_within_hours: keep_pulled_within_hours?,
            uncovered_accounts: uncovered_accounts?.unwrap_or_default(),
            outside_pullers: outside_pullers?.unwrap_or_default(),
            action: action?.unwrap_or_default(),
            sweep_schedule: sweep_schedule?.unwrap_or_default(),
            never_deployed_images: never_deployed_images?.unwrap_or_else(check),
            never_deployed_after_hours: never_deployed_after_hours?.unwrap_or_default(),
            untagged_images: untagged_images?.unwrap_or_else(keep),
            active_revisions_per_family: active_revisions_per_family?.unwrap_or_default(),
            service_only_families: service_only_families?.unwrap_or_default(),
            rollout: rollout?.unwrap_or_default(),
            service_token: service_token?,
            service_timeout: service_timeout?.unwrap_or_default(),
            provider_version: provider_version?,
        })
    }
}

impl Read for OptInTag {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut object = Object::open(value, path, problems)?;
        let key = object.required("Key");
        let value = object.optional("Value");
        object.close();
        Some(Self { key: key?, value: value? })
    }
}

impl Read for Workloads {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut object = Object::open(value, path, problems)?;
        let accounts = object.optional("Accounts");
        let organization = object.optional("Organization");
        let regions = object.required_list("Regions");
        let source = match (accounts, organization) {
            (Some(Some(accounts)), Some(None)) => Some(WorkloadSource::Accounts(accounts)),
            (Some(None), Some(Some(organization))) => Some(WorkloadSource::Organization(organization)),
            (Some(None), Some(None)) => {
                object.problem("needs one of Accounts and Organization");
                None
            }
            (Some(None), None) | (None, Some(None)) => None,
            _ => {
                object.problem("takes only one of Accounts and Organization");
                None
            }
        };
        object.close();
        Some(Self { source: source?, regions: regions? })
    }
}

impl Read for Accounts {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut object = Object::open(value, path, problems)?;
        let account_ids = object.required_list("AccountIds");
        object.close();
        Some(Self { account_ids: account_ids? })
    }
}

impl Read for Organization {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut object = Object::open(value, path, problems)?;
        let organization_id = object.required("OrganizationId");
        let organizational_unit_ids = object.required_list("OrganizationalUnitIds");
        let aggregator_role_arn = object.required("AggregatorRoleArn");
        let call_as = object.optional("CallAs");
        object.close();
        Some(Self {
            organization_id: organization_id?,
            organizational_unit_ids: organizational_unit_ids?,
            aggregator_role_arn: aggregator_role_arn?,
            call_as: call_as?.unwrap_or_default(),
        })
    }
}

impl Read for CallAs {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        match value.as_str() {
            Some("SELF") => Some(Self::Management),
            Some("DELEGATED_ADMIN") => Some(Self::DelegatedAdmin),
            _ => {
                problems.add(path, format!("expected SELF or DELEGATED_ADMIN, got {value}"));
                None
            }
        }
    }
}

impl Read for OutsidePullers {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        match value.as_str() {
            Some("Keep") => Some(Self::Keep),
            Some("Ignore") => Some(Self::Ignore),
            _ => {
                problems.add(path, format!("expected Keep or Ignore, got {value}"));
                None
            }
        }
    }
}

impl Read for Action {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        match value.as_str() {
            Some("Delete") => Some(Self::Delete),
            Some("Archive") => Some(Self::Archive),
            _ => {
                problems.add(path, format!("expected Delete or Archive, got {value}"));
                None
            }
        }
    }
}

impl Read for KeepOrCheck {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        match value.as_str() {
            Some("Keep") => Some(Self::Keep),
            Some("Check") => Some(Self::Check),
            _ => {
                problems.add(path, format!("expected Keep or Check, got {value}"));
                None
            }
        }
    }
}

impl Read for Rollout {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut object = Object::open(value, path, problems)?;
        let region_concurrency_type = object.optional("RegionConcurrencyType");
        let max_concurrent_percentage = object.optional("MaxConcurrentPercentage");
        let failure_tolerance_percentage = object.optional("FailureTolerancePercentage");
        let concurrency_mode = object.optional("ConcurrencyMode");
        let managed_execution = object.optional("ManagedExecution");
        object.close();
        Some(Self {
            region_concurrency_type: region_concurrency_type?.unwrap_or_default(),
            max_concurrent_percentage: max_concurrent_percentage?.unwrap_or_default(),
            failure_tolerance_percentage: failure_tolerance_percentage?.unwrap_or_default(),
            concurrency_mode: concurrency_mode?.unwrap_or_default(),
            managed_execution: managed_execution?.unwrap_or_else(yes),
        })
    }
}

impl Read for RegionConcurrencyType {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        match value.as_str() {
            Some("PARALLEL") => Some(Self::Parallel),
            Some("SEQUENTIAL") => Some(Self::Sequential),
            _ => {
                problems.add(path, format!("expected PARALLEL or SEQUENTIAL, got {value}"));
                None
            }
        }
    }
}

impl Read for ConcurrencyMode {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        match value.as_str() {
            Some("SOFT_FAILURE_TOLERANCE") => Some(Self::SoftFailureTolerance),
            Some("STRICT_FAILURE_TOLERANCE") => Some(Self::StrictFailureTolerance),
            _ => {
                let expected = "expected SOFT_FAILURE_TOLERANCE or STRICT_FAILURE_TOLERANCE";
                problems.add(path, format!("{expected}, got {value}"));
                None
            }
        }
    }
}
