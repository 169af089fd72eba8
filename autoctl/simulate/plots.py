"""Line plots as inline SVG: no script, no network, readable in any browser and in print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 960
HEIGHT: Final = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 12, 12, 30
COLOURS: Final = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df")
_MOST_POINTS: Final = 1200
_GRID_LINES: Final = 4
_WHOLE_STEPS: Final = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True)
class Line:
    """One curve; `None` values are gaps. `step` draws it as a staircase."""

    label: str
    values: Sequence[float | None]
    dashed: bool = False
    step: bool = True


def line_plot(
    title: str, unit: str, at: Sequence[float], lines: Sequence[Line], *, whole: bool = False
) -> str:
    """An SVG with its title, axes, grid and legend; `at` in seconds.

    `whole` values are counts: the axis has no fractions.
    """
    highest = max((v for line in lines for v in line.values if v is not None), default=0.0)
    top = _nice(highest)
    if whole:
        top = _GRID_LINES * math.ceil(_nice(highest / _GRID_LINES, _WHOLE_STEPS))
    last = max(at, default=1.0) or 1.0
    parts = [
        f'<figure><figcaption><b>{escape(title)}</b> <span class="unit">{escape(unit)}</span>',
        f"{_legend(lines)}</figcaption>",
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        _grid(top, last),
    ]
    for index, line in enumerate(lines):
        dash = ' stroke-dasharray="6 4"' if line.dashed else ""
        pen = f'fill="none" stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="1.6"{dash}'
        parts += [f'<path d="{path}" {pen}/>' for path in _paths(at, line, last, top)]
    parts.append("</svg></figure>")
    return "".join(parts)


def _legend(lines: Sequence[Line]) -> str:
    if len(lines) < 2:
        return ""
    return "".join(
        f'<span class="key"><i style="background:{COLOURS[i % len(COLOURS)]}"></i>'
        f"{escape(line.label)}</span>"
        for i, line in enumerate(lines)
    )


def _grid(top: float, last: float) -> str:
    parts = []
    for i in range(_GRID_LINES + 1):
        value = top * i / _GRID_LINES
        y = _y(value, top)
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>'
        )
    for i in range(7):
        seconds = last * i / 6
        x = _x(seconds, last)
        anchor = "start" if i == 0 else "end" if i == 6 else "middle"
        label = _duration(seconds, last)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{label}</text>')
    return "".join(parts)


def _paths(at: Sequence[float], line: Line, last: float, top: float) -> list[str]:
    stride = max(1, len(at) // _MOST_POINTS)
    paths: list[str] = []
    current: list[str] = []
    for index in range(0, len(at), stride):
        # The highest of the values that fall on one point, so that no peak gets lost.
        window = [v for v in line.values[index : index + stride] if v is not None]
        if not window:
            if current:
                paths.append(" ".join(current))
                current = []
            continue
        x, y = _x(at[index], last), _y(max(window), top)
        if not current:
            current.append(f"M{x:.1f} {y:.1f}")
        elif line.step:
            current.append(f"H{x:.1f}V{y:.1f}")
        else:
            current.append(f"L{x:.1f} {y:.1f}")
    if current:
        paths.append(" ".join(current))
    return paths


def _x(seconds: float, last: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * seconds / last


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top


def _nice(value: float, steps: Sequence[float] = (1, 2, 2.5, 4, 5, 8, 10)) -> float:
    """The smallest of `steps` times a power of ten that is not below `value`."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in steps if step * power >= value)


def _number(value: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"


def _duration(seconds: float, last: float) -> str:
    """In the unit that suits the whole axis, so that its labels compare."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if last >= 3 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
