"""Which offerings a NodeClaim is launched from: pure, from what the class can launch now.

The rules are Karpenter's: reserved capacity before spot before on-demand, unusual hardware only
when nothing else fits, no spot dearer than the cheapest on-demand, the sixty cheapest types. Where
all spot is dearer than that, on-demand capacity is bought instead.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from autoctl.api import core, labels
from autoctl.api.labels import UNREGISTERED_TAINT
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodeclass_status import SubnetStatus
from autoctl.api.quantity import whole
from autoctl.aws.fleet import CAPACITY_BLOCK, INTERRUPTIBLE, MOST_OVERRIDES, Override
from autoctl.catalog.model import ON_DEMAND, RESERVED, SPOT, Offering
from autoctl.catalog.overhead import EFA
from autoctl.catalog.units import amounts
from autoctl.controllers.lifecycle.launch_options import Choice, LaunchOptions
from autoctl.controllers.nodeclass.launch_template import ReservationTarget, serves_pods
from autoctl.controllers.nodeclass.userdata import NodeSpecifics
from autoctl.state.problem import core_taints

MOST_TYPES = 60
_MARKETS = ("", CAPACITY_BLOCK, INTERRUPTIBLE)
"""Kinds of reserved capacity, the most lasting first."""
_DIGEST_BYTES = 6
"""Eight characters: many have to go into one tag, and are compared within seconds of a crash."""
_NVME_LABEL = labels.INSTANCE_LOCAL_NVME
_GB = 1000**3
_NOTHING: Mapping[str, int] = MappingProxyType({})


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
    pod_subnets: Mapping[str, str] = field(default_factory=dict)
    """Zone -> the subnet of the pods of a node there, where pods have subnets of their own."""


def plan_launch(
    claim: NodeClaim,
    node_class: NodeClass,
    options: LaunchOptions,
    *,
    exhausted_subnets: frozenset[str] = frozenset(),
    addresses_taken: Mapping[str, int] = _NOTHING,
    capacity_aside: bool = False,
) -> LaunchPlan:
    """The cheapest available offerings of one capacity type that the claim allows.

    Of a zone's subnets the one with the most free addresses is used; `addresses_taken` are those
    that launches have taken by subnet since the class counted. Where pods have subnets of their
    own, a zone needs one with addresses left.
    With `capacity_aside` all count as available, but reserved ones, which are for launches alone.
    """
    selection = options.once(
        (_select, capacity_aside, options.key(claim)),
        lambda: _select(claim, options, capacity_aside=capacity_aside),
    )
    if not selection.chosen:
        return LaunchPlan(ON_DEMAND, (), why=selection.why)
    subnets = _subnets(node_class.status.subnets, exhausted_subnets, addresses_taken)
    pod_subnets: dict[str, str] = {}
    if node_class.spec.pod_subnet_selector_terms:
        left = (s for s in node_class.status.pod_subnets if s.available_ip_address_count != 0)
        pod_subnets = _subnets(left, exhausted_subnets, addresses_taken)
        subnets = {zone: subnet for zone, subnet in subnets.items() if zone in pod_subnets}
    groups = _groups(claim, node_class, selection.chosen, subnets, pod_subnets, options)
    if not groups:
        return LaunchPlan(selection.capacity_type, (), why="no subnet has free addresses")
    return LaunchPlan(
        selection.capacity_type, groups, selection.reservation, pod_subnets=pod_subnets
    )


def launch_digest(claim: NodeClaim) -> str:
    """What the claim asks, as a tag's value: claims of one digest may swap their instances."""
    content = json.dumps([claim.node_pool, claim.spec.to_dict()], sort_keys=True)
    digest = hashlib.sha256(content.encode()).digest()
    return base64.urlsafe_b64encode(digest[:_DIGEST_BYTES]).decode()


def node_labels(claim: NodeClaim) -> dict[str, str]:
    """The labels that a kubelet registers with, known before the instance type is."""
    return {
        **_kubelet_may_set(claim.metadata.labels),
        labels.NODECLASS: claim.spec.node_class_ref.name,
    }


def _compute_type(chosen: Iterable[Choice]) -> dict[str, str]:
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


@dataclass(frozen=True, slots=True)
class _Selection:
    """What of a class's offerings a launch will ask for, the cheapest first."""

    capacity_type: str
    chosen: tuple[Choice, ...] = ()
    reservation: ReservationTarget | None = None
    why: str = ""


def _select(claim: NodeClaim, options: LaunchOptions, *, capacity_aside: bool) -> _Selection:
    allowed = options.of(claim)
    # The pairs are passed on, never made anew: there are thousands of them.
    if capacity_aside:
        usable = [c for c in allowed if c[1].capacity_type != RESERVED]
    else:
        usable = [c for c in allowed if c[1].available]
    if not usable:
        why = "no offering meets the requirements" if not allowed else "no offering is available"
        return _Selection(ON_DEMAND, why=why)
    reservation = _reservation(usable)
    if reservation is not None:
        capacity_type = RESERVED
        chosen = [c for c in usable if c[1].reservation_id == reservation.id]
    else:
        flexible = any(r.min_values for r in claim.spec.requirements)
        capacity_type = _cheaper_market(usable if flexible else _ordinary(usable))
        chosen = [c for c in usable if c[1].capacity_type == capacity_type]
        if not flexible:
            chosen = _ordinary(chosen)
            if capacity_type == SPOT:
                chosen = _below_on_demand(chosen, usable)
        chosen = _cheapest_types(chosen, MOST_TYPES)
    chosen.sort(key=lambda c: (c[1].weighed, c[0].name, c[1].zone))
    return _Selection(capacity_type, tuple(chosen[:MOST_OVERRIDES]), reservation)


