//! What happened: the lines of `--json`, whose field names stay as they are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

/// Something that happened somewhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// When, in virtual time.
    pub time: Timestamp,
    /// The account's id.
    pub account: String,
    /// The account's name in the scenario, or `hub`.
    pub account_name: String,
    /// The region.
    pub region: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. `event` names the kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum What {
    /// A repository was made.
    RepositoryCreated {
        /// Its name.
        repository: String,
        /// Its tags.
        tags: BTreeMap<String, String>,
        /// Whether image tags can move.
        mutable_tags: bool,
    },
    /// An image was pushed.
    Pushed {
        /// Its name here.
        image: String,
        /// Its digest.
        digest: String,
        /// Its size as ECR counts it.
        bytes: u64,
    },
    /// An image got another tag.
    Tagged {
        /// Its name here.
        image: String,
        /// The tag.
        tag: String,
    },
    /// A task definition was registered.
    Registered {
        /// Family and revision.
        task_definition: String,
        /// The image of its container.
        image: String,
    },
    /// A task definition was deregistered.
    Deregistered {
        /// Family and revision.
        task_definition: String,
    },
    /// A service was made.
    ServiceCreated {
        /// Its name.
        service: String,
        /// What it runs.
        task_definition: String,
    },
    /// A service was told to run another revision.
    ServiceUpdated {
        /// Its name.
        service: String,
        /// What it runs.
        task_definition: String,
    },
    /// A service was ended.
    ServiceDeleted {
        /// Its name.
        service: String,
    },
    /// A repository's tag was set, or taken away.
    RepositoryTagged {
        /// Its name.
        repository: String,
        /// The tag's key.
        key: String,
        /// The tag's value; absent when it was taken away.
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    /// AWS Config's recorder was started or stopped.
    Recorder {
        /// Whether it records now.
        records: bool,
    },
    /// Properties of the EcrCleanup were changed, by an update of its stack.
    StackUpdated {
        /// The properties, as YAML.
        properties: BTreeMap<String, String>,
    },
    /// AWS refused what somebody wanted.
    Refused {
        /// The operation.
        operation: String,
        /// AWS's words.
        reason: String,
    },
    /// A stack came into a status.
    Stack {
        /// Its name.
        stack: String,
        /// The status, as CloudFormation calls it.
        status: String,
        /// CloudFormation's reason.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// How many resources it holds.
        resources: usize,
    },
    /// The EcrCleanup's bus received that a task definition changed.
    TaskDefinition {
        /// Family and revision.
        task_definition: String,
        /// `ACTIVE`, `INACTIVE` or `DELETED`.
        status: String,
        /// `CloudTrail` or `Config`.
        told_by: String,
        /// When the event says that it changed.
        changed: Timestamp,
    },
    /// The sweep looked at the images of an opted-in repository.
    Swept {
        /// Its name.
        repository: String,
        /// Images in it.
        images: u64,
        /// Those that something uses.
        in_use: u64,
        /// Those that a rule keeps.
        kept: u64,
        /// Those that it is too early for.
        too_early: u64,
        /// Those that have a check now.
        to_be_checked: u64,
        /// Those of which nothing can be said.
        unknown: u64,
        /// What could not be found out.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The check of an image was scheduled.
    CheckScheduled {
        /// Its name here.
        image: String,
        /// Its repository.
        repository: String,
        /// Its digest.
        digest: String,
        /// When the check is due.
        due: Timestamp,
        /// Whether it was due earlier before.
        moved: bool,
    },
    /// The check of an image is due.
    CheckDue {
        /// Its name here.
        image: String,
        /// Its repository.
        repository: String,
        /// Its digest.
        digest: String,
    },
    /// Evidence was gathered for the checks that were due.
    Evidence {
        /// Queries of the aggregator.
        config_queries: usize,
        /// Rows that they found.
        rows: usize,
        /// Accounts and regions that were asked themselves.
        places_asked: usize,
        /// All calls.
        calls: usize,
        /// Calls that failed.
        failed: usize,
    },
    /// An image was deleted.
    Deleted {
        /// About the image.
        #[serde(flatten)]
        check: Outcome,
        /// The bytes that this freed.
        bytes: u64,
        /// The children and attachments that went with it.
        deleted_with: Vec<String>,
    },
    /// An image is kept.
    Kept {
        /// About the image.
        #[serde(flatten)]
        check: Outcome,
    },
    /// The check of an image was postponed.
    Postponed {
        /// About the image.
        #[serde(flatten)]
        check: Outcome,
        /// When it is looked at again.
        until: Option<Timestamp>,
    },
    /// An image was to be deleted, but could not be.
    Failed {
        /// About the image.
        #[serde(flatten)]
        check: Outcome,
    },
    /// An event on the bus that says nothing of a single image.
    Other {
        /// Its detail-type.
        detail_type: String,
    },
    /// Something did not reach its target.
    Undelivered {
        /// The rule, schedule or function.
        source: String,
        /// The target.
        target: String,
        /// Why.
        reason: String,
    },
    /// At the end: what became of a repository.
    Repository {
        /// Its name.
        repository: String,
        /// Images that were ever in it.
        images: usize,
        /// Their bytes.
        bytes: u64,
        /// Images that were deleted.
        deleted: usize,
        /// The bytes of those.
        deleted_bytes: u64,
        /// Images that are left: name and why.
        kept: BTreeMap<String, String>,
    },
    /// After the deletion: something that was made and is still there.
    Left {
        /// What it is.
        kind: String,
        /// Its name.
        name: String,
        /// Whether it stays on purpose.
        retained: bool,
    },
    /// After the deletion: how many things the listing looked at, and what of them is left.
    Listing {
        /// Things that were there while it was installed.
        made: usize,
        /// Those that are still there but should not be.
        left: usize,
        /// Those that stay on purpose.
        retained: usize,
    },
}

/// What a check says of one image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Its name here.
    pub image: String,
    /// Its repository.
    pub repository: String,
    /// Its digest.
    pub digest: String,
    /// The reason code.
    pub reason_code: String,
    /// The reason in words.
    pub reason: String,
}

impl What {
    /// Where it stands among what happened at the same time: cause before effect.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::TaskDefinition { .. } | Self::Swept { .. } => 1,
            Self::CheckScheduled { .. } => 2,
            Self::CheckDue { .. } => 3,
            Self::Evidence { .. } => 4,
            Self::Deleted { .. } | Self::Kept { .. } | Self::Postponed { .. } | Self::Failed { .. } => 5,
            Self::Other { .. } | Self::Undelivered { .. } => 6,
            _ => 0,
        }
    }
}
