"""Launching: what is asked of an instant fleet, and what it answers.

An instant fleet answers at once with the instances it got and an error for every override that had
none. One request launches many equal instances (EC2 API Reference, CreateFleet,
`TotalTargetCapacity`), which keeps a thousand launches within a default account's request limits;
`fleet_queue` brings them together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from autoctl.aws.errors import Kind, classify
from autoctl.aws.tags import KARPENTER_CLAIM, LAUNCH, NAME, to_api
from autoctl.catalog.model import SPOT

DIGESTS_APART = "."
"""Between several digests in one tag."""
MOST_OVERRIDES = 300
"""CreateFleet takes no more launch template overrides (EC2 User Guide, fleet quotas)."""


RESERVATION_GONE = "InvalidCapacityReservationId"
"""What the code begins with when there is no reservation of the id (any more)."""
CAPACITY_BLOCK = "capacity-block"
INTERRUPTIBLE = "interruptible-capacity-reservation"
"""Markets of reserved capacity that is not there for good."""


@dataclass(frozen=True, slots=True)
class Override:
    """One type in one zone. `priority` counts from 0, the first; None leaves the choice to EC2.

    Either all overrides of a request have a priority, or none has. `price` is USD/hour, as known.
    With `subnet_in_template` the launch template's network interfaces name their subnets
    themselves, and `subnet_id` is the primary one's.
    """

    instance_type: str
    zone: str
    subnet_id: str
    image_id: str
    priority: int | None = None
    price: float = field(default=0.0, compare=False)
    subnet_in_template: bool = False


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """Overrides that share a launch template."""

    template: str
    overrides: tuple[Override, ...]


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """What to launch one instance of. Equal requests may be merged.

    `digests` tell which NodeClaims the instance may belong to (`controllers.lifecycle.adoption`).
    `capacity_type` is `on-demand`, `spot` or `reserved`; `market` narrows the last to
    `CAPACITY_BLOCK` or `INTERRUPTIBLE`, and `reservation` is the id of the one that the launch
    templates name. Instances go into `placement_group` where its id is given.
    """

    capacity_type: str
    configs: tuple[FleetConfig, ...]
    tags: tuple[tuple[str, str], ...]
    digests: tuple[str, ...] = ()
    market: str = ""
    placement_group: str = ""
    reservation: str = ""


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """A request on behalf of one NodeClaim.

    `token` (the NodeClaim's UID) makes a repeated request find what the first one launched;
    `attempt` counts the tries that ended without an instance.
    """

    request: FleetRequest
    token: str
    name: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class FleetError:
    """Why one override gave nothing."""

    code: str
    message: str
    instance_type: str
    zone: str
    subnet_id: str
    capacity_type: str
    placement_group: str = ""
    reservation: str = ""

    @property
    def kind(self) -> Kind:
        if self.reservation and self.code.startswith(RESERVATION_GONE):
            # It ended or was cancelled since the class looked: other capacity may do.
            return Kind.CAPACITY
        return classify(self.code)


@dataclass(frozen=True, slots=True)
class Launched:
    """An instance that a fleet launched; `others` are overrides that failed beside it."""

    instance_id: str
    instance_type: str
    zone: str
    subnet_id: str
    image_id: str
    capacity_type: str
    others: tuple[FleetError, ...] = ()


class FleetFailed(Exception):
    """No instance; `errors` says why for every override that was tried."""

    def __init__(self, errors: tuple[FleetError, ...]) -> None:
        codes = sorted({f"{e.code}: {e.message}" for e in errors}) or ["no instance, no error"]
        super().__init__("; ".join(codes))
        self.errors = errors

    @property
    def out_of_capacity(self) -> bool:
        """Whether other offerings, or the same ones later, may do."""
        return all(e.kind in {Kind.CAPACITY, Kind.LIMIT} for e in self.errors)


def fleet_arguments(request: FleetRequest, orders: Sequence[LaunchOrder]) -> dict[str, Any]:
    """CreateFleet's arguments for a request that serves the orders, with one instance for each.

    A NodeClaim's own tags come only where there is one.
    """
    tags = dict(request.tags)
    instance_tags = tags | {LAUNCH: DIGESTS_APART.join(request.digests)}
    if len(orders) == 1:
        instance_tags |= {KARPENTER_CLAIM: orders[0].name, NAME: orders[0].name}
    arguments: dict[str, Any] = {
        "Type": "instant",
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateName": config.template,
                    "Version": "$Latest",
                },
                "Overrides": [_override(override) for override in config.overrides],
            }
            for config in request.configs
        ],
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": len(orders),
            "DefaultTargetCapacityType": _target_type(request),
        },
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": to_api(instance_tags)},
            {"ResourceType": "volume", "Tags": to_api(instance_tags)},
            {"ResourceType": "fleet", "Tags": to_api(tags)},
        ],
    }
    prioritized = any(o.priority is not None for c in request.configs for o in c.overrides)
    if request.capacity_type == SPOT:
        strategy = "capacity-optimized-prioritized" if prioritized else "price-capacity-optimized"
        arguments["SpotOptions"] = {"AllocationStrategy": strategy}
    elif request.market == INTERRUPTIBLE:
        arguments["ReservedCapacityOptions"] = {"ReservationTypes": [INTERRUPTIBLE]}
    elif request.market != CAPACITY_BLOCK:
        strategy = "prioritized" if prioritized else "lowest-price"
        arguments["OnDemandOptions"] = {"AllocationStrategy": strategy}
    arguments["ClientToken"] = _client_token(orders, arguments)
    return arguments


def _override(override: Override) -> dict[str, Any]:
    found: dict[str, Any] = {
        "InstanceType": override.instance_type,
        "AvailabilityZone": override.zone,
        "ImageId": override.image_id,
    }
    if not override.subnet_in_template:
        found["SubnetId"] = override.subnet_id
    if override.priority is not None:
        found["Priority"] = override.priority
    return found


def _target_type(request: FleetRequest) -> str:
    if request.capacity_type == SPOT:
        return "spot"
    return {CAPACITY_BLOCK: CAPACITY_BLOCK, INTERRUPTIBLE: "reserved-capacity"}.get(
        request.market, "on-demand"
    )


def _client_token(orders: Sequence[LaunchOrder], arguments: dict[str, Any]) -> str:
    """The same NodeClaims asking the same thing get the same token, in this process or the next."""
    digest = hashlib.sha256()
    for token in sorted(f"{order.token}/{order.attempt}" for order in orders):
        digest.update(token.encode())
    digest.update(repr(arguments).encode())
    return digest.hexdigest()
