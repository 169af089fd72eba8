"""Budgets: how many nodes may go, for which reason, when."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from autoctl.api import core
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodepool import UNLIMITED, NodePool
from autoctl.controllers.disruption.budgets import BudgetLedger
from autoctl.controllers.disruption.model import Reason
from autoctl.state.snapshot import Snapshot

NOW = datetime(2000, 6, 15, 12, 30, 30, tzinfo=UTC)  # a Thursday


def pool(budgets: list[dict[str, Any]]) -> NodePool:
    return NodePool.from_dict(
        {
            "metadata": {"name": "p"},
            "spec": {
                "template": {
                    "spec": {
                        "nodeClassRef": {
                            "group": "eks.amazonaws.com",
                            "kind": "NodeClass",
                            "name": "default",
                        },
                        "requirements": [],
                    }
                },
                "disruption": {"budgets": budgets},
            },
        }
    )


def snapshot(
    budgets: list[dict[str, Any]], nodes: int, *, not_ready: int = 0, now: datetime = NOW
) -> Snapshot:
    found: dict[str, core.Node] = {}
    claims: dict[str, NodeClaim] = {}
    for index in range(nodes):
        name = f"n{index:03d}"
        labels = {"karpenter.sh/nodepool": "p", "karpenter.sh/initialized": "true"}
        labels["karpenter.sh/registered"] = "true"
        status = "False" if index < not_ready else "True"
        found[name] = msgspec.convert(
            {
                "metadata": {"name": name, "labels": labels},
                "spec": {"providerID": f"aws:///z/i-{index}"},
                "status": {"conditions": [{"type": "Ready", "status": status}]},
            },
            core.Node,
        )
        claims[name] = NodeClaim.from_dict(
            {
                "metadata": {"name": name, "labels": labels},
                "spec": {
                    "nodeClassRef": {"group": "g", "kind": "k", "name": "default"},
                    "requirements": [],
                },
                "status": {"providerID": f"aws:///z/i-{index}"},
            }
        )
    return Snapshot(now=now, nodes=found, node_claims=claims, node_pools={"p": pool(budgets)})


def allowed(state: Snapshot, reason: Reason) -> int:
    return BudgetLedger(state).allowed(state.node_pools["p"], reason)


MIXED = [
    {"nodes": "10"},
    {"nodes": "100"},
    {"nodes": "100%"},
    {"nodes": "15", "reasons": ["Drifted", "Underutilized"]},
    {"nodes": "5", "reasons": ["Drifted"]},
    {"nodes": "0", "schedule": "@weekly", "duration": "1h"},
]


def test_the_most_restrictive_active_budget_counts() -> None:
    state = snapshot(MIXED, 100)
    assert allowed(state, Reason.DRIFTED) == 5
    assert allowed(state, Reason.UNDERUTILIZED) == 10
    assert allowed(state, Reason.EMPTY) == 10
    assert allowed(snapshot([*MIXED, {"nodes": "4", "reasons": ["Empty"]}], 100), Reason.EMPTY) == 4


@pytest.mark.parametrize(
    ("budget", "now", "expected"),
    [
        ({"nodes": "0", "schedule": "@weekly", "duration": "1h"}, NOW, UNLIMITED),
        ({"nodes": "0", "schedule": "@daily", "duration": "48h"}, NOW, 0),
        ({"nodes": "1000a%", "schedule": "not a cron at all", "duration": "1h"}, NOW, 0),
        ({"nodes": "0", "schedule": "0 0 30 2 *", "duration": "1h"}, NOW, 0),
        (
            {"nodes": "0", "schedule": "30 6 * * SUN", "duration": "6h"},
            datetime(2000, 6, 18, tzinfo=UTC),
            UNLIMITED,
        ),
        (
            {"nodes": "0", "schedule": "30 6 * * SUN", "duration": "6h"},
            datetime(2000, 6, 18, 12, 29, tzinfo=UTC),
            0,
        ),
        (
            {"nodes": "0", "schedule": "0 9 * * *", "duration": "1h", "timeZone": "Asia/Tokyo"},
            datetime(2000, 6, 15, 0, 30, tzinfo=UTC),
            0,
        ),
        (
            {"nodes": "0", "schedule": "0 9 * * *", "duration": "1h", "timeZone": "Asia/Tokyo"},
            datetime(2000, 6, 15, 9, 30, tzinfo=UTC),
            UNLIMITED,
        ),
    ],
)
def test_schedules(budget: dict[str, Any], now: datetime, expected: int) -> None:
    plain = {**budget, "nodes": "0"} if budget["nodes"] == "1000a%" else budget
    assert allowed(snapshot([plain], 10, now=now), Reason.EMPTY) == expected


@pytest.mark.parametrize(
    ("now", "closed"),
    [
        # An ordinary night: 22:00 to 06:00 in Berlin, over midnight there and in UTC.
        ("2026-01-10T20:59:00Z", False),
        ("2026-01-10T21:00:00Z", True),
        ("2026-01-10T23:30:00Z", True),
        ("2026-01-11T04:59:00Z", True),
        ("2026-01-11T05:01:00Z", False),
        # The clock is set forward on 29 March, 02:00: eight hours last until 07:00 there.
        ("2026-03-28T21:00:00Z", True),
        ("2026-03-29T04:59:00Z", True),
        ("2026-03-29T05:01:00Z", False),
        ("2026-03-29T19:59:00Z", False),
        ("2026-03-29T20:00:00Z", True),  # 22:00 in summer
        # And back on 25 October, 03:00: they end at 05:00 there.
        ("2026-10-24T20:00:00Z", True),
        ("2026-10-25T03:59:00Z", True),
        ("2026-10-25T04:01:00Z", False),
        ("2026-10-25T20:59:00Z", False),
        ("2026-10-25T21:00:00Z", True),
    ],
)
def test_windows_over_midnight_and_over_changes_of_the_clock(now: str, closed: bool) -> None:
    night = {
        "nodes": "0",
        "schedule": "0 22 * * *",
        "duration": "8h",
        "timeZone": "Europe/Berlin",
    }
    state = snapshot([{"nodes": "3"}, night], 10, now=datetime.fromisoformat(now))
    assert allowed(state, Reason.EMPTY) == (0 if closed else 3)


def test_percentages_round_up() -> None:
    assert allowed(snapshot([{"nodes": "10%"}], 11), Reason.EMPTY) == 2
    assert allowed(snapshot([{"nodes": "30%"}], 10), Reason.EMPTY) == 3


def test_nodes_that_are_not_ready_use_the_budget_up() -> None:
    assert allowed(snapshot([{"nodes": "3"}], 10, not_ready=2), Reason.EMPTY) == 1
    assert allowed(snapshot([{"nodes": "3"}], 10, not_ready=5), Reason.EMPTY) == 0


def test_expiry_is_bound_only_by_a_budget_that_names_it() -> None:
    assert allowed(snapshot([{"nodes": "0"}], 10), Reason.EXPIRED) == UNLIMITED
    named = [{"nodes": "1", "reasons": ["Expired"]}]
    assert allowed(snapshot(named, 10), Reason.EXPIRED) == 1


@pytest.mark.parametrize("reason", [Reason.UNDERUTILIZED, Reason.EMPTY, Reason.DRIFTED])
@pytest.mark.parametrize(
    ("nodes", "count", "not_ready", "limit"),
    [("100%", 1, 1, 1), ("2", 5, 2, 2), ("10%", 11, 3, 2)],
)
def test_a_budget_that_is_used_up_blocks_nothing_by_itself(
    nodes: str, count: int, not_ready: int, limit: int, reason: Reason
) -> None:
    ledger = BudgetLedger(snapshot([{"nodes": nodes}], count, not_ready=not_ready))
    assert not ledger.blocked()
    (told,) = [b.message for b in ledger.spent() if b.reason is reason]
    assert told == (
        f"The budget of {limit} for disruption reason {reason} is used up by nodes: "
        f"{not_ready} not ready"
    )


def test_a_budget_of_nothing_is_not_used_up() -> None:
    ledger = BudgetLedger(snapshot([{"nodes": "0"}], 5, not_ready=2))
    assert len(ledger.blocked()) == 3
    assert not ledger.spent()


def test_where_all_nodes_leave_the_budget_holds_none() -> None:
    state = snapshot([{"nodes": "100%"}], 2)
    leaving = replace(state, disrupting=frozenset(state.node_claims))
    assert allowed(leaving, Reason.EMPTY) == 0
    assert not BudgetLedger(leaving).spent()
    half = replace(state, disrupting=frozenset({"n000"}), node_pools={"p": pool([{"nodes": "1"}])})
    assert [b.message.rpartition(": ")[2] for b in BudgetLedger(half).spent()] == ["1 leaving"] * 3


def test_a_schedule_that_cannot_be_read_is_told_by_its_field() -> None:
    state = snapshot([{"nodes": "5", "schedule": "61 * * * *", "duration": "1h"}], 3)
    (empty,) = [b for b in BudgetLedger(state).blocked() if b.reason is Reason.EMPTY]
    assert empty.message.startswith(
        "No allowed disruptions for disruption reason Empty due to blocking budget"
    )
    assert "spec.disruption.budgets[0].schedule" in empty.message
