"""`audit` beside deltalint on the same checkpoints: `python benchmarks/audit_vs_deltalint.py PYTHON`.

PYTHON is an interpreter that has deltalint 0.1.0. Right merges are PEFT's own `merge_and_unload`; wrong ones
are made by hand. The exit codes of both are compared with the truth, and both are timed as commands on one
larger checkpoint. Exits 1 if an answer of `audit` is worse than deltalint's: right beats "could not be
judged" beats wrong.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.audit_throughput import files, make as make_large
from lorascale_lint.audit.command import AuditOptions, audit_checkpoint
from tests.audit.models import DTYPES, Case, load, lora, make, peft, save, torch

RIGHT, WRONG = 0, 1
SIZES = {"": 0.1, ", tiny": 0.003}
ALPHA, SCALE = 12, 1.5


@dataclass(frozen=True)
class Made:
    """A checkpoint, and the exit code that is true: 0 right, 1 wrong."""

    name: str
    case: Case
    truth: int


def right_merges(folder: Path) -> Iterator[Made]:
    """PEFT's own merges."""
    kinds: dict[str, Callable[[], Any]] = {
        "LoRA": lora,
        "rsLoRA": lambda: lora(use_rslora=True),
        "patterns": lambda: lora(rank_pattern={"to_v": 2}, alpha_pattern={"blocks.1.to_v": 16}),
        "embedding and saved head": lambda: lora(target_modules=["embed", "to_q"], modules_to_save=["head"]),
        "convolutions": lambda: lora(target_modules=["conv", "pointwise"]),
        "DoRA": lambda: lora(use_dora=True),
        "LoHa": lambda: peft.LoHaConfig(r=4, alpha=2, target_modules=["to_q", "to_v"]),
        "LoKr": lambda: peft.LoKrConfig(r=4, alpha=2, target_modules=["to_q", "to_v"]),
    }
    for kind, config in kinds.items():
        for dtype in DTYPES:
            for note, size in SIZES.items():
                # Products of four factors are smaller.
                size = 0.3 if not note else 0.05 if kind in ("LoHa", "LoKr") else size
                for stored in dict.fromkeys(("F32", dtype)):
                    name = f"right, {kind}, {dtype}{note}, factors {stored}"
                    case = make(folder / name, config(), dtype=dtype, size=size, adapter_dtype=stored)
                    yield Made(name, case, RIGHT)


def stored_sum(weight: Any, scaled: Any) -> Any:
    return (weight.float() + scaled).to(weight.dtype)


def half_of_the_rows(weight: Any, delta: Any) -> Any:
    delta[: len(delta) // 2] = 0
    return stored_sum(weight, SCALE * delta)


def turned(weight: Any, delta: Any) -> Any:
    return stored_sum(weight, SCALE * (delta.T if delta.shape[0] == delta.shape[1] else delta))


def wrong_merges(folder: Path) -> Iterator[Made]:
    """Merges that went wrong in a known way."""
    scales = {
        "alpha ignored": 1.0, "raw alpha": ALPHA, "squared": SCALE**2, "inverted": 1 / SCALE,
        "not applied": 0.0, "applied twice": 2 * SCALE, "subtracted": -SCALE,
        "1.02x too strong": 1.02 * SCALE,
    }  # fmt: skip
    changes: dict[str, Callable[[Any, Any], Any]] = {
        name: lambda weight, delta, scale=scale: stored_sum(weight, scale * delta)
        for name, scale in scales.items()
    }
    changes |= {"half of the rows": half_of_the_rows, "transposed": turned}
    for name, change in changes.items():
        for dtype in DTYPES:
            for note, size in SIZES.items():
                title = f"{name}, {dtype}{note}"
                case = make(folder / title, lora(lora_alpha=ALPHA), dtype=dtype, size=size)
                case.merged_by_hand(lambda _, weight, delta, change=change: change(weight, delta))
                yield Made(title, case, WRONG)
    for dtype in DTYPES:
        case = make(folder / f"untouched {dtype}", lora(lora_alpha=ALPHA), dtype=dtype)
        merged = load(case.merged)
        merged["blocks.0.norm.weight"][3] += 1
        save(case.merged, merged)
        yield Made(f"a tensor changed that no adapter touches, {dtype}", case, WRONG)


def casts(folder: Path) -> Iterator[Made]:
    """A right merge that is stored in another type than its base."""
    for dtype in ("BF16", "F16"):
        case = make(folder / f"cast {dtype}", lora(), size=0.01)
        save(case.merged, {name: value.to(DTYPES[dtype]) for name, value in load(case.merged).items()})
        yield Made(f"right, LoRA, base F32, merged {dtype}", case, RIGHT)


def folders(case: Case) -> tuple[Path, Path]:
    """Base and merged as folders, which is all that deltalint reads."""
    found = []
    for path in (case.base, case.merged):
        folder = case.folder / path.stem
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / "model.safetensors")
        found.append(folder)
    return found[0], found[1]


