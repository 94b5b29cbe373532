//! Carrying out deletions in one repository (promise S6).
//!
//! # Guarantees
//! - Right before, the repository's opt-in is looked up again; if it changed, nothing is deleted.
//! - All images are looked at again. One stays if it, or what would go with it, got or lost a tag, was pushed or pulled, or
//!   is listed by an index that was pushed meanwhile.
//! - Where tags cannot move, an image is deleted by the tags that were looked at: a new tag keeps it.
//! - Where they can, each tag is sent together with the digest, so that one that moves even then is refused.
//! - Only untagged images are deleted by digest alone.
//! - Of an image that was deleted by tags that can move, or that had children or attachments, `Gone` is told only after a
//!   look that no longer found it.
//! - Children of an index, and attachments, go only after the image itself is gone.
//! - `failures[]` are read one by one. What ECR does not answer for counts as failed.
//!
//! # Caveats
//! Between the second look and the deletion a tag can still be added. Where tags cannot move that keeps the image, unless
//! it had none at all; elsewhere the image may go with its new tag. Where tags cannot move, one that is deleted and pushed
//! again in that moment takes the new image with it.
//! A crash after the image and before its children leaves those without tag and index: whoever calls has them checked later.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::{ImageFailure, ImageFailureCode, ImageIdentifier, TargetStorageClass};
use aws_types::request_id::RequestId as _;

use super::evidence::{ImageFacts, ImageKind, Mutability, Participation};
use super::failed_call::failure_text;
use super::policy::participation;
use super::registry;
use super::verdict::Deletion;
use crate::image::{Digest, Tag};
use crate::opt_in::OptInTag;
use crate::repository::Repository;
use crate::settings::Action;

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
    /// Somebody else deleted it since it was judged.
    GoneAlready,
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

/// What the repository was like when its images were judged.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The resource tag that opts repositories in.
    pub opt_in: &'a OptInTag,
    /// What it said.
    pub participation: &'a Participation,
    /// The indexes whose children were looked at.
    pub indexes: &'a BTreeSet<Digest>,
}

/// Deletes or archives those of `images`, all of one repository, that are as they were at `look`.
pub async fn carry_out(
    ecr: &Client,
    repository: &Repository,
    look: &Look<'_>,
    action: Action,
    images: Vec<Deletion>,
) -> BTreeMap<Digest, Deleted> {
    if images.is_empty() {
        return BTreeMap::new();
    }
    // Even where tags cannot move, one may have been deleted and pushed again since the look.
    let seen = match Seen::again(ecr, repository, look).await {
        Ok(seen) => seen,
        Err(why) => {
            let digests = images.iter().map(|image| image.image().digest.clone());
            return digests.map(|digest| (digest, Deleted::Changed(why.clone()))).collect();
        }
    };
    let mut outcomes = BTreeMap::new();
    let mut agreed = images;
    agreed.retain(|image| {
        let outcome = seen.changed(image);
        let agreed = outcome.is_none();
        outcomes.extend(outcome.map(|outcome| (image.image().digest.clone(), outcome)));
        agreed
    });
    outcomes.extend(match action {
        Action::Delete => delete(ecr, repository, &agreed).await,
        Action::Archive => archive(ecr, repository, &agreed).await,
    });
    outcomes
}

/// Deletes images, and then what hung on those that are gone.
async fn delete(ecr: &Client, repository: &Repository, agreed: &[Deletion]) -> BTreeMap<Digest, Deleted> {
    let mut outcomes = BTreeMap::new();
    let ids =
        agreed.iter().map(|image| (image.image().digest.clone(), ids_of(image.image(), image.mutability()))).collect();
    let mut first = send(ecr, repository, ids).await;
    confirm(ecr, repository, agreed, &mut first).await;
    // What hung on the images that are gone now. Where it fails, it is checked later.
    let rest: BTreeMap<&Digest, Vec<&ImageFacts>> = agreed
        .iter()
        .filter(|image| matches!(first.get(&image.image().digest), Some(Sent::Gone)))
        .map(|image| (&image.image().digest, image.children().iter().chain(image.attachments()).collect()))
        .collect();
    let ids = rest.values().flatten().map(|image| (image.digest.clone(), ids_of(image, Mutability::Movable))).collect();
    let second = send(ecr, repository, ids).await;
    for image in agreed {
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

/// The repository as it is right before the deletion.
struct Seen {
    images: registry::Images,
    /// What indexes list that were pushed since the look.
    newly_listed: BTreeSet<Digest>,
}

impl Seen {
    /// Looks again. Otherwise why nothing may be done: the repository does not take part as it did, or cannot be read.
    async fn again(ecr: &Client, repository: &Repository, look: &Look<'_>) -> Result<Self, String> {
        let tags = registry::resource_tags(ecr, repository).await.map_err(|because| because.text)?;
        if participation(look.opt_in, &tags) != *look.participation {
            return Err("the repository's opt-in tag changed".into());
        }
        let images = registry::images(ecr, repository).await.map_err(|because| because.text)?;
        let pushed =
            images.values().filter(|image| image.kind == ImageKind::Index && !look.indexes.contains(&image.digest));
        let pushed = pushed.map(|image| (image.digest.clone(), image.clone())).collect();
        let children = registry::children(ecr, repository, &pushed).await.map_err(|because| because.text)?;
        Ok(Self { images, newly_listed: children.into_values().flatten().collect() })
    }

    /// What happened since it was judged to an image, or to what would go with it, if anything did.
    fn changed(&self, deletion: &Deletion) -> Option<Deleted> {
        let image = deletion.image();
        let Some(now) = self.images.get(&image.digest) else { return Some(Deleted::GoneAlready) };
        if let Some(why) = difference(image, now) {
            return Some(Deleted::Changed(why.into()));
        }
        let parts = || deletion.children().iter().chain(deletion.attachments());
        if iter::once(image).chain(parts()).any(|part| self.newly_listed.contains(&part.digest)) {
            return Some(Deleted::Changed("an index was pushed that lists it".into()));
        }
        parts().find_map(|part| {
            let why = self.images.get(&part.digest).map_or(Some("gone"), |now| difference(part, now))?;
            Some(Deleted::Changed(format!("{}, which would go with it: {why}", part.digest)))
        })
    }
}

/// What is different about an image.
fn difference(before: &ImageFacts, now: &ImageFacts) -> Option<&'static str> {
    if now.tags != before.tags {
        Some("its tags changed")
    } else if now.pulled_at != before.pulled_at {
        Some("it was pulled")
    } else if now.pushed_at != before.pushed_at {
        Some("it was pushed again")
    } else if now.status != before.status {
        Some("its storage class changed")
    } else {
        None
    }
}

/// Archives images, each alone: what hangs on it is needed again once it is restored.
async fn archive(ecr: &Client, repository: &Repository, agreed: &[Deletion]) -> BTreeMap<Digest, Deleted> {
    let mut outcomes = BTreeMap::new();
    for image in agreed.iter().map(Deletion::image) {
        outcomes.insert(image.digest.clone(), archive_one(ecr, repository, image).await);
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
/// Of a plain image whose tags cannot move this is not asked, which would be a call more for each repository: should it get
/// a tag in the moment between the last look and the deletion, it stays and is told as deleted.
async fn confirm(ecr: &Client, repository: &Repository, images: &[Deletion], sent: &mut BTreeMap<Digest, Sent>) {
    let is_plain = |image: &Deletion| image.children().is_empty() && image.attachments().is_empty();
    let by_tags: Vec<&Digest> = images
        .iter()
        .filter(|image| image.mutability() == Mutability::Movable || !is_plain(image))
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
