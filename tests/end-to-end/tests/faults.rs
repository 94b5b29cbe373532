//! Promise S7: whatever goes wrong at whichever call of `schedule-checks` and `check-images`, the end is the same.
//!
//! Each scene is played once for every call that the functions make in it, and something goes wrong at that call. Three hours
//! after the rollback window nothing may remind of it: what was to be deleted is gone with all its parts, what is used is
//! there, this was told, and no message and no schedule is left.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use end_to_end::{Installation, Mutability, Organization, Outcome, Outcomes, Pushed};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulated_aws::{CallSummary, Fault, Principal};

/// More calls than the functions make in any scene.
const MOST_CALLS: usize = 48;

/// The fewest calls that the functions make in a scene: fewer would mean that nothing is attacked.
const FEWEST_CALLS: usize = 20;

/// The EcrCleanup's schedule group, which has the name of its bus.
const GROUP: &str = "ecr-cleanup-prod-accounts";

/// What happens at a call.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    fault: fn() -> Fault,
    /// Whether it happens again when the call is repeated within a minute, as the SDK does.
    lasts: bool,
}

/// What is at stake.
#[derive(Debug, Clone, Copy)]
enum Scene {
    /// An image that nothing uses.
    Unused(Mutability),
    /// An index that nothing uses, with children, a signature of its own and one of a child.
    UnusedIndex(Mutability),
    /// An image that a task definition of another family names by its digest.
    Used(Mutability),
}

const SCENES: [Scene; 5] = [
    Scene::Unused(Mutability::Immutable),
    Scene::Unused(Mutability::Mutable),
    Scene::UnusedIndex(Mutability::Immutable),
    Scene::UnusedIndex(Mutability::Mutable),
    Scene::Used(Mutability::Immutable),
];

/// A scene that is ready to be played: old images, and the task definition whose deregistration begins it.
struct Play {
    scene: Scene,
    image: Pushed,
    revision: String,
}

struct Stage {
    organization: Organization,
    installation: Installation,
    outcomes: Outcomes,
}

impl Stage {
    fn new() -> Self {
        let organization = Organization::of_size(1, 1, 1);
        let installation = Installation::through_cloudformation(&organization);
        let outcomes = Outcomes::listen(&organization, GROUP);
        // Nothing comes to the functions' help.
        let sweep = json!({"GroupName": GROUP, "Name": "sweep"});
        organization.call(&organization.hub, organization.home(), "scheduler", "DeleteSchedule", sweep);
        Self { organization, installation, outcomes }
    }

    fn prepare(&self, scene: Scene, repository: &str) -> Play {
        let organization = &self.organization;
        let (team, region) = (&organization.workloads[0], organization.home());
        let (Scene::Unused(mutability) | Scene::UnusedIndex(mutability) | Scene::Used(mutability)) = scene;
        organization.repository(repository, mutability);
        let image = match scene {
            Scene::UnusedIndex(_) => {
                let children = ["amd64", "arm64"].map(|contents| organization.push_untagged(repository, contents));
                let index = organization.push_index("v1", &[&children[0], &children[1]]);
                organization.sign(&index);
                organization.sign(&children[0]);
                index
            }
            Scene::Unused(_) | Scene::Used(_) => organization.push(repository, "v1"),
        };
        if let Scene::Used(_) = scene {
            organization.register(team, region, &format!("{repository}-api"), &organization.by_digest(&image));
        }
        let revision = organization.register(team, region, repository, &organization.by_tag(repository, "v1"));
        Play { scene, image, revision }
    }

    /// Plays a scene, with trouble at the call of that number; whether there were as many calls.
    fn play(&self, play: &Play, trouble: Trouble, number: usize) -> bool {
        let organization = &self.organization;
        let happened = Arc::new(Mutex::new(Happened::default()));
        let state = Arc::clone(&happened);
        organization.aws.world().add_fault_plan(move |call| {
            state.lock().unwrap_or_else(PoisonError::into_inner).look(call, trouble, number)
        });
        organization.deregister(&organization.workloads[0], organization.home(), &play.revision);
        organization.hours(27);
        organization.aws.world().clear_fault_plans();
        let happened = happened.lock().unwrap_or_else(PoisonError::into_inner).at;
        let at = format!("{:?}, call {number}: {happened:?}", play.scene);
        self.assert_ended(play, &at);
        organization.aws.world().clear_calls();
        happened.is_some()
    }

    fn assert_ended(&self, play: &Play, at: &str) {
        let told = self.outcomes.take(&self.organization);
        let last = told.iter().rfind(|outcome| outcome.digest == play.image.digest);
        let what = last.map(|Outcome { what, .. }| what.as_str());
        let left: BTreeSet<String> = self.organization.images(&play.image.repository).into_keys().collect();
        match play.scene {
            Scene::Used(_) => {
                assert!(left.contains(&play.image.digest), "a used image was deleted: {at}");
                assert_eq!(what, Some("Image Kept"), "{at}: {told:#?}");
            }
            Scene::Unused(_) | Scene::UnusedIndex(_) => {
                assert_eq!(what, Some("Image Deleted"), "{at}: {told:#?}");
                assert_eq!(left, BTreeSet::new(), "{at}: {told:#?}");
            }
        }
        self.assert_idle(at);
        self.installation.assert_healthy(&self.organization);
    }

    /// No message waits or is on its way, and no check is scheduled.
    fn assert_idle(&self, at: &str) {
        let organization = &self.organization;
        let (hub, home) = (&organization.hub, organization.home());
        for queue in ["ecr-cleanup-schedule-checks", "ecr-cleanup-check-images"] {
            let waiting = organization.aws.world().messages_in(hub, home, queue);
            assert_eq!(waiting, [] as [String; 0], "{queue} holds messages: {at}");
        }
        let schedules = organization.call(hub, home, "scheduler", "ListSchedules", json!({"GroupName": GROUP}));
        assert_eq!(schedules["Schedules"], json!([]), "{at}");
    }
}

