"""A naive check of a packing answer, pod by pod, sharing no code with the kernel."""

from __future__ import annotations

from collections import Counter

import numpy as np

from autoctl.scheduling.packing.model import PackingInput, PackingResult


def violations(question: PackingInput, answer: PackingResult) -> list[str]:
    """Every rule the answer breaks, in words; empty when it is valid."""
    found: list[str] = []
    shapes = len(question.counts)
    placed = Counter[int]()

    bins: dict[int, Counter[int]] = {}
    for where, shape, count in answer.existing:
        if count <= 0:
            found.append(f"empty entry for bin {where}")
        bins.setdefault(where, Counter())[shape] += count
    for where, pods in bins.items():
        assert question.bin_free is not None
        assert question.bin_feasible is not None
        room = question.bin_free[where].copy()
        for shape, count in pods.items():
            placed[shape] += count
            room -= count * question.requests[shape]
            if not question.bin_feasible[shape, where]:
                found.append(f"shape {shape} may not go to bin {where}")
            cap = -1
            if question.bin_cap is not None:
                cap = int(question.bin_cap[shape, where])
            elif question.node_cap is not None:
                cap = int(question.node_cap[shape])
            if cap >= 0 and count > cap:
                found.append(f"{count} pods of shape {shape} on bin {where}, cap {cap}")
        asked = {d for shape in pods for d in np.flatnonzero(question.requests[shape])}
        if any(room[d] < 0 for d in asked):
            found.append(f"bin {where} overflows: {room}")
        found += _conflicts(question, pods, f"bin {where}")

    nodes = Counter[int]()
    cost = 0.0
    for pattern in answer.nodes:
        pods = Counter(dict(pattern.pods))
        assert pattern.multiplicity > 0
        assert len(pods) == len(pattern.pods)
        nodes[pattern.offer] += pattern.multiplicity
        cost += pattern.multiplicity * float(question.price[pattern.offer])
        room = question.allocatable[pattern.offer].copy()
        for shape, count in pods.items():
            assert count > 0
            placed[shape] += count * pattern.multiplicity
            room -= count * question.requests[shape]
            if not question.feasible[shape, pattern.offer]:
                found.append(f"shape {shape} may not run on offer {pattern.offer}")
            if question.node_cap is not None and 0 <= question.node_cap[shape] < count:
                found.append(f"{count} pods of shape {shape} on a node of {pattern.offer}")
        if (room < 0).any():
            found.append(f"a node of offer {pattern.offer} overflows: {room}")
        if not pods:
            found.append("an empty node was bought")
        found += _conflicts(question, pods, f"node of offer {pattern.offer}")

    for shape in range(shapes):
        total = placed[shape] + int(answer.unplaced[shape])
        if total != question.counts[shape]:
            found.append(f"shape {shape}: {total} pods of {question.counts[shape]}")
    reserved = Counter[int]()
    for offer, count in nodes.items():
        if question.available is not None and 0 <= question.available[offer] < count:
            found.append(f"{count} nodes of offer {offer}")
        if question.reservation_index is not None and question.reservation_index[offer] >= 0:
            reserved[int(question.reservation_index[offer])] += count
    for book, count in reserved.items():
        assert question.reservation_capacity is not None
        if count > question.reservation_capacity[book]:
            found.append(f"{count} nodes of reservation {book}")
    if question.limit_usage is not None:
        assert question.limit_remaining is not None
        for row, most in enumerate(question.limit_remaining):
            used = sum(n * question.limit_usage[offer, row] for offer, n in nodes.items())
            if used > max(most, 0) + 1e-6:
                found.append(f"limit {row}: {used} of {most}")
    if abs(cost - answer.cost) > 1e-6 * max(1.0, cost):
        found.append(f"cost {answer.cost}, but the nodes cost {cost}")
    if answer.lower_bound > cost * (1 + 1e-9) + 1e-9:
        found.append(f"lower bound {answer.lower_bound} above the cost {cost}")
    return found


def _conflicts(question: PackingInput, pods: Counter[int], where: str) -> list[str]:
    if question.conflict is None:
        return []
    return [
        f"shapes {one} and {other} share {where}"
        for one in pods
        for other in pods
        if question.conflict[one, other] and (one != other or pods[one] > 1)
    ]
