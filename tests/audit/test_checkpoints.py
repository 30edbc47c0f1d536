"""How files are put together and named: shards, indexes, fused and tied weights, own rules, broken files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from lorascale_lint.audit.command import AuditOptions, audit_checkpoint
from lorascale_lint.audit.report import Audit, render_json, render_text
from lorascale_lint.cli import run
from lorascale_lint.errors import InputError
from lorascale_lint.verify.reference import fit

Tensors = dict[str, NDArray[Any]]
RANDOM = np.random.default_rng(0)
RANK, ALPHA, SCALE = 4, 2, 0.5


def weight(*shape: int) -> NDArray[np.float32]:
    return RANDOM.normal(size=shape).astype(np.float32)


def write(path: Path, tensors: Tensors) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    return path


def adapter(folder: Path, modules: Mapping[str, tuple[int, int]], **config: Any) -> tuple[Path, Tensors]:
    """A PEFT directory for modules of these shapes (out x in), and their deltas at scale 1."""
    tensors: Tensors = {}
    deltas: Tensors = {}
    for name, (rows, columns) in modules.items():
        a, b = weight(RANK, columns), weight(rows, RANK)
        tensors |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
        deltas[name] = b @ a
    write(folder / "adapter_model.safetensors", tensors)
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA} | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder, deltas


def audit(base: Path, merged: Path, *adapters: Path, **options: Any) -> Audit:
    return audit_checkpoint(AuditOptions(base, tuple(map(str, adapters)), merged, **options))


def found(result: Audit) -> dict[str, str]:
    return {item.name: item.verdict.value for item in result.judgements if item.adapted}


def shard(folder: Path, tensors: Tensors, count: int, *, index: bool = True) -> Path:
    names = list(tensors)
    weights: dict[str, str] = {}
    for number in range(count):
        file = f"model-{number + 1:05}-of-{count:05}.safetensors"
        held = names[number::count]
        write(folder / file, {name: tensors[name] for name in held})
        weights |= dict.fromkeys(held, file)
    if index:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    return folder


@pytest.fixture
def plain(tmp_path: Path) -> tuple[Tensors, Tensors, Path]:
    """Base, merged, adapter for two of four weights."""
    base = {f"model.layers.{n}.{kind}.weight": weight(12, 8) for n in range(2) for kind in ("q_proj", "norm")}
    names = [f"base_model.model.model.layers.{n}.q_proj" for n in range(2)]
    path, deltas = adapter(tmp_path / "adapter", dict.fromkeys(names, (12, 8)))
    merged = dict(base)
    for name, delta in deltas.items():
        key = f"{name.removeprefix('base_model.model.')}.weight"
        merged[key] = base[key] + np.float32(SCALE) * delta
    return base, merged, path


def test_shards_may_differ_in_number(plain: tuple[Tensors, Tensors, Path], tmp_path: Path) -> None:
    base, merged, path = plain
    folder = shard(tmp_path / "base", base, 3)
    for name, other in (
        ("one file", write(tmp_path / "one" / "model.safetensors", merged)),
        ("two shards", shard(tmp_path / "two", merged, 2)),
        ("several files without an index", shard(tmp_path / "loose", merged, 4, index=False)),
        ("an index file", shard(tmp_path / "named", merged, 2) / "model.safetensors.index.json"),
    ):
        result = audit(folder, other, path, jobs=2)
        assert result.exit_code == 0, (name, render_text(result))
        assert result.summary == "2 modules: 2 match; 2 other tensors: 2 unchanged"


def test_the_command(plain: tuple[Tensors, Tensors, Path], tmp_path: Path, capsys: Any) -> None:
    base, merged, path = plain
    write(tmp_path / "base.safetensors", base)
    write(tmp_path / "merged.safetensors", merged)
    command = ["audit", "--base", str(tmp_path / "base.safetensors"), "--adapter", str(path), "--merged"]
    assert run([*command, str(tmp_path / "merged.safetensors")]) == 0
    text = capsys.readouterr()
    assert "names: `base_model.model.` removed (2 modules)" in text.out
    assert text.out.endswith(": matches\n")
    assert text.err == ""
    assert run([*command, str(tmp_path / "base.safetensors"), "--output-format", "json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert [item["verdict"] for item in data["modules"]] == ["not applied"] * 2
    assert (data["exit_code"], data["other_tensors"]["unchanged"]) == (1, 2)
    assert run([*command, str(tmp_path / "nowhere")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_names_with_another_beginning(plain: tuple[Tensors, Tensors, Path], tmp_path: Path) -> None:
    base, merged, path = plain
    wrapped = write(
        tmp_path / "base.safetensors", {f"language_model.{key}": value for key, value in base.items()}
    )
    bare = write(
        tmp_path / "merged.safetensors", {key.removeprefix("model."): value for key, value in merged.items()}
    )
    result = audit(wrapped, bare, path)
    assert result.exit_code == 0, render_text(result)
    assert "`language_model.` added" in next(iter(result.rules))


def test_a_name_that_fits_two_tensors_is_not_guessed(tmp_path: Path) -> None:
    base = {f"{part}.layers.0.q_proj.weight": weight(6, 6) for part in ("encoder", "decoder")}
    path, _ = adapter(tmp_path / "adapter", {"base_model.model.layers.0.q_proj": (6, 6)})
    file = write(tmp_path / "base.safetensors", base)
    result = audit(file, file, path)
    assert found(result) == {"base_model.model.layers.0.q_proj": "could not be judged"}
    assert result.exit_code == 3


def test_rules_of_ones_own(tmp_path: Path) -> None:
    base = {f"{part}.layers.0.q.weight": weight(6, 6) for part in ("encoder", "decoder")}
    path, deltas = adapter(tmp_path / "adapter", {"lora.enc.0.q": (6, 6), "lora.dec.0.q": (6, 6)})
    merged = {
        "encoder.layers.0.q.weight": base["encoder.layers.0.q.weight"] + SCALE * deltas["lora.enc.0.q"],
        "decoder.layers.0.q.weight": base["decoder.layers.0.q.weight"] + SCALE * deltas["lora.dec.0.q"],
    }
    rules = {"lora.enc.*.q": "encoder.layers.*.q.weight", "lora.dec.*": "decoder.layers.*.weight"}
    files = write(tmp_path / "base.safetensors", base), write(tmp_path / "merged.safetensors", merged)
    assert audit(*files, path).exit_code == 3
    (tmp_path / "map.json").write_text(json.dumps(rules))
    (tmp_path / "map.toml").write_text("".join(f'"{key}" = "{value}"\n' for key, value in rules.items()))
    for name in ("map.json", "map.toml"):
        result = audit(*files, path, map_file=tmp_path / name)
        assert result.exit_code == 0, render_text(result)
    (tmp_path / "map.toml").write_text('"lora.enc.*.q" = "encoder.*.weight"')
    with pytest.raises(InputError, match="which the base lacks"):
        audit(*files, path, map_file=tmp_path / "map.toml")
    for text in ("a = 1", "a = ", '"a" = "*"'):
        (tmp_path / "map.toml").write_text(text)
        with pytest.raises(InputError, match=r"map\.toml"):
            audit(*files, path, map_file=tmp_path / "map.toml")


@pytest.mark.parametrize("applied", [("q_proj", "k_proj", "v_proj"), ("q_proj",), ()])
def test_fused_weights(applied: tuple[str, ...], tmp_path: Path) -> None:
    # Grouped queries: q has more rows than k and v.
    rows = {"q_proj": 12, "k_proj": 4, "v_proj": 4}
    base = {"layers.0.attn.qkv_proj.weight": weight(20, 8)}
    names = {f"base_model.model.layers.0.attn.{name}": (count, 8) for name, count in rows.items()}
    path, deltas = adapter(tmp_path / "adapter", names)
    fused = base["layers.0.attn.qkv_proj.weight"].copy()
    first = 0
    for name, count in rows.items():
        if name in applied:
            fused[first : first + count] += SCALE * deltas[f"base_model.model.layers.0.attn.{name}"]
        first += count
    result = audit(
        write(tmp_path / "base.safetensors", base),
        write(tmp_path / "merged.safetensors", {"layers.0.attn.qkv_proj.weight": fused}),
        path,
    )
    assert [item.verdict.value for item in result.judgements] == [
        "matches" if name in applied else "not applied" for name in rows
    ]
    assert [item.rows for item in result.judgements] == [(0, 12), (12, 16), (16, 20)]
    assert "are rows of `qkv_proj`" in render_text(result)


def test_rows_that_no_branch_reaches_stay_as_they_are(tmp_path: Path) -> None:
    base = {"a.0.qkv_proj.weight": weight(20, 8)}
    names = {"a.0.q_proj": (12, 8), "a.0.v_proj": (4, 8)}
    path, deltas = adapter(tmp_path / "adapter", names)
    fused = base["a.0.qkv_proj.weight"].copy()
    fused[:12] += SCALE * deltas["a.0.q_proj"]
    fused[16:] += SCALE * deltas["a.0.v_proj"]
    files = write(tmp_path / "base.safetensors", base), tmp_path / "merged.safetensors"
    write(files[1], {"a.0.qkv_proj.weight": fused})
    assert audit(*files, path).exit_code == 0
    fused[13, 2] += 1
    write(files[1], {"a.0.qkv_proj.weight": fused})
    result = audit(*files, path)
    assert "1 of 32 elements in rows 12 to 15" in render_text(result)
    assert result.exit_code == 1


def test_a_branch_whose_rows_are_not_known(tmp_path: Path) -> None:
    base = write(tmp_path / "base.safetensors", {"a.0.qkv_proj.weight": weight(20, 8)})
    path, _ = adapter(tmp_path / "adapter", {"a.0.k_proj": (4, 8)})
    result = audit(base, base, path)
    assert found(result) == {"a.0.k_proj": "could not be judged"}


def test_tied_heads(tmp_path: Path) -> None:
    embedding = weight(10, 8)
    base = write(tmp_path / "base.safetensors", {"model.embed_tokens.weight": embedding})
    path, deltas = adapter(tmp_path / "adapter", {"base_model.model.lm_head": (10, 8)})
    changed = embedding + SCALE * deltas["base_model.model.lm_head"]
    for name, merged in {
        "tied": {"model.embed_tokens.weight": changed},
        "untied": {"model.embed_tokens.weight": embedding, "lm_head.weight": changed},
    }.items():
        result = audit(base, write(tmp_path / f"{name}.safetensors", merged), path)
        assert result.exit_code == 0, render_text(result)
        assert "note: `base_model.model.lm_head`" in render_text(result)


def test_a_head_that_is_stored_once_or_twice(plain: tuple[Tensors, Tensors, Path], tmp_path: Path) -> None:
    base, merged, path = plain
    embedding = {"model.embed_tokens.weight": weight(10, 8)}
    both = embedding | {"lm_head.weight": embedding["model.embed_tokens.weight"]}
    once = write(tmp_path / "once.safetensors", base | embedding)
    twice = write(tmp_path / "twice.safetensors", merged | both)
    assert audit(once, twice, path).exit_code == 0
    twice = write(tmp_path / "twice.safetensors", base | both)
    once = write(tmp_path / "once.safetensors", merged | embedding)
    assert audit(twice, once, path).exit_code == 0
    # A head of its own that is gone is missed.
    own = write(tmp_path / "own.safetensors", base | embedding | {"lm_head.weight": weight(10, 8)})
    result = audit(own, once, path)
    assert result.exit_code == 1
    assert "missing in the merged checkpoint" in result.summary


def test_missing_tensors_and_other_shapes(plain: tuple[Tensors, Tensors, Path], tmp_path: Path) -> None:
    base, merged, path = plain
    first, second = (f"model.layers.{n}.q_proj.weight" for n in range(2))
    less = {name: value for name, value in merged.items() if name != first}
    less[second] = less[second][:6]
    less["extra.weight"] = weight(2, 2)
    result = audit(write(tmp_path / "b.safetensors", base), write(tmp_path / "m.safetensors", less), path)
    assert found(result) == {first: "missing in the merged checkpoint", second: "other shape"}
    text = render_text(result)
    assert "12 x 8 in the base, 6 x 8 in the merged checkpoint" in text
    assert "the base has no such tensor to compare it with" in text
    assert result.exit_code == 1


def test_an_adapter_of_another_model(tmp_path: Path) -> None:
    base = write(tmp_path / "base.safetensors", {"layers.0.q_proj.weight": weight(6, 6)})
    path, _ = adapter(tmp_path / "adapter", {"base_model.model.layers.0.q_proj": (8, 6)})
    result = audit(base, base, path)
    assert "its delta is 8 x 6, `layers.0.q_proj.weight` is 6 x 6" in render_text(result)
    assert result.exit_code == 3


def test_weights_of_other_types(plain: tuple[Tensors, Tensors, Path], tmp_path: Path) -> None:
    base, merged, path = plain
    double = {name: value.astype(np.float64) for name, value in base.items()}
    result = audit(write(tmp_path / "b.safetensors", double), write(tmp_path / "m.safetensors", merged), path)
    assert set(found(result).values()) == {"could not be judged"}
    assert "is F64: merges into such weights are not replayed" in render_text(result)


def test_kohya_names_and_alphas(tmp_path: Path) -> None:
    base = {"down_blocks.0.attn1.to_q.weight": weight(8, 8)}
    a, b = weight(RANK, 8), weight(8, RANK)
    name = "lora_unet_down_blocks_0_attn1_to_q"
    file = write(
        tmp_path / "lora.safetensors",
        {
            f"{name}.lora_down.weight": a,
            f"{name}.lora_up.weight": b,
            f"{name}.alpha": np.array(2.0, np.float32),
        },
    )
    merged = {key: value + np.float32(SCALE) * (b @ a) for key, value in base.items()}
    result = audit(write(tmp_path / "b.safetensors", base), write(tmp_path / "m.safetensors", merged), file)
    assert result.exit_code == 0, render_text(result)
    assert "`_` for `.`" in render_text(result)


def test_an_adapter_without_alpha_is_not_blamed(tmp_path: Path) -> None:
    base = {"blocks.0.to_q.weight": weight(8, 8)}
    a, b = weight(RANK, 8), weight(8, RANK)
    file = write(
        tmp_path / "lora.safetensors", {"blocks.0.to_q.lora_A.weight": a, "blocks.0.to_q.lora_B.weight": b}
    )
    for scale, verdict, code in (
        (1.0, "matches", 0),
        (0.5, "could not be judged", 3),
        (0.0, "not applied", 1),
    ):
        merged = {key: value + np.float32(scale) * (b @ a) for key, value in base.items()}
        result = audit(
            write(tmp_path / "b.safetensors", base), write(tmp_path / "m.safetensors", merged), file
        )
        assert found(result) == {"blocks.0.to_q": verdict}
        assert result.exit_code == code
        assert "states no" in render_text(result) or "states none" in render_text(result) or not scale


def test_files_that_cannot_be_read(plain: tuple[Tensors, Tensors, Path], tmp_path: Path) -> None:
    base, merged, path = plain
    good = write(tmp_path / "good.safetensors", base)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(write(tmp_path / "m.safetensors", merged).read_bytes()[:-10])
    with pytest.raises(InputError, match=r"broken\.safetensors: not a valid safetensors file"):
        audit(good, broken, path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.safetensors file in it"):
        audit(good, tmp_path / "empty", path)
    folder = shard(tmp_path / "shards", merged, 2)
    index = folder / "model.safetensors.index.json"
    for text, reason in (
        ("[]", "no `weight_map`"),
        ("{", "index.json: "),
        ('{"weight_map": {"a": "../m.safetensors"}}', "outside its folder"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "gone.safetensors"),
        ('{"weight_map": {"gone": "model-00001-of-00002.safetensors"}}', "the index names 1 tensors"),
        ("[" * 100_000, "nested too deeply|index.json: "),
    ):
        index.write_text(text)
        with pytest.raises(InputError, match=reason):
            audit(good, folder, path)
    index.unlink()
    write(folder / "copy.safetensors", merged)
    with pytest.raises(InputError, match="name one file"):
        audit(good, folder, path)


def test_names_cannot_control_a_terminal(tmp_path: Path) -> None:
    name = "layers.0.\x1b[31mq"
    base = write(tmp_path / "base.safetensors", {f"{name}.weight": weight(6, 6)})
    path, _ = adapter(tmp_path / "adapter", {name: (6, 6)})
    result = audit(base, base, path)
    assert "\x1b" not in render_text(result)
    assert json.loads(render_json(result))["modules"][0]["name"] == name


def test_factors_that_are_not_finite(tmp_path: Path) -> None:
    base = write(tmp_path / "base.safetensors", {"layers.0.q.weight": weight(6, 6)})
    path, _ = adapter(tmp_path / "adapter", {"layers.0.q": (6, 6)})
    tensors = load_file(path / "adapter_model.safetensors")
    tensors["layers.0.q.lora_A.weight"][0, 0] = np.inf
    write(path / "adapter_model.safetensors", tensors)
    result = audit(base, base, path)
    assert found(result) == {"layers.0.q": "could not be judged"}
    assert "not finite" in render_text(result)


@pytest.mark.parametrize("alpha", [float("nan"), float("inf")])
def test_alphas_that_are_no_numbers(alpha: float, tmp_path: Path) -> None:
    base = write(tmp_path / "base.safetensors", {"layers.0.q.weight": weight(6, 6)})
    path, _ = adapter(tmp_path / "adapter", {"layers.0.q": (6, 6)}, lora_alpha=alpha)
    result = audit(base, base, path)
    assert found(result) == {"layers.0.q": "could not be judged"}
    assert result.exit_code == 3


def test_empty_tensors_and_other_kinds_of_numbers(tmp_path: Path) -> None:
    base: Tensors = {
        "layers.0.q.weight": weight(6, 6),
        "empty": np.zeros((0, 4), np.float32),
        "number": np.array(3.0, np.float32),
        "integers": np.arange(5),
        "flags": np.array([True, False]),
    }
    path, deltas = adapter(tmp_path / "adapter", {"layers.0.q": (6, 6)})
    right = base | {"layers.0.q.weight": base["layers.0.q.weight"] + SCALE * deltas["layers.0.q"]}
    file = write(tmp_path / "base.safetensors", base)
    result = audit(file, write(tmp_path / "merged.safetensors", right), path)
    assert result.exit_code == 0
    assert result.summary == "1 module: 1 match; 4 other tensors: 4 unchanged"
    wrong = right | {"integers": np.arange(5)[::-1]}
    result = audit(file, write(tmp_path / "merged.safetensors", wrong), path)
    assert "4 of 5 elements" in render_text(result)


def test_a_joint_fit_is_that_of_verify(tmp_path: Path) -> None:
    # Two adapters that are far from orthogonal.
    base = {"layers.0.q.weight": weight(6, 6)}
    one, first = adapter(tmp_path / "one", {"layers.0.q": (6, 6)})
    other, second = adapter(tmp_path / "other", {"layers.0.q": (6, 6)})
    change = 0.7 * first["layers.0.q"] + 0.2 * second["layers.0.q"] + 0.1 * weight(6, 6)
    file = write(tmp_path / "base.safetensors", base)
    merged = {"layers.0.q.weight": base["layers.0.q.weight"] + change.astype(np.float32)}
    (item,) = audit(file, write(tmp_path / "merged.safetensors", merged), one, other).judgements
    products = [deltas["layers.0.q"].astype(np.float64) for deltas in (first, second)]
    stored = (merged["layers.0.q.weight"] - base["layers.0.q.weight"]).astype(np.float64)
    expected = fit(stored, products)
    assert item.observed == pytest.approx(expected.scales, rel=1e-5)
    assert item.residual == pytest.approx(expected.residual, rel=1e-4)


def test_a_residual_is_no_rounding_of_sums(tmp_path: Path) -> None:
    base = {"layers.0.q.weight": weight(48, 32)}
    path, deltas = adapter(tmp_path / "one", {"layers.0.q": (48, 32)})
    file = write(tmp_path / "base.safetensors", base)
    merged = {"layers.0.q.weight": base["layers.0.q.weight"] + 3 * deltas["layers.0.q"].astype(np.float32)}
    result = audit(file, write(tmp_path / "merged.safetensors", merged), path)
    (item,) = result.judgements
    assert item.residual is not None
    assert 0 < item.residual < 1e-6
    assert "<1e-06" in render_text(result)
