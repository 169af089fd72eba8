"""Kubernetes' matching rules, one function each, as its documentation states them.

Nothing here is fast: no caches but for quantities, no masks, no shapes. Nothing here comes from the
scheduler either; what the two agree on, they found out separately.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from autoctl.api import core
from autoctl.api.labels import normalize_label
from autoctl.api.quantity import milli, whole
from autoctl.scheduling.problem import SchedulingProblem

Labels = Mapping[str, str]


class Requirement(Protocol):
    """What node selectors, label selectors and NodePools have in common."""

    @property
    def key(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def values(self) -> Sequence[str] | None: ...


def _integer(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def value_matches(requirement: Requirement, value: str | None) -> bool:
    """Whether a label's value (None: the label is absent) satisfies a requirement."""
    values = list(requirement.values or ())
    match requirement.operator:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    number, bound = _integer(value), _integer(values[0])
    if number is None or bound is None:
        return False
    match requirement.operator:
        case "Gt":
            return number > bound
        case "Lt":
            return number < bound
        case "Gte":
            return number >= bound
        case "Lte":
            return number <= bound
    raise AssertionError(f"operator {requirement.operator}")


def node_labels_match(requirement: Requirement, labels: Labels) -> bool:
    """As `value_matches`, for a node's labels; deprecated keys stand for today's."""
    return value_matches(requirement, labels.get(normalize_label(requirement.key)))


def selector_matches(selector: core.LabelSelector | None, labels: Labels | None) -> bool:
    """A label selector: none selects nothing, an empty one everything."""
    if selector is None:
        return False
    found = labels or {}
    return all(found.get(k) == v for k, v in (selector.match_labels or {}).items()) and all(
        value_matches(e, found.get(e.key)) for e in selector.match_expressions or ()
    )


def same_values(keys: Iterable[str] | None, owner: core.Pod, other: core.Pod) -> bool:
    """`matchLabelKeys`: the other pod has the owner's values; keys the owner lacks are ignored."""
    mine, theirs = owner.metadata.labels or {}, other.metadata.labels or {}
    return all(theirs.get(key) == mine[key] for key in keys or () if key in mine)


def other_values(keys: Iterable[str] | None, owner: core.Pod, other: core.Pod) -> bool:
    """`mismatchLabelKeys`: the other pod has none of the owner's values."""
    mine, theirs = owner.metadata.labels or {}, other.metadata.labels or {}
    return all(theirs.get(key) != mine[key] for key in keys or () if key in mine)


def namespace_of(pod: core.Pod) -> str:
    return pod.metadata.namespace or "default"


# Node selection


def term_matches(term: core.NodeSelectorTerm, name: str, labels: Labels) -> bool:
    """One nodeSelectorTerm: every expression and field holds; an empty term matches no node."""
    expressions, fields = term.match_expressions or [], term.match_fields or []
    if not expressions and not fields:
        return False
    return all(node_labels_match(e, labels) for e in expressions) and all(
        f.key == "metadata.name" and value_matches(f, name) for f in fields
    )


def required_terms(pod: core.Pod) -> list[core.NodeSelectorTerm] | None:
    """The terms of the pod's required node affinity; None when it has none."""
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return None if required is None else list(required.node_selector_terms or ())


def node_selected(pod: core.Pod, name: str, labels: Labels) -> bool:
    """nodeSelector and required node affinity, of which one term must hold."""
    for key, value in (pod.spec.node_selector or {}).items():
        if labels.get(normalize_label(key)) != value:
            return False
    terms = required_terms(pod)
    return terms is None or any(term_matches(t, name, labels) for t in terms)


# Taints


def tolerates(pod: core.Pod, taint: core.Taint) -> bool:
    for toleration in pod.spec.tolerations or ():
        if toleration.effect and toleration.effect != taint.effect:
            continue
        if toleration.key and toleration.key != taint.key:
            continue
        if toleration.operator == "Exists":
            return True
        if toleration.key and (toleration.value or "") == (taint.value or ""):
            return True
    return False


