//! Which repositories there are.

use std::collections::BTreeSet;

use aws_sdk_ecr::Client;

use crate::check_images::evidence::{Because, Gap};
use crate::check_images::failed_call::failed_call;
use crate::repository::{Registry, RepositoryName};

/// The names of all repositories of a registry.
///
/// # Errors
/// A page that cannot be had, or a name that cannot be read.
pub(super) async fn repositories(ecr: &Client, registry: &Registry) -> Result<BTreeSet<RepositoryName>, Because> {
    let mut names = BTreeSet::new();
    let mut token = None;
    loop {
        let page = ecr
            .describe_repositories()
            .registry_id(registry.account.as_str())
            .max_results(1000)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| failed_call(Gap::Repository, "ecr:DescribeRepositories", &registry.to_string(), &error))?;
        for repository in page.repositories() {
            let name = repository.repository_name().and_then(|name| name.parse().ok());
            names.insert(name.ok_or_else(|| {
                Because::new(Gap::Repository, format!("{registry}: a repository's name cannot be read"))
            })?);
        }
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(names);
        }
    }
}
