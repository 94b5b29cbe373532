use serde_json::{Value, json};

use super::*;
use crate::settings::Envelope;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn fixture(name: &str) -> Value {
    let path = format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A message of the EcrCleanup `name`, which cleans up the registries of 111111111111 in `region`.
fn message(id: &str, name: &str, region: &str, event: Value) -> Message {
    let mut cleanup = crate::settings::tests::cleanup();
    cleanup["name"] = name.into();
    cleanup["regions"] = json!([region]);
    let body = json!({
        "cleanup": cleanup,
        "event": event,
    });
    Message { id: id.to_owned(), envelope: Envelope::read(&body.to_string()).unwrap(), deliveries: 1 }
}

fn at(mut event: Value, time: &str) -> Value {
    event["time"] = time.into();
    event
}

/// `NAME repository selector last-change messages` for each image asked for.
fn asked(requests: &[Request]) -> Vec<String> {
    let mut lines = Vec::new();
    for request in requests {
        for (repository, selectors) in &request.repositories {
            for (selector, Asked { last_change, messages }) in selectors {
                let name = &request.settings.names.name;
                let messages: Vec<_> = messages.iter().map(String::as_str).collect();
                let selector = selector.to_string().chars().take(12).collect::<String>();
                lines.push(format!("{name} {}{selector} {last_change} {}", repository.name, messages.join(",")));
            }
        }
    }
    lines
}

fn failed(failures: Failures) -> Vec<String> {
    failures.into_response().batch_item_failures.into_iter().map(|f| f.item_identifier).collect()
}

#[test]
fn images_of_a_batch_are_asked_for_once_with_the_latest_change() {
    let mut failures = Failures::default();
    let messages = [
        message("1", "prod", "eu-west-1", fixture("cloudtrail-register")),
        message("2", "prod", "eu-west-1", at(fixture("config-inactive"), "2026-11-23T12:05:00Z")),
        message("3", "prod", "eu-west-1", at(fixture("cloudtrail-delete"), "2026-11-23T11:00:00Z")),
        message("4", "test", "eu-west-1", fixture("config-new")),
    ];
    let requests = requests(&messages, time("2026-11-23T12:10:00Z"), &mut failures);
    assert_eq!(
        asked(&requests),
        [
            "prod team/api:1.4.2 2026-11-23T12:05:00Z 1,2,3",
            "prod team/jobs:latest 2026-11-23T11:00:00Z 3",
            "prod team/proxy@sha256:0123 2026-11-23T12:05:00Z 1,2",
            "test team/api:1.4.2 2026-11-23T12:00:00Z 4",
            "test team/proxy@sha256:0123 2026-11-23T12:00:00Z 4",
        ]
    );
    assert!(failed(failures).is_empty());
}

#[test]
fn a_time_in_the_future_is_not_believed() {
    let event = at(fixture("config-inactive"), "2999-01-01T00:00:00Z");
    let now = time("2026-11-23T12:10:00Z");
    let requests = requests(&[message("1", "prod", "eu-west-1", event)], now, &mut Failures::default());
    for asked in requests[0].repositories.values().flat_map(BTreeMap::values) {
        assert_eq!(asked.last_change, now);
    }
}

#[test]
fn images_outside_the_hubs_registries_and_events_without_images_ask_for_nothing() {
    let mut failures = Failures::default();
    let mut messages = vec![message("1", "prod", "us-east-1", fixture("cloudtrail-register"))];
    let without =
        ["cloudtrail-failed-call", "cloudtrail-omitted", "cloudtrail-truncated", "config-deleted", "config-oversized"];
    messages.extend(without.map(|name| message(name, "prod", "eu-west-1", fixture(name))));
    let mut elsewhere = fixture("config-new");
    let image = "333333333333.dkr.ecr.eu-west-1.amazonaws.com/team/api";
    elsewhere["detail"]["configurationItem"]["configuration"]["ContainerDefinitions"] = json!([{"Image": image}]);
    messages.push(message("2", "prod", "eu-west-1", elsewhere));
    assert_eq!(requests(&messages, time("2026-11-23T12:10:00Z"), &mut failures), []);
    assert!(failed(failures).is_empty());
}

#[test]
fn an_event_of_neither_source_fails_its_message_alone() {
    let mut failures = Failures::default();
    let mut other = fixture("config-new");
    other["detail"] = json!({});
    let messages = [message("1", "prod", "eu-west-1", other), message("2", "prod", "eu-west-1", fixture("config-new"))];
    let requests = requests(&messages, time("2026-11-23T12:10:00Z"), &mut failures);
    assert_eq!(asked(&requests).len(), 2);
    assert_eq!(failed(failures), ["1"]);
}
