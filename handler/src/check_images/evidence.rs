//! What a check found out about one image, and how complete that is.
//!
//! [`Evidence`] has one field for each kind of evidence, and each is [`Found::Known`] or [`Found::Missing`] with the reason.
//! Nothing here has a default: whoever gathers has to say of each kind what is known, so that a forgotten look-up is a
//! compile error and not an image that seems unused.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::policy::RepositorySettings;
use crate::account::AccountId;
use crate::image::{Digest, Tag};
use crate::region::Region;

/// One kind of evidence: what is known, or why it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<T> {
    /// Looked up, complete and readable.
    Known(T),
    /// Not known; nothing may be concluded from it.
    Missing(Because),
}

impl<T> Found<T> {
    /// The evidence, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(known) => Some(known),
            Self::Missing(_) => None,
        }
    }

    /// Why the evidence is missing, if it is.
    pub fn missing(&self) -> Option<&Because> {
        match self {
            Self::Known(_) => None,
            Self::Missing(because) => Some(because),
        }
    }

    /// Carries what is known on to what follows from it.
    pub fn map<U>(self, follow: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::Known(known) => Found::Known(follow(known)),
            Self::Missing(because) => Found::Missing(because),
        }
    }
}

impl<T> From<Result<T, Because>> for Found<T> {
    fn from(result: Result<T, Because>) -> Self {
        match result {
            Ok(known) => Self::Known(known),
            Err(because) => Self::Missing(because),
        }
    }
}

/// Why a kind of evidence is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Because {
    /// Which kind is missing; the reason code of outcome events and metrics.
    pub gap: Gap,
    /// For people: the call, account, error code and request id, or what could not be read.
    pub text: String,
}

impl Because {
    /// A gap with its explanation.
    pub fn new(gap: Gap, text: impl Into<String>) -> Self {
        Self { gap, text: text.into() }
    }
}

/// The kinds of evidence that can be missing. Their names are the reason codes that outcome events carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// The repository's tags or its mutability could not be read.
    Repository,
    /// Who may pull from the repository could not be determined.
    Pullers,
    /// The images of the repository could not be listed or read.
    Images,
    /// The manifests of index images could not be read, or a media type is unknown.
    Manifests,
    /// The aggregator did not answer, or with rows that could not be read.
    Usage,
    /// An account and region is not proven to show its uses.
    Coverage,
    /// Live deployments could not be read.
    Deployments,
    /// The digests that running services have pinned could not be read.
    PinnedDigests,
    /// The schedules of checks could not be read or made.
    Schedules,
    /// The check itself cannot be trusted: it came late, or its settings are of an unknown version.
    Message,
}

impl Gap {
    /// The reason code of this gap in events, log lines and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Repository => "repository-unreadable",
            Self::Pullers => "pullers-unknown",
            Self::Images => "images-unreadable",
            Self::Manifests => "manifests-unreadable",
            Self::Usage => "usage-unknown",
            Self::Coverage => "not-covered",
            Self::Deployments => "deployments-unknown",
            Self::PinnedDigests => "pinned-digests-unknown",
            Self::Schedules => "schedules-unknown",
            Self::Message => "message-late",
        }
    }
}

/// Everything that decides about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What the repository's tags say about taking part.
    pub participation: Found<Participation>,
    /// Whether the repository's tags can be moved to another image.
    pub mutability: Found<Mutability>,
    /// Who else than ECS may pull from the repository.
    pub pullers: Found<OtherPullers>,
    /// The image itself.
    pub image: Found<Presence>,
    /// How the image hangs together with others of its repository.
    pub relations: Found<Relations>,
    /// How many images of the repository were pushed after this one, not counting index children and attachments.
    pub newer_images: Found<usize>,
    /// Who uses the image, by any of its names.
    pub uses: Found<Vec<Use>>,
    /// Services that run the image by a digest that they pinned, whatever the tags say now.
    pub pinned: Found<Vec<Use>>,
    /// The latest time at which Config captured a change of a revision that names the image, or a deployment that ran it ended,
    /// if there is any.
    pub last_named: Found<Option<Timestamp>>,
    /// Whether every account and region that may pull from the repository would have shown a use.
    pub coverage: Found<Covered>,
    /// The latest event about the image that its schedule carries.
    pub last_change: Timestamp,
    /// Why the image is a candidate.
    pub candidacy: Candidacy,
}

/// Why an image is a candidate for deletion: what its check was scheduled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidacy {
    /// An event said that a task definition named it. Otherwise a sweep found it, and whether one ever did is for the
    /// evidence to say.
    pub named: bool,
    /// When the deletion was begun here of an image that it was a child or an attachment of.
    pub orphaned_at: Option<Timestamp>,
}

