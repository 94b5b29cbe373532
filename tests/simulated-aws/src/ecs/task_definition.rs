//! Task definitions: families, revisions, and their way from ACTIVE over INACTIVE and DELETE_IN_PROGRESS to nothing.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Home, INVALID, Tag, client_error, invalid, page_size, recording, tag_map, tags_json, with_next};
use crate::World;
use crate::identity::{AccountId, Region};
use crate::input::read;
use crate::operation::{Call, ServiceError, epoch};
use crate::paging::page;

/// A family: its revisions count up and are never given out twice.
#[derive(Debug, Default)]
pub(super) struct Family {
    last: u32,
    pub(super) revisions: BTreeMap<u32, TaskDefinition>,
}

/// The status of a task definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskDefinitionStatus {
    /// Can be run.
    Active,
    /// Deregistered: what runs it goes on and scales, nothing new begins.
    Inactive,
    /// Deleted, and still there as long as something runs it.
    DeleteInProgress,
}

/// A revision of a task definition.
#[derive(Debug, Clone)]
pub struct TaskDefinition {
    /// Its ARN.
    pub arn: String,
    /// Its family.
    pub family: String,
    /// Its number within the family.
    pub revision: u32,
    /// Its status.
    pub status: TaskDefinitionStatus,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it was deregistered.
    pub deregistered_at: Option<Timestamp>,
    delete_requested_at: Option<Timestamp>,
    registered_by: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// What it was registered with, completed as ECS does.
    content: Map<String, Value>,
}

/// A container of a task definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerImage {
    pub(super) container: String,
    pub(super) image: String,
    /// Software version consistency: whether the tag is resolved once per deployment.
    pub(super) consistent: bool,
}

impl TaskDefinition {
    /// The image references of all containers.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.containers().filter_map(|container| container.get("image").and_then(Value::as_str))
    }

    fn containers(&self) -> impl Iterator<Item = &Value> {
        self.content.get("containerDefinitions").and_then(Value::as_array).into_iter().flatten()
    }

    pub(super) fn container_images(&self) -> Vec<ContainerImage> {
        let text = |container: &Value, member: &str| {
            container.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        self.containers()
            .map(|container| ContainerImage {
                container: text(container, "name"),
                image: text(container, "image"),
                consistent: text(container, "versionConsistency") != "disabled",
            })
            .collect()
    }

    /// The role with which ECS pulls, if there is one.
    pub(super) fn execution_role(&self) -> Option<&str> {
        self.content.get("executionRoleArn").and_then(Value::as_str)
    }

    /// As `DescribeTaskDefinition` shows it.
    pub(super) fn to_json(&self) -> Value {
        let mut members = self.content.clone();
        members.insert("taskDefinitionArn".to_owned(), json!(self.arn));
        members.insert("revision".to_owned(), json!(self.revision));
        members.insert("status".to_owned(), json!(self.status));
        members.insert("registeredAt".to_owned(), epoch(self.registered_at));
        members.insert("registeredBy".to_owned(), json!(self.registered_by));
        for (name, at) in [("deregisteredAt", self.deregistered_at), ("deleteRequestedAt", self.delete_requested_at)] {
            if let Some(at) = at {
                members.insert(name.to_owned(), epoch(at));
            }
        }
        Value::Object(members)
    }

    /// Whether something new may begin to run it. After deregistration it may take up to ten minutes until nothing can
    /// (API reference, `DeregisterTaskDefinition`).
    pub(super) fn can_begin(&self, world: &World) -> bool {
        match self.status {
            TaskDefinitionStatus::Active => true,
            TaskDefinitionStatus::Inactive => {
                world.behaviours.ecs_inactive_can_begin_for_ten_minutes
                    && self
                        .deregistered_at
                        .is_some_and(|at| world.now().duration_since(at) < SignedDuration::from_mins(10))
            }
            TaskDefinitionStatus::DeleteInProgress => false,
        }
    }
}

/// All task definitions everywhere, of any status, with account and region.
pub fn task_definitions(world: &World) -> impl Iterator<Item = (&AccountId, &Region, &TaskDefinition)> {
    world.ecs.places.iter().flat_map(|(home, place)| {
        let revisions = place.families.values().flat_map(|family| family.revisions.values());
        revisions.map(|revision| (&home.account, &home.region, revision))
    })
}

/// The revision that a text names: `FAMILY` (the latest active), `FAMILY:REVISION`, or an ARN of either.
pub(super) fn find<'a>(world: &'a World, home: &Home, text: &str) -> Option<&'a TaskDefinition> {
    let name = text.rsplit('/').next().unwrap_or(text);
    let families = &world.ecs.place(home)?.families;
    match name.split_once(':') {
        Some((family, revision)) => families.get(family)?.revisions.get(&revision.parse().ok()?),
        None => families
            .get(name)?
            .revisions
            .values()
            .rev()
            .find(|revision| revision.status == TaskDefinitionStatus::Active),
    }
}

