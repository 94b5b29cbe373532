//! Amazon ECS: clusters, task definitions, services with their deployments and revisions, task sets, tasks.
//!
//! Deployments take virtual time, resolve tags to digests and pin them as software version consistency says, and pull
//! from the simulated ECR with the task's rights, when they begin, when they scale out and when tasks are replaced. What
//! ECS leaves open is in [`Behaviours`](crate::Behaviours) under `ecs_`.
//!
//! Besides the API there is a driver's view, for tests and oracles: [`image_uses`] is the truth about what runs,
//! [`task_definitions`] what is registered, [`outages`] every image that could not be pulled, [`replace_tasks`] lets
//! all tasks of a service die and start again.

mod cluster;
mod deployment;
mod recording;
mod revision;
mod service;
mod task;
mod task_definition;
mod task_set;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::World;
use crate::identity::{AccountId, Region};
use crate::operation::{Access, Authorize, Call, Handler, Operation, Protocol, Service, ServiceError};

pub use deployment::replace_tasks;
pub use revision::make_service_older_than_revisions;
pub use task_definition::{TaskDefinition, TaskDefinitionStatus, task_definitions};
pub use usage::{ImageUse, Outage, User, image_uses, outages};

static SERVICE: Service = Service {
    signing_name: "ecs",
    model: "ecs",
    protocol: Protocol::AwsJson { target_prefix: "AmazonEC2ContainerServiceV20141113", version: "1.1" },
};

const INVALID: &str = "InvalidParameterException";

/// The state of Amazon ECS in all accounts and regions.
#[derive(Debug)]
pub(crate) struct State {
    places: BTreeMap<Home, Place>,
    outages: Vec<Outage>,
    /// How long it takes from the first running task of a deployment until it is complete.
    rollout: SignedDuration,
}

impl Default for State {
    fn default() -> Self {
        Self { places: BTreeMap::new(), outages: Vec::new(), rollout: SignedDuration::from_mins(3) }
    }
}

/// An account and a region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Home {
    account: AccountId,
    region: Region,
}

/// What one account has in one region.
#[derive(Debug, Default)]
struct Place {
    clusters: BTreeMap<String, cluster::Cluster>,
    families: BTreeMap<String, task_definition::Family>,
    /// By cluster and name.
    services: BTreeMap<(String, String), service::ServiceState>,
    /// By ARN.
    tasks: BTreeMap<String, task::Task>,
}

/// A service's place and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ServiceKey {
    home: Home,
    cluster: String,
    name: String,
}

/// How long deployments take from their first running task until they are complete, from now on; three minutes unless
/// set. The bake time of a blue/green deployment comes on top.
pub fn set_rollout_time(world: &mut World, time: SignedDuration) {
    world.ecs.rollout = time;
}

impl State {
    fn place(&self, home: &Home) -> Option<&Place> {
        self.places.get(home)
    }

    fn place_mut(&mut self, home: &Home) -> &mut Place {
        self.places.entry(home.clone()).or_default()
    }

    fn service(&self, key: &ServiceKey) -> Option<&service::ServiceState> {
        self.places.get(&key.home)?.services.get(&(key.cluster.clone(), key.name.clone()))
    }

    fn service_mut(&mut self, key: &ServiceKey) -> Option<&mut service::ServiceState> {
        self.places.get_mut(&key.home)?.services.get_mut(&(key.cluster.clone(), key.name.clone()))
    }
}

impl Home {
    fn of(call: &Call) -> Self {
        Self { account: call.account.clone(), region: call.region.clone() }
    }

    fn arn(&self, resource: &str) -> String {
        format!("arn:aws:ecs:{}:{}:{resource}", self.region, self.account)
    }
}

impl ServiceKey {
    fn arn(&self) -> String {
        self.home.arn(&format!("service/{}/{}", self.cluster, self.name))
    }

    fn cluster_arn(&self) -> String {
        self.home.arn(&format!("cluster/{}", self.cluster))
    }

    /// The ARN of something that belongs to the service.
    fn part_arn(&self, kind: &str, id: &str) -> String {
        self.home.arn(&format!("{kind}/{}/{}/{id}", self.cluster, self.name))
    }
}

/// A tag, in requests and answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