impl Candidacy {
    /// An image that a sweep found.
    pub const SWEPT: Self = Self { named: false, orphaned_at: None };

    /// What both say.
    pub fn and(self, other: Self) -> Self {
        Self { named: self.named || other.named, orphaned_at: self.orphaned_at.max(other.orphaned_at) }
    }

    /// Whether the image belonged to one whose deletion was begun here. One that was pushed since then is there for a reason
    /// of its own.
    pub fn is_orphan(self, image: &ImageFacts) -> bool {
        self.orphaned_at.is_some_and(|at| image.pushed_at <= at)
    }

    /// Whether a task definition ever named the image, or what it belonged to, as far as this and Config tell.
    pub fn was_deployed(self, image: &ImageFacts, last_named: Option<Timestamp>) -> bool {
        self.named || self.is_orphan(image) || last_named.is_some()
    }
}

/// What the opt-in tag of a repository says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Participation {
    /// The repository takes part, with settings of its own.
    In(RepositorySettings),
    /// The repository does not take part.
    Out,
    /// The tag is there, but its value cannot be understood: nothing is deleted.
    Unreadable {
        /// What is wrong with the value.
        reason: String,
    },
}

/// Whether tags of a repository can move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// `IMMUTABLE`: a tag stays with its image until it is deleted.
    Fixed,
    /// Any other setting, including those with exclusions.
    Movable,
}

/// Users of a repository that AWS Config does not show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherPullers {
    /// AWS services that the repository policy admits, `lambda.amazonaws.com` say.
    pub services: BTreeSet<String>,
    /// Principals that the policy admits and that cannot be enumerated or are outside the cleanup's workloads.
    pub outside: BTreeSet<String>,
    /// The pull-through cache rule whose prefix holds the repository.
    pub pull_through_cache: Option<String>,
}

/// Whether the image is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// The repository has no such digest.
    Gone,
    /// The image as ECR describes it.
    Present(ImageFacts),
}

/// What ECR tells about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its digest.
    pub digest: Digest,
    /// All its tags.
    pub tags: BTreeSet<Tag>,
    /// When it was pushed last.
    pub pushed_at: Timestamp,
    /// The last recorded pull (`lastRecordedPullTime`, which lags by up to 24 hours).
    pub pulled_at: Option<Timestamp>,
    /// Its size in bytes as ECR counts it.
    pub size_in_bytes: u64,
    /// What its manifest is.
    pub kind: ImageKind,
    /// Where it is stored.
    pub status: StorageStatus,
    /// The image that this one is attached to (`subjectManifestDigest`).
    pub subject: Option<Digest>,
}

/// What a manifest is, by its media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageKind {
    /// An image or artifact manifest.
    Single,
    /// An image index or manifest list.
    Index,
    /// Something that this version does not know.
    Unknown {
        /// The media type, or a remark that ECR gave none.
        media_type: String,
    },
}

/// The storage class of an image (`imageStatus`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageStatus {
    /// It can be pulled.
    Active,
    /// It is in the archive storage class and cannot be pulled.
    Archived,
    /// It is being restored, or in a state that this version does not know.
    Other(String),
}

/// How an image hangs together with others of its repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relations {
    /// Indexes that list the image.
    pub parents: BTreeSet<Digest>,
    /// The image that this one is attached to (a signature's subject, say), if that is still there.
    pub attached_to: Option<Digest>,
    /// For an index: the images it lists that are in the repository.
    pub children: Vec<Child>,
    /// Signatures, SBOMs and attestations of the image and of its children.
    pub attachments: Vec<Attachment>,
}

/// An image that an index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The child as ECR describes it.
    pub image: ImageFacts,
    /// Whether an index other than the one at hand lists it too.
    pub has_other_parent: bool,
    /// Whether it is attached to an image that does not go with the index.
    pub needed_elsewhere: bool,
}

/// An artifact that names an image as its subject, by `subject` or by cosign's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The artifact as ECR describes it.
    pub image: ImageFacts,
    /// The image it is attached to.
    pub subject: Digest,
    /// Whether it is needed by something else: a tag that is not cosign's, an index, a use.
    pub needed_elsewhere: bool,
}

/// One user of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// Where it is.
    pub account: AccountId,
    /// Where it is.
    pub region: Region,
    /// The ARN (or id) of what uses the image.
    pub resource: String,
    /// Why it counts, `task definition is ACTIVE` say.
    pub how: String,
}

/// Proof that every account and region that may pull from the repository would have shown a use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// How many pairs of account and region were proven.
    pub pairs: usize,
}
