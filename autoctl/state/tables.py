"""Tables of objects that reflectors keep: shared copies, and indices by a computed value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, TypeVar

from autoctl.ports.kubernetes import EventType
from autoctl.state.reflector import Change, Reflector

T = TypeVar("T")


class Table(Generic[T]):
    """A kind's reflector with its revision and the copy that snapshots share."""

    def __init__(self, reflector: Reflector[T]) -> None:
        self.reflector = reflector
        self.revision = 0
        self._copy: Mapping[str, T] = MappingProxyType({})
        self._changes: set[str] = set()
        """Keys of what changed since the copy was made."""
        reflector.subscribe(self._changed)

    def _changed(self, changes: Sequence[Change[T]]) -> None:
        self.revision += len(changes)
        self._changes.update(c.key for c in changes)

    def copy(self) -> Mapping[str, T]:
        """The objects as they are now, in the order of their keys."""
        if self._changes:
            store, old = self.reflector.store, self._copy
            if all((key in store) == (key in old) for key in self._changes):
                # The order stays: nothing to sort.
                found = dict(old)
                found.update((key, store[key]) for key in self._changes if key in store)
            else:
                found = {key: store[key] for key in sorted(store)}
            self._copy = MappingProxyType(found)
            self._changes.clear()
        return self._copy


class Index(Generic[T]):
    """Objects of a table by a value computed from each; None leaves an object out."""

    def __init__(self, reflector: Reflector[T], value: Callable[[T], str | None]) -> None:
        self._value = value
        self._found: dict[str, dict[str, T]] = {}
        reflector.subscribe(self._changed)

    def __getitem__(self, value: str) -> Mapping[str, T]:
        """The objects with that value, by key; empty when there are none."""
        return MappingProxyType(self._found.get(value, {}))

    def _changed(self, changes: Sequence[Change[T]]) -> None:
        for change in changes:
            if change.previous is not None:
                self._remove(self._value(change.previous), change.key)
            if change.type is not EventType.DELETED:
                value = self._value(change.object)
                if value is not None:
                    self._found.setdefault(value, {})[change.key] = change.object

    def _remove(self, value: str | None, key: str) -> None:
        if value is None:
            return
        entries = self._found.get(value)
        if entries is not None:
            entries.pop(key, None)
            if not entries:
                del self._found[value]
