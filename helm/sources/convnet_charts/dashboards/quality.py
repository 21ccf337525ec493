"""Whether the model does what it did when it was trained: class mix, confidence, drift, and the version on trial beside the stable one."""

from __future__ import annotations

from convnet_charts.dashboards.board import Levels, bars, board, graph, number, row
from convnet_charts.dashboards.queries import RELEASE, Query, largest, quantile, rate


def quality() -> str:
    """The dashboard `convnet-quality`."""
    given = "convnet_classifier_labels_total"
    confidence = "convnet_classifier_confidence"
    unsure = f"{rate(f'{confidence}_bucket', role='stable', le='0.6')} / {rate(f'{confidence}_count', role='stable')}"
    now = (
        number(
            "Drift",
            "How far the classes of the last hour's labels are from the validation images' (total variation distance). "
            "Empty: the model's card does not say how those were spread.",
            "percentunit",
            Query(RELEASE("convnet:class_drift:ratio1h", role="stable"), ""),
            levels=Levels(0.15, 0.3),
            none="unknown",
            runbook="ConvnetClassMixDrifts",
        ),
        number(
            "Unsure",
            "Share of the labels with a confidence of at most 0.6.",
            "percentunit",
            Query(unsure, ""),
            levels=Levels(0.2, 0.5),
            none="no labels",
        ),
        number(
            "Median confidence",
            "Of the stable model's labels.",
            "percentunit",
            Query(quantile(0.5, confidence, role="stable"), ""),
            none="no labels",
        ),
        number(
            "Stated accuracy",
            "On the held-out images, by the model's card: what it had when it was trained.",
            "percentunit",
            Query(largest("convnet_classifier_model_accuracy", role="stable"), ""),
            none="unknown",
        ),
        number(
            "Trial disagrees",
            "Share of the compared images that the canary or shadow labelled otherwise than the stable model within the hour.",
            "percentunit",
            Query(f"max by (role) ({RELEASE('convnet:disagreement:ratio1h')})", "{{role}}"),
            levels=Levels(0.05, 0.1),
            none="no trial",
            runbook="ConvnetCanaryDisagrees",
        ),
        number(
            "Canary's share",
            "Percent of the jobs that the canary answers.",
            "percent",
            Query(largest("convnet_classifier_canary_percent"), ""),
            none="none",
        ),
    )
    classes = (
        graph(
            "Class mix",
            "Share of each class among the stable model's labels.",
            "percentunit",
            Query(f"{rate(given, 'class', role='stable')} / scalar({rate(given, role='stable')})", "{{class}}"),
            width=12,
            stacked=True,
            most=1,
            runbook="ConvnetClassMixDrifts",
        ),
        bars(
            "Labels of the last hour",
            "Share of each class among the stable model's labels.",
            "percentunit",
            Query(f"max by (class) ({RELEASE('convnet:class_share:ratio1h', role='stable')})", "{{class}}"),
            width=6,
        ),
        bars(
            "Validation images",
            "Share of each class among the images that the model was judged by.",
            "percentunit",
            Query(largest("convnet_classifier_validation_share", "class"), "{{class}}"),
            width=6,
            none="unknown",
        ),
        graph(
            "Drift",
            "Distance of each hour's class mix from the validation images', by role.",
            "percentunit",
            Query(f"max by (role) ({RELEASE('convnet:class_drift:ratio1h')})", "{{role}}"),
            most=1,
            levels=Levels(0.15, 0.3),
            runbook="ConvnetClassMixDrifts",
        ),
        graph(
            "Confidence",
            "Quantiles of the stable model's confidence. A fall with new pictures: they are not like those it learned from.",
            "percentunit",
            Query(quantile(0.1, confidence, "role", role="stable"), "p10"),
            Query(quantile(0.5, confidence, "role", role="stable"), "p50"),
            Query(quantile(0.9, confidence, "role", role="stable"), "p90"),
            most=1,
        ),
        graph(
            "Unsure labels",
            "Labels a second with a confidence of at most 0.6, and of at most 0.9.",
            "ops",
            Query(rate(f"{confidence}_bucket", role="stable", le="0.6"), "up to 0.6"),
            Query(rate(f"{confidence}_bucket", role="stable", le="0.9"), "up to 0.9"),
            Query(rate(f"{confidence}_count", role="stable"), "all"),
        ),
    )
    tried = rate(given, "role", "class", role__not="stable")
    trial = (
        graph(
            "Labels by role",
            "The canary's are sent to callers, the shadow's to nobody.",
            "ops",
            Query(rate(given, "role"), "{{role}}"),
        ),
        graph(
            "Class mix of the trial",
            "Share of each class among the labels of the canary and the shadow.",
            "percentunit",
            Query(
                f"{tried} / on (role) group_left () (sum by (role) ({tried}) > 0)",
                "{{role}} {{class}}",
            ),
        ),
        graph(
            "Confidence by role",
            "Median confidence of each version's labels.",
            "percentunit",
            Query(quantile(0.5, confidence, "role"), "{{role}}"),
            most=1,
        ),
        graph(
            "Disagreement",
            "Share of the compared images that the trial labels otherwise, hour by hour.",
            "percentunit",
            Query(f"max by (role) ({RELEASE('convnet:disagreement:ratio1h')})", "{{role}}"),
            levels=Levels(0.05, 0.1),
            most=1,
            runbook="ConvnetCanaryDisagrees",
        ),
        graph(
            "Compared images",
            "Images a second that two versions predicted, by whether they agree.",
            "ops",
            Query(rate("convnet_classifier_compared_images_total", "role", "agreement"), "{{role}} {{agreement}}"),
            stacked=True,
        ),
        graph(
            "The canary failed",
            "Images a second that the canary failed on, and stable answered.",
            "ops",
            Query(rate("convnet_classifier_canary_failures_total"), "failed"),
            runbook="ConvnetCanaryFails",
        ),
        graph(
            "Versions in use",
            "By pod and role, 0 for none. A pod that differs could not load what the others use.",
            "none",
            Query(f"max by (pod, role) ({RELEASE('convnet_classifier_model_version', pod__re='$pod')})", "{{pod}} {{role}}"),
            width=12,
            runbook="ConvnetModelNotLoaded",
        ),
        graph(
            "Stated accuracy",
            "On the held-out images, by each version's card.",
            "percentunit",
            Query(largest("convnet_classifier_model_accuracy", "role"), "{{role}}"),
            most=1,
            width=12,
        ),
    )
    return board(
        "convnet-quality",
        "convnet-kafka / Model quality",
        "Whether the model does what it did when it was trained, and whether the version on trial is better.",
        [row("", *now), row("Classes and confidence", *classes), row("Trial beside stable", *trial)],
        period="now-24h",
        refresh="1m",
    )
