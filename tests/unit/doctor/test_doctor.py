"""`autoctl doctor` names every misconfiguration, says how to mend it, and finds no other."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from autoctl.aws.clients import Clients
from autoctl.aws.executor import DirectExecutor
from autoctl.operator.doctor.policies import Place as Location
from autoctl.operator.doctor.policies import principal, questions
from autoctl.operator.doctor.report import Finding, Level, Report
from autoctl.operator.doctor.run import Patient, examine
from autoctl.operator.preflight import REQUIRED_RESOURCES
from autoctl.ports.clock import FixedClock
from autoctl.ports.kubernetes import (
    LEASES,
    NODE_CLAIMS,
    NODE_CLASSES,
    NODE_POOLS,
    NODES,
    NotFound,
    Object,
    ObjectList,
    Resource,
)
from autoctl.sim.cloud import CloudSettings, SimulatedCloud
from autoctl.sim.cloud.faults import Fault, FaultType

pytestmark = pytest.mark.looptime

CLUSTER = "autoctl"
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TAGS = [{"tags": {f"kubernetes.io/cluster/{CLUSTER}": "*"}}]
POOL = {
    "apiVersion": "karpenter.sh/v1",
    "kind": "NodePool",
    "metadata": {"name": "general-purpose"},
    "spec": {
        "template": {
            "spec": {
                "requirements": [],
                "nodeClassRef": {
                    "group": "eks.amazonaws.com",
                    "kind": "NodeClass",
                    "name": "default",
                },
            }
        }
    },
}
CLASS = {
    "apiVersion": "eks.amazonaws.com/v1",
    "kind": "NodeClass",
    "metadata": {"name": "default"},
    "spec": {
        "role": "autoctl-node",
        "subnetSelectorTerms": TAGS,
        "securityGroupSelectorTerms": TAGS,
    },
}


def definition(resource: Resource) -> Object:
    return {
        "metadata": {"name": str(resource)},
        "spec": {"versions": [{"name": resource.version, "served": True}]},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }


class Cluster:
    """Reads only: a write would be an AttributeError."""

    def __init__(self) -> None:
        self.definitions = {str(r): definition(r) for r in REQUIRED_RESOURCES}
        self.lists: dict[Resource, list[Object]] = {
            LEASES: [],
            NODES: [],
            NODE_CLAIMS: [],
            NODE_POOLS: [copy.deepcopy(POOL)],
            NODE_CLASSES: [copy.deepcopy(CLASS)],
        }

    async def get(self, _: Resource, name: str, __: str | None = None) -> Object:
        if name not in self.definitions:
            raise NotFound(name)
        return self.definitions[name]

    async def list(self, resource: Resource, **_: Any) -> ObjectList[Object]:
        return ObjectList(self.lists[resource], "1")


@dataclass
class Place:
    """A cluster and an account in which all is well, until a test spoils something."""

    clock: FixedClock = field(default_factory=lambda: FixedClock(NOW))
    cluster: Cluster = field(default_factory=Cluster)
    queue: str = CLUSTER
    name: str = CLUSTER
    cloud: SimulatedCloud = field(init=False)

    def __post_init__(self) -> None:
        self.cloud = SimulatedCloud(
            self.clock, CloudSettings(region="us-west-2", cluster=CLUSTER, seed=1)
        )
        self.cloud.iam.add_role("autoctl-node")
        sqs = self.cloud.client("sqs")
        sqs.create_queue(QueueName=CLUSTER)

    @property
    def spec(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.lists[NODE_CLASSES][0]["spec"]
        return found

    async def examine(self) -> Report:
        names = ("ec2", "ssm", "iam", "eks", "sqs", "pricing", "sts")
        clients = {name: self.cloud.client(name) for name in names}
        return await examine(
            Patient(
                api=self.cluster,  # type: ignore[arg-type]  # the part of it that is read
                clients=Clients(**clients, service_quotas=self.cloud.client("service-quotas")),
                executor=DirectExecutor(),
                clock=self.clock,
                rng=random.Random(1),
                cluster_name=self.name,
                interruption_queue=self.queue,
            )
        )


def troubles(report: Report) -> list[Finding]:
    return [f for f in report.findings if f.level is not Level.OK]


async def test_where_all_is_well_there_is_nothing_to_fix_and_nothing_is_changed() -> None:
    place = Place()
    templates, instances = place.cloud.ec2.templates.templates, place.cloud.ec2.instances.records
    place.cloud.log.clear()
    report = await place.examine()
    assert report.healthy
    assert troubles(report) == []
    checks = {f.check for f in report.findings}
    assert {"credentials", "cluster", "permissions", "quotas", "definitions"} <= checks
    assert not templates
    assert not instances
    written = ("Create", "Delete", "Run", "Terminate", "Add", "Remove")
    changing = [r for r in place.cloud.log.requests if r.operation.startswith(written)]
    assert changing
    assert all(r.params.get("DryRun") for r in changing)


def lost_credentials(place: Place) -> None:
    place.cloud.inject(
        Fault(
            FaultType.API_ERROR,
            operations=("GetCallerIdentity",),
            error="InvalidClientTokenId",
            message="The security token included in the request is invalid.",
            status=403,
        )
    )


def another_cluster(place: Place) -> None:
    place.name = "elsewhere"


def auto_mode(place: Place) -> None:
    place.cloud.eks.auto_mode = True


def old_kubernetes(place: Place) -> None:
    place.cloud.eks.version = "1.28"


def no_fleets(place: Place) -> None:
    place.cloud.denied = {"ec2:CreateFleet"}


def no_prices(place: Place) -> None:
    place.cloud.denied = {"pricing:GetProducts", "ec2:DescribeSpotPriceHistory"}


def small_quota(place: Place) -> None:
    place.cloud.ec2.capacity.vcpu_quota["on-demand"] = 5


def quota_below_limits(place: Place) -> None:
    place.cluster.lists[NODE_POOLS][0]["spec"]["limits"] = {"cpu": "1000"}
    place.cloud.ec2.capacity.vcpu_quota["spot"] = 64


def full_subnet(place: Place) -> None:
    place.cloud.ec2.network.add_subnet(
        "us-west-2a", "10.99.0.0/28", tags={f"kubernetes.io/cluster/{CLUSTER}": "owned"}
    )


def untagged_subnets(place: Place) -> None:
    place.spec["subnetSelectorTerms"] = [{"tags": {"team": "nobody"}}]


def untagged_groups(place: Place) -> None:
    place.spec["securityGroupSelectorTerms"] = [{"name": "nobody"}]


def no_role(place: Place) -> None:
    place.spec["role"] = "forgotten"


def no_profile(place: Place) -> None:
    del place.spec["role"]
    place.spec["instanceProfile"] = "eks-forgotten"


def no_group(place: Place) -> None:
    place.spec["placementGroupSelector"] = {"name": "gone"}


def no_queue(place: Place) -> None:
    place.queue = "https://sqs.us-west-2.amazonaws.com/123456789012/forgotten"


def unset_queue(place: Place) -> None:
    place.queue = ""


def no_image(place: Place) -> None:
    place.cloud.eks.version = "1.99"


def no_definition(place: Place) -> None:
    del place.cluster.definitions["nodepools.karpenter.sh"]


def old_definition(place: Place) -> None:
    versions = place.cluster.definitions["nodeclaims.karpenter.sh"]["spec"]["versions"]
    versions[0]["name"] = "v1beta1"


def karpenter(place: Place) -> None:
    place.cluster.lists[LEASES] = [
        {
            "metadata": {"name": "karpenter-leader-election", "namespace": "karpenter"},
            "spec": {
                "holderIdentity": "karpenter-0",
                "renewTime": "2026-01-05T11:59:58.000000Z",
                "leaseDurationSeconds": 15,
            },
        }
    ]


def dangling_pool(place: Place) -> None:
    place.cluster.lists[NODE_CLASSES] = []


def no_load_balancer_tags(place: Place) -> None:
    for subnet in place.cloud.ec2.network.subnets.values():
        subnet.tags.pop("kubernetes.io/role/internal-elb")


def no_access_entries_made(place: Place) -> None:
    place.cloud.denied = {"eks:CreateAccessEntry", "iam:PassRole"}


def no_queue_read(place: Place) -> None:
    place.cloud.denied = {"sqs:ReceiveMessage"}


def policies_cannot_be_read(place: Place) -> None:
    place.cloud.denied = {"iam:SimulatePrincipalPolicy"}


def own_profile(place: Place, role: str | None = "autoctl-node") -> None:
    """A NodeClass with an instance profile of its owner's."""
    del place.spec["role"]
    place.spec["instanceProfile"] = "eks-own"
    iam = place.cloud.client("iam")
    iam.create_instance_profile(InstanceProfileName="eks-own")
    if role is not None:
        iam.add_role_to_instance_profile(InstanceProfileName="eks-own", RoleName=role)


