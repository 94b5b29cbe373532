//! Policy documents: JSON in, statements out. Whatever is not understood is refused by name; nothing is skipped.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::caller::Caller;
use super::condition::Condition;
use super::context::Context;
use super::pattern::{ArnPattern, Incomplete, Pattern, Syntax};

/// What a policy is attached to, which decides what its statements may and must contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyKind {
    /// A role's or user's policy, a permissions boundary or a session policy: `Resource`, no `Principal`.
    Identity,
    /// A policy of a bus, queue, repository or another resource: `Principal`, and often `Resource`.
    Resource,
    /// A role's trust policy: `Principal`, never `Resource`.
    Trust,
}

/// Why a policy document was refused. `at` is the place in the document, such as `Statement[0].Action`.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The text is not JSON.
    #[error("the policy is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// An element that the policy language (or this implementation of it) does not have.
    #[error("{at}: the element {name} is not supported")]
    Unknown {
        /// Where.
        at: String,
        /// The element's name.
        name: String,
    },
    /// An element that must be there.
    #[error("{at}: {name} is missing")]
    Missing {
        /// Where.
        at: String,
        /// The element's name.
        name: &'static str,
    },
    /// An element or value that is not allowed there.
    #[error("{at}: {reason}")]
    Invalid {
        /// Where.
        at: String,
        /// What is wrong with it, naming the value.
        reason: String,
    },
}

/// Whether a statement allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `Allow`.
    Allow,
    /// `Deny`.
    Deny,
}

/// An element or its `Not…` form.
#[derive(Clone, Debug, PartialEq)]
enum Scope<T> {
    Only(Vec<T>),
    AllBut(Vec<T>),
}

impl<T> Scope<T> {
    /// `None` (an unresolved variable) is never in scope.
    fn includes(&self, test: impl Fn(&T) -> Option<bool>) -> bool {
        match self {
            Self::Only(items) => items.iter().any(|item| test(item) == Some(true)),
            Self::AllBut(items) => items.iter().all(|item| test(item) == Some(false)),
        }
    }

    fn items(&self) -> &[T] {
        match self {
            Self::Only(items) | Self::AllBut(items) => items,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum ResourcePattern {
    Any,
    Arn(ArnPattern),
}

impl ResourcePattern {
    fn matches(&self, resource: &str, context: &Context) -> Option<bool> {
        match self {
            Self::Any => Some(true),
            Self::Arn(arn) => arn.matches(resource, context),
        }
    }
}

/// How directly a `Principal` element names a caller, weakest first.
/// (IAM User Guide, "AWS JSON policy elements: Principal" and "Policy evaluation logic".)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// By its account: the account's own policies must allow as well.
    Account,
    /// By its role: boundary and session policies still limit.
    Role,
    /// Itself, or everyone.
    Direct,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PrincipalPattern {
    Everyone,
    Account(String),
    Arn(String),
    Service(String),
}

impl PrincipalPattern {
    fn reach(&self, caller: &Caller) -> Option<Reach> {
        match self {
            Self::Everyone => Some(Reach::Direct),
            Self::Service(name) => (caller.service() == Some(name)).then_some(Reach::Direct),
            Self::Account(account) if caller.account() == Some(account) => {
                Some(if matches!(caller, Caller::Root { .. }) { Reach::Direct } else { Reach::Account })
            }
            Self::Account(_) => None,
            Self::Arn(_) if caller.service().is_some() => None,
            Self::Arn(arn) if *arn == caller.arn() => Some(Reach::Direct),
            Self::Arn(arn) => (*arn == caller.identity_arn()).then_some(Reach::Role),
        }
    }
}

/// One statement of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    label: String,
    effect: Effect,
    principals: Option<Scope<PrincipalPattern>>,
    actions: Scope<Pattern>,
    resources: Option<Scope<ResourcePattern>>,
    conditions: Vec<Condition>,
}

impl Statement {
    /// Its `Sid`, or its place in the document (`Statement[0]`).
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it allows or denies.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether action, resource and conditions apply; who is calling is not looked at.
    pub(super) fn applies(&self, action: &str, resource: &str, context: &Context) -> bool {
        self.actions.includes(|pattern| pattern.matches(action, context, true))
            && self.resources.as_ref().is_none_or(|scope| scope.includes(|item| item.matches(resource, context)))
            && self.conditions.iter().all(|condition| condition.holds(context, self.effect == Effect::Deny))
    }

    /// How the statement names the caller; `None` when it does not. Identity policies name their identity directly.
    pub(super) fn reach(&self, caller: &Caller) -> Option<Reach> {
        match &self.principals {
            None => Some(Reach::Direct),
            Some(Scope::Only(items)) => items.iter().filter_map(|item| item.reach(caller)).max(),
            // The exempt caller must be listed with every name it has: session, role or user, and account.
            Some(Scope::AllBut(items)) => {
                let exempt = items.contains(&PrincipalPattern::Everyone)
                    || match caller {
                        Caller::Service { name } => items.contains(&PrincipalPattern::Service(name.clone())),
                        _ => {
                            let listed = |arn: String| items.contains(&PrincipalPattern::Arn(arn));
                            let account = caller.account().unwrap_or_default().to_owned();
                            items.contains(&PrincipalPattern::Account(account))
                                && (matches!(caller, Caller::Root { .. })
                                    || (listed(caller.arn()) && listed(caller.identity_arn())))
                        }
                    };
                (!exempt).then_some(Reach::Direct)
            }
        }
    }
}

/// A policy document that was understood completely.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    kind: PolicyKind,
    statements: Vec<Statement>,
}

impl Policy {
    /// Parses a document's text.
    ///
    /// # Errors
    /// When it is not JSON, breaks the policy language's rules for this kind, or uses what is not supported.
    pub fn parse(kind: PolicyKind, text: &str) -> Result<Self, PolicyError> {
        Self::from_value(kind, &serde_json::from_str(text).map_err(PolicyError::NotJson)?)
    }

