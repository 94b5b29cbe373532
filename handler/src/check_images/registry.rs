//! What ECR tells about a repository and its images.
//!
//! # Why this many calls
//! The whole repository is listed, a thousand images a call, instead of a hundred chosen ones: it takes one call more for
//! each thousand images, and tells at the same time which images are newer, which tags cosign made, what is attached to
//! what (`subjectManifestDigest`, so that referrers need no call for each image), and which indexes there are. Only the
//! manifests of indexes are read, a hundred a call: only they name others.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecr::Client;
use aws_sdk_ecr::operation::describe_images::DescribeImagesError;
use aws_sdk_ecr::types::{DescribeImagesFilter, ImageDetail, ImageIdentifier, ImageStatusFilter, ImageTagMutability};
use jiff::Timestamp;
use serde_json::Value;

use super::evidence::{
    Attachment, Because, Child, Found, Gap, ImageFacts, ImageKind, Mutability, Relations, StorageStatus,
};
use super::failed_call::failed_call;
use super::pullers::{self, Admitted};
use crate::image::{Digest, Tag};
use crate::repository::{Registry, Repository, RepositoryName};

/// The images of a repository by their digests.
pub type Images = BTreeMap<Digest, ImageFacts>;

/// For each index of a repository the digests that it lists.
pub type Children = BTreeMap<Digest, BTreeSet<Digest>>;

/// The mutability of each of `names` that exists.
///
/// # Errors
/// A call that failed otherwise than because a repository is gone.
pub async fn mutabilities(
    ecr: &Client,
    registry: &Registry,
    names: &BTreeSet<&RepositoryName>,
) -> Result<BTreeMap<RepositoryName, Mutability>, Because> {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut found = BTreeMap::new();
    // One repository that is gone fails the whole call, so that its company is asked for one by one.
    let mut chunks: Vec<Vec<String>> = names.chunks(100).map(<[String]>::to_vec).collect();
    while let Some(chunk) = chunks.pop() {
        let call = ecr
            .describe_repositories()
            .registry_id(registry.account.as_str())
            .set_repository_names(Some(chunk.clone()))
            .send();
        match call.await {
            Ok(answer) => {
                // A repository that is not there is an error of the call; one that is merely left out is not known.
                if answer.repositories().len() < chunk.len() {
                    let text = format!("ecr:DescribeRepositories for {registry} did not answer for every repository");
                    return Err(Because::new(Gap::Repository, text));
                }
                for repository in answer.repositories() {
                    let name = repository.repository_name().and_then(|name| name.parse().ok());
                    let (Some(name), Some(mutability)) = (name, repository.image_tag_mutability()) else {
                        let text = format!("ecr:DescribeRepositories for {registry} answered what cannot be read");
                        return Err(Because::new(Gap::Repository, text));
                    };
                    let mutability = match mutability {
                        ImageTagMutability::Immutable => Mutability::Fixed,
                        // With exclusions some tags can move, and which ones may change.
                        _ => Mutability::Movable,
                    };
                    found.insert(name, mutability);
                }
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_repository_not_found_exception()) => {
                if chunk.len() > 1 {
                    chunks.extend(chunk.into_iter().map(|name| vec![name]));
                }
            }
            Err(error) => {
                return Err(failed_call(Gap::Repository, "ecr:DescribeRepositories", &registry.to_string(), &error));
            }
        }
    }
    Ok(found)
}

/// The repository's resource tags.
///
/// # Errors
/// The call failed.
pub async fn resource_tags(ecr: &Client, repository: &Repository) -> Result<BTreeMap<String, String>, Because> {
    let answer =
        ecr.list_tags_for_resource().resource_arn(repository.arn()).send().await.map_err(|error| {
            failed_call(Gap::Repository, "ecr:ListTagsForResource", &repository.to_string(), &error)
        })?;
    Ok(answer.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
}

/// Who the repository's policy admits; nobody if it has none.
///
/// # Errors
/// The call failed, or the policy cannot be read.
pub async fn admitted(ecr: &Client, repository: &Repository) -> Result<Admitted, Because> {
    let call = ecr
        .get_repository_policy()
        .registry_id(repository.registry.account.as_str())
        .repository_name(repository.name.as_str())
        .send();
    match call.await {
        Ok(answer) => pullers::admitted(answer.policy_text().unwrap_or_default())
            .map_err(|text| Because::new(Gap::Pullers, format!("{repository}: {text}"))),
        Err(error)
            if error.as_service_error().is_some_and(|error| error.is_repository_policy_not_found_exception()) =>
        {
            Ok(Admitted::default())
        }
        Err(error) => Err(failed_call(Gap::Pullers, "ecr:GetRepositoryPolicy", &repository.to_string(), &error)),
    }
}

/// Who the registry's own policy admits, whatever the repository; nobody if it has none.
///
/// # Errors
/// The call failed, or the policy cannot be read.
pub async fn admitted_everywhere(ecr: &Client, registry: &Registry) -> Result<Admitted, Because> {
    match ecr.get_registry_policy().send().await {
        Ok(answer) => pullers::admitted(answer.policy_text().unwrap_or_default())
            .map_err(|text| Because::new(Gap::Pullers, format!("the registry {registry}: {text}"))),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_registry_policy_not_found_exception()) => {
            Ok(Admitted::default())
        }
        Err(error) => Err(failed_call(Gap::Pullers, "ecr:GetRegistryPolicy", &registry.to_string(), &error)),
    }
}

