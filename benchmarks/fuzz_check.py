"""Check programs that nobody wrote, and count what must not happen.

    python benchmarks/fuzz_check.py --count 10000 --seed 1       # the rules' examples, damaged
    python benchmarks/fuzz_check.py --damaged FOLDER --count N    # files with LoRA code, damaged
    python benchmarks/fuzz_check.py --generated grammar --count N # by hypothesmith, with LoRA words as names
    python benchmarks/fuzz_check.py --crossed --count N           # the rules' examples, with parts of those
    python benchmarks/fuzz_check.py --dressed FOLDER              # each file once, with LoRA words as names

All repairs are made. Counts tracebacks, LS000, wrong exit codes, and files over 20 s of processor time. Each
program is checked in a process that has checked others, as in a run over many files; a process that dies is
counted. ``--alone`` checks each a second time in a process that has checked none, a fork of one that has
imported the program, and counts those of which that one says something else. ``--part I/N`` checks every N-th
program only, so that several can share the work.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import keyword
import multiprocessing
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
from typing import cast

LIMIT = 20.0
"""Processor seconds for one file."""
_BATCH = 300
"""Programs that hypothesmith makes at a time: it aims at larger ones as it goes on."""
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
    from lorascale_lint.knowledge.speech import speaks_of_lora

    return [text for text in texts if speaks_of_lora(text) and len(text) < 30_000]


def dressed(text: str) -> str:
    """The program with the words of LoRA code in the place of its commonest names."""
    names = Counter(name for name in _NAME.findall(text) if name not in _KEPT and not name.startswith("__"))
    words = dict(zip((name for name, _ in names.most_common(len(_WORDS))), _WORDS, strict=False))
    return _NAME.sub(lambda found: words.get(found[0], found[0]), text)


def generated(how: str, count: int, seed: int) -> Iterator[str]:
    """Programs that follow Python's grammar and nothing else, each once; those without code are left out.

    ``how``: from the grammar, of which a program takes 0.03 s, or from nodes of a tree, which takes 0.4 s.
    """
    import hypothesis
    import hypothesmith

    # That of nodes draws names of any letters, which are replaced afterwards. In front of a name of the
    # grammar a form feed may stand, also where a row begins, and it ends a keyword before that.
    strategy = hypothesmith.from_grammar() if how == "grammar" else hypothesmith.from_node().map(dressed)
    if how == "grammar":
        words = hypothesis.strategies.sampled_from([f"\f{word}" for word in (*_WORDS, "self", "torch", "nn")])
        strategy.terminal_strategies["NAME"] = words
    seen: set[str] = set()
    while len(seen) < count:
        made: list[str] = []

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=_BATCH,
            phases=[hypothesis.Phase.generate, hypothesis.Phase.target],
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(strategy)
        def collect(text: str) -> None:
            made.append(text)  # noqa: B023 - it is called within this round

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            collect()
        for text in made:
            if len(seen) < count and text not in seen and has_code(text):
                seen.add(text)
                yield text
        seed += 1


def has_code(text: str) -> bool:
    """Is it more than comments and blank rows?"""
    return len(_NAME.findall(re.sub(r"#.*", "", text))) > 1


def program(texts: list[str], source: random.Random, others: list[str] | None = None) -> str:
    """A damaged example, by parts of others; four of five are still Python, for others do not get far."""
    while True:
        text = mutated(texts, source, others or texts)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(text)
            return text
        except (SyntaxError, ValueError):
            if source.random() < 0.05:
                return text


def mutated(texts: list[str], source: random.Random, others: list[str]) -> str:
    """An example with some tokens dropped, doubled, swapped, replaced, or taken from another text."""
    tokens = _TOKEN.findall(source.choice(texts))
    other = _TOKEN.findall(source.choice(others))
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


Outcome = tuple[int, str, float]


def alone(folder: str, text: str) -> Outcome | None:
    """What `check` says in a process that has checked nothing; None if it dies."""
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)
    child = context.Process(target=lambda: writing.send(check(folder, text)))
    child.start()
    writing.close()
    try:
        return cast(Outcome, reading.recv()) if reading.poll(60 * LIMIT) else None
    except EOFError:
        return None
    finally:
        child.kill()
        child.join()


def check(folder: str, text: str) -> Outcome:
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
    if "its repair does not end it" in text:
        found.append("a repair that leaves its finding")
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
        yield from generated(options.generated, options.count, options.seed)
    else:
        texts = with_lora_code(files(options.damaged)) if options.damaged else examples()
        others = list(generated("grammar", 2 * _BATCH, options.seed)) if options.crossed else None
        source = random.Random(options.seed)
        for _ in range(options.count):
            yield program(texts, source, others)


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
    what.add_argument("--generated", choices=["grammar", "nodes"])
    what.add_argument("--crossed", action="store_true")
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    end = time.monotonic() + options.seconds
    counts: Counter[str] = Counter()
    longest = 0.0
    pool = ProcessPoolExecutor(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.alone:
            check(folder, "import torch\n")
        for number, text in enumerate(programs(options)):
            if number % parts != part - 1:
                continue
            if time.monotonic() > end:
                break
            try:
                code, printed, seconds = pool.submit(check, folder, text).result(60 * LIMIT)
                found = defects(code, printed, seconds)
                longest = max(longest, seconds)
                if options.alone and (alone(folder, text) or (code,))[:2] != (code, printed):
                    found.append("differs in a process of its own")
                counts[f"exit code {code}, as it should be"] += not found
            except (BrokenProcessPool, TimeoutError) as error:
                found, printed = [f"died: {error}"], str(error)
                pool.shutdown(wait=False, cancel_futures=True)
                pool = ProcessPoolExecutor(1)
            counts.update(found)
            if found and options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                kept = options.keep / f"{options.seed}-{number}.py"
                kept.write_bytes(text.encode("utf-8", "surrogatepass"))
                kept.with_suffix(".txt").write_text(f"{found}\n{printed}")
    pool.shutdown()  # at exit, the interpreter may write to a pipe of it that is closed
    for name, number in sorted(counts.items()):
        print(f"{number:6} {name}")
    print(f"{longest:6.1f} s of processor time for the slowest")
    return 1 if any("as it should" not in name for name, number in counts.items() if number) else 0


if __name__ == "__main__":
    sys.exit(main())
