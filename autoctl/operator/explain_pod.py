"""`explain pod`: where a pod would go, or why nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoctl.api import core
from autoctl.operator.planning import node_claim_json
from autoctl.scheduling.problem import NewNode
from autoctl.scheduling.solve import solve
from autoctl.state.pods import (
    is_active,
    is_daemon,
    is_mirror,
    is_pending,
    is_terminating,
)
from autoctl.state.problem import displaced_pods, pending_pods, scheduling_problem
from autoctl.state.snapshot import Snapshot


class UnknownPodError(LookupError):
    """No pod of that name is in the snapshot."""


@dataclass(frozen=True)
class PodExplanation:
    """What becomes of a pod; `verdict` in a sentence, the rest where it applies.

    `placed_on` names a node that is there, `launched` a node that would be bought for it and
    others; `detail` says for each NodePool why not. `relaxed` lists preferences given up for it.
    """

    pod: str
    verdict: str
    placed_on: str | None = None
    launched: NewNode | None = None
    reason: str | None = None
    detail: Mapping[str, str] = field(default_factory=dict)
    relaxed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "autoctl.explain-pod/v1",
            "pod": self.pod,
            "verdict": self.verdict,
            "placedOn": self.placed_on,
            "nodeClaim": (
                None
                if self.launched is None
                else node_claim_json(self.launched, f"{self.launched.pool}-00001")
            ),
            "reason": self.reason,
            "detail": dict(sorted(self.detail.items())),
            "relaxed": list(self.relaxed),
        }


def explain_pod(snapshot: Snapshot, key: str) -> PodExplanation:
    """Explain the pod `namespace/name`. Raises `UnknownPodError`.

    It is decided together with all other pending pods, as provisioning decides.
    """
    pod = snapshot.pods.get(key)
    if pod is None:
        raise UnknownPodError(f"there is no pod {key!r}")
    settled = _settled(pod)
    if settled is not None:
        return PodExplanation(key, settled)
    promised = snapshot.nominations.get(key)
    if promised is not None:
        return PodExplanation(key, f"promised to {promised}", placed_on=promised)
    waiting = (*pending_pods(snapshot), *displaced_pods(snapshot))
    solution = solve(scheduling_problem(snapshot, pods=waiting, reserve=snapshot.reserve))
    relaxed = solution.relaxed.get(key, ())
    if key in solution.placements:
        node = solution.placements[key]
        return PodExplanation(key, f"fits on {node}, which is there", node, relaxed=relaxed)
    for new in solution.new_nodes:
        if key in new.pods:
            others = len(new.pods) - 1
            company = f" with {others} other pod{'s' if others > 1 else ''}" if others else ""
            offer = f"{new.offer.instance_type} in {new.offer.zone} ({new.offer.capacity_type})"
            return PodExplanation(
                key,
                f"NodePool {new.pool} would launch {offer} for it{company}",
                launched=new,
                relaxed=relaxed,
            )
    why = solution.unschedulable[key]
    return PodExplanation(
        key, "cannot be placed", reason=why.reason, detail=why.detail, relaxed=relaxed
    )


def _settled(pod: core.Pod) -> str | None:
    """Why nothing is decided about the pod, if so."""
    if pod.spec.node_name:
        return f"runs on {pod.spec.node_name}"
    if is_terminating(pod):
        return "is being deleted"
    if not is_active(pod):
        return f"has ended ({pod.status.phase})"
    if is_daemon(pod) or is_mirror(pod):
        return "belongs to a node: no node is launched for it"
    if pod.spec.scheduling_gates:
        gates = ", ".join(g.name for g in pod.spec.scheduling_gates)
        return f"waits for its scheduling gates: {gates}"
    if not is_pending(pod):
        return f"is left to its scheduler, {pod.spec.scheduler_name}"
    return None
