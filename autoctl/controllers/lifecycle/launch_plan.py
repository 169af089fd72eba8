"""Which offerings a NodeClaim is launched from: pure, from what the class can launch now.

The rules are Karpenter's: reserved capacity before spot before on-demand, unusual hardware only
when nothing else fits, no spot dearer than the cheapest on-demand, the sixty cheapest types. Where
all spot is dearer than that, on-demand capacity is bought instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoctl.api import core, labels
from autoctl.api.labels import UNREGISTERED_TAINT
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodeclass_status import SubnetStatus
from autoctl.api.quantity import whole
from autoctl.aws.fleet import MOST_OVERRIDES, Override
from autoctl.aws.instance_types import image_of
from autoctl.catalog.model import ON_DEMAND, RESERVED, SPOT, InstanceType, Offering
from autoctl.catalog.units import amounts
from autoctl.controllers.nodeclass.launch_template import ReservationTarget
from autoctl.controllers.nodeclass.userdata import NodeSpecifics
from autoctl.scheduling.requirements import Requirements
from autoctl.state.problem import core_taints, requirement_specs

MOST_TYPES = 60
_NVME_LABEL = labels.INSTANCE_LOCAL_NVME
_GB = 1000**3
_OFFERING_LABELS = frozenset({labels.ZONE, labels.CAPACITY_TYPE})


@dataclass(frozen=True)
class TemplateGroup:
    """Overrides that share a launch template, with what that template says."""

    specifics: NodeSpecifics
    overrides: tuple[Override, ...]


@dataclass(frozen=True)
class LaunchPlan:
    """What to ask of CreateFleet; no groups when nothing is available, and `why`."""

    capacity_type: str
    groups: tuple[TemplateGroup, ...]
    reservation: ReservationTarget | None = None
    why: str = ""


def plan_launch(
    claim: NodeClaim,
    node_class: NodeClass,
    types: Sequence[InstanceType],
    *,
    region: str,
    exhausted_subnets: frozenset[str] = frozenset(),
) -> LaunchPlan:
    """The cheapest available offerings of one capacity type that the claim allows."""
    options = _options(claim, types, region)
    usable = [(t, o) for t, o in options if o.available]
    if not usable:
        why = "no offering meets the requirements" if not options else "no offering is available"
        return LaunchPlan(ON_DEMAND, (), why=why)
    reservation = _reservation(usable)
    if reservation is not None:
        capacity_type, chosen = (
            RESERVED,
            [(t, o) for t, o in usable if o.reservation_id == reservation.id],
        )
    else:
        flexible = any(r.min_values for r in claim.spec.requirements)
        capacity_type = _cheaper_market(usable if flexible else _ordinary(usable))
        chosen = [(t, o) for t, o in usable if o.capacity_type == capacity_type]
        if not flexible:
            chosen = _ordinary(chosen)
            if capacity_type == SPOT:
                chosen = _below_on_demand(chosen, options)
        chosen = _cheapest_types(chosen, MOST_TYPES)
    subnets = _subnets(node_class.status.subnets, exhausted_subnets)
    groups = _groups(claim, node_class, chosen, subnets)
    if not groups:
        return LaunchPlan(capacity_type, (), why="no subnet has free addresses")
    return LaunchPlan(capacity_type, groups, reservation)


def launch_digest(claim: NodeClaim) -> str:
    """What the claim asks, as a tag's value: claims of one digest may swap their instances."""
    content = json.dumps([claim.node_pool, claim.spec.to_dict()], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def node_labels(claim: NodeClaim) -> dict[str, str]:
    """The labels that a kubelet registers with, known before the instance type is."""
    return {
        **_kubelet_may_set(claim.metadata.labels),
        labels.NODECLASS: claim.spec.node_class_ref.name,
    }


def _compute_type(chosen: Iterable[tuple[InstanceType, Offering]]) -> dict[str, str]:
    """Auto Mode's mark, where the operator is to put it on nodes: all types have it, or none."""
    for instance_type, _ in chosen:
        if value := instance_type.labels.get(labels.COMPUTE_TYPE):
            return {labels.COMPUTE_TYPE: value}
    return {}


def _kubelet_may_set(given: Mapping[str, str]) -> dict[str, str]:
    """Without the labels that NodeRestriction keeps from kubelets; registration adds those."""
    return {
        key: value
        for key, value in given.items()
        if not labels.label_domain(key).endswith(("kubernetes.io", "k8s.io"))
        or labels.label_domain(key).startswith(("node.kubernetes.io", "kubelet.kubernetes.io"))
    }


def _options(
    claim: NodeClaim, types: Sequence[InstanceType], region: str
) -> list[tuple[InstanceType, Offering]]:
    """Every type and offering that meets requirements and resources, capacity aside."""
    everything = Requirements.of_specs(requirement_specs(claim.spec.requirements))
    decided = labels.WELL_KNOWN_LABELS - {labels.NODEPOOL}
    requests = amounts(claim.spec.resources.requests)
    # There are ten thousand offerings: what a type alone decides is asked once for the type.
    by_offering = _OFFERING_LABELS.union(*(o.labels for t in types for o in t.offerings))
    of_type = Requirements(r for k, r in everything.items() if k in decided - by_offering)
    of_offering = Requirements(r for k, r in everything.items() if k in decided & by_offering)
    return [
        (instance_type, offering)
        for instance_type in types
        if all(instance_type.allocatable.get(k, 0) >= v for k, v in requests.items())
        and of_type.accepts(_type_labels(instance_type, region))
        for offering in instance_type.offerings
        if of_offering.accepts(offering_labels(instance_type, offering, region))
    ]


def offering_labels(instance_type: InstanceType, offering: Offering, region: str) -> dict[str, str]:
    """The labels of a node of the type, bought by the offering."""
    return {
        **instance_type.labels,
        **offering.labels,
        **_own_labels(instance_type, region),
        labels.ZONE: offering.zone,
        labels.CAPACITY_TYPE: offering.capacity_type,
    }


def _type_labels(instance_type: InstanceType, region: str) -> dict[str, str]:
    """The labels of all nodes of the type, whatever offering buys them."""
    return {**instance_type.labels, **_own_labels(instance_type, region)}


def _own_labels(instance_type: InstanceType, region: str) -> dict[str, str]:
    return {
        labels.INSTANCE_TYPE: instance_type.name,
        labels.ARCH: instance_type.architecture,
        labels.OS: "linux",
        labels.REGION: region,
    }


def _reservation(usable: Sequence[tuple[InstanceType, Offering]]) -> ReservationTarget | None:
    """The reservation with the most room; capacity blocks only where there is nothing else."""
    reserved = [o for _, o in usable if o.capacity_type == RESERVED and o.reservation_id]
    if not reserved:
        return None

    def rank(offering: Offering) -> tuple[bool, bool, int, str]:
        block = offering.labels.get(labels.CAPACITY_RESERVATION_TYPE) == "capacity-block"
        interruptible = offering.labels.get(labels.CAPACITY_RESERVATION_INTERRUPTIBLE) == "true"
        room = offering.reservation_capacity or 0
        return (interruptible, block, -room, offering.reservation_id or "")

    best = min(reserved, key=rank)
    assert best.reservation_id is not None, "filtered above"
    return ReservationTarget(
        best.reservation_id,
        best.labels.get(labels.CAPACITY_RESERVATION_TYPE) == "capacity-block",
    )


def _cheaper_market(usable: Iterable[tuple[InstanceType, Offering]]) -> str:
    """Spot, unless the cheapest of it is dearer than what can be bought on demand.

    The market hardly does that, but NodeOverlays do: a Savings Plan makes on-demand capacity cheap.
    """
    cheapest: dict[str, float] = {}
    for _, offering in usable:
        known = cheapest.get(offering.capacity_type, offering.price)
        cheapest[offering.capacity_type] = min(known, offering.price)
    spot, on_demand = cheapest.get(SPOT), cheapest.get(ON_DEMAND)
    if spot is None:
        return ON_DEMAND
    return SPOT if on_demand is None or spot <= on_demand else ON_DEMAND


def _ordinary(
    chosen: list[tuple[InstanceType, Offering]],
) -> list[tuple[InstanceType, Offering]]:
    return [(t, o) for t, o in chosen if not t.exotic] or chosen


def _below_on_demand(
    chosen: list[tuple[InstanceType, Offering]], options: list[tuple[InstanceType, Offering]]
) -> list[tuple[InstanceType, Offering]]:
    bound = min(
        (o.price for _, o in options if o.capacity_type == ON_DEMAND and o.available), default=None
    )
    if bound is None:
        return chosen
    return [(t, o) for t, o in chosen if o.price <= bound] or chosen


def _cheapest_types(
    chosen: list[tuple[InstanceType, Offering]], most: int
) -> list[tuple[InstanceType, Offering]]:
    price: dict[str, float] = {}
    for instance_type, offering in chosen:
        known = price.get(instance_type.name, offering.price)
        price[instance_type.name] = min(known, offering.price)
    kept = set(sorted(price, key=lambda name: (price[name], name))[:most])
    return [(t, o) for t, o in chosen if t.name in kept]


def _subnets(subnets: Iterable[SubnetStatus], exhausted: frozenset[str]) -> dict[str, str]:
    """Zone -> its subnet with the most free addresses."""
    best: dict[str, tuple[int, str]] = {}
    for subnet in subnets:
        if subnet.id in exhausted:
            continue
        free = subnet.available_ip_address_count or 0
        best[subnet.zone] = max(best.get(subnet.zone, (-1, "")), (free, subnet.id))
    return {zone: name for zone, (_, name) in best.items()}


def _groups(
    claim: NodeClaim,
    node_class: NodeClass,
    chosen: Iterable[tuple[InstanceType, Offering]],
    subnets: Mapping[str, str],
) -> tuple[TemplateGroup, ...]:
    taints = (
        *core_taints(claim.spec.taints),
        *core_taints(claim.spec.startup_taints),
        core.Taint(key=UNREGISTERED_TAINT, effect="NoExecute"),
    )
    size = whole(node_class.spec.ephemeral_storage.size)
    grouped: dict[tuple[int, bool], list[Override]] = {}
    ordered = sorted(chosen, key=lambda c: (c[1].price, c[0].name, c[1].zone))[:MOST_OVERRIDES]
    given = node_labels(claim) | _compute_type(ordered)
    priorities = _priorities([o for _, o in ordered])
    for instance_type, offering in ordered:
        subnet = subnets.get(offering.zone)
        image = image_of(node_class.status.amis, instance_type)
        if subnet is None or image is None:
            continue
        nvme = int(instance_type.labels.get(_NVME_LABEL, 0)) * _GB > size
        key = (instance_type.capacity.get("pods", 0), nvme)
        override = Override(
            instance_type.name, offering.zone, subnet, image, priorities.get(offering.price)
        )
        grouped.setdefault(key, []).append(override)
    return tuple(
        TemplateGroup(NodeSpecifics(given, taints, max_pods, nvme), tuple(overrides))
        for (max_pods, nvme), overrides in grouped.items()
    )


def _priorities(ordered: Sequence[Offering]) -> dict[float, int]:
    """Price -> rank from 0, where NodeOverlays have set a price; otherwise empty.

    EC2 knows its own prices only, so it has to be told the order in which to choose.
    """
    if all(o.overlay is None for o in ordered):
        return {}
    return {price: rank for rank, price in enumerate(sorted({o.price for o in ordered}))}
