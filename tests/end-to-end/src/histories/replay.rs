//! A history in its world: one installation, the teams' calls, the faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use serde_json::json;
use simulated_aws::config::{Delays, fail_source, mend_source, set_delays};
use simulated_aws::ecr::{self, CosignPart, push_cosign, push_image, push_index, push_referrer};
use simulated_aws::ecs::replace_tasks;
use simulated_aws::{
    AccountId, Behaviours, CallSummary, DeliveryFaults, Fault, PastSchedule, Principal, Region, ServiceError,
};

use super::action::{Action, By, History, Spot, WireFault};
use super::blindfold::Blindfold;
use super::oracle::Oracle;
use crate::installation::CLEANUP_STACK;
use crate::{Installation, Mutability, Organization};

/// The example as shipped; settings that it does not show are added where the window stands.
const EXAMPLE: &str = include_str!("../../../../examples/accounts.yaml");
/// The account that is no workload.
const OUTSIDE: &str = "999999999999";
/// Between two looks of the oracle, if nothing happens.
const STEP: SignedDuration = SignedDuration::from_mins(30);
/// After the last action all faults end, and every check has so long to come: a rollback window, the lag of recorded pulls
/// and the window from there, and the longest delay of a check that waits for evidence.
const SETTLING: SignedDuration = SignedDuration::from_hours(24 + 48 + 25);

/// What goes wrong on the wire now.
#[derive(Debug)]
struct Wire {
    fault: WireFault,
    per_mille: u32,
    rng: fastrand::Rng,
}

pub(super) struct Replay {
    organization: Organization,
    outside: AccountId,
    wire: Arc<Mutex<Wire>>,
    oracle: Oracle,
    /// The ARNs of what was registered, oldest first.
    revisions: BTreeMap<Spot, Vec<String>>,
    running: BTreeSet<Spot>,
    /// What the stack was made of last.
    template: String,
    delivery: DeliveryFaults,
    stopped: BTreeSet<(AccountId, Region)>,
    failed_sources: BTreeSet<(AccountId, Region)>,
}

impl Replay {
    pub(super) fn new(history: &History, blindfold: Option<Blindfold>) -> Self {
        let organization = Organization::of_size(history.seed, history.workloads, history.regions);
        let outside = AccountId::new(OUTSIDE).expect("a constant");
        {
            let mut world = organization.aws.world();
            world.keep_calls(false);
            world.add_account(&outside);
            behave(&mut world.behaviours, history.behaviours);
        }
        Installation::through_cloudformation(&organization);
        for (number, movable) in history.movable_tags.iter().enumerate() {
            let mutability = if *movable { Mutability::Mutable } else { Mutability::Immutable };
            organization.repository(&repository_name(number), mutability);
        }
        let rng = fastrand::Rng::with_seed(history.seed);
        let wire = Arc::new(Mutex::new(Wire { fault: WireFault::Throttle, per_mille: 0, rng }));
        let shared = Arc::clone(&wire);
        organization.aws.world().add_fault_plan(move |call| {
            let wire = &mut *shared.lock().unwrap_or_else(PoisonError::into_inner);
            (wire.per_mille > 0 && is_product(call) && wire.rng.u32(0..1000) < wire.per_mille).then(|| {
                match wire.fault {
                    WireFault::Throttle => Fault::Throttle,
                    WireFault::ServerError => Fault::ServerError,
                    WireFault::Timeout => Fault::Timeout,
                    WireFault::LostAnswer => Fault::LostAnswer,
                    WireFault::CrashBefore => Fault::CrashBefore,
                    WireFault::CrashAfter => Fault::CrashAfter,
                }
            })
        });
        if let Some(blindfold) = blindfold {
            organization
                .aws
                .world()
                .add_fault_plan(move |call| if is_product(call) { blindfold.hides(call) } else { None });
        }
        let oracle = Oracle::new(&organization.aws.world(), &organization.hub, organization.home(), &outside);
        Self {
            organization,
            outside,
            wire,
            oracle,
            revisions: BTreeMap::new(),
            running: BTreeSet::new(),
            template: EXAMPLE.to_owned(),
            delivery: DeliveryFaults::default(),
            stopped: BTreeSet::new(),
            failed_sources: BTreeSet::new(),
        }
    }

