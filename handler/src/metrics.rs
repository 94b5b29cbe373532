//! Metrics, as log lines in CloudWatch's embedded metric format: no call and no permission is needed for them.
//!
//! # Promises
//! - Every metric is in one namespace, once for each EcrCleanup and once over all of them, so that one alarm of the hub's
//!   template sees EcrCleanups that are made later.
//! - What is counted by reason is reported a second time, on a line for each reason, with the dimensions `EcrCleanup` and
//!   `Reason`. Reasons are codes of this program, about thirty; so what an EcrCleanup can cost is bounded, whatever happens
//!   in the accounts. A repository is a property: it can be searched for and costs no metric of its own.
//! - A count of zero is not reported: CloudWatch charges for the hours in which a metric was.
//! - Counts are of what was done at least once: what a redelivered message does again is counted again.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::names::Names;

/// Where the metrics are.
pub const NAMESPACE: &str = "ecr-cleanup";

/// By what every metric is reported: for the EcrCleanup, and over all of them.
pub const DIMENSIONS: [&[&str]; 2] = [&["EcrCleanup"], &[]];

/// By what [`Metric::by_reason`] ones are reported besides.
pub const REASON_DIMENSIONS: [&[&str]; 1] = [&["EcrCleanup", "Reason"]];

/// So many postponements in a row are a matter for people.
pub const TOO_OFTEN: u32 = 10;

/// Every metric there is: the enum, its names and its units.
macro_rules! metrics {
    ($($(#[$doc:meta])+ $name:ident: $unit:ident,)+) => {
        /// A metric. Its name in CloudWatch is its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric {
            $($(#[$doc])+ $name,)+
        }

        impl Metric {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name in CloudWatch.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// Its unit in CloudWatch.
            pub fn unit(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($unit),)+
                }
            }
        }
    };
}

metrics! {
    /// Checks that an event made or moved.
    ChecksScheduled: Count,
    /// Checks that were due and were made.
    ChecksRun: Count,
    /// Checks that were put off, because it was too early or evidence was missing.
    ChecksPostponed: Count,
    /// Checks that were put off at least [`TOO_OFTEN`] times in a row for want of evidence.
    ChecksPostponedRepeatedly: Count,
    /// For how long the oldest of the checks that were put off just now has been put off for want of evidence. Each reports
    /// at least once a day, as no delay is longer.
    OldestPostponedCheckAge: Seconds,
    /// Images that were deleted, with the children and attachments that went with them.
    ImagesDeleted: Count,
    /// Images that were archived.
    ImagesArchived: Count,
    /// Images that were kept.
    ImagesKept: Count,
    /// Images that could not be deleted or archived although nothing uses them.
    DeletionsFailed: Count,
    /// The size of the images that were deleted, as ECR counts it: layers that images share are counted for each.
    BytesReclaimed: Bytes,
    /// Accounts that may pull and are not proven to show what they use, at the last look.
    UncoveredAccounts: Count,
    /// Images that a sweep saw in repositories that take part.
    SweptImages: Count,
    /// Their size.
    SweptBytes: Bytes,
    /// Those of them that something uses.
    SweptImagesInUse: Count,
    /// The size of those that something uses.
    SweptBytesInUse: Bytes,
    /// Those of them that a rule keeps.
    SweptImagesKept: Count,
    /// The size of those that a rule keeps.
    SweptBytesKept: Bytes,
    /// Those of them that are checked now.
    SweptImagesToCheck: Count,
    /// The size of those that are checked now: what there is to gain at most.
    SweptBytesToCheck: Bytes,
    /// Repositories that a sweep could not look at, or not have checked, at least in part.
    RepositoriesNotSwept: Count,
    /// Sweeps that failed too often and were given up, and regions whose repositories a sweep could not list.
    SweepsUnfinished: Count,
    /// Requests of CloudFormation that were answered with a failure, and rollouts that failed after the answer.
    ProviderFailures: Count,
    /// Accounts and regions that the stack set did not reach, when a request was answered or a rollout ended.
    FailedInstances: Count,
    /// Stack set operations that were still running when CloudFormation had to be answered.
    RolloutsPending: Count,
}

impl Metric {
    /// Whether it is reported for each reason as well.
    pub fn by_reason(self) -> bool {
        matches!(self, Self::ChecksPostponed | Self::ImagesKept | Self::SweptImagesKept)
    }
}

/// Some metrics of one moment: one line of the log, if there is anything in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    now: Timestamp,
    dimensions: &'static [&'static [&'static str]],
    values: BTreeMap<Metric, u64>,
    members: Map<String, Value>,
}

impl Line {
    /// A line about an EcrCleanup.
    pub fn of(cleanup: &Names, now: Timestamp) -> Self {
        Self::new(&DIMENSIONS, now).about("EcrCleanup", cleanup.to_string())
    }

    /// A line about an EcrCleanup and one of the reasons that there are.
    pub fn because(cleanup: &Names, reason: &'static str, now: Timestamp) -> Self {
        Self { dimensions: &REASON_DIMENSIONS, ..Self::of(cleanup, now) }.about("Reason", reason)
    }

    /// A line about an EcrCleanup whose name is not known: it is seen only over all of them.
    pub fn of_unknown(now: Timestamp) -> Self {
        Self::new(&DIMENSIONS[1..], now)
    }

    fn new(dimensions: &'static [&'static [&'static str]], now: Timestamp) -> Self {
        Self { now, dimensions, values: BTreeMap::new(), members: Map::new() }
    }

    /// Adds a property: something to search for, which is no metric of its own.
    pub fn about(mut self, property: &str, value: impl Into<Value>) -> Self {
        self.members.insert(property.to_owned(), value.into());
        self
    }

    /// Adds a count. None is not reported.
    pub fn count(self, metric: Metric, value: u64) -> Self {
        if value == 0 { self } else { self.level(metric, value) }
    }

    /// Adds a value that says something when it is zero, too.
    pub fn level(mut self, metric: Metric, value: u64) -> Self {
        self.values.insert(metric, value);
        self
    }

    /// The line in the embedded metric format; `None` if there is no metric in it.
    pub fn document(&self) -> Option<Value> {
        if self.values.is_empty() {
            return None;
        }
        let metrics = self.values.keys().map(|metric| json!({"Name": metric.name(), "Unit": metric.unit()}));
        let metadata = json!({
            "Timestamp": self.now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": self.dimensions,
                "Metrics": metrics.collect::<Vec<_>>(),
            }],
        });
        let mut members = self.members.clone();
        members.insert("_aws".to_owned(), metadata);
        members.extend(self.values.iter().map(|(metric, value)| (metric.name().to_owned(), json!(value))));
        Some(Value::Object(members))
    }
}

