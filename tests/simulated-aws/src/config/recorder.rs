//! Configuration recorders: one for each account and region.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::items::{self, Item};
use super::{PRINCIPAL, Site, error, flag, members, put, recording, required, site, tagging, text, texts};
use crate::World;
use crate::iam::authorize_pass_role;
use crate::identity::{AccountId, Region};
use crate::operation::{Access, Call, ServiceError, epoch};

/// How the `lastStatus` of a recorder is written. The API model says `Success`, AWS's examples show `SUCCESS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusSpelling {
    /// `Success`.
    Capitalized,
    /// `SUCCESS`.
    UpperCase,
}

/// How often a type is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frequency {
    /// At each change.
    Continuous,
    /// Once a day, if it changed.
    Daily,
}

impl Frequency {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Continuous => "CONTINUOUS",
            Self::Daily => "DAILY",
        }
    }

    fn parse(value: &Value) -> Result<Self, ServiceError> {
        match required(value, "recordingFrequency")? {
            "CONTINUOUS" => Ok(Self::Continuous),
            "DAILY" => Ok(Self::Daily),
            other => Err(error("ValidationException", format!("{other} is not a recording frequency."))),
        }
    }
}

/// Which types are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Group {
    All { global: bool },
    Only(BTreeSet<String>),
    AllBut(BTreeSet<String>),
}

/// How often.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mode {
    frequency: Frequency,
    exception: Option<Override>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Override {
    description: Option<String>,
    types: BTreeSet<String>,
    frequency: Frequency,
}

/// A recorder and how it fares.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    name: String,
    arn: String,
    role: String,
    group: Group,
    mode: Mode,
    pub(super) recording: bool,
    started: Option<Timestamp>,
    stopped: Option<Timestamp>,
    status: &'static str,
    status_since: Timestamp,
    failure: Option<(String, String)>,
}

impl Recorder {
    /// How often the type is recorded, if it is.
    pub(super) fn frequency_of(&self, resource_type: &str) -> Option<Frequency> {
        let included = match &self.group {
            Group::All { .. } => true,
            Group::Only(types) => types.contains(resource_type),
            Group::AllBut(types) => !types.contains(resource_type),
        };
        let exception = self.mode.exception.as_ref().filter(|exception| exception.types.contains(resource_type));
        (included && self.recording && self.failure.is_none())
            .then(|| exception.map_or(self.mode.frequency, |exception| exception.frequency))
    }

    fn shown(&self) -> Value {
        let mut overrides = Vec::new();
        if let Some(exception) = &self.mode.exception {
            let mut shown = json!({
                "resourceTypes": exception.types, "recordingFrequency": exception.frequency.as_str(),
            });
            put(&mut shown, "description", exception.description.clone());
            overrides.push(shown);
        }
        let (all, global, only, all_but, strategy) = match &self.group {
            Group::All { global } => (true, *global, None, None, "ALL_SUPPORTED_RESOURCE_TYPES"),
            Group::Only(types) => (false, false, Some(types), None, "INCLUSION_BY_RESOURCE_TYPES"),
            Group::AllBut(types) => (false, false, None, Some(types), "EXCLUSION_BY_RESOURCE_TYPES"),
        };
        json!({
            "arn": self.arn, "name": self.name, "roleARN": self.role,
            "recordingGroup": {
                "allSupported": all, "includeGlobalResourceTypes": global,
                "resourceTypes": Vec::from_iter(only.into_iter().flatten()),
                "exclusionByResourceTypes": {"resourceTypes": Vec::from_iter(all_but.into_iter().flatten())},
                "recordingStrategy": {"useOnly": strategy},
            },
            "recordingMode": {
                "recordingFrequency": self.mode.frequency.as_str(), "recordingModeOverrides": overrides,
            },
            "recordingScope": "PAID",
        })
    }

    fn set_status(&mut self, status: &'static str, now: Timestamp) {
        if self.status != status {
            self.status = status;
            self.status_since = now;
        }
    }
}

