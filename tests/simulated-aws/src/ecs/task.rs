//! Tasks that run by themselves.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::usage::{RunningImage, User, pull_all};
use super::{Home, INVALID, cluster, invalid, page_size, task_definition, with_next};
use crate::World;
use crate::input::read;
use crate::operation::{Call, ServiceError, epoch};
use crate::paging::page;

/// A task that nobody restarts: it runs until it is stopped.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) arn: String,
    cluster: String,
    pub(super) task_definition: String,
    launch_type: String,
    started_by: Option<String>,
    created_at: Timestamp,
    stopped: Option<(Timestamp, &'static str, String)>,
    pub(super) images: Vec<RunningImage>,
}

impl Task {
    pub(super) fn is_running(&self) -> bool {
        self.stopped.is_none()
    }

    pub(super) fn runs_in(&self, cluster: &str) -> bool {
        self.is_running() && self.cluster == cluster
    }

    fn family(&self) -> &str {
        let name = self.task_definition.rsplit('/').next().unwrap_or_default();
        name.split(':').next().unwrap_or_default()
    }

    fn to_json(&self, home: &Home) -> Value {
        let status = if self.is_running() { "RUNNING" } else { "STOPPED" };
        let containers: Vec<Value> = self
            .images
            .iter()
            .map(|image| {
                let mut container = json!({
                    "taskArn": self.arn, "name": image.container, "image": image.image, "lastStatus": status,
                });
                if let Some(pinned) = &image.pinned {
                    container["imageDigest"] = json!(pinned.digest);
                }
                container
            })
            .collect();
        let mut members = Map::new();
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        set("taskArn", json!(self.arn));
        set("clusterArn", json!(home.arn(&format!("cluster/{}", self.cluster))));
        set("taskDefinitionArn", json!(self.task_definition));
        set("group", json!(format!("family:{}", self.family())));
        set("lastStatus", json!(status));
        set("desiredStatus", json!(status));
        set("launchType", json!(self.launch_type));
        set("createdAt", epoch(self.created_at));
        set("containers", json!(containers));
        if let Some(by) = &self.started_by {
            set("startedBy", json!(by));
        }
        if let Some((at, code, reason)) = &self.stopped {
            set("stoppedAt", epoch(*at));
            set("stopCode", json!(code));
            set("stoppedReason", json!(reason));
        }
        Value::Object(members)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RunTask {
    cluster: Option<String>,
    task_definition: String,
    count: Option<u32>,
    launch_type: Option<String>,
    #[serde(rename = "networkConfiguration")]
    _network_configuration: Option<Value>,
    started_by: Option<String>,
    #[serde(rename = "clientToken")]
    _client_token: Option<String>,
}

pub(super) fn run(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: RunTask = read(input, INVALID)?;
    let home = Home::of(call);
    let cluster = cluster::find(world, &home, input.cluster.as_deref())?;
    let count = input.count.unwrap_or(1);
    if !(1..=10).contains(&count) {
        return Err(invalid("count must be between 1 and 10."));
    }
    let definition = task_definition::startable(world, &home, &input.task_definition)?;
    let arn = definition.arn.clone();
    let images: Vec<RunningImage> = definition.container_images().into_iter().map(RunningImage::from).collect();
    let mut tasks = Vec::new();
    for _ in 0..count {
        let id = world.fresh_uuid().replace('-', "");
        let mut task = Task {
            arn: home.arn(&format!("task/{cluster}/{id}")),
            cluster: cluster.clone(),
            task_definition: arn.clone(),
            launch_type: input.launch_type.clone().unwrap_or_else(|| "FARGATE".to_owned()),
            started_by: input.started_by.clone(),
            created_at: world.now(),
            stopped: None,
            images: images.clone(),
        };
        match pull_all(world, &home, &User::Task(task.arn.clone()), &arn, &images) {
            Ok(pulled) => task.images = pulled,
            Err(error) => {
                let reason = format!("CannotPullContainerError: {error}");
                task.stopped = Some((world.now(), "TaskFailedToStart", reason));
            }
        }
        tasks.push(task.to_json(&home));
        world.ecs.place_mut(&home).tasks.insert(task.arn.clone(), task);
    }
    Ok(json!({"tasks": tasks, "failures": []}))
}

/// A task's ARN, from an id or an ARN.
fn arn_of(home: &Home, cluster: &str, text: &str) -> String {
    if text.starts_with("arn:") { text.to_owned() } else { home.arn(&format!("task/{cluster}/{text}")) }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StopTask {
    cluster: Option<String>,
    task: String,
    reason: Option<String>,
}

pub(super) fn stop(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: StopTask = read(input, INVALID)?;
    let home = Home::of(call);
    let cluster = cluster::find(world, &home, input.cluster.as_deref())?;
    let now = world.now();
    let arn = arn_of(&home, &cluster, &input.task);
    let task = world.ecs.place_mut(&home).tasks.get_mut(&arn);
    let task = task.ok_or_else(|| invalid("The referenced task was not found."))?;
    if task.is_running() {
        let reason = input.reason.unwrap_or_else(|| "Task stopped by user".to_owned());
        task.stopped = Some((now, "UserInitiated", reason));
    }
    Ok(json!({"task": task.to_json(&home)}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeTasks {
    cluster: Option<String>,
    tasks: Vec<String>,
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DescribeTasks = read(input, INVALID)?;
    let home = Home::of(call);
    let cluster = cluster::find(world, &home, input.cluster.as_deref())?;
    if !(1..=100).contains(&input.tasks.len()) {
        return Err(invalid("tasks must have between 1 and 100 entries."));
    }
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for text in &input.tasks {
        let arn = arn_of(&home, &cluster, text);
        match world.ecs.place(&home).and_then(|place| place.tasks.get(&arn)) {
            Some(task) => tasks.push(task.to_json(&home)),
            None => failures.push(json!({"arn": arn, "reason": "MISSING"})),
        }
    }
    Ok(json!({"tasks": tasks, "failures": failures}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListTasks {
    cluster: Option<String>,
    family: Option<String>,
    service_name: Option<String>,
    desired_status: Option<DesiredStatus>,
    next_token: Option<String>,
    max_results: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum DesiredStatus {
    Running,
    Stopped,
}

pub(super) fn list(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: ListTasks = read(input, INVALID)?;
    let home = Home::of(call);
    let cluster = cluster::find(world, &home, input.cluster.as_deref())?;
    if input.service_name.is_some() {
        return Err(ServiceError::not_simulated("the single tasks of a service (ListTasks with serviceName)"));
    }
    let running = input.desired_status != Some(DesiredStatus::Stopped);
    let tasks = world.ecs.place(&home).into_iter().flat_map(|place| place.tasks.values());
    let all: Vec<&String> = tasks
        .filter(|task| task.cluster == cluster && task.is_running() == running)
        .filter(|task| input.family.as_ref().is_none_or(|family| family == task.family()))
        .map(|task| &task.arn)
        .collect();
    let (these, next) = page(&all, input.next_token.as_deref(), page_size(input.max_results, 100)?, INVALID)?;
    Ok(with_next(json!({"taskArns": these}), next))
}
