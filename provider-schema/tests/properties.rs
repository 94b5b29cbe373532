//! What a request's properties may be, what is refused, and how a refusal reads. Every case is also held against both
//! published schemas, so that what an editor accepts is what the provider accepts.

use provider_schema::scalar::Name;
use provider_schema::{CallAs, KeepOrCheck, Properties, WorkloadSource, schema};
use serde_json::{Value, json};

const TOKEN: &str = "arn:aws:lambda:eu-west-1:111122223333:function:ecr-cleanup-provider";

fn parse(properties: &Value) -> Result<Properties, Vec<String>> {
    Properties::parse(properties, &Name::derive("registry", "EcrCleanup"))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn accounts() -> Value {
    json!({ "Accounts": { "AccountIds": ["111122223333"] }, "Regions": ["eu-west-1"] })
}

fn organization() -> Value {
    json!({
        "Organization": {
            "OrganizationId": "o-a1b2c3d4e5",
            "OrganizationalUnitIds": ["ou-ab12-cd34ef56", "ou-ab12-cd34ef57"],
            "AggregatorRoleArn": "arn:aws:iam::111122223333:role/aggregator",
        },
        "Regions": ["eu-west-1", "eu-central-1"],
    })
}

/// Properties that need nothing but these additions (`null` removes one).
fn with(additions: Value) -> Value {
    let mut properties = json!({ "ServiceToken": TOKEN, "Workloads": accounts() });
    for (name, value) in additions.as_object().expect("an object") {
        properties[name] = value.clone();
    }
    properties.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    properties
}

/// What both published schemas say.
fn valid_by_schemas(properties: &Value) -> [bool; 2] {
    [schema::properties(), schema::resource_type()].map(|schema| {
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        validator.is_valid(properties)
    })
}

fn valid_examples() -> Vec<Value> {
    vec![
        with(json!({})),
        with(json!({ "Workloads": organization() })),
        with(json!({ "OptInTag": { "Key": "cleanup" } })),
        with(json!({ "OptInTag": { "Key": "team:cleanup", "Value": "" }, "ServiceTimeout": 3600 })),
        with(json!({
            "KeepPulledWithinHours": 48, "UncoveredAccounts": ["222233334444"], "OutsidePullers": "Ignore",
            "Action": "Archive",
        })),
        with(json!({ "UncoveredAccounts": [], "OutsidePullers": "Keep", "Action": "Delete" })),
        with(json!({ "Rollout": {} })),
        with(json!({ "Rollout": {
            "RegionConcurrencyType": "SEQUENTIAL", "MaxConcurrentPercentage": 10, "FailureTolerancePercentage": 0,
            "ConcurrencyMode": "STRICT_FAILURE_TOLERANCE", "ManagedExecution": false,
        } })),
        with(json!({ "KeepTagPatterns": [], "KeepNewestImages": 0, "RollbackWindowHours": 8760 })),
        with(json!({
            "Name": "prod", "RollbackWindowHours": 1, "DryRun": true, "KeepNewestImages": 5,
            "KeepTagPatterns": ["release-*", "v1.2.3"], "ProviderVersion": "0.1.0",
        })),
        with(json!({
            "SweepSchedule": "off", "NeverDeployedImages": "Keep", "NeverDeployedAfterHours": 24,
            "UntaggedImages": "Check", "ActiveRevisionsPerFamily": 3, "ServiceOnlyFamilies": ["web", "shop-*"],
        })),
    ]
}

/// Every refusal: the properties, and exactly the problems that are reported for them.
fn refusals() -> Vec<(Value, Vec<&'static str>)> {
    let workloads = |workloads: Value| with(json!({ "Workloads": workloads }));
    vec![
        (with(json!({ "Workloads": null })), vec!["Workloads: is required"]),
        (workloads(json!("all")), vec!["Workloads: expected an object, got a string"]),
        (workloads(json!({ "Regions": ["eu-west-1"] })), vec!["Workloads: needs one of Accounts and Organization"]),
        (
            workloads(json!({
                "Accounts": { "AccountIds": ["111122223333"] },
                "Organization": organization()["Organization"],
                "Regions": ["eu-west-1"],
            })),
            vec!["Workloads: takes only one of Accounts and Organization"],
        ),
        (
            workloads(json!({ "Accounts": { "AccountIds": [] }, "Regions": [] })),
            vec!["Workloads.Accounts.AccountIds: must not be empty", "Workloads.Regions: must not be empty"],
        ),
        (
            workloads(
                json!({ "Accounts": { "AccountIds": ["111122223333", "111122223333"] }, "Regions": ["eu-west-1"] }),
            ),
            vec!["Workloads.Accounts.AccountIds[1]: stands in the list a second time"],
        ),
        (
            workloads(json!({ "Accounts": { "AccountIds": "111122223333" }, "Regions": ["eu-west-1"] })),
            vec!["Workloads.Accounts.AccountIds: expected a list, got a string"],
        ),
        (
            workloads(json!({ "Accounts": {}, "Regions": ["eu-west-1"] })),
            vec!["Workloads.Accounts.AccountIds: is required"],
        ),
        (
            workloads(json!({ "Organization": { "CallAs": "MYSELF" }, "Regions": ["europe"] })),
            vec![
                "Workloads.Organization.OrganizationId: is required",
                "Workloads.Organization.OrganizationalUnitIds: is required",
                "Workloads.Organization.AggregatorRoleArn: is required",
                "Workloads.Organization.CallAs: expected SELF or DELEGATED_ADMIN, got \"MYSELF\"",
                "Workloads.Regions[0]: expected an AWS Region such as eu-west-1, got \"europe\"",
            ],
        ),
        (
            with(json!({
                "KeepPulledWithinHours": 0, "UncoveredAccounts": ["me"], "OutsidePullers": "keep", "Action": "Remove",
            })),
            vec![
                "KeepPulledWithinHours: expected a whole number of hours from 1 to 8760, got \"0\"",
                "UncoveredAccounts[0]: expected an account id of 12 digits (quoted, or YAML drops a leading zero), got \"me\"",
                "OutsidePullers: expected Keep or Ignore, got \"keep\"",
                "Action: expected Delete or Archive, got \"Remove\"",
            ],
        ),
        (
            with(json!({
                "SweepSchedule": "daily", "NeverDeployedImages": "check", "NeverDeployedAfterHours": 0,
                "UntaggedImages": "Delete", "ActiveRevisionsPerFamily": -1, "ServiceOnlyFamilies": ["a:1"],
            })),
            vec![
                "SweepSchedule: expected rate(N hours), rate(N days), a cron expression such as cron(0 3 * * ? *), or off, \
                 got \"daily\"",
                "NeverDeployedImages: expected Keep or Check, got \"check\"",
                "NeverDeployedAfterHours: expected a whole number of hours from 1 to 8760, got \"0\"",
                "UntaggedImages: expected Keep or Check, got \"Delete\"",
                "ActiveRevisionsPerFamily: expected a whole number from 0 to 1000000, got \"-1\"",
                "ServiceOnlyFamilies[0]: expected a task definition family of letters, digits, _ - and at most four *, got \
                 \"a:1\"",
            ],
        ),
        (with(json!({ "OptInTag": {} })), vec!["OptInTag.Key: is required"]),
        (
            with(json!({ "Rollout": {
                "RegionConcurrencyType": "ALL", "MaxConcurrentPercentage": 0, "FailureTolerancePercentage": 101,
                "ConcurrencyMode": "SOFT", "ManagedExecution": "on",
            } })),
            vec![
                "Rollout.RegionConcurrencyType: expected PARALLEL or SEQUENTIAL, got \"ALL\"",
                "Rollout.MaxConcurrentPercentage: expected a whole number of percent from 1 to 100, got \"0\"",
                "Rollout.FailureTolerancePercentage: expected a whole number of percent from 0 to 100, got \"101\"",
                "Rollout.ConcurrencyMode: expected SOFT_FAILURE_TOLERANCE or STRICT_FAILURE_TOLERANCE, got \"SOFT\"",
                "Rollout.ManagedExecution: expected true or false, got \"on\"",
            ],
        ),
        (
            with(json!({ "OptInTag": { "Key": "a", "key": "b", "Values": [] } })),
            vec![
                "OptInTag.Values: is not known here; known are Key, Value",
                "OptInTag.key: is not known here; did you mean Key?",
            ],
        ),
        (
            with(json!({ "Dryrun": true, "Colour": "red" })),
            vec![
                "Colour: is not known here; known are Name, OptInTag, Workloads, RollbackWindowHours, DryRun, \
                 KeepNewestImages, KeepTagPatterns, KeepPulledWithinHours, UncoveredAccounts, OutsidePullers, Action, \
                 SweepSchedule, NeverDeployedImages, NeverDeployedAfterHours, UntaggedImages, ActiveRevisionsPerFamily, \
                 ServiceOnlyFamilies, Rollout, ServiceToken, ServiceTimeout, ProviderVersion",
                "Dryrun: is not known here; did you mean DryRun?",
            ],
        ),
        (
            with(
                json!({ "DryRun": "yes", "RollbackWindowHours": 0, "KeepNewestImages": "many", "ServiceTimeout": {} }),
            ),
            vec![
                "RollbackWindowHours: expected a whole number of hours from 1 to 8760, got \"0\"",
                "DryRun: expected true or false, got \"yes\"",
                "KeepNewestImages: expected a whole number from 0 to 1000000, got \"many\"",
                "ServiceTimeout: expected a single value, got an object",
            ],
        ),
        (
            with(json!({
                "Name": "Prod",
                "KeepTagPatterns": ["v*", "a b"],
                "Workloads": { "Accounts": { "AccountIds": ["111122223333", "444455556666", 1234] }, "Regions": ["eu-west-1"] },
            })),
            vec![
                "Name: expected a lower-case letter followed by at most 31 lower-case letters, digits and hyphens, got \"Prod\"",
                "Workloads.Accounts.AccountIds[2]: expected an account id of 12 digits (quoted, or YAML drops a leading \
                 zero), got \"1234\"",
                "KeepTagPatterns[1]: expected an image tag pattern of letters, digits, _ . - and at most four *, got \"a b\"",
            ],
        ),
    ]
}

#[test]
fn what_is_not_given_has_the_documented_default() {
    let properties = parse(&with(json!({ "Workloads": organization() }))).expect("valid");
    assert_eq!(properties.name.as_str(), "registry-ecrcleanup");
    assert_eq!(properties.opt_in_tag.key.as_str(), "ecr-cleanup");
    assert_eq!(properties.opt_in_tag.value, None);
    assert_eq!(properties.rollback_window_hours.get(), 24);
    assert!(!properties.dry_run);
    assert_eq!(properties.keep_newest_images.get(), 0);
    assert!(properties.keep_tag_patterns.is_empty());
    assert_eq!(properties.sweep_schedule.as_str(), "rate(1 day)");
    assert_eq!(properties.never_deployed_images, KeepOrCheck::Check);
    assert_eq!(properties.never_deployed_after_hours.get(), 336);
    assert_eq!(properties.untagged_images, KeepOrCheck::Keep);
    assert_eq!(properties.active_revisions_per_family.get(), 0);
    assert!(properties.service_only_families.is_empty());
    assert_eq!(properties.service_timeout.get(), 3600);
    assert_eq!(properties.provider_version, None);
    let WorkloadSource::Organization(organization) = properties.workloads.source else { panic!("an organization") };
    assert_eq!(organization.call_as, CallAs::Management);
}

#[test]
fn every_scalar_may_be_the_string_that_cloudformation_makes_of_it() {
    fn stringify(value: &Value) -> Value {
        match value {
            Value::Bool(_) | Value::Number(_) => json!(value.to_string()),
            Value::Array(items) => items.iter().map(stringify).collect(),
            Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), stringify(value))).collect(),
            Value::Null | Value::String(_) => value.clone(),
        }
    }
    for example in valid_examples() {
        assert_eq!(parse(&stringify(&example)), parse(&example), "{example:#}");
    }
}

