"""What the code under examination can reach: programs that try, in a room as `verify` uses it.

`SECURITY.md` names these tests beside the promises that they hold.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lorascale_lint.verify import processes
from lorascale_lint.verify.isolation import room as rooms
from lorascale_lint.verify.isolation.promises import Containment, Isolation, Promise
from lorascale_lint.verify.isolation.room import Guest, Room, RoomError, find_containment, output_of
from lorascale_lint.verify.report import Problem, Target, VerifyReport, render_text
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Row, Verdict

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
DRIVER = f"{HERE / 'tiny_driver.py'}:ENTRY"
PATH = {"PATH": os.environ.get("PATH", os.defpath)}

full = find_containment()
needs_namespaces = pytest.mark.skipif(full.unshare is None, reason="this machine has no namespaces")
needs_proc = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")

Try = Callable[..., str]


@pytest.fixture(autouse=True)
def _temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))


def left_in(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "temporary").iterdir())


def start(program: str, *, containment: Containment = full, **options: Any) -> Guest:
    room = Room.new(containment, **options)
    return room.start([sys.executable, "-S", "-c", program], PATH)


def printed(program: str, **options: Any) -> str:
    with start(program, **options) as guest:
        assert guest.wait(20) is not None
        return guest.output(10_000)


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of this machine at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@needs_namespaces
def test_the_network_cannot_be_reached(listener: int) -> None:
    told = printed(
        f"""
import socket
for kind, place in ((socket.SOCK_STREAM, ("127.0.0.1", {listener})), (socket.SOCK_DGRAM, ("192.0.2.9", 53))):
    try:
        socket.socket(socket.AF_INET, kind).connect(place)
        print("reached", place)
    except OSError as error:
        print(type(error).__name__)
print([name for _, name in socket.if_nameindex()])
"""
    )
    assert "reached" not in told
    assert "eth" not in told


@needs_namespaces
def test_processes_of_one_run_can_talk_to_each_other() -> None:
    assert "came through" in printed(
        """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].sendall(b"came through")
print(client.recv(100).decode())
"""
    )


@needs_namespaces
def test_sockets_of_other_programs_cannot_be_reached(tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp(dir="/tmp")) / "service"
    try:
        with socket.socket(socket.AF_UNIX) as service, socket.socket(socket.AF_UNIX) as nameless:
            service.bind(str(place))
            service.listen()
            nameless.bind("\0lorascale-test")
            nameless.listen()
            told = printed(
                f"""
import socket
for name in ({str(place)!r}, "\\0lorascale-test"):
    try:
        socket.socket(socket.AF_UNIX).connect(name)
        print("reached", name)
    except OSError as error:
        print(type(error).__name__)
"""
            )
    finally:
        shutil.rmtree(place.parent)
    assert told.split() == ["ConnectionRefusedError"] * 2


@needs_namespaces
def test_no_environment_of_another_process_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORASCALE_TEST_SECRET", "hunter2hunter2")
    program = """
import pathlib
for place in pathlib.Path("/proc").glob("[0-9]*/environ"):
    try:
        print(place, place.read_bytes())
    except OSError:
        pass
"""
    child = subprocess.Popen(["sleep", "60"])  # Of whom it is the environment as long as it lives.
    try:
        told = printed(program)
    finally:
        child.kill()
        child.wait()
    assert "environ" in told
    assert "hunter2" not in told


@needs_namespaces
def test_nothing_but_the_room_can_be_written(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    told = printed(
        f"""
import os, pathlib
def attempt(what, *arguments):
    try:
        what(*arguments)
        print("done", what.__name__, arguments)
    except OSError as error:
        print(error.strerror)
def write(name):
    pathlib.Path(name).write_text("x")
for name in ({str(mine)!r}, "/tmp/lorascale-x", "/proc/sys/kernel/core_pattern", "/dev/x", "../x"):
    attempt(write, name)
attempt(os.remove, {str(mine)!r})
attempt(os.chmod, {str(mine)!r}, 0o777)
attempt(os.symlink, "x", {str(tmp_path / "link")!r})
print([name for name in os.listdir("/dev") if name.startswith(("sd", "vd", "nvme", "loop", "mem", "tty"))])
write("here")
write("/dev/shm/there")
print(os.listdir("."), "written")
""",
        size=2**24,
    )
    assert "done" not in told
    assert "[]\n['here'] written" in told
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "temporary"]


@needs_namespaces
def test_no_right_can_be_had_back() -> None:
    told = printed(
        """
