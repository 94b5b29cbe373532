//! Carrying out deletions in one repository (promise S6).
//!
//! # Guarantees
//! - Right before, the repository's opt-in is looked up again; if it changed, nothing is deleted.
//! - Where tags cannot move, an image is deleted by the tags that were looked at: a new tag keeps it.
//! - Where they can, and for untagged images, all tags are looked up again; an image whose tags changed stays, and each tag
//!   is sent together with the digest, so that one that moves even then is refused.
//! - Only untagged images are deleted by digest alone.
//! - Of an image that was deleted by its tags, `Gone` is told only after a look that no longer found it.
//! - Children of an index, and attachments, go only after the image itself is gone, and only with the tags they had.
//! - `failures[]` are read one by one. What ECR does not answer for counts as failed.
//!
//! # Caveats
//! Between the second look and the deletion a tag can still be added. Where tags cannot move that keeps the image, unless
//! it had none at all; elsewhere the image may go with its new tag.
//! A crash after the image and before its children leaves those without tag and index: whoever calls has them checked later.

use std::collections::BTreeMap;

use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::{ImageFailure, ImageFailureCode, ImageIdentifier, TargetStorageClass};
use aws_types::request_id::RequestId as _;

use super::evidence::{Because, ImageFacts, Mutability, Participation};
use super::failed_call::failure_text;
use super::policy::participation;
use super::registry;
use super::verdict::Deletion;
use crate::image::{Digest, Tag};
use crate::opt_in::OptInTag;
use crate::repository::Repository;

/// `BatchDeleteImage` takes at most this many ids.
const BATCH: usize = 100;

/// What became of an image that was to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Gone {
        /// The children and attachments that went with it.
        with: Vec<Digest>,
        /// The bytes of all of them, as ECR counts them.
        bytes: u64,
    },
    /// It is in the archive storage class.
    Archived {
        /// Its bytes, as ECR counts them.
        bytes: u64,
    },
    /// ECR, or the second look, had a reason to keep it.
    Kept {
        /// The reason code.
        code: &'static str,
        /// The reason for people.
        text: String,
    },
    /// Something changed between look and deletion; it has to be looked at again.
    Changed(String),
    /// ECR could not delete it, or not say whether it did.
    Failed(String),
}

/// Deletes `images`, all of one repository which took part in `participated`.
pub async fn delete(
    ecr: &Client,
    repository: &Repository,
    opt_in: &OptInTag,
    participated: &Participation,
    images: Vec<Deletion>,
) -> BTreeMap<Digest, Deleted> {
    let all = |outcome: Deleted| images.iter().map(|image| (image.image().digest.clone(), outcome.clone())).collect();
    if let Err(why) = takes_part_still(ecr, repository, opt_in, participated).await {
        return all(Deleted::Changed(why));
    }
    let mut outcomes = BTreeMap::new();
    let mut agreed = images;
    let second_look = |image: &Deletion| {
        image.mutability() == Mutability::Movable
            || image.image().tags.is_empty()
            || !image.children().is_empty()
            || !image.attachments().is_empty()
    };
    let mut seen = registry::Images::new();
    if agreed.iter().any(second_look) {
        match registry::images(ecr, repository).await {
            Ok(now) => {
                seen = now;
                agreed.retain(|image| {
                    let digest = &image.image().digest;
                    let outcome = changed(image, &seen);
                    let agreed = outcome.is_none();
                    outcomes.extend(outcome.map(|outcome| (digest.clone(), outcome)));
                    agreed
                });
            }
            Err(Because { text, .. }) => {
                outcomes.extend(
                    agreed.drain(..).map(|image| (image.image().digest.clone(), Deleted::Changed(text.clone()))),
                );
            }
        }
    }
    let ids =
        agreed.iter().map(|image| (image.image().digest.clone(), ids_of(image.image(), image.mutability()))).collect();
    let mut first = send(ecr, repository, ids).await;
    confirm(ecr, repository, &agreed, &mut first).await;
    // What hung on the images that are gone now. Where it fails, it is checked later.
    let rest: BTreeMap<&Digest, Vec<&ImageFacts>> = agreed
        .iter()
        .filter(|image| matches!(first.get(&image.image().digest), Some(Sent::Gone)))
        .map(|image| (&image.image().digest, unchanged(image, &seen)))
        .collect();
    let ids = rest.values().flatten().map(|image| (image.digest.clone(), ids_of(image, Mutability::Movable))).collect();
    let second = send(ecr, repository, ids).await;
    for image in &agreed {
        let digest = &image.image().digest;
        let outcome = match first.remove(digest) {
            Some(Sent::Gone) => {
                let went = rest.get(digest).into_iter().flatten();
                let went: Vec<&&ImageFacts> =
                    went.filter(|image| matches!(second.get(&image.digest), Some(Sent::Gone))).collect();
                Deleted::Gone {
                    bytes: went.iter().map(|image| image.size_in_bytes).sum::<u64>() + image.image().size_in_bytes,
                    with: went.into_iter().map(|image| image.digest.clone()).collect(),
                }
            }
            Some(Sent::Kept { code, text }) => Deleted::Kept { code, text },
            Some(Sent::Failed(text)) => Deleted::Failed(text),
            None => Deleted::Failed("it was not sent".into()),
        };
        outcomes.insert(digest.clone(), outcome);
    }
    outcomes
}

