//! What checks cost: calls of AWS, and time to decide. AWS Config's query rate is the scarce resource.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use end_to_end::{Installation, Mutability, Organization, keep_functions_warm};
use handler::check_images::evidence::{
    Candidacy, Covered, Evidence, Found, ImageFacts, ImageKind, Mutability as TagMutability, OtherPullers,
    Participation, Presence, Relations, StorageStatus,
};
use handler::check_images::policy::{Policy, RepositorySettings};
use handler::check_images::usage::{Landscape, Named, Place, Revision, RevisionStatus, Runners, usage};
use handler::check_images::verdict::{Verdict, judge};
use handler::image::Digest;
use handler::repository::Repository;
use jiff::{SignedDuration, Timestamp};
use simulated_aws::config::{Delays, set_delays};
use simulated_aws::{CallRecord, Principal};

/// Images that are due at the same moment: each was named by one task definition, which is INACTIVE, and nobody uses any.
/// Twenty services run something else. AWS Config takes the same time for everything, or else the images would be due over
/// ten minutes.
fn due_at_once(repositories: usize, images_of_each: usize) -> Organization {
    let organization = Organization::new(1);
    Installation::through_cloudformation(&organization);
    keep_functions_warm(&organization);
    let minute = (SignedDuration::from_mins(1), SignedDuration::from_mins(1));
    let delays = Delays { capture: minute, aggregation: minute, ..Delays::default() };
    set_delays(&mut organization.aws.world(), delays);
    let (team, region) = (&organization.workloads[0], organization.home());
    organization.repository("other", Mutability::Immutable);
    organization.push("other", "v1");
    let running = organization.register(team, region, "running", &organization.by_tag("other", "v1"));
    for service in 0..20 {
        organization.create_service(team, region, &format!("service-{service}"), &running);
    }
    let mut revisions = Vec::new();
    for repository in 0..repositories {
        let name = format!("team-{repository}/app");
        organization.repository(&name, Mutability::Immutable);
        for tag in 0..images_of_each {
            organization.push(&name, &format!("v{tag}"));
            let image = organization.by_tag(&name, &format!("v{tag}"));
            revisions.push(organization.register(team, region, &format!("family-{repository}"), &image));
        }
    }
    organization.hours(48);
    for revision in &revisions {
        organization.deregister(team, region, revision);
    }
    organization.hours(24);
    organization.aws.world().clear_calls();
    organization.hours(2);
    for repository in 0..repositories {
        let left = organization.aws.world();
        let left =
            simulated_aws::ecr::images(&left, &organization.hub, region, &format!("team-{repository}/app")).count();
        assert_eq!(left, 0, "images of team-{repository} are still there");
    }
    organization
}

/// The calls of the checks since the images were due: those that prove coverage, and the others.
fn calls_of(organization: &Organization) -> (Vec<String>, Vec<String>) {
    let is_check = |call: &&CallRecord| matches!(&call.principal, Principal::Role { role, .. } if role.contains("check-images") || role.contains("evidence"));
    let name = |call: &CallRecord| format!("{}:{}", call.service, call.operation);
    let proves_coverage = |call: &CallRecord| {
        let query = call.input["Expression"].as_str().unwrap_or_default();
        call.operation.starts_with("DescribeConfigurationRecorder")
            || call.operation == "DescribeConfigurationAggregatorSourcesStatus"
            || query.contains("'AWS::Config::ConfigurationRecorder'")
    };
    let world = organization.aws.world();
    let (coverage, others): (Vec<&CallRecord>, Vec<&CallRecord>) =
        world.calls().iter().filter(is_check).partition(|call| proves_coverage(call));
    let (coverage, others): (Vec<_>, Vec<_>) =
        (coverage.into_iter().map(name).collect(), others.into_iter().map(name).collect());
    assert!(others.iter().any(|call| call == "ecr:BatchDeleteImage"), "these are the calls of other functions");
    assert!(coverage.iter().any(|call| call.starts_with("config:")), "coverage was proven by other calls");
    (coverage, others)
}

fn told(what: &str, calls: &[String]) -> usize {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for call in calls {
        *counts.entry(call).or_default() += 1;
    }
    println!("{what}: {} calls, {counts:?}", calls.len());
    calls.len()
}

fn to_config(calls: &[String]) -> usize {
    calls.iter().filter(|call| call.starts_with("config:")).count()
}

#[test]
fn a_hundred_due_images_of_a_repository_take_25_calls_of_which_10_go_to_config() {
    let organization = due_at_once(1, 100);
    let (coverage, others) = calls_of(&organization);
    let places = organization.places().len();
    assert!(told("coverage", &coverage) <= 3 * places, "of {places} accounts and regions");
    assert!(told("100 images of one repository", &others) <= 25);
    assert!(to_config(&others) <= 10);
}

