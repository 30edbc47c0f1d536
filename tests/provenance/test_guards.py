"""Where several ways meet, what holds on one of them is not taken to hold on all."""

from __future__ import annotations

from itertools import product

from hypothesis import given, strategies as st

from lorascale_lint.provenance.guards import Guards, contradict, either, in_common
from tests.provenance.formulas import formula_of

NAMES = "abc"
WAY = st.dictionaries(st.sampled_from(NAMES), st.booleans()).map(lambda chosen: tuple(chosen.items()))


def _holds(ways: tuple[Guards, ...], state: dict[str, bool]) -> bool:
    return any(all(state[name] == holds for name, holds in way) for way in ways)


@given(st.lists(WAY, min_size=1, max_size=6))
def test_what_is_put_together_holds_wherever_one_of_the_ways_does(given_ways: list[Guards]) -> None:
    ways: tuple[Guards, ...] = ()
    for way in given_ways:
        ways = either(ways, way)
    for values in product((True, False), repeat=len(NAMES)):
        state = dict(zip(NAMES, values, strict=True))
        if _holds(tuple(given_ways), state):
            assert _holds(ways, state)
    assert all(contradict(one, two) for index, one in enumerate(ways) for two in ways[:index])
    assert _holds((in_common(ways),), dict(ways[0]) | {n: True for n in NAMES if n not in dict(ways[0])})


@given(WAY, WAY)
def test_two_ways_that_exclude_each_other_hold_nowhere_else(one: Guards, two: Guards) -> None:
    ways = either((one,), two)
    for values in product((True, False), repeat=len(NAMES)):
        state = dict(zip(NAMES, values, strict=True))
        if contradict(one, two):
            assert _holds(ways, state) == _holds((one, two), state)


def test_both_branches_are_no_condition() -> None:
    assert either(((("a", True), ("b", True)),), (("b", False), ("a", True))) == ((("a", True),),)


def test_a_value_of_two_branches_is_not_that_of_the_third() -> None:
    source = """
class LoraLayer:
    def __init__(self, base, lora_A, lora_B, rank, alpha=None, use_rslora=False):
        self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
        if alpha is None:
            self.scale = 1.0
        elif use_rslora:
            self.scale = alpha / rank**0.5
        else:
            self.scale = alpha / rank
        if alpha is None:
            self.folded = 1.0
        elif use_rslora:
            self.folded = 1.0
        else:
            self.folded = self.scale

    def merge(self):
        self.base.weight.data += self.lora_B @ self.lora_A * (self.scale / self.folded)
"""
    assert formula_of(source) == ["alpha / sqrt(rank) | 1"]
