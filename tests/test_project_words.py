"""`[knowledge]` in the settings: words and interfaces of a project, for `check` and `map`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import lorascale_lint
from lorascale_lint import cli
from lorascale_lint.config import Configs, read_config
from lorascale_lint.knowledge.interfaces import StrengthArgument, strength_arguments
from lorascale_lint.knowledge.project import Words, in_force, joined, use
from lorascale_lint.knowledge.roles import key_role, role_of
from lorascale_lint.server.checks import Checks

LAYER = """\
class LoRALinear(nn.Module):
    def __init__(self, base, rank, kappa):
        super().__init__()
        self.base, self.rank, self.kappa = base, rank, kappa
        self.lora_A = nn.Parameter(torch.zeros(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * (self.kappa / self.rank)


def merge(weight, state, name):
    down, up = state[name + ".lora_down.weight"], state[name + ".lora_up.weight"]
    scale = state.get(name + ".kappa", 1.0) / down.shape[0]
    return weight + scale * (up @ down)
"""
KAPPA = 'knowledge.roles.kappa = "alpha"\n'


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the layer, in which the commands run."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "lora.py").write_text("import torch\nfrom torch import nn\n\n\n" + LAYER)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield folder
    use(Words())


def checked(capsys: pytest.CaptureFixture[str], *args: str) -> list[str]:
    capsys.readouterr()
    cli.run(["check", "--output-format=json", *args])
    return [item["name"] for item in json.loads(capsys.readouterr().out)]


def mapped(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    capsys.readouterr()
    assert cli.run(["map", *args]) == 0
    return capsys.readouterr().out


def test_a_word_gives_the_layer_its_formula(project, capsys):
    assert "LoRALinear.forward: unknown\n            not known: kappa" in mapped(capsys)
    (project / "lorascale-lint.toml").write_text(KAPPA)
    assert "LoRALinear.forward: alpha / rank" in mapped(capsys)
    assert "alpha" in mapped(capsys, "--at", "lora.py:13")
    assert "alpha / rank" in json.dumps(lorascale_lint.build_map(".").record)


def test_a_word_gives_the_finding_and_a_new_run(project, capsys):
    """One cache answers for all these runs."""
    assert checked(capsys) == []
    settings = project / "lorascale-lint.toml"
    settings.write_text(KAPPA)
    assert checked(capsys) == ["constant-default-alpha"]
    assert checked(capsys) == ["constant-default-alpha"]
    assert [finding.name for finding in lorascale_lint.check_paths(".").findings] == [
        "constant-default-alpha"
    ]
    assert checked(capsys, "--isolated") == []
    settings.write_text('knowledge.roles.kappa = "strength"\n')
    assert checked(capsys) == []
    settings.unlink()
    assert checked(capsys) == []


def test_an_editor_sees_the_word(project):
    path = project / "lora.py"
    documents = {path: path.read_text()}
    assert "alpha / rank" not in str(Checks().applications(path, documents))
    (project / "lorascale-lint.toml").write_text(KAPPA)
    assert "alpha / rank" in str(Checks().applications(path, documents))


def test_factors_with_own_names_need_no_word_of_lora(project, capsys):
    (project / "lora.py").write_text(
        "class LowRank:\n    def merge(self):\n"
        "        self.weight += self.tall @ self.wide * (self.kappa / self.inner)\n"
    )
    assert "merge" not in mapped(capsys)
    (project / "lorascale-lint.toml").write_text(
        '[knowledge.roles]\nwide = "A"\ntall = "B"\nkappa = "alpha"\ninner = "rank"\n'
    )
    assert "LowRank.merge: alpha / rank" in mapped(capsys)


def test_a_strength_of_a_library(project, capsys):
    (project / "use.py").write_text(
        "from ourkit.lora import apply_adapter\n\n\ndef main(model, lora_rank):\n"
        "    apply_adapter(model, lora_rank)\n"
    )
    assert checked(capsys, "use.py") == []
    (project / "pyproject.toml").write_text(
        "[[tool.lorascale-lint.knowledge.strength-arguments]]\n"
        'library = "ourkit"\ncall = "apply_adapter"\nkeywords = ["weight"]\nposition = 1\n'
    )
    assert checked(capsys, "use.py") == ["rank-given-as-strength"]
    assert strength_arguments()[0] == StrengthArgument("ourkit", "apply_adapter", ("weight",), 1)


def test_a_wrong_role_is_a_wrong_setting(project, capsys):
    (project / "lorascale-lint.toml").write_text('knowledge.roles.kappa = "alfa"\n')
    for command in ("check", "map", "config"):
        assert cli.run([command]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "roles.kappa in knowledge in lorascale-lint.toml must be one of alpha, rank, scaling, " in err


def test_words_are_exact_and_come_first():
    assert (role_of("lora_alpha", False), role_of("kappa", False)) == ("alpha", None)
    use(Words((("kappa", "alpha"), ("lora_alpha", "strength"), ("γ", "scaling"))))
    assert [role_of(name, False) for name in ("kappa", "lora_alpha", "γ")] == ["alpha", "strength", "scaling"]
    assert role_of("my_kappa", True) is None
    assert key_role("blocks.0.kappa") == "alpha"
    use(Words())
    assert (role_of("lora_alpha", False), role_of("kappa", False)) == ("alpha", None)
    assert in_force() == Words()


def test_words_of_several_projects_hold_together(project):
    for name, role in (("one", "alpha"), ("two", "rank")):
        (project / name).mkdir()
        (project / name / "lorascale-lint.toml").write_text(
            f'[knowledge.roles]\nkappa = "{role}"\n{name} = "gate"\n'
        )
    paths = [project / name / "a.py" for name in ("one", "two")]
    assert Configs().words_of(paths).roles == (("kappa", "alpha"), ("one", "gate"), ("two", "gate"))
    assert joined([]) == Words()
    assert read_config(project / "one" / "lorascale-lint.toml").knowledge.roles[0] == ("kappa", "alpha")
