"""What the operator says against a NodePool that the schema let pass."""

from __future__ import annotations

from typing import Any

import pytest
from admission_table import custom_cases, without_nulls

from autoctl.api.nodepool import NodePool
from autoctl.api.runtime import runtime_validate


def pool(
    requirements: list[dict[str, Any]] | None = None,
    *,
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    startup_taints: list[dict[str, str]] | None = None,
    budgets: list[dict[str, str]] | None = None,
    unchecked: bool = False,
) -> NodePool:
    """A NodePool; `unchecked` bypasses the model, as an object of an older CRD would."""
    spec: dict[str, Any] = {
        "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "a"},
        "requirements": [] if unchecked else requirements or [],
        "taints": taints or [],
        "startupTaints": startup_taints or [],
    }
    made = NodePool.from_dict(
        {
            "metadata": {"name": "a"},
            "spec": {
                "template": {"metadata": {"labels": labels or {}}, "spec": spec},
                "disruption": {"budgets": budgets or []},
            },
        }
    )
    if not unchecked:
        return made
    from autoctl.api.nodeclaim import PoolRequirement

    loose = tuple(
        PoolRequirement.model_construct(
            key=entry["key"],
            operator=entry["operator"],
            values=tuple(entry.get("values", ())),
            min_values=entry.get("minValues"),
        )
        for entry in requirements or []
    )
    template = made.spec.template
    changed = template.spec.model_copy(update={"requirements": loose})
    return made.model_copy(
        update={
            "spec": made.spec.model_copy(
                update={"template": template.model_copy(update={"spec": changed})}
            )
        }
    )


@pytest.mark.parametrize(
    "case",
    [c for c in custom_cases() if not c.errors and c.manifest["kind"] == "NodePool"],
    ids=str,
)
def test_good_pools_are_good(case: Any) -> None:
    assert runtime_validate(NodePool.from_dict(without_nulls(case.manifest))) == []


@pytest.mark.parametrize(
    ("requirement", "why"),
    [
        ({"key": "a", "operator": "Has"}, "key a has an unsupported operator Has"),
        ({"key": "karpenter.sh/a", "operator": "Exists"}, "key karpenter.sh/a is restricted"),
        ({"key": "x.eks.amazonaws.com/a", "operator": "Exists"}, "is restricted"),
        ({"key": "kubernetes.io/hostname", "operator": "Exists"}, "is restricted"),
        ({"key": "a b", "operator": "Exists"}, "key a b is not a qualified name"),
        ({"key": "a", "operator": "In", "values": ["b c"]}, "invalid value b c for key a"),
        ({"key": "a", "operator": "In"}, "key a with operator In must have a value defined"),
        (
            {"key": "a", "operator": "In", "values": ["b"], "minValues": 2},
            "must have at least minimum number of values defined",
        ),
        ({"key": "a", "operator": "Gt"}, "must have a single positive integer value"),
        ({"key": "a", "operator": "Lt", "values": ["1", "2"]}, "single positive integer value"),
        ({"key": "a", "operator": "Gte", "values": ["x"]}, "single positive integer value"),
        (
            {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["cheap"]},
            "no valid values found in ['cheap'] for karpenter.sh/capacity-type",
        ),
        (
            {
                "key": "karpenter.sh/capacity-type",
                "operator": "In",
                "values": ["spot", "cheap"],
                "minValues": 2,
            },
            "has 1 valid values ['spot'], fewer than minValues 2",
        ),
        (
            {"key": "karpenter.k8s.aws/instance-tenancy", "operator": "In", "values": ["host"]},
            "expected one of ['dedicated', 'default']",
        ),
    ],
)
def test_requirements(requirement: dict[str, Any], why: str) -> None:
    assert any(why in error for error in runtime_validate(pool([requirement], unchecked=True)))


def test_an_unknown_value_beside_a_known_one_passes() -> None:
    requirement = {
        "key": "karpenter.sh/capacity-type",
        "operator": "In",
        "values": ["spot", "cheap"],
    }
    assert runtime_validate(pool([requirement])) == []


def test_one_taint_twice() -> None:
    taint = {"key": "a", "effect": "NoSchedule"}
    twice = pool(taints=[taint], startup_taints=[taint])
    assert runtime_validate(twice) == ["duplicate taint Key/Effect pair a=NoSchedule"]
    other = {"key": "a", "effect": "NoExecute"}
    assert runtime_validate(pool(taints=[taint], startup_taints=[other])) == []


@pytest.mark.parametrize(
    "key", ["karpenter.sh/nodepool", "karpenter.sh/a", "kubernetes.io/hostname", "a b"]
)
def test_labels(key: str) -> None:
    (error, *_) = runtime_validate(pool(labels={key: "b"}))
    assert error.startswith(f"invalid key name {key!r} in labels")
