"""The simulated AWS account: its services, faults, limits, log and time in one object.

cloud = SimulatedCloud(clock=LoopClock(start), region="us-west-2")
ec2 = cloud.client("ec2")                 # boto3's methods, botocore's errors
async with asyncio.TaskGroup() as group:
    group.create_task(cloud.run())        # time passes: instances boot, faults strike
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias

from autoctl.ports.clock import Clock
from autoctl.sim.cloud import wire
from autoctl.sim.cloud.ec2.backend import Ec2
from autoctl.sim.cloud.ec2.records import InstanceRecord
from autoctl.sim.cloud.eks import Eks
from autoctl.sim.cloud.errors import AwsFailure, dry_run_succeeded, throttled, unauthorized
from autoctl.sim.cloud.faults import LASTING, ActiveFaults, Fault, FaultType
from autoctl.sim.cloud.iam import Iam
from autoctl.sim.cloud.limits import RequestLimits
from autoctl.sim.cloud.log import OK, Request, RequestLog
from autoctl.sim.cloud.pricing import Pricing
from autoctl.sim.cloud.service import Client, Service
from autoctl.sim.cloud.servicequotas import ServiceQuotas
from autoctl.sim.cloud.sqs import Sqs
from autoctl.sim.cloud.ssm import Ssm
from autoctl.sim.cloud.sts import Sts
from autoctl.sim.cloud.timeline import Timeline

InstanceHook: TypeAlias = Callable[[InstanceRecord], Awaitable[None] | None]

SPOT_WARNING = 120.0
"""Seconds between a spot interruption's warning and the instance's end."""


@dataclass(frozen=True)
class Timings:
    """How long things take, in seconds.

    `running`: from launch until the state is running. `boot`: from launch until the kubelet
    registers its node. `shutting_down`: from the terminate call until terminated.
    `forgotten`: how long a terminated instance is still described. `visible`: from a create call
    until Describe calls know of it (EC2's eventual consistency). `checks`: from a failed status
    check's cause until it is reported.
    """

    running: float = 10.0
    boot: float = 40.0
    shutting_down: float = 30.0
    forgotten: float = 3600.0
    visible: float = 1.0
    checks: float = 60.0


@dataclass(frozen=True)
class CloudSettings:
    """What the simulated account looks like at its beginning.

    `cluster` names the EKS cluster; `kubernetes` is its minor version. One subnet a zone of `/19`
    is made, tagged for discovery; `roles` exist in IAM; `instance_types` are the only ones offered
    (empty: all of the region). `boot_jitter` is the part of `Timings.boot`
    by which booting varies, drawn from the seed. Without `empty_polls`, a long poll of a queue
    lasts until there is a message: weeks of an idle queue then cost nothing. `keep_requests` bounds
    the request log (None: everything is kept).
    """

    region: str = "us-west-2"
    cluster: str = "autoctl"
    kubernetes: str = "1.34"
    roles: tuple[str, ...] = ("AmazonEKSAutoNodeRole", "autoctl-node")
    instance_types: tuple[str, ...] = ()
    seed: int = 0
    timings: Timings = field(default_factory=Timings)
    boot_jitter: float = 0.0
    enforce_limits: bool = True
    check_answers: bool = True
    empty_polls: bool = True
    keep_requests: int | None = None


class SimulatedCloud:
    """One AWS account in one region.

    `on_boot` is called when an instance's kubelet would register its node, `on_gone` when the
    instance has ended; both may be coroutines, which then run as tasks of `run`.
    """

    def __init__(
        self,
        clock: Clock,
        settings: CloudSettings | None = None,
        *,
        on_boot: InstanceHook | None = None,
        on_gone: InstanceHook | None = None,
    ) -> None:
        self.settings = settings or CloudSettings()
        self.clock = clock
        self.timeline = Timeline(clock)
        self.random = random.Random(self.settings.seed)  # noqa: S311  # a simulation, no secrets
        self.log = RequestLog(self.settings.keep_requests)
        self.faults = ActiveFaults()
        self.limits = RequestLimits(enforced=self.settings.enforce_limits)
        self.denied: set[str] = set()
        self.on_boot = on_boot
        self.on_gone = on_gone
        self.observers: list[Callable[[str, str], None]] = []
        """Called with service and operation after each request that succeeded, before its answer
        arrives; may cancel the calling task to kill a client there."""
        self._notices: list[tuple[InstanceHook, InstanceRecord]] = []
        self._requests = 0
        self.iam = Iam(self)
        self.sqs = Sqs(self)
        self.ssm = Ssm(self)
        self.ec2 = Ec2(self)
        self.eks = Eks(self)
        self.ssm.release()
        for role in self.settings.roles:
            self.iam.add_role(role)
        self.services: dict[str, Service] = {
            service.name: service
            for service in (
                self.ec2,
                self.ssm,
                self.iam,
                self.eks,
                self.sqs,
                Pricing(self),
                Sts(self),
                ServiceQuotas(self),
            )
        }

    @property
    def region(self) -> str:
        return self.settings.region

    def now(self) -> datetime:
        return self.clock.now()

    def client(self, service: str) -> Client:
        """The stand-in for `boto3.client(service)`; KeyError for a service not simulated."""
        if service not in self.services:
            raise KeyError(f"{service} is not simulated; have {', '.join(sorted(self.services))}")
        return Client(self, service)

    def call(self, service: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request and answer as boto3 does.

        Raises botocore's ParamValidationError for a malformed request (it never reaches AWS, so it
        is not logged) and ClientError for every error AWS would answer.
        """
        name = wire.operations(service)[method]
        model = wire.operation(service, name)
        wire.check_request(model, params)
        with self.timeline.lock:
            self.timeline.advance()
            self._requests += 1
            request_id = f"{self._requests:08x}-0000-4000-8000-000000000000"
            try:
                answer = self._carry_out(service, method, name, params)
            except AwsFailure as failure:
                self._write(service, name, params, failure.code)
                raise failure.as_client_error(name, request_id) from None
            self._write(service, name, params, OK)
            for observer in tuple(self.observers):
                observer(service, name)
        if self.settings.check_answers:
            wire.check_answer(model, answer)
        answer["ResponseMetadata"] = {
            "RequestId": request_id,
            "HTTPStatusCode": 200,
            "HTTPHeaders": {},
            "RetryAttempts": 0,
        }
        return answer

    def _carry_out(
        self, service: str, method: str, name: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        self._check_faults(service, name)
        if not self.limits.allows(service, name, self.now()):
            raise throttled(service)
        backend = self.services[service]
        for action in (f"{service}:{name}", *backend.further_actions(name, params)):
            self.authorize(service, action)
        handler = backend.handler(method)
        if handler is None:
            raise AwsFailure("InvalidAction", f"The action {name} is not simulated for {service}")
        if params.get("DryRun") and method not in backend.checks_dry_run:
            raise dry_run_succeeded()
        return handler(params)

    def _check_faults(self, service: str, operation: str) -> None:
        now = self.now()
        for kind in (FaultType.API_THROTTLE, FaultType.API_ERROR):
            for fault in self.faults.of(kind, now):
                if not fault.selects_operation(service, operation) or not self.hit(fault):
                    continue
                if kind is FaultType.API_THROTTLE:
                    raise throttled(service)
                raise AwsFailure(fault.error or "InternalError", fault.message, fault.status)

    def authorize(self, service: str, action: str) -> None:
        """Raise what `service` answers a caller who may not use the IAM action."""
        if action in self.denied:
            raise unauthorized(service, action)

    def hit(self, fault: Fault) -> bool:
        """Whether a fault strikes this time, by its share."""
        return fault.share >= 1 or self.random.random() < fault.share

    def _write(self, service: str, operation: str, params: dict[str, Any], outcome: str) -> None:
        self.log.add(Request(self.now(), service, operation, params, outcome))

    def inject(self, fault: Fault) -> list[str]:
        """Let a fault strike or begin; answers the ids of the instances it struck at once.

        Raises LookupError for an AMI release of a version that exists already.
        """
        with self.timeline.lock:
            self.timeline.advance()
            if fault.type in LASTING:
                self.faults.add(fault, self.now())
                return []
            if fault.type is FaultType.AMI_RELEASE:
                self.ssm.release(fault.version)
                return []
            return self._strike(fault)

    def _strike(self, fault: Fault) -> list[str]:
        if fault.type is FaultType.SPOT_INTERRUPTION:
            fault = replace(fault, capacity_types=fault.capacity_types or ("spot",))
        chosen = [
            instance
            for instance in self.ec2.instances.alive()
            if (not fault.instance_ids or instance.instance_id in fault.instance_ids)
            and fault.selects_offering(
                instance.instance_type, instance.zone, instance.capacity_type
            )
        ]
        if fault.count is not None and fault.count < len(chosen):
            chosen = sorted(
                self.random.sample(chosen, fault.count), key=lambda chosen: chosen.instance_id
            )
        for instance in chosen:
            if fault.type is FaultType.SPOT_INTERRUPTION:
                self.ec2.instances.interrupt(instance, SPOT_WARNING)
            elif fault.type is FaultType.INSTANCE_TERMINATED:
                self.ec2.instances.terminate(instance, "Server.InternalError")
            else:
                self.ec2.instances.impair(instance, fault.category, fault.lasts)
        return [instance.instance_id for instance in chosen]

    def notify(self, hook: InstanceHook | None, instance: InstanceRecord) -> None:
        """Call a hook from `run`, where coroutines can be started."""
        if hook is not None:
            self._notices.append((hook, instance))
            self.timeline.rouse()

    async def run(self) -> None:
        """Let time pass until cancelled; an exception of a hook ends it."""
        async with asyncio.TaskGroup() as group:

            def deliver() -> None:
                while self._notices:
                    hook, instance = self._notices.pop(0)
                    result = hook(instance)
                    if inspect.isawaitable(result):
                        group.create_task(_finish(result))

            await self.timeline.run(deliver)


async def _finish(awaitable: Awaitable[None]) -> None:
    await awaitable
