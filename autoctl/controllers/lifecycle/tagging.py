"""`nodeclaim.tagging`: writes the NodeClaim's name on its instance, once."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoctl.api.labels import INSTANCE_TAGGED
from autoctl.api.nodeclaim import NodeClaim
from autoctl.aws.errors import CloudError, Kind
from autoctl.aws.instances import Instances, instance_id
from autoctl.aws.tags import CLUSTER, KARPENTER_CLAIM, NAME
from autoctl.controllers.objects import write_metadata
from autoctl.controllers.runtime.controller import DONE, Result
from autoctl.ports.kubernetes import NODE_CLAIMS, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState
from autoctl.state.own_writes import LAG_SECONDS


@dataclass
class TaggingController:
    """One NodeClaim a reconcile; concurrency and AWS's rate limit keep it slow."""

    api: KubernetesApi
    state: ClusterState
    instances: Instances
    cluster_name: str
    name: str = "nodeclaim.tagging"
    _tagged: set[str] = field(default_factory=set)
    """Instances whose NodeClaim's annotation the mirror may not show yet."""

    async def reconcile(self, key: str) -> Result:
        claim = self.state.claim(key)
        if claim is None or claim.deleting or not claim.registered:
            if claim is not None and claim.deleting:
                self._tagged.discard(claim.status.provider_id or "")
            return DONE
        provider_id = claim.status.provider_id
        if provider_id is None or claim.metadata.annotations.get(INSTANCE_TAGGED) == "true":
            return DONE
        if self.state.lags(NODE_CLAIMS, key):
            return Result(LAG_SECONDS)
        try:
            if provider_id not in self._tagged:
                await self._tag(claim, provider_id)
        except CloudError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            return DONE
        try:
            await write_metadata(
                self.api, NODE_CLAIMS, claim, annotations={INSTANCE_TAGGED: "true"}
            )
        except NotFound:
            return DONE
        return DONE

    async def _tag(self, claim: NodeClaim, provider_id: str) -> None:
        tags = {
            KARPENTER_CLAIM: claim.name,
            CLUSTER: self.cluster_name,
            NAME: claim.status.node_name or claim.name,
        }
        await self.instances.tag(instance_id(provider_id), tags)
        self._tagged.add(provider_id)
