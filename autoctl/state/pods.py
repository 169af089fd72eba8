"""What a pod is to scheduling, draining and disruption.

Predicates over one pod, shared by provisioning, termination and disruption so that they never
disagree. The rules are Karpenter's (`pkg/utils/pod`) and those of the Kubernetes documentation on
draining nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from autoctl.api import core
from autoctl.api.duration import DurationError, parse_duration
from autoctl.api.labels import DISRUPTED_TAINT, DO_NOT_DISRUPT

STUCK_TERMINATING = timedelta(minutes=1)
"""A pod that outlives its deletion time by this much no longer holds up a drain."""

ROOM_UID = "capacity-buffer/"
"""How the UIDs of pods that stand for room begin."""

DEFAULT_SCHEDULER = "default-scheduler"
CRITICAL_CLASSES = frozenset({"system-cluster-critical", "system-node-critical"})


def controller_of(pod: core.Pod) -> core.OwnerReference | None:
    """The owner reference of the controller that keeps the pod, if any."""
    for owner in pod.metadata.owner_references or ():
        if owner.controller:
            return owner
    return None


def _owned_by(pod: core.Pod, kind: str, version: str | None = None) -> bool:
    """Whether an owner is of this kind, and of this `apiVersion` where one is given.

    The API server takes no reference without a version, but a manifest may leave it out: it then
    means Kubernetes' own kind.
    """
    # A plain loop: asked several times of every pod of the cluster in each pass of disruption.
    for owner in pod.metadata.owner_references or ():
        if owner.kind == kind and (version is None or owner.api_version in (version, "")):
            return True
    return False


def is_daemon(pod: core.Pod) -> bool:
    """Owned by a DaemonSet of Kubernetes' own: comes and goes with its node.

    Other API groups have kinds of that name (`apps.kruise.io`), whose pods may well move.
    """
    return _owned_by(pod, "DaemonSet", "apps/v1")


def is_mirror(pod: core.Pod) -> bool:
    """A static pod's mirror, owned by its Node."""
    return _owned_by(pod, "Node")


def stands_for_room(pod: core.Pod) -> bool:
    """Whether the pod is none, but room that a CapacityBuffer keeps.

    Its UID tells, which nobody chooses for a pod of his own; an annotation could be written on any.
    """
    return pod.metadata.uid.startswith(ROOM_UID)


def is_terminal(pod: core.Pod) -> bool:
    """Succeeded or Failed: takes no room any more."""
    return pod.status.phase in ("Succeeded", "Failed")


