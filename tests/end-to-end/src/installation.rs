//! EcrCleanup in an organization: the hub's stack and an example as they are shipped, and what the provider makes of it.

use std::sync::Arc;

use handler::check_images::CheckImages;
use handler::clients::Clients;
use handler::names::{Kind, Names};
use handler::opt_in::OptInTag;
use handler::provider::Provider;
use handler::schedule_checks::ScheduleChecks;
use handler::settings::{Choices, Hub, Settings};
use serde_json::{Value, json};
use simulated_aws::{AccountId, Function, FunctionContext, Region};

use crate::Organization;
use crate::team::text;

/// The hub's template as shipped.
const PROVIDER_TEMPLATE: &str = include_str!("../../../infra-templates/provider.yaml");
/// The example for accounts as shipped.
const ACCOUNTS_EXAMPLE: &str = include_str!("../../../examples/accounts.yaml");

/// An installed EcrCleanup.
#[derive(Debug)]
pub struct Installation {
    /// What it was told.
    pub settings: Settings,
}

/// The role by which CloudFormation administers self-managed stack sets, by AWS's name.
const ADMINISTRATION_ROLE: &str = "AWSCloudFormationStackSetAdministrationRole";
/// The role that it assumes in each account, by AWS's name.
const EXECUTION_ROLE: &str = "AWSCloudFormationStackSetExecutionRole";

impl Installation {
    /// Deploys the hub's template and then the example for accounts, as a user does: all else is the provider's work. The
    /// name is `prod`, the window 24 hours.
    pub fn through_cloudformation(organization: &Organization) -> Self {
        let (hub, home) = (&organization.hub, organization.home());
        register_functions(organization);
        stack_set_roles(organization);
        deploy(organization, hub, home, "ecr-cleanup-hub", &packaged(PROVIDER_TEMPLATE), json!([]));
        let list = |items: Vec<&str>| items.join(",");
        let parameters = json!([
            {
                "ParameterKey": "WorkloadAccountIds",
                "ParameterValue": list(organization.workloads.iter().map(AccountId::as_str).collect()),
            },
            {
                "ParameterKey": "Regions",
                "ParameterValue": list(organization.regions.iter().map(Region::as_str).collect()),
            },
        ]);
        deploy(organization, hub, home, "ecr-cleanup", ACCOUNTS_EXAMPLE, parameters);
        // The probes are recorded and aggregated, and sources are synchronized.
        organization.hours(6);
        Self { settings: settings(organization) }
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
        "provider",
        Function::new(|context: FunctionContext, payload: Value| async move {
            let variable = |name: &str| context.variable(name).map(str::to_owned);
            let provider =
                Provider::new(&context.sdk, context.connector.clone(), variable).map_err(|error| error.to_string())?;
            provider.handle(payload, &context.arn).await.map_err(|error| error.to_string())?;
            Ok(Value::Null)
        }),
    );
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

/// The roles of self-managed stack sets, as the StackSets user guide describes them ("Grant self-managed permissions"): one
/// in the hub that CloudFormation administers them with, and one in each account, the hub included, that it may assume.
fn stack_set_roles(organization: &Organization) {
    let (hub, home) = (&organization.hub, organization.home());
    let role = |account: &AccountId, name: &str, principal: Value| {
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}],
        });
        let input = json!({"RoleName": name, "AssumeRolePolicyDocument": trust.to_string()});
        organization.call(account, home, "iam", "CreateRole", input);
    };
    role(hub, ADMINISTRATION_ROLE, json!({"Service": "cloudformation.amazonaws.com"}));
    let assume = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Resource": format!("arn:aws:iam::*:role/{EXECUTION_ROLE}"),
        }],
    });
    let input = json!({
        "RoleName": ADMINISTRATION_ROLE,
        "PolicyName": "AssumeRole-AWSCloudFormationStackSetExecutionRole",
        "PolicyDocument": assume.to_string(),
    });
    organization.call(hub, home, "iam", "PutRolePolicy", input);
    for account in organization.accounts() {
        role(&account, EXECUTION_ROLE, json!({"AWS": format!("arn:aws:iam::{hub}:role/{ADMINISTRATION_ROLE}")}));
        let everything = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        });
        let input = json!({
            "RoleName": EXECUTION_ROLE,
            "PolicyName": "AdministratorAccess",
            "PolicyDocument": everything.to_string(),
        });
        organization.call(&account, home, "iam", "PutRolePolicy", input);
    }
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
