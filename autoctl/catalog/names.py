"""Instance types by name, for those who look up a few of very many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from autoctl.catalog.model import InstanceType

_MOST: Final = 16
_KNOWN: dict[int, tuple[tuple[InstanceType, ...], Mapping[str, InstanceType]]] = {}
"""Identity of a tuple -> the tuple itself, which keeps the identity its own, and the answer."""


def by_name(types: tuple[InstanceType, ...]) -> Mapping[str, InstanceType]:
    """The types by name. Answers for the tuples asked for last are kept: they are asked again."""
    known = _KNOWN.get(id(types))
    if known is None:
        if len(_KNOWN) >= _MOST:
            _KNOWN.clear()
        known = _KNOWN[id(types)] = (types, {t.name: t for t in types})
    return known[1]
