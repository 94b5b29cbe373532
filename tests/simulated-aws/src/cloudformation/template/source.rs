//! The text of a template as a tree whose nodes remember their line.
//!
//! Short forms (`!Ref x`) come out as the long ones (`{Ref: x}`). Plain scalars are booleans and numbers where that loses
//! nothing; digits with a leading zero, such as account ids, stay text.

use saphyr::{MarkedYaml, ScalarStyle, Tag, YamlData, YamlLoader};
use saphyr_parser::Parser;
use serde_json::{Number, Value};

use super::TemplateError;

/// A node of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The line it begins at, from 1.
    pub(crate) line: usize,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Null, a boolean, a number or text.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text.
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(crate) fn text(&self) -> Option<String> {
        match &self.kind {
            Kind::Scalar(Value::String(text)) => Some(text.clone()),
            Kind::Scalar(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
            _ => None,
        }
    }

    /// The text, or an error that says what should have been text.
    pub(crate) fn expect_text(&self, what: &str) -> Result<String, TemplateError> {
        self.text().ok_or_else(|| TemplateError::invalid(self.line, format_args!("{what} must be a string")))
    }

    pub(crate) fn expect_list(&self, what: &str) -> Result<&[Node], TemplateError> {
        match &self.kind {
            Kind::List(items) => Ok(items),
            _ => Err(TemplateError::invalid(self.line, format_args!("{what} must be a list"))),
        }
    }

    pub(crate) fn expect_map(&self, what: &str) -> Result<&[(String, Node)], TemplateError> {
        match &self.kind {
            Kind::Map(entries) => Ok(entries),
            _ => Err(TemplateError::invalid(self.line, format_args!("{what} must be an object"))),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The name and argument of an intrinsic function, if the node is one.
    pub(crate) fn intrinsic(&self) -> Option<(&str, &Node)> {
        match &self.kind {
            Kind::Map(entries) => match entries.as_slice() {
                [(name, argument)] if name == "Ref" || name == "Condition" || name.starts_with("Fn::") => {
                    Some((name, argument))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The plain value, where intrinsic functions are not evaluated.
    pub(crate) fn plain(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => items.iter().map(Node::plain).collect(),
            Kind::Map(entries) => {
                Value::Object(entries.iter().map(|(name, node)| (name.clone(), node.plain())).collect())
            }
        }
    }
}

/// Reads YAML or JSON.
pub(crate) fn read(text: &str) -> Result<Node, TemplateError> {
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    loader.early_parse(false);
    Parser::new_from_str(text).load(&mut loader, true).map_err(|error| {
        TemplateError::invalid(error.marker().line(), format_args!("the template is not valid YAML: {}", error.info()))
    })?;
    if let Some(error) = loader.error() {
        return Err(TemplateError::invalid(
            error.marker().line(),
            format_args!("the template is not valid YAML: {}", error.info()),
        ));
    }
    let documents = loader.into_documents();
    match documents.as_slice() {
        [document] => node(document),
        _ => Err(TemplateError::invalid(1, "a template is one YAML document")),
    }
}

fn node(yaml: &MarkedYaml<'_>) -> Result<Node, TemplateError> {
    let line = yaml.span.start.line();
    let kind = match &yaml.data {
        YamlData::Representation(text, style, tag) => {
            let value = scalar(text, *style);
            return Ok(match tag {
                Some(tag) => tagged(tag, Node { line, kind: Kind::Scalar(Value::from(text.as_ref())) }),
                None => Node { line, kind: Kind::Scalar(value) },
            });
        }
        YamlData::Sequence(items) => Kind::List(items.iter().map(node).collect::<Result<_, _>>()?),
        YamlData::Mapping(entries) => Kind::Map(
            entries
                .iter()
                .map(|(key, value)| match &key.data {
                    YamlData::Representation(name, _, None) => Ok((name.to_string(), node(value)?)),
                    _ => Err(TemplateError::invalid(key.span.start.line(), "a key must be plain text")),
                })
                .collect::<Result<_, _>>()?,
        ),
        YamlData::Tagged(tag, inner) => return Ok(tagged(tag, Node { line, ..node(inner)? })),
        YamlData::Value(_) | YamlData::Alias(_) | YamlData::BadValue => {
            return Err(TemplateError::invalid(line, "unreadable YAML"));
        }
    };
    Ok(Node { line, kind })
}

/// `!Name x` as `{Fn::Name: x}`.
fn tagged(tag: &Tag, argument: Node) -> Node {
    if tag.handle != "!" {
        return argument;
    }
    let line = argument.line;
    let (name, argument) = match (tag.suffix.as_str(), &argument.kind) {
        (name @ ("Ref" | "Condition"), _) => (name.to_owned(), argument),
        ("GetAtt", Kind::Scalar(Value::String(text))) => {
            let parts = text.splitn(2, '.').map(|part| Node { line, kind: Kind::Scalar(Value::from(part)) }).collect();
            ("Fn::GetAtt".to_owned(), Node { line, kind: Kind::List(parts) })
        }
        (name, _) => (format!("Fn::{name}"), argument),
    };
    Node { line, kind: Kind::Map(vec![(name, argument)]) }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::from(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0')) {
        return text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from);
    }
    let is_decimal = digits.split_once('.').is_some_and(|(whole, fraction)| {
        [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    });
    match text.parse::<f64>().ok().filter(|_| is_decimal).and_then(Number::from_f64) {
        Some(number) => Value::Number(number),
        None => Value::from(text),
    }
}
