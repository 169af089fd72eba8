"""`SimCluster`: the parts put together."""

from __future__ import annotations

from collections.abc import Iterable

from autoctl.ports import kubernetes as k8s
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import Object, Resource
from autoctl.sim.cluster.api import SimApi
from autoctl.sim.cluster.faults import Faults
from autoctl.sim.cluster.server import Admission, Defaulting, Server
from autoctl.sim.cluster.store import Store
from autoctl.sim.cluster.timings import Timings

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class SimCluster:
    """A Kubernetes cluster in memory. Make it inside a running event loop.

    `api` is what clients use; `faults` makes it misbehave; `server` and `store` are for the
    simulator itself. An exception in a built-in controller is a defect of the simulator: it is
    raised by every later API call and by `stop`.
    """

    def __init__(
        self,
        clock: Clock,
        rng_seed: int = 0,
        *,
        admission: Admission | None = None,
        defaulting: Defaulting | None = None,
        timings: Timings | None = None,
    ) -> None:
        self.clock = clock
        self.timings = timings or Timings()
        self.store = Store(clock, rng_seed, self.timings.history_window)
        self.store.on_failure = self._fail
        self.server = Server(self.store, admission=admission, defaulting=defaulting)
        self.faults = Faults(rng_seed)
        self.api = SimApi(self.server, self.faults, self.timings, self._check)
        self._failure: Exception | None = None
        for name in _NAMESPACES:
            self.ensure_namespace(name)

    async def start(self) -> None:
        """Start the built-in controllers."""

    async def stop(self) -> None:
        """Stop them. Raises what went wrong in them, if anything did."""
        self._check()

    def ensure_namespace(self, name: str) -> None:
        """Create a namespace where there is none of that name."""
        if self.store.get(k8s.NAMESPACES, name) is None:
            self.server.create(k8s.NAMESPACES, {"metadata": {"name": name}})

    def objects(self, resource: Resource) -> Iterable[Object]:
        """The stored objects themselves, cheaply: read them, never change them."""
        return self.store.objects(resource)

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error

    def _check(self) -> None:
        if self._failure is not None:
            raise RuntimeError("the simulated cluster failed") from self._failure