    /// Reads a document that is JSON already.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn from_value(kind: PolicyKind, document: &Value) -> Result<Self, PolicyError> {
        let object = object(document, "the policy")?;
        only(object, "the policy", &["Version", "Id", "Statement"])?;
        let variables = match object.get("Version").map(|version| (version, version.as_str())) {
            None | Some((_, Some("2008-10-17"))) => false,
            Some((_, Some("2012-10-17"))) => true,
            Some((other, _)) => return Err(invalid("Version", format!("{other} is not a version"))),
        };
        if let Some(id) = object.get("Id").filter(|id| !id.is_string()) {
            return Err(invalid("Id", format!("{id} is not a string")));
        }
        let statements = match object.get("Statement") {
            None => return Err(PolicyError::Missing { at: "the policy".to_owned(), name: "Statement" }),
            Some(Value::Array(statements)) => statements.iter().collect(),
            Some(one) => vec![one],
        };
        let parse = |(index, value)| statement(kind, variables, &format!("Statement[{index}]"), value);
        let statements = statements.into_iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        // A resource's policy may have become empty; it then grants nothing.
        if statements.is_empty() && kind != PolicyKind::Resource {
            return Err(PolicyError::Missing { at: "the policy".to_owned(), name: "Statement" });
        }
        let mut sids = BTreeSet::new();
        for statement in &statements {
            if !sids.insert(statement.label()) {
                return Err(invalid("Statement", format!("the Sid {} is not unique", statement.label())));
            }
        }
        Ok(Self { kind, statements })
    }

    /// What the policy is attached to.
    pub fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// Its statements, in the document's order.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// All condition keys that the policy looks at, in conditions and variables, in lower case. Who stores a policy refuses keys
    /// that the requests it is meant for never carry.
    pub fn context_keys(&self) -> BTreeSet<String> {
        let of_statement = |statement: &Statement| {
            let mut keys: Vec<String> = Vec::new();
            keys.extend(statement.conditions.iter().flat_map(Condition::keys).map(str::to_ascii_lowercase));
            for resource in statement.resources.iter().flat_map(Scope::items) {
                if let ResourcePattern::Arn(arn) = resource {
                    keys.extend(arn.variables().map(|(key, _)| key.to_ascii_lowercase()));
                }
            }
            keys
        };
        self.statements.iter().flat_map(of_statement).collect()
    }

    /// The ARNs of all accounts, roles, role sessions and users that statements name as principals.
    pub fn principal_arns(&self) -> BTreeSet<String> {
        let arn = |principal: &PrincipalPattern| match principal {
            PrincipalPattern::Account(account) => Some(format!("arn:aws:iam::{account}:root")),
            PrincipalPattern::Arn(arn) => Some(arn.clone()),
            PrincipalPattern::Everyone | PrincipalPattern::Service(_) => None,
        };
        let statements = self.statements.iter().flat_map(|statement| &statement.principals);
        statements.flat_map(Scope::items).filter_map(arn).collect()
    }

