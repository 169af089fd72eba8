"""An AWS account in which the scenario's NodeClasses find what they select.

A scenario is written for a cluster of its author's: roles, subnets and security groups there have
names and tags that the simulated account cannot know. They are made when a NodeClass asks for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import cycle

from autoctl.ports.kubernetes import Object
from autoctl.sim.cloud.cloud import SimulatedCloud
from autoctl.sim.cloud.ec2.records import SecurityGroup
from autoctl.simulate.scenario import Reservation

_ANY = "*"


def furnish(cloud: SimulatedCloud, node_class: Object) -> None:
    """Make the role, instance profile, subnets and security groups the NodeClass names."""
    spec = node_class.get("spec") or {}
    role, profile = spec.get("role"), spec.get("instanceProfile")
    if isinstance(role, str) and role not in cloud.iam.roles:
        cloud.iam.add_role(role)
    if isinstance(profile, str) and profile not in cloud.iam.profiles:
        _furnish_profile(cloud, profile)
    for field in ("subnetSelectorTerms", "podSubnetSelectorTerms"):
        for term in spec.get(field) or ():
            _furnish_subnets(cloud, term)
    for field in ("securityGroupSelectorTerms", "podSecurityGroupSelectorTerms"):
        for term in spec.get(field) or ():
            _furnish_groups(cloud, term)


def furnish_reservations(cloud: SimulatedCloud, wanted: Iterable[Reservation]) -> None:
    """Make the capacity reservations of a scenario."""
    for one in wanted:
        ends = None if one.for_ is None else cloud.now() + one.for_
        cloud.ec2.capacity.add_reservation(
            one.instance_type, one.zone, one.count, tags=dict(one.tags), ends_at=ends
        )


def _furnish_profile(cloud: SimulatedCloud, name: str) -> None:
    iam = cloud.client("iam")
    iam.create_instance_profile(InstanceProfileName=name)
    if name not in cloud.iam.roles:
        cloud.iam.add_role(name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def _furnish_subnets(cloud: SimulatedCloud, term: Mapping[str, object]) -> None:
    network = cloud.ec2.network
    identifier, tags = term.get("id"), term.get("tags")
    if isinstance(identifier, str) and identifier not in network.subnets:
        zones = cycle(cloud.ec2.types.zones)
        index = len(network.subnets)
        zone = [next(zones) for _ in range(index + 1)][-1]
        made = network.add_subnet(zone, f"10.{index + 1}.0.0/19")
        del network.subnets[made.subnet_id]
        network.subnets[identifier] = replace(made, subnet_id=identifier)
    if isinstance(tags, dict) and not _any_has(network.subnets.values(), tags):
        for subnet in network.subnets.values():
            subnet.tags.update(_concrete(tags))


def _furnish_groups(cloud: SimulatedCloud, term: Mapping[str, object]) -> None:
    network = cloud.ec2.network
    identifier, name, tags = term.get("id"), term.get("name"), term.get("tags")
    if isinstance(identifier, str) and identifier not in network.groups:
        made = network.add_security_group(identifier)
        del network.groups[made.group_id]
        network.groups[identifier] = SecurityGroup(
            identifier, made.name, made.vpc_id, made.description, made.tags
        )
    if isinstance(name, str) and all(g.name != name for g in network.groups.values()):
        network.add_security_group(name)
    if isinstance(tags, dict) and not _any_has(network.groups.values(), tags):
        network.add_security_group("selected-by-tags", tags=_concrete(tags))


def _any_has(tagged: Iterable[object], wanted: Mapping[str, str]) -> bool:
    return any(
        all(key in tags and value in (_ANY, tags[key]) for key, value in wanted.items())
        for tags in (getattr(t, "tags", {}) for t in tagged)
    )


def _concrete(tags: Mapping[str, str]) -> dict[str, str]:
    return {k: "1" if v in (_ANY, "") else v for k, v in tags.items()}
