//! Layers, as image pushers upload them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::manifest::digest_of;
use super::{Home, INVALID, bounded, invalid};
use crate::World;
use crate::input::read;
use crate::operation::{Call, ServiceError};

/// A layer (or a config), of which only the size matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) size: u64,
}

/// What was uploaded so far.
#[derive(Debug, Default)]
pub(super) struct Upload {
    repository: String,
    bytes: Vec<u8>,
}

/// What `InitiateLayerUpload` proposes: parts of 10 MiB.
const PART_SIZE: u64 = 10 * 1024 * 1024;

fn upload_not_found(id: &str) -> ServiceError {
    ServiceError::new("UploadNotFoundException", format!("The upload with id '{id}' does not exist"))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InitiateLayerUpload {
    registry_id: Option<String>,
    repository_name: String,
}

pub(super) fn initiate(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: InitiateLayerUpload = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    world.ecr.repository(&home, &input.repository_name)?;
    let id = world.fresh_uuid();
    let upload = Upload { repository: input.repository_name, bytes: Vec::new() };
    world.ecr.registry_mut(&home).uploads.insert(id.clone(), upload);
    Ok(json!({"uploadId": id, "partSize": PART_SIZE}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UploadLayerPart {
    registry_id: Option<String>,
    repository_name: String,
    upload_id: String,
    part_first_byte: u64,
    part_last_byte: u64,
    layer_part_blob: String,
}

pub(super) fn upload_part(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: UploadLayerPart = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    world.ecr.repository(&home, &input.repository_name)?;
    let upload = world.ecr.registry_mut(&home).uploads.get_mut(&input.upload_id);
    let upload = upload
        .filter(|upload| upload.repository == input.repository_name)
        .ok_or_else(|| upload_not_found(&input.upload_id))?;
    let part = STANDARD.decode(&input.layer_part_blob).map_err(|error| invalid(error.to_string()))?;
    let length = input.part_last_byte.checked_sub(input.part_first_byte).map(|length| length + 1);
    if upload.bytes.len() as u64 != input.part_first_byte || length != Some(part.len() as u64) {
        return Err(ServiceError::new(
            "InvalidLayerPartException",
            format!("The layer part is not the next one; received up to byte {}", upload.bytes.len()),
        ));
    }
    upload.bytes.extend(part);
    Ok(json!({
        "registryId": home.account.as_str(), "repositoryName": input.repository_name,
        "uploadId": input.upload_id, "lastByteReceived": input.part_last_byte,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CompleteLayerUpload {
    registry_id: Option<String>,
    repository_name: String,
    upload_id: String,
    layer_digests: Vec<String>,
}

pub(super) fn complete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: CompleteLayerUpload = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    bounded(&input.layer_digests, "layerDigests")?;
    let registry = world.ecr.registry_mut(&home);
    let upload = registry.uploads.get(&input.upload_id).filter(|upload| upload.repository == input.repository_name);
    let upload = upload.ok_or_else(|| upload_not_found(&input.upload_id))?;
    if upload.bytes.is_empty() {
        return Err(ServiceError::new(
            "EmptyUploadException",
            "The specified layer upload does not contain any layer parts.",
        ));
    }
    let (digest, size) = (digest_of(&upload.bytes), upload.bytes.len() as u64);
    if !input.layer_digests.contains(&digest) {
        return Err(ServiceError::new(
            "InvalidLayerException",
            "The layer digest calculation performed by Amazon ECR upon receipt of the image layer does not match the digest specified.",
        ));
    }
    registry.uploads.remove(&input.upload_id);
    let repository = world.ecr.repository_mut(&home, &input.repository_name)?;
    if repository.layers.contains_key(&digest) {
        return Err(ServiceError::new(
            "LayerAlreadyExistsException",
            format!(
                "The layer with digest '{digest}' already exists in the repository with name '{}'",
                repository.name
            ),
        ));
    }
    repository.layers.insert(digest.clone(), Layer { size });
    Ok(json!({
        "registryId": home.account.as_str(), "repositoryName": input.repository_name,
        "uploadId": input.upload_id, "layerDigest": digest,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BatchCheckLayerAvailability {
    registry_id: Option<String>,
    repository_name: String,
    layer_digests: Vec<String>,
}

pub(super) fn check(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: BatchCheckLayerAvailability = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    bounded(&input.layer_digests, "layerDigests")?;
    let repository = world.ecr.repository(&home, &input.repository_name)?;
    let (mut layers, mut failures) = (Vec::new(), Vec::new());
    for digest in &input.layer_digests {
        match repository.layers.get(digest) {
            Some(layer) => layers.push(json!({
                "layerDigest": digest, "layerAvailability": "AVAILABLE", "layerSize": layer.size,
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            })),
            None if super::manifest::is_digest(digest) => {
                layers.push(json!({"layerDigest": digest, "layerAvailability": "UNAVAILABLE"}));
            }
            None => failures.push(json!({
                "layerDigest": digest, "failureCode": "InvalidLayerDigest", "failureReason": "Invalid layer digest",
            })),
        }
    }
    Ok(json!({"layers": layers, "failures": failures}))
}
