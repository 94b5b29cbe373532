//! What an account must have before anything is made: found out first, all of it, and named with the command that mends it.
//!
//! It is looked for only when the stack set is to reach places that it has not reached, so that no other update is held up,
//! least of all one that turns `DryRun` on.
//!
//! Not everything can be known before. That a workload account lacks its execution role or has a region disabled shows when the
//! stack set comes there; the account is not covered then, and the answer names it. Of the roles in the hub it is known only
//! whether they exist: what they trust and may do shows when they are used.

use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types::{CallAs, OrganizationStatus};

use super::desired::{Desired, Targets};
use super::step::{StepError, failed};
use crate::clients::Clients;

/// The service principal of StackSets in an organization.
const STACK_SETS: &str = "member.org.stacksets.cloudformation.amazonaws.com";
/// The service principal of AWS Config.
const CONFIG: &str = "config.amazonaws.com";
/// The role by which self-managed stack sets come into an account, unless they name another.
const EXECUTION_ROLE: &str = "AWSCloudFormationStackSetExecutionRole";
/// The role by which they do it from the hub, unless the hub's stack names another.
const ADMINISTRATION_ROLE: &str = "AWSCloudFormationStackSetAdministrationRole";
/// Where AWS keeps templates of both (CloudFormation user guide, Grant self-managed permissions).
const TEMPLATES: &str = "https://s3.amazonaws.com/cloudformation-stackset-sample-templates-us-east-1";

/// Fails with everything that is missing.
pub(super) async fn check(clients: &Clients, desired: &Desired) -> Result<(), StepError> {
    let mut missing = Vec::new();
    regions(clients, desired, &mut missing).await?;
    if matches!(desired.targets, Targets::Accounts(_)) {
        roles(clients, desired, &mut missing).await?;
    }
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

/// The roles of self-managed stack sets are there, as far as the hub can look.
async fn roles(clients: &Clients, desired: &Desired, missing: &mut Vec<String>) -> Result<(), StepError> {
    let hub = desired.identity.hub_account();
    let command = |role: &str, parameters: &str| {
        format!(
            "`aws cloudformation create-stack --stack-name {role} --template-url {TEMPLATES}/{role}.yml{parameters} \
             --capabilities CAPABILITY_NAMED_IAM`"
        )
    };
    let administration = desired.administration_role_arn.rsplit('/').next().unwrap_or_default();
    if !has_role(clients, administration).await? {
        let advice = if administration == ADMINISTRATION_ROLE {
            format!("make it with {}", command(administration, ""))
        } else {
            "make it, or name the one that there is in the hub stack's parameter StackSetAdministrationRoleName"
                .to_owned()
        };
        missing.push(format!("the account {hub} has no role {administration} for stack sets; {advice}"));
    }
    if !has_role(clients, EXECUTION_ROLE).await? {
        let parameters = format!(" --parameters ParameterKey=AdministratorAccountId,ParameterValue={hub}");
        let command = command(EXECUTION_ROLE, &parameters);
        missing.push(format!(
            "the account {hub} has no role {EXECUTION_ROLE}; make it there, and in every workload account, with {command}"
        ));
    }
    Ok(())
}

/// Whether the hub has a role. Who may not look does not know, and is not held up by it.
async fn has_role(clients: &Clients, role: &str) -> Result<bool, StepError> {
    match clients.iam().get_role().role_name(role).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_entity_exception()) => Ok(false),
        Err(error) if error.code() == Some("AccessDenied") => {
            tracing::warn!(role, "nobody lets the provider look whether there is such a role");
            Ok(true)
        }
        Err(error) => Err(failed("iam:GetRole", role)(error)),
    }
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
