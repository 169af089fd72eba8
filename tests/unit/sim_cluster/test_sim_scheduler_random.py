"""Random clusters: every placement and every refusal is checked by a naive reading of the rules."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from simkit import HOSTNAME, ZONE, add_node, pod, settle

from autoctl.ports import kubernetes as k8s
from autoctl.sim.cluster import SimCluster, Timings

Pod = dict[str, Any]
APPS = ("web", "db", "job")


def random_pod(rng: Random, number: int) -> Pod:
    app = rng.choice(APPS)
    spec: Pod = {}
    selector = {"matchLabels": {"app": app}}
    if rng.random() < 0.4:
        spec["topologySpreadConstraints"] = [
            {
                "topologyKey": rng.choice((ZONE, HOSTNAME)),
                "maxSkew": rng.choice((1, 2)),
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": selector,
            }
        ]
    if rng.random() < 0.3:
        side = rng.choice(("podAffinity", "podAntiAffinity"))
        other = {"matchLabels": {"app": rng.choice(APPS)}}
        term = {"topologyKey": rng.choice((ZONE, HOSTNAME)), "labelSelector": other}
        spec["affinity"] = {side: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    if rng.random() < 0.3:
        spec["nodeSelector"] = {"pool": rng.choice("xy")}
    if rng.random() < 0.3:
        spec["tolerations"] = [{"key": "team", "operator": "Exists"}]
    cpu = f"{rng.choice((200, 500, 900))}m"
    return pod(f"p{number}", cpu=cpu, labels={"app": app}, **spec)


def milli(body: Pod) -> int:
    return int(body["spec"]["containers"][0]["resources"]["requests"]["cpu"].removesuffix("m"))


def terms(body: Pod, side: str) -> list[Pod]:
    affinity = body["spec"].get("affinity", {}).get(side, {})
    found: list[Pod] = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", [])
    return found


def means(selector: Pod, body: Pod) -> bool:
    labels = body["metadata"]["labels"]
    return all(labels.get(k) == v for k, v in selector["matchLabels"].items())


def fits(new: Pod, node: Pod, nodes: list[Pod], placed: list[tuple[Pod, Pod]]) -> bool:
    """Whether the pod may go to the node, pods and nodes looked at one by one."""
    spec = new["spec"]

    def selected(candidate: Pod) -> bool:
        wanted = spec.get("nodeSelector", {}).items()
        return all(candidate["metadata"]["labels"].get(k) == v for k, v in wanted)

    def domain(key: str, candidate: Pod) -> str:
        return str(candidate["metadata"]["labels"][key])

    tolerant = any(t["key"] == "team" for t in spec.get("tolerations", ()))
    tainted = any(t["key"] == "team" for t in node["spec"].get("taints", ()))
    if not selected(node) or (tainted and not tolerant):
        return False
    here = [p for p, n in placed if n is node]
    if sum(milli(p) for p in here) + milli(new) > 4000:
        return False
    for constraint in spec.get("topologySpreadConstraints", ()):
        key = constraint["topologyKey"]
        counts = {domain(key, n): 0 for n in nodes if selected(n)}
        for p, n in placed:
            if selected(n) and means(constraint["labelSelector"], p):
                counts[domain(key, n)] += 1
        skew = counts[domain(key, node)] + 1 - min(counts.values())
        if skew > constraint["maxSkew"]:
            return False
    for term in terms(new, "podAntiAffinity"):
        key = term["topologyKey"]
        for p, n in placed:
            if means(term["labelSelector"], p) and domain(key, n) == domain(key, node):
                return False
    for p, n in placed:
        for term in terms(p, "podAntiAffinity"):
            key = term["topologyKey"]
            if means(term["labelSelector"], new) and domain(key, n) == domain(key, node):
                return False
    for term in terms(new, "podAffinity"):
        key = term["topologyKey"]
        matching = [n for p, n in placed if means(term["labelSelector"], p)]
        alone = not matching and means(term["labelSelector"], new)
        if not alone and not any(domain(key, n) == domain(key, node) for n in matching):
            return False
    return True


@pytest.mark.parametrize("seed", range(12))
async def test_random_pods_one_by_one(cluster: SimCluster, seed: int) -> None:
    rng = Random(seed)
    sim = SimCluster(cluster.clock, timings=Timings(scheduler_backoff_max=1))
    await sim.start()
    for number in range(7):
        taints = [{"key": "team", "effect": "NoSchedule"}] if number % 4 == 3 else []
        labels = {"pool": rng.choice("xy")}
        add_node(sim, f"n{number}", zone="abc"[number % 3], labels=labels, taints=taints)
    await settle(2)
    nodes = list(sim.objects(k8s.NODES))
    by_name = {n["metadata"]["name"]: n for n in nodes}
    placed: list[tuple[Pod, Pod]] = []
    refused = 0
    for number in range(60):
        body = random_pod(rng, number)
        await sim.api.create(k8s.PODS, body, "default")
        await settle(1)
        found = await sim.api.get(k8s.PODS, f"p{number}", "default")
        node = by_name.get(found["spec"].get("nodeName", ""))
        if node is None:
            allowed = [n["metadata"]["name"] for n in nodes if fits(body, n, nodes, placed)]
            assert allowed == [], f"{body} was refused"
            refused += 1
            await sim.api.delete(k8s.PODS, f"p{number}", "default")
        else:
            assert fits(body, node, nodes, placed), f"{body} was placed on {node['metadata']}"
            placed.append((body, node))
        if placed and rng.random() < 0.2:
            gone, _ = placed.pop(rng.randrange(len(placed)))
            await sim.api.delete(
                k8s.PODS, gone["metadata"]["name"], "default", grace_period_seconds=0
            )
            await settle(1)
    assert refused
    assert len(placed) > 5
    await sim.stop()
