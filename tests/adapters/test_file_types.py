"""Files other than safetensors: torch's zip archives without unpickling."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import random
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from lorascale_lint.adapters.adapter import understand
from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.adapters.norms import delta_norms
from lorascale_lint.adapters.predictions import Outcome
from lorascale_lint.adapters.source import find_files, read_source
from lorascale_lint.adapters.torch_files import read_torch_header
from lorascale_lint.errors import InputError
from tests.adapters.layouts import FLAT, NAMES, Tensors, pair, peft_pair, write
from tests.examples import examples

Output = tuple[int, str, str]
PEFT = tuple("base_model.model." + name for name in NAMES)


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


needs_torch = pytest.mark.skipif(not has("torch"), reason="needs torch (extra verify)")


def numbers(tensors: Tensors) -> Tensors:
    """The same tensors with other numbers than 0, alphas aside."""
    generator = np.random.default_rng(0)
    return {
        name: generator.standard_normal(value.shape).astype(np.float32) if value.shape else value
        for name, value in tensors.items()
    }


@needs_torch
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["lora.pt", "lora.bin", "lora.pth", "lora.ckpt"])
def test_torch_files_are_read_like_safetensors(name: str, dtype: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {
        key: torch.from_numpy(np.asarray(value)).to(getattr(torch, dtype))
        for key, value in numbers(pair(FLAT, 8, alpha=4)).items()
    }
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save(tensors, tmp_path / name)
    one, other = (understand(read_source(tmp_path / item)) for item in ("a.safetensors", name))
    assert other.convention.name == "kohya"
    assert [(item.name, item.rank, item.alpha, item.scale) for item in other.modules] == [
        (item.name, item.rank, item.alpha, item.scale) for item in one.modules
    ]
    assert delta_norms(other) == delta_norms(one)


@needs_torch
def test_shapes_of_state_dicts(tmp_path: Path) -> None:
    import torch

    tensors = {key: torch.from_numpy(np.asarray(value)) for key, value in pair(FLAT, 8, alpha=4).items()}
    given_as: dict[str, Any] = {
        "ordered": OrderedDict(tensors),
        "inside": {"state_dict": tensors, "epoch": 3, "alpha": 2.0},
        "parameters": {key: torch.nn.Parameter(value) for key, value in tensors.items()},
        "old pickle": tensors,
        "module": torch.nn.Linear(4, 4).state_dict() | tensors,
    }
    for title, content in given_as.items():
        path = tmp_path / f"{title}.pt"
        torch.save(content, path, **({"pickle_protocol": 4} if title == "old pickle" else {}))
        assert {item.scale for item in understand(read_source(path)).modules} == {0.5}, title
    assert read_torch_header(tmp_path / "inside.pt").metadata == {"epoch": "3", "alpha": "2.0"}


@needs_torch
def test_views_of_a_storage(tmp_path: Path) -> None:
    import torch

    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    torch.save({"rows.lora_A": whole[1:3], "turned.lora_A": whole.T, "one": whole[0, 5]}, tmp_path / "a.pt")
    header = read_torch_header(tmp_path / "a.pt")
    assert header.tensors["rows.lora_A"].shape == (2, 6)
    assert header.numbers(["rows.lora_A"])["rows.lora_A"] == tuple(range(6, 18))
    assert header.numbers(["one"]) == {"one": (5.0,)}
    assert header.tensors["turned.lora_A"].shape == (6, 4)
    assert header.numbers(["turned.lora_A"]) == {}


@needs_torch
def test_a_peft_folder_of_before_safetensors(inspect: Callable[..., Output], tmp_path: Path) -> None:
    import torch

    torch.save(
        {key: torch.from_numpy(value) for key, value in peft_pair(PEFT, 8).items()},
        tmp_path / "adapter_model.bin",
    )
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 4}))
    code, out, _ = inspect(tmp_path)
    assert code == 0
    assert "Pass `scale_layer(1.0)` to PEFT, `--lora-scaled FILE:1.0` to llama.cpp" in " ".join(out.split())
    outcomes = {
        item.loader.key: item.outcome for item in inspect_file(tmp_path / "adapter_model.bin").predictions
    }
    assert outcomes["comfyui"] is Outcome.UNKNOWN


class Evil:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def archive(path: Path, content: bytes, **records: bytes) -> Path:
    """A zip archive as torch writes it, with that pickle."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/byteorder", b"little")
        for name, data in records.items():
            file.writestr(f"archive/data/{name}", data)
    return path


