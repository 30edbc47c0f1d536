"""``--fix`` under fire: ``python benchmarks/fix_under_fire.py [--moments 1000] [--only KIND ...]``.

Each moment is one run of ``lorascale-lint --fix`` on a fresh tree of files with findings, among them a hard
link, a link to another file of the tree, and a file with an extended attribute. Meanwhile something happens:

- ``SIGKILL``, ``SIGTERM``, ``SIGINT``, ``SIGHUP``: the signal, half of the times at any moment of the run,
  half while files are being written;
- ``two-runs``: a second run starts at any moment of the first;
- ``edits``: another program adds a line to some file, in place or by a file of its own that it renames;
- ``full-disk``: the tree lies on a tmpfs with room for only so many bytes more (it takes user namespaces).

What the engine finds in each file, before and after its repair, is worked out once before the runs start, so
that most of their time goes into what is under fire. One run of ten works it out itself.

Afterwards, and once more after an undisturbed next run, files are counted that are lost or half (neither the
old nor the new content; the two names of a hard link no longer one file), edits that are lost, files that are
left, and runs that are wrong: an exit code or a last line that says that all is well while findings remain,
or a traceback. Prints one JSON object with the counts, and exits with 1 if one that must be zero is not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorascale_lint import check_command, cli, engine
from lorascale_lint.fixing.temporary import PREFIX
from lorascale_lint.results import LintResult
from lorascale_lint.rule import all_rules

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
KINDS = (*SIGNALS, "two-runs", "edits", "full-disk")
RULES = ("LS106", "LS110", "LS111")
MUST_BE_ZERO = ("lost or half", "edits lost", "left after the next run", "wrong")
ARGUMENTS = ["--fix", "--unsafe-fixes", "--no-cache", "--select", ",".join(RULES), "."]


def example(code: str, section: str) -> bytes:
    """The code of a rule's page, with a tail that fills a few disk blocks."""
    page = next(rule for rule in all_rules() if rule.code == code).page()
    found = re.search(rf"## {section}\n+```python\n(.*?)```", page, re.S)
    assert found
    return found[1].encode() + b"\n\n# comments that fill some blocks of the disk: %s\n" % (b"." * 1000) * 3


