//! The provider behind `Custom::EcrCleanup`, in stacks of the simulated CloudFormation.

use std::collections::BTreeSet;

use end_to_end::cleanup::{
    BOTH, PART, REGIONS, accounts, changes, current, every_shape, fail_in, failure, hub, instances, left, refused,
    template,
};
use end_to_end::{CLEANUP_STACK, HUB_STACK, Installation, Item, Mutability, Organization, Pushed};
use jiff::SignedDuration;
use serde_json::{Value, json};

#[test]
fn one_resource_brings_up_everything_in_every_account_and_region() {
    let organization = hub();
    let stack = organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("CREATE_COMPLETE");
    for part in ["AggregatorName", "EventBusName", "ScheduleGroupName", "StackSetName"] {
        assert_eq!(stack.output(part), "ecr-cleanup-prod-accounts", "{part}");
    }
    assert_eq!(stack.output("Name"), "prod");
    assert_eq!(
        stack.output("EventBusArn"),
        "arn:aws:events:eu-west-1:111111111111:event-bus/ecr-cleanup-prod-accounts"
    );
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS));
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn what_is_removed_leaves_nothing_but_the_aggregation_authorizations() {
    let organization = Organization::new(1);
    let before = organization.inventory();
    let installation = Installation::through_cloudformation(&organization);
    assert!(left(&before, &organization).len() > 50, "the listing sees what was installed");
    installation.remove(&organization);
    let left: Vec<Item> = left(&before, &organization)
        .into_iter()
        // Made by the user, before.
        .filter(|item| !item.name.contains("AWSCloudFormationStackSet"))
        .collect();
    assert_eq!(left.len(), 6, "{left:#?}");
    for item in &left {
        assert_eq!(item.listed_by, "config:DescribeAggregationAuthorizations", "{item:?}");
    }
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn accounts_and_regions_come_and_go_with_an_update() {
    let organization = hub();
    let deploy = |ids: &[&str], regions: &[&str]| {
        let template = template(&accounts(ids, regions));
        organization.update_stack(CLEANUP_STACK, &template, &[]).expect_status("UPDATE_COMPLETE");
        let mut covered = vec!["111111111111"];
        covered.extend(ids);
        assert_eq!(instances(&organization), current(&covered, regions));
    };
    organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH[..1], &REGIONS[..1])), &[])
        .expect_status("CREATE_COMPLETE");
    deploy(&BOTH, &REGIONS[..1]);
    deploy(&BOTH, &REGIONS);
    deploy(&BOTH[1..], &REGIONS);
    deploy(&BOTH[1..], &REGIONS[1..]);
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn an_update_that_changes_nothing_that_is_made_calls_nothing_that_changes() {
    let organization = hub();
    let mut properties = accounts(&BOTH, &REGIONS);
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    organization.aws.world().clear_calls();
    properties["ProviderVersion"] = json!("0.0.2");
    organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(changes(&organization), [] as [String; 0]);
}

#[test]
fn another_name_replaces_the_resource() {
    let organization = hub();
    let mut properties = accounts(&BOTH, &REGIONS);
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    properties["Name"] = json!("main");
    let stack = organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(stack.output("EventBusName"), "ecr-cleanup-main-accounts");
    let former: Vec<Item> =
        organization.inventory().into_iter().filter(|item| item.name.contains("ecr-cleanup-prod")).collect();
    assert_eq!(former, [] as [Item; 0], "the former is gone");
    assert_eq!(refused(&organization), [] as [String; 0]);
}

#[test]
fn properties_that_cannot_be_read_are_answered_with_every_problem_and_leave_nothing() {
    let organization = hub();
    let before = organization.inventory();
    let properties = json!({"Name": "Prod!", "RollbackWindowHours": 0, "Colour": "blue"});
    let stack =
        organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("ROLLBACK_COMPLETE");
    for named in ["Name", "RollbackWindowHours", "Colour", "Workloads"] {
        assert!(stack.reason().contains(named), "{named}: {}", stack.reason());
    }
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    assert_eq!(left(&before, &organization), [] as [Item; 0]);
}

