//! Faults at every call of the provider (promises P2 and P3): a request that is stopped before or after its call number *k*,
//! or whose call fails, ends as if nothing had happened, or in a rollback that leaves what was there before. For every *k* of
//! each request type; what belongs to others stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use end_to_end::cleanup::{PART, left, refused, template};
use end_to_end::{CLEANUP_STACK, Item, Organization, install_hub};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulated_aws::{CallSummary, Fault};

/// The request that is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Create,
    Update,
    Delete,
}

/// What happens at the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disturbance {
    /// The function dies before the call takes effect, and is run again.
    StopBefore,
    /// The function dies after the call took effect, and is run again.
    StopAfter,
    /// The function dies before the call takes effect, and the stack is deleted at once.
    StopBeforeAndDelete,
    /// The function dies after the call took effect, and the stack is deleted at once.
    StopAfterAndDelete,
    /// The call is throttled, fails or is not answered, once; by its number.
    FailOnce,
    /// The call takes effect and its answer is lost.
    LoseAnswer,
    /// All calls of that operation fail for a minute, which is longer than the provider puts up with.
    FailForAMinute,
}

const EVERY: [(Request, Disturbance); 17] = {
    use Disturbance::*;
    use Request::*;
    [
        (Create, StopBefore),
        (Create, StopAfter),
        (Create, StopBeforeAndDelete),
        (Create, StopAfterAndDelete),
        (Create, FailOnce),
        (Create, LoseAnswer),
        (Create, FailForAMinute),
        (Update, StopBefore),
        (Update, StopAfter),
        (Update, FailOnce),
        (Update, LoseAnswer),
        (Update, FailForAMinute),
        (Delete, StopBefore),
        (Delete, StopAfter),
        (Delete, FailOnce),
        (Delete, LoseAnswer),
        (Delete, FailForAMinute),
    ]
};

/// Properties before and after an update that changes everything that can change in place.
fn properties(after: bool) -> Value {
    let workloads = |account: &str, regions: Value| json!({"Accounts": {"AccountIds": [account]}, "Regions": regions});
    if after {
        json!({
            "Name": "prod", "Workloads": workloads("333333333333", json!(["eu-west-1"])), "RollbackWindowHours": 72,
            "DryRun": true, "KeepTagPatterns": ["v*"], "OptInTag": {"Key": "ecr-cleanup", "Value": "please"},
        })
    } else {
        json!({"Name": "prod", "Workloads": workloads("222222222222", json!(["eu-west-1"]))})
    }
}

/// An organization with the hub's stack, and with parts of others.
fn scene() -> Organization {
    let organization = Organization::of_size(1, 2, 1);
    // Waiting repeats the same calls, which tells nothing new.
    organization.aws.world().behaviours.schedule_group_deletion_takes = SignedDuration::from_secs(8);
    organization.aws.world().behaviours.stack_set_operation_pause = SignedDuration::from_secs(1);
    install_hub(&organization);
    let call = |service, operation, input| {
        organization.call(&organization.hub, organization.home(), service, operation, input)
    };
    call("events", "CreateEventBus", json!({"Name": "theirs"}));
    call("scheduler", "CreateScheduleGroup", json!({"Name": "theirs"}));
    let sources = json!([{"AccountIds": ["111111111111"], "AllAwsRegions": true}]);
    let aggregator = json!({"ConfigurationAggregatorName": "theirs", "AccountAggregationSources": sources});
    call("config", "PutConfigurationAggregator", aggregator);
    let template = "Resources: {Group: {Type: AWS::Scheduler::ScheduleGroup}}";
    call("cloudformation", "CreateStackSet", json!({"StackSetName": "theirs", "TemplateBody": template}));
    organization
}

