"""Broken and hostile files in `audit`: one clear line and exit 2, or a named verdict; no traceback."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.numpy import save_file

from lorascale_lint import cli
from lorascale_lint.adapters.factors import CARRIERS, NUMBERS
from tests.examples import examples

Output = tuple[int, str, str]
Audit = Callable[..., Output]
NAME = "model.layers.0.q_proj"
QUICK = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(40))


@pytest.fixture
def audit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Audit:
    """Audit three files of the folder that this makes; the command's code, output and errors."""
    random = np.random.default_rng(0)
    base = {
        f"{NAME}.weight": random.normal(size=(6, 8)).astype(np.float32),
        "model.norm.weight": np.ones(8, np.float16),
    }
    a, b = (random.normal(size=shape).astype(np.float32) for shape in ((2, 8), (6, 2)))
    save_file(base, tmp_path / "base.safetensors")
    save_file(
        base | {f"{NAME}.weight": base[f"{NAME}.weight"] + 0.5 * b @ a}, tmp_path / "merged.safetensors"
    )
    factors = {f"{NAME}.lora_A.weight": a, f"{NAME}.lora_B.weight": b, f"{NAME}.alpha": np.array(1.0)}
    save_file(factors, tmp_path / "adapter.safetensors")

    def run(**paths: Path) -> Output:
        capsys.readouterr()
        arguments = ["audit", "--jobs", "1"]
        for which in ("base", "adapter", "merged"):
            arguments += [f"--{which}", str(paths.get(which, tmp_path / f"{which}.safetensors"))]
        code = cli.run(arguments)
        return code, *capsys.readouterr()

    return run


def is_clear(found: Output) -> None:
    """One line about a file, or verdicts."""
    code, out, err = found
    assert "Traceback" not in err, err[-900:]
    assert "\x1b" not in out + err
    if code == 2:
        assert err.startswith("error: "), err
        assert err.count("\n") == 1
        assert ".safetensors" in err or ".json" in err
    else:
        assert code in (0, 1, 3)
        assert not err
        assert out.splitlines()[-1].startswith("audit ")


def test_the_files_of_these_tests_match(audit: Audit) -> None:
    assert audit()[0] == 0


