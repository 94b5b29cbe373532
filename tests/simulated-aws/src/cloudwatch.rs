//! Amazon CloudWatch: alarms that can be made, listed and deleted; they never go off.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::identity::{AccountId, Region};
use crate::operation::{Access, Operation, Protocol, Service};

static SERVICE: Service = Service {
    signing_name: "monitoring",
    model: "cloudwatch",
    protocol: Protocol::Query { namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/" },
};

/// The alarms of all accounts and regions, as they were given.
#[derive(Debug, Default)]
pub(crate) struct State {
    alarms: BTreeMap<(AccountId, Region, String), Value>,
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
                    let name = input["AlarmName"].as_str().unwrap_or("*");
                    let arn = call.arn("cloudwatch", &format!("alarm:{name}"));
                    Ok(vec![Access::new(concat!("cloudwatch:", $name), arn)])
                },
                handle: $handle,
            }
        };
    }
    vec![
        row!(
            "PutMetricAlarm",
            &[
                "AlarmName",
                "AlarmDescription",
                "Namespace",
                "MetricName",
                "Dimensions",
                "Statistic",
                "Period",
                "EvaluationPeriods",
                "DatapointsToAlarm",
                "Threshold",
                "ComparisonOperator",
                "TreatMissingData",
                "AlarmActions",
                "OKActions",
                "Unit"
            ],
            |world, call, input| {
                let name = input["AlarmName"].as_str().unwrap_or_default().to_owned();
                world.cloudwatch.alarms.insert((call.account.clone(), call.region.clone(), name), input.clone());
                Ok(json!({}))
            }
        ),
        row!("DescribeAlarms", &[], |world, call, _| {
            let here = world.cloudwatch.alarms.iter().filter(|(key, _)| key.0 == call.account && key.1 == call.region);
            Ok(json!({"MetricAlarms": here.map(|(_, alarm)| alarm).collect::<Vec<_>>()}))
        }),
        row!("DeleteAlarms", &["AlarmNames"], |world, call, input| {
            for name in input["AlarmNames"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                world.cloudwatch.alarms.remove(&(call.account.clone(), call.region.clone(), name.to_owned()));
            }
            Ok(json!({}))
        }),
    ]
}
