//! What happens while a check is under way.
//!
//! Promise S4 against the delay of AWS Config: an event that arrives when a check of the image is due or under way is heeded,
//! although nothing but the schedule that it made knows of it yet. Promises S3 and S6: what changes in the registry between
//! the look and the deletion saves the image.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use end_to_end::{Installation, Mutability, Organization, Pushed, keep_functions_warm};
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulated_aws::config::{Delays, set_delays};
use simulated_aws::ecr::{self, push_image, push_index};
use simulated_aws::{AccountId, Fault, Principal, Region, World};

/// The example for accounts as shipped.
const EXAMPLE: &str = include_str!("../../../examples/accounts.yaml");

/// The EcrCleanup's schedule group.
const GROUP: &str = "ecr-cleanup-prod-accounts";

/// An organization whose AWS Config shows each change at once, so that the first check decides.
fn installed() -> (Organization, Installation) {
    let organization = Organization::of_size(1, 1, 1);
    let installation = Installation::through_cloudformation(&organization);
    config_takes(&organization, SignedDuration::ZERO);
    (organization, installation)
}

/// From now on AWS Config takes so long to capture a change.
fn config_takes(organization: &Organization, delay: SignedDuration) {
    set_delays(&mut organization.aws.world(), Delays { capture: (delay, delay), ..Delays::default() });
}

#[test]
fn an_event_that_makes_a_check_anew_while_the_one_that_fired_is_under_way_is_heeded() {
    let (organization, installation) = installed();
    // The schedule that fired is gone at once, so that the event finds its name free.
    organization.aws.world().behaviours.completed_schedule_remains = SignedDuration::ZERO;
    organization.repository("app", Mutability::Immutable);
    let image = organization.push("app", "v1");
    let (team, region) = (organization.workloads[0].clone(), organization.home().clone());
    let web = organization.register(&team, &region, "web", &organization.by_tag("app", "v1"));
    organization.hours(48);
    organization.deregister(&team, &region, &web);
    organization.hours(23);

    let (hub, home) = (organization.hub.clone(), organization.home().clone());
    let listed = json!({"GroupName": GROUP, "NamePrefix": "check-"});
    let listed = organization.call(&hub, &home, "scheduler", "ListSchedules", listed);
    let name = listed["Schedules"][0]["Name"].clone();
    let mut schedule =
        organization.call(&hub, &home, "scheduler", "GetSchedule", json!({"GroupName": GROUP, "Name": name}));
    for answered in ["Arn", "CreationDate", "LastModificationDate"] {
        schedule.as_object_mut().expect("an object").remove(answered);
    }
    // When the check looks at what runs, schedule-checks makes the schedule of a registration that it was just told of.
    let mut told = false;
    organization.aws.world().add_fault_plan(move |call| {
        let is_check = matches!(&call.principal, Principal::Role { role, .. } if role.contains("check-images"));
        if told || !is_check || call.operation != "SelectAggregateResourceConfig" {
            return None;
        }
        told = true;
        let (hub, home, mut schedule) = (hub.clone(), home.clone(), schedule.clone());
        Some(Fault::Meanwhile(Box::new(move |world| {
            let at = world.now() + SignedDuration::from_hours(24);
            schedule["ScheduleExpression"] = format!("at({})", at.strftime("%Y-%m-%dT%H:%M:%S")).into();
            let mut input: Value =
                serde_json::from_str(schedule["Target"]["Input"].as_str().expect("text")).expect("JSON");
            input["lastChange"] = world.now().to_string().into();
            schedule["Target"]["Input"] = input.to_string().into();
            world.call(&hub, &home, "scheduler", "CreateSchedule", schedule).expect("its name is free");
        })))
    });
    organization.hours(3);
    assert!(organization.has(&image), "a registration was told less than a rollback window ago");
    organization.hours(30);
    assert!(!organization.has(&image), "nobody registered anything in truth");
    installation.assert_healthy(&organization);
}

