"""Alphas that are made whole and packed into a header."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

WRITER = """\
import json
import struct

HEAD = struct.Struct("FORMAT")


def header(config):
    CHECK
    return HEAD.pack(int(config["r"]), ALPHA)


def main(folder, out):
    with open(folder / "adapter_config.json") as source:
        out.write(header(json.load(source)))
"""
INT, ROUND, PLAIN = (f'{name}(config["lora_alpha"])' for name in ("int", "round", ""))


@pytest.mark.parametrize("alpha", [INT, ROUND])
def test_a_fraction_is_lost(alpha: str, tmp_path: Path) -> None:
    code = WRITER.replace("FORMAT", "<ii").replace("CHECK", "pass").replace("ALPHA", alpha)
    found = lint_files(tmp_path, {"writer.py": code})
    assert [(item.code, item.confidence, item.fix) for item in found] == [("LS204", "medium", None)]


@pytest.mark.parametrize(
    ("form", "check", "alpha"),
    [
        ("<if", "pass", PLAIN),
        ("<ii", 'assert float(config["lora_alpha"]).is_integer()', INT),
        ("<ii", 'assert config["lora_alpha"] == int(config["lora_alpha"])', INT),
    ],
)
def test_nothing_is_lost(form: str, check: str, alpha: str, tmp_path: Path) -> None:
    code = WRITER.replace("FORMAT", form).replace("CHECK", check).replace("ALPHA", alpha)
    assert not lint_files(tmp_path, {"writer.py": code})