def empty_profile(place: Place) -> None:
    own_profile(place, None)


def no_access_entry(place: Place) -> None:
    own_profile(place)


def access_entry(place: Place, kind: str) -> None:
    own_profile(place)
    place.cloud.client("eks").create_access_entry(
        clusterName=CLUSTER,
        principalArn=place.cloud.iam.roles["autoctl-node"].arn,
        type=kind,
    )


def access_entry_of_a_person(place: Place) -> None:
    access_entry(place, "STANDARD")


def access_entry_without_policy(place: Place) -> None:
    access_entry(place, "EC2")


CASES: list[tuple[Callable[[Place], None], list[tuple[str, str, str]]]] = [
    (lost_credentials, [("credentials", "error", "InvalidClientTokenId")]),
    (another_cluster, [("cluster", "error", "no EKS cluster 'elsewhere'")]),
    (auto_mode, [("cluster", "error", "Auto Mode is on")]),
    (no_fleets, [("permissions", "error", "ec2:CreateFleet")]),
    (
        no_prices,
        [
            ("permissions", "error", "ec2:DescribeSpotPriceHistory"),
            ("permissions", "error", "pricing:GetProducts"),
        ],
    ),
    (small_quota, [("quotas", "error", "only 5 vCPUs of on-demand")]),
    (quota_below_limits, [("quotas", "warning", "64 vCPUs of spot instances, NodePools may")]),
    (full_subnet, [("addresses", "error", "11 free addresses in us-west-2a")]),
    (untagged_subnets, [("subnets", "error", "subnetSelectorTerms match no subnet")]),
    (untagged_groups, [("security-groups", "error", "match no security group")]),
    (no_role, [("node-role", "error", "role 'forgotten' does not exist")]),
    (no_profile, [("node-role", "error", "instance profile 'eks-forgotten' does not exist")]),
    (no_group, [("placement-group", "error", "placement group 'gone' does not exist")]),
    (no_queue, [("interruption-queue", "error", "queue 'forgotten': does not exist")]),
    (unset_queue, [("interruption-queue", "warning", "no queue is set")]),
    (no_image, [("images", "error", "no Bottlerocket image for Kubernetes 1.99")]),
    (no_load_balancer_tags, [("load-balancers", "warning", "kubernetes.io/role/internal-elb")]),
    (
        no_access_entries_made,
        [
            ("permissions", "error", "eks:CreateAccessEntry"),
            ("permissions", "error", "iam:PassRole"),
        ],
    ),
    (no_queue_read, [("permissions", "error", "sqs:ReceiveMessage")]),
    (policies_cannot_be_read, [("permissions", "warning", "iam:SimulatePrincipalPolicy")]),
    (empty_profile, [("node-role", "error", "instance profile 'eks-own' has no role")]),
    (no_access_entry, [("access-entry", "error", "has no access entry: nodes cannot join")]),
    (access_entry_of_a_person, [("access-entry", "error", "of type STANDARD, not EC2")]),
    (access_entry_without_policy, [("access-entry", "error", "lacks the policy AmazonEKSAuto")]),
    (no_definition, [("definitions", "error", "nodepools.karpenter.sh (missing)")]),
    (old_definition, [("definitions", "error", "serves v1beta1, not v1")]),
    (karpenter, [("karpenter", "error", "Karpenter runs in this cluster")]),
    (dangling_pool, [("node-pool", "error", "NodeClass 'default' does not exist")]),
]


