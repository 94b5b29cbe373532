//! Pushing without the ceremony of layers, for tests: what `docker push`, `docker buildx` and `cosign` end in.

use serde_json::{Value, json};

use super::Home;
use super::image::store;
use super::layer::Layer;
use super::manifest::{Manifest, digest_of};
use crate::World;
use crate::identity::{AccountId, Region};
use crate::operation::ServiceError;

const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What cosign attaches under a tag that is made of the subject's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CosignPart {
    /// `sha256-….sig`
    Signature,
    /// `sha256-….att`
    Attestation,
    /// `sha256-….sbom`
    Sbom,
}

impl CosignPart {
    fn suffix(self) -> &'static str {
        match self {
            Self::Signature => "sig",
            Self::Attestation => "att",
            Self::Sbom => "sbom",
        }
    }
}

/// Pushes a manifest with whatever layers it names. Returns its digest.
///
/// # Errors
/// Those of `PutImage`, except for missing layers.
pub fn put_manifest(
    world: &mut World,
    account: &AccountId,
    region: &Region,
    repository: &str,
    tag: Option<&str>,
    manifest: &Value,
) -> Result<String, ServiceError> {
    let home = Home { account: account.clone(), region: region.clone() };
    let text = manifest.to_string();
    let now = world.now();
    let behaviours = world.behaviours.clone();
    let repository = world.ecr.repository_mut(&home, repository)?;
    for blob in Manifest::parse(&text, None)?.blobs {
        let size = blob_size(&blob);
        repository.layers.entry(blob).or_insert(Layer { size });
    }
    store(repository, &home, &text, None, tag, now, &behaviours)
}

/// A size that looks like a layer's and depends on nothing but the digest: 1 to 64 MiB.
fn blob_size(digest: &str) -> u64 {
    let hex = digest.get(7..13).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or_default();
    (1 << 20) + hex % (63 << 20)
}

fn descriptor(media_type: &str, digest: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": 1024})
}

fn image_manifest(contents: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &digest_of(format!("config of {contents}").as_bytes())),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &digest_of(contents.as_bytes()))],
    })
}

/// Pushes an image with one layer; the same contents make the same digest. Returns the digest.
///
/// # Errors
/// Those of `PutImage`.
pub fn push_image(
    world: &mut World,
    account: &AccountId,
    region: &Region,
    repository: &str,
    tag: Option<&str>,
    contents: &str,
) -> Result<String, ServiceError> {
    put_manifest(world, account, region, repository, tag, &image_manifest(contents))
}

/// Pushes an index over images that are there already. Returns its digest.
///
/// # Errors
/// Those of `PutImage`.
pub fn push_index(
    world: &mut World,
    account: &AccountId,
    region: &Region,
    repository: &str,
    tag: Option<&str>,
    children: &[String],
) -> Result<String, ServiceError> {
    const ARCHITECTURES: [&str; 4] = ["amd64", "arm64", "ppc64le", "s390x"];
    let manifests: Vec<Value> = children
        .iter()
        .enumerate()
        .map(|(index, child)| {
            let mut entry = descriptor(OCI_IMAGE, child);
            let architecture = ARCHITECTURES[index % ARCHITECTURES.len()];
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entry
        })
        .collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    put_manifest(world, account, region, repository, tag, &manifest)
}

/// Pushes an untagged artifact that names `subject`, as notation and newer cosign do. Returns its digest.
///
/// # Errors
/// Those of `PutImage`.
pub fn push_referrer(
    world: &mut World,
    account: &AccountId,
    region: &Region,
    repository: &str,
    subject: &str,
    artifact_type: &str,
) -> Result<String, ServiceError> {
    let mut manifest = image_manifest(&format!("{artifact_type} of {subject}"));
    manifest["artifactType"] = json!(artifact_type);
    manifest["subject"] = descriptor(OCI_IMAGE, subject);
    put_manifest(world, account, region, repository, None, &manifest)
}

/// Pushes what older cosign attaches: an image under the tag `sha256-HEX.sig`, `.att` or `.sbom`. Returns its digest.
///
/// # Errors
/// Those of `PutImage`.
pub fn push_cosign(
    world: &mut World,
    account: &AccountId,
    region: &Region,
    repository: &str,
    subject: &str,
    part: CosignPart,
) -> Result<String, ServiceError> {
    let tag = format!("{}.{}", subject.replace(':', "-"), part.suffix());
    push_image(world, account, region, repository, Some(&tag), &tag)
}
