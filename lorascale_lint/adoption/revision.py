"""`--diff-base`: what the files of a git revision had, so that only what came since is reported."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorascale_lint.adoption.counts import Counts, Spot, counts
from lorascale_lint.errors import InputError
from lorascale_lint.report.content import Read, Report
from lorascale_lint.sources.discovery import Sources, display_path
from lorascale_lint.sources.notebook import NotANotebook, Notebook

Check = Callable[[Sources, Mapping[Path, bytes]], tuple[Report, Read]]
"""Checks sources with the bytes of some files in place of those on disk, and reads what was checked."""


class RevisionError(InputError):
    """A revision that git does not know, or files that are in no repository."""


@dataclass(frozen=True, slots=True)
class Revision:
    """The files of a revision that differ from those in the working tree.

    ``before`` holds the former bytes of changed files by their former names, ``renamed`` the present name by
    the former one, ``added`` what the revision does not have.
    """

    before: Mapping[Path, bytes]
    renamed: Mapping[Path, Path]
    added: frozenset[Path]

    @classmethod
    def read(cls, name: str, sources: Sources) -> Revision:
        """The state at the point where the present branch left ``name``. Raises `RevisionError`."""
        git = _Git.around(sources)
        commit = git.commit(name)
        present = {*git.lines("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)}
        every = (*sources.targets, *sources.context)
        added = frozenset(path for path in every if git.name(path) not in present)
        before: dict[Path, bytes] = {}
        renamed: dict[Path, Path] = {}
        fields = iter(git.lines("diff", "--name-status", "-M", "-z", *_PLAIN, commit, "--"))
        for status in fields:
            former = next(fields)
            path = git.path(former)
            if status[0] in "RC":
                renamed[path] = git.path(next(fields))
            if status[0] != "A" and former.endswith((".py", ".ipynb")):
                before[path] = git.run("cat-file", "blob", f"{commit}:{former}")
        return cls(before, renamed, added)

    def known(self, sources: Sources, check: Check) -> Counts:
        """The findings that the revision had in ``sources``, under the present names of their files."""
        former = {present: path for path, present in self.renamed.items()}

        def then(paths: Sequence[Path]) -> tuple[Path, ...]:
            return tuple(former.get(path, path) for path in paths if path in former or path not in self.added)

        targets = then(sources.targets)
        gone = {path for path in self.before if path.suffix == ".py"} - {*targets}
        context = {*then(sources.context)} | gone
        report, read = check(
            replace(sources, targets=tuple(sorted(targets)), context=tuple(sorted(context)), failures=()),
            _python(self.before),
        )
        now = {str(path): str(present) for path, present in self.renamed.items()}
        found = counts((*report.findings, *report.unshown), read)
        return {
            Spot(now.get(spot.filename, spot.filename), spot.code, spot.definition): number
            for spot, number in found.items()
        }


def _python(files: Mapping[Path, bytes]) -> dict[Path, bytes]:
    """With the Python of notebooks in place of their bytes."""
    texts = dict(files)
    for path, data in files.items():
        if path.suffix == ".ipynb":
            with contextlib.suppress(NotANotebook):
                notebook = Notebook.read(data)
                texts[path] = notebook.text.encode() if notebook else b""
    return texts


# Nothing that the repository configures is run.
_PLAIN = ("--no-ext-diff", "--no-textconv", "--ignore-submodules=all")


@dataclass(frozen=True, slots=True)
class _Git:
    root: Path

    @classmethod
    def around(cls, sources: Sources) -> _Git:
        first = min((*sources.targets, Path("-")), key=lambda path: (path == Path("-"), path))
        here = cls(first.absolute().parent)
        return cls(Path(here.run("rev-parse", "--show-toplevel").decode().rstrip("\n")))

    def commit(self, name: str) -> str:
        options = ("--verify", "--quiet", "--end-of-options")
        commit = self.run("rev-parse", *options, f"{name}^{{commit}}", what=name).decode().strip()
        with contextlib.suppress(RevisionError):  # a shallow clone may lack the common ancestor
            commit = self.run("merge-base", commit, "HEAD").decode().strip()
        return commit

    def name(self, path: Path) -> str | None:
        try:
            return path.resolve().relative_to(self.root.resolve()).as_posix()
        except ValueError:
            return None

    def path(self, name: str) -> Path:
        return display_path(self.root / name)

    def lines(self, *command: str) -> list[str]:
        found = self.run(*command).decode(errors="surrogateescape")
        return found.split("\0")[:-1]

    def run(self, *command: str, what: str | None = None) -> bytes:
        arguments = ["git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *command]
        try:
            done = subprocess.run(arguments, cwd=self.root, capture_output=True, check=False)
        except OSError as error:
            raise RevisionError(f"--diff-base: git cannot be run: {error.strerror or error}") from error
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip().splitlines()
            told = f"git knows no revision {what!r}" if what is not None else (why or ["git failed"])[-1]
            raise RevisionError(f"--diff-base: {told}")
        return done.stdout
