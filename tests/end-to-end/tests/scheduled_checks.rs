//! The handler's one path to a scheduled check, and what it asks ECR before, against the simulated services.

use std::collections::BTreeSet;

use handler::checks::{self, Candidate, EnsureError, Fired, How, Scheduled, ensure};
use handler::image::{ImageId, Selector};
use handler::repository::Repository;
use handler::schedule_checks::resolve;
use handler::settings::{Envelope, Settings};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulated_aws::{AccountId, Fault, Principal, Region, ServiceError, SimulatedAws, World};

const ABSENT: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Hub {
    aws: SimulatedAws,
    account: AccountId,
    region: Region,
}

impl Hub {
    fn new() -> Self {
        let aws = SimulatedAws::new(1);
        let account = AccountId::new("111111111111").expect("an account");
        let region = Region::new("eu-west-1").expect("a region");
        aws.world().add_account(&account);
        Self { aws, account, region }
    }

    fn call(&self, service: &str, operation: &str, input: Value) -> Value {
        self.aws
            .call(&self.account, &self.region, service, operation, input)
            .unwrap_or_else(|error| panic!("{service}:{operation}: {error:?}"))
    }

    fn sdk(&self) -> aws_config::SdkConfig {
        self.aws.sdk_config(Principal::Administrator { account: self.account.clone() }, &self.region)
    }

    /// With a bus, a schedule group and a role for Scheduler.
    fn with_group() -> Self {
        let hub = Self::new();
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
        hub.call("iam", "CreateRole", json!({"RoleName": "r", "AssumeRolePolicyDocument": trust.to_string()}));
        hub.call("events", "CreateEventBus", json!({"Name": "ecr-cleanup-prod-accounts"}));
        hub.call("scheduler", "CreateScheduleGroup", json!({"Name": "ecr-cleanup-prod-accounts"}));
        hub
    }

    fn ensure(&self, candidate: &Candidate) -> Scheduled {
        self.try_ensure(candidate).unwrap_or_else(|error| panic!("{}", handler::causes::Causes(&error)))
    }

    fn try_ensure(&self, candidate: &Candidate) -> Result<Scheduled, EnsureError> {
        let scheduler = aws_sdk_scheduler::Client::new(&self.sdk());
        self.aws.run(ensure(&scheduler, &settings(), self.aws.now(), candidate))
    }

    fn schedules(&self) -> Vec<String> {
        let listed = self.call("scheduler", "ListSchedules", json!({"GroupName": GROUP}));
        let schedules = listed["Schedules"].as_array().cloned().unwrap_or_default();
        schedules.iter().map(|schedule| schedule["Name"].as_str().expect("a name").to_owned()).collect()
    }

    /// What a schedule asks for, and when.
    fn schedule(&self, name: &str) -> (String, Value) {
        let found = self.call("scheduler", "GetSchedule", json!({"GroupName": GROUP, "Name": name}));
        let input = found["Target"]["Input"].as_str().expect("an input");
        let at = found["ScheduleExpression"].as_str().expect("an expression").to_owned();
        (at, serde_json::from_str(input).expect("JSON"))
    }

    /// Does `step` right before the first call of `operation`.
    fn meanwhile(&self, operation: &'static str, step: impl FnOnce(&mut World) + Send + 'static) {
        let mut step = Some(step);
        self.aws.world().add_fault_plan(move |call| {
            let step = (call.operation == operation).then(|| step.take()).flatten()?;
            Some(Fault::Meanwhile(Box::new(step)))
        });
    }

    /// Another one's call to Scheduler.
    fn other(&self, operation: &'static str, input: Value) -> impl FnOnce(&mut World) + Send + use<> {
        let (account, region) = (self.account.clone(), self.region.clone());
        move |world| {
            world.call(&account, &region, "scheduler", operation, input).expect("allowed");
        }
    }
}

/// The name of the second generation.
fn again(first: &str) -> String {
    format!("{first}-2")
}

/// The EcrCleanup's schedule group.
const GROUP: &str = "ecr-cleanup-prod-accounts";

