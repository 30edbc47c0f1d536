"""What a commit hook waits for: one changed file of a large project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lorascale_lint import cli

PLAIN = "def area(width, height):\n    return width * height\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose other files must not be looked for."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "lora.py").write_text("def merge(weight, lora_A, lora_B):\n    weight += lora_B @ lora_A\n")
    monkeypatch.chdir(tmp_path)

    def looked(*_: object) -> tuple[Path, ...]:
        raise AssertionError("the project was searched")

    monkeypatch.setattr("lorascale_lint.sources.discovery._context", looked)
    return package


@pytest.mark.parametrize("text", [PLAIN, "alpha = 1  # of a colour\n", "import os  # noqa: F401\n", ""])
def test_for_a_file_without_lora_code_the_project_is_not_searched(project: Path, text: str) -> None:
    (project / "plain.py").write_text(text)
    assert cli.run(["package/plain.py"]) == 0


def test_a_file_with_lora_code_is_judged_with_the_project(project: Path) -> None:
    with pytest.raises(AssertionError, match="searched"):
        cli.cli.main(["package/lora.py"], standalone_mode=False)


def test_what_is_wrong_with_a_file_is_still_said(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(project.parent)
    (project / "broken.py").write_text("alpha = (\n")
    (project / "typed.py").write_text("x = 1  # lorascale: ignore[LS101]\n")
    assert cli.run(["package/broken.py"]) == 2
    assert "LS001" in capsys.readouterr().out
    assert cli.run(["package/typed.py"]) == 1
    assert "LS002" in capsys.readouterr().out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", _locked)
        assert cli.run(["package/__init__.py"]) == 2
    assert "cannot be read" in capsys.readouterr().out


def _locked(_: Path) -> bytes:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("text", [PLAIN, "scale = lora_alpha\n"])
def test_neither_libcst_nor_an_unused_engine_is_imported(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.py").write_text(text)
    program = (
        "import sys; from lorascale_lint import cli; assert cli.run(['--no-cache', sys.argv[1]]) == 0;"
        "print('libcst' in sys.modules, 'lorascale_lint.examination' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.py")], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == f"False {text != PLAIN}"