def untolerated(pod: core.Pod, taints: Iterable[core.Taint]) -> core.Taint | None:
    """The first taint that keeps the pod away; PreferNoSchedule only asks."""
    for taint in taints:
        if taint.effect != "PreferNoSchedule" and not tolerates(pod, taint):
            return taint
    return None


# Resources


def amounts(resources: core.ResourceList | None) -> dict[str, int]:
    return {
        name: milli(value) if name == "cpu" else whole(value)
        for name, value in (resources or {}).items()
    }


def add(total: dict[str, int], more: Mapping[str, int]) -> dict[str, int]:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value
    return total


def largest(one: Mapping[str, int], two: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), two.get(name, 0)) for name in {*one, *two}}


def pod_requests(pod: core.Pod) -> dict[str, int]:
    """What the pod takes of a node, itself (`pods`: 1) included.

    Containers and sidecars run together; every other init container runs alone, beside the sidecars
    started before it. Of a container being resized the larger amount counts. Requests of the
    pod itself replace its containers', and its overhead comes on top.
    """
    given = {s.name: s.resources for s in pod.status.container_statuses or ()}

    def of(container: core.Container) -> dict[str, int]:
        asked = amounts(container.resources.requests if container.resources else None)
        actual = given.get(container.name)
        return largest(asked, amounts(actual.requests if actual else None))

    running: dict[str, int] = {}
    for container in pod.spec.containers or ():
        add(running, of(container))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in pod.spec.init_containers or ():
        if container.restart_policy == "Always":
            add(sidecars, of(container))
            peak = largest(peak, sidecars)
        else:
            peak = largest(peak, add(dict(sidecars), of(container)))
    total = largest(add(running, sidecars), peak)
    if pod.spec.resources is not None:
        total = {**total, **amounts(pod.spec.resources.requests)}
    add(total, amounts(pod.spec.overhead))
    total["pods"] = 1
    return total


# Host ports


def host_ports(pod: core.Pod) -> set[tuple[str, str, int]]:
    return {
        (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)  # noqa: S104
        for container in pod.spec.containers or ()
        for port in container.ports or ()
        if port.host_port
    }


def ports_conflict(one: core.Pod, two: core.Pod) -> bool:
    """The same port and protocol on the same address; the wildcard is every address."""
    wildcards = {"0.0.0.0", "::"}  # noqa: S104
    return any(
        a[1:] == b[1:] and (a[0] == b[0] or a[0] in wildcards or b[0] in wildcards)
        for a in host_ports(one)
        for b in host_ports(two)
    )


# Volumes


def claims_of(
    pod: core.Pod, problem: SchedulingProblem
) -> list[tuple[str, core.PersistentVolumeClaim | None]]:
    """The pod's claims by key; that of a generic ephemeral volume is made from its template."""
    found: list[tuple[str, core.PersistentVolumeClaim | None]] = []
    for volume in pod.spec.volumes or ():
        if volume.persistent_volume_claim is not None:
            key = f"{namespace_of(pod)}/{volume.persistent_volume_claim.claim_name}"
            found.append((key, problem.volumes.claims.get(key)))
        elif volume.ephemeral is not None and volume.ephemeral.volume_claim_template is not None:
            key = f"{namespace_of(pod)}/{pod.metadata.name}-{volume.name}"
            made = core.PersistentVolumeClaim(spec=volume.ephemeral.volume_claim_template.spec)
            found.append((key, problem.volumes.claims.get(key, made)))
    return found


