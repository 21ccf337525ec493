"""What one image costs, for `convnet-kafka plan`: measured here in a few seconds, read from a file, or the built-in figures.

Measures in this process, without Kafka: decode, predict and the making of records. What Kafka's client library adds in a classifier, and
what servers and brokers spend, are the built-in figures of docs/performance.md; `Costs.source` says so.
"""

from __future__ import annotations

import io
import math
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import orjson
from PIL import Image

from convnet.images import ImageSpec, decode
from convnet.predictor import load_predictor
from convnet.registry import Registry
from convnet_kafka.errors import SettingsError
from convnet_kafka.messages import ImageReader, ImageWriter, LabelRecord, Lane
from convnet_kafka.planning import MIB, Costs, longest_batch
from convnet_kafka.replies import Results
from convnet_kafka.settings import ClassifierSettings, KafkaSettings

# Consuming a record 3 us, producing one with headers and a delivery callback 10 us: not measured without a Kafka.
KAFKA_US = 13.0
# Images that are predicted, and records that are made, in one turn. More make none cheaper here (the largest shape that is prepared is 16),
# and 256 are well over a second of a large network.
_TURN = 64
_PICTURES = 64
_PICTURES_READ = 256
_MICRO = 1e6


def built_in() -> Mapping[str, Costs]:
    """The figures of docs/performance.md, by network."""
    return MappingProxyType({"original": _ORIGINAL, "efficientnet-lite0": _EFFICIENTNET_LITE0})


def read(path: Path) -> Costs:
    """Costs that `--save-costs` wrote.

    Raises:
        SettingsError: the file cannot be read, or holds something else.
    """
    try:
        costs = Costs(**orjson.loads(path.read_bytes()))
        sound = all(value >= 0 for name, value in asdict(costs).items() if name != "source") and costs.pixels > 0
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{path} holds no costs ({error}); make it with: convnet-kafka plan --measure --save-costs {path}") from error
    if not sound:
        raise SettingsError(f"{path} holds a cost below 0; make it with: convnet-kafka plan --measure --save-costs {path}")
    return costs


