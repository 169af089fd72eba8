"""Random NodePools and workloads, small enough that a world of them is played in a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from autoctl.ports.kubernetes import Object

NAMESPACE: Final = "default"
NODE_CLASS: Final = "default"
TYPES: Final = (
    "m6i.large",
    "m6i.xlarge",
    "c6i.large",
    "c6i.2xlarge",
    "r6i.large",
    "m7g.large",
    "c7g.xlarge",
)
"""Seven types are enough to choose among, and keep every solve short."""
_BUDGETS: Final[tuple[list[dict[str, Any]], ...]] = (
    [{"nodes": "100%"}],
    [{"nodes": "10%"}],
    [{"nodes": "50%"}],
    [{"nodes": "1"}],
    [{"nodes": "2"}, {"nodes": "0", "reasons": ["Drifted"]}],
    [{"nodes": "1", "reasons": ["Underutilized", "Empty"]}],
    [{"nodes": "0", "schedule": "20 * * * *", "duration": "15m"}, {"nodes": "60%"}],
    [{"nodes": "1", "reasons": ["Expired"]}, {"nodes": "100%"}],
)


def node_class(name: str = NODE_CLASS, **spec: Any) -> Object:
    """A NodeClass that the simulated account satisfies."""
    tags = {"tags": {"kubernetes.io/cluster/autoctl": "*"}}
    return {
        "apiVersion": "eks.amazonaws.com/v1",
        "kind": "NodeClass",
        "metadata": {"name": name},
        "spec": {
            "role": "autoctl-node",
            "subnetSelectorTerms": [tags],
            "securityGroupSelectorTerms": [tags],
            **spec,
        },
    }


@dataclass(frozen=True)
class Pool:
    """What a random NodePool is made from; one field at a time is edited later."""

    name: str
    capacity_types: tuple[str, ...]
    types: tuple[str, ...]
    budgets: int
    policy: str
    consolidate_after: str
    expire_after: str
    grace: str
    weight: int | None
    limit: int | None
    labels: tuple[tuple[str, str], ...] = ()
    replicas: int | None = None

    def manifest(self) -> Object:
        """The NodePool."""
        requirements = [
            {
                "key": "karpenter.sh/capacity-type",
                "operator": "In",
                "values": list(self.capacity_types),
            },
            {
                "key": "node.kubernetes.io/instance-type",
                "operator": "In",
                "values": list(self.types),
            },
            {
                "key": "kubernetes.io/arch",
                "operator": "In",
                "values": ["amd64", "arm64"],
            },
        ]
        spec: dict[str, Any] = {
            "replicas": self.replicas,
            "weight": self.weight,
            "limits": None if self.limit is None else {"cpu": str(self.limit)},
            "disruption": {
                "consolidationPolicy": self.policy,
                "consolidateAfter": self.consolidate_after,
                "budgets": _BUDGETS[self.budgets],
            },
            "template": {
                "metadata": {"labels": dict(self.labels)},
                "spec": {
                    "nodeClassRef": {
                        "group": "eks.amazonaws.com",
                        "kind": "NodeClass",
                        "name": NODE_CLASS,
                    },
                    "requirements": requirements,
                    "expireAfter": self.expire_after,
                    "terminationGracePeriod": self.grace,
                },
            },
        }
        return {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": self.name},
            "spec": {k: v for k, v in spec.items() if v is not None},
        }

    def edited(self, rng: Random) -> Pool:
        """The pool with one thing changed: some changes make its nodes drift, others do not."""
        if self.replicas is not None:
            return self._static_edited(rng)
        match rng.randrange(6):
            case 0:
                return replace(self, labels=(("edited", str(rng.randrange(1000))),))
            case 1:
                return replace(self, budgets=rng.randrange(len(_BUDGETS)))
            case 2:
                return replace(self, types=_some(rng, TYPES, 3))
            case 3:
                return replace(self, expire_after=_expiry(rng))
            case 4:
                return replace(self, consolidate_after=rng.choice(("0s", "30s", "5m", "Never")))
            case _:
                return replace(self, weight=rng.randrange(1, 100))

    def _static_edited(self, rng: Random) -> Pool:
        match rng.randrange(4):
            case 0:
                return replace(self, labels=(("edited", str(rng.randrange(1000))),))
            case 1:
                return replace(self, budgets=rng.randrange(len(_BUDGETS)))
            case _:
                return replace(self, replicas=rng.randrange(4))

    def calm(self) -> Pool:
        """The pool as it is left at the end: no short lives, no closed budgets."""
        return replace(self, expire_after="336h", budgets=0, limit=None)


def random_pool(rng: Random, name: str) -> Pool:
    """A NodePool."""
    return Pool(
        name=name,
        capacity_types=rng.choice((("on-demand",), ("spot",), ("spot", "on-demand"))),
        types=_some(rng, TYPES, rng.choice((3, 5, 7))),
        budgets=rng.randrange(len(_BUDGETS)),
        policy=rng.choice(("WhenEmpty", "WhenEmptyOrUnderutilized", "WhenEmptyOrUnderutilized")),
        consolidate_after=rng.choice(("0s", "30s", "30s", "2m", "Never")),
        expire_after=_expiry(rng),
        grace=rng.choice(("2m", "10m", "30m")),
        weight=rng.choice((None, None, 10, 50)),
        limit=rng.choice((None, None, 24, 48)),
    )


def _expiry(rng: Random) -> str:
    return rng.choice(("336h", "336h", "336h", "20m", "45m", "Never"))


def _some(rng: Random, values: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(sorted(rng.sample(values, count)))


def random_workload(rng: Random, number: int) -> list[Object]:
    """A workload, now and then with a PodDisruptionBudget."""
    name = f"w{number}"
    kind = rng.choices(
        ("Deployment", "StatefulSet", "DaemonSet", "Job"), weights=(8, 3, 1, 2), k=1
    )[0]
    labels = {"app": name}
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": rng.choice((0, 5, 30, 120)),
        "containers": [{"name": "c", "image": "x", "resources": {"requests": _requests(rng)}}],
    }
    annotations: dict[str, str] = {}
    replicas = rng.choice((1, 2, 3, 5, 8))
    if kind in ("Deployment", "StatefulSet"):
        pod.update(_placement(rng, labels))
        if rng.random() < 0.15:
            annotations["karpenter.sh/do-not-disrupt"] = rng.choice(("true", "10m"))
    if kind == "DaemonSet":
        pod["containers"][0]["resources"]["requests"] = {"cpu": "100m", "memory": "64Mi"}
    if kind == "Job":
        pod["restartPolicy"] = "OnFailure"
        annotations["simulate.autoctl.io/run-seconds"] = str(rng.choice((30, 300, 1500)))
    template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}
    spec: dict[str, Any] = {"template": template}
    if kind == "Job":
        spec |= {"completions": replicas, "parallelism": replicas, "backoffLimit": 100}
    else:
        spec["selector"] = {"matchLabels": labels}
    if kind in ("Deployment", "StatefulSet"):
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec |= {
            "serviceName": name,
            "podManagementPolicy": rng.choice(("OrderedReady", "Parallel")),
        }
    version = "batch/v1" if kind == "Job" else "apps/v1"
    metadata = {"name": name, "namespace": NAMESPACE}
    objects = [{"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}]
    if kind in ("Deployment", "StatefulSet") and rng.random() < 0.5:
        bound = rng.choice(
            (
                {"maxUnavailable": 1},
                {"minAvailable": "50%"},
                {"maxUnavailable": 0},
                {"minAvailable": 1},
            )
        )
        objects.append(budget(name, **bound))
    return objects


def budget(name: str, **spec: Any) -> Object:
    """A PodDisruptionBudget over the pods of workload `name`."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": {"app": name}}, **spec},
    }


def _requests(rng: Random) -> dict[str, str]:
    return {
        "cpu": rng.choice(("100m", "250m", "500m", "1", "1500m")),
        "memory": rng.choice(("128Mi", "512Mi", "1Gi", "3Gi")),
    }


def _placement(rng: Random, labels: dict[str, str]) -> dict[str, Any]:
    """Where the pods want to be: mostly anywhere."""
    match rng.randrange(8):
        case 0:
            return {
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "topology.kubernetes.io/zone",
                        "whenUnsatisfiable": rng.choice(("DoNotSchedule", "ScheduleAnyway")),
                        "labelSelector": {"matchLabels": labels},
                    }
                ]
            }
        case 1:
            term = {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": labels},
            }
            return {
                "affinity": {
                    "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
                }
            }
        case 2:
            return {"priorityClassName": "system-cluster-critical"}
        case _:
            return {}
