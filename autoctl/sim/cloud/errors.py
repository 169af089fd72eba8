"""How the simulated services fail: AWS's codes and messages, raised as boto3 raises them."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from autoctl.sim.cloud.account import CALLER


class AwsFailure(Exception):
    """An error answer of a simulated service, before it becomes a `ClientError`.

    `code` and `message` are what AWS answers; `status` is the HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def as_client_error(self, operation: str, request_id: str) -> ClientError:
        """What boto3 would raise for this answer."""
        answer: dict[str, Any] = {
            "Error": {"Code": self.code, "Message": self.message},
            "ResponseMetadata": {
                "RequestId": request_id,
                "HTTPStatusCode": self.status,
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        }
        return ClientError(answer, operation)  # type: ignore[arg-type]  # a subset of its TypedDict


def dry_run_succeeded() -> AwsFailure:
    """The answer to a request with DryRun that would have been carried out."""
    return AwsFailure(
        "DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412
    )


def unauthorized(service: str, action: str) -> AwsFailure:
    """The answer to a caller without the permission; services differ in the code."""
    codes = {"ec2": "UnauthorizedOperation", "iam": "AccessDenied", "sts": "AccessDenied"}
    code = codes.get(service, "AccessDeniedException")
    return AwsFailure(
        code,
        "You are not authorized to perform this operation. User: "
        f"{CALLER} is not authorized to perform: "
        f"{action} because no identity-based policy allows the {action} action",
        403,
    )


def throttled(service: str) -> AwsFailure:
    """The answer to a caller above its request rate."""
    if service == "ec2":
        return AwsFailure("RequestLimitExceeded", "Request limit exceeded.", 503)
    return AwsFailure("ThrottlingException", "Rate exceeded")


def missing_parameter(name: str) -> AwsFailure:
    return AwsFailure("MissingParameter", f"The request must contain the parameter {name}")


def invalid_value(name: str, value: object, why: str = "") -> AwsFailure:
    text = f"Value ({value}) for parameter {name} is invalid."
    return AwsFailure("InvalidParameterValue", f"{text} {why}".rstrip())
