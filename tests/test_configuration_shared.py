"""LS225: configurations that are changed for two adapters at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

FOUND = {
    "by a local": "config = self.peft_config[source]\n        config.lora_alpha = config.r * 2\n"
    "        self.peft_config[name] = config",
    "put first": "self.adapter_settings[name] = self.adapter_settings[source]\n"
    "        self.adapter_settings[name].r = rank",
}
SILENT = {
    "a copy": "config = copy.deepcopy(self.peft_config[source])\n        config.lora_alpha = config.r * 2\n"
    "        self.peft_config[name] = config",
    "its own": "config = self.peft_config[name]\n        config.lora_alpha = config.r * 2\n"
    "        self.peft_config[name] = config",
    "another table": "config = defaults[source]\n        config.lora_alpha = rank\n"
    "        self.peft_config[name] = config",
    "not changed": "self.peft_config[name] = self.peft_config[source]",
}


def codes(folder: Path, body: str) -> list[str]:
    source = f"class LoraModel:\n    def add(self, name, source, rank, defaults):\n        {body}\n"
    return [finding.code for finding in lint_files(folder, {"lora_model.py": source}, codes=["LS225"])]


@pytest.mark.parametrize("body", FOUND.values(), ids=FOUND)
def test_found(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, body) == ["LS225"]


@pytest.mark.parametrize("body", SILENT.values(), ids=SILENT)
def test_silent(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, body) == []
