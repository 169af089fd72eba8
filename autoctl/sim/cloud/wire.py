"""botocore's service models: what operations exist and what their requests and answers look like.

Both directions are checked. A request with a wrong parameter fails as it would in boto3; an answer
that AWS could not have given is a defect of the simulation and raises AssertionError.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore import xform_name
from botocore.exceptions import ParamValidationError
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.paginate import Paginator, PaginatorModel
from botocore.validate import ParamValidator

LONG_LIST = 24
"""Lists longer than this are checked by their first and last entries: they are uniform."""

_loader = Loader()


@cache
def service_definition(service: str) -> Any:
    """botocore's JSON model of a service."""
    return _loader.load_service_model(service, "service-2")


@cache
def service_model(service: str) -> ServiceModel:
    """The model of a service by its client name (`ec2`, `service-quotas`, ...)."""
    return ServiceModel(service_definition(service), service)


@cache
def operations(service: str) -> dict[str, str]:
    """Client method name -> operation name: `create_fleet` -> `CreateFleet`."""
    return {xform_name(name): name for name in service_model(service).operation_names}


@cache
def operation(service: str, name: str) -> OperationModel:
    return service_model(service).operation_model(name)


@cache
def _pagination(service: str) -> PaginatorModel:
    return PaginatorModel(_loader.load_service_model(service, "paginators-1"))


def paginator(service: str, method: str, call: Any) -> Paginator[Any]:
    """boto3's paginator over `call`, the client's method of that name."""
    name = operations(service)[method]
    return Paginator(call, _pagination(service).get_paginator(name), operation(service, name))


def check_request(model: OperationModel, params: dict[str, Any]) -> None:
    """Raises botocore's ParamValidationError as a boto3 client does before it sends anything."""
    shape = model.input_shape
    if shape is None:
        if params:
            raise ParamValidationError(report=f"{model.name} takes no parameters, got {params}")
        return
    report = ParamValidator().validate(params, shape)
    if report.has_errors():
        raise ParamValidationError(report=report.generate_report())


def check_answer(model: OperationModel, answer: dict[str, Any]) -> None:
    """Raises AssertionError for an answer that does not have the operation's output shape."""
    shape = model.output_shape
    if shape is None:
        assert not answer, f"{model.name} answers nothing, got {answer}"
        return
    report = ParamValidator().validate(_shortened(answer), shape)
    assert not report.has_errors(), f"{model.name} answered: {report.generate_report()}"


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(entry) for key, entry in value.items()}
    if isinstance(value, list):
        sample = value if len(value) <= LONG_LIST else [*value[:8], *value[-8:]]
        return [_shortened(entry) for entry in sample]
    return value
