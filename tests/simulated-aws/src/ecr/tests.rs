//! Each operation and its refusals, through the SDK's client.

use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecr::primitives::Blob;
use aws_sdk_ecr::types::{
    DescribeImagesFilter, ImageDetail, ImageIdentifier, ImageStatusFilter, ImageTagMutability,
    ImageTagMutabilityExclusionFilter, ImageTagMutabilityExclusionFilterType, ListImagesFilter, SubjectIdentifier, Tag,
    TagStatus, TargetStorageClass,
};
use jiff::SignedDuration;

use super::*;
use crate::SimulatedAws;

const REPOSITORY: &str = "team/app";

struct Bench {
    aws: SimulatedAws,
    account: AccountId,
    region: Region,
    ecr: Client,
}

/// A world with one account and one repository.
fn bench() -> Bench {
    let aws = SimulatedAws::new(1);
    let account = AccountId::new("111111111111").unwrap();
    let region = Region::new("eu-west-1").unwrap();
    aws.world().add_account(&account);
    let ecr = Client::new(&aws.sdk_config(Principal::Administrator { account: account.clone() }, &region));
    let bench = Bench { aws, account, region, ecr };
    bench.aws.run(bench.ecr.create_repository().repository_name(REPOSITORY).send()).unwrap();
    bench
}

impl Bench {
    fn push(&self, tag: Option<&str>, contents: &str) -> String {
        push_image(&mut self.aws.world(), &self.account, &self.region, REPOSITORY, tag, contents).unwrap()
    }

    fn push_index(&self, tag: Option<&str>, children: &[&String]) -> String {
        let children: Vec<String> = children.iter().map(|child| (*child).clone()).collect();
        push_index(&mut self.aws.world(), &self.account, &self.region, REPOSITORY, tag, &children).unwrap()
    }

    /// Deletes, and returns what was deleted and the failures' codes.
    fn delete(&self, ids: &[ImageIdentifier]) -> (Vec<(String, Option<String>)>, Vec<String>) {
        let call = self.ecr.batch_delete_image().repository_name(REPOSITORY).set_image_ids(Some(ids.to_vec()));
        let answer = self.aws.run(call.send()).unwrap();
        let deleted = answer
            .image_ids()
            .iter()
            .map(|id| (id.image_digest().unwrap().to_owned(), id.image_tag().map(str::to_owned)));
        let failures = answer.failures().iter().map(|failure| failure.failure_code().unwrap().as_str().to_owned());
        (deleted.collect(), failures.collect())
    }

    fn describe(&self, id: ImageIdentifier) -> Result<ImageDetail, String> {
        let filter = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
        let call = self.ecr.describe_images().repository_name(REPOSITORY).image_ids(id).filter(filter);
        let answer = self.aws.run(call.send()).map_err(|error| code(&error))?;
        Ok(answer.image_details()[0].clone())
    }

    fn tags(&self) -> Vec<String> {
        let world = self.aws.world();
        let repository = repository(&world, &self.account, &self.region, REPOSITORY).unwrap();
        repository.image_tags.keys().cloned().collect()
    }

    fn digests(&self) -> Vec<String> {
        images(&self.aws.world(), &self.account, &self.region, REPOSITORY).map(|image| image.digest.clone()).collect()
    }

    fn policy(&self, policy: &str) {
        let call = self.ecr.set_repository_policy().repository_name(REPOSITORY).policy_text(policy);
        self.aws.run(call.send()).unwrap();
    }
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or("no service error").to_owned()
}

fn by_tag(tag: &str) -> ImageIdentifier {
    ImageIdentifier::builder().image_tag(tag).build()
}

fn by_digest(digest: &str) -> ImageIdentifier {
    ImageIdentifier::builder().image_digest(digest).build()
}

fn by_both(tag: &str, digest: &str) -> ImageIdentifier {
    ImageIdentifier::builder().image_tag(tag).image_digest(digest).build()
}

fn unknown_digest() -> String {
    format!("sha256:{}", "0".repeat(64))
}

