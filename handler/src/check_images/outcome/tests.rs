use serde_json::{Value, json};

use super::*;
use crate::log::tests::lines;
use crate::settings::Envelope;

fn settings() -> Settings {
    let message = json!({
        "cleanup": crate::settings::tests::cleanup(),
        "event": {
            "id": "1", "source": "ecr-cleanup", "detail-type": "x", "account": "111111111111", "region": "eu-west-1",
            "time": "2026-11-02T10:00:00Z", "detail": {},
        },
    });
    Envelope::read(&message.to_string()).unwrap().settings
}

fn repository() -> Repository {
    serde_json::from_value(json!({"account": "111111111111", "region": "eu-west-1", "name": "shop"})).unwrap()
}

fn digest(n: u64) -> Digest {
    format!("sha256:{n:064x}").parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn outcome(n: u64, kind: OutcomeKind, code: &'static str) -> Outcome {
    Outcome { digest: digest(n), tags: Vec::new(), kind, code, reason: format!("because of {code}") }
}

/// One of each kind, and more of some.
fn outcomes() -> Vec<Outcome> {
    let until = at("2026-11-02T12:00:00Z");
    let postponed = |postponements, since: &str| {
        let since = (postponements > 0).then(|| at(since));
        OutcomeKind::Postponed { until, postponements, since }
    };
    vec![
        outcome(1, OutcomeKind::Deleted { with: vec![digest(101), digest(102)], bytes: 300 }, "unused"),
        outcome(2, OutcomeKind::Deleted { with: Vec::new(), bytes: 40 }, "unused"),
        outcome(3, OutcomeKind::Deleted { with: Vec::new(), bytes: 0 }, ALREADY_GONE),
        outcome(4, OutcomeKind::Archived { bytes: 5000 }, "unused"),
        outcome(5, OutcomeKind::Kept, "in-use"),
        outcome(6, OutcomeKind::Kept, "in-use"),
        outcome(7, OutcomeKind::Kept, "dry-run"),
        outcome(8, postponed(0, ""), "too-early"),
        outcome(9, postponed(2, "2026-11-02T09:00:00Z"), "not-covered"),
        outcome(10, postponed(TOO_OFTEN, "2026-11-01T10:00:00Z"), "not-covered"),
        outcome(11, OutcomeKind::Failed, "failed"),
    ]
}

#[test]
fn a_repository_and_batch_make_one_line_of_all_metrics_and_one_for_each_reason() {
    let lines = metrics(&settings(), &repository(), 12, &outcomes(), at("2026-11-02T10:00:00Z"));
    let mut documents: Vec<Value> = lines.iter().filter_map(Line::document).collect();
    for document in &mut documents {
        document.as_object_mut().unwrap().remove("_aws");
    }
    let repository = "111111111111/eu-west-1/shop";
    let by_reason = |reason: &str, metric: &str, count: u64| json!({"EcrCleanup": "prod (accounts)", "Repository": repository, "Reason": reason, metric: count});
    assert_eq!(
        documents,
        [
            json!({
                "EcrCleanup": "prod (accounts)", "Repository": repository, "DryRun": false,
                "ChecksRun": 12, "ChecksPostponed": 3, "ChecksPostponedRepeatedly": 1,
                "OldestPostponedCheckAge": 86_400,
                "ImagesDeleted": 4, "BytesReclaimed": 340, "ImagesArchived": 1, "ImagesKept": 3, "DeletionsFailed": 1,
            }),
            by_reason("not-covered", "ChecksPostponed", 2),
            by_reason("too-early", "ChecksPostponed", 1),
            by_reason("dry-run", "ImagesKept", 1),
            by_reason("in-use", "ImagesKept", 2),
        ]
    );
}

#[test]
fn each_decision_leaves_one_log_line_with_verdict_and_reason() {
    let outcomes = outcomes();
    let lines = lines(|| log(&settings(), &repository(), &outcomes));
    assert_eq!(lines.len(), outcomes.len());
    for (line, outcome) in lines.iter().zip(&outcomes) {
        assert_eq!(line["ecr_cleanup"], "prod (accounts)");
        assert_eq!(line["repository"], "111111111111/eu-west-1/shop");
        assert_eq!(line["digest"], outcome.digest.to_string());
        assert_eq!(line["reason_code"], outcome.code);
        assert_eq!(line["reason"], outcome.reason);
    }
    let decided = |n: usize| (lines[n]["verdict"].as_str().unwrap(), lines[n]["outcome"].as_str().unwrap());
    assert_eq!(decided(0), ("delete", "Image Deleted"));
    assert_eq!(lines[0]["bytes"], 300);
    assert_eq!(decided(3), ("archive", "Image Archived"));
    assert_eq!(decided(4), ("keep", "Image Kept"));
    assert_eq!(decided(8), ("postpone", "Image Check Postponed"));
    assert_eq!(lines[8]["next_check"], "2026-11-02T12:00:00Z");
    assert_eq!(decided(10), ("delete", "Image Deletion Failed"));
}

#[test]
fn the_event_of_a_postponed_check_says_since_when_it_is_put_off() {
    let outcomes = outcomes();
    let events = events(&settings(), &repository(), &outcomes);
    let (_, detail) = events.iter().find(|(detail_type, _)| *detail_type == "Image Check Postponed").unwrap();
    let detail: Value = serde_json::from_str(detail).unwrap();
    let since: Vec<&Value> =
        detail["images"].as_array().unwrap().iter().map(|image| &image["postponedSince"]).collect();
    assert_eq!(since, [&Value::Null, &json!("2026-11-02T09:00:00Z"), &json!("2026-11-01T10:00:00Z")]);
}
