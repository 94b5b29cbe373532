"""Deploys, updates and deletes a stack with a Custom::EcrCleanup in AWS emulators that others wrote, with the artifact as
the function behind its ServiceToken.

    python custom_resource.py ARTIFACT.zip MOTO_SERVER MINISTACK

ministack runs the artifact as a process, speaks CloudFormation's protocol of custom resources, and has the schedules; moto
has EventBridge, AWS Config and stack sets. Neither knows ECR's pull-time exclusions, which are kept here. What is asserted is what the function made in them, never a stack's status alone.
"""

import collections
import contextlib
import http.server
import json
import pathlib
import sys
import threading
import time

import boto3
import emulators
from emulators import ACCOUNT, REGION

WORKLOAD = "222222222222"
REGIONS = [REGION, "us-east-1"]
PART = "ecr-cleanup-prod-accounts"
RESUMPTIONS = "ecr-cleanup-provider"
STACK_SECONDS = 120


@contextlib.contextmanager
def exclusions():
    """ECR as far as pull-time exclusions go: its endpoint, and the roles that are excluded in each region."""
    excluded = collections.defaultdict(set)

    class Ecr(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            operation = self.headers["X-Amz-Target"].rsplit(".", 1)[1]
            region = self.headers["Authorization"].split("/")[2]
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = {}
            if operation == "ListPullTimeUpdateExclusions":
                answer = {"pullTimeUpdateExclusions": sorted(excluded[region])}
            elif operation == "RegisterPullTimeUpdateExclusion":
                excluded[region].add(given["principalArn"])
            elif operation == "DeregisterPullTimeUpdateExclusion":
                excluded[region].discard(given["principalArn"])
            else:
                self.send_error(501, f"{operation} is not expected")
                return
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ecr) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", excluded
        server.shutdown()


