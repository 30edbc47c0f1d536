"""How much of LoRA code the engine can name: ``python benchmarks/coverage.py FOLDER... [options]``

Each folder is a project. Its matrix products in functions with LoRA words are found by the syntax alone
(``matrix_products.py``); `lorascale-lint map` says what they are: a delta, half of one, or something other.
What it does not list, or lists as unknown, counts as not named, with the reasons that it gives. A function
that stands in several projects is counted once. Prints the share that is named, the share of known scales,
and the reasons of the rest, the most frequent first. A map without products is read by its applications.
With ``--maps FOLDER`` each map is kept there, and taken from there: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analyser import call
from applications import Reported, reported_in
from definitions import definitions, enclosing
from matrix_products import Product, products

NAMED = ("delta", "half", "other")
NEAR = 3
"""Rows between a product and an application that is taken to be of it, where the map lists no products."""
NOT_LISTED = "not listed"


@dataclass(frozen=True, slots=True)
class Seen:
    """A product, and what the engine says of it."""

    project: str
    filename: str
    product: Product
    kind: str
    scale: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def is_named(self) -> bool:
        """Does the engine know what the product is?"""
        return self.kind in NAMED


@dataclass(frozen=True, slots=True)
class Listed:
    """A product of the map."""

    filename: str
    row: int
    end_row: int
    kind: str
    scale: str
    reasons: tuple[str, ...]

    @staticmethod
    def of(row: Mapping[str, Any]) -> Listed:
        """A product as the map prints it."""
        end_row = row.get("end_row") or row["row"]
        reasons = tuple(map(_reason, row.get("reasons", ())))
        return Listed(row["filename"], row["row"], end_row, row["kind"], row.get("scale") or "", reasons)

    def distance(self, product: Product) -> int | None:
        """How much the rows differ; None if none is common."""
        if self.end_row < product.row or product.end_row < self.row:
            return None
        return abs(self.row - product.row) + abs(self.end_row - product.end_row)


def _reason(reason: Any) -> str:
    if isinstance(reason, Mapping):
        return str(reason.get("reason") or reason.get("message") or reason.get("kind") or dict(reason))
    return str(reason)


def is_known(scale: str) -> bool:
    """Is a formula free of unknown branches?"""
    return bool(scale) and "unknown" not in scale


# ---- one project ------------------------------------------------------------------------------


def products_below(folder: Path, known: set[str]) -> Iterator[tuple[str, Product]]:
    """The products of all files, less those in functions that ``known`` has (digests, which are added)."""
    for path in sorted(folder.rglob("*.py")):
        try:
            source = path.read_text()
            with warnings.catch_warnings(action="ignore"):
                found = products(ast.parse(source), source)
                around = definitions(ast.parse(source)) if found else []
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue  # nor can the engine read it
        fresh: set[str] = set()
        for product in found:
            definition = enclosing(around, product.row)
            digest = definition.digest if definition else f"{path}:{product.row}"
            if digest in fresh or digest not in known:
                fresh.add(digest)
                yield str(path.relative_to(folder)), product
        known |= fresh


def view(project: str, found: Iterable[tuple[str, Product]], record: Mapping[str, Any]) -> Iterator[Seen]:
    """What the map of a project says of each product."""
    applications = list(reported_in(record))
    listed = [Listed.of(row) for row in record["products"]] if "products" in record else None
    taken: Counter[int] = Counter()  # several products can stand on one row
    for filename, product in found:
        if listed is None:
            yield _by_application(project, filename, product, applications)
        else:
            yield _by_list(project, filename, product, listed, taken)


def _by_list(
    project: str, filename: str, product: Product, listed: Sequence[Listed], taken: Counter[int]
) -> Seen:
    near = [
        (distance, taken[number], item.kind not in NAMED, number)
        for number, item in enumerate(listed)
        if item.filename == filename and (distance := item.distance(product)) is not None
    ]
    if not near:
        return Seen(project, filename, product, NOT_LISTED)
    number = min(near)[-1]
    taken[number] += 1
    item = listed[number]
    return Seen(project, filename, product, item.kind, item.scale, item.reasons)


def _by_application(project: str, filename: str, product: Product, applications: Sequence[Reported]) -> Seen:
    near = [
        item
        for item in applications
        if item.path == filename and product.row - NEAR <= item.row <= product.end_row + NEAR
    ]
    if not near:
        return Seen(project, filename, product, NOT_LISTED)
    item = min(near, key=lambda entry: abs(entry.row - product.row))
    return Seen(project, filename, product, "delta", item.scale)


def mapped(folder: Path, seconds: float, maps: Path | None) -> tuple[Mapping[str, Any], float]:
    """What `map` prints for a project, and the seconds that it took (0: kept from an earlier run).

    Raises:
        ValueError: it printed no JSON, with the reason.
    """
    kept = maps / f"{folder.name}.json" if maps else None
    if kept is not None and kept.exists():
        return json.loads(kept.read_text()), 0.0  # type: ignore[no-any-return]
    answer = call(("map", "--output-format", "json", "."), folder, seconds)
    record = answer.json()
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(answer.out)
    return record, answer.seconds


# ---- report -----------------------------------------------------------------------------------


def generalised(reason: str) -> str:
    """A reason without its names and rows, so that equal ones are counted together."""
    text = re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"", "`...`", reason)
    return re.sub(r"\S+\.py(:\d+)*|\brow \d+|\d+", "N", text)


def report(seen: Sequence[Seen], applications: Sequence[Reported], top: int) -> None:
    """Shares of what is named and known, by operation, and why the rest is not."""
    kinds = Counter(item.kind for item in seen)
    print(f"{len(seen)} products, named {_share(sum(item.is_named for item in seen), len(seen))}")
    print("  " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))
    doubtful = sum(item.kind == "other" and bool(item.reasons) for item in seen)
    if doubtful:
        sure = sum(item.is_named for item in seen) - doubtful
        print(f"  without the others that have a reason: {_share(sure, len(seen))}")
    deltas = [item for item in seen if item.kind == "delta"]
    print(f"scales of deltas known: {_share(sum(is_known(item.scale) for item in deltas), len(deltas))}")
    known = sum(is_known(item.scale) for item in applications)
    print(f"{len(applications)} applications, scales known: {_share(known, len(applications))}")
    print("\nby operation")
    for operation, count in Counter(item.product.operation for item in seen).most_common():
        named = sum(item.is_named for item in seen if item.product.operation == operation)
        print(f"  {operation:16} {_share(named, count)}")
    print("\nwhy the rest is not named, or its scale not known")
    reasons: Counter[str] = Counter()
    for item in seen:
        if item.is_named and not item.reasons and (item.kind != "delta" or is_known(item.scale)):
            continue
        given = {generalised(reason) for reason in item.reasons}
        reasons.update(given or {_without_reason(item)})
    for reason, count in reasons.most_common(top):
        print(f"  {count:5}  {reason}")


def _without_reason(item: Seen) -> str:
    what = "unknown scale of a delta" if item.is_named else item.kind
    return f"({what}, no reason given: {item.product.operation})"


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.1%})" if whole else "0 of 0"


def main() -> int:
    """Run the benchmark; 1 if a folder could not be mapped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=300, help="limit for the map of one folder")
    parser.add_argument("--maps", type=Path, metavar="FOLDER", help="keep the maps here")
    parser.add_argument("--top", type=int, default=30, help="reasons to print")
    parser.add_argument("--json", type=Path, help="write every product to this file, one a line")
    parser.add_argument("--projects", action="store_true", help="print a line for each folder")
    options = parser.parse_args()
    seen: list[Seen] = []
    applications: list[Reported] = []
    failures = []
    known: set[str] = set()
    for folder in options.folders:
        found = list(products_below(folder, known))
        took = 0.0
        try:
            record, took = mapped(folder, options.seconds, options.maps)
        except ValueError as error:
            failures.append(f"{folder.name}: {error}")
            record = {"products": []}
        fresh = list(view(folder.name, found, record))
        seen += fresh
        applications += reported_in(record)
        if options.projects:
            named = sum(item.is_named for item in fresh)
            print(f"{folder.name:60} {named:4} of {len(fresh):4}  {took:6.1f} s", flush=True)
    print(f"{len(options.folders)} folders")
    report(seen, applications, options.top)
    for failure in failures:
        print(f"not mapped: {failure}")
    if options.json:
        options.json.write_text("".join(json.dumps(asdict(item)) + "\n" for item in seen))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
