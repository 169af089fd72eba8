"""One launch: everything EC2 checks before an instance exists, and the instance itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from autoctl.catalog.labels import ARCHITECTURES
from autoctl.sim.cloud.ec2.network import Subnet
from autoctl.sim.cloud.ec2.records import (
    SPOT,
    InstanceRecord,
    Interface,
    LaunchTemplate,
    Reservation,
    tags_of,
)
from autoctl.sim.cloud.ec2.templates import user_data
from autoctl.sim.cloud.errors import AwsFailure, invalid_value
from autoctl.sim.cloud.service import Params

if TYPE_CHECKING:
    from autoctl.sim.cloud.ec2.backend import Ec2

KMS_KEY = re.compile(
    r"^(arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key/[0-9a-zA-Z-]+|alias/.+)"
    r"|alias/[a-zA-Z0-9/_-]+"
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|mrk-[0-9a-f]{32})$"
)
"""A key by id, key ARN, alias name or alias ARN."""

GP3_GIB = (1, 65_536)
GP3_IOPS = (3000, 16000)
GP3_IOPS_A_GIB = 500
"""Beyond the 3,000 that every volume has."""
GP3_THROUGHPUT_AN_IOPS = 0.25
"""MiB/s."""
GP3_THROUGHPUT = (125, 1000)


@dataclass(frozen=True)
class LaunchRequest:
    """What one instance is to be launched with: launch template data with overrides applied.

    `market` is `spot`, `on-demand`, `capacity-block` or `reserved-capacity`; the last takes one of
    the interruptible reservations `reservation_ids`.
    """

    data: Params
    subnet: Subnet
    market: str
    template: tuple[LaunchTemplate, int] | None = None
    fleet_id: str | None = None
    client_token: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    reservation_ids: tuple[str, ...] = ()

    @property
    def instance_type(self) -> str:
        return str(self.data["InstanceType"])


class Launcher:
    """Checks and carries out launches."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2

    def check(self, request: LaunchRequest) -> None:
        """Raise whatever EC2 refuses about the request itself, whatever capacity there is."""
        ec2, data = self._ec2, request.data
        ec2.cloud.authorize("ec2", "ec2:RunInstances")
        if data.get("IamInstanceProfile"):
            ec2.cloud.authorize("ec2", "iam:PassRole")
        ec2.types.check_offered(request.instance_type, request.subnet.zone)
        api = ec2.types.get(request.instance_type)
        image = ec2.images.get(data.get("ImageId"))
        if image.architecture not in api["ProcessorInfo"]["SupportedArchitectures"]:
            raise AwsFailure(
                "InvalidParameterValue",
                f"The architecture '{api['ProcessorInfo']['SupportedArchitectures'][0]}' of the "
                f"specified instance type does not match the architecture '{image.architecture}' "
                "of the specified AMI. Specify an instance type and an AMI that have matching "
                "architectures, and try again.",
            )
        if request.market == SPOT and "spot" not in api["SupportedUsageClasses"]:
            raise AwsFailure(
                "UnsupportedOperation",
                f"The instance type '{request.instance_type}' is not supported by Spot.",
            )
        self._check_groups(request.subnet, self._group_ids(request))
        for entry in data.get("NetworkInterfaces", ()):
            self._check_groups(self._subnet_of(request, entry), entry.get("Groups", ()))
        self._profile_arn(data)
        self._check_interfaces(request, api)
        for mapping in data.get("BlockDeviceMappings", ()):
            check_volume(mapping.get("Ebs", {}))
        hops = data.get("MetadataOptions", {}).get("HttpPutResponseHopLimit", 1)
        if not 1 <= hops <= 64:
            raise invalid_value("HttpPutResponseHopLimit", hops, "Expecting 1 to 64.")
        tenancy = data.get("Placement", {}).get("Tenancy", "default")
        if (
            tenancy == "dedicated"
            and api["BurstablePerformanceSupported"]
            and api["InstanceType"].startswith("t2.")
        ):
            raise AwsFailure(
                "Unsupported", f"dedicated tenancy is not supported for {request.instance_type}"
            )

    def launch(self, request: LaunchRequest) -> InstanceRecord:
        """Launch one instance; raises AwsFailure and changes nothing when it cannot be."""
        ec2, data, subnet = self._ec2, request.data, request.subnet
        self.check(request)
        api = ec2.types.get(request.instance_type)
        reservation, targeted = self._reservation(request)
        capacity_type = ec2.capacity.capacity_type_of(reservation, request.market == SPOT, targeted)
        placement = data.get("Placement", {})
        group = ec2.placement.find(placement)
        partition = None
        if group is not None:
            partition = ec2.placement.place(
                group, request.instance_type, subnet.zone, placement.get("PartitionNumber")
            )
        vcpus = int(api["VCpuInfo"]["DefaultVCpus"])
        if reservation is None:
            ec2.capacity.check_room(request.instance_type, subnet.zone, capacity_type)
        interfaces = self._interfaces(request)
        try:
            ec2.capacity.take_vcpus(request.instance_type, capacity_type, vcpus)
        except AwsFailure:
            for interface in interfaces:
                ec2.network.drop_interface(interface)
            raise
        if reservation is None:
            ec2.capacity.take(request.instance_type, subnet.zone, capacity_type)
        now = ec2.now()
        instance = InstanceRecord(
            instance_id=ec2.new_id("i"),
            instance_type=request.instance_type,
            architecture=ARCHITECTURES[ec2.images.get(data["ImageId"]).architecture],
            zone=subnet.zone,
            zone_id=subnet.zone_id,
            subnet_id=subnet.subnet_id,
            vpc_id=subnet.vpc_id,
            capacity_type=capacity_type,
            lifecycle=_lifecycle(request.market, reservation),
            image_id=data["ImageId"],
            launched_at=now,
            visible_at=now + timedelta(seconds=ec2.timings.visible),
            user_data=user_data(data).decode(errors="replace"),
            group_ids=self._group_ids(request),
            interfaces=interfaces,
            tags={**tags_of(data.get("TagSpecifications"), "instance"), **dict(request.tags)},
            template=self._template(request),
            fleet_id=request.fleet_id,
            client_token=request.client_token,
            profile_arn=self._profile_arn(data),
            reservation_id=reservation.reservation_id if reservation else None,
            reservation_specification=data.get("CapacityReservationSpecification"),
            placement_group_id=group.group_id if group else None,
            partition=partition,
            tenancy=placement.get("Tenancy", "default"),
            metadata_options=dict(data.get("MetadataOptions", {})),
            block_devices=[
                {**mapping, "VolumeId": ec2.new_id("vol")}
                for mapping in data.get("BlockDeviceMappings", ())
                if "Ebs" in mapping
            ],
            spot_request_id=ec2.new_id("sir") if capacity_type == SPOT else None,
            from_pool=reservation is None,
        )
        if request.template is not None:
            template, number = request.template
            instance.tags["aws:ec2launchtemplate:id"] = template.template_id
            instance.tags["aws:ec2launchtemplate:version"] = str(number)
        if request.fleet_id is not None:
            instance.tags["aws:ec2:fleet-id"] = request.fleet_id
        if reservation is not None:
            reservation.used_by.add(instance.instance_id)
        ec2.instances.begin(instance)
        return instance

    def _template(self, request: LaunchRequest) -> tuple[str, str] | None:
        if request.template is None:
            return None
        template, number = request.template
        return template.template_id, str(number)

    def _reservation(self, request: LaunchRequest) -> tuple[Reservation | None, bool]:
        """The reservation that pays for the launch and whether the request named it."""
        capacity = self._ec2.capacity
        specification = request.data.get("CapacityReservationSpecification", {})
        zone = request.subnet.zone
        target = specification.get("CapacityReservationTarget", {}).get("CapacityReservationId")
        if target is not None:
            found = capacity.targeted(target, request.instance_type, zone)
            if found.interruptible != (request.market == "reserved-capacity"):
                raise AwsFailure(
                    "InvalidParameterCombination",
                    f"The capacity reservation '{target}' "
                    f"{'is' if found.interruptible else 'is not'} interruptible, which the market "
                    "type of the request must say as well.",
                )
            return found, True
        if request.market == "reserved-capacity":
            return (
                capacity.interruptible(request.reservation_ids, request.instance_type, zone),
                True,
            )
        if request.market == "capacity-block":
            raise AwsFailure(
                "InvalidParameterCombination",
                "A launch into a Capacity Block must name its capacity reservation.",
            )
        preference = specification.get("CapacityReservationPreference", "open")
        if request.market == SPOT or preference == "none":
            return None, False
        tenancy = request.data.get("Placement", {}).get("Tenancy", "default")
        match = capacity.open_match(request.instance_type, zone, tenancy)
        if match is None and preference == "capacity-reservations-only":
            raise AwsFailure(
                "ReservationCapacityExceeded",
                "No open capacity reservation has sufficient compatible and available capacity "
                "for this request.",
            )
        return match, False

    def _check_groups(self, subnet: Subnet, group_ids: Sequence[str]) -> None:
        for group_id in group_ids:
            if self._ec2.network.group(group_id).vpc_id != subnet.vpc_id:
                raise AwsFailure(
                    "InvalidParameter",
                    f"Security group {group_id} and subnet {subnet.subnet_id} belong to "
                    "different networks.",
                )

    def _group_ids(self, request: LaunchRequest) -> list[str]:
        """The instance's groups, which are those of its primary interface."""
        wanted = request.data.get("SecurityGroupIds")
        if not wanted and (primary := primary_of(request.data.get("NetworkInterfaces", ()))):
            wanted = primary.get("Groups")
        if wanted:
            return list(wanted)
        default = next(
            group
            for group in self._ec2.network.groups.values()
            if group.name == "default" and group.vpc_id == request.subnet.vpc_id
        )
        return [default.group_id]

    def _profile_arn(self, data: Params) -> str | None:
        profile = data.get("IamInstanceProfile")
        if not profile:
            return None
        name = profile.get("Name") or str(profile.get("Arn", "")).rpartition("/")[2]
        arn = self._ec2.cloud.iam.profile_arn(name)
        if arn is None:
            raise AwsFailure(
                "InvalidParameterValue",
                f"Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM "
                "Instance Profile name",
            )
        return arn

    def _check_interfaces(self, request: LaunchRequest, api: Params) -> None:
        """The type's limits on interfaces, network cards and addresses."""
        wanted = request.data.get("NetworkInterfaces", ())
        network = api["NetworkInfo"]
        cards = {card["NetworkCardIndex"]: card for card in network["NetworkCards"]}
        counts: dict[int, int] = {}
        places = [(e.get("NetworkCardIndex", 0), e.get("DeviceIndex", 0)) for e in wanted]
        if len(set(places)) < len(places):
            raise AwsFailure(
                "InvalidParameterValue",
                "Each network interface needs a device index of its own on its network card.",
            )
        for entry in wanted:
            card = entry.get("NetworkCardIndex", 0)
            if card not in cards:
                raise AwsFailure(
                    "InvalidParameterValue",
                    f"Network card index {card} does not exist on {request.instance_type}",
                )
            counts[card] = counts.get(card, 0) + 1
            if counts[card] > cards[card]["MaximumNetworkInterfaces"]:
                raise AwsFailure(
                    "AttachmentLimitExceeded",
                    f"Interface count {counts[card]} exceeds the limit for {request.instance_type}",
                )
            if entry.get("DeviceIndex", 0) >= cards[card]["MaximumNetworkInterfaces"]:
                raise AwsFailure(
                    "InvalidParameterValue",
                    f"Device index {entry['DeviceIndex']} is too large for network card {card} of "
                    f"{request.instance_type}",
                )
            self._check_kind(request, entry, network, cards[card])
            slots = 1 + entry.get("SecondaryPrivateIpAddressCount", 0)
            slots += entry.get("Ipv4PrefixCount", 0)
            if slots > network["Ipv4AddressesPerInterface"]:
                raise AwsFailure(
                    "PrivateIpAddressLimitExceeded",
                    f"Number of private addresses will exceed limit for {request.instance_type}",
                )
        self._check_efas(request, network)
        if len(wanted) > 1 and any(entry.get("AssociatePublicIpAddress") for entry in wanted):
            raise AwsFailure(
                "InvalidParameterCombination",
                "The associatePublicIPAddress parameter cannot be specified when launching with "
                "multiple network interfaces.",
            )
        if wanted and request.data.get("SecurityGroupIds"):
            raise AwsFailure(
                "InvalidParameterCombination",
                "Network interfaces and an instance-level security groups may not be specified on "
                "the same request",
            )

    def _check_kind(
        self, request: LaunchRequest, entry: Params, network: Params, card: Params
    ) -> None:
        """What an interface of its type may be, and where."""
        kind = entry.get("InterfaceType", "interface")
        efa = kind in ("efa", "efa-only")
        if efa and not network["EfaSupported"]:
            raise AwsFailure(
                "Unsupported", f"EFA interfaces are not supported on {request.instance_type}"
            )
        if kind not in card.get("InterfaceTypes", (kind,)):
            raise AwsFailure(
                "Unsupported",
                f"Interface type {kind} is not supported on network card "
                f"{card['NetworkCardIndex']} of {request.instance_type}",
            )
        addresses = ("SecondaryPrivateIpAddressCount", "Ipv4PrefixCount", "Ipv6AddressCount")
        if kind == "efa-only" and any(entry.get(key) for key in addresses):
            raise AwsFailure(
                "InvalidParameterCombination",
                "IP addresses can't be assigned to EFA-only network interfaces",
            )
        if entry.get("Ipv6AddressCount") and not network.get("Ipv6Supported"):
            raise AwsFailure(
                "Unsupported", f"IPv6 addresses are not supported on {request.instance_type}"
            )

    def _check_efas(self, request: LaunchRequest, network: Params) -> None:
        """How many Elastic Fabric Adapters there may be, and that the primary is more than one."""
        wanted = request.data.get("NetworkInterfaces", ())
        primary = primary_of(wanted)
        if primary is not None and primary.get("InterfaceType") == "efa-only":
            raise AwsFailure(
                "InvalidParameterValue",
                "An EFA-only network interface can't be the primary network interface",
            )
        count = sum(entry.get("InterfaceType") in ("efa", "efa-only") for entry in wanted)
        most = network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0)
        if count > most:
            raise AwsFailure(
                "AttachmentLimitExceeded",
                f"{count} EFA interfaces exceed the limit of {most} for {request.instance_type}",
            )

    def _subnet_of(self, request: LaunchRequest, entry: Params) -> Subnet:
        """The subnet of one interface: its own, or that of the launch."""
        if "SubnetId" not in entry:
            return request.subnet
        subnet = self._ec2.network.subnet(entry["SubnetId"])
        if subnet.zone != request.subnet.zone:
            raise AwsFailure(
                "InvalidParameterValue",
                f"The subnet {subnet.subnet_id} is in {subnet.zone}, the primary network interface "
                f"in {request.subnet.zone}",
            )
        return subnet

    def _interfaces(self, request: LaunchRequest) -> list[Interface]:
        """The interfaces of the new instance; none is kept when one cannot be made."""
        wanted = request.data.get("NetworkInterfaces") or [{"DeviceIndex": 0}]
        made: list[Interface] = []
        try:
            for entry in wanted:
                groups = list(entry.get("Groups") or self._group_ids(request))
                made.append(
                    self._ec2.network.make_interface(
                        self._subnet_of(request, entry),
                        groups,
                        entry,
                        device_index=entry.get("DeviceIndex", 0),
                    )
                )
        except AwsFailure:
            for interface in made:
                self._ec2.network.drop_interface(interface)
            raise
        return made


