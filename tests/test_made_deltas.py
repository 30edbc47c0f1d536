"""Deltas that are made and handed on: a converter, an exporter or a helper has no application of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint

HADAMARD = """
def side(state, stem, number):
    return state[f"{{stem}}.hada_w{{number}}_a"] @ state[f"{{stem}}.hada_w{{number}}_b"]


def expand(state, stem):
    rank = state[f"{{stem}}.hada_w1_b"].shape[0]
    alpha = state.get(f"{{stem}}.alpha")
    scale = 1.0 if alpha is None else float(alpha) / rank
    {body}


def convert(state, stems):
    return {{f"{{stem}}.diff": expand(state, stem) for stem in stems}}
"""


def codes(text: str, folder: Path, *chosen: str) -> set[tuple[str, str]]:
    """Codes and confidences of what ``chosen`` rules find in a program."""
    path = folder / "program.py"
    path.write_text(text)
    return {(one.code, one.confidence) for one in lint([path], [], codes=chosen).findings}


@pytest.mark.parametrize(
    "body",
    [
        "return (side(state, stem, 1) * scale) * (side(state, stem, 2) * scale)",
        "delta = side(state, stem, 1) * side(state, stem, 2)\n"
        "    whole = delta * scale\n    return whole * scale",
        "parts = [side(state, stem, n) * scale for n in (1, 2)]\n    return parts[0] * parts[1]",
    ],
)
def test_a_delta_that_is_exported_with_the_square_is_reported(body: str, tmp_path: Path) -> None:
    assert {"LS121", "LS106"} & {
        code for code, _ in codes(HADAMARD.format(body=body), tmp_path, "LS121", "LS106")
    }


@pytest.mark.parametrize(
    "body",
    [
        "return side(state, stem, 1) * (side(state, stem, 2) * scale)",
        "return (side(state, stem, 1) * scale**0.5) * (side(state, stem, 2) * scale**0.5)",
        "return side(state, stem, 1) * side(state, stem, 2)",
    ],
)
def test_a_delta_that_is_exported_once_scaled_or_bare_is_not(body: str, tmp_path: Path) -> None:
    assert codes(HADAMARD.format(body=body), tmp_path, "LS121", "LS106") == set()


STEP = """
import numpy as np


def pairs(archive):
    for key in archive.files:
        if key.endswith("/up"):
            stem = key[: -len("/up")]
            yield stem, archive[key], archive[stem + "/down"], float(archive[stem + "/alpha"])


def step(up, down, alpha, gain):
    n = {extent}
    return gain * alpha / n * (up @ down)


def patch(base, archive, gain):
    for stem, up, down, alpha in pairs(archive):
        base[stem] = base[stem] + step(up, down, alpha, gain)
"""


def test_code_without_the_word_that_divides_alpha_by_a_factor_s_size_is_reported(tmp_path: Path) -> None:
    assert codes(STEP.format(extent="up.shape[0]"), tmp_path, "LS120") == {("LS120", "high")}


def test_code_without_the_word_that_divides_alpha_by_the_rank_is_not(tmp_path: Path) -> None:
    assert codes(STEP.format(extent="down.shape[0]"), tmp_path, "LS120") == set()


SUM = """
def concatenate(sources):
    rows, cols = {{}}, {{}}
    for path, weight, gain in sources:
        for key, value in load_file(path).items():
            if ".lora_A." in key:
                rows.setdefault(key, []).append({on_a})
            elif ".lora_B." in key:
                cols.setdefault(key, []).append({on_b})
    return rows, cols


def main(job):
    return concatenate([(one["path"], float(one["weight"]), one["gain"]) for one in job["sources"]])
"""


@pytest.mark.parametrize(
    ("on_a", "on_b"), [("weight * value", "weight * value"), ("weight * gain * value", "value * weight")]
)
def test_a_weight_on_both_factors_in_two_branches_of_a_loop_is_reported(
    on_a: str, on_b: str, tmp_path: Path
) -> None:
    assert {code for code, _ in codes(SUM.format(on_a=on_a, on_b=on_b), tmp_path, "LS114")} == {"LS114"}


@pytest.mark.parametrize(
    ("on_a", "on_b"),
    [
        ("weight * value", "value"),
        ("weight * value", "gain * value"),
        ("weight**0.5 * value", "weight**0.5 * value"),
    ],
)
def test_a_weight_on_one_factor_or_its_root_on_both_is_not(on_a: str, on_b: str, tmp_path: Path) -> None:
    assert codes(SUM.format(on_a=on_a, on_b=on_b), tmp_path, "LS114") == set()


POWERS = """
def resize(up, down, alpha, rank, start):
    matrix = (up @ down) * (alpha / rank)  # of a LoRA
    found = matrix @ start
    for _ in range(2):
        found = matrix @ (matrix.T @ found)
    return found
"""


def test_powers_of_a_delta_for_a_decomposition_are_no_delta(tmp_path: Path) -> None:
    assert codes(POWERS, tmp_path, "LS121", "LS106") == set()


BLEND = """
def blend(layer, lora_up, lora_down, alpha: float = 1.0, beta: float = 1.0):
    layer.lora_up.weight = lora_up * alpha + layer.lora_up.weight * beta
    layer.lora_down.weight = lora_down * alpha + layer.lora_down.weight * beta
"""


def test_two_weights_of_one_sum_are_one_finding(tmp_path: Path) -> None:
    path = tmp_path / "blend.py"
    path.write_text(BLEND)
    assert [one.span.start.row for one in lint([path], [], codes=["LS114"]).findings] == [4]


SLOTS = """
def load_lora(path):
    loaded, params = np.load(path), {}
    for key in loaded.keys():
        name, kind = key.rsplit("_", 1)
        if name not in params:
            params[name] = [None, None, None]
        if kind == "loraA":
            params[name][0] = loaded[key]
        elif kind == "loraB":
            params[name][1] = loaded[key]
        elif kind == "scaling":
            params[name][2] = loaded[key]
    return {name: tuple(row) for name, row in params.items()}


def combine(weights, base, paths):
    for i in range(len(paths)):
        params = load_lora(paths[i])
        for key in params.keys():
            base[key] = base[key] + (params[key][1] @ params[key][0]) * params[key][2] * weights[i]
"""


def test_a_product_of_slots_that_are_not_told_apart_is_no_pair_of_factors(tmp_path: Path) -> None:
    assert codes(SLOTS, tmp_path, "LS114") == set()


WALK = """
def weigh(layers, weight: float):
    for layer in layers:
        for factor in (layer.lora_A, layer.lora_B):
            factor.weight.data *= weight
"""


def test_a_walk_over_both_factors_weighs_both(tmp_path: Path) -> None:
    assert {code for code, _ in codes(WALK, tmp_path, "LS114")} == {"LS114"}
