"""A pod's spec as the scheduler reads it, parsed once for all pods of one template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec

from autoctl.api.quantity import milli, whole
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster.selectors import Requirement, matches, requirements_of

_DEFAULT_MILLI_CPU: Final = 100
_DEFAULT_MEMORY: Final = 200 * 1024 * 1024
_MAX_SHAPES: Final = 20_000
Labels: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Term:
    """Which pods an affinity term or a spread constraint means: namespaces and a selector.

    `namespace_requirements` selects further namespaces by their labels; `None` selects none.
    """

    namespaces: tuple[str, ...]
    namespace_requirements: tuple[Requirement, ...] | None
    requirements: tuple[Requirement, ...] | None

    def matches(self, namespace: str, namespace_labels: Labels, labels: Labels) -> bool:
        """Whether the term means a pod with these labels in this namespace."""
        if self.requirements is None or not matches(self.requirements, labels):
            return False
        if namespace in self.namespaces:
            return True
        selected = self.namespace_requirements
        return selected is not None and matches(selected, namespace_labels)


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """A `Term` with its topology key; `weight` is 0 for a required term."""

    term: Term
    topology_key: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Spread:
    """One topology spread constraint, its selector resolved for the pod (matchLabelKeys)."""

    term: Term
    topology_key: str
    max_skew: int
    min_domains: int
    hard: bool
    honor_affinity: bool
    honor_taints: bool


@dataclass(slots=True, eq=False)
class Shape:
    """Everything in a spec that matters on its own. Equal specs share one instance.

    `requests` are integers: thousandths of a core for cpu, whole units otherwise. `pin` is the node
    name that the required affinity demands (daemon pods). `static_key` identifies node selector,
    node affinity, tolerations and node name.
    """

    spec: Object
    static_key: bytes
    pin: str | None
    priority: int
    requests: dict[str, int]
    nonzero: tuple[int, int]
    host_ports: tuple[tuple[str, str, int], ...]
    tolerations: tuple[Object, ...]
    has_claims: bool
    gated: bool
    number: int = 0


@dataclass(slots=True, eq=False)
class Constraints:
    """What depends on the pod's namespace and labels too."""

    spread: tuple[Spread, ...] = ()
    affinity: tuple[AffinityTerm, ...] = ()
    anti_affinity: tuple[AffinityTerm, ...] = ()
    preferred: tuple[AffinityTerm, ...] = ()
    """Preferred terms; weights of anti-affinity are negative."""

    @property
    def any_required(self) -> bool:
        """Whether other pods' places can keep this pod from a node."""
        return bool(self.affinity or self.anti_affinity) or any(c.hard for c in self.spread)

    def terms(self) -> Iterable[Term]:
        """Every term that must be counted."""
        for constraint in self.spread:
            yield constraint.term
        for group in (self.affinity, self.anti_affinity, self.preferred):
            for item in group:
                yield item.term


@dataclass(slots=True)
class ShapeCache:
    """Shapes by spec; the key is the spec's JSON without the node name.

    Daemon pods have a shape a node, so that the cache begins anew when it is full.
    """

    shapes: dict[bytes, Shape] = field(default_factory=dict)
    made: int = 0

    def of(self, pod: Object) -> Shape:
        """The pod's shape."""
        spec = {k: v for k, v in pod["spec"].items() if k not in ("nodeName", "hostname")}
        key = msgspec.json.encode(spec)
        found = self.shapes.get(key)
        if found is None:
            if len(self.shapes) >= _MAX_SHAPES:
                self.shapes.clear()
            found = self.shapes[key] = _parse(spec)
            self.made += 1
            found.number = self.made
        return found


def _parse(spec: Object) -> Shape:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    pin, required = _split_pin(required)
    static = {
        "selector": spec.get("nodeSelector"),
        "required": required,
        "preferred": affinity.get("preferredDuringSchedulingIgnoredDuringExecution"),
        "tolerations": spec.get("tolerations"),
    }
    requests = pod_requests(spec)
    volumes = spec.get("volumes") or ()
    return Shape(
        spec=spec,
        static_key=msgspec.json.encode(static, order="sorted"),
        pin=pin,
        priority=spec.get("priority") or 0,
        requests=requests,
        nonzero=(
            requests.get("cpu") or _DEFAULT_MILLI_CPU,
            requests.get("memory") or _DEFAULT_MEMORY,
        ),
        host_ports=_host_ports(spec),
        tolerations=tuple(spec.get("tolerations") or ()),
        has_claims=any("persistentVolumeClaim" in v or "ephemeral" in v for v in volumes),
        gated=bool(spec.get("schedulingGates")),
    )


def _split_pin(required: Object | None) -> tuple[str | None, Object | None]:
    """Take a single `metadata.name In [x]` field out of a single term."""
    terms: list[Object] = (required or {}).get("nodeSelectorTerms") or []
    if len(terms) != 1:
        return None, required
    fields: list[Object] = terms[0].get("matchFields") or []
    if len(fields) != 1 or fields[0]["operator"] != "In" or len(fields[0]["values"]) != 1:
        return None, required
    expressions = terms[0].get("matchExpressions")
    rest = {"nodeSelectorTerms": [{"matchExpressions": expressions}]} if expressions else None
    return fields[0]["values"][0], rest


