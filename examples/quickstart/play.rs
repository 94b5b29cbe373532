//! Plays a scenario: installs, lets teams act, removes, and tells what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use end_to_end::{CLEANUP_STACK, HUB_STACK, Item, Mutability, Organization, deploy_hub, prepare_hub};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulated_aws::ecr::{images, push_image};
use simulated_aws::{AccountId, Region};

use crate::happening::{Happening, Outcome, What};
use crate::legend::Legend;
use crate::moment::Moment;
use crate::scenario::{self, Action, Place, REGIONS, Scenario};
use crate::source::Refusal;
use crate::template::Template;
use crate::timeline::Timeline;
use crate::watch::{Watch, happening};

/// Why a scenario was not played to its end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The output could not be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// What should not happen.
    #[error("{0}")]
    Broken(String),
}

/// The listing of what stays on purpose.
const AUTHORIZATIONS: &str = "config:DescribeAggregationAuthorizations";
/// The listing in which the teams' own things are: what they registered while EcrCleanup was installed.
const TASK_DEFINITIONS: &str = "ecs:ListTaskDefinitions";
/// The account that the organization is managed from.
const MANAGEMENT: &str = "999999999999";

/// A stack whose events are told.
#[derive(Debug)]
struct Followed {
    name: &'static str,
    id: String,
    told: usize,
}

/// An image that was pushed.
#[derive(Debug)]
struct Pushed {
    repository: String,
    digest: String,
    name: String,
    bytes: u64,
}

/// A play under way.
#[derive(Debug)]
pub struct Play<'a> {
    organization: Organization,
    management: AccountId,
    legend: Legend,
    watch: Watch,
    timeline: Timeline<'a>,
    template: Template,
    parameters: Value,
    stacks: Vec<Followed>,
    pushed: Vec<Pushed>,
    /// What is known of the future of an image, by digest: the last that was told.
    fates: BTreeMap<String, String>,
    deleted: BTreeMap<String, u64>,
}

impl<'a> Play<'a> {
    /// Plays `days` days of a scenario with a template.
    ///
    /// # Errors
    /// The template is refused, the output cannot be written, or something is left that should not be.
    pub fn run(
        scenario: &Scenario,
        template: Template,
        days: u32,
        seed: u64,
        timeline: Timeline<'a>,
    ) -> Result<(), Failure> {
        let organization = Organization::new(seed);
        let mut legend = Legend::default();
        legend.name_account(organization.hub.as_str(), "hub");
        for (account, name) in organization.workloads.iter().zip(&scenario.accounts) {
            legend.name_account(account.as_str(), name);
        }
        let management = AccountId::new(MANAGEMENT).expect("a constant");
        legend.name_account(MANAGEMENT, scenario::MANAGEMENT);
        let (id, unit) = found(&organization, &management);
        let accounts: Vec<&str> = organization.workloads.iter().map(AccountId::as_str).collect();
        let known = [
            ("WorkloadAccountIds", accounts.join(",")),
            ("OrganizationId", id),
            ("OrganizationalUnitIds", unit),
            ("Regions", REGIONS.join(",")),
        ];
        let parameters = template.parameters(&known)?;
        let mut play = Self {
            organization,
            management,
            legend,
            watch: Watch::default(),
            timeline,
            template,
            parameters,
            stacks: Vec::new(),
            pushed: Vec::new(),
            fates: BTreeMap::new(),
            deleted: BTreeMap::new(),
        };
        play.play(scenario, days)
    }

    fn play(&mut self, scenario: &Scenario, days: u32) -> Result<(), Failure> {
        let name = |id: AccountId| format!("{} {id}", self.legend.account(id.as_str()));
        let names = self.accounts().into_iter().map(name).collect::<Vec<_>>().join(", ");
        self.timeline.say(&format!(
            "An AWS organization in memory: accounts {names}; regions {}. All times are virtual.",
            REGIONS.join(" and ")
        ))?;
        for repository in &scenario.repositories {
            self.make_repository(repository)?;
        }
        let (before, after): (Vec<_>, Vec<_>) = scenario.actions.iter().partition(|action| action.at.day() == 0);
        for action in before {
            self.advance(action.at.timestamp())?;
            self.act(&action.action)?;
        }
        self.advance(Moment::new(0, 12, 0).timestamp())?;
        prepare_hub(&self.organization);
        let before = self.inventory();
        self.install()?;
        let made = self.inventory().difference(&before).count();
        let end = Moment::new(days + 1, 0, 0);
        for action in after.iter().filter(|action| action.at < end) {
            self.advance(action.at.timestamp())?;
            self.act(&action.action)?;
        }
        self.advance(end.timestamp())?;
        let unplayed = after.iter().filter(|action| action.at >= end).count();
        if unplayed > 0 {
            let actions = if unplayed == 1 { "1 action is".to_owned() } else { format!("{unplayed} actions are") };
            self.timeline.say(&format!("\n{actions} after day {days} and not played."))?;
        }
        self.repositories(scenario)?;
        self.remove(&before, made)
    }