#[test]
fn a_part_that_another_made_is_refused_by_name_and_left_alone() {
    let theirs: [(&str, &str, Value); 4] = [
        ("events", "CreateEventBus", json!({"Name": PART})),
        ("scheduler", "CreateScheduleGroup", json!({"Name": PART})),
        (
            "config",
            "PutConfigurationAggregator",
            json!({
                "ConfigurationAggregatorName": PART,
                "AccountAggregationSources": [{"AccountIds": ["111111111111"], "AllAwsRegions": true}],
            }),
        ),
        (
            "cloudformation",
            "CreateStackSet",
            json!({"StackSetName": PART, "TemplateBody": "Resources: {Group: {Type: AWS::Scheduler::ScheduleGroup}}"}),
        ),
    ];
    for (service, operation, input) in theirs {
        let organization = hub();
        organization.call(&organization.hub, organization.home(), service, operation, input);
        let before = organization.inventory();
        let stack = organization
            .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
            .expect_status("ROLLBACK_COMPLETE");
        let named = format!("{PART} exists and does not belong to this EcrCleanup");
        assert!(stack.reason().contains(&named), "{operation}: {}", stack.reason());
        organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
        organization.minutes(5);
        assert_eq!(left(&before, &organization), [] as [Item; 0], "{operation}");
        assert_eq!(before.difference(&organization.inventory()).count(), 0, "what {operation} made is still there");
    }
}

#[test]
fn what_was_removed_can_be_installed_again() {
    let organization = hub();
    let template = template(&accounts(&BOTH, &REGIONS));
    for _ in 0..2 {
        organization.create_stack(CLEANUP_STACK, &template, &[]).expect_status("CREATE_COMPLETE");
        assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS));
        organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    }
}

#[test]
fn operations_that_take_half_an_hour_are_resumed_until_they_end() {
    let organization = hub();
    organization.aws.world().behaviours.stack_set_operation_pause = SignedDuration::from_mins(15);
    let template = template(&accounts(&BOTH, &REGIONS));
    organization.create_stack(CLEANUP_STACK, &template, &[]).expect_status("CREATE_COMPLETE");
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS));
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    organization.delete_stack(HUB_STACK).expect_status("DELETE_COMPLETE");
    assert_eq!(refused(&organization), [] as [String; 0]);
}

/// Nothing was refused to the product, and no message is dead.
fn assert_healthy(organization: &Organization) {
    organization.minutes(30);
    assert_eq!(refused(organization), [] as [String; 0]);
    for function in ["provider", "schedule-checks", "check-images"] {
        let call =
            |operation, input| organization.call(&organization.hub, organization.home(), "sqs", operation, input);
        let queue = format!("ecr-cleanup-{function}-dead-letters");
        let url = call("GetQueueUrl", json!({"QueueName": queue}))["QueueUrl"].clone();
        let input = json!({"QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessages"]});
        assert_eq!(call("GetQueueAttributes", input)["Attributes"]["ApproximateNumberOfMessages"], "0", "{queue}");
    }
}

/// The hub's stack and an EcrCleanup, probes recorded and sources synchronized, and a repository that is opted in.
fn installed() -> Organization {
    let organization = hub();
    organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("CREATE_COMPLETE");
    organization.repository("app", Mutability::Immutable);
    organization.hours(6);
    organization
}

/// A team deploys an image, and drops it two days later: its only task definition has just been deregistered.
fn dropped_image(organization: &Organization, tag: &str) -> Pushed {
    let (team, region) = (&organization.workloads[0], &organization.regions[1]);
    let image = organization.push("app", tag);
    let web = organization.register(team, region, "web", &organization.by_tag("app", tag));
    organization.hours(48);
    organization.deregister(team, region, &web);
    image
}

/// The changes of an update to the properties, which must succeed.
fn update(organization: &Organization, property: &str, value: Value) {
    let mut properties = accounts(&BOTH, &REGIONS);
    properties[property] = value;
    organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
}

