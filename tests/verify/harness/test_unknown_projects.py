"""`verify` on projects that nobody described: sketches from the analysis, the rest guessed in the child."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lorascale_lint import cli
from lorascale_lint.verify.harness.sketches import sketches_of
from lorascale_lint.verify.report import VerifyReport, render_json, render_text
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Row, Verdict
from tests.verify.harness.programs import HELPERS, PROGRAMS

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("warm_module")

PLAIN = PROGRAMS["forwarded"][0]
HELPED = """
from .helpers import delta_of

def apply(layer, lora_down, lora_up, network_alpha, strength=1.0):
    lora_scale = network_alpha / lora_down.weight.shape[0]
    layer.weight.data = layer.weight.data + lora_up.weight @ lora_down.weight * lora_scale * strength
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> VerifyReport:
    """All right programs in one project, and a wrong one."""
    folder = tmp_path_factory.mktemp("project")
    for name, (source, _) in PROGRAMS.items():
        (folder / f"{name.replace('-', '_')}.py").write_text(source)
    (folder / "helpers.py").write_text(HELPERS)
    forgetful = PROGRAMS["constructed"][0].replace("alpha / rank", "1.0")
    (folder / "forgetful.py").write_text(forgetful)
    return run_verify(folder, seed=5)


def verdicts(report: VerifyReport, file: str) -> dict[str, Verdict]:
    return {
        row.scenario.removeprefix(row.group)[2:]: row.verdict
        for row in report.rows
        if row.group.startswith(f"{file}:")
    }


def test_right_programs_match_and_wrong_ones_differ(report: VerifyReport) -> None:
    failing = {row.group.partition(":")[0] for row in report.rows if row.is_failure}
    assert failing == {"forgetful.py"}
    assert verdicts(report, "forgetful.py")["trained scale"] is Verdict.ALPHA_IGNORED
    assert report.exit_code == 1


@pytest.mark.parametrize(
    "file", ["kohya", "peft_like", "constructed", "configured", "embedding", "forwarded", "switched"]
)
def test_programs_are_understood_without_a_description(file: str, report: VerifyReport) -> None:
    assert verdicts(report, f"{file}.py")["trained scale"] is Verdict.OK


def test_a_scale_that_the_caller_gives_is_no_verdict(report: VerifyReport) -> None:
    assert verdicts(report, "unmerged.py")["trained scale"] is Verdict.OBSERVED


def test_the_report_is_a_table(report: VerifyReport) -> None:
    text = render_text(report)
    lines = text.splitlines()
    assert "verify executes the code" in text
    # What differs comes first.
    places = [line for line in lines if line.endswith("(forward)")]
    assert places[0].startswith("forgetful.py:")
    assert "map agrees" in text
    assert "applications were run" in text
    data = json.loads(render_json(report))
    assert data["target"]["driver"] == "harness"
    assert {row["verdict"] for row in data["rows"]} >= {"ok", "observed", "alpha-ignored"}


def run(folder: Path, source: str) -> VerifyReport:
    folder.mkdir(exist_ok=True)
    (folder / "program.py").write_text(source)
    return run_verify(folder, seed=5)


def only(report: VerifyReport) -> Row:
    (row,) = report.rows
    return row


def test_what_nobody_knows_is_named(tmp_path: Path) -> None:
    source = "def merge(weight, lora_A, lora_B, magic):\n    return weight + lora_B @ lora_A * magic[3]\n"
    report = run(tmp_path, source)
    assert only(report).verdict is Verdict.NOT_RUN
    assert "`magic`" in only(report).detail
    assert report.exit_code == 3
    assert "Not run (1 of 1)" in render_text(report)


