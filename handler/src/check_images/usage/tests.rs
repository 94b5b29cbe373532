use proptest::prelude::*;

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
        runners: Found::Known([].iter().collect()),
        other_users: Found::Known(vec![]),
        unreadable: BTreeMap::new(),
        live: BTreeMap::from([(place(), Found::Known(vec![]))]),
        revisions_run: BTreeMap::new(),
    }
}

/// Only accounts may pull.
fn seen(revisions: &[Revision], landscape: &Landscape) -> Result<Usage, Because> {
    seen_where(revisions, landscape, false)
}

fn seen_where(revisions: &[Revision], landscape: &Landscape, others_may_pull: bool) -> Result<Usage, Because> {
    let (images, parents) = images();
    let repository = repository();
    let named = Named::new(&repository, &images, &parents);
    usage(&named, revisions, landscape, &BTreeSet::from([place()]), others_may_pull)
}

fn used(usage: &Usage) -> Vec<u64> {
    let all = usage.uses.keys().chain(usage.pinned.as_ref().unwrap().keys());
    let numbers: BTreeSet<u64> = all.map(|digest| u64::from_str_radix(digest.hex(), 16).unwrap()).collect();
    numbers.into_iter().collect()
}

/// Something that runs a revision.
fn runner(resource_type: &'static str, task_definition: TaskDefinitionArn) -> Runner {
    Runner {
        resource_type,
        is_service: false,
        account: "333333333333".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        resource: "arn:x".into(),
        cluster: None,
        task_definitions: vec![task_definition],
    }
}

/// A service with this many live deployments of the first task definition.
fn service_with(deployments: usize, pinned: Found<Vec<PinnedRevision>>) -> LiveService {
    let task_definitions = [(arn(1), deployments)].into();
    LiveService {
        service: SERVICE_ARN.into(),
        cluster: "default".into(),
        task_definitions,
        revisions: vec!["r".into()],
        pinned,
        tells_past_deployments: true,
        began_at: None,
        deployed_at: None,
        replaced: Found::Known(vec![]),
    }
}

fn service(pinned: Found<Vec<PinnedRevision>>) -> LiveService {
    service_with(1, pinned)
}

/// A service revision of the first task definition that pinned this for `:v1`.
fn pin(digest: Option<Digest>) -> PinnedRevision {
    PinnedRevision { arn: "r".into(), task_definition: arn(1), images: vec![(reference(":v1"), digest)] }
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
    assert_eq!(unused.last_named.unwrap().get(&digest(1)), Some(&Timestamp::from_second(1).unwrap()));

    for resource_type in ["AWS::ECS::Service", "AWS::ECS::TaskSet", "AWS::Events::Rule"] {
        let landscape =
            Landscape { runners: Found::Known([runner(resource_type, arn(1))].iter().collect()), ..quiet() };
        assert_eq!(used(&seen(&revisions, &landscape).unwrap()), [1], "{resource_type}");
    }
}

#[test]
fn a_revision_that_is_run_and_gone_from_config_has_to_be_read_where_it_may_pull() {
    let landscape = |task_definition: TaskDefinitionArn, read: Option<Result<RevisionImages, Because>>| Landscape {
        revisions_run: read.into_iter().map(|read| (task_definition.clone(), read)).collect(),
        runners: Found::Known([runner("AWS::Events::Rule", task_definition)].iter().collect()),
        ..quiet()
    };
    let named = || Some(Ok(RevisionImages::Named(vec![reference(":v1")])));
    let refused = || Some(Err(Because::new(Gap::Deployments, "the role cannot be assumed")));
    assert_eq!(used(&seen(&[], &landscape(arn(1), named())).unwrap()), [1]);
    assert_eq!(used(&seen(&[], &landscape(arn(1), Some(Ok(RevisionImages::NoSuchRevision)))).unwrap()), [0u64; 0]);
    for read in [None, refused()] {
        assert_eq!(seen(&[], &landscape(arn(1), read)).unwrap_err().gap, Gap::Deployments);
    }
    let found = [revision(1, RevisionStatus::Inactive, ":v1")];
    assert_eq!(used(&seen(&found, &landscape(arn(1), refused())).unwrap()), [1], "a query has read it");

    let elsewhere: TaskDefinitionArn = "arn:aws:ecs:eu-west-1:444444444444:task-definition/shop:1".parse().unwrap();
    assert_eq!(used(&seen(&[], &landscape(elsewhere.clone(), None)).unwrap()), [0u64; 0], "it may not pull");
    let found = [Revision { arn: elsewhere.clone(), ..revision(1, RevisionStatus::Inactive, ":v1") }];
    assert_eq!(used(&seen(&found, &landscape(elsewhere, None)).unwrap()), [1], "what Config shows counts");
}

