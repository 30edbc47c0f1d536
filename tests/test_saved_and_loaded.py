"""LS309, LS311, LS315: what a project trains with, what it saves, and with what it loads again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

SCRIPT = """
import os
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file


def train(args, transformer, losses):
    transformer.add_adapter(LoraConfig(r=args.rank, lora_alpha={alpha}, target_modules=["to_q"]))
    for loss in losses(transformer):
        loss.backward()
    {save}
"""
SAVE = 'save_file(get_peft_model_state_dict(transformer), os.path.join(args.out, "lora.safetensors"))'

HELPER = """
from diffusers.utils import convert_state_dict_to_kohya
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file


def write(unet, path):
    layers = {f"unet.{name}": value for name, value in get_peft_model_state_dict(unet).items()}
    save_file(convert_state_dict_to_kohya(layers), path, metadata={"format": "pt"})
"""
RUN = """
from peft import LoraConfig

from write_lora import write


def run(unet, settings, fit):
    unet.add_adapter(LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=["to_q"]))
    fit(unet)
    write(unet, settings.out)
"""


def found(folder: Path, files: dict[str, str], code: str) -> list[tuple[str, int]]:
    """Confidence and row of what a rule finds."""
    every = lint_files(folder, files)
    return [(finding.confidence, finding.span.start.row) for finding in every if finding.code == code]


@pytest.mark.parametrize("alpha", ["args.lora_alpha", "args.lora_alpha or args.rank", "2 * args.rank"])
def test_one_function_trains_and_saves(alpha: str, tmp_path: Path) -> None:
    source = SCRIPT.format(alpha=alpha, save=SAVE)
    assert found(tmp_path, {"lora_train.py": source}, "LS309") == [("medium", 12)]


@pytest.mark.parametrize(
    ("alpha", "save"),
    [
        ("args.rank", SAVE),
        ("args.lora_alpha", 'transformer.save_pretrained("lora")'),
        ("args.lora_alpha", SAVE[:-1] + ', metadata={"alpha": str(args.lora_alpha)})'),
        ("args.lora_alpha", SAVE[:-1] + ", metadata=described(args))"),
        ("args.lora_alpha", f"{SAVE}\n    note(args.out, args)"),
    ],
    ids=["rank", "peft", "metadata", "metadata out of sight", "settings beside"],
)
def test_a_saver_that_tells_alpha_or_needs_none(alpha: str, save: str, tmp_path: Path) -> None:
    source = SCRIPT.format(alpha=alpha, save=save)
    assert found(tmp_path, {"lora_train.py": source}, "LS309") == []


def test_a_library_that_writes_the_rank_as_alpha(tmp_path: Path) -> None:
    files = {"train_lora.py": RUN, "write_lora.py": HELPER}
    assert found(tmp_path, files, "LS309") == [("medium", 9)]


@pytest.mark.parametrize(
    "saved", ["float(value.shape[0])", "args.rank", "value.size(0)"], ids=["extent", "setting", "size"]
)
def test_the_rank_saved_as_alpha(saved: str, tmp_path: Path) -> None:
    save = f"""out = {{}}
    for key, value in get_peft_model_state_dict(transformer).items():
        out[key] = value
        if key.endswith("lora_A.weight"):
            out[key.replace("lora_A.weight", "alpha")] = torch.tensor({saved})
    save_file(out, args.out)"""
    source = "import torch\n" + SCRIPT.format(alpha="args.lora_alpha", save=save)
    assert found(tmp_path, {"lora_train.py": source}, "LS311") == [("medium", 17)]
    right = source.replace(saved, "args.lora_alpha", 1)
    assert found(tmp_path, {"lora_train.py": right}, "LS311") == []
    same = source.replace("lora_alpha=args.lora_alpha", "lora_alpha=args.rank")
    assert found(tmp_path, {"lora_train.py": same}, "LS311") == []


def test_a_number_written_into_a_gguf_file(tmp_path: Path) -> None:
    source = """
    import gguf


    def export_lora(layers, path, settings):
        writer = gguf.GGUFWriter(path, "llama")
        for name, layer in layers.items():
            writer.add_tensor(f"{name}.weight.lora_a", layer.lora_A.weight.numpy())
            writer.add_tensor(f"{name}.weight.lora_b", layer.lora_B.weight.numpy())
        writer.add_float32("adapter.lora.alpha", 16.0)
    """
    assert found(tmp_path, {"lora_gguf.py": source}, "LS311") == [("medium", 10)]
    right = source.replace("16.0", "settings.lora_alpha")
    assert found(tmp_path, {"lora_gguf.py": right}, "LS311") == []


LOADER = """
import argparse

