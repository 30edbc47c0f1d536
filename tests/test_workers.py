"""Files are looked at in other processes, in shares, or in a cluster: what is found is always the same."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.audit_many_tensors import make
from lorascale_lint import cli
from lorascale_lint.audit.command import AuditOptions, audit_checkpoint
from lorascale_lint.engine import lint
from lorascale_lint.errors import InputError
from lorascale_lint.linking.program import Program
from lorascale_lint.provenance import driver
from lorascale_lint.results import LintResult
from lorascale_lint.rule import all_rules
from lorascale_lint.workers import packing, projects
from lorascale_lint.workers.executors import Dask, Processes, Workers, workers_of
from tests.projects import write_bad_examples

POSIX = pytest.mark.skipif(os.name == "nt", reason="processes are forked")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The bad examples of all rules, each a file, and a layer that another file inherits from."""
    folder = tmp_path_factory.mktemp("project")
    write_bad_examples(folder, all_rules())
    (folder / "lora_base.py").write_text(BASE)
    (folder / "lora_child.py").write_text(CHILD)
    return sorted(folder.rglob("*.py"))


BASE = """\
class LoRABase:
    def __init__(self, base, lora_A, lora_B, lora_alpha, rank):
        self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
        self.scaling = lora_alpha / rank

    def delta(self):
        return self.lora_B @ self.lora_A
"""
CHILD = """\
from lora_base import LoRABase


class LoRAChild(LoRABase):
    def forward(self, x):
        return self.base(x) + x @ self.delta().T * self.scaling

    def merge(self):
        self.base.weight.data += self.delta()
"""


def told(result: LintResult) -> list[object]:
    """Everything that a result says, with the edits of its repairs."""
    found = [replace(one, fix=None) for one in result.findings]
    edits = [one.fix and (one.fix.applicability, one.fix.message, one.fix.edits) for one in result.findings]
    return [found, edits, result.failures, result.checked, result.judged, result.unjudged]


@pytest.fixture(scope="module")
def alone(project: list[Path]) -> list[object]:
    """What one process finds."""
    result = lint(project, [])
    assert len({finding.code for finding in result.findings}) > 50
    assert any(finding.span.filename.endswith("lora_child.py") for finding in result.findings)
    return told(result)


@POSIX
def test_processes_find_what_one_finds(project: list[Path], alone: list[object]) -> None:
    done = []
    result = lint(project, [], workers=Processes(3), progress=lambda *pair: done.append(pair))
    assert told(result) == alone
    assert done[-1][0] == done[-1][1]


@POSIX
def test_a_file_that_ends_its_process_is_named_and_costs_no_other(
    project: list[Path], alone: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    examine = driver.examine_file

    def die(machine: object, file: object) -> None:
        if file.filename.endswith("inverted_scale.py"):  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGKILL)
        examine(machine, file)  # type: ignore[arg-type]

    monkeypatch.setattr(driver, "examine_file", die)
    result = lint(project, [], workers=Processes(2))
    (failure,) = result.failures
    assert failure.filename.endswith("inverted_scale.py")
    assert failure.message == "the process that followed its code died"
    codes = {finding.code for finding in result.findings}
    assert codes == {finding.code for finding in alone[0]} - {"LS111"}  # type: ignore[attr-defined]


_BUSY = """
import fcntl, os, sys, time
from pathlib import Path
from lorascale_lint.engine import lint
from lorascale_lint.workers import projects
from lorascale_lint.workers.executors import Processes

folder = Path(sys.argv[1])

def examine_share(*_):
    held = open(folder / f"{os.getpid()}.lock", "w")
    fcntl.flock(held, fcntl.LOCK_EX)
    (folder / f"{os.getpid()}.ready").touch()
    time.sleep(600)

projects.examine_share = examine_share
lint(sorted(folder.rglob("*.py")), [], workers=Processes(2))
"""


@POSIX
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_process_outlives_the_one_that_forked_it(how: signal.Signals, tmp_path: Path) -> None:
    import fcntl

    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lora.py").write_text(BASE)
    parent = subprocess.Popen([sys.executable, "-c", _BUSY, str(tmp_path)], stderr=subprocess.DEVNULL)
    while len([*tmp_path.glob("*.ready")]) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(how)
    parent.wait(60)
    for path in tmp_path.glob("*.lock"):
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel gives it when the process is gone, and not before


