//! The handler's one path to a scheduled check, and what it asks ECR before, against the simulated services.

use std::collections::BTreeSet;

use handler::checks::{Candidate, How, Scheduled, ensure};
use handler::image::{ImageId, Selector};
use handler::repository::Repository;
use handler::schedule_checks::resolve;
use handler::settings::{Envelope, Settings};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulated_aws::{AccountId, Principal, Region, SimulatedAws};

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
        let scheduler = aws_sdk_scheduler::Client::new(&self.sdk());
        self.aws
            .run(ensure(&scheduler, &settings(), self.aws.now(), candidate))
            .unwrap_or_else(|error| panic!("{}", handler::causes::Causes(&error)))
    }

    fn schedules(&self) -> Vec<String> {
        let listed = self.call("scheduler", "ListSchedules", json!({"GroupName": "ecr-cleanup-prod-accounts"}));
        let schedules = listed["Schedules"].as_array().cloned().unwrap_or_default();
        schedules.iter().map(|schedule| schedule["Name"].as_str().expect("a name").to_owned()).collect()
    }
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
    assert_eq!((second.how, second.name), (How::Created, format!("{}-2", first.name)));
    assert_eq!(second.at, hub.aws.now() + SignedDuration::from_hours(24));
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
