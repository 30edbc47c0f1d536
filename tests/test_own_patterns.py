"""Code is tried on names that its own regular expressions take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lorascale_lint.knowledge.examples import example_of
from tests.projects import lint_files


@pytest.mark.parametrize(
    ("pattern", "example"),
    [
        (r"^lora_unet_blocks_(\d+)_(q|k)\.lora_(down|up)\.weight$", "lora_unet_blocks_0_q.lora_down.weight"),
        (r"^(?P<path>.+)\.lora_(?P<side>[ab])$", "a.lora_a"),
        (r"[^.]+\.alpha", "a.alpha"),
        (r"[^a]{2,}", "bb"),
        (r"x{3,5}y?z*", "xxxyz"),
        (r"(up|down)_\1", "up_up"),
        (r"blocks\.[0-9]+\.(?:attn|mlp)", "blocks.0.attn"),
        (r"(?<!x)a", None),
        (r"(", None),
        (r"x{1000}", None),
        ("(" * 900 + "a" + ")" * 900, None),
        (r"x{999999999}", None),
        pytest.param(r"(a+){60}\bb", None, id="takes-time-without-end"),
    ],
)
def test_an_example_of_a_pattern(pattern: str, example: str | None) -> None:
    assert example_of(pattern) == example


@given(st.text("ab01._()[]|*+?\\d^$", max_size=12))
def test_an_example_is_taken_by_its_pattern(pattern: str) -> None:
    made = example_of(pattern)
    assert made is None or re.search(pattern, made) is not None


RENAME = r"""
import re
from safetensors.torch import load_file, save_file

PAIR = re.compile(r"^lora_unet_mixer_(\d+)_(left|right)\.{suffix}$")
SIDE = {{"down": "lora_A", "up": "lora_B"}}


def modern(match):
    block, part, side = match.groups()
    return f"model.mixers.{{block}}.{{part}}.{{SIDE[side]}}.weight"


def clean(path, out):
    renamed = {{}}
    for key, value in load_file(path).items():
        {alpha}renamed[PAIR.sub(modern, key)] = value
    save_file(renamed, out)
"""
KEEPS = r"""if key.endswith(".alpha"):
            key = re.sub(r"^lora_unet_mixer_(\d+)_(left|right)", r"model.mixers.\1.\2", key)
        """


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [("", 1), (KEEPS, 0)],
    ids=["alphas keep their old module", "alphas are renamed too"],
)
def test_a_renaming_by_a_function(alpha: str, expected: int, tmp_path: Path) -> None:
    source = RENAME.format(suffix=r"lora_(down|up)\.weight", alpha=alpha)
    assert len(lint_files(tmp_path, {"rename_lora.py": source}, codes=["LS303"])) == expected


SPLIT = r"""
import re
from safetensors.torch import load_file, save_file

FUSED = re.compile(r"^lora_unet_twins_(\d+)_qkv$")
PLAIN = re.compile(r"^lora_unet_twins_(\d+)_out$")


def emit(out, name, down, up):
    out[f"{{name}}.lora_A.weight"] = down.clone()
    out[f"{{name}}.lora_B.weight"] = up.contiguous()


def convert(path, target):
    state, out = load_file(path), {{}}
    for key in [name for name in state if name.endswith(".lora_down.weight")]:
        stem = key.partition(".")[0]
        down, up, alpha = state[key], state[f"{{stem}}.lora_up.weight"], state[f"{{stem}}.alpha"]
        if found := FUSED.match(stem):
            for name, part in zip(("q", "k", "v"), up.chunk(3)):
                emit(out, f"twins.{{found[1]}}.{{name}}", down, part)
                {fused}
        elif found := PLAIN.match(stem):
            emit(out, f"twins.{{found[1]}}.out", down, up)
            out[f"twins.{{found[1]}}.out.alpha"] = alpha.clone()
    save_file(out, target)
"""


@pytest.mark.parametrize(
    ("fused", "rows"),
    [('out[f"twins.{found[1]}.{name}.alpha"] = alpha.clone()', []), ("print(name)", [21])],
)
def test_one_branch_of_several_drops_alpha(fused: str, rows: list[int], tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"split_lora.py": SPLIT.format(fused=fused)}, codes=["LS302"])
    assert [item.span.start.row for item in found] == rows


BESIDE = """
from diffusers import FluxPipeline
from safetensors.torch import load_file


def to_diffusers(raw):
    out = {{}}
    for key, value in raw.items():
        if not key.endswith(".alpha"):
            name = key.replace(".lora_down.", ".lora_A.").replace(".lora_up.", ".lora_B.")
            out["transformer." + name] = value
    return out


def gain(raw):
    down = next(key for key in raw if key.endswith(".lora_down.weight"))
    return raw[down.replace(".lora_down.weight", ".alpha")].item() / raw[down].shape[0]


def load(pipe, path, strength):
    raw = load_file(path)
    pipe.load_lora_weights(to_diffusers(raw), adapter_name="style")
    pipe.set_adapters(["style"], adapter_weights=[{weight}])
"""


@pytest.mark.parametrize(("weight", "expected"), [("strength * gain(raw)", 0), ("strength", 1)])
def test_an_alpha_that_is_handed_on_as_a_strength(weight: str, expected: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"load_lora.py": BESIDE.format(weight=weight)}, codes=["LS302"])
    assert len(found) == expected