@POSIX
def test_a_file_that_fails_is_named(project: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(driver, "examine_file", fail)
    result = lint(project[:2], [], workers=Processes(1))
    assert [failure.message for failure in result.failures] == ["internal error: MemoryError('no room')"] * 2


@pytest.mark.parametrize("text", ["", "dask:", "processes:0", "processes:x", "threads:2", "tcp://a:1"])
def test_who_nobody_knows(text: str) -> None:
    with pytest.raises(InputError, match="neither processes:N nor dask:SCHEDULER"):
        workers_of(text)


# ---- shares ---------------------------------------------------------------------------------


@pytest.fixture
def command(
    project: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in the project."""
    monkeypatch.chdir(project[0].parent.parent)

    def run(*args: str) -> tuple[int, str, str]:
        code = cli.run([*args])
        out, err = capsys.readouterr()
        return code, out, err

    return run


FORMAT = ("--preview", "--output-format", "json")


def test_shares_find_together_what_one_run_finds(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    reports = [str(tmp_path / f"{index}") for index in range(1, 4)]
    for index, report in enumerate(reports, 1):
        shard = ["check", "--shard", f"{index}/3", "-o", report, "."]
        seed = {**os.environ, "PYTHONHASHSEED": str(index)}
        subprocess.run([sys.executable, "-m", "lorascale_lint", *shard], env=seed, check=True)
    whole = command("check", "--no-cache", *FORMAT, ".")
    assert whole[0] == 1
    assert command("merge-reports", *FORMAT, *reversed(reports)) == whole
    code, _, err = command("merge-reports", *reports[:2])
    assert (code, err) == (2, "error: there is no report of shard 3\n")
    with Path("lora_child.py").open("a") as file:
        file.write("# changed\n")
    code, out, err = command("merge-reports", *reports)
    assert (code, out) == (2, "")
    assert "are of other files" in err
    Path("lora_child.py").write_text(CHILD)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--shard", "1/2", "."], "goes with files and -o FILE"),
        (["--shard", "3/2", "-o", "x", "."], "is not I/N"),
        (["--shard", "0/2", "-o", "x", "."], "is not I/N"),
        (["--shard", "1/2", "-o", "x", "--fix", "."], "without options that change files"),
        (["--shard", "1/2", "-o", "x", "--executor", "processes:2"], "exclude each other"),
    ],
)
def test_shares_that_can_not_be(
    command: Callable[..., tuple[int, str, str]], args: list[str], said: str
) -> None:
    code, out, err = command("check", *args)
    assert (code, out) == (2, "")
    assert said in err


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/owned",)


class Written:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.unlink, ("x",)  # type: ignore[return-value]


THINGS = {
    "a command": Evil(),
    "a file": Written(),
    "eval": eval,
    "lint": lint,
    "Popen": subprocess.Popen,
    "5": 5,
}


@pytest.mark.parametrize("thing", THINGS.values(), ids=THINGS)
def test_what_was_seen_can_not_have_anything_called(thing: object) -> None:
    with pytest.raises(InputError, match="what was seen elsewhere can't be read"):
        packing.unpacked(pickle.dumps((set(), thing)), packing.Places(Program({}, {})))


def test_a_report_with_something_else_in_it_is_refused(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    report, evil = tmp_path / "report", tmp_path / "evil"
    file = "LS1/inverted_scale.py"
    assert command("check", "--shard", "1/1", "-o", str(report), file)[0] == 0
    assert command("merge-reports", "-q", str(report))[0] == 1
    with zipfile.ZipFile(report) as old, zipfile.ZipFile(evil, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) if name == "shard.json" else pickle.dumps((set(), Evil())))
    code, out, err = command("merge-reports", "-q", str(evil))
    assert (code, out) == (2, "")
    assert (
        err == "error: what was seen elsewhere can't be read: posix.system is nothing that is seen in code\n"
    )


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 100])
def test_reports_that_are_none(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path, content: bytes
) -> None:
    report = tmp_path / "report"
    report.write_bytes(content)
    code, _, err = command("merge-reports", str(report))
    assert code == 2
    assert "is not what --shard has written" in err
    with zipfile.ZipFile(report, "w") as file:
        file.writestr("shard.json", "[" * 100_000)
    assert command("merge-reports", str(report))[0] == 2


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices")
@pytest.mark.parametrize("kind", ["pipe", "device", "damaged"])
def test_reports_that_are_no_files_or_damaged(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path, kind: str
) -> None:
    report = tmp_path / "report"
    match kind:
        case "pipe":
            os.mkfifo(report)
        case "device":
            report.symlink_to("/dev/zero")
        case _:
            with zipfile.ZipFile(report, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr("shard.json", bytes(range(256)) * 20)
            content = bytearray(report.read_bytes())
            content[60:90] = b"Z" * 30
            report.write_bytes(content)
    code, out, err = command("merge-reports", str(report))
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {report}: is not what --shard has written: ")
    assert err.count("\n") == 1


# ---- a cluster ------------------------------------------------------------------------------


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and its workers on the loopback, each a process of its own that nobody restarts."""
    address = folder / "scheduler.json"
    log = (folder / "log").open("wb")
    where = ["--scheduler-file", str(address)]
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    common = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *local, *where]
    scheduler = subprocess.Popen(common, stdout=log, stderr=log, cwd=folder)
    started = []
    try:
        for _ in range(200):
            if address.exists() and address.read_bytes():
                break
            time.sleep(0.1)
        command = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny", "--nthreads", "1"]
        command += [*local, *where, "--local-directory", str(folder)]
        started = [subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) for _ in range(workers)]
        from distributed import Client

        with Client(scheduler_file=str(address), set_as_default=False, timeout=60) as client:
            client.wait_for_workers(workers, timeout=120)
            scheduler_address = client.scheduler.address
        yield scheduler_address, started
    finally:
        for process in (*started, scheduler):
            process.kill()
            process.wait()
        log.close()


