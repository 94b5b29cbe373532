//! Evidence that is hidden from the product, on its way from AWS: what the oracle must notice.

use serde_json::{Value, json};
use simulated_aws::{CallSummary, Fault, ServiceError};

use super::oracle::{AGAINST_OPT_IN, ENABLED, NOT_COVERED, USED, WITHIN_WINDOW};
use crate::organization::{ALL_REGIONS, ALL_WORKLOADS};

/// One kind of evidence, hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blindfold {
    /// Config shows no ECS service.
    Services,
    /// Config shows no ACTIVE task definition but the probes.
    ActiveRevisions,
    /// Config shows no task definition that names a digest.
    DigestReferences,
    /// An image has but its first tag.
    SecondTag,
    /// An index has no children.
    IndexChildren,
    /// Service revisions have pinned other digests.
    PinnedDigests,
    /// A service has but its newest deployment.
    OlderDeployments,
    /// Nothing shows task sets.
    TaskSets,
    /// Config shows no rule.
    Rules,
    /// Every recorder records.
    StoppedRecorder,
    /// Every source was collected.
    FailedSource,
    /// Of every query's answer the last half is missing, and its next page.
    DroppedPage,
    /// No repository has a policy.
    RepositoryPolicy,
    /// Config shows nothing of the first workload account but its probe.
    WorkloadAccount,
    /// Images were neither pushed nor pulled lately, and no revision changed lately.
    Times,
    /// Every opt-in tag only opts in.
    OptIn,
    /// No check is pending.
    PendingSchedules,
    /// Every coverage probe is there.
    Probe,
    /// Config shows nothing that uses images outside ECS.
    UsersOutsideEcs,
    /// No image is attached to another one.
    Referrers,
}

impl Blindfold {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Services,
        Self::ActiveRevisions,
        Self::DigestReferences,
        Self::SecondTag,
        Self::IndexChildren,
        Self::PinnedDigests,
        Self::OlderDeployments,
        Self::TaskSets,
        Self::Rules,
        Self::StoppedRecorder,
        Self::FailedSource,
        Self::DroppedPage,
        Self::RepositoryPolicy,
        Self::WorkloadAccount,
        Self::Times,
        Self::OptIn,
        Self::PendingSchedules,
        Self::Probe,
        Self::UsersOutsideEcs,
        Self::Referrers,
    ];

    /// The promise that the product breaks with it.
    pub fn promise(self) -> &'static str {
        match self {
            Self::Services => "S1: what a service runs is in use",
            Self::ActiveRevisions => "S1: an ACTIVE task definition is a use",
            Self::DigestReferences => "S1: an image can be named by its digest",
            Self::SecondTag => "S1: an image can be named by each of its tags",
            Self::IndexChildren => "S1: an index can be named by a child's digest",
            Self::PinnedDigests => "S1: the digest that a running service has pinned is in use",
            Self::OlderDeployments => "S1: what a live deployment runs is in use",
            Self::TaskSets => "S1: what a task set runs is in use",
            Self::Rules => "S1: what a rule starts is in use",
            Self::StoppedRecorder => "S2: an account that does not record is not covered",
            Self::FailedSource => "S2: an account that is not collected is not covered",
            Self::DroppedPage => "S2: a truncated answer is no evidence",
            Self::RepositoryPolicy => "S2: who may pull has to be covered",
            Self::WorkloadAccount => "S1: what any account uses is in use",
            Self::Times => "S4: nothing is deleted within the window of a push, a pull or a change",
            Self::OptIn => "S3: a repository's own settings hold right before a deletion",
            Self::PendingSchedules => "S4: nothing is deleted within the window of a change that only a schedule knows",
            Self::Probe => "S2: an account that delivers no probe is not covered",
            Self::UsersOutsideEcs => "S1: what something outside ECS names is in use",
            Self::Referrers => "S1: what is attached to a used image is needed",
        }
    }

    /// What the oracle's violation begins with when the promise is broken.
    pub fn violation(self) -> &'static str {
        match self {
            Self::StoppedRecorder | Self::FailedSource | Self::Probe => NOT_COVERED,
            Self::Times | Self::PendingSchedules => WITHIN_WINDOW,
            Self::OptIn => AGAINST_OPT_IN,
            _ => USED,
        }
    }

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
                if let Some(rows) = answer["Results"].as_array_mut() {
                    let (mut probes, mut others): (Vec<Value>, Vec<Value>) =
                        std::mem::take(rows).into_iter().partition(|row| Row::of(row).is_probe());
                    others.truncate(others.len() / 2);
                    rows.append(&mut probes);
                    rows.append(&mut others);
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
            (Self::OlderDeployments, "DescribeServices") => alter(|answer| {
                for service in each(answer, "services") {
                    for list in ["deployments", "currentServiceRevisions"] {
                        if let Some(newest_first) = service[list].as_array_mut() {
                            newest_first.truncate(1);
                        }
                    }
                }
            }),
            (Self::TaskSets, "SelectAggregateResourceConfig") => {
                alter(|answer| keep_rows(answer, |row| !row.is("task-set")))
            }
            (Self::TaskSets, "DescribeServices") => alter(|answer| {
                for service in each(answer, "services") {
                    service["taskSets"] = json!([]);
                }
            }),
            (Self::Rules, "SelectAggregateResourceConfig") => alter(|answer| keep_rows(answer, |row| !row.is("rule"))),
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
            (Self::OptIn, "ListTagsForResource") => alter(|answer| {
                for tag in each(answer, "tags").filter(|tag| tag["Key"] == "ecr-cleanup") {
                    tag["Value"] = json!(ENABLED);
                }
            }),
            (Self::PendingSchedules, "ListSchedules") => alter(|answer| answer["Schedules"] = json!([])),
            (Self::Probe, "SelectAggregateResourceConfig") => {
                let query = call.input["Expression"].as_str().unwrap_or_default();
                let family = query.split_once("configuration.Family = '").and_then(|(_, rest)| rest.split_once('\''));
                let family = family.map(|(family, _)| family.to_owned()).filter(|family| family.ends_with("-probe"))?;
                Some(Fault::Alter(Box::new(move |answer| {
                    let Some(rows) = answer["Results"].as_array_mut() else { return };
                    for (account, region) in
                        ALL_WORKLOADS.iter().flat_map(|id| ALL_REGIONS.iter().map(move |code| (id, code)))
                    {
                        let row = json!({
                            "resourceType": "AWS::ECS::TaskDefinition",
                            "arn": format!("arn:aws:ecs:{region}:{account}:task-definition/{family}:1"),
                            "accountId": account, "awsRegion": region,
                            "configurationItemCaptureTime": "2024-01-01T00:00:00.000Z",
                            "configuration": {"Family": family, "Status": "ACTIVE"},
                        });
                        rows.push(json!(row.to_string()));
                    }
                })))
            }
            (Self::UsersOutsideEcs, "SelectAggregateResourceConfig") => {
                alter(|answer| keep_rows(answer, |row| !row.says(":codebuild:") && !row.says(":lambda:")))
            }
            (Self::Referrers, "DescribeImages") => alter(|answer| {
                for image in each(answer, "imageDetails").filter_map(Value::as_object_mut) {
                    image.remove("subjectManifestDigest");
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
