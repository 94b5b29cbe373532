//! Resource types: how each is made, changed and deleted by calling the simulation's own operations, with the
//! permissions of whoever the stack acts for.

use serde_json::{Map, Value, json};

use super::property::{Shape, TAGS, TEXTS, conform, lower_camel};
use crate::World;
use crate::identity::{AccountId, Principal, Region};
use crate::operation::ServiceError;

use Shape::{Boolean, Integer, Json, List, Object, Text};

/// Where and as whom resources are made, and for which of a stack's resources.
pub(crate) struct Context<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) actor: Principal,
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    /// A name for resources that the template does not name.
    pub(crate) fresh_name: String,
}

/// A resource that was made or changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Made {
    /// `Ref`.
    pub(crate) id: String,
    /// `Fn::GetAtt`.
    pub(crate) attributes: Map<String, Value>,
}

impl Made {
    fn new(id: impl Into<String>, attributes: Value) -> Self {
        let attributes = match attributes {
            Value::Object(attributes) => attributes,
            _ => Map::new(),
        };
        Self { id: id.into(), attributes }
    }
}

type Outcome = Result<Made, ServiceError>;

/// A resource type.
pub(crate) struct Type {
    name: &'static str,
    properties: &'static [(&'static str, Shape)],
    /// Properties that cannot change in place.
    fixed: &'static [&'static str],
    /// Whether it needs `CAPABILITY_IAM`; the property that names it needs `CAPABILITY_NAMED_IAM`.
    iam: Option<&'static str>,
    /// Makes it, or with an id brings it into the given form.
    put: fn(&mut Context<'_>, Option<&str>, &Value) -> Outcome,
    delete: fn(&mut Context<'_>, &str, &Value) -> Result<(), ServiceError>,
}

/// How a change went.
pub(crate) enum Changed {
    InPlace(Made),
    /// A new resource takes its place; the old one is to be deleted.
    Replaced(Made),
}

impl Type {
    /// The type of that name.
    pub(crate) fn find(name: &str) -> Option<&'static Type> {
        TYPES.iter().find(|kind| kind.name == name)
    }

    /// The properties in their types, or which of them is unknown.
    pub(crate) fn conform(&self, properties: &Value) -> Result<Value, ServiceError> {
        conform(properties, Object(self.properties), self.name)
    }

    /// The capability that a stack with this resource needs.
    pub(crate) fn capability(&self, names_itself: impl Fn(&str) -> bool) -> Option<&'static str> {
        let name = self.iam?;
        Some(if names_itself(name) { "CAPABILITY_NAMED_IAM" } else { "CAPABILITY_IAM" })
    }

    pub(crate) fn create(&self, context: &mut Context<'_>, properties: &Value) -> Outcome {
        (self.put)(context, None, properties)
    }

    pub(crate) fn change(
        &self,
        context: &mut Context<'_>,
        id: &str,
        old: &Value,
        new: &Value,
    ) -> Result<Changed, ServiceError> {
        if self.fixed.iter().any(|name| old.get(name) != new.get(name)) {
            return self.create(context, new).map(Changed::Replaced);
        }
        (self.put)(context, Some(id), new).map(Changed::InPlace)
    }

    pub(crate) fn delete(&self, context: &mut Context<'_>, id: &str, properties: &Value) -> Result<(), ServiceError> {
        match (self.delete)(context, id, properties) {
            // Gone is deleted.
            Err(error) if is_gone(&error) => Ok(()),
            outcome => outcome,
        }
    }
}

fn is_gone(error: &ServiceError) -> bool {
    error.status == 404
        || ["NoSuchEntity", "NotFound", "NonExistent", "NoSuch", "DoesNotExist"]
            .iter()
            .any(|part| error.code.contains(part))
}

