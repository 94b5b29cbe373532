//! Each operation and its refusals, through the SDK's client.

use aws_sdk_config::Client;
use aws_sdk_config::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_config::types::{
    AccountAggregationSource, AggregatedSourceStatusType, ConfigurationRecorder, DeliveryChannel,
    ExclusionByResourceTypes, OrganizationAggregationSource, RecorderStatus, RecordingFrequency, RecordingGroup,
    RecordingMode, RecordingModeOverride, RecordingStrategy, RecordingStrategyType, ResourceType, Tag,
};
use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::{Principal, SimulatedAws};

const AGGREGATOR: &str = "everything";
const ARN: &str = "arn:aws:ecs:eu-west-1:222222222222:task-definition/web:1";

struct Bench {
    aws: SimulatedAws,
    workload: AccountId,
    region: Region,
    hub_client: Client,
    client: Client,
}

/// A hub and a workload account, in which nothing is set up.
fn bare() -> Bench {
    let aws = SimulatedAws::new(1);
    let (hub, workload) = (AccountId::new("111111111111").unwrap(), AccountId::new("222222222222").unwrap());
    let region = Region::new("eu-west-1").unwrap();
    aws.world().add_account(&hub);
    aws.world().add_account(&workload);
    let client = |account: &AccountId| {
        Client::new(&aws.sdk_config(Principal::Administrator { account: account.clone() }, &region))
    };
    let (hub_client, client) = (client(&hub), client(&workload));
    Bench { aws, workload, region, hub_client, client }
}

/// The workload account records everything, and the hub aggregates it.
fn bench() -> Bench {
    let bench = bare();
    bench.put_recorder(recorder(None, None)).unwrap();
    bench.put_channel();
    bench.start();
    bench.authorize();
    bench.put_aggregator(&["222222222222"]).unwrap();
    bench.wait_an_hour();
    bench
}

fn recorder(group: Option<RecordingGroup>, mode: Option<RecordingMode>) -> ConfigurationRecorder {
    ConfigurationRecorder::builder()
        .name("default")
        .role_arn("arn:aws:iam::222222222222:role/config")
        .set_recording_group(group)
        .set_recording_mode(mode)
        .build()
}

fn source(accounts: &[&str]) -> AccountAggregationSource {
    AccountAggregationSource::builder()
        .set_account_ids(Some(accounts.iter().map(|id| (*id).to_owned()).collect()))
        .aws_regions("eu-west-1")
        .build()
        .unwrap()
}

fn code<T, E: ProvideErrorMetadata>(outcome: Result<T, SdkError<E>>) -> Result<T, String> {
    outcome.map_err(|error| error.code().unwrap_or_default().to_owned())
}

fn refusal<T, E: ProvideErrorMetadata>(outcome: Result<T, SdkError<E>>) -> String {
    code(outcome).err().expect("it is refused")
}

fn task_definition(status: &str) -> Item {
    items::task_definition(&json!({
        "taskDefinitionArn": ARN, "family": "web", "status": status,
        "containerDefinitions": [{"name": "app", "image": "reg/app:1"}],
        "tags": [{"key": "team", "value": "shop"}],
    }))
}

impl Bench {
    fn wait_an_hour(&self) {
        self.aws.advance(SignedDuration::from_hours(1));
    }

    fn put_recorder(&self, recorder: ConfigurationRecorder) -> Result<(), String> {
        code(self.aws.run(self.client.put_configuration_recorder().configuration_recorder(recorder).send())).map(drop)
    }

    fn put_channel(&self) {
        let channel = DeliveryChannel::builder().name("default").s3_bucket_name("bucket").build();
        self.aws.run(self.client.put_delivery_channel().delivery_channel(channel).send()).unwrap();
    }

    fn start(&self) {
        self.aws.run(self.client.start_configuration_recorder().configuration_recorder_name("default").send()).unwrap();
    }

    fn stop(&self) {
        self.aws.run(self.client.stop_configuration_recorder().configuration_recorder_name("default").send()).unwrap();
    }

    fn authorize(&self) {
        let call = self.client.put_aggregation_authorization();
        let call = call.authorized_account_id("111111111111").authorized_aws_region("eu-west-1");
        self.aws.run(call.send()).unwrap();
    }

    fn put_aggregator(&self, accounts: &[&str]) -> Result<String, String> {
        let call = self.hub_client.put_configuration_aggregator().configuration_aggregator_name(AGGREGATOR);
        let answer = code(self.aws.run(call.account_aggregation_sources(source(accounts)).send()))?;
        Ok(answer.configuration_aggregator().unwrap().configuration_aggregator_arn().unwrap().to_owned())
    }

