//! From a change of a resource to an item, to an event on the default bus, to a copy in the aggregators.
//!
//! # Guarantees
//! - What services report is remembered whether or not it is recorded, so that a recorder that starts, or records more
//!   than before, discovers what exists, and what is gone.
//! - An older state never replaces a newer one, however the delays fall.
//! - A recorder that stopped before an item was captured captures nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::Site;
use super::items::{Item, RECORDER, TASK_DEFINITION};
use super::recorder::Frequency;
use crate::World;
use crate::events::ServiceEvent;
use crate::identity::{AccountId, Region};

/// How long Config takes; each a shortest and a longest time, between which chance decides. AWS promises none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delays {
    /// From a change to its item, for types that are recorded continuously.
    pub capture: (SignedDuration, SignedDuration),
    /// The same for types that are recorded daily.
    pub daily: (SignedDuration, SignedDuration),
    /// From an item to its copy in the aggregators; the longest is also how long a new source takes to appear.
    pub aggregation: (SignedDuration, SignedDuration),
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            capture: (SignedDuration::from_secs(20), SignedDuration::from_mins(5)),
            daily: (SignedDuration::from_mins(10), SignedDuration::from_hours(24)),
            aggregation: (SignedDuration::from_secs(30), SignedDuration::from_mins(5)),
        }
    }
}

/// What was told on a default bus.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// When.
    pub at: Timestamp,
    /// The event's `detail`.
    pub detail: Value,
}

/// When a resource came into a state, and the order among the changes of one instant.
type Changed = (Timestamp, u64);

/// The last state of a resource that Config knows.
#[derive(Debug, Clone)]
struct Captured {
    item: Item,
    /// When the resource came into this state.
    changed: Changed,
    captured: Timestamp,
    frequency: Frequency,
    number: u64,
}

/// A resource among those of its account and region: its type and id.
type Key = (String, String);

#[derive(Debug, Default)]
pub(super) struct State {
    delays: Delays,
    oversized: bool,
    /// What exists, recorded or not.
    existing: BTreeMap<Site, BTreeMap<Key, (Item, Changed)>>,
    /// What will be recorded at the end of the day.
    today: BTreeMap<(Site, Key), (Item, Changed)>,
    captured: BTreeMap<Site, BTreeMap<Key, Captured>>,
    /// By resource type, source and id, as queries see it.
    aggregated: BTreeMap<String, BTreeMap<Site, BTreeMap<String, Value>>>,
    changes: Vec<Change>,
}

/// Sets how long Config takes from now on.
pub fn set_delays(world: &mut World, delays: Delays) {
    world.config.recording.delays = delays;
}

/// Whether items are told as too large for an event (`OversizedConfigurationItemChangeNotification`).
pub fn send_oversized_events(world: &mut World, oversized: bool) {
    world.config.recording.oversized = oversized;
}

/// Everything that was told on default buses, in order.
pub fn changes(world: &World) -> &[Change] {
    &world.config.recording.changes
}

/// How long a new source takes to appear in an aggregator.
pub(super) fn first_sync(world: &World) -> SignedDuration {
    world.config.recording.delays.aggregation.1
}

pub(super) fn some_delay(world: &mut World) -> SignedDuration {
    let range = world.config.recording.delays.capture;
    between(world, range)
}

fn between(world: &mut World, (shortest, longest): (SignedDuration, SignedDuration)) -> SignedDuration {
    let (shortest, longest) = (shortest.as_millis() as i64, longest.as_millis() as i64);
    SignedDuration::from_millis(world.rng.i64(shortest..=longest.max(shortest)))
}

fn changed_now(world: &mut World) -> Changed {
    (world.now(), world.fresh_number())
}

fn key(item: &Item) -> Key {
    (item.resource_type.clone(), item.id.clone())
}

/// Takes note of what became of a resource: its new state, or its end ([`Item::deleted`]). Every service reports here
/// whatever it makes, changes or deletes, whether or not anybody records it.
///
/// Whether the end of a task definition (`DeleteTaskDefinitions`) ends its item is not known; see
/// [`Behaviours`](crate::Behaviours).
pub fn record(world: &mut World, account: &AccountId, region: &Region, item: Item) {
    let deleted = item.configuration.is_none();
    if deleted && item.resource_type == TASK_DEFINITION && !world.behaviours.config_deleted_task_definition_vanishes {
        return;
    }
    let (site, changed) = ((account.clone(), region.clone()), changed_now(world));
    let existing = world.config.recording.existing.entry(site.clone()).or_default();
    if deleted {
        existing.remove(&key(&item));
    } else {
        existing.insert(key(&item), (item.clone(), changed));
    }
    plan(world, &site, item, changed);
}

