"""Building the programs of the control plane: versions, cache key, what happens without Go."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane import build
from controlplane.process import Process, ProcessEndedError, wait_for

KUBERNETES = build.MODULES["kubernetes"]

GO = """#!/bin/sh
# go build -mod=readonly -trimpath -buildvcs=false -ldflags FLAGS -o FOLDER/ PACKAGE...
echo "$PWD $*" >> "$CALLS"
[ -z "$FAILS" ] || { echo "cannot find module" >&2; exit 1; }
folder=$8
shift 8
for package in "$@"; do : > "$folder${package##*/}"; done
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the compiler; the file it returns lists its calls."""
    calls = tmp_path / "calls"
    calls.touch()
    programs = tmp_path / "bin"
    programs.mkdir()
    compiler = programs / "go"
    compiler.write_text(GO)
    compiler.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("FAILS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return calls


def test_versions_are_those_of_the_modules() -> None:
    assert {name: module.version for name, module in build.MODULES.items()} == {
        "kubernetes": "v1.34.4",
        "kwok": "v0.8.0",
        "helm": "v4.3.1",
        "promtool": "v0.305.1",
    }
    assert "version.gitVersion=v1.34.4" in KUBERNETES.ldflags
    assert "version.gitMinor=34" in KUBERNETES.ldflags


def test_every_program_has_a_package() -> None:
    for module in build.MODULES.values():
        assert sorted(package.rsplit("/", 1)[1] for package in module.packages) == sorted(
            module.programs
        )


def test_staging_modules_are_all_of_the_release_of_kubernetes() -> None:
    text = (KUBERNETES.folder / "go.mod").read_text()
    replaced = re.findall(r"^\tk8s\.io/(\S+) => k8s\.io/(\S+) (\S+)$", text, re.MULTILINE)
    assert len(replaced) == 31
    for original, replacement, version in replaced:
        assert (original, version) == (replacement, "v0.34.4")


def test_a_module_is_built_once(go: Path) -> None:
    first = build.ensure(KUBERNETES)
    assert sorted(path.name for path in first.iterdir()) == sorted(KUBERNETES.programs)
    assert build.ensure(KUBERNETES) == first
    (call,) = go.read_text().splitlines()
    assert call.startswith(f"{KUBERNETES.folder} build -mod=readonly ")


def test_a_failed_build_says_why_and_leaves_nothing(
    go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", "yes")
    with pytest.raises(build.BuildError, match="go build of helm failed:\ncannot find module"):
        build.ensure(build.MODULES["helm"])
    assert [path.name for path in build.cache_folder().iterdir()] == ["helm.lock"]


def test_two_processes_build_once(go: Path) -> None:
    hack = build.SOURCE.parent
    command = [sys.executable, "-m", "controlplane.build", "kwok"]
    children = [
        subprocess.Popen(command, cwd=hack, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    answers = {child.communicate()[0] for child in children}
    assert len(answers) == 1
    assert len(go.read_text().splitlines()) == 1


def test_without_go_nothing_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.GoMissingError, match="no Go compiler on PATH: kwok cannot be built"):
        build.program("kwok")


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "etcd/main.go"])
def test_the_key_changes_with_every_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    before = KUBERNETES.key
    shutil.copytree(KUBERNETES.folder, tmp_path / "kubernetes")
    monkeypatch.setattr(build, "SOURCE", tmp_path)
    assert KUBERNETES.key == before
    with (tmp_path / "kubernetes" / file).open("a") as changed:
        changed.write("\n")
    assert KUBERNETES.key != before


def test_a_process_that_ends_is_noticed_with_its_log(tmp_path: Path) -> None:
    process = Process("short", ["sh", "-c", "echo no such host; exit 3"], tmp_path / "log")
    process.start()
    with pytest.raises(ProcessEndedError, match=r"short ended with 3.*\nno such host"):
        wait_for("never", lambda: False, timeout=30, processes=[process])


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"trap '' TERM; sleep 1000 & echo $! > {child}.new; mv {child}.new {child}; wait"
    process = Process("stubborn", ["sh", "-c", script], tmp_path / "log")
    process.start()
    wait_for("the child", child.exists, timeout=30, processes=[process])
    assert process.stop(patience=0.2) == -9
    number = int(child.read_text())
    wait_for("the child's end", lambda: not alive(number), timeout=10)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody waits for has ended as well.
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")
