//! The sources of an aggregator: which accounts and regions it collects from, and how that went.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::aggregator::Aggregator;
use super::{PRINCIPAL, Site, error, limit, page, put, recording, site, texts};
use crate::World;
use crate::iam::{Context, assume_for_service, authorize};
use crate::identity::{AccountId, Region};
use crate::operation::{Access, Call, ServiceError, epoch};
use crate::organizations::{AccountStatus, Organization};

/// The regions that an account has without opting in. `AllAwsRegions` lists them as sources.
const REGIONS: &[&str] = &[
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// What an aggregator collects from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sources {
    /// Accounts that each must authorize it.
    Accounts { accounts: BTreeSet<AccountId>, regions: Regions },
    /// All accounts of the organization.
    Organization { role: String, regions: Regions },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Regions {
    All,
    These(Vec<Region>),
}

impl Regions {
    fn list(&self) -> Vec<Region> {
        match self {
            Self::All => REGIONS.iter().filter_map(|code| Region::new(*code)).collect(),
            Self::These(regions) => regions.clone(),
        }
    }

    fn include(&self, region: &Region) -> bool {
        match self {
            Self::All => true,
            Self::These(regions) => regions.contains(region),
        }
    }
}

/// How collecting from a source went.
struct Status {
    status: String,
    error: Option<(String, String)>,
}

/// An aggregator's sources at this moment.
pub(super) struct Collection<'a> {
    world: &'a World,
    hub: Site,
    aggregator: &'a Aggregator,
    accounts: BTreeSet<AccountId>,
    obstacle: Option<String>,
}

/// The sources of the aggregator that `input` names.
pub(super) fn collection<'a>(world: &'a World, call: &Call, input: &Value) -> Result<Collection<'a>, ServiceError> {
    let aggregator = world.config.aggregator(call, input)?;
    let accounts = match &aggregator.sources {
        Sources::Accounts { accounts, .. } => accounts.clone(),
        Sources::Organization { .. } => {
            let members = world.organization_of(&call.account).map(Organization::members);
            let members = members.into_iter().flatten();
            members.filter(|(_, member)| member.status == AccountStatus::Active).map(|(id, _)| id.clone()).collect()
        }
    };
    let obstacle = obstacle(world, &call.account, &aggregator.sources);
    Ok(Collection { world, hub: site(call), aggregator, accounts, obstacle })
}

/// Why Config cannot read the organization any more; always `None` for accounts as sources.
fn obstacle(world: &World, hub: &AccountId, sources: &Sources) -> Option<String> {
    let Sources::Organization { role, .. } = sources else { return None };
    let organization = world.organization_of(hub);
    if !organization.is_some_and(|one| one.administers(hub, PRINCIPAL) && one.trusts(PRINCIPAL)) {
        return Some(format!("The account may not administer {PRINCIPAL} for the organization."));
    }
    let session = assume_for_service(world, role, PRINCIPAL, "AWSConfig", Context::new());
    let list = Access::new("organizations:ListAccounts", "*");
    session.and_then(|session| authorize(world, &session, &list)).err().map(|refusal| refusal.message)
}

impl Collection<'_> {
    fn regions(&self) -> &Regions {
        match &self.aggregator.sources {
            Sources::Accounts { regions, .. } | Sources::Organization { regions, .. } => regions,
        }
    }

    fn is_authorized(&self, source: &Site) -> bool {
        let own = source.0 == self.hub.0 && !self.world.behaviours.config_own_account_needs_authorization;
        let organization = matches!(self.aggregator.sources, Sources::Organization { .. });
        own || organization || self.world.config.authorizes(source, &self.hub)
    }

    /// How it went; `None` before the first time.
    fn status(&self, source: &Site) -> Option<Status> {
        let first: Timestamp = self.aggregator.source_since(&source.0) + recording::first_sync(self.world);
        if self.world.now() < first {
            return None;
        }
        if !self.is_authorized(source) {
            let message = format!("The account {} has not authorized the aggregator in {}.", source.0, source.1);
            return Some(Status { status: "FAILED".to_owned(), error: Some(("NotAuthorized".to_owned(), message)) });
        }
        if let Some(message) = &self.obstacle {
            let error = Some(("OrganizationAccessDenied".to_owned(), message.clone()));
            return Some(Status { status: "FAILED".to_owned(), error });
        }
        Some(match self.world.config.source_faults.get(source) {
            None => Status { status: "SUCCEEDED".to_owned(), error: None },
            Some((status, message)) => {
                Status { status: status.clone(), error: Some(("InternalError".to_owned(), message.clone())) }
            }
        })
    }

    /// Whether items of this source are seen: after the first time, also while later ones fail.
    fn shows(&self, source: &Site) -> bool {
        self.accounts.contains(&source.0)
            && self.regions().include(&source.1)
            && self.is_authorized(source)
            && self.status(source).is_some()
    }

    /// The items that queries see.
    pub(super) fn items(&self, types: Option<BTreeSet<&str>>) -> Vec<&Value> {
        recording::visible(self.world, types, |source| self.shows(source))
    }

    fn rows(&self, asked: &[String]) -> Vec<Value> {
        let mut rows = Vec::new();
        for account in &self.accounts {
            for region in self.regions().list() {
                let Some(Status { status, error }) = self.status(&(account.clone(), region.clone())) else { continue };
                if !asked.is_empty() && !asked.contains(&status) {
                    continue;
                }
                let mut row = json!({
                    "SourceId": account.as_str(), "SourceType": "ACCOUNT", "AwsRegion": region.as_str(),
                    "LastUpdateStatus": status, "LastUpdateTime": epoch(self.world.now()),
                });
                let (code, message) = error.unzip();
                put(&mut row, "LastErrorCode", code);
                put(&mut row, "LastErrorMessage", message);
                rows.push(row);
            }
        }
        rows
    }
}

pub(super) fn describe_status(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let asked = texts(input, "UpdateStatus");
    if let Some(other) = asked.iter().find(|one| !["SUCCEEDED", "FAILED", "OUTDATED"].contains(&one.as_str())) {
        return Err(error("InvalidParameterValueException", format!("{other} is not an update status.")));
    }
    let rows = collection(world, call, input)?.rows(&asked);
    let (some, next) = page(&rows, input, limit(input, "Limit", 100)?)?;
    let mut output = json!({"AggregatedSourceStatusList": some});
    put(&mut output, "NextToken", next);
    Ok(output)
}

/// Lets collecting from an account and region fail from now on, for every aggregator: `status` is `FAILED` or
/// `OUTDATED`. What was collected stays as it is.
pub fn fail_source(world: &mut World, account: &AccountId, region: &Region, status: &str, message: &str) {
    let fault = (status.to_owned(), message.to_owned());
    world.config.source_faults.insert((account.clone(), region.clone()), fault);
}

/// Ends what [`fail_source`] began.
pub fn mend_source(world: &mut World, account: &AccountId, region: &Region) {
    let site = (account.clone(), region.clone());
    world.config.source_faults.remove(&site);
    recording::copy_all(world, &site);
}