    /// Every account of the organization.
    fn accounts(&self) -> Vec<AccountId> {
        self.organization.accounts().into_iter().chain([self.management.clone()]).collect()
    }

    /// Everything that there is in every account.
    fn inventory(&self) -> BTreeSet<Item> {
        self.organization.inventory_of(&self.accounts())
    }

    fn make_repository(&mut self, repository: &scenario::Repository) -> Result<(), Failure> {
        let mutability = if repository.mutable_tags { Mutability::Mutable } else { Mutability::Immutable };
        self.organization.repository(&repository.name, mutability);
        self.organization.opt_out(&repository.name);
        let what = What::RepositoryCreated {
            repository: repository.name.clone(),
            tags: repository.tags.clone(),
            mutable_tags: repository.mutable_tags,
        };
        self.in_hub(what)?;
        for (key, value) in &repository.tags {
            if let Some(refused) = self.tag_repository(&repository.name, key, Some(value)) {
                self.in_hub(refused)?;
            }
        }
        Ok(())
    }

    /// Deploys both templates.
    fn install(&mut self) -> Result<(), Failure> {
        deploy_hub(&self.organization);
        let (hub, home) = (self.organization.hub.clone(), self.organization.home().clone());
        let stack = |name: &str| {
            let input = json!({"StackName": name});
            let described = self.organization.call(&hub, &home, "cloudformation", "DescribeStacks", input);
            described["Stacks"][0]["StackId"].as_str().unwrap_or_default().to_owned()
        };
        self.stacks.push(Followed { name: HUB_STACK, id: stack(HUB_STACK), told: 0 });
        let input = json!({
            "StackName": CLEANUP_STACK,
            "TemplateBody": self.template.text(),
            "Parameters": self.parameters,
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
        });
        let created = self.organization.aws.call(&hub, &home, "cloudformation", "CreateStack", input);
        let created = created.map_err(|error| self.template.refused(&error.message))?;
        let id = created["StackId"].as_str().unwrap_or_default().to_owned();
        self.stacks.push(Followed { name: CLEANUP_STACK, id: id.clone(), told: 0 });
        if self.wait_for_stack(&id)? != "CREATE_COMPLETE" {
            let events = self.stack_events(&id);
            let failed = events.iter().find(|event| {
                event["ResourceStatus"] == "CREATE_FAILED" && event["LogicalResourceId"] != CLEANUP_STACK
            });
            let text = |name: &str| failed.and_then(|event| event[name].as_str()).unwrap_or_default();
            let reason = text("ResourceStatusReason");
            // What CloudFormation puts before the provider's own words.
            let reason = reason.split_once("Message returned: ").map_or(reason, |(_, told)| told);
            return Err(self.template.refused_resource(text("LogicalResourceId"), reason).into());
        }
        self.watch.listen(&self.organization);
        Ok(())
    }

    /// Lets time go on, and tells what happens.
    fn advance(&mut self, until: Timestamp) -> Result<(), Failure> {
        // Long before the queue would forget what nobody has read.
        let most = SignedDuration::from_hours(12);
        while until.duration_since(self.organization.aws.now()) > most {
            self.organization.aws.advance(most);
            self.tell_all()?;
        }
        if until > self.organization.aws.now() {
            self.organization.aws.advance_to(until);
        }
        self.tell_all()
    }

    fn tell_all(&mut self) -> Result<(), Failure> {
        let mut seen = self.watch.look(&self.organization, &self.legend);
        seen.extend(self.stack_news());
        seen.sort_by_key(|happening| (happening.time, happening.what.rank()));
        for happening in &seen {
            self.note(&happening.what);
            self.timeline.tell(happening, &self.legend)?;
        }
        Ok(())
    }

