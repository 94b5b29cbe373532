"""Holds recorded calls against the service models that botocore publishes.

    python service_models.py FOLDER

Every `*.jsonl` file of the folder has one call a line:
{"service", "operation", "input", "output" or null, "error": {"code", "message", "fields"} or null}, with members named
as in the models and timestamps as ISO 8601 strings or epoch seconds. The query protocol knows no types: there a number or
boolean of an input may be its text, and a null member of an output is one that is not sent. Checked are: members are known and required ones
present; types, enums, lengths, ranges, patterns; error codes are modelled for the operation, or common to all services.

An input that breaks the model must have been refused, and an input that was refused may break it: tests send such on
purpose. Everything else that breaks the model is a problem.
"""

import collections
import datetime
import functools
import json
import pathlib
import re
import sys

import regex
from botocore.loaders import Loader
from botocore.model import ServiceModel

# Errors that any operation may answer without its model saying so ("Common error types" of the services' API
# references, and what SDKs treat as throttling).
COMMON_ERRORS = {
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "OptInRequired",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "SerializationException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "ValidationError",
    "ValidationException",
    # Not AWS's: what the simulated AWS answers to everything that it does not do.
    "NotSimulated",
}

# Errors by which an input is refused for what it contains.
REFUSALS = re.compile(
    r"Validation|InvalidParameter|InvalidRequest|InvalidInput|InvalidTag|InvalidEventPattern|InvalidAddress|"
    r"InvalidAttribute|InvalidExpression|InvalidLimit|InvalidRole|InvalidTimeRange|MalformedPolicy|InvalidPolicy|"
    r"SerializationException|NotSimulated|ClientException|EmptyBatchRequest|TooManyEntries|BatchEntryIds|AccessDenied|"
    r"ParamValidation|MissingParameter|UnsupportedOperation|InvalidArn|LimitExceeded|NotFound|DoesNotExist"
)


# Members that AWS also answers in capitals, whatever the model says (the CLI's examples in the AWS Config developer guide).
ANY_CASE = {"output.ConfigurationRecordersStatus[].lastStatus"}


@functools.cache
def service_model(service):
    return ServiceModel(Loader().load_service_model(service, "service-2"))


@functools.cache
def pattern(text):
    return regex.compile(text, regex.DOTALL)


def check_call(call):
    """Yields every way in which a recorded call breaks its service's model, as a text that begins with where."""
    try:
        model = service_model(call["service"])
        operation = model.operation_model(call["operation"])
    except Exception as error:
        yield f"call: {error}"
        return
    error = call["error"]
    given, answered = call["input"], call["output"]
    if model.protocol == "query":
        given, answered = typed(operation.input_shape, given), sent(answered)
    if error is None or not REFUSALS.search(error["code"]):
        yield from check_value(operation.input_shape, given, "input")
    if error is None:
        yield from check_value(operation.output_shape, answered, "output")
    else:
        yield from check_error(operation, error)
    if (error is None) == (call["output"] is None):
        yield "call: has not exactly one of output and error"


def typed(shape, value):
    """The input of a form, with texts of numbers and booleans read; what is not one stays text, which the check finds."""
    if shape is None:
        return value
    if isinstance(value, dict) and shape.type_name == "structure":
        return {name: typed(shape.members.get(name), member) for name, member in value.items()}
    if isinstance(value, list) and shape.type_name == "list":
        return [typed(shape.member, item) for item in value]
    if isinstance(value, str):
        if shape.type_name == "boolean":
            return {"true": True, "false": False}.get(value, value)
        if shape.type_name in ("integer", "long") and re.fullmatch(r"-?\d+", value):
            return int(value)
    return value


