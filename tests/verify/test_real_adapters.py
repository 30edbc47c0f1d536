"""`verify --adapter`: every module of an adapter file through a loader."""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lorascale_lint import cli
from lorascale_lint.adapters.header import read_header
from lorascale_lint.verify import timing
from lorascale_lint.verify.protocol import Unsupported
from lorascale_lint.verify.real_adapters import BaseWeights, layer_name, read_modules, read_tensor
from lorascale_lint.verify.report import VerifyReport, render_json, render_text
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Verdict

HERE = Path(__file__).parent
DRIVER = f"{HERE / 'tiny_driver.py'}:ENTRY"
SHAPES = {"blocks.0.to_q": (30, 20), "blocks.0.to_v": (18, 26), "blocks.1.to_q": (30, 20)}

Tensors = dict[str, np.ndarray]
Reported = Callable[[str], VerifyReport]

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")


def adapter(alphas: Mapping[str, float], *, rank: int = 4, size: float = 1.0, prefix: str = "") -> Tensors:
    """Factors and alphas of the layers above; `size` is that of the product's entries."""
    generator = np.random.default_rng(3)
    made: Tensors = {}
    for name, alpha in alphas.items():
        out, inputs = SHAPES[name]
        a, b = generator.standard_normal((rank, inputs)), generator.standard_normal((out, rank))
        made[f"{prefix}{name}.lora_A.weight"] = a.astype(np.float32)
        made[f"{prefix}{name}.lora_B.weight"] = (b * size * rank**-0.5).astype(np.float32)
        made[f"{prefix}{name}.alpha"] = np.array(alpha, np.float32)
    return made


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adapter") / "adapter.safetensors"
    save_file(adapter({"blocks.0.to_q": 2.0, "blocks.0.to_v": 2.4, "blocks.1.to_q": 6.0}), path)
    return path


def examine(behaviour: str, file: Path, tmp_path: Path, **options: Path) -> VerifyReport:
    folder = tmp_path / "target"
    folder.mkdir(exist_ok=True)
    shutil.copy(HERE / "tiny_target.py", folder)
    (folder / "behaviour.txt").write_text(behaviour)
    return run_verify(folder, driver=DRIVER, seed=5, adapter=file, **options)


