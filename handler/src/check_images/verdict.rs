//! From evidence to verdict: a total, pure function.
//!
//! # Guarantees
//! - [`Verdict::Delete`] carries a [`Deletion`], and a `Deletion` can only be made in this module from `Complete`, which
//!   has no field that could be missing. So no gap in the evidence can lead to a deletion (promise S2).
//! - What is known to keep an image keeps it, whatever else is missing; gaps postpone; then the clock decides (S4).
//! - Taking evidence away never turns *keep* or *postpone* into *delete*; adding a use never leads to *delete*.

use jiff::{SignedDuration, Timestamp};

use super::evidence::{
    Attachment, Because, Candidacy, Child, Evidence, Gap, ImageFacts, ImageKind, Mutability, Participation, Presence,
    StorageStatus, Use,
};
use super::policy::Policy;
use crate::image::{Digest, Tag};

/// ECR refreshes `lastRecordedPullTime` at least every 24 hours, so a pull may be that much later than it says.
pub const PULL_TIME_LAG: SignedDuration = SignedDuration::from_hours(24);

/// What is to become of an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing uses it and the window has passed.
    Delete(Deletion),
    /// It stays, for a reason that is known.
    Keep(KeepReason),
    /// It stays for now.
    Postpone(Postponement),
    /// It is gone already.
    Gone,
}

/// Why an image stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    /// The repository does not carry the opt-in tag.
    NotOptedIn,
    /// The opt-in tag's value cannot be understood.
    OptInUnreadable(String),
    /// The image is in the archive storage class, or on its way out of it.
    NotActive(String),
    /// Something uses it.
    InUse(Use),
    /// An index lists it.
    ListedBy(Digest),
    /// It is a signature or the like of an image that is still there.
    AttachedTo(Digest),
    /// `KeepTagPatterns` protects one of its tags.
    TagProtected(Tag),
    /// It is among the newest images of its repository.
    AmongNewest(usize),
    /// The repository policy admits an AWS service whose use nobody can see.
    PulledByService(String),
    /// The repository policy admits somebody who cannot be enumerated or is outside the workloads.
    PulledFromOutside(String),
    /// The repository is filled by a pull-through cache rule.
    PullThroughCache(String),
    /// It is an index and would be archived: ECR no longer shows what an archived index lists.
    IndexNotArchived,
    /// No task definition of any status names it, and `NeverDeployedImages` is `Keep`.
    NeverDeployed,
    /// It has no tag, and `UntaggedImages` is `Keep`.
    Untagged,
    /// It would be deleted, were it not for `DryRun`.
    DryRun,
}

impl KeepReason {
    /// The reason code for events, log lines and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotOptedIn => "not-opted-in",
            Self::OptInUnreadable(_) => "opt-in-unreadable",
            Self::NotActive(_) => "not-active",
            Self::InUse(_) => "in-use",
            Self::ListedBy(_) => "listed-by-index",
            Self::AttachedTo(_) => "attached",
            Self::TagProtected(_) => "tag-protected",
            Self::AmongNewest(_) => "among-newest",
            Self::PulledByService(_) => "pulled-by-service",
            Self::PulledFromOutside(_) => "pulled-from-outside",
            Self::PullThroughCache(_) => "pull-through-cache",
            Self::IndexNotArchived => "index-not-archived",
            Self::NeverDeployed => "never-deployed",
            Self::Untagged => "untagged",
            Self::DryRun => "dry-run",
        }
    }

    /// The reason for people.
    pub fn text(&self) -> String {
        match self {
            Self::NotOptedIn => "the repository does not carry the opt-in tag".into(),
            Self::OptInUnreadable(reason) => format!("the opt-in tag's value cannot be understood: {reason}"),
            Self::NotActive(status) => format!("the image's status is {status}"),
            Self::InUse(used) => {
                format!("{} in account {} and region {}: {}", used.resource, used.account, used.region, used.how)
            }
            Self::ListedBy(parent) => format!("the index {parent} lists it"),
            Self::AttachedTo(subject) => format!("it is attached to {subject}, which is still there"),
            Self::TagProtected(tag) => format!("KeepTagPatterns protects its tag {tag}"),
            Self::AmongNewest(1) => "it is the newest image of its repository".into(),
            Self::AmongNewest(count) => format!("it is among the newest {count} images of its repository"),
            Self::PulledByService(service) => {
                format!("the repository policy admits {service}, whose use of images is not visible")
            }
            Self::PulledFromOutside(principal) => {
                format!("the repository policy admits {principal}, whose use of images is not visible")
            }
            Self::PullThroughCache(prefix) => format!("the repository belongs to the pull-through cache rule {prefix}"),
            Self::IndexNotArchived => {
                "it is an index, and once it were archived ECR would not show any more which images it needs".into()
            }
            Self::NeverDeployed => "no task definition names it, and NeverDeployedImages is Keep".into(),
            Self::Untagged => "it has no tag, and UntaggedImages is Keep".into(),
            Self::DryRun => "DryRun: it would have been deleted".into(),
        }
    }
}