/// The repository prefixes of the registry's pull-through cache rules.
///
/// # Errors
/// The call failed.
pub async fn pull_through_caches(ecr: &Client, registry: &Registry) -> Result<BTreeSet<String>, Because> {
    let mut prefixes = BTreeSet::new();
    let mut token = None;
    loop {
        let page = ecr
            .describe_pull_through_cache_rules()
            .registry_id(registry.account.as_str())
            .max_results(1000)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| {
                failed_call(Gap::Pullers, "ecr:DescribePullThroughCacheRules", &registry.to_string(), &error)
            })?;
        let rules = page.pull_through_cache_rules().iter();
        prefixes.extend(rules.filter_map(|rule| rule.ecr_repository_prefix()).map(str::to_owned));
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(prefixes);
        }
    }
}

/// The pull-through cache rule that fills a repository. The prefix `ROOT` fills all.
pub fn cached_by(prefixes: &BTreeSet<String>, name: &RepositoryName) -> Option<String> {
    let fills = |prefix: &&String| {
        prefix.as_str() == "ROOT"
            || name.as_str().strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    prefixes.iter().find(fills).cloned()
}

/// All images of a repository, archived ones too; none if the repository is gone.
///
/// # Errors
/// A page that cannot be had, or an image that cannot be read.
pub async fn images(ecr: &Client, repository: &Repository) -> Result<Images, Because> {
    let mut images = Images::new();
    let mut token = None;
    loop {
        let call = ecr
            .describe_images()
            .registry_id(repository.registry.account.as_str())
            .repository_name(repository.name.as_str())
            .filter(DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build())
            .max_results(1000)
            .set_next_token(token)
            .send();
        let page = match call.await {
            Ok(page) => page,
            Err(error)
                if matches!(error.as_service_error(), Some(DescribeImagesError::RepositoryNotFoundException(_))) =>
            {
                return Ok(Images::new());
            }
            Err(error) => {
                return Err(failed_call(Gap::Images, "ecr:DescribeImages", &repository.to_string(), &error));
            }
        };
        for detail in page.image_details() {
            let image = facts(detail)
                .map_err(|what| Because::new(Gap::Images, format!("{repository}: an image has {what}")))?;
            images.insert(image.digest.clone(), image);
        }
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(images);
        }
    }
}

fn facts(detail: &ImageDetail) -> Result<ImageFacts, String> {
    let digest: Digest = detail.image_digest().and_then(|digest| digest.parse().ok()).ok_or("no readable digest")?;
    let time = |time: &aws_sdk_ecr::primitives::DateTime| {
        Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).unwrap_or(0))
            .map_err(|error| format!("a time that cannot be read ({digest}): {error}"))
    };
    Ok(ImageFacts {
        tags: detail
            .image_tags()
            .iter()
            .map(|tag| tag.parse().map_err(|error| format!("a tag that cannot be read ({digest}): {error}")))
            .collect::<Result<_, _>>()?,
        pushed_at: time(detail.image_pushed_at().ok_or_else(|| format!("no push time ({digest})"))?)?,
        pulled_at: detail.last_recorded_pull_time().map(time).transpose()?,
        size_in_bytes: detail.image_size_in_bytes().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
        kind: kind_of(detail.image_manifest_media_type()),
        status: match detail.image_status().map(|status| status.as_str()) {
            // Registries that know no storage classes say nothing about them.
            Some("ACTIVE") | None => StorageStatus::Active,
            Some("ARCHIVED") => StorageStatus::Archived,
            Some(other) => StorageStatus::Other(other.to_owned()),
        },
        subject: match detail.subject_manifest_digest() {
            Some(subject) => {
                Some(subject.parse().map_err(|error| format!("a subject that cannot be read ({digest}): {error}"))?)
            }
            None => None,
        },
        digest,
    })
}

