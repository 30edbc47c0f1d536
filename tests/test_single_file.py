"""A commit hook gives one file: what is found in it is what a run over the whole project finds there."""

from __future__ import annotations

import random
from pathlib import Path
from textwrap import dedent

import pytest

from lorascale_lint.engine import lint
from lorascale_lint.findings import Finding
from lorascale_lint.linking.companions import companions
from lorascale_lint.linking.program import Program
from lorascale_lint.sources.texts import Texts

PROJECT = {
    "pkg/__init__.py": "",
    "pkg/layers/__init__.py": "",
    "pkg/layers/adapter.py": """
import torch


class LoRALinear:
    def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
        self.base_layer = base_layer
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.merged = False
        self.disable_lora = False

    def set_lora_weights(self, A, B, lora_alpha=None):
        self.lora_A = A
        self.lora_B = B
        self.lora_rank = A.shape[0]
        self.lora_alpha = lora_alpha if lora_alpha is not None else A.shape[0]

    def merge_lora_weights(self):
        self.base_layer.weight.data += self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)
        self.merged = True

    def unmerge_lora_weights(self):
        if self.disable_lora:
            return
        self.base_layer.weight.data -= self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)
        self.merged = False
""",
    "pkg/loader.py": """
from safetensors.torch import load_file

from pkg.layers.adapter import LoRALinear
from pkg.names import normal


class LoRAPipeline:
    def convert(self, modules, rank, lora_alpha):
        self.layers = {name: LoRALinear(module, rank, lora_alpha) for name, module in modules.items()}

    def load_adapter(self, adapter_name, path):
        self.adapters[adapter_name] = {}
        for key, tensor in load_file(path).items():
            self.adapters[adapter_name][normal(key)] = tensor
        for name, layer in self.layers.items():
            if name + ".lora_A" in self.adapters[adapter_name]:
                layer.set_lora_weights(
                    self.adapters[adapter_name][name + ".lora_A"],
                    self.adapters[adapter_name][name + ".lora_B"],
                )
                layer.merge_lora_weights()
            else:
                layer.disable_lora = True
""",
    "pkg/names.py": '''
def normal(key):
    """The name of a LoRA factor without what stands around it."""
    return key.removeprefix("transformer.").removesuffix(".weight")
''',
    "pkg/merge.py": """
def merge_into(weight, lora_A, lora_B, alpha, rank, strength=1.0):
    scale = alpha / rank
    weight += strength * scale * (lora_B @ lora_A)
    return weight
""",
    "pkg/tool.py": """
from pkg.merge import merge_into


def merge_all(weights, adapter, alpha, rank):
    for name, weight in weights.items():
        merge_into(weight, adapter[name + ".lora_A"], adapter[name + ".lora_B"], alpha, rank)
""",
    "pkg/plain.py": "def area(width, height):\n    return width * height\n",
}
WORDS = (
    "lora_alpha / self.lora_rank",
    "alpha / rank",
    "strength * ",
    "scale * ",
    ' + ".lora_A"',
    "is not None",
)
OTHERS = ("1.0", "rank / alpha", "self.lora_alpha", "2 * ", "")


def _written(folder: Path) -> list[Path]:
    files = []
    for name, text in PROJECT.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        files.append(path)
    return files


def _changed(text: str, chance: random.Random) -> str:
    """The text with a row taken out, twice, or with another word for one."""
    rows = text.splitlines(keepends=True)
    index = chance.randrange(len(rows)) if rows else 0
    match chance.randrange(3):
        case 0:
            return "".join(rows[:index] + rows[index + 1 :])
        case 1:
            return "".join(rows[: index + 1] + rows[index:])
        case _:
            return text.replace(chance.choice(WORDS), chance.choice(OTHERS), 1)


def _in(path: Path, findings: tuple[Finding, ...]) -> list[tuple[str, str, str, str]]:
    return [(f.code, str(f.span), f.message, f.confidence) for f in findings if f.span.filename == str(path)]


@pytest.mark.parametrize("seed", range(10))
def test_one_changed_file_is_judged_as_in_a_run_over_the_project(tmp_path: Path, seed: int) -> None:
    files = _written(tmp_path)
    chance = random.Random(seed)
    for _ in range(20):
        path = chance.choice(files)
        before = path.read_text()
        path.write_text(_changed(before, chance))
        alone = lint([path], [file for file in files if file != path])
        assert _in(path, alone.findings) == _in(path, lint(files, []).findings), path.read_text()
        path.write_text(before)


def test_the_layer_of_a_loader_is_looked_at_beside_it(tmp_path: Path) -> None:
    files = _written(tmp_path)
    loader = tmp_path / "pkg/loader.py"
    found = {f.code for f in lint([loader], [file for file in files if file != loader]).findings}
    assert "LS301" in found


@pytest.mark.parametrize(
    ("statement", "imports"),
    [
        ("from pkg.layers.adapter import LoRALinear", True),
        ("from .layers import (\n    adapter,  # the layers\n)", True),
        ("if True:\n    import pkg.layers.adapter as layers", True),
        ("# Copied from pkg.layers.adapter.LoRALinear", False),
        ("NAMES = ['adapter', 'lora']", False),
    ],
)
def test_files_that_import_the_changed_one_are_looked_at_beside_it(statement: str, imports: bool) -> None:
    """One that only speaks of it in a comment or a text is not even parsed."""
    text = f'"""LoRA."""\n\n{statement}\n'
    texts = Texts(
        {Path(name): source.encode() for name, source in (PROJECT | {"pkg/other.py": text}).items()}
    )
    modules = {name: name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in texts}
    program = Program(texts, modules)
    assert ("pkg/other.py" in companions(program, texts, ["pkg/layers/adapter.py"])) is imports
    assert ("pkg/other.py" in {file.filename for file in program.parsed()}) is imports


@pytest.mark.parametrize(
    ("statement", "takes"),
    [
        ("from pkg.tools import area", False),
        ("from pkg.tools import SIZE as size", False),
        ("from pkg.tools import area, merged", True),
        ("from pkg.tools import outer", True),
        ("from pkg.tools import LIMIT", True),
        ("from pkg.tools import borrowed", True),
        ("from pkg.tools import *", True),
        ("from pkg import tools", True),
    ],
)
def test_files_that_take_nothing_of_lora_from_the_changed_one_are_not_looked_at(
    statement: str, takes: bool
) -> None:
    """What they take may only use something of LoRA, or come from another file."""
    tools = """
    from pkg.elsewhere import borrowed

    SIZE = 3
    LIMIT = len("lora_alpha")

    def area(width, height):
        return width * height * SIZE

    def merged(weight, lora_A, lora_B, alpha, rank):
        return weight + alpha / rank * (lora_B @ lora_A)

    def outer(*given):
        return inner(*given)

    def inner(*given):
        return merged(*given)
    """
    project = {"pkg/tools.py": dedent(tools), "pkg/other.py": f'"""LoRA."""\n\n{statement}\n'}
    texts = Texts({Path(name): source.encode() for name, source in project.items()})
    program = Program(texts, {name: name.removesuffix(".py").replace("/", ".") for name in texts})
    assert ("pkg/other.py" in companions(program, texts, ["pkg/tools.py"])) is takes