#[test]
fn an_event_about_a_child_keeps_the_index_that_is_about_to_take_it_along() {
    let (organization, installation) = installed();
    organization.repository("app", Mutability::Immutable);
    let child = organization.push_untagged("app", "arm64");
    let index = organization.push_index("v1", &[&child]);
    let (team, region) = (&organization.workloads[0], organization.home());
    let web = organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    organization.hours(48);
    organization.deregister(team, region, &web);
    organization.hours(1);
    config_takes(&organization, SignedDuration::from_hours(6));
    organization.hours(22);
    organization.minutes(40);
    let pinned = organization.register(team, region, "pinned", &organization.by_digest(&child));
    organization.hours(3);
    assert!(organization.has(&index), "{pinned} names its child");
    assert!(organization.has(&child), "{pinned} names it");
    organization.hours(48);
    assert!(organization.has(&child));
    installation.assert_healthy(&organization);
}

/// What somebody does to the image `app:v1` while a check of it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    GetsTag,
    LosesItsTagToAnother,
    IsDeletedAndItsTagPushedAgain,
    LeavesWithItsRepository,
    IsPulled,
    IsListedByAnIndex,
}

impl Change {
    fn happens(self, world: &mut World, hub: &AccountId, home: &Region, digest: &str) {
        let image = json!({"imageDigest": digest});
        match self {
            Self::GetsTag => {
                let found = ecr::images(world, hub, home, "app").find(|image| image.digest == digest);
                let manifest = found.expect("it is there").manifest.clone();
                let input = json!({"repositoryName": "app", "imageManifest": manifest, "imageTag": "again"});
                world.call(hub, home, "ecr", "PutImage", input).expect("a tag is put");
            }
            Self::LosesItsTagToAnother => {
                push_image(world, hub, home, "app", Some("v1"), "other contents").expect("tags can move");
            }
            Self::IsDeletedAndItsTagPushedAgain => {
                let input = json!({"repositoryName": "app", "imageIds": [image]});
                world.call(hub, home, "ecr", "BatchDeleteImage", input).expect("it is deleted");
                push_image(world, hub, home, "app", Some("v1"), "other contents").expect("the tag is free");
            }
            Self::LeavesWithItsRepository => {
                let arn = format!("arn:aws:ecr:{home}:{hub}:repository/app");
                let input = json!({"resourceArn": arn, "tagKeys": ["ecr-cleanup"]});
                world.call(hub, home, "ecr", "UntagResource", input).expect("it is untagged");
            }
            Self::IsPulled => {
                let somebody = Principal::Administrator { account: hub.clone() };
                let reference = format!("{hub}.dkr.ecr.{home}.amazonaws.com/app@{digest}");
                ecr::pull(world, &somebody, &reference).expect("it is pulled").expect("of this registry");
            }
            Self::IsListedByAnIndex => {
                push_index(world, hub, home, "app", Some("all"), &[digest.to_owned()]).expect("its child is there");
            }
        }
    }
}

/// At the first call of `operation` that the check makes after it has looked at what runs, `change` happens first; whether it
/// did.
fn meanwhile(organization: &Organization, operation: &'static str, image: &Pushed, change: Change) -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let happened = Arc::clone(&told);
    let (hub, home, digest) = (organization.hub.clone(), organization.home().clone(), image.digest.clone());
    let mut looked = false;
    organization.aws.world().add_fault_plan(move |call| {
        let is_check = matches!(&call.principal, Principal::Role { role, .. } if role.contains("check-images"));
        looked |= is_check && call.operation == "SelectAggregateResourceConfig";
        if !looked || !is_check || call.operation != operation || happened.swap(true, Ordering::Relaxed) {
            return None;
        }
        let (hub, home, digest) = (hub.clone(), home.clone(), digest.clone());
        Some(Fault::Meanwhile(Box::new(move |world| change.happens(world, &hub, &home, &digest))))
    });
    told
}

/// Which images of the repository are there and not archived, by tag.
fn under(organization: &Organization, tag: &str) -> Option<String> {
    let world = organization.aws.world();
    let repository = ecr::repository(&world, &organization.hub, organization.home(), "app").expect("it is there");
    let digest = repository.image_tags.get(tag)?;
    repository.images.get(digest).filter(|image| image.status == ecr::ImageStatus::Active)?;
    Some(digest.clone())
}

