//! Who uses which image of a repository: what the aggregator and the accounts showed, matched with the images' names.
//!
//! Matching is exact and in code: queries may find too much (a prefix, `_` as a wildcard), never too little.
//! A use of a child is a use of its indexes as well.
//!
//! A revision that something runs is looked at even if no query found it: it may be gone from Config. In a place that may
//! pull, it is a gap if it cannot be read. Elsewhere it counts as far as Config shows it and is no gap otherwise: whoever
//! may not pull cannot need the image, and may have no evidence role to ask, so that waiting for one would never end.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::evidence::{Because, Found, Gap, ImageFacts, Use};
use crate::account::AccountId;
use crate::image::{Digest, ImageReference, Tag};
use crate::region::Region;
use crate::repository::Repository;
use crate::task_definition::TaskDefinitionArn;

/// An account and one of its regions.
pub type Place = (AccountId, Region);

/// Whether tasks and services can still be started from a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevisionStatus {
    /// They can: a use by itself.
    Active,
    /// `INACTIVE` or `DELETE_IN_PROGRESS`: a use if something still runs it.
    Inactive,
}

/// A revision of a task definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its name.
    pub arn: TaskDefinitionArn,
    /// Whether it is ACTIVE.
    pub status: RevisionStatus,
    /// The images of the hub's registries that its containers name.
    pub images: Vec<ImageReference>,
    /// When Config captured its latest change; unknown for one that was read in its account.
    pub captured_at: Option<Timestamp>,
}

/// A service, task set or rule that runs task definitions, as Config shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Its type as Config calls it.
    pub resource_type: &'static str,
    /// Whether it is an ECS service, which has deployments to ask for.
    pub is_service: bool,
    /// Where it is.
    pub account: AccountId,
    /// Where it is.
    pub region: Region,
    /// Its ARN.
    pub resource: String,
    /// The cluster of a service.
    pub cluster: Option<String>,
    /// What it runs.
    pub task_definitions: Vec<TaskDefinitionArn>,
}

/// A user of images outside ECS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherUser {
    /// Its type as Config calls it.
    pub resource_type: &'static str,
    /// Where it is.
    pub account: AccountId,
    /// Where it is.
    pub region: Region,
    /// Its ARN or id.
    pub resource: String,
    /// The images of the hub's registries that it names.
    pub images: Vec<ImageReference>,
    /// The digests that it names without a repository.
    pub digests: Vec<Digest>,
    /// Whether it runs what its tags meant when it was deployed.
    pub pins: bool,
    /// Why the image that it uses is not known, if it is of a type that names a digest alone.
    pub unreadable: Option<String>,
}

/// A service as its own account describes it, with all its live deployments and task sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveService {
    /// Its ARN.
    pub service: String,
    /// The cluster that it was asked for in.
    pub cluster: String,
    /// What it runs: for each task definition, how many live deployments and task sets do.
    pub task_definitions: BTreeMap<TaskDefinitionArn, usize>,
    /// The ARNs of its current service revisions.
    pub revisions: Vec<String>,
    /// What those have pinned; known only for services that run an image of the repositories at hand by a tag.
    pub pinned: Found<Vec<PinnedRevision>>,
    /// Whether ECS tells its past deployments: not those of CodeDeploy, nor those that somebody else makes.
    pub tells_past_deployments: bool,
    /// When its latest deployment began, as far as ECS tells.
    pub began_at: Option<Timestamp>,
    /// When its deployments changed last, as far as ECS tells.
    pub deployed_at: Option<Timestamp>,
    /// What it ran until a newer deployment took its place within the rollback window, and until when.
    pub replaced: Found<Vec<(PinnedRevision, Timestamp)>>,
}

/// A service revision, with what it has pinned. Two of them may run the same task definition: each deployment makes one, and
/// a tag may have moved between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedRevision {
    /// Its ARN.
    pub arn: String,
    /// Its task definition.
    pub task_definition: TaskDefinitionArn,
    /// The images as the task definition names them, and what their tags resolved to when it was deployed, as far as ECS
    /// tells.
    pub images: Vec<(ImageReference, Option<Digest>)>,
}

/// What is known of the images of a revision that was looked up by its ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevisionImages {
    /// The hub's images that it names.
    Named(Vec<ImageReference>),
    /// ECS says that there is no such revision (any more), so nothing can be started from it.
    NoSuchRevision,
}

/// What runs task definitions, by what it runs: there are thousands of them, and each repository asks for a few.
#[derive(Debug, Clone, Default)]
pub struct Runners(BTreeMap<TaskDefinitionArn, Use>);

