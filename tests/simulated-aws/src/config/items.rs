//! The items of each resource type: what Config makes of what the service's own API describes.
//!
//! The keys follow the resource type's schema: CloudFormation's spelling for types that were added lately (ECS, Events,
//! App Runner, SageMaker), the API's own for the older ones (CodeBuild, Lambda). What a schema does not know (counts of
//! tasks, deployments, events) is left out. Maps whose keys belong to the user (labels, log options) keep them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// `AWS::ECS::TaskDefinition`.
pub const TASK_DEFINITION: &str = "AWS::ECS::TaskDefinition";
/// `AWS::ECS::Service`.
pub const SERVICE: &str = "AWS::ECS::Service";
/// `AWS::ECS::TaskSet`.
pub const TASK_SET: &str = "AWS::ECS::TaskSet";
/// `AWS::Events::Rule`.
pub const RULE: &str = "AWS::Events::Rule";
/// `AWS::Config::ConfigurationRecorder`.
pub const RECORDER: &str = "AWS::Config::ConfigurationRecorder";

/// A resource as Config records it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Such as `AWS::ECS::Service`.
    pub resource_type: String,
    /// The resource's id among those of its type.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its ARN.
    pub arn: String,
    /// The configuration; `None` for a resource that was deleted.
    pub configuration: Option<Value>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Item {
    /// An item without tags.
    pub fn new(resource_type: &str, id: &str, name: Option<&str>, arn: &str, configuration: Value) -> Self {
        Self {
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
            name: name.map(str::to_owned),
            arn: arn.to_owned(),
            configuration: Some(configuration),
            tags: BTreeMap::new(),
        }
    }

    /// The same with tags.
    pub fn with_tags(mut self, tags: BTreeMap<String, String>) -> Self {
        self.tags = tags;
        self
    }

    /// The same resource, deleted.
    pub fn deleted(mut self) -> Self {
        self.configuration = None;
        self
    }
}

/// A task definition, from `taskDefinition` of `DescribeTaskDefinition`. An INACTIVE one is an item as well.
pub fn task_definition(described: &Value) -> Item {
    let arn = member(described, "taskDefinitionArn");
    let configuration = pick(
        described,
        &[
            "taskDefinitionArn",
            "containerDefinitions",
            "family",
            "taskRoleArn",
            "executionRoleArn",
            "networkMode",
            "status",
            "volumes",
            "cpu",
            "memory",
            "requiresCompatibilities",
            "placementConstraints",
            "ipcMode",
            "pidMode",
            "proxyConfiguration",
            "inferenceAccelerators",
        ],
        &[],
    );
    Item::new(TASK_DEFINITION, arn, None, arn, configuration).with_tags(ecs_tags(described))
}

/// A service, from an element of `services` of `DescribeServices`.
pub fn service(described: &Value) -> Item {
    let (arn, name) = (member(described, "serviceArn"), member(described, "serviceName"));
    let mut configuration = pick(
        described,
        &[
            "serviceArn",
            "serviceName",
            "taskDefinition",
            "desiredCount",
            "launchType",
            "platformVersion",
            "capacityProviderStrategy",
            "deploymentConfiguration",
            "deploymentController",
            "healthCheckGracePeriodSeconds",
            "loadBalancers",
            "serviceRegistries",
            "networkConfiguration",
            "placementConstraints",
            "propagateTags",
            "schedulingStrategy",
            "enableECSManagedTags",
            "enableExecuteCommand",
        ],
        &[("clusterArn", "Cluster"), ("placementStrategy", "PlacementStrategies"), ("roleArn", "Role")],
    );
    configuration["Name"] = Value::from(name);
    Item::new(SERVICE, arn, Some(name), arn, configuration).with_tags(ecs_tags(described))
}

/// A task set, from an element of `taskSets` of `DescribeTaskSets`.
pub fn task_set(described: &Value) -> Item {
    let mut configuration = pick(
        described,
        &[
            "id",
            "externalId",
            "taskDefinition",
            "launchType",
            "loadBalancers",
            "platformVersion",
            "scale",
            "serviceRegistries",
            "networkConfiguration",
        ],
        &[("clusterArn", "Cluster"), ("serviceArn", "Service")],
    );
    // The one place where this schema spells it otherwise than that of the service.
    if let Some(network) = configuration.get_mut("NetworkConfiguration").and_then(Value::as_object_mut)
        && let Some(vpc) = network.remove("AwsvpcConfiguration")
    {
        network.insert("AwsVpcConfiguration".to_owned(), vpc);
    }
    let id = member(described, "id");
    Item::new(TASK_SET, id, None, member(described, "taskSetArn"), configuration).with_tags(ecs_tags(described))
}

