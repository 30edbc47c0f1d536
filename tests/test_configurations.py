"""LS212 and LS213: whoever changes rank and alpha of a configuration thinks of all that decides the scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

COMBINE = """
import dataclasses
from dataclasses import replace

class LoraModel:
    def add_weighted_adapter(self, adapters, name, rank):
        {body}
        self.inject_adapter(self.model, name)
"""
SCALE_ONE = "r=rank, lora_alpha=rank"
SOURCE = "self.peft_config[adapters[0]]"


def codes(folder: Path, source: str) -> list[str]:
    found = lint_files(folder, {"lora_model.py": source}, codes=["LS212", "LS213"])
    return [item.code for item in found]


@pytest.mark.parametrize(
    "body",
    [
        f"self.peft_config[name] = replace({SOURCE}, r=rank, lora_alpha=rank)",
        f"self.peft_config[name] = dataclasses.replace({SOURCE}, r=rank, lora_alpha=rank, use_rslora=False)",
        f"source = {SOURCE}\n        new = replace(source, r=rank, lora_alpha=rank, rank_pattern={{}})",
        f"rank = rank or sum(a.r for a in adapters)\n        new = replace({SOURCE}, {SCALE_ONE})",
    ],
)
def test_a_copy_that_inherits_is_found(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, COMBINE.format(body=body)) == ["LS212"]


@pytest.mark.parametrize(
    "body",
    [
        f"new = replace({SOURCE}, {SCALE_ONE}, use_rslora=False, rank_pattern={{}}, alpha_pattern={{}})",
        # the same configuration at another alpha
        f"new = replace({SOURCE}, lora_alpha=2 * rank)",
        f"new = replace({SOURCE}, r=rank, lora_alpha=self.alpha)",
        # refused before
        f"source = {SOURCE}\n        if source.use_rslora or source.rank_pattern or source.alpha_pattern:\n"
        "            raise ValueError(name)\n        new = replace(source, r=rank, lora_alpha=rank)",
        "self.settings = replace(self.train_settings, r=rank, lora_alpha=rank)",
    ],
)
def test_a_whole_copy_is_silent(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, COMBINE.format(body=body)) == []


OWN_CLASS = """
from dataclasses import dataclass, field

@dataclass
class LoraConfig:
    r: int = field(default=8)
    lora_alpha: int = 8
    {fields}
"""


@pytest.mark.parametrize(
    ("fields", "found"), [("bias: str = 'none'", []), ("use_rslora: bool = False", ["LS212"])]
)
@pytest.mark.parametrize("beside", [True, False])
def test_fields_that_the_configuration_has(
    fields: str, found: list[str], beside: bool, tmp_path: Path
) -> None:
    own = OWN_CLASS.format(fields=fields)
    model = COMBINE.format(body=f"self.peft_config[name] = replace({SOURCE}, {SCALE_ONE})")
    files = {"config.py": own, "lora_model.py": model} if beside else {"lora_model.py": own + model}
    reported = lint_files(tmp_path, files, codes=["LS212"])
    assert [item.code for item in reported] == found
    assert all("alpha_pattern" not in item.message for item in reported)


RESIZE = "def resize_lora(model, peft_config, name, rank, parts):\n    {}\n"


@pytest.mark.parametrize(
    "body",
    [
        "peft_config.lora_alpha = peft_config.lora_alpha * len(parts)\n"
        "    peft_config.r = peft_config.r * len(parts)",
        "peft_config.alpha_pattern[name] = peft_config.lora_alpha * 2\n"
        "    peft_config.rank_pattern[name] = peft_config.r * 2",
        "alpha = peft_config.lora_alpha\n    alpha *= rank / peft_config.r\n"
        "    model.update_layer(name, r=rank, lora_alpha=alpha)",
        "alpha = peft_config.lora_alpha\n    if rank != peft_config.r:\n"
        "        alpha = alpha * rank / peft_config.r\n"
        "    model.update_layer(name, r=rank, lora_alpha=alpha)",
    ],
)  # fmt: skip
def test_a_resize_that_keeps_alpha_over_r_is_found(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, RESIZE.format(body)) == ["LS213"]


@pytest.mark.parametrize(
    "body",
    [
        "growth = rank / peft_config.r\n    if peft_config.use_rslora:\n        growth = growth ** 0.5\n"
        "    model.update_layer(name, r=rank, lora_alpha=peft_config.lora_alpha * growth)",
        "if getattr(peft_config, 'use_rslora', False):\n        raise ValueError(name)\n"
        "    model.update_layer(name, r=rank, lora_alpha=peft_config.lora_alpha * rank / peft_config.r)",
        "model.update_layer(name, r=peft_config.r, lora_alpha=peft_config.lora_alpha)",
        # another strength, not another rank
        "model.update_layer(name, r=peft_config.r, lora_alpha=peft_config.lora_alpha * 2)",
        # a configuration of the project, which has no rsLoRA
        "model.update_layer(name, r=rank, lora_alpha=model.args.lora_alpha * rank / model.args.r)",
    ],
)
def test_a_resize_that_looks_at_the_flag_is_silent(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, RESIZE.format(body)) == []
