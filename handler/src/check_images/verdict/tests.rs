use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::check_images::evidence::{Covered, Found, OtherPullers, Relations};
use crate::check_images::policy::RepositorySettings;
use crate::settings::Handling;

fn at(hours: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + hours * 3600).unwrap()
}

fn digest(n: u64) -> Digest {
    format!("sha256:{n:064x}").parse().unwrap()
}

fn image(n: u64) -> ImageFacts {
    ImageFacts {
        digest: digest(n),
        tags: std::collections::BTreeSet::new(),
        pushed_at: at(0),
        pulled_at: None,
        size_in_bytes: 1,
        kind: ImageKind::Single,
        status: StorageStatus::Active,
        subject: None,
    }
}

fn a_use() -> Use {
    Use {
        account: "222222222222".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        resource: "arn:aws:ecs:eu-west-1:222222222222:task-definition/shop:7".into(),
        how: "the task definition is ACTIVE".into(),
    }
}

/// Nothing uses the image and everything is known.
fn unused() -> Evidence {
    Evidence {
        participation: Found::Known(Participation::In(RepositorySettings::default())),
        mutability: Found::Known(Mutability::Fixed),
        pullers: Found::Known(OtherPullers::default()),
        image: Found::Known(Presence::Present(image(1))),
        relations: Found::Known(Relations::default()),
        newer_images: Found::Known(9),
        uses: Found::Known(vec![]),
        pinned: Found::Known(vec![]),
        last_named: Found::Known(None),
        coverage: Found::Known(Covered { pairs: 1 }),
        last_change: at(0),
        candidacy: Candidacy { named: true, orphaned_at: None },
    }
}

fn policy() -> Policy {
    Policy::new(SignedDuration::from_hours(24), 3, vec!["keep-*".parse().unwrap()], false)
}

fn deletes(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Delete(_))
}

/// Takes the kind of evidence with this number away.
fn hide(evidence: &mut Evidence, kind: usize) {
    hide_because(evidence, kind, Because::new(Gap::Usage, "hidden"));
}

fn hide_because(evidence: &mut Evidence, kind: usize, because: Because) {
    match kind {
        0 => evidence.participation = Found::Missing(because),
        1 => evidence.mutability = Found::Missing(because),
        2 => evidence.pullers = Found::Missing(because),
        3 => evidence.image = Found::Missing(because),
        4 => evidence.relations = Found::Missing(because),
        5 => evidence.newer_images = Found::Missing(because),
        6 => evidence.uses = Found::Missing(because),
        7 => evidence.pinned = Found::Missing(because),
        8 => evidence.last_named = Found::Missing(because),
        _ => evidence.coverage = Found::Missing(because),
    }
}

const KINDS: usize = 10;

#[test]
fn an_unused_image_is_deleted_when_the_window_has_passed_and_not_before() {
    assert!(deletes(&judge(&unused(), &policy(), at(24))));
    let minute_before = at(24) - SignedDuration::from_mins(1);
    let verdict = judge(&unused(), &policy(), minute_before);
    assert!(
        matches!(verdict, Verdict::Postpone(Postponement::TooEarly { until, .. }) if until == at(24)),
        "{verdict:?}"
    );
}

#[test]
fn each_kind_of_evidence_is_needed() {
    for kind in 0..KINDS {
        let mut evidence = unused();
        hide(&mut evidence, kind);
        let verdict = judge(&evidence, &policy(), at(1000));
        assert!(matches!(verdict, Verdict::Postpone(Postponement::Missing(_))), "kind {kind}: {verdict:?}");
    }
}

