"""No pod is lost: at the end every workload has what it asked for."""

from __future__ import annotations

from collections import Counter

from autoctl.ports.kubernetes import (
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
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
        for pod in cluster.objects(PODS):
            owner = controller_of(pod)
            if not pod["spec"].get("nodeName"):
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
            self._compare(daemons, ready, wanted)
        for job in cluster.objects(JOBS):
            if not is_true(job, "Complete"):
                self._report("pod lost", f"Job {job['metadata']['name']} is not complete")

    def _compare(self, workload: Object, ready: Counter[str], wanted: int) -> None:
        found = ready[workload["metadata"]["uid"]]
        if found != wanted:
            name = f"{workload['kind']} {workload['metadata']['name']}"
            self._report("pod lost", f"{name}: {found} pods are ready, {wanted} are wanted")
