"""Topology: what pods near and far allow, for spread constraints and pod (anti-)affinity.

A *gauge* counts pods by topology domain: those that a selector matches, or those that own an
anti-affinity term (other pods that the term matches must stay away from them). A pod's constraints
read gauges; placing a pod moves the gauges that count it. Domains of `kubernetes.io/hostname` are
the nodes themselves.

Rules are those of the Kubernetes documentation ("Pod Topology Spread Constraints", "Inter-pod
affinity and anti-affinity"). A new node is always an empty hostname domain, so the least count over
hostnames is taken as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from autoctl.api import core, labels
from autoctl.api.matching import matches
from autoctl.scheduling.nodes import LabelSet, Nodes, Tally
from autoctl.scheduling.requirements import Requirements
from autoctl.scheduling.shapes import Shape
from autoctl.scheduling.templates import DO_NOT_SCHEDULE

Namespaces = frozenset[str] | None
"""None: every namespace."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Pods by namespace and labels; compares by content."""

    namespaces: Namespaces
    match_labels: tuple[tuple[str, str], ...]
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...]

    def matches(self, namespace: str, pod_labels: Mapping[str, str]) -> bool:
        """Whether a pod is selected."""
        if self.namespaces is not None and namespace not in self.namespaces:
            return False
        for key, value in self.match_labels:
            if pod_labels.get(key) != value:
                return False
        if not self.expressions:
            return True
        selector = core.LabelSelector(
            match_expressions=[
                core.LabelSelectorRequirement(key=k, operator=o, values=list(v))
                for k, o, v in self.expressions
            ]
        )
        return matches(selector, pod_labels)


@dataclass(frozen=True, slots=True)
class NodeFilter:
    """Which nodes a spread constraint counts: None means all, as its policy says.

    Nodes that lack one of `keys`, the topology keys of the pod's other constraints, are bypassed.
    """

    terms: tuple[Requirements, ...] | None
    tolerations: tuple[core.Toleration, ...] | None
    keys: frozenset[str] = frozenset()


_EVERYWHERE = NodeFilter(None, None)


@dataclass(slots=True, eq=False)
class Gauge:
    """Counts pods by domain of `key`; `selections` must all match a counted pod.

    With `owners`, it counts the pods that own the term instead of those the term selects.
    """

    index: int
    key: str
    selections: tuple[Selection, ...]
    owners: bool
    filter: NodeFilter | None

    @property
    def host(self) -> bool:
        """Whether its domains are nodes."""
        return self.key == labels.HOSTNAME


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """A spread constraint of a shape; `self_match` is whether its own pods count."""

    gauge: Gauge
    max_skew: int
    min_domains: int | None
    self_match: bool


@dataclass(slots=True, eq=False)
class Constraints:
    """What topology asks of a shape's pods, and which gauges they move.

    `apart` gauges must be zero in a pod's domain; `apart_self` are those its own pods move.
    `together` gauges must not be zero, unless nothing is counted anywhere and the pods match
    themselves (`bootstrap`). `mind` are spread constraints of others that count this shape: they
    are kept where that leaves a choice.
    """

    spread: list[Spread] = field(default_factory=list)
    apart: list[Gauge] = field(default_factory=list)
    together: list[Gauge] = field(default_factory=list)
    bootstrap: bool = False
    mind: list[Spread] = field(default_factory=list)
    moves: list[Gauge] = field(default_factory=list)

    @property
    def free(self) -> bool:
        """Whether nothing constrains the shape."""
        return not (self.spread or self.apart or self.together or self.mind)

    def domains(self) -> tuple[str, ...]:
        """Topology keys, hostname aside, that a decision about the pods depends on."""
        keys = {s.gauge.key for s in (*self.spread, *self.mind)}
        keys |= {g.key for g in (*self.apart, *self.together, *self.moves)}
        return tuple(sorted(keys - {labels.HOSTNAME}))


@dataclass(frozen=True, slots=True)
class Kept:
    """Which preferences of a shape are treated as required: indices into the template's lists."""

    node: tuple[int, ...] = ()
    affinity: tuple[int, ...] = ()
    anti_affinity: tuple[int, ...] = ()
    spread: tuple[int, ...] = ()
    taints: bool = False


