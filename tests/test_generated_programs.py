"""The generated programs of ``benchmarks/generated``: what the generator says holds when they run."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from benchmarks.generated.code import Incompatible
from benchmarks.generated.compare import Answer, ask, compare, judge, worst
from benchmarks.generated.compose import Composed
from benchmarks.generated.programs import AXES, Program, shrink
from benchmarks.generated.scales import ONE, Formula, Scenario
from benchmarks.generated.shapes import compose, numbered
from benchmarks.generated.truth import SelfCheck, check

PLAIN = Program({axis: values[0] for axis, values in AXES.items()})
COUNT = 120


def with_choices(**choices: str) -> Program:
    """The plainest program but for these choices (an underscore stands for a space)."""
    return Program({**PLAIN.choices, **{axis.replace("_", " "): value for axis, value in choices.items()}})


@pytest.mark.parametrize("number", range(COUNT))
def test_the_formula_holds_and_map_says_no_other(number: int) -> None:
    _, composed = numbered(0, number)
    check(composed)
    assert worst(compare(composed)[0]) != "wrong"


def test_a_wrong_formula_of_the_generator_is_noticed() -> None:
    composed = compose(PLAIN)
    check(composed)
    wrong = {"merge": [Scenario(Formula.of(1, -2), {})]}
    with pytest.raises(SelfCheck, match="merge"):
        check(replace(composed, scenarios=wrong))


def test_the_plain_program_is_right() -> None:
    (answer,), elsewhere = compare(compose(PLAIN))
    assert answer == Answer("merge", "right", ("alpha / rank",), "alpha * rank^-1")
    assert elsewhere == 0


def test_a_fold_beside_the_application_is_no_answer_for_it() -> None:
    composed = compose(with_choices(site="fold B", strength="argument", form="accumulated"))
    check(composed)
    (answer,), elsewhere = compare(composed)
    assert (answer.verdict, answer.reported, elsewhere) == ("right", ("alpha / rank * strength",), 1)


@pytest.mark.parametrize("axis", AXES)
def test_each_choice_is_written_by_some_program(axis: str) -> None:
    missing = set(AXES[axis])
    for number in range(4000):
        composed = numbered(1, number)[1]
        missing.discard(composed.used.get(axis, ""))
        if not missing:
            return
    assert not missing


PLAIN_SCENARIO = Scenario(Formula.of(1, -1), {})
WITHOUT_ALPHA = Scenario(ONE, {"alpha": None}, required=False)
RSLORA = Scenario(Formula.of(1, "-1/2"), {"use_rslora": True})


@pytest.mark.parametrize(
    ("texts", "scenarios", "verdict"),
    [
        ((), [PLAIN_SCENARIO], "missed"),
        (("unknown",), [PLAIN_SCENARIO], "unknown"),
        (("alpha / rank",), [PLAIN_SCENARIO], "right"),
        (("scaling",), [PLAIN_SCENARIO], "right"),
        (("alpha / rank * strength",), [PLAIN_SCENARIO], "wrong"),
        (("alpha / rank * gate",), [PLAIN_SCENARIO], "wrong"),
        (("alpha / rank | unknown",), [PLAIN_SCENARIO], "partly"),
        (("alpha / rank | 1",), [PLAIN_SCENARIO], "wrong"),
        (("alpha / rank | 1",), [PLAIN_SCENARIO, WITHOUT_ALPHA], "right"),
        (("alpha / rank",), [PLAIN_SCENARIO, RSLORA], "partly"),
        (("alpha / sqrt(rank) if use_rslora else alpha / rank",), [PLAIN_SCENARIO, RSLORA], "right"),
        (("2 * alpha / rank^1/2",), [Scenario(Formula.of(1, "-1/2", coefficient=2), {})], "right"),
    ],
)
def test_verdicts(texts: tuple[str, ...], scenarios: list[Scenario], verdict: str) -> None:
    assert judge(texts, scenarios) == verdict


def test_a_failing_program_is_reduced_to_its_core() -> None:
    program = replace(numbered(0, 3)[0], after=("tuple slots", "walrus"))

    def fails(candidate: Program) -> bool:
        try:
            return "walrus" in compose(candidate).used.values()
        except Incompatible:
            return False

    core = shrink(program, fails)
    assert core.after == ("walrus",)
    assert core.choices == PLAIN.choices


def test_an_application_in_another_file_is_found_by_its_call_or_its_own_row() -> None:
    composed: Composed = compose(with_choices(shape="call", helpers="other file"))
    assert sorted((mark.filename, mark.kind) for mark in composed.marks) == [
        ("layer.py", "merge"),
        ("lora_helpers.py", "merge"),
    ]
    assert {item.filename for item in ask(composed.files)} <= set(composed.files)


def test_a_method_beside_a_mixin_of_another_file_is_found_in_its_own_file() -> None:
    program = with_choices(shape="object", owner="mixin", helpers="other file", factors="setter")
    composed = compose(program)
    assert "LoraLinearMixin" in composed.files["lora_helpers.py"]
    assert {item.filename for item in ask(composed.files)} <= {"layer.py"}