/// Has an item captured later, if the type is recorded.
fn plan(world: &mut World, site: &Site, item: Item, changed: Changed) {
    let recorder = world.config.recorders.get(site);
    let Some(frequency) = recorder.and_then(|recorder| recorder.frequency_of(&item.resource_type)) else {
        return;
    };
    let (site, delays) = (site.clone(), &world.config.recording.delays);
    match frequency {
        Frequency::Continuous => {
            let delay = between(world, delays.capture);
            world.after(delay, move |world| {
                let frequency = frequency_now(world, &site, &item);
                capture(world, &site, item, changed, frequency);
            });
        }
        Frequency::Daily => {
            let delay = between(world, delays.daily);
            let today = (site.clone(), key(&item));
            if world.config.recording.today.insert(today.clone(), (item, changed)).is_none() {
                world.after(delay, move |world| {
                    if let Some((item, changed)) = world.config.recording.today.remove(&today) {
                        let frequency = frequency_now(world, &site, &item);
                        capture(world, &site, item, changed, frequency);
                    }
                });
            }
        }
    }
}

fn frequency_now(world: &World, site: &Site, item: &Item) -> Option<Frequency> {
    world.config.recorders.get(site)?.frequency_of(&item.resource_type)
}

/// Records what a recorder says about itself, which needs no recorder that runs.
pub(super) fn record_recorder(world: &mut World, site: &Site, item: Item) {
    let (site, changed, delay) = (site.clone(), changed_now(world), some_delay(world));
    world.after(delay, move |world| capture(world, &site, item, changed, Some(Frequency::Continuous)));
}

/// Finds what is recorded but not captured in its present state, and what is captured but gone.
pub(super) fn discover(world: &mut World, site: &Site) {
    let now = changed_now(world);
    let state = &world.config.recording;
    let nothing = BTreeMap::new();
    let existing = state.existing.get(site).unwrap_or(&nothing);
    let mut found: Vec<(Item, Changed)> = existing.values().cloned().collect();
    for (key, known) in state.captured.get(site).into_iter().flatten() {
        if known.item.configuration.is_some() && key.0 != RECORDER && !existing.contains_key(key) {
            found.push((known.item.clone().deleted(), now));
        }
    }
    for (item, changed) in found {
        plan(world, site, item, changed);
    }
}

/// Makes an item, unless it tells nothing new or the type is no longer recorded.
fn capture(world: &mut World, site: &Site, item: Item, changed: Changed, frequency: Option<Frequency>) {
    let Some(frequency) = frequency else { return };
    let (now, number) = (world.now(), world.fresh_number());
    let captured = world.config.recording.captured.entry(site.clone()).or_default();
    let before = captured.get(&key(&item));
    let known = match before {
        Some(before) => before.changed > changed || before.item == item,
        None => item.configuration.is_none(),
    };
    if known {
        return;
    }
    let before = before.map(|before| before.item.clone());
    // A daily item shows the resource as it is then; a continuous one, as it became.
    let at = if frequency == Frequency::Daily { now } else { changed.0 };
    let key = key(&item);
    let after = Captured { item, changed, captured: at, frequency, number };
    captured.insert(key.clone(), after.clone());
    tell(world, site, before.as_ref(), &after);
    let site = site.clone();
    let range = world.config.recording.delays.aggregation;
    let delay = between(world, range);
    world.after(delay, move |world| copy(world, &site, &key));
}

/// Copies the last state of an item into the aggregators' view, unless the source cannot be read just now.
fn copy(world: &mut World, site: &Site, key: &Key) {
    let hidden = key.0 == RECORDER && !world.behaviours.config_recorder_is_aggregated;
    if hidden || world.config.source_faults.contains_key(site) {
        return;
    }
    let state = &mut world.config.recording;
    let Some(captured) = state.captured.get(site).and_then(|items| items.get(key)) else { return };
    let items = state.aggregated.entry(key.0.clone()).or_default().entry(site.clone()).or_default();
    match queried(site, captured) {
        Some(item) => items.insert(key.1.clone(), item),
        None => items.remove(&key.1),
    };
}

/// Brings the aggregators' view of a source up to date.
pub(super) fn copy_all(world: &mut World, site: &Site) {
    let keys: Vec<Key> =
        world.config.recording.captured.get(site).into_iter().flat_map(BTreeMap::keys).cloned().collect();
    for key in keys {
        copy(world, site, &key);
    }
}

/// What queries to an aggregator with these sources see, by type, account, region and id; all types or those named.
pub(super) fn visible<'a>(
    world: &'a World,
    types: Option<BTreeSet<&str>>,
    is_source: impl Fn(&Site) -> bool,
) -> Vec<&'a Value> {
    let aggregated = &world.config.recording.aggregated;
    let types: Vec<_> = match types {
        Some(types) => types.into_iter().filter_map(|one| aggregated.get(one)).collect(),
        None => aggregated.values().collect(),
    };
    let sources = types.into_iter().flatten();
    sources.filter(|(site, _)| is_source(site)).flat_map(|(_, items)| items.values()).collect()
}

