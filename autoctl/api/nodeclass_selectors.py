"""The part of a NodeClass about what it selects in EC2: subnets, security groups, reservations.

Terms of a list are OR-ed, the fields within a term AND-ed.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from autoctl.api.meta import ApiModel, Rule, rules

Tags: TypeAlias = Annotated[
    dict[str, Annotated[str, Field(max_length=256)]],
    Field(
        max_length=20,
        description="Tags the resource must have; a value of `*` matches any.",
        json_schema_extra=rules(
            Rule(
                "self.all(k, k != '' && self[k] != '')", "empty tag keys or values aren't supported"
            )
        ),
    ),
]


def exclusive_terms(field: str, kind: str, *others: str) -> list[Rule]:
    """Rules of a list of selector terms: not empty, each with a field, identity fields alone."""
    fields = ("tags", "id", *others)
    present = " || ".join(f"has(x.{name})" for name in fields)
    checks = [
        Rule("self.size() != 0", f"{field} cannot be empty"),
        Rule(f"self.all(x, {present})", f"expected at least one, got none, {list(fields)!r}"),
    ]
    for name in ("id", *others):
        rest = " || ".join(f"has(x.{other})" for other in fields if other != name)
        checks.append(
            Rule(
                f"self.all(x, !(has(x.{name}) && ({rest})))",
                f"'{name}' is mutually exclusive, cannot be set with a combination of other "
                f"fields in a {kind} selector term",
            )
        )
    return checks


class SubnetSelectorTerm(ApiModel):
    """Subnets by ID, or by tags."""

    tags: Tags | None = None
    id: Annotated[
        str | None, Field(pattern=r"^subnet-[0-9a-z]+$", description="The subnet's ID.")
    ] = None


class SecurityGroupSelectorTerm(ApiModel):
    """Security groups by ID, by name, or by tags."""

    tags: Tags | None = None
    id: Annotated[
        str | None, Field(pattern=r"^sg-[0-9a-z]+$", description="The security group's ID.")
    ] = None
    name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            description="The security group's name (not its Name tag); `*` matches any.",
        ),
    ] = None


class PodSecurityGroupSelectorTerm(ApiModel):
    """Security groups of pods by ID, or by tags."""

    tags: Tags | None = None
    id: Annotated[
        str | None, Field(pattern=r"^sg-[0-9a-z]+$", description="The security group's ID.")
    ] = None


class CapacityReservationSelectorTerm(ApiModel):
    """Capacity reservations by ID, or by tags and owner."""

    id: Annotated[
        str | None, Field(pattern=r"^cr-[0-9a-z]+$", description="The reservation's ID.")
    ] = None
    tags: Tags | None = None
    owner: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9]{12}$",
            description="Account that owns a shared reservation; with `tags` only.",
        ),
    ] = None


class PlacementGroupSelector(ApiModel):
    """The placement group by name or by ID."""

    name: Annotated[
        str | None,
        Field(min_length=1, max_length=255, description="The placement group's name."),
    ] = None
    id: Annotated[
        str | None, Field(pattern=r"^pg-[0-9a-z]+$", description="The placement group's ID.")
    ] = None
