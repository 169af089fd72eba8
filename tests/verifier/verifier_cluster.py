"""A cluster as kube-scheduler sees it: nodes with pods on them, and its filters.

`obstacle` is the whole of it: why a pod may not be bound to a node as things stand. It runs the
filters one after the other over every node and pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from verifier_rules import (
    Labels,
    add,
    affinity_terms,
    anti_affinity_terms,
    attached,
    namespace_of,
    node_selected,
    pod_requests,
    ports_conflict,
    same_values,
    selector_matches,
    spreads,
    term_selects,
    untolerated,
    volume_obstacle,
)

from autoctl.api import core
from autoctl.api.labels import HOSTNAME
from autoctl.catalog.model import Resources
from autoctl.scheduling.problem import ExistingNode, SchedulingProblem


@dataclass
class Place:
    """A node, or what a launch will make.

    `coming` are DaemonSet pods that will be there but are not yet: they take room and ports.
    """

    name: str
    labels: Labels
    allocatable: Resources
    taints: Sequence[core.Taint] = ()
    pods: list[core.Pod] = field(default_factory=list)
    coming: list[core.Pod] = field(default_factory=list)
    csi_limits: Mapping[str, int] = field(default_factory=dict)
    schedulable: bool = True


def daemon_owner(pod: core.Pod) -> tuple[str, str] | None:
    """Namespace and name of the DaemonSet a pod belongs to."""
    for owner in pod.metadata.owner_references or ():
        if owner.kind == "DaemonSet":
            return namespace_of(pod), owner.name
    return None


def daemons_for(
    problem: SchedulingProblem, name: str, labels: Labels, taints: Sequence[core.Taint]
) -> list[core.Pod]:
    """The DaemonSets that run a pod on such a node."""
    return [
        d
        for d in problem.daemons
        if untolerated(d, taints) is None and node_selected(d, name, labels)
    ]


def place_of(problem: SchedulingProblem, node: ExistingNode) -> Place:
    here = {daemon_owner(p) for p in (*node.pods, *node.nominated)}
    return Place(
        name=node.name,
        labels=node.labels,
        allocatable=node.allocatable,
        taints=node.taints,
        pods=[*node.pods, *node.nominated],
        coming=[
            d
            for d in daemons_for(problem, node.name, node.labels, node.taints)
            if daemon_owner(d) not in here
        ],
        csi_limits=node.csi_limits,
        schedulable=node.schedulable,
    )


def used(place: Place) -> dict[str, int]:
    total: dict[str, int] = {}
    for pod in (*place.pods, *place.coming):
        add(total, pod_requests(pod))
    return total


def resources_obstacle(pod: core.Pod, place: Place) -> str | None:
    """NodeResourcesFit: of every resource the pod asks for, the node has that much left."""
    taken = used(place)
    for name, amount in pod_requests(pod).items():
        if amount and taken.get(name, 0) + amount > place.allocatable.get(name, 0):
            return f"not enough {name}"
    return None


def ports_obstacle(pod: core.Pod, place: Place) -> str | None:
    """NodePorts."""
    for other in (*place.pods, *place.coming):
        if ports_conflict(pod, other):
            return f"a host port is taken by {other.key}"
    return None


def limits_obstacle(pod: core.Pod, place: Place, problem: SchedulingProblem) -> str | None:
    """NodeVolumeLimits: CSI volumes attached to the node, against CSINode."""
    there = {v for p in place.pods for v in attached(p, problem)}
    new = attached(pod, problem) - there
    for driver in {d for d, _ in new}:
        count = sum(1 for d, _ in there | new if d == driver)
        if driver in place.csi_limits and count > place.csi_limits[driver]:
            return f"too many volumes of {driver}"
    return None


def spread_obstacle(
    pod: core.Pod, place: Place, places: Sequence[Place], *, more_hosts: bool = False
) -> str | None:
    """PodTopologySpread: skew = pods in this domain, with this one, less the least elsewhere.

    Domains are those of nodes that have every topology key of the pod's constraints and that
    the pod may use, as far as nodeAffinityPolicy (default Honor) and nodeTaintsPolicy (default
    Ignore) say. With fewer domains than minDomains the least is zero. `more_hosts`: as if there
    was always another empty node.
    """
    constraints = spreads(pod)
    for constraint in constraints:
        key = constraint.topology_key
        if key not in place.labels:
            return f"no topology {key}"
        counts: dict[str, int] = {}
        for other in places:
            if any(c.topology_key not in other.labels for c in constraints):
                continue
            if constraint.node_affinity_policy != "Ignore" and not node_selected(
                pod, other.name, other.labels
            ):
                continue
            if constraint.node_taints_policy == "Honor" and untolerated(pod, other.taints):
                continue
            domain = other.labels[key]
            counts[domain] = counts.get(domain, 0) + sum(
                1
                for p in other.pods
                if p.metadata.deletion_timestamp is None
                and namespace_of(p) == namespace_of(pod)
                and selector_matches(constraint.label_selector, p.metadata.labels)
                and same_values(constraint.match_label_keys, pod, p)
            )
        least = min(counts.values(), default=0)
        if len(counts) < (constraint.min_domains or 1) or (more_hosts and key == HOSTNAME):
            least = 0
        own = selector_matches(constraint.label_selector, pod.metadata.labels)
        skew = counts.get(place.labels[key], 0) + own - least
        if skew > constraint.max_skew:
            return f"skew {skew} over {key} exceeds {constraint.max_skew}"
    return None


def affinity_obstacle(
    pod: core.Pod, place: Place, places: Sequence[Place], problem: SchedulingProblem
) -> str | None:
    """InterPodAffinity, required affinity of the incoming pod.

    A pod that every term means has to be in the node's domain of each term. Where no pod
    anywhere is meant, one that its own terms mean may be the first.
    """
    terms = affinity_terms(pod)
    if not terms:
        return None
    for term in terms:
        if term.topology_key not in place.labels:
            return f"no topology {term.topology_key}"

    def meant(other: core.Pod) -> bool:
        return all(term_selects(t, pod, other, problem) for t in terms)

    there = [other for other in places if any(meant(p) for p in other.pods)]
    if all(
        any(o.labels.get(t.topology_key) == place.labels[t.topology_key] for o in there)
        for t in terms
    ):
        return None
    nobody = not any(t.topology_key in o.labels for o in there for t in terms)
    if nobody and meant(pod):
        return None
    return "no pod that its affinity wants is in the domain"


def anti_affinity_obstacle(
    pod: core.Pod, place: Place, places: Sequence[Place], problem: SchedulingProblem
) -> str | None:
    """InterPodAffinity, required anti-affinity: the pod's own, and that of pods already there."""
    mine = anti_affinity_terms(pod)
    for other in places:
        for there in other.pods:
            for owner, terms, target in (
                (pod, mine, there),
                (there, anti_affinity_terms(there), pod),
            ):
                for term in terms:
                    domain = place.labels.get(term.topology_key)
                    if (
                        domain is not None
                        and domain == other.labels.get(term.topology_key)
                        and term_selects(term, owner, target, problem)
                    ):
                        return f"anti-affinity of {owner.key} against {target.key}"
    return None


