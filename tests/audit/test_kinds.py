"""Deltas beside plain LoRA: merges by the real library or by an independent formula, and wrong ones."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from lorascale_lint.audit.command import AuditOptions, audit_checkpoint
from lorascale_lint.audit.report import Audit, render_text
from tests.audit.models import DTYPES, Case, load, lora, make, peft, save, torch, verdicts

Wide = NDArray[np.float64]
RIGHT = {"matches", "rounding only"}
EACH = pytest.mark.parametrize("dtype", ["F32", "BF16"])
RANDOM = np.random.default_rng(3)


class Convolutions(torch.nn.Module):
    """Linear layers that store both ways, and convolutions with large and small kernels."""

    def __init__(self) -> None:
        super().__init__()
        conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D
        self.to_q = torch.nn.Linear(24, 32)
        self.to_out = torch.nn.Linear(24, 24)
        self.conv = torch.nn.Conv2d(8, 16, 3)
        self.pointwise = torch.nn.Conv2d(8, 16, 1)
        self.c_fc = conv1d(40, 24)
        self.c_proj = conv1d(24, 24)

    def forward(self, x: Any) -> Any:
        return x


class Net(torch.nn.Module):
    """One level down, as names of one part are no evidence."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Convolutions()

    def forward(self, x: Any) -> Any:
        return x


def wrong_ones(case: Case, deltas: Mapping[str, Any], alpha: float, scale: float) -> None:
    """Merges at wrong scales, of deltas at the trained scale that the library made, are named."""
    base = load(case.base)
    for name, applied in {
        "alpha ignored": 1.0,
        "raw alpha": alpha,
        "squared": scale**2,
        "inverted": 1 / scale,
        "applied twice": 2 * scale,
        "not applied": 0.0,
    }.items():
        merged = dict(base)
        for key, delta in deltas.items():
            total = base[key].double() + delta.double().reshape(base[key].shape) * (applied / scale)
            merged[key] = total.to(base[key].dtype)
        save(case.merged, merged)
        audit = case.audit()
        assert set(verdicts(audit).values()) == {name}, render_text(audit)
        assert audit.exit_code == 1


