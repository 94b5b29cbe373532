//! Schedules over the wire, and the whole chain from a schedule to a dead letter.

use aws_sdk_scheduler::error::ProvideErrorMetadata;
use aws_sdk_scheduler::types::{
    ActionAfterCompletion, EventBridgeParameters, FlexibleTimeWindow, FlexibleTimeWindowMode, ScheduleState, Target,
};

use super::*;
use crate::DeliveryFaults;
use crate::events::tests::Stage;
use crate::lambda::tests::{function, map};

fn client(stage: &Stage) -> aws_sdk_scheduler::Client {
    let administrator = Principal::Administrator { account: stage.hub.clone() };
    aws_sdk_scheduler::Client::new(&stage.aws.sdk_config(administrator, &stage.region))
}

fn off() -> FlexibleTimeWindow {
    FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().unwrap()
}

/// A role that may put events, and the default bus as the target.
fn bus_target(stage: &Stage) -> Target {
    let role = stage.role(&stage.hub, "scheduler", PRINCIPAL, &["events:PutEvents", "sqs:SendMessage"]);
    let parameters = EventBridgeParameters::builder().detail_type("Check Due").source("mine").build().unwrap();
    Target::builder()
        .arn(format!("arn:aws:events:{}:{}:event-bus/default", stage.region, stage.hub))
        .role_arn(role)
        .event_bridge_parameters(parameters)
        .input("{\"digest\": \"d\"}")
        .build()
        .unwrap()
}

/// A queue that gets all events of the source `mine`.
fn listener(stage: &Stage) {
    stage.queue("heard", stage.admits("heard", &stage.rule_arn("heard")));
    let target = json!({"Id": "1", "Arn": stage.queue_arn("heard")});
    stage.rule("default", "heard", &json!({"source": ["mine"]}), target);
}

/// `at(…)` so many seconds from now.
fn at(stage: &Stage, seconds: i64) -> String {
    (stage.aws.now() + SignedDuration::from_secs(seconds)).strftime("at(%Y-%m-%dT%H:%M:%S)").to_string()
}

#[test]
fn a_schedule_fires_once_within_its_minute_and_goes_a_while_later() {
    let stage = Stage::new();
    listener(&stage);
    let (client, target) = (client(&stage), bus_target(&stage));
    let create = |token: &str| {
        let create = client.create_schedule().name("s").schedule_expression(at(&stage, 3_630)).target(target.clone());
        create.flexible_time_window(off()).action_after_completion(ActionAfterCompletion::Delete).client_token(token)
    };
    stage.aws.run(create("one").send()).unwrap();
    stage.aws.run(create("one").send()).expect("the same token and the same request");
    let other = stage.aws.run(create("two").send()).unwrap_err();
    assert!(other.into_service_error().is_conflict_exception());
    stage.aws.advance(SignedDuration::from_secs(3_599));
    assert_eq!(stage.messages("heard").len(), 0);
    stage.aws.advance(SignedDuration::from_secs(31));
    let heard = stage.messages("heard");
    assert_eq!(heard.len(), 1);
    assert_eq!((&heard[0]["detail-type"], &heard[0]["detail"]), (&json!("Check Due"), &json!({"digest": "d"})));
    assert_eq!(heard[0]["resources"], json!(["arn:aws:scheduler:eu-west-1:111111111111:schedule/default/s"]));

    // It has fired and is still there: its update is lost with it.
    let update = client.update_schedule().name("s").schedule_expression(at(&stage, 600)).target(target.clone());
    stage.aws.run(update.flexible_time_window(off()).send()).unwrap();
    stage.aws.advance(SignedDuration::from_hours(1));
    assert!(
        stage
            .aws
            .run(client.get_schedule().name("s").send())
            .unwrap_err()
            .into_service_error()
            .is_resource_not_found_exception()
    );
    assert_eq!(stage.messages("heard").len(), 1);
}

#[test]
fn on_the_second_if_aws_is_so() {
    let stage = Stage::new();
    listener(&stage);
    stage.aws.world().behaviours.schedules_fire_at_start_of_minute = false;
    let create =
        client(&stage).create_schedule().name("s").schedule_expression(at(&stage, 90)).target(bus_target(&stage));
    stage.aws.run(create.flexible_time_window(off()).send()).unwrap();
    stage.aws.advance(SignedDuration::from_secs(89));
    assert_eq!(stage.messages("heard").len(), 0);
    stage.aws.advance(SignedDuration::from_secs(1));
    assert_eq!(stage.messages("heard").len(), 1);
}

