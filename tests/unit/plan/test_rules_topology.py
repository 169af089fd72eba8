"""Topology spread constraints: domains, counts, skew, and who is counted."""

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
    Planned,
    exists,
    instance_type,
    is_in,
    node,
    node_pool,
    offering,
    pod,
    pods,
    requirement,
    spread,
)
from plan_cases import (
    Case,
    Check,
    all_of,
    nodes,
    prefer,
    require,
    run,
    spread_as,
    why,
    zones,
)

WEB, API = {"app": "web"}, {"app": "api"}
LEAVING = "2026-01-01T23:59:00Z"
BIG = [instance_type("big", cpu="16", memory="64Gi", pods="100")]
RACK = "example.com/rack"


def many(
    number: int, *constraints: Object, labels: dict[str, str] = WEB, **spec: Any
) -> list[Object]:
    """Pods with these constraints; small, unless said otherwise."""
    spec.setdefault("cpu", "100m")
    return pods(number, labels=labels, topologySpreadConstraints=list(constraints), **spec)


def zonal(**extra: Any) -> Object:
    return spread(ZONE, labels=WEB, **extra)


def hosts(**extra: Any) -> Object:
    return spread(HOSTNAME, labels=WEB, **extra)


def anyway(constraint: Object) -> Object:
    return {**constraint, "whenUnsatisfiable": "ScheduleAnyway"}


def placed(number: int, *skew: int, key: str = ZONE) -> Check:
    """So many wait, and the others are spread like this over new nodes."""
    return lambda p: len(p.unschedulable) == number and p.skew(key) == sorted(skew)


def running(
    zone: str, number: int = 1, *, name: str | None = None, **arguments: Any
) -> list[Object]:
    """A full node in a zone, with pods on it."""
    host = name or f"run-{zone}"
    arguments.setdefault("labels", WEB)
    found = node(host, zone=zone)
    found += pods(number, node=host, cpu="10m", **arguments)
    return [*found, pod(node=host, cpu="3700m")]


def within(*names: str) -> list[Object]:
    return [node_pool(requirements=[exists(CAPACITY), is_in(ZONE, *names)])]


