"""Sending moved pods where the plan has room for them.

kube-scheduler puts a pod wherever it fits at the moment. Pods for nodes that are there therefore
move first, while replacements still boot: were all to move at once, those meant for replacements
would take the room that the others were promised. A replacement is bought with the taint
`autoctl.io/awaiting-pods`, so that no other pod takes its room. When the successors of its own pods
are pending, each is given it as its nominated node, which kube-scheduler looks at before any other,
and the taint goes at once: kube-scheduler forgets a nomination to a node that does not take the
pod. Pods for replacements go in waves, one at a time. What is not there in time finds its own way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from autoctl.api import core
from autoctl.controllers.disruption.marks import REPLACES
from autoctl.controllers.disruption.model import Command
from autoctl.state.pods import controller_of, is_active
from autoctl.state.snapshot import Snapshot

SETTLE_SECONDS: Final = 10.0
"""How long pods for nodes that are there may take to land before the others are evicted."""

HOLD_SECONDS: Final = 8.0
"""How long after the evictions replacements wait for pods that have not come."""

WAVE_PODS: Final = 250
"""So many pods for replacements are on their way at a time: the fewer wait, the fewer are tried on
a node in the moment in which it opens for others."""

LANDING_SECONDS: Final = 20.0
"""How long a pod may take from its nomination to be bound; then it is taken back."""

Owner = tuple[str, str]
"""A pod's namespace and the uid of its controller: its successor has the same."""


@dataclass
class Crowd:
    """Pods that are evicted together, and what is known of their successors.

    `keys` are the pods, `expected` how many successors each controller makes.
    """

    keys: frozenset[str]
    expected: Counter[Owner]
    until: float | None = None
    """Loop time until which they are waited for; None before the evictions."""
    _known: frozenset[str] = frozenset()

    def begin(self, snapshot: Snapshot, until: float) -> None:
        """The evictions start: pods that are not in `snapshot` are successors."""
        self.until = until
        self._known = frozenset(p.metadata.uid for p, _ in self._members(snapshot))

    def refused(self, pod: core.Pod) -> None:
        """The pod stays for now: nobody comes for it."""
        owner = owner_of(pod)
        if owner is not None:
            self.expected[owner] -= 1

    def arrived(self, snapshot: Snapshot, settled: Container[str] = frozenset()) -> set[Owner]:
        """The controllers all of whose successors are bound, or have their uid in `settled`."""
        found = Counter(
            owner
            for pod, owner in self._members(snapshot)
            if pod.metadata.uid not in self._known
            and (pod.spec.node_name or pod.metadata.uid in settled)
        )
        return {owner for owner, count in self.expected.items() if found[owner] >= count}

    def settling(self, snapshot: Snapshot, now: float) -> bool:
        """Whether some pods are on their way, and still waited for."""
        if self.until is None or now >= self.until:
            return False
        return len(self.arrived(snapshot)) < len(self.expected)

    def _members(self, snapshot: Snapshot) -> Iterator[tuple[core.Pod, Owner]]:
        if not self.expected:
            return
        for pod in snapshot.pods.values():
            owner = owner_of(pod)
            if owner is not None and owner in self.expected and is_active(pod):
                yield pod, owner


@dataclass
class Steering:
    """One command's plan: for each controller the replacements its pods go to, by index."""

    claims: tuple[str, ...]
    """The replacements' NodeClaims, in the order of the plan."""
    slots: dict[Owner, list[int]]
    ahead: Crowd
    """The pods for nodes that are there."""
    waves: tuple[Crowd, ...]
    """The pods for replacements, in the order of these."""
    last: tuple[int, ...]
    """The last replacement of each wave."""
    seen_by: float = 0.0
    """Loop time from which the mirror shows the command, if it is still under way."""
    begun: int = 0
    """How many waves have been evicted."""
    assigned: dict[int, list[core.Pod]] = field(default_factory=dict)
    """By replacement: the successors it was chosen for."""
    opened: set[int] = field(default_factory=set)
    """Replacements that take pods."""
    landing: float | None = None
    """Loop time until which the pods that were sent may land; None before all are open."""

    @property
    def wave(self) -> Crowd | None:
        """The wave that is on its way, or came last."""
        return self.waves[self.begun - 1] if self.begun else None

    @property
    def reach(self) -> int:
        """How many replacements the waves up to now are for."""
        return self.last[self.begun - 1] + 1 if self.begun else 0

    @property
    def claimed(self) -> set[str]:
        """UIDs of the pods that have a replacement."""
        return {p.metadata.uid for pods in self.assigned.values() for p in pods}

    @property
    def ready(self) -> list[int]:
        """The replacements that wait for no more pods, and are not open yet."""
        missing = {index for slots in self.slots.values() for index in slots}
        return [i for i in range(self.reach) if i not in missing and i not in self.opened]

    def begin_wave(self, snapshot: Snapshot, until: float) -> Crowd:
        """The next wave's evictions start."""
        self.begun += 1
        crowd = self.waves[self.begun - 1]
        crowd.begin(snapshot, until)
        return crowd

    def under_way(self, snapshot: Snapshot, now: float) -> bool:
        """Whether pods of the last wave are still on their way."""
        return self.wave is not None and self.wave.settling(snapshot, now)

    def give_up(self, owner: Owner) -> None:
        """Wait for no more pods of a controller than later waves bring."""
        self.slots[owner] = [index for index in self.slots[owner] if index >= self.reach]
        if not self.slots[owner]:
            del self.slots[owner]


