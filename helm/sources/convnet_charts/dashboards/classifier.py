"""What classifiers do: how much, how long, how busy, and what goes wrong."""

from __future__ import annotations

from convnet_charts.dashboards.board import Levels, board, graph, number, row
from convnet_charts.dashboards.queries import PODS, Query, largest, mean, quantile, quantiles, rate, rise, total


def classifier() -> str:
    """The dashboard `convnet-classifier`."""
    done = rate("convnet_classifier_images_total")
    busy = rate("convnet_classifier_stage_seconds_sum", "pod", scope=PODS)
    work = (
        number("Done", "Images a second that have got a result, a label or an error.", "ops", Query(done, "")),
        number(
            "Ready",
            "Classifiers with a model and Kafka.",
            "short",
            Query(total("convnet_classifier_ready"), ""),
            levels=Levels(2, 1, falling=True),
            none="none",
            runbook="ConvnetNoConsumer",
        ),
        number(
            "Busiest",
            "Share of its time that the busiest classifier works. Near 1 it is full: more replicas.",
            "percentunit",
            Query(f"max ({busy})", ""),
            levels=Levels(0.8, 0.95),
        ),
        number(
            "Images a batch",
            "Mean. Near 1 under load: single images are dear, or work comes in drops.",
            "short",
            Query(mean("convnet_classifier_batch_images"), ""),
            decimals=1,
        ),
        number(
            "Time an image",
            "Seconds of a classifier's work for each image, all steps together.",
            "s",
            Query(f"{rate('convnet_classifier_stage_seconds_sum')} / ({done} > 0)", ""),
            none="no images",
        ),
        number(
            "Dead letters",
            "Of the last hour.",
            "short",
            Query(f"sum (increase({PODS('convnet_classifier_dead_letters_total')}[1h]))", ""),
            decimals=0,
            levels=Levels(1, 100),
            runbook="ConvnetDeadLettersRise",
        ),
        graph(
            "Images by result",
            "undecodable, unsupported, too-large: what senders send. model-error, quarantined: look at the dead letters.",
            "ops",
            Query(rate("convnet_classifier_images_total", "lane", "result"), "{{lane}} {{result}}"),
            stacked=True,
            runbook="ConvnetDeadLettersRise",
        ),
        graph(
            "Images by pod",
            "An idle one has no partitions.",
            "ops",
            Query(rate("convnet_classifier_images_total", "pod", scope=PODS), "{{pod}}"),
        ),
        graph(
            "Busy",
            "Share of its time that each classifier works. All near 1: add replicas. One alone: its partitions hold more.",
            "percentunit",
            Query(busy, "{{pod}}"),
            most=1,
            levels=Levels(0.8, 0.95),
        ),
    )
    time = (
        graph(
            "From accepted to labelled",
            "Seconds from an image's acceptance until Kafka has its result.",
            "s",
            *quantiles("convnet_classifier_end_to_end_seconds", "lane"),
            runbook="ConvnetLatencyBudgetBurns",
        ),
        graph(
            "Wait in Kafka",
            "Seconds from acceptance until the image's batch begins.",
            "s",
            *quantiles("convnet_classifier_queue_seconds", "lane"),
        ),
        graph(
            "Acknowledgement of results",
            "Seconds until Kafka has a batch's results.",
            "s",
            *quantiles("convnet_classifier_acknowledge_seconds", "lane"),
        ),
        graph(
            "Time by step",
            "Seconds of work a second, by step: parse, decode, predict, publish; shadow and compare are what a trial costs.",
            "percentunit",
            Query(rate("convnet_classifier_stage_seconds_sum", "stage"), "{{stage}}"),
            stacked=True,
        ),
        graph(
            "Step of a batch",
            "99th percentile of seconds for each step of a batch.",
            "s",
            Query(quantile(0.99, "convnet_classifier_stage_seconds", "stage"), "{{stage}}"),
        ),
        graph("Images a batch", "Median and 99th percentile, by lane.", "short", *quantiles("convnet_classifier_batch_images", "lane")),
    )
    group = (
        graph(
            "Partitions",
            "By pod and lane. None: more replicas than partitions, or not in the group.",
            "short",
            Query(total("convnet_classifier_partitions", "pod", "lane", scope=PODS), "{{pod}} {{lane}}"),
            stacked=True,
            runbook="ConvnetNoConsumer",
        ),
        graph(
            "Rebalances",
            "Times that partitions came and went. lost: a classifier was away for longer than its session.",
            "short",
            Query(rise("convnet_classifier_rebalances_total", "lane", "event"), "{{lane}} {{event}}"),
        ),
        graph(
            "Batches in flight",
            "Batches whose results Kafka has not acknowledged yet.",
            "short",
            Query(total("convnet_classifier_batches_in_flight", "pod", "lane", scope=PODS), "{{pod}} {{lane}}"),
        ),
    )
    trouble = (
        graph(
            "Dead letters",
            "By reason. Their files lie in the dead letter topic until its time or its room is over.",
            "short",
            Query(rise("convnet_classifier_dead_letters_total", "reason"), "{{reason}}"),
            Query(rise("convnet_classifier_dead_letter_files_dropped_total"), "kept without the file"),
            runbook="ConvnetDeadLettersRise",
        ),
        graph(
            "Handled one by one",
            "Images that were in a dead classifier's hands, and images given up to others with their partitions.",
            "short",
            Query(rise("convnet_classifier_images_alone_total", "lane"), "{{lane}} one by one"),
            Query(rise("convnet_classifier_images_given_up_total", "lane"), "{{lane}} given up"),
            runbook="ConvnetClassifiersDie",
        ),
        graph(
            "Lost and refused",
            "Images that expired unread, and results that Kafka refused for good. Each is an incident.",
            "short",
            Query(rise("convnet_classifier_images_expired_total", "lane"), "{{lane}} expired"),
            Query(rise("convnet_classifier_results_refused_total"), "results refused"),
            runbook="ConvnetImagesExpired",
        ),
        graph(
            "Sent and committed again",
            "Results that Kafka did not take at first, and commits that failed.",
            "short",
            Query(rise("convnet_classifier_results_resent_total"), "results sent again"),
            Query(rise("convnet_classifier_commit_failures_total", "lane"), "{{lane}} commits failed"),
        ),
        graph(
            "Model in trouble",
            "Times that a model failed on its own warm-up images, or a version could not be loaded.",
            "short",
            Query(rise("convnet_classifier_model_broken_total"), "broken"),
            Query(rise("convnet_classifier_model_load_failures_total", "role"), "{{role}} not loaded"),
            runbook="ConvnetModelNotLoaded",
        ),
        graph(
            "Passed over",
            "Records that no result can be addressed to, and cancelled jobs that are remembered.",
            "short",
            Query(rise("convnet_classifier_records_skipped_total", "reason"), "{{reason}}"),
            Query(largest("convnet_classifier_cancelled_jobs"), "cancelled jobs"),
            runbook="ConvnetForeignRecords",
        ),
    )
    return board(
        "convnet-classifier",
        "convnet-kafka / Classifier",
        "What classifiers do: how much, how long, how busy, and what goes wrong.",
        [row("", *work), row("Where the time goes", *time), row("The group", *group), row("Trouble", *trouble)],
    )
