"""Apply fixes in memory, in rounds, until a check finds nothing more to fix."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from lorascale_lint.findings import FileFailure, Finding, Fix
from lorascale_lint.report.content import Report
from lorascale_lint.sources.text import SourceText, UndecodableSource

MAX_ROUNDS = 20
MAX_REPAIRS = 4
"""Rounds in which one finding of a file is repaired: of several in one function, each may uncover another."""
_PLEASE_REPORT = "please report this with the file and the version of lorascale-lint"


@dataclass(frozen=True, slots=True)
class Change:
    """The bytes of one file before and after all fixes."""

    path: Path
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class Applied:
    """A finding that was fixed, and the files that this changed."""

    finding: Finding
    files: frozenset[Path]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What fixing did.

    ``report`` is what remains. Each of ``groups`` is written whole or not at all: its files share a
    fix. ``notes`` say why a fix that was at hand was not applied.
    """

    report: Report
    groups: tuple[tuple[Change, ...], ...]
    applied: tuple[Applied, ...]
    notes: tuple[str, ...]

    @property
    def fixed(self) -> Mapping[tuple[str, str, str], int]:
        """Number of fixes by file name, code and name of the rule."""
        return self.fixed_without(frozenset())

    def fixed_without(self, unwritten: Collection[Path]) -> Mapping[tuple[str, str, str], int]:
        """The same, less the fixes that touch one of these files."""
        spans = (item.finding for item in self.applied if item.files.isdisjoint(unwritten))
        found = Counter((finding.span.filename, finding.code, finding.name) for finding in spans)
        return dict(sorted(found.items()))


class _Splice(NamedTuple):
    """An edit in characters of the decoded text."""

    start: int
    end: int
    content: str

    def overlaps(self, other: _Splice) -> bool:
        return self.start < other.end and other.start < self.end

    def touches(self, other: _Splice) -> bool:
        """Whether the result could depend on which of the two is applied first."""
        if self.start == self.end or other.start == other.end:
            return self.start <= other.end and other.start <= self.end
        return self.overlaps(other)


def apply_fixes(
    check: Callable[[Mapping[Path, bytes]], Report],
    editable: Mapping[Path, bytes | None],
    *,
    unsafe: bool,
    obstacle: Callable[[Path], str | None] = lambda path: None,
) -> Outcome:
    """Apply what ``check`` offers: safe fixes, and unsafe ones if asked for.

    Only files of ``editable`` are changed; a value that is not None stands for the content of the
    file, the others are read once, here, and ``check`` is given what was read: an edit is applied to the
    very bytes that it was made for. Hard links of one file are changed as one. ``obstacle`` names what
    keeps a file from being written, if anything.
    """
    return _Fixer(check, editable, unsafe, obstacle).run()


