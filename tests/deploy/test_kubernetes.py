"""The Helm chart: rendered by Helm's library where the extra `charts` is installed, and held to Kubernetes' schemas;
and deploy/kubernetes/plain.yaml, which is what it renders, everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sigmafarm.http.schemas import FarmShape
from sigmafarm_common.config import Config, variable
from sigmafarm_worker.service.supervisor import KILL_MARGIN_S

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
CHART, PLAIN = FOLDER / "sigmafarm", FOLDER / "plain.yaml"
#: The Kubernetes whose schemas hold, strictly: no field that it does not know.
KUBERNETES = "1.37.0"
SCALED = {
    "workers": {
        "default": {
            "models": "[models.a]\npath = '/models/a'\n",
            "modelsClaim": "checkpoints",
            "scaling": {"enabled": True, "model": "sd.15"},
        }
    },
    "api": {"ingress": {"enabled": True, "className": "nginx"}},
}
ON_A_CPU = {"workers": {"default": {"gpus": 0}}, "api": {"replicas": 1}, "networkPolicy": {"enabled": False}}

Objects = dict[tuple[str, str], dict[str, Any]]


def by_name(text: str) -> Objects:
    return {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(text) if o}


def rendered(values: dict[str, Any]) -> Objects:
    helm = pytest.importorskip("helm_python")
    files = helm.Chart.load(CHART).render(values, name="sigmafarm", namespace="farm")
    return {key: o for path, text in files.items() if path.endswith(".yaml") for key, o in by_name(text).items()}


def plain() -> Objects:
    return by_name(PLAIN.read_text())


def pod_of(objects: Objects, name: str) -> dict[str, Any]:
    return objects["Deployment", name]["spec"]["template"]["spec"]


def environment_of(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["containers"]
    return {entry["name"]: entry.get("value") for entry in container["env"]}


@pytest.mark.parametrize("values", [{}, SCALED, ON_A_CPU], ids=["as it is", "scaled", "on a CPU"])
def test_kubernetes_knows_every_field_of_what_the_chart_renders(values: dict[str, Any]) -> None:
    schemas = pytest.importorskip("kubernetes_validate")

    for (kind, _), each in rendered(values).items():
        if kind not in {"ScaledObject", "TriggerAuthentication"}:  # KEDA's own
            schemas.validate(each, KUBERNETES, strict=True)


def test_helm_finds_no_fault_with_the_chart() -> None:
    helm = pytest.importorskip("helm_python")

    assert helm.lint(CHART)["errors"] == []


def test_plain_file_is_what_the_chart_renders() -> None:
    assert rendered({}) == plain(), "render it again: docs/deploy/kubernetes.md says how"


def test_worker_pod_has_longer_to_end_than_its_jobs() -> None:
    pod = pod_of(plain(), "sigmafarm-worker-default")

    assert pod["terminationGracePeriodSeconds"] > float(environment_of(pod)["SIGMAFARM_DRAIN_S"]) + KILL_MARGIN_S
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.parametrize("name", ["sigmafarm-api", "sigmafarm-worker-default"])
def test_pods_are_nobody_and_hear_only_settings_of_the_farm(name: str) -> None:
    pod = pod_of(plain(), name)
    (container,) = pod["containers"]
    settings = {key for key in environment_of(pod) if key.startswith("SIGMAFARM_")}

    assert settings <= {variable(each) for each in Config.model_fields}
    assert pod["enableServiceLinks"] is False, "a service would set SIGMAFARM_API_PORT"
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_api_is_asked_for_its_life_and_its_readiness_apart() -> None:
    (container,) = pod_of(plain(), "sigmafarm-api")["containers"]

    asked = {kind: container[kind]["httpGet"]["path"] for kind in ("livenessProbe", "readinessProbe")}
    assert asked == {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def test_disruptions_and_rules_of_the_network_are_about_pods_that_there_are() -> None:
    objects = plain()
    pods = [o["spec"]["template"]["metadata"]["labels"] for (kind, _), o in objects.items() if kind == "Deployment"]

    for (kind, _), each in objects.items():
        spec = each.get("spec", {})
        chosen = spec.get("selector", {}).get("matchLabels") if kind == "PodDisruptionBudget" else None
        chosen = spec["podSelector"]["matchLabels"] if kind == "NetworkPolicy" else chosen
        if chosen is not None:
            assert sum(chosen.items() <= labels.items() for labels in pods) == 1, each["metadata"]["name"]


def test_scaling_asks_the_api_for_a_figure_that_it_tells() -> None:
    objects = rendered(SCALED)
    (trigger,) = objects["ScaledObject", "sigmafarm-worker-default"]["spec"]["triggers"]
    figure, model = re.split(r"(?<!\\)\.", trigger["metadata"]["valueLocation"])

    assert (figure, model) == ("worker_seconds_by_model", r"sd\.15")
    assert {figure, "worker_seconds"} <= set(FarmShape.model_fields)
    assert ("TriggerAuthentication", trigger["authenticationRef"]["name"]) in objects
    assert "replicas" not in objects["Deployment", "sigmafarm-worker-default"]["spec"], "two would steer it"
    assert not [key for key in rendered({}) if key[0] == "TriggerAuthentication"]
