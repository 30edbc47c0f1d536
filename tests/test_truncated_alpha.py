"""LS204: integers made of an alpha that may be none, where it is divided."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_rule_examples import findings

LAYER = """\
class LoRALinear:
    {field}

    def __init__(self, base, rank{alpha}):
        self.base = base
        self.rank = rank
        {kept}

    def forward(self, x):
        return self.base(x) + {scale} * (x @ self.lora_A.T @ self.lora_B.T)
"""
KEPT = "self.alpha = alpha"


@pytest.mark.parametrize(
    ("field", "alpha", "kept", "scale"),
    [
        ("", ", alpha: float", KEPT, "(int(self.alpha) / self.rank)"),
        ("", ", alpha=16.0", KEPT, "int(self.alpha) / self.rank"),
        ("", ", alpha: float = 16", "self.scale = int(alpha) / rank", "self.scale"),
        ("", ", alpha: float | None = None", KEPT, "(int(self.alpha) / math.sqrt(self.rank))"),
        ("alpha: float = 16.0", "", "pass", "(int(self.alpha) / self.rank)"),
    ],
)
def test_integers_of_real_alphas_fire(field: str, alpha: str, kept: str, scale: str, tmp_path: Path) -> None:
    source = LAYER.format(field=field, alpha=alpha, kept=kept, scale=scale)
    assert [found.code for found in findings(source, tmp_path, "LS204")] == ["LS204"]


@pytest.mark.parametrize(
    ("field", "alpha", "kept", "scale"),
    [
        ("", ", alpha: int = 16", KEPT, "(int(self.alpha) / self.rank)"),
        ("", ", alpha=16", KEPT, "(int(self.alpha) / self.rank)"),
        ("", ", alpha: int | str = 16.0", KEPT, "(int(self.alpha) / self.rank)"),
        ("", ", config=None", "self.alpha = config.alpha", "(int(self.alpha) / self.rank)"),
        ("", ", alpha: float = 16.0", KEPT, "(self.alpha / int(self.rank))"),
        ("alpha: int = 16", "", "pass", "(int(self.alpha) / self.rank)"),
    ],
)
def test_integers_that_lose_nothing_are_silent(
    field: str, alpha: str, kept: str, scale: str, tmp_path: Path
) -> None:
    source = LAYER.format(field=field, alpha=alpha, kept=kept, scale=scale)
    assert findings(source, tmp_path, "LS204") == ()