def pod_requests(spec: Object) -> dict[str, int]:
    """What the pod asks of a node.

    Containers and sidecars (init containers that always restart) run together; another init
    container runs alone but beside the sidecars started before it; the larger of the two counts,
    per resource. Pod-level requests replace the sum for the resources they name; overhead is added.
    Source: "Init Containers: resource sharing within containers", "Sidecar Containers", "Pod
    Overhead" and "Pod-level resources" in the Kubernetes documentation.
    """
    running = _sum(_requests(container) for container in spec.get("containers") or ())
    sidecars: dict[str, int] = {}
    initial: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        own = _requests(container)
        if container.get("restartPolicy") == "Always":
            sidecars = _sum((sidecars, own))
            initial = _max(initial, sidecars)
        else:
            initial = _max(initial, _sum((sidecars, own)))
    total = _max(_sum((running, sidecars)), initial)
    pod_level = (spec.get("resources") or {}).get("requests") or {}
    limits = (spec.get("resources") or {}).get("limits") or {}
    total |= _integers({**limits, **pod_level})
    return _sum((total, _integers(spec.get("overhead") or {}), {"pods": 1}))


def _requests(container: Object) -> dict[str, int]:
    return _integers((container.get("resources") or {}).get("requests") or {})


def _integers(quantities: Mapping[str, Any]) -> dict[str, int]:
    return {name: as_integer(name, value) for name, value in quantities.items()}


def as_integer(resource: str, quantity: Any) -> int:
    """Thousandths for cpu, whole units for everything else, rounded up."""
    return milli(quantity) if resource == "cpu" else whole(quantity)


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total


def _max(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {n: max(left.get(n, 0), right.get(n, 0)) for n in {**left, **right}}


def _host_ports(spec: Object) -> tuple[tuple[str, str, int], ...]:
    """(IP, protocol, port) of containers and sidecars; an empty IP means all addresses."""
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    return tuple(
        (
            "" if port.get("hostIP") in (None, "", "0.0.0.0", "::") else port["hostIP"],  # noqa: S104
            port.get("protocol") or "TCP",
            port["hostPort"],
        )
        for container in [*(spec.get("containers") or ()), *sidecars]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def constraints_of(
    spec: Object,
    namespace: str,
    labels: Labels,
    default_selector: Mapping[str, Any] | None,
) -> Constraints:
    """Spread and inter-pod (anti-)affinity of a pod, resolved against its own labels.

    `default_selector` is the selector of the pod's controller: pods without constraints of their
    own are spread by kube-scheduler's default ones (3 by hostname, 5 by zone, soft).
    """
    affinity = spec.get("affinity") or {}
    attract, repel = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"

    def terms(side: Mapping[str, Any]) -> tuple[AffinityTerm, ...]:
        return tuple(_affinity_term(t, namespace, labels, 0) for t in side.get(required) or ())

    def weighted(side: Mapping[str, Any], sign: int) -> list[AffinityTerm]:
        return [
            _affinity_term(w["podAffinityTerm"], namespace, labels, sign * w["weight"])
            for w in side.get(preferred) or ()
        ]

    own = spec.get("topologySpreadConstraints")
    if own:
        spread = tuple(_spread(c, namespace, labels) for c in own)
    elif default_selector is not None:
        term = Term((namespace,), None, requirements_of(default_selector))
        spread = tuple(
            Spread(term, key, skew, 1, hard=False, honor_affinity=True, honor_taints=False)
            for key, skew in (("kubernetes.io/hostname", 3), ("topology.kubernetes.io/zone", 5))
        )
    else:
        spread = ()
    return Constraints(
        spread=spread,
        affinity=terms(attract),
        anti_affinity=terms(repel),
        preferred=tuple(weighted(attract, 1) + weighted(repel, -1)),
    )


def _spread(constraint: Object, namespace: str, labels: Labels) -> Spread:
    requirements = requirements_of(constraint.get("labelSelector"))
    if requirements is not None:
        requirements += _label_keys(constraint.get("matchLabelKeys"), labels, "In")
    return Spread(
        term=Term((namespace,), None, requirements),
        topology_key=constraint["topologyKey"],
        max_skew=constraint["maxSkew"],
        min_domains=constraint.get("minDomains") or 1,
        hard=constraint.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule",
        honor_affinity=constraint.get("nodeAffinityPolicy", "Honor") == "Honor",
        honor_taints=constraint.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )


def _affinity_term(term: Object, namespace: str, labels: Labels, weight: int) -> AffinityTerm:
    requirements = requirements_of(term.get("labelSelector"))
    if requirements is not None:
        requirements += _label_keys(term.get("matchLabelKeys"), labels, "In")
        requirements += _label_keys(term.get("mismatchLabelKeys"), labels, "NotIn")
    namespaces = tuple(sorted(term.get("namespaces") or ()))
    selected = requirements_of(term.get("namespaceSelector"))
    if not namespaces and selected is None:
        namespaces = (namespace,)
    return AffinityTerm(Term(namespaces, selected, requirements), term["topologyKey"], weight)


def _label_keys(
    keys: Iterable[str] | None, labels: Labels, operator: str
) -> tuple[Requirement, ...]:
    return tuple((key, operator, (labels[key],)) for key in keys or () if key in labels)
