"""Metrics about the cluster's state, as Karpenter exposes them, kept by periodic passes."""
