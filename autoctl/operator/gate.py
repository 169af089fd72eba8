"""The write gate: every write asks first whether this replica surely leads at this moment.

A leader that was cut off, or that a long pause held up, must not go on where it stopped. Reads pass
always, so that a standby keeps its mirror warm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autoctl.aws.executor import Executor
from autoctl.ports.forwarding import ForwardingApi
from autoctl.ports.kubernetes import KubernetesApi, Object

Check = Callable[[], None]
"""Raises when this replica must not write."""

_READS = ("describe_", "get_", "list_", "receive_")


class GatedApi(ForwardingApi):
    """A `KubernetesApi` whose writes pass the gate."""

    def __init__(self, api: KubernetesApi, check: Check) -> None:
        super().__init__(api)
        self._check = check

    async def create(self, *args: Any, **kwargs: Any) -> Object:
        self._check()
        return await super().create(*args, **kwargs)

    async def replace(self, *args: Any, **kwargs: Any) -> Object:
        self._check()
        return await super().replace(*args, **kwargs)

    async def patch(self, *args: Any, **kwargs: Any) -> Object:
        self._check()
        return await super().patch(*args, **kwargs)

    async def delete(self, *args: Any, **kwargs: Any) -> None:
        self._check()
        await super().delete(*args, **kwargs)

    async def evict(self, *args: Any, **kwargs: Any) -> None:
        self._check()
        await super().evict(*args, **kwargs)

    async def bind(self, *args: Any, **kwargs: Any) -> None:
        self._check()
        await super().bind(*args, **kwargs)


class GatedExecutor:
    """An executor of boto3 methods: those that change something pass the gate."""

    def __init__(self, executor: Executor, check: Check) -> None:
        self._executor = executor
        self._check = check

    async def run(self, function: Callable[..., Any], /, **arguments: Any) -> Any:
        name: str = getattr(function, "__name__", "")
        if not name.startswith(_READS):
            self._check()
        return await self._executor.run(function, **arguments)
