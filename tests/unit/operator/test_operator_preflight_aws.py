"""The AWS half of the start checks."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    SSLError,
)

from autoctl.aws.executor import DirectExecutor
from autoctl.operator import preflight_aws as module
from autoctl.operator.preflight import PreflightError
from autoctl.operator.preflight_aws import find_region, preflight_aws

LOST = EndpointConnectionError(endpoint_url="https://sts.x/", error="no route")
DISTRUSTED = SSLError(endpoint_url="https://eks.x/clusters/c", error="bad chain")


def refuse(code: str) -> Exception:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Op")


async def check(identity: Any = None, cluster: Any = None) -> None:
    def answer(value: Any) -> Any:
        def call(**_: Any) -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        return call

    clients: Any = SimpleNamespace(
        sts=SimpleNamespace(get_caller_identity=answer(identity or {"Arn": "arn:me"})),
        eks=SimpleNamespace(describe_cluster=answer(cluster or {"cluster": {}})),
    )
    await preflight_aws(
        clients, DirectExecutor(), cluster="c", region="us-west-2", rng=random.Random(1)
    )


async def test_an_ordinary_cluster_passes() -> None:
    await check()
    await check(cluster={"cluster": {"computeConfig": {"enabled": False}}})


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"identity": refuse("InvalidClientTokenId")}, "does not accept the credentials"),
        ({"identity": NoCredentialsError()}, "does not accept the credentials"),
        ({"identity": LOST}, "cannot be reached: https://sts.x does not answer: no route$"),
        ({"cluster": DISTRUSTED}, "cannot be reached: https://eks.x does not answer: bad chain$"),
        ({"identity": refuse("Throttling")}, "does not answer: .*Throttling"),
        ({"cluster": refuse("ResourceNotFoundException")}, "no EKS cluster 'c' in us-west-2"),
        ({"cluster": refuse("AccessDeniedException")}, "lacks a permission.*IAM policy"),
        ({"cluster": {"cluster": {"computeConfig": {"enabled": True}}}}, "Auto Mode is on"),
    ],
)
async def test_obstacles_are_told(answers: dict[str, Any], message: str) -> None:
    with pytest.raises(PreflightError, match=message):
        await check(**answers)


def test_where_the_region_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "absent")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        module, "IMDSRegionProvider", lambda _: SimpleNamespace(provide=lambda: None)
    )
    with pytest.raises(PreflightError, match="--region"):
        find_region("")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert find_region("") == "eu-west-1"
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert find_region("") == "us-west-2"
    assert find_region("ap-south-1") == "ap-south-1"
