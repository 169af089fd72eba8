"""CreateFleet of type instant, and RunInstances: from overrides to instances and errors.

Every override becomes a pool (type, zone, price, room). The allocation strategy orders the pools;
launches go down the order, and each pool that refuses leaves one entry in `Errors`, as EC2 does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoctl.sim.cloud.account import ACCOUNT
from autoctl.sim.cloud.ec2.allocation import Pool, ordered
from autoctl.sim.cloud.ec2.launch import LaunchRequest, primary_of
from autoctl.sim.cloud.ec2.network import Subnet
from autoctl.sim.cloud.ec2.records import (
    ON_DEMAND,
    SPOT,
    InstanceRecord,
    LaunchTemplate,
    tags_of,
)
from autoctl.sim.cloud.errors import AwsFailure, dry_run_succeeded, missing_parameter
from autoctl.sim.cloud.service import Answer, Params

if TYPE_CHECKING:
    from autoctl.sim.cloud.ec2.backend import Ec2

RESERVED = "reserved-capacity"
MAX_OVERRIDES = 300
MAX_TARGET = 10_000


@dataclass
class Outcome:
    """What came of one target (spot or on-demand) of a fleet."""

    market: str
    instances: list[tuple[Pool, InstanceRecord]]
    errors: list[tuple[Pool, AwsFailure]]


class Fleets:
    """Launch requests for many instances at once."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2

    def create_fleet(self, params: Params) -> Answer:
        if params.get("Type") != "instant":
            raise AwsFailure(
                "InvalidParameterValue",
                f"Value ({params.get('Type', 'maintain')}) for parameter Type is invalid. Only "
                "instant fleets are simulated.",
            )
        self._ec2.check_tags(params)
        targets = self._targets(params)
        if params["TargetCapacitySpecification"].get("DefaultTargetCapacityType") == RESERVED and (
            not params.get("ReservedCapacityOptions")
        ):
            raise missing_parameter("ReservedCapacityOptions")
        pools = self._pools(params)
        if params.get("DryRun"):
            raise dry_run_succeeded()

        def create(request: Params) -> Answer:
            return self._create(request, targets, pools)

        return self._ec2.idempotent("CreateFleet", params, create)

    def _create(self, params: Params, targets: list[tuple[str, int]], pools: list[Pool]) -> Answer:
        fleet_id = self._ec2.new_fleet_id()
        tags = tags_of(params.get("TagSpecifications"), "instance")
        outcomes = [
            self._fill(params, market, count, pools, fleet_id, tags) for market, count in targets
        ]
        return {
            "FleetId": fleet_id,
            "Instances": [entry for outcome in outcomes for entry in _instances(outcome)],
            "Errors": [
                {
                    "LaunchTemplateAndOverrides": pool.echo(),
                    "Lifecycle": _fleet_lifecycle(outcome.market),
                    "ErrorCode": failure.code,
                    "ErrorMessage": failure.message,
                }
                for outcome in outcomes
                for pool, failure in outcome.errors
            ],
        }

    def _targets(self, params: Params) -> list[tuple[str, int]]:
        """(market, instances) of the TargetCapacitySpecification."""
        wanted = params["TargetCapacitySpecification"]
        total = wanted["TotalTargetCapacity"]
        if not 1 <= total <= MAX_TARGET:
            raise AwsFailure(
                "InvalidTargetCapacitySpecification",
                f"TotalTargetCapacity must be between 1 and {MAX_TARGET}, got {total}",
            )
        spot = wanted.get("SpotTargetCapacity", 0)
        on_demand = wanted.get("OnDemandTargetCapacity", 0)
        if spot + on_demand > total:
            raise AwsFailure(
                "InvalidTargetCapacitySpecification",
                "The sum of OnDemandTargetCapacity and SpotTargetCapacity exceeds "
                "TotalTargetCapacity",
            )
        default = wanted.get("DefaultTargetCapacityType")
        rest = total - spot - on_demand
        if rest and default is None:
            raise missing_parameter("TargetCapacitySpecification.DefaultTargetCapacityType")
        counts = {SPOT: spot, ON_DEMAND: on_demand}
        if rest:
            counts[str(default)] = counts.get(str(default), 0) + rest
        return [(market, count) for market, count in counts.items() if count]

    def _pools(self, params: Params) -> list[Pool]:
        pools: list[Pool] = []
        for config in params["LaunchTemplateConfigs"]:
            reference = config.get("LaunchTemplateSpecification")
            if reference is None:
                raise missing_parameter("LaunchTemplateConfigs.LaunchTemplateSpecification")
            if "Version" not in reference:
                raise missing_parameter("LaunchTemplateSpecification.Version")
            template = self._ec2.templates.find(reference)
            number, data = self._ec2.templates.version(template, reference["Version"])
            for override in config.get("Overrides") or [{}]:
                pools.append(self._pool(template, number, data, override, len(pools)))
        if len(pools) > MAX_OVERRIDES:
            raise AwsFailure(
                "InvalidFleetConfiguration",
                f"A fleet takes at most {MAX_OVERRIDES} overrides, got {len(pools)}",
            )
        return pools

    def _pool(
        self,
        template: LaunchTemplate,
        number: int,
        base: Params,
        override: Params,
        position: int,
    ) -> Pool:
        data = {**base, **{key: value for key, value in override.items() if key in _DATA_KEYS}}
        if "Placement" in override:
            data["Placement"] = {**base.get("Placement", {}), **override["Placement"]}
        subnet: Subnet | None = None
        failure: AwsFailure | None = None
        try:
            subnet = self._subnet(data, override)
            if "InstanceType" not in data:
                raise missing_parameter("InstanceType")
        except AwsFailure as error:
            failure = error
        price = float("inf")
        if failure is None:
            try:
                price = self._ec2.types.on_demand_price(data["InstanceType"])
            except KeyError:
                failure = AwsFailure(
                    "InvalidParameterValue",
                    f"Invalid value '{data['InstanceType']}' for InstanceType.",
                )
        spot_price: float | None = None
        depth = 0
        if failure is None and subnet is not None:
            spot_price = self._ec2.types.spot_price(data["InstanceType"], subnet.zone)
            depth = self._ec2.capacity.depth(data["InstanceType"], subnet.zone)
        return Pool(
            template=template,
            version=number,
            data=data,
            override=override,
            subnet=subnet,
            failure=failure,
            price=price,
            spot_price=spot_price,
            depth=depth,
            position=position,
        )

    def _subnet(self, data: Params, override: Params) -> Subnet:
        network = self._ec2.network
        subnet_id = override.get("SubnetId")
        interfaces = data.get("NetworkInterfaces", ())
        if subnet_id is not None and any("SubnetId" in entry for entry in interfaces):
            raise AwsFailure(
                "InvalidParameterCombination",
                "Network interfaces and an instance-level subnet ID may not be specified on the "
                "same request",
            )
        if subnet_id is None and (primary := primary_of(interfaces)) is not None:
            subnet_id = primary.get("SubnetId")
        if subnet_id is not None:
            subnet = network.subnet(subnet_id)
            zone = override.get("AvailabilityZone")
            if zone is not None and zone != subnet.zone:
                raise AwsFailure(
                    "InvalidParameterValue",
                    f"The subnet {subnet_id} is in {subnet.zone}, not in {zone}",
                )
            return subnet
        zone = override.get("AvailabilityZone") or data.get("Placement", {}).get("AvailabilityZone")
        for subnet in network.subnets.values():
            if zone in (None, subnet.zone):
                return subnet
        raise AwsFailure("MissingInput", f"No default subnet for availability zone: '{zone}'.")

    def _fill(
        self,
        params: Params,
        market: str,
        count: int,
        pools: list[Pool],
        fleet_id: str,
        tags: dict[str, str],
    ) -> Outcome:
        options = params.get("SpotOptions" if market == SPOT else "OnDemandOptions", {})
        outcome = Outcome(market, [], [])
        strategy = options.get("AllocationStrategy", "lowest-price")
        single_type = options.get("SingleInstanceType")
        single_zone = options.get("SingleAvailabilityZone")
        for pool in ordered(pools, market, strategy):
            if len(outcome.instances) == count:
                break
            if outcome.instances:
                first = outcome.instances[0][0]
                if single_type and pool.instance_type != first.instance_type:
                    continue
                if single_zone and pool.zone != first.zone:
                    continue
            while len(outcome.instances) < count:
                try:
                    instance = self._launch(params, pool, market, fleet_id, tags)
                except AwsFailure as failure:
                    outcome.errors.append((pool, failure))
                    break
                outcome.instances.append((pool, instance))
        least = options.get("MinTargetCapacity", 0)
        if outcome.instances and len(outcome.instances) < least:
            for _, instance in outcome.instances:
                self._ec2.instances.terminate(instance)
            pool = outcome.instances[0][0]
            outcome.errors.append(
                (
                    pool,
                    AwsFailure(
                        "UnfulfillableCapacity",
                        "Unable to fulfill capacity due to your request configuration. Please "
                        "adjust your request and try again.",
                    ),
                )
            )
            outcome.instances = []
        return outcome

    def _launch(
        self, params: Params, pool: Pool, market: str, fleet_id: str, tags: dict[str, str]
    ) -> InstanceRecord:
        if pool.failure is not None:
            raise pool.failure
        assert pool.subnet is not None, "a pool without a failure has a subnet"
        if market == SPOT:
            self._check_max_price(params, pool)
        request = LaunchRequest(
            data=pool.data,
            subnet=pool.subnet,
            market=market,
            template=(pool.template, pool.version),
            fleet_id=fleet_id,
            client_token=params.get("ClientToken"),
            tags=tuple(tags.items()),
            reservation_ids=tuple(
                params.get("ReservedCapacityOptions", {})
                .get("CapacityReservationTarget", {})
                .get("CapacityReservationIds", ())
            ),
        )
        return self._ec2.launcher.launch(request)

    def _check_max_price(self, params: Params, pool: Pool) -> None:
        most = pool.override.get("MaxPrice")
        price = pool.spot_price
        if most is not None and price is not None and float(most) < price:
            raise AwsFailure(
                "SpotMaxPriceTooLow",
                f"Your Spot request price of {most} is lower than the minimum required Spot "
                f"request fulfillment price of {price:.4f}.",
            )
        total = params.get("SpotOptions", {}).get("MaxTotalPrice")
        if total is not None and price is not None and float(total) < price:
            raise AwsFailure(
                "UnfulfillableCapacity",
                "Unable to fulfill capacity due to your request configuration. Please adjust your "
                "request and try again.",
            )

    def run_instances(self, params: Params) -> Answer:
        self._ec2.check_tags(params)
        template: tuple[LaunchTemplate, int] | None = None
        data: Params = {}
        if reference := params.get("LaunchTemplate"):
            found = self._ec2.templates.find(reference)
            number, data = self._ec2.templates.version(found, reference.get("Version", "$Default"))
            template = (found, number)
        data = {**data, **{key: value for key, value in params.items() if key in _RUN_KEYS}}
        if "SubnetId" in params and data.get("NetworkInterfaces"):
            raise AwsFailure(
                "InvalidParameterCombination",
                "Network interfaces and an instance-level subnet ID may not be specified on the "
                "same request",
            )
        for key in ("ImageId", "InstanceType"):
            if key not in data:
                raise missing_parameter(key)
        subnet = self._subnet(data, {k: v for k, v in params.items() if k == "SubnetId"})
        market = data.get("InstanceMarketOptions", {}).get("MarketType", ON_DEMAND)
        request = LaunchRequest(
            data=data,
            subnet=subnet,
            market=market,
            template=template,
            client_token=params.get("ClientToken"),
            tags=tuple(tags_of(params.get("TagSpecifications"), "instance").items()),
        )
        self._ec2.launcher.check(request)
        if params.get("DryRun"):
            raise dry_run_succeeded()
        if params["MinCount"] > params["MaxCount"]:
            raise AwsFailure("InvalidParameterValue", "minCount exceeds maxCount")

        def run(_: Params) -> Answer:
            return self._run(request, params["MinCount"], params["MaxCount"])

        return self._ec2.idempotent("RunInstances", params, run)

    def _run(self, request: LaunchRequest, least: int, most: int) -> Answer:
        launched: list[InstanceRecord] = []
        for _ in range(most):
            try:
                launched.append(self._ec2.launcher.launch(request))
            except AwsFailure:
                if len(launched) >= least:
                    break
                for instance in launched:
                    self._ec2.instances.terminate(instance)
                raise
        return {
            "ReservationId": f"r-{launched[0].instance_id[2:]}",
            "OwnerId": ACCOUNT,
            "Groups": [],
            "Instances": [self._ec2.instances.describe(instance) for instance in launched],
        }


