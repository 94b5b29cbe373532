//! Amazon CloudWatch: alarms and dashboards that can be made, listed and deleted. Alarms never go off, and dashboards show
//! nothing; but what is wrong with either is refused as CloudWatch refuses it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::World;
use crate::identity::{AccountId, Region};
use crate::operation::{Access, Call, Operation, Protocol, Service, ServiceError, iso};

static SERVICE: Service = Service {
    signing_name: "monitoring",
    model: "cloudwatch",
    protocol: Protocol::Query { namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/" },
};

/// The alarms of all accounts and regions, and the dashboards of all accounts, which have no region; as they were given.
#[derive(Debug, Default)]
pub(crate) struct State {
    alarms: BTreeMap<(AccountId, Region, String), Value>,
    dashboards: BTreeMap<(AccountId, String), Dashboard>,
}

#[derive(Debug)]
struct Dashboard {
    body: String,
    modified: Timestamp,
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
    macro_rules! dashboard_row {
        ($name:literal, $members:expr, $handle:expr) => {
            Operation {
                authorize: |_, call, input| {
                    let named = names(input, "DashboardNames");
                    let one = input["DashboardName"].as_str().unwrap_or("*");
                    let names = if named.is_empty() { vec![one] } else { named };
                    let access = |name| Access::new(concat!("cloudwatch:", $name), dashboard_arn(call, name));
                    Ok(names.into_iter().map(access).collect())
                },
                ..row!($name, $members, $handle)
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
                alarm_problem(input).map_or(Ok(()), |problem| Err(ServiceError::new("ValidationError", problem)))?;
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
            for name in names(input, "AlarmNames") {
                world.cloudwatch.alarms.remove(&(call.account.clone(), call.region.clone(), name.to_owned()));
            }
            Ok(json!({}))
        }),
        dashboard_row!("PutDashboard", &["DashboardName", "DashboardBody"], put_dashboard),
        dashboard_row!("GetDashboard", &["DashboardName"], |world, call, input| {
            let name = input["DashboardName"].as_str().unwrap_or_default();
            let found = world.cloudwatch.dashboards.get(&(call.account.clone(), name.to_owned()));
            let dashboard = found.ok_or_else(|| no_dashboard(name))?;
            Ok(json!({
                "DashboardArn": dashboard_arn(call, name),
                "DashboardBody": dashboard.body,
                "DashboardName": name,
            }))
        }),
        dashboard_row!("ListDashboards", &[], |world, call, _| {
            let here = world.cloudwatch.dashboards.iter().filter(|((account, _), _)| *account == call.account);
            let entry = |((_, name), dashboard): (&(AccountId, String), &Dashboard)| {
                json!({
                    "DashboardName": name,
                    "DashboardArn": dashboard_arn(call, name),
                    "LastModified": iso(dashboard.modified),
                    "Size": dashboard.body.len(),
                })
            };
            Ok(json!({"DashboardEntries": here.map(entry).collect::<Vec<_>>()}))
        }),
        dashboard_row!("DeleteDashboards", &["DashboardNames"], |world, call, input| {
            let key = |name: &str| (call.account.clone(), name.to_owned());
            let names = names(input, "DashboardNames");
            // All or none.
            if let Some(missing) = names.iter().find(|name| !world.cloudwatch.dashboards.contains_key(&key(name))) {
                return Err(no_dashboard(missing));
            }
            names.iter().for_each(|name| drop(world.cloudwatch.dashboards.remove(&key(name))));
            Ok(json!({}))
        }),
    ]
}

fn names<'a>(input: &'a Value, member: &str) -> Vec<&'a str> {
    input[member].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn dashboard_arn(call: &Call, name: &str) -> String {
    format!("arn:aws:cloudwatch::{}:dashboard/{name}", call.account)
}

fn no_dashboard(name: &str) -> ServiceError {
    ServiceError::new("ResourceNotFound", format!("Dashboard {name} does not exist")).with_status(404)
}

/// What is wrong with an alarm on a metric, by the constraints of `PutMetricAlarm`.
fn alarm_problem(alarm: &Value) -> Option<String> {
    let text = |member: &str| alarm[member].as_str().map(str::to_owned).or_else(|| number_text(&alarm[member]));
    let number = |member: &str| text(member)?.parse::<f64>().ok();
    for (member, values) in [
        (
            "ComparisonOperator",
            &[
                "GreaterThanOrEqualToThreshold",
                "GreaterThanThreshold",
                "LessThanThreshold",
                "LessThanOrEqualToThreshold",
            ][..],
        ),
        ("Statistic", &["SampleCount", "Average", "Sum", "Minimum", "Maximum"]),
        ("TreatMissingData", &["breaching", "notBreaching", "ignore", "missing"]),
    ] {
        let optional = member == "TreatMissingData" && alarm[member].is_null();
        if !optional && !text(member).is_some_and(|value| values.contains(&value.as_str())) {
            return Some(format!("{member} must be one of {}", values.join(", ")));
        }
    }
    for member in ["AlarmName", "Namespace", "MetricName"] {
        if text(member).is_none_or(|text| text.is_empty() || text.len() > 255) {
            return Some(format!("{member} must have 1 to 255 characters"));
        }
    }
    let (Some(period), Some(periods), Some(_)) = (number("Period"), number("EvaluationPeriods"), number("Threshold"))
    else {
        return Some("Period, EvaluationPeriods and Threshold must be numbers".to_owned());
    };
    if ![10.0, 20.0, 30.0].contains(&period) && (period < 60.0 || period % 60.0 != 0.0) {
        return Some("Period must be 10, 20, 30 or a multiple of 60".to_owned());
    }
    let longest = if period < 3600.0 { 86_400.0 } else { 604_800.0 };
    if periods < 1.0 || period * periods > longest {
        return Some(format!(
            "Metrics cannot be checked across more than {longest} seconds (EvaluationPeriods * Period)"
        ));
    }
    if number("DatapointsToAlarm").is_some_and(|datapoints| datapoints < 1.0 || datapoints > periods) {
        return Some("DatapointsToAlarm must be from 1 to EvaluationPeriods".to_owned());
    }
    let actions = names(alarm, "AlarmActions").into_iter().chain(names(alarm, "OKActions"));
    let not_arn = |action: &str| !action.starts_with("arn:") || action.split(':').count() < 6;
    actions.into_iter().find(|action| not_arn(action)).map(|action| format!("Invalid arn syntax: {action}"))
}

