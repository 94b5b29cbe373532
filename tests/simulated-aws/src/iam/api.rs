//! The operations on roles, with IAM's errors and limits (IAM API Reference; IAM User Guide, "IAM and AWS STS quotas").

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::authorization::unsupported_key;
use super::managed;
use super::policy::{Policy, PolicyKind};
use super::role::{Document, Role, role_arn};
use crate::World;
use crate::operation::{Access, Call, Operation, Protocol, Service, ServiceError, iso};
use crate::paging::page;

static SERVICE: Service = Service {
    signing_name: "iam",
    model: "iam",
    protocol: Protocol::Query { namespace: "https://iam.amazonaws.com/doc/2010-05-08/" },
};

/// A row whose action is that of its name, on the role that `RoleName` names.
macro_rules! on_role {
    ($name:literal, $handle:path, $($member:literal),*) => {
        Operation {
            service: &SERVICE,
            name: $name,
            members: &["RoleName" $(, $member)*],
            http: None,
            authorize: |world, call, input| Ok(accesses(world, call, input, concat!("iam:", $name))),
            handle: $handle,
        }
    };
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        on_role!(
            "CreateRole",
            create_role,
            "Path",
            "AssumeRolePolicyDocument",
            "Description",
            "MaxSessionDuration",
            "Tags"
        ),
        on_role!("GetRole", get_role,),
        on_role!("UpdateRole", update_role, "Description", "MaxSessionDuration"),
        on_role!("DeleteRole", delete_role,),
        on_role!("UpdateAssumeRolePolicy", update_assume_role_policy, "PolicyDocument"),
        on_role!("PutRolePolicy", put_role_policy, "PolicyName", "PolicyDocument"),
        on_role!("GetRolePolicy", get_role_policy, "PolicyName"),
        on_role!("DeleteRolePolicy", delete_role_policy, "PolicyName"),
        on_role!("ListRolePolicies", list_role_policies, "Marker", "MaxItems"),
        on_role!("AttachRolePolicy", attach_role_policy, "PolicyArn"),
        on_role!("DetachRolePolicy", detach_role_policy, "PolicyArn"),
        on_role!("ListAttachedRolePolicies", list_attached_role_policies, "Marker", "MaxItems"),
        on_role!("TagRole", tag_role, "Tags"),
        on_role!("UntagRole", untag_role, "TagKeys"),
        on_role!("ListRoleTags", list_role_tags, "Marker", "MaxItems"),
        Operation {
            service: &SERVICE,
            name: "ListRoles",
            members: &["PathPrefix", "Marker", "MaxItems"],
            http: None,
            authorize: |_, call, _| {
                Ok(vec![Access::new("iam:ListRoles", format!("arn:aws:iam::{}:role/", call.account))])
            },
            handle: list_roles,
        },
    ]
}

/// What an operation on a role needs; with tags in the request, the right to tag as well.
fn accesses(world: &World, call: &Call, input: &Value, action: &str) -> Vec<Access> {
    let name = text(input, "RoleName").unwrap_or_default();
    let role = world.iam.role(&call.account, name);
    let path = role.map(|role| role.path.as_str()).or_else(|| text(input, "Path")).unwrap_or("/");
    let mut access = Access::new(action, role_arn(&call.account, path, name));
    for (key, value) in role.iter().flat_map(|role| &role.tags) {
        access = access.with(format!("aws:ResourceTag/{key}"), value);
    }
    for tag in items(input, "Tags") {
        let key = text(tag, "Key").unwrap_or_default();
        access = access
            .with("aws:TagKeys", key)
            .with(format!("aws:RequestTag/{key}"), text(tag, "Value").unwrap_or_default());
    }
    for key in items(input, "TagKeys").iter().filter_map(Value::as_str) {
        access = access.with("aws:TagKeys", key);
    }
    if let Some(arn) = text(input, "PolicyArn") {
        access = access.with("iam:PolicyARN", arn);
    }
    let tags_too = (action == "iam:CreateRole" && !items(input, "Tags").is_empty())
        .then(|| Access { action: "iam:TagRole".to_owned(), ..access.clone() });
    [Some(access), tags_too].into_iter().flatten().collect()
}

