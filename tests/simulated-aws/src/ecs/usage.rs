//! What runs which image: pulling, and the truth for oracles.

use jiff::Timestamp;

use super::task_definition::{self, ContainerImage};
use super::{Home, ServiceKey};
use crate::World;
use crate::ecr::{self, ImageReference, PullError, Pulled};
use crate::identity::{AccountId, Principal, Region};

/// A container's image in something that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunningImage {
    pub(super) container: String,
    pub(super) image: String,
    pub(super) consistent: bool,
    /// What the reference was resolved to when it was first pulled.
    pub(super) pinned: Option<Pulled>,
}

impl From<ContainerImage> for RunningImage {
    fn from(image: ContainerImage) -> Self {
        Self { container: image.container, image: image.image, consistent: image.consistent, pinned: None }
    }
}

/// What needs an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// A deployment of a service: the service's ARN and the deployment's id.
    Deployment(String, String),
    /// A task set, by ARN.
    TaskSet(String),
    /// A task that runs by itself, by ARN.
    Task(String),
}

/// An image that something runs, or will run as soon as it scales out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The workload's account.
    pub account: AccountId,
    /// The workload's region.
    pub region: Region,
    /// What runs it.
    pub user: User,
    /// The task definition's ARN.
    pub task_definition: String,
    /// The container's name.
    pub container: String,
    /// The image as the task definition names it.
    pub image: String,
    /// The image that the next task would run: the pinned one, or what the reference resolves to now. `None` if there is none,
    /// or if it is not in ECR.
    pub resolved: Option<Pulled>,
    /// Whether it is pinned.
    pub pinned: bool,
    /// How many tasks run it now.
    pub running: u32,
}

/// An image that could not be pulled.
#[derive(Debug, Clone, PartialEq)]
pub struct Outage {
    /// When.
    pub at: Timestamp,
    /// The workload's account.
    pub account: AccountId,
    /// The workload's region.
    pub region: Region,
    /// Who needed it.
    pub user: User,
    /// The reference that was pulled.
    pub image: String,
    /// Why it could not be.
    pub error: PullError,
    /// Whether the image or the tag had been there and was removed or archived through the API: an outage that the removal
    /// caused.
    pub removed: bool,
}

/// Every image that could not be pulled, in order.
pub fn outages(world: &World) -> &[Outage] {
    &world.ecs.outages
}

/// Who pulls for a task: its execution role, or the account itself where none is given.
fn puller(world: &World, home: &Home, task_definition: &str) -> Principal {
    let role = task_definition::find(world, home, task_definition).and_then(|it| it.execution_role());
    match role.and_then(|arn| arn.rsplit('/').next()) {
        Some(role) => Principal::Role {
            account: home.account.clone(),
            role: role.to_owned(),
            session: "ecs-task-execution".to_owned(),
        },
        None => Principal::Administrator { account: home.account.clone() },
    }
}

/// The reference that a new task pulls: the pinned digest, or the text as it is.
fn reference_of(image: &RunningImage) -> String {
    match &image.pinned {
        Some(pinned) if image.consistent => {
            let digest = &pinned.digest;
            // The tag, if any, gives way to the digest.
            let bare = image.image.split('@').next().unwrap_or_default();
            let slash = bare.rfind('/').unwrap_or_default();
            let end = bare[slash..].find(':').map_or(bare.len(), |colon| slash + colon);
            format!("{}@{digest}", &bare[..end])
        }
        _ => image.image.clone(),
    }
}

/// Pulls all images for a new task. What is not pinned yet is pinned in the answer.
///
/// # Errors
/// When one cannot be pulled, which is noted as an outage of `user`.
pub(super) fn pull_all(
    world: &mut World,
    home: &Home,
    user: &User,
    task_definition: &str,
    images: &[RunningImage],
) -> Result<Vec<RunningImage>, PullError> {
    let puller = puller(world, home, task_definition);
    let mut pulled = images.to_vec();
    for image in &mut pulled {
        let reference = reference_of(image);
        match ecr::pull(world, &puller, &reference) {
            Ok(None) => {}
            Ok(Some(resolved)) => image.pinned = Some(resolved),
            Err(error) => {
                let outage = Outage {
                    at: world.now(),
                    account: home.account.clone(),
                    region: home.region.clone(),
                    user: user.clone(),
                    image: reference.clone(),
                    error: error.clone(),
                    removed: was_removed(world, &reference),
                };
                world.ecs.outages.push(outage);
                return Err(error);
            }
        }
    }
    Ok(pulled)
}

