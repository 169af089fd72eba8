"""What does not answer is told with its address, and is blamed on nobody's credentials."""

from __future__ import annotations

import json
import random
import socket
from typing import Any

import pytest
import yaml
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from click.testing import CliRunner, Result

from autoctl.aws.call import Caller
from autoctl.aws.executor import DirectExecutor
from autoctl.cli.main import cli
from autoctl.operator.doctor.account import check_cluster, check_credentials, check_queue
from autoctl.operator.doctor.permissions import check_permissions, dry_runs, reads
from autoctl.operator.doctor.policies import Place, check_policies, questions
from autoctl.operator.doctor.report import Level

STS = "https://sts.us-west-2.amazonaws.com/"
REFUSED = "AWSHTTPSConnection(host='x', port=443): Failed to establish: [Errno 111] refused"
LOST = EndpointConnectionError(endpoint_url=STS, error=REFUSED)

pytestmark = pytest.mark.looptime


class Client:
    """A boto3 client whose every operation ends the same way."""

    def __init__(self, outcome: Exception | dict[str, Any]) -> None:
        self._outcome = outcome

    def __getattr__(self, _: str) -> Any:
        def call(**_: Any) -> dict[str, Any]:
            if isinstance(self._outcome, Exception):
                raise self._outcome
            return self._outcome

        return call


def caller(service: str, outcome: Exception | dict[str, Any]) -> Caller:
    return Caller(service, Client(outcome), DirectExecutor(), rng=random.Random(1))


def refusal(code: str, status: int = 403) -> ClientError:
    details: Any = {
        "Error": {"Code": code, "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(details, "GetCallerIdentity")


@pytest.mark.parametrize(
    ("failure", "check", "subject", "words"),
    [
        (LOST, "endpoint", STS[:-1], "does not answer: Failed to establish: [Errno 111] refused"),
        (
            ConnectTimeoutError(endpoint_url=STS + "?Action=x"),
            "endpoint",
            STS[:-1],
            "Connect timeout on endpoint URL",
        ),
        (
            SSLError(endpoint_url=STS, error="certificate verify failed"),
            "endpoint",
            STS[:-1],
            "does not answer: certificate verify failed",
        ),
        (
            ReadTimeoutError(endpoint_url=STS, error="Read timed out."),
            "endpoint",
            STS[:-1],
            "does not answer: Read timed out.",
        ),
        (
            ProxyConnectionError(proxy_url="http://proxy:3128", error="Cannot connect to proxy."),
            "endpoint",
            "the proxy http://proxy:3128",
            "does not answer: Cannot connect to proxy.",
        ),
        (
            ResponseParserError("Unable to parse response, invalid XML received:\nb'<html>'"),
            "endpoint",
            "AWS",
            "what answers is not AWS: Unable to parse response, invalid XML received",
        ),
        (refusal("InternalFailure", 500), "endpoint", "AWS", "has no answer now: "),
        (refusal("Throttling", 400), "endpoint", "AWS", "has no answer now: "),
        (refusal("InvalidClientTokenId"), "credentials", "AWS", "does not accept the credentials"),
        (NoCredentialsError(), "credentials", "AWS", "Unable to locate credentials"),
    ],
)
async def test_credentials_are_blamed_only_by_aws(
    failure: BotoCoreError | ClientError, check: str, subject: str, words: str
) -> None:
    finding, arn = await check_credentials(caller("sts", failure))
    assert (finding.check, finding.level, finding.subject) == (check, Level.ERROR, subject)
    assert words in finding.message
    assert "\n" not in finding.message
    assert ("AWS_ENDPOINT_URL" in finding.fix) is (check == "endpoint" and "now" not in words)
    assert arn == ""


async def test_no_check_takes_a_lost_connection_for_a_missing_right() -> None:
    (cluster,), described = await check_cluster(caller("eks", LOST), "prod")
    queue = await check_queue(caller("sqs", LOST), "prod")
    asked = questions(Place("aws", "1", "us-west-2", "prod", "prod"), set())
    (policies,) = await check_policies(caller("iam", LOST), "arn:aws:iam::1:user/a", asked)
    assert described is None
    assert {f.check for f in (cluster, queue, policies)} == {"endpoint"}


async def test_permissions_that_could_not_be_tried_are_not_called_given() -> None:
    pricing = EndpointConnectionError(endpoint_url="https://api.pricing/", error="no route")
    callers = {s: caller(s, {}) for s in ("ec2", "ssm", "iam")}
    (found,) = await check_permissions(callers | {"pricing": caller("pricing", pricing)}, "prod")
    assert (found.check, found.subject) == ("endpoint", "https://api.pricing")
    (all_well,) = await check_permissions(callers | {"pricing": caller("pricing", {})}, "prod")
    tried = len(dry_runs("prod")) + len(reads())
    assert all_well.message == f"{tried} actions tried, none refused"


def _doctor(*arguments: str) -> Result:
    command = ["doctor", "--cluster-name", "c", "--region", "us-west-2", *arguments]
    return CliRunner().invoke(cli, [*command, "-o", "json"])


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_the_command_names_the_endpoints_that_do_not_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Real connections: boto3's to AWS, aiohttp's to the API server."""
    aws, kubernetes = (f"http://127.0.0.1:{_closed_port()}" for _ in range(2))
    for name, value in (
        ("AWS_ENDPOINT_URL", aws),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("NO_PROXY", "127.0.0.1"),
    ):
        monkeypatch.setenv(name, value)
    config = tmp_path / "kubeconfig"
    contents = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": kubernetes}}],
        "users": [{"name": "u", "user": {}}],
    }
    config.write_text(yaml.safe_dump(contents))
    result = _doctor("--kubeconfig", str(config))
    assert result.exit_code == 1, result.output
    cluster, account = json.loads(result.stdout)["findings"]
    assert cluster["check"] == account["check"] == "endpoint"
    assert kubernetes in cluster["message"]
    assert account["subject"] == aws
    assert "Connection refused" in account["message"]
    assert "credentials" not in result.stdout
