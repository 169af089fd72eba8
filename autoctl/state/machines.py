"""The mirror's machines, kept joined: a change costs what it touches, not what there is.

`nodes.join` tells what is joined with what; here the same answer is kept up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from autoctl.api import core
from autoctl.api.nodeclaim import NodeClaim
from autoctl.state.nodes import StateNode, is_coming, is_here, kept
from autoctl.state.reflector import Change, Reflector
from autoctl.state.tables import Index


class Machines:
    """Every machine by its name, from the mirror's pods and nodes, and NodeClaims as given."""

    def __init__(
        self,
        pods: Reflector[core.Pod],
        nodes: Reflector[core.Node],
        pods_by_node: Index[core.Pod],
        nodes_by_provider: Index[core.Node],
    ) -> None:
        self._pods = pods_by_node
        self._coming = Index(pods, lambda p: p.status.nominated_node_name if is_coming(p) else None)
        self._nodes = nodes_by_provider
        self._with_node: dict[str, StateNode] = {}
        self._apart: dict[str, StateNode] = {}
        self._joined: Mapping[str, StateNode] = MappingProxyType({})
        self._claims: Mapping[str, NodeClaim] = MappingProxyType({})
        self._touched: set[str] = set()
        """Names of nodes that are to be looked at again."""
        # After the indices, which have the new state then.
        pods.subscribe(self._pods_changed)
        nodes.subscribe(self._nodes_changed)

    def joined(
        self, nodes: Mapping[str, core.Node], claims: Mapping[str, NodeClaim]
    ) -> Mapping[str, StateNode]:
        """The machines, in the order of `nodes`, then of `claims` without a node.

        `nodes` are the mirror's now; `claims` may be more than the mirror has, or newer. A machine
        that is as it was is the same object as before.
        """
        if claims is self._claims and not self._touched:
            return self._joined
        self._touch_owners(claims)
        by_provider = {c.status.provider_id: c for c in claims.values() if c.status.provider_id}
        touched, before = self._touched, self._with_node
        self._with_node = {
            name: kept(before.get(name), self._machine(node, by_provider))
            if name in touched
            else before[name]
            for name, node in nodes.items()
        }
        launched = (c for provider, c in by_provider.items() if not self._nodes[provider])
        unlaunched = (c for c in claims.values() if not c.status.provider_id)
        self._apart = {
            c.metadata.name: kept(self._apart.get(c.metadata.name), StateNode(None, c))
            for c in (*launched, *unlaunched)
        }
        self._joined = MappingProxyType(self._with_node | self._apart)
        self._claims = claims
        self._touched.clear()
        return self._joined

    def _machine(self, node: core.Node, by_provider: Mapping[str, NodeClaim]) -> StateNode:
        name, provider = node.metadata.name, node.spec.provider_id or ""
        # Of several nodes of one instance the first one is the NodeClaim's.
        first = name == min(self._nodes[provider], default=name)
        return StateNode(
            node,
            by_provider.get(provider) if first else None,
            tuple(p for _, p in sorted(self._pods[name].items()) if is_here(p)),
            tuple(p for _, p in sorted(self._coming[name].items())),
        )

    def _touch_owners(self, claims: Mapping[str, NodeClaim]) -> None:
        """Touch the nodes of the claims that are others than the last time."""
        old = self._claims
        if claims is old:
            return
        for name, claim in claims.items():
            known = old.get(name)
            if known is not claim:
                self._touch(c.status.provider_id for c in (known, claim) if c is not None)
        self._touch(old[name].status.provider_id for name in old.keys() - claims.keys())

    def _touch(self, providers: Iterable[str | None]) -> None:
        for provider in providers:
            if provider:
                self._touched.update(self._nodes[provider])

    def _pods_changed(self, changes: Sequence[Change[core.Pod]]) -> None:
        for change in changes:
            for pod in (change.previous, change.object):
                if pod is not None:
                    name = pod.spec.node_name or pod.status.nominated_node_name
                    if name:
                        self._touched.add(name)

    def _nodes_changed(self, changes: Sequence[Change[core.Node]]) -> None:
        for change in changes:
            self._touched.add(change.key)
            states = (change.previous, change.object)
            self._touch(n.spec.provider_id for n in states if n is not None)
