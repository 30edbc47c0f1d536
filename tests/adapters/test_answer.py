"""The first line of a report: what to pass, and who would get it wrong; then rows by what they matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lorascale_lint import cli
from lorascale_lint.adapters.answer import answer, by_relevance
from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.adapters.predictions import Outcome
from lorascale_lint.adapters.report import render_text
from tests.adapters.layouts import FLAT, NAMES, Tensors, pair, peft_pair, write, zeros

COMFY = tuple("diffusion_model." + name for name in NAMES)
PEFT = tuple("base_model.model." + name for name in NAMES)
DORA = peft_pair(COMFY, 8) | {f"{name}.magnitude": zeros(12) for name in COMFY}
SETTINGS = {"peft_type": "LORA", "r": 8, "lora_alpha": 4}


@pytest.mark.parametrize(
    ("tensors", "metadata", "settings", "said"),
    [
        (peft_pair(COMFY, 8, 4), {}, None,
         "Pass `strength_model=1.0` to ComfyUI; DiffSynth-Studio 1.x would apply it 2 times too strong (pass "
         "`alpha=0.5`) and FastVideo up to 0.1.6 would apply it 2 times too strong"),
        (pair(FLAT, 8, alpha=16), {}, None,
         "Pass `multiplier=1.0` to kohya sd-scripts and musubi-tuner, `strength_model=1.0` "
         "to ComfyUI"),
        (peft_pair(PEFT, 8), {}, SETTINGS,
         "Pass `scale_layer(1.0)` to PEFT; vLLM and SGLang (language models) apply it right as it is; "
         "diffusers (Flux.2) would apply it 2 times too strong (pass `set_adapters(NAMES, 0.5)`)"),
        (peft_pair(NAMES, 8), {}, None,
         "No alpha in it: pass `alpha=1.0` to DiffSynth-Studio 2.x, `strength=1.0` to FastVideo 0.2.1 if "
         "alpha was the rank (8), else alpha / 8"),
        (pair(FLAT, 8, alpha=0), {}, None,
         "Alpha 0 is a placeholder: pass `multiplier=1.0` to kohya sd-scripts if alpha was the rank (8), "
         "else alpha / 8"),
        (DORA, {"network_alpha": "4"}, None,
         "ComfyUI would apply it wrongly: it does not read DoRA's magnitude: what it applies is another LoRA "
         "than the trained one"),
    ],
)  # fmt: skip
def test_the_first_line(
    tensors: Tensors, metadata: dict[str, str], settings: dict[str, Any] | None, said: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "adapter_model.safetensors", tensors, metadata or None, settings)
    found = inspect_file(path)
    assert answer(found.adapter, found.predictions) == said
    text = " ".join(render_text(found).split())
    assert text.startswith(f"{path}: {said}")


def test_rows_that_matter_come_first(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path / "a.safetensors", peft_pair(COMFY, 8, 4)))
    ordered = by_relevance(found.adapter, found.predictions)
    assert ordered[0].loader.key == "comfyui"
    outcomes = [item.outcome for item in ordered[1:]]
    places = [outcomes.index(it) for it in (Outcome.WRONG, Outcome.DEPENDS, Outcome.RIGHT, Outcome.REFUSED)]
    assert places == sorted(places)


def test_loaders_that_skip_the_file_are_one_line(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path / "a.safetensors", pair(FLAT, 8, alpha=4)))
    text = render_text(found)
    (line,) = [line for line in text.splitlines() if "skip it, and apply nothing: " in line]
    assert "diffsynth-1, diffsynth-2, fastvideo-0.1.6" in line
    assert "FastVideo" not in text.split("  loader")[1].split("skip it")[0]


def test_a_folder_of_many_adapters_is_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "one" / "kohya.safetensors", pair(FLAT, 8, alpha=4))
    write(tmp_path / "two.safetensors", peft_pair(NAMES[:2], 8) | peft_pair(NAMES[2:], 4))
    assert cli.run(["inspect", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "file                   scale  rank    alpha  kind  layout  pass",
        "one/kohya.safetensors  0.5    8       4      LoRA  kohya   multiplier=1.0 (sd-scripts)",
        "two.safetensors !      1?     4 to 8  -      LoRA  plain   alpha=1.0 (diffsynth-2)",
        "? if alpha was the rank; ! something is odd; 2 adapters: name one of the files for its modules, "
        "oddities and all loaders",
    ]
    assert cli.run(["inspect", str(tmp_path / "one"), str(tmp_path / "two.safetensors")]) == 0
    assert capsys.readouterr().out.count("  layout: ") == 2


def test_a_language_model_is_no_matter_for_loaders_of_diffusion_models(tmp_path: Path) -> None:
    names = [f"base_model.model.model.layers.{number}.self_attn.q_proj" for number in range(2)]
    found = inspect_file(write(tmp_path / "adapter_model.safetensors", peft_pair(names, 8), config=SETTINGS))
    text = render_text(found)
    assert "ComfyUI" not in text
    assert "loaders of diffusion models" in text
    assert {item.loader.key for item in found.predictions if item.outcome is Outcome.RIGHT} == {
        "peft", "vllm", "sglang", "lmdeploy", "llama.cpp",
    }  # fmt: skip
