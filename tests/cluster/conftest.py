"""The real control plane of the cluster tests: one for the whole run."""

from __future__ import annotations

import os
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from e2e import NODE_POOL, World

from controlplane.build import GoMissingError
from controlplane.installation import Installation
from controlplane.plane import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and keep them in one xdist worker: they share one cluster."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.xdist_group("cluster"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of the logs where an end-to-end test fails."""
    report = yield
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and call.when == "call" and world is not None:
        processes = [world.installation.cloud]
        processes += [operator.process for operator in world.installation.operators.values()]
        for process in processes:
            report.sections.append((f"log of {process.name}", process.log_tail(60)))
    return report


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """A running control plane with the CRDs of `crds/`.

    Without Go its tests are left out, and the summary says so; where `CI` is set that is a failure.
    """
    plane = ControlPlane()
    try:
        plane.start()
    except GoMissingError as error:
        plane.stop()
        text = f"LEFT OUT: the tests on the real control plane need Go ({error})"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(text)
        pytest.skip(text)
    try:
        plane.apply_crds(ROOT / "crds")
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def namespace(plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of its own for one test, deleted afterwards (nobody waits for it)."""
    test: str = request.node.nodeid
    name = f"test-{zlib.crc32(test.encode()):08x}"
    plane.kubectl("create", "namespace", name)
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def world(plane: ControlPlane) -> Iterator[World]:
    """autoctl installed, without NodePools; gone afterwards with all that it made."""
    installation = Installation(plane)
    try:
        installation.start_cloud()
        installation.install()
        yield World(installation)
    finally:
        installation.stop()
        installation.uninstall()
        remove_objects(plane)


def remove_objects(plane: ControlPlane) -> None:
    """Delete what a test may have left; nobody is there any more who would remove finalizers."""
    for kind, selector in (
        ("nodepools", ()),
        ("nodeclaims", ()),
        ("nodes", ("-l", NODE_POOL)),
        ("nodeclasses", ()),
    ):
        for item in plane.get(kind, *selector)["items"]:
            name = item["metadata"]["name"]
            without_finalizers = '{"metadata": {"finalizers": null}}'
            plane.kubectl("patch", kind, name, "--type=merge", "-p", without_finalizers)
            plane.kubectl("delete", kind, name, "--ignore-not-found")
