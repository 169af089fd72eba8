"""The offers of NodePools: which rows there are, and the labels of each.

A NodePool's requirements decide which of its instance types and offerings it may buy, what its
nodes are labelled with, and how many variants it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from autoctl.api import labels
from autoctl.catalog.model import InstanceType, Offering
from autoctl.scheduling.offers import Offers
from autoctl.scheduling.problem import Pool
from autoctl.scheduling.requirements import Requirement, Requirements
from autoctl.scheduling.tables import FREE, LabelTable, Mask, Vocabulary

_LINUX = "linux"
_MOST_VARIANTS = 256
_ZONE_NAME = re.compile(r"(?P<region>[a-z]{2,}(?:-[a-z]+)+-\d+)[a-z]")


def build_offers(pools: Sequence[Pool], node_keys: frozenset[str], asked: Asked) -> Offers:
    """The offers of the pools.

    `node_keys` are the node labels that pods or daemons care about; `asked` tells which values of
    them they name.
    """
    ordered = ordered_pools(pools)
    weights = sorted({p.weight for p in ordered}, reverse=True)
    parts: list[_Part] = []
    machines: list[InstanceType] = []
    starts: dict[int, int] = {}
    requirements: list[Requirements] = []
    excluded: list[int] = []
    for index, pool in enumerate(ordered):
        if id(pool.instance_types) not in starts:
            starts[id(pool.instance_types)] = len(machines)
            machines.extend(pool.instance_types)
        demands = pool_requirements(pool)
        requirements.append(demands)
        found, removed = _pool_parts(
            index, pool, demands, starts[id(pool.instance_types)], node_keys, asked
        )
        parts.extend(found)
        excluded.append(removed)
    return _assemble(ordered, weights, machines, parts, requirements, excluded)


def ordered_pools(pools: Iterable[Pool]) -> tuple[Pool, ...]:
    """Heaviest first, then by name."""
    return tuple(sorted(pools, key=lambda p: (-p.weight, p.name)))


def pool_requirements(pool: Pool) -> Requirements:
    """What every node of the pool satisfies: its requirements, template labels and name."""
    return Requirements.of_specs(pool.requirements).add(
        *Requirements.of_labels({**pool.labels, labels.NODEPOOL: pool.name}).values()
    )


class Asked:
    """The values of custom labels that matter to pods, by key.

    They are those that pods name and, of the labels they spread or gather over, the topology
    `domains` there are: where a NodePool leaves such a label open, new nodes join these. A pod may
    also ask for a label without a value (`Exists`, bounds): any will do.
    """

    def __init__(
        self, requirements: Iterable[Requirements], domains: Mapping[str, set[str]]
    ) -> None:
        self._values: dict[str, set[str]] = {k: set(v) for k, v in domains.items()}
        self._present: set[str] = set()
        for each in set(requirements):
            for key, requirement in each.items():
                if requirement.complement and not requirement.allows_absence:
                    self._present.add(key)
                values = self._values.setdefault(key, set())
                values.update(requirement.values)
                bounds = (requirement.gte, requirement.lte)
                values.update(str(bound) for bound in bounds if bound is not None)

    def values(self, key: str) -> tuple[str, ...]:
        """The values, sorted."""
        return tuple(sorted(self._values.get(key, ())))

    def present(self, key: str) -> bool:
        """Whether somebody wants the label to be there, whatever its value."""
        return key in self._present

    def items(self, keys: Iterable[str]) -> tuple[tuple[str, tuple[str, ...], bool], ...]:
        """What is asked of several keys, in order: values, and whether any value will do."""
        return tuple((key, self.values(key), self.present(key)) for key in sorted(keys))


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """The rows of one tuple of instance types: a type and an offering each."""

    types: tuple[InstanceType, ...]
    type_index: NDArray[np.int64]
    offerings: tuple[Offering, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Rows of one pool variant."""

    pool: int
    constant: Mapping[str, str]
    variant: Mapping[str, str]
    first_machine: int
    block: _Block
    rows: NDArray[np.int64]


