"""Build the programs of the control plane from pinned Go modules, once, into a cache.

Each folder beside this file with a `go.mod` is one module; its `tool` lines and its own commands
are the programs. Binaries go to `$XDG_CACHE_HOME/autoctl/controlplane/MODULE-KEY/`, where the key
is a digest of everything the build depends on (go.mod, go.sum, sources, flags), so that a change
of a version builds anew and nothing else does.

    python -m controlplane.build [MODULE...]     # from hack/; prints the folders of the binaries
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent


class GoMissingError(RuntimeError):
    """There is no Go compiler on PATH."""


class BuildError(RuntimeError):
    """The Go compiler refused; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class Module:
    """One Go module and the programs that it builds."""

    name: str
    requires: str
    """The module whose version is stamped into the programs."""
    programs: tuple[str, ...]
    stamps: tuple[str, ...]
    """Linker variables; `{version}`, `{major}` and `{minor}` are those of `requires`."""
    minutes: int
    """About how long an empty build cache takes on two cores."""

    @property
    def folder(self) -> Path:
        return SOURCE / self.name

    @property
    def version(self) -> str:
        """The pinned version of `requires`, as go.mod says, with its leading `v`."""
        text = (self.folder / "go.mod").read_text()
        found = re.search(
            rf"^\s*(?:require\s+)?{re.escape(self.requires)} (v\S+)", text, re.MULTILINE
        )
        assert found, f"{self.folder / 'go.mod'} does not require {self.requires}"
        return found.group(1)

    @property
    def packages(self) -> list[str]:
        """Import paths to build: the `tool` lines and the module's own commands."""
        text = (self.folder / "go.mod").read_text()
        block = re.search(r"^tool \(\n(.*?)^\)", text, re.MULTILINE | re.DOTALL)
        lines = block.group(1).split() if block else re.findall(r"^tool (\S+)", text, re.MULTILINE)
        own = [f"./{path.parent.name}" for path in sorted(self.folder.glob("*/main.go"))]
        return lines + own

    @property
    def ldflags(self) -> str:
        major, minor, *_ = self.version.removeprefix("v").split(".")
        stamps = [
            stamp.format(version=self.version, major=major, minor=minor) for stamp in self.stamps
        ]
        return " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in stamps)])

    @property
    def key(self) -> str:
        digest = hashlib.sha256()
        files = [self.folder / "go.mod", self.folder / "go.sum", *self.folder.glob("*/*.go")]
        for path in sorted(files):
            digest.update(f"{path.relative_to(self.folder)}\0".encode())
            digest.update(path.read_bytes())
        digest.update(f"{self.ldflags}\0{sys.platform}\0{platform.machine()}".encode())
        return digest.hexdigest()[:16]

    @property
    def target(self) -> Path:
        """The folder of the finished binaries."""
        return cache_folder() / f"{self.name}-{self.key}"


_COMPONENT_VERSION = "k8s.io/component-base/version"

MODULES: dict[str, Module] = {
    module.name: module
    for module in (
        Module(
            name="kubernetes",
            requires="k8s.io/kubernetes",
            programs=(
                "etcd",
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubectl",
            ),
            # Without a version the API server says v0.0.0, and clients that look at it misbehave.
            stamps=(
                f"{_COMPONENT_VERSION}.gitVersion={{version}}",
                f"{_COMPONENT_VERSION}.gitMajor={{major}}",
                f"{_COMPONENT_VERSION}.gitMinor={{minor}}",
                f"{_COMPONENT_VERSION}.gitTreeState=clean",
            ),
            minutes=5,
        ),
        Module(
            name="kwok",
            requires="sigs.k8s.io/kwok",
            programs=("kwok",),
            stamps=("sigs.k8s.io/kwok/pkg/consts.Version={version}",),
            minutes=2,
        ),
        Module(
            name="helm",
            requires="helm.sh/helm/v4",
            programs=("helm",),
            stamps=("helm.sh/helm/v4/internal/version.version={version}",),
            minutes=2,
        ),
        Module(
            name="promtool",
            requires="github.com/prometheus/prometheus",
            programs=("promtool",),
            stamps=("github.com/prometheus/common/version.Version={version}",),
            minutes=4,
        ),
    )
}


def cache_folder() -> Path:
    """Where binaries are kept between runs, outside of any work tree."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "autoctl" / "controlplane"


def program(name: str) -> Path:
    """Return the path of a program, building its module when it is not in the cache yet.

    Raises `GoMissingError` or `BuildError`.
    """
    for module in MODULES.values():
        if name in module.programs:
            return ensure(module) / name
    raise KeyError(name)


def ensure(module: Module) -> Path:
    """Return the folder of a module's binaries, building them if need be.

    Safe when several processes ask at once: one builds, the others wait for it.
    """
    if module.target.is_dir():
        return module.target
    go = shutil.which("go")
    if go is None:
        raise GoMissingError(f"no Go compiler on PATH: {module.name} cannot be built")
    cache_folder().mkdir(parents=True, exist_ok=True)
    with _lock(cache_folder() / f"{module.name}.lock", f"another process builds {module.name}"):
        if not module.target.is_dir():
            _build(go, module)
    return module.target


def _build(go: str, module: Module) -> None:
    """Build into a folder of its own and rename it: a target that exists is complete."""
    say(
        f"building {', '.join(module.programs)} {module.version} "
        f"(once; about {module.minutes} min on two cores)"
    )
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=f"{module.name}-") as scratch:
        output = Path(scratch) / "bin"
        output.mkdir()
        command = [go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false"]
        command += ["-ldflags", module.ldflags, "-o", f"{output}{os.sep}", *module.packages]
        environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
        started = time.monotonic()
        with _progress(module.name):
            done = subprocess.run(
                command,
                cwd=module.folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        if done.returncode:
            raise BuildError(f"go build of {module.name} failed:\n{done.stderr[-4000:].strip()}")
        missing = [name for name in module.programs if not (output / name).is_file()]
        assert not missing, f"go build of {module.name} made no {missing}"
        output.rename(module.target)
        say(f"built {module.name} in {time.monotonic() - started:.0f} s")


@contextmanager
def _lock(path: Path, waiting: str) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{waiting}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _progress(name: str) -> Iterator[None]:
    """Say every half minute that a build goes on."""
    ended = threading.Event()
    started = time.monotonic()

    def tell() -> None:
        while not ended.wait(30):
            say(f"still building {name} ({time.monotonic() - started:.0f} s)")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def say(line: str) -> None:
    """Print one line of progress; stdout stays free for results."""
    print(f"control plane: {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the programs of the control plane.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}")
    names = parser.parse_args(arguments).modules or list(MODULES)
    unknown = sorted(set(names) - set(MODULES))
    if unknown:
        parser.error(f"no module {', '.join(unknown)}; there are {', '.join(MODULES)}")
    try:
        for name in names:
            print(ensure(MODULES[name]))
    except (GoMissingError, BuildError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