#[test]
fn a_live_deployment_is_a_use_even_of_a_revision_that_no_query_found() {
    let landscape = Landscape {
        live: BTreeMap::from([(place(), Found::Known(vec![service(Found::Known(vec![pin(Some(digest(1)))]))]))]),
        revisions_run: BTreeMap::from([(arn(1), Ok(RevisionImages::Named(vec![reference(":v1")])))]),
        ..quiet()
    };
    assert_eq!(used(&seen(&[], &landscape).unwrap()), [1]);
}

#[test]
fn a_pinned_digest_is_a_use_whatever_the_tag_says_now() {
    let landscape = Landscape {
        live: BTreeMap::from([(place(), Found::Known(vec![service(Found::Known(vec![pin(Some(digest(4)))]))]))]),
        revisions_run: BTreeMap::from([(arn(1), Ok(RevisionImages::Named(vec![reference(":v1")])))]),
        ..quiet()
    };
    let usage = seen(&[], &landscape).unwrap();
    assert_eq!(usage.pinned.unwrap().into_keys().collect::<Vec<_>>(), [digest(4)]);
}

#[test]
fn a_service_that_does_not_tell_its_digest_leaves_unknown_what_is_pinned_but_not_what_is_named() {
    let throttled = Because::new(Gap::PinnedDigests, "throttled");
    let other = PinnedRevision { task_definition: arn(2), ..pin(Some(digest(4))) };
    let names_another = PinnedRevision { images: vec![(reference(":v2"), Some(digest(4)))], ..pin(None) };
    for (deployments, pinned) in [
        (1, Found::Known(vec![])),
        (1, Found::Missing(throttled)),
        (1, Found::Known(vec![pin(None)])),
        (1, Found::Known(vec![other.clone()])),
        (1, Found::Known(vec![names_another])),
        // What one of two deployments has pinned says nothing of the other.
        (2, Found::Known(vec![pin(Some(digest(4)))])),
        (2, Found::Known(vec![pin(Some(digest(4))), other])),
        (2, Found::Known(vec![pin(Some(digest(4))), pin(None)])),
    ] {
        let landscape = Landscape {
            live: BTreeMap::from([(place(), Found::Known(vec![service_with(deployments, pinned)]))]),
            revisions_run: BTreeMap::from([(arn(1), Ok(RevisionImages::Named(vec![reference(":v1")])))]),
            ..quiet()
        };
        let usage = seen(&[], &landscape).unwrap();
        assert_eq!(usage.pinned.unwrap_err().gap, Gap::PinnedDigests);
        assert_eq!(usage.uses.into_keys().collect::<Vec<_>>(), [digest(1)]);
    }
}

#[test]
fn what_cannot_be_read_of_a_place_holds_up_only_what_it_may_pull() {
    let elsewhere: Place = ("444444444444".parse().unwrap(), place().1);
    let landscape = Landscape { unreadable: [(elsewhere, "no task definition".to_owned())].into(), ..quiet() };
    assert_eq!(used(&seen(&[], &landscape).unwrap()), [0u64; 0]);
}

#[test]
fn what_a_service_ran_counts_from_the_end_of_its_deployment() {
    let until = Timestamp::from_second(77).unwrap();
    let ran = |image, digest| PinnedRevision { images: vec![(image, digest)], ..pin(None) };
    for (revision, expected) in [
        // Whatever the tag means now.
        (ran(reference(":v1"), Some(digest(4))), Some(digest(4))),
        (ran(reference(&format!("@{}", digest(4))), None), Some(digest(4))),
        (ran(reference(":v1"), None), None),
    ] {
        let service = LiveService {
            task_definitions: BTreeMap::new(),
            replaced: Found::Known(vec![(revision, until)]),
            ..service(Found::Known(vec![]))
        };
        let landscape = Landscape { live: [(place(), Found::Known(vec![service]))].into(), ..quiet() };
        let usage = seen(&[], &landscape).unwrap();
        match expected {
            Some(expected) => assert_eq!(usage.last_named.unwrap(), [(expected, until)].into()),
            None => assert_eq!(usage.last_named.unwrap_err().gap, Gap::PinnedDigests),
        }
        assert!(usage.uses.is_empty() && usage.pinned.unwrap().is_empty(), "it runs no more");
    }
}

#[test]
fn what_a_service_ran_before_that_is_not_known_leaves_its_uses_known() {
    let throttled = Because::new(Gap::Deployments, "throttled");
    let service =
        LiveService { replaced: Found::Missing(throttled), ..service(Found::Known(vec![pin(Some(digest(4)))])) };
    let landscape = Landscape {
        live: [(place(), Found::Known(vec![service]))].into(),
        revisions_run: BTreeMap::from([(arn(1), Ok(RevisionImages::Named(vec![reference(":v1")])))]),
        ..quiet()
    };
    let usage = seen(&[], &landscape).unwrap();
    assert_eq!(usage.last_named.as_ref().unwrap_err().gap, Gap::Deployments);
    assert_eq!(used(&usage), [1, 4]);
}

#[test]
fn whatever_was_not_seen_is_a_gap() {
    let because = || Because::new(Gap::Usage, "throttled");
    let live = |services| BTreeMap::from([(place(), services)]);
    for landscape in [
        Landscape { runners: Found::Missing(because()), ..quiet() },
        Landscape { other_users: Found::Missing(because()), ..quiet() },
        Landscape { live: BTreeMap::new(), ..quiet() },
        Landscape { unreadable: [(place(), "no task definition".to_owned())].into(), ..quiet() },
        Landscape { live: live(Found::Missing(because())), ..quiet() },
        Landscape { live: live(Found::Known(vec![service(Found::Known(vec![]))])), ..quiet() },
        Landscape {
            live: live(Found::Known(vec![service(Found::Known(vec![]))])),
            revisions_run: BTreeMap::from([(arn(1), Err(because()))]),
            ..quiet()
        },
        Landscape {
            live: live(Found::Known(vec![service(Found::Known(vec![]))])),
            revisions_run: BTreeMap::from([(arn(1), Ok(RevisionImages::NoSuchRevision))]),
            ..quiet()
        },
    ] {
        let gap = seen(&[], &landscape).and_then(|usage| usage.pinned);
        assert!(gap.is_err(), "{landscape:?}");
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
        pins: false,
        unreadable: None,
    };
    let users = vec![user(vec![reference(":multi")], vec![]), user(vec![], vec![digest(4)])];
    let landscape = Landscape { other_users: Found::Known(users), ..quiet() };
    assert_eq!(used(&seen(&[], &landscape).unwrap()), [2, 4]);
}