def of_peft(case: Case) -> dict[str, Any]:
    """What PEFT's layers say their deltas are, at the trained scale."""
    model = Net()
    model.load_state_dict({key: value.float() for key, value in load(case.base).items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = peft.PeftModel.from_pretrained(model, case.adapter)
    return {
        f"{name.removeprefix('base_model.model.')}.weight": layer.get_delta_weight("default").detach()
        for name, layer in wrapped.named_modules()
        if hasattr(layer, "get_delta_weight")
    }


PEFT_KINDS: dict[str, tuple[Callable[[], Any], float, float]] = {
    "AdaLoRA": (
        lambda: peft.AdaLoraConfig(
            init_r=12, target_r=4, lora_alpha=18, target_modules=["to_q", "to_out"], total_step=10
        ),
        18.0,
        1.5,
    ),
    "LoHa with core tensors": (
        lambda: peft.LoHaConfig(
            r=4, alpha=6, target_modules=["conv", "pointwise", "to_q"], use_effective_conv2d=True
        ),
        6.0,
        1.5,
    ),
    "LoKr with core tensors": (
        lambda: peft.LoKrConfig(
            r=3, alpha=5, target_modules=["conv", "to_q"], use_effective_conv2d=True, decompose_factor=2
        ),
        5.0,
        5 / 3,
    ),
    "layers that store in x out": (
        lambda: lora(r=8, lora_alpha=12, target_modules=["c_fc", "c_proj"], fan_in_fan_out=True),
        12.0,
        1.5,
    ),
}


@EACH
@pytest.mark.parametrize("kind", PEFT_KINDS)
def test_kinds_of_peft(kind: str, dtype: str, tmp_path: Path) -> None:
    config, alpha, scale = PEFT_KINDS[kind]
    case = make(tmp_path, config(), dtype=dtype, size=0.3, model=Net)
    keys = {
        "LoHa with core tensors": "hada_t1",
        "LoKr with core tensors": "lokr_t2",
        "AdaLoRA": "lora_E",
    }
    if kind in keys:
        assert any(keys[kind] in key for key in load(case.adapter / "adapter_model.safetensors"))
    audit = case.audit()
    assert set(verdicts(audit).values()) <= RIGHT, render_text(audit)
    assert audit.exit_code == 0
    wrong_ones(case, of_peft(case), alpha, scale)


def test_squares_that_may_be_stored_either_way(tmp_path: Path) -> None:
    # PEFT saves one flag for all layers, that of the last one; of a square layer its shape says nothing.
    for flag in (True, False):
        case = make(
            tmp_path / str(flag),
            lora(target_modules=["c_fc", "c_proj", "to_q", "to_out"], fan_in_fan_out=flag),
            size=0.3,
            model=Net,
        )
        found = verdicts(case.audit())
        assert (found["block.c_fc"], found["block.to_q"]) == ("matches", "matches")
        assert set(found.values()) <= {"matches", "could not be judged"}
        assert "could not be judged" in (found["block.c_proj"], found["block.to_out"])


LYCORIS_KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "LoCon with a core tensor": ({"algo": "locon", "use_tucker": True}, "lora_mid.weight"),
    "LoHa with core tensors": ({"algo": "loha", "use_tucker": True}, "hada_t1"),
    "LoKr with core tensors": ({"algo": "lokr", "use_tucker": True, "factor": 2}, "lokr_t2"),
    "DoRA by row": ({"algo": "locon", "dora_wd": True, "wd_on_output": True}, "dora_scale"),
    "DoRA by column": ({"algo": "locon", "dora_wd": True, "wd_on_output": False}, "dora_scale"),
}


def lycoris_case(folder: Path, options: Mapping[str, Any], dtype: str) -> tuple[Case, Any]:
    """A merge by LyCORIS itself; the network is as it was before."""
    lycoris = pytest.importorskip("lycoris", reason="needs LyCORIS (extra loaders)")
    torch.manual_seed(0)
    base = Net().to(DTYPES[dtype])
    case = Case(folder, (str(folder / "adapter.safetensors"),))
    save(case.base, base.state_dict())
    lycoris.LycorisNetwork.apply_preset({"target_module": ["Linear", "Conv2d"], "target_name": []})
    network = lycoris.create_lycoris(
        base, 1.0, linear_dim=3, linear_alpha=5, conv_dim=3, conv_alpha=5, **options
    )
    network.apply_to()
    for name, parameter in network.named_parameters():
        size = parameter.detach() * 1.1 if "dora_scale" in name else 0.5 * torch.randn(parameter.shape)
        parameter.data = size.to(torch.float32)
    save(folder / "adapter.safetensors", network.state_dict())
    network.restore()
    network.merge_to(1.0)
    save(case.merged, base.state_dict())
    return case, network


@EACH
@pytest.mark.parametrize("kind", LYCORIS_KINDS)
def test_kinds_of_lycoris(kind: str, dtype: str, tmp_path: Path) -> None:
    options, key = LYCORIS_KINDS[kind]
    case, network = lycoris_case(tmp_path, options, dtype)
    assert any(name.endswith(key) for name in load(tmp_path / "adapter.safetensors"))
    audit = case.audit()
    found = verdicts(audit)
    if kind.startswith(("LoHa", "LoKr")):
        # LyCORIS' own merge scales these twice (docs/verification, row "LyCORIS: LoHa + .alpha").
        assert set(found.values()) == {"squared"}, render_text(audit)
        return
    if kind == "DoRA by column":
        # Its norm over a kernel of several places is not replayed.
        assert found.pop("lycoris_block_conv") == "could not be judged"
    assert set(found.values()) <= RIGHT, render_text(audit)
    if kind.startswith("DoRA"):
        return
    deltas = {
        f"block.{module.lora_name.removeprefix('lycoris_block_')}.weight": module.get_diff_weight()[
            0
        ].detach()
        for module in network.loras
    }
    wrong_ones(case, deltas, 5.0, 5 / 3)


def random(*shape: int) -> NDArray[np.float32]:
    return RANDOM.normal(size=shape).astype(np.float32)


def by_hand(folder: Path, adapter: Path, base: NDArray[np.float32], merged: Wide, name: str) -> Audit:
    """Audit one weight whose right merge was computed in float64."""
    save_file({f"{name}.weight": base}, folder / "base.safetensors")
    save_file({f"{name}.weight": merged.astype(np.float32)}, folder / "merged.safetensors")
    return audit_checkpoint(
        AuditOptions(folder / "base.safetensors", (str(adapter),), folder / "merged.safetensors")
    )


def mlx(folder: Path, tensors: Mapping[str, NDArray[Any]], **config: Any) -> Path:
    folder.mkdir()
    save_file(dict(tensors), folder / "adapters.safetensors")
    settings = {"lora_parameters": {"rank": 4, "scale": 1.5}} | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


MLX = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize("out", [20, 12])
def test_mlx(out: int, tmp_path: Path) -> None:
    # mlx-lm @ d78bf58e tuner/lora.py LoRALinear.fuse: weight + ((scale * lora_b.T) @ lora_a.T).
    a, b, base = random(12, 4), random(4, out), random(out, 12)
    adapter = mlx(tmp_path / "adapter", {f"{MLX}.lora_a": a, f"{MLX}.lora_b": b})
    delta = b.T.astype(np.float64) @ a.T
    for scale, verdict in ((1.5, "matches"), (1.0, "alpha ignored"), (6.0, "raw alpha"), (2.25, "squared")):
        audit = by_hand(tmp_path, adapter, base, base + scale * delta, MLX)
        assert verdicts(audit) == {MLX: verdict}, render_text(audit)
    if out == 12:
        audit = by_hand(tmp_path, adapter, base, base + 1.5 * delta.T, MLX)
        assert verdicts(audit) == {MLX: "transposed"}


def test_mlx_dora(tmp_path: Path) -> None:
    # mlx-lm @ d78bf58e tuner/dora.py DoRALinear.fuse: (m / norm(adapted, axis=1))[:, None] * adapted.
    a, b, base = random(12, 4), random(4, 20), random(20, 12)
    magnitude = 1.1 * np.linalg.norm(base, axis=1)
    tensors = {f"{MLX}.lora_a": a, f"{MLX}.lora_b": b, f"{MLX}.m": magnitude}
    adapter = mlx(tmp_path / "adapter", tensors, fine_tune_type="dora")
    delta = b.T.astype(np.float64) @ a.T
    for scale, verdict in ((1.5, "matches"), (1.0, "alpha ignored")):
        adapted = base + scale * delta
        merged = adapted * (magnitude / np.linalg.norm(adapted, axis=1))[:, None]
        audit = by_hand(tmp_path, adapter, base, merged, MLX)
        assert verdicts(audit) == {MLX: verdict}, render_text(audit)
    audit = by_hand(tmp_path, adapter, base, base + 1.5 * delta, MLX)
    assert verdicts(audit) == {MLX: "magnitude ignored"}, render_text(audit)


def test_mlx_embeddings_and_experts(tmp_path: Path) -> None:
    # tuner/lora.py LoRAEmbedding.fuse: weight + ((scale * lora_a) @ lora_b), which is not turned around.
    a, b, base = random(30, 4), random(4, 12), random(30, 12)
    name = "model.embed_tokens"
    adapter = mlx(tmp_path / "adapter", {f"{name}.lora_a": a, f"{name}.lora_b": b})
    audit = by_hand(tmp_path, adapter, base, base + 1.5 * (a.astype(np.float64) @ b), name)
    assert verdicts(audit) == {name: "matches"}, render_text(audit)
    # LoRASwitchLinear: one pair for each expert.
    name = "model.layers.0.mlp.switch_mlp.up_proj"
    adapter = mlx(
        tmp_path / "experts", {f"{name}.lora_a": random(3, 4, 12), f"{name}.lora_b": random(3, 12, 4)}
    )
    weight = random(3, 12, 12)
    audit = by_hand(tmp_path, adapter, weight, weight.astype(np.float64), name)
    assert verdicts(audit) == {name: "could not be judged"}, render_text(audit)


def test_fused_branches_of_longcat(tmp_path: Path) -> None:
    # LongCat-Video @ 6b3f4b8 modules/lora_utils.py LoRAUPParallel: each branch has its part of A and a B.
    module = "lora___lorahyphen___blocks___lorahyphen___0___lorahyphen___attn___lorahyphen___qkv"
    down, ups, base = random(12, 16), [random(16, 4) for _ in range(3)], random(48, 16)
    tensors = {f"{module}.lora_up.blocks.{index}.weight": up for index, up in enumerate(ups)}
    tensors |= {f"{module}.lora_down.weight": down, f"{module}.alpha_scale": np.array(1.5, np.float32)}
    adapter = tmp_path / "lora.safetensors"
    save_file(tensors, adapter)
    parts = [up.astype(np.float64) @ down[4 * index : 4 * index + 4] for index, up in enumerate(ups)]
    delta = np.concatenate(parts)
    for merged, verdict in (
        (1.5 * delta, "matches"),
        (1.0 * delta, "alpha ignored"),
        (6.0 * delta, "raw alpha"),
        (0.0 * delta, "not applied"),
        (1.5 * np.concatenate([parts[0], 0 * parts[1], parts[2]]), "partially applied"),
        (1.5 * np.concatenate([parts[1], parts[0], parts[2]]), "differs otherwise"),
    ):
        audit = by_hand(tmp_path, adapter, base, base + merged, "blocks.0.attn.qkv")
        assert verdicts(audit) == {module: verdict}, render_text(audit)


def test_which_rows_of_a_shared_b_belong_to_which_branch_is_not_guessed(tmp_path: Path) -> None:
    # litgpt: A of three branches on one another, B with the rank of one of them.
    name = "transformer.h.0.attn.qkv"
    save_file({f"{name}.lora_A": random(12, 16), f"{name}.lora_B": random(48, 4)}, tmp_path / "a.safetensors")
    base = random(48, 16)
    audit = by_hand(tmp_path, tmp_path / "a.safetensors", base, base.astype(np.float64), name)
    assert verdicts(audit) == {name: "could not be judged"}


def test_dora_of_a_layer_that_stores_in_x_out(tmp_path: Path) -> None:
    config = lora(target_modules=["c_fc"], use_dora=True, fan_in_fan_out=True)
    audit = make(tmp_path, config, size=0.3, model=Net).audit()
    assert verdicts(audit) == {"block.c_fc": "matches"}, render_text(audit)