/// Whether the repository's opt-in tag says what it said when its images were judged; if not, why nothing may be done.
async fn takes_part_still(
    ecr: &Client,
    repository: &Repository,
    opt_in: &OptInTag,
    participated: &Participation,
) -> Result<(), String> {
    let tags = registry::resource_tags(ecr, repository).await.map_err(|because| because.text)?;
    if participation(opt_in, &tags) == *participated {
        Ok(())
    } else {
        Err("the repository's opt-in tag changed".into())
    }
}

/// What happened to an image since it was judged, if anything did.
fn changed(image: &Deletion, seen: &registry::Images) -> Option<Deleted> {
    let image = image.image();
    let why = match seen.get(&image.digest) {
        None => return Some(Deleted::Gone { with: Vec::new(), bytes: image.size_in_bytes }),
        Some(now) if now.tags != image.tags => "its tags changed",
        Some(now) if now.pulled_at != image.pulled_at => "it was pulled",
        Some(now) if now.pushed_at != image.pushed_at => "it was pushed again",
        Some(now) if now.status != image.status => "its storage class changed",
        Some(_) => return None,
    };
    Some(Deleted::Changed(why.into()))
}

/// Archives `images`, all of one repository which took part in `participated`: each alone, as what hangs on it is needed
/// again once it is restored. Opt-in and images are looked up again right before.
pub async fn archive(
    ecr: &Client,
    repository: &Repository,
    opt_in: &OptInTag,
    participated: &Participation,
    images: Vec<Deletion>,
) -> BTreeMap<Digest, Deleted> {
    let all = |outcome: Deleted| images.iter().map(|image| (image.image().digest.clone(), outcome.clone())).collect();
    if let Err(why) = takes_part_still(ecr, repository, opt_in, participated).await {
        return all(Deleted::Changed(why));
    }
    let seen = match registry::images(ecr, repository).await {
        Ok(seen) => seen,
        Err(Because { text, .. }) => return all(Deleted::Changed(text)),
    };
    let mut outcomes = BTreeMap::new();
    for image in &images {
        let outcome = match changed(image, &seen) {
            Some(outcome) => outcome,
            None => archive_one(ecr, repository, image.image()).await,
        };
        outcomes.insert(image.image().digest.clone(), outcome);
    }
    outcomes
}

async fn archive_one(ecr: &Client, repository: &Repository, image: &ImageFacts) -> Deleted {
    let call = ecr
        .update_image_storage_class()
        .registry_id(repository.registry.account.as_str())
        .repository_name(repository.name.as_str())
        .image_id(ImageIdentifier::builder().image_digest(image.digest.as_str()).build())
        .target_storage_class(TargetStorageClass::Archive)
        .send();
    match call.await {
        Ok(_) => Deleted::Archived { bytes: image.size_in_bytes },
        Err(error) => {
            let text = failure_text("ecr:UpdateImageStorageClass", &repository.to_string(), &error);
            match error.as_service_error() {
                Some(error) if error.is_image_not_found_exception() || error.is_repository_not_found_exception() => {
                    Deleted::Changed(text)
                }
                Some(error) if error.is_image_storage_class_update_not_supported_exception() => {
                    Deleted::Kept { code: "not-archivable", text }
                }
                _ => Deleted::Failed(text),
            }
        }
    }
}

