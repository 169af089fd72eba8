"""The mirror: live copies of all that decisions read, indexed, and snapshots of it.

Reflectors keep the copies. A snapshot copies no object, only the tables of those kinds that changed
since the last one, so that taking one costs little and none is ever changed by what comes later.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from autoctl.api import core
from autoctl.api.capacitybuffer import CapacityBuffer
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodeoverlay import NodeOverlay
from autoctl.api.nodepool import NodePool
from autoctl.catalog.model import InstanceType
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import (
    CAPACITY_BUFFERS,
    CSI_NODES,
    DAEMON_SETS,
    NAMESPACES,
    NODE_CLAIMS,
    NODE_CLASSES,
    NODE_OVERLAYS,
    NODE_POOLS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    EventType,
    KubernetesApi,
    Resource,
)
from autoctl.state.buffers import Buffer, retained
from autoctl.state.chosen import chosen_node, selected_node
from autoctl.state.daemons import NewestPods, representatives
from autoctl.state.machines import Machines
from autoctl.state.nominations import Nomination, Nominations
from autoctl.state.own_writes import OwnWrites
from autoctl.state.pods import is_refused
from autoctl.state.reflector import Change, Extent, Reflector, split_key
from autoctl.state.refusals import Refusals
from autoctl.state.scheduler_signs import SchedulerSigns
from autoctl.state.snapshot import Snapshot
from autoctl.state.tables import Index, Table
from autoctl.state.totals import PoolTotals

T = TypeVar("T")

_TIMESTAMP_RESOLUTION = timedelta(seconds=1)
"""Of timestamps in the API."""

Listener = Callable[[Resource, "str | None", str, Extent], None]
"""Hears the resource, namespace and name of every object that changed, and how much of it."""


class InstanceTypeSource(Protocol):
    """Where a snapshot has its instance types from; called in the event loop, must not wait."""

    def launchable(self, node_class: NodeClass) -> tuple[InstanceType, ...]:
        """What the class can launch, as known now; empty while it is not ready."""
        ...

    def revision(self) -> int:
        """Grows when the same class may launch something else than before."""
        ...


class NoInstanceTypes:
    """A source without anything, for readers of the mirror that launch nothing."""

    def launchable(self, node_class: NodeClass) -> tuple[InstanceType, ...]:
        del node_class
        return ()

    def revision(self) -> int:
        return 0


class ClusterState:
    """The mirror of one cluster.

    Run `run` in a task; wait for `synced` before deciding anything. Whatever lets a decision know
    of another one that is still on its way (promised pods, NodeClaims just made, nodes a command is
    taking away) is kept here as well.
    """

    def __init__(
        self,
        api: KubernetesApi,
        clock: Clock,
        *,
        rng: random.Random,
        instance_types: InstanceTypeSource | None = None,
    ) -> None:
        self._clock = clock
        self._types = instance_types or NoInstanceTypes()
        self._listeners: list[Listener] = []
        self._tables: dict[Resource, Table[Any]] = {}
        self.own_writes = OwnWrites()

        def keep_table(resource: Resource, reflector: Reflector[T]) -> Table[T]:
            found = Table(reflector)
            self._tables[resource] = found
            self.own_writes.follow(resource, reflector)
            return found

        def table(resource: Resource, model: type[T]) -> Table[T]:
            return keep_table(resource, Reflector(api, resource, model, rng=rng))

        def custom(
            resource: Resource,
            parse: Callable[[Any], T],
            keep: Callable[[T], bool] | None = None,
        ) -> Table[T]:
            return keep_table(resource, Reflector(api, resource, rng=rng, parse=parse, keep=keep))

        self.pods = table(PODS, core.Pod)
        self.nodes = table(NODES, core.Node)
        # Those that refer to other kinds of node classes are other controllers'.
        self.node_claims = custom(
            NODE_CLAIMS, NodeClaim.from_dict, lambda c: c.spec.node_class_ref.ours
        )
        self.node_pools = custom(
            NODE_POOLS, NodePool.from_dict, lambda p: p.spec.template.spec.node_class_ref.ours
        )
        self.node_classes = custom(NODE_CLASSES, NodeClass.from_dict)
        self.node_overlays = custom(NODE_OVERLAYS, NodeOverlay.from_dict)
        self.capacity_buffers = custom(CAPACITY_BUFFERS, CapacityBuffer.from_dict)
        self.daemon_sets = table(DAEMON_SETS, core.DaemonSet)
        self.disruption_budgets = table(POD_DISRUPTION_BUDGETS, core.PodDisruptionBudget)
        self.volume_claims = table(PERSISTENT_VOLUME_CLAIMS, core.PersistentVolumeClaim)
        self.volumes = table(PERSISTENT_VOLUMES, core.PersistentVolume)
        self.storage_classes = table(STORAGE_CLASSES, core.StorageClass)
        self.csi_nodes = table(CSI_NODES, core.CSINode)
        self.volume_attachments = table(VOLUME_ATTACHMENTS, core.VolumeAttachment)
        self.namespaces = table(NAMESPACES, core.Namespace)

        self.pods_by_node = Index(self.pods.reflector, lambda p: p.spec.node_name or None)
        self._unbound = Index(self.pods.reflector, lambda p: None if p.spec.node_name else "")
        self._newest_daemons = NewestPods()
        self.pods.reflector.subscribe(self._newest_daemons.changed)
        self.nodes_by_provider = Index(self.nodes.reflector, lambda n: n.spec.provider_id or None)
        self.claims_by_provider = Index(
            self.node_claims.reflector, lambda c: c.status.provider_id or None
        )
        self.claims_by_node = Index(
            self.node_claims.reflector, lambda c: c.status.node_name or None
        )
        self.claims_by_pool = Index(self.node_claims.reflector, lambda c: c.node_pool)
        self.claims_by_class = Index(
            self.node_claims.reflector, lambda c: c.spec.node_class_ref.name
        )
        # Every snapshot asks; hardly ever is there one.
        self._being_made = Index(
            self.volume_claims.reflector, lambda c: None if selected_node(c) is None else ""
        )
        self.attachments_by_node = Index(
            self.volume_attachments.reflector, lambda a: a.spec.node_name or None
        )

        self.totals = PoolTotals(
            self.nodes.reflector,
            self.node_claims.reflector,
            self.nodes_of_claim,
            self.claims_by_provider,
        )
        """What the machines of each NodePool have together."""
        self._machines = Machines(
            self.pods.reflector,
            self.nodes.reflector,
            self.pods_by_node,
            self.nodes_by_provider,
        )

        self.nominations = Nominations()
        self.refusals = Refusals()
        self._signs = SchedulerSigns()
        self._assumed: dict[str, NodeClaim] = {}
        self._born_here: set[str] = set()
        self._pod_events: dict[str, datetime] = {}
        self._stamped: dict[str, tuple[NodeClaim, datetime, NodeClaim]] = {}
        """NodeClaims of the mirror, their times that are still to be written, copies with these."""
        self._disrupting: frozenset[str] = frozenset()
        self.buffers: Mapping[str, Buffer] = MappingProxyType({})
        """The active CapacityBuffers as last resolved."""
        self._resolved: frozenset[str] = frozenset()
        self._taken: tuple[tuple[int, ...], Snapshot] | None = None
        """The last snapshot, and the revision it was taken at."""
        self._assumptions = 0
        self._known_claims: tuple[tuple[int, int], Mapping[str, NodeClaim]] | None = None
        """The NodeClaims as decisions see them, and what they were made of."""
        self._synced = False
        self.pods.reflector.subscribe(self._pods_changed)
        self.node_claims.reflector.subscribe(self._claims_changed)
        # Last, so that whoever is told finds tables and indices in their new state.
        for resource, found in self._tables.items():
            found.reflector.subscribe(partial(self._tell, resource))

    async def run(self) -> None:
        """Keep the mirror until cancelled."""
        async with asyncio.TaskGroup() as group:
            for resource, found in self._tables.items():
                group.create_task(found.reflector.run(), name=f"reflector/{resource}")

    @property
    def synced(self) -> bool:
        """Whether every kind has been listed once."""
        if not self._synced:
            # Once listed, a kind stays so.
            self._synced = all(t.reflector.synced.is_set() for t in self._tables.values())
        return self._synced

    async def wait_synced(self) -> None:
        for found in self._tables.values():
            await found.reflector.synced.wait()

    def reflectors(self) -> Mapping[Resource, Reflector[Any]]:
        """All reflectors, for health checks and metrics."""
        return {resource: found.reflector for resource, found in self._tables.items()}

    def listen(self, listener: Listener) -> None:
        """Tell `listener` of every change from now on, and at once of all objects that are there.

        Controllers that read the mirror must be woken through here: who is told by another watch
        may look before the mirror has the change, and then not again.
        """
        self._listeners.append(listener)
        for resource, found in self._tables.items():
            for key in list(found.reflector.store):
                listener(resource, *split_key(key), Extent.EXISTENCE)

    # Objects as controllers look them up, one by one.

    def lags(self, resource: Resource, name: str) -> bool:
        """Whether the mirror has not seen yet what this process wrote into a cluster-wide object.

        Who would write it again leaves it alone, and is woken when the mirror has it.
        """
        return self.own_writes.awaited(resource, name)

    def claim(self, name: str) -> NodeClaim | None:
        return self.node_claims.reflector.get(name)

    def node(self, name: str) -> core.Node | None:
        return self.nodes.reflector.get(name)

    def pool(self, name: str) -> NodePool | None:
        return self.node_pools.reflector.get(name)

    def node_class(self, name: str) -> NodeClass | None:
        return self.node_classes.reflector.get(name)

    def unbound_pods(self) -> Iterable[core.Pod]:
        """The pods that are on no node."""
        return self._unbound[""].values()

    def claim_of_node(self, node: core.Node) -> NodeClaim | None:
        """The NodeClaim of the node's instance."""
        provider = node.spec.provider_id
        return next(iter(self.claims_by_provider[provider].values()), None) if provider else None

    def is_foreign(self, provider_id: str | None) -> bool:
        """Whether the instance is another controller's: its NodeClaim says so."""
        aside = self.node_claims.reflector.aside.values()
        return provider_id is not None and any(c.status.provider_id == provider_id for c in aside)

    def nodes_of_claim(self, claim: NodeClaim) -> tuple[core.Node, ...]:
        """The Nodes of the claim's instance; more than one is a mistake of somebody's."""
        provider = claim.status.provider_id
        return tuple(self.nodes_by_provider[provider].values()) if provider else ()

    def classes_in_use(self) -> frozenset[str]:
        """Names of the NodeClasses that NodeClaims refer to."""
        return frozenset(c.spec.node_class_ref.name for c in self._claims().values())

    # What may be launched, with NodeOverlays applied.

    def types_of_claim(
        self, claim: NodeClaim, sold: Callable[[NodeClass], tuple[InstanceType, ...]]
    ) -> tuple[InstanceType, ...]:
        """The types that `sold` tells of the claim's NodeClass, as its NodePool sees them."""
        if not self.node_overlays.reflector.store:
            node_class = self.node_class(claim.spec.node_class_ref.name)
            return () if node_class is None else sold(node_class)
        return self._market(sold).types_of_claim(claim)

    def types_of_pool(self, pool: NodePool) -> tuple[InstanceType, ...]:
        """What the pool's NodeClass can launch now, as the pool sees it."""
        return self._market(self._types.launchable).types_of_pool(pool.name)

    def _market(self, sold: Callable[[NodeClass], tuple[InstanceType, ...]]) -> Snapshot:
        """The part of a snapshot that instance types depend on."""
        return Snapshot(
            now=self._clock.now(),
            node_pools=self.node_pools.copy(),
            node_overlays=self.node_overlays.copy(),
            instance_types={name: sold(c) for name, c in self.node_classes.copy().items()},
        )

    # What decisions tell each other.

    def assume(self, claim: NodeClaim) -> None:
        """Count a NodeClaim that this process just created, until the mirror has it."""
        self._born_here.add(claim.metadata.uid)
        if self.claim(claim.name) is None:
            self._assumed[claim.name] = claim
            self._assumptions += 1

    def born_here(self, claim: NodeClaim) -> bool:
        """Whether this process created the NodeClaim."""
        return claim.metadata.uid in self._born_here

    def note_pod_event(self, claim: str, when: datetime) -> None:
        """Count a NodeClaim's `lastPodEventTime` that is still to be written."""
        known = self._pod_events.get(claim)
        if known is None or known < when:
            self._pod_events[claim] = when
            self._assumptions += 1

    def set_buffers(self, found: Mapping[str, Buffer], looked_at: Iterable[str]) -> None:
        """Take over what CapacityBuffers come to; `looked_at` are the keys of all that there are.

        What did not change stays the same object.
        """
        kept = {key: retained(self.buffers.get(key), buffer) for key, buffer in found.items()}
        if kept != self.buffers:
            self.buffers = MappingProxyType(kept)
            self._assumptions += 1
        self._resolved = frozenset(looked_at)

    @property
    def buffers_known(self) -> bool:
        """Whether every CapacityBuffer has been looked at, so that its room is not taken away."""
        return self.capacity_buffers.reflector.store.keys() <= self._resolved

    def set_disrupting(self, claims: Iterable[str]) -> None:
        """Name all NodeClaims that commands in flight are taking away."""
        self._disrupting = frozenset(claims)

    def revision(self) -> tuple[int, ...]:
        """Changes with everything that could change a decision, the time aside."""
        return (
            self._assumptions,
            self._types.revision(),
            *(found.revision for found in self._tables.values()),
        )

    def snapshot(self, now: datetime | None = None) -> Snapshot:
        """The cluster as known now; `now` defaults to the clock's time."""
        instant = self._clock.now() if now is None else now
        revision = self.revision()
        if self._taken is None or self._taken[0] != revision:
            self._taken = revision, self._tables_now(instant)
        return self._taken[1].but(
            now=instant,
            nominations=self._nominated(instant),
            refused=self._refused(instant),
            resting=self.refusals.resting(instant, self._keys()),
            disrupting=self._disrupting,
        )

    def _tables_now(self, now: datetime) -> Snapshot:
        """A snapshot without what time alone may change."""
        claims = self._claims()
        classes = self.node_classes.copy()
        pods = self.pods.copy()
        nodes = self.nodes.copy()
        snapshot = Snapshot(
            now=now,
            pods=pods,
            nodes=nodes,
            node_claims=claims,
            node_pools=self.node_pools.copy(),
            node_classes=classes,
            node_overlays=self.node_overlays.copy(),
            daemon_sets=self.daemon_sets.copy(),
            disruption_budgets=self.disruption_budgets.copy(),
            volume_claims=self.volume_claims.copy(),
            volumes=self.volumes.copy(),
            storage_classes=self.storage_classes.copy(),
            csi_nodes=self.csi_nodes.copy(),
            volume_attachments=self.volume_attachments.copy(),
            namespaces=self.namespaces.copy(),
            buffers=self.buffers,
            instance_types={name: self._types.launchable(c) for name, c in classes.items()},
        )
        # These are cached properties: what they would compute is known already.
        snapshot.__dict__["state_nodes"] = self._machines.joined(nodes, claims)
        snapshot.__dict__["daemons"] = representatives(
            snapshot.daemon_sets.values(), self._newest_daemons.of
        )
        return snapshot

    def _claims(self) -> Mapping[str, NodeClaim]:
        known = self.node_claims.copy()
        if not self._assumed and not self._pod_events:
            return known
        revision = (self.node_claims.revision, self._assumptions)
        if self._known_claims is None or self._known_claims[0] != revision:
            self._known_claims = revision, self._claims_now(known)
        return self._known_claims[1]

    def _claims_now(self, known: Mapping[str, NodeClaim]) -> Mapping[str, NodeClaim]:
        """The mirror's NodeClaims with what this process knows beyond it."""
        found = {**known, **self._assumed}
        for name, when in self._pod_events.items():
            claim = found.get(name)
            if claim is None:
                continue
            stamped = self._stamped.get(name)
            if stamped is None or stamped[0] is not claim or stamped[1] != when:
                status = claim.status.model_copy(update={"last_pod_event_time": when})
                copy = claim.model_copy(update={"status": status})
                stamped = self._stamped[name] = claim, when, copy
            found[name] = stamped[2]
        return MappingProxyType(found)

    def _nominated(self, now: datetime) -> Mapping[str, str]:
        pods = self.pods.reflector.store

        def uid_of(key: str) -> str | None:
            pod = pods.get(key)
            return pod.metadata.uid if pod is not None else None

        def state_of(target: str) -> bool | None:
            claim = self.claim(target) or self._assumed.get(target)
            if claim is not None:
                return None if claim.deleting else claim.initialized
            node = self.node(target)
            return None if node is None or node.metadata.deletion_timestamp else True

        chosen = self._chosen()

        def lapsed(key: str, promise: Nomination) -> None:
            pod = pods[key]
            if is_refused(pod) and key not in chosen:
                self.refusals.lapsed(
                    (key, promise.uid),
                    self._machine(promise.target),
                    now,
                    seen=self._signs.seen_since(promise.since, now),
                    others=map(self._machine, self.nodes.reflector.store),
                )

        current = self.nominations.current(now, uid_of, state_of, lapsed)
        return {**current, **chosen}

    def _chosen(self) -> Mapping[str, str]:
        """Pod key -> node that kube-scheduler has chosen, while the pod's volumes are made."""
        found: dict[str, str] = {}
        if not self._being_made[""]:
            return found
        for pod in self.unbound_pods():
            name = chosen_node(pod, self.volume_claims.reflector.get)
            node = None if name is None else self.node(name)
            if node is not None and node.metadata.deletion_timestamp is None:
                found[pod.key] = node.metadata.name
        return found

    def _refused(self, now: datetime) -> Mapping[str, frozenset[str]]:
        """Pod key -> names of Nodes and NodeClaims that are left out for it."""
        found = {}
        for key, targets in self.refusals.affected(now, self._keys()).items():
            claims = (self.claim(name) for name in targets)
            nodes = (c.status.node_name for c in claims if c is not None and c.status.node_name)
            found[key] = targets.union(nodes)
        return found

    def _keys(self) -> Mapping[str, str]:
        """UID -> key of the pods that kube-scheduler refused something."""
        return {p.metadata.uid: p.key for p in self.unbound_pods()} if self.refusals else {}

    def _machine(self, name: str) -> str:
        """A Node's NodeClaim, where it has one."""
        node = self.node(name)
        claim = None if node is None else self.claim_of_node(node)
        return name if claim is None else claim.name

    def _tell(self, resource: Resource, changes: Sequence[Change[Any]]) -> None:
        if not self._listeners:
            return
        for change in changes:
            namespace, name = split_key(change.key)
            extent = change.extent
            for listener in self._listeners:
                listener(resource, namespace, name, extent)

    def _pods_changed(self, changes: Sequence[Change[core.Pod]]) -> None:
        for change in changes:
            before = change.previous
            bound = (
                before is not None and not before.spec.node_name and change.object.spec.node_name
            )
            self._signs.note(change, self._clock.now(), promised=self.nominations.holds(change.key))
            if bound or change.type is EventType.DELETED:
                self.nominations.forget(change.key)
                self.refusals.forget(change.object.metadata.uid)

    def _claims_changed(self, changes: Sequence[Change[NodeClaim]]) -> None:
        for change in changes:
            if self._assumed.pop(change.key, None) is not None:
                self._assumptions += 1
            noted = self._pod_events.get(change.key)
            written = change.object.status.last_pod_event_time
            if noted is not None and (
                change.type is EventType.DELETED
                or (written is not None and noted - written < _TIMESTAMP_RESOLUTION)
            ):
                del self._pod_events[change.key]
                self._stamped.pop(change.key, None)
                self._assumptions += 1
            if change.type is EventType.DELETED:
                self.nominations.forget_target(change.key)
                self._born_here.discard(change.object.metadata.uid)
