//! AWS Config: recorders, what they record, and aggregators that can be queried.
//!
//! A service tells [`record`] what became of a resource. If the account's recorder is recording that type, an item is
//! captured after a while ([`Delays`]), told on the default bus, and copied into the aggregators after another while. A
//! recorder that stopped leaves its last items behind; one that starts discovers what exists ([`recording`]).
//!
//! # Driver's view
//! [`Delays`] and [`set_delays`], [`fail_recorder`] and [`mend_recorder`], [`fail_source`] and [`mend_source`],
//! [`send_oversized_events`], and [`changes`]: all that was told on default buses.
//!
//! # Not simulated
//! Rules, conformance packs, remediation, resource history, service-linked recorders, stored queries, and the S3 bucket
//! behind a delivery channel. Resource types are checked for their form only.

mod aggregator;
mod authorization;
mod channel;
pub mod items;
mod query;
mod recorder;
mod recording;
mod schema;
mod select;
mod source;
mod tagging;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::identity::{AccountId, Region};
use crate::operation::{Access, Call, Handler, Operation, Protocol, Service, ServiceError};

pub use items::Item;
pub use query::InnerUnderscore;
pub use recorder::{StatusSpelling, fail_recorder, mend_recorder};
pub use recording::{Change, Delays, changes, record, send_oversized_events, set_delays};
pub use source::{fail_source, mend_source};

static SERVICE: Service = Service {
    signing_name: "config",
    model: "config",
    protocol: Protocol::AwsJson { target_prefix: "StarlingDoveService", version: "1.1" },
};

/// The service principal that reads organizations and records.
const PRINCIPAL: &str = "config.amazonaws.com";

/// An account and a region.
type Site = (AccountId, Region);

/// The state of AWS Config in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {
    recorders: BTreeMap<Site, recorder::Recorder>,
    channels: BTreeMap<Site, Value>,
    authorizations: BTreeMap<(Site, Site), authorization::Authorization>,
    aggregators: BTreeMap<Site, BTreeMap<String, aggregator::Aggregator>>,
    tags: BTreeMap<String, BTreeMap<String, String>>,
    source_faults: BTreeMap<Site, (String, String)>,
    recording: recording::State,
}

fn site(call: &Call) -> Site {
    (call.account.clone(), call.region.clone())
}

fn error(code: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(code, message)
}

/// The members of a structure, of which all must be among `known`.
fn members<'a>(value: &'a Value, name: &str, known: &[&str]) -> Result<&'a Map<String, Value>, ServiceError> {
    let members =
        value.as_object().ok_or_else(|| error("SerializationException", format!("{name} is not a structure")))?;
    match members.keys().find(|member| !known.contains(&member.as_str())) {
        Some(unknown) => Err(ServiceError::not_simulated(format_args!("config: the member {unknown} of {name}"))),
        None => Ok(members),
    }
}

fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str)
}

fn required<'a>(value: &'a Value, member: &str) -> Result<&'a str, ServiceError> {
    text(value, member)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| error("ValidationException", format!("{member} is required")))
}

fn flag(value: &Value, member: &str) -> bool {
    value.get(member).and_then(Value::as_bool).unwrap_or(false)
}

fn texts(value: &Value, member: &str) -> Vec<String> {
    let list = value.get(member).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The size of a page: `Limit`, at most 100; zero and nothing mean `default`.
fn limit(input: &Value, member: &str, default: usize) -> Result<usize, ServiceError> {
    match input.get(member).and_then(Value::as_i64) {
        None | Some(0) => Ok(default),
        Some(limit @ 1..=100) => Ok(limit as usize),
        Some(limit) => Err(error("InvalidLimitException", format!("The limit {limit} is not between 0 and 100."))),
    }
}

fn page<'a, T>(items: &'a [T], input: &Value, size: usize) -> Result<(&'a [T], Option<String>), ServiceError> {
    crate::paging::page(items, text(input, "NextToken"), size, "InvalidNextTokenException")
}

/// An output member that is present only with a value.
fn put(output: &mut Value, member: &str, value: Option<impl Into<Value>>) {
    if let (Some(members), Some(value)) = (output.as_object_mut(), value) {
        members.insert(member.to_owned(), value.into());
    }
}

