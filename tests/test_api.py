"""The functions of the package: they return what the commands print."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy
import pytest
from safetensors.numpy import save_file

import lorascale_lint
from lorascale_lint import cli

INVERTED = """\
def merge(weight, lora_A, lora_B, alpha, rank):
    weight += lora_B @ lora_A * (rank / alpha)
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("lora.py").write_text(INVERTED)
    return tmp_path


@pytest.mark.parametrize("paths", ["lora.py", Path("lora.py"), ["lora.py"], "."])
def test_check_paths(here, capsys, paths):
    report = lorascale_lint.check_paths(paths)
    (finding,) = report.findings
    assert isinstance(finding, lorascale_lint.Finding)
    assert (finding.code, finding.span.filename, finding.span.start.row) == ("LS111", "lora.py", 2)
    assert (report.checked, report.failures) == (1, ())
    assert capsys.readouterr() == ("", "")


def test_check_paths_without_a_path_is_the_current_folder(here):
    assert lorascale_lint.check_paths() == lorascale_lint.check_paths(".")


def test_settings_comments_and_options_hold(here):
    assert lorascale_lint.check_paths(ignore=["LS111"]).findings == ()
    assert lorascale_lint.check_paths(select=["LS1"], cache=False).findings
    Path("lorascale-lint.toml").write_text('ignore = ["inverted-scale"]\n')
    assert lorascale_lint.check_paths().findings == ()
    assert lorascale_lint.check_paths(extend_select=["inverted-scale"]).findings


def test_errors(here):
    with pytest.raises(lorascale_lint.InputError, match="nowhere: no such file or folder"):
        lorascale_lint.check_paths("nowhere")
    with pytest.raises(lorascale_lint.InputError, match="unknown rule"):
        lorascale_lint.check_source("", select=["LS999"])
    Path("bad.py").write_text("lora = = 1\n")
    (failure,) = lorascale_lint.check_paths("bad.py").failures
    assert isinstance(failure, lorascale_lint.FileFailure)


def test_check_source(here):
    report = lorascale_lint.check_source(INVERTED)
    assert [finding.span.filename for finding in report.findings] == ["-"]
    assert lorascale_lint.check_source(INVERTED.encode()).findings == report.findings
    assert lorascale_lint.check_source("x = 1\n", "lora.py").findings == ()


LAYER = """\
from helper import product


class LoRALinear:
    def __init__(self, base_layer, lora_A, lora_B, lora_alpha, lora_rank):
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_alpha = lora_alpha
        self.lora_rank = lora_rank

    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        return self.base_layer(x) + delta * (self.lora_alpha / self.lora_rank)

    def merge(self):
        self.base_layer.weight.data += product(self.lora_B, self.lora_A)
"""


def test_check_source_reads_the_project_of_the_file(here):
    Path("pyproject.toml").touch()
    Path("helper.py").write_text("def product(lora_B, lora_A):\n    return lora_B @ lora_A\n")
    found = lorascale_lint.check_source(LAYER, "new.py").findings
    assert [(finding.code, finding.span.start.row) for finding in found] == [("LS101", 17)]
    assert lorascale_lint.check_source(LAYER).findings == ()
    assert not Path("new.py").exists()


def test_check_source_of_a_notebook(here):
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell("%time 1"), nbformat.v4.new_code_cell(INVERTED)]
    (finding,) = lorascale_lint.check_source(nbformat.writes(made), "a.ipynb").findings
    assert (finding.span.filename, finding.span.start.row) == ("a.ipynb:cell 2", 2)


def test_build_map(here, capsys):
    found = lorascale_lint.build_map("lora.py")
    assert [item["function"] for item in found.record["functions"]] == ["merge"]
    cli.run(["map", "--output-format", "json"])
    assert json.loads(capsys.readouterr().out) == found.record
    Path("bad.py").write_text("lora = = 1\n")
    assert [item.filename for item in lorascale_lint.build_map().failures] == ["bad.py"]


def test_inspect_adapter(here):
    tensors = {
        "lora_unet_a.lora_down.weight": numpy.zeros((4, 8), "float32"),
        "lora_unet_a.lora_up.weight": numpy.zeros((8, 4), "float32"),
        "lora_unet_a.alpha": numpy.array(2.0, "float32"),
    }
    save_file(tensors, "a.safetensors")
    (module,) = lorascale_lint.inspect_adapter("a.safetensors").adapter.modules
    assert module.scale == 0.5
    with pytest.raises(lorascale_lint.InputError):
        lorascale_lint.inspect_adapter("lora.py")


@pytest.mark.parametrize("name", lorascale_lint.__all__)
def test_every_public_name_is_there_and_explained(name):
    assert getattr(lorascale_lint, name).__doc__


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lorascale_lint.nothing


def test_importing_the_package_is_instant():
    program = (
        "import sys, lorascale_lint; print(len([n for n in sys.modules if n.startswith('lorascale_lint')]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_a_script_without_a_main_guard(here):
    for number in range(20):
        Path(f"lora_{number}.py").write_text(INVERTED)
    Path("use.py").write_text(
        "import lorascale_lint\nprint(len(lorascale_lint.check_paths('.', cache=False).findings))\n"
    )
    done = subprocess.run(
        [sys.executable, "use.py"], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "21\n", "")
