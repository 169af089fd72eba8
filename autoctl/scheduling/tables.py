"""Label values as numbers, so that requirements become masks over many nodes or offers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from autoctl.api import labels
from autoctl.scheduling.requirements import Requirement, Requirements

Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]

UNDEFINED = -1
"""Code of a label that is absent."""
FREE = -2
"""Code of a label whose value is not known yet and may be any (a new node's region or hostname)."""


class Vocabulary:
    """For each label key, its values by number."""

    def __init__(self) -> None:
        self._codes: dict[str, dict[str, int]] = {}
        self._values: dict[str, list[str]] = {}

    def code(self, key: str, value: str) -> int:
        """The value's number; new values get the next one."""
        codes = self._codes.setdefault(key, {})
        found = codes.get(value)
        if found is None:
            found = codes[value] = len(codes)
            self._values.setdefault(key, []).append(value)
        return found

    def values(self, key: str) -> Sequence[str]:
        """The values numbered so far."""
        return self._values.get(key, ())


class LabelTable:
    """The labels of `size` things (nodes, offers), a column of codes for each key on demand."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        size: int,
        column: Callable[[str], Iterable[str | int | None]],
    ) -> None:
        """`column` gives a key's values in order: text, None where absent, or the code FREE."""
        self.vocabulary = vocabulary
        self.size = size
        self._column = column
        self._columns: dict[str, Codes] = {}
        self._masks: dict[object, Mask] = {}

    def codes(self, key: str) -> Codes:
        """(size,) codes of a label key."""
        found = self._columns.get(key)
        if found is None:
            numbers: dict[str | int | None, int] = {None: UNDEFINED, FREE: FREE}
            out = np.empty(self.size, np.int64)
            for i, value in enumerate(self._column(key)):
                number = numbers.get(value)
                if number is None:
                    assert isinstance(value, str)
                    number = numbers[value] = self.vocabulary.code(key, value)
                out[i] = number
            found = self._columns[key] = out
        return found

    def mask_of(self, requirement: Requirement) -> Mask:
        """(size,) which things satisfy one requirement; cached."""
        found = self._masks.get(requirement)
        if found is None:
            codes = self.codes(requirement.key)
            values = self.vocabulary.values(requirement.key)
            allowed = np.empty(len(values) + 2, np.bool_)
            for i, value in enumerate(values):
                allowed[i] = requirement.accepts(value)
            allowed[UNDEFINED] = requirement.accepts(None)
            allowed[FREE] = _free(requirement)
            found = self._masks[requirement] = allowed[codes]
        return found

    def mask(self, requirements: Requirements) -> Mask:
        """(size,) which things satisfy all requirements; cached."""
        found = self._masks.get(requirements)
        if found is None:
            found = np.ones(self.size, np.bool_)
            for requirement in requirements.values():
                found = found & self.mask_of(requirement)
            self._masks[requirements] = found
        return found

    def any_mask(self, alternatives: Sequence[Requirements]) -> Mask:
        """(size,) which things satisfy one of the alternatives."""
        found = np.zeros(self.size, np.bool_)
        for alternative in alternatives:
            found = found | self.mask(alternative)
        return found


def _free(requirement: Requirement) -> bool:
    """A value still to be decided can be anything, but nobody can ask for a hostname in advance."""
    if requirement.key == labels.HOSTNAME:
        return requirement.complement
    return requirement.operator != "DoesNotExist"
