"""Series that alerts and dashboards read often: rates by lane, what waits, how busy, how the labels are spread."""

from __future__ import annotations

from convnet_charts.promql import SERVICES, by
from convnet_charts.rules.model import Group, Recording
from convnet_charts.rules.tuning import Tuning


def recordings(tuning: Tuning) -> Group:
    """The group of recording rules that are not about an objective."""
    window, hour = tuning.window("5m"), tuning.window("1h")
    accepted = SERVICES("convnet_server_images_total", outcome="accepted")
    done = SERVICES("convnet_classifier_images_total")
    cpu = SERVICES("process_cpu_seconds_total", component__re="server|classifier")
    rules = (
        Recording("convnet:images_accepted:rate5m", f"sum {by('lane')} (rate({accepted}[{window}]))"),
        Recording("convnet:images_done:rate5m", f"sum {by('lane', 'result')} (rate({done}[{window}]))"),
        # Every server looks at the same topics: the largest is certain.
        Recording("convnet:backlog_images:max", f"max {by('lane')} ({SERVICES('convnet_server_backlog_images')})"),
        Recording("convnet:backlog_drain_seconds:max", f"max {by('lane')} ({SERVICES('convnet_server_backlog_drain_seconds')})"),
        # 1 is a classifier that never rests.
        Recording(
            "convnet:classifier_busy:ratio5m", f"sum {by('pod')} (rate({SERVICES('convnet_classifier_stage_seconds_sum')}[{window}]))"
        ),
        Recording(
            "convnet:cpu_seconds_per_image:ratio1h",
            f"sum {by()} (rate({cpu}[{hour}])) / (sum {by()} (rate({done}[{hour}])) > 0)",
        ),
        *_quality(hour),
    )
    return Group("recordings", rules)


def _quality(hour: str) -> tuple[Recording, ...]:
    labels = SERVICES("convnet_classifier_labels_total", role__not="shadow")
    given, share = SERVICES("convnet:labels:increase1h"), SERVICES("convnet:class_share:ratio1h")
    expected = f"max {by('class')} ({SERVICES('convnet_classifier_validation_share')})"
    same = SERVICES("convnet_classifier_compared_images_total", agreement="same")
    compared = SERVICES("convnet_classifier_compared_images_total")
    return (
        Recording("convnet:labels:increase1h", f"sum {by('role', 'class')} (increase({labels}[{hour}]))"),
        Recording(
            "convnet:class_share:ratio1h",
            f"{given} / on (namespace, release, role) group_left () (sum {by('role')} ({given}) > 0)",
        ),
        # Total variation distance: half of what the shares differ by. A label that the validation images do not know (an uncertain one)
        # counts in full; a model whose card does not say how its validation images are spread has no drift.
        Recording(
            "convnet:class_drift:ratio1h",
            f"0.5 * sum {by('role')} (\n"
            f"  abs({share} - on (namespace, release, class) group_left () {expected})\n"
            f"  or {share} and on (namespace, release) {expected}\n"
            ")\n",
        ),
        Recording(
            "convnet:disagreement:ratio1h",
            f"1 - sum {by('role')} (increase({same}[{hour}])) / (sum {by('role')} (increase({compared}[{hour}])) > 0)",
        ),
    )
