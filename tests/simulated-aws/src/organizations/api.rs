//! The operations (Organizations API reference).

use serde_json::{Map, Value, json};

use super::tree::{Member, Organization};
use crate::World;
use crate::identity::AccountId;
use crate::operation::{Access, Call, Operation, Protocol, Service, ServiceError, epoch};
use crate::paging::page;

static SERVICE: Service = Service {
    signing_name: "organizations",
    model: "organizations",
    protocol: Protocol::AwsJson { target_prefix: "AWSOrganizationsV20161128", version: "1.1" },
};

/// A row whose action is that of its name.
macro_rules! row {
    ($name:literal, $handle:path, $($member:literal),*) => {
        Operation {
            service: &SERVICE,
            name: $name,
            members: &[$($member),*],
            http: None,
            authorize: |world, call, input| Ok(vec![access(world, call, input, concat!("organizations:", $name))]),
            handle: $handle,
        }
    };
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        row!("DescribeOrganization", describe_organization,),
        row!("DescribeAccount", describe_account, "AccountId"),
        row!("DescribeOrganizationalUnit", describe_organizational_unit, "OrganizationalUnitId"),
        row!("ListAccounts", list_accounts, "NextToken", "MaxResults"),
        row!("ListAccountsForParent", list_accounts_for_parent, "ParentId", "NextToken", "MaxResults"),
        row!("ListOrganizationalUnitsForParent", list_units_for_parent, "ParentId", "NextToken", "MaxResults"),
        row!("ListRoots", list_roots, "NextToken", "MaxResults"),
        row!("ListParents", list_parents, "ChildId", "NextToken", "MaxResults"),
        row!("ListChildren", list_children, "ParentId", "ChildType", "NextToken", "MaxResults"),
        row!("MoveAccount", move_account, "AccountId", "SourceParentId", "DestinationParentId"),
        row!("EnableAWSServiceAccess", enable_service_access, "ServicePrincipal"),
        row!("DisableAWSServiceAccess", disable_service_access, "ServicePrincipal"),
        row!("ListAWSServiceAccessForOrganization", list_service_access, "NextToken", "MaxResults"),
        row!("RegisterDelegatedAdministrator", register_administrator, "AccountId", "ServicePrincipal"),
        row!("DeregisterDelegatedAdministrator", deregister_administrator, "AccountId", "ServicePrincipal"),
        row!("ListDelegatedAdministrators", list_administrators, "ServicePrincipal", "NextToken", "MaxResults"),
        row!("ListDelegatedServicesForAccount", list_delegated_services, "AccountId", "NextToken", "MaxResults"),
    ]
}

/// What is asked for is the account, unit or root that the request names, else everything. IAM asks only the caller's own account,
/// also where the management account owns the resource.
fn access(world: &World, call: &Call, input: &Value, action: &str) -> Access {
    let named =
        ["AccountId", "ParentId", "ChildId", "OrganizationalUnitId"].iter().find_map(|member| text(input, member));
    let resource = match (world.organization_of(&call.account), named) {
        (Some(organization), Some(id)) => arn(organization, id),
        _ => "*".to_owned(),
    };
    let mut access = Access::new(action, resource);
    access.resource_policy = Some((call.account.clone(), Value::Null));
    if let Some(service) = text(input, "ServicePrincipal") {
        access = access.with("organizations:ServicePrincipal", service);
    }
    access
}

fn arn(organization: &Organization, id: &str) -> String {
    let kind = match id.split('-').next() {
        Some("r") => "root",
        Some("ou") => "ou",
        _ => "account",
    };
    format!("arn:aws:organizations::{}:{kind}/{}/{id}", organization.management(), organization.id())
}

/// Who may read: the management account and delegated administrators.
fn readable<'a>(world: &'a World, call: &Call) -> Result<&'a Organization, ServiceError> {
    let organization = world.organization_of(&call.account).ok_or_else(not_in_use)?;
    if *organization.management() == call.account || organization.delegated.contains_key(&call.account) {
        return Ok(organization);
    }
    Err(forbidden())
}

