//! Parameters of a template: their declarations, and the values that a stack gives them.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::Value;

use super::TemplateError;
use super::source::{Kind, Node};

/// A parameter as it is declared.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    line: usize,
    kind: ParameterKind,
    pub(crate) default: Option<String>,
    pub(crate) no_echo: bool,
    allowed_values: Vec<String>,
    allowed_pattern: Option<Regex>,
    length: (Option<usize>, Option<usize>),
    value: (Option<f64>, Option<f64>),
    constraint_description: Option<String>,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParameterKind {
    Text,
    Number,
    NumberList,
    TextList,
    /// The name of an SSM parameter whose value is meant, as text or as a list.
    Ssm {
        list: bool,
    },
}

impl Parameter {
    pub(super) fn read(name: &str, node: &Node) -> Result<Self, TemplateError> {
        let attributes = node.expect_map(&format!("the parameter {name}"))?;
        let invalid = |line, what: &str| TemplateError::invalid(line, format_args!("parameter {name}: {what}"));
        let mut parameter = Self {
            name: name.to_owned(),
            line: node.line,
            kind: ParameterKind::Text,
            default: None,
            no_echo: false,
            allowed_values: Vec::new(),
            allowed_pattern: None,
            length: (None, None),
            value: (None, None),
            constraint_description: None,
        };
        if node.get("Type").is_none() {
            return Err(invalid(node.line, "every parameter must have a Type"));
        }
        for (attribute, value) in attributes {
            let text = || value.expect_text(&format!("{attribute} of the parameter {name}"));
            let number =
                || text()?.parse::<f64>().map_err(|_| invalid(value.line, &format!("{attribute} must be a number")));
            let count =
                || text()?.parse::<usize>().map_err(|_| invalid(value.line, &format!("{attribute} must be a number")));
            match attribute.as_str() {
                "Type" => {
                    parameter.kind = match text()?.as_str() {
                        "String" => ParameterKind::Text,
                        "Number" => ParameterKind::Number,
                        "List<Number>" => ParameterKind::NumberList,
                        "CommaDelimitedList" => ParameterKind::TextList,
                        "AWS::SSM::Parameter::Value<String>" => ParameterKind::Ssm { list: false },
                        "AWS::SSM::Parameter::Value<List<String>>"
                        | "AWS::SSM::Parameter::Value<CommaDelimitedList>" => ParameterKind::Ssm { list: true },
                        other => {
                            return Err(TemplateError::not_simulated(
                                value.line,
                                format_args!("the parameter type {other}"),
                            ));
                        }
                    }
                }
                "Default" => {
                    let default = match &value.kind {
                        Kind::Scalar(Value::Null) => Some(String::new()),
                        _ => value.text(),
                    };
                    parameter.default = Some(default.ok_or_else(|| invalid(value.line, "Default must be a string"))?);
                }
                "NoEcho" => parameter.no_echo = text()? == "true",
                "Description" => {
                    text()?;
                }
                "ConstraintDescription" => parameter.constraint_description = Some(text()?),
                "AllowedValues" => {
                    parameter.allowed_values = value
                        .expect_list("AllowedValues")?
                        .iter()
                        .map(|item| item.expect_text("an allowed value"))
                        .collect::<Result<_, _>>()?;
                }
                "AllowedPattern" => {
                    // The whole value must match.
                    let pattern = Regex::new(&format!("^(?:{})$", text()?))
                        .map_err(|error| invalid(value.line, &format!("AllowedPattern: {error}")))?;
                    parameter.allowed_pattern = Some(pattern);
                }
                "MinLength" => parameter.length.0 = Some(count()?),
                "MaxLength" => parameter.length.1 = Some(count()?),
                "MinValue" => parameter.value.0 = Some(number()?),
                "MaxValue" => parameter.value.1 = Some(number()?),
                other => return Err(invalid(value.line, &format!("invalid attribute {other}"))),
            }
        }
        Ok(parameter)
    }

    /// The value of the parameter from what the stack was given, or from the default. `ssm` looks up SSM parameters.
    pub(crate) fn resolve(
        &self,
        given: Option<&str>,
        ssm: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Value, TemplateError> {
        let Some(raw) = given.or(self.default.as_deref()) else {
            return Err(TemplateError::unplaced(format_args!("Parameters: [{}] must have values", self.name)));
        };
        let list = |raw: &str| raw.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>();
        match self.kind {
            ParameterKind::Text => self.check(raw).map(|()| Value::from(raw)),
            ParameterKind::Number => {
                self.check_number(raw)?;
                self.check(raw).map(|()| Value::from(raw.trim()))
            }
            ParameterKind::TextList | ParameterKind::NumberList => {
                let items = if raw.is_empty() { Vec::new() } else { list(raw) };
                for item in &items {
                    if self.kind == ParameterKind::NumberList {
                        self.check_number(item)?;
                    }
                    self.check(item)?;
                }
                Ok(Value::from(items))
            }
            ParameterKind::Ssm { list: as_list } => {
                self.check(raw)?;
                let value = ssm(raw).map_err(|reason| {
                    TemplateError::unplaced(format_args!(
                        "Unable to fetch parameters [{raw}] from parameter store for this account. {reason}"
                    ))
                })?;
                Ok(if as_list { Value::from(list(&value)) } else { Value::from(value) })
            }
        }
    }

    fn check_number(&self, raw: &str) -> Result<(), TemplateError> {
        let value: f64 = raw.trim().parse().map_err(|_| {
            TemplateError::unplaced(format_args!("Parameter '{}' must be a number, not {raw:?}", self.name))
        })?;
        let (least, most) = self.value;
        if least.is_some_and(|least| value < least) || most.is_some_and(|most| value > most) {
            return Err(self.violated(raw, "the value is out of range"));
        }
        Ok(())
    }

    fn check(&self, raw: &str) -> Result<(), TemplateError> {
        if !self.allowed_values.is_empty() && !self.allowed_values.iter().any(|allowed| allowed == raw) {
            return Err(TemplateError::unplaced(format_args!(
                "Parameter '{}' must be one of AllowedValues, not {raw:?}",
                self.name
            )));
        }
        if self.allowed_pattern.as_ref().is_some_and(|pattern| !pattern.is_match(raw)) {
            return Err(self.violated(raw, "the value does not match AllowedPattern"));
        }
        let length = raw.chars().count();
        let (least, most) = self.length;
        if least.is_some_and(|least| length < least) || most.is_some_and(|most| length > most) {
            return Err(self.violated(raw, "the length is out of range"));
        }
        Ok(())
    }

    fn violated(&self, raw: &str, what: &str) -> TemplateError {
        let what = self.constraint_description.as_deref().unwrap_or(what);
        TemplateError::unplaced(format_args!(
            "Parameter {} failed to satisfy constraint: {what} ({raw:?}, declared in line {})",
            self.name, self.line
        ))
    }
}

/// The values of all parameters.
pub(crate) fn resolve_all(
    parameters: &BTreeMap<String, Parameter>,
    given: &BTreeMap<String, String>,
    ssm: &dyn Fn(&str) -> Result<String, String>,
) -> Result<BTreeMap<String, Value>, TemplateError> {
    if let Some(unknown) = given.keys().find(|name| !parameters.contains_key(*name)) {
        return Err(TemplateError::unplaced(format_args!("Parameters: [{unknown}] do not exist in the template")));
    }
    parameters
        .iter()
        .map(|(name, parameter)| Ok((name.clone(), parameter.resolve(given.get(name).map(String::as_str), ssm)?)))
        .collect()
}
