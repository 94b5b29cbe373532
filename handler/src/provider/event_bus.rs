//! The event bus, its policy, and the hub's rules on it with their targets.

use std::collections::BTreeMap;

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::{InputTransformer, RuleState, Tag, Target};
use serde_json::Value;

use super::desired::{Desired, HubRule, Identity, OWNER_TAG};
use super::step::{Progress, StepError, failed, owned};

/// The only target of each hub rule.
const TARGET_ID: &str = "queue";

/// What is there.
struct State {
    policy: Option<Value>,
    /// By name: pattern, and the queue and template of its target.
    rules: BTreeMap<String, RuleIs>,
}

/// A rule as it is.
struct RuleIs {
    pattern: Option<Value>,
    enabled: bool,
    target: Option<(String, String)>,
    other_targets: Vec<String>,
}

async fn observe(client: &Client, identity: &Identity) -> Result<Option<State>, StepError> {
    let name = identity.part_name();
    let bus = match client.describe_event_bus().name(&name).send().await {
        Ok(bus) => bus,
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
            return Ok(None);
        }
        Err(error) => return Err(failed("events:DescribeEventBus", &name)(error)),
    };
    let arn = bus.arn().ok_or(StepError::Answer { call: "events:DescribeEventBus", what: "an ARN" })?;
    let tags = client
        .list_tags_for_resource()
        .resource_arn(arn)
        .send()
        .await
        .map_err(failed("events:ListTagsForResource", &name))?;
    let owner = tags.tags().iter().find(|tag| tag.key() == OWNER_TAG).map(Tag::value);
    owned(owner, &identity.owner, &format!("the event bus {name}"))?;
    let policy = bus.policy().and_then(|policy| serde_json::from_str(policy).ok());
    let mut rules = BTreeMap::new();
    let mut token = None;
    loop {
        let page = client
            .list_rules()
            .event_bus_name(&name)
            .set_next_token(token)
            .send()
            .await
            .map_err(failed("events:ListRules", &name))?;
        for rule in page.rules() {
            let rule_name = rule.name().ok_or(StepError::Answer { call: "events:ListRules", what: "a name" })?;
            // Whoever wants to hear of outcomes has rules of their own on the bus.
            if !rule_name.starts_with(&format!("{name}-")) {
                continue;
            }
            let targets = targets(client, &name, rule_name).await?;
            let ours = targets.iter().find(|target| target.id() == TARGET_ID);
            rules.insert(
                rule_name.to_owned(),
                RuleIs {
                    pattern: rule.event_pattern().and_then(|pattern| serde_json::from_str(pattern).ok()),
                    enabled: rule.state() == Some(&RuleState::Enabled),
                    target: ours.map(|target| {
                        let template = target.input_transformer().map(InputTransformer::input_template);
                        (target.arn().to_owned(), template.unwrap_or_default().to_owned())
                    }),
                    other_targets: targets
                        .iter()
                        .map(|target| target.id().to_owned())
                        .filter(|id| id != TARGET_ID)
                        .collect(),
                },
            );
        }
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(Some(State { policy, rules }));
        }
    }
}

async fn targets(client: &Client, bus: &str, rule: &str) -> Result<Vec<Target>, StepError> {
    let mut targets = Vec::new();
    let mut token = None;
    loop {
        let page = client
            .list_targets_by_rule()
            .event_bus_name(bus)
            .rule(rule)
            .set_next_token(token)
            .send()
            .await
            .map_err(failed("events:ListTargetsByRule", rule))?;
        targets.extend_from_slice(page.targets());
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(targets);
        }
    }
}

/// The next thing to do.
#[derive(Debug)]
enum Step<'a> {
    CreateBus,
    PutPolicy,
    PutRule(&'a HubRule),
    PutTarget(&'a HubRule),
    RemoveRule(String),
}

fn plan<'a>(state: Option<&State>, desired: &'a Desired) -> Option<Step<'a>> {
    let Some(state) = state else { return Some(Step::CreateBus) };
    if state.policy.as_ref() != Some(&desired.bus_policy) {
        return Some(Step::PutPolicy);
    }
    for rule in &desired.rules {
        let is = state.rules.get(&rule.name);
        if !is.is_some_and(|is| is.enabled && is.pattern.as_ref() == Some(&rule.pattern)) {
            return Some(Step::PutRule(rule));
        }
        let target = is.and_then(|is| is.target.as_ref());
        if target != Some(&(rule.queue_arn.clone(), rule.input_template.clone())) {
            return Some(Step::PutTarget(rule));
        }
    }
    let wanted = |name: &str| desired.rules.iter().any(|rule| rule.name == name);
    state.rules.keys().find(|name| !wanted(name)).cloned().map(Step::RemoveRule)
}

