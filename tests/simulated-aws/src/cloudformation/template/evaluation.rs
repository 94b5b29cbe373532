//! Intrinsic functions and dynamic references.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::source::{Kind, Node};
use super::{Template, TemplateError};

/// The functions that are understood, beside those that `collect` takes apart itself.
pub(super) const FUNCTIONS: [&str; 13] = [
    "Fn::And",
    "Fn::Base64",
    "Fn::Equals",
    "Fn::FindInMap",
    "Fn::GetAtt",
    "Fn::If",
    "Fn::ImportValue",
    "Fn::Join",
    "Fn::Not",
    "Fn::Or",
    "Fn::Select",
    "Fn::Split",
    "Fn::Sub",
];

/// What an evaluation needs to know beyond the template.
pub(crate) trait Surroundings {
    /// A pseudo parameter; `AWS::NoValue` is not asked for.
    fn pseudo_parameter(&self, name: &str) -> Option<Value>;
    /// `Ref` of a resource: none if it does not exist (its condition is false).
    fn physical_id(&self, resource: &str) -> Option<String>;
    /// `Fn::GetAtt`.
    fn attribute(&self, resource: &str, attribute: &str) -> Result<Value, String>;
    /// `Fn::ImportValue`.
    fn import(&self, export: &str) -> Result<String, String>;
    /// `{{resolve:ssm:NAME}}` or `{{resolve:ssm:NAME:VERSION}}`.
    fn ssm(&self, name: &str, version: Option<&str>) -> Result<String, String>;
}