/// Why and until when a check is put off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Postponement {
    /// The rollback window, or the time since the last pull, has not passed.
    TooEarly {
        /// When it will have.
        until: Timestamp,
        /// What began it, for people.
        since: String,
    },
    /// Evidence is missing; try again later.
    Missing(Vec<Because>),
}

impl Postponement {
    /// The reason code for events, log lines and metrics: of several gaps, the first.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooEarly { .. } => "too-early",
            Self::Missing(gaps) => gaps.first().map_or(Gap::Message, |because| because.gap).code(),
        }
    }

    /// The reason for people.
    pub fn text(&self) -> String {
        match self {
            Self::TooEarly { since, .. } => since.clone(),
            Self::Missing(gaps) => gaps.iter().map(|because| because.text.as_str()).collect::<Vec<_>>().join("; "),
        }
    }
}

/// What to delete, and how. Made only by [`judge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    image: ImageFacts,
    mutability: Mutability,
    children: Vec<ImageFacts>,
    staying: Vec<Digest>,
    attachments: Vec<ImageFacts>,
}

impl Deletion {
    /// The image as it was looked at.
    pub fn image(&self) -> &ImageFacts {
        &self.image
    }

    /// Whether the repository's tags can move.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    /// The children that go with an index: those without a tag, another parent, use or protection of their own.
    pub fn children(&self) -> &[ImageFacts] {
        &self.children
    }

    /// The untagged children of an index that stay when it goes: another index lists them, something uses them, they are
    /// archived, or indexes with children of their own. Once nothing holds them, nobody would know what they were.
    pub fn staying(&self) -> &[Digest] {
        &self.staying
    }

    /// The signatures, SBOMs and attestations that go with the image and its children.
    pub fn attachments(&self) -> &[ImageFacts] {
        &self.attachments
    }

    fn of(complete: Complete<'_>, policy: &Policy) -> Self {
        let untagged = complete.children.iter().filter(|child| child.image.tags.is_empty());
        let (going, staying): (Vec<&Child>, Vec<&Child>) = untagged.partition(|child| {
            let free = !child.has_other_parent && !child.needed_elsewhere;
            free && child.image.status == StorageStatus::Active && child.image.kind == ImageKind::Single
        });
        let children: Vec<ImageFacts> = going.into_iter().map(|child| child.image.clone()).collect();
        let staying = staying.into_iter().map(|child| child.image.digest.clone()).collect();
        let goes = |subject: &Digest| {
            *subject == complete.image.digest || children.iter().any(|child| child.digest == *subject)
        };
        let attachments = complete
            .attachments
            .iter()
            .filter(|attachment| !attachment.needed_elsewhere && goes(&attachment.subject))
            .filter(|attachment| !attachment.image.tags.iter().any(|tag| policy.protects(tag)))
            .filter(|attachment| attachment.image.status == StorageStatus::Active)
            .map(|attachment| attachment.image.clone())
            .collect();
        Self { image: complete.image.clone(), mutability: complete.mutability, children, staying, attachments }
    }
}

/// Evidence without a gap: the only thing a deletion is made from.
struct Complete<'a> {
    image: &'a ImageFacts,
    mutability: Mutability,
    children: &'a [Child],
    attachments: &'a [Attachment],
    last_named: Option<Timestamp>,
    last_change: Timestamp,
    candidacy: Candidacy,
}

