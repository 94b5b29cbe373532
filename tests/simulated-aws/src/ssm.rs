//! AWS Systems Manager Parameter Store: text parameters, with versions counted but only the newest kept.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::World;
use crate::identity::{AccountId, Region};
use crate::operation::{Access, Call, Operation, Protocol, Service, ServiceError};

static SERVICE: Service = Service {
    signing_name: "ssm",
    model: "ssm",
    protocol: Protocol::AwsJson { target_prefix: "AmazonSSM", version: "1.1" },
};

#[derive(Debug)]
struct Parameter {
    kind: String,
    value: String,
    version: u64,
}

/// The state of Parameter Store in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {
    parameters: BTreeMap<(AccountId, Region, String), Parameter>,
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
                    let names = input["Names"].as_array().cloned().unwrap_or_else(|| vec![input["Name"].clone()]);
                    let access = |name: &Value| {
                        let name = name.as_str().unwrap_or_default().trim_start_matches('/').to_owned();
                        Access::new(concat!("ssm:", $name), call.arn("ssm", &format!("parameter/{name}")))
                    };
                    Ok(names.iter().map(access).collect())
                },
                handle: $handle,
            }
        };
    }
    vec![
        row!("PutParameter", &["Name", "Type", "Value", "Description", "Overwrite"], put),
        row!("GetParameter", &["Name"], |world, call, input| {
            let found = describe(world, call, &input["Name"]).ok_or_else(missing)?;
            Ok(json!({"Parameter": found}))
        }),
        row!("GetParameters", &["Names"], |world, call, input| {
            let names = input["Names"].as_array().cloned().unwrap_or_default();
            let found: Vec<_> = names.iter().filter_map(|name| describe(world, call, name)).collect();
            let invalid: Vec<_> = names.iter().filter(|name| describe(world, call, name).is_none()).collect();
            Ok(json!({"Parameters": found, "InvalidParameters": invalid}))
        }),
        row!("DeleteParameter", &["Name"], |world, call, input| {
            world.ssm.parameters.remove(&key(call, &input["Name"])).map(|_| json!({})).ok_or_else(missing)
        }),
    ]
}

fn missing() -> ServiceError {
    ServiceError::new("ParameterNotFound", "")
}

/// Where a parameter is kept. A name may carry a version: `/name:3`.
fn key(call: &Call, name: &Value) -> (AccountId, Region, String) {
    let name = name.as_str().unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    (call.account.clone(), call.region.clone(), name.to_owned())
}

fn describe(world: &World, call: &Call, name: &Value) -> Option<Value> {
    let key = key(call, name);
    let parameter = world.ssm.parameters.get(&key)?;
    if let Some((_, version)) = name.as_str()?.split_once(':')
        && version != parameter.version.to_string()
    {
        return None;
    }
    Some(json!({"Name": key.2, "Type": parameter.kind, "Value": parameter.value, "Version": parameter.version}))
}

fn put(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let kind = input["Type"].as_str().unwrap_or("String").to_owned();
    if !["String", "StringList"].contains(&kind.as_str()) {
        return Err(ServiceError::not_simulated(format_args!("the SSM parameter type {kind}")));
    }
    let value = input["Value"].as_str().unwrap_or_default().to_owned();
    let parameters = &mut world.ssm.parameters;
    let former = parameters.get(&key(call, &input["Name"])).map(|parameter| parameter.version);
    if former.is_some() && input["Overwrite"] != json!(true) {
        return Err(ServiceError::new("ParameterAlreadyExists", "The parameter already exists."));
    }
    let version = former.unwrap_or(0) + 1;
    parameters.insert(key(call, &input["Name"]), Parameter { kind, value, version });
    Ok(json!({"Version": version, "Tier": "Standard"}))
}