/// Where lines are written: the function's own log, unless something else is given.
#[derive(Clone)]
pub struct Sink(Arc<dyn Fn(Value) + Send + Sync>);

impl Sink {
    /// Hands each line to `write`.
    pub fn new(write: impl Fn(Value) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// Writes a line, if there is a metric in it.
    pub fn report(&self, line: &Line) {
        if let Some(document) = line.document() {
            (self.0)(document);
        }
    }
}

impl Default for Sink {
    fn default() -> Self {
        // A function's log is its standard output, where the line must stand by itself. A log that cannot be written to is
        // no reason to stop.
        Self::new(|line| {
            let _ = writeln!(std::io::stdout(), "{line}");
        })
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::names::Kind;

    fn cleanup() -> Names {
        Names { name: "prod".parse().unwrap(), kind: Kind::Accounts }
    }

    fn now() -> Timestamp {
        "2026-11-01T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn several_metrics_are_one_line_of_the_embedded_metric_format() {
        let line = Line::of(&cleanup(), now())
            .about("Repository", "111111111111/eu-west-1/app")
            .count(Metric::ImagesDeleted, 3)
            .count(Metric::BytesReclaimed, 5_000_000_000)
            .count(Metric::ImagesArchived, 0);
        assert_eq!(
            line.document().unwrap(),
            json!({
                "_aws": {
                    "Timestamp": 1_793_527_200_000_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "ecr-cleanup",
                        "Dimensions": [["EcrCleanup"], []],
                        "Metrics": [
                            {"Name": "ImagesDeleted", "Unit": "Count"},
                            {"Name": "BytesReclaimed", "Unit": "Bytes"},
                        ],
                    }],
                },
                "EcrCleanup": "prod (accounts)",
                "Repository": "111111111111/eu-west-1/app",
                "ImagesDeleted": 3,
                "BytesReclaimed": 5_000_000_000_u64,
            })
        );
    }

    #[test]
    fn a_reason_is_a_dimension_beside_the_ecr_cleanup_and_never_over_all_of_them() {
        let line = Line::because(&cleanup(), "not-covered", now()).count(Metric::ChecksPostponed, 2);
        let document = line.document().unwrap();
        assert_eq!(document["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["EcrCleanup", "Reason"]]));
        assert_eq!(document["Reason"], "not-covered");
    }

    #[test]
    fn what_has_no_name_is_reported_over_all_of_them_only() {
        let document = Line::of_unknown(now()).count(Metric::ProviderFailures, 1).document().unwrap();
        assert_eq!(document["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([[]]));
    }

    #[test]
    fn a_count_of_zero_is_no_line_and_a_level_of_zero_is_one() {
        assert_eq!(Line::of(&cleanup(), now()).count(Metric::ChecksRun, 0).document(), None);
        let document = Line::of(&cleanup(), now()).level(Metric::UncoveredAccounts, 0).document().unwrap();
        assert_eq!(document["UncoveredAccounts"], 0);
    }

    #[test]
    fn a_line_can_hold_every_metric_within_the_limits_of_the_format() {
        let names: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        assert!(names.len() <= 100, "metrics in a line");
        for metric in Metric::ALL {
            assert!(["Count", "Bytes", "Seconds"].contains(&metric.unit()), "{metric:?}");
        }
    }
}
