"""The table of conventions: each entry, written as a file, is what `inspect` says it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lorascale_lint.adapters.adapter import understand
from lorascale_lint.adapters.formats import FORMATS
from lorascale_lint.adapters.source import read_source
from lorascale_lint.knowledge.conventions import CONVENTIONS, Alpha, Convention, Meaning, Where
from tests.adapters.layouts import Tensors, write, zeros

RANK = 4
# What tells a convention apart where its keys are those of another one.
_BESIDES: dict[str, Tensors] = {"bfl": {"double_blocks.0.norm.query_norm.scale": zeros(12)}}
_SETTINGS = {"peft": {"peft_type": "LORA", "r": RANK}}
_MODULES = {"litgpt": "transformer.h.0.attn.attn", "xlabs": "double_blocks.0"}
# Not written as safetensors: tests/adapters/test_file_types.py.
_OTHER_FILES = {"gguf"}
_AS_FILES = [item for item in CONVENTIONS if item.name not in _OTHER_FILES]


def tensors_of(entry: Convention) -> Tensors:
    """The first pair of a convention, for one module."""
    pair = entry.pairs[-1] if entry.name == "xlabs" else entry.pairs[0]
    module = _MODULES.get(entry.name, f"blocks{entry.dot}0{entry.dot}to_q")
    shapes = ((12, RANK), (RANK, 12)) if entry.transposed else ((RANK, 12), (12, RANK))
    made = dict(_BESIDES.get(entry.name, {}))
    pairs = entry.pairs[:2] if pair.down.startswith("hada") else [pair]
    before = entry.prefixes[0] + module
    names = {"xlabs": ("qkv", "1")}.get(entry.name, ("default", "1"))
    for item in pairs:
        for text, shape in zip((item.down, item.up), shapes, strict=True):
            made[f"{before}.{text.format(*names)}"] = zeros(*shape)
    if entry.name == "diffusers-legacy":
        made = {key.replace(".default_lora", ".to_q_lora"): value for key, value in made.items()}
    return made


def state(alpha: Alpha, entry: Convention, path: Path) -> Path:
    """A file that states a scale of 0.5 in that place."""
    value = 0.5 if alpha.meaning is Meaning.SCALE else 0.5 * RANK
    tensors = tensors_of(entry)
    module = (
        next(iter(set(tensors) - set(_BESIDES.get(entry.name, {})))).split(".lora_")[0].split(".hada_")[0]
    )
    metadata: dict[str, str] = {}
    config = dict(_SETTINGS.get(entry.name, {}))
    if entry.name == "diffusers":
        metadata["lora_adapter_metadata"] = json.dumps({"transformer.r": RANK, "transformer.lora_alpha": 9})
    if alpha.where is Where.TENSOR:
        tensors[f"{module}.{alpha.key}"] = np.array(value, np.float32)
    elif alpha.key.startswith("lora_adapter_metadata: "):
        field = alpha.key.partition(": ")[2]
        said = value if field == "lora_alpha" else {"to_q": value}
        known = json.loads(metadata["lora_adapter_metadata"])
        metadata["lora_adapter_metadata"] = json.dumps({**known, f"transformer.{field}": said})
    elif alpha.where is Where.METADATA:
        metadata[alpha.key] = str(value)
    elif entry.settings_file.endswith(".yaml"):
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / entry.settings_file).write_text(f"lora_r: {RANK}\n{alpha.key}: {value}\n")
    else:
        first, dot, second = alpha.key.partition(".")
        said = {"to_q": value} if first == "alpha_pattern" else value
        config = {**config, first: {second: value, "rank": RANK} if dot else said}
        if first == "alpha":
            config["peft_type"] = "LOHA"
    return write(path, tensors, metadata or None, config or None)


@pytest.mark.parametrize("entry", _AS_FILES, ids=lambda entry: entry.name)
def test_a_file_of_an_entry_is_recognised(entry: Convention, tmp_path: Path) -> None:
    config = _SETTINGS.get(entry.name)
    metadata = {"lora_adapter_metadata": '{"transformer.r": 4}'} if entry.name == "diffusers" else None
    tensors = tensors_of(entry)
    if entry.name in ("fastvideo",):
        tensors["blocks.0.to_q.lora_alpha"] = np.array(4.0, np.float32)
    path = write(tmp_path / "adapter_model.safetensors", tensors, metadata, config)
    adapter = understand(read_source(path))
    assert (adapter.convention.name, adapter.convention.title) == (entry.name, entry.title)
    assert [item.rank for item in adapter.modules] == [RANK]


@pytest.mark.parametrize(
    ("entry", "alpha"),
    [(entry, alpha) for entry in _AS_FILES for alpha in entry.alpha],
    ids=lambda item: getattr(item, "name", None) or getattr(item, "key", None),
)
def test_every_place_of_alpha_is_read(entry: Convention, alpha: Alpha, tmp_path: Path) -> None:
    adapter = understand(read_source(state(alpha, entry, tmp_path / "adapter_model.safetensors")))
    assert adapter.convention.name == entry.name
    assert [item.scale for item in adapter.modules] == [pytest.approx(0.5)]


def test_every_format_has_an_entry_with_a_source() -> None:
    names = [item.name for item in CONVENTIONS]
    assert len(set(names)) == len(names)
    assert set(names) == {item.name for item in FORMATS}
    assert all(len(item.source) > 10 and item.pairs for item in CONVENTIONS)


def test_the_tables_load_nothing_heavy() -> None:
    program = (
        "import sys; import lorascale_lint.knowledge.conventions;"
        "heavy = {'numpy', 'safetensors', 'libcst', 'click'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