def sent(value):
    """An output without its null members."""
    if isinstance(value, dict):
        return {name: sent(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [sent(item) for item in value if item is not None]
    return value


def check_error(operation, error):
    modelled = {shape.error_code: shape for shape in operation.error_shapes}
    modelled.update({shape.name: shape for shape in operation.error_shapes})
    shape = modelled.get(error["code"])
    if shape is None:
        if error["code"] not in COMMON_ERRORS:
            yield f"error: {error['code']} is neither modelled for the operation nor common"
        return
    for name in error.get("fields") or {}:
        if name not in shape.members:
            yield f"error.{name}: is not a member of {error['code']}"


def check_value(shape, value, path):
    if shape is None:
        if value not in (None, {}):
            yield f"{path}: the operation has none"
        return
    if value is None:
        yield f"{path}: is null"
        return
    yield from CHECKS[shape.type_name](shape, value, path)


def check_structure(shape, value, path):
    if shape.metadata.get("document") or getattr(shape, "is_document_type", False):
        return
    if not isinstance(value, dict):
        yield f"{path}: is {type(value).__name__}, not a structure"
        return
    for name in shape.required_members:
        if name not in value:
            yield f"{path}.{name}: is required"
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        yield f"{path}: has {len(value)} members of a union"
    for name, member in value.items():
        if name in shape.members:
            yield from check_value(shape.members[name], member, f"{path}.{name}")
        else:
            yield f"{path}.{name}: is not a member of {shape.name}"


def check_list(shape, value, path):
    if not isinstance(value, list):
        yield f"{path}: is {type(value).__name__}, not a list"
        return
    # A shape that an input and an output share has its lower bound for the input: BatchDeleteImage, say, takes at least
    # one image id and answers with none when all of them failed.
    if value or not path.startswith("output"):
        yield from check_bounds(shape, len(value), path, "items")
    for item in value:
        yield from check_value(shape.member, item, f"{path}[]")


def check_map(shape, value, path):
    if not isinstance(value, dict):
        yield f"{path}: is {type(value).__name__}, not a map"
        return
    yield from check_bounds(shape, len(value), path, "entries")
    for key, member in value.items():
        yield from check_value(shape.key, key, f"{path}{{key}}")
        yield from check_value(shape.value, member, f"{path}{{}}")


def check_string(shape, value, path):
    if not isinstance(value, str):
        yield f"{path}: is {type(value).__name__}, not a string"
        return
    yield from check_bounds(shape, len(value), path, "characters")
    known = shape.enum if path not in ANY_CASE else [one.upper() for one in shape.enum] + shape.enum
    if shape.enum and value not in known:
        yield f"{path}: {value!r} is not one of {', '.join(shape.enum)}"
    wanted = shape.metadata.get("pattern")
    if wanted is not None and not pattern(wanted).fullmatch(value):
        yield f"{path}: {value!r} does not match {wanted}"


def check_integer(shape, value, path):
    if isinstance(value, bool) or not isinstance(value, int):
        yield f"{path}: is {type(value).__name__}, not an integer"
        return
    yield from check_bounds(shape, value, path, "")


def check_float(shape, value, path):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        yield f"{path}: is {type(value).__name__}, not a number"
        return
    yield from check_bounds(shape, value, path, "")


def check_boolean(shape, value, path):
    if not isinstance(value, bool):
        yield f"{path}: is {type(value).__name__}, not a boolean"


def check_timestamp(shape, value, path):
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return
    try:
        # Python 3.11 reads microseconds at most.
        datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
    except (TypeError, ValueError):
        yield f"{path}: {value!r} is not a timestamp"


def check_blob(shape, value, path):
    if not isinstance(value, str):
        yield f"{path}: is {type(value).__name__}, not the text of a blob"


def check_bounds(shape, number, path, unit):
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and number < low:
        yield f"{path}: {number} {unit} are less than {low}"
    if high is not None and number > high:
        yield f"{path}: {number} {unit} are more than {high}"


CHECKS = {
    "structure": check_structure,
    "list": check_list,
    "map": check_map,
    "string": check_string,
    "character": check_string,
    "integer": check_integer,
    "long": check_integer,
    "float": check_float,
    "double": check_float,
    "boolean": check_boolean,
    "timestamp": check_timestamp,
    "blob": check_blob,
}


def main(folder):
    calls = collections.Counter()
    problems = collections.Counter()
    for path in sorted(pathlib.Path(folder).glob("*.jsonl")):
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                call = json.loads(line)
                name = f"{call['service']} {call['operation']}"
                calls[name] += 1
                for problem in check_call(call):
                    problems[f"{name}: {problem}"] += 1
    for problem, count in sorted(problems.items())[:200]:
        print(f"{problem} ({count} times)")
    print(f"{sum(calls.values())} calls of {len(calls)} operations checked, {len(problems)} problems")
    if not calls:
        sys.exit(f"no call is recorded in {folder}")
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
