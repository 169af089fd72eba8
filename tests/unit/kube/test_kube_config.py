"""Where the cluster is and who is asking, in all the ways that kubectl understands."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoctl.kube.config import load_config, load_kubeconfig
from autoctl.kube.credentials import ConfigError, ExecCredentials, TokenFile
from autoctl.ports.clock import FixedClock

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def write(path: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://api:6443/"}}],
        "users": [{"name": "u", "user": {"token": "t0k"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content | changes))
    return path


def user(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "u", "user": fields}]


def cluster(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "c", "cluster": {"server": "https://api", **fields}}]


async def header(path: Path) -> str | None:
    return (await load_kubeconfig([path], clock=FixedClock(NOW)).headers()).get("Authorization")


async def test_a_token(tmp_path: Path) -> None:
    config = load_kubeconfig([write(tmp_path / "a")])
    assert config.server == "https://api:6443"
    assert config.namespace == "n"
    assert await config.headers() == {"Authorization": "Bearer t0k"}
    assert not await config.renew(), "a token in a file of settings cannot be renewed"


async def test_basic_and_no_credentials(tmp_path: Path) -> None:
    basic = write(tmp_path / "a", users=user(username="me", password="pw"))
    assert await header(basic) == "Basic " + base64.b64encode(b"me:pw").decode()
    assert await header(write(tmp_path / "b", users=user())) is None


async def test_authorities_inline_and_by_relative_path(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("PEM")
    by_path = load_kubeconfig(
        [write(tmp_path / "a", clusters=cluster(**{"certificate-authority": "ca.crt"}))]
    )
    data = base64.b64encode(b"PEM").decode()
    inline = load_kubeconfig(
        [write(tmp_path / "b", clusters=cluster(**{"certificate-authority-data": data}))]
    )
    assert by_path.ca == inline.ca == "PEM"


def test_insecure_and_server_name(tmp_path: Path) -> None:
    options = {"insecure-skip-tls-verify": True, "tls-server-name": "k", "proxy-url": "http://p"}
    config = load_kubeconfig([write(tmp_path / "a", clusters=cluster(**options))])
    assert (config.verify, config.server_name, config.proxy) == (False, "k", "http://p")


def test_files_are_merged_and_the_first_to_name_a_thing_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "a", users=[], contexts=[])
    second = write(
        tmp_path / "b",
        clusters=[{"name": "c", "cluster": {"server": "https://loser"}}],
        **{"current-context": "other"},
    )
    config = load_config(f"{first}:{tmp_path / 'absent'}:{second}", environ={})
    assert config.server == "https://api:6443"
    assert config.namespace == "n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"current-context": ""}, "no current-context"),
        ({"current-context": "y"}, r"no context named 'y' \(there are: x\)"),
        ({"clusters": []}, r"no cluster named 'c' \(there are: none\)"),
        ({"users": []}, "no user named 'u'"),
        ({"clusters": cluster(server="api:443")}, r"cluster\.server must be an http"),
        ({"clusters": cluster(**{"certificate-authority-data": "%"})}, "-data is not base64"),
        ({"clusters": cluster(**{"certificate-authority": "gone"})}, "gone: No such file"),
        ({"users": user(**{"client-certificate-data": "UEVN"})}, "must come together"),
        ({"users": user(exec={"args": []})}, r"user\.exec needs a command"),
        ({"users": user(**{"auth-provider": {"name": "gcp"}})}, "auth-provider is gone"),
        ({"users": [{"user": {}}]}, "every item of users needs a name"),
        ({"users": 7}, "users: expected a list, got 7"),
        ({"current-context": ["dev"]}, "current-context: expected a name, got"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "config", **changes)
    with pytest.raises(ConfigError, match=message) as caught:
        load_kubeconfig([path])
    assert str(path) in str(caught.value)


def test_files_that_are_no_kubeconfigs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no kubeconfig"):
        load_kubeconfig([tmp_path / "absent"])
    (tmp_path / "list").write_text("- 1")
    with pytest.raises(ConfigError, match="expected a mapping"):
        load_kubeconfig([tmp_path / "list"])
    (tmp_path / "torn").write_text("a: [")
    with pytest.raises(ConfigError, match=r"torn is not YAML: line 1: [^\n]*$"):
        load_kubeconfig([tmp_path / "torn"])
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="bytes is not a kubeconfig: expected UTF-8 text"):
        load_kubeconfig([tmp_path / "bytes"])
    (tmp_path / "deep").write_text("[" * 5000 + "]" * 5000)
    with pytest.raises(ConfigError, match="deep is not a kubeconfig: nested too deeply"):
        load_kubeconfig([tmp_path / "deep"])


def test_a_home_that_may_not_be_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "exists", refused)
    with pytest.raises(ConfigError, match=r"cannot read .*\.kube/config: Permission denied"):
        load_config(environ={})


def test_a_certificate_that_is_none_is_told_when_connecting(tmp_path: Path) -> None:
    data = base64.b64encode(b"not a certificate").decode()
    config = load_kubeconfig(
        [write(tmp_path / "a", clusters=cluster(**{"certificate-authority-data": data}))]
    )
    with pytest.raises(ConfigError, match="bad certificate"):
        config.ssl_context()


async def test_the_service_account_of_a_pod(tmp_path: Path) -> None:
    for name, text in {"token": "sa-1\n", "ca.crt": "PEM", "namespace": "kube-system\n"}.items():
        (tmp_path / name).write_text(text)
    env = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    config = load_config(environ=env, service_account=tmp_path)
    assert config.server == "https://[fd00::1]:6443"
    assert config.namespace == "kube-system"
    assert await config.headers() == {"Authorization": "Bearer sa-1"}


@pytest.mark.looptime
async def test_a_mounted_token_is_read_anew_in_time_and_after_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = TokenFile(path)
    assert await token.authorization() == "Bearer one"
    path.write_text("two")
    assert await token.authorization() == "Bearer one"
    await asyncio.sleep(61)
    assert await token.authorization() == "Bearer two"
    assert not await token.renew()
    path.write_text("three")
    assert await token.renew()
    assert await token.authorization() == "Bearer three"
    path.write_text(" ")
    with pytest.raises(ConfigError, match="is empty"):
        await token.renew()


def plugin(path: Path, script: str) -> str:
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


class TestExec:
    """Credential plugins, such as `aws eks get-token`."""

    async def test_the_answer_is_kept_until_it_expires(self, tmp_path: Path) -> None:
        clock = FixedClock(NOW)
        expires = (NOW + timedelta(minutes=14)).isoformat()
        command = plugin(
            tmp_path / "get-token",
            f'echo x >> "{tmp_path}/runs"\n'
            'case "$KUBERNETES_EXEC_INFO" in *ExecCredential*) ;; *) exit 3;; esac\n'
            'STATUS="{\\"token\\": \\"$1-$WHO\\", '
            f'\\"expirationTimestamp\\": \\"{expires}\\"}}"\n'
            'echo "{\\"status\\": $STATUS}"',
        )
        credentials = ExecCredentials(command, ["t"], {"WHO": "me"}, "v1", clock)
        for _ in range(2):
            assert await credentials.authorization() == "Bearer t-me"
        assert (tmp_path / "runs").read_text() == "x\n"
        clock.instant = NOW + timedelta(minutes=13, seconds=30)
        await credentials.authorization()
        assert (tmp_path / "runs").read_text() == "x\nx\n"
        assert not await credentials.renew(), "the same token again is no reason to try again"

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            ("echo broken >&2; exit 4", "exit code 4: broken"),
            ("echo hello", "did not print an ExecCredential"),
            ("echo '[]'", "did not print an ExecCredential"),
            (f"echo '{json.dumps({'status': {}})}'", "gave no token"),
        ],
    )
    async def test_failures_are_told(self, tmp_path: Path, script: str, message: str) -> None:
        command = plugin(tmp_path / "get-token", script)
        credentials = ExecCredentials(command, [], {}, "v1", FixedClock(NOW))
        with pytest.raises(ConfigError, match=message):
            await credentials.authorization()

    async def test_a_missing_plugin_comes_with_the_hint(self) -> None:
        credentials = ExecCredentials("/no/such", [], {}, "v1", FixedClock(NOW), "install it")
        with pytest.raises(ConfigError, match=r"No such file or directory\ninstall it"):
            await credentials.authorization()
