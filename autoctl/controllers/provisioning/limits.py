"""Whether a pool's limits still allow a node that was decided on: a pure decision."""

from __future__ import annotations

from collections.abc import Mapping

from autoctl.catalog.model import Resources


def exceeded(limits: Resources, usage: Resources, more: Mapping[str, int]) -> str | None:
    """The limit that a further node of capacity `more` would break, or None.

    A node counts one of the resource `nodes`.
    """
    for resource, limit in sorted(limits.items()):
        extra = 1 if resource == "nodes" else more.get(resource, 0)
        if extra and usage.get(resource, 0) + extra > limit:
            return f"limit {resource} {limit} exceeded: {usage.get(resource, 0)} in use"
    return None