import subprocess
for command in (
    ["mount", "-o", "remount,bind,rw", "/"],
    ["unshare", "--user", "--map-root-user", "--mount", "mount", "-o", "remount,bind,rw", "/"],
    ["unshare", "--user", "--map-root-user", "--mount", "umount", "/dev"],
    ["sh", "-c", "kill -KILL 1; kill -TERM 1"],
):
    print(subprocess.run(command, capture_output=True).returncode)
print(open("/proc/self/status").read())
"""
    )
    codes, status = told.split("Name:")
    assert all(int(code) != 0 for code in codes.split()[:3])
    assert all(int(line.split()[1], 16) == 0 for line in status.splitlines() if line.startswith("Cap"))


@needs_namespaces
def test_what_is_written_has_a_limit() -> None:
    told = printed(
        """
try:
    for number in range(100):
        with open(str(number), "wb") as file:
            file.write(bytes(2**20))
except OSError as error:
    print(error.strerror, number)
""",
        size=2**22,
    )
    assert told.startswith("No space left on device")


def test_one_file_has_a_limit_everywhere() -> None:
    told = printed(
        """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    open("large", "wb").write(bytes(2**23))
except OSError as error:
    print(error.strerror)
""",
        containment=Containment.none("for this test"),
        size=2**22,
    )
    assert told == "File too large\n"


_ESCAPES = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(600)", WORD], {})
    os._exit(0)
import time
time.sleep(SECONDS)
"""


@needs_namespaces
@pytest.mark.parametrize("seconds", [0, 600])
def test_a_process_with_a_session_of_its_own_and_no_environment_is_ended(seconds: int) -> None:
    word = f"escaped-{os.getpid()}-{seconds}"
    with start(_ESCAPES.replace("WORD", repr(word)).replace("SECONDS", str(seconds))) as guest:
        if seconds:
            assert eventually(lambda: mentioning(word, "time.sleep(600)", "-S") != [])
        else:
            assert guest.wait(20) == 0
    assert not mentioning(word)


@needs_namespaces
def test_memory_of_a_process_without_an_environment_counts() -> None:
    program = _ESCAPES.replace("WORD", "'word'").replace("SECONDS", "600")
    program = program.replace(
        "import time; time.sleep(600)", "import time; x = b'x' * 2**27; time.sleep(600)"
    )
    with start(program) as guest:
        assert eventually(lambda: guest.held_memory() > 2**27)