def test_a_missing_package_is_stubbed_and_named(tmp_path: Path) -> None:
    source = "import a_package_that_is_nowhere as gone\n\nLIMIT = gone.limits.Most\n" + PLAIN
    report = run(tmp_path, source)
    assert {row.verdict for row in report.rows} <= {Verdict.OK, Verdict.OBSERVED}
    assert report.target.stubs == {"a_package_that_is_nowhere": ("limits", "limits.Most")}
    assert "Stubbed package a_package_that_is_nowhere" in render_text(report)


def test_a_missing_part_of_an_installed_package_is_stubbed_alone(tmp_path: Path) -> None:
    source = "import numpy as np\nimport yaml.a_part_that_is_nowhere as gone\nimport yaml\nassert yaml.dump\n"
    report = run(tmp_path, source + PLAIN)
    assert {row.verdict for row in report.rows} <= {Verdict.OK, Verdict.OBSERVED}
    assert "yaml" in report.target.stubs


def test_a_stub_that_is_called_at_import_is_named(tmp_path: Path) -> None:
    report = run(tmp_path, f"import triton_that_is_not.there; triton_that_is_not.there.run()\n{PLAIN}")
    assert {row.verdict for row in report.rows} <= {Verdict.OK, Verdict.OBSERVED}
    assert "triton_that_is_not" in report.target.stubs


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("import os; os._exit(3)", "exit status 3"),
        ("import os; os.abort()", "SIGABRT"),
    ],
)
def test_an_import_out_of_hand_costs_its_file(statement: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(PLAIN)
    report = run(tmp_path, f"{statement}\n{PLAIN}")
    lost = [row for row in report.rows if row.group.startswith("program.py")]
    assert {row.verdict for row in lost} == {Verdict.NOT_RUN}
    assert len(lost) == 1
    assert words in lost[0].detail
    assert verdicts(report, "other.py")["trained scale"] is Verdict.OK


@pytest.mark.parametrize(
    "statement",
    ["raise RuntimeError('only on a GPU')", "import sys; sys.exit('no')"],
    ids=["raises", "exits"],
)
def test_functions_behind_an_import_that_ends_early_are_run(statement: str, tmp_path: Path) -> None:
    report = run(tmp_path, f"{statement}\n{PLAIN}")
    assert verdicts(report, "program.py")["trained scale"] is Verdict.OK


def test_a_package_is_imported_as_a_package(tmp_path: Path) -> None:
    package = tmp_path / "src" / "mine" / "layers"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "helpers.py").write_text(HELPERS)
    (package / "lora.py").write_text(HELPED)
    report = run_verify(tmp_path, seed=5)
    (first, *_) = report.rows
    assert first.group.startswith("src/mine/layers/lora.py:")
    assert first.verdict is Verdict.OK


def test_alpha_that_nobody_reads_is_not_missed(tmp_path: Path) -> None:
    """Files of this program state no alpha, and its configurations none either."""
    source = PROGRAMS["kohya"][0]
    without = source.replace('alpha = lora.get(name + ".alpha")', "alpha = None")
    report = run(tmp_path, without)
    found = verdicts(report, "program.py")
    assert found["trained scale"] is Verdict.OBSERVED
    assert report.exit_code == 0


LORALIB = """
import torch
from torch import nn

class LoRALinear(nn.Linear):
    def __init__(self, in_features, out_features, r=0, lora_alpha=1, lora_dropout=0.1):
        super().__init__(in_features, out_features)
        self.lora_A = nn.Parameter(torch.zeros(r, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, r))
        self.lora_dropout = nn.Dropout(lora_dropout)
        self.scaling = lora_alpha / r
        self.merged = False

    @property
    def broken(self):
        raise RuntimeError("a property that raises")

    def train(self, mode=True):
        super().train(mode)
        if mode and self.merged:
            self.weight.data -= self.lora_B @ self.lora_A * self.scaling
            self.merged = False
        elif not mode and not self.merged:
            self.weight.data += self.lora_B @ self.lora_A * self.scaling
            self.merged = True
        return self

    def eval(self):
        return self.train(False)

    def forward(self, x):
        out = nn.functional.linear(x, self.weight, self.bias)
        if not self.merged:
            out = out + self.lora_dropout(x) @ self.lora_A.T @ self.lora_B.T * self.scaling
        return out
"""
UNLOADED = (
    PROGRAMS["constructed"][0]
    + """
    def merge_and_unload(self):
        delta = (self.down @ self.up).T * self.scale
        merged = nn.Linear(self.linear.in_features, self.linear.out_features)
        merged.weight.data = self.linear.weight + delta
        merged.bias = self.linear.bias
        return merged
"""
)


