"""A cluster with autoctl in it, as the end-to-end tests look at it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from controlplane.installation import Installation, fetch
from controlplane.process import wait_for

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NODE_POOL = "karpenter.sh/nodepool"
NODE_CLAIM = "karpenter.sh/nodeclaim"
ENDED = ("shutting-down", "terminated")


class World:
    """What is in the cluster and in the simulated account, and waiting for it to change."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.plane = installation.plane

    # --- The account ------------------------------------------------------------------------------

    def account(self) -> dict[str, Any]:
        """See `autoctl.sim.cloud.state`."""
        body = fetch(self.installation.cloud_url + "/_sim/state")
        assert body is not None
        state: dict[str, Any] = json.loads(body)
        return state

    def instances(self, *, ended: bool = False) -> dict[str, dict[str, Any]]:
        """Instances by id: those that live, or all that ever were."""
        return {
            name: instance
            for name, instance in self.account()["instances"].items()
            if ended or instance["state"] not in ENDED
        }

    def requests(self, operation: str) -> list[dict[str, Any]]:
        """What the cloud's HTTP server was asked."""
        body = fetch(f"{self.installation.cloud_url}/_sim/log?operation={operation}")
        assert body is not None
        requests: list[dict[str, Any]] = json.loads(body)
        return requests

    # --- The cluster ------------------------------------------------------------------------------

    def node_claims(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.plane.get("nodeclaims")["items"]
        return items

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes of NodePools."""
        items: list[dict[str, Any]] = self.plane.get("nodes", "-l", NODE_POOL)["items"]
        return items

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.plane.get("pods", "-n", namespace)["items"]
        return items

    def leader(self) -> str:
        """The name of the operator that holds the Lease; empty when nobody does."""
        leases = self.plane.get("leases", "-n", self.installation.namespace)["items"]
        for lease in leases:
            if lease["metadata"]["name"] == "autoctl":
                return str(lease["spec"].get("holderIdentity") or "").rpartition("_")[0]
        return ""

    # --- Changes ----------------------------------------------------------------------------------

    def apply_pool(self) -> None:
        """The NodeClass and the Auto Mode NodePool `general-purpose`."""
        for name in ("nodeclass.yaml", "nodepool.yaml"):
            self.plane.kubectl("apply", "-f", EXAMPLES / name)
        self.plane.kubectl(
            "wait", "--for=condition=Ready", "nodepool/general-purpose", "--timeout=60s"
        )

    def deploy(self, namespace: str, replicas: int) -> None:
        self.plane.kubectl("apply", "-n", namespace, "-f", EXAMPLES / "workload.yaml")
        self.scale(namespace, replicas)

    def scale(self, namespace: str, replicas: int) -> None:
        self.plane.kubectl("scale", "deployment/inflate", "-n", namespace, f"--replicas={replicas}")

    # --- Outcomes ---------------------------------------------------------------------------------

    def ready_pods(self, namespace: str) -> int:
        status = self.plane.get("deployment", "inflate", "-n", namespace)["status"]
        return int(status.get("readyReplicas", 0))

    def at_rest(self) -> bool:
        """Every NodeClaim is initialized, and every instance belongs to one."""
        claims = self.node_claims()
        return all(condition(claim, "Initialized") for claim in claims) and len(claims) == len(
            self.instances()
        )

    def empty(self) -> bool:
        """Nothing is left of any node."""
        return not (self.node_claims() or self.nodes() or self.instances())

    def check_consistent(self) -> None:
        """NodeClaims, Nodes and instances are the same machines."""
        claims = {claim["status"]["providerID"] for claim in self.node_claims()}
        nodes = {node["spec"]["providerID"] for node in self.nodes()}
        instances = {
            f"aws:///{instance['zone']}/{name}" for name, instance in self.instances().items()
        }
        assert claims == nodes == instances

    def check_launched_once(self) -> None:
        """No NodeClaim ever had two instances."""
        launched = Counter(
            instance["tags"][NODE_CLAIM] for instance in self.instances(ended=True).values()
        )
        assert launched
        assert {claim: count for claim, count in launched.items() if count > 1} == {}

    def check_nothing_left(self) -> None:
        assert self.node_claims() == []
        assert self.nodes() == []
        assert self.instances() == {}
        assert self.account()["launchTemplates"] == {}

    def wait(self, what: str, condition: Any, timeout: float) -> None:
        """Wait for `condition()`; raises when it does not come or the cloud ends."""
        wait_for(what, condition, timeout=timeout, processes=[self.installation.cloud])


def condition(claim: dict[str, Any], kind: str) -> bool:
    conditions = claim.get("status", {}).get("conditions", ())
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)
