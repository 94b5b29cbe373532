use super::*;

/// A scenario whose actions are `actions`, from line 6 on.
fn scenario(actions: &str) -> Result<Scenario, String> {
    let head = "accounts: [shop, billing]\nrepositories:\n- {name: web, tags: {ecr-cleanup: enabled}}\n\
                - {name: jobs, mutable-tags: true}\nactions:\n";
    Scenario::read("s.yaml", &format!("{head}{actions}")).map_err(|refusal| refusal.to_string())
}

#[test]
fn every_action_is_read() {
    let read = scenario(
        "- {at: day 0 10:00, push: web:1}
- {at: +5m, tag: {image: web:1, as: stable}}
- at: day 1 09:00
  in: shop/eu-west-1
  register: {family: web, image: web:stable}
- {at: +0m, in: shop/eu-west-1, create-service: {service: web, task-definition: web:1}}
- {at: +1h, in: shop/eu-west-1, register: {family: web, image: web:1}}
- {at: +1m, in: shop/eu-west-1, update-service: {service: web, task-definition: web:2}}
- {at: +1m, in: shop/eu-west-1, deregister: web:1}
- {at: +1m, in: shop/eu-west-1, delete-service: web}
- {at: +1m, tag-repository: {repository: web, key: ecr-cleanup, value: }}
- {at: +1m, in: billing/us-east-1, record: false}
- {at: +1m, update-stack: {DryRun: true, KeepTagPatterns: [\"v*\"]}}
",
    )
    .unwrap();
    assert_eq!(read.days, 3);
    assert_eq!(read.accounts, ["shop", "billing"]);
    let place = Place { account: "shop".to_owned(), region: "eu-west-1".to_owned() };
    let image = |tag: &str| Image { repository: "web".to_owned(), tag: tag.to_owned() };
    let text = str::to_owned;
    let expected = [
        ("day 0 10:00", Action::Push(image("1"))),
        ("day 0 10:05", Action::Tag(image("1"), text("stable"))),
        ("day 1 09:00", Action::Register(place.clone(), text("web"), image("stable"))),
        ("day 1 09:00", Action::CreateService(place.clone(), text("web"), text("web:1"))),
        ("day 1 10:00", Action::Register(place.clone(), text("web"), image("1"))),
        ("day 1 10:01", Action::UpdateService(place.clone(), text("web"), text("web:2"))),
        ("day 1 10:02", Action::Deregister(place.clone(), text("web:1"))),
        ("day 1 10:03", Action::DeleteService(place, text("web"))),
        ("day 1 10:04", Action::TagRepository(text("web"), text("ecr-cleanup"), None)),
        ("day 1 10:05", Action::Record(Place { account: text("billing"), region: text("us-east-1") }, false)),
        (
            "day 1 10:06",
            Action::UpdateStack(BTreeMap::from([
                (text("DryRun"), text("\"true\"")),
                (text("KeepTagPatterns"), text("[\"v*\"]")),
            ])),
        ),
    ];
    let actions: Vec<_> = read.actions.into_iter().map(|timed| (timed.at.to_string(), timed.action)).collect();
    assert_eq!(actions, expected.map(|(at, action)| (at.to_owned(), action)));
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let register =
        "- {at: day 1 09:00, push: web:1}\n- {at: +1m, in: shop/eu-west-1, register: {family: web, image: web:1}}\n";
    for (actions, refused) in [
        ("- {at: day 1 09:00, push: api:1}", "6:27: unknown repository api; known are web, jobs"),
        ("- {at: day 1 09:00, push: web}", "6:27: `web` is no image: write REPOSITORY:TAG"),
        (
            "- {at: day 1 09:00, pull: web:1}",
            "6:21: unknown key pull in an action; known are at, in, push, tag, register, deregister, create-service, update-service, delete-service, tag-repository, record, update-stack",
        ),
        ("- {at: day 1 09:00, push: web:.1}", "6:27: `.1` cannot be an image's tag"),
        ("- {push: web:1}", "6:3: an action needs at"),
        (
            "- {at: day 1 09:00}",
            "6:3: an action needs one of push, tag, register, deregister, create-service, update-service, delete-service, tag-repository, record, update-stack",
        ),
        (
            "- {at: noon, push: web:1}",
            "6:8: `noon` is no time: write `day 1 09:00`, or `+2h30m` for so long after the action before",
        ),
        (
            "- {at: day 0 12:00, push: web:1}",
            "6:8: day 0 12:00: day 0 is for what was there before the installation, from 09:30 until 12:00",
        ),
        (
            "- {at: day 2 09:00, push: web:1}\n- {at: day 1 09:00, push: web:2}",
            "7:8: day 1 09:00 is before the action before, at day 2 09:00",
        ),
        (
            "- {at: day 1 09:00, push: web:1}\n- {at: +1h, push: web:1}",
            "7:19: tags of web cannot move, and line 6 has given 1",
        ),
        (
            "- {at: day 1 09:00, in: shop/eu-west-1, register: {family: web, image: web:1}}",
            "6:72: unknown image web:1: nothing has pushed it before",
        ),
        (
            "- {at: day 1 09:00, register: {family: web, image: web:1}}",
            "6:21: register needs a place, such as `in: shop/eu-west-1`",
        ),
        ("- {at: day 1 09:00, in: shop/eu-west-1, push: web:1}", "6:21: push happens in the hub: `in` has no meaning"),
        (
            "- {at: day 1 09:00, in: shop/mars-1, record: false}",
            "6:25: unknown region mars-1; known are eu-west-1, us-east-1",
        ),
        (
            "- {at: day 1 09:00, in: sales/eu-west-1, record: false}",
            "6:25: unknown account sales; known are hub, shop, billing",
        ),
        ("- {at: day 1 09:00, in: shop/eu-west-1, record: off}", "6:49: record must be true or false"),
        ("- {at: day 1 09:00, in: shop/eu-west-1, delete-service: web}", "6:57: unknown service web in shop/eu-west-1"),
        (
            &format!("{register}- {{at: +1m, in: shop/us-east-1, deregister: web:1}}"),
            "8:45: unknown task definition web:1 in shop/us-east-1: write FAMILY:REVISION of one that was registered before",
        ),
        (
            &format!(
                "{register}- {{at: +1m, in: shop/eu-west-1, deregister: web:1}}\n- {{at: +1m, in: shop/eu-west-1, deregister: web:1}}"
            ),
            "9:45: web:1 in shop/eu-west-1 is INACTIVE already",
        ),
        ("- {at: day 1 09:00, push: web:1, tag: {image: web:1, as: x}}", "6:34: an action does one thing: push or tag"),
        (
            "- {at: day 1 09:00, push: web:1",
            "7:1: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'",
        ),
    ] {
        assert_eq!(scenario(actions), Err(format!("s.yaml:{refused}")), "{actions}");
    }
}

#[test]
fn a_tag_that_can_move_may_be_pushed_again() {
    assert!(scenario("- {at: day 1 09:00, push: jobs:latest}\n- {at: +1h, push: jobs:latest}\n").is_ok());
}

#[test]
fn the_head_of_a_scenario_is_checked_too() {
    for (text, refused) in [
        ("", "1:1: the file is empty"),
        ("days: 3", "1:1: a scenario needs repositories"),
        ("days: 0\nrepositories: []\nactions: []", "1:7: days must be a number from 1 to 60"),
        ("accounts: [a]\nrepositories: []\nactions: []", "1:11: accounts names the two workload accounts"),
        ("accounts: [a, hub]\nrepositories: []\nactions: []", "1:15: `hub` cannot name an account here"),
        ("accounts: [a, management]\nrepositories: []\nactions: []", "1:15: `management` cannot name an account here"),
        ("repositories: [{name: Web}]\nactions: []", "1:23: `Web` cannot name a repository"),
        ("repositories: [{name: /web}]\nactions: []", "1:23: `/web` cannot name a repository"),
        ("repositories: [{name: a//b}]\nactions: []", "1:23: `a//b` cannot name a repository"),
        ("repositories: [{name: web-}]\nactions: []", "1:23: `web-` cannot name a repository"),
        ("repositories: [{name: web}, {name: web}]\nactions: []", "1:36: the repository web is there already"),
        (
            "repositories: [{name: web, tag: x}]\nactions: []",
            "1:28: unknown key tag in a repository; known are name, tags, mutable-tags",
        ),
        ("- 1", "1:1: a scenario must be a mapping with days, accounts, repositories, actions"),
    ] {
        let read = Scenario::read("s.yaml", text).map_err(|refusal| refusal.to_string());
        assert_eq!(read, Err(format!("s.yaml:{refused}")), "{text}");
    }
}
