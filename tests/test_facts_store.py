"""Facts survive bytes, and no bytes can do worse than be refused."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import lorascale_lint
from lorascale_lint.bounds import KEPT_FOR
from lorascale_lint.facts.extract import extract_facts
from lorascale_lint.facts.store import FactsCache, decode, encode
from lorascale_lint.facts.terms import FileFacts, Term, walk

SOURCE = b"""\
from torch import nn as n


class LoRALinear(n.Module):
    scaling: float = 1.5

    @property
    def scale(self):
        return self.alpha / self.rank if self.alpha is not None else 1.0

    def forward(self, x, *args, k=None, **kwargs):
        parts = {f"{key}.lora_A": value for key, value in x.items()}
        d = [y @ self.A.T for y in (x, -x) if not args or k]
        d = d[0] * self.scale
        d += d * d
        return self.base(x, **kwargs) + d, lambda z: z * 2
"""
KINDS = json.loads(encode(extract_facts(SOURCE)))
MODULES = sorted(Path(lorascale_lint.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_round_trip_of_real_files(path: Path) -> None:
    first = encode(extract_facts(path.read_bytes(), "m"))
    assert encode(decode(first)) == first


def test_shared_terms_are_written_once_and_read_as_one() -> None:
    facts = extract_facts(b"def f(x):\n" + b"    x = x * x\n" * 60 + b"    return x\n")
    data = encode(facts)
    assert len(data) < 40_000
    copy = decode(data)

    def distinct(found: FileFacts) -> int:
        roots: list[Term] = [event.value for event in found.functions[0].events]
        return len(walk(*roots))

    assert distinct(copy) == distinct(facts) < 200


def test_words_are_sorted_so_that_equal_facts_are_equal_bytes() -> None:
    assert encode(extract_facts(SOURCE)) == encode(extract_facts(SOURCE))


def refused(data: bytes) -> bool:
    """Is this answered by ValueError? Facts that happen to decode are as good."""
    try:
        assert isinstance(decode(data), FileFacts)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"null",
        b"3",
        b"{}",
        b"[]",
        b"[[]]",
        b"[{}]",
        b'[["FileFacts"',
        b'[["Loc",1,2,3,4]]',
        b'[["NoSuchKind"]]',
        b'[["FileFacts",{"$":7},[],[]]]',
        b'[["FileFacts",{"$":"x"},[],[]]]',
        b'[["FunctionFacts"]]',
        b'[["FunctionFacts",1,2,3,4,5,6,7]]',
        b'[["__import__","os"]]',
        b"[" * 100_000,
        b'[["Const",' + b"9" * 5_000 + b"]]",
        b"\x80\x04\x95.",
    ],
    ids=lambda data: ascii(data[:24].decode("latin-1")),
)
def test_foreign_bytes_are_refused(data: bytes) -> None:
    assert refused(data)


@pytest.mark.parametrize(
    "data", [b'[["FileFacts",{},3,[]]]', b'[["FileFacts",[],[],[1]]]'], ids=["classes", "functions"]
)
def test_facts_with_fields_of_the_wrong_kind_are_refused(data: bytes) -> None:
    assert refused(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    assert refused(data)


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=255))
def test_a_flipped_byte_is_decoded_or_refused(place: int, value: int) -> None:
    data = bytearray(encode(extract_facts(b"def f(x, alpha):\n    return x * alpha\n")))
    data[place % len(data)] = value
    refused(bytes(data))


@given(st.integers(min_value=0))
def test_truncated_facts_are_refused(length: int) -> None:
    data = encode(extract_facts(SOURCE))
    assert refused(data[: length % len(data)])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 60) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["$", "a"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(st.data())
def test_rows_of_the_wrong_shape_are_decoded_or_refused(data: st.DataObject) -> None:
    table = json.loads(json.dumps(KINDS))
    row = data.draw(st.integers(0, len(table) - 1))
    table[row][data.draw(st.integers(0, len(table[row]) - 1))] = data.draw(json_values)
    refused(json.dumps(table).encode())


# ---- cache ----------------------------------------------------------------------------------


def kept(cache: FactsCache, source: bytes = SOURCE, module: str = "m") -> bytes | None:
    found = cache.read(source, module)
    return None if found is None else encode(found)


def entry(cache: FactsCache) -> Path:
    (found,) = cache.kept.folder.rglob("*.json")
    return found


@pytest.fixture
def cache(tmp_path: Path) -> FactsCache:
    return FactsCache(tmp_path / "cache")


@pytest.fixture
def filled(cache: FactsCache) -> FactsCache:
    cache.write(SOURCE, "m", encode(extract_facts(SOURCE, "m")))
    return cache


def test_nothing_is_kept_at_first(cache: FactsCache) -> None:
    assert kept(cache) is None
    assert not cache.kept.folder.exists()


def test_hit_after_write(filled: FactsCache) -> None:
    assert kept(filled) == encode(extract_facts(SOURCE, "m"))
    assert entry(filled).suffix == ".json"


@pytest.mark.parametrize(
    ("source", "module"), [(SOURCE + b"\n", "m"), (SOURCE, "n")], ids=["content", "module name"]
)
def test_another_file_is_a_miss(filled: FactsCache, source: bytes, module: str) -> None:
    assert kept(filled, source, module) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff" * 30], ids=ascii)
def test_a_broken_entry_is_a_miss_and_is_replaced(filled: FactsCache, content: bytes) -> None:
    entry(filled).write_bytes(content)
    assert kept(filled) is None
    filled.write(SOURCE, "m", encode(extract_facts(SOURCE, "m")))
    assert kept(filled) is not None


def test_a_folder_in_the_place_of_an_entry_is_a_miss(filled: FactsCache) -> None:
    path = entry(filled)
    path.unlink()
    path.mkdir()
    assert kept(filled) is None


def test_a_write_that_fails_leaves_no_temporary_file(filled: FactsCache) -> None:
    path = entry(filled)
    path.unlink()
    path.mkdir()
    filled.write(SOURCE, "m", b"[]")
    assert [item for item in path.parent.iterdir() if item != path] == []


def test_a_file_in_the_place_of_the_cache_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    cache = FactsCache(tmp_path / "file")
    cache.write(SOURCE, "m", b"[]")
    cache.trim()
    assert kept(cache) is None
    assert (tmp_path / "file").read_text() == "mine"


def test_what_was_not_used_for_long_is_removed(filled: FactsCache) -> None:
    long_ago = time.time() - KEPT_FOR - 60
    other = filled.kept.path("ab" * 32)
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(b"")
    os.utime(other, (long_ago, long_ago))
    filled.trim()
    assert not other.exists()
    assert kept(filled) is not None


def test_use_keeps_an_entry(filled: FactsCache) -> None:
    path = entry(filled)
    os.utime(path, (1, 1))
    assert kept(filled) is not None
    filled.trim()
    assert path.exists()


def test_trimming_is_done_once_a_day(filled: FactsCache) -> None:
    filled.trim()
    path = entry(filled)
    os.utime(path, (1, 1))
    filled.trim()
    assert path.exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_cache_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o500)
    cache = FactsCache(tmp_path / "cache")
    cache.write(SOURCE, "m", b"[]")
    assert kept(cache) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_no_entry_can_break_a_read(filled: FactsCache, content: bytes) -> None:
    for path in filled.kept.folder.rglob("*.json"):
        path.write_bytes(content)
    assert kept(filled) is None
