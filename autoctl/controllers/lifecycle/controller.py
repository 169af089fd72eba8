"""`nodeclaim.lifecycle`: takes each NodeClaim from its creation to an initialized node.

Every step writes its outcome before the next begins, so that a process that takes over goes on
where the last one stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from autoctl.api import core, labels
from autoctl.api.labels import NODECLASS_HASH, NODECLASS_HASH_VERSION
from autoctl.api.labels import TERMINATION_FINALIZER as FINALIZER
from autoctl.api.nodeclaim import INITIALIZED, LAUNCHED, REGISTERED, NodeClaim, NodeClaimStatus
from autoctl.catalog.model import Resources
from autoctl.catalog.overhead import EFA
from autoctl.catalog.units import format_amount
from autoctl.controllers.lifecycle.conditions import State, begun, with_condition
from autoctl.controllers.lifecycle.initialization import waits_for
from autoctl.controllers.lifecycle.launch import (
    Launcher,
    LaunchRefused,
    Machine,
    NoCapacity,
    NodeClassNotReady,
)
from autoctl.controllers.lifecycle.liveness import Timeouts, deadline
from autoctl.controllers.lifecycle.registration import (
    has_unregistered_taint,
    is_registered,
    registration_patch,
    single_values,
)
from autoctl.controllers.lifecycle.removal import remove_claim
from autoctl.controllers.nodepool.registration_health import RegistrationHealth
from autoctl.controllers.objects import add_finalizer, reference, write_metadata, write_status
from autoctl.controllers.runtime.controller import DONE, Controller, Result
from autoctl.controllers.runtime.events import Event, EventRecorder
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_CLAIMS, NODES, KubernetesApi
from autoctl.state.cluster import ClusterState
from autoctl.state.own_writes import LAG_SECONDS
from autoctl.state.problem import requirement_specs

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

_RETRY_SECONDS = 10.0
_MESSAGE_LIMIT = 300


@dataclass(frozen=True)
class LifecycleDependencies:
    """What the controller talks to.

    `finalizer` takes over NodeClaims that are deleted; `settings_hash` are annotations that tell
    the operator's own settings of nodes; `steers` tells whether pods will be sent to
    the NodeClaim's node, which takes no others until then.
    """

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    events: EventRecorder
    metrics: Metrics
    launcher: Launcher
    health: RegistrationHealth
    finalizer: Controller
    timeouts: Timeouts
    settings_hash: Mapping[str, str]
    steers: Callable[[NodeClaim, core.Node], bool]


class LifecycleController:
    """One NodeClaim a reconcile."""

    name = "nodeclaim.lifecycle"

    def __init__(self, dependencies: LifecycleDependencies) -> None:
        self._d = dependencies
        self._removed: dict[str, str] = {}
        """Name -> UID of NodeClaims deleted here, whose end the mirror may not show yet."""

    async def reconcile(self, key: str) -> Result:
        claim = self._d.state.claim(key)
        if claim is None:
            self._removed.pop(key, None)
            return DONE
        if self._d.state.lags(NODE_CLAIMS, key):
            return Result(LAG_SECONDS)
        if claim.deleting:
            result = await self._d.finalizer.reconcile(key)
            if result is DONE:
                self._d.launcher.forget(claim.metadata.uid)
            return result
        if self._removed.get(key) == claim.metadata.uid:
            # What was given up for want of capacity must not be launched after all.
            return DONE
        claim = await add_finalizer(self._d.api, NODE_CLAIMS, claim, FINALIZER)
        if not claim.launched:
            claim = await self._write(claim, begun(claim.status, *self._stamp(claim)))
            launched = await self._launch(claim)
            if launched is None:
                return await self._alive(claim)
            claim = launched
        if not claim.registered:
            claim = await self._register(claim)
        if claim.registered and not claim.initialized:
            claim = await self._initialize(claim)
        return await self._alive(claim)

    # Launch

    async def _launch(self, claim: NodeClaim) -> NodeClaim | None:
        """The claim with its instance; None while there is none."""
        try:
            machine = await self._d.launcher.launch(claim)
        except NoCapacity as failure:
            await self._give_up(
                claim, "InsufficientCapacityError", "insufficient_capacity", str(failure)
            )
            return None
        except NodeClassNotReady as failure:
            await self._give_up(claim, "NodeClassNotReady", "nodeclass_not_ready", str(failure))
            return None
        except LaunchRefused as failure:
            message = str(failure)[:_MESSAGE_LIMIT]
            _log.warning("launch refused", node_claim=claim.name, reason=failure.reason)
            await self._set(claim, LAUNCHED, "Unknown", failure.reason, message)
            return None
        claim = await write_metadata(
            self._d.api,
            NODE_CLAIMS,
            claim,
            labels=_launched_labels(claim, machine),
            annotations=self._class_hash(claim) | dict(self._d.settings_hash),
        )
        status = claim.status.model_copy(
            update={
                "provider_id": machine.provider_id,
                "image_id": machine.image_id,
                "capacity": _quantities(machine.instance_type.capacity, claim),
                "allocatable": _quantities(machine.instance_type.allocatable, claim),
            }
        )
        status = with_condition(status, LAUNCHED, "True", LAUNCHED, "", *self._stamp(claim))
        claim = await self._write(claim, status)
        _log.info(
            "launched",
            node_claim=claim.name,
            provider_id=machine.provider_id,
            instance_type=machine.instance_type.name,
            zone=machine.labels[labels.ZONE],
            capacity_type=machine.labels[labels.CAPACITY_TYPE],
        )
        return claim

    async def _give_up(
        self, claim: NodeClaim, event_reason: str, metric_reason: str, message: str
    ) -> None:
        text = f"NodeClaim {claim.name} event: {message[:_MESSAGE_LIMIT]}"
        about = reference(NODE_CLAIMS, claim)
        self._d.events.publish(Event(about, event_reason, text, "Warning"))
        await self._remove(claim, metric_reason)

    def _class_hash(self, claim: NodeClaim) -> dict[str, str]:
        """The hash of the class that the instance was launched with."""
        node_class = self._d.state.node_class(claim.spec.node_class_ref.name)
        annotations = node_class.metadata.annotations if node_class is not None else {}
        keys = (NODECLASS_HASH, NODECLASS_HASH_VERSION)
        return {key: annotations[key] for key in keys if key in annotations}

    # Registration

    async def _register(self, claim: NodeClaim) -> NodeClaim:
        nodes = self._d.state.nodes_of_claim(claim)
        if not nodes:
            message = "Node not registered with cluster"
            return await self._set(claim, REGISTERED, "Unknown", "NodeNotFound", message)
        if len(nodes) > 1:
            message = "Invariant violated, matched multiple nodes"
            return await self._set(claim, REGISTERED, "False", "MultipleNodesFound", message)
        node = nodes[0]
        if self._d.state.lags(NODES, node.metadata.name):
            return claim
        if not has_unregistered_taint(node) and not is_registered(node):
            self._d.events.publish(
                Event(
                    reference(NODE_CLAIMS, claim),
                    "UnregisteredTaintMissing",
                    "Missing karpenter.sh/unregistered taint which prevents registration related "
                    "race conditions on Karpenter-managed nodes",
                    "Warning",
                )
            )
        steered = not is_registered(node) and self._d.steers(claim, node)
        patch = registration_patch(node, claim, steered=steered)
        await self._d.api.patch(NODES, node.metadata.name, patch)
        status = claim.status.model_copy(update={"node_name": node.metadata.name})
        status = with_condition(status, REGISTERED, "True", REGISTERED, "", *self._stamp(claim))
        claim = await self._write(claim, status)
        pool = claim.node_pool or ""
        zone = claim.metadata.labels.get(labels.ZONE, "")
        self._d.metrics.nodes_created.labels(pool, zone).inc()
        await self._d.health.record(pool, succeeded=True)
        _log.info("registered", node_claim=claim.name, node=node.metadata.name)
        return claim

    # Initialization

    async def _initialize(self, claim: NodeClaim) -> NodeClaim:
        node = self._d.state.node(claim.status.node_name or "")
        if node is None:
            message = "Node not registered with cluster"
            return await self._set(claim, INITIALIZED, "Unknown", "NodeNotFound", message)
        waiting = waits_for(claim, node)
        if waiting is None and not is_registered(node):
            # The mirror has not seen the registration yet, nor what it did to the taints.
            return claim
        if waiting is not None:
            return await self._set(claim, INITIALIZED, "Unknown", waiting.reason, waiting.message)
        await self._mark_initialized(node)
        claim = await self._set(claim, INITIALIZED, "True", INITIALIZED, "")
        _log.info("initialized", node_claim=claim.name, node=node.metadata.name)
        return claim

    async def _mark_initialized(self, node: core.Node) -> None:
        if (node.metadata.labels or {}).get(labels.INITIALIZED) != "true":
            patch = {"metadata": {"labels": {labels.INITIALIZED: "true"}}}
            await self._d.api.patch(NODES, node.metadata.name, patch)

    # Liveness

    async def _alive(self, claim: NodeClaim) -> Result:
        """Wait for the step's end, or give the claim up when it takes too long."""
        limit = deadline(claim, self._d.timeouts)
        if limit is None:
            return DONE
        remaining = (limit.at - self._d.clock.now()).total_seconds()
        if remaining > 0:
            retry = _RETRY_SECONDS if not claim.launched else remaining
            return Result(min(remaining, retry))
        _log.warning("given up", node_claim=claim.name, reason=limit.reason)
        if limit.reason != "initialization_timeout":
            await self._d.health.record(claim.node_pool or "", succeeded=False)
        await self._remove(claim, limit.reason)
        return DONE

    async def _remove(self, claim: NodeClaim, reason: str) -> None:
        await remove_claim(self._d.api, self._d.state, self._d.metrics, claim, reason)
        self._removed[claim.name] = claim.metadata.uid

    # Writing

    def _stamp(self, claim: NodeClaim) -> tuple[int, datetime]:
        return claim.metadata.generation, self._d.clock.now()

    async def _set(
        self, claim: NodeClaim, kind: str, state: State, reason: str, message: str
    ) -> NodeClaim:
        status = with_condition(claim.status, kind, state, reason, message, *self._stamp(claim))
        return await self._write(claim, status)

    async def _write(self, claim: NodeClaim, status: NodeClaimStatus) -> NodeClaim:
        return await write_status(self._d.api, NODE_CLAIMS, claim, status)


def _launched_labels(claim: NodeClaim, machine: Machine) -> dict[str, str]:
    """What the instance fixes goes over what the requirements had left open."""
    fixed = single_values(requirement_specs(claim.spec.requirements))
    return {**fixed, **claim.metadata.labels, **machine.labels}


def _quantities(resources: Resources, claim: NodeClaim) -> dict[str, str]:
    """As the status has them. Instances have EFA interfaces only where these were asked for."""
    return {
        name: format_amount(name, amount)
        for name, amount in sorted(resources.items())
        if name != EFA or EFA in claim.spec.resources.requests
    }
