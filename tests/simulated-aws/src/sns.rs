//! Amazon SNS: topics that can be made, listed and deleted; nothing is published.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::operation::{Access, Call, Operation, Protocol, Service};

static SERVICE: Service = Service {
    signing_name: "sns",
    model: "sns",
    protocol: Protocol::Query { namespace: "http://sns.amazonaws.com/doc/2010-03-31/" },
};

/// The topics of all accounts and regions, by ARN.
#[derive(Debug, Default)]
pub(crate) struct State {
    topics: BTreeSet<String>,
}

pub(crate) fn operations() -> Vec<Operation> {
    macro_rules! row {
        ($name:literal, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: None,
                authorize: |_, call, input| Ok(vec![Access::new(concat!("sns:", $name), arn(call, input))]),
                handle: $handle,
            }
        };
    }
    vec![
        row!("CreateTopic", &["Name", "Attributes", "Tags"], |world, call, input| {
            let arn = arn(call, input);
            world.sns.topics.insert(arn.clone());
            Ok(json!({"TopicArn": arn}))
        }),
        row!("ListTopics", &[], |world, call, _| {
            let prefix = call.arn("sns", "");
            let topics = world.sns.topics.iter().filter(|arn| arn.starts_with(&prefix));
            Ok(json!({"Topics": topics.map(|arn| json!({"TopicArn": arn})).collect::<Vec<_>>()}))
        }),
        row!("DeleteTopic", &["TopicArn"], |world, call, input| {
            // A topic that does not exist is deleted.
            world.sns.topics.remove(&arn(call, input));
            Ok(json!({}))
        }),
    ]
}

fn arn(call: &Call, input: &Value) -> String {
    let name = input["Name"].as_str().unwrap_or("*");
    input["TopicArn"].as_str().map_or_else(|| call.arn("sns", name), str::to_owned)
}
