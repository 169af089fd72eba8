"""Launch templates in EC2: made when first needed, forgotten with their last user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from autoctl.aws.tags import NODE_CLASS
from autoctl.aws.templates import LaunchTemplates
from autoctl.controllers.nodeclass.launch_template import LaunchTemplate
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock

UNUSED_FOR = timedelta(minutes=10)
"""A template that nothing was launched with for so long is deleted; it can be made again."""
_GRACE = timedelta(seconds=30)
"""A launch may be under way with a template although no NodeClaim is left to be seen."""
_RELIST = timedelta(minutes=10)
_SHORTEST_SECONDS = 1.0
_LONGEST_SECONDS = UNUSED_FOR.total_seconds()


@dataclass(slots=True)
class _Known:
    node_class: str
    used: datetime


class TemplateStore:
    """The templates that are there, as far as this process knows."""

    def __init__(
        self, gateway: LaunchTemplates, clock: Clock, metrics: Metrics, *, patience: float = 1.0
    ) -> None:
        """`patience` lengthens the time between looks for templates that others have made."""
        self._gateway = gateway
        self._relist = _RELIST * patience
        self._user_data_bytes = metrics.user_data_bytes
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._making: dict[str, asyncio.Task[None]] = {}
        self._listed: datetime | None = None

    async def ensure(self, template: LaunchTemplate) -> str:
        """Make the template unless it is there; return its name."""
        now = self._clock.now()
        self._user_data_bytes.labels(template.tags[NODE_CLASS]).set(template.user_data_bytes)
        known = self._known.get(template.name)
        if known is not None:
            known.used = now
            return template.name
        making = self._making.get(template.name)
        if making is None:
            making = asyncio.create_task(self._make(template))
            self._making[template.name] = making
            making.add_done_callback(partial(self._made, template.name))
        await asyncio.shield(making)
        return template.name

    def lost(self, name: str) -> None:
        """EC2 says that there is no such template: make it anew next time."""
        self._known.pop(name, None)

    async def collect(self, classes_in_use: Collection[str]) -> timedelta:
        """Delete the templates of classes without NodeClaims, and those long unused.

        Returns how long until the next one may be due.
        """
        now = self._clock.now()
        if self._listed is None or now - self._listed >= self._relist:
            await self._list(now)
        dues = [self._relist]
        for name, known in list(self._known.items()):
            kept = UNUSED_FOR if known.node_class in classes_in_use else _GRACE
            left = known.used + kept - now
            if left > timedelta(0):
                dues.append(left)
            else:
                await self._delete(name)
        return min(dues)

    async def delete_all(self, node_class: str) -> None:
        """Delete every template of the class, which is going."""
        self._user_data_bytes.remove(node_class)
        await self._list(self._clock.now())
        for name, known in list(self._known.items()):
            if known.node_class == node_class:
                await self._delete(name)

    async def _make(self, template: LaunchTemplate) -> None:
        await self._gateway.create(template.name, template.data, template.tags)
        self._known[template.name] = _Known(template.tags[NODE_CLASS], self._clock.now())

    def _made(self, name: str, task: asyncio.Task[None]) -> None:
        """It is over. A failure is told to those who wait, and by nobody when they are all gone."""
        self._making.pop(name, None)
        if not task.cancelled():
            task.exception()

    async def _delete(self, name: str) -> None:
        await self._gateway.delete(name)
        self._known.pop(name, None)

    async def _list(self, now: datetime) -> None:
        for found in await self._gateway.of_cluster():
            known = _Known(found.tags.get(NODE_CLASS, ""), now)
            self._known.setdefault(found.name, known)
        self._listed = now


class TemplateCollector:
    """`launchtemplate.garbagecollection`: periodic; woken with NodeClaims and NodeClasses."""

    name = "launchtemplate.garbagecollection"

    def __init__(self, store: TemplateStore, classes_in_use: Callable[[], Collection[str]]) -> None:
        """`classes_in_use` names the NodeClasses that NodeClaims refer to."""
        self._store = store
        self._classes_in_use = classes_in_use

    async def run_once(self) -> float:
        due = await self._store.collect(self._classes_in_use())
        return min(_LONGEST_SECONDS, max(_SHORTEST_SECONDS, due.total_seconds()))
