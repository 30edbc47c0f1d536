"""What is built is what is in the tree, and it works without the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import lorascale_lint

ROOT = Path(__file__).parents[1]
SOURCES = {
    "lorascale_lint": "lorascale_lint",
    "rules": "lorascale_lint/rules",
    "codemods": "lorascale_lint/codemods",
}


def tracked() -> list[str]:
    """Files that git knows or would add, as in a commit of the tree as it is."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).exists())


def package_files(names: list[str]) -> set[str]:
    """Names in the wheel of the package's files in the tree."""
    return {
        f"{SOURCES[folder]}/{rest}"
        for folder, _, rest in (name.partition("/") for name in names)
        if folder in SOURCES and rest.endswith((".py", "py.typed"))
    }


def wheel_files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if name.startswith("lorascale_lint/")}


def copy_tree(target: Path) -> Path:
    for name in tracked():
        if (ROOT / name).is_symlink() or (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name, follow_symlinks=False)
    return target


def build(tree: Path, out: Path) -> tuple[Path, Path]:
    """An sdist of the tree, and the wheel made of that sdist."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(copy_tree(tmp_path_factory.mktemp("tree")), tmp_path_factory.mktemp("dist"))


def test_the_wheel_holds_every_file_of_the_package_and_no_other(built):
    assert wheel_files(built[1]) == package_files(tracked())


def test_a_sub_package_that_is_not_listed_is_noticed(tmp_path):
    tree = copy_tree(tmp_path / "tree")
    for folder in ("rules/extra", "lorascale_lint/extra"):
        (tree / folder).mkdir()
        (tree / folder / "__init__.py").touch()
    _, wheel = build(tree, tmp_path / "dist")
    expected = package_files([*tracked(), "rules/extra/__init__.py", "lorascale_lint/extra/__init__.py"])
    assert expected - wheel_files(wheel) == {
        "lorascale_lint/rules/extra/__init__.py",
        "lorascale_lint/extra/__init__.py",
    }


def test_a_clone_without_symlinks_builds_the_same_wheel(tmp_path, built):
    tree = copy_tree(tmp_path / "tree")
    for name in ("rules", "codemods"):
        link = tree / "lorascale_lint" / name
        link.unlink()
        link.write_text(f"../{name}")
    assert wheel_files(build(tree, tmp_path / "dist")[1]) == wheel_files(built[1])


def test_metadata(built):
    sdist, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
        (entry,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "lorascale-lint = lorascale_lint.__main__:main" in archive.read(entry).decode()
    assert f"Version: {lorascale_lint.__version__}\n" in text
    assert "License-Expression: Apache-2.0\n" in text
    core = [
        line.split(": ")[1]
        for line in text.splitlines()
        if line.startswith("Requires-Dist") and ";" not in line
    ]
    assert sorted(item.split(">=")[0] for item in core) == [
        "click",
        "libcst",
        "numpy",
        "platformdirs",
        "safetensors",
    ]
    assert all("<" not in item for item in core)  # an upper pin would force old versions on others
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("/rules/__init__.py") for name in archive.getnames())


def test_every_module_imports_from_the_wheel_alone(built, tmp_path):
    with zipfile.ZipFile(built[1]) as archive:
        archive.extractall(tmp_path)
    program = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import lorascale_lint
assert lorascale_lint.__file__.startswith(sys.argv[1])
names = {info.name for info in pkgutil.walk_packages(lorascale_lint.__path__, "lorascale_lint.")}
for name in sorted(names - {"lorascale_lint.__main__"}):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # the optional extras
        room = name.split(".")[1]
        assert (room, error.name) in {("verify", "torch"), ("server", "lsprotocol")}, (name, error)
assert {"lorascale_lint.rules", "lorascale_lint.codemods"} <= names
second = {name for name in sys.modules if name.partition(".")[0] in ("rules", "codemods")}
assert not second, second
from lorascale_lint import cli
sys.exit(cli.run(["--version"]))
"""
    command = [sys.executable, "-I", "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=Path("/"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_listed_packages_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]
    assert packages == sorted(packages)
    for name in packages:
        folder = ROOT / name.replace("lorascale_lint.rules", "rules").replace(
            "lorascale_lint.codemods", "codemods"
        ).replace(".", "/")
        assert (folder / "__init__.py").is_file(), name


def test_pins_satisfy_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = (ROOT / "constraints-dev.txt").read_text().splitlines()
    pins = dict(row.split("==") for row in rows if row and not row.startswith("#"))
    assert pins["torch"] == "2.13.0"
    for extra in ("dev", "fastvideo"):
        for requirement in project["optional-dependencies"][extra]:
            assert requirement.split(">=")[0] in pins
