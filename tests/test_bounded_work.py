"""Work grows with the size of a file, whatever its shape: no rule may take quadratic or exponential time.

Work is counted in calls of Python functions, so that the tests say the same on any machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from lorascale_lint.engine import lint
from lorascale_lint.provenance import machine, statements
from lorascale_lint.rule import all_rules
from tests.test_rule_examples import example

SIZE = 40
GROWTH = 3.0
"""Twice the size may take so many times the work; 4 is quadratic."""
LIMIT = 5_000_000
"""Calls after which a check is given up, so that a failure ends too."""

HEAD = """import json
import torch
from safetensors.torch import load_file
from torch import nn


"""


def layer(lines: str = "", name: str = "") -> str:
    """A correct LoRA layer with further statements in its forward."""
    return f"""class LoRALinear{name}(nn.Module):
    def __init__(self, base, rank, lora_alpha):
        self.base = base
        self.rank = rank
        self.scaling = lora_alpha / rank
        self.lora_A = nn.Linear(4, rank)
        self.lora_B = nn.Linear(rank, 4)

    def forward(self, x):
{lines}        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling


"""


def each(size: int, text: Callable[[int], str], first: int = 0) -> str:
    """Texts of the numbers from ``first`` on, in a row."""
    return "".join(text(i) for i in range(first, size))


def branches(size: int) -> str:
    return layer(
        each(
            size,
            lambda i: (
                f"""        if x.shape[{i}] > 0:
            self.scaling = self.scaling * x.s{i}
        else:
            x = x + {i}
"""
            ),
        )
    )


def alternatives(size: int) -> str:
    text = "        if x.k == 0:\n            x = x\n"
    return layer(
        text
        + each(
            size,
            lambda i: f"        elif x.k == {i}:\n            x = self.lora_B(self.lora_A(x)) * {i}\n",
            1,
        )
    )


def helpers(size: int) -> str:
    def helper(i: int) -> str:
        before = (f"lora_scale_{max(0, i - step)}(alpha, rank)" for step in (1, 2, 3))
        return "def lora_scale_{}(alpha, rank):\n    return {} * {} / {}\n\n\n".format(i, *before)

    return f"""def lora_scale_0(alpha, rank):
    return alpha / rank


{each(size, helper, 1)}def merge(weight, lora_A, lora_B, alpha, rank):
    return weight + lora_B @ lora_A * lora_scale_{size - 1}(alpha, rank)
"""


def nested_calls(size: int) -> str:
    def helper(i: int) -> str:
        return f"""def scale_{i}(alpha, rank):
    a = scale_{i + 1}(alpha, rank * {i})
    return a if rank > {i} else scale_{i + 1}(a, rank)


"""

    return f"""def merge(weight, lora_A, lora_B, alpha, rank):
    return weight + lora_B @ lora_A * scale_0(alpha, rank)


{each(size, helper)}def scale_{size}(alpha, rank):
    return alpha / rank
"""


def choices(size: int) -> str:
    lines = each(size, lambda i: f"    s = s * alpha if c[{i}] else s / rank if c[{i + 1}] else s\n")
    return f"""def merge(weight, lora_A, lora_B, alpha, rank, c):
    s = alpha / rank
{lines}    weight += s * (lora_B @ lora_A)
    return weight
"""


def squares(size: int) -> str:
    lines = each(size, lambda _: "    s = s * s + alpha / s\n    d = d + d * s\n")
    return f"""def merge(weight, lora_A, lora_B, alpha, rank):
    s = alpha / rank
    d = lora_B @ lora_A
{lines}    weight += d
    return weight
"""


def guarded_merges(size: int) -> str:
    lines = each(
        size,
        lambda i: (
            f"""    if c[{i}] and lora_alpha is not None:
        weight = weight + lora_B @ lora_A * (lora_alpha / rank)
    elif c[{i}]:
        weight = weight + lora_B @ lora_A
"""
        ),
    )
    return f"def merge(weight, lora_A, lora_B, lora_alpha, rank, c):\n{lines}    return weight\n"


def early_exits(size: int) -> str:
    lines = each(
        size,
        lambda i: (
            f"""    if c[{i}]:
        return weight + lora_B @ lora_A * (lora_alpha / rank) * c[{i}]
