use super::*;
use crate::SimulatedAws;

fn call(operation: &str, input: Value) -> Result<Value, ServiceError> {
    call_in(&SimulatedAws::new(1), "eu-west-1", operation, input)
}

fn call_in(aws: &SimulatedAws, region: &str, operation: &str, input: Value) -> Result<Value, ServiceError> {
    let account = AccountId::new("111111111111").unwrap();
    aws.world().add_account(&account);
    aws.call(&account, &Region::new(region).unwrap(), "monitoring", operation, input)
}

fn dashboard(widgets: Value) -> Value {
    json!({"DashboardName": "d", "DashboardBody": json!({"widgets": widgets}).to_string()})
}

#[test]
fn a_dashboard_is_the_same_in_every_region_until_it_is_deleted() {
    let aws = SimulatedAws::new(1);
    let metric = json!({"type": "metric", "x": 0, "y": 0, "width": 24, "height": 6, "properties": {
        "region": "eu-west-1",
        "metrics": [["N", "M"], ["N", "M", "D", "v", {"stat": "Sum"}], [{"expression": "SEARCH('x', 'Sum', 60)"}]],
    }});
    let put = call_in(&aws, "eu-west-1", "PutDashboard", dashboard(json!([metric]))).unwrap();
    assert_eq!(put["DashboardValidationMessages"], json!([]));
    let listed = call_in(&aws, "us-east-1", "ListDashboards", json!({})).unwrap();
    assert_eq!(listed["DashboardEntries"][0]["DashboardArn"], "arn:aws:cloudwatch::111111111111:dashboard/d");
    let shown = call_in(&aws, "us-east-1", "GetDashboard", json!({"DashboardName": "d"})).unwrap();
    assert!(shown["DashboardBody"].as_str().unwrap().contains("SEARCH"));

    let both = call_in(&aws, "us-east-1", "DeleteDashboards", json!({"DashboardNames": ["d", "e"]})).unwrap_err();
    assert_eq!((both.code.as_str(), both.status), ("ResourceNotFound", 404), "all or none");
    call_in(&aws, "us-east-1", "DeleteDashboards", json!({"DashboardNames": ["d"]})).unwrap();
    assert!(call_in(&aws, "eu-west-1", "GetDashboard", json!({"DashboardName": "d"})).is_err());
}

#[test]
fn a_dashboard_that_cannot_be_drawn_is_refused_with_where_it_is_wrong() {
    let text = json!({"type": "text", "properties": {"markdown": "x"}});
    call("PutDashboard", dashboard(json!([text]))).unwrap();
    for (input, part) in [
        (json!({"DashboardName": "a b", "DashboardBody": "{\"widgets\": []}"}), "DashboardName"),
        (json!({"DashboardName": "d", "DashboardBody": "{"}), "valid JSON"),
        (json!({"DashboardName": "d", "DashboardBody": "[]"}), "valid JSON"),
        (json!({"DashboardName": "d", "DashboardBody": "{}"}), "required property 'widgets'"),
        (dashboard(json!([{"type": "chart", "properties": {}}])), "/widgets/0/type"),
        (dashboard(json!([text, {"type": "text"}])), "/widgets/1"),
        (dashboard(json!([{"type": "text", "width": 25, "properties": {"markdown": "x"}}])), "/widgets/0/width"),
        (dashboard(json!([{"type": "metric", "properties": {"metrics": [["N", "M"]]}}])), "'region'"),
        (dashboard(json!([{"type": "metric", "properties": {"region": "r", "metrics": [["N"]]}}])), "metrics/0"),
        (
            dashboard(json!([{"type": "metric", "properties": {"region": "r", "metrics": [["N", "M", "D"]]}}])),
            "metrics/0",
        ),
        (dashboard(json!([{"type": "alarm", "properties": {}}])), "'alarms'"),
        (dashboard(json!([{"type": "log", "properties": {"region": "r"}}])), "'query'"),
    ] {
        let error = call("PutDashboard", input.clone()).unwrap_err();
        assert_eq!(error.code, "InvalidParameterInput", "{input}");
        assert!(error.message.contains(part), "{}", error.message);
    }
}

#[test]
fn an_alarm_that_could_never_go_off_is_refused() {
    let alarm = json!({
        "AlarmName": "a", "Namespace": "N", "MetricName": "M", "Statistic": "Sum", "Period": "3600",
        "EvaluationPeriods": "26", "DatapointsToAlarm": "1", "Threshold": "0", "TreatMissingData": "notBreaching",
        "ComparisonOperator": "GreaterThanThreshold", "AlarmActions": ["arn:aws:sns:eu-west-1:111111111111:t"],
    });
    call("PutMetricAlarm", alarm.clone()).unwrap();
    for (member, value) in [
        ("Namespace", json!("")),
        ("Statistic", json!("Median")),
        ("ComparisonOperator", json!("Greater")),
        ("TreatMissingData", json!("ok")),
        ("Period", json!("90")),
        ("Period", json!("60000")),
        ("EvaluationPeriods", json!("0")),
        ("DatapointsToAlarm", json!("27")),
        ("Threshold", json!("many")),
        ("AlarmActions", json!(["topic"])),
    ] {
        let mut wrong = alarm.clone();
        wrong[member] = value;
        let error = call("PutMetricAlarm", wrong).unwrap_err();
        assert_eq!(error.code, "ValidationError", "{member}");
    }
}
