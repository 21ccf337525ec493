"""The ways in from outside: every public route of the server leads there, metrics and probes do not, and streams pass."""

from __future__ import annotations

from typing import Any

import pytest

from convnet_kafka.server.app import build
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.settings import KafkaSettings, ServerSettings, TopicSettings
from support.charts import Object
from support.convnet_chart import CHART, CONTROLLER, EVERYTHING, TRIAL, over

INGRESS = over(TRIAL, ingress={"enabled": True}, networkPolicy={"ingressFrom": CONTROLLER})
PRIVATE = {"/metrics", "/healthz", "/readyz"}


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Paths of the server that runs, as templates."""
    key = tmp_path_factory.mktemp("keys") / "key"
    key.write_text("k" * 48)
    app = build(ServerConfig(KafkaSettings(), TopicSettings(), ServerSettings(signing_key_files=[key])))
    return {route.resource.canonical for route in app.router.routes() if route.resource is not None}


def leads(paths: list[tuple[str, str]], path: str) -> bool:
    """Whether a request for a path is let through."""
    return any(path == each if kind == "Exact" else path == each or path.startswith(each.rstrip("/") + "/") for kind, each in paths)


def of_route(route: Object) -> list[tuple[str, str]]:
    return [(each["path"]["type"], each["path"]["value"]) for each in route["spec"]["rules"][0]["matches"]]


def of_ingress(ingress: Object) -> list[tuple[str, str]]:
    return [(each["pathType"], each["path"]) for each in ingress["spec"]["rules"][0]["http"]["paths"]]


def test_every_public_path_of_the_server_leads_to_it_and_no_other(routes: set[str]) -> None:
    rendered = CHART.render(EVERYTHING)
    assert routes > PRIVATE
    for paths in (of_route(rendered.one("HTTPRoute")), of_ingress(rendered.one("Ingress"))):
        assert {path for path in routes if leads(paths, path)} == routes - PRIVATE


def test_without_the_page_only_the_api_is_public(routes: set[str]) -> None:
    paths = of_ingress(CHART.render(over(INGRESS, public={"page": False})).one("Ingress"))
    assert {path for path in routes if leads(paths, path)} == {path for path in routes if path.startswith(("/v1/", "/problems/"))}


def test_both_lead_to_the_service() -> None:
    rendered = CHART.render(over(EVERYTHING, server__service={"port": 8000}))
    service = rendered.one("Service", "convnet-server")
    assert service["spec"]["ports"] == [{"name": "http", "port": 8000, "targetPort": "http", "appProtocol": "http"}]
    assert rendered.one("HTTPRoute")["spec"]["rules"][0]["backendRefs"] == [{"name": "convnet-server", "port": 8000}]
    backends = {str(each["backend"]) for each in rendered.one("Ingress")["spec"]["rules"][0]["http"]["paths"]}
    assert backends == {str({"service": {"name": "convnet-server", "port": {"name": "http"}}})}


def test_a_route_belongs_to_its_gateways_and_answers_to_its_names() -> None:
    gateway = {"enabled": True, "parentRefs": [{"name": "shared", "namespace": "gateways"}], "hostnames": ["a.example.org"]}
    spec = CHART.render(over(EVERYTHING, gateway=gateway | {"requestTimeout": "0s"})).one("HTTPRoute")["spec"]
    assert spec["parentRefs"] == gateway["parentRefs"]
    assert spec["hostnames"] == gateway["hostnames"]
    assert spec["rules"][0]["timeouts"] == {"request": "0s"}
    assert "timeouts" not in CHART.render(EVERYTHING).one("HTTPRoute")["spec"]["rules"][0]


@pytest.mark.parametrize(
    ("ingress", "annotations"),
    [
        ({"controller": "other"}, None),
        ({"controller": "traefik"}, {"traefik.ingress.kubernetes.io/router.entrypoints": "web"}),
        ({"controller": "traefik", "tlsSecret": "tls"}, {"traefik.ingress.kubernetes.io/router.entrypoints": "websecure"}),
        (
            {"controller": "f5-nginx", "annotations": {"nginx.org/client-max-body-size": "2g", "mine": "too"}},
            {
                "nginx.org/client-max-body-size": "2g",
                "nginx.org/proxy-buffering": "False",
                "nginx.org/proxy-read-timeout": "3600s",
                "nginx.org/proxy-send-timeout": "300s",
                "mine": "too",
            },
        ),
    ],
)
def test_an_ingress_tells_its_controller_to_let_streams_pass(ingress: dict[str, Any], annotations: dict[str, str] | None) -> None:
    found = CHART.render(over(INGRESS, ingress={"enabled": True, **ingress})).one("Ingress")
    assert found["metadata"].get("annotations") == annotations


def test_an_ingress_has_its_class_host_and_certificate() -> None:
    spec = CHART.render(EVERYTHING).one("Ingress")["spec"]
    assert spec["ingressClassName"] == "traefik"
    assert spec["tls"] == [{"secretName": "vision-tls", "hosts": ["vision.example.org"]}]
    assert spec["rules"][0]["host"] == "vision.example.org"
    bare = CHART.render(INGRESS).one("Ingress")["spec"]
    assert "tls" not in bare
    assert "host" not in bare["rules"][0]
    assert "ingressClassName" not in bare


def test_nothing_is_public_unless_you_say_so() -> None:
    rendered = CHART.render(TRIAL)
    assert not {"Ingress", "HTTPRoute"} & rendered.kinds()
    assert {each["spec"].get("type", "ClusterIP") for each in rendered.all("Service")} == {"ClusterIP"}
