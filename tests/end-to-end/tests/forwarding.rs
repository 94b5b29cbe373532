//! Which events the rules of `infra-templates/workload.yaml` forward: those that concern the hub's images, and those that
//! cannot be told from them.

use end_to_end::{Installation, Organization};
use serde_json::{Value, json};

/// The rule that forwards an event from a workload account, if one does.
fn forwarded(organization: &Organization, event: &Value) -> Option<&'static str> {
    let (account, region) = (&organization.workloads[0], organization.home());
    let rules = ["api-calls", "config-items"].into_iter().filter(|rule| {
        let call = |operation, input| organization.call(account, region, "events", operation, input);
        let name = format!("ecr-cleanup-prod-accounts-forward-{rule}");
        let pattern = call("DescribeRule", json!({"Name": name}))["EventPattern"].clone();
        let input = json!({"EventPattern": pattern, "Event": event.to_string()});
        call("TestEventPattern", input)["Result"] == json!(true)
    });
    let rules: Vec<_> = rules.collect();
    assert!(rules.len() < 2, "{rules:?} forward {event}");
    rules.first().copied()
}

fn fixture(text: &str) -> Value {
    serde_json::from_str(text).expect("a fixture")
}

/// The event with its images in another registry.
fn naming(event: &Value, registry: &str) -> Value {
    const HUB: &str = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/";
    let text = event.to_string();
    assert!(text.contains(HUB), "{text}");
    fixture(&text.replace(HUB, &format!("{registry}/")))
}

fn with(event: &Value, pointer: &str, value: Value) -> Value {
    let mut event = event.clone();
    *event.pointer_mut(pointer).expect("the pointer is to something") = value;
    event
}

#[test]
fn what_concerns_the_hubs_images_or_may_do_so_is_forwarded_and_nothing_else() {
    let organization = Organization::of_size(1, 1, 1);
    Installation::through_cloudformation(&organization);
    let fixtures = [
        ("api-calls", include_str!("../../../handler/fixtures/cloudtrail-register.json")),
        ("api-calls", include_str!("../../../handler/fixtures/cloudtrail-deregister.json")),
        ("api-calls", include_str!("../../../handler/fixtures/cloudtrail-delete.json")),
        ("config-items", include_str!("../../../handler/fixtures/config-new.json")),
        ("config-items", include_str!("../../../handler/fixtures/config-inactive.json")),
    ];
    for (rule, text) in fixtures {
        let event = fixture(text);
        for registry in [
            "111111111111.dkr.ecr.us-east-1.amazonaws.com",
            "111111111111.dkr.ecr-fips.us-east-1.amazonaws.com",
            "111111111111.dkr-ecr.eu-west-1.on.aws",
            "111111111111.dkr-ecr-fips.eu-west-1.on.aws",
            "111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn",
        ] {
            assert_eq!(forwarded(&organization, &naming(&event, registry)), Some(rule), "{registry}: {text}");
        }
        for registry in ["444444444444.dkr.ecr.eu-west-1.amazonaws.com", "docker.io", "public.ecr.aws/111111111111"] {
            assert_eq!(forwarded(&organization, &naming(&event, registry)), None, "{registry}: {text}");
        }
    }
    // One image of several is enough.
    let register = naming(&fixture(fixtures[0].1), "docker.io");
    let second = json!({"name": "c9", "image": "111111111111.dkr.ecr.eu-west-1.amazonaws.com/team/api:1"});
    let mut both = register.clone();
    let containers = both.pointer_mut("/detail/responseElements/taskDefinition/containerDefinitions");
    containers.and_then(Value::as_array_mut).expect("containers").push(second);
    assert_eq!(forwarded(&organization, &both), Some("api-calls"));
    // Records without an image pass: the hub looks it up.
    for (rule, text) in [
        ("api-calls", include_str!("../../../handler/fixtures/cloudtrail-truncated.json")),
        ("api-calls", include_str!("../../../handler/fixtures/cloudtrail-omitted.json")),
        ("config-items", include_str!("../../../handler/fixtures/config-deleted.json")),
        ("config-items", include_str!("../../../handler/fixtures/config-oversized.json")),
    ] {
        assert_eq!(forwarded(&organization, &fixture(text)), Some(rule), "{text}");
    }
    // What changes nothing about a task definition does not.
    let (deregister, inactive) = (fixture(fixtures[1].1), fixture(fixtures[4].1));
    for event in [
        fixture(include_str!("../../../handler/fixtures/cloudtrail-failed-call.json")),
        with(&deregister, "/detail/eventName", json!("TagResource")),
        with(&deregister, "/source", json!("team.ecs")),
        with(&inactive, "/detail/configurationItem/configuration/Status", json!("ACTIVE")),
        with(&inactive, "/detail/configurationItem/resourceType", json!("AWS::ECS::Service")),
    ] {
        assert_eq!(forwarded(&organization, &event), None, "{event}");
    }
}
