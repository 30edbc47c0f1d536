"""Files that PEFT, LyCORIS and diffusers write themselves (the extra `loaders`)."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from textwrap import dedent

import pytest

from lorascale_lint.adapters.adapter import Adapter, understand
from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.adapters.oddities import find_oddities
from lorascale_lint.adapters.predictions import Outcome
from lorascale_lint.adapters.source import find_files, read_source
from lorascale_lint.knowledge.kinds import Kind


def needs(package: str) -> pytest.MarkDecorator:
    """Skips a test unless the package is installed."""
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"needs {package} (extra loaders)")


MODEL = """
    import torch
    torch.manual_seed(0)

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.to_q = torch.nn.Linear(16, 16)
            self.to_v = torch.nn.Linear(16, 16)
            self.conv = torch.nn.Conv2d(4, 4, 3, padding=1)
            self.embed = torch.nn.Embedding(10, 16)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = torch.nn.ModuleList([Block(), Block()])

        def forward(self, x):
            return x
"""


def make(program: str, folder: Path) -> None:
    """Run a program that writes adapter files into the folder `out`."""
    exec(compile(dedent(MODEL) + dedent(program), "<program>", "exec"), {"out": folder, "__name__": "made"})


def read(folder: Path) -> Adapter:
    (path,) = find_files(folder)
    return understand(read_source(path))


PEFT_PROGRAM = """
    import peft
    from peft import AdaLoraConfig, LoHaConfig, LoKrConfig, LoraConfig, get_peft_model

    targets = ["to_q", "to_v"]
    configs = {
        "lora": LoraConfig(r=8, lora_alpha=4, target_modules=targets),
        "rslora": LoraConfig(r=8, lora_alpha=4, use_rslora=True, target_modules=targets),
        "dora": LoraConfig(r=8, lora_alpha=4, use_dora=True, target_modules=targets),
        "conv": LoraConfig(r=4, lora_alpha=2, target_modules=["conv", "embed"]),
        "patterns": LoraConfig(
            r=8, lora_alpha=4, target_modules=targets,
            rank_pattern={"to_v": 2}, alpha_pattern={r"^blocks\\.1\\.to_v": 16},
        ),
        "loha": LoHaConfig(r=8, alpha=4, target_modules=targets),
        "lokr": LoKrConfig(r=1, alpha=4, target_modules=targets),
        "full_lokr": LoKrConfig(r=64, alpha=16, target_modules=targets),
        "adalora": AdaLoraConfig(init_r=12, target_r=8, lora_alpha=32, target_modules=targets, total_step=10),
    }
    scales = {}
    for name, config in configs.items():
        model = get_peft_model(Model(), config)
        model.save_pretrained(out / name)
        scales[name] = {
            key.removeprefix("base_model.model."): layer.scaling["default"]
            for key, layer in model.named_modules()
            if isinstance(getattr(layer, "scaling", None), dict)
        }

    config = LoraConfig(r=8, lora_alpha=4, target_modules=targets, init_lora_weights="pissa")
    model = get_peft_model(Model(), config)
    model.save_pretrained(out / "start")
    for parameter in model.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    (out / "start" / "adapter_config.json").write_text(
        (out / "start" / "adapter_config.json").read_text().replace('"pissa"', "true")
    )
    model.save_pretrained(out / "pissa", path_initial_model_for_weight_conversion=str(out / "start"))
    scales["pissa"] = dict.fromkeys(scales["lora"], 0.5)
    from peft import IA3Config, OFTConfig, VeraConfig

    for name, config in {
        "vera": VeraConfig(r=8, target_modules=targets),
        "ia3": IA3Config(target_modules=targets, feedforward_modules=[]),
        "oft": OFTConfig(r=0, oft_block_size=4, target_modules=targets),
    }.items():
        get_peft_model(Model(), config).save_pretrained(out / name)
        scales[name] = dict.fromkeys(scales["lora"], 1)
    import json
    (out / "scales.json").write_text(json.dumps(scales))
