"""Correct code broken on purpose: the places are the engine's, and the changes are wrong."""

from __future__ import annotations

from pathlib import Path

from mutants import DEFAULT, mutants_of, outcomes, sampled

LAYER = """
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank, lora_alpha):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        self.gain = lora_alpha / rank

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.gain
"""
SETTINGS = """
import torch


def save(lora_A, lora_B, rank, alpha, path):
    tensors = {"q.lora_A.weight": lora_A, "q.lora_B.weight": lora_B}
    settings = {"r": rank, "lora_alpha": alpha}
    torch.save({"tensors": tensors, "settings": settings}, path)


def load(sd, key):
    rank = sd[key + ".lora_down.weight"].shape[0]
    alpha = sd.get(key + ".alpha", rank)
    return sd[key + ".lora_up.weight"] @ sd[key + ".lora_down.weight"] * (alpha / rank)
"""
WRONG = LAYER.replace(" * self.gain", "")


def _operators(tmp_path: Path, source: str) -> dict[str, str]:
    path = tmp_path / "layer.py"
    path.write_text(source)
    return {mutant.operator: mutant.after for mutant in mutants_of([path])}


def test_the_engine_finds_the_scale_by_whatever_name(tmp_path: Path) -> None:
    found = _operators(tmp_path, LAYER)
    assert found["scale dropped"] == "(self.lora_B(self.lora_A(x)))"
    assert found["scale twice"] == "((self.gain) * (self.gain))"
    assert found["alpha undivided"] == "(lora_alpha)"
    assert found["ratio inverted"] == "((rank) / (lora_alpha))"


def test_keys_defaults_and_settings(tmp_path: Path) -> None:
    found = _operators(tmp_path, SETTINGS)
    assert found["alpha never read"] == "rank"
    assert found["default of a missing alpha is 1"] == "1.0"
    assert found["rank written as alpha"] == "rank"
    assert found["alpha not written"] == '{"r": rank}'


def test_what_is_reported_already_is_left_alone(tmp_path: Path) -> None:
    assert "scale dropped" not in _operators(tmp_path, WRONG)


def test_a_mutant_is_killed_by_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "layer.py"
    path.write_text(LAYER)
    dropped = [item for item in outcomes(tmp_path, [path], None) if item.operator == "scale dropped"]
    assert [item.fate for item in dropped] == [DEFAULT]
    assert path.read_text() == LAYER


def test_a_sample_is_the_same_each_time_and_has_each_operator(tmp_path: Path) -> None:
    path = tmp_path / "layer.py"
    path.write_text(LAYER)
    mutants = mutants_of([path])
    chosen = sampled(mutants, 4, tmp_path)
    assert chosen == sampled(mutants[::-1], 4, tmp_path)
    assert len({mutant.operator for mutant in chosen}) == len(chosen)