"""
        ),
    )
    return f"def merge(weight, lora_A, lora_B, lora_alpha, rank, c):\n{lines}    return weight\n"


def merged_deltas(size: int) -> str:
    lines = each(
        size,
        lambda i: (
            f"""        if c[{i}]:
            delta = -delta
        else:
            delta = delta * multiplier
"""
        ),
    )
    return f"""def merge_lora(model, path, c, multiplier=1.0):
    lora_sd = load_file(path)
    layers = dict(model.named_modules())
    for key in lora_sd:
        if "lora_down" not in key:
            continue
        down = lora_sd[key].float()
        up = lora_sd[key.replace("lora_down", "lora_up")].float()
        delta = torch.mm(up, down)
{lines}        layers[key].weight.data += delta
"""


def converted_files(size: int) -> str:
    lines = each(
        size,
        lambda i: (
            f"""    if c[{i}]:
        lora_sd = fix_{i}(lora_sd)
    else:
        lora_sd = {{key: value for key, value in lora_sd.items()}}
"""
        ),
    )
    converters = each(
        size,
        lambda i: (
            f"""def fix_{i}(sd):
    return {{key.replace("a{i}", "b"): value for key, value in sd.items()}}


"""
        ),
    )
    return f"""def merge_lora(model, path, c):
    lora_sd = load_file(path)
{lines}    for key in lora_sd:
        if "lora_down" not in key:
            continue
        down = lora_sd[key].float()
        up = lora_sd[key.replace("lora_down", "lora_up")].float()
        model[key].weight.data += torch.mm(up, down)


{converters}"""


def keys_of_keys(size: int) -> str:
    lines = each(
        size,
        lambda _: (
            """    key = f"{key}.{key}"
    other = key + key.replace("a", key)
    key = other if alpha else key
"""
        ),
    )
    return f"""def merge_lora(path, key, alpha):
    lora_sd = load_file(path)
    key = key + ".lora_A.weight"
{lines}    lora_sd[key] = lora_sd[key] * alpha
    lora_sd[key.replace("lora_A", "lora_B")] *= alpha
    lora_sd[key.replace("lora_A", "alpha")] = alpha
    return lora_sd
"""


def parts_of_configurations(size: int) -> str:
    lines = each(
        size,
        lambda i: f'    config = config["x{i}"] if config.get("y{i}") else pick(config, config)\n',
    )
    return f"""def load(folder, tensors):
    with open(folder + "/adapter_config.json") as file:
        config = json.load(file)
    targets = config["target_modules"]
{lines}    scaling = config["lora_alpha"] / config["r"]
    return tensors["lora_B.weight"] @ tensors["lora_A.weight"] * scaling, targets


def pick(first, second):
    return first if second["use_rslora"] else second
"""


def attributes_of_attributes(size: int) -> str:
    lines = each(
        size,
        lambda i: (
            f"""        self.s{i} = self.s{i - 1} * 2 if base.c{i} else self.s{max(0, i - 2)} / rank
        self.s{i} = self.s{i} * self.s{i - 1}
"""
        ),
        1,
    )
    return f"""class LoRALinear(nn.Module):
    def __init__(self, base, rank, lora_alpha):
        self.base = base
        self.s0 = lora_alpha / rank
{lines}        self.lora_A = nn.Linear(4, rank)
        self.lora_B = nn.Linear(rank, 4)

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.s{size - 1}
"""


def alphas(size: int) -> str:
    lines = each(
        size,
        lambda i: (
            f"""    if lora_alpha is None:
        lora_alpha = rank
    elif rank > {i}:
        lora_alpha = float(lora_alpha)
    else:
        lora_alpha = sd["alpha{i}"]
"""
        ),
    )
    return f"""def convert(sd, rank):
    out = {{}}
    lora_alpha = sd["alpha"]
{lines}    for key, value in sd.items():
        out[key.replace("lora_down", "lora_A")] = value
        out[key + ".alpha"] = lora_alpha
    return out
"""


def entries(size: int) -> str:
    lines = each(
        size, lambda i: f'    out["a.{i}.lora_A.weight"] = sd.pop("b.{i}.lora_down.weight") * alpha\n'
    )
    return f"def convert_lora(sd, alpha):\n    out = {{}}\n{lines}    return out\n"


def table(size: int) -> str:
    rows = each(size, lambda i: f'    "lora_unet_block_{i}.alpha": "block.{i}.lora_alpha",\n')
    return f"""LORA_KEYS = {{
{rows}}}


