"""Which kinds of constraint a world has, read off its objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from verifier_rules import affinity_terms, anti_affinity_terms, host_ports, required_terms, spreads
from verifier_worlds import ARCH, CAPACITY_TYPE, EBS, GPU, HOSTNAME, RACK, ZONE

from autoctl.api import core
from autoctl.api.labels import LABEL_ALIASES
from autoctl.scheduling.problem import RequirementSpec, SchedulingProblem

PodTest = Callable[[core.Pod], object]
WorldTest = Callable[[SchedulingProblem], object]


def expressions(pod: core.Pod) -> Iterator[core.NodeSelectorRequirement]:
    for term in required_terms(pod) or ():
        yield from term.match_expressions or ()


def uses(*operators: str) -> PodTest:
    return lambda pod: any(e.operator in operators for e in expressions(pod))


def asks(resource: str) -> PodTest:
    return lambda pod: any(
        resource in (c.resources.requests or {})
        for c in pod.spec.containers or ()
        if c.resources is not None
    )


def spread_over(key: str) -> PodTest:
    return lambda pod: any(c.topology_key == key for c in spreads(pod))


def spread_with(field: str) -> PodTest:
    return lambda pod: any(getattr(c, field) is not None for c in spreads(pod))


def wishes(kind: str) -> PodTest:
    def test(pod: core.Pod) -> object:
        found = getattr(pod.spec.affinity, kind) if pod.spec.affinity else None
        return found is not None and found.preferred_during_scheduling_ignored_during_execution

    return test


def terms(pod: core.Pod) -> list[core.PodAffinityTerm]:
    return [*affinity_terms(pod), *anti_affinity_terms(pod)]


def claim_names(pod: core.Pod) -> list[str]:
    return [
        v.persistent_volume_claim.claim_name
        for v in pod.spec.volumes or ()
        if v.persistent_volume_claim is not None
    ]


POD_KINDS: dict[str, PodTest] = {
    "node selector": lambda p: p.spec.node_selector,
    "deprecated label keys": lambda p: set(p.spec.node_selector or ()) & set(LABEL_ALIASES),
    "required node affinity": lambda p: list(expressions(p)),
    "several affinity terms": lambda p: len(required_terms(p) or ()) > 1,
    "operator Gt or Lt": uses("Gt", "Lt"),
    "operator NotIn": uses("NotIn"),
    "operator Exists or DoesNotExist": uses("Exists", "DoesNotExist"),
    "affinity by field": lambda p: any(t.match_fields for t in required_terms(p) or ()),
    "preferred node affinity": wishes("node_affinity"),
    "tolerations": lambda p: p.spec.tolerations,
    "init containers": lambda p: any(
        c.restart_policy is None for c in p.spec.init_containers or ()
    ),
    "sidecars": lambda p: any(c.restart_policy for c in p.spec.init_containers or ()),
    "overhead": lambda p: p.spec.overhead,
    "pod-level resources": lambda p: p.spec.resources,
    "accelerators": asks(GPU),
    "ephemeral storage": asks("ephemeral-storage"),
    "huge pages": asks("hugepages-2Mi"),
    "no requests": lambda p: (
        not any(c.resources.requests for c in p.spec.containers or () if c.resources is not None)
    ),
    "spread over zones": spread_over(ZONE),
    "spread over hosts": spread_over(HOSTNAME),
    "spread over capacity types": spread_over(CAPACITY_TYPE),
    "spread over a custom label": spread_over(RACK),
    "minDomains": spread_with("min_domains"),
    "nodeAffinityPolicy": spread_with("node_affinity_policy"),
    "nodeTaintsPolicy": spread_with("node_taints_policy"),
    "matchLabelKeys of spread": spread_with("match_label_keys"),
    "ScheduleAnyway": lambda p: any(
        c.when_unsatisfiable == "ScheduleAnyway" for c in p.spec.topology_spread_constraints or ()
    ),
    "anti-affinity over hosts": lambda p: any(
        t.topology_key == HOSTNAME for t in anti_affinity_terms(p)
    ),
    "anti-affinity over zones": lambda p: any(
        t.topology_key == ZONE for t in anti_affinity_terms(p)
    ),
    "affinity over hosts": lambda p: any(t.topology_key == HOSTNAME for t in affinity_terms(p)),
    "affinity over zones": lambda p: any(t.topology_key == ZONE for t in affinity_terms(p)),
    "namespaces of terms": lambda p: any(
        t.namespaces or t.namespace_selector is not None for t in terms(p)
    ),
    "matchLabelKeys of terms": lambda p: any(
        t.match_label_keys or t.mismatch_label_keys for t in terms(p)
    ),
    "preferred pod affinity": lambda p: wishes("pod_affinity")(p) or wishes("pod_anti_affinity")(p),
    "host ports": host_ports,
    "bound volumes": lambda p: any(n.startswith("data-") for n in claim_names(p)),
    "volumes to be made": lambda p: any(not n.startswith("data-") for n in claim_names(p)),
    "generic ephemeral volumes": lambda p: any(v.ephemeral for v in p.spec.volumes or ()),
    "priority": lambda p: p.spec.priority,
    "resource claims": lambda p: p.spec.resource_claims,
}


def requirement_of(test: Callable[[RequirementSpec], object]) -> WorldTest:
    return lambda world: any(test(r) for p in world.pools for r in p.requirements)


def resident_of(test: PodTest) -> WorldTest:
    return lambda world: any(test(p) for n in world.nodes for p in n.pods)


WORLD_KINDS: dict[str, WorldTest] = {
    "several pools": lambda w: len(w.pools) > 1,
    "weights": lambda w: any(p.weight for p in w.pools),
    "taints": lambda w: any(t.effect != "PreferNoSchedule" for p in w.pools for t in p.taints),
    "PreferNoSchedule": lambda w: any(
        t.effect == "PreferNoSchedule" for p in w.pools for t in p.taints
    ),
    "startup taints": lambda w: any(p.startup_taints for p in w.pools),
    "template labels": lambda w: any(len(p.labels) > 1 for p in w.pools),
    "limit of cpu": lambda w: any("cpu" in p.limits for p in w.pools),
    "limit of memory": lambda w: any("memory" in p.limits for p in w.pools),
    "limit of nodes": lambda w: any("nodes" in p.limits for p in w.pools),
    "usage of limits": lambda w: any(p.limits and p.usage for p in w.pools),
    "requirement by number": requirement_of(lambda r: r.operator in ("Gt", "Lt", "Gte", "Lte")),
    "requirement NotIn or DoesNotExist": requirement_of(
        lambda r: r.operator in ("NotIn", "DoesNotExist")
    ),
    "requirement of a custom label": requirement_of(lambda r: r.key == RACK),
    "requirement of zones": requirement_of(lambda r: r.key == ZONE),
    "requirement of capacity types": requirement_of(lambda r: r.key == CAPACITY_TYPE),
    "requirement of architecture": requirement_of(lambda r: r.key == ARCH),
    "minValues": requirement_of(lambda r: r.min_values),
    "minValues BestEffort": lambda w: w.options.min_values_policy == "BestEffort",
    "spot": lambda w: any(
        o.capacity_type == "spot" for p in w.pools for t in p.instance_types for o in t.offerings
    ),
    "reserved": lambda w: any(
        o.reservation_id for p in w.pools for t in p.instance_types for o in t.offerings
    ),
    "unavailable offerings": lambda w: any(
        not o.available for p in w.pools for t in p.instance_types for o in t.offerings
    ),
    "accelerated types": lambda w: any(t.exotic for p in w.pools for t in p.instance_types),
    "daemons": lambda w: w.daemons,
    "daemons of some nodes only": lambda w: any(
        d.spec.node_selector or d.spec.affinity for d in w.daemons
    ),
    "daemons with host ports": lambda w: any(host_ports(d) for d in w.daemons),
    "daemons already running": lambda w: any(
        p.metadata.owner_references for n in w.nodes for p in n.pods
    ),
    "nodes": lambda w: w.nodes,
    "nodes of others": lambda w: any(not n.managed for n in w.nodes),
    "nodes not initialized": lambda w: any(not n.initialized for n in w.nodes),
    "nodes that take no pods": lambda w: any(not n.schedulable for n in w.nodes),
    "nominated pods": lambda w: any(n.nominated for n in w.nodes),
    "attach limits": lambda w: any(EBS in n.csi_limits for n in w.nodes),
    "anti-affinity of running pods": resident_of(anti_affinity_terms),
    "host ports of running pods": resident_of(host_ports),
    "volumes of running pods": resident_of(lambda p: p.spec.volumes),
    "preferences ignored": lambda w: w.options.preference_policy == "Ignore",
    "existing nodes only": lambda w: not w.options.allow_new_nodes,
    "greedy only": lambda w: w.options.budget == 0,
}


def kinds_of(world: SchedulingProblem) -> set[str]:
    return {name for name, test in POD_KINDS.items() if any(test(p) for p in world.pods)} | {
        name for name, test in WORLD_KINDS.items() if test(world)
    }


ALL_KINDS = (*POD_KINDS, *WORLD_KINDS)