#[test]
fn repositories_are_made_described_in_pages_and_deleted() {
    let bench = bench();
    let (aws, ecr) = (&bench.aws, &bench.ecr);
    for name in ["b", "c/d"].map(|name| format!("x{name}")) {
        aws.run(ecr.create_repository().repository_name(name).send()).unwrap();
    }
    let first = aws.run(ecr.describe_repositories().max_results(2).send()).unwrap();
    assert_eq!(first.repositories().len(), 2);
    assert_eq!(
        first.repositories()[0].repository_arn(),
        Some("arn:aws:ecr:eu-west-1:111111111111:repository/team/app")
    );
    let rest = aws.run(ecr.describe_repositories().max_results(2).set_next_token(first.next_token).send()).unwrap();
    assert_eq!(rest.repositories().iter().map(|it| it.repository_name().unwrap()).collect::<Vec<_>>(), ["xc/d"]);
    assert_eq!(rest.next_token(), None);

    let twice = aws.run(ecr.create_repository().repository_name(REPOSITORY).send()).unwrap_err();
    assert_eq!(code(&twice), "RepositoryAlreadyExistsException");
    let bad = aws.run(ecr.create_repository().repository_name("Bad_").send()).unwrap_err();
    assert_eq!(code(&bad), "InvalidParameterException");
    let missing = aws.run(ecr.describe_repositories().repository_names("none").send()).unwrap_err();
    assert_eq!(code(&missing), "RepositoryNotFoundException");

    bench.push(Some("v1"), "one");
    let full = aws.run(ecr.delete_repository().repository_name(REPOSITORY).send()).unwrap_err();
    assert_eq!(code(&full), "RepositoryNotEmptyException");
    aws.run(ecr.delete_repository().repository_name(REPOSITORY).force(true).send()).unwrap();
    let gone = aws.run(ecr.delete_repository().repository_name(REPOSITORY).send()).unwrap_err();
    assert_eq!(code(&gone), "RepositoryNotFoundException");
}

#[test]
fn repository_tags_come_only_from_list_tags_for_resource() {
    let bench = bench();
    let (aws, ecr) = (&bench.aws, &bench.ecr);
    let arn = "arn:aws:ecr:eu-west-1:111111111111:repository/team/app";
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
    aws.run(ecr.tag_resource().resource_arn(arn).tags(tag("ecr-cleanup", "enabled")).tags(tag("a", "b")).send())
        .unwrap();
    aws.run(ecr.untag_resource().resource_arn(arn).tag_keys("a").send()).unwrap();
    let tags = aws.run(ecr.list_tags_for_resource().resource_arn(arn).send()).unwrap();
    assert_eq!(tags.tags(), [tag("ecr-cleanup", "enabled")]);
    let bad = aws.run(ecr.tag_resource().resource_arn(arn).tags(tag("a", "b;c")).send()).unwrap_err();
    assert_eq!(code(&bad), "InvalidTagParameterException");
    let missing = aws.run(ecr.list_tags_for_resource().resource_arn(format!("{arn}2")).send()).unwrap_err();
    assert_eq!(code(&missing), "RepositoryNotFoundException");
}

#[test]
fn repository_policies_are_set_read_and_deleted() {
    let bench = bench();
    let (aws, ecr) = (&bench.aws, &bench.ecr);
    let none = aws.run(ecr.get_repository_policy().repository_name(REPOSITORY).send()).unwrap_err();
    assert_eq!(code(&none), "RepositoryPolicyNotFoundException");
    let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    bench.policy(policy);
    let read = aws.run(ecr.get_repository_policy().repository_name(REPOSITORY).send()).unwrap();
    assert_eq!(read.policy_text(), Some(policy));
    let bad = aws.run(ecr.set_repository_policy().repository_name(REPOSITORY).policy_text("{").send()).unwrap_err();
    assert_eq!(code(&bad), "InvalidParameterException");
    aws.run(ecr.delete_repository_policy().repository_name(REPOSITORY).send()).unwrap();
    let none = aws.run(ecr.delete_repository_policy().repository_name(REPOSITORY).send()).unwrap_err();
    assert_eq!(code(&none), "RepositoryPolicyNotFoundException");
}

