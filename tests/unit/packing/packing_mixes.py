"""Workloads and catalogs for the packing tests and measurements; EC2-like, from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from autoctl.scheduling.packing.model import BoolArray, FloatArray, PackingInput

MIB = float(1 << 20)
GIB = float(1 << 30)


def linear_catalog(types: int) -> tuple[FloatArray, FloatArray]:
    """Type i has i+1 cpu, 2(i+1) GiB and 10(i+1) pods at a price linear in both; x 5 offers."""
    size = np.arange(1, types + 1, dtype=np.float64)
    room = np.stack([size * 1000 - 100, size * 2 * GIB - 10 * MIB, size * 10], axis=1)
    price = 0.1 * size + 0.1 * size * 2 * GIB / 1e9
    return np.repeat(room, 5, axis=0), np.repeat(price, 5)


def ec2_catalog(most_vcpu: int = 96) -> tuple[FloatArray, FloatArray]:
    """c, m and r families, 6 generations, on-demand, kubelet-like reservations; x 3 zones."""
    rows, price = [], []
    for ratio, base in ((2, 0.0425), (4, 0.048), (8, 0.063)):
        for generation in range(6):
            for vcpu in (2, 4, 8, 16, 32, 48, 64, 96):
                if vcpu > most_vcpu:
                    continue
                pods = 29 if vcpu <= 2 else 58 if vcpu <= 8 else 110 if vcpu < 32 else 234
                cpu = vcpu * 1000.0
                reserved = 70 + (cpu - 2000) * 0.0025
                memory = vcpu * ratio * GIB * 0.925 - (11 * pods + 355) * MIB
                rows.append([cpu - np.floor(reserved), np.floor(memory), pods - 0.0])
                price.append(vcpu * base * (1 + 0.04 * (generation - 3)))
    return np.repeat(np.array(rows), 3, axis=0), np.repeat(np.array(price), 3)


def pods_of(mix: str, count: int, rng: np.random.Generator) -> FloatArray:
    """(count, 3) requests of single pods: millicores, bytes, 1."""
    cpus = np.array([100, 250, 500, 1000, 1500], np.float64)
    memories = np.array([100, 256, 512, 1024, 2048, 4096]) * MIB
    if mix == "uniform":
        cpu, memory = rng.choice(cpus, count), rng.choice(memories, count)
    elif mix == "bimodal":
        heavy = rng.random(count) < 0.5
        cpu = np.where(heavy, rng.choice([1000, 2000, 3000], count), rng.choice([100, 250], count))
        memory = (
            np.where(heavy, rng.choice([256, 512], count), rng.choice([4096, 8192, 12288], count))
            * MIB
        )
    elif mix == "large":
        cpu = rng.choice(np.arange(4000, 16000, 500), count)
        memory = rng.choice([4, 8, 16, 24, 32, 48], count) * GIB
    elif mix == "wild":
        cpu = np.clip(np.round(rng.lognormal(np.log(350), 1.0, count) / 25) * 25, 25, 15000)
        ratio = rng.choice([1, 2, 4, 6, 10], count) * rng.uniform(0.7, 1.4, count)
        memory = np.clip(np.round(cpu * ratio / 32) * 32, 32, 110000) * MIB
    else:
        raise ValueError(mix)
    return np.stack([cpu.astype(np.float64), memory.astype(np.float64), np.ones(count)], axis=1)


def question(
    requests: FloatArray,
    catalog: tuple[FloatArray, FloatArray],
    feasible: BoolArray | None = None,
    **more: Any,
) -> PackingInput:
    """A question from single pods: equal pods become one shape."""
    shapes, counts = np.unique(requests, axis=0, return_counts=True)
    room, price = catalog
    if feasible is None:
        feasible = np.ones((len(shapes), len(price)), np.bool_)
    return PackingInput(
        requests=shapes,
        counts=counts.astype(np.int64),
        allocatable=room,
        price=price,
        feasible=feasible,
        **more,
    )


def sample(mix: str, count: int, catalog: tuple[FloatArray, FloatArray], seed: int) -> PackingInput:
    """A batch of `count` pods of `mix`."""
    return question(pods_of(mix, count, np.random.default_rng(seed)), catalog)
