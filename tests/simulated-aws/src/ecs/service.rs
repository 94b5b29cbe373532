//! Services.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::deployment::{self, Deployment, Rollout};
use super::revision::{Revision, ServiceDeployment};
use super::task_definition::{self, Include};
use super::task_set::TaskSet;
use super::{
    Home, INVALID, ServiceKey, Tag, client_error, cluster, invalid, page_size, recording, tag_map, tags_json, with_next,
};
use crate::World;
use crate::input::read;
use crate::operation::{Call, ServiceError, epoch};
use crate::paging::page;

/// A service's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ServiceStatus {
    Active,
    Draining,
    Inactive,
}

/// Who deploys a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Controller {
    Ecs,
    CodeDeploy,
    External,
}

/// A service, as it is.
#[derive(Debug)]
pub(super) struct ServiceState {
    pub(super) status: ServiceStatus,
    pub(super) controller: Controller,
    pub(super) desired: u32,
    pub(super) created_at: Timestamp,
    created_by: String,
    launch_type: String,
    scheduling: String,
    tags: BTreeMap<String, String>,
    pub(super) configuration: DeploymentConfiguration,
    network_configuration: Option<Value>,
    load_balancers: Value,
    client_token: Option<String>,
    /// The newest first; the first is the primary one.
    pub(super) deployments: Vec<Deployment>,
    /// The newest last.
    pub(super) service_deployments: Vec<ServiceDeployment>,
    pub(super) revisions: Vec<Revision>,
    pub(super) task_sets: Vec<TaskSet>,
}

/// How a service is deployed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DeploymentConfiguration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deployment_circuit_breaker: Option<CircuitBreaker>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_percent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_healthy_percent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<Strategy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bake_time_in_minutes: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Strategy {
    Rolling,
    BlueGreen,
}

/// What happens to a deployment whose tasks do not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CircuitBreaker {
    pub(super) enable: bool,
    pub(super) rollback: bool,
}

impl DeploymentConfiguration {
    /// How long the old tasks of a blue/green deployment are kept after the new ones serve.
    pub(super) fn bake_time(&self) -> SignedDuration {
        match self.strategy {
            Some(Strategy::BlueGreen) => SignedDuration::from_mins(self.bake_time_in_minutes.unwrap_or(0).into()),
            _ => SignedDuration::ZERO,
        }
    }

    fn check(&self) -> Result<(), ServiceError> {
        if self.bake_time_in_minutes.is_some_and(|minutes| minutes > 1440) {
            return Err(invalid("bakeTimeInMinutes must be between 0 and 1440."));
        }
        Ok(())
    }
}

impl ServiceState {
    pub(super) fn running(&self) -> u32 {
        let deployments: u32 = self.deployments.iter().map(|deployment| deployment.running).sum();
        let sets: u32 = self.task_sets.iter().map(|set| set.running).sum();
        deployments + sets
    }

    pub(super) fn revision(&self, arn: &str) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.arn == arn)
    }

    pub(super) fn to_json(&self, key: &ServiceKey, with_tags: bool) -> Value {
        let mut members = Map::new();
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        set("serviceArn", json!(key.arn()));
        set("serviceName", json!(key.name));
        set("clusterArn", json!(key.cluster_arn()));
        set("status", json!(self.status));
        set("desiredCount", json!(self.desired));
        set("runningCount", json!(self.running()));
        set("pendingCount", json!(self.desired.saturating_sub(self.running())));
        set("launchType", json!(self.launch_type));
        set("schedulingStrategy", json!(self.scheduling));
        set("createdAt", epoch(self.created_at));
        set("createdBy", json!(self.created_by));
        set("loadBalancers", self.load_balancers.clone());
        set("serviceRegistries", json!([]));
        set("events", json!([]));
        set("placementConstraints", json!([]));
        set("placementStrategy", json!([]));
        set("deploymentController", json!({"type": self.controller}));
        set("deploymentConfiguration", json!(self.configuration));
        set("enableECSManagedTags", json!(false));
        set("propagateTags", json!("NONE"));
        set("enableExecuteCommand", json!(false));
        if let Some(network) = &self.network_configuration {
            set("networkConfiguration", network.clone());
        }
        if with_tags {
            set("tags", tags_json(&self.tags));
        }
        let deployments = self.deployments.iter().enumerate();
        set("deployments", deployments.map(|(index, it)| it.to_json(index == 0, &self.launch_type)).collect());
        match self.controller {
            Controller::Ecs => {
                if let Some(primary) = self.deployments.first() {
                    set("taskDefinition", json!(primary.task_definition));
                }
                // What is older than revisions shows none.
                if let Some(current) = self.service_deployments.last().filter(|it| it.finished_at.is_none()) {
                    set("currentServiceDeployment", json!(current.arn));
                }
                let revisions: Vec<Value> = self
                    .deployments
                    .iter()
                    .filter(|it| self.revision(&it.revision).is_some_and(|revision| !revision.undescribable))
                    .map(|it| {
                        json!({
                            "arn": it.revision, "requestedTaskCount": it.desired, "runningTaskCount": it.running,
                            "pendingTaskCount": it.desired.saturating_sub(it.running),
                        })
                    })
                    .collect();
                if !revisions.is_empty() {
                    set("currentServiceRevisions", json!(revisions));
                }
            }
            Controller::CodeDeploy | Controller::External => {
                if let Some(primary) = self.task_sets.iter().find(|set| set.primary) {
                    set("taskDefinition", json!(primary.task_definition));
                }
                let sets = self.task_sets.iter().map(|it| it.to_json(key));
                set("taskSets", sets.collect());
            }
        }
        Value::Object(members)
    }
}

