"""Every field of NodeClass: what of the EC2 request or of the user data it becomes."""

from __future__ import annotations

import base64
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from certificate import CERTIFICATE

from autoctl.api import core
from autoctl.api.nodeclass import NodeClass
from autoctl.aws.eks import ClusterInfo, node_policy
from autoctl.controllers.nodeclass.launch_template import (
    ReservationTarget,
    launch_template,
    serves_pods,
)
from autoctl.controllers.nodeclass.resolve import (
    image_queries,
    images_part,
    left_to_the_cni,
    next_status,
    pod_networking_part,
    reservation_selectors,
    selectors,
)
from autoctl.controllers.nodeclass.userdata import NodeSpecifics, too_old_for, user_data
from autoctl.controllers.nodeclass.validation import certificate_error

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = Path(__file__).with_name("golden")
CLUSTER = ClusterInfo(
    name="prod",
    endpoint="https://prod.eks.invalid",
    certificate_authority="Q0E=",
    version="1.34",
    service_cidr="172.20.0.0/16",
)
NODE = NodeSpecifics(
    labels={"karpenter.sh/nodepool": "web", "team": "a"},
    taints=(
        core.Taint(key="karpenter.sh/unregistered", effect="NoExecute"),
        core.Taint(key="team", value="a", effect="NoSchedule"),
    ),
    max_pods=58,
)
TAGS = [{"tags": {"team": "a"}}]
BASE: dict[str, Any] = {
    "role": "node",
    "subnetSelectorTerms": TAGS,
    "securityGroupSelectorTerms": TAGS,
}
STATUS = {
    "instanceProfile": "eks-profile",
    "securityGroups": [{"id": "sg-1"}, {"id": "sg-2"}],
    "subnets": [{"id": "subnet-1", "zone": "us-west-2a"}],
}


def node_class(spec: Mapping[str, Any], **status: Any) -> NodeClass:
    return NodeClass.from_dict(
        {
            "apiVersion": "eks.amazonaws.com/v1",
            "kind": "NodeClass",
            "metadata": {"name": "web"},
            "spec": {**BASE, **spec},
            "status": {**STATUS, **status},
        }
    )


