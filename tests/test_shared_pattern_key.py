"""LS226: which keys were found in two tables at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

FOUND = {
    "dictionary of both": """
def numbers(lora_config, name):
    both = {**lora_config["rank_pattern"], **lora_config["alpha_pattern"]}
    hit = next(filter(lambda key: re.match(key, name), both), None)
    if hit in lora_config["rank_pattern"]:
        rank = lora_config["rank_pattern"][hit]
    return lora_config["alpha_pattern"].get(hit, lora_config["lora_alpha"])
""",
    "loop that stops": """
def build(peft_config, name, rank, lora_alpha):
    key = name
    for candidate in set(peft_config.rank_pattern) | set(peft_config.alpha_pattern):
        if name.endswith(candidate):
            key = candidate
            break
    return LoraLayer(peft_config.rank_pattern.get(key, rank), peft_config.alpha_pattern.get(key, lora_alpha))
""",
}
SILENT = {
    "by the name of the module": """
def build(peft_config, name, rank, lora_alpha):
    if peft_config.rank_pattern or peft_config.alpha_pattern:
        name = name.removeprefix("base_model.model.")
    r = peft_config.rank_pattern.get(name, rank)
    return LoraLayer(r, peft_config.alpha_pattern.get(name, lora_alpha))
""",
    "loop that goes on": """
def build(peft_config, name, rank, lora_alpha):
    for key in [*peft_config.rank_pattern, *peft_config.alpha_pattern]:
        if name.endswith(key):
            rank = peft_config.rank_pattern.get(key, rank)
            lora_alpha = peft_config.alpha_pattern.get(key, lora_alpha)
    return LoraLayer(rank, lora_alpha)
""",
    "each by itself": """
def build(peft_config, name, rank, lora_alpha):
    key = next((k for k in peft_config.rank_pattern if name.endswith(k)), name)
    rank = peft_config.rank_pattern.get(key, rank)
    key = next((k for k in peft_config.alpha_pattern if name.endswith(k)), name)
    return LoraLayer(rank, peft_config.alpha_pattern.get(key, lora_alpha))
""",
}


def codes(folder: Path, source: str) -> list[str]:
    return [finding.code for finding in lint_files(folder, {"lora_model.py": source}, codes=["LS226"])]


@pytest.mark.parametrize("source", FOUND.values(), ids=FOUND)
def test_found(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == ["LS226"]


@pytest.mark.parametrize("source", SILENT.values(), ids=SILENT)
def test_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == []
