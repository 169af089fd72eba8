"""The simulated Kubernetes cluster: an API server in memory, and the controllers around it.

`SimCluster` implements `autoctl.ports.kubernetes.KubernetesApi` in the time of the running event
loop. What it does not model: authentication, API versions and conversion, quotas, preemption,
managed fields, in-place resize, and the admission webhooks of third parties.
"""

from autoctl.sim.cluster.admission import crd_defaults, crd_errors
from autoctl.sim.cluster.cluster import SimCluster
from autoctl.sim.cluster.faults import ErrorRule, Faults, Point, Request
from autoctl.sim.cluster.timings import Timings

__all__ = [
    "ErrorRule",
    "Faults",
    "Point",
    "Request",
    "SimCluster",
    "Timings",
    "crd_defaults",
    "crd_errors",
]
