"""No process that lints runs code of the linted project, wherever Python would look for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lorascale_lint.isolation import leave_out, trusted_path
from tests.projects import write_files

PLANTED = "open({marker!r}, 'a').write(__name__ + '\\n')\nraise ImportError(__name__)\n"
LAYER = """\
class LoRALinear:
    def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha

    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A
"""


def plant(folder: Path) -> Path:
    """A file in the place of every module; each writes its name to the file that is returned."""
    marker = folder.parent / "marker"
    names = {
        *sys.stdlib_module_names,
        "click",
        "libcst",
        "numpy",
        "platformdirs",
        "safetensors",
        "yaml",
        "typing_extensions",
    }
    names |= {"sitecustomize", "usercustomize", "yaml_ft", "org/python/core"}
    for name in names - {"encodings"}:  # Python does not start without
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PLANTED.format(marker=str(marker)))
    return marker


def spare_python_itself(folder: Path, marker: Path, **environment: str) -> None:
    """Remove what Python imports before any program: ``runpy`` for ``-m``, ``re`` for a command."""
    while True:
        run(folder, "-c", "import runpy, re", **environment)
        if not marker.exists():
            return
        for name in marker.read_text().split():
            (folder / f"{name}.py").unlink(missing_ok=True)
        marker.unlink()


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A project with some LoRA files."""
    project = tmp_path / "project"
    project.mkdir()
    write_files(project, {f"layer_{i:02}.py": LAYER for i in range(3)})
    return project


def run(project: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={**kept, "HOME": str(project.parent), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


SCRIPT = "from lorascale_lint.__main__ import main\nmain()\n"
"""What an installed command does."""


COMMANDS = {
    "check": ("check", "--no-cache"),
    "map": ("map",),
    "worker processes": ("check", "--no-cache", "--executor", "processes:2"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_in_a_hostile_folder_runs_nothing_of_it(hostile: Path, tmp_path: Path, name: str) -> None:
    marker = plant(hostile)
    script = tmp_path / "bin" / "lorascale-lint"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    done = run(hostile, str(script), *COMMANDS[name], ".")
    assert not marker.exists(), marker.read_text()
    assert (done.returncode, done.stderr) == (0 if name == "map" else 1, "")


@pytest.mark.parametrize(
    "entry", [".", "", "{project}", "{project}/src"], ids=["dot", "empty", "root", "src"]
)
def test_python_path_into_the_project(hostile: Path, tmp_path: Path, entry: str) -> None:
    path = entry.format(project=hostile) + os.pathsep + str(tmp_path / "nowhere")
    folder = hostile / "src" if entry.endswith("src") else hostile
    folder.mkdir(exist_ok=True)
    marker = plant(folder)
    spare_python_itself(folder, marker, PYTHONPATH=path)
    script = tmp_path / "lint.py"
    script.write_text(SCRIPT)
    start = tmp_path if "{" in entry else hostile
    done = run(start, str(script), str(hostile), "-q", "--no-cache", PYTHONPATH=path)
    assert not marker.exists(), marker.read_text()
    assert (done.returncode, done.stderr) == (1, "")


def test_python_dash_m(hostile: Path) -> None:
    marker = plant(hostile)
    spare_python_itself(hostile, marker)
    done = run(hostile, "-m", "lorascale_lint", "-q", "--no-cache", ".")
    assert not marker.exists(), marker.read_text()
    assert (done.returncode, done.stderr) == (1, "")


def test_the_user_site_is_not_used(hostile: Path, tmp_path: Path) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = tmp_path / ".local" / "lib" / version / "site-packages"
    site.mkdir(parents=True)
    marker = plant(site)
    spare_python_itself(site, marker, PYTHONPATH=str(site))
    script = tmp_path / "lint.py"
    script.write_text(SCRIPT)
    done = run(hostile, str(script), "-q", "--no-cache", ".", PYTHONPATH=str(site))
    assert not marker.exists(), marker.read_text()
    assert (done.returncode, done.stderr) == (1, "")


# ---- the path -------------------------------------------------------------------------------


def test_environments_below_the_project_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / ".venv" / "lib" / "site-packages"
    monkeypatch.setattr("site.getsitepackages", lambda: [str(inside)])
    monkeypatch.chdir(tmp_path)
    assert trusted_path(["", ".", str(tmp_path), str(tmp_path / "src"), str(inside)])[0] == str(inside)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "src"), str(inside)])
    leave_out(str(tmp_path))
    assert sys.path == [str(inside)]


def test_a_dependency_that_only_the_user_site_has_is_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "user" / "click").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.setattr("site.getusersitepackages", lambda: str(tmp_path / "user"))
    monkeypatch.setattr("site.getsitepackages", list)
    monkeypatch.chdir(tmp_path / "here")
    library = str(Path(os.__file__).parent)
    assert trusted_path([str(tmp_path / "user"), library])[:2] == [library, str(tmp_path / "user")]
