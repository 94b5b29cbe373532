//! Coverage: the proof that an account and region would have shown a use.
//!
//! # Guarantees
//! A place (account and region) is proven only when all of these hold:
//! 1. the aggregator shows the coverage probe there as ACTIVE, and did so for [`BACKFILL`]: recording, authorization and
//!    delivery worked, and what else there is in a new account has followed;
//! 2. no recorder item that the aggregator shows there says that it stopped;
//! 3. the aggregator's source status for the place is SUCCEEDED; none is missing;
//! 4. the account itself says, through the evidence role, that one of its recorders records now, delivered successfully,
//!    and records every needed type continuously; and has done so for [`DISCOVERY`], as one that was started finds out what
//!    became of everything meanwhile only by and by.
//!
//! The probe has to show each time, in the very answer that shows what is used: an account whose aggregation authorization was
//! taken away disappears from it at once. The rest of a proof is remembered for at most [`REMEMBERED`]; that something is not
//! proven is never remembered.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;

use aws_sdk_config::types::{ConfigurationRecorder, ConfigurationRecorderStatus, RecordingFrequency};
use jiff::{SignedDuration, Timestamp};

use super::aggregator::Aggregator;
use super::evidence::{Because, Gap};
use super::failed_call::failed_call;
use super::queries;
use super::usage::Place;
use crate::clients::Clients;
use crate::names::Names;

/// So many places are asked at a time: an organization has thousands.
const PARALLEL: usize = 16;

/// How long a proof may be used.
pub const REMEMBERED: SignedDuration = SignedDuration::from_mins(15);

/// After an account and region began to be aggregated, what has been there before is on its way for so long; AWS does not
/// say in which order it comes. The probe was made at about that time.
pub const BACKFILL: SignedDuration = SignedDuration::from_hours(1);

/// After a recorder was started, what it discovers is on its way for so long.
pub const DISCOVERY: SignedDuration = SignedDuration::from_mins(20);

/// What was proven, for which aggregator and when. Lives as long as the function stays warm.
#[derive(Debug, Default)]
pub struct Proofs(BTreeMap<(String, Place), Timestamp>);

impl Proofs {
    fn holds(&self, aggregator: &str, place: &Place, now: Timestamp) -> bool {
        self.0.get(&(aggregator.to_owned(), place.clone())).is_some_and(|proven| {
            let age = now.duration_since(*proven);
            age >= SignedDuration::ZERO && age < REMEMBERED
        })
    }
}

/// Proves each of `places`, or says why it cannot. `probes` tells where the probe shows beside what is used, and since when.
pub async fn prove(
    clients: &Clients,
    names: &Names,
    aggregator: &Aggregator<'_>,
    places: &BTreeSet<Place>,
    probes: Result<&BTreeMap<Place, Timestamp>, &Because>,
    proofs: &mut Proofs,
    now: Timestamp,
) -> BTreeMap<Place, Result<(), Because>> {
    let mut results: BTreeMap<Place, Result<(), Because>> = BTreeMap::new();
    let mut open = Vec::new();
    for place in places {
        match probes {
            Ok(probes) => match probed(probes, place, now) {
                Ok(()) if proofs.holds(aggregator.name, place, now) => {
                    results.insert(place.clone(), Ok(()));
                }
                Ok(()) => open.push(place),
                Err(text) => {
                    results.insert(place.clone(), Err(Because::new(Gap::Coverage, text)));
                }
            },
            Err(because) => {
                results.insert(place.clone(), Err(because.clone()));
            }
        }
    }
    if open.is_empty() {
        return results;
    }
    let shared = Shared::gather(aggregator).await;
    let shared = &shared;
    #[expect(clippy::redundant_iter_cloned, reason = "the future of a borrowed item is not known to be Send")]
    let asked = open.into_iter().cloned().map(async |place: Place| {
        let result = match shared {
            Ok(shared) => match shared.speaks_for(&place) {
                Ok(()) => ask(clients, names, &place, now).await,
                Err(text) => Err(Because::new(Gap::Coverage, text)),
            },
            Err(because) => Err(because.clone()),
        };
        (place, result)
    });
    let mut asked = futures::stream::iter(asked).buffered(PARALLEL);
    while let Some((place, result)) = asked.next().await {
        if result.is_ok() {
            proofs.0.insert((aggregator.name.to_owned(), place.clone()), now);
        }
        results.insert(place, result);
    }
    results
}