fn changes_while_it_is_checked(action: &str, mutability: Mutability, operation: &'static str, change: Change) {
    let organization = Organization::of_size(1, 1, 1);
    let properties = format!("RollbackWindowHours: 24\n      Action: {action}");
    let installation =
        Installation::of_template(&organization, &EXAMPLE.replace("RollbackWindowHours: 24", &properties));
    config_takes(&organization, SignedDuration::ZERO);
    organization.repository("app", mutability);
    let image = organization.push("app", "v1");
    let (team, region) = (&organization.workloads[0], organization.home());
    let web = organization.register(team, region, "web", &organization.by_tag("app", "v1"));
    organization.hours(48);
    organization.deregister(team, region, &web);
    organization.hours(23);
    let happened = meanwhile(&organization, operation, &image, change);
    // The check is due, and the next one that it may have asked for is not yet.
    organization.hours(1);
    organization.minutes(10);
    let what = format!("{action}, {mutability:?}, {change:?} before {operation}");
    assert!(happened.load(Ordering::Relaxed), "{what}");
    let by_tag = under(&organization, "v1");
    match change {
        Change::IsDeletedAndItsTagPushedAgain => {
            assert!(by_tag.is_some_and(|digest| digest != image.digest), "the new image is gone: {what}");
        }
        Change::LosesItsTagToAnother => {
            assert!(by_tag.is_some_and(|digest| digest != image.digest), "the new image is gone: {what}");
            assert!(organization.has(&image), "{what}");
        }
        Change::GetsTag => assert_eq!(under(&organization, "again").as_ref(), Some(&image.digest), "{what}"),
        _ => assert_eq!(by_tag.as_ref(), Some(&image.digest), "{what}"),
    }
    installation.assert_healthy(&organization);
}

#[test]
fn what_changes_between_look_and_deletion_saves_the_image() {
    for action in ["Delete", "Archive"] {
        for mutability in [Mutability::Immutable, Mutability::Mutable] {
            for change in [
                Change::GetsTag,
                Change::LosesItsTagToAnother,
                Change::IsDeletedAndItsTagPushedAgain,
                Change::LeavesWithItsRepository,
                Change::IsPulled,
                Change::IsListedByAnIndex,
            ] {
                if (mutability, change) != (Mutability::Immutable, Change::LosesItsTagToAnother) {
                    changes_while_it_is_checked(action, mutability, "ListTagsForResource", change);
                }
            }
        }
    }
}

#[test]
fn what_changes_in_the_last_moment_saves_the_image_as_far_as_ecr_can_refuse() {
    for (mutability, change) in [
        (Mutability::Immutable, Change::GetsTag),
        (Mutability::Immutable, Change::IsListedByAnIndex),
        (Mutability::Mutable, Change::LosesItsTagToAnother),
        (Mutability::Mutable, Change::IsDeletedAndItsTagPushedAgain),
        (Mutability::Mutable, Change::IsListedByAnIndex),
    ] {
        changes_while_it_is_checked("Delete", mutability, "BatchDeleteImage", change);
    }
}

#[test]
fn an_account_that_disappears_from_the_aggregator_is_not_covered_although_its_proof_is_remembered() {
    let (organization, installation) = installed();
    keep_functions_warm(&organization);
    organization.repository("app", Mutability::Immutable);
    let (used, unused) = (organization.push("app", "v1"), organization.push("app", "v2"));
    let (team, region) = (&organization.workloads[0], organization.home());
    organization.register(team, region, "stays", &organization.by_tag("app", "v1"));
    let [one, two] = ["v1", "v2"].map(|tag| organization.register(team, region, tag, &organization.by_tag("app", tag)));
    organization.hours(48);
    organization.deregister(team, region, &two);
    organization.minutes(10);
    organization.deregister(team, region, &one);
    organization.hours(23);
    organization.minutes(57);
    assert!(!organization.has(&unused), "its check has proven the account");
    // Config may have said more of it for a while; the simulation takes the nastier way.
    let hub = json!({"AuthorizedAccountId": organization.hub.as_str(), "AuthorizedAwsRegion": region.as_str()});
    organization.call(team, region, "config", "DeleteAggregationAuthorization", hub);
    organization.minutes(10);
    assert!(organization.has(&used), "its task definition is ACTIVE");
    installation.assert_healthy(&organization);
}
