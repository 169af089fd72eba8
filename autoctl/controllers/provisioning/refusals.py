"""Telling people that kube-scheduler does not take nodes on which pods should fit."""

from __future__ import annotations

from typing import Final

from autoctl.api import core
from autoctl.controllers.runtime.events import Event, EventRecorder, ObjectReference
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.kubernetes import PODS
from autoctl.state.cluster import ClusterState
from autoctl.state.refusals import Outcome, Refusal
from autoctl.state.snapshot import Snapshot

REASON: Final = "SchedulerRefusedNode"
_TEXTS: Final = {
    Outcome.NODE: "{node} is left out for it until {until}",
    Outcome.ALL_NODES: "all nodes that are there are left out for it until {until}",
    Outcome.NO_NEW_NODE: "nor others made for it; nothing is launched for it until {until}",
}


def tell_refusals(
    state: ClusterState, snapshot: Snapshot, events: EventRecorder, metrics: Metrics
) -> None:
    """Publish what was left out since the last call, and how many pods are left alone."""
    for refusal in state.refusals.news():
        metrics.scheduler_refusals.labels(refusal.outcome.value).inc()
        pod = snapshot.pods.get(refusal.pod)
        if pod is not None and pod.metadata.uid == refusal.uid:
            claim = state.claim(refusal.target)
            node = claim.status.node_name if claim is not None else None
            events.publish(_event(pod, refusal, node or refusal.target))
    metrics.refused_pods.set(len(snapshot.resting))


def _event(pod: core.Pod, refusal: Refusal, node: str) -> Event:
    meta = pod.metadata
    until = refusal.until.strftime("%Y-%m-%dT%H:%M:%SZ")
    what = _TEXTS[refusal.outcome].format(node=node, until=until)
    verdict = next((c.message for c in pod.status.conditions or () if c.type == "PodScheduled"), "")
    told = f"{what}; it says: {verdict}" if verdict else what
    return Event(
        ObjectReference.of(PODS, meta.name, meta.namespace or "default", meta.uid),
        REASON,
        f"The pod should fit on {node}, but kube-scheduler does not take it: {told}",
        "Warning",
    )
