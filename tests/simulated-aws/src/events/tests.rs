//! EventBridge over the wire, and its deliveries.

use aws_sdk_eventbridge::error::ProvideErrorMetadata;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, Target};

use super::*;
use crate::identity::Principal;
use crate::{SimulatedAws, SimulatedAws as Aws};

/// A hub and a workload account, and short ways to set things up in them.
pub(crate) struct Stage {
    pub(crate) aws: SimulatedAws,
    pub(crate) hub: AccountId,
    pub(crate) workload: AccountId,
    pub(crate) region: Region,
    pub(crate) far: Region,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let stage = Self {
            aws: Aws::new(7),
            hub: AccountId::new("111111111111").unwrap(),
            workload: AccountId::new("222222222222").unwrap(),
            region: Region::new("eu-west-1").unwrap(),
            far: Region::new("us-east-1").unwrap(),
        };
        stage.aws.world().add_account(&stage.hub);
        stage.aws.world().add_account(&stage.workload);
        stage
    }

    /// A call in the hub.
    pub(crate) fn call(&self, service: &str, operation: &str, input: Value) -> Value {
        self.try_call(service, operation, input.clone()).unwrap_or_else(|error| panic!("{operation} {input}: {error}"))
    }

    pub(crate) fn try_call(&self, service: &str, operation: &str, input: Value) -> Result<Value, ServiceError> {
        self.aws.call(&self.hub, &self.region, service, operation, input)
    }

    pub(crate) fn client(&self) -> aws_sdk_eventbridge::Client {
        let administrator = Principal::Administrator { account: self.hub.clone() };
        aws_sdk_eventbridge::Client::new(&self.aws.sdk_config(administrator, &self.region))
    }

    /// A role that trusts a service and may do something.
    pub(crate) fn role(&self, account: &AccountId, name: &str, service: &str, actions: &[&str]) -> String {
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"},
        ]});
        let policy =
            json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]});
        let call = |operation, input| self.aws.call(account, &self.region, "iam", operation, input).unwrap();
        call("CreateRole", json!({"RoleName": name, "AssumeRolePolicyDocument": trust.to_string()}));
        call("PutRolePolicy", json!({"RoleName": name, "PolicyName": "may", "PolicyDocument": policy.to_string()}));
        format!("arn:aws:iam::{account}:role/{name}")
    }

    /// A queue in the hub.
    pub(crate) fn queue(&self, name: &str, attributes: Value) -> String {
        self.call("sqs", "CreateQueue", json!({"QueueName": name, "Attributes": attributes}));
        self.queue_arn(name)
    }

    pub(crate) fn queue_arn(&self, name: &str) -> String {
        format!("arn:aws:sqs:{}:{}:{name}", self.region, self.hub)
    }

    /// A queue policy that admits EventBridge for one rule.
    pub(crate) fn admits(&self, queue: &str, rule_arn: &str) -> Value {
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": self.queue_arn(queue), "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
        }]});
        json!({"Policy": policy.to_string()})
    }

    pub(crate) fn rule_arn(&self, rule: &str) -> String {
        format!("arn:aws:events:{}:{}:rule/{rule}", self.region, self.hub)
    }

    /// A rule with one target in the hub.
    pub(crate) fn rule(&self, bus: &str, name: &str, pattern: &Value, target: Value) {
        let pattern = pattern.to_string();
        self.call("events", "PutRule", json!({"Name": name, "EventBusName": bus, "EventPattern": pattern}));
        self.call("events", "PutTargets", json!({"Rule": name, "EventBusName": bus, "Targets": [target]}));
    }

    pub(crate) fn messages(&self, queue: &str) -> Vec<Value> {
        let bodies = self.aws.world().messages_in(&self.hub, &self.region, queue);
        bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
    }

    pub(crate) fn undelivered(&self) -> Vec<String> {
        self.aws.world().undelivered().iter().map(|undelivered| undelivered.reason.code.clone()).collect()
    }

    pub(crate) fn settle(&self) {
        self.aws.advance(jiff::SignedDuration::from_secs(1));
    }

    fn put(&self, source: &str) {
        let entry = json!({"Source": source, "DetailType": "Order", "Detail": "{\"id\": 1}"});
        let answer = self.call("events", "PutEvents", json!({"Entries": [entry]}));
        assert_eq!(answer["FailedEntryCount"], 0);
        self.settle();
    }

    fn ecs_event(&self) -> ServiceEvent {
        ServiceEvent {
            source: "aws.ecs".to_owned(),
            detail_type: "AWS API Call via CloudTrail".to_owned(),
            resources: vec![],
            time: self.aws.now(),
            detail: json!({"eventName": "DeregisterTaskDefinition"}),
        }
    }
}