    /// Remembers what the table at the end says of an image.
    fn note(&mut self, what: &What) {
        let (digest, fate) = match what {
            What::CheckScheduled { digest, due, .. } => (digest, format!("to be checked, {}", Moment::of(*due))),
            What::Kept { check } | What::Failed { check } => (&check.digest, self.legend.plain(&check.reason)),
            What::Postponed { check: Outcome { digest, reason, .. }, until } => {
                let until = until.map_or_else(String::new, |until| format!(" to {}", Moment::of(until)));
                (digest, format!("postponed{until}: {}", self.legend.plain(reason)))
            }
            What::Deleted { check, bytes, deleted_with } => {
                for digest in deleted_with {
                    self.deleted.insert(digest.clone(), 0);
                }
                self.deleted.entry(check.digest.clone()).and_modify(|known| *known += bytes).or_insert(*bytes);
                return;
            }
            _ => return,
        };
        self.fates.insert(digest.clone(), fate);
    }

    fn stack_events(&self, id: &str) -> Vec<Value> {
        let (hub, home) = (&self.organization.hub, self.organization.home());
        let input = json!({"StackName": id});
        let told = self.organization.call(hub, home, "cloudformation", "DescribeStackEvents", input);
        let mut events = told["StackEvents"].as_array().cloned().unwrap_or_default();
        events.reverse();
        events
    }

    fn stack_news(&mut self) -> Vec<Happening> {
        let (hub, home) = (self.organization.hub.clone(), self.organization.home().clone());
        let mut seen = Vec::new();
        for index in 0..self.stacks.len() {
            let (name, id) = (self.stacks[index].name, self.stacks[index].id.clone());
            let events = self.stack_events(&id);
            let told = std::mem::replace(&mut self.stacks[index].told, events.len());
            for event in events.iter().skip(told).filter(|event| event["PhysicalResourceId"] == id.as_str()) {
                let status = event["ResourceStatus"].as_str().unwrap_or_default();
                let reason = event["ResourceStatusReason"].as_str().map(str::to_owned);
                if status.ends_with("_IN_PROGRESS") && reason.is_none() {
                    continue;
                }
                let input = json!({"StackName": id});
                let held = self.organization.call(&hub, &home, "cloudformation", "DescribeStackResources", input);
                let what = What::Stack {
                    stack: name.to_owned(),
                    status: status.to_owned(),
                    reason,
                    resources: held["StackResources"].as_array().map_or(0, Vec::len),
                };
                let at = event["Timestamp"].as_str().and_then(|at| at.parse().ok());
                let at = at.unwrap_or_else(|| self.organization.aws.now());
                seen.push(happening(&self.legend, at, hub.as_str(), home.as_str(), what));
            }
        }
        seen
    }

    /// Lets time go on until the stack's operation has ended; its status.
    fn wait_for_stack(&mut self, id: &str) -> Result<String, Failure> {
        // Longer than CloudFormation waits for a custom resource, twice.
        for _ in 0..150 {
            self.organization.minutes(1);
            self.tell_all()?;
            let (hub, home) = (&self.organization.hub, self.organization.home());
            let input = json!({"StackName": id});
            let stack = self.organization.call(hub, home, "cloudformation", "DescribeStacks", input);
            let status = stack["Stacks"][0]["StackStatus"].as_str().unwrap_or_default();
            if !status.ends_with("_IN_PROGRESS") {
                return Ok(status.to_owned());
            }
        }
        Err(Failure::Broken(format!("the stack {id} has not ended its operation in 150 minutes")))
    }

    /// Tells what somebody did in the hub just now.
    fn in_hub(&mut self, what: What) -> Result<(), Failure> {
        let (hub, home) = (self.organization.hub.to_string(), self.organization.home().to_string());
        let now = self.organization.aws.now();
        Ok(self.timeline.tell(&happening(&self.legend, now, &hub, &home, what), &self.legend)?)
    }