/// A schedule of the image's check as another one makes it, so many hours after `start`.
fn schedule_of_another(name: &str, start: Timestamp, hours: i64) -> Value {
    let at = start + SignedDuration::from_hours(hours);
    let change = at - SignedDuration::from_hours(24);
    let detail = json!({
        "repository": {"account": "111111111111", "region": "eu-west-1", "name": "team/api"},
        "digest": ABSENT, "lastChange": change.to_string(), "postponements": 0, "generation": 1,
    });
    json!({
        "GroupName": GROUP, "Name": name, "ActionAfterCompletion": "DELETE",
        "ScheduleExpression": format!("at({})", at.strftime("%Y-%m-%dT%H:%M:%S")),
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": "arn:aws:events:eu-west-1:111111111111:event-bus/ecr-cleanup-prod-accounts",
            "RoleArn": "arn:aws:iam::111111111111:role/r", "Input": detail.to_string(),
            "EventBridgeParameters": {"Source": "ecr-cleanup", "DetailType": "Image Deletion Check Due"},
        },
    })
}

fn settings() -> Settings {
    let message = json!({
        "cleanup": {
            "schemaVersion": 1, "name": "prod", "kind": "accounts",
            "hub": {"account": "111111111111", "region": "eu-west-1"},
            "aggregatorName": "ecr-cleanup-prod-accounts", "scheduleGroupName": "ecr-cleanup-prod-accounts",
            "eventBusArn": "arn:aws:events:eu-west-1:111111111111:event-bus/ecr-cleanup-prod-accounts",
            "schedulerRoleArn": "arn:aws:iam::111111111111:role/r",
            "regions": ["eu-west-1"], "optInTag": {"key": "ecr-cleanup", "value": null},
            "rollbackWindowHours": 24, "dryRun": false, "keepNewestImages": 0, "keepTagPatterns": [],
        },
        "event": {
            "id": "1", "source": "aws.ecs", "detail-type": "x", "account": "222222222222", "region": "eu-west-1",
            "time": "2026-03-02T09:00:00Z", "detail": {},
        },
    });
    Envelope::read(&message.to_string()).expect("readable").settings
}

fn repository() -> Repository {
    serde_json::from_value(json!({"account": "111111111111", "region": "eu-west-1", "name": "team/api"}))
        .expect("valid")
}

fn changed(at: Timestamp, now: Timestamp) -> Candidate {
    let image = ImageId { repository: repository(), digest: ABSENT.parse().expect("a digest") };
    Candidate::changed(image, at, &settings(), now)
}

#[test]
fn a_check_is_created_left_alone_and_moved_but_never_made_earlier() {
    let hub = Hub::with_group();
    let start = hub.aws.now();
    let day = SignedDuration::from_hours(24);
    let first = hub.ensure(&changed(start, start));
    assert_eq!((first.how, first.at), (How::Created, start + day));
    hub.aws.advance(SignedDuration::from_hours(1));
    let later = hub.ensure(&changed(hub.aws.now(), hub.aws.now()));
    assert_eq!((later.how, later.at, &later.name), (How::Moved, hub.aws.now() + day, &first.name));
    let earlier = hub.ensure(&changed(start, hub.aws.now()));
    assert_eq!((earlier.how, earlier.at, &earlier.name), (How::Pending, later.at, &first.name));
    assert_eq!(hub.schedules(), [first.name]);
}

#[test]
fn a_check_that_is_about_to_fire_is_followed_by_one_under_a_fresh_name() {
    let hub = Hub::with_group();
    let start = hub.aws.now();
    let first = hub.ensure(&changed(start, start));
    hub.aws.advance(SignedDuration::from_hours(24) - SignedDuration::from_mins(1));
    let second = hub.ensure(&changed(hub.aws.now(), hub.aws.now()));
    assert_eq!((second.how, second.name), (How::Created, again(&first.name)));
    assert_eq!(second.at, hub.aws.now() + SignedDuration::from_hours(24));

    // Whoever is about to act on the first finds the second, and what it knows.
    let scheduler = aws_sdk_scheduler::Client::new(&hub.sdk());
    let (settings, image) = (settings(), changed(start, start).image);
    hub.aws.advance(SignedDuration::from_secs(90));
    let mut fired = Fired::default();
    fired.add(1, hub.aws.now());
    let pending = hub.aws.run(checks::pending(&scheduler, &settings, &image.repository)).expect("listed");
    let known = hub.aws.run(checks::known_change(&scheduler, &settings, &image, &pending, &fired));
    assert_eq!(known.expect("read"), Some(second.due.last_change));
}

