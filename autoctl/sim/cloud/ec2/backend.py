"""Simulated EC2 as one service: its areas, identifiers, idempotency and tags."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

from autoctl.sim.cloud.ec2.capacity import Capacity
from autoctl.sim.cloud.ec2.fleet import Fleets
from autoctl.sim.cloud.ec2.images import Images
from autoctl.sim.cloud.ec2.instances import Instances
from autoctl.sim.cloud.ec2.launch import Launcher
from autoctl.sim.cloud.ec2.network import Network
from autoctl.sim.cloud.ec2.placement import PlacementGroups
from autoctl.sim.cloud.ec2.records import Tagged
from autoctl.sim.cloud.ec2.templates import LaunchTemplates
from autoctl.sim.cloud.ec2.types import InstanceTypes
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.faults import Fault, FaultType
from autoctl.sim.cloud.service import Answer, Handler, Params, Service

if TYPE_CHECKING:
    from autoctl.sim.cloud.cloud import SimulatedCloud

NOT_FOUND = {
    "i": "InvalidInstanceID.NotFound",
    "lt": "InvalidLaunchTemplateId.NotFound",
    "subnet": "InvalidSubnetID.NotFound",
    "sg": "InvalidGroup.NotFound",
    "eni": "InvalidNetworkInterfaceID.NotFound",
    "vpc": "InvalidVpcID.NotFound",
    "ami": "InvalidAMIID.NotFound",
    "cr": "InvalidCapacityReservationId.NotFound",
}


MOST_TAGS = 50
"""Tags that a resource takes beside AWS's own."""


