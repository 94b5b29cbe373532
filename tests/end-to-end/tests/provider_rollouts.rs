//! Long operations of the provider: rollouts that outlast CloudFormation, operations that fail in some accounts, collide or are
//! stopped, and how the stack set goes about it.

use std::collections::BTreeSet;

use end_to_end::cleanup::{
    BOTH, PART, REGIONS, accounts, changes, current, fail_in, hub, instances, left, refused, template,
};
use end_to_end::{CLEANUP_STACK, Item, Organization};
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulated_aws::AccountId;

const HUB: &str = "111111111111";

fn pause(organization: &Organization, minutes: i64) {
    organization.aws.world().behaviours.stack_set_operation_pause = SignedDuration::from_mins(minutes);
}

/// The details of the events of a type that the provider put on the bus.
fn told(organization: &Organization, detail_type: &str) -> Vec<Value> {
    let world = organization.aws.world();
    let entries = world.calls().iter().filter(|call| call.operation == "PutEvents").flat_map(|call| {
        let entries = call.input["Entries"].as_array().cloned();
        entries.unwrap_or_default()
    });
    entries
        .filter(|entry| entry["DetailType"] == detail_type && entry["Source"] == "ecr-cleanup")
        .map(|entry| serde_json::from_str(entry["Detail"].as_str().expect("text")).expect("JSON"))
        .collect()
}

/// The inputs of the provider's calls of an operation.
fn inputs(organization: &Organization, operation: &str) -> Vec<Value> {
    let world = organization.aws.world();
    world.calls().iter().filter(|call| call.operation == operation).map(|call| call.input.clone()).collect()
}

/// Asserts that no schedule resumes the provider any more.
fn assert_nobody_looks_after_it(organization: &Organization) {
    let resumptions = organization.inventory().into_iter().filter(|item| item.name.contains("/resume-"));
    assert_eq!(resumptions.collect::<Vec<_>>(), [] as [Item; 0], "nobody looks after it any more");
}

#[test]
fn a_rollout_that_is_done_says_so() {
    let organization = hub();
    let stack = organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("CREATE_COMPLETE");
    assert_eq!(stack.output("RolloutPending"), "false");
    assert_eq!(stack.output("FailedInstances"), "none");
    assert_eq!(told(&organization, "Accounts Not Covered"), [] as [Value; 0]);
}

