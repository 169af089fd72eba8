"""Which instances have to go by what EC2's status checks and scheduled events say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from autoctl.aws.instances import InstanceStatus
from autoctl.controllers.health.status import Ailment, judge

NOW = datetime(2026, 1, 5, tzinfo=UTC)
INSTANCE, SYSTEM = Ailment("instance_status", True), Ailment("system_status", True)
EVENT = Ailment("event_status", False)


@pytest.mark.parametrize(
    ("instance", "system", "events", "expected"),
    [
        (None, None, (), None),
        (120, None, (), None),
        (121, None, (), INSTANCE),
        (None, 120, (), None),
        (None, 121, (), SYSTEM),
        (500, 500, (), INSTANCE),
        (10, None, ("instance-stop",), EVENT),
        (121, None, ("instance-stop",), INSTANCE),
        (None, None, ("instance-reboot",), EVENT),
        (None, None, ("system-reboot",), EVENT),
        (None, None, ("system-maintenance",), EVENT),
        (None, None, ("instance-retirement",), EVENT),
        (None, None, ("something-new",), None),
    ],
)
def test_verdicts(
    instance: int | None, system: int | None, events: tuple[str, ...], expected: Ailment | None
) -> None:
    """Impairments by the seconds they have lasted."""

    def since(seconds: int | None) -> datetime | None:
        return None if seconds is None else NOW - timedelta(seconds=seconds)

    assert judge(InstanceStatus("i-1", since(instance), since(system), events), NOW) == expected