    /// Does what somebody wants, and tells it, or AWS's refusal.
    fn act(&mut self, action: &Action) -> Result<(), Failure> {
        let (hub, home) = (self.organization.hub.clone(), self.organization.home().clone());
        match action {
            Action::Push(image) => {
                let name = format!("{}:{}", image.repository, image.tag);
                let contents = format!("{name} #{}", self.legend.pushes(&name));
                let (repository, tag) = (&image.repository, Some(image.tag.as_str()));
                let mut world = self.organization.aws.world();
                let pushed = push_image(&mut world, &hub, &home, repository, tag, &contents);
                let stored = |digest: &str| {
                    let all = &mut images(&world, &hub, &home, repository);
                    all.find(|image| image.digest == digest).map_or(0, |image| image.size_in_bytes)
                };
                let bytes = pushed.as_deref().map_or(0, stored);
                drop(world);
                match pushed {
                    Ok(digest) => {
                        let name = self.legend.name_image(&digest, &name);
                        let (repository, digest_too) = (repository.clone(), digest.clone());
                        self.pushed.push(Pushed { repository, digest: digest_too, name: name.clone(), bytes });
                        self.in_hub(What::Pushed { image: name, digest, bytes })
                    }
                    Err(error) => {
                        self.in_hub(What::Refused { operation: "ecr:PutImage".to_owned(), reason: error.to_string() })
                    }
                }
            }
            Action::Tag(image, tag) => {
                let name = format!("{}:{}", image.repository, image.tag);
                let ids = json!({"repositoryName": image.repository, "imageIds": [{"imageTag": image.tag}]});
                let found = self.organization.call(&hub, &home, "ecr", "BatchGetImage", ids);
                let Some(manifest) = found["images"][0]["imageManifest"].as_str() else {
                    let reason =
                        format!("{name}: {}", found["failures"][0]["failureReason"].as_str().unwrap_or_default());
                    return self.in_hub(What::Refused { operation: "ecr:BatchGetImage".to_owned(), reason });
                };
                let input = json!({"repositoryName": image.repository, "imageManifest": manifest, "imageTag": tag});
                let told = What::Tagged { image: name, tag: tag.clone() };
                self.call(&hub, &home, "ecr", "PutImage", input, told)
            }
            Action::Register(place, family, image) => {
                let (account, region) = self.place(place);
                let reference = self.organization.by_tag(&image.repository, &image.tag);
                let input = json!({
                    "family": family,
                    "containerDefinitions": [{"name": "main", "image": reference, "memory": 128, "essential": true}],
                });
                let made = self.organization.call(&account, &region, "ecs", "RegisterTaskDefinition", input);
                let arn = made["taskDefinition"]["taskDefinitionArn"].as_str().unwrap_or_default();
                let task_definition = arn.rsplit('/').next().unwrap_or_default().to_owned();
                let image = format!("{}:{}", image.repository, image.tag);
                self.done(&account, &region, What::Registered { task_definition, image })
            }
            Action::Deregister(place, revision) => {
                let (account, region) = self.place(place);
                let told = What::Deregistered { task_definition: revision.clone() };
                let input = json!({"taskDefinition": revision});
                self.call(&account, &region, "ecs", "DeregisterTaskDefinition", input, told)
            }
            Action::CreateService(place, service, revision) => {
                let (account, region) = self.place(place);
                self.organization.call(&account, &region, "ecs", "CreateCluster", json!({"clusterName": "default"}));
                let input = json!({
                    "cluster": "default", "serviceName": service, "taskDefinition": revision, "desiredCount": 1,
                });
                let told = What::ServiceCreated { service: service.clone(), task_definition: revision.clone() };
                self.call(&account, &region, "ecs", "CreateService", input, told)
            }
            Action::UpdateService(place, service, revision) => {
                let (account, region) = self.place(place);
                let input = json!({"cluster": "default", "service": service, "taskDefinition": revision});
                let told = What::ServiceUpdated { service: service.clone(), task_definition: revision.clone() };
                self.call(&account, &region, "ecs", "UpdateService", input, told)
            }
            Action::DeleteService(place, service) => {
                let (account, region) = self.place(place);
                let input = json!({"cluster": "default", "service": service, "force": true});
                let told = What::ServiceDeleted { service: service.clone() };
                self.call(&account, &region, "ecs", "DeleteService", input, told)
            }
            Action::TagRepository(repository, key, value) => {
                let refused = self.tag_repository(repository, key, value.as_deref());
                let (repository, key, value) = (repository.clone(), key.clone(), value.clone());
                self.in_hub(refused.unwrap_or(What::RepositoryTagged { repository, key, value }))
            }
            Action::Record(place, records) => {
                let (account, region) = self.place(place);
                let operation = if *records { "StartConfigurationRecorder" } else { "StopConfigurationRecorder" };
                let input = json!({"ConfigurationRecorderName": "default"});
                self.call(&account, &region, "config", operation, input, What::Recorder { records: *records })
            }
            Action::UpdateStack(properties) => {
                for (name, value) in properties {
                    self.template = self.template.with_property(name, value)?;
                }
                let input = json!({
                    "StackName": CLEANUP_STACK,
                    "TemplateBody": self.template.text(),
                    "Parameters": self.parameters,
                    "Capabilities": ["CAPABILITY_NAMED_IAM"],
                });
                if ["Name", "Workloads"].iter().any(|name| properties.contains_key(*name)) {
                    // It may become another bus, and one that somebody has a rule on cannot be deleted.
                    self.watch.stop_listening(&self.organization);
                }
                let told = What::StackUpdated { properties: properties.clone() };
                self.call(&hub, &home, "cloudformation", "UpdateStack", input, told)?;
                let id = self.stacks.last().map(|stack| stack.id.clone()).unwrap_or_default();
                self.wait_for_stack(&id)?;
                self.watch.listen(&self.organization);
                Ok(())
            }
        }
    }

