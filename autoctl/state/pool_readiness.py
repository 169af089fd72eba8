"""Which NodePools may launch nodes for pods now, and why the others may not."""

from __future__ import annotations

from autoctl.api.meta import find_condition
from autoctl.api.nodeclass import READY as CLASS_READY
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import (
    NODE_CLASS_READY,
    READY,
    VALIDATION_SUCCEEDED,
    NodePool,
)
from autoctl.api.runtime import runtime_validate
from autoctl.scheduling.requirements import Requirement, RequirementError, Requirements
from autoctl.state.snapshot import Snapshot


def spec_fault(pool: NodePool) -> str | None:
    """What admission cannot see and makes the pool unable to launch (`ValidationSucceeded`).

    Labels, taints and requirements that no node can have, requirements that contradict each other.
    """
    if errors := runtime_validate(pool):
        return "; ".join(errors)
    given = pool.spec.template.spec.requirements
    try:
        together = Requirements(Requirement.of(r.key, r.operator, r.values) for r in given)
    except RequirementError as error:
        return str(error)
    asked = {r.key for r in given if r.operator != "DoesNotExist"}
    for key, requirement in together.items():
        if key in asked and requirement.operator == "DoesNotExist":
            return f"requirements on {key} contradict each other"
    return None


def why_closed(snapshot: Snapshot, pool: NodePool) -> str | None:
    """Why the pool launches nothing for pods; None when it may.

    A pool that no operator has judged yet (a manifest) is judged here.
    """
    if pool.is_static:
        return "it is static: its nodes follow spec.replicas, not pods"
    if pool.deleting:
        return "it is being deleted"
    condition = find_condition(pool.status.conditions, READY)
    if condition is not None and condition.status != "True":
        return f"it is not ready: {_cause(pool)}"
    if condition is None and (fault := spec_fault(pool)):
        return fault
    reference = pool.spec.template.spec.node_class_ref
    node_class = snapshot.node_classes.get(reference.name)
    if node_class is not None and (why := class_fault(node_class)):
        return f"{reference.kind} {reference.name!r} {why}"
    if not snapshot.instance_types.get(reference.name):
        if node_class is None:
            return f"{reference.kind} {reference.name!r} not found"
        return f"{reference.kind} {reference.name!r} is not ready, or offers no instance type"
    return None


def class_fault(node_class: NodeClass) -> str | None:
    """Why nothing is launched from the class; one that nobody has judged yet counts as ready."""
    if node_class.deleting:
        return "is being deleted"
    condition = find_condition(node_class.status.conditions, CLASS_READY)
    if condition is None or condition.status != "False":
        return None
    return f"is not ready: {condition.message or condition.reason}"


def _cause(pool: NodePool) -> str:
    """What the conditions under `Ready` say; if they say nothing, what it says itself."""
    failed = [c for c in pool.status.conditions if c.status == "False"]
    causes = [c for c in failed if c.type in (NODE_CLASS_READY, VALIDATION_SUCCEEDED)]
    told = [c.message or c.reason for c in causes or failed]
    return "; ".join(told) or "its conditions are not known yet"
