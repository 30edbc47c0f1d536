"""Weights that `torch.save` wrote, read without unpickling: nothing of the file is ever imported or called.

Such a file is a zip archive with the tensors' bytes, and a pickle that says which bytes are which tensor. Its
opcodes are followed with values that only describe; a class or function is no more than its name.
"""

from __future__ import annotations

import pickletools
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from lorascale_lint.adapters.header import Header, Tensor
from lorascale_lint.errors import InputError

SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".lora")
_LARGEST_PICKLE = 64 * 2**20
_MOST_RECORDS = 2_000_000
_MOST_OPCODES = 4_000_000
_LARGEST_NUMBER = 10**18
_LONGEST_TEXT = 100_000
_LOCAL_HEADER = struct.Struct("<4s2xH6x12xHH")
_DTYPES = {
    "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16", "DoubleStorage": "F64",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL",
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_SIZES = {
    "F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Name:
    """What a pickle would import."""

    text: str


@dataclass(frozen=True, slots=True)
class _Storage:
    """Bytes of the archive, as a tensor refers to them."""

    dtype: str
    key: str


@dataclass(frozen=True, slots=True)
class _Described:
    """A tensor: a storage, the first element, shape and steps, all in elements."""

    storage: _Storage
    first: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]


class _Opaque:
    """Something that is no weight."""


class _Mark:
    """Where a group of values begins on the stack."""


def read_torch_header(path: Path) -> Header:
    """Names, shapes and places of the tensors of a file. Raises InputError if they can't be told."""
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            records = archive.infolist()
            if len(records) > _MOST_RECORDS:
                raise InputError(f"{path}: {len(records)} records are more than any adapter has")
            description = next((item for item in records if item.filename.endswith("/data.pkl")), None)
            if description is None:
                raise InputError(f"{path}: a zip archive, but not one that torch wrote")
            if description.file_size > _LARGEST_PICKLE:
                raise InputError(f"{path}: its pickle is larger than any adapter's")
            folder = description.filename.removesuffix("data.pkl")
            order = next((item for item in records if item.filename == f"{folder}byteorder"), None)
            if order is not None and order.file_size <= 16 and _content(path, archive, order) != b"little":
                raise InputError(f"{path}: its numbers are big-endian, which is not read")
            content = _content(path, archive, description)
            places = {
                item.filename.removeprefix(f"{folder}data/"): _place(path, item, file)
                for item in records
                if item.filename.startswith(f"{folder}data/")
            }
    except zipfile.BadZipFile:
        raise InputError(
            f"{path}: not a zip archive, as torch writes since 1.6; older ones are not read"
        ) from None
    except (OSError, ValueError, NotImplementedError, RuntimeError, struct.error, EOFError) as error:
        raise InputError(f"{path}: {error}") from None
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for name, value in _named(path, _followed(path, content)):
        if isinstance(value, _Described):
            tensors[name] = _tensor(path, name, value, places)
        elif (text := _text(value)) is not None:
            metadata[name] = text
    return Header(path, tensors, metadata, 0)


def _text(value: object) -> str | None:
    """What is said beside the tensors, if it is short."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
        return None
    return str(value)[:_LONGEST_TEXT]


def _content(path: Path, archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> bytes:
    """A record's bytes."""
    _refuse_packed(path, item)
    return archive.read(item)


def _refuse_packed(path: Path, item: zipfile.ZipInfo) -> None:
    if item.compress_type != zipfile.ZIP_STORED or item.flag_bits & 1:
        raise InputError(f"{path}: its records are compressed or encrypted, which torch does not do")


def _place(path: Path, item: zipfile.ZipInfo, file: Any) -> tuple[int, int]:
    """Where a record's bytes lie in the file, and how many there are."""
    _refuse_packed(path, item)
    file.seek(item.header_offset)
    magic, _flags, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if magic != b"PK\x03\x04":
        raise InputError(f"{path}: a record of the archive is not where it should be")
    return item.header_offset + _LOCAL_HEADER.size + name + extra, item.file_size


def _tensor(path: Path, name: str, value: _Described, places: Mapping[str, tuple[int, int]]) -> Tensor:
    storage = value.storage
    size = _SIZES[storage.dtype]
    elements = 1
    whole = True
    for length, step in zip(reversed(value.shape), reversed(value.steps), strict=True):
        whole &= length == 1 or step == elements
        elements *= length
    start, length = places.get(storage.key, (0, -1))
    first = value.first * size
    if not whole and length >= 0:
        # Its shape is known; whoever wants its numbers is told that they are not read.
        return Tensor(f"{storage.dtype} in another order", value.shape, start, start)
    if not 0 <= first <= first + elements * size <= length:
        raise InputError(f"{path}: `{name[:200]}` lies outside of the file")
    return Tensor(storage.dtype, value.shape, start + first, start + first + elements * size)


def _named(path: Path, value: object) -> Iterator[tuple[str, object]]:
    """The entries of a state dict, or of the state dicts in a dict, by name."""
    if not isinstance(value, dict):
        raise InputError(f"{path}: its tensors have no names (no dict of tensors, as adapters are)")
    inner = [item for item in value.values() if isinstance(item, dict)]
    for key, item in value.items():
        if not isinstance(key, str):
            continue
        if not isinstance(item, dict):
            yield key, item
            continue
        for name, content in item.items():
            if isinstance(name, str) and not isinstance(content, dict):
                yield (name if len(inner) == 1 else f"{key}.{name}"), content


def _followed(path: Path, content: bytes) -> object:
    """What the pickle describes. Raises InputError for anything that weights do not need."""
    machine = _Machine()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(BytesIO(content))):
            if opcode.name == "STOP":
                break
            if number == _MOST_OPCODES:
                raise _Foreign(f"more than {_MOST_OPCODES} opcodes")
            machine.step(opcode.name, argument)
        return machine.stack[-1]
    except _Foreign as error:
        raise InputError(f"{path}: its pickle has {error}, which weights do not need") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: its pickle is not whole: {error}") from None