/// Looks for the images whose tags are gone: one that got another tag since the look is still there, and was not deleted.
async fn confirm(ecr: &Client, repository: &Repository, images: &[Deletion], sent: &mut BTreeMap<Digest, Sent>) {
    let by_tags: Vec<&Digest> = images
        .iter()
        .map(Deletion::image)
        .filter(|image| !image.tags.is_empty() && sent.get(&image.digest) == Some(&Sent::Gone))
        .map(|image| &image.digest)
        .collect();
    if by_tags.is_empty() {
        return;
    }
    let now = registry::images(ecr, repository).await;
    for digest in by_tags {
        let corrected = match &now {
            Ok(now) => now.get(digest).map(still_there),
            Err(because) => Some(Sent::Failed(format!("whether it is gone is not known: {}", because.text))),
        };
        sent.extend(corrected.map(|corrected| (digest.clone(), corrected)));
    }
}

/// Why an image is still there although the tags that it had are gone.
fn still_there(image: &ImageFacts) -> Sent {
    match image.tags.first() {
        Some(tag) => Sent::Kept { code: "new-tag", text: format!("it got the tag {tag} while it was looked at") },
        None => Sent::Kept { code: "still-there", text: "its tags are gone, but ECR keeps the image".into() },
    }
}

/// The children and attachments of an image that have the same tags as when they were looked at.
fn unchanged<'a>(image: &'a Deletion, seen: &registry::Images) -> Vec<&'a ImageFacts> {
    let same = |part: &&ImageFacts| seen.get(&part.digest).is_some_and(|now| now.tags == part.tags);
    image.children().iter().chain(image.attachments()).filter(same).collect()
}

/// An id as it is sent: a tag, a digest, or both.
type Id = (Option<Tag>, Option<Digest>);

/// By what an image is deleted.
fn ids_of(image: &ImageFacts, mutability: Mutability) -> Vec<Id> {
    if image.tags.is_empty() {
        return vec![(None, Some(image.digest.clone()))];
    }
    let digest = (mutability == Mutability::Movable).then(|| image.digest.clone());
    image.tags.iter().map(|tag| (Some(tag.clone()), digest.clone())).collect()
}

/// What ECR answered, for an id or for all ids of an image together; a later one is worse.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Sent {
    Gone,
    Kept { code: &'static str, text: String },
    Failed(String),
}

/// Sends the ids of some images, and tells of each image the worst that was answered for one of its ids.
async fn send(ecr: &Client, repository: &Repository, images: BTreeMap<Digest, Vec<Id>>) -> BTreeMap<Digest, Sent> {
    let mut outcomes: BTreeMap<Digest, Sent> = BTreeMap::new();
    let ids: Vec<(Digest, Id)> =
        images.into_iter().flat_map(|(digest, ids)| ids.into_iter().map(move |id| (digest.clone(), id))).collect();
    for batch in ids.chunks(BATCH) {
        let identifiers = batch.iter().map(|(_, (tag, digest))| {
            ImageIdentifier::builder()
                .set_image_tag(tag.as_ref().map(Tag::to_string))
                .set_image_digest(digest.as_ref().map(Digest::to_string))
                .build()
        });
        let call = ecr
            .batch_delete_image()
            .registry_id(repository.registry.account.as_str())
            .repository_name(repository.name.as_str())
            .set_image_ids(Some(identifiers.collect()))
            .send();
        let answer = match call.await {
            Ok(answer) => Ok(answer),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_repository_not_found_exception()) => {
                Err(Sent::Gone)
            }
            Err(error) => Err(Sent::Failed(failure_text("ecr:BatchDeleteImage", &repository.to_string(), &error))),
        };
        for (digest, id) in batch {
            let sent = match &answer {
                Ok(answer) => match read(digest, id, answer.image_ids(), answer.failures()) {
                    Sent::Failed(text) => {
                        let request = answer.request_id().unwrap_or("none");
                        Sent::Failed(format!("{text} (request id {request})"))
                    }
                    sent => sent,
                },
                Err(sent) => sent.clone(),
            };
            let worst = outcomes.entry(digest.clone()).or_insert(Sent::Gone);
            *worst = sent.max(worst.clone());
        }
    }
    outcomes
}