fn create_role(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = name(input, "RoleName", 64)?.to_owned();
    let path = text(input, "Path").unwrap_or("/").to_owned();
    if !(path == "/" || path.len() > 2 && path.starts_with('/') && path.ends_with('/') && path.len() <= 512) {
        return Err(invalid(
            "path",
            "Member must satisfy regular expression pattern: (\\u002F)|(\\u002F[\\u0021-\\u007E]+\\u002F)",
        ));
    }
    if path.starts_with("/aws-service-role/") {
        return Err(error(400, "ValidationError", "The path may not begin with /aws-service-role/".to_owned()));
    }
    if world.iam.role(&call.account, &name).is_some() {
        return Err(error(409, "EntityAlreadyExists", format!("Role with name {name} already exists.")));
    }
    let role = Role {
        account: call.account.clone(),
        path,
        id: fresh_role_id(world),
        created: world.now(),
        description: description(input)?,
        max_session: max_session(input)?.unwrap_or(3600),
        trust: trust(world, input, "AssumeRolePolicyDocument")?,
        inline: BTreeMap::new(),
        attached: BTreeMap::new(),
        tags: tags(BTreeMap::new(), input)?,
        name,
    };
    let described = describe(&role);
    world.iam.insert(role);
    Ok(json!({"Role": described}))
}

fn get_role(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    Ok(json!({"Role": describe(find(world, call, input)?)}))
}

fn list_roles(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let prefix = text(input, "PathPrefix").unwrap_or("/");
    let roles: Vec<&Role> = world.iam.roles_of(&call.account).filter(|role| role.path.starts_with(prefix)).collect();
    listing(input, "Roles", &roles, |role| describe(role))
}

fn update_role(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (described, limit) = (description(input)?, max_session(input)?);
    let role = find_mut(world, call, input)?;
    role.description = described.or(role.description.take());
    role.max_session = limit.unwrap_or(role.max_session);
    Ok(json!({}))
}

fn delete_role(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let role = find(world, call, input)?;
    let conflict = |message: &str| Err(error(409, "DeleteConflict", message.to_owned()));
    if !role.attached.is_empty() {
        return conflict("Cannot delete entity, must detach all policies first.");
    }
    if !role.inline.is_empty() {
        return conflict("Cannot delete entity, must delete policies first.");
    }
    let name = role.name.clone();
    world.iam.remove(&call.account, &name);
    Ok(json!({}))
}

fn update_assume_role_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    find(world, call, input)?;
    let trust = trust(world, input, "PolicyDocument")?;
    find_mut(world, call, input)?.trust = trust;
    Ok(json!({}))
}

fn put_role_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = name(input, "PolicyName", 128)?.to_owned();
    let document = document(PolicyKind::Identity, input, "PolicyDocument")?;
    let role = find_mut(world, call, input)?;
    let others: usize = role.inline.iter().filter(|(other, _)| **other != name).map(|(_, one)| size(&one.text)).sum();
    if others + size(&document.text) > 10_240 {
        let message = format!("Maximum policy size of 10240 bytes exceeded for role {}", role.name);
        return Err(error(409, "LimitExceeded", message));
    }
    role.inline.insert(name, document);
    Ok(json!({}))
}

fn get_role_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = name(input, "PolicyName", 128)?;
    let role = find(world, call, input)?;
    let document = role.inline.get(name).ok_or_else(|| no_policy(name))?;
    Ok(json!({"RoleName": role.name, "PolicyName": name, "PolicyDocument": encoded(&document.text)}))
}

fn delete_role_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = name(input, "PolicyName", 128)?;
    find_mut(world, call, input)?.inline.remove(name).map(|_| json!({})).ok_or_else(|| no_policy(name))
}

fn list_role_policies(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let names: Vec<&String> = find(world, call, input)?.inline.keys().collect();
    listing(input, "PolicyNames", &names, |name| json!(name))
}

