"""Values on both sides of the limits of NodeClass fields, with the API server's words for them.

Each entry is a name, what is merged into the spec, and the errors that it gets (none: accepted).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Error = tuple[str, str]
Entry = tuple[str, dict[str, Any], Error | list[Error] | None]

GROUPS = "securityGroupSelectorTerms"
SUBNETS = "subnetSelectorTerms"
POD_GROUPS = "podSecurityGroupSelectorTerms"
POD_SUBNETS = "podSubnetSelectorTerms"
RESERVATIONS = "capacityReservationSelectorTerms"
PODS = {POD_SUBNETS: [{"id": "subnet-1"}], POD_GROUPS: [{"id": "sg-1"}]}
"""Either needs the other."""
PRIMARY = {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"}
SIGNALS = (
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "pid.available",
)


def entries() -> Iterator[Entry]:
    """All of them."""
    yield from _texts()
    yield from _lists()
    yield from _numbers()
    yield from _choices()
    yield from _terms()


def under(path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    return {head: under(rest, value) if rest else value}


def _length(path: str, most: int, spec: Callable[[str], dict[str, Any]]) -> Iterator[Entry]:
    """A text of `most` bytes, and one that is longer by one."""
    too_long = (f"spec.{path}", f"Too long: may not be more than {most} bytes")
    yield f"{path} of {most} bytes", spec("1" * most), None
    yield f"{path} of {most + 1} bytes", spec("1" * (most + 1)), too_long


def _texts() -> Iterator[Entry]:
    yield from _length("role", 64, lambda text: {"role": text})
    profile = {"role": None}
    yield from _length("instanceProfile", 128, lambda text: profile | {"instanceProfile": text})
    yield (
        "instanceProfile of nothing",
        profile | {"instanceProfile": ""},
        ("spec.instanceProfile", 'Invalid value: "string": instanceProfile cannot be empty'),
    )
    yield (
        "instanceProfile as an ARN",
        profile | {"instanceProfile": "arn:aws:iam::1:instance-profile/x"},
        (
            "spec.instanceProfile",
            (
                'Invalid value: "string": instanceProfile must be the name '
                "of an instance profile, not its ARN or path"
            ),
        ),
    )
    group = "placementGroupSelector.name"
    yield from _length(group, 255, lambda text: under(group, text))
    yield f"{group} of one byte", under(group, "a"), None
    yield (
        f"{group} of nothing",
        under(group, ""),
        (
            f"spec.{group}",
            f'Invalid value: "": spec.{group} in body should be at least 1 chars long',
        ),
    )
    yield from _length("tags.team", 256, lambda text: {"tags": {"team": text}})
    for terms in (SUBNETS, GROUPS, POD_SUBNETS, POD_GROUPS, RESERVATIONS):
        yield from _length(
            f"{terms}[0].tags.team",
            256,
            lambda text, terms=terms: _pods(terms) | {terms: [{"tags": {"team": text}}]},
        )
    yield from _length(f"{GROUPS}[0].name", 255, lambda text: {GROUPS: [{"name": text}]})
    yield f"{GROUPS}[0].name of one byte", {GROUPS: [{"name": "a"}]}, None
    yield (
        f"{GROUPS}[0].name of nothing",
        {GROUPS: [{"name": ""}]},
        (
            f"spec.{GROUPS}[0].name",
            f'Invalid value: "": spec.{GROUPS}[0].name in body should be at least 1 chars long',
        ),
    )
    for field, most, other in (("name", 63, {"data": "QQ"}), ("data", 131072, {"name": "ca"})):
        path = f"certificateBundles[0].{field}"
        yield from _length(
            path,
            most,
            lambda text, field=field, other=other: {"certificateBundles": [{**other, field: text}]},
        )
        yield f"{path} of one byte", {"certificateBundles": [{**other, field: "a"}]}, None
    key = "arn:aws:kms:us-west-2:123456789012:alias/"
    yield (
        "kmsKeyID of 2049 bytes",
        under("ephemeralStorage.kmsKeyID", key + "a" * (2049 - len(key))),
        ("spec.ephemeralStorage.kmsKeyID", "Too long: may not be more than 2048 bytes"),
    )
    sysctls = "advancedCompute.kubelet.allowedUnsafeSysctls"
    yield (
        "an unsafe sysctl of 253 bytes",
        under(sysctls, ["net." + "a" * 249]),
        None,
    )
    yield (
        "an unsafe sysctl of 254 bytes",
        under(sysctls, ["net." + "a" * 250]),
        (f"spec.{sysctls}[0]", "Too long: may not be more than 253 bytes"),
    )


def _count(path: str, most: int, spec: Callable[[int], dict[str, Any]]) -> Iterator[Entry]:
    """A list or map of `most` items, and one of one more."""
    too_many = (f"spec.{path}", f"Too many: {most + 1}: must have at most {most} items")
    yield f"{most} {path}", spec(most), None
    yield f"{most + 1} {path}", spec(most + 1), too_many


def _pods(terms: str) -> dict[str, Any]:
    return PODS if terms in PODS else {}


def _lists() -> Iterator[Entry]:
    for terms in (GROUPS, POD_SUBNETS, POD_GROUPS, RESERVATIONS):
        yield from _count(
            terms,
            30,
            lambda n, terms=terms: (
                _pods(terms) | {terms: [{"tags": {"team": str(i)}} for i in range(n)]}
            ),
        )
    for terms in (SUBNETS, GROUPS, POD_SUBNETS, POD_GROUPS, RESERVATIONS):
        yield from _count(
            f"{terms}[0].tags",
            20,
            lambda n, terms=terms: _pods(terms) | {terms: [{"tags": _tags(n)}]},
        )
    yield from _count("tags", 50, lambda n: {"tags": _tags(n)})
    yield from _count(
        "certificateBundles",
        20,
        lambda n: {"certificateBundles": [{"name": f"c{i}", "data": "QQ"} for i in range(n)]},
    )
    interfaces = "advancedNetworking.networkInterfaces"
    yield from _count(
        interfaces,
        150,
        lambda n: under(interfaces, [PRIMARY | {"deviceIndex": i} for i in range(n)]),
    )
    yield f"one of {interfaces}", under(interfaces, [PRIMARY]), None


def _tags(count: int) -> dict[str, str]:
    return {f"k{i}": "v" for i in range(count)}


def _number(
    path: str, low: int | None, high: int | None, spec: Callable[[int], dict[str, Any]]
) -> Iterator[Entry]:
    """Both ends of a range, and the numbers beyond them."""
    field = f"spec.{path}"
    if low is not None:
        text = f"{field} in body should be greater than or equal to {low}"
        yield f"{path} {low}", spec(low), None
        yield f"{path} {low - 1}", spec(low - 1), (field, f"Invalid value: {low - 1}: {text}")
    if high is not None:
        text = f"{field} in body should be less than or equal to {high}"
        yield f"{path} {high}", spec(high), None
        yield f"{path} {high + 1}", spec(high + 1), (field, f"Invalid value: {high + 1}: {text}")


def _numbers() -> Iterator[Entry]:
    interfaces = "advancedNetworking.networkInterfaces"
    for name, high, rest in (
        ("deviceIndex", 255, {"networkCardIndex": 1}),
        ("networkCardIndex", 255, {"deviceIndex": 1}),
        ("secondaryIPv4Count", 1000, {"networkCardIndex": 0, "deviceIndex": 1}),
        ("secondaryIPv4PrefixCount", 1000, {"networkCardIndex": 0, "deviceIndex": 1}),
    ):
        yield from _number(
            f"{interfaces}[1].{name}",
            0,
            high,
            lambda n, name=name, rest=rest: under(
                interfaces, [PRIMARY, {"interfaceType": "interface", **rest, name: n}]
            ),
        )


def _choice(path: str, choices: tuple[str, ...], wrong: str, **beside: Any) -> Iterator[Entry]:
    for value in choices:
        yield f"{path} {value}", under(path, value), None
    supported = ", ".join(f'"{value}"' for value in choices)
    message = f'Unsupported value: "{wrong}": supported values: {supported}'
    yield f"{path} {wrong}", under(path, wrong), (f"spec.{path}", message)


def _choices() -> Iterator[Entry]:
    pages = "advancedCompute.hugepages.transparent"
    defrag = ("always", "defer", "defer+madvise", "madvise", "never")
    yield from _choice(f"{pages}.enabled", ("always", "madvise", "never"), "sometimes")
    yield from _choice(f"{pages}.defrag", defrag, "sometimes")
    yield from _choice("advancedNetworking.ipv4PrefixSize", ("Auto", "32"), "28")
    yield from _choice("advancedSecurity.kernelLockdown", ("integrity", "none"), "both")
    yield from _choice("snatPolicy", ("Random", "Disabled"), "None")
    yield from _choice("networkPolicy", ("DefaultAllow", "DefaultDeny"), "Deny")


def _terms() -> Iterator[Entry]:
    """The rules of selector terms, for each list that has them."""
    for terms, kind, prefix in (
        (GROUPS, "security group", "sg"),
        (POD_GROUPS, "security group", "sg"),
        (POD_SUBNETS, "subnet", "subnet"),
    ):
        field = f"spec.{terms}"
        yield (
            f"no {terms}",
            _pods(terms) | {terms: []},
            (field, f'Invalid value: "array": {terms} cannot be empty'),
        )
        yield (
            f"{terms} with ID and tags",
            _pods(terms) | {terms: [{"id": f"{prefix}-1", "tags": {"a": "b"}}]},
            (
                field,
                (
                    "Invalid value: \"array\": 'id' is mutually exclusive, cannot be set with a "
                    f"combination of other fields in a {kind} selector term"
                ),
            ),
        )
        yield f"{terms} with an ID", _pods(terms) | {terms: [{"id": f"{prefix}-0a"}]}, None
        yield (
            f"{terms} with a wrong ID",
            _pods(terms) | {terms: [{"id": "private"}]},
            (
                f"{field}[0].id",
                (
                    f'Invalid value: "private": {field}[0].id in body should match '
                    f"'^{prefix}-[0-9a-z]+$'"
                ),
            ),
        )
    yield (
        f"{GROUPS} with nothing",
        {GROUPS: [{}]},
        (
            f"spec.{GROUPS}",
            "Invalid value: \"array\": expected at least one, got none, ['tags', 'id', 'name']",
        ),
    )
    eviction = "advancedCompute.kubelet.eviction"
    everything = dict.fromkeys(SIGNALS, "5%")
    grace = dict.fromkeys(SIGNALS, "1m")
    yield (
        "all signals",
        under(
            eviction,
            {
                "hard": everything,
                "soft": dict.fromkeys(SIGNALS, "10%"),
                "softGracePeriod": grace,
            },
        ),
        None,
    )
    signals = ", ".join(SIGNALS)
    yield (
        "unknown soft signals",
        under(eviction, {"soft": {"memory.free": "1Gi"}, "softGracePeriod": {"memory.free": "1m"}}),
        [
            (
                f"spec.{eviction}",
                f'Invalid value: "object": {field} supports only the signals {signals}',
            )
            for field in ("soft", "softGracePeriod")
        ],
    )
    yield from _length(
        f"{eviction}.softGracePeriod.memory.available",
        32,
        lambda text: under(
            eviction,
            {
                "soft": {"memory.available": "5%"},
                "softGracePeriod": {"memory.available": text[:-1] + "s"},
            },
        ),
    )
    interfaces = "advancedNetworking.networkInterfaces"
    field = f"spec.{interfaces}"
    yield (
        "no interfaces",
        under(interfaces, []),
        [
            (field, f"Invalid value: 0: {field} in body should have at least 1 items"),
            (
                field,
                (
                    'Invalid value: "array": networkInterfaces must have networkCardIndex 0, '
                    "deviceIndex 0 with interfaceType 'interface'"
                ),
            ),
        ],
    )
