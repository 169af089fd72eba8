"""One child process: its log, and an end that comes even when things go wrong."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


class ProcessEndedError(RuntimeError):
    """A process that should be running is not; the message ends with the tail of its log."""


class Process:
    """A child in a session of its own, so that Ctrl-C in a terminal reaches only its parent.

    On Linux the kernel ends it when the thread that started it dies, so that a parent that is
    killed leaves nothing behind.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = [str(word) for word in command]
        self._environment = None if environment is None else dict(environment)
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        """Raises `ProcessEndedError` when it does not run."""
        self.check()
        assert self._child is not None
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """As in `subprocess.Popen`; `None` while it runs or before its first start."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        assert not self.running, f"{self.name} runs already"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._environment,
                cwd=self._folder,
                # Only a system call: safe between fork and exec, whatever other threads do.
                preexec_fn=_END_WITH_PARENT,
            )

    def check(self) -> None:
        """Raise `ProcessEndedError` unless it runs."""
        if not self.running:
            raise ProcessEndedError(
                f"{self.name} ended with {self.returncode}; its log ({self.log}) ends:\n"
                + self.log_tail()
            )

    def log_tail(self, lines: int = 25) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def stop(self, patience: float = 10) -> int | None:
        """SIGTERM, after `patience` seconds SIGKILL; returns the exit status."""
        self._signal(signal.SIGTERM)
        if self._child is None:
            return None
        try:
            return self._child.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._child.returncode

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            # Its session is its process group: children of its own end too.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)


def wait_for(
    what: str, condition: Callable[[], bool], *, timeout: float, processes: Sequence[Process] = ()
) -> None:
    """Poll until `condition()`; raises `TimeoutError`, or at once when one of `processes` ends."""
    deadline = time.monotonic() + timeout
    while not condition():
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            logs = "".join(f"\n{p.name}:\n{p.log_tail(8)}" for p in processes)
            raise TimeoutError(f"{what}: not within {timeout:.0f} s{logs}")
        time.sleep(0.1)


def _end_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask


_END_WITH_PARENT = _end_with_parent()
