//! Roles, sessions and authorization in the simulated world.

use aws_sdk_sts::error::ProvideErrorMetadata;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Context, assume_for_service, authorize_pass_role};
use crate::operation::Call;
use crate::{AccountId, Principal, Region, ServiceError, SimulatedAws};

const HUB: &str = "111111111111";
const WORKLOAD: &str = "222222222222";

fn id(account: &str) -> AccountId {
    AccountId::new(account).unwrap()
}

fn region() -> Region {
    Region::new("eu-west-1").unwrap()
}

fn two_accounts() -> SimulatedAws {
    let aws = SimulatedAws::new(1);
    aws.world().add_account(&id(HUB));
    aws.world().add_account(&id(WORKLOAD));
    aws
}

fn iam(aws: &SimulatedAws, account: &str, operation: &str, input: Value) -> Result<Value, ServiceError> {
    aws.call(&id(account), &region(), "iam", operation, input)
}

fn trusting(principal: Value) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]})
        .to_string()
}

fn allowing(action: &str, resource: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]})
        .to_string()
}

fn make_role(aws: &SimulatedAws, account: &str, name: &str, principal: Value) {
    let input = json!({"RoleName": name, "AssumeRolePolicyDocument": trusting(principal)});
    iam(aws, account, "CreateRole", input).unwrap();
}

fn allow(aws: &SimulatedAws, account: &str, role: &str, action: &str, resource: &str) {
    let input = json!({"RoleName": role, "PolicyName": "p", "PolicyDocument": allowing(action, resource)});
    iam(aws, account, "PutRolePolicy", input).unwrap();
}

fn session(account: &str, role: &str) -> Principal {
    Principal::Role { account: id(account), role: role.to_owned(), session: "session".to_owned() }
}