#[test]
fn a_thousand_due_images_of_fifty_repositories_take_less_than_half_a_call_each() {
    let organization = due_at_once(50, 20);
    let (coverage, others) = calls_of(&organization);
    let places = organization.places().len();
    // The checks take less than fifteen minutes.
    assert!(told("coverage", &coverage) <= 3 * places, "of {places} accounts and regions");
    assert!(told("1,000 images of 50 repositories", &others) <= 450);
}

/// How long a decision over 10,000 rows may take, the quickest of [`ROUNDS`]: others may keep the machine busy.
const BOUND: Duration = Duration::from_millis(10);

/// How often it is measured.
const ROUNDS: usize = 10;

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what this is about")]
fn deciding_over_ten_thousand_rows_takes_no_time_worth_speaking_of() {
    let digest = |n: usize| -> Digest { format!("sha256:{n:064x}").parse().expect("a digest") };
    let repository: Repository =
        serde_json::from_value(serde_json::json!({"account": "111111111111", "region": "eu-west-1", "name": "shop"}))
            .expect("a repository");
    let images: BTreeMap<Digest, ImageFacts> = (0..100)
        .map(|n| ImageFacts {
            digest: digest(n),
            tags: BTreeSet::from([format!("v{n}").parse().expect("a tag")]),
            pushed_at: Timestamp::UNIX_EPOCH,
            pulled_at: None,
            size_in_bytes: 1,
            kind: ImageKind::Single,
            status: StorageStatus::Active,
            subject: None,
        })
        .map(|image| (image.digest.clone(), image))
        .collect();
    let place: Place = ("222222222222".parse().expect("an account"), "eu-west-1".parse().expect("a region"));
    let revisions: Vec<Revision> = (0..10_000)
        .map(|n| Revision {
            arn: format!("arn:aws:ecs:eu-west-1:222222222222:task-definition/shop:{}", n + 1).parse().expect("an ARN"),
            // Half of the images are in use.
            status: if n % 2 == 0 { RevisionStatus::Active } else { RevisionStatus::Inactive },
            images: vec![
                format!("111111111111.dkr.ecr.eu-west-1.amazonaws.com/shop:v{}", n % 100).parse().expect("a reference"),
            ],
            captured_at: Some(Timestamp::UNIX_EPOCH),
        })
        .collect();
    let landscape = Landscape {
        runners: Found::Known(Runners::default()),
        other_users: Found::Known(Vec::new()),
        unreadable: BTreeMap::new(),
        live: BTreeMap::from([(place.clone(), Found::Known(Vec::new()))]),
        revisions_run: BTreeMap::new(),
    };
    let policy = Policy::new(SignedDuration::from_hours(24), 0, Vec::new(), false);
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000);
    let parents = BTreeMap::new();

    let decide = || {
        let begin = Instant::now();
        let named = Named::new(&repository, &images, &parents);
        let seen =
            usage(&named, &revisions, &landscape, &BTreeSet::from([place.clone()]), false).expect("nothing is missing");
        let pinned = seen.pinned.as_ref().expect("nothing is missing");
        let last_named = seen.last_named.as_ref().expect("nothing is missing");
        let deleted = images
            .values()
            .map(|image| Evidence {
                participation: Found::Known(Participation::In(RepositorySettings::default())),
                mutability: Found::Known(TagMutability::Fixed),
                pullers: Found::Known(OtherPullers::default()),
                image: Found::Known(Presence::Present(image.clone())),
                relations: Found::Known(Relations::default()),
                newer_images: Found::Known(9),
                uses: Found::Known(seen.uses.get(&image.digest).cloned().unwrap_or_default()),
                pinned: Found::Known(pinned.get(&image.digest).cloned().unwrap_or_default()),
                last_named: Found::Known(last_named.get(&image.digest).copied()),
                coverage: Found::Known(Covered { pairs: 1 }),
                last_change: Timestamp::UNIX_EPOCH,
                candidacy: Candidacy { named: true, orphaned_at: None },
            })
            .filter(|evidence| matches!(judge(evidence, &policy, now), Verdict::Delete(_)))
            .count();
        let took = begin.elapsed();
        assert_eq!(deleted, 50);
        took
    };
    let took = (0..ROUNDS).map(|_| decide()).min().expect("there are rounds");
    println!("deciding over 10,000 rows and 100 images: {took:?}");
    assert!(took < BOUND, "{took:?}");
}
