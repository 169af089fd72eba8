"""Logs: one JSON object a line on stderr, or coloured lines for people.

Everything ends in the same handler: structlog's own events, and what kopf, botocore and aiohttp say
through the standard library.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

_QUIET = {
    "botocore": logging.WARNING,
    "urllib3": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.WARNING,
    "kopf": logging.WARNING,
    # Says at each start that signals are not its business; they are the process's here.
    "kopf._core.reactor.running": logging.ERROR,
}
"""Libraries whose routine is nobody's news; `debug` lets them speak."""


def configure_logging(level: str = "info", style: Literal["json", "console"] = "console") -> None:
    """Send all logs of this process to stderr; replaces what was configured before."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[structlog.types.Processor]
    if style == "json":
        last = [
            structlog.processors.ExceptionRenderer(
                # Without the values of variables: they are long, and some are secrets.
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.EventRenamer("msg"),
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _QUIET.items():
        quiet = logging.getLogger(name)
        quiet.handlers.clear()
        quiet.propagate = True
        quiet.setLevel(logging.DEBUG if level == "debug" else least)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
