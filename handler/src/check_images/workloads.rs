//! The accounts that an EcrCleanup's properties name, and which accounts may pull from a repository.
//!
//! What must be covered comes from who may pull, not from what was deployed: the hub, whose principals need no policy, and
//! every account that the repository's policy admits. An admitted account outside the workloads, or a principal that
//! cannot be enumerated, keeps the repository, because what it uses is not visible; unless `OutsidePullers` is `Ignore`.
//! Accounts of `UncoveredAccounts` are knowingly left out, in either case.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_organizations::Client;
use aws_sdk_organizations::types::Account;

use jiff::{SignedDuration, Timestamp};

use super::aggregator::Aggregator;
use super::coverage::REMEMBERED;
use super::evidence::{Because, Gap};
use super::failed_call::failed_call;
use super::pullers::{Admitted, OrganizationScope};
use crate::account::AccountId;
use crate::clients::Clients;
use crate::settings::{OutsidePullers, Settings};

/// Whether an account can be covered at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It can.
    Active,
    /// It is suspended, being closed or closed, as Organizations calls it.
    Inactive(String),
}

/// The accounts of an EcrCleanup, and what is known of its organization.
#[derive(Debug, Clone, Default)]
pub struct Workloads {
    /// The accounts of the properties and the hub.
    pub accounts: BTreeMap<AccountId, Standing>,
    /// They were found for an earlier check.
    pub remembered: bool,
    /// The accounts of each part of the organization that a repository policy admits, or why they are not known.
    pub scopes: BTreeMap<OrganizationScope, Result<BTreeMap<AccountId, Standing>, Because>>,
}

/// The accounts that were found for an aggregator and these units, and when. Lives as long as the function stays warm.
#[derive(Debug, Default)]
pub struct KnownAccounts(BTreeMap<AggregatorAndUnits, (Timestamp, BTreeMap<AccountId, Standing>)>);

/// The aggregator's name, and the ids of the units.
type AggregatorAndUnits = (String, Vec<String>);

impl KnownAccounts {
    /// From now on they are looked up.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

impl Workloads {
    /// The accounts as they are now, or were less than [`REMEMBERED`] ago: those of the aggregator, or for an organization
    /// those of its units at any depth.
    ///
    /// # Errors
    /// A call that failed, or an aggregator that is gone.
    pub async fn gather(
        clients: &Clients,
        settings: &Settings,
        aggregator: &Aggregator<'_>,
        known: &mut KnownAccounts,
        now: Timestamp,
    ) -> Result<Self, Because> {
        // An account that came since is outside the workloads, which whoever asks does not believe before it has asked anew;
        // only not where outsiders are ignored. One that left since has to be covered a little longer.
        let may_remember = settings.outside_pullers == OutsidePullers::Keep;
        let units = settings.organization.iter().flat_map(|organization| &organization.organizational_unit_ids);
        let units: Vec<String> = units.map(|unit| unit.to_string()).collect();
        let key = (aggregator.name.to_owned(), units.clone());
        if let Some((at, accounts)) = known.0.get(&key).filter(|_| may_remember)
            && (SignedDuration::ZERO..REMEMBERED).contains(&now.duration_since(*at))
        {
            return Ok(Self { accounts: accounts.clone(), remembered: true, scopes: BTreeMap::new() });
        }
        let mut accounts = match &settings.organization {
            Some(_) => accounts_below(clients.organizations(), units).await?,
            None => aggregated_accounts(aggregator).await?,
        };
        accounts.entry(settings.hub.account.clone()).or_insert(Standing::Active);
        known.0.insert(key, (now, accounts.clone()));
        Ok(Self { accounts, remembered: false, scopes: BTreeMap::new() })
    }

    /// Looks up the accounts of the parts of the organization that `admitted` names.
    pub async fn look_up(&mut self, clients: &Clients, settings: &Settings, admitted: &Admitted) {
        for scope in &admitted.organizations {
            if self.scopes.contains_key(scope) || !in_our_organization(scope, settings) {
                continue;
            }
            let found = match scope {
                OrganizationScope::Organization(_) => all_accounts(clients.organizations()).await,
                OrganizationScope::Unit { unit, .. } => {
                    accounts_below(clients.organizations(), vec![unit.clone()]).await
                }
            };
            self.scopes.insert(scope.clone(), found);
        }
    }

