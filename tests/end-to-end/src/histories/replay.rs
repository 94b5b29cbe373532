//! A history in its world: one installation, the teams' calls, the faults.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use serde_json::json;
use simulated_aws::config::{
    self, Delays, InnerUnderscore, Item, StatusSpelling, fail_source, items, mend_source, set_delays,
};
use simulated_aws::ecr::{self, CosignPart, fail_deletions, push_cosign, push_image, push_index, push_referrer};
use simulated_aws::ecs::{replace_tasks, set_rollout_time};
use simulated_aws::{
    AccountId, Behaviours, CallSummary, DeliveryFaults, Fault, PastSchedule, Principal, Region, ServiceError,
};

use super::action::{Action, Blindness, By, History, OptIn, Spot, WireFault};
use super::blindfold::Blindfold;
use super::oracle::{ENABLED, LONG_WINDOW, Oracle};
use crate::installation::CLEANUP_STACK;
use crate::{Installation, Mutability, Organization, keep_functions_warm};

/// The example as shipped; settings that it does not show are added where the window stands.
const EXAMPLE: &str = include_str!("../../../../examples/accounts.yaml");
/// The account that is no workload.
const OUTSIDE: &str = "999999999999";
/// Between two looks of the oracle, if nothing happens.
const STEP: SignedDuration = SignedDuration::from_mins(30);
/// After the last action all faults end, and everything that is unused has so long to go: a rollback window and the lag of
/// recorded pulls, a sweep that finds it, and another for what it held.
const SETTLING: SignedDuration = SignedDuration::from_hours(24 + 24 + 24 + 25);

/// Within so long a message is handled, if nothing fails: batches are waited for, and retries.
const HANDLED: SignedDuration = SignedDuration::from_mins(45);

/// What goes wrong on the wire now.
#[derive(Debug)]
struct Wire {
    fault: WireFault,
    per_mille: u32,
    rng: fastrand::Rng,
}

/// How long deployments take if nobody says otherwise.
const ROLLOUT: SignedDuration = SignedDuration::from_mins(3);

/// What the stack with the EcrCleanup is made of.
#[derive(Debug, Clone, PartialEq)]
struct Declared {
    dry_run: bool,
    keep_newest: usize,
    check_untagged: bool,
    archive: bool,
    workloads: usize,
}

impl Declared {
    /// The example with these properties. Images that were never deployed are checked as soon as all others, so that
    /// histories need not last for weeks.
    fn template(&self) -> String {
        let Self { dry_run, keep_newest, check_untagged, archive, workloads: _ } = self;
        let action = if *archive { "Archive" } else { "Delete" };
        let untagged = if *check_untagged { "Check" } else { "Keep" };
        let properties = [
            "RollbackWindowHours: 24".to_owned(),
            "NeverDeployedAfterHours: 24".to_owned(),
            format!("Action: {action}"),
            format!("UntaggedImages: {untagged}"),
            format!("DryRun: {dry_run}"),
            format!("KeepNewestImages: {keep_newest}"),
        ];
        EXAMPLE.replace("RollbackWindowHours: 24", &properties.join("\n      "))
    }
}

