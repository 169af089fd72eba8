"""Scheduling measured: pods by the thousand, one solve, pods a second and cost over the bound.

The pods of the `diverse` mix and the instance types are those of Karpenter's scheduling benchmark
(fifths: plain, zonal spread, hostname spread, zonal self-affinity, hostname anti-affinity),
so that figures compare. A trace of a real cluster can be planned instead.
"""

from __future__ import annotations

import csv
import gc
import math
import random
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from autoctl.api import core, labels
from autoctl.catalog.embedded import load_catalog
from autoctl.catalog.model import ON_DEMAND, SPOT, InstanceType, Offering
from autoctl.scheduling.problem import ExistingNode, Pool, RequirementSpec, SchedulingProblem
from autoctl.scheduling.solve import solve

MIXES: Final = ("diverse", "uniform", "bimodal", "large", "preferences")
TRACE_REGION: Final = "us-west-2"

_NODE_TYPE: Final = 3
"""Nodes that are there have four vCPUs."""
_PODS_A_NODE: Final = 5
_MIB = 2**20
_GIB = 2**30
_CPUS = (100, 250, 500, 1000, 1500)
_MEMORIES = (100, 256, 512, 1024, 2048, 4096)
_VALUES = ("a", "b", "c", "d", "e", "f", "g")


def bench_schedule(
    pods: int,
    instance_types: int = 400,
    seed: int = 42,
    mix: str = "diverse",
    trace: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
    nodes: int = 0,
) -> dict[str, Any]:
    """Make pods (or read them from `trace`), solve once, and report.

    With `nodes` there are so many with five pods each, known from a solve before, of which one has
    changed since: what the operator finds when a pod comes.

    `progress` is told each stage. Seconds are those of the solve alone, by the clock and of the
    processor (they differ where other work shares it); peak memory (MiB) is the process's, pods
    included. What was made before is out of the garbage collector's sight, as the operator's mirror
    is. A trace is planned on the built-in catalog with every family allowed.

    Raises:
        ValueError: an unknown mix, or a trace without the columns that are read.
    """
    progress("making pods")
    if trace is not None:
        given = read_trace(trace)
        types = tuple(load_catalog(TRACE_REGION).instance_types.values())
    else:
        given = make_pods(pods, mix, random.Random(seed))  # noqa: S311 - a benchmark's seed
        types = fake_types(instance_types)
    pool = Pool(
        name="default",
        instance_types=types,
        requirements=(RequirementSpec(labels.CAPACITY_TYPE, "In", (ON_DEMAND, SPOT)),),
    )
    problem = SchedulingProblem(pods=given, pools=(pool,))
    if nodes:
        progress("making nodes")
        problem = _warmed(problem, nodes, types[min(_NODE_TYPE, len(types) - 1)])
    progress("solving")
    gc.collect()
    gc.freeze()
    begin, used = time.perf_counter(), time.process_time()
    solution = solve(problem)
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - used
    gc.unfreeze()
    progress("done")
    over = solution.cost / solution.lower_bound - 1 if solution.lower_bound else 0.0
    return {
        "pods": len(given),
        "mix": "trace" if trace is not None else mix,
        "instanceTypes": len(types),
        "seed": seed,
        "seconds": round(seconds, 4),
        "cpuSeconds": round(cpu_seconds, 4),
        "podsPerSecond": round(len(given) / seconds, 1) if seconds else 0.0,
        "existingNodes": nodes,
        "nodes": len(solution.new_nodes),
        "usdPerHour": round(solution.cost, 4),
        "lowerBound": round(solution.lower_bound, 4),
        "costOverBound": round(over, 5),
        "peakMemoryMiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "unschedulable": len(solution.unschedulable),
        "method": solution.method,
        "work": solution.work,
    }


def _warmed(problem: SchedulingProblem, nodes: int, machine: InstanceType) -> SchedulingProblem:
    """The problem beside `nodes` nodes of `machine` that a solve has seen, but for one change."""
    zones = sorted({o.zone for o in machine.offerings})
    there = []
    for index in range(nodes):
        name = f"node-{index:05d}"
        there.append(
            ExistingNode(
                name=name,
                labels={
                    **machine.labels,
                    labels.HOSTNAME: name,
                    labels.ZONE: zones[index % len(zones)],
                    labels.CAPACITY_TYPE: ON_DEMAND,
                    labels.NODEPOOL: "default",
                },
                allocatable=machine.allocatable,
                pods=tuple(_bound(f"{name}-{i}", name) for i in range(_PODS_A_NODE)),
                pool="default",
            )
        )
    before = replace(problem, pods=(_pod("before", (100, 100)),), nodes=tuple(there))
    solve(before)
    first = there[0]
    there[0] = replace(first, pods=(*first.pods, _bound("since", first.name)))
    return replace(problem, nodes=tuple(there))


def _bound(name: str, node: str) -> core.Pod:
    pod = _pod(name, (500, 1024))
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name=node))


def fake_types(number: int) -> tuple[InstanceType, ...]:
    """Types of 1 to `number` vCPUs with 2 GiB and 10 pods a vCPU, priced by size alone."""
    found = []
    for i in range(number):
        cpu = i + 1
        memory = 2 * cpu * _GIB
        price = 0.1 * cpu + 0.1 * memory / 1e9
        offerings = [Offering(f"test-zone-{z}", SPOT, price) for z in (1, 2)]
        offerings += [Offering(f"test-zone-{z}", ON_DEMAND, price) for z in (1, 2, 3)]
        name = f"fake-it-{i}"
        found.append(
            InstanceType(
                name=name,
                architecture="amd64",
                capacity={"cpu": 1000 * cpu, "memory": memory, "pods": 10 * cpu},
                overhead={"cpu": 100, "memory": 10 * _MIB},
                labels={labels.INSTANCE_TYPE: name, labels.ARCH: "amd64", labels.OS: "linux"},
                offerings=tuple(offerings),
            )
        )
    return tuple(found)