/// What went wrong already.
#[derive(Debug, Default)]
struct Happened {
    calls: usize,
    at: Option<(&'static str, &'static str)>,
    /// The call that fails again until then.
    again: Option<(Value, Timestamp)>,
}

impl Happened {
    fn look(&mut self, call: &CallSummary, trouble: Trouble, number: usize) -> Option<Fault> {
        if !is_of_a_function(call) {
            return None;
        }
        self.calls += 1;
        let now = call.at;
        match (self.at, &self.again) {
            (None, _) if self.calls == number => {
                self.at = Some((call.service, call.operation));
                self.again = trouble.lasts.then(|| (call.input.clone(), now + SignedDuration::from_mins(1)));
                Some((trouble.fault)())
            }
            (Some((_, operation)), Some((input, until)))
                if call.operation == operation && call.input == *input && now < *until =>
            {
                Some((trouble.fault)())
            }
            _ => None,
        }
    }
}

/// Calls of the two functions, also through the evidence roles.
fn is_of_a_function(call: &CallSummary) -> bool {
    matches!(&call.principal, Principal::Role { role, .. }
        if ["-schedule-checks-", "-check-images-", "-evidence-"].iter().any(|name| role.contains(name)))
}

/// Plays every scene once for each of its calls.
fn the_end_is_the_same(fault: fn() -> Fault, lasts: bool) {
    let stage = Stage::new();
    let trouble = Trouble { fault, lasts };
    let plays: Vec<Vec<Play>> = SCENES
        .iter()
        .enumerate()
        .map(|(scene, kind)| {
            (1..=MOST_CALLS).map(|number| stage.prepare(*kind, &format!("scene-{scene}-call-{number}"))).collect()
        })
        .collect();
    stage.organization.hours(49);
    stage.outcomes.take(&stage.organization);
    for of_scene in &plays {
        let calls = (1..=MOST_CALLS).find(|number| !stage.play(&of_scene[number - 1], trouble, *number));
        let calls = calls.expect("a scene has fewer calls") - 1;
        println!("{:?}: {calls} calls", of_scene[0].scene);
        assert!(calls >= FEWEST_CALLS, "{:?} has {calls} calls", of_scene[0].scene);
    }
}

#[test]
fn a_call_that_is_throttled_changes_nothing_in_the_end() {
    the_end_is_the_same(|| Fault::Throttle, true);
}

#[test]
fn a_call_that_fails_in_the_service_changes_nothing_in_the_end() {
    the_end_is_the_same(|| Fault::ServerError, true);
}

#[test]
fn a_call_that_is_not_answered_changes_nothing_in_the_end() {
    the_end_is_the_same(|| Fault::Timeout, true);
}

#[test]
fn an_answer_that_is_lost_once_changes_nothing_in_the_end() {
    the_end_is_the_same(|| Fault::LostAnswer, false);
}

#[test]
fn an_answer_that_is_lost_again_and_again_changes_nothing_in_the_end() {
    the_end_is_the_same(|| Fault::LostAnswer, true);
}

#[test]
fn a_crash_before_a_call_changes_nothing_in_the_end() {
    the_end_is_the_same(|| Fault::CrashBefore, false);
}

#[test]
fn a_crash_after_a_call_changes_nothing_in_the_end() {
    the_end_is_the_same(|| Fault::CrashAfter, false);
}

/// Plays a scene in which the first answer to `operation` is altered; all that is told of the image, in order.
fn told_after_altered_answer(operation: &'static str, alter: fn(&mut Value)) -> Vec<String> {
    let stage = Stage::new();
    let play = stage.prepare(Scene::Unused(Mutability::Immutable), "app");
    stage.organization.hours(49);
    stage.outcomes.take(&stage.organization);
    let mut left = 1;
    stage.organization.aws.world().add_fault_plan(move |call| {
        let alters = is_of_a_function(call) && call.operation == operation && left > 0;
        left -= usize::from(alters);
        alters.then(|| Fault::Alter(Box::new(alter)))
    });
    stage.organization.deregister(&stage.organization.workloads[0], stage.organization.home(), &play.revision);
    stage.organization.hours(27);
    assert!(!stage.organization.has(&play.image));
    stage.assert_idle(operation);
    let told = stage.outcomes.take(&stage.organization);
    told.into_iter().map(|Outcome { what, code, .. }| format!("{what}: {code}")).collect()
}

#[test]
fn an_outcome_of_which_the_bus_says_that_it_failed_is_told_again() {
    let told = told_after_altered_answer("PutEvents", |answer| {
        answer["FailedEntryCount"] = json!(1);
        answer["Entries"] = json!([{"ErrorCode": "InternalFailure", "ErrorMessage": "try again"}]);
    });
    let expected = ["Image Deleted: unused", "Image Check Postponed: message-late", "Image Deleted: already-gone"];
    assert_eq!(told, expected);
}

#[test]
fn an_image_of_which_ecr_says_that_it_failed_is_told_as_failed_and_tried_again() {
    let told = told_after_altered_answer("BatchDeleteImage", |answer| {
        let failed = answer["imageIds"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let failure = |id| json!({"imageId": id, "failureCode": "KmsError", "failureReason": "the key is disabled"});
        answer["failures"] = failed.into_iter().map(failure).collect();
    });
    let expected =
        ["Image Deletion Failed: failed", "Image Check Postponed: message-late", "Image Deleted: already-gone"];
    assert_eq!(told, expected);
}