"""


@needs("peft")
def test_peft(tmp_path: Path) -> None:
    make(PEFT_PROGRAM, tmp_path)
    scales = json.loads((tmp_path / "scales.json").read_text())
    for name, expected in scales.items():
        adapter = read(tmp_path / name)
        assert adapter.convention.name == "peft", name
        found = {item.name.removeprefix("base_model.model."): item.scale for item in adapter.modules}
        if name == "adalora":
            # Its `scaling` holds alpha itself; the forward divides by the rank at the start.
            expected = {key: value / 12 for key, value in expected.items()}
        assert found == pytest.approx(expected, rel=1e-6), name
        assert not adapter.broken, name
        # VeRA's projections are shared by all modules.
        usual = ("unknown-tensors",) if name == "vera" else ("mixed-ranks",)
        assert not [item for item in find_oddities(adapter) if item.name not in usual], name
    assert {item.scale for item in read(tmp_path / "rslora").modules} == {4 / math.sqrt(8)}
    assert all(item.dora for item in read(tmp_path / "dora").modules)
    assert {item.rank for item in read(tmp_path / "pissa").modules} == {16}
    kinds = {name: {item.kind for item in read(tmp_path / name).modules} for name in scales}
    assert kinds["loha"] == {Kind.LOHA}
    assert kinds["lokr"] == {Kind.LOKR}
    assert kinds["full_lokr"] == {Kind.FULL_LOKR}
    assert kinds["adalora"] == {Kind.ADALORA}
    assert [kinds[name] for name in ("vera", "ia3", "oft")] == [{Kind.VERA}, {Kind.IA3}, {Kind.OFT}]
    assert kinds["conv"] == {Kind.CONV, Kind.LORA}


LYCORIS_PROGRAM = """
    import json
    from lycoris import LycorisNetwork, create_lycoris
    from safetensors.torch import save_file

    LycorisNetwork.apply_preset({"target_module": ["Linear"], "target_name": []})
    scales = {}
    for name, algo, options in [
        ("locon", "locon", {}),
        ("dora", "locon", {"dora_wd": True}),
        ("rslora", "locon", {"rs_lora": True}),
        ("loha", "loha", {}),
        ("lokr", "lokr", {"factor": 4}),
        ("lokr_full", "lokr", {"factor": 4, "linear_dim": 10000}),
        ("glora", "glora", {}),
        ("full", "full", {}),
    ]:
        dim = options.pop("linear_dim", 2)
        network = create_lycoris(Model(), 1.0, linear_dim=dim, linear_alpha=1, algo=algo, **options)
        network.apply_to()
        tensors = {key: value.contiguous().clone() for key, value in network.state_dict().items()}
        (out / name).mkdir()
        save_file(tensors, out / name / f"{name}.safetensors")
        scales[name] = {
            module.lora_name: float(getattr(module, "scale", 1)) for module in network.loras
        }
    (out / "scales.json").write_text(json.dumps(scales))
"""


@needs("lycoris")
def test_lycoris(tmp_path: Path) -> None:
    make(LYCORIS_PROGRAM, tmp_path)
    for name, expected in json.loads((tmp_path / "scales.json").read_text()).items():
        adapter = read(tmp_path / name)
        found = {item.name: item.scale for item in adapter.modules}
        assert found == pytest.approx(expected, rel=1e-6), (name, adapter.reason)
        assert adapter.convention.name == "lycoris"
        assert not adapter.broken, name


DIFFUSERS_PROGRAM = """
    from diffusers import UNet2DConditionModel, StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    def unet():
        return UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16),
            norm_num_groups=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=16, attention_head_dim=4,
        )

    for name, rslora in (("plain", False), ("rslora", True)):
        model = unet()
        config = LoraConfig(
            r=8, lora_alpha=4, use_rslora=rslora, target_modules=["to_q", "to_v"],
            alpha_pattern={"attn2.to_v": 16},
        )
        model.add_adapter(config)
        layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(model))
        StableDiffusionPipeline.save_lora_weights(
            out / name, unet_lora_layers=layers, unet_lora_adapter_metadata=config.to_dict()
        )
    StableDiffusionPipeline.save_lora_weights(out / "lost", unet_lora_layers=layers)
"""


@needs("diffusers")
@needs("peft")
def test_diffusers(tmp_path: Path) -> None:
    make(DIFFUSERS_PROGRAM, tmp_path)
    for name, divisor in (("plain", 8.0), ("rslora", math.sqrt(8))):
        adapter = read(tmp_path / name)
        assert adapter.convention.name == "diffusers"
        assert len(adapter.modules) > 4
        for module in adapter.modules:
            alpha = 16 if module.name.endswith("attn2.to_v") else 4
            assert module.scale == pytest.approx(alpha / divisor), module.name
    (path,) = find_files(tmp_path / "lost")
    lost = inspect_file(path)
    assert lost.adapter.convention.name == "diffusers-legacy"
    assert {item.assumed for item in lost.adapter.modules} == {True}
    outcomes = {item.loader.key: item.outcome for item in lost.predictions}
    assert outcomes["diffusers"] is Outcome.RIGHT_IF_RANK
