"""The command line: exact output and exit code of every mode."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from lorascale_lint import __version__, cli
from tests.fake_engine import FakeEngine

Output = tuple[int, str, str]
MERGE = """\
def merge(weight, lora_A, lora_B, alpha, rank):
    weight += lora_B @ lora_A * (alpha / rank)
"""


@pytest.fixture
def lint(fake_engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> Callable[..., Output]:
    """Run the command line in the test's own folder; exit code, standard output, standard error."""

    def run(*args: str) -> Output:
        capsys.readouterr()
        code = cli.run(list(args))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def write(**files: str) -> None:
    for name, content in files.items():
        path = Path(name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_clean(lint):
    write(a="x = 1\n")
    assert lint("a.py") == (0, "No findings in 1 file.\n", "")


def test_text(lint):
    write(a="def f():\n    return unscaled\n\n\nhopeless\n")
    assert lint(".") == (
        1,
        dedent("""\
            a.py:2:12 LS101 unscaled-merge: `unscaled` is here
            1 | def f():
            2 |     return unscaled
              |            ^^^^^^^^
            why:
              1. a.py:2: the word is read
                 | return unscaled
            effect: 2.00× too strong for alpha=64, rank=128
            fix: safe, with --fix: write `scaled`

            a.py:5:1 LS301 dropped-alpha: `hopeless` is here
            5 | hopeless
              | ^^^^^^^^
            why:
              1. a.py:5: the word is read
                 | hopeless
            effect: 2.00× too strong for alpha=64, rank=128
            fix: none

            Found 2 findings in 1 file (1 fixable with --fix).
            """),
        "",
    )


def test_concise(lint):
    write(a="unscaled\n", b="risky\nhopeless\n")
    assert lint("--output-format", "concise", ".") == (
        1,
        "a.py:1:1: LS101 [*] unscaled-merge: `unscaled` is here\n"
        "b.py:1:1: LS201 [!] none-guard: `risky` is here\n"
        "b.py:2:1: LS301 dropped-alpha: `hopeless` is here\n"
        "Found 3 findings in 2 files (1 fixable with --fix, 1 more with --fix --unsafe-fixes).\n",
        "",
    )


def test_json(lint):
    write(a="x = unscaled\n")
    code, out, err = lint("--output-format=json", "a.py")
    place, end = {"row": 1, "column": 5}, {"row": 1, "column": 13}
    assert (code, err) == (1, "")
    assert json.loads(out) == [
        {
            "code": "LS101",
            "name": "unscaled-merge",
            "message": "`unscaled` is here",
            "filename": "a.py",
            "location": place,
            "end_location": end,
            "severity": "error",
            "confidence": "high",
            "fix": {
                "applicability": "safe",
                "message": "write `scaled`",
                "edits": [
                    {"location": place, "end_location": end, "content": "scaled", "filename": "a.py"},
                ],
            },
            "trace": [{"filename": "a.py", "location": place, "message": "the word is read"}],
            "url": None,
        }
    ]


@pytest.mark.parametrize("options", [(), ("--select", "LS9"), ("--select", "ALL")])
def test_what_is_only_plausible_is_hidden(lint, options):
    write(a="doubtful\n")
    assert lint(*options, "a.py")[0] == 0


@pytest.mark.parametrize("options", [("--preview",), ("--select", "LS904"), ("--select", "may-be-wrong")])
def test_what_is_only_plausible_is_shown_on_demand(lint, options):
    write(a="doubtful\n")
    code, out, _ = lint(*options, "a.py")
    assert code == 1
    assert "confidence: medium" in out


def test_preview_by_setting(lint):
    Path("pyproject.toml").write_text("[tool.lorascale-lint]\npreview = true\n")
    write(a="doubtful\n")
    assert lint("a.py")[0] == 1


def test_json_of_nothing_is_an_empty_array(lint):
    write(a="x = 1\n")
    assert lint("--output-format=json", "a.py") == (0, "[]\n", "")


@pytest.mark.parametrize("output_format", ["text", "concise", "json"])
def test_unreadable_file_is_exit_2_in_every_format(lint, output_format):
    write(a="unscaled\n", b="def\n")
    code, out, err = lint("--output-format", output_format, "--exit-zero", ".")
    assert code == 2
    assert "LS101" in out
    assert "LS001" in out
    assert err == "error: b.py:1:1 LS001 unreadable-file: SyntaxError\n"


def test_unreadable_file_in_the_summary(lint):
    write(b="def\n")
    assert lint(".") == (
        2,
        "b.py:1:1 LS001 unreadable-file: SyntaxError\n\n"
        "No findings in 0 files; 1 file could not be checked.\n",
        "error: b.py:1:1 LS001 unreadable-file: SyntaxError\n",
    )


def test_check_is_the_same_command(lint):
    write(map__a="unscaled\n")
    assert lint("check", "map") == lint("./map")
    assert lint("check", "map")[0] == 1


@pytest.mark.parametrize("args", [(), ("check",), ("--fix",), ("check", "--fix"), ("--diff",)])
def test_no_path_means_the_current_folder(lint, args):
    write(a="unscaled\n", pkg__b="unscaled\n")
    got, files = lint(*args), [Path("a.py").read_text(), Path("pkg/b.py").read_text()]
    write(a="unscaled\n", pkg__b="unscaled\n")
    assert lint(*args, ".") == got
    assert files == (["scaled\n"] * 2 if "--fix" in args else ["unscaled\n"] * 2)
    assert got[0] == (0 if "--fix" in args else 1)


def test_map_of_the_current_folder(lint):
    write(pkg__layer=MERGE)
    assert lint("map") == lint("map", ".")
    assert "pkg/layer.py" in lint("map")[1]


def test_path_named_like_a_command(lint):
    write(rule__a="unscaled\n")
    code, out, _ = lint("rule")
    assert code == 0
    assert "\nLS101  unscaled-merge       Reports unscaled-merge.\n" in out


def test_options_before_the_path(lint):
    write(a="unscaled\n")
    assert lint("--exit-zero", "--quiet", "--output-format", "concise", "a.py") == (
        0,
        "a.py:1:1: LS101 [*] unscaled-merge: `unscaled` is here\n",
        "",
    )


def test_quiet_and_clean_prints_nothing(lint):
    write(a="x = 1\n")
    Path("empty").mkdir()
    assert lint("-q", "a.py", "empty") == (0, "", "")


def test_missing_path(lint):
    assert lint("nowhere.py") == (2, "", "error: nowhere.py: no such file or folder\n")


def test_folder_without_python(lint):
    Path("empty").mkdir()
    assert lint("empty") == (
        0,
        "No findings in 0 files.\n",
        "warning: no Python files to check in empty\n",
    )


@pytest.mark.parametrize(
    ("args", "codes"),
    [
        (["--select", "LS101"], ["LS101"]),
        (["--select", "unscaled-merge,LS3"], ["LS101", "LS301"]),
        (["--select", "LS1", "--select", "LS2"], ["LS101", "LS201"]),
        (["--ignore", "LS1"], ["LS201", "LS301"]),
        (["--select", "ALL", "--ignore", "none-guard, LS3"], ["LS101"]),
        (["--select", "LS1", "--ignore", "LS101"], []),
    ],
)
def test_select_and_ignore(lint, args, codes):
    write(a="unscaled\nrisky\nhopeless\n")
    code, out, _ = lint("--output-format=json", *args, "a.py")
    assert [finding["code"] for finding in json.loads(out)] == codes
    assert code == bool(codes)


@pytest.mark.parametrize("option", ["--select", "--ignore"])
@pytest.mark.parametrize(
    ("selector", "near"),
    [("LS1011", "LS101"), ("ls3011", "LS301"), ("unscaled-merg", "unscaled-merge"), ("LS001", "LS901")],
)
def test_unknown_rule(lint, option, selector, near):
    code, out, err = lint(option, selector, ".")
    assert (code, out, err) == (2, "", f"error: unknown rule {selector!r}; did you mean {near!r}?\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--unsafe-fixes", "a.py"], "--unsafe-fixes needs --fix or --diff"),
        (["--diff", "--output-format", "json", "a.py"], "--diff prints a patch"),
        (["-", "a.py"], "can't be mixed"),
        (["--stdin-filename", "a.py", "b.py"], "--stdin-filename needs -"),
        (["--nonsense", "a.py"], "No such option"),
        (["check", "-", "-"], "can't be mixed"),
        (["--output-format", "xml", "a.py"], "'xml' is not one of"),
    ],
)
def test_usage_errors(lint, args, message):
    code, out, err = lint(*args)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("Usage: lorascale-lint")