class Tree:
    """Files with one finding each, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pairs: dict[Path, tuple[bytes, bytes]] = {}
        (folder / "pyproject.toml").touch()
        for code in RULES:
            pair = example(code, "Bad"), example(code, "Good")
            for number in range(2):
                path = folder / f"lora_{code}_{number}.py"
                path.write_bytes(pair[0])
                self.pairs[path] = pair
        first, second, third, *_ = self.pairs
        os.link(first, folder / "hard.py")
        self.pairs[folder / "hard.py"] = self.pairs[first]
        self.linked = first, folder / "hard.py"
        (folder / "soft.py").symlink_to(second.name)
        with contextlib.suppress(OSError, AttributeError):
            os.setxattr(third, "user.origin", b"kept")
        self.names = {path.name for path in folder.iterdir()}

    def spoilt(self, *, in_place_too: bool) -> int:
        """Files whose content is neither the old nor the new one."""
        return sum(
            not path.is_file() or path.read_bytes() not in pair
            for path, pair in self.pairs.items()
            if in_place_too or path not in self.linked
        )

    def remaining(self) -> int:
        """Files that hold their old content."""
        return sum(path.read_bytes() == old for path, (old, _) in self.pairs.items())

    def left(self) -> int:
        """Temporary files."""
        return sum(path.name.startswith(PREFIX) for path in self.folder.iterdir())


class Known:
    """What the engine finds in files that it has seen before; it stands in its place in forked runs."""

    def __init__(self) -> None:
        self.results: dict[tuple[Path, bytes], LintResult] = {}
        self.lint = engine.lint

    def learn(self, tree: Tree) -> None:
        """Both states of every file, with the edits of their repairs."""
        paths = {Path(path.name): pair for path, pair in tree.pairs.items()}
        paths[Path("soft.py")] = paths[Path(os.readlink(tree.folder / "soft.py"))]
        before = Path.cwd()
        os.chdir(tree.folder)
        for path, pair in paths.items():
            for content in pair:
                result = self.lint([path], [], codes=RULES, overlay={path: content})
                assert all(found.fix is None or found.fix.edits for found in result.findings)
                self.results[path, content] = result
        os.chdir(before)

    def __call__(self, targets: Collection[Path], context: object, **options: Any) -> LintResult:
        found = []
        for path in sorted(targets):
            content = options["overlay"][path] if path in options["overlay"] else path.read_bytes()
            known = self.results.get((path, content))
            found.append(known or self.lint([path], [], **{**options, "overlay": {path: content}}))
        return LintResult(
            tuple(finding for result in found for finding in result.findings),
            tuple(failure for result in found for failure in result.failures),
            len(found),
            sum(result.judged for result in found),
            sum(result.unjudged for result in found),
        )


@dataclass
class Run:
    """One run of the command in a process that was forked, so that nothing is imported anew."""

    process: int
    wrote: int
    """Reading end of a pipe that is closed when the first file is about to be written."""
    output: Path

    @classmethod
    def start(cls, tree: Tree, output: Path, known: Known | None = None) -> Run:
        reading, writing = os.pipe()
        output.write_bytes(b"")  # the run may be over before it opens it
        process = os.fork()
        if process == 0:
            os.close(reading)
            if known is not None:
                engine.lint = known
            cls._be_the_command(tree, writing, output)
        os.close(writing)
        return cls(process, reading, output)

    @staticmethod
    def _be_the_command(tree: Tree, writing: int, output: Path) -> None:
        code = 70
        try:
            for name in SIGNALS[1:]:
                number = getattr(signal, name)
                signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)
            os.chdir(tree.folder)
            out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            write_group = check_command.write_group  # type: ignore[attr-defined]

            def told(group: object) -> None:
                with contextlib.suppress(OSError):
                    os.close(writing)
                write_group(group)  # type: ignore[arg-type]

            check_command.write_group = told  # type: ignore[attr-defined]
            code = cli.run(ARGUMENTS)
            sys.stdout.flush()
            sys.stderr.flush()
        except KeyboardInterrupt:  # between the command and here
            code = 130
        finally:
            os._exit(code)

    def wait_for_writing(self) -> None:
        """Until files are about to be written, or the run is over."""
        os.read(self.wrote, 1)

    def end(self) -> int:
        """The exit code; minus the number of the signal that ended the run."""
        _, status = os.waitpid(self.process, 0)
        os.close(self.wrote)
        return os.waitstatus_to_exitcode(status)

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, number)


class Fire:
    """Moments of one kind, and what came of them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.known: Known | None = None
        self.slow = self._times()
        self.learnt = Known()
        self.learnt.learn(self._tree())
        self.known = self.learnt
        self.quick = min(self._times() for _ in range(3))
        self.whole, self.writing = self.quick

    def _times(self) -> tuple[float, float]:
        """Seconds of an undisturbed run, and of its writing."""
        tree = self._tree()
        start = time.monotonic()
        run = self._start(tree)
        run.wait_for_writing()
        middle = time.monotonic()
        code = run.end()
        if code or tree.remaining():
            raise SystemExit(f"an undisturbed run ends with {code}:\n{(self.folder / 'out').read_text()}")
        return time.monotonic() - start, time.monotonic() - middle

    def _start(self, tree: Tree, output: str = "out") -> Run:
        return Run.start(tree, self.folder / output, self.known)

    def _tree(self, room: Path | None = None) -> Tree:
        folder = (room or self.folder) / "tree"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return Tree(folder)

    def moment(self, kind: str) -> None:
        self.counts["moments"] += 1
        itself = self.counts["moments"] % 10 == 0
        self.known = None if itself else self.learnt
        self.whole, self.writing = self.slow if itself else self.quick
        if kind in SIGNALS:
            self._signalled(getattr(signal, kind))
        elif kind == "two-runs":
            self._two_runs()
        elif kind == "edits":
            self._edited()
        else:
            self._full()

    def _signalled(self, number: int) -> None:
        tree = self._tree()
        run = self._start(tree)
        if self.random.random() < 0.5:
            time.sleep(self.random.uniform(0, self.whole))
        else:
            run.wait_for_writing()
            time.sleep(self.random.uniform(0, self.writing * 1.1))
        run.signal(number)
        code = run.end()
        self.counts["ended by the signal"] += code in (-number, 130)
        self.counts["lost or half"] += tree.spoilt(in_place_too=number != signal.SIGKILL)
        self.counts["half until the next run"] += tree.spoilt(in_place_too=True)
        if number == signal.SIGKILL:
            self.counts["left until the next run"] += tree.left()
        else:
            self.counts["left after the next run"] += tree.left()
        self._judge(tree, code, disturbed=True)
        self._next_run(tree)

    def _two_runs(self) -> None:
        tree = self._tree()
        first = self._start(tree)
        time.sleep(self.random.uniform(0, self.whole))
        second = self._start(tree, "out2")
        for run in (first, second):
            code = run.end()
            self.counts["told that the other was first"] += code == 2
            self._judge(tree, code, output=run.output, disturbed=True)
        self.counts["lost or half"] += tree.spoilt(in_place_too=True)
        self.counts["left after the next run"] += tree.left()
        self._next_run(tree)

    def _edited(self) -> None:
        tree = self._tree()
        run = self._start(tree)
        if self.random.random() < 0.5:
            time.sleep(self.random.uniform(0, self.whole))
        else:
            run.wait_for_writing()
            time.sleep(self.random.uniform(0, self.writing))
        path = self.random.choice(list(tree.pairs))
        line = b"# edited by somebody else\n"
        if self.random.random() < 0.5:
            with path.open("ab", buffering=0) as file:
                file.write(line)
        else:
            own = tree.folder / "editor.tmp"
            own.write_bytes(path.read_bytes() + line)
            os.replace(own, path)
        code = run.end()
        now = path.read_bytes()
        self.counts["edits lost"] += not now.endswith(line)
        others = {
            other: pair for other, pair in tree.pairs.items() if other != path and not other.samefile(path)
        }
        self.counts["lost or half"] += now.removesuffix(line) not in tree.pairs[path]
        self.counts["lost or half"] += sum(other.read_bytes() not in pair for other, pair in others.items())
        self.counts["left after the next run"] += tree.left()
        self.counts["told that a file has changed"] += code == 2
        self._judge(tree, code, disturbed=True)

    def _full(self) -> None:
        tree = self._tree(self.folder / "small")
        filler = self.folder / "small" / "filler"
        free = shutil.disk_usage(tree.folder).free
        room = self.random.choice([0, 4096, 8192, self.random.randrange(0, 60_000)])
        with contextlib.suppress(OSError):
            filler.write_bytes(b"x" * max(free - room, 0))
        run = self._start(tree)
        code = run.end()
        self.counts["lost or half"] += tree.spoilt(in_place_too=True)
        self.counts["left after the next run"] += tree.left()
        self.counts["told that there is no room"] += code == 2
        self._judge(tree, code, disturbed=False)
        filler.unlink(missing_ok=True)
        self._next_run(tree)

    def _judge(self, tree: Tree, code: int, *, output: Path | None = None, disturbed: bool) -> None:
        """Does the run say that all is well while it is not?"""
        text = (output or self.folder / "out").read_text()
        well = "No findings left" in text or code == 0
        remaining = tree.remaining() if not disturbed or code >= 0 else 0
        wrong = (well and remaining > 0) or "Traceback" in text or code not in (0, 2, 130, -1, -2, -9, -15)
        if wrong:
            print(f"exit code {code}, {remaining} files unchanged:\n{text}", file=sys.stderr)
        self.counts["wrong"] += wrong

    def _next_run(self, tree: Tree) -> None:
        code = self._start(tree).end()
        self.counts["lost or half"] += tree.spoilt(in_place_too=True)
        self.counts["left after the next run"] += len(
            {path.name for path in tree.folder.iterdir()} ^ tree.names
        )
        self.counts["lost or half"] += not tree.linked[0].samefile(tree.linked[1])
        self._judge(tree, code, disturbed=False)
        self.counts["wrong"] += code != 0 or tree.remaining() > 0


