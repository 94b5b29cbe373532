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
    let world = organization.aws.world();
    let entries = world.calls().iter().filter(|call| call.operation == "PutEvents" && call.outcome.is_ok());
    let entries = entries.flat_map(|call| call.input["Entries"].as_array().cloned().unwrap_or_default());
    let told = entries
        .filter_map(|entry| {
            let detail: Value = serde_json::from_str(entry["Detail"].as_str()?).ok()?;
            let told = detail["images"].as_array()?.iter().find(|told| told["digest"] == image.digest.as_str())?;
            Some((entry["DetailType"].as_str()?.to_owned(), told["reasonCode"].as_str()?.to_owned()))
        })
        .collect::<Vec<_>>();
    told.last().cloned()
}

#[test]
fn an_account_that_only_the_registrys_policy_admits_counts_like_one_that_the_repositorys_does() {
    let organization = Organization::new(1);
    let installation = Installation::through_cloudformation(&organization);
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::999999999999:root"},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "Resource": "*",
    }]});
    let (hub, home) = (&organization.hub, organization.home());
    organization.call(hub, home, "ecr", "PutRegistryPolicy", json!({"policyText": policy.to_string()}));
    let image = unused_for(&organization, 30);
    assert!(organization.has(&image), "account 999999999999 may pull it, and nobody sees what it runs");
    let kept = ("Image Kept".to_owned(), "pulled-from-outside".to_owned());
    assert_eq!(last_outcome(&organization, &image), Some(kept));
    organization.minutes(30);
    installation.assert_healthy(&organization);
}