impl Runners {
    /// What runs a revision; of several the first.
    fn of(&self, arn: &TaskDefinitionArn) -> Option<&Use> {
        self.0.get(arn)
    }
}

impl<'a> FromIterator<&'a Runner> for Runners {
    fn from_iter<T: IntoIterator<Item = &'a Runner>>(runners: T) -> Self {
        let mut all = Self::default();
        all.extend(runners);
        all
    }
}

impl<'a> Extend<&'a Runner> for Runners {
    fn extend<T: IntoIterator<Item = &'a Runner>>(&mut self, runners: T) {
        for runner in runners {
            for arn in &runner.task_definitions {
                self.0.entry(arn.clone()).or_insert_with(|| Use {
                    account: runner.account.clone(),
                    region: runner.region.clone(),
                    resource: runner.resource.clone(),
                    how: format!("this {} runs {arn}", runner.resource_type),
                });
            }
        }
    }
}

/// Everything that was seen of the use of images, for all repositories of a batch.
#[derive(Debug, Clone)]
pub struct Landscape {
    /// What runs task definitions, over everything that is aggregated.
    pub runners: Found<Runners>,
    /// Users outside ECS.
    pub other_users: Found<Vec<OtherUser>>,
    /// Where the aggregator shows a user that cannot be read, and why.
    pub unreadable: BTreeMap<Place, String>,
    /// The live services of each place that was asked.
    pub live: BTreeMap<Place, Found<Vec<LiveService>>>,
    /// The hub's images that each revision names which [`Self::live`] or [`Self::runners`] run in the places that were
    /// asked; or why it could not be read.
    pub revisions_run: BTreeMap<TaskDefinitionArn, Result<RevisionImages, Because>>,
}

/// What uses the images of one repository.
#[derive(Debug, Clone)]
pub struct Usage {
    /// Users by name.
    pub uses: BTreeMap<Digest, Vec<Use>>,
    /// Services that have pinned a digest; or why it is not known what all of them have pinned.
    pub pinned: Result<BTreeMap<Digest, Vec<Use>>, Because>,
    /// When the latest change of a revision that names the image was captured, or a deployment ended that ran it; or why it
    /// is not known of all deployments.
    pub last_named: Result<BTreeMap<Digest, Timestamp>, Because>,
}

/// The images of a repository, by what they can be called.
pub struct Named<'a> {
    repository: &'a Repository,
    by_tag: BTreeMap<&'a Tag, &'a Digest>,
    digests: BTreeSet<&'a Digest>,
    parents: &'a BTreeMap<Digest, BTreeSet<Digest>>,
}

impl<'a> Named<'a> {
    /// From all images of the repository and, for each image that an index lists, the indexes that do.
    pub fn new(
        repository: &'a Repository,
        images: &'a BTreeMap<Digest, ImageFacts>,
        parents: &'a BTreeMap<Digest, BTreeSet<Digest>>,
    ) -> Self {
        let by_tag = images.values().flat_map(|image| image.tags.iter().map(move |tag| (tag, &image.digest))).collect();
        Self { repository, by_tag, digests: images.keys().collect(), parents }
    }

    /// The images that a reference names: by its tag and by its digest, and the indexes that hold those.
    fn meant_by(&self, reference: &ImageReference) -> BTreeSet<&Digest> {
        if reference.repository() != self.repository {
            return BTreeSet::new();
        }
        let latest = Tag::latest();
        let tag = match (reference.tag(), reference.digest()) {
            (None, None) => Some(&latest),
            // A digest wins over a tag beside it, but whoever wrote the tag may rely on it.
            (tag, _) => tag,
        };
        let mut meant: BTreeSet<&Digest> = tag.and_then(|tag| self.by_tag.get(tag)).copied().into_iter().collect();
        if let Some(digest) = reference.digest() {
            meant.extend(self.with_digest(digest));
        }
        self.with_parents(meant)
    }

    fn with_digest(&self, digest: &Digest) -> BTreeSet<&Digest> {
        let mut meant: BTreeSet<&Digest> = self.digests.get(digest).copied().into_iter().collect();
        // A child that is gone itself still shows that its index was meant.
        meant.extend(self.parents.get(digest).into_iter().flatten());
        meant
    }

    fn with_parents<'b>(&'b self, mut meant: BTreeSet<&'b Digest>) -> BTreeSet<&'b Digest> {
        let mut new: Vec<&Digest> = meant.iter().copied().collect();
        while let Some(digest) = new.pop() {
            for parent in self.parents.get(digest).into_iter().flatten() {
                if meant.insert(parent) {
                    new.push(parent);
                }
            }
        }
        meant
    }
}