#[test]
fn every_account_and_region_gets_its_rules_its_roles_its_probe_and_its_authorization() {
    let organization = installed();
    let inventory = organization.inventory();
    for (account, region) in organization.places() {
        let has = |listed_by: &str, name: &str| {
            let of = |item: &&Item| item.account == account && item.listed_by == listed_by && item.name.contains(name);
            inventory.iter().filter(of).any(|item| item.region == region || listed_by == "iam:ListRoles")
        };
        assert!(has("events:ListRules", "rule/ecr-cleanup-prod-accounts-forward-api-calls"), "{account}/{region}");
        assert!(has("events:ListRules", "rule/ecr-cleanup-prod-accounts-forward-config-items"), "{account}/{region}");
        assert!(has("iam:ListRoles", &format!("role/{PART}-forward-{region}")), "{account}/{region}");
        assert!(has("iam:ListRoles", &format!("role/{PART}-evidence-{region}")), "{account}/{region}");
        assert!(has("ecs:ListTaskDefinitions", &format!("task-definition/{PART}-probe")), "{account}/{region}");
        assert!(has("config:DescribeAggregationAuthorizations", "/111111111111/eu-west-1"), "{account}/{region}");
    }
    let call = |service, operation, input| {
        organization.call(&organization.hub, organization.home(), service, operation, input)
    };
    let aggregator = &call("config", "DescribeConfigurationAggregators", json!({}))["ConfigurationAggregators"][0];
    let source = &aggregator["AccountAggregationSources"][0];
    assert_eq!(source["AccountIds"], json!(["111111111111", "222222222222", "333333333333"]));
    assert_eq!(source["AllAwsRegions"], true);
    let rules = call("events", "ListRules", json!({"EventBusName": PART}));
    let names: Vec<_> = rules["Rules"].as_array().into_iter().flatten().map(|rule| rule["Name"].clone()).collect();
    let rules = ["checks", "sweeps", "task-definitions"].map(|rule| format!("{PART}-{rule}"));
    assert_eq!(json!(names), json!(rules));
    assert_healthy(&organization);
}

#[test]
fn a_deletion_takes_pending_checks_along() {
    let organization = installed();
    dropped_image(&organization, "v1");
    organization.hours(1);
    let pending = |organization: &Organization| {
        let checks = |item: &Item| item.listed_by == "scheduler:ListSchedules" && item.name.contains("/check-");
        organization.inventory().into_iter().filter(checks).count()
    };
    assert_eq!(pending(&organization), 1);
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    assert_eq!(pending(&organization), 0);
    organization.hours(48);
    assert_healthy(&organization);
}

#[test]
fn a_longer_window_is_in_force_for_the_next_check() {
    let organization = installed();
    update(&organization, "RollbackWindowHours", json!(72));
    let image = dropped_image(&organization, "v1");
    organization.hours(71);
    assert!(organization.has(&image), "the window is 72 hours now");
    organization.hours(3);
    assert!(!organization.has(&image));
    assert_healthy(&organization);
}

#[test]
fn another_value_of_the_opt_in_tag_is_in_force_for_the_next_check() {
    let organization = installed();
    update(&organization, "OptInTag", json!({"Key": "ecr-cleanup", "Value": "please"}));
    let image = dropped_image(&organization, "v1");
    organization.hours(72);
    assert!(organization.has(&image), "its repository says enabled, which opts in no longer");
    update(&organization, "OptInTag", json!({"Key": "ecr-cleanup"}));
    let image = dropped_image(&organization, "v2");
    organization.hours(26);
    assert!(!organization.has(&image));
    assert_healthy(&organization);
}

