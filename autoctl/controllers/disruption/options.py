"""Settings of disruption decisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from autoctl.scheduling.problem import SolverOptions


@dataclass(frozen=True)
class DisruptionOptions:
    """How eagerly nodes are taken away.

    `savings_threshold` is the least share of what its nodes cost that a move with replacements
    must save; moves that only delete nodes need no threshold. `eviction_price` (USD/hour for each
    evicted pod) breaks ties between worlds of about equal cost in favour of moving fewer pods.
    `spot_alternatives` is how many cheaper instance types the replacements of spot nodes by as many
    must be able to choose from. `exhaustive` bounds the number of candidates up to which every
    prefix and every single node is tried; above it, and beyond what budgets allow, the packer names
    up to `attempts` sets, until a move pays. `drift_per_pass` bounds
    how many drifted nodes one pass replaces, whatever budgets allow. `slacks` are the parts of
    nodes that are left free, tried in this order, until kube-scheduler would find room for every
    pod that moves. A move that takes nodes younger than `young` must save `young_threshold`, so
    that a cluster does not chase its own last move. A consolidation that found nothing is followed
    by the next no sooner than after `consolidation_rest`: nodes that come and go in between are
    looked at together.
    """

    solver: SolverOptions = field(default_factory=SolverOptions)
    savings_threshold: float = 0.05
    eviction_price: float = 1e-5
    spot_alternatives: int = 15
    exhaustive: int = 24
    attempts: int = 6
    drift_per_pass: int = 50
    slacks: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1)
    young: timedelta = timedelta(minutes=15)
    young_threshold: float = 0.5
    consolidation_rest: timedelta = timedelta(seconds=30)
