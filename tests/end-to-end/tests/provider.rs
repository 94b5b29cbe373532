//! The provider behind `Custom::EcrCleanup`, in stacks of the simulated CloudFormation.

use std::collections::BTreeSet;

use end_to_end::{CLEANUP_STACK, HUB_STACK, Installation, Item, Organization, install_hub};
use serde_json::{Value, json};

/// A template with one EcrCleanup, and each of its attributes as an output.
fn template(properties: &Value) -> String {
    let mut all = json!({"ServiceToken": {"Fn::ImportValue": "ecr-cleanup-service-token"}});
    for (name, value) in properties.as_object().expect("properties") {
        all[name] = value.clone();
    }
    let attributes = ["Name", "AggregatorName", "EventBusName", "EventBusArn", "ScheduleGroupName", "StackSetName"];
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
fn accounts(ids: &[&str], regions: &[&str]) -> Value {
    json!({"Name": "prod", "Workloads": {"Accounts": {"AccountIds": ids}, "Regions": regions}})
}

const BOTH: [&str; 2] = ["222222222222", "333333333333"];
const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];

fn hub() -> Organization {
    let organization = Organization::new(1);
    install_hub(&organization);
    organization
}

/// The accounts and regions that have an instance of the stack set, each with its status.
fn instances(organization: &Organization) -> BTreeSet<String> {
    let input = json!({"StackSetName": "ecr-cleanup-prod-accounts"});
    let (hub, home) = (&organization.hub, organization.home());
    let listed = organization.call(hub, home, "cloudformation", "ListStackInstances", input);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let row = |instance: &Value| {
        format!("{} {} {}", text(&instance["Account"]), text(&instance["Region"]), text(&instance["Status"]))
    };
    listed["Summaries"].as_array().into_iter().flatten().map(row).collect()
}

fn current(accounts: &[&str], regions: &[&str]) -> BTreeSet<String> {
    accounts
        .iter()
        .flat_map(|account| regions.iter().map(move |region| format!("{account} {region} CURRENT")))
        .collect()
}

/// What the provider was refused by IAM, or the simulation by name.
fn refused(organization: &Organization) -> Vec<String> {
    let world = organization.aws.world();
    let denied = world.calls().iter().filter_map(|call| {
        let error = call.outcome.as_ref().err()?;
        error.code.starts_with("AccessDenied").then(|| error.message.clone())
    });
    world.refusals().iter().cloned().chain(denied).collect()
}

/// The calls of the provider that change something.
fn changes(organization: &Organization) -> Vec<String> {
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

fn left(before: &BTreeSet<Item>, organization: &Organization) -> Vec<Item> {
    organization.inventory().difference(before).cloned().collect()
}

#[test]
fn one_resource_brings_up_everything_in_every_account_and_region() {
    let organization = hub();
    let stack = organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("CREATE_COMPLETE");
    for part in ["AggregatorName", "EventBusName", "ScheduleGroupName", "StackSetName"] {
        assert_eq!(stack.output(part), "ecr-cleanup-prod-accounts", "{part}");
    }
    assert_eq!(stack.output("Name"), "prod");
    assert_eq!(
        stack.output("EventBusArn"),
        "arn:aws:events:eu-west-1:111111111111:event-bus/ecr-cleanup-prod-accounts"
    );
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS));
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn what_is_removed_leaves_nothing_but_the_aggregation_authorizations() {
    let organization = Organization::new(1);
    let before = organization.inventory();
    let installation = Installation::through_cloudformation(&organization);
    assert!(left(&before, &organization).len() > 50, "the listing sees what was installed");
    installation.remove(&organization);
    let left: Vec<Item> = left(&before, &organization)
        .into_iter()
        // Made by the user, before.
        .filter(|item| !item.name.contains("AWSCloudFormationStackSet"))
        .collect();
    assert_eq!(left.len(), 6, "{left:#?}");
    for item in &left {
        assert_eq!(item.listed_by, "config:DescribeAggregationAuthorizations", "{item:?}");
    }
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn accounts_and_regions_come_and_go_with_an_update() {
    let organization = hub();
    let deploy = |ids: &[&str], regions: &[&str]| {
        let template = template(&accounts(ids, regions));
        organization.update_stack(CLEANUP_STACK, &template, &[]).expect_status("UPDATE_COMPLETE");
        let mut covered = vec!["111111111111"];
        covered.extend(ids);
        assert_eq!(instances(&organization), current(&covered, regions));
    };
    organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH[..1], &REGIONS[..1])), &[])
        .expect_status("CREATE_COMPLETE");
    deploy(&BOTH, &REGIONS[..1]);
    deploy(&BOTH, &REGIONS);
    deploy(&BOTH[1..], &REGIONS);
    deploy(&BOTH[1..], &REGIONS[1..]);
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn an_update_that_changes_nothing_that_is_made_calls_nothing_that_changes() {
    let organization = hub();
    let mut properties = accounts(&BOTH, &REGIONS);
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    organization.aws.world().clear_calls();
    properties["ProviderVersion"] = json!("0.0.2");
    organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(changes(&organization), [] as [String; 0]);
}

