"""Who may talk to whom, asked of the rendered policies as a network would: nobody, but what is needed."""

from __future__ import annotations

from typing import Any

import pytest

from support.charts import Object, Rendered
from support.convnet_chart import CHART, CONTROLLER, EVERYTHING, EXTERNAL, STRIMZI, TRIAL, over

HTTP, HEALTH, KAFKA, DNS = "http", "health", "kafka", 53
NUMBERS = {8080: HTTP, 8081: HEALTH, 9092: KAFKA}


def own(component: str) -> dict[str, Any]:
    """A pod of the release."""
    labels = {"app.kubernetes.io/name": "convnet-kafka", "app.kubernetes.io/instance": "convnet", "app.kubernetes.io/component": component}
    return {"namespace": "vision", "labels": labels}


STRANGER = {"namespace": "vision", "labels": {"app": "stranger"}}
OTHER_RELEASE = {"namespace": "vision", "labels": own("client")["labels"] | {"app.kubernetes.io/instance": "other"}}
PROMETHEUS = {"namespace": "monitoring", "labels": {"app.kubernetes.io/name": "prometheus"}}
TRAEFIK = {"namespace": "traefik", "labels": {}}
KEDA = {"namespace": "keda", "labels": {}}
DNS_POD = {"namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
STRIMZI_BROKER = {"namespace": "vision", "labels": {"strimzi.io/cluster": "main", "strimzi.io/name": "main-kafka"}}
OUTSIDE = {"namespace": None, "labels": {}}


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    among = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in among)
    return wanted.items() <= labels.items() and all(labels.get(each["key"]) in each["values"] for each in among)


def _is(peer: Object, pod: dict[str, Any]) -> bool:
    if "ipBlock" in peer:
        return pod["namespace"] is None
    namespace = peer.get("namespaceSelector")
    there = (
        _selects(namespace, {"kubernetes.io/metadata.name": pod["namespace"] or ""})
        if namespace is not None
        else pod["namespace"] == "vision"
    )
    return there and _selects(peer.get("podSelector", {}), pod["labels"])


def allowed(rendered: Rendered, source: dict[str, Any], target: dict[str, Any], port: int | str) -> bool:
    """What the policies say of a connection: whoever is selected by a policy may do only what one of them lets through."""
    for kind, side, other, key in (("Egress", source, target, "to"), ("Ingress", target, source, "from")):
        policies = [
            each["spec"]
            for each in rendered.all("NetworkPolicy")
            if side["namespace"] == "vision"
            and kind in each["spec"]["policyTypes"]
            and _selects(each["spec"]["podSelector"], side["labels"])
        ]
        rules = [rule for policy in policies for rule in policy.get(kind.lower(), [])]
        if policies and not any(
            (not rule.get("ports") or any(NUMBERS.get(each["port"], each["port"]) == port for each in rule["ports"]))
            and (key not in rule or any(_is(peer, other) for peer in rule[key]))
            for rule in rules
        ):
            return False
    return True


@pytest.fixture(scope="module")
def trial() -> Rendered:
    return CHART.render(over(TRIAL, monitoring__podMonitor={"enabled": True}, networkPolicy={"ingressFrom": CONTROLLER}))


