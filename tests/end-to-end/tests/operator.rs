//! What an operator of EcrCleanups sees: metrics and log lines of the functions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use end_to_end::{CLEANUP_STACK, Installation, Mutability, Organization, Pushed, deploy_hub, prepare_hub};
use handler::metrics::{Metric, NAMESPACE, REASON_DIMENSIONS};
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulated_aws::{Fault, ServiceError};

/// The example for accounts as shipped.
const EXAMPLE: &str = include_str!("../../../examples/accounts.yaml");

/// An organization with EcrCleanup installed and a repository `app` that is opted in; what was reported so far is taken.
fn installed() -> (Organization, Installation) {
    let organization = Organization::new(1);
    let installation = Installation::through_cloudformation(&organization);
    organization.repository("app", Mutability::Immutable);
    organization.take_metrics();
    (organization, installation)
}

/// Gives the EcrCleanup another property.
fn update(organization: &Organization, property: &str) {
    let template = EXAMPLE.replace("RollbackWindowHours: 24", &format!("RollbackWindowHours: 24\n      {property}"));
    let parameters =
        [("WorkloadAccountIds", "222222222222,333333333333".to_owned()), ("Regions", "eu-west-1,us-east-1".to_owned())];
    organization.update_stack(CLEANUP_STACK, &template, &parameters).expect_status("UPDATE_COMPLETE");
}

/// Pushes an image, registers a task definition that names it, and deregisters that two days later.
fn dropped_image(organization: &Organization) -> Pushed {
    let (team, region) = (&organization.workloads[0], &organization.regions[1]);
    let image = organization.push("app", "v1");
    let web = organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    organization.hours(48);
    organization.deregister(team, region, &web);
    image
}

fn size_of(organization: &Organization, image: &Pushed) -> u64 {
    let input = json!({"repositoryName": image.repository, "imageIds": [{"imageDigest": image.digest}]});
    let described = organization.call(&organization.hub, organization.home(), "ecr", "DescribeImages", input);
    described["imageDetails"][0]["imageSizeInBytes"].as_u64().expect("a size")
}

/// The values of each metric over all EcrCleanups, and of each metric and reason, in the order in which they were reported.
/// Every line is held against the specification of the embedded metric format first.
fn reported(lines: &[Value]) -> BTreeMap<String, Vec<u64>> {
    let mut values: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in lines {
        assert!(!line.to_string().contains('\n'), "one line: {line}");
        assert!(line["_aws"]["Timestamp"].as_i64().is_some_and(|millis| millis > 1_000_000_000_000), "{line}");
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().expect("directives");
        assert!(!directives.is_empty(), "{line}");
        for directive in directives {
            assert_eq!(directive["Namespace"], NAMESPACE, "{line}");
            let sets = directive["Dimensions"].as_array().expect("dimension sets");
            assert!(!sets.is_empty(), "{line}");
            for dimension in sets.iter().flat_map(|set| set.as_array().expect("a dimension set")) {
                let value = line[dimension.as_str().expect("a name")].as_str();
                assert!(value.is_some_and(|value| !value.is_empty() && value.len() <= 1024), "{dimension}: {line}");
            }
            let metrics = directive["Metrics"].as_array().expect("metrics");
            assert!((1..=100).contains(&metrics.len()), "{line}");
            for metric in metrics {
                let name = metric["Name"].as_str().expect("a name");
                let known = Metric::ALL.iter().find(|known| known.name() == name);
                let known = known.unwrap_or_else(|| panic!("{name} is none of the metrics: {line}"));
                assert_eq!(metric["Unit"], known.unit(), "{line}");
                let value = line[name].as_u64().expect("a number");
                let key = match line["Reason"].as_str() {
                    Some(reason) => {
                        assert_eq!(directive["Dimensions"], json!(REASON_DIMENSIONS), "{line}");
                        assert!(known.by_reason(), "{line}");
                        format!("{name} {reason}")
                    }
                    None => {
                        assert!(sets.contains(&json!([])), "over all EcrCleanups, too: {line}");
                        name.to_owned()
                    }
                };
                values.entry(key).or_default().push(value);
            }
        }
    }
    values
}

fn sum(values: &BTreeMap<String, Vec<u64>>, metric: &str) -> u64 {
    values.get(metric).into_iter().flatten().sum()
}