def made(
    declared: NodeClass, node: NodeSpecifics = NODE, cluster: ClusterInfo = CLUSTER
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The launch template's data and the settings in its user data."""
    template = launch_template(declared, cluster, node, {"team": "a"})
    document = base64.b64decode(template.data["UserData"]).decode()
    return template.data, tomllib.loads(document)["settings"]


def at(tree: Any, path: str) -> Any:
    """The value at `a/b/0`; None where there is none."""
    for part in path.split("/"):
        if isinstance(tree, list):
            tree = tree[int(part)] if int(part) < len(tree) else None
        elif isinstance(tree, Mapping):
            tree = tree.get(part)
        if tree is None:
            return None
    return tree


def under(path: str, value: Any) -> dict[str, Any]:
    """`a.b` and a value as nested mappings."""
    head, _, rest = path.partition(".")
    return {head: under(rest, value) if rest else value}


def kubelet(field: str, value: Any) -> dict[str, Any]:
    return under(f"advancedCompute.kubelet.{field}", value)


EBS = "BlockDeviceMappings/1/Ebs"
K8S = "kubernetes"
INTERFACES = [
    {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"},
    {
        "networkCardIndex": 0,
        "deviceIndex": 1,
        "interfaceType": "interface",
        "secondaryIPv4PrefixCount": 4,
    },
    {
        "networkCardIndex": 0,
        "deviceIndex": 2,
        "interfaceType": "interface",
        "secondaryIPv4Count": 9,
    },
    {"networkCardIndex": 1, "deviceIndex": 1, "interfaceType": "efa-only"},
]

REQUEST: list[tuple[str, dict[str, Any], str, Any]] = [
    ("ephemeralStorage.size", {"ephemeralStorage": {"size": "100Gi"}}, f"{EBS}/VolumeSize", 100),
    ("ephemeralStorage.size", {"ephemeralStorage": {"size": "100G"}}, f"{EBS}/VolumeSize", 94),
    ("ephemeralStorage.iops", {"ephemeralStorage": {"iops": 4000}}, f"{EBS}/Iops", 4000),
    (
        "ephemeralStorage.throughput",
        {"ephemeralStorage": {"throughput": 250}},
        f"{EBS}/Throughput",
        250,
    ),
    (
        "ephemeralStorage.kmsKeyID",
        {"ephemeralStorage": {"kmsKeyID": "alias/k"}},
        f"{EBS}/KmsKeyId",
        "alias/k",
    ),
    (
        "ephemeralStorage.kmsKeyID",
        {"ephemeralStorage": {"kmsKeyID": "alias/k"}},
        "BlockDeviceMappings/0/Ebs/KmsKeyId",
        "alias/k",
    ),
    (
        "advancedNetworking.associatePublicIPAddress",
        {"advancedNetworking": {"associatePublicIPAddress": False}},
        "NetworkInterfaces/0/AssociatePublicIpAddress",
        False,
    ),
    *(
        (
            f"advancedNetworking.networkInterfaces[].{field}",
            {"advancedNetworking": {"networkInterfaces": INTERFACES}},
            f"NetworkInterfaces/{where}",
            value,
        )
        for field, where, value in (
            ("networkCardIndex", "3/NetworkCardIndex", 1),
            ("deviceIndex", "1/DeviceIndex", 1),
            ("interfaceType", "3/InterfaceType", "efa-only"),
            ("secondaryIPv4PrefixCount", "1/Ipv4PrefixCount", 4),
            ("secondaryIPv4Count", "2/SecondaryPrivateIpAddressCount", 9),
        )
    ),
]
"""Field, spec, where in the launch template's data, value."""

SYSCTL = "advancedCompute.kernel.sysctl"
NUMBERS = {
    "fs.aio-max-nr": 65537,
    "fs.inotify.max_user_instances": 8193,
    "fs.inotify.max_user_watches": 8194,
    "fs.nr_open": 1048577,
    "kernel.perf_event_paranoid": -1,
    "net.core.netdev_max_backlog": 1001,
    "net.core.rmem_max": 212993,
    "net.core.somaxconn": 4097,
    "net.core.wmem_max": 212994,
    "net.ipv4.neigh.default.gc_thresh1": 100,
    "net.ipv4.neigh.default.gc_thresh2": 600,
    "net.ipv4.neigh.default.gc_thresh3": 1100,
    "net.ipv4.tcp_congestion_control": "reno",
    "net.ipv4.tcp_fin_timeout": 6,
    "net.ipv4.tcp_keepalive_time": 31,
    "net.ipv4.tcp_max_syn_backlog": 129,
    "net.ipv4.tcp_tw_reuse": 2,
    "user.max_user_namespaces": 11255,
    "vm.dirty_background_ratio": 5,
    "vm.dirty_expire_centisecs": 0,
    "vm.dirty_ratio": 10,
    "vm.dirty_writeback_centisecs": 7,
    "vm.max_map_count": 65531,
    "vm.swappiness": 1,
    "vm.watermark_scale_factor": 11,
}
EVICTION = {
    "hard": {"memory.available": "200Mi", "pid.available": "5%"},
    "soft": {"memory.available": "300Mi"},
    "softGracePeriod": {"memory.available": "90s"},
    "maxPodGracePeriod": 60,
}
HUGEPAGES = {
    "advancedCompute": {
        "hugepages": {
            "pages": [{"size": "2Mi", "count": 512}, {"size": "1Gi", "count": 4}],
            "transparent": {"enabled": "always", "defrag": "defer+madvise"},
        }
    }
}

SETTINGS: list[tuple[str, dict[str, Any], str, Any]] = [
    (
        "advancedNetworking.httpsProxy",
        {"advancedNetworking": {"httpsProxy": "http://192.0.2.4:3128"}},
        "network/https-proxy",
        "http://192.0.2.4:3128",
    ),
    (
        "advancedNetworking.noProxy",
        {"advancedNetworking": {"httpsProxy": "p:1", "noProxy": ["localhost", ".internal"]}},
        "network/no-proxy",
        ["localhost", ".internal"],
    ),
    (
        "advancedSecurity.kernelLockdown",
        {"advancedSecurity": {"kernelLockdown": "integrity"}},
        "kernel/lockdown",
        "integrity",
    ),
    (
        "advancedCompute.hugepages.pages[].size",
        HUGEPAGES,
        "kernel/hugepages/static",
        {"essential": True, "1Gi": {"count": "4"}, "2Mi": {"count": "512"}},
    ),
    (
        "advancedCompute.hugepages.pages[].count",
        HUGEPAGES,
        "kernel/hugepages/static/2Mi/count",
        "512",
    ),
    (
        "advancedCompute.hugepages.transparent.enabled",
        HUGEPAGES,
        "kernel/hugepages/transparent/enabled",
        "always",
    ),
    (
        "advancedCompute.hugepages.transparent.defrag",
        HUGEPAGES,
        "kernel/hugepages/transparent/defrag",
        "defer+madvise",
    ),
    *(
        (f"advancedCompute.kubelet.{field}", kubelet(field, value), f"{K8S}/{where}", shown)
        for field, value, where, shown in (
            ("podPidsLimit", 1024, "pod-pids-limit", 1024),
            ("podPidsLimit", -1, "pod-pids-limit", -1),
            ("idsPerPod", 131072, "ids-per-pod", 131072),
            ("singleProcessOOMKill", False, "single-process-oom-kill", False),
            ("logging.containerLogMaxSize", "20Mi", "container-log-max-size", "20Mi"),
            ("logging.containerLogMaxFiles", 7, "container-log-max-files", 7),
            ("allowedUnsafeSysctls", ["net.*"], "allowed-unsafe-sysctls", ["net.*"]),
        )
    ),
    (
        "advancedCompute.kubelet.eviction.hard",
        kubelet("eviction", EVICTION),
        f"{K8S}/eviction-hard",
        # A kubelet that is given any forgets its own: these are given with them.
        {
            "imagefs.available": "15%",
            "imagefs.inodesFree": "5%",
            "memory.available": "200Mi",
            "nodefs.available": "10%",
            "nodefs.inodesFree": "5%",
            "pid.available": "5%",
        },
    ),
    *(
        (
            f"advancedCompute.kubelet.eviction.{field}",
            kubelet("eviction", EVICTION),
            f"{K8S}/{where}",
            EVICTION[field],
        )
        for field, where in (
            ("soft", "eviction-soft"),
            ("softGracePeriod", "eviction-soft-grace-period"),
            ("maxPodGracePeriod", "eviction-max-pod-grace-period"),
        )
    ),
    *(
        (
            f"{SYSCTL}.{name}",
            {"advancedCompute": {"kernel": {"sysctl": {name: value}}}},
            f"kernel/sysctl/{name}",
            str(value),
        )
        for name, value in NUMBERS.items()
    ),
    *(
        (
            f"certificateBundles[].{field}",
            {"certificateBundles": [{"name": "corp", "data": "UEVN"}]},
            "pki/corp",
            {"data": "UEVN", "trusted": True},
        )
        for field in ("name", "data")
    ),
]
"""Field, spec, where in the node's settings, value."""

ELSEWHERE = {
    "role": "instance profile made for it: test_builtin, test_launch",
    "instanceProfile": "test_status_becomes_part_of_the_request",
    "subnetSelectorTerms[].tags": "test_selectors",
    "subnetSelectorTerms[].id": "test_selectors",
    "securityGroupSelectorTerms[].tags": "test_selectors",
    "securityGroupSelectorTerms[].id": "test_selectors",
    "securityGroupSelectorTerms[].name": "test_selectors",
    "podSubnetSelectorTerms[].tags": "test_selectors; pods' interfaces",
    "podSubnetSelectorTerms[].id": "test_selectors; pods' interfaces",
    "podSecurityGroupSelectorTerms[].tags": "test_selectors; pods' interfaces",
    "podSecurityGroupSelectorTerms[].id": "test_selectors; pods' interfaces",
    "capacityReservationSelectorTerms[].id": "test_selectors",
    "capacityReservationSelectorTerms[].tags": "test_selectors",
    "capacityReservationSelectorTerms[].owner": "test_selectors",
    "placementGroupSelector.name": "test_market",
    "placementGroupSelector.id": "test_market",
    "advancedSecurity.fips": "test_fips_is_another_image",
    "advancedCompute.kubelet.maxPods": "density of the catalog, then max-pods",
    "snatPolicy": "the node's network agent",
    "networkPolicy": "the node's network agent",
    "networkPolicyEventLogs": "the node's network agent",
    "advancedNetworking.ipv4PrefixSize": "the interfaces' controller",
    "advancedNetworking.enableV4Egress": "the node's network agent",
    "tags": "tags of every resource: test_launch",
}
"""Fields that become neither, with who reads them."""


@pytest.mark.parametrize(("field", "spec", "where", "value"), REQUEST, ids=lambda v: str(v)[:60])
def test_fields_of_the_ec2_request(
    field: str, spec: dict[str, Any], where: str, value: Any
) -> None:
    data, _ = made(node_class(spec))
    plain, _ = made(node_class({}))
    assert at(data, where) == value, field
    assert at(plain, where) != value, "the table's value must not be the default"


@pytest.mark.parametrize(("field", "spec", "where", "value"), SETTINGS, ids=lambda v: str(v)[:60])
def test_fields_of_the_user_data(field: str, spec: dict[str, Any], where: str, value: Any) -> None:
    if where.startswith("kernel/sysctl/"):
        _, settings = made(node_class(spec))
        assert settings["kernel"]["sysctl"] == {where.removeprefix("kernel/sysctl/"): value}
        return
    _, settings = made(node_class(spec))
    _, plain = made(node_class({}))
    assert at(settings, where) == value, field
    assert at(plain, where) is None, "the table's value must not be the default"


def leaves(path: list[str], schema: Mapping[str, Any]) -> Iterator[str]:
    """The fields of a schema without fields of their own."""
    if schema.get("properties"):
        for name, below in schema["properties"].items():
            yield from leaves([*path, name], below)
    elif schema.get("type") == "array" and schema["items"].get("properties"):
        *before, last = path
        for name, below in schema["items"]["properties"].items():
            yield from leaves([*before, f"{last}[]", name], below)
    else:
        yield ".".join(path)


def test_no_field_is_forgotten() -> None:
    definition = yaml.safe_load((ROOT / "crds" / "eks.amazonaws.com_nodeclasses.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    known = set(leaves([], schema["properties"]["spec"]))
    tried = {field for field, *_ in (*REQUEST, *SETTINGS)}
    assert len(known) > 70
    assert tried | set(ELSEWHERE) == known
    assert not tried & set(ELSEWHERE)


def test_status_becomes_part_of_the_request() -> None:
    data, _ = made(node_class({}, placementGroup={"id": "pg-1"}))
    assert data["IamInstanceProfile"] == {"Name": "eks-profile"}
    assert data["SecurityGroupIds"] == ["sg-1", "sg-2"]
    assert data["Placement"] == {"GroupId": "pg-1"}
    interfaces, _ = made(node_class({"advancedNetworking": {"networkInterfaces": INTERFACES}}))
    assert "SecurityGroupIds" not in interfaces, "EC2 takes them with the interfaces then"
    assert all(i["Groups"] == ["sg-1", "sg-2"] for i in interfaces["NetworkInterfaces"])


def test_instances_are_locked_down_whatever_the_class_says() -> None:
    data, settings = made(node_class({}))
    assert data["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpProtocolIpv6": "disabled",
        "HttpPutResponseHopLimit": 1,
        "HttpTokens": "required",
    }
    volumes = [mapping["Ebs"] for mapping in data["BlockDeviceMappings"]]
    assert all(v["Encrypted"] and v["DeleteOnTermination"] for v in volumes)
    assert settings["host-containers"] == {
        "admin": {"enabled": False},
        "control": {"enabled": False},
    }


def test_an_instance_store_becomes_the_nodes_storage() -> None:
    data, settings = made(
        node_class({"ephemeralStorage": {"size": "100Gi"}}),
        NodeSpecifics(NODE.labels, NODE.taints, NODE.max_pods, nvme=True),
    )
    assert at(data, f"{EBS}/VolumeSize") == 20
    fast, _ = made(
        node_class({"ephemeralStorage": {"iops": 16000, "throughput": 1000}}),
        NodeSpecifics(NODE.labels, NODE.taints, NODE.max_pods, nvme=True),
    )
    assert at(fast, f"{EBS}/Iops") == 10000, "a small volume takes 500 a GiB"
    assert at(fast, f"{EBS}/Throughput") == 1000
    commands = settings["bootstrap-commands"]["ephemeral-storage"]["commands"]
    assert commands[0] == ["apiclient", "ephemeral-storage", "init"]


@pytest.mark.parametrize(
    ("target", "open_matching", "expected"),
    [
        (None, True, {"CapacityReservationPreference": "open"}),
        (None, False, {"CapacityReservationPreference": "none"}),
        (
            ReservationTarget("cr-1"),
            True,
            {"CapacityReservationTarget": {"CapacityReservationId": "cr-1"}},
        ),
    ],
)
def test_reservations(
    target: ReservationTarget | None, open_matching: bool, expected: dict[str, Any]
) -> None:
    template = launch_template(
        node_class({}), CLUSTER, NODE, {}, reservation=target, open_matching=open_matching
    )
    assert template.data["CapacityReservationSpecification"] == expected


@pytest.mark.parametrize("market", ["capacity-block", "interruptible-capacity-reservation"])
def test_special_reservations_are_markets_of_their_own(market: str) -> None:
    target = ReservationTarget("cr-1", market)
    template = launch_template(node_class({}), CLUSTER, NODE, {}, reservation=target)
    assert template.data["InstanceMarketOptions"] == {"MarketType": market}
    assert template.data["CapacityReservationSpecification"] == {
        "CapacityReservationTarget": {"CapacityReservationId": "cr-1"}
    }


def interfaces_of(
    spec: dict[str, Any], node: NodeSpecifics = NODE, *, ipv6: bool = False
) -> list[dict[str, Any]]:
    """What the template says of interfaces beside groups and deletion, which all have."""
    data, _ = made(node_class(spec), node, replace(CLUSTER, ipv6=ipv6))
    found = []
    for interface in data["NetworkInterfaces"]:
        assert interface["Groups"] == ["sg-1", "sg-2"]
        assert interface["DeleteOnTermination"]
        found.append(
            {k: v for k, v in interface.items() if k not in ("Groups", "DeleteOnTermination")}
        )
    return found


def test_nodes_of_ipv6_clusters_have_an_ipv6_address() -> None:
    address = {"Ipv6AddressCount": 1, "PrimaryIpv6": True}
    assert interfaces_of({}, ipv6=True) == [{"DeviceIndex": 0} | address]
    public = {"advancedNetworking": {"associatePublicIPAddress": True}}
    assert interfaces_of(public, ipv6=True) == [
        {"DeviceIndex": 0, "AssociatePublicIpAddress": True} | address
    ]
    data, _ = made(node_class({}), cluster=replace(CLUSTER, ipv6=True))
    assert data["MetadataOptions"]["HttpProtocolIpv6"] == "enabled"


def test_adapters_that_pods_ask_for_are_interfaces() -> None:
    one = replace(NODE, efa=(0,))
    assert interfaces_of({}, one) == [{"DeviceIndex": 0, "InterfaceType": "efa"}]
    public = {"advancedNetworking": {"associatePublicIPAddress": False}}
    four = replace(NODE, efa=(0, 1, 2, 3))
    assert interfaces_of(public, four) == [
        {"DeviceIndex": 0, "InterfaceType": "efa"},
        *(
            {"NetworkCardIndex": card, "DeviceIndex": 0, "InterfaceType": "efa-only"}
            for card in (1, 2, 3)
        ),
    ], "EC2 takes no word on public addresses with several interfaces"
    beside = replace(NODE, efa=(1, 2))
    assert interfaces_of({}, beside) == [
        {"DeviceIndex": 0},
        *(
            {"NetworkCardIndex": card, "DeviceIndex": 0, "InterfaceType": "efa-only"}
            for card in (1, 2)
        ),
    ]


def test_static_interfaces_for_pods_are_in_the_pods_subnet_and_groups() -> None:
    """The primary one has the node's, and EFA-only ones, which carry no IP traffic, as well."""
    declared = node_class(
        {
            "podSubnetSelectorTerms": TAGS,
            "podSecurityGroupSelectorTerms": TAGS,
            "advancedNetworking": {"networkInterfaces": INTERFACES},
        },
        podSecurityGroups=[{"id": "sg-pods"}],
    )
    assert serves_pods(declared)
    data, _ = made(declared, replace(NODE, subnet="subnet-1", pod_subnet="subnet-pods"))
    assert [(i["SubnetId"], i["Groups"]) for i in data["NetworkInterfaces"]] == [
        ("subnet-1", ["sg-1", "sg-2"]),
        ("subnet-pods", ["sg-pods"]),
        ("subnet-pods", ["sg-pods"]),
        ("subnet-1", ["sg-1", "sg-2"]),
    ]
    primary_alone = node_class({"advancedNetworking": {"networkInterfaces": INTERFACES[:1]}})
    assert not serves_pods(primary_alone)
    assert not serves_pods(node_class({}))


@pytest.mark.parametrize(
    ("field", "value", "setting", "first"),
    [
        ("singleProcessOOMKill", True, "single-process-oom-kill", (1, 32)),
        ("idsPerPod", 131072, "ids-per-pod", (1, 33)),
    ],
)
def test_older_kubelets_are_not_given_what_they_do_not_know(
    field: str, value: Any, setting: str, first: tuple[int, int]
) -> None:
    spec = kubelet(field, value)
    for minor, known in ((first[1] - 1, None), (first[1], value)):
        version = f"{first[0]}.{minor}"
        _, settings = made(node_class(spec), cluster=replace(CLUSTER, version=version))
        assert at(settings, f"{K8S}/{setting}") == known


@pytest.mark.parametrize(
    ("spec", "release", "lacking"),
    [
        (kubelet("singleProcessOOMKill", False), "1.38.0", ["singleProcessOOMKill"]),
        (kubelet("singleProcessOOMKill", False), "1.39.0", []),
        (kubelet("idsPerPod", 65536), "1.50.0-a1b2c3d4", ["idsPerPod"]),
        (kubelet("idsPerPod", 65536), "1.51.0", []),
        (HUGEPAGES, "1.63.1", ["hugepages"]),
        (HUGEPAGES, "1.64.0", []),
        ({"advancedCompute": {"hugepages": {"pages": []}}}, "1.50.0", []),
        ({}, "1.20.0", []),
    ],
)
def test_releases_that_would_refuse_the_user_data(
    spec: dict[str, Any], release: str, lacking: list[str]
) -> None:
    found = too_old_for(node_class(spec), release)
    assert [setting.field.rpartition(".")[2] for setting in found] == lacking


def test_certificate_bundles_are_as_bottlerocket_takes_them() -> None:
    """Names of letters, digits and hyphens, each once; base64 in one line."""
    bundles = [
        {"name": "corp_root", "data": "UE\r\nVN\n"},
        {"name": "corp-root", "data": "Q0E="},
        {"name": "other", "data": "Q0E="},
    ]
    _, settings = made(node_class({"certificateBundles": bundles}))
    assert {name: bundle["data"] for name, bundle in settings["pki"].items()} == {
        "corp-root": "Q0E=",
        "corp-root-": "UEVN",
        "other": "Q0E=",
    }


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


PEM = base64.b64decode(CERTIFICATE).decode()


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (CERTIFICATE, None),
        (f"{CERTIFICATE[:76]}\n{CERTIFICATE[76:]}\n", None),
        (encoded(f"# two of them\n{PEM}{PEM}"), None),
        ("Q", "base64-encoded"),
        (encoded("no certificate"), "at least one"),
        (encoded("-----BEGIN CERTIFICATE-----\n"), "at least one"),
        (encoded(PEM.replace("MII", "AAA")), "block 1"),
        (encoded(f"{PEM}{PEM.replace('CERTIFICATE', 'PRIVATE KEY')}"), "PRIVATE KEY as block 2"),
    ],
)
def test_certificates_that_nodes_would_not_boot_with_are_found(
    data: str, wrong: str | None
) -> None:
    found = certificate_error(data)
    assert (found is None) if wrong is None else (wrong in str(found))


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({}, []),
        ({"snatPolicy": "Random", "networkPolicy": "DefaultAllow"}, []),
        ({"snatPolicy": "Disabled"}, ["snatPolicy"]),
        ({"networkPolicy": "DefaultDeny"}, ["networkPolicy"]),
        ({"networkPolicyEventLogs": "Enabled"}, ["networkPolicyEventLogs"]),
        (
            {"advancedNetworking": {"ipv4PrefixSize": "32", "enableV4Egress": False}},
            ["advancedNetworking.ipv4PrefixSize", "advancedNetworking.enableV4Egress"],
        ),
        (
            {"podSubnetSelectorTerms": TAGS, "podSecurityGroupSelectorTerms": TAGS},
            ["podSubnetSelectorTerms, podSecurityGroupSelectorTerms"],
        ),
        (
            {
                "podSubnetSelectorTerms": TAGS,
                "podSecurityGroupSelectorTerms": TAGS,
                "advancedNetworking": {"networkInterfaces": INTERFACES},
            },
            [],
        ),
    ],
)
def test_what_is_left_to_the_cni_is_told(spec: dict[str, Any], fields: list[str]) -> None:
    declared = node_class(spec)
    assert list(left_to_the_cni(declared)) == fields
    part = pod_networking_part(declared)
    assert part.verdict.ok is (not fields)
    assert all(field in part.verdict.message for field in fields)
    told = next_status(declared, [part], datetime(2026, 1, 5, tzinfo=UTC))
    kinds = {condition.type for condition in told.conditions}
    assert ("PodNetworkingApplied" in kinds) is bool(fields)
    again = declared.model_copy(update={"status": told})
    quiet = next_status(
        again, [pod_networking_part(node_class({}))], datetime(2026, 1, 5, tzinfo=UTC)
    )
    assert "PodNetworkingApplied" not in {condition.type for condition in quiet.conditions}


