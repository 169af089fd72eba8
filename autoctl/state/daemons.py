"""The pod that stands for each DaemonSet: what it will run on nodes that are still to come.

Admission has its say only when a pod is made (a LimitRange, webhooks, the overhead of a
RuntimeClass), so that a DaemonSet's real pods tell better than its template what the next one will
ask for. The rules are Karpenter's (`Provisioner.getDaemonSetPods`): the newest pod that the
DaemonSet controls speaks for it, and its template where there is none; the required node affinity
is always the template's, because the DaemonSet controller puts the name of the pod's own node in
its place. Added to them: pods that have ended are passed over, and a newest pod that was made from
an older template says nothing of the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from autoctl.api import core
from autoctl.ports.kubernetes import EventType
from autoctl.state.pods import controller_of, is_daemon, is_terminal
from autoctl.state.reflector import Change

Owner = tuple[str, str, str]
"""Namespace, name and UID of a DaemonSet."""

_Aged = tuple[float, str, core.Pod]
"""When a pod was created (seconds since 1970), its name, and the pod; names differ in a set."""

_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
"""The annotation in which the API server counts the changes of a DaemonSet's template."""
_POD_GENERATION = "pod-template-generation"
"""The label by which the DaemonSet controller tells at which count it made a pod."""


class NewestPods:
    """The newest pod of each DaemonSet, while pods come and go.

    A change is compared with the newest pod alone. All pods of a DaemonSet are looked at when it is
    asked about for the first time, and again after its newest pod went.
    """

    def __init__(self, pods: Iterable[core.Pod] = ()) -> None:
        self._pods: dict[Owner, dict[str, _Aged]] = {}
        self._newest: dict[Owner, _Aged] = {}
        for pod in pods:
            owner = _owner(pod)
            if owner is not None:
                self._come(owner, pod)

    def of(self, owner: Owner) -> core.Pod | None:
        """The DaemonSet's newest pod that has not ended; of one second's pods the last by name."""
        found = self._newest.get(owner)
        if found is None:
            if owner not in self._pods:
                return None
            found = self._newest[owner] = max(self._pods[owner].values())
        return found[2]

    def changed(self, changes: Sequence[Change[core.Pod]]) -> None:
        """Take over what changed, as a reflector tells it."""
        for change in changes:
            before = None if change.previous is None else _owner(change.previous)
            after = None if change.type is EventType.DELETED else _owner(change.object)
            if before is not None and before != after:
                self._go(before, change.object.key)
            if after is not None:
                self._come(after, change.object)

    def _come(self, owner: Owner, pod: core.Pod) -> None:
        """Count a pod that is new, or that is there already and has changed."""
        created = pod.metadata.creation_timestamp
        aged = (0.0 if created is None else created.timestamp(), pod.metadata.name, pod)
        self._pods.setdefault(owner, {})[pod.key] = aged
        newest = self._newest.get(owner)
        # A pod's age and name never change, so the newest one stays it in its new state.
        if newest is not None and aged[:2] >= newest[:2]:
            self._newest[owner] = aged

    def _go(self, owner: Owner, key: str) -> None:
        pods = self._pods.get(owner, {})
        pods.pop(key, None)
        if not pods:
            self._pods.pop(owner, None)
        newest = self._newest.get(owner)
        if newest is not None and newest[2].key == key:
            del self._newest[owner]


def representatives(
    sets: Iterable[core.DaemonSet], newest: Callable[[Owner], core.Pod | None]
) -> tuple[core.Pod, ...]:
    """One pod, on no node, for each DaemonSet that stays; `newest` as `NewestPods.of` answers."""
    return tuple(
        _representative(s, newest(_identity(s)))
        for s in sets
        if s.metadata.deletion_timestamp is None
    )


def _representative(daemon_set: core.DaemonSet, newest: core.Pod | None) -> core.Pod:
    """The pod has the DaemonSet's name: only its spec, not who it is, depends on the real ones."""
    metadata, template = daemon_set.metadata, daemon_set.spec.template
    spec = template.spec
    if newest is not None and not _is_outdated(newest, daemon_set):
        spec = msgspec.structs.replace(
            newest.spec,
            node_name=None,
            affinity=_with_required(newest.spec.affinity, _required(template.spec.affinity)),
        )
    owner = core.OwnerReference(
        api_version="apps/v1",
        kind="DaemonSet",
        name=metadata.name,
        uid=metadata.uid,
        controller=True,
    )
    return core.Pod(
        metadata=core.ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace or "default",
            uid=f"daemonset/{metadata.uid}",
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            owner_references=[owner],
        ),
        spec=spec,
    )


def _owner(pod: core.Pod) -> Owner | None:
    """The DaemonSet for which the pod could speak; None for ended pods and those of others."""
    if not is_daemon(pod) or is_terminal(pod):
        return None
    owner = controller_of(pod)
    if owner is None:
        return None
    return (pod.metadata.namespace or "default", owner.name, owner.uid)


def _identity(daemon_set: core.DaemonSet) -> Owner:
    metadata = daemon_set.metadata
    return (metadata.namespace or "default", metadata.name, metadata.uid)


def _is_outdated(pod: core.Pod, daemon_set: core.DaemonSet) -> bool:
    """Whether both tell which template they mean, and it is not the same one."""
    now = (daemon_set.metadata.annotations or {}).get(_TEMPLATE_GENERATION)
    then = (pod.metadata.labels or {}).get(_POD_GENERATION)
    return now is not None and then is not None and now != then


def _required(affinity: core.Affinity | None) -> core.NodeSelector | None:
    node = None if affinity is None else affinity.node_affinity
    return None if node is None else node.required_during_scheduling_ignored_during_execution


def _with_required(
    affinity: core.Affinity | None, required: core.NodeSelector | None
) -> core.Affinity | None:
    """The affinity with other required node terms.

    What is empty then is left out, so that the pod is the same to scheduling as its template where
    admission changed nothing.
    """
    whole = affinity or core.Affinity()
    node = whole.node_affinity or core.NodeAffinity()
    preferred = node.preferred_during_scheduling_ignored_during_execution
    node = core.NodeAffinity(
        required_during_scheduling_ignored_during_execution=required,
        preferred_during_scheduling_ignored_during_execution=preferred,
    )
    changed = msgspec.structs.replace(whole, node_affinity=node if required or preferred else None)
    return None if changed == core.Affinity() else changed
