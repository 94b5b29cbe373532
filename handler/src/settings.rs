//! What an EcrCleanup is told by its resource, as it travels with every message, and the envelope it travels in.
//!
//! The rules of an EcrCleanup's bus wrap each event as `{"cleanup": SETTINGS, "event": EVENT}`. So the functions read no
//! configuration store, and what the resource's owner changes holds for every message from then on.
//!
//! Promises: settings of a version this code does not know are never taken for known ones; what is rendered into a
//! rule's template is read back as it was, cannot be mistaken for a placeholder, and fits the template's limit.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::account::AccountId;
use crate::names::Names;
use crate::opt_in::OptInTag;
use crate::region::Region;
use crate::repository::Registry;
use crate::tag_pattern::TagPattern;
use crate::task_definition::FamilyPattern;
use crate::text::{Quoted, validated_text};

/// The version of the settings' shape that this code reads and writes.
pub const SCHEMA_VERSION: u64 = 1;

/// A rule's input template holds at most this many characters (EventBridge `PutTargets`).
pub const TEMPLATE_LIMIT: usize = 8192;

/// How long after it was emitted a message may still be acted on. One that is older may carry old settings.
pub const FRESH_FOR: SignedDuration = SignedDuration::from_mins(15);

validated_text! {
    /// The ARN of a part of the EcrCleanup.
    Arn, ArnError, check_arn
}

/// Why a text is no ARN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// Not `arn:` and five more parts of the characters that our parts' ARNs have.
    #[error("{0} is not an ARN")]
    Malformed(Quoted),
}

fn check_arn(text: &str) -> Result<(), ArnError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":/._-".contains(&b);
    if text.starts_with("arn:") && text.len() <= 1600 && text.bytes().all(allowed) && text.split(':').count() >= 6 {
        Ok(())
    } else {
        Err(ArnError::Malformed(Quoted::of(text)))
    }
}

validated_text! {
    /// The id of an organization (`o-…`).
    OrganizationId, OrganizationIdError, check_organization
}

validated_text! {
    /// The id of an organizational unit (`ou-…`) or a root (`r-…`).
    OrganizationalUnitId, OrganizationIdError, check_unit
}

/// Why a text is no id of AWS Organizations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrganizationIdError {
    /// Not `o-` and 10 to 32 lower-case letters and digits.
    #[error("{0} is not the id of an organization")]
    Organization(Quoted),
    /// Neither `r-` nor `ou-` and what the API model allows after it.
    #[error("{0} is not the id of a root or an organizational unit")]
    Unit(Quoted),
}

fn is_id(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn check_organization(text: &str) -> Result<(), OrganizationIdError> {
    match text.strip_prefix("o-") {
        Some(id) if is_id(id, 10..=32) => Ok(()),
        _ => Err(OrganizationIdError::Organization(Quoted::of(text))),
    }
}

fn check_unit(text: &str) -> Result<(), OrganizationIdError> {
    let root = text.strip_prefix("r-").is_some_and(|id| is_id(id, 4..=32));
    let unit = text.strip_prefix("ou-").and_then(|ids| ids.split_once('-'));
    if root || unit.is_some_and(|(root, id)| is_id(root, 4..=32) && is_id(id, 8..=32)) {
        Ok(())
    } else {
        Err(OrganizationIdError::Unit(Quoted::of(text)))
    }
}

/// The account and region that hold the EcrCleanup's parts and the functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hub {
    /// The account, whose registries are cleaned up.
    pub account: AccountId,
    /// The region of the functions, the bus, the aggregator and the schedules.
    pub region: Region,
}

/// Which part of an organization runs workloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Organization {
    /// The organization.
    pub organization_id: OrganizationId,
    /// Its units (or root) whose accounts, at any depth, are covered.
    pub organizational_unit_ids: Vec<OrganizationalUnitId>,
}

