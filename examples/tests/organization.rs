//! The quickstart from beginning to end: what its output shows, and what it refuses.

use std::path::PathBuf;

use examples::{Options, run};
use serde_json::Value;

/// Plays, and gives the output or the failure.
fn played(options: &Options) -> Result<String, String> {
    let mut out = Vec::new();
    run(options, &mut out).map_err(|failure| failure.to_string())?;
    Ok(String::from_utf8(out).expect("text"))
}

fn default() -> Options {
    Options { seed: 1, ..Options::default() }
}

/// The text of the lines that say `word`, continuations joined.
fn told(output: &str, word: &str) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut inside = false;
    for line in output.lines() {
        let begins = line.get(28..39).map(str::trim);
        if line.get(2..3) == Some(":") && line.is_char_boundary(39) {
            inside = begins == Some(word);
            if inside {
                told.push(format!("{} {}", &line[7..28].trim_end(), &line[39..]));
            }
        } else if let (true, Some(rest), Some(last)) = (inside, line.strip_prefix(&" ".repeat(39)), told.last_mut()) {
            last.push(' ');
            last.push_str(rest);
        }
    }
    told
}

#[test]
fn three_days_show_every_outcome_and_leave_nothing() {
    let output = played(&default()).unwrap();
    assert_eq!(
        told(&output, "DELETED"),
        [
            "hub eu-west-1 shop/web:0.9, 20 MB freed: nothing uses it",
            "hub eu-west-1 shop/web:1.0, 17 MB freed: nothing uses it",
            "hub eu-west-1 shop/assets:1, 22 MB freed: nothing uses it",
        ]
    );
    let kept = told(&output, "KEPT");
    for reason in [
        "hub eu-west-1 shop/api:1.0: service api in billing us-east-1 runs task definition api:1",
        "hub eu-west-1 shop/web:1.1: task definition web:4 in shop eu-west-1 is ACTIVE and names shop/web:1.1",
        "hub eu-west-1 shop/assets:release-1: KeepTagPatterns protects its tag release-1",
        "hub eu-west-1 billing/reports:latest: DryRun: it would have been deleted",
        "hub eu-west-1 shop/assets:2: it is among the newest 2 images of its repository",
    ] {
        assert!(kept.iter().any(|line| line == reason), "not told: {reason}\n{kept:#?}");
    }
    let swept = told(&output, "swept");
    assert!(swept.iter().any(|line| line == "hub eu-west-1 billing/reports, 1 image: 1 to be checked"), "{swept:#?}");
    let postponed = told(&output, "POSTPONED");
    assert!(
        postponed
            .iter()
            .any(|line| line
                .ends_with("account billing in us-east-1 is not covered: recorder \"default\" does not record")),
        "{postponed:#?}"
    );
    assert!(postponed.iter().any(|line| line.contains("too early: the last recorded pull")), "{postponed:#?}");
    let retained: Vec<String> = ["hub", "shop", "billing"]
        .iter()
        .flat_map(|account| ["eu-west-1", "us-east-1"].map(|region| format!("{account} {region}")))
        .map(|place| format!("{place} aggregation authorization for hub eu-west-1"))
        .collect();
    let mut told_retained = told(&output, "retained");
    told_retained.sort();
    let mut expected = retained;
    expected.sort();
    assert_eq!(told_retained, expected);
    assert_eq!(told(&output, "LEFT"), [] as [String; 0]);
    assert_eq!(told(&output, "refused"), [] as [String; 0]);
    assert_eq!(told(&output, "lost"), [] as [String; 0]);
    assert!(output.lines().all(|line| line.chars().count() <= 100), "wider than 100 columns:\n{output}");
    assert_eq!(played(&default()).unwrap(), output, "the same seed gives the same output");
    let readme = include_str!("../../README.md");
    let (_, excerpt) = readme.split_once("```text\nDay 1").expect("the README shows an excerpt");
    let (excerpt, _) = excerpt.split_once("```").expect("which ends");
    // Minutes and counts may differ with everything that is changed.
    let shape = |line: &str| line.replace(|digit: char| digit.is_ascii_digit(), "#");
    let shapes: Vec<String> = output.lines().map(shape).collect();
    let missing: Vec<&str> = excerpt.lines().skip(1).filter(|line| !shapes.contains(&shape(line))).collect();
    assert_eq!(missing, [] as [&str; 0], "the README shows what is not told");
}