/// A rule, from the answers of `DescribeRule` and of `ListTargetsByRule` (`Targets`).
pub fn rule(described: &Value, targets: &Value) -> Item {
    let (arn, name) = (member(described, "Arn"), member(described, "Name"));
    let members = ["Arn", "Name", "Description", "EventBusName", "RoleArn", "ScheduleExpression", "State"];
    let mut configuration = pick(described, &members, &[]);
    // As `Ref` of CloudFormation: rules of several buses may have the same name.
    let id = match member(described, "EventBusName") {
        "" | "default" => name.to_owned(),
        bus => format!("{bus}|{name}"),
    };
    configuration["Id"] = Value::from(id.as_str());
    configuration["Targets"] = renamed(targets, "awsvpcConfiguration", "AwsVpcConfiguration");
    Item::new(RULE, &id, Some(name), arn, configuration)
}

/// An App Runner service, from `Service` of `DescribeService`.
pub fn app_runner_service(described: &Value) -> Item {
    let (arn, name) = (member(described, "ServiceArn"), member(described, "ServiceName"));
    let members = [
        "ServiceArn",
        "ServiceId",
        "ServiceName",
        "ServiceUrl",
        "Status",
        "SourceConfiguration",
        "InstanceConfiguration",
        "HealthCheckConfiguration",
        "NetworkConfiguration",
    ];
    Item::new("AWS::AppRunner::Service", arn, Some(name), arn, pick(described, &members, &[]))
}

/// A SageMaker model, from the answer of `DescribeModel`.
pub fn sage_maker_model(described: &Value) -> Item {
    let (arn, name) = (member(described, "ModelArn"), member(described, "ModelName"));
    let members = [
        "ModelName",
        "PrimaryContainer",
        "Containers",
        "ExecutionRoleArn",
        "EnableNetworkIsolation",
        "InferenceExecutionConfig",
        "VpcConfig",
    ];
    let mut configuration = pick(described, &members, &[]);
    configuration["Id"] = Value::from(arn);
    Item::new("AWS::SageMaker::Model", arn, Some(name), arn, configuration)
}

/// A CodeBuild project, from an element of `projects` of `BatchGetProjects`.
pub fn code_build_project(described: &Value) -> Item {
    let (arn, name) = (member(described, "arn"), member(described, "name"));
    Item::new("AWS::CodeBuild::Project", arn, Some(name), arn, described.clone())
}

/// A Lambda function, from `Configuration` of `GetFunction`. Its image's URI is not in it, only `codeSha256`.
pub fn lambda_function(described: &Value) -> Item {
    let (arn, name) = (member(described, "FunctionArn"), member(described, "FunctionName"));
    let members = described.as_object().into_iter().flatten();
    let configuration: Map<String, Value> =
        members.map(|(key, value)| (first(key, char::to_ascii_lowercase), value.clone())).collect();
    Item::new("AWS::Lambda::Function", name, Some(name), arn, Value::Object(configuration))
}

/// A recorder, from an element of `ConfigurationRecorders` of `DescribeConfigurationRecorders` and whether it records.
pub(super) fn recorder(described: &Value, recording: bool) -> Item {
    let (arn, name) = (member(described, "arn"), member(described, "name"));
    let mut configuration = pick(described, &["name", "roleARN", "recordingGroup", "recordingMode"], &[]);
    configuration["Id"] = Value::from(name);
    configuration["Recording"] = Value::from(recording);
    Item::new(RECORDER, name, Some(name), arn, configuration)
}

fn member<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn ecs_tags(described: &Value) -> BTreeMap<String, String> {
    let tags = described.get("tags").and_then(Value::as_array).into_iter().flatten();
    tags.map(|tag| (member(tag, "key").to_owned(), member(tag, "value").to_owned())).collect()
}

/// The named members, and those that are called otherwise in an item.
fn pick(described: &Value, names: &[&str], others: &[(&str, &str)]) -> Value {
    let same = names.iter().map(|name| (*name, first(name, char::to_ascii_uppercase)));
    let renamed = others.iter().map(|(name, called)| (*name, (*called).to_owned()));
    let picked = same.chain(renamed).filter_map(|(name, called)| {
        let value = described.get(name).filter(|value| !value.is_null())?;
        Some((called, pascal(value)))
    });
    Value::Object(picked.collect())
}

fn first(name: &str, change: fn(&char) -> char) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| change(&first)).into_iter().chain(chars).collect()
}

/// Members whose keys are the user's.
const MAPS: &[&str] = &["dockerLabels", "options", "driverOpts", "labels", "Environment"];

fn pascal(value: &Value) -> Value {
    match value {
        Value::Array(elements) => elements.iter().map(pascal).collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| {
                    let value = if MAPS.contains(&name.as_str()) { value.clone() } else { pascal(value) };
                    (first(name, char::to_ascii_uppercase), value)
                })
                .collect(),
        ),
        scalar => scalar.clone(),
    }
}

