"""Starts a Lambda artifact as the service would: its one file `bootstrap`, a runtime API, the handler in `_HANDLER`.

    python start_artifact.py ARTIFACT.zip
"""

import contextlib
import http.server
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import zipfile

SECONDS = 30


def main(artifact):
    polled = threading.Event()

    class RuntimeApi(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.endswith("/runtime/invocation/next"):
                polled.set()
            # The process is ended as soon as it has polled.
            with contextlib.suppress(ConnectionError):
                self.send_error(500)

        def do_POST(self):
            self.send_error(500)

        def log_message(self, *_):
            pass

    with zipfile.ZipFile(artifact) as archive:
        entries = [(entry.filename, entry.external_attr >> 16) for entry in archive.infolist()]
        if entries != [("bootstrap", 0o100755)]:
            sys.exit(f"{artifact} should hold an executable bootstrap and nothing else, not {entries}")
        content = archive.read("bootstrap")
    with tempfile.TemporaryDirectory() as folder:
        bootstrap = pathlib.Path(folder) / "bootstrap"
        bootstrap.write_bytes(content)
        bootstrap.chmod(0o755)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), RuntimeApi)
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def start(handler):
            environment = {
                "_HANDLER": handler,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}",
                "AWS_LAMBDA_FUNCTION_NAME": f"ecr-cleanup-{handler}",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_LOG_GROUP_NAME": "group",
                "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
                "AWS_REGION": "eu-west-1",
                "AWS_ACCESS_KEY_ID": "111122223333",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "SCHEDULER_ROLE_ARN": "arn:aws:iam::111122223333:role/ecr-cleanup-scheduler-eu-west-1",
            }
            return subprocess.Popen(
                [bootstrap], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )

        unknown = start("no-such-function")
        said, _ = unknown.communicate(timeout=SECONDS)
        if unknown.returncode == 0 or b"no-such-function" not in said:
            sys.exit(f"an unknown handler should be refused by name, not: {said.decode(errors='replace')}")
        known = start("schedule-checks")
        try:
            if not polled.wait(SECONDS):
                known.kill()
                sys.exit(f"the function did not ask for an invocation: {known.communicate()[0].decode(errors='replace')}")
        finally:
            known.kill()
            known.communicate()
        server.shutdown()
    print(f"{pathlib.Path(artifact).name}: {len(content)} bytes of bootstrap start, poll, and refuse an unknown handler")


if __name__ == "__main__":
    main(*sys.argv[1:])
