"""Narrowing keeps what matters at its place, and what remains is Python."""

from __future__ import annotations

import ast
import re
import sysconfig
from pathlib import Path

import libcst as cst
import pytest
from hypothesis import given, strategies as st

from lorascale_lint.sources import narrow as narrowing
from lorascale_lint.sources.narrow import parse
from lorascale_lint.sources.prefilter import may_hold_lora


def narrow(text: str) -> str:
    return narrowing.narrow(text, parse(text))


def syntax_error(text: str) -> SyntaxError | None:
    try:
        parse(text)
    except SyntaxError as error:
        return error
    return None


STDLIB = sorted(
    path
    for path in Path(sysconfig.get_path("stdlib")).rglob("*.py")
    if not {"test", "tests", "site-packages", "idlelib", "lib2to3"} & set(path.parts)
)

# Functions that can't matter (no name of one occurs in another), in the shapes that headers take.
IDLE = {
    "plain": "def idle_{n}(x):\n    y = x\n    return y\n",
    "docstring": 'def idle_{n}(x):\n    """Two\n\n    rows."""\n    return x\n',
    "async": "async def idle_{n}(x):\n    await x\n",
    "decorated": "@wrap\n@other(1,\n       2)\ndef idle_{n}(x):\n    return x\n",
    "one line": "def idle_{n}(x): return x\n",
    "one line, many": "def idle_{n}(x): y = x; return y\n",
    "long header": "def idle_{n}(\n    x: int,\n    y={{\n    1: 2}},\n) -> T[\n    str\n]:\n    return x\n",
    "body on the header's last line": "def idle_{n}(\n    x,\n): return x\n",
    "semicolons": "def idle_{n}(x):\n    y = x; z = y\n    return z\n",
    "comment first": "def idle_{n}(x):\n    # why\n    return x  # so\n    # last\n",
    "nested": "def idle_{n}(x):\n    def inner(y):\n        class C:\n            x = y\n    return inner\n",
    "tabs": "def idle_{n}(x):\n\tif x:\n\t\treturn 1\n\treturn 2\n",
    "open brackets": "def idle_{n}(x):\n    return (\n  x,\n)\n",
    "continued": "def idle_{n}(x):\n    return x + \\\n  1\n",
    "string to the left": "def idle_{n}(x):\n    return '''\nleft\n'''\n",
    "method": "class C_{n}:\n    field = 1\n\n    def idle_{n}(self):\n        return 2\n\n    other = 3\n",
    "under if": "if True:\n    def idle_{n}(x):\n        return x\nelse:\n    idle_{n} = None\n",
    "default is a lambda": "def idle_{n}(x=lambda: 1):\n    return x\n",
    "type parameters": "class G_{n}:\n    def idle_{n}(self, *args: int, **kw: str) -> None:\n        pass\n",
}
KEPT = {
    "word": "def keep_{n}(x, lora_A):\n    y = lora_A\n    return x @ y\n",
    "word in a nested one": "def keep_{n}(x):\n    def inner():\n        return x.alpha\n    return inner\n",
    "named by one that matters": "def keep_{n}(lora_A):\n    help_{n}()\n\n\ndef help_{n}():\n    return 1\n",
    "module level": "value_{n} = lambda x: x\n",
}

pieces = st.one_of(
    st.tuples(st.just(False), st.sampled_from(sorted(IDLE))),
    st.tuples(st.just(True), st.sampled_from(sorted(KEPT))),
)


def compose(chosen: list[tuple[bool, str]]) -> tuple[str, list[str]]:
    """A source of the chosen pieces, and the pieces that must stay."""
    texts = [(KEPT if kept else IDLE)[name].format(n=n) for n, (kept, name) in enumerate(chosen)]
    return "\n".join(texts), [text for text, (kept, _) in zip(texts, chosen, strict=True) if kept]


