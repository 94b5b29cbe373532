use super::*;
use crate::check_images::evidence::{ImageKind, StorageStatus};

const SERVICE_ARN: &str = "arn:aws:ecs:eu-west-1:222222222222:service/main/shop";

fn digest(n: u64) -> Digest {
    format!("sha256:{n:064x}").parse().unwrap()
}

fn arn(revision: u32) -> TaskDefinitionArn {
    format!("arn:aws:ecs:eu-west-1:222222222222:task-definition/shop:{revision}").parse().unwrap()
}

fn place() -> Place {
    ("222222222222".parse().unwrap(), "eu-west-1".parse().unwrap())
}

fn repository() -> Repository {
    serde_json::from_value(serde_json::json!({"account": "111111111111", "region": "eu-west-1", "name": "shop"}))
        .unwrap()
}

fn reference(suffix: &str) -> ImageReference {
    format!("111111111111.dkr.ecr.eu-west-1.amazonaws.com/shop{suffix}").parse().unwrap()
}

/// Image 1 with the tags `latest` and `v1`; index 2 with the child 3; image 4 without a tag.
fn images() -> (BTreeMap<Digest, ImageFacts>, BTreeMap<Digest, BTreeSet<Digest>>) {
    let image = |n, tags: &[&str]| ImageFacts {
        digest: digest(n),
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        pushed_at: Timestamp::UNIX_EPOCH,
        pulled_at: None,
        size_in_bytes: 1,
        kind: ImageKind::Single,
        status: StorageStatus::Active,
        subject: None,
    };
    let images = [image(1, &["latest", "v1"]), image(2, &["multi"]), image(3, &[]), image(4, &[])];
    let parents = BTreeMap::from([(digest(3), BTreeSet::from([digest(2)]))]);
    (images.into_iter().map(|image| (image.digest.clone(), image)).collect(), parents)
}

fn revision(number: u32, status: RevisionStatus, image: &str) -> Revision {
    Revision {
        arn: arn(number),
        status,
        images: vec![reference(image)],
        captured_at: Some(Timestamp::from_second(i64::from(number)).unwrap()),
    }
}

/// Nothing runs, and everything was asked.
fn quiet() -> Landscape {
    Landscape {
        runners: Found::Known(vec![]),
        other_users: Found::Known(vec![]),
        live: BTreeMap::from([(place(), Found::Known(vec![]))]),
        live_revisions: BTreeMap::new(),
    }
}

fn seen(revisions: &[Revision], landscape: &Landscape) -> Result<Usage, Because> {
    let (images, parents) = images();
    let repository = repository();
    usage(&Named::new(&repository, &images, &parents), revisions, landscape, &BTreeSet::from([place()]))
}

fn used(usage: &Usage) -> Vec<u64> {
    let all = usage.uses.keys().chain(usage.pinned.keys());
    let numbers: BTreeSet<u64> = all.map(|digest| u64::from_str_radix(digest.hex(), 16).unwrap()).collect();
    numbers.into_iter().collect()
}

fn service(pinned: Found<Vec<Pinned>>) -> LiveService {
    LiveService { service: SERVICE_ARN.into(), task_definitions: [arn(1)].into(), revisions: vec!["r".into()], pinned }
}

#[test]
fn an_active_revision_uses_what_it_names_by_any_name() {
    for (name, expected) in [
        (String::new(), vec![1]),
        (":latest".into(), vec![1]),
        (":v1".into(), vec![1]),
        (":gone".into(), vec![]),
        (format!("@{}", digest(4)), vec![4]),
        (format!(":v1@{}", digest(4)), vec![1, 4]),
        (format!("@{}", digest(3)), vec![2, 3]),
    ] {
        let usage = seen(&[revision(1, RevisionStatus::Active, &name)], &quiet()).unwrap();
        assert_eq!(used(&usage), expected, "{name}");
    }
}

#[test]
fn an_inactive_revision_is_a_use_only_while_something_runs_it() {
    let revisions = [revision(1, RevisionStatus::Inactive, ":v1")];
    let unused = seen(&revisions, &quiet()).unwrap();
    assert_eq!(used(&unused), Vec::<u64>::new());
    assert_eq!(unused.last_named.get(&digest(1)), Some(&Timestamp::from_second(1).unwrap()));

    for resource_type in ["AWS::ECS::Service", "AWS::ECS::TaskSet", "AWS::Events::Rule"] {
        let runner = Runner {
            resource_type,
            is_service: false,
            account: "333333333333".parse().unwrap(),
            region: "eu-west-1".parse().unwrap(),
            resource: "arn:x".into(),
            cluster: None,
            task_definitions: vec![arn(1)],
        };
        let landscape = Landscape { runners: Found::Known(vec![runner]), ..quiet() };
        assert_eq!(used(&seen(&revisions, &landscape).unwrap()), [1], "{resource_type}");
    }
}

#[test]
fn a_live_deployment_is_a_use_even_of_a_revision_that_no_query_found() {
    let pin = Pinned { task_definition: arn(1), image: reference(":v1"), digest: digest(1) };
    let landscape = Landscape {
        live: BTreeMap::from([(place(), Found::Known(vec![service(Found::Known(vec![pin]))]))]),
        live_revisions: BTreeMap::from([(arn(1), Ok(vec![reference(":v1")]))]),
        ..quiet()
    };
    assert_eq!(used(&seen(&[], &landscape).unwrap()), [1]);
}

#[test]
fn a_pinned_digest_is_a_use_whatever_the_tag_says_now() {
    let pin = Pinned { task_definition: arn(1), image: reference(":v1"), digest: digest(4) };
    let landscape = Landscape {
        live: BTreeMap::from([(place(), Found::Known(vec![service(Found::Known(vec![pin]))]))]),
        live_revisions: BTreeMap::from([(arn(1), Ok(vec![reference(":v1")]))]),
        ..quiet()
    };
    let usage = seen(&[], &landscape).unwrap();
    assert_eq!(usage.pinned.keys().collect::<Vec<_>>(), [&digest(4)]);
}

#[test]
fn a_service_that_does_not_tell_its_digest_leaves_the_repository_unknown() {
    let throttled = Because::new(Gap::PinnedDigests, "throttled");
    for pinned in [Found::Known(vec![]), Found::Missing(throttled)] {
        let landscape = Landscape {
            live: BTreeMap::from([(place(), Found::Known(vec![service(pinned)]))]),
            live_revisions: BTreeMap::from([(arn(1), Ok(vec![reference(":v1")]))]),
            ..quiet()
        };
        assert_eq!(seen(&[], &landscape).unwrap_err().gap, Gap::PinnedDigests);
    }
}

#[test]
fn whatever_was_not_seen_is_a_gap() {
    let because = || Because::new(Gap::Usage, "throttled");
    let live = |services| BTreeMap::from([(place(), services)]);
    for landscape in [
        Landscape { runners: Found::Missing(because()), ..quiet() },
        Landscape { other_users: Found::Missing(because()), ..quiet() },
        Landscape { live: BTreeMap::new(), ..quiet() },
        Landscape { live: live(Found::Missing(because())), ..quiet() },
        Landscape { live: live(Found::Known(vec![service(Found::Known(vec![]))])), ..quiet() },
        Landscape {
            live: live(Found::Known(vec![service(Found::Known(vec![]))])),
            live_revisions: BTreeMap::from([(arn(1), Err(because()))]),
            ..quiet()
        },
    ] {
        assert!(seen(&[], &landscape).is_err(), "{landscape:?}");
    }
}

#[test]
fn users_outside_ecs_count_by_reference_and_by_digest() {
    let user = |images, digests| OtherUser {
        resource_type: "AWS::Lambda::Function",
        account: "222222222222".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        resource: "arn:x".into(),
        images,
        digests,
    };
    let users = vec![user(vec![reference(":multi")], vec![]), user(vec![], vec![digest(4)])];
    let landscape = Landscape { other_users: Found::Known(users), ..quiet() };
    assert_eq!(used(&seen(&[], &landscape).unwrap()), [2, 4]);
}