class _Fixer:
    def __init__(
        self,
        check: Callable[[Mapping[Path, bytes]], Report],
        editable: Mapping[Path, bytes | None],
        unsafe: bool,
        obstacle: Callable[[Path], str | None],
    ) -> None:
        self.check = check
        self.unsafe = unsafe
        self.obstacle = obstacle
        self.editable = editable
        self.before: dict[Path, bytes] = {}
        self.same: dict[Path, Path] = {}
        self._read()
        self.now = dict(self.before)
        self.blocked: set[Path] = set()
        self.opened: set[Path] = set()
        self.applied: list[Applied] = []
        self.unusable: set[Fix] = set()
        self.repaired: Counter[tuple[str, str]] = Counter()
        self.useless: set[tuple[str, str]] = set()
        self.failures: dict[str, FileFailure] = {}
        self.notes: dict[str, None] = {}

    def _read(self) -> None:
        """The content of each file, once for all its hard links; what can't be read is left out."""
        first: dict[tuple[int, int], Path] = {}
        for path, data in self.editable.items():
            one = path
            if data is None:
                try:
                    with path.open("rb") as file:
                        status = os.fstat(file.fileno())
                        one = first.setdefault((status.st_dev, status.st_ino), path)
                        data = self.before.get(one) if one is not path else file.read()
                except OSError:
                    continue  # the check says so
            if data is not None:
                self.before[one] = data
                self.same[path] = one

    def _check(self) -> Report:
        return self.check({path: self.now[one] for path, one in self.same.items()})

    def run(self) -> Outcome:
        report = self._check()
        rounds = 0
        while changed := self._round(report):
            rounds += 1
            self._withhold_useless()
            if rounds == MAX_ROUNDS:
                for path in changed - self.blocked:
                    self._take_back(path, f"fixes of this file do not come to an end after {rounds} rounds")
                rounds = 0
            report = self._check()
        kept = [replace(f, fix=None) if _key(f) in self.useless else f for f in report.findings]
        report = replace(report, findings=tuple(kept))
        failures = (*report.failures, *self.failures.values())
        report = replace(
            report, failures=tuple(sorted(failures, key=lambda item: (item.filename, item.position)))
        )
        return Outcome(report, tuple(self._groups()), tuple(self.applied), tuple(self.notes))

    def _round(self, report: Report) -> set[Path]:
        """Apply the fixes that do not meet each other; the files changed, also if taken back."""
        accepted: dict[Path, list[_Splice]] = {}
        chosen: list[Applied] = []
        for finding in report.findings:
            splices = self._splices(finding)
            if splices and _fits(splices, accepted):
                for path, own in splices.items():
                    known = accepted.setdefault(path, [])
                    known.extend(splice for splice in own if splice not in known)
                chosen.append(Applied(finding, frozenset(splices)))
        self.applied.extend(chosen)
        self.repaired.update({_key(item.finding) for item in chosen})
        problems: dict[Path, str] = {}
        for path, edits in accepted.items():
            try:
                self.now[path] = _spliced(SourceText.decode(self.now[path]), edits)
            except UnicodeEncodeError as error:
                problems[path] = f"its encoding can't hold the repaired text ({error})"
                continue
            if (defect := _defect(self.now[path])) and not _defect(self.before[path]):
                problems[path] = f"fixing this file breaks it ({defect})"
        for path, why in problems.items():
            self._take_back(path, why)
        return set(accepted)

    def _splices(self, finding: Finding) -> dict[Path, list[_Splice]] | None:
        """The edits of a finding's fix by file, or None when it can't be applied."""
        fix = finding.fix
        if fix is None or fix in self.unusable or (fix.applicability == "unsafe" and not self.unsafe):
            return None
        place = f"{finding.span.filename}:{finding.span.start.row}: {finding.code} {finding.name}"
        if _key(finding) in self.useless:
            self.notes[f"{place} is not fixed: its repair does not end it"] = None
            return None
        for path in sorted({Path(edit.span.filename) for edit in fix.edits}):
            if path not in self.editable:
                self.notes[f"{place} is not fixed: that also changes {path}, which was not given"] = None
                return None
            if self._is_blocked(self.same.get(path, path)):
                return None
        splices: dict[Path, list[_Splice]] = {}
        changes = False
        try:
            for edit in fix.edits:
                path = self.same[Path(edit.span.filename)]
                source = SourceText.decode(self.now[path])
                start, end = source.offset(edit.span.start), source.offset(edit.span.end)
                content = edit.content.replace("\r\n", "\n").replace("\n", source.newline)
                splice = _Splice(start, end, content)
                own = splices.setdefault(path, [])
                if start > end or any(splice.overlaps(other) for other in own if other != splice):
                    raise ValueError("its edits overlap")
                if splice not in own:
                    own.append(splice)
                changes = changes or source.text[start:end] != content
            if not changes:
                raise ValueError("it changes nothing")
        except ValueError as error:
            self.unusable.add(fix)
            self._fail(Path(finding.span.filename), f"{place} has an unusable fix: {error}")
            return None
        return splices

    def _is_blocked(self, path: Path) -> bool:
        """Whether a file can't be changed, found out before its first change."""
        if path not in self.opened:
            self.opened.add(path)
            if why := self.obstacle(path) or self._open(path):
                self.blocked.add(path)
                self.notes[f"{path} is not fixed: it {why}"] = None
        return path in self.blocked

    def _open(self, path: Path) -> str | None:
        if path not in self.before:
            return "can't be read"
        import libcst

        data = self.before[path]
        try:
            round_trip = libcst.parse_module(data).bytes
            SourceText.decode(data)
        except (UndecodableSource, libcst.ParserSyntaxError) as error:
            return f"can't be read: {error}"
        if round_trip != data:
            # LibCST drops form feeds and a trailing lone carriage return, for example.
            return "is not reproduced byte for byte by LibCST"
        return None

    def _withhold_useless(self) -> None:
        """A finding that comes back after each repair keeps its code; all else there is repaired anew."""
        useless = {key for key, rounds in self.repaired.items() if rounds > MAX_REPAIRS}
        for key in useless:
            self.useless.add(key)
            for path in [path for item in self.applied if _key(item.finding) == key for path in item.files]:
                self._undo(path)
        if useless:
            self.repaired.clear()

    def _undo(self, path: Path) -> None:
        """Undo every change to a file, and to all files tied to it by fixes."""
        group = self._group_of(path)
        for member in group:
            self.now[member] = self.before[member]
        self.applied = [item for item in self.applied if item.files.isdisjoint(group)]

    def _take_back(self, path: Path, why: str) -> None:
        """Undo every change that is tied to a file, and leave it alone from now on."""
        self._undo(path)
        self.blocked.add(path)
        self._fail(path, f"{why}; its changes were taken back")

    def _fail(self, path: Path, message: str) -> None:
        message = f"{message}; {_PLEASE_REPORT}"
        self.failures[f"{path} {message}"] = FileFailure(str(path), message, code="LS000")

    def _group_of(self, path: Path) -> set[Path]:
        group, size = {path}, 0
        while len(group) > size:
            size = len(group)
            group.update(
                *(item.files for item in self.applied if not item.files.isdisjoint(group)),
            )
        return group

    def _groups(self) -> Iterable[tuple[Change, ...]]:
        changed = {path for path, data in self.now.items() if data != self.before[path]}
        while changed:
            group = self._group_of(min(changed)) & changed
            yield tuple(Change(path, self.before[path], self.now[path]) for path in sorted(group))
            changed -= group


def _key(finding: Finding) -> tuple[str, str]:
    """What a finding is, whatever row it has come to."""
    return finding.span.filename, f"{finding.code} {finding.message}"


def _spliced(source: SourceText, splices: Iterable[_Splice]) -> bytes:
    parts, end = [], 0
    for splice in sorted(splices, key=lambda splice: splice[:2]):
        parts += [source.text[end : splice.start], splice.content]
        end = splice.end
    return source.encode("".join(parts) + source.text[end:])


def _fits(splices: Mapping[Path, Collection[_Splice]], accepted: Mapping[Path, Collection[_Splice]]) -> bool:
    """Whether a fix can join those accepted in this round; edits that both have count once."""
    return not any(
        splice.touches(other)
        for path, own in splices.items()
        for splice in own
        if splice not in accepted.get(path, ())
        for other in accepted.get(path, ())
        if other not in own
    )


def _defect(data: bytes) -> str | None:
    """Why Python or LibCST rejects a file; nothing is executed."""
    import libcst

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a SyntaxWarning of the linted file is not ours to print
            compile(data, "<fixed>", "exec", dont_inherit=True)
        libcst.parse_module(data)
    except Exception as error:  # whatever a parser raises, the file is not to be written
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None