/// One step towards the bus.
pub(super) async fn converge(client: &Client, desired: &Desired) -> Result<Progress, StepError> {
    let name = desired.identity.part_name();
    let state = observe(client, &desired.identity).await?;
    let Some(step) = plan(state.as_ref(), desired) else { return Ok(Progress::Done) };
    let tag = || {
        Tag::builder()
            .key(OWNER_TAG)
            .value(&desired.identity.owner)
            .build()
            .map_err(|error| StepError::Limit(format!("the tag {OWNER_TAG}: {error}")))
    };
    match step {
        Step::CreateBus => match client.create_event_bus().name(&name).tags(tag()?).send().await {
            Ok(_) => {}
            // Somebody was faster; the next look tells who.
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_already_exists_exception()) =>
            {
                return Ok(Progress::Waiting(format!("the event bus {name}")));
            }
            Err(error) => return Err(failed("events:CreateEventBus", &name)(error)),
        },
        Step::PutPolicy => {
            client
                .put_permission()
                .event_bus_name(&name)
                .policy(desired.bus_policy.to_string())
                .send()
                .await
                .map_err(failed("events:PutPermission", &name))?;
        }
        Step::PutRule(rule) => {
            client
                .put_rule()
                .event_bus_name(&name)
                .name(&rule.name)
                .description(&rule.description)
                .event_pattern(rule.pattern.to_string())
                .state(RuleState::Enabled)
                .tags(tag()?)
                .send()
                .await
                .map_err(failed("events:PutRule", &rule.name))?;
        }
        Step::PutTarget(rule) => {
            let call = "events:PutTargets";
            let invalid = |error: aws_sdk_eventbridge::error::BuildError| StepError::Limit(format!("{call}: {error}"));
            let transformer =
                InputTransformer::builder().input_template(&rule.input_template).build().map_err(invalid)?;
            let target = Target::builder()
                .id(TARGET_ID)
                .arn(&rule.queue_arn)
                .input_transformer(transformer)
                .build()
                .map_err(invalid)?;
            let put = client
                .put_targets()
                .event_bus_name(&name)
                .rule(&rule.name)
                .targets(target)
                .send()
                .await
                .map_err(failed(call, &rule.name))?;
            if let Some(failure) = put.failed_entries().first() {
                return Err(StepError::Call {
                    call,
                    thing: rule.name.clone(),
                    message: format!(
                        "{}: {}",
                        failure.error_code().unwrap_or_default(),
                        failure.error_message().unwrap_or_default()
                    ),
                    passing: failure.error_code() == Some("ConcurrentModificationException"),
                });
            }
        }
        Step::RemoveRule(rule) => {
            let targets = state.and_then(|state| state.rules.get(&rule).map(RuleIs::target_ids)).unwrap_or_default();
            remove_rule(client, &name, &rule, targets).await?;
        }
    }
    Ok(Progress::Stepped)
}

impl RuleIs {
    fn target_ids(&self) -> Vec<String> {
        let ours = self.target.is_some().then(|| TARGET_ID.to_owned());
        self.other_targets.iter().cloned().chain(ours).collect()
    }
}

/// A rule can be deleted only without targets (EventBridge API reference, DeleteRule). One that is gone is deleted.
async fn remove_rule(client: &Client, bus: &str, rule: &str, targets: Vec<String>) -> Result<(), StepError> {
    if !targets.is_empty() {
        let removed = client.remove_targets().event_bus_name(bus).rule(rule).set_ids(Some(targets)).send().await;
        match removed {
            Ok(_) => {}
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                return Ok(());
            }
            Err(error) => return Err(failed("events:RemoveTargets", rule)(error)),
        }
    }
    match client.delete_rule().event_bus_name(bus).name(rule).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => Ok(()),
        Err(error) => Err(failed("events:DeleteRule", rule)(error)),
    }
}

/// One step towards no bus: first its rules, then itself.
pub(super) async fn remove(client: &Client, identity: &Identity) -> Result<Progress, StepError> {
    let name = identity.part_name();
    let state = match observe(client, identity).await {
        Ok(Some(state)) => state,
        Ok(None) | Err(StepError::Foreign { .. }) => return Ok(Progress::Done),
        Err(error) => return Err(error),
    };
    if let Some((rule, is)) = state.rules.first_key_value() {
        remove_rule(client, &name, rule, is.target_ids()).await?;
        return Ok(Progress::Stepped);
    }
    client.delete_event_bus().name(&name).send().await.map_err(failed("events:DeleteEventBus", &name))?;
    Ok(Progress::Stepped)
}
