use serde_json::json;

use super::*;

fn envelope(change: impl Fn(&mut serde_json::Value)) -> Envelope {
    let mut message = json!({
        "cleanup": crate::settings::tests::cleanup(),
        "event": {
            "id": "1", "source": EVENT_SOURCE, "detail-type": SWEEP_DUE, "account": "111111111111", "region": "eu-west-1",
            "time": "2026-11-02T10:00:00Z", "detail": {},
        },
    });
    change(&mut message);
    Envelope::read(&message.to_string()).unwrap()
}

#[test]
fn only_the_hub_can_ask_for_a_sweep() {
    assert_eq!(due(&envelope(|_| {})).unwrap(), SweepDue::default());
    for (pointer, value) in [
        ("/event/source", json!("aws.ecs")),
        ("/event/detail-type", json!("Image Deletion Check Due")),
        ("/event/account", json!("222222222222")),
        ("/event/detail", json!({"after": "shop"})),
        ("/event/detail", json!({"before": null})),
    ] {
        let changed = envelope(|message| *message.pointer_mut(pointer).unwrap() = value.clone());
        assert!(due(&changed).is_err(), "{pointer} = {value}");
    }
}

#[test]
fn a_sweep_goes_on_where_it_stopped() {
    let after = json!({"account": "111111111111", "region": "eu-west-1", "name": "team/app"});
    let due = due(&envelope(|message| message["event"]["detail"] = json!({"after": after}))).unwrap();
    assert_eq!(due.after.as_ref().map(|after| after.name.as_str()), Some("team/app"));
    assert_eq!(json!(due), json!({"after": after}));
}
