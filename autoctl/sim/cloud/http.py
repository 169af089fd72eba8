"""The simulated cloud over HTTP, for real boto3 clients with `AWS_ENDPOINT_URL`.

Requests are parsed and answers serialized by moto's protocol code, which works from botocore's
models; nothing of a protocol is written here. Services that are not simulated (S3, WAFv2, ...)
are moto's own. Besides AWS there are:

- `GET /_sim/health`, `GET /_sim/state`, `GET /_sim/log[?operation=CreateFleet]`, `DELETE /_sim/log`
- `POST /_sim/faults` with a scenario's fault, `DELETE /_sim/faults`
- `POST /_sim/transport` with a `TransportFault`, `DELETE /_sim/transport`
- `POST /_sim/denied` with a list of actions (`["ec2:CreateFleet"]`) that become unauthorized
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import unquote

from botocore import xform_name
from botocore.exceptions import ClientError, ParamValidationError
from botocore.utils import parse_timestamp
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.serialize import SerializationContext, get_serializer_class
from werkzeug.exceptions import BadRequest, HTTPException, NotFound
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from autoctl.sim.cloud import wire
from autoctl.sim.cloud.cloud import SimulatedCloud
from autoctl.sim.cloud.faults import matches, parse_fault
from autoctl.sim.cloud.state import dump_state

SERVICES = {"servicequotas": "service-quotas"}
"""Names in credential scopes that differ from boto3's service names."""

WIRE_CODES = {"AWS.SimpleQueueService.NonExistentQueue": "QueueDoesNotExist"}
"""Error codes of SQS's older protocol, which boto3 still tells: code -> name in the model."""

LONG_POLL_STEP = 0.05
"""Seconds between looks at a queue that a client waits at."""

_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/(?P<service>[^/]+)/aws4_request")


@dataclass
class TransportFault:
    """A fault between client and service.

    `kind`: `reset` closes the connection without an answer, `status` answers with `status` and no
    AWS body, `slow` waits `delay` seconds first. `phase` `after` lets the service carry the
    request out before the answer is lost. `count` is how many requests it still strikes.
    """

    kind: Literal["reset", "status", "slow"]
    operations: tuple[str, ...] = ()
    phase: Literal["before", "after"] = "before"
    count: int = 1
    status: int = 503
    delay: float = 5.0

    @classmethod
    def parse(cls, value: dict[str, Any]) -> TransportFault:
        """From JSON; ValueError names what is wrong."""
        unknown = value.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise ValueError(f"unknown field {min(unknown)!r} of a transport fault")
        if value.get("kind") not in ("reset", "status", "slow"):
            raise ValueError(f"kind: expected reset, status or slow, got {value.get('kind')!r}")
        if value.get("phase", "before") not in ("before", "after"):
            raise ValueError(f"phase: expected before or after, got {value['phase']!r}")
        return cls(**{**value, "operations": tuple(value.get("operations", ()))})


