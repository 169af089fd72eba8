"""The command itself: output and exit codes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from autoctl.cli.main import cli


def test_without_credentials_it_says_so_and_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    arguments = ["doctor", "--cluster-name", "c", "--region", "us-west-2", "--no-kubernetes"]
    result = CliRunner().invoke(cli, [*arguments, "-o", "json"])
    assert result.exit_code == 1, result.output
    report = json.loads(result.stdout)
    (finding,) = report["findings"]
    assert (finding["check"], finding["level"]) == ("credentials", "error")
    text = CliRunner().invoke(cli, arguments)
    assert "FAIL  credentials" in text.output
    assert "1 to fix." in text.output


def test_a_kubeconfig_that_is_missing_ends_with_2() -> None:
    result = CliRunner().invoke(
        cli, ["doctor", "--cluster-name", "c", "--kubeconfig", "/nonexistent"]
    )
    assert result.exit_code == 2
    assert "/nonexistent" in result.output
