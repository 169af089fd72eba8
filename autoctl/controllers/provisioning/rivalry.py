"""Whether pods would take the room that a new node has for others: pure decisions.

kube-scheduler binds a waiting pod to the first node that has room, which may be the room that was
bought for another pod while its own node is still booting. Where all waiting pods are alike that
changes nothing; otherwise what is left over in the end may not fit what is left free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Final

from autoctl.api import core
from autoctl.api.nodeclaim import NodeClaim
from autoctl.catalog.units import amounts
from autoctl.scheduling.taints import first_untolerated
from autoctl.scheduling.templates import DO_NOT_SCHEDULE, Template, template_of
from autoctl.state.problem import core_taints

_OWN_LABELS: Final = frozenset(
    {
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/job-completion-index",
    }
)
"""Labels that controllers give each of their pods a value of its own for."""


def could_use(pod: core.Pod, claim: NodeClaim, node: core.Node) -> bool:
    """Whether the pod by itself might run on the NodeClaim's new node, as far as size goes.

    Taints that go while the node starts do not count.
    """
    template = template_of(pod)
    room = amounts(node.status.allocatable) or amounts(claim.status.allocatable)
    if any(room.get(name, 0) < amount for name, amount in template.requests.items()):
        return False
    if first_untolerated(template.tolerations, core_taints(claim.spec.taints)) is not None:
        return False
    given = {**(node.metadata.labels or {}), **claim.metadata.labels}
    return any(term.accepts(given) for term in template.terms)


def is_contested(
    own: Sequence[core.Pod], others: Iterable[core.Pod], claim: NodeClaim, node: core.Node
) -> bool:
    """Whether pods other than the node's `own` want its room, and could spoil the plan so."""
    rivals = [pod for pod in others if could_use(pod, claim, node)]
    if not own or not rivals:
        return False
    everyone = [(pod, template_of(pod)) for pod in (*own, *rivals)]
    mixed = any(template.topological for _, template in everyone)
    return len({_kind(pod, template, mixed) for pod, template in everyone}) > 1


def in_turn(own: Iterable[core.Pod]) -> list[core.Pod]:
    """Those of a node's waiting pods that may have it as their nominated node at the same time.

    kube-scheduler counts a pod nominated to a node as if it ran there. Pods that are spread over
    domains would therefore keep each other away: only as many as may be ahead have their turn,
    those first that have it already.
    """
    taken: Counter[tuple[object, ...]] = Counter()
    found = []
    for pod in sorted(own, key=lambda p: (not p.status.nominated_node_name, p.key)):
        template = template_of(pod)
        most = min(
            (c.max_skew for c in template.spread if c.when_unsatisfiable == DO_NOT_SCHEDULE),
            default=None,
        )
        if most is not None:
            group = _group(pod)
            taken[group] += 1
            if taken[group] > most:
                continue
        found.append(pod)
    return found


def keeps_all(own: Sequence[core.Pod], highest: int) -> bool:
    """Whether nominations keep the room of all of the node's `own` from pods of that priority."""
    ranked = all(priority_of(pod) >= highest for pod in own)
    return ranked and len(in_turn(own)) == len(own)


def takers(
    own: Sequence[core.Pod],
    others: Iterable[core.Pod],
    claim: NodeClaim,
    node: core.Node,
    running: Iterable[core.Pod] = (),
) -> list[core.Pod]:
    """Those of the others that could take room of the node's `own` which nominations do not keep.

    That is the room of pods that have no turn yet (see `in_turn`), and of those that matter less:
    kube-scheduler keeps it from pods of the same or lower priority alone. But pods of one kind take
    nothing from each other, nor is anything taken where there is room for all. `running` are the
    pods that the node has already.
    """
    turn = {pod.metadata.uid for pod in in_turn(own)}
    room = _left(amounts(node.status.allocatable), running)
    usable: dict[Template, bool] = {}
    ranks: dict[int, list[core.Pod]] = {}
    for pod in others:
        template = template_of(pod)
        if template not in usable:
            usable[template] = could_use(pod, claim, node)
        if usable[template]:
            ranks.setdefault(priority_of(pod), []).append(pod)
    found: list[core.Pod] = []
    for rank, pods in ranks.items():
        kept = [p for p in own if p.metadata.uid in turn and priority_of(p) >= rank]
        exposed = [p for p in own if p.metadata.uid not in turn or priority_of(p) < rank]
        alike = {_kind(pod, template_of(pod), True, volumes=False) for pod in exposed}
        free = _left(room, kept)
        crowd = [
            pod
            for pod in pods
            if _kind(pod, template_of(pod), True, volumes=False) not in alike
            and _fits(template_of(pod), free)
        ]
        spare = _left(free, (*exposed, *crowd))
        if exposed and any(amount < 0 for amount in spare.values()):
            found += crowd
    return found


def kind_of(pod: core.Pod) -> Hashable:
    """Equal for pods of which each can stand in for the other."""
    return _kind(pod, template_of(pod), True)


def _left(room: Mapping[str, int], pods: Iterable[core.Pod]) -> dict[str, int]:
    left = dict(room)
    for pod in pods:
        for name, amount in template_of(pod).requests.items():
            left[name] = left.get(name, 0) - amount
    return left


def _fits(template: Template, room: Mapping[str, int]) -> bool:
    return all(room.get(name, 0) >= amount for name, amount in template.requests.items())


def _kind(
    pod: core.Pod, template: Template, mixed: bool, *, volumes: bool = True
) -> tuple[object, ...]:
    """Pods of one kind can stand in for each other; with `volumes`, only where these are alike."""
    own = pod.metadata.uid if volumes and (template.claims or template.ephemeral) else None
    return (id(template), own, *(_group(pod) if mixed else ()))


def _group(pod: core.Pod) -> tuple[object, ...]:
    """What selectors tell of a pod, without what is different for each pod of a controller."""
    given = (pod.metadata.labels or {}).items()
    kept = tuple(sorted((k, v) for k, v in given if k not in _OWN_LABELS))
    return (pod.metadata.namespace or "default", kept)


def priority_of(pod: core.Pod) -> int:
    return pod.spec.priority or 0