def test_nodes_reserve_what_scheduling_counts_on() -> None:
    _, settings = made(node_class({}))
    assert settings["kubernetes"]["kube-reserved"] == {
        "memory": f"{11 * NODE.max_pods + 255}Mi",
        "ephemeral-storage": "1Gi",
    }


def test_selectors() -> None:
    spec = node_class(
        {
            "subnetSelectorTerms": [{"id": "subnet-9"}, {"tags": {"a": "*", "b": "c"}}],
            "securityGroupSelectorTerms": [{"name": "n"}, {"id": "sg-9"}],
            "capacityReservationSelectorTerms": [
                {"id": "cr-9"},
                {"tags": {"a": "b"}, "owner": "111122223333"},
            ],
        }
    )
    subnets = selectors(spec.spec.subnet_selector_terms)
    assert [(s.id, s.tags) for s in subnets] == [
        ("subnet-9", ()),
        (None, (("a", "*"), ("b", "c"))),
    ]
    groups = selectors(spec.spec.security_group_selector_terms)
    assert [(s.id, s.name) for s in groups] == [(None, "n"), ("sg-9", None)]
    reservations = reservation_selectors(spec)
    assert [(r.id, r.owner, r.tags) for r in reservations] == [
        ("cr-9", None, ()),
        (None, "111122223333", (("a", "b"),)),
    ]


