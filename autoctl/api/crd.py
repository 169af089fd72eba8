"""The CustomResourceDefinitions, made from the models."""

from __future__ import annotations

import copy
from typing import Any, Final

import yaml

from autoctl.api.capacitybuffer import CapacityBuffer
from autoctl.api.meta import CustomResource
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodediagnostic import NodeDiagnostic
from autoctl.api.nodeoverlay import NodeOverlay
from autoctl.api.nodepool import NodePool
from autoctl.api.schema import structural_schema

MODELS: Final[tuple[type[CustomResource], ...]] = (
    NodePool,
    NodeClaim,
    NodeOverlay,
    NodeClass,
    NodeDiagnostic,
    CapacityBuffer,
)
"""Every custom resource, in the order the documentation names them."""

HEADER: Final = "# Made by `autoctl crds` from the models in autoctl/api; do not edit.\n"


def crd(model: type[CustomResource]) -> dict[str, Any]:
    """The CustomResourceDefinition of a model."""
    names: dict[str, Any] = {
        "kind": model.KIND,
        "listKind": f"{model.KIND}List",
        "plural": model.PLURAL,
        "singular": model.KIND.lower(),
    }
    if model.CATEGORIES:
        names["categories"] = list(model.CATEGORIES)
    if model.SHORT_NAMES:
        names["shortNames"] = list(model.SHORT_NAMES)
    subresources: dict[str, Any] = {"status": {}}
    if model.SCALE is not None:
        subresources["scale"] = model.SCALE.to_dict()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{model.PLURAL}.{model.GROUP}"},
        "spec": {
            "group": model.GROUP,
            "names": names,
            "scope": "Namespaced" if model.NAMESPACED else "Cluster",
            "versions": [
                {
                    "name": model.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": copy.deepcopy(structural_schema(model))},
                    "additionalPrinterColumns": [column.to_dict() for column in model.COLUMNS],
                    "subresources": subresources,
                }
            ],
        },
    }


def crds() -> list[dict[str, Any]]:
    """Every CustomResourceDefinition of the project."""
    return [crd(model) for model in MODELS]


def file_name(definition: dict[str, Any]) -> str:
    """The file a definition is kept in, such as `karpenter.sh_nodepools.yaml`."""
    spec = definition["spec"]
    return f"{spec['group']}_{spec['names']['plural']}.yaml"


def to_yaml(definition: dict[str, Any]) -> str:
    """A definition as YAML."""
    return HEADER + yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=100)


def files() -> dict[str, str]:
    """File name to YAML text of every definition: what the folder `crds/` holds."""
    return {file_name(definition): to_yaml(definition) for definition in crds()}


class _Dumper(yaml.SafeDumper):
    """YAML without anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True
