"""EventBridge Scheduler: groups, schedules, names, expressions, conflicts."""

ANY_NAME = "takes any name"
ANY_EXPRESSION = "takes any text for an expression"
ANY_VALUE = "takes any value of an enumeration"
REFUSED_LATER = "lists what should have been refused"
NO_PAGES = "answers everything in one page"
NO_COMPLETION = "leaves out ActionAfterCompletion where its default holds"
KEEPS = "keeps what an update leaves out, or loses the state"

# Label of the call: how the emulator is wrong there.
DEVIATIONS = {
    "moto": {
        "create group twice": "makes the same group twice",
        "create group, bad name": ANY_NAME,
        "create group, long name": ANY_NAME,
        "list groups": REFUSED_LATER,
        "tag missing": "tags what is not there",
        "list tags of missing": "tags what is not there",
        "create in a missing group": "fails with status 500",
        "get from the default group": NO_COMPLETION,
        "create, name with a space": ANY_NAME,
        "create, name with 65 letters": ANY_NAME,
        "create, name with an at": ANY_NAME,
        "create, nothing": ANY_EXPRESSION,
        "create, words": ANY_EXPRESSION,
        "create, a date alone": ANY_EXPRESSION,
        "create, an offset": ANY_EXPRESSION,
        "create, no such month": ANY_EXPRESSION,
        "create, a rate without a unit": ANY_EXPRESSION,
        "create, a rate of nothing": ANY_EXPRESSION,
        "create, seconds": ANY_EXPRESSION,
        "get rate": NO_COMPLETION,
        "create, no such state": ANY_VALUE,
        "get disabled": NO_COMPLETION,
        "create, no such completion": ANY_VALUE,
        "create, target without a role": "takes a target without its required role",
        "get after update": KEEPS,
        "update, words": ANY_EXPRESSION,
        "get after enabling": KEEPS,
        "list": REFUSED_LATER,
        "list all groups": REFUSED_LATER,
        "list a missing group": "answers an empty list",
        "delete missing group": "fails with status 500",
        "delete the default group": "lets go of the default group",
    },
    "ministack": {
        "create group, long name": ANY_NAME,
        "list groups": REFUSED_LATER,
        "more groups": NO_PAGES,
        "create, name with 65 letters": ANY_NAME,
        "create, name with an at": ANY_NAME,
        "create, words": ANY_EXPRESSION,
        "create, a date alone": ANY_EXPRESSION,
        "create, an offset": ANY_EXPRESSION,
        "create, no such month": ANY_EXPRESSION,
        "create, a rate without a unit": ANY_EXPRESSION,
        "create, a rate of nothing": ANY_EXPRESSION,
        "create, seconds": ANY_EXPRESSION,
        "create, no such state": ANY_VALUE,
        "create, no such completion": ANY_VALUE,
        "update, words": ANY_EXPRESSION,
        "list": REFUSED_LATER,
        "list all groups": REFUSED_LATER,
        "list a missing group": "answers an empty list",
        "more": NO_PAGES,
    },
}

ROLE = "arn:aws:iam::123456789012:role/scheduler"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:due"
OFF = {"Mode": "OFF"}
TARGET = {"Arn": QUEUE, "RoleArn": ROLE, "Input": "{}"}
# Far enough away that none fires while it is looked at.
LATER = "at(2099-01-01T00:00:00)"


