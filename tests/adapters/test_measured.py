"""Predictions for FastVideo agree with what `verify` measured (docs/fastvideo.md), row by row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.knowledge.loaders import loader_named
from tests.adapters.layouts import NAMES, peft_pair, write

_RELEASES = {
    "fastvideo-0.1.6": ("0.1.2", "0.1.4", "0.1.5", "0.1.6"),
    "fastvideo-0.1.7": ("0.1.7", "0.2.0"),
    "fastvideo-0.2.1": ("0.2.1",),
}
_ROW = re.compile(
    r"\| file with \.(?P<key>lora_alpha|alpha)(?: of alpha (?P<alpha>[\d.]+))?, (?P<names>[^|]+) names "
    r"\| [\d.]+ \| (?P<measured>[\d.]+)"
)


def measured_rows(release: str) -> list[re.Match[str]]:
    text = (Path(__file__).parents[2] / "docs" / "fastvideo.md").read_text()
    section = text.split(f"\n## {release}\n", 1)[1].split("\n## ", 1)[0]
    return [found for line in section.splitlines() if (found := _ROW.match(line))]


@pytest.mark.parametrize(
    ("loader", "release"),
    [(loader, release) for loader, releases in _RELEASES.items() for release in releases],
)
def test_as_measured(loader: str, release: str, tmp_path: Path) -> None:
    entry = loader_named(loader)
    assert entry is not None
    rows = measured_rows(release)
    assert rows
    for row in rows:
        # Rank 8, and alpha 4 unless the row says otherwise: the adapters of `verify`.
        alpha = float(row["alpha"] or 4)
        prefix = "diffusion_model." if row["names"].startswith("diffusion_model.") else ""
        tensors = peft_pair([prefix + name for name in NAMES], 8, alpha)
        tensors = {re.sub(r"\.alpha$", f".{row['key']}", key): value for key, value in tensors.items()}
        (found,) = inspect_file(write(tmp_path / "a.safetensors", tensors), [entry]).predictions
        assert float(row["measured"]) in (found.low, found.high), (row[0], found.outcome, found.reason)
