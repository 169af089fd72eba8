"""AWS not being reached, or not answering: a finding of its own, whatever was being checked."""

from __future__ import annotations

from typing import Final

from botocore.parsers import ResponseParserError

from autoctl.aws.errors import CloudError
from autoctl.operator.doctor.report import Finding, Level
from autoctl.operator.reach import silence

CHECK: Final = "endpoint"
_FIX: Final = (
    "check the way to it from here (routes, security groups, VPC endpoints, proxy, DNS), "
    "--region and AWS_ENDPOINT_URL"
)


def unanswered(failure: CloudError, level: Level = Level.ERROR) -> Finding | None:
    """That the endpoint was not reached, or is in trouble; None when AWS said what is wrong."""
    if unreached := silence(failure):
        message = f"does not answer: {unreached.why}"
        return Finding(CHECK, level, unreached.endpoint, message, _FIX)
    if failure.transient:
        return Finding(CHECK, level, "AWS", f"has no answer now: {failure}", "try again later")
    return None


def garbled(error: ResponseParserError) -> Finding:
    """That somebody answers who is not AWS: a proxy's login page, another service's port."""
    text = f"what answers is not AWS: {str(error).partition(':')[0]}"
    return Finding(CHECK, Level.ERROR, "AWS", text, _FIX)