def run(record):
    scheduler = record.client("scheduler")
    iam = record.client("iam")
    call = record.call
    trust = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",'
        ' "Principal": {"Service": "scheduler.amazonaws.com"}}]}'
    )
    iam.create_role(RoleName="scheduler", AssumeRolePolicyDocument=trust)

    # Groups.
    group = "[Name, State, Arn]"
    call("create group", scheduler.create_schedule_group, "ScheduleGroupArn", Name="checks")
    call("create group twice", scheduler.create_schedule_group, "ScheduleGroupArn", Name="checks")
    call("create second group", scheduler.create_schedule_group, "ScheduleGroupArn", Name="others")
    call("create group, bad name", scheduler.create_schedule_group, "ScheduleGroupArn", Name="a b")
    call("create group, long name", scheduler.create_schedule_group, "ScheduleGroupArn", Name="n" * 65)
    call("get group", scheduler.get_schedule_group, group, Name="checks")
    call("get the default group", scheduler.get_schedule_group, group, Name="default")
    call("get missing group", scheduler.get_schedule_group, group, Name="none")
    call("list groups", scheduler.list_schedule_groups, "sort(ScheduleGroups[].Name)")
    call("list groups by prefix", scheduler.list_schedule_groups, "ScheduleGroups[].Name", NamePrefix="che")
    page = call("first page of groups", scheduler.list_schedule_groups, "length(ScheduleGroups)", MaxResults=1)
    call("more groups", lambda: {"more": "NextToken" in page}, "more")

    # Tags, which only groups have.
    arn = "arn:aws:scheduler:eu-west-1:123456789012:schedule-group/checks"
    owner = [{"Key": "ecr-cleanup:owner", "Value": "a"}]
    call("tag", scheduler.tag_resource, "`true`", ResourceArn=arn, Tags=owner)
    call("list tags", scheduler.list_tags_for_resource, "Tags", ResourceArn=arn)
    call("untag", scheduler.untag_resource, "`true`", ResourceArn=arn, TagKeys=["ecr-cleanup:owner"])
    call("list tags after untag", scheduler.list_tags_for_resource, "Tags", ResourceArn=arn)
    call("tag missing", scheduler.tag_resource, "`true`", ResourceArn=arn.replace("checks", "none"), Tags=owner)
    call("list tags of missing", scheduler.list_tags_for_resource, "Tags", ResourceArn=arn.replace("checks", "none"))

    # Schedules.
    def create(label, name="check-1", expression=LATER, group="checks", **more):
        parameters = {
            "Name": name,
            "GroupName": group,
            "ScheduleExpression": expression,
            "FlexibleTimeWindow": OFF,
            "Target": TARGET,
        } | more
        return call(label, scheduler.create_schedule, "ScheduleArn", **parameters)

    def update(label, name="check-1", expression=LATER, group="checks", **more):
        parameters = {
            "Name": name,
            "GroupName": group,
            "ScheduleExpression": expression,
            "FlexibleTimeWindow": OFF,
            "Target": TARGET,
        } | more
        return call(label, scheduler.update_schedule, "ScheduleArn", **parameters)

    whole = (
        "[Name, GroupName, ScheduleExpression, ScheduleExpressionTimezone, State, ActionAfterCompletion,"
        " FlexibleTimeWindow.Mode, Target.[Arn, RoleArn, Input], Description || `null`]"
    )

    def get(label, name="check-1", **more):
        return call(label, scheduler.get_schedule, whole, **({"Name": name, "GroupName": "checks"} | more))

    create("create", Description="first", ActionAfterCompletion="DELETE", ScheduleExpressionTimezone="UTC")
    get("get")
    create("create twice")
    create("create in the second group", group="others")
    create("create in a missing group", group="none")
    call(
        "create in the default group", scheduler.create_schedule, "ScheduleArn",
        Name="check-1", ScheduleExpression=LATER, FlexibleTimeWindow=OFF, Target=TARGET,
    )
    get("get from the default group", GroupName="default")
    get("get missing", name="none")
    get("get from a missing group", GroupName="none")
    for label, name in [("a space", "a b"), ("65 letters", "n" * 65), ("an at", "a@b")]:
        create(f"create, name with {label}", name=name)
    for label, name in [("a dot", "a.b"), ("an underscore", "a_b"), ("64 letters", "n" * 64)]:
        create(f"create, name with {label}", name=name)
    for label, expression in [
        ("nothing", ""),
        ("words", "tomorrow"),
        ("a date alone", "at(2099-01-01)"),
        ("an offset", "at(2099-01-01T00:00:00Z)"),
        ("no such month", "at(2099-13-01T00:00:00)"),
        ("a rate without a unit", "rate(1)"),
        ("a rate of nothing", "rate(0 days)"),
        ("seconds", "rate(30 seconds)"),
    ]:
        create(f"create, {label}", name=label.replace(" ", "-"), expression=expression)
    create("create, rate", name="rate", expression="rate(1 day)")
    create("create, rate of hours", name="rate-2", expression="rate(12 hours)")
    get("get rate", name="rate")
    create("create, no such state", name="state", State="SLEEPING")
    create("create, disabled", name="disabled", State="DISABLED")
    get("get disabled", name="disabled")
    create("create, no such completion", name="completion", ActionAfterCompletion="KEEP")
    create("create, target without a role", name="target", Target={"Arn": QUEUE})

    # Updates: what is left out is reset.
    update("update", expression="at(2099-02-01T00:00:00)")
    get("get after update")
    update("update missing", name="none")
    update("update in a missing group", group="none")
    update("update, words", expression="tomorrow")
    update("update disabled", name="disabled")
    get("get after enabling", name="disabled")

    # Listings.
    names = "sort(Schedules[].Name)"
    call("list", scheduler.list_schedules, names, GroupName="checks")
    call("list by prefix", scheduler.list_schedules, names, GroupName="checks", NamePrefix="check-")
    call("list by state", scheduler.list_schedules, names, GroupName="checks", State="DISABLED")
    call("list all groups", scheduler.list_schedules, "length(Schedules)")
    call("list a missing group", scheduler.list_schedules, names, GroupName="none")
    page = call("first page", scheduler.list_schedules, "length(Schedules)", GroupName="checks", MaxResults=1)
    call("more", lambda: {"more": "NextToken" in page}, "more")

    # Removal.
    call("delete", scheduler.delete_schedule, "`true`", Name="check-1", GroupName="checks")
    call("delete twice", scheduler.delete_schedule, "`true`", Name="check-1", GroupName="checks")
    call("delete from a missing group", scheduler.delete_schedule, "`true`", Name="check-1", GroupName="none")
    get("get after deletion")
    create("create after deletion")
    call("delete group", scheduler.delete_schedule_group, "`true`", Name="others")
    call("delete missing group", scheduler.delete_schedule_group, "`true`", Name="none")
    call("delete the default group", scheduler.delete_schedule_group, "`true`", Name="default")
