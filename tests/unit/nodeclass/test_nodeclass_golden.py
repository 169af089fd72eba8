"""Every field of NodeClass, as recorded: all that it changes of the requests, and nothing else.

`golden/fields.txt` has a section for each field: what is there because of it (`+`) and what is not
any more (`-`), of the launch template, its user data and CreateFleet. The requests are made the way
a launch makes them, from the class and what its status resolved. After a change that is meant, run
this file to write the record anew.
"""

from __future__ import annotations

import base64
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml
from test_nodeclass_fields import (
    CLUSTER,
    GOLDEN,
    INTERFACES,
    REQUEST,
    ROOT,
    SETTINGS,
    TAGS,
    leaves,
    node_class,
)

from autoctl.api import labels
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.aws.fleet import FleetConfig, FleetRequest, LaunchOrder, fleet_arguments
from autoctl.aws.instance_types import class_types
from autoctl.aws.market import embedded_market
from autoctl.aws.tags import resource_tags
from autoctl.controllers.lifecycle.launch_options import LaunchOptions
from autoctl.controllers.lifecycle.launch_plan import launch_digest, plan_launch
from autoctl.controllers.nodeclass.launch_template import launch_template
from autoctl.controllers.nodeclass.resolve import (
    image_queries,
    image_status,
    pod_networking_part,
)

RECORD = GOLDEN / "fields.txt"
MARKET = embedded_market("us-west-2")
ZONE = "us-west-2a"

RESERVATION = {
    "id": "cr-9",
    "availabilityZone": ZONE,
    "instanceType": "m5.large",
    "instanceMatchCriteria": "targeted",
    "ownerID": "111122223333",
    "availableInstanceCount": 1,
}
PODS = {
    "podSubnetSelectorTerms": [{"id": "subnet-9"}],
    "podSecurityGroupSelectorTerms": [{"id": "sg-9"}],
    "advancedNetworking": {"networkInterfaces": INTERFACES},
}
POD_STATUS = {
    "podSubnets": [{"id": "subnet-9", "zone": ZONE}],
    "podSecurityGroups": [{"id": "sg-9"}],
}


def selected(field: str, kinds: tuple[str, ...], **status: Any) -> Iterator[tuple[str, Any, Any]]:
    """A list of selector terms, for each way to select: what the status found is what counts."""
    prefix = {"sub": "subnet", "sec": "sg", "cap": "cr"}[field[:3]]
    terms = {"id": [{"id": f"{prefix}-9"}], "tags": TAGS, "name": [{"name": "n"}]}
    for kind in kinds:
        yield f"{field}[].{kind}", {field: terms[kind]}, status


RESOLVED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("role", {"role": "other"}, {"instanceProfile": "eks-made-for-the-role"}),
    ("instanceProfile", {"role": None, "instanceProfile": "own"}, {"instanceProfile": "own"}),
    *selected("subnetSelectorTerms", ("tags", "id"), subnets=[{"id": "subnet-9", "zone": ZONE}]),
    *selected(
        "securityGroupSelectorTerms", ("tags", "id", "name"), securityGroups=[{"id": "sg-9"}]
    ),
    *((f"podSubnetSelectorTerms[].{kind}", PODS, POD_STATUS) for kind in ("tags", "id")),
    *((f"podSecurityGroupSelectorTerms[].{kind}", PODS, POD_STATUS) for kind in ("tags", "id")),
    *selected(
        "capacityReservationSelectorTerms", ("id", "tags"), capacityReservations=[RESERVATION]
    ),
    (
        "capacityReservationSelectorTerms[].owner",
        {"capacityReservationSelectorTerms": [{"tags": {"a": "b"}, "owner": "111122223333"}]},
        {"capacityReservations": [RESERVATION]},
    ),
    *(
        (
            f"placementGroupSelector.{kind}",
            {"placementGroupSelector": {kind: "pg-9"}},
            {"placementGroup": {"id": "pg-9", "name": "near", "strategy": "spread"}},
        )
        for kind in ("name", "id")
    ),
    ("advancedSecurity.fips", {"advancedSecurity": {"fips": True}}, {}),
    ("advancedCompute.kubelet.maxPods", {"advancedCompute": {"kubelet": {"maxPods": 20}}}, {}),
    ("snatPolicy", {"snatPolicy": "Disabled"}, {}),
    ("networkPolicy", {"networkPolicy": "DefaultDeny"}, {}),
    ("networkPolicyEventLogs", {"networkPolicyEventLogs": "Enabled"}, {}),
    (
        "advancedNetworking.ipv4PrefixSize",
        {"advancedNetworking": {"ipv4PrefixSize": "32"}},
        {},
    ),
    (
        "advancedNetworking.enableV4Egress",
        {"advancedNetworking": {"enableV4Egress": False}},
        {},
    ),
    ("tags", {"tags": {"team": "a"}}, {}),
]
"""Field, spec and status of fields that count by what the status resolved, or by the type."""


