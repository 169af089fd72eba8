"""Which instance types are offered, and which of them only as a last resort.

The families and the size rule are those of the EKS Auto Mode page on instances: more than one
vCPU, none of the sizes nano, micro and small, no bare metal. Accelerated and otherwise unusual
types are in the universe, but ordinary pods get them only when nothing else is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMPUTE = (
    "c4 c5 c5a c5ad c5d c5n c6a c6g c6gd c6gn c6i c6id c6in c7a c7g c7gd c7gn c7i c7i-flex "
    "c8a c8g c8gb c8gd c8gn c8i c8i-flex c8ib c8id c9g c9gd"
)
GENERAL_PURPOSE = (
    "m4 m5 m5a m5ad m5d m5dn m5n m5zn m6a m6g m6gd m6i m6id m6idn m6in m7a m7g m7gd m7i m7i-flex "
    "m8a m8azn m8g m8gb m8gd m8gn m8i m8i-flex m8ib m8id m8idb m8idn m9g m9gd"
)
MEMORY = (
    "r4 r5 r5a r5ad r5b r5d r5dn r5n r6a r6g r6gd r6i r6id r6idn r6in r7a r7g r7gd r7i r7iz "
    "r8a r8g r8gb r8gd r8gn r8i r8i-flex r8ib r8id r8idb r8idn r9g "
    "z1d x8aedz x8g x8i x2gd x2idn x2iedn x2iezn"
)
BURSTABLE = "t2 t3 t3a t4g"
STORAGE = "i8g i8ge i7i i7ie i4g is4gen im4gn i4i i3 i3en d3 d3en"
ACCELERATED = (
    "trn2 trn1 trn1n inf2 inf1 p6-b200 p6-b300 p5 p5e p5en p4d p4de p3 p3dn "
    "g7e g6 gr6 g6e g5 g5g g4ad g4dn"
)
HPC = "hpc8a"

FAMILIES = frozenset(
    f"{COMPUTE} {GENERAL_PURPOSE} {MEMORY} {BURSTABLE} {STORAGE} {ACCELERATED} {HPC}".split()
)
EXOTIC_FAMILIES = frozenset(f"{ACCELERATED} {HPC}".split())
TOO_SMALL = frozenset({"nano", "micro", "small"})


def in_universe(api: Mapping[str, Any]) -> bool:
    """Whether a type, as DescribeInstanceTypes tells it, may be launched at all."""
    family, _, size = str(api["InstanceType"]).partition(".")
    return (
        family in FAMILIES
        and size not in TOO_SMALL
        and not api.get("BareMetal", False)
        and int(api["VCpuInfo"]["DefaultVCpus"]) > 1
    )


def is_exotic(api: Mapping[str, Any]) -> bool:
    """Whether ordinary pods should get a type only when nothing else is left."""
    family = str(api["InstanceType"]).partition(".")[0]
    return (
        family in EXOTIC_FAMILIES
        or bool(api.get("BareMetal", False))
        or any(key in api for key in ("GpuInfo", "NeuronInfo", "InferenceAcceleratorInfo"))
        or "FpgaInfo" in api
    )