#[test]
fn an_account_that_was_left_out_of_an_update_holds_back_what_it_may_pull_until_it_is_back() {
    let organization = installed();
    let fewer = template(&accounts(&BOTH[..1], &REGIONS));
    organization.update_stack(CLEANUP_STACK, &fewer, &[]).expect_status("UPDATE_COMPLETE");
    let bus =
        organization.call(&organization.hub, organization.home(), "events", "DescribeEventBus", json!({"Name": PART}));
    assert!(!bus["Policy"].as_str().expect("text").contains(BOTH[1]), "its events are not taken any more");
    let image = dropped_image(&organization, "v1");
    organization.hours(72);
    assert!(organization.has(&image), "the repository's policy still admits the account");
    organization
        .update_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("UPDATE_COMPLETE");
    organization.hours(6);
    let image = dropped_image(&organization, "v2");
    organization.hours(26);
    assert!(!organization.has(&image));
    assert_healthy(&organization);
}

#[test]
fn what_replaces_another_name_works_and_can_be_removed() {
    let organization = hub();
    let before = organization.inventory();
    let mut properties = accounts(&BOTH, &REGIONS);
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    organization.repository("app", Mutability::Immutable);
    properties["Name"] = json!("main");
    organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
    organization.hours(6);
    let image = dropped_image(&organization, "v1");
    organization.hours(26);
    assert!(!organization.has(&image));
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    organization.minutes(5);
    let left: Vec<_> = left(&before, &organization)
        .into_iter()
        .filter(|item| item.listed_by != "config:DescribeAggregationAuthorizations")
        .collect();
    assert_eq!(left, [] as [Item; 0]);
    assert_healthy(&organization);
}

#[test]
fn the_longest_name_fits_everything_that_is_named_after_it() {
    let organization = hub();
    let mut properties = accounts(&BOTH, &REGIONS);
    properties["Name"] = json!("n".repeat(32));
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    assert_healthy(&organization);
}

#[test]
fn an_update_that_cannot_be_read_changes_nothing() {
    let organization = installed();
    let before = organization.inventory();
    organization.aws.world().clear_calls();
    let mut properties = accounts(&BOTH, &REGIONS);
    properties["RollbackWindowHours"] = json!(9000);
    let stack =
        organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_ROLLBACK_COMPLETE");
    assert!(stack.reason().contains("RollbackWindowHours"), "{}", stack.reason());
    assert_eq!(changes(&organization), [] as [String; 0]);
    assert_eq!(organization.inventory(), before);
    assert_healthy(&organization);
}

#[test]
fn a_stack_that_is_deleted_while_it_is_created_leaves_nothing_and_nothing_comes_back() {
    let organization = hub();
    let before = organization.inventory();
    organization.aws.world().behaviours.stack_set_operation_pause = SignedDuration::from_mins(9);
    let template = template(&accounts(&BOTH, &REGIONS));
    let input = json!({"StackName": CLEANUP_STACK, "TemplateBody": template});
    organization.call(&organization.hub, organization.home(), "cloudformation", "CreateStack", input);
    organization.minutes(10);
    assert!(left(&before, &organization).len() > 4, "it has begun");
    // CloudFormation has no answer yet, and makes the physical id up.
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    organization.hours(3);
    let left: Vec<_> = left(&before, &organization)
        .into_iter()
        .filter(|item| item.listed_by != "config:DescribeAggregationAuthorizations")
        .collect();
    assert_eq!(left, [] as [Item; 0]);
    assert_healthy(&organization);
}

#[test]
fn a_rollout_that_outlasts_cloudformation_goes_on_and_a_deletion_that_does_says_what_to_do() {
    let organization = hub();
    organization.aws.world().behaviours.stack_set_operation_pause = SignedDuration::from_mins(40);
    let template = template(&accounts(&BOTH, &REGIONS));
    organization.create_stack(CLEANUP_STACK, &template, &[]).expect_status("CREATE_COMPLETE");
    let covered = current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS);
    organization.hours(3);
    assert_eq!(instances(&organization), covered);
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_FAILED");
    assert!(failure(&organization).contains("delete the stack again"), "{}", failure(&organization));
    organization.hours(3);
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    assert_healthy(&organization);
}

