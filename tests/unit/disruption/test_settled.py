"""Memory of consolidation: what is not asked again would have had the same answer."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import msgspec
import pytest

from autoctl.api import core
from autoctl.api.nodeclaim import NodeClaim
from autoctl.catalog.model import SPOT
from autoctl.controllers.disruption import consolidation
from autoctl.controllers.disruption.decide import decide, decide_knowing
from autoctl.controllers.disruption.model import Command, Decision
from autoctl.controllers.disruption.options import DisruptionOptions
from autoctl.controllers.disruption.settled import Settled
from autoctl.controllers.disruption.split import Move
from autoctl.simulate.bench_cluster import types_on_sale
from autoctl.simulate.bench_disrupt import Machine, make_snapshot
from autoctl.state.snapshot import Snapshot

OPTIONS = DisruptionOptions(consolidation_rest=timedelta(0))


def cluster(nodes: int, pods: int, seed: int) -> Snapshot:
    """A cluster after consolidation has come to rest."""
    snapshot = make_snapshot(nodes, pods, "100%", seed)
    pool = snapshot.node_pools["default"]
    disruption = pool.spec.disruption.model_copy(update={"consolidate_after": "30s"})
    pool = pool.model_copy(update={"spec": pool.spec.model_copy(update={"disruption": disruption})})
    few = {"default": tuple(types_on_sale())}
    snapshot = replace(snapshot, node_pools={"default": pool}, instance_types=few)
    for round_ in range(20):
        commands = decide(snapshot, OPTIONS).commands
        if not commands:
            return snapshot
        for index, command in enumerate(commands):
            snapshot = carried_out(snapshot, command, f"new-{round_}-{index}")
    raise AssertionError("not at rest after 20 passes")


def carried_out(snapshot: Snapshot, command: Command, prefix: str) -> Snapshot:
    """The cluster after the command."""
    types = {t.name: t for t in snapshot.instance_types["default"]}
    nodes = {k: v for k, v in snapshot.nodes.items() if k not in command.nodes}
    claims = {k: v for k, v in snapshot.node_claims.items() if k not in command.nodes}
    names = []
    for index, new in enumerate(command.replacements):
        made = Machine(f"{prefix}-{index}", new.offer.zone, types[new.offer.instance_type])
        nodes[made.name], claims[made.name] = made.node(), made.claim()
        names.append(made.name)
    pods = {
        k: p
        for k, p in snapshot.pods.items()
        if p.spec.node_name not in command.nodes or k in command.moves
    }
    for key, home in command.moves.items():
        target = names[int(home.partition(":")[2])] if home.startswith("replacement:") else home
        pods[key] = bound(pods[key], target)
    return replace(snapshot, nodes=nodes, node_claims=claims, pods=pods)


def bound(pod: core.Pod, node: str) -> core.Pod:
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name=node))


def changed(rng: random.Random, snapshot: Snapshot, step: int) -> Snapshot:
    """The cluster after something happened that happens in clusters."""
    kind = rng.choice(("pod ends", "pod ends", "pod comes", "node goes", "node busy", "later"))
    pods, claims = dict(snapshot.pods), dict(snapshot.node_claims)
    name = rng.choice(sorted(snapshot.nodes))
    if kind == "pod ends":
        del pods[rng.choice(sorted(pods))]
    elif kind == "pod comes":
        pod = pods[rng.choice(sorted(pods))]
        metadata = msgspec.structs.replace(pod.metadata, name=f"more-{step}", uid=f"more-{step}")
        more = msgspec.structs.replace(bound(pod, name), metadata=metadata)
        pods[more.key] = more
    elif kind == "node goes" and len(claims) > 2:
        gone = [k for k, p in pods.items() if p.spec.node_name == name]
        pods = {k: p for k, p in pods.items() if k not in gone}
        nodes = {k: n for k, n in snapshot.nodes.items() if k != name}
        del claims[name]
        return replace(snapshot, nodes=nodes, node_claims=claims, pods=pods)
    elif kind == "node busy":
        claims[name] = with_pod_event(claims[name], snapshot.now)
        return replace(snapshot, node_claims=claims)
    return replace(
        snapshot,
        pods=pods,
        node_claims=claims,
        now=snapshot.now + timedelta(seconds=rng.choice((5, 40))),
    )


def with_pod_event(claim: NodeClaim, when: datetime) -> NodeClaim:
    status = claim.status.model_copy(update={"last_pod_event_time": when})
    return claim.model_copy(update={"status": status})


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every consolidation that is not answered from memory."""
    found: list[int] = []
    best = consolidation._best

    def counting(*arguments: Any) -> Any:
        found.append(len(arguments[1]))
        return best(*arguments)

    monkeypatch.setattr(consolidation, "_best", counting)
    return found


