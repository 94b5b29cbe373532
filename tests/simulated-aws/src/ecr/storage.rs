//! `UpdateImageStorageClass`: into the archive at once, out of it after a while.

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::image::{ImageId, ImageStatus, find};
use super::{Home, INVALID, Removal, Removed};
use crate::World;
use crate::input::read;
use crate::operation::{Call, ServiceError};

/// A restore takes up to about 20 minutes (ECR user guide, "Restoring an image").
const RESTORE: SignedDuration = SignedDuration::from_mins(20);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateImageStorageClass {
    registry_id: Option<String>,
    repository_name: String,
    image_id: ImageId,
    target_storage_class: StorageClass,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum StorageClass {
    Standard,
    Archive,
}

pub(super) fn update(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: UpdateImageStorageClass = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    let now = world.now();
    let children_archive_alone = world.behaviours.ecr_index_child_can_be_archived;
    let repository = world.ecr.repository_mut(&home, &input.repository_name)?;
    let digest = find(repository, &home, &input.image_id)?;
    let held = repository.parents_of(&digest).next().is_some();
    let image = repository.images.get_mut(&digest).expect("found");
    let refused = |why: &str| ServiceError::new("ImageStorageClassUpdateNotSupportedException", why);
    match (input.target_storage_class, image.status) {
        (StorageClass::Archive, ImageStatus::Active) => {
            if held && !children_archive_alone {
                return Err(refused("The image is referenced by a manifest list."));
            }
            image.status = ImageStatus::Archived;
            image.archived_at = Some(now);
            world.ecr.removals.push(Removal {
                at: now,
                principal: call.principal.clone(),
                account: home.account.clone(),
                region: home.region.clone(),
                repository: input.repository_name.clone(),
                digest: digest.clone(),
                removed: Removed::Archived,
            });
        }
        (StorageClass::Standard, ImageStatus::Archived) => {
            image.status = ImageStatus::Activating;
            let (home, name, digest) = (home.clone(), input.repository_name.clone(), digest.clone());
            world.after(RESTORE, move |world| {
                let now = world.now();
                // Deleted or pushed again meanwhile: nothing is left to do.
                let Ok(repository) = world.ecr.repository_mut(&home, &name) else { return };
                if let Some(image) = repository.images.get_mut(&digest)
                    && image.status == ImageStatus::Activating
                {
                    image.status = ImageStatus::Active;
                    image.activated_at = Some(now);
                }
            });
        }
        (StorageClass::Archive, status) | (StorageClass::Standard, status) => {
            return Err(refused(&format!("The image's status is {}.", json!(status).as_str().unwrap_or_default())));
        }
    }
    let status = world.ecr.repository(&home, &input.repository_name)?.images[&digest].status;
    let id = ImageId { image_digest: Some(digest), image_tag: input.image_id.image_tag };
    Ok(json!({
        "registryId": home.account.as_str(), "repositoryName": input.repository_name,
        "imageId": id.to_json(), "imageStatus": status,
    }))
}
