"""What the steps of a scenario do to the simulated world."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from autoctl.ports.kubernetes import (
    DEPLOYMENTS,
    NODE_POOLS,
    REPLICA_SETS,
    RESOURCES,
    STATEFUL_SETS,
    AlreadyExists,
    ApiError,
    NotFound,
    Object,
)
from autoctl.sim.cloud.faults import parse_fault
from autoctl.simulate.cluster_faults import play_cluster_fault
from autoctl.simulate.fault_fields import CLUSTER_FAULTS
from autoctl.simulate.recorder import DecisionRecord, Recorder
from autoctl.simulate.scenario import Reference, Scale, Step
from autoctl.simulate.world import World

_SCALED: Final = {
    "Deployment": DEPLOYMENTS,
    "ReplicaSet": REPLICA_SETS,
    "StatefulSet": STATEFUL_SETS,
    "NodePool": NODE_POOLS,
}

Action = Callable[[], Awaitable[None]]


class StepError(Exception):
    """A step of the scenario that the simulated API server refused."""


@dataclass
class Steps:
    """Turns steps into actions on one world.

    `apply` changes an object as `kubectl apply` does: what the object was last applied with and
    the new manifest no longer has goes; what others wrote stays.
    """

    world: World
    recorder: Recorder
    _applied: dict[tuple[str, str | None, str], Object] = field(default_factory=dict)
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    def began_with(self, objects: Iterable[Object]) -> None:
        """Remember what the world was started with: it counts as applied."""
        for obj in objects:
            self._applied[self._identity(obj)] = obj

    def actions(self, step: Step, index: int) -> Iterator[Action]:
        """What step number `index` does, in order. The actions raise `StepError`."""
        for obj in step.apply or ():
            yield self._applying(obj, index)
        if step.scale is not None:
            yield self._scaling(step.scale, index)
        if step.delete is not None:
            yield self._deleting(step.delete, index)
        if step.fault is not None:
            yield self._breaking(step.fault)

    async def stop(self) -> None:
        """End the faults that still last."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    def _identity(self, obj: Object) -> tuple[str, str | None, str]:
        resource = self.world.cluster.resource_of(obj)
        namespace = obj["metadata"].get("namespace") or "default"
        return resource.plural, namespace if resource.namespaced else None, obj["metadata"]["name"]

    def _applying(self, obj: Object, index: int) -> Action:
        async def apply() -> None:
            cluster = self.world.cluster
            try:
                resource = cluster.resource_of(obj)
            except KeyError as error:
                raise StepError(
                    f"steps[{index}].apply: {obj.get('kind')} is not simulated"
                ) from error
            identity = self._identity(obj)
            _, namespace, name = identity
            if namespace:
                cluster.ensure_namespace(namespace)
            try:
                try:
                    await cluster.users.create(resource, obj, namespace)
                except AlreadyExists:
                    patch = apply_patch(self._applied.get(identity, {}), obj)
                    await cluster.users.patch(resource, name, patch, namespace)
            except ApiError as error:
                raise StepError(f"steps[{index}].apply: {error}") from error
            self._applied[identity] = obj

        return apply

    def _scaling(self, scale: Scale, index: int) -> Action:
        async def change() -> None:
            resource = _SCALED[scale.kind]
            namespace = scale.namespace if resource.namespaced else None
            try:
                await self.world.cluster.users.patch(
                    resource, scale.name, {"spec": {"replicas": scale.replicas}}, namespace
                )
            except ApiError as error:
                raise StepError(f"steps[{index}].scale: {error}") from error

        return change

    def _deleting(self, reference: Reference, index: int) -> Action:
        async def remove() -> None:
            cluster = self.world.cluster
            found = next(
                (
                    r
                    for r in RESOURCES
                    if r.kind == reference.kind and reference.api_version in (None, r.api_version)
                ),
                None,
            )
            if found is None:
                raise StepError(f"steps[{index}].delete: {reference.kind} is not simulated")
            namespace = reference.namespace if found.namespaced else None
            name = reference.name or _pick(cluster.objects(found), namespace, reference.any or 0)
            if name is None:
                return
            try:
                await cluster.users.delete(found, name, namespace)
            except NotFound as error:
                raise StepError(f"steps[{index}].delete: {error}") from error

        return remove

    def _breaking(self, fault: dict[str, Any]) -> Action:
        async def strike() -> None:
            struck: Sequence[str] = ()
            if fault["type"] in CLUSTER_FAULTS:
                task = asyncio.create_task(play_cluster_fault(self.world, fault))
                self._background.add(task)
                task.add_done_callback(self._background.discard)
            else:
                struck = self.world.cloud.inject(parse_fault(fault))
            at, detail = self.recorder.elapsed(), _told(fault)
            record = DecisionRecord(at, "fault", str(fault["type"]), tuple(struck), detail)
            self.recorder.decide(record)

        return strike


def apply_patch(before: Object, after: Object) -> Object:
    """The JSON merge patch (RFC 7386) that `kubectl apply` sends for a custom resource.

    `before` is the manifest of the last apply, `after` the new one: what only `before` has is
    removed by null; lists are replaced whole.
    """
    patch: Object = {key: None for key in before if key not in after}
    for key, value in after.items():
        known = before.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            patch[key] = apply_patch(known, value)
        else:
            patch[key] = value
    return patch


def _told(fault: dict[str, Any]) -> str:
    """What a fault selects and how long it lasts: `zones us-west-2a, for 30m`."""
    return ", ".join(
        f"{field} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for field, value in fault.items()
        if field != "type"
    )


def _pick(objects: Iterable[Object], namespace: str | None, number: int) -> str | None:
    """The name of the `number`-th object that nobody deletes yet, modulo how many there are."""
    names = sorted(
        o["metadata"]["name"]
        for o in objects
        if namespace in (None, o["metadata"].get("namespace"))
        and "deletionTimestamp" not in o["metadata"]
    )
    return names[number % len(names)] if names else None
