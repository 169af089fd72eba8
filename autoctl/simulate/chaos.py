"""Random worlds: one seed gives one scenario, of every fault there is.

A world is busy for a while: users change things, faults strike. Then users make peace (budgets of
pods and nodes open, limits and short lives end, everything has a NodePool), no fault is left, and
the world is given time to come to rest. What must hold is in `invariants`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from autoctl.ports.kubernetes import Object
from autoctl.simulate.chaos_extras import (
    RESERVED_TAGS,
    Feature,
    clock_jumps,
    features_of,
    generator,
    lost_leases,
    reservations,
    stateful_workload,
    static_pool,
    storage_class,
)
from autoctl.simulate.chaos_objects import (
    TYPES,
    Pool,
    budget,
    node_class,
    random_pool,
    random_workload,
)
from autoctl.simulate.invariants.violations import QUIET
from autoctl.simulate.scenario import Scenario

SETTLING: Final = timedelta(hours=2)
"""What the world gets to come to rest: an hour's cool-down, repairs, a grace period, a launch."""
_START: Final = datetime(2026, 1, 5, tzinfo=UTC)
_SOLVER_BUDGET: Final = 0


def random_scenario(seed: int) -> Scenario:
    """The scenario of a seed; the same for the same seed, always."""
    rng = Random(f"chaos/{seed}")  # noqa: S311 - reproducible, not secret
    return _Story(rng, features_of(seed)).scenario(seed)


