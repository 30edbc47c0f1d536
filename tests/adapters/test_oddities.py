"""What is unusual in a file is said, and nothing is said of ordinary files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorascale_lint.adapters.command import inspect_file
from tests.adapters.layouts import FLAT, NAMES, WIDTH, Tensors, pair, peft_pair, write, zeros

PEFT = tuple("base_model.model." + name for name in NAMES)
GOOD = pair(FLAT, 8, alpha=4)
CONFIG = {"peft_type": "LORA", "r": 8, "lora_alpha": 4}


def oddities(path: Path) -> dict[str, str]:
    return {item.name: item.text for item in inspect_file(path).oddities}


def test_ordinary_files_have_none(tmp_path: Path) -> None:
    metadata = {"ss_network_alpha": "4.0", "ss_network_dim": "8", "ss_network_module": "networks.lora"}
    assert oddities(write(tmp_path / "a.safetensors", GOOD, metadata)) == {}
    assert (
        oddities(write(tmp_path / "p" / "adapter_model.safetensors", peft_pair(PEFT, 8), config=CONFIG)) == {}
    )


def kohya(alpha: float, dtype: Any = np.float32) -> Tensors:
    return pair(FLAT, 8, alpha=alpha, dtype=dtype)


@pytest.mark.parametrize(
    ("name", "tensors", "metadata"),
    [
        ("alpha-missing", pair(FLAT, 8), {}),
        ("alpha-missing-in-part", GOOD | pair(["lora_te_x"], 8), {}),
        ("mixed-ranks", GOOD | pair(["lora_te_x"], 4, alpha=4), {}),
        ("mixed-ranks", pair(FLAT, 8) | pair(["lora_te_x"], 4), {}),
        ("alpha-zero", kohya(0), {}),
        ("alpha-negative", kohya(-4), {}),
        ("alpha-sentinel", kohya(9999999999), {}),
        ("alpha-not-finite", kohya(float("inf"), np.float16), {}),
        ("alpha-not-finite", kohya(float("nan")), {}),
        ("alpha-conflict", GOOD, {"ss_network_alpha": "16"}),
        ("rank-conflict", GOOD, {"ss_network_dim": "16"}),
        ("alpha-conflict", GOOD, {"alpha": "16"}),
        ("orphan-factor", GOOD | {"lora_te_x.lora_up.weight": zeros(WIDTH, 8)}, {}),
        ("orphan-alpha", GOOD | {"lora_te_x.alpha": np.array(4, np.float32)}, {}),
        ("misfit", GOOD | {"lora_te_x.lora_up.weight": zeros(WIDTH, 8),
                           "lora_te_x.lora_down.weight": zeros(7, 9)}, {}),
        ("fused-branches", GOOD | {"lora_te_x.lora_up.weight": zeros(WIDTH, 8),
                                   "lora_te_x.lora_down.weight": zeros(24, WIDTH)}, {}),
        ("alpha-not-scalar", GOOD | {"lora_unet_blocks_0_attn_to_q.alpha": np.array([4, 4], np.float32)}, {}),
        ("unknown-tensors", GOOD | {"something.else": zeros(2)}, {}),
        ("rank-zero", GOOD | pair(["lora_te_x"], 0, alpha=4), {}),
    ],
)  # fmt: skip
def test_said(name: str, tensors: Tensors, metadata: dict[str, str], tmp_path: Path) -> None:
    assert name in oddities(write(tmp_path / "a.safetensors", tensors, metadata))


def with_bfloat16(path: Path, key: str, value: float) -> Path:
    """The file with one number as bfloat16, which numpy can't write: the upper half of a float32."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    bits = int(np.array(value, "<f4").view("<u4"))
    header[key] = {"dtype": "BF16", "shape": [], "data_offsets": [len(data), len(data) + 2]}
    text = json.dumps(header).encode()
    number = ((bits + 0x8000) >> 16).to_bytes(2, "little")
    path.write_bytes(len(text).to_bytes(8, "little") + text + data + number)
    return path


def test_rounded_by_bfloat16(tmp_path: Path) -> None:
    """bfloat16 keeps eight bits: 0.3 becomes 0.30078125."""
    path = write(tmp_path / "a.safetensors", pair(FLAT[:1], 8), {"ss_network_alpha": "0.3"})
    found = inspect_file(with_bfloat16(path, f"{FLAT[0]}.alpha", 0.3))
    assert found.adapter.modules[0].alpha == 0.30078125
    assert any("alpha 0.3 (metadata) was rounded" in item.text for item in found.oddities)
    path = with_bfloat16(write(path, pair(FLAT[:1], 8)), f"{FLAT[0]}.alpha", 257.5)
    assert "alpha 258 is stored in bfloat16" in oddities(path)["alpha-rounded"]


def test_settings_against_tensors(tmp_path: Path) -> None:
    folder = tmp_path / "adapter_model.safetensors"
    found = oddities(write(folder, peft_pair(PEFT[1:], 8) | peft_pair(PEFT[:1], 16), config=CONFIG))
    assert found["rank-conflict"] == "the tensors have rank 16, the settings say 8"
    assert "mixed-ranks" in found
    both = oddities(write(folder, peft_pair(PEFT, 8, alpha=8), config=CONFIG))
    assert "alpha-conflict" in both


def test_a_costly_pattern_is_said(tmp_path: Path) -> None:
    config = CONFIG | {"alpha_pattern": {"(a+)+b": 99}}
    assert "pattern-not-read" in oddities(
        write(tmp_path / "adapter_model.safetensors", peft_pair(PEFT, 8), config=config)
    )