#[test]
fn a_function_whose_image_is_not_known_may_use_every_repository_that_more_than_accounts_may_pull_from() {
    let function = OtherUser {
        resource_type: "AWS::Lambda::Function",
        account: "222222222222".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        resource: "arn:x".into(),
        images: vec![],
        digests: vec![],
        pins: false,
        unreadable: Some("its hash cannot be read".into()),
    };
    let landscape = Landscape { other_users: Found::Known(vec![function]), ..quiet() };
    assert_eq!(used(&seen_where(&[], &landscape, false).unwrap()), [0u64; 0]);
    let because = Because::new(Gap::Usage, "its hash cannot be read");
    assert_eq!(seen_where(&[], &landscape, true).unwrap_err(), because);
}

/// How a container may name an image of the repository.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(":v1".to_owned()),
        Just(":multi".to_owned()),
        Just(":gone".to_owned()),
        (1u64..6).prop_map(|n| format!("@{}", digest(n))),
        (1u64..6).prop_map(|n| format!(":v1@{}", digest(n))),
    ]
}

prop_compose! {
    fn anything_seen()(
        names in proptest::collection::vec((any_name(), any::<bool>()), 0..6),
        run in proptest::collection::vec(1u32..6, 0..3),
        live in proptest::option::of(1u64..6),
        other in proptest::option::of(any_name()),
    ) -> (Vec<Revision>, Landscape) {
        let status = |active: bool| if active { RevisionStatus::Active } else { RevisionStatus::Inactive };
        let revisions = names
            .iter()
            .zip(1..)
            .map(|((name, active), number)| revision(number, status(*active), name))
            .collect();
        let live: Vec<LiveService> =
            live.map(|n| service(Found::Known(vec![pin(Some(digest(n)))]))).into_iter().collect();
        let other: Vec<OtherUser> = other
            .map(|name| OtherUser {
                resource_type: "AWS::AppRunner::Service",
                account: place().0,
                region: place().1,
                resource: "arn:x".into(),
                images: vec![reference(&name)],
                digests: vec![],
                pins: false,
                unreadable: None,
            })
            .into_iter()
            .collect();
        let running: Vec<Runner> = run.into_iter().map(|number| runner("AWS::ECS::Service", arn(number))).collect();
        let landscape = Landscape {
            runners: Found::Known(running.iter().collect()),
            other_users: Found::Known(other),
            live: BTreeMap::from([(place(), Found::Known(live))]),
            revisions_run: (1..9)
                .map(|number| (arn(number), Ok(RevisionImages::Named(vec![reference(":v1")]))))
                .collect(),
            ..quiet()
        };
        (revisions, landscape)
    }
}

proptest! {
    #[test]
    fn whatever_is_seen_besides_makes_no_image_unused(
        seen_first in anything_seen(), name in any_name(), active: bool, runs in 1u32..9,
    ) {
        let (mut revisions, mut landscape) = seen_first;
        let before: BTreeSet<u64> = used(&seen(&revisions, &landscape).unwrap()).into_iter().collect();
        revisions.push(revision(8, if active { RevisionStatus::Active } else { RevisionStatus::Inactive }, &name));
        if let Found::Known(runners) = &mut landscape.runners {
            runners.extend([&runner("AWS::ECS::Service", arn(runs))]);
        }
        let after: BTreeSet<u64> = used(&seen(&revisions, &landscape).unwrap()).into_iter().collect();
        prop_assert!(before.is_subset(&after), "{:?} became {:?}", before, after);
    }

    #[test]
    fn hiding_any_part_of_what_was_seen_leaves_the_uses_unknown(seen_first in anything_seen(), part in 0..4) {
        let (revisions, mut landscape) = seen_first;
        let because = Because::new(Gap::Usage, "hidden");
        match part {
            0 => landscape.runners = Found::Missing(because),
            1 => landscape.other_users = Found::Missing(because),
            2 => landscape.live = BTreeMap::from([(place(), Found::Missing(because))]),
            _ => landscape.live = BTreeMap::new(),
        }
        prop_assert!(seen(&revisions, &landscape).is_err());
    }
}
