"""What changes the hashes that tell drift, and what does not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from admission_table import merge_patch

from autoctl.api.hashing import nodeclass_hash, nodepool_hash
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import NodePool

POOL: dict[str, Any] = {
    "apiVersion": "karpenter.sh/v1",
    "kind": "NodePool",
    "metadata": {"name": "a"},
    "spec": {
        "template": {
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "spec": {
                "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "a"},
                "requirements": [{"key": "a", "operator": "Exists"}],
                "taints": [
                    {"key": "a", "effect": "NoSchedule"},
                    {"key": "b", "effect": "NoExecute"},
                ],
                "startupTaints": [{"key": "c", "effect": "NoSchedule"}],
                "expireAfter": "336h",
                "terminationGracePeriod": "24h",
            },
        }
    },
}
CLASS: dict[str, Any] = {
    "apiVersion": "eks.amazonaws.com/v1",
    "kind": "NodeClass",
    "metadata": {"name": "a"},
    "spec": {
        "role": "nodes",
        "subnetSelectorTerms": [{"tags": {"a": "b"}}],
        "securityGroupSelectorTerms": [{"tags": {"a": "b"}}],
        "advancedNetworking": {"noProxy": ["a", "b"]},
        "tags": {"a": "b"},
    },
}


def pool(spec: dict[str, Any]) -> str:
    return nodepool_hash(NodePool.from_dict(merge_patch(POOL, {"spec": spec})))


def node_class(spec: dict[str, Any]) -> str:
    return nodeclass_hash(NodeClass.from_dict(merge_patch(CLASS, {"spec": spec})))


def template(**spec: Any) -> dict[str, Any]:
    return {"template": {"spec": spec}}


@pytest.mark.parametrize(
    "change",
    [
        {"template": {"metadata": {"labels": {"a": "c"}}}},
        {"template": {"metadata": {"labels": {"b": "c"}}}},
        {"template": {"metadata": {"annotations": {"c": "e"}}}},
        {"template": {"metadata": {"labels": {"node-role.kubernetes.io/worker": ""}}}},
        {"template": {"metadata": {"annotations": {"e": ""}}}},
        template(taints=[{"key": "a", "effect": "NoSchedule"}]),
        template(startupTaints=[{"key": "c", "effect": "NoExecute"}]),
        template(nodeClassRef={"name": "b"}),
        template(expireAfter="335h"),
        template(expireAfter="Never"),
        template(terminationGracePeriod="23h"),
        template(terminationGracePeriod=None),
    ],
)
def test_changes_the_pools_hash(change: dict[str, Any]) -> None:
    assert pool(change) != pool({})


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 10},
        {"limits": {"cpu": 10}},
        {"disruption": {"consolidateAfter": "1m", "budgets": [{"nodes": "0"}]}},
        template(requirements=[]),
        template(taints=list(reversed(POOL["spec"]["template"]["spec"]["taints"]))),
        template(expireAfter="336h0m0s"),
        template(terminationGracePeriod="1440m"),
        {
            "template": {
                "spec": {
                    "taints": [
                        {"key": "a", "effect": "NoSchedule", "value": ""},
                        {"key": "b", "effect": "NoExecute"},
                    ]
                }
            }
        },
    ],
)
def test_leaves_the_pools_hash(change: dict[str, Any]) -> None:
    assert pool(change) == pool({})


def test_a_label_moved_to_the_annotations_changes_the_hash() -> None:
    moved = {"template": {"metadata": {"labels": {"a": None}, "annotations": {"a": "b"}}}}
    assert pool(moved) != pool({})


@pytest.mark.parametrize(
    "change",
    [
        {"role": "others"},
        {"role": None, "instanceProfile": "nodes"},
        {"snatPolicy": "Disabled"},
        {"networkPolicy": "DefaultDeny"},
        {"ephemeralStorage": {"size": "81Gi"}},
        {"ephemeralStorage": {"kmsKeyID": "alias/a"}},
        {"advancedNetworking": {"ipv4PrefixSize": "32"}},
        {"advancedNetworking": {"enableV4Egress": False}},
        {"advancedSecurity": {"fips": True}},
        {"advancedCompute": {"kubelet": {"maxPods": 30}}},
        {"advancedCompute": {"kernel": {"sysctl": {"vm.swappiness": 10}}}},
        {"certificateBundles": [{"name": "a", "data": "YQ=="}]},
        {"advancedCompute": {"kernel": {"sysctl": {"vm.swappiness": 0}}}},
        {"advancedCompute": {"kernel": {"sysctl": {"net.ipv4.tcp_tw_reuse": 0}}}},
        {"advancedCompute": {"kubelet": {"singleProcessOOMKill": False}}},
        {"advancedNetworking": {"associatePublicIPAddress": False}},
        {"tags": {"a": "c"}},
        {"tags": {"b": ""}},
    ],
)
def test_changes_the_classs_hash(change: dict[str, Any]) -> None:
    assert node_class(change) != node_class({})


@pytest.mark.parametrize(
    "change",
    [
        {"subnetSelectorTerms": [{"id": "subnet-1"}]},
        {"securityGroupSelectorTerms": [{"id": "sg-1"}]},
        {
            "podSubnetSelectorTerms": [{"id": "subnet-1"}],
            "podSecurityGroupSelectorTerms": [{"id": "sg-1"}],
        },
        {"capacityReservationSelectorTerms": [{"id": "cr-1"}]},
        {"placementGroupSelector": {"name": "a"}},
        {"advancedNetworking": {"noProxy": ["b", "a"]}},
        {"snatPolicy": "Random"},
        {"ephemeralStorage": {"size": "80Gi"}},
        {"advancedSecurity": {"fips": False}},
        {"advancedCompute": {}},
        {"advancedNetworking": {"ipv4PrefixSize": "Auto", "enableV4Egress": True}},
        {"advancedCompute": {"kubelet": {}}},
    ],
)
def test_leaves_the_classs_hash(change: dict[str, Any]) -> None:
    assert node_class(change) == node_class({})


def test_metadata_and_status_change_nothing() -> None:
    other = copy.deepcopy(POOL)
    other["metadata"] = {"name": "b", "labels": {"x": "y"}, "generation": 7}
    other["status"] = {"nodes": 3}
    assert nodepool_hash(NodePool.from_dict(other)) == pool({})


def test_the_values_stay_the_same_from_release_to_release() -> None:
    assert pool({}) == "11189367852051657141"
    assert node_class({}) == "11062231161459228379"