/// An evaluation of one template with the values of its parameters.
pub(crate) struct Evaluation<'a> {
    template: &'a Template,
    parameters: &'a BTreeMap<String, Value>,
    surroundings: &'a dyn Surroundings,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(
        template: &'a Template,
        parameters: &'a BTreeMap<String, Value>,
        surroundings: &'a dyn Surroundings,
    ) -> Self {
        Self { template, parameters, surroundings }
    }

    /// Whether a condition holds; no condition always does.
    pub(crate) fn holds(&self, condition: Option<&str>) -> Result<bool, TemplateError> {
        let Some(name) = condition else { return Ok(true) };
        let node = self
            .template
            .conditions
            .get(name)
            .ok_or_else(|| TemplateError::unplaced(format_args!("Unresolved condition {name}")))?;
        self.condition(node, 0)
    }

    fn condition(&self, node: &Node, depth: usize) -> Result<bool, TemplateError> {
        if depth > 50 {
            return Err(TemplateError::invalid(node.line, "conditions refer to each other in a circle"));
        }
        let line = node.line;
        let all = |argument: &Node, what: &str| -> Result<Vec<bool>, TemplateError> {
            argument.expect_list(what)?.iter().map(|item| self.condition(item, depth + 1)).collect()
        };
        match node.intrinsic() {
            Some(("Condition", name)) => {
                let name = name.expect_text("Condition")?;
                let node = self
                    .template
                    .conditions
                    .get(&name)
                    .ok_or_else(|| TemplateError::invalid(line, format_args!("Unresolved condition {name}")))?;
                self.condition(node, depth + 1)
            }
            Some(("Fn::Equals", argument)) => match argument.expect_list("Fn::Equals")? {
                [left, right] => Ok(as_text(self.value(left)?) == as_text(self.value(right)?)),
                _ => Err(TemplateError::invalid(line, "Fn::Equals takes two values")),
            },
            Some(("Fn::And", argument)) => Ok(all(argument, "Fn::And")?.into_iter().all(|holds| holds)),
            Some(("Fn::Or", argument)) => Ok(all(argument, "Fn::Or")?.into_iter().any(|holds| holds)),
            Some(("Fn::Not", argument)) => match all(argument, "Fn::Not")?.as_slice() {
                [holds] => Ok(!holds),
                _ => Err(TemplateError::invalid(line, "Fn::Not takes one condition")),
            },
            _ => Err(TemplateError::invalid(line, "a condition is Fn::Equals, Fn::And, Fn::Or, Fn::Not or Condition")),
        }
    }

    /// The value of a node; `None` is `AWS::NoValue`.
    pub(crate) fn value(&self, node: &Node) -> Result<Option<Value>, TemplateError> {
        let line = node.line;
        match node.intrinsic() {
            Some(("Condition", argument)) if argument.text().is_none() => {}
            Some((name, argument)) => return self.function(name, argument, line),
            None => {}
        }
        Ok(Some(match &node.kind {
            Kind::Scalar(Value::String(text)) => Value::from(self.dynamic(text, line)?),
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.extend(self.value(item)?);
                }
                Value::Array(values)
            }
            Kind::Map(entries) => {
                let mut object = Map::new();
                for (name, entry) in entries {
                    if let Some(value) = self.value(entry)? {
                        object.insert(name.clone(), value);
                    }
                }
                Value::Object(object)
            }
        }))
    }

    /// The value of a node that must be text.
    pub(crate) fn text(&self, node: &Node, what: &str) -> Result<String, TemplateError> {
        self.value(node)?
            .and_then(|value| scalar_text(&value))
            .ok_or_else(|| TemplateError::invalid(node.line, format_args!("{what} must be a string")))
    }

    fn function(&self, name: &str, argument: &Node, line: usize) -> Result<Option<Value>, TemplateError> {
        let invalid = |what: &str| TemplateError::invalid(line, what);
        let value = match name {
            "Ref" => return self.reference(&argument.expect_text("Ref")?, line),
            "Fn::GetAtt" => {
                let (resource, attribute_node) = attribute(argument)?;
                let attribute = self.text(&attribute_node, "an attribute's name")?;
                self.get_attribute(&resource, &attribute, line)?
            }
            "Fn::Sub" => Value::from(self.substitute(argument)?),
            "Fn::Join" => {
                let [separator, items] = argument.expect_list("Fn::Join")? else {
                    return Err(invalid("Fn::Join takes a delimiter and a list"));
                };
                let separator = separator.expect_text("the delimiter of Fn::Join")?;
                Value::from(self.texts(items, "Fn::Join")?.join(&separator))
            }
            "Fn::Split" => {
                let [separator, text] = argument.expect_list("Fn::Split")? else {
                    return Err(invalid("Fn::Split takes a delimiter and a string"));
                };
                let separator = separator.expect_text("the delimiter of Fn::Split")?;
                let text = self.text(text, "the second argument of Fn::Split")?;
                text.split(&separator).collect::<Vec<_>>().into()
            }
            "Fn::Select" => {
                let [index, items] = argument.expect_list("Fn::Select")? else {
                    return Err(invalid("Fn::Select takes an index and a list"));
                };
                let index: usize = self
                    .text(index, "the index of Fn::Select")?
                    .parse()
                    .map_err(|_| invalid("the index of Fn::Select must be a number"))?;
                match self.value(items)? {
                    Some(Value::Array(items)) => items
                        .get(index)
                        .cloned()
                        .ok_or_else(|| invalid("Fn::Select cannot select nonexistent value at index"))?,
                    _ => return Err(invalid("Fn::Select selects from a list")),
                }
            }
            "Fn::If" => {
                let [condition, yes, no] = argument.expect_list("Fn::If")? else {
                    return Err(invalid("Fn::If takes a condition and two values"));
                };
                let holds = self.holds(Some(&condition.expect_text("the condition of Fn::If")?))?;
                return self.value(if holds { yes } else { no });
            }
            "Fn::FindInMap" => {
                let [map, top, second] = argument.expect_list("Fn::FindInMap")? else {
                    return Err(invalid("Fn::FindInMap takes a map and two keys"));
                };
                let map = self.text(map, "the map of Fn::FindInMap")?;
                let top = self.text(top, "a key of Fn::FindInMap")?;
                let second = self.text(second, "a key of Fn::FindInMap")?;
                let found = self.template.mappings.get(&map).and_then(|map| map.get(&top)?.get(&second));
                found.cloned().ok_or_else(|| invalid(&format!("Unable to get mapping for {map}::{top}::{second}")))?
            }
            "Fn::ImportValue" => {
                let export = self.text(argument, "the name in Fn::ImportValue")?;
                Value::from(self.surroundings.import(&export).map_err(|reason| invalid(&reason))?)
            }
            "Fn::Base64" => Value::from(STANDARD.encode(self.text(argument, "the argument of Fn::Base64")?)),
            "Fn::Equals" | "Fn::And" | "Fn::Or" | "Fn::Not" | "Condition" => {
                return Err(invalid(&format!("{name} stands only in Conditions")));
            }
            other => return Err(TemplateError::not_simulated(line, format_args!("the intrinsic function {other}"))),
        };
        Ok(Some(value))
    }

    fn reference(&self, name: &str, line: usize) -> Result<Option<Value>, TemplateError> {
        if name == "AWS::NoValue" {
            return Ok(None);
        }
        if let Some(value) = self.surroundings.pseudo_parameter(name).or_else(|| self.parameters.get(name).cloned()) {
            return Ok(Some(value));
        }
        match self.surroundings.physical_id(name) {
            Some(id) => Ok(Some(Value::from(id))),
            None => Err(super::unresolved(line, name, "Resources")),
        }
    }

    fn get_attribute(&self, resource: &str, attribute: &str, line: usize) -> Result<Value, TemplateError> {
        self.surroundings.attribute(resource, attribute).map_err(|reason| TemplateError::invalid(line, reason))
    }

    fn substitute(&self, argument: &Node) -> Result<String, TemplateError> {
        let (text, own) = substitution(argument)?;
        let line = argument.line;
        let mut out = String::new();
        for piece in pieces(&text, line)? {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Variable(name) => {
                    let value = match (own.and_then(|own| own.get(name)), name.split_once('.')) {
                        (Some(node), _) => self.value(node)?,
                        (None, Some((resource, attribute))) => Some(self.get_attribute(resource, attribute, line)?),
                        (None, None) => self.reference(name, line)?,
                    };
                    let value = value.as_ref().and_then(scalar_text).ok_or_else(|| {
                        TemplateError::invalid(line, format_args!("${{{name}}} in Fn::Sub must be a string"))
                    })?;
                    out.push_str(&value);
                }
            }
        }
        self.dynamic(&out, line)
    }

    fn texts(&self, node: &Node, what: &str) -> Result<Vec<String>, TemplateError> {
        match self.value(node)? {
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| {
                    scalar_text(item)
                        .ok_or_else(|| TemplateError::invalid(node.line, format_args!("{what} takes strings")))
                })
                .collect(),
            _ => Err(TemplateError::invalid(node.line, format_args!("{what} takes a list"))),
        }
    }

    /// Replaces dynamic references.
    fn dynamic(&self, text: &str, line: usize) -> Result<String, TemplateError> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{resolve:") {
            let (reference, after) = after
                .split_once("}}")
                .ok_or_else(|| TemplateError::invalid(line, "a dynamic reference without its end"))?;
            out.push_str(before);
            let mut parts = reference.split(':');
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some("ssm"), Some(name), version, None) => {
                    out.push_str(&self.surroundings.ssm(name, version).map_err(|e| TemplateError::invalid(line, e))?)
                }
                _ => {
                    return Err(TemplateError::not_simulated(
                        line,
                        format_args!("the dynamic reference {{{{resolve:{reference}}}}}"),
                    ));
                }
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The text of a scalar value, as CloudFormation turns it into a string.
pub(crate) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

