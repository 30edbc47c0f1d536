"""SECURITY.md promises nothing that no test holds."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from lorascale_lint import cli
from lorascale_lint.verify.isolation.promises import Promise

ROOT = Path(__file__).parents[1]
_DEFAULT = "tests/verify/test_isolation.py"


def test_every_test_that_is_named_exists() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    named = re.findall(r"`([\w/.]*)::(\w+)`", page)
    assert len(named) > 20
    missing = [
        f"{file}::{test}"
        for file, test in ((file or _DEFAULT, test) for file, test in named)
        if f"def {test}(" not in (ROOT / file).read_text()
    ]
    assert missing == []


def test_every_promise_is_on_the_page() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    assert [promise for promise in Promise if f"| `{promise}`: " not in page] == []


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("sprung", "w")


def test_a_pickle_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("adapter_model.bin", "lora.pt", "disguised.safetensors"):
        Path(name).write_bytes(pickle.dumps(_Trap()))
    Path("adapter_config.json").write_text('{"peft_type": "LORA", "r": 8, "lora_alpha": 4}')
    for file in (".", "lora.pt", "disguised.safetensors"):
        assert cli.run(["inspect", file]) == 2
        assert cli.run(["audit", "--base", file, "--adapter", file, "--merged", file]) == 2
    assert not Path("sprung").exists()