class Emulators:
    """Both emulators, and what is in them."""

    def __init__(self, moto, ministack, ecr):
        self.moto = moto
        self.ministack = ministack
        self.ecr = ecr

    def client(self, endpoint, service, region=REGION, account=ACCOUNT):
        keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "secret"}
        if account != ACCOUNT:
            role = f"arn:aws:iam::{account}:role/administrator"
            given = self.client(endpoint, "sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
            keys = {
                "aws_access_key_id": given["AccessKeyId"],
                "aws_secret_access_key": given["SecretAccessKey"],
                "aws_session_token": given["SessionToken"],
            }
        return boto3.client(service, region_name=region, endpoint_url=endpoint, **keys)

    def create_function(self, artifact):
        """The provider as infra-templates/provider.yaml has it, with the roles that it looks for; its ARN."""
        role = f"arn:aws:iam::{ACCOUNT}:role"
        for kind in ["Administration", "Execution"]:
            self.client(self.ministack, "iam").create_role(
                RoleName=f"AWSCloudFormationStackSet{kind}Role", AssumeRolePolicyDocument="{}"
            )
        function = self.client(self.ministack, "lambda").create_function(
            FunctionName="ecr-cleanup-provider",
            Runtime="provided.al2023",
            Handler="provider",
            Role=f"{role}/ecr-cleanup-provider-{REGION}",
            Code={"ZipFile": artifact.read_bytes()},
            Timeout=STACK_SECONDS,
            Environment={
                "Variables": {
                    "OPT_IN_TAG_KEYS": "ecr-cleanup",
                    "SCHEDULER_ROLE_ARN": f"{role}/ecr-cleanup-scheduler-{REGION}",
                    "RESUME_SCHEDULE_GROUP": RESUMPTIONS,
                    "STACK_SET_ADMINISTRATION_ROLE_ARN": f"{role}/AWSCloudFormationStackSetAdministrationRole",
                    "AWS_ENDPOINT_URL": self.ministack,
                    "AWS_ENDPOINT_URL_CLOUDFORMATION": self.moto,
                    "AWS_ENDPOINT_URL_CONFIG_SERVICE": self.moto,
                    "AWS_ENDPOINT_URL_ECR": self.ecr,
                    "AWS_ENDPOINT_URL_EVENTBRIDGE": self.moto,
                }
            },
        )
        self.client(self.ministack, "scheduler").create_schedule_group(Name=RESUMPTIONS)
        return function["FunctionArn"]

    def on_stack(self, operation, name, properties=None):
        """Does it, and waits; status, reasons and outputs."""
        stacks = self.client(self.ministack, "cloudformation")
        given = {"StackName": name}
        if properties is not None:
            bus = {"Value": {"Fn::GetAtt": ["Cleanup", "EventBusArn"]}}
            resource = {"Type": "Custom::EcrCleanup", "Properties": properties}
            given["TemplateBody"] = json.dumps({"Resources": {"Cleanup": resource}, "Outputs": {"EventBusArn": bus}})
        known = {} if operation == "create_stack" else stacks.describe_stacks(StackName=name)["Stacks"][0]
        made = getattr(stacks, operation)(**given)
        stack_id = known.get("StackId") or made["StackId"]
        deadline = time.monotonic() + STACK_SECONDS
        while True:
            stack = stacks.describe_stacks(StackName=stack_id)["Stacks"][0]
            if not stack["StackStatus"].endswith("_IN_PROGRESS"):
                break
            assert time.monotonic() < deadline, f"{operation} {name} takes longer than {STACK_SECONDS} s"
            time.sleep(0.1)
        events = stacks.describe_stack_events(StackName=stack_id)["StackEvents"]
        reasons = " ".join(event.get("ResourceStatusReason", "") for event in events)
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        return stack["StackStatus"], reasons, outputs

    def made(self):
        """Everything in both that an EcrCleanup consists of."""
        events, config = self.client(self.moto, "events"), self.client(self.moto, "config")
        sets, scheduler = self.client(self.moto, "cloudformation"), self.client(self.ministack, "scheduler")
        made = {"schedule groups": [group["Name"] for group in scheduler.list_schedule_groups()["ScheduleGroups"]]}
        made["buses"] = [bus["Name"] for bus in events.list_event_buses()["EventBuses"]]
        made["aggregators"] = {
            aggregator["ConfigurationAggregatorName"]: aggregator["AccountAggregationSources"]
            for aggregator in config.describe_configuration_aggregators()["ConfigurationAggregators"]
        }
        made["instances"] = {
            (instance["Account"], instance["Region"])
            for stack_set in sets.list_stack_sets(Status="ACTIVE")["Summaries"]
            if stack_set["Status"] == "ACTIVE"
            for instance in sets.list_stack_instances(StackSetName=stack_set["StackSetName"])["Summaries"]
        }
        # What the workload template made where its instances are.
        made["forwarding rules"] = {
            (account, region): [
                rule["Name"] for rule in self.client(self.moto, "events", region, account).list_rules()["Rules"]
            ]
            for account in [ACCOUNT, WORKLOAD]
            for region in REGIONS
        }
        return made


def equal(found, expected, what):
    assert found == expected, f"{what}\n  expected {expected}\n  found    {found}"


def main(artifact, moto_server, ministack_server):
    with contextlib.ExitStack() as servers:
        ecr, excluded = servers.enter_context(exclusions())
        world = Emulators(
            servers.enter_context(emulators.moto(moto_server)),
            servers.enter_context(emulators.ministack(ministack_server)),
            ecr,
        )
        function = world.create_function(pathlib.Path(artifact))
        before = world.made()

        # A refusal names all problems, and makes nothing.
        wrong = {"ServiceToken": function, "ServiceTimeout": STACK_SECONDS, "Colour": "red", "RollbackWindowHours": 0}
        status, reasons, _ = world.on_stack("create_stack", "refused", wrong)
        assert status in ("ROLLBACK_COMPLETE", "CREATE_FAILED"), status
        for path in ["Workloads: ", "Colour: ", "RollbackWindowHours: "]:
            assert path in reasons, f"{path} is not in the reason: {reasons}"
        equal(world.made(), before, "after a refusal")

        def properties(**changed):
            given = {"ServiceToken": function, "ServiceTimeout": STACK_SECONDS, "Name": "prod", "DryRun": True}
            workloads = {"Accounts": {"AccountIds": [WORKLOAD]}, "Regions": changed.pop("Regions", REGIONS)}
            return given | {"Workloads": workloads} | changed

        _, reasons, outputs = world.on_stack("create_stack", "cleanup", properties())
        made = world.made()
        equal(outputs, {"EventBusArn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{PART}"}, f"Fn::GetAtt: {reasons}")
        equal(sorted(set(made["schedule groups"]) - set(before["schedule groups"])), [PART], "schedule groups")
        equal(sorted(set(made["buses"]) - set(before["buses"])), [PART], "event buses")
        policy = json.loads(world.client(world.moto, "events").describe_event_bus(Name=PART)["Policy"])
        assert WORKLOAD in json.dumps(policy), policy
        source = [{"AccountIds": [ACCOUNT, WORKLOAD], "AllAwsRegions": True}]
        equal(made["aggregators"], {PART: source}, "aggregators")
        everywhere = {(account, region) for account in [ACCOUNT, WORKLOAD] for region in REGIONS}
        equal(made["instances"], everywhere, "stack instances")
        for place, rules in made["forwarding rules"].items():
            equal(sorted(rules), [f"{PART}-forward-api-calls", f"{PART}-forward-config-items"], f"rules in {place}")

        def settings():
            """The settings that the rules of the bus put into every message, by the queue that it goes to."""
            events = world.client(world.moto, "events")
            told = {}
            for rule in events.list_rules(EventBusName=PART)["Rules"]:
                for target in events.list_targets_by_rule(EventBusName=PART, Rule=rule["Name"])["Targets"]:
                    template = target["InputTransformer"]["InputTemplate"].replace("<aws.events.event.json>", "null")
                    told[target["Arn"].split(":")[-1]] = json.loads(template)["cleanup"]
            return told

        queues = ["ecr-cleanup-check-images", "ecr-cleanup-schedule-checks", "ecr-cleanup-sweep"]
        equal(sorted(settings()), queues, "queues that the rules of the bus send to")
        for told in settings().values():
            equal((told["dryRun"], told["rollbackWindowHours"]), (True, 24), "settings")

        reading = {
            f"arn:aws:iam::{ACCOUNT}:role/ecr-cleanup-{function}-{REGION}" for function in ["check-images", "sweep"]
        }
        equal(dict(excluded), {"us-east-1": reading}, "pull-time exclusions")

        # An update is in force in the rules, and takes the stack away from where it is not wanted any more.
        _, reasons, _ = world.on_stack("update_stack", "cleanup", properties(Regions=[REGION], RollbackWindowHours=48))
        for told in settings().values():
            equal(told["rollbackWindowHours"], 48, f"settings after the update: {reasons}")
        made = world.made()
        equal(made["instances"], {(ACCOUNT, REGION), (WORKLOAD, REGION)}, "stack instances after the update")
        equal(made["forwarding rules"][WORKLOAD, "us-east-1"], [], "rules where the stack was taken away")

        # A refused update is rolled back.
        status, reasons, _ = world.on_stack("update_stack", "cleanup", properties(Regions=[REGION], KeepNewestImages="many"))
        assert "KeepNewestImages: " in reasons, reasons
        for told in settings().values():
            equal(told["rollbackWindowHours"], 48, f"settings after a refused update ({status})")

        _, reasons, _ = world.on_stack("delete_stack", "cleanup")
        equal(world.made(), before, f"after the deletion: {reasons}")
        equal([region for region, roles in excluded.items() if roles], [], "pull-time exclusions after the deletion")
    print(f"{pathlib.Path(artifact).name}: an EcrCleanup refused, created, updated and deleted in moto and ministack")


if __name__ == "__main__":
    main(*sys.argv[1:])
