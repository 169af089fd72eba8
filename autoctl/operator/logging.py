"""Logs: one JSON object a line on stderr, or coloured lines for people.

Everything ends in the same handler: structlog's own events, and what kopf, botocore and aiohttp say
through the standard library.
"""

from __future__ import annotations

import logging
import re
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


_PLEA = re.compile(r"Request attempt #[1-3]\b.* failed; will retry: .* -> APITooManyRequestsError")


class _WithoutPleas(logging.Filter):
    """Leaves out what kopf calls an error: that the API server asks it to come again later.

    It does for definitions that are new to it, and kopf comes again. One that is asked for longer,
    where our own client would give up too, is told.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.name.startswith("kopf.") and _PLEA.match(record.getMessage()))


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
    if level != "debug":
        handler.addFilter(_WithoutPleas())
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
