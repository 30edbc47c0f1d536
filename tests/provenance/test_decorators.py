"""A decorated function is what its decorator returns; one out of sight makes it unknown."""

from __future__ import annotations

import pytest

from tests.provenance.formulas import formula_of, ledger_of

HEAD = """
import functools
from torch import nn
from elsewhere import scaled, no_grad, register_scale


def halved(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs) * 0.5

    return wrapper


def times(number):
    def decorate(function):
        def wrapper(self, *args):
            return function(self, *args) * number

        return functools.update_wrapper(wrapper, function)

    return decorate


def trained(method):
    def wrapper(self):
        return method(self) * (self.alpha / self.rank)

    return wrapper


def registered(function):
    KNOWN[function.__name__] = function
    return function


KNOWN = {}


class lazy:
    def __init__(self, function):
        self.function = function

    def __get__(self, instance, owner=None):
        return self.function(instance)


class Base(nn.Module):
    def __init__(self, weight, lora_A, lora_B, alpha, rank):
        self.weight, self.lora_A, self.lora_B = weight, lora_A, lora_B
        self.alpha, self.rank = alpha, rank
"""

KNOWN = {
    "on a method": ("trained", "self.delta()", "alpha / rank"),
    "with an argument": ("times(0.25)", "self.delta()", "0.25"),
    "with any arguments": ("halved", "self.delta()", "0.5"),
    "two of them": ("trained\n    @halved", "self.delta()", "0.5 / rank * alpha"),
    "under property": ("property\n    @trained", "self.delta", "alpha / rank"),
    "a class with __get__": ("lazy", "self.delta", "1"),
    "that gives the function back": ("registered", "self.delta()", "1"),
    "of a library, that changes nothing": ("no_grad()", "self.delta()", "1"),
    "a registry out of sight": ("register_scale('lora')", "self.delta()", "1"),
}


def _layer(decorator: str, call: str) -> str:
    return f"""{HEAD}

class LoraLayer(Base):
    @{decorator}
    def delta(self):
        return self.lora_B @ self.lora_A

    def merge(self):
        self.weight.data += {call}
"""


@pytest.mark.parametrize("case", KNOWN)
def test_a_method_is_what_its_decorators_return(case: str) -> None:
    decorator, call, formula = KNOWN[case]
    assert formula_of(_layer(decorator, call)) == [formula]


def test_a_decorator_out_of_sight_makes_a_method_unknown() -> None:
    source = _layer("scaled", "self.delta()")
    assert all(formula == "unknown" for formula in formula_of(source))
    assert [info.qualname for info in ledger_of(source).changed] == ["LoraLayer.delta"]


def test_super_gives_the_decorated_method() -> None:
    source = f"""{HEAD}

class Middle(Base):
    @trained
    def delta(self):
        return self.lora_B @ self.lora_A

class LoraLayer(Middle):
    def delta(self):
        return super().delta() * 2

    def merge(self):
        self.weight.data += self.delta()
"""
    assert formula_of(source) == ["2 / rank * alpha"]


def test_a_constructor_keeps_its_fields_whatever_decorates_it() -> None:
    source = f"""{HEAD}

class LoraLayer(Base):
    @scaled
    def __init__(self, weight, lora_A, lora_B, alpha, rank):
        super().__init__(weight, lora_A, lora_B, alpha, rank)
        self.scaling = alpha / rank

    def merge(self):
        self.weight.data += self.lora_B @ self.lora_A * self.scaling
"""
    assert formula_of(source) == ["alpha / rank"]


def test_a_function_of_a_module() -> None:
    source = f"""{HEAD}

@times(3)
def delta(lora_A, lora_B):
    return lora_B @ lora_A

@scaled
def other(lora_A, lora_B):
    return lora_B @ lora_A

def merge_lora(weight, lora_A, lora_B):
    return weight + delta(lora_A, lora_B)

def merge_other(weight, lora_A, lora_B):
    return weight + other(lora_A, lora_B)
"""
    assert formula_of(source) == ["3", "unknown"]


def test_methods_called_through_their_class_know_their_receiver() -> None:
    source = f"""{HEAD}

class Middle(Base):
    def delta(self):
        return self.lora_B @ self.lora_A * (self.alpha / self.rank)

class LoraLayer(Middle):
    def delta(self):
        return super().delta()

    def merge(self):
        self.weight.data += LoraLayer.delta(self)
"""
    assert formula_of(source) == ["alpha / rank"]
