"""Converters and exporters are run on files, and what they write is read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.verify.harness.description import Action
from lorascale_lint.verify.harness.sketches import sketches_of
from lorascale_lint.verify.report import VerifyReport
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Row, Verdict

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("warm_module")

RENAME = """
def convert(state_dict):
    made = {}
    for key, value in state_dict.items():
        if key.endswith(".lora_down.weight"):
            name = key[: -len(".lora_down.weight")]
            module = "diffusion_model." + name.removeprefix("lora_unet_")
            made[module + ".lora_A.weight"] = value
            made[module + ".lora_B.weight"] = state_dict[name + ".lora_up.weight"]
            made[module + ".alpha"] = state_dict[name + ".alpha"]
    return made
"""
FOLD = RENAME.replace(
    '            made[module + ".lora_A.weight"] = value\n',
    '            scale = float(state_dict[name + ".alpha"]) / value.shape[0]\n'
    '            made[module + ".lora_A.weight"] = value * scale\n',
).replace('            made[module + ".alpha"] = state_dict[name + ".alpha"]\n', "")
PROGRAM = """
from safetensors.torch import load_file, save_file


def main(args):
    source = load_file(args.src_path)
    made = {}
    for key, value in source.items():
        if ".lora_" in key or key.endswith(".alpha"):
            made[key.replace("lora_unet_", "lora_transformer_")] = value
    save_file(made, args.dst_path)
"""
OPENED = """
from safetensors.torch import load_file


def load_lora(path):
    found = load_file(path)
    named = [key for key in found if "lora_" in key or "alpha" in key]
    return {key.replace("lora_unet_", "lora_te_"): found[key] for key in named}
"""
ALPHA = '            made[module + ".alpha"] = state_dict[name + ".alpha"]\n'
RIGHT = {"rename": RENAME, "fold": FOLD, "program": PROGRAM, "opened": OPENED}
WRONG = {
    "drops": (RENAME.replace(ALPHA, '            _ = state_dict[name + ".alpha"]\n'), Verdict.ALPHA_IGNORED),
    "halves": (RENAME.replace(ALPHA, ALPHA.replace("\n", " / 2\n")), Verdict.WRONG_SCALE),
    "folds twice": (
        FOLD.replace('state_dict[name + ".lora_up.weight"]', 'state_dict[name + ".lora_up.weight"] * scale'),
        Verdict.DOUBLE_SCALED,
    ),
    "folds and keeps": (
        FOLD.replace(
            "    return", '            made[module + ".alpha"] = state_dict[name + ".alpha"]\n    return'
        ),
        Verdict.DOUBLE_SCALED,
    ),
    # An alpha of 0, as 0.5 becomes, is a placeholder in a file.
    "truncates": (RENAME.replace(ALPHA, ALPHA.replace("\n", ".int()\n")), Verdict.WRONG_SCALE),
    "filters": (PROGRAM.replace(' or key.endswith(".alpha")', ""), Verdict.ALPHA_IGNORED),
}
ONE_ALPHA = RENAME.replace("    made = {}\n", "    made = {}\n    alpha = None\n").replace(
    ALPHA,
    '            alpha = state_dict[name + ".alpha"] if alpha is None else alpha\n'
    '            made[module + ".alpha"] = alpha\n',
)


def run(folder: Path, source: str) -> VerifyReport:
    (folder / "program.py").write_text(source)
    return run_verify(folder, seed=5)


def rows_of(report: VerifyReport) -> dict[str, Row]:
    return {row.scenario.removeprefix(row.group)[2:]: row for row in report.rows}


@pytest.mark.parametrize("name", RIGHT)
def test_right_converters_keep_each_scale(name: str, tmp_path: Path) -> None:
    rows = rows_of(run(tmp_path, RIGHT[name]))
    scale = rows["trained scale"]
    assert scale.verdict is Verdict.OK, scale.detail
    assert scale.observed == pytest.approx(0.5)
    assert rows["modules of different rank and alpha"].verdict is Verdict.OK
    assert not any(row.is_failure for row in rows.values())


@pytest.mark.parametrize("name", WRONG)
def test_wrong_converters_differ(name: str, tmp_path: Path) -> None:
    source, verdict = WRONG[name]
    assert rows_of(run(tmp_path, source))["trained scale"].verdict is verdict


def test_one_alpha_for_all_modules(tmp_path: Path) -> None:
    row = rows_of(run(tmp_path, ONE_ALPHA))["modules of different rank and alpha"]
    assert row.verdict is Verdict.ONE_SCALE_FOR_ALL
    assert (row.expected, row.observed) == (pytest.approx(0.75), pytest.approx(1.0))


def test_alphas_that_come_out_beside_the_tensors_are_no_loss(tmp_path: Path) -> None:
    source = RENAME.replace(ALPHA, '            alphas[module] = float(state_dict[name + ".alpha"])\n')
    source = source.replace("    made = {}\n", "    made = {}\n    alphas = {}\n").replace(
        "return made", "return made, alphas"
    )
    row = rows_of(run(tmp_path, source))["trained scale"]
    assert row.verdict is Verdict.NOT_RUN
    assert "beside the tensors" in row.detail


def test_they_are_places_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(RENAME)
    (sketch,) = sketches_of(tmp_path)
    assert sketch.place.title == "program.py:2 convert (convert)"
    assert sketch.place.action is Action.CONVERT
    assert sketch.table == "state_dict"
