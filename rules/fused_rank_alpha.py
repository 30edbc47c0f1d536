"""LS308: n factors are fused into one of n times the rank, and alpha stays what it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import Attr, Call, Const, Event, Global, Item, Loc, Negative, Term
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_flow import lookup, same_place, sequence_of, unconverted
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, is_test_file
from lorascale_lint.model.rank_changes import resized_configs
from lorascale_lint.model.vocabulary import is_alpha_key, key_role, key_side
from lorascale_lint.rule import Rule

_JOINS = frozenset(["cat", "concat", "concatenate", "vstack"])
_ZEROS = frozenset(["zeros", "new_zeros"])


@dataclass(frozen=True, slots=True, eq=False)
class _Fusion:
    """The three keys of one fused module: where its factors and its alpha are written."""

    down: Event
    up: Event
    alpha: Event


class FusedRankAlpha(Rule):
    """Fused factors with the alpha of one of them

    ## What it finds

    A function that concatenates several A factors along the rank (`torch.cat(downs, dim=0)`), puts
    the B factors side by side or on a block diagonal, and writes the alpha of one of them unchanged
    under the fused module's key. Also a function that decomposes the delta of a PEFT adapter anew
    (`torch.linalg.svd`), writes the new rank into its configuration, and says nothing of alpha.

    ## Why it is wrong

    The fused pair has n times the rank. Readers take the rank from its shape, so they divide the old
    alpha by the new rank. Fused modules need n times the alpha, split ones a fraction of it.

    ## Effect

    Effective scale alpha / (n * rank): 3.00x too weak for fused q, k, v.

    ## Bad

    ```python
    import torch


    def fuse_qkv(lora_sd, name, blocks):
        downs = [lora_sd.pop(f"{name}.lora_down.{block}.weight") for block in blocks]
        ups = [lora_sd.pop(f"{name}.lora_up.{block}.weight") for block in blocks]
        alpha = lora_sd.pop(f"{name}.alpha")
        rank = ups[0].shape[1]
        up = torch.zeros(sum(u.shape[0] for u in ups), rank * len(ups))
        row = 0
        for index, part in enumerate(ups):
            up[row : row + part.shape[0], index * rank : (index + 1) * rank] = part
            row += part.shape[0]
        fused = {}
        fused[f"{name}.lora_down.weight"] = torch.cat(downs, dim=0)
        fused[f"{name}.lora_up.weight"] = up
        fused[f"{name}.alpha"] = alpha
        return fused
    ```

    ## Good

    ```python
    import torch


    def fuse_qkv(lora_sd, name, blocks):
        downs = [lora_sd.pop(f"{name}.lora_down.{block}.weight") for block in blocks]
        ups = [lora_sd.pop(f"{name}.lora_up.{block}.weight") for block in blocks]
        alpha = lora_sd.pop(f"{name}.alpha")
        rank = ups[0].shape[1]
        up = torch.zeros(sum(u.shape[0] for u in ups), rank * len(ups))
        row = 0
        for index, part in enumerate(ups):
            up[row : row + part.shape[0], index * rank : (index + 1) * rank] = part
            row += part.shape[0]
        fused = {}
        fused[f"{name}.lora_down.weight"] = torch.cat(downs, dim=0)
        fused[f"{name}.lora_up.weight"] = up
        fused[f"{name}.alpha"] = alpha * len(ups)
        return fused
    ```

    ## Fix safety

    No fix: files that were written before keep the wrong alpha, and the code that splits such modules
    again has to divide by the same number. Multiply alpha by the number of fused blocks on one side
    and divide on the other.

    ## Limits

    Silent unless both factors are visibly fused and alpha is visibly the one that was read. Copying
    A to each block and splitting only B keeps rank and alpha, and is no fusion. A decomposition counts
    only in code that has no word of alpha or of any scale, which may be in the new factors.

    ## References

    - kohya-ss/sd-scripts issue 2204: split q, k, v saved as one module of three times the rank
    - musubi-tuner's converters for Z-Image and HunyuanVideo multiply alpha by 3
    """

    code = "LS308"
    name = "fused-rank-alpha"

    def check(self, model: Model) -> Iterator[Finding]:
        """Modules whose factors are fused and whose alpha is handed through."""
        for function in model.functions:
            if is_test_file(function.filename):
                continue
            for resized in resized_configs(model.project, function):
                yield self.finding(
                    model,
                    function.filename,
                    resized.written.loc,
                    f"`{function.facts.name}` decomposes an adapter to another rank and keeps its alpha",
                    event=resized.written,
                    effect="effective scale alpha / new rank: 4.00x too strong from rank 64 to 16",
                    trace=[
                        (function.filename, resized.decomposed, "the delta is decomposed into new factors"),
                        (function.filename, resized.written.loc, "their rank is written, `lora_alpha` stays"),
                        (function.filename, resized.saved, "and the configuration is saved with both"),
                    ],
                )
            for fusion in _fusions(function):
                yield self.finding(
                    model,
                    function.filename,
                    fusion.alpha.loc,
                    f"`{function.facts.name}` fuses n factors into one of n times the rank and keeps alpha",
                    event=fusion.alpha,
                    effect="effective scale alpha / (n * rank) instead of alpha / rank: 3.00x too weak for 3",
                    trace=_steps(function, fusion),
                )


def _fusions(function: Function) -> Iterator[_Fusion]:
    written = [event for event in function.events("write") if isinstance(event.target, Item)]
    by_role: dict[str, list[Event]] = {"A": [], "B": [], "alpha": []}
    for event in written:
        role = key_role(key_pattern(_target(event).key))
        if role is not None:
            by_role[role].append(event)
    if any(event.sign or not _is_read_alpha(event.value) for event in by_role["alpha"]):
        return  # some alpha is computed here: perhaps this one, afterwards
    for alpha in by_role["alpha"]:
        down = next((e for e in by_role["A"] if _together(e, alpha) and _joins(e.value, "A", 0)), None)
        up = next((e for e in by_role["B"] if _together(e, alpha) and _is_wide(function, e.value)), None)
        if down is not None and up is not None:
            yield _Fusion(down, up, alpha)


def _target(event: Event) -> Item:
    assert isinstance(event.target, Item)
    return event.target


def _together(event: Event, alpha: Event) -> bool:
    """Are both written into one dictionary, for one module?"""
    first, second = _target(event), _target(alpha)
    module = key_pattern(second.key).rpartition(".")[0]
    return (
        not event.sign
        and same_place(first.base, second.base)
        and key_pattern(first.key).startswith(module.removesuffix(".lora"))
    )


def _is_read_alpha(value: Term) -> bool:
    found = lookup(value)
    return found is not None and is_alpha_key(key_pattern(found[1]))


def _joins(value: Term, side: str, dimension: int) -> bool:
    """Is ``value`` the concatenation of at least two looked-up factors of ``side`` along ``dimension``?"""
    call = unconverted(value)
    if not isinstance(call, Call) or not isinstance(call.func, Attr | Global) or call.func.name not in _JOINS:
        return False
    axis = call.argument(1, "dim") or dict(call.keywords).get("axis")
    if _integer(axis) not in ((0, None) if dimension == 0 else (1, -1)) or (axis is None and dimension):
        return False
    joined = call.args[0] if call.args else None
    if joined is None:
        return False
    items = sequence_of(joined)
    several = len(items) > 1 or (len(items) == 1 and getattr(joined, "repeated", False))
    return several and all(
        (found := lookup(item)) is not None and key_side(key_pattern(found[1])) == side for item in items
    )


def _integer(term: Term | None) -> int | None:
    if isinstance(term, Negative) and isinstance(term.operand, Const):
        return -int(term.operand.value) if isinstance(term.operand.value, int) else 99
    if term is None:
        return None
    return term.value if isinstance(term, Const) and isinstance(term.value, int) else 99


def _is_wide(function: Function, value: Term) -> bool:
    """Are the B factors side by side, or on the diagonal of zeros?"""
    call = unconverted(value)
    if not isinstance(call, Call) or not isinstance(call.func, Attr | Global):
        return False
    if call.func.name == "block_diag":
        return call.spread or len(call.args) > 1
    if call.func.name in _ZEROS:
        return any(
            isinstance(event.target, Item) and same_place(event.target.base, call)
            for event in function.events("write")
        )
    return _joins(value, "B", 1)


def _steps(function: Function, fusion: _Fusion) -> Iterator[tuple[str, Loc, str]]:
    read = unconverted(fusion.alpha.value)
    yield function.filename, read.loc, "the alpha of the separate factors is read here"
    joined = unconverted(fusion.down.value)
    yield function.filename, joined.loc, "their A factors are concatenated: n times the rank"
    yield function.filename, fusion.up.loc, "the fused B factor has as many columns"
    yield function.filename, fusion.alpha.loc, "alpha is written as it was read"
