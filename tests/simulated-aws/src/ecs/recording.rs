//! What AWS Config hears of.

use super::service::ServiceStatus;
use super::task_definition::{TaskDefinition, TaskDefinitionStatus};
use super::task_set::TaskSet;
use super::{Home, ServiceKey, tags_json};
use crate::World;
use crate::config::{self, items};

/// A task definition was registered, deregistered or deleted.
pub(super) fn task_definition(world: &mut World, home: &Home, definition: &TaskDefinition) {
    let mut described = definition.to_json();
    described["tags"] = tags_json(&definition.tags);
    let item = items::task_definition(&described);
    let item = match definition.status {
        TaskDefinitionStatus::Active | TaskDefinitionStatus::Inactive => item,
        TaskDefinitionStatus::DeleteInProgress => item.deleted(),
    };
    config::record(world, &home.account, &home.region, item);
}

/// A service was made, changed or deleted.
pub(super) fn service(world: &mut World, key: &ServiceKey) {
    let Some(service) = world.ecs.service(key) else { return };
    let item = items::service(&service.to_json(key, true));
    let item = if service.status == ServiceStatus::Inactive { item.deleted() } else { item };
    config::record(world, &key.home.account, &key.home.region, item);
}

/// The task sets of a service were made or changed.
pub(super) fn task_sets(world: &mut World, key: &ServiceKey) {
    let sets = world.ecs.service(key).map(|service| service.task_sets.clone()).unwrap_or_default();
    for set in &sets {
        config::record(world, &key.home.account, &key.home.region, items::task_set(&set.to_json(key)));
    }
}

/// A task set was deleted.
pub(super) fn deleted_task_set(world: &mut World, key: &ServiceKey, set: &TaskSet) {
    config::record(world, &key.home.account, &key.home.region, items::task_set(&set.to_json(key)).deleted());
}
