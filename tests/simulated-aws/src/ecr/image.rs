//! Images: pushing, reading, listing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::manifest::{Manifest, digest_of, is_digest, is_tag};
use super::repository::{Repository, with_next};
use super::{Home, INVALID, bounded, invalid, page_size};
use crate::input::read;
use crate::operation::{Call, ServiceError, epoch};
use crate::paging::page;
use crate::{Behaviours, Principal, World};

/// Where an image is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImageStatus {
    /// In standard storage: it can be pulled.
    Active,
    /// In the archive.
    Archived,
    /// On its way out of the archive.
    Activating,
}

/// An image, as it is.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// The digest of its manifest.
    pub digest: String,
    /// The manifest.
    pub manifest: String,
    /// The manifest's media type.
    pub media_type: String,
    /// The type of artifact: of an image, its config's media type.
    pub artifact_media_type: Option<String>,
    /// The image that it refers to, if it is a referrer.
    pub subject: Option<String>,
    /// The images that it holds, if it is an index.
    pub children: Vec<String>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The size of its layers and config; of an index, that of its largest child.
    pub size_in_bytes: u64,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// The recorded pull time, which lags.
    pub recorded_pull_at: Option<Timestamp>,
    /// Where it is kept.
    pub status: ImageStatus,
    /// When it was last archived.
    pub archived_at: Option<Timestamp>,
    /// When it was last restored.
    pub activated_at: Option<Timestamp>,
}

impl StoredImage {
    /// Notes a pull. The recorded time is refreshed once it is 24 hours old (API reference, `ImageDetail`).
    pub(super) fn note_pull(&mut self, now: Timestamp) {
        if self.recorded_pull_at.is_none_or(|last| now.duration_since(last) >= SignedDuration::from_hours(24)) {
            self.recorded_pull_at = Some(now);
        }
    }

    fn detail(&self, home: &Home, repository: &Repository) -> Value {
        let mut members = Map::new();
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        set("registryId", json!(home.account.as_str()));
        set("repositoryName", json!(repository.name));
        set("imageDigest", json!(self.digest));
        let tags: Vec<&str> = repository.tags_of(&self.digest).collect();
        if !tags.is_empty() {
            set("imageTags", json!(tags));
        }
        set("imageSizeInBytes", json!(self.size_in_bytes));
        set("imagePushedAt", epoch(self.pushed_at));
        set("imageManifestMediaType", json!(self.media_type));
        set("imageStatus", json!(self.status));
        for (name, text) in [("artifactMediaType", &self.artifact_media_type), ("subjectManifestDigest", &self.subject)]
        {
            if let Some(text) = text {
                set(name, json!(text));
            }
        }
        for (name, at) in [
            ("lastRecordedPullTime", self.recorded_pull_at),
            ("lastArchivedAt", self.archived_at),
            ("lastActivatedAt", self.activated_at),
        ] {
            if let Some(at) = at {
                set(name, epoch(at));
            }
        }
        Value::Object(members)
    }
}

/// An image in a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ImageId {
    pub(super) image_digest: Option<String>,
    pub(super) image_tag: Option<String>,
}

/// Why an image id names no image, as `failures[]` say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

impl ImageId {
    pub(super) fn to_json(&self) -> Value {
        let mut members = Map::new();
        if let Some(digest) = &self.image_digest {
            members.insert("imageDigest".to_owned(), json!(digest));
        }
        if let Some(tag) = &self.image_tag {
            members.insert("imageTag".to_owned(), json!(tag));
        }
        Value::Object(members)
    }

    pub(super) fn failure(&self, failure: &Failure) -> Value {
        json!({"imageId": self.to_json(), "failureCode": failure.code, "failureReason": failure.reason})
    }

    /// The digest of the image that is named.
    pub(super) fn resolve(&self, repository: &Repository) -> Result<String, Failure> {
        let fail = |code, reason: &str| Failure { code, reason: reason.to_owned() };
        if self.image_digest.is_none() && self.image_tag.is_none() {
            return Err(fail("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null"));
        }
        if self.image_digest.as_deref().is_some_and(|digest| !is_digest(digest)) {
            return Err(fail(
                "InvalidImageDigest",
                "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
            ));
        }
        if self.image_tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(fail(
                "InvalidImageTag",
                "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9-_.]{1,300}'",
            ));
        }
        let not_found = || fail("ImageNotFound", "Requested image not found");
        let tagged = match &self.image_tag {
            Some(tag) => Some(repository.image_tags.get(tag).ok_or_else(not_found)?),
            None => None,
        };
        match (&self.image_digest, tagged) {
            (Some(digest), Some(tagged)) if digest != tagged => {
                Err(fail("ImageTagDoesNotMatchDigest", "Requested image tag does not match the image digest"))
            }
            (_, Some(tagged)) => Ok(tagged.clone()),
            (Some(digest), None) => repository.images.get(digest).map(|it| it.digest.clone()).ok_or_else(not_found),
            (None, None) => Err(not_found()),
        }
    }
}

