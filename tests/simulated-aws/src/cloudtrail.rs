//! CloudTrail, as far as EventBridge shows it: `AWS API Call via CloudTrail` events of calls that change something.
//!
//! Only an account and region with a trail that logs management events has them. They come a while after the call, also
//! for calls that failed. Calls that IAM refused are not reported.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::World;
use crate::events::ServiceEvent;
use crate::identity::{AccountId, Principal, Region};
use crate::operation::{Call, Operation, ServiceError};

/// The state of CloudTrail in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// How late events are, where there is a trail.
    trails: BTreeMap<(AccountId, Region), SignedDuration>,
}

/// A response larger than this is left out (CloudTrail user guide, "CloudTrail record contents").
const LARGEST_RESPONSE: usize = 100 * 1024;
/// An event larger than this is not sent at all.
const LARGEST_EVENT: usize = 256 * 1024;

pub(crate) fn operations() -> Vec<Operation> {
    Vec::new()
}

/// Gives an account and region a trail whose events come after `delay`, or takes it away.
pub fn set_trail(world: &mut World, account: &AccountId, region: &Region, delay: Option<SignedDuration>) {
    let place = (account.clone(), region.clone());
    match delay {
        Some(delay) => world.cloudtrail.trails.insert(place, delay),
        None => world.cloudtrail.trails.remove(&place),
    };
}

/// Reports a call of a service, whose short name is the one in `source` (`ecs`), if there is a trail.
pub(crate) fn record(
    world: &mut World,
    call: &Call,
    service: &str,
    operation: &str,
    input: &Value,
    outcome: &Result<Value, ServiceError>,
) {
    let place = (call.account.clone(), call.region.clone());
    let Some(delay) = world.cloudtrail.trails.get(&place).copied() else { return };
    let id = world.fresh_uuid();
    let now = world.now();
    let detail = detail(now, call, service, operation, input, outcome, &id);
    if detail.to_string().len() > LARGEST_EVENT {
        return;
    }
    let (account, region) = place;
    let event = ServiceEvent {
        source: format!("aws.{service}"),
        detail_type: "AWS API Call via CloudTrail".to_owned(),
        resources: Vec::new(),
        time: now,
        detail,
    };
    world.after(delay, move |world| world.emit(&account, &region, event));
}

/// The record, in the form that EventBridge delivers.
fn detail(
    now: Timestamp,
    call: &Call,
    service: &str,
    operation: &str,
    input: &Value,
    outcome: &Result<Value, ServiceError>,
    id: &str,
) -> Value {
    let mut detail = json!({
        "eventVersion": "1.11",
        "userIdentity": user_identity(&call.principal),
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "eventSource": format!("{service}.amazonaws.com"),
        "eventName": operation,
        "awsRegion": call.region.as_str(),
        "sourceIPAddress": "192.0.2.1",
        "userAgent": "aws-sdk-rust",
        "requestParameters": readable(input),
        "responseElements": Value::Null,
        "requestID": call.request_id,
        "eventID": id,
        "readOnly": false,
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": call.account.as_str(),
        "eventCategory": "Management",
    });
    match outcome {
        Ok(output) => {
            let elements = readable(output);
            let size = elements.to_string().len();
            detail["responseElements"] = match size > LARGEST_RESPONSE {
                true => json!({"omitted": true, "originalSize": size, "reason": "responseElementsTooLarge"}),
                false => elements,
            };
        }
        Err(error) => {
            detail["errorCode"] = json!(error.code);
            detail["errorMessage"] = json!(error.message);
        }
    }
    detail
}

fn user_identity(principal: &Principal) -> Value {
    match principal {
        Principal::Administrator { account } => json!({
            "type": "Root", "principalId": account.as_str(), "arn": principal.arn(), "accountId": account.as_str(),
        }),
        Principal::Role { account, role, session } => json!({
            "type": "AssumedRole", "principalId": format!("AROA{role}:{session}"), "arn": principal.arn(),
            "accountId": account.as_str(),
            "sessionContext": {"sessionIssuer": {
                "type": "Role", "principalId": format!("AROA{role}"), "arn": format!("arn:aws:iam::{account}:role/{role}"),
                "accountId": account.as_str(), "userName": role,
            }},
        }),
        Principal::Service { name } => json!({"type": "AWSService", "invokedBy": name}),
    }
}

