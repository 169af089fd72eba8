"""Which attachments the end of a node waits for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from autoctl.api import core
from autoctl.controllers.termination.volumes import awaited_attachments

NOW = datetime(2026, 1, 5, tzinfo=UTC)
CLAIMS = {
    f"ns/{name}": msgspec.convert(
        {"metadata": {"name": name, "namespace": "ns"}, "spec": {"volumeName": f"pv-{name}"}},
        core.PersistentVolumeClaim,
    )
    for name in ("data", "p-scratch")
}
DATA: list[dict[str, Any]] = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
EPHEMERAL: list[dict[str, Any]] = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}]


def attachment(volume: str | None) -> core.VolumeAttachment:
    source = {"persistentVolumeName": volume} if volume else {"inlineVolumeSpec": {}}
    body = {
        "metadata": {"name": f"of-{volume}"},
        "spec": {"nodeName": "n", "attacher": "ebs.csi.aws.com", "source": source},
    }
    return msgspec.convert(body, core.VolumeAttachment)


def pod(volumes: list[dict[str, Any]], phase: str = "Running", **extra: Any) -> core.Pod:
    metadata = {"name": "p", "namespace": "ns", "uid": "u", **extra.pop("metadata", {})}
    body = {
        "metadata": metadata,
        "spec": {"volumes": volumes, **extra},
        "status": {"phase": phase},
    }
    return msgspec.convert(body, core.Pod, strict=False)


STAYS = {"tolerations": [{"key": "karpenter.sh/disrupted", "operator": "Exists"}]}
STUCK = {"metadata": {"deletionTimestamp": (NOW - timedelta(seconds=61)).isoformat()}}
LEAVING = {"metadata": {"deletionTimestamp": (NOW - timedelta(seconds=59)).isoformat()}}


@pytest.mark.parametrize(
    ("pods", "awaited"),
    [
        ([], {"of-pv-data", "of-pv-other"}),
        ([pod(DATA)], {"of-pv-data", "of-pv-other"}),
        ([pod(DATA, **LEAVING)], {"of-pv-data", "of-pv-other"}),
        ([pod(DATA, **STAYS)], {"of-pv-other"}),
        ([pod(DATA, **STUCK)], {"of-pv-other"}),
        ([pod(DATA, phase="Succeeded", **STAYS)], {"of-pv-data", "of-pv-other"}),
        ([pod(EPHEMERAL, **STAYS)], {"of-pv-data", "of-pv-other"}),
    ],
)
def test_volumes_of_pods_that_the_drain_leaves_alone_are_not_awaited(
    pods: list[core.Pod], awaited: set[str]
) -> None:
    """An attachment of an inline volume names no volume, and is nobody's to wait for."""
    attachments = [attachment("pv-data"), attachment("pv-other"), attachment(None)]
    assert set(awaited_attachments(attachments, pods, CLAIMS, NOW)) == awaited


def test_an_ephemeral_volume_is_found_by_its_claim() -> None:
    attachments = [attachment("pv-p-scratch")]
    assert awaited_attachments(attachments, [pod(EPHEMERAL)], CLAIMS, NOW) == ("of-pv-p-scratch",)
    assert awaited_attachments(attachments, [pod(EPHEMERAL, **STAYS)], CLAIMS, NOW) == ()


def test_a_claim_that_is_unknown_or_unbound_keeps_nothing() -> None:
    unbound = msgspec.convert(
        {"metadata": {"name": "data", "namespace": "ns"}, "spec": {}}, core.PersistentVolumeClaim
    )
    for claims in ({}, {"ns/data": unbound}):
        found = awaited_attachments([attachment("pv-data")], [pod(DATA, **STAYS)], claims, NOW)
        assert found == ("of-pv-data",)
