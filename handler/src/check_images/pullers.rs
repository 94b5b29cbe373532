//! Who may pull from a repository, as its policy and that of its registry say. New registries enforce their policy in
//! every request (ECR user guide, "Private registry permissions"); for which repositories it admits is not read, which can
//! only make more pullers.
//!
//! Only statements that allow are read; what a `Deny` or a condition takes away again is ignored, because it can only make
//! fewer pullers. `ecr:BatchGetImage` is the action without which nothing can be pulled, so who is not admitted to it is no
//! puller. The hub's own principals need no policy at all.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::account::AccountId;

/// Who a repository policy admits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Accounts, whole or by one of their principals.
    pub accounts: BTreeSet<AccountId>,
    /// Whole organizations, or organizational units with everything below.
    pub organizations: BTreeSet<OrganizationScope>,
    /// AWS services.
    pub services: BTreeSet<String>,
    /// Principals that cannot be enumerated, `*` without a condition on the organization say.
    pub unknowable: BTreeSet<String>,
}

impl Admitted {
    /// Whoever is meant by `text`, nobody can say: accounts, and services as well.
    fn everybody(&mut self, text: &str) {
        self.unknowable.insert(text.to_owned());
        self.services.insert(format!("any service, as part of {text}"));
    }

    /// Whoever either of two policies admits.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        self.accounts.extend(other.accounts.iter().cloned());
        self.organizations.extend(other.organizations.iter().cloned());
        self.services.extend(other.services.iter().cloned());
        self.unknowable.extend(other.unknowable.iter().cloned());
        self
    }
}

/// A part of an organization that a condition on `aws:PrincipalOrgID` or `aws:PrincipalOrgPaths` admits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrganizationScope {
    /// Every account of the organization.
    Organization(String),
    /// Every account in the unit or root with this id, at any depth.
    Unit {
        /// The organization.
        organization: String,
        /// The unit (`ou-…`) or root (`r-…`).
        unit: String,
    },
}

/// Reads the policy of a repository or a registry.
///
/// # Errors
/// What cannot be understood: then nobody can say who may pull.
pub fn admitted(policy: &str) -> Result<Admitted, String> {
    let policy: Value =
        serde_json::from_str(policy).map_err(|error| format!("the repository policy is not JSON: {error}"))?;
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.as_slice(),
        Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
        _ => return Err("the repository policy has no statements".into()),
    };
    let mut admitted = Admitted::default();
    for statement in statements {
        match statement.get("Effect").and_then(Value::as_str) {
            Some("Deny") => {}
            Some("Allow") if allows_pulling(statement)? => admit(&mut admitted, statement)?,
            Some("Allow") => {}
            _ => return Err("a statement of the repository policy has no effect".into()),
        }
    }
    Ok(admitted)
}

/// The action without which nothing can be pulled, in lower case: IAM compares actions without case.
const PULL: &str = "ecr:batchgetimage";

fn allows_pulling(statement: &Value) -> Result<bool, String> {
    match statement.get("Action") {
        Some(actions) => Ok(strings(actions, "Action")?.iter().any(|action| {
            // Up to the first wildcard it has to fit; whatever follows is taken to fit as well.
            let action = action.to_ascii_lowercase();
            match action.find(['*', '?']) {
                Some(wildcard) => PULL.starts_with(&action[..wildcard]),
                None => action == PULL,
            }
        })),
        // `NotAction` allows everything else; whether that includes pulling is not worth finding out.
        None => Ok(true),
    }
}