fn kind_of(media_type: Option<&str>) -> ImageKind {
    match media_type {
        Some(
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json"
            | "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws",
        ) => ImageKind::Single,
        Some(
            "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json",
        ) => ImageKind::Index,
        other => ImageKind::Unknown { media_type: other.unwrap_or("none given").to_owned() },
    }
}

/// What each index among `images` lists.
///
/// # Errors
/// A manifest that cannot be had or read.
pub async fn children(ecr: &Client, repository: &Repository, images: &Images) -> Result<Children, Because> {
    let indexes: Vec<&Digest> =
        images.values().filter(|image| image.kind == ImageKind::Index).map(|image| &image.digest).collect();
    let mut children = Children::new();
    for hundred in indexes.chunks(100) {
        let ids = hundred.iter().map(|digest| ImageIdentifier::builder().image_digest(digest.to_string()).build());
        let answer = ecr
            .batch_get_image()
            .registry_id(repository.registry.account.as_str())
            .repository_name(repository.name.as_str())
            .set_image_ids(Some(ids.collect()))
            .accepted_media_types("application/vnd.oci.image.index.v1+json")
            .accepted_media_types("application/vnd.docker.distribution.manifest.list.v2+json")
            .send()
            .await
            .map_err(|error| failed_call(Gap::Manifests, "ecr:BatchGetImage", &repository.to_string(), &error))?;
        for image in answer.images() {
            let digest = image.image_id().and_then(|id| id.image_digest()).and_then(|digest| digest.parse().ok());
            if let (Some(digest), Some(manifest)) = (digest, image.image_manifest()) {
                let listed = listed_by(manifest)
                    .map_err(|what| Because::new(Gap::Manifests, format!("{repository}@{digest}: {what}")))?;
                children.insert(digest, listed);
            }
        }
        if let Some(missing) = hundred.iter().find(|digest| !children.contains_key(**digest)) {
            // An archived index cannot be read, and what it lists must not go without it.
            let refusal = answer
                .failures()
                .iter()
                .find(|failure| failure.image_id().and_then(|id| id.image_digest()) == Some(missing.as_str()))
                .and_then(|failure| failure.failure_reason())
                .unwrap_or("ECR gave no reason");
            return Err(Because::new(
                Gap::Manifests,
                format!("the manifest of {repository}@{missing} cannot be read: {refusal}"),
            ));
        }
    }
    Ok(children)
}

fn listed_by(manifest: &str) -> Result<BTreeSet<Digest>, String> {
    let manifest: Value =
        serde_json::from_str(manifest).map_err(|error| format!("the manifest is not JSON: {error}"))?;
    let listed = manifest.get("manifests").and_then(Value::as_array).ok_or("the index lists nothing")?;
    listed
        .iter()
        .map(|listed| {
            listed
                .get("digest")
                .and_then(Value::as_str)
                .and_then(|digest| digest.parse().ok())
                .ok_or_else(|| "the index lists something without a readable digest".to_owned())
        })
        .collect()
}

/// For each image that an index lists, the indexes that do.
pub fn parents(children: &Children) -> BTreeMap<Digest, BTreeSet<Digest>> {
    let mut parents: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
    for (index, listed) in children {
        for child in listed {
            parents.entry(child.clone()).or_default().insert(index.clone());
        }
    }
    parents
}

/// The images that an artifact is attached to: by its manifest, by cosign's tags (`sha256-HEX.sig`), or by the tag under
/// which registries without referrers keep them (`sha256-HEX`; OCI distribution specification, "Referrers Tag Schema"). The
/// same contents can belong to several.
fn subjects_of(image: &ImageFacts) -> BTreeSet<Digest> {
    image.subject.iter().cloned().chain(image.tags.iter().filter_map(subject_of_tag)).collect()
}

/// How cosign's tags end.
const ARTIFACT_SUFFIXES: [&str; 3] = [".sig", ".att", ".sbom"];

fn subject_of_tag(tag: &Tag) -> Option<Digest> {
    let hex = tag.as_str().strip_prefix("sha256-")?;
    let hex = ARTIFACT_SUFFIXES.iter().find_map(|suffix| hex.strip_suffix(suffix)).unwrap_or(hex);
    format!("sha256:{hex}").parse().ok()
}

/// For each image what is attached to it, whether the image is still there or not.
pub fn attached(images: &Images) -> BTreeMap<Digest, Vec<&ImageFacts>> {
    let mut attached: BTreeMap<Digest, Vec<&ImageFacts>> = BTreeMap::new();
    for artifact in images.values() {
        for subject in subjects_of(artifact) {
            attached.entry(subject).or_default().push(artifact);
        }
    }
    attached
}

