"""Whether a solution is right: every rule it breaks, in words.

`violations(problem, solution)` asks of each new node that it is one its NodePool may launch, that
its pods fit whatever the launch chooses, and that it is bought at the cheapest price; replays
kube-scheduler binding the pods where the solution has them; and tries for every pod that was
left out whether there is not, after all, a node or a launch that takes it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from verifier_cluster import (
    Place,
    limits_obstacle,
    obstacle,
    place_of,
    pod_rules_obstacle,
    ports_obstacle,
    resources_obstacle,
    spread_obstacle,
    static_obstacle,
)
from verifier_launch import Launch, launched, launches, some_value
from verifier_rules import (
    add,
    affinity_terms,
    anti_affinity_terms,
    has_preferences,
    node_labels_match,
    pod_requests,
    required_terms,
    spreads,
    value_matches,
)

from autoctl.api import core
from autoctl.api.labels import HOSTNAME, WELL_KNOWN_LABELS
from autoctl.catalog.model import InstanceType
from autoctl.scheduling.problem import (
    MinValuesPolicy,
    NewNode,
    Pool,
    RequirementSpec,
    SchedulingProblem,
    Solution,
)

CENT = 1e-9
"""Prices within this are the same price."""
ORDERS = 60
"""In how many orders the replay tries to bind the pods before it gives up."""


@dataclass(frozen=True)
class Bought:
    """A new node of the solution with what it stands for."""

    name: str
    node: NewNode
    pool: Pool
    pods: list[core.Pod]
    launches: list[Launch]
    expected: Launch


def violations(problem: SchedulingProblem, solution: Solution) -> list[str]:
    """Every rule that the solution breaks; empty when it is right."""
    found = [*accounting(problem, solution)]
    if found:
        return found
    bought: list[Bought] = []
    for index, node in enumerate(solution.new_nodes):
        match resolve(problem, node, f"new-{index}"):
            case str(reason):
                found.append(f"new-{index}: {reason}")
            case Bought() as one:
                bought.append(one)
    if found:
        return found
    found += reservations(bought)
    found += limits(problem, bought)
    for one in bought:
        found += [f"{one.name}: {text}" for text in prices(one, bought)]
        found += [f"{one.name}: {text}" for text in pool_rules(problem, one)]
        found += [f"{one.name}: {text}" for text in holds_its_pods(problem, one)]
    found += existing_nodes(problem, solution)
    found += replays(problem, solution, bought)
    if not found:
        found += left_out(problem, solution, bought)
        found += weights(problem, solution, bought)
    return found


# The books


def accounting(problem: SchedulingProblem, solution: Solution) -> Iterator[str]:
    """Every pod once, names that exist, sums that are sums."""
    asked = {pod.key for pod in problem.pods}
    answered = Counter(
        [key for node in solution.new_nodes for key in node.pods]
        + list(solution.placements)
        + list(solution.unschedulable)
    )
    for key in sorted(asked | set(answered)):
        if answered[key] != (1 if key in asked else 0):
            yield f"pod {key} is answered {answered[key]} times"
    nodes = {node.name for node in problem.nodes}
    for key, name in solution.placements.items():
        if name not in nodes:
            yield f"pod {key} is placed on {name}, which does not exist"
    for index, node in enumerate(solution.new_nodes):
        if not node.pods:
            yield f"new-{index} is bought for no pod"
    for key, why in solution.unschedulable.items():
        if not why.reason:
            yield f"pod {key} is unschedulable for no reason"
    if solution.new_nodes and not problem.options.allow_new_nodes:
        yield "new nodes although none are allowed"
    total = sum(node.offer.price for node in solution.new_nodes)
    if abs(total - solution.cost) > 1e-6:
        yield f"cost {solution.cost} is not the sum of the offers, {total}"
    if not 0 <= solution.lower_bound <= solution.cost + 1e-6:
        yield f"lower bound {solution.lower_bound} exceeds the cost {solution.cost}"


def pods_by_key(problem: SchedulingProblem) -> dict[str, core.Pod]:
    return {pod.key: pod for pod in problem.pods}


def resolve(problem: SchedulingProblem, node: NewNode, name: str) -> Bought | str:
    """The new node with its pool, types and launches, or what makes it impossible."""
    pool = next((p for p in problem.pools if p.name == node.pool), None)
    if pool is None:
        return f"NodePool {node.pool} does not exist"
    types = {t.name: t for t in pool.instance_types}
    if not node.instance_types or node.instance_types[0] != node.offer.instance_type:
        return "the offer's instance type is not at the head of instance_types"
    if len(set(node.instance_types)) != len(node.instance_types):
        return "an instance type is named twice"
    if len(node.instance_types) > problem.options.max_instance_types:
        return f"{len(node.instance_types)} instance types are too many"
    unknown = [t for t in node.instance_types if t not in types]
    if unknown:
        return f"NodePool {pool.name} does not have {unknown[0]}"
    possible = list(
        launches(pool, node.requirements, [types[t] for t in node.instance_types], name)
    )
    expected = [
        launch
        for launch in possible
        if launch.instance_type.name == node.offer.instance_type
        and launch.offering.zone == node.offer.zone
        and launch.offering.capacity_type == node.offer.capacity_type
        and launch.reservation == node.offer.reservation_id
    ]
    if not expected:
        return "the offer is not available, or the requirements exclude it"
    if abs(expected[0].price - node.offer.price) > CENT:
        return f"the offer costs {expected[0].price}, not {node.offer.price}"
    for instance_type in node.instance_types:
        if not any(launch.instance_type.name == instance_type for launch in possible):
            return f"{instance_type} has no available offering that the requirements allow"
    pods = pods_by_key(problem)
    return Bought(name, node, pool, [pods[key] for key in node.pods], possible, expected[0])


# Buying


def promised(bought: Sequence[Bought]) -> Counter[str]:
    """How many new nodes count on each reservation."""
    return Counter(one.expected.reservation for one in bought if one.expected.reservation)


def exhausted(launch: Launch, taken: Counter[str]) -> bool:
    """Whether the launch's reservation is given away by now."""
    if launch.reservation is None or launch.offering.reservation_capacity is None:
        return False
    return taken[launch.reservation] >= launch.offering.reservation_capacity


