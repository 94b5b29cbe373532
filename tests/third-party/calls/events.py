"""Amazon EventBridge: buses, rules, targets, permissions, patterns, delivery to a queue."""

import json

ANY_NAME = "takes any name"
REFUSED_LATER = "lists what should have been refused"
NO_PATTERNS = "does not implement TestEventPattern"
NO_LIMIT = "knows no limit of five targets a rule"
MISSING = "does not mind that there is no such thing"
IN_USE = "deletes what still has rules or targets"

# Label of the call: how the emulator is wrong there.
DEVIATIONS = {
    "moto": {
        "create bus, bad name": ANY_NAME,
        "list buses": REFUSED_LATER,
        "put rule, bad name": ANY_NAME,
        "put rule, long name": ANY_NAME,
        "put rule, no such matcher": "takes a matcher that does not exist",
        "list rules": REFUSED_LATER,
        "put six targets": NO_LIMIT,
        "rules of a target": REFUSED_LATER,
        "pattern: exact": NO_PATTERNS,
        "pattern: other": NO_PATTERNS,
        "pattern: prefix": NO_PATTERNS,
        "pattern: anything but": NO_PATTERNS,
        "pattern: anything but, the same": NO_PATTERNS,
        "pattern: exists": NO_PATTERNS,
        "pattern: does not exist": NO_PATTERNS,
        "pattern: exists not": NO_PATTERNS,
        "pattern: numeric": NO_PATTERNS,
        "pattern: suffix": NO_PATTERNS,
        "pattern: wildcard": NO_PATTERNS,
        "pattern: inside a list": NO_PATTERNS,
        "pattern: or": NO_PATTERNS,
        "pattern: or, neither": NO_PATTERNS,
        "pattern: no lists": NO_PATTERNS,
        "put event": "fails with status 500 at the transformed target",
        "put event, source of AWS": "lets anybody publish as AWS",
        "put no event": "takes an empty list",
        "receive": "did not deliver the event",
        "delete bus with rules": IN_USE,
    },
    "ministack": {
        "create bus, bad name": ANY_NAME,
        "list buses": REFUSED_LATER,
        "describe bus with policy": "makes a statement of its own of a given policy",
        "put permission, missing bus": MISSING,
        "put permission, no policy": "takes a policy that is no JSON",
        "describe bus without policy": "makes a statement of its own of a given policy",
        "remove permission twice": MISSING,
        "remove permission, missing bus": MISSING,
        "put rule, bad name": ANY_NAME,
        "put rule, long name": ANY_NAME,
        "put rule, no pattern": "takes a rule with neither pattern nor schedule",
        "list rules": REFUSED_LATER,
        "list rules, missing bus": MISSING,
        "enable missing rule": MISSING,
        "put six targets": NO_LIMIT,
        "list targets, missing rule": MISSING,
        "rules of a target": REFUSED_LATER,
        "put event, detail that is no JSON": "publishes a detail that is no JSON",
        "put event, missing source": "publishes an event without a source",
        "put no event": "takes an empty list",
        "receive": "delivers what should have been refused",
        "delete rule with targets": IN_USE,
        "remove target of a missing rule": MISSING,
        "delete bus with rules": IN_USE,
    },
}

PATTERN = json.dumps({"source": ["aws.ecs"], "detail-type": ["AWS API Call via CloudTrail"]})
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:events"


