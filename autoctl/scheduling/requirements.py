"""The algebra of node requirements: what a set of label values is, and when two sets meet.

A `Requirement` is the set of values a label may have. It is kept as Karpenter keeps it (a finite
set or the complement of one, with integer bounds), so that every operator of NodePools, node
selectors and node affinity has one form: In, NotIn, Exists, DoesNotExist, Gt, Lt, Gte, Lte.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from autoctl.api import core, labels
from autoctl.scheduling.problem import RequirementSpec

_NODE_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
"""What Kubernetes knows in node affinity; NodePools have two more."""
OPERATORS = (*_NODE_OPERATORS, "Gte", "Lte")


class RequirementError(ValueError):
    """A requirement that says nothing a scheduler could read; the text names what is wrong."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """The values label `key` may have.

    Without `complement`, `values` are the allowed ones (none: the label must be absent). With it,
    every value but `values` is allowed. `gte` and `lte` narrow a complement to integers in bounds.
    `min_values` asks for that many distinct values among a NodeClaim's instance types. `present` is
    what Exists adds to a NotIn: the label must be there.
    """

    key: str
    complement: bool
    values: frozenset[str] = frozenset()
    gte: int | None = None
    lte: int | None = None
    min_values: int | None = None
    present: bool = False

    @classmethod
    def of(
        cls,
        key: str,
        operator: str,
        values: Iterable[str] = (),
        min_values: int | None = None,
    ) -> Requirement:
        """A requirement as manifests write it; `key` is taken to its normal form.

        Raises:
            RequirementError: unknown operator, or bounds without one integer.
        """
        key = labels.normalize_label(key)
        given = tuple(values)
        match operator:
            case "In":
                return cls(key, False, frozenset(given), min_values=min_values)
            case "NotIn":
                return cls(key, True, frozenset(given), min_values=min_values)
            case "Exists":
                return cls(key, True, min_values=min_values, present=True)
            case "DoesNotExist":
                return cls(key, False, min_values=min_values)
            case "Gt" | "Lt" | "Gte" | "Lte":
                bound = _integer(given[0]) if len(given) == 1 else None
                if bound is None:
                    raise RequirementError(
                        f"{key} {operator} {list(given)}: expected one integer value"
                    )
                if operator == "Gt" and bound >= sys.maxsize:
                    return cls(key, False, min_values=min_values)
                if operator in ("Gt", "Gte"):
                    low = bound + (operator == "Gt")
                    return cls(key, True, gte=low, min_values=min_values)
                high = bound - (operator == "Lt")
                return cls(key, True, lte=high, min_values=min_values)
        raise RequirementError(
            f"{key}: operator {operator!r}: expected one of {', '.join(OPERATORS)}"
        )

    @property
    def operator(self) -> str:
        """In, NotIn, Exists or DoesNotExist; a bounded complement without values is Exists."""
        if self.complement:
            return "NotIn" if self.values else "Exists"
        return "In" if self.values else "DoesNotExist"

    @property
    def allows_absence(self) -> bool:
        """Whether a node without the label satisfies it (NotIn and DoesNotExist do)."""
        if self.present or self.gte is not None or self.lte is not None:
            return False
        return self.operator in ("NotIn", "DoesNotExist")

    def has(self, value: str) -> bool:
        """Whether `value` is allowed."""
        return (value in self.values) != self.complement and self._within(value)

    def accepts(self, value: str | None) -> bool:
        """Whether a node with this value (None: without the label) satisfies the requirement.

        This is kube-scheduler's reading, where NotIn also holds for a node without the label.
        """
        return self.allows_absence if value is None else self.has(value)

    def some_value(self) -> str | None:
        """A value for a node of which nobody asks one: the first allowed one, by name or number.

        None where a node may do without the label, or no value is allowed.
        """
        if self.allows_absence:
            return None
        if not self.complement:
            return min(self.values)
        number = self.gte if self.gte is not None else min(0, self.lte or 0)
        while not self.has(str(number)):
            if self.lte is not None and number > self.lte:
                return None
            number += 1
        return str(number)

    def intersection(self, other: Requirement) -> Requirement:
        """The values both allow; the larger `min_values` stays."""
        gte = _pick(max, self.gte, other.gte)
        lte = _pick(min, self.lte, other.lte)
        least = _pick(max, self.min_values, other.min_values)
        present = self.present or other.present
        if gte is not None and lte is not None and gte > lte:
            return Requirement(self.key, False, min_values=least)
        complement = self.complement and other.complement
        if complement:
            values = self.values | other.values
        elif self.complement:
            values = other.values - self.values
        elif other.complement:
            values = self.values - other.values
        else:
            values = self.values & other.values
        bounded = Requirement(self.key, complement, values, gte, lte, least, present)
        kept = frozenset(v for v in values if bounded._within(v))
        if not complement:
            return Requirement(self.key, False, kept, min_values=least)
        return replace(bounded, values=kept)

    def intersects(self, other: Requirement) -> bool:
        """Whether a node can satisfy both; two that tolerate absence always meet."""
        if self.allows_absence and other.allows_absence:
            return True
        both = self.intersection(other)
        return both.complement or bool(both.values)

    def specs(self) -> tuple[RequirementSpec, ...]:
        """As manifests write it; bounds and excluded values need an entry each.

        `min_values` goes with the first entry.
        """
        entries: list[RequirementSpec] = []
        bounded = False
        for operator, bound in (("Gte", self.gte), ("Lte", self.lte)):
            if bound is not None:
                entries.append(RequirementSpec(self.key, operator, (str(bound),)))
                bounded = True
        if self.present and self.complement and self.values and not bounded:
            entries.append(RequirementSpec(self.key, "Exists"))
        if self.values or not bounded:
            entries.append(RequirementSpec(self.key, self.operator, tuple(sorted(self.values))))
        entries[0] = replace(entries[0], min_values=self.min_values)
        return tuple(entries)

    def __str__(self) -> str:
        return ", ".join(
            f"{s.key} {s.operator}" + (f" {list(s.values)}" if s.values else "")
            for s in self.specs()
        )

    def _within(self, value: str) -> bool:
        if self.gte is None and self.lte is None:
            return True
        number = _integer(value)
        if number is None:
            return False
        return (self.gte is None or number >= self.gte) and (self.lte is None or number <= self.lte)


class Requirements(Mapping[str, Requirement]):
    """Requirements by key, all of which must hold. Immutable; `add` gives a new one."""

    __slots__ = ("_by_key", "_hash")

    def __init__(self, requirements: Iterable[Requirement] = ()) -> None:
        by_key: dict[str, Requirement] = {}
        for requirement in requirements:
            known = by_key.get(requirement.key)
            by_key[requirement.key] = known.intersection(requirement) if known else requirement
        self._by_key = dict(sorted(by_key.items()))
        self._hash = hash(tuple(self._by_key.values()))

    @classmethod
    def of_specs(cls, specs: Iterable[RequirementSpec]) -> Requirements:
        """From a NodePool's or NodeClaim's requirements."""
        return cls(Requirement.of(s.key, s.operator, s.values, s.min_values) for s in specs)

    @classmethod
    def of_labels(cls, given: Mapping[str, str]) -> Requirements:
        """That every label has its value (a node selector, or a node's labels)."""
        return cls(Requirement.of(key, "In", (value,)) for key, value in given.items())

    def __getitem__(self, key: str) -> Requirement:
        return self._by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Requirements) and self._by_key == other._by_key

    def add(self, *requirements: Requirement) -> Requirements:
        """These and the given ones."""
        return Requirements((*self.values(), *requirements))

    def intersects(self, other: Requirements) -> str | None:
        """None when a node can satisfy both; otherwise which keys conflict."""
        for key in self._by_key.keys() & other._by_key.keys():
            mine, theirs = self[key], other[key]
            if not mine.intersects(theirs):
                return f"key {key}, {theirs} not in {mine}"
        return None

    def compatible(
        self, other: Requirements, allow_undefined: frozenset[str] = labels.WELL_KNOWN_LABELS
    ) -> str | None:
        """None when `other` (a pod's) can hold here; otherwise the reason.

        A label that nothing here defines satisfies only NotIn and DoesNotExist, unless it is among
        `allow_undefined` (by default the labels the operator decides itself).
        """
        for key in sorted(other.keys() - allow_undefined - self.keys()):
            if not other[key].allows_absence:
                hint = label_hint(key, tuple(self))
                return f'label "{key}" does not have known values{hint}'
        return self.intersects(other)

    def accepts(self, node_labels: Mapping[str, str]) -> bool:
        """Whether a node with these labels satisfies all of them, as kube-scheduler reads it."""
        return all(r.accepts(node_labels.get(key)) for key, r in self._by_key.items())

    def specs(self) -> tuple[RequirementSpec, ...]:
        """As manifests write them, by key."""
        return tuple(spec for requirement in self.values() for spec in requirement.specs())


