"""What only some random worlds have: static pools, volumes, reservations, a standby, wrong clocks.

Chosen by a generator of its own, so that worlds without any of it are what they were before there
was any, and one feature does not change what another makes of a seed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from random import Random
from typing import Any, Final

from autoctl.ports.kubernetes import Object
from autoctl.simulate.chaos_objects import NAMESPACE, TYPES, Pool, random_pool

STORAGE_CLASS: Final = "zonal"
RESERVED_TAGS: Final = {"team": "chaos"}
_ZONES: Final = ("us-west-2a", "us-west-2b", "us-west-2c")
_PLAIN: Final = 0.25
"""Share of worlds without any feature."""
_SHARE: Final = 0.35
"""How many of the others have each feature."""


class Feature(StrEnum):
    """A part of a world that is not in every world."""

    STATIC = "static pool"
    BALANCED = "Balanced policy"
    VOLUMES = "volumes"
    RESERVATIONS = "capacity reservations"
    STANDBY = "standby"
    CLOCKS = "clocks"


def features_of(seed: int) -> frozenset[Feature]:
    """The features of a seed's world."""
    rng = generator(seed, "features")
    if rng.random() < _PLAIN:
        return frozenset()
    return frozenset(f for f in Feature if rng.random() < _SHARE)


def generator(seed: int, part: str) -> Random:
    """The generator of one part of a seed's world."""
    return Random(f"chaos/{seed}/{part}")  # noqa: S311 - reproducible, not secret


def static_pool(rng: Random) -> Pool:
    """A NodePool of so many nodes."""
    pool = random_pool(rng, "static")
    return replace(pool, weight=None, limit=None, replicas=rng.randrange(1, 4))


def storage_class() -> Object:
    """Volumes of a zone, made where their first pod goes."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS},
        "provisioner": "ebs.csi.aws.com",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }


def stateful_workload(rng: Random) -> Object:
    """A StatefulSet whose pods keep their volumes, and so their zones."""
    name = "data"
    labels = {"app": name}
    claim = {
        "metadata": {"name": "disk"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": STORAGE_CLASS,
            "resources": {"requests": {"storage": "8Gi"}},
        },
    }
    requests = {"cpu": rng.choice(("250m", "1")), "memory": "512Mi"}
    container = {
        "name": "c",
        "image": "x",
        "resources": {"requests": requests},
        "volumeMounts": [{"name": "disk", "mountPath": "/data"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "serviceName": name,
            "replicas": rng.randrange(1, 5),
            "podManagementPolicy": rng.choice(("OrderedReady", "Parallel")),
            "selector": {"matchLabels": labels},
            "volumeClaimTemplates": [claim],
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": rng.choice((5, 30)),
                    "containers": [container],
                },
            },
        },
    }


def reservations(rng: Random) -> list[dict[str, Any]]:
    """Some capacity reservations of the account; some end while the world is busy."""
    return [
        {
            "instanceType": rng.choice(TYPES),
            "zone": rng.choice(_ZONES),
            "count": rng.randrange(1, 4),
            "tags": RESERVED_TAGS,
            **({"for": rng.choice(("10m", "25m"))} if rng.random() < 0.4 else {}),
        }
        for _ in range(rng.randrange(1, 4))
    ]


def clock_jumps(rng: Random, busy: timedelta) -> list[dict[str, Any]]:
    """The clock of the operators' machine is set wrong, now and then for a while only."""
    steps = []
    for _ in range(rng.randrange(1, 4)):
        fault = {
            "type": "clock-jump",
            "by": rng.choice(("30d", "-1d", "6h", "-20m", "400d", "90s")),
            **({"for": rng.choice(("30s", "5m"))} if rng.random() < 0.5 else {}),
        }
        at = rng.randrange(20, int(busy.total_seconds()))
        steps.append({"at": timedelta(seconds=at), "fault": fault})
    return steps


def lost_leases(rng: Random, busy: timedelta) -> list[dict[str, Any]]:
    """Leaders lose their lease in the middle of what they do, and run on for a moment."""
    steps = []
    for _ in range(rng.randrange(1, 4)):
        fault: dict[str, Any] = {"type": "leader-loss", "cutOff": rng.random() < 0.7}
        if rng.random() < 0.8:
            fault["write"] = rng.randrange(1, 20)
        at = rng.randrange(20, int(busy.total_seconds()))
        steps.append({"at": timedelta(seconds=at), "fault": fault})
    return steps
