//! What the functions do with batches of messages: share work, tell outcomes together, and let none hold up another.

use std::collections::BTreeMap;

use end_to_end::{Installation, Mutability, Organization};
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulated_aws::Principal;
use simulated_aws::config::{Delays, set_delays};

/// Where AWS Config takes so long to capture a change.
fn installed(capture: SignedDuration) -> Organization {
    let organization = Organization::of_size(1, 1, 1);
    Installation::through_cloudformation(&organization);
    let delays = Delays { capture: (capture, capture), ..Delays::default() };
    set_delays(&mut organization.aws.world(), delays);
    organization
}

/// How often a function called which operation.
fn calls_of(organization: &Organization, function: &str) -> BTreeMap<&'static str, usize> {
    let mut counted = BTreeMap::new();
    for call in organization.aws.world().calls() {
        if matches!(&call.principal, Principal::Role { role, .. } if role.starts_with(&format!("ecr-cleanup-{function}-")))
        {
            *counted.entry(call.operation).or_default() += 1;
        }
    }
    counted
}

#[test]
fn images_are_resolved_in_as_many_calls_as_there_are_repositories() {
    // Only CloudTrail tells of the task definition while calls are counted.
    let organization = installed(SignedDuration::from_hours(3));
    for repository in ["one", "two"] {
        organization.repository(repository, Mutability::Immutable);
    }
    let (first, second) = (organization.push("one", "v1"), organization.push("two", "v1"));
    organization.push("one", "v2");
    let images = [
        organization.by_tag("one", "v1"),
        organization.by_digest(&first),
        organization.by_tag("one", "v2"),
        organization.by_digest(&second),
        organization.by_tag("two", "v1"),
        organization.by_tag("two", "gone"),
        "public.ecr.aws/nginx/nginx:1".to_owned(),
    ];
    let containers: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(number, image)| json!({"name": format!("c{number}"), "image": image, "memory": 64, "essential": true}))
        .collect();
    organization.aws.world().clear_calls();
    let input = json!({"family": "web", "containerDefinitions": containers});
    organization.call(&organization.workloads[0], organization.home(), "ecs", "RegisterTaskDefinition", input);
    organization.minutes(30);
    let expected = [
        ("CreateSchedule", 3),
        // One for each repository; the one that is asked for an image that is gone is asked again in halves.
        ("DescribeImages", 1 + 5),
        ("ListTagsForResource", 2),
    ];
    assert_eq!(calls_of(&organization, "schedule-checks"), expected.into());
}

#[test]
fn images_of_one_repository_that_are_checked_together_are_told_in_one_event() {
    let organization = installed(SignedDuration::from_mins(2));
    organization.repository("app", Mutability::Immutable);
    let (team, region) = (&organization.workloads[0], organization.home());
    let tags = ["v1", "v2", "v3"];
    let images = tags.map(|tag| organization.push("app", tag));
    let revisions = tags.map(|tag| organization.register(team, region, tag, &organization.by_tag("app", tag)));
    organization.hours(48);
    organization.aws.world().clear_calls();
    revisions.iter().for_each(|revision| organization.deregister(team, region, revision));
    organization.hours(26);
    let world = organization.aws.world();
    let entries = world.calls().iter().filter(|call| call.operation == "PutEvents").map(|call| &call.input["Entries"]);
    let deleted: Vec<Vec<String>> = entries
        .flat_map(|entries| entries.as_array().into_iter().flatten())
        .filter(|entry| entry["DetailType"] == "Image Deleted")
        .map(|entry| {
            let detail: Value = serde_json::from_str(entry["Detail"].as_str().expect("text")).expect("JSON");
            let images = detail["images"].as_array().expect("images").iter();
            images.map(|image| image["digest"].as_str().expect("a digest").to_owned()).collect()
        })
        .collect();
    let mut expected = images.map(|image| image.digest).to_vec();
    expected.sort();
    assert_eq!(deleted, [expected]);
}

#[test]
fn a_message_that_cannot_be_read_ends_among_the_dead_letters_and_holds_up_no_other() {
    let organization = installed(SignedDuration::from_mins(2));
    organization.repository("app", Mutability::Immutable);
    let (hub, home, team) = (&organization.hub, organization.home(), &organization.workloads[0]);
    let call = |operation, input| organization.call(hub, home, "sqs", operation, input);
    let queues = ["ecr-cleanup-schedule-checks", "ecr-cleanup-check-images"];
    let send = |body: &str| {
        for queue in queues {
            let url = call("GetQueueUrl", json!({"QueueName": queue}))["QueueUrl"].clone();
            call("SendMessage", json!({"QueueUrl": url, "MessageBody": body}));
        }
    };
    let image = organization.push("app", "v1");
    let web = organization.register(team, home, "web", &organization.by_tag("app", "v1"));
    organization.hours(48);
    organization.deregister(team, home, &web);
    send("not JSON");
    organization.hours(24);
    assert!(organization.has(&image));
    // Right before the check, for the same batch.
    send(r#"{"cleanup": {"schemaVersion": 1000}, "event": {}}"#);
    organization.minutes(30);
    assert!(!organization.has(&image), "the rest of the batch is not held up");
    organization.hours(6);
    let mut world = organization.aws.world();
    for queue in queues {
        assert_eq!(world.messages_in(hub, home, queue), [] as [String; 0], "{queue}");
        let dead = world.messages_in(hub, home, &format!("{queue}-dead-letters"));
        assert_eq!(dead.len(), 2, "{queue}: {dead:?}");
    }
}
