"""Simulated SSM: the public parameters of Bottlerocket's images, and releases of new ones.

Names are Bottlerocket's: `<PREFIX>/aws-k8s-1.34-nvidia-fips/x86_64/latest/image_id`, with the
release's version in place of `latest` for older ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.service import Answer, Params, Service

if TYPE_CHECKING:
    from autoctl.sim.cloud.cloud import SimulatedCloud

PREFIX = "/aws/service/bottlerocket"
FIRST_RELEASE = "1.50.0"
ARCHITECTURES = ("x86_64", "arm64")
FLAVOURS = ("", "-nvidia", "-fips", "-nvidia-fips")
"""Variants of Bottlerocket for a Kubernetes minor. Neuron devices work in the plain one."""

MINORS_EACH_SIDE = 2
"""How many minors around the cluster's have images."""


@dataclass
class Parameter:
    name: str
    value: str
    modified_at: datetime
    version: int = 1


class Ssm(Service):
    """Parameters by name."""

    name = "ssm"

    def __init__(self, cloud: SimulatedCloud) -> None:
        super().__init__(cloud)
        self.parameters: dict[str, Parameter] = {}
        self.latest = ""

    def put(self, name: str, value: str) -> None:
        """Set a parameter, as its owner would."""
        known = self.parameters.get(name)
        version = known.version + 1 if known else 1
        self.parameters[name] = Parameter(name, value, self.cloud.now(), version)

    def release(self, version: str | None = None) -> str:
        """Publish a Bottlerocket release for every minor, variant and architecture.

        Without a version the next minor one. LookupError for one that was published already.
        """
        if version is None:
            major, minor, _ = (self.latest or FIRST_RELEASE).split(".")
            version = f"{major}.{int(minor) + 1}.0" if self.latest else FIRST_RELEASE
        middle = int(self.cloud.settings.kubernetes.split(".")[1])
        for kubernetes in range(middle - MINORS_EACH_SIDE, middle + MINORS_EACH_SIDE + 1):
            for flavour in FLAVOURS:
                variant = f"aws-k8s-1.{kubernetes}{flavour}"
                for architecture in ARCHITECTURES:
                    self._publish(variant, architecture, version)
        self.latest = version
        return version

    def _publish(self, variant: str, architecture: str, version: str) -> None:
        base = f"{PREFIX}/{variant}/{architecture}"
        if f"{base}/{version}/image_id" in self.parameters:
            raise LookupError(f"Bottlerocket {version} is published already")
        image = self.cloud.ec2.images.add(
            f"bottlerocket-{variant}-{architecture}-v{version}", architecture
        )
        for label in (version, "latest"):
            self.put(f"{base}/{label}/image_id", image.image_id)
            self.put(f"{base}/{label}/image_version", version)

    def get_parameter(self, params: Params) -> Answer:
        parameter = self.parameters.get(params["Name"])
        if parameter is None:
            raise AwsFailure("ParameterNotFound", f"Parameter {params['Name']} not found.")
        return {"Parameter": self._describe(parameter)}

    def get_parameters(self, params: Params) -> Answer:
        if len(params["Names"]) > 10:
            raise AwsFailure(
                "ValidationException",
                "1 validation error detected: Value at 'names' failed to satisfy constraint: "
                "Member must have length less than or equal to 10",
            )
        found = [self.parameters[name] for name in params["Names"] if name in self.parameters]
        answer: Answer = {"Parameters": [self._describe(parameter) for parameter in found]}
        invalid = [name for name in params["Names"] if name not in self.parameters]
        if invalid:  # the service model wants at least one, or none of the field
            answer["InvalidParameters"] = invalid
        return answer

    def get_parameters_by_path(self, params: Params) -> Answer:
        path = params["Path"].rstrip("/") + "/"
        names = sorted(
            name
            for name in self.parameters
            if name.startswith(path) and (params.get("Recursive") or "/" not in name[len(path) :])
        )
        start = int(params.get("NextToken", "0"))
        size = params.get("MaxResults", 10)
        answer: Answer = {
            "Parameters": [
                self._describe(self.parameters[name]) for name in names[start : start + size]
            ]
        }
        if start + size < len(names):
            answer["NextToken"] = str(start + size)
        return answer

    def _describe(self, parameter: Parameter) -> dict[str, Any]:
        return {
            "Name": parameter.name,
            "Type": "String",
            "Value": parameter.value,
            "Version": parameter.version,
            "LastModifiedDate": parameter.modified_at,
            "ARN": f"arn:aws:ssm:{self.cloud.region}::parameter{parameter.name}",
            "DataType": "text",
        }