ZONES = [
    Case("five pods over three zones", many(5, zonal()), spread_as(ZONE, 1, 2, 2)),
    Case(
        "a selector of expressions",
        many(
            4,
            {
                **zonal(),
                "labelSelector": {
                    "matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "x"]}]
                },
            },
        ),
        spread_as(ZONE, 1, 1, 2),
    ),
    Case(
        "a selector that any label meets",
        many(
            4,
            {
                **zonal(),
                "labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
            },
        ),
        spread_as(ZONE, 1, 1, 2),
    ),
    Case(
        "a selector of nothing counts every pod",
        many(4, {**zonal(), "labelSelector": {}}),
        spread_as(ZONE, 1, 1, 2),
    ),
    Case(
        "the pool's zones are the domains",
        many(4, zonal()),
        spread_as(ZONE, 2, 2),
        pools=within(Z1, Z2),
    ),
    Case(
        "the pool's zone as a label is the domain",
        many(4, zonal()),
        spread_as(ZONE, 4),
        pools=[node_pool(labels={ZONE: Z1})],
    ),
    Case(
        "label and requirement of a pool meet in one zone",
        many(4, zonal()),
        spread_as(ZONE, 4),
        pools=[node_pool(labels={ZONE: Z1}, requirements=[is_in(ZONE, Z1, Z2)])],
    ),
    Case(
        "two pools with a zone each",
        many(4, zonal()),
        spread_as(ZONE, 2, 2),
        pools=[node_pool("a", labels={ZONE: Z1}), node_pool("b", requirements=[is_in(ZONE, Z2)])],
    ),
    Case(
        "the pod's own zones are its domains",
        many(4, zonal(), affinity=require(is_in(ZONE, Z1, Z2))),
        spread_as(ZONE, 2, 2),
    ),
    Case(
        "a pod that excludes a zone",
        many(4, zonal(), affinity=require(requirement(ZONE, "NotIn", Z3))),
        spread_as(ZONE, 2, 2),
    ),
    Case(
        "one zone by selector takes them all",
        many(4, zonal(), nodeSelector={ZONE: Z2}),
        spread_as(ZONE, 4),
    ),
    Case(
        "nodeAffinityPolicy Ignore: zones out of reach hold back",
        many(4, zonal(nodeAffinityPolicy="Ignore"), nodeSelector={ZONE: Z2}),
        placed(3, 1),
    ),
    Case(
        "nodeAffinityPolicy Honor is the default",
        many(4, zonal(nodeAffinityPolicy="Honor"), nodeSelector={ZONE: Z2}),
        spread_as(ZONE, 4),
    ),
    Case(
        "zones the pod's type is not in hold nobody back",
        many(4, zonal(), nodeSelector={TYPE: "only-two"}),
        spread_as(ZONE, 2, 2),
        catalog=[
            instance_type("only-two", offerings=[offering(z, "on-demand", 1) for z in (Z1, Z2)]),
            instance_type("all"),
        ],
    ),
    Case(
        "a zone without capacity now",
        many(3, zonal()),
        lambda p: len(p.claims) >= 2,
        catalog=[
            instance_type(
                "t",
                offerings=[
                    offering(Z1, "on-demand", 1),
                    offering(Z2, "on-demand", 1),
                    offering(Z3, "on-demand", 1, available=False),
                ],
            )
        ],
    ),
    Case(
        "a zone that is too dear is used all the same",
        many(4, zonal()),
        spread_as(ZONE, 2, 2),
        catalog=[
            instance_type(
                "t",
                pods="9",
                offerings=[offering(Z1, "on-demand", 1), offering(Z2, "on-demand", 50)],
            )
        ],
    ),
    Case(
        "an unknown key",
        [*many(1, spread("unknown", labels=WEB)), pod("q")],
        lambda p: len(p.unschedulable) == 1 and len(p.claims) == 1,
    ),
    Case(
        "an unknown key is told",
        [pod("p", labels=WEB, topologySpreadConstraints=[spread("unknown", labels=WEB)])],
        why("p", "topologySpreadConstraints", "unknown"),
    ),
    Case(
        "the deprecated key is the same",
        many(4, spread("failure-domain.beta.kubernetes.io/zone", labels=WEB)),
        spread_as(ZONE, 1, 1, 2),
    ),
]