def test_fix(lint):
    write(a="unscaled + unscaled\nhopeless\n", b="unscaled\n", c="risky\n")
    assert lint("--fix", "--output-format=concise", ".") == (
        1,
        "Fixed 3 findings:\n"
        "  a.py: 2 × LS101 unscaled-merge\n"
        "  b.py: 1 × LS101 unscaled-merge\n"
        "a.py:2:1: LS301 dropped-alpha: `hopeless` is here\n"
        "c.py:1:1: LS201 [!] none-guard: `risky` is here\n"
        "Left 2 findings in 2 files (1 fixable with --fix --unsafe-fixes).\n",
        "",
    )
    assert Path("a.py").read_text() == "scaled + scaled\nhopeless\n"
    assert Path("c.py").read_text() == "risky\n"


def test_fix_everything(lint):
    write(a="unscaled\nrisky\n")
    assert lint("--fix", "--unsafe-fixes", ".") == (
        0,
        "Fixed 2 findings:\n  a.py: 1 × LS101 unscaled-merge, 1 × LS201 none-guard\n"
        "No findings left in 1 file.\n",
        "",
    )
    assert lint("--fix", "--unsafe-fixes", ".") == (0, "No findings left in 1 file.\n", "")


def test_fix_as_json_lists_what_remains(lint):
    write(a="unscaled\nhopeless\n")
    code, out, err = lint("--fix", "--output-format=json", "a.py")
    assert (code, err) == (1, "")
    assert [finding["code"] for finding in json.loads(out)] == ["LS301"]