def plan_of(
    command: Command, claims: Iterable[str], snapshot: Snapshot, *, seen_by: float = 0.0
) -> Steering:
    """The steering of a command whose replacements are `claims`, in order."""
    names = tuple(claims)
    slots: dict[Owner, list[int]] = {}
    ahead: dict[str, Owner | None] = {}
    rest: list[dict[str, Owner | None]] = [{} for _ in names]
    for key, home in sorted(command.moves.items()):
        prefix, _, index = home.partition(":")
        pod = snapshot.pods.get(key)
        owner = None if pod is None else owner_of(pod)
        if prefix != "replacement":
            ahead[key] = owner
            continue
        rest[int(index)][key] = owner
        if owner is not None:
            slots.setdefault(owner, []).append(int(index))
    for indices in slots.values():
        indices.sort()
    waves: list[dict[str, Owner | None]] = []
    last: list[int] = []
    for row, pods in enumerate(rest):
        if waves and len(waves[-1]) + len(pods) <= WAVE_PODS:
            waves[-1].update(pods)
            last[-1] = row
        else:
            waves.append(dict(pods))
            last.append(row)
    return Steering(
        names, slots, _crowd(ahead), tuple(map(_crowd, waves)), tuple(last), seen_by=seen_by
    )


def _crowd(pods: Mapping[str, Owner | None]) -> Crowd:
    return Crowd(frozenset(pods), Counter(o for o in pods.values() if o is not None))


def owner_of(pod: core.Pod) -> Owner | None:
    """Who makes the pod's successor; None for a pod that has none."""
    controller = controller_of(pod)
    return None if controller is None else (pod.metadata.namespace or "default", controller.uid)


def assign(steering: Steering, snapshot: Snapshot) -> None:
    """Choose replacements for pending successors; each slot is used once."""
    claimed = steering.claimed
    for pod in snapshot.pods.values():
        if pod.spec.node_name or not is_active(pod) or pod.metadata.uid in claimed:
            continue
        owner = owner_of(pod)
        slots = steering.slots.get(owner) if owner is not None else None
        if slots and slots[0] < steering.reach:
            steering.assigned.setdefault(slots.pop(0), []).append(pod)
    # A successor that found room elsewhere leaves its slot for nobody.
    if steering.wave is not None:
        for owner in steering.wave.arrived(snapshot, steering.claimed):
            if owner in steering.slots:
                steering.give_up(owner)


def homes(steering: Steering, snapshot: Snapshot) -> Mapping[int, str]:
    """The Nodes of the replacements that have one, by index."""
    names = {}
    for index, name in enumerate(steering.claims):
        claim = snapshot.node_claims.get(name)
        if claim is not None and claim.status.node_name:
            names[index] = claim.status.node_name
    return names


def stranded(snapshot: Snapshot, steered: Container[str]) -> list[core.Pod]:
    """Pods nominated to a replacement that nobody steers to any more, and that never landed.

    Provisioning leaves a pod with a nominated node alone: kube-scheduler may be about to bind it.
    `steered` are the NodeClaims of the steerings under way.
    """
    found = [
        pod
        for node in snapshot.state_nodes.values()
        if node.nominated
        and node.claim is not None
        and REPLACES in node.claim.metadata.annotations
        and node.claim.name not in steered
        for pod in node.nominated
    ]
    return sorted(found, key=lambda p: p.key)
