//! What names the images of the repositories at hand, over everything that is aggregated.

use std::collections::{BTreeMap, BTreeSet};

use crate::check_images::aggregator::Aggregator;
use crate::check_images::deployments;
use crate::check_images::evidence::{Because, Found, Gap};
use crate::check_images::queries;
use crate::check_images::rows::Rows;
use crate::check_images::usage::{Landscape, OtherUser, Revision, Runner};
use crate::repository::Repository;
use crate::settings::Settings;

/// Everything is asked for at once if it takes at most so many pages, however few repositories there are.
pub(super) const FEW_PAGES: usize = 12;

/// Everything is asked for at once only if it takes at most so many pages: a hundred revisions are some 60 KB.
const MANY_PAGES: usize = 2000;

/// An expression holds what names so many repositories, mostly.
const REPOSITORIES_PER_EXPRESSION: usize = 3;

/// What was seen.
pub(super) struct Seen {
    landscape: Landscape,
    /// The revisions that name each repository; `None` if they are asked for by repository.
    by_repository: Option<BTreeMap<Repository, Vec<Revision>>>,
}

/// How many pages everything may take that names images, rather than asking for so many repositories.
pub(super) fn pages_for(repositories: usize) -> usize {
    repositories.div_ceil(REPOSITORIES_PER_EXPRESSION).clamp(FEW_PAGES, MANY_PAGES)
}

/// Asks for everything that uses images, unless `go_on` stops it after a number of pages; at least for what all repositories
/// have in common.
///
/// # Errors
/// The aggregator did not answer, or with something that cannot be read.
pub(super) async fn gather(
    aggregator: &Aggregator<'_>,
    settings: &Settings,
    repositories: &BTreeSet<Repository>,
    go_on: impl Fn(usize) -> bool,
) -> Result<Seen, Because> {
    let hub = &settings.hub.account;
    let all = aggregator.select_while(Gap::Usage, &queries::everything(hub), go_on, |row| row.seen(hub)).await;
    if let Ok(Some(rows)) = all {
        let Rows { runners, other_users, revisions, .. } = rows.into_iter().collect();
        let mut by_repository: BTreeMap<Repository, Vec<Revision>> = BTreeMap::new();
        for revision in revisions {
            let named: BTreeSet<&Repository> = revision.images.iter().map(|image| image.repository()).collect();
            for repository in named.into_iter().filter(|repository| repositories.contains(repository)) {
                by_repository.entry(repository.clone()).or_default().push(revision.clone());
            }
        }
        return Ok(Seen { landscape: landscape(runners, other_users), by_repository: Some(by_repository) });
    }
    // One unreadable revision must not hold up the repositories that it does not name.
    if let Err(because) = all {
        tracing::warn!(ecr_cleanup = %settings.names, outcome = "repositories are asked for by name", reason = because.text);
    }
    // A user that cannot be read is a gap of the checks; here it only means that one is made in vain.
    let rows = aggregator.select(Gap::Usage, &queries::users(hub), |row| row.seen_or_unreadable(hub)).await?;
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

    /// The revisions that name each of these repositories, which are asked for once: what is known is given away. An error if
    /// the aggregator did not answer for one of them, or with something that cannot be read.
    pub(super) async fn naming<'a>(
        &mut self,
        aggregator: &Aggregator<'_>,
        settings: &Settings,
        repositories: BTreeSet<&'a Repository>,
    ) -> BTreeMap<&'a Repository, Result<Vec<Revision>, Because>> {
        match &mut self.by_repository {
            Some(known) => {
                let known = |repository| (repository, Ok(known.remove(repository).unwrap_or_default()));
                repositories.into_iter().map(known).collect()
            }
            None => deployments::naming(aggregator, &settings.hub.account, &repositories).await,
        }
    }
}
