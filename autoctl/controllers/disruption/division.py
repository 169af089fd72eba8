"""Large moves as several small ones, which are carried out and fail on their own.

Pods that scheduling cannot tell apart are dealt anew to the same replacements, so that few nodes
share one (`packing.parts`). Nothing else changes: the same nodes go, the same are bought, the same
pods are evicted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from autoctl.controllers.disruption.candidates import Candidate
from autoctl.controllers.disruption.split import Move
from autoctl.scheduling.packing.parts import Part, divide
from autoctl.scheduling.problem import NewNode

MOST_REPLACEMENTS: Final = 6
"""A move that buys more nodes than this is divided."""

Judge = Callable[[Move], Move | None]
"""The move as it may be made; None where it may not."""


def divided(
    move: Move, shapes: Callable[[], Mapping[str, int]], least_saving: float, judge: Judge
) -> tuple[Move, ...]:
    """The move in parts that `judge` accepts each, or as it is.

    `shapes` tells which pods are interchangeable: a number by pod, equal for those that are.
    """
    if len(move.replacements) <= MOST_REPLACEMENTS:
        return (move,)
    shape_of = shapes()
    width = 1 + max(shape_of.values())

    def counted(groups: Sequence[Sequence[str]]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        table = np.zeros((len(groups), width), np.int64)
        for row, pods in enumerate(groups):
            for pod in pods:
                table[row, shape_of[pod]] += 1
        return table

    moved = [_bound_for_replacements(c, move) for c in move.candidates]
    parts = divide(
        counted(moved),
        counted([[p for p in n.pods if p in move.destinations] for n in move.replacements]),
        np.array([c.price for c in move.candidates]),
        np.array([n.offer.price for n in move.replacements]),
        least_saving=least_saving,
        most_coming=MOST_REPLACEMENTS,
    )
    judged = [judge(_part(move, part, moved, shape_of)) for part in parts]
    kept = [m for m in judged if m is not None]
    return tuple(kept) if len(kept) == len(parts) > 1 else (move,)


def _bound_for_replacements(candidate: Candidate, move: Move) -> list[str]:
    return [p.key for p in candidate.movable if move.destinations[p.key].startswith("replacement:")]


def _part(
    move: Move, part: Part, moved: Sequence[Sequence[str]], shape_of: Mapping[str, int]
) -> Move:
    """The part as a move of its own, its pods dealt to its replacements by shape."""
    waiting: dict[int, list[str]] = {}
    for row in part.going:
        for pod in moved[row]:
            waiting.setdefault(shape_of[pod], []).append(pod)
    candidates = tuple(move.candidates[row] for row in part.going)
    destinations = {
        p.key: move.destinations[p.key]
        for c in candidates
        for p in c.movable
        if not move.destinations[p.key].startswith("replacement:")
    }
    replacements: list[NewNode] = []
    for index, row in enumerate(part.coming):
        node = move.replacements[row]
        pods = tuple(waiting[shape_of[pod]].pop(0) for pod in node.pods)
        destinations.update(dict.fromkeys(pods, f"replacement:{index}"))
        replacements.append(replace(node, pods=pods))
    assert not any(waiting.values()), "a part's replacements hold all of its pods"
    return Move(candidates, tuple(replacements), destinations)
