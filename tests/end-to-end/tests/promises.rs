//! Promises of the check that a resource's properties choose, shown through a stack update in the simulated AWS.

use end_to_end::{Installation, Mutability, Organization, Pushed};
use serde_json::{Value, json};

/// The example for accounts as shipped.
const EXAMPLE: &str = include_str!("../../../examples/accounts.yaml");

/// An EcrCleanup whose properties have these lines besides those of the example.
fn installed_with(organization: &Organization, properties: &str) -> Installation {
    let installation = Installation::through_cloudformation(organization);
    let template = EXAMPLE.replace(
        "RollbackWindowHours: 24",
        &format!("RollbackWindowHours: 24\n      {}", properties.replace('\n', "\n      ")),
    );
    let list = |items: Vec<&str>| items.join(",");
    let parameters = [
        ("WorkloadAccountIds", list(organization.workloads.iter().map(|account| account.as_str()).collect())),
        ("Regions", list(organization.regions.iter().map(|region| region.as_str()).collect())),
    ];
    organization.update_stack("ecr-cleanup", &template, &parameters).expect_status("UPDATE_COMPLETE");
    installation
}

/// Pushes an image, runs no service from it, deregisters its only task definition and lets hours pass.
fn unused_for(organization: &Organization, hours: i64) -> Pushed {
    organization.repository("app", Mutability::Immutable);
    let (team, region) = (&organization.workloads[0], &organization.regions[1]);
    let image = organization.push("app", "v1");
    let web = organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    organization.hours(48);
    organization.deregister(team, region, &web);
    organization.hours(hours);
    image
}

fn described(organization: &Organization, image: &Pushed) -> Value {
    let input = json!({
        "repositoryName": image.repository,
        "imageIds": [{"imageDigest": image.digest}],
        "filter": {"imageStatus": "ANY"},
    });
    organization.call(&organization.hub, organization.home(), "ecr", "DescribeImages", input)["imageDetails"][0].clone()
}

#[test]
fn an_unused_image_is_archived_with_its_tags_where_the_action_is_archive() {
    let organization = Organization::new(1);
    let installation = installed_with(&organization, "Action: Archive");
    let image = unused_for(&organization, 26);
    let described = described(&organization, &image);
    assert_eq!(described["imageStatus"], "ARCHIVED", "{described:#}");
    assert_eq!(described["imageTags"], json!(["v1"]));
    organization.minutes(30);
    installation.assert_healthy(&organization);
}

#[test]
fn an_account_is_trusted_an_hour_after_its_probe_began_to_show() {
    let organization = Organization::new(1);
    let installation = installed_with(&organization, "KeepNewestImages: 0");
    let image = unused_for(&organization, 23);
    organization.minutes(40);
    let (team, region) = (&organization.workloads[0], &organization.regions[1]);
    let ecs = |operation: &str, input: Value| organization.call(team, region, "ecs", operation, input);
    let family = installation.settings.names.probe_family();
    let listed = ecs("ListTaskDefinitions", json!({"familyPrefix": family}));
    let probe = &listed["taskDefinitionArns"][0];
    let described = ecs("DescribeTaskDefinition", json!({"taskDefinition": probe}));
    let containers = &described["taskDefinition"]["containerDefinitions"];
    ecs("RegisterTaskDefinition", json!({"family": family, "containerDefinitions": containers}));
    ecs("DeregisterTaskDefinition", json!({"taskDefinition": probe}));
    organization.minutes(45);
    let outcome = last_outcome(&organization, &image);
    assert_eq!(outcome, Some(("Image Check Postponed".into(), "not-covered".into())));
    organization.hours(2);
    assert!(!organization.has(&image));
}

#[test]
fn an_account_that_is_knowingly_uncovered_postpones_nothing() {
    let organization = Organization::new(1);
    let left_out = organization.workloads[1].clone();
    let installation = installed_with(&organization, &format!("UncoveredAccounts: ['{left_out}']"));
    organization.stop_recording(&left_out, &organization.regions[0]);
    let image = unused_for(&organization, 26);
    assert!(!organization.has(&image), "nothing else may use it");
    organization.minutes(30);
    installation.assert_healthy(&organization);
}

/// What the last check said of the image: its detail-type and reason code.
fn last_outcome(organization: &Organization, image: &Pushed) -> Option<(String, String)> {
    last_outcome_with_reason(organization, image).map(|(what, code, _)| (what, code))
}

