"""Which nodes count as unwell, from when on they are replaced, and when that stops."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from autoctl.api import core
from autoctl.controllers.health.repair import POLICIES, Ailing, diagnose, too_many

SINCE = datetime(2026, 1, 5, tzinfo=UTC)


def node(**conditions: Any) -> core.Node:
    """A Node; each condition is its status, or its status and the minutes since `SINCE`."""
    found = []
    for kind, value in conditions.items():
        status, minutes = value if isinstance(value, tuple) else (value, 0)
        since = SINCE + timedelta(minutes=minutes)
        found.append({"type": kind, "status": status, "lastTransitionTime": since.isoformat()})
    body = {"metadata": {"name": "n"}, "spec": {}, "status": {"conditions": found}}
    return msgspec.convert(body, core.Node, strict=False)


@pytest.mark.parametrize(
    ("condition", "status", "minutes"),
    [
        ("Ready", "False", 30),
        ("Ready", "Unknown", 30),
        ("AcceleratedHardwareReady", "False", 10),
        ("StorageReady", "False", 30),
        ("NetworkingReady", "False", 30),
        ("KernelReady", "False", 30),
        ("ContainerRuntimeReady", "False", 30),
    ],
)
def test_the_table(condition: str, status: str, minutes: int) -> None:
    ailing = diagnose(node(**{condition: status}))
    assert ailing == Ailing(condition, SINCE + timedelta(minutes=minutes))


def test_the_table_is_all_there_is() -> None:
    assert len(POLICIES) == 7
    for condition in ("DiskPressure", "MemoryPressure", "PIDPressure"):
        assert diagnose(node(**{condition: "True"})) is None
    for policy in POLICIES:
        assert diagnose(node(**{policy.condition: "True"})) is None
    assert diagnose(node(KernelReady="Unknown")) is None


def test_the_wait_that_ends_first_counts() -> None:
    late = node(KernelReady="False", AcceleratedHardwareReady=("False", 19))
    assert diagnose(late) == Ailing("AcceleratedHardwareReady", SINCE + timedelta(minutes=29))
    early = node(KernelReady="False", AcceleratedHardwareReady=("False", 21))
    assert diagnose(early) == Ailing("KernelReady", SINCE + timedelta(minutes=30))


@pytest.mark.parametrize(
    ("nodes", "unwell", "share", "blocked"),
    [
        (1, 1, 0.2, False),
        (3, 1, 0.2, False),
        (3, 2, 0.2, True),
        (5, 1, 0.2, False),
        (5, 2, 0.2, True),
        (10, 2, 0.2, False),
        (10, 3, 0.2, True),
        (11, 3, 0.2, False),
        (15, 3, 0.2, False),
        (15, 4, 0.2, True),
        (8, 1, 0.125, False),
        (8, 2, 0.125, True),
        (9, 2, 0.125, False),
        (4, 1, 0.0, True),
        (4, 4, 1.0, False),
    ],
)
def test_a_share_of_the_nodes_rounded_up_may_be_unwell(
    nodes: int, unwell: int, share: float, blocked: bool
) -> None:
    everyone = [node(Ready="Unknown")] * unwell + [node(Ready="True")] * (nodes - unwell)
    assert too_many(everyone, share, POLICIES) is blocked