def reservations(bought: Sequence[Bought]) -> Iterator[str]:
    """No reservation is promised to more nodes than it has room for."""
    room = {
        one.expected.reservation: one.expected.offering.reservation_capacity
        for one in bought
        if one.expected.reservation
    }
    for reservation, count in promised(bought).items():
        most = room[reservation]
        if most is not None and count > most:
            yield f"reservation {reservation} is promised {count} times, it has room for {most}"


def limits(problem: SchedulingProblem, bought: Sequence[Bought]) -> Iterator[str]:
    """No NodePool passes its limits, whichever instance types the launches choose."""
    for pool in problem.pools:
        total = dict(pool.usage)
        for one in bought:
            if one.pool.name == pool.name:
                add(total, most_capacity([launch.instance_type for launch in one.launches]))
        for resource, limit in pool.limits.items():
            if total.get(resource, 0) > max(limit, pool.usage.get(resource, 0)):
                yield (
                    f"NodePool {pool.name} may reach {total[resource]} of {resource}, "
                    f"its limit is {limit}"
                )


def most_capacity(types: Sequence[InstanceType]) -> dict[str, int]:
    most: dict[str, int] = {"nodes": 1}
    for instance_type in types:
        for resource, amount in instance_type.capacity.items():
            most[resource] = max(most.get(resource, 0), amount)
    return most


def prices(one: Bought, bought: Sequence[Bought]) -> Iterator[str]:
    """The offer is the cheapest launch there is, and the types come in order of price.

    Reservations that are promised to the full do not count for nodes that are not among those they
    are promised to; accelerated and other exotic types come after ordinary ones.
    """
    taken = promised(bought)
    mine = one.expected.reservation
    free = [x for x in one.launches if x.reservation == mine or not exhausted(x, taken)]
    if not one.expected.instance_type.exotic:
        free = [x for x in free if not x.instance_type.exotic]
    cheapest = min(free, key=lambda x: x.price)
    if cheapest.price < one.expected.price - CENT:
        yield (
            f"{cheapest.describe()} costs {cheapest.price}, less than the offer's "
            f"{one.expected.price}"
        )
    orders = []
    for considered in (one.launches, [x for x in one.launches if not exhausted(x, taken)]):
        best: dict[str, tuple[bool, float]] = {}
        for x in considered:
            name = x.instance_type.name
            best[name] = min(
                best.get(name, (True, float("inf"))), (x.instance_type.exotic, x.price)
            )
        ranks = [best[name] for name in one.node.instance_types if name in best]
        orders.append(all(a[0] < b[0] or a[1] <= b[1] + CENT for a, b in pairwise(ranks)))
    if not any(orders):
        yield f"instance types {one.node.instance_types} are not in order of price"


