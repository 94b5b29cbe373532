"""Compares the simulated AWS, call by call through boto3 over HTTP, with AWS emulators that others wrote.

    python emulators.py SIMULATED_AWS MOTO_SERVER MINISTACK [SERVICE ...]

The arguments are the programs. Each script of `calls/` makes the same calls to all three. Of every answer, what its
JMESPath expression picks is compared, or the code of the error. Where an emulator is known to be wrong, `DEVIATIONS`
of the script says so with the reason; a deviation that is listed and does not occur fails as well.
"""

import contextlib
import importlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import boto3
import botocore.config
import botocore.exceptions
import jmespath

ACCOUNT = "123456789012"
REGION = "eu-west-1"
SERVICES = ["ecr", "ecs", "events", "scheduler"]
STARTUP_SECONDS = 60


class Recorder:
    """Makes the calls of a script to one implementation and keeps what is compared of each answer, by its label."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.answers = {}
        self.aliases = {}

    def client(self, service):
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="secret",
            # What the models forbid must reach the server: its refusal is what is compared.
            config=botocore.config.Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )

    def call(self, label, method, pick, **parameters):
        """Calls, keeps what `pick` picks, and returns the whole answer (empty after an error)."""
        assert label not in self.answers, label
        try:
            answer = method(**parameters)
        except botocore.exceptions.ClientError as error:
            self.answers[label] = {"error": error.response["Error"]["Code"].split("#")[-1]}
            return {}
        self.answers[label] = self.named(jmespath.search(pick, answer))
        return answer

    def named(self, value):
        """The value with everything that has an alias called by it, because the implementations make different ones."""
        text = json.dumps(value, default=str)
        for made, alias in self.aliases.items():
            text = text.replace(made, alias)
        return in_one_order(json.loads(text))


def in_one_order(value):
    """The value with its lists of objects or lists sorted: their order is not documented."""
    if isinstance(value, dict):
        return {name: in_one_order(member) for name, member in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, (dict, list)) for item in value):
        return sorted(map(in_one_order, value), key=json.dumps)
    return value


@contextlib.contextmanager
def server(name, command, environment):
    """A running server, once it takes connections; its output is shown if it does not start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tempfile.TemporaryFile()
    process = subprocess.Popen(
        [part.format(port=port) for part in command],
        env=os.environ | {key: value.format(port=port) for key, value in environment.items()},
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
    )
    try:
        deadline = time.monotonic() + STARTUP_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                sys.exit(f"{name} did not start:\n{log.read().decode(errors='replace')}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def moto(program):
    """A running moto in which unknown access keys are of ACCOUNT."""
    return server("moto", [program, "-H", "127.0.0.1", "-p", "{port}"], {"MOTO_ACCOUNT_ID": ACCOUNT})


def ministack(program):
    """A running ministack for ACCOUNT."""
    addresses = {"GATEWAY_PORT": "{port}", "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1"}
    return server("ministack", [program], addresses | {"MINISTACK_ACCOUNT_ID": ACCOUNT})


def compare(service, endpoints):
    """The problems of one service, as texts."""
    script = importlib.import_module(f"calls.{service}")
    answers = {}
    for name, endpoint in endpoints.items():
        recorder = Recorder(endpoint)
        script.run(recorder)
        answers[name] = recorder.answers
    simulated = answers.pop("simulated-aws")
    problems = []
    for name, emulated in answers.items():
        known = script.DEVIATIONS[name]
        problems += [f"{name}: {label}: a deviation of a call that is not made" for label in known if label not in simulated]
        for label, expected in simulated.items():
            deviates = emulated[label] != expected
            if deviates and label not in known:
                problems.append(
                    f"{name}: {label}\n  simulated-aws {json.dumps(expected, default=str)}"
                    f"\n  {name:13} {json.dumps(emulated[label], default=str)}"
                )
            elif not deviates and label in known:
                problems.append(f"{name}: {label}: no longer deviates ({known[label]}): take it off the list")
    deviations = sum(len(known) for known in script.DEVIATIONS.values())
    print(f"{service}: {len(simulated)} calls to each, {deviations} known deviations, {len(problems)} problems")
    return [f"{service}: {problem}" for problem in problems]


def main(simulated_aws, moto_server, ministack_server, *services):
    with contextlib.ExitStack() as servers:
        endpoints = {
            "simulated-aws": servers.enter_context(server("simulated-aws", [simulated_aws, "--port", "{port}"], {})),
            "moto": servers.enter_context(moto(moto_server)),
            "ministack": servers.enter_context(ministack(ministack_server)),
        }
        problems = [problem for service in services or SERVICES for problem in compare(service, endpoints)]
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    main(*sys.argv[1:])
