"""How many pods of which kind each node holds: the memory of spread and inter-pod affinity.

Pods with the same namespace and labels form a *label class*; every counter knows which classes it
counts, so that placing a pod adds one to a handful of array cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from autoctl.sim.cluster.scheduler.nodetable import Ints, padded
from autoctl.sim.cluster.scheduler.podinfo import AffinityTerm, Labels, Term

Conjunction: TypeAlias = tuple[Term, ...]
"""Pods that every one of the terms means."""
Place: TypeAlias = tuple[str, str]


@dataclass(slots=True, eq=False)
class Counter:
    """Pods that match a conjunction of terms, per row; `live` leaves out terminating ones."""

    terms: Conjunction
    total: Ints
    live: Ints


@dataclass(slots=True, eq=False)
class Carried:
    """Pods that carry an affinity term themselves, per row; `required` terms repel or attract."""

    item: AffinityTerm
    kind: str
    rows: Ints


@dataclass(slots=True, eq=False)
class LabelClass:
    """Pods with these labels: how many there are per row (all, live), and who counts them."""

    namespace: str
    labels: Labels
    users: int = 0
    rows: dict[int, list[int]] = field(default_factory=dict)
    counters: list[Counter] = field(default_factory=list)
    meant_by: list[Carried] = field(default_factory=list)


class Counting:
    """All counters, carried terms and label classes. Rows are those of the node table."""

    def __init__(self, rows: int, namespace_labels: Callable[[str], Labels]) -> None:
        self._rows = rows
        self._namespace_labels = namespace_labels
        self._counters: dict[Conjunction, Counter] = {}
        self._carried: dict[tuple[str, AffinityTerm], Carried] = {}
        self._classes: dict[tuple[str, tuple[tuple[str, str], ...]], LabelClass] = {}
        self._counters_at: dict[Place, list[Counter]] = {}
        self._carried_at: dict[Place, list[Carried]] = {}
        self.keys: set[str] = set()
        self.keys_version = 0

    def resize(self, rows: int) -> None:
        """Make room for more rows."""
        if rows <= self._rows:
            return
        self._rows = rows
        for counter in self._counters.values():
            counter.total, counter.live = padded(counter.total, rows), padded(counter.live, rows)
        for carried in self._carried.values():
            carried.rows = padded(carried.rows, rows)

    def enter(self, namespace: str, labels: Labels) -> LabelClass:
        """The class of such pods, with one more user."""
        key = (namespace, tuple(sorted(labels.items())))
        found = self._classes.get(key)
        if found is None:
            found = self._classes[key] = LabelClass(namespace, dict(labels))
            places = [("", ""), *found.labels.items()]
            found.counters = [
                counter
                for place in places
                for counter in self._counters_at.get(place, ())
                if self._matches(counter.terms, found)
            ]
            found.meant_by = [
                carried
                for place in places
                for carried in self._carried_at.get(place, ())
                if self._matches((carried.item.term,), found)
            ]
        found.users += 1
        return found

    def leave(self, label_class: LabelClass) -> None:
        """One user less; a class without users is forgotten."""
        label_class.users -= 1
        if label_class.users == 0:
            assert not label_class.rows, "a label class without users counts no pods"
            key = (label_class.namespace, tuple(sorted(label_class.labels.items())))
            del self._classes[key]

    def counter(self, terms: Conjunction) -> Counter:
        """The counter of a conjunction, filled from the pods that are placed already."""
        found = self._counters.get(terms)
        if found is not None:
            return found
        zeros = np.zeros(self._rows, dtype=np.int64)
        found = self._counters[terms] = Counter(terms, zeros, zeros.copy())
        for place in _places(terms[0]):
            self._counters_at.setdefault(place, []).append(found)
        self._note_keys(terms)
        for label_class in self._classes.values():
            if self._matches(terms, label_class):
                label_class.counters.append(found)
                for row, (total, live) in label_class.rows.items():
                    found.total[row] += total
                    found.live[row] += live
        return found

    def carried(self, kind: str, item: AffinityTerm) -> Carried:
        """The count of pods that carry a term (kind: anti, affinity or preferred)."""
        found = self._carried.get((kind, item))
        if found is not None:
            return found
        found = Carried(item, kind, np.zeros(self._rows, dtype=np.int64))
        self._carried[kind, item] = found
        for place in _places(item.term):
            self._carried_at.setdefault(place, []).append(found)
        self._note_keys((item.term,))
        for label_class in self._classes.values():
            if self._matches((item.term,), label_class):
                label_class.meant_by.append(found)
        return found

    def place(self, label_class: LabelClass, row: int, *, live: bool, sign: int) -> None:
        """Count a pod on a row (+1), or no longer (-1)."""
        counts = label_class.rows.setdefault(row, [0, 0])
        counts[0] += sign
        counts[1] += sign if live else 0
        assert counts[0] >= counts[1] >= 0, "pods are counted as often as they are discounted"
        if counts[0] == 0:
            del label_class.rows[row]
        for counter in label_class.counters:
            counter.total[row] += sign
            if live:
                counter.live[row] += sign

    def means(self, terms: Conjunction, label_class: LabelClass) -> bool:
        """Whether every term means pods of the class."""
        return self._matches(terms, label_class)

    def relevant(self, labels: Labels) -> tuple[tuple[str, str], ...]:
        """The labels that any selector asks for: others cannot matter to scheduling."""
        return tuple(sorted((k, v) for k, v in labels.items() if k in self.keys))

    def _matches(self, terms: Conjunction, label_class: LabelClass) -> bool:
        namespace = label_class.namespace
        labels = self._namespace_labels(namespace)
        return all(term.matches(namespace, labels, label_class.labels) for term in terms)

    def _note_keys(self, terms: Conjunction) -> None:
        for term in terms:
            for key, _, _ in term.requirements or ():
                if key not in self.keys:
                    self.keys.add(key)
                    self.keys_version += 1


def _places(term: Term) -> list[Place]:
    for key, operator, values in term.requirements or ():
        if operator == "In":
            return [(key, value) for value in values]
    return [("", "")]
