"""LS130 on numbers that loops multiply on from module to module, and on those that they may."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from tests.projects import lint_files

MERGE = """
def merge(weights, lora, strength, blocks, decay):
    scale = strength
    for index, name in enumerate(weights):
        down, up = lora[f"{{name}}.lora_down.weight"], lora[f"{{name}}.lora_up.weight"]
        alpha = lora[f"{{name}}.alpha"]
{body}
"""


def found(body: str, folder: Path) -> list[tuple[int, str]]:
    """Rows and confidences of LS130 in a merge whose loop goes on with ``body``."""
    path = folder / "merge.py"
    path.write_text(MERGE.format(body="\n".join(f"        {row}" for row in body.splitlines())))
    return [(one.span.start.row, one.confidence) for one in lint([path], [], codes=["LS130"]).findings]


@pytest.mark.parametrize(
    "body",
    [
        "scale *= alpha / down.shape[0]\nweights[name] += scale * up @ down",
        "scale = scale / down.shape[0]\nweights[name] += alpha * scale * up @ down",
        "scale = blocks[index] * scale\nweights[name] += alpha / down.shape[0] * scale * up @ down",
        "scale *= blocks[name.split('.')[1]]\n"
        "delta = up.flatten(1) @ down.flatten(1)\n"
        "weights[name] = weights[name] + delta * scale * (alpha / down.shape[0])",
        "if name not in lora:\n    continue\n"
        "scale *= blocks[index]\nweights[name] += alpha / down.shape[0] * scale * up @ down",
    ],
)
def test_a_number_of_each_module_that_stays_for_the_next_is_reported(body: str, tmp_path: Path) -> None:
    rows = found(body, tmp_path)
    assert [confidence for _, confidence in rows] == ["high"]


USED = "weights[name] += alpha / down.shape[0] * scale * up @ down"


@pytest.mark.parametrize(
    ("body", "confidences"),
    [
        (f"scale = scale * decay\n{USED}", ["medium"]),
        (f"scale *= decay\n{USED}", ["medium"]),
        ("scale *= decay\nweights[name] += scale * up @ down", ["medium"]),
        (f"{USED}\nscale = scale * decay", []),  # what is left behind the use is not seen
    ],
)
def test_a_decay_is_shown_with_preview_only(body: str, confidences: list[str], tmp_path: Path) -> None:
    assert [confidence for _, confidence in found(body, tmp_path)] == confidences


@pytest.mark.parametrize(
    "body",
    [
        "own = scale * alpha / down.shape[0]\nweights[name] += own * up @ down",
        "scale = strength * alpha / down.shape[0]\nweights[name] += scale * up @ down",
        "scale = strength\nscale *= blocks[index]\nweights[name] += scale * alpha * up @ down",
        "if blocks:\n    own = scale * blocks[index]\nelse:\n    own = scale\n"
        "weights[name] += own * alpha / down.shape[0] * up @ down",
        "weights[name] += scale * alpha / down.shape[0] * up @ down\nscale = strength * blocks[index]",
    ],
)
def test_what_is_made_anew_for_each_module_is_not(body: str, tmp_path: Path) -> None:
    assert found(body, tmp_path) == []


def test_a_rank_that_stands_in_for_a_missing_alpha_of_the_next_module_is_no_growth(tmp_path: Path) -> None:
    body = "rank = down.shape[0]\n"
    body += "scale = rank if index == 0 else scale\nweights[name] += scale / rank * up @ down"
    assert found(body, tmp_path) == []


SPREAD = """\
def spread_lora(sd, targets):
    lora_down, lora_up, alpha = sd["lora_down"], sd["lora_up"], sd["alpha"]
    {before}
    for weight in targets:
        {inside}
        weight += lora_up @ lora_down
"""
SCALED = "lora_up = lora_up * (alpha / lora_down.shape[0])"


@pytest.mark.parametrize(
    ("before", "inside", "count"),
    [
        ("pass", SCALED, 1),
        ("pass", "lora_up *= alpha / lora_down.shape[0]", 1),
        (SCALED, "pass", 0),
        ("first = lora_up", SCALED.replace("= lora_up", "= first"), 0),
        ("pass", f"lora_up = sd['lora_up']\n        {SCALED}", 0),
    ],
)
def test_a_factor_that_each_round_multiplies(before: str, inside: str, count: int, tmp_path: Path) -> None:
    """One pair for several weights is scaled once."""
    source = SPREAD.format(before=before, inside=inside)
    assert len(lint_files(tmp_path, {"lora_spread.py": source}, codes=["LS130"])) == count
