"""The launch template of nodes: everything about an instance but its type, image and subnet."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodeclass_network import NetworkInterface
from autoctl.api.quantity import whole
from autoctl.aws.eks import ClusterInfo
from autoctl.aws.tags import to_api
from autoctl.controllers.nodeclass.userdata import NodeSpecifics, user_data

_GIB = 1024**3
_IOPS_A_GIB = 500
_IOPS_A_MIB_S = 4
"""What gp3 volumes take at most (EBS User Guide, "General Purpose SSD volumes")."""
ROOT_GIB = 4
"""Bottlerocket's root volume is read-only and small."""
NVME_DATA_GIB = 20
"""The data volume beside an instance store that holds what nodes write."""


@dataclass(frozen=True)
class ReservationTarget:
    """The capacity reservation that instances must run in.

    `market` is what EC2 calls the special kinds (`capacity-block`,
    `interruptible-capacity-reservation`), empty for ordinary ones.
    """

    id: str
    market: str = ""


@dataclass(frozen=True)
class LaunchTemplate:
    """A template by its content: equal content has the equal name."""

    name: str
    data: Mapping[str, Any] = field(compare=False)
    tags: Mapping[str, str] = field(compare=False)

    @property
    def user_data_bytes(self) -> int:
        """How long the user data are before they are encoded, which is what EC2 limits."""
        return len(base64.b64decode(self.data["UserData"]))


