//! An EcrCleanup for organizational units: `examples/organization.yaml` as shipped, with its prerequisites as the README lists
//! them, in a delegated administrator's account.

use std::collections::BTreeSet;

use end_to_end::cleanup::{every_shape, refused, template};
use end_to_end::{CLEANUP_STACK, Item, Mutability, Organization, Pushed, install_hub};
use serde_json::{Value, json};
use simulated_aws::AccountId;

const EXAMPLE: &str = include_str!("../../../examples/organization.yaml");
const WORKLOAD_TEMPLATE: &str = include_str!("../../../infra-templates/workload.yaml");
/// How all parts of the example are called.
const PART: &str = "ecr-cleanup-prod-organization";
/// The service principals whose administration the hub is given.
const STACK_SETS: &str = "member.org.stacksets.cloudformation.amazonaws.com";
const CONFIG: &str = "config.amazonaws.com";

fn account(id: &str) -> AccountId {
    AccountId::new(id).expect("a constant")
}

/// An organization whose hub is no management account, with the workload accounts in one unit.
struct Scene {
    organization: Organization,
    id: String,
    unit: String,
    /// A second unit, without accounts.
    empty: String,
}

impl Scene {
    /// With the hub's stack.
    fn new() -> Self {
        let organization = Organization::new(1);
        let management = account("999999999999");
        let (id, unit, empty) = {
            let mut world = organization.aws.world();
            let root = world.create_organization(&management);
            let unit = world.create_organizational_unit(&root, "workloads");
            let empty = world.create_organizational_unit(&root, "to come");
            world.place_account(&organization.hub, &root);
            for account in &organization.workloads {
                world.place_account(account, &unit);
            }
            (world.organization_of(&management).expect("made").id().to_owned(), unit, empty)
        };
        let call =
            |service, operation, input| organization.call(&management, organization.home(), service, operation, input);
        call("organizations", "EnableAWSServiceAccess", json!({"ServicePrincipal": CONFIG}));
        call("cloudformation", "ActivateOrganizationsAccess", json!({}));
        for principal in [CONFIG, STACK_SETS] {
            let input = json!({"AccountId": organization.hub.as_str(), "ServicePrincipal": principal});
            call("organizations", "RegisterDelegatedAdministrator", input);
        }
        install_hub(&organization);
        Self { organization, id, unit, empty }
    }

    /// The example's parameters for these units.
    fn parameters(&self, units: &[&str]) -> [(&'static str, String); 3] {
        let regions: Vec<_> = self.organization.regions.iter().map(|region| region.as_str()).collect();
        [
            ("OrganizationId", self.id.clone()),
            ("OrganizationalUnitIds", units.join(",")),
            ("Regions", regions.join(",")),
        ]
    }

    /// The hub, which is in none of the units, takes the workload template by hand, as the README says.
    fn cover_hub(&self) {
        let Organization { hub, regions, .. } = &self.organization;
        let parameters = [
            ("Name", "prod".to_owned()),
            ("Kind", "organization".to_owned()),
            ("HubAccountId", hub.to_string()),
            ("HubRegion", "eu-west-1".to_owned()),
            ("EventBusArn", format!("arn:aws:events:eu-west-1:{hub}:event-bus/{PART}")),
            ("EvidenceRoleNamePrefix", format!("{PART}-evidence")),
            ("ForwardingNamePrefix", format!("{PART}-forward")),
            ("CheckingRoleArns", format!("arn:aws:iam::{hub}:role/ecr-cleanup-check-images-eu-west-1")),
            ("CreateAggregationAuthorization", "false".to_owned()),
        ];
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| json!({"ParameterKey": name, "ParameterValue": value})).collect();
        for region in regions {
            let input = json!({
                "StackName": "ecr-cleanup-workload",
                "TemplateBody": WORKLOAD_TEMPLATE,
                "Parameters": parameters,
                "Capabilities": ["CAPABILITY_NAMED_IAM"],
            });
            self.organization.call(hub, region, "cloudformation", "CreateStack", input);
        }
        self.organization.minutes(10);
    }