/// The settings of one EcrCleanup. Lists of accounts are not among them: they are read back from the aggregator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The version of this shape, always [`SCHEMA_VERSION`].
    schema_version: SchemaVersion,
    /// Name and kind, from which its parts are named.
    #[serde(flatten)]
    pub names: Names,
    /// Where it lives.
    pub hub: Hub,
    /// The Config aggregator that shows the workloads.
    pub aggregator_name: String,
    /// The bus that everything is an event on.
    pub event_bus_arn: Arn,
    /// The group of its schedules.
    pub schedule_group_name: String,
    /// The role that EventBridge Scheduler puts events on the bus with.
    pub scheduler_role_arn: Arn,
    /// Every region where the workloads run, and where the hub's registries are cleaned up.
    pub regions: BTreeSet<Region>,
    /// The tag that opts a repository in.
    pub opt_in_tag: OptInTag,
    /// Hours from an image's last change to its check, 1 to 8760.
    rollback_window_hours: RollbackWindowHours,
    /// Decide and report, delete nothing.
    pub dry_run: bool,
    /// How many of a repository's newest images stay whatever happens.
    pub keep_newest_images: u32,
    /// Images with such a tag stay whatever happens.
    pub keep_tag_patterns: Vec<TagPattern>,
    /// Hours that an image stays at least after a recorded pull; the rollback window, if that is longer or none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_pulled_within_hours: Option<RollbackWindowHours>,
    /// Accounts that are knowingly left out of what must be covered.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub uncovered_accounts: BTreeSet<AccountId>,
    /// What pullers outside the workloads mean for a repository.
    #[serde(default, skip_serializing_if = "OutsidePullers::is_keep")]
    pub outside_pullers: OutsidePullers,
    /// What becomes of unused images.
    #[serde(default, skip_serializing_if = "Action::is_delete")]
    pub action: Action,
    /// What becomes of images that no task definition of any status names.
    #[serde(default = "checked", skip_serializing_if = "Handling::is_check")]
    pub never_deployed_images: Handling,
    /// Hours after its push from which such an image is checked.
    #[serde(default, skip_serializing_if = "NeverDeployedAfterHours::is_default")]
    never_deployed_after_hours: NeverDeployedAfterHours,
    /// What becomes of untagged images that belong to no index and no subject.
    #[serde(default = "kept", skip_serializing_if = "Handling::is_keep")]
    pub untagged_images: Handling,
    /// How many of the newest ACTIVE revisions of a family of [`Self::service_only_families`] are a use by themselves; all
    /// of them if it is zero.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub active_revisions_per_family: u32,
    /// Families that nothing but services starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_only_families: Vec<FamilyPattern>,
    /// Present exactly where the kind of workloads is `organization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<Organization>,
}

/// What it means for a repository that its policy admits others than the workloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutsidePullers {
    /// It is kept as a whole: what they use is not visible.
    #[default]
    Keep,
    /// What they use does not count.
    Ignore,
}

impl OutsidePullers {
    fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

/// What becomes of images that nothing uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// They are deleted.
    #[default]
    Delete,
    /// They go into ECR's archive storage class, from which they can be restored.
    Archive,
}

impl Action {
    fn is_delete(&self) -> bool {
        *self == Self::Delete
    }
}

/// What becomes of images of a kind that nothing is known to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Handling {
    /// They stay.
    Keep,
    /// They are checked like all others.
    Check,
}

impl Handling {
    fn is_keep(&self) -> bool {
        *self == Self::Keep
    }

    fn is_check(&self) -> bool {
        *self == Self::Check
    }
}

fn kept() -> Handling {
    Handling::Keep
}

