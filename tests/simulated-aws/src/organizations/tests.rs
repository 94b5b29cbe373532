use serde_json::{Value, json};

use super::AccountStatus;
use crate::{AccountId, Region, ServiceError, SimulatedAws};

struct Fixture {
    aws: SimulatedAws,
    root: String,
    unit: String,
    nested: String,
}

const MANAGEMENT: &str = "000000000001";
const DELEGATE: &str = "000000000002";
const OUTSIDER: &str = "999999999999";

fn id(account: &str) -> AccountId {
    AccountId::new(account).unwrap()
}

/// A root with the delegate, a unit with 25 accounts, and in it a unit with one account.
fn fixture() -> Fixture {
    let aws = SimulatedAws::new(1);
    let mut world = aws.world();
    let root = world.create_organization(&id(MANAGEMENT));
    let unit = world.create_organizational_unit(&root, "workloads");
    let nested = world.create_organizational_unit(&unit, "production");
    world.place_account(&id(DELEGATE), &root);
    for number in 100..125 {
        world.place_account(&id(&format!("{number:012}")), &unit);
    }
    world.place_account(&id("000000000200"), &nested);
    world.add_account(&id(OUTSIDER));
    drop(world);
    Fixture { aws, root, unit, nested }
}

impl Fixture {
    fn call(&self, account: &str, operation: &str, input: Value) -> Result<Value, ServiceError> {
        self.aws.call(&id(account), &Region::new("us-east-1").unwrap(), "organizations", operation, input)
    }

    fn code(&self, account: &str, operation: &str, input: Value) -> String {
        self.call(account, operation, input).unwrap_err().code
    }

    fn register(&self, account: &str, service: &str) -> Result<Value, ServiceError> {
        self.call(
            MANAGEMENT,
            "RegisterDelegatedAdministrator",
            json!({"AccountId": account, "ServicePrincipal": service}),
        )
    }
}

#[test]
fn accounts_are_listed_in_pages_of_twenty() {
    let fixture = fixture();
    let first = fixture.call(MANAGEMENT, "ListAccountsForParent", json!({"ParentId": fixture.unit})).unwrap();
    assert_eq!(first["Accounts"].as_array().unwrap().len(), 20);
    let input = json!({"ParentId": fixture.unit, "NextToken": first["NextToken"]});
    let second = fixture.call(MANAGEMENT, "ListAccountsForParent", input).unwrap();
    assert_eq!(second["Accounts"].as_array().unwrap().len(), 5);
    assert_eq!(second.get("NextToken"), None);
    let all = fixture.call(MANAGEMENT, "ListAccounts", json!({"MaxResults": 3})).unwrap();
    assert_eq!(all["Accounts"].as_array().unwrap().len(), 3);
    assert_eq!(fixture.code(MANAGEMENT, "ListAccounts", json!({"MaxResults": 21})), "InvalidInputException");
}