def pool_rules(problem: SchedulingProblem, one: Bought) -> Iterator[str]:
    """What the NodePool requires holds for every launch, and so do its minValues."""
    for launch in one.launches:
        for requirement in one.pool.requirements:
            if not node_labels_match(requirement, launch.labels):
                yield (
                    f"{launch.describe()} breaks the NodePool's requirement "
                    f"{requirement.key} {requirement.operator} {list(requirement.values)}"
                )
                return
    relaxed = one.node.min_values_relaxed
    if relaxed and problem.options.min_values_policy is not MinValuesPolicy.BEST_EFFORT:
        yield "minValues are relaxed although the policy is Strict"
    required = (
        one.node.requirements if relaxed else (*one.pool.requirements, *one.node.requirements)
    )
    yield from dict.fromkeys(min_values(required, one.launches))


def min_values(requirements: Sequence[RequirementSpec], found: Sequence[Launch]) -> Iterator[str]:
    for requirement in requirements:
        if requirement.min_values is None:
            continue
        values = {launch.labels.get(requirement.key) for launch in found} - {None}
        if len(values) < requirement.min_values:
            yield (
                f"minValues: {requirement.key} has {len(values)} values, "
                f"{requirement.min_values} are required"
            )


def holds_its_pods(problem: SchedulingProblem, one: Bought) -> Iterator[str]:
    """Whatever the launch makes, the pods may run there and have room beside its daemons."""
    needed: dict[str, int] = {}
    for pod in one.pods:
        add(needed, pod_requests(pod))
    most: dict[str, int] = {}
    for launch in one.launches:
        place = launched(problem, one.pool, launch, one.name, one.pods)
        where = (
            f"{launch.instance_type.name} {launch.offering.zone} {launch.offering.capacity_type}"
        )
        for pod in one.pods:
            reason = static_obstacle(pod, place, problem)
            if reason is None:
                place.pods = [p for p in one.pods if p is not pod]
                reason = resources_obstacle(pod, place) or ports_obstacle(pod, place)
            if reason is not None:
                yield f"{pod.key} on {where}: {reason}"
                return
        with_daemons = dict(needed)
        for daemon in place.coming:
            add(with_daemons, pod_requests(daemon))
        for name, amount in with_daemons.items():
            most[name] = max(most.get(name, 0), amount)
    for name, amount in needed.items():
        said = one.node.requests.get(name, 0)
        if name != "pods" and not amount <= said <= most[name]:
            yield f"requests say {said} of {name}, pods and daemons ask {amount} to {most[name]}"


def existing_nodes(problem: SchedulingProblem, solution: Solution) -> Iterator[str]:
    """What does not depend on the order in which pods are bound, on nodes already there."""
    pods = pods_by_key(problem)
    for node in problem.nodes:
        placed = [pods[key] for key, name in solution.placements.items() if name == node.name]
        for pod in placed:
            place = place_of(problem, node)
            place.pods += [p for p in placed if p is not pod]
            reason = (
                static_obstacle(pod, place, problem)
                or resources_obstacle(pod, place)
                or ports_obstacle(pod, place)
                or limits_obstacle(pod, place, problem)
            )
            if reason is not None:
                yield f"{pod.key} on {node.name}: {reason}"


# Rules between pods


def topology_keys(problem: SchedulingProblem) -> set[str]:
    """Every topology key that some pod's hard rule speaks of."""
    everyone = [*problem.pods, *(p for n in problem.nodes for p in (*n.pods, *n.nominated))]
    return {
        rule.topology_key
        for pod in everyone
        for rule in (*spreads(pod), *affinity_terms(pod), *anti_affinity_terms(pod))
    }


