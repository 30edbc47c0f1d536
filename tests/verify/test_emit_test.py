"""`verify --emit-test`: the printed test runs as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint import cli
from tests.verify.test_own_drivers import DRIVER, RIGHT, project
from tests.verify.test_testing import run_pytest

ADAPTERS = '''
"""Merges of LoRA adapters."""


def merge_adapter(weight, lora_down, lora_up, alpha, eps=0.1):
    return weight + lora_up @ lora_down


def merge_scaled(w, lora_A, lora_B, lora_alpha, r):
    w += lora_alpha / r * (lora_B @ lora_A)
    return w


def merge_with_config(weight, lora_A, lora_B, config):
    return weight + config.scale * (lora_B @ lora_A)


class Layer:
    def merge_lora(self, weight, lora_A, lora_B):
        return weight + lora_B @ lora_A
'''


def test_functions_that_merge_get_a_test_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "adapters.py").write_text(ADAPTERS)
    assert cli.run(["verify", "--emit-test", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "with_config" not in text
    assert "def test_scale_of_merge_lora(" not in text
    (tmp_path / "test_scales.py").write_text(text)
    done = run_pytest(tmp_path)
    assert "1 failed, 1 passed" in done.stdout
    assert "FAILED test_scales.py::test_scale_of_merge_adapter" in done.stdout
    assert "alpha-ignored" in done.stdout


def test_a_driver_gets_a_run_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project(tmp_path, RIGHT, DRIVER)
    driver = f"{folder / 'verify_driver.py'}:merge"
    assert cli.run(["verify", "--emit-test", str(folder), "--driver", driver]) == 0
    (folder / "test_scales.py").write_text(capsys.readouterr().out)
    done = run_pytest(folder)
    assert "1 passed" in done.stdout
    (folder / "src" / "adapters.py").write_text("def merge_adapter(weight, *_):\n    return weight\n")
    assert "not-applied" in run_pytest(folder).stdout


def test_a_driver_of_the_settings_is_named_from_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path, RIGHT, DRIVER)
    (folder / "pyproject.toml").write_text(
        '[tool.lorascale-lint.verify]\ndriver = "verify_driver.py:merge"\n'
    )
    monkeypatch.chdir(folder)
    assert cli.run(["verify", "--emit-test", "."]) == 0
    assert "run_verify(Path('.'), driver='verify_driver.py:merge')" in capsys.readouterr().out


def test_nothing_to_test_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.py").write_text("x = 1\n")
    assert cli.run(["verify", "--emit-test", str(tmp_path)]) == 3
    assert "docs/testing.md" in capsys.readouterr().err
    assert cli.run(["verify", "--emit-test", str(tmp_path / "nowhere")]) == 2
    assert cli.run(["verify", "--emit-test", str(tmp_path), "--driver", "nonsense"]) == 2
