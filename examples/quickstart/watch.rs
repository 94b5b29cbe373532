//! Watches what the product does: the events on the EcrCleanups' buses, through a rule and a queue such as an operator
//! would make, and the calls that its functions make.

use std::collections::BTreeSet;

use end_to_end::Organization;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use simulated_aws::{CallRecord, Principal};

use crate::happening::{Happening, Outcome, What};
use crate::legend::Legend;

/// The name of the rule and of the queue.
const NAME: &str = "quickstart-timeline";

/// What is watched, and how far it was read.
#[derive(Debug, Default)]
pub struct Watch {
    buses: Vec<String>,
    queue: Option<String>,
    /// Calls of the checks since their last outcome.
    gathered: Vec<CallRecord>,
    undelivered: usize,
}

impl Watch {
    /// Listens on every EcrCleanup's bus that is there.
    pub fn listen(&mut self, organization: &Organization) {
        let (hub, home) = (&organization.hub, organization.home());
        let call = |service, operation, input| organization.call(hub, home, service, operation, input);
        let arn = format!("arn:aws:sqs:{home}:{hub}:{NAME}");
        if self.queue.is_none() {
            let policy = json!({"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }]});
            let attributes = json!({"Policy": policy.to_string()});
            let made = call("sqs", "CreateQueue", json!({"QueueName": NAME, "Attributes": attributes}));
            self.queue = made["QueueUrl"].as_str().map(str::to_owned);
        }
        let buses = organization.aws.world().event_bus_names(hub, home);
        for bus in buses.into_iter().filter(|bus| bus.starts_with("ecr-cleanup-")) {
            if self.buses.contains(&bus) {
                continue;
            }
            let pattern = json!({"source": ["aws.ecs", "aws.config", "ecr-cleanup"]}).to_string();
            call("events", "PutRule", json!({"EventBusName": bus, "Name": NAME, "EventPattern": pattern}));
            let targets = json!([{"Id": "queue", "Arn": arn}]);
            call("events", "PutTargets", json!({"EventBusName": bus, "Rule": NAME, "Targets": targets}));
            self.buses.push(bus);
        }
    }

    /// Takes rules and queue away again.
    pub fn stop(&mut self, organization: &Organization) {
        self.stop_listening(organization);
        if let Some(queue) = self.queue.take() {
            let (hub, home) = (&organization.hub, organization.home());
            organization.call(hub, home, "sqs", "DeleteQueue", json!({"QueueUrl": queue}));
        }
    }

    /// Takes the rules away: a bus that has a rule cannot be deleted.
    pub fn stop_listening(&mut self, organization: &Organization) {
        let (hub, home) = (&organization.hub, organization.home());
        for bus in std::mem::take(&mut self.buses) {
            // A bus that is gone has taken its rules with it.
            for (operation, input) in [
                ("RemoveTargets", json!({"EventBusName": bus, "Rule": NAME, "Ids": ["queue"]})),
                ("DeleteRule", json!({"EventBusName": bus, "Name": NAME})),
            ] {
                let _ = organization.aws.call(hub, home, "events", operation, input);
            }
        }
    }

    /// What has happened since the last call, in order.
    pub fn look(&mut self, organization: &Organization, legend: &Legend) -> Vec<Happening> {
        let mut seen = self.calls(organization, legend);
        seen.extend(self.bus(organization, legend));
        let world = organization.aws.world();
        for lost in world.undelivered().iter().skip(self.undelivered) {
            let what = What::Undelivered {
                source: lost.source.clone(),
                target: lost.target.clone(),
                reason: lost.reason.to_string(),
            };
            let mut parts = lost.source.split(':').skip(3);
            let (region, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            seen.push(happening(legend, lost.at, account, region, what));
        }
        self.undelivered = world.undelivered().len();
        drop(world);
        seen.sort_by_key(|happening| (happening.time, happening.what.rank()));
        seen
    }

    fn calls(&mut self, organization: &Organization, legend: &Legend) -> Vec<Happening> {
        let mut world = organization.aws.world();
        let calls = world.calls().to_vec();
        world.clear_calls();
        drop(world);
        let mut seen = Vec::new();
        let (hub, home) = (organization.hub.as_str(), organization.home().as_str());
        for call in calls {
            let Principal::Role { role, .. } = &call.principal else { continue };
            if ["schedule-checks-", "sweep-"].iter().any(|one| role.starts_with(&format!("ecr-cleanup-{one}"))) {
                let all = scheduled(&call, legend).unwrap_or_default();
                seen.extend(all.into_iter().map(|what| happening(legend, call.at, hub, home, what)));
            } else if role.starts_with("ecr-cleanup-check-images-") && call.operation == "PutEvents" {
                let gathered = std::mem::take(&mut self.gathered);
                let what = evidence(&gathered, hub);
                seen.extend(what.map(|what| happening(legend, call.at, hub, home, what)));
            } else if !["provider-", "scheduler-"].iter().any(|other| role.starts_with(&format!("ecr-cleanup-{other}")))
                && role.starts_with("ecr-cleanup-")
                && ["config", "ecr", "ecs", "organizations"].contains(&call.service)
                && !call.operation.starts_with("BatchDelete")
            {
                self.gathered.push(call);
            }
        }
        seen
    }

    fn bus(&self, organization: &Organization, legend: &Legend) -> Vec<Happening> {
        let Some(queue) = &self.queue else { return Vec::new() };
        let (hub, home) = (&organization.hub, organization.home());
        let mut seen = Vec::new();
        loop {
            let input = json!({"QueueUrl": queue, "MaxNumberOfMessages": 10, "AttributeNames": ["SentTimestamp"]});
            let received = organization.call(hub, home, "sqs", "ReceiveMessage", input);
            let messages = received["Messages"].as_array().cloned().unwrap_or_default();
            if messages.is_empty() {
                return seen;
            }
            for message in messages {
                let sent = message["Attributes"]["SentTimestamp"].as_str().and_then(|millis| millis.parse().ok());
                let at = sent.and_then(|millis| Timestamp::from_millisecond(millis).ok());
                let event = message["Body"].as_str().and_then(|body| serde_json::from_str::<Value>(body).ok());
                if let (Some(at), Some(event)) = (at, event) {
                    seen.extend(told(&event, at, legend));
                }
                let input = json!({"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]});
                organization.call(hub, home, "sqs", "DeleteMessage", input);
            }
        }
    }
}

/// Something that happened, with the account's name.
pub(crate) fn happening(legend: &Legend, time: Timestamp, account: &str, region: &str, what: What) -> Happening {
    let account_name = legend.account(account);
    Happening { time, account: account.to_owned(), account_name, region: region.to_owned(), what }
}

/// A call that schedules checks or moves them.
fn scheduled(call: &CallRecord, legend: &Legend) -> Option<Vec<What>> {
    let moved = match (call.service, call.operation) {
        ("scheduler", "CreateSchedule") => false,
        ("scheduler", "UpdateSchedule") => true,
        _ => return None,
    };
    call.outcome.as_ref().ok()?;
    let detail: Value = serde_json::from_str(call.input["Target"]["Input"].as_str()?).ok()?;
    let at = call.input["ScheduleExpression"].as_str()?.strip_prefix("at(")?.strip_suffix(')')?;
    let due = TimeZone::UTC.to_timestamp(at.parse::<DateTime>().ok()?).ok()?;
    let images = images_of(&detail, legend).into_iter();
    Some(
        images
            .map(|(image, repository, digest)| What::CheckScheduled { image, repository, digest, due, moved })
            .collect(),
    )
}

/// The images whose check is asked for: one that an event named, or several that a sweep found.
fn images_of(detail: &Value, legend: &Legend) -> Vec<(String, String, String)> {
    let Some(repository) = detail["repository"]["name"].as_str() else { return Vec::new() };
    let digests = detail["digests"].as_array().into_iter().flatten().chain([&detail["digest"]]);
    let digests = digests.filter_map(Value::as_str);
    digests.map(|digest| (legend.image(repository, digest), repository.to_owned(), digest.to_owned())).collect()
}

/// What the checks asked before they told an outcome.
fn evidence(calls: &[CallRecord], hub: &str) -> Option<What> {
    if calls.is_empty() {
        return None;
    }
    let queries: Vec<_> = calls.iter().filter(|call| call.operation == "SelectAggregateResourceConfig").collect();
    let rows = queries.iter().filter_map(|call| call.outcome.as_ref().ok()?["Results"].as_array().map(Vec::len)).sum();
    let asked: BTreeSet<_> = calls
        .iter()
        .filter(|call| {
            matches!(&call.principal, Principal::Role { account, role, .. }
                if account.as_str() != hub || !role.starts_with("ecr-cleanup-check-images-"))
        })
        .map(|call| (&call.account, &call.region))
        .collect();
    Some(What::Evidence {
        config_queries: queries.len(),
        rows,
        places_asked: asked.len(),
        calls: calls.len(),
        // That there is no policy is an answer.
        failed: calls
            .iter()
            .filter_map(|call| call.outcome.as_ref().err())
            .filter(|error| !error.code.ends_with("PolicyNotFoundException"))
            .count(),
    })
}

/// What an event on the bus tells.
fn told(event: &Value, at: Timestamp, legend: &Legend) -> Vec<Happening> {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let (account, region, detail) = (text("account"), text("region"), &event["detail"]);
    let one = |what: What| happening(legend, at, account, region, what);
    match (text("source"), text("detail-type")) {
        ("aws.ecs", _) => {
            let response = &detail["responseElements"];
            let many = response["taskDefinitions"].as_array().cloned().unwrap_or_default();
            let single = Some(response["taskDefinition"].clone()).filter(Value::is_object);
            let changed = text("time").parse().unwrap_or(at);
            let change = |revision: &Value| {
                task_definition(&revision["taskDefinitionArn"], &revision["status"], "CloudTrail", changed)
            };
            many.iter().chain(&single).filter_map(change).map(one).collect()
        }
        ("aws.config", _) => {
            let item = &detail["configurationItem"];
            let deleted = item["configurationItemStatus"].as_str().is_some_and(|status| status.contains("Deleted"));
            let status = if deleted { json!("DELETED") } else { item["configuration"]["Status"].clone() };
            let changed =
                item["configurationItemCaptureTime"].as_str().and_then(|time| time.parse().ok()).unwrap_or(at);
            task_definition(&item["ARN"], &status, "Config", changed).map(one).into_iter().collect()
        }
        (_, "Image Deletion Check Due") => {
            let due = images_of(detail, legend).into_iter();
            due.map(|(image, repository, digest)| one(What::CheckDue { image, repository, digest })).collect()
        }
        (_, "Repository Swept") => vec![one(swept(detail))],
        (_, detail_type) => {
            let images = detail["images"].as_array().cloned().unwrap_or_default();
            let outcomes: Vec<_> =
                images.iter().filter_map(|image| outcome(detail_type, detail, image, legend)).collect();
            if outcomes.is_empty() {
                return vec![one(What::Other { detail_type: detail_type.to_owned() })];
            }
            outcomes.into_iter().map(one).collect()
        }
    }
}

fn task_definition(arn: &Value, status: &Value, told_by: &str, changed: Timestamp) -> Option<What> {
    let (_, name) = arn.as_str()?.split_once(":task-definition/")?;
    Some(What::TaskDefinition {
        task_definition: name.to_owned(),
        status: status.as_str()?.to_owned(),
        told_by: told_by.to_owned(),
        changed,
    })
}

fn swept(detail: &Value) -> What {
    let amount = |name: &str| detail[name]["images"].as_u64().unwrap_or_default();
    let kept = detail["kept"].as_object().into_iter().flatten();
    What::Swept {
        repository: detail["repository"]["name"].as_str().unwrap_or_default().to_owned(),
        images: amount("total"),
        in_use: amount("inUse"),
        kept: kept.filter_map(|(_, amount)| amount["images"].as_u64()).sum(),
        too_early: amount("tooEarly"),
        to_be_checked: amount("toBeChecked"),
        unknown: amount("unknown"),
        reason: detail["reason"].as_str().map(str::to_owned),
    }
}

fn outcome(detail_type: &str, detail: &Value, image: &Value, legend: &Legend) -> Option<What> {
    let text = |name: &str| image[name].as_str().unwrap_or_default().to_owned();
    let (repository, digest) = (detail["repository"]["name"].as_str()?, image["digest"].as_str()?);
    let check = Outcome {
        image: legend.image(repository, digest),
        repository: repository.to_owned(),
        digest: digest.to_owned(),
        reason_code: text("reasonCode"),
        reason: text("reason"),
    };
    Some(match detail_type {
        "Image Deleted" => What::Deleted {
            check,
            bytes: image["bytes"].as_u64().unwrap_or_default(),
            deleted_with: image["deletedWith"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|digest| digest.as_str().map(str::to_owned))
                .collect(),
        },
        // It is still in the registry.
        "Image Kept" | "Image Archived" => What::Kept { check },
        "Image Check Postponed" => {
            What::Postponed { check, until: image["until"].as_str().and_then(|until| until.parse().ok()) }
        }
        "Image Deletion Failed" => What::Failed { check },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_of(event: &Value) -> Vec<What> {
        let mut legend = Legend::default();
        legend.name_image("sha256:aa", "web:1");
        told(event, Timestamp::UNIX_EPOCH, &legend).into_iter().map(|happening| happening.what).collect()
    }

    #[test]
    fn both_kinds_of_task_definition_events_are_told() {
        let arn = "arn:aws:ecs:us-east-1:222222222222:task-definition/web:1";
        let expected = |status: &str, told_by: &str| What::TaskDefinition {
            task_definition: "web:1".to_owned(),
            status: status.to_owned(),
            told_by: told_by.to_owned(),
            changed: Timestamp::UNIX_EPOCH,
        };
        let revision = json!({"taskDefinitionArn": arn, "status": "INACTIVE"});
        for (event, told) in [
            (
                json!({"source": "aws.ecs", "detail": {"responseElements": {"taskDefinition": revision}}}),
                vec![expected("INACTIVE", "CloudTrail")],
            ),
            (
                json!({"source": "aws.ecs", "detail": {"responseElements": {"taskDefinitions": [revision, revision]}}}),
                vec![expected("INACTIVE", "CloudTrail"), expected("INACTIVE", "CloudTrail")],
            ),
            (
                json!({"source": "aws.config", "detail": {"configurationItem":
                    {"ARN": arn, "configurationItemStatus": "ResourceDiscovered", "configuration": {"Status": "ACTIVE"}}}}),
                vec![expected("ACTIVE", "Config")],
            ),
            (
                json!({"source": "aws.config", "detail": {"configurationItem":
                    {"ARN": arn, "configurationItemStatus": "ResourceDeleted", "configuration": null}}}),
                vec![expected("DELETED", "Config")],
            ),
            (json!({"source": "aws.ecs", "detail": {}}), vec![]),
        ] {
            assert_eq!(told_of(&event), told, "{event}");
        }
    }

    #[test]
    fn every_image_of_an_outcome_is_told() {
        let image = |digest: &str| json!({"digest": digest, "reasonCode": "in-use", "reason": "why"});
        let told = told_of(&json!({"source": "ecr-cleanup", "detail-type": "Image Kept", "detail": {
            "repository": {"name": "web"}, "images": [image("sha256:aa"), image("sha256:bb")],
        }}));
        let kept = |image: &str, digest: &str| What::Kept {
            check: Outcome {
                image: image.to_owned(),
                repository: "web".to_owned(),
                digest: digest.to_owned(),
                reason_code: "in-use".to_owned(),
                reason: "why".to_owned(),
            },
        };
        assert_eq!(told, [kept("web:1", "sha256:aa"), kept("web@sha256:bb", "sha256:bb")]);
        let sweep = json!({"source": "ecr-cleanup", "detail-type": "Sweep Due", "detail": {}});
        assert_eq!(told_of(&sweep), [What::Other { detail_type: "Sweep Due".to_owned() }]);
    }

    #[test]
    fn what_a_sweep_found_and_has_checked_is_told() {
        let amount = |images: u64| json!({"images": images, "bytes": 1});
        let event = json!({"source": "ecr-cleanup", "detail-type": "Repository Swept", "detail": {
            "repository": {"name": "web"}, "total": amount(6), "inUse": amount(1), "kept": {"tag-protected": amount(2)},
            "tooEarly": amount(1), "toBeChecked": amount(2), "unknown": amount(0),
        }});
        let swept = What::Swept {
            repository: "web".to_owned(),
            images: 6,
            in_use: 1,
            kept: 2,
            too_early: 1,
            to_be_checked: 2,
            unknown: 0,
            reason: None,
        };
        assert_eq!(told_of(&event), [swept]);
        let due = json!({"source": "ecr-cleanup", "detail-type": "Image Deletion Check Due", "detail": {
            "repository": {"name": "web"}, "digests": ["sha256:aa", "sha256:bb"], "occasion": "sweep",
        }});
        let check = |image: &str, digest: &str| What::CheckDue {
            image: image.to_owned(),
            repository: "web".to_owned(),
            digest: digest.to_owned(),
        };
        assert_eq!(told_of(&due), [check("web:1", "sha256:aa"), check("web@sha256:bb", "sha256:bb")]);
    }
}
