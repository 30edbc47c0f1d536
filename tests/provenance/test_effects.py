"""What is run of a method to learn what it leaves in its object, and nothing else."""

from __future__ import annotations

import ast
from textwrap import dedent, indent

import pytest

from lorascale_lint.linking.program import Program
from lorascale_lint.provenance.effects import Effects
from tests.provenance.formulas import formula_of

_REST = """
def quiet(self, x):
    return x

def sets(self, x):
    self.scaling = x

def leads(self, x):
    self.sets(x)
"""


def _run_of(method: str) -> tuple[str, set[str]]:
    source = f"class LoraLinear:\n{indent(dedent(method) + _REST, '    ')}\n"
    program = Program({"layer.py": source}, {"layer.py": "layer"})
    file = program.file("layer.py")
    assert file is not None
    cls = file.classes["LoraLinear"]
    found = Effects(program).of(cls.methods["f"], cls)
    assert found is not None
    body, read = found
    return "\n".join(map(ast.unparse, body)), {*read} & {*cls.methods["f"].parameters}


@pytest.mark.parametrize(
    ("body", "run"),
    [
        ("y = x * 2\nself.scaling = x\nreturn y", "self.scaling = x"),
        ("y = x * 2\nself.scaling = y", "y = x * 2\nself.scaling = y"),
        ("y = 1\nself.scaling = y\ny = x", "y = 1\nself.scaling = y"),
        ("self.quiet(x)\nself.scaling = x", "self.scaling = x"),
        ("self.leads(x)", "self.leads(x)"),
        ("y = self.leads(x)", "y = self.leads(x)"),
        ("return self.sets(x)", "return self.sets(x)"),
        ("super().sets(x)\nprint(self, x)", "super().sets(x)"),
        ("set_scale(self, x)\nisinstance(self, x)", "set_scale(self, x)"),
        ("fill(self.table, x)\nrows = []\nfill(rows)", "fill(self.table, x)"),
        ("rows = []\nrows.append(x)\nself.rows = rows", "rows = []\nrows.append(x)\nself.rows = rows"),
        ("rows = []\nrows.append(x)\nself.rows = x", "self.rows = x"),
        ("rows = {}\nn = fill(rows)\nself.rows = rows", "rows = {}\nn = fill(rows)\nself.rows = rows"),
        ("a = x.pop('a')\nself.rest = x", "a = x.pop('a')\nself.rest = x"),
        ("x['alpha'] = 1", "x['alpha'] = 1"),
        ("del self.table[x]\ndel x", "del self.table[x]"),
        ("nn.init.zeros_(self.lora_B)\nx = x.float()", "nn.init.zeros_(self.lora_B)"),
        ("if x is None:\n    return 5\nself.scaling = x", "if x is None:\n    return\nself.scaling = x"),
        ("self.scaling = x\nif x is None:\n    return 5\nprint(x)", "self.scaling = x"),
        ("if x is None:\n    raise ValueError(x)\nself.scaling = x", None),
        (
            "if not x:\n    print(x)\nelse:\n    self.scaling = x",
            "if not x:\n    pass\nelse:\n    self.scaling = x",
        ),
        ("for a in x:\n    b = a\n    self.scaling = c\n    c = b", None),
        (
            "for a in x:\n    if not a:\n        continue\n    self.scaling = a\n    y = a",
            "for a in x:\n    if not a:\n        continue\n    self.scaling = a",
        ),
        ("for a in x:\n    if not a:\n        continue\n    y = a\nself.scaling = x", "self.scaling = x"),
        ("for a in x:\n    y = a\nself.scaling = y", None),
        ("while x:\n    x = x.base\nself.scaling = x", None),
        (
            "with open(x) as file:\n    text = file.read()\n    self.text = text\nprint(text)",
            "with open(x) as file:\n    text = file.read()\n    self.text = text",
        ),
        ("try:\n    y = x['a']\nexcept KeyError:\n    y = 1\nself.scaling = y", None),
        (
            "try:\n    y = x['a']\nexcept KeyError:\n    self.scaling = 1",
            "try:\n    pass\nexcept KeyError:\n    self.scaling = 1",
        ),
        (
            "match x:\n    case 1:\n        self.scaling = x\n    case _:\n        y = x",
            "match x:\n    case 1:\n        self.scaling = x\n    case _:\n        pass",
        ),
        ("def g(y):\n    self.scaling = y\ng(x)", None),
        ("def g(y):\n    return y\ng(x)", ""),
        (
            "from math import sqrt\nimport json\nself.scaling = sqrt(x)",
            "from math import sqrt\nself.scaling = sqrt(x)",
        ),
        (
            "if (y := x.get('a')):\n    print(y)\nself.scaling = y",
            "if (y := x.get('a')):\n    pass\nself.scaling = y",
        ),
    ],
)  # fmt: skip
def test_what_is_run_of_a_method(body: str, run: str | None) -> None:
    found, _ = _run_of(f"def f(self, x):\n{indent(body, '    ')}\n")
    wanted = body if run is None else run
    assert found == _without_pass(wanted)


