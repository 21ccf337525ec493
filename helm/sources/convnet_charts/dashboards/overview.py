"""Is it well? One screen for a wall."""

from __future__ import annotations

from convnet_charts.dashboards.board import Levels, board, graph, number, row
from convnet_charts.dashboards.queries import RELEASE, Query, largest, quantiles, rate, total


def overview() -> str:
    """The dashboard `convnet-overview`."""
    firing = RELEASE("ALERTS", alertstate="firing")
    failed = rate("convnet_classifier_images_total", result__notre="labelled|cancelled")
    done = rate("convnet_classifier_images_total")
    now = (
        number(
            "Accepted", "Images a second that Kafka has taken.", "ops", Query(rate("convnet_server_images_total", outcome="accepted"), "")
        ),
        number(
            "Labelled",
            "Images a second that have got a label.",
            "ops",
            Query(rate("convnet_classifier_images_total", result="labelled"), ""),
        ),
        number(
            "Failed",
            "Share of the images that got an error instead of a label. Most often what senders send: see the dead letters.",
            "percentunit",
            Query(f"{failed} / {done}", ""),
            levels=Levels(0.01, 0.1),
            runbook="ConvnetDeadLettersRise",
        ),
        number(
            "Waiting",
            "Images in Kafka that no classifier has done yet, both lanes.",
            "short",
            Query(f"sum ({largest('convnet_server_backlog_images', 'lane')})", ""),
            runbook="ConvnetBacklogWontDrain",
        ),
        number(
            "Waited",
            "How long the oldest image has waited. Images are kept for days; past half of that servers refuse uploads.",
            "s",
            Query(largest("convnet_server_backlog_oldest_seconds"), ""),
            levels=Levels(3600, 151_200),
            runbook="ConvnetBacklogOld",
        ),
        number(
            "Alerts",
            "Alerts that fire now; which, the panel below says.",
            "short",
            Query(f"count ({firing}) or vector(0)", ""),
            levels=Levels(1, 2),
        ),
    )
    promised = (
        number(
            "Availability budget",
            "What is left of the errors that 30 days may have (99.9 % of uploads, classify calls and jobs to be opened without a 5xx).",
            "percentunit",
            Query(RELEASE("convnet:unavailability:budget_left30d"), ""),
            levels=Levels(0.5, 0.1, falling=True),
            runbook="ConvnetAvailabilityBudgetBurns",
        ),
        number(
            "Fast lane budget",
            "What is left of the images that may be late in 30 days (99 % labelled within 1 s).",
            "percentunit",
            Query(RELEASE("convnet:lateness:budget_left30d", lane="fast"), ""),
            levels=Levels(0.5, 0.1, falling=True),
            runbook="ConvnetLatencyBudgetBurns",
        ),
        number(
            "Bulk lane budget",
            "What is left of the images that may be late in 30 days (99 % labelled within 300 s).",
            "percentunit",
            Query(RELEASE("convnet:lateness:budget_left30d", lane="bulk"), ""),
            levels=Levels(0.5, 0.1, falling=True),
            runbook="ConvnetLatencyBudgetBurns",
        ),
        number(
            "Servers ready",
            "Server processes that take uploads.",
            "short",
            Query(total("convnet_server_ready"), ""),
            levels=Levels(2, 1, falling=True),
            none="none",
        ),
        number(
            "Classifiers ready",
            "Classifiers with a model and Kafka.",
            "short",
            Query(total("convnet_classifier_ready"), ""),
            levels=Levels(2, 1, falling=True),
            none="none",
            runbook="ConvnetNoConsumer",
        ),
        number(
            "Model",
            "Version that answers. Two numbers stand here while a promotion goes round, or when a classifier cannot load it.",
            "none",
            Query(f'count_values("version", {RELEASE("convnet_classifier_model_version", role="stable")})', "version {{version}}"),
            none="none",
            runbook="ConvnetModelNotLoaded",
        ),
    )
    flow = (
        graph(
            "In and out",
            "Accepted and done images a second. Where they part, images wait.",
            "ops",
            Query(rate("convnet_server_images_total", "lane", outcome="accepted"), "{{lane}} accepted"),
            Query(rate("convnet_classifier_images_total", "lane"), "{{lane}} done"),
            width=12,
        ),
        graph(
            "Waiting",
            "Images in Kafka that no classifier has done yet. A hill is a job; a slope without end wants more classifiers.",
            "short",
            Query(largest("convnet_server_backlog_images", "lane"), "{{lane}}"),
            width=12,
            runbook="ConvnetBacklogWontDrain",
        ),
        graph(
            "From accepted to labelled",
            "Seconds from an image's acceptance until Kafka has its result.",
            "s",
            *quantiles("convnet_classifier_end_to_end_seconds", "lane"),
            width=10,
            runbook="ConvnetLatencyBudgetBurns",
        ),
        graph(
            "Answers",
            "Uploads and classify calls a second, by the answer's status. 429 and 503: refused under load or without Kafka.",
            "reqps",
            Query(rate("convnet_server_requests_total", "status", lane__re="bulk|fast"), "{{status}}"),
            width=7,
            stacked=True,
            runbook="ConvnetAvailabilityBudgetBurns",
        ),
        graph(
            "Firing alerts",
            "Each with its page among the runbooks.",
            "short",
            Query(f"count by (alertname, severity) ({firing})", "{{alertname}} ({{severity}})"),
            width=7,
            stacked=True,
        ),
    )
    return board(
        "convnet-overview",
        "convnet-kafka / Overview",
        "Is it well? Whether images flow, how long they take, and what is promised.",
        [row("", *now, *promised, *flow)],
        refresh="10s",
        period="now-3h",
    )
