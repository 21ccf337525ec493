"""Read the tensors of a legacy PyTorch file with numpy alone. Nothing stored in the file is run: four names are allowed, all else refused.

The format: four pickles (a magic number, a protocol number, the writer's sizes, the state dictionary), then a pickle of storage keys
and, in that order, each storage as an element count (int64) and its elements.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnet.errors import ModelError

_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where a tensor's elements stand. Strides are the writer's: a transposed tensor is stored as it lay in memory."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild(storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


class _FloatStorage:
    dtype = np.dtype("<f4")


class _LongStorage:
    dtype = np.dtype("<i8")


_ALLOWED: Mapping[tuple[str, str], Callable[..., Any]] = MappingProxyType(
    {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch", "FloatStorage"): _FloatStorage,
        ("torch", "LongStorage"): _LongStorage,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    }
)


class _Reader(pickle.Unpickler):
    """An unpickler that knows the four names; storages are noted here and read when their elements come."""

    def __init__(self, file: io.BytesIO, dtypes: dict[str, np.dtype[Any]]) -> None:
        super().__init__(file)
        self._dtypes = dtypes

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise ModelError(f"the weights' file names {module}.{name}, which no file of weights needs; it was not read") from None

    def persistent_load(self, pid: Any) -> str:
        kind, storage, key = pid[:3]
        if kind != "storage" or storage not in {_FloatStorage, _LongStorage}:
            raise ModelError("the weights' file refers to something else than a storage of numbers; it was not read")
        self._dtypes[key] = storage.dtype
        return str(key)


def read_tensors(data: bytes) -> dict[str, NDArray[Any]]:
    """Every tensor of a state dictionary by its name: float32 or int64, C order, owned by the caller.

    Raises:
        ModelError: it is no such file, is cut short, or holds anything but tensors.
    """
    file, dtypes = io.BytesIO(data), dict[str, np.dtype[Any]]()
    try:
        magic, _, _ = (_Reader(file, dtypes).load() for _ in range(3))
        if magic != _MAGIC:
            raise ModelError("this is no legacy PyTorch file of weights")
        tensors = _Reader(file, dtypes).load()
        keys = _Reader(file, dtypes).load()
        storages = {}
        for key in keys:
            count = int(np.frombuffer(file.read(8), "<i8")[0])
            storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key], count)
        return {name: _array(tensor, storages[tensor.storage]) for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the weights' file is damaged: {error}") from error


def _array(tensor: _Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    """Elements in the tensor's own order, its bounds checked: strides out of a file must not reach beyond the storage."""
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if min((tensor.offset, *tensor.strides, *tensor.shape), default=0) < 0 or last >= len(storage):
        raise ValueError("a tensor reaches beyond its storage")
    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :], tensor.shape, [stride * storage.itemsize for stride in tensor.strides], writeable=False
    )
    return np.ascontiguousarray(view)