def launch_template(
    node_class: NodeClass,
    cluster: ClusterInfo,
    node: NodeSpecifics,
    tags: Mapping[str, str],
    *,
    reservation: ReservationTarget | None = None,
    open_matching: bool = True,
) -> LaunchTemplate:
    """The template for nodes of the class.

    `tags` go to the template and to network interfaces; `open_matching` False keeps instances out
    of open capacity reservations, which any NodeClass that selects reservations brings about for
    the whole cluster (EKS User Guide, "Control deployment of workloads into Capacity
    Reservations").
    """
    document = user_data(node_class, cluster, node)
    data: dict[str, Any] = {
        "UserData": base64.b64encode(document.encode()).decode(),
        "IamInstanceProfile": {"Name": node_class.status.instance_profile},
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpProtocolIpv6": "enabled" if cluster.ipv6 else "disabled",
            "HttpPutResponseHopLimit": 1,
            "HttpTokens": "required",
        },
        "BlockDeviceMappings": _volumes(node_class, nvme=node.nvme),
        "TagSpecifications": [{"ResourceType": "network-interface", "Tags": to_api(tags)}],
    }
    data |= _network(node_class, node, ipv6=cluster.ipv6)
    data |= _reservation(reservation, open_matching=open_matching)
    group = node_class.status.placement_group
    if group is not None:
        data["Placement"] = {"GroupId": group.id}
    content = json.dumps([data, sorted(tags.items())], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    return LaunchTemplate(f"autoctl/{cluster.name}/{digest}"[-128:], data, dict(tags))


def serves_pods(node_class: NodeClass) -> bool:
    """Whether instances are launched with interfaces for pods beside the primary one."""
    network = node_class.spec.advanced_networking
    interfaces = (network.network_interfaces if network is not None else None) or ()
    return any(_for_pods(interface) for interface in interfaces)


def _for_pods(interface: NetworkInterface) -> bool:
    primary = interface.network_card_index == interface.device_index == 0
    return interface.interface_type == "interface" and not primary


def _volumes(node_class: NodeClass, *, nvme: bool) -> list[dict[str, Any]]:
    storage = node_class.spec.ephemeral_storage
    common: dict[str, Any] = {
        "VolumeType": "gp3",
        "Encrypted": True,
        "DeleteOnTermination": True,
    }
    if storage.kms_key_id is not None:
        common["KmsKeyId"] = storage.kms_key_id
    size = -(-whole(storage.size) // _GIB)
    iops, throughput = storage.iops, storage.throughput
    if nvme:
        # The data volume is small beside an instance store, and EC2 binds its speed to its size.
        size = NVME_DATA_GIB
        iops = min(iops, size * _IOPS_A_GIB)
        throughput = min(throughput, iops // _IOPS_A_MIB_S)
    return [
        {"DeviceName": "/dev/xvda", "Ebs": common | {"VolumeSize": ROOT_GIB}},
        {
            "DeviceName": "/dev/xvdb",
            "Ebs": common | {"VolumeSize": size, "Iops": iops, "Throughput": throughput},
        },
    ]


def _network(node_class: NodeClass, node: NodeSpecifics, *, ipv6: bool) -> dict[str, Any]:
    """Security groups, on interfaces where there is something to say about these."""
    groups = [group.id for group in node_class.status.security_groups]
    network = node_class.spec.advanced_networking
    public = network.associate_public_ip_address if network is not None else None
    common: dict[str, Any] = {"Groups": groups, "DeleteOnTermination": True}
    static = (network.network_interfaces if network is not None else None) or ()
    if static:
        interfaces = [
            {
                "NetworkCardIndex": interface.network_card_index,
                "DeviceIndex": interface.device_index,
                "InterfaceType": interface.interface_type,
            }
            | common
            | _place(node_class, node, interface)
            | _addresses(interface.secondary_ipv4_count, interface.secondary_ipv4_prefix_count)
            for interface in static
        ]
    else:
        interfaces = [{"DeviceIndex": 0} | common, *_efa_only(node, common)]
        if 0 in node.efa:
            interfaces[0]["InterfaceType"] = "efa"
    primary = next(i for i in interfaces if i["DeviceIndex"] == i.get("NetworkCardIndex", 0) == 0)
    if public is not None and len(interfaces) == 1:
        # EC2 takes no word on public addresses where there are several interfaces.
        primary["AssociatePublicIpAddress"] = public
    if ipv6 and not static:
        primary |= {"Ipv6AddressCount": 1, "PrimaryIpv6": True}
    if interfaces == [{"DeviceIndex": 0} | common]:
        return {"SecurityGroupIds": groups}
    return {"NetworkInterfaces": interfaces}


def _efa_only(node: NodeSpecifics, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The EFA interfaces on network cards beside the primary one: they need no addresses.

    Each is its card's first device, as EC2 recommends for types of several cards (Amazon EC2 User
    Guide, "Maximize network bandwidth on Amazon EC2 instances with multiple network cards").
    """
    return [
        {"NetworkCardIndex": card, "DeviceIndex": 0, "InterfaceType": "efa-only", **common}
        for card in node.efa
        if card > 0
    ]


def _place(
    node_class: NodeClass, node: NodeSpecifics, interface: NetworkInterface
) -> dict[str, Any]:
    """The subnet of a static interface, and the groups where they are the pods'.

    Nothing where all are in the subnet of the launch.
    """
    if not node.pod_subnet:
        return {}
    if not _for_pods(interface):
        return {"SubnetId": node.subnet}
    groups = [group.id for group in node_class.status.pod_security_groups]
    return {"SubnetId": node.pod_subnet, "Groups": groups}


def _addresses(single: int | None, prefixes: int | None) -> dict[str, int]:
    if single:
        return {"SecondaryPrivateIpAddressCount": single}
    return {"Ipv4PrefixCount": prefixes} if prefixes else {}


def _reservation(target: ReservationTarget | None, *, open_matching: bool) -> dict[str, Any]:
    if target is None:
        preference = "open" if open_matching else "none"
        return {"CapacityReservationSpecification": {"CapacityReservationPreference": preference}}
    found: dict[str, Any] = {
        "CapacityReservationSpecification": {
            "CapacityReservationTarget": {"CapacityReservationId": target.id}
        }
    }
    if target.market:
        found["InstanceMarketOptions"] = {"MarketType": target.market}
    return found
