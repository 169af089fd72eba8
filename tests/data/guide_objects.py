"""The objects of the user guide's pages on Auto Mode (`guide.yaml`)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

GUIDE: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("guide.yaml").read_text())
FILL: dict[str, Any] = {
    "role": "MyNodeRole",
    "subnetSelectorTerms": [{"tags": {"Name": "private-subnet"}}],
    "securityGroupSelectorTerms": [{"tags": {"Name": "eks-cluster-sg"}}],
    "advancedCompute.kernel.sysctl.user.max_user_namespaces": 65536,
}
"""What admission demands and a page leaves out."""


def filled(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The page's objects, with what it leaves out."""
    objects: list[dict[str, Any]] = copy.deepcopy(entry["objects"])
    for name in entry.get("lacks", ()):
        for obj in objects:
            if obj["kind"] != "NodeClass":
                continue
            spec = obj["spec"]
            if name.startswith("advancedCompute.kernel.sysctl."):
                compute = spec["advancedCompute"].setdefault("kernel", {})
                sysctl = compute.setdefault("sysctl", {})
                sysctl[name.removeprefix("advancedCompute.kernel.sysctl.")] = FILL[name]
            else:
                assert name not in spec, "the page does have it"
                spec[name] = FILL[name]
    return objects
