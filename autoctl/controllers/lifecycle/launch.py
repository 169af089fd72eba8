"""From a NodeClaim to an instance, once.

What was launched for a NodeClaim is remembered until its status says so. A process that takes over
does not have that memory: for NodeClaims older than itself it first looks whether an instance is
there that nobody owns and that was launched for the same thing (see `adoption`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autoctl.api import labels
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.aws.eks import ClusterFacts
from autoctl.aws.errors import CloudError, Kind, launch_reason
from autoctl.aws.fleet import FleetConfig, FleetError, FleetFailed, FleetRequest
from autoctl.aws.fleet import LaunchOrder as Order
from autoctl.aws.fleet_queue import Fleets
from autoctl.aws.instance_types import InstanceTypes
from autoctl.aws.instances import provider_id
from autoctl.aws.offerings import UnavailableOfferings
from autoctl.aws.subnet_use import SubnetUse
from autoctl.aws.tags import resource_tags
from autoctl.catalog.model import InstanceType, Offering
from autoctl.controllers.lifecycle.adoption import Adoption
from autoctl.controllers.lifecycle.launch_options import PreparedOptions, offering_labels
from autoctl.controllers.lifecycle.launch_plan import LaunchPlan, launch_digest, plan_launch
from autoctl.controllers.nodeclass.launch_template import launch_template
from autoctl.controllers.nodeclass.templates import TemplateStore
from autoctl.state.cluster import ClusterState


@dataclass(frozen=True)
class Machine:
    """An instance that a NodeClaim has, with what its node will be."""

    provider_id: str
    image_id: str
    labels: dict[str, str]
    instance_type: InstanceType


class NoCapacity(Exception):
    """Nothing that the NodeClaim allows can be had now."""


class NodeClassNotReady(Exception):
    """The NodeClass is missing, being deleted, or not ready."""


class LaunchRefused(Exception):
    """EC2 refused for a reason that a new attempt alone does not change.

    `reason` is the `Launched` condition's.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class LauncherDependencies:
    """What launching needs."""

    state: ClusterState
    fleets: Fleets
    templates: TemplateStore
    types: InstanceTypes
    unavailable: UnavailableOfferings
    subnets: SubnetUse
    cluster: ClusterFacts
    adoption: Adoption
    options: PreparedOptions
    region: str
    cluster_name: str
    on_failure: Callable[[FleetError], None]
    """Hears of each override that gave nothing, for metrics."""