#[test]
fn an_unused_image_is_counted_from_its_schedule_to_its_deletion() {
    let (organization, installation) = installed();
    let image = dropped_image(&organization);
    let bytes = size_of(&organization, &image);
    organization.hours(26);
    assert!(!organization.has(&image));
    let lines = organization.take_metrics();
    for line in &lines {
        assert_eq!(line["EcrCleanup"], "prod (accounts)", "{line}");
    }
    let values = reported(&lines);
    // The registration's check found it used. The deregistration is told twice, by CloudTrail and by Config.
    assert!((2..=3).contains(&sum(&values, "ChecksScheduled")), "{values:?}");
    assert_eq!(sum(&values, "ChecksRun"), 2, "{values:?}");
    assert_eq!(sum(&values, "ImagesKept"), 1, "{values:?}");
    assert_eq!(sum(&values, "ImagesKept in-use"), 1, "{values:?}");
    assert_eq!(sum(&values, "ImagesDeleted"), 1, "{values:?}");
    assert_eq!(sum(&values, "BytesReclaimed"), bytes, "{values:?}");
    assert_eq!(values["UncoveredAccounts"], [0, 0], "{values:?}");
    for absent in ["DeletionsFailed", "ChecksPostponed", "OldestPostponedCheckAge", "ProviderFailures"] {
        assert!(!values.contains_key(absent), "{values:?}");
    }
    let deletion = lines.iter().find(|line| !line["ImagesDeleted"].is_null()).expect("a line");
    assert_eq!(deletion["Repository"], "111111111111/eu-west-1/app");
    installation.assert_healthy(&organization);
}

#[test]
fn an_account_that_does_not_record_is_counted_and_named_and_its_postponed_checks_grow_old() {
    let (organization, installation) = installed();
    // A sweep would have the image checked between its postponements.
    update(&organization, "SweepSchedule: 'off'");
    let account = organization.workloads[1].clone();
    let image = dropped_image(&organization);
    organization.stop_recording(&account, &organization.regions[0]);
    organization.take_metrics();
    organization.hours(24 * 8);
    assert!(organization.has(&image));
    let lines = organization.take_metrics();
    let values = reported(&lines);
    assert!(values["UncoveredAccounts"].iter().all(|count| *count == 1), "{values:?}");
    let named = lines.iter().filter(|line| !line["UncoveredAccounts"].is_null());
    assert!(named.into_iter().all(|line| line["Accounts"] == json!([account.as_str()])), "{lines:#?}");
    assert_eq!(sum(&values, "ChecksPostponed"), sum(&values, "ChecksPostponed not-covered"), "{values:?}");
    let ages = &values["OldestPostponedCheckAge"];
    assert_eq!((ages.len() as u64, ages[0]), (sum(&values, "ChecksPostponed"), 0), "{values:?}");
    assert!(ages.is_sorted(), "since the first postponement: {ages:?}");
    assert!(ages.windows(2).all(|pair| pair[1] - pair[0] <= 25 * 3600), "each day at least: {ages:?}");
    let repeatedly = sum(&values, "ChecksPostponedRepeatedly") as usize;
    assert_eq!(repeatedly, ages.len() - 9, "from the tenth on: {values:?}");
    installation.assert_healthy(&organization);
}

#[test]
fn an_aggregator_that_does_not_answer_says_nothing_about_accounts() {
    let (organization, _) = installed();
    dropped_image(&organization);
    organization.hours(23);
    organization.take_metrics();
    organization
        .aws
        .world()
        .add_fault_plan(|call| (call.operation == "SelectAggregateResourceConfig").then_some(Fault::Throttle));
    organization.hours(3);
    let values = reported(&organization.take_metrics());
    assert!(sum(&values, "ChecksPostponed usage-unknown") > 0, "{values:?}");
    assert!(!values.contains_key("UncoveredAccounts"), "{values:?}");
}