fn checked() -> Handling {
    Handling::Check
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// 1 to 8760, and two weeks if nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct NeverDeployedAfterHours(RollbackWindowHours);

impl Default for NeverDeployedAfterHours {
    fn default() -> Self {
        Self(RollbackWindowHours(336))
    }
}

impl NeverDeployedAfterHours {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// [`SCHEMA_VERSION`] as a type that no other number deserializes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "u64", try_from = "u64")]
struct SchemaVersion;

impl From<SchemaVersion> for u64 {
    fn from(_: SchemaVersion) -> u64 {
        SCHEMA_VERSION
    }
}

impl TryFrom<u64> for SchemaVersion {
    type Error = EnvelopeError;

    fn try_from(version: u64) -> Result<Self, EnvelopeError> {
        if version == SCHEMA_VERSION { Ok(Self) } else { Err(EnvelopeError::UnknownVersion(version.to_string())) }
    }
}

/// 1 to 8760.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
struct RollbackWindowHours(u16);

impl From<RollbackWindowHours> for u16 {
    fn from(hours: RollbackWindowHours) -> u16 {
        hours.0
    }
}

impl TryFrom<u16> for RollbackWindowHours {
    type Error = SettingsError;

    fn try_from(hours: u16) -> Result<Self, SettingsError> {
        if (1..=8760).contains(&hours) { Ok(Self(hours)) } else { Err(SettingsError::RollbackWindow(hours)) }
    }
}

/// Why settings cannot be made or put into a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The rollback window is out of bounds.
    #[error("a rollback window of {0} hours is not between 1 and 8760")]
    RollbackWindow(u16),
    /// The workloads' kind and the organization do not go together.
    #[error("the settings of {0} name an organization although its workloads are accounts, or the other way round")]
    Kind(String),
    /// Longer than a rule's template may be.
    #[error("the settings of {name} make an input template of {length} characters; {TEMPLATE_LIMIT} fit")]
    TooLong {
        /// Whose settings.
        name: String,
        /// How long the template would be.
        length: usize,
    },
    /// Something in them would be read as a placeholder of the template, or is not ASCII.
    #[error("the settings of {name} contain {character:?}, which an input template cannot carry")]
    Character {
        /// Whose settings.
        name: String,
        /// The first such character.
        character: char,
    },
}

/// What the owner of an EcrCleanup chose, beside where it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// See [`Settings::regions`].
    pub regions: BTreeSet<Region>,
    /// See [`Settings::opt_in_tag`].
    pub opt_in_tag: OptInTag,
    /// See [`Settings::rollback_window`], in hours.
    pub rollback_window_hours: u16,
    /// See [`Settings::dry_run`].
    pub dry_run: bool,
    /// See [`Settings::keep_newest_images`].
    pub keep_newest_images: u32,
    /// See [`Settings::keep_tag_patterns`].
    pub keep_tag_patterns: Vec<TagPattern>,
    /// See [`Settings::keep_pulled_within`], in hours, if it is given.
    pub keep_pulled_within_hours: Option<u16>,
    /// See [`Settings::uncovered_accounts`].
    pub uncovered_accounts: BTreeSet<AccountId>,
    /// See [`Settings::outside_pullers`].
    pub outside_pullers: OutsidePullers,
    /// See [`Settings::action`].
    pub action: Action,
    /// See [`Settings::never_deployed_images`].
    pub never_deployed_images: Handling,
    /// See [`Settings::never_deployed_after`], in hours.
    pub never_deployed_after_hours: u16,
    /// See [`Settings::untagged_images`].
    pub untagged_images: Handling,
    /// See [`Settings::active_revisions_per_family`].
    pub active_revisions_per_family: u32,
    /// See [`Settings::service_only_families`].
    pub service_only_families: Vec<FamilyPattern>,
    /// See [`Settings::organization`].
    pub organization: Option<Organization>,
}

impl Settings {
    /// The settings of the EcrCleanup `names` in `hub`, its parts named by [`Names`].
    ///
    /// # Errors
    /// The rollback window is out of bounds, or kind and organization do not go together.
    pub fn new(names: Names, hub: Hub, scheduler_role_arn: Arn, choices: Choices) -> Result<Self, SettingsError> {
        let part = names.part();
        let bus = format!("arn:{}:events:{}:{}:event-bus/{part}", hub.region.partition(), hub.region, hub.account);
        let settings = Self {
            schema_version: SchemaVersion,
            hub,
            aggregator_name: part.clone(),
            // Made of validated parts: always an ARN.
            event_bus_arn: Arn::try_from(bus).map_err(|e| SettingsError::Kind(e.to_string()))?,
            schedule_group_name: part,
            scheduler_role_arn,
            regions: choices.regions,
            opt_in_tag: choices.opt_in_tag,
            rollback_window_hours: choices.rollback_window_hours.try_into()?,
            dry_run: choices.dry_run,
            keep_newest_images: choices.keep_newest_images,
            keep_tag_patterns: choices.keep_tag_patterns,
            keep_pulled_within_hours: choices.keep_pulled_within_hours.map(u16::try_into).transpose()?,
            uncovered_accounts: choices.uncovered_accounts,
            outside_pullers: choices.outside_pullers,
            action: choices.action,
            never_deployed_images: choices.never_deployed_images,
            never_deployed_after_hours: NeverDeployedAfterHours(choices.never_deployed_after_hours.try_into()?),
            untagged_images: choices.untagged_images,
            active_revisions_per_family: choices.active_revisions_per_family,
            service_only_families: choices.service_only_families,
            organization: choices.organization,
            names,
        };
        settings.check_kind()?;
        Ok(settings)
    }

    fn check_kind(&self) -> Result<(), SettingsError> {
        let of_organization = self.names.kind == crate::names::Kind::Organization;
        if self.organization.is_some() == of_organization {
            Ok(())
        } else {
            Err(SettingsError::Kind(self.names.to_string()))
        }
    }

    /// How long after its last change an image is checked.
    pub fn rollback_window(&self) -> SignedDuration {
        SignedDuration::from_hours(self.rollback_window_hours.0.into())
    }