def mentioning(*words: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if state != "Z" and all(word in line for word in words):
            found.append(line)
    return found


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("containment", [full, Containment.none("for this test")])
def test_how_a_process_ends_is_told(containment: Containment, tmp_path: Path) -> None:
    for program, status in (("", 0), ("raise SystemExit(7)", 7), ("import os; os.abort()", -signal.SIGABRT)):
        with start(program, containment=containment) as guest:
            assert guest.wait(20) == status
    with Room.new(containment).start(["a-program-that-is-nowhere"], PATH) as guest:
        assert guest.wait(20) == 127
        assert "a-program-that-is-nowhere" in guest.output(1000)
    assert left_in(tmp_path) == []


def test_what_lies_in_place_of_the_log_is_not_read() -> None:
    program = """
import os
for name in ("output.log", "events.jsonl"):
    os.remove("../" + name)
    os.mkfifo("../" + name)
"""
    # Where there are namespaces it cannot even do this.
    with start(program, containment=Containment.none("for this test")) as guest:
        assert guest.wait(20) == 0
        assert guest.output(100) == ""
        assert guest.results.read() == b""


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("isolation", ["auto", "off"])
def test_nothing_is_left_of_a_run_that_is_killed(number: int, isolation: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    shutil.copy(HERE / "tiny_target.py", target)
    (target / "behaviour.txt").write_text("hangs")
    program = (
        "import pathlib; from lorascale_lint.verify.run import run_verify\n"
        "from lorascale_lint.verify.isolation.promises import Isolation\n"
        "say = lambda line: print(line, flush=True)\n"
        f"run_verify(pathlib.Path({str(target)!r}), driver={DRIVER!r}, progress=say, "
        f"isolation=Isolation({isolation!r}))"
    )
    temporary = str(tmp_path / "temporary")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": temporary}
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert parent.stdout is not None
    while "alpha 2.4" not in parent.stdout.readline():
        pass
    assert mentioning(temporary)
    parent.send_signal(number)
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not mentioning(temporary)), mentioning(temporary)
    assert eventually(lambda: left_in(tmp_path) == [])


@needs_namespaces
def test_nothing_is_left_of_a_keeper_that_is_killed(tmp_path: Path) -> None:
    with start("import time; time.sleep(600)"):
        assert eventually(lambda: mentioning("time.sleep(600)", "-S", "import time") != [])
        (keeper,) = (
            int(folder.name)
            for folder in Path("/proc").glob("[0-9]*")
            if _parent_of(folder) == os.getpid() and b"isolation.keeper" in (folder / "cmdline").read_bytes()
        )
        os.kill(keeper, signal.SIGKILL)
        assert eventually(lambda: not mentioning("isolation.warden", str(tmp_path)))
    assert left_in(tmp_path) == []


def _parent_of(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_a_room_needs_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(RoomError):
        start("")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    shutil.copy(HERE / "tiny_target.py", folder)
    (folder / "behaviour.txt").write_text("right")
    return folder


@pytest.fixture
def no_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine that refuses them, as containers and some distributions do."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "unshare").write_text("#!/bin/sh\necho unshare failed: Operation not permitted >&2\nexit 1\n")
    (programs / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    rooms._try_all.cache_clear()
    yield
    rooms._try_all.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="on Linux a reason is given by unshare")
@pytest.mark.usefixtures("no_namespaces")
def test_a_promise_that_is_not_kept_is_said_before_anything_runs(target: Path) -> None:
    told: list[str] = []
    report = run_verify(target, driver=DRIVER, seed=11, progress=told.append, warn=told.append)
    assert report.exit_code == 0
    assert report.containment is not None
    assert set(report.containment.broken) == set(Promise)
    assert "Not promised" in told[0]
    assert "Operation not permitted" in told[0]
    assert "it reaches no network" in render_text(report)
    assert set(report.as_dict()["isolation"]["not_kept"]) == {promise.value for promise in Promise}


@pytest.mark.skipif(sys.platform != "linux", reason="on Linux a reason is given by unshare")
@pytest.mark.usefixtures("no_namespaces")
def test_nothing_is_run_where_isolation_is_required_and_not_to_be_had(target: Path, tmp_path: Path) -> None:
    (target / "tiny_target.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    report = run_verify(target, driver=DRIVER, isolation=Isolation.REQUIRED)
    assert report.exit_code == 3
    assert "Nothing was run" in render_text(report)
    assert not (tmp_path / "ran").exists()


@needs_namespaces
def test_a_report_says_which_promises_were_kept(target: Path) -> None:
    report = run_verify(target, driver=DRIVER, seed=11, isolation=Isolation.REQUIRED)
    assert report.exit_code == 0
    assert report.as_dict()["isolation"] == {"kept": [promise.value for promise in Promise], "not_kept": {}}
    assert "Not promised" not in render_text(report)


def test_off_says_that_nothing_is_kept() -> None:
    assert set(find_containment(Isolation.OFF).broken) == set(Promise)


@needs_namespaces
def test_a_single_step_that_is_refused_breaks_its_promise_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A `mount` that cannot make things read-only: the rest still holds."""
    fake = """
from lorascale_lint.verify.isolation import warden
def refuse(plan):
    raise warden._RefusedError("mount: cannot remount /: read-only not allowed")
warden._only_the_room_is_writable = refuse
"""
    real = rooms._python
    monkeypatch.setattr(
        rooms,
        "_python",
        lambda module, *rest: [
            part.replace("sys.exit(main", f"exec({fake!r}); sys.exit(main") for part in real(module, *rest)
        ],
    )
    with start("print('ran')") as guest:
        assert guest.wait(20) == 0
        assert guest.broken == {Promise.WRITES: "mount: cannot remount /: read-only not allowed"}


_AS_NOBODY = """
import os, sys
sys.path.append(sys.argv[1])
from lorascale_lint.verify.isolation.room import find_containment, output_of
found = find_containment()
assert found.unshare is not None, list(found.sentences())
assert found.unshare[0] == "--user" and not found.broken, found
print(output_of(["sh", "-c", "id -u; touch /tmp/lorascale-nobody; cat /proc/*/environ | tr '\\\\0' ' '"],
                {"PATH": os.environ["PATH"]}, 20))
"""


@needs_namespaces
def test_nobody_in_particular_gets_the_same_room(tmp_path: Path) -> None:
    python = "/usr/bin/python3"
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    version = "import sys, os; sys.exit(sys.version_info < (3, 11) or not os.access(sys.argv[1], os.R_OK))"
    if os.getuid() != 0:
        pytest.skip("needs an administrator, to become somebody else")
    if subprocess.run([*nobody, python, "-c", version, rooms.__file__], check=False).returncode != 0:
        pytest.skip("nobody else can read this folder with a Python that is new enough")
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(0o777)
    try:
        done = subprocess.run(
            [*nobody, python, "-c", _AS_NOBODY, str(ROOT)],
            env={"PATH": "/usr/bin:/bin", "TMPDIR": str(place), "SECRET": "hunter2"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("65534")
        assert "Read-only file system" in done.stdout
        assert "hunter2" not in done.stdout
        assert list(place.iterdir()) == []
    finally:
        shutil.rmtree(place)


def test_a_short_program_can_be_asked() -> None:
    assert output_of(["echo", "seen"], PATH, 20) == "seen\n"
    assert output_of(["sleep", "600"], PATH, 0.1) is None


def test_descendants_are_found_by_their_parents() -> None:
    if not processes.can_watch():
        pytest.skip("looks for processes in /proc")
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert {os.getpid(), child.pid} <= processes.members(os.getpid(), "no such mark")
        assert processes.members(child.pid, "no such mark") == {child.pid}
    finally:
        child.kill()
        child.wait()


EVIL = "\x1b]0;owned\x07\x1b[31mred\r\u202egnp.exe\u2066\x9b2J"


def test_nothing_that_the_code_says_acts_on_a_terminal() -> None:
    row = Row(
        scenario=f"merged {EVIL}",
        group="layer",
        label="",
        adapter=EVIL,
        expected=1.0,
        verdict=Verdict.CRASHED,
        detail=f"ValueError: {EVIL}",
    )
    target = Target(
        path=f"/x/{EVIL}", name=EVIL, interventions=(EVIL,), stubs={EVIL: (EVIL,)}, replaced_modules=(EVIL,)
    )
    for report in (
        VerifyReport(target, 1, (row,), notes=(EVIL,)),
        VerifyReport(target, 1, problem=Problem(2, f"The target cannot be imported. {EVIL}")),
    ):
        text = render_text(report)
        assert "owned" in text
        assert all(character.isprintable() or character == "\n" for character in text)


def test_an_exception_text_of_a_target_reaches_the_terminal_harmless(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(f"raise ValueError({EVIL!r})\n")
    done = subprocess.run(
        [sys.executable, "-m", "lorascale_lint", "verify", ".", "--driver", "evil.py:merge"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "owned" in done.stdout
    assert all(character.isprintable() or character == "\n" for character in done.stdout + done.stderr)


def test_results_without_end_are_not_read_to_the_end(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorascale_lint.verify.events.MAX_EVENTS", 2**20)
    monkeypatch.setattr("lorascale_lint.verify.session.MAX_RESTARTS", 0)
    code = (target / "tiny_target.py").read_text()
    flood = """
    def set(self, a, b, alpha=None, strength=1.0):
        place = Path(os.environ["HOME"]).parent / "events.jsonl"
        with open(place, "ab") as events:
            events.write(b"[" * 2**22)
        time.sleep(60)

    def set_quietly("""
    (target / "tiny_target.py").write_text(code.replace("\n    def set(", flood, 1))
    report = run_verify(target, driver=DRIVER, seed=11)
    crashed = [row for row in report.rows if row.verdict is Verdict.CRASHED]
    assert "stopped after sending 1 MiB of results" in crashed[0].detail
    json.dumps(report.as_dict())
