"""`builtin`: keeps the built-in NodePools and their NodeClass as they are meant to be.

What somebody edits is put back; what is switched off is deleted, and its nodes are drained with it.
An object of such a name that somebody else made is left alone and told about.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from autoctl.api.meta import CustomResource
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import NodePool
from autoctl.aws.eks import ClusterInfo
from autoctl.controllers.builtin.objects import (
    CLASS,
    MANAGED_BY,
    OURS,
    POOLS,
    BuiltinPool,
    node_class,
    node_pool,
)
from autoctl.controllers.objects import merge_diff, reference
from autoctl.controllers.runtime.events import Event, EventRecorder
from autoctl.ports.kubernetes import (
    NODE_CLASSES,
    NODE_POOLS,
    AlreadyExists,
    KubernetesApi,
    NotFound,
    Object,
    Resource,
)
from autoctl.state.cluster import ClusterState

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

PERIOD_SECONDS = 300.0
_TOLD_SECONDS = 3600.0


@dataclass
class BuiltinController:
    """Periodic, woken by changes of NodePools and NodeClasses."""

    api: KubernetesApi
    state: ClusterState
    events: EventRecorder
    cluster: Callable[[], Awaitable[ClusterInfo]]
    wanted: tuple[BuiltinPool, ...]
    role: str
    name: str = "builtin"

    async def run_once(self) -> float:
        if not self.state.synced:
            return 1.0
        if self.wanted and await self._keep_class():
            for name in self.wanted:
                await self._keep(NODE_POOLS, NodePool, node_pool(name), self.state.pool(name))
        await self._remove()
        return PERIOD_SECONDS

    async def _keep_class(self) -> bool:
        info = await self.cluster()
        desired = node_class(self.role, info.subnet_ids, info.security_group_id)
        return await self._keep(NODE_CLASSES, NodeClass, desired, self.state.node_class(CLASS))

    async def _keep(
        self,
        resource: Resource,
        model: type[NodePool | NodeClass],
        desired: Object,
        live: NodePool | NodeClass | None,
    ) -> bool:
        """Make the object what it should be; False where its name is somebody else's."""
        name = desired["metadata"]["name"]
        if live is None:
            try:
                await self.api.create(resource, desired)
            except AlreadyExists:
                # The mirror is behind; its change wakes the next pass.
                return True
            _log.info("built-in object made", kind=resource.kind, name=name)
            return True
        if not _is_ours(live):
            self._tell(resource, live)
            return False
        if live.deleting:
            return True
        patch = _difference(model.from_dict(desired), live, desired)
        if patch:
            _log.info("edit of a built-in object put back", kind=resource.kind, name=name)
            await self.api.patch(resource, name, patch)
        return True

    async def _remove(self) -> None:
        pools = [self.state.pool(name) for name in POOLS]
        for pool in pools:
            if pool is not None and pool.name not in self.wanted and _is_ours(pool):
                await self._delete(NODE_POOLS, pool)
        last = self.state.node_class(CLASS)
        if not self.wanted and last is not None and _is_ours(last):
            users = [
                p
                for p in self.state.node_pools.reflector
                if p.spec.template.spec.node_class_ref.name == CLASS and not p.deleting
            ]
            if all(_is_ours(p) for p in users):
                await self._delete(NODE_CLASSES, last)

    async def _delete(self, resource: Resource, obj: NodePool | NodeClass) -> None:
        if obj.deleting:
            return
        _log.info("built-in object switched off", kind=resource.kind, name=obj.name)
        try:
            await self.api.delete(resource, obj.name, uid=obj.metadata.uid)
        except NotFound:
            return

    def _tell(self, resource: Resource, obj: CustomResource) -> None:
        self.events.publish(
            Event(
                reference(resource, obj),
                "ReservedName",
                f"The name {obj.metadata.name!r} is reserved for a built-in {resource.kind}, which "
                "cannot be made: give this object another name, or switch built-in NodePools off",
                "Warning",
                dedupe_seconds=_TOLD_SECONDS,
            )
        )


def _is_ours(obj: CustomResource) -> bool:
    return obj.metadata.annotations.get(OURS) == "true"


def _difference(meant: NodePool | NodeClass, live: NodePool | NodeClass, desired: Object) -> Object:
    """The merge patch that undoes edits; empty when there are none."""
    patch: Object = {}
    if meant.spec != live.spec:
        patch["spec"] = merge_diff(live.spec.to_dict(), desired["spec"])
    wrong = {k: v for k, v in MANAGED_BY.items() if live.metadata.labels.get(k) != v}
    if wrong:
        patch["metadata"] = {"labels": wrong}
    return patch
