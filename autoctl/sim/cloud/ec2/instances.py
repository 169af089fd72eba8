"""Instances: their states over time, what Describe calls tell, how they end."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from autoctl.sim.cloud.account import ACCOUNT
from autoctl.sim.cloud.ec2.query import Fields, page, select_tagged
from autoctl.sim.cloud.ec2.records import (
    PENDING,
    RUNNING,
    SHUTTING_DOWN,
    STATE_CODES,
    TERMINATED,
    InstanceRecord,
    tag_list,
)
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.faults import FaultType
from autoctl.sim.cloud.service import Answer, Params

if TYPE_CHECKING:
    from autoctl.sim.cloud.ec2.backend import Ec2

FIELDS: Fields[InstanceRecord] = {
    "instance-id": lambda i: i.instance_id,
    "instance-state-name": lambda i: i.state,
    "instance-state-code": lambda i: str(STATE_CODES[i.state]),
    "instance-type": lambda i: i.instance_type,
    "instance-lifecycle": lambda i: i.lifecycle,
    "image-id": lambda i: i.image_id,
    "subnet-id": lambda i: i.subnet_id,
    "vpc-id": lambda i: i.vpc_id,
    "availability-zone": lambda i: i.zone,
    "availability-zone-id": lambda i: i.zone_id,
    "placement.availability-zone": lambda i: i.zone,
    "private-dns-name": lambda i: dns_name(i),
    "private-ip-address": lambda i: i.private_ip,
    "client-token": lambda i: i.client_token,
    "architecture": lambda i: {"amd64": "x86_64"}.get(i.architecture, i.architecture),
    "iam-instance-profile.arn": lambda i: i.profile_arn,
    "instance.group-id": lambda i: i.group_ids,
    "launch-template.launch-template-id": lambda i: i.template and i.template[0],
    "tenancy": lambda i: i.tenancy,
    "capacity-reservation-id": lambda i: i.reservation_id,
    "spot-instance-request-id": lambda i: i.spot_request_id,
    "network-interface.network-interface-id": lambda i: [e.interface_id for e in i.interfaces],
    "network-interface.subnet-id": lambda i: [e.subnet_id for e in i.interfaces],
}


def dns_name(instance: InstanceRecord) -> str:
    return f"{instance.instance_id}.ec2.internal"


class Instances:
    """The account's instances, oldest first."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2
        self.records: dict[str, InstanceRecord] = {}
        self.history: list[InstanceRecord] = []
        """Every instance ever launched, also those that EC2 has forgotten."""

    def get(self, instance_id: str) -> InstanceRecord:
        if instance_id not in self.records:
            raise AwsFailure(
                "InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist"
            )
        return self.records[instance_id]

    def alive(self) -> list[InstanceRecord]:
        """Pending and running ones."""
        return [instance for instance in self.records.values() if instance.alive]

    def begin(self, instance: InstanceRecord) -> None:
        """A launch: plan the way to running and to the kubelet's registration."""
        ec2 = self._ec2
        self.records[instance.instance_id] = instance
        self.history.append(instance)
        boot = ec2.timings.boot * (1 + ec2.settings.boot_jitter * ec2.random.random())
        for fault in ec2.active_faults(FaultType.SLOW_LAUNCH):
            if _selects(fault, instance) and ec2.cloud.hit(fault):
                boot += fault.delay
        for fault in ec2.active_faults(FaultType.NEVER_REGISTERS):
            if _selects(fault, instance) and ec2.cloud.hit(fault):
                instance.registers = False
        ec2.timeline.after(ec2.timings.running, lambda: self._run(instance))
        ec2.timeline.after(boot, lambda: self._boot(instance))

    def _run(self, instance: InstanceRecord) -> None:
        if instance.state == PENDING:
            instance.state = RUNNING
            self._ec2.cloud.sqs.state_changed(instance)

    def _boot(self, instance: InstanceRecord) -> None:
        if instance.alive and instance.registers:
            self._ec2.cloud.notify(self._ec2.cloud.on_boot, instance)

    def terminate(
        self, instance: InstanceRecord, reason: str = "Client.UserInitiatedShutdown"
    ) -> None:
        """Begin the end of an instance; nothing for one that is ending already."""
        if not instance.alive:
            return
        ec2 = self._ec2
        moment = ec2.now().strftime("%Y-%m-%d %H:%M:%S GMT")
        instance.state = SHUTTING_DOWN
        instance.billed_until = ec2.now()
        instance.state_reason = (reason, f"{reason}: instance termination")
        instance.transition_reason = f"User initiated ({moment})"
        ec2.cloud.sqs.state_changed(instance)
        vcpus = int(ec2.types.get(instance.instance_type)["VCpuInfo"]["DefaultVCpus"])
        ec2.capacity.give_back(instance, vcpus)
        ec2.timeline.after(ec2.timings.shutting_down, lambda: self._end(instance))

    def _end(self, instance: InstanceRecord) -> None:
        ec2 = self._ec2
        instance.state = TERMINATED
        instance.terminated_at = ec2.now()
        for interface in instance.interfaces:
            ec2.network.drop_interface(interface)
        instance.interfaces = []
        ec2.cloud.sqs.state_changed(instance)
        ec2.cloud.notify(ec2.cloud.on_gone, instance)
        ec2.timeline.after(ec2.timings.forgotten, lambda: self._forget(instance))

    def _forget(self, instance: InstanceRecord) -> None:
        del self.records[instance.instance_id]

    def interrupt(self, instance: InstanceRecord, warning: float) -> None:
        """A spot interruption: the warning now, the end `warning` seconds later."""
        self._ec2.cloud.sqs.interrupted(instance)
        self._ec2.timeline.after(
            warning, lambda: self.terminate(instance, "Server.SpotInstanceTermination")
        )

    def impair(self, instance: InstanceRecord, check: str, lasts: timedelta | None) -> None:
        """A status check begins to fail, for a while or for ever."""
        ec2 = self._ec2
        instance.impaired[check] = ec2.now()
        if lasts is not None:
            ec2.timeline.after(lasts.total_seconds(), lambda: _recover(instance, check))

    def schedule_event(self, instance: InstanceRecord, code: str, hours: float = 24) -> None:
        """Announce a scheduled event (`instance-retirement`, `system-reboot`, ...)."""
        instance.events.append(
            {
                "InstanceEventId": self._ec2.new_id("instance-event"),
                "Code": code,
                "Description": f"The instance is scheduled for {code}",
                "NotBefore": self._ec2.now() + timedelta(hours=hours),
            }
        )
        self._ec2.cloud.sqs.scheduled_change(instance, code)

    def _visible(self, ids: list[str] | None) -> list[InstanceRecord]:
        """What Describe calls know by now: a new instance shows up only after a moment."""
        now = self._ec2.now()
        if not ids:
            return [i for i in self.records.values() if i.visible_at <= now]
        found = []
        missing = []
        for instance_id in ids:
            instance = self.records.get(instance_id)
            if instance is None or instance.visible_at > now:
                missing.append(instance_id)
            else:
                found.append(instance)
        if missing:
            plural = "s" if len(missing) > 1 else ""
            verb = "do" if len(missing) > 1 else "does"
            raise AwsFailure(
                "InvalidInstanceID.NotFound",
                f"The instance ID{plural} '{', '.join(missing)}' {verb} not exist",
            )
        return found

    def describe_instances(self, params: Params) -> Answer:
        ids = params.get("InstanceIds")
        if ids and params.get("MaxResults") is not None:
            raise AwsFailure(
                "InvalidParameterCombination",
                "The parameter instancesSet cannot be used with the parameter maxResults",
            )
        found = select_tagged(self._visible(ids), params, FIELDS)
        items, token = page(found, params, low=5, high=1000)
        return {
            "Reservations": [
                {
                    "ReservationId": f"r-{instance.instance_id[2:]}",
                    "OwnerId": ACCOUNT,
                    "Groups": [],
                    "Instances": [self.describe(instance)],
                }
                for instance in items
            ],
            **token,
        }

    def describe(self, instance: InstanceRecord) -> dict[str, Any]:
        """One instance as DescribeInstances gives it."""
        placement: dict[str, Any] = {
            "AvailabilityZone": instance.zone,
            "AvailabilityZoneId": instance.zone_id,
            "Tenancy": instance.tenancy,
        }
        if instance.placement_group_id is not None:
            placement["GroupId"] = instance.placement_group_id
            group = self._ec2.placement.groups.get(instance.placement_group_id)
            if group is not None:
                placement["GroupName"] = group.name
        if instance.partition is not None:
            placement["PartitionNumber"] = instance.partition
        described: dict[str, Any] = {
            "InstanceId": instance.instance_id,
            "InstanceType": instance.instance_type,
            "ImageId": instance.image_id,
            "Architecture": "x86_64" if instance.architecture == "amd64" else "arm64",
            "State": {"Code": STATE_CODES[instance.state], "Name": instance.state},
            "StateTransitionReason": instance.transition_reason,
            "LaunchTime": instance.launched_at,
            "Placement": placement,
            "PrivateDnsName": dns_name(instance),
            "PublicDnsName": "",
            "AmiLaunchIndex": 0,
            "ProductCodes": [],
            "Monitoring": {"State": "disabled"},
            "VirtualizationType": "hvm",
            "RootDeviceType": "ebs",
            "Hypervisor": "xen",
            "EbsOptimized": True,
            "EnaSupport": True,
            "SecurityGroups": self._groups(instance.group_ids),
            "BlockDeviceMappings": [
                {
                    "DeviceName": device["DeviceName"],
                    "Ebs": {"VolumeId": device["VolumeId"], "Status": "attached"},
                }
                for device in instance.block_devices
            ],
            "MetadataOptions": {"State": "applied", **instance.metadata_options},
            "NetworkInterfaces": [self._interface(i, instance) for i in instance.interfaces],
            "Tags": tag_list(instance.tags),
        }
        optional: dict[str, Any] = {
            "ClientToken": instance.client_token,
            "InstanceLifecycle": instance.lifecycle,
            "SpotInstanceRequestId": instance.spot_request_id,
            "CapacityReservationId": instance.reservation_id,
            "CapacityReservationSpecification": instance.reservation_specification,
        }
        if instance.state != TERMINATED:
            optional |= {"SubnetId": instance.subnet_id, "VpcId": instance.vpc_id}
            optional["PrivateIpAddress"] = instance.private_ip
        if instance.profile_arn:
            optional["IamInstanceProfile"] = {"Arn": instance.profile_arn, "Id": "AIPASIMULATED"}
        if instance.state_reason:
            code, message = instance.state_reason
            optional["StateReason"] = {"Code": code, "Message": message}
        described |= {key: value for key, value in optional.items() if value is not None}
        return described

    def _groups(self, group_ids: list[str]) -> list[dict[str, str]]:
        groups = self._ec2.network.groups
        return [
            {"GroupId": group_id, "GroupName": groups[group_id].name}
            for group_id in group_ids
            if group_id in groups
        ]

    def _interface(self, interface: Any, instance: InstanceRecord) -> dict[str, Any]:
        described: dict[str, Any] = {
            "NetworkInterfaceId": interface.interface_id,
            "SubnetId": interface.subnet_id,
            "VpcId": instance.vpc_id,
            "Status": "in-use",
            "InterfaceType": interface.interface_type,
            "Description": interface.description,
            "OwnerId": ACCOUNT,
            "SourceDestCheck": True,
            "Groups": self._groups(interface.group_ids),
            "Attachment": {
                "AttachmentId": f"eni-attach-{interface.interface_id[4:]}",
                "AttachTime": instance.launched_at,
                "DeleteOnTermination": interface.delete_on_termination,
                "DeviceIndex": interface.device_index,
                "NetworkCardIndex": interface.card_index,
                "Status": "attached",
            },
            "PrivateIpAddresses": [
                {"Primary": index == 0, "PrivateIpAddress": address}
                for index, address in enumerate(interface.addresses)
            ],
            "Ipv4Prefixes": [{"Ipv4Prefix": prefix} for prefix in interface.prefixes],
        }
        if interface.addresses:
            described["PrivateIpAddress"] = interface.addresses[0]
        return described

    def terminate_instances(self, params: Params) -> Answer:
        instances = [self.get(instance_id) for instance_id in params["InstanceIds"]]
        changes = []
        for instance in instances:
            before = instance.state
            self.terminate(instance)
            changes.append(
                {
                    "InstanceId": instance.instance_id,
                    "PreviousState": {"Code": STATE_CODES[before], "Name": before},
                    "CurrentState": {"Code": STATE_CODES[instance.state], "Name": instance.state},
                }
            )
        return {"TerminatingInstances": changes}

    def describe_instance_status(self, params: Params) -> Answer:
        everything = params.get("IncludeAllInstances", False)
        fields: Fields[InstanceRecord] = {
            "availability-zone": lambda i: i.zone,
            "instance-state-name": lambda i: i.state,
            "event.code": lambda i: [event["Code"] for event in i.events],
            "instance-status.status": lambda i: self._check(i, "instance"),
            "system-status.status": lambda i: self._check(i, "system"),
            "attached-ebs-status.status": lambda i: self._check(i, "ebs"),
        }
        found = [
            instance
            for instance in select_tagged(self._visible(params.get("InstanceIds")), params, fields)
            if everything or instance.state == RUNNING
        ]
        items, token = page(found, params, low=5, high=1000)
        return {"InstanceStatuses": [self._status(instance) for instance in items], **token}

    def _check(self, instance: InstanceRecord, check: str) -> str:
        since = instance.impaired.get(check)
        if since is None or (self._ec2.now() - since).total_seconds() < self._ec2.timings.checks:
            return "ok"
        return "impaired"

    def _status(self, instance: InstanceRecord) -> dict[str, Any]:
        described: dict[str, Any] = {
            "InstanceId": instance.instance_id,
            "AvailabilityZone": instance.zone,
            "AvailabilityZoneId": instance.zone_id,
            "InstanceState": {"Code": STATE_CODES[instance.state], "Name": instance.state},
            "Events": list(instance.events),
        }
        for key, check in (
            ("InstanceStatus", "instance"),
            ("SystemStatus", "system"),
            ("AttachedEbsStatus", "ebs"),
        ):
            status = self._check(instance, check)
            detail: dict[str, Any] = {
                "Name": "reachability",
                "Status": "passed" if status == "ok" else "failed",
            }
            if status != "ok":
                detail["ImpairedSince"] = instance.impaired[check]
            described[key] = {"Status": status, "Details": [detail]}
        return described


def _recover(instance: InstanceRecord, check: str) -> None:
    instance.impaired.pop(check, None)


def _selects(fault: Any, instance: InstanceRecord) -> bool:
    selected: bool = fault.selects_offering(
        instance.instance_type, instance.zone, instance.capacity_type
    )
    return selected