#[test]
fn units_nest_and_paths_say_where() {
    let Fixture { root, unit, nested, .. } = &fixture();
    let fixture = fixture();
    let listed = |parent: &str| {
        let output = fixture.call(MANAGEMENT, "ListOrganizationalUnitsForParent", json!({"ParentId": parent})).unwrap();
        output["OrganizationalUnits"].as_array().unwrap().iter().map(|unit| unit["Id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed(root), [json!(unit)]);
    assert_eq!(listed(unit), [json!(nested)]);
    assert!(listed(nested).is_empty());
    let parents = fixture.call(MANAGEMENT, "ListParents", json!({"ChildId": nested})).unwrap();
    assert_eq!(parents["Parents"], json!([{"Id": unit, "Type": "ORGANIZATIONAL_UNIT"}]));
    let parents = fixture.call(MANAGEMENT, "ListParents", json!({"ChildId": DELEGATE})).unwrap();
    assert_eq!(parents["Parents"], json!([{"Id": root, "Type": "ROOT"}]));
    let children = fixture.call(MANAGEMENT, "ListChildren", json!({"ParentId": nested, "ChildType": "ACCOUNT"}));
    assert_eq!(children.unwrap()["Children"], json!([{"Id": "000000000200", "Type": "ACCOUNT"}]));
    let described = fixture.call(MANAGEMENT, "DescribeOrganizationalUnit", json!({"OrganizationalUnitId": nested}));
    let world = fixture.aws.world();
    let organization = world.organization_of(&id(MANAGEMENT)).unwrap();
    let path = format!("{}/{root}/{unit}/{nested}/", organization.id());
    assert_eq!(described.unwrap()["OrganizationalUnit"]["Path"], json!(path));
    assert_eq!(organization.path_of_account(&id("000000000200")), Some(path));
    assert_eq!(organization.accounts_below(unit).count(), 26);
    assert_eq!(organization.accounts_in(unit).count(), 25);
}

#[test]
fn only_management_and_delegates_read_and_only_management_changes() {
    let fixture = fixture();
    let config = "config.amazonaws.com";
    assert_eq!(fixture.code("000000000100", "ListAccounts", json!({})), "AccessDeniedException");
    assert_eq!(fixture.code(OUTSIDER, "ListAccounts", json!({})), "AWSOrganizationsNotInUseException");
    assert_eq!(fixture.code(OUTSIDER, "DescribeOrganization", json!({})), "AWSOrganizationsNotInUseException");
    let described = fixture.call("000000000100", "DescribeOrganization", json!({})).unwrap();
    assert_eq!(described["Organization"]["MasterAccountId"], json!(MANAGEMENT));
    assert_eq!(fixture.code(DELEGATE, "ListRoots", json!({})), "AccessDeniedException");
    fixture.call(MANAGEMENT, "EnableAWSServiceAccess", json!({"ServicePrincipal": config})).unwrap();
    fixture.register(DELEGATE, config).unwrap();
    assert_eq!(fixture.call(DELEGATE, "ListRoots", json!({})).unwrap()["Roots"][0]["Id"], json!(fixture.root));
    let input = json!({"AccountId": DELEGATE, "SourceParentId": fixture.root, "DestinationParentId": fixture.unit});
    assert_eq!(fixture.code(DELEGATE, "MoveAccount", input.clone()), "AccessDeniedException");
    fixture.call(MANAGEMENT, "MoveAccount", input.clone()).unwrap();
    assert_eq!(fixture.code(MANAGEMENT, "MoveAccount", input), "SourceParentNotFoundException");
}

#[test]
fn delegation_needs_trusted_access_and_an_active_member() {
    let fixture = fixture();
    let config = "config.amazonaws.com";
    let refused = |account: &str| {
        let error = fixture.register(account, config).unwrap_err();
        error.fields.get("Reason").cloned().unwrap_or(json!(error.code))
    };
    assert_eq!(refused(DELEGATE), "SERVICE_ACCESS_NOT_ENABLED");
    fixture.call(MANAGEMENT, "EnableAWSServiceAccess", json!({"ServicePrincipal": config})).unwrap();
    assert_eq!(refused(MANAGEMENT), "CANNOT_REGISTER_MASTER_AS_DELEGATED_ADMINISTRATOR");
    assert_eq!(refused(OUTSIDER), "AccountNotFoundException");
    fixture.aws.world().set_account_status(&id("000000000100"), AccountStatus::Suspended);
    assert_eq!(refused("000000000100"), "CANNOT_REGISTER_SUSPENDED_ACCOUNT_AS_DELEGATED_ADMINISTRATOR");
    let input = json!({"AccountId": DELEGATE});
    assert_eq!(
        fixture.code(MANAGEMENT, "ListDelegatedServicesForAccount", input.clone()),
        "AccountNotRegisteredException"
    );
    fixture.register(DELEGATE, config).unwrap();
    assert_eq!(refused(DELEGATE), "AccountAlreadyRegisteredException");
    let services = fixture.call(MANAGEMENT, "ListDelegatedServicesForAccount", input).unwrap();
    assert_eq!(services["DelegatedServices"][0]["ServicePrincipal"], config);
    for (service, expected) in [(config, 1), ("member.org.stacksets.cloudformation.amazonaws.com", 0)] {
        let input = json!({"ServicePrincipal": service});
        let listed = fixture.call(DELEGATE, "ListDelegatedAdministrators", input).unwrap();
        assert_eq!(listed["DelegatedAdministrators"].as_array().unwrap().len(), expected, "{service}");
    }
    let enabled = fixture.call(DELEGATE, "ListAWSServiceAccessForOrganization", json!({})).unwrap();
    assert_eq!(enabled["EnabledServicePrincipals"][0]["ServicePrincipal"], config);
    let input = json!({"AccountId": DELEGATE, "ServicePrincipal": config});
    fixture.call(MANAGEMENT, "DeregisterDelegatedAdministrator", input).unwrap();
    assert_eq!(fixture.code(DELEGATE, "ListRoots", json!({})), "AccessDeniedException");
}

#[test]
fn a_closed_account_is_suspended_and_gone_after_ninety_days() {
    let fixture = fixture();
    let account = "000000000200";
    let status = || match fixture.call(MANAGEMENT, "DescribeAccount", json!({"AccountId": account})) {
        Ok(output) => output["Account"]["Status"].as_str().unwrap().to_owned(),
        Err(error) => error.code,
    };
    assert_eq!(status(), "ACTIVE");
    fixture.aws.world().close_account(&id(account));
    assert_eq!(status(), "PENDING_CLOSURE");
    fixture.aws.advance(jiff::SignedDuration::from_hours(1));
    assert_eq!(status(), "SUSPENDED");
    fixture.aws.advance(jiff::SignedDuration::from_hours(90 * 24));
    assert_eq!(status(), "AccountNotFoundException");
}

#[test]
fn ids_that_do_not_exist_or_are_malformed_are_told_apart() {
    let fixture = fixture();
    for (operation, input, expected) in [
        ("ListAccountsForParent", json!({"ParentId": "ou-0001-abcdefgh"}), "ParentNotFoundException"),
        ("ListAccountsForParent", json!({"ParentId": "workloads"}), "InvalidInputException"),
        ("ListAccountsForParent", json!({}), "InvalidInputException"),
        (
            "DescribeOrganizationalUnit",
            json!({"OrganizationalUnitId": "ou-0001-abcdefgh"}),
            "OrganizationalUnitNotFoundException",
        ),
        ("DescribeOrganizationalUnit", json!({"OrganizationalUnitId": fixture.root}), "InvalidInputException"),
        ("DescribeAccount", json!({"AccountId": OUTSIDER}), "AccountNotFoundException"),
        ("DescribeAccount", json!({"AccountId": "1"}), "InvalidInputException"),
        ("ListParents", json!({"ChildId": OUTSIDER}), "ChildNotFoundException"),
        ("ListChildren", json!({"ParentId": fixture.nested, "ChildType": "ROOT"}), "InvalidInputException"),
        ("EnableAWSServiceAccess", json!({"ServicePrincipal": "config"}), "InvalidInputException"),
    ] {
        assert_eq!(fixture.code(MANAGEMENT, operation, input.clone()), expected, "{operation} {input}");
    }
}