def rows(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", text)


@given(st.lists(pieces, max_size=8), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_rows_stay_and_the_rest_is_python(chosen: list[tuple[bool, str]], newline: str, end: bool) -> None:
    text, kept = compose(chosen)
    text = (text if end else text.rstrip("\n")).replace("\n", newline)
    found = narrow(text)
    assert len(rows(found)) == len(rows(text))
    assert re.findall(r"\r\n|\r|\n", found) == re.findall(r"\r\n|\r|\n", text)
    ast.parse(found)
    cst.parse_module(found)
    for piece in kept:
        piece = piece.rstrip("\n").replace("\n", newline)
        assert found.find(piece) >= 0
        assert rows(found[: found.find(piece)])[-1] == ""
        assert len(rows(found[: found.find(piece)])) == len(rows(text[: text.find(piece)]))


@given(st.lists(pieces, max_size=8))
def test_narrowing_twice_changes_nothing_more(chosen: list[tuple[bool, str]]) -> None:
    once = narrow(compose(chosen)[0])
    assert narrow(once) == once


@pytest.mark.parametrize("shape", sorted(IDLE.keys() - {"one line", "one line, many"}))
def test_idle_bodies_are_blanked(shape: str) -> None:
    text = IDLE[shape].format(n=0)
    found = narrow(text)
    if shape == "body on the header's last line":
        assert found == text  # nothing to gain
    else:
        assert "..." in found
        assert len(found) < len(text)


@pytest.mark.parametrize("shape", sorted(KEPT))
def test_what_matters_is_kept_to_the_byte(shape: str) -> None:
    text = KEPT[shape].format(n=0)
    assert narrow(text) == text


def test_helpers_are_kept_three_calls_deep_and_idle_code_goes() -> None:
    text = (
        "def a(lora_A):\n    return b(lora_A)\n"
        "def b(x):\n    return c(x)\n"
        "def c(x):\n    return d(x)\n"
        "def d(x):\n    return x\n"
        "def idle(x):\n    return x\n"
    )
    assert narrow(text) == text.replace("def idle(x):\n    return x", "def idle(x):\n    ...")


@pytest.mark.parametrize(
    "text",
    ["def f(:\n    pass\n", "def f(x):\nreturn x\n", "x = '\n", "def f():\n    pass\n\x00", "\ud800"],
    ids=["header", "indentation", "string", "nul", "surrogate"],
)
def test_what_does_not_parse_is_an_error(text: str) -> None:
    assert syntax_error(text) is not None


@pytest.mark.parametrize("odd", ["\x0c", "\x1c", "\x85", "\u2028"], ids=ascii)
def test_rows_that_only_str_splitlines_sees_do_not_shift_anything(odd: str) -> None:
    text = f"x = '{odd}'\n" if odd != "\x0c" else "\x0c\nx = 1\n"
    text += "def idle(x):\n    y = x\n    return y\ndef keep(lora_A):\n    return lora_A\n"
    found = narrow(text)
    ast.parse(found)
    assert rows(found)[-3:] == rows(text)[-3:]
    assert len(rows(found)) == len(rows(text))


def test_columns_are_those_of_characters_and_not_of_bytes() -> None:
    text = "class Ä:\n    def idle(self, ö='ü'):\n        ß = ö\n        return ß\n    lora = 1\n"
    assert narrow(text) == text.replace("ß = ö", "...").replace("        return ß", "")


@pytest.mark.parametrize("inner", ["@wraps(x)\n    def inner(y):\n        pass", "@wrap\n    class C: pass"])
def test_a_body_that_starts_with_a_decorator_goes_with_it(inner: str) -> None:
    found = narrow(f"def idle(x):\n    {inner}\n    return inner\n")
    assert syntax_error(found) is None


def test_the_standard_library_narrows_to_python() -> None:
    smaller = 0
    for path in STDLIB:
        text = path.read_bytes().decode("utf-8", "replace")
        found = narrow(text)
        assert len(rows(found)) == len(rows(text)), path.name
        assert syntax_error(found) is None, path.name
        smaller += len(found) < len(text)
    assert smaller > len(STDLIB) / 2


@pytest.mark.parametrize("word", [b"lora", b"LoRA", b"lokr", b"LoHa", b"network_alpha"])
def test_prefilter_passes_any_lora_word(word: bytes) -> None:
    assert may_hold_lora(b"x = 1\n# " + word + b"_\n")


@pytest.mark.parametrize("source", [b"", b"alpha = rank = scaling = 1\n", b"l o r a\n"], ids=ascii)
def test_prefilter_stops_other_files(source: bytes) -> None:
    assert not may_hold_lora(source)


def test_methods_without_a_lora_word_stay_in_lora_classes() -> None:
    text = """
class LoRALinear(Base):
    def idle(self, x):
        return x


class Layer:
    def __init__(self):
        self.lora = 1

    def delta(self, name):
        return self.B[name] @ self.A[name]

    def idle(self, x):
        return x


class Other:
    def product(self, x):
        return x @ self.scale
"""
    blanked = narrow(text)
    assert blanked.count("return x\n") == 1
    assert "self.B[name] @" in blanked
    assert "self.scale" not in blanked