/// What is said about a recorder in its own item.
pub(super) fn current_item(world: &World, site: &Site) -> Option<Item> {
    world.config.recorders.get(site).map(|recorder| items::recorder(&recorder.shown(), recorder.recording))
}

fn types(value: &Value, member: &str) -> Result<BTreeSet<String>, ServiceError> {
    let list = texts(value, member);
    let well_formed = |one: &String| one.split("::").count() == 3 && one.split("::").all(|part| !part.is_empty());
    match list.iter().find(|one| !well_formed(one)) {
        Some(bad) => Err(error("ValidationException", format!("{bad} is not a resource type."))),
        None => Ok(list.into_iter().collect()),
    }
}

fn read_group(group: Option<&Value>) -> Result<Group, ServiceError> {
    let invalid = |why: &str| Err(error("InvalidRecordingGroupException", why));
    let Some(group) = group else {
        return Ok(Group::All { global: false });
    };
    let known = &[
        "allSupported",
        "includeGlobalResourceTypes",
        "resourceTypes",
        "exclusionByResourceTypes",
        "recordingStrategy",
    ];
    members(group, "recordingGroup", known)?;
    let exclusion = group.get("exclusionByResourceTypes").cloned().unwrap_or_else(|| json!({}));
    members(&exclusion, "exclusionByResourceTypes", &["resourceTypes"])?;
    let strategy = group.get("recordingStrategy").cloned().unwrap_or_else(|| json!({}));
    members(&strategy, "recordingStrategy", &["useOnly"])?;
    let (all, global) = (flag(group, "allSupported"), flag(group, "includeGlobalResourceTypes"));
    let (only, all_but) = (types(group, "resourceTypes")?, types(&exclusion, "resourceTypes")?);
    let strategy = match text(&strategy, "useOnly") {
        Some(strategy) => strategy,
        None if all => "ALL_SUPPORTED_RESOURCE_TYPES",
        None if !all_but.is_empty() => "EXCLUSION_BY_RESOURCE_TYPES",
        None => "INCLUSION_BY_RESOURCE_TYPES",
    };
    match strategy {
        "ALL_SUPPORTED_RESOURCE_TYPES" if !only.is_empty() || !all_but.is_empty() => {
            invalid("The recording group cannot be all supported and also specify a list of resource types.")
        }
        "ALL_SUPPORTED_RESOURCE_TYPES" if all => Ok(Group::All { global }),
        "ALL_SUPPORTED_RESOURCE_TYPES" => invalid("The recording strategy needs allSupported."),
        _ if all || global => invalid("The recording group is all supported, but its strategy is not."),
        "INCLUSION_BY_RESOURCE_TYPES" if only.is_empty() => invalid("No resource types are specified."),
        "INCLUSION_BY_RESOURCE_TYPES" if all_but.is_empty() => Ok(Group::Only(only)),
        "EXCLUSION_BY_RESOURCE_TYPES" if all_but.is_empty() => invalid("No resource types are excluded."),
        "EXCLUSION_BY_RESOURCE_TYPES" if only.is_empty() => Ok(Group::AllBut(all_but)),
        "INCLUSION_BY_RESOURCE_TYPES" | "EXCLUSION_BY_RESOURCE_TYPES" => {
            invalid("Resource types are both included and excluded.")
        }
        other => Err(error("ValidationException", format!("{other} is not a recording strategy."))),
    }
}

fn read_mode(mode: Option<&Value>) -> Result<Mode, ServiceError> {
    let Some(mode) = mode else {
        return Ok(Mode { frequency: Frequency::Continuous, exception: None });
    };
    members(mode, "recordingMode", &["recordingFrequency", "recordingModeOverrides"])?;
    let overrides = mode.get("recordingModeOverrides").and_then(Value::as_array).cloned().unwrap_or_default();
    if overrides.len() > 1 {
        return Err(error("ValidationException", "recordingModeOverrides has at most one entry."));
    }
    let exception = match overrides.first() {
        None => None,
        Some(exception) => {
            members(exception, "recordingModeOverrides", &["description", "resourceTypes", "recordingFrequency"])?;
            Some(Override {
                description: text(exception, "description").map(str::to_owned),
                types: types(exception, "resourceTypes")?,
                frequency: Frequency::parse(exception)?,
            })
        }
    };
    Ok(Mode { frequency: Frequency::parse(mode)?, exception })
}

