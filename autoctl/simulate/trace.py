"""A workload's history as a CSV file: which pods there were, of what size, from when to when."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

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
_LATEST: Final = 4_102_444_800.0
"""The year 2100: what lies beyond are milliseconds."""
_SECONDS: Final = "a number of seconds, 0 or more, or Unix time before 2100"
_GZIP: Final = b"\x1f\x8b"
_LONGEST_NAME: Final = 253
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?", re.ASCII)
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
    for part in (p.strip() for p in text.split(",")) if text else ():
        column, equals, heading = part.partition("=")
        if not equals or not heading or column not in COLUMNS:
            raise TraceError(
                f"--columns: {part!r}: expected COLUMN=HEADING with COLUMN one of "
                f"{', '.join(COLUMNS)}"
            )
        if column in found:
            raise TraceError(f"--columns: {part!r}: {column} is given twice")
        found[column] = heading
    return found


def read_trace(path: str, mapping: Mapping[str, str] | None = None) -> Trace:
    """Read a trace, gzipped or not; `mapping` names the headings that are not recognised.

    Raises `TraceError` naming the file, the line, the column and what was expected.
    """
    pods: list[TracePod] = []
    line = 0
    try:
        with _opened(path) as file:
            rows = csv.reader(file, strict=True)
            headings = [h.strip() for h in next(rows, [])]
            positions = _positions(path, headings, mapping or {})
            for row in rows:
                line = rows.line_num
                if any(cell.strip() for cell in row):
                    pods.append(_Line(path, line, headings, positions, row).pod())
                    _same_epoch(path, line, headings[positions["created"]], pods)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TraceError(f"{path}: after line {line}: the gzip file is damaged: {error}") from error
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: after line {line}: expected CSV in UTF-8: {error}") from error
    if not pods:
        raise TraceError(f"{path}: expected a line for each pod below the headings, got none")
    return _from_zero(pods)


@contextmanager
def _opened(path: str) -> Iterator[io.TextIOWrapper]:
    with Path(path).open("rb") as raw:
        zipped = raw.peek(len(_GZIP)).startswith(_GZIP)
        binary: BinaryIO = gzip.GzipFile(fileobj=raw) if zipped else raw  # type: ignore[assignment]
        with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
            yield text


def _same_epoch(path: str, line: int, heading: str, pods: Sequence[TracePod]) -> None:
    """Times count from the trace's beginning, or from 1970, but not now so and now so."""
    first, last = pods[0].created, pods[-1].created
    if (first >= _UNIX) != (last >= _UNIX):
        expected = "Unix time" if first >= _UNIX else "seconds from the beginning of the trace"
        raise TraceError(
            f"{path}: line {line}: column {heading}: expected {expected}, as in the first line "
            f"({first:.15g}), got {last:.15g}"
        )


def _positions(path: str, headings: Sequence[str], mapping: Mapping[str, str]) -> dict[str, int]:
    by_heading = {h.lower(): i for i, h in enumerate(headings)}
    counts = Counter(h.lower() for h in headings)
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
            if counts[headings[position].lower()] > 1:
                raise TraceError(
                    f"{path}: line 1: the heading {headings[position]} for {column} is there "
                    f"{counts[headings[position].lower()]} times"
                )
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
        if any(cell.strip() for cell in self.cells[len(self.headings) :]):
            raise TraceError(
                f"{self.path}: line {self.number}: expected {len(self.headings)} columns as the "
                f"headings, got {len(self.cells)} (values with a comma need quotes)"
            )
        created = self._read("created", _time, _SECONDS)
        deleted = self._read("deleted", _optional(_time), f"{_SECONDS}, or nothing")
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
            node_selector=self._read(
                "nodeSelector", _selector, "labels as key=value pairs apart by ;"
            ),
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


def _time(text: str) -> float:
    value = _seconds(text)
    if value > _LATEST:
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
        if not equals or not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
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
    taken: set[tuple[str, str]] = {(p.namespace, p.name) for p in pods}
    again: Counter[tuple[str, str]] = Counter()
    found = []
    for pod in sorted(pods, key=lambda p: p.created):
        if pod.deleted == pod.created:
            continue
        changes: dict[str, Any] = {
            "name": _free_name(pod, taken, again),
            "created": pod.created - shift,
            "deleted": None if pod.deleted is None else pod.deleted - shift,
        }
        found.append(replace(pod, **changes))
    if not found:
        raise TraceError("the trace's pods all ended in the second they began: nothing to play")
    return Trace(tuple(found), origin, len(pods) - len(found))


def _free_name(pod: TracePod, taken: set[tuple[str, str]], again: Counter[tuple[str, str]]) -> str:
    """The pod's name; where it comes again, with the next number that no other pod has."""
    key = (pod.namespace, pod.name)
    again[key] += 1
    name = pod.name
    while again[key] > 1:
        suffix = f".{again[key]}"
        name = pod.name[: _LONGEST_NAME - len(suffix)].rstrip("-.") + suffix
        if (pod.namespace, name) not in taken:
            taken.add((pod.namespace, name))
            break
        again[key] += 1
    return name
