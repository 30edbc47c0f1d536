"""Files for CI: valid for the services that read them, and their scripts run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sys.executable).parent
EXAMPLES = ROOT / "docs" / "examples" / "ci"
INVERTED = "def merge(weight, lora_A, lora_B, alpha, rank):\n    weight += lora_B @ lora_A * (rank / alpha)\n"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the scripts are for bash")


def loaded(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        (ROOT / "action.yml", "vendor.github-actions"),
        (EXAMPLES / "github.yml", "vendor.github-workflows"),
        (EXAMPLES / "shards.yml", "vendor.github-workflows"),
        (EXAMPLES / "python-versions.yml", "vendor.github-workflows"),
        (EXAMPLES / "gitlab.yml", "vendor.gitlab-ci"),
    ],
)
def test_schema(file, schema):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_example_gives_only_inputs_that_the_action_has():
    action = loaded(ROOT / "action.yml")
    (job,) = loaded(EXAMPLES / "github.yml")["jobs"].values()
    assert job["steps"][-1]["with"].keys() <= action["inputs"].keys()


def test_every_python_that_the_package_names_has_a_job():
    names = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    versions = [
        name.rpartition(" ")[2] for name in names if name.startswith("Programming Language :: Python :: 3.")
    ]
    (job,) = loaded(EXAMPLES / "python-versions.yml")["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == versions
    assert len(versions) == 4


def test_the_dockerfile_is_clean():
    done = subprocess.run(
        [SCRIPTS / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "lora.py").write_text(INVERTED)
    return folder


def bash(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as the service does, with the command on the path."""
    settings = {
        **os.environ,
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder.parent / "cache"),
        **environment,
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)


def run_action(project: Path, paths: str, args: str) -> tuple[subprocess.CompletedProcess[str], str, Path]:
    step = next(step for step in loaded(ROOT / "action.yml")["runs"]["steps"] if step.get("id") == "check")
    outside = project.parent
    files = {name: str(outside / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    done = bash(step["run"], project, RUNNER_TEMP=str(outside), CHECK_PATHS=paths, CHECK_ARGS=args, **files)
    outputs = dict(line.split("=", 1) for line in Path(files["GITHUB_OUTPUT"]).read_text().splitlines())
    assert Path(outputs["sarif-file"]) == outside / "lorascale-lint.sarif"
    return done, outputs["code"], Path(files["GITHUB_STEP_SUMMARY"])


def test_the_script_of_the_action(project):
    done, code, summary = run_action(project, "src", "--select LS1")
    assert (done.returncode, code, done.stderr) == (0, "1", "")
    assert done.stdout.startswith("::error title=LS111 inverted-scale,file=src/lora.py,line=2,")
    assert "| src/lora.py:2 | LS111 inverted-scale |" in summary.read_text()
    report = json.loads((project.parent / "lorascale-lint.sarif").read_text())
    assert [item["ruleId"] for item in report["runs"][0]["results"]] == ["LS111"]


def test_inputs_of_the_action_are_no_code(project):
    done, code, _ = run_action(project, "src $(touch here) ; touch there", "")
    assert code == "2"
    assert "no such file" in done.stderr
    assert {path.name for path in project.iterdir()} == {"src"}


def test_the_script_of_the_gitlab_example(project):
    (script,) = loaded(EXAMPLES / "gitlab.yml")["lorascale-lint"]["script"]
    done = bash(script, project)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    (issue,) = json.loads((project / "gl-code-quality-report.json").read_text())
    assert issue["location"]["path"] == "src/lora.py"


def test_the_script_of_the_gitlab_example_on_a_merge_request(project):
    identity = "-c user.name=A -c user.email=a@example.org -c init.defaultBranch=main"
    bash(f"git init -q; git add .; git {identity} commit -qm Start", project)
    bash("git update-ref refs/remotes/origin/main HEAD", project)
    (script,) = loaded(EXAMPLES / "gitlab.yml")["lorascale-lint"]["script"]
    done = bash(script, project, CI_MERGE_REQUEST_TARGET_BRANCH_NAME="main")
    assert (done.returncode, done.stderr) == (0, "")
    (project / "src" / "new.py").write_text(INVERTED)
    assert bash(script, project, CI_MERGE_REQUEST_TARGET_BRANCH_NAME="main").returncode == 1


def test_the_pre_commit_example_uses_a_hook_that_exists():
    hooks = {hook["id"] for hook in loaded(ROOT / ".pre-commit-hooks.yaml")}
    (repo,) = loaded(EXAMPLES / "pre-commit.yml")["repos"]
    assert {hook["id"] for hook in repo["hooks"]} <= hooks


def test_the_image_is_built_of_what_it_needs():
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not {"lorascale_lint", "rules", "codemods", "pyproject.toml", "README.md", "LICENSE"} & {*ignored}
