"""The words of `FailedScheduling`: why a pod has no place, short enough for an event.

Plans and `explain` list every NodePool. An event has 1,024 characters and is read in a terminal, so
pools that refuse a pod alike are named together, and what does not fit is counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from autoctl.scheduling.explain import NO_POOL
from autoctl.scheduling.problem import Unschedulable

LONGEST: Final = 1_000
"""Characters; the API server refuses events of more than 1,024."""
_NAMED: Final = 3
"""How many of the pools that refuse a pod alike are named."""
_TAINT: Final = re.compile(r"^taint \S+ is not tolerated$")
_AMOUNT: Final = re.compile(r"(?:(?<=\s)|(?<=\()|^)\d[\d.]*[A-Za-z]{0,2}(?=[\s,;)]|$)")
"""A number of offers, or a quantity: what differs between pools that refuse for the same reason."""


def failure_text(why: Unschedulable) -> str:
    """One sentence: the reason, then the NodePools by what each says, most telling first."""
    start = f"Failed to schedule pod, {why.reason}"
    detail = {pool: text for pool, text in why.detail.items() if text not in why.reason}
    if why.reason.startswith(f"{NO_POOL}: "):
        start, detail = f"Failed to schedule pod, {NO_POOL}", dict(why.detail)
    left = len(detail)
    room = LONGEST - len(_others(left))
    message = start = start if len(start) <= room else start[: room - 1] + "…"
    for names, text in _alike(detail):
        more = f"{': ' if message is start else '; '}{_names(names)}: {text}"
        if len(message) + len(more) <= room:
            message += more
            left -= len(names)
    return message + _others(left)


def _alike(detail: Mapping[str, str]) -> list[tuple[list[str], str]]:
    """Names of pools with what they say: equal but for amounts, or a taint each.

    Those whose taints keep a pod out come last: mostly it is not meant for them.
    """
    groups: dict[tuple[bool, str], dict[str, str]] = {}
    for pool, text in detail.items():
        tainted = _TAINT.match(text) is not None
        key = (tainted, "" if tainted else _AMOUNT.sub("#", text))
        groups.setdefault(key, {})[pool] = text
    ordered = sorted(groups.items(), key=lambda item: item[0][0])
    return [(list(by_pool), _common(tainted, by_pool)) for (tainted, _), by_pool in ordered]


def _common(tainted: bool, by_pool: Mapping[str, str]) -> str:
    """What the pools of a group say together: the first's words where they differ in amounts."""
    texts = list(dict.fromkeys(by_pool.values()))
    if len(texts) == 1:
        return texts[0]
    if tainted:
        return "each has a taint that is not tolerated"
    return f"{texts[0]} (the first; the others alike)"


def _names(names: list[str]) -> str:
    if len(names) <= _NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more NodePools"


def _others(count: int) -> str:
    if not count:
        return ""
    return f"; {count} more NodePool{'s' if count > 1 else ''} (autoctl explain pod tells all)"
