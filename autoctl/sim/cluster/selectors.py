"""Label and field selectors, in the string form of requests and in the form of objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import Any, Final, Generic, TypeAlias, TypeVar

from autoctl.ports.kubernetes import BadRequest, Object, Resource
from autoctl.sim.cluster.kinds import field_labels, field_value

Labels: TypeAlias = Mapping[str, str]
LabelMatcher: TypeAlias = Callable[[Labels], bool]
Requirement: TypeAlias = tuple[str, str, tuple[str, ...]]
"""Key, operator (In, NotIn, Exists, DoesNotExist, Gt, Lt), values."""

OwnerT = TypeVar("OwnerT", bound=Hashable)
_SET_BASED: Final = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)$")
_COMPARISON: Final = re.compile(r"^(?P<key>[^=!<>\s]+)\s*(?P<op>==|=|!=|>|<)\s*(?P<value>\S*)$")
_KEY: Final = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$")
_OPERATORS: Final = {"=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt"}


def matches(requirements: tuple[Requirement, ...], labels: Labels) -> bool:
    """Whether `labels` satisfy every requirement (NotIn also matches where the key is absent)."""
    for key, operator, values in requirements:
        value = labels.get(key)
        if operator == "In":
            if value is None or value not in values:
                return False
        elif operator == "NotIn":
            if value is not None and value in values:
                return False
        elif operator == "Exists":
            if value is None:
                return False
        elif operator == "DoesNotExist":
            if value is not None:
                return False
        elif value is None or not _compares(operator, value, values):
            return False
    return True


def _compares(operator: str, value: str, values: tuple[str, ...]) -> bool:
    try:
        left, right = int(value), int(values[0])
    except (ValueError, IndexError):
        return False
    return left > right if operator == "Gt" else left < right


@lru_cache(maxsize=4096)
def parse_label_selector(selector: str) -> tuple[Requirement, ...]:
    """Parse `a=b,c!=d,e in (f,g),h notin (i),j,!k`. Raises `BadRequest`."""
    requirements: list[Requirement] = []
    for part in re.split(r",(?![^(]*\))", selector):
        text = part.strip()
        if not text:
            if selector.strip():
                raise BadRequest(f"unable to parse requirement: found '' in {selector!r}")
            continue
        if found := _SET_BASED.match(text):
            values = tuple(v.strip() for v in found["values"].split(","))
            operator = "In" if found["op"] == "in" else "NotIn"
            requirements.append((found["key"], operator, values))
        elif found := _COMPARISON.match(text):
            requirements.append((found["key"], _OPERATORS[found["op"]], (found["value"],)))
        elif _KEY.match(text.removeprefix("!").strip()):
            operator = "DoesNotExist" if text.startswith("!") else "Exists"
            requirements.append((text.removeprefix("!").strip(), operator, ()))
        else:
            raise BadRequest(f"unable to parse requirement: {text!r}")
    return tuple(requirements)


def requirements_of(selector: Mapping[str, Any] | None) -> tuple[Requirement, ...] | None:
    """The requirements of a `LabelSelector` object; `None` (matches nothing) for an absent one."""
    if selector is None:
        return None
    plain: list[Requirement] = [
        (key, "In", (value,)) for key, value in sorted((selector.get("matchLabels") or {}).items())
    ]
    for expression in selector.get("matchExpressions") or ():
        values = tuple(expression.get("values") or ())
        plain.append((expression["key"], expression["operator"], values))
    return tuple(plain)


def selects(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Whether a `LabelSelector` object matches; absent matches nothing, empty everything."""
    requirements = requirements_of(selector)
    return requirements is not None and matches(requirements, labels)


@lru_cache(maxsize=4096)
def parse_field_selector(resource: Resource, selector: str) -> tuple[tuple[str, bool, str], ...]:
    """Parse `spec.nodeName=,a!=b` into (path, equal, value). Raises `BadRequest`."""
    terms: list[tuple[str, bool, str]] = []
    for part in filter(None, (p.strip() for p in selector.split(","))):
        equal = "!=" not in part
        path, separator, value = part.partition("=" if equal else "!=")
        if not separator:
            raise BadRequest(f"invalid selector: '{selector}'; can't understand '{part}'")
        path, value = path.strip(), value.removeprefix("=").strip()
        if path not in field_labels(resource):
            raise BadRequest(
                f'Unable to find "{resource}" that match label selector "", field selector '
                f'"{selector}": field label not supported: {path}'
            )
        terms.append((path, equal, value))
    return tuple(terms)


def compile_filter(
    resource: Resource, namespace: str | None, label_selector: str, field_selector: str
) -> Callable[[Object], bool] | None:
    """One predicate for a list or watch request, or `None` where everything passes."""
    labels = parse_label_selector(label_selector)
    fields = parse_field_selector(resource, field_selector)
    if not labels and not fields and namespace is None:
        return None

    def accept(obj: Object) -> bool:
        metadata = obj["metadata"]
        if namespace is not None and metadata.get("namespace") != namespace:
            return False
        if any((field_value(obj, path) == value) != equal for path, equal, value in fields):
            return False
        return not labels or matches(labels, metadata.get("labels") or {})

    return accept


class SelectorIndex(Generic[OwnerT]):
    """Selectors by owner, found from a pod's labels without trying every one.

    Each selector is filed under one of the label values it demands, or under its namespace alone
    where it demands none.
    """

    def __init__(self) -> None:
        self._selectors: dict[OwnerT, tuple[str, tuple[Requirement, ...]]] = {}
        self._files: dict[tuple[str, str, str], dict[OwnerT, None]] = {}

    def add(self, owner: OwnerT, namespace: str, requirements: tuple[Requirement, ...]) -> None:
        """File a selector; an owner has one at a time."""
        self._selectors[owner] = (namespace, requirements)
        for place in _places(namespace, requirements):
            self._files.setdefault(place, {})[owner] = None

    def remove(self, owner: OwnerT) -> None:
        """Forget the owner's selector, if it has one."""
        found = self._selectors.pop(owner, None)
        if found is not None:
            for place in _places(*found):
                del self._files[place][owner]

    def matches(self, owner: OwnerT, namespace: str, labels: Labels) -> bool:
        """Whether the owner's selector matches a pod."""
        found = self._selectors.get(owner)
        return found is not None and found[0] == namespace and matches(found[1], labels)

    def matching(self, namespace: str, labels: Labels) -> list[OwnerT]:
        """The owners whose selectors match a pod, in a fixed order."""
        found = [
            owner
            for place in [(namespace, "", ""), *((namespace, k, v) for k, v in labels.items())]
            for owner in self._files.get(place, ())
            if matches(self._selectors[owner][1], labels)
        ]
        return list(dict.fromkeys(found))


def _places(namespace: str, requirements: tuple[Requirement, ...]) -> list[tuple[str, str, str]]:
    for key, operator, values in requirements:
        if operator == "In":
            return [(namespace, key, value) for value in values]
    return [(namespace, "", "")]