/// What queries in the account and region itself see.
pub(super) fn own(world: &World, site: &Site) -> Vec<Value> {
    let items = world.config.recording.captured.get(site).into_iter().flatten();
    items.filter_map(|(_, captured)| queried(site, captured)).collect()
}

fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// An item in the form that queries run over; `None` once it is deleted.
fn queried((account, region): &Site, captured: &Captured) -> Option<Value> {
    let item = &captured.item;
    let tags =
        item.tags.iter().map(|(key, value)| json!({"key": key, "value": value, "tag": format!("{key}={value}")}));
    let mut queried = json!({
        "accountId": account.as_str(), "awsRegion": region.as_str(), "resourceType": item.resource_type,
        "resourceId": item.id, "arn": item.arn, "availabilityZone": "Not Applicable", "version": "1.3",
        "configurationItemStatus": "OK", "configurationItemCaptureTime": written(captured.captured),
        "configurationStateId": captured.number.to_string(), "recordingFrequency": captured.frequency.as_str(),
        "configuration": item.configuration.clone()?, "supplementaryConfiguration": {}, "relationships": [],
        "tags": Vec::from_iter(tags),
    });
    super::put(&mut queried, "resourceName", item.name.clone());
    Some(queried)
}

/// Tells of an item on the default bus.
fn tell(world: &mut World, (account, region): &Site, before: Option<&Item>, after: &Captured) {
    let now = world.now();
    let (change, status) = match (before.and_then(|before| before.configuration.as_ref()), &after.item.configuration) {
        (_, None) => ("DELETE", "ResourceDeleted"),
        (None, Some(_)) => ("CREATE", "ResourceDiscovered"),
        (Some(_), Some(_)) => ("UPDATE", "OK"),
    };
    let item = &after.item;
    let mut described = json!({
        "configurationItemVersion": "1.3", "configurationItemCaptureTime": written(after.captured),
        "configurationStateId": after.number, "awsAccountId": account.as_str(), "configurationItemStatus": status,
        "resourceType": item.resource_type, "resourceId": item.id, "resourceName": item.name, "ARN": item.arn,
        "awsRegion": region.as_str(), "availabilityZone": "Not Applicable", "configurationStateMd5Hash": "",
    });
    let detail = if world.config.recording.oversized {
        described["changeType"] = Value::from(change);
        json!({
            "configurationItemSummary": described,
            "s3DeliverySummary": {"s3BucketLocation": "config/oversized.json.gz", "errorCode": null, "errorMessage": null},
            "notificationCreationTime": written(now), "recordVersion": "1.0",
            "messageType": "OversizedConfigurationItemChangeNotification",
        })
    } else {
        described["configuration"] = item.configuration.clone().unwrap_or_default();
        described["supplementaryConfiguration"] = json!({});
        described["tags"] = json!(item.tags);
        described["relatedEvents"] = json!([]);
        described["relationships"] = json!([]);
        let difference = match (before.and_then(|before| before.configuration.as_ref()), &item.configuration) {
            (_, None) => Value::Null,
            (before, after) => {
                let mut changed = Map::new();
                differences("Configuration", before, after.as_ref(), &mut changed);
                json!({"changedProperties": changed, "changeType": change})
            }
        };
        json!({
            "recordVersion": "1.3", "messageType": "ConfigurationItemChangeNotification",
            "configurationItemDiff": difference, "notificationCreationTime": written(now), "configurationItem": described,
        })
    };
    world.config.recording.changes.push(Change {
        account: account.clone(),
        region: region.clone(),
        at: now,
        detail: detail.clone(),
    });
    let event = ServiceEvent {
        source: "aws.config".to_owned(),
        detail_type: "Config Configuration Item Change".to_owned(),
        resources: vec![item.arn.clone()],
        time: now,
        detail,
    };
    world.emit(account, region, event);
}

/// The properties that changed, each under its path; elements of lists count from 0.
fn differences(path: &str, before: Option<&Value>, after: Option<&Value>, changed: &mut Map<String, Value>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
            for name in names {
                differences(&format!("{path}.{name}"), old.get(name), new.get(name), changed);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for position in 0..old.len().max(new.len()) {
                differences(&format!("{path}.{position}"), old.get(position), new.get(position), changed);
            }
        }
        (before, after) => {
            let kind = match (before, after) {
                (None, _) => "CREATE",
                (_, None) => "DELETE",
                _ => "UPDATE",
            };
            let difference = json!({"previousValue": before, "updatedValue": after, "changeType": kind});
            changed.insert(path.to_owned(), difference);
        }
    }
}