    /// Which accounts may pull, the hub among them, and which principals are outside the workloads.
    ///
    /// # Errors
    /// A part of the organization whose accounts are not known.
    pub fn pullers(&self, settings: &Settings, admitted: &Admitted) -> Result<Pullers, Because> {
        let mut may_pull = BTreeSet::from([settings.hub.account.clone()]);
        let mut unenumerated = admitted.unknowable.clone();
        may_pull.extend(admitted.accounts.iter().cloned());
        for scope in &admitted.organizations {
            match self.scopes.get(scope) {
                Some(Ok(accounts)) => may_pull.extend(accounts.keys().cloned()),
                Some(Err(because)) => return Err(because.clone()),
                None => {
                    unenumerated.insert(match scope {
                        OrganizationScope::Organization(id) => format!("the organization {id}"),
                        OrganizationScope::Unit { organization, unit } => {
                            format!("{unit} of the organization {organization}")
                        }
                    });
                }
            }
        }
        // Whoever cannot be enumerated may be any of the workloads.
        if !unenumerated.is_empty() {
            may_pull.extend(self.accounts.keys().cloned());
        }
        let mut outside = unenumerated;
        may_pull.retain(|account| {
            // The hub holds the images and is always covered.
            if settings.uncovered_accounts.contains(account) && *account != settings.hub.account {
                return false;
            }
            let within = self.accounts.contains_key(account);
            if !within {
                outside.insert(format!("account {account}, which is not among the workloads"));
            }
            within
        });
        if settings.outside_pullers == OutsidePullers::Ignore {
            outside.clear();
        }
        Ok(Pullers { may_pull, outside })
    }
}

/// Who may pull from a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pullers {
    /// Accounts of the workloads.
    pub may_pull: BTreeSet<AccountId>,
    /// Everybody else.
    pub outside: BTreeSet<String>,
}

fn in_our_organization(scope: &OrganizationScope, settings: &Settings) -> bool {
    let (OrganizationScope::Organization(id) | OrganizationScope::Unit { organization: id, .. }) = scope;
    settings.organization.as_ref().is_some_and(|ours| ours.organization_id.as_str() == id)
}

async fn aggregated_accounts(aggregator: &Aggregator<'_>) -> Result<BTreeMap<AccountId, Standing>, Because> {
    let unknown = |what: String| Because::new(Gap::Coverage, format!("aggregator {}: {what}", aggregator.name));
    let answer = aggregator
        .config
        .describe_configuration_aggregators()
        .configuration_aggregator_names(aggregator.name)
        .send()
        .await
        .map_err(|error| {
            failed_call(Gap::Coverage, "config:DescribeConfigurationAggregators", aggregator.name, &error)
        })?;
    let [found] = answer.configuration_aggregators() else {
        return Err(unknown(format!("{} of this name were found", answer.configuration_aggregators().len())));
    };
    found
        .account_aggregation_sources()
        .iter()
        .flat_map(|source| source.account_ids())
        .map(|account| match account.parse() {
            Ok(account) => Ok((account, Standing::Active)),
            Err(error) => Err(unknown(format!("{error}"))),
        })
        .collect()
}

/// The accounts in these roots and units, at any depth.
async fn accounts_below(
    organizations: &Client,
    mut parents: Vec<String>,
) -> Result<BTreeMap<AccountId, Standing>, Because> {
    let mut accounts = BTreeMap::new();
    let mut seen = BTreeSet::new();
    while let Some(parent) = parents.pop() {
        if !seen.insert(parent.clone()) {
            continue;
        }
        let mut token = None;
        loop {
            let page = organizations
                .list_accounts_for_parent()
                .parent_id(&parent)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| {
                failed_call(Gap::Coverage, "organizations:ListAccountsForParent", &parent, &error)
            })?;
            for account in page.accounts() {
                let (id, standing) = standing(account)?;
                accounts.insert(id, standing);
            }
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        loop {
            let page = organizations
                .list_organizational_units_for_parent()
                .parent_id(&parent)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| {
                    failed_call(Gap::Coverage, "organizations:ListOrganizationalUnitsForParent", &parent, &error)
                })?;
            for unit in page.organizational_units() {
                let unit =
                    unit.id().ok_or_else(|| Because::new(Gap::Coverage, format!("a unit in {parent} has no id")))?;
                parents.push(unit.to_owned());
            }
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
    }
    Ok(accounts)
}

async fn all_accounts(organizations: &Client) -> Result<BTreeMap<AccountId, Standing>, Because> {
    let mut accounts = BTreeMap::new();
    let mut token = None;
    loop {
        let page =
            organizations.list_accounts().set_next_token(token).send().await.map_err(|error| {
                failed_call(Gap::Coverage, "organizations:ListAccounts", "the organization", &error)
            })?;
        for account in page.accounts() {
            let (id, standing) = standing(account)?;
            accounts.insert(id, standing);
        }
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(accounts);
        }
    }
}

