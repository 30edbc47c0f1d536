"""`map` for people: which file, whose applications, and a picture of the way from key to weight."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lorascale_lint import cli

LAYER = """\
class LoraLayer:
    def __init__(self, base, lora_A, lora_B, alpha, rank):
        self.base = base
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling
"""
# The same names of fields, in another file that knows nothing of the layer.
BRANCHES = """\
class Branches:
    def load(self, weight, lora_A, lora_B):
        self.lora_A, self.lora_B = lora_A, lora_B
        weight += self.lora_B @ self.lora_A


def add(weight, lora_A, lora_B, alpha, rank, twice):
    weight += lora_B @ lora_A * (alpha / rank)
    if twice:
        weight += lora_B @ lora_A
"""
LOADER = """\
from safetensors.torch import load_file


def load(model, path, strength=1.0):
    state = load_file(path)
    weights = dict(model.named_parameters())
    for key in state:
        if not key.endswith(".lora_up.weight"):
            continue
        name = key.removesuffix(".lora_up.weight")
        down = state[name + ".lora_down.weight"]
        scale = state[name + ".alpha"] / down.shape[0]
        weights[name + ".weight"].data += strength * (state[key] @ (scale * down))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "layer.py").write_text(LAYER)
    (tmp_path / "branches.py").write_text(BRANCHES)
    (tmp_path / "loader.py").write_text(LOADER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capfd: pytest.CaptureFixture[str], *args: str) -> str:
    assert cli.run(["map", *args]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def test_a_class_shows_its_own_applications_and_each_place_its_file(project, capfd):
    assert run(capfd) == (
        "branches.py:1 Branches\n"
        "  row 4     merge    Branches.load: 1\n"
        "\n"
        "layer.py:1 LoraLayer\n"
        "  row 9     forward  LoraLayer.forward: alpha / rank\n"
        "\n"
        "branches.py:8 add\n"
        "  row 8     merge    add: alpha / rank\n"
        "  row 10    merge    add: 1\n"
        "\n"
        "loader.py:13 load\n"
        "  row 13    merge    load: alpha / rank * strength\n"
    )


def test_the_way_from_key_to_weight(project, capfd):
    (item,) = json.loads(run(capfd, "loader.py", "--output-format", "json"))["functions"]
    (branch,) = item["branches"]
    way = [(step["what"], step["row"], step["text"]) for step in branch["way"]]
    assert [what for what, *_ in way] == ["key", "key", "number", "product", "number", "merge"]
    assert way[0][1:] == (11, way[0][2])
    assert way[0][2].endswith(".lora_down.weight")
    assert way[1][1] == 13
    assert way[1][2].endswith(".lora_up.weight")
    assert way[2:5] == [
        ("number", 13, "scale"),
        ("product", 13, "state[key] @ (scale * down)"),
        ("number", 13, "strength"),
    ]
    assert branch["scale"] == "alpha / rank * strength"
    assert all(step["filename"] == "loader.py" for step in branch["way"])


def test_the_picture(project, capfd):
    root = ElementTree.fromstring(run(capfd, "--output-format", "svg"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    shown = texts[texts.index("row 9 forward in LoraLayer.forward: alpha / rank") :][1:13]
    assert "× alpha / rank" in shown
    assert "self.scaling" in shown
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    boxes = list(root.iter("{http://www.w3.org/2000/svg}rect"))
    assert all(float(box.get("x", 0)) + float(box.attrib["width"]) <= width for box in boxes)
    assert all(float(box.get("y", 0)) + float(box.attrib["height"]) <= height for box in boxes)


def test_the_page_loads_nothing_and_says_what_the_text_says(project, capfd):
    shown = run(capfd, "--output-format", "html")
    assert not re.search(r"<script|<link|<img|src=|https?:|url\(", shown)
    assert re.findall(r"<h2>(.*?)</h2>", shown) == [
        "branches.py:1 Branches", "layer.py:1 LoraLayer", "branches.py add", "loader.py load",
    ]  # fmt: skip
    assert "<li>× alpha / rank<code>self.scaling</code>" in shown


def test_code_in_a_picture_is_text(project, capfd):
    (project / "odd.py").write_text(
        "def merge(weight, lora_A, lora_B, s):\n    weight += lora_B @ lora_A * s['<b>&\\x1b']\n"
    )
    shown = run(capfd, "odd.py", "--output-format", "html")
    assert "<b>" not in shown
    ElementTree.fromstring(run(capfd, "odd.py", "--output-format", "svg"))


def test_nothing_found_is_said(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("x = 1\n")
    assert run(capfd) == "No LoRA implementation found.\n"
    assert "No LoRA implementation found." in run(capfd, "--output-format", "svg")
    assert "<p>No LoRA implementation found.</p>" in run(capfd, "--output-format", "html")


def test_a_row_has_no_picture(project, capfd):
    assert cli.run(["map", "--at", "layer.py:9", "--output-format", "svg"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.endswith("Error: --at has no picture\n")


def test_the_report_draws_the_implementations_of_files_with_findings(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "lora_layer.py").write_text(LAYER.replace(" * self.scaling", ""))
    (tmp_path / "lora_right.py").write_text(LAYER.replace("LoraLayer", "RightLayer"))
    monkeypatch.chdir(tmp_path)
    assert cli.run(["--no-cache", "--output-format", "html", "."]) == 1
    page = capsys.readouterr().out
    assert "The implementations in lora_layer.py" in page
    assert "LoraLayer.forward: 1" in page
    assert "lora_right.py" not in page
