//! What an account lacks is found out before anything is made, and named with the command that mends it.

use end_to_end::cleanup::{BOTH, REGIONS, accounts, changes, current, failure, instances, refused, template};
use end_to_end::{CLEANUP_STACK, Organization, install_hub};
use serde_json::{Value, json};
use simulated_aws::{AccountId, Region};

const MANAGEMENT: &str = "999999999999";
const CONFIG: &str = "config.amazonaws.com";
const STACK_SETS: &str = "member.org.stacksets.cloudformation.amazonaws.com";

fn id(account: &str) -> AccountId {
    AccountId::new(account).expect("a constant")
}

/// The hub's stack in an organization that it is a member of, and nothing else that is needed.
struct Scene {
    organization: Organization,
    root: String,
    id: String,
}

impl Scene {
    fn new() -> Self {
        let organization = Organization::new(1);
        let (root, id) = {
            let mut world = organization.aws.world();
            let root = world.create_organization(&id(MANAGEMENT));
            for account in organization.accounts() {
                world.place_account(&account, &root);
            }
            (root, world.organization_of(&organization.hub).expect("made").id().to_owned())
        };
        install_hub(&organization);
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow", "Principal": {"Service": CONFIG}, "Action": "sts:AssumeRole",
            }],
        });
        let role = json!({"RoleName": "ecr-cleanup-aggregator", "AssumeRolePolicyDocument": trust.to_string()});
        organization.call(&organization.hub, organization.home(), "iam", "CreateRole", role);
        let policy = json!({
            "RoleName": "ecr-cleanup-aggregator",
            "PolicyArn": "arn:aws:iam::aws:policy/service-role/AWSConfigRoleForOrganizations",
        });
        organization.call(&organization.hub, organization.home(), "iam", "AttachRolePolicy", policy);
        Self { organization, root, id }
    }

    fn in_management(&self, service: &str, operation: &str, input: Value) {
        self.organization.call(&id(MANAGEMENT), self.organization.home(), service, operation, input);
    }

    fn register(&self, principal: &str) {
        let input = json!({"AccountId": self.organization.hub.as_str(), "ServicePrincipal": principal});
        self.in_management("organizations", "RegisterDelegatedAdministrator", input);
    }

    fn trust(&self, principal: &str) {
        self.in_management("organizations", "EnableAWSServiceAccess", json!({"ServicePrincipal": principal}));
    }

    fn properties(&self) -> Value {
        json!({
            "Name": "prod",
            "Workloads": {
                "Organization": {
                    "OrganizationId": self.id,
                    "OrganizationalUnitIds": [self.root],
                    "AggregatorRoleArn": "arn:aws:iam::111111111111:role/ecr-cleanup-aggregator",
                    "CallAs": "DELEGATED_ADMIN",
                },
                "Regions": REGIONS,
            },
        })
    }
}

/// Why an EcrCleanup is not created. Nothing was made, not even for a moment.
fn refusal(organization: &Organization, properties: &Value) -> String {
    organization.aws.world().clear_calls();
    organization.create_stack(CLEANUP_STACK, &template(properties), &[]).expect_status("ROLLBACK_COMPLETE");
    assert_eq!(changes(organization), [] as [String; 0], "something was made");
    let reason = failure(organization);
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    reason
}