/// What uses the images of a repository, from the revisions that name it, and all that was seen in the places that may
/// pull from it.
///
/// # Errors
/// The gaps that leave the uses by name of the whole repository unknown.
pub fn usage(
    named: &Named<'_>,
    revisions: &[Revision],
    landscape: &Landscape,
    may_pull: &BTreeSet<Place>,
    others_may_pull: bool,
) -> Result<Usage, Because> {
    let runners = known(&landscape.runners)?;
    let other_users = known(&landscape.other_users)?;
    let mut usage = Usage { uses: BTreeMap::new(), pinned: Ok(BTreeMap::new()), last_named: Ok(BTreeMap::new()) };

    let mut live_deployments: BTreeMap<&TaskDefinitionArn, Use> = BTreeMap::new();
    for place in may_pull {
        if let Some(text) = landscape.unreadable.get(place) {
            return Err(Because::new(Gap::Usage, text.clone()));
        }
        let live = match landscape.live.get(place) {
            Some(live) => known(live)?,
            None => return Err(Because::new(Gap::Deployments, format!("{} in {} was not asked", place.0, place.1))),
        };
        for service in live {
            for arn in service.task_definitions.keys() {
                live_deployments.entry(arn).or_insert_with(|| Use {
                    account: place.0.clone(),
                    region: place.1.clone(),
                    resource: service.service.clone(),
                    how: format!("a live deployment of this service runs {arn}"),
                });
            }
            if let Ok(pinned) = &mut usage.pinned
                && let Err(because) = pinned_by(named, service, place, landscape, pinned)
            {
                usage.pinned = Err(because);
            }
            if let Ok(last_named) = &mut usage.last_named
                && let Err(because) = ran_until(named, service, last_named)
            {
                usage.last_named = Err(because);
            }
        }
    }

    let run = |arn: &TaskDefinitionArn| runners.of(arn).or_else(|| live_deployments.get(arn));
    for revision in revisions {
        for reference in &revision.images {
            for digest in named.meant_by(reference) {
                if let (Some(captured), Ok(last_named)) = (revision.captured_at, &mut usage.last_named) {
                    let latest = last_named.entry(digest.clone()).or_insert(captured);
                    *latest = captured.max(*latest);
                }
                // One user is enough to keep an image, and there may be thousands.
                if usage.uses.contains_key(digest) {
                    continue;
                }
                let used = match revision.status {
                    RevisionStatus::Active => Some(Use {
                        account: revision.arn.account.clone(),
                        region: revision.arn.region.clone(),
                        resource: revision.arn.to_string(),
                        how: format!("this task definition is ACTIVE and names {reference}"),
                    }),
                    RevisionStatus::Inactive => run(&revision.arn).cloned(),
                };
                if let Some(used) = used {
                    usage.uses.insert(digest.clone(), vec![used]);
                }
            }
        }
    }
    // What runs may name the image although no query found its revision: it may be gone from Config.
    let found: BTreeSet<&TaskDefinitionArn> = revisions.iter().map(|revision| &revision.arn).collect();
    // Where nobody may pull, no such revision was read.
    let everywhere = runners.0.iter().filter(|_| !may_pull.is_empty());
    let live_only =
        live_deployments.iter().filter(|(arn, _)| runners.of(arn).is_none()).map(|(arn, used)| (*arn, used));
    for (arn, used) in everywhere.chain(live_only).filter(|(arn, _)| !found.contains(arn)) {
        match landscape.revisions_run.get(arn) {
            Some(Ok(RevisionImages::Named(images))) => {
                for digest in images.iter().flat_map(|reference| named.meant_by(reference)) {
                    usage.uses.entry(digest.clone()).or_default().push(used.clone());
                }
            }
            Some(Ok(RevisionImages::NoSuchRevision)) => {}
            _ if !may_pull.contains(&arn.place()) => {}
            Some(Err(because)) => return Err(because.clone()),
            None => {
                return Err(Because::new(
                    Gap::Deployments,
                    format!("{arn}, which {} runs, was not read", used.resource),
                ));
            }
        }
    }
    for user in other_users {
        let by_tag = |image: &&ImageReference| image.repository() == named.repository && image.digest().is_none();
        if let (true, Some(image)) = (user.pins && usage.pinned.is_ok(), user.images.iter().find(by_tag)) {
            let text = format!("nothing tells which digest {} has pinned for {image}", user.resource);
            usage.pinned = Err(Because::new(Gap::PinnedDigests, text));
        }
        // No Lambda function pulls from a repository whose policy does not admit Lambda.
        if let (true, Some(text)) = (others_may_pull, &user.unreadable) {
            return Err(Because::new(Gap::Usage, text.clone()));
        }
        let used = |what: &str| Use {
            account: user.account.clone(),
            region: user.region.clone(),
            resource: user.resource.clone(),
            how: format!("this {} names {what}", user.resource_type),
        };
        for reference in &user.images {
            for digest in named.meant_by(reference) {
                usage.uses.entry(digest.clone()).or_default().push(used(&reference.to_string()));
            }
        }
        for digest in &user.digests {
            for meant in named.with_parents(named.with_digest(digest)) {
                usage.uses.entry(meant.clone()).or_default().push(used(digest.as_str()));
            }
        }
    }
    Ok(usage)
}

