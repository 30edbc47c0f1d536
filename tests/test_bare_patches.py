"""LS301 on ComfyUI's patches; LS227 on settings of an adapter that are written without an alpha."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

NODE = """
import comfy.utils


class Loader:
    def patches(self, path, targets):
        lora = comfy.utils.load_torch_file(path)
        found = {}
        for target in targets:
            stem = "lora_unet_" + target.replace(".", "_")
            if stem + ".lora_up.weight" in lora:
                up, down = lora[stem + ".lora_up.weight"], lora[stem + ".lora_down.weight"]
                found[target] = ("lora", (up, down, None, None, None))
        return found
"""

HELPER = """
import comfy.utils


def patch_of(lora, stem):
    down = lora.get(f"{stem}.lora_down.weight")
    if down is None:
        return None
    return ("lora", (lora[f"{stem}.lora_up.weight"], down, None, None))


def patches(path, stems):
    lora = comfy.utils.load_torch_file(path)
    return {target: patch_of(lora, stem) for target, stem in stems.items()}
"""

ADAPTER = """
import comfy.utils
from comfy.weight_adapter import LoRAAdapter


def lora_adapters(path, stems):
    state = comfy.utils.load_torch_file(path)
    return [
        LoRAAdapter(set(), (state[s + ".lora_up.weight"], state[s + ".lora_down.weight"], None, None, None))
        for s in stems
    ]
"""


def found(folder: Path, files: dict[str, str], code: str) -> list[tuple[str, int]]:
    """Confidence and row of what a rule finds."""
    every = lint_files(folder, files)
    return [(finding.confidence, finding.span.start.row) for finding in every if finding.code == code]


@pytest.mark.parametrize(
    ("source", "row"), [(NODE, 13), (HELPER, 9), (ADAPTER, 9)], ids=["entry", "helper", "class"]
)
def test_a_patch_has_the_alpha_of_the_file(source: str, row: int, tmp_path: Path) -> None:
    assert found(tmp_path, {"lora_nodes.py": source}, "LS301") == [("medium", row)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("down, None,", 'down, lora[stem + ".alpha"].item(),'),
        ("down, None,", 'down, lora[stem + ".alpha"].item() if stem + ".alpha" in lora else None,'),
        ("(up, down,", "(up * scale, down,"),
        (".lora_up.", ".lora_B."),
    ],
    ids=["alpha", "alpha if there is one", "scaled before", "peft's names"],
)
def test_a_patch_that_needs_no_alpha(old: str, new: str, tmp_path: Path) -> None:
    source = NODE.replace(old, new).replace("(self, path,", "(self, scale, path,")
    if ".lora_B." in new:
        source = source.replace(".lora_down.", ".lora_A.").replace("lora_unet_", "transformer.")
    assert found(tmp_path, {"lora_nodes.py": source}, "LS301") == []


WRITER = """
import json
from pathlib import Path


def save_lora(layers, folder, rank, alpha):
    settings = {{"peft_type": "LORA", "r": rank, "target_modules": sorted(layers){more}}}
    {change}
    Path(folder, "adapter_config.json").write_text(json.dumps(settings, indent=2))
"""
KEYWORDS = """
import json


class LoraExporter:
    def settings(self):
        return dict(peft_type="LORA", r=self.rank, bias="none")

    def save(self, path):
        with open(path, "w") as out:
            json.dump(self.settings(), out)
"""


def test_settings_without_an_alpha(tmp_path: Path) -> None:
    source = WRITER.format(more="", change="pass")  # an alpha comes in, and nothing reads it
    assert found(tmp_path, {"lora_save.py": source}, "LS227") == [("high", 7)]
    assert found(tmp_path, {"lora_save.py": KEYWORDS}, "LS227") == [("medium", 7)]


@pytest.mark.parametrize(
    ("more", "change"),
    [
        (', "lora_alpha": alpha', "pass"),
        ("", 'settings["lora_alpha"] = alpha'),
        (", **described(layers)", "pass"),
        ("", "settings.update(described(layers))"),
        ("", "settings.update(lora_alpha=alpha)"),
    ],
    ids=["given", "set", "spread", "updated out of sight", "updated"],
)
def test_settings_that_may_have_an_alpha(more: str, change: str, tmp_path: Path) -> None:
    source = WRITER.format(more=more, change=change)
    assert found(tmp_path, {"lora_save.py": source}, "LS227") == []
