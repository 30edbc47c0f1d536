"""Adapters in GGUF: read as the package `gguf` reads them, and refused where that goes on for ever."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.adapters.gguf_files import read_gguf_header
from lorascale_lint.adapters.norms import delta_norms
from lorascale_lint.adapters.predictions import Outcome
from tests.examples import examples

Output = tuple[int, str, str]

needs_gguf = pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="needs gguf")


def gguf_file(
    path: Path, alpha: float | None, names: tuple[str, ...] = ("blk.0.attn_q", "blk.1.attn_q")
) -> Path:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    if alpha is not None:
        writer.add_float32("adapter.lora.alpha", alpha)
    generator = np.random.default_rng(0)
    for name in ("blk.0.attn_q", "blk.1.attn_q"):
        writer.add_tensor(f"{name}.weight.lora_a", generator.standard_normal((8, 12)).astype(np.float32))
        writer.add_tensor(f"{name}.weight.lora_b", generator.standard_normal((20, 8)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@needs_gguf
def test_gguf(inspect: Callable[..., Output], tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "lora.gguf", 4.0)
    found = inspect_file(path)
    assert found.adapter.convention.name == "gguf"
    assert [(item.rank, item.alpha, item.scale) for item in found.adapter.modules] == [(8, 4, 0.5)] * 2
    norms = delta_norms(found.adapter)
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((8, 12)), generator.standard_normal((20, 8))
    assert norms["blk.0.attn_q.weight"] == pytest.approx(0.5 * np.linalg.norm(b @ a), rel=1e-5)
    outcomes = {item.loader.key: item for item in found.predictions}
    assert (outcomes["llama.cpp"].outcome, outcomes["llama.cpp"].low) == (Outcome.RIGHT, 0.5)
    assert outcomes["comfyui"].outcome is Outcome.UNKNOWN
    code, out, _ = inspect(path)
    assert code == 0
    assert "llama.cpp" in out.splitlines()[0]
    found = inspect_file(gguf_file(tmp_path / "none.gguf", None))
    assert {item.assumed for item in found.adapter.modules} == {True}


@needs_gguf
def test_broken_gguf(inspect: Callable[..., Output], tmp_path: Path) -> None:
    whole = gguf_file(tmp_path / "lora.gguf", 4.0).read_bytes()
    for number, content in enumerate((b"", b"GGUF", whole[:40], whole[:-200], b"GGUF" + b"\xff" * 60)):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(content)
        code, _, err = inspect(path)
        assert code == 2, number
        assert err.startswith(f"error: {path}: ")


@needs_gguf
@pytest.mark.parametrize("big_endian", [False, True])
def test_gguf_is_read_as_its_own_package_reads_it(tmp_path: Path, big_endian: bool) -> None:
    import gguf

    path = tmp_path / "a.gguf"
    order = gguf.GGUFEndian.BIG if big_endian else gguf.GGUFEndian.LITTLE
    writer = gguf.GGUFWriter(path, "llama", endianess=order)
    writer.add_custom_alignment(64)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 0.1)
    writer.add_bool("general.flag", True)
    writer.add_array("tokenizer.ggml.tokens", ["ä", "b" * 300])
    writer.add_array("general.numbers", [1, 2, 3])
    writer.add_tensor("half.lora_a", np.ones((4, 64), np.float16))
    packed = gguf.quantize(np.ones((4, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("packed.lora_a", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found, theirs = read_gguf_header(path), gguf.GGUFReader(path)
    assert {name: (item.dtype, item.shape, item.start, item.end) for name, item in found.tensors.items()} == {
        item.name: (
            item.tensor_type.name,
            tuple(map(int, reversed(item.shape))),
            int(item.data_offset),
            int(item.data_offset + item.n_bytes),
        )
        for item in theirs.tensors
    }
    assert found.metadata == {
        name: str(field.contents())
        for name, field in theirs.fields.items()
        if name.startswith(("adapter.", "general.")) and name != "general.numbers"
    }


LONG = b"\xff" * 7 + b"\x0f"
BEGIN = b"GGUF\3\0\0\0"
LENGTHS = {
    "tensors": BEGIN + LONG + bytes(8),
    "settings": BEGIN + bytes(8) + LONG,
    "a name": BEGIN + bytes(8) + b"\1" + bytes(7) + LONG,
    "a text": BEGIN + bytes(8) + b"\1" + bytes(15) + b"\x08\0\0\0" + LONG,
    "a list": BEGIN + bytes(8) + b"\1" + bytes(15) + b"\x09\0\0\0\0\0\0\0" + LONG,
    "a list of texts": BEGIN
    + bytes(8)
    + b"\1"
    + bytes(15)
    + b"\x09\0\0\0\x08\0\0\0\xff\xff"
    + bytes(6)
    + LONG,
    "lists in lists": BEGIN + bytes(8) + b"\1" + bytes(15) + b"\x09\0\0\0" * 2 + b"\1" + bytes(7),
    "dimensions": BEGIN + b"\1" + bytes(23) + b"\xff" * 4,
}


@needs_gguf
@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_that_lead_out_of_a_gguf_file(
    name: str, inspect: Callable[..., Output], tmp_path: Path
) -> None:
    """The package's own reader goes on for ever, and fills the memory."""
    path = tmp_path / "a.gguf"
    path.write_bytes(LENGTHS[name])
    code, out, err = inspect(path)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {path}: not a valid GGUF file: ")
    assert err.count("\n") == 1


@needs_gguf
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(100))
def test_mutated_gguf_files(data: st.DataObject, inspect: Callable[..., Output], tmp_path: Path) -> None:
    whole = tmp_path / "whole.gguf"
    if not whole.exists():
        gguf_file(whole, 4.0)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.gguf").write_bytes(content)
    code, _, err = inspect(tmp_path / "a.gguf")
    assert code in (0, 2)
    assert "Traceback" not in err


def test_without_the_package_for_gguf(
    inspect: Callable[..., Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    code, _, err = inspect(tmp_path / "a.gguf")
    assert code == 2
    assert "lorascale-lint[gguf]" in err