fn assert_names(reason: &str, parts: &[&str]) {
    for part in parts {
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

#[test]
fn a_hub_outside_of_any_organization_is_told_so() {
    let scene = Scene::new();
    let alone = Organization::new(2);
    install_hub(&alone);
    assert_names(&refusal(&alone, &scene.properties()), &["Workloads.Organization", "is in no organization"]);
}

#[test]
fn delegated_administration_that_is_missing_is_named_with_its_commands() {
    let scene = Scene::new();
    let command = "aws organizations register-delegated-administrator --account-id 111111111111 --service-principal";
    let both = [format!("{command} {STACK_SETS}"), format!("{command} {CONFIG}")];
    assert_names(&refusal(&scene.organization, &scene.properties()), &[&both[0], &both[1]]);
    scene.trust(CONFIG);
    scene.register(CONFIG);
    let reason = refusal(&scene.organization, &scene.properties());
    assert_names(&reason, &[&both[0]]);
    assert!(!reason.contains(&both[1]), "{reason}");
}

#[test]
fn trusted_access_that_is_missing_is_named_with_its_command() {
    let scene = Scene::new();
    for principal in [CONFIG, STACK_SETS] {
        scene.trust(principal);
        scene.register(principal);
    }
    scene.in_management("organizations", "DisableAWSServiceAccess", json!({"ServicePrincipal": STACK_SETS}));
    let reason = refusal(&scene.organization, &scene.properties());
    assert_names(&reason, &["trusted access", "aws cloudformation activate-organizations-access"]);
}

#[test]
fn another_organization_and_a_unit_that_does_not_exist_are_named() {
    let scene = Scene::new();
    for principal in [CONFIG, STACK_SETS] {
        scene.trust(principal);
        scene.register(principal);
    }
    let mut properties = scene.properties();
    properties["Workloads"]["Organization"]["OrganizationId"] = json!("o-somebodyelse");
    let reason = refusal(&scene.organization, &properties);
    assert_names(&reason, &["Workloads.Organization.OrganizationId", &scene.id, "o-somebodyelse"]);
    let mut properties = scene.properties();
    properties["Workloads"]["Organization"]["OrganizationalUnitIds"] = json!(["ou-abcd-12345678"]);
    let reason = refusal(&scene.organization, &properties);
    assert_names(&reason, &["Workloads.Organization.OrganizationalUnitIds", "ou-abcd-12345678"]);
    let mut properties = scene.properties();
    properties["Workloads"]["Organization"]["CallAs"] = json!("SELF");
    assert_names(&refusal(&scene.organization, &properties), &["Workloads.Organization.CallAs", "DELEGATED_ADMIN"]);
}

#[test]
fn with_everything_in_place_it_is_created() {
    let scene = Scene::new();
    for principal in [CONFIG, STACK_SETS] {
        scene.trust(principal);
        scene.register(principal);
    }
    let organization = &scene.organization;
    organization.create_stack(CLEANUP_STACK, &template(&scene.properties()), &[]).expect_status("CREATE_COMPLETE");
    assert_eq!(refused(organization), [] as [String; 0]);
}

fn disable(organization: &Organization, account: &AccountId, region: &str, disabled: bool) {
    let region = Region::new(region).expect("a constant");
    organization.aws.world().disable_region(account, &region, disabled);
}

#[test]
fn a_region_that_is_not_enabled_in_the_hub_is_named_with_its_command() {
    let organization = Organization::new(1);
    install_hub(&organization);
    disable(&organization, &organization.hub, REGIONS[1], true);
    let reason = refusal(&organization, &accounts(&BOTH, &REGIONS));
    assert_names(&reason, &["Workloads.Regions", "aws account enable-region --region-name us-east-1"]);

    let one_region = template(&accounts(&BOTH, &REGIONS[..1]));
    organization.create_stack(CLEANUP_STACK, &one_region, &[]).expect_status("CREATE_COMPLETE");
    let wider = template(&accounts(&BOTH, &REGIONS));
    organization.update_stack(CLEANUP_STACK, &wider, &[]).expect_status("UPDATE_ROLLBACK_COMPLETE");
    assert_names(&failure(&organization), &["Workloads.Regions", "us-east-1"]);
}

/// Takes a role away from the hub.
fn without_role(organization: &Organization, role: &str) {
    let call = |operation, input| organization.call(&organization.hub, organization.home(), "iam", operation, input);
    let policies = call("ListRolePolicies", json!({"RoleName": role}))["PolicyNames"].clone();
    for policy in policies.as_array().into_iter().flatten() {
        call("DeleteRolePolicy", json!({"RoleName": role, "PolicyName": policy}));
    }
    call("DeleteRole", json!({"RoleName": role}));
}

#[test]
fn roles_of_stack_sets_that_the_hub_lacks_are_named_with_their_commands() {
    let organization = Organization::new(1);
    install_hub(&organization);
    without_role(&organization, "AWSCloudFormationStackSetExecutionRole");
    let execution = "/AWSCloudFormationStackSetExecutionRole.yml --parameters ParameterKey=AdministratorAccountId,ParameterValue=111111111111";
    let administration = "/AWSCloudFormationStackSetAdministrationRole.yml --capabilities CAPABILITY_NAMED_IAM";
    let reason = refusal(&organization, &accounts(&BOTH, &REGIONS));
    assert_names(&reason, &[execution]);
    assert!(!reason.contains(administration), "{reason}");
    without_role(&organization, "AWSCloudFormationStackSetAdministrationRole");
    assert_names(&refusal(&organization, &accounts(&BOTH, &REGIONS)), &[execution, administration]);
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn what_breaks_later_holds_up_no_update_that_does_not_need_it() {
    let organization = Organization::new(1);
    install_hub(&organization);
    let mut properties = accounts(&BOTH, &REGIONS);
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    organization.aws.world().clear_calls();
    properties["DryRun"] = json!(true);
    organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
    let asked = organization.aws.world().calls().iter().filter(|call| call.service == "sts").count();
    assert_eq!(asked, 0);
}

#[test]
fn a_region_that_only_a_workload_account_has_not_enabled_leaves_that_account_uncovered() {
    let organization = Organization::new(1);
    install_hub(&organization);
    disable(&organization, &id(BOTH[1]), REGIONS[1], true);
    let stack = organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("CREATE_COMPLETE");
    assert_eq!(stack.output("FailedInstances"), "333333333333/us-east-1");
    disable(&organization, &id(BOTH[1]), REGIONS[1], false);
    let mut properties = accounts(&BOTH, &REGIONS);
    properties["ProviderVersion"] = json!("2");
    organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS));
}
