"""Kubelets: what happens to a pod on its node, from binding to the end.

Annotations on a pod say how it behaves (seconds; `never` where it should not happen):
`simulate.autoctl.io/start-seconds`, `…/ready-seconds`, `…/termination-seconds`, and for pods that
end by themselves `…/run-seconds` and `…/exit-code`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster.runtime import Wheel
from autoctl.sim.cluster.server import Server, is_true, set_condition
from autoctl.sim.cluster.store import timestamp
from autoctl.sim.cluster.timings import Timings

PREFIX: Final = "simulate.autoctl.io/"
_NEVER: Final = "never"


class Kubelets:
    """All kubelets of the cluster. Not modelled: probes, restarts, image pulls one by one."""

    def __init__(
        self,
        server: Server,
        wheel: Wheel,
        timings: Timings,
        volumes_ready: Callable[[Object], bool],
    ) -> None:
        self._server = server
        self._store = server.store
        self._wheel = wheel
        self._timings = timings
        self._volumes_ready = volumes_ready
        self._silent: set[str] = set()
        self._starting: set[str] = set()
        self._ending: dict[str, str] = {}
        self._addresses = 0

    def start(self) -> None:
        """Subscribe, and take up the pods that are there already."""
        self._store.subscribe(k8s.PODS, self._pod_changed)
        self._store.subscribe(k8s.NODES, self._node_changed)
        self._store.subscribe(k8s.VOLUME_ATTACHMENTS, self._attachment_changed)
        self._look_at(list(self._store.objects(k8s.PODS)))

    def silence(self, node: str) -> None:
        """The kubelet stops: its pods neither start nor end, its heartbeats cease."""
        self._silent.add(node)

    def revive(self, node: str) -> None:
        """The kubelet is back and does what was left undone."""
        self._silent.discard(node)
        self._look_at(self._store.pods_on(node))

    def is_silent(self, node: str) -> bool:
        """Whether the node's kubelet has stopped."""
        return node in self._silent

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        if after is not None:
            self._look_at([after])
        elif before is not None:
            self._ending.pop(before["metadata"]["uid"], None)
            self._starting.discard(before["metadata"]["uid"])

    def _node_changed(self, before: Object | None, after: Object | None) -> None:
        if after is None:
            assert before is not None
            self._silent.discard(before["metadata"]["name"])
        elif is_true(after, "Ready") and (before is None or not is_true(before, "Ready")):
            self._look_at(self._store.pods_on(after["metadata"]["name"]))

    def _attachment_changed(self, _: Object | None, after: Object | None) -> None:
        if after is not None and (after.get("status") or {}).get("attached"):
            self._look_at(self._store.pods_on(after["spec"]["nodeName"]))

    def _look_at(self, pods: Iterable[Object]) -> None:
        for pod in pods:
            metadata = pod["metadata"]
            uid, node = metadata["uid"], pod["spec"].get("nodeName")
            if not node or node in self._silent:
                continue
            if metadata.get("deletionTimestamp"):
                self._begin_ending(pod)
            elif uid not in self._starting and self._can_start(pod):
                self._starting.add(uid)
                seconds = _seconds(pod, "start-seconds", self._timings.pod_start)
                self._later(seconds, partial(self._run, uid))
            elif (pod.get("status") or {}).get("phase") == "Running" and uid not in self._starting:
                # A pod that was running before the simulation began.
                self._starting.add(uid)
                self._plan_completion(pod)

    def _can_start(self, pod: Object) -> bool:
        if (pod.get("status") or {}).get("phase") != "Pending":
            return False
        node = self._store.get(k8s.NODES, pod["spec"]["nodeName"])
        return node is not None and is_true(node, "Ready") and self._volumes_ready(pod)

    def _run(self, uid: str) -> None:
        pod = self._mine(uid)
        if pod is None:
            self._starting.discard(uid)
            return
        ready_after = _seconds(pod, "ready-seconds", self._timings.pod_ready)
        now = self._store.now()
        self._addresses += 1
        conditions = (pod.get("status") or {}).get("conditions")
        for type_ in ("PodReadyToStartContainers", "Initialized"):
            conditions = set_condition(conditions, type_, "True", now=now)
        ready = "True" if ready_after <= 0 else "False"
        for type_ in ("Ready", "ContainersReady"):
            conditions = set_condition(conditions, type_, ready, now=now)
        status = {
            "phase": "Running",
            "conditions": conditions,
            "startTime": timestamp(now),
            "podIP": _address(self._addresses),
            "podIPs": [{"ip": _address(self._addresses)}],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container.get("image", ""),
                    "ready": ready == "True",
                    "started": True,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": timestamp(now)}},
                }
                for container in pod["spec"]["containers"]
            ],
        }
        pod = self._server.mutate(k8s.PODS, pod, status=status)
        if ready == "False":
            self._later(ready_after, partial(self._become_ready, uid))
        self._plan_completion(pod)

    def _plan_completion(self, pod: Object) -> None:
        if pod["spec"].get("restartPolicy") in ("Never", "OnFailure"):
            seconds = _seconds(pod, "run-seconds", self._timings.pod_run)
            self._later(seconds, partial(self._complete, pod["metadata"]["uid"]))

    def _become_ready(self, uid: str) -> None:
        pod = self._mine(uid)
        if pod is None or pod["status"]["phase"] != "Running":
            return
        conditions = pod["status"]["conditions"]
        for type_ in ("Ready", "ContainersReady"):
            conditions = set_condition(conditions, type_, "True", now=self._store.now())
        statuses = [{**s, "ready": True} for s in pod["status"]["containerStatuses"]]
        self._server.mutate(
            k8s.PODS, pod, status={"conditions": conditions, "containerStatuses": statuses}
        )

    def _complete(self, uid: str) -> None:
        pod = self._mine(uid)
        if pod is None or pod["status"]["phase"] != "Running":
            self._starting.discard(uid)
            return
        code = int((pod["metadata"].get("annotations") or {}).get(PREFIX + "exit-code", "0"))
        self._end_containers(pod, "Succeeded" if code == 0 else "Failed", code)

    def _end_containers(self, pod: Object, phase: str, code: int) -> Object:
        now = self._store.now()
        conditions = (pod.get("status") or {}).get("conditions")
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        for type_ in ("Ready", "ContainersReady"):
            conditions = set_condition(conditions, type_, "False", now=now, reason=reason)
        statuses = [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "ready": False,
                "restartCount": 0,
                "state": {"terminated": {"exitCode": code, "finishedAt": timestamp(now)}},
            }
            for container in pod["spec"]["containers"]
        ]
        return self._server.mutate(
            k8s.PODS,
            pod,
            status={"phase": phase, "conditions": conditions, "containerStatuses": statuses},
        )

    def _begin_ending(self, pod: Object) -> None:
        metadata = pod["metadata"]
        uid, deadline = metadata["uid"], metadata["deletionTimestamp"]
        if self._ending.get(uid) == deadline:
            return
        self._ending[uid] = deadline
        grace = float(metadata.get("deletionGracePeriodSeconds") or 0)
        seconds = _seconds(pod, "termination-seconds", self._timings.pod_termination)
        self._wheel.after(min(grace, seconds), partial(self._end, uid))

    def _end(self, uid: str) -> None:
        found = self._store.by_uid(uid)
        if found is None:
            return
        pod = found[1]
        if pod["spec"]["nodeName"] in self._silent:
            self._ending.pop(uid, None)
            return
        if (pod.get("status") or {}).get("phase") in ("Pending", "Running"):
            pod = self._end_containers(pod, "Failed", 143)
        # With a finalizer the object stays, terminated, until its owner lets go of it.
        metadata = pod["metadata"]
        self._server.delete(
            k8s.PODS, metadata["name"], metadata["namespace"], uid=uid, grace_period_seconds=0
        )

    def _mine(self, uid: str) -> Object | None:
        """The pod, if its kubelet can still act on it."""
        found = self._store.by_uid(uid)
        if found is None or found[1]["metadata"].get("deletionTimestamp"):
            return None
        pod = found[1]
        node = pod["spec"]["nodeName"]
        return None if node in self._silent else pod

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        if math.isfinite(seconds):
            self._wheel.after(seconds, action)


def _seconds(pod: Object, name: str, default: float) -> float:
    text = (pod["metadata"].get("annotations") or {}).get(PREFIX + name)
    if text is None:
        return default
    return math.inf if text == _NEVER else float(text)


def _address(number: int) -> str:
    return f"100.{64 + (number >> 16 & 63)}.{number >> 8 & 255}.{number & 255}"
