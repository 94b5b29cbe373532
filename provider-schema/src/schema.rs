//! The two published JSON Schemas of the resource, generated from its types and committed beside this crate:
//! `ecr-cleanup.schema.json`, for editors and other validators, and `custom-ecr-cleanup.json`, the form that
//! CloudFormation's meta-schema for resource types accepts, for `cfn-lint --registry-schemas`.
//!
//! Each small transform shapes what schemars makes for one demand of a stricter reader.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::{Attributes, Properties};

/// The type of the resource in templates.
pub const TYPE_NAME: &str = "Custom::EcrCleanup";

/// The committed files: their names beside this crate's `Cargo.toml`, and what they must contain.
pub fn files() -> [(&'static str, String); 2] {
    [("ecr-cleanup.schema.json", pretty(&properties())), ("custom-ecr-cleanup.json", pretty(&resource_type()))]
}

fn pretty(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// The JSON Schema (2020-12) of the properties as a template writes them.
pub fn properties() -> Value {
    generate::<Properties>(SchemaSettings::draft2020_12())
}

/// The resource type's schema in the form of CloudFormation's meta-schema for resource types.
///
/// Two things there are deliberate. `typeName` has two parts, because that is what templates say, although the
/// meta-schema wants three. And `Name`, which is both a property and an attribute, is not read-only: a read-only
/// property could not be given.
pub fn resource_type() -> Value {
    let settings = SchemaSettings::draft07();
    let unordered = RecursiveTransform(declare_unordered);
    let mut schema = generate::<Properties>(settings.clone().with_transform(unordered));
    let attributes = generate::<Attributes>(settings);
    let mut read_only = Vec::new();
    if let (Some(root), Some(attributes)) = (schema.as_object_mut(), attributes["properties"].as_object()) {
        root.remove("title");
        root.remove("type");
        root.insert("typeName".to_owned(), json!(TYPE_NAME));
        let mut properties = root.remove("properties").unwrap_or_else(|| json!({}));
        for (name, attribute) in attributes.iter().filter(|(name, _)| *name != "Name") {
            properties[name] = attribute.clone();
            read_only.push(format!("/properties/{name}"));
        }
        root.insert("properties".to_owned(), properties);
        root.insert("readOnlyProperties".to_owned(), json!(read_only));
        root.insert("createOnlyProperties".to_owned(), json!(["/properties/Name"]));
        root.insert("primaryIdentifier".to_owned(), json!(["/properties/Name"]));
        root.insert("tagging".to_owned(), json!({ "taggable": false }));
    }
    schema
}

fn generate<T: JsonSchema>(settings: SchemaSettings) -> Value {
    settings
        .for_deserialize()
        .with_transform(Absent)
        .with_transform(RecursiveTransform(unwrap_description))
        .with_transform(RecursiveTransform(merge_alternatives))
        .with_transform(RecursiveTransform(flatten_enumeration))
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// An optional property is absent, never null: CloudFormation leaves out what `AWS::NoValue` stands for.
#[derive(Clone, Debug)]
struct Absent;

impl Transform for Absent {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
            choices.retain(|choice| choice["type"] != "null");
            if let [Value::Object(only)] = choices.as_slice() {
                let only = only.clone();
                object.remove("anyOf");
                object.extend(only);
            }
        }
        if object.get("default") == Some(&Value::Null) {
            object.remove("default");
        }
    }
}

/// CloudFormation wants to be told that the order of a list of distinct values has no meaning.
fn declare_unordered(schema: &mut Schema) {
    if schema.get("uniqueItems") == Some(&json!(true)) {
        schema.insert("insertionOrder".to_owned(), json!(false));
    }
}

/// A description is one line for each paragraph, however the source wraps it.
fn unwrap_description(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        let paragraphs: Vec<_> = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
        *description = paragraphs.join("\n\n");
    }
}

/// An object with one of several further properties lists all of them among its own; the alternatives keep only what
/// they require.
fn merge_alternatives(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    let Some(Value::Array(alternatives)) = object.get_mut("oneOf") else { return };
    if !alternatives.iter().all(|alternative| alternative["properties"].is_object()) {
        return;
    }
    let mut further = Map::new();
    for alternative in alternatives {
        if let Value::Object(properties) = alternative["properties"].take() {
            further.extend(properties);
        }
        *alternative = json!({ "required": alternative["required"] });
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.extend(further);
    }
    object.remove("unevaluatedProperties");
    object.insert("additionalProperties".to_owned(), json!(false));
}

/// An enumeration of documented constants is one typed `enum`.
fn flatten_enumeration(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    let Some(Value::Array(choices)) = object.get("oneOf") else { return };
    let constants: Vec<Value> = choices.iter().filter_map(|choice| choice.get("const").cloned()).collect();
    if constants.len() == choices.len() {
        object.remove("oneOf");
        object.insert("type".to_owned(), json!("string"));
        object.insert("enum".to_owned(), json!(constants));
    }
}
