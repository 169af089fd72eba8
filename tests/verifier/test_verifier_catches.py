"""The verifier says what is wrong with solutions broken on purpose: one for each rule.

Each case is a small problem with a right answer, and that answer with one thing changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from verifier_check import violations

from autoctl.api import core
from autoctl.catalog.model import InstanceType, Offering
from autoctl.scheduling.problem import (
    ExistingNode,
    NewNode,
    Offer,
    Pool,
    RequirementSpec,
    SchedulingProblem,
    Solution,
    Unschedulable,
    Volumes,
)

ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
POOL_LABELS = {"karpenter.sh/nodepool": "pool"}
GIB = 2**30


def instance(name: str, cpu: int, price: float, *more: Offering, **labels: str) -> InstanceType:
    return InstanceType(
        name=name,
        architecture="amd64",
        capacity={"cpu": cpu * 1000, "memory": cpu * 4 * GIB, "pods": 4},
        labels={"kubernetes.io/arch": "amd64", **labels},
        offerings=(
            Offering("a", "on-demand", price),
            Offering("b", "on-demand", price),
            *more,
        ),
    )


SMALL = instance("small", 2, 0.1, Offering("a", "spot", 0.04, available=False))
LARGE = instance("large", 8, 0.4)
RESERVED = instance(
    "kept", 2, 0.1, Offering("a", "reserved", 0.0, reservation_id="cr", reservation_capacity=1)
)


def pod(name: str, labels: Mapping[str, str] | None = None, **spec: Any) -> core.Pod:
    spec.setdefault("containers", [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}])
    return msgspec.convert(
        {"metadata": {"name": name, "labels": dict(labels or {"app": "web"})}, "spec": spec},
        core.Pod,
    )


def term(key: str, **more: Any) -> dict[str, Any]:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": "web"}}, **more}


def shun(key: str, **more: Any) -> dict[str, Any]:
    return {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term(key, **more)]}
    }


def join(key: str, **more: Any) -> dict[str, Any]:
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term(key, **more)]}}


def spread(key: str, **more: Any) -> list[dict[str, Any]]:
    return [{**term(key), "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", **more}]


def select(key: str, operator: str, *values: str) -> dict[str, Any]:
    expression = {"key": key, "operator": operator, "values": list(values)}
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [expression]}]
            }
        }
    }


def node(name: str, zone: str = "a", *pods: core.Pod, **more: Any) -> ExistingNode:
    more = {"allocatable": {"cpu": 4000, "memory": 16 * GIB, "pods": 10}, **more}
    return ExistingNode(
        name=name, labels={HOSTNAME: name, ZONE: zone, **POOL_LABELS}, pods=pods, **more
    )


POOL = Pool(name="pool", instance_types=(SMALL, LARGE), labels=POOL_LABELS)


def pool(**more: Any) -> Pool:
    return dataclasses.replace(POOL, **more)


def new(
    *pods: str,
    zone: str | None = None,
    types: tuple[str, ...] = ("small", "large"),
    price: float = 0.1,
    at: str = "a",
    **more: Any,
) -> NewNode:
    """A new node of one-core pods; pinned to `zone` where one is given."""
    requirements = [RequirementSpec(CAPACITY_TYPE, "In", ("on-demand",))]
    if zone is not None:
        requirements.append(RequirementSpec(ZONE, "In", (zone,)))
    return NewNode(
        **{
            "pool": "pool",
            "pods": tuple(f"default/{p}" for p in pods),
            "requests": {"cpu": 1000 * len(pods), "memory": GIB * len(pods)},
            "requirements": tuple(requirements),
            "instance_types": types,
            "offer": Offer(types[0], zone or at, "on-demand", price),
            **more,
        }
    )


def answer(
    *nodes: NewNode,
    placed: Mapping[str, str] | None = None,
    left: tuple[str, ...] = (),
    **more: Any,
) -> Solution:
    return Solution(
        **{
            "new_nodes": nodes,
            "placements": {f"default/{k}": v for k, v in (placed or {}).items()},
            "unschedulable": {f"default/{k}": Unschedulable("because") for k in left},
            "cost": sum(n.offer.price for n in nodes),
            **more,
        }
    )


@dataclass
class Case:
    """A right answer, a wrong one, and what the verifier says of it."""

    name: str
    pods: list[core.Pod]
    right: Solution
    wrong: Solution
    says: str
    pool: Pool = POOL
    nodes: tuple[ExistingNode, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    def problem(self) -> SchedulingProblem:
        return SchedulingProblem(
            pods=tuple(self.pods), pools=(self.pool,), nodes=self.nodes, **self.more
        )


TAINT = core.Taint(key="special", effect="NoSchedule")
TOLERATION = [{"key": "special", "operator": "Exists"}]
PORT = [
    {
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        "ports": [{"containerPort": 1, "hostPort": 1}],
    }
]
DAEMON = pod("daemon", containers=[{"resources": {"requests": {"cpu": "1500m"}}}])
MOUNT = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
BOUND = Volumes(
    claims={
        "default/c": msgspec.convert(
            {"metadata": {"name": "c"}, "spec": {"volumeName": "pv"}}, core.PersistentVolumeClaim
        )
    },
    volumes={
        "pv": msgspec.convert(
            {
                "metadata": {"name": "pv"},
                "spec": {
                    "csi": {"driver": "ebs"},
                    "nodeAffinity": {
                        "required": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": ZONE, "operator": "In", "values": ["b"]}
                                    ]
                                }
                            ]
                        }
                    },
                },
            },
            core.PersistentVolume,
        )
    },
)
EPHEMERAL = [
    {
        "name": "scratch",
        "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}},
    }
]
FAST = Volumes(
    classes={
        "fast": core.StorageClass(provisioner="ebs", volume_binding_mode="WaitForFirstConsumer")
    }
)
KEPT = pool(instance_types=(RESERVED,))


def reserved(name: str) -> NewNode:
    return new(
        name,
        types=("kept",),
        price=0.0,
        offer=Offer("kept", "a", "reserved", 0.0, "cr"),
        requirements=(RequirementSpec(CAPACITY_TYPE, "In", ("reserved",)),),
    )


A, B = pod("a"), pod("b")
CASES = [
    Case("a pod is forgotten", [A, B], answer(new("a", "b")), answer(new("a")), "b is answered 0"),
    Case(
        "a pod is answered twice",
        [A],
        answer(new("a")),
        answer(new("a"), left=("a",)),
        "a is answered 2",
    ),
    Case("an unknown pod", [A], answer(new("a")), answer(new("a"), left=("x",)), "x is answered 1"),
    Case(
        "an unknown node",
        [A],
        answer(placed={"a": "n"}),
        answer(placed={"a": "m"}),
        "m, which does not exist",
        nodes=(node("n"),),
    ),
    Case("a sum that is none", [A], answer(new("a")), answer(new("a"), cost=1.0), "not the sum of"),
    Case(
        "a bound above the cost",
        [A],
        answer(new("a")),
        answer(new("a"), lower_bound=0.2),
        "lower bound 0.2 exceeds",
    ),
    Case(
        "an unknown NodePool",
        [A],
        answer(new("a")),
        answer(new("a", pool="other")),
        "NodePool other does not exist",
    ),
    Case(
        "an unavailable offering",
        [A],
        answer(new("a")),
        answer(
            new(
                "a",
                price=0.04,
                offer=Offer("small", "a", "spot", 0.04),
                requirements=(RequirementSpec(CAPACITY_TYPE, "In", ("spot",)),),
            )
        ),
        "not available",
    ),
    Case(
        "a price of its own",
        [A],
        answer(new("a")),
        answer(new("a", price=0.05)),
        "costs 0.1, not 0.05",
    ),
    Case(
        "a dear offer",
        [A],
        answer(new("a")),
        answer(new("a", types=("large", "small"), price=0.4)),
        "less than the offer's",
    ),
    Case(
        "types out of order",
        [A],
        answer(new("a", types=("small", "mid", "large"))),
        answer(new("a", types=("small", "large", "mid"))),
        "not in order of price",
        pool=pool(instance_types=(SMALL, LARGE, instance("mid", 4, 0.2))),
    ),
    Case(
        "too small an alternative",
        [A, B, pod("c")],
        answer(new("a", "b", "c", types=("large",), price=0.4)),
        answer(new("a", "b", "c")),
        "not enough cpu",
    ),
    Case(
        "no room beside the daemons",
        [A],
        answer(new("a", types=("large",), price=0.4, requests={"cpu": 2500, "memory": GIB})),
        answer(new("a", requests={"cpu": 2500, "memory": GIB})),
        "not enough cpu",
        more={"daemons": (DAEMON,)},
    ),
    Case(
        "too many pods",
        [pod(str(i), containers=[]) for i in range(5)],
        answer(new("0", "1", "2", "3"), new("4")),
        answer(new("0", "1", "2", "3", "4")),
        "not enough pods",
    ),
    Case(
        "requests that say too little",
        [A],
        answer(new("a")),
        answer(new("a", requests={"cpu": 1, "memory": GIB})),
        "requests say 1 of cpu",
    ),
    Case(
        "an init container that does not fit",
        [pod("a", initContainers=[{"name": "i", "resources": {"requests": {"cpu": "5"}}}])],
        answer(placed={"a": "big"}),
        answer(placed={"a": "n"}),
        "not enough cpu",
        nodes=(node("n"), node("big", allocatable={"cpu": 9000, "memory": 9 * GIB, "pods": 9})),
    ),
    Case(
        "an untolerated taint",
        [A, pod("b", tolerations=TOLERATION)],
        answer(new("a"), placed={"b": "n"}),
        answer(new("b"), placed={"a": "n"}),
        "taint special:NoSchedule",
        nodes=(node("n", taints=(TAINT,)),),
    ),
    Case(
        "an untolerated taint of the NodePool",
        [A],
        answer(placed={"a": "n"}),
        answer(new("a")),
        "taint special:NoSchedule",
        nodes=(node("n"),),
        pool=pool(taints=(TAINT,)),
    ),
    Case(
        "a node that takes no pods",
        [A],
        answer(new("a")),
        answer(placed={"a": "n"}),
        "takes no pods",
        nodes=(node("n", schedulable=False),),
    ),
    Case(
        "a node selector unheard",
        [pod("a", nodeSelector={ZONE: "b"})],
        answer(new("a", zone="b")),
        answer(new("a")),
        "nodeSelector",
    ),
    Case(
        "a required affinity unheard",
        [pod("a", affinity=select(ZONE, "NotIn", "a"))],
        answer(placed={"a": "m"}),
        answer(placed={"a": "n"}),
        "required node affinity",
        nodes=(node("n"), node("m", "b")),
    ),
    Case(
        "a requirement of the NodePool unheard",
        [A],
        answer(new("a", zone="a")),
        answer(new("a", at="a")),
        "breaks the NodePool's requirement",
        pool=pool(requirements=(RequirementSpec(ZONE, "In", ("a",)),)),
    ),
    Case(
        "two on one host port",
        [pod("a", containers=PORT), pod("b", containers=PORT)],
        answer(new("a"), new("b")),
        answer(new("a", "b")),
        "host port",
    ),
    Case(
        "uneven zones",
        [pod(n, topologySpreadConstraints=spread(ZONE)) for n in "abc"],
        answer(new("a", "c", zone="a"), new("b", zone="b")),
        answer(new("a", "b", zone="a"), new("c", zone="a")),
        "skew 2",
        nodes=(node("n", "b", schedulable=False),),
    ),
    Case(
        "a zone left to the launch",
        [pod(n, topologySpreadConstraints=spread(ZONE)) for n in "abcd"],
        answer(new("a", "c", zone="a"), new("b", "d", zone="b")),
        answer(new("a", "c", zone="a"), new("b", "d", at="b")),
        "may be launched as",
        nodes=(node("n", "b", schedulable=False),),
    ),
    Case(
        "too few domains",
        [pod(n, topologySpreadConstraints=spread(ZONE, minDomains=3)) for n in "abc"],
        answer(new("a", zone="a"), new("b", zone="b"), left=("c",)),
        answer(new("a", "c", zone="a"), new("b", zone="b")),
        "skew 2",
    ),
    Case(
        "each revision by itself",
        [
            pod(
                f"{v}{i}",
                {"app": "web", "rev": v},
                topologySpreadConstraints=spread(ZONE, matchLabelKeys=["rev"]),
            )
            for v in "xy"
            for i in (0, 1)
        ],
        answer(new("x0", "y0", zone="a"), new("x1", "y1", zone="b")),
        answer(new("x0", "x1", zone="a"), new("y0", "y1", zone="b")),
        "skew 2",
    ),
    Case(
        "together though apart",
        [pod("a", affinity=shun(HOSTNAME)), B],
        answer(new("a"), new("b")),
        answer(new("a", "b")),
        "anti-affinity of default/a",
    ),
    Case(
        "shunned by a running pod",
        [A],
        answer(new("a", zone="b")),
        answer(new("a", zone="a")),
        "anti-affinity of default/there",
        nodes=(node("n", "a", pod("there", {"app": "x"}, affinity=shun(ZONE)), schedulable=False),),
    ),
    Case(
        "shunned from another namespace",
        [A],
        answer(new("a", zone="b")),
        answer(new("a", zone="a")),
        "anti-affinity of other/there",
        nodes=(
            node(
                "n",
                "a",
                msgspec.structs.replace(
                    pod(
                        "there",
                        affinity=shun(ZONE, namespaceSelector={"matchLabels": {"t": "1"}}),
                    ),
                    metadata=core.ObjectMeta(name="there", namespace="other"),
                ),
                schedulable=False,
            ),
        ),
        more={"namespaces": {"default": {"t": "1"}}},
    ),
    Case(
        "apart though together",
        [pod("a", affinity=join(ZONE)), pod("b", affinity=join(ZONE))],
        answer(new("a", "b", zone="a")),
        answer(new("a", zone="a"), new("b", zone="b")),
        "no pod that its affinity wants",
    ),
    Case(
        "nobody to join",
        [pod("a", {"app": "x"}, affinity=join(ZONE))],
        answer(left=("a",)),
        answer(new("a", zone="a")),
        "no pod that its affinity wants",
    ),
    Case(
        "a volume in another zone",
        [pod("a", volumes=MOUNT)],
        answer(new("a", zone="b")),
        answer(new("a", zone="a")),
        "not reachable",
        more={"volumes": BOUND},
    ),
    Case(
        "a claim nobody made",
        [pod("a", volumes=MOUNT)],
        answer(left=("a",)),
        answer(new("a")),
        "claim default/c does not exist",
    ),
    Case(
        "too many volumes",
        [pod("a", volumes=EPHEMERAL), pod("b", volumes=EPHEMERAL)],
        answer(new("b"), placed={"a": "n"}),
        answer(placed={"a": "n", "b": "n"}),
        "too many volumes",
        nodes=(node("n", csi_limits={"ebs": 1}),),
        more={"volumes": FAST},
    ),
    Case(
        "past the limit of cpu",
        [A],
        answer(new("a", types=("small",))),
        answer(new("a")),
        "its limit is 4000",
        pool=pool(limits={"cpu": 4000}),
    ),
    Case(
        "past the limit of nodes",
        [A, B],
        answer(new("a", "b")),
        answer(new("a"), new("b")),
        "its limit is 1",
        pool=pool(limits={"nodes": 1}),
    ),
    Case(
        "too little choice",
        [A],
        answer(new("a")),
        answer(new("a", types=("small",))),
        "minValues",
        pool=pool(
            requirements=(
                RequirementSpec("node.kubernetes.io/instance-type", "Exists", min_values=2),
            )
        ),
    ),
    Case(
        "a choice relaxed against the policy",
        [A],
        answer(new("a")),
        answer(new("a", min_values_relaxed=True)),
        "policy is Strict",
    ),
    Case(
        "a reservation promised twice",
        [A, B],
        answer(reserved("a"), new("b", types=("kept",))),
        answer(reserved("a"), reserved("b")),
        "promised 2 times",
        pool=KEPT,
    ),
    Case(
        "a reservation left unused",
        [A],
        answer(reserved("a")),
        answer(new("a", types=("kept",), requirements=())),
        "less than the offer's",
        pool=KEPT,
    ),
    Case(
        "left out though a node has room",
        [A],
        answer(placed={"a": "n"}),
        answer(left=("a",)),
        "but n takes it",
        nodes=(node("n"),),
    ),
    Case(
        "left out though a launch would do",
        [A],
        answer(new("a")),
        answer(left=("a",)),
        "could launch small",
    ),
    Case(
        "left out for a preference",
        [
            pod(
                "a",
                affinity={
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 1,
                                "preference": {
                                    "matchExpressions": [
                                        {"key": ZONE, "operator": "In", "values": ["z"]}
                                    ]
                                },
                            }
                        ]
                    }
                },
            )
        ],
        answer(new("a")),
        answer(left=("a",)),
        "could launch small",
    ),
    Case(
        "devices nobody can allocate",
        [pod("a", resourceClaims=[{"name": "d"}])],
        answer(left=("a",)),
        answer(new("a")),
        "dynamic resource allocation",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_right_answer_passes_and_a_broken_one_is_named(case: Case) -> None:
    assert violations(case.problem(), case.right) == []
    found = violations(case.problem(), case.wrong)
    assert any(case.says in text for text in found), found


def test_weight_goes_before_price() -> None:
    heavy = pool(name="heavy", labels={"karpenter.sh/nodepool": "heavy"}, weight=10)
    problem = SchedulingProblem(pods=(A,), pools=(POOL, heavy))
    assert violations(problem, answer(new("a", pool="heavy"))) == []
    assert "heavy has greater weight" in "".join(violations(problem, answer(new("a"))))


def test_new_nodes_where_none_are_allowed() -> None:
    options = dataclasses.replace(SchedulingProblem(pods=()).options, allow_new_nodes=False)
    problem = SchedulingProblem(pods=(A,), pools=(POOL,), options=options)
    assert violations(problem, answer(left=("a",))) == []
    assert "none are allowed" in "".join(violations(problem, answer(new("a"))))
