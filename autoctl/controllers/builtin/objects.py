"""The built-in objects, exactly as EKS Auto Mode has them in a cluster.

Source: EKS User Guide, "Enable or Disable Built-in NodePools".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from autoctl.api import labels
from autoctl.ports.kubernetes import NODE_CLASSES, NODE_POOLS, Object, Resource

BuiltinPool = Literal["general-purpose", "system"]

POOLS: Final[tuple[BuiltinPool, ...]] = ("general-purpose", "system")
CLASS: Final = "default"
"""The NodeClass of the built-in pools; the name is reserved for it while one of them is on."""
MANAGED_BY: Final = {labels.MANAGED_BY: "eks"}
OURS: Final = "autoctl.io/builtin"
"""Annotation of objects that are kept by this operator, and by nobody else."""


def node_pool(name: BuiltinPool) -> Object:
    """The built-in NodePool of that name."""
    system = name == "system"

    def one_of(key: str, *values: str) -> dict[str, Any]:
        return {"key": key, "operator": "In", "values": list(values)}

    template: dict[str, Any] = {
        "expireAfter": "336h",
        "nodeClassRef": {"group": labels.EKS_GROUP, "kind": "NodeClass", "name": CLASS},
        "requirements": [
            one_of(labels.CAPACITY_TYPE, "on-demand"),
            one_of(labels.INSTANCE_CATEGORY, "c", "m", "r"),
            {"key": labels.INSTANCE_GENERATION, "operator": "Gt", "values": ["4"]},
            one_of(labels.ARCH, *(("amd64", "arm64") if system else ("amd64",))),
            one_of(labels.OS, "linux"),
        ],
        "terminationGracePeriod": "24h0m0s",
    }
    if system:
        template["taints"] = [{"key": "CriticalAddonsOnly", "effect": "NoSchedule"}]
    return {
        **_head(NODE_POOLS, name),
        "spec": {
            "disruption": {
                "budgets": [{"nodes": "10%"}],
                "consolidateAfter": "30s",
                "consolidationPolicy": "WhenEmptyOrUnderutilized",
            },
            "template": {"spec": template},
        },
    }


def node_class(role: str, subnets: Iterable[str], security_group: str) -> Object:
    """The NodeClass `default`, in the cluster's own subnets and security group."""
    return {
        **_head(NODE_CLASSES, CLASS),
        "spec": {
            "role": role,
            "subnetSelectorTerms": [{"id": subnet} for subnet in sorted(subnets)],
            "securityGroupSelectorTerms": [{"id": security_group}],
            "snatPolicy": "Random",
            "networkPolicy": "DefaultAllow",
            "networkPolicyEventLogs": "Disabled",
            "ephemeralStorage": {"size": "80Gi", "iops": 3000, "throughput": 125},
        },
    }


def _head(resource: Resource, name: str) -> Object:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "labels": dict(MANAGED_BY), "annotations": {OURS: "true"}},
    }
