"""`autoctl simulate`: days of a cluster in seconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from autoctl.cli.inputs import DEFAULT_REGION, fail
from autoctl.cli.rendering import write_structured
from autoctl.cli.simulate_random import play_random

if TYPE_CHECKING:
    from autoctl.simulate.recorder import DecisionRecord, Recorder
    from autoctl.simulate.replay import Replay
    from autoctl.simulate.result import SimulationResult
    from autoctl.simulate.scenario import Scenario
    from autoctl.state.manifests import Document

EXPECTATION_FAILED = 1


@click.command(
    epilog="""\b
Examples:
  autoctl simulate                              the built-in tour
  autoctl simulate --report tour.html           the same, with plots
  autoctl simulate night.yaml --seed 7          a scenario of yours (docs/simulate.md)
  autoctl simulate night.yaml -o json | jq .totals
  autoctl simulate --random 7                   a made-up world, and whether all rules held
  autoctl simulate --random 1 --runs 300        many of them
  autoctl simulate --trace pods.csv             a workload's history (docs/trace.md)
  autoctl simulate --trace pods.csv --columns cpu=requests,name=uid --nodepool pool.yaml
"""
)
@click.argument("scenario", required=False, metavar="[SCENARIO.yaml]")
@click.option(
    "--trace", metavar="FILE.csv", help="Replay the pods of this history (docs/trace.md) instead."
)
@click.option(
    "--columns",
    metavar="COLUMN=HEADING,...",
    default="",
    help="Headings of the trace's columns where they are not recognised.",
)
@click.option(
    "--nodepool",
    "nodepools",
    metavar="FILE",
    multiple=True,
    help="NodePools (and NodeClasses, DaemonSets...) to replay the trace on. Repeatable.",
)
@click.option("--duration", metavar="DURATION", help="Play this long instead: 90s, 2h, 30d.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all randomness.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "yaml"]),
    default="text",
    show_default=True,
    help="Output format.",
)
@click.option(
    "--report", metavar="FILE.html", type=click.Path(dir_okay=False), help="Write an HTML report."
)
@click.option(
    "--random",
    "random_seed",
    type=click.IntRange(min=0),
    metavar="SEED",
    help="Play a made-up world full of faults instead, and check what must hold in every world.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="With --random: play so many seeds, beginning with that one.",
)
def simulate(
    scenario: str | None,
    trace: str | None,
    columns: str,
    nodepools: tuple[str, ...],
    duration: str | None,
    seed: int,
    output: str,
    report: str | None,
    random_seed: int | None,
    runs: int,
) -> None:
    """Play a scenario, or a trace, on a simulated cluster in a simulated AWS account.

    Time is virtual: days take seconds.

    The operator in it is the one that `autoctl run` runs. The same scenario
    and seed give the same output, byte for byte.
    Exit code 1: an expectation of the scenario failed; 2: it cannot be played;
    130: interrupted.
    """
    from autoctl.operator.logging import configure_logging
    from autoctl.simulate.player import Player

    # The operator's log tells of faults that the scenario asked for; decisions are shown instead.
    configure_logging("error" if random_seed is None else "critical", "console")
    if random_seed is not None:
        if scenario or trace or duration or report or seed:
            raise click.UsageError(
                "--random makes up the whole world; only --runs and -o go with it"
            )
        play_random(random_seed, runs, output)
        return
    if runs != 1:
        raise click.UsageError("--runs belongs to --random")
    if report is not None:
        _check_report(report)
    if trace is None:
        if columns or nodepools:
            raise click.UsageError("--columns and --nodepool belong to --trace")
        chosen = _scenario(scenario, duration)
        objects, watcher = _objects(chosen), None
    else:
        if scenario is not None:
            raise click.UsageError("either a scenario or --trace, not both")
        chosen, objects, watcher = _trace(trace, columns, nodepools, duration)
    live = output == "text"
    display = _Display(enabled=live, replay=watcher)
    player = Player(
        chosen,
        seed,
        objects,
        watcher=watcher,
        progress=display.progress,
        on_decision=display.decision if live and trace is None else None,
    )
    with display:
        result = _play(player)
    if report is not None:
        _write_report(report, result)
    if live:
        _summary(result, report)
    else:
        write_structured(result.to_json(), output, sys.stdout)
    if not result.ok:
        sys.exit(EXPECTATION_FAILED)


def _scenario(path: str | None, duration: str | None) -> Scenario:
    from importlib.resources import files

    from autoctl.simulate.scenario import ScenarioError, load_scenario, with_duration

    try:
        if path is None:
            tour = files("autoctl.simulate") / "scenarios" / "tour.yaml"
            scenario = load_scenario(str(tour))
        else:
            scenario = load_scenario(path)
        chosen = scenario if duration is None else with_duration(scenario, duration)
    except ScenarioError as error:
        fail(str(error))
    return chosen


def _trace(
    path: str, columns: str, nodepools: Sequence[str], duration: str | None
) -> tuple[Scenario, Sequence[dict[str, Any]], Replay]:
    from autoctl.simulate.replay import Replay, trace_objects, trace_scenario
    from autoctl.simulate.scenario import ScenarioError, with_duration
    from autoctl.simulate.trace import TraceError, parse_columns, read_trace
    from autoctl.state.manifests import ManifestError, load_manifests

    try:
        trace = read_trace(path, parse_columns(columns))
        given = load_manifests(nodepools)
        _check_pools(nodepools, given)
        scenario = trace_scenario(trace, Path(path).stem, DEFAULT_REGION)
        if duration is not None:
            scenario = with_duration(scenario, duration)
    except (TraceError, ManifestError, ScenarioError) as error:
        fail(str(error))
    return scenario, trace_objects(trace, [d.object for d in given]), Replay(trace)


def _check_pools(files: Sequence[str], given: Sequence[Document]) -> None:
    """End where no file has a NodePool. Raises `ManifestError` for one that cannot be used."""
    from autoctl.api.validation import validate_manifest
    from autoctl.ports.kubernetes import NODE_POOLS

    pools = [d for d in given if d.kind == NODE_POOLS.kind]
    if files and not pools:
        kinds = ", ".join(sorted({d.kind for d in given})) or "nothing"
        fail(f"--nodepool {', '.join(files)}: expected a NodePool, got {kinds}")
    for pool in pools:
        if pool.object["apiVersion"] != NODE_POOLS.api_version:
            found = repr(pool.object["apiVersion"])
            raise pool.error("apiVersion", f"expected {NODE_POOLS.api_version}, got {found}")
        for wrong in validate_manifest(pool.object):
            raise pool.error(wrong.field, wrong.message)


def _objects(scenario: Scenario) -> Sequence[dict[str, Any]]:
    from autoctl.simulate.scenario import FieldError, check_object
    from autoctl.state.manifests import ManifestError, load_manifests

    try:
        documents = load_manifests(scenario.manifests)
        for document in documents:
            try:
                check_object(document.object)
            except FieldError as error:
                raise document.error(error.path, str(error)) from error
    except ManifestError as error:
        fail(str(error))
    return [*(d.object for d in documents), *scenario.objects]


def _play(player: Any) -> SimulationResult:
    from autoctl.operator.memory import settle_memory
    from autoctl.ports.kubernetes import ApiError
    from autoctl.simulate.steps import StepError

    settle_memory()
    try:
        result: SimulationResult = player.play()
    except (StepError, ApiError) as error:
        _refused(error)
    return result


def _refused(error: Exception) -> NoReturn:
    fail(f"the scenario cannot be played: {error}")


def _check_report(path: str) -> None:
    """Say now, not after the simulation, that the report has no place."""
    folder = Path(path).parent
    try:
        there = folder.is_dir()
    except OSError as error:  # a folder on the way to it that may not be entered
        fail(f"--report {path}: {error.strerror or error}")
    if not there:
        fail(f"--report {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK) and not os.access(path, os.W_OK):
        fail(f"--report {path}: cannot be written")


def _write_report(path: str, result: SimulationResult) -> None:
    from autoctl.simulate.report import render_report

    try:
        Path(path).write_text(render_report(result), encoding="utf-8")
    except OSError as error:
        fail(f"--report {path}: {error.strerror or error}")


class _Display:
    """Decisions as they are taken, and on a terminal a progress bar on stderr."""

    def __init__(self, *, enabled: bool, replay: Replay | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from autoctl.cli.console import Output

        self._out = Output(highlight=False)
        self._enabled = enabled
        self._replay = replay
        error = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.fields[now]}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=error,
            disable=not error.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", total=1.0, now=_clock(0), state="")

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def progress(self, done: float, recorder: Recorder) -> None:
        """A sample was taken."""
        if self._replay is not None:
            # Quiet weeks pass in seconds: what takes long is what pods do.
            done = self._replay.played
        elapsed = self._progress.tasks[self._task].elapsed or 0.0
        pods = f"{recorder.running} pods running, {recorder.pending} pending"
        self._progress.update(
            self._task,
            completed=done,
            now=_clock(recorder.elapsed()),
            state=", ".join((pods, *pace(recorder.elapsed(), elapsed, done))),
        )

    def decision(self, record: DecisionRecord) -> None:
        """A decision was taken."""
        if not self._enabled:
            return
        names = ", ".join(record.subjects[:3]) + (" ..." if len(record.subjects) > 3 else "")
        parts = [_clock(record.at), record.kind, record.reason, names, record.detail]
        if record.usd_per_hour:
            parts.append(f"({record.usd_per_hour:+.4f} USD/h)")
        self._out.print("  ".join(p for p in parts if p), soft_wrap=True, markup=False)


def pace(virtual: float, elapsed: float, done: float) -> tuple[str, ...]:
    """How much faster than life `virtual` seconds were played in `elapsed` real ones, and how long
    the rest will take when `done` of the work is; nothing before that can be told."""
    if elapsed < 1.0 or done <= 0:
        return ()
    left = elapsed * (1 - done) / done
    return (f"{virtual / elapsed:,.0f} times as fast as life", f"{_clock(left)} left")


def _clock(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}d {clock}" if days else clock


def _summary(result: SimulationResult, report: str | None) -> None:
    from rich.table import Table

    from autoctl.cli.console import Output

    out = Output(highlight=False)
    totals = result.totals
    table = Table(
        title=f"{result.name}: {_clock(result.duration_seconds)} played", show_header=False
    )
    over = ""
    if totals.usd_bound:
        over = f" ({(totals.usd / totals.usd_bound - 1) * 100:.1f} % over the lower bound)"
    for label, value in (
        ("Paid", f"${totals.usd:.2f}{over}"),
        ("Node-hours", f"{totals.node_hours:.1f}"),
        ("Instances", f"{totals.launched} launched, {totals.terminated} terminated"),
        ("Evictions", f"{totals.evictions} ({totals.evictions_per_pod:.2f} a pod)"),
        (
            "Wait of pods",
            ", ".join(f"{k} {v:g} s" for k, v in totals.pending_seconds.items()),
        ),
        ("Oldest instance", f"{totals.oldest_instance_hours:.1f} h"),
        ("Leaks", str(totals.leaks)),
    ):
        table.add_row(label, value)
    out.print(table)
    for note in result.notes:
        out.print(note)
    for outcome in result.outcomes:
        verdict = "held" if outcome.ok else "FAILED"
        out.print(
            f"{verdict:6} at {_clock(outcome.at)}: {outcome.name} {outcome.expected}"
            f"{'' if outcome.ok else f', found {outcome.found}'}"
        )
    if report is not None:
        out.print(f"Report: {report}")