@pytest.mark.parametrize(("spoil", "expected"), CASES, ids=[c[0].__name__ for c in CASES])
async def test_each_misconfiguration_is_named(
    spoil: Callable[[Place], None], expected: list[tuple[str, str, str]]
) -> None:
    place = Place()
    spoil(place)
    report = await place.examine()
    found = troubles(report)
    assert [(f.check, f.level.value) for f in found] == [e[:2] for e in expected], found
    for finding, (_, _, text) in zip(found, expected, strict=True):
        assert text in finding.message
        assert finding.fix, "each says what to do"
    assert report.healthy == all(level == "warning" for _, level, _ in expected)


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("arn:aws:sts::1:assumed-role/autoctl/i-1", "arn:aws:iam::1:role/autoctl"),
        ("arn:aws-cn:sts::1:assumed-role/autoctl/x", "arn:aws-cn:iam::1:role/autoctl"),
        ("arn:aws:iam::1:user/ops/ada", "arn:aws:iam::1:user/ops/ada"),
    ],
)
def test_the_policies_asked_about_are_the_roles(caller: str, expected: str) -> None:
    assert principal(caller) == expected


def test_writes_are_asked_about_where_the_operator_makes_them() -> None:
    place = Location("aws-cn", "1", "cn-north-1", "prod", "prod-queue")
    asked = {q.action: q for q in questions(place, {"node"})}
    profile = asked["iam:CreateInstanceProfile"]
    assert profile.resource.startswith("arn:aws-cn:iam::1:instance-profile/eks-cn-north-1-prod-")
    assert profile.context == {"aws:RequestTag/eks:eks-cluster-name": "prod"}
    assert asked["eks:CreateAccessEntry"].resource == "arn:aws-cn:eks:cn-north-1:1:cluster/prod"
    assert asked["iam:PassRole"].context == {"iam:PassedToService": "ec2.amazonaws.com.cn"}
    policy = asked["eks:AssociateAccessPolicy"].context["eks:policyArn"]
    assert policy == "arn:aws-cn:eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy"
    assert asked["sqs:ReceiveMessage"].resource == "arn:aws-cn:sqs:cn-north-1:1:prod-queue"
    assert "sqs:ReceiveMessage" not in {
        q.action for q in questions(Location("aws", "1", "us-west-2", "prod"), ())
    }


async def test_an_old_cluster_is_named_before_its_missing_images() -> None:
    place = Place()
    old_kubernetes(place)
    found = troubles(await place.examine())
    assert (found[0].check, found[0].message) == ("cluster", "Kubernetes 1.28 is too old")


async def test_json_carries_all_findings() -> None:
    place = Place()
    small_quota(place)
    data = (await place.examine()).to_json()
    assert data["schema"] == "autoctl.doctor/v1"
    assert data["healthy"] is False
    assert {
        "check": "quotas",
        "level": "error",
        "subject": "L-1216C47A",
        "message": "only 5 vCPUs of on-demand instances",
        "fix": "ask for more: Service Quotas, Amazon EC2, "
        "'Running On-Demand Standard instances' (L-1216C47A)",
    } in data["findings"]
