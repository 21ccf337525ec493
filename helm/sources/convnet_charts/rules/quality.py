"""Alerts on the model: versions that do not load, break or disagree, and labels that are not spread as they should be."""

from __future__ import annotations

from convnet_charts.promql import SERVICES, by
from convnet_charts.rules.model import Alert, Group
from convnet_charts.rules.tuning import Tuning, number


def alerts(tuning: Tuning) -> Group:
    """The group of alerts on the model."""
    quarter, hour = tuning.window("15m"), tuning.window("1h")
    compared = SERVICES("convnet_classifier_compared_images_total")
    return Group(
        "model",
        (
            Alert(
                "ConvnetModelNotLoaded",
                f"max {by('pod', 'role')} ({SERVICES('convnet_classifier_alias_version')}) > 0 unless on (namespace, release, pod, role) "
                f"{SERVICES('convnet_classifier_alias_version')} == {SERVICES('convnet_classifier_model_version')}",
                tuning.wait("5m"),
                "ticket",
                "{{ $labels.pod }} does not use version {{ $value }}, which is the registry's {{ $labels.role }}",
                "It could not load the version or took it out of use. A stable one: the version before stays at work, if there was one.",
            ),
            Alert(
                "ConvnetModelBroken",
                f"sum {by('pod')} (increase({SERVICES('convnet_classifier_model_broken_total')}[{quarter}])) > 0",
                "",
                "page",
                "The model failed on its own warm-up images in {{ $labels.pod }}",
                "The replica has left the group and tries again. If the version is at fault, all replicas will, and images wait.",
            ),
            Alert(
                "ConvnetCanaryFails",
                f"sum {by()} (increase({SERVICES('convnet_classifier_canary_failures_total')}[{quarter}])) > 0",
                "",
                "ticket",
                "The canary failed on {{ $value | humanize }} images; the stable version answered in its place",
                "Eight in a row take it out of use. Do not promote this version.",
            ),
            Alert(
                "ConvnetCanaryDisagrees",
                f"{SERVICES('convnet:disagreement:ratio1h')} > {number(tuning.disagreement_ratio)} and "
                f"sum {by('role')} (increase({compared}[{hour}])) > {tuning.compared_images}",
                tuning.wait("5m"),
                "ticket",
                "The {{ $labels.role }} labels {{ $value | humanizePercentage }} of the compared images otherwise than the stable version",
                "More than a better version would. Look at which classes before it is promoted.",
            ),
            Alert(
                "ConvnetClassMixDrifts",
                f"{SERVICES('convnet:class_drift:ratio1h')} > {number(tuning.drift_ratio)} and "
                f"sum {by('role')} ({SERVICES('convnet:labels:increase1h')}) > {tuning.drift_images}",
                tuning.wait("30m"),
                "ticket",
                "The labels' classes are {{ $value | humanizePercentage }} away from the mix of the validation images",
                "Other pictures come than those that the model was judged by, or it has begun to see things. Its accuracy may not hold.",
            ),
        ),
    )
