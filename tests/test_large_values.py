"""Code that makes numbers, texts and lists of any size is looked at in little time, and ends no look."""

from __future__ import annotations

from pathlib import Path
from time import process_time

import pytest

from lorascale_lint.engine import lint
from tests.projects import write_files

NUMBERS = """\
10 ** 10 ** 8
9 ** 9 ** 9
(2 ** 900) ** 900
2 ** -(10 ** 9)
(-1) ** 10 ** 9
0.5 ** 10 ** 9
(10 ** 300) ** 0.5
(10 ** 250) ** 1.5
0.0 ** -0.5
10 ** 400
1e999
float("1e999999999")
float("1e-999999999")
int("9" * 5000)
1e300 * 1e300
alpha ** 10 ** 9
((alpha ** 10 ** 9) ** 10 ** 9) ** 10 ** 9
f"{10 ** 400}"
str(2 ** 5000)
"""
PLACES = """\
range(0, 10, 0)
range(1, 2, 3, 4)
range(10 ** 30)
list(range(-10 ** 30, 10 ** 30))
[1] * 10 ** 30
[1] * -10 ** 30
[1, 2][::0]
[1, 2, 3][::10 ** 30]
(1, 2)[-10 ** 30]
[1, 2].pop(10 ** 30)
"a.b".split(".", -10 ** 30)
"x".rsplit("x", 10 ** 30)
"{\N{SUPERSCRIPT TWO}}".format(5)
lora_A.shape[10 ** 30]
torch.stack([lora_A] * 8, dim=10 ** 30)
"""
GROWTH = {
    "x = x * x": "2",
    "x = x ** 2": "alpha / rank",
    "x = x + x": "[1, 2]",
    "x = x + x  # a row": "(lora_A, lora_B)",
    "x = (*x, *x)": "(lora_A, lora_B)",
    "x = zip(x, x)": "lora_A",
    "x = (x, x)": "alpha / rank",
    "x = functools.partial(x, x)": '"lora_A"',
    "x = functools.partial(x, y=x)": "lora_A",
    "x = [*enumerate(x)]": "[1, 2]",
    "x.extend(x)": "[1, 2]",
    "x = {**x, **x}": '{"a": 1, "b": lora_A}',
    "x = x | x": '{"a": 1, "b": lora_A}',
    'x = f"{x}{x}"': '"lora_A"',
}
FUNCTION = """
def merge_{number}(weight, lora_A, lora_B, alpha, rank):
    odd = {code}
    weight += (lora_B @ lora_A) * odd
    state = {{f"{{odd}}.lora_A": lora_A}}
    for one in odd:
        state[f"{{one}}.alpha"] = odd
    return state
"""


@pytest.mark.parametrize("table", [NUMBERS, PLACES])
def test_what_python_refuses_or_takes_hours_for(table: str, tmp_path: Path) -> None:
    codes = enumerate(table.splitlines())
    source = "import torch\n" + "".join(FUNCTION.format(number=number, code=code) for number, code in codes)
    start = process_time()
    assert lint(write_files(tmp_path, {"lora_numbers.py": source}), []).failures == ()
    assert process_time() - start < 20


@pytest.mark.parametrize("row", GROWTH)
def test_what_doubles_with_each_row(row: str, tmp_path: Path) -> None:
    rows = "\n    ".join([GROWTH[row], *[row.partition("  #")[0]] * 40])
    grown = FUNCTION.replace("odd = {code}", "x = {code}\n    odd = x").format(number=0, code=rows)
    source = f"import functools\n{grown}"
    start = process_time()
    assert lint(write_files(tmp_path, {"lora_growth.py": source}), []).failures == ()
    assert process_time() - start < 20
