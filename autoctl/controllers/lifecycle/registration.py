"""Making a Node that joined the NodeClaim's own: pure decisions.

The Node gets the NodeClaim's labels, annotations and taints, its finalizer and its owner, and loses
the taint it was born with, which kept pods away until then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from autoctl.api import core, labels
from autoctl.api.labels import STEERED, TERMINATION_FINALIZER, UNREGISTERED_TAINT
from autoctl.api.nodeclaim import NodeClaim
from autoctl.controllers.steering import HOLD
from autoctl.ports.kubernetes import Object
from autoctl.scheduling.problem import RequirementSpec
from autoctl.state.problem import core_taints


def has_unregistered_taint(node: core.Node) -> bool:
    return any(
        t.key == UNREGISTERED_TAINT and t.effect == "NoExecute" for t in node.spec.taints or ()
    )


def is_registered(node: core.Node) -> bool:
    return (node.metadata.labels or {}).get(labels.REGISTERED) == "true"


def single_values(requirements: Iterable[RequirementSpec]) -> dict[str, str]:
    """The labels that requirements fix: `In` with one value."""
    return {
        labels.normalize_label(r.key): r.values[0]
        for r in requirements
        if r.operator == "In" and len(r.values) == 1
    }


def registration_patch(node: core.Node, claim: NodeClaim, *, steered: bool = False) -> Object:
    """The merge patch that registers the Node; optimistic, as it replaces lists.

    A node to which pods are `steered` is marked, and takes no pods yet. Where a startup taint keeps
    them away already there is no other taint: who removes it may not tolerate one. Nor is there one
    where somebody else looks after the taints.
    """
    metadata: dict[str, Any] = {
        "resourceVersion": node.metadata.resource_version,
        "labels": {**claim.metadata.labels, labels.REGISTERED: "true"},
        "annotations": _copied_annotations(claim),
    }
    finalizers = list(node.metadata.finalizers or ())
    if TERMINATION_FINALIZER not in finalizers:
        metadata["finalizers"] = [*finalizers, TERMINATION_FINALIZER]
    owners = [_owner(o) for o in node.metadata.owner_references or ()]
    if all(o["uid"] != claim.metadata.uid for o in owners):
        metadata["ownerReferences"] = [*owners, _claim_owner(claim)]
    wanted = _registered_taints(node, claim)
    if steered:
        metadata["annotations"] = {**metadata["annotations"], STEERED: "true"}
        if not claim.spec.startup_taints and not _minds_its_taints(node):
            wanted += core_taints((HOLD,))
    taints = [_taint(t) for t in wanted]
    return {"metadata": metadata, "spec": {"taints": taints or None}}


def _registered_taints(node: core.Node, claim: NodeClaim) -> list[core.Taint]:
    kept = [t for t in node.spec.taints or () if t.key != UNREGISTERED_TAINT]
    if _minds_its_taints(node):
        return kept
    present = {(t.key, t.effect) for t in kept}
    wanted = (*core_taints(claim.spec.taints), *core_taints(claim.spec.startup_taints))
    return kept + [t for t in wanted if (t.key, t.effect) not in present]


def _minds_its_taints(node: core.Node) -> bool:
    return (node.metadata.labels or {}).get(labels.DO_NOT_SYNC_TAINTS) == "true"


_NOT_COPIED = frozenset(
    {
        labels.TERMINATION_TIMESTAMP,
        labels.INSTANCE_TAGGED,
        labels.MIN_VALUES_RELAXED,
        "kubectl.kubernetes.io/last-applied-configuration",
    }
)
"""Annotations that speak of the NodeClaim alone."""


def _copied_annotations(claim: NodeClaim) -> dict[str, str]:
    return {k: v for k, v in claim.metadata.annotations.items() if k not in _NOT_COPIED}


def _taint(taint: core.Taint) -> dict[str, str]:
    found = {"key": taint.key, "effect": taint.effect}
    return found | ({"value": taint.value} if taint.value else {})


def _owner(owner: core.OwnerReference) -> dict[str, Any]:
    found: dict[str, Any] = {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
    }
    if owner.controller is not None:
        found["controller"] = owner.controller
    if owner.block_owner_deletion is not None:
        found["blockOwnerDeletion"] = owner.block_owner_deletion
    return found


def _claim_owner(claim: NodeClaim) -> dict[str, Any]:
    return {
        "apiVersion": f"{claim.GROUP}/{claim.VERSION}",
        "kind": claim.KIND,
        "name": claim.name,
        "uid": claim.metadata.uid,
        "blockOwnerDeletion": True,
    }