def test_fips_is_another_image() -> None:
    plain = image_queries(node_class({}), "1.34")
    fips = image_queries(node_class({"advancedSecurity": {"fips": True}}), "1.34")
    assert all("-fips" not in q.parameter for q in plain)
    assert all("-fips/" in q.parameter for q in fips)


def pinned(version: str) -> NodeClass:
    found = node_class({})
    notes = {"autoctl.io/bottlerocket-version": version}
    metadata = found.metadata.model_copy(update={"annotations": notes})
    return found.model_copy(update={"metadata": metadata})


def test_an_older_release_can_be_pinned() -> None:
    latest = image_queries(node_class({}), "1.34")
    older = image_queries(pinned("1.50.0"), "1.34")
    assert all("/latest/" in q.parameter for q in latest)
    assert [q.parameter for q in older] == [
        q.parameter.replace("/latest/", "/1.50.0/") for q in latest
    ]
    assert image_queries(pinned("1.50.0-a1b2c3d4"), "1.34")


@pytest.mark.parametrize("version", ["", "newest", "1.50", "1.50.0/../../x", "v1.50.0"])
def test_what_is_no_release_finds_nothing_and_says_so(version: str) -> None:
    declared = pinned(version)
    assert image_queries(declared, "1.34") == []
    part = images_part(declared, [], "1.34")
    assert part.verdict.ok is False
    assert repr(version) in part.verdict.message


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_the_access_policy_is_of_the_roles_partition(partition: str) -> None:
    found = node_policy(f"arn:{partition}:iam::123456789012:role/node")
    assert found == f"arn:{partition}:eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy"


