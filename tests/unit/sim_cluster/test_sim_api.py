"""API semantics: versions, generations, conflicts, patches, status isolation, finalizers."""

from __future__ import annotations

from typing import Any

import pytest

from autoctl.api.core import Pod
from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Invalid,
    NotFound,
    PatchType,
)
from autoctl.sim.cluster import SimCluster


def node_claim(name: str = "claim-1", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "spec": {"expireAfter": "720h"}}


def pod(name: str = "pod-1", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


async def test_create_fills_in_metadata(cluster: SimCluster) -> None:
    made = await cluster.api.create(k8s.NODE_CLAIMS, node_claim())
    meta = made["metadata"]
    assert (made["apiVersion"], made["kind"]) == ("karpenter.sh/v1", "NodeClaim")
    assert meta["generation"] == 1
    assert meta["creationTimestamp"] == "2026-01-05T00:00:00Z"
    assert len(meta["uid"]) == 36
    assert int(meta["resourceVersion"]) > 0
    assert await cluster.api.get(k8s.NODE_CLAIMS, "claim-1") == made


async def test_generate_name_is_unique_and_reproducible(cluster: SimCluster) -> None:
    names = [
        (await cluster.api.create(k8s.NODE_CLAIMS, {"metadata": {"generateName": "default-"}}))[
            "metadata"
        ]["name"]
        for _ in range(20)
    ]
    assert len(set(names)) == 20
    assert all(name.startswith("default-") and len(name) == 13 for name in names)


async def test_creating_twice_is_refused(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.NODE_CLAIMS, node_claim())
    with pytest.raises(AlreadyExists, match=r'nodeclaims.karpenter.sh "claim-1" already exists'):
        await cluster.api.create(k8s.NODE_CLAIMS, node_claim())


async def test_dry_run_writes_nothing(cluster: SimCluster) -> None:
    made = await cluster.api.create(k8s.NODE_CLAIMS, node_claim(), dry_run=True)
    assert made["metadata"]["name"] == "claim-1"
    with pytest.raises(NotFound):
        await cluster.api.get(k8s.NODE_CLAIMS, "claim-1")


async def test_namespace_must_exist(cluster: SimCluster) -> None:
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        await cluster.api.create(k8s.PODS, pod(), "nowhere")


async def test_returned_objects_are_the_callers_own(cluster: SimCluster) -> None:
    made = await cluster.api.create(k8s.NODE_CLAIMS, node_claim(labels={"a": "b"}))
    made["metadata"]["labels"]["a"] = "changed"
    listed = await cluster.api.list(k8s.NODE_CLAIMS)
    listed.items[0]["spec"]["expireAfter"] = "changed"
    stored = await cluster.api.get(k8s.NODE_CLAIMS, "claim-1")
    assert stored["metadata"]["labels"] == {"a": "b"}
    assert stored["spec"]["expireAfter"] == "720h"


async def test_replace_is_optimistic(cluster: SimCluster) -> None:
    made = await cluster.api.create(k8s.NODE_CLAIMS, node_claim())
    await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", {"metadata": {"labels": {"x": "y"}}})
    with pytest.raises(Conflict, match="the object has been modified"):
        await cluster.api.replace(k8s.NODE_CLAIMS, made)
    del made["metadata"]["resourceVersion"]
    with pytest.raises(Invalid, match="resourceVersion: Invalid value: 0x0"):
        await cluster.api.replace(k8s.NODE_CLAIMS, made)


async def test_merge_patch_with_a_stale_version_conflicts(cluster: SimCluster) -> None:
    made = await cluster.api.create(k8s.NODE_CLAIMS, node_claim())
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "labels": {}}}
    patch["metadata"]["labels"] = {"first": "1"}
    await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", patch)
    with pytest.raises(Conflict):
        await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", patch)


async def test_generation_counts_changes_of_spec_alone(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.NODE_CLAIMS, node_claim())

    async def generation(patch: dict[str, Any], **kwargs: Any) -> int:
        made = await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", patch, **kwargs)
        return int(made["metadata"]["generation"])

    assert await generation({"metadata": {"labels": {"a": "b"}}}) == 1
    assert await generation({"status": {"nodeName": "n"}}, subresource="status") == 1
    assert await generation({"spec": {"expireAfter": "24h"}}) == 2
    assert await generation({"spec": {"expireAfter": "24h"}}) == 2


