"""Label files as Parquet, for `--output labels.parquet`: here and not in the client, which installs without pyarrow."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from convnet_kafka.client.label import Label
from convnet_kafka.client.output import COLUMNS, flat
from convnet_kafka.errors import SettingsError

# Rows turned into Arrow at a time; also the size of a row group.
_ROWS = 65_536


def is_installed() -> bool:
    """Whether pyarrow is there."""
    return importlib.util.find_spec("pyarrow") is not None


def write_parquet(path: Path, labels: Iterable[Label]) -> None:
    """Columns as `Label` has them, `top` as JSON, compressed with Zstandard."""
    import pyarrow as pa  # noqa: PLC0415 - an extra
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    types = {"confidence": pa.float64(), "model": pa.int64(), "revision": pa.int32(), "label": pa.dictionary(pa.int32(), pa.string())}
    schema = pa.schema([pa.field(name, types.get(name, pa.string())) for name in COLUMNS])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _groups(labels):
            columns = [
                pa.array(values, type=schema.field(name).type) for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True)
            ]
            writer.write_table(pa.table(columns, schema=schema))


def check() -> None:
    """Say what is missing before anything is sent.

    Raises:
        SettingsError: pyarrow is not installed.
    """
    if not is_installed():
        raise SettingsError("writing Parquet needs pyarrow: pip install 'convnet-kafka[parquet]', or choose labels.csv or labels.jsonl")


def _groups(labels: Iterable[Label]) -> Iterator[list[Label]]:
    rows = map(flat, labels)
    while group := list(islice(rows, _ROWS)):
        yield group