def test_equal_content_has_the_equal_name() -> None:
    first = launch_template(node_class({}), CLUSTER, NODE, {"team": "a"})
    again = launch_template(node_class({}), CLUSTER, NODE, {"team": "a"})
    other = launch_template(
        node_class({"ephemeralStorage": {"iops": 3001}}), CLUSTER, NODE, {"team": "a"}
    )
    assert first.name == again.name != other.name


@pytest.mark.parametrize("name", ["plain", "everything"])
def test_user_data_is_as_recorded(name: str) -> None:
    """Golden files: a change of what nodes start with must be seen in a review."""
    spec: dict[str, Any] = {}
    if name == "everything":
        spec = {
            "advancedNetworking": {"httpsProxy": "http://192.0.2.4:3128", "noProxy": ["localhost"]},
            "advancedSecurity": {"kernelLockdown": "integrity"},
            "certificateBundles": [{"name": "corp", "data": "UEVN"}],
            "advancedCompute": {
                **HUGEPAGES["advancedCompute"],
                "kubelet": {
                    "podPidsLimit": 1024,
                    "idsPerPod": 131072,
                    "singleProcessOOMKill": True,
                    "eviction": EVICTION,
                    "logging": {"containerLogMaxSize": "20Mi", "containerLogMaxFiles": 7},
                    "allowedUnsafeSysctls": ["net.*"],
                },
                "kernel": {"sysctl": NUMBERS},
            },
        }
    nvme = name == "everything"
    node = NodeSpecifics(NODE.labels, NODE.taints, NODE.max_pods, nvme=nvme)
    mirrors = (("docker.io", ("https://a.invalid", "https://b.invalid")), ("*", ("http://c",)))
    cluster = replace(CLUSTER, registry_mirrors=mirrors) if name == "everything" else CLUSTER
    document = user_data(node_class(spec), cluster, node)
    assert document == (GOLDEN / f"{name}.toml").read_text()
