//! What an account must have before anything is made: found out first, all of it, and named with the command that mends it.
//!
//! It is looked for only when the stack set is to reach places that it has not reached, so that no other update is held up,
//! least of all one that turns `DryRun` on.
//!
//! Not everything can be known before. That a workload account lacks its execution role or has a region disabled shows when the
//! stack set comes there; the account is not covered then, and the answer names it.

use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types::{CallAs, OrganizationStatus};

use super::desired::{Desired, Targets};
use super::step::{StepError, failed};
use crate::clients::Clients;

/// The service principal of StackSets in an organization.
const STACK_SETS: &str = "member.org.stacksets.cloudformation.amazonaws.com";
/// The service principal of AWS Config.
const CONFIG: &str = "config.amazonaws.com";

/// Fails with everything that is missing.
pub(super) async fn check(clients: &Clients, desired: &Desired) -> Result<(), StepError> {
    let mut missing = Vec::new();
    regions(clients, desired, &mut missing).await?;
    if let Targets::Units { ids, call_as } = &desired.targets {
        organization(clients, desired, call_as, &mut missing).await?;
        if missing.is_empty() {
            for unit in ids {
                read_access(clients, unit, &mut missing).await?;
            }
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(StepError::Prerequisites(missing)) }
}

/// Whether an error says that the account has not enabled the region: nobody knows its credentials there.
pub(super) fn is_disabled(code: Option<&str>) -> bool {
    matches!(code, Some("InvalidClientTokenId" | "UnrecognizedClientException" | "RegionDisabledException"))
}

/// Every region is enabled in the hub.
async fn regions(clients: &Clients, desired: &Desired, missing: &mut Vec<String>) -> Result<(), StepError> {
    for region in &desired.identity.regions {
        match clients.sts(region).get_caller_identity().send().await {
            Ok(_) => {}
            Err(error) if is_disabled(error.code()) => {
                missing.push(format!(
                    "Workloads.Regions: {region} is not enabled in the account {}; enable it with `aws account \
                     enable-region --region-name {region}`, in the workload accounts too",
                    desired.identity.hub.account
                ));
            }
            Err(error) => return Err(failed("sts:GetCallerIdentity", region.as_str())(error)),
        }
    }
    Ok(())
}

/// The organization trusts StackSets, and the hub may act for it.
async fn organization(
    clients: &Clients,
    desired: &Desired,
    call_as: &CallAs,
    missing: &mut Vec<String>,
) -> Result<(), StepError> {
    let hub = desired.identity.hub_account();
    let wanted = desired.organization_id.as_deref().unwrap_or_default();
    let described = match clients.organizations().describe_organization().send().await {
        Ok(described) => described,
        Err(error)
            if error.as_service_error().is_some_and(|error| error.is_aws_organizations_not_in_use_exception()) =>
        {
            missing.push(format!(
                "Workloads.Organization: the account {hub} is in no organization; list its workload accounts under \
                 Workloads.Accounts instead"
            ));
            return Ok(());
        }
        Err(error) => return Err(failed("organizations:DescribeOrganization", wanted)(error)),
    };
    let organization = described.organization();
    let is = organization.and_then(|organization| organization.id()).unwrap_or_default();
    if is != wanted {
        missing.push(format!("Workloads.Organization.OrganizationId: the account {hub} is in {is}, not in {wanted}"));
        return Ok(());
    }
    let management = organization.and_then(|organization| organization.master_account_id()).unwrap_or_default();
    match (call_as, management == hub) {
        (CallAs::DelegatedAdmin, true) => {
            missing.push(format!(
                "Workloads.Organization.CallAs: {hub} is the management account, which acts for itself (SELF)"
            ));
            return Ok(());
        }
        (CallAs::DelegatedAdmin, false) => {
            for service in [STACK_SETS, CONFIG] {
                if !is_administrator(clients, hub, service).await? {
                    missing.push(format!(
                        "the account {hub} is no delegated administrator for {service}; register it, in the management \
                         account, with `aws organizations register-delegated-administrator --account-id {hub} \
                         --service-principal {service}`"
                    ));
                }
            }
        }
        (_, false) => {
            missing.push(format!(
                "Workloads.Organization.CallAs: the account {hub} is not the management account {management}; it can only \
                 act as DELEGATED_ADMIN"
            ));
            return Ok(());
        }
        (_, true) => {}
    }
    if !missing.is_empty() {
        return Ok(());
    }
    let access = clients
        .cloudformation()
        .describe_organizations_access()
        .call_as(call_as.clone())
        .send()
        .await
        .map_err(failed("cloudformation:DescribeOrganizationsAccess", is))?;
    if access.status() != Some(&OrganizationStatus::Enabled) {
        missing.push(
            "StackSets has no trusted access to the organization; activate it, in the management account, with `aws \
             cloudformation activate-organizations-access`"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether the account is a delegated administrator for a service. One that may not ask is none for any.
async fn is_administrator(clients: &Clients, account: &str, service: &str) -> Result<bool, StepError> {
    let mut token = None;
    loop {
        let page = clients
            .organizations()
            .list_delegated_administrators()
            .service_principal(service)
            .set_next_token(token)
            .send()
            .await;
        let page = match page {
            Ok(page) => page,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_access_denied_exception()) => {
                return Ok(false);
            }
            Err(error) => return Err(failed("organizations:ListDelegatedAdministrators", service)(error)),
        };
        if page.delegated_administrators().iter().any(|administrator| administrator.id() == Some(account)) {
            return Ok(true);
        }
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(false);
        }
    }
}

/// The accounts of a unit can be listed, which every check does.
async fn read_access(clients: &Clients, unit: &str, missing: &mut Vec<String>) -> Result<(), StepError> {
    match clients.organizations().list_accounts_for_parent().parent_id(unit).send().await {
        Ok(_) => {}
        Err(error) if error.as_service_error().is_some_and(|error| error.is_parent_not_found_exception()) => {
            missing.push(format!(
                "Workloads.Organization.OrganizationalUnitIds: the organization has no {unit}; list its units with `aws \
                 organizations list-organizational-units-for-parent --parent-id PARENT`"
            ));
        }
        Err(error) if error.as_service_error().is_some_and(|error| error.is_access_denied_exception()) => {
            missing.push(format!(
                "the provider may not list the accounts of {unit}: {}; let it with `aws organizations \
                 register-delegated-administrator` or a service control policy that allows \
                 organizations:ListAccountsForParent",
                error.message().unwrap_or("access denied")
            ));
        }
        Err(error) => return Err(failed("organizations:ListAccountsForParent", unit)(error)),
    }
    Ok(())
}
