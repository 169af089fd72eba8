"""DaemonSets: one pod on every node that the template fits, pinned to it by node affinity."""

from __future__ import annotations

from typing import Any

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster import pods
from autoctl.sim.cluster.nodematch import matches_node
from autoctl.sim.cluster.nodes import tolerates
from autoctl.sim.cluster.runtime import Controller
from autoctl.sim.cluster.server import controller_of
from autoctl.sim.cluster.store import Key, key_of

_REVISION = "controller-revision-hash"
_TOLERATIONS = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


class DaemonSets(Controller[Key]):
    """Keys are DaemonSets; a change of a node's labels or taints asks for all of them.

    The rolling update deletes old pods within maxUnavailable; surging is not modelled.
    """

    def start(self) -> None:
        """See `Controller.start`."""
        self.store.subscribe(k8s.DAEMON_SETS, self._changed)
        self.store.subscribe(k8s.PODS, self._pod_changed)
        self.store.subscribe(k8s.NODES, self._node_changed)
        self._enqueue_all()

    def _enqueue_all(self) -> None:
        for obj in list(self.store.objects(k8s.DAEMON_SETS)):
            self.enqueue(key_of(obj))

    def _changed(self, _: Object | None, after: Object | None) -> None:
        if after is not None:
            self.enqueue(key_of(after))

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        pod = after or before
        assert pod is not None
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "DaemonSet":
            self.enqueue((pod["metadata"]["namespace"], owner["name"]))

    def _node_changed(self, before: Object | None, after: Object | None) -> None:
        if before is None or after is None or _placement(before) != _placement(after):
            self._enqueue_all()

    def reconcile(self, key: Key) -> None:
        """See `Controller.reconcile`."""
        found = self.store.get(k8s.DAEMON_SETS, key[1], key[0])
        if found is None or found["metadata"].get("deletionTimestamp"):
            return
        template = with_daemon_tolerations(found["spec"]["template"])
        revision = pods.template_hash(found["spec"]["template"])
        by_node: dict[str, list[Object]] = {}
        for pod in pods.owned(self.store, found, k8s.PODS):
            by_node.setdefault(_target(pod), []).append(pod)
        desired = ready = updated = 0
        old: list[Object] = []
        for node in list(self.store.objects(k8s.NODES)):
            name = node["metadata"]["name"]
            mine = by_node.pop(name, [])
            run, keep = _should_run(template, node)
            desired += run
            if not run and not keep:
                self._delete(mine)
                continue
            for pod in mine:
                if not pods.is_active(pod):
                    # Ended pods go, and are made anew when they are gone.
                    self._delete([pod])
                elif (pod["metadata"].get("labels") or {}).get(_REVISION) == revision:
                    updated += 1
                    ready += pods.is_ready(pod)
                else:
                    old.append(pod)
                    ready += pods.is_ready(pod)
            if run and not mine:
                self._create(found, template, name, revision)
        for pod_list in by_node.values():
            self._delete(pod_list)
        self._roll(found, old, desired, ready)
        self.server.mutate(
            k8s.DAEMON_SETS,
            found,
            status={
                "observedGeneration": found["metadata"]["generation"],
                "desiredNumberScheduled": desired,
                "currentNumberScheduled": updated + len(old),
                "numberReady": ready,
                "numberAvailable": ready,
                "numberUnavailable": max(desired - ready, 0),
                "updatedNumberScheduled": updated,
                "numberMisscheduled": 0,
            },
        )

    def _roll(self, owner: Object, old: list[Object], desired: int, ready: int) -> None:
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate" or not old:
            return
        allowed = pods.resolve(
            (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1),
            desired,
            round_up=True,
        )
        room = allowed - (desired - ready)
        for pod in old:
            if not pods.is_ready(pod):
                self._delete([pod])
            elif room > 0:
                self._delete([pod])
                room -= 1

    def _create(self, owner: Object, template: Object, node: str, revision: str) -> None:
        spec = template.get("spec") or {}
        pods.create_pod(
            self.server,
            k8s.DAEMON_SETS,
            owner,
            template,
            labels={_REVISION: revision},
            spec={"affinity": _pinned(spec.get("affinity") or {}, node)},
        )

    def _delete(self, unwanted: list[Object]) -> None:
        for pod in unwanted:
            if not pod["metadata"].get("deletionTimestamp"):
                pods.delete_pod(self.server, pod)


def with_daemon_tolerations(template: Object) -> Object:
    """The template with the tolerations that the DaemonSet controller adds."""
    spec = template.get("spec") or {}
    tolerations = list(spec.get("tolerations") or ())
    wanted = list(_TOLERATIONS)
    if spec.get("hostNetwork"):
        wanted.append(("node.kubernetes.io/network-unavailable", "NoSchedule"))
    for key, effect in wanted:
        added = {"key": key, "operator": "Exists", "effect": effect}
        if added not in tolerations:
            tolerations.append(added)
    return {**template, "spec": {**spec, "tolerations": tolerations}}


def _should_run(template: Object, node: Object) -> tuple[bool, bool]:
    """Whether a new pod should run on the node, and whether one that runs may stay."""
    spec = template.get("spec") or {}
    if not matches_node(spec, node):
        return False, False
    tolerations = spec.get("tolerations") or ()
    run = keep = True
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] == "PreferNoSchedule" or any(tolerates(t, taint) for t in tolerations):
            continue
        run = False
        if taint["effect"] == "NoExecute":
            keep = False
    return run, keep


def _placement(node: Object) -> tuple[Any, Any]:
    return node["metadata"].get("labels"), node["spec"].get("taints")


def _target(pod: Object) -> str:
    """The node that the pod is pinned to."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name":
                return str(field["values"][0])
    return ""


def _pinned(affinity: Object, node: str) -> Object:
    """The affinity with its required node terms replaced by the node's name."""
    node_affinity = dict(affinity.get("nodeAffinity") or {})
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
        "nodeSelectorTerms": [{"matchFields": [field]}]
    }
    return {**affinity, "nodeAffinity": node_affinity}
