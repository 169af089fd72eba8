"""What scheduling reads of a pod's spec, parsed once for all pods that share it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import msgspec

from autoctl.api import core, labels
from autoctl.catalog.model import Resources
from autoctl.scheduling.hostports import HostPort, host_ports
from autoctl.scheduling.requirements import (
    RequirementError,
    Requirements,
    check_label,
    node_selector,
    node_selector_term,
)
from autoctl.scheduling.resources import ResourceError, pod_requests, resize_infeasible

DO_NOT_SCHEDULE = "DoNotSchedule"
SCHEDULE_ANYWAY = "ScheduleAnyway"


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A parsed pod spec. Compare by identity: equal specs give the same object.

    `terms` are alternatives, each with the node selector in it; a node must satisfy one.
    `preferred` holds (weight, requirements). `error` names the field that makes the pod
    unschedulable whatever the cluster looks like.
    """

    requests: Resources
    terms: tuple[Requirements, ...] = (Requirements(),)
    preferred: tuple[tuple[int, Requirements], ...] = ()
    tolerations: tuple[core.Toleration, ...] = ()
    ports: tuple[HostPort, ...] = ()
    spread: tuple[core.TopologySpreadConstraint, ...] = ()
    affinity: tuple[core.PodAffinityTerm, ...] = ()
    anti_affinity: tuple[core.PodAffinityTerm, ...] = ()
    preferred_affinity: tuple[core.WeightedPodAffinityTerm, ...] = ()
    preferred_anti_affinity: tuple[core.WeightedPodAffinityTerm, ...] = ()
    claims: tuple[str, ...] = ()
    ephemeral: tuple[tuple[str, core.PersistentVolumeClaimSpec], ...] = ()
    priority: int = 0
    error: str | None = None
    selector_keys: frozenset[str] = field(default=frozenset())
    """Pod label keys that its selectors (and match label keys) read."""
    node_keys: frozenset[str] = field(default=frozenset())
    """Node label keys that it asks for or spreads over."""

    @property
    def topological(self) -> bool:
        """Whether other pods bear on where it may go."""
        return bool(
            self.spread
            or self.affinity
            or self.anti_affinity
            or self.preferred_affinity
            or self.preferred_anti_affinity
        )

    @property
    def spread_keys(self) -> frozenset[str]:
        """Node label keys that it must be spread over."""
        return frozenset(
            labels.normalize_label(c.topology_key)
            for c in self.spread
            if c.when_unsatisfiable == DO_NOT_SCHEDULE
        )

    @property
    def topology_keys(self) -> frozenset[str]:
        """Node label keys whose values are topology domains to it."""
        wishes = (*self.preferred_affinity, *self.preferred_anti_affinity)
        keys = [c.topology_key for c in self.spread]
        keys += [t.topology_key for t in (*self.affinity, *self.anti_affinity)]
        keys += [w.pod_affinity_term.topology_key for w in wishes]
        return frozenset(map(labels.normalize_label, keys))


_CACHE_SIZE = 50_000
_templates: dict[bytes, Template] = {}
_rules: dict[bytes, Template] = {}
_encode = msgspec.msgpack.Encoder().encode


def template_of(pod: core.Pod) -> Template:
    """The pod's template; parsed once for each distinct spec."""
    spec = pod.spec
    key = _encode(
        (
            spec.containers,
            spec.node_selector,
            spec.affinity,
            spec.tolerations,
            spec.topology_spread_constraints,
            spec.init_containers,
            spec.overhead,
            spec.resources,
            spec.priority,
            _claiming(spec.volumes),
            spec.resource_claims,
            spec.host_network,
            _resized(pod.status.container_statuses),
            resize_infeasible(pod.status),
        )
    )
    found = _templates.get(key)
    if found is None:
        if len(_templates) >= _CACHE_SIZE:
            _templates.clear()
        found = _templates[key] = parse(spec, pod.status)
    return found


def parse(spec: core.PodSpec, status: core.PodStatus | None = None) -> Template:
    """Parse a spec; an unreadable field becomes the template's `error`.

    Where it is no resource, the rest is read all the same: a pod that nobody could place may run
    already (the DaemonSet controller pins its pods with `matchFields`), and then it takes room.
    """
    try:
        return _parse(spec, status or core.PodStatus())
    except ResourceError as error:
        return Template(requests={}, error=str(error), priority=spec.priority or 0)


