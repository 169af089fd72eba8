"""Commands under way, written on the NodeClaims they concern.

A command survives its leader: the NodeClaims that go and those that replace them carry its id, so
that whoever leads next finishes it, or takes it back. Nothing of it is kept anywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.disruption.model import ConsolidationType, Reason
from autoctl.state.snapshot import Snapshot

COMMAND: Final = "autoctl.io/disruption-command"
"""On NodeClaims that go: what the command is, as JSON."""
REPLACES: Final = "autoctl.io/disruption-replaces"
"""On NodeClaims bought by a command: the command's id."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a NodeClaim that goes carries."""

    id: str
    reason: Reason
    replacements: int
    started: datetime
    consolidation_type: ConsolidationType = ConsolidationType.NONE
    nodes: int = 0
    """How many nodes go; 0 in marks of versions that did not tell."""

    def encode(self) -> str:
        return json.dumps(
            {
                "id": self.id,
                "reason": self.reason.value,
                "replacements": self.replacements,
                "started": self.started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "type": self.consolidation_type.value,
                "nodes": self.nodes,
            },
            separators=(",", ":"),
        )


@dataclass(frozen=True)
class InFlight:
    """A command under way: its mark, the NodeClaims that still go, and its replacements so far."""

    mark: Mark
    candidates: tuple[NodeClaim, ...]
    replacements: tuple[NodeClaim, ...]

    @property
    def decision(self) -> str:
        return "replace" if self.mark.replacements else "delete"


def read_mark(claim: NodeClaim) -> Mark | None:
    """The NodeClaim's mark; None when it has none, or one that cannot be read."""
    text = claim.metadata.annotations.get(COMMAND)
    return None if text is None else _decoded(text)


@lru_cache(maxsize=4096)
def _decoded(text: str) -> Mark | None:
    try:
        value: Any = json.loads(text)
        return Mark(
            id=str(value["id"]),
            reason=Reason(value["reason"]),
            replacements=int(value["replacements"]),
            started=datetime.fromisoformat(value["started"]),
            consolidation_type=ConsolidationType(value.get("type", "")),
            nodes=int(value.get("nodes", 0)),
        )
    except (ValueError, KeyError, TypeError):
        # Somebody else wrote it: no command of ours, so the node is rolled back like an orphan.
        return None


def in_flight(claims: Iterable[NodeClaim]) -> dict[str, InFlight]:
    """All commands under way, by id."""
    going: dict[str, list[NodeClaim]] = {}
    coming: dict[str, list[NodeClaim]] = {}
    marks: dict[str, Mark] = {}
    for claim in claims:
        mark = read_mark(claim)
        if mark is not None:
            marks[mark.id] = mark
            going.setdefault(mark.id, []).append(claim)
        replaces = claim.metadata.annotations.get(REPLACES)
        if replaces is not None:
            coming.setdefault(replaces, []).append(claim)
    return {
        name: InFlight(mark, tuple(going[name]), tuple(coming.get(name, ())))
        for name, mark in marks.items()
    }


class _Last:
    """The NodeClaims of the last snapshot, and the commands on them.

    Snapshots never change, and share their NodeClaims until one of these does.
    """

    claims: Mapping[str, NodeClaim] = MappingProxyType({})
    commands: Mapping[str, InFlight] = MappingProxyType({})


def under_way(snapshot: Snapshot) -> Mapping[str, InFlight]:
    """All commands under way, by id."""
    claims = snapshot.node_claims
    if claims is not _Last.claims:
        _Last.claims, _Last.commands = claims, MappingProxyType(in_flight(claims.values()))
    return _Last.commands


def unfinished_replacements(snapshot: Snapshot) -> dict[str, NodeClaim]:
    """Replacements whose command still has a node to take away: they stay, empty or not."""
    return {
        claim.name: claim
        for command in under_way(snapshot).values()
        for claim in command.replacements
    }
