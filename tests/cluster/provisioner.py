"""Volumes for the claims of a test, and none of them after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from controlplane.plane import ControlPlane
from controlplane.volumes import VolumeProvisioner


@contextmanager
def provisioning(plane: ControlPlane) -> Iterator[None]:
    """The StorageClass, and a volume for each claim of it that kube-scheduler chose a node for."""
    provisioner = VolumeProvisioner(plane)
    provisioner.start()
    try:
        yield
    finally:
        provisioner.stop()
    provisioner.remove()
