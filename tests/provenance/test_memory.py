"""Results of calls that are remembered, and those that depend on who runs around them."""

from __future__ import annotations

from collections import Counter
from textwrap import dedent
from typing import Any

import pytest

from lorascale_lint.provenance import running
from lorascale_lint.provenance.show import show
from tests.provenance.formulas import formula_of, ledger_of

_LAYER = """
    from torch import nn

    class LoraLinear(nn.Module):
        def __init__(self, base, rank, lora_alpha):
            self.base = base
            self.lora_A = nn.Linear(4, rank)
            self.lora_B = nn.Linear(rank, 4)
            self.gain = lora_alpha / rank
"""


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each function of the project is run, by its name and who calls it."""
    found: Counter[str] = Counter()
    run = running._run

    def counted(m: Any, func: Any, *rest: Any) -> Any:
        caller = m.frame.function.name if m.stack and m.frame.function else ""
        found[f"{func.info.qualname} from {caller}"] += 1
        return run(m, func, *rest)

    monkeypatch.setattr(running, "_run", counted)
    return found


def test_a_hook_is_not_asked_again_for_what_it_reads_itself(runs: Counter[str]) -> None:
    source = f"""{_LAYER.replace("nn.Module", "Named, nn.Module")}
        def __getattr__(self, name):
            if "_table" in self.__dict__:
                return self._table[name]
            return super().__getattr__(name)

        def forward(self, x):
            first, second, third = self._table, self._table, self._table
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.gain

    class Named:
        def __getattr__(self, name):
            return self._table[name]
    """
    assert formula_of(source) == ["alpha / rank"]
    assert runs["LoraLinear.__getattr__ from forward"] == 1


def test_what_a_hook_calls_is_another_thing_outside_of_it() -> None:
    source = f"""{_LAYER}
        @property
        def strength(self):
            return self._scale

        def __getattr__(self, name):
            known = self.strength
            return self.gain

        def forward(self, x):
            first = self._scale
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.strength
    """
    assert formula_of(source) == ["alpha / rank"]


def test_a_call_around_a_recursion_is_remembered(runs: Counter[str]) -> None:
    source = """
        def odd(layer, lora_alpha):
            return 1 if layer is None else even(layer.base_layer, lora_alpha)

        def even(layer, lora_alpha):
            return 1 if layer is None else odd(layer.base_layer, lora_alpha)

        def scaling(layer, lora_alpha):
            return lora_alpha / odd(layer, lora_alpha)

        def forward(layer, x, lora_A, lora_B, lora_alpha):
            first = scaling(layer, lora_alpha)
            second = scaling(layer, lora_alpha)
            return x @ lora_A @ lora_B * first + x @ lora_A @ lora_B * second
    """
    ledger_of(source)
    assert runs["scaling from forward"] == 1


def test_what_was_cut_short_inside_a_recursion_is_not_remembered_for_outside() -> None:
    source = """
        def left(rank, lora_alpha):
            return right(rank, lora_alpha) if rank else lora_alpha / rank

        def right(rank, lora_alpha):
            return left(rank, lora_alpha) if rank else rank
    """
    after = (
        "\n\ndef made(rank, lora_alpha):\n    left(rank, lora_alpha)\n    return right(rank, lora_alpha)\n"
    )
    alone = after.replace("    left(rank, lora_alpha)\n", "")
    given = [
        [show(use.result) for use in ledger_of(dedent(source) + text).uses if not use.spot.chain]
        for text in (after, alone)
    ]
    assert given[0][-1] == given[1][-1]
