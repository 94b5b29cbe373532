//! Pulling, as a container runtime does it.

use super::image::{ImageStatus, excluded};
use super::reference::ImageReference;
use super::{Home, access};
use crate::World;
use crate::identity::{AccountId, Principal, Region};
use crate::operation::ServiceError;

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pulled {
    /// The registry's account.
    pub account: AccountId,
    /// The registry's region.
    pub region: Region,
    /// The repository.
    pub repository: String,
    /// The digest that the reference resolved to.
    pub digest: String,
    /// The digest of the image that really runs: of an index, that of its first child, which stands for the
    /// platform's; else the same.
    pub platform_digest: String,
}

/// Why an image could not be pulled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PullError {
    /// There is no such repository, tag or digest, or a child of the index is gone.
    #[error("{reference} not found: {what} does not exist")]
    NotFound {
        /// The reference.
        reference: String,
        /// What is missing.
        what: String,
    },
    /// It is in the archive.
    #[error("{reference} not found: the image is archived")]
    Archived {
        /// The reference.
        reference: String,
    },
    /// The puller may not.
    #[error("cannot pull {reference}: {source}")]
    Denied {
        /// The reference.
        reference: String,
        /// IAM's answer.
        #[source]
        source: ServiceError,
    },
}

/// Pulls `reference` as `principal`: authorized by its policies and the repository's, and recorded as a pull unless the
/// registry excludes the principal. `None` if the host is not a private ECR registry; such images always exist.
///
/// # Errors
/// What would keep a container from starting.
pub fn pull(world: &mut World, principal: &Principal, reference: &str) -> Result<Option<Pulled>, PullError> {
    let Some(parsed) = ImageReference::parse(reference) else { return Ok(None) };
    let home = Home { account: parsed.account.clone(), region: parsed.region.clone() };
    for action in ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"] {
        let access = access(world, action, &home, &parsed.repository);
        crate::iam::authorize(world, principal, &access)
            .map_err(|source| PullError::Denied { reference: reference.to_owned(), source })?;
    }
    let record = !excluded(world, &home, principal);
    let now = world.now();
    let not_found = |what: String| PullError::NotFound { reference: reference.to_owned(), what };
    let repository =
        world.ecr.repository_mut(&home, &parsed.repository).map_err(|_| not_found("the repository".to_owned()))?;
    let digest = match (&parsed.digest, &parsed.tag) {
        (Some(digest), _) => digest.clone(),
        (None, Some(tag)) => {
            repository.image_tags.get(tag).cloned().ok_or_else(|| not_found(format!("the tag {tag}")))?
        }
        (None, None) => return Err(not_found("a tag".to_owned())),
    };
    let mut platform_digest = digest.clone();
    loop {
        let image = repository
            .images
            .get_mut(&platform_digest)
            .ok_or_else(|| not_found(format!("the image {platform_digest}")))?;
        if image.status != ImageStatus::Active {
            return Err(PullError::Archived { reference: reference.to_owned() });
        }
        if record {
            image.note_pull(now);
        }
        match image.children.first() {
            Some(child) => platform_digest.clone_from(child),
            None => break,
        }
    }
    Ok(Some(Pulled {
        account: parsed.account,
        region: parsed.region,
        repository: parsed.repository,
        digest,
        platform_digest,
    }))
}
