"""What the chart `autoctl` renders."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from charts_rendering import CHARTS, Render, one

from autoctl.operator.preflight import REQUIRED_RESOURCES
from autoctl.operator.settings import describe_settings, load_settings

MINIMAL = {"settings": {"clusterName": "prod"}}
ROLE = "arn:aws:iam::123456789012:role/autoctl"


def values(**settings: Any) -> dict[str, Any]:
    return {"settings": {"clusterName": "prod"} | settings}


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = one(objects, "Deployment")["spec"]["template"]["spec"][
        "containers"
    ]
    assert len(containers) == 1
    return containers[0]


def settings_variables(objects: list[dict[str, Any]]) -> dict[str, str]:
    return {
        variable["name"]: variable["value"]
        for variable in container(objects)["env"]
        if variable["name"].startswith("AUTOCTL_")
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "at '/settings/clusterName': minLength"),
        (values(clusterNmae="x"), "'clusterNmae' not allowed"),
        (values(logLevel="loud"), "at '/settings/logLevel'"),
        (values(batchIdleDuration=10), "at '/settings/batchIdleDuration'"),
        (values(savingsThreshold=2), "at '/settings/savingsThreshold'"),
        (values(metricsPort=70000), "at '/settings/metricsPort'"),
        (MINIMAL | {"replicas": 0}, "at '/replicas': minimum"),
        (MINIMAL | {"replica": 2}, "'replica' not allowed"),
        (MINIMAL | {"image": {"repository": "x", "digest": "latest"}}, "at '/image/digest'"),
        (MINIMAL | {"serviceAccount": {"roleARN": "autoctl"}}, "at '/serviceAccount/roleARN'"),
        (MINIMAL | {"networkPolicy": {"apiPorts": []}}, "at '/networkPolicy/apiPorts': minItems"),
        (
            MINIMAL | {"serviceAccount": {"create": False}},
            "serviceAccount.name is required when serviceAccount.create is false",
        ),
    ],
)
def test_wrong_values_are_refused_by_name(
    render: Render, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(RuntimeError) as refusal:
        render("autoctl", wrong)
    assert message in str(refusal.value)


def test_every_setting_reaches_the_operator(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {
        "cluster_name": "prod",
        "cluster_endpoint": "https://example.com",
        "region": "eu-west-1",
        "builtin_node_pools": ["system", "general-purpose"],
        "node_role": "node",
        "interruption_queue": "queue",
        "disable_dry_run": True,
        "fleets_per_minute": 90,
        "registry_mirrors": ["docker.io=https://a", "docker.io=https://b"],
        "compute_type_label": False,
        "batch_idle_duration": "1500ms",
        "batch_max_duration": "1m30s",
        "preference_policy": "Ignore",
        "min_values_policy": "BestEffort",
        "solver_budget": 123_456_789,
        "max_pod_share": 0.75,
        "savings_threshold": 0.125,
        "node_repair": False,
        "node_repair_threshold": 0.5,
        "initialization_timeout": "20m",
        "leader_elect": False,
        "leader_election_name": "other",
        "leader_election_namespace": "elsewhere",
        "lease_duration": "30s",
        "renew_deadline": "20s",
        "retry_period": "3s",
        "kube_client_qps": 12.5,
        "kube_client_burst": 20_000_000,
        "metrics_port": 9090,
        "health_port": 9091,
        "bind_address": "127.0.0.1",
        "metrics_detail": "pod",
        "log_level": "debug",
        "log_format": "console",
        "event_component": "me",
        "stop_grace": "5s",
    }
    described = {setting.field: setting for setting in describe_settings()}
    assert set(told) == set(described), "a setting is not tried here"
    objects = render(
        "autoctl",
        {
            "settings": {
                described[field].helm.removeprefix("settings."): value
                for field, value in told.items()
            }
        },
    )
    variables = settings_variables(objects)
    assert set(variables) == {setting.variable for setting in described.values()}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_settings({}) == load_settings(told)


def test_settings_that_are_null_are_left_to_the_operator(render: Render) -> None:
    assert "AUTOCTL_METRICS_PORT" not in settings_variables(
        render("autoctl", values(metricsPort=None))
    )


def test_ports_follow_the_settings(render: Render) -> None:
    objects = render("autoctl", values(metricsPort=9090, healthPort=9091))
    operator = container(objects)
    ports = {port["name"]: port["containerPort"] for port in operator["ports"]}
    assert ports == {"metrics": 9090, "health": 9091}
    assert operator["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert operator["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
    assert one(objects, "Service")["spec"]["ports"][0]["port"] == 9090
    ingress = one(objects, "NetworkPolicy")["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in ingress] == ["metrics", "health"]


def test_everything_selects_the_operators_pods(render: Render) -> None:
    objects = render("autoctl", MINIMAL | {"podLabels": {"team": "infra"}})
    deployment = one(objects, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    spread = pod["topologySpreadConstraints"][0]
    apart = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    selectors = [
        deployment["selector"],
        one(objects, "PodDisruptionBudget")["spec"]["selector"],
        one(objects, "NetworkPolicy")["spec"]["podSelector"],
        {"matchLabels": one(objects, "Service")["spec"]["selector"]},
        spread["labelSelector"],
        apart["labelSelector"],
    ]
    for selector in selectors:
        assert selector == {
            "matchLabels": {
                "app.kubernetes.io/name": "autoctl",
                "app.kubernetes.io/instance": "release",
            }
        }
        assert selector["matchLabels"].items() <= labels.items()
    assert labels["team"] == "infra"
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"
    assert apart["topologyKey"] == "kubernetes.io/hostname"


def test_a_selector_of_ones_own_is_kept(render: Render) -> None:
    own = {"matchLabels": {"a": "b"}}
    objects = render(
        "autoctl",
        MINIMAL
        | {
            "topologySpreadConstraints": [
                {
                    "maxSkew": 2,
                    "topologyKey": "x",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": own,
                }
            ]
        },
    )
    pod = one(objects, "Deployment")["spec"]["template"]["spec"]
    assert [c["labelSelector"] for c in pod["topologySpreadConstraints"]] == [own]


def test_service_account_of_irsa_and_of_pod_identity(render: Render) -> None:
    irsa = one(
        render(
            "autoctl", MINIMAL | {"serviceAccount": {"roleARN": ROLE, "annotations": {"a": "b"}}}
        ),
        "ServiceAccount",
    )
    assert irsa["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": ROLE, "a": "b"}
    assert "annotations" not in one(render("autoctl", MINIMAL), "ServiceAccount")["metadata"]


def test_a_service_account_made_elsewhere_gets_the_rights(render: Render) -> None:
    objects = render("autoctl", MINIMAL | {"serviceAccount": {"create": False, "name": "mine"}})
    assert not [o for o in objects if o["kind"] == "ServiceAccount"]
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        assert one(objects, kind)["subjects"] == [
            {"kind": "ServiceAccount", "name": "mine", "namespace": "ns"}
        ]


def test_the_role_for_the_lease_follows_the_settings(render: Render) -> None:
    objects = render("autoctl", values(leaderElectionName="lead", leaderElectionNamespace="locks"))
    for kind in ("Role", "RoleBinding"):
        assert one(objects, kind)["metadata"]["namespace"] == "locks"
    named = [rule for rule in one(objects, "Role")["rules"] if "resourceNames" in rule]
    assert [rule["resourceNames"] for rule in named] == [["lead"]]


def test_of_definitions_only_those_looked_for_may_be_read(render: Render) -> None:
    rules = [rule for role in render("autoctl", MINIMAL) for rule in role.get("rules", ())]
    (found,) = [rule for rule in rules if "customresourcedefinitions" in rule["resources"]]
    assert found["resourceNames"] == [str(resource) for resource in REQUIRED_RESOURCES]
    assert found["verbs"] == ["get"]


def test_no_rule_has_a_wildcard_or_reads_secrets(render: Render) -> None:
    for role in render("autoctl", MINIMAL):
        for rule in role.get("rules", ()):
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in words
            assert "secrets" not in words


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "autoctl/autoctl:0.1.0"),
        ({"repository": "r/i", "tag": "t"}, "r/i:t"),
        (
            {"repository": "r/i", "tag": "t", "digest": "sha256:" + "0" * 64},
            "r/i@sha256:" + "0" * 64,
        ),
    ],
)
def test_image_reference(render: Render, image: dict[str, str], reference: str) -> None:
    assert container(render("autoctl", MINIMAL | {"image": image}))["image"] == reference


def test_service_monitor_only_where_its_kind_is_known(render: Render) -> None:
    wanted = MINIMAL | {"serviceMonitor": {"enabled": True}}
    known = ("--api-versions", "monitoring.coreos.com/v1")
    assert one(render("autoctl", wanted, *known), "ServiceMonitor")
    for objects in (render("autoctl", wanted), render("autoctl", MINIMAL, *known)):
        assert "ServiceMonitor" not in [o["kind"] for o in objects]


@pytest.mark.parametrize(
    ("off", "kinds"),
    [
        ({"podDisruptionBudget": {"enabled": False}}, {"PodDisruptionBudget"}),
        ({"networkPolicy": {"enabled": False}}, {"NetworkPolicy"}),
        (
            {"rbac": {"create": False}},
            {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
        ),
    ],
)
def test_parts_can_be_left_out(render: Render, off: dict[str, Any], kinds: set[str]) -> None:
    everything = {o["kind"] for o in render("autoctl", MINIMAL)}
    assert kinds <= everything
    assert {o["kind"] for o in render("autoctl", MINIMAL | off)} == everything - kinds


def test_additional_labels_and_annotations_are_on_every_object(render: Render) -> None:
    more = {"additionalLabels": {"l": "1"}, "additionalAnnotations": {"a": "2"}}
    for rendered in render("autoctl", MINIMAL | more):
        assert rendered["metadata"]["labels"]["l"] == "1", rendered["kind"]
        assert rendered["metadata"]["annotations"]["a"] == "2", rendered["kind"]


def test_generated_parts_are_those_of_the_settings() -> None:
    generator = load_generator(CHARTS.parent / "hack" / "charts.py")
    assert (CHARTS / "autoctl/values.schema.json").read_text() == generator.schema_text()
    assert (CHARTS / "autoctl/README.md").read_text() == generator.readme_text()


def load_generator(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("chart_generator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
