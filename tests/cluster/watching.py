"""Watches that see every state a cluster passes through, not only those a poll happens upon."""

from __future__ import annotations

import json
import math
import subprocess
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from e2e import condition

from controlplane import build
from controlplane.plane import ControlPlane

Objects = Mapping[str, dict[str, Any]]


class Watch:
    """Measures the objects of one path after each event, while it is open."""

    def __init__(self, plane: ControlPlane, path: str, measure: Callable[[Objects], int]) -> None:
        self.values: list[int] = []
        self._measure = measure
        self._objects: dict[str, dict[str, Any]] = {}
        self._process = subprocess.Popen(
            [
                str(build.program("kubectl")),
                f"--kubeconfig={plane.kubeconfig}",
                "get",
                "--raw",
                f"{path}?watch=true",
            ],
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, name=f"watch {path}")

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended = self._process.poll()
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        assert ended is None, f"the watch ended early, with {ended}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            name = event["object"]["metadata"]["name"]
            if event["type"] == "DELETED":
                self._objects.pop(name, None)
            else:
                self._objects[name] = event["object"]
            self.values.append(self._measure(self._objects))


def ready_pods(pods: Objects) -> int:
    """Pods that a PodDisruptionBudget counts as healthy."""
    return sum(
        condition(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]
        for pod in pods.values()
    )


def over_budget(share: float) -> Callable[[Objects], int]:
    """How many more NodeClaims are on their way out than a budget of this share allows.

    As Karpenter counts: without those whose instances end already.
    """

    def measure(claims: Objects) -> int:
        counted = [
            claim
            for claim in claims.values()
            if condition(claim, "Initialized") and not condition(claim, "InstanceTerminating")
        ]
        going = sum(
            "deletionTimestamp" in claim["metadata"] or condition(claim, "DisruptionReason")
            for claim in counted
        )
        return going - math.ceil(len(counted) * share)

    return measure