#[test]
fn a_check_that_has_just_fired_is_followed_by_one_under_a_fresh_name_and_under_the_old_one_once_it_is_gone() {
    let hub = Hub::with_group();
    let start = hub.aws.now();
    let first = hub.ensure(&changed(start, start));
    hub.aws.advance(SignedDuration::from_hours(24) + SignedDuration::from_secs(30));
    assert_eq!(hub.schedules(), [first.name.as_str()], "it is still there after it fired");
    let second = hub.ensure(&changed(hub.aws.now(), hub.aws.now()));
    assert_eq!((second.how, second.name.clone()), (How::Created, again(&first.name)));
    hub.aws.advance(SignedDuration::from_hours(1));
    let third = hub.ensure(&changed(hub.aws.now(), hub.aws.now()));
    assert_eq!((third.how, &third.name), (How::Created, &first.name));
    let both = BTreeSet::from([first.name.clone(), second.name]);
    assert_eq!(BTreeSet::from_iter(hub.schedules()), both, "both are due, and each computes for itself");
}

#[test]
fn an_update_that_loses_against_the_deletion_of_its_schedule_takes_a_fresh_name() {
    let hub = Hub::with_group();
    let start = hub.aws.now();
    let first = hub.ensure(&changed(start, start));
    hub.aws.advance(SignedDuration::from_hours(1));
    let gone = hub.other("DeleteSchedule", json!({"GroupName": GROUP, "Name": first.name}));
    hub.meanwhile("UpdateSchedule", gone);
    let second = hub.ensure(&changed(hub.aws.now(), hub.aws.now()));
    assert_eq!((second.how, second.name.clone()), (How::Created, again(&first.name)));
    assert_eq!(hub.schedules(), [second.name]);
}

#[test]
fn a_schedule_that_goes_between_two_looks_leaves_its_name_free() {
    let hub = Hub::with_group();
    let start = hub.aws.now();
    let first = hub.ensure(&changed(start, start));
    let gone = hub.other("DeleteSchedule", json!({"GroupName": GROUP, "Name": first.name}));
    hub.meanwhile("GetSchedule", gone);
    let second = hub.ensure(&changed(start, start));
    assert_eq!((second.how, second.name), (How::Created, first.name));
}

#[test]
fn of_two_that_create_a_check_at_the_same_time_the_later_one_counts() {
    for (hours, how, expected) in [(30, How::Pending, 30), (20, How::Moved, 24)] {
        let hub = Hub::with_group();
        let start = hub.aws.now();
        let name = hub.ensure(&changed(start, start)).name;
        hub.call("scheduler", "DeleteSchedule", json!({"GroupName": GROUP, "Name": name}));
        hub.meanwhile("CreateSchedule", hub.other("CreateSchedule", schedule_of_another(&name, start, hours)));
        let scheduled = hub.ensure(&changed(start, start));
        let at = start + SignedDuration::from_hours(expected);
        assert_eq!((scheduled.how, scheduled.at, &scheduled.name), (how, at, &name));
        let (expression, detail) = hub.schedule(&name);
        assert_eq!(expression, format!("at({})", at.strftime("%Y-%m-%dT%H:%M:%S")));
        assert_eq!(detail["lastChange"], (at - SignedDuration::from_hours(24)).to_string(), "{how:?}");
    }
}