def test_fix_leaves_files_that_were_not_given(lint):
    write(a="together\n", b="together\n")
    code, out, err = lint("--fix", "-q", "--output-format=concise", "a.py", "b.py")
    assert (code, out, err) == (0, "", "")
    assert Path("b.py").read_text() == "apart\n"


def test_diff(lint):
    write(a="x = 1\nunscaled\n", b="hopeless\n")
    assert lint("--diff", ".") == (
        1,
        "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n x = 1\n-unscaled\n+scaled\n",
        "Would fix 1 finding:\n  a.py: 1 × LS101 unscaled-merge\nLeft 1 finding in 1 file.\n",
    )
    assert Path("a.py").read_text() == "x = 1\nunscaled\n"


def test_diff_of_nothing(lint):
    write(a="x = 1\n")
    assert lint("--diff", "-q", ".") == (0, "", "")


def test_diff_exits_1_for_a_diff_alone(lint):
    write(a="unscaled\n")
    assert lint("--diff", "-q", ".")[0] == 1


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_stdin(lint, monkeypatch):
    stdin(monkeypatch, b"unscaled\n")
    assert lint("--output-format=concise", "-") == (
        1,
        "-:1:1: LS101 [*] unscaled-merge: `unscaled` is here\n"
        "Found 1 finding in 1 file (1 fixable with --fix).\n",
        "",
    )


def test_stdin_with_a_name(lint, monkeypatch, fake_engine):
    write(pkg__other="")
    Path("pkg/__init__.py").touch()
    stdin(monkeypatch, b"unscaled\n")
    code, out, _ = lint("--output-format=concise", "-q", "--stdin-filename", "pkg/new.py", "-")
    assert (code, out) == (1, "pkg/new.py:1:1: LS101 [*] unscaled-merge: `unscaled` is here\n")
    assert fake_engine.calls[0]["context"] == (Path("pkg/__init__.py"), Path("pkg/other.py"))