impl Context<'_> {
    fn call(&mut self, service: &str, operation: &str, input: Value) -> Result<Value, ServiceError> {
        // What a template does not say is not a member of the call.
        let input = match input {
            Value::Object(members) => members.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            other => other,
        };
        self.world.call_as(&self.actor.clone(), &self.account.clone(), &self.region.clone(), service, operation, input)
    }

    fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }

    fn name(&self, properties: &Value, property: &str) -> String {
        text(properties, property).map_or_else(|| self.fresh_name.clone(), str::to_owned)
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `[{Key, Value}]` as an object; none if there are no tags.
fn tag_map(properties: &Value) -> Value {
    let tags: Map<_, _> = items(properties, "Tags")
        .iter()
        .filter_map(|tag| Some((text(tag, "Key")?.to_owned(), tag.get("Value")?.clone())))
        .collect();
    if tags.is_empty() { Value::Null } else { Value::Object(tags) }
}

/// The properties without some, and with others.
fn with(properties: &Value, without: &[&str], more: Value) -> Value {
    let mut members = properties.as_object().cloned().unwrap_or_default();
    members.retain(|name, _| !without.contains(&name.as_str()));
    if let Value::Object(more) = more {
        members.extend(more);
    }
    Value::Object(members)
}

const POLICY: Shape = Object(&[("PolicyName", Text), ("PolicyDocument", Json)]);
const TARGET: Shape = Object(&[
    ("Id", Text),
    ("Arn", Text),
    ("RoleArn", Text),
    ("Input", Text),
    ("InputPath", Text),
    ("InputTransformer", Object(&[("InputPathsMap", Shape::Map(&Text)), ("InputTemplate", Text)])),
    ("DeadLetterConfig", Object(&[("Arn", Text)])),
    ("RetryPolicy", Object(&[("MaximumRetryAttempts", Integer), ("MaximumEventAgeInSeconds", Integer)])),
    ("EcsParameters", Object(&[("TaskDefinitionArn", Text), ("TaskCount", Integer), ("LaunchType", Text)])),
]);
const CONTAINER: Shape = Object(&[
    ("Name", Text),
    ("Image", Text),
    ("Memory", Integer),
    ("MemoryReservation", Integer),
    ("Cpu", Integer),
    ("Essential", Boolean),
    ("Command", TEXTS),
    ("EntryPoint", TEXTS),
    ("Environment", List(&Object(&[("Name", Text), ("Value", Text)]))),
]);

/// Every type that stacks may hold, beside custom resources.
static TYPES: &[Type] = &[
    Type {
        name: "AWS::CloudFormation::WaitConditionHandle",
        properties: &[],
        fixed: &[],
        iam: None,
        put: |context, id, _| Ok(Made::new(id.map_or_else(|| context.fresh_name.clone(), str::to_owned), json!({}))),
        delete: |_, _, _| Ok(()),
    },
    Type {
        name: "AWS::IAM::Role",
        properties: &[
            ("RoleName", Text),
            ("Path", Text),
            ("Description", Text),
            ("AssumeRolePolicyDocument", Json),
            ("MaxSessionDuration", Integer),
            ("ManagedPolicyArns", TEXTS),
            ("Policies", List(&POLICY)),
            ("Tags", TAGS),
        ],
        fixed: &["RoleName", "Path", "Tags"],
        iam: Some("RoleName"),
        put: put_role,
        delete: delete_role,
    },
    Type {
        name: "AWS::IAM::RolePolicy",
        properties: &[("RoleName", Text), ("PolicyName", Text), ("PolicyDocument", Json)],
        fixed: &["RoleName", "PolicyName"],
        iam: None,
        put: |context, _, properties| {
            let (role, policy) =
                (text(properties, "RoleName").unwrap_or_default(), context.name(properties, "PolicyName"));
            put_role_policy(context, role, &policy, &properties["PolicyDocument"])?;
            Ok(Made::new(format!("{policy}|{role}"), json!({})))
        },
        delete: |context, id, _| {
            let (policy, role) = id.split_once('|').unwrap_or_default();
            context.call("iam", "DeleteRolePolicy", json!({"RoleName": role, "PolicyName": policy})).map(drop)
        },
    },
    Type {
        name: "AWS::IAM::Policy",
        properties: &[("PolicyName", Text), ("PolicyDocument", Json), ("Roles", TEXTS)],
        fixed: &["PolicyName", "Roles"],
        iam: Some(""),
        put: |context, _, properties| {
            let policy = context.name(properties, "PolicyName");
            for role in items(properties, "Roles").iter().filter_map(Value::as_str) {
                put_role_policy(context, role, &policy, &properties["PolicyDocument"])?;
            }
            Ok(Made::new(policy, json!({})))
        },
        delete: |context, id, properties| {
            for role in items(properties, "Roles").iter().filter_map(Value::as_str) {
                context.call("iam", "DeleteRolePolicy", json!({"RoleName": role, "PolicyName": id}))?;
            }
            Ok(())
        },
    },
    Type {
        name: "AWS::SQS::Queue",
        properties: &[
            ("QueueName", Text),
            ("DelaySeconds", Integer),
            ("KmsMasterKeyId", Text),
            ("MaximumMessageSize", Integer),
            ("MessageRetentionPeriod", Integer),
            ("ReceiveMessageWaitTimeSeconds", Integer),
            ("RedriveAllowPolicy", Json),
            ("RedrivePolicy", Json),
            ("SqsManagedSseEnabled", Boolean),
            ("VisibilityTimeout", Integer),
            ("Tags", TAGS),
        ],
        fixed: &["QueueName", "Tags"],
        iam: None,
        put: put_queue,
        delete: |context, id, _| context.call("sqs", "DeleteQueue", json!({"QueueUrl": id})).map(drop),
    },
    Type {
        name: "AWS::SQS::QueuePolicy",
        properties: &[("Queues", TEXTS), ("PolicyDocument", Json)],
        fixed: &["Queues"],
        iam: None,
        put: |context, id, properties| {
            for queue in items(properties, "Queues") {
                let policy = json!({"Policy": properties["PolicyDocument"].to_string()});
                context.call("sqs", "SetQueueAttributes", json!({"QueueUrl": queue, "Attributes": policy}))?;
            }
            Ok(Made::new(id.map_or_else(|| context.fresh_name.clone(), str::to_owned), json!({})))
        },
        delete: |context, _, properties| {
            for queue in items(properties, "Queues") {
                let none = json!({"QueueUrl": queue, "Attributes": {"Policy": ""}});
                context.call("sqs", "SetQueueAttributes", none)?;
            }
            Ok(())
        },
    },
    Type {
        name: "AWS::Logs::LogGroup",
        properties: &[("LogGroupName", Text), ("RetentionInDays", Integer), ("Tags", TAGS)],
        fixed: &["LogGroupName", "Tags"],
        iam: None,
        put: |context, id, properties| {
            let name = context.name(properties, "LogGroupName");
            if id.is_none() {
                let input = json!({"logGroupName": name, "tags": tag_map(properties)});
                context.call("logs", "CreateLogGroup", input)?;
            }
            match properties.get("RetentionInDays") {
                Some(days) => context.call(
                    "logs",
                    "PutRetentionPolicy",
                    json!({"logGroupName": name, "retentionInDays": days}),
                )?,
                None => context.call("logs", "DeleteRetentionPolicy", json!({"logGroupName": name}))?,
            };
            let arn = context.arn("logs", &format!("log-group:{name}:*"));
            Ok(Made::new(name, json!({"Arn": arn})))
        },
        delete: |context, id, _| context.call("logs", "DeleteLogGroup", json!({"logGroupName": id})).map(drop),
    },
    Type {
        name: "AWS::Lambda::Function",
        properties: &[
            ("FunctionName", Text),
            ("Description", Text),
            ("Runtime", Text),
            ("Handler", Text),
            ("Role", Text),
            ("Architectures", TEXTS),
            ("Timeout", Integer),
            ("MemorySize", Integer),
            ("Code", Object(&[("S3Bucket", Text), ("S3Key", Text), ("S3ObjectVersion", Text), ("ZipFile", Text)])),
            ("Environment", Object(&[("Variables", Shape::Map(&Text))])),
            (
                "LoggingConfig",
                Object(&[
                    ("LogFormat", Text),
                    ("LogGroup", Text),
                    ("ApplicationLogLevel", Text),
                    ("SystemLogLevel", Text),
                ]),
            ),
            ("Tags", TAGS),
        ],
        fixed: &["FunctionName", "Tags"],
        iam: None,
        put: put_function,
        delete: |context, id, _| context.call("lambda", "DeleteFunction", json!({"FunctionName": id})).map(drop),
    },
    Type {
        name: "AWS::Lambda::Permission",
        properties: &[
            ("FunctionName", Text),
            ("Action", Text),
            ("Principal", Text),
            ("SourceArn", Text),
            ("SourceAccount", Text),
            ("PrincipalOrgID", Text),
        ],
        fixed: &["FunctionName", "Action", "Principal", "SourceArn", "SourceAccount", "PrincipalOrgID"],
        iam: None,
        put: |context, id, properties| {
            let id = id.map_or_else(|| context.fresh_name.clone(), str::to_owned);
            context.call("lambda", "AddPermission", with(properties, &[], json!({"StatementId": id})))?;
            Ok(Made::new(id, json!({})))
        },
        delete: |context, id, properties| {
            let input = json!({"FunctionName": properties["FunctionName"], "StatementId": id});
            context.call("lambda", "RemovePermission", input).map(drop)
        },
    },
    Type {
        name: "AWS::Lambda::EventSourceMapping",
        properties: &[
            ("FunctionName", Text),
            ("EventSourceArn", Text),
            ("Enabled", Boolean),
            ("BatchSize", Integer),
            ("MaximumBatchingWindowInSeconds", Integer),
            ("FunctionResponseTypes", TEXTS),
            ("ScalingConfig", Object(&[("MaximumConcurrency", Integer)])),
        ],
        fixed: &["EventSourceArn"],
        iam: None,
        put: |context, id, properties| {
            let output = match id {
                None => context.call("lambda", "CreateEventSourceMapping", properties.clone())?,
                Some(id) => {
                    let input = with(properties, &["EventSourceArn"], json!({"UUID": id}));
                    context.call("lambda", "UpdateEventSourceMapping", input)?
                }
            };
            let id = text(&output, "UUID").unwrap_or_default().to_owned();
            Ok(Made::new(id.clone(), json!({"Id": id})))
        },
        delete: |context, id, _| context.call("lambda", "DeleteEventSourceMapping", json!({"UUID": id})).map(drop),
    },
    Type {
        name: "AWS::Lambda::EventInvokeConfig",
        properties: &[
            ("FunctionName", Text),
            ("Qualifier", Text),
            ("MaximumEventAgeInSeconds", Integer),
            ("MaximumRetryAttempts", Integer),
            (
                "DestinationConfig",
                Object(&[
                    ("OnFailure", Object(&[("Destination", Text)])),
                    ("OnSuccess", Object(&[("Destination", Text)])),
                ]),
            ),
        ],
        fixed: &["FunctionName", "Qualifier"],
        iam: None,
        put: |context, id, properties| {
            // The unpublished version is what a function's name means.
            let unqualified: &[&str] =
                if text(properties, "Qualifier") == Some("$LATEST") { &["Qualifier"] } else { &[] };
            context.call("lambda", "PutFunctionEventInvokeConfig", with(properties, unqualified, json!({})))?;
            Ok(Made::new(id.map_or_else(|| context.fresh_name.clone(), str::to_owned), json!({})))
        },
        delete: |context, _, properties| {
            let input = json!({"FunctionName": properties["FunctionName"]});
            context.call("lambda", "DeleteFunctionEventInvokeConfig", input).map(drop)
        },
    },
    Type {
        name: "AWS::Scheduler::ScheduleGroup",
        properties: &[("Name", Text), ("Tags", TAGS)],
        fixed: &["Name", "Tags"],
        iam: None,
        put: |context, id, properties| {
            let name = context.name(properties, "Name");
            if id.is_none() {
                let input = json!({"Name": name, "Tags": properties.get("Tags")});
                context.call("scheduler", "CreateScheduleGroup", input)?;
            }
            let arn = context.arn("scheduler", &format!("schedule-group/{name}"));
            Ok(Made::new(name, json!({"Arn": arn, "State": "ACTIVE"})))
        },
        delete: |context, id, _| context.call("scheduler", "DeleteScheduleGroup", json!({"Name": id})).map(drop),
    },
    Type {
        name: "AWS::Scheduler::Schedule",
        properties: &[
            ("Name", Text),
            ("GroupName", Text),
            ("Description", Text),
            ("State", Text),
            ("ScheduleExpression", Text),
            ("ScheduleExpressionTimezone", Text),
            ("FlexibleTimeWindow", Object(&[("Mode", Text), ("MaximumWindowInMinutes", Integer)])),
            (
                "Target",
                Object(&[
                    ("Arn", Text),
                    ("RoleArn", Text),
                    ("Input", Text),
                    ("EventBridgeParameters", Object(&[("DetailType", Text), ("Source", Text)])),
                    (
                        "RetryPolicy",
                        Object(&[("MaximumRetryAttempts", Integer), ("MaximumEventAgeInSeconds", Integer)]),
                    ),
                    ("DeadLetterConfig", Object(&[("Arn", Text)])),
                ]),
            ),
        ],
        fixed: &["Name", "GroupName"],
        iam: None,
        put: |context, id, properties| {
            let name = context.name(properties, "Name");
            let operation = if id.is_none() { "CreateSchedule" } else { "UpdateSchedule" };
            let output = context.call("scheduler", operation, with(properties, &[], json!({"Name": name})))?;
            Ok(Made::new(name, json!({"Arn": output["ScheduleArn"]})))
        },
        delete: |context, id, properties| {
            let input = json!({"Name": id, "GroupName": properties.get("GroupName")});
            context.call("scheduler", "DeleteSchedule", input).map(drop)
        },
    },
    Type {
        name: "AWS::Events::EventBus",
        properties: &[("Name", Text), ("Description", Text), ("Policy", Json), ("Tags", TAGS)],
        fixed: &["Name", "Tags"],
        iam: None,
        put: |context, id, properties| {
            let name = text(properties, "Name").unwrap_or_default().to_owned();
            if id.is_none() {
                let input = with(properties, &["Policy"], json!({}));
                context.call("events", "CreateEventBus", input)?;
            }
            if let Some(policy) = properties.get("Policy") {
                let input = json!({"EventBusName": name, "Policy": policy.to_string()});
                context.call("events", "PutPermission", input)?;
            }
            let arn = context.arn("events", &format!("event-bus/{name}"));
            Ok(Made::new(name.clone(), json!({"Arn": arn, "Name": name})))
        },
        delete: |context, id, _| context.call("events", "DeleteEventBus", json!({"Name": id})).map(drop),
    },
    Type {
        name: "AWS::Events::EventBusPolicy",
        properties: &[("EventBusName", Text), ("StatementId", Text), ("Statement", Json)],
        fixed: &["EventBusName", "StatementId"],
        iam: None,
        put: |context, _, properties| {
            let sid = text(properties, "StatementId").unwrap_or_default().to_owned();
            let statement = with(&properties["Statement"], &[], json!({"Sid": sid}));
            let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
            let input = json!({"EventBusName": properties.get("EventBusName"), "Policy": policy});
            context.call("events", "PutPermission", input)?;
            Ok(Made::new(sid, json!({})))
        },
        delete: |context, id, properties| {
            let input = json!({"EventBusName": properties.get("EventBusName"), "StatementId": id});
            context.call("events", "RemovePermission", input).map(drop)
        },
    },
    Type {
        name: "AWS::Events::Rule",
        properties: &[
            ("Name", Text),
            ("Description", Text),
            ("EventBusName", Text),
            ("EventPattern", Json),
            ("ScheduleExpression", Text),
            ("State", Text),
            ("RoleArn", Text),
            ("Targets", List(&TARGET)),
            ("Tags", TAGS),
        ],
        fixed: &["Name", "EventBusName", "Tags"],
        iam: None,
        put: put_rule,
        delete: |context, id, properties| {
            let bus = properties.get("EventBusName");
            remove_targets(context, id, bus, &[])?;
            context.call("events", "DeleteRule", json!({"Name": id, "EventBusName": bus})).map(drop)
        },
    },
    Type {
        name: "AWS::ECS::Cluster",
        properties: &[("ClusterName", Text), ("Tags", TAGS)],
        fixed: &["ClusterName", "Tags"],
        iam: None,
        put: |context, _, properties| {
            let name = context.name(properties, "ClusterName");
            let input = json!({"clusterName": name, "tags": properties.get("Tags").map(|tags| lower_camel(tags, &[]))});
            let output = context.call("ecs", "CreateCluster", input)?;
            Ok(Made::new(name, json!({"Arn": output["cluster"]["clusterArn"]})))
        },
        delete: |context, id, _| context.call("ecs", "DeleteCluster", json!({"cluster": id})).map(drop),
    },
    Type {
        name: "AWS::ECS::TaskDefinition",
        properties: &[
            ("Family", Text),
            ("ContainerDefinitions", List(&CONTAINER)),
            ("Cpu", Text),
            ("Memory", Text),
            ("NetworkMode", Text),
            ("RequiresCompatibilities", TEXTS),
            ("ExecutionRoleArn", Text),
            ("TaskRoleArn", Text),
            ("Tags", TAGS),
        ],
        fixed: &[
            "Family",
            "ContainerDefinitions",
            "Cpu",
            "Memory",
            "NetworkMode",
            "RequiresCompatibilities",
            "ExecutionRoleArn",
            "TaskRoleArn",
            "Tags",
        ],
        iam: None,
        put: |context, _, properties| {
            let family = context.name(properties, "Family");
            let input = with(&lower_camel(properties, &[]), &[], json!({"family": family}));
            let output = context.call("ecs", "RegisterTaskDefinition", input)?;
            let arn = output["taskDefinition"]["taskDefinitionArn"].clone();
            Ok(Made::new(arn.as_str().unwrap_or_default(), json!({"TaskDefinitionArn": arn})))
        },
        delete: |context, id, _| {
            context.call("ecs", "DeregisterTaskDefinition", json!({"taskDefinition": id})).map(drop)
        },
    },
    Type {
        name: "AWS::ECS::Service",
        properties: &[
            ("ServiceName", Text),
            ("Cluster", Text),
            ("TaskDefinition", Text),
            ("DesiredCount", Integer),
            ("LaunchType", Text),
            ("Tags", TAGS),
        ],
        fixed: &["ServiceName", "Cluster", "LaunchType", "Tags"],
        iam: None,
        put: |context, id, properties| {
            let name = context.name(properties, "ServiceName");
            let given = lower_camel(properties, &[]);
            let output = match id {
                None => context.call("ecs", "CreateService", with(&given, &[], json!({"serviceName": name})))?,
                Some(id) => {
                    let input = with(&given, &["serviceName", "launchType", "tags"], json!({"service": id}));
                    context.call("ecs", "UpdateService", input)?
                }
            };
            let arn = output["service"]["serviceArn"].clone();
            Ok(Made::new(arn.as_str().unwrap_or_default(), json!({"ServiceArn": arn, "Name": name})))
        },
        delete: |context, id, properties| {
            let input = json!({"service": id, "cluster": properties.get("Cluster"), "force": true});
            context.call("ecs", "DeleteService", input).map(drop)
        },
    },
    Type {
        name: "AWS::ECR::Repository",
        properties: &[
            ("RepositoryName", Text),
            ("ImageTagMutability", Text),
            ("RepositoryPolicyText", Json),
            ("EmptyOnDelete", Boolean),
            ("Tags", TAGS),
        ],
        fixed: &["RepositoryName", "ImageTagMutability", "Tags"],
        iam: None,
        put: |context, id, properties| {
            let name = context.name(properties, "RepositoryName").to_lowercase();
            if id.is_none() {
                let input = json!({
                    "repositoryName": name,
                    "imageTagMutability": properties.get("ImageTagMutability"),
                    "tags": properties.get("Tags"),
                });
                context.call("ecr", "CreateRepository", input)?;
            }
            if let Some(policy) = properties.get("RepositoryPolicyText") {
                let input = json!({"repositoryName": name, "policyText": policy.to_string()});
                context.call("ecr", "SetRepositoryPolicy", input)?;
            }
            let (account, region) = (context.account.clone(), context.region.clone());
            let arn = context.arn("ecr", &format!("repository/{name}"));
            let uri = format!("{account}.dkr.ecr.{region}.amazonaws.com/{name}");
            Ok(Made::new(name, json!({"Arn": arn, "RepositoryUri": uri})))
        },
        delete: |context, id, properties| {
            let input = json!({"repositoryName": id, "force": properties.get("EmptyOnDelete")});
            context.call("ecr", "DeleteRepository", input).map(drop)
        },
    },
    Type {
        name: "AWS::ECR::PullTimeUpdateExclusion",
        properties: &[("PrincipalArn", Text)],
        fixed: &["PrincipalArn"],
        iam: None,
        put: |context, _, properties| {
            let arn = &properties["PrincipalArn"];
            context.call("ecr", "RegisterPullTimeUpdateExclusion", json!({"principalArn": arn}))?;
            Ok(Made::new(arn.as_str().unwrap_or_default(), json!({})))
        },
        delete: |context, id, _| {
            context.call("ecr", "DeregisterPullTimeUpdateExclusion", json!({"principalArn": id})).map(drop)
        },
    },
    Type {
        name: "AWS::Config::AggregationAuthorization",
        properties: &[("AuthorizedAccountId", Text), ("AuthorizedAwsRegion", Text), ("Tags", TAGS)],
        fixed: &["AuthorizedAccountId", "AuthorizedAwsRegion", "Tags"],
        iam: None,
        put: put_aggregation_authorization,
        delete: |context, _, properties| {
            let input = with(properties, &["Tags"], json!({}));
            context.call("config", "DeleteAggregationAuthorization", input).map(drop)
        },
    },
    Type {
        name: "AWS::Config::ConfigurationRecorder",
        properties: &[
            ("Name", Text),
            ("RoleARN", Text),
            (
                "RecordingGroup",
                Object(&[
                    ("AllSupported", Boolean),
                    ("IncludeGlobalResourceTypes", Boolean),
                    ("ResourceTypes", TEXTS),
                    ("ExclusionByResourceTypes", Object(&[("ResourceTypes", TEXTS)])),
                    ("RecordingStrategy", Object(&[("UseOnly", Text)])),
                ]),
            ),
            (
                "RecordingMode",
                Object(&[
                    ("RecordingFrequency", Text),
                    (
                        "RecordingModeOverrides",
                        List(&Object(&[("Description", Text), ("ResourceTypes", TEXTS), ("RecordingFrequency", Text)])),
                    ),
                ]),
            ),
        ],
        fixed: &["Name"],
        iam: None,
        put: |context, _, properties| {
            let name = text(properties, "Name").unwrap_or("default").to_owned();
            let mut recorder = with(&lower_camel(properties, &[]), &["roleARN"], json!({"name": name}));
            recorder["roleARN"] = properties["RoleARN"].clone();
            context.call("config", "PutConfigurationRecorder", json!({"ConfigurationRecorder": recorder}))?;
            // CloudFormation starts the recorder as soon as there is a delivery channel.
            let _ = context.call("config", "StartConfigurationRecorder", json!({"ConfigurationRecorderName": name}));
            Ok(Made::new(name, json!({})))
        },
        delete: |context, id, _| {
            let _ = context.call("config", "StopConfigurationRecorder", json!({"ConfigurationRecorderName": id}));
            context.call("config", "DeleteConfigurationRecorder", json!({"ConfigurationRecorderName": id})).map(drop)
        },
    },
    Type {
        name: "AWS::Config::DeliveryChannel",
        properties: &[("Name", Text), ("S3BucketName", Text), ("S3KeyPrefix", Text), ("SnsTopicARN", Text)],
        fixed: &["Name"],
        iam: None,
        put: |context, _, properties| {
            let name = text(properties, "Name").unwrap_or("default").to_owned();
            let channel = with(&lower_camel(properties, &[]), &[], json!({"name": name}));
            context.call("config", "PutDeliveryChannel", json!({"DeliveryChannel": channel}))?;
            let recorders = context.call("config", "DescribeConfigurationRecorders", json!({}))?;
            for recorder in items(&recorders, "ConfigurationRecorders") {
                let input = json!({"ConfigurationRecorderName": recorder["name"]});
                context.call("config", "StartConfigurationRecorder", input)?;
            }
            Ok(Made::new(name, json!({})))
        },
        delete: |context, id, _| {
            context.call("config", "DeleteDeliveryChannel", json!({"DeliveryChannelName": id})).map(drop)
        },
    },
    Type {
        name: "AWS::SSM::Parameter",
        properties: &[
            ("Name", Text),
            ("Type", Text),
            ("Value", Text),
            ("Description", Text),
            ("Tags", Shape::Map(&Text)),
        ],
        fixed: &["Name", "Tags"],
        iam: None,
        put: |context, id, properties| {
            let name = context.name(properties, "Name");
            let input = with(properties, &["Tags"], json!({"Name": name, "Overwrite": id.is_some()}));
            context.call("ssm", "PutParameter", input)?;
            Ok(Made::new(name, json!({"Type": properties["Type"], "Value": properties["Value"]})))
        },
        delete: |context, id, _| context.call("ssm", "DeleteParameter", json!({"Name": id})).map(drop),
    },
    Type {
        name: "AWS::SNS::Topic",
        properties: &[("TopicName", Text), ("DisplayName", Text), ("KmsMasterKeyId", Text), ("Tags", TAGS)],
        fixed: &["TopicName", "Tags"],
        iam: None,
        put: |context, _, properties| {
            let name = context.name(properties, "TopicName");
            let attributes: Vec<_> = ["DisplayName", "KmsMasterKeyId"]
                .iter()
                .filter_map(|key| Some(json!({"key": key, "value": properties.get(key)?})))
                .collect();
            let attributes = if attributes.is_empty() { Value::Null } else { Value::from(attributes) };
            let input = json!({"Name": name, "Attributes": attributes, "Tags": properties.get("Tags")});
            let arn = context.call("sns", "CreateTopic", input)?["TopicArn"].clone();
            Ok(Made::new(arn.as_str().unwrap_or_default(), json!({"TopicArn": arn, "TopicName": name})))
        },
        delete: |context, id, _| context.call("sns", "DeleteTopic", json!({"TopicArn": id})).map(drop),
    },
    Type {
        name: "AWS::CloudWatch::Alarm",
        properties: &[
            ("AlarmName", Text),
            ("AlarmDescription", Text),
            ("Namespace", Text),
            ("MetricName", Text),
            ("Dimensions", List(&Object(&[("Name", Text), ("Value", Text)]))),
            ("Statistic", Text),
            ("Period", Text),
            ("EvaluationPeriods", Text),
            ("DatapointsToAlarm", Text),
            ("Threshold", Text),
            ("ComparisonOperator", Text),
            ("TreatMissingData", Text),
            ("AlarmActions", TEXTS),
            ("OKActions", TEXTS),
            ("Unit", Text),
        ],
        fixed: &["AlarmName"],
        iam: None,
        put: |context, _, properties| {
            let name = context.name(properties, "AlarmName");
            context.call("monitoring", "PutMetricAlarm", with(properties, &[], json!({"AlarmName": name})))?;
            let arn = context.arn("cloudwatch", &format!("alarm:{name}"));
            Ok(Made::new(name, json!({"Arn": arn})))
        },
        delete: |context, id, _| context.call("monitoring", "DeleteAlarms", json!({"AlarmNames": [id]})).map(drop),
    },
    Type {
        name: "AWS::CloudWatch::Dashboard",
        properties: &[("DashboardName", Text), ("DashboardBody", Text)],
        fixed: &["DashboardName"],
        iam: None,
        put: |context, _, properties| {
            let name = context.name(properties, "DashboardName");
            let input = with(properties, &[], json!({"DashboardName": name}));
            context.call("monitoring", "PutDashboard", input)?;
            Ok(Made::new(name, json!({})))
        },
        delete: |context, id, _| {
            context.call("monitoring", "DeleteDashboards", json!({"DashboardNames": [id]})).map(drop)
        },
    },
];

fn put_role_policy(context: &mut Context<'_>, role: &str, policy: &str, document: &Value) -> Result<(), ServiceError> {
    let input = json!({"RoleName": role, "PolicyName": policy, "PolicyDocument": document.to_string()});
    context.call("iam", "PutRolePolicy", input).map(drop)
}

fn put_role(context: &mut Context<'_>, id: Option<&str>, properties: &Value) -> Outcome {
    let name = id.map_or_else(|| context.name(properties, "RoleName"), str::to_owned);
    let trust = properties["AssumeRolePolicyDocument"].to_string();
    let role = match id {
        None => {
            let input = json!({
                "RoleName": name,
                "Path": properties.get("Path"),
                "Description": properties.get("Description"),
                "MaxSessionDuration": properties.get("MaxSessionDuration").map(ToString::to_string),
                "AssumeRolePolicyDocument": trust,
                "Tags": properties.get("Tags"),
            });
            context.call("iam", "CreateRole", input)?
        }
        Some(_) => {
            let description = text(properties, "Description").unwrap_or_default();
            context.call("iam", "UpdateRole", json!({"RoleName": name, "Description": description}))?;
            let input = json!({"RoleName": name, "PolicyDocument": trust});
            context.call("iam", "UpdateAssumeRolePolicy", input)?;
            context.call("iam", "GetRole", json!({"RoleName": name}))?
        }
    };
    let role = role["Role"].clone();
    if let Err(error) = put_role_policies(context, &name, id.is_some(), properties) {
        if id.is_none() {
            delete_role(context, &name, properties)?;
        }
        return Err(error);
    }
    Ok(Made::new(name, json!({"Arn": role["Arn"], "RoleId": role["RoleId"]})))
}

/// Brings a role's managed and inline policies into the form of the template. Inline policies that are resources of
/// their own (`AWS::IAM::RolePolicy`) are left alone: only those are removed that the former template named.
fn put_role_policies(
    context: &mut Context<'_>,
    name: &str,
    existed: bool,
    properties: &Value,
) -> Result<(), ServiceError> {
    if existed {
        let attached = context.call("iam", "ListAttachedRolePolicies", json!({"RoleName": name}))?;
        for policy in items(&attached, "AttachedPolicies") {
            let arn = &policy["PolicyArn"];
            if !items(properties, "ManagedPolicyArns").contains(arn) {
                context.call("iam", "DetachRolePolicy", json!({"RoleName": name, "PolicyArn": arn}))?;
            }
        }
    }
    for arn in items(properties, "ManagedPolicyArns") {
        context.call("iam", "AttachRolePolicy", json!({"RoleName": name, "PolicyArn": arn}))?;
    }
    for policy in items(properties, "Policies") {
        let policy_name = text(policy, "PolicyName").unwrap_or_default();
        put_role_policy(context, name, policy_name, &policy["PolicyDocument"])?;
    }
    Ok(())
}

fn delete_role(context: &mut Context<'_>, id: &str, properties: &Value) -> Result<(), ServiceError> {
    let gone = |outcome: Result<Value, ServiceError>| match outcome {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    };
    for policy in items(properties, "Policies") {
        let input = json!({"RoleName": id, "PolicyName": policy["PolicyName"]});
        gone(context.call("iam", "DeleteRolePolicy", input))?;
    }
    for arn in items(properties, "ManagedPolicyArns") {
        gone(context.call("iam", "DetachRolePolicy", json!({"RoleName": id, "PolicyArn": arn})))?;
    }
    context.call("iam", "DeleteRole", json!({"RoleName": id})).map(drop)
}

fn put_queue(context: &mut Context<'_>, id: Option<&str>, properties: &Value) -> Outcome {
    let name = context.name(properties, "QueueName");
    let attributes: Map<_, _> = with(properties, &["QueueName", "Tags"], json!({}))
        .as_object()
        .cloned()
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name, Value::from(value.as_str().map_or_else(|| value.to_string(), str::to_owned))))
        .collect();
    let url = match id {
        None => {
            let input = json!({"QueueName": name, "Attributes": attributes, "tags": tag_map(properties)});
            context.call("sqs", "CreateQueue", input)?["QueueUrl"].as_str().unwrap_or_default().to_owned()
        }
        Some(url) => {
            context.call("sqs", "SetQueueAttributes", json!({"QueueUrl": url, "Attributes": attributes}))?;
            url.to_owned()
        }
    };
    let name = url.rsplit('/').next().unwrap_or_default().to_owned();
    let arn = context.arn("sqs", &name);
    Ok(Made::new(url.clone(), json!({"Arn": arn, "QueueName": name, "QueueUrl": url})))
}