def domains(keys: set[str], launch: Launch) -> tuple[str | None, ...]:
    return tuple(launch.labels.get(key) for key in sorted(keys - {HOSTNAME}))


def replays(
    problem: SchedulingProblem, solution: Solution, bought: Sequence[Bought]
) -> Iterator[str]:
    """kube-scheduler can bind every pod where the solution has it, wherever nodes are launched.

    First with every node as its offer says, then with each node in turn in every other topology
    domain that its launch may choose.
    """
    keys = topology_keys(problem)
    if not keys:
        return
    expected = [one.expected for one in bought]
    stuck = stuck_pods(problem, solution, bought, expected)
    if stuck:
        yield "no order of binding: " + "; ".join(stuck)
        return
    for index, one in enumerate(bought):
        tried = {domains(keys, one.expected)}
        for launch in one.launches:
            where = domains(keys, launch)
            if where in tried:
                continue
            tried.add(where)
            stuck = stuck_pods(
                problem, solution, bought, [*expected[:index], launch, *expected[index + 1 :]]
            )
            if stuck:
                yield f"{one.name} may be launched as {where}, then: " + "; ".join(stuck)
                return


def stuck_pods(
    problem: SchedulingProblem,
    solution: Solution,
    bought: Sequence[Bought],
    chosen: Sequence[Launch],
) -> list[str]:
    """Pods that no order of binding tried gets to their nodes; empty when one order does.

    The pods that were stuck in one order go first in the next, as soon as they can be bound.
    """
    stuck: dict[str, str] = {}
    for attempt in range(ORDERS):
        places = cluster(problem, bought, chosen)
        waiting = [(pod, places[name]) for pod, name in destinations(problem, solution, bought)]
        # Pods that constrain themselves go first: they are the ones that others may shut out.
        waiting.sort(key=lambda w: (not spreads(w[0]), not affinity_terms(w[0])))
        if attempt:
            random.Random(attempt).shuffle(waiting)
            waiting.sort(key=lambda w: w[0].key not in stuck)
        stuck = bind(problem, list(places.values()), waiting)
        if not stuck:
            return []
    return list(stuck.values())


def bind(
    problem: SchedulingProblem, places: Sequence[Place], waiting: list[tuple[core.Pod, Place]]
) -> dict[str, str]:
    """Bind pods as long as one can be bound; why the rest cannot, by key."""
    while waiting:
        reasons = {}
        for index, (pod, place) in enumerate(waiting):
            reason = pod_rules_obstacle(pod, place, places, problem)
            if reason is None:
                place.pods.append(pod)
                del waiting[index]
                break
            reasons[pod.key] = f"{pod.key} on {place.name}: {reason}"
        else:
            return reasons
    return {}


def cluster(
    problem: SchedulingProblem, bought: Sequence[Bought], chosen: Sequence[Launch]
) -> dict[str, Place]:
    """The nodes there are and will be, without the pods to be placed."""
    places = {node.name: place_of(problem, node) for node in problem.nodes}
    for one, launch in zip(bought, chosen, strict=True):
        places[one.name] = launched(problem, one.pool, launch, one.name)
    return places


def destinations(
    problem: SchedulingProblem, solution: Solution, bought: Sequence[Bought]
) -> list[tuple[core.Pod, str]]:
    pods = pods_by_key(problem)
    return [(pods[key], name) for key, name in solution.placements.items()] + [
        (pod, one.name) for one in bought for pod in one.pods
    ]


# What was left out


def left_out(
    problem: SchedulingProblem, solution: Solution, bought: Sequence[Bought]
) -> Iterator[str]:
    """No pod is unschedulable that fits somewhere once all others are where they go.

    Two exceptions are Karpenter's, and documented: node affinity by field (`matchFields`) is not
    read, and a topology domain that a NodePool could launch (a host always) counts for spread
    though it is empty.
    """
    expected = [one.expected for one in bought]
    places = cluster(problem, bought, expected)
    for pod, name in destinations(problem, solution, bought):
        places[name].pods.append(pod)
    pods = pods_by_key(problem)
    empty = empty_domains(problem, bought)
    for key in solution.unschedulable:
        pod = pods[key]
        if any(term.match_fields for term in required_terms(pod) or ()):
            continue
        for node in problem.nodes:
            place = places[node.name]
            if (
                obstacle(pod, place, list(places.values()), problem) is None
                and spread_obstacle(pod, place, [*places.values(), *empty], more_hosts=True) is None
            ):
                yield f"{key} is unschedulable, but {node.name} takes it"
                break
        else:
            for pool in problem.pools:
                if not problem.options.allow_new_nodes:
                    break
                launch = fresh(problem, [pod], pool, bought, places, empty)
                if launch is not None:
                    yield (
                        f"{key} is unschedulable, but NodePool {pool.name} could launch "
                        f"{launch.describe()} for it"
                    )
                    break