#[test]
fn a_role_lives_and_dies_by_the_rules() {
    let aws = two_accounts();
    let code =
        |operation: &str, input: Value| iam(&aws, HUB, operation, input).map_or_else(|e| e.code, |_| "OK".into());
    let role = json!({"RoleName": "r"});
    let lambda = trusting(json!({"Service": "lambda.amazonaws.com"}));
    let create = json!({"RoleName": "r", "Path": "/p/", "AssumeRolePolicyDocument": lambda, "Description": "d",
        "MaxSessionDuration": "7200", "Tags": [{"Key": "team", "Value": "a"}]});
    let managed = json!({"RoleName": "r", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"});
    let inline = json!({"RoleName": "r", "PolicyName": "p", "PolicyDocument": allowing("ecr:*", "*")});
    let named = json!({"RoleName": "r", "PolicyName": "p"});
    for (operation, input, expected) in [
        ("GetRole", role.clone(), "NoSuchEntity"),
        ("CreateRole", create.clone(), "OK"),
        ("CreateRole", json!({"RoleName": "R", "AssumeRolePolicyDocument": lambda}), "EntityAlreadyExists"),
        ("CreateRole", json!({"RoleName": "x".repeat(65), "AssumeRolePolicyDocument": lambda}), "ValidationError"),
        ("CreateRole", json!({"RoleName": "a b", "AssumeRolePolicyDocument": lambda}), "ValidationError"),
        ("CreateRole", json!({"RoleName": "s", "Path": "p", "AssumeRolePolicyDocument": lambda}), "ValidationError"),
        ("CreateRole", json!({"RoleName": "s", "AssumeRolePolicyDocument": "{}"}), "MalformedPolicyDocument"),
        (
            "CreateRole",
            json!({"RoleName": "s", "AssumeRolePolicyDocument": trusting(json!({"AWS": "333333333333"}))}),
            "MalformedPolicyDocument",
        ),
        (
            "CreateRole",
            json!({"RoleName": "s", "AssumeRolePolicyDocument": lambda, "MaxSessionDuration": 60}),
            "ValidationError",
        ),
        (
            "CreateRole",
            json!({"RoleName": "s", "AssumeRolePolicyDocument": lambda, "PermissionsBoundary": "x"}),
            "NotSimulated",
        ),
        ("PutRolePolicy", inline.clone(), "OK"),
        (
            "PutRolePolicy",
            json!({"RoleName": "r", "PolicyName": "q", "PolicyDocument": allowing("ecr", "*")}),
            "MalformedPolicyDocument",
        ),
        (
            "PutRolePolicy",
            json!({"RoleName": "r", "PolicyName": "q", "PolicyDocument": allowing("ecr:*", &format!("arn:aws:ecr:*:*:{}", "x".repeat(10_240)))}),
            "LimitExceeded",
        ),
        (
            "PutRolePolicy",
            json!({"RoleName": "x", "PolicyName": "q", "PolicyDocument": allowing("ecr:*", "*")}),
            "NoSuchEntity",
        ),
        ("AttachRolePolicy", managed.clone(), "OK"),
        (
            "AttachRolePolicy",
            json!({"RoleName": "r", "PolicyArn": "arn:aws:iam::aws:policy/PowerUserAccess"}),
            "NotSimulated",
        ),
        (
            "AttachRolePolicy",
            json!({"RoleName": "r", "PolicyArn": "arn:aws:iam::111111111111:policy/mine"}),
            "NoSuchEntity",
        ),
        ("DeleteRole", role.clone(), "DeleteConflict"),
        ("DetachRolePolicy", managed.clone(), "OK"),
        ("DetachRolePolicy", managed, "NoSuchEntity"),
        ("DeleteRole", role.clone(), "DeleteConflict"),
        ("GetRolePolicy", named.clone(), "OK"),
        ("DeleteRolePolicy", named.clone(), "OK"),
        ("DeleteRolePolicy", named.clone(), "NoSuchEntity"),
        ("GetRolePolicy", named, "NoSuchEntity"),
        ("UpdateRole", json!({"RoleName": "r", "MaxSessionDuration": 3600}), "OK"),
        (
            "UpdateAssumeRolePolicy",
            json!({"RoleName": "r", "PolicyDocument": trusting(json!({"AWS": WORKLOAD}))}),
            "OK",
        ),
        ("UntagRole", json!({"RoleName": "r", "TagKeys": ["team"]}), "OK"),
        ("TagRole", json!({"RoleName": "r", "Tags": [{"Key": "aws:x", "Value": "a"}]}), "InvalidInput"),
        ("DeleteRole", role.clone(), "OK"),
        ("DeleteRole", role, "NoSuchEntity"),
    ] {
        assert_eq!(code(operation, input.clone()), expected, "{operation} {input}");
    }
}

#[test]
fn what_was_written_is_read_back() {
    let aws = two_accounts();
    let trust = trusting(json!({"Service": "lambda.amazonaws.com"}));
    let input = json!({"RoleName": "r", "Path": "/p/", "AssumeRolePolicyDocument": trust, "Tags": [{"Key": "k", "Value": "v"}]});
    let made = iam(&aws, HUB, "CreateRole", input).unwrap();
    assert_eq!(made["Role"]["Arn"], "arn:aws:iam::111111111111:role/p/r");
    let document = made["Role"]["AssumeRolePolicyDocument"].as_str().unwrap();
    assert_eq!(percent_encoding::percent_decode_str(document).decode_utf8().unwrap(), trust);
    assert!(!document.contains(['{', '"', ' ']));
    assert_eq!(iam(&aws, HUB, "GetRole", json!({"RoleName": "r"})).unwrap()["Role"], made["Role"]);
    for name in ["b", "a", "c"] {
        let input = json!({"RoleName": "r", "PolicyName": name, "PolicyDocument": allowing("ecr:*", "*")});
        iam(&aws, HUB, "PutRolePolicy", input).unwrap();
    }
    let first = iam(&aws, HUB, "ListRolePolicies", json!({"RoleName": "r", "MaxItems": "2"})).unwrap();
    assert_eq!((&first["PolicyNames"], &first["IsTruncated"]), (&json!(["a", "b"]), &json!(true)));
    let rest = iam(&aws, HUB, "ListRolePolicies", json!({"RoleName": "r", "Marker": first["Marker"]})).unwrap();
    assert_eq!((&rest["PolicyNames"], &rest["IsTruncated"]), (&json!(["c"]), &json!(false)));
    let tags = iam(&aws, HUB, "ListRoleTags", json!({"RoleName": "r"})).unwrap();
    assert_eq!(tags["Tags"], json!([{"Key": "k", "Value": "v"}]));
    let arn = "arn:aws:iam::aws:policy/service-role/AWSConfigRoleForOrganizations";
    iam(&aws, HUB, "AttachRolePolicy", json!({"RoleName": "r", "PolicyArn": arn})).unwrap();
    let attached = iam(&aws, HUB, "ListAttachedRolePolicies", json!({"RoleName": "r"})).unwrap();
    assert_eq!(
        attached["AttachedPolicies"],
        json!([{"PolicyName": "AWSConfigRoleForOrganizations", "PolicyArn": arn}])
    );
    let roles = iam(&aws, HUB, "ListRoles", json!({"PathPrefix": "/p/"})).unwrap();
    assert_eq!(roles["Roles"].as_array().unwrap().len(), 1);
    assert_eq!(iam(&aws, WORKLOAD, "ListRoles", json!({})).unwrap()["Roles"], json!([]), "roles belong to an account");
}

#[test]
fn a_policy_with_a_key_that_no_request_carries_is_refused_by_name() {
    let aws = two_accounts();
    make_role(&aws, HUB, "r", json!({"Service": "lambda.amazonaws.com"}));
    let document = json!({"Statement": {"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
        "Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}});
    let input = json!({"RoleName": "r", "PolicyName": "p", "PolicyDocument": document.to_string()});
    let refused = iam(&aws, HUB, "PutRolePolicy", input).unwrap_err();
    assert_eq!(refused.message, "the simulated AWS does not implement the condition key aws:sourcevpc");
}

#[test]
fn a_role_session_may_do_what_its_role_may() {
    let aws = two_accounts();
    make_role(&aws, HUB, "r", json!({"Service": "lambda.amazonaws.com"}));
    let list = |principal: &Principal| {
        let mut world = aws.world();
        world.call_as(principal, &id(HUB), &region(), "iam", "ListRolePolicies", json!({"RoleName": "r"}))
    };
    let error = list(&session(HUB, "r")).unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("AccessDenied", 403));
    assert_eq!(
        error.message,
        "User: arn:aws:sts::111111111111:assumed-role/r/session is not authorized to perform: iam:ListRolePolicies on \
         resource: arn:aws:iam::111111111111:role/r because no identity-based policy allows the iam:ListRolePolicies action"
    );
    allow(&aws, HUB, "r", "iam:List*", "arn:aws:iam::*:role/r");
    list(&session(HUB, "r")).unwrap();
    assert!(list(&session(HUB, "gone")).is_err(), "a role that does not exist may do nothing");
    let error = aws
        .world()
        .call_as(&session(HUB, "r"), &id(HUB), &region(), "organizations", "ListAccounts", json!({}))
        .unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("AccessDeniedException", 400));
}

#[test]
fn sdk_clients_assume_roles_that_trust_them() {
    let aws = two_accounts();
    make_role(&aws, HUB, "checker", json!({"Service": "lambda.amazonaws.com"}));
    let trust = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": HUB}, "Action": "sts:AssumeRole",
        "Condition": {"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::111111111111:role/checker"}, "StringEquals": {"sts:ExternalId": "42"}}}});
    let input = json!({"RoleName": "evidence", "AssumeRolePolicyDocument": trust.to_string()});
    iam(&aws, WORKLOAD, "CreateRole", input).unwrap();
    let evidence = "arn:aws:iam::222222222222:role/evidence";
    let assume = |external: Option<&str>| {
        let sts = aws_sdk_sts::Client::new(&aws.sdk_config(session(HUB, "checker"), &region()));
        let request = sts.assume_role().role_arn(evidence).role_session_name("checks");
        aws.run(request.set_external_id(external.map(str::to_owned)).send()).map_err(Box::new)
    };
    let denied = assume(Some("42")).unwrap_err();
    assert_eq!(denied.code(), Some("AccessDenied"));
    assert_eq!(
        denied.message(),
        Some(
            "User: arn:aws:sts::111111111111:assumed-role/checker/session is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::222222222222:role/evidence"
        )
    );
    allow(&aws, HUB, "checker", "sts:AssumeRole", evidence);
    assert_eq!(assume(None).unwrap_err().code(), Some("AccessDenied"), "the external id is missing");
    let assumed = assume(Some("42")).unwrap();
    assert_eq!(assumed.assumed_role_user().unwrap().arn(), "arn:aws:sts::222222222222:assumed-role/evidence/checks");
    let key = assumed.credentials().unwrap().access_key_id().to_owned();
    let expected = Principal::Role { account: id(WORKLOAD), role: "evidence".to_owned(), session: "checks".to_owned() };
    assert_eq!(aws.world().principal_of(&key).unwrap(), expected);
    let sts = aws_sdk_sts::Client::new(&aws.sdk_config(expected, &region()));
    let identity = aws.run(sts.get_caller_identity().send()).unwrap();
    assert_eq!(identity.account(), Some(WORKLOAD));
    assert!(identity.user_id().unwrap().ends_with(":checks"));
    aws.advance(SignedDuration::from_mins(59));
    aws.world().principal_of(&key).unwrap();
    aws.advance(SignedDuration::from_mins(1));
    assert_eq!(aws.world().principal_of(&key).unwrap_err().code, "ExpiredTokenException");
}

