//! The provider's answers (promise P1): each request gets a valid one in time, whatever happens, and all answers to one
//! request agree.

use std::collections::{BTreeMap, BTreeSet};

use end_to_end::cleanup::{BOTH, REGIONS, accounts, changes, current, failure, hub, instances, left, template};
use end_to_end::{CLEANUP_STACK, Item, Organization};
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulated_aws::{CallSummary, DeliveryFaults, Fault, ServiceError};

fn everywhere() -> String {
    template(&accounts(&BOTH, &REGIONS))
}

/// Whether the provider makes the call.
fn by_provider(call: &CallSummary) -> bool {
    call.principal.arn().contains("/ecr-cleanup-provider-")
}

/// Lets a fault befall the provider's next calls of an operation, so many of them.
fn next_calls(organization: &Organization, operation: &'static str, mut times: u32, fault: fn() -> Fault) {
    organization.aws.world().add_fault_plan(move |call| {
        let strikes = times > 0 && by_provider(call) && call.operation == operation;
        times -= u32::from(strikes);
        strikes.then(fault)
    });
}

/// What CloudFormation heard, by request: status and physical id of each answer.
fn answers(organization: &Organization) -> BTreeMap<String, Vec<(String, String)>> {
    let text = |answer: &Value, member: &str| answer[member].as_str().unwrap_or_default().to_owned();
    let mut answers: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for answer in organization.aws.world().custom_resource_answers() {
        let said = (text(answer, "Status"), text(answer, "PhysicalResourceId"));
        answers.entry(text(answer, "RequestId")).or_default().push(said);
    }
    answers
}

/// How many messages the on-failure queue of the provider holds.
fn dead_letters(organization: &Organization) -> String {
    let call = |operation, input| organization.call(&organization.hub, organization.home(), "sqs", operation, input);
    let url = call("GetQueueUrl", json!({"QueueName": "ecr-cleanup-provider-dead-letters"}))["QueueUrl"].clone();
    let input = json!({"QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessages"]});
    let attributes = call("GetQueueAttributes", input);
    attributes["Attributes"]["ApproximateNumberOfMessages"].as_str().expect("text").to_owned()
}

/// What is left of it, but for what is retained.
fn remains(before: &BTreeSet<Item>, organization: &Organization) -> Vec<Item> {
    organization.minutes(5);
    let left = left(before, organization);
    // A stack that was rolled back is still listed.
    let known = ["config:DescribeAggregationAuthorizations", "cloudformation:DescribeStacks"];
    left.into_iter().filter(|item| !known.contains(&item.listed_by.as_str())).collect()
}

#[test]
fn a_panic_is_answered_with_what_the_provider_was_at() {
    let organization = hub();
    let before = organization.inventory();
    next_calls(&organization, "CreateEventBus", 1, || Fault::Meanwhile(Box::new(|_| panic!("a bug"))));
    organization.create_stack(CLEANUP_STACK, &everywhere(), &[]).expect_status("ROLLBACK_COMPLETE");
    let reason = failure(&organization);
    assert!(reason.contains("the provider panicked at the event bus: a bug"), "{reason}");
    assert_eq!(remains(&before, &organization), [] as [Item; 0]);
    assert_eq!(dead_letters(&organization), "0");
}

#[test]
fn a_refused_call_is_answered_with_its_name_and_what_aws_said() {
    let organization = hub();
    next_calls(&organization, "PutConfigurationAggregator", 1, || {
        Fault::Refuse(ServiceError::new("InvalidRoleException", "no such role"))
    });
    organization.create_stack(CLEANUP_STACK, &everywhere(), &[]).expect_status("ROLLBACK_COMPLETE");
    let reason = failure(&organization);
    let expected =
        "config:PutConfigurationAggregator of ecr-cleanup-prod-accounts failed: InvalidRoleException: no such role";
    assert!(reason.contains(expected), "{reason}");
}

