"""NodePools: their hash, readiness, totals, validation and health."""