/// An action on `*`.
fn anywhere(action: &str) -> Vec<Access> {
    vec![Access::new(format!("config:{action}"), "*")]
}

/// A row whose action knows no resource.
macro_rules! on_everything {
    ($name:literal, $members:expr, $handle:path) => {
        row($name, $members, |_, _, _| Ok(anywhere($name)), $handle)
    };
}

fn row(
    name: &'static str,
    members: &'static [&'static str],
    authorize: crate::operation::Authorize,
    handle: Handler,
) -> Operation {
    Operation { service: &SERVICE, name, members, http: None, authorize, handle }
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        row("PutConfigurationRecorder", &["ConfigurationRecorder", "Tags"], recorder::may_put, recorder::put_recorder),
        on_everything!("DescribeConfigurationRecorders", &["ConfigurationRecorderNames"], recorder::describe),
        on_everything!(
            "DescribeConfigurationRecorderStatus",
            &["ConfigurationRecorderNames"],
            recorder::describe_status
        ),
        on_everything!("StartConfigurationRecorder", &["ConfigurationRecorderName"], recorder::start),
        on_everything!("StopConfigurationRecorder", &["ConfigurationRecorderName"], recorder::stop),
        on_everything!("DeleteConfigurationRecorder", &["ConfigurationRecorderName"], recorder::delete),
        on_everything!("PutDeliveryChannel", &["DeliveryChannel"], channel::put_channel),
        on_everything!("DescribeDeliveryChannels", &["DeliveryChannelNames"], channel::describe),
        on_everything!("DeleteDeliveryChannel", &["DeliveryChannelName"], channel::delete),
        row(
            "PutAggregationAuthorization",
            &["AuthorizedAccountId", "AuthorizedAwsRegion", "Tags"],
            |_, call, input| authorization::may("PutAggregationAuthorization", call, input),
            authorization::put_authorization,
        ),
        on_everything!("DescribeAggregationAuthorizations", &["Limit", "NextToken"], authorization::describe),
        row(
            "DeleteAggregationAuthorization",
            &["AuthorizedAccountId", "AuthorizedAwsRegion"],
            |_, call, input| authorization::may("DeleteAggregationAuthorization", call, input),
            authorization::delete,
        ),
        row(
            "PutConfigurationAggregator",
            &["ConfigurationAggregatorName", "AccountAggregationSources", "OrganizationAggregationSource", "Tags"],
            aggregator::may_put,
            aggregator::put_aggregator,
        ),
        on_everything!(
            "DescribeConfigurationAggregators",
            &["ConfigurationAggregatorNames", "Limit", "NextToken"],
            aggregator::describe
        ),
        row(
            "DeleteConfigurationAggregator",
            &["ConfigurationAggregatorName"],
            |world, call, input| aggregator::may("DeleteConfigurationAggregator", world, call, input),
            aggregator::delete,
        ),
        row(
            "DescribeConfigurationAggregatorSourcesStatus",
            &["ConfigurationAggregatorName", "UpdateStatus", "Limit", "NextToken"],
            |world, call, input| aggregator::may("DescribeConfigurationAggregatorSourcesStatus", world, call, input),
            source::describe_status,
        ),
        row(
            "SelectAggregateResourceConfig",
            &["Expression", "ConfigurationAggregatorName", "Limit", "MaxResults", "NextToken"],
            |world, call, input| aggregator::may("SelectAggregateResourceConfig", world, call, input),
            select::select_aggregate,
        ),
        on_everything!("SelectResourceConfig", &["Expression", "Limit", "NextToken"], select::select),
        row(
            "TagResource",
            &["ResourceArn", "Tags"],
            |world, _, input| tagging::may("TagResource", world, input),
            tagging::tag,
        ),
        row(
            "UntagResource",
            &["ResourceArn", "TagKeys"],
            |world, _, input| tagging::may("UntagResource", world, input),
            tagging::untag,
        ),
        row(
            "ListTagsForResource",
            &["ResourceArn", "Limit", "NextToken"],
            |world, _, input| tagging::may("ListTagsForResource", world, input),
            tagging::list,
        ),
    ]
}
