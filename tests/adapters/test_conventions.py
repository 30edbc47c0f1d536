"""Every convention is recognised, with the right scale for each module."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lorascale_lint.adapters.adapter import Adapter, understand
from lorascale_lint.adapters.formats import FORMATS
from lorascale_lint.adapters.module import AlphaSource
from lorascale_lint.adapters.oddities import find_oddities
from lorascale_lint.adapters.patterns import Patterns
from lorascale_lint.adapters.report import summary
from lorascale_lint.adapters.source import read_source
from lorascale_lint.errors import InputError
from lorascale_lint.knowledge.kinds import Kind
from tests.adapters.layouts import FLAT, NAMES, WIDTH, Tensors, pair, peft_pair, write, zeros

PEFT = tuple("base_model.model." + name for name in NAMES)


def read(path: Path) -> Adapter:
    return understand(read_source(path))


@dataclass
class Layout:
    """A file as one program writes it, and what is to be said of it."""

    convention: str
    tensors: Tensors
    scale: float
    source: AlphaSource = AlphaSource.TENSOR
    kind: Kind = Kind.LORA
    rank: int | None = 8
    metadata: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] | None = None
    yaml: str = ""
    name: str = "adapter_model.safetensors"
    modules: int = len(NAMES)
    dora: bool = False


def lycoris(names: tuple[str, ...], alpha: float = 4, **shapes: tuple[int, ...]) -> Tensors:
    tensors: Tensors = {}
    for name in names:
        tensors |= {f"{name}.{role.replace('__', '.')}": zeros(*shape) for role, shape in shapes.items()}
        tensors[f"{name}.alpha"] = np.array(alpha, np.float32)
    return tensors


HADA = {"hada_w1_a": (WIDTH, 8), "hada_w1_b": (8, WIDTH), "hada_w2_a": (WIDTH, 8), "hada_w2_b": (8, WIDTH)}
DIFFUSERS = ["transformer." + name for name in NAMES]
LONGCAT = ["lora___lorahyphen___" + name.replace(".", "___lorahyphen___") for name in NAMES]
NOWHERE = AlphaSource.NOWHERE
CONFIG = AlphaSource.CONFIG
QKV = [f"transformer.h.{block}.attn.qkv" for block in range(4)]


def longcat() -> Tensors:
    tensors: Tensors = {}
    for name in LONGCAT:
        tensors[f"{name}.lora_down.weight"] = zeros(24, WIDTH)
        tensors |= {f"{name}.lora_up.blocks.{block}.weight": zeros(WIDTH, 8) for block in range(3)}
        tensors[f"{name}.alpha_scale"] = np.array(0.5, np.float32)
    return tensors


def mlx() -> Tensors:
    return {
        key: value
        for name in NAMES
        for key, value in ((f"{name}.lora_a", zeros(WIDTH, 8)), (f"{name}.lora_b", zeros(8, WIDTH)))
    }


def litgpt() -> Tensors:
    return {
        key: value
        for name in QKV
        for key, value in ((f"{name}.lora_A", zeros(24, WIDTH)), (f"{name}.lora_B", zeros(36, 8)))
    }


def with_dora(tensors: Tensors, role: str) -> Tensors:
    found = dict(tensors)
    for key in tensors:
        for end in (".lora_down.weight", ".lora_A.weight"):
            if key.endswith(end):
                found[key.removesuffix(end) + "." + role] = zeros(WIDTH)
    return found


def conv() -> Tensors:
    tensors: Tensors = {}
    for name in FLAT:
        tensors[f"{name}.lora_down.weight"] = zeros(8, WIDTH, 3, 3)
        tensors[f"{name}.lora_up.weight"] = zeros(WIDTH, 8, 1, 1)
        tensors[f"{name}.alpha"] = np.array([4], np.float16)
    return tensors


def peft_config(**settings: Any) -> dict[str, Any]:
    return {"peft_type": "LORA", "r": 8, "lora_alpha": 4, **settings}


_METADATA = {"transformer.r": 8, "transformer.lora_alpha": 4, "transformer.use_rslora": False}

LAYOUTS = {
    "kohya": Layout("kohya", pair(FLAT, 8, alpha=4), 0.5),
    "kohya, fp16 alpha": Layout("kohya", pair(FLAT, 8, alpha=4, dtype=np.float16), 0.5),
    "kohya, alpha in metadata": Layout(
        "kohya", pair(FLAT, 8), 0.5, AlphaSource.METADATA, metadata={"ss_network_alpha": "4.0"}
    ),
    "kohya, dynamic": Layout("kohya", pair(FLAT, 8), 1, NOWHERE, metadata={"ss_network_alpha": "Dynamic"}),
    "kohya, .scale": Layout("kohya", pair(FLAT, 8, alpha=0.25, alpha_key="scale"), 0.25),
    "LoCon": Layout("kohya", conv(), 0.5, kind=Kind.CONV),
    "LoCon with DoRA": Layout("kohya", with_dora(pair(FLAT, 8, alpha=4), "dora_scale"), 0.5, dora=True),
    "LoHa": Layout("kohya", lycoris(FLAT, **HADA), 0.5, kind=Kind.LOHA),
    "LoHa, own prefix": Layout(
        "lycoris", lycoris(tuple("lycoris_" + name for name in NAMES), **HADA), 0.5, kind=Kind.LOHA
    ),
    "LoKr": Layout(
        "kohya", lycoris(FLAT, lokr_w1=(2, 2), lokr_w2_a=(6, 8), lokr_w2_b=(8, 6)), 0.5, kind=Kind.LOKR
    ),
    "LoKr, w1 factored": Layout(
        "kohya", lycoris(FLAT, lokr_w1_a=(6, 8), lokr_w1_b=(8, 6), lokr_w2=(2, 2)), 0.5, kind=Kind.LOKR
    ),
    "LoKr, full": Layout(
        "kohya", lycoris(FLAT, 9999999999, lokr_w1=(2, 2), lokr_w2=(6, 6)), 1,
        AlphaSource.NOT_NEEDED, Kind.FULL_LOKR, None,
    ),
    "GLoRA": Layout(
        "kohya",
        lycoris(
            FLAT, a1__weight=(WIDTH, 8), a2__weight=(8, WIDTH), b1__weight=(WIDTH, 8), b2__weight=(8, WIDTH)
        ),
        0.5, kind=Kind.GLORA,
    ),
    "GLoRA, rs_lora": Layout(
        "kohya",
        lycoris(
            FLAT, a1__weight=(WIDTH, 8), a2__weight=(8, WIDTH), b1__weight=(WIDTH, 8), b2__weight=(8, WIDTH)
        ),
        4 / math.sqrt(8), kind=Kind.GLORA, metadata={"ss_network_args": json.dumps({"rs_lora": "True"})},
    ),
    "OFT": Layout(
        "kohya", lycoris(FLAT, oft_blocks=(4, 3, 3)), 1, AlphaSource.NOT_NEEDED, Kind.OFT, None
    ),
    "full differences": Layout(
        "comfy",
        {f"diffusion_model.{name}.{role}": zeros(WIDTH) for name in NAMES for role in ("diff", "diff_b")},
        1, AlphaSource.NOT_NEEDED, Kind.FULL, None,
    ),
    "PEFT": Layout("peft", peft_pair(PEFT, 8), 0.5, CONFIG, config=peft_config()),
    "PEFT, rsLoRA": Layout(
        "peft", peft_pair(PEFT, 8), 4 / math.sqrt(8), CONFIG, config=peft_config(use_rslora=True)
    ),
    "PEFT, no alpha": Layout(
        "peft", peft_pair(PEFT, 4), 2, CONFIG, rank=4, config={"peft_type": "LORA", "r": 4}
    ),
    "PEFT, DoRA": Layout(
        "peft", with_dora(peft_pair(PEFT, 8), "lora_magnitude_vector"), 0.5, CONFIG, dora=True,
        config=peft_config(use_dora=True),
    ),
    "PEFT, embedding": Layout(
        "peft", pair(PEFT, 8, "lora_embedding_A", "lora_embedding_B"), 0.5, CONFIG, config=peft_config()
    ),
    "PEFT, LoHa": Layout(
        "peft", {key: value for key, value in lycoris(PEFT, **HADA).items() if not key.endswith("alpha")},
        0.5, CONFIG, Kind.LOHA, config={"peft_type": "LOHA", "r": 8, "alpha": 4},
    ),
    "PEFT, full LoKr": Layout(
        "peft", {f"{name}.{role}": zeros(3, 3) for name in PEFT for role in ("lokr_w1", "lokr_w2")},
        0.25, CONFIG, Kind.FULL_LOKR, None, config={"peft_type": "LOKR", "r": 64, "alpha": 16},
    ),
    "PEFT, AdaLoRA": Layout(
        "peft",
        pair(PEFT, 8, "lora_A", "lora_B") | {f"{name}.lora_E": zeros(8, 1) for name in PEFT},
        32 / 12, CONFIG, Kind.ADALORA,
        config={"peft_type": "ADALORA", "r": 8, "lora_alpha": 32, "init_r": 12},
    ),
    "PEFT, VeRA": Layout(
        "peft", {f"{name}.{role}": zeros(8) for name in PEFT for role in ("vera_lambda_b", "vera_lambda_d")},
        1, AlphaSource.NOT_NEEDED, Kind.VERA, None, config={"peft_type": "VERA", "r": 8},
    ),
    "PEFT, IA3": Layout(
        "peft", {f"{name}.ia3_l": zeros(8, 1) for name in PEFT},
        1, AlphaSource.NOT_NEEDED, Kind.IA3, None, config={"peft_type": "IA3"},
    ),
    "PEFT, OFT": Layout(
        "peft", {f"{name}.oft_R.weight": zeros(4, 6) for name in PEFT},
        1, AlphaSource.NOT_NEEDED, Kind.OFT, None, config={"peft_type": "OFT", "r": 4},
    ),
    "PEFT names alone": Layout("peft-keys", peft_pair(PEFT, 8), 1, NOWHERE, name="lora.safetensors"),
    "diffusers": Layout(
        "diffusers", peft_pair(DIFFUSERS, 8), 0.5, AlphaSource.METADATA,
        metadata={"lora_adapter_metadata": json.dumps(_METADATA)},
    ),
    "diffusers, rsLoRA": Layout(
        "diffusers", peft_pair(DIFFUSERS, 8), 4 / math.sqrt(8), AlphaSource.METADATA,
        metadata={"lora_adapter_metadata": json.dumps(_METADATA | {"transformer.use_rslora": True})},
    ),
    "diffusers before metadata": Layout("diffusers-plain", peft_pair(DIFFUSERS, 8), 1, NOWHERE),
    "alpha in file metadata": Layout(
        "diffusers-plain", peft_pair(DIFFUSERS, 8), 0.5, AlphaSource.METADATA, metadata={"alpha": "4"}
    ),
    "diffusers, processors": Layout(
        "diffusers-legacy",
        pair([f"unet.{name}.processor.to_q_lora" for name in NAMES], 8, "down.weight", "up.weight"),
        1, NOWHERE,
    ),
    "diffusers, linear layers": Layout(
        "diffusers-legacy",
        pair(DIFFUSERS, 8, "lora_linear_layer.down.weight", "lora_linear_layer.up.weight"), 1, NOWHERE,
    ),
    "diffusers, .lora.": Layout(
        "diffusers-legacy", pair(DIFFUSERS, 8, "lora.down.weight", "lora.up.weight"), 1, NOWHERE
    ),
    "XLabs": Layout(
        "xlabs",
        pair([f"double_blocks.{n}.processor.qkv_lora1" for n in range(4)], 8, "down.weight", "up.weight"),
        1, NOWHERE,
    ),
    "BFL": Layout(
        "bfl",
        peft_pair(NAMES, 8) | {"double_blocks.0.img_attn.norm.query_norm.scale": zeros(4)}
        | {f"{name}.lora_B.bias": zeros(WIDTH) for name in NAMES},
        1, NOWHERE,
    ),
    "ComfyUI style": Layout("comfy", peft_pair(["diffusion_model." + name for name in NAMES], 8, 4), 0.5),
    "ComfyUI style, no alpha": Layout(
        "comfy", peft_pair(["diffusion_model." + name for name in NAMES], 8), 1, NOWHERE
    ),
    "ComfyUI style, down and up": Layout(
        "comfy", pair(["diffusion_model." + name for name in NAMES], 8, alpha=4), 0.5
    ),
    "LongCat": Layout("longcat", longcat(), 0.5),
    "FastVideo": Layout("fastvideo", pair(NAMES, 8, "lora_A", "lora_B", 4, "lora_alpha"), 0.5),
    "FastVideo, extracted": Layout(
        "fastvideo",
        pair(NAMES, 8, "lora_A", "lora_B", 4, "lora_alpha")
        | {f"{name}.lora_rank": np.array([8], np.int32) for name in NAMES},
        0.5,
    ),
    "DiffSynth": Layout(
        "diffsynth", pair(NAMES, 8, "lora_A.default.weight", "lora_B.default.weight"), 1, NOWHERE
    ),
    "LightX2V": Layout("down-up", pair(NAMES, 8, alpha=4), 0.5),
    "plain PEFT names": Layout("plain", peft_pair(NAMES, 8), 1, NOWHERE),
    "Mochi": Layout("bare", pair(NAMES, 8, "lora_A", "lora_B"), 1, NOWHERE),
    "mlx": Layout(
        "mlx", mlx(), 20, CONFIG, name="adapters.safetensors",
        config={"fine_tune_type": "lora", "lora_parameters": {"rank": 8, "scale": 20.0, "dropout": 0.0}},
    ),
    "mlx without settings": Layout("mlx", mlx(), 1, NOWHERE, name="adapters.safetensors"),
    "litgpt": Layout(
        "litgpt", litgpt(), 2, CONFIG, name="lit_model.pth.lora.safetensors",
        yaml="checkpoint_dir: x\nlora_r: 8\nlora_alpha: 16\nlora_query: true\n",
    ),
    "torchtune": Layout(
        "torchtune", pair(NAMES, 8, "lora_a.weight", "lora_b.weight"), 0.5, CONFIG,
        config={"r": 8, "lora_alpha": 4, "target_modules": ["q_proj"]},
    ),
    "Megatron": Layout(
        "megatron", pair(NAMES, 8, "adapter.linear_in.weight", "adapter.linear_out.weight"), 1, NOWHERE
    ),
    "LyCORIS under plain names": Layout("lycoris-plain", lycoris(NAMES, **HADA), 0.5, kind=Kind.LOHA),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_recognised(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    path = write(tmp_path / layout.name, layout.tensors, layout.metadata, layout.config)
    if layout.yaml:
        (tmp_path / "hyperparameters.yaml").write_text(layout.yaml)
    adapter = read(path)
    assert adapter.convention.name == layout.convention, adapter.reason
    assert len(adapter.modules) == layout.modules
    for module in adapter.modules:
        assert module.scale == pytest.approx(layout.scale, rel=1e-6), module
        assert (module.kind, module.rank, module.alpha_source) == (layout.kind, layout.rank, layout.source)
        assert module.assumed == (layout.source is NOWHERE)
        assert module.dora == layout.dora
    assert not adapter.broken
    assert adapter.reason


def test_every_convention_is_tried_here() -> None:
    # GGUF is no safetensors file: tests/adapters/test_file_types.py.
    assert {layout.convention for layout in LAYOUTS.values()} | {"gguf"} == {item.name for item in FORMATS}


def test_peft_patterns(tmp_path: Path) -> None:
    tensors = peft_pair([PEFT[0]], 4) | peft_pair(PEFT[1:], 8)
    config = peft_config(
        rank_pattern={"blocks.0.attn.to_q": 4}, alpha_pattern={"^blocks.1.attn.to_v": 16, "attn.to_v": 2}
    )
    adapter = read(write(tmp_path / "adapter_model.safetensors", tensors, config=config))
    scales = {item.name.removeprefix("base_model.model."): item.scale for item in adapter.modules}
    assert scales == {
        "blocks.0.attn.to_q": 1.0,
        "blocks.0.attn.to_v": 0.25,
        "blocks.1.attn.to_q": 0.5,
        "blocks.1.attn.to_v": 2.0,
    }


def test_a_costly_pattern_is_left_out(tmp_path: Path) -> None:
    name = "base_model.model." + "a" * 60
    config = peft_config(alpha_pattern={"(a+)+b": 99, "(" + "a?" * 60 + ")b": 99})
    adapter = read(write(tmp_path / "adapter_model.safetensors", peft_pair([name], 8), config=config))
    assert adapter.modules[0].scale == 0.5


def test_components_of_diffusers(tmp_path: Path) -> None:
    metadata = {"unet.r": 8, "unet.lora_alpha": 4, "text_encoder.r": 8, "text_encoder.lora_alpha": 16}
    tensors = peft_pair(["unet.to_q"], 8) | peft_pair(["text_encoder.q"], 8)
    path = write(tmp_path / "a.safetensors", tensors, {"lora_adapter_metadata": json.dumps(metadata)})
    assert {item.name: item.scale for item in read(path).modules} == {"unet.to_q": 0.5, "text_encoder.q": 2.0}


@given(
    ranks=st.lists(st.integers(1, 64), min_size=1, max_size=6),
    alphas=st.lists(st.floats(0.0625, 512, width=32), min_size=6, max_size=6),
)
def test_alpha_over_rank(
    ranks: list[int], alphas: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected = {f"lora_unet_m{n}": alphas[n] / rank for n, rank in enumerate(ranks)}
    tensors: Tensors = {}
    for number, rank in enumerate(ranks):
        tensors |= pair([f"lora_unet_m{number}"], rank, alpha=alphas[number])
    adapter = read(write(tmp_path_factory.mktemp("kohya") / "a.safetensors", tensors))
    assert {item.name: item.scale for item in adapter.modules} == pytest.approx(expected, rel=1e-6)


@given(rank=st.integers(1, 64), alpha=st.floats(0.01, 512), rslora=st.booleans())
def test_alpha_over_rank_or_its_root(
    rank: int, alpha: float, rslora: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "use_rslora": rslora}
    path = write(
        tmp_path_factory.mktemp("peft") / "adapter_model.safetensors", peft_pair(PEFT, rank), config=config
    )
    expected = alpha / (math.sqrt(rank) if rslora else rank)
    assert [item.scale for item in read(path).modules] == pytest.approx([expected] * len(PEFT))


def test_summaries(tmp_path: Path) -> None:
    tensors = pair([f"lora_unet_{n}" for n in range(480)], 128, alpha=64)
    adapter = read(write(tmp_path / "a.safetensors", tensors))
    assert summary(adapter) == "LoRA, rank 128, alpha 64: trained scale 0.5, 480 modules, all equal"
    mixed = pair(["lora_unet_a"], 4, alpha=4) | pair(["lora_unet_b"], 8, alpha=4)
    assert (
        summary(read(write(tmp_path / "b.safetensors", mixed))) == "LoRA: trained scale 0.5 to 1, 2 modules"
    )


def test_two_adapters_in_one_file_are_not_mixed(tmp_path: Path) -> None:
    both = pair(NAMES, 8, "lora_A.one.weight", "lora_B.one.weight") | pair(
        NAMES[:1], 4, "lora_A.other.weight", "lora_B.other.weight"
    )
    adapter = read(write(tmp_path / "a.safetensors", both))
    assert adapter.broken == NAMES[:1]
    assert [item.name for item in find_oddities(adapter)][-1] == "factor-twice"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"to_q": 1, r"^blocks\.0\.attn\.to_q": 2}, 1),
        ({r"^blocks\.0\.attn\.to_q": 2, "to_q": 1}, 2),
        ({r"blocks.0.attn.to_\w": 3, r"^blocks\.0\.attn\.to_q": 2}, 3),
        ({r"^attn\.to_q": 4, r"attn\.to_q": 5}, 5),
        ({"o_q": 6, "(": 7, r"(to_q|to_v)+": 8}, None),
        ({"blocks.0.attn.to_q": 9, "to_q": 1}, 9),
        ("to_q", None),
    ],
)
def test_the_first_pattern_that_fits(table: Any, expected: int | None) -> None:
    name = "blocks.0.attn.to_q"
    assert Patterns(table).value(name) == expected
    if isinstance(table, dict) and "(" not in table:
        # As PEFT 0.21.2 does (utils/other.py, get_pattern_key).
        fits = [value for key, value in table.items() if re.match(rf"(.*\.)?({key})$", name)]
        assert (fits or [None])[0] == expected


def test_a_pattern_for_each_of_many_modules(tmp_path: Path) -> None:
    names = [f"base_model.model.layers.{number}.q" for number in range(5000)]
    bare = [name.removeprefix("base_model.model.") for name in names]
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 4}
    config["alpha_pattern"] = {f"^{re.escape(name)}": 16 for name in bare}
    path = write(tmp_path / "adapter_model.safetensors", peft_pair(names, 8), config=config)
    assert {item.scale for item in read(path).modules} == {2.0}
    # As expressions that can't be looked up they would take for ever.
    config["alpha_pattern"] = {f"{name}|x{name}": 16 for name in bare}
    path.with_name("adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="too many expressions"):
        read(path)
