use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(expression: &str) -> Result<Query, QueryError> {
    Query::parse(expression, InnerUnderscore::AnyCharacter)
}

fn item(kind: &str, id: &str, configuration: Value) -> Value {
    json!({
        "accountId": "222222222222", "awsRegion": "eu-west-1", "resourceType": kind, "resourceId": id,
        "arn": format!("arn:aws:x:::{id}"), "configurationItemStatus": "OK", "configuration": configuration,
        "tags": [{"key": "team", "value": "shop", "tag": "team=shop"}],
    })
}

fn items() -> Vec<Value> {
    vec![
        item(
            "AWS::ECS::TaskDefinition",
            "web:1",
            json!({"Status": "ACTIVE", "Family": "web", "ContainerDefinitions": [
            {"Name": "app", "Image": "reg/app:1", "Memory": 512}, {"Name": "proxy", "Image": "reg/proxy:7", "Memory": 64}]}),
        ),
        item(
            "AWS::ECS::TaskDefinition",
            "web:2",
            json!({"Status": "INACTIVE", "Family": "web", "ContainerDefinitions": [
            {"Name": "app", "Image": "reg/app:2", "Memory": 256}]}),
        ),
        item("AWS::ECS::TaskDefinition", "job:1", json!({"Status": "ACTIVE", "Family": "job"})),
        item("AWS::ECS::Service", "web", json!({"TaskDefinition": "web:1", "DesiredCount": 2})),
        item("AWS::Config::ConfigurationRecorder", "default", json!({"Recording": true})),
    ]
}

fn rows(expression: &str) -> Value {
    let items = items();
    Value::Array(parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}")).run(&items))
}

