"""LS127: raw differences beside factors, with alpha / rank and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

PATCH = """\
def patch(model, sd, strength):
    for name, p in model.named_parameters():
        base = name.removesuffix(".weight")
        scale = 1.0
        if base + ".lora_down.weight" in sd:
            down = sd[base + ".lora_down.weight"]
            scale = sd[base + ".alpha"].item() / down.shape[0]
            p.data += strength * scale * (sd[base + ".lora_up.weight"] @ down)
        {body}
"""


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ('p.data += strength * scale * sd[base + ".diff"]', 1),
        (
            'diff = sd.get(base + ".diff")\n        if diff is not None:\n            p.data += scale * diff',
            1,
        ),
        ('p.data.add_(sd[f"{base}.diff_b"].float() * scale)', 1),
        ('p.data += strength * sd[base + ".diff"]', 0),
        ('p.data += strength * sd[base + ".w_norm"].to(p)', 0),
        ('p.data += sd[base + ".diff"]', 0),
    ],
)
def test_differences(body: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_patch.py": PATCH.format(body=body)}, codes=["LS127"])
    assert len(found) == count
