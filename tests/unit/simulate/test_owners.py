"""A DaemonSet is told by kind and API group."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from autoctl.api import core
from autoctl.ports.kubernetes import PODS, Object
from autoctl.simulate.owners import is_daemon
from autoctl.simulate.recorder import Recorder
from autoctl.state import pods

START = datetime(2026, 1, 1, tzinfo=UTC)
PRUNED = {"kind": "DaemonSet", "name": "x", "uid": "u"}
OWN = {**PRUNED, "apiVersion": "apps/v1"}
FOREIGN = {**PRUNED, "apiVersion": "apps.kruise.io/v1alpha1"}


def pod(*owners: Object) -> Object:
    return {
        "metadata": {"name": "a", "namespace": "default", "ownerReferences": list(owners)},
        "spec": {
            "nodeName": "n",
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}],
        },
        "status": {"phase": "Running"},
    }


@pytest.mark.parametrize(
    ("owners", "daemon"),
    [
        ([OWN], True),
        ([PRUNED], True),
        ([FOREIGN], False),
        ([FOREIGN, OWN], True),
        ([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "u"}], False),
        ([], False),
    ],
)
def test_daemons_are_told_as_the_operator_tells_them(owners: list[Object], daemon: bool) -> None:
    assert is_daemon(pod(*owners)) is daemon
    assert pods.is_daemon(msgspec.convert(pod(*owners), core.Pod, strict=False)) is daemon


@pytest.mark.parametrize(("owner", "millicores"), [(OWN, 0), (FOREIGN, 2000)])
def test_the_recorder_counts_what_only_is_called_a_daemon(owner: Object, millicores: int) -> None:
    """Its requests are part of what pods ask for, as in the operator's decisions."""
    cluster: Any = SimpleNamespace(objects=lambda r: [pod(owner)] if r == PODS else [])
    instances = SimpleNamespace(alive=list, history=[])
    cloud: Any = SimpleNamespace(ec2=SimpleNamespace(instances=instances), now=lambda: START)
    recorder = Recorder(cluster, cloud, START)
    assert recorder.sample(None).cpu_requested == millicores
