//! CloudFormation templates, without any AWS around them: reading, checking, parameters, intrinsic functions, order.
//!
//! Whatever a template may hold and this engine does not understand is refused by name and line, never ignored.

pub(crate) mod evaluation;
pub(crate) mod parameter;
pub(crate) mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use parameter::Parameter;
use source::{Kind, Node};

/// Why a template or its values are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct TemplateError {
    /// The line in the template, if it is one line's fault.
    pub(crate) line: Option<usize>,
    /// Whether AWS might take it, and only the simulation does not.
    pub(crate) not_simulated: bool,
    message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl TemplateError {
    pub(crate) fn invalid(line: usize, message: impl fmt::Display) -> Self {
        Self { line: Some(line), not_simulated: false, message: message.to_string() }
    }

    pub(crate) fn unplaced(message: impl fmt::Display) -> Self {
        Self { line: None, not_simulated: false, message: message.to_string() }
    }

    pub(crate) fn not_simulated(line: usize, what: impl fmt::Display) -> Self {
        Self { line: Some(line), not_simulated: true, message: what.to_string() }
    }
}

/// What happens to a resource that leaves its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum DeletionPolicy {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays.
    Retain,
    /// It stays, unless its creation is rolled back.
    RetainExceptOnCreate,
}

impl DeletionPolicy {
    fn read(node: &Node) -> Result<Self, TemplateError> {
        match node.text().as_deref() {
            Some("Delete") => Ok(Self::Delete),
            Some("Retain") => Ok(Self::Retain),
            Some("RetainExceptOnCreate") => Ok(Self::RetainExceptOnCreate),
            Some("Snapshot") => Err(TemplateError::not_simulated(node.line, "the deletion policy Snapshot")),
            _ => Err(TemplateError::invalid(node.line, "a deletion policy is Delete, Retain or RetainExceptOnCreate")),
        }
    }
}

/// A resource of a template.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub(crate) line: usize,
    pub(crate) kind: String,
    pub(crate) properties: Option<Node>,
    pub(crate) condition: Option<String>,
    pub(crate) depends_on: BTreeSet<String>,
    pub(crate) deletion_policy: DeletionPolicy,
    pub(crate) update_replace_policy: DeletionPolicy,
}

/// An output of a template.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) description: Option<String>,
    pub(crate) condition: Option<String>,
    pub(crate) value: Node,
    pub(crate) export: Option<Node>,
}

/// A template that was read and whose references hold together.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) description: Option<String>,
    pub(crate) parameters: BTreeMap<String, Parameter>,
    mappings: BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>>,
    conditions: BTreeMap<String, Node>,
    pub(crate) resources: BTreeMap<String, Resource>,
    pub(crate) outputs: BTreeMap<String, Output>,
    /// Resources such that each comes after all that it refers to.
    pub(crate) order: Vec<String>,
}

const PSEUDO_PARAMETERS: [&str; 8] = [
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::NotificationARNs",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
];

