//! Deployments of services: how they begin, start tasks, complete, fail and roll back, in virtual time.
//!
//! A deployment pulls when its first task starts. What it pulled is pinned for as long as the deployment lives, so later
//! tasks pull by digest (ECS developer guide, "Container image resolution"). Until the new deployment is complete, the
//! old ones go on running.

use jiff::{SignedDuration, Timestamp};

use super::ServiceKey;
use super::revision::{DeploymentStatus, Revision, Rollback, ServiceDeployment};
use super::service::{Controller, ServiceStatus};
use super::usage::{RunningImage, User, pull_all};
use crate::World;
use crate::identity::{AccountId, Region};

/// A deployment, as `DescribeServices` shows it.
#[derive(Debug, Clone)]
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) task_definition: String,
    pub(super) desired: u32,
    pub(super) running: u32,
    pub(super) failed: u32,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) rollout: Rollout,
    pub(super) reason: String,
    /// The service revision's ARN.
    pub(super) revision: String,
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rollout {
    InProgress,
    Completed,
    Failed,
}

/// How long it takes until a task starts.
const START: SignedDuration = SignedDuration::from_secs(10);
/// How long ECS waits before it tries to start a task again that could not pull its image.
const RETRY: SignedDuration = SignedDuration::from_mins(5);
/// After so many failures the circuit breaker ends a deployment.
const BREAKER_THRESHOLD: u32 = 3;

/// Begins a deployment of a task definition, under a new service revision.
pub(super) fn begin(world: &mut World, key: &ServiceKey, task_definition: &str) {
    let images: Vec<RunningImage> = super::task_definition::find(world, &key.home, task_definition)
        .map(|definition| definition.container_images().into_iter().map(RunningImage::from).collect())
        .unwrap_or_default();
    let arn = key.part_arn("service-revision", &format!("{:019}", world.fresh_number()));
    let revision = Revision {
        arn: arn.clone(),
        task_definition: task_definition.to_owned(),
        created_at: world.now(),
        images,
        undescribable: false,
    };
    let Some(service) = world.ecs.service_mut(key) else { return };
    service.revisions.push(revision);
    begin_revision(world, key, &arn, None);
}

/// Begins a deployment of a revision that is there.
fn begin_revision(world: &mut World, key: &ServiceKey, revision: &str, rollback: Option<Rollback>) {
    let now = world.now();
    let id = format!("ecs-svc/{:019}", world.fresh_number());
    let deployment_arn = key.part_arn("service-deployment", &format!("{:019}", world.fresh_number()));
    let Some(service) = world.ecs.service_mut(key) else { return };
    let Some(task_definition) = service.revision(revision).map(|it| it.task_definition.clone()) else { return };
    let sources = service.deployments.iter().filter(|it| it.running > 0).map(|it| it.revision.clone()).collect();
    if rollback.is_none() {
        if let Some(replaced) = service.service_deployments.last_mut().filter(|it| it.finished_at.is_none()) {
            replaced.finish(now, DeploymentStatus::Stopped, "Replaced by a newer deployment.");
        }
        service.service_deployments.push(ServiceDeployment::new(deployment_arn, now, sources, revision.to_owned()));
    } else if let Some(current) = service.service_deployments.last_mut() {
        current.rollback = rollback;
        current.status = DeploymentStatus::RollbackInProgress;
    }
    // What never ran has nothing to drain.
    service.deployments.retain(|it| it.running > 0 || it.rollout == Rollout::Completed);
    let desired = service.desired;
    service.deployments.insert(
        0,
        Deployment {
            id: id.clone(),
            task_definition,
            desired,
            running: 0,
            failed: 0,
            created_at: now,
            updated_at: now,
            rollout: Rollout::InProgress,
            reason: format!("ECS deployment {id} in progress."),
            revision: revision.to_owned(),
        },
    );
    let key = key.clone();
    world.after(START, move |world| start_tasks(world, key, id));
}

