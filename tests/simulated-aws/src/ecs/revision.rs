//! Service deployments and service revisions: what a deployment was of, with the digests that it pinned.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::usage::RunningImage;
use super::{Home, INVALID, ServiceKey, invalid, page_size, service, with_next};
use crate::World;
use crate::identity::{AccountId, Region};
use crate::input::read;
use crate::operation::{Call, ServiceError, epoch};
use crate::paging::page;

/// A service revision.
#[derive(Debug, Clone)]
pub(super) struct Revision {
    pub(super) arn: String,
    pub(super) task_definition: String,
    pub(super) created_at: Timestamp,
    pub(super) images: Vec<RunningImage>,
    /// From before 25 October 2024, when revisions began.
    pub(super) undescribable: bool,
}

/// A service deployment.
#[derive(Debug, Clone)]
pub(super) struct ServiceDeployment {
    pub(super) arn: String,
    created_at: Timestamp,
    pub(super) finished_at: Option<Timestamp>,
    sources: Vec<String>,
    target: String,
    pub(super) status: DeploymentStatus,
    reason: String,
    pub(super) rollback: Option<Rollback>,
    pub(super) undescribable: bool,
}

/// The way back of a failed deployment.
#[derive(Debug, Clone)]
pub(super) struct Rollback {
    pub(super) reason: String,
    pub(super) started_at: Timestamp,
    pub(super) revision: String,
}

/// The status of a service deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum DeploymentStatus {
    Pending,
    Successful,
    Stopped,
    StopRequested,
    InProgress,
    RollbackRequested,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
}

impl ServiceDeployment {
    pub(super) fn new(arn: String, now: Timestamp, sources: Vec<String>, target: String) -> Self {
        Self {
            arn,
            created_at: now,
            finished_at: None,
            sources,
            target,
            status: DeploymentStatus::InProgress,
            reason: String::new(),
            rollback: None,
            undescribable: false,
        }
    }

    pub(super) fn finish(&mut self, now: Timestamp, status: DeploymentStatus, reason: &str) {
        self.finished_at = Some(now);
        self.status = status;
        self.reason = reason.to_owned();
    }

    fn brief(&self, key: &ServiceKey) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("serviceDeploymentArn".to_owned(), json!(self.arn));
        members.insert("serviceArn".to_owned(), json!(key.arn()));
        members.insert("clusterArn".to_owned(), json!(key.cluster_arn()));
        members.insert("createdAt".to_owned(), epoch(self.created_at));
        members.insert("startedAt".to_owned(), epoch(self.created_at));
        members.insert("status".to_owned(), json!(self.status));
        if let Some(at) = self.finished_at {
            members.insert("finishedAt".to_owned(), epoch(at));
        }
        if !self.reason.is_empty() {
            members.insert("statusReason".to_owned(), json!(self.reason));
        }
        members
    }

    fn to_json(&self, key: &ServiceKey, service: &service::ServiceState) -> Value {
        let summary = |arn: &String| {
            let live = service.deployments.iter().find(|it| it.revision == *arn);
            json!({
                "arn": arn,
                "requestedTaskCount": live.map_or(0, |it| it.desired),
                "runningTaskCount": live.map_or(0, |it| it.running),
                "pendingTaskCount": live.map_or(0, |it| it.desired.saturating_sub(it.running)),
            })
        };
        let mut members = self.brief(key);
        members.insert("sourceServiceRevisions".to_owned(), self.sources.iter().map(summary).collect());
        members.insert("targetServiceRevision".to_owned(), summary(&self.target));
        members.insert("deploymentConfiguration".to_owned(), json!(service.configuration));
        if let Some(rollback) = &self.rollback {
            members.insert(
                "rollback".to_owned(),
                json!({
                    "reason": rollback.reason, "startedAt": epoch(rollback.started_at),
                    "serviceRevisionArn": rollback.revision,
                }),
            );
        }
        Value::Object(members)
    }
}

impl Revision {
    fn to_json(&self, key: &ServiceKey) -> Value {
        let images: Vec<Value> = self
            .images
            .iter()
            .map(|image| {
                let mut entry = json!({"containerName": image.container, "image": image.image});
                if let Some(pinned) = image.pinned.as_ref().filter(|_| image.consistent) {
                    entry["imageDigest"] = json!(pinned.digest);
                }
                entry
            })
            .collect();
        json!({
            "serviceRevisionArn": self.arn,
            "serviceArn": key.arn(),
            "clusterArn": key.cluster_arn(),
            "taskDefinition": self.task_definition,
            "containerImages": images,
            "guardDutyEnabled": false,
            "createdAt": epoch(self.created_at),
        })
    }
}