NEEDED = [
    (own("client"), own("server"), HTTP),
    (own("server"), own("kafka"), KAFKA),
    (own("classifier"), own("kafka"), KAFKA),
    (own("tools"), own("kafka"), KAFKA),
    (own("tools"), own("server"), HTTP),
    (own("tools"), own("classifier"), HEALTH),
    (own("server"), DNS_POD, DNS),
    (own("classifier"), DNS_POD, DNS),
    (own("client"), DNS_POD, DNS),
    (own("tools"), DNS_POD, DNS),
    (TRAEFIK, own("server"), HTTP),
    (PROMETHEUS, own("server"), HTTP),
    (PROMETHEUS, own("classifier"), HEALTH),
]
REFUSED = [
    *((STRANGER, own(part), port) for part, port in (("server", HTTP), ("classifier", HEALTH), ("kafka", KAFKA), ("trainer", 80))),
    *((OTHER_RELEASE, own(part), port) for part, port in (("server", HTTP), ("kafka", KAFKA))),
    (own("client"), own("kafka"), KAFKA),
    (own("client"), OUTSIDE, 443),
    (own("server"), own("classifier"), HEALTH),
    (own("server"), OUTSIDE, 443),
    (own("classifier"), OUTSIDE, 443),
    (own("classifier"), own("server"), HTTP),
    (own("trainer"), own("kafka"), KAFKA),
    (own("trainer"), OUTSIDE, 443),
    (own("trainer"), DNS_POD, DNS),
    (own("kafka"), OUTSIDE, 443),
    (TRAEFIK, own("classifier"), HEALTH),
    (TRAEFIK, own("kafka"), KAFKA),
    (KEDA, own("kafka"), KAFKA),
    (PROMETHEUS, own("kafka"), KAFKA),
]


def test_what_is_needed_goes_through(trial: Rendered) -> None:
    assert [(source, target, port) for source, target, port in NEEDED if not allowed(trial, source, target, port)] == []


def test_everything_else_does_not(trial: Rendered) -> None:
    assert [(source, target, port) for source, target, port in REFUSED if allowed(trial, source, target, port)] == []


def test_prometheus_may_come_where_it_scrapes_and_keda_where_it_asks() -> None:
    assert not allowed(CHART.render(TRIAL), PROMETHEUS, own("classifier"), HEALTH)
    assert allowed(CHART.render(over(TRIAL, classifier__autoscaling={"mode": "keda"})), KEDA, own("kafka"), KAFKA)


def test_a_kafka_of_strimzis_or_elsewhere_is_reached_on_its_own_ports_only() -> None:
    strimzi, external = CHART.render(STRIMZI), CHART.render(EXTERNAL)
    for part in ("server", "classifier"):
        assert allowed(strimzi, own(part), STRIMZI_BROKER, 9093)
        assert not allowed(strimzi, own(part), STRIMZI_BROKER, 9091)
        assert not allowed(strimzi, own(part), OUTSIDE, 9093)
        assert [allowed(external, own(part), OUTSIDE, port) for port in (9093, 9094, 9092, 443)] == [True, True, False, False]
    narrow = CHART.render(over(EXTERNAL, networkPolicy__kafkaTo=[{"podSelector": {"matchLabels": {"app": "stranger"}}}]))
    assert not allowed(narrow, own("server"), OUTSIDE, 9093)
    assert allowed(narrow, own("server"), STRANGER, 9093)


def test_the_trainer_reaches_its_archive_and_the_client_its_server() -> None:
    rendered = CHART.render(over(EVERYTHING, client__serverUrl="https://vision.example.org:8443/"))
    assert allowed(rendered, own("trainer"), OUTSIDE, 443)
    assert allowed(rendered, own("trainer"), DNS_POD, DNS)
    assert not allowed(rendered, own("trainer"), OUTSIDE, 80)
    assert allowed(rendered, own("client"), OUTSIDE, 8443)
    assert not allowed(rendered, own("client"), OUTSIDE, 443)


def test_traces_reach_their_collector() -> None:
    collector = {"namespace": "observability", "labels": {"app": "collector"}}
    traced = over(TRIAL, tracing={"endpoint": "http://collector.observability.svc:4318"})
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}}
    for rendered in (CHART.render(traced), CHART.render(over(traced, networkPolicy={"collectorTo": [peer]}))):
        assert all(allowed(rendered, own(part), collector, 4318) for part in ("server", "classifier"))
        assert not allowed(rendered, own("server"), collector, 4317)
    assert not allowed(rendered, own("server"), OUTSIDE, 4318)
    assert not allowed(CHART.render(TRIAL), own("server"), collector, 4318)


def test_without_policies_nothing_is_said() -> None:
    assert "NetworkPolicy" not in CHART.render(over(TRIAL, networkPolicy={"enabled": False})).kinds()