    fn place(&self, place: &Place) -> (AccountId, Region) {
        let id = self.legend.account_id(&place.account).and_then(AccountId::new);
        let region = Region::new(&place.region);
        (id.expect("the scenario knows only these accounts"), region.expect("the scenario knows only these regions"))
    }

    /// Sets a tag of a repository, or takes it away; gives AWS's refusal, if it refuses.
    fn tag_repository(&self, repository: &str, key: &str, value: Option<&str>) -> Option<What> {
        let (hub, home) = (&self.organization.hub, self.organization.home());
        let arn = format!("arn:aws:ecr:{home}:{hub}:repository/{repository}");
        let (operation, input) = match value {
            Some(value) => ("TagResource", json!({"resourceArn": arn, "tags": [{"Key": key, "Value": value}]})),
            None => ("UntagResource", json!({"resourceArn": arn, "tagKeys": [key]})),
        };
        let error = self.organization.aws.call(hub, home, "ecr", operation, input).err()?;
        Some(What::Refused { operation: format!("ecr:{operation}"), reason: error.to_string() })
    }

    fn call(
        &mut self,
        account: &AccountId,
        region: &Region,
        service: &str,
        operation: &str,
        input: Value,
        told: What,
    ) -> Result<(), Failure> {
        let what = match self.organization.aws.call(account, region, service, operation, input) {
            Ok(_) => told,
            Err(error) => What::Refused { operation: format!("{service}:{operation}"), reason: error.to_string() },
        };
        self.done(account, region, what)
    }

    fn done(&mut self, account: &AccountId, region: &Region, what: What) -> Result<(), Failure> {
        let now = self.organization.aws.now();
        let done = happening(&self.legend, now, account.as_str(), region.as_str(), what);
        Ok(self.timeline.tell(&done, &self.legend)?)
    }

    /// The table at the end: what the registry holds, and what was told of each image.
    fn repositories(&mut self, scenario: &Scenario) -> Result<(), Failure> {
        let (hub, home) = (self.organization.hub.clone(), self.organization.home().clone());
        let opt_in = self.template.opt_in_key();
        let mut rows = Vec::new();
        for repository in &scenario.repositories {
            let world = self.organization.aws.world();
            let present: BTreeSet<String> =
                images(&world, &hub, &home, &repository.name).map(|image| image.digest.clone()).collect();
            let tagged = simulated_aws::ecr::repository(&world, &hub, &home, &repository.name)
                .is_some_and(|repository| repository.tags.contains_key(&opt_in));
            drop(world);
            let ever: Vec<_> = self.pushed.iter().filter(|image| image.repository == repository.name).collect();
            let gone: Vec<_> = ever.iter().filter(|image| !present.contains(&image.digest)).collect();
            if let Some(lost) = gone.iter().find(|image| !self.deleted.contains_key(&image.digest)) {
                return Err(Failure::Broken(format!("{} is gone, and no event told of it", lost.name)));
            }
            let why = |image: &Pushed| match self.fates.get(&image.digest) {
                Some(fate) => fate.clone(),
                None if !tagged => format!("the repository has no tag {opt_in}"),
                None => "no task definition that names it has changed".to_owned(),
            };
            let kept = ever.iter().filter(|image| present.contains(&image.digest));
            let what = What::Repository {
                repository: repository.name.clone(),
                images: ever.len(),
                bytes: ever.iter().map(|image| image.bytes).sum(),
                deleted: gone.len(),
                deleted_bytes: gone.iter().map(|image| image.bytes).sum(),
                kept: kept.map(|image| (image.name.clone(), why(image))).collect(),
            };
            rows.push(happening(&self.legend, self.organization.aws.now(), hub.as_str(), home.as_str(), what));
        }
        self.timeline.say("")?;
        Ok(self.timeline.table(&rows)?)
    }