/// The account and whether it can be covered. `State` is newer than `Status`; where it is given it counts too.
fn standing(account: &Account) -> Result<(AccountId, Standing), Because> {
    let id = account
        .id()
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| Because::new(Gap::Coverage, "Organizations lists an account without a readable id"))?;
    let status = account.status().map(|status| status.as_str());
    let state = account.state().map(|state| state.as_str());
    let standing = match [state, status].into_iter().flatten().find(|word| *word != "ACTIVE") {
        Some(word) => Standing::Inactive(word.to_owned()),
        None if state.or(status).is_some() => Standing::Active,
        None => Standing::Inactive("of unknown state".to_owned()),
    };
    Ok((id, standing))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(organization: Option<&str>) -> Settings {
        let mut settings = crate::settings::tests::cleanup();
        if let Some(id) = organization {
            settings["kind"] = "organization".into();
            settings["organization"] =
                serde_json::json!({"organizationId": id, "organizationalUnitIds": ["ou-abcd-12345678"]});
        }
        serde_json::from_value(settings).unwrap()
    }

    fn account(n: u64) -> AccountId {
        format!("{n:012}").parse().unwrap()
    }

    fn accounts(numbers: &[u64]) -> BTreeMap<AccountId, Standing> {
        numbers.iter().map(|n| (account(*n), Standing::Active)).collect()
    }

    #[test]
    fn the_hub_and_whoever_the_policy_admits_may_pull() {
        let settings = settings(None);
        let workloads = Workloads { accounts: accounts(&[111111111111, 2, 3]), ..Workloads::default() };
        let admitted = Admitted { accounts: [account(2)].into(), ..Admitted::default() };
        let pullers = workloads.pullers(&settings, &admitted).unwrap();
        assert_eq!(pullers.may_pull, [account(111111111111), account(2)].into());
        assert!(pullers.outside.is_empty());
    }

    #[test]
    fn an_account_that_is_not_among_the_workloads_is_outside() {
        let workloads = Workloads { accounts: accounts(&[111111111111]), ..Workloads::default() };
        let admitted = Admitted { accounts: [account(9)].into(), ..Admitted::default() };
        let pullers = workloads.pullers(&settings(None), &admitted).unwrap();
        assert_eq!(pullers.may_pull, [account(111111111111)].into());
        assert_eq!(pullers.outside.len(), 1);
    }

    #[test]
    fn an_uncovered_account_is_left_out_but_never_the_hub() {
        let mut settings = settings(None);
        settings.uncovered_accounts = [account(111111111111), account(2), account(9)].into();
        let workloads = Workloads { accounts: accounts(&[111111111111, 2, 3]), ..Workloads::default() };
        let admitted = Admitted { accounts: [account(2), account(3), account(9)].into(), ..Admitted::default() };
        let pullers = workloads.pullers(&settings, &admitted).unwrap();
        assert_eq!(pullers.may_pull, [account(111111111111), account(3)].into());
        assert!(pullers.outside.is_empty(), "{:?}", pullers.outside);
    }

    #[test]
    fn ignored_outside_pullers_do_not_keep_but_whoever_cannot_be_enumerated_may_be_any_workload() {
        let mut settings = settings(None);
        settings.outside_pullers = OutsidePullers::Ignore;
        let workloads = Workloads { accounts: accounts(&[111111111111, 2, 3]), ..Workloads::default() };
        let admitted = Admitted { accounts: [account(9)].into(), ..Admitted::default() };
        let pullers = workloads.pullers(&settings, &admitted).unwrap();
        assert_eq!((pullers.may_pull, pullers.outside.len()), ([account(111111111111)].into(), 0));
        let admitted = Admitted { unknowable: ["*".to_owned()].into(), ..Admitted::default() };
        let pullers = workloads.pullers(&settings, &admitted).unwrap();
        assert_eq!(pullers.may_pull, workloads.accounts.keys().cloned().collect());
        assert!(pullers.outside.is_empty());
    }

    #[test]
    fn an_organization_is_enumerated_only_if_it_is_ours() {
        let ours = OrganizationScope::Organization("o-abcdefghij".into());
        let admitted = Admitted { organizations: [ours.clone()].into(), ..Admitted::default() };
        let of_accounts = Workloads { accounts: accounts(&[111111111111]), ..Workloads::default() };
        assert_eq!(of_accounts.pullers(&settings(None), &admitted).unwrap().outside.len(), 1);

        let mut workloads = Workloads { accounts: accounts(&[111111111111, 2]), ..Workloads::default() };
        let settings = settings(Some("o-abcdefghij"));
        workloads.scopes.insert(ours.clone(), Ok(accounts(&[2, 4])));
        let pullers = workloads.pullers(&settings, &admitted).unwrap();
        assert_eq!(pullers.may_pull, [account(111111111111), account(2)].into());
        assert_eq!(pullers.outside.len(), 1, "account 4 is in the organization, but not among the workloads");

        workloads.scopes.insert(ours, Err(Because::new(Gap::Coverage, "throttled")));
        assert!(workloads.pullers(&settings, &admitted).is_err());
    }
}