def test_stdin_fix_prints_the_text_and_reports_to_stderr(lint, monkeypatch):
    stdin(monkeypatch, b"unscaled\r\nhopeless\r\n")
    code, out, err = lint("--fix", "--output-format=concise", "-")
    assert (code, out) == (1, "scaled\r\nhopeless\r\n")
    assert err == (
        "Fixed 1 finding:\n  -: 1 × LS101 unscaled-merge\n"
        "-:2:1: LS301 dropped-alpha: `hopeless` is here\nLeft 1 finding in 1 file.\n"
    )
    assert list(Path().iterdir()) == []


def test_stdin_diff(lint, monkeypatch):
    stdin(monkeypatch, b"unscaled\n")
    code, out, _ = lint("--diff", "--stdin-filename", "a.py", "-")
    assert (code, out) == (1, "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-unscaled\n+scaled\n")


def test_excluded_stdin_comes_back_as_it_is(lint, monkeypatch):
    Path("pyproject.toml").write_text('[tool.lorascale-lint]\nexclude = ["a.py"]\n')
    stdin(monkeypatch, b"unscaled\n")
    assert lint("--fix", "-q", "--stdin-filename", "a.py", "-") == (0, "unscaled\n", "")


def test_settings_error(lint):
    write(a="")
    Path("pyproject.toml").write_text("[tool.lorascale-lint]\nselct = []\n")
    code, out, err = lint("a.py")
    assert (code, out) == (2, "")
    assert err.endswith("unknown key 'selct' in [tool.lorascale-lint]; did you mean 'select'?\n")


def test_settings_per_file(lint):
    Path("pyproject.toml").write_text(
        '[tool.lorascale-lint]\nignore = ["none-guard"]\nexclude = ["gen"]\n'
        '[tool.lorascale-lint.per-file-ignores]\n"tests/*" = ["LS1"]\n'
    )
    write(a="unscaled\nrisky\n", tests__a="unscaled\nhopeless\n", gen__a="unscaled\n")
    expected = [("a.py", "LS101"), ("tests/a.py", "LS301")]
    for paths in (["."], ["a.py", "tests/a.py", "gen/a.py"]):
        _, out, _ = lint("--output-format=json", *paths)
        assert [(item["filename"], item["code"]) for item in json.loads(out)] == expected
    _, out, _ = lint("--output-format=json", "--select", "LS2", ".")
    assert [(item["filename"], item["code"]) for item in json.loads(out)] == [("a.py", "LS201")]


def test_suppression_comments(lint):
    write(
        a="unscaled  # lorascale: ignore[LS101] folded by the loader\n",
        b="unscaled  # lorascale: ignore\nrisky  # lorascale: ignore[LS999]\n",
        c="# lorascale: skip-file\nunscaled\n",
        d="# lorascale: skip-file\ndef\n",
    )
    code, out, err = lint("--output-format=concise", ".")
    assert code == 1
    assert out == (
        "b.py:1:1: LS101 [*] unscaled-merge: `unscaled` is here\n"
        "b.py:1:11: LS003 [*] unknown-suppression: `lorascale: ignore` silences nothing without a rule in "
        "brackets\n"
        "b.py:2:1: LS201 [!] none-guard: `risky` is here\n"
        "b.py:2:28: LS003 [*] unknown-suppression: no rule is called 'LS999'; did you mean 'LS904'?\n"
        "Found 4 findings in 1 file (3 fixable with --fix, 1 more with --fix --unsafe-fixes).\n"
    )
    assert err == ""


def test_suppressed_findings_are_not_fixed(lint):
    write(a="unscaled  # noqa\n")
    assert lint("--fix", "-q", ".") == (0, "", "")
    assert Path("a.py").read_text() == "unscaled  # noqa\n"