/// All that the provider makes, as it is.
fn parts(organization: &Organization) -> Value {
    let call = |service, operation, input| {
        organization.call(&organization.hub, organization.home(), service, operation, input)
    };
    let bus = call("events", "DescribeEventBus", json!({"Name": PART}));
    let listed = call("events", "ListRules", json!({"EventBusName": PART}));
    let rules: BTreeMap<_, _> = listed["Rules"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|rule| {
            let name = rule["Name"].as_str().expect("a name").to_owned();
            let targets = call("events", "ListTargetsByRule", json!({"EventBusName": PART, "Rule": name}));
            (name, json!([rule["EventPattern"], rule["State"], targets["Targets"]]))
        })
        .collect();
    let input = json!({"ConfigurationAggregatorNames": [PART]});
    let aggregators = call("config", "DescribeConfigurationAggregators", input);
    let group = call("scheduler", "GetScheduleGroup", json!({"Name": PART}));
    let set = call("cloudformation", "DescribeStackSet", json!({"StackSetName": PART}));
    let listed = call("cloudformation", "ListStackInstances", json!({"StackSetName": PART}));
    let instances: Vec<_> = listed["Summaries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|instance| json!([instance["Account"], instance["Region"], instance["Status"]]))
        .collect();
    json!({
        "policy": bus["Policy"],
        "rules": rules,
        "sources": aggregators["ConfigurationAggregators"][0]["AccountAggregationSources"],
        "group": group["State"],
        "parameters": set["StackSet"]["Parameters"],
        "instances": instances,
    })
}

/// Disturbs the provider at its call number `at`, counted from now, and tells in the end at which call that was.
fn disturb(organization: &Organization, disturbance: Disturbance, at: usize) -> Arc<Mutex<Option<String>>> {
    let struck = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&struck);
    let mut number = 0;
    let mut failing: Option<(&'static str, Timestamp)> = None;
    let clock = organization.aws.clone();
    organization.aws.world().add_fault_plan(move |call: &CallSummary| {
        if !call.principal.arn().contains("/ecr-cleanup-provider-") {
            return None;
        }
        number += 1;
        if number == at {
            *noted.lock().expect("unpoisoned") = Some(format!("{}:{}", call.service, call.operation));
            failing = Some((call.operation, clock.now() + SignedDuration::from_mins(1)));
        }
        match disturbance {
            Disturbance::FailForAMinute => {
                let (operation, until) = failing?;
                (call.operation == operation && clock.now() < until).then_some(Fault::ServerError)
            }
            _ if number != at => None,
            Disturbance::StopBefore | Disturbance::StopBeforeAndDelete => Some(Fault::CrashBefore),
            Disturbance::StopAfter | Disturbance::StopAfterAndDelete => Some(Fault::CrashAfter),
            Disturbance::LoseAnswer => Some(Fault::LostAnswer),
            Disturbance::FailOnce => Some(match at % 3 {
                0 => Fault::Throttle,
                1 => Fault::ServerError,
                _ => Fault::Timeout,
            }),
        }
    });
    struck
}

/// Begins an operation of the stack.
fn begin(organization: &Organization, request: Request) {
    let input = match request {
        Request::Create => json!({"StackName": CLEANUP_STACK, "TemplateBody": template(&properties(false))}),
        Request::Update => json!({"StackName": CLEANUP_STACK, "TemplateBody": template(&properties(true))}),
        Request::Delete => json!({"StackName": CLEANUP_STACK}),
    };
    let operation = format!("{request:?}Stack");
    organization.call(&organization.hub, organization.home(), "cloudformation", &operation, input);
}

/// The stack's status; none when it is deleted.
fn status(organization: &Organization) -> Option<String> {
    let input = json!({"StackName": CLEANUP_STACK});
    let described =
        organization.aws.call(&organization.hub, organization.home(), "cloudformation", "DescribeStacks", input);
    described.ok().and_then(|described| described["Stacks"][0]["StackStatus"].as_str().map(str::to_owned))
}

/// Lets time go on until the stack's operation has ended.
fn settle(organization: &Organization) -> Option<String> {
    for _ in 0..400 {
        let status = status(organization);
        if !status.as_ref().is_some_and(|status| status.ends_with("_IN_PROGRESS")) {
            return status;
        }
        organization.aws.advance(SignedDuration::from_secs(30));
    }
    panic!("the stack is still at work: {:?}", status(organization));
}

/// Deletes the stack, as often as that needs, and checks that nothing is left.
fn remove(organization: &Organization, before: &BTreeSet<Item>) {
    for _ in 0..3 {
        if settle(organization).is_none() {
            break;
        }
        begin(organization, Request::Delete);
    }
    assert_eq!(settle(organization), None);
    // What was on its way may come now.
    organization.minutes(10);
    let kept = "config:DescribeAggregationAuthorizations";
    let left: Vec<_> = left(before, organization).into_iter().filter(|item| item.listed_by != kept).collect();
    assert_eq!(left, [] as [Item; 0], "it left something behind");
}

/// Disturbs one call of a request, and checks how it ends. The name of the call, or none if there were fewer calls.
fn history(request: Request, disturbance: Disturbance, at: usize, desired: &[Value; 2]) -> Option<String> {
    let organization = scene();
    let before = organization.inventory();
    if request != Request::Create {
        begin(&organization, Request::Create);
        assert_eq!(settle(&organization).as_deref(), Some("CREATE_COMPLETE"));
    }
    let struck = disturb(&organization, disturbance, at);
    begin(&organization, request);
    if matches!(disturbance, Disturbance::StopBeforeAndDelete | Disturbance::StopAfterAndDelete) {
        while struck.lock().expect("unpoisoned").is_none()
            && status(&organization).as_deref() == Some("CREATE_IN_PROGRESS")
        {
            organization.aws.advance(SignedDuration::from_secs(1));
        }
        if struck.lock().expect("unpoisoned").is_some() {
            begin(&organization, Request::Delete);
        }
    }
    let ended = settle(&organization);
    let call = struck.lock().expect("unpoisoned").clone();
    let scene = format!("{request:?}, {disturbance:?} at call {at} ({call:?}) ended {ended:?}");
    let answers = organization.aws.world().custom_resource_answers().to_vec();
    let reasons: Vec<_> = answers.iter().map(|answer| answer["Reason"].clone()).collect();
    let context = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let patient = !matches!(disturbance, Disturbance::FailForAMinute);
        match ended.as_deref() {
            Some("CREATE_COMPLETE") => assert_eq!(parts(&organization), desired[0]),
            Some("UPDATE_COMPLETE") => assert_eq!(parts(&organization), desired[1]),
            Some("UPDATE_ROLLBACK_COMPLETE") if !patient => assert_eq!(parts(&organization), desired[0]),
            Some("ROLLBACK_COMPLETE" | "DELETE_FAILED") if !patient => {}
            None => {}
            _ => panic!("that is no end"),
        }
        organization.aws.world().clear_fault_plans();
        remove(&organization, &before);
        let missing: Vec<_> = before.difference(&organization.inventory()).cloned().collect();
        assert_eq!(missing, [] as [Item; 0], "it took something of others");
        // The retry of a deletion whose answer was lost: IAM knows no tags of what is gone.
        let gone = |refusal: &String| refusal.contains("config:DeleteConfigurationAggregator");
        let refused: Vec<_> = refused(&organization).into_iter().filter(|refusal| !gone(refusal)).collect();
        assert_eq!(refused, [] as [String; 0]);
        let mut answers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for answer in organization.aws.world().custom_resource_answers() {
            let said = format!("{} {}", answer["Status"], answer["PhysicalResourceId"]);
            answers.entry(answer["RequestId"].to_string()).or_default().insert(said);
        }
        assert!(answers.values().all(|said| said.len() == 1), "{answers:?}");
    }));
    if let Err(panic) = context {
        eprintln!("{scene}\n{reasons:#?}");
        std::panic::resume_unwind(panic);
    }
    call
}

#[test]
fn a_fault_at_any_call_ends_as_desired_or_empty() {
    let undisturbed = scene();
    begin(&undisturbed, Request::Create);
    settle(&undisturbed);
    let created = parts(&undisturbed);
    begin(&undisturbed, Request::Update);
    settle(&undisturbed);
    let desired = [created, parts(&undisturbed)];
    assert_ne!(desired[0], desired[1]);
    let next = AtomicUsize::new(0);
    let counts: Mutex<Vec<(Request, Disturbance, usize)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((request, disturbance)) = EVERY.get(next.fetch_add(1, Ordering::SeqCst)).copied() {
                    let mut at = 1;
                    while history(request, disturbance, at, &desired).is_some() {
                        at += 1;
                    }
                    counts.lock().expect("unpoisoned").push((request, disturbance, at - 1));
                }
            });
        }
    });
    let counts = counts.into_inner().expect("unpoisoned");
    assert_eq!(counts.len(), EVERY.len());
    for (request, disturbance, calls) in counts {
        let least = if request == Request::Delete { 20 } else { 30 };
        assert!(calls >= least, "{request:?}, {disturbance:?}: only {calls} calls were disturbed");
    }
}