#[test]
fn json_tells_the_same_and_one_day_is_shorter() {
    let output = played(&Options { json: true, days: Some(1), ..default() }).unwrap();
    let events: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!(of("deleted"), 1, "but for the backlog, no rollback window has passed");
    assert!(of("check-scheduled") > 4 && of("task-definition") > 4, "{output}");
    assert_eq!(of("repository"), 5);
    let lint = events.iter().find(|event| event["event"] == "repository" && event["repository"] == "tools/lint");
    let lint = lint.expect("a row for the repository that is not opted in");
    assert_eq!(lint["kept"]["tools/lint:7"], "the repository has no tag ecr-cleanup");
    assert_eq!(of("left"), 6);
    for name in ["time", "account", "accountName", "region", "event"] {
        assert!(events.iter().all(|event| event[name].is_string()), "{name}");
    }
}

#[test]
fn the_example_for_organizational_units_is_played_too_and_leaves_nothing() {
    let template = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("organization.yaml");
    let output = played(&Options { template: Some(template), ..default() }).unwrap();
    let kept = told(&output, "KEPT");
    let dry_run = "hub eu-west-1 shop/web:1.0: DryRun: it would have been deleted";
    assert!(kept.iter().any(|line| line == dry_run), "{kept:#?}");
    assert_eq!(told(&output, "DELETED"), [] as [String; 0], "the example is a dry run");
    assert_eq!(told(&output, "LEFT"), [] as [String; 0]);
    assert!(output.trim_end().ends_with("nothing is left."), "{output}");
}

#[test]
fn what_happens_long_after_the_last_action_is_told_too() {
    let output = played(&Options { days: Some(12), seed: 7, ..default() }).unwrap();
    assert!(told(&output, "DELETED").iter().any(|line| line.contains("shop/web:1.2")), "{output}");
}

#[test]
fn what_goes_another_way_is_told_and_leaves_nothing_either() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let scenario = folder.join("other-ways.yaml");
    let text = "accounts: [a, b]
repositories:
  - {name: web, tags: {ecr-cleanup: enabled}}
  - {name: jobs, tags: {ecr-cleanup: nonsense}, mutable-tags: true}
actions:
  - {at: day 0 09:30, push: web:1}
  - {at: +0m, push: jobs:latest}
  - {at: +1m, push: jobs:latest}
  - {at: +0m, in: a/us-east-1, register: {family: web, image: web:1}}
  - {at: +0m, in: a/us-east-1, register: {family: jobs, image: jobs:latest}}
  - {at: day 1 09:00, in: a/us-east-1, deregister: web:1}
  - {at: +0m, in: a/us-east-1, deregister: jobs:1}
  - {at: day 2 12:00, tag: {image: web:1, as: again}}
  - {at: +1m, tag: {image: jobs:latest, as: stable}}
  - {at: +1m, tag-repository: {repository: web, key: ecr-cleanup, value: }}
  - {at: +1h, update-stack: {Name: other}}
  - {at: +1h, update-stack: {RollbackWindowHours: 0}}