#[test]
fn every_reason_to_keep_keeps() {
    let change = |change: fn(&mut Evidence)| {
        let mut evidence = unused();
        change(&mut evidence);
        match judge(&evidence, &policy(), at(1000)) {
            Verdict::Keep(reason) => reason.code(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(change(|e| e.participation = Found::Known(Participation::Out)), "not-opted-in");
    assert_eq!(
        change(|e| e.participation = Found::Known(Participation::Unreadable { reason: "?".into() })),
        "opt-in-unreadable"
    );
    assert_eq!(change(|e| e.uses = Found::Known(vec![a_use()])), "in-use");
    assert_eq!(change(|e| e.pinned = Found::Known(vec![a_use()])), "in-use");
    assert_eq!(change(|e| e.newer_images = Found::Known(2)), "among-newest");
    assert_eq!(
        change(|e| e.relations = Found::Known(Relations { parents: [digest(2)].into(), ..Relations::default() })),
        "listed-by-index"
    );
    assert_eq!(
        change(|e| e.relations = Found::Known(Relations { attached_to: Some(digest(2)), ..Relations::default() })),
        "attached"
    );
    assert_eq!(
        change(|e| {
            let image = ImageFacts { tags: ["keep-me".parse().unwrap()].into(), ..image(1) };
            e.image = Found::Known(Presence::Present(image));
        }),
        "tag-protected"
    );
    assert_eq!(
        change(|e| {
            let image = ImageFacts { status: StorageStatus::Archived, ..image(1) };
            e.image = Found::Known(Presence::Present(image));
        }),
        "not-active"
    );
    let pullers = |pullers: OtherPullers| {
        let evidence = Evidence { pullers: Found::Known(pullers), ..unused() };
        match judge(&evidence, &policy(), at(1000)) {
            Verdict::Keep(reason) => reason.code(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        pullers(OtherPullers { services: ["lambda.amazonaws.com".into()].into(), ..OtherPullers::default() }),
        "pulled-by-service"
    );
    assert_eq!(
        pullers(OtherPullers { outside: ["*".into()].into(), ..OtherPullers::default() }),
        "pulled-from-outside"
    );
    assert_eq!(
        pullers(OtherPullers { pull_through_cache: Some("hub".into()), ..OtherPullers::default() }),
        "pull-through-cache"
    );
    let dry = Policy::new(SignedDuration::from_hours(24), 3, vec![], true);
    assert_eq!(judge(&unused(), &dry, at(1000)), Verdict::Keep(KeepReason::DryRun));
}

#[test]
fn an_unknown_media_type_postpones() {
    let image = ImageFacts { kind: ImageKind::Unknown { media_type: "application/x".into() }, ..image(1) };
    let evidence = Evidence { image: Found::Known(Presence::Present(image)), ..unused() };
    let verdict = judge(&evidence, &policy(), at(1000));
    assert!(matches!(verdict, Verdict::Postpone(Postponement::Missing(_))), "{verdict:?}");
}

#[test]
fn a_recorded_pull_postpones_until_it_and_its_lag_have_passed() {
    let image = ImageFacts { pulled_at: Some(at(100)), ..image(1) };
    let evidence = Evidence { image: Found::Known(Presence::Present(image)), ..unused() };
    assert!(!deletes(&judge(&evidence, &policy(), at(147))));
    assert!(deletes(&judge(&evidence, &policy(), at(148))));
}

#[test]
fn an_image_stays_after_a_recorded_pull_for_as_long_as_is_asked_for() {
    let image = ImageFacts { pulled_at: Some(at(100)), ..image(1) };
    let evidence = Evidence { image: Found::Known(Presence::Present(image)), ..unused() };
    let policy = policy().keeping_pulled(SignedDuration::from_hours(72));
    assert!(!deletes(&judge(&evidence, &policy, at(195))));
    assert!(deletes(&judge(&evidence, &policy, at(196))));
    let shorter = self::policy().keeping_pulled(SignedDuration::from_hours(1));
    assert!(!deletes(&judge(&evidence, &shorter, at(147))), "never less than the rollback window");
}

#[test]
fn a_signature_that_was_just_attached_or_looked_at_postpones() {
    let attached = |image| {
        let attachment = Attachment { image, subject: digest(1), needed_elsewhere: false };
        let relations = Relations { attachments: vec![attachment], ..Relations::default() };
        Evidence { relations: Found::Known(relations), ..unused() }
    };
    let signed = attached(ImageFacts { pushed_at: at(100), ..image(2) });
    assert!(!deletes(&judge(&signed, &policy(), at(123))));
    assert!(deletes(&judge(&signed, &policy(), at(124))));
    let verified = attached(ImageFacts { pulled_at: Some(at(100)), ..image(2) });
    assert!(!deletes(&judge(&verified, &policy(), at(147))));
    assert!(deletes(&judge(&verified, &policy(), at(148))));
}

#[test]
fn an_index_is_not_archived() {
    let index = ImageFacts { kind: ImageKind::Index, ..image(1) };
    let evidence = Evidence { image: Found::Known(Presence::Present(index)), ..unused() };
    assert!(deletes(&judge(&evidence, &policy(), at(1000))));
    let verdict = judge(&evidence, &policy().archiving(true), at(1000));
    assert_eq!(verdict, Verdict::Keep(KeepReason::IndexNotArchived));
}

#[test]
fn an_index_takes_only_children_and_attachments_that_nothing_else_holds() {
    let child = |image| Child { image, has_other_parent: false, needed_elsewhere: false };
    let free = image(2);
    let tagged = ImageFacts { tags: ["arm".parse().unwrap()].into(), ..image(3) };
    let shared = Child { image: image(4), has_other_parent: true, needed_elsewhere: false };
    let attachment = |n, subject, needed_elsewhere| Attachment { image: image(n), subject, needed_elsewhere };
    let relations = Relations {
        children: vec![child(free.clone()), child(tagged), shared],
        attachments: vec![
            attachment(10, digest(1), false),
            attachment(11, digest(2), false),
            attachment(12, digest(3), false),
            attachment(13, digest(1), true),
        ],
        ..Relations::default()
    };
    let index = ImageFacts { kind: ImageKind::Index, ..image(1) };
    let evidence =
        Evidence { image: Found::Known(Presence::Present(index)), relations: Found::Known(relations), ..unused() };
    let Verdict::Delete(deletion) = judge(&evidence, &policy(), at(1000)) else { panic!("not deleted") };
    assert_eq!(deletion.children(), [free]);
    assert_eq!(deletion.attachments(), [image(10), image(11)]);
}

prop_compose! {
    fn any_evidence()(
        participation in 0..4, mutability: bool, service: bool, outside: bool, gone in 0..8, tag in 0..3, pushed in 0i64..200,
        pulled in proptest::option::of(0i64..200), kind in 0..4, status in 0..6, parent: bool, newer in 0usize..6,
        used in 0..3, pinned in 0..4, named in proptest::option::of(0i64..200), change in 0i64..200, hidden in 0..(2 * KINDS),
        by_event: bool, orphaned in proptest::option::of(0i64..200),
        children in proptest::collection::vec((any::<[bool; 4]>(), 0i64..200), 0..4),
        attachments in proptest::collection::vec((any::<[bool; 2]>(), 0usize..4, 0i64..200), 0..4),
    ) -> Evidence {
        let facts = ImageFacts {
            tags: match tag { 0 => [].into(), 1 => ["v1".parse().unwrap()].into(), _ => ["keep-1".parse().unwrap()].into() },
            pushed_at: at(pushed),
            pulled_at: pulled.map(at),
            kind: match kind { 0 => ImageKind::Index, 1 => ImageKind::Unknown { media_type: "?".into() }, _ => ImageKind::Single },
            status: match status { 0 => StorageStatus::Archived, 1 => StorageStatus::Other("ACTIVATING".into()), _ => StorageStatus::Active },
            ..image(1)
        };
        let mut evidence = Evidence {
            participation: Found::Known(match participation {
                0 => Participation::Out,
                1 => Participation::Unreadable { reason: "?".into() },
                _ => Participation::In(RepositorySettings::default()),
            }),
            mutability: Found::Known(if mutability { Mutability::Movable } else { Mutability::Fixed }),
            pullers: Found::Known(OtherPullers {
                services: if service { ["lambda.amazonaws.com".into()].into() } else { [].into() },
                outside: if outside { ["*".into()].into() } else { [].into() },
                pull_through_cache: None,
            }),
            image: Found::Known(if gone == 0 { Presence::Gone } else { Presence::Present(facts) }),
            relations: Found::Known(Relations {
                parents: if parent { [digest(9)].into() } else { [].into() },
                children: (10..).zip(&children).map(|(n, ([tagged, other, needed, archived], pushed))| Child {
                    image: ImageFacts {
                        tags: if *tagged { ["v2".parse().unwrap()].into() } else { [].into() },
                        status: if *archived { StorageStatus::Archived } else { StorageStatus::Active },
                        pushed_at: at(*pushed),
                        ..image(n)
                    },
                    has_other_parent: *other,
                    needed_elsewhere: *needed,
                }).collect(),
                attachments: (20..).zip(&attachments).map(|(n, ([protected, needed], subject, pushed))| Attachment {
                    image: ImageFacts {
                        tags: if *protected { ["keep-2".parse().unwrap()].into() } else { [].into() },
                        pushed_at: at(*pushed),
                        ..image(n)
                    },
                    // The image, or one of its children.
                    subject: if *subject == 0 { digest(1) } else { digest(9 + *subject as u64) },
                    needed_elsewhere: *needed,
                }).collect(),
                ..Relations::default()
            }),
            newer_images: Found::Known(newer),
            uses: Found::Known(if used == 0 { vec![a_use()] } else { vec![] }),
            pinned: Found::Known(if pinned == 0 { vec![a_use()] } else { vec![] }),
            last_named: Found::Known(named.map(at)),
            coverage: Found::Known(Covered { pairs: 2 }),
            candidacy: Candidacy { named: by_event, orphaned_at: orphaned.map(at) },
            last_change: at(change),
        };
        if hidden < KINDS {
            hide(&mut evidence, hidden);
        }
        evidence
    }
}

/// Every gap there is.
const GAPS: [Gap; 10] = [
    Gap::Repository,
    Gap::Pullers,
    Gap::Images,
    Gap::Manifests,
    Gap::Usage,
    Gap::Coverage,
    Gap::Deployments,
    Gap::PinnedDigests,
    Gap::Schedules,
    Gap::Message,
];

#[test]
fn every_gap_in_every_kind_of_evidence_postpones_and_is_told() {
    for gap in GAPS {
        for kind in 0..KINDS {
            let mut evidence = unused();
            hide_because(&mut evidence, kind, Because::new(gap, "hidden"));
            match judge(&evidence, &policy(), at(1000)) {
                Verdict::Postpone(postponement) => assert_eq!(postponement.code(), gap.code(), "kind {kind}"),
                other => panic!("kind {kind}, {gap:?}: {other:?}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn hiding_evidence_never_turns_keep_or_postpone_into_delete(
        evidence in any_evidence(), kind in 0..KINDS, now in 0i64..400,
    ) {
        let mut hidden = evidence.clone();
        hide(&mut hidden, kind);
        prop_assert!(!deletes(&judge(&hidden, &policy(), at(now))));
    }

    #[test]
    fn nothing_goes_along_that_anything_else_needs(evidence in any_evidence(), now in 0i64..400) {
        let Verdict::Delete(deletion) = judge(&evidence, &policy(), at(now)) else { return Ok(()) };
        let relations = evidence.relations.known().unwrap();
        let going: BTreeSet<Digest> = deletion.children().iter().map(|child| child.digest.clone()).collect();
        for child in &relations.children {
            let free = child.image.tags.is_empty() && child.image.status == StorageStatus::Active;
            let free = free && !child.has_other_parent && !child.needed_elsewhere;
            prop_assert_eq!(going.contains(&child.image.digest), free);
            // Whatever is left without a tag is known to be.
            let staying = deletion.staying().contains(&child.image.digest);
            prop_assert_eq!(staying, child.image.tags.is_empty() && !free);
        }
        for attachment in &relations.attachments {
            let free = !attachment.needed_elsewhere && attachment.image.tags.is_empty();
            let subject_goes = attachment.subject == deletion.image().digest || going.contains(&attachment.subject);
            prop_assert_eq!(deletion.attachments().contains(&attachment.image), free && subject_goes);
        }
    }

    #[test]
    fn a_use_never_leads_to_a_deletion(evidence in any_evidence(), pinned: bool, now in 0i64..400) {
        let mut used = evidence;
        if pinned { used.pinned = Found::Known(vec![a_use()]) } else { used.uses = Found::Known(vec![a_use()]) }
        prop_assert!(!deletes(&judge(&used, &policy(), at(now))));
    }

    #[test]
    fn nothing_is_deleted_within_the_window_of_anything_that_concerns_the_image(
        evidence in any_evidence(), window in 1i64..100, now in 0i64..400,
    ) {
        let policy = Policy::new(SignedDuration::from_hours(window), 0, vec![], false);
        if let Verdict::Delete(deletion) = judge(&evidence, &policy, at(now)) {
            let window = SignedDuration::from_hours(window);
            let moments = [Some(evidence.last_change), Some(deletion.image().pushed_at), deletion.image().pulled_at,
                evidence.last_named.known().copied().flatten()];
            for moment in moments.into_iter().flatten() {
                prop_assert!(moment + window <= at(now));
            }
        }
    }

    #[test]
    fn a_longer_window_never_deletes_more_and_a_later_moment_never_less(
        evidence in any_evidence(), window in 1i64..100, more in 0i64..100, now in 0i64..400, later in 0i64..100,
    ) {
        let policy = |hours| Policy::new(SignedDuration::from_hours(hours), 0, vec![], false);
        let longer = judge(&evidence, &policy(window + more), at(now));
        prop_assert!(!deletes(&longer) || deletes(&judge(&evidence, &policy(window), at(now))));
        prop_assert!(!deletes(&longer) || deletes(&judge(&evidence, &policy(window + more), at(now + later))));
    }

    #[test]
    fn a_dry_run_deletes_nothing_and_protections_only_add(evidence in any_evidence(), newest in 0usize..6, now in 0i64..400) {
        let window = SignedDuration::from_hours(24);
        let dry = Policy::new(window, 0, vec![], true);
        prop_assert!(!deletes(&judge(&evidence, &dry, at(now))));
        let protected = judge(&evidence, &Policy::new(window, newest, vec!["v*".parse().unwrap()], false), at(now));
        prop_assert!(!deletes(&protected) || deletes(&judge(&evidence, &Policy::new(window, 0, vec![], false), at(now))));
    }
}

/// An image that belonged to one whose deletion began in this hour.
fn orphaned(hour: i64) -> Candidacy {
    Candidacy { orphaned_at: Some(at(hour)), ..Candidacy::SWEPT }
}

/// An image that a sweep found, which no task definition ever named.
fn never_deployed() -> Evidence {
    Evidence { candidacy: Candidacy::SWEPT, ..unused() }
}

#[test]
fn an_image_that_no_task_definition_ever_named_stays_for_a_time_of_its_own_or_for_ever() {
    let after = |hours| policy().handling_never_deployed(Handling::Check, SignedDuration::from_hours(hours));
    let until = |evidence: &Evidence, policy: &Policy| match judge(evidence, policy, at(1)) {
        Verdict::Postpone(Postponement::TooEarly { until, .. }) => until,
        other => panic!("{other:?}"),
    };
    assert_eq!(until(&never_deployed(), &after(336)), at(336));
    assert_eq!(until(&never_deployed(), &after(1)), at(24), "the rollback window holds as well");
    assert!(deletes(&judge(&never_deployed(), &after(336), at(336))));
    // Named by an event, by a revision of any status, or as part of what was: deployed.
    let named = Evidence { last_named: Found::Known(Some(at(0))), ..never_deployed() };
    let orphan = Evidence { candidacy: orphaned(1), ..never_deployed() };
    for evidence in [&unused(), &named, &orphan] {
        assert_eq!(until(evidence, &after(336)), at(24));
    }
    let keeping = policy().handling_never_deployed(Handling::Keep, SignedDuration::ZERO);
    assert_eq!(judge(&never_deployed(), &keeping, at(1000)), Verdict::Keep(KeepReason::NeverDeployed));
    for evidence in [&unused(), &named, &orphan] {
        assert!(deletes(&judge(evidence, &keeping, at(1000))));
    }
    // Whether a revision names it is not known: nothing is concluded from that.
    let unknown = Evidence { last_named: Found::Missing(Because::new(Gap::Usage, "throttled")), ..never_deployed() };
    assert!(matches!(judge(&unknown, &keeping, at(1000)), Verdict::Postpone(Postponement::Missing(_))));
}

#[test]
fn an_untagged_image_stays_unless_untagged_images_are_checked_or_it_is_an_orphan() {
    let keeping = policy().handling_untagged(Handling::Keep);
    assert_eq!(judge(&unused(), &keeping, at(1000)), Verdict::Keep(KeepReason::Untagged));
    assert!(deletes(&judge(&unused(), &policy().handling_untagged(Handling::Check), at(1000))));
    let orphan = Evidence { candidacy: orphaned(0), ..unused() };
    assert!(deletes(&judge(&orphan, &keeping, at(1000))));
    let pushed_since = Evidence { candidacy: orphaned(-1), ..unused() };
    assert_eq!(judge(&pushed_since, &keeping, at(1000)), Verdict::Keep(KeepReason::Untagged));
    let tagged = ImageFacts { tags: ["v1".parse().unwrap()].into(), ..image(1) };
    let tagged = Evidence { image: Found::Known(Presence::Present(tagged)), ..unused() };
    assert!(deletes(&judge(&tagged, &keeping, at(1000))));
}

#[test]
fn whoever_looks_for_candidates_needs_no_coverage_and_can_delete_nothing() {
    let missing = || Because::new(Gap::Coverage, "not looked up");
    let seen = Evidence {
        coverage: Found::Missing(missing()),
        pinned: Found::Missing(missing()),
        pullers: Found::Missing(missing()),
        mutability: Found::Missing(missing()),
        ..unused()
    };
    assert_eq!(prospect(&seen, &policy(), at(1000)), Prospect::Candidate);
    assert!(!deletes(&judge(&seen, &policy(), at(1000))));
    assert_eq!(prospect(&seen, &policy(), at(1)), Prospect::TooEarly);
    let used = Evidence { uses: Found::Known(vec![a_use()]), ..seen.clone() };
    assert_eq!(prospect(&used, &policy(), at(1000)), Prospect::Kept(KeepReason::InUse(a_use())));
    let unknown = Evidence { uses: Found::Missing(missing()), ..seen };
    assert_eq!(prospect(&unknown, &policy(), at(1000)), Prospect::Unknown(missing()));
}

proptest! {
    #[test]
    fn what_a_check_would_delete_is_never_passed_over(evidence in any_evidence(), now in 0i64..400) {
        if deletes(&judge(&evidence, &policy(), at(now))) {
            prop_assert_eq!(prospect(&evidence, &policy(), at(now)), Prospect::Candidate);
        }
    }
}
