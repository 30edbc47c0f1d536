"""LS114: singular values that both factors of a decomposition get."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

SOURCE = """\
import torch


def extract_lora(delta, rank):
    U, S, Vh = torch.linalg.svd(delta.float(), full_matrices=False)
    {before}
    lora_up = {up}
    lora_down = {down}
    return lora_up, lora_down
"""


@pytest.mark.parametrize(
    ("before", "up", "down", "count"),
    [
        ("pass", "U[:, :rank] @ torch.diag(S[:rank])", "torch.diag(S[:rank]) @ Vh[:rank]", 1),
        ("U, S, Vh = U[:, :rank], S[:rank], Vh[:rank]", "U * S", "S.unsqueeze(1) * Vh", 1),
        ("S = S[:rank]", "U[:, :rank] * S", "Vh[:rank]", 0),
        ("S = S[:rank].sqrt()", "U[:, :rank] * S", "S.unsqueeze(1) * Vh[:rank]", 0),
        ("S = S[:rank]", "U[:, :rank] * S.sqrt()", "S.sqrt().unsqueeze(1) * Vh[:rank]", 0),
        ("print(delta - U @ torch.diag(S) @ Vh)", "U[:, :rank] * S[:rank]", "Vh[:rank]", 0),
    ],
)
def test_both_factors(before: str, up: str, down: str, count: int, tmp_path: Path) -> None:
    """One factor takes them, or both take their roots."""
    source = SOURCE.format(before=before, up=up, down=down)
    assert len(lint_files(tmp_path, {"lora_extract.py": source}, codes=["LS114"])) == count