/// What the functions log while `work` runs.
fn log_of(work: impl FnOnce()) -> Vec<Value> {
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic elsewhere").extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let written = Written::default();
    let writer = written.clone();
    tracing::subscriber::with_default(handler::log::written_to(move || writer.clone()), work);
    let text = String::from_utf8(written.0.lock().expect("no panic elsewhere").clone()).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn every_decision_about_an_image_is_one_log_line_with_its_reason() {
    let (organization, _) = installed();
    let mut image = None;
    let log = log_of(|| {
        image = Some(dropped_image(&organization));
        organization.hours(26);
    });
    let image = image.expect("an image");
    let decisions: Vec<_> = log.iter().filter(|line| line["digest"] == image.digest).collect();
    for line in &decisions {
        assert_eq!(line["ecr_cleanup"], "prod (accounts)", "{line}");
        assert_eq!(line["repository"], "111111111111/eu-west-1/app", "{line}");
        assert!(line["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{line}");
    }
    let verdicts: Vec<_> = decisions.iter().filter_map(|line| line["verdict"].as_str()).collect();
    let checked: Vec<_> = verdicts.iter().filter(|verdict| **verdict != "check").collect();
    assert_eq!(checked, [&"keep", &"delete"], "{decisions:#?}");
    assert!(verdicts.contains(&"check"), "{decisions:#?}");
}

#[test]
fn a_deletion_that_fails_is_counted_and_logged_with_the_request_id_of_the_call() {
    let (organization, _) = installed();
    dropped_image(&organization);
    organization.hours(23);
    organization.take_metrics();
    organization
        .aws
        .world()
        .add_fault_plan(|call| (call.operation == "BatchDeleteImage").then_some(Fault::ServerError));
    let log = log_of(|| organization.hours(2));
    let values = reported(&organization.take_metrics());
    assert!(sum(&values, "DeletionsFailed") > 0, "{values:?}");
    assert!(!values.contains_key("ImagesDeleted"), "{values:?}");
    let failed = log.iter().find(|line| line["outcome"] == "Image Deletion Failed").expect("a line");
    assert_has_request_id(failed, "ecr:BatchDeleteImage");
}

#[test]
fn a_check_that_cannot_be_scheduled_is_logged_with_the_request_id_of_the_call() {
    for (operation, call) in [
        ("ListTagsForResource", "ecr:ListTagsForResource"),
        ("DescribeImages", "ecr:DescribeImages"),
        ("CreateSchedule", "scheduler:CreateSchedule"),
    ] {
        let (organization, _) = installed();
        organization.push("app", "v1");
        organization
            .aws
            .world()
            .add_fault_plan(move |call| (call.operation == operation).then_some(Fault::ServerError));
        let (team, region) = (&organization.workloads[0], &organization.regions[1]);
        let log = log_of(|| {
            organization.register(team, region, "web", &organization.by_tag("app", "v1"));
            organization.minutes(30);
        });
        let failed = log.iter().find(|line| line["outcome"] == "message failed");
        assert_has_request_id(failed.unwrap_or_else(|| panic!("{log:#?}")), call);
    }
}

fn assert_has_request_id(line: &Value, call: &str) {
    let reason = line["reason"].as_str().expect("a reason");
    let id = reason.split_once("(request id ").and_then(|(_, rest)| rest.split_once(')')).map(|(id, _)| id);
    assert!(reason.contains(call) && id.is_some_and(|id| id.len() > 10 && id != "none"), "{line}");
}

#[test]
fn what_the_provider_fails_at_or_leaves_running_is_counted_and_logged() {
    let organization = Organization::new(1);
    prepare_hub(&organization);
    deploy_hub(&organization);
    let parameters = [("WorkloadAccountIds", "222222222222".to_owned()), ("Regions", "eu-west-1".to_owned())];
    let unreadable = EXAMPLE.replace("RollbackWindowHours: 24", "RollbackWindowHours: soon");
    let log = log_of(|| {
        organization.create_stack(CLEANUP_STACK, &unreadable, &parameters).expect_status("ROLLBACK_COMPLETE");
        organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    });
    let lines = organization.take_metrics();
    assert_eq!(sum(&reported(&lines), "ProviderFailures"), 1, "{lines:#?}");
    assert!(lines[0]["StackId"].as_str().is_some_and(|id| id.contains(CLEANUP_STACK)), "{lines:#?}");
    assert!(lines[0]["EcrCleanup"].is_null(), "nobody knows its name: {lines:#?}");
    let answered = log.iter().find(|line| line["outcome"] == "answered CloudFormation").expect("a line");
    assert!(answered["reason"].as_str().is_some_and(|reason| reason.contains("RollbackWindowHours")), "{answered}");

    organization.aws.world().behaviours.stack_set_operation_pause = SignedDuration::from_mins(40);
    let log = log_of(|| {
        organization.create_stack(CLEANUP_STACK, EXAMPLE, &parameters).expect_status("CREATE_COMPLETE");
    });
    let lines = organization.take_metrics();
    assert_eq!(sum(&reported(&lines), "RolloutsPending"), 1, "{lines:#?}");
    assert_eq!(lines[0]["EcrCleanup"], "prod (accounts)");
    let answered = log.iter().find(|line| line["outcome"] == "answered CloudFormation").expect("a line");
    assert_eq!(answered["ecr_cleanup"], "prod (accounts)");
}

#[test]
fn a_call_of_the_provider_that_fails_is_logged_with_its_request_id() {
    let organization = Organization::new(1);
    prepare_hub(&organization);
    deploy_hub(&organization);
    let refused = || ServiceError::new("LimitExceededException", "too many buses");
    organization
        .aws
        .world()
        .add_fault_plan(move |call| (call.operation == "CreateEventBus").then(|| Fault::Refuse(refused())));
    let parameters = [("WorkloadAccountIds", "222222222222".to_owned()), ("Regions", "eu-west-1".to_owned())];
    let log = log_of(|| {
        organization.create_stack(CLEANUP_STACK, EXAMPLE, &parameters).expect_status("ROLLBACK_COMPLETE");
    });
    let failed = log.iter().find(|line| line["outcome"] == "call failed");
    assert_has_request_id(failed.unwrap_or_else(|| panic!("{log:#?}")), "events:CreateEventBus");
}
