"""Every instance has one owner, none lives too long, and nothing is left over."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Final

from autoctl.api.labels import NODECLAIM_TAG, TERMINATION_FINALIZER
from autoctl.api.nodeclaim import MAX_LIFETIME
from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, Object
from autoctl.sim.cloud.ec2.records import TERMINATED
from autoctl.simulate.invariants.violations import Report
from autoctl.simulate.leaks import find_leaks
from autoctl.simulate.world import World

_TEMPLATE_KEPT: Final = timedelta(minutes=12)
"""Ten minutes after its last use, and what it takes to notice."""


class Ownership:
    """Never two owners of an instance, never two instances of a NodeClaim, no leaks, the cap.

    And no pod twice: a Node is given up when its instance has ended, as its pods are started anew
    elsewhere from then on.
    """

    def __init__(self, world: World, report: Report) -> None:
        self._world = world
        self._report = report
        self._owners: dict[str, str] = {}
        world.cluster.store.subscribe(NODE_CLAIMS, self._claim_changed)
        world.cluster.store.subscribe(NODES, self._node_changed)

    def _node_changed(self, before: Object | None, after: Object | None) -> None:
        if after is not None or before is None or not _is_held(before):
            return
        provider = before["spec"].get("providerID", "")
        record = self._world.cloud.ec2.instances.records.get(provider.rpartition("/")[2])
        if record is not None and record.state != TERMINATED:
            name = before["metadata"]["name"]
            self._report("two owners", f"Node {name} is gone, {provider} is {record.state}")

    def _claim_changed(self, before: Object | None, after: Object | None) -> None:
        if after is None:
            return
        provider = after.get("status", {}).get("providerID")
        if not provider:
            return
        name = after["metadata"]["name"]
        known = (before or {}).get("status", {}).get("providerID")
        if known and known != provider:
            self._report("two owners", f"NodeClaim {name} went from {known} to {provider}")
        owner = self._owners.setdefault(provider, name)
        if owner != name:
            self._report("two owners", f"{provider} belongs to {owner} and to {name}")

    def finish(self) -> None:
        """See `Check.finish`."""
        cluster, cloud = self._world.cluster, self._world.cloud
        now = self._world.clock.now()
        launched: Counter[str] = Counter()
        for instance in cloud.ec2.instances.history:
            claim = instance.tags.get(NODECLAIM_TAG)
            if claim is not None:
                launched[claim] += 1
            age = (instance.billed_until or now) - instance.launched_at
            if age > MAX_LIFETIME:
                self._report("lifetime cap", f"{instance.instance_id} lived {age}")
        for claim, count in launched.items():
            if count > 1:
                self._report("launched twice", f"{count} instances for NodeClaim {claim}")
        leaks = find_leaks(cluster, cloud)
        for kind, found in leaks.to_json().items():
            for name in found:
                self._report("leak", f"{kind}: {name}")
        # Nothing has been launched for long: only dry runs need a launch template now and then.
        for template in cloud.ec2.templates.templates.values():
            if now - template.created_at > _TEMPLATE_KEPT:
                self._report("leak", f"launch template {template.name} is unused")
        self._matched()

    def _matched(self) -> None:
        """NodeClaims, Nodes and instances correspond one to one."""
        cluster = self._world.cluster
        alive = {i.provider_id for i in self._world.cloud.ec2.instances.alive()}
        nodes = {n["spec"].get("providerID", ""): n for n in cluster.objects(NODES)}
        claims = {
            c.get("status", {}).get("providerID", f"none of {c['metadata']['name']}"): c
            for c in cluster.objects(NODE_CLAIMS)
        }
        for provider in sorted(alive | set(nodes) | set(claims)):
            missing = [
                kind
                for kind, known in (("instance", alive), ("Node", nodes), ("NodeClaim", claims))
                if provider not in known
            ]
            if missing:
                self._report("leak", f"{provider} has no {' and no '.join(missing)}")


def _is_held(node: Object) -> bool:
    return TERMINATION_FINALIZER in node["metadata"].get("finalizers", ())
