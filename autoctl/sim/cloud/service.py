"""A simulated service and the client that stands in for boto3's.

A `Service` implements operations as methods named like boto3's, taking the request as a dict and
answering a dict; a `Client` is what the gateways see. Between them `SimulatedCloud.call` checks
both, applies limits and faults, and writes the log.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from autoctl.sim.cloud import wire

if TYPE_CHECKING:
    from autoctl.sim.cloud.cloud import SimulatedCloud

Params = dict[str, Any]
Answer = dict[str, Any]
Handler = Callable[[Params], Answer]


class Service:
    """Base of the simulated services; `name` is boto3's service name."""

    name: ClassVar[str]
    checks_dry_run: ClassVar[frozenset[str]] = frozenset()
    """Operations that look at their parameters before they answer a dry run."""

    def __init__(self, cloud: SimulatedCloud) -> None:
        self.cloud = cloud

    def further_actions(self, _operation: str, _params: Params) -> tuple[str, ...]:
        """The IAM actions that a request needs beside the one of its operation."""
        return ()

    def handler(self, method: str) -> Handler | None:
        """The implementation of a client method, None for one that is not simulated."""
        if method not in wire.operations(self.name):
            return None
        found: Handler | None = getattr(self, method, None)
        return found


class ClientMeta:
    """The part of boto3's `client.meta` that callers read."""

    def __init__(self, region_name: str, service: str) -> None:
        self.region_name = region_name
        self.service_model = wire.service_model(service)


class Client:
    """What `boto3.client(service)` would return: a method an operation, paginators, `meta`."""

    def __init__(self, cloud: SimulatedCloud, service: str) -> None:
        self._cloud = cloud
        self._service = service
        self.meta = ClientMeta(cloud.region, service)

    def __getattr__(self, method: str) -> Callable[..., Answer]:
        if method not in wire.operations(self._service):
            raise AttributeError(f"{self._service} has no operation {method!r}")

        def call(**params: Any) -> Answer:
            if method == "run_instances" and "UserData" in params:
                # boto3 encodes it here, and only here.
                encoded = base64.b64encode(params["UserData"].encode()).decode()
                params = {**params, "UserData": encoded}
            return self._cloud.call(self._service, method, params)

        call.__name__ = method
        if method == "receive_message":
            # What would block in boto3; an executor that may not block awaits it before the call.
            call.wait = self._cloud.sqs.wait  # type: ignore[attr-defined]  # functions take attributes
        return call

    def can_paginate(self, method: str) -> bool:
        try:
            self.get_paginator(method)
        except ValueError:
            return False
        return True

    def get_paginator(self, method: str) -> Any:
        """boto3's paginator; ValueError for an operation that has none."""
        return wire.paginator(self._service, method, getattr(self, method))

    def close(self) -> None:
        """boto3 clients close their connections; there are none here."""
