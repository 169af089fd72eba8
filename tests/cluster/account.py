"""The simulated AWS account of the cluster tests: what is in it, and what happens to it."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import boto3

from controlplane.installation import Installation, fetch

ENDED = ("shutting-down", "terminated")


class Account:
    """Talks to the server that `autoctl cloud` is."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def client(self, service: str) -> Any:
        """A boto3 client, made as the operator's are."""
        environment = self._installation.aws_environment
        return boto3.client(
            service,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    def state(self) -> dict[str, Any]:
        """See `autoctl.sim.cloud.state`."""
        state: dict[str, Any] = self._read("state")
        return state

    def instances(self, *, ended: bool = False) -> dict[str, dict[str, Any]]:
        """Instances by id: those that live, or all that ever were."""
        return {
            name: instance
            for name, instance in self.state()["instances"].items()
            if ended or instance["state"] not in ENDED
        }

    def requests(self, operation: str) -> list[dict[str, Any]]:
        """What the server was asked over HTTP, with how it answered."""
        requests: list[dict[str, Any]] = self._read(f"log?operation={operation}")
        return requests

    def strike(self, **fault: Any) -> None:
        """Let a fault (as in a scenario) hit the account."""
        self._post("faults", fault)

    def deny(self, *actions: str) -> None:
        """Refuse these actions from now on, and no others."""
        self._post("denied", list(actions))

    def _read(self, what: str) -> Any:
        body = fetch(f"{self._installation.cloud_url}/_sim/{what}")
        assert body is not None, f"no answer from /_sim/{what}"
        return json.loads(body)

    def _post(self, what: str, body: Any) -> None:
        request = urllib.request.Request(  # noqa: S310 -- of this machine
            f"{self._installation.cloud_url}/_sim/{what}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