fn image_not_found(home: &Home, repository: &str, id: &ImageId) -> ServiceError {
    let quoted = |text: &Option<String>| text.as_ref().map_or_else(|| "null".to_owned(), |text| format!("'{text}'"));
    ServiceError::new(
        "ImageNotFoundException",
        format!(
            "The image with imageId {{imageDigest:{}, imageTag:{}}} does not exist within the repository with name '{repository}' in the registry with id '{}'",
            quoted(&id.image_digest),
            quoted(&id.image_tag),
            home.account
        ),
    )
}

/// The digest of an image, or `ImageNotFoundException`.
pub(super) fn find(repository: &Repository, home: &Home, id: &ImageId) -> Result<String, ServiceError> {
    id.resolve(repository).map_err(|failure| match failure.code {
        "ImageNotFound" | "ImageTagDoesNotMatchDigest" => image_not_found(home, &repository.name, id),
        _ => invalid(failure.reason),
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutImage {
    registry_id: Option<String>,
    repository_name: String,
    image_manifest: String,
    image_manifest_media_type: Option<String>,
    image_tag: Option<String>,
    image_digest: Option<String>,
}

pub(super) fn put(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: PutImage = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    let digest = digest_of(input.image_manifest.as_bytes());
    if input.image_digest.as_ref().is_some_and(|claimed| *claimed != digest) {
        return Err(ServiceError::new(
            "ImageDigestDoesNotMatchException",
            format!(
                "The image digest {:?} does not match the digest {digest} calculated from the image.",
                input.image_digest
            ),
        ));
    }
    let media_type = input.image_manifest_media_type.as_deref();
    let now = world.now();
    let behaviours = world.behaviours.clone();
    let repository = world.ecr.repository_mut(&home, &input.repository_name)?;
    store(repository, &home, &input.image_manifest, media_type, input.image_tag.as_deref(), now, &behaviours)?;
    let id = ImageId { image_digest: Some(digest.clone()), image_tag: input.image_tag };
    Ok(json!({"image": image_answer(&home, repository, &repository.images[&digest], &id)}))
}

/// Stores a manifest and points a tag at it, as `PutImage` does.
pub(super) fn store(
    repository: &mut Repository,
    home: &Home,
    text: &str,
    media_type: Option<&str>,
    tag: Option<&str>,
    now: Timestamp,
    behaviours: &Behaviours,
) -> Result<String, ServiceError> {
    let digest = digest_of(text.as_bytes());
    let manifest = Manifest::parse(text, media_type)?;
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return Err(invalid(format!(
            "Invalid parameter at 'imageTag' failed to satisfy constraint: 'must satisfy regular expression': {tag}"
        )));
    }
    let place = format!("the repository with name '{}' in the registry with id '{}'", repository.name, home.account);
    let missing: Vec<&str> =
        manifest.blobs.iter().map(String::as_str).filter(|blob| !repository.layers.contains_key(*blob)).collect();
    if !missing.is_empty() {
        return Err(ServiceError::new(
            "LayersNotFoundException",
            format!("Layers with digests '{missing:?}' required for pushing image into {place} do not exist"),
        ));
    }
    let missing: Vec<&str> =
        manifest.children.iter().map(String::as_str).filter(|child| !repository.images.contains_key(*child)).collect();
    if !missing.is_empty() {
        return Err(ServiceError::new(
            "ReferencedImagesNotFoundException",
            format!("Images with digests '{missing:?}' required for pushing image into {place} do not exist"),
        ));
    }
    let pointed = tag.and_then(|tag| repository.image_tags.get(tag));
    let stored = repository.images.get(&digest).is_some_and(|image| image.status == ImageStatus::Active);
    if stored && (tag.is_none() || pointed == Some(&digest)) {
        return Err(ServiceError::new(
            "ImageAlreadyExistsException",
            format!("Image with digest '{digest}' and tag '{}' already exists in {place}", tag.unwrap_or("null")),
        ));
    }
    if let (Some(tag), Some(pointed)) = (tag, pointed)
        && *pointed != digest
        && !repository.mutability.may_move(tag)
    {
        return Err(ServiceError::new(
            "ImageTagAlreadyExistsException",
            format!(
                "The image tag '{tag}' already exists in the '{}' repository and cannot be overwritten because the tag is immutable.",
                repository.name
            ),
        ));
    }
    let size_in_bytes = if manifest.children.is_empty() {
        let blobs: BTreeSet<&String> = manifest.blobs.iter().collect();
        blobs.into_iter().filter_map(|blob| repository.layers.get(blob)).map(|layer| layer.size).sum()
    } else {
        let children = manifest.children.iter().filter_map(|child| repository.images.get(child));
        children.map(|child| child.size_in_bytes).max().unwrap_or_default()
    };
    let image = repository.images.entry(digest.clone()).or_insert_with(|| StoredImage {
        digest: digest.clone(),
        manifest: text.to_owned(),
        media_type: manifest.media_type,
        artifact_media_type: manifest.artifact_media_type,
        subject: manifest.subject,
        children: manifest.children,
        annotations: manifest.annotations,
        size_in_bytes,
        pushed_at: now,
        recorded_pull_at: None,
        status: ImageStatus::Active,
        archived_at: None,
        activated_at: None,
    });
    if image.status != ImageStatus::Active {
        // A push brings an archived image back (ECR user guide, "Archiving an image").
        image.status = ImageStatus::Active;
        image.activated_at = Some(now);
        image.pushed_at = now;
    }
    if behaviours.ecr_retag_updates_push_time {
        image.pushed_at = now;
    }
    if let Some(tag) = tag {
        repository.image_tags.insert(tag.to_owned(), digest.clone());
    }
    Ok(digest)
}

fn image_answer(home: &Home, repository: &Repository, image: &StoredImage, id: &ImageId) -> Value {
    let id = ImageId { image_digest: Some(image.digest.clone()), image_tag: id.image_tag.clone() };
    json!({
        "registryId": home.account.as_str(),
        "repositoryName": repository.name,
        "imageId": id.to_json(),
        "imageManifest": image.manifest,
        "imageManifestMediaType": image.media_type,
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BatchGetImage {
    registry_id: Option<String>,
    repository_name: String,
    image_ids: Vec<ImageId>,
    accepted_media_types: Option<Vec<String>>,
}

pub(super) fn batch_get(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: BatchGetImage = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    bounded(&input.image_ids, "imageIds")?;
    let now = world.now();
    let counts = world.behaviours.ecr_batch_get_image_counts_as_pull && !excluded(world, &home, &call.principal);
    let repository = world.ecr.repository_mut(&home, &input.repository_name)?;
    let (mut images, mut failures) = (Vec::new(), Vec::new());
    for id in &input.image_ids {
        let digest = match id.resolve(repository) {
            Ok(digest) => digest,
            Err(failure) => {
                failures.push(id.failure(&failure));
                continue;
            }
        };
        let image = repository.images.get_mut(&digest).expect("resolved to an image");
        if image.status != ImageStatus::Active {
            let reason = "The image is archived and must be restored before it can be pulled".to_owned();
            failures.push(id.failure(&Failure { code: "ImageInaccessible", reason }));
            continue;
        }
        if input.accepted_media_types.as_ref().is_some_and(|accepted| !accepted.contains(&image.media_type)) {
            return Err(ServiceError::not_simulated(format_args!(
                "BatchGetImage whose acceptedMediaTypes lack {}",
                image.media_type
            )));
        }
        if counts {
            image.note_pull(now);
        }
        images.push(image_answer(&home, repository, &repository.images[&digest], id));
    }
    Ok(json!({"images": images, "failures": failures}))
}

/// Whether a principal's pulls are kept out of the registry's pull times. A role is registered by its own ARN, not by
/// that of a session.
pub(super) fn excluded(world: &World, home: &Home, principal: &Principal) -> bool {
    let Principal::Role { account, role, .. } = principal else { return false };
    let prefix = format!("arn:aws:iam::{account}:role/");
    world.ecr.registries.get(home).is_some_and(|registry| {
        registry.exclusions.iter().any(|arn| {
            // The ARN may carry a path, which a session's does not.
            arn.strip_prefix(&prefix).is_some_and(|path| path.rsplit('/').next() == Some(role.as_str()))
        })
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ImageFilter {
    tag_status: Option<TagStatus>,
    image_status: Option<StatusFilter>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum TagStatus {
    Tagged,
    Untagged,
    Any,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum StatusFilter {
    Active,
    Archived,
    Activating,
    Any,
}

impl StatusFilter {
    /// Without a filter only active images are shown.
    fn admits(filter: Option<Self>, status: ImageStatus) -> bool {
        match filter.unwrap_or(Self::Active) {
            Self::Any => true,
            Self::Active => status == ImageStatus::Active,
            Self::Archived => status == ImageStatus::Archived,
            Self::Activating => status == ImageStatus::Activating,
        }
    }
}

impl ImageFilter {
    fn admits(&self, image: &StoredImage, tagged: bool) -> bool {
        let by_tag = match self.tag_status.unwrap_or(TagStatus::Any) {
            TagStatus::Any => true,
            TagStatus::Tagged => tagged,
            TagStatus::Untagged => !tagged,
        };
        by_tag && StatusFilter::admits(self.image_status, image.status)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeImages {
    registry_id: Option<String>,
    repository_name: String,
    image_ids: Option<Vec<ImageId>>,
    next_token: Option<String>,
    max_results: Option<u64>,
    #[serde(default)]
    filter: ImageFilter,
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DescribeImages = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    let hidden_is_missing = world.behaviours.ecr_image_hidden_by_filter_is_missing;
    let repository = world.ecr.repository(&home, &input.repository_name)?;
    if let Some(ids) = &input.image_ids {
        bounded(ids, "imageIds")?;
        if input.next_token.is_some() || input.max_results.is_some() {
            return Err(invalid("maxResults and nextToken cannot be used when you specify images with imageIds"));
        }
        let mut details = BTreeMap::new();
        for id in ids {
            let digest = find(repository, &home, id)?;
            let image = &repository.images[&digest];
            let tagged = repository.tags_of(&digest).next().is_some();
            if input.filter.admits(image, tagged) {
                details.insert(digest, image.detail(&home, repository));
            } else if hidden_is_missing {
                return Err(image_not_found(&home, &repository.name, id));
            }
        }
        return Ok(json!({"imageDetails": details.into_values().collect::<Vec<_>>()}));
    }
    let size = page_size(input.max_results, 100, 1000)?;
    let tagged: BTreeSet<&String> = repository.image_tags.values().collect();
    let all: Vec<&StoredImage> =
        repository.images.values().filter(|image| input.filter.admits(image, tagged.contains(&image.digest))).collect();
    let (these, next) = page(&all, input.next_token.as_deref(), size, INVALID)?;
    let details: Vec<Value> = these.iter().map(|image| image.detail(&home, repository)).collect();
    Ok(with_next(json!({"imageDetails": details}), next))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListImages {
    registry_id: Option<String>,
    repository_name: String,
    next_token: Option<String>,
    max_results: Option<u64>,
    #[serde(default)]
    filter: ImageFilter,
}

pub(super) fn list(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: ListImages = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    let repository = world.ecr.repository(&home, &input.repository_name)?;
    let mut tags: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tag, digest) in &repository.image_tags {
        tags.entry(digest).or_default().push(tag);
    }
    let mut all = Vec::new();
    for image in repository.images.values() {
        let tags = tags.get(image.digest.as_str());
        if !input.filter.admits(image, tags.is_some()) {
            continue;
        }
        match tags {
            Some(tags) => all.extend(tags.iter().map(|tag| json!({"imageDigest": image.digest, "imageTag": tag}))),
            None => all.push(json!({"imageDigest": image.digest})),
        }
    }
    let size = page_size(input.max_results, 100, 1000)?;
    let (these, next) = page(&all, input.next_token.as_deref(), size, INVALID)?;
    Ok(with_next(json!({"imageIds": these}), next))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListImageReferrers {
    registry_id: Option<String>,
    repository_name: String,
    subject_id: SubjectId,
    #[serde(default)]
    filter: ReferrerFilter,
    next_token: Option<String>,
    max_results: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SubjectId {
    image_digest: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReferrerFilter {
    #[serde(default)]
    artifact_types: Vec<String>,
    artifact_status: Option<StatusFilter>,
}

pub(super) fn list_referrers(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: ListImageReferrers = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    if !is_digest(&input.subject_id.image_digest) {
        return Err(invalid(format!(
            "Invalid parameter at 'subjectId' failed to satisfy constraint: 'Invalid digest': {}",
            input.subject_id.image_digest
        )));
    }
    if input.filter.artifact_types.len() > 5 {
        return Err(invalid("Invalid parameter at 'artifactTypes' failed to satisfy constraint: 'at most 5'"));
    }
    let size = page_size(input.max_results, 20, 50)?;
    let repository = world.ecr.repository(&home, &input.repository_name)?;
    let all: Vec<&StoredImage> = repository
        .images
        .values()
        .filter(|image| image.subject.as_ref() == Some(&input.subject_id.image_digest))
        .filter(|image| StatusFilter::admits(input.filter.artifact_status, image.status))
        .filter(|image| {
            let types = &input.filter.artifact_types;
            types.is_empty() || image.artifact_media_type.as_ref().is_some_and(|it| types.contains(it))
        })
        .collect();
    let (these, next) = page(&all, input.next_token.as_deref(), size, INVALID)?;
    let referrers: Vec<Value> = these
        .iter()
        .map(|image| {
            let mut referrer = json!({
                "digest": image.digest, "mediaType": image.media_type, "size": image.manifest.len(),
                "artifactStatus": image.status,
            });
            if let Some(artifact_type) = &image.artifact_media_type {
                referrer["artifactType"] = json!(artifact_type);
            }
            if !image.annotations.is_empty() {
                referrer["annotations"] = json!(image.annotations);
            }
            referrer
        })
        .collect();
    Ok(with_next(json!({"referrers": referrers}), next))
}