class _Foreign(Exception):
    """An opcode or a value that no file of weights has."""


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    "BININT BININT1 BININT2 LONG1 LONG4 INT LONG FLOAT BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "UNICODE STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES".split()
)
_MEMO_SET = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_MEMO_GET = frozenset({"GET", "BINGET", "LONG_BINGET"})
_NO_EFFECT = frozenset({"PROTO", "FRAME"})


class _Machine:
    """The stack and the memo of a pickle, with values that only describe."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Follow one opcode. Raises _Foreign for one that weights do not need."""
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            self.stack.append(argument)
        elif name in _MEMO_SET:
            self._memo[int(argument)] = self.stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self.stack[-1]
        elif name in _MEMO_GET:
            self.stack.append(self._memo[int(argument)])
        elif name not in _NO_EFFECT:
            follow = getattr(self, f"_do_{name.lower()}", None)
            if follow is None:
                raise _Foreign(f"the opcode {name}")
            follow(argument)

    def _group(self) -> list[Any]:
        """The values since the last mark."""
        values: list[Any] = []
        while not isinstance(found := self.stack.pop(), _Mark):
            values.append(found)
        return values[::-1]

    def _do_mark(self, _: Any) -> None:
        self.stack.append(_Mark())

    def _do_pop(self, _: Any) -> None:
        self.stack.pop()

    def _do_empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _do_empty_list(self, _: Any) -> None:
        self.stack.append([])

    def _do_empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def _do_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._group()))

    def _do_tuple1(self, _: Any) -> None:
        self._tuple(1)

    def _do_tuple2(self, _: Any) -> None:
        self._tuple(2)

    def _do_tuple3(self, _: Any) -> None:
        self._tuple(3)

    def _tuple(self, count: int) -> None:
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(values)

    def _do_append(self, _: Any) -> None:
        value = self.stack.pop()
        self.stack[-1].append(value)

    def _do_appends(self, _: Any) -> None:
        values = self._group()
        self.stack[-1].extend(values)

    def _do_setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set(key, value)

    def _do_setitems(self, _: Any) -> None:
        values = self._group()
        for key, value in zip(values[::2], values[1::2], strict=True):
            self._set(key, value)

    def _set(self, key: Any, value: Any) -> None:
        if isinstance(self.stack[-1], dict):
            self.stack[-1][key] = value
        elif not isinstance(self.stack[-1], _Opaque):
            raise _Foreign("entries of something that is no dict")

    def _do_global(self, argument: Any) -> None:
        self.stack.append(_Name(str(argument).replace(" ", ".")))

    def _do_stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(_Name(f"{module}.{name}"))

    def _do_build(self, _: Any) -> None:
        # The state of an object: an OrderedDict's `_metadata`, or of something that is no weight.
        self.stack.pop()

    def _do_newobj(self, _: Any) -> None:
        del self.stack[-2:]
        self.stack.append(_Opaque())

    def _do_binpersid(self, _: Any) -> None:
        kind, storage, key, *_ = self.stack.pop()
        if kind != "storage" or not isinstance(storage, _Name):
            raise _Foreign("a reference to something that is no storage")
        name = storage.text.rpartition(".")[2]
        # An untyped storage gets its type from the tensor.
        self.stack.append(_Storage(_DTYPES.get(name, ""), str(key)))

    def _do_reduce(self, _: Any) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        name = called.text if isinstance(called, _Name) else ""
        if name == "collections.OrderedDict":
            self.stack.append({})
        elif name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"):
            self.stack.append(_described(name, arguments))
        elif name in ("torch._utils._rebuild_parameter", "torch._tensor._rebuild_from_type_v2"):
            self.stack.append(arguments[0] if name.endswith("parameter") else _Opaque())
        else:
            self.stack.append(_Opaque())


def _described(name: str, arguments: tuple[Any, ...]) -> _Described | _Opaque:
    storage, first, shape, steps, *rest = arguments
    if name.endswith("v3"):
        dtype = next((item.text for item in rest if isinstance(item, _Name)), "")
        storage = _Storage(_DTYPES.get(dtype.rpartition(".")[2], ""), storage.key)
    if not isinstance(storage, _Storage) or storage.dtype not in _SIZES:
        return _Opaque()
    if len(shape) != len(steps) or not all(
        isinstance(item, int) and item >= 0 for item in (*shape, *steps, first)
    ):
        raise _Foreign("a tensor of no possible shape")
    return _Described(storage, first, tuple(shape), tuple(steps))
