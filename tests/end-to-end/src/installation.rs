//! EcrCleanup in an organization: the hub's stack and the workload template as they are shipped, and by hand what the
//! provider would make.

use std::sync::Arc;

use handler::check_images::CheckImages;
use handler::clients::Clients;
use handler::names::{CHECK_DUE, EVENT_SOURCE, Kind, Names};
use handler::opt_in::OptInTag;
use handler::schedule_checks::ScheduleChecks;
use handler::settings::{Choices, Hub, Settings};
use serde_json::{Value, json};
use simulated_aws::{AccountId, Function, FunctionContext, Region};

use crate::Organization;
use crate::team::text;

/// The hub's template as shipped.
const PROVIDER_TEMPLATE: &str = include_str!("../../../infra-templates/provider.yaml");
/// The workload template as shipped.
const WORKLOAD_TEMPLATE: &str = include_str!("../../../infra-templates/workload.yaml");

/// An installed EcrCleanup.
#[derive(Debug)]
pub struct Installation {
    /// What it was told.
    pub settings: Settings,
}

impl Installation {
    /// Deploys both templates and makes by hand what the provider would: schedule group, bus with policy and rules, and
    /// the aggregator. The name is `prod`, the window 24 hours.
    pub fn by_hand(organization: &Organization) -> Self {
        let (hub, home) = (&organization.hub, organization.home());
        register_functions(organization);
        deploy(organization, hub, home, "ecr-cleanup-hub", &packaged(PROVIDER_TEMPLATE), json!([]));
        let settings = settings(organization);
        let part = settings.names.part();
        let call = |service, operation, input| organization.call(hub, home, service, operation, input);
        call("scheduler", "CreateScheduleGroup", json!({"Name": part}));
        call("events", "CreateEventBus", json!({"Name": part}));
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "TaskDefinitionEvents",
            "Effect": "Allow",
            "Principal": {"AWS": organization.workloads.iter().map(AccountId::as_str).collect::<Vec<_>>()},
            "Action": "events:PutEvents",
            "Resource": settings.event_bus_arn,
            "Condition": {
                "ForAllValues:StringEquals": {"events:source": ["aws.ecs", "aws.config"]},
                "Null": {"events:source": "false"},
            },
        }]});
        call("events", "PutPermission", json!({"EventBusName": part, "Policy": policy.to_string()}));
        let rules = [
            (
                settings.names.task_definitions_rule(),
                "ecr-cleanup-schedule-checks",
                json!({
                    "source": ["aws.ecs", "aws.config"],
                    "detail-type": ["AWS API Call via CloudTrail", "Config Configuration Item Change"],
                }),
            ),
            (
                settings.names.checks_rule(),
                "ecr-cleanup-check-images",
                json!({"source": [EVENT_SOURCE], "account": [hub.as_str()], "detail-type": [CHECK_DUE]}),
            ),
        ];
        let template = settings.input_template().expect("small settings fit");
        for (rule, queue, pattern) in rules {
            let input = json!({"EventBusName": part, "Name": rule, "EventPattern": pattern.to_string()});
            call("events", "PutRule", input);
            let target = json!({
                "Id": "queue",
                "Arn": format!("arn:aws:sqs:{home}:{hub}:{queue}"),
                "InputTransformer": {"InputTemplate": template},
            });
            call("events", "PutTargets", json!({"EventBusName": part, "Rule": rule, "Targets": [target]}));
        }
        let accounts: Vec<_> = organization.accounts().iter().map(|account| account.as_str().to_owned()).collect();
        call(
            "config",
            "PutConfigurationAggregator",
            json!({
                "ConfigurationAggregatorName": part,
                "AccountAggregationSources": [{"AccountIds": accounts, "AllAwsRegions": true}],
            }),
        );
        for (account, region) in organization.places() {
            let parameters = workload_parameters(organization, &settings);
            deploy(organization, &account, &region, "ecr-cleanup-workload", WORKLOAD_TEMPLATE, parameters);
        }
        // The probes are recorded and aggregated, and sources are synchronized.
        organization.hours(6);
        Self { settings }
    }

    /// Fails if the simulation or IAM refused anything to the product, or a message is dead.
    ///
    /// # Panics
    /// With what was refused, or what is dead.
    pub fn assert_healthy(&self, organization: &Organization) {
        let world = organization.aws.world();
        assert_eq!(world.refusals(), &[] as &[String], "the simulation refused");
        let denied: Vec<String> = world
            .calls()
            .iter()
            .filter_map(|call| {
                let error = call.outcome.as_ref().err()?;
                error.code.starts_with("AccessDenied").then(|| error.message.clone())
            })
            .collect();
        assert_eq!(denied, [] as [String; 0], "IAM refused");
        drop(world);
        for queue in ["ecr-cleanup-schedule-checks-dead-letters", "ecr-cleanup-check-images-dead-letters"] {
            let (hub, home) = (&organization.hub, organization.home());
            let url = organization.call(hub, home, "sqs", "GetQueueUrl", json!({"QueueName": queue}));
            let input = json!({"QueueUrl": url["QueueUrl"], "AttributeNames": ["ApproximateNumberOfMessages"]});
            let attributes = organization.call(hub, home, "sqs", "GetQueueAttributes", input);
            assert_eq!(attributes["Attributes"]["ApproximateNumberOfMessages"], "0", "{queue} holds messages");
        }
    }
}