impl Template {
    /// Reads and checks a template.
    pub(crate) fn read(text: &str) -> Result<Self, TemplateError> {
        let root = source::read(text)?;
        let mut template = Self {
            description: None,
            parameters: BTreeMap::new(),
            mappings: BTreeMap::new(),
            conditions: BTreeMap::new(),
            resources: BTreeMap::new(),
            outputs: BTreeMap::new(),
            order: Vec::new(),
        };
        for (section, node) in root.expect_map("a template")? {
            match section.as_str() {
                "AWSTemplateFormatVersion" => {
                    if node.text().as_deref() != Some("2010-09-09") {
                        return Err(TemplateError::invalid(node.line, "AWSTemplateFormatVersion must be 2010-09-09"));
                    }
                }
                "Description" => {
                    let description = node.expect_text("Description")?;
                    if description.len() > 1024 {
                        return Err(TemplateError::invalid(node.line, "Description is longer than 1024 bytes"));
                    }
                    template.description = Some(description);
                }
                "Metadata" => {}
                "Parameters" => {
                    for (name, node) in node.expect_map("Parameters")? {
                        logical_id(name, node)?;
                        template.parameters.insert(name.clone(), Parameter::read(name, node)?);
                    }
                }
                "Mappings" => template.mappings = mappings(node)?,
                "Conditions" => {
                    template.conditions = node.expect_map("Conditions")?.iter().cloned().collect();
                }
                "Resources" => {
                    for (name, node) in node.expect_map("Resources")? {
                        logical_id(name, node)?;
                        template.resources.insert(name.clone(), resource(name, node)?);
                    }
                }
                "Outputs" => {
                    for (name, node) in node.expect_map("Outputs")? {
                        logical_id(name, node)?;
                        template.outputs.insert(name.clone(), output(name, node)?);
                    }
                }
                "Transform" => return Err(TemplateError::not_simulated(node.line, "macros (Transform)")),
                "Rules" | "Hooks" => {
                    return Err(TemplateError::not_simulated(node.line, format_args!("the section {section}")));
                }
                other => {
                    return Err(TemplateError::invalid(
                        node.line,
                        format_args!("Invalid template property or properties [{other}]"),
                    ));
                }
            }
        }
        if template.resources.is_empty() {
            return Err(TemplateError::invalid(root.line, "At least one Resources member must be defined."));
        }
        template.check()?;
        Ok(template)
    }

    /// Checks every reference, and puts the resources into an order.
    fn check(&mut self) -> Result<(), TemplateError> {
        for (name, node) in &self.conditions {
            for reference in references(node)? {
                match reference {
                    Reference::Name(target, line) if !self.is_value(&target) => {
                        return Err(TemplateError::invalid(
                            line,
                            format_args!("the condition {name} refers to {target}, which is no parameter"),
                        ));
                    }
                    Reference::Attribute(target, line) => {
                        return Err(TemplateError::invalid(
                            line,
                            format_args!("the condition {name} refers to the resource {target}"),
                        ));
                    }
                    Reference::Condition(target, line) => self.known_condition(&target, line)?,
                    Reference::Name(..) => {}
                }
            }
        }
        let mut after: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, resource) in &self.resources {
            if let Some(condition) = &resource.condition {
                self.known_condition(condition, resource.line)?;
            }
            let mut needs = resource.depends_on.clone();
            if let Some(unknown) = needs.iter().find(|target| !self.resources.contains_key(*target)) {
                return Err(unresolved(resource.line, unknown, "Resources"));
            }
            if let Some(properties) = &resource.properties {
                needs.extend(self.resources_named(properties, "Resources")?);
            }
            after.insert(name.clone(), needs);
        }
        for output in self.outputs.values() {
            if let Some(condition) = &output.condition {
                self.known_condition(condition, output.value.line)?;
            }
            self.resources_named(&output.value, "Outputs")?;
            if let Some(export) = &output.export {
                self.resources_named(export, "Outputs")?;
            }
        }
        self.order = order(after)?;
        Ok(())
    }

    fn is_value(&self, name: &str) -> bool {
        PSEUDO_PARAMETERS.contains(&name) || self.parameters.contains_key(name)
    }

    fn known_condition(&self, name: &str, line: usize) -> Result<(), TemplateError> {
        if self.conditions.contains_key(name) {
            return Ok(());
        }
        Err(TemplateError::invalid(line, format_args!("Template format error: Unresolved condition {name}")))
    }

    /// The resources that a node refers to.
    fn resources_named(&self, node: &Node, section: &str) -> Result<BTreeSet<String>, TemplateError> {
        let mut named = BTreeSet::new();
        for reference in references(node)? {
            match reference {
                Reference::Condition(name, line) => self.known_condition(&name, line)?,
                Reference::Name(name, _) if self.is_value(&name) => {}
                Reference::Name(name, line) | Reference::Attribute(name, line) => {
                    if !self.resources.contains_key(&name) {
                        return Err(unresolved(line, &name, section));
                    }
                    named.insert(name);
                }
            }
        }
        Ok(named)
    }
}