fn attach_role_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let arn = required(input, "PolicyArn")?;
    if managed::is_aws_managed(arn) && managed::policy(arn).is_none() {
        return Err(ServiceError::not_simulated(format_args!("the managed policy {arn}")));
    }
    let role = find_mut(world, call, input)?;
    let Some(policy) = managed::policy(arn) else {
        return Err(error(404, "NoSuchEntity", format!("Policy {arn} does not exist or is not attachable.")));
    };
    if role.attached.len() >= 10 && !role.attached.contains_key(arn) {
        return Err(error(409, "LimitExceeded", "Cannot exceed quota for PoliciesPerRole: 10".to_owned()));
    }
    role.attached.insert(arn.to_owned(), policy);
    Ok(json!({}))
}

fn detach_role_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let arn = required(input, "PolicyArn")?;
    if find_mut(world, call, input)?.attached.remove(arn).is_none() {
        return Err(error(404, "NoSuchEntity", format!("Policy {arn} was not found.")));
    }
    Ok(json!({}))
}

fn list_attached_role_policies(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let arns: Vec<&String> = find(world, call, input)?.attached.keys().collect();
    listing(input, "AttachedPolicies", &arns, |arn| json!({"PolicyName": arn.rsplit('/').next(), "PolicyArn": arn}))
}

fn tag_role(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let role = find_mut(world, call, input)?;
    role.tags = tags(role.tags.clone(), input)?;
    Ok(json!({}))
}

fn untag_role(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let role = find_mut(world, call, input)?;
    for key in items(input, "TagKeys").iter().filter_map(Value::as_str) {
        role.tags.remove(key);
    }
    Ok(json!({}))
}

fn list_role_tags(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let tags: Vec<_> = find(world, call, input)?.tags.iter().collect();
    listing(input, "Tags", &tags, |(key, value)| json!({"Key": key, "Value": value}))
}

fn find<'a>(world: &'a World, call: &Call, input: &Value) -> Result<&'a Role, ServiceError> {
    let name = name(input, "RoleName", 64)?;
    world.iam.role(&call.account, name).ok_or_else(|| no_role(name))
}

fn find_mut<'a>(world: &'a mut World, call: &Call, input: &Value) -> Result<&'a mut Role, ServiceError> {
    let name = name(input, "RoleName", 64)?;
    world.iam.role_mut(&call.account, name).ok_or_else(|| no_role(name))
}

fn no_role(name: &str) -> ServiceError {
    error(404, "NoSuchEntity", format!("The role with name {name} cannot be found."))
}

fn no_policy(name: &str) -> ServiceError {
    error(404, "NoSuchEntity", format!("The role policy with name {name} cannot be found."))
}

fn describe(role: &Role) -> Value {
    let tags: Vec<Value> = role.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    let mut described = json!({
        "Path": role.path, "RoleName": role.name, "RoleId": role.id, "Arn": role.arn(), "CreateDate": iso(role.created),
        "AssumeRolePolicyDocument": encoded(&role.trust.text), "MaxSessionDuration": role.max_session,
    });
    if let Some(description) = &role.description {
        described["Description"] = json!(description);
    }
    if !tags.is_empty() {
        described["Tags"] = Value::Array(tags);
    }
    described
}

fn listing<T>(input: &Value, member: &str, all: &[T], describe: impl Fn(&T) -> Value) -> Result<Value, ServiceError> {
    let size = integer(input, "MaxItems")?.unwrap_or(100);
    if !(1..=1000).contains(&size) {
        return Err(invalid("maxItems", "Member must have value between 1 and 1000"));
    }
    let size = usize::try_from(size).unwrap_or(100);
    let (items, next) = page(all, text(input, "Marker"), size, "ValidationError")?;
    let mut output = Map::new();
    output.insert(member.to_owned(), items.iter().map(describe).collect());
    output.insert("IsTruncated".to_owned(), json!(next.is_some()));
    if let Some(next) = next {
        output.insert("Marker".to_owned(), json!(next));
    }
    Ok(Value::Object(output))
}

