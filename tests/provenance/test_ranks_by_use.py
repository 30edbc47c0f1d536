"""What is the rank by what is done with it: it divides an alpha, and things are made of it."""

from __future__ import annotations

import pytest

from lorascale_lint.knowledge.ranks_by_use import ranks_by_use

MADE = "p = zeros(k, n_in)\nq = zeros(n_out, k)\nw += q @ p * (alpha / k)\n"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (MADE, {"k"}),
        (
            "u = normal((n_in, width))\nv = zeros((width, n_out))\ny = x @ u @ v * (alpha / width)\n",
            {"width"},
        ),
        ("a = nn.Linear(n, self.k, bias=False)\nb = nn.Linear(self.k, m)\ns = alpha / self.k\n", {"k"}),
        (MADE.replace("/ k", "/ k[0]"), set()),
        ("blend(model, k, 1)\ncheck(k, path)\nw += q @ p * (alpha / k)\n", set()),
        ("theta -= alpha / m * (X.T @ (X @ theta - y))\nzeros(m, n)\nones(n, m)\n", set()),
        (MADE.replace("q @ p *", ""), set()),
    ],
)
def test_ranks_by_use(source: str, names: set[str]) -> None:
    assert ranks_by_use(source) == names
