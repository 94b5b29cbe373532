//! Clusters.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::service::ServiceStatus;
use super::{Home, INVALID, Tag, cluster_name, page_size, tag_map, tags_json, with_next};
use crate::World;
use crate::input::read;
use crate::operation::{Call, ServiceError};
use crate::paging::page;

/// A cluster, which is active as long as it is there.
#[derive(Debug)]
pub(super) struct Cluster {
    tags: BTreeMap<String, String>,
}

/// The name of an existing cluster, from a name or an ARN.
pub(super) fn find(world: &World, home: &Home, text: Option<&str>) -> Result<String, ServiceError> {
    let name = cluster_name(text);
    match world.ecs.place(home).is_some_and(|place| place.clusters.contains_key(&name)) {
        true => Ok(name),
        false => Err(ServiceError::new("ClusterNotFoundException", "Cluster not found.")),
    }
}

fn describe_one(world: &World, home: &Home, name: &str, status: &str) -> Value {
    let place = world.ecs.place(home);
    let services = || {
        place
            .into_iter()
            .flat_map(|place| &place.services)
            .filter(|((cluster, _), service)| cluster == name && service.status == ServiceStatus::Active)
    };
    let tasks = place.into_iter().flat_map(|place| place.tasks.values()).filter(|task| task.runs_in(name)).count();
    let running: u32 = services().map(|(_, service)| service.running()).sum();
    let tags = place.and_then(|place| place.clusters.get(name)).map(|cluster| tags_json(&cluster.tags));
    json!({
        "clusterArn": home.arn(&format!("cluster/{name}")),
        "clusterName": name,
        "status": status,
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": running as usize + tasks,
        "pendingTasksCount": 0,
        "activeServicesCount": services().count(),
        "tags": tags.unwrap_or_else(|| json!([])),
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateCluster {
    cluster_name: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

pub(super) fn create(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: CreateCluster = read(input, INVALID)?;
    let home = Home::of(call);
    let name = input.cluster_name.unwrap_or_else(|| "default".to_owned());
    let tags = tag_map(input.tags)?;
    // Creating it again answers with the one that is there.
    world.ecs.place_mut(&home).clusters.entry(name.clone()).or_insert(Cluster { tags });
    Ok(json!({"cluster": describe_one(world, &home, &name, "ACTIVE")}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteCluster {
    cluster: String,
}

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DeleteCluster = read(input, INVALID)?;
    let home = Home::of(call);
    let name = find(world, &home, Some(&input.cluster))?;
    let place = world.ecs.place_mut(&home);
    let services = |((cluster, _), service): (&(String, String), &super::service::ServiceState)| {
        *cluster == name && service.status != ServiceStatus::Inactive
    };
    if place.services.iter().any(services) {
        return Err(ServiceError::new(
            "ClusterContainsServicesException",
            "The Cluster cannot be deleted while Services are active.",
        ));
    }
    if place.tasks.values().any(|task| task.runs_in(&name)) {
        return Err(ServiceError::new(
            "ClusterContainsTasksException",
            "The Cluster cannot be deleted while Tasks are active.",
        ));
    }
    let answer = json!({"cluster": describe_one(world, &home, &name, "INACTIVE")});
    world.ecs.place_mut(&home).clusters.remove(&name);
    Ok(answer)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeClusters {
    #[serde(default)]
    clusters: Vec<String>,
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DescribeClusters = read(input, INVALID)?;
    let home = Home::of(call);
    let names = if input.clusters.is_empty() { vec!["default".to_owned()] } else { input.clusters };
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for text in names {
        match find(world, &home, Some(&text)) {
            Ok(name) => clusters.push(describe_one(world, &home, &name, "ACTIVE")),
            Err(_) => {
                let arn = home.arn(&format!("cluster/{}", cluster_name(Some(&text))));
                failures.push(json!({"arn": arn, "reason": "MISSING"}));
            }
        }
    }
    Ok(json!({"clusters": clusters, "failures": failures}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListClusters {
    next_token: Option<String>,
    max_results: Option<u64>,
}

pub(super) fn list(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: ListClusters = read(input, INVALID)?;
    let home = Home::of(call);
    let clusters = world.ecs.place(&home).into_iter().flat_map(|place| place.clusters.keys());
    let all: Vec<String> = clusters.map(|name| home.arn(&format!("cluster/{name}"))).collect();
    let (these, next) = page(&all, input.next_token.as_deref(), page_size(input.max_results, 100)?, INVALID)?;
    Ok(with_next(json!({"clusterArns": these}), next))
}
