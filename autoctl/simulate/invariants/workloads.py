"""No pod is lost: at the end every workload has what it asked for."""

from __future__ import annotations

from collections import Counter

from autoctl.catalog.units import amount
from autoctl.ports.kubernetes import (
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Object,
)
from autoctl.sim.cluster.server import controller_of, is_true
from autoctl.simulate.invariants.violations import Report
from autoctl.simulate.world import World


class Workloads:
    """Replicas of Deployments and StatefulSets, daemons, and Jobs."""

    def __init__(self, world: World, report: Report) -> None:
        self._world = world
        self._report = report

    def finish(self) -> None:
        """See `Check.finish`."""
        cluster = self._world.cluster
        parents = {r["metadata"]["uid"]: controller_of(r) for r in cluster.objects(REPLICA_SETS)}
        ready: Counter[str] = Counter()
        crowded: Counter[str] = Counter()
        for pod in cluster.objects(PODS):
            owner = controller_of(pod)
            if owner is not None and self._crowded_out(pod, owner):
                crowded[owner["uid"]] += 1
            elif not pod["spec"].get("nodeName"):
                self._report("pod lost", f"{pod['metadata']['name']} has no node")
            elif owner is not None and is_true(pod, "Ready"):
                parent = parents.get(owner["uid"]) or owner
                if "deletionTimestamp" not in pod["metadata"]:
                    ready[parent["uid"]] += 1
        for resource in (DEPLOYMENTS, STATEFUL_SETS):
            for workload in cluster.objects(resource):
                self._compare(workload, ready, workload["spec"].get("replicas", 1))
        for daemons in cluster.objects(DAEMON_SETS):
            wanted = daemons.get("status", {}).get("desiredNumberScheduled", 0)
            self._compare(daemons, ready, wanted - crowded[daemons["metadata"]["uid"]])
        for job in cluster.objects(JOBS):
            if not is_true(job, "Complete"):
                self._report("pod lost", f"Job {job['metadata']['name']} is not complete")

    def _crowded_out(self, pod: Object, owner: Object) -> bool:
        """Whether a daemon has no room on its node, which other pods were faster to fill.

        Without a priority of its own a daemon loses such a race in every cluster.
        """
        if owner["kind"] != "DaemonSet" or pod["spec"].get("nodeName"):
            return False
        (term,) = pod["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]["nodeSelectorTerms"]
        (name,) = term["matchFields"][0]["values"]
        node = self._world.cluster.store.get(NODES, name)
        if node is None:
            return False
        used = _requests(pod)
        for other in self._world.cluster.objects(PODS):
            if other["spec"].get("nodeName") == name:
                used.update(_requests(other))
        room = node["status"]["allocatable"]
        return any(used[kind] > amount(kind, room[kind]) for kind in used)

    def _compare(self, workload: Object, ready: Counter[str], wanted: int) -> None:
        found = ready[workload["metadata"]["uid"]]
        if found != wanted:
            name = f"{workload['kind']} {workload['metadata']['name']}"
            self._report("pod lost", f"{name}: {found} pods are ready, {wanted} are wanted")


def _requests(pod: Object) -> Counter[str]:
    """CPU and memory that the pod's containers ask for."""
    total: Counter[str] = Counter()
    for container in pod["spec"]["containers"]:
        asked = (container.get("resources") or {}).get("requests") or {}
        total.update({kind: amount(kind, asked[kind]) for kind in asked})
    return total