def primary_of(interfaces: Sequence[Params]) -> Params | None:
    """The primary one of the network interfaces of a request; None where it names none."""
    for entry in interfaces:
        if entry.get("NetworkCardIndex", 0) == entry.get("DeviceIndex", 0) == 0:
            return entry
    return None


def _lifecycle(market: str, reservation: Reservation | None) -> str | None:
    if market == SPOT:
        return "spot"
    if reservation is not None and reservation.kind == "capacity-block":
        return "capacity-block"
    if reservation is not None and reservation.interruptible:
        return "interruptible-capacity-reservation"
    return None


def check_volume(ebs: dict[str, Any]) -> None:
    """The limits of a gp3 volume and the form of its key."""
    if ebs.get("VolumeType", "gp3") == "gp3":
        for name, (low, high) in (
            ("VolumeSize", GP3_GIB),
            ("Iops", GP3_IOPS),
            ("Throughput", GP3_THROUGHPUT),
        ):
            value = ebs.get(name)
            if value is not None and not low <= value <= high:
                raise invalid_value(name, value, f"gp3 volumes take {low} to {high}.")
        _check_ratios(ebs)
    key = ebs.get("KmsKeyId")
    if key is not None:
        if not ebs.get("Encrypted"):
            raise AwsFailure(
                "InvalidParameterDependency",
                "The parameter KmsKeyId requires the parameter Encrypted to be set.",
            )
        if not KMS_KEY.match(key):
            raise AwsFailure(
                "InvalidParameterValue", f"Value ({key}) for parameter KmsKeyId is malformed"
            )


def _check_ratios(ebs: dict[str, Any]) -> None:
    """What a gp3 volume's size allows of operations, and these of throughput."""
    iops = ebs.get("Iops", GP3_IOPS[0])
    size = ebs.get("VolumeSize")
    if size is not None and iops > max(GP3_IOPS[0], size * GP3_IOPS_A_GIB):
        raise AwsFailure(
            "InvalidParameterValue",
            f"Iops to volume size ratio of {iops / size:.6f} is too high; maximum is "
            f"{GP3_IOPS_A_GIB} Iops per GiB",
        )
    throughput = ebs.get("Throughput", GP3_THROUGHPUT[0])
    if throughput > iops * GP3_THROUGHPUT_AN_IOPS:
        raise AwsFailure(
            "InvalidParameterValue",
            f"Throughput (MiBps) to iops ratio of {throughput / iops:.6f} is too high; maximum is "
            f"{GP3_THROUGHPUT_AN_IOPS:.6f} MiBps per iops",
        )