def test_cache_folder(lint, fake_engine, tmp_path):
    write(a="")
    lint("a.py")
    lint("--no-cache", "a.py")
    assert [call["cache_dir"] for call in fake_engine.calls] == [
        tmp_path / "cache" / "lorascale-lint",
        None,
    ]
    assert [path.name for path in Path().iterdir()] == ["a.py"]


def test_without_a_place_for_the_cache(lint, fake_engine, monkeypatch):
    write(a="")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert lint("-q", "a.py") == (0, "", "")
    assert fake_engine.calls[0]["cache_dir"] is None


def test_rule_page(lint):
    page = "# unscaled-merge (LS101)\n\nReports unscaled-merge.\n\nThe page of LS101.\n"
    assert lint("rule", "LS101") == (0, page, "")
    assert lint("rule", "unscaled-merge") == (0, page, "")


def test_rule_unknown_or_ambiguous(lint):
    assert lint("rule", "LS1011") == (2, "", "error: unknown rule 'LS1011'; did you mean 'LS101'?\n")
    assert lint("rule", "LS3") == (2, "", "error: 'LS3' stands for 2 rules: LS301, LS302\n")


def test_internal_error_is_never_exit_1(lint, monkeypatch):
    write(a="")
    monkeypatch.setattr("lorascale_lint.engine.lint", lambda *args, **options: 1 / 0)
    code, out, err = lint("a.py")
    assert (code, out) == (2, "")
    assert "ZeroDivisionError" in err
    assert err.endswith("error: internal error; please report it with the lines above\n")


def test_interrupt(lint, monkeypatch):
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    write(a="")
    monkeypatch.setattr("lorascale_lint.engine.lint", interrupted)
    code, out, err = lint("a.py")
    assert (code, out, err.strip()) == (130, "", "interrupted")


def test_progress_on_a_terminal_only(lint, monkeypatch, fake_engine):
    write(a="", b="")

    def slow(*args: object, progress=None, **options: object) -> object:
        progress(1, 2)
        progress(2, 2)
        return fake_engine(*args, **options)

    monkeypatch.setattr("lorascale_lint.engine.lint", slow)
    assert lint(".")[2] == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert lint(".")[0] == 0
    shown = terminal.getvalue()
    assert shown == "\rChecked 1 of 2 files\r                    \r"  # the second came too soon
    terminal.truncate(0)
    assert lint("-q", ".")[0] == 0
    assert "Checked" not in terminal.getvalue()


def test_colour(lint, monkeypatch):
    write(a="unscaled\n")
    assert "\x1b" not in lint("a.py")[1]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31mLS101\x1b[0m" in lint("a.py")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in lint("a.py")[1]


def test_terminal_escapes_do_not_get_through(lint):
    Path("a\x1b[31m.py").write_text('"\x1b[2J\u202e"; unscaled\n')
    for output_format in ("text", "concise", "json"):
        _, out, _ = lint("--output-format", output_format, ".")
        assert out.replace("\n", "").isprintable()
        assert "unscaled-merge" in out


def process(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, "-m", "lorascale_lint", *args],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        **options,
    )


def test_version_and_help():
    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"lorascale-lint, version {__version__}\n", "")
    done = process("--help")
    assert done.returncode == 0
    assert "--unsafe-fixes" in done.stdout
    assert "verify" in done.stdout
    assert process("--help").stdout == process("-h").stdout


def test_nothing_heavy_is_imported_for_help():
    program = (
        "import sys; from lorascale_lint import cli; cli.run(['--help']);"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'libcst', 'numpy', 'torch', 'tomllib'})"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.skipif(os.name == "nt", reason="pipes differ")