def empty_domains(problem: SchedulingProblem, bought: Sequence[Bought]) -> list[Place]:
    """A node without pods of every type in every topology domain that a NodePool could launch."""
    keys = topology_keys(problem)
    found: dict[tuple[str, str, tuple[str | None, ...]], Place] = {}
    for pool in problem.pools:
        asked = [*pool.requirements, *open_domains(problem, pool, bought)]
        for launch in launches(pool, asked, pool.instance_types, "empty"):
            at = (pool.name, launch.instance_type.name, domains(keys, launch))
            if at not in found:
                found[at] = launched(problem, pool, launch, f"empty-{len(found)}")
    return list(found.values())


def open_domains(
    problem: SchedulingProblem, pool: Pool, bought: Sequence[Bought]
) -> Iterator[RequirementSpec]:
    """Of labels that are domains and that the pool leaves open, the values its nodes may get.

    Nodes join a domain there is, of nodes or as other pools name it, or get a value that the
    operator makes up: one and the same for every node of the pool.
    """
    for key in sorted(topology_keys(problem) - WELL_KNOWN_LABELS - {HOSTNAME}):
        mine = [r for r in pool.requirements if r.key == key]
        if not mine or any(r.operator in ("In", "NotIn", "DoesNotExist") for r in mine):
            continue
        values = {node.labels[key] for node in problem.nodes if key in node.labels}
        for other in problem.pools:
            values |= {other.labels[key]} if key in other.labels else set()
            for requirement in other.requirements:
                if (requirement.key, requirement.operator) == (key, "In"):
                    values |= set(requirement.values)
        values |= {one.expected.labels[key] for one in bought if one.pool is pool} or {
            some_value(mine)
        }
        yield RequirementSpec(key, "In", tuple(sorted(values)))


def weights(
    problem: SchedulingProblem, solution: Solution, bought: Sequence[Bought]
) -> Iterator[str]:
    """No node is bought from a NodePool where one of greater weight could have held its pods.

    Preferences of the pods, and taints that pods had better avoid, go before weight; so may rules
    that tie pods to topology domains, which this check leaves alone.
    """
    empty = empty_domains(problem, bought)
    tied = topology_keys(problem) - {HOSTNAME}
    if not tied and any(pool.weight for pool in problem.pools):
        for index, one in enumerate(bought):
            if any(has_preferences(pod) for pod in one.pods):
                continue
            others = [*bought[:index], *bought[index + 1 :]]
            places = cluster(problem, others, [x.expected for x in others])
            for pod, name in destinations(problem, solution, others):
                places[name].pods.append(pod)
            for pool in problem.pools:
                soft = any(t.effect == "PreferNoSchedule" for t in pool.taints)
                if pool.weight <= one.pool.weight or soft:
                    continue
                launch = fresh(problem, one.pods, pool, others, places, empty)
                if launch is None:
                    continue
                if one.expected.instance_type.exotic or not launch.instance_type.exotic:
                    yield f"{one.name}: NodePool {pool.name} has greater weight and takes its pods"
                    break


