"""LS117: which strength parameters count as read."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from tests.projects import fix_files, lint_files

LAYER = """
class LoRAModule:
    def __init__(self, lora_down, lora_up, lora_alpha, lora_rank, multiplier=1.0):
        self.lora_down = lora_down
        self.lora_up = lora_up
        self.lora_scaling = lora_alpha / lora_rank
        self.multiplier = multiplier

    def get_weight(self, multiplier=None):
        {body}

    def merge_to(self, base, multiplier):
        base.weight.data += self.get_weight(multiplier)
"""
PRODUCT = "(self.lora_up.weight @ self.lora_down.weight)"
MERGE = """
def merge_lora(weight, lora_A, lora_B, alpha, rank, strength=1.0):
    {body}
"""


def found(folder: Path, source: str) -> list[tuple[str, str]]:
    """Codes and confidences found in one file."""
    path = folder / "lora_module.py"
    path.write_text(source)
    return [(finding.code, finding.confidence) for finding in lint([path], [], codes=["LS117"]).findings]


@pytest.mark.parametrize(
    "body",
    [
        "if multiplier is None:\n            multiplier = self.multiplier\n"
        f"        return self.multiplier * {PRODUCT} * self.lora_scaling",
        f"print('merging at', multiplier)\n        return {PRODUCT} * self.lora_scaling",
        "multiplier = self.multiplier if multiplier is None else multiplier\n"
        f"        weight = {PRODUCT} * self.lora_scaling\n        return weight",
    ],
)
def test_fires_where_a_caller_gives_the_argument(body: str, tmp_path: Path) -> None:
    assert found(tmp_path, LAYER.format(body=body)) == [("LS117", "high")]


def test_medium_without_a_caller(tmp_path: Path) -> None:
    source = MERGE.format(body="return weight + alpha / rank * (lora_B @ lora_A)")
    assert found(tmp_path, source) == [("LS117", "medium")]


@pytest.mark.parametrize(
    "body",
    [
        f"return (self.multiplier if multiplier is None else multiplier) * {PRODUCT} * self.lora_scaling",
        f"self.multiplier = multiplier\n        return self.multiplier * {PRODUCT} * self.lora_scaling",
        f"weight = {PRODUCT} * self.lora_scaling\n        weight *= multiplier\n        return weight",
        f"return apply_multiplier({PRODUCT}, multiplier)",
        f"return finish(lambda: {PRODUCT} * multiplier)",
        f"scaled = unknown({PRODUCT})\n        return scaled",
    ],
)
def test_silent_where_it_is_read(body: str, tmp_path: Path) -> None:
    assert found(tmp_path, LAYER.format(body=body)) == []


@pytest.mark.parametrize(
    "default",
    [
        "if multiplier is None:\n            multiplier = self.multiplier\n",
        "multiplier = self.multiplier if multiplier is None else multiplier\n",
    ],
)
def test_the_parameter_is_used_for_the_attribute(default: str, tmp_path: Path) -> None:
    body = (
        f"{default}        if self.lora_up.weight.dim() == 2:\n"
        f"            return self.multiplier * {PRODUCT} * self.lora_scaling\n"
        f"        return {PRODUCT}[..., None, None] * self.lora_scaling * self.multiplier\n"
    )
    source = LAYER.format(body=body)
    assert fix_files(tmp_path, {"lora_module.py": source}, codes=["LS117"])[0] == {"lora_module.py": source}
    texts, left = fix_files(tmp_path, {"lora_module.py": source}, codes=["LS117"], unsafe=True)
    expected = source.replace("return self.multiplier *", "return multiplier *")
    expected = expected.replace("self.lora_scaling * self.multiplier\n", "self.lora_scaling * multiplier\n")
    assert texts == {"lora_module.py": expected}
    assert left == ()


@pytest.mark.parametrize(
    "body",
    [
        f"print('merging at', multiplier)\n        return {PRODUCT} * self.lora_scaling",
        "multiplier = self.multiplier if multiplier is None else multiplier\n"
        f"        weight = {PRODUCT} * self.lora_scaling\n        return weight",
    ],
)
def test_a_parameter_that_takes_the_place_of_nothing_is_not_repaired(body: str, tmp_path: Path) -> None:
    (finding,) = lint_files(tmp_path, {"lora_module.py": LAYER.format(body=body)}, codes=["LS117"])
    assert finding.fix is None


FILE_ALPHA = """
def combine(weight, down, up, alpha):
    return weight + (up @ down) * (alpha / down.shape[0])