fn tags_json(tags: &BTreeMap<String, String>) -> Value {
    tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

fn tag_map(tags: Vec<Tag>) -> Result<BTreeMap<String, String>, ServiceError> {
    if tags.len() > 50 {
        return Err(invalid("Number of tags exceeds the limit of 50."));
    }
    Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(INVALID, message)
}

fn client_error(message: impl Into<String>) -> ServiceError {
    ServiceError::new("ClientException", message)
}

/// The last part of an ARN or a name as it is; `default` if there is none.
fn cluster_name(text: Option<&str>) -> String {
    let text = text.unwrap_or("default");
    text.rsplit('/').next().unwrap_or(text).to_owned()
}

/// A page size of ECS: 1 to 100, 100 unless given; some listings have another default.
fn page_size(asked: Option<u64>, default: usize) -> Result<usize, ServiceError> {
    match asked {
        None => Ok(default),
        Some(size) => usize::try_from(size)
            .ok()
            .filter(|size| (1..=100).contains(size))
            .ok_or_else(|| invalid("maxResults must be between 1 and 100.")),
    }
}

fn with_next(mut answer: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        answer["nextToken"] = Value::from(next);
    }
    answer
}

macro_rules! reading {
    ($name:literal, $handle:path, [$($member:literal),*]) => {
        operation($name, &[$($member),*], |world, call, input| authorize(world, call, input, $name), $handle)
    };
}

/// An operation that changes something: CloudTrail hears of it, whether it succeeds or fails.
macro_rules! changing {
    ($name:literal, $handle:path, [$($member:literal),*]) => {
        operation(
            $name,
            &[$($member),*],
            |world, call, input| authorize(world, call, input, $name),
            |world, call, input| {
                let outcome = $handle(world, call, input);
                crate::cloudtrail::record(world, call, "ecs", $name, input, &outcome);
                outcome
            },
        )
    };
}

fn operation(name: &'static str, members: &'static [&'static str], authorize: Authorize, handle: Handler) -> Operation {
    Operation { service: &SERVICE, name, members, http: None, authorize, handle }
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        changing!("CreateCluster", cluster::create, ["clusterName", "tags"]),
        changing!("DeleteCluster", cluster::delete, ["cluster"]),
        reading!("DescribeClusters", cluster::describe, ["clusters"]),
        reading!("ListClusters", cluster::list, ["nextToken", "maxResults"]),
        changing!(
            "RegisterTaskDefinition",
            task_definition::register,
            [
                "family",
                "taskRoleArn",
                "executionRoleArn",
                "networkMode",
                "containerDefinitions",
                "volumes",
                "placementConstraints",
                "requiresCompatibilities",
                "cpu",
                "memory",
                "tags",
                "runtimePlatform",
                "ephemeralStorage"
            ]
        ),
        changing!("DeregisterTaskDefinition", task_definition::deregister, ["taskDefinition"]),
        changing!("DeleteTaskDefinitions", task_definition::delete, ["taskDefinitions"]),
        reading!("DescribeTaskDefinition", task_definition::describe, ["taskDefinition", "include"]),
        reading!(
            "ListTaskDefinitions",
            task_definition::list,
            ["familyPrefix", "status", "sort", "nextToken", "maxResults"]
        ),
        reading!(
            "ListTaskDefinitionFamilies",
            task_definition::list_families,
            ["familyPrefix", "status", "nextToken", "maxResults"]
        ),
        changing!(
            "CreateService",
            service::create,
            [
                "cluster",
                "serviceName",
                "taskDefinition",
                "desiredCount",
                "launchType",
                "deploymentConfiguration",
                "deploymentController",
                "schedulingStrategy",
                "networkConfiguration",
                "loadBalancers",
                "tags",
                "clientToken"
            ]
        ),
        changing!(
            "UpdateService",
            service::update,
            ["cluster", "service", "desiredCount", "taskDefinition", "forceNewDeployment", "deploymentConfiguration"]
        ),
        changing!("DeleteService", service::delete, ["cluster", "service", "force"]),
        reading!("DescribeServices", service::describe, ["cluster", "services", "include"]),
        reading!(
            "ListServices",
            service::list,
            ["cluster", "nextToken", "maxResults", "launchType", "schedulingStrategy"]
        ),
        reading!(
            "ListServiceDeployments",
            revision::list_deployments,
            ["service", "cluster", "status", "createdAt", "nextToken", "maxResults"]
        ),
        reading!("DescribeServiceDeployments", revision::describe_deployments, ["serviceDeploymentArns"]),
        reading!("DescribeServiceRevisions", revision::describe_revisions, ["serviceRevisionArns"]),
        changing!(
            "CreateTaskSet",
            task_set::create,
            [
                "service",
                "cluster",
                "externalId",
                "taskDefinition",
                "scale",
                "launchType",
                "networkConfiguration",
                "tags"
            ]
        ),
        changing!("UpdateTaskSet", task_set::update, ["cluster", "service", "taskSet", "scale"]),
        changing!("DeleteTaskSet", task_set::delete, ["cluster", "service", "taskSet", "force"]),
        reading!("DescribeTaskSets", task_set::describe, ["cluster", "service", "taskSets"]),
        changing!("UpdateServicePrimaryTaskSet", task_set::make_primary, ["cluster", "service", "primaryTaskSet"]),
        changing!(
            "RunTask",
            task::run,
            ["cluster", "taskDefinition", "count", "launchType", "networkConfiguration", "startedBy", "clientToken"]
        ),
        changing!("StopTask", task::stop, ["cluster", "task", "reason"]),
        reading!("DescribeTasks", task::describe, ["cluster", "tasks"]),
        reading!(
            "ListTasks",
            task::list,
            ["cluster", "family", "serviceName", "desiredStatus", "nextToken", "maxResults"]
        ),
    ]
}

