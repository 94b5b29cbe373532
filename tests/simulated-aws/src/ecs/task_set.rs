//! Task sets: the deployments of services that CodeDeploy or somebody else deploys.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::service::{Controller, find_active};
use super::usage::{RunningImage, User, pull_all};
use super::{Home, INVALID, ServiceKey, Tag, invalid, recording, tag_map, tags_json, task_definition};
use crate::World;
use crate::input::read;
use crate::operation::{Call, ServiceError, epoch};

/// A task set, as it is.
#[derive(Debug, Clone)]
pub(super) struct TaskSet {
    pub(super) arn: String,
    id: String,
    external_id: Option<String>,
    pub(super) primary: bool,
    pub(super) task_definition: String,
    /// In percent of the service's desired count.
    scale: f64,
    pub(super) running: u32,
    desired: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
    pub(super) images: Vec<RunningImage>,
    launch_type: String,
    tags: BTreeMap<String, String>,
}

const START: SignedDuration = SignedDuration::from_secs(10);
const RETRY: SignedDuration = SignedDuration::from_mins(5);

impl TaskSet {
    pub(super) fn to_json(&self, key: &ServiceKey) -> Value {
        let mut set = json!({
            "id": self.id,
            "taskSetArn": self.arn,
            "serviceArn": key.arn(),
            "clusterArn": key.cluster_arn(),
            "status": if self.primary { "PRIMARY" } else { "ACTIVE" },
            "taskDefinition": self.task_definition,
            "computedDesiredCount": self.desired,
            "pendingCount": self.desired.saturating_sub(self.running),
            "runningCount": self.running,
            "createdAt": epoch(self.created_at),
            "updatedAt": epoch(self.updated_at),
            "launchType": self.launch_type,
            "scale": {"value": self.scale, "unit": "PERCENT"},
            "stabilityStatus": if self.running == self.desired { "STEADY_STATE" } else { "STABILIZING" },
            "stabilityStatusAt": epoch(self.updated_at),
            "tags": tags_json(&self.tags),
        });
        if let Some(id) = &self.external_id {
            set["externalId"] = json!(id);
        }
        set
    }
}

/// Adds a task set to a service and starts its tasks.
pub(super) fn begin(
    world: &mut World,
    key: &ServiceKey,
    task_definition: &str,
    external_id: Option<String>,
    scale: f64,
    primary: bool,
) {
    let now = world.now();
    let images = super::task_definition::find(world, &key.home, task_definition)
        .map(|definition| definition.container_images().into_iter().map(RunningImage::from).collect())
        .unwrap_or_default();
    let id = format!("ecs-svc/{:019}", world.fresh_number());
    let set = TaskSet {
        arn: key.part_arn("task-set", &id),
        id,
        external_id,
        primary,
        task_definition: task_definition.to_owned(),
        scale,
        running: 0,
        desired: 0,
        created_at: now,
        updated_at: now,
        images,
        launch_type: "FARGATE".to_owned(),
        tags: BTreeMap::new(),
    };
    if let Some(service) = world.ecs.service_mut(key) {
        service.task_sets.push(set);
    }
    scale_all(world, key);
}

/// Brings every task set of a service to its share of the desired count.
pub(super) fn scale_all(world: &mut World, key: &ServiceKey) {
    let now = world.now();
    let Some(service) = world.ecs.service_mut(key) else { return };
    let mut lacking = Vec::new();
    for set in &mut service.task_sets {
        // Rounded up (API reference, `Scale`); at most a few thousand tasks, so nothing is cut off.
        set.desired = (f64::from(service.desired) * set.scale / 100.0).ceil() as u32;
        set.running = set.running.min(set.desired);
        set.updated_at = now;
        if set.running < set.desired {
            lacking.push(set.arn.clone());
        }
    }
    recording::task_sets(world, key);
    for arn in lacking {
        let key = key.clone();
        world.after(START, move |world| start_tasks(world, key, arn));
    }
}