def run(record):
    events = record.client("events")
    sqs = record.client("sqs")
    call = record.call

    # Buses.
    call("create bus", events.create_event_bus, "EventBusArn", Name="hub")
    call("create bus twice", events.create_event_bus, "EventBusArn", Name="hub")
    call("create bus, bad name", events.create_event_bus, "EventBusArn", Name="a b")
    call("create bus, the default", events.create_event_bus, "EventBusArn", Name="default")
    bus = "[Name, Arn, Policy]"
    call("describe bus", events.describe_event_bus, bus, Name="hub")
    call("describe the default bus", events.describe_event_bus, bus)
    call("describe missing bus", events.describe_event_bus, bus, Name="none")
    call("list buses", events.list_event_buses, "sort(EventBuses[].Name)")
    call("list buses by prefix", events.list_event_buses, "EventBuses[].Name", NamePrefix="hu")

    # Permissions.
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "Workloads",
                    "Effect": "Allow",
                    "Principal": {"AWS": "arn:aws:iam::222222222222:root"},
                    "Action": "events:PutEvents",
                    "Resource": "arn:aws:events:eu-west-1:123456789012:event-bus/hub",
                }
            ],
        }
    )
    call("put permission", events.put_permission, "`true`", EventBusName="hub", Policy=policy)
    call("describe bus with policy", events.describe_event_bus, "contains(Policy, 'Workloads')", Name="hub")
    call("put permission, missing bus", events.put_permission, "`true`", EventBusName="none", Policy=policy)
    call("put permission, no policy", events.put_permission, "`true`", EventBusName="hub", Policy="{")
    call("remove permission", events.remove_permission, "`true`", EventBusName="hub", StatementId="Workloads")
    call("describe bus without policy", events.describe_event_bus, "Policy", Name="hub")
    call("remove permission twice", events.remove_permission, "`true`", EventBusName="hub", StatementId="Workloads")
    call("remove permission, missing bus", events.remove_permission, "`true`", EventBusName="none", StatementId="a")

    # Rules.
    def put_rule(label, name="forward", bus="hub", **more):
        parameters = {"Name": name, "EventBusName": bus, "EventPattern": PATTERN} | more
        parameters = {key: value for key, value in parameters.items() if value is not None}
        return call(label, events.put_rule, "RuleArn", **parameters)

    put_rule("put rule", Description="first")
    put_rule("put rule again", Description="second")
    put_rule("put second rule", name="later")
    put_rule("put rule, default bus", bus="default")
    put_rule("put rule, missing bus", bus="none")
    put_rule("put rule, bad name", name="a b")
    put_rule("put rule, long name", name="n" * 65)
    put_rule("put rule, no pattern", name="empty", EventPattern=None)
    put_rule("put rule, pattern that is no JSON", name="broken", EventPattern="{")
    put_rule("put rule, pattern without lists", name="broken", EventPattern='{"source": "aws.ecs"}')
    put_rule("put rule, no such matcher", name="broken", EventPattern='{"source": [{"like": "aws"}]}')
    rule = "[Name, Arn, State, EventBusName, Description, EventPattern]"
    call("describe rule", events.describe_rule, rule, Name="forward", EventBusName="hub")
    call("describe missing rule", events.describe_rule, rule, Name="none", EventBusName="hub")
    call("describe rule, missing bus", events.describe_rule, rule, Name="forward", EventBusName="none")
    call("list rules", events.list_rules, "sort(Rules[].Name)", EventBusName="hub")
    call("list rules by prefix", events.list_rules, "Rules[].Name", EventBusName="hub", NamePrefix="for")
    call("list rules, missing bus", events.list_rules, "Rules[].Name", EventBusName="none")
    page = call("first page", events.list_rules, "length(Rules)", EventBusName="hub", Limit=1)
    call("more", lambda: {"more": "NextToken" in page}, "more")
    call("disable rule", events.disable_rule, "`true`", Name="later", EventBusName="hub")
    call("describe disabled rule", events.describe_rule, "State", Name="later", EventBusName="hub")
    call("enable rule", events.enable_rule, "`true`", Name="later", EventBusName="hub")
    call("enable missing rule", events.enable_rule, "`true`", Name="none", EventBusName="hub")

    # Targets.
    put = "[FailedEntryCount, FailedEntries[].[TargetId, ErrorCode]]"

    def put_targets(label, *targets, rule="forward", bus="hub"):
        return call(label, events.put_targets, put, Rule=rule, EventBusName=bus, Targets=list(targets))

    put_targets("put target", {"Id": "queue", "Arn": QUEUE})
    put_targets("put target again", {"Id": "queue", "Arn": QUEUE})
    put_targets("put target, missing rule", {"Id": "queue", "Arn": QUEUE}, rule="none")
    put_targets("put target, missing bus", {"Id": "queue", "Arn": QUEUE}, bus="none")
    put_targets("put target, no ARN", {"Id": "odd", "Arn": "queue"})
    put_targets("put six targets", *({"Id": f"t{n}", "Arn": QUEUE} for n in range(6)), rule="later")
    targets = "Targets[].[Id, Arn]"
    call("list targets", events.list_targets_by_rule, targets, Rule="forward", EventBusName="hub")
    call("list targets, missing rule", events.list_targets_by_rule, targets, Rule="none", EventBusName="hub")
    call("rules of a target", events.list_rule_names_by_target, "sort(RuleNames)", TargetArn=QUEUE, EventBusName="hub")

    # Patterns.
    event = {
        "id": "1", "account": "123456789012", "source": "aws.ecs", "time": "2026-01-01T00:00:00Z",
        "region": "eu-west-1", "resources": [], "detail-type": "Change",
        "detail": {"status": "INACTIVE", "count": 3, "images": [{"image": "a:1"}, {"image": "b:2"}]},
    }
    for label, pattern in [
        ("exact", {"source": ["aws.ecs"]}),
        ("other", {"source": ["aws.config"]}),
        ("prefix", {"source": [{"prefix": "aws."}]}),
        ("anything but", {"detail": {"status": [{"anything-but": "ACTIVE"}]}}),
        ("anything but, the same", {"detail": {"status": [{"anything-but": ["INACTIVE"]}]}}),
        ("exists", {"detail": {"status": [{"exists": True}]}}),
        ("does not exist", {"detail": {"error": [{"exists": False}]}}),
        ("exists not", {"detail": {"error": [{"exists": True}]}}),
        ("numeric", {"detail": {"count": [{"numeric": [">", 2, "<=", 3]}]}}),
        ("suffix", {"source": [{"suffix": "ecs"}]}),
        ("wildcard", {"source": [{"wildcard": "a*.e*s"}]}),
        ("inside a list", {"detail": {"images": {"image": ["b:2"]}}}),
        ("or", {"$or": [{"source": ["aws.config"]}, {"detail-type": ["Change"]}]}),
        ("or, neither", {"$or": [{"source": ["aws.config"]}, {"detail-type": ["Other"]}]}),
        ("no lists", {"source": "aws.ecs"}),
    ]:
        call(
            f"pattern: {label}", events.test_event_pattern, "Result",
            EventPattern=json.dumps(pattern), Event=json.dumps(event),
        )

    # Delivery.
    queue = sqs.create_queue(QueueName="events")["QueueUrl"]
    sqs.set_queue_attributes(
        QueueUrl=queue,
        Attributes={
            "Policy": json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "events.amazonaws.com"},
                            "Action": "sqs:SendMessage",
                            "Resource": QUEUE,
                        }
                    ],
                }
            )
        },
    )
    put_rule("put rule for our own", name="own", EventPattern='{"source": ["team"]}')
    wrapped = {"InputTemplate": '{"kind": <kind>, "event": <aws.events.event.json>}', "InputPathsMap": {"kind": "$.detail-type"}}
    put_targets("put transformed target", {"Id": "queue", "Arn": QUEUE, "InputTransformer": wrapped}, rule="own")
    sent = "[FailedEntryCount, Entries[].ErrorCode]"
    entry = {"Source": "team", "DetailType": "Checked", "Detail": '{"n": 1}', "EventBusName": "hub"}
    call("put event", events.put_events, sent, Entries=[entry])
    call("put event, detail that is no JSON", events.put_events, sent, Entries=[entry | {"Detail": "{"}])
    call("put event, source of AWS", events.put_events, sent, Entries=[entry | {"Source": "aws.ecs"}])
    call("put event, missing source", events.put_events, sent, Entries=[{key: entry[key] for key in entry if key != "Source"}])
    call("put no event", events.put_events, sent, Entries=[])
    call("put eleven events", events.put_events, sent, Entries=[entry] * 11)

    def received():
        messages = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2, MaxNumberOfMessages=10).get("Messages", [])
        return {"bodies": [json.loads(message["Body"]) for message in messages]}

    call(
        "receive", received,
        'bodies[].[kind, event.source, event."detail-type", event.detail, event.account, event.region]',
    )

    # Removal.
    call("delete rule with targets", events.delete_rule, "`true`", Name="forward", EventBusName="hub")

    def remove_targets(label, *ids, rule="forward"):
        return call(label, events.remove_targets, put, Rule=rule, EventBusName="hub", Ids=list(ids))

    remove_targets("remove target", "queue")
    remove_targets("remove target twice", "queue")
    remove_targets("remove target of a missing rule", "queue", rule="none")
    call("delete rule", events.delete_rule, "`true`", Name="forward", EventBusName="hub")
    call("delete rule twice", events.delete_rule, "`true`", Name="forward", EventBusName="hub")
    call("delete bus with rules", events.delete_event_bus, "`true`", Name="hub")
    call("delete missing bus", events.delete_event_bus, "`true`", Name="none")
    call("delete the default bus", events.delete_event_bus, "`true`", Name="default")
