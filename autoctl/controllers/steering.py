"""The two writes that send pods to a node: the nomination, and the taint that keeps others away."""

from __future__ import annotations

from typing import Final

from autoctl.api import core
from autoctl.api.labels import AWAITING_PODS_TAINT
from autoctl.api.nodeclaim import Taint
from autoctl.ports.kubernetes import NODES, PODS, Conflict, KubernetesApi, NotFound

HOLD: Final = Taint(key=AWAITING_PODS_TAINT, effect="NoSchedule")
"""On a node that takes no pods before those meant for it have been nominated."""

_TRIES: Final = 5


async def nominate(api: KubernetesApi, pod: core.Pod, node: str | None) -> None:
    """Make `node` the pod's nominated node, or take the nomination back (None).

    kube-scheduler tries a nominated node before any other, and keeps its room free from pods of
    the same or lower priority. A pod that is gone or was replaced is left alone; raises `ApiError`.
    """
    body = {"metadata": {"uid": pod.metadata.uid}, "status": {"nominatedNodeName": node}}
    try:
        await api.patch(PODS, pod.metadata.name, body, pod.metadata.namespace, subresource="status")
    except (NotFound, Conflict):
        return


async def set_taint(api: KubernetesApi, name: str, key: str, *, present: bool) -> None:
    """Add or remove a NoSchedule taint of a node; others' taints stay as they are.

    Raises `Conflict` when the node kept changing under the write. A node that is gone is fine.
    """
    for _ in range(_TRIES):
        try:
            node = await api.get(NODES, name)
        except NotFound:
            return
        taints = list(node.get("spec", {}).get("taints") or ())
        others = [t for t in taints if t.get("key") != key]
        wanted = [*others, {"key": key, "effect": "NoSchedule"}] if present else others
        if wanted == taints:
            return
        body = {
            "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
            "spec": {"taints": wanted or None},
        }
        try:
            await api.patch(NODES, name, body)
        except Conflict:
            continue
        except NotFound:
            return
        return
    raise Conflict(f"node {name} changed {_TRIES} times while its taints were set")
