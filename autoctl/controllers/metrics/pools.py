"""What NodePools have, may have and cost, what uses up their budgets; the catalog's offers."""

from __future__ import annotations

from operator import is_

from autoctl.catalog.model import InstanceType
from autoctl.catalog.units import amounts
from autoctl.controllers.disruption.budgets import BudgetLedger
from autoctl.controllers.disruption.model import Reason
from autoctl.controllers.metrics.nodes import in_units, resource_type
from autoctl.controllers.metrics.series import Series
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.state.pricing import is_priced, node_prices
from autoctl.state.problem import pool_usage
from autoctl.state.snapshot import Snapshot

_REASONS = (Reason.UNDERUTILIZED, Reason.EMPTY, Reason.DRIFTED)


class PoolMetrics:
    """The gauges of NodePools."""

    def __init__(self, metrics: Metrics) -> None:
        self._usage = Series(metrics.nodepools_usage)
        self._limit = Series(metrics.nodepools_limit)
        self._cost = Series(metrics.nodepools_cost)
        self._cost_errors = metrics.nodepools_cost_errors
        self._unpriced: set[str] = set()
        self._consuming = Series(metrics.nodepools_nodes_consuming_budgets)

    def update(self, snapshot: Snapshot) -> None:
        """Measure all pools."""
        usage = pool_usage(snapshot)
        limits = {p.name: amounts(p.spec.limits) for p in snapshot.node_pools.values()}
        for series, found in ((self._usage, usage), (self._limit, limits)):
            series.replace(
                {
                    (resource_type(resource), pool): in_units(resource, amount)
                    for pool, resources in found.items()
                    for resource, amount in resources.items()
                }
            )
        cost: dict[str, float] = dict.fromkeys(snapshot.node_pools, 0.0)
        prices = node_prices(snapshot)
        for name, node in snapshot.state_nodes.items():
            if node.pool in cost:
                cost[node.pool] += prices.get(name, 0.0)
        self._count_unpriced(snapshot)
        self._cost.replace({(pool,): value for pool, value in cost.items()})
        ledger = BudgetLedger(snapshot)
        self._consuming.replace(
            {
                (pool, reason.value): float(ledger.disrupting(pool))
                for pool in snapshot.node_pools
                for reason in _REASONS
            }
        )

    def _count_unpriced(self, snapshot: Snapshot) -> None:
        """Nodes missing from the cost because nothing is known of their offering: once each."""
        unpriced = {
            name: node.pool
            for name, node in snapshot.state_nodes.items()
            if node.pool in snapshot.node_pools
            and node.initialized
            and not is_priced(node, snapshot)
        }
        for name in unpriced.keys() - self._unpriced:
            self._cost_errors.labels(unpriced[name]).inc()
        self._unpriced = set(unpriced)


class OfferMetrics:
    """The gauges of what NodeClasses can launch."""

    def __init__(self, metrics: Metrics) -> None:
        self._cpu = Series(metrics.instance_type_cpu_cores)
        self._memory = Series(metrics.instance_type_memory_bytes)
        self._price = Series(metrics.offering_price_estimate)
        self._available = Series(metrics.offering_available)
        self._seen: tuple[tuple[InstanceType, ...], ...] = ()

    def update(self, snapshot: Snapshot) -> None:
        """Measure all offerings; nothing is done while they are the same objects."""
        seen = tuple(snapshot.instance_types.values())
        if len(seen) == len(self._seen) and all(map(is_, seen, self._seen)):
            return
        self._seen = seen
        types = [t for found in snapshot.instance_types.values() for t in found]
        self._cpu.replace({(t.name,): t.capacity.get("cpu", 0) / 1000 for t in types})
        self._memory.replace({(t.name,): float(t.capacity.get("memory", 0)) for t in types})
        offers = [((t.name, o.capacity_type, o.zone), o) for t in types for o in t.offerings]
        self._price.replace({key: offer.price for key, offer in offers})
        self._available.replace({key: float(offer.available) for key, offer in offers})
