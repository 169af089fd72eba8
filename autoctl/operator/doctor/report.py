"""What the doctor found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

SCHEMA: Final = "autoctl.doctor/v1"


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer: which check, about what, and how to mend it."""

    check: str
    level: Level
    subject: str
    message: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        return {
            "check": self.check,
            "level": self.level.value,
            "subject": self.subject,
            "message": self.message,
            "fix": self.fix,
        }


@dataclass(frozen=True)
class Report:
    """All findings, in the order of the checks."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether the operator can work; warnings do not keep it from that."""
        return all(f.level is not Level.ERROR for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "healthy": self.healthy,
            "findings": [f.to_json() for f in self.findings],
        }


def ok(check: str, subject: str, message: str) -> Finding:
    return Finding(check, Level.OK, subject, message)


def warning(check: str, subject: str, message: str, fix: str) -> Finding:
    return Finding(check, Level.WARNING, subject, message, fix)


def error(check: str, subject: str, message: str, fix: str) -> Finding:
    return Finding(check, Level.ERROR, subject, message, fix)


def or_ok(found: Iterable[Finding], check: str, subject: str, message: str) -> list[Finding]:
    """The findings, or one that all is well."""
    return list(found) or [ok(check, subject, message)]