/// Starts the tasks that a deployment lacks.
fn start_tasks(world: &mut World, key: ServiceKey, id: String) {
    let now = world.now();
    let Some(service) = world.ecs.service(&key).filter(|it| it.status == ServiceStatus::Active) else { return };
    let Some(deployment) = service.deployments.iter().find(|it| it.id == id) else { return };
    let missing = deployment.desired > deployment.running;
    let Some(revision) = service.revision(&deployment.revision) else { return };
    let (task_definition, revision_arn) = (revision.task_definition.clone(), revision.arn.clone());
    if missing {
        let images = revision.images.clone();
        let user = User::Deployment(key.arn(), id.clone());
        let pulled = pull_all(world, &key.home, &user, &task_definition, &images);
        let Some(service) = world.ecs.service_mut(&key) else { return };
        let Some(deployment) = service.deployments.iter_mut().find(|it| it.id == id) else { return };
        deployment.updated_at = now;
        match pulled {
            Err(error) => {
                deployment.failed += 1;
                deployment.reason = format!("CannotPullContainerError: {error}");
                let failed = deployment.failed;
                let in_progress = deployment.rollout == Rollout::InProgress;
                let breaker = service.configuration.deployment_circuit_breaker.filter(|breaker| breaker.enable);
                match breaker {
                    Some(breaker) if in_progress && failed >= BREAKER_THRESHOLD => {
                        break_circuit(world, &key, &id, breaker.rollback);
                    }
                    _ => world.after(RETRY, move |world| start_tasks(world, key, id)),
                }
                return;
            }
            Ok(images) => {
                deployment.running = deployment.desired;
                if let Some(revision) = service.revisions.iter_mut().find(|it| it.arn == revision_arn) {
                    revision.images = images;
                }
            }
        }
    }
    let Some(service) = world.ecs.service(&key) else { return };
    let bake = service.configuration.bake_time();
    if service.deployments.first().is_some_and(|it| it.id == id && it.rollout == Rollout::InProgress) {
        let time = world.ecs.rollout + bake;
        world.after(time, move |world| complete(world, key, id));
    }
}

/// The new tasks serve: the old deployments end.
fn complete(world: &mut World, key: ServiceKey, id: String) {
    let now = world.now();
    let Some(service) = world.ecs.service_mut(&key) else { return };
    let Some(primary) = service.deployments.first_mut().filter(|it| it.id == id) else { return };
    if primary.rollout != Rollout::InProgress || primary.running < primary.desired {
        return;
    }
    primary.rollout = Rollout::Completed;
    primary.updated_at = now;
    primary.reason = format!("ECS deployment {id} completed.");
    service.deployments.truncate(1);
    if let Some(current) = service.service_deployments.last_mut().filter(|it| it.finished_at.is_none()) {
        let status = if current.rollback.is_some() {
            DeploymentStatus::RollbackSuccessful
        } else {
            DeploymentStatus::Successful
        };
        current.finish(now, status, "");
    }
}

/// The circuit breaker ends a deployment and, if wanted, goes back to the one before.
fn break_circuit(world: &mut World, key: &ServiceKey, id: &str, rollback: bool) {
    let now = world.now();
    let Some(service) = world.ecs.service_mut(key) else { return };
    let Some(failed) = service.deployments.iter_mut().find(|it| it.id == id) else { return };
    failed.rollout = Rollout::Failed;
    failed.desired = 0;
    failed.reason = format!("ECS deployment circuit breaker: tasks failed to start (deployment {id}).");
    let reason = failed.reason.clone();
    let before = service.deployments.iter().find(|it| it.id != id && it.rollout == Rollout::Completed);
    match before.map(|it| it.revision.clone()).filter(|_| rollback) {
        Some(revision) => {
            let rollback = Rollback { reason, started_at: now, revision: revision.clone() };
            begin_revision(world, key, &revision, Some(rollback));
            super::recording::service(world, key);
        }
        None => {
            if let Some(current) = service.service_deployments.last_mut() {
                current.finish(now, DeploymentStatus::Stopped, &reason);
            }
        }
    }
}

/// Brings the primary deployment, or the task sets, to the service's desired count.
pub(super) fn scale(world: &mut World, key: &ServiceKey) {
    let now = world.now();
    let Some(service) = world.ecs.service_mut(key) else { return };
    let desired = service.desired;
    if service.controller != Controller::Ecs {
        super::task_set::scale_all(world, key);
        return;
    }
    let Some(primary) = service.deployments.first_mut() else { return };
    primary.desired = desired;
    primary.running = primary.running.min(desired);
    primary.updated_at = now;
    let (key, id) = (key.clone(), primary.id.clone());
    world.after(START, move |world| start_tasks(world, key, id));
}

/// All tasks of a service die and are started again, by every live deployment and task set: instances fail, Fargate
/// retires hosts. Nothing happens if there is no such service.
pub fn replace_tasks(world: &mut World, account: &AccountId, region: &Region, cluster: &str, service: &str) {
    let home = super::Home { account: account.clone(), region: region.clone() };
    let key = ServiceKey { home, cluster: cluster.to_owned(), name: service.to_owned() };
    let Some(service) = world.ecs.service_mut(&key) else { return };
    let mut ids = Vec::new();
    for deployment in service.deployments.iter_mut().filter(|it| it.running > 0) {
        deployment.desired = deployment.desired.max(deployment.running);
        deployment.running = 0;
        ids.push(deployment.id.clone());
    }
    for set in &mut service.task_sets {
        set.running = 0;
    }
    for id in ids {
        let key = key.clone();
        world.after(START, move |world| start_tasks(world, key, id));
    }
    super::task_set::scale_all(world, &key);
}