#[test]
fn an_account_where_the_deployment_fails_is_not_covered_until_an_update_finds_it_mended() {
    let organization = hub();
    fail_in(&organization, BOTH[1], Some("a policy of the organization forbids it"));
    organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("CREATE_COMPLETE");
    let failed: BTreeSet<_> = REGIONS.iter().map(|region| format!("{} {region} OUTDATED", BOTH[1])).collect();
    let wanted: BTreeSet<_> = current(&["111111111111", BOTH[0]], &REGIONS).union(&failed).cloned().collect();
    assert_eq!(instances(&organization), wanted);
    organization.repository("app", Mutability::Immutable);
    organization.hours(6);
    let image = dropped_image(&organization, "v1");
    organization.hours(72);
    assert!(organization.has(&image), "an account that may pull it is not covered");

    fail_in(&organization, BOTH[1], None);
    update(&organization, "RollbackWindowHours", json!(25));
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS));
    organization.hours(6);
    let image = dropped_image(&organization, "v2");
    organization.hours(27);
    assert!(!organization.has(&image));
    assert_healthy(&organization);
}

#[test]
fn a_create_that_fails_in_all_accounts_names_five_and_leaves_nothing() {
    let organization = hub();
    for account in organization.accounts() {
        let input = json!({"RoleName": "AWSCloudFormationStackSetExecutionRole", "PolicyName": "AdministratorAccess"});
        organization.call(&account, organization.home(), "iam", "DeleteRolePolicy", input);
    }
    let before = organization.inventory();
    let stack = organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("ROLLBACK_COMPLETE");
    assert!(stack.reason().contains("222222222222/eu-west-1: "), "{}", stack.reason());
    assert!(stack.reason().contains("and 1 more"), "{}", stack.reason());
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    organization.minutes(5);
    assert_eq!(left(&before, &organization), [] as [Item; 0]);
}

#[test]
fn a_deletion_that_fails_in_an_account_names_it_and_succeeds_once_it_is_mended() {
    let organization = hub();
    let before = organization.inventory();
    organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("CREATE_COMPLETE");
    fail_in(&organization, BOTH[1], Some("the execution role is gone"));
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_FAILED");
    let reason = failure(&organization);
    assert!(reason.contains("333333333333/us-east-1: the execution role is gone"), "{reason}");
    fail_in(&organization, BOTH[1], None);
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    organization.minutes(5);
    let left: Vec<_> = left(&before, &organization)
        .into_iter()
        .filter(|item| item.listed_by != "config:DescribeAggregationAuthorizations")
        .collect();
    assert_eq!(left, [] as [Item; 0]);
    assert_healthy(&organization);
}

/// The regions in which reads of both functions that look at images do not count as pulls.
fn excluded(organization: &Organization) -> BTreeSet<String> {
    let inventory = organization.inventory();
    let of = |function: &str| -> BTreeSet<String> {
        let role = format!("role/ecr-cleanup-{function}-");
        let listed = inventory.iter().filter(|item| item.listed_by == "ecr:ListPullTimeUpdateExclusions");
        listed.filter(|item| item.name.contains(&role)).map(|item| item.region.to_string()).collect()
    };
    of("check-images").intersection(&of("sweep")).cloned().collect()
}

#[test]
fn looking_at_images_counts_as_a_pull_in_no_region_of_the_workloads() {
    let organization = hub();
    assert_eq!(excluded(&organization), BTreeSet::from([REGIONS[0].to_owned()]), "the hub's template");
    let mut properties = accounts(&BOTH, &REGIONS);
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    let both: BTreeSet<_> = REGIONS.iter().map(|region| (*region).to_owned()).collect();
    assert_eq!(excluded(&organization), both);
    // Another EcrCleanup lives by the same exclusion.
    let mut other = accounts(&BOTH, &REGIONS);
    other["Name"] = json!("other");
    organization.create_stack("other", &template(&other), &[]).expect_status("CREATE_COMPLETE");
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    assert_eq!(excluded(&organization), both);
    organization.delete_stack("other").expect_status("DELETE_COMPLETE");
    assert_eq!(excluded(&organization), BTreeSet::from([REGIONS[0].to_owned()]));
    // A region that an update takes away.
    organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
    properties["Workloads"]["Regions"] = json!(REGIONS[..1]);
    organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
    assert_eq!(excluded(&organization), BTreeSet::from([REGIONS[0].to_owned()]));
    assert_healthy(&organization);
}