/// How an image hangs together with the others of its repository; `used` tells which have a use of their own.
pub fn relations(
    image: &ImageFacts,
    images: &Images,
    children: &Children,
    parents: &BTreeMap<Digest, BTreeSet<Digest>>,
    attached: &BTreeMap<Digest, Vec<&ImageFacts>>,
    used: impl Fn(&Digest) -> bool,
) -> Relations {
    let no_parents = BTreeSet::new();
    let parents_of = |digest: &Digest| parents.get(digest).unwrap_or(&no_parents);
    let attached_to = |artifact: &ImageFacts, but: &Digest| {
        let mut subjects = subjects_of(artifact).into_iter();
        subjects.find(|subject| subject != but && *subject != artifact.digest && images.contains_key(subject))
    };
    let listed: Vec<Child> = children
        .get(&image.digest)
        .into_iter()
        .flatten()
        .filter_map(|digest| images.get(digest))
        .map(|child| Child {
            image: child.clone(),
            has_other_parent: parents_of(&child.digest).iter().any(|parent| *parent != image.digest),
            needed_elsewhere: attached_to(child, &image.digest).is_some(),
        })
        .collect();
    let subjects = std::iter::once(&image.digest).chain(listed.iter().map(|child| &child.image.digest));
    let attachments = subjects
        .flat_map(|subject| attached.get(subject).into_iter().flatten().map(|artifact| (*artifact, subject.clone())))
        .map(|(artifact, subject)| Attachment {
            image: artifact.clone(),
            needed_elsewhere: artifact.tags.iter().any(|tag| subject_of_tag(tag).as_ref() != Some(&subject))
                || attached_to(artifact, &subject).is_some()
                || !parents_of(&artifact.digest).is_empty()
                || artifact.kind != ImageKind::Single
                || used(&artifact.digest),
            subject,
        })
        .collect();
    Relations {
        parents: parents_of(&image.digest).clone(),
        attached_to: attached_to(image, &image.digest),
        children: listed,
        attachments,
    }
}

/// Whether an image is there for another one only. A tag that is made of some digest is not enough: there are teams that name
/// their images by the hash of what they were built from.
fn is_artifact(image: &ImageFacts, images: &Images) -> bool {
    let cosign = |tag: &Tag| ARTIFACT_SUFFIXES.iter().any(|suffix| tag.as_str().ends_with(suffix));
    image.subject.is_some()
        || subjects_of(image).iter().any(|subject| *subject != image.digest && images.contains_key(subject))
        || image.tags.iter().any(|tag| subject_of_tag(tag).is_some() && cosign(tag))
}

/// For each image how many were pushed after it, not counting what indexes list and what is attached to others. Those are
/// not counted among the newest themselves.
pub fn newer_images(images: &Images, parents: &BTreeMap<Digest, BTreeSet<Digest>>) -> BTreeMap<Digest, usize> {
    let (mut counted, others): (Vec<&ImageFacts>, Vec<&ImageFacts>) =
        images.values().partition(|image| !parents.contains_key(&image.digest) && !is_artifact(image, images));
    counted.sort_by_key(|image| std::cmp::Reverse((image.pushed_at, &image.digest)));
    let ranks = counted.iter().enumerate().map(|(newer, image)| (image.digest.clone(), newer));
    ranks.chain(others.iter().map(|image| (image.digest.clone(), usize::MAX))).collect()
}