def make_pods(number: int, mix: str, rng: random.Random) -> tuple[core.Pod, ...]:
    """`number` pods of a mix.

    Raises:
        ValueError: an unknown mix.
    """
    if mix not in MIXES:
        raise ValueError(f"mix {mix!r}: expected one of {', '.join(MIXES)}")
    made = []
    for i in range(number):
        name = f"pod-{i:06d}"
        if mix == "diverse":
            made.append(_diverse(name, i * 5 // number, rng))
        elif mix == "uniform":
            size = (rng.randrange(100, 2001, 50), rng.randrange(128, 4097, 64))
            made.append(_pod(name, size))
        elif mix == "bimodal":
            small = (rng.randrange(50, 301, 50), rng.randrange(64, 513, 64))
            big = (rng.randrange(3000, 6001, 250), rng.randrange(4096, 12289, 512))
            made.append(_pod(name, big if rng.random() < 0.2 else small))
        elif mix == "large":
            size = (rng.randrange(4000, 32001, 1000), rng.randrange(8192, 65537, 2048))
            made.append(_pod(name, size))
        else:
            made.append(_preferring(name, rng))
    return tuple(made)


def read_trace(path: Path) -> tuple[core.Pod, ...]:
    """The pods of a trace with the columns name, cpu_milli, memory_mib, num_gpu, gpu_milli.

    Shares of a GPU are rounded up to whole ones.

    Raises:
        ValueError: a column is missing.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    needed = {"name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"}
    if not rows or not needed <= rows[0].keys():
        raise ValueError(
            f"{path}: expected a CSV file with the columns {', '.join(sorted(needed))}"
        )
    found = []
    for row in rows:
        gpus = math.ceil(int(row["num_gpu"]) * min(int(row["gpu_milli"] or 0), 1000) / 1000)
        size = (int(row["cpu_milli"]), int(row["memory_mib"]))
        found.append(_pod(row["name"], size, extra={"nvidia.com/gpu": gpus} if gpus else {}))
    return tuple(found)


def _pod(
    name: str,
    size: tuple[int, int],
    pod_labels: dict[str, str] | None = None,
    affinity: core.Affinity | None = None,
    spread: Sequence[core.TopologySpreadConstraint] | None = None,
    extra: Mapping[str, int] | None = None,
) -> core.Pod:
    requests: core.ResourceList = {"cpu": f"{size[0]}m", "memory": f"{size[1]}Mi"}
    requests.update(extra or {})
    container = core.Container(name="main", resources=core.ResourceRequirements(requests=requests))
    return core.Pod(
        metadata=core.ObjectMeta(name=name, namespace="default", uid=name, labels=pod_labels),
        spec=core.PodSpec(
            containers=[container],
            affinity=affinity,
            topology_spread_constraints=list(spread) if spread else None,
        ),
    )


def _diverse(name: str, part: int, rng: random.Random) -> core.Pod:
    size = _size(rng)
    if part == 0:
        return _pod(name, size, _random_labels(rng, "my-label"))
    if part in (1, 2):
        key = labels.ZONE if part == 1 else labels.HOSTNAME
        selector = core.LabelSelector(match_labels=_random_labels(rng, "my-label"))
        constraint = core.TopologySpreadConstraint(
            max_skew=1,
            topology_key=key,
            when_unsatisfiable="DoNotSchedule",
            label_selector=selector,
        )
        return _pod(name, size, _random_labels(rng, "my-label"), spread=[constraint])
    if part == 3:
        own = _random_labels(rng, "my-affininity")
        return _pod(name, size, own, affinity=_together(own, labels.ZONE))
    nginx = {"app": "nginx"}
    return _pod(name, size, nginx, affinity=_apart(nginx, labels.HOSTNAME))


def _preferring(name: str, rng: random.Random) -> core.Pod:
    nginx = {"app": "nginx"}
    term = core.WeightedPodAffinityTerm(weight=10, pod_affinity_term=_term(nginx, labels.HOSTNAME))
    anti = core.PodAffinity(preferred_during_scheduling_ignored_during_execution=[term])
    return _pod(name, _size(rng), nginx, affinity=core.Affinity(pod_anti_affinity=anti))


def _size(rng: random.Random) -> tuple[int, int]:
    return rng.choice(_CPUS), rng.choice(_MEMORIES)


def _random_labels(rng: random.Random, key: str) -> dict[str, str]:
    return {key: rng.choice(_VALUES)}


def _term(wanted: dict[str, str], key: str) -> core.PodAffinityTerm:
    return core.PodAffinityTerm(
        topology_key=key, label_selector=core.LabelSelector(match_labels=wanted)
    )


def _together(wanted: dict[str, str], key: str) -> core.Affinity:
    terms = core.PodAffinity(
        required_during_scheduling_ignored_during_execution=[_term(wanted, key)]
    )
    return core.Affinity(pod_affinity=terms)


def _apart(wanted: dict[str, str], key: str) -> core.Affinity:
    terms = core.PodAffinity(
        required_during_scheduling_ignored_during_execution=[_term(wanted, key)]
    )
    return core.Affinity(pod_anti_affinity=terms)