def node_selector_term(term: core.NodeSelectorTerm, path: str) -> Requirements:
    """The requirements of one term of a node affinity.

    Raises:
        RequirementError: `matchFields`, a restricted label or an unreadable expression; the text
            begins with the field's path.
    """
    if term.match_fields:
        raise RequirementError(f"{path}.matchFields: node affinity by field is not supported")
    found: list[Requirement] = []
    for index, expression in enumerate(term.match_expressions or ()):
        where = f"{path}.matchExpressions[{index}]"
        found.append(_expression(expression, where))
    return _checked(found, path)


def node_selector(selector: Mapping[str, str]) -> Requirements:
    """The requirements of `spec.nodeSelector`.

    Raises:
        RequirementError: a restricted label.
    """
    for key in selector:
        check_label(key, f"spec.nodeSelector[{key}]")
    return Requirements.of_labels(selector)


def check_label(key: str, path: str) -> None:
    """Refuse labels that users may not schedule by.

    Raises:
        RequirementError: the label is restricted. (`kubernetes.io/hostname` is not: it is how a pod
            names an existing node.)
    """
    if key != labels.HOSTNAME and labels.is_restricted_label(key) and key not in _READABLE:
        raise RequirementError(f"{path}: label {key} is restricted; it cannot be required")


_READABLE = frozenset({labels.REGISTERED, labels.INITIALIZED, labels.NODECLASS})