fn number_text(value: &Value) -> Option<String> {
    value.as_number().map(ToString::to_string)
}

fn put_dashboard(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let invalid = |message: String| ServiceError::new("InvalidParameterInput", message);
    let name = input["DashboardName"].as_str().unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > 255 || !name.bytes().all(allowed) {
        return Err(invalid(format!("The value {name} for field DashboardName contains invalid characters.")));
    }
    let body = input["DashboardBody"].as_str().unwrap_or_default();
    let Ok(parsed @ Value::Object(_)) = serde_json::from_str::<Value>(body) else {
        return Err(invalid("The field DashboardBody must be a valid JSON object".to_owned()));
    };
    let problems = dashboard_problems(&parsed);
    if !problems.is_empty() {
        let count = problems.len();
        let text = problems.iter().map(|(path, message)| json!({"dataPath": path, "message": message}).to_string());
        let text = text.collect::<Vec<_>>().join(", ");
        return Err(invalid(format!("The dashboard body is invalid, there are {count} validation errors: [{text}]")));
    }
    let dashboard = Dashboard { body: body.to_owned(), modified: world.now() };
    world.cloudwatch.dashboards.insert((call.account.clone(), name.to_owned()), dashboard);
    Ok(json!({"DashboardValidationMessages": []}))
}

/// What is wrong with the body of a dashboard ("Dashboard Body Structure and Syntax"), each with where it is.
fn dashboard_problems(body: &Value) -> Vec<(String, String)> {
    let Some(widgets) = body["widgets"].as_array() else {
        return vec![(String::new(), "should have required property 'widgets'".to_owned())];
    };
    let mut problems = Vec::new();
    if widgets.len() > 500 {
        problems.push(("/widgets".to_owned(), "should NOT have more than 500 items".to_owned()));
    }
    for (index, widget) in widgets.iter().enumerate() {
        let mut problem = |path: &str, message: &str| {
            problems.push((format!("/widgets/{index}{path}"), message.to_owned()));
        };
        for (member, least, most) in [("x", 0, 23), ("y", 0, u64::MAX), ("width", 1, 24), ("height", 1, 1000)] {
            let value = &widget[member];
            if !value.is_null() && !value.as_u64().is_some_and(|value| (least..=most).contains(&value)) {
                problem(&format!("/{member}"), "should be an integer within its range");
            }
        }
        let properties = &widget["properties"];
        let needed: &[&str] = match widget["type"].as_str() {
            Some("text") => &["markdown"],
            Some("metric") => {
                let annotated = properties["annotations"]["alarms"].is_array();
                if annotated { &["region"] } else { &["metrics", "region"] }
            }
            Some("log") => &["query", "region"],
            Some("alarm") => &["alarms"],
            Some("explorer" | "custom") => &[],
            _ => {
                problem("/type", "should be equal to one of the allowed values");
                continue;
            }
        };
        if !properties.is_object() {
            problem("", "should have required property 'properties'");
            continue;
        }
        for member in needed.iter().filter(|member| properties[**member].is_null()) {
            problem("/properties", &format!("should have required property '{member}'"));
        }
        let metrics = properties["metrics"].as_array().into_iter().flatten();
        for (number, metric) in metrics.enumerate().filter(|(_, metric)| !is_metric(metric)) {
            problem(&format!("/properties/metrics/{number}"), &format!("{metric} is no metric and no expression"));
        }
    }
    problems
}

/// `[namespace, name, dimension, value, …, {options}]`, each text, or `[{expression}]`.
fn is_metric(metric: &Value) -> bool {
    let Some(parts) = metric.as_array() else { return false };
    let (options, texts): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part.is_object());
    if parts.last().is_some_and(Value::is_object) != (options.len() == 1) || options.len() > 1 {
        return false;
    }
    match texts.len() {
        0 => options.first().is_some_and(|options| options["expression"].is_string()),
        count => count >= 2 && count % 2 == 0 && texts.iter().all(|text| text.is_string()),
    }
}

#[cfg(test)]
mod tests;
