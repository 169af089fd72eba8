"""A cluster with autoctl in it, as the end-to-end tests look at it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from account import Account

from controlplane.installation import Installation
from controlplane.process import wait_for

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MANIFESTS = Path(__file__).resolve().parent / "manifests"
NODE_ROLE = "AmazonEKSAutoNodeRole"
NODE_POOL = "karpenter.sh/nodepool"
NODE_CLAIM = "karpenter.sh/nodeclaim"


class World:
    """What is in the cluster and in the simulated account, and waiting for it to change."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.plane = installation.plane
        self.account = Account(installation)

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

    def apply_auto_mode(self) -> None:
        """The NodePool `general-purpose` and the NodeClass `default`, as EKS keeps them."""
        self.apply_node_class()
        self.apply_pool("general-purpose")

    def apply_node_class(self) -> None:
        """The NodeClass `default`, with the role, subnets and security group of the cluster."""
        cluster = self.account.client("eks").describe_cluster(name=self.installation.cluster_name)[
            "cluster"
        ]
        network = cluster["resourcesVpcConfig"]
        node_class = read_manifest("default")
        node_class["spec"] |= {
            "role": NODE_ROLE,
            "subnetSelectorTerms": [{"id": name} for name in network["subnetIds"]],
            "securityGroupSelectorTerms": [{"id": network["clusterSecurityGroupId"]}],
        }
        self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(node_class))

    def apply_pool(self, manifest: str) -> None:
        """Apply a NodePool from `manifests/` and wait until it is ready."""
        path = MANIFESTS / f"{manifest}.yaml"
        self.plane.kubectl("apply", "-f", path)
        self.plane.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "-f", path)

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
            self.account.instances()
        )

    def empty(self) -> bool:
        """Nothing is left of any node."""
        return not (self.node_claims() or self.nodes() or self.account.instances())

    def without_launch_templates(self) -> bool:
        return not self.account.state()["launchTemplates"]

    def check_consistent(self) -> None:
        """NodeClaims, Nodes and instances are the same machines."""
        claims = {claim["status"]["providerID"] for claim in self.node_claims()}
        nodes = {node["spec"]["providerID"] for node in self.nodes()}
        instances = {
            f"aws:///{instance['zone']}/{name}"
            for name, instance in self.account.instances().items()
        }
        assert claims == nodes == instances

    def check_launched_once(self) -> None:
        """No NodeClaim ever had two instances, and each instance was asked for over HTTP."""
        instances = self.account.instances(ended=True).values()
        launched = Counter(instance["tags"][NODE_CLAIM] for instance in instances)
        assert launched
        assert {claim: count for claim, count in launched.items() if count > 1} == {}
        tokens = {
            request["params"]["ClientToken"]
            for request in self.account.requests("CreateFleet")
            if request["outcome"] == "ok"
        }
        assert {instance["clientToken"] for instance in instances} <= tokens

    def check_nothing_left(self) -> None:
        assert self.node_claims() == []
        assert self.nodes() == []
        assert self.account.instances() == {}
        assert self.without_launch_templates()

    def troubles(self) -> list[dict[str, Any]]:
        """What the operators' logs tell above information, in the JSON form of the default."""
        lines = [
            json.loads(line)
            for operator in self.installation.operators.values()
            for line in operator.process.log.read_text().splitlines()
        ]
        return [line for line in lines if line["level"] not in ("debug", "info")]

    def wait(self, what: str, condition: Any, timeout: float) -> None:
        """Wait for `condition()`; raises when it does not come or the cloud ends."""
        wait_for(what, condition, timeout=timeout, processes=[self.installation.cloud])


def condition(claim: dict[str, Any], kind: str) -> bool:
    conditions = claim.get("status", {}).get("conditions", ())
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def read_manifest(name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text())
    return manifest