#[test]
fn buses_rules_targets_and_tags_through_the_sdk() {
    let stage = Stage::new();
    stage.queue("q", json!({}));
    let client = stage.client();
    stage.aws.run(async {
        let tag = aws_sdk_eventbridge::types::Tag::builder().key("owner").value("us").build().unwrap();
        let bus = client.create_event_bus().name("b").description("d").tags(tag).send().await.unwrap();
        let arn = bus.event_bus_arn().unwrap().to_owned();
        assert_eq!(arn, "arn:aws:events:eu-west-1:111111111111:event-bus/b");
        let again = client.create_event_bus().name("b").send().await.unwrap_err();
        assert!(again.into_service_error().is_resource_already_exists_exception());
        let tags = client.list_tags_for_resource().resource_arn(&arn).send().await.unwrap();
        assert_eq!(tags.tags()[0].value(), "us");

        client.put_permission().event_bus_name("b").statement_id("s").action("events:PutEvents").principal("222222222222").send().await.unwrap();
        let described = client.describe_event_bus().name("b").send().await.unwrap();
        assert!(described.policy().unwrap().contains("arn:aws:iam::222222222222:root"));
        assert_eq!(described.description(), Some("d"));
        client.remove_permission().event_bus_name("b").statement_id("s").send().await.unwrap();
        let gone = client.remove_permission().event_bus_name("b").statement_id("s").send().await.unwrap_err();
        assert!(gone.into_service_error().is_resource_not_found_exception());
        let statement = json!({"Effect": "Allow", "Principal": "*", "Action": "events:PutEvents", "Resource": arn, "Sid": "x".repeat(10_200)});
        let long = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let long = client.put_permission().event_bus_name("b").policy(long).send().await.unwrap_err();
        assert!(long.into_service_error().is_policy_length_exceeded_exception());

        let rule = client.put_rule().event_bus_name("b").name("r").event_pattern(r#"{"source": ["a"]}"#).send().await.unwrap();
        assert_eq!(rule.rule_arn(), Some("arn:aws:events:eu-west-1:111111111111:rule/b/r"));
        let bad = client.put_rule().event_bus_name("b").name("s").event_pattern(r#"{"source": "a"}"#).send().await.unwrap_err();
        assert!(bad.into_service_error().is_invalid_event_pattern_exception());
        let target = |id: &str| Target::builder().id(id).arn(stage.queue_arn("q")).build().unwrap();
        client.put_targets().event_bus_name("b").rule("r").targets(target("1")).send().await.unwrap();
        let sixth = ["2", "3", "4", "5", "6"].iter().fold(client.put_targets().event_bus_name("b").rule("r"), |put, id| put.targets(target(id)));
        assert!(sixth.send().await.unwrap_err().into_service_error().is_limit_exceeded_exception());
        let names = client.list_rule_names_by_target().event_bus_name("b").target_arn(stage.queue_arn("q")).send().await.unwrap();
        assert_eq!(names.rule_names(), ["r"]);

        let held = client.delete_rule().event_bus_name("b").name("r").send().await.unwrap_err();
        assert_eq!(held.into_service_error().code(), Some("ValidationException"));
        let held = client.delete_event_bus().name("b").send().await.unwrap_err();
        assert_eq!(held.into_service_error().code(), Some("ValidationException"));
        client.remove_targets().event_bus_name("b").rule("r").ids("1").send().await.unwrap();
        client.delete_rule().event_bus_name("b").name("r").send().await.unwrap();
        client.delete_rule().event_bus_name("b").name("r").send().await.unwrap();
        client.delete_event_bus().name("b").send().await.unwrap();
        client.delete_event_bus().name("b").send().await.unwrap();
        let gone = client.describe_event_bus().name("b").send().await.unwrap_err();
        assert!(gone.into_service_error().is_resource_not_found_exception());
    });
}

#[test]
fn put_events_judges_each_entry() {
    let stage = Stage::new();
    let client = stage.client();
    let entry = |source: &str, detail: &str| {
        PutEventsRequestEntry::builder().source(source).detail_type("t").detail(detail).build()
    };
    stage.aws.run(async {
        let put = client
            .put_events()
            .entries(entry("mine", "{}"))
            .entries(entry("aws.ecs", "{}"))
            .entries(entry("mine", "[]"));
        let answer = put.entries(entry("", "{}")).send().await.unwrap();
        let codes: Vec<_> = answer.entries().iter().map(|entry| entry.error_code()).collect();
        assert_eq!(
            codes,
            [None, Some("NotAuthorizedForSourceException"), Some("MalformedDetail"), Some("InvalidArgument")]
        );
        assert_eq!(answer.failed_entry_count(), 3);
        let many = (0..11).fold(client.put_events(), |put, _| put.entries(entry("mine", "{}")));
        assert!(many.send().await.is_err());
        let large = format!("{{\"a\": \"{}\"}}", "x".repeat(600_000));
        let large = client.put_events().entries(entry("mine", &large)).entries(entry("mine", &large));
        assert!(large.send().await.is_err());
    });
}

#[test]
fn what_is_not_simulated_is_refused_by_name() {
    let stage = Stage::new();
    stage.call("events", "PutRule", json!({"Name": "r", "EventPattern": "{\"source\": [\"a\"]}"}));
    let topic = json!({"Id": "1", "Arn": "arn:aws:sns:eu-west-1:111111111111:topic"});
    let table = [
        ("PutRule", json!({"Name": "r", "ScheduleExpression": "rate(1 day)"}), "ScheduleExpression"),
        ("PutTargets", json!({"Rule": "r", "Targets": [topic]}), "arn:aws:sns"),
        (
            "PutTargets",
            json!({"Rule": "r", "Targets": [{"Id": "1", "Arn": "x", "BatchParameters": {}}]}),
            "BatchParameters",
        ),
        ("CreateEventBus", json!({"Name": "b", "KmsKeyIdentifier": "k"}), "KmsKeyIdentifier"),
    ];
    for (operation, input, named) in table {
        let error = stage.try_call("events", operation, input).unwrap_err();
        assert_eq!(error.code, crate::operation::NOT_SIMULATED);
        assert!(error.message.contains(named), "{}", error.message);
    }
}

#[test]
fn a_matching_event_reaches_the_queue_transformed() {
    let stage = Stage::new();
    stage.queue("q", stage.admits("q", &stage.rule_arn("r")));
    let transformer = json!({"InputTemplate": r#"{"cleanup": {"name": "prod"}, "event": <aws.events.event.json>}"#});
    let target = json!({"Id": "1", "Arn": stage.queue_arn("q"), "InputTransformer": transformer});
    stage.rule("default", "r", &json!({"source": ["mine"], "account": ["111111111111"]}), target);
    stage.put("mine");
    stage.put("other");
    let messages = stage.messages("q");
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["cleanup"], json!({"name": "prod"}));
    assert_eq!(messages[0]["event"]["detail"], json!({"id": 1}));
    assert_eq!(messages[0]["event"]["region"], "eu-west-1");

    stage.call("events", "DisableRule", json!({"Name": "r"}));
    stage.put("mine");
    assert_eq!(stage.messages("q").len(), 1, "a disabled rule delivers nothing");
}

#[test]
fn what_the_queue_refuses_goes_to_the_dead_letter_queue_at_once() {
    let encrypted = json!({"KmsMasterKeyId": "alias/aws/sqs"});
    for (attributes, code) in [(json!({}), "AccessDeniedException"), (encrypted, "KMS.AccessDeniedException")] {
        let stage = Stage::new();
        let mut attributes = attributes;
        if code.starts_with("KMS") {
            attributes["Policy"] = stage.admits("q", &stage.rule_arn("r"))["Policy"].clone();
        }
        stage.queue("q", attributes);
        stage.queue("dead", stage.admits("dead", &stage.rule_arn("r")));
        let dead_letters = json!({"Arn": stage.queue_arn("dead")});
        let target = json!({"Id": "1", "Arn": stage.queue_arn("q"), "DeadLetterConfig": dead_letters});
        stage.rule("default", "r", &json!({"source": ["mine"]}), target);
        stage.put("mine");
        assert_eq!(stage.messages("q").len(), 0);
        assert_eq!(stage.undelivered(), [code]);
        let url = format!("https://sqs.eu-west-1.amazonaws.com/{}/dead", stage.hub);
        let received = stage.call("sqs", "ReceiveMessage", json!({"QueueUrl": url, "MessageAttributeNames": ["All"]}));
        let attributes = &received["Messages"][0]["MessageAttributes"];
        assert_eq!(attributes["ERROR_CODE"]["StringValue"], code);
        assert_eq!(attributes["RULE_ARN"]["StringValue"], stage.rule_arn("r"));
        assert_eq!(attributes["RETRY_ATTEMPTS"]["StringValue"], "0");
    }
}

#[test]
fn a_failing_target_is_tried_again_until_the_policy_ends_it() {
    let stage = Stage::new();
    stage.queue("q", stage.admits("q", &stage.rule_arn("r")));
    stage.queue("dead", stage.admits("dead", &stage.rule_arn("r")));
    let target = json!({
        "Id": "1", "Arn": stage.queue_arn("q"), "DeadLetterConfig": {"Arn": stage.queue_arn("dead")},
        "RetryPolicy": {"MaximumRetryAttempts": 3},
    });
    stage.rule("default", "r", &json!({"source": ["mine"]}), target);
    stage.aws.world().set_delivery_faults(DeliveryFaults { failing: 1.0, ..DeliveryFaults::default() });
    stage.put("mine");
    assert_eq!((stage.messages("q").len(), stage.messages("dead").len()), (0, 0), "it is waiting for another attempt");
    stage.aws.world().set_delivery_faults(DeliveryFaults::default());
    stage.aws.advance(jiff::SignedDuration::from_mins(1));
    assert_eq!((stage.messages("q").len(), stage.messages("dead").len()), (1, 0));
    stage.aws.world().set_delivery_faults(DeliveryFaults { failing: 1.0, ..DeliveryFaults::default() });
    stage.put("mine");
    stage.aws.advance(jiff::SignedDuration::from_mins(5));
    assert_eq!((stage.messages("q").len(), stage.messages("dead").len()), (1, 1));
}

/// A bus in the hub that admits the workload account for `aws.ecs`, and a rule in the workload account, in another region,
/// that forwards to it.
fn forwarding(stage: &Stage, role: &str) {
    stage.call("events", "CreateEventBus", json!({"Name": "hub"}));
    let bus = bus_arn(&stage.hub, &stage.region, "hub");
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{}:root", stage.workload)}, "Action": "events:PutEvents",
        "Resource": bus, "Condition": {
            "ForAllValues:StringEquals": {"events:source": ["aws.ecs", "aws.config"]}, "Null": {"events:source": "false"},
        },
    }]});
    stage.call("events", "PutPermission", json!({"EventBusName": "hub", "Policy": policy.to_string()}));
    let there = |operation, input| stage.aws.call(&stage.workload, &stage.far, "events", operation, input);
    there("PutRule", json!({"Name": "f", "EventPattern": r#"{"source": ["aws.ecs", "mine"]}"#})).unwrap();
    let target = json!({"Id": "1", "Arn": bus, "RoleArn": role});
    there("PutTargets", json!({"Rule": "f", "Targets": [target]})).unwrap();
}

#[test]
fn an_event_is_forwarded_across_accounts_and_regions_once() {
    let stage = Stage::new();
    let role = stage.role(&stage.workload, "forward", PRINCIPAL, &["events:PutEvents"]);
    forwarding(&stage, &role);
    stage.queue("q", stage.admits("q", &stage.rule_arn("hub/r")));
    stage.rule("hub", "r", &json!({"account": ["222222222222"]}), json!({"Id": "1", "Arn": stage.queue_arn("q")}));
    let onward = stage.role(&stage.hub, "onward", PRINCIPAL, &["events:PutEvents"]);
    let third = json!({"Id": "1", "Arn": bus_arn(&stage.hub, &stage.region, "default"), "RoleArn": onward});
    stage.rule("hub", "third", &json!({"source": ["aws.ecs"]}), third);

    stage.aws.world().emit(&stage.workload, &stage.far, stage.ecs_event());
    stage.settle();
    let messages = stage.messages("q");
    assert_eq!(messages.len(), 1);
    assert_eq!((&messages[0]["account"], &messages[0]["region"]), (&json!("222222222222"), &json!("us-east-1")));
    assert_eq!(stage.undelivered(), ["ValidationException"], "the third bus");
}

#[test]
fn a_bus_admits_only_the_sources_of_its_policy_and_only_with_the_senders_role() {
    let stage = Stage::new();
    let role = stage.role(&stage.workload, "forward", PRINCIPAL, &["events:PutEvents"]);
    forwarding(&stage, &role);
    let put = |source: &str| {
        let entries = json!([{"Source": source, "DetailType": "t", "Detail": "{}"}]);
        stage.aws.call(&stage.workload, &stage.far, "events", "PutEvents", json!({"Entries": entries})).unwrap();
        stage.settle();
    };
    put("mine");
    assert_eq!(stage.undelivered(), ["AccessDeniedException"]);

    let stage = Stage::new();
    let role = stage.role(&stage.workload, "powerless", PRINCIPAL, &["sqs:SendMessage"]);
    forwarding(&stage, &role);
    stage.aws.world().emit(&stage.workload, &stage.far, stage.ecs_event());
    stage.settle();
    assert_eq!(stage.undelivered(), ["AccessDeniedException"]);

    let stage = Stage::new();
    let role = stage.role(&stage.workload, "of-another-service", "lambda.amazonaws.com", &["events:PutEvents"]);
    forwarding(&stage, &role);
    stage.aws.world().emit(&stage.workload, &stage.far, stage.ecs_event());
    stage.settle();
    assert_eq!(stage.undelivered(), ["AccessDeniedException"]);
}

#[test]
fn a_target_on_a_bus_elsewhere_takes_no_input_and_needs_a_role() {
    let stage = Stage::new();
    stage.call("events", "PutRule", json!({"Name": "r", "EventPattern": r#"{"source": ["a"]}"#}));
    let put = |target: Value| stage.try_call("events", "PutTargets", json!({"Rule": "r", "Targets": [target]}));
    let far = bus_arn(&stage.workload, &stage.region, "default");
    let role = format!("arn:aws:iam::{}:role/r", stage.hub);
    assert!(put(json!({"Id": "1", "Arn": far})).is_err());
    assert!(put(json!({"Id": "1", "Arn": far, "RoleArn": role, "Input": "{}"})).is_err());
    put(json!({"Id": "1", "Arn": far, "RoleArn": role})).unwrap();
    let here = bus_arn(&stage.hub, &stage.region, "default");
    put(json!({"Id": "1", "Arn": here, "RoleArn": role, "Input": "{}"})).unwrap();
}

#[test]
fn events_of_services_can_be_lost_doubled_and_late() {
    let day = jiff::SignedDuration::from_hours(1);
    let table = [
        (DeliveryFaults::default(), 1),
        (DeliveryFaults { lost: 1.0, ..DeliveryFaults::default() }, 0),
        // Twice published, each delivered twice, each message twice in the queue.
        (DeliveryFaults { doubled: 1.0, late: 0.5, late_by: day, ..DeliveryFaults::default() }, 8),
    ];
    for (faults, expected) in table {
        let stage = Stage::new();
        stage.queue("q", stage.admits("q", &stage.rule_arn("r")));
        stage.rule("default", "r", &json!({"source": ["aws.ecs"]}), json!({"Id": "1", "Arn": stage.queue_arn("q")}));
        stage.aws.world().set_delivery_faults(faults.clone());
        stage.aws.world().emit(&stage.hub, &stage.region, stage.ecs_event());
        stage.settle();
        let soon = stage.messages("q").len();
        stage.aws.advance(day * 3);
        assert_eq!(stage.messages("q").len(), expected, "{faults:?}");
        assert!(faults.late == 0.0 || soon < expected);
    }
}

#[test]
fn a_rule_runs_tasks_with_its_role() {
    let stage = Stage::new();
    let call = |service: &str, operation: &str, input: Value| stage.call(service, operation, input);
    call("ecs", "CreateCluster", json!({"clusterName": "main"}));
    let container = json!({"name": "main", "image": "public.ecr.aws/nginx/nginx:1", "memory": 128});
    let job = json!({"family": "job", "containerDefinitions": [container]});
    let definition = call("ecs", "RegisterTaskDefinition", job)["taskDefinition"]["taskDefinitionArn"].clone();
    let cluster = format!("arn:aws:ecs:{}:{}:cluster/main", stage.region, stage.hub);
    let role = stage.role(&stage.hub, "starts", PRINCIPAL, &["ecs:RunTask"]);
    let target = json!({
        "Id": "1", "Arn": cluster, "RoleArn": role, "EcsParameters": {"TaskDefinitionArn": definition, "TaskCount": 2},
    });
    stage.rule("default", "r", &json!({"source": ["shop"]}), target);
    stage.put("shop");
    let started = call("ecs", "ListTasks", json!({"cluster": "main"}));
    assert_eq!(started["taskArns"].as_array().map(Vec::len), Some(2));

    call("ecs", "DeregisterTaskDefinition", json!({"taskDefinition": definition}));
    stage.aws.advance(jiff::SignedDuration::from_mins(11));
    stage.put("shop");
    assert_eq!(stage.undelivered(), ["ClientException"], "an inactive task definition cannot be started any more");
}

#[test]
fn a_target_that_is_a_cluster_says_what_to_run_and_with_which_role() {
    let stage = Stage::new();
    stage.call("events", "PutRule", json!({"Name": "r", "EventPattern": r#"{"source": ["a"]}"#}));
    let put = |target: Value| {
        let put = stage.try_call("events", "PutTargets", json!({"Rule": "r", "Targets": [target]}));
        put.map(drop).map_err(|error| error.code)
    };
    let cluster = format!("arn:aws:ecs:{}:{}:cluster/main", stage.region, stage.hub);
    let role = format!("arn:aws:iam::{}:role/r", stage.hub);
    let run = json!({"TaskDefinitionArn": "arn:aws:ecs:eu-west-1:111111111111:task-definition/job"});
    let refused = Err("ValidationException".to_owned());
    assert_eq!(put(json!({"Id": "1", "Arn": cluster, "RoleArn": role})), refused);
    assert_eq!(put(json!({"Id": "1", "Arn": cluster, "EcsParameters": run})), refused);
    assert_eq!(put(json!({"Id": "1", "Arn": stage.queue_arn("q"), "EcsParameters": run})), refused);
    assert_eq!(put(json!({"Id": "1", "Arn": cluster, "RoleArn": role, "EcsParameters": run})), Ok(()));
}

#[test]
fn config_hears_of_every_rule_and_its_targets() {
    let stage = Stage::new();
    let recorder = json!({
        "name": "default", "roleARN": format!("arn:aws:iam::{}:role/r", stage.hub),
        "recordingGroup": {"allSupported": true, "includeGlobalResourceTypes": false},
    });
    stage.call("config", "PutConfigurationRecorder", json!({"ConfigurationRecorder": recorder}));
    stage.call("config", "PutDeliveryChannel", json!({"DeliveryChannel": {"name": "default", "s3BucketName": "b"}}));
    stage.call("config", "StartConfigurationRecorder", json!({"ConfigurationRecorderName": "default"}));
    let seen = || {
        stage.aws.advance(jiff::SignedDuration::from_hours(1));
        let expression = "SELECT resourceId, arn, configuration.State, \
                          configuration.Targets.EcsParameters.TaskDefinitionArn WHERE resourceType = 'AWS::Events::Rule'";
        let rows = stage.call("config", "SelectResourceConfig", json!({"Expression": expression}));
        let rows = rows["Results"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| serde_json::from_str::<Value>(row.as_str().unwrap()).unwrap()).collect::<Vec<_>>()
    };
    let job = "arn:aws:ecs:eu-west-1:111111111111:task-definition/job:1";
    let target = json!({
        "Id": "1", "Arn": format!("arn:aws:ecs:{}:{}:cluster/main", stage.region, stage.hub),
        "RoleArn": format!("arn:aws:iam::{}:role/r", stage.hub), "EcsParameters": {"TaskDefinitionArn": job},
    });
    stage.call("events", "CreateEventBus", json!({"Name": "b"}));
    stage.call("events", "PutRule", json!({"Name": "r", "EventBusName": "b", "EventPattern": r#"{"source": ["a"]}"#}));
    stage.rule("default", "r", &json!({"source": ["a"]}), target);
    stage.call("events", "DisableRule", json!({"Name": "r"}));
    let rule = |id: &str, path: &str, state: &str, targets: Value| {
        let mut configuration = json!({"State": state});
        if !targets.is_null() {
            configuration["Targets"] = targets;
        }
        json!({"resourceId": id, "arn": stage.rule_arn(path), "configuration": configuration})
    };
    assert_eq!(
        seen(),
        [
            rule("b|r", "b/r", "ENABLED", json!(null)),
            rule("r", "r", "DISABLED", json!([{"EcsParameters": {"TaskDefinitionArn": job}}])),
        ]
    );
    stage.call("events", "RemoveTargets", json!({"Rule": "r", "Ids": ["1"]}));
    stage.call("events", "EnableRule", json!({"Name": "r"}));
    stage.call("events", "DeleteRule", json!({"Name": "r", "EventBusName": "b"}));
    assert_eq!(seen(), [rule("r", "r", "ENABLED", json!(null))]);
}
