"""Scales are found through helpers, properties, tables, modules and classes of other files."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest

from lorascale_lint.linking.definitions import below
from tests.projects import lint_files, places
from tests.provenance.formulas import formulas_of

CLASS = """\
class LoRALinear:
    def __init__(self, base_layer, lora_rank, lora_alpha):
        self.base_layer = base_layer
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.scaling = {scaling}

    def merge(self):
        self.base_layer.weight.data += {delta}
{more}"""
PLAIN = "self.lora_alpha / self.lora_rank"
PRODUCT = "self.lora_B @ self.lora_A"


def layer(delta: str, more: str = "", scaling: str = PLAIN) -> str:
    return CLASS.format(delta=delta, more=more, scaling=scaling)


def method(name: str, *lines: str, arguments: str = "self", decorator: str = "") -> str:
    body = "".join(f"        {line}\n" for line in lines)
    head = f"    @{decorator}\n" if decorator else ""
    return f"\n{head}    def {name}({arguments}):\n{body}"


@pytest.mark.parametrize(
    ("source", "formula"),
    [
        pytest.param(layer(f"{PRODUCT} * self.scaling"), "alpha / rank", id="attribute of the constructor"),
        pytest.param(
            layer(f"{PRODUCT} * self.scaling", scaling="lora_alpha / lora_rank"),
            "alpha / rank",
            id="parameters",
        ),
        pytest.param(
            layer(f"{PRODUCT} * self.scaling", scaling="lora_alpha / math.sqrt(lora_rank)"),
            "alpha / sqrt(rank)",
            id="rslora",
        ),
        pytest.param(
            layer(f"{PRODUCT} * self.scaling[name]", scaling="{}"), "scaling", id="scaling by adapter name"
        ),
        pytest.param(
            layer("self.lora_B[name].weight @ self.lora_A[name].weight * self.scaling[name]", scaling="{}"),
            "scaling",
            id="factors by adapter name",
        ),
        pytest.param(
            layer("self.delta()", method("delta", f"return {PRODUCT}")), "1", id="method returns the product"
        ),
        pytest.param(
            layer("self.delta() * self.scaling", method("delta", f"return {PRODUCT}")),
            "alpha / rank",
            id="caller scales",
        ),
        pytest.param(
            layer("self.delta()", method("delta", f"return ({PRODUCT}) * self.scaling")),
            "alpha / rank",
            id="method scales",
        ),
        pytest.param(
            layer("self.delta(self.scaling)", method("delta", f"return s * {PRODUCT}", arguments="self, s")),
            "alpha / rank",
            id="argument",
        ),
        pytest.param(
            layer("self.delta(s=2.0)", method("delta", f"return s * ({PRODUCT})", arguments="self, s=1.0")),
            "2",
            id="keyword",
        ),
        pytest.param(
            layer("self.delta()", method("delta", f"return s * ({PRODUCT})", arguments="self, s=1.0")),
            "1",
            id="default",
        ),
        pytest.param(
            layer("self.delta", method("delta", f"return {PRODUCT}", decorator="property")),
            "1",
            id="property",
        ),
        pytest.param(
            layer(
                f"{PRODUCT} * self.scale",
                method("scale", f"return {PLAIN}", decorator="functools.cached_property"),
            ),
            "alpha / rank",
            id="cached property",
        ),
        pytest.param(
            layer(
                "self.delta(self.lora_B, self.lora_A)",
                method("delta", "return b @ a", arguments="b, a", decorator="staticmethod"),
            ),
            "1",
            id="static method",
        ),
        pytest.param(
            layer(
                f"{PRODUCT} * self.scale()",
                method("scale", "if self.lora_alpha is None:", "    return 1.0", f"return {PLAIN}"),
            ),
            "alpha / rank | 1",
            id="early return",
        ),
        pytest.param(
            "def delta(lora_B, lora_A):\n    return lora_B @ lora_A\n\n\n"
            + layer("delta(self.lora_B, self.lora_A)"),
            "1",
            id="function",
        ),
        pytest.param(
            layer("(lambda up, down: up @ down)(self.lora_B, self.lora_A) * self.scaling"),
            "alpha / rank",
            id="lambda",
        ),
        pytest.param(
            "def apply_lora(module, up, down, lora_alpha):\n"
            "    scale = lora_alpha / down.shape[0]\n"
            "    module.weight.data += up @ down * scale\n",
            "alpha / rank",
            id="tensors as parameters",
        ),
        pytest.param(
            "def apply_lora(module, up, down, lora_alpha):\n"
            "    scale = lora_alpha / down.weight.shape[0]\n"
            "    module.weight.data += up.weight @ down.weight * scale\n",
            "alpha / rank",
            id="kohya",
        ),
        pytest.param(
            "def merge_to(module, lora_up, lora_down, multiplier):\n"
            "    module.weight.data += multiplier * (lora_up.weight @ lora_down.weight)\n",
            "strength",
            id="strength only",
        ),
        pytest.param(
            "class LoRALinear:\n"
            "    def __call__(self, x):\n"
            "        z = (self.dropout(x) @ self.lora_a) @ self.lora_b\n"
            "        return self.linear(x) + (self.scale * z).astype(x.dtype)\n",
            "scaling",
            id="mlx",
        ),
    ],
)
def test_formula_through_indirections(source: str, formula: str) -> None:
    assert formulas_of(source) == [formula]


HELPER = "def delta_of(up, down, s=1.0):  # of LoRA\n    return s * (up @ down)\n"
CALL = "{name}(self.lora_B, self.lora_A, self.scaling)"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"pkg/layer.py": "from pkg.maths import delta_of\n"}, "delta_of"),
        ({"pkg/layer.py": "from .maths import delta_of\n"}, "delta_of"),
        ({"pkg/layer.py": "from .maths import delta_of as low_rank\n"}, "low_rank"),
        ({"pkg/layer.py": "from pkg import maths\n"}, "maths.delta_of"),
        ({"pkg/layer.py": "import pkg.maths\n"}, "pkg.maths.delta_of"),
        ({"pkg/layer.py": "import pkg.maths as m\n"}, "m.delta_of"),
        ({"pkg/sub/layer.py": "from ..maths import delta_of\n"}, "delta_of"),
        (
            {
                "pkg/layer.py": "from pkg import delta_of\n",
                "pkg/__init__.py": "from pkg.maths import delta_of\n",
            },
            "delta_of",
        ),
        pytest.param(
            {
                "pkg/layer.py": "from pkg import delta_of\n",
                "pkg/__init__.py": "from .maths import delta_of\n",
            },
            "delta_of",
        ),
        (
            {
                "top/layer.py": "from pkg import low_rank\n",
                "pkg/__init__.py": "from pkg.more import low_rank\n",
                "pkg/more.py": "from pkg.maths import delta_of as low_rank\n",
            },
            "low_rank",
        ),
        (
            {"pkg/layer.py": "try:\n    from .maths import delta_of\nexcept ImportError:\n    pass\n"},
            "delta_of",
        ),
    ],
    ids=[
        "absolute",
        "relative",
        "aliased",
        "module",
        "dotted",
        "module alias",
        "parent",
        "package",
        "relative package",
        "twice",
        "try",
    ],
)
def test_helper_of_another_file(files: dict[str, str], name: str) -> None:
    path, head = next(iter(files.items()))
    sources = {**files, path: head + layer(CALL.format(name=name)), "pkg/maths.py": HELPER}
    assert formulas_of(sources) == ["alpha / rank"]


def test_star_imports_are_followed() -> None:
    files = {"layer.py": "from maths import *\n" + layer(CALL.format(name="delta_of")), "maths.py": HELPER}
    assert formulas_of(files) == ["alpha / rank"]


BASE = """\
class LoRABase:
    def __init__(self, lora_rank, lora_alpha):
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.scaling = self.compute()

    def compute(self):
        return self.lora_alpha / self.lora_rank

    def delta(self):
        return self.lora_B @ self.lora_A
