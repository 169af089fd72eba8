"""Why a pod was not placed: for each NodePool, what excluded it and what each rule took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from autoctl.api import labels
from autoctl.api.quantity import MILLI, WHOLE, format_quantity
from autoctl.scheduling.board import Board
from autoctl.scheduling.feasibility import Demand, Feasibility
from autoctl.scheduling.minvalues import Flexibility, shortfall
from autoctl.scheduling.problem import Unschedulable
from autoctl.scheduling.requirements import Requirement, Requirements, label_hint
from autoctl.scheduling.tables import Mask
from autoctl.scheduling.taints import PREFER_NO_SCHEDULE, describe, first_untolerated

NO_POOL: Final = "no NodePool can launch a node for the pod"
"""The reason of pods that each NodePool refuses for a reason of its own."""


class Explainer:
    """Says why demands were left over, from the state in which they were."""

    def __init__(
        self,
        board: Board,
        minimums: Mapping[int, Mapping[str, int]],
        closed_pools: Mapping[str, str],
    ) -> None:
        self._board = board
        self._minimums = minimums
        self._closed = closed_pools
        self._known: dict[int, Unschedulable] = {}

    def unschedulable(self, demand: Demand) -> Unschedulable:
        """The reason and the detail by NodePool."""
        found = self._known.get(demand.index)
        if found is None:
            found = self._known[demand.index] = self._explain(demand)
        return found

    def _explain(self, demand: Demand) -> Unschedulable:
        offers = self._board.offers
        detail = {pool.name: self._pool(demand, i) for i, pool in enumerate(offers.pools)}
        detail |= self._closed
        unknown = self._unknown_topology(demand)
        if unknown:
            reason = unknown
        elif not detail:
            reason = "no NodePool can launch nodes, and no existing node has room"
        else:
            texts = list(dict.fromkeys(detail.values()))
            reason = texts[0] if len(texts) == 1 else NO_POOL
            if len(texts) > 1:
                reason += ": " + "; ".join(f"{name}: {text}" for name, text in detail.items())
        if not self._board.feasibility.allow_new:
            reason = "no existing node has room for the pod"
        return Unschedulable(reason, detail)

    def _unknown_topology(self, demand: Demand) -> str:
        board = self._board
        constraints = demand.constraints
        keys = [("spec.topologySpreadConstraints", s.gauge.key) for s in constraints.spread] + [
            ("spec.affinity.podAffinity", g.key) for g in constraints.together
        ]
        for field, key in keys:
            if key == labels.HOSTNAME:
                continue
            known = (board.row_codes[key] >= 0).any() or (board.codes(key) >= 0).any()
            if not known:
                hint = label_hint(key, ())
                return f'{field}: no node has the topology key "{key}"{hint}'
        return ""

    def _pool(self, demand: Demand, index: int) -> str:
        board = self._board
        offers = board.offers
        feasibility = board.feasibility
        pool = offers.pools[index]
        shape = demand.shape
        hard = [t for t in pool.taints if t.effect != PREFER_NO_SCHEDULE]
        taint = first_untolerated(shape.template.tolerations, hard)
        if taint is not None:
            return f"taint {describe(taint)} is not tolerated"
        mine = offers.pool == index
        number = int(mine.sum())
        if not number:
            return "no instance type meets the NodePool's own requirements"
        terms = feasibility.terms(shape, demand.kept) or shape.terms
        parts, left = self._by_labels(terms, mine)
        if left.any():
            gone = left & ~offers.available
            left = left & offers.available
            if gone.any():
                parts.append(f"{int(gone.sum())}{{total}} have no capacity now")
        if left.any():
            fits, part = self._by_size(demand, left)
            left = fits
            if part:
                parts.append(part)
        if left.any() and shape.template.ports:
            taken = left & feasibility.daemon_port_rows(shape.template.ports)
            left = left & ~taken
            if taken.any():
                parts.append(
                    f"{int(taken.sum())}{{total}} have the pod's host port held by a DaemonSet"
                )
        parts += self._by_choice(demand, index, left)
        if left.any():
            parts.append(self._by_state(demand, left, index))
        return _sentence(parts, number)

    def _by_labels(self, terms: tuple[Requirements, ...], mine: Mask) -> tuple[list[str], Mask]:
        """What each requirement of the most promising alternative removes."""
        table = self._board.offers.table
        best = max(terms, key=lambda t: int((table.mask(t) & mine).sum()))
        left = mine.copy()
        parts = []
        for key, requirement in best.items():
            kept = left & table.mask_of(requirement)
            removed = int(left.sum()) - int(kept.sum())
            if removed:
                parts.append((removed, self._lack(key, requirement, mine)))
            left = kept
        accepted = mine & table.any_mask(terms)
        texts = [
            text if text.startswith("label ") else f"{removed}{{total}} {text}"
            for removed, text in parts
        ]
        return texts, accepted

    def _lack(
        self,
        key: str,
        requirement: Requirement,
        mine: Mask,
    ) -> str:
        codes = self._board.offers.table.codes(key)[mine]
        if (codes == -1).all() and requirement.operator in ("In", "Exists"):
            return f'label "{key}" does not have known values{label_hint(key, ())}'
        if requirement.operator == "In" and len(requirement.values) == 1:
            return f"lack {next(iter(requirement.values))} ({key})"
        return f"fail {requirement}"

    def _by_size(self, demand: Demand, left: Mask) -> tuple[Mask, str]:
        feasibility: Feasibility = self._board.feasibility
        fits = left.copy()
        worst = ""
        fewest = int(left.sum()) + 1
        for d in demand.dims.tolist():
            room = feasibility.net[:, d]
            enough = left & (room >= demand.requests[d])
            if int(enough.sum()) < fewest:
                fewest = int(enough.sum())
                name = feasibility.resources[d]
                most = max(int(room[left & ~enough].max(initial=0)), 0)
                worst = (
                    f"{name} {amount_text(name, int(demand.requests[d]))} requested, "
                    f"at most {amount_text(name, most)} on an empty node"
                )
                if name == "cpu" and demand.requests[d] >= 1_000_000_000:
                    worst += " (is the request meant in millicores?)"
            fits &= room >= demand.requests[d]
        removed = int(left.sum()) - int(fits.sum())
        return fits, f"{removed}{{total}} are too small ({worst})" if removed else ""

    def _by_choice(self, demand: Demand, index: int, left: Mask) -> list[str]:
        minimums = self._minimums.get(index)
        if not minimums or not left.any():
            return []
        board = self._board
        within = board.limits.rooms(np.arange(len(left))) > 0
        if not (left & within).any():
            return []
        flexibility = Flexibility(board.feasibility, {index: minimums})
        kept = flexibility.rows(left, left, domains=demand.domains, within=within)
        if (kept & left).any():
            return []
        short = shortfall(board.offers, np.flatnonzero(left & within), minimums)
        key = next(iter(short or minimums))
        found = short.get(key, minimums[key] - 1)
        left[:] = False
        text = f"spec.template.spec.requirements[{key}].minValues {minimums[key]}: "
        return [text + f"only {found} values are left to choose from"]

    def _by_state(self, demand: Demand, left: Mask, index: int) -> str:
        """Offers are left: a limit, a reservation or other pods stand in the way."""
        board = self._board
        pool = board.pools[index]
        rows = np.flatnonzero(left)
        if not board.limits.rooms(rows).any():
            for column, (owner, name) in enumerate(board.limits.names):
                usage = board.limits.usage[rows, column]
                if owner == index and (usage > max(int(board.limits.remaining[column]), 0)).all():
                    limit = amount_text(name, pool.limits[name])
                    return f"NodePool limit {name} {limit} reached"
            limited = [name for owner, name in board.limits.names if owner == index]
            if limited:
                return f"NodePool limits ({', '.join(limited)}) reached"
            return "the capacity reservation is used up"
        return self._by_topology(demand)

    def _by_topology(self, demand: Demand) -> str:
        constraints = demand.constraints
        if constraints.together:
            keys = ", ".join(dict.fromkeys(g.key for g in constraints.together))
            return f"pod affinity over {keys}: no domain with a matching pod can take it"
        parts = [
            f"topology spread over {s.gauge.key} with maxSkew {s.max_skew} leaves no domain"
            for s in constraints.spread
        ]
        if constraints.apart:
            keys = ", ".join(dict.fromkeys(g.key for g in constraints.apart))
            parts.append(f"pod anti-affinity over {keys} leaves no domain")
        return "; ".join(dict.fromkeys(parts)) or "other pods leave no room for it"


def amount_text(resource: str, amount: int) -> str:
    """An amount of a resource as a quantity."""
    if resource == "cpu":
        return format_quantity(amount * MILLI)
    form = "BinarySI" if resource in ("memory", "ephemeral-storage") else "DecimalSI"
    if resource.startswith("hugepages-"):
        form = "BinarySI"
    return format_quantity(amount * WHOLE, "BinarySI" if form == "BinarySI" else "DecimalSI")


def _sentence(parts: list[str], number: int) -> str:
    if not parts:
        return "no offer is left"
    counted = next((p for p in parts if "{total}" in p), "")
    first = counted.replace("{total}", f" of {number} offers")
    return "; ".join(first if p == counted else p.replace("{total}", "") for p in parts)