/// What the hub's rules hand to the functions, and who may put events on the bus.
fn in_force(organization: &Organization) -> Value {
    let input = json!({"GroupName": PART, "Name": "sweep"});
    let sweep = organization.call(&organization.hub, organization.home(), "scheduler", "GetSchedule", input);
    let call = |operation, input| organization.call(&organization.hub, organization.home(), "events", operation, input);
    let targets =
        |rule: &str| call("ListTargetsByRule", json!({"EventBusName": PART, "Rule": rule}))["Targets"].clone();
    json!([
        call("DescribeEventBus", json!({"Name": PART}))["Policy"],
        call("ListRules", json!({"EventBusName": PART}))["Rules"],
        targets(&format!("{PART}-checks")),
        targets(&format!("{PART}-task-definitions")),
        targets(&format!("{PART}-sweeps")),
        sweep["ScheduleExpression"],
        instances(organization),
    ])
}

#[test]
fn every_property_changes_in_both_directions_and_nothing_else_is_touched() {
    let organization = hub();
    let before = accounts(&BOTH[..1], &REGIONS[..1]);
    organization.create_stack(CLEANUP_STACK, &template(&before), &[]).expect_status("CREATE_COMPLETE");
    let begun = in_force(&organization);
    let of_settings = "events:PutTargets";
    let workloads = |ids: &[&str], regions: &[&str]| accounts(ids, regions)["Workloads"].clone();
    // What changes, and which calls that needs, there and back.
    let table: [(&str, Value, &[&str]); 21] = [
        ("SweepSchedule", json!("rate(2 days)"), &["scheduler:UpdateSchedule"]),
        ("NeverDeployedImages", json!("Keep"), &[of_settings]),
        ("NeverDeployedAfterHours", json!(500), &[of_settings]),
        ("UntaggedImages", json!("Check"), &[of_settings]),
        ("ActiveRevisionsPerFamily", json!(3), &[of_settings]),
        ("ServiceOnlyFamilies", json!(["web"]), &[of_settings]),
        ("RollbackWindowHours", json!(72), &[of_settings]),
        ("DryRun", json!(true), &[of_settings]),
        ("KeepNewestImages", json!(3), &[of_settings]),
        ("KeepTagPatterns", json!(["v*"]), &[of_settings]),
        ("KeepPulledWithinHours", json!(100), &[of_settings]),
        ("UncoveredAccounts", json!(["444444444444"]), &[of_settings]),
        ("OutsidePullers", json!("Ignore"), &[of_settings]),
        ("Action", json!("Archive"), &[of_settings]),
        ("OptInTag", json!({"Key": "ecr-cleanup", "Value": "please"}), &[of_settings]),
        ("ServiceTimeout", json!(1800), &[]),
        ("ProviderVersion", json!("9.9.9"), &[]),
        ("Rollout", json!({"MaxConcurrentPercentage": 10}), &[]),
        ("Rollout", json!({"ManagedExecution": false}), &["cloudformation:UpdateStackSet"]),
        (
            "Workloads",
            workloads(&BOTH, &REGIONS[..1]),
            &[
                "cloudformation:CreateStackInstances",
                "cloudformation:DeleteStackInstances",
                "config:PutConfigurationAggregator",
                "events:PutPermission",
            ],
        ),
        (
            "Workloads",
            workloads(&BOTH[..1], &REGIONS),
            &[
                "cloudformation:CreateStackInstances",
                "cloudformation:DeleteStackInstances",
                "ecr:DeregisterPullTimeUpdateExclusion",
                "ecr:RegisterPullTimeUpdateExclusion",
                of_settings,
            ],
        ),
    ];
    for (property, value, calls) in table {
        let mut after = before.clone();
        after[property] = value.clone();
        organization.aws.world().clear_calls();
        organization.update_stack(CLEANUP_STACK, &template(&after), &[]).expect_status("UPDATE_COMPLETE");
        let changed = in_force(&organization);
        assert_eq!(changed == begun, !calls.iter().any(|call| !call.contains("UpdateStackSet")), "{property}");
        organization.update_stack(CLEANUP_STACK, &template(&before), &[]).expect_status("UPDATE_COMPLETE");
        assert_eq!(in_force(&organization), begun, "{property}, back from {value}");
        let resumption = |call: &String| call == "scheduler:CreateSchedule";
        let made: BTreeSet<_> = changes(&organization).into_iter().filter(|call| !resumption(call)).collect();
        assert_eq!(made, calls.iter().map(|call| (*call).to_owned()).collect(), "{property}: {value}");
    }
    assert_healthy(&organization);
}

