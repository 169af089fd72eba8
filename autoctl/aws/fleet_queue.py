"""Launches on their way to EC2: gathered for a moment, equal ones in one request, few a minute.

CreateFleet is held to a number of requests a minute (`RateLimits`), whatever comes. As long as that
allows, each different launch has a request of its own. Where more wait than may be sent, those that
can be had together share one (`fleet_merge`); what still waits is looked at again with what has
come meanwhile, the oldest first.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from autoctl.aws.call import Caller
from autoctl.aws.errors import plain_message
from autoctl.aws.fleet import (
    FleetConfig,
    FleetError,
    FleetFailed,
    FleetRequest,
    Launched,
    LaunchOrder,
    fleet_arguments,
)
from autoctl.aws.fleet_merge import merge
from autoctl.catalog.model import ON_DEMAND, RESERVED, SPOT

IDLE: Final = 0.035
LONGEST: Final = 1.0
"""Seconds without a new launch, and in all, after which those that were gathered are sent."""
MOST_AT_ONCE: Final = 1000
"""Instances of one request."""

_CREATE_FLEET: Final = "create_fleet"
_SUBNET: Final = re.compile(r"subnet-[0-9a-z]+")


@dataclass(slots=True, eq=False)
class _Waiting:
    """An order that has no answer yet; `errors` are those of earlier requests for it."""

    order: LaunchOrder
    answer: asyncio.Future[Launched]
    since: float
    errors: tuple[FleetError, ...] = ()


class Fleets:
    """CreateFleet, batched, merged and held to its rate."""

    def __init__(
        self, ec2: Caller, *, observe: Callable[[str, int, float], None] | None = None
    ) -> None:
        """`observe` hears of each request: its operation, instances, and the longest wait."""
        self._ec2 = ec2
        self._observe = observe
        self._gathering: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ready: list[_Waiting] = []
        self._sender: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def launch(self, order: LaunchOrder) -> Launched:
        """Launch one instance. Raises `FleetFailed`, or `CloudError` when the call failed.

        A caller that is cancelled takes back what was not sent yet.
        """
        if not order.request.configs:
            raise ValueError("a fleet needs at least one override")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(order, loop.create_future(), loop.time())
        self._gathering.append(waiting)
        if self._timer is not None:
            self._timer.cancel()
        due = min(loop.time() + IDLE, self._gathering[0].since + LONGEST)
        self._timer = loop.call_at(due, self._close)
        return await waiting.answer

    def _close(self) -> None:
        """What was gathered may be sent."""
        self._timer = None
        self._ready += self._gathering
        self._gathering = []
        if self._sender is None or self._sender.done():
            self._sender = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        bucket = self._ec2.bucket(_CREATE_FLEET)
        while self._ready:
            await bucket.ready()
            for request, members in self._take(max(1, bucket.available())):
                task = asyncio.create_task(self._send(request, members))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
            # Let them take their tokens before the next ones are counted.
            await asyncio.sleep(0)

    def _take(self, most: int) -> list[tuple[FleetRequest, list[_Waiting]]]:
        """Up to `most` requests with whom they are for, taken from what is ready."""
        waiting = [w for w in self._ready if not w.answer.done()]
        equal: dict[FleetRequest, list[_Waiting]] = {}
        for one in waiting:
            equal.setdefault(one.order.request, []).append(one)
        requests = tuple(equal)
        found: list[tuple[FleetRequest, list[_Waiting]]] = []
        for merged in merge(requests, most):
            ones = [one for index in merged.members for one in equal[requests[index]]]
            found += [
                (merged.request, ones[start : start + MOST_AT_ONCE])
                for start in range(0, len(ones), MOST_AT_ONCE)
            ]
        # The longest wait first.
        found.sort(key=lambda chunk: min(one.since for one in chunk[1]))
        taken = found[:most]
        gone = {id(one) for _, ones in taken for one in ones}
        self._ready = [one for one in waiting if id(one) not in gone]
        return taken

    async def _send(self, request: FleetRequest, waiting: Sequence[_Waiting]) -> None:
        if self._observe is not None:
            now = asyncio.get_running_loop().time()
            self._observe(_CREATE_FLEET, len(waiting), now - min(w.since for w in waiting))
        arguments = fleet_arguments(request, [w.order for w in waiting])
        try:
            answer = await self._ec2(_CREATE_FLEET, **arguments)
        except Exception as error:  # noqa: BLE001 - every caller gets it
            for one in waiting:
                if not one.answer.done():
                    one.answer.set_exception(error)
            return
        errors = tuple(_error(entry, request) for entry in answer.get("Errors", ()))
        launched = [
            found
            for entry in answer.get("Instances", ())
            for found in _launched(entry, request, errors)
        ]
        for one, instance in zip(waiting, launched, strict=False):
            if not one.answer.done():
                one.answer.set_result(instance)
        for one in waiting[len(launched) :]:
            self._left_out(one, request, errors)

    def _left_out(
        self, waiting: _Waiting, asked: FleetRequest, errors: tuple[FleetError, ...]
    ) -> None:
        """There was no instance for this one: it asks again for what was not asked for yet."""
        if waiting.answer.done():
            return
        waiting.errors += errors
        rest = _without(waiting.order.request, asked)
        if rest is None:
            waiting.answer.set_exception(FleetFailed(waiting.errors))
            return
        waiting.order = replace(waiting.order, request=rest)
        self._ready.insert(0, waiting)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.get_running_loop().create_task(self._send_all())


def _without(own: FleetRequest, asked: FleetRequest) -> FleetRequest | None:
    """What of a request was not part of another one; None when all of it was."""
    tried = {
        (c.template, o.instance_type, o.zone, o.subnet_id)
        for c in asked.configs
        for o in c.overrides
    }
    configs = []
    for config in own.configs:
        rest = tuple(
            o
            for o in config.overrides
            if (config.template, o.instance_type, o.zone, o.subnet_id) not in tried
        )
        if rest:
            configs.append(FleetConfig(config.template, rest))
    return replace(own, configs=tuple(configs)) if configs else None


def _error(entry: dict[str, Any], request: FleetRequest) -> FleetError:
    overrides = entry.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    code = entry.get("ErrorCode", "")
    message = plain_message(entry.get("ErrorMessage", ""))
    subnet_id = _subnet_id(overrides, request)
    if code == "InsufficientFreeAddressesInSubnet" and (named := _SUBNET.search(message)):
        # Interfaces may be in several subnets: the message tells which is full.
        subnet_id = named[0]
    return FleetError(
        code=code,
        message=message,
        instance_type=overrides.get("InstanceType", ""),
        zone=overrides.get("AvailabilityZone", ""),
        subnet_id=subnet_id,
        capacity_type=request.capacity_type,
        placement_group=request.placement_group,
        reservation=request.reservation,
    )


def _subnet_id(overrides: dict[str, Any], request: FleetRequest) -> str:
    """The subnet of an answer's override: the request's own where only its template names one."""
    place = (overrides.get("InstanceType"), overrides.get("AvailabilityZone"))
    asked = (o for c in request.configs for o in c.overrides if (o.instance_type, o.zone) == place)
    named = overrides.get("SubnetId")
    return str(named) if named else next((o.subnet_id for o in asked), "")


def _launched(
    entry: dict[str, Any], request: FleetRequest, errors: tuple[FleetError, ...]
) -> list[Launched]:
    overrides = entry["LaunchTemplateAndOverrides"]["Overrides"]
    capacity_type = request.capacity_type
    if capacity_type != RESERVED:
        capacity_type = SPOT if entry.get("Lifecycle") == "spot" else ON_DEMAND
    return [
        Launched(
            instance_id=instance_id,
            instance_type=entry.get("InstanceType") or overrides["InstanceType"],
            zone=overrides["AvailabilityZone"],
            subnet_id=_subnet_id(overrides, request),
            image_id=overrides["ImageId"],
            capacity_type=capacity_type,
            others=errors,
        )
        for instance_id in entry.get("InstanceIds", ())
    ]