/// What is known of a repository, whatever of it could be found out.
#[derive(Debug, Clone)]
pub struct RepositoryFacts {
    /// Its resource tags.
    pub tags: Found<BTreeMap<String, String>>,
    /// Whether its image tags can move.
    pub mutability: Found<Mutability>,
    /// Who may pull from it by its policy.
    pub admitted: Found<Admitted>,
    /// The pull-through cache rule that fills it.
    pub pull_through_cache: Found<Option<String>>,
    /// Its images.
    pub images: Found<Images>,
    /// What its indexes list.
    pub children: Found<Children>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u64) -> Digest {
        format!("sha256:{n:064x}").parse().unwrap()
    }

    fn image(n: u64) -> ImageFacts {
        ImageFacts {
            digest: digest(n),
            tags: BTreeSet::new(),
            pushed_at: Timestamp::from_second(i64::try_from(n).unwrap()).unwrap(),
            pulled_at: None,
            size_in_bytes: 1,
            kind: ImageKind::Single,
            status: StorageStatus::Active,
            subject: None,
        }
    }

    /// An index (1) of two children (2, 3), of which an index (4) lists one too; a signature by subject (5), one by
    /// cosign's tag (6), and one of those with a tag of its own (7).
    fn repository() -> (Images, Children) {
        let index = |n| ImageFacts { kind: ImageKind::Index, ..image(n) };
        let signature =
            |n, tags: &[String]| ImageFacts { tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(), ..image(n) };
        let cosign = |n: u64| format!("sha256-{n:064x}.sig");
        let images = [
            index(1),
            image(2),
            image(3),
            index(4),
            ImageFacts { subject: Some(digest(2)), ..image(5) },
            signature(6, &[cosign(1)]),
            signature(7, &[cosign(1), "mine".into()]),
        ];
        let children = [(digest(1), [digest(2), digest(3)].into()), (digest(4), [digest(3), digest(99)].into())];
        (images.into_iter().map(|image| (image.digest.clone(), image)).collect(), children.into())
    }

    #[test]
    fn an_index_is_related_to_children_parents_and_attachments() {
        let (images, children) = repository();
        let parents = parents(&children);
        let relations = |n| relations(&images[&digest(n)], &images, &children, &parents, &attached(&images), |_| false);
        let index = relations(1);
        let shared: Vec<bool> = index.children.iter().map(|child| child.has_other_parent).collect();
        assert_eq!(shared, [false, true]);
        let attached: Vec<(Digest, bool)> =
            index.attachments.iter().map(|a| (a.image.digest.clone(), a.needed_elsewhere)).collect();
        assert_eq!(attached, [(digest(6), false), (digest(7), true), (digest(5), false)]);
        assert_eq!(relations(3).parents, [digest(1), digest(4)].into());
        assert_eq!(relations(5).attached_to, Some(digest(2)));
        assert_eq!(relations(6).attached_to, Some(digest(1)));
        assert_eq!(relations(2).attached_to, None);
    }

    #[test]
    fn what_is_attached_to_several_images_is_needed_by_each() {
        let cosign = |n: u64, suffix: &str| format!("sha256-{n:064x}{suffix}").parse().unwrap();
        let shared = |n, tags: [Tag; 2]| ImageFacts { tags: tags.into(), ..image(n) };
        // An SBOM of both, and the list of the second's referrers, which is itself a signature of the first.
        let images: Images = [image(1), image(2), shared(3, [cosign(1, ".sbom"), cosign(2, ".sbom")])]
            .into_iter()
            .chain([ImageFacts { tags: [cosign(2, "")].into(), subject: Some(digest(1)), ..image(4) }])
            .map(|image| (image.digest.clone(), image))
            .collect();
        let none = BTreeMap::new();
        let relations =
            |n| relations(&images[&digest(n)], &images, &Children::new(), &none, &attached(&images), |_| false);
        for n in [1, 2] {
            assert!(relations(n).attachments.iter().all(|attachment| attachment.needed_elsewhere), "{n}");
            assert_eq!(relations(n).attachments.len(), 2, "{n}");
        }
        assert!(relations(3).attached_to.is_some() && relations(4).attached_to.is_some());
        assert_eq!(newer_images(&images, &none)[&digest(3)], usize::MAX);
        // An index that lists a signature of an image beside it does not take it along.
        let children = Children::from([(digest(2), [digest(4)].into())]);
        let parents = parents(&children);
        let index = super::relations(&images[&digest(2)], &images, &children, &parents, &attached(&images), |_| false);
        assert!(index.children[0].needed_elsewhere);
    }

    #[test]
    fn children_and_attachments_do_not_count_among_the_newest() {
        let (images, children) = repository();
        let parents = parents(&children);
        let newer = newer_images(&images, &parents);
        assert_eq!((newer[&digest(4)], newer[&digest(1)]), (0, 1));
        assert_eq!(newer[&digest(2)], usize::MAX);
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_an_error() {
        for manifest in ["", "{}", r#"{"manifests":[{}]}"#, r#"{"manifests":[{"digest":"sha256:1"}]}"#] {
            assert!(listed_by(manifest).is_err(), "{manifest}");
        }
    }

    #[test]
    fn a_pull_through_cache_rule_fills_what_its_prefix_holds() {
        let prefixes = BTreeSet::from(["hub".to_owned()]);
        let cached = |name: &str| cached_by(&prefixes, &name.parse().unwrap());
        assert_eq!((cached("hub/nginx"), cached("hubs/nginx"), cached("hub")), (Some("hub".into()), None, None));
        assert!(cached_by(&BTreeSet::from(["ROOT".to_owned()]), &"any".parse().unwrap()).is_some());
    }
}