#[test]
fn a_rollback_ends_where_the_update_began() {
    let organization = hub();
    let before = accounts(&BOTH[..1], &REGIONS);
    organization.create_stack(CLEANUP_STACK, &template(&before), &[]).expect_status("CREATE_COMPLETE");
    let (parts, inventory) = (in_force(&organization), organization.inventory());
    let mut after = accounts(&BOTH[1..], &REGIONS[..1]);
    after["RollbackWindowHours"] = json!(72);
    after["DryRun"] = json!(true);
    // What comes after the EcrCleanup fails, when all of it was changed.
    let mut broken: Value = serde_json::from_str(&template(&after)).expect("JSON");
    broken["Resources"]["Late"] = json!({
        "Type": "AWS::SQS::Queue", "DependsOn": "ImageCleanup", "Properties": {"QueueName": "not a queue's name"},
    });
    organization.update_stack(CLEANUP_STACK, &broken.to_string(), &[]).expect_status("UPDATE_ROLLBACK_COMPLETE");
    assert_eq!(in_force(&organization), parts);
    // Stacks of instances have random names, task definitions a new revision, and authorizations are retained.
    let names = |items: BTreeSet<Item>| -> BTreeSet<String> {
        let random = ["cloudformation:DescribeStacks", "config:DescribeAggregationAuthorizations"];
        let items = items.into_iter().filter(|item| !random.contains(&item.listed_by.as_str()));
        items.map(|item| item.name.split("-probe:").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(organization.inventory()), names(inventory));
    assert_healthy(&organization);
}

#[test]
fn a_new_version_brings_an_ecr_cleanup_of_every_earlier_shape_along() {
    for mut properties in every_shape(&accounts(&BOTH, &REGIONS)) {
        let organization = hub();
        properties["ProviderVersion"] = json!("0.0.1");
        organization.create_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("CREATE_COMPLETE");
        let parts = in_force(&organization);
        // What an earlier version made: a rule that is no more, another form of the settings, a stack set of an earlier
        // template, an aggregator of fewer accounts.
        let call = |service, operation, input| {
            organization.call(&organization.hub, organization.home(), service, operation, input)
        };
        let former = format!("{PART}-former");
        let pattern = json!({"source": ["ecr-cleanup"]}).to_string();
        call("events", "PutRule", json!({"EventBusName": PART, "Name": former, "EventPattern": pattern}));
        let queue = "arn:aws:sqs:eu-west-1:111111111111:ecr-cleanup-check-images";
        let targets = json!([{"Id": "queue", "Arn": queue}]);
        call("events", "PutTargets", json!({"EventBusName": PART, "Rule": former, "Targets": targets}));
        call(
            "events",
            "PutTargets",
            json!({"EventBusName": PART, "Rule": format!("{PART}-checks"), "Targets": targets}),
        );
        call("events", "RemovePermission", json!({"EventBusName": PART, "RemoveAllPermissions": true}));
        let sources = json!([{"AccountIds": ["111111111111"], "AllAwsRegions": true}]);
        let aggregator = json!({"ConfigurationAggregatorName": PART, "AccountAggregationSources": sources});
        call("config", "PutConfigurationAggregator", aggregator);
        call(
            "cloudformation",
            "DeleteStackInstances",
            json!({
                "StackSetName": PART, "Accounts": [BOTH[1]], "Regions": [REGIONS[1]], "RetainStacks": "false",
            }),
        );
        organization.minutes(10);
        properties["ProviderVersion"] = json!("0.0.2");
        organization.update_stack(CLEANUP_STACK, &template(&properties), &[]).expect_status("UPDATE_COMPLETE");
        assert_eq!(in_force(&organization), parts);
        let aggregators = call("config", "DescribeConfigurationAggregators", json!({}));
        let source = &aggregators["ConfigurationAggregators"][0]["AccountAggregationSources"][0]["AccountIds"];
        assert_eq!(*source, json!(["111111111111", BOTH[0], BOTH[1]]));
        assert_healthy(&organization);
    }
}

#[test]
fn what_a_template_retains_stays_with_everything_in_it() {
    let organization = installed();
    let mut retained: Value = serde_json::from_str(&template(&accounts(&BOTH, &REGIONS))).expect("JSON");
    retained["Resources"]["ImageCleanup"]["DeletionPolicy"] = json!("Retain");
    retained["Description"] = json!("Keeps its EcrCleanup.");
    organization.update_stack(CLEANUP_STACK, &retained.to_string(), &[]).expect_status("UPDATE_COMPLETE");
    let before = organization.inventory();
    organization.aws.world().clear_calls();
    organization.delete_stack(CLEANUP_STACK).expect_status("DELETE_COMPLETE");
    let gone: Vec<_> = before.difference(&organization.inventory()).map(|item| item.listed_by.clone()).collect();
    assert_eq!(gone, ["cloudformation:DescribeStacks"], "only the user's stack");
    assert_eq!(changes(&organization), [] as [String; 0]);
    let image = dropped_image(&organization, "v1");
    organization.hours(26);
    assert!(!organization.has(&image), "it works on");
}

#[test]
fn a_create_that_finds_parts_of_its_own_adopts_them() {
    let organization = hub();
    // The first run makes the schedule group and the bus and dies; CloudFormation has no id of anything.
    let mut made = false;
    organization.aws.world().add_fault_plan(move |call| {
        let strikes = call.operation == "PutPermission" && !std::mem::replace(&mut made, true);
        strikes.then_some(simulated_aws::Fault::CrashAfter)
    });
    organization
        .create_stack(CLEANUP_STACK, &template(&accounts(&BOTH, &REGIONS)), &[])
        .expect_status("CREATE_COMPLETE");
    let made = |operation: &str| {
        let world = organization.aws.world();
        world.calls().iter().filter(|call| call.operation == operation && call.outcome.is_ok()).count()
    };
    assert_eq!(made("CreateEventBus"), 1);
    assert_eq!(instances(&organization), current(&["111111111111", BOTH[0], BOTH[1]], &REGIONS));
}

#[test]
fn both_sides_of_a_replacement_live_until_the_former_is_deleted() {
    let organization = installed();
    let mut properties = accounts(&BOTH, &REGIONS);
    properties["Name"] = json!("main");
    let mut seen_together = false;
    let input = json!({"StackName": CLEANUP_STACK, "TemplateBody": template(&properties)});
    organization.call(&organization.hub, organization.home(), "cloudformation", "UpdateStack", input);
    for _ in 0..60 {
        organization.aws.advance(SignedDuration::from_secs(10));
        let sets: Vec<_> = organization
            .inventory()
            .into_iter()
            .filter(|item| item.listed_by == "cloudformation:ListStackSets")
            .collect();
        seen_together |= sets.len() == 2 && instances(&organization).len() == 6;
    }
    assert!(seen_together);
    let sets = organization.inventory().into_iter().filter(|item| item.listed_by == "cloudformation:ListStackSets");
    assert_eq!(sets.map(|item| item.name).collect::<Vec<_>>(), ["ecr-cleanup-main-accounts"]);
    organization.hours(6);
    let image = dropped_image(&organization, "v1");
    organization.hours(26);
    assert!(!organization.has(&image));
    assert_healthy(&organization);
}
