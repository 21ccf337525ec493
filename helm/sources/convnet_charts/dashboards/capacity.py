"""What an image costs, how much room is left, and what Kubernetes gives (that row needs kube-state-metrics and the kubelet's metrics)."""

from __future__ import annotations

from convnet_charts.dashboards.board import Levels, board, graph, number, row
from convnet_charts.dashboards.queries import (
    BROKERS,
    IN_NAMESPACE,
    INTERVAL,
    PODS,
    RELEASE,
    Query,
    largest,
    largest_rate,
    rate,
    rise,
    total,
)

# The fullest that a classifier should be, so that a lost replica does not become a backlog.
_FULL = 0.7
_OURS = "server|classifier"


def capacity() -> str:
    """The dashboard `convnet-capacity`."""
    done = rate("convnet_classifier_images_total")
    busy = rate("convnet_classifier_stage_seconds_sum")
    price = (
        number(
            "Images a CPU hour",
            "Images for each hour of CPU time of servers and classifiers: what cost follows from.",
            "short",
            Query(f"3600 / ({RELEASE('convnet:cpu_seconds_per_image:ratio1h')} > 0)", ""),
            none="no images",
        ),
        number(
            "CPU an image",
            "CPU seconds of servers and classifiers for each image, of the last hour.",
            "s",
            Query(RELEASE("convnet:cpu_seconds_per_image:ratio1h"), ""),
            none="no images",
        ),
        number(
            "A classifier can do",
            "Images a second that one classifier would do if it never rested, by what images cost it now.",
            "ops",
            Query(f"{done} / ({busy} > 0)", ""),
            none="no images",
        ),
        number(
            "Room left",
            "Images a second that the classifiers could do beside what they do.",
            "ops",
            Query(f"{done} / ({busy} > 0) * clamp_min({total('convnet_classifier_ready')} - {busy}, 0)", ""),
            none="no images",
        ),
        number(
            "Classifiers wanted",
            f"How many would be {_FULL:.0%} busy with what is done now. While images wait it takes more.",
            "short",
            Query(f"ceil({busy} / {_FULL})", ""),
            decimals=0,
        ),
        number(
            "Kafka's growth",
            "Bytes a day by which the topics grow now, all copies.",
            "bytes",
            Query(f"86400 * sum (deriv({BROKERS('kafka_log_log_size')}[15m]))", ""),
            runbook="ConvnetKafkaDiskFills",
        ),
    )
    use = (
        graph(
            "CPU by component",
            "Cores in use, Kafka's JVM not counted.",
            "short",
            Query(rate("process_cpu_seconds_total", "component", component__re=_OURS), "{{component}}"),
            stacked=True,
        ),
        graph(
            "CPU by pod",
            "Cores in use. A classifier uses one at most.",
            "short",
            Query(rate("process_cpu_seconds_total", "pod", scope=PODS, component__re=_OURS), "{{pod}}"),
        ),
        graph(
            "Memory by pod",
            "Resident bytes.",
            "bytes",
            Query(total("process_resident_memory_bytes", "pod", scope=PODS, component__re=_OURS), "{{pod}}"),
        ),
        graph(
            "CPU an image",
            "CPU seconds for each image, servers and classifiers apart.",
            "s",
            Query(f"{rate('process_cpu_seconds_total', 'component', component__re=_OURS)} / scalar({done} > 0)", "{{component}}"),
        ),
        graph(
            "Busy classifiers",
            "Classifiers' worth of work, and how many are ready.",
            "short",
            Query(busy, "work"),
            Query(total("convnet_classifier_ready"), "ready"),
        ),
        graph(
            "Server processes",
            "Alive, and ready.",
            "short",
            Query(total("convnet_server_processes"), "alive"),
            Query(total("convnet_server_ready"), "ready"),
        ),
        graph(
            "Open files",
            "Share of what each process may have open.",
            "percentunit",
            Query(
                f"max by (pod) ({PODS('process_open_fds', component__re=_OURS)} / {PODS('process_max_fds', component__re=_OURS)})",
                "{{pod}}",
            ),
            levels=Levels(0.7, 0.9),
        ),
        graph(
            "Garbage collections",
            "A second, by pod, of the oldest generation: these take longest.",
            "ops",
            Query(rate("python_gc_collections_total", "pod", scope=PODS, generation="2"), "{{pod}}"),
        ),
        graph(
            "Starts",
            "Processes that started.",
            "short",
            Query(
                f"sum by (component) (changes({RELEASE('process_start_time_seconds', component__re=_OURS)}[{INTERVAL}]))", "{{component}}"
            ),
            runbook="ConvnetPodRestarts",
        ),
        graph(
            "Bytes on disk by topic",
            "All copies.",
            "bytes",
            Query(total("kafka_log_log_size", "topic", scope=BROKERS), "{{topic}}"),
            width=12,
            stacked=True,
            runbook="ConvnetKafkaDiskFills",
        ),
        graph(
            "Kafka's JVM",
            "Cores that each broker spends on collecting garbage, and bytes of heap in use.",
            "percentunit",
            Query(f"sum by (pod) (rate({BROKERS('jvm_gc_collection_seconds_sum')}[{INTERVAL}]))", "{{pod}}"),
            width=12,
        ),
    )
    pods = "$release-(server|classifier)-.+"
    deployments = "$release-(server|classifier)"
    container = {"pod__re": pods, "container__re": "server|classifier"}
    # cAdvisor tells what a pod uses as a whole, and where it knows the runtime its containers' parts beside it: the whole is the largest.
    used = largest_rate("container_cpu_usage_seconds_total", "pod", scope=IN_NAMESPACE, pod__re=pods)
    limit = total("kube_pod_container_resource_limits", "pod", scope=IN_NAMESPACE, resource="memory", **container)
    volume = {"persistentvolumeclaim__re": "data-(.+-)?$kafka-.+"}
    kubernetes = (
        graph(
            "CPU of what is asked for",
            "Share of its CPU request that each pod uses. Far below 1: ask for less; above: it may be slowed down when the node is full.",
            "percentunit",
            Query(
                f"{used} / {total('kube_pod_container_resource_requests', 'pod', scope=IN_NAMESPACE, resource='cpu', **container)}",
                "{{pod}}",
            ),
        ),
        graph(
            "Slowed down",
            "Share of periods in which the pod's CPU limit held it back.",
            "percentunit",
            Query(
                f"{largest_rate('container_cpu_cfs_throttled_periods_total', 'pod', scope=IN_NAMESPACE, pod__re=pods)} / "
                f"{largest_rate('container_cpu_cfs_periods_total', 'pod', scope=IN_NAMESPACE, pod__re=pods)}",
                "{{pod}}",
            ),
            levels=Levels(0.1, 0.3),
        ),
        graph(
            "Memory of the limit",
            "Share of its memory limit that each pod's working set takes. At 1 it is killed.",
            "percentunit",
            Query(f"{largest('container_memory_working_set_bytes', 'pod', scope=IN_NAMESPACE, pod__re=pods)} / {limit}", "{{pod}}"),
            levels=Levels(0.8, 0.9),
            runbook="ConvnetPodRestarts",
        ),
        graph(
            "Replicas",
            "Wanted, and available.",
            "short",
            Query(
                total("kube_deployment_spec_replicas", "deployment", scope=IN_NAMESPACE, deployment__re=deployments),
                "{{deployment}} wanted",
            ),
            Query(
                total("kube_deployment_status_replicas_available", "deployment", scope=IN_NAMESPACE, deployment__re=deployments),
                "{{deployment}} available",
            ),
            runbook="ConvnetReplicasMissing",
        ),
        graph(
            "Restarts",
            "Of containers.",
            "short",
            Query(rise("kube_pod_container_status_restarts_total", "pod", scope=IN_NAMESPACE, pod__re=pods), "{{pod}}"),
            runbook="ConvnetPodRestarts",
        ),
        graph(
            "Kafka's disks",
            "Share that is filled.",
            "percentunit",
            Query(
                f"1 - {IN_NAMESPACE('kubelet_volume_stats_available_bytes', **volume)} / "
                f"{IN_NAMESPACE('kubelet_volume_stats_capacity_bytes', **volume)}",
                "{{persistentvolumeclaim}}",
            ),
            most=1,
            levels=Levels(0.75, 0.9),
            runbook="ConvnetKafkaDiskFills",
        ),
    )
    return board(
        "convnet-capacity",
        "convnet-kafka / Cost and capacity",
        "What an image costs, how much room is left, and what Kubernetes gives.",
        [row("", *price), row("What is used", *use), row("Kubernetes (kube-state-metrics and the kubelet)", *kubernetes)],
        brokers=True,
        period="now-24h",
        refresh="1m",
    )
