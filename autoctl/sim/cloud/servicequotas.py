"""Simulated Service Quotas: the vCPU quotas that EC2 enforces here."""

from __future__ import annotations

from typing import Any

from autoctl.sim.cloud.account import ACCOUNT
from autoctl.sim.cloud.ec2.records import ON_DEMAND, SPOT
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.service import Answer, Params, Service

QUOTAS = {
    "L-1216C47A": (
        "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
        ON_DEMAND,
    ),
    "L-34B43A08": ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", SPOT),
}
"""Quota code -> name and the capacity type whose running vCPUs it limits."""


class ServiceQuotas(Service):
    """The applied quotas of EC2."""

    name = "service-quotas"

    def get_service_quota(self, params: Params) -> Answer:
        code = params["QuotaCode"]
        if params["ServiceCode"] != "ec2" or code not in QUOTAS:
            raise AwsFailure(
                "NoSuchResourceException", f"The request failed because {code} was not found", 404
            )
        return {"Quota": self._describe(code)}

    def list_service_quotas(self, params: Params) -> Answer:
        codes = QUOTAS if params["ServiceCode"] == "ec2" else ()
        return {"Quotas": [self._describe(code) for code in codes]}

    def _describe(self, code: str) -> dict[str, Any]:
        name, capacity_type = QUOTAS[code]
        return {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaArn": f"arn:aws:servicequotas:{self.cloud.region}:{ACCOUNT}:ec2/{code}",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": float(self.cloud.ec2.capacity.vcpu_quota[capacity_type]),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
