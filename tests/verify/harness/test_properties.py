"""Right programs are never blamed, planted mistakes get the name of their kind; all in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lorascale_lint.verify.harness.agreement import Agreement, compare
from lorascale_lint.verify.harness.description import Case, as_json, read
from lorascale_lint.verify.harness.finding import find_subject
from lorascale_lint.verify.harness.formula import formula_of
from lorascale_lint.verify.harness.loading import Loading
from lorascale_lint.verify.harness.measuring import Answer, NotOfferedError
from lorascale_lint.verify.harness.properties import Property, ask
from lorascale_lint.verify.verdicts import Verdict
from tests.verify.harness.programs import HELPERS, PROGRAMS

pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _path_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in ("program", "helpers"):
        sys.modules.pop(name, None)


def answers(folder: Path, source: str, case: Case, seed: int = 1) -> dict[Property, Answer]:
    (folder / "program.py").write_text(source)
    (folder / "helpers.py").write_text(HELPERS)
    subject = find_subject(case, Loading(folder), seed)
    found = {}
    for question in Property:
        try:
            found[question] = ask(question, subject, seed)
        except NotOfferedError:
            continue
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_right_programs_are_right(name: str, tmp_path: Path) -> None:
    found = answers(tmp_path, *PROGRAMS[name])
    assert {question: answer for question, answer in found.items() if answer.verdict.is_failure} == {}
    assert Verdict.NOT_RUN not in {answer.verdict for answer in found.values()}
    if name != "unmerged":
        assert found[Property.SCALE].verdict is Verdict.OK
        assert found[Property.SCALE].detail == "observed: alpha / rank"


@pytest.mark.parametrize("name", PROGRAMS)
def test_descriptions_go_through_json(name: str) -> None:
    case = PROGRAMS[name][1]
    assert read(as_json((case,))) == (case,)


def test_what_is_offered_is_asked(tmp_path: Path) -> None:
    assert set(answers(tmp_path, *PROGRAMS["peft-like"])) == set(Property) - {
        Property.OWN_SCALES,
        Property.FILE_ALPHA,
        Property.SETTER,
        Property.RSLORA,
        Property.PATTERNS,  # asked of whole models
        Property.WEIGHTED,
    }


SCALED = " * self.scaling[adapter]"


@pytest.mark.parametrize(
    ("name", "right", "wrong", "question", "verdict"),
    [
        ("plain", "alpha / down.shape[0]", "1.0", Property.SCALE, Verdict.ALPHA_IGNORED),
        ("plain", "alpha / down.shape[0]", "down.shape[0] / (alpha or 1)", Property.SCALE, Verdict.INVERTED),
        (
            "plain",
            "alpha / down.shape[0]",
            "(alpha / down.shape[0]) ** 2",
            Property.SCALE,
            Verdict.DOUBLE_SCALED,
        ),
        ("plain", "alpha / down.shape[0]", "int(alpha) / down.shape[0]", Property.SCALE, Verdict.TRUNCATED),
        ("plain", "alpha / down.shape[0]", "0.0", Property.SCALE, Verdict.NOT_APPLIED),
        ("plain", "return weight +", "return 2 * weight +", Property.SCALE, Verdict.BASE_SCALED),
        ("plain", "(up @ down)", "abs(up @ down)", Property.SCALE, Verdict.NOT_LORA_SHAPED),
        ("plain", "alpha / down.shape[0]", "alpha / 8", Property.PADDED, Verdict.RANK_DEPENDENT),
        (
            "plain",
            "alpha / down.shape[0]",
            "merge.__dict__.setdefault(1, alpha) / len(down)",
            Property.SCALE,
            Verdict.WRONG_SCALE,
        ),
        ("kohya", "multiplier * scale *", "scale *", Property.STRENGTH, Verdict.STRENGTH_IGNORED),
        (
            "kohya",
            "multiplier * scale *",
            "multiplier * multiplier * scale *",
            Property.STRENGTH,
            Verdict.STRENGTH_NOT_LINEAR,
        ),
        (
            "kohya",
            "multiplier * scale *",
            "(multiplier or 1.0) * scale *",
            Property.STRENGTH,
            Verdict.STRENGTH_NOT_LINEAR,
        ),
        (
            "kohya",
            "alpha = lora.get(name + '.alpha')".replace("'", '"'),
            'alpha = next(v for k, v in lora.items() if k.endswith(".alpha"))',
            Property.OWN_SCALES,
            Verdict.ONE_SCALE_FOR_ALL,
        ),
        (
            "fused",
            "alpha / down.shape[0]",
            "alpha / downs[0].shape[0]",
            Property.OWN_SCALES,
            Verdict.ONE_SCALE_FOR_ALL,
        ),
        ("peft-like", f"weight{SCALED}", "weight", Property.MERGED, Verdict.MERGED_DIFFERS),
        (
            "peft-like",
            "-= self.get_delta_weight(adapter)",
            "-= 0.5 * self.get_delta_weight(adapter)",
            Property.UNMERGED,
            Verdict.RESIDUAL_AFTER_UNMERGE,
        ),
        (
            "peft-like",
            "= scale * self.trained[adapter]",
            "*= scale",
            Property.STRENGTH_AGAIN,
            Verdict.ACCUMULATES,
        ),
        (
            "peft-like",
            "lora_alpha / (r**0.5 if use_rslora else r)",
            "1.0",
            Property.SCALE,
            Verdict.ALPHA_IGNORED,
        ),
        (
            "switched",
            "        self.unmerge()\n        self.delta = strength",
            "        self.delta = strength",
            Property.SWITCHED,
            Verdict.RESIDUAL_AFTER_SWITCH,
        ),
        ("embedding", "lora_alpha / r", "lora_alpha", Property.PADDED, Verdict.RANK_DEPENDENT),
        ("helped", "* strength", "* abs(strength)", Property.STRENGTH, Verdict.STRENGTH_NOT_LINEAR),
    ],
)
def test_mistakes_are_named(
    name: str, right: str, wrong: str, question: Property, verdict: Verdict, tmp_path: Path
) -> None:
    source, case = PROGRAMS[name]
    assert right in source
    found = answers(tmp_path, source.replace(right, wrong), case)
    assert found[question].verdict is verdict, found[question]


def test_a_conflict_of_conventions_is_no_verdict(tmp_path: Path) -> None:
    source, case = PROGRAMS["plain"]
    for formula, detail in (("alpha", "alpha"), ("alpha / down.shape[0] ** 0.5", "alpha / sqrt(rank)")):
        found = answers(tmp_path, source.replace("alpha / down.shape[0]", formula), case)
        assert found[Property.SCALE].verdict is Verdict.OBSERVED
        assert found[Property.SCALE].detail == f"observed: {detail}"
        sys.modules.pop("program")


def test_a_bare_product_may_be_scaled_by_its_caller(tmp_path: Path) -> None:
    source, case = PROGRAMS["plain"]
    found = answers(tmp_path, source.replace("weight + scale * (up @ down)", "up @ down"), case)
    assert found[Property.SCALE].verdict is Verdict.OBSERVED
    assert "bare product" in found[Property.SCALE].detail


def test_code_that_raises_is_not_blamed(tmp_path: Path) -> None:
    source, case = PROGRAMS["plain"]
    found = answers(
        tmp_path, source.replace("return", "raise KeyError(tuple(weight.shape))\n    return"), case
    )
    assert found[Property.SCALE].verdict is Verdict.NOT_RUN
    assert found[Property.SCALE].detail == "KeyError: (35, 24) (program.py:6)"


@pytest.mark.parametrize(
    ("power_of_alpha", "power_of_rank", "coefficient", "text"),
    [
        (1, -1, 1, "alpha / rank"),
        (1, -0.5, 1, "alpha / sqrt(rank)"),
        (0, 0, 1, "1"),
        (1, 0, 0.5, "0.5 * alpha"),
        (2, -2, -1, "-1 * alpha**2 / rank**2"),
        (-1, 1, 1, "rank / alpha"),
    ],
)
def test_formulas(power_of_alpha: float, power_of_rank: float, coefficient: float, text: str) -> None:
    pairs = ((4.0, 8), (2.4, 8), (16.0, 8), (4.0, 4))
    measured = [(a, r, coefficient * a**power_of_alpha * r**power_of_rank) for a, r in pairs]
    assert formula_of(measured) == text


def test_what_is_no_product_has_no_formula() -> None:
    assert formula_of([(a, r, a / r + 1) for a, r in ((4.0, 8), (2.4, 8), (16.0, 8), (4.0, 4))]) == ""
    assert formula_of([(4.0, 8, 0.0), (2.4, 8, 0.0), (4.0, 4, 0.0)]) == "0"


@pytest.mark.parametrize(
    ("mapped", "observed", "said"),
    [
        ("alpha / rank", "alpha / rank", Agreement.AGREE),
        ("alpha / rank * strength", "alpha / rank", Agreement.AGREE),
        ("alpha / sqrt(rank) | alpha / rank", "alpha / rank", Agreement.AGREE),
        ("scaling", "alpha / rank", Agreement.AGREE),
        ("scaling", "scale", Agreement.AGREE),
        ("scaling", "1", Agreement.AGREE),
        ("1 if alpha is None | alpha / rank", "1", Agreement.AGREE),
        ("0.5 * alpha", "0.5 * alpha", Agreement.AGREE),
        ("1", "alpha / rank", Agreement.DIFFER),
        ("alpha^2 / rank", "alpha / rank", Agreement.DIFFER),
        ("unknown", "alpha / rank", Agreement.ONE_KNOWN),
        ("alpha | unknown", "alpha / rank", Agreement.ONE_KNOWN),
        ("alpha / rank", "", Agreement.ONE_KNOWN),
    ],
)
def test_map_and_number(mapped: str, observed: str, said: Agreement) -> None:
    assert compare(mapped, observed) is said


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_no_seed_blames_right_code(seed: int, tmp_path: Path) -> None:
    for name, (source, case) in PROGRAMS.items():
        found = answers(tmp_path, source, case, seed)
        assert not [answer for answer in found.values() if answer.verdict.is_failure], name
        sys.modules.pop("program")