#[test]
fn an_error_of_aws_that_passes_within_half_a_minute_fails_nothing() {
    let organization = hub();
    next_calls(&organization, "PutRule", 9, || Fault::ServerError);
    next_calls(&organization, "CreateStackSet", 7, || Fault::Throttle);
    next_calls(&organization, "PutConfigurationAggregator", 4, || Fault::Timeout);
    organization.create_stack(CLEANUP_STACK, &everywhere(), &[]).expect_status("CREATE_COMPLETE");
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_answered_within_minutes() {
    for fault in [|| Fault::Timeout, || Fault::ServerError] {
        let organization = hub();
        let before = organization.inventory();
        next_calls(&organization, "CreateScheduleGroup", u32::MAX, fault);
        let begun = organization.aws.now();
        organization.create_stack(CLEANUP_STACK, &everywhere(), &[]).expect_status("ROLLBACK_COMPLETE");
        assert!(begun.duration_until(organization.aws.now()) < SignedDuration::from_mins(5));
        assert!(failure(&organization).contains("scheduler:CreateScheduleGroup of"), "{}", failure(&organization));
        assert_eq!(remains(&before, &organization), [] as [Item; 0]);
    }
}

#[test]
fn calls_that_hang_are_given_up_and_answered_within_minutes() {
    let organization = hub();
    next_calls(&organization, "CreateEventBus", 1, || Fault::Hang);
    organization.create_stack(CLEANUP_STACK, &everywhere(), &[]).expect_status("CREATE_COMPLETE");

    let organization = hub();
    next_calls(&organization, "CreateEventBus", u32::MAX, || Fault::Hang);
    let begun = organization.aws.now();
    organization.create_stack(CLEANUP_STACK, &everywhere(), &[]).expect_status("ROLLBACK_COMPLETE");
    assert!(failure(&organization).contains("events:CreateEventBus of"), "{}", failure(&organization));
    assert!(begun.duration_until(organization.aws.now()) < SignedDuration::from_mins(5));
}

/// Lets the provider's function run for at most so many seconds.
fn function_timeout(organization: &Organization, seconds: u32) {
    let input = json!({"FunctionName": "ecr-cleanup-provider", "Timeout": seconds});
    organization.call(&organization.hub, organization.home(), "lambda", "UpdateFunctionConfiguration", input);
}

#[test]
fn work_that_takes_longer_than_the_function_may_is_cut_off_and_resumed() {
    let organization = hub();
    function_timeout(&organization, 80);
    organization.aws.world().latency = SignedDuration::from_secs(3);
    organization.create_stack(CLEANUP_STACK, &everywhere(), &[]).expect_status("CREATE_COMPLETE");
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS));
    organization.aws.world().latency = SignedDuration::ZERO;
    organization.minutes(20);
    assert_eq!(dead_letters(&organization), "0", "no run was killed");
}

#[test]
fn work_that_never_comes_to_an_end_is_answered_before_cloudformation_gives_up() {
    let organization = hub();
    function_timeout(&organization, 30);
    organization.aws.world().latency = SignedDuration::from_secs(3);
    let begun = organization.aws.now();
    let stack = organization.create_stack(CLEANUP_STACK, &everywhere(), &[]);
    assert!(stack.status().starts_with("ROLLBACK_"), "{}", stack.status());
    let reason = failure(&organization);
    assert!(reason.contains("did not come to an end"), "{reason}");
    assert!(begun.duration_until(organization.aws.now()) < SignedDuration::from_mins(120), "both were answered");
}

#[test]
fn a_short_service_timeout_is_kept_too() {
    let organization = hub();
    let mut properties = accounts(&BOTH, &REGIONS);
    properties["ServiceTimeout"] = json!(60);
    next_calls(&organization, "CreateScheduleGroup", u32::MAX, || Fault::Hang);
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("ROLLBACK_COMPLETE");
    assert!(failure(&organization).contains("the schedule group did not come"), "{}", failure(&organization));
    // Not even the first minutes of a rollout are waited for, or not many.
    for timeout in [60, 120, 300, 600] {
        let organization = hub();
        organization.aws.world().behaviours.stack_set_operation_pause = SignedDuration::from_mins(15);
        properties["ServiceTimeout"] = json!(timeout);
        let stack = organization.create_stack(CLEANUP_STACK, &template(&properties), &[]);
        assert_eq!(stack.expect_status("CREATE_COMPLETE").output("RolloutPending"), "true", "{timeout} s");
    }
}