def _pool_parts(
    index: int,
    pool: Pool,
    demands: Requirements,
    first_machine: int,
    node_keys: frozenset[str],
    asked: Asked,
) -> tuple[list[_Part], int]:
    block = _block(pool.instance_types)
    constant = {**pool.labels, labels.NODEPOOL: pool.name, **_ALWAYS}
    open_keys: list[tuple[str, tuple[str | None, ...]]] = []
    typed = _type_label_keys(block)
    for key, demand in demands.items():
        if key in constant or key in typed or key in labels.WELL_KNOWN_LABELS:
            continue
        if not demand.complement and len(demand.values) < 2:
            constant.update((key, value) for value in demand.values)
        elif key in node_keys:
            open_keys.append((key, _open_values(demand, asked)))
    systems = _systems(block, demands, node_keys)
    rows_of: list[_Part] = []
    kept = np.zeros(len(block.type_index), np.bool_)
    for values in list(product(*(v for _, v in open_keys)))[:_MOST_VARIANTS]:
        named_keys = zip((k for k, _ in open_keys), values, strict=True)
        variant = {key: value for key, value in named_keys if value is not None}
        for system, runs in systems:
            extra = {**variant, labels.OS: system}
            table = _table(
                Vocabulary(), [(block, np.arange(len(block.type_index)), constant, extra)]
            )
            usable = runs[block.type_index]
            for key, demand in demands.items():
                given = key in constant or key in variant or key in typed
                if given or key in labels.WELL_KNOWN_LABELS:
                    usable = usable & table.mask_of(demand)
            kept |= usable
            rows = np.flatnonzero(usable)
            if len(rows):
                rows_of.append(_Part(index, constant, extra, first_machine, block, rows))
    return rows_of, int((~kept).sum())


def _assemble(
    pools: tuple[Pool, ...],
    weights: list[int],
    machines: list[InstanceType],
    parts: list[_Part],
    requirements: list[Requirements],
    excluded: list[int],
) -> Offers:
    def joined(arrays: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)

    offerings = tuple(p.block.offerings[i] for p in parts for i in p.rows.tolist())
    reservations = sorted({o.reservation_id for o in offerings if o.reservation_id})
    room = {
        o.reservation_id: o.reservation_capacity if o.reservation_capacity is not None else 0
        for o in offerings
        if o.reservation_id
    }
    position = {name: i for i, name in enumerate(reservations)}
    machine = joined([p.first_machine + p.block.type_index[p.rows] for p in parts])
    exotic = np.array([m.exotic for m in machines] or [False])
    vocabulary = Vocabulary()
    return Offers(
        pools=pools,
        pool=joined([np.full(len(p.rows), p.pool) for p in parts]),
        tier=joined([np.full(len(p.rows), weights.index(pools[p.pool].weight)) for p in parts]),
        machine=machine,
        machines=tuple(machines),
        offerings=offerings,
        variant=joined([np.full(len(p.rows), i) for i, p in enumerate(parts)]),
        variants=tuple(p.variant for p in parts),
        price=np.array([o.weighed for o in offerings], np.float64),
        available=np.array([o.available for o in offerings], np.bool_),
        exotic=exotic[machine] if len(machine) else np.zeros(0, np.bool_),
        reservation=np.array(
            [position[o.reservation_id] if o.reservation_id else -1 for o in offerings], np.int64
        ),
        reservations=tuple(reservations),
        reserved_room=np.array([room[r] for r in reservations], np.int64),
        table=_table(vocabulary, [(p.block, p.rows, p.constant, p.variant) for p in parts]),
        requirements=tuple(requirements),
        excluded=tuple(excluded),
    )


_ALWAYS: Mapping[str, str] = {
    labels.REGISTERED: "true",
    labels.INITIALIZED: "true",
    labels.MANAGED_BY: "eks",
}
"""Labels that every node of the operator has once pods run on it."""


def _table(
    vocabulary: Vocabulary,
    parts: Sequence[tuple[_Block, NDArray[np.int64], Mapping[str, str], Mapping[str, str]]],
) -> LabelTable:
    def column(key: str) -> Iterable[str | int | None]:
        for block, rows, constant, variant in parts:
            if key == labels.HOSTNAME:
                yield from [FREE] * len(rows)
            elif key in variant:
                yield from [variant[key]] * len(rows)
            else:
                values = _block_column(block, key)
                fallback = constant.get(key)
                for i in rows.tolist():
                    value = values[i]
                    yield fallback if value is None else value

    return LabelTable(vocabulary, sum(len(rows) for _, rows, _, _ in parts), column)


