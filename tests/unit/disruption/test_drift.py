"""What makes a NodeClaim drift from its NodePool and NodeClass, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
from plan_builders import FAKE6, node_pool

from autoctl.api import hashing
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import NodePool
from autoctl.catalog.file import parse_catalog
from autoctl.catalog.model import InstanceType
from autoctl.controllers.disruption.drift import (
    INSTANCE_TYPE_GRACE,
    DriftReason,
    InstanceFacts,
    drift_reason,
    recorded_drift,
)

BORN = datetime(2026, 1, 5, tzinfo=UTC)
ZONE = "topology.kubernetes.io/zone"
TYPE = "node.kubernetes.io/instance-type"
CAPACITY = "karpenter.sh/capacity-type"
RESERVATION = "eks.amazonaws.com/capacity-reservation-id"
POOL_HASH, POOL_VERSION = "karpenter.sh/nodepool-hash", "karpenter.sh/nodepool-hash-version"
CLASS_HASH = "eks.amazonaws.com/nodeclass-hash"
CLASS_VERSION = "eks.amazonaws.com/nodeclass-hash-version"

Object: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Object, Object, Object], object]


def pool_object() -> Object:
    """As its controller leaves it; without a recorded hash the current one counts."""
    made = node_pool("general", labels={"team": "a"})
    return made | {"metadata": annotated({POOL_VERSION: hashing.NODEPOOL_VERSION}, "general")}


def annotated(annotations: dict[str, str], name: str) -> Object:
    return {"name": name, "annotations": annotations}


def class_object() -> Object:
    return {
        "apiVersion": "eks.amazonaws.com/v1",
        "kind": "NodeClass",
        "metadata": annotated({CLASS_VERSION: hashing.NODECLASS_VERSION}, "default"),
        "spec": {
            "role": "nodes",
            "subnetSelectorTerms": [{"tags": {"a": "b"}}],
            "securityGroupSelectorTerms": [{"tags": {"a": "b"}}],
            "ephemeralStorage": {"size": "80Gi"},
        },
        "status": {
            "subnets": [
                {"id": "subnet-1", "zone": "test-zone-1"},
                {"id": "subnet-2", "zone": "test-zone-2"},
            ],
            "securityGroups": [{"id": "sg-1"}, {"id": "sg-2"}],
            "amis": [{"id": "ami-new"}, {"id": "ami-arm"}],
            "capacityReservations": [
                {
                    "id": "cr-1",
                    "instanceType": "default",
                    "availabilityZone": "test-zone-1",
                    "ownerID": "123456789012",
                    "instanceMatchCriteria": "targeted",
                }
            ],
        },
    }


def claim_object() -> Object:
    """A launched NodeClaim of the pool and class as they are."""
    pool, node_class = NodePool.from_dict(pool_object()), NodeClass.from_dict(class_object())
    return {
        "metadata": {
            "name": "general-1",
            "creationTimestamp": BORN.isoformat(),
            "labels": {
                "karpenter.sh/nodepool": "general",
                "team": "a",
                ZONE: "test-zone-1",
                TYPE: "default",
                CAPACITY: "on-demand",
            },
            "annotations": {
                POOL_HASH: hashing.nodepool_hash(pool),
                POOL_VERSION: hashing.NODEPOOL_VERSION,
                CLASS_HASH: hashing.nodeclass_hash(node_class),
                CLASS_VERSION: hashing.NODECLASS_VERSION,
            },
        },
        "spec": {
            "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"},
            "requirements": [],
        },
        "status": {
            "imageID": "ami-new",
            "conditions": [
                {
                    "type": "Launched",
                    "status": "True",
                    "reason": "Launched",
                    "message": "",
                    "lastTransitionTime": BORN.isoformat(),
                }
            ],
        },
    }


def types() -> dict[str, InstanceType]:
    return dict(parse_catalog({"instanceTypes": FAKE6}).instance_types)


def judge(change: Change, *, age: timedelta = timedelta(hours=2), **given: Any) -> str | None:
    """The verdict after `change(claim, pool, node_class)`."""
    claim, pool, node_class = claim_object(), pool_object(), class_object()
    change(claim, pool, node_class)
    return drift_reason(
        NodeClaim.from_dict(claim),
        NodePool.from_dict(pool),
        NodeClass.from_dict(node_class),
        given.get("types", types()),
        BORN + age,
        given.get("facts"),
    )


def settings(
    claim: Object,
    node_class: Object,
    claimed: str | None,
    declared: str | None,
    version: str = hashing.NODE_SETTINGS_VERSION,
) -> None:
    """Hashes of the operator's settings, as the NodeClaim and its class tell them."""
    key = "autoctl.io/node-settings-hash"
    for obj, value, made in ((claim, claimed, version), (node_class, declared, "v1")):
        if value is not None:
            obj["metadata"]["annotations"].update({key: value, f"{key}-version": made})


