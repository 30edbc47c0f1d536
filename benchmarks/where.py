"""Where the time of a cold run goes: ``python benchmarks/where.py FOLDER_OR_FILE``.

Lints the folder once, with all rules, or the file as a commit hook does, beside its project. Prints processor
seconds by what they went into: parsing, objects as any method may have left them, trials of loaders,
functions that are looked at, rules. What one part asks of another is counted for the other. Also how many
expressions were evaluated, how many functions were run, how many calls had a known result, and the five
dearest rules.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lorascale_lint import engine
from lorascale_lint.config import Configs
from lorascale_lint.linking import program
from lorascale_lint.provenance import driver, expressions, running, trials, unseen
from lorascale_lint.provenance.memory import Memory
from lorascale_lint.rule import Rule, all_rules
from lorascale_lint.sources.discovery import discover


class Watch:
    """Processor time by part; a part inside another stops the clock of the outer one."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._inner = [0.0]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What runs in it is counted for ``name``."""
        start = time.process_time()
        self._inner.append(0.0)
        try:
            yield
        finally:
            whole = time.process_time() - start
            self.seconds[name] += whole - self._inner.pop()
            self._inner[-1] += whole

    def timed(self, module: Any, name: str, part: str) -> None:
        """Count each call of a function of a module for ``part``."""
        function: Callable[..., Any] = getattr(module, name)

        def run(*args: Any, **keywords: Any) -> Any:
            with self.part(part):
                return function(*args, **keywords)

        setattr(module, name, run)

    def counted(self, module: Any, name: str, what: Callable[[Any], str]) -> None:
        """Count the calls of a function by what they give."""
        function: Callable[..., Any] = getattr(module, name)

        def run(*args: Any, **keywords: Any) -> Any:
            made = function(*args, **keywords)
            self.counts[what(made)] += 1
            return made

        setattr(module, name, run)


def main() -> None:
    """Print the profile."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path)
    watch, path = Watch(), parser.parse_args().path
    around = discover([path], Configs()).context if path.is_file() else []
    paths = [path] if path.is_file() else sorted(path.rglob("*.py"))
    watch.timed(program, "_parse", "parsing")
    watch.timed(unseen, "_settle", "objects as any method may have left them")
    watch.timed(trials, "record", "trials of loaders")
    watch.timed(driver, "examine_file", "functions that are looked at")
    watch.counted(running, "_run", lambda _: "runs of functions that were called")
    watch.counted(Memory, "find", lambda made: "calls with a known result" if made else "calls without")
    rules = all_rules()
    for rule in rules:
        examined(watch, rule)
    engine.all_rules = lambda: rules
    handlers = expressions._HANDLERS
    for kind, handler in list(handlers.items()):
        handlers[kind] = counting(watch, handler)
    with watch.part("reading, linking and the rest"):
        result = engine.lint(paths, around)
    total = sum(watch.seconds.values())
    print(f"{len(paths)} files, {len(result.findings)} findings, {total:.1f} s of processor time, of which")
    by_rule = {name: spent for name, spent in watch.seconds.items() if name.startswith("LS")}
    parts = {name: spent for name, spent in watch.seconds.items() if name not in by_rule}
    parts[f"{len(by_rule)} rules"] = sum(by_rule.values())
    for name, spent in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"{spent:8.1f} s {spent / total:5.0%}  {name}")
    for name, spent in sorted(by_rule.items(), key=lambda item: -item[1])[:5]:
        print(f"{spent:8.1f} s {spent / total:5.0%}  rule {name}")
    for name, count in sorted(watch.counts.items()):
        print(f"{count:10,} {name}")


def examined(watch: Watch, rule: Rule) -> None:
    """Count what a rule takes for it; its findings are asked for one by one."""
    examine = rule.examine

    def run(ledger: Any) -> Any:
        with watch.part(rule.code):
            return list(examine(ledger))

    rule.examine = run  # type: ignore[method-assign]


def counting(watch: Watch, handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler of expressions that counts how often it is asked."""

    def run(*args: Any) -> Any:
        watch.counts["expressions evaluated"] += 1
        return handler(*args)

    return run


if __name__ == "__main__":
    main()
