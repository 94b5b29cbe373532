//! What happens in a history. Everything is named by small numbers, so that no action depends on another one's answer.

/// A history: who there is, and what happens when.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The seed it was made from, and that of all chance in its world.
    pub seed: u64,
    /// How many workload accounts there are, 1 to 3. One more account is outside: its images come from the hub only if a
    /// repository admits it.
    pub workloads: usize,
    /// How many regions there are, 1 or 2.
    pub regions: usize,
    /// The undocumented behaviours of AWS, one bit each.
    pub behaviours: u32,
    /// For each repository, whether its tags can move. All are opted in at first.
    pub movable_tags: Vec<bool>,
    /// What happens, in order of time.
    pub actions: Vec<Timed>,
}

/// An action and its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed {
    /// Minutes since the installation ended.
    pub minute: u32,
    /// What happens.
    pub action: Action,
}

/// A service of a team: its account (the one after the last workload is the outside one), region and family. Its task set
/// and its rule, if it has such, are called the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The account's number.
    pub account: usize,
    /// The region's number.
    pub region: usize,
    /// The family's number; the service has the same.
    pub family: usize,
}

/// How a task definition names an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// By tag.
    Tag,
    /// By digest.
    Digest,
    /// By tag and digest.
    Both,
    /// By the digest of an index's second child.
    Child,
}

/// What a repository's opt-in tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptIn {
    /// There is none.
    Out,
    /// `enabled`
    In,
    /// Settings: a window of twice the length.
    LongWindow,
    /// Settings: report only.
    DryRun,
    /// Nothing that can be read.
    Unreadable,
}

/// Why an account and region stops to show what it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blindness {
    /// The recorder does not record.
    Recorder,
    /// The aggregator cannot collect.
    Source,
    /// The aggregator is not authorized any more.
    Authorization,
    /// The stack set's instance is not there: no evidence role that trusts the hub, no coverage probe.
    Instance,
    /// The coverage probe alone is not there.
    Probe,
    /// The recorder records once a day.
    Daily,
    /// The recorder does not record services.
    MissingType,
}

/// What goes wrong between the product and AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireFault {
    /// Throttled.
    Throttle,
    /// HTTP 500.
    ServerError,
    /// No answer and no effect.
    Timeout,
    /// No answer, but the effect.
    LostAnswer,
    /// The function dies before the effect.
    CrashBefore,
    /// The function dies after the effect.
    CrashAfter,
    /// ECR or EventBridge does a part of a batch, and says of the rest that it failed. Other calls succeed.
    PartialBatch,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// An image is pushed.
    Push {
        /// The repository's number.
        repository: usize,
        /// The tag's number.
        tag: usize,
        /// Which contents.
        contents: u32,
    },
    /// An index of two untagged images is pushed.
    PushIndex {
        /// The repository's number.
        repository: usize,
        /// The tag's number.
        tag: usize,
        /// Which contents.
        contents: u32,
    },
    /// A signature is attached to an image.
    Sign {
        /// The repository's number.
        repository: usize,
        /// The tag's number.
        tag: usize,
        /// Under a tag, as older cosign does.
        cosign: bool,
    },
    /// Another tag is put on an image.
    Retag {
        /// The repository's number.
        repository: usize,
        /// The tag that the image has.
        from: usize,
        /// The tag that it gets.
        to: usize,
    },
    /// A tag is deleted by its team, and the image with its last one.
    DeleteTag {
        /// The repository's number.
        repository: usize,
        /// The tag's number.
        tag: usize,
    },
    /// A task definition is registered.
    Register {
        /// Whose.
        spot: Spot,
        /// The repository's number.
        repository: usize,
        /// The tag's number.
        tag: usize,
        /// How the image is named.
        by: By,
        /// The repository and the tag of a second container's image, which is named by tag.
        beside: Option<(usize, usize)>,
    },
    /// The service is deployed with the revision that is so many older than the latest; it is created if need be.
    Run {
        /// Whose.
        spot: Spot,
        /// How many older.
        back: usize,
    },
    /// The service is deployed again with the revision that it runs, by force: its tags are resolved anew.
    Redeploy {
        /// Whose.
        spot: Spot,
    },
    /// A task is started by itself.
    RunTask {
        /// Whose.
        spot: Spot,
        /// How many older than the latest.
        back: usize,
    },
    /// A user outside ECS names an image from now on: a CodeBuild project, or a Lambda function that has its digest.
    UseOutsideEcs {
        /// Whose.
        spot: Spot,
        /// The repository's number.
        repository: usize,
        /// The tag's number.
        tag: usize,
        /// How the image is named; by tag and digest means the digest of a function.
        by: By,
    },
    /// The user outside ECS is deleted.
    DropOutsideEcs {
        /// Whose.
        spot: Spot,
    },
    /// A revision is deregistered.
    Deregister {
        /// Whose.
        spot: Spot,
        /// How many older than the latest.
        back: usize,
    },
    /// The service scales, and its tasks are replaced.
    Scale {
        /// Whose.
        spot: Spot,
        /// To how many tasks.
        tasks: u32,
    },
    /// The service is deleted.
    Stop {
        /// Whose.
        spot: Spot,
    },
    /// A deregistered revision is deleted.
    Delete {
        /// Whose.
        spot: Spot,
        /// How many older than the latest.
        back: usize,
    },
    /// Somebody else than ECS deploys: a task set of the revision, beside those that are there.
    AddTaskSet {
        /// Whose.
        spot: Spot,
        /// How many older than the latest.
        back: usize,
    },
    /// The task sets are deleted.
    DropTaskSets {
        /// Whose.
        spot: Spot,
    },
    /// A rule starts the revision from now on, instead of any other.
    Rule {
        /// Whose.
        spot: Spot,
        /// How many older than the latest.
        back: usize,
    },
    /// The rule is deleted.
    DropRule {
        /// Whose.
        spot: Spot,
    },
    /// Deployments take so many minutes from now on, as those that wait for hooks and for traffic do.
    Rollout {
        /// Minutes.
        minutes: i64,
    },
    /// The repository's opt-in tag changes.
    OptIn {
        /// The repository's number.
        repository: usize,
        /// What it says.
        says: OptIn,
    },
    /// The repository's policy admits the outside account.
    Admit {
        /// The repository's number.
        repository: usize,
    },
    /// The stack is updated.
    Settings {
        /// `DryRun`
        dry_run: bool,
        /// `KeepNewestImages`
        keep_newest: usize,
    },
    /// The stack is updated, after which only so many of the workload accounts belong to it: some leave or join.
    Workloads {
        /// How many.
        count: usize,
    },
    /// The product's calls fail from now on, so many of a thousand.
    Wire {
        /// How.
        fault: WireFault,
        /// How many of a thousand.
        per_mille: u32,
    },
    /// Events and messages are lost, doubled and late from now on, so many of a hundred each.
    Delivery {
        /// Lost.
        lost: u32,
        /// Doubled.
        doubled: u32,
        /// Up to twenty minutes late.
        late: u32,
        /// Attempts to deliver that fail.
        failing: u32,
    },
    /// Config takes up to so many minutes from now on, for each of its two steps; zero means as long as ever.
    ConfigDelay {
        /// Minutes.
        minutes: i64,
    },
    /// An account and region does not show any more what it uses, or does again.
    Blind {
        /// Whose (the family does not matter).
        spot: Spot,
        /// Why.
        by: Blindness,
        /// It does not.
        on: bool,
    },
}
