"""The cluster that the benchmarks of disruption measure: its NodePool, and what it can buy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from autoctl.api.labels import CAPACITY_TYPE, INSTANCE_TYPE, NODECLASS, NODEPOOL
from autoctl.catalog.embedded import load_catalog
from autoctl.catalog.model import ON_DEMAND, InstanceType
from autoctl.ports.kubernetes import Object

REGION: Final = "us-west-2"
_CATEGORIES: Final = frozenset({"c", "m", "r"})


def types_on_sale() -> list[InstanceType]:
    """General types of 2 to 16 vCPU that are sold on demand."""
    catalog = load_catalog(REGION)
    return [
        t
        for t in catalog.instance_types.values()
        if t.labels.get("eks.amazonaws.com/instance-category") in _CATEGORIES
        and int(t.labels.get("eks.amazonaws.com/instance-generation", "0")) > 4
        and t.architecture == "amd64"
        and 2000 <= t.capacity["cpu"] <= 16000
        and not t.exotic
        and any(o.capacity_type == ON_DEMAND for o in t.offerings)
    ]


def node_class() -> Object:
    """The NodeClass `default`."""
    return {
        "apiVersion": "eks.amazonaws.com/v1",
        "kind": "NodeClass",
        "metadata": {"name": "default"},
        "spec": {
            "role": "autoctl-node",
            "subnetSelectorTerms": [{"tags": {"kubernetes.io/role/internal-elb": "1"}}],
            "securityGroupSelectorTerms": [{"tags": {"aws:eks:cluster-name": "autoctl"}}],
        },
    }


def node_pool(budget: str) -> Object:
    """The NodePool `default`: what is on sale, with one disruption budget, consolidation off."""
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "default"},
        "spec": {
            "template": {
                "spec": {
                    "nodeClassRef": class_reference(),
                    "requirements": [
                        _is_in(CAPACITY_TYPE, ON_DEMAND),
                        _is_in("eks.amazonaws.com/instance-category", *sorted(_CATEGORIES)),
                        {
                            "key": "eks.amazonaws.com/instance-generation",
                            "operator": "Gt",
                            "values": ["4"],
                        },
                        {
                            "key": "eks.amazonaws.com/instance-cpu",
                            "operator": "Lte",
                            "values": ["16"],
                        },
                        _is_in("kubernetes.io/arch", "amd64"),
                    ],
                }
            },
            "disruption": {
                "consolidationPolicy": "WhenEmptyOrUnderutilized",
                "consolidateAfter": "Never",
                "budgets": [{"nodes": budget}],
            },
        },
    }


def class_reference() -> Mapping[str, str]:
    return {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"}


def node_claim(name: str, types: Sequence[str], **spec: Any) -> Object:
    """A NodeClaim of the NodePool `default` that leaves these instance types open, on demand."""
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": name, "labels": {NODEPOOL: "default", NODECLASS: "default"}},
        "spec": {
            "nodeClassRef": class_reference(),
            "requirements": [
                _is_in(NODEPOOL, "default"),
                _is_in(INSTANCE_TYPE, *types),
                _is_in(CAPACITY_TYPE, ON_DEMAND),
            ],
            **spec,
        },
    }


def _is_in(key: str, *values: str) -> Object:
    return {"key": key, "operator": "In", "values": list(values)}
