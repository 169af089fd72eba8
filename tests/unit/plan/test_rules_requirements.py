"""Labels, requirements and node affinity: which nodes a pod accepts, which a NodePool makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    ARCH,
    CAPACITY,
    HOSTNAME,
    TYPE,
    Z1,
    Z2,
    Z3,
    ZONE,
    Object,
    exists,
    instance_type,
    is_in,
    node,
    node_pool,
    pod,
    requirement,
)
from plan_cases import (
    Case,
    all_of,
    apart,
    asks,
    both,
    expressions,
    nodes,
    on,
    pending,
    prefer,
    require,
    require_any,
    run,
    together,
    types,
    why,
    zones,
)

OS = "kubernetes.io/os"
SIZE, NUMBER, SPECIAL = "example.com/size", "example.com/number", "example.com/special"


def made(name: str, cpu: int, *, special: bool = False, **labels: str) -> Object:
    given = {SIZE: "large" if cpu > 4 else "small", NUMBER: str(cpu), **labels}
    if special:
        given[SPECIAL] = "yes"
    return instance_type(name, cpu=str(cpu), memory=f"{2 * cpu}Gi", pods="20", labels=given)


LABELED = [made("two", 2), made("four", 4), made("eight", 8), made("sixteen", 16, special=True)]
TWO_SYSTEMS = [
    {**instance_type("either"), "operatingSystems": ["linux", "windows"]},
    instance_type("penguin", cpu="8"),
]


def pool_of(*requirements: Object, **more: Any) -> list[Object]:
    return [node_pool(requirements=list(requirements), **more)]


def custom(*values: str) -> list[Object]:
    return pool_of(exists(CAPACITY), is_in("team", *values))


def node_class(
    name: str = "default",
    ready: str | None = None,
    *,
    going: bool = False,
    zones: tuple[str, ...] = (Z1, Z2, Z3),
) -> Object:
    selected = [{"tags": {"a": "b"}}]
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": "SubnetsNotFound",
        "message": "nothing matches",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    leaving = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]} if going else {}
    return {
        "apiVersion": "eks.amazonaws.com/v1",
        "kind": "NodeClass",
        "metadata": {"name": name, **leaving},
        "spec": {
            "role": "r",
            "subnetSelectorTerms": selected,
            "securityGroupSelectorTerms": selected,
        },
        "status": {
            "subnets": [{"id": f"subnet-{i}", "zone": z} for i, z in enumerate(zones)],
            "conditions": [condition] if ready else [],
        },
    }


NODE_POOL = [
    Case(
        "a pool's label is on its nodes",
        [pod(nodeSelector={"team": "a"})],
        nodes(1),
        pools=[node_pool(labels={"team": "a"})],
    ),
    Case(
        "a pod without selector takes a labelled pool",
        [pod()],
        nodes(1),
        pools=[node_pool(labels={"team": "a"})],
    ),
    Case(
        "a pool's label with another value",
        [pod("p", nodeSelector={"team": "b"})],
        pending("p"),
        pools=[node_pool(labels={"team": "a"})],
    ),
    Case(
        "a pool's label among several",
        [pod(affinity=require(is_in("team", "a", "b")))],
        nodes(1),
        pools=[node_pool(labels={"team": "a"})],
    ),
    Case("a pool's zone", [pod()], zones(Z2), pools=pool_of(is_in(ZONE, Z2))),
    Case("a pool's zone as a label", [pod()], zones(Z2), pools=[node_pool(labels={ZONE: Z2})]),
    Case(
        "a pool's zones but one",
        [pod()],
        zones(Z3),
        pools=pool_of(requirement(ZONE, "NotIn", Z1, Z2)),
    ),
    Case(
        "a pod's zone within the pool's",
        [pod(nodeSelector={ZONE: Z2})],
        zones(Z2),
        pools=pool_of(is_in(ZONE, Z1, Z2)),
    ),
    Case(
        "a pod's zone outside of the pool's",
        [pod("p", nodeSelector={ZONE: Z3})],
        pending("p"),
        pools=pool_of(is_in(ZONE, Z1, Z2)),
    ),
    Case("an unknown zone", [pod("p", nodeSelector={ZONE: "nowhere"})], pending("p")),
    Case(
        "a pool of another zone than any offer",
        [pod("p")],
        pending("p"),
        pools=pool_of(is_in(ZONE, "nowhere")),
    ),
    Case(
        "a pool that a pod names",
        [pod(nodeSelector={"karpenter.sh/nodepool": "b"})],
        lambda p: [c["nodePool"] for c in p.claims] == ["b"],
        pools=[node_pool("a", weight=10), node_pool("b")],
    ),
    Case(
        "a pool that is not ready",
        [pod("p")],
        pending("p"),
        pools=[
            {
                **node_pool(),
                "status": {
                    "conditions": [
                        {
                            "type": "Ready",
                            "status": "False",
                            "reason": "NodeClassNotReady",
                            "message": "",
                            "lastTransitionTime": "2026-01-01T00:00:00Z",
                        }
                    ]
                },
            }
        ],
    ),
    Case(
        "a pool that is going",
        [pod("p")],
        pending("p"),
        pools=[
            {
                **node_pool(),
                "metadata": {
                    "name": "default",
                    "finalizers": ["x"],
                    "deletionTimestamp": "2026-01-01T00:00:00Z",
                },
            }
        ],
    ),
    *(
        Case(f"a class that {name}", [node_class(**status), pod("p")], check)
        for name, status, check in (
            ("is ready", {"ready": "True"}, nodes(1)),
            ("nobody has judged", {}, nodes(1)),
            ("is not ready", {"ready": "False"}, why("p", "is not ready: nothing matches")),
            ("is going", {"ready": "True", "going": True}, why("p", "is being deleted")),
            ("is another", {"ready": "True", "name": "other"}, why("p", "'default' not found")),
        )
    ),
    Case(
        "a class without subnets in a zone",
        [node_class(ready="True", zones=(Z2,)), pod("p", nodeSelector={ZONE: Z1}), pod("q")],
        all_of(pending("p"), lambda p: [c["offer"]["zone"] for c in p.claims] == [Z2]),
    ),
    Case("no pool at all", [pod("p")], pending("p"), pools=[]),
]

OPERATORS = [
    Case("In: a zone", [pod(affinity=require(is_in(ZONE, Z3)))], zones(Z3)),
    Case("In: known and unknown values", [pod(affinity=require(is_in(ZONE, "x", Z3)))], zones(Z3)),
    Case(
        "NotIn: what is left",
        [pod(affinity=require(requirement(ZONE, "NotIn", Z1, Z2, "x")))],
        zones(Z3),
    ),
    Case(
        "NotIn: nothing is left",
        [pod("p", affinity=require(requirement(ZONE, "NotIn", Z1, Z2, Z3)))],
        pending("p"),
    ),
    Case("Exists on a zone", [pod(affinity=require(exists(ZONE)))], nodes(1)),
    Case(
        "DoesNotExist on a zone",
        [pod("p", affinity=require(requirement(ZONE, "DoesNotExist")))],
        pending("p"),
    ),
    Case(
        "Exists does not widen In",
        [pod("p", affinity=require(is_in(ZONE, "x"), exists(ZONE)))],
        pending("p"),
    ),
    Case(
        "several expressions of a term all hold",
        [pod(affinity=require(is_in(ZONE, Z1, Z3), requirement(ZONE, "NotIn", Z1)))],
        zones(Z3),
    ),
    Case(
        "a pod's Gt",
        [pod(affinity=require(requirement(NUMBER, "Gt", "8")))],
        types("sixteen"),
        catalog=LABELED,
    ),
    Case(
        "a pod's Gt is strict",
        [pod(affinity=require(requirement(NUMBER, "Gt", "4")))],
        types("eight"),
        catalog=LABELED,
    ),
    Case(
        "a pod's Lt",
        [pod(cpu="3", affinity=require(requirement(NUMBER, "Lt", "8")))],
        types("four"),
        catalog=LABELED,
    ),
    Case(
        "a pod's Lt is strict",
        [pod("p", affinity=require(requirement(NUMBER, "Lt", "2")))],
        pending("p"),
        catalog=LABELED,
    ),
    Case(
        "a pod's Gt and Lt",
        [pod(affinity=require(requirement(NUMBER, "Gt", "2"), requirement(NUMBER, "Lt", "8")))],
        types("four"),
        catalog=LABELED,
    ),
    Case(
        "a pod's Gt and Lt that exclude each other",
        [
            pod(
                "p",
                affinity=require(requirement(NUMBER, "Gt", "8"), requirement(NUMBER, "Lt", "4")),
            )
        ],
        pending("p"),
        catalog=LABELED,
    ),
    Case(
        "Gt on a label that is no number",
        [pod("p", affinity=require(requirement(SIZE, "Gt", "1")))],
        pending("p"),
        catalog=LABELED,
    ),
    Case(
        "Gt on a label no node has",
        [pod("p", affinity=require(requirement("x", "Gt", "1")))],
        pending("p"),
        catalog=LABELED,
    ),
    Case(
        "a pool's Gt",
        [pod()],
        types("sixteen"),
        catalog=LABELED,
        pools=pool_of(requirement(NUMBER, "Gt", "8")),
    ),
    Case(
        "a pool's Gte",
        [pod()],
        types("eight"),
        catalog=LABELED,
        pools=pool_of(requirement(NUMBER, "Gte", "8")),
    ),
    Case(
        "a pool's Lt",
        [pod(cpu="3")],
        types("four"),
        catalog=LABELED,
        pools=pool_of(requirement(NUMBER, "Lt", "8")),
    ),
    Case(
        "a pool's Lte",
        [pod(cpu="5")],
        types("eight"),
        catalog=LABELED,
        pools=pool_of(requirement(NUMBER, "Lte", "8")),
    ),
    Case(
        "a pool's bound against a pod's",
        [pod("p", affinity=require(requirement(NUMBER, "Lt", "4")))],
        pending("p"),
        catalog=LABELED,
        pools=pool_of(requirement(NUMBER, "Gt", "2")),
    ),
    Case(
        "a pool's bound with a pod's",
        [pod(affinity=require(requirement(NUMBER, "Lt", "8")))],
        types("four"),
        catalog=LABELED,
        pools=pool_of(requirement(NUMBER, "Gt", "2")),
    ),
    Case(
        "the same key twice in a pool",
        [pod()],
        types("four"),
        catalog=LABELED,
        pools=pool_of(
            requirement(NUMBER, "Gt", "2"),
            requirement(NUMBER, "NotIn", "8"),
            requirement(NUMBER, "Lt", "16"),
        ),
    ),
]

TYPES = [
    Case(
        "a label of some types",
        [pod(nodeSelector={SIZE: "large"})],
        types("eight"),
        catalog=LABELED,
    ),
    Case(
        "two values of it take two nodes",
        [pod(nodeSelector={SIZE: "large"}), pod(nodeSelector={SIZE: "small"})],
        types("eight", "two"),
        catalog=LABELED,
    ),
    Case(
        "a type that has another value",
        [pod("p", nodeSelector={SIZE: "large", TYPE: "two"})],
        pending("p"),
        catalog=LABELED,
    ),
    Case(
        "a label only some types have",
        [pod(affinity=require(exists(SPECIAL)))],
        types("sixteen"),
        catalog=LABELED,
    ),
    Case(
        "without a label only some types have",
        [pod(cpu="5", affinity=require(requirement(SPECIAL, "DoesNotExist")))],
        types("eight"),
        catalog=LABELED,
    ),
    Case(
        "NotIn holds where the label is missing",
        [pod(affinity=require(requirement(SPECIAL, "NotIn", "yes")))],
        types("two"),
        catalog=LABELED,
    ),
    Case(
        "a pool that needs a label only some types have",
        [pod()],
        types("sixteen"),
        catalog=LABELED,
        pools=pool_of(exists(SPECIAL)),
    ),
    Case(
        "a pool that forbids a label only some types have",
        [pod(cpu="9")],
        lambda p: len(p.unschedulable) == 1,
        catalog=LABELED,
        pools=pool_of(requirement(SPECIAL, "DoesNotExist")),
    ),
    Case("a type by name", [pod(nodeSelector={TYPE: "eight"})], types("eight"), catalog=LABELED),
    Case(
        "types by the deprecated key",
        [pod(nodeSelector={"beta.kubernetes.io/instance-type": "eight"})],
        types("eight"),
        catalog=LABELED,
    ),
    Case(
        "two types by name take two nodes",
        [pod("a", nodeSelector={TYPE: "eight"}), pod("b", nodeSelector={TYPE: "four"})],
        all_of(types("eight", "four"), apart("a", "b")),
        catalog=LABELED,
    ),
    Case(
        "any type but some",
        [pod(affinity=require(requirement(TYPE, "NotIn", "two", "four")))],
        types("eight"),
        catalog=LABELED,
    ),
    Case("an architecture nobody has", [pod("p", nodeSelector={ARCH: "s390x"})], pending("p")),
    Case(
        "arm for a pool of amd64",
        [pod("p", nodeSelector={TYPE: "arm"})],
        pending("p"),
        pools=pool_of(is_in(ARCH, "amd64")),
    ),
    Case(
        "only the forbidden architecture is large enough",
        [pod("p", cpu="14")],
        pending("p"),
        pools=pool_of(is_in(ARCH, "amd64")),
    ),
    Case(
        "two operating systems take two nodes",
        [pod("a", nodeSelector={OS: "linux"}), pod("b", nodeSelector={OS: "windows"})],
        all_of(nodes(2), apart("a", "b")),
        catalog=TWO_SYSTEMS,
    ),
    Case(
        "an operating system only one type has",
        [pod(cpu="5", nodeSelector={OS: "linux"})],
        types("penguin"),
        catalog=TWO_SYSTEMS,
    ),
    Case(
        "an operating system no large enough type has",
        [pod("p", cpu="5", nodeSelector={OS: "windows"})],
        pending("p"),
        catalog=TWO_SYSTEMS,
    ),
    Case("an operating system nobody has", [pod("p", nodeSelector={OS: "plan9"})], pending("p")),
    Case(
        "a capacity type",
        [pod(nodeSelector={CAPACITY: "spot"})],
        lambda p: [c["offer"]["capacityType"] for c in p.claims] == ["spot"],
    ),
    Case(
        "spot where no spot is", [pod("p", nodeSelector={CAPACITY: "spot", ZONE: Z3})], pending("p")
    ),
    Case(
        "an offering must have zone and capacity type at once",
        [pod("p", nodeSelector={CAPACITY: "spot", ZONE: Z3}), pod("q", nodeSelector={ZONE: Z3})],
        pending("p"),
    ),
    Case("a pod's OS field", [pod(os={"name": "linux"})], nodes(1)),
]

CUSTOM = [
    *(
        Case(
            f"{operator} where the pool only excludes a value",
            [pod(affinity=require(requirement("team", operator, *values)))],
            nodes(1),
            pools=pool_of(exists(CAPACITY), requirement("team", "NotIn", "a")),
        )
        for operator, values in (("Exists", ()), ("DoesNotExist", ()), ("Gt", ("4",)))
    ),
    Case(
        "Exists and no label at all, where the pool only excludes a value: two nodes",
        [
            pod("with", affinity=require(exists("team"))),
            pod("without", affinity=require(requirement("team", "DoesNotExist"))),
        ],
        nodes(2),
        pools=pool_of(exists(CAPACITY), requirement("team", "NotIn", "a")),
    ),
    Case(
        "the last of a hundred values",
        [pod(nodeSelector={"team": "t99"})],
        asks("team", "t99"),
        pools=custom(*(f"t{n:02d}" for n in range(100))),
    ),
    Case(
        "the last of ten values of two labels each",
        [pod(nodeSelector={"team": "9", "stage": "9"})],
        all_of(asks("team", "9"), asks("stage", "9")),
        pools=pool_of(
            exists(CAPACITY), *(is_in(key, *map(str, range(10))) for key in ("team", "stage"))
        ),
    ),
    Case(
        "Exists where the pool gives a value",
        [pod(affinity=require(exists("team")))],
        nodes(1),
        pools=custom("a"),
    ),
    Case(
        "DoesNotExist where the pool gives a value",
        [pod("p", affinity=require(requirement("team", "DoesNotExist")))],
        pending("p"),
        pools=custom("a"),
    ),
    Case(
        "NotIn the pool's only value",
        [pod("p", affinity=require(requirement("team", "NotIn", "a")))],
        pending("p"),
        pools=custom("a"),
    ),
    Case(
        "NotIn another value",
        [pod(affinity=require(requirement("team", "NotIn", "b")))],
        asks("team", "a"),
        pools=custom("a"),
    ),
    Case(
        "one of the pool's values",
        [pod(nodeSelector={"team": "b"})],
        asks("team", "b"),
        pools=custom("a", "b"),
    ),
    Case(
        "compatible pods share a node",
        [
            pod("x", nodeSelector={"team": "a"}),
            pod("y", affinity=require(requirement("team", "NotIn", "b"))),
        ],
        all_of(nodes(1), asks("team", "a")),
        pools=custom("a", "b"),
    ),
    Case(
        "incompatible pods do not",
        [pod("x", nodeSelector={"team": "a"}), pod("y", nodeSelector={"team": "b"})],
        all_of(nodes(2), apart("x", "y")),
        pools=custom("a", "b"),
    ),
    Case(
        "a pool that leaves the value open takes any",
        [pod("x", nodeSelector={"team": "a"}), pod("y", nodeSelector={"team": "b"})],
        all_of(nodes(2), apart("x", "y")),
        pools=pool_of(exists("team")),
    ),
    Case(
        "a pool that leaves the value open but for some",
        [pod("x", nodeSelector={"team": "a"}), pod("y", nodeSelector={"team": "b"})],
        pending("y"),
        pools=pool_of(requirement("team", "NotIn", "b")),
    ),
    Case(
        "a pool that wants an open number, a pod that wants a larger one",
        [pod(affinity=require(requirement("rack", "Gt", "3")))],
        nodes(1),
        pools=pool_of(requirement("rack", "Gt", "1")),
    ),
    Case(
        "a pool that wants an open number, a pod that names one",
        [pod("x", nodeSelector={"rack": "2"}), pod("y", nodeSelector={"rack": "1"})],
        pending("y"),
        pools=pool_of(requirement("rack", "Gt", "1")),
    ),
    Case(
        "a pool's DoesNotExist, a pod that needs the key",
        [pod("p", affinity=require(exists("team")))],
        pending("p"),
        pools=pool_of(requirement("team", "DoesNotExist")),
    ),
    Case(
        "a pool's DoesNotExist, a pod that needs its absence",
        [pod(affinity=require(requirement("team", "DoesNotExist")))],
        nodes(1),
        pools=pool_of(requirement("team", "DoesNotExist")),
    ),
    Case(
        "a label and a requirement of one pool meet",
        [pod(nodeSelector={"team": "a"})],
        nodes(1),
        pools=[node_pool(labels={"team": "a"}, requirements=[is_in("team", "a", "b")])],
    ),
    Case(
        "a key under kubernetes.io that a pool gives",
        [pod(nodeSelector={"node.kubernetes.io/x": "y"})],
        nodes(1),
        pools=[node_pool(labels={"node.kubernetes.io/x": "y"})],
    ),
    Case(
        "a label value that is empty",
        [pod(nodeSelector={"team": ""})],
        nodes(1),
        pools=[node_pool(labels={"team": ""})],
    ),
    Case(
        "an empty value is not a missing label", [pod("p", nodeSelector={"team": ""})], pending("p")
    ),
    Case(
        "the second pool has the label",
        [pod(nodeSelector={"team": "b"})],
        lambda p: [c["nodePool"] for c in p.claims] == ["two"],
        pools=[node_pool("one", labels={"team": "a"}), node_pool("two", labels={"team": "b"})],
    ),
]

BOTH = (exists("team"), requirement("team", "NotIn", "a"))
PRESENCE = [
    Case(
        "a label must be there and not be a value: it is not there",
        [node("n1"), pod("p", affinity=require(*BOTH))],
        pending("p"),
    ),
    Case(
        "a label must be there and not be a value: a node has another",
        [node("n1", labels={"team": "b"}), pod("p", cpu="1", affinity=require(*BOTH))],
        on(p="n1"),
    ),
    Case(
        "a label must be there and not be a value: a node has that one",
        [node("n1", labels={"team": "a"}), pod("p", cpu="1", affinity=require(*BOTH))],
        pending("p"),
    ),
    Case(
        "a pool's label must be there and not be a value, a pod wants it gone",
        [pod("p", affinity=require(requirement("team", "DoesNotExist")))],
        pending("p"),
        pools=pool_of(*BOTH),
    ),
    Case(
        "a pool's label must be there and not be a value, a pod wants another",
        [pod(nodeSelector={"team": "b"})],
        asks("team", "b"),
        pools=pool_of(*BOTH),
    ),
    Case(
        "a pool's label must be there and not be a value, a pod wants that one",
        [pod("p", nodeSelector={"team": "a"})],
        pending("p"),
        pools=pool_of(*BOTH),
    ),
]

TERMS = [
    Case(
        "the last term is not given up",
        [pod("p", affinity=require(is_in(ZONE, "nowhere")))],
        pending("p"),
    ),
    Case(
        "the first term that can hold",
        [
            pod(
                affinity=require_any(
                    expressions(is_in(ZONE, "nowhere")),
                    expressions(is_in(ZONE, "elsewhere")),
                    expressions(is_in(ZONE, Z2)),
                )
            )
        ],
        zones(Z2),
    ),
    Case(
        "a term that fits holds though another is empty",
        [pod(affinity=require_any({}, expressions(is_in(ZONE, Z2))))],
        zones(Z2),
    ),
    Case("an empty term matches nothing", [pod("p", affinity=require_any({}))], pending("p")),
    Case(
        "selector and affinity both hold",
        [pod(nodeSelector={ZONE: Z2}, affinity=require(is_in(CAPACITY, "spot")))],
        lambda p: (
            [(c["offer"]["zone"], c["offer"]["capacityType"]) for c in p.claims] == [(Z2, "spot")]
        ),
    ),
    Case(
        "two terms, each for a type of its own",
        [
            pod(
                cpu="1",
                affinity=require_any(
                    expressions(is_in(TYPE, "single-pod")), expressions(is_in(TYPE, "small"))
                ),
            )
        ],
        nodes(1),
    ),
    Case(
        "pods of different terms that meet share",
        [
            pod(
                "a",
                affinity=require_any(expressions(is_in(ZONE, Z1)), expressions(is_in(ZONE, Z2))),
            ),
            pod(
                "b",
                affinity=require_any(expressions(is_in(ZONE, Z2)), expressions(is_in(ZONE, Z3))),
            ),
        ],
        all_of(zones(Z2), together("a", "b")),
    ),
    Case(
        "matchFields by name, of a node that is there",
        [
            node("n1"),
            node("n2"),
            pod(
                "p",
                affinity={
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [{"matchFields": [is_in("metadata.name", "n2")]}]
                        }
                    }
                },
            ),
        ],
        lambda p: not p.claims,
    ),
]

HOSTS = [
    Case(
        "a hostname no new node can have", [pod("p", nodeSelector={HOSTNAME: "red"})], pending("p")
    ),
    Case(
        "the hostname of a node that is there",
        [node("n1"), node("n2"), pod("p", nodeSelector={HOSTNAME: "n2"})],
        on(p="n2"),
    ),
    Case(
        "any hostname but one that is there",
        [node("n1"), pod("p", affinity=require(requirement(HOSTNAME, "NotIn", "n1")))],
        nodes(1),
    ),
    Case(
        "any hostname but one that is not there",
        [node("n1"), pod("p", affinity=require(requirement(HOSTNAME, "NotIn", "n9")))],
        on(p="n1"),
    ),
    Case("a hostname must exist", [pod(affinity=require(exists(HOSTNAME)))], nodes(1)),
]

RESTRICTED = [
    *(
        Case(
            f"a pod may not ask for {key}",
            [pod("p", affinity=require(is_in(key, "x")))],
            pending("p"),
        )
        for key in (
            "karpenter.sh/custom",
            "sub.karpenter.sh/custom",
            "eks.amazonaws.com/custom",
            "karpenter.k8s.aws/custom",
        )
    ),
    *(
        Case(
            f"a pool may give {key}",
            [pod(nodeSelector={key: "x"})],
            nodes(1),
            pools=[node_pool(labels={key: "x"})],
        )
        for key in (
            "kops.k8s.io/instancegroup",
            "node.kubernetes.io/role",
            "sub.kubernetes.io/x",
            "node-restriction.kubernetes.io/x",
        )
    ),
    Case(
        "a registered node may be asked for",
        [pod(affinity=require(is_in("karpenter.sh/registered", "true")))],
        nodes(1),
    ),
]

PREFERENCES = [
    Case(
        "a preference that can hold", [pod(affinity=prefer((1, is_in(ZONE, Z2, "x"))))], zones(Z2)
    ),
    Case("a preference that cannot", [pod(affinity=prefer((1, is_in(ZONE, "x"))))], nodes(1)),
    Case(
        "two that cannot",
        [pod(affinity=prefer((1, is_in(ZONE, "x")), (1, is_in(TYPE, "x"))))],
        nodes(1),
    ),
    Case(
        "a preference against the requirement",
        [pod(affinity=both(require(is_in(ZONE, Z3)), prefer((1, requirement(ZONE, "NotIn", Z3)))))],
        zones(Z3),
    ),
    Case(
        "a preference within the requirement",
        [
            pod(
                affinity=both(
                    require(is_in(ZONE, Z1, Z2, Z3)),
                    prefer((1, requirement(ZONE, "NotIn", Z1, Z3))),
                )
            )
        ],
        zones(Z2),
    ),
    Case(
        "the lighter of two where the heavier cannot hold",
        [
            pod(
                affinity=prefer(
                    (100, is_in(TYPE, "x")), (50, is_in(ZONE, Z2)), (1, is_in(ZONE, Z1))
                )
            )
        ],
        zones(Z2),
        pools=pool_of(is_in(ZONE, Z1, Z2)),
    ),
    Case(
        "a preference that contradicts itself",
        [
            pod(
                affinity={
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 1,
                                "preference": expressions(
                                    is_in(ZONE, "x"), requirement(ZONE, "NotIn", "x")
                                ),
                            }
                        ]
                    }
                }
            )
        ],
        nodes(1),
    ),
    Case(
        "a preference for a label nobody has",
        [pod(affinity=prefer((1, is_in("custom", "x"))))],
        nodes(1),
    ),
    Case(
        "a preference keeps a pod off no node that is there",
        [node("n1", zone=Z1), pod("p", cpu="1", affinity=prefer((1, is_in(ZONE, "x"))))],
        on(p="n1"),
    ),
    Case(
        "selector, requirement and preference together",
        [
            pod(
                nodeSelector={ZONE: Z3, TYPE: "arm"},
                affinity=both(
                    require(is_in(ZONE, Z1, Z3), is_in(TYPE, "default", "arm")),
                    prefer((1, requirement(TYPE, "NotIn", "x"))),
                ),
            )
        ],
        all_of(zones(Z3), types("arm")),
    ),
]

REASONS = [
    *(
        Case(
            f"a typo of a known label: {typo}",
            [pod("p", nodeSelector={typo: "x"})],
            why("p", f'label "{typo}" does not have known values (typo of "{meant}"?)'),
        )
        for typo, meant in (
            ("zone", ZONE),
            ("region", "topology.kubernetes.io/region"),
            ("instance-type", TYPE),
            ("arch", ARCH),
            ("capacity-type", CAPACITY),
            ("nodepool", "karpenter.sh/nodepool"),
            ("karpenter/nodepool", "karpenter.sh/nodepool"),
            ("node.io/zone", ZONE),
        )
    ),
    Case(
        "a label nobody has",
        [pod("p", nodeSelector={"custom": "x"})],
        why("p", 'label "custom" does not have known values'),
    ),
]

CASES = [
    *PRESENCE,
    *NODE_POOL,
    *OPERATORS,
    *TYPES,
    *CUSTOM,
    *TERMS,
    *HOSTS,
    *RESTRICTED,
    *PREFERENCES,
    *REASONS,
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rule(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
