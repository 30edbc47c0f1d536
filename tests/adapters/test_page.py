"""`inspect --output-format html`: one page that says what the text says, with the size of each delta."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lorascale_lint import cli
from lorascale_lint.adapters.adapter import understand
from lorascale_lint.adapters.norms import delta_norms
from lorascale_lint.adapters.source import read_source
from tests.adapters.layouts import FLAT, NAMES, Tensors, pair, write

VOID = {"meta", "br", "line", "circle"}
GENERATOR = np.random.default_rng(0)


class Balance(HTMLParser):
    """Every tag is closed in its order, and nothing is loaded from anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.titles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href", "onclick"} & {name for name, _ in attrs}
        assert tag != "script"
        if tag not in VOID or tag == "circle":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["title"] and "circle" in self.open:
            self.titles.append(data)


def page(capsys: pytest.CaptureFixture[str], *paths: Path) -> str:
    assert cli.run(["inspect", "--output-format", "html", *map(str, paths)]) == 0
    text = capsys.readouterr().out
    parser = Balance()
    parser.feed(re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL))
    assert parser.open == []
    return text


def test_scales_and_sizes_of_every_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors: Tensors = {}
    for name in NAMES:
        tensors[f"{name}.lora_A.weight"] = GENERATOR.standard_normal((8, 12)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = GENERATOR.standard_normal((20, 8)).astype(np.float32)
        tensors[f"{name}.alpha"] = np.array(4, np.float32)
    path = tmp_path / "a.safetensors"
    save_file(tensors, path)
    norms = delta_norms(understand(read_source(path)))
    for name in NAMES:
        whole = 0.5 * tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]
        assert norms[name] == pytest.approx(np.linalg.norm(whole), rel=1e-5)
    text = page(capsys, path)
    assert "trained scale 0.5, 4 modules, all equal" in text
    for name in NAMES:
        assert f"<title>{name}: 0.5</title>" in text
        assert f"<title>{name}: {norms[name]:.6g}</title>" in text
    assert '<td class="wrong">wrong: 2 times the trained scale</td>' in text


def test_modules_stand_in_the_order_of_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"lora_unet_blocks_{index}_q" for index in range(12)]
    text = page(capsys, write(tmp_path / "a.safetensors", pair(names, 8, alpha=4)))
    assert re.findall(r'<th scope="row">(lora_\w+)</th>', text) == names


def test_several_files_and_hostile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "a.safetensors", pair(["lora_unet_<script>alert(1)</script>\x1b[31m"], 8))
    two = write(tmp_path / "b&c.safetensors", pair(FLAT, 8, alpha=float("nan")))
    text = page(capsys, one, two)
    assert "<script" not in text
    assert "\x1b" not in text
    assert "b&amp;c.safetensors" in text


@pytest.mark.parametrize("kind", ["loha", "lokr", "conv"])
def test_sizes_of_other_kinds(kind: str, tmp_path: Path) -> None:
    def some(*shape: int) -> np.ndarray:
        return GENERATOR.standard_normal(shape).astype(np.float32)

    if kind == "loha":
        a, b, c, d = some(12, 4), some(4, 10), some(12, 4), some(4, 10)
        tensors = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d}
        whole = (a @ b) * (c @ d)
    elif kind == "lokr":
        a, b, c = some(3, 2), some(8, 4), some(4, 5)
        tensors = {"lokr_w1": a, "lokr_w2_a": b, "lokr_w2_b": c}
        whole = np.kron(a, b @ c)
    else:
        a, b = some(4, 6, 3, 3), some(12, 4, 1, 1)
        tensors = {"lora_down.weight": a, "lora_up.weight": b}
        whole = b.reshape(12, 4) @ a.reshape(4, -1)
    named: Tensors = {f"lora_unet_x.{role}": values for role, values in tensors.items()}
    named["lora_unet_x.alpha"] = np.array(2, np.float32)
    save_file(named, tmp_path / "a.safetensors")
    norms = delta_norms(understand(read_source(tmp_path / "a.safetensors")))
    assert norms["lora_unet_x"] == pytest.approx(0.5 * np.linalg.norm(whole), rel=1e-5)
