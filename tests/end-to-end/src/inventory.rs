//! What there is in the accounts of an organization: listed by the calls that an administrator would make.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use simulated_aws::{AccountId, Region};

use crate::Organization;

/// A listing: service, operation, input, the member that holds the list, and the member that tells one item from another
/// (empty where the items are plain text).
type Listing = (&'static str, &'static str, Value, &'static str, &'static str);

/// Everything that EcrCleanup could leave behind in a region.
fn listings() -> Vec<Listing> {
    vec![
        ("cloudformation", "DescribeStacks", json!({}), "Stacks", "StackName"),
        ("cloudformation", "ListStackSets", json!({"Status": "ACTIVE"}), "Summaries", "StackSetName"),
        (
            "config",
            "DescribeConfigurationAggregators",
            json!({}),
            "ConfigurationAggregators",
            "ConfigurationAggregatorName",
        ),
        (
            "config",
            "DescribeAggregationAuthorizations",
            json!({}),
            "AggregationAuthorizations",
            "AggregationAuthorizationArn",
        ),
        ("ecr", "ListPullTimeUpdateExclusions", json!({}), "pullTimeUpdateExclusions", ""),
        ("ecs", "ListTaskDefinitions", json!({"status": "ACTIVE"}), "taskDefinitionArns", ""),
        ("events", "ListEventBuses", json!({}), "EventBuses", "Arn"),
        ("events", "ListRules", json!({}), "Rules", "Arn"),
        ("iam", "ListRoles", json!({}), "Roles", "Arn"),
        ("lambda", "ListFunctions", json!({}), "Functions", "FunctionArn"),
        ("lambda", "ListEventSourceMappings", json!({}), "EventSourceMappings", "UUID"),
        ("logs", "DescribeLogGroups", json!({}), "logGroups", "logGroupName"),
        ("scheduler", "ListScheduleGroups", json!({}), "ScheduleGroups", "Arn"),
        ("scheduler", "ListSchedules", json!({}), "Schedules", "Arn"),
        ("sns", "ListTopics", json!({}), "Topics", "TopicArn"),
        ("ssm", "GetParameters", json!({"Names": ["/ecr-cleanup/version"]}), "Parameters", "Name"),
        ("sqs", "ListQueues", json!({}), "QueueUrls", ""),
        ("monitoring", "DescribeAlarms", json!({}), "MetricAlarms", "AlarmName"),
        ("monitoring", "ListDashboards", json!({}), "DashboardEntries", "DashboardArn"),
    ]
}

/// Something that exists in an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// The account.
    pub account: AccountId,
    /// The region in which it was listed; roles and dashboards exist in all and are listed in the first.
    pub region: Region,
    /// The call that lists it, such as `config:DescribeAggregationAuthorizations`.
    pub listed_by: String,
    /// Its name or ARN.
    pub name: String,
}

impl Organization {
    /// Everything that there is in all accounts and regions. What is in it after an EcrCleanup was removed, and was not
    /// before it was installed, is what the EcrCleanup left behind.
    ///
    /// # Panics
    /// If a listing has more than a page: the organization is too large for it.
    pub fn inventory(&self) -> BTreeSet<Item> {
        self.inventory_of(&self.accounts())
    }

    /// The same of some accounts.
    ///
    /// # Panics
    /// If a listing has more than a page: the organization is too large for it.
    pub fn inventory_of(&self, accounts: &[AccountId]) -> BTreeSet<Item> {
        let mut items = BTreeSet::new();
        for (account, region) in
            accounts.iter().flat_map(|account| self.regions.iter().map(move |region| (account, region)))
        {
            for (service, operation, input, list, member) in listings() {
                let global = service == "iam" || operation == "ListDashboards";
                if global && region != self.home() {
                    continue;
                }
                let answer = self.call(account, region, service, operation, input);
                for token in ["NextToken", "nextToken", "NextMarker", "Marker"] {
                    assert!(answer[token].is_null(), "{service}:{operation} in {account}/{region} has a second page");
                }
                for item in answer[list].as_array().into_iter().flatten() {
                    let name = if member.is_empty() { item } else { &item[member] };
                    items.insert(Item {
                        account: account.clone(),
                        region: region.clone(),
                        listed_by: format!("{service}:{operation}"),
                        name: name.as_str().unwrap_or_else(|| panic!("{service}:{operation}: {item}")).to_owned(),
                    });
                }
            }
        }
        items
    }
}