fn put_function(context: &mut Context<'_>, id: Option<&str>, properties: &Value) -> Outcome {
    let name = context.name(properties, "FunctionName");
    match id {
        None => {
            let input = with(properties, &["Tags"], json!({"FunctionName": name, "Tags": tag_map(properties)}));
            context.call("lambda", "CreateFunction", input)?;
        }
        Some(_) => {
            let input = with(properties, &["Tags", "Code", "Architectures"], json!({"FunctionName": name}));
            context.call("lambda", "UpdateFunctionConfiguration", input)?;
            let architectures = json!({"FunctionName": name, "Architectures": properties.get("Architectures")});
            let input = with(&properties["Code"], &[], architectures);
            context.call("lambda", "UpdateFunctionCode", input)?;
        }
    }
    let arn = context.arn("lambda", &format!("function:{name}"));
    Ok(Made::new(name, json!({"Arn": arn})))
}

fn remove_targets(
    context: &mut Context<'_>,
    rule: &str,
    bus: Option<&Value>,
    keep: &[&str],
) -> Result<(), ServiceError> {
    let targets = context.call("events", "ListTargetsByRule", json!({"Rule": rule, "EventBusName": bus}))?;
    let ids: Vec<_> = items(&targets, "Targets")
        .iter()
        .filter_map(|target| text(target, "Id"))
        .filter(|id| !keep.contains(id))
        .collect();
    if !ids.is_empty() {
        let input = json!({"Rule": rule, "EventBusName": bus, "Ids": ids});
        context.call("events", "RemoveTargets", input)?;
    }
    Ok(())
}