/// `value` with one member called otherwise, at any depth.
fn renamed(value: &Value, name: &str, called: &str) -> Value {
    match value {
        Value::Array(elements) => elements.iter().map(|element| renamed(element, name, called)).collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, value)| {
                    let value = renamed(value, name, called);
                    (if key == name { called.to_owned() } else { key.clone() }, value)
                })
                .collect(),
        ),
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::schema;

    #[test]
    fn a_task_definition_is_spelled_as_its_schema() {
        let item = task_definition(&json!({
            "taskDefinitionArn": "arn:aws:ecs:eu-west-1:1:task-definition/web:1", "family": "web", "revision": 1,
            "status": "INACTIVE", "registeredAt": 0, "taskRoleArn": null, "tags": [{"key": "team", "value": "shop"}],
            "containerDefinitions": [{
                "name": "app", "image": "reg/app:1", "dockerLabels": {"my.label": "x"},
                "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g"}},
                "environment": [{"name": "A", "value": "b"}],
            }],
        }));
        assert_eq!(
            item.configuration,
            Some(json!({
                "TaskDefinitionArn": "arn:aws:ecs:eu-west-1:1:task-definition/web:1", "Family": "web", "Status": "INACTIVE",
                "ContainerDefinitions": [{
                    "Name": "app", "Image": "reg/app:1", "DockerLabels": {"my.label": "x"},
                    "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-group": "g"}},
                    "Environment": [{"Name": "A", "Value": "b"}],
                }],
            }))
        );
        assert_eq!(item.tags["team"], "shop");
    }

    #[test]
    fn a_service_shows_one_task_definition_and_no_deployments() {
        let item = service(&json!({
            "serviceArn": "arn:aws:ecs:eu-west-1:1:service/main/web", "serviceName": "web", "clusterArn": "arn:main",
            "taskDefinition": "arn:td:2", "desiredCount": 3, "deployments": [{"taskDefinition": "arn:td:1"}],
            "runningCount": 3, "enableECSManagedTags": true,
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["s"]}},
        }));
        assert_eq!(
            item.configuration,
            Some(json!({
                "ServiceArn": "arn:aws:ecs:eu-west-1:1:service/main/web", "ServiceName": "web", "Name": "web",
                "Cluster": "arn:main", "TaskDefinition": "arn:td:2", "DesiredCount": 3, "EnableECSManagedTags": true,
                "NetworkConfiguration": {"AwsvpcConfiguration": {"Subnets": ["s"]}},
            }))
        );
    }

    /// Every scalar of an item under its full name.
    fn scalars(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Array(elements) => elements.iter().for_each(|element| scalars(element, path, found)),
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| scalars(value, &format!("{path}.{name}"), found));
            }
            _ => found.push(path.to_owned()),
        }
    }

    #[test]
    fn what_names_an_image_can_be_queried() {
        let network = json!({"awsvpcConfiguration": {"subnets": ["s"]}});
        for item in [
            task_definition(&json!({"taskDefinitionArn": "a", "containerDefinitions": [{"name": "a", "image": "b"}],
                "volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "f"}}]})),
            service(&json!({"serviceArn": "a", "clusterArn": "c", "taskDefinition": "t", "roleArn": "r",
                "networkConfiguration": network, "placementStrategy": [{"type": "spread", "field": "f"}]})),
            task_set(&json!({"id": "ecs-svc/1", "serviceArn": "s", "clusterArn": "c", "taskDefinition": "t",
                "networkConfiguration": network, "scale": {"value": 100.0, "unit": "PERCENT"}})),
            rule(
                &json!({"Arn": "a", "Name": "n", "State": "ENABLED"}),
                &json!([{"Id": "1", "Arn": "cluster",
                "EcsParameters": {"TaskDefinitionArn": "t",
                    "NetworkConfiguration": {"awsvpcConfiguration": {"Subnets": ["s"]}}}}]),
            ),
            app_runner_service(&json!({"ServiceArn": "a",
                "SourceConfiguration": {"ImageRepository": {"ImageIdentifier": "i", "ImageRepositoryType": "ECR"}}})),
            sage_maker_model(
                &json!({"ModelName": "m", "PrimaryContainer": {"Image": "i"}, "Containers": [{"Image": "i"}]}),
            ),
            code_build_project(&json!({"name": "p", "environment": {"image": "i"}})),
            lambda_function(&json!({"FunctionName": "f", "PackageType": "Image", "CodeSha256": "d"})),
            recorder(
                &json!({"name": "default", "roleARN": "r", "recordingGroup": {"allSupported": true,
                "recordingStrategy": {"useOnly": "x"}}, "recordingMode": {"recordingFrequency": "DAILY"}}),
                true,
            ),
        ] {
            let mut found = Vec::new();
            scalars(item.configuration.as_ref().unwrap(), "configuration", &mut found);
            for name in found {
                assert!(schema::kind_of(&name).is_some(), "{}: {name}", item.resource_type);
            }
        }
    }
}
