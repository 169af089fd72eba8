"""`clock`: tells of clocks that jumped.

What a jump does, and does not do, is decided where time is read (`SteadyClock`) and where many
lifetimes may have ended at once (`nodeclaim.expiration`). People hear of it here: an event on every
NodePool, and a metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from autoctl.controllers.objects import reference
from autoctl.controllers.runtime.events import Event, EventRecorder
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.kubernetes import NODE_POOLS
from autoctl.ports.steady import Jump, Origin, SteadyClock
from autoctl.state.cluster import ClusterState

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

PERIOD_SECONDS: Final = 10.0
"""Between two looks; a clock that is slewed gains less than a step in that time."""


@dataclass
class ClockController:
    """Periodic."""

    clock: SteadyClock
    state: ClusterState
    events: EventRecorder
    metrics: Metrics
    name: str = "clock"

    async def run_once(self) -> float:
        for jump in self.clock.take_jumps():
            self._tell(jump)
        self.metrics.clock_correction.set(self.clock.correction.total_seconds())
        return PERIOD_SECONDS

    def _tell(self, jump: Jump) -> None:
        direction = "forward" if jump.seconds > 0 else "back"
        self.metrics.clock_jumps.labels(jump.origin.value, direction).inc()
        message = _message(jump, direction)
        _log.warning("a clock jumped", clock=jump.origin.value, seconds=round(jump.seconds, 1))
        for pool in self.state.node_pools.reflector:
            self.events.publish(
                Event(reference(NODE_POOLS, pool), "ClockJumped", message, type="Warning")
            )


def _message(jump: Jump, direction: str) -> str:
    length = timedelta(seconds=round(abs(jump.seconds)))
    if jump.origin is Origin.MACHINE:
        return (
            f"The operator's clock is {length} {direction} of where it should be: ages and "
            "deadlines go by the API server's time"
        )
    text = f"The API server's time has jumped {length} {direction}"
    if jump.seconds > 0:
        text += ": nodes that became too old by that go as budgets allow"
    return text
