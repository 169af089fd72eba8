"""Pods as shapes: all pods that scheduling cannot tell apart are one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoctl.api import core
from autoctl.scheduling.nodes import NodeInfo
from autoctl.scheduling.problem import SchedulingProblem, Volumes
from autoctl.scheduling.requirements import Requirements
from autoctl.scheduling.templates import Template
from autoctl.scheduling.volumes import (
    ATTACH_PREFIX,
    NO_VOLUMES,
    VolumeError,
    VolumeNeeds,
    volume_needs,
)

Attachment = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Pods with equal template, namespace, volumes and labels (as far as selectors read them).

    `pods` are keys, in the order they are placed. `requests` includes one attachment for each
    volume of its own, under `attachable-volumes-csi-DRIVER`; `shared` volumes are used by other
    pods too and are counted once a node. `refused` names nodes that the pods must not be placed on.
    """

    index: int
    template: Template
    namespace: str
    labels: Mapping[str, str]
    requests: Mapping[str, int]
    terms: tuple[Requirements, ...]
    pods: tuple[str, ...]
    shared: tuple[Attachment, ...] = ()
    error: str | None = None
    needs: VolumeNeeds = field(default=NO_VOLUMES)
    refused: frozenset[str] = frozenset()


def intern_pods(
    problem: SchedulingProblem,
    templates: Sequence[Template],
    bound: tuple[NodeInfo, ...],
    extra_keys: frozenset[str],
) -> tuple[Shape, ...]:
    """The problem's pods, whose `templates` are given in their order, as shapes.

    `extra_keys` are pod label keys that others' selectors read (anti-affinity of running pods).
    Shapes are ordered by their first pod's key, pods in a shape by creation and key.
    """
    distinct = {id(t): t for t in templates}
    read = extra_keys.union(*(t.selector_keys for t in distinct.values()))
    matters = bool(read) or any(t.topological for t in distinct.values())
    keys = tuple(sorted(read))
    shared = _shared_volumes(problem, templates, bound)
    groups: dict[tuple[object, ...], list[core.Pod]] = {}
    parts: dict[tuple[object, ...], tuple[Template, VolumeNeeds, str | None]] = {}
    for pod, template in zip(problem.pods, templates, strict=True):
        given = pod.metadata.labels
        projected = tuple((k, given[k]) for k in keys if k in given) if keys and given else ()
        namespace = (pod.metadata.namespace or "default") if matters else ""
        needs, problem_text = NO_VOLUMES, None
        if template.claims or template.ephemeral:
            needs, problem_text = _needs(template, pod, problem.volumes)
            volumes_key: object = (
                needs.alternatives,
                tuple(sorted(Counter(d for d, _ in needs.attachments).items())),
                tuple(a for a in needs.attachments if a in shared),
                problem_text,
            )
            key: tuple[object, ...] = (id(template), namespace, projected, volumes_key)
        else:
            key = (id(template), namespace, projected)
        if pod.key in problem.refused:
            key = (*key, problem.refused[pod.key])
        if pod.key in problem.inadmissible:
            problem_text = problem.inadmissible[pod.key]
            key = (*key, problem_text)
        group = groups.get(key)
        if group is None:
            groups[key] = [pod]
            parts[key] = (template, needs, problem_text)
        else:
            group.append(pod)
    return _shapes(groups, parts, keys, shared, problem.refused)


def _shapes(
    groups: Mapping[tuple[object, ...], list[core.Pod]],
    parts: Mapping[tuple[object, ...], tuple[Template, VolumeNeeds, str | None]],
    keys: tuple[str, ...],
    shared: frozenset[Attachment],
    refused: Mapping[str, frozenset[str]],
) -> tuple[Shape, ...]:
    for pods in groups.values():
        if len(pods) > 1:
            pods.sort(key=_age)
    found = []
    for index, key in enumerate(sorted(groups, key=lambda k: groups[k][0].key)):
        pods = groups[key]
        template, needs, error = parts[key]
        requests = dict(template.requests)
        for driver, volume in needs.attachments:
            if (driver, volume) not in shared:
                name = ATTACH_PREFIX + driver
                requests[name] = requests.get(name, 0) + 1
        first = pods[0].metadata
        terms, conflict = _with_volumes(template.terms, needs)
        found.append(
            Shape(
                index=index,
                template=template,
                namespace=first.namespace or "default",
                labels={k: v for k, v in (first.labels or {}).items() if k in keys},
                requests=requests,
                terms=terms,
                pods=tuple(p.key for p in pods),
                shared=tuple(a for a in needs.attachments if a in shared),
                error=template.error or error or conflict,
                needs=needs,
                refused=refused.get(pods[0].key, frozenset()),
            )
        )
    return tuple(found)


def _age(pod: core.Pod) -> tuple[float, str]:
    created = pod.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0, pod.key)


def _with_volumes(
    terms: tuple[Requirements, ...], needs: VolumeNeeds
) -> tuple[tuple[Requirements, ...], str | None]:
    """Alternatives that suit both the pod and its volumes, and why there are none.

    Two that contradict each other suit no node, not even one without the label.
    """
    if needs is NO_VOLUMES:
        return terms, None
    both: list[Requirements] = []
    reason = None
    for term in terms:
        for option in needs.alternatives:
            conflict = term.intersects(option)
            if conflict is None:
                both.append(term.add(*option.values()))
            else:
                reason = f"the pod's volumes cannot be reached where it may run: {conflict}"
    return (tuple(both), None) if both else (terms, reason)


def _needs(template: Template, pod: core.Pod, volumes: Volumes) -> tuple[VolumeNeeds, str | None]:
    try:
        return volume_needs(template, pod, volumes), None
    except VolumeError as error:
        return NO_VOLUMES, str(error)


def _shared_volumes(
    problem: SchedulingProblem, templates: Sequence[Template], bound: tuple[NodeInfo, ...]
) -> frozenset[Attachment]:
    """Volumes that more than one pod uses, of those the pods to place use."""
    users: Counter[Attachment] = Counter()
    for pod, template in zip(problem.pods, templates, strict=True):
        if template.claims or template.ephemeral:
            users.update(_needs(template, pod, problem.volumes)[0].attachments)
    if users:
        for info in bound:
            for pod, template in info.with_volumes:
                users.update(_needs(template, pod, problem.volumes)[0].attachments)
    return frozenset(a for a, n in users.items() if n > 1)