/// A trust policy; the accounts and roles that it names must exist.
fn trust(world: &World, input: &Value, member: &'static str) -> Result<Document, ServiceError> {
    let document = document(PolicyKind::Trust, input, member)?;
    if size(&document.text) > 2048 {
        return Err(error(409, "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048".to_owned()));
    }
    for arn in document.policy.principal_arns() {
        let account = arn.split(':').nth(4).and_then(crate::AccountId::new);
        let known = account.is_some_and(|account| world.has_account(&account))
            && (!arn.contains(":role/") || world.iam.role_of_arn(&arn).is_some());
        if !known {
            let message = format!("Invalid principal in policy: \"AWS\":\"{arn}\"");
            return Err(error(400, "MalformedPolicyDocument", message));
        }
    }
    Ok(document)
}

fn document(kind: PolicyKind, input: &Value, member: &'static str) -> Result<Document, ServiceError> {
    let text = required(input, member)?;
    let policy =
        Policy::parse(kind, text).map_err(|reason| error(400, "MalformedPolicyDocument", reason.to_string()))?;
    if let Some(key) = unsupported_key(&policy) {
        return Err(ServiceError::not_simulated(format_args!("the condition key {key}")));
    }
    Ok(Document { text: text.to_owned(), policy })
}

/// Quotas do not count white space.
fn size(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

/// Documents are answered in the encoding of RFC 3986.
fn encoded(document: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(document, KEPT).to_string()
}

fn fresh_role_id(world: &mut World) -> String {
    let number = world.fresh_number();
    format!("AROA{number:017}")
}

fn description(input: &Value) -> Result<Option<String>, ServiceError> {
    match text(input, "Description") {
        Some(long) if long.chars().count() > 1000 => {
            Err(invalid("description", "Member must have length less than or equal to 1000"))
        }
        given => Ok(given.map(str::to_owned)),
    }
}

fn max_session(input: &Value) -> Result<Option<i64>, ServiceError> {
    match integer(input, "MaxSessionDuration")? {
        Some(seconds) if !(3600..=43_200).contains(&seconds) => {
            Err(invalid("maxSessionDuration", "Member must have value between 3600 and 43200"))
        }
        given => Ok(given),
    }
}

/// The tags in the request on top of those there; at most 50.
fn tags(mut tags: BTreeMap<String, String>, input: &Value) -> Result<BTreeMap<String, String>, ServiceError> {
    for tag in items(input, "Tags") {
        let (key, value) = (required(tag, "Key")?, text(tag, "Value").unwrap_or_default());
        if key.starts_with("aws:") || key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(error(400, "InvalidInput", format!("The tag key or value of {key:?} is not valid.")));
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    if tags.len() > 50 {
        return Err(error(409, "LimitExceeded", "Cannot exceed quota for TagsPerRole: 50".to_owned()));
    }
    Ok(tags)
}

/// A name of at most `longest` characters of IAM's alphabet.
fn name<'a>(input: &'a Value, member: &'static str, longest: usize) -> Result<&'a str, ServiceError> {
    let name = required(input, member)?;
    let field = format!("{}{}", member[..1].to_ascii_lowercase(), &member[1..]);
    if name.is_empty() || name.chars().count() > longest {
        return Err(invalid(&field, &format!("Member must have length between 1 and {longest}")));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)) {
        return Err(invalid(&field, "Member must satisfy regular expression pattern: [\\w+=,.@-]+"));
    }
    Ok(name)
}

fn required<'a>(input: &'a Value, member: &'static str) -> Result<&'a str, ServiceError> {
    text(input, member).ok_or_else(|| invalid(member, "Member must not be null"))
}

fn text<'a>(input: &'a Value, member: &str) -> Option<&'a str> {
    input.get(member).and_then(Value::as_str)
}

fn items<'a>(input: &'a Value, member: &str) -> &'a [Value] {
    input.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Numbers are text on the wire.
fn integer(input: &Value, member: &str) -> Result<Option<i64>, ServiceError> {
    let wrong = || error(400, "MalformedInput", format!("{member} is not a number"));
    match input.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong()),
        Some(other) => other.as_i64().map(Some).ok_or_else(wrong),
    }
}

fn invalid(field: &str, constraint: &str) -> ServiceError {
    let message = format!("1 validation error detected: Value at '{field}' failed to satisfy constraint: {constraint}");
    error(400, "ValidationError", message)
}

fn error(status: u16, code: &str, message: String) -> ServiceError {
    ServiceError::new(code, message).with_status(status)
}
