"""A NodePool that leaves labels of its own open: its nodes carry values, and stay."""

from __future__ import annotations

import asyncio
from typing import Any

from harness import deployment, node_class, node_pool, playing

from autoctl.simulate.chaos_objects import TYPES

SETTINGS: dict[str, Any] = {"instanceTypes": list(TYPES), "operator": {"solver_budget": 0}}
OPEN = [
    {"key": "team", "operator": "In", "values": ["a", "b"]},
    {"key": "rack", "operator": "Exists"},
    {"key": "shelf", "operator": "Gt", "values": ["3"]},
    {"key": "old", "operator": "NotIn", "values": ["yes"]},
]


async def test_nodes_with_open_labels_come_to_rest() -> None:
    pool = node_pool()
    pool["spec"]["template"]["spec"]["requirements"] += OPEN
    async with playing(node_class(), pool, deployment(replicas=3), **SETTINGS) as play:
        await play.until(lambda: play.running() == 3)
        await asyncio.sleep(900)
        settled = {n["metadata"]["name"] for n in play.nodes()}
        given = [n["metadata"]["labels"] for n in play.nodes()]
        assert all(g["team"] == "a" and g["rack"] == "0" and g["shelf"] == "4" for g in given)
        assert all("old" not in g for g in given)
        await asyncio.sleep(1800)
        assert {n["metadata"]["name"] for n in play.nodes()} == settled
        assert play.running() == 3
