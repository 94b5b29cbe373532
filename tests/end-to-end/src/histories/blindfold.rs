//! Evidence that is hidden from the product, on its way from AWS: what the oracle must notice.

use serde_json::{Value, json};
use simulated_aws::{CallSummary, Fault, ServiceError};

/// One kind of evidence, hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blindfold {
    /// Config shows no ECS service (S1: what a service runs is in use).
    Services,
    /// Config shows no ACTIVE task definition but the probes (S1: an ACTIVE task definition is in use).
    ActiveRevisions,
    /// Config shows no task definition that names a digest (S1: naming by digest).
    DigestReferences,
    /// An image has but its first tag (S1: naming by any tag).
    SecondTag,
    /// An index has no children (S1: naming by a child's digest).
    IndexChildren,
    /// Service revisions have pinned other digests (S1: pinned digests).
    PinnedDigests,
    /// A service runs what its newest deployment runs, as a service without task definition of an older one (S1: live
    /// deployments).
    DeployedRevision,
    /// Every recorder records (S2: coverage, the recorder).
    StoppedRecorder,
    /// Every source was collected (S2: coverage, the source status).
    FailedSource,
    /// Of every query's answer the last half is missing, and its next page (S2: truncated queries).
    DroppedPage,
    /// No repository has a policy (S2: who may pull).
    RepositoryPolicy,
    /// Config shows nothing of the first workload account but its probe (S2: every account).
    WorkloadAccount,
    /// Images were neither pushed nor pulled lately, and no revision changed lately (S4: the rollback window).
    Times,
}

impl Blindfold {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Services,
        Self::ActiveRevisions,
        Self::DigestReferences,
        Self::SecondTag,
        Self::IndexChildren,
        Self::PinnedDigests,
        Self::DeployedRevision,
        Self::StoppedRecorder,
        Self::FailedSource,
        Self::DroppedPage,
        Self::RepositoryPolicy,
        Self::WorkloadAccount,
        Self::Times,
    ];

    /// What becomes of a call of the product.
    pub(super) fn hides(self, call: &CallSummary) -> Option<Fault> {
        let alter = |alter: fn(&mut Value)| Some(Fault::Alter(Box::new(alter)));
        match (self, call.operation) {
            (Self::Services, "SelectAggregateResourceConfig") => {
                alter(|answer| keep_rows(answer, |row| !row.is("service")))
            }
            (Self::ActiveRevisions, "SelectAggregateResourceConfig") => alter(|answer| {
                keep_rows(answer, |row| !row.is("task-definition") || row.is_probe() || !row.says("\"ACTIVE\""));
            }),
            (Self::DigestReferences, "SelectAggregateResourceConfig") => {
                alter(|answer| keep_rows(answer, |row| !row.is("task-definition") || !row.says("@sha256:")))
            }
            (Self::WorkloadAccount, "SelectAggregateResourceConfig") => {
                alter(|answer| keep_rows(answer, |row| !row.says("\"222222222222\"") || row.is_probe()))
            }
            (Self::DroppedPage, "SelectAggregateResourceConfig") => alter(|answer| {
                if let Some(rows) =
                    answer["Results"].as_array_mut().filter(|rows| !rows.iter().any(|row| Row::of(row).is_probe()))
                {
                    rows.truncate(rows.len() / 2);
                }
                if let Some(members) = answer.as_object_mut() {
                    members.remove("NextToken");
                }
            }),
            (Self::SecondTag, "DescribeImages") => alter(|answer| {
                for tags in each(answer, "imageDetails").filter_map(|image| image["imageTags"].as_array_mut()) {
                    tags.truncate(1);
                }
            }),
            (Self::IndexChildren, "BatchGetImage") => alter(|answer| {
                for image in each(answer, "images") {
                    let text = image["imageManifest"].as_str().unwrap_or_default();
                    let Ok(mut manifest) = serde_json::from_str::<Value>(text) else { continue };
                    if manifest["manifests"].is_array() {
                        manifest["manifests"] = json!([]);
                        image["imageManifest"] = json!(manifest.to_string());
                    }
                }
            }),
            (Self::PinnedDigests, "DescribeServiceRevisions") => alter(|answer| {
                for revision in each(answer, "serviceRevisions") {
                    for image in each(revision, "containerImages") {
                        image["imageDigest"] = json!(format!("sha256:{}", "0".repeat(64)));
                    }
                }
            }),
            (Self::DeployedRevision, "DescribeServices") => alter(|answer| {
                for service in each(answer, "services") {
                    service["status"] = json!("INACTIVE");
                }
            }),
            (Self::StoppedRecorder, "DescribeConfigurationRecorderStatus") => alter(|answer| {
                for status in each(answer, "ConfigurationRecordersStatus") {
                    status["recording"] = json!(true);
                    status["lastStatus"] = json!("SUCCESS");
                }
            }),
            (Self::StoppedRecorder, "SelectAggregateResourceConfig") => {
                alter(|answer| keep_rows(answer, |row| !row.says("\"Recording\"")))
            }
            (Self::FailedSource, "DescribeConfigurationAggregatorSourcesStatus") => alter(|answer| {
                for source in each(answer, "AggregatedSourceStatusList") {
                    source["LastUpdateStatus"] = json!("SUCCEEDED");
                }
            }),
            (Self::RepositoryPolicy, "GetRepositoryPolicy") => Some(Fault::Refuse(ServiceError::new(
                "RepositoryPolicyNotFoundException",
                "Repository policy does not exist",
            ))),
            (Self::Times, "DescribeImages") => alter(|answer| {
                for image in each(answer, "imageDetails") {
                    image["imagePushedAt"] = json!(1_700_000_000);
                    if let Some(members) = image.as_object_mut() {
                        members.remove("lastRecordedPullTime");
                    }
                }
            }),
            (Self::Times, "SelectAggregateResourceConfig") => alter(|answer| {
                for row in answer["Results"].as_array_mut().into_iter().flatten() {
                    let Ok(mut parsed) = serde_json::from_str::<Value>(row.as_str().unwrap_or_default()) else {
                        continue;
                    };
                    if parsed["configurationItemCaptureTime"].is_string() {
                        parsed["configurationItemCaptureTime"] = json!("2024-01-01T00:00:00.000Z");
                        *row = json!(parsed.to_string());
                    }
                }
            }),
            _ => None,
        }
    }
}

/// A row of a query's answer, by its text.
struct Row<'a>(&'a str);

impl<'a> Row<'a> {
    fn of(row: &'a Value) -> Self {
        Self(row.as_str().unwrap_or_default())
    }

    fn is(&self, kind: &str) -> bool {
        let arn =
            serde_json::from_str::<Value>(self.0).unwrap_or_default()["arn"].as_str().unwrap_or_default().to_owned();
        arn.contains(&format!(":{kind}/"))
    }

    fn is_probe(&self) -> bool {
        self.0.contains("-probe")
    }

    fn says(&self, text: &str) -> bool {
        self.0.contains(text)
    }
}

fn keep_rows(answer: &mut Value, keep: impl Fn(&Row<'_>) -> bool) {
    if let Some(rows) = answer["Results"].as_array_mut() {
        rows.retain(|row| keep(&Row::of(row)));
    }
}

fn each<'a>(answer: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    answer.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}
