"""A scheduling problem prepared for solving: what stays the same while pods are placed."""

from __future__ import annotations

from dataclasses import replace

import numpy.ma  # noqa: F401  # np.unique loads it, which should not fall into the first solve

from autoctl.api import labels
from autoctl.scheduling.daemons import daemons_of
from autoctl.scheduling.defaults import with_default_spread
from autoctl.scheduling.feasibility import Feasibility, build_feasibility
from autoctl.scheduling.minvalues import pool_minimums
from autoctl.scheduling.nodes import Nodes, build_nodes
from autoctl.scheduling.offers import Offers
from autoctl.scheduling.pool_offers import Asked, build_offers, ordered_pools
from autoctl.scheduling.problem import SchedulingProblem
from autoctl.scheduling.shapes import Shape, intern_pods
from autoctl.scheduling.taints import PREFER_NO_SCHEDULE
from autoctl.scheduling.templates import template_of
from autoctl.scheduling.topology import Topology, repelling_keys
from autoctl.scheduling.volumes import ATTACH_PREFIX


class World:
    """A problem prepared: shapes, offers, nodes, what may go where, who counts for whom."""

    def __init__(self, problem: SchedulingProblem) -> None:
        pods = with_default_spread(problem.pods, problem.options.default_spread)
        self.problem = problem = replace(problem, pods=pods)
        each = [template_of(pod) for pod in problem.pods]
        templates = {id(t): t for t in each}.values()
        daemons = daemons_of(problem.daemons)
        everyone = (*templates, *(d.template for d in daemons))
        node_keys = frozenset(k for t in everyone for k in t.node_keys)
        asked = Asked(
            (r for t in everyone for r in (*t.terms, *(p for _, p in t.preferred))),
            _domains(problem, {k for t in templates for k in t.topology_keys}),
        )
        self.pools = ordered_pools(problem.pools)
        self.offers: Offers = _offers(problem, node_keys, asked)
        self.nodes: Nodes = build_nodes(problem.nodes, self.offers.table.vocabulary)
        self.shapes: tuple[Shape, ...] = intern_pods(
            problem, each, self.nodes.info, repelling_keys(self.nodes)
        )
        names = {name for s in self.shapes for name in s.requests}
        names |= {ATTACH_PREFIX + driver for s in self.shapes for driver, _ in s.shared}
        self.feasibility: Feasibility = build_feasibility(
            self.offers,
            self.nodes,
            daemons,
            problem.volumes,
            tuple(sorted(names)),
            problem.options.allow_new_nodes,
        )
        self.topology = Topology(self.shapes, self.nodes, problem.namespaces)
        self.minimums = pool_minimums(self.offers)
        self.avoid_taints = any(
            t.effect == PREFER_NO_SCHEDULE
            for taints in (*(p.taints for p in self.offers.pools), *self.nodes.taint_sets)
            for t in taints
        )


def _domains(problem: SchedulingProblem, keys: set[str]) -> dict[str, set[str]]:
    """The values that nodes and NodePools give those of the labels which only users define."""
    found: dict[str, set[str]] = {}
    for key in keys - labels.WELL_KNOWN_LABELS - {labels.HOSTNAME}:
        values = {n.labels[key] for n in problem.nodes if key in n.labels}
        for pool in problem.pools:
            if key in pool.labels:
                values.add(pool.labels[key])
            for requirement in pool.requirements:
                if requirement.key == key and requirement.operator == "In":
                    values.update(requirement.values)
        found[key] = values
    return found


_OFFERS: dict[object, Offers] = {}
_MOST_OFFERS = 8


def _offers(problem: SchedulingProblem, node_keys: frozenset[str], asked: Asked) -> Offers:
    """The offers of the problem's pools; kept while pools, types and open labels are the same."""
    open_keys = {
        r.key for p in problem.pools for r in p.requirements if r.key in node_keys
    } - labels.WELL_KNOWN_LABELS
    key = (
        tuple(
            (
                id(p.instance_types),
                p.name,
                p.requirements,
                tuple(sorted(p.labels.items())),
                tuple((t.key, t.value, t.effect) for t in p.taints),
                p.weight,
            )
            for p in ordered_pools(problem.pools)
        ),
        asked.items(open_keys),
        labels.OS in node_keys,
    )
    found = _OFFERS.get(key)
    if found is None:
        if len(_OFFERS) >= _MOST_OFFERS:
            _OFFERS.clear()
        found = _OFFERS[key] = build_offers(problem.pools, node_keys, asked)
    return found
