"""DaemonSets: one pod on every node that the template fits, pinned to it by node affinity."""

from __future__ import annotations

from typing import Any

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster import pods
from autoctl.sim.cluster.nodematch import matches_node
from autoctl.sim.cluster.nodes import tolerates
from autoctl.sim.cluster.runtime import Controller, Wheel
from autoctl.sim.cluster.server import Server, controller_of
from autoctl.sim.cluster.store import Key, key_of
from autoctl.sim.cluster.timings import Timings

_REVISION = "controller-revision-hash"
_PASS_SECONDS = 2.0
_TOLERATIONS = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


class DaemonSets(Controller[tuple[Key, str]]):
    """Keys are a DaemonSet and a node, or "" for all nodes, the roll-out and the status.

    A change on one node is answered for that node alone; the pass over all nodes follows a little
    later, once for many changes. The rolling update deletes old pods within maxUnavailable; surging
    is not modelled.
    """

    def __init__(self, server: Server, wheel: Wheel, timings: Timings) -> None:
        super().__init__(server, wheel, timings)
        self._pods: dict[tuple[str, str], dict[Key, None]] = {}
        self._planned: dict[Key, None] = {}

    def start(self) -> None:
        """See `Controller.start`."""
        self.store.subscribe(k8s.DAEMON_SETS, self._changed)
        self.store.subscribe(k8s.PODS, self._pod_changed)
        self.store.subscribe(k8s.NODES, self._node_changed)
        for pod in list(self.store.objects(k8s.PODS)):
            self._pod_changed(None, pod)
        for obj in list(self.store.objects(k8s.DAEMON_SETS)):
            self.enqueue((key_of(obj), ""))

    def _changed(self, before: Object | None, after: Object | None) -> None:
        if after is not None and (before is None or before["spec"] != after["spec"]):
            self.enqueue((key_of(after), ""))

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        pod = after or before
        assert pod is not None
        owner = controller_of(pod)
        if owner is None or owner["kind"] != "DaemonSet":
            return
        node = _target(pod)
        mine = self._pods.setdefault((owner["uid"], node), {})
        if after is not None:
            mine[key_of(pod)] = None
        else:
            mine.pop(key_of(pod), None)
            if not mine:
                del self._pods[owner["uid"], node]
        key = (pod["metadata"]["namespace"], owner["name"])
        self.enqueue((key, node))
        self._plan_pass(key)

    def _node_changed(self, before: Object | None, after: Object | None) -> None:
        if before is None or after is None or _placement(before) != _placement(after):
            node = after or before
            assert node is not None
            for daemon_set in self.store.objects(k8s.DAEMON_SETS):
                self.enqueue((key_of(daemon_set), node["metadata"]["name"]))
                self._plan_pass(key_of(daemon_set))

    def _plan_pass(self, key: Key) -> None:
        if key not in self._planned:
            self._planned[key] = None
            self.enqueue_after(_PASS_SECONDS, (key, ""))

    def reconcile(self, key: tuple[Key, str]) -> None:
        """See `Controller.reconcile`."""
        (namespace, name), node = key
        found = self.store.get(k8s.DAEMON_SETS, name, namespace)
        if not node:
            self._planned.pop(key[0], None)
        if found is None or found["metadata"].get("deletionTimestamp"):
            return
        template = with_daemon_tolerations(found["spec"]["template"])
        revision = pods.template_hash(found["spec"]["template"])
        if node:
            self._reconcile_node(found, template, revision, node)
        else:
            self._reconcile_all(found, template, revision)

    def _reconcile_node(
        self, owner: Object, template: Object, revision: str, name: str
    ) -> tuple[bool, list[Object]]:
        """Make or delete the node's pod; whether one is wanted, and the active ones that stay."""
        node = self.store.get(k8s.NODES, name)
        mine = [
            pod
            for namespace, pod_name in self._pods.get((owner["metadata"]["uid"], name), {})
            if (pod := self.store.get(k8s.PODS, pod_name, namespace)) is not None
        ]
        run, keep = (False, False) if node is None else _should_run(template, node)
        if not run and not keep:
            self._delete(mine)
            return False, []
        active = [pod for pod in mine if pods.is_active(pod)]
        # Ended pods go, and are made anew when they are gone.
        self._delete([pod for pod in mine if not pods.is_active(pod)])
        if run and not mine:
            self._create(owner, template, name, revision)
        return run, active

    def _reconcile_all(self, owner: Object, template: Object, revision: str) -> None:
        desired = ready = updated = 0
        old: list[Object] = []
        names = [node["metadata"]["name"] for node in self.store.objects(k8s.NODES)]
        uid = owner["metadata"]["uid"]
        gone = [n for u, n in self._pods if u == uid and self.store.get(k8s.NODES, n) is None]
        for name in names + gone:
            run, active = self._reconcile_node(owner, template, revision, name)
            desired += run
            for pod in active:
                ready += pods.is_ready(pod)
                if (pod["metadata"].get("labels") or {}).get(_REVISION) == revision:
                    updated += 1
                else:
                    old.append(pod)
        self._roll(owner, old, desired, ready)
        self.server.mutate(
            k8s.DAEMON_SETS,
            owner,
            status={
                "observedGeneration": owner["metadata"]["generation"],
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
