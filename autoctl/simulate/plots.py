"""Line plots as inline SVG: no script, no network, readable in any browser and in print.

Colours are classes (`c0`, `c1`, ...), so that the page chooses them for light and for dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 960
HEIGHT: Final = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 14, 16, 30
_MOST_POINTS: Final = 1200
_MOST_ROWS: Final = 5
_MOST_COLUMNS: Final = 8
_STEPS: Final = (1.0, 2.0, 2.5, 5.0)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TIME_STEPS: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(m * _MINUTE for m in (1, 2, 5, 10, 15, 30)),
    *(h * _HOUR for h in (1, 2, 3, 4, 6, 8, 12)),
    *(d * _DAY for d in (1, 2, 5, 7, 10, 14, 20, 30, 50, 100, 200, 365)),
)
"""Seconds between two ticks of the time axis."""


@dataclass(frozen=True)
class Line:
    """One curve, drawn as a staircase; `None` values are gaps. `filled` shades what is below."""

    label: str
    values: Sequence[float | None]
    dashed: bool = False
    filled: bool = False


@dataclass(frozen=True)
class Mark:
    """An instant to show in a plot: seconds from the start, a short sign, and what it means."""

    at: float
    sign: str
    text: str


def line_plot(
    title: str,
    unit: str,
    at: Sequence[float],
    lines: Sequence[Line],
    *,
    whole: bool = False,
    marks: Sequence[Mark] = (),
    note: str = "",
) -> str:
    """A figure with its title, axes, grid, legend and note; `at` in seconds.

    `whole` values are counts: the axis has no fractions.
    """
    highest = max((v for line in lines for v in line.values if v is not None), default=0.0)
    step = _step(highest, whole=whole)
    top = step * max(1, math.ceil(highest / step - 1e-9))
    last = max(at, default=1.0) or 1.0
    parts = [
        f'<figure><figcaption><b>{escape(title)}</b> <span class="unit">{escape(unit)}</span>',
        f"{_legend(lines)}</figcaption>",
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_summary(title, lines)}">',
        _grid(top, step, last),
    ]
    parts += [_mark(mark, last) for mark in marks]
    for index, line in enumerate(lines):
        dashed = " dashed" if line.dashed else ""
        for points in _runs(at, line, last, top):
            path = _staircase(points)
            if line.filled:
                floor = f"V{_y(0, top):.1f}H{points[0][0]:.1f}Z"
                parts.append(f'<path d="{path}{floor}" class="area c{index}"/>')
            parts.append(f'<path d="{path}" class="line c{index}{dashed}"/>')
    parts.append("</svg>")
    if note:
        parts.append(f'<p class="sub">{escape(note)}</p>')
    parts.append("</figure>")
    return "".join(parts)


def _legend(lines: Sequence[Line]) -> str:
    if len(lines) < 2:
        return ""
    return "".join(
        '<span class="key"><svg viewBox="0 0 26 10" aria-hidden="true">'
        + (f'<rect y="3" width="26" height="7" class="area c{i}"/>' if line.filled else "")
        + f'<path d="M0 3H26" class="line c{i}{" dashed" if line.dashed else ""}"/></svg>'
        f"{escape(line.label)}</span>"
        for i, line in enumerate(lines)
    )


def _summary(title: str, lines: Sequence[Line]) -> str:
    """What somebody who does not see the plot is told."""
    told = []
    for line in lines:
        known = [v for v in line.values if v is not None]
        if known:
            range_ = f"{_number(min(known))} to {_number(max(known))}"
            told.append(f"{line.label} {range_}, {_number(known[-1])} at the end")
    return escape(f"{title}: {'; '.join(told) or 'no values'}")


def _grid(top: float, step: float, last: float) -> str:
    parts = []
    for i in range(round(top / step) + 1):
        value = step * i
        y = _y(value, top)
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" class="grid"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" class="y">{_number(value)}</text>'
        )
    tick = next((s for s in _TIME_STEPS if last / s <= _MOST_COLUMNS), _TIME_STEPS[-1])
    for i in range(int(last / tick) + 1):
        x = _x(tick * i, last)
        parts.append(
            f'<path d="M{x:.1f} {HEIGHT - _BOTTOM}v5" class="grid"/>'
            f'<text x="{x:.1f}" y="{HEIGHT - 8}" class="x">{_duration(tick * i, tick)}</text>'
        )
    return "".join(parts)


def _mark(mark: Mark, last: float) -> str:
    x = _x(min(mark.at, last), last)
    return (
        f'<g class="mark"><title>{escape(mark.text)}</title>'
        f'<path d="M{x:.1f} {_TOP}V{HEIGHT - _BOTTOM}"/>'
        f'<text x="{x:.1f}" y="{_TOP - 4}">{escape(mark.sign)}</text></g>'
    )


def _runs(
    at: Sequence[float], line: Line, last: float, top: float
) -> list[list[tuple[float, float]]]:
    """The points of the curve, apart where values are missing."""
    stride = max(1, len(at) // _MOST_POINTS)
    runs: list[list[tuple[float, float]]] = [[]]
    for index in range(0, len(at), stride):
        # The highest of the values that fall on one point, so that no peak gets lost.
        window = [v for v in line.values[index : index + stride] if v is not None]
        if window:
            runs[-1].append((_x(at[index], last), _y(max(window), top)))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _staircase(points: Sequence[tuple[float, float]]) -> str:
    (x, y), *others = points
    # A single point is a dash, or nobody would see it.
    steps = "".join(f"H{x:.1f}V{y:.1f}" for x, y in others) or "h2"
    return f"M{x:.1f} {y:.1f}{steps}"


def _x(seconds: float, last: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * seconds / last


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top


def _step(highest: float, *, whole: bool) -> float:
    """The smallest round distance of grid lines of which `_MOST_ROWS` reach `highest`."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** (math.floor(math.log10(highest)) - 1)
    candidates = (s * power * f for f in (1, 10, 100, 1000) for s in _STEPS)
    return next(
        s
        for s in candidates
        if s * _MOST_ROWS >= highest * (1 - 1e-9) and (not whole or (s >= 1 and s == int(s)))
    )


def _number(value: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"


def _duration(seconds: float, tick: float) -> str:
    """In the unit that suits the distance of the ticks."""
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if tick >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} s"
