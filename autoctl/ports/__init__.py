"""The seams: protocols that the adapters implement and everything above them uses.

`kubernetes` is implemented by `autoctl.kube` (a real API server) and `autoctl.sim.cluster` (in
memory); `clock` by the operator (wall time) and the simulator (virtual time). The AWS seam needs no
protocol of ours: it is the boto3 client itself, implemented by boto3 and by `autoctl.sim.cloud`.
"""