def under_fire(kind: str, moments: int, seed: int) -> dict[str, int]:
    """Counts of ``moments`` moments of one kind."""
    with tempfile.TemporaryDirectory(prefix="lorascale-fire-") as name:
        folder = Path(name)
        fire = Fire(folder, seed)
        with _small_disk(folder / "small") if kind == "full-disk" else contextlib.nullcontext():
            for _ in range(moments):
                fire.moment(kind)
        return {key: fire.counts[key] for key in ("moments", *MUST_BE_ZERO)} | dict(fire.counts)


@contextlib.contextmanager
def _small_disk(folder: Path):  # type: ignore[no-untyped-def]
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def main() -> None:
    """Run every kind, and print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--moments", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if "full-disk" in options.only and os.environ.get("LORASCALE_FIRE") != "1":
        # Again, in a namespace in which a disk can be mounted that nobody else sees.
        command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, *sys.argv]
        raise SystemExit(
            subprocess.run(command, env=os.environ | {"LORASCALE_FIRE": "1"}, check=False).returncode
        )
    counts: dict[str, dict[str, int]] = {}
    for kind in options.only:
        counts[kind] = under_fire(kind, options.moments, options.seed)
        print(f"{kind}: {json.dumps(counts[kind])}", file=sys.stderr, flush=True)
    print(json.dumps(counts, indent=2))
    failed = any(found[key] for found in counts.values() for key in MUST_BE_ZERO)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