# One process for all: importing torch takes longer than a check.
ASK_DELTALINT = """
import contextlib, io, json, sys
from deltalint.cli import main
found = []
for base, adapter, merged in json.load(sys.stdin):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = main(["check", "--json", "--base", base, "--adapter", adapter, "--merged", merged])
        except Exception as error:
            code, text = 2, io.StringIO(json.dumps({"layers": [{"diagnosis": type(error).__name__}]}))
    found.append([code, text.getvalue()])
json.dump(found, sys.stdout)
"""


def ours(base: Path, adapter: Path, merged: Path) -> tuple[int, str]:
    """What `audit` says."""
    audit = audit_checkpoint(AuditOptions(base, (str(adapter),), merged))
    return audit.exit_code, audit.summary.partition("; ")[0]


def theirs(python: str, paths: Sequence[tuple[Path, Path, Path]]) -> list[tuple[int, str]]:
    """What deltalint says of each."""
    asked = json.dumps([list(map(str, each)) for each in paths])
    done = subprocess.run(
        [python, "-c", ASK_DELTALINT], input=asked, capture_output=True, text=True, check=True
    )
    return [(code, _words(text)) for code, text in json.loads(done.stdout)]


def _words(text: str) -> str:
    try:
        layers = json.loads(text)["layers"]
    except ValueError:
        return "no report"
    return ", ".join(sorted({str(item["diagnosis"] or item["verdict"]) for item in layers}))


def grade(code: int, truth: int) -> int:
    """2: right, 1: could not be judged, 0: wrong."""
    return 2 if code == truth else 1 if code in (2, 3) else 0


def main(python: str) -> int:
    """Run everything; the exit code."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        every = [made for source in (right_merges, wrong_merges, casts) for made in source(folder)]
        paths = [(base, made.case.adapter, merged) for made in every for base, merged in [folders(made.case)]]
        answers = [ours(*each) for each in paths]
        worse = report(every, answers, theirs(python, paths))
        speed(folder / "large", python)
    return 1 if worse else 0


def report(
    every: Sequence[Made], mine: Sequence[tuple[int, str]], other: Sequence[tuple[int, str]]
) -> list[str]:
    """Print where either is not right; the names of what deltalint judges better."""
    worse = []
    grades = [
        (grade(one[0], made.truth), grade(two[0], made.truth))
        for made, one, two in zip(every, mine, other, strict=True)
    ]
    for made, one, two, (first, second) in zip(every, mine, other, grades, strict=True):
        if first < second:
            worse.append(made.name)
        if (first, second) != (2, 2):
            print(f"{made.name}\n  audit {one[0]}: {one[1]}\n  deltalint {two[0]}: {two[1]}")
    for index, program in enumerate(("audit", "deltalint")):
        right, unjudged, wrong = (sum(pair[index] == value for pair in grades) for value in (2, 1, 0))
        print(
            f"{program}: {right} of {len(every)} right, {unjudged} could not be judged or read, {wrong} wrong"
        )
    print(f"worse than deltalint: {worse or 'none'}")
    return worse


def speed(folder: Path, python: str) -> None:
    """Both as commands on one larger checkpoint, in turns, so that what else the machine does meets both."""
    folder.mkdir()
    make_large(folder, 1.0, 16)
    paths = [part for name in ("base", "adapter", "merged") for part in (f"--{name}", str(folder / name))]
    size = sum(path.stat().st_size for path in files(folder)) / 1e9
    own = [sys.executable, "-m", "lorascale_lint", "audit", *paths]
    run = "import sys; from deltalint.cli import main; sys.exit(main())"
    for _ in range(3):
        (first, code), (second, other) = (timed(each) for each in (own, [python, "-c", run, "check", *paths]))
        print(
            f"{size:.1f} GB: audit {first:.1f} s (exit {code}), deltalint {second:.1f} s (exit {other}): "
            f"ratio {second / first:.1f}"
        )


def timed(command: list[str]) -> tuple[float, int]:
    """Seconds and exit code."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - start, done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
