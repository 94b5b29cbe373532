//! Stacks: what they hold, and how they get there, one resource a second of virtual time.
//!
//! A stack's operation is a list of steps. When a step fails, the list is replaced by the steps that take back what was
//! done, in reverse: created resources are deleted, changed ones are brought back to their former properties. Custom
//! resources are asked in every case, also where they failed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::custom_resource::{self, RequestType};
use super::resource::{Changed, Context, Made, Type};
use super::template::evaluation::{Evaluation, Surroundings};
use super::template::{DeletionPolicy, Template, TemplateError};
use crate::World;
use crate::identity::{AccountId, Principal, Region};
use crate::operation::{ServiceError, iso};

/// How long a step takes.
const STEP: SignedDuration = SignedDuration::from_secs(1);

/// What follows from the end of an operation: whether the stack came where it should, and its status reason.
pub(crate) type Ended = Box<dyn FnOnce(&mut World, bool, String) + Send>;

/// A resource that a stack holds.
#[derive(Debug, Clone)]
pub(crate) struct StackResource {
    pub(crate) kind: String,
    pub(crate) made: Made,
    pub(crate) properties: Value,
    pub(crate) status: String,
    pub(crate) changed: Timestamp,
    deletion_policy: DeletionPolicy,
    update_replace_policy: DeletionPolicy,
}

/// What a stack is asked to be.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) body: String,
    pub(crate) template: Arc<Template>,
    pub(crate) given: BTreeMap<String, String>,
    pub(crate) parameters: BTreeMap<String, Value>,
    pub(crate) tags: Value,
    pub(crate) capabilities: Vec<String>,
}

/// An output of a stack.
#[derive(Debug, Clone)]
pub(crate) struct StackOutput {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) description: Option<String>,
    pub(crate) export: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Create,
    RollbackCreate,
    Update,
    UpdateCleanup,
    RollbackUpdate,
    RollbackUpdateCleanup,
    Delete,
}

/// A step of an operation.
enum Step {
    /// Brings a resource to what the template says.
    Apply(String),
    /// Deletes a resource.
    Delete(String, Box<StackResource>),
    /// Brings a resource back to what it was before an update.
    Restore(String, Option<Box<StackResource>>),
}

/// A custom resource that has not answered.
pub(crate) struct Waiting {
    pub(crate) request_id: String,
    step: Step,
    /// The resource as it will be.
    next: StackResource,
}

enum Progress {
    /// The next step is due.
    Next,
    /// A custom resource has the word.
    Waiting,
    /// The operation has ended.
    Ended,
}

/// A stack.
pub(crate) struct Stack {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) actor: Principal,
    pub(crate) role_arn: Option<String>,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) created: Timestamp,
    pub(crate) updated: Option<Timestamp>,
    pub(crate) deleted: Option<Timestamp>,
    pub(crate) plan: Plan,
    pub(crate) rollback: bool,
    pub(crate) resources: BTreeMap<String, StackResource>,
    pub(crate) outputs: Vec<StackOutput>,
    pub(crate) imports: BTreeSet<String>,
    /// Newest last.
    pub(crate) events: Vec<Value>,
    phase: Phase,
    todo: VecDeque<Step>,
    undo: Vec<(String, Option<StackResource>)>,
    doomed: Vec<(String, StackResource)>,
    previous: Option<Plan>,
    failures: Vec<String>,
    pub(crate) waiting: Option<Waiting>,
    ended: Option<Ended>,
}

/// What a template can see of its stack.
struct View<'a> {
    world: RefCell<&'a mut World>,
    stack: &'a Stack,
    imports: RefCell<BTreeSet<String>>,
}

