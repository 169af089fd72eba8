"""Behaviour of the models beyond their fields."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pydantic
import pytest

from autoctl.api.meta import Condition, find_condition, is_true, set_condition
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodeoverlay import NodeOverlay
from autoctl.api.nodepool import UNLIMITED, Disruption, NodePool

NOW = datetime(2000, 6, 15, 12, 30, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
REFERENCE = {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "a"}


def claim(**more: Any) -> NodeClaim:
    return NodeClaim.from_dict(
        {"metadata": {"name": "a"}, "spec": {"nodeClassRef": REFERENCE, "requirements": []}} | more
    )


def disruption(*budgets: dict[str, Any]) -> Disruption:
    return Disruption.model_validate({"budgets": list(budgets)})


BUDGETS: list[dict[str, Any]] = [
    {"nodes": "10"},
    {"nodes": "100"},
    {"nodes": "100%"},
    {"nodes": "15", "reasons": ["Drifted", "Underutilized"]},
    {"nodes": "5", "reasons": ["Drifted"]},
    {"nodes": "0", "schedule": "@weekly", "duration": "1h"},
]


UNREADABLE: dict[str, Any] = {"nodes": "100%", "schedule": "61 * * * *", "duration": "1h"}


@pytest.mark.parametrize(
    ("budgets", "reason", "allowed"),
    [
        (BUDGETS, "Drifted", 5),
        (BUDGETS, "Underutilized", 10),
        (BUDGETS, "Empty", 10),
        ([*BUDGETS, {"nodes": "4", "reasons": ["Empty"]}], "Empty", 4),
        ([], "Empty", UNLIMITED),
        ([{"nodes": "0", "schedule": "@weekly", "duration": "1h"}], "Empty", UNLIMITED),
        ([{"nodes": "0", "schedule": "61 * * * *", "duration": "1h"}], "Empty", 0),
        ([UNREADABLE, {"nodes": "100%"}], "Empty", 0),
        ([{"nodes": "7"}, {**UNREADABLE, "reasons": ["Drifted"]}], "Drifted", 0),
        ([{"nodes": "7"}, {**UNREADABLE, "reasons": ["Drifted"]}], "Empty", 0),
        ([{**UNREADABLE, "reasons": ["Drifted"]}], "Expired", UNLIMITED),
        ([{**UNREADABLE, "reasons": ["Expired"]}], "Expired", 0),
        ([{"nodes": "0", "schedule": "@daily", "duration": "13h"}], "Empty", 0),
        ([{"nodes": "0"}], "Expired", UNLIMITED),
        ([{"nodes": "3", "reasons": ["Expired"]}], "Expired", 3),
        ([{"nodes": "3", "reasons": ["Expired"]}], "Empty", UNLIMITED),
        ([{"nodes": "0", "reasons": []}], "Empty", UNLIMITED),
    ],
)
def test_budgets(budgets: list[dict[str, Any]], reason: str, allowed: int) -> None:
    assert disruption(*budgets).allowed(reason, 100, NOW) == allowed


def test_schedules_that_cannot_be_read_are_told_by_field_and_value() -> None:
    night = {"nodes": "0", "schedule": "0 22 * * *", "duration": "8h"}
    zone = {**night, "timeZone": "Europe/Atlantis"}
    minute, where = disruption({"nodes": "1"}, UNREADABLE, night, zone).faults()
    assert minute.startswith("spec.disruption.budgets[1].schedule: schedule '61 * * * *'")
    assert "above the maximum of 59" in minute
    assert where.startswith("spec.disruption.budgets[3].schedule: ")
    assert "unknown time zone 'Europe/Atlantis'" in where
    assert disruption({"nodes": "1"}, night).faults() == []


def test_percentages_round_up() -> None:
    assert disruption({"nodes": "10%"}).allowed("Empty", 1, NOW) == 1
    assert disruption({"nodes": "10%"}).allowed("Empty", 11, NOW) == 2
    assert disruption({"nodes": "0%"}).allowed("Empty", 11, NOW) == 0


def test_a_budget_in_a_time_zone() -> None:
    night = {"nodes": "0", "schedule": "0 22 * * *", "duration": "8h", "timeZone": "Asia/Tokyo"}
    tokyo_night = datetime(2024, 1, 1, 14, 0, tzinfo=UTC)
    assert disruption(night).allowed("Empty", 10, tokyo_night) == 0
    assert disruption(night).allowed("Empty", 10, tokyo_night + timedelta(hours=8)) == UNLIMITED


def test_to_dict_writes_what_was_given() -> None:
    made = claim(status={"conditions": [{"type": "Ready", "status": "True"}], "imageID": "ami-1"})
    assert made.to_dict() == {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": "a"},
        "spec": {"nodeClassRef": REFERENCE, "requirements": []},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "imageID": "ami-1"},
    }


def test_names_of_python_and_of_the_api_both_work() -> None:
    both = NodeClass.from_dict(
        {
            "metadata": {"name": "a"},
            "spec": {
                "instance_profile": "a",
                "subnetSelectorTerms": [{"id": "subnet-1"}],
                "securityGroupSelectorTerms": [{"id": "sg-1"}],
                "ephemeralStorage": {"kmsKeyID": "alias/a"},
            },
        }
    )
    assert both.spec.instance_profile == "a"
    assert both.spec.ephemeral_storage.kms_key_id == "alias/a"


def test_models_are_frozen_and_prune() -> None:
    made = claim(unknown=1)
    assert not hasattr(made, "unknown")
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        made.metadata = made.metadata  # type: ignore[misc]


def test_durations_of_a_claim() -> None:
    bare = {"nodeClassRef": REFERENCE, "requirements": []}
    made = claim(spec=bare | {"terminationGracePeriod": "24h"})
    assert made.spec.lifetime == timedelta(days=14)
    assert made.spec.grace_period == timedelta(days=1)
    forever = claim(spec=bare | {"expireAfter": "Never"})
    assert forever.spec.lifetime is None
    assert forever.spec.grace_period is None


def test_timestamps_are_written_in_utc_seconds() -> None:
    text = "2024-01-01T12:00:00.123456+09:00"
    made = claim(metadata={"name": "a", "creationTimestamp": text})
    assert made.to_dict()["metadata"]["creationTimestamp"] == "2024-01-01T03:00:00Z"


def test_conditions_keep_their_time_while_the_status_stays() -> None:
    ready = Condition(type="Ready", status="False", reason="Waiting")
    conditions = set_condition((), ready, NOW)
    assert conditions[0].last_transition_time == NOW
    assert set_condition(conditions, ready, LATER) is conditions

    other = set_condition(conditions, ready.model_copy(update={"message": "still"}), LATER)
    assert (other[0].message, other[0].last_transition_time) == ("still", NOW)

    done = set_condition(other, Condition(type="Ready", status="True"), LATER)
    assert done[0].last_transition_time == LATER
    assert is_true(done, "Ready")
    assert not is_true(done, "Launched")
    assert find_condition(done, "Launched") is None


def test_drift_reason() -> None:
    condition = {"type": "Drifted", "status": "True", "reason": "AMIDrift"}
    assert claim(status={"conditions": [condition]}).drift_reason == "AMIDrift"
    no_more = condition | {"status": "False"}
    assert claim(status={"conditions": [no_more]}).drift_reason is None
    assert claim().drift_reason is None


@pytest.mark.parametrize(
    ("spec", "price", "expected"),
    [
        ({}, 2.0, 2.0),
        ({"price": "0.5"}, 2.0, 0.5),
        ({"priceAdjustment": "+10%"}, 2.0, 2.2),
        ({"priceAdjustment": "-50%"}, 2.0, 1.0),
        ({"priceAdjustment": "-100%"}, 2.0, 0.0),
        ({"priceAdjustment": "+0.5"}, 2.0, 2.5),
        ({"priceAdjustment": "-3"}, 2.0, 0.0),
    ],
)
def test_overlays_adjust_prices(spec: dict[str, str], price: float, expected: float) -> None:
    overlay = NodeOverlay.from_dict(
        {"metadata": {"name": "a"}, "spec": {"requirements": []} | spec}
    )
    assert overlay.spec.adjusted(price) == pytest.approx(expected)


def test_static_pools() -> None:
    template = {"spec": {"nodeClassRef": REFERENCE, "requirements": []}}
    static = NodePool.from_dict(
        {"metadata": {"name": "a"}, "spec": {"template": template, "replicas": 0}}
    )
    assert static.is_static
    assert static.weight == 0