def label_hint(key: str, known: tuple[str, ...]) -> str:
    """` (typo of "..."?)` when `key` looks like a label that exists; otherwise empty."""
    suffix = key.rpartition("/")[2]
    for candidates in (_WELL_KNOWN_SORTED, known):
        for candidate in candidates:
            if candidate != key and candidate.rpartition("/")[2] == suffix:
                return f' (typo of "{candidate}"?)'
        for candidate in candidates:
            if candidate != key and len(key) > 2 and key in candidate:
                return f' (typo of "{candidate}"?)'
    return ""


_WELL_KNOWN_SORTED = tuple(
    sorted(labels.WELL_KNOWN_LABELS, key=lambda k: (k.startswith(labels.EKS_GROUP), k))
)


def _expression(expression: core.NodeSelectorRequirement, path: str) -> Requirement:
    check_label(expression.key, path)
    if expression.operator not in _NODE_OPERATORS:
        raise RequirementError(
            f"{path}.operator: {expression.operator!r}: "
            f"expected one of {', '.join(_NODE_OPERATORS)}"
        )
    if expression.operator in ("In", "NotIn") and not expression.values:
        raise RequirementError(f"{path}.values: {expression.operator} needs at least one value")
    try:
        return Requirement.of(expression.key, expression.operator, expression.values or ())
    except RequirementError as error:
        raise RequirementError(f"{path}: {error}") from None


def _checked(found: list[Requirement], path: str) -> Requirements:
    together = Requirements(found)
    asked = {r.key for r in found if r.operator != "DoesNotExist"}
    for key in sorted(asked):
        if together[key].operator == "DoesNotExist":
            raise RequirementError(f"{path}: requirements on {key} contradict each other")
    return together


def _pick(choose: Callable[[int, int], int], a: int | None, b: int | None) -> int | None:
    if a is None or b is None:
        return b if a is None else a
    return choose(a, b)


@lru_cache(maxsize=65536)
def _integer(value: str) -> int | None:
    try:
        return int(value) if value.lstrip("+-").isdigit() else None
    except ValueError:
        return None
