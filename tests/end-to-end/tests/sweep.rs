//! Nothing is forgotten: what no event told of is found by the sweep, in the simulated AWS and with the templates as shipped.

use end_to_end::{CLEANUP_STACK, Installation, Mutability, Organization, Pushed, install_hub};
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulated_aws::ecr::{push_image, push_index, push_referrer};
use simulated_aws::{AccountId, CallRecord, CallSummary, DeliveryFaults, Fault, Region};

/// The example for accounts as shipped.
const EXAMPLE: &str = include_str!("../../../examples/accounts.yaml");

/// The hub and one workload account in one region.
fn organization() -> Organization {
    Organization::of_size(1, 1, 1)
}

/// The example with these lines besides its own properties, and its parameters.
fn stack(organization: &Organization, properties: &str) -> (String, [(&'static str, String); 2]) {
    let indented = properties.replace('\n', "\n      ");
    let template = EXAMPLE.replace("RollbackWindowHours: 24", &format!("RollbackWindowHours: 24\n      {indented}"));
    let accounts: Vec<_> = organization.workloads.iter().map(AccountId::as_str).collect();
    let regions: Vec<_> = organization.regions.iter().map(Region::as_str).collect();
    (template, [("WorkloadAccountIds", accounts.join(",")), ("Regions", regions.join(","))])
}

/// Installs an EcrCleanup with these properties besides those of the example.
fn install(organization: &Organization, properties: &str) {
    install_hub(organization);
    let (template, parameters) = stack(organization, properties);
    organization.create_stack(CLEANUP_STACK, &template, &parameters).expect_status("CREATE_COMPLETE");
}

fn update(organization: &Organization, properties: &str) {
    let (template, parameters) = stack(organization, properties);
    organization.update_stack(CLEANUP_STACK, &template, &parameters).expect_status("UPDATE_COMPLETE");
}

fn team(organization: &Organization) -> (&AccountId, &Region) {
    (&organization.workloads[0], &organization.regions[0])
}

/// From now on every event of an AWS service is lost, or none.
fn lose_events(organization: &Organization, lost: bool) {
    let faults = DeliveryFaults { lost: if lost { 1.0 } else { 0.0 }, ..DeliveryFaults::default() };
    organization.aws.world().set_delivery_faults(faults);
}

/// Pushes an image, names it in a task definition, and deregisters that; nobody hears of it.
fn unheard_of(organization: &Organization, tag: &str) -> Pushed {
    let image = organization.push("app", tag);
    let (team, region) = team(organization);
    lose_events(organization, true);
    let web = organization.register(team, region, "web", &organization.by_tag("app", tag));
    organization.hours(1);
    organization.deregister(team, region, &web);
    organization.minutes(30);
    lose_events(organization, false);
    image
}

/// The details of the events of a type, oldest first.
fn events(organization: &Organization, detail_type: &str) -> Vec<Value> {
    let world = organization.aws.world();
    let entries = world.calls().iter().filter(|call| call.operation == "PutEvents" && call.outcome.is_ok());
    entries
        .flat_map(|call| call.input["Entries"].as_array().cloned().unwrap_or_default())
        .filter(|entry| entry["DetailType"] == detail_type)
        .map(|entry| serde_json::from_str::<Value>(entry["Detail"].as_str().expect("text")).expect("JSON"))
        .collect()
}

/// What sweeps told of a repository, oldest first.
fn reports(organization: &Organization, repository: &str) -> Vec<Value> {
    let mut reports = events(organization, "Repository Swept");
    reports.retain(|detail| detail["repository"]["name"] == repository);
    reports
}

/// How often a sweep asked for its own continuation.
fn continuations(organization: &Organization) -> usize {
    let world = organization.aws.world();
    let asked = world.calls().iter().filter(|call| {
        let name = call.input["Name"].as_str().unwrap_or_default();
        call.operation == "CreateSchedule" && name.starts_with("sweep-") && call.outcome.is_ok()
    });
    asked.count()
}

/// The sum of a metric over all EcrCleanups, since the last time that metrics were taken.
fn metric(organization: &Organization, name: &str) -> u64 {
    let lines = organization.take_metrics();
    lines.iter().filter(|line| line["Reason"].is_null()).filter_map(|line| line[name].as_u64()).sum()
}

/// From now on calls of the sweep may fail, until the fault plans are cleared.
fn trouble_sweep(organization: &Organization, fault: impl Fn(&CallSummary) -> Option<Fault> + Send + 'static) {
    organization.aws.world().add_fault_plan(move |call| {
        let by_sweep = call.principal.arn().contains("role/ecr-cleanup-sweep");
        if by_sweep { fault(call) } else { None }
    });
}

/// Neither IAM nor the simulation refused anything, and no message is dead.
fn assert_healthy(organization: &Organization) {
    organization.minutes(30);
    Installation::assert_nothing_refused(organization);
}

#[test]
fn an_image_whose_events_were_lost_is_gone_one_rollback_window_and_one_sweep_later() {
    let organization = organization();
    install(&organization, "");
    organization.repository("app", Mutability::Immutable);
    organization.hours(48);
    let image = unheard_of(&organization, "v1");
    organization.hours(22);
    assert!(organization.has(&image), "the rollback window has not passed");
    organization.hours(27);
    assert!(!organization.has(&image));
    assert_healthy(&organization);
}

#[test]
fn what_became_inactive_before_the_installation_is_found() {
    let organization = organization();
    organization.repository("app", Mutability::Immutable);
    let (old, used) = (organization.push("app", "v1"), organization.push("app", "v2"));
    let (team, region) = team(&organization);
    let first = organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    organization.register(team, region, "web", &organization.by_tag("app", "v2"));
    organization.deregister(team, region, &first);
    organization.hours(24 * 30);
    install(&organization, "");
    organization.hours(31);
    assert!(!organization.has(&old), "a backlog of a month");
    assert!(organization.has(&used));
    assert_healthy(&organization);
}

#[test]
fn a_repository_that_opts_in_late_is_swept() {
    let organization = organization();
    install(&organization, "");
    organization.repository("app", Mutability::Immutable);
    organization.opt_out("app");
    organization.hours(24);
    let image = unheard_of(&organization, "v1");
    organization.hours(72);
    assert!(organization.has(&image), "not opted in");
    organization.opt_in("app");
    organization.hours(26);
    assert!(!organization.has(&image));
    assert_healthy(&organization);
}

#[test]
fn an_image_that_was_kept_for_a_service_is_found_when_the_service_is_gone() {
    let organization = organization();
    install(&organization, "");
    organization.repository("app", Mutability::Immutable);
    let image = organization.push("app", "v1");
    let (team, region) = team(&organization);
    let web = organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    organization.create_service(team, region, "web", &web);
    organization.hours(48);
    organization.deregister(team, region, &web);
    organization.hours(72);
    assert!(organization.has(&image), "a service runs the inactive revision");
    organization.delete_service(team, region, "web");
    organization.hours(72);
    assert!(!organization.has(&image), "no event told that it was free");
    assert_healthy(&organization);
}

#[test]
fn an_image_that_was_never_deployed_is_checked_two_weeks_after_its_push() {
    let organization = organization();
    install(&organization, "");
    organization.repository("app", Mutability::Immutable);
    let image = organization.push("app", "ci-1");
    organization.hours(13 * 24);
    assert!(organization.has(&image));
    organization.hours(3 * 24);
    assert!(!organization.has(&image));
    assert_healthy(&organization);
}

#[test]
fn images_that_were_never_deployed_stay_where_they_are_to_be_kept() {
    let organization = organization();
    install(&organization, "NeverDeployedImages: Keep");
    organization.repository("app", Mutability::Immutable);
    organization.hours(48);
    let never = organization.push("app", "ci-1");
    let image = unheard_of(&organization, "v1");
    organization.hours(24 * 20);
    assert!(organization.has(&never));
    assert!(!organization.has(&image), "its task definition is still in Config, INACTIVE");
    let report = reports(&organization, "app").pop().expect("a sweep");
    assert_eq!(report["kept"]["never-deployed"]["images"], 1, "{report:#}");
    assert_healthy(&organization);
}

#[test]
fn untagged_images_stay_unless_they_are_to_be_checked() {
    let organization = organization();
    install(&organization, "");
    organization.repository("app", Mutability::Mutable);
    organization.hours(24);
    let image = organization.push("app", "latest");
    organization.push_again("app", "latest", "newer");
    let (team, region) = team(&organization);
    organization.register(team, region, "web", &organization.by_tag("app", "latest"));
    organization.hours(24 * 20);
    assert!(organization.has(&image), "UntaggedImages is Keep");
    update(&organization, "UntaggedImages: Check");
    organization.hours(30);
    assert!(!organization.has(&image));
    assert_healthy(&organization);
}

#[test]
fn an_untagged_image_that_a_service_has_pinned_stays_although_untagged_images_are_checked() {
    let organization = organization();
    install(&organization, "UntaggedImages: Check");
    organization.repository("app", Mutability::Mutable);
    organization.hours(24);
    let pinned = organization.push("app", "latest");
    let (team, region) = team(&organization);
    let web = organization.register(team, region, "web", &organization.by_tag("app", "latest"));
    organization.create_service(team, region, "web", &web);
    organization.hours(1);
    organization.push_again("app", "latest", "newer");
    organization.hours(24 * 20);
    assert!(organization.has(&pinned));
    assert_healthy(&organization);
}

#[test]
fn what_a_deletion_that_was_cut_short_left_behind_is_finished() {
    let organization = organization();
    install(&organization, "SweepSchedule: off");
    organization.repository("app", Mutability::Immutable);
    let (hub, home) = (&organization.hub, organization.home());
    let (index, parts) = {
        let world = &mut organization.aws.world();
        let children: Vec<String> =
            (0..2).map(|n| push_image(world, hub, home, "app", None, &format!("child {n}")).expect("pushed")).collect();
        let index = push_index(world, hub, home, "app", Some("v1"), &children).expect("pushed");
        let sbom = push_referrer(world, hub, home, "app", &index, "application/spdx+json").expect("pushed");
        (index, children.into_iter().chain([sbom]).collect::<Vec<_>>())
    };
    let pushed = |digest: &String| Pushed { repository: "app".to_owned(), digest: digest.clone() };
    let (team, region) = team(&organization);
    let web = organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    organization.hours(48);
    organization.deregister(team, region, &web);
    // The function dies after the index and before its children. What it left is checked an hour later.
    let mut deletions = 0;
    organization.aws.world().add_fault_plan(move |call| {
        if call.operation != "BatchDeleteImage" {
            return None;
        }
        deletions += 1;
        (deletions == 2).then_some(Fault::CrashBefore)
    });
    organization.hours(24);
    while organization.has(&pushed(&index)) {
        organization.minutes(1);
    }
    organization.minutes(5);
    assert!(parts.iter().all(|part| organization.has(&pushed(part))), "the function died before the second deletion");
    organization.hours(2);
    for part in &parts {
        assert!(!organization.has(&pushed(part)), "{part} belonged to the index");
    }
    assert_healthy(&organization);
}

#[test]
fn only_the_newest_active_revisions_count_where_nothing_but_services_starts_them() {
    let organization = organization();
    install(&organization, "ActiveRevisionsPerFamily: 2\nServiceOnlyFamilies: ['web-*']");
    organization.repository("app", Mutability::Immutable);
    let (team, region) = team(&organization);
    let mut images = Vec::new();
    for n in 1..=5 {
        images.push((organization.push("app", &format!("v{n}")), organization.push("app", &format!("w{n}"))));
        let web = organization.register(team, region, "web-1", &organization.by_tag("app", &format!("v{n}")));
        // Another family, of which all revisions count.
        organization.register(team, region, "job", &organization.by_tag("app", &format!("w{n}")));
        if n == 2 {
            organization.create_service(team, region, "web", &web);
        }
    }
    organization.hours(24 * 5);
    let left: Vec<bool> = images.iter().map(|(web, _)| organization.has(web)).collect();
    assert_eq!(left, [false, true, false, true, true], "the second still runs, the last two are the newest");
    assert!(images.iter().all(|(_, job)| organization.has(job)));
    assert_healthy(&organization);
}

#[test]
fn nothing_is_swept_where_the_sweep_is_off() {
    let organization = organization();
    install(&organization, "SweepSchedule: off");
    organization.repository("app", Mutability::Immutable);
    organization.hours(48);
    let image = unheard_of(&organization, "v1");
    organization.hours(24 * 20);
    assert!(organization.has(&image));
    assert_eq!(reports(&organization, "app"), [] as [Value; 0]);
    update(&organization, "SweepSchedule: rate(12 hours)");
    organization.hours(13);
    assert!(!organization.has(&image));
    update(&organization, "SweepSchedule: off");
    organization.aws.world().clear_calls();
    organization.hours(48);
    assert_eq!(reports(&organization, "app"), [] as [Value; 0]);
    assert_healthy(&organization);
}

#[test]
fn a_sweep_tells_what_there_is_to_gain_before_anything_is_deleted() {
    let organization = organization();
    install(&organization, "DryRun: true\nKeepTagPatterns: ['release-*']");
    organization.repository("app", Mutability::Immutable);
    organization.hours(24);
    let (team, region) = team(&organization);
    organization.push("app", "v1");
    organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    organization.push("app", "release-1");
    let unused: Vec<Pushed> = (0..3).map(|n| organization.push("app", &format!("ci-{n}"))).collect();
    organization.hours(24 * 15);
    organization.push("app", "today");
    organization.hours(24);
    let report = reports(&organization, "app").pop().expect("a sweep");
    let images = |pointer: &str| report.pointer(pointer).and_then(|amount| amount["images"].as_u64()).unwrap_or(0);
    let counted = ["/total", "/inUse", "/kept/tag-protected", "/tooEarly", "/toBeChecked"].map(images);
    assert_eq!(counted, [6, 1, 1, 1, 3], "{report:#}");
    assert!(report["toBeChecked"]["bytes"].as_u64() > Some(0), "{report:#}");
    assert_eq!(report["dryRun"], true);
    assert!(unused.iter().all(|image| organization.has(image)));
    assert_healthy(&organization);
}

#[test]
fn a_sweep_that_outlasts_its_invocation_goes_on_after_the_last_repository_that_it_finished() {
    let organization = organization();
    install(&organization, "");
    organization.hours(5);
    for n in 0..200 {
        organization.repository(&format!("team-{n:03}"), Mutability::Immutable);
        organization.push(&format!("team-{n:03}"), "v1");
    }
    // So many calls do not fit into the quarter of an hour that an invocation has.
    organization.aws.world().latency = SignedDuration::from_secs(4);
    organization.hours(12);
    for n in 0..200 {
        assert_eq!(reports(&organization, &format!("team-{n:03}")).len(), 1, "team-{n:03} was swept once");
    }
    assert!(continuations(&organization) >= 1, "it outlasted its invocation");
    assert_healthy(&organization);
}

#[test]
fn a_sweep_that_keeps_failing_is_given_up_for_the_next_one_and_told() {
    let throttled: fn(&CallSummary) -> Option<Fault> =
        |call| (call.operation == "SelectAggregateResourceConfig").then_some(Fault::Throttle);
    let killed: fn(&CallSummary) -> Option<Fault> =
        |call| (call.operation == "DescribeImages").then_some(Fault::CrashBefore);
    let unlisted: fn(&CallSummary) -> Option<Fault> =
        |call| (call.operation == "DescribeRepositories").then_some(Fault::Throttle);
    for fault in [throttled, killed, unlisted] {
        a_sweep_that_keeps_failing_is_given_up(fault);
    }
}

fn a_sweep_that_keeps_failing_is_given_up(fault: fn(&CallSummary) -> Option<Fault>) {
    let organization = organization();
    install(&organization, "");
    organization.repository("app", Mutability::Immutable);
    let image = organization.push("app", "ci-1");
    organization.hours(24 * 14);
    organization.take_metrics();
    organization.aws.world().clear_calls();
    trouble_sweep(&organization, fault);
    organization.hours(24 * 5);
    let given_up = events(&organization, "Sweep Unfinished");
    assert!((4..=5).contains(&given_up.len()), "each day's once: {given_up:#?}");
    assert_eq!(metric(&organization, "SweepsUnfinished"), given_up.len() as u64);
    assert!(given_up[0]["reason"].as_str().is_some_and(|reason| reason.contains("3 times")), "{given_up:#?}");
    let again = continuations(&organization);
    assert!((2 * given_up.len()..=2 * given_up.len() + 2).contains(&again), "twice for each day: {again}");
    assert!(organization.has(&image), "nobody had it checked");
    organization.aws.world().clear_fault_plans();
    organization.hours(25);
    assert!(!organization.has(&image));
    assert_healthy(&organization);
}

#[test]
fn a_sweep_that_waits_for_its_turn_is_not_given_up() {
    let organization = organization();
    install(&organization, "");
    organization.repository("app", Mutability::Immutable);
    let mapping = |enabled: bool| {
        let call =
            |operation, input| organization.call(&organization.hub, organization.home(), "lambda", operation, input);
        let mappings = call("ListEventSourceMappings", json!({"FunctionName": "ecr-cleanup-sweep"}));
        let id = &mappings["EventSourceMappings"][0]["UUID"];
        call("UpdateEventSourceMapping", json!({"UUID": id, "Enabled": enabled}));
    };
    mapping(false);
    organization.hours(7);
    for _ in 0..5 {
        // Scheduled afresh, and late again.
        mapping(true);
        organization.minutes(1);
        mapping(false);
        organization.minutes(30);
        assert_eq!(reports(&organization, "app"), [] as [Value; 0]);
    }
    mapping(true);
    organization.minutes(10);
    assert_eq!(reports(&organization, "app").len(), 1);
    assert_eq!(events(&organization, "Sweep Unfinished"), [] as [Value; 0]);
    assert_healthy(&organization);
}

#[test]
fn a_region_whose_registry_does_not_answer_is_told_and_holds_up_no_other() {
    let organization = Organization::of_size(1, 1, 2);
    install(&organization, "");
    organization.repository("app", Mutability::Immutable);
    let input = json!({"repositoryName": "far", "tags": [{"Key": "ecr-cleanup", "Value": "enabled"}]});
    organization.call(&organization.hub, &organization.regions[1], "ecr", "CreateRepository", input);
    organization.take_metrics();
    // The first, before which nothing is swept.
    trouble_sweep(&organization, |call| {
        let first = call.operation == "DescribeRepositories" && call.region.as_str() == "eu-west-1";
        first.then_some(Fault::Throttle)
    });
    organization.hours(7);
    let unfinished = events(&organization, "Sweep Unfinished");
    assert_eq!(unfinished.len(), 1, "{unfinished:#?}");
    assert_eq!(unfinished[0]["region"], "eu-west-1", "{unfinished:#?}");
    let reason = unfinished[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("ecr:DescribeRepositories") && reason.contains("(request id "), "{unfinished:#?}");
    assert_eq!(metric(&organization, "SweepsUnfinished"), 1);
    assert_eq!((reports(&organization, "app").len(), reports(&organization, "far").len()), (0, 1));
    organization.aws.world().clear_fault_plans();
    organization.hours(24);
    assert_eq!((reports(&organization, "app").len(), reports(&organization, "far").len()), (1, 2));
    assert_healthy(&organization);
}

#[test]
fn a_repository_whose_tags_cannot_be_had_is_told_and_holds_up_no_other() {
    let organization = organization();
    install(&organization, "");
    for name in ["app", "web"] {
        organization.repository(name, Mutability::Immutable);
        organization.push(name, "v1");
    }
    organization.take_metrics();
    trouble_sweep(&organization, |call| {
        let arn = call.input["resourceArn"].as_str().unwrap_or_default();
        let app = call.operation == "ListTagsForResource" && arn.ends_with("repository/app");
        app.then_some(Fault::Throttle)
    });
    organization.hours(7);
    let report = reports(&organization, "app").pop().expect("a report");
    assert_eq!((&report["total"]["images"], &report["reasonCode"]), (&json!(0), &json!("repository-unreadable")));
    let reason = report["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("ecr:ListTagsForResource") && reason.contains("(request id "), "{report:#}");
    assert_eq!(reports(&organization, "web").pop().expect("a report")["total"]["images"], 1);
    assert_eq!(metric(&organization, "RepositoriesNotSwept"), 1);
    assert_healthy(&organization);
}

#[test]
fn a_task_definition_that_cannot_be_read_holds_up_only_the_repository_that_it_names() {
    let organization = organization();
    install(&organization, "");
    for name in ["app", "web"] {
        organization.repository(name, Mutability::Immutable);
        organization.push(name, "v1");
    }
    let (team, region) = team(&organization);
    organization.register(team, region, "web", &organization.by_tag("web", "v1"));
    organization.register(team, region, "app", &organization.by_tag("app", "no/tag"));
    organization.take_metrics();
    organization.hours(7);
    let report = reports(&organization, "app").pop().expect("a report");
    assert_eq!(
        (&report["unknown"]["images"], &report["reasonCode"]),
        (&json!(1), &json!("usage-unknown")),
        "{report:#}"
    );
    let report = reports(&organization, "web").pop().expect("a report");
    assert_eq!((&report["inUse"]["images"], &report["reasonCode"]), (&json!(1), &Value::Null), "{report:#}");
    assert_eq!(metric(&organization, "RepositoriesNotSwept"), 1);
    assert_healthy(&organization);
}

#[test]
fn a_repository_without_images_is_told() {
    let organization = organization();
    install(&organization, "");
    organization.repository("app", Mutability::Immutable);
    organization.hours(7);
    let report = reports(&organization, "app").pop().expect("a report");
    assert_eq!(report["total"], json!({"images": 0, "bytes": 0}), "{report:#}");
    assert!(report["reason"].is_null(), "{report:#}");
    assert_healthy(&organization);
}

#[test]
fn a_sweep_heeds_the_event_that_nothing_but_a_pending_check_knows_of() {
    let organization = organization();
    // Every four hours: often enough to come between the event and its check.
    install(&organization, "SweepSchedule: rate(4 hours)\nNeverDeployedAfterHours: 1");
    organization.aws.world().behaviours.config_deleted_task_definition_vanishes = true;
    organization.repository("app", Mutability::Immutable);
    let image = organization.push("app", "v1");
    let (team, region) = team(&organization);
    let web = organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    organization.hours(72);
    organization.deregister(team, region, &web);
    organization.hours(1);
    organization.call(team, region, "ecs", "DeleteTaskDefinitions", json!({"taskDefinitions": [web]}));
    organization.hours(22);
    assert!(organization.has(&image), "the rollback window has not passed");
    organization.hours(3);
    assert!(!organization.has(&image));
    assert_healthy(&organization);
}

#[test]
fn two_sweeps_at_once_do_no_harm() {
    let organization = organization();
    install(&organization, "");
    organization.repository("app", Mutability::Immutable);
    organization.hours(48);
    let image = unheard_of(&organization, "v1");
    let used = organization.push("app", "v2");
    let (team, region) = team(&organization);
    organization.register(team, region, "web", &organization.by_tag("app", "v2"));
    let doubled = DeliveryFaults { doubled: 1.0, ..DeliveryFaults::default() };
    organization.aws.world().set_delivery_faults(doubled);
    organization.aws.world().clear_calls();
    organization.hours(60);
    assert!(!organization.has(&image));
    assert!(organization.has(&used));
    let told = reports(&organization, "app").len();
    assert!(told >= 4, "each sweep twice: {told}");
    assert_healthy(&organization);
}

/// Sweeps a repository of a thousand images, of which 990 are used; what the second sweep called, by operation.
fn calls_of_a_sweep(images_per_revision: usize) -> Vec<(&'static str, &'static str)> {
    let organization = organization();
    install(&organization, "NeverDeployedAfterHours: 24");
    organization.repository("app", Mutability::Immutable);
    let (team, region) = team(&organization);
    let tags: Vec<String> = (0..1000).map(|n| format!("v{n}")).collect();
    for tag in &tags {
        organization.push("app", tag);
    }
    for (n, some) in tags[..990].chunks(images_per_revision).enumerate() {
        let containers: Vec<Value> = some
            .iter()
            .map(|tag| json!({"name": tag, "image": organization.by_tag("app", tag), "memory": 4, "essential": true}))
            .collect();
        let input = json!({"family": format!("family-{n}"), "containerDefinitions": containers});
        organization.call(team, region, "ecs", "RegisterTaskDefinition", input);
    }
    // The first sweep, six hours after the installation, is too early.
    organization.hours(20);
    organization.aws.world().clear_calls();
    organization.hours(24);
    let world = organization.aws.world();
    let by_sweep = |call: &&CallRecord| call.principal.arn().contains("role/ecr-cleanup-sweep");
    world.calls().iter().filter(by_sweep).map(|call| (call.service, call.operation)).collect()
}

#[test]
fn a_thousand_images_of_which_990_are_used_take_fifteen_calls() {
    for images_per_revision in [1, 10] {
        let calls = calls_of_a_sweep(images_per_revision);
        println!("{images_per_revision} images a revision: {} calls: {calls:?}", calls.len());
        assert!(calls.contains(&("scheduler", "CreateSchedule")), "the other ten are checked: {calls:?}");
        assert!(calls.len() <= 15, "{} calls: {calls:?}", calls.len());
    }
}
