"""Inter-pod affinity and anti-affinity, required and preferred."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plan_builders import (
    ARCH,
    CAPACITY,
    HOSTNAME,
    Z1,
    Z2,
    Z3,
    ZONE,
    Object,
    exists,
    is_in,
    node,
    node_pool,
    pod,
    pods,
    spread,
)
from plan_cases import (
    Case,
    Check,
    all_of,
    apart,
    away,
    both,
    near,
    nodes,
    on,
    pending,
    prefer_away,
    prefer_near,
    require,
    run,
    term,
    together,
    why,
    zones,
)

WEB, DB = {"app": "web"}, {"app": "db"}
FULL = "3800m"


def web(name: str, **spec: Any) -> Object:
    spec.setdefault("cpu", "100m")
    return pod(name, labels=WEB, **spec)


def db(name: str, **spec: Any) -> Object:
    spec.setdefault("cpu", "100m")
    return pod(name, labels=DB, **spec)


def full(name: str, zone: str, *running: Object) -> list[Object]:
    """A node without room that runs these pods."""
    placed = [
        {
            **p,
            "spec": {**p["spec"], "nodeName": name},
            "status": {"phase": p["status"]["phase"].replace("Pending", "Running")},
        }
        for p in running
    ]
    return [*node(name, zone=zone), pod(node=name, cpu=FULL), *placed]


def namespace(name: str, **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def same_zone(*names: str) -> Check:
    wanted = [f"default/{n}" for n in names]

    def check(p: Any) -> bool:
        found = {c["offer"]["zone"] for c in p.claims for n in wanted if n in c["pods"]}
        return len(found) == 1 and not p.unschedulable

    return check


AFFINITY = [
    Case(
        "to pods on a host",
        [db("d", cpu="1"), web("w", affinity=near(term(HOSTNAME, DB)))],
        together("d", "w"),
    ),
    Case(
        "to pods on a host, seen first",
        [web("a", affinity=near(term(HOSTNAME, DB))), db("z", cpu="1")],
        together("a", "z"),
    ),
    Case(
        "to pods in a zone",
        [db("d", nodeSelector={ZONE: Z3}), web("w", cpu="3", affinity=near(term(ZONE, DB)))],
        same_zone("d", "w"),
    ),
    Case(
        "to pods of a capacity type",
        [
            db("d", cpu="3", nodeSelector={CAPACITY: "spot"}),
            web("w", cpu="3", affinity=near(term(CAPACITY, DB))),
        ],
        lambda p: p.skew(CAPACITY) == [2],
    ),
    Case(
        "to a pod that runs",
        [full("n1", Z2, db("d")), web("w", affinity=near(term(ZONE, DB)))],
        zones(Z2),
    ),
    Case(
        "to a pod that runs on a host with room",
        [
            node("n1"),
            pod(node="n1", labels=DB),
            node("n2"),
            web("w", affinity=near(term(HOSTNAME, DB))),
        ],
        on(w="n1"),
    ),
    Case(
        "to a pod that runs on a host without room",
        [full("n1", Z2, db("d")), web("w", cpu="1", affinity=near(term(HOSTNAME, DB)))],
        pending("w"),
    ),
    Case("to nobody", [web("w", affinity=near(term(ZONE, DB)))], pending("w")),
    Case("to nobody is told", [web("w", affinity=near(term(ZONE, DB)))], why("w", "affinity")),
    Case(
        "to a pod that cannot be placed",
        [db("d", nodeSelector={"x": "y"}), web("w", affinity=near(term(HOSTNAME, DB)))],
        pending("d", "w"),
    ),
    Case(
        "to themselves on a host",
        [*(web(f"w{i}", affinity=near(term(HOSTNAME, WEB))) for i in range(3))],
        all_of(nodes(1), together("w0", "w1", "w2")),
    ),
    Case(
        "to themselves on a host that cannot hold all",
        [
            *(
                web(
                    f"w{i}",
                    cpu="1500m",
                    affinity=near(term(HOSTNAME, WEB)),
                    nodeSelector={"kubernetes.io/arch": "amd64"},
                )
                for i in range(3)
            )
        ],
        lambda p: len(p.claims) == 1 and len(p.unschedulable) == 1,
    ),
    Case(
        "to themselves in a zone, over several nodes",
        [
            *(
                web(
                    f"w{i}",
                    cpu="3",
                    affinity=near(term(ZONE, WEB)),
                    nodeSelector={"kubernetes.io/arch": "amd64"},
                )
                for i in range(3)
            )
        ],
        all_of(nodes(3), same_zone("w0", "w1", "w2")),
    ),
    Case(
        "to themselves in a zone, where some run",
        [
            full("n1", Z3, web("r")),
            *(web(f"w{i}", cpu="1", affinity=near(term(ZONE, WEB))) for i in range(2)),
        ],
        same_zone("w0", "w1"),
    ),
    Case(
        "to themselves in a zone out of the pool's reach",
        [full("n1", Z3, web("r")), web("w", affinity=near(term(ZONE, WEB)))],
        pending("w"),
        pools=[node_pool(requirements=[exists(CAPACITY), is_in(ZONE, Z1)])],
    ),
    Case(
        "to themselves in the zone they must be in",
        [web("w", nodeSelector={ZONE: Z2}, affinity=near(term(ZONE, WEB)))],
        zones(Z2),
    ),
    Case(
        "to themselves in two zones they must be in",
        [
            web("a", nodeSelector={ZONE: Z1}, affinity=near(term(ZONE, WEB))),
            web("b", nodeSelector={ZONE: Z2}, affinity=near(term(ZONE, WEB))),
        ],
        lambda p: len(p.claims) == 1 and len(p.unschedulable) == 1,
    ),
    Case(
        "to two others at once",
        [
            db("d"),
            pod("q", labels={"app": "queue"}, cpu="100m"),
            web("w", affinity=near(term(HOSTNAME, DB), term(HOSTNAME, {"app": "queue"}))),
        ],
        pending("w"),
    ),
    Case(
        "two terms hold for one pod that meets both",
        [
            pod("d", labels={**DB, "tier": "x"}, cpu="100m"),
            web("w", affinity=near(term(HOSTNAME, DB), term(HOSTNAME, {"tier": "x"}))),
        ],
        together("d", "w"),
    ),
    Case(
        "a chain of followers",
        [
            web("a", affinity=near(term(ZONE, DB))),
            db("b", affinity=near(term(ZONE, {"app": "queue"}))),
            pod("c", labels={"app": "queue"}, cpu="100m", nodeSelector={ZONE: Z2}),
        ],
        same_zone("a", "b", "c"),
    ),
    Case(
        "a ring of followers waits",
        [web("a", affinity=near(term(HOSTNAME, DB))), db("b", affinity=near(term(HOSTNAME, WEB)))],
        pending("a", "b"),
    ),
    Case(
        "to an unknown key", [db("d"), web("w", affinity=near(term("unknown", DB)))], pending("w")
    ),
    Case(
        "a term without selector matches nobody",
        [db("d"), web("w", affinity=near(term(ZONE)))],
        pending("w"),
    ),
    Case(
        "a selector of nothing matches everybody",
        [db("d", nodeSelector={ZONE: Z2}), web("w", cpu="1", affinity=near(term(ZONE, {})))],
        same_zone("d", "w"),
    ),
    *(
        Case(
            f"not to {name}",
            [
                *node("n1", zone=Z2),
                pod(node="n1", cpu=FULL),
                pod(node="n1", labels=DB, **arguments),
                web("w", affinity=near(term(ZONE, DB))),
            ],
            pending("w"),
        )
        for name, arguments in (
            ("a pod that is going", {"metadata": {"deletionTimestamp": "2026-01-01T23:59:00Z"}}),
            ("a pod that ended", {"phase": "Succeeded"}),
            ("a pod of another namespace", {"namespace": "other"}),
        )
    ),
    Case(
        "a follower spreads with its leader",
        [
            db("d0", nodeSelector={ZONE: Z1}),
            db("d1", nodeSelector={ZONE: Z2}),
            web(
                "w",
                affinity=both(near(term(ZONE, DB)), away(term(ZONE, {"app": "queue"}))),
                cpu="1",
            ),
            pod("q", labels={"app": "queue"}, cpu="100m", nodeSelector={ZONE: Z1}),
        ],
        same_zone("d1", "w"),
    ),
]

ANTI = [
    Case(
        "apart on hosts",
        [*(web(f"w{i}", affinity=away(term(HOSTNAME, WEB))) for i in range(3))],
        all_of(nodes(3), apart("w0", "w1", "w2")),
    ),
    Case(
        "apart in zones",
        [*(web(f"w{i}", affinity=away(term(ZONE, WEB))) for i in range(3))],
        zones(Z1, Z2, Z3),
    ),
    Case(
        "apart in zones, one too many",
        [*(web(f"w{i}", affinity=away(term(ZONE, WEB))) for i in range(4))],
        lambda p: len(p.claims) == 3 and len(p.unschedulable) == 1,
    ),
    Case(
        "away from others on hosts",
        [db("d", cpu="1"), web("w", affinity=away(term(HOSTNAME, DB)))],
        apart("d", "w"),
    ),
    Case(
        "others away from it: the rule holds both ways",
        [db("d", cpu="1", affinity=away(term(HOSTNAME, WEB))), web("w")],
        apart("d", "w"),
    ),
    Case(
        "away from others' zone",
        [db("d", nodeSelector={ZONE: Z1}), web("w", cpu="1", affinity=away(term(ZONE, DB)))],
        lambda p: len({c["offer"]["zone"] for c in p.claims}) == 2,
    ),
    Case(
        "away from the zones of all others",
        [
            *(db(f"d{i}", nodeSelector={ZONE: z}) for i, z in enumerate((Z1, Z2, Z3))),
            web("w", affinity=away(term(ZONE, DB))),
        ],
        pending("w"),
    ),
    Case(
        "away from a pod that runs",
        [full("n1", Z1, db("d")), full("n2", Z2, db("e")), web("w", affinity=away(term(ZONE, DB)))],
        zones(Z3),
    ),
    Case(
        "a pod that runs keeps others off its host",
        [node("n1"), pod(node="n1", labels=DB, affinity=away(term(HOSTNAME, WEB))), web("w")],
        nodes(1),
    ),
    Case(
        "a pod that runs keeps others off its zone",
        [full("n1", Z1, db("d", affinity=away(term(ZONE, WEB)))), web("w")],
        lambda p: [c["offer"]["zone"] for c in p.claims] not in ([Z1], []),
    ),
    Case(
        "a pod that runs keeps others off the only zone",
        [full("n1", Z1, db("d", affinity=away(term(ZONE, WEB)))), web("w")],
        pending("w"),
        pools=[node_pool(requirements=[exists(CAPACITY), is_in(ZONE, Z1)])],
    ),
    Case(
        "a pod that is going keeps nobody off",
        [
            node("n1"),
            pod(
                node="n1",
                labels=DB,
                affinity=away(term(HOSTNAME, WEB)),
                metadata={"deletionTimestamp": "2026-01-01T23:59:00Z"},
            ),
            web("w"),
        ],
        on(w="n1"),
    ),
    Case(
        "a pod that runs and only would like to keeps nobody off",
        [
            node("n1"),
            pod(node="n1", labels=DB, affinity=prefer_away((100, term(HOSTNAME, WEB)))),
            web("w"),
        ],
        on(w="n1"),
    ),
    Case(
        "apart from oneself only",
        [
            *(web(f"w{i}", affinity=away(term(HOSTNAME, WEB))) for i in range(2)),
            *(db(f"d{i}", affinity=away(term(HOSTNAME, DB))) for i in range(2)),
        ],
        nodes(2),
    ),
    Case(
        "an empty node is taken before one is bought",
        [
            node("n1"),
            node("n2"),
            *(web(f"w{i}", affinity=away(term(HOSTNAME, WEB))) for i in range(3)),
        ],
        lambda p: len(p.placements) == 2 and len(p.claims) == 1,
    ),
    Case(
        "a term without selector keeps nobody off",
        [db("d"), web("w", affinity=away(term(HOSTNAME)))],
        nodes(1),
    ),
    Case(
        "over an unknown key nothing can clash",
        [db("d"), web("w", affinity=away(term("unknown", DB)))],
        nodes(1),
    ),
    Case(
        "near and away at once",
        [db("d"), web("w", affinity=both(near(term(ZONE, DB)), away(term(HOSTNAME, DB))))],
        all_of(apart("d", "w"), same_zone("d", "w")),
    ),
    Case(
        "near and away of one host contradict",
        [db("d"), web("w", affinity=both(near(term(HOSTNAME, DB)), away(term(HOSTNAME, DB))))],
        pending("w"),
    ),
    Case(
        "a selector by expression",
        [
            db("d"),
            web(
                "w",
                affinity=away(
                    {
                        "topologyKey": HOSTNAME,
                        "labelSelector": {
                            "matchExpressions": [
                                {"key": "app", "operator": "NotIn", "values": ["web"]}
                            ]
                        },
                    }
                ),
            ),
        ],
        apart("d", "w"),
    ),
    Case(
        "NotIn also matches pods without the label",
        [
            pod("d", cpu="100m"),
            web(
                "w",
                affinity=away(
                    {
                        "topologyKey": HOSTNAME,
                        "labelSelector": {
                            "matchExpressions": [
                                {"key": "app", "operator": "NotIn", "values": ["web"]}
                            ]
                        },
                    }
                ),
            ),
        ],
        apart("d", "w"),
    ),
    Case(
        "DoesNotExist matches pods without the label",
        [
            pod("d", cpu="100m"),
            web(
                "w",
                affinity=away(
                    {
                        "topologyKey": HOSTNAME,
                        "labelSelector": {
                            "matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]
                        },
                    }
                ),
            ),
        ],
        apart("d", "w"),
    ),
]


def elsewhere(name: str = "d", space: str = "other") -> Object:
    return pod(name, labels=DB, namespace=space, cpu="1")


def split(p: Any) -> bool:
    return len(p.claims) == 2 and not p.unschedulable


def shared(p: Any) -> bool:
    return len(p.claims) == 1 and not p.unschedulable


SPACES = [
    Case(
        "anti-affinity is about the own namespace",
        [elsewhere(), web("w", affinity=away(term(HOSTNAME, DB)))],
        shared,
    ),
    Case(
        "and about others that are named",
        [elsewhere(), web("w", affinity=away(term(HOSTNAME, DB, namespaces=["other"])))],
        split,
    ),
    Case(
        "naming others leaves the own out",
        [db("d", cpu="1"), web("w", affinity=away(term(HOSTNAME, DB, namespaces=["other"])))],
        shared,
    ),
    Case(
        "an empty namespaceSelector is about all",
        [elsewhere(), web("w", affinity=away(term(HOSTNAME, DB, namespaceSelector={})))],
        split,
    ),
    Case(
        "a namespaceSelector by labels",
        [
            namespace("other", team="a"),
            elsewhere(),
            web(
                "w",
                affinity=away(term(HOSTNAME, DB, namespaceSelector={"matchLabels": {"team": "a"}})),
            ),
        ],
        split,
    ),
    Case(
        "a namespaceSelector that matches none",
        [
            namespace("other", team="b"),
            elsewhere(),
            web(
                "w",
                affinity=away(term(HOSTNAME, DB, namespaceSelector={"matchLabels": {"team": "a"}})),
            ),
        ],
        shared,
    ),
    Case(
        "a namespaceSelector and names add up",
        [
            namespace("other", team="a"),
            elsewhere(),
            elsewhere("e", "third"),
            web(
                "w",
                affinity=away(
                    term(
                        HOSTNAME,
                        DB,
                        namespaces=["third"],
                        namespaceSelector={"matchLabels": {"team": "a"}},
                    )
                ),
            ),
        ],
        lambda p: (
            not any(
                {"default/w", x} <= set(c["pods"]) for c in p.claims for x in ("other/d", "third/e")
            )
            and not p.unschedulable
        ),
    ),
    Case(
        "a namespaceSelector by the name every namespace carries",
        [
            elsewhere(),
            web(
                "w",
                affinity=away(
                    term(
                        HOSTNAME,
                        DB,
                        namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "other"}},
                    )
                ),
            ),
        ],
        split,
    ),
    Case(
        "affinity to another namespace",
        [elsewhere(), web("w", affinity=near(term(HOSTNAME, DB, namespaces=["other"])))],
        shared,
    ),
    Case(
        "affinity to another namespace that is not named",
        [elsewhere(), web("w", affinity=near(term(HOSTNAME, DB)))],
        lambda p: list(p.unschedulable) == ["default/w"],
    ),
    Case(
        "the first of a group that looks to another namespace waits",
        [web("w", affinity=near(term(HOSTNAME, WEB, namespaces=["other"])))],
        pending("w"),
    ),
]

KEYS = [
    Case(
        "matchLabelKeys: apart within a revision",
        [
            *(
                pod(
                    f"p{r}{i}",
                    labels={**WEB, "rev": r},
                    cpu="100m",
                    affinity=away(term(HOSTNAME, WEB, matchLabelKeys=["rev"])),
                )
                for r in "ab"
                for i in range(2)
            )
        ],
        nodes(2),
    ),
    Case(
        "mismatchLabelKeys: apart from other tenants",
        [
            *(
                pod(
                    f"p{t}{i}",
                    labels={**WEB, "tenant": t},
                    cpu="100m",
                    affinity=away(term(HOSTNAME, WEB, mismatchLabelKeys=["tenant"])),
                )
                for t in "ab"
                for i in range(2)
            )
        ],
        all_of(nodes(2), together("pa0", "pa1"), together("pb0", "pb1")),
    ),
    Case(
        "matchLabelKeys: together within a revision",
        [
            *(
                pod(
                    f"p{r}{i}",
                    labels={**WEB, "rev": r},
                    cpu="1500m",
                    nodeSelector={"kubernetes.io/arch": "amd64"},
                    affinity=near(term(HOSTNAME, WEB, matchLabelKeys=["rev"])),
                )
                for r in "ab"
                for i in range(2)
            )
        ],
        all_of(nodes(2), together("pa0", "pa1"), together("pb0", "pb1")),
    ),
]

PREFERRED = [
    Case(
        "preferred: near what is there",
        [full("n1", Z2, db("d")), web("w", affinity=prefer_near((1, term(ZONE, DB))))],
        zones(Z2),
    ),
    Case("preferred: near nobody", [web("w", affinity=prefer_near((1, term(ZONE, DB))))], nodes(1)),
    Case(
        "preferred: near what comes",
        [
            db("d", nodeSelector={ZONE: Z3}),
            web("w", cpu="1", affinity=prefer_near((1, term(ZONE, DB)))),
        ],
        same_zone("d", "w"),
    ),
    Case(
        "preferred: away where it can be",
        [full("n1", Z1, db("d")), web("w", affinity=prefer_away((1, term(ZONE, DB))))],
        lambda p: p.claims[0]["offer"]["zone"] != Z1,
    ),
    *(
        Case(
            f"preferred: away from a pod that has only {zone}, asks for {cpu} and waits as well",
            [
                db("d", nodeSelector={ZONE: zone}, cpu=cpu),
                web("w", cpu="1", affinity=prefer_away((1, term(ZONE, DB)))),
            ],
            lambda p: len({c["offer"]["zone"] for c in p.claims}) == 2,
        )
        for zone in (Z1, Z2)
        for cpu in ("100m", "3")
    ),
    Case(
        "preferred: away where it cannot be",
        [full("n1", Z1, db("d")), web("w", affinity=prefer_away((1, term(ZONE, DB))))],
        zones(Z1),
        pools=[node_pool(requirements=[exists(CAPACITY), is_in(ZONE, Z1)])],
    ),
    Case(
        "preferred: apart on hosts",
        [*(web(f"w{i}", affinity=prefer_away((1, term(HOSTNAME, WEB)))) for i in range(3))],
        nodes(3),
    ),
    Case(
        "preferred: apart on hosts as far as limits go",
        [*(web(f"w{i}", affinity=prefer_away((1, term(HOSTNAME, WEB)))) for i in range(3))],
        lambda p: len(p.claims) == 2 and not p.unschedulable,
        pools=[node_pool(limits={"nodes": "2"})],
    ),
    Case(
        "preferred: the heavier of two that exclude each other",
        [
            full("n1", Z1, db("d")),
            full("n2", Z2, pod("q", labels={"app": "queue"}, cpu="10m")),
            web(
                "w", affinity=prefer_near((10, term(ZONE, DB)), (90, term(ZONE, {"app": "queue"})))
            ),
        ],
        zones(Z2),
    ),
    Case(
        "preferred gives way to required",
        [
            full("n1", Z1, db("d")),
            full("n2", Z2, pod("q", labels={"app": "queue"}, cpu="10m")),
            web(
                "w",
                affinity=both(
                    near(term(ZONE, {"app": "queue"})), prefer_near((100, term(ZONE, DB)))
                ),
            ),
        ],
        zones(Z2),
    ),
    Case(
        "preferred: over an unknown key",
        [db("d"), web("w", affinity=prefer_near((1, term("unknown", DB))))],
        nodes(1),
    ),
]


def tiered(kind: str) -> dict[str, str]:
    return {"type": kind, "tier": "x"}


EACH_ZONE = ((0, Z1), (1, Z2), (2, Z3))
MIXED = [
    Case(
        "a host that holds five of a group of ten holds five",
        pods(10, labels=WEB, affinity=near(term(HOSTNAME, WEB))),
        lambda p: len(p.claims) == 1 and len(p.unschedulable) == 5,
    ),
    Case(
        "a group that has begun in another zone stays there, or waits",
        [
            node("n1", zone=Z1),
            pod(node="n1", labels=WEB, cpu="1"),
            *pods(
                4,
                labels=WEB,
                affinity=both(near(term(HOSTNAME, WEB)), require(is_in(ZONE, Z2, Z3))),
            ),
        ],
        lambda p: len(p.unschedulable) == 4,
    ),
    Case(
        "of one architecture, on hosts of their own",
        [
            web(
                "a",
                cpu="2",
                nodeSelector={ARCH: "arm64"},
                topologySpreadConstraints=[spread(HOSTNAME, labels=WEB)],
            ),
            web(
                "b",
                cpu="1",
                affinity=near(term(ARCH, WEB)),
                topologySpreadConstraints=[spread(HOSTNAME, labels=WEB)],
            ),
        ],
        lambda p: p.types == ["arm", "arm"],
    ),
    Case(
        "of two architectures",
        [
            web("a", cpu="2", nodeSelector={ARCH: "arm64"}),
            web("b", cpu="1", affinity=away(term(ARCH, WEB))),
        ],
        lambda p: len(p.claims) == 2 and p.types.count("arm") == 1,
    ),
    Case(
        "every zone has one to keep away from",
        [
            *(db(f"d{i}", cpu="2", nodeSelector={ZONE: z}) for i, z in EACH_ZONE),
            web("w", affinity=away(term(ZONE, DB))),
        ],
        pending("w"),
    ),
    Case(
        "every zone has one that keeps others away",
        [
            *(
                db(f"d{i}", cpu="2", nodeSelector={ZONE: z}, affinity=away(term(ZONE, WEB)))
                for i, z in EACH_ZONE
            ),
            web("w"),
        ],
        pending("w"),
    ),
    Case(
        "every zone has one that would like to keep others away",
        [
            *(
                db(
                    f"d{i}",
                    cpu="2",
                    nodeSelector={ZONE: z},
                    affinity=prefer_away((10, term(ZONE, WEB))),
                )
                for i, z in EACH_ZONE
            ),
            web("w"),
        ],
        lambda p: not p.unschedulable,
    ),
    Case(
        "a chain of four on one host",
        [
            pod("ui", labels=tiered("ui"), affinity=near(term(HOSTNAME, tiered("cache")))),
            pod("web", labels=tiered("web"), affinity=near(term(HOSTNAME, tiered("db")))),
            pod("db", labels=tiered("db")),
            pod("cache", labels=tiered("cache"), affinity=near(term(HOSTNAME, tiered("web")))),
        ],
        all_of(nodes(1), together("ui", "web", "db", "cache")),
    ),
    Case(
        "a preference for one host gives way to a host each",
        [
            db("d"),
            *pods(
                3,
                labels=WEB,
                affinity=prefer_near((50, term(HOSTNAME, DB))),
                topologySpreadConstraints=[spread(HOSTNAME, labels=WEB)],
            ),
        ],
        nodes(3),
    ),
    Case(
        "followers of a pod that may be anywhere",
        [db("d"), *pods(10, affinity=near(term(ZONE, DB)))],
        lambda p: not p.unschedulable and len(p.skew(ZONE)) == 1,
    ),
    Case(
        "a wish to keep off every zone in use gives way",
        [
            *pods(3, labels=WEB, topologySpreadConstraints=[spread(ZONE, labels=WEB)]),
            *pods(10, affinity=prefer_away((50, term(ZONE, WEB)))),
        ],
        lambda p: not p.unschedulable,
    ),
    Case(
        "a wish to be apart in zones spreads as far as zones go",
        [*(web(f"w{i}", affinity=prefer_away((100, term(ZONE, WEB)))) for i in range(3))],
        zones(Z1, Z2, Z3),
    ),
]

CASES = [*MIXED, *AFFINITY, *ANTI, *SPACES, *KEYS, *PREFERRED]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rule(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
