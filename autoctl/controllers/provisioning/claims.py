"""NodeClaims as provisioning, static pools and disruption create them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoctl.api import labels
from autoctl.api.hashing import NODEPOOL_VERSION, nodepool_hash
from autoctl.api.nodeclaim import DEFAULT_TERMINATION_GRACE_PERIOD, NodeClaim, Taint
from autoctl.api.nodepool import NodePool
from autoctl.catalog.model import InstanceType, Resources
from autoctl.catalog.units import format_amount
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.kubernetes import NODE_CLAIMS, KubernetesApi, Object
from autoctl.scheduling.problem import NewNode, RequirementSpec
from autoctl.scheduling.requirements import Requirements
from autoctl.state.cluster import ClusterState


@dataclass(frozen=True)
class ClaimTemplate:
    """What a NodeClaim asks beyond its pool's template."""

    requirements: tuple[RequirementSpec, ...]
    requests: Resources
    min_values_relaxed: bool = False

    @classmethod
    def of(cls, node: NewNode) -> ClaimTemplate:
        """For a node the solver wants: its types become a requirement, cheapest first."""
        least = next(
            (r.min_values for r in node.requirements if r.key == labels.INSTANCE_TYPE), None
        )
        types = RequirementSpec(labels.INSTANCE_TYPE, "In", node.instance_types, least)
        others = tuple(r for r in node.requirements if r.key != labels.INSTANCE_TYPE)
        return cls((*others, types), node.requests, node.min_values_relaxed)


def overlay_marks(template: ClaimTemplate, types: Iterable[InstanceType]) -> dict[str, str]:
    """The annotations telling that NodeOverlays had a say in what the claim may become."""
    named = next(
        (
            frozenset(r.values)
            for r in template.requirements
            if r.key == labels.INSTANCE_TYPE and r.operator == "In"
        ),
        None,
    )
    marks: dict[str, str] = {}
    for instance_type in types:
        if named is not None and instance_type.name not in named:
            continue
        if any(o.overlay is not None for o in instance_type.offerings):
            marks[labels.PRICE_OVERLAY_APPLIED] = "true"
        if instance_type.overlays:
            marks[labels.CAPACITY_OVERLAY_APPLIED] = "true"
    return marks


def claim_object(
    pool: NodePool,
    template: ClaimTemplate,
    annotations: Mapping[str, str] | None = None,
    taints: Sequence[Taint] = (),
) -> Object:
    """The NodeClaim to create, with `taints` beside its pool's; the API server makes its name."""
    source = pool.spec.template
    spec: dict[str, Any] = {
        "nodeClassRef": source.spec.node_class_ref.to_dict(),
        "requirements": [_requirement(r) for r in template.requirements],
        "resources": {
            "requests": {
                name: format_amount(name, amount)
                for name, amount in sorted(template.requests.items())
            }
        },
        "expireAfter": source.spec.expire_after,
        "terminationGracePeriod": source.spec.termination_grace_period
        or DEFAULT_TERMINATION_GRACE_PERIOD,
    }
    if source.spec.taints or taints:
        spec["taints"] = [t.to_dict() for t in (*source.spec.taints, *taints)]
    if source.spec.startup_taints:
        spec["startupTaints"] = [t.to_dict() for t in source.spec.startup_taints]
    marks = {
        **source.metadata.annotations,
        **(annotations or {}),
        labels.NODEPOOL_HASH: nodepool_hash(pool),
        labels.NODEPOOL_HASH_VERSION: NODEPOOL_VERSION,
    }
    if template.min_values_relaxed:
        marks[labels.MIN_VALUES_RELAXED] = "true"
    return {
        "apiVersion": f"{NodeClaim.GROUP}/{NodeClaim.VERSION}",
        "kind": NodeClaim.KIND,
        "metadata": {
            "generateName": f"{pool.name}-",
            "labels": {
                **_given(template.requirements),
                **source.metadata.labels,
                labels.NODEPOOL: pool.name,
                labels.NODECLASS: source.spec.node_class_ref.name,
            },
            "annotations": marks,
            "ownerReferences": [
                {
                    "apiVersion": f"{pool.GROUP}/{pool.VERSION}",
                    "kind": pool.KIND,
                    "name": pool.name,
                    "uid": pool.metadata.uid,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": spec,
    }


class ClaimCreator:
    """Creates NodeClaims and lets decisions know of them at once."""

    def __init__(self, api: KubernetesApi, state: ClusterState, metrics: Metrics) -> None:
        self._api = api
        self._state = state
        self._metrics = metrics

    async def create(
        self,
        pool: NodePool,
        template: ClaimTemplate,
        reason: str,
        annotations: Mapping[str, str] | None = None,
        taints: Sequence[Taint] = (),
    ) -> NodeClaim:
        """Create one NodeClaim; `reason` is the metric's (provisioned, drifted, ...).

        Raises `ApiError`.
        """
        marks = dict(annotations or {})
        if self._state.node_overlays.reflector.store:
            marks |= overlay_marks(template, self._state.types_of_pool(pool))
        body = claim_object(pool, template, marks, taints)
        claim = NodeClaim.from_dict(await self._api.create(NODE_CLAIMS, body))
        self._state.assume(claim)
        relaxed = str(template.min_values_relaxed).lower()
        self._metrics.nodeclaims_created.labels(reason, pool.name, relaxed).inc()
        return claim

    async def launch(
        self,
        node: NewNode,
        pool: NodePool,
        reason: str,
        annotations: Mapping[str, str],
        taints: Sequence[Taint] = (),
    ) -> NodeClaim:
        """Create the NodeClaim of a node that the solver wants. Raises `ApiError`."""
        return await self.create(pool, ClaimTemplate.of(node), reason, annotations, taints)


def _given(requirements: Iterable[RequirementSpec]) -> dict[str, str]:
    """Labels that users may see before the launch.

    They are those that the requirements fix, and for labels that are the users' own, where the
    requirements leave a choice, one of the values: the launch knows nothing of them, and a node
    without would have drifted at once.
    """
    found: dict[str, str] = {}
    for key, requirement in Requirements.of_specs(requirements).items():
        if labels.is_restricted_label(key):
            continue
        fixed = requirement.operator == "In" and len(requirement.values) == 1
        value = requirement.some_value()
        if value is not None and (fixed or key not in labels.WELL_KNOWN_LABELS):
            found[key] = value
    return found


def _requirement(requirement: RequirementSpec) -> dict[str, Any]:
    found: dict[str, Any] = {"key": requirement.key, "operator": requirement.operator}
    if requirement.values:
        found["values"] = list(requirement.values)
    if requirement.min_values is not None:
        found["minValues"] = requirement.min_values
    return found