def _claiming(volumes: list[core.Volume] | None) -> object:
    """The volumes that bear on placement.

    The API server gives every pod one of its own for its token, of a random name: with it no two
    pods would be alike.
    """
    return [v for v in volumes or () if v.persistent_volume_claim or v.ephemeral] or None


def _resized(statuses: list[core.ContainerStatus] | None) -> object:
    if not statuses:
        return None
    return [s for s in statuses if s.resources or s.allocated_resources] or None


def _parse(spec: core.PodSpec, status: core.PodStatus) -> Template:
    requests = pod_requests(spec, status.container_statuses, infeasible=resize_infeasible(status))
    ports = host_ports(spec)
    key = _encode(
        (
            ports,
            spec.node_selector,
            spec.affinity,
            spec.tolerations,
            spec.topology_spread_constraints,
            spec.priority,
            _claiming(spec.volumes),
            spec.resource_claims,
        )
    )
    rules = _rules.get(key)
    if rules is None:
        if len(_rules) >= _CACHE_SIZE:
            _rules.clear()
        rules = _rules[key] = _parse_rules(spec, ports)
    return replace(rules, requests=requests)


def _parse_rules(spec: core.PodSpec, ports: tuple[HostPort, ...]) -> Template:
    """All of the template but its requests: pods of many sizes often have the same rules."""
    affinity = spec.affinity or core.Affinity()
    node = affinity.node_affinity or core.NodeAffinity()
    together = affinity.pod_affinity or core.PodAffinity()
    apart = affinity.pod_anti_affinity or core.PodAffinity()
    spread = tuple(spec.topology_spread_constraints or ())
    required = tuple(together.required_during_scheduling_ignored_during_execution or ())
    forbidden = tuple(apart.required_during_scheduling_ignored_during_execution or ())
    liked = tuple(together.preferred_during_scheduling_ignored_during_execution or ())
    disliked = tuple(apart.preferred_during_scheduling_ignored_during_execution or ())
    terms: tuple[Requirements, ...] = (Requirements(),)
    preferred: tuple[tuple[int, Requirements], ...] = ()
    error = None
    try:
        terms = _terms(spec, node)
        preferred = _preferred(node)
    except RequirementError as unreadable:
        error = str(unreadable)
    try:
        _check_spread(spread)
        _check_pod_terms("podAffinity", required, liked)
        _check_pod_terms("podAntiAffinity", forbidden, disliked)
    except RequirementError as unreadable:
        error = error or str(unreadable)
        spread = required = forbidden = ()
        liked = disliked = ()
    pod_terms = (*required, *forbidden, *(w.pod_affinity_term for w in (*liked, *disliked)))
    if error is None and spec.resource_claims:
        error = (
            f"spec.resourceClaims[{spec.resource_claims[0].name}]: "
            "dynamic resource allocation is not supported"
        )
    return Template(
        requests={},
        terms=terms,
        preferred=preferred,
        tolerations=tuple(spec.tolerations or ()),
        ports=ports,
        spread=spread,
        affinity=required,
        anti_affinity=forbidden,
        preferred_affinity=liked,
        preferred_anti_affinity=disliked,
        claims=tuple(
            v.persistent_volume_claim.claim_name
            for v in spec.volumes or ()
            if v.persistent_volume_claim is not None
        ),
        ephemeral=tuple(
            (v.name, v.ephemeral.volume_claim_template.spec)
            for v in spec.volumes or ()
            if v.ephemeral is not None and v.ephemeral.volume_claim_template is not None
        ),
        priority=spec.priority or 0,
        error=error,
        selector_keys=frozenset(_selector_keys(spread, pod_terms)),
        node_keys=frozenset(
            key for terms_ in (terms, tuple(r for _, r in preferred)) for t in terms_ for key in t
        )
        | {labels.normalize_label(c.topology_key) for c in spread}
        | {labels.normalize_label(t.topology_key) for t in pod_terms},
    )


def _terms(spec: core.PodSpec, node: core.NodeAffinity) -> tuple[Requirements, ...]:
    base = node_selector(spec.node_selector or {})
    required = node.required_during_scheduling_ignored_during_execution
    if required is None:
        return (base,)
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    if not required.node_selector_terms:
        raise RequirementError(f"{path}.nodeSelectorTerms: expected at least one term")
    alternatives: list[Requirements] = []
    reason = ""
    for index, term in enumerate(required.node_selector_terms):
        where = f"{path}.nodeSelectorTerms[{index}]"
        if not term.match_expressions and not term.match_fields:
            reason = reason or f"{where}: an empty term matches no node"
            continue
        try:
            both = node_selector_term(term, where)
        except RequirementError as error:
            if term.match_fields or "contradict" not in str(error):
                raise
            reason = reason or str(error)
            continue
        if conflict := base.intersects(both):
            reason = reason or f"{where}: contradicts spec.nodeSelector: {conflict}"
            continue
        alternatives.append(base.add(*both.values()))
    if not alternatives:
        raise RequirementError(reason)
    return tuple(alternatives)


