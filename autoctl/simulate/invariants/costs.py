"""No consolidation makes the world dearer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.disruption.marks import COMMAND, REPLACES, read_mark
from autoctl.controllers.disruption.model import Reason
from autoctl.ports.kubernetes import NODE_CLAIMS, Object
from autoctl.simulate.invariants.violations import Report
from autoctl.simulate.recorder import hourly_price
from autoctl.simulate.world import World


class Costs:
    """When a consolidation takes its nodes, what it bought for them is cheaper than they are."""

    def __init__(self, world: World, report: Report) -> None:
        self._world = world
        self._report = report
        self._going: dict[str, dict[str, str]] = defaultdict(dict)
        self._bought: dict[str, dict[str, str]] = defaultdict(dict)
        self._judged: set[str] = set()
        world.cluster.store.subscribe(NODE_CLAIMS, self._claim_changed)

    def finish(self) -> None:
        """See `Check.finish`; this check judges while things happen."""

    def _claim_changed(self, before: Object | None, after: Object | None) -> None:
        obj = after or before
        assert obj is not None, "a change has an object before or after it"
        name = obj["metadata"]["name"]
        provider = obj.get("status", {}).get("providerID", "")
        annotations = obj["metadata"].get("annotations") or {}
        if REPLACES in annotations:
            self._bought[annotations[REPLACES]][name] = provider
        if COMMAND not in annotations:
            return
        mark = read_mark(NodeClaim.from_dict(obj))
        if mark is None or mark.reason is not Reason.UNDERUTILIZED:
            return
        deleting = after is None or "deletionTimestamp" in after["metadata"]
        if not deleting:
            self._going[mark.id][name] = provider
            return
        if mark.id in self._judged:
            return
        self._judged.add(mark.id)
        if len(self._bought[mark.id]) >= mark.replacements:
            self._judge(mark.id)

    def _judge(self, command: str) -> None:
        before = self._price(self._going[command].values())
        after = self._price(self._bought[command].values())
        if before is not None and after is not None and after >= before > 0:
            self._report(
                "dearer", f"{command}: from {before:.4f} to {after:.4f} USD/hour for consolidation"
            )

    def _price(self, providers: Iterable[str]) -> float | None:
        """USD/hour of these instances together; None when one of them has ended by itself."""
        total = 0.0
        cloud = self._world.cloud
        for provider in providers:
            record = cloud.ec2.instances.records.get(provider.rpartition("/")[2])
            if record is None or not record.alive:
                return None
            # A reservation is paid for whether it is used or not.
            if record.reservation_id is None:
                total += hourly_price(cloud.ec2.types, record)
        return total
