"""Whether pods would take the room that a new node has for others: pure decisions.

kube-scheduler binds a waiting pod to the first node that has room, which may be the room that was
bought for another pod while its own node is still booting. Where all waiting pods are alike that
changes nothing; otherwise what is left over in the end may not fit what is left free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from autoctl.api import core
from autoctl.scheduling.templates import Template, template_of

MOST_STEERED: Final = 1_000
"""Waiting pods beyond which nobody is steered: every one costs a write, and a stray node is a small
part of such a batch."""


def is_contested(claim: str, promised: Mapping[str, str], waiting: Iterable[core.Pod]) -> bool:
    """Whether others than the pods meant for `claim` want its room, and could spoil the plan.

    `promised` maps pods' keys to the NodeClaims or Nodes that they are to go to, `waiting` are all
    pods that kube-scheduler may bind.
    """
    pods = list(waiting)
    own = sum(promised.get(pod.key) == claim for pod in pods)
    if not own or own == len(pods) or len(pods) > MOST_STEERED:
        return False
    templates = [template_of(pod) for pod in pods]
    mixed = any(t.topological for t in templates)
    kinds = {_kind(pod, t, mixed) for pod, t in zip(pods, templates, strict=True)}
    return len(kinds) > 1


def is_outranked(own: Iterable[core.Pod], others: Iterable[core.Pod]) -> bool:
    """Whether another pod is more important than all of the node's own.

    kube-scheduler keeps a nominated pod's room from pods of the same or lower priority alone.
    """
    highest = max((_priority(pod) for pod in own), default=None)
    return highest is not None and any(_priority(pod) > highest for pod in others)


def _kind(pod: core.Pod, template: Template, mixed: bool) -> tuple[object, ...]:
    """Pods of one kind can stand in for each other."""
    volumes = pod.metadata.uid if template.claims or template.ephemeral else None
    if not mixed:
        return (id(template), volumes)
    given = tuple(sorted((pod.metadata.labels or {}).items()))
    return (id(template), volumes, pod.metadata.namespace or "default", given)


def _priority(pod: core.Pod) -> int:
    return pod.spec.priority or 0
