"""The gateways to AWS, made of the clients: boto3's or the simulated cloud's."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from autoctl.aws.call import Caller
from autoctl.aws.clients import Clients
from autoctl.aws.dry_runs import DryRuns
from autoctl.aws.eks import ClusterFacts, EksCluster
from autoctl.aws.executor import Executor
from autoctl.aws.fleet_queue import Fleets
from autoctl.aws.images import Images
from autoctl.aws.instance_types import InstanceTypes
from autoctl.aws.instances import Instances
from autoctl.aws.market import MarketApi, known_market
from autoctl.aws.network import Network
from autoctl.aws.offerings import UnavailableOfferings
from autoctl.aws.profiles import InstanceProfiles
from autoctl.aws.queue import Queue
from autoctl.aws.ratelimit import RateLimits
from autoctl.aws.reservations import Reservations
from autoctl.aws.templates import LaunchTemplates
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.operator.observers import BatchObserver, CloudObserver
from autoctl.ports.clock import Clock


@dataclass(frozen=True)
class Gateways:
    """All that the controllers ask of AWS. `queue` is None without an interruption queue."""

    fleets: Fleets
    dry_runs: DryRuns
    instances: Instances
    templates: LaunchTemplates
    network: Network
    images: Images
    profiles: InstanceProfiles
    reservations: Reservations
    cluster: ClusterFacts
    access: EksCluster
    market: MarketApi
    types: InstanceTypes
    unavailable: UnavailableOfferings
    queue: Queue | None


def make_gateways(
    clients: Clients,
    executor: Executor,
    *,
    region: str,
    cluster: str,
    endpoint: str = "",
    mirrors: Mapping[str, Sequence[str]],
    unlabelled: Collection[str] = (),
    interruption_queue: str,
    fleets_per_minute: int,
    clock: Clock,
    rng: random.Random,
    metrics: Metrics,
) -> Gateways:
    """Raises `LookupError` for a region of which nothing is packaged.

    `unlabelled` are keys of labels that nodes are not given; `mirrors` are their registries'.
    """
    limits = RateLimits(fleets_per_minute=fleets_per_minute)
    calls, batches = CloudObserver(metrics), BatchObserver(metrics)

    def caller(service: str) -> Caller:
        client = getattr(clients, service)
        return Caller(service, client, executor, rng=rng, limits=limits, observer=calls)

    ec2 = caller("ec2")
    unavailable = UnavailableOfferings(clock)
    eks = EksCluster(caller("eks"), cluster=cluster, endpoint=endpoint, mirrors=mirrors)
    return Gateways(
        fleets=Fleets(ec2, observe=batches),
        dry_runs=DryRuns(ec2),
        instances=Instances(ec2, cluster=cluster, observe=batches),
        templates=LaunchTemplates(ec2, cluster=cluster),
        network=Network(ec2),
        images=Images(caller("ssm"), clock),
        profiles=InstanceProfiles(caller("iam")),
        reservations=Reservations(ec2),
        cluster=ClusterFacts(eks, clock),
        access=eks,
        market=MarketApi(ec2, caller("pricing"), region=region),
        types=InstanceTypes(known_market(region), unavailable, unlabelled=unlabelled),
        unavailable=unavailable,
        queue=Queue(caller("sqs"), interruption_queue) if interruption_queue else None,
    )