def test_a_cluster_finds_what_one_process_finds_while_workers_are_killed(
    project: list[Path], alone: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    with cluster(tmp_path, 3) as (address, processes):
        assert told(lint(project, [], workers=Dask(address))) == alone
        killed = []

        def progress(done: int, total: int) -> None:
            if not killed and done > total / 2:
                killed.append(done)
                for process in processes[:2]:
                    process.kill()

        result = lint(project, [], workers=Dask(address), progress=progress)
        assert result.failures == ()
        assert told(result) == alone
        assert killed
        processes[2].kill()
        processes[2].wait()
        with pytest.raises(InputError, match="has no worker"):
            lint(project, [], workers=Dask(address))
    monkeypatch.setattr("lorascale_lint.workers.executors.CLUSTER_SECONDS", 1)
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        lint(project, [], workers=Dask("tcp://127.0.0.1:9"))


def test_a_cluster_audits_as_threads_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "files", 900)
    base, adapter, merged = (f"files/{name}.safetensors" for name in ("base", "adapter", "merged"))
    options = AuditOptions(Path(base), (adapter,), Path(merged))
    here = audit_checkpoint(options)
    assert (len(here.judgements), here.exit_code) == (900, 0)
    with cluster(tmp_path, 2) as (address, _):
        assert audit_checkpoint(replace(options, executor=f"dask:{address}")) == here
        Path(base).rename("gone")
        with pytest.raises(InputError):
            audit_checkpoint(replace(options, executor=f"dask:{address}"))
    with pytest.raises(InputError, match="for this machine there is --jobs"):
        audit_checkpoint(replace(options, base=Path("gone"), executor="processes:2"))


def test_workers_of_another_version_are_refused(project: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def other(self: object, project: projects.Project) -> None:
        made = replace(project, program="Python 3.99, lorascale-lint x")
        received(self, made)

    received = projects.Received.__init__
    monkeypatch.setattr(projects.Received, "__init__", other)

    class Here:
        deaths: tuple[type[Exception], ...] = ()

        @contextmanager
        def open(self, project: projects.Project, files: object) -> Iterator[object]:
            projects.Received.of(project.sent())
            yield None

    workers: Workers = Here()  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"a worker has Python 3\.\d+, .* and this is Python 3\.99"):
        lint(project, [], workers=workers)