/// The key of an existing service, from a name or an ARN, and a cluster's name or ARN.
pub(super) fn find(
    world: &World,
    home: &Home,
    cluster: Option<&str>,
    service: &str,
) -> Result<ServiceKey, ServiceError> {
    let not_found = || ServiceError::new("ServiceNotFoundException", "Service not found.");
    let in_arn = service.strip_prefix("arn:").and_then(|arn| arn.rsplit('/').nth(1));
    let cluster = cluster::find(world, home, cluster.or(in_arn))?;
    let name = service.rsplit('/').next().unwrap_or(service).to_owned();
    let key = ServiceKey { home: home.clone(), cluster, name };
    world.ecs.service(&key).map(|_| key.clone()).ok_or_else(not_found)
}

/// The same, and it must be active.
pub(super) fn find_active(
    world: &World,
    home: &Home,
    cluster: Option<&str>,
    service: &str,
) -> Result<ServiceKey, ServiceError> {
    let key = find(world, home, cluster, service)?;
    match world.ecs.service(&key).map(|service| service.status) {
        Some(ServiceStatus::Active) => Ok(key),
        _ => Err(ServiceError::new("ServiceNotActiveException", "Service was not ACTIVE.")),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateService {
    cluster: Option<String>,
    service_name: String,
    task_definition: Option<String>,
    desired_count: Option<u32>,
    launch_type: Option<String>,
    #[serde(default)]
    deployment_configuration: DeploymentConfiguration,
    deployment_controller: Option<DeploymentController>,
    scheduling_strategy: Option<String>,
    network_configuration: Option<Value>,
    load_balancers: Option<Value>,
    #[serde(default)]
    tags: Vec<Tag>,
    client_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeploymentController {
    r#type: Controller,
}

pub(super) fn create(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: CreateService = read(input, INVALID)?;
    let home = Home::of(call);
    let cluster = cluster::find(world, &home, input.cluster.as_deref())?;
    let key = ServiceKey { home: home.clone(), cluster, name: input.service_name };
    let controller = input.deployment_controller.map_or(Controller::Ecs, |controller| controller.r#type);
    let scheduling = input.scheduling_strategy.unwrap_or_else(|| "REPLICA".to_owned());
    if scheduling != "REPLICA" {
        return Err(ServiceError::not_simulated(format_args!("services of scheduling strategy {scheduling}")));
    }
    input.deployment_configuration.check()?;
    match world.ecs.service(&key) {
        Some(there) if there.client_token.is_some() && there.client_token == input.client_token => {
            return Ok(json!({"service": there.to_json(&key, true)}));
        }
        Some(there) if there.status == ServiceStatus::Draining => {
            return Err(invalid("Unable to Start a service that is still Draining."));
        }
        Some(there) if there.status == ServiceStatus::Active => {
            return Err(invalid("Creation of service was not idempotent."));
        }
        _ => {}
    }
    let desired = match (input.desired_count, controller) {
        (Some(desired), _) => desired,
        (None, Controller::External) => 0,
        (None, _) => return Err(invalid("desiredCount is required for services of scheduling strategy REPLICA.")),
    };
    let task_definition = match (&input.task_definition, controller) {
        (None, Controller::External) => None,
        (None, _) => return Err(client_error("TaskDefinition can not be blank.")),
        (Some(_), Controller::External) => {
            return Err(invalid(
                "Task definition should be specified in task set when using external deployment controller.",
            ));
        }
        (Some(text), _) => Some(task_definition::startable(world, &home, text)?.arn.clone()),
    };
    let service = ServiceState {
        status: ServiceStatus::Active,
        controller,
        desired,
        created_at: world.now(),
        created_by: call.principal.arn(),
        launch_type: input.launch_type.unwrap_or_else(|| "FARGATE".to_owned()),
        scheduling,
        tags: tag_map(input.tags)?,
        configuration: input.deployment_configuration,
        network_configuration: input.network_configuration,
        load_balancers: input.load_balancers.unwrap_or_else(|| json!([])),
        client_token: input.client_token,
        deployments: Vec::new(),
        service_deployments: Vec::new(),
        revisions: Vec::new(),
        task_sets: Vec::new(),
    };
    world.ecs.place_mut(&home).services.insert((key.cluster.clone(), key.name.clone()), service);
    match (task_definition, controller) {
        (Some(task_definition), Controller::Ecs) => deployment::begin(world, &key, &task_definition),
        (Some(task_definition), _) => super::task_set::begin(world, &key, &task_definition, None, 100.0, true),
        (None, _) => {}
    }
    recording::service(world, &key);
    answer(world, &key)
}

fn answer(world: &World, key: &ServiceKey) -> Result<Value, ServiceError> {
    let service = world.ecs.service(key).ok_or_else(|| client_error("Service not found."))?;
    Ok(json!({"service": service.to_json(key, true)}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateService {
    cluster: Option<String>,
    service: String,
    desired_count: Option<u32>,
    task_definition: Option<String>,
    #[serde(default)]
    force_new_deployment: bool,
    deployment_configuration: Option<DeploymentConfiguration>,
}

pub(super) fn update(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: UpdateService = read(input, INVALID)?;
    let home = Home::of(call);
    let key = find_active(world, &home, input.cluster.as_deref(), &input.service)?;
    let there = world.ecs.service(&key).expect("found");
    let (controller, desired) = (there.controller, there.desired);
    let current = there.deployments.first().map(|primary| primary.task_definition.clone());
    if controller != Controller::Ecs && (input.task_definition.is_some() || input.force_new_deployment) {
        let name = json!(controller);
        return Err(invalid(format!(
            "Unable to update task definition on services with a {} deployment controller.",
            name.as_str().unwrap_or_default()
        )));
    }
    let wanted = match &input.task_definition {
        None => None,
        // Naming the revision that the service runs is no new reference.
        Some(text) => {
            let found = task_definition::find(world, &home, text)
                .ok_or_else(|| client_error("Unable to find task definition."))?;
            if current.as_deref() != Some(found.arn.as_str()) && !found.can_begin(world) {
                return Err(client_error("TaskDefinition is inactive"));
            }
            Some(found.arn.clone())
        }
    };
    if input.force_new_deployment && !world.behaviours.ecs_inactive_revision_can_be_forced {
        let target = wanted.as_ref().or(current.as_ref());
        target.map(|arn| task_definition::startable(world, &home, arn)).transpose()?;
    }
    if let Some(configuration) = &input.deployment_configuration {
        configuration.check()?;
    }
    let service = world.ecs.service_mut(&key).expect("found");
    if let Some(configuration) = input.deployment_configuration {
        service.configuration = configuration;
    }
    service.desired = input.desired_count.unwrap_or(desired);
    let changed = wanted.is_some() && wanted != current;
    if (changed || input.force_new_deployment)
        && let Some(target) = wanted.or(current)
    {
        deployment::begin(world, &key, &target);
    } else if input.desired_count.is_some_and(|count| count != desired) {
        deployment::scale(world, &key);
    }
    recording::service(world, &key);
    answer(world, &key)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteService {
    cluster: Option<String>,
    service: String,
    #[serde(default)]
    force: bool,
}

/// How long a deleted service drains.
const DRAINING: SignedDuration = SignedDuration::from_mins(1);
/// How long an inactive service can still be described.
const INACTIVE: SignedDuration = SignedDuration::from_hours(1);

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DeleteService = read(input, INVALID)?;
    let key = find_active(world, &Home::of(call), input.cluster.as_deref(), &input.service)
        // The model of DeleteService has no error of its own for a service that is not active.
        .map_err(|error| match error.code.as_str() {
            "ServiceNotActiveException" => ServiceError::new("ServiceNotFoundException", "Service not found."),
            _ => error,
        })?;
    let service = world.ecs.service_mut(&key).expect("found");
    if !input.force && service.desired > 0 {
        return Err(invalid("The service cannot be stopped while it is scaled above 0."));
    }
    if !input.force && !service.task_sets.is_empty() {
        return Err(invalid("The service cannot be stopped while it has task sets."));
    }
    service.status = ServiceStatus::Draining;
    service.desired = 0;
    let created = service.created_at;
    let after = key.clone();
    world.after(DRAINING, move |world| {
        let Some(service) = world.ecs.service_mut(&after).filter(|it| it.created_at == created) else { return };
        service.status = ServiceStatus::Inactive;
        service.deployments.clear();
        for set in std::mem::take(&mut service.task_sets) {
            recording::deleted_task_set(world, &after, &set);
        }
        recording::service(world, &after);
        world.after(INACTIVE, move |world| {
            if world
                .ecs
                .service(&after)
                .is_some_and(|it| it.status == ServiceStatus::Inactive && it.created_at == created)
            {
                world.ecs.place_mut(&after.home).services.remove(&(after.cluster, after.name));
            }
        });
    });
    answer(world, &key)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeServices {
    cluster: Option<String>,
    services: Vec<String>,
    #[serde(default)]
    include: Vec<Include>,
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DescribeServices = read(input, INVALID)?;
    let home = Home::of(call);
    if !(1..=10).contains(&input.services.len()) {
        return Err(invalid("Services must have between 1 and 10 entries."));
    }
    let cluster = cluster::find(world, &home, input.cluster.as_deref())?;
    let (mut services, mut failures) = (Vec::new(), Vec::new());
    for text in &input.services {
        match find(world, &home, Some(&cluster), text).ok().and_then(|key| Some((world.ecs.service(&key)?, key))) {
            Some((service, key)) => services.push(service.to_json(&key, !input.include.is_empty())),
            None => {
                let name = text.rsplit('/').next().unwrap_or(text);
                failures.push(json!({"arn": home.arn(&format!("service/{cluster}/{name}")), "reason": "MISSING"}));
            }
        }
    }
    Ok(json!({"services": services, "failures": failures}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListServices {
    cluster: Option<String>,
    next_token: Option<String>,
    max_results: Option<u64>,
    launch_type: Option<String>,
    scheduling_strategy: Option<String>,
}

pub(super) fn list(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: ListServices = read(input, INVALID)?;
    let home = Home::of(call);
    let cluster = cluster::find(world, &home, input.cluster.as_deref())?;
    let services = world.ecs.place(&home).into_iter().flat_map(|place| &place.services);
    let all: Vec<String> = services
        .filter(|((its, _), service)| *its == cluster && service.status != ServiceStatus::Inactive)
        .filter(|(_, service)| input.launch_type.as_ref().is_none_or(|it| *it == service.launch_type))
        .filter(|(_, service)| input.scheduling_strategy.as_ref().is_none_or(|it| *it == service.scheduling))
        .map(|((cluster, name), _)| home.arn(&format!("service/{cluster}/{name}")))
        .collect();
    let (these, next) = page(&all, input.next_token.as_deref(), page_size(input.max_results, 10)?, INVALID)?;
    Ok(with_next(json!({"serviceArns": these}), next))
}

impl Deployment {
    fn to_json(&self, primary: bool, launch_type: &str) -> Value {
        json!({
            "id": self.id,
            "status": if primary { "PRIMARY" } else { "ACTIVE" },
            "taskDefinition": self.task_definition,
            "desiredCount": self.desired,
            "pendingCount": self.desired.saturating_sub(self.running),
            "runningCount": self.running,
            "failedTasks": self.failed,
            "createdAt": epoch(self.created_at),
            "updatedAt": epoch(self.updated_at),
            "launchType": launch_type,
            "rolloutState": match self.rollout {
                Rollout::InProgress => "IN_PROGRESS",
                Rollout::Completed => "COMPLETED",
                Rollout::Failed => "FAILED",
            },
            "rolloutStateReason": self.reason,
        })
    }
}
