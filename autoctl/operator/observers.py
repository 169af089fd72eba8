"""What happens at the seams, as metrics."""

from __future__ import annotations

import asyncio
import platform
from collections import Counter

from autoctl import __version__
from autoctl.controllers.runtime.manager import Manager
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.kubernetes import Resource
from autoctl.state.cluster import ClusterState

REPORT_SECONDS = 5.0


class ApiObserver:
    """Requests to the API server; an `autoctl.kube.client.Observer`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, method: str, resource: Resource, code: int, seconds: float) -> None:
        self._metrics.client_requests.labels(str(code or "<error>"), method).inc()
        self._metrics.client_request_duration.labels(
            method, resource.group, resource.version, resource.kind
        ).observe(seconds)


class CloudObserver:
    """Requests to AWS; an `autoctl.aws.call.CallObserver`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def called(
        self, service: str, operation: str, seconds: float, error: str | None, status: int
    ) -> None:
        request = _request(service, operation, status)
        self._metrics.aws_attempts.labels(*request).inc()
        self._metrics.aws_attempt_duration.labels(*request).observe(seconds)
        labels = (service, operation, "aws")
        self._metrics.cloudprovider_duration.labels(*labels).observe(seconds)
        if error is not None:
            self._metrics.cloudprovider_errors.labels(*labels, error).inc()

    def requested(
        self, service: str, operation: str, seconds: float, attempts: int, status: int
    ) -> None:
        request = _request(service, operation, status)
        self._metrics.aws_requests.labels(*request).inc()
        self._metrics.aws_request_duration.labels(*request).observe(seconds)
        self._metrics.aws_retries.labels(*request).observe(attempts - 1)


def _request(service: str, operation: str, status: int) -> tuple[str, str, str]:
    """Service, action and code as dashboards of the Go SDK's metrics know them."""
    name = service.capitalize() if service == "pricing" else service.upper()
    action = "".join(part.capitalize() for part in operation.split("_"))
    return name, action, str(status)


class BatchObserver:
    """Closed batches of AWS requests."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, name: str, size: int, seconds: float) -> None:
        self._metrics.batch_size.labels(name).observe(size)
        self._metrics.batch_time.labels(name).observe(seconds)


class StateReporter:
    """Keeps those gauges right that nothing in particular changes."""

    def __init__(self, state: ClusterState, manager: Manager, metrics: Metrics) -> None:
        self._state = state
        self._manager = manager
        self._metrics = metrics
        self._restarts: Counter[Resource] = Counter()
        self._unsynced_since: float | None = None
        metrics.build_info.labels(
            __version__, f"python{platform.python_version()}", platform.machine(), ""
        ).set(1)

    async def run(self) -> None:
        """Report every few seconds until cancelled."""
        while True:
            self.report()
            await asyncio.sleep(REPORT_SECONDS)

    def report(self) -> None:
        """Set all gauges now."""
        now = asyncio.get_running_loop().time()
        synced = self._state.synced
        if synced:
            self._unsynced_since = None
        elif self._unsynced_since is None:
            self._unsynced_since = now
        since = now if self._unsynced_since is None else self._unsynced_since
        self._metrics.cluster_state_synced.set(int(synced))
        self._metrics.cluster_state_unsynced_time.set(now - since)
        self._metrics.cluster_state_node_count.set(len(self._state.nodes.reflector))
        for resource, reflector in self._state.reflectors().items():
            new = reflector.restarts - self._restarts[resource]
            self._metrics.watch_restarts.labels(str(resource)).inc(new)
            self._restarts[resource] = reflector.restarts
        self._manager.report()