def test_a_reader_that_leaves_early_does_not_change_the_exit_code(tmp_path):
    program = (
        "import sys; from tests.fake_engine import FakeEngine, WORDS; import lorascale_lint.engine as e;"
        "import lorascale_lint.rule as r; e.lint = FakeEngine(); r.all_rules = lambda: tuple(WORDS.values());"
        "from lorascale_lint import cli; sys.exit(cli.run(sys.argv[1:]))"
    )
    (tmp_path / "a.py").write_text("lora = unscaled\n" * 20_000)
    root = str(Path(__file__).parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", program, "--output-format=concise", "a.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait(60) == 1


def test_verify_hands_on_its_options_and_the_exit_code(lint, monkeypatch):
    seen = {}

    class Report:
        exit_code = 3

    def run_verify(path, *, progress, **options):
        progress("importing")
        seen.update(options, path=path)
        return Report()

    monkeypatch.setattr("lorascale_lint.verify.run.run_verify", run_verify)
    monkeypatch.setattr("lorascale_lint.verify.report.render_text", lambda report: "text\n")
    monkeypatch.setattr("lorascale_lint.verify.report.render_json", lambda report: "{}\n")
    assert lint("verify", ".", "--driver", "fastvideo", "--seed", "7", "--timeout", "1.5") == (
        3,
        "text\n",
        "",
    )
    from lorascale_lint.verify.isolation.promises import Isolation

    assert callable(seen.pop("warn"))
    usual = {
        "path": Path(),
        "isolation": Isolation.AUTO,
        "device": "cpu",
        "dtype": "float32",
        "adapter": None,
        "base": None,
        "compiled": False,
        "memory_limit": None,
        "only": None,
        "python": None,
        "distributed": None,
    }
    assert seen == usual | {"driver": "fastvideo", "seed": 7, "timeout": 1.5}
    assert lint("verify", "--output-format", "json", ".") == (3, "{}\n", "")
    del seen["warn"]
    assert seen == usual | {"driver": None, "seed": None, "timeout": None}
    lint("verify", "--device", "cuda:1", "--dtype", "bf16", ".")
    assert (seen["device"], seen["dtype"]) == ("cuda:1", "bfloat16")
    assert lint("verify", "--device", "gpu", ".")[0] == 2
    lint("verify", "--memory-limit", "1.5GiB", "--compiled", "--distributed", "2", ".")
    assert (seen["memory_limit"], seen["compiled"], seen["distributed"]) == (3 * 2**29, True, 2)
    for wrong in (
        ["--memory-limit", "much"],
        ["--memory-limit", "0"],
        ["--distributed", "1"],
        ["--base", "."],
    ):
        assert lint("verify", *wrong, ".")[0] == 2
    assert lint("verify", "nowhere") == (2, "", "error: nowhere: no such file or folder\n")


def test_map_examines_the_files_and_reads_the_others_of_the_project(lint, monkeypatch):
    from lorascale_lint import examination

    seen = []

    def examine_paths(targets, context, real=examination.examine_paths):
        seen.append(([str(path) for path in targets], [str(path) for path in context]))
        return real(targets, context)

    monkeypatch.setattr(examination, "examine_paths", examine_paths)
    write(a=MERGE, b="lora = 1")
    Path("pyproject.toml").touch()
    code, out, err = lint("map", "a.py")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "a.py:2 merge"
    record = json.loads(lint("map", "--output-format=json", ".")[1])
    assert [item["function"] for item in record["functions"]] == ["merge"]
    assert seen == [(["a.py"], ["b.py"]), (["a.py", "b.py"], [])]


def test_map_at_a_row(lint):
    write(
        layer="def merge(weight, lora_A, lora_B, alpha, rank):\n"
        "    return weight + lora_B @ lora_A * (alpha / rank)\n"
    )
    code, out, err = lint("map", "--at", "layer.py:2")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "looked at by itself"
    assert "  alpha / rank  =  number alpha / rank" in out.splitlines()
    assert lint("map", "--at", "layer.py:1")[1].startswith("Nothing in this row was followed")
    assert lint("map", "--at", "nowhere.py:1")[0] == 2


def test_map_names_what_it_could_not_read(lint):
    write(a="lora = (")
    code, out, err = lint("map", "a.py")
    assert (code, out) == (2, "No LoRA implementation found.\n")
    assert err.startswith("error: a.py:1:")
