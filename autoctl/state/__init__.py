"""The mirror of the cluster: reflectors keep it, `snapshot.Snapshot` is what decisions read."""