@dataclass
class _Story:
    """Makes up one scenario."""

    rng: Random
    features: frozenset[Feature] = frozenset()
    pools: dict[str, Pool] = field(default_factory=dict)
    budgets: set[str] = field(default_factory=set)
    scalable: dict[str, str] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    steps: list[dict[str, Any]] = field(default_factory=list)
    workloads: int = 0

    def scenario(self, seed: int) -> Scenario:
        rng = self.rng
        busy = timedelta(minutes=rng.choice((15, 30, 60)))
        objects: list[Object] = [node_class()]
        pools = range(rng.choice((1, 1, 2, 3)))
        objects.extend(self._add_pool(f"pool-{number}") for number in pools)
        for _ in range(rng.randrange(1, 5)):
            objects.extend(self._add_workload())
        actions = self._actions()
        seconds = range(20, int(busy.total_seconds()))
        for at in sorted(rng.sample(seconds, rng.randrange(4, 16))):
            action = rng.choices([a for a, _ in actions], weights=[w for _, w in actions], k=1)[0]
            for step in action():
                self.steps.append({"at": timedelta(seconds=at), **step})
        settings = self._add_features(seed, busy, objects)
        self._make_peace(busy)
        return Scenario.model_validate(
            {
                "name": f"random {seed}",
                "start": _START + timedelta(minutes=rng.randrange(0, 10_000)),
                "duration": busy + SETTLING + QUIET,
                "sample": "30m",
                "objects": objects,
                "settings": {
                    "bootSeconds": rng.choice((20, 40, 90)),
                    "bootJitter": rng.choice((0, 0.3)),
                    "podStartSeconds": rng.choice((1, 5, 20)),
                    "instanceTypes": list(TYPES),
                    "operator": {"solver_budget": _SOLVER_BUDGET, "metrics_detail": "pool"},
                    **settings,
                },
                "steps": self.steps,
            }
        )

    def _add_features(self, seed: int, busy: timedelta, objects: list[Object]) -> dict[str, Any]:
        """Add what this world has beside the rest, and return settings for it."""
        settings: dict[str, Any] = {}
        if Feature.STATIC in self.features:
            rng = generator(seed, Feature.STATIC)
            pool = self.pools["static"] = static_pool(rng)
            objects.append(pool.manifest())
            for at in sorted(rng.sample(range(20, int(busy.total_seconds())), 3)):
                pool = self.pools["static"] = pool.edited(rng)
                self.steps.append({"at": timedelta(seconds=at), "apply": [pool.manifest()]})
        if Feature.BALANCED in self.features:
            name = min(self.pools)
            self.pools[name] = replace(self.pools[name], policy="Balanced")
            for spec in self._versions(name, objects):
                spec["disruption"]["consolidationPolicy"] = "Balanced"
        if Feature.VOLUMES in self.features:
            rng = generator(seed, Feature.VOLUMES)
            objects += [storage_class(), stateful_workload(rng)]
            for at in rng.sample(range(20, int(busy.total_seconds())), 3):
                scale = {"kind": "StatefulSet", "name": "data", "replicas": rng.randrange(5)}
                self.steps.append({"at": timedelta(seconds=at), "scale": scale})
        if Feature.RESERVATIONS in self.features:
            settings["reservations"] = reservations(generator(seed, Feature.RESERVATIONS))
            terms = [{"tags": RESERVED_TAGS}]
            objects[0] = node_class(capacityReservationSelectorTerms=terms)
            name = min(self.pools)
            kinds = (*self.pools[name].capacity_types, "reserved")
            self.pools[name] = replace(self.pools[name], capacity_types=kinds)
            for spec in self._versions(name, objects):
                spec["template"]["spec"]["requirements"][0]["values"] = list(kinds)
        if Feature.STANDBY in self.features:
            settings["operators"] = 2
            self.steps += lost_leases(generator(seed, Feature.STANDBY), busy)
        if Feature.CLOCKS in self.features:
            self.steps += clock_jumps(generator(seed, Feature.CLOCKS), busy)
        return settings

    def _versions(self, name: str, objects: list[Object]) -> Iterator[Object]:
        """The specs of a pool: at the start, and as steps apply them later."""
        applied = (o for s in self.steps for o in s.get("apply") or ())
        for obj in (*objects, *applied):
            if obj["kind"] == "NodePool" and obj["metadata"]["name"] == name:
                yield obj["spec"]

    def _add_pool(self, name: str) -> Object:
        pool = self.pools[name] = random_pool(self.rng, name)
        return pool.manifest()

    def _add_workload(self) -> list[Object]:
        objects = random_workload(self.rng, self.workloads)
        self.workloads += 1
        for obj in objects:
            name = obj["metadata"]["name"]
            if obj["kind"] == "PodDisruptionBudget":
                self.budgets.add(name)
            elif obj["kind"] in ("Deployment", "StatefulSet"):
                self.scalable[name] = obj["kind"]
                if obj["spec"]["template"]["metadata"]["annotations"]:
                    self.protected.add(name)
        return objects

    def _actions(self) -> list[tuple[Callable[[], list[dict[str, Any]]], int]]:
        """What may happen, and how often."""
        return [
            (self._scale, 6),
            (lambda: [{"apply": self._add_workload()}], 2),
            (self._delete_object, 3),
            (self._edit_pool, 3),
            (self._delete_pool, 1),
            (self._release_ami, 2),
            (self._lose_leader, 3),
            (self._break_cluster, 3),
            (self._break_cloud, 4),
            (self._break_instances, 4),
        ]

    def _scale(self) -> list[dict[str, Any]]:
        if not self.scalable:
            return []
        name = self.rng.choice(sorted(self.scalable))
        replicas = self.rng.choice((0, 1, 2, 4, 6, 10))
        return [{"scale": {"kind": self.scalable[name], "name": name, "replicas": replicas}}]

    def _delete_object(self) -> list[dict[str, Any]]:
        kind = self.rng.choice(("Pod", "Node", "NodeClaim"))
        return [{"delete": {"kind": kind, "any": self.rng.randrange(100)}}]

    def _edit_pool(self) -> list[dict[str, Any]]:
        name = self.rng.choice(sorted(self.pools))
        self.pools[name] = self.pools[name].edited(self.rng)
        return [{"apply": [self.pools[name].manifest()]}]

    def _delete_pool(self) -> list[dict[str, Any]]:
        return [{"delete": {"kind": "NodePool", "any": self.rng.randrange(100)}}]

    def _release_ami(self) -> list[dict[str, Any]]:
        return [{"fault": {"type": "ami-release"}}]

    def _lose_leader(self) -> list[dict[str, Any]]:
        fault: dict[str, Any] = {"type": "leader-loss"}
        if self.rng.random() < 0.7:
            fault["write"] = self.rng.randrange(1, 12)
        return [{"fault": fault}]

    def _for(self) -> str:
        return f"{self.rng.choice((30, 120, 300, 600))}s"

    def _break_cluster(self) -> list[dict[str, Any]]:
        rng = self.rng
        fault: dict[str, Any]
        match rng.randrange(4):
            case 0:
                fault = {
                    "type": "node-condition",
                    "condition": rng.choice(("Ready", "NetworkingReady", "MemoryPressure")),
                    "status": rng.choice(("False", "Unknown")),
                    "count": rng.randrange(1, 3),
                    "for": rng.choice(("2m", "40m")),
                }
            case 1:
                fault = {"type": "eviction-blocked", "for": self._for()}
            case _:
                fault = {
                    "type": "kube-error",
                    "share": rng.choice((0.1, 0.5, 1.0)),
                    "answerLost": rng.random() < 0.5,
                    "verbs": rng.choice(([], ["patch"], ["create"], ["delete"], ["watch", "list"])),
                    "for": self._for(),
                }
        return [{"fault": fault}]

    def _break_cloud(self) -> list[dict[str, Any]]:
        rng = self.rng
        lasting = {"for": self._for()}
        faults: tuple[dict[str, Any], ...] = (
            {"type": "insufficient-capacity", "capacityTypes": ["spot"]},
            {"type": "insufficient-capacity", "instanceTypes": ["m*"]},
            {"type": "insufficient-capacity", "zones": ["us-west-2a", "us-west-2b"]},
            {"type": "insufficient-capacity"},
            {"type": "api-throttle", "operations": ["ec2:*"], "share": 0.5},
            {"type": "api-error", "operations": ["ec2:CreateFleet"], "share": 0.5},
            {"type": "api-error", "operations": ["ec2:Describe*"]},
            {"type": "api-error", "operations": ["ec2:TerminateInstances"]},
            {"type": "api-error", "operations": ["*"], "share": 0.3},
            {"type": "slow-launch", "delay": rng.choice((120, 600))},
            {"type": "never-registers", "share": 0.5},
            {"type": "never-registers"},
        )
        return [{"fault": rng.choice(faults) | lasting}]

    def _break_instances(self) -> list[dict[str, Any]]:
        rng = self.rng
        count = rng.randrange(1, 4)
        return [
            {
                "fault": rng.choice(
                    (
                        {"type": "spot-interruption", "count": count},
                        {"type": "instance-terminated", "count": count},
                        {
                            "type": "instance-impaired",
                            "count": 1,
                            "category": rng.choice(("instance", "system", "ebs")),
                        },
                    )
                )
            }
        ]

    def _make_peace(self, at: timedelta) -> None:
        """Whatever keeps nodes or pods from their end is taken away, and all have a home."""
        calm = [pool.calm().manifest() for pool in self.pools.values()]
        open_budgets = [budget(name, maxUnavailable=1) for name in sorted(self.budgets)]
        self.steps.append({"at": at, "apply": calm})
        if open_budgets:
            self.steps += [
                {
                    "at": at,
                    "delete": {"kind": "PodDisruptionBudget", "name": b["metadata"]["name"]},
                }
                for b in open_budgets
            ]
            self.steps.append({"at": at + timedelta(seconds=1), "apply": open_budgets})
        for name in sorted(self.protected):
            self.steps.append(
                {"at": at, "scale": {"kind": self.scalable[name], "name": name, "replicas": 0}}
            )
