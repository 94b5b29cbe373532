//! Promise S4 against the delay of AWS Config: an event that arrives when a check of the image is due or under way is heeded,
//! although nothing but the schedule that it made knows of it yet.

use end_to_end::{Installation, Mutability, Organization};
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulated_aws::config::{Delays, set_delays};
use simulated_aws::{Fault, Principal};

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