@pytest.fixture(scope="module")
def reported(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """The report on that file through a loader with a given mistake, of one run for all tests."""
    return functools.cache(lambda behaviour: examine(behaviour, file, tmp_path_factory.mktemp("run")))


def verdicts(report: VerifyReport) -> list[Verdict]:
    return [row.verdict for row in report.rows]


def test_a_right_loader_is_right_for_every_module(reported: Reported) -> None:
    report = reported("right")
    assert verdicts(report) == [Verdict.OK] * 3
    assert [row.expected for row in report.rows] == pytest.approx([0.5, 0.6, 1.5])
    assert [row.observed for row in report.rows] == pytest.approx([0.5, 0.6, 1.5], rel=1e-6)
    assert report.exit_code == 0
    assert "a file of one module after another" in render_text(report)


@pytest.mark.parametrize(
    ("behaviour", "verdict", "observed"),
    [
        ("unscaled", Verdict.ALPHA_IGNORED, 1.0),
        ("inverted", Verdict.INVERTED, 1 / 0.6),
        ("double", Verdict.DOUBLE_SCALED, 0.36),
        ("undivided", Verdict.RANK_IGNORED, 2.4),
        ("truncated", Verdict.TRUNCATED, 0.5),
        ("nothing", Verdict.NOT_APPLIED, 0.0),
        ("nan", Verdict.ERROR, None),
        ("wrong-direction", Verdict.WRONG_DIRECTION, None),
        ("raises", Verdict.LOAD_ERROR, None),
        ("exits", Verdict.CRASHED, None),
    ],
)
def test_what_a_loader_does_wrong_is_named(
    behaviour: str, verdict: Verdict, observed: float | None, reported: Reported
) -> None:
    report = reported(behaviour)
    row = next(row for row in report.rows if row.layer == "blocks.0.to_v")
    assert row.verdict is verdict
    if observed is not None:
        assert row.observed == pytest.approx(observed, abs=1e-6)
    assert report.exit_code == 1


def test_only_modules_that_a_mistake_touches_are_wrong(reported: Reported) -> None:
    # An alpha of 2 and one of 6 lose nothing by being made whole numbers.
    assert verdicts(reported("truncated")) == [Verdict.OK, Verdict.TRUNCATED, Verdict.OK]


def test_the_worst_are_shown_first_and_json_has_all_in_order(reported: Reported) -> None:
    report = reported("unscaled")
    lines = [line.split()[0] for line in render_text(report).splitlines() if line.startswith("blocks.")]
    assert lines == ["blocks.0.to_q", "blocks.0.to_v", "blocks.1.to_q"]  # off by 1, 0.67 and 0.33
    data = json.loads(render_json(report))
    assert [row["scenario"] for row in data["rows"]] == list(SHAPES)
    assert data["summary"] == data["summary"] | {"rows": 3, "differ": 3, "ok": 0}


def test_an_adapter_whose_alpha_is_its_rank_is_right_through_any_loader(tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    save_file(adapter(dict.fromkeys(SHAPES, 4.0)), path)
    assert verdicts(examine("unscaled", path, tmp_path)) == [Verdict.OK] * 3


def test_mean_squares_tell_scaled_from_unscaled(file: Path, reported: Reported) -> None:
    right, wrong = (reported(name).rows[0] for name in ("right", "unscaled"))
    assert right.mse is not None
    assert wrong.mse is not None
    tensors = load_file(file)
    product = tensors["blocks.0.to_q.lora_B.weight"] @ tensors["blocks.0.to_q.lora_A.weight"]
    assert wrong.mse["unscaled"] == pytest.approx(np.mean((0.5 * product) ** 2), rel=1e-3)
    assert wrong.mse["loaded"] == pytest.approx(wrong.mse["unscaled"], rel=1e-6)
    assert right.mse["loaded"] < 1e-12 > right.mse["scaled"]


def test_time_is_told_beside_that_of_the_memory(reported: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    report = reported("right")
    assert all(row.seconds and row.least_seconds for row in report.rows)
    assert "time per layer: the loader " in render_text(report)
    monkeypatch.setattr(timing, "_copy_seconds", lambda size: size / 1000)
    # 1200 bytes are copied in 1.2 s; both factors are a quarter of what a copy reads and writes.
    assert timing.least_seconds((30, 20), 6, "bfloat16") == pytest.approx(1.2 * 1.25)


def test_a_layer_that_the_loader_does_not_know_is_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    # `transformer.` is what the tiny target doesn't take off.
    save_file(adapter({"blocks.0.to_q": 2.0}, prefix="transformer."), path)
    report = examine("right", path, tmp_path)
    assert verdicts(report) == [Verdict.UNSUPPORTED]
    assert "recognises none of its keys for a layer blocks.0.to_q" in report.rows[0].detail
    assert report.exit_code == 3


def test_other_kinds_of_modules_are_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    shapes = ((30, 4), (4, 20), (30, 4), (4, 20))
    loha = {f"one.{n}": np.ones(s, np.float32) for n, s in zip(names, shapes, strict=True)}
    save_file(loha | {"one.alpha": np.array(2, np.float32)}, path)
    report = examine("right", path, tmp_path)
    assert verdicts(report) == [Verdict.UNSUPPORTED]
    assert "LoHa" in report.rows[0].detail


def test_weights_come_from_the_base_where_it_has_them(file: Path, tmp_path: Path) -> None:
    weight = np.random.default_rng(1).standard_normal((30, 20)).astype(np.float32)
    save_file({"model.blocks.0.to_q.weight": weight}, tmp_path / "base.safetensors")
    base = BaseWeights(tmp_path / "base.safetensors")
    found, remark = base.of("diffusion_model.blocks.0.to_q", (30, 20), np.random.default_rng(2))
    assert np.array_equal(found, weight)
    assert not remark
    _, remark = base.of("blocks.9.to_q", (30, 20), np.random.default_rng(2))
    assert "random weight" in remark
    report = examine("right", file, tmp_path, base=tmp_path / "base.safetensors")
    assert verdicts(report) == [Verdict.OK] * 3
    assert ["random weight" in row.detail for row in report.rows] == [False, True, True]


def test_a_module_is_written_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    save_file(adapter(dict.fromkeys(SHAPES, 2.0), prefix="diffusion_model."), path, {"key": "value"})
    (module, *_) = read_modules(path, "float32")
    folder = module.write(tmp_path / "one")
    written = load_file(folder / "adapter.safetensors")
    whole = load_file(path)
    assert set(written) == {key for key in whole if "blocks.0.to_q" in key}
    assert all(np.array_equal(written[key], whole[key]) for key in written)
    assert read_header(folder / "adapter.safetensors").metadata == {"key": "value"}


def test_fused_branches_of_longcat_are_one_delta(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    name = "lora___lorahyphen___blocks___lorahyphen___0___lorahyphen___attn___lorahyphen___qkv"
    a = generator.standard_normal((6, 10)).astype(np.float32)
    bs = [generator.standard_normal((5, 2)).astype(np.float32) for _ in range(3)]
    tensors = {f"{name}.lora_up.blocks.{i}.weight": b for i, b in enumerate(bs)}
    tensors |= {f"{name}.lora_down.weight": a, f"{name}.alpha_scale": np.array(0.5, np.float32)}
    path = tmp_path / "longcat.safetensors"
    save_file(tensors, path)
    (module,) = read_modules(path, "float32")
    assert (module.scale, module.alpha) == (0.5, 1.0)
    assert layer_name(module.module.name) == "blocks.0.attn.qkv"
    found, ups = module.factors()
    assert np.array_equal(found, a)
    assert all(np.array_equal(one, other) for one, other in zip(ups, bs, strict=True))


def test_factors_in_no_known_type_are_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    save_file({"one": np.ones((2, 2), np.int8)}, path)
    with pytest.raises(Unsupported, match="I8"):
        read_tensor(read_header(path), "one")


def test_a_file_that_is_no_adapter_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": np.ones((2, 2), np.float32)}, path)
    arguments = ["verify", str(HERE), "--driver", DRIVER, "--adapter", str(path)]
    assert cli.run(arguments) == 2
    assert "unknown layout" in capsys.readouterr().err


_TORCH_LOADER = """
import torch
from safetensors.torch import load_file


class Loader:
    def load(self, weights, folder):
        (file,) = folder.glob("*.safetensors")
        tensors = load_file(file)
        for name, weight in weights.items():
            down, up = (tensors[f"diffusion_model.{name}.lora_{kind}.weight"] for kind in "AB")
            scale = tensors[f"diffusion_model.{name}.alpha"] / down.shape[0] if SCALED else 1
            weight += (scale * up.float() @ down.float()).to(weight)
"""


@needs_torch
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(("scaled", "verdict"), [(True, Verdict.OK), (False, Verdict.ALPHA_IGNORED)])
def test_small_deltas_in_bfloat16_are_judged_rightly(scaled: bool, verdict: Verdict, tmp_path: Path) -> None:
    """Alpha 64, rank 128, bfloat16, as in LongCat's distilled adapter; one delta is below the rounding."""
    import torch
    from safetensors.torch import save_file as save_tensors

    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for index, (out, inputs, size) in enumerate(((192, 160, 0.3), (320, 160, 1e-3))):
        name = f"diffusion_model.blocks.{index}.ffn"
        a = torch.randn(128, inputs, generator=generator)
        b = torch.randn(out, 128, generator=generator) * size * (128 * inputs) ** -0.5
        tensors |= {f"{name}.lora_A.weight": a.bfloat16(), f"{name}.lora_B.weight": b.bfloat16()}
        tensors[f"{name}.alpha"] = torch.tensor(64.0)
    save_tensors(tensors, tmp_path / "adapter.safetensors")
    (tmp_path / "mine.py").write_text(f"SCALED = {scaled}\n{_TORCH_LOADER}")
    report = run_verify(
        tmp_path,
        driver=f"{tmp_path / 'mine.py'}:Loader",
        seed=6,
        dtype="bfloat16",
        adapter=tmp_path / "adapter.safetensors",
    )
    assert verdicts(report) == [verdict] * 2, render_text(report)
    assert ["stored sums" in row.detail for row in report.rows] == [False, True]
    errors = report.rows[0].mse
    assert errors is not None
    # The error of a right loader is that of rounding, which the base has already.
    assert (errors["loaded"] < 4 * errors["base"]) == scaled


_NATIVE_LOADER = """
from safetensors.torch import load_file


class Loader:
    def load(self, weights, folder):
        (file,) = folder.glob("*.safetensors")
        tensors = load_file(file)
        for name, weight in weights.items():
            a, b = (tensors[f"{name}.lora_{kind}.weight"].to(weight) for kind in "AB")
            weight += float(tensors[f"{name}.alpha"]) / len(a) * (b @ a)
"""


@pytest.fixture
def torch_as_it_was() -> Iterator[None]:
    yield
    import torch

    torch.use_deterministic_algorithms(False)


@needs_torch
@pytest.mark.usefixtures("torch_as_it_was")
def test_right_code_is_never_blamed(tmp_path: Path) -> None:
    """Deltas from a ten thousandth to three times the weight: a sample of benchmarks/verify_trials.py."""
    from lorascale_lint.verify.own import OwnDriver
    from lorascale_lint.verify.real_layers import examine_module

    generator = np.random.default_rng(8)
    namespace: dict[str, type] = {}
    exec(_NATIVE_LOADER, namespace)
    driver = OwnDriver(namespace["Loader"], name="right")
    found: list[Verdict] = []
    for trial in range(24):
        out, inputs = (int(generator.integers(48, 200)) for _ in range(2))
        rank = int(generator.choice([4, 16, 64]))
        size = 10 ** generator.uniform(-4, 0.5)
        a = generator.standard_normal((rank, inputs)) * inputs**-0.5
        b = generator.standard_normal((out, rank)) * size * rank**-0.5
        tensors = {"m.lora_A.weight": a.astype(np.float32), "m.lora_B.weight": b.astype(np.float32)}
        tensors["m.alpha"] = np.array(generator.choice([2.4, rank / 2, 64.0]), np.float32)
        save_file(tensors, tmp_path / "adapter.safetensors")
        for dtype in ("float32", "float16", "bfloat16"):
            (module,) = read_modules(tmp_path / "adapter.safetensors", dtype)
            row = examine_module(module, driver, BaseWeights(None), trial, tmp_path / "one")
            assert not row.verdict.is_failure, row
            found.append(row.verdict)
    # What is below the rounding of fp16 and bf16 alike may be lost; the rest is judged.
    assert found.count(Verdict.OK) > 60


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs PEFT")
def test_peft_reads_its_own_folder_rightly(tmp_path: Path) -> None:
    import peft
    import torch

    layers = {"to_q": torch.nn.Linear(40, 72), "to_v": torch.nn.Linear(40, 52)}
    config = peft.LoraConfig(
        r=8,
        lora_alpha=12,
        use_rslora=True,
        target_modules=list(layers),
        rank_pattern={"to_v": 4},
        alpha_pattern={"to_q": 5},
        task_type="CAUSAL_LM",
    )
    config_task, config.task_type = config.task_type, None
    model = peft.get_peft_model(torch.nn.ModuleDict(layers), config)
    for name, values in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(values, std=0.02)
    model.peft_config["default"].task_type = config_task
    model.save_pretrained(str(tmp_path / "adapter"))
    package = Path(peft.__file__).parent
    report = run_verify(package, seed=7, dtype="bfloat16", adapter=tmp_path / "adapter")
    scales = {row.layer.rpartition(".")[2]: row.expected for row in report.rows}
    assert scales == {"to_q": pytest.approx(5 / 8**0.5), "to_v": pytest.approx(12 / 4**0.5)}
    assert verdicts(report) == [Verdict.OK] * 2, render_text(report)
