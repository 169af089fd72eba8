"""Nodes that exist or are in flight, encoded once and kept for the next solve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import is_

import numpy as np
from numpy.typing import NDArray

from autoctl.api import core, labels
from autoctl.catalog.model import Resources
from autoctl.scheduling.daemons import Daemon, daemon_owner
from autoctl.scheduling.hostports import HostPort
from autoctl.scheduling.problem import ExistingNode, Volumes
from autoctl.scheduling.resources import total
from autoctl.scheduling.tables import LabelTable, Vocabulary
from autoctl.scheduling.taints import PREFER_NO_SCHEDULE, first_untolerated
from autoctl.scheduling.templates import Template, template_of
from autoctl.scheduling.volumes import ATTACH_PREFIX, UNLIMITED_ATTACHMENTS, attachments_of

LabelSet = tuple[str, tuple[tuple[str, str], ...]]
"""A pod's namespace and labels, sorted: what selectors can tell about it."""

_ALIASES: dict[str, list[str]] = {}
for _alias, _key in labels.LABEL_ALIASES.items():
    _ALIASES.setdefault(_key, []).append(_alias)


@dataclass(frozen=True, slots=True, eq=False)
class NodeInfo:
    """What a solve reads of one node's pods.

    `counted` has the pods that topology counts (not terminating, not finished) by label set;
    `repelling` those with required anti-affinity, by label set and template.
    """

    used: Resources
    counted: Mapping[LabelSet, int]
    repelling: tuple[tuple[LabelSet, Template, int], ...]
    ports: tuple[HostPort, ...]
    daemons: frozenset[tuple[str, str]]
    with_volumes: tuple[tuple[core.Pod, Template], ...]


_INFO: dict[str, tuple[tuple[core.Pod, ...], NodeInfo]] = {}
_LABEL_SETS: dict[LabelSet, LabelSet] = {}


def node_info(node: ExistingNode) -> NodeInfo:
    """The node's encoding; made anew only when its pods have changed.

    Tuples compare their elements by identity first, so the check is cheap for pods that a mirror
    of the cluster hands out again and again.
    """
    pods = node.pods + node.nominated if node.nominated else node.pods
    found = _INFO.get(node.name)
    if found is None or found[0] != pods:
        found = (pods, _encode(pods))
        _INFO[node.name] = found
    return found[1]


def forget_nodes(current: Sequence[ExistingNode]) -> None:
    """Drop encodings of nodes that are gone, once they outnumber those that are there."""
    if len(_INFO) > 2 * len(current) + 1024:
        kept = {node.name: _INFO[node.name] for node in current if node.name in _INFO}
        _INFO.clear()
        _INFO.update(kept)
        _LABEL_SETS.clear()


def label_set(pod: core.Pod) -> LabelSet:
    """What selectors can tell about a pod; equal sets are one object."""
    key = (
        pod.metadata.namespace or "default",
        tuple(sorted((pod.metadata.labels or {}).items())),
    )
    return _LABEL_SETS.setdefault(key, key)


def counts(pod: core.Pod) -> bool:
    """Whether topology counts a pod on a node: neither finished nor going away."""
    return pod.metadata.deletion_timestamp is None and pod.status.phase not in (
        "Succeeded",
        "Failed",
    )


def _encode(pods: Sequence[core.Pod]) -> NodeInfo:
    used: list[Resources] = []
    counted: Counter[LabelSet] = Counter()
    repelling: dict[tuple[LabelSet, int], tuple[Template, int]] = {}
    with_volumes = []
    ports: set[HostPort] = set()
    daemons = set()
    for pod in pods:
        if pod.status.phase in ("Succeeded", "Failed"):
            continue
        template = template_of(pod)
        used.append(template.requests)
        ports.update(template.ports)
        if template.claims or template.ephemeral:
            with_volumes.append((pod, template))
        owner = daemon_owner(pod)
        if owner is not None:
            daemons.add(owner)
        if counts(pod):
            counted[label_set(pod)] += 1
            if template.anti_affinity:
                alike = (label_set(pod), id(template))
                repelling[alike] = (template, repelling.get(alike, (template, 0))[1] + 1)
    return NodeInfo(
        used=total(used),
        counted=dict(counted),
        repelling=tuple((where, *what) for (where, _), what in repelling.items()),
        ports=tuple(sorted(ports)),
        daemons=frozenset(daemons),
        with_volumes=tuple(with_volumes),
    )


