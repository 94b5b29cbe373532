use serde_json::json;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn envelope(change: impl Fn(&mut serde_json::Value)) -> Envelope {
    let mut message = json!({
        "cleanup": crate::settings::tests::cleanup(),
        "event": {
            "id": "1", "source": EVENT_SOURCE, "detail-type": CHECK_DUE, "account": "111111111111", "region": "eu-west-1",
            "time": "2026-11-02T10:00:00Z",
            "detail": {
                "repository": {"account": "111111111111", "region": "eu-west-1", "name": "shop"},
                "digest": format!("sha256:{:064x}", 1), "lastChange": "2026-11-01T10:00:00Z", "postponements": 0,
            },
        },
    });
    change(&mut message);
    Envelope::read(&message.to_string()).unwrap()
}

#[test]
fn only_the_hub_can_ask_for_a_check_of_an_image_in_its_registries() {
    let now = at("2026-11-02T10:00:00Z");
    assert!(due(&envelope(|_| {}), now).is_ok());
    for (pointer, value) in [
        ("/event/source", "aws.ecs"),
        ("/event/detail-type", "Image Kept"),
        ("/event/account", "222222222222"),
        ("/event/detail/digest", "sha256:1"),
        ("/event/detail/repository/account", "222222222222"),
        ("/event/detail/repository/region", "us-east-1"),
    ] {
        let changed = envelope(|message| *message.pointer_mut(pointer).unwrap() = json!(value));
        assert!(due(&changed, now).is_err(), "{pointer}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_a_check_says_it_is_read_or_refused(
        member in 0usize..5, text in ".{0,80}", number in proptest::prelude::any::<i64>(), as_text: bool,
    ) {
        let member = ["repository", "digest", "lastChange", "postponements", "unknown"][member];
        let value = if as_text { json!(text) } else { json!(number) };
        let changed = envelope(|message| message["event"]["detail"][member] = value.clone());
        if let Ok(due) = due(&changed, at("2026-11-02T10:00:00Z")) {
            proptest::prop_assert!(["lastChange", "postponements"].contains(&member), "{} = {} became {:?}", member, value, due);
        }
    }
}

#[test]
fn a_change_never_lies_in_the_future() {
    let now = at("2026-10-01T00:00:00Z");
    let future = envelope(|message| message["event"]["detail"]["postponedSince"] = json!("2026-10-02T00:00:00Z"));
    let due = due(&future, now).unwrap().remove(0);
    assert_eq!((due.last_change, due.postponed_since), (now, Some(now)));
}

#[test]
fn checks_of_one_image_become_one_that_knows_the_latest_of_all() {
    let now = at("2026-11-02T10:00:00Z");
    let mut requests = Vec::new();
    for (message, change, postponements, since, fired, fresh) in [
        ("a", "2026-11-01T10:00:00Z", 3, "2026-11-02T02:00:00Z", "2026-11-02T09:55:00Z", true),
        ("b", "2026-11-01T12:00:00Z", 1, "2026-11-02T01:00:00Z", "2026-11-02T09:00:00Z", false),
    ] {
        let envelope = envelope(|message| {
            message["event"]["detail"]["lastChange"] = json!(change);
            message["event"]["detail"]["postponements"] = json!(postponements);
            message["event"]["detail"]["postponedSince"] = json!(since);
            message["event"]["detail"]["generation"] = json!(2);
            message["event"]["time"] = json!(fired);
        });
        let [due] = &due(&envelope, now).unwrap()[..] else { panic!("one image") };
        let message = Message { id: message.into(), envelope: envelope.clone(), deliveries: 1 };
        add(&mut requests, &message, due.clone(), fresh);
    }
    let [request] = &requests[..] else { panic!("{requests:?}") };
    let merged = request.repositories.values().next().unwrap().values().next().unwrap();
    assert_eq!(merged.last_change, at("2026-11-01T12:00:00Z"));
    assert_eq!(merged.postponed_since, Some(at("2026-11-02T01:00:00Z")));
    assert_eq!((merged.postponements, merged.fresh, merged.messages.len()), (3, false, 2));
    let mut fired = Fired::default();
    fired.add(2, at("2026-11-02T09:00:00Z"));
    assert_eq!(merged.fired, fired);
}

#[test]
fn missing_evidence_is_waited_for_longer_each_time_and_at_most_a_day() {
    let minutes: Vec<i64> = (0..9).map(|n| delay(n).as_secs() / 60).collect();
    assert_eq!(minutes, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
    assert_eq!(delay(u32::MAX), LONGEST_DELAY);
}

#[test]
fn only_missing_evidence_counts_as_a_postponement() {
    let now = at("2026-11-02T10:00:00Z");
    let check = due(&envelope(|_| {}), now).unwrap().remove(0);
    let since = Some(at("2026-11-02T09:15:00Z"));
    let due = Due {
        last_change: check.last_change,
        postponements: 2,
        postponed_since: since,
        candidacy: check.candidacy(),
        messages: BTreeSet::new(),
        fired: Fired::default(),
        fresh: true,
    };
    let missing = Postponement::Missing(vec![Because::new(Gap::Usage, "throttled")]);
    let later = put_off(&check.repository, &check.digest, &due, &missing, now);
    assert_eq!((later.postponements, later.not_before), (3, now + SignedDuration::from_mins(60)));
    assert_eq!(later.postponed_since, since);
    let first = Due { postponements: 0, postponed_since: None, ..due.clone() };
    assert_eq!(put_off(&check.repository, &check.digest, &first, &missing, now).postponed_since, Some(now));
    let until = now + SignedDuration::from_hours(30);
    let early = Postponement::TooEarly { until, since: "the last push".into() };
    let later = put_off(&check.repository, &check.digest, &due, &early, now);
    assert_eq!((later.postponements, later.not_before, later.last_change), (0, until, check.last_change));
    assert_eq!(later.postponed_since, None);
}

#[test]
fn a_repository_is_covered_only_if_every_place_is() {
    let place: Place = ("222222222222".parse().unwrap(), "eu-west-1".parse().unwrap());
    let account = place.0.clone();
    let standing = |standing| Ok(Workloads { accounts: [(account.clone(), standing)].into(), ..Workloads::default() });
    let places = BTreeSet::from([place.clone()]);
    let proof = |proof| BTreeMap::from([(place.clone(), proof)]);
    let gap = || Because::new(Gap::Coverage, "no probe");
    assert!(covered(&standing(Standing::Active), &proof(Ok(())), &places).is_ok());
    assert!(covered(&standing(Standing::Active), &proof(Err(gap())), &places).is_err());
    assert!(covered(&standing(Standing::Active), &BTreeMap::new(), &places).is_err());
    assert!(covered(&standing(Standing::Inactive("SUSPENDED".into())), &proof(Ok(())), &places).is_err());
    assert!(covered(&Ok(Workloads::default()), &proof(Ok(())), &places).is_err());
    assert!(covered(&Err(gap()), &proof(Ok(())), &places).is_err());
    assert!(covered(&standing(Standing::Active), &proof(Ok(())), &BTreeSet::new()).is_err());
}

#[test]
fn uncovered_accounts_are_known_only_where_the_aggregator_answers() {
    let account = |id: &str| -> AccountId { id.parse().unwrap() };
    let place = |id: &str, region: &str| -> Place { (account(id), region.parse().unwrap()) };
    let (covered, lacking, suspended) = ("222222222222", "333333333333", "444444444444");
    let workloads = Ok(Workloads {
        accounts: [
            (account(covered), Standing::Active),
            (account(lacking), Standing::Active),
            (account(suspended), Standing::Inactive("SUSPENDED".into())),
        ]
        .into(),
        ..Workloads::default()
    });
    let places = BTreeSet::from([
        place(covered, "eu-west-1"),
        place(lacking, "eu-west-1"),
        place(lacking, "us-east-1"),
        place(suspended, "eu-west-1"),
    ]);
    let no_probe = || Err(Because::new(Gap::Coverage, "no probe"));
    let mut proofs = BTreeMap::from([
        (place(covered, "eu-west-1"), Ok(())),
        (place(lacking, "eu-west-1"), no_probe()),
        (place(lacking, "us-east-1"), no_probe()),
    ]);
    let expected = BTreeSet::from([account(lacking), account(suspended)]);
    assert_eq!(uncovered(&workloads, &proofs, &places), Some(expected), "each once, in however many regions");
    let only_covered = BTreeSet::from([place(covered, "eu-west-1")]);
    assert_eq!(uncovered(&workloads, &proofs, &only_covered), Some(BTreeSet::new()));
    assert_eq!(uncovered(&workloads, &proofs, &BTreeSet::new()), None, "nobody was asked");
    proofs.insert(place(lacking, "us-east-1"), Err(Because::new(Gap::Usage, "throttled")));
    assert_eq!(uncovered(&workloads, &proofs, &places), None, "the aggregator does not answer");
}
