"""The cluster comes to rest: nothing is bought, ended or moved when nothing happens."""

from __future__ import annotations

from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, PODS, Object
from autoctl.sim.cluster.faults import Point, Request
from autoctl.sim.cluster.server import is_true
from autoctl.simulate.invariants.violations import QUIET, Report
from autoctl.simulate.world import World


class Rest:
    """Nothing moves in the last `QUIET` minutes, and every node is well."""

    def __init__(self, world: World, report: Report) -> None:
        self._world = world
        self._report = report
        self._since = world.scenario.start + world.scenario.duration - QUIET
        world.cluster.store.subscribe(NODE_CLAIMS, self._claim_changed)
        world.cluster.faults.observe(self._request)

    def _quiet(self) -> bool:
        return self._world.clock.now() >= self._since

    def _claim_changed(self, before: Object | None, after: Object | None) -> None:
        if (before is None or after is None) and self._quiet():
            obj = after or before
            assert obj is not None, "a change has an object before or after it"
            what = "comes" if before is None else "goes"
            self._report("no rest", f"NodeClaim {obj['metadata']['name']} {what}")

    def _request(self, request: Request, point: Point) -> None:
        evicts = request.resource is PODS and request.verb == "evict"
        if evicts and point is Point.BEFORE and self._quiet():
            self._report("no rest", f"{request.name} is asked to go")

    def finish(self) -> None:
        """See `Check.finish`."""
        for instance in self._world.cloud.ec2.instances.history:
            if instance.launched_at >= self._since:
                self._report("no rest", f"{instance.instance_id} was launched")
            if instance.billed_until is not None and instance.billed_until >= self._since:
                self._report("no rest", f"{instance.instance_id} was ended")
        for claim in self._world.cluster.objects(NODE_CLAIMS):
            name = claim["metadata"]["name"]
            if "deletionTimestamp" in claim["metadata"]:
                self._report("no rest", f"NodeClaim {name} is still being deleted")
            elif not is_true(claim, "Initialized"):
                self._report("no rest", f"NodeClaim {name} is not initialized")
        for node in self._world.cluster.objects(NODES):
            if not is_true(node, "Ready"):
                self._report("no rest", f"Node {node['metadata']['name']} is not ready")