pub(super) fn may_put(_: &World, call: &Call, input: &Value) -> Result<Vec<Access>, ServiceError> {
    let access = Access::new("config:PutConfigurationRecorder", call.arn("config", "configuration-recorder/*"));
    Ok(vec![tagging::with_request_tags(access, &tagging::read(input)?)])
}

pub(super) fn put_recorder(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let given = input.get("ConfigurationRecorder").cloned().unwrap_or_default();
    members(&given, "ConfigurationRecorder", &["name", "roleARN", "recordingGroup", "recordingMode"])?;
    let name = text(&given, "name").unwrap_or("default").to_owned();
    if name.is_empty() || name.chars().count() > 256 {
        return Err(error("InvalidConfigurationRecorderNameException", "The name has 1 to 256 characters."));
    }
    let role = text(&given, "roleARN").unwrap_or_default().to_owned();
    if !role.starts_with(&format!("arn:aws:iam::{}:role/", call.account)) {
        return Err(error("InvalidRoleException", format!("The role '{role}' is not a role of this account.")));
    }
    authorize_pass_role(world, &call.principal, &role, PRINCIPAL)?;
    let (group, mode) = (read_group(given.get("recordingGroup"))?, read_mode(given.get("recordingMode"))?);
    let (now, number, tags) = (world.now(), world.fresh_number(), tagging::read(input)?);
    match world.config.recorders.get_mut(&site(call)) {
        Some(recorder) if recorder.name != name => {
            let why = format!(
                "Failed to put configuration recorder '{name}' because the maximum number of configuration recorders: 1 is reached."
            );
            return Err(error("MaxNumberOfConfigurationRecordersExceededException", why));
        }
        Some(recorder) => {
            recorder.role = role;
            recorder.group = group;
            recorder.mode = mode;
        }
        None => {
            let arn = call.arn("config", &format!("configuration-recorder/{name}/{number:016x}"));
            world.config.tags.insert(arn.clone(), tags);
            let recorder = Recorder {
                name,
                arn,
                role,
                group,
                mode,
                recording: false,
                started: None,
                stopped: None,
                status: "PENDING",
                status_since: now,
                failure: None,
            };
            world.config.recorders.insert(site(call), recorder);
        }
    }
    changed(world, &site(call));
    Ok(json!({}))
}

/// What a recorder's change of itself brings about: its own item, and what it newly records.
fn changed(world: &mut World, site: &Site) {
    if let Some(item) = current_item(world, site) {
        recording::record_recorder(world, site, item);
    }
    recording::discover(world, site);
}

fn missing(name: &str) -> ServiceError {
    error(
        "NoSuchConfigurationRecorderException",
        format!("Cannot find configuration recorder with the specified name '{name}'."),
    )
}

/// The caller's recorder if it has the name that `input` gives.
fn named<'a>(world: &'a mut World, call: &Call, input: &Value) -> Result<&'a mut Recorder, ServiceError> {
    let name = required(input, "ConfigurationRecorderName")?;
    let recorder = world.config.recorders.get_mut(&site(call));
    recorder.filter(|recorder| recorder.name == name).ok_or_else(|| missing(name))
}