def static_obstacle(pod: core.Pod, place: Place, problem: SchedulingProblem) -> str | None:
    """The filters that look at the node alone: no other pod matters."""
    if not place.schedulable:
        return "the node takes no pods"
    if pod.spec.resource_claims:
        return "dynamic resource allocation is out of reach"
    taint = untolerated(pod, place.taints)
    if taint is not None:
        return f"taint {taint.key}:{taint.effect} is not tolerated"
    if not node_selected(pod, place.name, place.labels):
        return "nodeSelector or required node affinity does not match"
    return volume_obstacle(pod, place.name, place.labels, problem)


def pod_rules_obstacle(
    pod: core.Pod, place: Place, places: Sequence[Place], problem: SchedulingProblem
) -> str | None:
    """The filters about other pods, anywhere."""
    return (
        spread_obstacle(pod, place, places)
        or affinity_obstacle(pod, place, places, problem)
        or anti_affinity_obstacle(pod, place, places, problem)
    )


def obstacle(
    pod: core.Pod, place: Place, places: Sequence[Place], problem: SchedulingProblem
) -> str | None:
    """Why kube-scheduler would not bind the pod to the node now; None when it would."""
    return (
        static_obstacle(pod, place, problem)
        or resources_obstacle(pod, place)
        or ports_obstacle(pod, place)
        or limits_obstacle(pod, place, problem)
        or pod_rules_obstacle(pod, place, places, problem)
    )