impl<'a> Complete<'a> {
    /// All of the evidence, or everything that is missing of it.
    fn of(evidence: &'a Evidence) -> Result<Self, Vec<Because>> {
        // Naming every field makes a new kind of evidence a compile error here.
        let Evidence {
            participation,
            mutability,
            pullers,
            image,
            relations,
            newer_images,
            uses,
            pinned,
            last_named,
            coverage,
            last_change,
            candidacy,
        } = evidence;
        let gaps: Vec<Because> = [
            participation.missing(),
            mutability.missing(),
            pullers.missing(),
            image.missing(),
            relations.missing(),
            newer_images.missing(),
            coverage.missing(),
            uses.missing(),
            pinned.missing(),
            last_named.missing(),
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
        match (mutability.known(), image.known(), relations.known(), last_named.known()) {
            (Some(mutability), Some(Presence::Present(image)), Some(relations), Some(last_named))
                if gaps.is_empty() =>
            {
                let unknown = std::iter::once(image)
                    .chain(relations.children.iter().map(|child| &child.image))
                    .filter_map(|image| match &image.kind {
                        ImageKind::Unknown { media_type } => Some(Because::new(
                            Gap::Manifests,
                            format!("{} has a media type that is not known: {media_type}", image.digest),
                        )),
                        _ => None,
                    })
                    .collect::<Vec<_>>();
                if !unknown.is_empty() {
                    return Err(unknown);
                }
                Ok(Self {
                    image,
                    mutability: *mutability,
                    children: &relations.children,
                    attachments: &relations.attachments,
                    last_named: *last_named,
                    last_change: *last_change,
                    candidacy: *candidacy,
                })
            }
            _ => Err(deduplicated(gaps)),
        }
    }

    /// When the image may be deleted at the earliest, and what that follows from.
    fn earliest(&self, policy: &Policy) -> (Timestamp, String) {
        // An image is pulled through its index and pushed before it, so the children's times concern the index too. Whoever
        // signs an image, or looks at its signature, is about to use it.
        let parts = self.children.iter().map(|child| &child.image);
        let parts = parts.chain(self.attachments.iter().map(|attachment| &attachment.image));
        let never_deployed = (!self.candidacy.was_deployed(self.image, self.last_named)).then_some(self.image);
        let images = std::iter::once(self.image).chain(parts);
        earliest(images, never_deployed, self.last_named, self.last_change, policy)
    }
}

/// When an image may be deleted at the earliest, and what that follows from: the latest of the pushes and recorded pulls of
/// `images` (itself, its children and what is attached to it), of what is known of task definitions that name it and of
/// deployments that ran it, and of the push of `never_deployed`, if it is one that none ever named.
fn earliest<'a>(
    images: impl Iterator<Item = &'a ImageFacts>,
    never_deployed: Option<&ImageFacts>,
    last_named: Option<Timestamp>,
    last_change: Timestamp,
    policy: &Policy,
) -> (Timestamp, String) {
    let window = policy.rollback_window();
    let mut moments = vec![(after(last_change, window), "the last event about it")];
    if let Some(named) = last_named {
        moments.push((
            after(named, window),
            "the last change of a task definition that names it, or the end of a deployment that ran it",
        ));
    }
    for image in images {
        moments.push((after(image.pushed_at, window), "the last push"));
        if let Some(pulled) = image.pulled_at {
            moments.push((
                after(after(pulled, policy.keep_pulled()), PULL_TIME_LAG),
                "the last recorded pull (which may lag by 24 hours)",
            ));
        }
    }
    if let Some(image) = never_deployed {
        let until = after(image.pushed_at, policy.never_deployed_after());
        moments.push((until, "the push of an image that no task definition names"));
    }
    let (until, what) = moments.into_iter().max().unwrap_or((Timestamp::MAX, "nothing"));
    (until, format!("too early: {what} is not long enough ago"))
}

/// What the evidence that a repository's images share says of one of them: for whoever looks for candidates and does not
/// decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prospect {
    /// It is known to stay, and why.
    Kept(KeepReason),
    /// It is too early for a check.
    TooEarly,
    /// A check will tell.
    Candidate,
    /// Something that the images share is missing.
    Unknown(Because),
}

/// What may become of an image, as far as the evidence of [`Evidence::relations`], [`Evidence::uses`] and
/// [`Evidence::last_named`] tells; other kinds may be missing. Nothing is deleted because of it.
pub fn prospect(evidence: &Evidence, policy: &Policy, now: Timestamp) -> Prospect {
    let Evidence { participation, image, relations, uses, last_named, last_change, candidacy, .. } = evidence;
    let policy = match participation.known() {
        Some(Participation::In(settings)) => &policy.with(settings),
        _ => policy,
    };
    if let Some(reason) = kept(evidence, policy) {
        return Prospect::Kept(reason);
    }
    let missing = [image.missing(), relations.missing(), uses.missing(), last_named.missing()];
    if let Some(because) = missing.into_iter().flatten().next() {
        return Prospect::Unknown(because.clone());
    }
    let (Some(Presence::Present(image)), Some(relations), Some(last_named)) =
        (image.known(), relations.known(), last_named.known())
    else {
        return Prospect::Unknown(Because::new(Gap::Images, "the image is not there"));
    };
    let images = std::iter::once(image).chain(relations.children.iter().map(|child| &child.image));
    let never_deployed = (!candidacy.was_deployed(image, *last_named)).then_some(image);
    let (until, _) = earliest(images, never_deployed, *last_named, *last_change, policy);
    if now < until { Prospect::TooEarly } else { Prospect::Candidate }
}

