use std::collections::BTreeMap;

use super::*;
use crate::happening::Outcome;
use crate::watch::happening;

fn legend() -> Legend {
    let mut legend = Legend::default();
    legend.name_account("111111111111", "hub");
    legend.name_account("222222222222", "shop");
    legend.name_image("sha256:aa", "web:1.0");
    legend
}

fn at(moment: (u32, u32, u32), what: What) -> Happening {
    let time = Moment::new(moment.0, moment.1, moment.2).timestamp();
    happening(&legend(), time, "111111111111", "eu-west-1", what)
}

fn told(json: bool, happenings: &[Happening]) -> String {
    let mut out = Vec::new();
    let mut timeline = Timeline::new(&mut out, json);
    for happening in happenings {
        timeline.tell(happening, &legend()).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn check(reason: &str) -> Outcome {
    Outcome {
        image: "web:1.0".to_owned(),
        repository: "web".to_owned(),
        digest: "sha256:aa".to_owned(),
        reason_code: "code".to_owned(),
        reason: reason.to_owned(),
    }
}

fn inactive(told_by: &str) -> What {
    What::TaskDefinition {
        task_definition: "web:1".to_owned(),
        status: "INACTIVE".to_owned(),
        told_by: told_by.to_owned(),
        changed: Moment::new(1, 10, 15).timestamp(),
    }
}

#[test]
fn each_line_has_time_place_word_and_text() {
    let due = Moment::new(2, 10, 19).timestamp();
    let image = || ("web:1.0".to_owned(), "web".to_owned(), "sha256:aa".to_owned());
    let scheduled = |moved| {
        let (image, repository, digest) = image();
        What::CheckScheduled { image, repository, digest, due, moved }
    };
    let (image, repository, digest) = image();
    for (what, text) in [
        (What::Pushed { image: image.clone(), digest: digest.clone(), bytes: 17_400_000 }, "push       web:1.0, 17 MB"),
        (inactive("Config"), "inactive   task definition web:1, since 10:15 (Config event)"),
        (scheduled(false), "scheduled  check of web:1.0 at day 2 10:19"),
        (scheduled(true), "scheduled  check of web:1.0 moved to day 2 10:19"),
        (What::CheckDue { image, repository, digest }, "check due  web:1.0"),
        (
            What::Evidence { config_queries: 6, rows: 13, places_asked: 6, calls: 37, failed: 0 },
            "evidence   6 Config queries, 13 rows; 6 account regions asked; 37 calls",
        ),
        (
            What::Deleted { check: check("nothing uses it"), bytes: 17_400_000, deleted_with: vec!["x".to_owned()] },
            "DELETED    web:1.0 and 1 more, 17 MB freed: nothing uses it",
        ),
        (What::Kept { check: check("account 222222222222") }, "KEPT       web:1.0: account shop"),
        (What::Postponed { check: check("gap"), until: Some(due) }, "POSTPONED  web:1.0 to day 2 10:19: gap"),
        (What::Failed { check: check("KmsError") }, "FAILED     web:1.0: KmsError"),
        (What::Recorder { records: false }, "recorder   AWS Config stops recording"),
        (
            What::Left {
                kind: "aggregation authorization".to_owned(),
                name: "arn:aws:config:r:2:aggregation-authorization/111111111111/eu-west-1".to_owned(),
                retained: true,
            },
            "retained   aggregation authorization for hub eu-west-1",
        ),
    ] {
        let expected = format!("\nDay 1, Tuesday 3 March\n10:18  hub eu-west-1        {text}\n");
        assert_eq!(told(false, &[at((1, 10, 18), what)]), expected);
    }
}

#[test]
fn a_change_is_told_once_though_two_events_tell_of_it() {
    let both = [at((1, 10, 18), inactive("Config")), at((1, 10, 20), inactive("CloudTrail"))];
    assert_eq!(told(false, &both).lines().count(), 3);
    assert_eq!(told(true, &both).lines().count(), 2);
}

#[test]
fn what_a_sweep_finds_is_told_when_it_changes() {
    let swept = |images: u64, unknown: u64| What::Swept {
        repository: "web".to_owned(),
        images,
        in_use: images - unknown,
        kept: 0,
        too_early: 0,
        to_be_checked: 0,
        unknown,
        reason: Some("account 222222222222".to_owned()).filter(|_| unknown > 0),
    };
    let days = [swept(2, 0), swept(2, 0), swept(2, 1), swept(0, 0)].map(|what| at((1, 18, 1), what));
    let told: Vec<String> = told(false, &days).lines().skip(2).map(|line| line[28..].to_owned()).collect();
    assert_eq!(
        told,
        [
            "swept      web, 2 images: 2 in use",
            "swept      web, 2 images: 1 in use, 1 unknown (account shop)",
            "swept      web, 0 images",
        ]
    );
}

#[test]
fn a_day_is_announced_once() {
    let days = [at((1, 23, 59), inactive("Config")), at((2, 0, 0), What::Recorder { records: true })];
    let expected = "
Day 1, Tuesday 3 March
23:59  hub eu-west-1        inactive   task definition web:1, since 10:15 (Config event)

Day 2, Wednesday 4 March
00:00  hub eu-west-1        recorder   AWS Config records again
";
    assert_eq!(told(false, &days), expected);
}

#[test]
fn long_reasons_are_broken_at_100_columns() {
    let long = "a reason that goes on and on, ".repeat(8);
    let text = told(false, &[at((1, 10, 18), What::Kept { check: check(&long) })]);
    let lines: Vec<&str> = text.lines().skip(2).collect();
    assert!(lines.len() > 3, "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 100), "{text}");
    assert!(lines[1..].iter().all(|line| line.starts_with(&" ".repeat(39)) && !line.ends_with(' ')), "{text}");
}

#[test]
fn json_has_one_event_a_line_with_stable_names() {
    let text = told(true, &[at((1, 10, 18), What::Postponed { check: check("gap"), until: None })]);
    let expected = serde_json::json!({
        "time": "2026-03-03T10:18:00Z", "account": "111111111111", "accountName": "hub", "region": "eu-west-1",
        "event": "postponed", "image": "web:1.0", "repository": "web", "digest": "sha256:aa", "reasonCode": "code",
        "reason": "gap", "until": null,
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
}

#[test]
fn the_table_fits_into_100_columns_and_names_what_is_kept() {
    let row = What::Repository {
        repository: "shop/web".to_owned(),
        images: 3,
        bytes: 49_000_000,
        deleted: 1,
        deleted_bytes: 17_000_000,
        kept: BTreeMap::from([
            ("shop/web:1.1".to_owned(), "in use ".repeat(20).trim().to_owned()),
            ("shop/web:1.2".to_owned(), "too early".to_owned()),
        ]),
    };
    let table = table(&[at((3, 0, 0), row)]);
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    for text in ["shop/web", "49 MB", "17 MB", "1.1: in use", "1.2: too early"] {
        assert!(table.contains(text), "{text} is not in\n{table}");
    }
}
