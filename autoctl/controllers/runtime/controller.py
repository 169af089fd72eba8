"""The contract between a controller and the manager that runs it.

A `Controller` reconciles one object at a time, named by its key; a `Periodic` runs over everything
again and again. Either says, in its `Registration`, which objects' changes concern it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from autoctl.ports.kubernetes import Resource
from autoctl.state.reflector import Extent


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconcile asks for: to be called again after `requeue_after` seconds, or not."""

    requeue_after: float | None = None


DONE = Result()


@runtime_checkable
class Controller(Protocol):
    """Brings one object nearer to what it should be, however often it is called.

    `reconcile` raises when it could not do its part; the key then comes back with a growing delay.
    One key is never reconciled twice at the same time.
    """

    @property
    def name(self) -> str:
        """The controller's name in logs and metrics, such as `nodeclaim.lifecycle`."""
        ...

    async def reconcile(self, key: str) -> Result:
        """Reconcile the object `name` or `namespace/name`; it may be gone by now."""
        ...


@runtime_checkable
class Periodic(Protocol):
    """Looks at the whole cluster, acts, and says when to look again.

    `run_once` raises when it failed; it then runs again after a growing delay.
    """

    @property
    def name(self) -> str:
        """The controller's name in logs and metrics, such as `disruption`."""
        ...

    async def run_once(self) -> float:
        """Do one pass and return the seconds until the next (0: at once)."""
        ...


KeyMapper: TypeAlias = Callable[[str | None, str], Iterable[str]]
"""From the namespace and name of a changed object to the keys that this change concerns."""


def own_key(namespace: str | None, name: str) -> tuple[str, ...]:
    """The changed object's own key."""
    return (f"{namespace}/{name}" if namespace else name,)


@dataclass(frozen=True, slots=True)
class Watch:
    """Changes of `resource` concern the controller, under the keys that `keys` tells.

    Changes of less than `extent` do not: who looks at specs alone, or counts objects, need not be
    woken by every status.
    """

    resource: Resource
    keys: KeyMapper = own_key
    extent: Extent = Extent.STATUS


@dataclass(frozen=True, slots=True)
class Registration:
    """How the manager runs one controller.

    `concurrency` reconciles of different keys run at once; failed keys come back after `base_delay`
    to `max_delay` seconds. A change of a watched object wakes a `Periodic` early, but no sooner
    than `rest` seconds after its last pass (it may itself ask for less).
    """

    controller: Controller | Periodic
    watches: tuple[Watch, ...] = ()
    concurrency: int = 10
    base_delay: float = 1.0
    max_delay: float = 60.0
    rest: float = 0.0