def cases() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Field -> the spec and status that are tried for it; the first of several."""
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for field, spec, *_ in (*REQUEST, *SETTINGS):
        found.setdefault(field, (spec, {}))
    for field, spec, status in RESOLVED:
        found.setdefault(field, (spec, status))
    return dict(sorted(found.items()))


def requests(spec: Mapping[str, Any], status: Mapping[str, Any], type_name: str) -> set[str]:
    """Every leaf of the requests of a launch, a line each."""
    bare = node_class(spec, **status)
    images = [image_status(query, query.parameter) for query in image_queries(bare, "1.34")]
    declared = node_class(spec, **status, amis=[image.to_dict() for image in images])
    market = replace(MARKET, types={type_name: MARKET.types[type_name]})
    claim = claimed(type_name)
    options = LaunchOptions(class_types(declared, market), "us-west-2")
    plan = plan_launch(claim, declared, options)
    (group,) = plan.groups
    tags = resource_tags("prod", "web", claim.node_pool, declared.spec.tags or {})
    matching = not declared.spec.capacity_reservation_selector_terms
    template = launch_template(
        declared,
        CLUSTER,
        group.specifics,
        tags,
        reservation=plan.reservation,
        open_matching=matching,
    )
    data = dict(template.data)
    settings = tomllib.loads(base64.b64decode(data.pop("UserData")).decode())
    request = FleetRequest(
        plan.capacity_type,
        (FleetConfig("template", group.overrides),),
        tuple(sorted(tags.items())),
        (launch_digest(claim),),
    )
    fleet = fleet_arguments(request, [LaunchOrder(request, "uid", "web-1")])
    del fleet["ClientToken"]
    tree = {"template": data, "user-data": settings, "fleet": fleet, **told(declared)}
    return set(lines(tree, ""))


def told(declared: NodeClass) -> dict[str, str]:
    """What the class's status says of fields that are left to the CNI."""
    verdict = pod_networking_part(declared).verdict
    return {} if verdict.ok else {"PodNetworkingApplied": verdict.message}


def claimed(type_name: str) -> NodeClaim:
    reference = {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "web"}
    wanted = {
        labels.INSTANCE_TYPE: [type_name],
        labels.ZONE: [ZONE],
        labels.CAPACITY_TYPE: ["reserved", "on-demand"],
    }
    requirements = [{"key": k, "operator": "In", "values": v} for k, v in wanted.items()]
    return NodeClaim.from_dict(
        {
            "metadata": {"name": "web-1", "labels": {labels.NODEPOOL: "web"}},
            "spec": {"nodeClassRef": reference, "requirements": requirements},
        }
    )


def lines(tree: Any, path: str) -> Iterator[str]:
    if isinstance(tree, Mapping) and tree:
        for key, below in tree.items():
            yield from lines(below, f"{path}.{key}" if path else key)
    elif isinstance(tree, list) and tree and not all(isinstance(item, str) for item in tree):
        for index, below in enumerate(tree):
            # Tags are told by their keys: their order says nothing.
            place = below["Key"] if isinstance(below, Mapping) and "Key" in below else index
            yield from lines(below, f"{path}[{place}]")
    else:
        yield f"{path} = {tree!r}"


def section(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """What the field changes, against a class without it."""
    cards = bool(spec.get("advancedNetworking", {}).get("networkInterfaces"))
    type_name = "p4d.24xlarge" if cards else "m5.large"
    plain, found = requests({}, {}, type_name), requests(spec, status, type_name)
    gone = [f"- {line}" for line in sorted(plain - found)]
    return "\n".join([*gone, *(f"+ {line}" for line in sorted(found - plain))])


def recorded() -> dict[str, str]:
    found: dict[str, str] = {}
    for part in RECORD.read_text().split("\n\n"):
        field, _, body = part.strip().partition("\n")
        found[field] = body
    return found


@pytest.mark.parametrize("field", cases())
def test_it_changes_what_is_recorded(field: str) -> None:
    found = section(*cases()[field])
    assert found, "the field does nothing"
    assert found == recorded()[field]


def test_every_field_is_recorded() -> None:
    definition = yaml.safe_load((ROOT / "crds" / "eks.amazonaws.com_nodeclasses.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert set(cases()) == set(leaves([], schema["properties"]["spec"])) == set(recorded())


if __name__ == "__main__":
    RECORD.write_text(
        "\n\n".join(f"{field}\n{section(*case)}" for field, case in cases().items()) + "\n"
    )