#[test]
fn an_answer_that_is_lost_on_the_way_is_sent_again() {
    let faults: [fn() -> Fault; 3] = [|| Fault::Timeout, || Fault::ServerError, || Fault::LostAnswer];
    for fault in faults {
        let organization = hub();
        organization.aws.world().spoil_custom_resource_answers((0..3).map(|_| fault()));
        organization.create_stack(CLEANUP_STACK, &everywhere(), &[]).expect_status("CREATE_COMPLETE");
        assert_eq!(dead_letters(&organization), "0");
        assert_agreement(&organization);
    }
}

#[test]
fn an_answer_that_nobody_takes_is_tried_again_by_the_next_delivery() {
    let organization = hub();
    organization.aws.world().spoil_custom_resource_answers((0..6).map(|_| Fault::ServerError));
    organization.create_stack(CLEANUP_STACK, &everywhere(), &[]).expect_status("CREATE_COMPLETE");
}

/// All answers to one request say the same.
fn assert_agreement(organization: &Organization) {
    let answers = answers(organization);
    assert!(!answers.is_empty());
    for (request, said) in answers {
        let different: BTreeSet<_> = said.iter().collect();
        assert_eq!(different.len(), 1, "request {request} was answered with {said:?}");
    }
}

#[test]
fn requests_that_are_delivered_twice_are_answered_alike_and_done_once() {
    for late_by in [0, 40, 200] {
        let organization = hub();
        let before = organization.inventory();
        organization.aws.world().set_delivery_faults(DeliveryFaults {
            doubled: 1.0,
            late: if late_by == 0 { 0.0 } else { 1.0 },
            late_by: SignedDuration::from_secs(late_by),
            ..DeliveryFaults::default()
        });
        organization.create_stack(CLEANUP_STACK, &everywhere(), &[]).expect_status("CREATE_COMPLETE");
        assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS));
        let fewer = template(&accounts(&BOTH[..1], &REGIONS));
        organization.update_stack(CLEANUP_STACK, &fewer, &[]).expect_status("UPDATE_COMPLETE");
        assert_eq!(instances(&organization), current(&["111111111111", BOTH[0]], &REGIONS));
        organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
        assert_eq!(remains(&before, &organization), [] as [Item; 0], "{late_by}");
        assert_agreement(&organization);
    }
}

#[test]
fn a_function_that_is_killed_each_time_leaves_a_message_in_the_queue_of_failures() {
    let organization = hub();
    next_calls(&organization, "CreateEventBus", 3, || Fault::CrashBefore);
    let status = organization.create_stack(CLEANUP_STACK, &everywhere(), &[]);
    status.expect_status("ROLLBACK_COMPLETE");
    assert!(failure(&organization).contains("did not receive a response"), "{}", failure(&organization));
    assert_eq!(dead_letters(&organization), "1");
}

#[test]
fn a_delivery_that_a_deletion_has_overtaken_brings_nothing_back() {
    // It died before its first call, or after some; its next run comes while the stack is deleted, or afterwards.
    for (operation, after) in [("DescribeStacks", 0), ("CreateEventBus", 0), ("CreateEventBus", 2)] {
        let organization = hub();
        let before = organization.inventory();
        next_calls(&organization, operation, 1, || Fault::CrashAfter);
        let input = json!({"StackName": CLEANUP_STACK, "TemplateBody": everywhere()});
        organization.call(&organization.hub, organization.home(), "cloudformation", "CreateStack", input);
        organization.aws.advance(SignedDuration::from_secs(10));
        organization.minutes(after);
        organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
        organization.hours(2);
        assert_eq!(remains(&before, &organization), [] as [Item; 0], "{operation}");
        assert_eq!(dead_letters(&organization), "0");
    }
}