#[test]
fn a_time_in_the_past_is_refused_or_fires_at_once() {
    let stage = Stage::new();
    listener(&stage);
    let (client, target) = (client(&stage), bus_target(&stage));
    let create = || {
        client
            .create_schedule()
            .name("s")
            .schedule_expression(at(&stage, -60))
            .target(target.clone())
            .flexible_time_window(off())
    };
    let refused = stage.aws.run(create().send()).unwrap_err();
    assert!(refused.into_service_error().is_validation_exception());
    stage.aws.world().behaviours.past_schedule = PastSchedule::FiresAtOnce;
    stage.aws.run(create().send()).unwrap();
    stage.settle();
    assert_eq!(stage.messages("heard").len(), 1);
}

#[test]
fn an_update_resets_what_it_leaves_out() {
    let stage = Stage::new();
    let (client, target) = (client(&stage), bus_target(&stage));
    stage.aws.run(async {
        let create = client.create_schedule().name("s").schedule_expression("rate(1 day)").target(target.clone());
        create.flexible_time_window(off()).description("d").state(ScheduleState::Disabled).send().await.unwrap();
        let described = client.get_schedule().name("s").send().await.unwrap();
        assert_eq!((described.description(), described.state()), (Some("d"), Some(&ScheduleState::Disabled)));
        assert_eq!(described.target().unwrap().retry_policy().unwrap().maximum_retry_attempts(), Some(185));
        let update = client.update_schedule().name("s").schedule_expression("rate(1 day)").target(target.clone());
        update.flexible_time_window(off()).send().await.unwrap();
        let described = client.get_schedule().name("s").send().await.unwrap();
        assert_eq!((described.description(), described.state()), (None, Some(&ScheduleState::Enabled)));
        let update = client.update_schedule().name("other").schedule_expression("rate(1 day)").target(target.clone());
        let missing = update.flexible_time_window(off()).send().await.unwrap_err();
        assert!(missing.into_service_error().is_resource_not_found_exception());
    });
}

#[test]
fn a_rate_begins_at_once_and_goes_on_until_it_is_deleted() {
    let stage = Stage::new();
    listener(&stage);
    let (client, target) = (client(&stage), bus_target(&stage));
    let create = client.create_schedule().name("s").schedule_expression("rate(1 day)").target(target);
    stage.aws.run(create.flexible_time_window(off()).send()).unwrap();
    stage.settle();
    assert_eq!(stage.messages("heard").len(), 1);
    stage.aws.advance(SignedDuration::from_hours(48));
    assert_eq!(stage.messages("heard").len(), 3);
    stage.aws.run(client.delete_schedule().name("s").send()).unwrap();
    stage.aws.advance(SignedDuration::from_hours(24));
    assert_eq!(stage.messages("heard").len(), 3);
}

#[test]
fn groups_are_listed_tagged_and_deleted_in_their_own_time() {
    let stage = Stage::new();
    listener(&stage);
    let (client, target) = (client(&stage), bus_target(&stage));
    stage.aws.run(async {
        let tag = aws_sdk_scheduler::types::Tag::builder().key("owner").value("us").build().unwrap();
        let group = client.create_schedule_group().name("g").tags(tag).send().await.unwrap();
        let tags = client.list_tags_for_resource().resource_arn(group.schedule_group_arn()).send().await.unwrap();
        assert_eq!(tags.tags()[0].value(), "us");
        let again = client.create_schedule_group().name("g").send().await.unwrap_err();
        assert!(again.into_service_error().is_conflict_exception());
        for index in 0..5 {
            let create =
                client.create_schedule().name(format!("s{index}")).group_name("g").schedule_expression(at(&stage, 30));
            create.target(target.clone()).flexible_time_window(off()).send().await.unwrap();
        }
        let pages = client.list_schedules().group_name("g").max_results(2).into_paginator().items().send();
        let names: Vec<_> = pages.collect::<Result<Vec<_>, _>>().await.unwrap();
        assert_eq!(names.len(), 5);
        let absent = client.list_schedules().group_name("h").send().await.unwrap_err();
        assert!(absent.into_service_error().is_resource_not_found_exception());
        client.delete_schedule_group().name("g").send().await.unwrap();
        let state = client.get_schedule_group().name("g").send().await.unwrap();
        assert_eq!(state.state().map(|state| state.as_str()), Some("DELETING"));
        let create = client.create_schedule().name("late").group_name("g").schedule_expression(at(&stage, 300));
        let late = create.target(target.clone()).flexible_time_window(off()).send().await.unwrap_err();
        assert!(late.into_service_error().is_conflict_exception());
    });
    stage.aws.advance(SignedDuration::from_mins(5));
    assert_eq!(stage.messages("heard").len(), 5, "due ones still fire");
    let gone = stage.aws.run(client.get_schedule_group().name("g").send()).unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception());
    assert!(stage.aws.world().schedules_in(&stage.hub, &stage.region, "g").is_empty());
}