    fn record(&self, item: Item) {
        record(&mut self.aws.world(), &self.workload, &self.region, item);
    }

    /// The rows of a query to the aggregator.
    fn select(&self, expression: &str) -> Vec<Value> {
        let call = self.hub_client.select_aggregate_resource_config().configuration_aggregator_name(AGGREGATOR);
        let answer = self.aws.run(call.expression(expression).send()).unwrap();
        answer.results().iter().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    /// The statuses of the task definitions that the aggregator shows.
    fn seen(&self) -> Vec<String> {
        let rows = self.select("SELECT configuration.Status WHERE resourceType = 'AWS::ECS::TaskDefinition'");
        rows.iter().map(|row| row["configuration"]["Status"].as_str().unwrap().to_owned()).collect()
    }

    fn source_status(&self) -> Vec<(String, AggregatedSourceStatusType)> {
        let call = self.hub_client.describe_configuration_aggregator_sources_status();
        let answer = self.aws.run(call.configuration_aggregator_name(AGGREGATOR).send()).unwrap();
        let rows = answer.aggregated_source_status_list().iter();
        rows.map(|row| (row.source_id().unwrap().to_owned(), row.last_update_status().unwrap().clone())).collect()
    }

    fn recorder_status(&self) -> (bool, RecorderStatus, Option<String>) {
        let answer = self.aws.run(self.client.describe_configuration_recorder_status().send()).unwrap();
        let status = &answer.configuration_recorders_status()[0];
        (status.recording(), status.last_status().unwrap().clone(), status.last_error_code().map(str::to_owned))
    }

    fn behave(&self, change: impl FnOnce(&mut crate::Behaviours)) {
        change(&mut self.aws.world().behaviours);
    }
}

#[test]
fn a_change_becomes_an_item_and_reaches_the_aggregator_after_a_while() {
    let bench = bench();
    bench.record(task_definition("ACTIVE"));
    assert!(bench.seen().is_empty());
    bench.wait_an_hour();
    assert_eq!(bench.seen(), ["ACTIVE"]);
    bench.record(task_definition("INACTIVE"));
    bench.wait_an_hour();
    assert_eq!(bench.seen(), ["INACTIVE"], "an inactive task definition is still an item");
    let rows = bench.select("SELECT accountId, awsRegion, arn, tags, recordingFrequency WHERE tags.tag = 'team=shop'");
    let tags = json!([{"key": "team", "value": "shop", "tag": "team=shop"}]);
    assert_eq!(
        rows,
        [
            json!({"accountId": "222222222222", "awsRegion": "eu-west-1", "arn": ARN, "tags": tags, "recordingFrequency": "CONTINUOUS"})
        ]
    );
}

#[test]
fn a_deleted_task_definition_vanishes_or_stays() {
    for vanishes in [true, false] {
        let bench = bench();
        bench.behave(|behaviours| behaviours.config_deleted_task_definition_vanishes = vanishes);
        bench.record(task_definition("INACTIVE"));
        bench.wait_an_hour();
        bench.record(task_definition("INACTIVE").deleted());
        bench.wait_an_hour();
        assert_eq!(bench.seen().is_empty(), vanishes);
    }
}

#[test]
fn changes_are_told_on_the_default_bus() {
    let bench = bench();
    for item in [task_definition("ACTIVE"), task_definition("INACTIVE"), task_definition("INACTIVE").deleted()] {
        bench.record(item);
        bench.wait_an_hour();
    }
    let world = bench.aws.world();
    let details: Vec<&Value> = changes(&world)
        .iter()
        .map(|change| &change.detail)
        .filter(|detail| detail["configurationItem"]["resourceType"] == items::TASK_DEFINITION)
        .collect();
    assert_eq!(details.len(), 3);
    let item = &details[1]["configurationItem"];
    assert_eq!(details[1]["messageType"], "ConfigurationItemChangeNotification");
    assert_eq!(
        (&item["ARN"], &item["awsAccountId"], &item["configurationItemStatus"]),
        (&json!(ARN), &json!("222222222222"), &json!("OK"))
    );
    assert_eq!(item["configuration"]["ContainerDefinitions"][0]["Image"], "reg/app:1");
    assert_eq!(
        details[1]["configurationItemDiff"],
        json!({"changeType": "UPDATE", "changedProperties": {
            "Configuration.Status": {"previousValue": "ACTIVE", "updatedValue": "INACTIVE", "changeType": "UPDATE"}}})
    );
    assert_eq!(details[0]["configurationItem"]["configurationItemStatus"], "ResourceDiscovered");
    let deleted = &details[2]["configurationItem"];
    assert_eq!(deleted["configurationItemStatus"], "ResourceDeleted");
    assert!(deleted["configuration"].is_null() && details[2]["configurationItemDiff"].is_null());
}

#[test]
fn a_rule_on_the_default_bus_forwards_an_item() {
    let bench = bench();
    let call = |service: &str, operation: &str, input: Value| {
        bench.aws.call(&bench.workload, &bench.region, service, operation, input).unwrap()
    };
    let queue = "arn:aws:sqs:eu-west-1:222222222222:items";
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": queue,
        "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}]});
    let made = call("sqs", "CreateQueue", json!({"QueueName": "items", "Attributes": {"Policy": policy.to_string()}}));
    let pattern = json!({"source": ["aws.config"], "detail-type": ["Config Configuration Item Change"], "detail": {
        "messageType": ["ConfigurationItemChangeNotification"],
        "configurationItem": {"resourceType": ["AWS::ECS::TaskDefinition"], "configuration": {"Status": ["ACTIVE"]}}}});
    call("events", "PutRule", json!({"Name": "items", "EventPattern": pattern.to_string()}));
    call("events", "PutTargets", json!({"Rule": "items", "Targets": [{"Id": "queue", "Arn": queue}]}));
    bench.record(task_definition("ACTIVE"));
    bench.wait_an_hour();
    let received = call("sqs", "ReceiveMessage", json!({"QueueUrl": made["QueueUrl"]}));
    let event: Value = serde_json::from_str(received["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!((&event["account"], &event["resources"]), (&json!("222222222222"), &json!([ARN])));
    assert_eq!(event["detail"]["configurationItem"]["ARN"], ARN);
}

#[test]
fn an_item_too_large_for_an_event_is_told_as_a_summary() {
    let bench = bench();
    send_oversized_events(&mut bench.aws.world(), true);
    bench.record(task_definition("ACTIVE"));
    bench.wait_an_hour();
    let world = bench.aws.world();
    let detail = &changes(&world).last().unwrap().detail;
    assert_eq!(detail["messageType"], "OversizedConfigurationItemChangeNotification");
    assert_eq!(detail["configurationItemSummary"]["ARN"], ARN);
    assert!(detail.get("configurationItem").is_none());
}

#[test]
fn a_stopped_recorder_leaves_its_last_items_and_discovers_the_rest_when_it_starts() {
    let bench = bench();
    bench.record(task_definition("ACTIVE"));
    bench.wait_an_hour();
    bench.stop();
    bench.record(task_definition("INACTIVE"));
    bench.wait_an_hour();
    assert_eq!(bench.seen(), ["ACTIVE"]);
    assert!(!bench.recorder_status().0);
    bench.start();
    bench.wait_an_hour();
    assert_eq!(bench.seen(), ["INACTIVE"]);
    bench.stop();
    bench.record(task_definition("INACTIVE").deleted());
    bench.wait_an_hour();
    assert_eq!(bench.seen(), ["INACTIVE"]);
    bench.start();
    bench.wait_an_hour();
    assert!(bench.seen().is_empty());
}

#[test]
fn a_recorder_that_stops_before_the_capture_captures_nothing() {
    let bench = bench();
    bench.record(task_definition("ACTIVE"));
    bench.stop();
    bench.wait_an_hour();
    assert!(bench.seen().is_empty());
}

#[test]
fn a_recording_group_chooses_types() {
    let only = |types: &[&str]| {
        RecordingGroup::builder().set_resource_types(Some(types.iter().map(|one| ResourceType::from(*one)).collect()))
    };
    let all_but = |types: &[&str]| {
        let types = types.iter().map(|one| ResourceType::from(*one)).collect();
        let strategy = RecordingStrategy::builder().use_only(RecordingStrategyType::ExclusionByResourceTypes).build();
        RecordingGroup::builder()
            .exclusion_by_resource_types(ExclusionByResourceTypes::builder().set_resource_types(Some(types)).build())
            .recording_strategy(strategy)
    };
    for (group, recorded) in [
        (RecordingGroup::builder().all_supported(true).build(), true),
        (only(&["AWS::ECS::TaskDefinition"]).build(), true),
        (only(&["AWS::ECS::Service"]).build(), false),
        (all_but(&["AWS::ECS::TaskDefinition"]).build(), false),
        (all_but(&["AWS::ECS::Service"]).build(), true),
    ] {
        let bench = bench();
        bench.put_recorder(recorder(Some(group.clone()), None)).unwrap();
        bench.record(task_definition("ACTIVE"));
        bench.wait_an_hour();
        assert_eq!(!bench.seen().is_empty(), recorded, "{group:?}");
    }
    let bench = bench();
    for group in [
        only(&["AWS::ECS::Service"]).all_supported(true).build(),
        RecordingGroup::builder().all_supported(false).build(),
        all_but(&["AWS::ECS::Service"]).all_supported(true).build(),
        all_but(&["AWS::ECS::Service"]).resource_types(ResourceType::from("AWS::ECS::TaskDefinition")).build(),
    ] {
        assert_eq!(bench.put_recorder(recorder(Some(group), None)), Err("InvalidRecordingGroupException".to_owned()));
    }
}

#[test]
fn a_daily_type_is_recorded_once_within_a_day() {
    let bench = bench();
    let mode = RecordingMode::builder()
        .recording_frequency(RecordingFrequency::Continuous)
        .recording_mode_overrides(
            RecordingModeOverride::builder()
                .resource_types(ResourceType::from("AWS::ECS::TaskDefinition"))
                .recording_frequency(RecordingFrequency::Daily)
                .build()
                .unwrap(),
        )
        .build()
        .unwrap();
    bench.put_recorder(recorder(None, Some(mode))).unwrap();
    let day = SignedDuration::from_hours(24);
    let delays = Delays { daily: (day, day), ..Delays::default() };
    set_delays(&mut bench.aws.world(), delays);
    bench.record(task_definition("ACTIVE"));
    bench.wait_an_hour();
    bench.record(task_definition("INACTIVE"));
    bench.aws.advance(SignedDuration::from_hours(22));
    assert!(bench.seen().is_empty());
    bench.aws.advance(SignedDuration::from_hours(2));
    assert_eq!(bench.seen(), ["INACTIVE"]);
    let told = changes(&bench.aws.world())
        .iter()
        .filter(|change| change.detail["configurationItem"]["resourceType"] == items::TASK_DEFINITION)
        .count();
    assert_eq!(told, 1);
    assert_eq!(bench.select("SELECT recordingFrequency WHERE recordingFrequency = 'DAILY'").len(), 1);
}

#[test]
fn a_recorder_shows_what_was_put_and_how_it_fares() {
    let bench = bare();
    assert_eq!(
        bench.put_recorder(ConfigurationRecorder::builder().name("default").build()),
        Err("InvalidRoleException".to_owned())
    );
    bench.put_recorder(recorder(None, None)).unwrap();
    let described = bench.aws.run(bench.client.describe_configuration_recorders().send()).unwrap();
    let group = described.configuration_recorders()[0].recording_group().unwrap().clone();
    assert!(group.all_supported());
    assert_eq!(group.recording_strategy().unwrap().use_only(), Some(&RecordingStrategyType::AllSupportedResourceTypes));
    assert_eq!(bench.recorder_status(), (false, RecorderStatus::Pending, None));
    let other =
        ConfigurationRecorder::builder().name("other").role_arn("arn:aws:iam::222222222222:role/config").build();
    assert_eq!(bench.put_recorder(other), Err("MaxNumberOfConfigurationRecordersExceededException".to_owned()));
    let start = bench.client.start_configuration_recorder().configuration_recorder_name("default");
    assert_eq!(refusal(bench.aws.run(start.send())), "NoAvailableDeliveryChannelException");
    let start = bench.client.start_configuration_recorder().configuration_recorder_name("other");
    assert_eq!(refusal(bench.aws.run(start.send())), "NoSuchConfigurationRecorderException");
    let unknown = bench.client.describe_configuration_recorder_status().configuration_recorder_names("other");
    assert_eq!(refusal(bench.aws.run(unknown.send())), "NoSuchConfigurationRecorderException");
    bench.put_channel();
    bench.start();
    assert_eq!(bench.recorder_status(), (true, RecorderStatus::Pending, None));
    bench.wait_an_hour();
    assert_eq!(bench.recorder_status(), (true, RecorderStatus::Success, None));
    bench.behave(|behaviours| behaviours.config_status_spelling = StatusSpelling::UpperCase);
    // Not over the wire: recorded calls are held against the service model, which knows only the other spelling.
    let status =
        bench.aws.call(&bench.workload, &bench.region, "config", "DescribeConfigurationRecorderStatus", json!({}));
    assert_eq!(status.unwrap()["ConfigurationRecordersStatus"][0]["lastStatus"], "SUCCESS");
}

#[test]
fn a_recorder_that_fails_says_so_and_records_nothing() {
    let bench = bench();
    fail_recorder(&mut bench.aws.world(), &bench.workload, &bench.region, "AccessDenied", "no rights");
    bench.record(task_definition("ACTIVE"));
    bench.wait_an_hour();
    assert_eq!(bench.recorder_status(), (true, RecorderStatus::Failure, Some("AccessDenied".to_owned())));
    assert!(bench.seen().is_empty());
    mend_recorder(&mut bench.aws.world(), &bench.workload, &bench.region);
    bench.wait_an_hour();
    assert_eq!((bench.recorder_status().1, bench.seen()), (RecorderStatus::Success, vec!["ACTIVE".to_owned()]));
}

#[test]
fn the_recorders_own_item_follows_it_and_may_reach_the_aggregator() {
    for aggregated in [true, false] {
        let bench = bench();
        bench.behave(|behaviours| behaviours.config_recorder_is_aggregated = aggregated);
        let recording = |value: bool| {
            bench.stop();
            if value {
                bench.start();
            }
            bench.wait_an_hour();
            bench.select(&format!("SELECT resourceId WHERE configuration.Recording = {value}")).len()
        };
        assert_eq!(recording(false), usize::from(aggregated));
        assert_eq!(recording(true), usize::from(aggregated));
        let delete = bench.client.delete_configuration_recorder().configuration_recorder_name("default");
        bench.aws.run(delete.send()).unwrap();
        bench.wait_an_hour();
        assert!(bench.select("SELECT resourceId WHERE resourceType = 'AWS::Config::ConfigurationRecorder'").is_empty());
    }
}

#[test]
fn a_delivery_channel_needs_a_recorder_and_cannot_go_while_it_runs() {
    let bench = bare();
    let channel = DeliveryChannel::builder().name("default").s3_bucket_name("bucket").build();
    let put = bench.client.put_delivery_channel().delivery_channel(channel);
    assert_eq!(refusal(bench.aws.run(put.send())), "NoAvailableConfigurationRecorderException");
    bench.put_recorder(recorder(None, None)).unwrap();
    bench.put_channel();
    let other = DeliveryChannel::builder().name("other").s3_bucket_name("bucket").build();
    let put = bench.client.put_delivery_channel().delivery_channel(other);
    assert_eq!(refusal(bench.aws.run(put.send())), "MaxNumberOfDeliveryChannelsExceededException");
    bench.start();
    let delete = |name: &str| {
        code(bench.aws.run(bench.client.delete_delivery_channel().delivery_channel_name(name).send())).map(drop)
    };
    assert_eq!(delete("default"), Err("LastDeliveryChannelDeleteFailedException".to_owned()));
    assert_eq!(delete("other"), Err("NoSuchDeliveryChannelException".to_owned()));
    bench.stop();
    delete("default").unwrap();
    assert!(bench.aws.run(bench.client.describe_delivery_channels().send()).unwrap().delivery_channels().is_empty());
}

#[test]
fn a_source_appears_after_the_first_time_and_fails_without_authorization() {
    use AggregatedSourceStatusType::{Failed, Outdated, Succeeded};
    let bench = bare();
    bench.put_aggregator(&["222222222222"]).unwrap();
    assert!(bench.source_status().is_empty());
    bench.wait_an_hour();
    let workload = "222222222222".to_owned();
    assert_eq!(bench.source_status(), [(workload.clone(), Failed)]);
    bench.authorize();
    assert_eq!(bench.source_status(), [(workload.clone(), Succeeded)]);
    fail_source(&mut bench.aws.world(), &bench.workload, &bench.region, "OUTDATED", "late");
    assert_eq!(bench.source_status(), [(workload.clone(), Outdated)]);
    mend_source(&mut bench.aws.world(), &bench.workload, &bench.region);
    // An account that is added later appears later.
    bench.put_aggregator(&["222222222222", "333333333333"]).unwrap();
    assert_eq!(bench.source_status(), [(workload.clone(), Succeeded)]);
    bench.wait_an_hour();
    assert_eq!(bench.source_status().len(), 2);
    let failed = bench.hub_client.describe_configuration_aggregator_sources_status();
    let failed = failed.configuration_aggregator_name(AGGREGATOR).update_status(Failed);
    let rows = bench.aws.run(failed.send()).unwrap();
    assert_eq!(rows.aggregated_source_status_list()[0].source_id(), Some("333333333333"));
    let page =
        bench.hub_client.describe_configuration_aggregator_sources_status().configuration_aggregator_name(AGGREGATOR);
    let page = bench.aws.run(page.limit(1).send()).unwrap();
    assert_eq!((page.aggregated_source_status_list().len(), page.next_token().is_some()), (1, true));
}

#[test]
fn revoking_the_authorization_hides_the_source() {
    let bench = bench();
    bench.record(task_definition("ACTIVE"));
    bench.wait_an_hour();
    let revoke = bench.client.delete_aggregation_authorization();
    let revoke = || revoke.clone().authorized_account_id("111111111111").authorized_aws_region("eu-west-1").send();
    bench.aws.run(revoke()).unwrap();
    bench.aws.run(revoke()).unwrap();
    assert!(bench.seen().is_empty());
    let list = bench.aws.run(bench.client.describe_aggregation_authorizations().send()).unwrap();
    assert!(list.aggregation_authorizations().is_empty());
}

#[test]
fn a_source_that_cannot_be_read_keeps_its_last_items() {
    let bench = bench();
    bench.record(task_definition("ACTIVE"));
    bench.wait_an_hour();
    fail_source(&mut bench.aws.world(), &bench.workload, &bench.region, "FAILED", "broken");
    bench.record(task_definition("INACTIVE"));
    bench.wait_an_hour();
    assert_eq!(bench.seen(), ["ACTIVE"]);
    mend_source(&mut bench.aws.world(), &bench.workload, &bench.region);
    assert_eq!(bench.seen(), ["INACTIVE"]);
}

#[test]
fn the_hub_itself_is_a_source_with_or_without_its_own_authorization() {
    for needs in [true, false] {
        let bench = bare();
        bench.behave(|behaviours| behaviours.config_own_account_needs_authorization = needs);
        bench.put_aggregator(&["111111111111"]).unwrap();
        bench.wait_an_hour();
        let expected = if needs { AggregatedSourceStatusType::Failed } else { AggregatedSourceStatusType::Succeeded };
        assert_eq!(bench.source_status(), [("111111111111".to_owned(), expected)]);
    }
}

#[test]
fn an_aggregator_is_put_replaced_and_deleted() {
    let bench = bare();
    let arn = bench.put_aggregator(&["222222222222"]).unwrap();
    assert_eq!(bench.put_aggregator(&["333333333333"]).unwrap(), arn, "it is replaced in place");
    let describe = bench.hub_client.describe_configuration_aggregators().configuration_aggregator_names(AGGREGATOR);
    let described = bench.aws.run(describe.send()).unwrap();
    let sources = described.configuration_aggregators()[0].account_aggregation_sources();
    assert_eq!(
        (sources[0].account_ids(), sources[0].aws_regions()),
        (&["333333333333".to_owned()][..], &["eu-west-1".to_owned()][..])
    );
    let delete = || bench.hub_client.delete_configuration_aggregator().configuration_aggregator_name(AGGREGATOR).send();
    bench.aws.run(delete()).unwrap();
    let gone = "NoSuchConfigurationAggregatorException";
    assert_eq!(refusal(bench.aws.run(delete())), gone);
    let select = bench.hub_client.select_aggregate_resource_config().configuration_aggregator_name(AGGREGATOR);
    assert_eq!(refusal(bench.aws.run(select.expression("SELECT resourceId").send())), gone);
    let describe = bench.hub_client.describe_configuration_aggregators().configuration_aggregator_names(AGGREGATOR);
    assert_eq!(refusal(bench.aws.run(describe.send())), gone);
}

#[test]
fn an_aggregator_with_wrong_sources_is_refused() {
    let bench = bare();
    let invalid = "InvalidParameterValueException";
    let put = || bench.hub_client.put_configuration_aggregator().configuration_aggregator_name(AGGREGATOR);
    let organization = OrganizationAggregationSource::builder()
        .role_arn("arn:aws:iam::111111111111:role/config")
        .all_aws_regions(true)
        .build()
        .unwrap();
    let nowhere = AccountAggregationSource::builder().account_ids("222222222222").build().unwrap();
    for call in [
        put(),
        put().account_aggregation_sources(nowhere),
        put()
            .account_aggregation_sources(source(&["222222222222"]))
            .account_aggregation_sources(source(&["333333333333"])),
        put().account_aggregation_sources(source(&["222222222222"])).organization_aggregation_source(organization),
        put().account_aggregation_sources(source(&["2222"])),
    ] {
        assert_eq!(refusal(bench.aws.run(call.send())), invalid);
    }
    let bad_name = bench.hub_client.put_configuration_aggregator().configuration_aggregator_name("a b");
    let bad_name = bad_name.account_aggregation_sources(source(&["222222222222"]));
    assert_eq!(refusal(bench.aws.run(bad_name.send())), "ValidationException");
    for number in 0..50 {
        let name = format!("aggregator-{number}");
        let call = bench.hub_client.put_configuration_aggregator().configuration_aggregator_name(name);
        bench.aws.run(call.account_aggregation_sources(source(&["222222222222"])).send()).unwrap();
    }
    assert_eq!(bench.put_aggregator(&["222222222222"]), Err("LimitExceededException".to_owned()));
}

#[test]
fn tags_are_set_at_first_and_changed_only_by_their_own_operations() {
    let bench = bare();
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let put = |value: &str| {
        let call = bench.hub_client.put_configuration_aggregator().configuration_aggregator_name(AGGREGATOR);
        let call = call.account_aggregation_sources(source(&["222222222222"])).tags(tag("owner", value));
        let answer = bench.aws.run(call.send()).unwrap();
        answer.configuration_aggregator().unwrap().configuration_aggregator_arn().unwrap().to_owned()
    };
    let arn = put("first");
    put("second");
    let tags = || {
        let answer = bench.aws.run(bench.hub_client.list_tags_for_resource().resource_arn(&arn).send()).unwrap();
        answer.tags().iter().map(|tag| format!("{}={}", tag.key().unwrap(), tag.value().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(tags(), ["owner=first"]);
    bench.aws.run(bench.hub_client.tag_resource().resource_arn(&arn).tags(tag("a", "b")).send()).unwrap();
    bench.aws.run(bench.hub_client.untag_resource().resource_arn(&arn).tag_keys("owner").send()).unwrap();
    assert_eq!(tags(), ["a=b"]);
    let foreign = bench.client.list_tags_for_resource().resource_arn(&arn);
    assert_eq!(refusal(bench.aws.run(foreign.send())), "AccessDeniedException");
    let unknown = bench.hub_client.list_tags_for_resource().resource_arn(format!("{arn}0"));
    assert_eq!(refusal(bench.aws.run(unknown.send())), "ResourceNotFoundException");
    let reserved = bench.hub_client.tag_resource().resource_arn(&arn).tags(tag("aws:x", "b"));
    assert_eq!(refusal(bench.aws.run(reserved.send())), "ValidationException");
}

#[test]
fn results_come_in_pages() {
    let bench = bench();
    for number in 0..130 {
        let arn = format!("arn:aws:ecs:eu-west-1:222222222222:task-definition/web:{number:03}");
        bench.record(Item::new(items::TASK_DEFINITION, &arn, None, &arn, json!({"Status": "ACTIVE"})));
    }
    bench.wait_an_hour();
    let select = |limit: i32, token: Option<String>| {
        let call = bench.hub_client.select_aggregate_resource_config().configuration_aggregator_name(AGGREGATOR);
        let call = call.expression("SELECT arn WHERE configuration.Status = 'ACTIVE'").set_next_token(token);
        code(bench.aws.run(call.limit(limit).send()))
    };
    let first = select(0, None).unwrap();
    assert_eq!(first.results().len(), 25);
    assert_eq!(first.query_info().unwrap().select_fields()[0].name(), Some("arn"));
    let first = select(100, None).unwrap();
    let second = select(100, first.next_token().map(str::to_owned)).unwrap();
    assert_eq!((first.results().len(), second.results().len(), second.next_token()), (100, 30, None));
    assert!(!first.results().iter().any(|row| second.results().contains(row)));
    assert_eq!(select(101, None).unwrap_err(), "InvalidLimitException");
    assert_eq!(select(100, Some("made up".to_owned())).unwrap_err(), "InvalidNextTokenException");
    let count = bench.select("SELECT COUNT(*) WHERE resourceType = 'AWS::ECS::TaskDefinition'");
    assert_eq!(count, [json!({"COUNT(*)": 130})]);
}

#[test]
fn a_query_that_is_not_documented_is_an_invalid_expression() {
    let bench = bench();
    for (expression, expected) in [
        ("SELECT resourceId WHERE resourceName != 'a'", "InvalidExpressionException"),
        (
            "SELECT configuration.ContainerDefinitions.ExtraHosts.IpAddress WHERE configuration.ContainerDefinitions.ExtraHosts.IpAddress = '10.0.0.1'",
            "NotSimulated",
        ),
    ] {
        let call = bench.hub_client.select_aggregate_resource_config().configuration_aggregator_name(AGGREGATOR);
        assert_eq!(refusal(bench.aws.run(call.expression(expression).send())), expected);
    }
}

#[test]
fn an_account_queries_its_own_items_without_an_aggregator() {
    let bench = bare();
    bench.put_recorder(recorder(None, None)).unwrap();
    bench.put_channel();
    bench.start();
    bench.record(task_definition("ACTIVE"));
    bench.wait_an_hour();
    let call = bench.client.select_resource_config().expression("SELECT arn WHERE configuration.Family = 'web'");
    assert_eq!(bench.aws.run(call.send()).unwrap().results(), [json!({ "arn": ARN }).to_string()]);
}

/// Puts an aggregator of the organization in which the bench's accounts are.
fn put_organization_aggregator(bench: &Bench) -> Result<(), String> {
    let source = OrganizationAggregationSource::builder().role_arn("arn:aws:iam::111111111111:role/config");
    let call = bench.hub_client.put_configuration_aggregator().configuration_aggregator_name(AGGREGATOR);
    let call = call.organization_aggregation_source(source.aws_regions("eu-west-1").build().unwrap());
    code(bench.aws.run(call.send())).map(drop)
}

fn make_role(bench: &Bench, trusted: &str) {
    let hub = AccountId::new("111111111111").unwrap();
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": trusted}, "Action": "sts:AssumeRole"}]});
    let attach = json!({"RoleName": "config", "PolicyArn": "arn:aws:iam::aws:policy/service-role/AWSConfigRoleForOrganizations"});
    let make = json!({"RoleName": "config", "AssumeRolePolicyDocument": trust.to_string()});
    bench.aws.call(&hub, &bench.region, "iam", "CreateRole", make).unwrap();
    bench.aws.call(&hub, &bench.region, "iam", "AttachRolePolicy", attach).unwrap();
}

#[test]
fn an_organization_is_aggregated_without_authorizations() {
    let bench = bare();
    assert_eq!(put_organization_aggregator(&bench), Err("NoAvailableOrganizationException".to_owned()));
    let management = AccountId::new("999999999999").unwrap();
    let hub = AccountId::new("111111111111").unwrap();
    {
        let mut world = bench.aws.world();
        let root = world.create_organization(&management);
        world.place_account(&hub, &root);
        world.place_account(&bench.workload, &root);
    }
    assert_eq!(put_organization_aggregator(&bench), Err("OrganizationAccessDeniedException".to_owned()));
    for (operation, input) in [
        ("EnableAWSServiceAccess", json!({"ServicePrincipal": PRINCIPAL})),
        ("RegisterDelegatedAdministrator", json!({"AccountId": hub.as_str(), "ServicePrincipal": PRINCIPAL})),
    ] {
        bench.aws.call(&management, &bench.region, "organizations", operation, input).unwrap();
    }
    assert_eq!(put_organization_aggregator(&bench), Err("InvalidRoleException".to_owned()));
    make_role(&bench, PRINCIPAL);
    put_organization_aggregator(&bench).unwrap();
    assert_eq!(bench.put_aggregator(&["222222222222"]), Err("InvalidParameterValueException".to_owned()));
    bench.put_recorder(recorder(None, None)).unwrap();
    bench.put_channel();
    bench.start();
    bench.record(task_definition("ACTIVE"));
    bench.wait_an_hour();
    assert_eq!(bench.seen(), ["ACTIVE"]);
    let statuses = |expected: AggregatedSourceStatusType| {
        let rows = bench.source_status();
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|(_, status)| *status == expected), "{rows:?}");
    };
    statuses(AggregatedSourceStatusType::Succeeded);
    let detach = json!({"RoleName": "config", "PolicyArn": "arn:aws:iam::aws:policy/service-role/AWSConfigRoleForOrganizations"});
    bench.aws.call(&hub, &bench.region, "iam", "DetachRolePolicy", detach).unwrap();
    statuses(AggregatedSourceStatusType::Failed);
    bench.aws.world().remove_account_from_organization(&bench.workload);
    assert!(bench.seen().is_empty());
}

#[test]
fn the_role_of_an_organization_source_must_trust_config() {
    let bench = bare();
    bench.aws.world().create_organization(&AccountId::new("111111111111").unwrap());
    make_role(&bench, "ec2.amazonaws.com");
    assert_eq!(put_organization_aggregator(&bench), Err("InvalidRoleException".to_owned()));
}

#[test]
fn a_role_queries_the_aggregators_that_its_policy_names() {
    let bench = bench();
    let arn = bench.put_aggregator(&["222222222222"]).unwrap();
    let hub = AccountId::new("111111111111").unwrap();
    make_role(&bench, "lambda.amazonaws.com");
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "config:SelectAggregateResourceConfig", "Resource": arn}]});
    let put = json!({"RoleName": "config", "PolicyName": "query", "PolicyDocument": policy.to_string()});
    bench.aws.call(&hub, &bench.region, "iam", "PutRolePolicy", put).unwrap();
    let role = Principal::Role { account: hub, role: "config".to_owned(), session: "s".to_owned() };
    let client = Client::new(&bench.aws.sdk_config(role, &bench.region));
    let select = client.select_aggregate_resource_config().configuration_aggregator_name(AGGREGATOR);
    bench.aws.run(select.expression("SELECT arn").send()).unwrap();
    let list = client.describe_configuration_aggregators();
    assert_eq!(refusal(bench.aws.run(list.send())), "AccessDeniedException");
    let status = client.describe_configuration_aggregator_sources_status().configuration_aggregator_name(AGGREGATOR);
    assert_eq!(refusal(bench.aws.run(status.send())), "AccessDeniedException");
}
