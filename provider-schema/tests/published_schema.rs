//! The committed schemas are those that the types make, and the second one keeps to what CloudFormation's meta-schema
//! for resource types demands.

use provider_schema::schema;
use serde_json::{Value, json};

#[test]
fn the_committed_schemas_are_up_to_date() {
    for (name, expected) in schema::files() {
        let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == expected, "{name} differs from the types; run: cargo xtask schema");
    }
}

/// Each subschema with its path.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (index, item) in schema.as_array().into_iter().flatten().enumerate() {
        walk(item, &format!("{path}[{index}]"), visit);
    }
    for (name, member) in schema.as_object().into_iter().flatten() {
        walk(member, &format!("{path}.{name}"), visit);
    }
}

#[test]
fn neither_schema_allows_null_or_unknown_properties() {
    for schema in [schema::properties(), schema::resource_type()] {
        walk(&schema, "", &mut |path, part| {
            assert!(part["type"] != "null" && !part["type"].is_array(), "{path}: {part}");
            if part["properties"].is_object() && !path.ends_with(".properties") {
                assert_eq!(part["additionalProperties"], json!(false), "{path}");
            }
        });
    }
}

#[test]
fn the_resource_type_uses_only_what_the_meta_schema_knows() {
    const KEYWORDS: [&str; 20] = [
        "$ref",
        "additionalProperties",
        "allOf",
        "default",
        "description",
        "enum",
        "insertionOrder",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "oneOf",
        "pattern",
        "properties",
        "required",
        "type",
        "uniqueItems",
    ];
    let schema = schema::resource_type();
    let definitions = schema["definitions"].as_object().expect("definitions");
    let properties = schema["properties"].as_object().expect("properties");
    assert_eq!(schema["typeName"], "Custom::EcrCleanup");
    for (name, part) in definitions.iter().chain(properties) {
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        for keyword in part.as_object().expect("a schema").keys() {
            assert!(KEYWORDS.contains(&keyword.as_str()), "{name}: {keyword}");
        }
        if part["enum"].is_array() {
            assert!(part["type"].is_string(), "{name}");
        }
    }
}

#[test]
fn attributes_are_read_only_and_a_change_of_the_name_replaces() {
    let schema = schema::resource_type();
    let read_only: Vec<_> = schema["readOnlyProperties"].as_array().expect("a list").iter().collect();
    let attributes = [
        "AggregatorName",
        "EventBusArn",
        "EventBusName",
        "FailedInstances",
        "RolloutPending",
        "ScheduleGroupName",
        "StackSetName",
    ];
    assert_eq!(read_only, attributes.map(|name| json!(format!("/properties/{name}"))).iter().collect::<Vec<_>>());
    assert_eq!(schema["createOnlyProperties"], json!(["/properties/Name"]));
}

#[test]
fn the_readme_explains_every_property_and_attribute() {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("## Properties\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("which ends");
    let schema = schema::resource_type();
    let read_only = schema["readOnlyProperties"].as_array().expect("a list");
    let mut rows: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    rows.sort_unstable();
    let properties = schema["properties"].as_object().expect("properties").keys().map(String::as_str);
    let (attributes, properties): (Vec<_>, Vec<_>) =
        properties.partition(|name| read_only.contains(&json!(format!("/properties/{name}"))));
    assert_eq!(rows, properties);
    for attribute in attributes {
        assert!(section.contains(&format!("`{attribute}`")), "{attribute}");
    }
}
