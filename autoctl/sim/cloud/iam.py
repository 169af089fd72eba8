"""Simulated IAM: roles and instance profiles."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from autoctl.sim.cloud.account import ACCOUNT, OPERATOR
from autoctl.sim.cloud.errors import AwsFailure
from autoctl.sim.cloud.service import Answer, Params, Service

if TYPE_CHECKING:
    from autoctl.sim.cloud.cloud import SimulatedCloud

PAGE = 100


@dataclass
class Role:
    name: str
    role_id: str
    created_at: datetime
    path: str = "/"
    trust: str = "{}"

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{ACCOUNT}:role{self.path}{self.name}"


@dataclass
class Profile:
    name: str
    profile_id: str
    path: str
    created_at: datetime
    role: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{ACCOUNT}:instance-profile{self.path}{self.name}"


class Iam(Service):
    """Roles and instance profiles by name."""

    name = "iam"

    def __init__(self, cloud: SimulatedCloud) -> None:
        super().__init__(cloud)
        self.roles: dict[str, Role] = {}
        self.profiles: dict[str, Profile] = {}

    def add_role(self, name: str) -> Role:
        """A role that exists."""
        role = Role(name, self._id("AROA"), self.cloud.now())
        self.roles[name] = role
        return role

    def profile_arn(self, name: str) -> str | None:
        profile = self.profiles.get(name)
        return profile.arn if profile else None

    def _id(self, prefix: str) -> str:
        digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
        return prefix + "".join(self.cloud.random.choice(digits) for _ in range(17))

    def _role(self, name: str) -> Role:
        if name not in self.roles:
            raise AwsFailure("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
        return self.roles[name]

    def _profile(self, name: str) -> Profile:
        if name not in self.profiles:
            raise AwsFailure("NoSuchEntity", f"Instance Profile {name} cannot be found.", 404)
        return self.profiles[name]

    def create_role(self, params: Params) -> Answer:
        name = params["RoleName"]
        if name in self.roles:
            raise AwsFailure("EntityAlreadyExists", f"Role with name {name} already exists.", 409)
        role = self.add_role(name)
        role.path = params.get("Path", "/")
        role.trust = params["AssumeRolePolicyDocument"]
        return {"Role": _describe_role(role)}

    def get_role(self, params: Params) -> Answer:
        return {"Role": _describe_role(self._role(params["RoleName"]))}

    def create_instance_profile(self, params: Params) -> Answer:
        name = params["InstanceProfileName"]
        if name in self.profiles:
            raise AwsFailure("EntityAlreadyExists", f"Instance Profile {name} already exists.", 409)
        profile = Profile(name, self._id("AIPA"), params.get("Path", "/"), self.cloud.now())
        profile.tags.update({tag["Key"]: tag["Value"] for tag in params.get("Tags", ())})
        self.profiles[name] = profile
        return {"InstanceProfile": self._describe(profile)}

    def get_instance_profile(self, params: Params) -> Answer:
        return {"InstanceProfile": self._describe(self._profile(params["InstanceProfileName"]))}

    def delete_instance_profile(self, params: Params) -> Answer:
        profile = self._profile(params["InstanceProfileName"])
        if profile.role is not None:
            raise AwsFailure(
                "DeleteConflict",
                "Cannot delete entity, must remove roles from instance profile first.",
                409,
            )
        del self.profiles[profile.name]
        return {}

    def add_role_to_instance_profile(self, params: Params) -> Answer:
        profile = self._profile(params["InstanceProfileName"])
        role = self._role(params["RoleName"])
        if profile.role is not None:
            raise AwsFailure(
                "LimitExceeded",
                "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
                409,
            )
        profile.role = role.name
        return {}

    def remove_role_from_instance_profile(self, params: Params) -> Answer:
        profile = self._profile(params["InstanceProfileName"])
        if profile.role != params["RoleName"]:
            raise AwsFailure(
                "NoSuchEntity", f"The role with name {params['RoleName']} cannot be found.", 404
            )
        profile.role = None
        return {}

    def tag_instance_profile(self, params: Params) -> Answer:
        profile = self._profile(params["InstanceProfileName"])
        profile.tags.update({tag["Key"]: tag["Value"] for tag in params["Tags"]})
        return {}

    def untag_instance_profile(self, params: Params) -> Answer:
        profile = self._profile(params["InstanceProfileName"])
        for key in params["TagKeys"]:
            profile.tags.pop(key, None)
        return {}

    def list_instance_profile_tags(self, params: Params) -> Answer:
        profile = self._profile(params["InstanceProfileName"])
        return {"Tags": _tags(profile), "IsTruncated": False}

    def list_instance_profiles(self, params: Params) -> Answer:
        prefix = params.get("PathPrefix", "/")
        found = [p for p in self.profiles.values() if p.path.startswith(prefix)]
        start, size = int(params.get("Marker", "0")), params.get("MaxItems", PAGE)
        answer: Answer = {
            "InstanceProfiles": [self._describe(p) for p in found[start : start + size]],
            "IsTruncated": start + size < len(found),
        }
        if answer["IsTruncated"]:
            answer["Marker"] = str(start + size)
        return answer

    def list_instance_profiles_for_role(self, params: Params) -> Answer:
        role = self._role(params["RoleName"])
        found = [p for p in self.profiles.values() if p.role == role.name]
        return {"InstanceProfiles": [self._describe(p) for p in found], "IsTruncated": False}

    def simulate_principal_policy(self, params: Params) -> Answer:
        """The operator's role may do whatever is not denied; IAM knows of no others."""
        source = params["PolicySourceArn"]
        if source != OPERATOR:
            raise AwsFailure("NoSuchEntity", f"Could not find entity: {source}", 404)
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": "implicitDeny" if action in self.cloud.denied else "allowed",
                    "MatchedStatements": [],
                    "MissingContextValues": [],
                }
                for action in params["ActionNames"]
                for resource in params.get("ResourceArns", ("*",))
            ],
            "IsTruncated": False,
        }

    def _describe(self, profile: Profile) -> dict[str, Any]:
        role = self.roles.get(profile.role) if profile.role else None
        return {
            "Path": profile.path,
            "InstanceProfileName": profile.name,
            "InstanceProfileId": profile.profile_id,
            "Arn": profile.arn,
            "CreateDate": profile.created_at,
            "Roles": [_describe_role(role)] if role else [],
            "Tags": _tags(profile),
        }


def _describe_role(role: Role) -> dict[str, Any]:
    return {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.role_id,
        "Arn": role.arn,
        "CreateDate": role.created_at,
        "AssumeRolePolicyDocument": role.trust,
    }


def _tags(profile: Profile) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in profile.tags.items()]
