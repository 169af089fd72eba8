"""Simulated EC2's VPC, subnets, security groups and the interfaces of instances."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from autoctl.sim.cloud.account import ACCOUNT
from autoctl.sim.cloud.ec2.addresses import AddressesExhausted, AddressPool
from autoctl.sim.cloud.ec2.query import Fields, flag, page, select_tagged
from autoctl.sim.cloud.ec2.records import Interface, SecurityGroup, Vpc, tag_list, tags_of
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.service import Answer, Params

if TYPE_CHECKING:
    from autoctl.sim.cloud.ec2.backend import Ec2


@dataclass
class Subnet:
    subnet_id: str
    vpc_id: str
    zone: str
    zone_id: str
    pool: AddressPool
    public: bool = False
    ipv6: bool = False
    """Whether it has an IPv6 block as well."""
    tags: dict[str, str] = field(default_factory=dict)


SUBNET_FIELDS: Fields[Subnet] = {
    "subnet-id": lambda s: s.subnet_id,
    "vpc-id": lambda s: s.vpc_id,
    "availability-zone": lambda s: s.zone,
    "availabilityZone": lambda s: s.zone,
    "availability-zone-id": lambda s: s.zone_id,
    "cidr-block": lambda s: str(s.pool.network),
    "map-public-ip-on-launch": lambda s: flag(s.public),
    "available-ip-address-count": lambda s: str(s.pool.free),
    "state": lambda _: "available",
}
GROUP_FIELDS: Fields[SecurityGroup] = {
    "group-id": lambda g: g.group_id,
    "group-name": lambda g: g.name,
    "vpc-id": lambda g: g.vpc_id,
    "description": lambda g: g.description,
    "owner-id": lambda _: ACCOUNT,
}
VPC_FIELDS: Fields[Vpc] = {
    "vpc-id": lambda v: v.vpc_id,
    "cidr": lambda v: v.cidr,
    "state": lambda _: "available",
}


class Network:
    """The account's networks: one VPC of /16, a subnet a zone, what callers add to it."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2
        self.vpcs: dict[str, Vpc] = {}
        self.subnets: dict[str, Subnet] = {}
        self.groups: dict[str, SecurityGroup] = {}
        self.interfaces: dict[str, Interface] = {}

    def add_vpc(self, cidr: str = "10.0.0.0/16", tags: dict[str, str] | None = None) -> Vpc:
        vpc = Vpc(self._ec2.new_id("vpc"), cidr, dict(tags or {}))
        self.vpcs[vpc.vpc_id] = vpc
        return vpc

    def add_subnet(
        self,
        zone: str,
        cidr: str,
        *,
        vpc_id: str | None = None,
        tags: dict[str, str] | None = None,
        public: bool = False,
    ) -> Subnet:
        """A subnet of the first VPC or of `vpc_id`, in a zone of the region."""
        subnet = Subnet(
            subnet_id=self._ec2.new_id("subnet"),
            vpc_id=vpc_id or next(iter(self.vpcs)),
            zone=zone,
            zone_id=self._ec2.zone_id(zone),
            pool=AddressPool(cidr),
            public=public,
            tags=dict(tags or {}),
        )
        self.subnets[subnet.subnet_id] = subnet
        return subnet

    def add_security_group(
        self, name: str, *, vpc_id: str | None = None, tags: dict[str, str] | None = None
    ) -> SecurityGroup:
        group = SecurityGroup(
            self._ec2.new_id("sg"), name, vpc_id or next(iter(self.vpcs)), name, dict(tags or {})
        )
        self.groups[group.group_id] = group
        return group

    def create_vpc(self, params: Params) -> Answer:
        vpc = self.add_vpc(params["CidrBlock"], tags_of(params.get("TagSpecifications"), "vpc"))
        return {"Vpc": {"VpcId": vpc.vpc_id, "CidrBlock": vpc.cidr, "State": "available"}}

    def create_subnet(self, params: Params) -> Answer:
        vpc = self._vpc(params["VpcId"])
        if not IPv4Network(params["CidrBlock"]).subnet_of(IPv4Network(vpc.cidr)):
            raise AwsFailure("InvalidSubnet.Range", f"The CIDR '{params['CidrBlock']}' is invalid.")
        for other in self.subnets.values():
            taken = other.pool.network
            if other.vpc_id == vpc.vpc_id and taken.overlaps(IPv4Network(params["CidrBlock"])):
                raise AwsFailure(
                    "InvalidSubnet.Conflict",
                    f"The CIDR '{params['CidrBlock']}' conflicts with another subnet",
                )
        subnet = self.add_subnet(
            params.get("AvailabilityZone") or next(iter(self._ec2.types.zones)),
            params["CidrBlock"],
            vpc_id=vpc.vpc_id,
            tags=tags_of(params.get("TagSpecifications"), "subnet"),
        )
        return {"Subnet": self._describe_subnet(subnet)}

    def delete_subnet(self, params: Params) -> Answer:
        subnet = self.subnet(params["SubnetId"])
        if any(i.subnet_id == subnet.subnet_id for i in self.interfaces.values()):
            raise AwsFailure(
                "DependencyViolation",
                f"The subnet '{subnet.subnet_id}' has dependencies and cannot be deleted.",
            )
        del self.subnets[subnet.subnet_id]
        return {}

    def create_security_group(self, params: Params) -> Answer:
        vpc_id = self._vpc(params.get("VpcId") or next(iter(self.vpcs))).vpc_id
        name = params["GroupName"]
        if any((g.name, g.vpc_id) == (name, vpc_id) for g in self.groups.values()):
            raise AwsFailure(
                "InvalidGroup.Duplicate",
                f"The security group '{name}' already exists for VPC '{vpc_id}'",
            )
        group = self.add_security_group(
            name, vpc_id=vpc_id, tags=tags_of(params.get("TagSpecifications"), "security-group")
        )
        group.description = params["Description"]
        return {"GroupId": group.group_id, "Tags": tag_list(group.tags)}

    def delete_security_group(self, params: Params) -> Answer:
        group = self.group(params.get("GroupId", ""))
        if any(group.group_id in i.group_ids for i in self.interfaces.values()):
            raise AwsFailure(
                "DependencyViolation", f"resource {group.group_id} has a dependent object"
            )
        del self.groups[group.group_id]
        return {}

    def _vpc(self, vpc_id: str) -> Vpc:
        if vpc_id not in self.vpcs:
            raise AwsFailure("InvalidVpcID.NotFound", f"The vpc ID '{vpc_id}' does not exist")
        return self.vpcs[vpc_id]

    def subnet(self, subnet_id: str) -> Subnet:
        if subnet_id not in self.subnets:
            raise AwsFailure(
                "InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist"
            )
        return self.subnets[subnet_id]

    def group(self, group_id: str) -> SecurityGroup:
        if not group_id.startswith("sg-"):
            raise AwsFailure("InvalidGroupId.Malformed", f'Invalid id: "{group_id}"')
        if group_id not in self.groups:
            raise AwsFailure(
                "InvalidGroup.NotFound", f"The security group '{group_id}' does not exist"
            )
        return self.groups[group_id]

    def make_interface(
        self,
        subnet: Subnet,
        group_ids: list[str],
        wanted: Params,
        *,
        device_index: int,
    ) -> Interface:
        """An interface as a launch template's NetworkInterfaces entry (or none) describes it.

        Raises InsufficientFreeAddressesInSubnet, or InvalidParameterValue for IPv6 addresses in a
        subnet without any, taking nothing.
        """
        if wanted.get("Ipv6AddressCount") and not subnet.ipv6:
            raise AwsFailure(
                "InvalidParameterValue",
                f"The subnet {subnet.subnet_id} has no IPv6 CIDR block to take addresses from.",
            )
        taken: list[str] = []
        interface_type = wanted.get("InterfaceType", "interface")
        singles = 0 if interface_type == "efa-only" else 1
        singles += wanted.get("SecondaryPrivateIpAddressCount", 0)
        blocks = wanted.get("Ipv4PrefixCount", 0)
        try:
            taken += [subnet.pool.take() for _ in range(singles)]
            taken += [subnet.pool.take_prefix() for _ in range(blocks)]
        except AddressesExhausted:
            for address in taken:
                subnet.pool.release(address)
            raise AwsFailure(
                "InsufficientFreeAddressesInSubnet",
                "There are not enough free addresses in subnet "
                f"'{subnet.subnet_id}' to satisfy the requested number of instances.",
            ) from None
        interface = Interface(
            interface_id=self._ec2.new_id("eni"),
            subnet_id=subnet.subnet_id,
            group_ids=group_ids,
            device_index=device_index,
            card_index=wanted.get("NetworkCardIndex", 0),
            interface_type=interface_type,
            addresses=taken[:singles],
            prefixes=taken[singles:],
            delete_on_termination=wanted.get("DeleteOnTermination", True),
            description=wanted.get("Description", ""),
            ipv6_addresses=wanted.get("Ipv6AddressCount", 0),
        )
        self.interfaces[interface.interface_id] = interface
        return interface

    def drop_interface(self, interface: Interface) -> None:
        """Delete an interface and give its addresses back."""
        pool = self.subnets[interface.subnet_id].pool
        for address in (*interface.addresses, *interface.prefixes):
            pool.release(address)
        del self.interfaces[interface.interface_id]

    def describe_vpcs(self, params: Params) -> Answer:
        wanted = [self._vpc(vpc_id) for vpc_id in params.get("VpcIds") or self.vpcs]
        found = select_tagged(wanted, params, VPC_FIELDS)
        items, token = page(found, params, low=5, high=1000)
        return {
            "Vpcs": [
                {
                    "VpcId": vpc.vpc_id,
                    "CidrBlock": vpc.cidr,
                    "State": "available",
                    "OwnerId": ACCOUNT,
                    "IsDefault": False,
                    "Tags": tag_list(vpc.tags),
                }
                for vpc in items
            ],
            **token,
        }

    def describe_subnets(self, params: Params) -> Answer:
        wanted = [self.subnet(i) for i in params.get("SubnetIds") or self.subnets]
        found = select_tagged(wanted, params, SUBNET_FIELDS)
        items, token = page(found, params, low=5, high=1000)
        return {"Subnets": [self._describe_subnet(subnet) for subnet in items], **token}

    def _describe_subnet(self, subnet: Subnet) -> dict[str, Any]:
        blocks = []
        if subnet.ipv6:
            number = list(self.subnets).index(subnet.subnet_id)
            _, _, digits = subnet.subnet_id.partition("-")
            blocks.append(
                {
                    "AssociationId": f"subnet-cidr-assoc-{digits}",
                    "Ipv6CidrBlock": f"2001:db8:0:{number:x}::/64",
                    "Ipv6CidrBlockState": {"State": "associated"},
                }
            )
        return {
            "Ipv6CidrBlockAssociationSet": blocks,
            "SubnetId": subnet.subnet_id,
            "SubnetArn": f"arn:aws:ec2:{self._ec2.region}:{ACCOUNT}:subnet/{subnet.subnet_id}",
            "VpcId": subnet.vpc_id,
            "AvailabilityZone": subnet.zone,
            "AvailabilityZoneId": subnet.zone_id,
            "AvailableIpAddressCount": subnet.pool.free,
            "CidrBlock": str(subnet.pool.network),
            "MapPublicIpOnLaunch": subnet.public,
            "AssignIpv6AddressOnCreation": False,
            "DefaultForAz": False,
            "State": "available",
            "OwnerId": ACCOUNT,
            "Tags": tag_list(subnet.tags),
        }

    def describe_security_groups(self, params: Params) -> Answer:
        wanted = [self.group(i) for i in params.get("GroupIds") or self.groups]
        if names := params.get("GroupNames"):
            wanted = [group for group in wanted if group.name in names]
        found = select_tagged(wanted, params, GROUP_FIELDS)
        items, token = page(found, params, low=5, high=1000)
        return {
            "SecurityGroups": [
                {
                    "GroupId": group.group_id,
                    "GroupName": group.name,
                    "Description": group.description,
                    "VpcId": group.vpc_id,
                    "OwnerId": ACCOUNT,
                    "IpPermissions": [],
                    "IpPermissionsEgress": [],
                    "Tags": tag_list(group.tags),
                }
                for group in items
            ],
            **token,
        }
