"""A workload's history as a CSV file: which pods there were, of what size, from when to when."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")

REQUIRED: Final = ("name", "cpu", "memory", "created")
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("name", "pod", "pod_name"),
    "cpu": ("cpu", "cpu_milli", "cpu_millicores", "milli_cpu"),
    "memory": ("memory", "memory_mib", "mem_mib", "memory_mb"),
    "gpu": ("gpu", "num_gpu", "gpus", "gpu_count"),
    "created": ("created", "creation_time", "created_at", "start_time"),
    "deleted": ("deleted", "deletion_time", "deleted_at", "end_time"),
    "namespace": ("namespace",),
    "nodeSelector": ("nodeselector", "node_selector"),
    "priority": ("priority",),
    "doNotDisrupt": ("donotdisrupt", "do_not_disrupt"),
}
"""Column -> the headings under which it is recognised without an option, in lower case."""

_UNIX: Final = 1e9
"""Seconds beyond this count from 1970, not from the beginning of the trace."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TRUE: Final = ("true", "yes", "1")
_FALSE: Final = ("false", "no", "0", "")
_TOP_PRIORITY: Final = 1_000_000_000


class TraceError(ValueError):
    """A trace that cannot be played: the file, the line, the column, and what was expected."""


@dataclass(frozen=True, slots=True)
class TracePod:
    """One pod; `cpu` in millicores, `memory` in MiB, times in seconds from the trace's start.

    `deleted` is None for a pod that lives to the end.
    """

    name: str
    cpu: int
    memory: int
    created: float
    deleted: float | None
    gpu: int = 0
    namespace: str = "default"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    do_not_disrupt: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """Pods in order of creation; `origin` is the Unix time of second 0 where the file tells it.

    `momentary` pods ended in the second they began; they need no node and are left out.
    """

    pods: tuple[TracePod, ...]
    origin: float | None
    momentary: int

    @property
    def seconds(self) -> float:
        """From the first creation to the last deletion or creation."""
        return max(p.created if p.deleted is None else p.deleted for p in self.pods)


def parse_columns(text: str) -> dict[str, str]:
    """The mapping of `--columns`, such as `name=pod,cpu=cpu_request`. Raises `TraceError`."""
    found: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        column, equals, heading = part.partition("=")
        if not equals or not heading or column not in COLUMNS:
            raise TraceError(
                f"--columns: {part!r}: expected COLUMN=HEADING with COLUMN one of "
                f"{', '.join(COLUMNS)}"
            )
        found[column] = heading
    return found