def fresh(
    problem: SchedulingProblem,
    pods: Sequence[core.Pod],
    pool: Pool,
    bought: Sequence[Bought],
    places: dict[str, Place],
    empty: Sequence[Place],
) -> Launch | None:
    """A launch of the pool that would take these pods, all on one node, beside what is there.

    None also where the pods may have to wait for a reservation that is promised to others.
    """
    taken = promised(bought)
    room = dict(pool.limits)
    add(room, {k: -v for k, v in pool.usage.items()})
    for one in bought:
        if one.pool.name == pool.name:
            most = most_capacity([launch.instance_type for launch in one.launches])
            add(room, {k: -v for k, v in most.items() if k in pool.limits})
    types = [
        t
        for t in pool.instance_types
        if all({**t.capacity, "nodes": 1}.get(k, 0) <= room[k] for k in pool.limits)
    ]
    fitting = [
        launch
        for launch in launches(pool, with_wishes(problem, pool, pods, bought), types, "fresh")
        if all(node_labels_match(r, launch.labels) for r in pool.requirements)
        and not any(lone_obstacle(problem, pool, launch, pods))
        and not exhausted(launch, taken)
    ]
    keys = topology_keys(problem)
    for where in {domains(keys, launch): None for launch in fitting}:
        there = [launch for launch in fitting if domains(keys, launch) == where]
        for choice in by_affinity_term(pods, there):
            short = list(min_values(pool.requirements, choice))
            if short and problem.options.min_values_policy is MinValuesPolicy.STRICT:
                continue
            if choice and binds_too(problem, pods, pool, choice[0], places, empty):
                return choice[0]
    return None


def with_wishes(
    problem: SchedulingProblem, pool: Pool, pods: Sequence[core.Pod], bought: Sequence[Bought]
) -> list[RequirementSpec]:
    """The pool's requirements; where they leave a label open, with the values that pods name.

    A label they leave open and no pod names is in one of its domains, if it has domains.
    """
    joined = {r.key: r for r in open_domains(problem, pool, bought)}
    found = list(pool.requirements)
    for requirement in pool.requirements:
        if requirement.operator in ("In", "NotIn", "DoesNotExist"):
            continue
        for pod in pods:
            named = dict(pod.spec.node_selector or {})
            values = [named[requirement.key]] if requirement.key in named else []
            for term in required_terms(pod) or ():
                for expression in term.match_expressions or ():
                    if expression.key == requirement.key and expression.operator == "In":
                        values += expression.values or ()
            allowed = tuple(v for v in values if value_matches(requirement, v))
            if allowed:
                found.append(RequirementSpec(requirement.key, "In", allowed))
                break
        else:
            if requirement.key in joined:
                found.append(joined[requirement.key])
    return found


def lone_obstacle(
    problem: SchedulingProblem, pool: Pool, launch: Launch, pods: Sequence[core.Pod]
) -> Iterator[str]:
    """What keeps the pods from sharing the node, other pods elsewhere aside."""
    place = launched(problem, pool, launch, "fresh")
    for daemon in place.coming:
        reason = resources_obstacle(daemon, launched_without(place, daemon))
        if reason is not None:
            yield reason
    for pod in pods:
        reason = (
            static_obstacle(pod, place, problem)
            or resources_obstacle(pod, place)
            or ports_obstacle(pod, place)
        )
        if reason is not None:
            yield reason
        place.pods.append(pod)


def launched_without(place: Place, daemon: core.Pod) -> Place:
    return Place(
        place.name,
        place.labels,
        place.allocatable,
        place.taints,
        coming=[d for d in place.coming if d is not daemon],
    )


def by_affinity_term(pods: Sequence[core.Pod], found: list[Launch]) -> Iterator[list[Launch]]:
    """A NodeClaim asks for one alternative of its pod's affinity: the launches of each alone."""
    terms = required_terms(pods[0]) if len(pods) == 1 else None
    if terms is None or len(terms) < 2:
        yield found
        return
    for term in terms:
        yield [
            launch
            for launch in found
            if all(node_labels_match(e, launch.labels) for e in term.match_expressions or ())
            and not term.match_fields
        ]


def binds_too(
    problem: SchedulingProblem,
    pods: Sequence[core.Pod],
    pool: Pool,
    launch: Launch,
    places: dict[str, Place],
    empty: Sequence[Place],
) -> bool:
    """Whether the pods can be bound to the fresh node last, with and without empty domains."""
    extra = launched(problem, pool, launch, "fresh")
    everywhere = [*places.values(), extra]
    for pod in pods:
        if pod_rules_obstacle(pod, extra, everywhere, problem) is not None:
            return False
        if spread_obstacle(pod, extra, [*everywhere, *empty], more_hosts=True) is not None:
            return False
        extra.pods.append(pod)
    return True
