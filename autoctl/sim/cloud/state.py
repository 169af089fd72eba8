"""What a simulated account holds, as plain data: for leak checks and for looking at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoctl.sim.cloud.cloud import SimulatedCloud


def dump_state(cloud: SimulatedCloud) -> dict[str, Any]:
    """Instances, launch templates, interfaces, profiles and access entries by their names."""
    ec2 = cloud.ec2
    return {
        "instances": {
            instance.instance_id: {
                "type": instance.instance_type,
                "zone": instance.zone,
                "capacityType": instance.capacity_type,
                "state": instance.state,
                "launchedAt": instance.launched_at.isoformat(),
                "imageId": instance.image_id,
                "clientToken": instance.client_token,
                "reservationId": instance.reservation_id,
                "tags": dict(instance.tags),
            }
            for instance in ec2.instances.records.values()
        },
        "launchTemplates": {
            template.name: {"id": template.template_id, "tags": dict(template.tags)}
            for template in ec2.templates.templates.values()
        },
        "interfaces": sorted(ec2.network.interfaces),
        "instanceProfiles": {
            profile.name: {"role": profile.role, "tags": dict(profile.tags)}
            for profile in cloud.iam.profiles.values()
        },
        "accessEntries": {
            entry.principal: {"type": entry.kind, "policies": sorted(entry.policies)}
            for entry in cloud.eks.entries.values()
        },
        "bottlerocket": cloud.ssm.latest,
    }