def group(claim: Object, node_class: Object, claimed: str | None, declared: str | None) -> None:
    """The placement groups that the node is in, and that its class has."""
    if claimed is not None:
        claim["metadata"]["labels"]["eks.amazonaws.com/placement-group-id"] = claimed
    if declared is not None:
        node_class["status"]["placementGroup"] = {"id": declared, "name": "near"}


def images(node_class: Object, *, new: str, other: str) -> None:
    """The class's images, by the architecture that they are for; the node has `ami-new`."""
    node_class["status"]["amis"] = [
        {
            "id": name,
            "requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": [arch]}],
        }
        for name, arch in (("ami-other", other), ("ami-new", new))
    ]


def template(pool: Object) -> Object:
    return pool["spec"]["template"]  # type: ignore[no-any-return]


def require(pool: Object, key: str, operator: str, *values: str) -> None:
    requirement = {"key": key, "operator": operator, "values": list(values)}
    template(pool)["spec"]["requirements"].append(requirement)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda _c, _p, _n: None, None),
        # The pool's template.
        (lambda _c, p, _n: template(p)["metadata"]["labels"].update(team="b"), "NodePoolDrifted"),
        (lambda _c, p, _n: template(p)["spec"].update(expireAfter="1h"), "NodePoolDrifted"),
        (lambda _c, p, _n: template(p)["spec"].update(expireAfter="336h0m0s"), None),
        (
            lambda _c, p, _n: template(p)["spec"].update(
                taints=[{"key": "x", "effect": "NoSchedule"}]
            ),
            "NodePoolDrifted",
        ),
        (lambda _c, p, _n: p["spec"].update(weight=7, limits={"cpu": "1"}), None),
        (lambda _c, p, _n: p["spec"].update(disruption={"consolidateAfter": "Never"}), None),
        # Hashes of another version are not compared; the pool's own wins over a computed one.
        (
            lambda c, p, _n: (
                c["metadata"]["annotations"].update({POOL_VERSION: "v1"}),
                template(p)["metadata"]["labels"].update(team="b"),
            ),
            None,
        ),
        (
            lambda _c, p, _n: p["metadata"].update(
                annotations={POOL_HASH: "other", POOL_VERSION: hashing.NODEPOOL_VERSION}
            ),
            "NodePoolDrifted",
        ),
        # Requirements are compared with the labels.
        (lambda _c, p, _n: require(p, ZONE, "In", "test-zone-1", "test-zone-3"), None),
        (lambda _c, p, _n: require(p, ZONE, "In", "test-zone-2"), "RequirementsDrifted"),
        (lambda _c, p, _n: require(p, TYPE, "NotIn", "default"), "RequirementsDrifted"),
        (lambda _c, p, _n: require(p, CAPACITY, "In", "spot"), "RequirementsDrifted"),
        # The class's fields and what it selects.
        (lambda _c, _p, n: n["spec"]["ephemeralStorage"].update(size="90Gi"), "NodeClassDrift"),
        (lambda _c, _p, n: n["spec"].update(role="others"), "NodeClassDrift"),
        (lambda _c, _p, n: n["spec"].update(subnetSelectorTerms=[{"id": "subnet-1"}]), None),
        (
            lambda c, _p, n: (
                c["metadata"]["annotations"].update({CLASS_VERSION: "v1"}),
                n["spec"].update(role="others"),
            ),
            None,
        ),
        # The operator's own settings of nodes, where both tell them by the same version.
        (lambda c, _p, n: settings(c, n, "one", "one"), None),
        (lambda c, _p, n: settings(c, n, "one", "two"), "NodeSettingsDrift"),
        (lambda c, _p, n: settings(c, n, "one", "two", version="v0"), None),
        (lambda c, _p, n: settings(c, n, None, "two"), None),
        (lambda c, _p, n: settings(c, n, "one", None), None),
        # The placement group, which selectors resolve to: other, new, none any more.
        (lambda c, _p, n: group(c, n, "pg-1", "pg-1"), None),
        (lambda c, _p, n: group(c, n, "pg-1", "pg-2"), "PlacementGroupDrift"),
        (lambda c, _p, n: group(c, n, None, "pg-2"), "PlacementGroupDrift"),
        (lambda c, _p, n: group(c, n, "pg-1", None), "PlacementGroupDrift"),
        (lambda c, _p, _n: c["status"].update(imageID="ami-old"), "AMIDrift"),
        (
            lambda c, _p, n: (c["status"].update(imageID="ami-old"), n["status"].update(amis=[])),
            None,
        ),
        (lambda c, _p, _n: c["status"].update(imageID=""), None),
        # The class still has the image, but for other instance types than the node's.
        (lambda _c, _p, n: images(n, new="arm64", other="amd64"), "AMIDrift"),
        (lambda _c, _p, n: images(n, new="amd64", other="arm64"), None),
        (lambda _c, _p, n: images(n, new="amd64", other="amd64"), None),
        (lambda _c, _p, n: images(n, new="arm64", other="arm64"), None),
        (lambda _c, _p, n: n["status"]["subnets"].pop(0), "SubnetDrift"),
        (lambda _c, _p, n: n["status"].update(subnets=[]), None),
        (
            lambda c, _p, _n: c["metadata"]["labels"].update({RESERVATION: "cr-9"}),
            "CapacityReservationDrift",
        ),
        (lambda c, _p, _n: c["metadata"]["labels"].update({RESERVATION: "cr-1"}), None),
        # The first reason that holds is told: pool, requirements, type, class, AMI.
        (
            lambda c, p, n: (
                template(p)["metadata"]["labels"].update(team="b"),
                require(p, ZONE, "In", "test-zone-2"),
                n["spec"].update(role="others"),
                c["status"].update(imageID="ami-old"),
            ),
            "NodePoolDrifted",
        ),
        (
            lambda c, _p, n: (
                n["spec"].update(role="others"),
                c["status"].update(imageID="ami-old"),
            ),
            "NodeClassDrift",
        ),
        # Before the launch nothing is known that could drift.
        (
            lambda c, p, _n: (
                c["status"].update(conditions=[]),
                require(p, ZONE, "In", "test-zone-2"),
            ),
            None,
        ),
    ],
)
def test_one_change_at_a_time(change: Change, expected: str | None) -> None:
    assert judge(change) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (InstanceFacts(), None),
        (InstanceFacts(subnet_id="subnet-2"), None),
        (InstanceFacts(subnet_id="subnet-9"), DriftReason.SUBNET),
        (InstanceFacts(security_group_ids=frozenset({"sg-2", "sg-1"})), None),
        (InstanceFacts(security_group_ids=frozenset({"sg-1"})), DriftReason.SECURITY_GROUP),
        (
            InstanceFacts(security_group_ids=frozenset({"sg-1", "sg-2", "sg-3"})),
            DriftReason.SECURITY_GROUP,
        ),
    ],
)
def test_what_ec2_says_of_the_instance(facts: InstanceFacts, expected: str | None) -> None:
    assert judge(lambda _c, _p, _n: None, facts=facts) == expected


