"""The matrix: kinds of files by loaders, with loaders whose answers are known."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lorascale_lint.cli import run
from lorascale_lint.errors import InputError
from lorascale_lint.verify.file_kinds import FILE_KINDS
from lorascale_lint.verify.matrix import Matrix, Outcome, make_matrix, run_matrix
from lorascale_lint.verify.matrix_report import render_text
from lorascale_lint.verify.pictures import render_html, write_picture
from lorascale_lint.verify.report import Problem, Target, VerifyReport
from lorascale_lint.verify.steps import KeyStyle
from lorascale_lint.verify.verdicts import Row, Verdict

_LOADER = '''
import os
from safetensors.numpy import load_file

class Loader:
    """Right for kohya's dotted keys, deaf to `.alpha` of lora_A/lora_B, and worse for others."""

    layers = {"blocks.0.to_q": (72, 40), "blocks.1.ffn": (44, 88)}
    styles = ("kohya", "alpha")

    def load(self, weights, folder):
        (file,) = folder.glob("*.safetensors")
        tensors = load_file(file)
        if any(key.endswith("hada_w1_a") for key in tensors):
            os._exit(7)
        if any("lorahyphen" in key for key in tensors):
            raise KeyError("no such key")
        for name in weights:
            if f"{name}.lora_down.weight" in tensors:
                a, b = (tensors[f"{name}.lora_{half}.weight"] for half in ("down", "up"))
                weights[name] = weights[name] + tensors[f"{name}.alpha"] / len(a) * (b @ a)
            elif f"{name}.lora_A.weight" in tensors:
                a, b = (tensors[f"{name}.lora_{half}.weight"] for half in "AB")
                weights[name] = weights[name] + b @ a