fn put_rule(context: &mut Context<'_>, id: Option<&str>, properties: &Value) -> Outcome {
    let name = context.name(properties, "Name");
    let bus = properties.get("EventBusName");
    let pattern = properties.get("EventPattern").map(ToString::to_string);
    let input = with(properties, &["Targets", "EventPattern"], json!({"Name": name, "EventPattern": pattern}));
    let arn = context.call("events", "PutRule", input)?["RuleArn"].clone();
    let targets = items(properties, "Targets");
    if id.is_some() {
        let keep: Vec<_> = targets.iter().filter_map(|target| text(target, "Id")).collect();
        remove_targets(context, &name, bus, &keep)?;
    }
    if !targets.is_empty() {
        let input = json!({"Rule": name, "EventBusName": bus, "Targets": targets});
        let output = context.call("events", "PutTargets", input)?;
        if let Some(failed) = items(&output, "FailedEntries").first() {
            let message = format!("target {}: {}", failed["TargetId"], failed["ErrorMessage"]);
            return Err(ServiceError::new("InternalFailure", message));
        }
    }
    Ok(Made::new(name, json!({"Arn": arn})))
}

/// There is one authorization for an account, region and aggregating account: a stack that declares another collides.
fn put_aggregation_authorization(context: &mut Context<'_>, id: Option<&str>, properties: &Value) -> Outcome {
    if id.is_none() {
        let existing = context.call("config", "DescribeAggregationAuthorizations", json!({}))?;
        let same = |authorization: &&Value| {
            ["AuthorizedAccountId", "AuthorizedAwsRegion"].iter().all(|name| authorization[name] == properties[name])
        };
        if let Some(found) = items(&existing, "AggregationAuthorizations").iter().find(same) {
            let message = format!("{} already exists", found["AggregationAuthorizationArn"]);
            return Err(ServiceError::new("AlreadyExists", message));
        }
    }
    let output = context.call("config", "PutAggregationAuthorization", properties.clone())?;
    let arn = output["AggregationAuthorization"]["AggregationAuthorizationArn"].clone();
    Ok(Made::new(arn.as_str().unwrap_or_default(), json!({"AggregationAuthorizationArn": arn})))
}