def _reservation(usable: Sequence[Choice]) -> ReservationTarget | None:
    """The reservation with the most room, of the most lasting kind that there is."""
    reserved = [o for _, o in usable if o.capacity_type == RESERVED and o.reservation_id]
    if not reserved:
        return None

    def rank(offering: Offering) -> tuple[int, int, str]:
        room = offering.reservation_capacity or 0
        return (_MARKETS.index(_market(offering)), -room, offering.reservation_id or "")

    best = min(reserved, key=rank)
    assert best.reservation_id is not None, "filtered above"
    return ReservationTarget(best.reservation_id, _market(best))


def _market(reserved: Offering) -> str:
    """EC2's market type of a reservation, empty for an ordinary one."""
    if reserved.labels.get(labels.CAPACITY_RESERVATION_INTERRUPTIBLE) == "true":
        return INTERRUPTIBLE
    block = reserved.labels.get(labels.CAPACITY_RESERVATION_TYPE) == CAPACITY_BLOCK
    return CAPACITY_BLOCK if block else ""


def _cheaper_market(usable: Iterable[Choice]) -> str:
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
    chosen: list[Choice],
) -> list[Choice]:
    return [c for c in chosen if not c[0].exotic] or chosen


def _below_on_demand(chosen: list[Choice], usable: list[Choice]) -> list[Choice]:
    bound = min((o.price for _, o in usable if o.capacity_type == ON_DEMAND), default=None)
    if bound is None:
        return chosen
    return [c for c in chosen if c[1].price <= bound] or chosen


def _cheapest_types(chosen: list[Choice], most: int) -> list[Choice]:
    price: dict[str, float] = {}
    for instance_type, offering in chosen:
        known = price.get(instance_type.name, offering.weighed)
        price[instance_type.name] = min(known, offering.weighed)
    kept = set(sorted(price, key=lambda name: (price[name], name))[:most])
    return [c for c in chosen if c[0].name in kept]


def _subnets(
    subnets: Iterable[SubnetStatus], exhausted: frozenset[str], taken: Mapping[str, int]
) -> dict[str, str]:
    """Zone -> its subnet with the most free addresses."""
    best: dict[str, tuple[int, str]] = {}
    for subnet in subnets:
        if subnet.id in exhausted:
            continue
        here = ((subnet.available_ip_address_count or 0) - taken.get(subnet.id, 0), subnet.id)
        best[subnet.zone] = max(best.get(subnet.zone, here), here)
    return {zone: name for zone, (_, name) in best.items()}


def _groups(
    claim: NodeClaim,
    node_class: NodeClass,
    ordered: Sequence[Choice],
    subnets: Mapping[str, str],
    pod_subnets: Mapping[str, str],
    options: LaunchOptions,
) -> tuple[TemplateGroup, ...]:
    """The overrides, by the launch template that they need.

    One that makes interfaces for pods in their own subnets is for one zone: an interface's subnet
    stands in the template, and an override can name no more than one.
    """
    taints = (
        *core_taints(claim.spec.taints),
        *core_taints(claim.spec.startup_taints),
        core.Taint(key=UNREGISTERED_TAINT, effect="NoExecute"),
    )
    size = whole(node_class.spec.ephemeral_storage.size)
    wants_efa = amounts(claim.spec.resources.requests).get(EFA, 0) > 0
    zonal = bool(pod_subnets) and serves_pods(node_class)
    grouped: dict[tuple[int, bool, tuple[int, ...], str, str], list[Override]] = {}
    given = node_labels(claim) | _compute_type(ordered)
    priorities = _priorities([o for _, o in ordered])
    for instance_type, offering in ordered:
        subnet = subnets.get(offering.zone)
        image = options.image(node_class.status.amis, instance_type)
        if subnet is None or image is None:
            continue
        nvme = int(instance_type.labels.get(_NVME_LABEL, 0)) * _GB > size
        key = (
            instance_type.capacity.get("pods", 0),
            nvme,
            instance_type.efa_cards if wants_efa else (),
            subnet if zonal else "",
            pod_subnets[offering.zone] if zonal else "",
        )
        override = Override(
            instance_type.name,
            offering.zone,
            subnet,
            image,
            priorities.get(offering.weighed),
            price=offering.price,
            subnet_in_template=zonal,
        )
        grouped.setdefault(key, []).append(override)
    return tuple(
        TemplateGroup(NodeSpecifics(given, taints, *specifics), tuple(overrides))
        for specifics, overrides in grouped.items()
    )


def _priorities(ordered: Sequence[Offering]) -> dict[float, int]:
    """Weighed price -> rank from 0, where NodeOverlays have set a price; otherwise empty.

    EC2 knows its own prices only, so it has to be told the order in which to choose.
    """
    if all(o.overlay is None for o in ordered):
        return {}
    return {price: rank for rank, price in enumerate(sorted({o.weighed for o in ordered}))}