def write(path: Path, costs: Costs) -> None:
    """Keep costs for `read`. Raises SettingsError when the file cannot be written."""
    try:
        path.write_bytes(orjson.dumps(asdict(costs), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror or error}") from error


def measure(models: Path, pictures: Path | None, size: tuple[int, int] | None, seconds: float) -> Costs:
    """Measure the stable model of a models folder on this machine's CPU, one core.

    Args:
        models: folder of the registry; what its stable version serves is measured.
        pictures: a folder of them, or None to make some (noise with structure, which decodes as slowly as a photo does).
        size: width and height of the pictures that are made; None makes them as the network takes them.
        seconds: that the measuring takes, about.

    Raises:
        ConvnetError: there is no model, or it cannot be loaded.
        SettingsError: there are no pictures.
    """
    predictor = load_predictor(Registry(models), "stable", max_batch=_TURN, threads=ClassifierSettings.model_fields["threads"].default)
    predictor.warm_up()
    spec = predictor.spec
    contents = _made(size or (spec.width, spec.height), spec) if pictures is None else _read(pictures, spec)
    pixels = round(float(np.mean([_pixels(content) for content in contents])))
    decoded = np.stack([decode(content, spec) for content in contents[:_TURN]])
    decode_us = _cost_us(lambda: [decode(content, spec) for content in contents], len(contents), seconds / 4)
    predict_us = _cost_us(lambda: predictor.predict(decoded), len(decoded), seconds / 4)
    alone_us = _cost_us(lambda: predictor.predict(decoded[:1]), 1, seconds / 4)
    record_us = _cost_us(lambda: _records(_TURN), _TURN, seconds / 4)
    card = predictor.card
    costs = replace(
        _ORIGINAL if pixels < 128 * 128 else _EFFICIENTNET_LITE0,
        source=f"measured on {_machine()}: version {card.version} of {models} ({card.network}, {card.served}), "
        f"{'made' if pictures is None else 'your'} pictures; servers, brokers and Kafka's client as in docs/performance.md",
        decode_us=decode_us,
        predict_us=predict_us,
        alone_us=alone_us,
        overhead_us=record_us + KAFKA_US,
        pixels=pixels,
        image_bytes=round(float(np.mean([len(content) for content in contents]))),
    )
    return replace(costs, classifier_mib=_memory_mib(spec, longest_batch(costs.classifier_us, costs.image_bytes)))


def _cost_us(work: Callable[[], object], images: int, seconds: float) -> float:
    """CPU microseconds of one image: the least of several turns, since other work on the machine can only add."""
    work()
    best, until = float("inf"), time.monotonic() + seconds
    while best == float("inf") or time.monotonic() < until:
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best / images * _MICRO


def _records(count: int) -> None:
    """What a classifier does with the records of a batch, without Kafka: read their headers, make the labels and their record."""
    job, at = "0" * 32, 1_700_000_000_000
    writer = ImageWriter(job=job, reply_partition=3, tenant="default", submitted_at_ms=at)
    _, headers = writer.write("folder/picture-00001.jpeg", b"", "image/jpeg")
    reader, results = ImageReader(), Results(job, "default", 0, failed=False)
    for _ in range(count):
        record = reader.read(headers, b"")
        label = LabelRecord(record.image, record.name, 0, "a-class-name", 0.987654, None, None, 1, Lane.BULK, at, at)
        results.images.append(record.image)
        results.values.append(label.to_json())
    list(results.records())


def _made(size: tuple[int, int], spec: ImageSpec) -> list[bytes]:
    """Pictures of this size: PNG when small and grey, JPEG otherwise, as people send them."""
    random, contents = np.random.default_rng(1), []
    small = max(size) <= 64
    for _ in range(_PICTURES):
        coarse = random.integers(0, 256, (12, 12, 3), np.uint8)
        picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        noisy = np.asarray(picture).astype(np.int16) + random.integers(-6, 7, (size[1], size[0], 1))
        picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        buffer = io.BytesIO()
        (picture.convert("L") if spec.channels == 1 else picture).save(buffer, "PNG" if small else "JPEG", quality=87)
        contents.append(buffer.getvalue())
    return contents


def _read(folder: Path, spec: ImageSpec) -> list[bytes]:
    """Pictures of a folder, evenly chosen; those that cannot be decoded are left out."""
    from convnet.errors import UnreadableImage  # noqa: PLC0415 - only with pictures of one's own

    files = sorted(file for file in folder.rglob("*") if file.is_file())
    contents = []
    for file in files[:: max(1, len(files) // _PICTURES_READ)][:_PICTURES_READ]:
        try:
            content = file.read_bytes()
            decode(content, spec)
        except (OSError, UnreadableImage):
            continue
        contents.append(content)
    if not contents:
        raise SettingsError(f"{folder} holds no picture that can be decoded; give --pictures a folder of such as you will send")
    return contents


def _pixels(content: bytes) -> int:
    with Image.open(io.BytesIO(content)) as image:
        return image.width * image.height


def _memory_mib(spec: ImageSpec, images: float) -> float:
    """What a classifier holds at its peak: this process so far, which has the model, the pixels of so many images, and Kafka's buffers.

    A classifier sets room aside for the pixels of as many images as its setting allows, but what no batch has filled takes no memory.
    """
    # Kilobytes on Linux, bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    pixels = math.ceil(images) * int(np.prod(spec.shape))
    return (peak + pixels) / MIB + int(KafkaSettings.model_fields["memory_budget_mib"].default)


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


_ORIGINAL = Costs(
    source="built-in figures for 28x28 PNG and the original network in int8 (docs/performance.md); `--measure` takes yours",
    decode_us=17.0,
    predict_us=24.0,
    overhead_us=18.0,
    alone_us=60.0,
    server_us=14.4,
    server_us_per_kib=4.5,
    broker_us=8.8,
    broker_us_per_kib=8.5,
    pixels=28 * 28,
    image_bytes=519,
    classifier_mib=205.0,
)
# Bytes of photos: `run.py --photos` beside small pictures, with what idle processes take (docs/performance.md) left in: an upper bound.
_EFFICIENTNET_LITE0 = Costs(
    source="built-in figures for 640x427 JPEG and EfficientNet-Lite0 at 224x224 in float32 (docs/performance.md); `--measure` takes yours",
    decode_us=1800.0,
    predict_us=5500.0,
    overhead_us=290.0,
    alone_us=5500.0,
    server_us=14.4,
    server_us_per_kib=4.5,
    broker_us=8.8,
    broker_us_per_kib=8.5,
    pixels=640 * 427,
    image_bytes=59_700,
    classifier_mib=250.0,
)
