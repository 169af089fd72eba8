"""The simulated kube-scheduler."""

from autoctl.sim.cluster.scheduler.scheduler import Scheduler

__all__ = ["Scheduler"]
