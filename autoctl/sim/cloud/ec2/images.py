"""Machine images: Bottlerocket's, which SSM parameters name, and whatever a test adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoctl.sim.cloud.account import ACCOUNT
from autoctl.sim.cloud.ec2.query import Fields, page, select_tagged
from autoctl.sim.cloud.ec2.records import Image, tag_list
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.service import Answer, Params

if TYPE_CHECKING:
    from autoctl.sim.cloud.ec2.backend import Ec2

FIELDS: Fields[Image] = {
    "image-id": lambda i: i.image_id,
    "name": lambda i: i.name,
    "architecture": lambda i: i.architecture,
    "state": lambda i: i.state,
    "owner-id": lambda i: i.owner,
    "owner-alias": lambda i: i.owner_alias,
    "image-type": lambda _: "machine",
    "virtualization-type": lambda _: "hvm",
    "root-device-type": lambda _: "ebs",
}


class Images:
    """The images by id."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2
        self.records: dict[str, Image] = {}

    def add(self, name: str, architecture: str, *, owner_alias: str | None = "amazon") -> Image:
        """A new image; `architecture` is EC2's word (`x86_64`, `arm64`)."""
        image = Image(
            image_id=self._ec2.new_id("ami"),
            name=name,
            architecture=architecture,
            owner="092701018921" if owner_alias else ACCOUNT,
            owner_alias=owner_alias,
            created_at=self._ec2.now(),
        )
        self.records[image.image_id] = image
        return image

    def get(self, image_id: str | None) -> Image:
        if image_id is None:
            raise AwsFailure("MissingParameter", "The request must contain the parameter ImageId")
        if not image_id.startswith("ami-"):
            raise AwsFailure("InvalidAMIID.Malformed", f'Invalid id: "{image_id}"')
        if image_id not in self.records:
            raise AwsFailure("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
        return self.records[image_id]

    def describe_images(self, params: Params) -> Answer:
        wanted = [self.get(image_id) for image_id in params.get("ImageIds") or self.records]
        if owners := params.get("Owners"):
            wanted = [
                image
                for image in wanted
                if image.owner in owners
                or image.owner_alias in owners
                or ("self" in owners and image.owner == ACCOUNT)
            ]
        if not params.get("IncludeDeprecated") and not params.get("ImageIds"):
            now = self._ec2.now()
            wanted = [i for i in wanted if i.deprecated_at is None or i.deprecated_at > now]
        items, token = page(select_tagged(wanted, params, FIELDS), params, low=5, high=1000)
        return {"Images": [_describe(image) for image in items], **token}


def _describe(image: Image) -> dict[str, Any]:
    described: dict[str, Any] = {
        "ImageId": image.image_id,
        "Name": image.name,
        "Description": image.description,
        "Architecture": image.architecture,
        "OwnerId": image.owner,
        "CreationDate": image.created_at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "State": image.state,
        "Public": image.owner_alias is not None,
        "ImageType": "machine",
        "VirtualizationType": "hvm",
        "RootDeviceType": "ebs",
        "RootDeviceName": "/dev/xvda",
        "EnaSupport": True,
        "Tags": tag_list(image.tags),
    }
    if image.owner_alias:
        described["ImageOwnerAlias"] = image.owner_alias
    if image.deprecated_at:
        described["DeprecationTime"] = image.deprecated_at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return described
