"""What is left in the account or the cluster that nobody owns."""

from __future__ import annotations

from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_CLASSES, NODE_POOLS
from autoctl.sim.cloud.cloud import SimulatedCloud
from autoctl.sim.cluster.cluster import SimCluster
from autoctl.simulate.result import Leaks


def find_leaks(cluster: SimCluster, cloud: SimulatedCloud) -> Leaks:
    """Instances without a NodeClaim, NodeClaims without a NodePool, launch templates and network
    interfaces without a user."""
    claims = list(cluster.objects(NODE_CLAIMS))
    owned = {c.get("status", {}).get("providerID", "") for c in claims}
    pools = {p["metadata"]["name"] for p in cluster.objects(NODE_POOLS)}
    classes = {c["metadata"]["name"] for c in cluster.objects(NODE_CLASSES)}
    alive = cloud.ec2.instances.alive()
    attached = {
        interface.interface_id
        for instance in cloud.ec2.instances.records.values()
        for interface in instance.interfaces
    }
    return Leaks(
        instances=tuple(sorted(i.instance_id for i in alive if i.provider_id not in owned)),
        network_interfaces=tuple(sorted(set(cloud.ec2.network.interfaces) - attached)),
        launch_templates=tuple(
            sorted(
                t.name
                for t in cloud.ec2.templates.templates.values()
                if t.tags.get("eks:kubernetes-node-class-name") not in classes
            )
        ),
        node_claims=tuple(
            sorted(
                c["metadata"]["name"]
                for c in claims
                if c["metadata"].get("labels", {}).get("karpenter.sh/nodepool") not in pools
            )
        ),
    )


def orphans(cluster: SimCluster, cloud: SimulatedCloud) -> int:
    """How many things nobody owns."""
    return find_leaks(cluster, cloud).count
