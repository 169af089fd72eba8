"""The HTML report: what it lists, in which order, and that it stays one offline file."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from autoctl.simulate.recorder import DecisionRecord, Sample
from autoctl.simulate.report import _span, render_report
from autoctl.simulate.result import Leaks, Outcome, SimulationResult, Totals

VOID = {"meta", "br", "path", "rect"}


class Reader(HTMLParser):
    """Notes elements that are not closed in order, attributes that load, and tables' cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [v or "" for k, v in attrs if k in ("src", "href", "srcset")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def sample(at: float, **found: Any) -> Sample:
    numbers = dict.fromkeys(Sample.__dataclass_fields__, 1)
    return Sample(**numbers | {"at": at, "bound": 0.5, "longest_wait": None} | found)


def result(**changes: Any) -> SimulationResult:
    waits = {"p50": 46.4, "p90": 50.0, "p99": 75.0, "max": 3700.0}
    fields: dict[str, Any] = {
        "name": "A <b>name</b>",
        "region": "us-west-2",
        "start": datetime(2026, 1, 5, tzinfo=UTC),
        "duration_seconds": 7200.0,
        "seed": 3,
        "samples": (sample(0), sample(3600, longest_wait=75.0), sample(7200)),
        "totals": Totals(2, 1, 3, 0.5, 4.0, 11.0, 10.0, 2.0, waits, 0),
        "decisions": (
            DecisionRecord(60, "launch", "provisioned", ("a",), "m5.large", 0.1),
            DecisionRecord(120, "fault", "spot-interruption", ("i-1",), "count 1"),
            DecisionRecord(180, "delete", "Empty", ("b", "c", "d", "e", "f"), "", -0.5),
            DecisionRecord(240, "launch", "drifted", ("g",), "c5.large", 0.3),
        ),
        "outcomes": (
            Outcome(60, "nodes", "<= 3", 2, True),
            Outcome(7200, "pendingPods", "0", 1, False),
        ),
        "leaks": Leaks(),
    }
    return SimulationResult(**fields | changes)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_it_is_one_well_formed_file_that_loads_nothing() -> None:
    page = render_report(result())
    assert read(page).loads == []
    assert "<script" not in page
    assert "url(" not in page
    assert "A &lt;b&gt;name&lt;/b&gt;" in page


def test_the_costliest_decisions_come_first_and_faults_are_none() -> None:
    rows = read(render_report(result())).rows
    start = rows.index(["USD/hour", "At", "What", "Why", "Nodes"])
    assert rows[start + 1 : start + 4] == [
        ["-0.5000", "3 min", "delete", "Empty", "b, c, d and 2 more"],
        ["+0.3000", "4 min", "launch", "drifted", "g (c5.large)"],
        ["+0.1000", "1 min", "launch", "provisioned", "a (m5.large)"],
    ]


def test_faults_are_listed_and_marked_in_every_plot() -> None:
    page = render_report(result())
    assert ["1", "2 min", "spot-interruption", "i-1, count 1"] in read(page).rows
    assert page.count("<title>1: spot-interruption at 2 min</title>") == page.count("<figure>")
    assert "Faults" not in render_report(result(decisions=()))


def test_failed_expectations_are_in_the_heading() -> None:
    page = render_report(result())
    assert "Expectations: 1 of 2 failed" in page
    assert ["2 h", "pendingPods", "0", "1", "failed"] in read(page).rows


@pytest.mark.parametrize(
    ("expected", "actual", "found"),
    [
        ("<= 0.2", 0.08867419355, "0.089"),
        ("<= 0.1", 0.1004, "0.1004"),
        ("<= 0.1", 0.10000004, "0.10000004"),
        (">= 0.5 and <= 2", 1.99999, "1.99999"),
        (">= 0.5 and <= 2", 2.0, "2"),
        ("<= 3", 2, "2"),
        ("<= 5000000", 1234567, "1234567"),
        ("<= 1e+06", 1000001, "1000001"),
        ("0", 0.00000123456, "0.000001"),
        ("<= 1", -0.0312345, "-0.031"),
        ("<= 24", 167.98333333333333, "167.983"),
        ("<= 0.3", 0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_what_was_found_is_told_in_few_digits_that_bear_the_verdict_out(
    expected: str, actual: float, found: str
) -> None:
    outcome = Outcome(60, "usdPerHour", expected, actual, True)
    assert outcome.found == found
    rows = read(render_report(result(outcomes=(outcome,)))).rows
    assert ["1 min", "usdPerHour", expected, found, "held"] in rows


def test_all_that_was_asked_for_is_plotted() -> None:
    labels = re.findall(r'aria-label="([^:"]+):', render_report(result()))
    assert labels == [
        "Nodes",
        "Cost",
        "CPU",
        "Memory",
        "Pods",
        "Longest wait for a node",
        "Evictions",
    ]
    assert "lower bound" in render_report(result())
    unbounded = render_report(result(samples=(sample(0, bound=None), sample(7200, bound=None))))
    assert "lower bound 0.5" not in unbounded


def test_what_was_left_behind_is_named() -> None:
    page = render_report(result(leaks=Leaks(instances=("i-9",))))
    assert ["instances", "i-9"] in read(page).rows


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (7620, "2 h 7 min"),
        (90000, "1 d 1 h"),
        (86400 * 149 + 120, "149 d"),
    ],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert _span(seconds) == text