#[test]
fn a_resumption_that_a_rollback_has_overtaken_stops_without_an_answer() {
    let organization = hub();
    let narrow = template(&accounts(&BOTH[..1], &REGIONS));
    organization.create_stack(CLEANUP_STACK, &narrow, &[]).expect_status("CREATE_COMPLETE");
    let mut wider = accounts(&BOTH, &REGIONS);
    wider["ServiceTimeout"] = json!(1200);
    organization.aws.world().behaviours.stack_set_operation_pause = SignedDuration::from_mins(7);
    let input = json!({"StackName": CLEANUP_STACK, "TemplateBody": template(&wider)});
    organization.call(&organization.hub, organization.home(), "cloudformation", "UpdateStack", input);
    // The resumption is on its way for longer than CloudFormation waits.
    organization.minutes(1);
    let late = DeliveryFaults { late: 1.0, late_by: SignedDuration::from_hours(5), ..DeliveryFaults::default() };
    organization.aws.world().set_delivery_faults(late);
    organization.minutes(15);
    organization.aws.world().set_delivery_faults(DeliveryFaults::default());
    organization.aws.world().behaviours.stack_set_operation_pause = SignedDuration::from_secs(5);
    organization.minutes(60);
    let rolled_back = failure(&organization);
    assert!(rolled_back.contains("did not receive a response"), "{rolled_back}");
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0]], &REGIONS));
    organization.hours(6);
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0]], &REGIONS), "it came in the end");
    assert_agreement(&organization);
}

/// The request that CloudFormation sent last.
fn latest_request(organization: &Organization) -> String {
    organization.aws.world().custom_resource_requests().last().expect("a request was sent").to_string()
}

/// Hands a request to the provider once more, as Lambda may at any time.
fn deliver_again(organization: &Organization, payload: &str) {
    let input = json!({"FunctionName": "ecr-cleanup-provider", "InvocationType": "Event", "Payload": payload});
    organization.call(&organization.hub, organization.home(), "lambda", "Invoke", input);
}

/// Begins an update of the stack.
fn begin_update(organization: &Organization, properties: &Value) {
    let input = json!({"StackName": CLEANUP_STACK, "TemplateBody": template(properties)});
    organization.call(&organization.hub, organization.home(), "cloudformation", "UpdateStack", input);
}

/// The status of the stack.
fn status(organization: &Organization) -> String {
    let input = json!({"StackName": CLEANUP_STACK});
    let described =
        organization.call(&organization.hub, organization.home(), "cloudformation", "DescribeStacks", input);
    described["Stacks"][0]["StackStatus"].as_str().expect("a status").to_owned()
}

#[test]
fn a_request_that_is_delivered_again_during_a_later_update_leaves_that_alone() {
    let organization = hub();
    let narrow = accounts(&BOTH[..1], &REGIONS[..1]);
    organization.create_stack(CLEANUP_STACK, &template(&narrow), &[]).expect_status("CREATE_COMPLETE");
    let mut former = narrow.clone();
    former["RollbackWindowHours"] = json!(72);
    organization.update_stack(CLEANUP_STACK, &template(&former), &[]).expect_status("UPDATE_COMPLETE");
    let payload = latest_request(&organization);
    organization.aws.world().behaviours.stack_set_operation_pause = SignedDuration::from_mins(5);
    begin_update(&organization, &accounts(&BOTH, &REGIONS[..1]));
    // It waits to be resumed.
    organization.minutes(1);
    organization.aws.world().clear_calls();
    deliver_again(&organization, &payload);
    organization.aws.advance(SignedDuration::from_secs(20));
    assert_eq!(changes(&organization), [] as [String; 0]);
    organization.minutes(30);
    assert_eq!(status(&organization), "UPDATE_COMPLETE");
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS[..1]));
    assert_agreement(&organization);
}