    /// Lets everything happen; what the oracle says in the end.
    pub(super) fn run(mut self, history: &History) -> Vec<String> {
        let begin = self.organization.aws.now();
        for timed in &history.actions {
            self.until(begin + SignedDuration::from_mins(i64::from(timed.minute)));
            self.perform(&timed.action);
            let world = &self.organization.aws.world();
            self.oracle.look(world);
        }
        self.mend();
        self.until(self.organization.aws.now() + SETTLING);
        self.oracle.end(&mut self.organization.aws.world())
    }

    fn until(&mut self, end: jiff::Timestamp) {
        loop {
            let now = self.organization.aws.now();
            if now >= end {
                return;
            }
            self.organization.aws.advance_to((now + STEP).min(end));
            let world = &self.organization.aws.world();
            self.oracle.look(world);
        }
    }

    /// Ends all that was made to fail.
    fn mend(&mut self) {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner).per_mille = 0;
        self.perform(&Action::Delivery { lost: 0, doubled: 0, late: 0 });
        for (account, region) in std::mem::take(&mut self.stopped) {
            self.start_recording(&account, &region);
        }
        let mut world = self.organization.aws.world();
        for (account, region) in std::mem::take(&mut self.failed_sources) {
            mend_source(&mut world, &account, &region);
            self.oracle.restored(&world);
        }
    }

    fn place(&self, spot: Spot) -> (AccountId, Region) {
        let account = self.organization.workloads.get(spot.account).unwrap_or(&self.outside);
        (account.clone(), self.organization.regions[spot.region].clone())
    }

    /// What a team asks for; AWS may refuse it.
    fn ask(&self, spot: Spot, operation: &str, input: serde_json::Value) -> Result<serde_json::Value, ServiceError> {
        let (account, region) = self.place(spot);
        self.organization.aws.call(&account, &region, "ecs", operation, input)
    }

    fn start_recording(&mut self, account: &AccountId, region: &Region) {
        let input = json!({"ConfigurationRecorderName": "default"});
        self.organization.call(account, region, "config", "StartConfigurationRecorder", input);
        self.oracle.restored(&self.organization.aws.world());
    }

    fn digest(&self, repository: usize, tag: usize) -> Option<String> {
        let world = self.organization.aws.world();
        let repository =
            ecr::repository(&world, &self.organization.hub, self.organization.home(), &repository_name(repository))?;
        repository.image_tags.get(&tag_name(tag)).cloned()
    }

    fn second_child(&self, repository: usize, digest: &str) -> Option<String> {
        let world = self.organization.aws.world();
        let repository =
            ecr::repository(&world, &self.organization.hub, self.organization.home(), &repository_name(repository))?;
        repository.images.get(digest)?.children.get(1).cloned()
    }

    fn revision(&self, spot: Spot, back: usize) -> Option<String> {
        let revisions = self.revisions.get(&spot)?;
        revisions.len().checked_sub(back + 1).map(|at| revisions[at].clone())
    }

    fn perform(&mut self, action: &Action) {
        let (hub, home) = (self.organization.hub.clone(), self.organization.home().clone());
        // What a registry refuses (a tag that cannot move, say) has not happened.
        match *action {
            Action::Push { repository, tag, contents } => {
                let (name, tag) = (repository_name(repository), tag_name(tag));
                let world = &mut self.organization.aws.world();
                let _ = push_image(world, &hub, &home, &name, Some(&tag), &format!("image {contents}"));
                self.oracle.tag_moved(world, &name);
            }
            Action::PushIndex { repository, tag, contents } => {
                let (name, tag) = (repository_name(repository), tag_name(tag));
                let world = &mut self.organization.aws.world();
                let children: Vec<String> = (0..2)
                    .filter_map(|n| push_image(world, &hub, &home, &name, None, &format!("child {contents}.{n}")).ok())
                    .collect();
                let _ = push_index(world, &hub, &home, &name, Some(&tag), &children);
                self.oracle.tag_moved(world, &name);
            }
            Action::Sign { repository, tag, cosign } => {
                let Some(digest) = self.digest(repository, tag) else { return };
                let (name, world) = (repository_name(repository), &mut self.organization.aws.world());
                let _ = if cosign {
                    push_cosign(world, &hub, &home, &name, &digest, CosignPart::Signature)
                } else {
                    push_referrer(world, &hub, &home, &name, &digest, "application/vnd.cncf.notary.signature")
                };
            }
            Action::Retag { repository, from, to } => {
                let Some(digest) = self.digest(repository, from) else { return };
                let name = repository_name(repository);
                let world = &mut self.organization.aws.world();
                let manifest = ecr::images(world, &hub, &home, &name).find(|image| image.digest == digest);
                let Some(manifest) = manifest.map(|image| image.manifest.clone()) else { return };
                let input = json!({"repositoryName": name, "imageManifest": manifest, "imageTag": tag_name(to)});
                let _ = world.call(&hub, &home, "ecr", "PutImage", input);
                self.oracle.tag_moved(world, &name);
            }
            Action::Register { spot, repository, tag, by } => {
                let host = format!("{hub}.dkr.ecr.{home}.amazonaws.com/{}", repository_name(repository));
                let digest = self.digest(repository, tag);
                let child = digest.as_ref().and_then(|digest| self.second_child(repository, digest));
                let image = match (by, digest, child) {
                    (By::Digest, Some(digest), _) | (By::Child, _, Some(digest)) => format!("{host}@{digest}"),
                    _ => format!("{host}:{}", tag_name(tag)),
                };
                let input = json!({
                    "family": family_name(spot),
                    "containerDefinitions": [{"name": "main", "image": image, "memory": 128, "essential": true}],
                });
                if let Ok(answer) = self.ask(spot, "RegisterTaskDefinition", input) {
                    let arn = answer["taskDefinition"]["taskDefinitionArn"].as_str().expect("an ARN").to_owned();
                    self.oracle.event(&self.organization.aws.world(), &arn, self.delivery.lost > 0.0);
                    self.revisions.entry(spot).or_default().push(arn);
                }
            }
            Action::Run { spot, back } => {
                let Some(arn) = self.revision(spot, back) else { return };
                let family = family_name(spot);
                if self.running.contains(&spot) {
                    let input = json!({"cluster": "default", "service": family, "taskDefinition": arn});
                    let _ = self.ask(spot, "UpdateService", input);
                } else {
                    let _ = self.ask(spot, "CreateCluster", json!({"clusterName": "default"}));
                    let input = json!({
                        "cluster": "default", "serviceName": family, "taskDefinition": arn, "desiredCount": 1,
                    });
                    if self.ask(spot, "CreateService", input).is_ok() {
                        self.running.insert(spot);
                    }
                }
            }
            Action::Deregister { spot, back } => {
                let Some(arn) = self.revision(spot, back) else { return };
                self.oracle.event(&self.organization.aws.world(), &arn, self.delivery.lost > 0.0);
                let _ = self.ask(spot, "DeregisterTaskDefinition", json!({"taskDefinition": arn}));
            }
            Action::Scale { spot, tasks } => {
                if !self.running.contains(&spot) {
                    return;
                }
                let family = family_name(spot);
                let input = json!({"cluster": "default", "service": family, "desiredCount": tasks});
                let _ = self.ask(spot, "UpdateService", input);
                let (account, region) = self.place(spot);
                replace_tasks(&mut self.organization.aws.world(), &account, &region, "default", &family);
            }
            Action::Stop { spot } => {
                if self.running.remove(&spot) {
                    let input = json!({"cluster": "default", "service": family_name(spot), "force": true});
                    let _ = self.ask(spot, "DeleteService", input);
                }
            }
            Action::OptIn { repository, on } => {
                let name = repository_name(repository);
                if ecr::repository(&self.organization.aws.world(), &hub, &home, &name).is_some() {
                    if on { self.organization.opt_in(&name) } else { self.organization.opt_out(&name) }
                }
            }
            Action::Admit { repository } => {
                let principals: Vec<_> = self.organization.workloads.iter().chain([&self.outside]).collect();
                let principals: Vec<_> = principals.iter().map(|id| format!("arn:aws:iam::{id}:root")).collect();
                let policy = json!({"Version": "2012-10-17", "Statement": [{
                    "Effect": "Allow",
                    "Principal": {"AWS": principals},
                    "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"],
                }]});
                let name = repository_name(repository);
                let input = json!({"repositoryName": name, "policyText": policy.to_string()});
                self.organization.call(&hub, &home, "ecr", "SetRepositoryPolicy", input);
                self.oracle.admit(&name);
            }
            Action::Settings { dry_run, keep_newest } => self.settings(dry_run, keep_newest),
            Action::Wire { fault, per_mille } => {
                let wire = &mut *self.wire.lock().unwrap_or_else(PoisonError::into_inner);
                (wire.fault, wire.per_mille) = (fault, per_mille);
                if per_mille > 0 {
                    self.oracle.unreliable();
                }
            }
            Action::Delivery { lost, doubled, late } => {
                let part = |percent: u32| f64::from(percent) / 100.0;
                self.delivery = DeliveryFaults {
                    lost: part(lost),
                    doubled: part(doubled),
                    late: part(late),
                    late_by: SignedDuration::from_mins(20),
                    failing: 0.0,
                };
                self.organization.aws.world().set_delivery_faults(self.delivery.clone());
                if lost + late > 0 {
                    self.oracle.unreliable();
                }
            }
            Action::ConfigDelay { minutes } => {
                let range = (SignedDuration::from_secs(20), SignedDuration::from_mins(minutes));
                let delays = Delays { capture: range, aggregation: range, ..Delays::default() };
                set_delays(&mut self.organization.aws.world(), delays);
                self.oracle.slower(SignedDuration::from_mins(2 * minutes));
            }
            Action::Record { spot, on } => {
                let place = self.place(spot);
                if place.0 == self.outside {
                } else if on {
                    if self.stopped.remove(&place) {
                        self.start_recording(&place.0, &place.1);
                    }
                } else if self.stopped.insert(place.clone()) {
                    self.organization.stop_recording(&place.0, &place.1);
                    self.oracle.unreliable();
                }
            }
            Action::Source { spot, on } => {
                let place = self.place(spot);
                let mut world = self.organization.aws.world();
                if on {
                    if self.failed_sources.remove(&place) {
                        mend_source(&mut world, &place.0, &place.1);
                        self.oracle.restored(&world);
                    }
                } else {
                    fail_source(&mut world, &place.0, &place.1, "FAILED", "not authorized");
                    self.failed_sources.insert(place);
                    self.oracle.unreliable();
                }
            }
        }
    }

    /// Updates the stack, while nothing fails: what the provider does then is told by other tests.
    fn settings(&mut self, dry_run: bool, keep_newest: usize) {
        let wire = std::mem::replace(&mut self.wire.lock().unwrap_or_else(PoisonError::into_inner).per_mille, 0);
        let settings =
            format!("RollbackWindowHours: 24\n      DryRun: {dry_run}\n      KeepNewestImages: {keep_newest}");
        let template = EXAMPLE.replace("RollbackWindowHours: 24", &settings);
        let accounts: Vec<_> = self.organization.workloads.iter().map(AccountId::as_str).collect();
        let regions: Vec<_> = self.organization.regions.iter().map(Region::as_str).collect();
        let parameters = [("WorkloadAccountIds", accounts.join(",")), ("Regions", regions.join(","))];
        if template != self.template {
            self.organization.update_stack(CLEANUP_STACK, &template, &parameters).expect_status("UPDATE_COMPLETE");
            self.template = template;
        }
        self.wire.lock().unwrap_or_else(PoisonError::into_inner).per_mille = wire;
        self.oracle.settings(self.organization.aws.now(), dry_run, keep_newest);
    }
}

