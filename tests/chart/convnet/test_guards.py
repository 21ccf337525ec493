"""What cannot work is refused before anything is installed, with a sentence that says what to do."""

from __future__ import annotations

import pytest

from support.convnet_chart import CHART, CONTROLLER, EVERYTHING, EXTERNAL, STRIMZI, TRIAL, Values, over

OAUTH = over(EXTERNAL, kafka__saslMechanism="OAUTHBEARER", kafka__clientOptions={"sasl.oauthbearer.method": "oidc"})
PUBLIC = over(TRIAL, ingress={"enabled": True}, networkPolicy={"ingressFrom": CONTROLLER})

# Values, a part of the sentence that refuses them, and the change that it asks for.
GUARDS: dict[str, tuple[Values, str, Values]] = {
    "no Kafka": ({}, "Which Kafka? 0 are named", {"kafka__embedded": {"enabled": True}}),
    "two Kafkas": (over(STRIMZI, kafka__embedded={"enabled": True}), "Which Kafka? 2 are named", {"kafka__embedded": {"enabled": False}}),
    "address": (over(EXTERNAL, kafka__bootstrapServers="kafka.example.org"), "is not host:port", {"kafka__bootstrapServers": "k:9092"}),
    "copies of one broker": (over(TRIAL, topics__replicationFactor=3), "cannot hold copies", {"topics__replicationFactor": None}),
    "more acknowledged than there are": (
        over(STRIMZI, topics__replicationFactor=2, topics__minInsyncReplicas=3),
        "no image could ever be accepted",
        {"topics__minInsyncReplicas": 1},
    ),
    "no topics": (over(TRIAL, topics__create="never"), "leave it at auto", {"topics__create": "auto"}),
    "topics of users who may not": (over(STRIMZI, topics__create="application"), "may not create topics", {"topics__create": "auto"}),
    "mechanism": (over(EXTERNAL, kafka__saslMechanism=""), "Set it to PLAIN, SCRAM-SHA-256", {"kafka__saslMechanism": "PLAIN"}),
    "protocol": (over(EXTERNAL, kafka__securityProtocol="SSL"), "Set it to SASL_SSL", {"kafka__securityProtocol": "SASL_SSL"}),
    "user": (over(EXTERNAL, kafka__users={}), "kafka.users.server.secret is empty", {"kafka__users": EXTERNAL["kafka"]["users"]}),
    "user of Strimzi's": (
        over(STRIMZI, kafka__users={"create": False, "server": {"secret": "s"}}),
        "kafka.users.classifier.secret is empty",
        {"kafka__users__create": True},
    ),
    "user of the tools": (over(EXTERNAL, tools={"enabled": True}), "kafka.users.tools.secret", {"kafka__users__tools": {"secret": "s"}}),
    "user of KEDA's": (
        over(EXTERNAL, kafka__users__keda={"secret": ""}, classifier__autoscaling={"mode": "keda"}),
        "kafka.users.keda.secret is empty",
        {"kafka__users__keda": {"secret": "s"}},
    ),
    "tokens": (over(OAUTH, kafka__clientOptions={}), "set kafka.clientOptions", {"kafka__clientOptions": {"a": 1}}),
    "tokens and KEDA": (
        over(OAUTH, classifier__autoscaling={"mode": "keda"}),
        "make a TriggerAuthentication",
        {"classifier__autoscaling__keda": {"authenticationRef": "mine"}},
    ),
    "replicas and an autoscaler": (
        over(TRIAL, classifier={"replicas": 2, "autoscaling": {"mode": "hpa"}}),
        "each would undo what the other does",
        {"classifier__replicas": None},
    ),
    "least above most": (
        over(TRIAL, server__autoscaling={"mode": "hpa", "minReplicas": 5, "maxReplicas": 3}),
        "minReplicas is 5, more than maxReplicas, 3",
        {"server__autoscaling__maxReplicas": 6},
    ),
    "an HPA to zero": (
        over(TRIAL, classifier__autoscaling={"mode": "hpa", "minReplicas": 0}),
        "only classifiers, with mode keda, come back from zero",
        {"classifier__autoscaling__mode": "keda"},
    ),
    "servers to zero": (
        over(TRIAL, server__autoscaling={"mode": "keda", "minReplicas": 0}),
        "only classifiers, with mode keda, come back from zero",
        {"server__autoscaling__minReplicas": 1},
    ),
    "a share of nothing": (
        over(TRIAL, server={"autoscaling": {"mode": "hpa"}, "resources": {"requests": {"cpu": None}}}),
        "server.resources.requests.cpu is not set",
        {"server__resources": {"requests": {"cpu": "1"}}},
    ),
    "nothing to go by": (
        over(TRIAL, server__autoscaling={"mode": "hpa", "cpuUtilization": None}),
        "nothing to go by",
        {"server__autoscaling__cpuUtilization": 80},
    ),
    "more classifiers than partitions": (
        over(STRIMZI, classifier={"replicas": 13}),
        "Set topics.imagesPartitions to 13 or more",
        {"topics__imagesPartitions": 13},
    ),
    "more classifiers than partitions, when scaled": (
        over(STRIMZI, classifier__autoscaling={"mode": "keda", "maxReplicas": 24}),
        "Set topics.imagesPartitions to 24 or more",
        {"topics__imagesPartitions": 24},
    ),
    "budget": (
        over(TRIAL, server={"replicas": 2, "disruptionBudget": {"minAvailable": 2}}),
        "no node with one of them could ever be drained",
        {"server__disruptionBudget__minAvailable": 1},
    ),
    "budget, when scaled": (
        over(TRIAL, server={"autoscaling": {"mode": "hpa", "minReplicas": 2}, "disruptionBudget": {"minAvailable": 3}}),
        "no node with one of them could ever be drained",
        {"server__disruptionBudget__minAvailable": "50%"},
    ),
    "budget of nothing": (
        over(TRIAL, server__disruptionBudget={"maxUnavailable": None}),
        "neither minAvailable nor maxUnavailable",
        {"server__disruptionBudget": {"enabled": False}},
    ),
    "one volume, several nodes": (
        over(STRIMZI, model__persistence={"accessMode": "ReadWriteOnce"}),
        "set model.persistence.singleNode=true",
        {"model__persistence__singleNode": True},
    ),
    "several replicas on one volume": (
        over(STRIMZI, model__persistence={"accessMode": "ReadWriteOnce"}, trainer={"enabled": False}, classifier={"replicas": 2}),
        "Use a StorageClass with ReadWriteMany",
        {"model__persistence__accessMode": "ReadWriteMany"},
    ),
    "public without keys": (over(PUBLIC, server__apiKeys={"enabled": False}), "Switch keys on", {"server__apiKeys": {"enabled": True}}),
    "public without keys, authenticated elsewhere": (
        over(PUBLIC, server__apiKeys={"enabled": False}),
        "public.authenticatedElsewhere=true",
        {"public__authenticatedElsewhere": True},
    ),
    "a load balancer without keys": (
        over(TRIAL, server={"apiKeys": {"enabled": False}, "service": {"type": "LoadBalancer"}}, networkPolicy={"enabled": False}),
        "server.service.type=LoadBalancer leads to servers that ask nobody",
        {"server__service__type": "ClusterIP"},
    ),
    "public behind a policy": (
        over(TRIAL, ingress={"enabled": True}),
        "no NetworkPolicy lets it through",
        {"networkPolicy__ingressFrom": CONTROLLER},
    ),
    "no Gateway": (over(EVERYTHING, gateway__parentRefs=[]), "no Gateway is named", {"gateway__parentRefs": [{"name": "shared"}]}),
    "two keys at first": (
        over(TRIAL, server__jobSigning={"keys": ["old", "new"]}),
        "Name one at installation",
        {"server__jobSigning__existingSecret": "mine"},
    ),
    "claim": (over(TRIAL, trainer__data={"source": "claim"}), "trainer.data.claim.name", {"trainer__data__claim": {"name": "pictures"}}),
    "archive": (
        over(TRIAL, trainer__data={"source": "archive"}),
        "trainer.data.archive.url",
        {"trainer__data__archive": {"url": "https://example.org/a.zip"}},
    ),
    "pictures": (over(TRIAL, client={"enabled": True}), "client.pictures.name", {"client__pictures": {"name": "pictures"}}),
    "pictures of an image": (
        over(TRIAL, client={"enabled": True, "pictures": {"source": "image"}}),
        "client.pictures.folder",
        {"client__pictures__folder": "/pictures"},
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _rendered_side_by_side() -> None:
    CHART.ahead(each for values, _, mended in GUARDS.values() for each in (values, over(values, **mended)))


@pytest.mark.parametrize("name", GUARDS)
def test_what_cannot_work_is_refused_and_what_the_sentence_asks_for_helps(name: str) -> None:
    values, sentence, mended = GUARDS[name]
    assert sentence in CHART.refusal(values)
    CHART.render(over(values, **mended))


KINDS: dict[str, tuple[Values, str]] = {
    "KafkaTopic": (over(STRIMZI, kafka__users={"create": False, "server": {"secret": "a"}, "classifier": {"secret": "b"}}), "Strimzi"),
    "KafkaUser": (over(STRIMZI, topics__create="never"), "Strimzi"),
    "ScaledObject": (over(TRIAL, classifier__autoscaling={"mode": "keda"}), "Install KEDA"),
    "PodMonitor": (over(TRIAL, monitoring__podMonitor={"enabled": True}), "the Prometheus operator"),
    "PrometheusRule": (over(TRIAL, monitoring__prometheusRule={"enabled": True}), "the Prometheus operator"),
    "HTTPRoute": (
        over(TRIAL, gateway={"enabled": True, "parentRefs": [{"name": "a"}]}, networkPolicy={"ingressFrom": CONTROLLER}),
        "the Gateway API",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_the_cluster_does_not_know_are_named_with_what_brings_them(kind: str) -> None:
    values, brings = KINDS[kind]
    refusal = CHART.refusal(values, apis=())
    assert f"/{kind}," in refusal
    assert brings in refusal
    CHART.render(over(values, crdChecks=False), apis=())