#[test]
fn sessions_have_limits() {
    let aws = two_accounts();
    make_role(&aws, HUB, "target", json!({"AWS": [HUB, WORKLOAD]}));
    iam(&aws, HUB, "UpdateRole", json!({"RoleName": "target", "MaxSessionDuration": 7200})).unwrap();
    make_role(&aws, HUB, "caller", json!({"AWS": HUB}));
    allow(&aws, HUB, "caller", "sts:AssumeRole", "*");
    let administrator = Principal::Administrator { account: id(HUB) };
    let assume = |principal: &Principal, role: &str, name: &str, seconds: Value| {
        let input = json!({"RoleArn": format!("arn:aws:iam::111111111111:role/{role}"), "RoleSessionName": name,
            "DurationSeconds": seconds});
        let outcome = aws.world().call_as(principal, &id(HUB), &region(), "sts", "AssumeRole", input);
        outcome.map_or_else(|error| error.code, |_| "OK".to_owned())
    };
    let caller = session(HUB, "caller");
    for (principal, role, name, seconds, expected) in [
        (&administrator, "target", "name", json!("7200"), "OK"),
        (&administrator, "target", "name", json!(7201), "ValidationError"),
        (&administrator, "target", "name", json!(899), "ValidationError"),
        (&administrator, "target", "a name", json!(900), "ValidationError"),
        (&administrator, "target", "n", json!(900), "ValidationError"),
        (&administrator, "missing", "name", json!(900), "AccessDenied"),
        (&caller, "target", "name", json!(3600), "OK"),
        (&caller, "target", "name", json!(3601), "ValidationError"),
    ] {
        assert_eq!(assume(principal, role, name, seconds.clone()), expected, "{role} {name} {seconds}");
    }
    let input =
        json!({"RoleArn": "arn:aws:iam::111111111111:role/target", "RoleSessionName": "n1", "SourceIdentity": "x"});
    let refused = aws.call(&id(HUB), &region(), "sts", "AssumeRole", input).unwrap_err();
    assert_eq!(refused.message, "the simulated AWS does not implement the parameter SourceIdentity of sts:AssumeRole");
}

