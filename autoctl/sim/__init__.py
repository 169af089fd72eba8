"""The simulated world: a Kubernetes cluster and an AWS account, in memory and in virtual time."""