#[test]
fn a_rollout_that_outlasts_cloudformation_is_pending_and_goes_on_to_its_end() {
    let organization = hub();
    let one_region = template(&accounts(&BOTH, &REGIONS[..1]));
    organization.create_stack(CLEANUP_STACK, &one_region, &[]).expect_status("CREATE_COMPLETE");
    // An update of two operations, of which the first alone takes longer than CloudFormation waits.
    pause(&organization, 40);
    let moved = template(&accounts(&BOTH[..1], &REGIONS));
    let stack = organization.update_stack(CLEANUP_STACK, &moved, &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(stack.output("RolloutPending"), "true");
    organization.hours(8);
    assert_eq!(instances(&organization), current(&[HUB, BOTH[0]], &REGIONS), "the second was begun too");
    assert_nobody_looks_after_it(&organization);
    pause(&organization, 0);
    let same = {
        let mut properties = accounts(&BOTH[..1], &REGIONS);
        properties["ProviderVersion"] = json!("2");
        template(&properties)
    };
    let stack = organization.update_stack(CLEANUP_STACK, &same, &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(stack.output("RolloutPending"), "false");
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn a_rollout_that_goes_on_after_its_answer_yields_to_the_next_update() {
    let organization = hub();
    let one_region = template(&accounts(&BOTH[..1], &REGIONS[..1]));
    organization.create_stack(CLEANUP_STACK, &one_region, &[]).expect_status("CREATE_COMPLETE");
    pause(&organization, 40);
    let wider = template(&accounts(&BOTH, &REGIONS));
    organization.update_stack(CLEANUP_STACK, &wider, &[]).expect_status("UPDATE_COMPLETE");
    organization.update_stack(CLEANUP_STACK, &one_region, &[]).expect_status("UPDATE_COMPLETE");
    organization.hours(24);
    assert_eq!(instances(&organization), current(&[HUB, BOTH[0]], &REGIONS[..1]));
}

/// The properties of an EcrCleanup for whose rollouts CloudFormation does not wait long.
fn impatient(ids: &[&str], regions: &[&str]) -> Value {
    let mut properties = accounts(ids, regions);
    properties["ServiceTimeout"] = json!(900);
    properties
}

/// The payloads of the one-time schedules that look after rollouts.
fn looks(organization: &Organization) -> Vec<String> {
    let input = |call: Value| call["Target"]["Input"].as_str().expect("text").to_owned();
    let resumptions = inputs(organization, "CreateSchedule");
    let of_rollouts =
        resumptions.into_iter().filter(|call| call["Name"].as_str().is_some_and(|name| name.contains("-rollout-")));
    of_rollouts.map(input).collect()
}

/// Hands a payload to the provider, as a schedule or a redelivery does.
fn deliver(organization: &Organization, payload: &str) {
    let input = json!({"FunctionName": "ecr-cleanup-provider", "InvocationType": "Event", "Payload": payload});
    organization.call(&organization.hub, organization.home(), "lambda", "Invoke", input);
}

/// An EcrCleanup whose update to all accounts and regions goes on after the answer, and the first look at that.
fn pending() -> (Organization, String) {
    let organization = hub();
    let narrow = template(&impatient(&BOTH[..1], &REGIONS[..1]));
    organization.create_stack(CLEANUP_STACK, &narrow, &[]).expect_status("CREATE_COMPLETE");
    pause(&organization, 10);
    let wider = template(&impatient(&BOTH, &REGIONS));
    let stack = organization.update_stack(CLEANUP_STACK, &wider, &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(stack.output("RolloutPending"), "true");
    organization.minutes(2);
    let look = looks(&organization).first().expect("it is looked after").clone();
    (organization, look)
}

/// The sum of a metric.
fn sum(lines: &[Value], metric: &str) -> u64 {
    lines.iter().filter_map(|line| line[metric].as_u64()).sum()
}

/// The settings that the hub's rules hand out.
fn settings(organization: &Organization) -> String {
    let input = json!({"EventBusName": PART, "Rule": format!("{PART}-checks")});
    let targets = organization.call(&organization.hub, organization.home(), "events", "ListTargetsByRule", input);
    targets["Targets"][0]["InputTransformer"]["InputTemplate"].as_str().expect("text").to_owned()
}

#[test]
fn a_look_at_a_rollout_that_an_update_has_overtaken_undoes_nothing_of_it() {
    let (organization, look) = pending();
    let mut newer = impatient(&BOTH[..1], &REGIONS[..1]);
    newer["DryRun"] = json!(true);
    // Once while the update waits for the operation of the former, and once when it is done.
    let input = json!({"StackName": CLEANUP_STACK, "TemplateBody": template(&newer)});
    organization.call(&organization.hub, organization.home(), "cloudformation", "UpdateStack", input);
    organization.minutes(2);
    organization.aws.world().clear_calls();
    deliver(&organization, &look);
    organization.aws.advance(SignedDuration::from_secs(30));
    let changed = changes(&organization).into_iter().filter(|call| call != "scheduler:CreateSchedule");
    assert_eq!(changed.collect::<Vec<_>>(), [] as [String; 0]);
    pause(&organization, 0);
    organization.hours(3);
    assert_eq!(instances(&organization), current(&[HUB, BOTH[0]], &REGIONS[..1]));
    organization.aws.world().clear_calls();
    deliver(&organization, &look);
    organization.hours(1);
    assert_eq!(changes(&organization), [] as [String; 0]);
    assert!(settings(&organization).contains(r#""dryRun":true"#), "{}", settings(&organization));
    assert_eq!(instances(&organization), current(&[HUB, BOTH[0]], &REGIONS[..1]));
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn a_request_that_arrives_while_a_look_at_a_rollout_is_under_way_prevails() {
    for delete in [false, true] {
        let (organization, look) = pending();
        organization.hours(2);
        pause(&organization, 1);
        // A look has something to do, as somebody took an instance away.
        let taken =
            json!({"StackSetName": PART, "Accounts": [BOTH[1]], "Regions": [REGIONS[1]], "RetainStacks": "false"});
        organization.call(&organization.hub, organization.home(), "cloudformation", "DeleteStackInstances", taken);
        organization.minutes(10);
        let mut newer = impatient(&BOTH[..1], &REGIONS[..1]);
        newer["DryRun"] = json!(true);
        let (hub, home) = (organization.hub.clone(), organization.home().clone());
        let mut begun = false;
        organization.aws.world().add_fault_plan(move |call| {
            let now = call.operation == "DescribeStackSet" && !std::mem::replace(&mut begun, true);
            let (hub, home, newer) = (hub.clone(), home.clone(), newer.clone());
            now.then(|| {
                simulated_aws::Fault::Meanwhile(Box::new(move |world| {
                    let (operation, input) = if delete {
                        ("DeleteStack", json!({"StackName": CLEANUP_STACK}))
                    } else {
                        ("UpdateStack", json!({"StackName": CLEANUP_STACK, "TemplateBody": template(&newer)}))
                    };
                    world.call(&hub, &home, "cloudformation", operation, input).expect("the stack is idle");
                }))
            })
        });
        organization.aws.world().clear_calls();
        deliver(&organization, &look);
        organization.hours(2);
        let of_sets = changes(&organization).into_iter().filter(|call| call.starts_with("cloudformation:"));
        let later = if delete { ["DeleteStackInstances", "DeleteStackSet"] } else { ["DeleteStackInstances"; 2] };
        let expected = ["CreateStackInstances"].into_iter().chain(later).map(|call| format!("cloudformation:{call}"));
        assert_eq!(of_sets.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "the look begins nothing more");
        if delete {
            let left = organization.inventory().into_iter().filter(|item| item.name.contains(PART));
            assert_eq!(left.collect::<Vec<_>>(), [] as [Item; 0]);
        } else {
            assert_eq!(instances(&organization), current(&[HUB, BOTH[0]], &REGIONS[..1]));
            assert!(settings(&organization).contains(r#""dryRun":true"#), "{}", settings(&organization));
        }
        assert_nobody_looks_after_it(&organization);
    }
}

#[test]
fn an_update_of_the_stack_that_does_not_concern_the_resource_ends_no_rollout() {
    let organization = hub();
    let narrow = template(&impatient(&BOTH, &REGIONS[..1]));
    organization.create_stack(CLEANUP_STACK, &narrow, &[]).expect_status("CREATE_COMPLETE");
    pause(&organization, 10);
    // Two operations, of which the first outlasts CloudFormation.
    let moved = template(&impatient(&BOTH[..1], &REGIONS));
    organization.update_stack(CLEANUP_STACK, &moved, &[]).expect_status("UPDATE_COMPLETE");
    let mut more: Value = serde_json::from_str(&moved).expect("JSON");
    more["Resources"]["Other"] = json!({"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "other"}});
    organization.update_stack(CLEANUP_STACK, &more.to_string(), &[]).expect_status("UPDATE_COMPLETE");
    organization.hours(2);
    assert_eq!(instances(&organization), current(&[HUB, BOTH[0]], &REGIONS), "the second was begun too");
}

#[test]
fn a_rollout_goes_on_after_calls_that_fail_or_hang() {
    for fault in [|| simulated_aws::Fault::Throttle, || simulated_aws::Fault::Hang] {
        let organization = hub();
        let narrow = template(&impatient(&BOTH, &REGIONS[..1]));
        organization.create_stack(CLEANUP_STACK, &narrow, &[]).expect_status("CREATE_COMPLETE");
        pause(&organization, 10);
        let moved = template(&impatient(&BOTH[..1], &REGIONS));
        organization.update_stack(CLEANUP_STACK, &moved, &[]).expect_status("UPDATE_COMPLETE");
        // For longer than a look is patient.
        let (clock, until) = (organization.aws.clone(), organization.aws.now() + SignedDuration::from_mins(20));
        organization.aws.world().add_fault_plan(move |call| {
            let strikes = clock.now() < until && call.operation.starts_with("List") && call.service == "cloudformation";
            strikes.then(fault)
        });
        organization.hours(2);
        assert_eq!(instances(&organization), current(&[HUB, BOTH[0]], &REGIONS), "the second was begun too");
    }
}

#[test]
fn a_rollout_that_fails_after_its_answer_is_told_and_counted_like_one_that_was_waited_for() {
    let organization = hub();
    let narrow = template(&impatient(&BOTH[..1], &REGIONS[..1]));
    organization.create_stack(CLEANUP_STACK, &narrow, &[]).expect_status("CREATE_COMPLETE");
    pause(&organization, 10);
    fail_in(&organization, BOTH[1], Some("a policy of the organization forbids it"));
    let wider = template(&impatient(&BOTH, &REGIONS[..1]));
    organization.update_stack(CLEANUP_STACK, &wider, &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(told(&organization, "Accounts Not Covered"), [] as [Value; 0], "it is not known yet");
    organization.hours(3);
    let instance =
        json!({"account": BOTH[1], "region": REGIONS[0], "reason": "a policy of the organization forbids it"});
    let cleanup = json!({"name": "prod", "kind": "accounts"});
    let expected = json!({"cleanup": cleanup, "instances": [instance], "total": 1});
    assert_eq!(told(&organization, "Accounts Not Covered"), [expected]);
    let lines = organization.take_metrics();
    assert_eq!((sum(&lines, "FailedInstances"), sum(&lines, "ProviderFailures")), (1, 0));

    // And one that cannot go on at all.
    fail_in(&organization, BOTH[1], None);
    let moved = template(&impatient(&BOTH[1..], &REGIONS));
    organization.update_stack(CLEANUP_STACK, &moved, &[]).expect_status("UPDATE_COMPLETE");
    organization.aws.world().add_fault_plan(|call| {
        let refused = || simulated_aws::ServiceError::new("InvalidOperationException", "no more of this");
        (call.operation == "DeleteStackInstances" || call.operation == "CreateStackInstances")
            .then(|| simulated_aws::Fault::Refuse(refused()))
    });
    organization.hours(3);
    let told = told(&organization, "Accounts Not Covered");
    assert!(
        told.last().and_then(|told| told["reason"].as_str()).is_some_and(|reason| reason.contains("no more of this")),
        "{told:#?}"
    );
    assert_eq!(sum(&organization.take_metrics(), "ProviderFailures"), 1);
}

#[test]
fn the_rollout_of_what_replaces_another_goes_on_when_that_is_deleted() {
    let organization = hub();
    let mut properties = impatient(&BOTH, &REGIONS);
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    pause(&organization, 20);
    properties["Name"] = json!("main");
    let input = json!({"StackName": CLEANUP_STACK, "TemplateBody": template(&properties)});
    organization.call(&organization.hub, organization.home(), "cloudformation", "UpdateStack", input);
    organization.minutes(5);
    // The deletion of the former takes no time.
    pause(&organization, 0);
    organization.minutes(10);
    let inventory = organization.inventory();
    let of = |what: &str| inventory.iter().filter(|item| item.name.contains(what)).count();
    assert_eq!(of("ecr-cleanup-prod"), 0, "the former is deleted");
    assert_eq!(of("/resume-"), 1, "the latter is looked after");
}

#[test]
fn accounts_where_the_deployment_fails_are_named_in_an_output_and_an_event() {
    let organization = hub();
    fail_in(&organization, BOTH[1], Some("a policy of the organization forbids it"));
    let stack = organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("CREATE_COMPLETE");
    assert_eq!(stack.output("FailedInstances"), "333333333333/eu-west-1, 333333333333/us-east-1");
    let reason = "a policy of the organization forbids it";
    let expected = json!({
        "cleanup": {"name": "prod", "kind": "accounts"},
        "instances": [
            {"account": BOTH[1], "region": REGIONS[0], "reason": reason},
            {"account": BOTH[1], "region": REGIONS[1], "reason": reason},
        ],
        "total": 2,
    });
    assert_eq!(told(&organization, "Accounts Not Covered"), [expected]);
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn the_stack_set_works_everywhere_at_once_unless_told_otherwise() {
    let organization = hub();
    let mut properties = accounts(&BOTH, &REGIONS);
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    let preferences = |input: &Value| input["OperationPreferences"].clone();
    let all_at_once = json!({
        "RegionConcurrencyType": "PARALLEL", "MaxConcurrentPercentage": "100", "FailureTolerancePercentage": "100",
        "ConcurrencyMode": "SOFT_FAILURE_TOLERANCE",
    });
    let added = inputs(&organization, "CreateStackInstances");
    assert_eq!(added.iter().map(preferences).collect::<Vec<_>>(), [all_at_once]);
    let made = inputs(&organization, "CreateStackSet");
    assert_eq!(made[0]["ManagedExecution"]["Active"], "true");

    properties["Rollout"] = json!({
        "RegionConcurrencyType": "SEQUENTIAL", "MaxConcurrentPercentage": 50, "FailureTolerancePercentage": 0,
        "ConcurrencyMode": "STRICT_FAILURE_TOLERANCE", "ManagedExecution": false,
    });
    properties["Workloads"]["Regions"] = json!(REGIONS[..1]);
    organization.aws.world().clear_calls();
    organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
    let careful = json!({
        "RegionConcurrencyType": "SEQUENTIAL", "MaxConcurrentPercentage": "50", "FailureTolerancePercentage": "0",
        "ConcurrencyMode": "STRICT_FAILURE_TOLERANCE",
    });
    let removed = inputs(&organization, "DeleteStackInstances");
    assert_eq!(removed.iter().map(preferences).collect::<Vec<_>>(), std::slice::from_ref(&careful));
    let updated = inputs(&organization, "UpdateStackSet");
    assert_eq!(updated[0]["ManagedExecution"]["Active"], "false");
    organization.aws.world().clear_calls();
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    let removed = inputs(&organization, "DeleteStackInstances");
    assert_eq!(removed.iter().map(preferences).collect::<Vec<_>>(), [careful]);
}

/// An operation of somebody else on the stack set.
fn other_operation(organization: &Organization) -> Value {
    let input = json!({
        "StackSetName": PART, "Accounts": [BOTH[0]], "Regions": [REGIONS[0]], "OperationId": "somebody-elses",
    });
    organization.call(&organization.hub, organization.home(), "cloudformation", "UpdateStackInstances", input)
}

#[test]
fn an_operation_of_somebody_else_is_waited_for_whether_operations_are_managed_or_not() {
    for managed in [true, false] {
        let organization = hub();
        let mut properties = accounts(&BOTH[..1], &REGIONS[..1]);
        properties["Rollout"] = json!({"ManagedExecution": managed});
        organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
        pause(&organization, 4);
        other_operation(&organization);
        properties["Workloads"]["Regions"] = json!(REGIONS);
        organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
        assert_eq!(instances(&organization), current(&[HUB, BOTH[0]], &REGIONS));
        other_operation(&organization);
        organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    }
}

#[test]
fn an_operation_that_begins_between_look_and_step_is_waited_for() {
    let organization = hub();
    let mut properties = accounts(&BOTH[..1], &REGIONS[..1]);
    properties["Rollout"] = json!({"ManagedExecution": false});
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    pause(&organization, 1);
    let (hub, home) = (organization.hub.clone(), organization.home().clone());
    let mut begun = false;
    organization.aws.world().add_fault_plan(move |call| {
        let now = call.operation == "CreateStackInstances" && !std::mem::replace(&mut begun, true);
        let (hub, home) = (hub.clone(), home.clone());
        now.then(|| {
            simulated_aws::Fault::Meanwhile(Box::new(move |world| {
                let input = json!({"StackSetName": PART, "Accounts": [BOTH[0]], "Regions": [REGIONS[0]]});
                world.call(&hub, &home, "cloudformation", "UpdateStackInstances", input).expect("the set is idle");
            }))
        })
    });
    properties["Workloads"]["Regions"] = json!(REGIONS);
    organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(instances(&organization), current(&[HUB, BOTH[0]], &REGIONS));
}

#[test]
fn an_operation_that_somebody_stops_is_taken_up_once_more() {
    let organization = hub();
    pause(&organization, 3);
    let input = json!({"StackName": CLEANUP_STACK, "TemplateBody": template(&accounts(&BOTH, &REGIONS))});
    organization.call(&organization.hub, organization.home(), "cloudformation", "CreateStack", input);
    organization.minutes(2);
    let call = |operation, input| {
        organization.call(&organization.hub, organization.home(), "cloudformation", operation, input)
    };
    let running = call("ListStackSetOperations", json!({"StackSetName": PART}))["Summaries"][0].clone();
    assert_eq!(running["Status"], "RUNNING");
    call("StopStackSetOperation", json!({"StackSetName": PART, "OperationId": running["OperationId"]}));
    organization.hours(1);
    assert_eq!(instances(&organization), current(&[HUB, BOTH[0], BOTH[1]], &REGIONS));
    let stack = call("DescribeStacks", json!({"StackName": CLEANUP_STACK}));
    assert_eq!(stack["Stacks"][0]["StackStatus"], "CREATE_COMPLETE");
}

#[test]
fn a_suspended_account_is_named_and_holds_up_neither_rollout_nor_deletion() {
    let organization = hub();
    let before = organization.inventory();
    let management = AccountId::new("999999999999").expect("a constant");
    {
        let mut world = organization.aws.world();
        let root = world.create_organization(&management);
        for account in organization.accounts() {
            world.place_account(&account, &root);
        }
    }
    let everywhere = template(&accounts(&BOTH, &REGIONS));
    organization.create_stack(CLEANUP_STACK, &everywhere, &[]).expect_status("CREATE_COMPLETE");
    organization.aws.world().set_account_status(
        &AccountId::new(BOTH[1]).expect("a constant"),
        simulated_aws::organizations::AccountStatus::Suspended,
    );
    let mut properties = accounts(&BOTH, &REGIONS);
    properties["Rollout"] = json!({"ManagedExecution": false});
    let stack = organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(stack.output("FailedInstances"), "333333333333/eu-west-1, 333333333333/us-east-1");
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    organization.minutes(5);
    let left: BTreeSet<_> = left(&before, &organization)
        .into_iter()
        .filter(|item| item.listed_by != "config:DescribeAggregationAuthorizations")
        .map(|item| item.account.to_string())
        .collect();
    assert_eq!(left, BTreeSet::from([BOTH[1].to_owned()]), "only what nobody can reach");
}
