"""Servers, classifiers and the trial broker: what their pods are told, and what nobody but you or an autoscaler decides."""

from __future__ import annotations

import pytest

from support.convnet_chart import CHART, STRIMZI, TRIAL, Values, container, env, over, pod


@pytest.mark.parametrize("part", ["server", "classifier"])
def test_the_number_of_replicas_is_not_said_unless_you_say_it(part: str) -> None:
    """What `kubectl scale` set must survive every upgrade."""
    assert "replicas" not in CHART.render(TRIAL).one("Deployment", f"convnet-{part}")["spec"]
    for replicas in (0, 3):
        assert (
            CHART.render(over(TRIAL, **{f"{part}__replicas": replicas})).one("Deployment", f"convnet-{part}")["spec"]["replicas"]
            == replicas
        )
    scaled = CHART.render(over(TRIAL, **{f"{part}__autoscaling": {"mode": "hpa"}}))
    assert "replicas" not in scaled.one("Deployment", f"convnet-{part}")["spec"]


@pytest.mark.parametrize(
    ("values", "part", "seconds"),
    [
        ({}, "server", 40),
        ({"server__settings": {"shutdownDelayS": 10, "shutdownTimeoutS": 60.5}}, "server", 86),
        ({}, "classifier", 35),
        ({"classifier__settings": {"drainTimeoutS": 45}}, "classifier", 60),
    ],
)
def test_a_pod_has_the_time_to_end_that_its_service_may_take(values: Values, part: str, seconds: int) -> None:
    found = CHART.render(over(TRIAL, **values)).one("Deployment", f"convnet-{part}")
    assert pod(found)["terminationGracePeriodSeconds"] == seconds


def test_an_update_takes_no_pod_away_before_another_is_ready() -> None:
    for part in ("server", "classifier"):
        strategy = CHART.render(TRIAL).one("Deployment", f"convnet-{part}")["spec"]["strategy"]
        assert strategy["rollingUpdate"]["maxUnavailable"] == 0


def test_classifiers_can_only_read_the_models_and_the_trainer_can_write_them() -> None:
    rendered = CHART.render(TRIAL)

    def mount(workload: dict) -> dict:
        return next(each for each in container(workload)["volumeMounts"] if each["name"] == "models")

    assert mount(rendered.one("Deployment", "convnet-classifier"))["readOnly"] is True
    assert "readOnly" not in mount(rendered.one("Job", component="trainer"))


def test_the_volume_of_one_node_keeps_its_pods_together_and_one_of_many_nodes_spreads_them() -> None:
    together = pod(CHART.render(TRIAL).one("Deployment", "convnet-classifier"))
    (term,) = together["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchExpressions"] == [
        {"key": "app.kubernetes.io/component", "operator": "In", "values": ["classifier", "trainer", "tools"]}
    ]
    assert "topologySpreadConstraints" not in together
    trainer = pod(CHART.render(TRIAL).one("Job", component="trainer"))
    assert trainer["affinity"] == together["affinity"]
    apart = pod(CHART.render(STRIMZI).one("Deployment", "convnet-classifier"))
    assert list(apart["affinity"]) == ["podAntiAffinity"]
    assert apart["topologySpreadConstraints"][0]["topologyKey"] == "topology.kubernetes.io/zone"
    assert "affinity" not in pod(CHART.render(STRIMZI).one("Job", component="trainer"))


def test_who_processes_are_can_be_left_to_the_namespace() -> None:
    for user, fields in ((20002, {"runAsUser": 20002, "runAsGroup": 20002, "fsGroup": 20002}), (None, {})):
        for part in ("server", "classifier"):
            security = pod(CHART.render(over(TRIAL, podSecurity={"runAsUser": user})).one("Deployment", f"convnet-{part}"))[
                "securityContext"
            ]
            assert {key: value for key, value in security.items() if key in {"runAsUser", "runAsGroup", "fsGroup"}} == fields


@pytest.mark.parametrize("how", ["soft", "hard", "none"])
def test_pods_are_apart_as_much_as_you_say(how: str) -> None:
    spec = pod(CHART.render(over(TRIAL, server={"antiAffinity": how, "topologySpread": how})).one("Deployment", "convnet-server"))
    kinds = {"soft": "preferredDuringSchedulingIgnoredDuringExecution", "hard": "requiredDuringSchedulingIgnoredDuringExecution"}
    unsatisfiable = {"soft": "ScheduleAnyway", "hard": "DoNotSchedule"}
    assert [list(spec["affinity"]["podAntiAffinity"])] == [[kinds[how]]] if how in kinds else "affinity" not in spec
    assert [each["whenUnsatisfiable"] for each in spec.get("topologySpreadConstraints", [])] == (
        [unsatisfiable[how]] if how in kinds else []
    )


def test_what_kubernetes_defines_is_passed_through() -> None:
    given = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "extraEnv": [{"name": "E", "value": "f"}],
    }
    for part, kind in (("server", "Deployment"), ("classifier", "Deployment"), ("trainer", "Job")):
        found = CHART.render(over(TRIAL, **{part: given})).one(kind, component=part)
        spec = pod(found)
        assert {key: spec[key] for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName")} == {
            key: given[key] for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName")
        }
        assert found["spec"]["template"]["metadata"]["annotations"] == {"a": "b"}
        assert found["spec"]["template"]["metadata"]["labels"]["c"] == "d"
        assert env(container(found))["E"] == "f"


def test_the_trial_broker_takes_the_largest_image_and_is_known_by_a_name_that_all_namespaces_can_ask_for() -> None:
    rendered = CHART.render(over(TRIAL, kafka__maxImageBytes=20 * 1024 * 1024))
    args = container(rendered.one("StatefulSet"))["args"]
    assert args[args.index("--advertise") + 1] == "convnet-kafka.vision.svc:9092"
    assert int(args[args.index("--message-max-mib") + 1]) >= 21
    assert env(container(rendered.one("Deployment", "convnet-server")))["KAFKA_BOOTSTRAP_SERVERS"] == "convnet-kafka.vision.svc:9092"
    assert "StatefulSet" not in CHART.render(STRIMZI).kinds()


def test_the_trial_brokers_data_outlive_its_pod_unless_you_want_nothing_kept() -> None:
    kept = CHART.render(TRIAL).one("StatefulSet")["spec"]
    assert [each["metadata"]["name"] for each in kept["volumeClaimTemplates"]] == ["data"]
    gone = CHART.render(over(TRIAL, kafka__embedded={"enabled": True, "storage": {"enabled": False}})).one("StatefulSet")
    assert "volumeClaimTemplates" not in gone["spec"]
    assert {"name": "data", "emptyDir": {"sizeLimit": "5Gi"}} in pod(gone)["volumes"]


def test_the_pod_with_tools_has_all_that_commands_need() -> None:
    rendered = CHART.render(over(STRIMZI, tools={"enabled": True}))
    tools = rendered.one("Deployment", "convnet-tools")
    told = env(container(tools))
    assert told["KAFKA_SASL_USERNAME"] == "convnet-tools"
    services = {f"{each['metadata']['name']}.vision.svc:{each['spec']['ports'][0]['port']}" for each in rendered.all("Service")}
    endpoints = told["CONVNET_TOP_ENDPOINTS"].split(",")
    assert {each.removeprefix("dns+http://") for each in endpoints} <= services
    assert len(endpoints) == 2
    assert {"name": "models", "mountPath": "/models"} in container(tools)["volumeMounts"]
    # `convnet-kafka models` looks for `models` where it is started.
    assert container(tools)["workingDir"] == "/"
    assert "Deployment/convnet-tools" not in CHART.render(STRIMZI).names()
