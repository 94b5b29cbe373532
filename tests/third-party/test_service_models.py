"""The check of recorded calls accepts what is right and finds what is wrong."""

import unittest

from service_models import check_call

DIGEST = "sha256:" + "0" * 64


def describe_images(input=None, output=None, error=None):
    if output is None and error is None:
        output = {"imageDetails": [{"imageDigest": DIGEST, "imagePushedAt": "2026-01-01T00:00:00Z"}]}
    return {
        "service": "ecr",
        "operation": "DescribeImages",
        "input": {"repositoryName": "app"} if input is None else input,
        "output": output,
        "error": error,
    }


class ServiceModels(unittest.TestCase):
    def accepts(self, call):
        self.assertEqual(list(check_call(call)), [])

    def finds(self, call, *begins):
        found = list(check_call(call))
        self.assertEqual(len(found), len(begins), found)
        for problem, begin in zip(found, begins):
            self.assertTrue(problem.startswith(begin), problem)

    def test_right_calls(self):
        self.accepts(describe_images())
        self.accepts(describe_images(output={"imageDetails": [{"imagePushedAt": 1767225600.5}]}))
        self.accepts(describe_images(error={"code": "RepositoryNotFoundException", "message": "gone"}))
        self.accepts(describe_images(error={"code": "ThrottlingException", "message": "slower"}))
        self.accepts(describe_images(input={}, error={"code": "InvalidParameterException", "message": "no name"}))

    def test_members(self):
        self.finds(describe_images(input={}), "input.repositoryName: is required")
        self.finds(describe_images(input={"repositoryName": "app", "colour": 1}), "input.colour: is not a member")
        self.finds(describe_images(output={"images": []}), "output.images: is not a member")
        self.finds(describe_images(output={"imageDetails": None}), "output.imageDetails: is null")

    def test_types(self):
        self.finds(describe_images(input={"repositoryName": 1}), "input.repositoryName: is int")
        self.finds(describe_images(output={"imageDetails": {}}), "output.imageDetails: is dict")
        self.finds(
            describe_images(output={"imageDetails": [{"imageSizeInBytes": "1"}]}),
            "output.imageDetails[].imageSizeInBytes: is str",
        )
        self.finds(
            describe_images(output={"imageDetails": [{"imagePushedAt": "yesterday"}]}),
            "output.imageDetails[].imagePushedAt: 'yesterday'",
        )

    def test_constraints(self):
        self.finds(describe_images(input={"repositoryName": "app", "maxResults": 1001}), "input.maxResults: 1001")
        self.finds(describe_images(input={"repositoryName": "App"}), "input.repositoryName: 'App' does not match")
        self.finds(
            describe_images(input={"repositoryName": "app", "filter": {"tagStatus": "MAYBE"}}),
            "input.filter.tagStatus: 'MAYBE' is not one of",
        )
        self.finds(
            describe_images(input={"repositoryName": "app", "imageIds": [{"imageTag": "a"}] * 101}),
            "input.imageIds: 101 items are more than 100",
        )

    def test_errors(self):
        self.finds(describe_images(error={"code": "NoSuchRepository", "message": ""}), "error: NoSuchRepository")
        self.finds(
            describe_images(error={"code": "ImageNotFoundException", "message": "", "fields": {"digest": ""}}),
            "error.digest: is not a member",
        )

    def test_a_recorders_status_may_be_in_capitals(self):
        def status(last):
            answer = {"ConfigurationRecordersStatus": [{"name": "default", "recording": True, "lastStatus": last}]}
            call = {"service": "config", "operation": "DescribeConfigurationRecorderStatus", "input": {}}
            return call | {"output": answer, "error": None}

        self.accepts(status("SUCCESS"))
        self.accepts(status("Success"))
        self.finds(status("success"), "output.ConfigurationRecordersStatus[].lastStatus: 'success' is not one of")

    def test_forms_have_no_types(self):
        def delete_instances(retain, tolerance, output=None):
            preferences = {"FailureTolerancePercentage": tolerance}
            given = {"StackSetName": "s", "Regions": ["eu-west-1"], "RetainStacks": retain}
            return {
                "service": "cloudformation",
                "operation": "DeleteStackInstances",
                "input": given | {"OperationPreferences": preferences},
                "output": {"OperationId": "1"} if output is None else output,
                "error": None,
            }

        self.accepts(delete_instances("false", "100"))
        self.accepts(delete_instances(False, 100, output={"OperationId": None}))
        self.finds(delete_instances("no", "100"), "input.RetainStacks: is str")
        self.finds(delete_instances("false", "101"), "input.OperationPreferences.FailureTolerancePercentage: 101")
        self.finds(delete_instances("false", "all"), "input.OperationPreferences.FailureTolerancePercentage: is str")

    def test_unknown_operations_and_services(self):
        self.finds(describe_images() | {"operation": "DescribePictures"}, "call: ")
        self.finds(describe_images() | {"service": "pictures"}, "call: ")


if __name__ == "__main__":
    unittest.main()