#[test]
fn another_name_replaces_the_resource() {
    let organization = hub();
    let mut properties = accounts(&BOTH, &REGIONS);
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    properties["Name"] = json!("main");
    let stack = organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(stack.output("EventBusName"), "ecr-cleanup-main-accounts");
    let former: Vec<Item> =
        organization.inventory().into_iter().filter(|item| item.name.contains("ecr-cleanup-prod")).collect();
    assert_eq!(former, [] as [Item; 0], "the former is gone");
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn properties_that_cannot_be_read_are_answered_with_every_problem_and_leave_nothing() {
    let organization = hub();
    let before = organization.inventory();
    let properties = json!({"Name": "Prod!", "RollbackWindowHours": 0, "Colour": "blue"});
    let stack =
        organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("ROLLBACK_COMPLETE");
    for named in ["Name", "RollbackWindowHours", "Colour", "Workloads"] {
        assert!(stack.reason().contains(named), "{named}: {}", stack.reason());
    }
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    assert_eq!(left(&before, &organization), [] as [Item; 0]);
}

#[test]
fn a_part_that_another_made_is_refused_by_name_and_left_alone() {
    let organization = hub();
    let (account, home) = (&organization.hub, organization.home());
    organization.call(account, home, "events", "CreateEventBus", json!({"Name": "ecr-cleanup-prod-accounts"}));
    let before = organization.inventory();
    let stack = organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("ROLLBACK_COMPLETE");
    assert!(stack.reason().contains("ecr-cleanup-prod-accounts"), "{}", stack.reason());
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    assert_eq!(left(&before, &organization), [] as [Item; 0]);
    assert_eq!(before.difference(&organization.inventory()).count(), 0, "the bus is still there");
}

#[test]
fn what_was_removed_can_be_installed_again() {
    let organization = hub();
    let template = template(&accounts(&BOTH, &REGIONS));
    for _ in 0..2 {
        organization.create_stack(CLEANUP_STACK, &template, &[]).expect_status("CREATE_COMPLETE");
        assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS));
        organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    }
}

#[test]
fn operations_that_take_half_an_hour_are_resumed_until_they_end() {
    let organization = hub();
    organization.aws.world().behaviours.stack_set_operation_pause = jiff::SignedDuration::from_mins(15);
    let template = template(&accounts(&BOTH, &REGIONS));
    organization.create_stack(CLEANUP_STACK, &template, &[]).expect_status("CREATE_COMPLETE");
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS));
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    organization.delete_stack(HUB_STACK).expect_status("DELETE_COMPLETE");
    assert_eq!(refused(&organization), [] as [String; 0]);
}