def label(key: str, value: str) -> Change:
    return lambda c, _p, _n: c["metadata"]["labels"].update({key: value})


@pytest.mark.parametrize(
    ("change", "age", "expected"),
    [
        (label(TYPE, "retired"), INSTANCE_TYPE_GRACE, DriftReason.INSTANCE_TYPE),
        (label(TYPE, "retired"), INSTANCE_TYPE_GRACE - timedelta(seconds=1), None),
        # Spot is sold in two zones of the three.
        (
            lambda c, _p, n: (
                c["metadata"]["labels"].update({ZONE: "test-zone-3", CAPACITY: "spot"}),
                n["status"]["subnets"].append({"id": "subnet-3", "zone": "test-zone-3"}),
            ),
            INSTANCE_TYPE_GRACE,
            DriftReason.INSTANCE_TYPE,
        ),
        # A reservation that has ended leaves an ordinary instance.
        (label(CAPACITY, "reserved"), INSTANCE_TYPE_GRACE, None),
    ],
)
def test_types_that_are_sold_no_more(
    change: Change, age: timedelta, expected: DriftReason | None
) -> None:
    assert judge(change, age=age) == expected


def test_without_its_class_only_the_pool_is_compared() -> None:
    claim, pool = claim_object(), pool_object()
    claim["status"]["imageID"] = "ami-old"
    verdict = drift_reason(
        NodeClaim.from_dict(claim), NodePool.from_dict(pool), None, types(), BORN
    )
    assert verdict is None


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [("True", "AMIDrift", "AMIDrift"), ("True", "", "Drifted"), ("False", "AMIDrift", None)],
)
def test_the_recorded_reason(status: str, reason: str, expected: str | None) -> None:
    found = claim_object()
    found["status"]["conditions"].append(
        {
            "type": "Drifted",
            "status": status,
            "reason": reason,
            "message": "",
            "lastTransitionTime": BORN.isoformat(),
        }
    )
    assert recorded_drift(NodeClaim.from_dict(found)) == expected