@pytest.mark.parametrize("source", [LORALIB, UNLOADED], ids=["merges on eval", "merges into a new layer"])
def test_layers_that_merge_in_their_own_way_are_right(source: str, tmp_path: Path) -> None:
    report = run(tmp_path, source)
    assert [row for row in report.rows if row.is_failure] == []
    questions = {row.scenario.rpartition(": ")[2] for row in report.rows if row.verdict is Verdict.OK}
    assert {"trained scale", "merged as unmerged"} <= questions


def test_a_configuration_is_read_in_both_ways(tmp_path: Path) -> None:
    source = PROGRAMS["configured"][0]
    report = run(tmp_path, source.replace("config.r", 'config["r"]'))
    assert verdicts(report, "program.py")["trained scale"] is Verdict.OK


CONFIGURED = PROGRAMS["configured"][0].replace("(self, base, config)", "(self, base, config: Settings)")
SETTINGS = """
from dataclasses import dataclass

@dataclass
class Settings:
    r: int
    lora_alpha: float
    style: str = "plain"

    def __post_init__(self):
        assert self.style == "plain"
"""


def test_a_configuration_is_of_the_class_that_the_code_names(tmp_path: Path) -> None:
    report = run(tmp_path, SETTINGS + CONFIGURED)
    assert verdicts(report, "program.py")["trained scale"] is Verdict.OK


def test_a_class_that_others_complete_is_run_as_one_of_them(tmp_path: Path) -> None:
    source = PROGRAMS["constructed"][0].replace("return self.linear(x)", "return self.base()(x)")
    heir = "\nclass Real(LoRALinear):\n    def base(self):\n        return self.linear\n"
    report = run(tmp_path, source + heir)
    assert verdicts(report, "program.py")["trained scale"] is Verdict.OK


KOHYA_MODULE = """
import torch

class LoRAModule(torch.nn.Module):
    def __init__(self, lora_name, org_module, multiplier=1.0, lora_dim=4, alpha=1):
        super().__init__()
        self.lora_down = torch.nn.Linear(org_module.in_features, lora_dim, bias=False)
        self.lora_up = torch.nn.Linear(lora_dim, org_module.out_features, bias=False)
        self.scale = alpha / lora_dim
        self.multiplier = multiplier
        self.org_module = org_module

    def apply_to(self):
        self.org_forward = self.org_module.forward
        self.org_module.forward = self.forward
        del self.org_module

    def forward(self, x):
        return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.multiplier * self.scale
"""
HELD_WEIGHT = """
import torch

class LinearLoRA(torch.nn.Module):
    def __init__(self, weight, lora_dim, lora_alpha):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)
        self.lora_right_weight = None
        self.lora_A = torch.nn.Parameter(torch.zeros(lora_dim, weight.shape[1]))
        self.lora_B = torch.nn.Parameter(torch.zeros(weight.shape[0], lora_dim))
        self.lora_scaling = lora_alpha / lora_dim

    def forward(self, x):
        return x @ self.weight.T + x @ self.lora_A.T @ self.lora_B.T * self.lora_scaling
"""


@pytest.mark.parametrize("source", [KOHYA_MODULE, HELD_WEIGHT], ids=["takes a layer's place", "weight alone"])
def test_layers_are_made_in_many_ways(source: str, tmp_path: Path) -> None:
    report = run(tmp_path, source)
    found = verdicts(report, "program.py")
    assert found["trained scale"] is found["adapter A, then B, then A"] is Verdict.OK
    assert [row for row in report.rows if row.is_failure] == []


