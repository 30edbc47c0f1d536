"""What the ledger says of single numbers: questions, names, quotients, roundings."""

from __future__ import annotations

import pytest

from tests.provenance.formulas import ledger_of

FUNCTION = """
import torch

def lora_scale(alpha, rank, down=None):
    {body}
"""


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("return 1 if alpha else 2", "truth"),
        ("return 1 if alpha is None else 2", "none"),
        ("return 1 if alpha != rank else 2", "NotEq"),
        ("assert alpha % rank == 0", "Mod"),
        ("return float(alpha).is_integer()", "is_integer"),
        ("return isinstance(alpha, int)", "isinstance"),
        ("return alpha or rank", "truth"),
    ],
)
def test_questions(body: str, how: str) -> None:
    assert how in [ask.how for ask in ledger_of(FUNCTION.format(body=body)).asks]


def test_a_question_has_the_name_that_guards_give_it() -> None:
    ledger = ledger_of(FUNCTION.format(body="scale = alpha / rank if alpha else 1.0\n    return scale"))
    (ask,) = ledger.asks
    (bind,) = [bind for bind in ledger.binds if bind.name == "scale"]
    assert {option.guards for option in bind.value.options} == {((ask.atom, True),), ((ask.atom, False),)}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("sign", "floor"), [("/", False), ("//", True)])
def test_quotients(sign: str, floor: bool) -> None:
    (quotient,) = ledger_of(FUNCTION.format(body=f"return alpha {sign} rank")).quotients
    assert quotient.floor is floor


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("return int(alpha)", "int"),
        ("return torch.tensor(alpha, dtype=torch.int32)", "tensor"),
        ("return torch.as_tensor([alpha]).long()", "tensor"),
        ("return torch.tensor(alpha).to(torch.int64)", "tensor"),
        ("return torch.full((1,), alpha, dtype=torch.int)", "tensor"),
        ("return torch.tensor(alpha, dtype=torch.float32)", None),
        ("return float(alpha)", None),
        ("return int(rank)", None),
    ],
)
def test_roundings(body: str, how: str | None) -> None:
    found = [(item.how, item.operand.row) for item in ledger_of(FUNCTION.format(body=body)).roundings]
    assert found == ([] if how is None else [(how, 5)])
