"""`verify --emit-driver`: a driver that lacks only what nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint import cli
from tests.verify.proving.bugs import FUNCTION, PLAIN_LAYER

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("warm_module")


def emitted(place: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.run(["verify", ".", "--emit-driver", place]) == 0
    return capsys.readouterr().out


def judged(text: str, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    Path("verify_driver.py").write_text(text)
    code = cli.run(["verify", ".", "--driver", f"verify_driver.py:{name}", "--seed", "3"])
    shown = capsys.readouterr().out
    assert code == 0, shown
    return shown


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_function_with_a_parameter_that_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    source = FUNCTION.replace("strength=1.0", "magic, strength=1.0").replace(
        "alpha / rank", "magic * alpha / rank"
    )
    Path("merging.py").write_text(source)
    text = emitted("merging.py:4", capsys)
    assert "nobody knows what the parameter `magic` is" in text
    assert "magic=...,  # nobody knows what it is" in text
    assert text.count("...,") == 1
    compile(text, "driver", "exec")
    filled = text.replace("magic=...,", "magic=1.0,").replace("alpha=alpha", "alpha=alpha or rank")
    judged(filled, "merge", capsys)


def test_a_class_with_a_parameter_that_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    source = PLAIN_LAYER.replace("rank, alpha):", "rank, alpha, magic: dict):").replace(
        "alpha / rank", "magic['times'] * alpha / rank"
    )
    Path("layers.py").write_text(source)
    text = emitted("layers.py:LoRALinear.merge".replace("LoRALinear.merge", "19"), capsys)
    assert "magic=...,  # nobody knows what it is: dict" in text
    compile(text, "driver", "exec")
    filled = text.replace("magic=...,", "magic={'times': 1.0},").replace("alpha=alpha", "alpha=alpha or rank")
    assert "merge" in judged(filled, "Driver", capsys)


def test_what_can_be_run_gets_a_whole_driver(capsys: pytest.CaptureFixture[str]) -> None:
    Path("merging.py").write_text(FUNCTION.replace("alpha / rank", "(alpha or rank) / rank"))
    text = emitted("merging.py:4", capsys)
    assert "...," not in text
    judged(text, "merge", capsys)


def test_where_nothing_can_be_imported(capsys: pytest.CaptureFixture[str]) -> None:
    body = FUNCTION.replace("\n", "\n    ")
    Path("merging.py").write_text(f"def outer():\n    {body}\n    return merge\n")
    assert cli.run(["verify", ".", "--emit-driver", "merging.py:4"]) == 2
    assert "no driver can import it" in capsys.readouterr().err