class _AwsError(Exception):
    """What moto's serializers make an error answer of."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class CloudApp:
    """The WSGI application."""

    def __init__(self, cloud: SimulatedCloud) -> None:
        self.cloud = cloud
        self.transport: list[TransportFault] = []
        self._lock = threading.Lock()
        self._models: dict[str, ServiceModel] = {}
        self._routes: dict[str, list[tuple[str, re.Pattern[str], str]]] = {}
        self._moto: Callable[..., Iterable[bytes]] | None = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        try:
            if request.path.startswith("/_sim/"):
                return self._admin(request)(environ, start_response)
            service = self._service(request)
            if service not in self.cloud.services:
                return self._elsewhere()(environ, start_response)
            response = self._aws(request, service)
        except HTTPException as error:
            return error(environ, start_response)
        return response(environ, start_response)

    def _service(self, request: Request) -> str:
        match = _SCOPE.search(request.headers.get("Authorization", ""))
        if match is None:
            if "X-Amz-Credential" in request.args:  # a presigned URL
                return request.args["X-Amz-Credential"].split("/")[3]
            raise BadRequest("the request is not signed, so it names no service")
        return SERVICES.get(match["service"], match["service"])

    def _elsewhere(self) -> Callable[..., Iterable[bytes]]:
        """moto's server, for services that are not simulated here; its import takes seconds."""
        with self._lock:
            if self._moto is None:
                from moto.moto_server.werkzeug_app import (
                    DomainDispatcherApplication,
                    create_backend_app,
                )

                self._moto = DomainDispatcherApplication(create_backend_app)
            return self._moto

    def _aws(self, request: Request, service: str) -> Response:
        body = request.get_data()
        model, url_params = self._operation(request, service)
        name = str(model.name)
        lost = self._strike(service, name, "before")
        if lost is not None:
            return lost
        protocol = model.service_model.resolved_protocol
        parser = PROTOCOL_PARSERS[protocol](model, timestamp_parser=_aware)
        params = _plain(
            parser.parse(
                {
                    "body": body,
                    "headers": request.headers,
                    "method": request.method,
                    "url_params": url_params,
                    "url_path": request.path,
                    "values": request.values,
                }
            )
        )
        status: int | None = None
        headers: dict[str, str] = {}
        result: Any
        try:
            if name == "ReceiveMessage":
                self._wait_for_message(params)
            result = self.cloud.call(service, xform_name(name), params)
            request_id = result["ResponseMetadata"]["RequestId"]
        except ClientError as error:
            details: Any = error.response
            code = details["Error"]["Code"]
            result = _AwsError(WIRE_CODES.get(code, code), details["Error"]["Message"])
            if code in WIRE_CODES:
                headers["x-amzn-query-error"] = f"{code};Sender"
            status = details["ResponseMetadata"]["HTTPStatusCode"]
            request_id = details["ResponseMetadata"]["RequestId"]
        except ParamValidationError as error:
            result, request_id = _AwsError("ValidationError", str(error)), "invalid"
        lost = self._strike(service, name, "after")
        if lost is not None:
            return lost
        serializer = get_serializer_class(service, protocol)(
            model, SerializationContext(request_id=request_id)
        )
        answer = serializer.serialize(result)
        return Response(
            answer["body"],
            status=status or answer["status_code"],
            headers={**answer["headers"], **headers},
        )

    def _wait_for_message(self, params: dict[str, Any]) -> None:
        """SQS's long poll: hold the answer until there is a message or the time is up."""
        deadline = time.monotonic() + params.get("WaitTimeSeconds", 0)
        while time.monotonic() < deadline and not self.cloud.sqs.has_message(params["QueueUrl"]):
            time.sleep(LONG_POLL_STEP)
            with self.cloud.timeline.lock:
                self.cloud.timeline.advance()

    def _strike(self, service: str, name: str, phase: str) -> Response | None:
        """Let a transport fault hit this request, if one is due."""
        with self._lock:
            due = next(
                (
                    fault
                    for fault in self.transport
                    if fault.phase == phase
                    and fault.count > 0
                    and any(matches(fault.operations, n) for n in (name, f"{service}:{name}"))
                ),
                None,
            )
            if due is None:
                return None
            due.count -= 1
        if due.kind == "slow":
            time.sleep(due.delay)
            return None
        if due.kind == "status":
            return Response("<html>service unavailable</html>", due.status, mimetype="text/html")
        # The server closes a connection whose application fails so, without an answer.
        raise ConnectionResetError(f"{name} is cut off")

    def _model(self, service: str) -> ServiceModel:
        if service not in self._models:
            definition = wire.service_definition(service)
            self._models[service] = ServiceModel(definition, service)
        return self._models[service]

    def _operation(self, request: Request, service: str) -> tuple[OperationModel, dict[str, str]]:
        """The operation that a request names, in its protocol's way, and its path parameters."""
        model = self._model(service)
        target = request.headers.get("X-Amz-Target")
        name = target.rpartition(".")[2] if target else request.values.get("Action")
        if name is not None:
            if name not in model.operation_names:
                raise BadRequest(f"{service} has no operation {name}")
            return model.operation_model(name), {}
        # A role's ARN in a path has encoded slashes, which `request.path` no longer tells apart.
        path = str(request.environ["REQUEST_URI"]).partition("?")[0]
        for method, pattern, operation in self._paths(service):
            match = pattern.fullmatch(path)
            if match is not None and method == request.method:
                params = {key: unquote(value) for key, value in match.groupdict().items()}
                return model.operation_model(operation), params
        raise NotFound(f"{service} has no operation {request.method} {request.path}")

    def _paths(self, service: str) -> list[tuple[str, re.Pattern[str], str]]:
        """(HTTP method, path, operation) of a REST service, the most specific path first."""
        if service not in self._routes:
            model = self._model(service)
            routes = []
            for operation in model.operation_names:
                http = model.operation_model(operation).http
                path = http["requestUri"].partition("?")[0]
                pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
                routes.append((http["method"], re.compile(pattern), operation))
            self._routes[service] = sorted(routes, key=lambda route: route[1].pattern.count("(?P"))
        return self._routes[service]

    def _admin(self, request: Request) -> Response:
        what, method = request.path.removeprefix("/_sim/"), request.method
        try:
            if (what, method) == ("health", "GET"):
                return _json({"status": "ok", "now": self.cloud.now().isoformat()})
            if (what, method) == ("state", "GET"):
                with self.cloud.timeline.lock:
                    self.cloud.timeline.advance()
                    return _json(dump_state(self.cloud))
            if (what, method) == ("log", "GET"):
                return _json(self._log(request.args.get("operation")))
            if (what, method) == ("faults", "POST"):
                return _json({"struck": self.cloud.inject(parse_fault(request.get_json()))})
            if (what, method) == ("transport", "POST"):
                fault = TransportFault.parse(request.get_json())
                with self._lock:
                    self.transport.append(fault)
                return _json({})
            if (what, method) == ("denied", "POST"):
                self.cloud.denied = set(request.get_json())
                return _json({})
            if method == "DELETE" and what in ("log", "faults", "transport"):
                {
                    "log": self.cloud.log.clear,
                    "faults": self.cloud.faults.clear,
                    "transport": self.transport.clear,
                }[what]()
                return _json({})
        except (ValueError, LookupError) as error:
            raise BadRequest(str(error)) from error
        raise NotFound(f"no {method} /_sim/{what}")

    def _log(self, operation: str | None) -> list[dict[str, Any]]:
        return [
            {
                "at": entry.at.isoformat(),
                "service": entry.service,
                "operation": entry.operation,
                "params": entry.params,
                "outcome": entry.outcome,
            }
            for entry in self.cloud.log.select(operation)
        ]


def _json(value: Any) -> Response:
    return Response(json.dumps(value, default=str), mimetype="application/json")


def _aware(value: str) -> datetime:
    parsed: datetime = parse_timestamp(value)
    return parsed.astimezone(UTC)


def _plain(value: Any) -> Any:
    """moto's mappings as dicts."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value


class _Handler(WSGIRequestHandler):
    """Keeps connections open between requests and writes no access log."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_args: Any, **_kwargs: Any) -> None:
        """The request log of the cloud says more."""

    def connection_dropped(self, *_args: Any, **_kwargs: Any) -> None:
        """A client that went away, or that a fault cuts off: nothing more is sent to it."""
        self.close_connection = True


class CloudServer:
    """Serves a cloud on an address of this machine, in threads of its own."""

    def __init__(self, cloud: SimulatedCloud, host: str = "127.0.0.1", port: int = 0) -> None:
        self.app = CloudApp(cloud)
        self._server: BaseWSGIServer = make_server(
            host, port, self.app, threaded=True, request_handler=_Handler
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://{self._server.host}:{self._server.port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and close the socket."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