fn start_tasks(world: &mut World, key: ServiceKey, arn: String) {
    let now = world.now();
    let find = |world: &World| {
        let set = world.ecs.service(&key)?.task_sets.iter().find(|set| set.arn == arn)?;
        (set.running < set.desired).then(|| set.clone())
    };
    let Some(set) = find(world) else { return };
    let pulled = pull_all(world, &key.home, &User::TaskSet(arn.clone()), &set.task_definition, &set.images);
    let sets = world.ecs.service_mut(&key).map(|service| &mut service.task_sets);
    let Some(set) = sets.into_iter().flatten().find(|set| set.arn == arn) else { return };
    set.updated_at = now;
    match pulled {
        Ok(images) => {
            set.images = images;
            set.running = set.desired;
        }
        Err(_) => world.after(RETRY, move |world| start_tasks(world, key, arn)),
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scale {
    value: f64,
    #[serde(rename = "unit")]
    _unit: Option<Unit>,
}

/// The only unit there is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Unit {
    Percent,
}

impl Scale {
    fn percent(&self) -> Result<f64, ServiceError> {
        match (0.0..=100.0).contains(&self.value) {
            true => Ok(self.value),
            false => Err(invalid("Scale must be between 0 and 100.")),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateTaskSet {
    service: String,
    cluster: String,
    external_id: Option<String>,
    task_definition: String,
    scale: Option<Scale>,
    launch_type: Option<String>,
    #[serde(rename = "networkConfiguration")]
    _network_configuration: Option<Value>,
    #[serde(default)]
    tags: Vec<Tag>,
}

pub(super) fn create(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: CreateTaskSet = read(input, INVALID)?;
    let home = Home::of(call);
    let key = find_active(world, &home, Some(&input.cluster), &input.service)?;
    if world.ecs.service(&key).is_some_and(|service| service.controller == Controller::Ecs) {
        return Err(invalid(
            "Task sets are supported only for services with an EXTERNAL or CODE_DEPLOY deployment controller.",
        ));
    }
    let task_definition = task_definition::startable(world, &home, &input.task_definition)?.arn.clone();
    let scale = input.scale.as_ref().map_or(Ok(100.0), Scale::percent)?;
    let tags = tag_map(input.tags)?;
    begin(world, &key, &task_definition, input.external_id, scale, false);
    let service = world.ecs.service_mut(&key).expect("found");
    let set = service.task_sets.last_mut().expect("just added");
    set.tags = tags;
    if let Some(launch_type) = input.launch_type {
        set.launch_type = launch_type;
    }
    Ok(json!({"taskSet": set.to_json(&key)}))
}

/// The task set that an id or ARN names.
fn position(world: &World, key: &ServiceKey, text: &str) -> Result<usize, ServiceError> {
    world
        .ecs
        .service(key)
        .and_then(|service| service.task_sets.iter().position(|set| set.arn == text || set.id == text))
        .ok_or_else(|| ServiceError::new("TaskSetNotFoundException", "The specified task set was not found."))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateTaskSet {
    cluster: String,
    service: String,
    task_set: String,
    scale: Scale,
}

pub(super) fn update(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: UpdateTaskSet = read(input, INVALID)?;
    let key = find_active(world, &Home::of(call), Some(&input.cluster), &input.service)?;
    let index = position(world, &key, &input.task_set)?;
    let scale = input.scale.percent()?;
    world.ecs.service_mut(&key).expect("found").task_sets[index].scale = scale;
    scale_all(world, &key);
    Ok(json!({"taskSet": world.ecs.service(&key).expect("found").task_sets[index].to_json(&key)}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteTaskSet {
    cluster: String,
    service: String,
    task_set: String,
    #[serde(default)]
    force: bool,
}

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DeleteTaskSet = read(input, INVALID)?;
    let key = find_active(world, &Home::of(call), Some(&input.cluster), &input.service)?;
    let index = position(world, &key, &input.task_set)?;
    let service = world.ecs.service_mut(&key).expect("found");
    if !input.force && service.task_sets[index].scale > 0.0 {
        return Err(invalid("The task set cannot be deleted while it is scaled above 0."));
    }
    let set = service.task_sets.remove(index);
    recording::deleted_task_set(world, &key, &set);
    let mut set = set.to_json(&key);
    set["status"] = json!("DRAINING");
    Ok(json!({"taskSet": set}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeTaskSets {
    cluster: String,
    service: String,
    #[serde(default)]
    task_sets: Vec<String>,
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DescribeTaskSets = read(input, INVALID)?;
    let key = find_active(world, &Home::of(call), Some(&input.cluster), &input.service)?;
    let service = world.ecs.service(&key).expect("found");
    if service.controller == Controller::Ecs {
        return Err(invalid(
            "Task sets are supported only for services with an EXTERNAL or CODE_DEPLOY deployment controller.",
        ));
    }
    if input.task_sets.is_empty() {
        let all: Vec<Value> = service.task_sets.iter().map(|set| set.to_json(&key)).collect();
        return Ok(json!({"taskSets": all, "failures": []}));
    }
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for text in &input.task_sets {
        match position(world, &key, text) {
            Ok(index) => found.push(service.task_sets[index].to_json(&key)),
            Err(_) => failures.push(json!({"arn": text, "reason": "MISSING"})),
        }
    }
    Ok(json!({"taskSets": found, "failures": failures}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateServicePrimaryTaskSet {
    cluster: String,
    service: String,
    primary_task_set: String,
}

pub(super) fn make_primary(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: UpdateServicePrimaryTaskSet = read(input, INVALID)?;
    let key = find_active(world, &Home::of(call), Some(&input.cluster), &input.service)?;
    let index = position(world, &key, &input.primary_task_set)?;
    let sets = &mut world.ecs.service_mut(&key).expect("found").task_sets;
    for (other, set) in sets.iter_mut().enumerate() {
        set.primary = other == index;
    }
    let answer = json!({"taskSet": sets[index].to_json(&key)});
    recording::service(world, &key);
    Ok(answer)
}