@pytest.mark.parametrize(("nodes", "seed"), [(4, 1), (4, 2), (4, 5), (30, 3)])
def test_memory_changes_no_decision(nodes: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of changes, decided with memory and without: the same commands, fewer questions."""
    snapshot = cluster(nodes, 6, seed)
    rng = random.Random(seed)
    questions, settled = asked(monkeypatch), Settled()
    with_memory = without = 0
    for step in range(8):
        before = len(questions)
        knowing, settled = decide_knowing(snapshot, OPTIONS, settled)
        with_memory += len(questions) - before
        before = len(questions)
        fresh = decide(snapshot, OPTIONS)
        without += len(questions) - before
        assert knowing.commands == fresh.commands, f"step {step}"
        assert knowing.blocked == fresh.blocked
        for index, command in enumerate(fresh.commands):
            snapshot = carried_out(snapshot, command, f"step-{step}-{index}")
        snapshot = changed(rng, snapshot, step)
    assert with_memory < without


class Watched:
    """A cluster of four nodes at rest, and whether a state of it is asked about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.snapshot = cluster(4, 6, 1)
        self._questions = asked(monkeypatch)
        self._settled = Settled()
        assert self.asks(self.snapshot)
        assert not self.asks(self.snapshot)

    def asks(self, snapshot: Snapshot) -> bool:
        before = len(self._questions)
        _, self._settled = decide_knowing(snapshot, OPTIONS, self._settled)
        return len(self._questions) > before


def test_a_pod_that_comes_and_a_node_that_leaves_offer_nothing_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = Watched(monkeypatch)
    state = watched.snapshot
    first, second = sorted(state.nodes)[:2]
    pod = next(p for p in state.pods.values() if p.spec.node_name == first)
    metadata = msgspec.structs.replace(pod.metadata, name="more", uid="more")
    small = msgspec.structs.replace(
        pod.spec,
        containers=[
            msgspec.structs.replace(
                pod.spec.containers[0],
                resources=core.ResourceRequirements(requests={"cpu": "1m", "memory": "1Mi"}),
            )
        ],
    )
    more = msgspec.structs.replace(pod, metadata=metadata, spec=small)
    assert not watched.asks(replace(state, pods={**state.pods, more.key: more}))
    fewer = {k: n for k, n in state.nodes.items() if k != second}
    claims = {k: c for k, c in state.node_claims.items() if k != second}
    pods = {k: p for k, p in state.pods.items() if p.spec.node_name != second}
    assert not watched.asks(replace(state, nodes=fewer, node_claims=claims, pods=pods))


def test_a_pod_that_ends_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    pods = dict(watched.snapshot.pods)
    del pods[min(pods)]
    assert watched.asks(replace(watched.snapshot, pods=pods))


def test_another_price_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    types = watched.snapshot.instance_types["default"]
    offerings = tuple(replace(o, price=o.price * 0.9) for o in types[0].offerings)
    cheaper = (replace(types[0], offerings=offerings), *types[1:])
    assert watched.asks(replace(watched.snapshot, instance_types={"default": cheaper}))


def test_a_budget_that_opens_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    closed = with_budget(watched.snapshot, "0")
    watched._settled = Settled()
    assert watched.asks(closed)
    assert not watched.asks(closed)
    assert watched.asks(with_budget(closed, "100%"))


def test_a_node_that_is_young_no_more_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    state = watched.snapshot
    name = min(state.node_claims)
    claim = state.node_claims[name]
    born = claim.metadata.model_copy(update={"creation_timestamp": state.now})
    claims = {**state.node_claims, name: claim.model_copy(update={"metadata": born})}
    young = replace(state, node_claims=claims)
    assert not watched.asks(young)
    watched._settled = Settled()
    assert watched.asks(young)
    assert watched.asks(replace(young, now=state.now + OPTIONS.young))


def test_where_pods_mind_each_other_a_pod_less_on_a_node_that_stays_is_asked_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A spread may forbid with few pods what it allows with more."""
    watched = Watched(monkeypatch)
    state = watched.snapshot
    app = next(iter(state.pods.values())).metadata.labels or {}
    spread = core.TopologySpreadConstraint(
        max_skew=1,
        topology_key="topology.kubernetes.io/zone",
        when_unsatisfiable="DoNotSchedule",
        label_selector=core.LabelSelector(match_labels=app),
    )
    pods = {
        k: msgspec.structs.replace(
            p, spec=msgspec.structs.replace(p.spec, topology_spread_constraints=[spread])
        )
        for k, p in state.pods.items()
    }
    spreading = replace(state, pods=pods)
    assert watched.asks(spreading)
    assert not watched.asks(spreading)
    name = min(state.nodes)
    full = {k: p for k, p in pods.items() if p.spec.node_name != name}
    assert watched.asks(
        replace(
            spreading,
            nodes={k: n for k, n in state.nodes.items() if k != name},
            node_claims={k: c for k, c in state.node_claims.items() if k != name},
            pods=full,
        )
    )


def with_budget(snapshot: Snapshot, nodes: str) -> Snapshot:
    pool = snapshot.node_pools["default"]
    budgets = [pool.spec.disruption.budgets[0].model_copy(update={"nodes": nodes})]
    disruption = pool.spec.disruption.model_copy(update={"budgets": budgets})
    spec = pool.spec.model_copy(update={"disruption": disruption})
    return replace(snapshot, node_pools={"default": pool.model_copy(update={"spec": spec})})


def test_after_a_question_in_vain_the_next_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes within half a minute is looked at together, and the wait has an end."""
    options = DisruptionOptions()
    snapshot = cluster(4, 6, 1)
    questions = asked(monkeypatch)
    _, settled = decide_knowing(snapshot, options, Settled())
    assert (len(questions), settled.due) == (1, None)
    pods = dict(snapshot.pods)
    del pods[next(k for k, p in sorted(pods.items()) if p.spec.node_name)]
    soon = replace(snapshot, pods=pods, now=snapshot.now + timedelta(seconds=10))
    _, settled = decide_knowing(soon, options, settled)
    assert len(questions) == 1
    assert settled.due == snapshot.now + options.consolidation_rest
    later = replace(soon, now=settled.due)
    _, settled = decide_knowing(later, options, settled)
    assert len(questions) == 2
    assert settled.due is None


class SpotNodes:
    """Nodes on spot that a cheaper type each would hold, but of too few types to choose from.

    A pod that takes more than half of a node is on each; `restrict` counts what is judged.
    """

    COUNT = 10
    PRICES: ClassVar = {
        "r5.4xlarge": 1.0,
        "m5.4xlarge": 0.76,
        "c5.4xlarge": 0.68,
        "m5.2xlarge": 0.40,
        "c5.2xlarge": 0.36,
    }

    def __init__(self, monkeypatch: pytest.MonkeyPatch, small: tuple[str, ...] = ()) -> None:
        base = make_snapshot(1, 1, "20%", 1)
        self.small = small
        pool = base.node_pools["default"]
        template = pool.spec.template
        anything = template.spec.model_copy(update={"requirements": ()})
        template = template.model_copy(update={"spec": anything})
        spec = pool.spec.model_copy(update={"template": template})
        types = {t.name: t for t in types_on_sale()}
        sold = tuple(
            replace(
                types[name],
                offerings=tuple(
                    replace(o, price=price)
                    for o in types[name].offerings
                    if o.capacity_type == SPOT
                ),
            )
            for name, price in self.PRICES.items()
        )
        zone = next(o.zone for o in sold[0].offerings if o.capacity_type == SPOT)
        self.machines = [
            Machine(name, zone, sold[3 if name in small else 0], SPOT)
            for name in (f"node-{index}" for index in range(self.COUNT))
        ]
        self.snapshot = replace(
            base,
            nodes={m.name: m.node() for m in self.machines},
            node_claims={m.name: m.claim() for m in self.machines},
            pods={p.key: p for p in self.pods()},
            node_pools={"default": pool.model_copy(update={"spec": spec})},
            instance_types={"default": sold},
        )
        self.judged: list[tuple[str, ...]] = []
        restrict = consolidation.restrict

        def watching(move: Move, *arguments: Any, **options: Any) -> Any:
            self.judged.append(tuple(c.name for c in move.candidates))
            return restrict(move, *arguments, **options)

        monkeypatch.setattr(consolidation, "restrict", watching)
        self.settled = Settled()

    def pods(self) -> Iterator[core.Pod]:
        for machine in self.machines:
            yield self.pod(machine.name, "6" if machine.name in self.small else "12")

    @staticmethod
    def pod(node: str, cpu: str) -> core.Pod:
        owner = {"kind": "ReplicaSet", "name": "a", "uid": "a", "controller": True}
        metadata = {"name": f"on-{node}", "uid": f"{node}-{cpu}", "ownerReferences": [owner]}
        requests = {"cpu": cpu, "memory": "4Gi"}
        return msgspec.convert(
            {
                "metadata": {"namespace": "default", **metadata},
                "spec": {
                    "nodeName": node,
                    "containers": [{"name": "c", "resources": {"requests": requests}}],
                },
                "status": {"phase": "Running"},
            },
            core.Pod,
        )

    def decide(self, snapshot: Snapshot) -> Decision:
        """With the packer naming the sets, as of many nodes."""
        self.judged.clear()
        options = replace(OPTIONS, exhaustive=1)
        decision, self.settled = decide_knowing(snapshot, options, self.settled)
        return decision

    def with_pods(self, **cpu: str) -> Snapshot:
        """`node_1="6"`: the pod of node-1 asks for that much instead."""
        changed = [self.pod(name.replace("_", "-"), each) for name, each in cpu.items()]
        return replace(self.snapshot, pods={**self.snapshot.pods, **{p.key: p for p in changed}})


def test_an_exchange_that_was_judged_in_vain_is_not_judged_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = SpotNodes(monkeypatch)
    first = world.decide(world.snapshot)
    assert not first.commands
    assert {name for move in world.judged for name in move} == {m.name for m in world.machines}
    assert all("SpotToSpotConsolidation" in why for why in first.unconsolidatable.values())
    changed = world.with_pods(node_3="11")
    second = world.decide(changed)
    assert not second.commands
    assert world.judged == [("node-3",)], "only its pod is another one"
    assert second.unconsolidatable == first.unconsolidatable
    cheaper = tuple(
        replace(t, offerings=tuple(replace(o, price=o.price * 0.9) for o in t.offerings))
        for t in changed.instance_types["default"]
    )
    world.decide(replace(changed, instance_types={"default": cheaper}))
    assert len(world.judged) == world.COUNT, "at other prices all are"


def test_nodes_that_do_not_pay_alone_still_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two small ones become one, though dearer ones before them took the whole budget in vain."""
    world = SpotNodes(monkeypatch, small=("node-7", "node-8"))
    for cpu in ("11", "12", "11"):
        # Each time another question, of one node at a time: six sets of one node are tried.
        changed = world.with_pods(node_0=cpu)
        assert not world.decide(with_budget(changed, "1")).commands
    assert world.settled.stuck.keys() == world.snapshot.nodes.keys()
    decision = world.decide(world.snapshot)
    assert [sorted(c.nodes) for c in decision.commands] == [["node-7", "node-8"]]
    assert len(decision.commands[0].replacements) == 1