";
    std::fs::write(&scenario, text).expect("writable");
    let output = played(&Options { scenario: Some(scenario), days: Some(2), ..default() }).unwrap();
    assert_eq!(told(&output, "DELETED").len(), 1, "{output}");
    let kept = told(&output, "KEPT");
    assert!(
        kept.len() == 1 && kept[0].contains("jobs:latest (push 2): the opt-in tag's value cannot be understood"),
        "{kept:?}"
    );
    let refused = told(&output, "refused");
    assert!(refused.len() == 1 && refused[0].contains("ecr:BatchGetImage: web:1"), "{refused:?}");
    let stack = told(&output, "stack");
    assert!(
        stack.iter().any(|line| line.contains("rollback complete") && line.contains("RollbackWindowHours")),
        "{stack:?}"
    );
    assert_eq!(told(&output, "retained").len(), 6, "{output}");
    assert_eq!(told(&output, "LEFT"), [] as [String; 0], "{output}");
}

#[test]
fn a_bad_scenario_or_template_is_refused_with_file_line_and_reason() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("writable");
        path
    };
    let shipped = include_str!("../accounts.yaml");
    let template = |name: &str, from: &str, to: &str| Options {
        template: Some(file(name, &shipped.replacen(from, to, 1))),
        ..default()
    };
    let line_of = |text: &str| shipped.lines().position(|line| line.contains(text)).expect("there") + 1;
    let scenario = file("bad-scenario.yaml", "repositories: []\nactions:\n- {at: day 1 09:00, push: web:1}\n");
    for (options, place, reason) in [
        (
            Options { scenario: Some(scenario), ..default() },
            "bad-scenario.yaml:3:27: ".to_owned(),
            "unknown repository web",
        ),
        (
            template("bad-window.yaml", "RollbackWindowHours: 24", "RollbackWindowHours: 0"),
            format!("bad-window.yaml:{}:7: ", line_of("RollbackWindowHours")),
            "RollbackWindowHours",
        ),
        (
            template("bad-property.yaml", "RollbackWindowHours: 24", "RollbackWindow: 24"),
            format!("bad-property.yaml:{}:7: ", line_of("RollbackWindowHours")),
            "RollbackWindow",
        ),
        (
            template("bad-type.yaml", "Resources:", "Resources:\n  Host: {Type: AWS::EC2::Instance}"),
            format!("bad-type.yaml:{}:", line_of("Resources:") + 1),
            "AWS::EC2::Instance",
        ),
        (
            template("bad-parameter.yaml", "WorkloadAccountIds:", "Team: {Type: String}\n  WorkloadAccountIds:"),
            format!("bad-parameter.yaml:{}:3: ", line_of("WorkloadAccountIds:")),
            "the parameter Team needs a Default",
        ),
        (
            template("bad-attribute.yaml", "ImageCleanup.EventBusArn", "ImageCleanup.Bus"),
            format!("bad-attribute.yaml:{}:5: ", line_of("ImageCleanup.EventBusArn")),
            "no attribute Bus",
        ),
        (
            template("bad-import.yaml", "ecr-cleanup-service-token", "other-token"),
            format!("bad-import.yaml:{}:7: ", line_of("ecr-cleanup-service-token")),
            "No export named other-token",
        ),
        (
            template("bad-section.yaml", "Outputs:", "Outputz:"),
            format!("bad-section.yaml:{}:1: ", line_of("Outputs:")),
            "Outputz",
        ),
        (
            template("no-cleanup.yaml", "Custom::EcrCleanup", "AWS::SQS::Queue"),
            format!("no-cleanup.yaml:{}:1: ", line_of("Resources:")),
            "no resource of type Custom::EcrCleanup",
        ),
        (
            template("bad-yaml.yaml", "Outputs:", "Outputs: ]"),
            format!("bad-yaml.yaml:{}:", line_of("Outputs:")),
            "not valid YAML",
        ),
    ] {
        let refused = played(&options).expect_err(&place);
        assert!(
            refused.contains(&place) && refused.contains(reason),
            "{refused}\nshould be at {place} and say {reason}"
        );
    }
    let missing =
        played(&Options { scenario: Some(folder.join("no-such-file.yaml")), ..default() }).expect_err("missing");
    assert!(missing.starts_with("cannot read ") && missing.contains("no-such-file.yaml"), "{missing}");
}