def volume_obstacle(
    pod: core.Pod, name: str, labels: Labels, problem: SchedulingProblem
) -> str | None:
    """Why the pod's volumes do not let it run on a node with these labels."""
    for key, claim in claims_of(pod, problem):
        if claim is None:
            return f"claim {key} does not exist"
        if claim.metadata.deletion_timestamp is not None or claim.status.phase == "Lost":
            return f"claim {key} is deleting or lost"
        if claim.spec.volume_name:
            volume = problem.volumes.volumes.get(claim.spec.volume_name)
            if volume is None:
                return f"volume of claim {key} does not exist"
            required = volume.spec.node_affinity.required if volume.spec.node_affinity else None
            if required is not None and not any(
                term_matches(t, name, labels) for t in required.node_selector_terms or ()
            ):
                return f"the volume of claim {key} is not reachable from there"
            continue
        storage = problem.volumes.classes.get(claim.spec.storage_class_name or "")
        if storage is None:
            return f"claim {key} has no storage class to be bound by"
        if storage.volume_binding_mode != "WaitForFirstConsumer":
            return f"claim {key} waits for its volume"
        topologies = storage.allowed_topologies
        if topologies and not any(
            all(
                labels.get(normalize_label(e.key)) in e.values
                for e in t.match_label_expressions or ()
            )
            for t in topologies
        ):
            return f"the storage class of claim {key} does not allow that topology"
    return None


def attached(pod: core.Pod, problem: SchedulingProblem) -> set[tuple[str, str]]:
    """(CSI driver, volume) of what the pod has attached; a shared volume counts once on a node."""
    found = set()
    for key, claim in claims_of(pod, problem):
        if claim is None:
            continue
        volume = problem.volumes.volumes.get(claim.spec.volume_name or "")
        storage = problem.volumes.classes.get(claim.spec.storage_class_name or "")
        if volume is not None:
            if volume.spec.csi is not None:
                found.add((volume.spec.csi.driver, volume.metadata.name))
        elif storage is not None:
            found.add((storage.provisioner, key))
    return found


# Rules between pods


def spreads(pod: core.Pod) -> list[core.TopologySpreadConstraint]:
    return [
        c
        for c in pod.spec.topology_spread_constraints or ()
        if c.when_unsatisfiable == "DoNotSchedule"
    ]


def affinity_terms(pod: core.Pod) -> list[core.PodAffinityTerm]:
    found = pod.spec.affinity.pod_affinity if pod.spec.affinity else None
    return list(found.required_during_scheduling_ignored_during_execution or ()) if found else []


def anti_affinity_terms(pod: core.Pod) -> list[core.PodAffinityTerm]:
    found = pod.spec.affinity.pod_anti_affinity if pod.spec.affinity else None
    return list(found.required_during_scheduling_ignored_during_execution or ()) if found else []


def term_selects(
    term: core.PodAffinityTerm, owner: core.Pod, other: core.Pod, problem: SchedulingProblem
) -> bool:
    """Whether the owner's (anti-)affinity term means the other pod.

    Namespaces are those named and those selected; with neither it is the owner's own.
    """
    namespace = namespace_of(other)
    if term.namespaces or term.namespace_selector is not None:
        there = {"kubernetes.io/metadata.name": namespace, **problem.namespaces.get(namespace, {})}
        if namespace not in (term.namespaces or ()) and not selector_matches(
            term.namespace_selector, there
        ):
            return False
    elif namespace != namespace_of(owner):
        return False
    return (
        selector_matches(term.label_selector, other.metadata.labels)
        and same_values(term.match_label_keys, owner, other)
        and other_values(term.mismatch_label_keys, owner, other)
    )


def has_preferences(pod: core.Pod) -> bool:
    """Whether the pod would rather be somewhere: preferred affinities, ScheduleAnyway."""
    wishes = pod.spec.affinity
    return any(
        c.when_unsatisfiable == "ScheduleAnyway" for c in pod.spec.topology_spread_constraints or ()
    ) or (
        wishes is not None
        and any(
            kind is not None and kind.preferred_during_scheduling_ignored_during_execution
            for kind in (wishes.node_affinity, wishes.pod_affinity, wishes.pod_anti_affinity)
        )
    )