/// The caller's recorder, if any, which must have each of the names that are asked for.
fn asked<'a>(world: &'a World, call: &Call, input: &Value) -> Result<Option<&'a Recorder>, ServiceError> {
    let recorder = world.config.recorders.get(&site(call));
    let names = texts(input, "ConfigurationRecorderNames");
    match names.iter().find(|name| recorder.is_none_or(|recorder| recorder.name != **name)) {
        Some(name) => Err(missing(name)),
        None => Ok(recorder),
    }
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let recorders: Vec<Value> = asked(world, call, input)?.into_iter().map(Recorder::shown).collect();
    Ok(json!({"ConfigurationRecorders": recorders}))
}

pub(super) fn describe_status(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let spelling = world.behaviours.config_status_spelling;
    let recorders = asked(world, call, input)?.into_iter().map(|recorder| {
        let mut shown = json!({
            "arn": recorder.arn, "name": recorder.name, "recording": recorder.recording,
            "lastStatus": spelling.write(recorder.status), "lastStatusChangeTime": epoch(recorder.status_since),
        });
        put(&mut shown, "lastStartTime", recorder.started.map(epoch));
        put(&mut shown, "lastStopTime", recorder.stopped.map(epoch));
        put(&mut shown, "lastErrorCode", recorder.failure.as_ref().map(|(code, _)| code.clone()));
        put(&mut shown, "lastErrorMessage", recorder.failure.as_ref().map(|(_, message)| message.clone()));
        shown
    });
    Ok(json!({"ConfigurationRecordersStatus": Vec::from_iter(recorders)}))
}

impl StatusSpelling {
    fn write(self, status: &str) -> String {
        match self {
            Self::UpperCase => status.to_owned(),
            Self::Capitalized => status[..1].to_owned() + &status[1..].to_ascii_lowercase(),
        }
    }
}

pub(super) fn start(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let now = world.now();
    let has_channel = world.config.channels.contains_key(&site(call));
    let recorder = named(world, call, input)?;
    if !has_channel {
        let why = "Delivery channel is not available to start configuration recorder.";
        return Err(error("NoAvailableDeliveryChannelException", why));
    }
    if !recorder.recording {
        recorder.recording = true;
        recorder.started = Some(now);
        recorder.set_status("PENDING", now);
        let site = site(call);
        let first_delivery = recording::some_delay(world);
        let started = site.clone();
        world.after(first_delivery, move |world| delivered(world, &started));
        changed(world, &site);
    }
    Ok(json!({}))
}

/// A delivery went well.
fn delivered(world: &mut World, site: &Site) {
    let now = world.now();
    if let Some(recorder) = world.config.recorders.get_mut(site)
        && recorder.recording
        && recorder.failure.is_none()
    {
        recorder.set_status("SUCCESS", now);
    }
}

pub(super) fn stop(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let now = world.now();
    let recorder = named(world, call, input)?;
    if recorder.recording {
        recorder.recording = false;
        recorder.stopped = Some(now);
        changed(world, &site(call));
    }
    Ok(json!({}))
}

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let arn = named(world, call, input)?.arn.clone();
    let site = site(call);
    if let Some(item) = current_item(world, &site) {
        recording::record_recorder(world, &site, item.deleted());
    }
    world.config.recorders.remove(&site);
    world.config.tags.remove(&arn);
    Ok(json!({}))
}

/// Lets a recorder's deliveries fail from now on, as with a role that lacks rights: `lastStatus` says so, and nothing more
/// is recorded. Without a recorder there, nothing happens.
pub fn fail_recorder(world: &mut World, account: &AccountId, region: &Region, code: &str, message: &str) {
    let now = world.now();
    if let Some(recorder) = world.config.recorders.get_mut(&(account.clone(), region.clone())) {
        recorder.failure = Some((code.to_owned(), message.to_owned()));
        recorder.set_status("FAILURE", now);
    }
}

/// Ends what [`fail_recorder`] began; what changed meanwhile is discovered.
pub fn mend_recorder(world: &mut World, account: &AccountId, region: &Region) {
    let site = (account.clone(), region.clone());
    if let Some(recorder) = world.config.recorders.get_mut(&site) {
        recorder.failure = None;
    }
    delivered(world, &site);
    recording::discover(world, &site);
}
