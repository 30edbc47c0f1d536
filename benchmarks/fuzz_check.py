"""Check programs that nobody wrote, and count what must not happen.

    python benchmarks/fuzz_check.py --count 10000 --seed 1     # the rules' examples, damaged
    python benchmarks/fuzz_check.py --damaged FOLDER --count N  # files with LoRA code, damaged
    python benchmarks/fuzz_check.py --generated --count N       # by hypothesmith, with LoRA words as names
    python benchmarks/fuzz_check.py --dressed FOLDER            # each file once, with LoRA words as names

All repairs are made. Counts tracebacks, LS000, wrong exit codes, and files over 20 s of processor time. Each
program is checked in a process that has checked others, as in a run over many files; a process that dies is
counted. ``--part I/N`` checks every N-th program only, so that several can share the work.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import keyword
import random
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

LIMIT = 20.0
"""Processor seconds for one file."""
_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
_NAME = re.compile(r"\b[A-Za-z_]\w*\b")
_KEPT = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "self", "cls"}
_WORDS = (
    "lora_A lora_B lora_alpha scaling base_layer rank adapter weight merge LoRALinear state_dict lora_down "
    "lora_up alpha delta forward use_rslora lora_magnitude multiplier unmerge lora_config get_delta_weight"
).split()
_TOKEN = re.compile(r"\w+|[^\w\s]|\s+")
_ODD = [
    "(", ")", "[", "]", "{", "}", ":", ",", "@", "*", "**", "=", "+=", "\n", "\t", "    ", "\\",
    "'", "\"", "'''", "#", "lambda x: ", "await ", "yield ", "not ", " or ", " and ", " if x else ",
    "*x, ", "f'{x!r:>{y}}'", "None", "0", "1e999", "match", "case", "async ", "del ", "global ",
    "import ", "\0", "\ufeff", "\u202e", "\u00e9", "\x0c", "\r", "lora_A", "lora_B", "alpha",
    "self.", "return ", "x: int = ", "(x := 1)", "...", "for x in y ", "while x:\n", "try:\n",
    "class A(B):\n",
]  # fmt: skip


def examples() -> list[str]:
    """The bad and good examples of all rules."""
    from lorascale_lint.rule import all_rules

    return [block for rule in all_rules() for block in _BLOCK.findall(rule.page())]


def files(folder: Path) -> list[str]:
    """The Python files of a folder, decoded; those that are no text are left out."""
    from lorascale_lint.sources.text import SourceText, UndecodableSource

    found = []
    for path in sorted(folder.rglob("*.py")):
        try:
            found.append(SourceText.decode(path.read_bytes()).text)
        except (OSError, UndecodableSource):
            continue
    return found


def with_lora_code(texts: list[str]) -> list[str]:
    """Those with LoRA code that are small enough for thousands of checks."""
    from lorascale_lint.knowledge.roles import speaks_of_lora

    return [text for text in texts if speaks_of_lora(text) and len(text) < 30_000]


def dressed(text: str) -> str:
    """The program with the words of LoRA code in the place of its commonest names."""
    names = Counter(name for name in _NAME.findall(text) if name not in _KEPT and not name.startswith("__"))
    words = dict(zip((name for name, _ in names.most_common(len(_WORDS))), _WORDS, strict=False))
    return _NAME.sub(lambda found: words.get(found[0], found[0]), text)


def generated(count: int, seed: int) -> Iterator[str]:
    """Programs that follow Python's grammar and nothing else."""
    import hypothesis
    import hypothesmith

    made: list[str] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(hypothesmith.from_node())
    def collect(text: str) -> None:
        made.append(dressed(text))

    collect()
    yield from made


def program(texts: list[str], source: random.Random) -> str:
    """A damaged example; four of five are still Python, for others do not get far."""
    while True:
        text = mutated(texts, source)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(text)
            return text
        except (SyntaxError, ValueError):
            if source.random() < 0.05:
                return text