def test_nothing_of_a_pickle_is_executed(inspect: Callable[..., Output], tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        content = pickle.dumps({"a": Evil(str(marker))}, protocol)
        path = archive(tmp_path / f"evil{protocol}.pt", content)
        code, _, err = inspect(path)
        assert code == 2
        assert err.startswith(f"error: {path}: ")
    assert not marker.exists()


BROKEN = {
    "no archive": b"not a zip",
    "a bare pickle": pickle.dumps({"a": 1}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_no_archive(name: str, inspect: Callable[..., Output], tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(BROKEN[name])
    code, _, err = inspect(tmp_path / "a.pt")
    assert code == 2
    assert "not a zip archive" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (pickle.dumps([1, 2]), "no dict of tensors"),
        (b"\x80\x02}q\x00", "not whole"),
        (b"\x80\x02(", "not whole"),
        (b"\x80\x02cos\nsystem\nq\x00(i__main__\nX\n.", "opcode INST"),
        (b"\x80\x02}X\x01\x00\x00\x00as.", "not whole"),
        (b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".", "no dict of tensors"),
        (b"\x80\x02h\x07.", "not whole"),
        (pickle.dumps({"alpha": 10**5000, "x": True}, 2), "no tensors in it"),
    ],
)
def test_pickles_that_hold_no_weights(
    content: bytes, text: str, inspect: Callable[..., Output], tmp_path: Path
) -> None:
    code, _, err = inspect(archive(tmp_path / "a.pt", content))
    assert code == 2
    assert text in err
    assert err.count("\n") == 1


PACKED = {
    "a pickle that is none": (zipfile.ZIP_DEFLATED, b"\x80\x02}."),
    "damaged": (zipfile.ZIP_DEFLATED, None),
    "damaged, by lzma": (zipfile.ZIP_LZMA, None),
    "a bomb": (zipfile.ZIP_DEFLATED, b"(" * 2**24),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_pickle_is_not_unpacked(name: str, inspect: Callable[..., Output], tmp_path: Path) -> None:
    kind, content = PACKED[name]
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr("archive/data.pkl", random.Random(1).randbytes(2000) if content is None else content)
    if content is None:
        path.write_bytes(path.read_bytes().replace(path.read_bytes()[60:90], b"Z" * 30))
    assert inspect(path) == (
        2,
        "",
        f"error: {path}: its records are compressed or encrypted, which torch does not do\n",
    )


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".gguf"])
@pytest.mark.skipif(os.name == "nt", reason="pipes")
def test_a_pipe_is_no_file_and_nobody_waits(
    suffix: str, inspect: Callable[..., Output], tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    os.mkfifo(path)
    assert inspect(path) == (2, "", f"error: {path}: not a file\n")


@needs_torch
def test_places_outside_of_the_file(tmp_path: Path) -> None:
    import torch

    torch.save({"x.lora_A": torch.zeros(2, 3)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as whole:
        content = whole.read("a/data.pkl")
    with pytest.raises(InputError, match="lies outside"):
        read_torch_header(archive(tmp_path / "short.pt", content, **{"0": b"\0" * 8}))
    with pytest.raises(InputError, match="lies outside"):
        read_torch_header(archive(tmp_path / "none.pt", content))
    with zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/data/0", b"\0" * 24)
    with pytest.raises(InputError, match="compressed"):
        read_torch_header(tmp_path / "packed.pt")


@needs_torch
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(100))
def test_mutated_files(data: st.DataObject, inspect: Callable[..., Output], tmp_path: Path) -> None:
    import torch

    whole = tmp_path / "whole.pt"
    if not whole.exists():
        torch.save(
            {key: torch.from_numpy(np.asarray(it)) for key, it in pair(FLAT[:2], 2, alpha=4).items()}, whole
        )
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.pt").write_bytes(content)
    code, _, err = inspect(tmp_path / "a.pt")
    assert code in (0, 2)
    assert "Traceback" not in err


@needs_torch
@given(content=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(200))
def test_any_pickle(content: bytes, inspect: Callable[..., Output], tmp_path: Path) -> None:
    code, _, err = inspect(archive(tmp_path / "a.pt", b"\x80\x02" + content + b"."))
    assert code in (0, 2)
    assert "Traceback" not in err


def cache(folder: Path, revisions: dict[str, float], main: str | None) -> Path:
    """A model in Hugging Face's cache: revisions with links to blobs, each with its alpha."""
    model = folder / "models--someone--lora"
    (model / "blobs").mkdir(parents=True)
    for revision, alpha in revisions.items():
        blob = write(model / "blobs" / f"{revision}.safetensors", pair(FLAT, 8, alpha=alpha))
        blob = blob.rename(model / "blobs" / revision)
        (model / "snapshots" / revision).mkdir(parents=True)
        (model / "snapshots" / revision / "lora.safetensors").symlink_to(f"../../blobs/{blob.name}")
    if main is not None:
        (model / "refs").mkdir()
        (model / "refs" / "main").write_text(main)
    return model


def test_a_model_in_hugging_faces_cache(tmp_path: Path) -> None:
    model = cache(tmp_path, {"aaa": 4, "bbb": 8}, "aaa")
    for place in (tmp_path, model):
        (file,) = find_files(place)
        assert file.parent.name == "aaa"
        assert {item.alpha for item in understand(read_source(file)).modules} == {4}
    (file,) = find_files(model / "snapshots" / "bbb")
    assert {item.alpha for item in understand(read_source(file)).modules} == {8}


def test_a_cache_without_main(tmp_path: Path) -> None:
    model = cache(tmp_path, {"aaa": 4, "bbb": 8}, None)
    os.utime(model / "snapshots" / "aaa", (1, 1))
    (file,) = find_files(model)
    assert file.parent.name == "bbb"