#[test]
fn nobody_gets_into_a_closed_account() {
    let aws = two_accounts();
    let root = aws.world().create_organization(&id(HUB));
    aws.world().place_account(&id(WORKLOAD), &root);
    make_role(&aws, WORKLOAD, "r", json!({"AWS": HUB}));
    let input = json!({"RoleArn": "arn:aws:iam::222222222222:role/r", "RoleSessionName": "name"});
    aws.call(&id(HUB), &region(), "sts", "AssumeRole", input.clone()).unwrap();
    aws.world().close_account(&id(WORKLOAD));
    let denied = aws.call(&id(HUB), &region(), "sts", "AssumeRole", input).unwrap_err();
    assert_eq!(denied.code, "AccessDenied");
}

#[test]
fn the_organization_is_known_to_trust_policies() {
    let aws = two_accounts();
    let root = aws.world().create_organization(&id(HUB));
    let unit = aws.world().create_organizational_unit(&root, "workloads");
    let organization = aws.world().organization_of(&id(HUB)).unwrap().id().to_owned();
    let trust = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole",
        "Condition": {"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": format!("{organization}/*/{unit}/*")}}}});
    let input = json!({"RoleName": "r", "AssumeRolePolicyDocument": trust.to_string()});
    iam(&aws, HUB, "CreateRole", input).unwrap();
    let assume = || {
        let input = json!({"RoleArn": "arn:aws:iam::111111111111:role/r", "RoleSessionName": "name"});
        aws.call(&id(WORKLOAD), &region(), "sts", "AssumeRole", input)
    };
    assert_eq!(assume().unwrap_err().code, "AccessDenied", "outside the organization");
    aws.world().place_account(&id(WORKLOAD), &root);
    assert_eq!(assume().unwrap_err().code, "AccessDenied", "outside the unit");
    aws.world().place_account(&id(WORKLOAD), &unit);
    assume().unwrap();
}

