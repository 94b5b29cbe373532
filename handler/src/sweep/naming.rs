//! What names the images of the repositories at hand, over everything that is aggregated.

use std::collections::{BTreeMap, BTreeSet};

use super::Candidates;
use crate::account::AccountId;
use crate::check_images::aggregator::Aggregator;
use crate::check_images::evidence::{Because, Found, Gap};
use crate::check_images::queries;
use crate::check_images::rows::{self, Rows};
use crate::check_images::usage::{Landscape, OtherUser, Revision, Runner};
use crate::repository::Repository;
use crate::settings::Settings;

/// Everything is asked for at once if it takes at most so many pages, however few repositories there are.
const FEW_PAGES: usize = 12;

/// Everything is asked for at once only if it takes at most so many pages: a hundred revisions are some 60 KB.
const MANY_PAGES: usize = 2000;

/// What was seen.
pub(super) struct Seen {
    landscape: Landscape,
    /// The revisions that name each repository; `None` if each is asked for by itself.
    by_repository: Option<BTreeMap<Repository, Vec<Revision>>>,
}

/// Asks for everything that uses images, or at least for what all repositories have in common.
///
/// # Errors
/// The aggregator did not answer, or with something that cannot be read.
pub(super) async fn gather(
    aggregator: &Aggregator<'_>,
    settings: &Settings,
    repositories: &Candidates,
) -> Result<Seen, Because> {
    let hub = &settings.hub.account;
    // Asking for each repository takes a page for each and one for what they share.
    let pages = (repositories.len() + 1).clamp(FEW_PAGES, MANY_PAGES);
    // What cannot be read is a gap of the checks; here it only means that one is made in vain.
    let read = |row: &rows::Row| row.seen_or_unreadable(hub);
    let all = aggregator.select_pages(Gap::Usage, &queries::everything(hub), pages, read).await;
    if let Ok(Some(rows)) = all {
        let wanted: BTreeSet<&Repository> = repositories.iter().map(|(repository, _)| repository).collect();
        let Rows { runners, other_users, revisions, .. } = rows.into_iter().collect();
        let mut by_repository: BTreeMap<Repository, Vec<Revision>> = BTreeMap::new();
        for revision in revisions {
            let named: BTreeSet<&Repository> =
                revision.images.iter().map(|image| image.repository()).filter(|name| wanted.contains(name)).collect();
            for repository in named {
                by_repository.entry(repository.clone()).or_default().push(revision.clone());
            }
        }
        return Ok(Seen { landscape: landscape(runners, other_users), by_repository: Some(by_repository) });
    }
    // One unreadable revision must not hold up the repositories that it does not name.
    if let Err(because) = all {
        tracing::warn!(ecr_cleanup = %settings.names, outcome = "repositories are asked for one by one", reason = because.text);
    }
    let rows = aggregator.select(Gap::Usage, &queries::users(hub), read).await?;
    let Rows { runners, other_users, .. } = rows.into_iter().collect();
    Ok(Seen { landscape: landscape(runners, other_users), by_repository: None })
}

/// Without live deployments, which a sweep does not ask for.
fn landscape(runners: Vec<Runner>, other_users: Vec<OtherUser>) -> Landscape {
    Landscape {
        runners: Found::Known(runners.iter().collect()),
        other_users: Found::Known(other_users),
        unreadable: BTreeMap::new(),
        live: BTreeMap::new(),
        revisions_run: BTreeMap::new(),
    }
}

impl Seen {
    /// What uses images, beside the revisions.
    pub(super) fn landscape(&self) -> &Landscape {
        &self.landscape
    }

    /// The revisions that name a repository, and maybe others.
    ///
    /// # Errors
    /// The aggregator did not answer, or with something that cannot be read.
    pub(super) async fn revisions(
        &self,
        aggregator: &Aggregator<'_>,
        settings: &Settings,
        repository: &Repository,
    ) -> Result<Vec<Revision>, Because> {
        if let Some(known) = &self.by_repository {
            return Ok(known.get(repository).cloned().unwrap_or_default());
        }
        let hub: &AccountId = &settings.hub.account;
        let expressions = queries::naming([repository])
            .map_err(|error| Because::new(Gap::Usage, format!("{repository}: {error}")))?;
        let mut found = Vec::new();
        for expression in expressions {
            found.extend(aggregator.select(Gap::Usage, &expression, |row| row.revision(hub)).await?);
        }
        Ok(found)
    }
}