/// The same, and the reason for people.
fn last_outcome_with_reason(organization: &Organization, image: &Pushed) -> Option<(String, String, String)> {
    let world = organization.aws.world();
    let entries = world.calls().iter().filter(|call| call.operation == "PutEvents" && call.outcome.is_ok());
    let entries = entries.flat_map(|call| call.input["Entries"].as_array().cloned().unwrap_or_default());
    let told = entries
        .filter_map(|entry| {
            let detail: Value = serde_json::from_str(entry["Detail"].as_str()?).ok()?;
            let told = detail["images"].as_array()?.iter().find(|told| told["digest"] == image.digest.as_str())?;
            let texts = (entry["DetailType"].as_str()?, told["reasonCode"].as_str()?, told["reason"].as_str()?);
            Some((texts.0.to_owned(), texts.1.to_owned(), texts.2.to_owned()))
        })
        .collect::<Vec<_>>();
    told.last().cloned()
}

/// The registry's policy lets an account pull that is no workload.
fn admit_an_outsider(organization: &Organization) {
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::999999999999:root"},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "Resource": "*",
    }]});
    let (hub, home) = (&organization.hub, organization.home());
    organization.call(hub, home, "ecr", "PutRegistryPolicy", json!({"policyText": policy.to_string()}));
}

#[test]
fn outside_accounts_that_may_pull_do_not_count_where_outside_pullers_are_ignored() {
    let organization = Organization::new(1);
    let installation = installed_with(&organization, "OutsidePullers: Ignore");
    admit_an_outsider(&organization);
    let image = unused_for(&organization, 26);
    assert!(!organization.has(&image));
    installation.assert_healthy(&organization);
}

#[test]
fn an_image_stays_for_as_long_after_its_recorded_pull_as_the_cleanup_says_and_a_day_more() {
    let organization = Organization::new(1);
    let installation = installed_with(&organization, "KeepPulledWithinHours: 48");
    organization.repository("app", Mutability::Immutable);
    let (team, region) = (&organization.workloads[0], &organization.regions[1]);
    let image = organization.push("app", "v1");
    let web = organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    organization.create_service(team, region, "web", &web);
    organization.hours(1);
    organization.delete_service(team, region, "web");
    organization.deregister(team, region, &web);
    organization.hours(48 + 24 - 2);
    let postponed = ("Image Check Postponed".to_owned(), "too-early".to_owned());
    assert_eq!(last_outcome(&organization, &image), Some(postponed));
    assert!(organization.has(&image));
    organization.hours(3);
    assert!(!organization.has(&image));
    installation.assert_healthy(&organization);
}

#[test]
fn a_repository_that_a_pull_through_cache_fills_is_kept_unless_its_owner_vouches_for_it() {
    let organization = Organization::new(1);
    let installation = installed_with(&organization, "KeepNewestImages: 0");
    let (hub, home) = (&organization.hub, organization.home());
    let rule = json!({"ecrRepositoryPrefix": "quay", "upstreamRegistryUrl": "quay.io"});
    organization.call(hub, home, "ecr", "CreatePullThroughCacheRule", rule);
    let (team, region) = (&organization.workloads[0], &organization.regions[1]);
    let images = ["quay/cached", "quay/vouched-for"].map(|name| {
        organization.repository(name, Mutability::Immutable);
        let image = organization.push(name, "v1");
        let web = organization.register(team, region, "web", &organization.by_tag(name, "v1"));
        (image, web)
    });
    organization.opt_in_saying("quay/vouched-for", "ecs-only=true");
    organization.hours(48);
    images.iter().for_each(|(_, web)| organization.deregister(team, region, web));
    organization.hours(26);
    let kept = ("Image Kept".to_owned(), "pull-through-cache".to_owned());
    assert_eq!(last_outcome(&organization, &images[0].0), Some(kept));
    assert!(organization.has(&images[0].0) && !organization.has(&images[1].0));
    installation.assert_healthy(&organization);
}

#[test]
fn nothing_is_deleted_where_the_opt_in_tag_cannot_be_read_and_the_outcome_says_why() {
    let organization = Organization::new(1);
    let installation = installed_with(&organization, "KeepNewestImages: 0");
    let image = unused_for(&organization, 23);
    organization.opt_in_saying("app", "keep-newest=many");
    organization.hours(3);
    let (what, code, reason) = last_outcome_with_reason(&organization, &image).expect("it was checked");
    assert_eq!((&*what, &*code), ("Image Kept", "opt-in-unreadable"));
    assert!(reason.contains("keep-newest"), "{reason}");
    assert!(organization.has(&image));
    installation.assert_healthy(&organization);
}

#[test]
fn an_account_that_only_the_registrys_policy_admits_counts_like_one_that_the_repositorys_does() {
    let organization = Organization::new(1);
    let installation = Installation::through_cloudformation(&organization);
    admit_an_outsider(&organization);
    let image = unused_for(&organization, 30);
    assert!(organization.has(&image), "account 999999999999 may pull it, and nobody sees what it runs");
    let kept = ("Image Kept".to_owned(), "pulled-from-outside".to_owned());
    assert_eq!(last_outcome(&organization, &image), Some(kept));
    organization.minutes(30);
    installation.assert_healthy(&organization);
}