/// Whether the probe of a place shows, and did so long enough.
fn probed(probes: &BTreeMap<Place, Timestamp>, place: &Place, now: Timestamp) -> Result<(), String> {
    match probes.get(place) {
        None => Err(lacking(place, "the aggregator does not show its coverage probe as ACTIVE")),
        Some(since) if now.duration_since(*since) < BACKFILL => {
            Err(lacking(place, "the aggregator shows its coverage probe for less than an hour"))
        }
        Some(_) => Ok(()),
    }
}

fn lacking((account, region): &Place, what: &str) -> String {
    format!("account {account} in {region} is not covered: {what}")
}

/// What the aggregator tells about all places at once. If it does not answer, that says nothing about any of them.
struct Shared {
    stopped: BTreeSet<Place>,
    sources: BTreeMap<(String, String), String>,
}

impl Shared {
    async fn gather(aggregator: &Aggregator<'_>) -> Result<Self, Because> {
        let stopped = aggregator
            .select(Gap::Usage, queries::recorders(), |row| Ok((row.recorder_stopped()?, row.place()?)))
            .await?;
        let stopped = stopped.into_iter().filter(|(stopped, _)| *stopped).map(|(_, place)| place).collect();
        Ok(Self { stopped, sources: sources(aggregator).await? })
    }

    fn speaks_for(&self, place: &Place) -> Result<(), String> {
        let (account, region) = place;
        let lacking = |what: &str| Err(lacking(place, what));
        if self.stopped.contains(place) {
            return lacking("the aggregator shows a recorder there that does not record");
        }
        match self.sources.get(&(account.to_string(), region.to_string())).map(String::as_str) {
            Some("SUCCEEDED") => Ok(()),
            Some(status) => lacking(&format!("the aggregator's source status is {status}")),
            None => lacking("the aggregator has no source status for it"),
        }
    }
}

/// The last update status of each source account and region.
async fn sources(aggregator: &Aggregator<'_>) -> Result<BTreeMap<(String, String), String>, Because> {
    let mut sources = BTreeMap::new();
    let mut token = None;
    loop {
        let page = aggregator
            .config
            .describe_configuration_aggregator_sources_status()
            .configuration_aggregator_name(aggregator.name)
            .limit(100)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| {
                failed_call(Gap::Usage, "config:DescribeConfigurationAggregatorSourcesStatus", aggregator.name, &error)
            })?;
        for status in page.aggregated_source_status_list() {
            if let (Some(source), Some(region), Some(status)) =
                (status.source_id(), status.aws_region(), status.last_update_status())
            {
                let known =
                    sources.entry((source.to_owned(), region.to_owned())).or_insert_with(|| status.as_str().to_owned());
                // Two sources for one place: the worse one counts.
                if status.as_str() != "SUCCEEDED" {
                    *known = status.as_str().to_owned();
                }
            }
        }
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(sources);
        }
    }
}

/// Asks the account itself.
async fn ask(clients: &Clients, names: &Names, (account, region): &Place, now: Timestamp) -> Result<(), Because> {
    let config = clients.workload(account, &names.evidence_role(region), region).await.config;
    let subject = format!("account {account} in {region}");
    let recorders = config
        .describe_configuration_recorders()
        .send()
        .await
        .map_err(|error| failed_call(Gap::Coverage, "config:DescribeConfigurationRecorders", &subject, &error))?;
    let statuses =
        config.describe_configuration_recorder_status().send().await.map_err(|error| {
            failed_call(Gap::Coverage, "config:DescribeConfigurationRecorderStatus", &subject, &error)
        })?;
    records_everything(recorders.configuration_recorders(), statuses.configuration_recorders_status(), now)
        .map_err(|what| Because::new(Gap::Coverage, format!("{subject} is not covered: {what}")))
}

/// Whether one of an account's recorders records everything that the evidence needs, now and continuously.
///
/// # Errors
/// What the recorder lacks, of several recorders the last.
pub fn records_everything(
    recorders: &[ConfigurationRecorder],
    statuses: &[ConfigurationRecorderStatus],
    now: Timestamp,
) -> Result<(), String> {
    let mut lacking = Err("it has no recorder".to_owned());
    for recorder in recorders {
        let name = recorder.name().unwrap_or_default();
        // Recorders of AWS services (`servicePrincipal`) deliver to those services only.
        if recorder.service_principal().is_some() {
            continue;
        }
        let status = statuses.iter().find(|status| status.name() == Some(name));
        lacking = records(recorder, status, now).map_err(|what| format!("recorder {name:?} {what}"));
        if lacking.is_ok() {
            break;
        }
    }
    lacking
}

