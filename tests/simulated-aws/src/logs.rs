//! Amazon CloudWatch Logs: log groups with retention; nothing is written into them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::World;
use crate::identity::{AccountId, Region};
use crate::operation::{Access, Call, Operation, Protocol, Service, ServiceError};

static SERVICE: Service = Service {
    signing_name: "logs",
    model: "logs",
    protocol: Protocol::AwsJson { target_prefix: "Logs_20140328", version: "1.1" },
};

/// The state of CloudWatch Logs in all accounts and regions: groups with their retention in days.
#[derive(Debug, Default)]
pub(crate) struct State {
    groups: BTreeMap<(AccountId, Region, String), Option<u64>>,
}

pub(crate) fn operations() -> Vec<Operation> {
    macro_rules! row {
        ($name:literal, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: None,
                authorize: |_, call, input| {
                    let name = input["logGroupName"].as_str().unwrap_or_default();
                    let arn = call.arn("logs", &format!("log-group:{name}:*"));
                    Ok(vec![Access::new(concat!("logs:", $name), arn)])
                },
                handle: $handle,
            }
        };
    }
    vec![
        row!("CreateLogGroup", &["logGroupName", "tags"], |world, call, input| {
            let groups = &mut world.logs.groups;
            if groups.contains_key(&key(call, input)) {
                let message = "The specified log group already exists";
                return Err(ServiceError::new("ResourceAlreadyExistsException", message));
            }
            groups.insert(key(call, input), None);
            Ok(json!({}))
        }),
        row!("PutRetentionPolicy", &["logGroupName", "retentionInDays"], |world, call, input| {
            *group(world, call, input)? = input["retentionInDays"].as_u64();
            Ok(json!({}))
        }),
        row!("DeleteRetentionPolicy", &["logGroupName"], |world, call, input| {
            *group(world, call, input)? = None;
            Ok(json!({}))
        }),
        row!("DescribeLogGroups", &["logGroupNamePrefix"], |world, call, input| {
            let prefix = input["logGroupNamePrefix"].as_str().unwrap_or_default();
            let groups: Vec<_> = world
                .logs
                .groups
                .iter()
                .filter(|(key, _)| key.0 == call.account && key.1 == call.region && key.2.starts_with(prefix))
                .map(|(key, days)| json!({"logGroupName": key.2, "retentionInDays": days}))
                .collect();
            Ok(json!({"logGroups": groups}))
        }),
        row!("DeleteLogGroup", &["logGroupName"], |world, call, input| {
            group(world, call, input)?;
            world.logs.groups.remove(&key(call, input));
            Ok(json!({}))
        }),
    ]
}

fn key(call: &Call, input: &Value) -> (AccountId, Region, String) {
    (call.account.clone(), call.region.clone(), input["logGroupName"].as_str().unwrap_or_default().to_owned())
}

fn group<'a>(world: &'a mut World, call: &Call, input: &Value) -> Result<&'a mut Option<u64>, ServiceError> {
    world
        .logs
        .groups
        .get_mut(&key(call, input))
        .ok_or_else(|| ServiceError::new("ResourceNotFoundException", "The specified log group does not exist."))
}