impl Surroundings for View<'_> {
    fn pseudo_parameter(&self, name: &str) -> Option<Value> {
        Some(match name {
            "AWS::AccountId" => json!(self.stack.account.as_str()),
            "AWS::NotificationARNs" => json!([]),
            "AWS::Partition" => json!("aws"),
            "AWS::Region" => json!(self.stack.region.as_str()),
            "AWS::StackId" => json!(self.stack.id),
            "AWS::StackName" => json!(self.stack.name),
            "AWS::URLSuffix" => json!("amazonaws.com"),
            _ => return None,
        })
    }

    fn physical_id(&self, resource: &str) -> Option<String> {
        self.stack.resources.get(resource).map(|resource| resource.made.id.clone())
    }

    fn attribute(&self, resource: &str, attribute: &str) -> Result<Value, String> {
        let found = self.stack.resources.get(resource).and_then(|held| held.made.attributes.get(attribute));
        found.cloned().ok_or_else(|| format!("Resource {resource} has no attribute {attribute}"))
    }

    fn import(&self, export: &str) -> Result<String, String> {
        let world = self.world.borrow();
        let found = exports(&world, &self.stack.account, &self.stack.region)
            .find(|(_, output)| output.export.as_deref() == Some(export))
            .map(|(_, output)| output.value.clone());
        self.imports.borrow_mut().insert(export.to_owned());
        found.ok_or_else(|| format!("No export named {export} found."))
    }

    fn ssm(&self, name: &str, version: Option<&str>) -> Result<String, String> {
        let name = version.map_or_else(|| name.to_owned(), |version| format!("{name}:{version}"));
        let (stack, mut world) = (self.stack, self.world.borrow_mut());
        ssm_parameter(&mut world, &stack.actor, &stack.account, &stack.region, &name)
    }
}

/// The value of an SSM parameter, read as `actor`.
pub(crate) fn ssm_parameter(
    world: &mut World,
    actor: &Principal,
    account: &AccountId,
    region: &Region,
    name: &str,
) -> Result<String, String> {
    let output = world
        .call_as(actor, account, region, "ssm", "GetParameters", json!({"Names": [name]}))
        .map_err(|error| error.to_string())?;
    let value = output["Parameters"][0]["Value"].as_str().map(str::to_owned);
    value.ok_or_else(|| format!("Parameter {name} does not exist."))
}

/// All exports of an account and region, with the stack that makes them.
pub(crate) fn exports<'a>(
    world: &'a World,
    account: &'a AccountId,
    region: &'a Region,
) -> impl Iterator<Item = (&'a Stack, &'a StackOutput)> {
    world
        .cloudformation
        .stacks
        .values()
        .filter(move |stack| stack.account == *account && stack.region == *region && stack.deleted.is_none())
        .flat_map(|stack| stack.outputs.iter().map(move |output| (stack, output)))
}

/// Begins to create a stack.
pub(crate) fn create(world: &mut World, mut stack: Stack, ended: Option<Ended>) {
    let id = stack.id.clone();
    stack.ended = ended;
    stack.begin(world.now(), Phase::Create, "CREATE_IN_PROGRESS", "User Initiated");
    stack.todo = stack.plan.template.order.iter().cloned().map(Step::Apply).collect();
    world.cloudformation.stacks.insert(id.clone(), stack);
    world.after(STEP, move |world| advance(world, &id));
}

/// Begins to bring a stack to another plan.
pub(crate) fn update(world: &mut World, id: &str, plan: Plan, ended: Option<Ended>) {
    let now = world.now();
    let Some(stack) = world.cloudformation.stacks.get_mut(id) else { return };
    stack.ended = ended;
    stack.updated = Some(now);
    stack.begin(now, Phase::Update, "UPDATE_IN_PROGRESS", "User Initiated");
    stack.todo = plan.template.order.iter().cloned().map(Step::Apply).collect();
    stack.previous = Some(std::mem::replace(&mut stack.plan, plan));
    let id = id.to_owned();
    world.after(STEP, move |world| advance(world, &id));
}