def _block_column(block: _Block, key: str) -> list[str | int | None]:
    """A label of every row, from the offering or the type."""
    if key == labels.ZONE:
        return [o.zone for o in block.offerings]
    if key == labels.CAPACITY_TYPE:
        return [o.capacity_type for o in block.offerings]
    by_type: list[str | None]
    if key == labels.INSTANCE_TYPE:
        by_type = [t.name for t in block.types]
    elif key == labels.ARCH:
        by_type = [t.labels.get(key, t.architecture) for t in block.types]
    else:
        by_type = [t.labels.get(key) for t in block.types]
    found: list[str | int | None] = []
    for offering, index in zip(block.offerings, block.type_index.tolist(), strict=True):
        value: str | int | None = offering.labels.get(key)
        if value is None:
            value = by_type[index]
        if value is None and key == labels.REGION:
            value = region_of(offering.zone) or FREE
        found.append(value)
    return found


def region_of(zone: str) -> str | None:
    """The region of an availability zone, by its name; None for a name of another scheme."""
    named = _ZONE_NAME.fullmatch(zone)
    return named["region"] if named else None


_BLOCKS: dict[int, _Block] = {}
_MOST_BLOCKS = 64


def _block(types: tuple[InstanceType, ...]) -> _Block:
    """The rows of a tuple of types, cached by its identity (the block keeps it alive)."""
    found = _BLOCKS.get(id(types))
    if found is None or found.types is not types:
        if len(_BLOCKS) >= _MOST_BLOCKS:
            _BLOCKS.clear()
        index = [i for i, t in enumerate(types) for _ in t.offerings]
        found = _Block(
            types,
            np.array(index, np.int64),
            tuple(o for t in types for o in t.offerings),
        )
        _BLOCKS[id(types)] = found
    return found


def _type_label_keys(block: _Block) -> frozenset[str]:
    return frozenset(k for t in block.types for k in t.labels) | frozenset(
        k for o in block.offerings for k in o.labels
    )


def _systems(
    block: _Block, demands: Requirements, node_keys: frozenset[str]
) -> list[tuple[str, Mask]]:
    """The operating systems to offer, each with the types that run it.

    Linux where a type can and nobody asks; otherwise every one somebody may ask for.
    """
    options = [
        (t.labels[labels.OS],) if labels.OS in t.labels else tuple(t.operating_systems) or (_LINUX,)
        for t in block.types
    ]
    if labels.OS in node_keys or labels.OS in demands:
        names = sorted({name for o in options for name in o}, key=lambda n: (n != _LINUX, n))
        return [(name, np.array([name in o for o in options], np.bool_)) for name in names]
    chosen = [_LINUX if _LINUX in o else o[0] for o in options]
    return [
        (name, np.array([c == name for c in chosen], np.bool_)) for name in sorted(set(chosen))
    ] or [(_LINUX, np.zeros(0, np.bool_))]


def _open_values(demand: Requirement, asked: Asked) -> tuple[str | None, ...]:
    """The values to offer where a pool leaves a label open: those asked for, and one beside them.

    None stands for nodes without the label.
    """
    named = tuple(v for v in asked.values(demand.key) if demand.has(v))
    if not demand.complement:
        return (*named, *sorted(demand.values.difference(named))[:1])
    if not demand.allows_absence:
        return (*named, _fresh(demand, named))
    return (*named, *((_fresh(demand, named),) if asked.present(demand.key) else ()), None)


def _fresh(demand: Requirement, named: Sequence[str]) -> str:
    """A value the pool allows that nobody named: what a node gets when pods do not care."""
    start = demand.gte if demand.gte is not None else (demand.lte or 0) - len(named) - 1
    start = max(start, 0) if demand.gte is None and demand.lte is None else start
    number = start
    while not demand.has(str(number)) or str(number) in named:
        number += 1
        if demand.lte is not None and number > demand.lte:
            return named[0] if named else str(demand.lte)
    return str(number)