fn unresolved(line: usize, name: &str, section: &str) -> TemplateError {
    TemplateError::invalid(
        line,
        format_args!(
            "Template format error: Unresolved resource dependencies [{name}] in the {section} block of the template"
        ),
    )
}

fn logical_id(name: &str, node: &Node) -> Result<(), TemplateError> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(TemplateError::invalid(node.line, format_args!("the name '{name}' is non alphanumeric")))
}

fn resource(name: &str, node: &Node) -> Result<Resource, TemplateError> {
    let mut resource = Resource {
        line: node.line,
        kind: String::new(),
        properties: None,
        condition: None,
        depends_on: BTreeSet::new(),
        deletion_policy: DeletionPolicy::Delete,
        update_replace_policy: DeletionPolicy::Delete,
    };
    for (attribute, value) in node.expect_map(&format!("the resource {name}"))? {
        match attribute.as_str() {
            "Type" => resource.kind = value.expect_text("a resource's Type")?,
            "Properties" => {
                value.expect_map(&format!("Properties of the resource {name}"))?;
                resource.properties = Some(value.clone());
            }
            "Condition" => resource.condition = Some(value.expect_text("a resource's Condition")?),
            "DependsOn" => {
                resource.depends_on = match &value.kind {
                    Kind::List(items) => {
                        items.iter().map(|item| item.expect_text("DependsOn")).collect::<Result<_, _>>()?
                    }
                    _ => BTreeSet::from([value.expect_text("DependsOn")?]),
                }
            }
            "DeletionPolicy" => resource.deletion_policy = DeletionPolicy::read(value)?,
            "UpdateReplacePolicy" => resource.update_replace_policy = DeletionPolicy::read(value)?,
            "Metadata" => {}
            "CreationPolicy" | "UpdatePolicy" => {
                return Err(TemplateError::not_simulated(
                    value.line,
                    format_args!("the resource attribute {attribute}"),
                ));
            }
            other => {
                return Err(TemplateError::invalid(
                    value.line,
                    format_args!("Invalid template resource property '{other}'"),
                ));
            }
        }
    }
    if resource.kind.is_empty() {
        return Err(TemplateError::invalid(
            node.line,
            format_args!("[/Resources/{name}] every resource must have a Type"),
        ));
    }
    Ok(resource)
}

fn output(name: &str, node: &Node) -> Result<Output, TemplateError> {
    let (mut description, mut condition, mut value, mut export) = (None, None, None, None);
    for (attribute, node) in node.expect_map(&format!("the output {name}"))? {
        match attribute.as_str() {
            "Description" => description = Some(node.expect_text("an output's Description")?),
            "Condition" => condition = Some(node.expect_text("an output's Condition")?),
            "Value" => value = Some(node.clone()),
            "Export" => {
                export = Some(
                    node.get("Name")
                        .cloned()
                        .ok_or_else(|| TemplateError::invalid(node.line, "an Export must have a Name"))?,
                );
            }
            other => {
                return Err(TemplateError::invalid(node.line, format_args!("invalid output attribute {other}")));
            }
        }
    }
    let value = value.ok_or_else(|| {
        TemplateError::invalid(node.line, format_args!("every Outputs member must contain a Value: {name}"))
    })?;
    Ok(Output { description, condition, value, export })
}

type Mappings = BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>>;

fn mappings(node: &Node) -> Result<Mappings, TemplateError> {
    let level = |node: &Node| node.expect_map("a mapping").map(<[_]>::to_vec);
    let mut all = BTreeMap::new();
    for (name, top) in level(node)? {
        let mut keys = BTreeMap::new();
        for (key, second) in level(&top)? {
            let values = level(&second)?.into_iter().map(|(name, value)| (name, value.plain())).collect();
            keys.insert(key, values);
        }
        all.insert(name, keys);
    }
    Ok(all)
}