async def test_a_change_of_nothing_keeps_the_version(cluster: SimCluster) -> None:
    made = await cluster.api.create(k8s.NODE_CLAIMS, node_claim(labels={"a": "b"}))
    same = await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", {"metadata": {"labels": {"a": "b"}}})
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_status_and_spec_are_isolated(cluster: SimCluster) -> None:
    body = node_claim() | {"status": {"nodeName": "early"}}
    made = await cluster.api.create(k8s.NODE_CLAIMS, body)
    assert "status" not in made
    made = await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", {"status": {"nodeName": "x"}})
    assert "status" not in made
    both = {
        "metadata": {"labels": {"no": "no"}},
        "spec": {"expireAfter": "1h"},
        "status": {"nodeName": "n"},
    }
    made = await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", both, subresource="status")
    assert made["status"] == {"nodeName": "n"}
    assert made["spec"] == {"expireAfter": "720h"}
    assert "labels" not in made["metadata"]


async def test_kinds_without_status_have_no_such_subresource(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.CONFIGMAPS, {"metadata": {"name": "c"}}, "default")
    with pytest.raises(NotFound, match="could not find the requested resource"):
        await cluster.api.patch(
            k8s.CONFIGMAPS, "c", {"status": {}}, "default", subresource="status"
        )


async def test_clients_cannot_forge_what_the_server_owns(cluster: SimCluster) -> None:
    made = await cluster.api.create(k8s.NODE_CLAIMS, node_claim())
    patch = {"creationTimestamp": "2000-01-01T00:00:00Z", "generation": 9, "deletionTimestamp": "x"}
    after = await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", {"metadata": patch})
    assert after == made


async def test_scale_subresource(cluster: SimCluster) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    body = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    await cluster.api.create(k8s.DEPLOYMENTS, body, "default")
    scale = await cluster.api.patch(
        k8s.DEPLOYMENTS, "web", {"spec": {"replicas": 0}}, "default", subresource="scale"
    )
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 0})
    made = await cluster.api.get(k8s.DEPLOYMENTS, "web", "default")
    assert made["spec"]["replicas"] == 0
    assert made["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("kind", "patch", "expected"),
    [
        (PatchType.MERGE, {"spec": {"taints": None}}, {}),
        (
            PatchType.MERGE,
            {"spec": {"taints": [{"key": "n", "effect": "NoSchedule"}]}},
            {"taints": [{"key": "n", "effect": "NoSchedule"}]},
        ),
        (
            PatchType.STRATEGIC,
            {"spec": {"taints": [{"key": "n", "effect": "NoSchedule"}]}},
            {
                "taints": [
                    {"key": "a", "effect": "NoSchedule", "value": "1"},
                    {"key": "n", "effect": "NoSchedule"},
                ]
            },
        ),
        (
            PatchType.STRATEGIC,
            {"spec": {"taints": [{"key": "a", "effect": "NoSchedule", "value": "2"}]}},
            {"taints": [{"key": "a", "effect": "NoSchedule", "value": "2"}]},
        ),
        (
            PatchType.STRATEGIC,
            {"spec": {"taints": [{"$patch": "delete", "key": "a"}]}},
            {"taints": []},
        ),
        (
            PatchType.JSON,
            [
                {"op": "test", "path": "/spec/taints/0/key", "value": "a"},
                {"op": "add", "path": "/spec/taints/-", "value": {"key": "b"}},
                {"op": "remove", "path": "/spec/taints/0"},
            ],
            {"taints": [{"key": "b"}]},
        ),
        (
            PatchType.APPLY,
            {"spec": {"taints": [{"key": "b", "effect": "NoExecute"}]}},
            {
                "taints": [
                    {"key": "a", "effect": "NoSchedule", "value": "1"},
                    {"key": "b", "effect": "NoExecute"},
                ]
            },
        ),
    ],
)
async def test_patch_types(
    cluster: SimCluster, kind: PatchType, patch: Any, expected: dict[str, Any]
) -> None:
    taints = [{"key": "a", "effect": "NoSchedule", "value": "1"}]
    await cluster.api.create(
        k8s.NODE_CLAIMS, {"metadata": {"name": "c"}, "spec": {"taints": taints}}
    )
    after = await cluster.api.patch(k8s.NODE_CLAIMS, "c", patch, patch_type=kind)
    assert after["spec"] == expected


async def test_a_failed_json_patch_test_is_invalid(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.NODE_CLAIMS, node_claim())
    operations = [{"op": "test", "path": "/spec/expireAfter", "value": "1h"}]
    with pytest.raises(Invalid, match="test failed"):
        await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", operations, patch_type=PatchType.JSON)


async def test_apply_creates_what_is_not_there(cluster: SimCluster) -> None:
    made = await cluster.api.patch(
        k8s.NODE_CLAIMS, "new", {"spec": {"expireAfter": "1h"}}, patch_type=PatchType.APPLY
    )
    assert made["metadata"]["name"] == "new"
    with pytest.raises(NotFound):
        await cluster.api.patch(k8s.NODE_CLAIMS, "other", {"spec": {}})


