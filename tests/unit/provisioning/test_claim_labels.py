"""The labels a NodeClaim has before its launch: what a pool leaves open gets a value."""

import pytest

from autoctl.api.nodepool import NodePool
from autoctl.controllers.provisioning.claims import ClaimTemplate, claim_object
from autoctl.scheduling.problem import RequirementSpec
from autoctl.scheduling.requirements import Requirement

POOL = NodePool.model_validate(
    {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "pool", "uid": "u"},
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
            }
        },
    }
)


@pytest.mark.parametrize(
    ("entries", "value"),
    [
        ([("In", "b", "a")], "a"),
        ([("In", "a")], "a"),
        ([("In", "a", "b", "c"), ("NotIn", "a")], "b"),
        ([("Exists",)], "0"),
        ([("Gt", "3")], "4"),
        ([("Gte", "3")], "3"),
        ([("Lt", "3")], "0"),
        ([("Lt", "-3")], "-4"),
        ([("Gt", "3"), ("NotIn", "4", "5")], "6"),
        ([("Gte", "3"), ("Lte", "3")], "3"),
        ([("Gte", "3"), ("Lte", "4"), ("NotIn", "3", "4")], None),
        ([("NotIn", "a")], None),
        ([("Exists",), ("NotIn", "0")], "1"),
        ([("DoesNotExist",)], None),
    ],
    ids=str,
)
def test_a_label_of_the_users_own(entries: list[tuple[str, ...]], value: str | None) -> None:
    """A node without the label would not keep its pool's requirement: it would drift at once."""
    specs = tuple(RequirementSpec("team", operator, values) for operator, *values in entries)
    specs = tuple(RequirementSpec(s.key, s.operator, tuple(s.values)) for s in specs)
    found = claim_object(POOL, ClaimTemplate(specs, {}))["metadata"]["labels"]
    assert found.get("team") == value
    if value is not None:
        wanted = [Requirement.of(s.key, s.operator, s.values) for s in specs]
        assert all(r.accepts(value) for r in wanted)


def test_labels_that_the_launch_decides_are_left_to_it() -> None:
    specs = (
        RequirementSpec("topology.kubernetes.io/zone", "In", ("a", "b")),
        RequirementSpec("kubernetes.io/arch", "In", ("arm64",)),
        RequirementSpec("eks.amazonaws.com/instance-cpu", "Gt", ("3",)),
    )
    found = claim_object(POOL, ClaimTemplate(specs, {}))["metadata"]["labels"]
    assert found.get("kubernetes.io/arch") == "arm64"
    assert "topology.kubernetes.io/zone" not in found
    assert "eks.amazonaws.com/instance-cpu" not in found