/// A reference from one part of a template to another.
enum Reference {
    /// `Ref`, or a name in `Fn::Sub`.
    Name(String, usize),
    /// `Fn::GetAtt`, or a dotted name in `Fn::Sub`.
    Attribute(String, usize),
    /// A condition in `Fn::If` or `Condition`.
    Condition(String, usize),
}

/// All references below a node; functions that the engine does not know are refused here.
fn references(node: &Node) -> Result<Vec<Reference>, TemplateError> {
    let mut found = Vec::new();
    collect(node, &mut found)?;
    Ok(found)
}

fn collect(node: &Node, found: &mut Vec<Reference>) -> Result<(), TemplateError> {
    let line = node.line;
    match node.intrinsic() {
        // `Condition` is a function only where a name stands; in a policy statement it is a key like any other.
        Some(("Condition", argument)) => match argument.text() {
            Some(name) => found.push(Reference::Condition(name, line)),
            None => collect(argument, found)?,
        },
        Some(("Ref", argument)) => found.push(Reference::Name(argument.expect_text("Ref")?, line)),
        Some(("Fn::GetAtt", argument)) => {
            found.push(Reference::Attribute(evaluation::attribute(argument)?.0, line));
            if let Kind::List(parts) = &argument.kind {
                parts.iter().skip(1).try_for_each(|part| collect(part, found))?;
            }
        }
        Some(("Fn::Sub", argument)) => {
            let (text, own) = evaluation::substitution(argument)?;
            if let Some(own) = own {
                own.expect_map("the variables of Fn::Sub")?.iter().try_for_each(|(_, value)| collect(value, found))?;
            }
            for name in evaluation::variables(&text, line)? {
                if own.is_some_and(|own| own.get(&name).is_some()) {
                    continue;
                }
                found.push(match name.split_once('.') {
                    Some((resource, _)) => Reference::Attribute(resource.to_owned(), line),
                    None => Reference::Name(name, line),
                });
            }
        }
        Some(("Fn::If", argument)) => {
            let parts = argument.expect_list("Fn::If")?;
            let [condition, yes, no] = parts else {
                return Err(TemplateError::invalid(line, "Fn::If takes a condition and two values"));
            };
            found.push(Reference::Condition(condition.expect_text("the condition of Fn::If")?, line));
            collect(yes, found)?;
            collect(no, found)?;
        }
        Some((name, argument)) => {
            if !evaluation::FUNCTIONS.contains(&name) {
                return Err(TemplateError::not_simulated(line, format_args!("the intrinsic function {name}")));
            }
            collect(argument, found)?;
        }
        None => match &node.kind {
            Kind::Scalar(_) => {}
            Kind::List(items) => items.iter().try_for_each(|item| collect(item, found))?,
            Kind::Map(entries) => {
                for (name, value) in entries {
                    if name == "Ref" || name.starts_with("Fn::") {
                        return Err(TemplateError::invalid(
                            value.line,
                            format_args!("{name} stands beside other keys: a function is an object of its own"),
                        ));
                    }
                    collect(value, found)?;
                }
            }
        },
    }
    Ok(())
}

/// Orders names so that each comes after what it needs.
fn order(mut after: BTreeMap<String, BTreeSet<String>>) -> Result<Vec<String>, TemplateError> {
    let mut ordered = Vec::with_capacity(after.len());
    while let Some(name) = after.iter().find(|(_, needs)| needs.is_empty()).map(|(name, _)| name.clone()) {
        after.remove(&name);
        for needs in after.values_mut() {
            needs.remove(&name);
        }
        ordered.push(name);
    }
    if after.is_empty() {
        return Ok(ordered);
    }
    let names: Vec<_> = after.into_keys().collect();
    Err(TemplateError::unplaced(format_args!("Circular dependency between resources: [{}]", names.join(", "))))
}

#[cfg(test)]
mod tests;