#[test]
fn an_unquoted_account_id_is_as_good_as_a_quoted_one() {
    let unquoted = json!({ "Accounts": { "AccountIds": [111_122_223_333_u64] }, "Regions": ["eu-west-1"] });
    assert_eq!(parse(&with(json!({ "Workloads": unquoted }))), parse(&with(json!({}))));
}

#[test]
fn what_is_valid_parses_and_fits_both_schemas_and_survives_being_written_out() {
    for example in valid_examples() {
        let properties = parse(&example).unwrap_or_else(|problems| panic!("{problems:?}: {example:#}"));
        assert_eq!(valid_by_schemas(&example), [true, true], "{example:#}");
        let written = serde_json::to_value(&properties).expect("serializable");
        assert_eq!(parse(&written), Ok(properties));
        assert_eq!(valid_by_schemas(&written), [true, true], "{written:#}");
    }
}

#[test]
fn every_refusal_names_all_problems_with_their_paths_and_both_schemas_refuse_too() {
    for (properties, problems) in refusals() {
        assert_eq!(parse(&properties), Err(problems.into_iter().map(str::to_owned).collect()), "{properties:#}");
        assert_eq!(valid_by_schemas(&properties), [false, false], "{properties:#}");
    }
}

#[test]
fn properties_that_are_no_object_are_refused() {
    for (properties, problem) in [
        (json!([]), "ResourceProperties: expected an object, got a list"),
        (json!(null), "ResourceProperties: expected an object, got null"),
    ] {
        assert_eq!(parse(&properties), Err(vec![problem.to_owned()]));
    }
}

#[test]
fn null_is_a_problem_wherever_it_stands() {
    for name in ["Name", "OptInTag", "Workloads", "DryRun", "KeepTagPatterns", "ServiceToken", "ProviderVersion"] {
        let mut properties = with(json!({}));
        properties[name] = Value::Null;
        let problems = parse(&properties).expect_err("null");
        assert!(problems.len() == 1 && problems[0].starts_with(&format!("{name}: expected")), "{problems:?}");
        assert_eq!(valid_by_schemas(&properties), [false, false], "{name}");
    }
}

#[test]
fn only_the_schemas_insist_on_the_service_token() {
    let mut properties = with(json!({}));
    properties.as_object_mut().expect("an object").remove("ServiceToken");
    assert!(parse(&properties).is_ok(), "without it, no request would have reached the provider");
    assert_eq!(valid_by_schemas(&properties), [false, false]);
}

#[test]
fn all_problems_together_read_as_one_sentence() {
    let problems = Properties::parse(&json!({ "DryRun": 1 }), &Name::derive("s", "l")).expect_err("invalid");
    assert_eq!(problems.to_string(), "Workloads: is required; DryRun: expected true or false, got \"1\"");
}
