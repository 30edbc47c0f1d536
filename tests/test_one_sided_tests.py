"""LS117 on shortcuts for a strength of one that other strengths take as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint

MERGE = """
EPS = 1e-6

def scale_lora(lora_sd, strength=1.0, loras=()):
    {body}
    for name, weight in loras:
        print(name)
    return {{key: value * strength if "lora_up" in key else value for key, value in lora_sd.items()}}
"""


def found(folder: Path, body: str) -> list[str]:
    """Messages of LS117 in a function that begins with ``body``."""
    path = folder / "lora_scale.py"
    path.write_text(MERGE.format(body=body))
    result = lint([path], [], codes=["LS117"])
    assert result.failures == ()
    return [finding.message for finding in result.findings]


@pytest.mark.parametrize(
    ("body", "others"),
    [
        ("if strength - 1 < 1e-5:\n        return lora_sd", "smaller"),
        ("if (strength - 1.0) <= EPS:\n        return lora_sd", "smaller"),
        ("if len(loras) == 0 and strength - 1 < 1e-5:\n        return lora_sd", "smaller"),
        ("if 1 - strength < 1e-5:\n        return lora_sd", "larger"),
        ("if 1e-5 > strength - 1:\n        return dict(lora_sd)", "smaller"),
        ("if not strength - 1 > 1e-5:\n        return lora_sd", "smaller"),
        ('if strength - 1 > 1e-5:\n        lora_sd["x.lora_up.weight"] *= strength', "smaller"),
        (
            "if loras[0][1] - 1 < 1e-5:\n        return loras[0][0]\n"
            "    for lora, strength in loras:\n        lora *= strength",
            "smaller",
        ),
    ],
)
def test_a_test_without_abs_fires(body: str, others: str, tmp_path: Path) -> None:
    assert found(tmp_path, body) == [f"every `strength` {others} than 1 is taken for 1"]


@pytest.mark.parametrize(
    "body",
    [
        "if abs(strength - 1) < 1e-5:\n        return lora_sd",
        "if float(strength - 1) > 1e-5:\n        lora_sd = lora_sd * strength",
        "if (strength - 1) ** 2 < 1e-5:\n        return lora_sd",
        "if strength - 1 < 1e-5:\n        return strength * lora_sd",
        "if strength < 1e-5:\n        return lora_sd",
        "if strength - 1 < 5:\n        return lora_sd",
        "if strength - 1 < 1e-5 or not loras:\n        return lora_sd",
        "if strength - 1 < 1e-5:\n        raise ValueError(strength)",
        "if lora_sd.step - 1 < 1e-5:\n        return lora_sd",
    ],
)
def test_other_tests_are_silent(body: str, tmp_path: Path) -> None:
    assert found(tmp_path, body) == []
