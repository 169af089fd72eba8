"""Machine images: Bottlerocket's releases, found through the public parameters of SSM.

Bottlerocket publishes `/aws/service/bottlerocket/<variant>/<architecture>/<version>/image_id`
(Bottlerocket documentation, "Finding an AMI"). A variant is `aws-k8s-<minor>`, with `-nvidia` for
NVIDIA GPUs and `-fips` for FIPS 140 validated modules. Neuron devices run on the plain variant.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from autoctl.aws.call import Caller
from autoctl.aws.errors import CloudError, Kind
from autoctl.ports.clock import Clock

LATEST = "latest"
ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}
_KEEP = timedelta(minutes=5)
_BATCH = 10
"""GetParameters takes no more names."""


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """Which release: Kubernetes `minor` such as 1.34, `version` `latest` or such as 1.52.0."""

    minor: str
    architecture: str
    nvidia: bool
    fips: bool = False
    version: str = LATEST

    @property
    def parameter(self) -> str:
        suffix = ("-nvidia" if self.nvidia else "") + ("-fips" if self.fips else "")
        architecture = ARCHITECTURES[self.architecture]
        variant = f"aws-k8s-{self.minor}{suffix}"
        return f"/aws/service/bottlerocket/{variant}/{architecture}/{self.version}/image_id"


class Images:
    """Image ids by query, remembered for five minutes."""

    def __init__(self, ssm: Caller, clock: Clock) -> None:
        self._ssm = ssm
        self._clock = clock
        self._known: dict[str, tuple[str | None, datetime]] = {}

    async def find(self, queries: list[ImageQuery]) -> dict[ImageQuery, str]:
        """The image ids of the queries that have one."""
        now = self._clock.now()
        wanted = sorted({q.parameter for q in queries if not self._fresh(q.parameter, now)})
        for start in range(0, len(wanted), _BATCH):
            names = wanted[start : start + _BATCH]
            try:
                answer = await self._ssm("get_parameters", Names=names)
            except CloudError as error:
                if error.kind is not Kind.NOT_FOUND:
                    raise
                answer = {}
            values = {p["Name"]: p["Value"] for p in answer.get("Parameters", ())}
            for name in names:
                self._known[name] = (values.get(name), now)
        found = {}
        for query in queries:
            image, _ = self._known[query.parameter]
            if image is not None:
                found[query] = image
        return found

    def forget(self) -> None:
        """Look everything up anew."""
        self._known.clear()

    def _fresh(self, parameter: str, now: datetime) -> bool:
        known = self._known.get(parameter)
        return known is not None and now - known[1] < _KEEP