/// The ids of the items that a condition finds.
fn ids(condition: &str) -> Vec<String> {
    let rows = rows(&format!("SELECT resourceId WHERE {condition}"));
    rows.as_array().unwrap().iter().map(|row| row["resourceId"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn documented_forms_are_accepted() {
    for expression in [
        // From the developer guide and the schema's README, with properties of the types simulated here.
        "SELECT resourceId WHERE resourceType='AWS::EC2::Instance'",
        "SELECT resourceType, COUNT(*) WHERE resourceType = 'AWS::ECS::Service' GROUP BY resourceType",
        "SELECT * WHERE resourceType = 'AWS::EC2::SecurityGroup'",
        "SELECT COUNT(resourceId) WHERE resourceType='AWS::EC2::Instance' AND availabilityZone='us-east-1a' AND tags.key='Stage'",
        "SELECT resourceId WHERE resourceType='AWS::S3::Bucket' AND resourceName LIKE 'quicksilver%' AND tags.tag='CostCenter=12345'",
        "SELECT resourceId WHERE relationships.resourceId = 'sg-1' AND NOT awsRegion = 'eu-west-1'",
        "SELECT resourceId WHERE resourceType LIKE 'AWS::EC2::%'",
        "SELECT resourceId WHERE resourceType LIKE 'AWS::EC2::_'",
        "SELECT resourceId WHERE resourceName LIKE 'abc_'",
        "SELECT resourceId, configuration, tags, relationships, configuration.ContainerDefinitions",
        "select resourceId where accountId in ('111111111111', '222222222222') order by resourceId desc",
        "SELECT resourceId\nWHERE (awsRegion = 'a' OR awsRegion = 'b')\n  AND configuration.Recording = true",
        "SELECT accountId, awsRegion, COUNT(*), MAX(configuration.DesiredCount) GROUP BY accountId, awsRegion",
        "SELECT accountId, COUNT(*) GROUP BY accountId ORDER BY COUNT(*) DESC",
        "SELECT resourceId WHERE configuration.DesiredCount BETWEEN 1 AND 10 AND configuration.DesiredCount > 2",
        "SELECT resourceId WHERE configurationItemCaptureTime < '2026-03-02T00:00:00.000Z'",
        "SELECT resourceId WHERE NOT (resourceName = '' OR resourceName IN ('a'))",
    ] {
        assert_eq!(parse(expression).err(), None, "{expression}");
    }
}

#[test]
fn everything_else_is_refused() {
    for (expression, reason) in [
        ("", "0 characters"),
        ("SELECT", ""),
        ("SELECT resourceId FROM items", "undocumented"),
        ("SELECT DISTINCT resourceId", "undocumented"),
        ("SELECT ALL resourceId", "undocumented"),
        ("SELECT resourceId AS id", "AS is not supported"),
        ("SELECT resourceId id", "AS is not supported"),
        ("SELECT resourceId WHERE resourceName != 'a'", "not documented"),
        ("SELECT resourceId WHERE resourceName <> 'a'", "not documented"),
        ("SELECT resourceId WHERE configuration.DesiredCount >= 1", "not documented"),
        ("SELECT resourceId WHERE configuration.DesiredCount <= 1", "not documented"),
        ("SELECT resourceId WHERE configuration.DesiredCount + 1 = 2", "not a property"),
        ("SELECT resourceId WHERE configuration.DesiredCount = 'many'", "the property's type"),
        ("SELECT resourceId WHERE accountId = 222222222222", "the property's type"),
        ("SELECT resourceId WHERE configuration.Recording > true", "is a boolean"),
        ("SELECT resourceId WHERE resourceName = arn", "not a value"),
        ("SELECT resourceId WHERE resourceName = 'it''s'", "a quote inside a value"),
        ("SELECT resourceId WHERE resourceName = 'it\\'s'", "undocumented: \\"),
        ("SELECT resourceId WHERE resourceName = 'a\"b'", "undocumented: \""),
        ("SELECT resourceId WHERE resourceName = \"a\"", "undocumented: \""),
        ("SELECT resourceId WHERE resourceName = 'a", "closing quote"),
        ("SELECT resourceId WHERE resourceName = N'a'", "the property's type"),
        ("SELECT resourceId WHERE resourceName IS NULL", "NULL"),
        ("SELECT resourceId WHERE resourceName = NULL", "the property's type"),
        ("SELECT resourceId WHERE resourceName NOT IN ('a')", "not a documented condition"),
        ("SELECT resourceId WHERE resourceName NOT LIKE 'abc%'", "not a documented condition"),
        ("SELECT resourceId WHERE resourceName ILIKE 'abc%'", "not a documented condition"),
        ("SELECT resourceId WHERE resourceName LIKE 'abc%' ESCAPE 'x'", "not a documented condition"),
        ("SELECT resourceId WHERE resourceName LIKE 'ab%'", "three characters"),
        ("SELECT resourceId WHERE resourceName LIKE 'ab_'", "three characters"),
        ("SELECT resourceId WHERE resourceName LIKE '%abc'", "only suffix"),
        ("SELECT resourceId WHERE resourceName LIKE 'abc%def%'", "only suffix"),
        ("SELECT resourceId WHERE resourceName IN ()", ""),
        ("SELECT resourceId WHERE resourceName IN (SELECT resourceName)", "not a documented condition"),
        ("SELECT resourceId WHERE configuration = 'a'", "is a structure"),
        ("SELECT resourceId WHERE configuration.Colour = 'red'", "no resource type"),
        ("SELECT resourceId WHERE configuration.status = 'ACTIVE'", "no resource type"),
        ("SELECT colour", "no resource type"),
        ("SELECT resourceId ORDER BY arn", "not selected"),
        ("SELECT resourceId ORDER BY resourceId NULLS FIRST", "undocumented"),
        ("SELECT resourceId GROUP BY resourceId", "without an aggregate"),
        ("SELECT arn, COUNT(*) GROUP BY resourceId", "neither aggregated"),
        ("SELECT COUNT(*) GROUP BY accountId, awsRegion, resourceType, arn", "3 are allowed"),
        ("SELECT COUNT(*) GROUP BY accountId, awsRegion ORDER BY COUNT(*)", "1 are allowed"),
        ("SELECT accountId, COUNT(*) GROUP BY accountId HAVING COUNT(*) > 1", "undocumented"),
        ("SELECT COUNT(DISTINCT resourceId)", "undocumented"),
        ("SELECT COUNT(resourceId, arn)", "one argument"),
        ("SELECT SUM(*)", "one property"),
        ("SELECT SUM(resourceId)", "needs a number"),
        ("SELECT MAX(COUNT(*))", "not a property"),
        ("SELECT LOWER(resourceId)", "no function"),
        ("SELECT CASE WHEN accountId = 'a' THEN 1 ELSE 2 END", "not a property"),
        ("SELECT resourceId LIMIT 1", "undocumented"),
        ("SELECT resourceId UNION SELECT arn", "one SELECT"),
        ("SELECT resourceId; SELECT arn", "undocumented: ;"),
        ("SELECT resourceId -- a comment", "a comment"),
        ("SELECT resourceId /* a comment */", "undocumented: /"),
        ("SELECT resourceId\n", "line break"),
        ("DELETE FROM items", "a SELECT"),
        (
            "SELECT configuration.NetworkConfiguration.AwsvpcConfiguration.Subnets, configuration.NetworkConfiguration.AwsVpcConfiguration.Subnets",
            "mismatched identifiers",
        ),
    ] {
        let refusal = parse(expression).expect_err(expression).to_string();
        assert!(refusal.contains(reason), "{expression}: {refusal}");
    }
}

#[test]
fn the_expression_has_4096_characters_at_most() {
    let mut expression = "SELECT resourceId WHERE resourceName IN ('a".to_owned();
    while expression.len() < 4094 {
        expression.push_str("','a");
    }
    expression.truncate(4094);
    while expression.ends_with(['\'', ',']) {
        expression.pop();
    }
    let fits = format!("{expression}{}')", "a".repeat(4094 - expression.len()));
    assert_eq!(fits.chars().count(), 4096);
    assert_eq!(parse(&fits).err(), None);
    assert!(parse(&format!("{fits} ")).unwrap_err().to_string().contains("4097"));
}

#[test]
fn a_query_as_long_as_allowed_may_join_hundreds_of_conditions() {
    let many = vec!["arn = 'a'"; 250].join(" OR ");
    assert_eq!(parse(&format!("SELECT resourceId WHERE {many}")).err(), None);
}

#[test]
fn every_property_can_be_written_in_a_query() {
    for (name, kind) in schema::all() {
        let value = match kind {
            Kind::Text | Kind::Address => "'a'",
            Kind::Number => "1",
            Kind::Boolean => "false",
        };
        let expected =
            (kind == Kind::Address).then(|| QueryError::NotSimulated("conditions on IP addresses".to_owned()));
        assert_eq!(parse(&format!("SELECT {name}")).err(), None);
        assert_eq!(parse(&format!("SELECT {name} WHERE {name} = {value} ORDER BY {name}")).err(), expected, "{name}");
    }
}

#[test]
fn conditions_find_what_they_say() {
    for (condition, expected) in [
        ("resourceType = 'AWS::ECS::TaskDefinition' AND configuration.Status = 'ACTIVE'", &["web:1", "job:1"][..]),
        ("configuration.ContainerDefinitions.Image = 'reg/proxy:7'", &["web:1"]),
        ("configuration.ContainerDefinitions.Image LIKE 'reg/app%'", &["web:1", "web:2"]),
        ("configuration.ContainerDefinitions.Image LIKE 'reg/app:_'", &["web:1", "web:2"]),
        ("configuration.ContainerDefinitions.Image LIKE 'reg/app:1_'", &[]),
        ("configuration.ContainerDefinitions.Image LIKE 'reg_app:1%'", &["web:1"]),
        ("configuration.ContainerDefinitions.Image LIKE 'reg/app:1'", &["web:1"]),
        // Different elements meet the two conditions.
        (
            "configuration.ContainerDefinitions.Name = 'proxy' AND configuration.ContainerDefinitions.Image = 'reg/app:1'",
            &["web:1"],
        ),
        // None of the elements may be it.
        ("NOT configuration.ContainerDefinitions.Name = 'proxy' AND configuration.Family = 'web'", &["web:2"]),
        ("configuration.Family = 'web' AND NOT configuration.ContainerDefinitions.Memory > 300", &["web:2"]),
        ("configuration.ContainerDefinitions.Memory < 100", &["web:1"]),
        ("configuration.ContainerDefinitions.Memory BETWEEN 256 AND 300", &["web:2"]),
        ("configuration.DesiredCount = 2", &["web"]),
        ("configuration.Recording = true", &["default"]),
        ("configuration.Recording = 'false'", &[]),
        ("resourceId IN ('web', 'job:1')", &["job:1", "web"]),
        ("resourceId = 'web' OR resourceId = 'job:1' AND configuration.Status = 'INACTIVE'", &["web"]),
        ("(resourceId = 'web' OR resourceId = 'job:1') AND configuration.Status = 'INACTIVE'", &[]),
        ("tags.tag = 'team=shop' AND resourceId = 'web'", &["web"]),
        ("configuration.Status = 'active'", &[]),
        ("resourceId > 'web' AND resourceId < 'web:2'", &["web:1"]),
    ] {
        assert_eq!(ids(condition), expected, "{condition}");
    }
}

#[test]
fn an_underscore_inside_a_pattern_matches_anything_or_is_refused() {
    let expression = "SELECT resourceId WHERE resourceName LIKE 'shop_app%'";
    assert_eq!(Query::parse(expression, InnerUnderscore::AnyCharacter).err(), None);
    assert!(Query::parse(expression, InnerUnderscore::Refused).is_err());
}

#[test]
fn rows_keep_the_structure_and_leave_out_what_is_missing() {
    assert_eq!(
        rows(
            "SELECT resourceId, configuration.Status, configuration.ContainerDefinitions.Image WHERE resourceType = 'AWS::ECS::TaskDefinition'"
        ),
        json!([
            {"resourceId": "web:1", "configuration": {"Status": "ACTIVE", "ContainerDefinitions": [{"Image": "reg/app:1"}, {"Image": "reg/proxy:7"}]}},
            {"resourceId": "web:2", "configuration": {"Status": "INACTIVE", "ContainerDefinitions": [{"Image": "reg/app:2"}]}},
            {"resourceId": "job:1", "configuration": {"Status": "ACTIVE"}},
        ])
    );
    assert_eq!(
        rows("SELECT * WHERE resourceId = 'web'"),
        json!([{"accountId": "222222222222", "awsRegion": "eu-west-1", "resourceType": "AWS::ECS::Service",
                "resourceId": "web", "arn": "arn:aws:x:::web"}])
    );
    assert_eq!(rows("SELECT configuration.DesiredCount WHERE resourceId = 'job:1'"), json!([{}]));
}

#[test]
fn rows_are_ordered_and_those_without_a_value_come_last() {
    let ordered = rows("SELECT resourceId, configuration.Family ORDER BY configuration.Family DESC, resourceId");
    let order: Vec<_> = ordered.as_array().unwrap().iter().map(|row| row["resourceId"].as_str().unwrap()).collect();
    assert_eq!(order, ["web:1", "web:2", "job:1", "default", "web"]);
}

#[test]
fn aggregates_count_and_add_up() {
    assert_eq!(rows("SELECT COUNT(*) WHERE resourceId = 'nothing'"), json!([{"COUNT(*)": 0}]));
    assert_eq!(rows("SELECT COUNT(configuration.Family)"), json!([{"COUNT(configuration.Family)": 3}]));
    assert_eq!(
        rows(
            "SELECT SUM(configuration.ContainerDefinitions.Memory), AVG(configuration.DesiredCount), MIN(configuration.ContainerDefinitions.Memory), MAX(configuration.ContainerDefinitions.Memory)"
        ),
        json!([{
            "SUM(configuration.ContainerDefinitions.Memory)": 832.0, "AVG(configuration.DesiredCount)": 2.0,
            "MIN(configuration.ContainerDefinitions.Memory)": 64.0, "MAX(configuration.ContainerDefinitions.Memory)": 512.0,
        }])
    );
    assert_eq!(
        rows("SELECT configuration.Status, COUNT(*) GROUP BY configuration.Status ORDER BY COUNT(*) DESC"),
        json!([
            {"configuration": {"Status": "ACTIVE"}, "COUNT(*)": 2},
            {"configuration": {"Status": "INACTIVE"}, "COUNT(*)": 1},
        ])
    );
}

#[test]
fn the_resource_types_of_a_condition_are_known() {
    for (condition, expected) in [
        ("resourceType = 'A'", Some(vec!["A"])),
        ("resourceType IN ('A', 'B') AND arn = 'x'", Some(vec!["A", "B"])),
        ("(resourceType = 'A' AND arn = 'x') OR resourceType = 'B'", Some(vec!["A", "B"])),
        ("resourceType = 'A' AND resourceType = 'B'", Some(vec![])),
        ("resourceType = 'A' OR arn = 'x'", None),
        ("NOT resourceType = 'A'", None),
        ("resourceType LIKE 'AWS::ECS%'", None),
    ] {
        let query = parse(&format!("SELECT resourceId WHERE {condition}")).unwrap();
        let types = query.resource_types().map(|types| types.into_iter().collect::<Vec<_>>());
        assert_eq!(types, expected, "{condition}");
    }
}

#[test]
fn an_aggregate_order_has_one_page() {
    assert!(!parse("SELECT accountId, COUNT(*) GROUP BY accountId ORDER BY COUNT(*)").unwrap().has_pages());
    assert!(parse("SELECT accountId, COUNT(*) GROUP BY accountId ORDER BY accountId").unwrap().has_pages());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_sequence_of_words_makes_it_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "SELECT", "resourceId", "configuration.DesiredCount", "WHERE", "AND", "OR", "NOT", "(", ")", ",", "=", "<", "*",
            "'a'", "'abc%'", "1", "-1", "IN", "BETWEEN", "LIKE", "GROUP BY", "ORDER BY", "COUNT(*)", "COUNT", "true", "1e999",
            "INTERVAL", "CAST", "::", ".", "FROM", "WITH", "VALUES", "\u{e9}",
        ]), 0..24),
    ) {
        if let Ok(query) = parse(&format!("SELECT {}", words.join(" "))) {
            let items = items();
            query.run(&items);
        }
    }

    #[test]
    fn a_value_without_quotes_is_found_as_it_is(value in "[a-zA-Z0-9:/@._ %+=-]{1,60}") {
        let query = parse(&format!("SELECT resourceId WHERE resourceName = '{value}'")).unwrap();
        prop_assert_eq!(query.run([&json!({"resourceId": "1", "resourceName": value})]).len(), 1);
        prop_assert_eq!(query.run([&json!({"resourceId": "1", "resourceName": format!("{value}x")})]).len(), 0);
    }
}