@given(data=st.data())
@QUICK
def test_mutated_files(data: st.DataObject, audit: Audit, tmp_path: Path) -> None:
    which = data.draw(st.sampled_from(["base", "adapter", "merged"]))
    content = bytearray((tmp_path / f"{which}.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "mutated.safetensors").write_bytes(content[: data.draw(st.integers(8, len(content)))])
    is_clear(audit(**{which: tmp_path / "mutated.safetensors"}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FILES = st.sampled_from(
    [
        "base.safetensors",
        "merged.safetensors",
        "gone.safetensors",
        "../base.safetensors",
        "",
        ".",
        "a\0b",
        "\x1b[2J",
    ]
)


@given(index=JSON | st.fixed_dictionaries({"weight_map": st.dictionaries(st.text(max_size=5), JSON | FILES)}))
@QUICK
def test_any_index(index: Any, audit: Audit, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    is_clear(audit(merged=path))


@given(
    tensors=st.dictionaries(
        st.sampled_from([f"{NAME}.weight", f"{NAME}.lora_A.weight", "x.alpha", "\x1b[31m\n\u202e", ""]),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "BF16", "F8_E4M3", "I64", "BOOL", "X9", 7]),
                "shape": st.lists(st.integers(-1, 6) | st.just(2**62), max_size=3) | JSON,
                "data_offsets": st.tuples(st.integers(-4, 300), st.integers(-4, 300)) | JSON,
            }
        )
        | JSON,
        max_size=3,
    ),
    length=st.none() | st.integers(-(2**63), 2**63 - 1),
)
@QUICK
def test_any_header(tensors: Any, length: int | None, audit: Audit, tmp_path: Path) -> None:
    text = json.dumps(tensors).encode()
    size = struct.pack("<Q", len(text)) if length is None else struct.pack("<q", length)
    (tmp_path / "any.safetensors").write_bytes(size + text + bytes(300))
    for which in ("base", "adapter", "merged"):
        is_clear(audit(**{which: tmp_path / "any.safetensors"}))


SPECIAL = st.sampled_from([0.0, 1.0, -2.5, 1e-40, 3e38, float("nan"), float("inf"), float("-inf")])
SHAPES = st.sampled_from(
    [(), (0,), (1,), (8,), (0, 8), (6, 0), (2, 8), (6, 2), (6, 8), (8, 6), (2, 8, 1, 1), (2, 0, 3), (3, 2, 8)]
)
TYPES = st.sampled_from(["float32", "float16", "float64", "int64", "bool"])
ROLES = sorted(
    {
        *(
            "lora_A.weight",
            "lora_B.weight",
            "lora_A.default.weight",
            "lora_B.default.weight",
            "lora_a",
            "lora_b",
        ),
        *("lora_down.weight", "lora_up.weight", "lora_mid.weight", "lora_E", "lora_embedding_A", "m"),
        *("lora_embedding_B", "lora_magnitude_vector", "dora_scale", "lora_B.bias", "hada_t1", "lokr_t2"),
        *("lora_up.blocks.0.weight", "lora_up.blocks.1.weight"),
        *(CARRIERS - {"down", "up"}),
        *NUMBERS,
    }
)


@st.composite
def adapters(draw: st.DrawFn) -> dict[str, Any]:
    """Some tensors of a module, of shapes and values that no program writes."""
    found: dict[str, Any] = {}
    kinds = [
        ("lora_A.weight", "lora_B.weight"),
        ("lora_a", "lora_b"),
        ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
        ("lokr_w1", "lokr_w2_a", "lokr_w2_b"),
        (),
    ]
    roles = draw(st.sampled_from(kinds)) + tuple(draw(st.lists(st.sampled_from(ROLES), max_size=4)))
    for role in roles:
        shape = draw(SHAPES)
        if role in NUMBERS and draw(st.booleans()):
            shape = ()
        values = np.full(shape, draw(SPECIAL))
        with np.errstate(all="ignore"):
            found[f"{NAME}.{role}"] = values.astype(draw(TYPES))
    return found


@given(
    tensors=adapters(),
    config=st.none()
    | st.fixed_dictionaries(
        {
            "peft_type": st.sampled_from(["LORA", "ADALORA", "LOKR", 3]),
            "lora_alpha": st.sampled_from([4, 0, -1, 1e300, float("nan"), float("inf"), "12", [1]]),
            "r": st.sampled_from([2, 0, -1, 10**400, "2", None]),
            "fan_in_fan_out": st.booleans(),
            "use_dora": st.booleans(),
            "use_rslora": st.booleans(),
        }
    ),
    strength=st.sampled_from(["1", "0", "1e38", "1e300", "-1", "1e-300"]),
)
@QUICK
@pytest.mark.filterwarnings("error")
def test_any_adapter(
    tensors: dict[str, Any],
    config: dict[str, Any] | None,
    strength: str,
    audit: Audit,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "any"
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").unlink(missing_ok=True)
    if config is not None:
        (folder / "adapter_config.json").write_text(json.dumps(config))
    is_clear(audit(adapter=f"{folder}={strength}"))
    for arguments in (
        ["--format", "text"],
        ["--format", "json"],
        ["--format", "html"],
        ["--rewrite-to", "kohya", str(tmp_path / "out.safetensors"), "--alpha", "3"],
        ["--rewrite-to", "comfy", str(tmp_path / "out.safetensors"), "--fold", "--alpha", "1e300"],
        ["--rewrite-to", "peft", str(tmp_path / "out"), "--alpha", "3"],
    ):
        capsys.readouterr()
        code = cli.run(["inspect", str(folder), *arguments])
        assert code in (0, 2)
        err = capsys.readouterr().err
        assert "Traceback" not in err, f"{arguments}: {err[-900:]}"
        (tmp_path / "out.safetensors").unlink(missing_ok=True)
        for file in (tmp_path / "out").glob("*") if (tmp_path / "out").is_dir() else ():
            file.unlink()
        if (tmp_path / "out").is_dir():
            (tmp_path / "out").rmdir()


@given(
    values=st.lists(SPECIAL, min_size=2, max_size=2),
    shape=SHAPES,
    types=st.tuples(TYPES, TYPES),
)
@QUICK
@pytest.mark.filterwarnings("error")
def test_any_weights(
    values: list[float], shape: tuple[int, ...], types: tuple[str, str], audit: Audit, tmp_path: Path
) -> None:
    for which, value, kind in zip(("base", "merged"), values, types, strict=True):
        with np.errstate(all="ignore"):
            tensor = np.full(shape, value).astype(kind)
        save_file({f"{NAME}.weight": tensor}, tmp_path / f"any-{which}.safetensors")
    paths = {which: tmp_path / f"any-{which}.safetensors" for which in ("base", "merged")}
    is_clear(audit(**paths))


def test_paths_that_lead_nowhere(audit: Audit, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "loop.safetensors").symlink_to(tmp_path / "loop.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "empty").mkdir()
    for which in ("base", "adapter", "merged"):
        for name in ("loop", "loop.safetensors", "folder.safetensors", "empty", "nothing", "n" * 5000):
            code, out, err = audit(**{which: tmp_path / name})
            assert (code, out) == (2, ""), (which, name)
            assert err.startswith(f"error: {tmp_path / name}: "), err
            assert err.count("\n") == 1


def test_the_same_file_twice(audit: Audit, tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    code, out, _ = audit(merged=path)
    assert (code, "not applied" in out) == (1, True)
    code, out, err = audit(adapter=path)
    assert code == 2
    assert "unknown layout" in err


def test_many_tiny_tensors(audit: Audit, tmp_path: Path) -> None:
    # A million are measured by benchmarks/audit_many_tensors.py.
    ones = np.ones((1, 1), np.float32)
    base = {f"m.{number}.q.weight": ones for number in range(6000)}
    factors = {f"m.{number}.q.lora_{which}.weight": ones for number in range(500) for which in "AB"}
    merged = base | {f"m.{number}.q.weight": 2 * ones for number in range(500)}
    merged |= {f"other.{number}": ones for number in range(6000)}
    paths = {}
    for which, tensors in (("base", base), ("adapter", factors), ("merged", merged)):
        save_file(tensors, tmp_path / f"many-{which}.safetensors")
        paths[which] = tmp_path / f"many-{which}.safetensors"
    code, out, _ = audit(**paths)
    assert code == 3
    assert "500 match" in out
    assert "5500 unchanged" in out