async def test_finalizers_hold_an_object(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.NODE_CLAIMS, node_claim(finalizers=["a/x", "b/y"]))
    await cluster.api.delete(k8s.NODE_CLAIMS, "claim-1")
    held = await cluster.api.get(k8s.NODE_CLAIMS, "claim-1")
    assert held["metadata"]["deletionTimestamp"] == "2026-01-05T00:00:00Z"
    assert held["metadata"]["generation"] == 2
    patch: dict[str, Any] = {"metadata": {"finalizers": ["a/x", "b/y", "c/z"]}}
    with pytest.raises(Invalid, match="no new finalizers can be added if the object is being"):
        await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", patch)
    await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", {"metadata": {"finalizers": ["b/y"]}})
    await cluster.api.patch(k8s.NODE_CLAIMS, "claim-1", {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await cluster.api.get(k8s.NODE_CLAIMS, "claim-1")


async def test_delete_with_another_uid_is_a_conflict(cluster: SimCluster) -> None:
    made = await cluster.api.create(k8s.NODE_CLAIMS, node_claim())
    with pytest.raises(Conflict, match="the UID in the precondition"):
        await cluster.api.delete(k8s.NODE_CLAIMS, "claim-1", uid="other")
    await cluster.api.delete(k8s.NODE_CLAIMS, "claim-1", uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        await cluster.api.delete(k8s.NODE_CLAIMS, "claim-1")


async def test_pod_spec_and_provider_id_are_immutable(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.PODS, pod(), "default")
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        await cluster.api.patch(k8s.PODS, "pod-1", {"spec": {"nodeName": "n"}}, "default")
    await cluster.api.create(k8s.NODES, {"metadata": {"name": "n"}, "spec": {"providerID": "a"}})
    with pytest.raises(Invalid, match=r"spec\.providerID: Forbidden"):
        await cluster.api.patch(k8s.NODES, "n", {"spec": {"providerID": "b"}})


async def test_admission_refuses_with_its_messages(cluster: SimCluster) -> None:
    seen: list[tuple[str, bool]] = []

    def admission(obj: dict[str, Any], old: dict[str, Any] | None) -> list[str]:
        seen.append((obj["kind"], old is None))
        return ["spec.expireAfter: too long", "spec: no"] if "bad" in obj["spec"] else []

    strict = SimCluster(cluster.clock, admission=admission)
    await strict.api.create(k8s.NODE_CLAIMS, node_claim())
    await strict.api.create(k8s.PODS, pod(), "default")
    with pytest.raises(Invalid) as caught:
        await strict.api.patch(k8s.NODE_CLAIMS, "claim-1", {"spec": {"bad": True}})
    assert caught.value.message == (
        'NodeClaim.karpenter.sh "claim-1" is invalid: [spec.expireAfter: too long, spec: no]'
    )
    assert seen == [("NodeClaim", True), ("NodeClaim", False)]


@pytest.mark.parametrize(
    ("labels", "fields", "expected"),
    [
        ("", "", ["a", "b", "c"]),
        ("app=web", "", ["a", "b"]),
        ("app==web,tier!=front", "", ["b"]),
        ("tier!=front", "", ["b", "c"]),
        ("app in (web, db),tier", "", ["a", "b"]),
        ("app notin (web)", "", ["c"]),
        ("!tier", "", ["c"]),
        ("", "spec.nodeName=", ["a", "c"]),
        ("", "spec.nodeName!=", ["b"]),
        ("", "metadata.name=c", ["c"]),
        ("app=web", "spec.nodeName=n1,status.phase!=Failed", ["b"]),
    ],
)
async def test_list_selectors(
    cluster: SimCluster, labels: str, fields: str, expected: list[str]
) -> None:
    for name, own in (
        ("c", {"app": "db"}),
        ("a", {"app": "web", "tier": "front"}),
        ("b", {"app": "web", "tier": "back"}),
    ):
        body = pod(name)
        body["metadata"]["labels"] = own
        if name == "b":
            body["spec"]["nodeName"] = "n1"
        await cluster.api.create(k8s.PODS, body, "default")
    found = await cluster.api.list(
        k8s.PODS, "default", label_selector=labels, field_selector=fields
    )
    assert [p["metadata"]["name"] for p in found.items] == expected
    assert (await cluster.api.list(k8s.PODS, "kube-system", label_selector=labels)).items == []


async def test_unknown_field_selectors_are_refused(cluster: SimCluster) -> None:
    with pytest.raises(BadRequest, match=r"field label not supported: spec\.foo"):
        await cluster.api.list(k8s.PODS, field_selector="spec.foo=1")


async def test_lists_decode_to_models(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.PODS, pod(), "default")
    found = await cluster.api.list(k8s.PODS, model=Pod)
    assert found.items[0].metadata.name == "pod-1"
    assert found.items[0].metadata.creation_timestamp == cluster.clock.now().replace(microsecond=0)
