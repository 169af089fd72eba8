"""Settings: where they come from, what is refused and how the refusal reads."""

from __future__ import annotations

import pytest

from autoctl.operator.settings import (
    Settings,
    SettingsError,
    describe_settings,
    load_settings,
    settings_table,
)
from autoctl.scheduling.problem import PreferencePolicy, SolverOptions


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in describe_settings():
        monkeypatch.delenv(setting.variable, raising=False)


def test_defaults() -> None:
    settings = load_settings({"cluster_name": "c"})
    assert (settings.batch_idle_duration, settings.batch_max_duration) == (1, 10)
    assert (settings.kube_client_qps, settings.kube_client_burst) == (200, 300)
    assert (settings.metrics_port, settings.health_port) == (8080, 8081)
    assert (settings.lease_duration, settings.renew_deadline, settings.retry_period) == (12, 8, 2)


def test_flags_win_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCTL_CLUSTER_NAME", "from-env")
    monkeypatch.setenv("AUTOCTL_BATCH_MAX_DURATION", "1m30s")
    monkeypatch.setenv("AUTOCTL_NODE_ROLE", "role")
    monkeypatch.setenv("AUTOCTL_BUILTIN_NODE_POOLS", "system, general-purpose")
    monkeypatch.setenv("AUTOCTL_PREFERENCE_POLICY", "Ignore")
    monkeypatch.setenv("AUTOCTL_REGION", "")
    settings = load_settings({"cluster_name": "from-flag"})
    assert settings.cluster_name == "from-flag"
    assert settings.batch_max_duration == 90
    assert settings.builtin_node_pools == ("system", "general-purpose")
    assert settings.preference_policy is PreferencePolicy.IGNORE
    assert type(settings) is Settings


def test_lists_are_read_as_helm_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCTL_BUILTIN_NODE_POOLS", '["system"]')
    settings = load_settings({"cluster_name": "c", "node_role": "r"})
    assert settings.builtin_node_pools == ("system",)


def test_the_model_alone_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCTL_SOLVER_BUDGET", "1")
    assert Settings(cluster_name="c").solver_budget == SolverOptions().budget
    assert Settings(cluster_name="c").max_pod_share == SolverOptions().max_pod_share


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ({}, {}, r"--cluster-name \(AUTOCTL_CLUSTER_NAME\) is required"),
        ({"batch_max_duration": "10"}, {}, r"--batch-max-duration: .*such as 10s.*got '10'"),
        ({"batch_max_duration": "-3s"}, {}, r"--batch-max-duration: .*, got '-3s'"),
        ({}, {"METRICS_PORT": "tcp://1.2.3.4:8080"}, r"AUTOCTL_METRICS_PORT: .*got 'tcp://"),
        ({}, {"METRICS_PORT": "70000"}, r"AUTOCTL_METRICS_PORT: .*65535, got '70000'"),
        ({"log_level": "loud"}, {}, r"--log-level: .*'debug', 'info'.*got 'loud'"),
        ({}, {"PREFERENCE_POLICY": "Maybe"}, r"AUTOCTL_PREFERENCE_POLICY: .*got 'Maybe'"),
        ({}, {"NODE_REPAIR": "perhaps"}, r"AUTOCTL_NODE_REPAIR: .*boolean.*got 'perhaps'"),
        ({"solver_budget": -1}, {}, r"--solver-budget: .*got -1"),
        ({"max_pod_share": 0}, {}, r"--max-pod-share: .*got 0"),
        ({"builtin_node_pools": "gpu"}, {}, r"--builtin-node-pools: .*'gpu'"),
        ({"builtin_node_pools": "system"}, {}, r"builtin-node-pools need node-role"),
        ({"batch_idle_duration": "20s"}, {}, r"batch-idle-duration must not be more"),
        ({"initialization_timeout": "-1s"}, {}, r"--initialization-timeout: .*got '-1s'"),
        ({"initialization_timeout": "soon"}, {}, r"--initialization-timeout: .*such as 10s"),
        ({"node_repair_threshold": 1.5}, {}, r"--node-repair-threshold: .*got 1.5"),
        ({"lease_duration": "5s"}, {}, r"lease-duration > renew-deadline.*5s, 8s, 2s"),
        ({"lease_duration": "15500ms"}, {}, r"lease-duration must be whole seconds"),
        ({"health_port": 8080}, {}, r"must differ"),
    ],
)
def test_a_bad_value_is_named_with_its_source(
    monkeypatch: pytest.MonkeyPatch,
    flags: dict[str, object],
    environment: dict[str, str],
    message: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"AUTOCTL_{name}", value)
    if "required" not in message:
        flags = {"cluster_name": "c"} | flags
    with pytest.raises(SettingsError, match=message):
        load_settings(flags)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"log_level": "loud", "metrics_port": "x"})
    assert len(str(caught.value).splitlines()) == 3


def test_every_setting_is_described_and_in_the_table() -> None:
    table = settings_table()
    for setting in describe_settings():
        assert setting.description.endswith("."), setting.field
        assert f"| `{setting.flag}` | `{setting.variable}` | `{setting.helm}` |" in table
    by_name = {setting.field: setting for setting in describe_settings()}
    assert by_name["batch_idle_duration"].helm == "settings.batchIdleDuration"
    assert by_name["batch_idle_duration"].kind == "duration"
    assert by_name["batch_idle_duration"].default == "1s"
    assert by_name["initialization_timeout"].default == "0s"
    assert by_name["builtin_node_pools"].choices == ("general-purpose", "system")
    assert by_name["node_repair"].kind == "boolean"
