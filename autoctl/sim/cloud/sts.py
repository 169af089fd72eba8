"""Simulated STS: who calls."""

from __future__ import annotations

from autoctl.sim.cloud.account import ACCOUNT, CALLER
from autoctl.sim.cloud.service import Answer, Params, Service


class Sts(Service):
    """The caller is always the operator's role."""

    name = "sts"

    def get_caller_identity(self, _params: Params) -> Answer:
        return {
            "UserId": "AROASIMULATEDOPERATOR:session",
            "Account": ACCOUNT,
            "Arn": CALLER,
        }