#[test]
fn a_request_that_was_answered_with_a_failure_does_nothing_when_it_is_delivered_again() {
    let organization = hub();
    let narrow = accounts(&BOTH[..1], &REGIONS[..1]);
    organization.create_stack(CLEANUP_STACK, &template(&narrow), &[]).expect_status("CREATE_COMPLETE");
    // Both ways take a while, the way back longer: in it the stack is at work on the resource again.
    let (mut refused, mut slowed) = (false, 6);
    organization.aws.world().add_fault_plan(move |call| match call.operation {
        "PutTargets" if !std::mem::replace(&mut refused, true) => {
            slowed = 12;
            Some(Fault::Refuse(ServiceError::new("ManagedRuleException", "not ours")))
        }
        "PutPermission" if slowed > 0 => {
            slowed -= 1;
            Some(Fault::ServerError)
        }
        _ => None,
    });
    let mut wider = accounts(&BOTH, &REGIONS[..1]);
    wider["DryRun"] = json!(true);
    begin_update(&organization, &wider);
    organization.aws.advance(SignedDuration::from_secs(2));
    let payload = latest_request(&organization);
    assert!(payload.contains("DryRun"), "{payload}");
    for _ in 0..60 {
        if status(&organization) == "UPDATE_ROLLBACK_IN_PROGRESS" {
            break;
        }
        organization.aws.advance(SignedDuration::from_secs(1));
    }
    organization.aws.advance(SignedDuration::from_secs(5));
    assert_eq!(status(&organization), "UPDATE_ROLLBACK_IN_PROGRESS");
    organization.aws.world().clear_calls();
    deliver_again(&organization, &payload);
    organization.minutes(10);
    assert_eq!(status(&organization), "UPDATE_ROLLBACK_COMPLETE");
    let forward = |call: &String| call != "events:PutPermission";
    let made: Vec<_> = changes(&organization).into_iter().filter(forward).collect();
    assert_eq!(made, [] as [String; 0], "only the way back");
    let answered = answers(&organization);
    assert!(answered.values().all(|said| said.len() == 1), "{answered:?}");
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0]], &REGIONS[..1]));
}

#[test]
fn the_last_look_before_the_answer_is_patient_too() {
    let organization = hub();
    let mut properties = accounts(&BOTH, &REGIONS);
    properties["ServiceTimeout"] = json!(75);
    // Lambda runs it again a minute later, when nothing is waited for any more.
    next_calls(&organization, "DescribeStacks", 1, || Fault::CrashAfter);
    next_calls(&organization, "GetScheduleGroup", 3, || Fault::ServerError);
    let begun = organization.aws.now();
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    let world = organization.aws.world();
    let failed = world.calls().iter().find(|call| call.operation == "GetScheduleGroup" && call.outcome.is_err());
    let at = begun.duration_until(failed.expect("the fault struck").at);
    assert!(at >= SignedDuration::from_secs(60), "{at}");
}

#[test]
fn a_resumption_that_cannot_be_scheduled_at_once_is_tried_again() {
    let organization = hub();
    organization.aws.world().behaviours.stack_set_operation_pause = SignedDuration::from_mins(2);
    let (mut times, mut noted) = (7, false);
    organization.aws.world().add_fault_plan(move |call| {
        // Not the schedule of sweeps.
        noted |= call.operation == "CreateStackInstances";
        let strikes = noted && times > 0 && by_provider(call) && call.operation == "CreateSchedule";
        times -= i32::from(strikes);
        strikes.then_some(Fault::ServerError)
    });
    organization.create_stack(CLEANUP_STACK, &everywhere(), &[]).expect_status("CREATE_COMPLETE");
    assert_agreement(&organization);
}

#[test]
fn the_longest_reason_fits_an_answer_and_keeps_its_beginning() {
    let organization = hub();
    let mut properties = accounts(&BOTH, &REGIONS);
    properties["RollbackWindowHours"] = json!("not a number");
    for number in 0..200 {
        properties[format!("Unknown{number}")] = json!("\u{1F600}\"");
    }
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("ROLLBACK_COMPLETE");
    let reason = failure(&organization);
    assert!(reason.contains("RollbackWindowHours: expected a whole number"), "{reason}");
    assert!(reason.contains("cut"), "{reason}");
}