Tally = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Indices of nodes, and how many pods of some kind each has."""


class _Tallies:
    """The pods of all nodes, counted by kind when first asked for."""

    def __init__(self, info: Sequence[NodeInfo]) -> None:
        self._info = info

    @cached_property
    def census(self) -> Mapping[LabelSet, Tally]:
        """The pods that topology counts, by label set."""
        found: dict[LabelSet, tuple[list[int], list[int]]] = {}
        for i, info in enumerate(self._info):
            for labels_, number in info.counted.items():
                where, numbers = found.setdefault(labels_, ([], []))
                where.append(i)
                numbers.append(number)
        return {key: (np.array(w), np.array(n)) for key, (w, n) in found.items()}

    @cached_property
    def repelling(self) -> Sequence[tuple[LabelSet, Template, Tally]]:
        """The pods with required anti-affinity, by label set and template."""
        found: dict[tuple[LabelSet, int], tuple[Template, list[int], list[int]]] = {}
        for i, info in enumerate(self._info):
            for labels_, template, number in info.repelling:
                _, where, numbers = found.setdefault((labels_, id(template)), (template, [], []))
                where.append(i)
                numbers.append(number)
        return [
            (labels_, template, (np.array(w), np.array(n)))
            for (labels_, _), (template, w, n) in found.items()
        ]


@dataclass(eq=False)
class Nodes:
    """The nodes of a problem in the order they are filled: initialized first, then by name."""

    nodes: tuple[ExistingNode, ...]
    info: tuple[NodeInfo, ...]
    table: LabelTable
    taint_class: NDArray[np.int64]
    """(N,) index into `taint_sets`."""
    taint_sets: tuple[tuple[core.Taint, ...], ...]
    schedulable: NDArray[np.bool_]
    _tallies: _Tallies
    _rooms: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    _attached: dict[int, frozenset[tuple[str, str]]] = field(default_factory=dict)

    @property
    def census(self) -> Mapping[LabelSet, Tally]:
        """The pods that topology counts, by label set."""
        return self._tallies.census

    @property
    def repelling(self) -> Sequence[tuple[LabelSet, Template, Tally]]:
        """The pods with required anti-affinity, by label set and template."""
        return self._tallies.repelling

    def room(self, resource: str) -> NDArray[np.int64]:
        """(N,) allocatable less what pods request, may be negative; not to be changed."""
        found = self._rooms.get(resource)
        if found is None:
            found = self._rooms[resource] = np.array(
                [
                    node.allocatable.get(resource, 0) - info.used.get(resource, 0)
                    for node, info in zip(self.nodes, self.info, strict=True)
                ],
                np.int64,
            )
        return found

    def __len__(self) -> int:
        return len(self.nodes)

    def attached(self, index: int, volumes: Volumes) -> frozenset[tuple[str, str]]:
        """(driver, volume) of everything the node's pods have attached."""
        found = self._attached.get(index)
        if found is None:
            found = self._attached[index] = frozenset(
                attachment
                for pod, template in self.info[index].with_volumes
                for attachment in attachments_of(template, pod, volumes)
            )
        return found

    def tolerated_hard(self, tolerations: Sequence[core.Toleration]) -> NDArray[np.bool_]:
        """(N,) nodes whose taints, preferences aside, are all tolerated."""
        each = np.array(
            [
                first_untolerated(
                    tolerations, [t for t in taints if t.effect != PREFER_NO_SCHEDULE]
                )
                is None
                for taints in self.taint_sets
            ]
            or [True]
        )
        return each[self.taint_class]


_LAST: list[tuple[Sequence[ExistingNode], Nodes]] = []


def build_nodes(given: Sequence[ExistingNode], vocabulary: Vocabulary) -> Nodes:
    """Encode the nodes of a problem; the last encoding is kept for as long as no node changes."""
    for nodes, encoded in _LAST:
        if (
            encoded.table.vocabulary is vocabulary
            and len(nodes) == len(given)
            and all(map(is_, nodes, given))
        ):
            return replace(encoded, _attached={})
    encoded = _build(given, vocabulary)
    _LAST[:] = [(tuple(given), encoded)]
    return encoded


def _build(given: Sequence[ExistingNode], vocabulary: Vocabulary) -> Nodes:
    nodes = tuple(sorted(given, key=lambda n: (not n.initialized, n.name)))
    forget_nodes(nodes)
    classes: dict[tuple[tuple[str, str, str], ...], int] = {}
    sets: list[tuple[core.Taint, ...]] = []
    taint_class = np.zeros(len(nodes), np.int64)
    for i, node in enumerate(nodes):
        key = tuple((t.key, t.value or "", t.effect) for t in node.taints) if node.taints else ()
        found = classes.get(key)
        if found is None:
            found = classes[key] = len(sets)
            sets.append(node.taints)
        taint_class[i] = found

    def column(key: str) -> Iterable[str | int | None]:
        if key == labels.HOSTNAME:
            return [n.labels.get(key, n.name) for n in nodes]
        found = [n.labels.get(key) for n in nodes]
        for alias in _ALIASES.get(key, ()):
            found = [
                n.labels.get(alias) if v is None else v for n, v in zip(nodes, found, strict=True)
            ]
        return found

    info = tuple(node_info(n) for n in nodes)
    return Nodes(
        nodes=nodes,
        info=info,
        table=LabelTable(vocabulary, len(nodes), column),
        taint_class=taint_class,
        taint_sets=tuple(sets),
        schedulable=np.array([n.schedulable for n in nodes], np.bool_),
        _tallies=_Tallies(info),
    )


def free_room(
    nodes: Nodes, resources: Sequence[str], daemons: Sequence[Daemon], volumes: Volumes
) -> NDArray[np.int64]:
    """(N, D) what pods may still take: allocatable less pods, and less daemons still to come."""
    free = np.zeros((len(nodes), len(resources)), np.int64)
    if not len(nodes):
        return free
    for d, name in enumerate(resources):
        if name.startswith(ATTACH_PREFIX):
            free[:, d] = _attachable(nodes, name.removeprefix(ATTACH_PREFIX), volumes)
        else:
            free[:, d] = nodes.room(name)
    for daemon in daemons:
        wanted = np.array([daemon.template.requests.get(r, 0) for r in resources], np.int64)
        if wanted.any():
            coming = nodes.table.any_mask(daemon.template.terms)
            tolerated = np.array([daemon.tolerates(t) for t in nodes.taint_sets])
            coming = coming & tolerated[nodes.taint_class]
            missing = [daemon.owner not in info.daemons for info in nodes.info]
            free -= (coming & np.array(missing))[:, None] * wanted
    return free


def _attachable(nodes: Nodes, driver: str, volumes: Volumes) -> list[int]:
    found = []
    for i, node in enumerate(nodes.nodes):
        limit = node.csi_limits.get(driver)
        if limit is None:
            found.append(UNLIMITED_ATTACHMENTS)
        else:
            used = sum(1 for d, _ in nodes.attached(i, volumes) if d == driver)
            found.append(limit - used)
    return found