/// Who may change: the management account.
fn changeable<'a>(world: &'a mut World, call: &Call) -> Result<&'a mut Organization, ServiceError> {
    let organization = world.organizations.of_mut(&call.account).ok_or_else(not_in_use)?;
    if *organization.management() == call.account { Ok(organization) } else { Err(forbidden()) }
}

fn not_in_use() -> ServiceError {
    ServiceError::new("AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
}

fn forbidden() -> ServiceError {
    ServiceError::new("AccessDeniedException", "You don't have permissions to access this resource.")
}

fn describe_organization(world: &mut World, call: &Call, _: &Value) -> Result<Value, ServiceError> {
    let organization = world.organization_of(&call.account).ok_or_else(not_in_use)?;
    let (id, management) = (organization.id(), organization.management());
    Ok(json!({"Organization": {
        "Id": id,
        "Arn": format!("arn:aws:organizations::{management}:organization/{id}"),
        "FeatureSet": "ALL",
        "MasterAccountArn": arn(organization, management.as_str()),
        "MasterAccountId": management.as_str(),
        "MasterAccountEmail": email(management),
        "AvailablePolicyTypes": [{"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"}],
    }}))
}

fn describe_account(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let organization = readable(world, call)?;
    let account = account(input)?;
    let member = organization.members.get(&account).ok_or_else(no_account)?;
    Ok(json!({"Account": account_item(organization, &account, member)}))
}

fn describe_organizational_unit(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let organization = readable(world, call)?;
    let id = parent_id(input, "OrganizationalUnitId")?;
    if !organization.units.contains_key(id) {
        return Err(ServiceError::new(
            "OrganizationalUnitNotFoundException",
            "You specified an organizational unit that doesn't exist.",
        ));
    }
    Ok(json!({"OrganizationalUnit": unit_item(organization, id)}))
}

fn list_accounts(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let organization = readable(world, call)?;
    let items = organization.members.iter().map(|(account, member)| account_item(organization, account, member));
    listing(input, "Accounts", items.collect())
}

fn list_accounts_for_parent(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let organization = readable(world, call)?;
    let parent = parent(organization, input)?;
    let members = organization.members.iter().filter(|(_, member)| member.parent == parent);
    listing(input, "Accounts", members.map(|(account, member)| account_item(organization, account, member)).collect())
}

fn list_units_for_parent(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let organization = readable(world, call)?;
    let parent = parent(organization, input)?;
    let units = organization.units.iter().filter(|(_, unit)| unit.parent == parent);
    listing(input, "OrganizationalUnits", units.map(|(id, _)| unit_item(organization, id)).collect())
}

fn list_roots(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let organization = readable(world, call)?;
    let root = organization.root();
    listing(
        input,
        "Roots",
        vec![json!({"Id": root, "Arn": arn(organization, root), "Name": "Root", "PolicyTypes": []})],
    )
}

fn list_parents(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let organization = readable(world, call)?;
    let child = required(input, "ChildId")?;
    let of_account = AccountId::new(child).and_then(|account| Some(organization.members.get(&account)?.parent.clone()));
    let parent = of_account
        .or_else(|| Some(organization.units.get(child)?.parent.clone()))
        .ok_or_else(|| ServiceError::new("ChildNotFoundException", "You specified a child that doesn't exist."))?;
    let kind = if parent == organization.root() { "ROOT" } else { "ORGANIZATIONAL_UNIT" };
    listing(input, "Parents", vec![json!({"Id": parent, "Type": kind})])
}

fn list_children(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let organization = readable(world, call)?;
    let parent = parent(organization, input)?;
    let kind = required(input, "ChildType")?;
    let ids: Vec<&str> = match kind {
        "ACCOUNT" => organization.accounts_in(parent).map(AccountId::as_str).collect(),
        "ORGANIZATIONAL_UNIT" => {
            organization.units.iter().filter(|(_, unit)| unit.parent == parent).map(|(id, _)| id.as_str()).collect()
        }
        other => return Err(invalid("INVALID_ENUM", &format!("{other} is no child type"))),
    };
    listing(input, "Children", ids.into_iter().map(|id| json!({"Id": id, "Type": kind})).collect())
}

fn move_account(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let account = account(input)?;
    let source = parent_id(input, "SourceParentId")?;
    let destination = parent_id(input, "DestinationParentId")?;
    let organization = changeable(world, call)?;
    if !organization.has_parent(destination) {
        return Err(ServiceError::new(
            "DestinationParentNotFoundException",
            "The destination container doesn't exist.",
        ));
    }
    let member = organization.members.get_mut(&account).ok_or_else(no_account)?;
    if member.parent != source {
        return Err(ServiceError::new(
            "SourceParentNotFoundException",
            "The source container doesn't hold the account.",
        ));
    }
    if source == destination {
        return Err(ServiceError::new("DuplicateAccountException", "The account is already in the destination."));
    }
    member.parent = destination.to_owned();
    Ok(json!({}))
}

fn enable_service_access(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let service = service(input)?.to_owned();
    let now = world.now();
    changeable(world, call)?.services.entry(service).or_insert(now);
    Ok(json!({}))
}

fn disable_service_access(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let service = service(input)?;
    changeable(world, call)?.services.remove(service);
    Ok(json!({}))
}

fn list_service_access(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let services = &readable(world, call)?.services;
    let items = services.iter().map(|(name, at)| json!({"ServicePrincipal": name, "DateEnabled": epoch(*at)}));
    listing(input, "EnabledServicePrincipals", items.collect())
}

fn register_administrator(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (account, service) = (account(input)?, service(input)?.to_owned());
    let now = world.now();
    let organization = changeable(world, call)?;
    let member = organization.members.get(&account).ok_or_else(no_account)?;
    if account == *organization.management() {
        return Err(constraint("CANNOT_REGISTER_MASTER_AS_DELEGATED_ADMINISTRATOR"));
    }
    if member.status != super::AccountStatus::Active {
        return Err(constraint("CANNOT_REGISTER_SUSPENDED_ACCOUNT_AS_DELEGATED_ADMINISTRATOR"));
    }
    if !organization.trusts(&service) {
        return Err(constraint("SERVICE_ACCESS_NOT_ENABLED"));
    }
    if organization.administers(&account, &service) {
        return Err(ServiceError::new(
            "AccountAlreadyRegisteredException",
            "The provided account is already a delegated administrator for your organization.",
        ));
    }
    organization.delegated.entry(account).or_default().insert(service, now);
    Ok(json!({}))
}

fn deregister_administrator(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (account, service) = (account(input)?, service(input)?);
    let organization = changeable(world, call)?;
    let services = organization.delegated.get_mut(&account).ok_or_else(not_registered)?;
    services.remove(service).ok_or_else(not_registered)?;
    if services.is_empty() {
        organization.delegated.remove(&account);
    }
    Ok(json!({}))
}

fn list_administrators(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let organization = readable(world, call)?;
    let service = text(input, "ServicePrincipal");
    let mut items = Vec::new();
    for (account, services) in &organization.delegated {
        let since = match service {
            Some(service) => services.get(service),
            None => services.values().min(),
        };
        if let (Some(since), Some(member)) = (since, organization.members.get(account)) {
            let mut item = account_item(organization, account, member);
            item.as_object_mut().map(|members| members.remove("Paths"));
            item["DelegationEnabledDate"] = epoch(*since);
            items.push(item);
        }
    }
    listing(input, "DelegatedAdministrators", items)
}

fn list_delegated_services(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let organization = readable(world, call)?;
    let account = account(input)?;
    if !organization.members.contains_key(&account) {
        return Err(no_account());
    }
    let services = organization.delegated.get(&account).ok_or_else(not_registered)?;
    let item = |(name, since): (&String, &_)| json!({"ServicePrincipal": name, "DelegationEnabledDate": epoch(*since)});
    listing(input, "DelegatedServices", services.iter().map(item).collect())
}

fn account_item(organization: &Organization, account: &AccountId, member: &Member) -> Value {
    json!({
        "Id": account.as_str(),
        "Arn": arn(organization, account.as_str()),
        "Email": email(account),
        "Name": format!("account-{account}"),
        "Status": member.status.as_str(),
        "State": member.status.as_str(),
        "Paths": [format!("{}{account}/", organization.path_of_parent(&member.parent))],
        "JoinedMethod": if account == organization.management() { "INVITED" } else { "CREATED" },
        "JoinedTimestamp": epoch(member.joined),
    })
}

fn unit_item(organization: &Organization, id: &str) -> Value {
    let name = organization.units.get(id).map(|unit| unit.name.as_str());
    json!({"Id": id, "Arn": arn(organization, id), "Name": name, "Path": organization.path_of_parent(id)})
}

fn email(account: &AccountId) -> String {
    format!("account-{account}@example.com")
}

/// Pages hold at most 20 items.
fn listing(input: &Value, member: &str, all: Vec<Value>) -> Result<Value, ServiceError> {
    let size = match input.get("MaxResults") {
        None => 20,
        Some(size) => size
            .as_u64()
            .filter(|size| (1..=20).contains(size))
            .and_then(|size| usize::try_from(size).ok())
            .ok_or_else(|| invalid("MAX_VALUE_EXCEEDED", "MaxResults must be between 1 and 20"))?,
    };
    let (items, next) = page(&all, text(input, "NextToken"), size, "InvalidInputException")?;
    let mut output = Map::from_iter([(member.to_owned(), json!(items))]);
    if let Some(next) = next {
        output.insert("NextToken".to_owned(), json!(next));
    }
    Ok(Value::Object(output))
}

fn parent<'a>(organization: &Organization, input: &'a Value) -> Result<&'a str, ServiceError> {
    let id = parent_id(input, "ParentId")?;
    if organization.has_parent(id) {
        return Ok(id);
    }
    Err(ServiceError::new("ParentNotFoundException", "You specified a parent that doesn't exist."))
}