pub(super) fn repository_name(number: usize) -> String {
    format!("team-{number}/app")
}

fn tag_name(number: usize) -> String {
    format!("v{number}")
}

fn family_name(spot: Spot) -> String {
    format!("family-{}", spot.family)
}

/// Calls of the hub's functions, also through the evidence roles.
fn is_product(call: &CallSummary) -> bool {
    matches!(&call.principal, Principal::Role { role, .. } if role.starts_with("ecr-cleanup"))
}

/// One bit for each undocumented behaviour that a history can meet.
fn behave(behaviours: &mut Behaviours, bits: u32) {
    let switches = [
        &mut behaviours.schedules_fire_at_start_of_minute,
        &mut behaviours.ecr_delete_by_tag_and_digest_removes_image,
        &mut behaviours.ecr_batch_delete_sees_its_own_deletions,
        &mut behaviours.ecr_last_tag_of_index_child_can_go,
        &mut behaviours.ecr_batch_get_image_counts_as_pull,
        &mut behaviours.ecr_image_hidden_by_filter_is_missing,
        &mut behaviours.ecr_retag_updates_push_time,
        &mut behaviours.config_own_account_needs_authorization,
        &mut behaviours.config_deleted_task_definition_vanishes,
        &mut behaviours.ecs_inactive_can_begin_for_ten_minutes,
        &mut behaviours.ecs_inactive_revision_can_be_forced,
    ];
    for (bit, switch) in switches.into_iter().enumerate() {
        *switch = bits >> bit & 1 == 1;
    }
    if bits >> 31 == 1 {
        behaviours.past_schedule = PastSchedule::FiresAtOnce;
    }
}