class LoraWrapper:
    def apply(self, lora_sd, alpha=1.0):
        return self._apply(lora_sd, {given})

    def _apply(self, lora_sd, alpha):
        for name in self.names:
            up, down = lora_sd[name + ".lora_up.weight"], lora_sd[name + ".lora_down.weight"]
            trained = lora_sd[name + ".alpha"]
            self.weights[name] = {made}
"""


@pytest.mark.parametrize(
    ("given", "made", "expected"),
    [
        ("alpha", "combine(self.weights[name], down, up, trained)", [("LS117", "high")]),
        ("alpha", "combine(self.weights[name], down, up, trained * alpha)", []),
        ("32", "combine(self.weights[name], down, up, trained)", []),
    ],
    ids=["a strength called alpha", "multiplied on", "an alpha, and not the file's"],
)
def test_an_alpha_that_is_a_strength_by_its_default(
    given: str, made: str, expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert found(tmp_path, FILE_ALPHA.format(given=given, made=made)) == expected


NODE = """
import comfy.sd
import comfy.lora


class LoraLoader:
    def load_lora(self, model, clip, lora, strength_model, strength_clip):
        if strength_model == 0 and strength_clip == 0:
            return model, clip
        {body}
        return model, clip
"""
PATCHES = (
    "patches = comfy.lora.load_lora(lora, {{}})\n        model.add_patches(patches, strength_model)\n"
    "        clip.add_patches(patches, {0})"
)
BOTH = "model, clip = comfy.sd.load_lora_for_models(model, clip, lora, strength_model, {0})"


@pytest.mark.parametrize("body", [PATCHES, BOTH], ids=["two calls", "one call"])
def test_one_of_two_strengths_is_given_twice(body: str, tmp_path: Path) -> None:
    wrong, right = (NODE.format(body=body.format(name)) for name in ("strength_model", "strength_clip"))
    assert found(tmp_path, wrong) == [("LS117", "high")]
    assert found(tmp_path, right) == []
    assert fix_files(tmp_path, {"lora_node.py": wrong}, codes={"LS117"}, unsafe=True)[0] == {
        "lora_node.py": right
    }


@pytest.mark.parametrize(
    "body",
    [
        "model.add_patches(lora, strength_model)",
        "model.add_patches(lora, strength_model)\n        clip.set_scale(strength_model)",
        "strength_clip = strength_model if strength_clip is None else strength_clip\n        "
        "model.add_patches(lora, strength_model)\n        clip.add_patches(lora, strength_clip)",
        "print(strength_model, strength_model)",
    ],
    ids=["the model alone", "calls of two names", "a default", "a message"],
)
def test_one_strength_that_serves_alone(body: str, tmp_path: Path) -> None:
    assert found(tmp_path, NODE.format(body=body)) == []


KERNELS = """
import jax.numpy as jnp


def low_rank_update(pair, strength):
    a, b = jnp.asarray(pair["a"]), jnp.asarray(pair["b"])
    return {times}jnp.float32(pair["alpha"]) / a.shape[1] * (a @ b)


def patch(kernel, pair, strength):
    return kernel + low_rank_update(pair, strength)
"""


@pytest.mark.parametrize(("times", "expected"), [("", ["high"]), ("strength * ", [])])
def test_a_rank_that_only_the_layout_of_the_product_shows(
    times: str, expected: list[str], tmp_path: Path
) -> None:
    source = KERNELS.format(times=times)
    found = lint_files(tmp_path, {"tree_patch.py": source}, codes=["LS117"])
    assert [item.confidence for item in found] == expected


PATCH = """\
def patch_lora(model, table, strength={default}):
    {before}
    for name, (down, up, alpha) in table.items():
        {inside}
        model.get_submodule(name).weight.data.add_(up @ down, alpha=alpha / down.shape[0] * strength)
"""


@pytest.mark.parametrize(
    ("default", "before", "inside", "count"),
    [
        ("None", "strength = strength or 1.0", "pass", 1),
        ("1.0", "pass", "if strength <= 0:\n            continue", 1),
        ("1.0", "if not strength > 0:\n        return", "pass", 1),
        ("1.0", "pass", "if strength < 1e-4:\n            continue", 1),
        ("None", "strength = 1.0 if strength is None else strength", "pass", 0),
        ("1.0", "pass", "if strength == 0:\n            continue", 0),
        ("1.0", "if strength < -2:\n        return", "pass", 0),
        ("1.0", "strength = strength or 0.0", "pass", 0),
    ],
)
def test_strengths_of_zero_and_below(
    default: str, before: str, inside: str, count: int, tmp_path: Path
) -> None:
    """0 takes nothing of an adapter and a negative strength takes it away: both are strengths."""
    source = PATCH.format(default=default, before=before, inside=inside)
    assert found(tmp_path, source) == [("LS117", "medium")] * count