def _without_pass(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        for suite in ("body", "orelse"):
            held = getattr(node, suite, None)
            if isinstance(held, list):
                setattr(node, suite, [item for item in held if not isinstance(item, ast.Pass)])
    return "\n".join(map(ast.unparse, tree.body))


def test_only_parameters_that_matter_are_asked_for() -> None:
    _, read = _run_of(
        "def f(self, model, scale, *names, **rest):\n    y = model(rest)\n    self.scale = scale\n"
    )
    assert read == {"self", "scale"}


def test_a_part_of_a_statement_stands_where_the_whole_does() -> None:
    source = "class C:\n    def f(self, x):\n        if x:\n            print(x)\n            self.y = x\n"
    program = Program({"c.py": source}, {"c.py": "c"})
    file = program.file("c.py")
    assert file is not None
    cls = file.classes["C"]
    found = Effects(program).of(cls.methods["f"], cls)
    assert found is not None
    ((part,), _) = found
    whole = cls.methods["f"].node.body
    assert isinstance(part, ast.If)
    assert (part.lineno, part.end_lineno) == (3, 5)
    assert isinstance(whole, list)
    assert part.whole is whole[0]  # type: ignore[attr-defined]


_LAYER = """
from torch import nn

class LoraLinear(nn.Module):
    def __init__(self, base, rank, lora_alpha):
        self.base = base
        self.rank = rank
        self.lora_A = nn.Linear(4, rank)
        self.lora_B = nn.Linear(rank, 4)
        self.update(lora_alpha)

    def update(self, lora_alpha):
        {body}

    def helper(self, table, value):
        table["a"] = value

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * {scale}
"""


@pytest.mark.parametrize(
    ("body", "scale"),
    [
        ("rank = self.rank; self.scaling = lora_alpha / rank; print(rank)", "self.scaling"),
        ("self.scaling = {}; self.helper(self.scaling, lora_alpha / self.rank)", "self.scaling['a']"),
        ("made = {}; self.helper(made, lora_alpha / self.rank); self.scaling = made['a']", "self.scaling"),
    ],
)
def test_a_scale_that_is_set_on_the_way_is_known(body: str, scale: str) -> None:
    assert formula_of(_LAYER.format(body=body, scale=scale)) == ["alpha / rank"]


def test_what_a_property_gives_is_asked_for() -> None:
    """Nobody calls it in so many words: it is no statement whose value is dropped."""
    layer = """
    from torch import nn

    class LoraLinear(nn.Module):
        def __init__(self, base, rank, lora_alpha):
            self.base, self.rank, self.lora_alpha = base, rank, lora_alpha
            self.lora_A = nn.Linear(4, rank)
            self.lora_B = nn.Linear(rank, 4)
            self.scaling = self.trained

        @property
        def trained(self):
            return self.lora_alpha / self.rank

        def forward(self, x):
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling
    """
    assert formula_of(dedent(layer)) == ["alpha / rank"]
