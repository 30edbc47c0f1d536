"""Copies of one definition."""

from __future__ import annotations

import ast

from definitions import definitions, enclosing

MERGE = """
def merge(weight, lora_a, lora_b, alpha):
    rank = lora_a.shape[0]
    scale = alpha / rank
    delta = lora_b @ lora_a
    delta = delta * scale
    return weight + delta
"""


def only(source: str):  # type: ignore[no-untyped-def]
    (found,) = definitions(ast.parse(source))
    return found


def test_layout_comments_docstrings_and_annotations_do_not_count() -> None:
    other = MERGE.replace("weight, lora_a", "weight: Tensor, lora_a").replace(
        "):\n", ') -> "Tensor":\n    """Merge."""\n'
    )
    other = "@torch.no_grad()" + other.replace("alpha / rank", "alpha  /  rank  # the trained scale")
    assert only(MERGE).digest == only(other).digest


def test_a_changed_line_is_still_a_copy_under_the_same_name() -> None:
    changed = MERGE.replace("    return", "    weight = weight.float()\n    return")
    assert only(MERGE).digest != only(changed).digest
    assert only(MERGE).is_copy_of(only(changed))
    assert not only(MERGE).is_copy_of(only(changed.replace("def merge", "def fuse")))


def test_another_body_is_no_copy() -> None:
    assert not only(MERGE).is_copy_of(only("def merge(weight):\n    return weight\n"))


def test_enclosing() -> None:
    inner = "        def g():\n            return 1\n        return g\n"
    source = f"class A:\n    x = 1\n    def f(self):\n{inner}y = 2\n"
    found = definitions(ast.parse(source))
    names = {row: item.name if (item := enclosing(found, row)) else None for row in range(1, 8)}
    assert names == {1: "A", 2: "A", 3: "A.f", 4: "A.f.g", 5: "A.f.g", 6: "A.f", 7: None}
