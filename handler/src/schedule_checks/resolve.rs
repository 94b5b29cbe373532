//! What ECR says of a repository that task definitions name: whether it is opted in, and which images the references
//! mean.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecr::types::{DescribeImagesFilter, ImageIdentifier, ImageStatusFilter};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;

use crate::causes::failure_text;
use crate::check_images::evidence::Participation;
use crate::check_images::policy::participation;
use crate::image::{Digest, Selector};
use crate::opt_in::OptInTag;
use crate::repository::Repository;

/// ECR describes at most this many given images in one call.
const IDS_PER_CALL: usize = 100;

/// Why ECR's answer about a repository is missing.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A call failed: which, and what it said.
    #[error("{0}")]
    Call(String),
}

/// What the repository's tags say about taking part; `None` if there is no such repository.
///
/// # Errors
/// `ListTagsForResource` failed.
pub async fn opt_in(
    ecr: &aws_sdk_ecr::Client,
    repository: &Repository,
    tag: &OptInTag,
) -> Result<Option<Participation>, ResolveError> {
    match ecr.list_tags_for_resource().resource_arn(repository.arn()).send().await {
        Ok(answer) => {
            let tags = answer.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect();
            Ok(Some(participation(tag, &tags)))
        }
        Err(error) if error.as_service_error().is_some_and(|e| e.is_repository_not_found_exception()) => Ok(None),
        Err(error) => Err(failed("ecr:ListTagsForResource", repository, &error)),
    }
}

/// The digests that `selectors` mean at the moment; one that means no image is not in the answer. An index is meant
/// itself, not its children.
///
/// # Errors
/// `DescribeImages` failed otherwise than because there is no such image or repository.
pub async fn digests(
    ecr: &aws_sdk_ecr::Client,
    repository: &Repository,
    selectors: impl IntoIterator<Item = &Selector>,
) -> Result<BTreeMap<Selector, Digest>, ResolveError> {
    let selectors: BTreeSet<&Selector> = selectors.into_iter().collect();
    let all: Vec<&Selector> = selectors.iter().copied().collect();
    let mut open: Vec<Vec<&Selector>> = all.chunks(IDS_PER_CALL).map(<[_]>::to_vec).collect();
    let mut found = BTreeMap::new();
    while let Some(mut asked) = open.pop() {
        let answer = ecr
            .describe_images()
            .registry_id(repository.registry.account.as_str())
            .repository_name(repository.name.as_str())
            .set_image_ids(Some(asked.iter().map(|selector| identifier(selector)).collect()))
            // Archived images are not shown unless asked for.
            .filter(DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build())
            .send()
            .await;
        match answer {
            Ok(answer) => {
                for image in answer.image_details() {
                    let Some(digest) = image.image_digest().and_then(|d| d.parse::<Digest>().ok()) else { continue };
                    let by_tag = image.image_tags().iter().filter_map(|tag| tag.parse().ok().map(Selector::Tag));
                    let by_digest = std::iter::once(Selector::Digest(digest.clone()));
                    let meant = by_tag.chain(by_digest).filter(|selector| selectors.contains(selector));
                    found.extend(meant.map(|selector| (selector, digest.clone())));
                }
            }
            Err(error) => match error.as_service_error() {
                // One missing image fails the whole call, and the answer names no other: halving finds those that are
                // there in few calls, as references to images that are gone are rare.
                Some(service) if service.is_image_not_found_exception() => {
                    if asked.len() > 1 {
                        open.push(asked.split_off(asked.len() / 2));
                        open.push(asked);
                    }
                }
                Some(service) if service.is_repository_not_found_exception() => return Ok(BTreeMap::new()),
                _ => return Err(failed("ecr:DescribeImages", repository, &error)),
            },
        }
    }
    Ok(found)
}

fn identifier(selector: &Selector) -> ImageIdentifier {
    let id = ImageIdentifier::builder();
    match selector {
        Selector::Digest(digest) => id.image_digest(digest.as_str()).build(),
        Selector::Tag(tag) => id.image_tag(tag.as_str()).build(),
    }
}

fn failed<E>(call: &str, repository: &Repository, error: &SdkError<E, HttpResponse>) -> ResolveError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    SdkError<E, HttpResponse>: RequestId,
{
    ResolveError::Call(failure_text(call, &repository.to_string(), error))
}
