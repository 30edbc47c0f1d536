"""Which methods are run to learn what they leave in their object."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from lorascale_lint.linking.program import Program
from lorascale_lint.provenance.receivers import may_change_receiver
from tests.provenance.formulas import formula_of


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("def f(self, x):\n    self.scaling = x", True),
        ("def f(self, x):\n    self.scaling[x] = 1", True),
        ("def f(self, x):\n    self.adapters.append(x)", True),
        ("def f(self, x):\n    table = self.scaling\n    table[x] = 1", True),
        ("def f(self, x):\n    for layer in self.layers():\n        layer.scaling = x", True),
        ("def f(self, x):\n    setattr(self, x, 1)", True),
        ("def f(self, x):\n    self.weight.data.mul_(x)", True),
        ("def f(self, x):\n    rows = [self.first]\n    rows[0].scaling = x", True),
        ("def f(self, x):\n    rows = []\n    rows = self.rows\n    rows.append(x)", True),
        ("def f(self, x):\n    x.scaling = 1", True),
        ("def f(self, x):\n    x.register_buffer('scaling', 1)", True),
        ("def f(self, x):\n    def g(x):\n        x['a'] = 1\n    g(self.table)", True),
        ("def f(self, x):\n    global table\n    table = {}\n    table[x] = 1", True),
        ("def f(self, x):\n    self.register_buffer('scaling', x)", True),
        ("def f(self, x):\n    self.expand_or_raise_(x)", False),
        ("def f(self, x):\n    return self.scaling * x", False),
        ("def f(self, x):\n    x['alpha'] = 1", False),
        ("def f(self, x):\n    x['lora'].append(1)", False),
        ("def f(self, **x):\n    x['alpha'] = 1", False),
        ("def f(self, x):\n    table = {}\n    table[x] = self.scaling", False),
        ("def f(self, x):\n    table = {}\n    table[x] = self.add(x)", True),
        ("def f(self, x):\n    rows: list[int] = []\n    rows.append(x)", False),
        ("@classmethod\ndef f(cls, x):\n    made = cls(x)\n    made.scaling = 1", False),
        ("@classmethod\ndef f(cls, x):\n    cls.scaling = x", True),
        ("@staticmethod\ndef f(x):\n    x.scaling = 1", False),
    ],
)
def test_methods_that_may_change_their_object(method: str, changes: bool) -> None:
    source = f"class LoraLinear:\n{indent(method, '    ')}\n"
    file = Program({"layer.py": source}, {"layer.py": "layer"}).file("layer.py")
    assert file is not None
    assert may_change_receiver(file.classes["LoraLinear"].methods["f"]) is changes


@pytest.mark.parametrize(
    ("how", "formulas"),
    [("layer.scaling = scaling", {"alpha / rank", "scaling"}), ("pass", {"alpha / rank"})],
)
def test_what_a_method_sets_is_seen_in_another(how: str, formulas: set[str]) -> None:
    layer = f"""
    from torch import nn

    class LoraLinear(nn.Module):
        def __init__(self, base, rank, lora_alpha):
            self.base = base
            self.lora_A = nn.Linear(4, rank)
            self.lora_B = nn.Linear(rank, 4)
            self.scaling = lora_alpha / rank

        def set_scaling(self, scaling):
            layer = self
            {how}

        def forward(self, x):
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling
    """
    (found,) = formula_of(dedent(layer))
    assert set(found.split(" | ")) == formulas
