//! What an operator of EcrCleanups sees: metrics and log lines of the functions, and the alarms and the dashboard that the
//! hub's template makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use end_to_end::{CLEANUP_STACK, Installation, Mutability, Organization, Pushed, deploy_hub, prepare_hub};
use handler::metrics::{DIMENSIONS, Metric, NAMESPACE, REASON_DIMENSIONS};
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
fn a_sweep_counts_what_it_sees_what_it_leaves_and_what_there_is_to_gain() {
    let (organization, _) = installed();
    update(&organization, "KeepTagPatterns: ['release-*']");
    let (team, region) = (&organization.workloads[0], &organization.regions[1]);
    let [used, unused, kept] = ["v1", "v2", "release-1"].map(|tag| organization.push("app", tag));
    organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    let [used, unused, kept] = [used, unused, kept].map(|image| size_of(&organization, &image));
    organization.take_metrics();
    // Two weeks after its push an image that was never deployed is checked.
    organization.hours(24 * 15 + 1);
    let lines = organization.take_metrics();
    let values = reported(&lines);
    let sweeps = values["SweptImages"].len() as u64;
    assert!((14..=17).contains(&sweeps), "{values:?}");
    assert!(values["SweptImages"][..14].iter().all(|images| *images == 3), "{values:?}");
    assert!(values["SweptBytes"][..14].iter().all(|bytes| *bytes == used + unused + kept), "{values:?}");
    for (images, bytes, of_each) in
        [("SweptImagesInUse", "SweptBytesInUse", used), ("SweptImagesKept", "SweptBytesKept", kept)]
    {
        assert_eq!((sum(&values, images), sum(&values, bytes)), (sweeps, sweeps * of_each), "{values:?}");
    }
    assert_eq!(sum(&values, "SweptImagesKept tag-protected"), sweeps, "{values:?}");
    assert_eq!((sum(&values, "SweptImagesToCheck"), sum(&values, "SweptBytesToCheck")), (1, unused), "{values:?}");
    assert_eq!(sum(&values, "BytesReclaimed"), unused, "{values:?}");
}