#[test]
fn passing_a_role_needs_a_permission_for_that_service() {
    let aws = two_accounts();
    make_role(&aws, HUB, "provider", json!({"Service": "lambda.amazonaws.com"}));
    make_role(&aws, HUB, "scheduler", json!({"Service": "scheduler.amazonaws.com"}));
    let arn = "arn:aws:iam::111111111111:role/scheduler";
    let document = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:PassRole", "Resource": arn,
        "Condition": {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}}});
    let input = json!({"RoleName": "provider", "PolicyName": "p", "PolicyDocument": document.to_string()});
    iam(&aws, HUB, "PutRolePolicy", input).unwrap();
    let world = aws.world();
    let pass = |principal: &Principal, service: &str| authorize_pass_role(&world, principal, arn, service);
    pass(&session(HUB, "provider"), "scheduler.amazonaws.com").unwrap();
    let denied = pass(&session(HUB, "provider"), "events.amazonaws.com").unwrap_err();
    assert!(
        denied.message.contains(
            "is not authorized to perform: iam:PassRole on resource: arn:aws:iam::111111111111:role/scheduler"
        )
    );
    pass(&session(HUB, "scheduler"), "scheduler.amazonaws.com").unwrap_err();
    pass(&session(WORKLOAD, "x"), "scheduler.amazonaws.com").unwrap_err();
    let assume = |service: &str| assume_for_service(&world, arn, service, "run", Context::new());
    assert_eq!(
        assume("scheduler.amazonaws.com").unwrap().arn(),
        "arn:aws:sts::111111111111:assumed-role/scheduler/run"
    );
    assert_eq!(assume("events.amazonaws.com").unwrap_err().code, "AccessDeniedException");
}

/// `GetCallerIdentity` alone needs no permission; every other operation asks for an action of its own service first.
#[test]
fn every_operation_has_an_iam_action() {
    let aws = two_accounts();
    let world = aws.world();
    let call = Call {
        principal: Principal::Administrator { account: id(HUB) },
        account: id(HUB),
        region: region(),
        request_id: "1".to_owned(),
    };
    for operation in world.registry().all() {
        let name = format!("{}:{}", operation.service.signing_name, operation.name);
        // The one service here whose actions do not begin with its signing name.
        let prefix = match operation.service.signing_name {
            "monitoring" => "cloudwatch",
            other => other,
        };
        match (operation.authorize)(&world, &call, &json!({})) {
            Ok(accesses) => {
                let first = accesses.first().map(|access| access.action.split(':').next().unwrap_or_default());
                assert_eq!(first, (name != "sts:GetCallerIdentity").then_some(prefix), "{name}");
                for access in accesses {
                    assert!(
                        access.resource == "*" || access.resource.starts_with("arn:aws:"),
                        "{name}: {}",
                        access.resource
                    );
                }
            }
            // It wants to know what is meant before it can say what is needed.
            Err(error) => assert_ne!(error.code, crate::operation::NOT_SIMULATED, "{name}"),
        }
    }
}

#[test]
fn roles_that_services_make_act_before_anyone_sees_them() {
    let aws = two_accounts();
    let region = region();
    for (name, expected) in [
        ("AWSServiceRoleForConfig", true),
        ("AWSServiceRoleForCloudFormationStackSetsOrgMember", true),
        ("AWSServiceRoleForCloudFormationStackSetsOrgAdmin", true),
        ("stacksets-exec-0123456789abcdef", true),
        ("AWSServiceRoleForSomethingElse", false),
    ] {
        let mut world = aws.world();
        let outcome = world.call_as(&session(HUB, name), &id(HUB), &region, "iam", "ListRoles", json!({}));
        assert_eq!(outcome.is_ok(), expected, "{name}");
    }
}

#[test]
fn managed_policies_grant_what_they_are_for() {
    let aws = two_accounts();
    for (policy, action) in [
        ("AdministratorAccess", "scheduler:CreateSchedule"),
        ("service-role/AWSLambdaBasicExecutionRole", "logs:PutLogEvents"),
        ("service-role/AWSConfigRoleForOrganizations", "organizations:ListAccounts"),
        ("service-role/AWS_ConfigRole", "ecs:DescribeServices"),
        ("service-role/AmazonECSTaskExecutionRolePolicy", "ecr:BatchGetImage"),
    ] {
        let role = policy.rsplit('/').next().unwrap();
        make_role(&aws, HUB, role, json!({"Service": "lambda.amazonaws.com"}));
        let access = crate::operation::Access::new(action, "*");
        super::authorize(&aws.world(), &session(HUB, role), &access).unwrap_err();
        let arn = format!("arn:aws:iam::aws:policy/{policy}");
        iam(&aws, HUB, "AttachRolePolicy", json!({"RoleName": role, "PolicyArn": arn})).unwrap();
        super::authorize(&aws.world(), &session(HUB, role), &access).unwrap();
    }
}
