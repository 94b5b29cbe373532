//! What a manifest says.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::invalid;
use crate::operation::ServiceError;

/// Media types of an image manifest.
const IMAGES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// Media types of an index (manifest list).
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// A manifest, as far as a registry reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    /// What `DescribeImages` shows as `artifactMediaType`.
    pub(super) artifact_media_type: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) children: Vec<String>,
    /// Digests of the config and the layers.
    pub(super) blobs: Vec<String>,
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: String,
}

impl Manifest {
    /// Reads a manifest; the media type is the one in the text, or else the one that came with it.
    pub(super) fn parse(text: &str, media_type: Option<&str>) -> Result<Self, ServiceError> {
        let unreadable = |why: String| {
            invalid(format!("Invalid parameter at 'ImageManifest' failed to satisfy constraint: '{why}'"))
        };
        let document: Document = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        if document.schema_version != 2 {
            return Err(ServiceError::not_simulated("image manifests of a schema version other than 2"));
        }
        let media_type = match (document.media_type.as_deref(), media_type) {
            (Some(inside), Some(outside)) if inside != outside => {
                return Err(unreadable(format!("media type {inside} is not {outside}")));
            }
            (Some(media_type), _) | (None, Some(media_type)) => media_type.to_owned(),
            (None, None) => return Err(unreadable("the manifest has no media type".to_owned())),
        };
        let subject = document.subject.map(|subject| subject.digest);
        let annotations = document.annotations;
        if INDEXES.contains(&media_type.as_str()) {
            let children = document.manifests.ok_or_else(|| unreadable("an index without manifests".to_owned()))?;
            return Ok(Self {
                media_type,
                artifact_media_type: document.artifact_type,
                subject,
                children: children.into_iter().map(|child| child.digest).collect(),
                blobs: Vec::new(),
                annotations,
            });
        }
        if !IMAGES.contains(&media_type.as_str()) {
            return Err(unreadable(format!("media type {media_type} is not supported")));
        }
        let config = document.config.ok_or_else(|| unreadable("an image without config".to_owned()))?;
        let layers = document.layers.ok_or_else(|| unreadable("an image without layers".to_owned()))?;
        Ok(Self {
            media_type,
            artifact_media_type: document.artifact_type.or(config.media_type),
            subject,
            children: Vec::new(),
            blobs: std::iter::once(config.digest).chain(layers.into_iter().map(|layer| layer.digest)).collect(),
            annotations,
        })
    }
}

/// `sha256:…` of some bytes.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let mut text = String::from("sha256:");
    for byte in hash {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Whether a text has the form of a digest: `sha256:` and 64 lower-case hexadecimal digits.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Whether a text may be a tag (OCI distribution specification).
pub(super) fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=128).contains(&bytes.len())
        && (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}