/// Registers the real functions under the handlers of the template. Each keeps its clients as long as a warm process
/// would: one for each function, made at its first invocation.
fn register_functions(organization: &Organization) {
    let mut world = organization.aws.world();
    world.register_function(
        "schedule-checks",
        Function::new(|context: FunctionContext, payload: Value| async move {
            let clients = Arc::new(Clients::new(context.sdk));
            let function = ScheduleChecks::new(Arc::clone(&clients), clients.clock());
            let event = serde_json::from_value(payload).map_err(|error| error.to_string())?;
            serde_json::to_value(function.handle(event).await).map_err(|error| error.to_string())
        }),
    );
    world.register_function(
        "check-images",
        Function::new(|context: FunctionContext, payload: Value| async move {
            let clients = Arc::new(Clients::new(context.sdk));
            let function = CheckImages::new(Arc::clone(&clients), clients.clock());
            let event = serde_json::from_value(payload).map_err(|error| error.to_string())?;
            serde_json::to_value(function.handle(event).await).map_err(|error| error.to_string())
        }),
    );
}

fn settings(organization: &Organization) -> Settings {
    let names = Names { name: "prod".parse().expect("a constant"), kind: Kind::Accounts };
    let (account, region) = (organization.hub.as_str(), organization.home().as_str());
    let hub = Hub { account: account.parse().expect("valid"), region: region.parse().expect("valid") };
    let role = format!("arn:aws:iam::{account}:role/ecr-cleanup-scheduler-{region}");
    let choices = Choices {
        regions: organization.regions.iter().map(|region| region.as_str().parse().expect("valid")).collect(),
        opt_in_tag: OptInTag { key: "ecr-cleanup".parse().expect("a constant"), value: None },
        rollback_window_hours: 24,
        dry_run: false,
        keep_newest_images: 0,
        keep_tag_patterns: Vec::new(),
        organization: None,
    };
    Settings::new(names, hub, role.parse().expect("valid"), choices).expect("valid")
}

fn workload_parameters(organization: &Organization, settings: &Settings) -> Value {
    let (hub, home) = (&organization.hub, organization.home());
    let parameters = [
        ("Name", settings.names.name.to_string()),
        ("Kind", settings.names.kind.to_string()),
        ("HubAccountId", hub.to_string()),
        ("HubRegion", home.to_string()),
        ("EventBusArn", settings.event_bus_arn.to_string()),
        ("EvidenceRoleNamePrefix", settings.names.evidence_role_prefix()),
        ("ForwardingNamePrefix", settings.names.forward_role_prefix()),
        ("CheckingRoleArns", format!("arn:aws:iam::{hub}:role/ecr-cleanup-check-images-{home}")),
        ("CreateAggregationAuthorization", "true".to_owned()),
    ];
    parameters.iter().map(|(key, value)| json!({"ParameterKey": key, "ParameterValue": value})).collect()
}

/// What `aws cloudformation package` does: paths of code become objects in a bucket.
fn packaged(template: &str) -> String {
    let line = |line: &str| match line.split_once("Code: ") {
        Some((indent, path)) if path.ends_with(".zip") => {
            format!("{indent}Code: {{S3Bucket: artifacts, S3Key: ecr-cleanup.zip}}")
        }
        _ => line.to_owned(),
    };
    template.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Creates a stack and waits for it.
fn deploy(
    organization: &Organization,
    account: &AccountId,
    region: &Region,
    name: &str,
    template: &str,
    parameters: Value,
) {
    let input = json!({
        "StackName": name,
        "TemplateBody": template,
        "Parameters": parameters,
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
    });
    organization.call(account, region, "cloudformation", "CreateStack", input);
    organization.minutes(10);
    let described = organization.call(account, region, "cloudformation", "DescribeStacks", json!({"StackName": name}));
    let stack = &described["Stacks"][0];
    assert_eq!(text(&stack["StackStatus"]), "CREATE_COMPLETE", "{name} in {account}/{region}: {stack:#}");
}
