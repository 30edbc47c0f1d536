"""What `verify PATH` says of repositories that nobody looked at before: ``python benchmarks/strangers.py``

    python benchmarks/strangers.py TREES OWNER/NAME@REVISION...

TREES holds the Python files of each as ``OWNER+NAME``. Each is verified without a driver, as
``lorascale-lint verify PATH`` does, in child processes that reach no network, and the page
docs/verification/strangers.md is printed: for each the time, the counts, and a row for every application.
Nothing of the code is printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prove import NOT_RUN, Proved, proved

from lorascale_lint.verify.run import run_verify

_LONGEST = 110


def page(trees: Path, names: list[str], seconds: float) -> Iterator[str]:
    """docs/verification/strangers.md."""
    yield "# Repositories that no list named"
    yield ""
    yield (
        "Written by `python benchmarks/strangers.py TREES OWNER/NAME@REVISION...`, which runs "
        f"`lorascale-lint verify PATH --driver harness --seed 1 --timeout {seconds:g}` over the Python files "
        "of each. They were chosen by their names among those that speak of LoRA and that no list of this "
        "project has, before anybody looked at them. Times are those of a machine that was busy."
    )
    whole = Counter[str]()
    for name in names:
        repository, _, revision = name.partition("@")
        folder = trees / repository.replace("/", "+")
        started = time.monotonic()
        report = run_verify(folder, driver="harness", seed=1, timeout=seconds)
        took = time.monotonic() - started
        found = list(proved(repository, report))
        counts = Counter(item.outcome for item in found)
        whole.update(counts)
        files = sum(1 for _ in folder.rglob("*.py"))
        print(f"{repository}: {dict(counts)} ({took:.0f} s)", file=sys.stderr, flush=True)
        yield ""
        yield f"## {repository} {revision[:12]}"
        yield ""
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
        yield f"{files} files, {took:.0f} s. {told or _problem(report.problem)}."
        if found:
            yield ""
            yield "| application | verdict | what else is wrong |"
            yield "|---|---|---|"
            yield from map(_line, found)
    run = sum(whole.values()) - whole[NOT_RUN]
    yield ""
    yield "## Together"
    yield ""
    yield (
        f"{len(names)} repositories, {sum(whole.values())} applications, {run} run: "
        + ", ".join(f"{count} {outcome}" for outcome, count in whole.most_common())
        + "."
    )


def _problem(problem: object) -> str:
    text = str(getattr(problem, "message", "")) or "nothing"
    return text[text.find("no place") :].rstrip(".").capitalize() if "no place" in text else text.rstrip(".")


def _line(item: Proved) -> str:
    cells = (f"`{item.place}`", f"{item.verdict}: {item.detail}"[:_LONGEST], "; ".join(item.failures))
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def main() -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("trees", type=Path)
    parser.add_argument("names", nargs="+", metavar="OWNER/NAME@REVISION")
    parser.add_argument("--seconds", type=float, default=30.0, help="for one question")
    options = parser.parse_args()
    print("\n".join(page(options.trees, options.names, options.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