fn records(
    recorder: &ConfigurationRecorder,
    status: Option<&ConfigurationRecorderStatus>,
    now: Timestamp,
) -> Result<(), String> {
    let status = status.ok_or("has no status")?;
    if !status.recording() {
        return Err("does not record".into());
    }
    match status.last_status() {
        // Both `SUCCESS` and `Success` occur.
        Some(last) if last.as_str().eq_ignore_ascii_case("success") => {}
        Some(last) => return Err(format!("has the last delivery status {}", last.as_str())),
        None => return Err("has no last delivery status".into()),
    }
    let started = status.last_start_time().and_then(|at| Timestamp::from_second(at.secs()).ok());
    match started {
        Some(started) if now.duration_since(started) >= DISCOVERY => {}
        Some(started) => return Err(format!("records only since {started}, and is still finding out what there is")),
        None => return Err("does not say since when it records".into()),
    }
    let needed = queries::needed_types();
    let group = recorder.recording_group().ok_or("has no recording group")?;
    let strategy = group.recording_strategy().and_then(|strategy| strategy.use_only()).map(|only| only.as_str());
    let listed: BTreeSet<&str> = group.resource_types().iter().map(|listed| listed.as_str()).collect();
    let excluded: BTreeSet<&str> = group
        .exclusion_by_resource_types()
        .map(|exclusion| exclusion.resource_types().iter().map(|excluded| excluded.as_str()).collect())
        .unwrap_or_default();
    let unrecorded: Vec<&str> = match strategy {
        Some("ALL_SUPPORTED_RESOURCE_TYPES") => Vec::new(),
        Some("EXCLUSION_BY_RESOURCE_TYPES") => needed.intersection(&excluded).copied().collect(),
        Some("INCLUSION_BY_RESOURCE_TYPES") => needed.difference(&listed).copied().collect(),
        None if group.all_supported() => Vec::new(),
        None => needed.difference(&listed).copied().collect(),
        Some(other) => return Err(format!("has the unknown recording strategy {other}")),
    };
    if !unrecorded.is_empty() {
        return Err(format!("does not record {}", unrecorded.join(", ")));
    }
    // Without a recording mode a recorder records continuously: modes came later than recorders.
    let Some(mode) = recorder.recording_mode() else { return Ok(()) };
    let mut frequencies: BTreeMap<&str, &RecordingFrequency> =
        needed.iter().map(|needed| (*needed, mode.recording_frequency())).collect();
    for exception in mode.recording_mode_overrides() {
        for resource_type in exception.resource_types() {
            if let Some(frequency) = frequencies.get_mut(resource_type.as_str()) {
                *frequency = exception.recording_frequency();
            }
        }
    }
    match frequencies.iter().find(|(_, frequency)| ***frequency != RecordingFrequency::Continuous) {
        Some((resource_type, frequency)) => Err(format!("records {resource_type} {}", frequency.as_str())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_config::primitives::DateTime;
    use aws_sdk_config::types::builders::ConfigurationRecorderStatusBuilder;
    use aws_sdk_config::types::{
        ExclusionByResourceTypes, RecorderStatus, RecordingGroup, RecordingMode, RecordingModeOverride,
        RecordingStrategy, RecordingStrategyType, ResourceType,
    };

    use super::*;

    fn now() -> Timestamp {
        "2026-11-01T10:00:00Z".parse().unwrap()
    }

    fn status(recording: bool, last: RecorderStatus) -> ConfigurationRecorderStatus {
        started(DISCOVERY).recording(recording).last_status(last).build()
    }

    fn started(ago: SignedDuration) -> ConfigurationRecorderStatusBuilder {
        let at = DateTime::from_secs((now() - ago).as_second());
        let status = ConfigurationRecorderStatus::builder().name("default").last_start_time(at);
        status.recording(true).last_status(RecorderStatus::Success)
    }

    fn recorder(group: RecordingGroup, mode: Option<RecordingMode>) -> ConfigurationRecorder {
        ConfigurationRecorder::builder().name("default").recording_group(group).set_recording_mode(mode).build()
    }

    fn everything() -> RecordingGroup {
        RecordingGroup::builder().all_supported(true).build()
    }

    fn mode(frequency: RecordingFrequency, overrides: &[(&str, RecordingFrequency)]) -> Option<RecordingMode> {
        let overrides = overrides.iter().map(|(resource_type, frequency)| {
            RecordingModeOverride::builder()
                .resource_types(ResourceType::from(*resource_type))
                .recording_frequency(frequency.clone())
                .build()
                .unwrap()
        });
        Some(
            RecordingMode::builder()
                .recording_frequency(frequency)
                .set_recording_mode_overrides(Some(overrides.collect()))
                .build()
                .unwrap(),
        )
    }

    fn strategy(only: RecordingStrategyType) -> RecordingStrategy {
        RecordingStrategy::builder().use_only(only).build()
    }

    fn covered(recorder: ConfigurationRecorder, status: ConfigurationRecorderStatus) -> bool {
        records_everything(&[recorder], &[status], now()).is_ok()
    }

    #[test]
    fn a_recorder_has_to_record_now_and_deliver() {
        for (recording, last, ok) in [
            (true, RecorderStatus::Success, true),
            (true, RecorderStatus::from("SUCCESS"), true),
            (false, RecorderStatus::Success, false),
            (true, RecorderStatus::Failure, false),
            (true, RecorderStatus::Pending, false),
        ] {
            assert_eq!(
                covered(recorder(everything(), None), status(recording, last.clone())),
                ok,
                "{recording} {last:?}"
            );
        }
        assert!(records_everything(&[], &[], now()).is_err());
        assert!(records_everything(&[recorder(everything(), None)], &[], now()).is_err());
    }

    #[test]
    fn a_recorder_that_was_just_started_proves_nothing_yet() {
        let second = SignedDuration::from_secs(1);
        assert!(covered(recorder(everything(), None), started(DISCOVERY).build()));
        assert!(!covered(recorder(everything(), None), started(DISCOVERY - second).build()));
        assert!(!covered(recorder(everything(), None), started(-second).build()));
        let silent = started(DISCOVERY).set_last_start_time(None).build();
        assert!(!covered(recorder(everything(), None), silent));
    }

    #[test]
    fn a_recorder_has_to_record_every_needed_type() {
        let types = |types: BTreeSet<&str>| Some(types.into_iter().map(ResourceType::from).collect::<Vec<_>>());
        let needed = queries::needed_types();
        let mut fewer = needed.clone();
        fewer.remove("AWS::ECS::TaskSet");
        let listing = |listed| RecordingGroup::builder().set_resource_types(types(listed)).build();
        let ok = || status(true, RecorderStatus::Success);
        assert!(covered(recorder(listing(needed.clone()), None), ok()));
        assert!(!covered(recorder(listing(fewer), None), ok()));
        let excluding = |excluded| {
            RecordingGroup::builder()
                .recording_strategy(strategy(RecordingStrategyType::ExclusionByResourceTypes))
                .exclusion_by_resource_types(
                    ExclusionByResourceTypes::builder().set_resource_types(types(excluded)).build(),
                )
                .build()
        };
        assert!(covered(recorder(excluding(BTreeSet::from(["AWS::S3::Bucket"])), None), ok()));
        assert!(!covered(recorder(excluding(BTreeSet::from(["AWS::ECS::Service"])), None), ok()));
    }

    #[test]
    fn daily_recording_is_no_coverage() {
        let (continuous, daily) = (RecordingFrequency::Continuous, RecordingFrequency::Daily);
        for (mode, ok) in [
            (None, true),
            (mode(continuous.clone(), &[]), true),
            (mode(daily.clone(), &[]), false),
            (mode(continuous.clone(), &[("AWS::ECS::Service", daily.clone())]), false),
            (mode(continuous.clone(), &[("AWS::S3::Bucket", daily)]), true),
        ] {
            let status = status(true, RecorderStatus::Success);
            assert_eq!(covered(recorder(everything(), mode.clone()), status), ok, "{mode:?}");
        }
    }

    #[test]
    fn a_recorder_of_an_aws_service_proves_nothing() {
        let linked = ConfigurationRecorder::builder()
            .name("default")
            .recording_group(everything())
            .service_principal("x.amazonaws.com")
            .build();
        assert!(!covered(linked, status(true, RecorderStatus::Success)));
    }

    #[test]
    fn a_proof_is_remembered_for_less_than_fifteen_minutes_and_per_aggregator() {
        let place: Place = ("222222222222".parse().unwrap(), "eu-west-1".parse().unwrap());
        let then: Timestamp = "2026-11-01T10:00:00Z".parse().unwrap();
        let proofs = Proofs(BTreeMap::from([(("a".to_owned(), place.clone()), then)]));
        for (aggregator, minutes, holds) in
            [("a", 0, true), ("a", 14, true), ("a", 15, false), ("a", -1, false), ("b", 0, false)]
        {
            let now = then + SignedDuration::from_mins(minutes);
            assert_eq!(proofs.holds(aggregator, &place, now), holds, "{aggregator} {minutes}");
        }
    }
}
