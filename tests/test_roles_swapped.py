"""LS244: alpha and rank that change places on their way, and those that only look like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

HEAD = """
def describe(state, name):
    down = state[f"{name}.lora_down.weight"]
    alpha = state.get(f"{name}.alpha")
    rank = down.shape[0]
    return %s


"""
ROW, RECORD = (
    "(rank, float(rank) if alpha is None else float(alpha))",
    "{'rank': rank, 'alpha': float(alpha)}",
)
CALLED = (
    "    return Lora(dim, alpha)",
    "",
    "",
    "def build(state, name):",
    "    r, a = describe(state, name)",
    "    return layer(a, r)",
)
WRONG = {
    "two names": (
        ROW,
        [
            "def build(state, name):",
            "    alpha, rank = describe(state, name)",
            "    return Lora(rank, alpha)",
        ],
    ),
    "a name and none": (
        ROW,
        [
            "def build(state, names):",
            "    rows = [describe(state, n) for n in names]",
            "    return [Lora(8, alpha) for alpha, _ in rows]",
        ],
    ),
    "in a loop": (
        ROW,
        [
            "def build(state, names):",
            "    table = {n: describe(state, n) for n in names}",
            "    for n, (alpha, dim) in table.items():",
            "        yield Lora(dim, alpha)",
        ],
    ),
    "a call": (
        "rank, float(alpha)",
        [
            "def layer(dim, alpha):",
            *CALLED,
        ],
    ),
    "a call by name": (
        "rank, float(alpha)",
        [
            "def build(state, name):",
            "    one, two = describe(state, name)",
            "    return LoraLayer(lora_alpha=one, r=two)",
        ],
    ),
}
RIGHT = {
    "in order": (
        ROW,
        [
            "def build(state, name):",
            "    rank, alpha = describe(state, name)",
            "    return Lora(rank, alpha)",
        ],
    ),
    "alpha is the rank": (
        "rank, rank",
        [
            "def build(state, name):",
            "    alpha, rank = describe(state, name)",
            "    return Lora(rank, alpha)",
        ],
    ),
    "a call in order": (
        "rank, float(alpha)",
        [
            "def layer(alpha, dim):",
            *CALLED,
        ],
    ),
    "the rank for both": (
        "rank, float(alpha)",
        [
            "def build(state, name):",
            "    r, a = describe(state, name)",
            "    return LoraLayer(lora_alpha=r, r=r), a",
        ],
    ),
    "by keys": (
        RECORD,
        [
            "def build(state, name):",
            "    found = describe(state, name)",
            "    alpha, rank = found['alpha'], found['rank']",
            "    return Lora(rank, alpha)",
        ],
    ),
}


def codes(folder: Path, returned: str, rest: list[str]) -> list[str]:
    return [
        f.code
        for f in lint_files(folder, {"lora.py": HEAD % returned + "\n".join([*rest, ""])}, codes=["LS244"])
    ]


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str, tmp_path: Path) -> None:
    assert codes(tmp_path, *WRONG[name]) == ["LS244"]


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert codes(tmp_path, *RIGHT[name]) == []
