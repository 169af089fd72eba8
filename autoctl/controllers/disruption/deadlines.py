"""When a decision could change although nothing in the cluster does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from autoctl.api.cron import CronError, parse_schedule
from autoctl.api.duration import parse_duration
from autoctl.api.nodepool import NodePool
from autoctl.state.pods import do_not_disrupt
from autoctl.state.snapshot import Snapshot


def next_deadline(snapshot: Snapshot) -> datetime | None:
    """The first instant after `snapshot.now` that matters; None when none is known.

    Nodes become quiet, `do-not-disrupt` durations elapse, budgets open or close.
    """
    now = snapshot.now
    return min((t for t in _instants(snapshot) if t > now), default=None)


def _instants(snapshot: Snapshot) -> Iterator[datetime]:
    for node in snapshot.state_nodes.values():
        if node.claim is None or node.pool is None or node.deleting:
            continue
        pool = snapshot.node_pools.get(node.pool)
        period = pool.spec.disruption.quiet_period if pool is not None else None
        since = node.quiet_since
        if since is not None and period is not None:
            yield since + period
        for pod in node.pods:
            if pod.metadata.annotations:
                until = do_not_disrupt(pod, snapshot.now).until
                if until is not None:
                    yield until
    for pool in snapshot.node_pools.values():
        yield from _budget_changes(pool, snapshot.now)


def _budget_changes(pool: NodePool, now: datetime) -> Iterator[datetime]:
    for budget in pool.spec.disruption.budgets:
        if budget.schedule is None or budget.duration is None:
            continue
        length = parse_duration(budget.duration)
        try:
            schedule = parse_schedule(budget.schedule, budget.time_zone)
        except CronError:
            continue
        for start in (schedule.next(now), schedule.next(now - length)):
            if start is not None:
                yield start
                yield start + length
