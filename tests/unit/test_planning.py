"""The arithmetic of `convnet-kafka plan`: what follows from what, and which wishes are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convnet_kafka.classifier.batching import MAX_BATCH_BYTES, UNDISTURBED_BATCH_S
from convnet_kafka.cli.planvalues import helm_values, kafka_values
from convnet_kafka.errors import SettingsError
from convnet_kafka.planning import (
    BATCH_BYTES,
    LONGEST_BATCH_S,
    MIB,
    MOST_PARTITIONS,
    Costs,
    Wishes,
    plan,
    record_bytes,
)

COSTS = Costs(
    source="a test",
    decode_us=1000.0,
    predict_us=8000.0,
    overhead_us=1000.0,
    alone_us=9000.0,
    server_us=10.0,
    server_us_per_kib=2.0,
    broker_us=10.0,
    broker_us_per_kib=1.0,
    pixels=100 * 100,
    image_bytes=50 * 1024,
    classifier_mib=200.0,
)
WISHES = Wishes(mean=100.0, peak=350.0, image_bytes=50 * 1024)


def test_classifiers_carry_the_peak_and_are_no_busier_than_wished() -> None:
    # 10 ms an image: 100/s are one core, 350/s three and a half; at 70% 1.43 and 5.
    assert plan(WISHES, COSTS).classifiers == (2, 5)
    assert plan(replace(WISHES, utilisation=0.35), COSTS).classifiers == (3, 10)


def test_a_short_latency_takes_idle_classifiers() -> None:
    relaxed, hurried = plan(replace(WISHES, latency_s=1.0), COSTS), plan(replace(WISHES, latency_s=0.14), COSTS)
    assert hurried.classifiers[1] > relaxed.classifiers[1]
    assert "for 140 ms" in hurried.lines[0].why


def test_a_latency_that_no_number_of_classifiers_reaches_is_refused_with_its_parts() -> None:
    with pytest.raises(SettingsError, match=r"--latency is 20 ms, and one image takes .* however many classifiers"):
        plan(replace(WISHES, latency_s=0.02), COSTS)


def test_an_image_may_find_the_longest_batch_in_its_way_since_the_rate_of_the_fast_lane_is_not_known() -> None:
    with pytest.raises(SettingsError, match=r"one image takes 118\.0 ms .*, 100\.0 ms behind a batch that was begun"):
        plan(replace(WISHES, latency_s=0.1), COSTS)


def test_what_is_in_the_way_is_bounded_in_images_and_in_bytes_too() -> None:
    def refused(image_us: float, image_bytes: int) -> str:
        costs = replace(COSTS, decode_us=0.0, predict_us=0.0, overhead_us=image_us)
        with pytest.raises(SettingsError) as refusal:
            plan(replace(WISHES, mean=1.0, peak=1.0, latency_s=0.001, image_bytes=image_bytes), costs)
        return str(refusal.value)

    assert " 25.6 ms behind a batch" in refused(100.0, 500)  # 256 small ones
    assert " 32.0 ms behind a batch" in refused(4000.0, 4 * MIB)  # eight are 32 MiB
    assert " 100.0 ms behind a batch" in refused(4000.0, MIB)
    assert " 200.0 ms behind a batch" in refused(200_000.0, 500)  # one, however long it takes


def test_each_classifier_has_as_many_partitions_as_the_others() -> None:
    for peak in (100.0, 350.0, 1000.0, 5000.0, 40_000.0):
        found = plan(replace(WISHES, peak=peak), COSTS)
        assert found.images_partitions % found.classifiers[1] == 0
        assert 12 <= found.images_partitions <= MOST_PARTITIONS


def test_more_classifiers_than_a_topic_may_have_partitions_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"take 1\d{3}|1,\d{3} classifiers"):
        plan(replace(WISHES, peak=100_000.0), COSTS)


def test_servers_cost_more_for_larger_images() -> None:
    assert plan(replace(WISHES, peak=20_000.0), replace(COSTS, decode_us=0, predict_us=0, overhead_us=10.0)).servers == (2, 4)


def test_a_classifiers_memory_holds_a_batch_bounded_as_batches_are() -> None:
    def beside_the_model(image_bytes: int, image_us: float) -> int:
        costs = replace(COSTS, decode_us=0.0, predict_us=0.0, overhead_us=image_us)
        return plan(replace(WISHES, image_bytes=image_bytes), costs).classifier_memory_mib - 200

    assert 0 < beside_the_model(500, 100.0) <= 64  # 256 small ones
    assert 24 <= beside_the_model(100 * 1024, 100.0) <= 24 + 64  # 256 of 100 KiB
    assert beside_the_model(MIB, 100.0) <= 32 + 64  # no more than 32 MiB
    assert beside_the_model(MIB, 10_000.0) <= 10 + 64  # ten take 100 ms
    assert 8 <= beside_the_model(8 * MIB, 200_000.0) <= 8 + 64  # one, however long it takes


def test_the_bounds_of_a_batch_are_those_of_the_classifier() -> None:
    assert (LONGEST_BATCH_S, BATCH_BYTES) == (UNDISTURBED_BATCH_S, MAX_BATCH_BYTES)


def test_one_broker_means_nothing_is_kept_twice() -> None:
    found = plan(replace(WISHES, mean=1.0, peak=1.0, brokers=1, replication=1), COSTS)
    assert (found.classifiers, found.servers) == ((1, 1), (1, 1))


def test_the_disk_holds_all_copies_for_the_whole_retention() -> None:
    image, label = record_bytes(WISHES.image_bytes)
    kept, labels = 168 * 3600, 240 * 3600
    images_only = 100.0 * kept * image
    found = plan(replace(WISHES, dead_share=0.0), COSTS)
    assert found.disk_bytes == pytest.approx((images_only + 100.0 * labels * label) * 1.25, rel=1e-6)
    assert plan(replace(WISHES, dead_share=0.0, retention_h=336.0), COSTS).disk_bytes > 1.9 * images_only
    assert plan(replace(WISHES, brokers=6), COSTS).disk_bytes == pytest.approx(plan(WISHES, COSTS).disk_bytes / 2, rel=1e-6)
    assert plan(replace(WISHES, replication=1), COSTS).disk_bytes == pytest.approx(plan(WISHES, COSTS).disk_bytes / 3, rel=1e-6)


def test_the_network_is_planned_for_the_peak() -> None:
    calm, busy = plan(replace(WISHES, peak=100.0), COSTS), plan(replace(WISHES, peak=200.0), COSTS)
    assert busy.network_in == pytest.approx(2 * calm.network_in)
    assert busy.network_out == pytest.approx(2 * calm.network_out)


def test_records_are_a_little_larger_than_their_images() -> None:
    image, label = record_bytes(1000)
    assert 1150 < image < 1350
    assert 300 < label < 500


def test_decoding_grows_with_the_pixels_and_predicting_does_not() -> None:
    larger = COSTS.at(200 * 100)
    assert (larger.decode_us, larger.predict_us) == (2000.0, 8000.0)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (replace(WISHES, mean=0.0), "--rate is 0"),
        (replace(WISHES, mean=float("nan")), "--rate is nan"),
        (replace(WISHES, peak=float("inf")), "--peak is inf"),
        (replace(WISHES, peak=50.0), "less than the mean"),
        (replace(WISHES, image_bytes=0), "--image-bytes is 0"),
        (replace(WISHES, image_bytes=20 * 2**20), "at most 10,485,760"),
        (replace(WISHES, brokers=2), "each copy lies on another broker"),
        (replace(WISHES, utilisation=1.0), "--utilisation"),
        (replace(WISHES, dead_share=-0.1), "--dead-letters"),
        (replace(WISHES, retention_h=-1.0), "--retention-hours is -1"),
    ],
)
def test_wishes_that_contradict_themselves_are_refused(wishes: Wishes, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        plan(wishes, COSTS)


def test_values_scale_where_the_peak_needs_more_than_the_mean() -> None:
    values = helm_values(plan(WISHES, COSTS))
    assert values["classifier"]["autoscaling"] == {"mode": "hpa", "minReplicas": 2, "maxReplicas": 5}
    assert "replicas" not in values["classifier"]  # what the autoscaler set would be set back by each upgrade
    assert values["server"]["replicas"] == 2
    assert values["server"]["autoscaling"] == {"mode": "none"}
    assert values["topics"]["minInsyncReplicas"] == 2
    assert kafka_values(plan(WISHES, COSTS))["brokers"]["replicas"] == 3
