//! A stack with one EcrCleanup, and how to look at what the provider made of it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use simulated_aws::AccountId;

use crate::{CLEANUP_STACK, Item, Organization, install_hub};

/// A template with one EcrCleanup, and each of its attributes as an output.
pub fn template(properties: &Value) -> String {
    let mut all = json!({"ServiceToken": {"Fn::ImportValue": "ecr-cleanup-service-token"}});
    for (name, value) in properties.as_object().expect("properties") {
        all[name] = value.clone();
    }
    let attributes = [
        "Name",
        "AggregatorName",
        "EventBusName",
        "EventBusArn",
        "ScheduleGroupName",
        "StackSetName",
        "RolloutPending",
        "FailedInstances",
    ];
    let outputs: serde_json::Map<_, _> = attributes
        .iter()
        .map(|name| ((*name).to_owned(), json!({"Value": {"Fn::GetAtt": ["ImageCleanup", name]}})))
        .collect();
    json!({
        "Resources": {"ImageCleanup": {"Type": "Custom::EcrCleanup", "Properties": all}},
        "Outputs": outputs,
    })
    .to_string()
}

/// Properties of an EcrCleanup `prod` for these accounts in these regions.
pub fn accounts(ids: &[&str], regions: &[&str]) -> Value {
    json!({"Name": "prod", "Workloads": {"Accounts": {"AccountIds": ids}, "Regions": regions}})
}

/// How all parts of that EcrCleanup are called.
pub const PART: &str = "ecr-cleanup-prod-accounts";
/// The workload accounts.
pub const BOTH: [&str; 2] = ["222222222222", "333333333333"];
/// All regions.
pub const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];

/// An organization with the hub's stack.
pub fn hub() -> Organization {
    let organization = Organization::new(1);
    install_hub(&organization);
    organization
}

/// The accounts and regions that have an instance of the stack set, each with its status.
pub fn instances(organization: &Organization) -> BTreeSet<String> {
    let input = json!({"StackSetName": "ecr-cleanup-prod-accounts"});
    let (hub, home) = (&organization.hub, organization.home());
    let listed = organization.call(hub, home, "cloudformation", "ListStackInstances", input);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let row = |instance: &Value| {
        format!("{} {} {}", text(&instance["Account"]), text(&instance["Region"]), text(&instance["Status"]))
    };
    listed["Summaries"].as_array().into_iter().flatten().map(row).collect()
}

/// These accounts in these regions, each with a current instance.
pub fn current(accounts: &[&str], regions: &[&str]) -> BTreeSet<String> {
    accounts
        .iter()
        .flat_map(|account| regions.iter().map(move |region| format!("{account} {region} CURRENT")))
        .collect()
}

/// What the provider was refused by IAM, or the simulation by name.
pub fn refused(organization: &Organization) -> Vec<String> {
    let world = organization.aws.world();
    let denied = world.calls().iter().filter_map(|call| {
        let error = call.outcome.as_ref().err()?;
        error.code.starts_with("AccessDenied").then(|| error.message.clone())
    });
    world.refusals().iter().cloned().chain(denied).collect()
}

/// The calls of the provider that change something.
pub fn changes(organization: &Organization) -> Vec<String> {
    let reads = ["Describe", "List", "Get"];
    let world = organization.aws.world();
    world
        .calls()
        .iter()
        .filter(|call| format!("{:?}", call.principal).contains("ecr-cleanup-provider"))
        .filter(|call| !reads.iter().any(|read| call.operation.starts_with(read)))
        .map(|call| format!("{}:{}", call.service, call.operation))
        .collect()
}

/// What is there and was not before.
pub fn left(before: &BTreeSet<Item>, organization: &Organization) -> Vec<Item> {
    organization.inventory().difference(before).cloned().collect()
}

/// A failed resource's own reason, the first of the stack's latest operation.
pub fn failure(organization: &Organization) -> String {
    let input = json!({"StackName": CLEANUP_STACK});
    let described =
        organization.call(&organization.hub, organization.home(), "cloudformation", "DescribeStackEvents", input);
    let events = described["StackEvents"].as_array().into_iter().flatten();
    let mut failed = events.filter(|event| event["ResourceStatus"].as_str().is_some_and(|it| it.ends_with("_FAILED")));
    let of_resource = failed.find(|event| event["LogicalResourceId"] == "ImageCleanup");
    of_resource.and_then(|event| event["ResourceStatusReason"].as_str()).unwrap_or_default().to_owned()
}

/// Makes stack set operations fail in an account, or lets them succeed again.
///
/// # Panics
/// If it is no account id.
pub fn fail_in(organization: &Organization, account: &str, reason: Option<&str>) {
    let account = AccountId::new(account).expect("a constant");
    organization.aws.world().fail_stack_instances(&account, reason);
}

/// The properties of each version that was ever published, in the order of their history, as CloudFormation still holds them:
/// those that all have, and all that the version added.
pub fn every_shape(common: &Value) -> [Value; 4] {
    let mut first = common.clone();
    first["OptInTag"] = json!({"Key": "ecr-cleanup"});
    first["RollbackWindowHours"] = json!(48);
    first["DryRun"] = json!(false);
    first["KeepNewestImages"] = json!(1);
    first["KeepTagPatterns"] = json!(["release-*"]);
    first["ServiceTimeout"] = json!(3600);
    let mut second = first.clone();
    second["KeepPulledWithinHours"] = json!(72);
    second["UncoveredAccounts"] = json!(["444444444444"]);
    second["OutsidePullers"] = json!("Keep");
    second["Action"] = json!("Delete");
    let mut third = second.clone();
    third["SweepSchedule"] = json!("rate(2 days)");
    third["NeverDeployedImages"] = json!("Keep");
    third["NeverDeployedAfterHours"] = json!(400);
    third["UntaggedImages"] = json!("Keep");
    third["ActiveRevisionsPerFamily"] = json!(2);
    third["ServiceOnlyFamilies"] = json!(["web"]);
    let mut fourth = third.clone();
    fourth["Rollout"] = json!({
        "RegionConcurrencyType": "SEQUENTIAL", "MaxConcurrentPercentage": 50, "FailureTolerancePercentage": 10,
        "ConcurrencyMode": "STRICT_FAILURE_TOLERANCE", "ManagedExecution": false,
    });
    [first, second, third, fourth]
}