fn admit(admitted: &mut Admitted, statement: &Value) -> Result<(), String> {
    let Some(principal) = statement.get("Principal") else {
        admitted.everybody("everybody but some (NotPrincipal)");
        return Ok(());
    };
    let kinds = match principal {
        Value::String(everybody) => vec![("AWS", vec![everybody.as_str()])],
        Value::Object(kinds) => kinds
            .iter()
            .map(|(kind, who)| Ok((kind.as_str(), strings(who, "Principal")?)))
            .collect::<Result<_, String>>()?,
        _ => return Err("a principal of the repository policy cannot be read".into()),
    };
    for (kind, names) in kinds {
        for name in names {
            match kind {
                "Service" => {
                    admitted.services.insert(name.to_owned());
                }
                "AWS" if name == "*" => match narrowed(statement)? {
                    Some(Narrowed { accounts, organizations }) => {
                        admitted.accounts.extend(accounts);
                        admitted.organizations.extend(organizations);
                    }
                    None => {
                        admitted.everybody("*");
                    }
                },
                "AWS" => match account_of(name) {
                    Some(account) => {
                        admitted.accounts.insert(account);
                    }
                    // A deleted principal shows as its unique id.
                    None => {
                        admitted.unknowable.insert(name.to_owned());
                    }
                },
                _ => {
                    admitted.unknowable.insert(format!("{kind} {name}"));
                }
            }
        }
    }
    Ok(())
}

/// `123456789012`, or an ARN of IAM or STS in that account.
fn account_of(principal: &str) -> Option<AccountId> {
    let account = match principal.split(':').collect::<Vec<_>>()[..] {
        [account] => account,
        ["arn", _, "iam" | "sts", _, account, ..] => account,
        _ => return None,
    };
    account.parse().ok()
}

#[derive(Default)]
struct Narrowed {
    accounts: BTreeSet<AccountId>,
    organizations: BTreeSet<OrganizationScope>,
}

/// What a condition leaves of `*`. One condition that enumerates is enough: all of them have to hold.
fn narrowed(statement: &Value) -> Result<Option<Narrowed>, String> {
    let Some(conditions) = statement.get("Condition") else { return Ok(None) };
    let conditions = conditions.as_object().ok_or("a condition of the repository policy cannot be read")?;
    for (operator, keys) in conditions {
        // With `…IfExists` a request without the key passes, so that such a condition enumerates nobody.
        if !matches!(
            operator.to_ascii_lowercase().as_str(),
            "stringequals" | "stringlike" | "foranyvalue:stringequals" | "foranyvalue:stringlike"
        ) {
            continue;
        }
        let keys = keys.as_object().ok_or("a condition of the repository policy cannot be read")?;
        for (key, values) in keys {
            let mut narrowed = Narrowed::default();
            let enumerable = strings(values, key)?.into_iter().all(|value| match key.to_ascii_lowercase().as_str() {
                "aws:principalorgid" => organization_id(value)
                    .map(|id| narrowed.organizations.insert(OrganizationScope::Organization(id.to_owned())))
                    .is_some(),
                "aws:principalaccount" => value.parse().map(|account| narrowed.accounts.insert(account)).is_ok(),
                "aws:principalorgpaths" => {
                    organization_path(value).map(|scope| narrowed.organizations.insert(scope)).is_some()
                }
                _ => false,
            });
            if enumerable {
                return Ok(Some(narrowed));
            }
        }
    }
    Ok(None)
}

fn organization_id(value: &str) -> Option<&str> {
    (value.starts_with("o-") && value[2..].chars().all(|c| c.is_ascii_alphanumeric())).then_some(value)
}

/// `o-ID/*`, `o-ID/r-ID/…/ou-ID/*` or `o-ID/*/ou-ID/*`: the last root or unit that it names.
fn organization_path(value: &str) -> Option<OrganizationScope> {
    let mut parts = value.split('/').filter(|part| !part.is_empty());
    let organization = organization_id(parts.next()?)?.to_owned();
    let mut scope = OrganizationScope::Organization(organization.clone());
    for part in parts {
        if part == "*" {
            continue;
        }
        let id = part.strip_suffix('*').unwrap_or(part);
        // `ou-abcd-*` matches units by a prefix of their id: the whole organization is the safe reading.
        if id != part {
            return Some(OrganizationScope::Organization(organization));
        }
        if !(id.starts_with("ou-") || id.starts_with("r-"))
            || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        {
            return None;
        }
        scope = OrganizationScope::Unit { organization: organization.clone(), unit: id.to_owned() };
    }
    Some(scope)
}

