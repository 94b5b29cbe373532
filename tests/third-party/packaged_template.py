"""Has the AWS CLI package and deploy dist/provider.yaml as the README says, against moto.

    python packaged_template.py ARTIFACT.zip MOTO_SERVER AWS

moto's CloudFormation leaves out resource types that it does not know, and a change set's outputs. What is asserted is what
the CLI made of the code, and the functions and the version that moto has then.
"""

import base64
import contextlib
import hashlib
import os
import pathlib
import subprocess
import sys

import boto3
import emulators
from emulators import ACCOUNT, REGION

STACK = "ecr-cleanup-hub"
BUCKET = "artifacts"


def main(artifact, moto_server, aws):
    artifact = pathlib.Path(artifact)
    dist = artifact.parent
    packaged = dist / "packaged.yaml"
    with contextlib.ExitStack() as servers:
        endpoint = servers.enter_context(emulators.moto(moto_server))
        keys = {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "secret"}
        environment = os.environ | keys | {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": REGION}

        def client(service):
            keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "secret"}
            return boto3.client(service, region_name=REGION, endpoint_url=endpoint, **keys)

        def run(*arguments):
            done = subprocess.run([aws, *arguments], env=environment, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, f"aws {' '.join(map(str, arguments))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"

        client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        template = ["--template-file", dist / "provider.yaml", "--output-template-file", packaged]
        run("cloudformation", "package", *template, "--s3-bucket", BUCKET)
        uploaded = client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
        assert [object["Size"] for object in uploaded] == [artifact.stat().st_size], uploaded
        capabilities = ["--capabilities", "CAPABILITY_NAMED_IAM"]
        run("cloudformation", "deploy", "--template-file", packaged, "--stack-name", STACK, *capabilities)
        digest = base64.b64encode(hashlib.sha256(artifact.read_bytes()).digest()).decode()
        functions = client("lambda").list_functions()["Functions"]
        made = {function["FunctionName"]: (function["Handler"], function["CodeSha256"]) for function in functions}
        handlers = ["check-images", "provider", "schedule-checks", "sweep"]
        assert made == {f"ecr-cleanup-{handler}": (handler, digest) for handler in handlers}, made
        version = client("ssm").get_parameter(Name="/ecr-cleanup/version")["Parameter"]["Value"]
        assert artifact.name.startswith(f"ecr-cleanup-{version}-"), version
    packaged.unlink()
    print(f"provider.yaml: packaged and deployed by the AWS CLI, with {artifact.name} as the code of {len(made)} functions")


if __name__ == "__main__":
    main(*sys.argv[1:])
