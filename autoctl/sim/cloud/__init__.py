"""A simulated AWS account behind boto3's client methods, in process or over HTTP."""

from autoctl.sim.cloud.account import ACCOUNT
from autoctl.sim.cloud.cloud import CloudSettings, SimulatedCloud, Timings
from autoctl.sim.cloud.ec2.records import InstanceRecord
from autoctl.sim.cloud.faults import Fault, FaultType, parse_fault

__all__ = [
    "ACCOUNT",
    "CloudSettings",
    "Fault",
    "FaultType",
    "InstanceRecord",
    "SimulatedCloud",
    "Timings",
    "parse_fault",
]