/// One string or a list of strings, as policies have them.
fn strings<'a>(value: &'a Value, what: &str) -> Result<Vec<&'a str>, String> {
    let unreadable = || format!("{what} of the repository policy cannot be read");
    match value {
        Value::String(one) => Ok(vec![one]),
        Value::Array(many) => many.iter().map(|one| one.as_str().ok_or_else(unreadable)).collect(),
        _ => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn allow(principal: Value, condition: Option<Value>) -> String {
        let mut statement = json!({"Effect": "Allow", "Principal": principal, "Action": ["ecr:BatchGetImage"]});
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
    }

    fn account(id: &str) -> BTreeSet<AccountId> {
        BTreeSet::from([id.parse().unwrap()])
    }

    #[test]
    fn accounts_are_admitted_whole_or_by_one_of_their_principals() {
        for principal in
            ["222222222222", "arn:aws:iam::222222222222:root", "arn:aws:sts::222222222222:assumed-role/a/b"]
        {
            let admitted = admitted(&allow(json!({"AWS": principal}), None)).unwrap();
            assert_eq!(admitted, Admitted { accounts: account("222222222222"), ..Admitted::default() });
        }
    }

    #[test]
    fn everybody_can_be_enumerated_only_by_a_condition_on_accounts_or_organization() {
        let scopes = |condition| admitted(&allow(json!("*"), Some(condition))).unwrap();
        assert_eq!(
            scopes(json!({"StringEquals": {"aws:PrincipalOrgID": "o-abc123"}})).organizations,
            BTreeSet::from([OrganizationScope::Organization("o-abc123".into())])
        );
        assert_eq!(
            scopes(json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-abc123/*/ou-ab12-x/*"]}}))
                .organizations,
            BTreeSet::from([OrganizationScope::Unit { organization: "o-abc123".into(), unit: "ou-ab12-x".into() }])
        );
        assert_eq!(
            scopes(json!({"StringEquals": {"aws:PrincipalAccount": ["222222222222"]}})).accounts,
            account("222222222222")
        );
        for condition in [
            json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-abc123"}}),
            json!({"StringLike": {"aws:PrincipalOrgID": "o-*"}}),
            json!({"StringNotEquals": {"aws:PrincipalAccount": "222222222222"}}),
            json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        ] {
            assert!(scopes(condition.clone()).unknowable.contains("*"), "{condition}");
            assert_eq!(scopes(condition.clone()).services.len(), 1, "{condition} admits services as well");
        }
        assert!(admitted(&allow(json!({"AWS": "*"}), None)).unwrap().unknowable.contains("*"));
        assert!(admitted(&allow(json!({"AWS": "AIDAEXAMPLE"}), None)).unwrap().unknowable.contains("AIDAEXAMPLE"));
    }

    #[test]
    fn services_are_told_apart() {
        let admitted = admitted(&allow(json!({"Service": "lambda.amazonaws.com"}), None)).unwrap();
        assert!(admitted.services.contains("lambda.amazonaws.com"));
    }

    #[test]
    fn statements_that_do_not_allow_pulling_admit_nobody() {
        for (effect, action, admits) in [
            ("Allow", json!("ecr:*"), true),
            ("Allow", json!("*"), true),
            ("Allow", json!("ECR:batchget*"), true),
            ("Allow", json!("ecr:BatchGetImag?"), true),
            ("Allow", json!(["ecr:PutImage", "ecr:DescribeImages"]), false),
            ("Deny", json!("ecr:*"), false),
        ] {
            let policy =
                json!({"Statement": {"Effect": effect, "Principal": {"AWS": "222222222222"}, "Action": action}});
            assert_eq!(admitted(&policy.to_string()).unwrap() != Admitted::default(), admits, "{policy}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_not_an_empty_policy() {
        for policy in ["", "{}", "{\"Statement\":[{}]}", "{\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":7}]}"] {
            assert!(admitted(policy).is_err(), "{policy}");
        }
    }
}