def mutated(texts: list[str], source: random.Random) -> str:
    """An example with some tokens dropped, doubled, swapped, replaced or put into another one."""
    tokens = _TOKEN.findall(source.choice(texts))
    other = _TOKEN.findall(source.choice(texts))
    for _ in range(source.choice([1, 1, 2, 3, 8])):
        place = source.randrange(len(tokens) + 1)
        end = place + source.choice([0, 1, 1, 2, 5, 20])
        start = source.randrange(len(other))
        new = source.choice(
            [
                [],
                [source.choice(_ODD)],
                [source.choice(_ODD)] * source.choice([2, 50]),
                tokens[place:end] * 2,
                tokens[place:end][::-1],
                other[start : start + source.choice([1, 5, 40])],
            ]
        )
        tokens[place:end] = new
        tokens = tokens or ["x"]
    return "".join(tokens)


def check(folder: str, text: str) -> tuple[int, str, float]:
    """Exit code of a check with all repairs made, what is on both streams, and processor seconds."""
    import contextlib
    import io

    from lorascale_lint import cli

    path = Path(folder) / "fuzzed.py"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    start = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(["check", "--no-cache", "--preview", "--diff", "--unsafe-fixes", str(path)])
    seconds = time.process_time() - start
    printed = "".join(stream.buffer.getvalue().decode() for stream in (err, out))  # type: ignore[attr-defined]
    return code, printed, seconds


def defects(code: int, text: str, seconds: float) -> list[str]:
    """What must not be, of one check."""
    found = []
    if "Traceback" in text:
        found.append("traceback")
    if "LS000" in text:
        found.append("LS000")
    if seconds > LIMIT:
        found.append(f"over {LIMIT:g} s")
    if code not in (0, 1, 2) or (code == 2) != ("LS001" in text or "LS000" in text or "Traceback" in text):
        found.append(f"exit code {code}")
    return found


def programs(options: argparse.Namespace) -> Iterator[str]:
    """What the options ask for."""
    if options.dressed:
        yield from map(dressed, files(options.dressed))
    elif options.generated:
        yield from generated(options.count, options.seed)
    else:
        texts = with_lora_code(files(options.damaged)) if options.damaged else examples()
        source = random.Random(options.seed)
        for _ in range(options.count):
            yield program(texts, source)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="1/1", help="I/N: only every N-th program.")
    parser.add_argument("--seconds", type=float, default=1e9, help="Stop after so long.")
    parser.add_argument("--keep", type=Path, help="Write programs with a defect into this folder.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--damaged", type=Path, metavar="FOLDER")
    what.add_argument("--dressed", type=Path, metavar="FOLDER")
    what.add_argument("--generated", action="store_true")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    end = time.monotonic() + options.seconds
    counts: Counter[str] = Counter()
    longest = 0.0
    pool = ProcessPoolExecutor(1)
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(programs(options)):
            if number % parts != part - 1:
                continue
            if time.monotonic() > end:
                break
            try:
                code, printed, seconds = pool.submit(check, folder, text).result(60 * LIMIT)
                found = defects(code, printed, seconds)
                longest = max(longest, seconds)
                counts[f"exit code {code}, as it should be"] += not found
            except (BrokenProcessPool, TimeoutError) as error:
                found, printed = [f"died: {error}"], str(error)
                pool = ProcessPoolExecutor(1)
            counts.update(found)
            if found and options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                kept = options.keep / f"{options.seed}-{number}.py"
                kept.write_bytes(text.encode("utf-8", "surrogatepass"))
                kept.with_suffix(".txt").write_text(f"{found}\n{printed}")
    for name, number in sorted(counts.items()):
        print(f"{number:6} {name}")
    print(f"{longest:6.1f} s of processor time for the slowest")
    return 1 if any("as it should" not in name for name, number in counts.items() if number) else 0


if __name__ == "__main__":
    sys.exit(main())