COUNTS = [
    Case("pods that run count", [*running(Z1), *many(2, zonal(), cpu="1")], spread_as(ZONE, 1, 1)),
    Case(
        "a zone that is ahead waits for the others",
        [*running(Z1, 3), *many(6, zonal(), cpu="1")],
        spread_as(ZONE, 3, 3),
    ),
    Case(
        "catching up from a zone three ahead",
        [*running(Z1, 3), *many(3, zonal(), cpu="1")],
        spread_as(ZONE, 1, 2),
    ),
    Case(
        "a zone that cannot be reached holds the others back",
        [*running(Z3), *many(6, zonal(), cpu="1")],
        placed(2, 2, 2),
        pools=within(Z1, Z2),
    ),
    Case(
        "its emptiness holds back too",
        [*node("n3", zone=Z3), pod(node="n3", cpu="3800m"), *many(6, zonal(), cpu="1")],
        placed(4, 1, 1),
        pools=within(Z1, Z2),
    ),
    Case(
        "one zone left, skew of five",
        [*running(Z1), *running(Z2), *many(10, zonal(maxSkew=5), cpu="1")],
        placed(4, 6),
        pools=within(Z3),
    ),
    *(
        Case(
            f"not counted: {name}",
            [
                *node("n1", zone=Z1),
                pod(node="n1", cpu="3700m"),
                pod(node="n1", **arguments),
                *many(3, zonal(), cpu="1"),
            ],
            spread_as(ZONE, 1, 1, 1),
        )
        for name, arguments in (
            ("pods without labels", {}),
            ("pods with another label", {"labels": API}),
            ("pods of another namespace", {"labels": WEB, "namespace": "other"}),
            ("pods that are going", {"labels": WEB, "metadata": {"deletionTimestamp": LEAVING}}),
            ("pods that failed", {"labels": WEB, "phase": "Failed"}),
            ("pods that succeeded", {"labels": WEB, "phase": "Succeeded"}),
        )
    ),
    Case(
        "not counted: pods on a node without the label",
        [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "bare"},
                "status": {"allocatable": {"cpu": "1", "pods": "9"}},
            },
            pod(node="bare", labels=WEB, cpu="900m"),
            *many(3, zonal(), cpu="1"),
        ],
        spread_as(ZONE, 1, 1, 1),
    ),
    Case(
        "not counted: pods on nodes the pod's selector excludes",
        [*running(Z1, 3), *many(4, zonal(), cpu="1", nodeSelector={"team": "a"})],
        spread_as(ZONE, 1, 1, 2),
        pools=[node_pool(labels={"team": "a"})],
    ),
    Case(
        "counted with nodeAffinityPolicy Ignore",
        [
            *running(Z1, 3),
            *many(4, zonal(nodeAffinityPolicy="Ignore"), cpu="1", nodeSelector={"team": "a"}),
        ],
        spread_as(ZONE, 2, 2),
        pools=[node_pool(labels={"team": "a"})],
    ),
    Case(
        "without selector nobody is counted",
        many(5, {k: v for k, v in hosts().items() if k != "labelSelector"}),
        nodes(1),
    ),
    Case(
        "pods the selector does not match do not level each other",
        many(5, hosts(), labels=API),
        nodes(1),
    ),
    Case(
        "but go where the matching ones leave room",
        [*running(Z1, 2), *many(3, zonal(), labels=API, cpu="1")],
        lambda p: not p.unschedulable and all(c["offer"]["zone"] != Z1 for c in p.claims),
    ),
]

MINIMUM = [
    Case(
        "fewer domains than minDomains",
        many(3, zonal(minDomains=3)),
        placed(1, 1, 1),
        pools=within(Z1, Z2),
    ),
    Case(
        "with a larger skew, up to it in each",
        many(9, zonal(minDomains=3, maxSkew=2)),
        placed(5, 2, 2),
        pools=within(Z1, Z2),
    ),
    Case("as many domains as minDomains", many(7, zonal(minDomains=3)), spread_as(ZONE, 2, 2, 3)),
    Case("more domains than minDomains", many(7, zonal(minDomains=1)), spread_as(ZONE, 2, 2, 3)),
    Case("minDomains over hosts makes hosts", many(3, hosts(minDomains=3)), nodes(3)),
    Case("minDomains of one host", many(3, hosts(minDomains=1, maxSkew=3)), nodes(1)),
]

HOSTS = [
    Case("each on a host of its own", many(4, hosts()), nodes(4)),
    Case("two on a host", many(4, hosts(maxSkew=2)), nodes(2)),
    Case("all on a host", many(4, hosts(maxSkew=4)), nodes(1)),
    Case(
        "a new host is always an empty domain",
        [*running(Z1, 1, name="h1"), *many(3, hosts())],
        nodes(3),
    ),
    Case(
        "a host that is there and empty",
        [node("n1"), *many(2, hosts())],
        lambda p: len(p.placements) == 1 and len(p.claims) == 1,
    ),
    Case(
        "a host with one already is full",
        [node("n1"), pod(node="n1", labels=WEB), *many(1, hosts())],
        nodes(1),
    ),
    Case(
        "hosts count by namespace",
        [node("n1"), pod(node="n1", labels=WEB, namespace="other"), *many(1, hosts())],
        lambda p: list(p.placements.values()) == ["n1"],
    ),
    Case(
        "two groups share hosts",
        [*many(2, hosts()), *many(2, spread(HOSTNAME, labels=API), labels=API)],
        nodes(2),
    ),
    Case(
        "groups of two architectures do not",
        [
            *many(2, hosts(), nodeSelector={ARCH: "amd64"}),
            *many(2, spread(HOSTNAME, labels=API), labels=API, nodeSelector={ARCH: "arm64"}),
        ],
        nodes(4),
    ),
    Case(
        "nodes under a limit bound the hosts",
        many(4, hosts()),
        placed(2, 1, 1, key=HOSTNAME),
        pools=[node_pool(limits={"nodes": "2"})],
    ),
]

