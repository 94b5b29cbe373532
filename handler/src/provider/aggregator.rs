//! The AWS Config aggregator, in which every check looks for uses.
//!
//! It takes all regions, whatever the resource's `Regions`: a use that is seen anywhere counts.

use std::collections::BTreeSet;

use aws_sdk_config::Client;
use aws_sdk_config::types::{AccountAggregationSource, ConfigurationAggregator, OrganizationAggregationSource, Tag};

use super::desired::{Desired, Identity, OWNER_TAG, Source};
use super::step::{Progress, StepError, failed, owned};

/// The aggregator, if it is there and ours.
async fn observe(client: &Client, identity: &Identity) -> Result<Option<ConfigurationAggregator>, StepError> {
    let name = identity.part_name();
    let call = "config:DescribeConfigurationAggregators";
    let found = match client.describe_configuration_aggregators().configuration_aggregator_names(&name).send().await {
        Ok(found) => found.configuration_aggregators().first().cloned(),
        Err(error)
            if error.as_service_error().is_some_and(|error| error.is_no_such_configuration_aggregator_exception()) =>
        {
            None
        }
        Err(error) => return Err(failed(call, &name)(error)),
    };
    let Some(aggregator) = found else { return Ok(None) };
    let arn = aggregator.configuration_aggregator_arn().ok_or(StepError::Answer { call, what: "an ARN" })?;
    let tags = client
        .list_tags_for_resource()
        .resource_arn(arn)
        .send()
        .await
        .map_err(failed("config:ListTagsForResource", &name))?;
    let owner = tags.tags().iter().find(|tag| tag.key() == Some(OWNER_TAG)).and_then(Tag::value);
    owned(owner, &identity.owner, &format!("the aggregator {name}"))?;
    Ok(Some(aggregator))
}

/// Whether the aggregator reads from where it should.
fn reads_from(aggregator: &ConfigurationAggregator, source: &Source) -> bool {
    match source {
        Source::Accounts(accounts) => match aggregator.account_aggregation_sources() {
            [one] => {
                one.all_aws_regions()
                    && one.account_ids().iter().map(String::as_str).collect::<BTreeSet<_>>()
                        == accounts.iter().map(String::as_str).collect()
            }
            _ => false,
        },
        Source::Organization { role_arn } => aggregator
            .organization_aggregation_source()
            .is_some_and(|source| source.all_aws_regions() && source.role_arn() == role_arn.as_str()),
    }
}

/// One step towards the aggregator.
pub(super) async fn converge(client: &Client, desired: &Desired) -> Result<Progress, StepError> {
    let name = desired.identity.part_name();
    let source = &desired.source;
    let present = observe(client, &desired.identity).await?;
    if present.as_ref().is_some_and(|aggregator| reads_from(aggregator, source)) {
        return Ok(Progress::Done);
    }
    let call = "config:PutConfigurationAggregator";
    let invalid = |error: aws_sdk_config::error::BuildError| StepError::Limit(format!("{call}: {error}"));
    let mut put = client.put_configuration_aggregator().configuration_aggregator_name(&name);
    put = match source {
        Source::Accounts(accounts) => put.account_aggregation_sources(
            AccountAggregationSource::builder()
                .set_account_ids(Some(accounts.iter().cloned().collect()))
                .all_aws_regions(true)
                .build()
                .map_err(invalid)?,
        ),
        Source::Organization { role_arn } => put.organization_aggregation_source(
            OrganizationAggregationSource::builder()
                .role_arn(role_arn)
                .all_aws_regions(true)
                .build()
                .map_err(invalid)?,
        ),
    };
    if present.is_none() {
        // Tags are only taken when the aggregator is made (AWS Config API reference, PutConfigurationAggregator).
        put = put.tags(Tag::builder().key(OWNER_TAG).value(&desired.identity.owner).build());
    }
    put.send().await.map_err(failed(call, &name))?;
    Ok(Progress::Stepped)
}

/// One step towards no aggregator.
pub(super) async fn remove(client: &Client, identity: &Identity) -> Result<Progress, StepError> {
    let name = identity.part_name();
    match observe(client, identity).await {
        Ok(None) | Err(StepError::Foreign { .. }) => Ok(Progress::Done),
        Err(error) => Err(error),
        Ok(Some(_)) => {
            match client.delete_configuration_aggregator().configuration_aggregator_name(&name).send().await {
                Ok(_) => Ok(Progress::Stepped),
                // IAM knows no tags of an aggregator that is gone, and refuses: whether it is gone tells the next look.
                Err(error) => match observe(client, identity).await {
                    Ok(None) => Ok(Progress::Done),
                    _ => Err(failed("config:DeleteConfigurationAggregator", &name)(error)),
                },
            }
        }
    }
}
