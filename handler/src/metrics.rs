//! Metrics, as log lines in CloudWatch's embedded metric format.
//!
//! Every metric is in the namespace `ecr-cleanup`, once for each EcrCleanup and once over all of them, so that one alarm
//! of the hub's template sees EcrCleanups that are made later. The repository is a property of the line, not a dimension:
//! it can be searched for and costs no metric of its own.

use std::io::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::names::Names;
use crate::repository::Repository;

/// Where the metrics are.
pub const NAMESPACE: &str = "ecr-cleanup";

/// A metric; its values are counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Checks that were put off at least [`TOO_OFTEN`] times in a row for want of evidence.
    ChecksPostponedRepeatedly,
}

/// So many postponements in a row are a matter for people.
pub const TOO_OFTEN: u32 = 10;

impl Metric {
    /// Its name in CloudWatch.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChecksPostponedRepeatedly => "ChecksPostponedRepeatedly",
        }
    }
}

/// The log line for one value of a metric.
pub fn line(cleanup: &Names, repository: &Repository, metric: Metric, value: u64, now: Timestamp) -> Value {
    json!({
        "_aws": {
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["EcrCleanup"], []],
                "Metrics": [{"Name": metric.name(), "Unit": "Count"}],
            }],
        },
        "EcrCleanup": cleanup.to_string(),
        "Repository": repository.to_string(),
        metric.name(): value,
    })
}

/// Writes a value of a metric to the log. A log that cannot be written to is no reason to stop.
pub fn emit(cleanup: &Names, repository: &Repository, metric: Metric, value: u64, now: Timestamp) {
    // The function's own log is standard output; a metric must be a line of its own there.
    let _ = writeln!(std::io::stdout(), "{}", line(cleanup, repository, metric, value, now));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Kind;

    #[test]
    fn a_line_is_in_the_embedded_metric_format() {
        let cleanup = Names { name: "prod".parse().unwrap(), kind: Kind::Accounts };
        let repository: Repository = serde_json::from_value(json!({
            "account": "111111111111", "region": "eu-west-1", "name": "app"
        }))
        .unwrap();
        let now = "2026-11-01T10:00:00Z".parse().unwrap();
        let line = line(&cleanup, &repository, Metric::ChecksPostponedRepeatedly, 3, now);
        assert_eq!(line["ChecksPostponedRepeatedly"], 3);
        assert_eq!(line["EcrCleanup"], cleanup.to_string());
        assert_eq!(line["Repository"], repository.to_string());
        assert_eq!(line["_aws"]["Timestamp"], 1_793_527_200_000_i64);
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(declared["Namespace"], "ecr-cleanup");
        assert_eq!(declared["Dimensions"], json!([["EcrCleanup"], []]));
        assert_eq!(declared["Metrics"][0]["Name"], "ChecksPostponedRepeatedly");
    }
}