/// What a call needs: the action of the operation's name on the resource types that the service authorization
/// reference lists for it, with the cluster as a condition key, and to pass the roles of a task definition.
fn authorize(_: &World, call: &Call, input: &Value, operation: &str) -> Result<Vec<Access>, ServiceError> {
    let home = Home::of(call);
    let text = |member: &str| input.get(member).and_then(Value::as_str);
    let texts = |member: &str| -> Vec<String> {
        let list = input.get(member).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let cluster = cluster_name(text("cluster"));
    let arn_or = |text: &str, kind: &str| {
        if text.starts_with("arn:") { text.to_owned() } else { home.arn(&format!("{kind}/{text}")) }
    };
    let in_cluster = |text: &str, kind: &str| {
        if text.starts_with("arn:") { text.to_owned() } else { home.arn(&format!("{kind}/{cluster}/{text}")) }
    };
    let resources: Vec<String> = match operation {
        "RegisterTaskDefinition" => {
            vec![home.arn(&format!("task-definition/{}:*", text("family").unwrap_or_default()))]
        }
        "DeleteTaskDefinitions" => texts("taskDefinitions").iter().map(|it| arn_or(it, "task-definition")).collect(),
        "RunTask" => vec![arn_or(text("taskDefinition").unwrap_or_default(), "task-definition")],
        "DeleteCluster" => vec![arn_or(&cluster, "cluster")],
        "DescribeClusters" => texts("clusters").iter().map(|it| arn_or(it, "cluster")).collect(),
        "CreateService" => vec![in_cluster(text("serviceName").unwrap_or_default(), "service")],
        "UpdateService" | "DeleteService" | "ListServiceDeployments" | "UpdateServicePrimaryTaskSet" => {
            vec![in_cluster(text("service").unwrap_or_default(), "service")]
        }
        "DescribeServices" => texts("services").iter().map(|it| in_cluster(it, "service")).collect(),
        "DescribeServiceDeployments" => texts("serviceDeploymentArns"),
        "DescribeServiceRevisions" => texts("serviceRevisionArns"),
        "UpdateTaskSet" | "DeleteTaskSet" | "DescribeTaskSets" => {
            let service = text("service").unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
            let sets = match text("taskSet") {
                Some(set) => vec![set.to_owned()],
                None => texts("taskSets"),
            };
            let sets = if sets.is_empty() { vec!["*".to_owned()] } else { sets };
            sets.iter()
                .map(|set| match set.starts_with("arn:") {
                    true => set.clone(),
                    false => home.arn(&format!("task-set/{cluster}/{service}/{set}")),
                })
                .collect()
        }
        "StopTask" => vec![in_cluster(text("task").unwrap_or_default(), "task")],
        "DescribeTasks" => texts("tasks").iter().map(|it| in_cluster(it, "task")).collect(),
        _ => vec!["*".to_owned()],
    };
    // A request that names none is not free: it is asked about everything.
    let resources = if resources.is_empty() { vec!["*".to_owned()] } else { resources };
    let mut accesses: Vec<Access> = resources
        .into_iter()
        .map(|resource| {
            let mut access = Access::new(format!("ecs:{operation}"), resource)
                .with("ecs:cluster", home.arn(&format!("cluster/{cluster}")));
            for tag in input.get("tags").and_then(Value::as_array).into_iter().flatten() {
                let part = |member: &str| tag.get(member).and_then(Value::as_str).unwrap_or_default();
                access = access
                    .with(format!("aws:RequestTag/{}", part("key")), part("value"))
                    .with("aws:TagKeys", part("key"));
            }
            access
        })
        .collect();
    if operation == "RegisterTaskDefinition" {
        for role in ["taskRoleArn", "executionRoleArn"].into_iter().filter_map(text) {
            accesses.push(Access::new("iam:PassRole", role).with("iam:PassedToService", "ecs-tasks.amazonaws.com"));
        }
    }
    Ok(accesses)
}
