"""The filters of one scheduling attempt, in kube-scheduler's order, over arrays of nodes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autoctl.sim.cluster.scheduler.counting import Counting, LabelClass
from autoctl.sim.cluster.scheduler.nodetable import Bools, Ints, NodeTable
from autoctl.sim.cluster.scheduler.podinfo import Constraints, Shape
from autoctl.sim.cluster.scheduler.ports import PortTable
from autoctl.sim.cluster.scheduler.static import StaticFilters

SPREAD_REASON = "node(s) didn't match pod topology spread constraints"
SPREAD_LABEL_REASON = f"{SPREAD_REASON} (missing required label)"
AFFINITY_REASON = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY_REASON = "node(s) didn't match pod anti-affinity rules"
EXISTING_ANTI_AFFINITY_REASON = "node(s) didn't satisfy existing pods anti-affinity rules"
PORTS_REASON = "node(s) didn't have free ports for the requested pod ports"


@dataclass(slots=True)
class Attempt:
    """One pod's way through the filters: which rows are left, and why the others are not."""

    rows: Ints
    left: Bools
    reasons: dict[str, int] = field(default_factory=dict)

    def refuse(self, bad: Bools, reason: str) -> None:
        """Drop the rows of `bad` (a mask over `rows`) that are still left, counting the reason."""
        refused = self.left & bad
        count = int(refused.sum())
        if count:
            self.reasons[reason] = self.reasons.get(reason, 0) + count
            self.left &= ~bad

    def keep(self, good: Bools, reason: str) -> None:
        """Drop the rows that are not in `good`."""
        self.refuse(~good, reason)


def filter_static(attempt: Attempt, static: StaticFilters, columns: Ints) -> None:
    """Unschedulable nodes, taints, node selector and affinity."""
    numbers = columns[:, static.REASON]
    for number in np.flatnonzero(np.bincount(numbers)).tolist():
        if number:
            attempt.refuse(numbers == number, static.reasons[number])


def filter_ports(attempt: Attempt, ports: PortTable, shape: Shape) -> None:
    """Host ports that another pod of the node has."""
    if shape.host_ports:
        attempt.refuse(np.isin(attempt.rows, ports.conflicts(shape.host_ports)), PORTS_REASON)


def filter_resources(attempt: Attempt, table: NodeTable, shape: Shape) -> None:
    """Requests against what is free; a node may be counted under several resources."""
    refused = np.zeros(len(attempt.rows), dtype=np.bool_)
    for resource, amount in shape.requests.items():
        if amount == 0:
            continue
        column = table.column(resource)
        free = table.allocatable[attempt.rows, column] - table.used[attempt.rows, column]
        short = attempt.left & (free < amount)
        count = int(short.sum())
        if count:
            reason = "Too many pods" if resource == "pods" else f"Insufficient {resource}"
            attempt.reasons[reason] = attempt.reasons.get(reason, 0) + count
            refused |= short
    attempt.left &= ~refused


def filter_spread(
    attempt: Attempt,
    table: NodeTable,
    counting: Counting,
    constraints: Constraints,
    label_class: LabelClass,
    all_rows: Ints,
    columns: Ints,
    static: StaticFilters,
) -> None:
    """Hard topology spread constraints.

    Domains are those of nodes that have every topology key and, by policy, fit the pod's node
    affinity and taints. The skew of a node is what its domain would hold with this pod, less the
    smallest count of any domain; fewer domains than minDomains make that smallest count zero.
    `columns` are the static columns of `all_rows`.
    """
    hard = [c for c in constraints.spread if c.hard]
    if not hard:
        return
    eligible = np.ones(len(all_rows), dtype=np.bool_)
    for constraint in hard:
        eligible &= table.domains_of(constraint.topology_key).of_row[all_rows] >= 0
    for constraint in hard:
        counted = eligible.copy()
        if constraint.honor_affinity:
            counted &= columns[:, static.AFFINITY_OK] == 1
        if constraint.honor_taints:
            counted &= columns[:, static.TAINTS_OK] == 1
        domains = table.domains_of(constraint.topology_key)
        rows = all_rows[counted]
        counts = domains.sums(rows, counting.counter((constraint.term,)).live[rows])
        present = np.flatnonzero(np.bincount(domains.of_row[rows]))
        least = 0
        if len(present) >= constraint.min_domains and len(present):
            least = int(counts[present].min())
        own = int(counting.means((constraint.term,), label_class))
        domain = domains.of_row[attempt.rows]
        attempt.refuse(domain < 0, SPREAD_LABEL_REASON)
        inside = np.zeros(len(counts) + 1, dtype=np.int64)
        inside[:-1] = counts
        skew = inside[domain] + own - least
        attempt.refuse((domain >= 0) & (skew > constraint.max_skew), SPREAD_REASON)


def filter_inter_pod(
    attempt: Attempt,
    table: NodeTable,
    counting: Counting,
    constraints: Constraints,
    label_class: LabelClass,
    all_rows: Ints,
) -> None:
    """Required inter-pod affinity and anti-affinity, both ways.

    The pods that satisfy affinity match all of its terms. The first pod of a group that attracts
    itself may go to any node with the topology keys.
    """
    if constraints.affinity:
        terms = tuple(item.term for item in constraints.affinity)
        matching = counting.counter(terms).total
        bootstrap = not matching[all_rows].any() and counting.means(terms, label_class)
        good = np.ones(len(attempt.rows), dtype=np.bool_)
        for item in constraints.affinity:
            domains = table.domains_of(item.topology_key)
            domain = domains.of_row[attempt.rows]
            if bootstrap:
                good &= domain >= 0
            else:
                good &= _holds(domains.sums(all_rows, matching[all_rows]), domain)
        attempt.keep(good, AFFINITY_REASON)
    for item in constraints.anti_affinity:
        domains = table.domains_of(item.topology_key)
        found = domains.sums(all_rows, counting.counter((item.term,)).total[all_rows])
        attempt.refuse(_holds(found, domains.of_row[attempt.rows]), ANTI_AFFINITY_REASON)
    for carried in label_class.meant_by:
        if carried.kind == "anti":
            domains = table.domains_of(carried.item.topology_key)
            found = domains.sums(all_rows, carried.rows[all_rows])
            attempt.refuse(
                _holds(found, domains.of_row[attempt.rows]), EXISTING_ANTI_AFFINITY_REASON
            )


def _holds(counts: Ints, domain: Ints) -> Bools:
    """Whether the domain of each row has any; rows without domain have none."""
    extended = np.append(counts, 0)
    held: Bools = extended[domain] > 0
    return held