/// Makes a service one whose deployments so far are older than service revisions (25 October 2024), which then cannot be
/// described. Nothing happens if there is no such service.
pub fn make_service_older_than_revisions(
    world: &mut World,
    account: &AccountId,
    region: &Region,
    cluster: &str,
    service: &str,
) {
    let home = Home { account: account.clone(), region: region.clone() };
    let key = ServiceKey { home, cluster: cluster.to_owned(), name: service.to_owned() };
    let Some(service) = world.ecs.service_mut(&key) else { return };
    service.revisions.iter_mut().for_each(|revision| revision.undescribable = true);
    service.service_deployments.iter_mut().for_each(|deployment| deployment.undescribable = true);
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListServiceDeployments {
    service: String,
    cluster: Option<String>,
    #[serde(default)]
    status: Vec<DeploymentStatus>,
    created_at: Option<CreatedAt>,
    next_token: Option<String>,
    max_results: Option<u64>,
}

/// In epoch seconds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreatedAt {
    before: Option<f64>,
    after: Option<f64>,
}

impl CreatedAt {
    fn includes(&self, at: Timestamp) -> bool {
        let at = at.as_duration().as_secs_f64();
        self.after.is_none_or(|after| after <= at) && self.before.is_none_or(|before| at <= before)
    }
}

pub(super) fn list_deployments(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: ListServiceDeployments = read(input, INVALID)?;
    let key = service::find(world, &Home::of(call), input.cluster.as_deref(), &input.service)?;
    let service = world.ecs.service(&key).expect("found");
    if service.controller != service::Controller::Ecs {
        return Err(ServiceError::new(
            "UnsupportedFeatureException",
            "Service deployments are supported only for services with the ECS deployment controller.",
        ));
    }
    // The newest first.
    let all: Vec<&ServiceDeployment> = service
        .service_deployments
        .iter()
        .rev()
        .filter(|it| !it.undescribable)
        .filter(|it| input.created_at.as_ref().is_none_or(|range| range.includes(it.created_at)))
        .filter(|it| input.status.is_empty() || input.status.contains(&it.status))
        .collect();
    let (these, next) = page(&all, input.next_token.as_deref(), page_size(input.max_results, 20)?, INVALID)?;
    let briefs: Vec<_> = these
        .iter()
        .map(|deployment| {
            let mut members = deployment.brief(&key);
            members.insert("targetServiceRevisionArn".to_owned(), json!(deployment.target));
            members
        })
        .collect();
    Ok(with_next(json!({"serviceDeployments": briefs}), next))
}

/// The service that an ARN of one of its parts belongs to.
fn owner(arn: &str, home: &Home, kind: &str) -> Option<ServiceKey> {
    let mut parts = arn.strip_prefix(&home.arn(&format!("{kind}/")))?.split('/');
    let (cluster, name) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    Some(ServiceKey { home: home.clone(), cluster, name })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeServiceDeployments {
    service_deployment_arns: Vec<String>,
}

pub(super) fn describe_deployments(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DescribeServiceDeployments = read(input, INVALID)?;
    let home = Home::of(call);
    if !(1..=20).contains(&input.service_deployment_arns.len()) {
        return Err(invalid("serviceDeploymentArns must have between 1 and 20 entries."));
    }
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in &input.service_deployment_arns {
        let deployment = owner(arn, &home, "service-deployment").and_then(|key| {
            let service = world.ecs.service(&key)?;
            let deployment = service.service_deployments.iter().find(|it| it.arn == *arn && !it.undescribable)?;
            Some(deployment.to_json(&key, service))
        });
        match deployment {
            Some(deployment) => found.push(deployment),
            None => failures.push(json!({"arn": arn, "reason": "MISSING"})),
        }
    }
    Ok(json!({"serviceDeployments": found, "failures": failures}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeServiceRevisions {
    service_revision_arns: Vec<String>,
}

pub(super) fn describe_revisions(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DescribeServiceRevisions = read(input, INVALID)?;
    let home = Home::of(call);
    if !(1..=20).contains(&input.service_revision_arns.len()) {
        return Err(invalid("serviceRevisionArns must have between 1 and 20 entries."));
    }
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in &input.service_revision_arns {
        let revision = owner(arn, &home, "service-revision").and_then(|key| {
            let revision = world.ecs.service(&key)?.revision(arn).filter(|it| !it.undescribable)?;
            Some(revision.to_json(&key))
        });
        match revision {
            Some(revision) => found.push(revision),
            None => failures.push(json!({"arn": arn, "reason": "MISSING"})),
        }
    }
    Ok(json!({"serviceRevisions": found, "failures": failures}))
}