import torch
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict


def add_lora(model, rank, alpha):
    return inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=["to_q"]), model)


def train(args, model):
    model = add_lora(model, args.rank, args.alpha)
    for loss in model.losses():
        loss.backward()


def infer(model, path, rank=32):
    model = add_lora(model, rank, {alpha})
    set_peft_model_state_dict(model, torch.load(path))
    return model


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--alpha", type=int, default=64)
    return parser.parse_args()
"""


def test_a_loader_beside_the_training_has_an_alpha_of_its_own(tmp_path: Path) -> None:
    assert found(tmp_path, {"lora_run.py": LOADER.format(alpha="1")}, "LS315") == [("medium", 19)]
    assert found(tmp_path, {"lora_run.py": LOADER.format(alpha="options().alpha")}, "LS315") == []


def test_a_loader_that_leaves_alpha_to_the_default(tmp_path: Path) -> None:
    source = LOADER.replace("rank, alpha)", "rank, alpha=16)").replace("rank, {alpha})", "rank)")
    assert found(tmp_path, {"lora_run.py": source}, "LS315") == [("medium", 19)]


def test_a_trainer_that_resumes_is_no_other_loader(tmp_path: Path) -> None:
    source = LOADER.format(alpha="1").replace("    return model\n", "    model.loss().backward()\n", 1)
    assert found(tmp_path, {"lora_run.py": source}, "LS315") == []


@pytest.mark.parametrize(
    ("equated", "expected"),
    [
        ('if "alpha" in settings:\n        raise ValueError\n    settings["alpha"] = settings["rank"]', []),
        ('settings["alpha"] = settings["rank"]', []),
        ('if settings["alpha"] is None:\n        settings["alpha"] = settings["rank"]', [("medium", 11)]),
    ],
    ids=["refused", "always", "by default"],
)
def test_settings_whose_alpha_another_file_sets_to_the_rank(
    equated: str, expected: list[tuple[str, int]], tmp_path: Path
) -> None:
    model = """
    from peft import LoraConfig, get_peft_model_state_dict
    from safetensors.torch import save_file


    class LoraModel:
        def add_adapter(self, settings):
            self.net.add_adapter(LoraConfig(r=settings["rank"], lora_alpha=settings["alpha"]))

        def save(self, path):
            save_file(get_peft_model_state_dict(self.net), path)
    """
    main = f"""
def configure_lora(settings):
    {equated}
    return settings
"""
    assert found(tmp_path, {"lora_model.py": model, "lora_main.py": main}, "LS309") == expected


CAST = "{name: value.contiguous().cpu() for name, value in get_peft_model_state_dict(transformer).items()}"


@pytest.mark.parametrize(
    ("after", "expected"), [("", ["LS309"]), ("\n    config.save_pretrained(args.out)", [])]
)
def test_factors_that_are_cast_one_by_one(after: str, expected: list[str], tmp_path: Path) -> None:
    source = SCRIPT.format(alpha="args.alpha", save=f"save_file({CAST}, args.out){after}")
    every = lint_files(tmp_path, {"lora_train.py": source})
    assert [finding.code for finding in every if finding.code in ("LS309", "LS314")] == expected