KINDS = [
    Case(
        "over capacity types",
        many(4, spread(CAPACITY, labels=WEB), cpu="1"),
        spread_as(CAPACITY, 2, 2),
    ),
    Case(
        "over the capacity types of the pool",
        many(4, spread(CAPACITY, labels=WEB)),
        spread_as(CAPACITY, 4),
        pools=[node_pool(requirements=[is_in(CAPACITY, "spot")])],
    ),
    Case(
        "over the capacity types of the pod",
        many(4, spread(CAPACITY, labels=WEB), affinity=require(is_in(CAPACITY, "spot"))),
        spread_as(CAPACITY, 4),
    ),
    Case(
        "over architectures",
        many(4, spread(ARCH, labels=WEB)),
        lambda p: (
            sorted(len(c["pods"]) for c in p.claims) == [2, 2]
            and len({c["offer"]["instanceType"] == "arm" for c in p.claims}) == 2
        ),
    ),
    Case(
        "over instance types, as many as there are",
        many(6, spread(TYPE, labels=WEB)),
        lambda p: sorted(p.pods_by(lambda c: c["offer"]["instanceType"]).values()) == [1] * 6,
    ),
    Case(
        "over a label of two pools",
        many(4, spread(RACK, labels=WEB)),
        lambda p: sorted(p.pods_by(lambda c: c["nodePool"]).values()) == [2, 2],
        pools=[node_pool("a", labels={RACK: "1"}), node_pool("b", labels={RACK: "2"})],
    ),
    Case(
        "over the values a pool leaves open",
        many(4, spread(RACK, labels=WEB)),
        lambda p: sorted(len(c["pods"]) for c in p.claims) == [1, 1, 2],
        pools=[node_pool(requirements=[exists(CAPACITY), is_in(RACK, "1", "2", "3")])],
    ),
    Case(
        "a pool without the label is no domain",
        many(4, spread(RACK, labels=WEB)),
        lambda p: p.pods_by(lambda c: c["nodePool"]) == {"a": 4},
        pools=[node_pool("a", labels={RACK: "1"}), node_pool("b")],
    ),
    Case(
        "a share of spot and on-demand by a label, one to four",
        many(20, spread("share", labels=WEB)),
        lambda p: p.pods_by(lambda c: c["nodePool"]) == {"spot": 16, "demand": 4},
        catalog=BIG,
        pools=[
            node_pool(
                "spot", requirements=[is_in(CAPACITY, "spot"), is_in("share", "2", "3", "4", "5")]
            ),
            node_pool("demand", requirements=[is_in(CAPACITY, "on-demand"), is_in("share", "1")]),
        ],
    ),
    Case(
        "a capacity type and a zone at once",
        many(6, spread(CAPACITY, labels=WEB), zonal(maxSkew=6), cpu="1"),
        all_of(spread_as(CAPACITY, 3, 3)),
    ),
]


def of_pools(**expected: int) -> Check:
    return lambda p: dict(p.pods_by(lambda c: c["nodePool"])) == expected and not p.unschedulable


def team(name: str, value: str, *, taint: bool = True) -> Object:
    return node_pool(
        name,
        labels={"team": value},
        taints=[{"key": "reserved", "value": value, "effect": "NoSchedule"}] if taint else None,
    )