def is_terminating(pod: core.Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def is_active(pod: core.Pod) -> bool:
    """Neither terminal nor on its way out."""
    return not is_terminal(pod) and not is_terminating(pod)


def is_critical(pod: core.Pod) -> bool:
    """Of one of the system priority classes: drained last."""
    return pod.spec.priority_class_name in CRITICAL_CLASSES


def is_pending(pod: core.Pod) -> bool:
    """Not bound, and waiting for a node that kube-scheduler could not find.

    A pod without a PodScheduled condition has not been looked at yet: it counts when read from a
    manifest, and provisioning waits for the condition (`is_provisionable`).
    """
    return (
        not pod.spec.node_name
        and is_active(pod)
        and not pod.spec.scheduling_gates
        and (pod.spec.scheduler_name or DEFAULT_SCHEDULER) == DEFAULT_SCHEDULER
        and not is_daemon(pod)
        and not is_mirror(pod)
        and not _scheduled_condition_says_otherwise(pod)
    )


def is_refused(pod: core.Pod) -> bool:
    """Pending, and kube-scheduler has said that it cannot place it."""
    return is_pending(pod) and any(
        c.type == "PodScheduled" and c.status == "False" and c.reason == "Unschedulable"
        for c in pod.status.conditions or ()
    )


def is_provisionable(pod: core.Pod) -> bool:
    """Refused, and not about to be bound to a nominated node."""
    return is_refused(pod) and not pod.status.nominated_node_name


def _scheduled_condition_says_otherwise(pod: core.Pod) -> bool:
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled":
            return condition.status == "True" or condition.reason == "SchedulingGated"
    return False


def is_stuck_terminating(pod: core.Pod, now: datetime) -> bool:
    """Still there a minute after it should have gone; its node's drain no longer waits for it."""
    deleted = pod.metadata.deletion_timestamp
    return deleted is not None and now > deleted + STUCK_TERMINATING


def tolerates_disruption(pod: core.Pod) -> bool:
    """Whether the pod tolerates `karpenter.sh/disrupted:NoSchedule` and so stays on the node."""
    for toleration in pod.spec.tolerations or ():
        if toleration.effect not in (None, "", "NoSchedule"):
            continue
        if not toleration.key:
            if toleration.operator == "Exists":
                return True
        elif toleration.key == DISRUPTED_TAINT and (
            toleration.operator == "Exists" or not toleration.value
        ):
            return True
    return False


def is_waiting_eviction(pod: core.Pod, now: datetime) -> bool:
    """Whether draining its node waits for this pod to go."""
    return not is_terminal(pod) and is_drainable(pod, now)


def is_drainable(pod: core.Pod, now: datetime) -> bool:
    """Whether draining means to make this pod go (mirror pods and tolerating pods stay)."""
    return (
        not tolerates_disruption(pod) and not is_stuck_terminating(pod, now) and not is_mirror(pod)
    )


def is_evictable(pod: core.Pod, now: datetime) -> bool:
    """Whether an eviction may be asked for now."""
    return is_active(pod) and is_drainable(pod, now) and not stands_for_room(pod)


def is_reschedulable(pod: core.Pod, *, include_terminating_stateful: bool = True) -> bool:
    """Whether the pod, taken off its node, needs room elsewhere.

    Daemon and mirror pods do not. A terminating pod is replaced by its controller already, except
    a StatefulSet's: its successor waits for it to be gone, ended or not.
    """
    if is_daemon(pod) or is_mirror(pod):
        return False
    if is_terminating(pod):
        return include_terminating_stateful and _owned_by(pod, "StatefulSet", "apps/v1")
    return not is_terminal(pod)


def unbound(pod: core.Pod) -> core.Pod:
    """The pod as its successor will be: the same spec, on no node yet."""
    return msgspec.structs.replace(
        pod,
        spec=msgspec.structs.replace(pod.spec, node_name=None),
        status=core.PodStatus(),
    )


class Protection(StrEnum):
    """What the annotation `karpenter.sh/do-not-disrupt` says of a pod."""

    NONE = "none"
    ACTIVE = "active"
    ELAPSED = "elapsed"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class DoNotDisrupt:
    """The annotation's verdict; `until` where it names a duration that has not passed."""

    protection: Protection
    until: datetime | None = None


def do_not_disrupt(pod: core.Pod, now: datetime) -> DoNotDisrupt:
    """Read `karpenter.sh/do-not-disrupt`: `"true"`, or a duration from the pod's start.

    An invalid value protects nothing. A pod that has not started yet is protected by a duration.
    """
    value = (pod.metadata.annotations or {}).get(DO_NOT_DISRUPT)
    if value is None or value == "false":
        return DoNotDisrupt(Protection.NONE)
    if value == "true":
        return DoNotDisrupt(Protection.ACTIVE)
    try:
        length = parse_duration(value)
    except DurationError:
        return DoNotDisrupt(Protection.INVALID)
    if length <= timedelta(0):
        return DoNotDisrupt(Protection.INVALID)
    start = pod.status.start_time
    if start is None:
        return DoNotDisrupt(Protection.ACTIVE)
    until = start + length
    if now >= until:
        return DoNotDisrupt(Protection.ELAPSED)
    return DoNotDisrupt(Protection.ACTIVE, until)
