"""All checks, in the order in which a person would look."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import NodePool
from autoctl.aws.call import Caller
from autoctl.aws.clients import Clients
from autoctl.aws.errors import CloudError
from autoctl.aws.executor import Executor
from autoctl.aws.images import Images
from autoctl.aws.network import Network
from autoctl.aws.reservations import Reservations
from autoctl.operator.doctor.account import (
    check_cluster,
    check_credentials,
    check_load_balancers,
    check_queue,
    check_quotas,
)
from autoctl.operator.doctor.classes import ClassChecks
from autoctl.operator.doctor.endpoints import CHECK as ENDPOINT
from autoctl.operator.doctor.endpoints import unanswered
from autoctl.operator.doctor.permissions import check_permissions
from autoctl.operator.doctor.policies import Place, check_policies, questions
from autoctl.operator.doctor.report import Finding, Level, Report, error, ok, warning
from autoctl.operator.preflight import (
    PreflightError,
    check_auto_mode,
    check_definitions,
    check_karpenter,
)
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_CLASSES, NODE_POOLS, ApiError, KubernetesApi, NotFound

_UNREACHED_FIX = "check the server of the kubeconfig and the way to it (VPN, proxy, cluster gone)"
_SERVICES = ("ec2", "ssm", "iam", "eks", "sqs", "pricing", "sts", "service_quotas")


@dataclass(frozen=True)
class Patient:
    """What is looked at. `api` None: only the account."""

    api: KubernetesApi | None
    clients: Clients
    executor: Executor
    clock: Clock
    rng: random.Random
    cluster_name: str
    interruption_queue: str = ""


async def examine(patient: Patient) -> Report:
    """Run every check that can be run."""
    callers = {
        service: Caller(
            service, getattr(patient.clients, service), patient.executor, rng=patient.rng
        )
        for service in _SERVICES
    }
    findings: list[Finding] = []
    classes: list[NodeClass] = []
    pools: list[NodePool] = []
    if patient.api is not None:
        findings += await _kubernetes(patient.api, patient.clock)
    if patient.api is not None and all(f.check != ENDPOINT for f in findings):
        try:
            classes = await _objects(patient.api, NODE_CLASSES, NodeClass.from_dict)
            pools = await _objects(patient.api, NODE_POOLS, NodePool.from_dict)
        except ApiError as problem:
            text = f"NodePools and NodeClasses cannot be read: {problem}"
            findings.append(error("objects", "Kubernetes", text, "check the kubeconfig's rights"))
        else:
            findings += _pools(pools, classes)
    credentials, caller = await check_credentials(callers["sts"])
    findings.append(credentials)
    if credentials.level is Level.ERROR:
        return _report(findings)
    about_cluster, cluster = await check_cluster(callers["eks"], patient.cluster_name)
    findings += about_cluster
    findings += await check_permissions(callers, patient.cluster_name)
    place = _place(cluster, patient)
    if place is not None:
        roles = {c.spec.role for c in classes if c.spec.role is not None}
        findings += await check_policies(callers["iam"], caller, questions(place, roles))
    findings += await check_quotas(callers["service_quotas"], pools)
    findings.append(await check_queue(callers["sqs"], patient.interruption_queue))
    if cluster is None:
        return _report(findings)
    findings += await check_load_balancers(callers["ec2"], cluster)
    reservations = Reservations(callers["ec2"])
    checks = ClassChecks(
        network=Network(callers["ec2"]),
        images=Images(callers["ssm"], patient.clock),
        reservations=reservations,
        iam=callers["iam"],
        eks=callers["eks"],
        cluster=cluster,
    )
    for node_class in classes:
        findings += await _guarded(f"NodeClass {node_class.name}", checks.check, node_class)
    if not classes:
        findings += await _guarded("cluster", checks.default_network)
    return _report(findings)


def _report(findings: list[Finding]) -> Report:
    """Each finding once: what does not answer keeps several checks from theirs."""
    return Report(tuple(dict.fromkeys(findings)))


def _place(cluster: Mapping[str, Any] | None, patient: Patient) -> Place | None:
    """Where the operator works, as the cluster's ARN tells; None without a cluster."""
    if cluster is None:
        return None
    _, partition, _, region, account, _ = cluster["arn"].split(":", 5)
    queue = patient.interruption_queue.rpartition("/")[2]
    return Place(partition, account, region, patient.cluster_name, queue)


async def _guarded(
    subject: str, check: Callable[..., Awaitable[list[Finding]]], *arguments: Any
) -> list[Finding]:
    """What AWS refuses to tell is a finding, too: the check's own permission is missing."""
    try:
        return await check(*arguments)
    except CloudError as failure:
        if unreached := unanswered(failure):
            return [unreached]
        return [error("node-class", subject, str(failure), "see the findings on permissions")]


async def _kubernetes(api: KubernetesApi, clock: Clock) -> list[Finding]:
    checks: dict[str, Callable[[], Awaitable[None]]] = {
        "definitions": lambda: check_definitions(api),
        "karpenter": lambda: check_karpenter(api, clock),
        "auto-mode": lambda: check_auto_mode(api),
    }
    findings = []
    for name, check in checks.items():
        try:
            await check()
        except PreflightError as problem:
            message, _, fix = str(problem).rpartition(". ")
            findings.append(error(name, "Kubernetes", message or fix, fix if message else ""))
        except NotFound:
            # The definitions are missing, which the first check tells.
            continue
        except ApiError as problem:
            if not problem.code:
                # The next checks would only say the same.
                text = f"the API server does not answer: {problem}"
                return [*findings, error(ENDPOINT, "Kubernetes", text, _UNREACHED_FIX)]
            text = f"the API server answered: {problem}"
            findings.append(error(name, "Kubernetes", text, "check the kubeconfig and its rights"))
        else:
            findings.append(ok(name, "Kubernetes", "in order"))
    return findings


async def _objects(api: KubernetesApi, resource: Any, parse: Callable[[Any], Any]) -> list[Any]:
    """The objects; none while their definition is missing, which has a finding of its own."""
    try:
        return [parse(item) for item in (await api.list(resource)).items]
    except NotFound:
        return []


def _pools(pools: list[NodePool], classes: list[NodeClass]) -> list[Finding]:
    names = {c.name for c in classes}
    findings = []
    for pool in pools:
        wanted = pool.spec.template.spec.node_class_ref.name
        if wanted not in names:
            text = f"its NodeClass {wanted!r} does not exist"
            fix = "create the NodeClass, or correct nodeClassRef"
            findings.append(error("node-pool", f"NodePool {pool.name}", text, fix))
    if not pools:
        text = "there is no NodePool: no node will ever be launched"
        findings.append(
            warning("node-pool", "Kubernetes", text, "create one, or set --builtin-node-pools")
        )
    return findings
