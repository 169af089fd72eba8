"""The HTML report of a simulation: one file, offline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from autoctl.simulate.plots import Line, Mark, line_plot
from autoctl.simulate.recorder import DecisionRecord
from autoctl.simulate.report_style import STYLE
from autoctl.simulate.result import SimulationResult

_COSTLIEST: Final = 25
_MOST_MARKS: Final = 30
_NAMED: Final = 3
_GIB: Final = 2**30
_FAULT: Final = "fault"
_BOUND_NOTE: Final = (
    "Lower bound: the least that any choice of instances on sale at the moment could cost that "
    "holds the same pods, were instances divisible. What is paid cannot fall below it."
)


def render_report(result: SimulationResult) -> str:
    """The report as an HTML document."""
    start = f"{result.start:%Y-%m-%d %H:%M} UTC"
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'>"
        f"<title>{escape(result.name)} - autoctl simulation</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(result.name)}</h1>"
        f"<p class='sub'>Simulated by autoctl: {_span(result.duration_seconds)} from {start} in "
        f"{escape(result.region)}, seed {result.seed}. Times below count from the start.</p>"
        f"{_cards(result)}{''.join(f'<p>{escape(n)}</p>' for n in result.notes)}"
        f"{_expectations(result)}{_faults(result)}<h2>What happened</h2>{''.join(_plots(result))}"
        f"{_pending(result)}{_decisions(result)}{_leaks(result)}</main></body></html>\n"
    )


def _plots(result: SimulationResult) -> Iterable[str]:
    samples, marks = result.samples, _marks(result)
    at = [s.at for s in samples]
    yield line_plot(
        "Nodes",
        "count",
        at,
        [Line("nodes", [s.nodes for s in samples], filled=True)],
        whole=True,
        marks=marks,
    )
    bounds = [s.bound for s in samples]
    known = any(b is not None for b in bounds)
    yield line_plot(
        "Cost",
        "USD/hour",
        at,
        [
            Line("paid for instances", [s.usd_per_hour for s in samples], filled=True),
            *([Line("lower bound", bounds, dashed=True)] if known else []),
        ],
        marks=marks,
        note=_BOUND_NOTE if known else "",
    )
    yield line_plot(
        "CPU",
        "cores",
        at,
        [
            Line("requested by pods", [s.cpu_requested / 1000 for s in samples], filled=True),
            Line("provided by nodes", [s.cpu_provided / 1000 for s in samples]),
        ],
        marks=marks,
    )
    yield line_plot(
        "Memory",
        "GiB",
        at,
        [
            Line("requested by pods", [s.memory_requested / _GIB for s in samples], filled=True),
            Line("provided by nodes", [s.memory_provided / _GIB for s in samples]),
        ],
        marks=marks,
    )
    yield line_plot(
        "Pods",
        "count",
        at,
        [
            Line("running", [s.pods_running for s in samples], filled=True),
            Line("waiting for a node", [s.pods_pending for s in samples]),
        ],
        whole=True,
        marks=marks,
    )
    yield line_plot(
        "Longest wait for a node",
        "seconds",
        at,
        [Line("longest wait", [s.longest_wait or 0.0 for s in samples], filled=True)],
        marks=marks,
        note="Of the pods that got their node at that time, or that still had none.",
    )
    yield line_plot(
        "Evictions",
        "since the start",
        at,
        [Line("evictions", [s.evictions for s in samples], filled=True)],
        whole=True,
        marks=marks,
    )


def _cards(result: SimulationResult) -> str:
    totals = result.totals
    paid = "paid for instances"
    if totals.usd_bound:
        over = (totals.usd / totals.usd_bound - 1) * 100
        paid += f", {over:.1f} % over the lower bound of ${totals.usd_bound:,.2f}"
    nodes = totals.node_hours / (result.duration_seconds / 3600)
    cards = [
        (f"${totals.usd:,.2f}", paid),
        (f"{nodes:,.1f}", f"nodes on average, {totals.node_hours:,.1f} node-hours"),
        (f"{totals.launched:,}", f"instances launched, {totals.terminated:,} ended"),
        (f"{totals.evictions:,}", f"evictions, {totals.evictions_per_pod:.2f} a pod"),
        (_wait(totals.pending_seconds["p50"]), "a pod's wait for its node, median"),
        (_wait(totals.pending_seconds["p99"]), "the same, 99th percentile"),
        (_span(totals.oldest_instance_hours * 3600), "oldest instance"),
        (f"{totals.leaks}", "left behind in the account without an owner"),
    ]
    return (
        "<dl class='cards'>"
        + "".join(
            f"<div class='card'><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>"
            for value, label in cards
        )
        + "</dl>"
    )


def _expectations(result: SimulationResult) -> str:
    if not result.outcomes:
        return ""
    rows = [
        f"<td class='n'>{_span(o.at)}</td><td>{escape(o.name)}</td>"
        f"<td>{escape(o.expected)}</td><td class='n'>{o.found}</td>"
        f"<td class='{'good' if o.ok else 'bad'}'>{'held' if o.ok else 'failed'}</td>"
        for o in result.outcomes
    ]
    failed = sum(not o.ok for o in result.outcomes)
    verdict = f"{failed} of {len(rows)} failed" if failed else f"all {len(rows)} held"
    return f"<h2>Expectations: {verdict}</h2>" + _table(
        "Expectations", ("#At", "What", "Expected", "#Found", "Verdict"), rows
    )


def _happened(result: SimulationResult) -> list[DecisionRecord]:
    return [d for d in result.decisions if d.kind == _FAULT]


def _marks(result: SimulationResult) -> list[Mark]:
    """Faults by their number; where they are many no sign would be readable."""
    found = _happened(result)
    many = len(found) > _MOST_MARKS
    return [
        Mark(d.at, "" if many else str(number), f"{number}: {d.reason} at {_span(d.at)}")
        for number, d in enumerate(found, 1)
    ]


def _faults(result: SimulationResult) -> str:
    rows = [
        f"<td class='n'>{number}</td><td class='n'>{_span(d.at)}</td><td>{escape(d.reason)}</td>"
        f"<td>{escape(', '.join(filter(None, (_names(d.subjects), d.detail))))}</td>"
        for number, d in enumerate(_happened(result), 1)
    ]
    if not rows:
        return ""
    return "<h2>Faults</h2><p class='sub'>The plots mark them by their number.</p>" + _table(
        "Faults", ("#No.", "#At", "Fault", "What it struck, and for how long"), rows
    )


def _pending(result: SimulationResult) -> str:
    waits = result.totals.pending_seconds
    cells = "".join(f"<td class='n'>{_wait(waits[k])}</td>" for k in ("p50", "p90", "p99", "max"))
    return "<h2>How long pods waited for a node</h2>" + _table(
        "Waits", ("#median", "#90 % at most", "#99 % at most", "#longest"), [cells]
    )


def _decisions(result: SimulationResult) -> str:
    made = [d for d in result.decisions if d.kind != _FAULT]
    costliest = sorted(made, key=lambda d: (-abs(d.usd_per_hour), d.at))[:_COSTLIEST]
    if not costliest:
        return ""
    count = f"The {len(costliest)} costliest of {len(made)}" if len(made) > _COSTLIEST else "All"
    rows = [
        f"<td class='n'>{d.usd_per_hour:+.4f}</td><td class='n'>{_span(d.at)}</td>"
        f"<td>{escape(d.kind)}</td><td>{escape(d.reason)}</td>"
        f"<td>{escape(_names(d.subjects) + (f' ({d.detail})' if d.detail else ''))}</td>"
        for d in costliest
    ]
    return (
        f"<h2>{count} decisions</h2><p class='sub'>By what they changed in the hourly cost: a "
        "launch adds (+), taking or replacing nodes saves (−). Replacements are launches of "
        "their own as well.</p>"
        + _table("Decisions", ("#USD/hour", "#At", "What", "Why", "Nodes"), rows)
    )


def _leaks(result: SimulationResult) -> str:
    found = {k: v for k, v in result.leaks.to_json().items() if v}
    if not found:
        return "<h2>Leaks</h2><p class='good'>None: everything in the account has an owner.</p>"
    rows = [f"<td>{escape(k)}</td><td>{escape(', '.join(v))}</td>" for k, v in found.items()]
    return "<h2 class='bad'>Leaks</h2>" + _table("Leaks", ("What", "Names"), rows)


def _table(name: str, headings: Sequence[str], rows: Iterable[str]) -> str:
    """A table that scrolls by itself where the page is narrow; `#` marks a column of numbers."""
    head = "".join(
        f"<th scope='col' class='n'>{escape(h[1:])}</th>"
        if h.startswith("#")
        else f"<th scope='col'>{escape(h)}</th>"
        for h in headings
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f"<div class='wide' role='region' aria-label='{escape(name)}' tabindex='0'><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _wait(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 60 else _span(seconds)


def _span(seconds: float) -> str:
    """A duration or an instant in its two largest units: `2 h 30 min`."""
    left = round(seconds)
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts) or "0 s"
