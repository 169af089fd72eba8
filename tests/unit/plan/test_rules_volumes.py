"""Volumes: where they let a pod run, which stop it, and how many a node attaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    HOSTNAME,
    Z1,
    Z2,
    Z3,
    ZONE,
    Object,
    instance_type,
    is_in,
    node,
    node_pool,
    pod,
    requirement,
    spread,
)
from plan_cases import (
    Case,
    all_of,
    expressions,
    nodes,
    on,
    pending,
    require,
    run,
    spread_as,
    why,
    zones,
)

DRIVER = "ebs.csi.eks.amazonaws.com"
WEB = {"app": "web"}
ROOMY = [instance_type("roomy", cpu="64", memory="64Gi", pods="1000")]
DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}


def storage_class(
    name: str = "waits",
    *,
    mode: str | None = "WaitForFirstConsumer",
    provisioner: str = DRIVER,
    zones: tuple[str, ...] = (),
    key: str = ZONE,
    annotations: dict[str, str] | None = None,
    created: str | None = None,
    **extra: Any,
) -> Object:
    allowed = [{"matchLabelExpressions": [{"key": key, "values": list(zones)}]}] if zones else None
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": name,
            "annotations": annotations or {},
            **({"creationTimestamp": created} if created else {}),
        },
        "provisioner": provisioner,
        **({"volumeBindingMode": mode} if mode else {}),
        **({"allowedTopologies": allowed} if allowed else {}),
        **extra,
    }


def claim(
    name: str = "data",
    *,
    storage: str | None = "waits",
    volume: str | None = None,
    phase: str | None = None,
    bound: bool = True,
    namespace: str = "default",
    **metadata: Any,
) -> Object:
    complete = {"pv.kubernetes.io/bind-completed": "yes"} if volume and bound else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "annotations": complete, **metadata},
        "spec": {
            **({"storageClassName": storage} if storage is not None else {}),
            **({"volumeName": volume} if volume else {}),
        },
        "status": {"phase": phase or ("Bound" if volume and bound else "Pending")},
    }


def volume(
    name: str = "pv",
    *zones_: str,
    key: str = ZONE,
    handle: str | None = None,
    terms: list[Object] | None = None,
    **source: Any,
) -> Object:
    chosen = terms or ([expressions(is_in(key, *zones_))] if zones_ else None)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            **(source or {"csi": {"driver": DRIVER, "volumeHandle": handle or f"vol-{name}"}}),
            **({"nodeAffinity": {"required": {"nodeSelectorTerms": chosen}}} if chosen else {}),
        },
    }


def uses(*claims: str, **spec: Any) -> Object:
    return pod(
        "p",
        volumes=[
            {"name": f"v{i}", "persistentVolumeClaim": {"claimName": c}}
            for i, c in enumerate(claims)
        ],
        **spec,
    )


def ephemeral(name: str = "p", storage: str | None = "waits", **spec: Any) -> Object:
    chosen = {} if storage is None else {"storageClassName": storage}
    return pod(
        name,
        volumes=[
            {
                "name": "tmp",
                "ephemeral": {
                    "volumeClaimTemplate": {"spec": {**chosen, "accessModes": ["ReadWriteOnce"]}}
                },
            }
        ],
        **spec,
    )


def attaches(name: str, number: int | None, driver: str = DRIVER) -> Object:
    limit = {} if number is None else {"allocatable": {"count": number}}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": name},
        "spec": {"drivers": [{"name": driver, "nodeID": "i", **limit}]},
    }


WHERE = [
    Case("an unbound claim goes anywhere", [storage_class(), claim(), uses("data")], nodes(1)),
    Case("allowed topologies", [storage_class(zones=(Z3,)), claim(), uses("data")], zones(Z3)),
    Case(
        "allowed topologies by the driver's own key",
        [storage_class(zones=(Z3,), key="topology.ebs.csi.aws.com/zone"), claim(), uses("data")],
        zones(Z3),
    ),
    Case(
        "allowed topologies by the deprecated key",
        [
            storage_class(zones=(Z3,), key="failure-domain.beta.kubernetes.io/zone"),
            claim(),
            uses("data"),
        ],
        zones(Z3),
    ),
    Case(
        "allowed topologies out of the pool's reach",
        [storage_class(zones=(Z3,)), claim(), uses("data")],
        pending("p"),
        pools=[node_pool(requirements=[is_in(ZONE, Z1, Z2)])],
    ),
    Case(
        "allowed topologies against the pod's zone",
        [storage_class(zones=(Z3,)), claim(), uses("data", nodeSelector={ZONE: Z1})],
        pending("p"),
    ),
    Case(
        "allowed topologies with the pod's zones",
        [
            storage_class(zones=(Z2, Z3)),
            claim(),
            uses("data", affinity=require(is_in(ZONE, Z1, Z2))),
        ],
        zones(Z2),
    ),
    Case(
        "several alternatives of allowed topologies",
        [
            storage_class(
                allowedTopologies=[
                    {"matchLabelExpressions": [{"key": ZONE, "values": [z]}]}
                    for z in ("nowhere", Z3)
                ]
            ),
            claim(),
            uses("data"),
        ],
        zones(Z3),
    ),
    Case("a bound volume's zone", [volume("pv", Z2), claim(volume="pv"), uses("data")], zones(Z2)),
    Case(
        "a bound volume's class may be gone",
        [volume("pv", Z2), claim(volume="pv", storage="gone"), uses("data")],
        zones(Z2),
    ),
    Case(
        "a bound volume counts, not its class's topologies",
        [storage_class(zones=(Z1,)), volume("pv", Z2), claim(volume="pv"), uses("data")],
        zones(Z2),
    ),
    Case(
        "a bound volume without affinity",
        [volume("pv"), claim(volume="pv"), uses("data")],
        nodes(1),
    ),
    Case(
        "a bound volume's alternatives",
        [
            volume("pv", terms=[expressions(is_in(ZONE, "nowhere")), expressions(is_in(ZONE, Z3))]),
            claim(volume="pv"),
            uses("data"),
        ],
        zones(Z3),
    ),
    Case(
        "a bound volume's zones but one",
        [
            volume("pv", terms=[expressions(requirement(ZONE, "NotIn", Z1, Z2))]),
            claim(volume="pv"),
            uses("data"),
        ],
        zones(Z3),
    ),
    Case(
        "two volumes of one zone",
        [
            volume("a", Z2),
            volume("b", Z2, Z3),
            claim("c1", volume="a"),
            claim("c2", volume="b"),
            uses("c1", "c2"),
        ],
        zones(Z2),
    ),
    Case(
        "two volumes of two zones",
        [
            volume("a", Z1),
            volume("b", Z2),
            claim("c1", volume="a"),
            claim("c2", volume="b"),
            uses("c1", "c2"),
        ],
        pending("p"),
    ),
    Case(
        "a bound volume and an unbound one",
        [
            storage_class(zones=(Z2, Z3)),
            volume("a", Z1, Z3),
            claim("c1", volume="a"),
            claim("c2"),
            uses("c1", "c2"),
        ],
        zones(Z3),
    ),
    Case(
        "a bound volume on a node that is there",
        [
            node("n1", zone=Z1),
            node("n2", zone=Z2),
            volume("pv", Z2),
            claim(volume="pv"),
            uses("data", cpu="1"),
        ],
        on(p="n2"),
    ),
    Case(
        "a local volume does not wait for its host",
        [
            volume("pv", terms=[expressions(is_in(HOSTNAME, "gone"))], local={"path": "/mnt"}),
            claim(volume="pv"),
            uses("data"),
        ],
        nodes(1),
    ),
    Case(
        "a path of a host does not either",
        [
            volume("pv", terms=[expressions(is_in(HOSTNAME, "gone"))], hostPath={"path": "/mnt"}),
            claim(volume="pv"),
            uses("data"),
        ],
        nodes(1),
    ),
    Case(
        "a network volume ties to no host",
        [
            volume(
                "pv",
                terms=[expressions(is_in(HOSTNAME, "gone"))],
                csi={"driver": "x", "volumeHandle": "v"},
            ),
            claim(volume="pv"),
            uses("data"),
        ],
        pending("p"),
    ),
    Case(
        "an NFS volume",
        [
            volume("pv", nfs={"server": "s", "path": "/"}),
            claim(volume="pv", storage=""),
            uses("data"),
        ],
        nodes(1),
    ),
    Case(
        "volumes that are no claims",
        [
            pod(
                "p",
                volumes=[
                    {"name": "a", "emptyDir": {}},
                    {"name": "b", "configMap": {"name": "c"}},
                    {"name": "h", "hostPath": {"path": "/"}},
                ],
            )
        ],
        nodes(1),
    ),
    Case(
        "a volume's zone bends the spread of its pod alone",
        [
            volume("pv", Z1),
            claim(volume="pv"),
            uses("data", labels=WEB, cpu="1", topologySpreadConstraints=[spread(ZONE, labels=WEB)]),
            *(
                pod(
                    f"q{i}",
                    labels=WEB,
                    cpu="1",
                    topologySpreadConstraints=[spread(ZONE, labels=WEB)],
                )
                for i in range(3)
            ),
        ],
        lambda p: not p.unschedulable and p.skew(ZONE) == [1, 1, 2],
    ),
]

STOPS = [
    *(
        Case(
            f"{name} stops the pod",
            [*objects, uses("data"), pod("q")],
            all_of(pending("p"), why("p", "data")),
        )
        for name, objects in (
            ("a claim that is not there", [storage_class()]),
            ("a claim of another namespace", [storage_class(), claim(namespace="other")]),
            ("a class that is not there", [claim()]),
            ("a claim without class", [claim(storage="")]),
            ("an unbound claim that binds at once", [storage_class(mode="Immediate"), claim()]),
            ("a class whose binding mode is not set", [storage_class(mode=None), claim()]),
            (
                "a claim that is going",
                [
                    storage_class(),
                    claim(
                        deletionTimestamp="2026-01-01T00:00:00Z",
                        finalizers=["kubernetes.io/pvc-protection"],
                    ),
                ],
            ),
            ("a claim that lost its volume", [claim(volume="pv", phase="Lost")]),
            ("a volume that is not there", [claim(volume="gone")]),
            ("a volume that is not bound yet", [volume("pv", Z1), claim(volume="pv", bound=False)]),
            (
                "a class without provisioner",
                [storage_class(provisioner="kubernetes.io/no-provisioner"), claim()],
            ),
        )
    ),
    Case(
        "one bad volume of two stops the pod",
        [storage_class(), claim("good"), uses("good", "bad")],
        pending("p"),
    ),
    Case(
        "an ephemeral volume of a class that is not there",
        [ephemeral(storage="gone")],
        pending("p"),
    ),
    Case("an ephemeral volume of no class", [ephemeral(storage="")], pending("p")),
]

DEFAULTS = [
    Case(
        "the default class stands in",
        [
            storage_class("usual", zones=(Z3,), annotations=DEFAULT),
            claim(storage=None),
            uses("data"),
        ],
        zones(Z3),
    ),
    Case(
        "the default class stands in for an ephemeral volume",
        [storage_class("usual", zones=(Z3,), annotations=DEFAULT), ephemeral(storage=None)],
        zones(Z3),
    ),
    Case(
        "of two default classes the newer",
        [
            storage_class("old", zones=(Z1,), annotations=DEFAULT, created="2025-01-01T00:00:00Z"),
            storage_class("new", zones=(Z2,), annotations=DEFAULT, created="2025-06-01T00:00:00Z"),
            claim(storage=None),
            uses("data"),
        ],
        zones(Z2),
    ),
    Case(
        "a class that is named comes before the default",
        [
            storage_class(zones=(Z2,)),
            storage_class("usual", zones=(Z1,), annotations=DEFAULT),
            claim(),
            uses("data"),
        ],
        zones(Z2),
    ),
    Case(
        "no class by wish is not the default",
        [storage_class("usual", annotations=DEFAULT), claim(storage=""), uses("data")],
        pending("p"),
    ),
    Case(
        "without a default the claim waits",
        [storage_class(), claim(storage=None), uses("data")],
        pending("p"),
    ),
]

EPHEMERAL = [
    Case("an ephemeral volume's topologies", [storage_class(zones=(Z3,)), ephemeral()], zones(Z3)),
    Case(
        "an ephemeral volume whose claim is there",
        [storage_class(), claim("p-tmp"), ephemeral()],
        nodes(1),
    ),
    Case(
        "an ephemeral volume that is bound",
        [volume("pv", Z2), claim("p-tmp", volume="pv", storage="gone"), ephemeral(storage="gone")],
        zones(Z2),
    ),
    Case(
        "an ephemeral volume takes an attachment",
        [
            storage_class(),
            node("n1"),
            attaches("n1", 1),
            ephemeral("p", cpu="1"),
            ephemeral("q", cpu="1"),
        ],
        lambda p: len(p.placements) == 1 and len(p.claims) == 1,
    ),
]


def pairs(number: int) -> list[Object]:
    """Pods with two claims each."""
    found: list[Object] = [storage_class()]
    for i in range(number):
        found += [claim(f"a{i}"), claim(f"b{i}")]
        body = uses(f"a{i}", f"b{i}")
        body["metadata"]["name"] = f"p{i}"
        found.append(body)
    return found


ATTACHMENTS = [
    Case(
        "a node's limit",
        [node("n1", of=ROOMY[0]), attaches("n1", 10), *pairs(6)],
        lambda p: len(p.placements) == 5 and len(p.claims) == 1,
        catalog=ROOMY,
    ),
    Case(
        "a node without limit",
        [node("n1", of=ROOMY[0]), attaches("n1", None), *pairs(6)],
        lambda p: len(p.placements) == 6,
        catalog=ROOMY,
    ),
    Case(
        "another driver's limit",
        [node("n1", of=ROOMY[0]), attaches("n1", 1, "other"), *pairs(3)],
        lambda p: len(p.placements) == 3,
        catalog=ROOMY,
    ),
    Case(
        "volumes that are attached already count",
        [
            node("n1"),
            attaches("n1", 2),
            storage_class(),
            claim("x"),
            claim("y"),
            claim("z"),
            pod(
                node="n1",
                volumes=[{"name": n, "persistentVolumeClaim": {"claimName": n}} for n in "xy"],
            ),
            uses("z"),
        ],
        nodes(1),
    ),
    Case(
        "volumes of pods that ended do not",
        [
            node("n1"),
            attaches("n1", 2),
            storage_class(),
            claim("x"),
            claim("y"),
            claim("z"),
            pod(
                node="n1",
                phase="Succeeded",
                volumes=[{"name": n, "persistentVolumeClaim": {"claimName": n}} for n in "xy"],
            ),
            uses("z"),
        ],
        on(p="n1"),
    ),
    Case(
        "a shared volume counts once",
        [
            node("n1", of=ROOMY[0]),
            attaches("n1", 1),
            volume("pv", Z1),
            claim(volume="pv"),
            *(
                {
                    **uses("data"),
                    "metadata": {**uses("data")["metadata"], "name": f"p{i}", "uid": f"s{i}"},
                }
                for i in range(100)
            ),
        ],
        lambda p: len(p.placements) == 100,
        catalog=ROOMY,
    ),
    Case(
        "a shared volume that a running pod uses counts once",
        [
            node("n1"),
            attaches("n1", 1),
            volume("pv", Z1),
            claim(volume="pv"),
            pod(node="n1", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]),
            uses("data"),
        ],
        on(p="n1"),
    ),
    Case(
        "one volume by two claims of a pod counts once",
        [node("n1"), attaches("n1", 1), storage_class(), claim(), uses("data", "data")],
        on(p="n1"),
    ),
    Case(
        "a migrated in-tree class counts for its driver",
        [
            node("n1"),
            attaches("n1", 1, "ebs.csi.aws.com"),
            storage_class(provisioner="kubernetes.io/aws-ebs"),
            claim("x"),
            claim("y"),
            pod(node="n1", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]),
            uses("y"),
        ],
        nodes(1),
    ),
    Case(
        "a migrated in-tree volume counts for its driver",
        [
            node("n1"),
            attaches("n1", 1, "ebs.csi.aws.com"),
            storage_class(provisioner="kubernetes.io/aws-ebs"),
            volume("pv", Z1, awsElasticBlockStore={"volumeID": "vol-1"}),
            claim("x", volume="pv"),
            claim("y"),
            pod(node="n1", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]),
            uses("y"),
        ],
        nodes(1),
    ),
    Case(
        "a limit of zero",
        [node("n1"), attaches("n1", 0), storage_class(), claim(), uses("data")],
        nodes(1),
    ),
    Case(
        "pods without volumes do not mind the limit",
        [node("n1"), attaches("n1", 0), pod("p", cpu="1")],
        on(p="n1"),
    ),
]

SETS = [
    Case(
        "a StatefulSet's claims come with its pods",
        [
            storage_class(zones=(Z2,)),
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "s"},
                "spec": {
                    "replicas": 2,
                    "serviceName": "s",
                    "selector": {"matchLabels": WEB},
                    "template": {
                        "metadata": {"labels": WEB},
                        "spec": {"containers": [{"name": "c"}]},
                    },
                    "volumeClaimTemplates": [
                        {"metadata": {"name": "data"}, "spec": {"storageClassName": "waits"}}
                    ],
                },
            },
        ],
        zones(Z2),
    ),
    Case(
        "a StatefulSet's bound claims keep their zones",
        [
            volume("pv0", Z1),
            volume("pv1", Z3),
            claim("data-s-0", volume="pv0"),
            claim("data-s-1", volume="pv1"),
            storage_class(),
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "s"},
                "spec": {
                    "replicas": 2,
                    "serviceName": "s",
                    "selector": {"matchLabels": WEB},
                    "template": {
                        "metadata": {"labels": WEB},
                        "spec": {"containers": [{"name": "c"}]},
                    },
                    "volumeClaimTemplates": [
                        {"metadata": {"name": "data"}, "spec": {"storageClassName": "waits"}}
                    ],
                },
            },
        ],
        all_of(zones(Z1, Z3), spread_as(ZONE, 1, 1)),
    ),
]

CASES = [*WHERE, *STOPS, *DEFAULTS, *EPHEMERAL, *ATTACHMENTS, *SETS]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rule(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
