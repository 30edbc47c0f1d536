"""`lorascale-lint inspect`: output, exit codes, and files that are broken or hostile."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.adapters.layouts import FLAT, NAMES, pair, peft_pair, write, zeros
from tests.examples import examples

Output = tuple[int, str, str]


def test_text(inspect: Callable[..., Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("video.safetensors"), pair(NAMES, 16, "lora_A", "lora_B", 8, "lora_alpha"))
    code, out, err = inspect("video.safetensors")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    facts = next(number for number, line in enumerate(lines) if line.startswith("  LoRA, "))
    assert " ".join(line.strip() for line in lines[:facts]) == (
        "video.safetensors: FastVideo 0.2.1 applies 0.5 or 1, by the names of the modules; FastVideo up to "
        "0.1.6 would apply it 2 times too strong and SGLang (diffusion models) would apply it 2 times too "
        "strong (pass `strength=0.5`)"
    )
    assert lines[facts : facts + 3] == [
        "  LoRA, rank 16, alpha 8: trained scale 0.5, 4 modules, all equal",
        "  layout: FastVideo (`blocks.0.attn.to_q.lora_alpha`)",
        "  alpha: `.lora_alpha` tensors",
    ]
    assert "wrong: 2 times the trained scale" in out


def test_json(inspect: Callable[..., Output], tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", pair(FLAT, 8, alpha=float("nan")))
    write(tmp_path / "b.safetensors", pair(FLAT, 8, alpha=4))
    code, out, _ = inspect("--format", "json", tmp_path)
    first, second = json.loads(out)
    assert code == 0
    assert (first["modules"][0]["alpha"], first["modules"][0]["scale"]) == ("nan", None)
    assert second["convention"] == "kohya"
    assert second["modules"][0] == {
        "name": FLAT[0], "kind": "LoRA", "rank": 8, "branches": 1, "alpha": 4.0, "alpha_source": "tensor",
        "alpha_key": "alpha", "rslora": False, "dora": False, "scale": 0.5, "assumed": False,
    }  # fmt: skip
    assert {item["loader"]: item["outcome"] for item in second["loaders"]}["comfyui"] == "right"


@pytest.mark.parametrize(
    ("loader", "code"),
    [
        ("fastvideo-0.1.6", 1),
        ("fastvideo", 3),
        ("diffsynth-2", 0),
        ("lycoris", 1),
        ("vllm", 1),
        ("invokeai", 3),
        ("nothing", 2),
    ],
)
def test_one_loader(loader: str, code: int, inspect: Callable[..., Output], tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", peft_pair(["diffusion_model." + name for name in NAMES], 8, 4))
    assert inspect(path, "--loader", loader)[0] == code


def header(text: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + data


def entry(name: str, *, dtype: str = "F32", shape: str = "[1]", offsets: str = "[0,4]") -> str:
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


FOUR = b"\0\0\0\0"
BROKEN = {
    "empty": b"",
    "short": b"abc",
    "huge length": struct.pack("<Q", 2**62) + b"{}",
    "negative length": struct.pack("<q", -1) + b"{}",
    "no text": header(b"\xff\xfe"),
    "no JSON": header(b"{" * 9),
    "deep JSON": header(b'{"a":' + b"[" * 100_000 + b"}"),
    "an array": header(b"[]"),
    "no tensors": header(b"{}"),
    "truncated": header(f"{{{entry('a.alpha')}}}".encode(), b"\0\0"),
    "longer than it says": header(f"{{{entry('a.alpha')}}}".encode(), FOUR * 2),
    "out of range": header(f"{{{entry('a.alpha', offsets='[0,400]')}}}".encode(), FOUR),
    "reversed": header(f"{{{entry('a.alpha', offsets='[4,0]')}}}".encode(), FOUR),
    "overlapping": header(f"{{{entry('a.alpha')},{entry('b.alpha')}}}".encode(), FOUR),
    "twice": header(f"{{{entry('a.alpha')},{entry('a.alpha')}}}".encode(), FOUR),
    "unknown type": header(f"{{{entry('a.alpha', dtype='X9')}}}".encode(), FOUR),
    "negative shape": header(f"{{{entry('a.alpha', shape='[-1]')}}}".encode(), FOUR),
    "huge shape": header(f"{{{entry('a.alpha', shape=f'[{2**62},{2**62}]')}}}".encode(), FOUR),
    "metadata of numbers": header(f'{{"__metadata__":{{"a":1}},{entry("a.alpha")}}}'.encode(), FOUR),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(name: str, inspect: Callable[..., Output], tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(BROKEN[name])
    write(tmp_path / "good.safetensors", pair(FLAT, 8, alpha=4))
    code, out, err = inspect(tmp_path)
    assert code == 2
    assert err.startswith(f"error: {path}: ")
    assert err.count("\n") == 1
    assert "trained scale 0.5" in out


def test_other_tensors_are_not_guessed(inspect: Callable[..., Output], tmp_path: Path) -> None:
    names = ("model.layers.0.mlp.up.weight", "model.layers.0.mlp.down.weight", "x.alpha", "x.a1.weight")
    path = write(tmp_path / "base.safetensors", {name: zeros(4, 4) for name in names})
    code, out, err = inspect(path)
    assert (code, out) == (2, "")
    assert "unknown layout: none of 4 tensors makes an adapter; keys such as `model.layers" in err


def test_paths(inspect: Callable[..., Output], tmp_path: Path) -> None:
    (tmp_path / "pickle.pkl").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "loop").symlink_to(tmp_path / "folder")
    for name, text in (
        ("missing.safetensors", "no such file"),
        ("pickle.pkl", "not a .safetensors, .bin,"),
        ("folder", "no .safetensors, .bin,"),
    ):
        code, _, err = inspect(tmp_path / name)
        assert code == 2
        assert text in err


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"a":' + b"[" * 100_000])
def test_broken_settings(content: bytes, inspect: Callable[..., Output], tmp_path: Path) -> None:
    write(tmp_path / "adapter_model.safetensors", peft_pair(NAMES, 8))
    (tmp_path / "adapter_config.json").write_bytes(content)
    code, _, err = inspect(tmp_path)
    assert code == 2
    assert "adapter_config.json" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", ["pipe", "device", "nowhere", "folder"])
def test_settings_that_are_no_file_are_said(
    kind: str, inspect: Callable[..., Output], tmp_path: Path
) -> None:
    write(tmp_path / "adapter_model.safetensors", peft_pair(NAMES, 8))
    settings_file = tmp_path / "adapter_config.json"
    if kind == "pipe":
        os.mkfifo(settings_file)
    elif kind == "folder":
        settings_file.mkdir()
    else:
        settings_file.symlink_to("/dev/zero" if kind == "device" else tmp_path / "gone")
    code, _, err = inspect(tmp_path)
    assert (code, err) == (2, f"error: {settings_file}: not a file\n")


def test_names_cannot_control_the_terminal(inspect: Callable[..., Output], tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", pair(["lora_unet_\x1b[31m\nx\u202e"], 8))
    code, out, err = inspect(tmp_path / "a.safetensors")
    assert code == 0
    assert "\x1b" not in out + err
    assert "\u202e" not in out + err


STRANGE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()))


@given(
    values=st.fixed_dictionaries(
        dict.fromkeys(("peft_type", "r", "lora_alpha", "use_rslora", "lora_parameters"), STRANGE)
    ),
    patterns=st.dictionaries(st.text(), STRANGE),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_settings(
    values: dict[str, object], patterns: dict[str, object], inspect: Callable[..., Output], tmp_path: Path
) -> None:
    config = {**values, "alpha_pattern": patterns, "rank_pattern": patterns}
    write(tmp_path / "adapter_model.safetensors", peft_pair(NAMES, 8), config=config)
    assert inspect(tmp_path)[0] == 0
    code, out, _ = inspect("--format", "json", tmp_path)
    assert code == 0
    json.loads(out)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(80))
def test_mutated_files(data: st.DataObject, inspect: Callable[..., Output], tmp_path: Path) -> None:
    whole = write(tmp_path / "a.safetensors", pair(FLAT[:2], 2, alpha=4)).read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.safetensors").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    code, _, err = inspect(tmp_path / "a.safetensors")
    assert code in (0, 2)
    assert "Traceback" not in err


def test_many_tensors(inspect: Callable[..., Output], tmp_path: Path) -> None:
    names = [f"lora_unet_{n}" for n in range(6_000)]
    tensors = pair(names, 1, alpha=np.float32(1))
    write(tmp_path / "a.safetensors", tensors)
    code, out, _ = inspect(tmp_path)
    assert code == 0
    assert "6000 modules, all equal" in out


def test_no_torch(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", pair(FLAT, 8, alpha=4))
    program = (
        "import sys; from lorascale_lint import cli; code = cli.run(['inspect', sys.argv[1]]);"
        "heavy = {'torch', 'libcst', 'yaml'} & set(sys.modules); sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