#[test]
fn an_update_that_conflicts_looks_again_and_gives_up_if_that_never_ends() {
    let conflict = || Fault::Refuse(ServiceError::new("ConflictException", "a conflict").with_status(409));
    for (conflicts, settled) in [(1, true), (usize::MAX, false)] {
        let hub = Hub::with_group();
        let start = hub.aws.now();
        let first = hub.ensure(&changed(start, start));
        hub.aws.advance(SignedDuration::from_hours(1));
        let now = hub.aws.now();
        let mut left = conflicts;
        hub.aws.world().add_fault_plan(move |call| {
            let refused = call.operation == "UpdateSchedule" && left > 0;
            left -= usize::from(refused);
            refused.then(conflict)
        });
        match hub.try_ensure(&changed(now, now)) {
            Ok(second) if settled => {
                assert_eq!((second.how, second.name), (How::Moved, first.name));
                assert_eq!(second.at, now + SignedDuration::from_hours(24));
            }
            Err(error @ EnsureError::Unsettled(_)) if !settled => {
                assert!(error.to_string().contains(ABSENT), "{error}");
                assert_eq!(hub.schedules(), [first.name], "the check that there was is still there");
            }
            other => panic!("{conflicts} conflicts: {other:?}"),
        }
    }
}

#[test]
fn a_creation_or_an_update_whose_answer_is_lost_is_done_once() {
    for (lost, how) in [("CreateSchedule", How::Created), ("UpdateSchedule", How::Moved)] {
        let hub = Hub::with_group();
        let start = hub.aws.now();
        if how == How::Moved {
            hub.ensure(&changed(start, start));
            hub.aws.advance(SignedDuration::from_hours(1));
        }
        let mut lose = true;
        hub.aws.world().add_fault_plan(move |call| {
            (call.operation == lost && std::mem::take(&mut lose)).then_some(Fault::LostAnswer)
        });
        let now = hub.aws.now();
        let scheduled = hub.ensure(&changed(now, now));
        assert_eq!((scheduled.how, scheduled.at), (how, now + SignedDuration::from_hours(24)));
        assert_eq!(hub.schedules(), [scheduled.name]);
    }
}

#[test]
fn a_schedule_that_is_not_as_we_make_them_is_replaced() {
    let hub = Hub::with_group();
    let start = hub.aws.now();
    let name = hub.ensure(&changed(start, start)).name;
    let mut odd = schedule_of_another(&name, start, 30);
    odd["Target"]["Input"] = json!("{}");
    hub.call("scheduler", "UpdateSchedule", odd);
    let scheduled = hub.ensure(&changed(start, start));
    assert_eq!((scheduled.how, &scheduled.name), (How::Moved, &name));
    assert_eq!(hub.schedule(&name).1["digest"], ABSENT);
}

#[test]
fn a_missing_group_is_an_error_that_names_it() {
    let hub = Hub::new();
    let scheduler = aws_sdk_scheduler::Client::new(&hub.sdk());
    let now = hub.aws.now();
    let error = hub.aws.run(ensure(&scheduler, &settings(), now, &changed(now, now))).expect_err("no group");
    let text = handler::causes::Causes(&error).to_string();
    assert!(text.contains("no schedule group ecr-cleanup-prod-accounts"), "{text}");
}

#[test]
fn references_to_images_that_are_gone_do_not_hide_the_others() {
    let hub = Hub::new();
    hub.call("ecr", "CreateRepository", json!({"repositoryName": "team/api"}));
    let put = |tag: &str| {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [], "annotations": {"tag": tag},
        });
        let manifest = manifest.to_string();
        let input = json!({"repositoryName": "team/api", "imageManifest": manifest, "imageTag": tag});
        hub.call("ecr", "PutImage", input)["image"]["imageId"]["imageDigest"].as_str().expect("a digest").to_owned()
    };
    let (one, two) = (put("one"), put("two"));
    let tag = |tag: &str| Selector::Tag(tag.parse().expect("a tag"));
    let digest = |digest: &str| Selector::Digest(digest.parse().expect("a digest"));
    let asked: BTreeSet<Selector> =
        [tag("one"), tag("gone"), digest(&two), digest(ABSENT), tag("two"), tag("gone-too")].into();
    let ecr = aws_sdk_ecr::Client::new(&hub.sdk());
    let found = hub.aws.run(resolve::digests(&ecr, &repository(), &asked)).expect("an answer");
    let found: Vec<(Selector, String)> = found.into_iter().map(|(s, d)| (s, d.to_string())).collect();
    assert_eq!(found, [(digest(&two), two.clone()), (tag("one"), one), (tag("two"), two)]);
}
