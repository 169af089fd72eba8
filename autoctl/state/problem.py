"""From a Snapshot to the question that the solver answers.

Provisioning, disruption, `plan` and `explain` all ask through here, so that they agree on which
pools may launch, what is promised already, and what room there is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from autoctl.api import core, labels
from autoctl.api.labels import AWAITING_PODS_TAINT, UNREGISTERED_TAINT
from autoctl.api.matching import matches
from autoctl.api.nodeclaim import NodeClaim, Requirement, Taint
from autoctl.api.nodepool import NodePool
from autoctl.catalog.model import InstanceType, Resources
from autoctl.catalog.units import amounts
from autoctl.scheduling.problem import (
    ExistingNode,
    Pool,
    RequirementSpec,
    SchedulingProblem,
    SolverOptions,
    Volumes,
)
from autoctl.state.budgets import scaled
from autoctl.state.nodes import StateNode
from autoctl.state.pods import (
    Protection,
    do_not_disrupt,
    is_drainable,
    is_pending,
    is_provisionable,
    is_reschedulable,
    is_terminating,
    unbound,
)
from autoctl.state.pool_readiness import why_closed
from autoctl.state.snapshot import Snapshot, own_labels

_EPHEMERAL_TAINTS = frozenset(
    {
        ("node.kubernetes.io/not-ready", "NoSchedule"),
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.cloudprovider.kubernetes.io/uninitialized", "NoSchedule"),
        (UNREGISTERED_TAINT, "NoExecute"),
    }
)
_READINESS_PREFIX = "readiness.k8s.io/"


def is_ephemeral(taint: core.Taint) -> bool:
    """Whether the taint goes by itself while a node starts (Karpenter's known ephemeral taints)."""
    return (taint.key, taint.effect) in _EPHEMERAL_TAINTS or taint.key.startswith(_READINESS_PREFIX)


def scheduling_problem(
    snapshot: Snapshot,
    pods: Sequence[core.Pod] | None = None,
    *,
    exclude_nodes: Collection[str] = (),
    reserve: Sequence[core.Pod] = (),
    options: SolverOptions | None = None,
) -> SchedulingProblem:
    """The question where `pods` should go.

    `pods` None: all that provisioning places now, `provisionable_pods` and `displaced_pods`.
    `reserve` is room to be kept after them (`buffers.buffer_pods`).
    `exclude_nodes` (names of Nodes or unregistered NodeClaims) are taken for gone, as a disruption
    of them would have it; pods of theirs that need a new home are among `pods`.
    """
    if pods is None:
        pods = (*provisionable_pods(snapshot), *displaced_pods(snapshot))
    moved = {pod.key for pod in pods}
    excluded = frozenset(exclude_nodes)
    nominated = _nominated(snapshot, moved)
    closed = closed_pools(snapshot)
    nodes = [
        _existing(snapshot, node, moved, nominated)
        for name, node in snapshot.state_nodes.items()
        if name not in excluded
    ]
    return SchedulingProblem(
        pods=tuple(pods),
        pools=_open_pools(snapshot, closed, excluded),
        closed_pools=closed,
        nodes=tuple(nodes),
        daemons=snapshot.daemons,
        volumes=Volumes(snapshot.volume_claims, snapshot.volumes, snapshot.storage_classes),
        namespaces={n: o.metadata.labels or {} for n, o in snapshot.namespaces.items()},
        refused=snapshot.refused,
        inadmissible=snapshot.inadmissible,
        reserve=tuple(reserve),
        options=options or SolverOptions(),
    )


def provisionable_pods(snapshot: Snapshot) -> tuple[core.Pod, ...]:
    """Pods kube-scheduler has given up on and that no earlier decision has promised a node.

    Those are left out for which nodes were made in vain, for a while.
    """
    waiting = (p for p in snapshot.pods.values() if is_provisionable(p))
    return _unpromised(snapshot, (p for p in waiting if p.key not in snapshot.resting))


def pending_pods(snapshot: Snapshot) -> tuple[core.Pod, ...]:
    """As `provisionable_pods`, but with pods kube-scheduler has not looked at: manifests."""
    return _unpromised(
        snapshot,
        (
            p
            for p in snapshot.pods.values()
            if is_pending(p) and p.status.nominated_node_name not in snapshot.nodes
        ),
    )


def displaced_pods(snapshot: Snapshot) -> tuple[core.Pod, ...]:
    """Pods on nodes that are being terminated, which will soon need another node.

    Left out are those that cannot go yet: protected by their annotation, or by a budget that never
    allows a disruption. Room bought for them now would stand empty.
    """
    found = (
        unbound(pod)
        for node in snapshot.state_nodes.values()
        if node.deleting
        for pod in node.pods
        if is_reschedulable(pod)
        and is_drainable(pod, snapshot.now)
        and do_not_disrupt(pod, snapshot.now).protection is not Protection.ACTIVE
        and not _never_evictable(snapshot, pod)
    )
    return _unpromised(snapshot, found)


def _open_pools(
    snapshot: Snapshot, closed: Collection[str], exclude_nodes: Collection[str]
) -> tuple[Pool, ...]:
    """The pools that may launch now: dynamic, ready, not being deleted, with types to launch."""
    # What nobody limits is not counted: it takes a look at every node.
    limited = any(pool.spec.limits for pool in snapshot.node_pools.values())
    usage = pool_usage(snapshot, exclude_nodes) if limited else {}
    return tuple(
        resolve_pool(pool, snapshot.types_of_pool(pool.name), usage.get(pool.name, {}))
        for pool in snapshot.node_pools.values()
        if pool.name not in closed
    )


def closed_pools(snapshot: Snapshot) -> dict[str, str]:
    """The NodePools that launch nothing for pods now, and why."""
    judged = ((pool.name, why_closed(snapshot, pool)) for pool in snapshot.node_pools.values())
    return {name: why for name, why in judged if why is not None}


def resolve_pool(pool: NodePool, types: tuple[InstanceType, ...], usage: Resources) -> Pool:
    """The pool as the solver wants it."""
    template = pool.spec.template
    return Pool(
        name=pool.name,
        instance_types=types,
        requirements=requirement_specs(template.spec.requirements),
        labels=own_labels(pool),
        taints=core_taints(template.spec.taints),
        startup_taints=core_taints(template.spec.startup_taints),
        weight=pool.weight,
        limits=amounts(pool.spec.limits),
        usage=usage,
    )


def pool_usage(
    snapshot: Snapshot, exclude_nodes: Collection[str] = ()
) -> dict[str, dict[str, int]]:
    """Pool -> what its nodes, and NodeClaims on their way, take of its limits; with `nodes`."""
    usage: dict[str, dict[str, int]] = {}
    for name, node in snapshot.state_nodes.items():
        if node.pool is None or node.claim is None or name in exclude_nodes:
            continue
        total = usage.setdefault(node.pool, {})
        for resource, amount in {**machine_capacity(snapshot, node), "nodes": 1}.items():
            total[resource] = total.get(resource, 0) + amount
    return usage


def machine_capacity(snapshot: Snapshot, node: StateNode) -> Resources:
    """What the machine has. Of one that is not launched yet, the most its claim could become."""
    if node.node is not None and node.initialized:
        return amounts(node.node.status.capacity)
    if node.claim is not None and node.claim.status.capacity:
        return amounts(node.claim.status.capacity)
    if node.claim is None:
        return amounts(node.node.status.capacity) if node.node is not None else {}
    most: dict[str, int] = {}
    for instance_type in candidate_types(snapshot, node.claim):
        for resource, amount in instance_type.capacity.items():
            most[resource] = max(most.get(resource, 0), amount)
    return most


def candidate_types(snapshot: Snapshot, claim: NodeClaim) -> tuple[InstanceType, ...]:
    """The instance types that the claim names, in its order (cheapest first)."""
    types = {t.name: t for t in snapshot.types_of_claim(claim)}
    named = next(
        (
            r.values
            for r in claim.spec.requirements
            if r.key == labels.INSTANCE_TYPE and r.operator == "In"
        ),
        None,
    )
    if named is None:
        return tuple(types.values())
    return tuple(types[name] for name in named if name in types)


def requirement_specs(requirements: Iterable[Requirement]) -> tuple[RequirementSpec, ...]:
    return tuple(RequirementSpec(r.key, r.operator, r.values, r.min_values) for r in requirements)


def core_taints(taints: Iterable[Taint]) -> tuple[core.Taint, ...]:
    return tuple(core.Taint(key=t.key, effect=t.effect, value=t.value or None) for t in taints)


def _unpromised(snapshot: Snapshot, pods: Iterable[core.Pod]) -> tuple[core.Pod, ...]:
    return tuple(pod for pod in pods if pod.key not in snapshot.nominations)


def _never_evictable(snapshot: Snapshot, pod: core.Pod) -> bool:
    for budget in snapshot.disruption_budgets.values():
        if (budget.metadata.namespace or "default") != (pod.metadata.namespace or "default"):
            continue
        if not matches(budget.spec.selector, pod.metadata.labels):
            continue
        expected = budget.status.expected_pods if budget.status is not None else 0
        most, least = budget.spec.max_unavailable, budget.spec.min_available
        if most is not None and scaled(most, expected) == 0:
            return True
        if least is not None and expected and scaled(least, expected) >= expected:
            return True
    return False


def _nominated(snapshot: Snapshot, moved: Collection[str]) -> dict[str, list[core.Pod]]:
    found: dict[str, list[core.Pod]] = {}
    for key, target in snapshot.nominations.items():
        pod = snapshot.pods.get(key)
        if pod is not None and key not in moved:
            found.setdefault(target, []).append(pod)
    return found


_ENCODED: dict[str, tuple[StateNode, ExistingNode]] = {}
"""By name, the machines that are there and what the solver was given for them."""


def _existing(
    snapshot: Snapshot,
    node: StateNode,
    moved: Collection[str],
    nominated: Mapping[str, list[core.Pod]],
) -> ExistingNode:
    """The machine as the solver wants it: the same object while nothing about it changes.

    The solver keeps what it computes from a node for as long as it is given the same one.
    """
    promised = list(nominated.get(node.name, ()))
    promised += (
        p for p in node.nominated if p.key not in moved and p.key not in snapshot.nominations
    )
    claim = node.claim
    if claim is not None and claim.name != node.name:
        promised += nominated.get(claim.name, ())
    takes_pods = _takes_pods(snapshot, node)
    limits = _csi_limits(snapshot, node)
    whole = node.initialized and not promised and not any(p.key in moved for p in node.pods)
    known, found = _ENCODED.get(node.name, (None, None))
    if (
        whole
        and known is node
        and found is not None
        and (found.schedulable, found.csi_limits) == (takes_pods, limits)
    ):
        return found
    allocatable = _allocatable(snapshot, node)
    made = ExistingNode(
        name=node.name,
        labels=_labels(node),
        allocatable=allocatable or {},
        taints=_taints(node),
        pods=tuple(p for p in node.pods if p.key not in moved and not _gone_soon(node, p)),
        nominated=tuple(promised),
        initialized=node.initialized,
        managed=node.managed,
        pool=node.pool if node.managed else None,
        schedulable=allocatable is not None and takes_pods,
        csi_limits=limits,
    )
    if whole:
        if len(_ENCODED) > 2 * len(snapshot.state_nodes) + 1024:
            _ENCODED.clear()
        _ENCODED[node.name] = node, made
    return made


def _gone_soon(node: StateNode, pod: core.Pod) -> bool:
    """A terminating pod on a node that goes holds no room that anybody could use."""
    return node.deleting and is_terminating(pod)


def _takes_pods(snapshot: Snapshot, node: StateNode) -> bool:
    if node.deleting or node.disrupted:
        return False
    if node.claim is not None and node.claim.name in snapshot.disrupting:
        return False
    return node.node is None or not node.node.spec.unschedulable


def _allocatable(snapshot: Snapshot, node: StateNode) -> Resources | None:
    """What pods may have of the machine; None when nothing can be said.

    Of a machine that is not launched yet, the least that its claim could become.
    """
    if node.node is not None and node.initialized:
        return amounts(node.node.status.allocatable)
    if node.claim is None:
        return amounts(node.node.status.allocatable) if node.node is not None else None
    expected = amounts(node.claim.status.allocatable)
    if node.node is not None:
        # A kubelet reports its extended resources late: until then the claim's word counts.
        actual = amounts(node.node.status.allocatable)
        expected = {**expected, **{k: v for k, v in actual.items() if v > 0}}
    return expected or _least_allocatable(snapshot, node.claim)


def _least_allocatable(snapshot: Snapshot, claim: NodeClaim) -> Resources | None:
    types = candidate_types(snapshot, claim)
    if not types:
        return None
    least = dict(types[0].allocatable)
    for instance_type in types[1:]:
        for resource in list(least):
            least[resource] = min(least[resource], instance_type.allocatable.get(resource, 0))
    return least


def _labels(node: StateNode) -> Mapping[str, str]:
    if node.claim is None or node.node is not None:
        return node.labels
    known = {
        r.key: r.values[0]
        for r in node.claim.spec.requirements
        if r.operator == "In" and len(r.values) == 1
    }
    return {**known, **node.labels, labels.HOSTNAME: node.name}


def _taints(node: StateNode) -> tuple[core.Taint, ...]:
    """The node's taints as they will be; a replacement's waiting for its pods ends in seconds."""
    return tuple(t for t in _lasting_taints(node) if t.key != AWAITING_PODS_TAINT)


def _lasting_taints(node: StateNode) -> tuple[core.Taint, ...]:
    if node.claim is None:
        return tuple((node.node.spec.taints if node.node is not None else None) or ())
    if node.node is None:
        return core_taints(node.claim.spec.taints)
    taints = tuple(node.node.spec.taints or ())
    if node.initialized:
        return taints
    startup = {(t.key, t.effect) for t in node.claim.spec.startup_taints}
    kept = tuple(t for t in taints if not is_ephemeral(t) and (t.key, t.effect) not in startup)
    known = {(t.key, t.effect) for t in kept}
    return kept + tuple(
        t for t in core_taints(node.claim.spec.taints) if (t.key, t.effect) not in known
    )


def _csi_limits(snapshot: Snapshot, node: StateNode) -> Mapping[str, int]:
    csi = snapshot.csi_nodes.get(node.name)
    if csi is None:
        return {}
    return {
        d.name: d.allocatable.count
        for d in csi.spec.drivers
        if d.allocatable is not None and d.allocatable.count is not None
    }
