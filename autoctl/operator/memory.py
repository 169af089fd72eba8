"""The garbage collector of a process that keeps a large mirror of a cluster."""

from __future__ import annotations

import gc

_THRESHOLDS = (50_000, 20, 50)
"""After the start almost everything that lives stays; the collector should look rarely."""


def settle_memory() -> None:
    """Take what lives now out of the collector's sight: looking through it stalls the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