class Ec2(Service):
    """EC2 with one VPC, a subnet a zone, and security groups tagged for the cluster."""

    name = "ec2"
    checks_dry_run: ClassVar[frozenset[str]] = frozenset(
        {"create_fleet", "run_instances", "create_launch_template"}
    )

    def __init__(self, cloud: SimulatedCloud) -> None:
        super().__init__(cloud)
        self.region = cloud.region
        self.settings = cloud.settings
        self.timings = cloud.settings.timings
        self.timeline = cloud.timeline
        self.random = cloud.random
        self._tokens: dict[tuple[str, str], tuple[str, Answer]] = {}
        self.types = InstanceTypes(self)
        self.network = Network(self)
        self.images = Images(self)
        self.templates = LaunchTemplates(self)
        self.capacity = Capacity(self)
        self.placement = PlacementGroups(self)
        self.instances = Instances(self)
        self.launcher = Launcher(self)
        self.fleets = Fleets(self)
        self._areas = (
            self.instances,
            self.fleets,
            self.templates,
            self.network,
            self.types,
            self.capacity,
            self.placement,
            self.images,
        )
        self._furnish()

    def _furnish(self) -> None:
        cluster = self.settings.cluster
        tags = {"kubernetes.io/cluster/" + cluster: "owned", "eks:eks-cluster-name": cluster}
        self.network.add_vpc(tags={"Name": cluster})
        self.network.add_security_group("default")
        self.network.add_security_group(
            f"{cluster}-node",
            tags={**tags, "Name": f"{cluster}-node", "aws:eks:cluster-name": cluster},
        )
        for index, zone in enumerate(self.types.zones):
            self.network.add_subnet(
                zone,
                f"10.0.{32 * index}.0/19",
                tags={
                    **tags,
                    "Name": f"{cluster}-private-{zone}",
                    "kubernetes.io/role/internal-elb": "1",
                },
            )

    def handler(self, method: str) -> Handler | None:
        if method in ("create_tags", "delete_tags"):
            return super().handler(method)
        for area in self._areas:
            found: Handler | None = getattr(area, method, None)
            if found is not None:
                return found
        return None

    def further_actions(self, operation: str, params: Params) -> tuple[str, ...]:
        """Tags that come with a creation are a permission of their own."""
        tagged = operation.startswith(("Create", "Run")) and params.get("TagSpecifications")
        return ("ec2:CreateTags",) if tagged else ()

    def check_tags(self, params: Params) -> None:
        """Raises for more tags than a resource takes, and for keys that AWS keeps for itself."""
        for specification in params.get("TagSpecifications", ()):
            keys = [tag.get("Key", "") for tag in specification.get("Tags", ())]
            if len(keys) > MOST_TAGS:
                raise AwsFailure(
                    "TagLimitExceeded",
                    f"The maximum number of Tags for a resource has been reached: {MOST_TAGS}.",
                )
            reserved = [key for key in keys if key.lower().startswith("aws:")]
            if reserved:
                raise AwsFailure(
                    "InvalidParameterValue",
                    f"Tag keys starting with 'aws:' are reserved for internal use: {reserved[0]}",
                )

    def now(self) -> datetime:
        return self.cloud.now()

    def new_id(self, prefix: str) -> str:
        """An identifier as EC2's: the prefix and 17 hexadecimal digits."""
        return f"{prefix}-{self.random.getrandbits(68):017x}"

    def new_fleet_id(self) -> str:
        bits = f"{self.random.getrandbits(128):032x}"
        return f"fleet-{bits[:8]}-{bits[8:12]}-{bits[12:16]}-{bits[16:20]}-{bits[20:]}"

    def zone_id(self, zone: str) -> str:
        if zone not in self.types.zones:
            raise AwsFailure("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
        return self.types.zones[zone]

    def zone_of_id(self, zone_id: str) -> str:
        for zone, known in self.types.zones.items():
            if known == zone_id:
                return zone
        raise AwsFailure("InvalidParameterValue", f"Invalid availability zone-id: [{zone_id}]")

    def active_faults(self, kind: FaultType) -> list[Fault]:
        return self.cloud.faults.of(kind, self.now())

    def idempotent(self, operation: str, params: Params, act: Callable[[Params], Answer]) -> Answer:
        """Carry out a request once per ClientToken; a repetition gets the first answer again.

        Raises IdempotentParameterMismatch when the token comes with other parameters.
        """
        token = params.get("ClientToken")
        if token is None:
            return act(params)
        digest = json.dumps(params, sort_keys=True, default=str)
        known = self._tokens.get((operation, token))
        if known is None:
            answer = act(params)
            self._tokens[(operation, token)] = (digest, copy.deepcopy(answer))
            return answer
        if known[0] != digest:
            raise AwsFailure(
                "IdempotentParameterMismatch",
                f"The request uses the same client token '{token}' as a previous, but "
                "non-identical request. Do not reuse a client token with different requests, "
                "unless the requests are identical.",
            )
        return copy.deepcopy(known[1])

    def _resource(self, resource_id: str) -> Tagged:
        stores: tuple[dict[str, Tagged], ...] = (
            self.instances.records,
            self.templates.templates,
            self.network.subnets,
            self.network.groups,
            self.network.vpcs,
            self.network.interfaces,
            self.images.records,
            self.capacity.reservations,
            self.placement.groups,
        )  # type: ignore[assignment]  # dicts are invariant, and these are only read
        for store in stores:
            if resource_id in store:
                return store[resource_id]
        prefix = resource_id.partition("-")[0]
        raise AwsFailure(
            NOT_FOUND.get(prefix, "InvalidID"), f"The ID '{resource_id}' does not exist"
        )

    def create_tags(self, params: Params) -> Answer:
        resources = [self._resource(resource_id) for resource_id in params["Resources"]]
        for key in chain(tag.get("Key", "") for tag in params["Tags"]):
            if key.startswith("aws:"):
                raise AwsFailure(
                    "InvalidParameterValue",
                    f"Value ( {key} ) for parameter key is invalid. Tag keys starting with 'aws:' "
                    "are reserved for internal use",
                )
        for resource in resources:
            resource.tags.update({tag["Key"]: tag.get("Value", "") for tag in params["Tags"]})
        return {}

    def delete_tags(self, params: Params) -> Answer:
        for resource in [self._resource(resource_id) for resource_id in params["Resources"]]:
            if "Tags" not in params:
                resource.tags.clear()
            for tag in params.get("Tags", ()):
                value = tag.get("Value")
                if value is None or resource.tags.get(tag["Key"]) == value:
                    resource.tags.pop(tag["Key"], None)
        return {}