/// Begins to delete a stack; `retain` names resources that stay.
pub(crate) fn delete(world: &mut World, id: &str, retain: &[String], ended: Option<Ended>) {
    let now = world.now();
    let Some(stack) = world.cloudformation.stacks.get(id) else { return };
    let in_use = stack.outputs.iter().filter_map(|output| output.export.clone()).find_map(|export| {
        let user = world.cloudformation.stacks.values().find(|other| {
            other.deleted.is_none()
                && other.account == stack.account
                && other.region == stack.region
                && other.imports.contains(&export)
        })?;
        Some(format!("Delete canceled. Cannot delete export {export} as it is in use by {}.", user.name))
    });
    let made_up = world.fresh_number();
    let Some(stack) = world.cloudformation.stacks.get_mut(id) else { return };
    if let Some(reason) = in_use {
        stack.set_status(now, "DELETE_FAILED", &reason);
        if let Some(ended) = ended {
            ended(world, false, reason);
        }
        return;
    }
    // A creation that still runs is given up: what has not answered is deleted under a made-up id.
    if let Some(Waiting { step: Step::Apply(logical), next, .. }) = stack.waiting.take() {
        let mut given_up = next;
        if given_up.made.id.is_empty() {
            given_up.made.id = format!("{}-{logical}-{made_up:012X}", stack.name);
        }
        stack.resources.insert(logical, given_up);
    }
    stack.ended = ended;
    stack.begin(now, Phase::Delete, "DELETE_IN_PROGRESS", "User Initiated");
    let order = stack.plan.template.order.clone();
    let mut held = std::mem::take(&mut stack.resources);
    held.retain(|logical, _| !retain.contains(logical));
    stack.resources = held.clone();
    // Resources that the template no longer names go first.
    let mut steps: VecDeque<Step> = VecDeque::new();
    for logical in order {
        if let Some(resource) = held.remove(&logical) {
            steps.push_front(Step::Delete(logical, Box::new(resource)));
        }
    }
    for (logical, resource) in held {
        steps.push_front(Step::Delete(logical, Box::new(resource)));
    }
    stack.todo = steps;
    let id = id.to_owned();
    world.after(STEP, move |world| advance(world, &id));
}

/// Does the next step of a stack's operation.
fn advance(world: &mut World, id: &str) {
    with_stack(world, id, |stack, world| if stack.waiting.is_some() { Progress::Waiting } else { stack.next(world) });
}

/// Takes the answer of a custom resource. An answer to a request that nobody waits for any more is dropped.
pub(crate) fn answered(world: &mut World, id: &str, request_id: &str, answer: custom_resource::Answer) {
    with_stack(world, id, |stack, world| match stack.waiting.take() {
        Some(waiting) if waiting.request_id == request_id => stack.settle(world, waiting, answer),
        other => {
            stack.waiting = other;
            Progress::Waiting
        }
    });
}

fn with_stack(world: &mut World, id: &str, work: impl FnOnce(&mut Stack, &mut World) -> Progress) {
    let Some(mut stack) = world.cloudformation.stacks.remove(id) else { return };
    if stack.phase == Phase::Idle {
        world.cloudformation.stacks.insert(id.to_owned(), stack);
        return;
    }
    let progress = work(&mut stack, world);
    let ended = match progress {
        Progress::Ended => stack.ended.take(),
        _ => None,
    };
    let outcome = (!stack.status.contains("ROLLBACK") && !stack.status.ends_with("FAILED"), stack.reason.clone());
    world.cloudformation.stacks.insert(id.to_owned(), stack);
    if let Progress::Next = progress {
        let id = id.to_owned();
        world.after(STEP, move |world| advance(world, &id));
    }
    if let Some(ended) = ended {
        ended(world, outcome.0, outcome.1);
    }
}

