"""Rules of other packages: the example is installed and used; what can't be used is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from lorascale_lint import cli, plug_ins
from lorascale_lint.plug_ins import PlugInError, digest_of, rules_of_plug_ins
from lorascale_lint.rule import Rule, all_rules

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "house_rules"
MERGES = """\
def merge_delta(weight, lora_A, lora_B, alpha, rank):
    weight += lora_B @ lora_A * (alpha / rank)


def load(weight, lora_A, lora_B, alpha, rank):
    weight += lora_B @ lora_A * (alpha / rank)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example, installed by pip."""
    source = tmp_path_factory.mktemp("source") / "house_rules"
    shutil.copytree(EXAMPLE, source)
    target = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*command, "--target", str(target), str(source)], check=True)
    return target


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    all_rules.cache_clear()
    yield project
    all_rules.cache_clear()
    sys.modules.pop("house_rules", None)


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.run(list(args))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_example_reports_like_any_rule(installed, capsys):
    Path("lora.py").write_text(MERGES)
    code, out, err = run(capsys, "--output-format", "json")
    assert (code, err) == (1, "")
    (item,) = json.loads(out)
    assert (item["code"], item["name"], item["location"]["row"]) == ("HOUSE001", "merge-elsewhere", 6)
    assert run(capsys, "--ignore", "merge-elsewhere", "-q") == (0, "", "")
    assert run(capsys, "--select", "HOUSE", "-q")[0] == 1
    assert run(capsys, "--select", "LS", "-q") == (0, "", "")


@pytest.mark.parametrize("comment", ["lorascale: ignore[HOUSE001]", "noqa: HOUSE001"])
def test_it_is_silenced_like_any_rule(installed, capsys, comment):
    Path("lora.py").write_text(MERGES[:-1] + f"  # {comment}\n")
    assert run(capsys, "-q") == (0, "", "")


def test_it_has_a_page(installed, capsys):
    code, out, _ = run(capsys, "rule", "HOUSE001")
    assert code == 0
    assert out.startswith("# merge-elsewhere (HOUSE001)\n\nMerge outside of `merge_delta`\n")


def test_a_kept_result_is_forgotten_when_the_rule_changes(installed, capsys, monkeypatch):
    Path("lora.py").write_text(MERGES)
    assert run(capsys, "-q")[0] == 1
    before = digest_of(all_rules())
    monkeypatch.setattr(Path, "read_bytes", lambda self, read=Path.read_bytes: read(self) + b"#")
    assert digest_of(all_rules()) != before


def entry(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = (EntryPoint("bad", value, plug_ins.GROUP),)
    monkeypatch.setattr(plug_ins, "entry_points", lambda group: found)


class Colliding(Rule):
    """A rule"""

    code, name = "HOUSE001", "unscaled-merge"


class Reserved(Rule):
    """A rule"""

    code, name = "LS999", "a-rule"


class Nameless(Rule):
    """A rule"""

    code = "HOUSE002"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_module", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
        ("pathlib:Path", "is neither a rule nor a module of rules"),
        (f"{__name__}:Colliding", ": 'unscaled-merge' is taken"),
        (f"{__name__}:Reserved", ": the code 'LS999' must be two to eight capitals"),
        (f"{__name__}:Nameless", ": the name '' must be small words"),
    ],
)
def test_what_cannot_be_used_is_named(monkeypatch, value, why):
    own = [item for item in all_rules() if item.code == "LS101"]
    entry(value, monkeypatch)
    with pytest.raises(PlugInError) as error:
        rules_of_plug_ins(own)
    assert str(error.value).startswith(f"{value}: entry point 'bad'")
    assert why in str(error.value)
