"""What reaches the operator's log of what libraries say."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from autoctl.operator.logging import configure_logging

PLEA = (
    "Request attempt #{} failed; will retry: GET https://s/apis/karpenter.sh/v1/nodepools?watch=true"
    " -> APITooManyRequestsError('storage is (re)initializing', {{'code': 429}}, status=429)"
)
REFUSAL = "Request attempt #1 failed; will retry: GET https://s/x -> APIForbiddenError('no')"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("text", "level", "told"),
    [
        (PLEA.format(1), "info", False),
        (PLEA.format(3), "info", False),
        (PLEA.format(4), "info", True),
        (PLEA.format(12), "info", True),
        (PLEA.format(1), "debug", True),
        (REFUSAL, "info", True),
    ],
)
def test_a_plea_for_patience_is_no_error(
    text: str, level: str, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(level, "json")
    logging.getLogger("kopf._cogs.clients.watching").error(text)
    assert ("will retry" in capsys.readouterr().err) is told


def test_others_who_say_the_same_are_heard(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    logging.getLogger("autoctl.kube").error(PLEA.format(1))
    assert "will retry" in capsys.readouterr().err