fn find_mut<'a>(world: &'a mut World, home: &Home, arn: &str) -> Option<&'a mut TaskDefinition> {
    let (family, revision) = arn.rsplit('/').next()?.split_once(':')?;
    world.ecs.places.get_mut(home)?.families.get_mut(family)?.revisions.get_mut(&revision.parse().ok()?)
}

/// A task definition for something new.
pub(super) fn startable<'a>(world: &'a World, home: &Home, text: &str) -> Result<&'a TaskDefinition, ServiceError> {
    let found = find(world, home, text).ok_or_else(|| client_error("Unable to find task definition."))?;
    if found.can_begin(world) { Ok(found) } else { Err(client_error("TaskDefinition is inactive")) }
}

/// Members of a container that are kept and shown as they are.
const CONTAINER_MEMBERS: [&str; 32] = [
    "name",
    "image",
    "repositoryCredentials",
    "cpu",
    "memory",
    "memoryReservation",
    "links",
    "portMappings",
    "essential",
    "restartPolicy",
    "entryPoint",
    "command",
    "environment",
    "environmentFiles",
    "mountPoints",
    "volumesFrom",
    "linuxParameters",
    "secrets",
    "dependsOn",
    "startTimeout",
    "stopTimeout",
    "versionConsistency",
    "hostname",
    "user",
    "workingDirectory",
    "privileged",
    "readonlyRootFilesystem",
    "dockerLabels",
    "ulimits",
    "logConfiguration",
    "healthCheck",
    "systemControls",
];

/// Checks a container and completes it with what ECS shows when nothing was said.
fn complete_container(container: &mut Value) -> Result<(), ServiceError> {
    let members = container.as_object_mut().ok_or_else(|| invalid("a container definition is not a structure"))?;
    if let Some(unknown) = members.keys().find(|name| !CONTAINER_MEMBERS.contains(&name.as_str())) {
        return Err(ServiceError::not_simulated(format_args!("the member {unknown} of a container definition")));
    }
    for required in ["name", "image"] {
        if members.get(required).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(client_error(format!("Container.{required} should not be null or empty.")));
        }
    }
    for (name, value) in [
        ("cpu", json!(0)),
        ("portMappings", json!([])),
        ("essential", json!(true)),
        ("environment", json!([])),
        ("mountPoints", json!([])),
        ("volumesFrom", json!([])),
        ("systemControls", json!([])),
    ] {
        members.entry(name).or_insert(value);
    }
    Ok(())
}