    /// How long an image stays at least after a recorded pull; never less than the rollback window.
    pub fn keep_pulled_within(&self) -> SignedDuration {
        let given = self.keep_pulled_within_hours.map(|hours| SignedDuration::from_hours(hours.0.into()));
        given.unwrap_or(SignedDuration::ZERO).max(self.rollback_window())
    }

    /// How long after its push an image that no task definition ever named stays at least.
    pub fn never_deployed_after(&self) -> SignedDuration {
        SignedDuration::from_hours(self.never_deployed_after_hours.0.0.into())
    }

    /// Whether a registry is one of those that are cleaned up: the hub's, in the regions of the settings.
    pub fn cleans_up(&self, registry: &Registry) -> bool {
        registry.account == self.hub.account && self.regions.contains(&registry.region)
    }

    /// The input template of the bus's rules: these settings around the whole event.
    ///
    /// # Errors
    /// What a template cannot carry, by name: too long, or a character that a template gives another meaning.
    pub fn input_template(&self) -> Result<String, SettingsError> {
        let settings = serde_json::json!(self).to_string();
        // In a template, `<` begins a placeholder and a backslash escapes; neither is in the grammar of any setting.
        let forbidden = |c: &char| !matches!(c, ' '..='~') || matches!(c, '<' | '>' | '\\');
        if let Some(character) = settings.chars().find(forbidden) {
            return Err(SettingsError::Character { name: self.names.to_string(), character });
        }
        let template = format!(r#"{{"cleanup": {settings}, "event": <aws.events.event.json>}}"#);
        if template.len() > TEMPLATE_LIMIT {
            return Err(SettingsError::TooLong { name: self.names.to_string(), length: template.len() });
        }
        Ok(template)
    }
}

/// An event as EventBridge delivers it, whatever it says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Event {
    /// Unique for each event that was put.
    pub id: String,
    /// The service or application that put it.
    pub source: String,
    /// What kind of event of this source.
    #[serde(rename = "detail-type")]
    pub detail_type: String,
    /// The account it was put in.
    pub account: AccountId,
    /// The region it was put in.
    pub region: Region,
    /// When it was put. Not younger than its contents, and not to be trusted for a deletion.
    pub time: Timestamp,
    /// The contents.
    pub detail: Value,
}

