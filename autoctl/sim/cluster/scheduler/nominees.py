"""Pending pods that have a nominated node: their room there is kept from pods that matter less."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from autoctl.sim.cluster.scheduler.queue import Waiting


@dataclass(slots=True)
class Nominees:
    """Pending pods by the name of their nominated node, which need not exist (any more)."""

    _by_node: dict[str, dict[str, Waiting]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._by_node)

    def add(self, waiting: Waiting) -> None:
        """Enter a pending pod under its nominated node, if it has one."""
        if waiting.nominated:
            self._by_node.setdefault(waiting.nominated, {})[waiting.uid] = waiting

    def remove(self, waiting: Waiting) -> None:
        """Strike a pod off."""
        entries = self._by_node.get(waiting.nominated)
        if entries is not None:
            entries.pop(waiting.uid, None)
            if not entries:
                del self._by_node[waiting.nominated]

    def nodes(self) -> Iterable[str]:
        """The names of nodes that pods are nominated to."""
        return self._by_node.keys()

    def ahead_of(self, waiting: Waiting, node: str) -> list[Waiting]:
        """The others to whom the pod must leave their room on the node: as important, or more."""
        return [
            other
            for other in self._by_node.get(node, {}).values()
            if other.shape.priority >= waiting.shape.priority and other.uid != waiting.uid
        ]
