"""Whether nodes of a class could be launched: EC2 is asked by dry runs, with the class's values.

What is tried is what a NodeClaim of the class's first NodePool would be launched with: its launch
template, made for real since the other two refer to it (IAM conditions look at its tags), then
CreateFleet and RunInstances as dry runs: a fleet's own says nothing about its instances.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import NodePool
from autoctl.aws.dry_runs import DryRuns
from autoctl.aws.eks import ClusterInfo
from autoctl.aws.errors import CloudError, Kind, refused_action
from autoctl.aws.fleet import FleetConfig, FleetRequest, LaunchOrder, Override
from autoctl.aws.images import LATEST
from autoctl.aws.tags import resource_tags
from autoctl.catalog.model import InstanceType
from autoctl.controllers.lifecycle.launch_options import LaunchOptions, PreparedOptions
from autoctl.controllers.lifecycle.launch_plan import launch_digest, plan_launch
from autoctl.controllers.nodeclass.launch_template import LaunchTemplate, launch_template
from autoctl.controllers.nodeclass.resolve import Verdict, image_version
from autoctl.controllers.nodeclass.templates import TemplateStore
from autoctl.controllers.nodeclass.userdata import USER_DATA_LIMIT, too_old_for
from autoctl.controllers.provisioning.claims import ClaimTemplate, claim_object
from autoctl.ports.clock import Clock
from autoctl.state.problem import requirement_specs

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)

KEEP: Final = timedelta(minutes=30)
"""How long an answer counts while nothing that was asked has changed."""
FIRST_RETRY: Final = timedelta(minutes=1)
LONGEST_RETRY: Final = timedelta(minutes=10)

_ACTIONS: Final = {
    "create_launch_template": ("ec2:CreateLaunchTemplate", "CreateLaunchTemplateAuthCheckFailed"),
    "create_fleet": ("ec2:CreateFleet", "CreateFleetAuthCheckFailed"),
    "run_instances": ("ec2:RunInstances", "RunInstancesAuthCheckFailed"),
}
"""Operation -> its IAM action, and the condition's reason as Karpenter's AWS provider has it."""

_ABOUT_THE_TYPE: Final = frozenset(
    {
        "AttachmentLimitExceeded",
        "InvalidParameterCombination",
        "PrivateIpAddressLimitExceeded",
        "UnsupportedOperation",
    }
)
"""Refusals that another instance type of the class may not meet with."""


@dataclass(frozen=True)
class Rehearsal:
    """The requests of one launch."""

    template: LaunchTemplate
    order: LaunchOrder
    override: Override


@dataclass(frozen=True, slots=True)
class _Answer:
    inputs: Hashable
    verdict: Verdict
    until: datetime
    refusals: int


def rehearsal(
    node_class: NodeClass,
    cluster: ClusterInfo,
    pool: NodePool | None,
    options: LaunchOptions,
) -> Rehearsal | None:
    """The launch to try: the cheapest that `pool` (None: anybody) would get were there capacity.

    None when no type fits the pool.
    """
    claim = _claim(node_class, pool)
    # Capacity comes and goes; permissions do not depend on it.
    plan = plan_launch(claim, node_class, options, capacity_aside=True)
    if not plan.groups:
        return None
    group = plan.groups[0]
    tags = resource_tags(cluster.name, node_class.name, claim.node_pool, node_class.spec.tags or {})
    template = launch_template(node_class, cluster, group.specifics, tags)
    override = group.overrides[0]
    request = FleetRequest(
        plan.capacity_type,
        (FleetConfig(template.name, (override,)),),
        tuple(sorted(tags.items())),
        (launch_digest(claim),),
    )
    order = LaunchOrder(request, node_class.metadata.uid, node_class.name)
    return Rehearsal(template, order, override)


class Validation:
    """The condition `ValidationSucceeded`, remembered by what it depends on."""

    def __init__(
        self,
        dry_runs: DryRuns,
        templates: TemplateStore,
        clock: Clock,
        *,
        types: Callable[[NodeClass], Sequence[InstanceType]],
        pools: Callable[[], Iterable[NodePool]],
        options: PreparedOptions,
        disabled: bool = False,
        patience: float = 1.0,
    ) -> None:
        """`types` gives what a class may launch from, by its status; `pools` all NodePools.

        With `disabled` EC2 is not asked, and every class passes that it could launch from.
        `patience` lengthens the periods.
        """
        self._dry_runs = dry_runs
        self._templates = templates
        self._clock = clock
        self._types = types
        self._pools = pools
        self._options = options
        self._disabled = disabled
        self._patience = patience
        self._answers: dict[str, _Answer] = {}

    async def check(self, node_class: NodeClass, cluster: ClusterInfo) -> Verdict:
        """The verdict on a class whose status is up to date.

        Raises `CloudError` when EC2 gave no answer that would say anything: ask again soon.
        """
        unsupported = _unsupported(node_class, cluster)
        if unsupported is not None:
            return unsupported
        if self._disabled:
            return Verdict(True, "DryRunDisabled")
        now = self._clock.now()
        pool = self._pool(node_class)
        inputs = _inputs(node_class, cluster, pool)
        uid = node_class.metadata.uid
        known = self._answers.get(uid)
        if known is not None and known.inputs != inputs:
            known = None
        if known is not None and now < known.until:
            return known.verdict
        plan = self._plan(node_class, cluster, pool)
        if plan is None:
            return Verdict(True)
        verdict = await self._ask(plan)
        refusals = 0 if verdict.ok else 1 + (known.refusals if known is not None else 0)
        wait = min(LONGEST_RETRY, FIRST_RETRY * 2 ** (refusals - 1)) if refusals else KEEP
        self._answers[uid] = _Answer(inputs, verdict, now + wait * self._patience, refusals)
        return verdict

    def forget(self, uid: str) -> None:
        """The class is gone."""
        self._answers.pop(uid, None)

    def _pool(self, node_class: NodeClass) -> NodePool | None:
        """The first NodePool of the class, in the order of names."""
        users = (
            p
            for p in self._pools()
            if p.spec.template.spec.node_class_ref.name == node_class.name and not p.deleting
        )
        return min(users, key=lambda p: p.name, default=None)

    def _plan(
        self, node_class: NodeClass, cluster: ClusterInfo, pool: NodePool | None
    ) -> Rehearsal | None:
        options = self._options.of(self._types(node_class))
        found = rehearsal(node_class, cluster, pool, options)
        if found is None and pool is not None:
            found = rehearsal(node_class, cluster, None, options)
        return found

    async def _ask(self, plan: Rehearsal) -> Verdict:
        size = plan.template.user_data_bytes
        if size > USER_DATA_LIMIT:
            return Verdict(
                False,
                "UserDataSizeLimitExceeded",
                f"user data has {size} bytes, EC2 takes {USER_DATA_LIMIT}: shorten "
                "certificateBundles",
            )
        template = plan.template
        try:
            await self._templates.ensure(template)
            await self._dry_runs.create_fleet(plan.order)
            await self._dry_runs.run_instances(
                template.name, template.data, plan.override, dict(plan.order.request.tags)
            )
        except CloudError as error:
            return self._judge(error, template.name)
        return Verdict(True)

    def _judge(self, error: CloudError, template: str) -> Verdict:
        if error.transient:
            raise error
        if error.kind is Kind.UNAUTHORIZED:
            action, reason = _ACTIONS[error.operation]
            missing = refused_action(error.message) or action
            needed = "" if missing == action else f", which {action} needs"
            _log.warning("not authorized to launch", action=missing, error=str(error))
            text = f"Controller isn't authorized to call {missing}{needed}: {error.message}"
            return Verdict(False, reason, text)
        if error.kind is Kind.NOT_FOUND and "LaunchTemplate" in error.code:
            self._templates.lost(template)
            raise error
        if "Invalid IAM Instance Profile" in error.message:
            # Made a moment ago: IAM tells EC2 within seconds.
            raise error
        if error.kind in {Kind.CAPACITY, Kind.LIMIT} or error.code in _ABOUT_THE_TYPE:
            return Verdict(True)
        return Verdict(False, error.code, f"EC2 would refuse to launch: {error.message}")


def _unsupported(node_class: NodeClass, cluster: ClusterInfo) -> Verdict | None:
    """What EC2 would launch although no working node comes of it."""
    network = node_class.spec.advanced_networking
    if cluster.ipv6 and network is not None and network.network_interfaces:
        text = "advancedNetworking.networkInterfaces is not supported in IPv6 clusters"
        return Verdict(False, "NetworkInterfacesUnsupported", text)
    version = image_version(node_class)
    if version != LATEST and (lacking := too_old_for(node_class, version)):
        needed = ", ".join(f"{s.field} (since {'.'.join(map(str, s.release))})" for s in lacking)
        text = f"Bottlerocket {version}, which the class pins, does not know {needed}"
        return Verdict(False, "BottlerocketTooOld", text)
    for index, bundle in enumerate(node_class.spec.certificate_bundles or ()):
        if wrong := certificate_error(bundle.data):
            text = f"certificateBundles[{index}].data ({bundle.name}): {wrong}"
            return Verdict(False, "InvalidCertificateBundle", text)
    return None


def certificate_error(data: str) -> str | None:
    """What is wrong with base64-encoded PEM certificates, so that Bottlerocket would not boot."""
    try:
        text = base64.b64decode("".join(data.split()), validate=True).decode("latin-1")
    except ValueError as error:
        return f"expected certificates in PEM form, base64-encoded: {error}"
    blocks = list(_PEM.finditer(text))
    if not blocks:
        return "expected at least one PEM certificate (-----BEGIN CERTIFICATE-----), found none"
    for number, block in enumerate(blocks, 1):
        if block[1] != "CERTIFICATE":
            return f"expected certificates alone, found {block[1]} as block {number}"
        try:
            ssl.create_default_context(cadata=block[0])
        except (ssl.SSLError, ValueError) as error:
            return f"block {number} is no X.509 certificate: {error}"
    return None


def _claim(node_class: NodeClass, pool: NodePool | None) -> NodeClaim:
    """A NodeClaim as the pool's would be; of nobody's pool where there is none."""
    if pool is None:
        reference = {
            "group": node_class.GROUP,
            "kind": node_class.KIND,
            "name": node_class.name,
        }
        return NodeClaim.from_dict(
            {
                "metadata": {"name": node_class.name},
                "spec": {"nodeClassRef": reference, "requirements": []},
            }
        )
    specs = requirement_specs(pool.spec.template.spec.requirements)
    return NodeClaim.from_dict(claim_object(pool, ClaimTemplate(specs, {})))


def _inputs(node_class: NodeClass, cluster: ClusterInfo, pool: NodePool | None) -> Hashable:
    """Everything that the requests are made of, but what the market offers."""
    status = node_class.status
    return (
        node_class.metadata.generation,
        tuple(s.id for s in status.subnets),
        tuple(g.id for g in status.security_groups),
        tuple(s.id for s in status.pod_subnets),
        tuple(g.id for g in status.pod_security_groups),
        tuple(a.id for a in status.amis),
        status.instance_profile,
        status.placement_group.id if status.placement_group is not None else None,
        cluster,
        (pool.name, pool.metadata.generation) if pool is not None else None,
    )