#[test]
fn what_scheduler_refuses() {
    let stage = Stage::new();
    let role = stage.role(&stage.hub, "of-lambda", "lambda.amazonaws.com", &["events:PutEvents"]);
    let good = stage.role(&stage.hub, "scheduler", PRINCIPAL, &["sqs:SendMessage"]);
    stage.queue("q", json!({}));
    let base = json!({
        "Name": "s", "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": stage.queue_arn("q"), "RoleArn": good, "Input": "{}"},
    });
    let table = [
        ("/ScheduleExpression", json!("rate(1 week)"), "ValidationException"),
        ("/ScheduleExpression", json!("cron(0 10 * * ? *)"), crate::operation::NOT_SIMULATED),
        ("/Name", json!("a b"), "ValidationException"),
        ("/Name", json!("x".repeat(65)), "ValidationException"),
        (
            "/FlexibleTimeWindow",
            json!({"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}),
            crate::operation::NOT_SIMULATED,
        ),
        ("/Target/RoleArn", json!(role), "ValidationException"),
        ("/Target/Arn", json!("arn:aws:sns:eu-west-1:111111111111:t"), crate::operation::NOT_SIMULATED),
        ("/Target/Arn", json!("arn:aws:events:eu-west-1:111111111111:event-bus/default"), "ValidationException"),
    ];
    for (pointer, value, code) in table {
        let mut input = base.clone();
        *input.pointer_mut(pointer).unwrap() = value.clone();
        assert_eq!(stage.try_call("scheduler", "CreateSchedule", input).unwrap_err().code, code, "{pointer} {value}");
    }
    let mut token = base.clone();
    token["ClientToken"] = json!("x".repeat(65));
    assert_eq!(stage.try_call("scheduler", "CreateSchedule", token).unwrap_err().code, "ValidationException");
    stage.call("scheduler", "CreateSchedule", base);
}

#[test]
fn a_refused_invocation_goes_to_the_dead_letter_queue() {
    let stage = Stage::new();
    let role = stage.role(&stage.hub, "scheduler", PRINCIPAL, &["sqs:SendMessage"]);
    stage.queue("dead", json!({}));
    let target = json!({
        "Arn": "arn:aws:events:eu-west-1:111111111111:event-bus/default", "RoleArn": role, "Input": "{\"a\": 1}",
        "EventBridgeParameters": {"DetailType": "t", "Source": "mine"}, "DeadLetterConfig": {"Arn": stage.queue_arn("dead")},
    });
    let input = json!({"Name": "s", "ScheduleExpression": at(&stage, 60), "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": target});
    stage.call("scheduler", "CreateSchedule", input);
    stage.aws.advance(SignedDuration::from_mins(2));
    assert_eq!(stage.undelivered(), ["AccessDeniedException"]);
    assert_eq!(stage.messages("dead"), [json!({"a": 1})]);
}

#[test]
fn a_schedule_invokes_a_function_by_both_kinds_of_target() {
    let stage = Stage::new();
    let seen = function(&stage, "f", |_| Ok(json!({})));
    let role = stage.role(&stage.hub, "scheduler", PRINCIPAL, &["lambda:InvokeFunction"]);
    let arn = format!("arn:aws:lambda:{}:{}:function:f", stage.region, stage.hub);
    let universal = json!({"FunctionName": arn, "InvocationType": "Event", "Payload": "{\"at\": \"<aws.scheduler.scheduled-time>\"}"});
    let targets = [
        json!({"Arn": arn, "RoleArn": role, "Input": "{\"at\": \"<aws.scheduler.scheduled-time>\"}"}),
        json!({"Arn": UNIVERSAL_INVOKE, "RoleArn": role, "Input": universal.to_string()}),
    ];
    for (index, target) in targets.into_iter().enumerate() {
        let name = format!("s{index}");
        let input = json!({"Name": name, "ScheduleExpression": at(&stage, 60), "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": target});
        stage.call("scheduler", "CreateSchedule", input);
    }
    stage.aws.advance(SignedDuration::from_mins(2));
    let payloads: Vec<Value> = seen.lock().unwrap().iter().map(|(_, payload)| payload.clone()).collect();
    assert_eq!(payloads, vec![json!({"at": "2026-03-02T09:01:00Z"}); 2]);
}

/// Schedule → bus → rule with transformer → queue → mapping → function, which reports a failure → redelivery → dead letter.
#[test]
fn the_whole_chain_from_a_schedule_to_a_dead_letter() {
    let stage = Stage::new();
    stage.queue("dead", json!({}));
    let redrive = json!({"deadLetterTargetArn": stage.queue_arn("dead"), "maxReceiveCount": 3}).to_string();
    let mut attributes = stage.admits("checks", &stage.rule_arn("bus/checks"));
    attributes["RedrivePolicy"] = json!(redrive);
    attributes["VisibilityTimeout"] = json!("180");
    stage.queue("checks", attributes);
    stage.call("events", "CreateEventBus", json!({"Name": "bus"}));
    let transformer = json!({"InputTemplate": r#"{"cleanup": {"name": "prod"}, "event": <aws.events.event.json>}"#});
    let target = json!({"Id": "1", "Arn": stage.queue_arn("checks"), "InputTransformer": transformer});
    stage.rule(
        "bus",
        "checks",
        &json!({"source": ["mine"], "account": ["111111111111"], "detail-type": ["Check Due"]}),
        target,
    );
    let seen = function(&stage, "check", |payload| {
        let failed = payload["Records"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|record| record["body"].as_str().unwrap().contains("bad"));
        Ok(
            json!({"batchItemFailures": failed.map(|record| json!({"itemIdentifier": record["messageId"]})).collect::<Vec<_>>()}),
        )
    });
    map(&stage, "checks", "check", json!({"FunctionResponseTypes": ["ReportBatchItemFailures"]})).unwrap();
    let role = stage.role(&stage.hub, "scheduler", PRINCIPAL, &["events:PutEvents"]);
    stage.call("scheduler", "CreateScheduleGroup", json!({"Name": "g"}));
    for digest in ["good", "bad"] {
        let target = json!({
            "Arn": "arn:aws:events:eu-west-1:111111111111:event-bus/bus", "RoleArn": role,
            "EventBridgeParameters": {"DetailType": "Check Due", "Source": "mine"}, "Input": json!({"digest": digest}).to_string(),
        });
        let input = json!({
            "Name": digest, "GroupName": "g", "ScheduleExpression": at(&stage, 3_600), "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": target, "ActionAfterCompletion": "DELETE",
        });
        stage.call("scheduler", "CreateSchedule", input);
    }
    stage.aws.advance(SignedDuration::from_mins(61));
    let bodies = |index: usize| -> Vec<Value> {
        let seen = seen.lock().unwrap();
        let records = seen[index].1["Records"].as_array().unwrap().iter();
        records.map(|record| serde_json::from_str(record["body"].as_str().unwrap()).unwrap()).collect()
    };
    let seen_before = seen.lock().unwrap().len();
    assert!((1..=2).contains(&seen_before));
    assert_eq!(bodies(0)[0]["cleanup"]["name"], "prod");
    stage.aws.advance(SignedDuration::from_mins(30));
    let seen_after = seen.lock().unwrap().len();
    let retried: Vec<Value> = (seen_before..seen_after).flat_map(bodies).collect();
    assert_eq!(retried.iter().map(|body| &body["event"]["detail"]["digest"]).collect::<Vec<_>>(), ["bad", "bad"]);
    let dead = stage.messages("dead");
    assert_eq!(dead.iter().map(|body| &body["event"]["detail"]["digest"]).collect::<Vec<_>>(), ["bad"]);
    assert!(stage.messages("checks").is_empty());
    assert!(
        stage.aws.world().schedules_in(&stage.hub, &stage.region, "g").is_empty(),
        "they are gone after completion"
    );
}

#[test]
fn an_invocation_may_come_twice() {
    let stage = Stage::new();
    listener(&stage);
    let create =
        client(&stage).create_schedule().name("s").schedule_expression(at(&stage, 60)).target(bus_target(&stage));
    stage.aws.run(create.flexible_time_window(off()).send()).unwrap();
    stage.aws.world().set_delivery_faults(DeliveryFaults { doubled: 1.0, ..DeliveryFaults::default() });
    stage.aws.advance(SignedDuration::from_mins(2));
    // Twice invoked, each event delivered twice, each message twice in the queue.
    assert_eq!(stage.messages("heard").len(), 8);
    let code = stage.aws.run(client(&stage).delete_schedule().name("unknown").send()).unwrap_err().into_service_error();
    assert_eq!(code.code(), Some("ResourceNotFoundException"));
}