pub(super) fn register(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let mut content = input.as_object().cloned().unwrap_or_default();
    let tags = match content.remove("tags") {
        None => BTreeMap::new(),
        Some(tags) => tag_map(read::<Vec<Tag>>(&tags, INVALID)?)?,
    };
    let family = content.get("family").and_then(Value::as_str).unwrap_or_default().to_owned();
    let well_formed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !(1..=255).contains(&family.len()) || !family.bytes().all(well_formed) {
        return Err(client_error("Family contains invalid characters."));
    }
    let containers = content.get_mut("containerDefinitions").and_then(Value::as_array_mut);
    let containers = containers
        .filter(|containers| !containers.is_empty())
        .ok_or_else(|| client_error("Container list cannot be empty."))?;
    containers.iter_mut().try_for_each(complete_container)?;
    for name in ["volumes", "placementConstraints"] {
        content.entry(name).or_insert_with(|| json!([]));
    }
    content.insert("compatibilities".to_owned(), json!(["EC2", "FARGATE"]));
    let home = Home::of(call);
    let now = world.now();
    let revisions = world.ecs.place_mut(&home).families.entry(family.clone()).or_default();
    revisions.last += 1;
    let revision = revisions.last;
    let definition = TaskDefinition {
        arn: home.arn(&format!("task-definition/{family}:{revision}")),
        family,
        revision,
        status: TaskDefinitionStatus::Active,
        registered_at: now,
        deregistered_at: None,
        delete_requested_at: None,
        registered_by: call.principal.arn(),
        tags,
        content,
    };
    let mut answer = json!({"taskDefinition": definition.to_json()});
    if !definition.tags.is_empty() {
        answer["tags"] = tags_json(&definition.tags);
    }
    revisions.revisions.insert(revision, definition.clone());
    recording::task_definition(world, &home, &definition);
    Ok(answer)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeregisterTaskDefinition {
    task_definition: String,
}

pub(super) fn deregister(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DeregisterTaskDefinition = read(input, INVALID)?;
    let home = Home::of(call);
    let now = world.now();
    if !input.task_definition.rsplit('/').next().is_some_and(|name| name.contains(':')) {
        return Err(client_error("Invalid revision number. Number: null"));
    }
    let found = find_mut(world, &home, &input.task_definition)
        .ok_or_else(|| client_error("The specified task definition does not exist."))?;
    // Deregistering again changes nothing.
    if found.status == TaskDefinitionStatus::Active {
        found.status = TaskDefinitionStatus::Inactive;
        found.deregistered_at = Some(now);
    }
    let definition = found.clone();
    recording::task_definition(world, &home, &definition);
    Ok(json!({"taskDefinition": definition.to_json()}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteTaskDefinitions {
    task_definitions: Vec<String>,
}

/// How often a deleted task definition is looked at, whether something still runs it.
const DELETION_CHECK: SignedDuration = SignedDuration::from_hours(1);

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DeleteTaskDefinitions = read(input, INVALID)?;
    if !(1..=10).contains(&input.task_definitions.len()) {
        return Err(invalid("taskDefinitions must have between 1 and 10 entries."));
    }
    let home = Home::of(call);
    let now = world.now();
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for text in &input.task_definitions {
        let failure = |arn: &str, reason: &str| json!({"arn": arn, "reason": reason});
        let Some(found) = find_mut(world, &home, text) else {
            failures.push(failure(text, "The specified task definition does not exist."));
            continue;
        };
        if found.status == TaskDefinitionStatus::Active {
            let reason =
                "The specified task definition is still in ACTIVE status. Please deregister the target and try again.";
            failures.push(failure(&found.arn, reason));
            continue;
        }
        if found.status == TaskDefinitionStatus::Inactive {
            found.status = TaskDefinitionStatus::DeleteInProgress;
            found.delete_requested_at = Some(now);
        }
        let definition = found.clone();
        recording::task_definition(world, &home, &definition);
        deleted.push(definition.to_json());
        let (home, arn) = (home.clone(), definition.arn);
        world.after(DELETION_CHECK, move |world| vanish_when_unused(world, home, arn));
    }
    Ok(json!({"taskDefinitions": deleted, "failures": failures}))
}

/// A deleted task definition is there until nothing runs it any more.
fn vanish_when_unused(world: &mut World, home: Home, arn: String) {
    if super::usage::is_run(world, &home, &arn) {
        world.after(DELETION_CHECK, move |world| vanish_when_unused(world, home, arn));
        return;
    }
    let parts = arn.rsplit('/').next().and_then(|name| name.split_once(':'));
    if let Some((family, revision)) = parts
        && let Some(family) = world.ecs.place_mut(&home).families.get_mut(family)
        && let Ok(revision) = revision.parse::<u32>()
    {
        family.revisions.remove(&revision);
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeTaskDefinition {
    task_definition: String,
    #[serde(default)]
    include: Vec<Include>,
}

/// The only thing that can be included.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Include {
    Tags,
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DescribeTaskDefinition = read(input, INVALID)?;
    let found = find(world, &Home::of(call), &input.task_definition)
        .ok_or_else(|| client_error("Unable to describe task definition."))?;
    let mut answer = json!({"taskDefinition": found.to_json()});
    if !input.include.is_empty() {
        answer["tags"] = tags_json(&found.tags);
    }
    Ok(answer)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListTaskDefinitions {
    /// The whole family, in spite of the name (API reference, `ListTaskDefinitions`).
    family_prefix: Option<String>,
    status: Option<TaskDefinitionStatus>,
    sort: Option<Sort>,
    next_token: Option<String>,
    max_results: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Sort {
    Asc,
    Desc,
}

pub(super) fn list(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: ListTaskDefinitions = read(input, INVALID)?;
    let status = input.status.unwrap_or(TaskDefinitionStatus::Active);
    let families = world.ecs.place(&Home::of(call)).into_iter().flat_map(|place| &place.families);
    let mut all: Vec<String> = families
        .filter(|(name, _)| input.family_prefix.as_ref().is_none_or(|family| family == *name))
        .flat_map(|(_, family)| family.revisions.values())
        .filter(|revision| revision.status == status)
        .map(|revision| revision.arn.clone())
        .collect();
    if input.sort == Some(Sort::Desc) {
        all.reverse();
    }
    let (these, next) = page(&all, input.next_token.as_deref(), page_size(input.max_results, 100)?, INVALID)?;
    Ok(with_next(json!({"taskDefinitionArns": these}), next))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListTaskDefinitionFamilies {
    family_prefix: Option<String>,
    status: Option<FamilyStatus>,
    next_token: Option<String>,
    max_results: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum FamilyStatus {
    Active,
    Inactive,
    All,
}

pub(super) fn list_families(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: ListTaskDefinitionFamilies = read(input, INVALID)?;
    let families = world.ecs.place(&Home::of(call)).into_iter().flat_map(|place| &place.families);
    let all: Vec<&String> = families
        .filter(|(name, _)| input.family_prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix.as_str())))
        .filter(|(_, family)| {
            let active = family.revisions.values().any(|it| it.status == TaskDefinitionStatus::Active);
            match input.status.unwrap_or(FamilyStatus::All) {
                FamilyStatus::All => !family.revisions.is_empty(),
                FamilyStatus::Active => active,
                FamilyStatus::Inactive => !active && !family.revisions.is_empty(),
            }
        })
        .map(|(name, _)| name)
        .collect();
    let (these, next) = page(&all, input.next_token.as_deref(), page_size(input.max_results, 100)?, INVALID)?;
    Ok(with_next(json!({"families": these}), next))
}