    /// The accounts that `Allow` statements name in `Principal`, by id or by an ARN in them; `None` when everyone is
    /// named. Services are not accounts.
    pub fn allowed_accounts(&self) -> Option<BTreeSet<String>> {
        let mut accounts = BTreeSet::new();
        for statement in self.statements.iter().filter(|statement| statement.effect == Effect::Allow) {
            for principal in statement.principals.iter().flat_map(Scope::items) {
                match principal {
                    PrincipalPattern::Everyone => return None,
                    PrincipalPattern::Account(account) => drop(accounts.insert(account.clone())),
                    PrincipalPattern::Arn(arn) => drop(accounts.insert(arn.split(':').nth(4)?.to_owned())),
                    PrincipalPattern::Service(_) => {}
                }
            }
        }
        Some(accounts)
    }
}

const ELEMENTS: &[&str] =
    &["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

fn statement(kind: PolicyKind, variables: bool, at: &str, value: &Value) -> Result<Statement, PolicyError> {
    let object = object(value, at)?;
    only(object, at, ELEMENTS)?;
    let label = match object.get("Sid") {
        None => at.to_owned(),
        Some(Value::String(sid)) if sid.is_empty() => at.to_owned(),
        // Identity and trust policies allow letters and digits only; services allow more in their resources' policies.
        Some(Value::String(sid)) if kind == PolicyKind::Resource || sid.chars().all(|c| c.is_ascii_alphanumeric()) => {
            sid.clone()
        }
        Some(other) => return Err(invalid(&format!("{at}.Sid"), format!("{other} may hold only letters and digits"))),
    };
    let effect = match object.get("Effect").map(|effect| (effect, effect.as_str())) {
        None => return Err(PolicyError::Missing { at: at.to_owned(), name: "Effect" }),
        Some((_, Some("Allow"))) => Effect::Allow,
        Some((_, Some("Deny"))) => Effect::Deny,
        Some((other, _)) => return Err(invalid(&format!("{at}.Effect"), format!("{other} is neither Allow nor Deny"))),
    };
    let principals = scope(object, at, "Principal", "NotPrincipal", principals)?;
    match (&principals, kind) {
        (Some(_), PolicyKind::Identity) => {
            return Err(invalid(at, "an identity-based policy has no Principal".to_owned()));
        }
        (None, PolicyKind::Resource | PolicyKind::Trust) => {
            return Err(PolicyError::Missing { at: at.to_owned(), name: "Principal" });
        }
        (Some(Scope::AllBut(_)), _) if effect == Effect::Allow || kind == PolicyKind::Trust => {
            return Err(invalid(&format!("{at}.NotPrincipal"), "it is not supported here".to_owned()));
        }
        _ => {}
    }
    let actions = scope(object, at, "Action", "NotAction", |at, value| {
        strings(at, value)?.iter().map(|action| action_pattern(at, action)).collect()
    })?
    .ok_or(PolicyError::Missing { at: at.to_owned(), name: "Action" })?;
    let resources = scope(object, at, "Resource", "NotResource", |at, value| {
        strings(at, value)?.iter().map(|resource| resource_pattern(at, resource, variables)).collect()
    })?;
    match (&resources, kind) {
        (None, PolicyKind::Identity) => return Err(PolicyError::Missing { at: at.to_owned(), name: "Resource" }),
        (Some(_), PolicyKind::Trust) => return Err(invalid(at, "a trust policy has no Resource".to_owned())),
        _ => {}
    }
    let conditions = object.get("Condition").map_or(Ok(Vec::new()), |value| conditions(at, value, variables))?;
    Ok(Statement { label, effect, principals, actions, resources, conditions })
}

/// Reads an element or its `Not…` form, of which a statement may have one.
fn scope<T>(
    statement: &Map<String, Value>,
    at: &str,
    name: &str,
    negated: &str,
    parse: impl Fn(&str, &Value) -> Result<Vec<T>, PolicyError>,
) -> Result<Option<Scope<T>>, PolicyError> {
    match (statement.get(name), statement.get(negated)) {
        (Some(_), Some(_)) => Err(invalid(at, format!("{name} and {negated} exclude each other"))),
        (Some(value), None) => Ok(Some(Scope::Only(parse(&format!("{at}.{name}"), value)?))),
        (None, Some(value)) => Ok(Some(Scope::AllBut(parse(&format!("{at}.{negated}"), value)?))),
        (None, None) => Ok(None),
    }
}

fn action_pattern(at: &str, action: &str) -> Result<Pattern, PolicyError> {
    let well_formed = action == "*"
        || action.split_once(':').is_some_and(|(service, name)| {
            (service == "*" && name == "*"
                || !service.is_empty() && service.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
                && !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '*' | '?' | '-'))
        });
    if !well_formed {
        return Err(invalid(at, format!("{action} is not an action")));
    }
    Pattern::parse(action, Syntax { wildcards: true, variables: false }).map_err(|reason| invalid(at, reason))
}