pub(super) struct Replay {
    organization: Organization,
    installation: Installation,
    outside: AccountId,
    wire: Arc<Mutex<Wire>>,
    oracle: Oracle,
    /// The ARNs of what was registered, oldest first.
    revisions: BTreeMap<Spot, Vec<String>>,
    running: BTreeSet<Spot>,
    task_sets: BTreeMap<Spot, Vec<String>>,
    declared: Declared,
    delivery: DeliveryFaults,
    wire_fails: bool,
    delivery_fails: bool,
    blind: BTreeSet<(Spot, Blindness)>,
    /// Users outside ECS.
    outsiders: BTreeMap<Spot, Item>,
    /// Of each repository, the child that indexes have in common.
    common_children: BTreeMap<usize, String>,
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
        let declared = Declared {
            dry_run: false,
            keep_newest: 0,
            check_untagged: !history.seed.is_multiple_of(4),
            archive: history.seed % 8 == 5,
            workloads: organization.workloads.len(),
        };
        let installation = Installation::of_template(&organization, &declared.template());
        keep_functions_warm(&organization);
        for (number, movable) in history.movable_tags.iter().enumerate() {
            let mutability = if *movable { Mutability::Mutable } else { Mutability::Immutable };
            organization.repository(&repository_name(number), mutability);
        }
        let rng = fastrand::Rng::with_seed(history.seed);
        let wire = Arc::new(Mutex::new(Wire { fault: WireFault::Throttle, per_mille: 0, rng }));
        let shared = Arc::clone(&wire);
        organization.aws.world().add_fault_plan(move |call| {
            let wire = &mut *shared.lock().unwrap_or_else(PoisonError::into_inner);
            if wire.per_mille == 0 || !is_product(call) || wire.rng.u32(0..1000) >= wire.per_mille {
                return None;
            }
            match wire.fault {
                WireFault::Throttle => Some(Fault::Throttle),
                WireFault::ServerError => Some(Fault::ServerError),
                WireFault::Timeout => Some(Fault::Timeout),
                WireFault::LostAnswer => Some(Fault::LostAnswer),
                WireFault::CrashBefore => Some(Fault::CrashBefore),
                WireFault::CrashAfter => Some(Fault::CrashAfter),
                // An entry that was published all the same comes twice. ECR's part is in the simulation.
                WireFault::PartialBatch => (call.operation == "PutEvents").then(|| {
                    Fault::Alter(Box::new(|answer| {
                        answer["FailedEntryCount"] = json!(1);
                        answer["Entries"][0] = json!({"ErrorCode": "InternalFailure", "ErrorMessage": "try again"});
                    }))
                }),
            }
        });
        if let Some(blindfold) = blindfold {
            organization
                .aws
                .world()
                .add_fault_plan(move |call| if is_product(call) { blindfold.hides(call) } else { None });
        }
        let mut oracle = Oracle::new(&organization.aws.world(), &organization.hub, organization.home(), &outside);
        oracle.expect(declared.check_untagged, declared.archive);
        Self {
            declared,
            organization,
            installation,
            outside,
            wire,
            oracle,
            revisions: BTreeMap::new(),
            running: BTreeSet::new(),
            task_sets: BTreeMap::new(),
            delivery: DeliveryFaults::default(),
            wire_fails: false,
            delivery_fails: false,
            blind: BTreeSet::new(),
            outsiders: BTreeMap::new(),
            common_children: BTreeMap::new(),
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
        let waiting = self.oracle.messages(&mut self.organization.aws.world());
        self.until(self.organization.aws.now() + HANDLED);
        let violations = self.oracle.end(&mut self.organization.aws.world(), &waiting);
        self.organization.aws.shut_down();
        violations
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
        self.perform(&Action::Wire { fault: WireFault::PartialBatch, per_mille: 0 });
        self.perform(&Action::Delivery { lost: 0, doubled: 0, late: 0, failing: 0 });
        for (spot, by) in self.blind.clone() {
            self.perform(&Action::Blind { spot, by, on: false });
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
            }
            Action::PushIndex { repository, tag, contents } => {
                let (name, tag) = (repository_name(repository), tag_name(tag));
                let world = &mut self.organization.aws.world();
                let mut child = |contents: &str| push_image(world, &hub, &home, &name, None, contents).ok();
                // Two thirds of a repository's indexes have their first child in common.
                let first = if contents.is_multiple_of(3) {
                    child(&format!("child {contents}.0"))
                } else {
                    // What is there already cannot be pushed again.
                    child("child").inspect(|digest| {
                        self.common_children.insert(repository, digest.clone());
                    });
                    self.common_children.get(&repository).cloned()
                };
                let children: Vec<String> = first.into_iter().chain(child(&format!("child {contents}.1"))).collect();
                let _ = push_index(world, &hub, &home, &name, Some(&tag), &children);
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
            }
            Action::DeleteTag { repository, tag } => {
                let ids = json!([{"imageTag": tag_name(tag)}]);
                let input = json!({"repositoryName": repository_name(repository), "imageIds": ids});
                let _ = self.organization.aws.call(&hub, &home, "ecr", "BatchDeleteImage", input);
            }
            Action::Register { spot, repository, tag, by, beside } => {
                let container =
                    |name: &str, image: String| json!({"name": name, "image": image, "memory": 128, "essential": true});
                let main = container("main", self.reference(spot, repository, tag, by));
                let beside =
                    beside.map(|(repository, tag)| container("beside", self.reference(spot, repository, tag, By::Tag)));
                let containers: Vec<_> = std::iter::once(main).chain(beside).collect();
                let input = json!({"family": family_name(spot), "containerDefinitions": containers});
                if let Ok(answer) = self.ask(spot, "RegisterTaskDefinition", input) {
                    let arn = answer["taskDefinition"]["taskDefinitionArn"].as_str().expect("an ARN").to_owned();
                    self.told(spot, &arn);
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
                self.told(spot, &arn);
                let _ = self.ask(spot, "DeregisterTaskDefinition", json!({"taskDefinition": arn}));
            }
            Action::Redeploy { spot } => {
                if self.running.contains(&spot) {
                    let service = family_name(spot);
                    let input = json!({"cluster": "default", "service": service, "forceNewDeployment": true});
                    let _ = self.ask(spot, "UpdateService", input);
                }
            }
            Action::RunTask { spot, back } => {
                let Some(arn) = self.revision(spot, back) else { return };
                let _ = self.ask(spot, "CreateCluster", json!({"clusterName": "default"}));
                let _ = self.ask(spot, "RunTask", json!({"cluster": "default", "taskDefinition": arn}));
            }
            Action::UseOutsideEcs { spot, repository, tag, by } => {
                let (account, region) = self.place(spot);
                let reference = self.reference(spot, repository, tag, by);
                let name = family_name(spot);
                let digest = self.digest(repository, tag).filter(|_| by == By::Both);
                let item = if let Some(digest) = digest {
                    items::lambda_function(&json!({
                        "FunctionName": name, "PackageType": "Image",
                        "FunctionArn": format!("arn:aws:lambda:{region}:{account}:function:{name}"),
                        "CodeSha256": digest.trim_start_matches("sha256:"),
                    }))
                } else {
                    items::code_build_project(&json!({
                        "name": name, "arn": format!("arn:aws:codebuild:{region}:{account}:project/{name}"),
                        "environment": {
                            "type": "LINUX_CONTAINER", "image": reference, "computeType": "BUILD_GENERAL1_SMALL",
                        },
                    }))
                };
                self.drop_outsider(spot);
                self.oracle.outside_ecs(&item.arn, Some(&reference));
                config::record(&mut self.organization.aws.world(), &account, &region, item.clone());
                self.outsiders.insert(spot, item);
            }
            Action::DropOutsideEcs { spot } => self.drop_outsider(spot),
            Action::Delete { spot, back } => {
                let Some(arn) = self.revision(spot, back) else { return };
                self.told(spot, &arn);
                self.oracle.definition_deleted(&arn);
                let _ = self.ask(spot, "DeleteTaskDefinitions", json!({"taskDefinitions": [arn]}));
            }
            Action::AddTaskSet { spot, back } => {
                let Some(arn) = self.revision(spot, back) else { return };
                let service = format!("{}-sets", family_name(spot));
                let _ = self.ask(spot, "CreateCluster", json!({"clusterName": "default"}));
                let input = json!({
                    "cluster": "default", "serviceName": service, "desiredCount": 1,
                    "deploymentController": {"type": "EXTERNAL"},
                });
                // It may be there already.
                let _ = self.ask(spot, "CreateService", input);
                let input = json!({
                    "cluster": "default", "service": service, "taskDefinition": arn,
                    "scale": {"value": 100.0, "unit": "PERCENT"},
                });
                if let Ok(answer) = self.ask(spot, "CreateTaskSet", input) {
                    let set = answer["taskSet"]["taskSetArn"].as_str().expect("an ARN").to_owned();
                    self.task_sets.entry(spot).or_default().push(set);
                }
            }
            Action::DropTaskSets { spot } => {
                for set in self.task_sets.remove(&spot).unwrap_or_default() {
                    let service = format!("{}-sets", family_name(spot));
                    let input = json!({"cluster": "default", "service": service, "taskSet": set, "force": true});
                    let _ = self.ask(spot, "DeleteTaskSet", input);
                }
            }
            Action::Rule { spot, back } => {
                let Some(arn) = self.revision(spot, back) else { return };
                self.rule(spot, Some(&arn));
            }
            Action::DropRule { spot } => self.rule(spot, None),
            Action::Rollout { minutes } => {
                let time = if minutes == 0 { ROLLOUT } else { SignedDuration::from_mins(minutes) };
                set_rollout_time(&mut self.organization.aws.world(), time);
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
            Action::OptIn { repository, says } => {
                let name = repository_name(repository);
                if ecr::repository(&self.organization.aws.world(), &hub, &home, &name).is_some() {
                    match says {
                        OptIn::Out => self.organization.opt_out(&name),
                        OptIn::In => self.organization.opt_in_saying(&name, ENABLED),
                        OptIn::LongWindow => self.organization.opt_in_saying(&name, LONG_WINDOW),
                        OptIn::DryRun => self.organization.opt_in_saying(&name, "dry-run=true"),
                        OptIn::Unreadable => self.organization.opt_in_saying(&name, "keep-newest=all"),
                    }
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
            Action::Settings { dry_run, keep_newest } => {
                self.declare(Declared { dry_run, keep_newest, ..self.declared.clone() });
                self.oracle.settings(self.organization.aws.now(), dry_run, keep_newest);
            }
            Action::Workloads { count } => {
                let workloads = count.clamp(1, self.organization.workloads.len());
                let before = self.declared.workloads;
                let places = |accounts: Range<usize>| {
                    let spot = move |account| move |region| Spot { account, region, family: 0 };
                    let regions = self.organization.regions.len();
                    accounts.flat_map(move |account| (0..regions).map(spot(account))).collect::<Vec<_>>()
                };
                let (leaving, joining) = (places(workloads..before), places(before..workloads));
                for spot in joining {
                    // The stack set makes anew what was taken from it.
                    for by in [Blindness::Authorization, Blindness::Instance, Blindness::Probe] {
                        if self.blind.remove(&(spot, by)) {
                            self.oracle.restored(self.organization.aws.now(), &self.place(spot), Some(by));
                        }
                    }
                    self.oracle.restored(self.organization.aws.now(), &self.place(spot), None);
                }
                self.declare(Declared { workloads, ..self.declared.clone() });
                for spot in leaving {
                    self.oracle.blinded(self.organization.aws.now(), &self.place(spot), None);
                }
                self.oracle.workloads(self.organization.aws.now(), workloads < self.organization.workloads.len());
            }
            Action::Wire { fault, per_mille } => {
                {
                    let wire = &mut *self.wire.lock().unwrap_or_else(PoisonError::into_inner);
                    (wire.fault, wire.per_mille) = (fault, per_mille);
                }
                let partial = if fault == WireFault::PartialBatch { per_mille } else { 0 };
                fail_deletions(&mut self.organization.aws.world(), f64::from(partial) / 1000.0);
                self.wire_fails = per_mille > 0;
                self.trouble();
            }
            Action::Delivery { lost, doubled, late, failing } => {
                let part = |percent: u32| f64::from(percent) / 100.0;
                self.delivery = DeliveryFaults {
                    lost: part(lost),
                    doubled: part(doubled),
                    late: part(late),
                    late_by: SignedDuration::from_mins(20),
                    failing: part(failing),
                };
                self.organization.aws.world().set_delivery_faults(self.delivery.clone());
                self.delivery_fails = lost + late + failing > 0;
                self.trouble();
            }
            Action::ConfigDelay { minutes } => {
                let range = (SignedDuration::from_secs(20), SignedDuration::from_mins(minutes));
                let slow = Delays { capture: range, aggregation: range, ..Delays::default() };
                let delays = if minutes == 0 { Delays::default() } else { slow };
                set_delays(&mut self.organization.aws.world(), delays);
                let both = (minutes > 0).then(|| SignedDuration::from_mins(2 * minutes));
                self.oracle.config_takes(self.organization.aws.now(), both);
            }
            Action::Blind { spot, by, on } => {
                if spot.account >= self.organization.workloads.len() {
                    return;
                }
                let spot = Spot { family: 0, ..spot };
                let deployed = matches!(by, Blindness::Authorization | Blindness::Instance | Blindness::Probe);
                if deployed && spot.account >= self.declared.workloads {
                    // There is nothing of it.
                    return;
                }
                let changes = if on { self.blind.insert((spot, by)) } else { self.blind.remove(&(spot, by)) };
                if changes {
                    self.blind(spot, by, on);
                    let (now, place) = (self.organization.aws.now(), self.place(spot));
                    if on {
                        self.oracle.unreliable();
                        self.oracle.blinded(now, &place, Some(by));
                    } else {
                        self.oracle.restored(now, &place, Some(by));
                    }
                }
            }
        }
    }

    /// An image's reference, as a task definition of the team names it.
    fn reference(&self, spot: Spot, repository: usize, tag: usize, by: By) -> String {
        let (hub, home) = (&self.organization.hub, self.organization.home());
        let name = format!("{}/{}", host(hub, home, spot.family + tag), repository_name(repository));
        let digest = self.digest(repository, tag);
        let child = digest.as_ref().and_then(|digest| self.second_child(repository, digest));
        match (by, digest, child) {
            (By::Digest, Some(digest), _) | (By::Child, _, Some(digest)) => format!("{name}@{digest}"),
            (By::Both, Some(digest), _) => format!("{name}:{}@{digest}", tag_name(tag)),
            // The same as `latest`.
            _ if tag == 0 => name,
            _ => format!("{name}:{}", tag_name(tag)),
        }
    }

    /// Tells the oracle whether calls or deliveries fail.
    fn trouble(&mut self) {
        self.oracle.trouble(self.organization.aws.now(), self.wire_fails || self.delivery_fails);
    }

    fn drop_outsider(&mut self, spot: Spot) {
        let Some(item) = self.outsiders.remove(&spot) else { return };
        let (account, region) = self.place(spot);
        self.oracle.outside_ecs(&item.arn, None);
        config::record(&mut self.organization.aws.world(), &account, &region, item.deleted());
    }

    /// A task definition changes, of which events tell, unless nobody would hear them.
    fn told(&mut self, spot: Spot, arn: &str) {
        if spot.account < self.declared.workloads {
            self.oracle.event(&self.organization.aws.world(), arn);
        }
    }

    /// EventBridge's rules are simulated without the targets that start tasks, so AWS Config is told of this one here.
    fn rule(&mut self, spot: Spot, task_definition: Option<&str>) {
        let (account, region) = self.place(spot);
        let name = family_name(spot);
        let arn = format!("arn:aws:events:{region}:{account}:rule/{name}");
        let described = json!({"Arn": arn, "Name": name, "State": "ENABLED", "ScheduleExpression": "rate(1 day)"});
        let cluster = format!("arn:aws:ecs:{region}:{account}:cluster/default");
        let targets = json!([{
            "Id": "1", "Arn": cluster, "EcsParameters": {"TaskDefinitionArn": task_definition, "TaskCount": 1},
        }]);
        let item = items::rule(&described, &targets);
        let item = if task_definition.is_some() { item } else { item.deleted() };
        config::record(&mut self.organization.aws.world(), &account, &region, item);
        self.oracle.rule(&arn, task_definition);
    }

    /// Lets an account and region show what it uses, or not.
    fn blind(&self, spot: Spot, by: Blindness, on: bool) {
        let (hub, home) = (&self.organization.hub, self.organization.home());
        let (account, region) = &self.place(spot);
        // What the account does not have (any more) cannot be taken from it.
        let call = |service: &str, operation: &str, input| {
            let _ = self.organization.aws.call(account, region, service, operation, input);
        };
        match by {
            Blindness::Recorder => {
                let operation = if on { "StopConfigurationRecorder" } else { "StartConfigurationRecorder" };
                call("config", operation, json!({"ConfigurationRecorderName": "default"}));
            }
            Blindness::Source if on => {
                let world = &mut self.organization.aws.world();
                fail_source(world, account, region, "FAILED", "an internal error occurred");
            }
            Blindness::Source => mend_source(&mut self.organization.aws.world(), account, region),
            Blindness::Authorization => {
                let operation = if on { "DeleteAggregationAuthorization" } else { "PutAggregationAuthorization" };
                let input = json!({"AuthorizedAccountId": hub.as_str(), "AuthorizedAwsRegion": home.as_str()});
                call("config", operation, input);
            }
            Blindness::Instance => {
                let names = &self.installation.settings.names;
                let trusted = if on { account } else { hub };
                let trust = json!({"Version": "2012-10-17", "Statement": [{
                    "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{trusted}:root")},
                    "Action": "sts:AssumeRole",
                }]});
                let role = names.evidence_role(&region.as_str().parse().expect("valid"));
                let input = json!({"RoleName": role, "PolicyDocument": trust.to_string()});
                call("iam", "UpdateAssumeRolePolicy", input);
                self.probe(spot);
            }
            Blindness::Probe => self.probe(spot),
            Blindness::Daily | Blindness::MissingType => {
                let is = |by| self.blind.contains(&(spot, by));
                let frequency = if is(Blindness::Daily) { "DAILY" } else { "CONTINUOUS" };
                let group = if is(Blindness::MissingType) {
                    json!({
                        "exclusionByResourceTypes": {"resourceTypes": ["AWS::ECS::Service"]},
                        "recordingStrategy": {"useOnly": "EXCLUSION_BY_RESOURCE_TYPES"},
                    })
                } else {
                    json!({"allSupported": true})
                };
                let role = "aws-service-role/config.amazonaws.com/AWSServiceRoleForConfig";
                let recorder = json!({
                    "name": "default", "roleARN": format!("arn:aws:iam::{account}:role/{role}"),
                    "recordingGroup": group, "recordingMode": {"recordingFrequency": frequency},
                });
                let input = json!({"ConfigurationRecorder": recorder});
                self.organization.call(account, region, "config", "PutConfigurationRecorder", input);
            }
        }
    }

    /// Registers the coverage probe again, or deregisters it as long as something says that it is not there.
    fn probe(&self, spot: Spot) {
        let (account, region) = &self.place(spot);
        let family = self.installation.settings.names.probe_family();
        let input = json!({"familyPrefix": family, "status": "ACTIVE"});
        let listed = self.organization.call(account, region, "ecs", "ListTaskDefinitions", input);
        let active = listed["taskDefinitionArns"].as_array().cloned().unwrap_or_default();
        if [Blindness::Instance, Blindness::Probe].iter().any(|by| self.blind.contains(&(spot, *by))) {
            for arn in active {
                let input = json!({"taskDefinition": arn});
                self.organization.call(account, region, "ecs", "DeregisterTaskDefinition", input);
            }
        } else if active.is_empty() {
            let image = "ecr-cleanup/coverage-probe:never-run";
            let containers = json!([{"name": "probe", "image": image, "memory": 8, "essential": true}]);
            let input = json!({"family": family, "containerDefinitions": containers});
            self.organization.call(account, region, "ecs", "RegisterTaskDefinition", input);
        }
    }

    /// Updates the stack, while nothing fails: what the provider does then is told by other tests.
    fn declare(&mut self, declared: Declared) {
        if declared == self.declared {
            return;
        }
        let wire = std::mem::replace(&mut self.wire.lock().unwrap_or_else(PoisonError::into_inner).per_mille, 0);
        let template = declared.template();
        let accounts: Vec<_> =
            self.organization.workloads[..declared.workloads].iter().map(AccountId::as_str).collect();
        let regions: Vec<_> = self.organization.regions.iter().map(Region::as_str).collect();
        let parameters = [("WorkloadAccountIds", accounts.join(",")), ("Regions", regions.join(","))];
        self.organization.update_stack(CLEANUP_STACK, &template, &parameters).expect_status("UPDATE_COMPLETE");
        self.declared = declared;
        self.wire.lock().unwrap_or_else(PoisonError::into_inner).per_mille = wire;
    }
}

/// Every other name has a character that is a wildcard of Config's queries.
pub(super) fn repository_name(number: usize) -> String {
    if number.is_multiple_of(2) { format!("team-{number}/app") } else { format!("team_{number}/app") }
}

/// The tag with number 0 is the one that a bare name means.
fn tag_name(number: usize) -> String {
    if number == 0 { "latest".to_owned() } else { format!("v{number}") }
}

/// The registry's host, in one of its spellings.
fn host(hub: &AccountId, home: &Region, spelling: usize) -> String {
    match spelling % 4 {
        0 => format!("{hub}.dkr.ecr.{home}.amazonaws.com"),
        1 => format!("{hub}.dkr.ecr-fips.{home}.amazonaws.com"),
        2 => format!("{hub}.dkr-ecr.{home}.on.aws"),
        _ => format!("{hub}.dkr-ecr-fips.{home}.on.aws"),
    }
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
        &mut behaviours.ecr_index_child_can_be_archived,
        &mut behaviours.config_recorder_is_aggregated,
    ];
    for (bit, switch) in switches.into_iter().enumerate() {
        *switch = bits >> bit & 1 == 1;
    }
    if bits >> 29 & 1 == 1 {
        behaviours.config_inner_underscore = InnerUnderscore::Refused;
    }
    if bits >> 30 & 1 == 1 {
        behaviours.config_status_spelling = StatusSpelling::UpperCase;
    }
    if bits >> 31 == 1 {
        behaviours.past_schedule = PastSchedule::FiresAtOnce;
    }
}