def convert(sd):
    return {{LORA_KEYS[key]: value for key, value in sd.items()}}
"""


def callers(size: int) -> str:
    def caller(i: int) -> str:
        return f"""def make_{i}(base, r, alpha):
    return LoRALinear(base, r, alpha * {i}).forward(base.x * alpha)


"""

    return layer() + each(size, caller)


def factors(size: int) -> str:
    return layer(f"        x = {' * '.join(['self.lora_alpha'] * size)}\n")


def layers(size: int) -> str:
    return each(size, lambda i: layer(name=str(i)))


def line_of_classes(size: int) -> str:
    def subclass(i: int) -> str:
        return f"""class LoRALinear{i}(LoRALinear{i - 1}):
    def forward(self, x):
        return super().forward(x) * self.scaling


"""

    return layer(name="0") + each(size, subclass, 1)


SHAPES = (
    branches,
    alternatives,
    helpers,
    nested_calls,
    choices,
    squares,
    guarded_merges,
    early_exits,
    merged_deltas,
    converted_files,
    keys_of_keys,
    parts_of_configurations,
    attributes_of_attributes,
    alphas,
    entries,
    table,
    callers,
    factors,
    layers,
    line_of_classes,
)


class TooMuchWork(BaseException):
    """The check made more calls than any of this size should. A check survives an Exception."""


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """Counts the calls of Python functions in its first element."""
    calls = [0]

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            calls[0] += 1
            if calls[0] > LIMIT:
                raise TooMuchWork

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def calls_of_a_check(text: str) -> int:
    """How many calls it takes to follow ``text`` and to run all rules."""
    path = Path("layer.py")
    with counted_calls() as calls:
        lint([path], [], overlay={path: text.encode()})
    return calls[0]


def calls_of_the_repairs(size: int) -> int:
    """How many calls it takes to repair so many layers of one file that a check has found."""
    path = Path("layer.py")
    bad = example(next(rule for rule in all_rules() if rule.name == "unscaled-merge"), "Bad")
    text = HEAD + "\n\n".join(bad.replace("LoRALinear", f"LoRALinear{i}") for i in range(size))
    fixes = [finding.fix for finding in lint([path], [], overlay={path: text.encode()}).findings]
    with counted_calls() as calls:
        edits = [fix.edits for fix in fixes if fix]
    assert len(edits) == size
    assert all(edits)
    return calls[0]


def test_twice_the_findings_are_about_twice_the_work_of_repairs() -> None:
    """The file is not parsed or printed again for each of them."""
    small, large = calls_of_the_repairs(20), calls_of_the_repairs(40)
    assert large <= GROWTH * small, f"{small} calls for 20, {large} for 40"


# At 40 its terms are cut where the finding, which 80 has, and its repair can't be seen. Each function of the
# other calls twice what calls twice ..., and each is given up at the bound of steps.
FIRST = {converted_files: 60, nested_calls: 16}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_twice_the_code_is_about_twice_the_work(
    shape: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Doubling a file of any shape does not multiply the work by four."""
    first = FIRST.get(shape, SIZE)
    if shape is nested_calls:
        for module in (machine, statements):
            monkeypatch.setattr(module, "STEP_LIMIT", 600)
        for module in (machine, statements):
            monkeypatch.setattr(module, "MORE_STEPS", 150)
    small, large = (calls_of_a_check(HEAD + shape(size)) for size in (first, 2 * first))
    assert large <= GROWTH * small, f"{small} calls for {first}, {large} for {2 * first}"


@pytest.mark.parametrize(
    "text",
    [
        layer(
            "".join("    " * (2 + i) + f"if x.shape[{i}] > 0:\n" for i in range(80)) + "    " * 82 + "x = 1\n"
        ),
        HEAD + table(2_000),
        HEAD + entries(1_000),
        HEAD + layers(150),
    ],
    ids=["80 levels", "a table of 2,000 entries", "a function of 1,000 entries", "150 layers"],
)
def test_large_files_end(text: str) -> None:
    """Large files are read and checked to the end."""
    assert calls_of_a_check(text) <= LIMIT
