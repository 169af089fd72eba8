"""A fragmented cluster to consolidate: random nodes, filled to a random degree."""

from __future__ import annotations

import numpy as np
from packing_mixes import MIB, ec2_catalog, pods_of

from autoctl.scheduling.packing.model import PackingInput
from autoctl.scheduling.packing.repack import RepackInput


def cluster(nodes: int, shapes: int, seed: int, pods_per_node: float = 10.0) -> RepackInput:
    """`nodes` nodes of the EC2-like catalog with about `pods_per_node` pods each."""
    rng = np.random.default_rng(seed)
    room, price = ec2_catalog(32)
    requests = np.unique(pods_of("wild", shapes, rng), axis=0)
    requests = requests[(requests[:, 0] <= 6000) & (requests[:, 1] <= 12000 * MIB)]
    popular = rng.pareto(1.1, len(requests)) + 0.2
    offer = rng.integers(0, len(price), nodes)
    free = room[offer].copy()
    floor = room[offer] * (1 - rng.beta(2.2, 1.6, nodes))[:, None] * 0.98
    contents = np.zeros((nodes, len(requests)), np.int64)
    order = rng.choice(len(requests), int(nodes * pods_per_node), p=popular / popular.sum())
    for shape, node in zip(order, rng.integers(0, nodes, len(order)), strict=True):
        if (free[node] - requests[shape] >= floor[node]).all():
            free[node] -= requests[shape]
            contents[node, shape] += 1
    question = PackingInput(
        requests=requests,
        counts=np.zeros(len(requests), np.int64),
        allocatable=room,
        price=price,
        feasible=np.ones((len(requests), len(price)), np.bool_),
        bin_free=free,
        bin_feasible=np.ones((len(requests), nodes), np.bool_),
    )
    return RepackInput(
        question=question,
        contents=contents,
        node_price=price[offer],
        removable=np.ones(nodes, np.bool_),
        moving_cost=np.full(len(requests), 0.0005),
    )