/// Adds the digests that a live service has pinned for images of the repository.
///
/// What one revision has pinned says nothing of another, so each live deployment has to have one, and each of them a digest
/// for every image that it names by a tag alone.
fn pinned_by(
    named: &Named<'_>,
    service: &LiveService,
    place: &Place,
    landscape: &Landscape,
    pinned: &mut BTreeMap<Digest, Vec<Use>>,
) -> Result<(), Because> {
    let by_tag = |image: &ImageReference| image.repository() == named.repository && image.digest().is_none();
    let mut names_any = false;
    for (arn, deployments) in &service.task_definitions {
        let images: Vec<&ImageReference> =
            images_run(service, arn, landscape)?.iter().filter(|image| by_tag(image)).collect();
        if images.is_empty() {
            continue;
        }
        names_any = true;
        let of_it = known(&service.pinned)?.iter().filter(|revision| revision.task_definition == *arn);
        let tells_all = |revision: &&PinnedRevision| {
            images.iter().all(|image| revision.images.iter().any(|(named, _)| named == *image))
        };
        if of_it.filter(tells_all).count() < *deployments {
            let text = format!("{} does not tell what each of its deployments of {arn} has pinned", service.service);
            return Err(Because::new(Gap::PinnedDigests, text));
        }
    }
    if !names_any {
        return Ok(());
    }
    for revision in known(&service.pinned)? {
        for (image, digest) in revision.images.iter().filter(|(image, _)| by_tag(image)) {
            let Some(digest) = digest else {
                let text =
                    format!("{} does not tell which digest {} has pinned for {image}", service.service, revision.arn);
                return Err(Because::new(Gap::PinnedDigests, text));
            };
            for meant in named.with_parents(named.with_digest(digest)) {
                pinned.entry(meant.clone()).or_default().push(Use {
                    account: place.0.clone(),
                    region: place.1.clone(),
                    resource: service.service.clone(),
                    how: format!("this service has pinned the digest {digest} for {image}"),
                });
            }
        }
    }
    Ok(())
}

/// Adds until when a service ran images of the repository that it runs no more. What a tag means now does not tell what it
/// meant then.
fn ran_until(
    named: &Named<'_>,
    service: &LiveService,
    last_named: &mut BTreeMap<Digest, Timestamp>,
) -> Result<(), Because> {
    for (revision, until) in known(&service.replaced)? {
        for (image, pinned) in revision.images.iter().filter(|(image, _)| image.repository() == named.repository) {
            let Some(digest) = image.digest().or(pinned.as_ref()) else {
                let (service, arn) = (&service.service, &revision.arn);
                let text = format!("{service} does not tell which digest {arn} had pinned for {image}");
                return Err(Because::new(Gap::PinnedDigests, text));
            };
            for digest in named.with_parents(named.with_digest(digest)) {
                let latest = last_named.entry(digest.clone()).or_insert(*until);
                *latest = (*until).max(*latest);
            }
        }
    }
    Ok(())
}

/// The hub's images that a revision names which a live service runs.
fn images_run<'a>(
    service: &LiveService,
    arn: &TaskDefinitionArn,
    landscape: &'a Landscape,
) -> Result<&'a [ImageReference], Because> {
    match landscape.revisions_run.get(arn) {
        Some(Ok(RevisionImages::Named(images))) => Ok(images),
        Some(Ok(RevisionImages::NoSuchRevision)) => {
            let text = format!("ECS knows no {arn}, which {} runs", service.service);
            Err(Because::new(Gap::Deployments, text))
        }
        Some(Err(because)) => Err(because.clone()),
        None => Err(Because::new(Gap::Deployments, format!("{arn}, which {} runs, was not read", service.service))),
    }
}

fn known<T>(found: &Found<T>) -> Result<&T, Because> {
    match found {
        Found::Known(known) => Ok(known),
        Found::Missing(because) => Err(because.clone()),
    }
}

#[cfg(test)]
mod tests;