fn as_text(value: Option<Value>) -> Value {
    match value {
        Some(value) => scalar_text(&value).map_or(value, Value::from),
        None => Value::Null,
    }
}

/// The resource and the attribute's node of a `Fn::GetAtt`.
pub(super) fn attribute(argument: &Node) -> Result<(String, Node), TemplateError> {
    let invalid = || TemplateError::invalid(argument.line, "Fn::GetAtt takes a resource and an attribute");
    match &argument.kind {
        Kind::List(parts) => match parts.as_slice() {
            [resource, attribute] => Ok((resource.expect_text("the resource of Fn::GetAtt")?, attribute.clone())),
            _ => Err(invalid()),
        },
        _ => {
            let text = argument.text().ok_or_else(invalid)?;
            let (resource, attribute) = text.split_once('.').ok_or_else(invalid)?;
            let node = Node { line: argument.line, kind: Kind::Scalar(Value::from(attribute)) };
            Ok((resource.to_owned(), node))
        }
    }
}

/// The text and the own variables of a `Fn::Sub`.
pub(super) fn substitution(argument: &Node) -> Result<(String, Option<&Node>), TemplateError> {
    match &argument.kind {
        Kind::List(parts) => match parts.as_slice() {
            [text, variables] => {
                variables.expect_map("the variables of Fn::Sub")?;
                Ok((text.expect_text("the text of Fn::Sub")?, Some(variables)))
            }
            _ => Err(TemplateError::invalid(argument.line, "Fn::Sub takes a text, or a list of a text and variables")),
        },
        _ => Ok((argument.expect_text("the text of Fn::Sub")?, None)),
    }
}

enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// Takes the text of a `Fn::Sub` apart. `${!x}` stands for `${x}` as text.
fn pieces(text: &str, line: usize) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        pieces.push(Piece::Text(&rest[..start]));
        let after = &rest[start + 2..];
        let end = after.find('}').ok_or_else(|| TemplateError::invalid(line, "Fn::Sub: ${ without }"))?;
        match after[..end].strip_prefix('!') {
            Some(literal) => pieces.extend([Piece::Text("${"), Piece::Text(literal), Piece::Text("}")]),
            None => pieces.push(Piece::Variable(after[..end].trim())),
        }
        rest = &after[end + 1..];
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// The variables in the text of a `Fn::Sub`.
pub(super) fn variables(text: &str, line: usize) -> Result<Vec<String>, TemplateError> {
    Ok(pieces(text, line)?
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Variable(name) => Some(name.to_owned()),
            Piece::Text(_) => None,
        })
        .collect())
}