"""


@pytest.mark.parametrize(
    ("child", "formula"),
    [
        ("", "alpha / rank"),
        pytest.param(
            "\n    def compute(self):\n        return self.lora_alpha / self.lora_rank ** 0.5\n",
            "alpha / sqrt(rank)",
        ),
        ("\n    def delta(self):\n        return super().delta() * 2\n", "2 / rank * alpha"),
    ],
    ids=["inherited", "overridden", "super"],
)
def test_base_class_of_another_file(child: str, formula: str) -> None:
    source = (
        "from base import LoRABase\n\n\nclass LoRALinear(LoRABase):\n"
        "    def merge(self):\n        self.weight.data += self.delta() * self.scaling\n" + child
    )
    assert formulas_of({"base.py": BASE, "layer.py": source}) == [formula]


@pytest.mark.parametrize(
    "files",
    [
        {
            "a.py": "from b import B\nclass A(B):\n    lora = 1\n",
            "b.py": "from a import A\nclass B(A):\n    pass\n",
        },
        {"a.py": "class A(A):\n    def lora(self):\n        return self.lora()\n"},
        {"a.py": "from b import f as f\n", "b.py": "from a import f as f\ndef lora():\n    return f()\n"},
        {"a.py": "def lora_f(A):\n    return lora_f(A * 2)\ndef g(w):\n    w.weight += lora_f(w)\n"},
        {
            "a.py": "from b import odd\ndef even(lora_A):\n    return odd(lora_A)\n",
            "b.py": "from a import even\ndef odd(lora_B):\n    return even(lora_B) + lora_B @ lora_B\n",
        },
        {
            "a.py": "class L:\n    def __init__(self):\n"
            "        self.lora_A = self.lora_B\n        self.lora_B = self.lora_A\n"
        },
        {"a.py": "class L:\n    @property\n    def lora_A(self):\n        return self.lora_A\n"},
    ],
    ids=["inheritance", "own base", "imports", "recursion", "mutual recursion", "attributes", "property"],
)
def test_cycles_end(files: dict[str, str], tmp_path: Path) -> None:
    assert lint_files(tmp_path, files) == ()


def test_two_callees_by_table_are_both_followed() -> None:
    source = (
        "class LoRALinear:\n"
        "    def merge(self, kind):\n"
        "        make = {'a': self.plain_delta, 'b': self.scaled_delta}[kind]\n"
        "        self.base_layer.weight.data += make()\n"
        "\n"
        "    def plain_delta(self):\n        return self.lora_B @ self.lora_A\n"
        "\n"
        "    def scaled_delta(self):\n        return self.lora_B @ self.lora_A * self.scaling\n"
    )
    assert formulas_of(source) == ["1 | scaling"]


UNSCALED = """\
    def __init__(self, lora_rank, lora_alpha):
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha

"""


def test_findings_do_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    merge = "    def merge(self):\n        self.weight.data += {}\n"
    files = {
        "a_base.py": "class LoRABase:\n" + UNSCALED + method("delta", f"return {PRODUCT}"),
        "b_layer.py": "from a_base import LoRABase\nclass LoRALinear(LoRABase):\n"
        + merge.format("self.delta()"),
        "c_maths.py": HELPER,
        "d_other.py": "from c_maths import delta_of\nclass LoRAConv:\n"
        + UNSCALED
        + merge.format("delta_of(self.lora_B, self.lora_A)"),
    }
    expected = [("b_layer.py", 4, "LS101"), ("d_other.py", 8, "LS101")]
    for order in itertools.permutations(files.items()):
        assert places(lint_files(tmp_path, dict(order)), tmp_path) == expected


def test_the_context_of_an_autograd_function_is_no_layer() -> None:
    """LyCORIS 4.1.3 keeps ``ctx.scale`` in its kernels, beside the ``self.scale`` of its layers."""
    source = """
        class Rebuild(torch.autograd.Function):
            @staticmethod
            def forward(ctx, up, down, gamma):
                ctx.scale = gamma
                return up @ down * gamma

        class LoRALayer:
            def __init__(self, alpha, rank):
                self.scale = alpha / rank

            def merge(self):
                self.weight.data += self.lora_up @ self.lora_down * self.scale
        """
    assert formulas_of(source) == ["alpha / rank"]


def test_the_nodes_below_one_are_those_of_the_standard_library() -> None:
    tree = ast.parse(
        "async def f(a, *b: int, c=1, **d):\n    x[1:2].y: int = {**a} if b else [e for e in c]\n"
    )
    expected = [node for node in ast.walk(tree) if not isinstance(node, ast.expr_context)]
    assert below(tree) == expected