#[test]
fn an_image_is_pushed_layer_by_layer_and_has_the_digest_of_its_manifest() {
    let bench = bench();
    let (aws, ecr) = (&bench.aws, &bench.ecr);
    let (config, layer) = (b"{}".to_vec(), b"layer".to_vec());
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": manifest::digest_of(&config), "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": manifest::digest_of(&layer), "size": 5}],
    })
    .to_string();
    let put = || ecr.put_image().repository_name(REPOSITORY).image_manifest(&manifest).image_tag("v1");
    assert_eq!(code(&aws.run(put().send()).unwrap_err()), "LayersNotFoundException");
    for blob in [config, layer] {
        let upload = aws.run(ecr.initiate_layer_upload().repository_name(REPOSITORY).send()).unwrap();
        let id = upload.upload_id().unwrap();
        let last = i64::try_from(blob.len()).unwrap() - 1;
        let digest = manifest::digest_of(&blob);
        let part =
            ecr.upload_layer_part().repository_name(REPOSITORY).upload_id(id).part_first_byte(0).part_last_byte(last);
        aws.run(part.layer_part_blob(Blob::new(blob)).send()).unwrap();
        let complete = || ecr.complete_layer_upload().repository_name(REPOSITORY).upload_id(id);
        let wrong = aws.run(complete().layer_digests(unknown_digest()).send()).unwrap_err();
        assert_eq!(code(&wrong), "InvalidLayerException");
        aws.run(complete().layer_digests(&digest).send()).unwrap();
        let check = ecr.batch_check_layer_availability().repository_name(REPOSITORY).layer_digests(digest);
        let check = aws.run(check.send()).unwrap();
        assert_eq!(check.layers()[0].layer_availability().unwrap().as_str(), "AVAILABLE");
    }
    let wrong = aws.run(put().image_digest(unknown_digest()).send()).unwrap_err();
    assert_eq!(code(&wrong), "ImageDigestDoesNotMatchException");
    let image = aws.run(put().send()).unwrap().image.unwrap();
    let digest = manifest::digest_of(manifest.as_bytes());
    assert_eq!(image.image_id().unwrap().image_digest(), Some(digest.as_str()));
    assert_eq!(code(&aws.run(put().send()).unwrap_err()), "ImageAlreadyExistsException");

    let detail = bench.describe(by_tag("v1")).unwrap();
    assert_eq!(detail.image_size_in_bytes(), Some(7));
    assert_eq!(detail.artifact_media_type(), Some("application/vnd.oci.image.config.v1+json"));
    assert_eq!(detail.last_recorded_pull_time(), None);
}

#[test]
fn an_index_needs_its_children() {
    let bench = bench();
    let children = [unknown_digest()];
    let error =
        push_index(&mut bench.aws.world(), &bench.account, &bench.region, REPOSITORY, None, &children).unwrap_err();
    assert_eq!(error.code, "ReferencedImagesNotFoundException");
}

#[test]
fn mutability_decides_whether_a_push_moves_a_tag() {
    let filter = || {
        let builder = ImageTagMutabilityExclusionFilter::builder();
        builder.filter_type(ImageTagMutabilityExclusionFilterType::Wildcard).filter("dev-*").build().unwrap()
    };
    for (kind, filters, release_moves, dev_moves) in [
        (ImageTagMutability::Mutable, None, true, true),
        (ImageTagMutability::Immutable, None, false, false),
        (ImageTagMutability::ImmutableWithExclusion, Some(vec![filter()]), false, true),
        (ImageTagMutability::MutableWithExclusion, Some(vec![filter()]), true, false),
    ] {
        let bench = bench();
        let call = bench.ecr.put_image_tag_mutability().repository_name(REPOSITORY).image_tag_mutability(kind.clone());
        bench.aws.run(call.set_image_tag_mutability_exclusion_filters(filters).send()).unwrap();
        for (tag, moves) in [("1.0", release_moves), ("dev-1", dev_moves)] {
            bench.push(Some(tag), &format!("first {tag}"));
            let mut world = bench.aws.world();
            let second =
                push_image(&mut world, &bench.account, &bench.region, REPOSITORY, Some(tag), &format!("second {tag}"));
            let refused = second.err().map(|error| error.code);
            let expected = (!moves).then(|| "ImageTagAlreadyExistsException".to_owned());
            assert_eq!(refused, expected, "{kind:?} {tag}");
        }
    }
    let bench = bench();
    let call = bench.ecr.put_image_tag_mutability().repository_name(REPOSITORY);
    let call = call.image_tag_mutability(ImageTagMutability::ImmutableWithExclusion);
    assert_eq!(code(&bench.aws.run(call.send()).unwrap_err()), "InvalidParameterException");
}

