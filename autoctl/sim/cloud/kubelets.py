"""What happens in a cluster when simulated instances boot and end.

A booted instance's kubelet creates its Node and CSINode; when the instance is gone, the cloud
controller deletes the Node, as it does in a real cluster. Keeping nodes ready (with the Lease that
tells so) and pods running is not done here: KWOK does it on a real API server, at once only for
nodes whose Leases it makes itself.
"""

from __future__ import annotations

import asyncio

import structlog

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import AlreadyExists, ApiError, KubernetesApi, NotFound, Object
from autoctl.sim.cloud.ec2.records import InstanceRecord
from autoctl.sim.cloud.nodes import NodeRegistration, UserDataError, registration

RETRY_SECONDS = 1.0

logger = structlog.get_logger(__name__)


class KubeletFleet:
    """The kubelets of all instances; `register` and `remove` are a cloud's hooks."""

    def __init__(self, api: KubernetesApi, region: str) -> None:
        self._api = api
        self._region = region

    async def register(self, instance: InstanceRecord) -> None:
        """Create the Node of a booted instance. User data it could not join with: nothing.

        Like a kubelet it tries again for as long as the instance lives.
        """
        try:
            node = registration(instance, self._region)
        except UserDataError as error:
            logger.warning("instance cannot join", instance=instance.instance_id, error=str(error))
            return
        while instance.alive:
            try:
                await self._join(node)
            except ApiError as error:
                logger.warning("node not registered", node=node.name, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _join(self, node: NodeRegistration) -> None:
        try:
            created = await self._api.create(k8s.NODES, node.manifest())
        except AlreadyExists:
            created = await self._api.get(k8s.NODES, node.name)
        try:
            await self._api.create(k8s.CSI_NODES, _csi_node(node, created))
        except AlreadyExists:
            logger.debug("CSINode exists already", node=node.name)

    async def remove(self, instance: InstanceRecord) -> None:
        """Delete the Node of an instance that has ended, however often that takes."""
        while True:
            try:
                await self._api.delete(k8s.NODES, instance.instance_id)
            except NotFound:
                return
            except ApiError as error:
                logger.warning("node not deleted", node=instance.instance_id, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return


def _csi_node(node: NodeRegistration, created: Object) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": node.name, "ownerReferences": [_owner(created)]},
        "spec": {
            "drivers": [
                {
                    "name": driver,
                    "nodeID": node.name,
                    "topologyKeys": ["topology.kubernetes.io/zone"],
                    "allocatable": {"count": limit},
                }
                for driver, limit in node.csi_drivers.items()
            ]
        },
    }


def _owner(node: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "name": node["metadata"]["name"],
        "uid": node["metadata"]["uid"],
    }
