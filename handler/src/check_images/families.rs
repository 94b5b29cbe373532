//! Families whose older ACTIVE revisions are no use by themselves.
//!
//! Where teams never deregister, every revision stays ACTIVE and every image in use. With `ActiveRevisionsPerFamily` the
//! owner says that of the families of `ServiceOnlyFamilies` only the newest few can still be started, since nothing but
//! services starts them. What services, task sets, rules and live deployments run stays a use, whatever its age.
//!
//! # Guarantees
//! A revision is superseded only if so many newer ACTIVE ones of its family were seen in its account and region, and its
//! images stay for a rollback window after that: the service may go back to it. What could not be asked is an error.
//!
//! A newer revision that was deregistered supersedes for as long as Config shows it as ACTIVE still, minutes mostly. What the
//! older one names can go in that time although it has become one of the newest again, unless a service runs it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::aggregator::Aggregator;
use super::evidence::{Because, Gap};
use super::queries;
use super::usage::{Revision, RevisionStatus};
use crate::settings::Settings;
use crate::task_definition::{Family, TaskDefinitionArn};

/// `revisions`, with those that are superseded no longer counted as ACTIVE.
///
/// # Errors
/// That of `revisions`, or the aggregator did not tell the families' other revisions.
pub async fn without_superseded(
    settings: &Settings,
    aggregator: &Aggregator<'_>,
    revisions: Result<Vec<Revision>, Because>,
) -> Result<Vec<Revision>, Because> {
    let mut revisions = revisions?;
    let newest = settings.active_revisions_per_family as usize;
    let families: BTreeSet<Family> = revisions
        .iter()
        .filter(|revision| newest > 0 && revision.status == RevisionStatus::Active)
        .map(|revision| &revision.arn.family)
        .filter(|family| settings.service_only_families.iter().any(|pattern| pattern.matches(family)))
        .cloned()
        .collect();
    if families.is_empty() {
        return Ok(revisions);
    }
    let unreadable = |error: queries::NotLiteral| Because::new(Gap::Usage, error.to_string());
    let mut active = Vec::new();
    for expression in queries::active_revisions(&families).map_err(unreadable)? {
        active.extend(aggregator.select(Gap::Usage, &expression, |row| row.active_revision()).await?);
    }
    active.retain(|(arn, _)| families.contains(&arn.family));
    let superseded = beyond_newest(active, newest);
    for revision in &mut revisions {
        if let Some(since) = superseded.get(&revision.arn) {
            revision.status = RevisionStatus::Inactive;
            revision.captured_at = revision.captured_at.max(Some(*since));
        }
    }
    Ok(revisions)
}

/// All but the `newest` of each family, account and region, and since when each is superseded: since the first of those that
/// are so many newer was registered, or changed later.
fn beyond_newest(active: Vec<(TaskDefinitionArn, Timestamp)>, newest: usize) -> BTreeMap<TaskDefinitionArn, Timestamp> {
    let mut families: BTreeMap<_, BTreeMap<TaskDefinitionArn, Timestamp>> = BTreeMap::new();
    for (arn, captured) in active {
        let family = families.entry((arn.account.clone(), arn.region.clone(), arn.family.clone())).or_default();
        let latest = family.entry(arn).or_insert(captured);
        *latest = captured.max(*latest);
    }
    let mut superseded = BTreeMap::new();
    for family in families.into_values() {
        let mut revisions: Vec<_> = family.into_iter().collect();
        revisions.sort_by_key(|(arn, _)| std::cmp::Reverse(arn.revision));
        for at in newest..revisions.len() {
            // It fell out when the last of the `newest` just above it was registered.
            let above = &revisions[at - newest..at];
            if let Some(since) = above.iter().map(|(_, captured)| *captured).max() {
                superseded.insert(revisions[at].0.clone(), since);
            }
        }
    }
    superseded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arn(account: u64, family: &str, revision: u32) -> TaskDefinitionArn {
        format!("arn:aws:ecs:eu-west-1:{account:012}:task-definition/{family}:{revision}").parse().unwrap()
    }

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hour * 3600).unwrap()
    }

    #[test]
    fn the_newest_of_each_family_and_account_stay() {
        let active = vec![
            (arn(2, "web", 9), at(9)),
            (arn(2, "web", 10), at(10)),
            (arn(2, "web", 8), at(8)),
            (arn(2, "web", 7), at(7)),
            (arn(2, "api", 1), at(1)),
            (arn(3, "web", 1), at(1)),
        ];
        // Each since the second newer one came.
        assert_eq!(beyond_newest(active.clone(), 2), [(arn(2, "web", 8), at(10)), (arn(2, "web", 7), at(9))].into());
        assert_eq!(beyond_newest(active.clone(), 4), [].into());
        // The same revision twice does not make an older one superseded.
        let twice = vec![(arn(2, "web", 2), at(2)), (arn(2, "web", 2), at(3)), (arn(2, "web", 1), at(1))];
        assert_eq!(beyond_newest(twice, 2), [].into());
    }
}