impl Stack {
    #[expect(clippy::too_many_arguments, reason = "a stack is what CreateStack says it is")]
    pub(crate) fn new(
        id: String,
        name: String,
        account: AccountId,
        region: Region,
        actor: Principal,
        role_arn: Option<String>,
        plan: Plan,
        rollback: bool,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            name,
            account,
            region,
            actor,
            role_arn,
            status: String::new(),
            reason: String::new(),
            created: now,
            updated: None,
            deleted: None,
            plan,
            rollback,
            resources: BTreeMap::new(),
            outputs: Vec::new(),
            imports: BTreeSet::new(),
            events: Vec::new(),
            phase: Phase::Idle,
            todo: VecDeque::new(),
            undo: Vec::new(),
            doomed: Vec::new(),
            previous: None,
            failures: Vec::new(),
            waiting: None,
            ended: None,
        }
    }

    /// Whether an operation runs.
    pub(crate) fn is_busy(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// Whether its creation runs.
    pub(crate) fn is_being_created(&self) -> bool {
        self.phase == Phase::Create
    }

    /// A custom resource that was asked for and has not answered; a stack lists it before it has an id.
    pub(crate) fn begun(&self) -> impl Iterator<Item = (&String, &StackResource)> {
        let begun = match &self.waiting {
            Some(Waiting { step: Step::Apply(logical), next, .. }) => Some((logical, next)),
            _ => None,
        };
        begun.into_iter()
    }

    fn begin(&mut self, now: Timestamp, phase: Phase, status: &str, reason: &str) {
        self.phase = phase;
        self.todo.clear();
        self.undo.clear();
        self.doomed.clear();
        self.failures.clear();
        self.set_status(now, status, reason);
    }

    fn set_status(&mut self, now: Timestamp, status: &str, reason: &str) {
        self.status = status.to_owned();
        self.reason = reason.to_owned();
        let (name, id) = (self.name.clone(), self.id.clone());
        self.event(now, &name, &id, "AWS::CloudFormation::Stack", status, reason);
    }

    fn event(&mut self, now: Timestamp, logical: &str, physical: &str, kind: &str, status: &str, reason: &str) {
        self.events.push(json!({
            "StackId": self.id,
            "EventId": format!("{logical}-{}", self.events.len()),
            "StackName": self.name,
            "LogicalResourceId": logical,
            "PhysicalResourceId": physical,
            "ResourceType": kind,
            "Timestamp": iso(now),
            "ResourceStatus": status,
            "ResourceStatusReason": if reason.is_empty() { Value::Null } else { json!(reason) },
        }));
    }

    fn resource_event(&mut self, now: Timestamp, logical: &str, resource: &StackResource, status: &str, reason: &str) {
        if let Some(held) = self.resources.get_mut(logical)
            && held.made.id == resource.made.id
        {
            held.status = status.to_owned();
            held.changed = now;
        }
        let (id, kind) = (resource.made.id.clone(), resource.kind.clone());
        self.event(now, logical, &id, &kind, status, reason);
    }

    fn context<'a>(&self, world: &'a mut World, logical: &str) -> Context<'a> {
        let fresh_name = format!("{}-{logical}-{:012X}", self.name, world.fresh_number());
        Context {
            world,
            actor: self.actor.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            fresh_name,
        }
    }

    fn next(&mut self, world: &mut World) -> Progress {
        match self.todo.pop_front() {
            Some(Step::Apply(logical)) => self.apply(world, logical),
            Some(Step::Delete(logical, resource)) => self.remove(world, logical, *resource),
            Some(Step::Restore(logical, before)) => self.restore(world, logical, before.map(|before| *before)),
            None => self.phase_done(world),
        }
    }

    /// The properties of a resource; `None` if its condition does not hold.
    fn evaluate(&mut self, world: &mut World, logical: &str) -> Result<Option<StackResource>, TemplateError> {
        let plan = self.plan.clone();
        let Some(declared) = plan.template.resources.get(logical) else { return Ok(None) };
        let now = world.now();
        let (properties, imports) = {
            let view = View { world: RefCell::new(world), stack: self, imports: RefCell::default() };
            let evaluation = Evaluation::new(&plan.template, &plan.parameters, &view);
            if !evaluation.holds(declared.condition.as_deref())? {
                return Ok(None);
            }
            let properties = match &declared.properties {
                Some(node) => evaluation.value(node)?.unwrap_or_else(|| json!({})),
                None => json!({}),
            };
            (properties, view.imports.into_inner())
        };
        self.imports.extend(imports);
        let properties = match Type::find(&declared.kind) {
            Some(kind) => kind.conform(&properties).map_err(|error| {
                if error.status == 501 {
                    TemplateError::not_simulated(declared.line, error.message)
                } else {
                    TemplateError::invalid(declared.line, error.message)
                }
            })?,
            None => properties,
        };
        Ok(Some(StackResource {
            kind: declared.kind.clone(),
            made: Made::default(),
            properties,
            status: String::new(),
            changed: now,
            deletion_policy: declared.deletion_policy,
            update_replace_policy: declared.update_replace_policy,
        }))
    }

    fn apply(&mut self, world: &mut World, logical: String) -> Progress {
        let mut next = match self.evaluate(world, &logical) {
            Ok(Some(next)) => next,
            Ok(None) => return Progress::Next,
            Err(error) => {
                if error.not_simulated {
                    world.refuse(&error);
                }
                return self.fail(world, &logical, &error.to_string());
            }
        };
        let before = self.resources.get(&logical).cloned();
        if let Some(before) = &before
            && before.kind == next.kind
            && before.properties == next.properties
        {
            let held = StackResource {
                made: before.made.clone(),
                status: before.status.clone(),
                changed: before.changed,
                ..next
            };
            self.resources.insert(logical, held);
            return Progress::Next;
        }
        let (status, now) = (if before.is_some() { "UPDATE" } else { "CREATE" }, world.now());
        next.made.id = before.as_ref().map(|before| before.made.id.clone()).unwrap_or_default();
        next.status = format!("{status}_IN_PROGRESS");
        self.resource_event(now, &logical, &next, &format!("{status}_IN_PROGRESS"), "");
        let same_kind = before.as_ref().filter(|before| before.kind == next.kind);
        if custom_resource::is_custom(&next.kind) {
            let (kind, old) = match same_kind {
                Some(before) => (RequestType::Update, Some(&before.properties)),
                None => (RequestType::Create, None),
            };
            return self.ask(world, kind, Step::Apply(logical), next, old.cloned().as_ref());
        }
        let outcome = match Type::find(&next.kind) {
            None => Err(ServiceError::not_simulated(format_args!("the resource type {}", next.kind))),
            Some(kind) => {
                let mut context = self.context(world, &logical);
                match same_kind {
                    Some(before) => kind.change(&mut context, &before.made.id, &before.properties, &next.properties),
                    None => kind.create(&mut context, &next.properties).map(Changed::Replaced),
                }
            }
        };
        match outcome {
            Ok(Changed::InPlace(made) | Changed::Replaced(made)) => {
                next.made = made;
                self.applied(world, logical, before, next)
            }
            Err(error) => {
                // A change may have been made in part: it is taken back like a complete one.
                if before.is_some() {
                    self.undo.push((logical.clone(), before));
                    self.resources.insert(logical.clone(), next);
                }
                self.fail(world, &logical, &error.to_string())
            }
        }
    }

    /// Notes a resource that came where it should.
    fn applied(
        &mut self,
        world: &mut World,
        logical: String,
        before: Option<StackResource>,
        next: StackResource,
    ) -> Progress {
        let status = if before.is_some() { "UPDATE_COMPLETE" } else { "CREATE_COMPLETE" };
        if let Some(before) = &before
            && before.made.id != next.made.id
            && before.update_replace_policy == DeletionPolicy::Delete
        {
            self.doomed.push((logical.clone(), before.clone()));
        }
        self.resources.insert(logical.clone(), next.clone());
        self.undo.push((logical.clone(), before));
        self.resource_event(world.now(), &logical, &next, status, "");
        Progress::Next
    }

    fn remove(&mut self, world: &mut World, logical: String, resource: StackResource) -> Progress {
        let now = world.now();
        let rolled_back = self.phase == Phase::RollbackCreate;
        let retained = match resource.deletion_policy {
            DeletionPolicy::Delete => false,
            DeletionPolicy::Retain => true,
            DeletionPolicy::RetainExceptOnCreate => !rolled_back,
        };
        if retained && self.phase != Phase::RollbackUpdateCleanup || resource.made.id.is_empty() {
            self.resource_event(now, &logical, &resource, "DELETE_SKIPPED", "");
            self.forget(&logical, &resource);
            return Progress::Next;
        }
        self.resource_event(now, &logical, &resource, "DELETE_IN_PROGRESS", "");
        if custom_resource::is_custom(&resource.kind) {
            let step = Step::Delete(logical, Box::new(resource.clone()));
            return self.ask(world, RequestType::Delete, step, resource, None);
        }
        let outcome = match Type::find(&resource.kind) {
            None => Ok(()),
            Some(kind) => {
                let mut context = self.context(world, &logical);
                kind.delete(&mut context, &resource.made.id, &resource.properties)
            }
        };
        self.removed(world, logical, &resource, outcome.map_err(|error| error.to_string()))
    }

    fn removed(
        &mut self,
        world: &mut World,
        logical: String,
        resource: &StackResource,
        outcome: Result<(), String>,
    ) -> Progress {
        match outcome {
            Ok(()) => {
                self.resource_event(world.now(), &logical, resource, "DELETE_COMPLETE", "");
                self.forget(&logical, resource);
            }
            Err(reason) => {
                self.resource_event(world.now(), &logical, resource, "DELETE_FAILED", &reason);
                self.failures.push(format!("{logical}: {reason}"));
            }
        }
        Progress::Next
    }

    /// Takes a resource out of the stack, if it is still the one that the stack holds.
    fn forget(&mut self, logical: &str, resource: &StackResource) {
        if self.resources.get(logical).is_some_and(|held| held.made.id == resource.made.id) {
            self.resources.remove(logical);
        }
    }

    fn restore(&mut self, world: &mut World, logical: String, before: Option<StackResource>) -> Progress {
        let Some(current) = self.resources.get(&logical).cloned() else { return Progress::Next };
        let Some(before) = before else {
            self.doomed.push((logical, current));
            return Progress::Next;
        };
        let now = world.now();
        self.resource_event(now, &logical, &current, "UPDATE_IN_PROGRESS", "");
        if custom_resource::is_custom(&current.kind) && current.kind == before.kind {
            let next = StackResource { made: current.made.clone(), ..before.clone() };
            let step = Step::Restore(logical, Some(Box::new(before)));
            return self.ask(world, RequestType::Update, step, next, Some(&current.properties));
        }
        if current.made.id != before.made.id {
            // The former resource was not deleted yet.
            self.doomed.push((logical.clone(), current));
        } else if let Some(kind) = Type::find(&before.kind) {
            let mut context = self.context(world, &logical);
            let outcome = kind.change(&mut context, &before.made.id, &current.properties, &before.properties);
            if let Err(error) = outcome {
                self.failures.push(format!("{logical}: {error}"));
            }
        }
        self.resources.insert(logical.clone(), before.clone());
        self.resource_event(now, &logical, &before, "UPDATE_COMPLETE", "");
        Progress::Next
    }

    /// Sends a request to a custom resource.
    fn ask(
        &mut self,
        world: &mut World,
        kind: RequestType,
        step: Step,
        next: StackResource,
        old: Option<&Value>,
    ) -> Progress {
        let (Step::Apply(logical) | Step::Delete(logical, _) | Step::Restore(logical, _)) = &step;
        match custom_resource::send(world, self, kind, logical, &next, old) {
            Ok(request_id) => {
                self.waiting = Some(Waiting { request_id, step, next });
                Progress::Waiting
            }
            Err(error) => {
                let answer = custom_resource::Answer::failed(error.to_string());
                let waiting = Waiting { request_id: String::new(), step, next };
                self.settle(world, waiting, answer)
            }
        }
    }

    /// Goes on from the answer of a custom resource.
    fn settle(&mut self, world: &mut World, waiting: Waiting, answer: custom_resource::Answer) -> Progress {
        let Waiting { step, mut next, .. } = waiting;
        match step {
            Step::Apply(logical) => {
                let before = self.resources.get(&logical).cloned();
                if let Some(id) = answer.physical_id {
                    next.made.id = id;
                }
                match answer.outcome {
                    Ok(data) => {
                        next.made.attributes = data;
                        self.applied(world, logical, before, next)
                    }
                    Err(reason) => {
                        // It is deleted, or brought back, whether it did anything or not.
                        match &before {
                            Some(before) => next.made = before.made.clone(),
                            None if next.made.id.is_empty() => {
                                next.made.id = format!("{}-{logical}-{:012X}", self.name, world.fresh_number());
                            }
                            None => {}
                        }
                        self.undo.push((logical.clone(), before));
                        self.resources.insert(logical.clone(), next);
                        self.fail(world, &logical, &reason)
                    }
                }
            }
            Step::Delete(logical, resource) => self.removed(world, logical, &resource, answer.outcome.map(drop)),
            Step::Restore(logical, before) => {
                let replaced = next.made.id.clone();
                if let Some(id) = answer.physical_id {
                    next.made.id = id;
                }
                match answer.outcome {
                    Ok(data) => {
                        next.made.attributes = data;
                        if next.made.id != replaced {
                            let old = StackResource {
                                made: Made { id: replaced, ..Made::default() },
                                ..self.resources.get(&logical).cloned().unwrap_or_else(|| next.clone())
                            };
                            self.doomed.push((logical.clone(), old));
                        }
                    }
                    Err(reason) => {
                        self.failures.push(format!("{logical}: {reason}"));
                        if let Some(before) = before {
                            next.made = before.made;
                        }
                    }
                }
                self.resources.insert(logical.clone(), next.clone());
                self.resource_event(world.now(), &logical, &next, "UPDATE_COMPLETE", "");
                Progress::Next
            }
        }
    }

    /// A resource did not come where it should: takes back what was done.
    fn fail(&mut self, world: &mut World, logical: &str, reason: &str) -> Progress {
        let now = world.now();
        let kind = self.plan.template.resources.get(logical).map(|resource| resource.kind.clone()).unwrap_or_default();
        let id = self.resources.get(logical).map(|held| held.made.id.clone()).unwrap_or_default();
        let verb = if self.phase == Phase::Create { "CREATE" } else { "UPDATE" };
        if let Some(held) = self.resources.get_mut(logical) {
            (held.status, held.changed) = (format!("{verb}_FAILED"), now);
        }
        self.event(now, logical, &id, &kind, &format!("{verb}_FAILED"), reason);
        let reason = format!("The following resource(s) failed to {}: [{logical}]. {reason}", verb.to_lowercase());
        self.todo.clear();
        if self.phase == Phase::Create && !self.rollback {
            self.phase = Phase::Idle;
            self.set_status(now, "CREATE_FAILED", &reason);
            return Progress::Ended;
        }
        let undo = std::mem::take(&mut self.undo);
        if self.phase == Phase::Create {
            self.phase = Phase::RollbackCreate;
            self.set_status(now, "ROLLBACK_IN_PROGRESS", &reason);
            for (logical, _) in undo.into_iter().rev() {
                if let Some(resource) = self.resources.get(&logical) {
                    self.todo.push_back(Step::Delete(logical, Box::new(resource.clone())));
                }
            }
        } else {
            self.phase = Phase::RollbackUpdate;
            self.set_status(now, "UPDATE_ROLLBACK_IN_PROGRESS", &reason);
            self.doomed.clear();
            for (logical, before) in undo.into_iter().rev() {
                self.todo.push_back(Step::Restore(logical, before.map(Box::new)));
            }
        }
        Progress::Next
    }

    fn phase_done(&mut self, world: &mut World) -> Progress {
        let now = world.now();
        let reason = self.reason.clone();
        match self.phase {
            Phase::Idle => return Progress::Ended,
            Phase::Create | Phase::Update => match self.evaluate_outputs(world) {
                Err(error) => {
                    if error.not_simulated {
                        world.refuse(&error);
                    }
                    return self.fail(world, "Outputs", &error.to_string());
                }
                Ok(outputs) => {
                    self.outputs = outputs;
                    if self.phase == Phase::Create {
                        self.set_status(now, "CREATE_COMPLETE", "");
                    } else {
                        self.phase = Phase::UpdateCleanup;
                        self.set_status(now, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "");
                        self.clean_up(world);
                        return Progress::Next;
                    }
                }
            },
            Phase::UpdateCleanup => self.set_status(now, "UPDATE_COMPLETE", ""),
            Phase::RollbackCreate if self.failures.is_empty() => self.set_status(now, "ROLLBACK_COMPLETE", &reason),
            Phase::RollbackCreate => self.set_status(now, "ROLLBACK_FAILED", &self.failures.join("; ")),
            Phase::RollbackUpdate if !self.failures.is_empty() => {
                self.set_status(now, "UPDATE_ROLLBACK_FAILED", &self.failures.join("; "));
            }
            Phase::RollbackUpdate => {
                if let Some(previous) = self.previous.take() {
                    self.plan = previous;
                }
                self.phase = Phase::RollbackUpdateCleanup;
                self.set_status(now, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", &reason);
                for (logical, resource) in std::mem::take(&mut self.doomed) {
                    self.todo.push_back(Step::Delete(logical, Box::new(resource)));
                }
                return Progress::Next;
            }
            Phase::RollbackUpdateCleanup => self.set_status(now, "UPDATE_ROLLBACK_COMPLETE", &reason),
            Phase::Delete if self.failures.is_empty() => {
                self.deleted = Some(now);
                self.set_status(now, "DELETE_COMPLETE", "");
            }
            Phase::Delete => {
                self.set_status(now, "DELETE_FAILED", &self.failures.join("; "));
            }
        }
        self.phase = Phase::Idle;
        self.previous = None;
        Progress::Ended
    }

    /// Queues the deletion of what an update replaced, and of what the template no longer holds.
    fn clean_up(&mut self, world: &mut World) {
        let mut left: Vec<(String, StackResource)> = Vec::new();
        for (logical, resource) in self.resources.clone() {
            let held = self.evaluate_condition(world, &logical);
            if !held {
                left.push((logical, resource));
            }
        }
        let order = self.previous.as_ref().map(|previous| previous.template.order.clone()).unwrap_or_default();
        left.sort_by_key(|(logical, _)| std::cmp::Reverse(order.iter().position(|name| name == logical)));
        for (logical, resource) in left {
            self.todo.push_back(Step::Delete(logical, Box::new(resource)));
        }
        for (logical, mut resource) in std::mem::take(&mut self.doomed).into_iter().rev() {
            // What replaced resources are is up to their replacement policy, which was asked.
            resource.deletion_policy = DeletionPolicy::Delete;
            self.todo.push_back(Step::Delete(logical, Box::new(resource)));
        }
    }

    fn evaluate_condition(&self, world: &mut World, logical: &str) -> bool {
        let Some(declared) = self.plan.template.resources.get(logical) else { return false };
        let view = View { world: RefCell::new(world), stack: self, imports: RefCell::default() };
        let evaluation = Evaluation::new(&self.plan.template, &self.plan.parameters, &view);
        evaluation.holds(declared.condition.as_deref()).unwrap_or(true)
    }

    fn evaluate_outputs(&self, world: &mut World) -> Result<Vec<StackOutput>, TemplateError> {
        let view = View { world: RefCell::new(world), stack: self, imports: RefCell::default() };
        let evaluation = Evaluation::new(&self.plan.template, &self.plan.parameters, &view);
        let mut outputs = Vec::new();
        for (key, output) in &self.plan.template.outputs {
            if !evaluation.holds(output.condition.as_deref())? {
                continue;
            }
            let value = evaluation.text(&output.value, "an output's value")?;
            let export = output.export.as_ref().map(|name| evaluation.text(name, "an export's name")).transpose()?;
            outputs.push(StackOutput { key: key.clone(), value, description: output.description.clone(), export });
        }
        let world = view.world.borrow();
        for output in &outputs {
            let Some(name) = output.export.as_deref() else { continue };
            let taken = exports(&world, &self.account, &self.region)
                .any(|(stack, other)| stack.id != self.id && other.export.as_deref() == Some(name));
            if taken {
                return Err(TemplateError::unplaced(format_args!("Export with name {name} is already exported")));
            }
        }
        for old in &self.outputs {
            let Some(name) = old.export.as_deref() else { continue };
            let same = outputs.iter().any(|new| new.export.as_deref() == Some(name) && new.value == old.value);
            let user = world.cloudformation.stacks.values().find(|stack| {
                stack.deleted.is_none()
                    && stack.account == self.account
                    && stack.region == self.region
                    && stack.imports.contains(name)
            });
            if let Some(user) = user.filter(|_| !same) {
                return Err(TemplateError::unplaced(format_args!(
                    "Export {name} cannot be updated as it is in use by {}",
                    user.name
                )));
            }
        }
        Ok(outputs)
    }
}

/// Attributes from the `Data` of a custom resource: nested objects are reached by dotted names.
pub(crate) fn flatten(data: &Value) -> Map<String, Value> {
    let mut flat = Map::new();
    if let Value::Object(members) = data {
        for (name, value) in members {
            for (inner, value) in flatten(value) {
                flat.insert(format!("{name}.{inner}"), value);
            }
            flat.insert(name.clone(), value.clone());
        }
    }
    flat
}
