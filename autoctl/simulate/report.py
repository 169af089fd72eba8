"""The HTML report of a simulation: one file, offline."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from autoctl.simulate.plots import Line, line_plot
from autoctl.simulate.recorder import DecisionRecord
from autoctl.simulate.result import SimulationResult

_COSTLIEST = 25
_GIB = 2**30

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;max-width:1000px;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2rem}
.sub{color:#59636e}.cards{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.2rem 0}
.card{border:1px solid #d1d9e0;border-radius:8px;padding:.6rem 1rem;min-width:8.5rem}
.card b{display:block;font-size:1.3rem}.card span{color:#59636e;font-size:.85rem}
figure{margin:1.4rem 0}figcaption{margin-bottom:.2rem}.unit{color:#59636e}
.key{margin-left:1.2rem;font-size:.85rem}.key i{display:inline-block;width:.9rem;height:.25rem;
margin-right:.35rem;vertical-align:middle}
svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#59636e}
svg .grid{stroke:#e4e8ec;stroke-width:1}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #e4e8ec;vertical-align:top}
td:first-child,td.n{white-space:nowrap}td.n,th.n{text-align:right}.bad{color:#d1242f}.good{color:#1a7f37}
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}
.card,th,td{border-color:#30363d}.sub,.unit,.card span,svg text{color:#9198a1;fill:#9198a1}
svg .grid{stroke:#21262d}.bad{color:#ff7b72}.good{color:#3fb950}}
"""


def render_report(result: SimulationResult) -> str:
    """The report as an HTML document."""
    samples = result.samples
    at = [s.at for s in samples]
    plots = [
        line_plot("Nodes", "count", at, [Line("nodes", [s.nodes for s in samples])], whole=True),
        line_plot(
            "Cost",
            "USD/hour",
            at,
            [
                Line("paid", [s.usd_per_hour for s in samples]),
                Line("lower bound", [s.bound for s in samples], dashed=True),
            ],
        ),
        line_plot(
            "CPU",
            "cores",
            at,
            [
                Line("requested by pods", [s.cpu_requested / 1000 for s in samples]),
                Line("provided by nodes", [s.cpu_provided / 1000 for s in samples]),
            ],
        ),
        line_plot(
            "Memory",
            "GiB",
            at,
            [
                Line("requested by pods", [s.memory_requested / _GIB for s in samples]),
                Line("provided by nodes", [s.memory_provided / _GIB for s in samples]),
            ],
        ),
        line_plot(
            "Pods",
            "count",
            at,
            [
                Line("running", [s.pods_running for s in samples]),
                Line("pending", [s.pods_pending for s in samples]),
            ],
            whole=True,
        ),
        line_plot(
            "Evictions",
            "in all",
            at,
            [Line("evictions", [s.evictions for s in samples])],
            whole=True,
        ),
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{escape(result.name)} - autoctl simulation</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(result.name)}</h1>"
        f"<p class='sub'>{result.start:%Y-%m-%d %H:%M} UTC, "
        f"{_hours(result.duration_seconds / 3600)} in {escape(result.region)}, seed {result.seed}"
        f"</p>{_cards(result)}{''.join(f'<p>{escape(n)}</p>' for n in result.notes)}"
        f"{_expectations(result)}{''.join(plots)}"
        f"{_pending(result)}{_decisions(result)}{_leaks(result)}</body></html>\n"
    )


def _cards(result: SimulationResult) -> str:
    totals = result.totals
    over = ""
    if totals.usd_bound:
        over = f"{(totals.usd / totals.usd_bound - 1) * 100:.1f} % over the lower bound"
    cards = [
        (f"${totals.usd:,.2f}", over or "paid for instances"),
        (f"{totals.node_hours:,.1f}", "node-hours"),
        (f"{totals.launched} / {totals.terminated}", "launched / terminated"),
        (f"{totals.evictions}", f"evictions, {totals.evictions_per_pod:.2f} a pod"),
        (f"{totals.pending_seconds['p50']:g} s", "median wait of a pod"),
        (f"{totals.pending_seconds['p99']:g} s", "99th percentile of waits"),
        (_hours(totals.oldest_instance_hours), "oldest instance"),
        (f"{totals.leaks}", "leaks"),
    ]
    return (
        "<div class='cards'>"
        + "".join(
            f"<div class='card'><b>{escape(value)}</b><span>{escape(label)}</span></div>"
            for value, label in cards
        )
        + "</div>"
    )


def _expectations(result: SimulationResult) -> str:
    if not result.outcomes:
        return ""
    rows = "".join(
        f"<tr><td>{_hours(o.at / 3600)}</td><td>{escape(o.name)}</td><td>{escape(o.expected)}</td>"
        f"<td class='n'>{o.actual:g}</td>"
        f"<td class='{'good' if o.ok else 'bad'}'>{'held' if o.ok else 'failed'}</td></tr>"
        for o in result.outcomes
    )
    return (
        "<h2>Expectations</h2><table><tr><th>At</th><th>What</th><th>Expected</th>"
        f"<th class='n'>Found</th><th></th></tr>{rows}</table>"
    )


def _pending(result: SimulationResult) -> str:
    waits = result.totals.pending_seconds
    cells = "".join(f"<td class='n'>{waits[k]:g} s</td>" for k in ("p50", "p90", "p99", "max"))
    return (
        "<h2>How long pods waited for a node</h2><table><tr><th class='n'>p50</th>"
        "<th class='n'>p90</th><th class='n'>p99</th><th class='n'>max</th></tr>"
        f"<tr>{cells}</tr></table>"
    )


def _decisions(result: SimulationResult) -> str:
    costliest = sorted(result.decisions, key=lambda d: (-abs(d.usd_per_hour), d.at))[:_COSTLIEST]
    if not costliest:
        return ""
    return (
        f"<h2>The costliest of {len(result.decisions)} decisions</h2><table><tr><th>At</th>"
        "<th>What</th><th>Why</th><th>Concerning</th><th class='n'>USD/hour</th></tr>"
        f"{''.join(_rows(sorted(costliest, key=lambda d: d.at)))}</table>"
    )


def _rows(decisions: Iterable[DecisionRecord]) -> Iterable[str]:
    for d in decisions:
        names = ", ".join(d.subjects[:3]) + (" ..." if len(d.subjects) > 3 else "")
        detail = f" ({d.detail})" if d.detail else ""
        yield (
            f"<tr><td>{_hours(d.at / 3600)}</td><td>{escape(d.kind)}</td>"
            f"<td>{escape(d.reason)}</td><td>{escape(names + detail)}</td>"
            f"<td class='n'>{d.usd_per_hour:+.4f}</td></tr>"
        )


def _leaks(result: SimulationResult) -> str:
    found = {k: v for k, v in result.leaks.to_json().items() if v}
    if not found:
        return "<h2>Leaks</h2><p class='good'>None: everything in the account has an owner.</p>"
    rows = "".join(
        f"<tr><td>{escape(kind)}</td><td>{escape(', '.join(names))}</td></tr>"
        for kind, names in found.items()
    )
    return f"<h2 class='bad'>Leaks</h2><table>{rows}</table>"


def _hours(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:.1f} d"
    if hours >= 1:
        return f"{hours:.2f} h"
    return f"{hours * 60:.1f} min"