/// An id of the form `r-…` or `ou-…-…`.
fn parent_id<'a>(input: &'a Value, member: &str) -> Result<&'a str, ServiceError> {
    let id = required(input, member)?;
    let lower = |text: &str, least: usize| {
        (least..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let formed = match id.split('-').collect::<Vec<_>>()[..] {
        ["r", root] => lower(root, 4) && member != "OrganizationalUnitId",
        ["ou", root, unit] => lower(root, 4) && lower(unit, 8),
        _ => false,
    };
    if formed { Ok(id) } else { Err(invalid("INVALID_PATTERN", &format!("{member} {id} is not well-formed"))) }
}

fn account(input: &Value) -> Result<AccountId, ServiceError> {
    let id = required(input, "AccountId")?;
    AccountId::new(id).ok_or_else(|| invalid("INVALID_PATTERN", &format!("{id} is not an account id")))
}

fn service(input: &Value) -> Result<&str, ServiceError> {
    let name = required(input, "ServicePrincipal")?;
    if name.ends_with(".amazonaws.com") {
        return Ok(name);
    }
    Err(invalid("UNRECOGNIZED_SERVICE_PRINCIPAL", &format!("You specified an unrecognized service principal: {name}")))
}

fn required<'a>(input: &'a Value, member: &str) -> Result<&'a str, ServiceError> {
    text(input, member).ok_or_else(|| invalid("INPUT_REQUIRED", &format!("You must specify {member}.")))
}

fn text<'a>(input: &'a Value, member: &str) -> Option<&'a str> {
    input.get(member).and_then(Value::as_str)
}

fn no_account() -> ServiceError {
    ServiceError::new("AccountNotFoundException", "You specified an account that doesn't exist.")
}

fn not_registered() -> ServiceError {
    ServiceError::new(
        "AccountNotRegisteredException",
        "The provided account is not a registered delegated administrator for your organization.",
    )
}

fn invalid(reason: &str, message: &str) -> ServiceError {
    reasoned("InvalidInputException", reason, message)
}

fn constraint(reason: &str) -> ServiceError {
    reasoned("ConstraintViolationException", reason, "You have exceeded a limit or violated a constraint.")
}

fn reasoned(code: &str, reason: &str, message: &str) -> ServiceError {
    let mut error = ServiceError::new(code, message);
    error.fields.insert("Reason".to_owned(), json!(reason));
    error
}
