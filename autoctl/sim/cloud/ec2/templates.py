"""Launch templates: versions, unique names, references by id or name."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from autoctl.sim.cloud.account import CALLER
from autoctl.sim.cloud.ec2.query import Fields, page, select_tagged
from autoctl.sim.cloud.ec2.records import LaunchTemplate, tag_list, tags_of
from autoctl.sim.cloud.errors import AwsFailure, dry_run_succeeded, missing_parameter
from autoctl.sim.cloud.service import Answer, Params

if TYPE_CHECKING:
    from autoctl.sim.cloud.ec2.backend import Ec2

NAME = re.compile(r"^[a-zA-Z0-9().\-/_]{3,128}$")
USER_DATA_LIMIT = 16384
"""Bytes of user data before base64."""

FIELDS: Fields[LaunchTemplate] = {
    "launch-template-name": lambda t: t.name,
    "create-time": lambda t: t.created_at.isoformat(),
}


class LaunchTemplates:
    """The account's launch templates by id."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2
        self.templates: dict[str, LaunchTemplate] = {}

    def named(self, name: str) -> LaunchTemplate | None:
        return next((t for t in self.templates.values() if t.name == name), None)

    def find(self, reference: Params) -> LaunchTemplate:
        """The template of a LaunchTemplateId or LaunchTemplateName (exactly one)."""
        template_id, name = reference.get("LaunchTemplateId"), reference.get("LaunchTemplateName")
        if (template_id is None) == (name is None):
            raise AwsFailure(
                "MissingParameter" if name is None else "InvalidParameterCombination",
                "Either a launch template ID or a launch template name must be specified, "
                "and not both.",
            )
        if template_id is not None:
            if template_id not in self.templates:
                raise AwsFailure(
                    "InvalidLaunchTemplateId.NotFound",
                    f"The specified launch template, with template ID {template_id}, "
                    "does not exist.",
                )
            return self.templates[template_id]
        template = self.named(str(name))
        if template is None:
            raise AwsFailure(
                "InvalidLaunchTemplateName.NotFoundException",
                f"The specified launch template, with template name {name}, does not exist.",
            )
        return template

    def version(self, template: LaunchTemplate, version: str) -> tuple[int, dict[str, Any]]:
        """The number and data that `$Latest`, `$Default` or a number names."""
        if version in ("$Latest", ""):
            number = template.latest_version
        elif version == "$Default":
            number = template.default_version
        elif version.isdigit():
            number = int(version)
        else:
            raise AwsFailure(
                "InvalidLaunchTemplateId.VersionNotFound",
                f"Could not find launch template version {version}",
            )
        data = template.versions[number - 1] if 1 <= number <= len(template.versions) else None
        if data is None:
            raise AwsFailure(
                "InvalidLaunchTemplateId.VersionNotFound",
                f"Could not find the specified version {version} for the launch template with ID "
                f"{template.template_id}.",
            )
        return number, data

    def create_launch_template(self, params: Params) -> Answer:
        name = params["LaunchTemplateName"]
        if not NAME.match(name):
            raise AwsFailure(
                "InvalidLaunchTemplateName.MalformedException",
                "A launch template name must be between 3 and 128 characters, and may contain "
                "letters, numbers, and the following characters: - ( ) . / _",
            )
        check_user_data(params["LaunchTemplateData"])
        self._ec2.check_tags(params)
        self._ec2.check_tags(params["LaunchTemplateData"])
        if params.get("DryRun"):
            raise dry_run_succeeded()
        return self._ec2.idempotent("CreateLaunchTemplate", params, self._create)

    def _create(self, params: Params) -> Answer:
        name = params["LaunchTemplateName"]
        if self.named(name) is not None:
            raise AwsFailure(
                "InvalidLaunchTemplateName.AlreadyExistsException",
                f"Launch template name already in use: {name}",
            )
        template = LaunchTemplate(
            template_id=self._ec2.new_id("lt"),
            name=name,
            created_at=self._ec2.now(),
            versions=[params["LaunchTemplateData"]],
            descriptions=[params.get("VersionDescription", "")],
            tags=tags_of(params.get("TagSpecifications"), "launch-template"),
        )
        self.templates[template.template_id] = template
        return {"LaunchTemplate": self._describe(template)}

    def create_launch_template_version(self, params: Params) -> Answer:
        template = self.find(params)
        data = params["LaunchTemplateData"]
        check_user_data(data)
        if source := params.get("SourceVersion"):
            data = {**self.version(template, source)[1], **data}
        template.versions.append(data)
        template.descriptions.append(params.get("VersionDescription", ""))
        return {"LaunchTemplateVersion": self._describe_version(template, template.latest_version)}

    def modify_launch_template(self, params: Params) -> Answer:
        template = self.find(params)
        if version := params.get("DefaultVersion"):
            template.default_version = self.version(template, version)[0]
        return {"LaunchTemplate": self._describe(template)}

    def describe_launch_templates(self, params: Params) -> Answer:
        ids, names = params.get("LaunchTemplateIds"), params.get("LaunchTemplateNames")
        if ids:
            wanted = [self.find({"LaunchTemplateId": template_id}) for template_id in ids]
        elif names:
            wanted = [self.find({"LaunchTemplateName": name}) for name in names]
        else:
            soon = self._ec2.now() - timedelta(seconds=self._ec2.timings.visible)
            wanted = [t for t in self.templates.values() if _seen(t.created_at, soon)]
        items, token = page(select_tagged(wanted, params, FIELDS), params, low=1, high=200)
        return {"LaunchTemplates": [self._describe(template) for template in items], **token}

    def describe_launch_template_versions(self, params: Params) -> Answer:
        template = self.find(params)
        versions = params.get("Versions")
        if versions:
            numbers = [self.version(template, version)[0] for version in versions]
        else:
            numbers = [n for n, data in enumerate(template.versions, 1) if data is not None]
        items, token = page(numbers, params, low=1, high=200)
        return {
            "LaunchTemplateVersions": [self._describe_version(template, n) for n in items],
            **token,
        }

    def delete_launch_template(self, params: Params) -> Answer:
        template = self.find(params)
        del self.templates[template.template_id]
        return {"LaunchTemplate": self._describe(template)}

    def delete_launch_template_versions(self, params: Params) -> Answer:
        template = self.find(params)
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for version in params["Versions"]:
            entry = {
                "LaunchTemplateId": template.template_id,
                "LaunchTemplateName": template.name,
                "VersionNumber": int(version),
            }
            if int(version) == template.default_version:
                error = {"Code": "unexpectedError", "Message": "cannot delete the default version"}
                failed.append({**entry, "ResponseError": error})
                continue
            number, _ = self.version(template, version)
            template.versions[number - 1] = None
            done.append(entry)
        return {
            "SuccessfullyDeletedLaunchTemplateVersions": done,
            "UnsuccessfullyDeletedLaunchTemplateVersions": failed,
        }

    def _describe(self, template: LaunchTemplate) -> dict[str, Any]:
        return {
            "LaunchTemplateId": template.template_id,
            "LaunchTemplateName": template.name,
            "CreateTime": template.created_at,
            "CreatedBy": CALLER,
            "DefaultVersionNumber": template.default_version,
            "LatestVersionNumber": template.latest_version,
            "Tags": tag_list(template.tags),
        }

    def _describe_version(self, template: LaunchTemplate, number: int) -> dict[str, Any]:
        return {
            "LaunchTemplateId": template.template_id,
            "LaunchTemplateName": template.name,
            "VersionNumber": number,
            "VersionDescription": template.descriptions[number - 1],
            "CreateTime": template.created_at,
            "CreatedBy": CALLER,
            "DefaultVersion": number == template.default_version,
            "LaunchTemplateData": template.versions[number - 1] or {},
        }


def _seen(created_at: datetime, before: datetime) -> bool:
    return created_at <= before


def user_data(data: Params) -> bytes:
    """The decoded user data of launch template data."""
    if "UserData" not in data:
        return b""
    try:
        return base64.b64decode(data["UserData"], validate=True)
    except binascii.Error:
        raise AwsFailure(
            "InvalidUserData.Malformed", "Invalid BASE64 encoding of user data."
        ) from None


def check_user_data(data: Params) -> None:
    """Raises for user data that is not base64 or longer than EC2 takes."""
    if len(user_data(data)) > USER_DATA_LIMIT:
        raise AwsFailure(
            "InvalidParameterValue", f"User data is limited to {USER_DATA_LIMIT} bytes"
        )
    if not data:
        raise missing_parameter("LaunchTemplateData")