/// Why an image stays for now that an event concerned at `change`, if the rollback window has not passed since.
pub fn too_early_after(change: Timestamp, policy: &Policy, now: Timestamp) -> Option<Postponement> {
    let until = after(change, policy.rollback_window());
    let since = "too early: the last event about it is not long enough ago".to_owned();
    (now < until).then_some(Postponement::TooEarly { until, since })
}

/// The same gap of several kinds is told once.
fn deduplicated(mut gaps: Vec<Because>) -> Vec<Because> {
    let mut told = std::collections::BTreeSet::new();
    gaps.retain(|because| told.insert(because.clone()));
    gaps
}

/// A moment plus a time span; what lies beyond the calendar never comes.
fn after(moment: Timestamp, span: SignedDuration) -> Timestamp {
    moment.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// Decides about one image, under the policy that the cleanup and the repository's opt-in tag make together.
pub fn judge(evidence: &Evidence, policy: &Policy, now: Timestamp) -> Verdict {
    if evidence.image.known() == Some(&Presence::Gone) {
        return Verdict::Gone;
    }
    let policy = match evidence.participation.known() {
        Some(Participation::In(settings)) => &policy.with(settings),
        _ => policy,
    };
    if let Some(reason) = kept(evidence, policy) {
        return Verdict::Keep(reason);
    }
    let complete = match Complete::of(evidence) {
        Ok(complete) => complete,
        Err(gaps) => return Verdict::Postpone(Postponement::Missing(gaps)),
    };
    let (until, since) = complete.earliest(policy);
    if now < until {
        return Verdict::Postpone(Postponement::TooEarly { until, since });
    }
    if policy.dry_run() {
        return Verdict::Keep(KeepReason::DryRun);
    }
    if policy.archives() && complete.image.kind == ImageKind::Index {
        return Verdict::Keep(KeepReason::IndexNotArchived);
    }
    Verdict::Delete(Deletion::of(complete, policy))
}

/// The first known reason to keep the image.
fn kept(evidence: &Evidence, policy: &Policy) -> Option<KeepReason> {
    match evidence.participation.known() {
        Some(Participation::Out) => return Some(KeepReason::NotOptedIn),
        Some(Participation::Unreadable { reason }) => return Some(KeepReason::OptInUnreadable(reason.clone())),
        Some(Participation::In(_)) | None => {}
    }
    if let Some(pullers) = evidence.pullers.known() {
        if let Some(principal) = pullers.outside.first() {
            return Some(KeepReason::PulledFromOutside(principal.clone()));
        }
        if !policy.ecs_only() {
            if let Some(service) = pullers.services.first() {
                return Some(KeepReason::PulledByService(service.clone()));
            }
            if let Some(prefix) = &pullers.pull_through_cache {
                return Some(KeepReason::PullThroughCache(prefix.clone()));
            }
        }
    }
    for uses in [&evidence.uses, &evidence.pinned] {
        if let Some(used) = uses.known().and_then(|uses| uses.first()) {
            return Some(KeepReason::InUse(used.clone()));
        }
    }
    if let Some(relations) = evidence.relations.known() {
        if let Some(parent) = relations.parents.first() {
            return Some(KeepReason::ListedBy(parent.clone()));
        }
        if let Some(subject) = &relations.attached_to {
            return Some(KeepReason::AttachedTo(subject.clone()));
        }
    }
    if let Some(Presence::Present(image)) = evidence.image.known() {
        match &image.status {
            StorageStatus::Active => {}
            StorageStatus::Archived => return Some(KeepReason::NotActive("ARCHIVED".into())),
            StorageStatus::Other(status) => return Some(KeepReason::NotActive(status.clone())),
        }
        if let Some(tag) = image.tags.iter().find(|tag| policy.protects(tag)) {
            return Some(KeepReason::TagProtected(tag.clone()));
        }
    }
    if let Some(newer) = evidence.newer_images.known()
        && *newer < policy.keep_newest()
    {
        return Some(KeepReason::AmongNewest(policy.keep_newest()));
    }
    let candidacy = evidence.candidacy;
    let Some(Presence::Present(image)) = evidence.image.known() else { return None };
    if policy.keeps_untagged()
        && !candidacy.is_orphan(image)
        && evidence.relations.known().is_some()
        && image.tags.is_empty()
    {
        // Neither listed by an index nor attached to a subject: those are reasons above.
        return Some(KeepReason::Untagged);
    }
    let never_deployed = |last_named: &Option<Timestamp>| !candidacy.was_deployed(image, *last_named);
    if policy.keeps_never_deployed() && evidence.last_named.known().is_some_and(never_deployed) {
        return Some(KeepReason::NeverDeployed);
    }
    None
}

#[cfg(test)]
mod tests;