class Launcher:
    """Launches instances for NodeClaims."""

    def __init__(self, dependencies: LauncherDependencies) -> None:
        self._d = dependencies
        self._machines: dict[str, Machine] = {}
        self._attempts: dict[str, int] = {}

    async def launch(self, claim: NodeClaim) -> Machine:
        """The claim's instance, launched if need be.

        Raises `NoCapacity`, `NodeClassNotReady`, `LaunchRefused`, `CloudError` (repeat later).
        """
        known = self._machines.get(claim.metadata.uid)
        if known is not None:
            return known
        node_class = self._d.state.node_class(claim.spec.node_class_ref.name)
        if node_class is None or not node_class.ready or node_class.deleting:
            raise NodeClassNotReady(f"NodeClass {claim.spec.node_class_ref.name!r} is not ready")
        machine = await self._adopt(claim)
        if machine is None:
            machine = await self._create(claim, node_class)
        self._machines[claim.metadata.uid] = machine
        return machine

    def provider_id_of(self, uid: str) -> str | None:
        """The instance launched for the claim of that UID, while its status does not tell it."""
        machine = self._machines.get(uid)
        return machine.provider_id if machine is not None else None

    def forget(self, uid: str) -> None:
        """The claim is gone."""
        self._machines.pop(uid, None)
        self._attempts.pop(uid, None)

    async def _adopt(self, claim: NodeClaim) -> Machine | None:
        found = await self._d.adoption.find(claim)
        if found is None:
            return None
        machine = self._machine(
            claim,
            found.id,
            found.instance_type,
            found.zone,
            found.image_id,
            found.capacity_type,
            found.reservation_id,
        )
        if machine is None:
            self._d.adoption.give_back(found)
        return machine

    async def _create(self, claim: NodeClaim, node_class: NodeClass) -> Machine:
        types = self._d.state.types_of_claim(claim, self._d.types.launchable)
        exhausted = frozenset(
            s.id
            for s in (*node_class.status.subnets, *node_class.status.pod_subnets)
            if not self._d.unavailable.subnet_available(s.id)
        )
        options = self._d.options.of(types)
        plan = plan_launch(
            claim,
            node_class,
            options,
            exhausted_subnets=exhausted,
            addresses_taken=self._d.subnets.taken(),
        )
        if not plan.groups:
            raise NoCapacity(plan.why)
        attempt = self._attempts.get(claim.metadata.uid, 0)
        order = Order(
            await self._request(claim, node_class, plan),
            claim.metadata.uid,
            claim.name,
            attempt,
        )
        try:
            launched = await self._d.fleets.launch(order)
        except FleetFailed as failure:
            self._attempts[claim.metadata.uid] = attempt + 1
            self._learn(failure.errors)
            if failure.out_of_capacity:
                raise NoCapacity(str(failure)) from failure
            raise self._refused(failure.errors, str(failure), order) from failure
        except CloudError as error:
            if error.transient:
                raise
            self._attempts[claim.metadata.uid] = attempt + 1
            if error.kind in {Kind.CAPACITY, Kind.LIMIT}:
                self._refused_altogether(error, order.request)
                raise NoCapacity(str(error)) from error
            raise self._refused((), str(error), order, error.code) from error
        self._learn(launched.others)
        self._count_reserved(node_class, plan)
        machine = self._machine(
            claim,
            launched.instance_id,
            launched.instance_type,
            launched.zone,
            launched.image_id,
            launched.capacity_type,
            plan.reservation.id if plan.reservation is not None else None,
        )
        assert machine is not None, "the plan named the type"
        pods = machine.instance_type.capacity.get("pods", 0)
        pod_subnet = plan.pod_subnets.get(launched.zone)
        self._d.subnets.take(launched.subnet_id, 1 if pod_subnet else pods)
        if pod_subnet:
            self._d.subnets.take(pod_subnet, pods)
        return machine

    async def _request(
        self, claim: NodeClaim, node_class: NodeClass, plan: LaunchPlan
    ) -> FleetRequest:
        cluster = await self._d.cluster.get()
        custom = node_class.spec.tags or {}
        group = node_class.status.placement_group
        tags = resource_tags(self._d.cluster_name, node_class.name, claim.node_pool, custom)
        classes = self._d.state.node_classes.reflector.store.values()
        open_matching = not any(c.spec.capacity_reservation_selector_terms for c in classes)
        configs = []
        for planned in plan.groups:
            template = launch_template(
                node_class,
                cluster,
                planned.specifics,
                tags,
                reservation=plan.reservation,
                open_matching=open_matching,
            )
            name = await self._d.templates.ensure(template)
            configs.append(FleetConfig(name, planned.overrides))
        return FleetRequest(
            plan.capacity_type,
            tuple(configs),
            tuple(sorted(tags.items())),
            (launch_digest(claim),),
            market=plan.reservation.market if plan.reservation is not None else "",
            placement_group=group.id if group is not None else "",
            reservation=plan.reservation.id if plan.reservation is not None else "",
        )

    def _learn(self, errors: tuple[FleetError, ...]) -> None:
        for error in errors:
            self._d.unavailable.note(error)
            self._d.on_failure(error)

    def _refused_altogether(self, error: CloudError, request: FleetRequest) -> None:
        """No override was even tried: the account's limits bind all of the capacity type."""
        if error.kind is Kind.LIMIT:
            self._d.unavailable.mark_capacity_type(request.capacity_type)
            return
        if request.reservation:
            self._d.unavailable.mark_reservation(request.reservation)
            return
        for config in request.configs:
            for o in config.overrides:
                self._d.unavailable.mark(
                    o.instance_type, o.zone, request.capacity_type, request.placement_group
                )

    def _count_reserved(self, node_class: NodeClass, plan: LaunchPlan) -> None:
        for reservation in node_class.status.capacity_reservations:
            if plan.reservation is not None and reservation.id == plan.reservation.id:
                self._d.types.take_reserved(reservation)

    def _refused(
        self, errors: tuple[FleetError, ...], message: str, order: Order, code: str = ""
    ) -> LaunchRefused:
        told = [e for e in errors if e.kind not in {Kind.CAPACITY, Kind.LIMIT}]
        reason = launch_reason(told[0].code, told[0].message) if told else ""
        reason = reason or launch_reason(code, message)
        if reason == "LaunchTemplateNotFound":
            for config in order.request.configs:
                self._d.templates.lost(config.template)
        return LaunchRefused(reason, message)

    def _machine(
        self,
        claim: NodeClaim,
        instance_id: str,
        type_name: str,
        zone: str,
        image_id: str,
        capacity_type: str,
        reservation_id: str | None,
    ) -> Machine | None:
        """None for an instance of a type that the class does not launch any more."""
        types = self._d.state.types_of_claim(claim, self._d.types.known)
        instance_type = self._d.options.of(types).named(type_name)
        if instance_type is None:
            return None
        offering = next(
            (
                o
                for o in instance_type.offerings
                if (o.zone, o.capacity_type) == (zone, capacity_type)
                and (reservation_id is None or o.reservation_id == reservation_id)
            ),
            Offering(zone, capacity_type, 0.0),
        )
        return Machine(
            provider_id(zone, instance_id),
            image_id,
            {
                **offering_labels(instance_type, offering, self._d.region),
                labels.NODECLASS: claim.spec.node_class_ref.name,
            },
            instance_type,
        )