def read_trace(path: str, mapping: Mapping[str, str] | None = None) -> Trace:
    """Read a trace; `mapping` names the headings of columns that are not recognised.

    Raises `TraceError` naming the file, the line, the column and what was expected.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, strict=True)
            headings = [h.strip() for h in next(rows, [])]
            positions = _positions(path, headings, mapping or {})
            pods = []
            for row in rows:
                if not any(cell.strip() for cell in row):
                    continue
                line = _Line(path, rows.line_num, headings, positions, row)
                pods.append(line.pod())
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: expected CSV in UTF-8: {error}") from error
    if not pods:
        raise TraceError(f"{path}: expected a line for each pod below the headings, got none")
    return _from_zero(pods)


def _positions(path: str, headings: Sequence[str], mapping: Mapping[str, str]) -> dict[str, int]:
    by_heading = {h.lower(): i for i, h in reversed(list(enumerate(headings)))}
    found: dict[str, int] = {}
    for column, known in COLUMNS.items():
        wanted = mapping.get(column)
        if wanted is not None and wanted.lower() not in by_heading:
            raise TraceError(
                f"{path}: line 1: --columns names the heading {wanted!r} for {column}; "
                f"the file has {', '.join(headings) or 'none'}"
            )
        names = (wanted.lower(),) if wanted is not None else known
        position = next((by_heading[n] for n in names if n in by_heading), None)
        if position is not None:
            found[column] = position
        elif column in REQUIRED:
            raise TraceError(
                f"{path}: line 1: expected a column {column} (recognised headings: "
                f"{', '.join(known)}; name another with --columns {column}=HEADING), "
                f"got {', '.join(headings) or 'no headings'}"
            )
    return found


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the file and how to read its cells."""

    path: str
    number: int
    headings: Sequence[str]
    positions: Mapping[str, int]
    cells: Sequence[str]

    def pod(self) -> TracePod:
        created = self._read("created", _seconds, "a number of seconds")
        assert created is not None, "the column is required"
        deleted = self._read("deleted", _optional(_seconds), "a number of seconds, or nothing")
        if deleted is not None and deleted < created:
            raise self._wrong("deleted", f"a time not before creation at {created:g}")
        return TracePod(
            name=self._read("name", _matching(_NAME), "a pod's name (lower-case DNS subdomain)"),
            cpu=self._read("cpu", _amount, "millicores, 0 or more"),
            memory=self._read("memory", _amount, "MiB, 0 or more"),
            created=created,
            deleted=deleted,
            gpu=self._read("gpu", _or(0, _amount), "a number of GPUs, 0 or more"),
            namespace=self._read(
                "namespace", _or("default", _matching(_NAMESPACE)), "a namespace's name"
            ),
            node_selector=self._read("nodeSelector", _selector, "key=value pairs apart by ;"),
            priority=self._read(
                "priority", _or(0, _priority), "an integer up to 1000000000, as a PriorityClass has"
            ),
            do_not_disrupt=self._read("doNotDisrupt", _flag, "true or false"),
        )

    def _cell(self, column: str) -> str:
        position = self.positions.get(column)
        if position is None or position >= len(self.cells):
            return ""
        return self.cells[position].strip()

    def _read(self, column: str, convert: Callable[[str], T], expected: str) -> T:
        try:
            return convert(self._cell(column))
        except ValueError:
            raise self._wrong(column, expected) from None

    def _wrong(self, column: str, expected: str) -> TraceError:
        heading = self.headings[self.positions[column]] if column in self.positions else column
        return TraceError(
            f"{self.path}: line {self.number}: column {heading}: expected {expected}, "
            f"got {self._cell(column)!r}"
        )


def _seconds(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(text)
    return value


def _amount(text: str) -> int:
    """A whole number, fractions rounded up."""
    return math.ceil(_seconds(text))


def _priority(text: str) -> int:
    value = int(text)
    if abs(value) > _TOP_PRIORITY:
        raise ValueError(text)
    return value


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return text

    return convert


def _or(default: T, convert: Callable[[str], T]) -> Callable[[str], T]:
    return lambda text: convert(text) if text else default


def _optional(convert: Callable[[str], T]) -> Callable[[str], T | None]:
    return lambda text: convert(text) if text else None


def _selector(text: str) -> dict[str, str]:
    found = {}
    for pair in filter(None, (p.strip() for p in text.split(";"))):
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise ValueError(text)
        found[key] = value
    return found


def _flag(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(text)


def _from_zero(pods: Sequence[TracePod]) -> Trace:
    """In order, from second 0 where times are Unix times, each name once."""
    first = min(p.created for p in pods)
    origin = first if first >= _UNIX else None
    shift = origin or 0.0
    seen: dict[tuple[str, str], int] = {}
    found = []
    for pod in sorted(pods, key=lambda p: p.created):
        if pod.deleted == pod.created:
            continue
        key = (pod.namespace, pod.name)
        seen[key] = seen.get(key, 0) + 1
        changes: dict[str, Any] = {
            "name": pod.name if seen[key] == 1 else f"{pod.name}.{seen[key]}",
            "created": pod.created - shift,
            "deleted": None if pod.deleted is None else pod.deleted - shift,
        }
        found.append(replace(pod, **changes))
    if not found:
        raise TraceError("the trace's pods all ended in the second they began: nothing to play")
    return Trace(tuple(found), origin, len(pods) - len(found))