_DATA_KEYS = ("InstanceType", "ImageId", "BlockDeviceMappings", "IamInstanceProfile")
_RUN_KEYS = (
    *_DATA_KEYS,
    "CapacityReservationSpecification",
    "InstanceMarketOptions",
    "MetadataOptions",
    "NetworkInterfaces",
    "Placement",
    "SecurityGroupIds",
    "UserData",
)


def _instances(outcome: Outcome) -> list[dict[str, Any]]:
    """The launched instances grouped by pool, as the answer has them."""
    groups: dict[int, tuple[Pool, list[str]]] = {}
    for pool, instance in outcome.instances:
        groups.setdefault(pool.position, (pool, []))[1].append(instance.instance_id)
    entries = []
    for pool, ids in groups.values():
        assert pool.subnet is not None, "an instance is in a subnet"
        entries.append(
            {
                "LaunchTemplateAndOverrides": pool.echo(),
                "Lifecycle": _fleet_lifecycle(outcome.market),
                "InstanceIds": ids,
                "InstanceType": pool.instance_type,
                "AvailabilityZone": pool.subnet.zone,
                "AvailabilityZoneId": pool.subnet.zone_id,
                "SubnetId": pool.subnet.subnet_id,
            }
        )
    return entries


def _fleet_lifecycle(market: str) -> str:
    return {RESERVED: "interruptible-capacity-reservation"}.get(market, market)
