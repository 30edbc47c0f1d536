"""Files as people have them: the first line is the answer that they came for."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.cli import run
from tests.adapters.layouts import Tensors, pair

AB = ("lora_A.weight", "lora_B.weight")
FLUX = ("transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.attn.to_k")
FLUX2 = ("transformer_blocks.0.ff.linear_in", "single_transformer_blocks.0.attn.to_qkv_mlp_proj")
BFL = ("double_blocks.0.img_attn.qkv", "single_blocks.0.linear1")
WAN = ("blocks.0.self_attn.q", "blocks.0.cross_attn.k", "blocks.0.ffn.0")
QWEN = ("transformer_blocks.0.attn.to_q", "transformer_blocks.0.img_mlp.net.0.proj")
SDXL = (
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
    "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
)
LANGUAGE = tuple(f"base_model.model.model.layers.0.self_attn.{name}" for name in ("q_proj", "v_proj"))


def flat(names: tuple[str, ...]) -> list[str]:
    return ["lora_unet_" + name.replace(".", "_") for name in names]


def before(prefix: str, names: tuple[str, ...]) -> list[str]:
    return [prefix + name for name in names]


def dora(names: list[str]) -> Tensors:
    return pair(names, 16, *AB) | {f"{name}.magnitude": np.ones(12, np.float32) for name in names}


def single(
    tensors: Tensors, metadata: dict[str, str] | None = None, name: str = "a.safetensors"
) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        save_file(tensors, folder / name, metadata)
        return name

    return write


def peft(alpha: float) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / "adapter").mkdir()
        save_file(pair(LANGUAGE, 16, *AB), folder / "adapter" / "adapter_model.safetensors")
        settings = {"peft_type": "LORA", "r": 16, "lora_alpha": alpha, "target_modules": ["q_proj", "v_proj"]}
        (folder / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
        return "adapter"

    return write


def gguf(folder: Path) -> str:
    import gguf

    writer = gguf.GGUFWriter(str(folder / "a.gguf"), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 32.0)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", np.ones((16, 12), np.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", np.ones((12, 16), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return "a.gguf"


def cached(folder: Path) -> str:
    model = folder / "hub" / "models--me--lora"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("abc123")
    (model / "blobs").mkdir()
    save_file(pair(SDXL, 16, alpha=8), model / "blobs" / "feed")
    (model / "snapshots" / "abc123").mkdir(parents=True)
    (model / "snapshots" / "abc123" / "pytorch_lora_weights.safetensors").symlink_to("../../blobs/feed")
    return "hub"


STATED = {"lora_adapter_metadata": json.dumps({"transformer.r": 16, "transformer.lora_alpha": 8})}
NONE = "No alpha in it: pass {} if alpha was the rank (16), else alpha / 16"
FILES = {
    "PEFT folder of a language model": (
        peft(32),
        "adapter/adapter_model.safetensors: Pass `scale_layer(1.0)` to PEFT; "
        "vLLM and SGLang (language models) "
        "apply it right as it is",
    ),
    "bare names of Wan": (
        single(pair(WAN, 16, *AB)),
        "a.safetensors: "
        + NONE.format("`alpha=1.0` to DiffSynth-Studio 2.x, `strength=1.0` to FastVideo 0.2.1"),
    ),
    "kohya, SDXL": (
        single(pair(SDXL, 16, alpha=8), {"ss_network_alpha": "8", "ss_network_dim": "16"}),
        "a.safetensors: Pass `multiplier=1.0` to kohya sd-scripts, `strength_model=1.0` to ComfyUI, "
        "`<lora:NAME:1.0>` to A1111",
    ),
    "kohya's names, Wan by musubi": (
        single(pair(flat(WAN), 32, alpha=16)),
        "a.safetensors: Pass `multiplier=1.0` to musubi-tuner, `strength_model=1.0` to ComfyUI",
    ),
    "diffusers' Flux": (
        single(pair(before("transformer.", FLUX), 16, *AB), STATED),
        "a.safetensors: Pass `set_adapters(NAMES, 1.0)` to diffusers (Flux) "
        "and diffusers (Flux.2); ComfyUI would "
        "apply it 2 times too strong (pass `strength_model=0.5`) and vLLM-Omni "
        "would apply it 2 times too strong "
        "(pass `lora_scale=0.5`)",
    ),
    "diffusers' Flux.2": (
        single(pair(before("transformer.", FLUX2), 16, *AB)),
        "a.safetensors: "
        + NONE.format("`set_adapters(NAMES, 1.0)` to diffusers (Flux) and diffusers (Flux.2)"),
    ),
    "Flux in its first code's names": (
        single(pair(before("diffusion_model.", BFL), 16, *AB)),
        "a.safetensors: " + NONE.format("`strength_model=1.0` to ComfyUI"),
    ),
    "Qwen-Image, a distilled one": (
        single(pair(QWEN, 64, alpha=8)),
        "a.safetensors: Pass `strength=1.0` to LightX2V, `alpha=1.0` to DiffSynth-Studio 2.x",
    ),
    "Wan for ComfyUI": (
        single(pair(before("diffusion_model.", WAN), 8, *AB, alpha=4)),
        "a.safetensors: Pass `strength_model=1.0` to ComfyUI; DiffSynth-Studio "
        "1.x would apply it 2 times too "
        "strong (pass `alpha=0.5`) and FastVideo up to 0.1.6 would apply it 2 times too strong",
    ),
    "ai-toolkit's DoRA": (
        single(dora(before("transformer.", FLUX[:1]))),
        "a.safetensors: No alpha in it: a strength of 1 is right if alpha was "
        "the rank (16), else alpha / 16; "
        "ComfyUI would apply it wrongly: it does not read DoRA's magnitude: "
        "what it applies is another LoRA than the "
        "trained one",
    ),
    "lora_alpha 0": (
        peft(0),
        "adapter/adapter_model.safetensors: Alpha 0 is a placeholder: pass "
        "`--lora-scaled FILE:1.0` to llama.cpp, "
        "after convert_lora_to_gguf.py if alpha was the rank (16), else alpha / 16",
    ),
    "network_alpha in the header": (
        single(pair(before("", BFL), 16, *AB), {"network_alpha": "8"}),
        "a.safetensors: Pass `strength=1.0` to SGLang (diffusion models); "
        "FastVideo 0.2.1 would apply it 2 times too "
        "strong (pass `strength=0.5`) and FastVideo up to 0.1.6 would apply it 2 times too strong",
    ),
    "GGUF": (
        gguf,
        "a.gguf: Pass `--lora-scaled FILE:1.0` to llama.cpp, after convert_lora_to_gguf.py",
    ),
    "Hugging Face's cache": (
        cached,
        "hub/models--me--lora/snapshots/abc123/pytorch_lora_weights.safetensors: "
        "Pass `multiplier=1.0` to kohya sd-scripts, `strength_model=1.0` to ComfyUI, "
        "`<lora:NAME:1.0>` to A1111",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_the_first_line_is_the_answer(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, line = FILES[kind]
    if write is gguf and importlib.util.find_spec("gguf") is None:
        pytest.skip("needs gguf")
    monkeypatch.chdir(tmp_path)
    assert run(["inspect", write(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    answer = printed.out.split("\n  LoRA")[0]
    assert " ".join(answer.split()) == line


def test_a_folder_of_them_is_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    single(pair(SDXL, 16, alpha=8), name="kohya.safetensors")(tmp_path)
    single(pair(QWEN, 64, alpha=8), name="qwen.safetensors")(tmp_path)
    peft(32)(tmp_path)
    assert run(["inspect", "."]) == 0
    assert capsys.readouterr() == (
        "file                               scale  rank  alpha  kind  layout   pass\n"
        "adapter/adapter_model.safetensors  2      16    32     LoRA  peft     scale_layer(1.0) (peft)\n"
        "kohya.safetensors                  0.5    16    8      LoRA  kohya    "
        "multiplier=1.0 (sd-scripts)\n"
        "qwen.safetensors                   0.125  64    8      LoRA  down-up  strength=1.0 (lightx2v)\n"
        "3 adapters: name one of the files for its modules, oddities and all loaders\n",
        "",
    )


def test_adapters_of_one_model_are_not_offered_to_programs_for_others(tmp_path: Path) -> None:
    """What each of these programs does with names of no layer was read, or run (test_diffusers_pipelines)."""
    for names, programs in (
        (flat(WAN), ("sd-scripts", "a1111", "forge", "diffusers", "diffusers-qwen", "nunchaku")),
        (flat(QWEN), ("sd-scripts", "a1111", "forge", "diffusers", "diffusers-wan", "nunchaku")),
        (flat(BFL), ("a1111", "diffusers", "diffusers-qwen", "diffusers-wan")),
        (list(SDXL[:1]), ("musubi-tuner", "videox-fun", "diffusers-flux", "diffusers-qwen", "nunchaku")),
    ):
        save_file(pair(names, 8, alpha=4), tmp_path / "a.safetensors")
        found = {item.loader.key: item for item in inspect_file(tmp_path / "a.safetensors").predictions}
        for program in programs:
            assert found[program].outcome.value in ("nothing applied", "refused"), (names, program)
            assert found[program].source, (names, program)