#[test]
fn a_sweep_leaves_one_log_line_for_a_repository_with_what_keeps_its_images() {
    let (organization, _) = installed();
    update(&organization, "KeepTagPatterns: ['release-*']");
    let (team, region) = (&organization.workloads[0], &organization.regions[1]);
    let images = ["v1", "release-1", "release-2"].map(|tag| organization.push("app", tag));
    organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    let [used, first, second] = images.map(|image| size_of(&organization, &image));
    organization.hours(5);
    let log = log_of(|| organization.hours(20));
    let swept: Vec<_> = log.iter().filter(|line| line["outcome"] == "Repository Swept").collect();
    assert_eq!(swept.len(), 1, "{log:#?}");
    let told =
        ["repository", "images", "bytes", "in_use", "bytes_in_use", "kept", "bytes_kept", "kept_by", "to_be_checked"];
    let told = told.map(|field| swept[0][field].clone());
    assert_eq!(
        json!(told),
        json!([
            "111111111111/eu-west-1/app",
            3,
            used + first + second,
            1,
            used,
            2,
            first + second,
            "tag-protected: 2",
            0
        ]),
    );
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

/// A hub whose alarms tell `topic`, if there is one.
fn hub(topic: Option<&str>) -> Organization {
    let organization = Organization::new(1);
    prepare_hub(&organization);
    let parameters: Vec<_> = topic.map(|topic| ("AlarmTopicArn", topic.to_owned())).into_iter().collect();
    end_to_end::deploy_hub_with(&organization, &parameters);
    organization
}

fn listed(organization: &Organization, service: &str, operation: &str, list: &str) -> Vec<Value> {
    let answer = organization.call(&organization.hub, organization.home(), service, operation, json!({}));
    answer[list].as_array().cloned().unwrap_or_default()
}

/// A metric as an alarm or a dashboard names it: namespace, name and dimensions.
type Watched = (String, String, BTreeMap<String, String>);

/// Every metric that there can be in the hub: what the functions report over all EcrCleanups, and what AWS does of the
/// hub's queues and functions.
fn existing(organization: &Organization) -> BTreeSet<Watched> {
    assert!(DIMENSIONS.contains(&&[][..]), "reported over all EcrCleanups");
    let ours = Metric::ALL.iter().map(|metric| (NAMESPACE.to_owned(), metric.name().to_owned(), BTreeMap::new()));
    let aws = |namespace: &str, name: &str, dimension: &str, value: String| {
        (namespace.to_owned(), name.to_owned(), BTreeMap::from([(dimension.to_owned(), value)]))
    };
    let queues = organization.aws.world().queue_names(&organization.hub, organization.home());
    let queues =
        queues.into_iter().map(|queue| aws("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue));
    let functions = listed(organization, "lambda", "ListFunctions", "Functions");
    let functions = functions.iter().map(|function| {
        aws("AWS/Lambda", "Errors", "FunctionName", function["FunctionName"].as_str().expect("a name").to_owned())
    });
    ours.chain(queues).chain(functions).collect()
}

fn watched_by(alarm: &Value) -> Watched {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let dimensions = alarm["Dimensions"].as_array().into_iter().flatten();
    let dimensions = dimensions.map(|dimension| (text(&dimension["Name"]), text(&dimension["Value"]))).collect();
    (text(&alarm["Namespace"]), text(&alarm["MetricName"]), dimensions)
}

#[test]
fn every_alarm_watches_a_metric_that_exists_and_says_what_to_do() {
    let organization = hub(None);
    let existing = existing(&organization);
    let alarms = listed(&organization, "monitoring", "DescribeAlarms", "MetricAlarms");
    assert!(alarms.len() >= 10, "{alarms:#?}");
    for alarm in &alarms {
        assert!(existing.contains(&watched_by(alarm)), "{alarm:#}");
        let description = alarm["AlarmDescription"].as_str().unwrap_or_default();
        assert!(description.contains("What to do: ") && description.len() <= 1024, "{alarm:#}");
        assert_eq!(alarm["TreatMissingData"], "notBreaching", "what is not reported is no trouble: {alarm:#}");
        assert!(alarm["AlarmActions"].is_null() && alarm["OKActions"].is_null(), "nobody is told: {alarm:#}");
    }
}

#[test]
fn every_queue_of_dead_letters_every_function_and_every_trouble_has_an_alarm() {
    let organization = hub(None);
    let alarms = listed(&organization, "monitoring", "DescribeAlarms", "MetricAlarms");
    let watched: BTreeSet<Watched> = alarms.iter().map(watched_by).collect();
    let mut needed: BTreeSet<Watched> = existing(&organization)
        .into_iter()
        .filter(|(namespace, _, dimensions)| {
            namespace == "AWS/Lambda" || dimensions.values().any(|queue| dead_letters(&organization).contains(queue))
        })
        .collect();
    for metric in [
        Metric::DeletionsFailed,
        Metric::UncoveredAccounts,
        Metric::ChecksPostponedRepeatedly,
        Metric::ProviderFailures,
        Metric::SweepsUnfinished,
    ] {
        needed.insert((NAMESPACE.to_owned(), metric.name().to_owned(), BTreeMap::new()));
    }
    assert!(needed.len() >= 10, "{needed:?}");
    let without: Vec<_> = needed.difference(&watched).collect();
    assert!(without.is_empty(), "without an alarm: {without:?}");
}

/// The queues that messages go to when nobody could handle them.
fn dead_letters(organization: &Organization) -> BTreeSet<String> {
    let (hub, home) = (&organization.hub, organization.home());
    let mut found = BTreeSet::new();
    for url in listed(organization, "sqs", "ListQueues", "QueueUrls") {
        let input = json!({"QueueUrl": url, "AttributeNames": ["RedrivePolicy"]});
        let attributes = organization.call(hub, home, "sqs", "GetQueueAttributes", input);
        let policy = attributes["Attributes"]["RedrivePolicy"].as_str().unwrap_or("{}");
        let policy: Value = serde_json::from_str(policy).expect("JSON");
        found.extend(policy["deadLetterTargetArn"].as_str().map(str::to_owned));
    }
    for function in listed(organization, "lambda", "ListFunctions", "Functions") {
        let input = json!({"FunctionName": function["FunctionName"]});
        let config = organization.aws.call(hub, home, "lambda", "GetFunctionEventInvokeConfig", input);
        let config = config.unwrap_or_default();
        found.extend(config["DestinationConfig"]["OnFailure"]["Destination"].as_str().map(str::to_owned));
    }
    found.into_iter().map(|arn| arn.rsplit(':').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_readme_names_every_alarm_every_metric_and_every_log_field() {
    let readme = include_str!("../../../README.md");
    let organization = hub(None);
    let alarms = listed(&organization, "monitoring", "DescribeAlarms", "MetricAlarms");
    assert!(alarms.len() >= 10, "{alarms:#?}");
    let alarms = alarms.iter().filter_map(|alarm| alarm["AlarmName"].as_str());
    let metrics = Metric::ALL.iter().map(|metric| metric.name());
    let fields = ["ecr_cleanup", "repository", "digest", "verdict", "outcome", "reason_code", "reason", "next_check"];
    for name in alarms.chain(metrics).chain(fields) {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn alarms_tell_the_topic_that_is_given() {
    let topic = "arn:aws:sns:eu-west-1:111111111111:on-call";
    let organization = hub(Some(topic));
    let alarms = listed(&organization, "monitoring", "DescribeAlarms", "MetricAlarms");
    assert!(alarms.len() >= 10, "{alarms:#?}");
    for alarm in alarms {
        assert_eq!(alarm["AlarmActions"], json!([topic]), "{alarm:#}");
        assert_eq!(alarm["OKActions"], json!([topic]), "{alarm:#}");
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_every_alarm_and_nothing_that_does_not_exist() {
    let organization = hub(None);
    let input = json!({"DashboardName": "ecr-cleanup-eu-west-1"});
    let shown = organization.call(&organization.hub, organization.home(), "monitoring", "GetDashboard", input);
    let body: Value = serde_json::from_str(shown["DashboardBody"].as_str().expect("a body")).expect("JSON");
    let existing = existing(&organization);
    let mut drawn = BTreeSet::new();
    let mut alarms = BTreeSet::new();
    for widget in body["widgets"].as_array().expect("widgets") {
        let properties = &widget["properties"];
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned();
        alarms.extend(properties["alarms"].as_array().into_iter().flatten().map(text));
        for metric in properties["metrics"].as_array().into_iter().flatten() {
            match metric[0]["expression"].as_str() {
                None => {
                    let named = (text(&metric[0]), text(&metric[1]), BTreeMap::new());
                    assert!(existing.contains(&named), "{metric}");
                    drawn.insert(named.1);
                }
                Some(search) => {
                    let (_, rest) = search.split_once("MetricName=\"").expect("a search by name");
                    let name = rest.split('"').next().expect("a name");
                    let by_reason = Metric::ALL.iter().any(|metric| metric.by_reason() && metric.name() == name);
                    let known = match by_reason {
                        true => search.contains("{ecr-cleanup,EcrCleanup,Reason}"),
                        false => existing.iter().any(|(namespace, metric, dimensions)| {
                            let keys: Vec<_> = dimensions.keys().cloned().collect();
                            name == metric && search.contains(&format!("{{{namespace},{}}}", keys.join(",")))
                        }),
                    };
                    assert!(known, "{search}");
                }
            }
        }
    }
    let all: BTreeSet<String> = Metric::ALL.iter().map(|metric| metric.name().to_owned()).collect();
    assert_eq!(drawn, all);
    let made = listed(&organization, "monitoring", "DescribeAlarms", "MetricAlarms");
    let made: BTreeSet<String> = made
        .iter()
        .map(|alarm| {
            let name = alarm["AlarmName"].as_str().expect("a name");
            format!("arn:aws:cloudwatch:eu-west-1:111111111111:alarm:{name}")
        })
        .collect();
    assert_eq!(alarms, made);
}

#[test]
fn nothing_is_deleted_while_the_event_source_mapping_of_check_images_is_disabled() {
    let (organization, installation) = installed();
    let image = dropped_image(&organization);
    organization.hours(23);
    let call = |operation: &str, input: Value| {
        organization.call(&organization.hub, organization.home(), "lambda", operation, input)
    };
    let mappings = call("ListEventSourceMappings", json!({"FunctionName": "ecr-cleanup-check-images"}));
    let id = &mappings["EventSourceMappings"][0]["UUID"];
    call("UpdateEventSourceMapping", json!({"UUID": id, "Enabled": false}));
    organization.hours(24);
    assert!(organization.has(&image), "nobody looks");
    call("UpdateEventSourceMapping", json!({"UUID": id, "Enabled": true}));
    organization.minutes(10);
    assert!(organization.has(&image), "what waited is scheduled afresh");
    organization.hours(1);
    assert!(!organization.has(&image), "and made");
    installation.assert_healthy(&organization);
}

#[test]
fn an_archived_image_is_restored_with_its_tags() {
    let (organization, _) = installed();
    update(&organization, "Action: Archive");
    let image = dropped_image(&organization);
    organization.hours(26);
    let call = |operation: &str, input: Value| {
        organization.call(&organization.hub, organization.home(), "ecr", operation, input)
    };
    let described = || {
        let ids = json!([{"imageDigest": image.digest}]);
        let input = json!({"repositoryName": "app", "imageIds": ids, "filter": {"imageStatus": "ANY"}});
        call("DescribeImages", input)["imageDetails"][0].clone()
    };
    assert_eq!(described()["imageStatus"], "ARCHIVED");
    let values = reported(&organization.take_metrics());
    assert_eq!((sum(&values, "ImagesArchived"), sum(&values, "BytesReclaimed")), (1, 0), "{values:?}");
    let restore = json!({
        "repositoryName": "app", "imageId": {"imageDigest": image.digest}, "targetStorageClass": "STANDARD",
    });
    call("UpdateImageStorageClass", restore);
    organization.minutes(25);
    assert_eq!((&described()["imageStatus"], &described()["imageTags"]), (&json!("ACTIVE"), &json!(["v1"])));
}
