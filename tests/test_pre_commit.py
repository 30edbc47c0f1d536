"""The hooks, with the real pre-commit on a real git repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_packaging import copy_tree

# Each run installs the hook anew; tests/test_hook.py runs the same command without that.
pytestmark = [pytest.mark.network, pytest.mark.slow]

LAYER = """\
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base_layer, lora_A, lora_B, lora_alpha, lora_rank):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_alpha = lora_alpha
        self.lora_rank = lora_rank

    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        return self.base_layer(x) + delta * (self.lora_alpha / self.lora_rank)
"""
BARE_MERGE = """
    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A
"""
HELPER = "def product(lora_B, lora_A):\n    return lora_B @ lora_A\n"
LINKED_MERGE = """
    def merge(self):
        self.base_layer.weight.data += product(self.lora_B, self.lora_A)
"""


class Repository:
    """A git repository that uses the hooks of this one."""

    def __init__(self, folder: Path, home: Path, hooks: Path) -> None:
        self.folder = folder
        self.hooks = hooks
        scripts = Path(sys.executable).parent
        self.environment = {
            **os.environ,
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "PRE_COMMIT_HOME": str(home / "pre-commit"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.org",
        }
        self.environment.pop("PYTHONPATH", None)  # the hook must find its own copy
        folder.mkdir()
        self.git("init", "-q", "-b", "main")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )

    def git(self, *args: str) -> str:
        done = self.run("git", *args)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def use(self, hook: str) -> None:
        revision = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=self.hooks, capture_output=True, text=True, check=True
        ).stdout.strip()
        (self.folder / ".pre-commit-config.yaml").write_text(
            f"repos:\n- repo: {self.hooks.as_uri()}\n  rev: {revision}\n  hooks:\n  - id: {hook}\n"
        )
        self.git("add", ".")
        self.git("commit", "-q", "--no-verify", "-m", f"Use {hook}")
        assert self.run(sys.executable, "-m", "pre_commit", "install").returncode == 0

    def commit(self, **files: str) -> subprocess.CompletedProcess[str]:
        """Try to commit these files, through the hooks."""
        for name, content in files.items():
            path = self.folder / "pkg" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        self.git("add", ".")
        return self.run("git", "commit", "-q", "-m", "Change")


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit of this tree as it is, for pre-commit clones commits only."""
    tree = copy_tree(tmp_path_factory.mktemp("hooks"))
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "--no-verify", "-m", "All"]):
        subprocess.run([*git, *command], cwd=tree, check=True)
    return tree


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def repository(tmp_path: Path, home: Path, hooks: Path) -> Repository:
    return Repository(tmp_path / "repository", home, hooks)


def test_a_commit_with_a_planted_bug_is_refused(repository, home):
    repository.use("lorascale-lint")
    assert repository.commit(layer=LAYER, other="x = 1\n").returncode == 0
    refused = repository.commit(layer=LAYER + BARE_MERGE)
    assert refused.returncode == 1
    assert "pkg/layer.py:18:9 LS101 unscaled-merge" in refused.stdout
    assert (repository.folder / "pkg" / "layer.py").read_text() == LAYER + BARE_MERGE
    assert "pkg/layer.py" in repository.git("status", "--short")

    environments = list((home / "pre-commit").glob("repo*/py_env-*"))
    assert len(environments) == 1
    installed = {
        path.name.partition("-")[0] for path in environments[0].glob("lib/python*/site-packages/*.dist-info")
    }
    assert "lorascale_lint" in installed
    assert "libcst" in installed
    assert not installed & {"torch", "diffusers", "transformers"}


def test_the_fixing_hook_repairs_it(repository):
    repository.use("lorascale-lint-fix")
    refused = repository.commit(layer=LAYER + BARE_MERGE)
    assert refused.returncode == 1
    assert "files were modified by this hook" in refused.stdout
    fixed = (repository.folder / "pkg" / "layer.py").read_text()
    assert "self.base_layer.weight.data += self.lora_B @ self.lora_A\n" not in fixed
    assert repository.commit().returncode == 0
    assert repository.git("show", "HEAD:pkg/layer.py") == fixed


def test_files_that_are_not_passed_are_read_for_linking(repository):
    repository.use("lorascale-lint")
    layer = "from pkg.helper import product\n" + LAYER
    assert repository.commit(__init__="", helper=HELPER, layer=layer).returncode == 0
    refused = repository.commit(layer=layer + LINKED_MERGE)
    assert refused.returncode == 1
    assert "LS101 unscaled-merge" in refused.stdout


def test_excludes_hold_for_the_files_that_pre_commit_passes(repository):
    (repository.folder / "pyproject.toml").write_text('[tool.lorascale-lint]\nexclude = ["pkg/layer.py"]\n')
    repository.use("lorascale-lint")
    assert repository.commit(layer=LAYER + BARE_MERGE).returncode == 0


def test_try_repo(repository, hooks):
    repository.commit(layer=LAYER + BARE_MERGE)
    command = [sys.executable, "-m", "pre_commit", "try-repo", str(hooks), "lorascale-lint", "--all-files"]
    done = repository.run(*command)
    assert done.returncode == 1, done.stdout
    assert "pkg/layer.py:18:9 LS101 unscaled-merge" in done.stdout
