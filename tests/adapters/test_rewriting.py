"""`inspect --rewrite-to`: the same deltas in another convention, or a clear refusal and no file."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from lorascale_lint.adapters.adapter import Adapter, understand
from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.adapters.floats import encoded
from lorascale_lint.adapters.norms import delta_norms
from lorascale_lint.adapters.predictions import Outcome, predict
from lorascale_lint.adapters.rewriting.files import write_adapter
from lorascale_lint.adapters.rewriting.plan import plan_rewrite
from lorascale_lint.adapters.rewriting.targets import TARGETS, Target, target_named
from lorascale_lint.adapters.source import find_files, read_source
from lorascale_lint.errors import InputError
from lorascale_lint.knowledge.loaders import LOADERS
from tests.adapters.layouts import NAMES, Tensors

Output = tuple[int, str, str]
GENERATOR = np.random.default_rng(0)


def some(*shape: int, dtype: str = "float32") -> NDArray[np.floating]:
    return GENERATOR.standard_normal(shape).astype(dtype)


def plain(rank: int, alpha: float | None, dtype: str = "float32", before: str = "") -> Tensors:
    tensors: Tensors = {}
    for name in NAMES:
        tensors[f"{before}{name}.lora_A.weight"] = some(rank, 12, dtype=dtype)
        tensors[f"{before}{name}.lora_B.weight"] = some(20, rank, dtype=dtype)
        if alpha is not None:
            tensors[f"{before}{name}.alpha"] = np.array(alpha, np.float32)
    return tensors


def longcat(rank: int, scale: float, branches: int) -> Tensors:
    module = "lora___lorahyphen___blocks___lorahyphen___0___lorahyphen___qkv"
    return {
        f"{module}.lora_down.weight": some(branches * rank, 12),
        **{f"{module}.lora_up.blocks.{i}.weight": some(10, rank) for i in range(branches)},
        f"{module}.alpha_scale": np.array(scale, np.float32),
    }


def read(path: Path) -> Adapter:
    (file,) = find_files(path)
    return understand(read_source(file))


def place(folder: Path, target: Target) -> Path:
    return folder / ("peft" if target.name == "peft" else f"{target.name}.safetensors")


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=5)
@given(rank=st.integers(1, 9), alpha=st.floats(0.1, 100), dtype=st.sampled_from(["float32", "float16"]))
def test_every_target_keeps_the_deltas(
    target: Target, fold: bool, rank: int, alpha: float, dtype: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rewrite")
    save_file(plain(rank, alpha, dtype), folder / "a.safetensors", metadata={"title": "kept", "alpha": "3"})
    out = place(folder, target)
    write_adapter(read(folder), plan_rewrite(read(folder), target, fold=fold), out)
    written = read(out)
    assert written.convention.name == target.name
    assert written.source.metadata["title"] == "kept"
    for before, after in zip(read(folder / "a.safetensors").modules, written.modules, strict=True):
        assert after.scale == pytest.approx(1.0 if fold else alpha / rank)
        old, new = load_file(folder / "a.safetensors"), load_file(find_files(out)[0])
        b, a = new[after.factors.keys["up"]], new[after.factors.keys["down"]]
        # Independently of the program's own comparison: the whole products.
        one = alpha / rank * (old[before.factors.keys["up"]].astype(float) @ old[before.factors.keys["down"]])
        two = (after.scale or 0.0) * (b.astype(float) @ a)
        assert np.linalg.norm(two - one) <= (1e-6 if dtype == "float32" else 1e-3) * np.linalg.norm(one)


@pytest.mark.parametrize("fold", [False, True])
def test_alpha_0_is_not_taken_for_the_trained_one(fold: bool, tmp_path: Path) -> None:
    save_file(plain(8, 0.0), tmp_path / "a.safetensors")
    target = target_named("kohya")
    assert target is not None
    adapter = read(tmp_path)
    with pytest.raises(InputError, match="alpha 0, a placeholder; say with --alpha"):
        plan_rewrite(adapter, target, fold=fold)
    plan = plan_rewrite(adapter, target, fold=fold, alpha=4)
    write_adapter(adapter, plan, tmp_path / "out.safetensors")
    assert {item.scale for item in read(tmp_path / "out.safetensors").modules} == {1.0 if fold else 0.5}


def test_fused_branches_become_one_block_diagonal_factor(tmp_path: Path) -> None:
    source = tmp_path / "a.safetensors"
    tensors = longcat(4, 0.5, 3)
    save_file(tensors, source)
    target = target_named("comfy")
    assert target is not None
    write_adapter(read(source), plan_rewrite(read(source), target, fold=False), tmp_path / "out.safetensors")
    (module,) = read(tmp_path / "out.safetensors").modules
    assert (module.rank, module.alpha, module.scale) == (12, 6, 0.5)
    new = load_file(tmp_path / "out.safetensors")
    assert new[module.factors.keys["up"]].shape == (30, 12)
    down, *ups, _ = tensors.values()
    parts = [up @ down[4 * index : 4 * index + 4] for index, up in enumerate(ups)]
    np.testing.assert_allclose(
        new["diffusion_model.blocks.0.qkv.lora_B.weight"] @ new["diffusion_model.blocks.0.qkv.lora_A.weight"],
        np.concatenate(parts),
        rtol=1e-5,
        atol=1e-6,
    )


def test_folding_makes_a_loader_right_that_ignores_alpha(
    inspect: Callable[..., Output], tmp_path: Path
) -> None:
    source, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file(plain(8, 4.0), source)
    ignoring = next(item for item in LOADERS if item.key == "diffsynth-1")
    assert predict(read(source), ignoring).outcome is Outcome.WRONG
    code, text, _ = inspect(source, "--rewrite-to", "plain", out, "--fold")
    assert code == 0
    assert "deltas differ by" in text
    outcomes = {item.outcome for item in inspect_file(out).predictions}
    # Some skip or refuse such names, whatever their alpha; none applies a wrong scale.
    assert Outcome.RIGHT in outcomes
    assert not outcomes & {Outcome.WRONG, Outcome.RIGHT_IF_RANK}


def test_bfloat16_is_rounded_to_the_nearest() -> None:
    exact = np.array([1.0, -2.5, 2.0**127, 0.0], np.float32)
    halves = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20], np.float32)
    for values, wanted in ((exact, exact), (halves, [1.0, 1 + 2**-6, 1 + 2**-7])):
        bits = np.frombuffer(encoded(values, "BF16"), "<u2").astype("<u4") << 16
        np.testing.assert_array_equal(bits.view("<f4"), np.array(wanted, np.float32))


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("kind", ["loha", "lokr", "tucker"])
def test_other_kinds_keep_their_deltas(kind: str, fold: bool, tmp_path: Path) -> None:
    shapes = {
        "loha": {"hada_w1_a": (12, 4), "hada_w1_b": (4, 10), "hada_w2_a": (12, 4), "hada_w2_b": (4, 10)},
        "lokr": {"lokr_w1": (3, 2), "lokr_w2_a": (8, 4), "lokr_w2_b": (4, 5)},
        "tucker": {
            "lora_down.weight": (4, 6, 1, 1),
            "lora_up.weight": (12, 4, 1, 1),
            "lora_mid.weight": (4, 4, 3, 3),
        },
    }[kind]  # fmt: skip
    tensors = {f"blocks.0.x.{role}": some(*shape) for role, shape in shapes.items()}
    save_file(tensors | {"blocks.0.x.alpha": np.array(2, np.float32)}, tmp_path / "a.safetensors")
    before, target = read(tmp_path), target_named("kohya")
    assert target is not None
    write_adapter(before, plan_rewrite(before, target, fold=fold), tmp_path / "out.safetensors")
    after = read(tmp_path / "out.safetensors")
    assert after.modules[0].scale == (1.0 if fold else 0.5)
    one, two = delta_norms(before)["blocks.0.x"], delta_norms(after)["lora_unet_blocks_0_x"]
    assert two == pytest.approx(one, rel=1e-5)


def test_mlx_factors_are_turned_around(tmp_path: Path) -> None:
    a, b = some(12, 4), some(4, 20)
    save_file({"layers.0.q.lora_a": a, "layers.0.q.lora_b": b}, tmp_path / "adapters.safetensors")
    config = {"lora_parameters": {"rank": 4, "scale": 20.0}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    target = target_named("peft")
    assert target is not None
    write_adapter(read(tmp_path), plan_rewrite(read(tmp_path), target, fold=False), tmp_path / "out")
    new = load_file(tmp_path / "out" / "adapter_model.safetensors")
    np.testing.assert_array_equal(new["base_model.model.layers.0.q.lora_A.weight"], a.T)
    np.testing.assert_array_equal(new["base_model.model.layers.0.q.lora_B.weight"], b.T)
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["lora_alpha"] == 80


def test_alpha_can_be_told(inspect: Callable[..., Output], tmp_path: Path) -> None:
    source, out = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    save_file(plain(8, None), source)
    code, _, err = inspect(source, "--rewrite-to", "kohya", out)
    assert (code, out.exists()) == (2, False)
    assert "has no alpha anywhere; say with --alpha" in err
    assert inspect(source, "--rewrite-to", "kohya", out, "--alpha", 16, "--fold")[0] == 0
    assert {module.scale for module in read(out).modules} == {1.0}
    before, after = load_file(source), load_file(out)
    np.testing.assert_array_equal(
        after["lora_unet_blocks_0_attn_to_q.lora_up.weight"], 2 * before[f"{NAMES[0]}.lora_B.weight"]
    )


LOHA = {
    f"blocks.0.q.{role}": some(*shape)
    for role, shape in {
        "hada_w1_a": (12, 4), "hada_w1_b": (4, 12), "hada_w2_a": (12, 4), "hada_w2_b": (4, 12)
    }.items()
}  # fmt: skip
DORA = plain(8, 4.0) | {f"{NAMES[0]}.lora_magnitude_vector": some(20)}
FUSED = {"transformer.h.0.attn.qkv.lora_A": some(12, 16), "transformer.h.0.attn.qkv.lora_B": some(48, 4)}
BIAS = plain(8, 4.0) | {f"{NAMES[0]}.lora_B.bias": some(20)}
KOHYA = {"lora_unet_a_b.lora_down.weight": some(4, 8), "lora_unet_a_b.lora_up.weight": some(8, 4)}
TINY = {
    name: value * np.float16(1e-5) if name.endswith("lora_B.weight") else value
    for name, value in plain(8, 0.01, "float16").items()
}


@pytest.mark.parametrize(
    ("tensors", "arguments", "reason"),
    [
        (LOHA, ("peft", "--alpha", 2), "is LoHa, for which peft has no names"),
        (DORA, ("kohya",), "has another form of DoRA"),
        (FUSED, ("plain", "--alpha", 4), "nothing says which rows of B are whose"),
        (BIAS, ("plain", "--fold"), "is multiplied by is not known"),
        (KOHYA, ("peft", "--alpha", 4), "has lost its dots"),
        (plain(8, float("nan")), ("plain",), "no trained scale that could be written"),
        (plain(8, 4.0) | {"a.lora_A.weight": some(4, 8)}, ("plain",), "is not whole"),
        (TINY, ("plain", "--fold"), "the new file was not kept"),
        (plain(8, 4.0), ("nothing",), "is none of kohya"),
    ],
)
def test_what_cannot_be_known_is_refused(
    tensors: Tensors,
    arguments: tuple[object, ...],
    reason: str,
    inspect: Callable[..., Output],
    tmp_path: Path,
) -> None:
    source = tmp_path / "a.safetensors"
    save_file(tensors, source)
    name, *more = arguments
    code, _, err = inspect(source, "--rewrite-to", name, tmp_path / "out.safetensors", *more)
    assert code == 2
    assert reason in err
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_nothing_is_overwritten(inspect: Callable[..., Output], tmp_path: Path) -> None:
    source = tmp_path / "a.safetensors"
    save_file(plain(8, 4.0), source)
    before = source.read_bytes()
    code, _, err = inspect(source, "--rewrite-to", "plain", source, "--fold")
    assert (code, source.read_bytes()) == (2, before)
    assert "nothing is overwritten" in err


@pytest.mark.parametrize("arguments", [["--fold"], ["--alpha", "4"]])
def test_options_of_rewriting_need_it(
    arguments: list[str], inspect: Callable[..., Output], tmp_path: Path
) -> None:
    save_file(plain(8, 4.0), tmp_path / "a.safetensors")
    assert inspect(tmp_path, *arguments)[0] == 2


def test_a_collision_of_flat_names_is_refused(tmp_path: Path) -> None:
    tensors = {
        f"{module}.{role}": some(4, 4)
        for module in ("a.b_c", "a_b.c")
        for role in ("lora_A.weight", "lora_B.weight")
    }
    save_file(tensors, tmp_path / "a.safetensors")
    target = target_named("kohya")
    assert target is not None
    with pytest.raises(InputError, match="two tensors would both be called"):
        plan_rewrite(read(tmp_path), target, fold=False, alpha=2)


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs peft (extra loaders)")
def test_peft_loads_the_rewritten_folder(tmp_path: Path) -> None:
    import torch
    from peft import PeftModel

    tensors = {
        "q.lora_down.weight": some(4, 12), "q.lora_up.weight": some(20, 4),
        "q.alpha": np.array(2, np.float32),
        "proj_q.lora_down.weight": some(6, 12), "proj_q.lora_up.weight": some(20, 6),
        "proj_q.alpha": np.array(9, np.float32),
    }  # fmt: skip
    save_file(tensors, tmp_path / "a.safetensors")
    target = target_named("peft")
    assert target is not None
    write_adapter(read(tmp_path), plan_rewrite(read(tmp_path), target, fold=False), tmp_path / "out")

    base = torch.nn.ModuleDict({name: torch.nn.Linear(12, 20) for name in ("q", "proj_q")})
    weights = {name: layer.weight.detach().clone() for name, layer in base.items()}
    merged = PeftModel.from_pretrained(base, str(tmp_path / "out")).merge_and_unload()
    for name, scale in (("q", 0.5), ("proj_q", 1.5)):
        product = tensors[f"{name}.lora_up.weight"] @ tensors[f"{name}.lora_down.weight"]
        change = (merged[name].weight.detach() - weights[name]).numpy()
        np.testing.assert_allclose(change, scale * product, rtol=1e-4, atol=1e-5)