def _preferred(node: core.NodeAffinity) -> tuple[tuple[int, Requirements], ...]:
    path = "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution"
    found = []
    for index, term in enumerate(node.preferred_during_scheduling_ignored_during_execution or ()):
        where = f"{path}[{index}].preference"
        for expression in term.preference.match_expressions or ():
            check_label(expression.key, where)
        try:
            found.append((term.weight, node_selector_term(term.preference, where)))
        except RequirementError as error:
            if "contradict" not in str(error):
                raise
    return tuple(found)


def _check_spread(spread: Iterable[core.TopologySpreadConstraint]) -> None:
    for index, constraint in enumerate(spread):
        path = f"spec.topologySpreadConstraints[{index}]"
        if constraint.max_skew <= 0:
            raise RequirementError(f"{path}.maxSkew: {constraint.max_skew}: expected at least 1")
        if constraint.min_domains is not None and constraint.min_domains <= 0:
            raise RequirementError(
                f"{path}.minDomains: {constraint.min_domains}: expected at least 1"
            )
        if constraint.when_unsatisfiable not in (DO_NOT_SCHEDULE, SCHEDULE_ANYWAY):
            raise RequirementError(
                f"{path}.whenUnsatisfiable: {constraint.when_unsatisfiable!r}: "
                f"expected {DO_NOT_SCHEDULE} or {SCHEDULE_ANYWAY}"
            )
        for field_name, policy in (
            ("nodeAffinityPolicy", constraint.node_affinity_policy),
            ("nodeTaintsPolicy", constraint.node_taints_policy),
        ):
            if policy not in (None, "Honor", "Ignore"):
                raise RequirementError(f"{path}.{field_name}: {policy!r}: expected Honor or Ignore")
        _check_topology_key(constraint.topology_key, path)
        _check_selector(constraint.label_selector, f"{path}.labelSelector")


def _check_pod_terms(
    kind: str,
    required: Iterable[core.PodAffinityTerm],
    preferred: Iterable[core.WeightedPodAffinityTerm],
) -> None:
    path = f"spec.affinity.{kind}"
    terms = [
        (f"{path}.requiredDuringSchedulingIgnoredDuringExecution[{i}]", t)
        for i, t in enumerate(required)
    ]
    terms += [
        (f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{i}].podAffinityTerm", w)
        for i, w in enumerate(w.pod_affinity_term for w in preferred)
    ]
    for where, term in terms:
        _check_topology_key(term.topology_key, where)
        _check_selector(term.label_selector, f"{where}.labelSelector")
        _check_selector(term.namespace_selector, f"{where}.namespaceSelector")


def _check_topology_key(key: str, path: str) -> None:
    if not key or labels.qualified_name_errors(key):
        raise RequirementError(f"{path}.topologyKey: {key!r} is no label key")


def _check_selector(selector: core.LabelSelector | None, path: str) -> None:
    for index, expression in enumerate((selector.match_expressions if selector else None) or ()):
        where = f"{path}.matchExpressions[{index}]"
        if expression.operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            raise RequirementError(
                f"{where}.operator: {expression.operator!r}: "
                "expected In, NotIn, Exists or DoesNotExist"
            )
        if expression.operator in ("In", "NotIn") and not expression.values:
            raise RequirementError(
                f"{where}.values: {expression.operator} needs at least one value"
            )


def _selector_keys(
    spread: Iterable[core.TopologySpreadConstraint], terms: Iterable[core.PodAffinityTerm]
) -> Iterable[str]:
    for constraint in spread:
        yield from keys_of(constraint.label_selector)
        yield from constraint.match_label_keys or ()
    for term in terms:
        yield from keys_of(term.label_selector)
        yield from term.match_label_keys or ()
        yield from term.mismatch_label_keys or ()


def keys_of(selector: core.LabelSelector | None) -> Iterable[str]:
    """The label keys a selector reads."""
    if selector is None:
        return
    yield from selector.match_labels or ()
    for expression in selector.match_expressions or ():
        yield expression.key
