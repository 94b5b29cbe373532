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