'''


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    folder = tmp_path_factory.mktemp("project")
    (folder / "driver.py").write_text(_LOADER)
    return run_matrix([(folder, f"{folder / 'driver.py'}:Loader")], seed=1)


def outcomes(matrix: Matrix) -> dict[str, Outcome]:
    (column,) = matrix.columns
    return {kind: cell.outcome for kind, _ in matrix.kinds if (cell := column.cell(kind))}


def test_every_kind_of_answer_is_told_apart(matrix: Matrix) -> None:
    found = outcomes(matrix)
    assert set(found) == {title for title, _, _ in FILE_KINDS}
    assert found["lora_A/lora_B, no alpha"] is Outcome.RIGHT
    assert found["lora_down/lora_up + .alpha"] is Outcome.RIGHT
    assert found["lora_A/lora_B + .alpha"] is Outcome.WRONG
    assert found["kohya: lora_unet_ names + .alpha"] is Outcome.NOTHING
    assert found["LongCat: hyphen keys + .alpha_scale"] is Outcome.LOAD_ERROR
    assert found["LyCORIS: LoHa + .alpha"] is Outcome.CRASHED
    # The child that ended is followed by another.
    assert found["LyCORIS: LoKr + .alpha"] is Outcome.NOTHING


def test_only_what_a_loader_claims_makes_the_run_differ(matrix: Matrix) -> None:
    assert matrix.exit_code == 1
    assert [cell.row.scenario for _, cell in matrix.failures()] == ["lora_A/lora_B + .alpha"]
    # Applied at twice its strength as well, but it never claimed to know that key.
    assert outcomes(matrix)["FastVideo: lora_A/lora_B + .lora_alpha"] is Outcome.WRONG
    unclaimed = [cell.row.scenario for _, cell in matrix.unclaimed()]
    assert "FastVideo: lora_A/lora_B + .lora_alpha" in unclaimed
    text = render_text(matrix).partition("does not claim to read:")[2]
    assert all(f"{kind}: 1 instead of 0.5" in text for kind in unclaimed)


def test_the_table_is_aligned_and_says_what_differs(matrix: Matrix) -> None:
    text = render_text(matrix)
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("file "))
    place = lines[start].index("expected")
    rows = lines[start + 1 : start + 1 + len(FILE_KINDS)]
    assert [re.split(r" {2,}", line[place:])[0] for line in rows] == ["1", *["0.5"] * (len(FILE_KINDS) - 1)]
    assert "lora_A/lora_B + .alpha: 1 instead of 0.5, alpha-ignored" in text
    assert "verify executes the code it is given" in text


def test_json_carries_every_cell(matrix: Matrix) -> None:
    data = json.loads(json.dumps(matrix.as_dict(), allow_nan=False))
    (loader,) = data["loaders"]
    assert {row["scenario"]: row["outcome"] for row in loader["rows"]} == {
        kind: outcome.value for kind, outcome in outcomes(matrix).items()
    }
    assert (data["exit_code"], data["seed"], data["rank"], data["alpha"]) == (1, 1, 8, 4.0)


class _Cells(HTMLParser):
    """Class and text of every cell, and everything that would be fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[tuple[str, str]] = []
        self.foreign: list[str] = []
        self._class: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._class = dict(attrs).get("class") if tag == "td" else None
        self.foreign += [tag for name, _ in attrs if name in ("src", "href")]
        self.foreign += [tag] if tag in ("script", "link", "iframe", "img") else []

    def handle_data(self, data: str) -> None:
        if self._class:
            self.cells.append((self._class, data))
        self._class = None


def test_a_wrong_cell_of_the_page_says_so_in_words(matrix: Matrix) -> None:
    page = _Cells()
    page.feed(render_html(matrix))
    wrong = sum(outcome is Outcome.WRONG for outcome in outcomes(matrix).values())
    assert sum("WRONG" in text for _, text in page.cells) == wrong > 0
    assert {text for name, text in page.cells if name == "wrong"} == {"1 WRONG"}
    assert not page.foreign


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_read_in_light_and_dark(matrix: Matrix, scheme: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", render_html(matrix), re.DOTALL)[:2]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", light if scheme == "light" else dark))
    for ink, ground in (("ink", "page"), ("ink", "soft"), ("wrong-ink", "wrong"), ("quiet", "page")):
        assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert _contrast(colours["wrong"], colours["page"]) >= 3


def test_the_png_is_dark_where_a_cell_is_wrong(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    shares = []
    for number, verdict in enumerate((Verdict.OK, Verdict.ALPHA_IGNORED)):
        picture = tmp_path / f"{number}.png"
        write_picture(make_matrix([_report("/x", "X", "1", verdict)], 0), picture)
        # In grey, too: nothing else but letters is as dark.
        shares.append((imread(picture)[..., :3].mean(axis=-1) < 0.3).mean())
    assert shares[1] > shares[0] + 0.01


def test_a_picture_that_cannot_be_written_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a loader was run")

    monkeypatch.setattr("lorascale_lint.verify.matrix.run_verify", never)
    for picture in ("a.gif", "missing/a.png"):
        arguments = ["verify", "--matrix", str(tmp_path), "--picture", str(tmp_path / picture)]
        assert run(arguments) == 2
        assert picture in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"lorascale-lint\[picture\]"):
        write_picture(Matrix((), (), 0), tmp_path / "a.png")


@pytest.mark.parametrize(
    "arguments",
    [["--matrix", "--dtype", "bf16"], ["--matrix", "--emit-test"], ["--picture", "a.png"], ["a", "b"]],
)
def test_options_that_do_not_go_together(arguments: list[str]) -> None:
    assert run(["verify", *arguments]) == 2


def test_nothing_installed_and_nothing_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lorascale_lint.verify.registry.installed", list)
    assert run(["verify", "--matrix"]) == 3
    assert "--list-drivers" in capsys.readouterr().err


def _report(path: str, name: str, version: str, verdict: Verdict | None) -> VerifyReport:
    target = Target(path=path, name=name, version=version)
    if verdict is None:
        return VerifyReport(target, 0, problem=Problem(3, "cannot be run"))
    return VerifyReport(target, 0, rows=(Row("kind", "file", "", "", expected=0.5, verdict=verdict),))


def test_trees_of_one_version_are_told_apart() -> None:
    places = (("/a/one/x", "1"), ("/b/two/x", "1"), ("/c/three/x", "unknown"), ("/d/three/x", "unknown"))
    reports = [_report(path, "X", version, Verdict.OK) for path, version in places]
    names = [column.name for column in make_matrix(reports, 0).columns]
    assert names == ["X 1 one", "X 1 two", "X /c/three/x", "X /d/three/x"]


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([Verdict.OK, Verdict.OK], 0),
        ([Verdict.OK, Verdict.ALPHA_IGNORED], 1),
        ([Verdict.OK, None], 3),
        ([Verdict.ALPHA_IGNORED, None], 1),
        ([Verdict.NOT_MEASURED, Verdict.ALPHA_IGNORED], 2),
    ],
)
def test_exit_codes(verdicts: list[Verdict | None], code: int) -> None:
    reports = [_report(f"/{place}", "X", str(place), verdict) for place, verdict in enumerate(verdicts)]
    assert make_matrix(reports, 0).exit_code == code


_LONGCAT = """
import torch
from safetensors.torch import load_file
from ..block_sparse_attention.bsa_interface import flash_attn_bsa_3d

H = "___lorahyphen___"


class Adapter(torch.nn.Module):
    def __init__(self, linear, rank, alpha, parts):
        super().__init__()
        self.lora_down = torch.nn.Linear(linear.in_features, parts * rank, bias=False)
        ups = [torch.nn.Linear(rank, linear.out_features // parts, bias=False) for _ in range(parts)]
        self.lora_up = ups[0]
        if parts > 1:
            self.lora_up = torch.nn.Module()
            self.lora_up.blocks = torch.nn.ModuleList(ups)
        self.register_buffer("alpha_scale", torch.tensor(alpha / rank))

    def forward(self, x):
        down = self.lora_down(x)
        blocks = getattr(self.lora_up, "blocks", [self.lora_up])
        parts = zip(blocks, down.chunk(len(blocks), dim=-1))
        return torch.cat([up(part) for up, part in parts], dim=-1)


class LongCatVideoTransformer3DModel(torch.nn.Module):
    def __init__(self, hidden_size, caption_channels, **others):
        super().__init__()
        block = torch.nn.Module()
        block.attn, block.cross_attn, block.ffn = (torch.nn.Module() for _ in range(3))
        block.attn.qkv = torch.nn.Linear(hidden_size, 3 * hidden_size)
        block.cross_attn.kv_linear = torch.nn.Linear(hidden_size, 2 * hidden_size)
        block.ffn.w2 = torch.nn.Linear(256, hidden_size, bias=False)
        self.blocks = torch.nn.ModuleList([block])
        self.y_embedder = torch.nn.Module()
        self.y_embedder.y_proj = torch.nn.Sequential(torch.nn.Linear(caption_channels, hidden_size))
        self.lora_dict, self.active_loras = {}, []

    def load_lora(self, lora_path, lora_key, multiplier=1.0, lora_network_dim=128, lora_network_alpha=64):
        tensors, network = load_file(lora_path), torch.nn.Module()
        for key in tensors:
            name, found, _ = key.partition(".lora_down.weight")
            if found and name.startswith("lora" + H):
                linear = self.get_submodule(name.removeprefix("lora" + H).replace(H, "."))
                parts = sum(other.startswith(name + ".lora_up.blocks.") for other in tensors) or 1
                network.add_module(name, Adapter(linear, lora_network_dim, lora_network_alpha, parts))
        network.load_state_dict(tensors, strict=True)
        self.lora_dict[lora_key] = (network, multiplier)

    def disable_all_loras(self):
        for module in self.modules():
            if hasattr(module, "org_forward"):
                module.forward = module.org_forward
                del module.org_forward
        self.active_loras.clear()

    def enable_loras(self, keys):
        self.disable_all_loras()
        for key in keys:
            network, multiplier = self.lora_dict[key]
            for name, adapter in network.named_children():
                linear = self.get_submodule(name.removeprefix("lora" + H).replace(H, "."))
                linear.org_forward = before = linear.forward
                linear.forward = lambda x, before=before, adapter=adapter, multiplier=multiplier: (
                    before(x) + adapter(x) * multiplier SCALE
                )
            self.active_loras.append(key)
"""


@pytest.mark.parametrize(("scale", "outcome"), [("* adapter.alpha_scale", "right"), ("", "wrong")])
def test_a_loader_like_longcat(scale: str, outcome: str, tmp_path: Path) -> None:
    for module in ("torch", "diffusers", "einops"):
        pytest.importorskip(module)
    code = tmp_path / "longcat_video" / "modules"
    code.mkdir(parents=True)
    (code / "lora_utils.py").touch()
    (code / "longcat_video_dit.py").write_text(_LONGCAT.replace("SCALE", scale))
    found = outcomes(run_matrix([(tmp_path, None)], seed=1))
    others = {kind: answer for kind, answer in found.items() if not kind.startswith("LongCat")}
    assert found["LongCat: hyphen keys + .alpha_scale"] == outcome
    # A strict load takes no file of another kind.
    assert set(others.values()) == {Outcome.LOAD_ERROR}


def test_key_styles_of_the_kinds_are_all_there_are() -> None:
    assert {style for _, style, _ in FILE_KINDS} == set(KeyStyle)