TAINTS = [
    Case(
        "nodeTaintsPolicy Ignore: domains behind taints hold back",
        many(4, spread("team", labels=WEB)),
        lambda p: len(p.unschedulable) == 3,
        pools=[team("a", "a", taint=False), team("b", "b")],
    ),
    Case(
        "nodeTaintsPolicy Honor: they do not",
        many(4, spread("team", labels=WEB, nodeTaintsPolicy="Honor")),
        of_pools(a=4),
        pools=[team("a", "a", taint=False), team("b", "b")],
    ),
    Case(
        "nodeTaintsPolicy Honor: nodes that are there",
        [
            *node(
                "n9",
                pool="b",
                labels={"team": "b"},
                taints=[{"key": "reserved", "value": "b", "effect": "NoSchedule"}],
            ),
            *many(3, spread("team", labels=WEB, nodeTaintsPolicy="Honor")),
        ],
        of_pools(a=3),
        pools=[team("a", "a", taint=False), node_pool("b", replicas=1)],
    ),
    Case(
        "nodeTaintsPolicy Honor: a tolerated taint is a domain",
        many(
            4,
            spread("team", labels=WEB, nodeTaintsPolicy="Honor"),
            tolerations=[{"key": "reserved", "operator": "Exists"}],
        ),
        of_pools(a=2, b=2),
        pools=[team("a", "a"), team("b", "b")],
    ),
    Case(
        "nodeTaintsPolicy Honor: PreferNoSchedule is a domain",
        many(4, spread("team", labels=WEB, nodeTaintsPolicy="Honor")),
        of_pools(a=2, b=2),
        pools=[
            team("a", "a", taint=False),
            node_pool(
                "b", labels={"team": "b"}, taints=[{"key": "x", "effect": "PreferNoSchedule"}]
            ),
        ],
    ),
]

KEYS = [
    Case(
        "matchLabelKeys: each revision by itself",
        [p for r in "ab" for p in many(2, hosts(matchLabelKeys=["rev"]), labels={**WEB, "rev": r})],
        nodes(2),
    ),
    Case(
        "matchLabelKeys: without, both together",
        [p for r in "ab" for p in many(2, hosts(), labels={**WEB, "rev": r})],
        nodes(4),
    ),
    Case("matchLabelKeys: a key the pods lack", many(2, hosts(matchLabelKeys=["rev"])), nodes(2)),
    Case(
        "matchLabelKeys: earlier revisions that run do not count",
        [
            *running(Z1, 5, labels={**WEB, "rev": "a"}),
            *many(3, zonal(matchLabelKeys=["rev"]), labels={**WEB, "rev": "b"}, cpu="1"),
        ],
        spread_as(ZONE, 1, 1, 1),
    ),
]

TWO = [
    Case(
        "zone and host",
        many(6, zonal(), hosts(maxSkew=2)),
        lambda p: p.skew(ZONE) == [2, 2, 2] and max(p.skew(HOSTNAME)) <= 2,
    ),
    Case(
        "zone and host of its own",
        many(5, zonal(), hosts()),
        all_of(nodes(5), spread_as(ZONE, 1, 2, 2)),
    ),
    Case(
        "zone and capacity type",
        many(6, zonal(), spread(CAPACITY, labels=WEB)),
        lambda p: p.skew(ZONE) == [2, 2, 2] and p.skew(CAPACITY) == [3, 3],
    ),
    Case(
        "zone, host and capacity type",
        many(6, zonal(), hosts(maxSkew=3), spread(CAPACITY, labels=WEB)),
        lambda p: (
            p.skew(ZONE) == [2, 2, 2] and p.skew(CAPACITY) == [3, 3] and max(p.skew(HOSTNAME)) <= 3
        ),
    ),
    Case(
        "two constraints of one key with two selectors",
        [
            *many(
                3,
                zonal(),
                {
                    **zonal(),
                    "labelSelector": {"matchLabels": {"tier": "x"}},
                    "maxSkew": 2,
                    "whenUnsatisfiable": "ScheduleAnyway",
                },
                labels={**WEB, "tier": "x"},
            )
        ],
        spread_as(ZONE, 1, 1, 1),
    ),
    Case(
        "two groups, each by itself",
        [*many(3, zonal()), *many(3, spread(ZONE, labels=API), labels=API)],
        all_of(nodes(3), zones(Z1, Z2, Z3)),
    ),
    Case(
        "pods without constraints that others count",
        [*many(4, zonal(), cpu="1"), *pods(2, labels=WEB, cpu="1", nodeSelector={ZONE: Z1})],
        lambda p: not p.unschedulable,
    ),
]

