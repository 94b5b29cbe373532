//! Reads that must not look like pulls: in the registries of the workloads' regions, the roles that look at images are excluded
//! from the recorded pull times. In the hub's own region the template of the hub sees to it.
//!
//! An exclusion belongs to a registry and a role, not to an EcrCleanup: it is removed only when the hub has no other one. Which
//! regions others have is not looked up; so exclusions in regions that only an EcrCleanup had which went before the last one
//! stay. They do no harm: they say of the functions' roles that their reads are no pulls, wherever that is.

use std::collections::BTreeSet;

use aws_sdk_ecr::error::ProvideErrorMetadata;

use super::desired::Identity;
use super::prerequisites::is_disabled;
use super::step::{Progress, StepError, failed};
use crate::clients::Clients;
use crate::region::Region;

/// How the names of all event buses of EcrCleanups begin.
const BUSES: &str = "ecr-cleanup-";

/// The principals that a registry excludes; none where there is no registry, because the account has not enabled the region.
async fn observe(client: &aws_sdk_ecr::Client, region: &Region) -> Result<Option<BTreeSet<String>>, StepError> {
    let mut excluded = BTreeSet::new();
    let mut token = None;
    loop {
        let page = match client.list_pull_time_update_exclusions().set_next_token(token).send().await {
            Ok(page) => page,
            Err(error) if is_disabled(error.code()) => return Ok(None),
            Err(error) => return Err(failed("ecr:ListPullTimeUpdateExclusions", region.as_str())(error)),
        };
        excluded.extend(page.pull_time_update_exclusions().iter().cloned());
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(Some(excluded));
        }
    }
}

/// All exclusions that lack, and no more those of regions that are workloads' no more.
pub(super) async fn converge(clients: &Clients, identity: &Identity) -> Result<Progress, StepError> {
    for region in identity.regions.iter().filter(|region| **region != identity.hub.region) {
        let client = clients.ecr(region);
        let excluded = observe(&client, region).await?.ok_or_else(|| {
            StepError::Prerequisites(vec![format!("Workloads.Regions: {region} is not enabled any more in the hub")])
        })?;
        for role in identity.reading_roles().into_iter().filter(|role| !excluded.contains(role)) {
            match client.register_pull_time_update_exclusion().principal_arn(role).send().await {
                Ok(_) => {}
                Err(error)
                    if error.as_service_error().is_some_and(|error| error.is_exclusion_already_exists_exception()) => {}
                Err(error) => {
                    return Err(failed("ecr:RegisterPullTimeUpdateExclusion", region.as_str())(error));
                }
            }
        }
    }
    if !identity.former_regions.is_empty() && is_the_only_one(clients, identity).await? {
        withdraw(clients, identity, &identity.former_regions).await?;
    }
    Ok(Progress::Done)
}

/// No exclusion in any region, unless another EcrCleanup needs it.
pub(super) async fn remove(clients: &Clients, identity: &Identity) -> Result<Progress, StepError> {
    let regions: BTreeSet<_> = identity.regions.union(&identity.former_regions).cloned().collect();
    let elsewhere = regions.iter().any(|region| *region != identity.hub.region);
    if elsewhere && is_the_only_one(clients, identity).await? {
        withdraw(clients, identity, &regions).await?;
    }
    Ok(Progress::Done)
}

/// Whether the hub has no other EcrCleanup, as its event buses tell.
async fn is_the_only_one(clients: &Clients, identity: &Identity) -> Result<bool, StepError> {
    let own = identity.part_name();
    let mut token = None;
    loop {
        let page = clients
            .eventbridge()
            .list_event_buses()
            .name_prefix(BUSES)
            .set_next_token(token)
            .send()
            .await
            .map_err(failed("events:ListEventBuses", BUSES))?;
        if page.event_buses().iter().any(|bus| bus.name() != Some(&own)) {
            return Ok(false);
        }
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(true);
        }
    }
}

async fn withdraw(clients: &Clients, identity: &Identity, regions: &BTreeSet<Region>) -> Result<(), StepError> {
    for region in regions.iter().filter(|region| **region != identity.hub.region) {
        let client = clients.ecr(region);
        let Some(excluded) = observe(&client, region).await? else { continue };
        for role in identity.reading_roles().into_iter().filter(|role| excluded.contains(role)) {
            match client.deregister_pull_time_update_exclusion().principal_arn(role).send().await {
                Ok(_) => {}
                Err(error)
                    if error.as_service_error().is_some_and(|error| error.is_exclusion_not_found_exception()) => {}
                Err(error) => {
                    return Err(failed("ecr:DeregisterPullTimeUpdateExclusion", region.as_str())(error));
                }
            }
        }
    }
    Ok(())
}