    /// Accounts and regions with a current instance of the stack set.
    fn covered(&self) -> BTreeSet<String> {
        let input = json!({"StackSetName": PART, "CallAs": "DELEGATED_ADMIN"});
        let (hub, home) = (&self.organization.hub, self.organization.home());
        let listed = self.organization.call(hub, home, "cloudformation", "ListStackInstances", input);
        let instances = listed["Summaries"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        instances
            .filter(|instance| instance["Status"] == "CURRENT")
            .map(|instance| format!("{} {}", text(&instance["Account"]), text(&instance["Region"])))
            .collect()
    }

    fn everywhere(&self, accounts: &[&str]) -> BTreeSet<String> {
        let regions = &self.organization.regions;
        accounts.iter().flat_map(|account| regions.iter().map(move |region| format!("{account} {region}"))).collect()
    }

    fn dropped_image(&self, tag: &str) -> Pushed {
        let organization = &self.organization;
        let (team, region) = (&organization.workloads[0], &organization.regions[1]);
        let image = organization.push("app", tag);
        let web = organization.register(team, region, "web", &organization.by_tag("app", tag));
        organization.hours(48);
        organization.deregister(team, region, &web);
        image
    }

    /// What is there and was not before.
    fn left(&self, before: &BTreeSet<Item>) -> Vec<Item> {
        self.organization.minutes(5);
        self.organization.inventory().difference(before).cloned().collect()
    }

    /// Neither IAM nor the simulation refused anything to the product.
    fn assert_healthy(&self) {
        self.organization.minutes(30);
        let world = self.organization.aws.world();
        assert_eq!(world.refusals(), [] as [String; 0]);
        let denied = world.calls().iter().filter_map(|call| call.outcome.as_ref().err());
        let denied: Vec<_> =
            denied.filter(|error| error.code.starts_with("AccessDenied")).map(|error| &error.message).collect();
        assert_eq!(denied, [] as [&String; 0]);
    }
}

#[test]
fn accounts_of_the_units_are_covered_and_those_that_join_later_too() {
    let scene = Scene::new();
    let organization = &scene.organization;
    let before = organization.inventory();
    let example = EXAMPLE.replace("      DryRun: true\n", "");
    let stack = organization
        .create_stack(CLEANUP_STACK, &example, &scene.parameters(&[&scene.unit]))
        .expect_status("CREATE_COMPLETE");
    assert_eq!(stack.output("EventBusArn"), format!("arn:aws:events:eu-west-1:111111111111:event-bus/{PART}"));
    assert_eq!(scene.covered(), scene.everywhere(&["222222222222", "333333333333"]));
    scene.cover_hub();
    organization.hours(6);
    organization.repository("app", Mutability::Immutable);
    let image = scene.dropped_image("v1");
    organization.hours(26);
    assert!(!organization.has(&image), "nobody uses it");

    let joined = account("444444444444");
    organization.add_account(&joined);
    organization.aws.world().place_account(&joined, &scene.unit);
    organization.hours(6);
    assert_eq!(scene.covered(), scene.everywhere(&["222222222222", "333333333333", "444444444444"]));
    let image = scene.dropped_image("v2");
    organization.register(&joined, organization.home(), "api", &organization.by_tag("app", "v2"));
    organization.hours(72);
    assert!(organization.has(&image), "the account that joined uses it");

    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    let left = scene.left(&before);
    assert!(left.iter().all(|item| item.account == organization.hub), "{left:#?}");
    for region in &organization.regions {
        let input = json!({"StackName": "ecr-cleanup-workload"});
        organization.call(&organization.hub, region, "cloudformation", "DeleteStack", input);
    }
    let left = scene.left(&before);
    let left: Vec<_> = left.iter().filter(|item| item.name.contains("ecr-cleanup")).collect();
    assert_eq!(left, [] as [&Item; 0]);
    scene.assert_healthy();
}

#[test]
fn the_example_as_shipped_deletes_nothing_until_it_is_told_to() {
    let scene = Scene::new();
    let organization = &scene.organization;
    let parameters = scene.parameters(&[&scene.unit]);
    organization.create_stack(CLEANUP_STACK, EXAMPLE, &parameters).expect_status("CREATE_COMPLETE");
    scene.cover_hub();
    organization.hours(6);
    organization.repository("app", Mutability::Immutable);
    let image = scene.dropped_image("v1");
    organization.hours(72);
    assert!(organization.has(&image), "a dry run");
    let example = EXAMPLE.replace("DryRun: true", "DryRun: false");
    organization.update_stack(CLEANUP_STACK, &example, &parameters).expect_status("UPDATE_COMPLETE");
    let image = scene.dropped_image("v2");
    organization.hours(26);
    assert!(!organization.has(&image));
    scene.assert_healthy();
}

#[test]
fn a_unit_without_accounts_is_deployed_to_when_one_comes() {
    let scene = Scene::new();
    let organization = &scene.organization;
    let before = organization.inventory();
    organization
        .create_stack(CLEANUP_STACK, EXAMPLE, &scene.parameters(&[&scene.empty]))
        .expect_status("CREATE_COMPLETE");
    assert_eq!(scene.covered(), BTreeSet::new());
    let joined = account("444444444444");
    organization.add_account(&joined);
    organization.aws.world().place_account(&joined, &scene.empty);
    organization.hours(1);
    assert_eq!(scene.covered(), scene.everywhere(&["444444444444"]));
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    assert_eq!(scene.left(&before), [] as [Item; 0]);
    scene.assert_healthy();
}

#[test]
fn units_come_and_go_with_an_update() {
    let scene = Scene::new();
    let organization = &scene.organization;
    let late = account("444444444444");
    organization.add_account(&late);
    organization.aws.world().place_account(&late, &scene.empty);
    let deploy = |units: &[&str]| {
        organization.update_stack(CLEANUP_STACK, EXAMPLE, &scene.parameters(units)).expect_status("UPDATE_COMPLETE")
    };
    organization
        .create_stack(CLEANUP_STACK, EXAMPLE, &scene.parameters(&[&scene.unit]))
        .expect_status("CREATE_COMPLETE");
    deploy(&[&scene.unit, &scene.empty]);
    assert_eq!(scene.covered(), scene.everywhere(&["222222222222", "333333333333", "444444444444"]));
    deploy(&[&scene.empty]);
    assert_eq!(scene.covered(), scene.everywhere(&["444444444444"]));
    scene.assert_healthy();
}

#[test]
fn another_kind_of_workloads_replaces_the_resource() {
    let scene = Scene::new();
    let organization = &scene.organization;
    let parameters = scene.parameters(&[&scene.unit]);
    organization.create_stack(CLEANUP_STACK, EXAMPLE, &parameters).expect_status("CREATE_COMPLETE");
    let from = EXAMPLE.find("        Organization:\n").expect("the kind");
    let to = EXAMPLE.find("        Regions: !Ref Regions").expect("what both kinds have");
    let by_account =
        format!("{}        Accounts: {{AccountIds: ['222222222222']}}\n{}", &EXAMPLE[..from], &EXAMPLE[to..]);
    let stack = organization.update_stack(CLEANUP_STACK, &by_account, &parameters).expect_status("UPDATE_COMPLETE");
    assert!(stack.output("EventBusArn").ends_with("ecr-cleanup-prod-accounts"), "{}", stack.output("EventBusArn"));
    let former: Vec<_> = organization.inventory().into_iter().filter(|item| item.name.contains(PART)).collect();
    assert_eq!(former, [] as [Item; 0]);
    scene.assert_healthy();
}

/// The role by which AWS Config reads the organization.
fn aggregator_role(organization: &Organization) -> String {
    let call = |operation, input| organization.call(&organization.hub, organization.home(), "iam", operation, input);
    let statement = json!({"Effect": "Allow", "Principal": {"Service": CONFIG}, "Action": "sts:AssumeRole"});
    let trust = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let role = "ecr-cleanup-aggregator";
    let made = call("CreateRole", json!({"RoleName": role, "AssumeRolePolicyDocument": trust}));
    let policy = "arn:aws:iam::aws:policy/service-role/AWSConfigRoleForOrganizations";
    call("AttachRolePolicy", json!({"RoleName": role, "PolicyArn": policy}));
    made["Role"]["Arn"].as_str().expect("text").to_owned()
}

#[test]
fn a_new_version_brings_an_ecr_cleanup_of_every_shape_for_organizational_units_along() {
    for number in 0..4 {
        let scene = Scene::new();
        let organization = &scene.organization;
        let role = aggregator_role(organization);
        let call = |service, operation, input| {
            organization.call(&organization.hub, organization.home(), service, operation, input)
        };
        let regions: Vec<_> = organization.regions.iter().map(|region| region.as_str()).collect();
        let of_organization = json!({
            "OrganizationId": scene.id, "OrganizationalUnitIds": [scene.unit], "AggregatorRoleArn": role,
            "CallAs": "DELEGATED_ADMIN",
        });
        let common = json!({"Name": "prod", "Workloads": {"Organization": of_organization, "Regions": regions}});
        let mut properties = every_shape(&common)[number].clone();
        properties["ProviderVersion"] = json!("0.0.1");
        organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
        let parts = || {
            let checks = json!({"EventBusName": PART, "Rule": format!("{PART}-checks")});
            let aggregators = call("config", "DescribeConfigurationAggregators", json!({}));
            json!([
                call("events", "DescribeEventBus", json!({"Name": PART}))["Policy"],
                call("events", "ListTargetsByRule", checks)["Targets"],
                aggregators["ConfigurationAggregators"][0]["OrganizationAggregationSource"],
                scene.covered(),
            ])
        };
        let begun = parts();
        assert_eq!(scene.covered(), scene.everywhere(&["222222222222", "333333333333"]));
        // What an earlier version made: other settings, no policy yet, an aggregator of one region, instances in one region.
        let queue = "arn:aws:sqs:eu-west-1:111111111111:ecr-cleanup-check-images";
        let targets = json!([{"Id": "queue", "Arn": queue}]);
        let rule = format!("{PART}-checks");
        call("events", "PutTargets", json!({"EventBusName": PART, "Rule": rule, "Targets": targets}));
        call("events", "RemovePermission", json!({"EventBusName": PART, "RemoveAllPermissions": true}));
        let source = json!({"RoleArn": role, "AwsRegions": [regions[0]]});
        let aggregator = json!({"ConfigurationAggregatorName": PART, "OrganizationAggregationSource": source});
        call("config", "PutConfigurationAggregator", aggregator);
        let removal = json!({
            "StackSetName": PART, "CallAs": "DELEGATED_ADMIN", "Regions": [regions[1]], "RetainStacks": "false",
            "DeploymentTargets": {"OrganizationalUnitIds": [scene.unit]},
        });
        call("cloudformation", "DeleteStackInstances", removal);
        organization.minutes(10);
        assert_ne!(parts(), begun);
        properties["ProviderVersion"] = json!("0.0.2");
        organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
        assert_eq!(parts(), begun, "shape {number}");
        assert_eq!(refused(organization), [] as [String; 0]);
    }
}