    /// Deletes both stacks, and lists what is left: all that was not there `before` and is not the teams'.
    fn remove(&mut self, before: &BTreeSet<Item>, made: usize) -> Result<(), Failure> {
        self.watch.stop(&self.organization);
        let (hub, home) = (self.organization.hub.clone(), self.organization.home().clone());
        let ids: Vec<(&str, String)> = self.stacks.iter().rev().map(|stack| (stack.name, stack.id.clone())).collect();
        for (name, id) in ids {
            self.organization.call(&hub, &home, "cloudformation", "DeleteStack", json!({"StackName": id}));
            let status = self.wait_for_stack(&id)?;
            if status != "DELETE_COMPLETE" {
                return Err(Failure::Broken(format!("the stack {name} could not be deleted: {status}")));
            }
        }
        // A schedule group is still there while it is being deleted.
        self.organization.minutes(5);
        self.tell_all()?;
        let there = self.inventory();
        let teams =
            |item: &Item| item.listed_by == TASK_DEFINITIONS && !item.name.contains("task-definition/ecr-cleanup-");
        let left: Vec<&Item> = there.difference(before).filter(|item| !teams(item)).collect();
        let retained = left.iter().filter(|item| item.listed_by == AUTHORIZATIONS).count();
        for item in &left {
            let is_retained = item.listed_by == AUTHORIZATIONS;
            let kind = if is_retained { "aggregation authorization".to_owned() } else { item.listed_by.clone() };
            let what = What::Left { kind, name: item.name.clone(), retained: is_retained };
            let now = self.organization.aws.now();
            let told = happening(&self.legend, now, item.account.as_str(), item.region.as_str(), what);
            self.timeline.tell(&told, &self.legend)?;
        }
        self.in_hub(What::Listing { made, left: left.len() - retained, retained })?;
        if left.len() > retained {
            return Err(Failure::Broken(format!("{} things are left that should be gone", left.len() - retained)));
        }
        let left = match retained {
            0 => "nothing is left.".to_owned(),
            _ => format!(
                "nothing is left but these {retained} aggregation authorizations, which stay because other aggregators of \
                 the hub may live by them."
            ),
        };
        self.timeline.say(&format!(
            "\nThe installation had made {made} things in the accounts (stacks, functions, roles, queues, rules and so on). \
             All accounts were listed again (without INACTIVE task definitions, which ECS keeps of all that was ever \
             deregistered, coverage probes too): {left}"
        ))?;
        let refusals = self.organization.aws.world().refusals().to_vec();
        if refusals.is_empty() { Ok(()) } else { Err(Failure::Broken(refusals.join("\n"))) }
    }
}

/// Makes the accounts an organization, in which the hub administers what an EcrCleanup for organizational units needs (as the
/// README has it); the ids of the organization and of the unit that holds them.
fn found(organization: &Organization, management: &AccountId) -> (String, String) {
    const CONFIG: &str = "config.amazonaws.com";
    const STACK_SETS: &str = "member.org.stacksets.cloudformation.amazonaws.com";
    let (id, unit) = {
        let mut world = organization.aws.world();
        let root = world.create_organization(management);
        let unit = world.create_organizational_unit(&root, "containers");
        for account in organization.accounts() {
            world.place_account(&account, &unit);
        }
        (world.organization_of(management).expect("it was just made").id().to_owned(), unit)
    };
    let call =
        |service, operation, input| organization.call(management, organization.home(), service, operation, input);
    call("organizations", "EnableAWSServiceAccess", json!({"ServicePrincipal": CONFIG}));
    call("cloudformation", "ActivateOrganizationsAccess", json!({}));
    for principal in [CONFIG, STACK_SETS] {
        let input = json!({"AccountId": organization.hub.as_str(), "ServicePrincipal": principal});
        call("organizations", "RegisterDelegatedAdministrator", input);
    }
    (id, unit)
}