SOFT = [
    Case(
        "ScheduleAnyway is kept where it can be",
        many(3, anyway(zonal()), cpu="1"),
        spread_as(ZONE, 1, 1, 1),
    ),
    Case(
        "ScheduleAnyway gives way",
        many(4, anyway(zonal()), nodeSelector={ZONE: Z1}, cpu="3"),
        lambda p: len(p.claims) == 4 and not p.unschedulable,
    ),
    Case(
        "ScheduleAnyway gives way to the pool's zones",
        [*running(Z3), *many(6, anyway(zonal()), cpu="1")],
        lambda p: not p.unschedulable and sum(p.skew(ZONE)) == 6,
        pools=within(Z1, Z2),
    ),
    Case(
        "ScheduleAnyway over an unknown key",
        many(2, anyway(spread("unknown", labels=WEB))),
        lambda p: not p.unschedulable,
    ),
    Case(
        "ScheduleAnyway over hosts under a limit",
        many(4, anyway(hosts())),
        lambda p: len(p.claims) == 2 and not p.unschedulable,
        pools=[node_pool(limits={"nodes": "2"})],
    ),
    Case(
        "DoNotSchedule stays when ScheduleAnyway goes",
        many(4, zonal(), anyway(hosts())),
        lambda p: p.skew(ZONE) == [1, 1, 2] and not p.unschedulable,
        pools=[node_pool(limits={"nodes": "3"})],
    ),
]


def within_skews(p: Planned) -> bool:
    """Zone 2, host 3, capacity type 1, counting domains without pods as zero."""
    kinds, zoned = p.skew(CAPACITY), p.skew(ZONE)
    level = max(kinds) - (min(kinds) if len(kinds) == 2 else 0) <= 1
    even = max(zoned) - (min(zoned) if len(zoned) == 3 else 0) <= 2
    return level and even and max(p.skew(HOSTNAME)) <= 3 and not p.unschedulable


MIXED = [
    Case(
        "two groups of one app, each in a zone of its own, do not hold each other back",
        [*many(5, zonal(), nodeSelector={ZONE: Z1}), *many(10, zonal(), nodeSelector={ZONE: Z2})],
        spread_as(ZONE, 5, 10),
    ),
    Case(
        "an empty zone is taken though it levels nothing yet",
        [
            *running(Z1, 3),
            *running(Z2, 3),
            *many(1, zonal(), cpu="1", affinity=require(is_in(ZONE, Z2, Z3))),
        ],
        zones(Z3),
    ),
    Case(
        "a zone that is two behind catches up first",
        [*running(Z1, 3), *running(Z2, 3), *running(Z3, 1), *many(5, zonal(), cpu="1")],
        spread_as(ZONE, 1, 1, 3),
    ),
    Case(
        "a preference for two zones gives way to a spread over three",
        many(6, zonal(), cpu="1", affinity=prefer((1, is_in(ZONE, Z1, Z2)))),
        spread_as(ZONE, 2, 2, 2),
    ),
    Case(
        "a limit of a heavier pool and a spread",
        many(6, zonal(), cpu="3", nodeSelector={ARCH: "amd64"}),
        spread_as(ZONE, 2, 2, 2),
        pools=[node_pool("a", weight=10, limits={"cpu": "8"}), node_pool("b")],
    ),
    *(
        Case(
            f"three constraints, {number} pods",
            many(number, spread(CAPACITY, labels=WEB), zonal(skew=2), hosts(skew=3)),
            within_skews,
        )
        for number in range(1, 15)
    ),
]

CASES = [*MIXED, *ZONES, *COUNTS, *MINIMUM, *HOSTS, *KINDS, *TAINTS, *KEYS, *TWO, *SOFT]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rule(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)
