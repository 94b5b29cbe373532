"""Holds a resource type's schema against CloudFormation's meta-schema, as `cfn validate` does, and fails on its
warnings too.

`cfn validate` itself wants a whole provider project with a language plugin around the schema; this calls the same
function. The meta-schema wants three parts in `typeName`, where templates say `Custom::EcrCleanup`: that one value is
replaced.
"""

import io
import json
import logging
import sys

from rpdk.core.data_loaders import load_resource_spec


class Warnings(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def main(path):
    with open(path, encoding="utf-8") as file:
        schema = json.load(file)
    schema["typeName"] = schema["typeName"].replace("Custom::", "EcrCleanup::Custom::")
    warnings = Warnings()
    logging.getLogger("rpdk").addHandler(warnings)
    stream = io.StringIO(json.dumps(schema))
    stream.name = path
    load_resource_spec(stream)
    if warnings.messages:
        sys.exit("\n".join(warnings.messages))


main(sys.argv[1])
