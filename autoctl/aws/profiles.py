"""Instance profiles for node roles.

Auto Mode's managed policies let an operator handle profiles whose names begin with `eks` (EKS User
Guide, "Learn about identity and access in EKS Auto Mode"); ours do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from autoctl.aws.call import Caller
from autoctl.aws.errors import CloudError, Kind
from autoctl.aws.tags import to_api

_LONGEST = 128


def profile_name(region: str, cluster: str, class_uid: str) -> str:
    """The name of the profile made for a NodeClass; another class of the same name has another."""
    digest = hashlib.sha256(f"{region}/{cluster}/{class_uid}".encode()).hexdigest()[:20]
    return f"eks-{region}-{cluster}"[: _LONGEST - 21] + f"-{digest}"


class InstanceProfiles:
    """Make, change and remove instance profiles."""

    def __init__(self, iam: Caller) -> None:
        self._iam = iam

    async def exists(self, name: str) -> bool:
        return await self._roles(name) is not None

    async def role_arn(self, name: str) -> str | None:
        """The ARN of the role in the profile; None when there is no profile, or no role in it."""
        roles = await self._found(name)
        return roles[0]["Arn"] if roles else None

    async def ensure(self, name: str, role: str, tags: Mapping[str, str]) -> None:
        """Make the profile with exactly this role. Raises `CloudError`: no such role, no rights."""
        roles = await self._roles(name)
        if roles is None:
            try:
                await self._iam(
                    "create_instance_profile", InstanceProfileName=name, Tags=to_api(tags)
                )
            except CloudError as error:
                if error.kind is not Kind.EXISTS:
                    raise
            roles = await self._roles(name) or []
        for other in roles:
            if other != role:
                await self._remove_role(name, other)
        if role not in roles:
            try:
                await self._iam(
                    "add_role_to_instance_profile", InstanceProfileName=name, RoleName=role
                )
            except CloudError as error:
                # A profile holds one role: whoever was faster put in the same.
                if error.code != "LimitExceeded" or await self._roles(name) != [role]:
                    raise

    async def delete(self, name: str) -> None:
        """Remove the profile; one that is gone already is no error."""
        roles = await self._roles(name)
        if roles is None:
            return
        for role in roles:
            await self._remove_role(name, role)
        try:
            await self._iam("delete_instance_profile", InstanceProfileName=name)
        except CloudError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise

    async def _roles(self, name: str) -> list[str] | None:
        roles = await self._found(name)
        return None if roles is None else [role["RoleName"] for role in roles]

    async def _found(self, name: str) -> list[dict[str, Any]] | None:
        try:
            answer = await self._iam("get_instance_profile", InstanceProfileName=name)
        except CloudError as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            raise
        return list(answer["InstanceProfile"].get("Roles", ()))

    async def _remove_role(self, name: str, role: str) -> None:
        try:
            await self._iam(
                "remove_role_from_instance_profile", InstanceProfileName=name, RoleName=role
            )
        except CloudError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