/// What the answer of `BatchDeleteImage` says about one id of the image `image`.
fn read(image: &Digest, (tag, digest): &Id, done: &[ImageIdentifier], failures: &[ImageFailure]) -> Sent {
    let tag = tag.as_ref().map(Tag::as_str);
    let is_meant = |id: &ImageIdentifier| match tag {
        Some(tag) => id.image_tag() == Some(tag),
        None => id.image_digest() == digest.as_ref().map(Digest::as_str),
    };
    for failure in failures {
        if !failure.image_id().is_some_and(is_meant) {
            continue;
        }
        let reason = failure.failure_reason().unwrap_or("no reason given");
        return match failure.failure_code() {
            Some(ImageFailureCode::ImageNotFound) => Sent::Gone,
            Some(ImageFailureCode::ImageReferencedByManifestList) => {
                Sent::Kept { code: "listed-by-index", text: format!("ECR refused: {reason}") }
            }
            Some(ImageFailureCode::ImageTagDoesNotMatchDigest) => {
                Sent::Kept { code: "tag-moved", text: format!("a tag moved meanwhile: {reason}") }
            }
            code => {
                let code = code.map_or("without a code", |code| code.as_str());
                Sent::Failed(format!("ECR refused ({code}): {reason}"))
            }
        };
    }
    match done.iter().find(|id| is_meant(id)) {
        Some(id) if id.image_digest().is_none_or(|digest| digest == image.as_str()) => Sent::Gone,
        // A tag that was deleted and pushed again since the look.
        Some(id) => Sent::Failed(format!(
            "the tag {} had moved to {} and was removed there",
            tag.unwrap_or_default(),
            id.image_digest().unwrap_or_default()
        )),
        None => Sent::Failed("ECR did not say what became of it".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn digest(n: u64) -> Digest {
        format!("sha256:{n:064x}").parse().unwrap()
    }

    fn image(tags: &[&str]) -> ImageFacts {
        ImageFacts {
            digest: digest(1),
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect::<BTreeSet<_>>(),
            pushed_at: jiff::Timestamp::UNIX_EPOCH,
            pulled_at: None,
            size_in_bytes: 1,
            kind: crate::check_images::evidence::ImageKind::Single,
            status: crate::check_images::evidence::StorageStatus::Active,
            subject: None,
        }
    }

    #[test]
    fn only_an_untagged_image_is_deleted_by_digest_alone() {
        let tag = |tag: &str| Some(tag.parse().unwrap());
        for (tags, mutability, ids) in [
            (&["a", "b"][..], Mutability::Fixed, vec![(tag("a"), None), (tag("b"), None)]),
            (&["a"], Mutability::Movable, vec![(tag("a"), Some(digest(1)))]),
            (&[], Mutability::Fixed, vec![(None, Some(digest(1)))]),
            (&[], Mutability::Movable, vec![(None, Some(digest(1)))]),
        ] {
            assert_eq!(ids_of(&image(tags), mutability), ids);
        }
    }

    #[test]
    fn an_image_that_is_still_there_was_kept_and_not_deleted() {
        let code = |tags| match still_there(&image(tags)) {
            Sent::Kept { code, .. } => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(&["new"]), "new-tag");
        assert_eq!(code(&[]), "still-there");
    }

    #[test]
    fn failures_are_read_one_by_one() {
        let id = ImageIdentifier::builder().image_tag("v1").image_digest(digest(1).to_string()).build();
        let failure = |code| {
            vec![ImageFailure::builder().image_id(id.clone()).failure_code(code).failure_reason("because").build()]
        };
        let sent: Id = (Some("v1".parse().unwrap()), Some(digest(1)));
        let outcome = |failures: &[ImageFailure]| match read(&digest(1), &sent, &[], failures) {
            Sent::Gone => "gone",
            Sent::Kept { code, .. } => code,
            Sent::Failed(_) => "failed",
        };
        for (code, expected) in [
            (ImageFailureCode::ImageNotFound, "gone"),
            (ImageFailureCode::ImageReferencedByManifestList, "listed-by-index"),
            (ImageFailureCode::ImageTagDoesNotMatchDigest, "tag-moved"),
            (ImageFailureCode::KmsError, "failed"),
            (ImageFailureCode::InvalidImageTag, "failed"),
            (ImageFailureCode::from("SomethingNew"), "failed"),
        ] {
            assert_eq!(outcome(&failure(code.clone())), expected, "{code:?}");
        }
        assert_eq!(outcome(&[]), "failed", "silence is no success");
        assert_eq!(read(&digest(1), &sent, std::slice::from_ref(&id), &[]), Sent::Gone);
        assert!(matches!(read(&digest(2), &sent, &[id], &[]), Sent::Failed(_)), "another image lost the tag");
    }
}