def test_sketches_say_what_the_map_says(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAMS["peft-like"][0])
    found = {(item.place.name, item.place.action): item for item in sketches_of(tmp_path)}
    forward = found["Linear.forward", "forward"]  # type: ignore[index]
    assert forward.place.owner == "Linear"
    assert forward.merge == "merge"
    assert forward.unmerge == "unmerge"
    assert "alpha" in forward.place.formula


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "program.py").write_text(PLAIN)
    assert cli.run(["verify", str(tmp_path), "--seed", "1"]) == 0
    assert "program.py:6 lora_forward (forward)" in capsys.readouterr().out
    assert cli.run(["verify", str(tmp_path), "--driver", "harness"]) == 0
    (tmp_path / "program.py").write_text("x = 1\n")
    assert cli.run(["verify", str(tmp_path), "--driver", "harness"]) == 2


def test_drivers_are_used_without_the_analysis() -> None:
    program = "import sys, lorascale_lint.verify.run; sys.exit('libcst' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_layer_that_keeps_a_class(tmp_path: Path) -> None:
    """A class has the methods of its objects, and no tensors."""
    source = PROGRAMS["constructed"][0].replace(
        "super().__init__()", "super().__init__(); self.kind = nn.Linear"
    )
    assert "self.kind" in source
    report = run(tmp_path, source)
    assert verdicts(report, "program.py")["trained scale"] is Verdict.OK


def test_a_stand_in_is_not_there_for_who_only_looks(tmp_path: Path) -> None:
    """A library that uses a package if it is there must not meet the stand-in of one that is not."""
    (tmp_path / "looks.py").write_text(
        "import importlib.util\n\nassert importlib.util.find_spec('a_package_that_is_nowhere') is None\n"
    )
    report = run(tmp_path, f"import a_package_that_is_nowhere as gone\nimport looks\n{PLAIN}")
    found = [row for row in report.rows if row.group.startswith("program.py")]
    assert {row.verdict for row in found} <= {Verdict.OK, Verdict.OBSERVED}


def test_a_name_that_an_installed_package_lacks_is_stubbed(tmp_path: Path) -> None:
    report = run(tmp_path, f"from yaml import a_name_of_another_version as gone\n{PLAIN}")
    assert {row.verdict for row in report.rows} <= {Verdict.OK, Verdict.OBSERVED}
    assert report.target.stubs["yaml"] == ("a_name_of_another_version",)


APPLIED = """
class Lora:
    def __init__(self, rank, alpha, lora_A=None, lora_B=None):
        self.rank, self.alpha = rank, alpha
        self.lora_A, self.lora_B = lora_A, lora_B

    def apply(self, x, out):
        return out + (x @ self.lora_A.T @ self.lora_B.T) * (self.alpha / self.rank)
"""


def test_a_method_that_is_given_the_output_of_the_base(tmp_path: Path) -> None:
    report = run(tmp_path, APPLIED)
    assert verdicts(report, "program.py")["trained scale"] is Verdict.OK, report.rows


SIZED = """
import torch
from torch import nn

class LoraLinear(nn.Module):
    def __init__(self, in_features, out_features, bias, r, lora_alpha):
        super().__init__()
        if bias:
            raise NotImplementedError
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.lora_A = nn.Parameter(torch.empty(r, in_features))
        self.lora_B = nn.Parameter(torch.empty(out_features, r))
        self.scaling = lora_alpha / r

    def forward(self, x):
        return x @ self.weight.T + self.scaling * (x @ self.lora_A.T @ self.lora_B.T)
"""


def test_a_bias_beside_sizes_is_a_flag(tmp_path: Path) -> None:
    assert verdicts(run(tmp_path, SIZED), "program.py")["trained scale"] is Verdict.OK
