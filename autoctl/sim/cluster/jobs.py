"""Jobs: pods that run to completion."""

from __future__ import annotations

from functools import partial

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Object
from autoctl.sim.cluster import pods
from autoctl.sim.cluster.runtime import Controller
from autoctl.sim.cluster.server import controller_of, is_true, set_condition
from autoctl.sim.cluster.store import Key, key_of, timestamp

_INDEX = "batch.kubernetes.io/job-completion-index"


class Jobs(Controller[Key]):
    """Parallelism, completions (counted or indexed), backoffLimit, suspension, TTL.

    A pod that is deleted before it succeeded counts as failed, as the job controller counts it. Not
    modelled: pod failure policies, success policies, back-off between retries, deadlines.
    """

    def start(self) -> None:
        """See `Controller.start`."""
        self.store.subscribe(k8s.JOBS, self._changed)
        self.store.subscribe(k8s.PODS, self._pod_changed)
        for obj in list(self.store.objects(k8s.JOBS)):
            self.enqueue(key_of(obj))

    def _changed(self, _: Object | None, after: Object | None) -> None:
        if after is not None:
            self.enqueue(key_of(after))

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        pod = after or before
        assert pod is not None
        owner = controller_of(pod)
        if owner is None or owner["kind"] != "Job":
            return
        self.enqueue((pod["metadata"]["namespace"], owner["name"]))
        if before is not None and _outcome(before) is None:
            outcome = "failed" if after is None else _outcome(after)
            if outcome is not None:
                self._count(owner, pod, outcome)

    def _count(self, owner: Object, pod: Object, outcome: str) -> None:
        job = self.store.get(k8s.JOBS, owner["name"], pod["metadata"]["namespace"])
        if job is None or job["metadata"]["uid"] != owner["uid"]:
            return
        if job["spec"].get("suspend") or is_true(job, "Complete") or is_true(job, "Failed"):
            return
        status = job.get("status") or {}
        change: Object = {outcome: status.get(outcome, 0) + 1}
        index = (pod["metadata"].get("annotations") or {}).get(_INDEX)
        if outcome == "succeeded" and index is not None:
            done = [int(i) for i in status.get("completedIndexes", "").split(",") if i]
            change["completedIndexes"] = ",".join(str(i) for i in sorted({*done, int(index)}))
        self.server.mutate(k8s.JOBS, job, status=change)

    def reconcile(self, key: Key) -> None:
        """See `Controller.reconcile`."""
        job = self.store.get(k8s.JOBS, key[1], key[0])
        if job is None or job["metadata"].get("deletionTimestamp"):
            return
        if is_true(job, "Complete") or is_true(job, "Failed"):
            return
        spec, status = job["spec"], job.get("status") or {}
        active = [p for p in pods.owned(self.store, job, k8s.PODS) if pods.is_active(p)]
        completions = spec.get("completions")
        succeeded, failed = status.get("succeeded", 0), status.get("failed", 0)
        finished = ""
        if failed > spec.get("backoffLimit", 6):
            finished = "Failed"
        elif completions is None:
            finished = "Complete" if succeeded and not active else ""
        elif succeeded >= completions:
            finished = "Complete"
        if finished or spec.get("suspend"):
            for pod in active:
                pods.delete_pod(self.server, pod)
        else:
            wanted = spec.get("parallelism", 1)
            if completions is not None:
                wanted = min(wanted, completions - succeeded)
            elif succeeded:
                wanted = len(active)
            for pod in sorted(active, key=pods.deletion_order)[: max(len(active) - wanted, 0)]:
                pods.delete_pod(self.server, pod)
            self._create(job, active, max(wanted - len(active), 0))
        self._write_status(job, finished)

    def _create(self, job: Object, active: list[Object], count: int) -> None:
        indexed = job["spec"].get("completionMode") == "Indexed"
        taken = {
            int(i) for i in (job.get("status") or {}).get("completedIndexes", "").split(",") if i
        }
        taken |= {int((p["metadata"].get("annotations") or {}).get(_INDEX, "-1")) for p in active}
        free = [i for i in range(job["spec"].get("completions") or 0) if i not in taken]
        labels = {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
        labels["job-name"] = job["metadata"]["name"]
        labels["batch.kubernetes.io/controller-uid"] = job["metadata"]["uid"]
        for number in range(count):
            index = {_INDEX: str(free[number])} if indexed else {}
            pods.create_pod(
                self.server,
                k8s.JOBS,
                job,
                job["spec"]["template"],
                labels={**labels, **index},
                annotations=index,
            )

    def _write_status(self, job: Object, finished: str) -> None:
        now = self.store.now()
        current = self.server.get(k8s.JOBS, job["metadata"]["name"], job["metadata"]["namespace"])
        mine = [p for p in pods.owned(self.store, current, k8s.PODS) if pods.is_active(p)]
        status: Object = {
            "active": len(mine),
            "ready": sum(1 for pod in mine if pods.is_ready(pod)),
            "startTime": (current.get("status") or {}).get("startTime") or timestamp(now),
        }
        if finished:
            status["conditions"] = set_condition(
                (current.get("status") or {}).get("conditions"), finished, "True", now=now
            )
            if finished == "Complete":
                status["completionTime"] = timestamp(now)
            ttl = job["spec"].get("ttlSecondsAfterFinished")
            if ttl is not None:
                self.wheel.after(ttl, partial(self._expire, job["metadata"]["uid"]))
        self.server.mutate(k8s.JOBS, current, status=status)

    def _expire(self, uid: str) -> None:
        found = self.store.by_uid(uid)
        if found is not None:
            metadata = found[1]["metadata"]
            self.server.delete(k8s.JOBS, metadata["name"], metadata["namespace"], uid=uid)


def _outcome(pod: Object) -> str | None:
    phase = (pod.get("status") or {}).get("phase")
    return {"Succeeded": "succeeded", "Failed": "failed"}.get(phase or "")