/// A message as the rules of an EcrCleanup's bus write it.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The EcrCleanup's settings when the message was written.
    pub settings: Settings,
    /// The event.
    pub event: Event,
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON.
    #[error("the message is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// Not `{"cleanup": …, "event": …}`.
    #[error("the message has no {0:?}")]
    Missing(&'static str),
    /// Settings of another version of this software.
    #[error("the message carries settings of schema version {0}; this code knows {SCHEMA_VERSION}")]
    UnknownVersion(String),
    /// A setting of another version of this software.
    #[error("the message carries the setting {0}, which this code does not know")]
    UnknownSetting(Quoted),
    /// Settings of the known version that cannot be read.
    #[error("the message's settings cannot be read")]
    Settings(#[source] serde_json::Error),
    /// Settings that contradict themselves.
    #[error("the message's settings contradict themselves")]
    Contradiction(#[source] SettingsError),
    /// Not an EventBridge event.
    #[error("the message's event cannot be read")]
    Event(#[source] serde_json::Error),
}

/// The names of all settings.
const KNOWN: [&str; 24] = [
    "schemaVersion",
    "name",
    "kind",
    "hub",
    "aggregatorName",
    "eventBusArn",
    "scheduleGroupName",
    "schedulerRoleArn",
    "regions",
    "optInTag",
    "rollbackWindowHours",
    "dryRun",
    "keepNewestImages",
    "keepTagPatterns",
    "keepPulledWithinHours",
    "uncoveredAccounts",
    "outsidePullers",
    "action",
    "neverDeployedImages",
    "neverDeployedAfterHours",
    "untaggedImages",
    "activeRevisionsPerFamily",
    "serviceOnlyFamilies",
    "organization",
];

impl Envelope {
    /// Reads a message's body.
    ///
    /// # Errors
    /// Whatever keeps it from being read; an unknown version is told apart from all else.
    pub fn read(body: &str) -> Result<Self, EnvelopeError> {
        let mut message: Value = serde_json::from_str(body).map_err(EnvelopeError::NotJson)?;
        let mut take = |key: &'static str| {
            message.get_mut(key).map(Value::take).filter(Value::is_object).ok_or(EnvelopeError::Missing(key))
        };
        let (cleanup, event) = (take("cleanup")?, take("event")?);
        // Before all else: of an unknown version nothing else is known.
        match cleanup.get("schemaVersion") {
            Some(version) if version.as_u64() == Some(SCHEMA_VERSION) => {}
            version => {
                return Err(EnvelopeError::UnknownVersion(
                    version.map_or("none".to_owned(), |v| Quoted::of(&v.to_string()).to_string()),
                ));
            }
        }
        // A setting that this code does not know may be one that protects.
        let unknown =
            cleanup.as_object().into_iter().flatten().map(|(key, _)| key).find(|key| !KNOWN.contains(&key.as_str()));
        if let Some(key) = unknown {
            return Err(EnvelopeError::UnknownSetting(Quoted::of(key)));
        }
        let settings: Settings = serde_json::from_value(cleanup).map_err(EnvelopeError::Settings)?;
        settings.check_kind().map_err(EnvelopeError::Contradiction)?;
        let event = serde_json::from_value(event).map_err(EnvelopeError::Event)?;
        Ok(Self { settings, event })
    }

    /// Whether the message was emitted so recently that its settings are in force. One that is not is never acted on,
    /// only scheduled afresh.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.event.time) <= FRESH_FOR
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::names::Kind;

    /// The settings of an EcrCleanup as its messages carry them, to be changed by a test.
    pub(crate) fn cleanup() -> Value {
        serde_json::from_str(include_str!("../fixtures/cleanup.json")).unwrap()
    }

    fn settings() -> Settings {
        let names = Names { name: "prod".parse().unwrap(), kind: Kind::Accounts };
        let hub = Hub { account: "111111111111".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
        let choices = Choices {
            regions: ["eu-west-1", "us-east-1"].map(|r| r.parse().unwrap()).into(),
            opt_in_tag: OptInTag { key: "ecr-cleanup".parse().unwrap(), value: None },
            rollback_window_hours: 24,
            dry_run: false,
            keep_newest_images: 0,
            keep_tag_patterns: vec!["prod-*".parse().unwrap()],
            keep_pulled_within_hours: None,
            uncovered_accounts: BTreeSet::new(),
            never_deployed_images: Handling::Check,
            never_deployed_after_hours: 336,
            untagged_images: Handling::Keep,
            active_revisions_per_family: 0,
            service_only_families: Vec::new(),
            outside_pullers: OutsidePullers::Keep,
            action: Action::Delete,
            organization: None,
        };
        let role = "arn:aws:iam::111111111111:role/ecr-cleanup-scheduler-eu-west-1".parse().unwrap();
        Settings::new(names, hub, role, choices).unwrap()
    }

    fn event() -> Value {
        json!({
            "version": "0", "id": "1", "source": "aws.ecs", "detail-type": "x", "account": "222222222222",
            "region": "eu-west-1", "time": "2026-11-23T12:00:00Z", "resources": [], "detail": {}
        })
    }

    fn filled(template: &str) -> String {
        template.replace("<aws.events.event.json>", &event().to_string())
    }

    #[test]
    fn the_settings_have_the_documented_shape() {
        assert_eq!(
            json!(settings()),
            json!({
                "schemaVersion": 1, "name": "prod", "kind": "accounts",
                "hub": {"account": "111111111111", "region": "eu-west-1"},
                "aggregatorName": "ecr-cleanup-prod-accounts",
                "eventBusArn": "arn:aws:events:eu-west-1:111111111111:event-bus/ecr-cleanup-prod-accounts",
                "scheduleGroupName": "ecr-cleanup-prod-accounts",
                "schedulerRoleArn": "arn:aws:iam::111111111111:role/ecr-cleanup-scheduler-eu-west-1",
                "regions": ["eu-west-1", "us-east-1"], "optInTag": {"key": "ecr-cleanup", "value": null},
                "rollbackWindowHours": 24, "dryRun": false, "keepNewestImages": 0, "keepTagPatterns": ["prod-*"],
            })
        );
    }

    #[test]
    fn what_a_rule_writes_is_read_back() {
        let envelope = Envelope::read(&filled(&settings().input_template().unwrap())).unwrap();
        assert_eq!(envelope.settings, settings());
        assert_eq!(envelope.event.time, "2026-11-23T12:00:00Z".parse().unwrap());
        assert_eq!(envelope.settings.rollback_window(), SignedDuration::from_hours(24));
    }

    #[test]
    fn an_image_stays_after_a_pull_for_what_is_chosen_but_never_less_than_the_window() {
        for (chosen, hours) in [(None, 24), (Some(1), 24), (Some(72), 72)] {
            let mut settings = settings();
            settings.keep_pulled_within_hours = chosen.map(RollbackWindowHours);
            assert_eq!(settings.keep_pulled_within(), SignedDuration::from_hours(hours), "{chosen:?}");
        }
    }

    #[test]
    fn what_is_chosen_beyond_the_defaults_is_read_back() {
        let mut chosen = settings();
        chosen.keep_pulled_within_hours = Some(RollbackWindowHours(72));
        chosen.uncovered_accounts = ["222222222222".parse().unwrap()].into();
        chosen.outside_pullers = OutsidePullers::Ignore;
        chosen.action = Action::Archive;
        let envelope = Envelope::read(&filled(&chosen.input_template().unwrap())).unwrap();
        assert_eq!(envelope.settings, chosen);
        let mut unknown = json!({"cleanup": chosen, "event": event()});
        unknown["cleanup"]["action"] = json!("remove");
        assert!(matches!(Envelope::read(&unknown.to_string()), Err(EnvelopeError::Settings(_))));
    }

    #[test]
    fn a_message_is_fresh_for_fifteen_minutes() {
        let envelope = Envelope::read(&filled(&settings().input_template().unwrap())).unwrap();
        assert!(envelope.is_fresh("2026-11-23T12:15:00Z".parse().unwrap()));
        assert!(!envelope.is_fresh("2026-11-23T12:15:00.001Z".parse().unwrap()));
    }

    #[test]
    fn settings_that_do_not_fit_a_template_are_refused() {
        let mut long = settings();
        long.keep_tag_patterns = (0..70).map(|n| format!("{n}{}", "a".repeat(120)).parse().unwrap()).collect();
        assert!(matches!(long.input_template(), Err(SettingsError::TooLong { length, .. }) if length > TEMPLATE_LIMIT));
        let mut placeholder = settings();
        placeholder.aggregator_name = "<aws.events.rule-arn>".to_owned();
        assert!(matches!(placeholder.input_template(), Err(SettingsError::Character { character: '<', .. })));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_reason() {
        let with = |change: &dyn Fn(&mut Value)| {
            let mut message = json!({"cleanup": settings(), "event": event()});
            change(&mut message);
            Envelope::read(&message.to_string())
        };
        assert!(with(&|_| ()).is_ok());
        assert!(matches!(Envelope::read(""), Err(EnvelopeError::NotJson(_))));
        assert!(matches!(Envelope::read("[]"), Err(EnvelopeError::Missing("cleanup"))));
        assert!(matches!(with(&|m| m["event"] = json!("x")), Err(EnvelopeError::Missing("event"))));
        for version in [json!(2), json!("1"), json!(null)] {
            let read = with(&|m| m["cleanup"]["schemaVersion"] = version.clone());
            assert!(matches!(read, Err(EnvelopeError::UnknownVersion(_))), "{version}");
        }
        for (key, value) in [
            ("rollbackWindowHours", json!(0)),
            ("rollbackWindowHours", json!(8761)),
            ("name", json!("it's")),
            ("kind", json!("both")),
            ("regions", json!(["here"])),
            ("eventBusArn", json!("bus")),
        ] {
            let read = with(&|m| m["cleanup"][key] = value.clone());
            assert!(matches!(read, Err(EnvelopeError::Settings(_))), "{key}={value}");
        }
        let read = with(&|m| m["cleanup"]["keepEverything"] = json!(true));
        assert!(matches!(read, Err(EnvelopeError::UnknownSetting(_))));
        let read = with(&|m| m["cleanup"]["kind"] = json!("organization"));
        assert!(matches!(read, Err(EnvelopeError::Contradiction(_))));
        assert!(matches!(with(&|m| m["event"]["time"] = json!("noon")), Err(EnvelopeError::Event(_))));
    }

    #[test]
    fn ids_of_organizations_are_told_apart() {
        assert!("o-exampleorgid".parse::<OrganizationId>().is_ok());
        assert!("ou-examp-le123456".parse::<OrganizationId>().is_err());
        for (text, accepted) in [
            ("ou-ab12-11111111", true),
            ("r-ab12", true),
            ("ou-ab12", false),
            ("ou-AB12-11111111", false),
            ("o-exampleorgid", false),
        ] {
            assert_eq!(text.parse::<OrganizationalUnitId>().is_ok(), accepted, "{text}");
        }
    }
}