/// Whether a removal took the referenced tag or digest away.
fn was_removed(world: &World, reference: &str) -> bool {
    let Some(reference) = ImageReference::parse(reference) else { return false };
    ecr::removals(world).iter().any(|removal| {
        let same_place = removal.account == reference.account
            && removal.region == reference.region
            && removal.repository == reference.repository;
        let tag = reference.tag.as_ref();
        same_place
            && match (&reference.digest, &removal.removed) {
                (Some(digest), ecr::Removed::Image(_) | ecr::Removed::Archived) => {
                    *digest == removal.digest || holds(world, &reference, digest, &removal.digest)
                }
                (Some(_), ecr::Removed::Tag(_)) => false,
                (None, ecr::Removed::Tag(removed)) => Some(removed) == tag,
                (None, ecr::Removed::Image(tags)) => tag.is_some_and(|tag| tags.contains(tag)),
                (None, ecr::Removed::Archived) => {
                    ecr::repository(world, &removal.account, &removal.region, &removal.repository)
                        .is_some_and(|it| tag.and_then(|tag| it.image_tags.get(tag)) == Some(&removal.digest))
                }
            }
    })
}

/// Whether the index `index` holds `child`.
fn holds(world: &World, place: &ImageReference, index: &str, child: &str) -> bool {
    ecr::repository(world, &place.account, &place.region, &place.repository)
        .and_then(|repository| repository.images.get(index))
        .is_some_and(|image| image.children.iter().any(|it| it == child))
}

/// What the next task would run, without pulling it.
fn resolve(world: &World, image: &RunningImage) -> Option<Pulled> {
    if let Some(pinned) = image.pinned.as_ref().filter(|_| image.consistent) {
        return Some(pinned.clone());
    }
    let reference = ImageReference::parse(&image.image)?;
    let repository = ecr::repository(world, &reference.account, &reference.region, &reference.repository)?;
    let digest = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.clone(),
        (None, tag) => repository.image_tags.get(tag.as_ref()?)?.clone(),
    };
    let mut platform_digest = digest.clone();
    while let Some(child) = repository.images.get(&platform_digest)?.children.first() {
        platform_digest.clone_from(child);
    }
    Some(Pulled {
        account: reference.account,
        region: reference.region,
        repository: reference.repository,
        digest,
        platform_digest,
    })
}

/// The truth about images in use everywhere: of every live deployment of every service that is not deleted, also of those
/// that are scaled to nothing or run an inactive revision; of every task set; of every task.
pub fn image_uses(world: &World) -> Vec<ImageUse> {
    let mut uses = Vec::new();
    for (home, place) in &world.ecs.places {
        let mut add = |user: User, task_definition: &str, images: &[RunningImage], running: u32| {
            uses.extend(images.iter().map(|image| ImageUse {
                account: home.account.clone(),
                region: home.region.clone(),
                user: user.clone(),
                task_definition: task_definition.to_owned(),
                container: image.container.clone(),
                image: image.image.clone(),
                resolved: resolve(world, image),
                pinned: image.consistent && image.pinned.is_some(),
                running,
            }));
        };
        for ((cluster, name), service) in &place.services {
            let key = ServiceKey { home: home.clone(), cluster: cluster.clone(), name: name.clone() };
            for deployment in &service.deployments {
                if let Some(revision) = service.revision(&deployment.revision) {
                    let user = User::Deployment(key.arn(), deployment.id.clone());
                    add(user, &deployment.task_definition, &revision.images, deployment.running);
                }
            }
            for set in &service.task_sets {
                add(User::TaskSet(set.arn.clone()), &set.task_definition, &set.images, set.running);
            }
        }
        for task in place.tasks.values().filter(|task| task.is_running()) {
            add(User::Task(task.arn.clone()), &task.task_definition, &task.images, 1);
        }
    }
    uses
}

/// Whether something runs the task definition.
pub(super) fn is_run(world: &World, home: &Home, task_definition: &str) -> bool {
    world.ecs.place(home).is_some_and(|place| {
        place.services.values().any(|service| {
            service.deployments.iter().any(|it| it.task_definition == task_definition)
                || service.task_sets.iter().any(|it| it.task_definition == task_definition)
        }) || place.tasks.values().any(|task| task.is_running() && task.task_definition == task_definition)
    })
}