class Topology:
    """All gauges of a problem and the constraints of its shapes."""

    def __init__(
        self,
        shapes: Sequence[Shape],
        nodes: Nodes,
        namespaces: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.gauges: list[Gauge] = []
        self._by_key: dict[object, Gauge] = {}
        self._selections: dict[object, tuple[core.LabelSelector, Selection]] = {}
        self._namespaces = namespaces
        self._matching: dict[tuple[str, tuple[tuple[str, str], ...]], frozenset[int]] = {}
        self.running: list[tuple[Gauge, Tally]] = []
        """(owner gauge, running pods it counts) for terms of running pods' anti-affinity."""
        self._watched: dict[int, list[tuple[Gauge, int, int | None]]] = {}
        for shape in shapes:
            if shape.template.topological and shape.error is None:
                self._register(shape)
        self._running(shapes, nodes)

    def matched(self, namespace: str, pod_labels: Mapping[str, str]) -> frozenset[int]:
        """Indices of the gauges whose selections match a pod."""
        key = (namespace, tuple(sorted(pod_labels.items())))
        found = self._matching.get(key)
        if found is None:
            found = self._matching[key] = frozenset(
                g.index
                for g in self.gauges
                if all(s.matches(namespace, pod_labels) for s in g.selections)
            )
        return found

    def matched_set(self, labels_: LabelSet) -> frozenset[int]:
        """`matched` for a running pod's label set."""
        found = self._matching.get(labels_)
        return found if found is not None else self.matched(labels_[0], dict(labels_[1]))

    def constraints(self, shape: Shape, kept: Kept) -> Constraints:
        """The shape's constraints with some of its preferences taken as required."""
        result = Constraints()
        if not self.gauges:
            return result
        matched = self.matched(shape.namespace, shape.labels)
        template = shape.template
        for i, constraint in enumerate(template.spread):
            if constraint.when_unsatisfiable == DO_NOT_SCHEDULE or i in kept.spread:
                spread = self._spread(shape, constraint, matched)
                result.spread.append(spread)
        for key, selections in self._affinity_groups(shape, template.affinity):
            result.together.append(self._gauge(key, selections, owners=False, only=None))
        for i in kept.affinity:
            term = template.preferred_affinity[i].pod_affinity_term
            gauge = self._attraction(shape, term)
            if gauge not in result.together:
                result.together.append(gauge)
        if result.together:
            result.bootstrap = all(g.index in matched for g in result.together)
        apart = [*template.anti_affinity]
        apart += [template.preferred_anti_affinity[i].pod_affinity_term for i in kept.anti_affinity]
        owned = []
        for position, term in enumerate(apart):
            selection = self.selection_of(shape, term)
            key = labels.normalize_label(term.topology_key)
            result.apart.append(self._gauge(key, (selection,), owners=False, only=None))
            if position < len(template.anti_affinity):
                owned.append(self._gauge(key, (selection,), owners=True, only=None))
        own = {s.gauge.index for s in result.spread}
        for index in sorted(matched):
            gauge = self.gauges[index]
            if gauge.owners:
                result.apart.append(gauge)
            else:
                result.moves.append(gauge)
                for watcher, skew, least in self._watched.get(index, ()):
                    if index not in own:
                        result.mind.append(Spread(watcher, skew, least, True))
        result.moves += owned
        return result

    def selection_of(self, shape: Shape, term: core.PodAffinityTerm) -> Selection:
        """The pods an affinity term of the shape speaks of."""
        return self._selection(
            term.label_selector,
            self._spaces(shape.namespace, term),
            shape.labels,
            term.match_label_keys,
            term.mismatch_label_keys,
        )

    def _register(self, shape: Shape) -> None:
        template = shape.template
        for constraint in template.spread:
            spread = self._spread(shape, constraint, frozenset())
            watchers = self._watched.setdefault(spread.gauge.index, [])
            mark = (spread.gauge, spread.max_skew, spread.min_domains)
            if constraint.when_unsatisfiable == DO_NOT_SCHEDULE and mark not in watchers:
                watchers.append(mark)
        liked = [w.pod_affinity_term for w in template.preferred_affinity]
        for key, selections in self._affinity_groups(shape, template.affinity):
            self._gauge(key, selections, owners=False, only=None)
        for term in liked:
            self._attraction(shape, term)
        for i, term in enumerate(
            [
                *template.anti_affinity,
                *(w.pod_affinity_term for w in template.preferred_anti_affinity),
            ]
        ):
            key = labels.normalize_label(term.topology_key)
            selection = self.selection_of(shape, term)
            self._gauge(key, (selection,), owners=False, only=None)
            if i < len(template.anti_affinity):
                self._gauge(key, (selection,), owners=True, only=None)

    def _running(self, shapes: Sequence[Shape], nodes: Nodes) -> None:
        """Gauges for the anti-affinity of pods that run, where it is about pods to be placed."""
        pending = {(s.namespace, tuple(sorted(s.labels.items()))): s for s in shapes}
        for (namespace, labels_), template, tally in nodes.repelling:
            for term in template.anti_affinity:
                selection = self._selection(
                    term.label_selector,
                    self._spaces(namespace, term),
                    dict(labels_),
                    term.match_label_keys,
                    term.mismatch_label_keys,
                )
                if any(selection.matches(s.namespace, s.labels) for s in pending.values()):
                    key = labels.normalize_label(term.topology_key)
                    gauge = self._gauge(key, (selection,), owners=True, only=None)
                    self.running.append((gauge, tally))

    def _spread(
        self,
        shape: Shape,
        constraint: core.TopologySpreadConstraint,
        matched: frozenset[int],
    ) -> Spread:
        template = shape.template
        key = labels.normalize_label(constraint.topology_key)
        only = NodeFilter(
            terms=template.terms
            if constraint.node_affinity_policy != "Ignore" and any(template.terms)
            else None,
            tolerations=template.tolerations if constraint.node_taints_policy == "Honor" else None,
            keys=template.spread_keys - {key, labels.HOSTNAME},
        )
        gauge = self._gauge(
            key,
            (
                self._selection(
                    constraint.label_selector,
                    frozenset((shape.namespace,)),
                    shape.labels,
                    constraint.match_label_keys,
                    None,
                ),
            ),
            owners=False,
            only=only,
        )
        return Spread(gauge, constraint.max_skew, constraint.min_domains, gauge.index in matched)

    def _attraction(self, shape: Shape, term: core.PodAffinityTerm) -> Gauge:
        """The pods one preferred term is drawn to; unlike required ones each counts by itself."""
        key = labels.normalize_label(term.topology_key)
        return self._gauge(key, (self.selection_of(shape, term),), owners=False, only=None)

    def _affinity_groups(
        self, shape: Shape, terms: Sequence[core.PodAffinityTerm]
    ) -> Iterable[tuple[str, tuple[Selection, ...]]]:
        """(topology key, selections) to hold: a pod must match all terms to attract by any."""
        if terms:
            selections = tuple(self.selection_of(shape, term) for term in terms)
            unique = tuple(dict.fromkeys(selections))
            for key in dict.fromkeys(labels.normalize_label(t.topology_key) for t in terms):
                yield key, unique

    def _gauge(
        self, key: str, selections: tuple[Selection, ...], *, owners: bool, only: NodeFilter | None
    ) -> Gauge:
        if only == _EVERYWHERE:
            only = None
        identity = (key, selections, owners, _filter_key(only))
        found = self._by_key.get(identity)
        if found is None:
            found = Gauge(len(self.gauges), key, selections, owners, only)
            self._by_key[identity] = found
            self.gauges.append(found)
            self._matching.clear()
        return found

    def _spaces(self, own: str, term: core.PodAffinityTerm) -> Namespaces:
        named = frozenset(term.namespaces or ())
        selector = term.namespace_selector
        if selector is None:
            return named or frozenset((own,))
        if not selector.match_labels and not selector.match_expressions:
            return None
        return named | {
            name for name, labels_ in self._namespaces.items() if matches(selector, labels_)
        }

    def _selection(
        self,
        selector: core.LabelSelector | None,
        namespaces: Namespaces,
        own_labels: Mapping[str, str],
        match_keys: Sequence[str] | None,
        mismatch_keys: Sequence[str] | None,
    ) -> Selection:
        if selector is None:
            return Selection(frozenset(), (), ())
        given = [
            (k, operator, (own_labels[k],))
            for keys, operator in ((match_keys, "In"), (mismatch_keys, "NotIn"))
            for k in keys or ()
            if k in own_labels
        ]
        known = (id(selector), namespaces, tuple(given))
        found = self._selections.get(known)
        if found is None:
            expressions = [
                (e.key, e.operator, tuple(e.values or ())) for e in selector.match_expressions or ()
            ]
            wanted = tuple(sorted((selector.match_labels or {}).items()))
            selection = Selection(namespaces, wanted, tuple(dict.fromkeys((*expressions, *given))))
            found = self._selections[known] = (selector, selection)  # the selector keeps its id
        return found[1]


def _filter_key(only: NodeFilter | None) -> object:
    if only is None:
        return None
    tolerations = None
    if only.tolerations is not None:
        tolerations = tuple((t.key, t.operator, t.value, t.effect) for t in only.tolerations)
    return (only.terms, tolerations, only.keys)


def repelling_keys(nodes: Nodes) -> frozenset[str]:
    """Pod label keys that running pods' anti-affinity reads."""
    return frozenset(k for _, template, _ in nodes.repelling for k in template.selector_keys)
