"""Which spellings of alpha a loader knows, in its own code and in what it calls, and what becomes of one."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.bounds import MENTION_DEPTH
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.entries import KeyRead
from lorascale_lint.ledger.key_traffic import READS
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import Place, Value, options


def reachable(ledger: Ledger, function: FunctionInfo) -> list[FunctionInfo]:
    """The function and what it calls."""
    calls = ledger.once(_calls)
    found, last = {function: None}, [function]
    for _ in range(MENTION_DEPTH):
        last = [callee for caller in last for callee in calls.get(caller, ()) if callee not in found]
        found.update(dict.fromkeys(last))
    return list(found)


def _calls(ledger: Ledger) -> dict[FunctionInfo, dict[FunctionInfo, None]]:
    found: dict[FunctionInfo, dict[FunctionInfo, None]] = defaultdict(dict)
    for use in ledger.uses:
        callee = use.callee.methods.get("__init__") if isinstance(use.callee, ClassInfo) else use.callee
        if use.spot.function is not None and isinstance(callee, FunctionInfo):
            found[use.spot.function][callee] = None
    return dict(found)


def texts(functions: list[FunctionInfo]) -> Iterator[tuple[Spot, str]]:
    """Literal texts without a blank, pieces of f-strings among them."""
    for function in functions:
        for node in ast.walk(function.node):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
                yield Spot(function.file, function, function.owner, node), node.value


def spellings(ledger: Ledger, function: FunctionInfo) -> set[str]:
    """How the function, or what it calls, spells alpha: ``alpha``, ``lora_alpha``."""
    found = (text for _, text in texts(reachable(ledger, function)) if "alpha" in text.lower())
    return {text.strip("\"'.*{}").removesuffix(".weight") for text in found}


def looked_up(ledger: Ledger, function: FunctionInfo) -> Iterator[KeyRead]:
    """Where the function itself takes an alpha out of a dictionary."""
    for read in ledger.reads:
        own = read.spot.function is function and not read.spot.chain
        if own and read.how in READS and key_role_of(read.key) == ALPHA:
            yield read


def left_behind(ledger: Ledger, function: FunctionInfo) -> KeyRead | None:
    """The only thing that happens to alpha: it is looked up and bound to a name that nothing reads."""
    if any(
        spot.function is not function for spot, text in texts(reachable(ledger, function)) if "alpha" in text
    ):
        return None
    reads = list(looked_up(ledger, function))
    return reads[0] if reads and all(_is_unread(read) for read in reads) else None


def _is_unread(read: KeyRead) -> bool:
    function = read.spot.function
    assert function is not None
    for node in ast.walk(function.node):
        if isinstance(node, ast.Assign) and any(part is read.spot.node for part in ast.walk(node.value)):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            loads = {
                n.id
                for n in ast.walk(function.node)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
            }
            return len(names) == len(node.targets) and loads.isdisjoint(names)
    return False


def reads_files(ledger: Ledger, function: FunctionInfo) -> bool:
    """Is an adapter file opened in the function, in what it calls, or in what calls it?"""
    calls = ledger.once(_calls)
    near = {
        *reachable(ledger, function),
        *(caller for caller, callees in calls.items() if function in callees),
    }
    return any(
        use.spot.function in near and any(_is_file(o.value) for o in options(use.result))
        for use in ledger.uses
    )


def _is_file(value: Value) -> bool:
    return isinstance(value, Place) and value.made == "state dict" and value.path.startswith("file(")