/// The same, with timestamps as CloudTrail writes them: members that end in `At` are numbers only as times.
fn readable(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| {
                let time = value.as_f64().filter(|_| name.ends_with("At")).and_then(|seconds| {
                    let at = Timestamp::from_millisecond((seconds * 1000.0) as i64).ok()?;
                    Some(json!(at.strftime("%b %-d, %Y, %-I:%M:%S %p").to_string()))
                });
                (name.clone(), time.unwrap_or_else(|| readable(value)))
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(readable).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimulatedAws;

    struct Bench {
        aws: SimulatedAws,
        account: AccountId,
        region: Region,
    }

    /// A trail whose events a rule of the default bus puts into a queue, five minutes after the call.
    fn bench() -> Bench {
        let aws = SimulatedAws::new(1);
        let (account, region) = (AccountId::new("111111111111").unwrap(), Region::new("eu-west-1").unwrap());
        aws.world().add_account(&account);
        set_trail(&mut aws.world(), &account, &region, Some(SignedDuration::from_mins(5)));
        let bench = Bench { aws, account, region };
        let arn = "arn:aws:sqs:eu-west-1:111111111111:calls";
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
        }]});
        let attributes = json!({"Policy": policy.to_string()});
        bench.call("sqs", "CreateQueue", json!({"QueueName": "calls", "Attributes": attributes})).unwrap();
        let pattern = json!({"source": ["aws.ecs"], "detail-type": ["AWS API Call via CloudTrail"]}).to_string();
        bench.call("events", "PutRule", json!({"Name": "calls", "EventPattern": pattern})).unwrap();
        let targets = json!([{"Id": "queue", "Arn": arn}]);
        bench.call("events", "PutTargets", json!({"Rule": "calls", "Targets": targets})).unwrap();
        bench
    }

    impl Bench {
        fn call(&self, service: &str, operation: &str, input: Value) -> Result<Value, ServiceError> {
            self.aws.call(&self.account, &self.region, service, operation, input)
        }

        fn register(&self, image: &str) {
            let containers = json!([{"name": "main", "image": image}]);
            self.call("ecs", "RegisterTaskDefinition", json!({"family": "web", "containerDefinitions": containers}))
                .unwrap();
        }

        /// The details of the events so far.
        fn details(&self) -> Vec<Value> {
            let url = "https://sqs.eu-west-1.amazonaws.com/111111111111/calls";
            let mut details = Vec::new();
            loop {
                let answer =
                    self.call("sqs", "ReceiveMessage", json!({"QueueUrl": url, "MaxNumberOfMessages": 10})).unwrap();
                let Some(messages) = answer["Messages"].as_array().filter(|it| !it.is_empty()) else { break };
                for message in messages {
                    let event: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
                    assert_eq!(event["source"], "aws.ecs");
                    details.push(event["detail"].clone());
                }
            }
            details
        }
    }

    #[test]
    fn a_successful_call_shows_what_was_answered_in_lower_camel_case() {
        let bench = bench();
        bench.register("nginx");
        bench.aws.advance(SignedDuration::from_mins(4));
        assert_eq!(bench.details(), [Value::Null; 0], "events come late");
        bench.aws.advance(SignedDuration::from_mins(6));
        let details = bench.details();
        assert_eq!(details.len(), 1);
        let detail = &details[0];
        assert_eq!(detail["eventSource"], "ecs.amazonaws.com");
        assert_eq!(detail["eventName"], "RegisterTaskDefinition");
        assert_eq!(detail["eventTime"], "2026-03-02T09:00:00Z");
        assert!(detail.get("errorCode").is_none());
        let definition = &detail["responseElements"]["taskDefinition"];
        assert_eq!(definition["taskDefinitionArn"], "arn:aws:ecs:eu-west-1:111111111111:task-definition/web:1");
        assert_eq!(definition["containerDefinitions"][0]["image"], "nginx");
        assert_eq!(definition["registeredAt"], "Mar 2, 2026, 9:00:00 AM");
    }

    #[test]
    fn a_failed_call_shows_its_error_and_no_answer() {
        let bench = bench();
        bench.call("ecs", "DeregisterTaskDefinition", json!({"taskDefinition": "none:1"})).unwrap_err();
        bench.aws.advance(SignedDuration::from_mins(10));
        let detail = &bench.details()[0];
        assert_eq!(detail["errorCode"], "ClientException");
        assert_eq!(detail["responseElements"], Value::Null);
    }

    #[test]
    fn large_answers_are_left_out_and_larger_events_never_come() {
        for (environment, answers) in [(110 * 1024, 1), (300 * 1024, 0)] {
            let bench = bench();
            let value = json!([{"name": "LARGE", "value": "x".repeat(environment)}]);
            let containers = json!([{"name": "main", "image": "nginx", "environment": value}]);
            let input = json!({"family": "web", "containerDefinitions": containers});
            bench.call("ecs", "RegisterTaskDefinition", input).unwrap();
            bench.aws.advance(SignedDuration::from_mins(10));
            let details = bench.details();
            assert_eq!(details.len(), answers);
            assert!(details.iter().all(|detail| detail["responseElements"]["omitted"] == true));
        }
    }

    #[test]
    fn without_a_trail_and_for_reading_calls_nothing_comes() {
        let bench = bench();
        bench.call("ecs", "ListClusters", json!({})).unwrap();
        set_trail(&mut bench.aws.world(), &bench.account, &bench.region, None);
        bench.register("nginx");
        bench.aws.advance(SignedDuration::from_mins(10));
        assert_eq!(bench.details(), [Value::Null; 0]);
    }
}
