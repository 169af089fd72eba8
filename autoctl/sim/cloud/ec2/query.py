"""Filters and pages of EC2's Describe calls."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from autoctl.sim.cloud.ec2.records import Tagged
from autoctl.sim.cloud.errors import AwsFailure, invalid_value

T = TypeVar("T")
R = TypeVar("R", bound=Tagged)

Fields = Mapping[str, Callable[[T], str | Iterable[str] | None]]
"""Filter name -> what it compares with: one value, several, or None for none."""


def select_tagged(records: Iterable[R], params: Mapping[str, Any], fields: Fields[R]) -> list[R]:
    """The records that pass the request's Filters, among them those about tags."""

    def values(record: R, name: str) -> Iterable[str] | None:
        if name.startswith("tag:"):
            value = record.tags.get(name[4:])
            return () if value is None else (value,)
        if name == "tag-key":
            return record.tags.keys()
        if name == "tag-value":
            return record.tags.values()
        return None

    return _select(records, params, fields, values)


def select(records: Iterable[T], params: Mapping[str, Any], fields: Fields[T]) -> list[T]:
    """The records that pass the request's Filters."""
    return _select(records, params, fields, lambda _record, _name: None)


def _select(
    records: Iterable[T],
    params: Mapping[str, Any],
    fields: Fields[T],
    special: Callable[[T, str], Iterable[str] | None],
) -> list[T]:
    chosen = list(records)
    for entry in params.get("Filters", ()):
        name, wanted = entry["Name"], entry.get("Values", [])
        field = fields.get(name)
        is_tag = name.startswith("tag:") or name in ("tag-key", "tag-value")
        if field is None and not is_tag:
            raise AwsFailure("InvalidParameterValue", f"The filter '{name}' is invalid")
        kept = []
        for record in chosen:
            found = field(record) if field is not None else special(record, name)
            if field is None and found is None:
                raise AwsFailure("InvalidParameterValue", f"The filter '{name}' is invalid")
            if found is None:
                continue
            if isinstance(found, str):
                found = (found,)
            if any(_like(value, pattern) for value in found for pattern in wanted):
                kept.append(record)
        chosen = kept
    return chosen


def _like(value: str, pattern: str) -> bool:
    if "*" in pattern or "?" in pattern:
        return fnmatchcase(value, pattern.replace("[", "[[]"))
    return value == pattern


def flag(value: object) -> str:
    """A boolean as filters spell it."""
    return "true" if value else "false"


def page(
    items: Sequence[T],
    params: Mapping[str, Any],
    *,
    low: int,
    high: int,
    default: int | None = None,
) -> tuple[Sequence[T], dict[str, str]]:
    """The page of `items` that MaxResults and NextToken ask for, with the answer's NextToken.

    Without MaxResults a page has `default` items; None means all. Raises for a size outside
    `low`..`high` and for a token that no earlier page gave.
    """
    size = params.get("MaxResults")
    if size is not None and not low <= size <= high:
        raise invalid_value("maxResults", size, f"Expecting a value between {low} and {high}.")
    size = size or default
    start = 0
    if token := params.get("NextToken"):
        start = _decode(token, len(items))
    if size is None or start + size >= len(items):
        return items[start:], {}
    return items[start : start + size], {"NextToken": _encode(start + size)}


def _encode(start: int) -> str:
    return base64.urlsafe_b64encode(f"after:{start}".encode()).decode()


def _decode(token: str, length: int) -> int:
    try:
        text = base64.urlsafe_b64decode(token.encode()).decode()
        start = int(text.removeprefix("after:")) if text.startswith("after:") else -1
    except (ValueError, binascii.Error):
        start = -1
    if start < 0:
        raise AwsFailure("InvalidNextToken", f"The token '{token}' is invalid")
    return min(start, length)