#[test]
fn described_images_obey_ids_filters_and_pages() {
    let bench = bench();
    let (aws, ecr) = (&bench.aws, &bench.ecr);
    for number in 0..5 {
        bench.push(Some(&format!("v{number}")), &format!("image {number}"));
    }
    bench.push(Some("v0"), "moved");
    let count = |tag_status| {
        let filter = DescribeImagesFilter::builder().tag_status(tag_status).build();
        aws.run(ecr.describe_images().repository_name(REPOSITORY).filter(filter).send()).unwrap().image_details().len()
    };
    assert_eq!((count(TagStatus::Tagged), count(TagStatus::Untagged), count(TagStatus::Any)), (5, 1, 6));

    let mut seen = Vec::new();
    let mut token = None;
    loop {
        let call = ecr.describe_images().repository_name(REPOSITORY).max_results(4).set_next_token(token);
        let page = aws.run(call.send()).unwrap();
        seen.extend(page.image_details().iter().map(|detail| detail.image_digest().unwrap().to_owned()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, bench.digests());

    assert_eq!(bench.describe(by_tag("none")).unwrap_err(), "ImageNotFoundException");
    assert_eq!(bench.describe(by_digest(&unknown_digest())).unwrap_err(), "ImageNotFoundException");
    let many = ecr.describe_images().repository_name(REPOSITORY).set_image_ids(Some(vec![by_tag("v1"); 101]));
    assert_eq!(code(&aws.run(many.send()).unwrap_err()), "InvalidParameterException");
    let large = ecr.describe_images().repository_name(REPOSITORY).max_results(1001);
    assert_eq!(code(&aws.run(large.send()).unwrap_err()), "InvalidParameterException");
    let both = ecr.describe_images().repository_name(REPOSITORY).image_ids(by_tag("v1")).max_results(5);
    assert_eq!(code(&aws.run(both.send()).unwrap_err()), "InvalidParameterException");

    let untagged = ListImagesFilter::builder().tag_status(TagStatus::Untagged).build();
    let listed = aws.run(ecr.list_images().repository_name(REPOSITORY).filter(untagged).send()).unwrap();
    assert_eq!(listed.image_ids().iter().map(|id| id.image_tag()).collect::<Vec<_>>(), [None]);
}

#[test]
fn deleting_a_tag_removes_the_image_only_with_its_last_tag() {
    let bench = bench();
    let digest = bench.push(Some("v1"), "one");
    bench.push(Some("latest"), "one");
    assert_eq!(bench.delete(&[by_tag("v1")]), (vec![(digest.clone(), Some("v1".to_owned()))], vec![]));
    assert_eq!(bench.tags(), ["latest"]);
    bench.delete(&[by_tag("latest")]);
    assert_eq!(bench.digests(), [""; 0]);
    assert_eq!(bench.delete(&[by_tag("latest")]).1, ["ImageNotFound"]);
    let removed: Vec<Removed> = removals(&bench.aws.world()).iter().map(|removal| removal.removed.clone()).collect();
    assert_eq!(removed, [Removed::Tag("v1".to_owned()), Removed::Image(vec!["latest".to_owned()])]);
}

#[test]
fn deleting_a_digest_removes_all_its_tags() {
    let bench = bench();
    let digest = bench.push(Some("v1"), "one");
    bench.push(Some("latest"), "one");
    let tags = ["latest", "v1"].map(|tag| (digest.clone(), Some(tag.to_owned())));
    assert_eq!(bench.delete(&[by_digest(&digest)]), (tags.to_vec(), vec![]));
    assert_eq!(bench.tags(), [""; 0]);
}

#[test]
fn a_tag_that_moved_is_refused_and_a_match_does_what_the_behaviour_says() {
    for (removes_image, left) in [(true, vec![]), (false, vec!["latest".to_owned()])] {
        let bench = bench();
        bench.aws.world().behaviours.ecr_delete_by_tag_and_digest_removes_image = removes_image;
        let digest = bench.push(Some("v1"), "one");
        bench.push(Some("latest"), "one");
        let other = bench.push(Some("v2"), "two");
        let (_, failures) = bench.delete(&[by_both("v1", &other), by_both("none", &digest)]);
        assert_eq!(failures, ["ImageTagDoesNotMatchDigest", "ImageNotFound"]);
        bench.delete(&[by_both("v1", &digest), by_tag("v2")]);
        assert_eq!(bench.tags(), left);
    }
}

#[test]
fn a_batch_is_not_atomic_and_says_what_failed() {
    let bench = bench();
    let digest = bench.push(None, "one");
    let nothing = ImageIdentifier::builder().build();
    let (deleted, failures) =
        bench.delete(&[nothing, by_digest("sha256:short"), by_tag("bad tag"), by_tag("none"), by_digest(&digest)]);
    assert_eq!(deleted, [(digest, None)]);
    assert_eq!(failures, ["MissingDigestAndTag", "InvalidImageDigest", "InvalidImageTag", "ImageNotFound"]);
    let call = bench.ecr.batch_delete_image().repository_name(REPOSITORY).set_image_ids(Some(vec![by_tag("x"); 101]));
    assert_eq!(code(&bench.aws.run(call.send()).unwrap_err()), "InvalidParameterException");
}

#[test]
fn what_an_index_holds_cannot_be_deleted() {
    let bench = bench();
    let (amd, arm) = (bench.push(Some("amd"), "amd64"), bench.push(None, "arm64"));
    let index = bench.push_index(Some("multi"), &[&amd, &arm]);
    let held = "ImageReferencedByManifestList";
    assert_eq!(bench.delete(&[by_digest(&arm), by_tag("amd")]), (vec![], vec![held.to_owned(), held.to_owned()]));
    assert_eq!(bench.tags(), ["amd", "multi"]);
    bench.aws.world().behaviours.ecr_last_tag_of_index_child_can_go = true;
    bench.delete(&[by_tag("amd")]);
    assert_eq!(bench.tags(), ["multi"]);
    assert_eq!(bench.delete(&[by_digest(&index), by_digest(&arm)]).1, [held]);
    bench.delete(&[by_digest(&arm), by_digest(&amd)]);
    assert_eq!(bench.digests(), [""; 0]);
}

#[test]
fn one_batch_may_delete_an_index_and_then_its_children() {
    let bench = bench();
    bench.aws.world().behaviours.ecr_batch_delete_sees_its_own_deletions = true;
    let child = bench.push(None, "amd64");
    let index = bench.push_index(Some("multi"), &[&child]);
    assert_eq!(bench.delete(&[by_digest(&index), by_digest(&child)]).1, [""; 0]);
    assert_eq!(bench.digests(), [""; 0]);
}

#[test]
fn referrers_are_listed_in_pages_of_at_most_fifty() {
    let bench = bench();
    let (aws, ecr) = (&bench.aws, &bench.ecr);
    let subject = bench.push(Some("v1"), "one");
    for number in 0..25 {
        let artifact_type = format!("application/vnd.example.{number}");
        push_referrer(&mut aws.world(), &bench.account, &bench.region, REPOSITORY, &subject, &artifact_type).unwrap();
    }
    let id = || SubjectIdentifier::builder().image_digest(&subject).build().unwrap();
    let list = || ecr.list_image_referrers().repository_name(REPOSITORY).subject_id(id());
    let first = aws.run(list().send()).unwrap();
    assert_eq!(first.referrers().len(), 20, "the default page");
    let rest = aws.run(list().set_next_token(first.next_token).send()).unwrap();
    assert_eq!(rest.referrers().len(), 5);
    assert_eq!(code(&aws.run(list().max_results(51).send()).unwrap_err()), "InvalidParameterException");
    let detail = bench.describe(by_digest(rest.referrers()[0].digest())).unwrap();
    assert_eq!(detail.subject_manifest_digest(), Some(subject.as_str()));
}

#[test]
fn cosign_parts_stand_under_a_tag_made_of_the_digest() {
    let bench = bench();
    let subject = bench.push(Some("v1"), "one");
    push_cosign(&mut bench.aws.world(), &bench.account, &bench.region, REPOSITORY, &subject, CosignPart::Signature)
        .unwrap();
    let hex = subject.strip_prefix("sha256:").unwrap();
    assert_eq!(bench.tags(), [format!("sha256-{hex}.sig"), "v1".to_owned()]);
}

#[test]
fn an_archived_image_is_hidden_cannot_be_pulled_and_comes_back_after_a_while() {
    let bench = bench();
    let (aws, ecr) = (&bench.aws, &bench.ecr);
    let digest = bench.push(Some("v1"), "one");
    let update = |class| {
        let call = ecr.update_image_storage_class().repository_name(REPOSITORY).image_id(by_tag("v1"));
        let answer = aws.run(call.target_storage_class(class).send()).map_err(|error| code(&error))?;
        Ok::<_, String>(answer.image_status.unwrap().as_str().to_owned())
    };
    assert_eq!(update(TargetStorageClass::Archive).unwrap(), "ARCHIVED");
    let again = update(TargetStorageClass::Archive).unwrap_err();
    assert_eq!(again, "ImageStorageClassUpdateNotSupportedException");
    assert_eq!(aws.run(ecr.describe_images().repository_name(REPOSITORY).send()).unwrap().image_details().len(), 0);
    assert_eq!(bench.describe(by_tag("v1")).unwrap().image_status().unwrap().as_str(), "ARCHIVED");
    let get = aws.run(ecr.batch_get_image().repository_name(REPOSITORY).image_ids(by_tag("v1")).send()).unwrap();
    assert_eq!(get.failures()[0].failure_code().unwrap().as_str(), "ImageInaccessible");

    for (missing, expected) in [(true, Err("ImageNotFoundException".to_owned())), (false, Ok(0))] {
        aws.world().behaviours.ecr_image_hidden_by_filter_is_missing = missing;
        let call = ecr.describe_images().repository_name(REPOSITORY).image_ids(by_tag("v1"));
        let answer = aws.run(call.send()).map(|it| it.image_details().len()).map_err(|error| code(&error));
        assert_eq!(answer, expected);
    }

    assert_eq!(update(TargetStorageClass::Standard).unwrap(), "ACTIVATING");
    aws.advance(SignedDuration::from_mins(19));
    assert_eq!(bench.describe(by_digest(&digest)).unwrap().image_status().unwrap().as_str(), "ACTIVATING");
    aws.advance(SignedDuration::from_mins(1));
    let detail = bench.describe(by_digest(&digest)).unwrap();
    assert_eq!(detail.image_status().unwrap().as_str(), "ACTIVE");
    assert!(detail.last_archived_at().is_some() && detail.last_activated_at().is_some());
}

#[test]
fn pushing_an_archived_image_again_brings_it_back() {
    let bench = bench();
    bench.push(Some("v1"), "one");
    let call = bench.ecr.update_image_storage_class().repository_name(REPOSITORY).image_id(by_tag("v1"));
    bench.aws.run(call.target_storage_class(TargetStorageClass::Archive).send()).unwrap();
    bench.push(Some("v1"), "one");
    assert_eq!(bench.describe(by_tag("v1")).unwrap().image_status().unwrap().as_str(), "ACTIVE");
}

#[test]
fn the_pull_time_is_refreshed_once_a_day() {
    let bench = bench();
    let digest = bench.push(Some("v1"), "one");
    let reference = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1";
    let puller = Principal::Administrator { account: bench.account.clone() };
    let recorded = || bench.describe(by_digest(&digest)).unwrap().last_recorded_pull_time().unwrap().secs();
    let pulled = pull(&mut bench.aws.world(), &puller, reference).unwrap().unwrap();
    assert_eq!((pulled.digest.as_str(), pulled.platform_digest.as_str()), (digest.as_str(), digest.as_str()));
    let first = recorded();
    bench.aws.advance(SignedDuration::from_hours(23));
    pull(&mut bench.aws.world(), &puller, reference).unwrap();
    assert_eq!(recorded(), first, "less than a day");
    bench.aws.advance(SignedDuration::from_hours(1));
    pull(&mut bench.aws.world(), &puller, reference).unwrap();
    assert_eq!(recorded(), first + 24 * 3600);
}

#[test]
fn reading_a_manifest_counts_as_a_pull_or_not() {
    for counts in [true, false] {
        let bench = bench();
        bench.aws.world().behaviours.ecr_batch_get_image_counts_as_pull = counts;
        bench.push(Some("v1"), "one");
        let call =
            bench.ecr.batch_get_image().repository_name(REPOSITORY).image_ids(by_tag("v1")).image_ids(by_tag("v2"));
        let answer = bench.aws.run(call.send()).unwrap();
        assert_eq!((answer.images().len(), answer.failures().len()), (1, 1));
        assert_eq!(bench.describe(by_tag("v1")).unwrap().last_recorded_pull_time().is_some(), counts);
    }
}

#[test]
fn an_excluded_roles_reads_are_not_recorded() {
    let bench = bench();
    let (aws, ecr) = (&bench.aws, &bench.ecr);
    let arn = "arn:aws:iam::111111111111:role/path/checker";
    aws.run(ecr.register_pull_time_update_exclusion().principal_arn(arn).send()).unwrap();
    let twice = aws.run(ecr.register_pull_time_update_exclusion().principal_arn(arn).send()).unwrap_err();
    assert_eq!(code(&twice), "ExclusionAlreadyExistsException");
    let session = |role: &str| Principal::Role {
        account: bench.account.clone(),
        role: role.to_owned(),
        session: "one".to_owned(),
    };
    let home = Home { account: bench.account.clone(), region: bench.region.clone() };
    assert!(image::excluded(&aws.world(), &home, &session("checker")));
    assert!(!image::excluded(&aws.world(), &home, &session("other")));
    let listed = aws.run(ecr.list_pull_time_update_exclusions().send()).unwrap();
    assert_eq!(listed.pull_time_update_exclusions(), [arn]);
    aws.run(ecr.deregister_pull_time_update_exclusion().principal_arn(arn).send()).unwrap();
    let gone = aws.run(ecr.deregister_pull_time_update_exclusion().principal_arn(arn).send()).unwrap_err();
    assert_eq!(code(&gone), "ExclusionNotFoundException");
    let bad = aws.run(ecr.register_pull_time_update_exclusion().principal_arn("role").send()).unwrap_err();
    assert_eq!(code(&bad), "InvalidParameterException");
}

#[test]
fn pulling_what_is_not_there_fails() {
    let bench = bench();
    let puller = Principal::Administrator { account: bench.account.clone() };
    let child = bench.push(None, "amd64");
    let index = bench.push_index(Some("multi"), &[&child]);
    let host = "111111111111.dkr.ecr.eu-west-1.amazonaws.com";
    let pull = |rest: &str| pull(&mut bench.aws.world(), &puller, &format!("{host}/{rest}"));
    let pulled = pull("team/app:multi").unwrap().unwrap();
    assert_eq!((pulled.digest, pulled.platform_digest), (index, child));
    for rest in ["team/app", "team/app:v9", "other:v1", &format!("team/app@{}", unknown_digest())] {
        assert!(matches!(pull(rest), Err(PullError::NotFound { .. })), "{rest}");
    }
    assert_eq!(super::pull(&mut bench.aws.world(), &puller, "docker.io/library/nginx"), Ok(None));
}

#[test]
fn pull_through_cache_rules_are_made_described_and_deleted() {
    let bench = bench();
    let (aws, ecr) = (&bench.aws, &bench.ecr);
    let create = || {
        let call = ecr.create_pull_through_cache_rule().ecr_repository_prefix("quay");
        call.upstream_registry_url("quay.io")
    };
    aws.run(create().send()).unwrap();
    assert_eq!(code(&aws.run(create().send()).unwrap_err()), "PullThroughCacheRuleAlreadyExistsException");
    let rules = aws.run(ecr.describe_pull_through_cache_rules().send()).unwrap();
    assert_eq!(rules.pull_through_cache_rules()[0].upstream_registry_url(), Some("quay.io"));
    aws.run(ecr.delete_pull_through_cache_rule().ecr_repository_prefix("quay").send()).unwrap();
    let gone = aws.run(ecr.delete_pull_through_cache_rule().ecr_repository_prefix("quay").send()).unwrap_err();
    assert_eq!(code(&gone), "PullThroughCacheRuleNotFoundException");
}

#[test]
fn what_is_nested_and_unknown_is_refused_by_name() {
    let bench = bench();
    let input = serde_json::json!({"repositoryName": "kms", "encryptionConfiguration": {"encryptionType": "KMS"}});
    let refusal = bench.aws.call(&bench.account, &bench.region, "ecr", "CreateRepository", input).unwrap_err();
    assert_eq!(refusal.code, crate::operation::NOT_SIMULATED);
    let input = serde_json::json!({"repositoryName": REPOSITORY, "filter": {"colour": "red"}});
    let refusal = bench.aws.call(&bench.account, &bench.region, "ecr", "DescribeImages", input).unwrap_err();
    assert!(refusal.message.contains("colour"), "{refusal}");
}
