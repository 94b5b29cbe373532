//! `BatchDeleteImage`.
//!
//! By tag, the tag goes, and the image with it if that was its last. By digest, the image goes with all its tags. What
//! tag and digest together do, and some corners, are undocumented and therefore behaviours. A batch is not atomic:
//! what cannot be done is told in `failures`, the rest is done.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::image::{Failure, ImageId};
use super::repository::Repository;
use super::{Home, INVALID, Removal, Removed, bounded};
use crate::input::read;
use crate::operation::{Call, ServiceError};
use crate::{Behaviours, World};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BatchDeleteImage {
    registry_id: Option<String>,
    repository_name: String,
    image_ids: Vec<ImageId>,
}

pub(super) fn batch_delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: BatchDeleteImage = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    bounded(&input.image_ids, "imageIds")?;
    let now = world.now();
    let behaviours = world.behaviours.clone();
    let chance = world.ecr.deletion_failures;
    let fails: Vec<bool> = input.image_ids.iter().map(|_| chance > 0.0 && world.rng.f64() < chance).collect();
    let repository = world.ecr.repository_mut(&home, &input.repository_name)?;
    let at_start = held_by_indexes(repository);
    let (mut deleted, mut failures, mut removals) = (Vec::new(), Vec::new(), Vec::new());
    for (id, fails) in input.image_ids.iter().zip(fails) {
        if fails {
            let reason = "An error occurred with the repository's KMS key.".to_owned();
            failures.push(id.failure(&Failure { code: "KmsError", reason }));
            continue;
        }
        let held = if behaviours.ecr_batch_delete_sees_its_own_deletions {
            held_by_indexes(repository)
        } else {
            at_start.clone()
        };
        match delete(repository, id, &held, &behaviours) {
            Ok((digest, removed)) => {
                deleted.extend(match &removed {
                    Removed::Image(tags) if !tags.is_empty() => {
                        tags.iter().map(|tag| json!({"imageDigest": digest, "imageTag": tag})).collect::<Vec<_>>()
                    }
                    Removed::Tag(tag) => vec![json!({"imageDigest": digest, "imageTag": tag})],
                    Removed::Image(_) | Removed::Archived => vec![json!({"imageDigest": digest})],
                });
                removals.push(Removal {
                    at: now,
                    principal: call.principal.clone(),
                    account: home.account.clone(),
                    region: home.region.clone(),
                    repository: input.repository_name.clone(),
                    digest,
                    removed,
                });
            }
            Err(failure) => failures.push(id.failure(&failure)),
        }
    }
    world.ecr.removals.extend(removals);
    Ok(json!({"imageIds": deleted, "failures": failures}))
}

/// The images that an index holds.
fn held_by_indexes(repository: &Repository) -> BTreeSet<String> {
    repository.images.values().flat_map(|image| image.children.iter().cloned()).collect()
}

fn delete(
    repository: &mut Repository,
    id: &ImageId,
    held: &BTreeSet<String>,
    behaviours: &Behaviours,
) -> Result<(String, Removed), Failure> {
    let digest = id.resolve(repository)?;
    let tags: Vec<String> = repository.tags_of(&digest).map(str::to_owned).collect();
    let only_tag = match (&id.image_tag, &id.image_digest) {
        (Some(tag), None) => Some(tag),
        (Some(tag), Some(_)) if !behaviours.ecr_delete_by_tag_and_digest_removes_image => Some(tag),
        _ => None,
    };
    if let Some(tag) = only_tag {
        let stays = tags.len() > 1 || (held.contains(&digest) && behaviours.ecr_last_tag_of_index_child_can_go);
        if stays {
            repository.image_tags.remove(tag);
            return Ok((digest, Removed::Tag(tag.clone())));
        }
    }
    if held.contains(&digest) {
        let parents: Vec<&str> = repository.parents_of(&digest).collect();
        let reason = format!("Requested image referenced by manifest list: [{}]", parents.join(", "));
        return Err(Failure { code: "ImageReferencedByManifestList", reason });
    }
    repository.image_tags.retain(|_, target| *target != digest);
    repository.images.remove(&digest);
    Ok((digest, Removed::Image(tags)))
}