fn resource_pattern(at: &str, resource: &str, variables: bool) -> Result<ResourcePattern, PolicyError> {
    if resource == "*" {
        return Ok(ResourcePattern::Any);
    }
    let arn = ArnPattern::parse(resource, variables, Incomplete::Complete)
        .map_err(|reason| invalid(at, format!("{resource}: {reason}")))?;
    if let Some((key, _)) = arn.variables().find(|(_, in_resource_part)| !in_resource_part) {
        return Err(invalid(at, format!("{resource}: the variable {key} stands before the fifth colon")));
    }
    Ok(ResourcePattern::Arn(arn))
}

fn principals(at: &str, value: &Value) -> Result<Vec<PrincipalPattern>, PolicyError> {
    if value.as_str() == Some("*") {
        return Ok(vec![PrincipalPattern::Everyone]);
    }
    let object = object(value, at)?;
    only(object, at, &["AWS", "Service"])?;
    let mut found = Vec::new();
    for (kind, names) in object {
        let at = &format!("{at}.{kind}");
        for name in strings(at, names)? {
            found.push(match kind.as_str() {
                "AWS" => aws_principal(at, &name)?,
                _ if name.contains('.') && !name.contains(['*', '?', ':']) => PrincipalPattern::Service(name),
                _ => return Err(invalid(at, format!("{name} is not a service principal"))),
            });
        }
    }
    if found.is_empty() {
        return Err(invalid(at, "it names nobody".to_owned()));
    }
    Ok(found)
}

fn aws_principal(at: &str, name: &str) -> Result<PrincipalPattern, PolicyError> {
    let is_account = |text: &str| text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    if name == "*" {
        return Ok(PrincipalPattern::Everyone);
    }
    if is_account(name) {
        return Ok(PrincipalPattern::Account(name.to_owned()));
    }
    match name.splitn(6, ':').collect::<Vec<_>>()[..] {
        ["arn", _, "iam", "", account, "root"] if is_account(account) => {
            Ok(PrincipalPattern::Account(account.to_owned()))
        }
        ["arn", _, service, "", account, resource]
            if is_account(account)
                && !resource.contains(['*', '?'])
                && match service {
                    "iam" => resource.starts_with("role/") || resource.starts_with("user/"),
                    "sts" => resource.starts_with("assumed-role/"),
                    _ => false,
                } =>
        {
            Ok(PrincipalPattern::Arn(name.to_owned()))
        }
        _ => Err(invalid(at, format!("{name} is not an account, role, role session or user"))),
    }
}

fn conditions(at: &str, value: &Value, variables: bool) -> Result<Vec<Condition>, PolicyError> {
    let at = format!("{at}.Condition");
    let mut found = Vec::new();
    for (operator, tests) in object(value, &at)? {
        let at = format!("{at}.{operator}");
        for (key, values) in object(tests, &at)? {
            let at = format!("{at}.{key}");
            if !key.contains(':') {
                return Err(invalid(&at, format!("{key} is not a condition key")));
            }
            let values = strings(&at, values)?;
            found.push(Condition::parse(operator, key, &values, variables).map_err(|reason| invalid(&at, reason))?);
        }
    }
    Ok(found)
}

fn invalid(at: &str, reason: String) -> PolicyError {
    PolicyError::Invalid { at: at.to_owned(), reason }
}

fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>, PolicyError> {
    value.as_object().ok_or_else(|| invalid(at, format!("{value} is not an object")))
}

fn only(object: &Map<String, Value>, at: &str, known: &[&str]) -> Result<(), PolicyError> {
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(PolicyError::Unknown { at: at.to_owned(), name: name.clone() }),
    }
}

/// One string or several; booleans and numbers are accepted as their text, as AWS does.
fn strings(at: &str, value: &Value) -> Result<Vec<String>, PolicyError> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(invalid(at, format!("{other} is not a string"))),
    };
    match value {
        Value::Array(values) if values.is_empty() => Err(invalid(at, "the list is empty".to_owned())),
        Value::Array(values) => values.iter().map(one).collect(),
        other => Ok(vec![one(other)?]),
    }
}
