"""LS306: a renaming of keys restores the factors' suffixes and swallows the one of alpha."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.codemods.cut_before import cut_before
from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Global,
    Item,
    Loc,
    Param,
    Term,
    walk,
)
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_flow import asks_for_alpha, is_file_alpha, same_place, tensor_of_loop
from lorascale_lint.model.adapter_keys import key_traffic
from lorascale_lint.model.alpha_key_cuts import MisfitCut, misfit_cuts
from lorascale_lint.model.flattened_keys import flattened_keys
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, is_test_file
from lorascale_lint.model.scale import ONE
from lorascale_lint.model.vocabulary import key_role, key_side
from lorascale_lint.rule import Rule


@dataclass(frozen=True, slots=True, eq=False)
class _Renaming:
    """``key.replace(".", "_").replace("_lora_A_", ".lora_down.") ...`` and the write under its result."""

    write: Event
    flattened: Loc
    restored: tuple[tuple[str, str], ...]


class AlphaKeyMangled(Rule):
    """Alpha key lost in a renaming of keys

    ## What it finds

    A conversion that goes through all keys of a file, replaces every dot by an underscore, restores
    the dots of the factors' suffixes only, and writes the alpha of each module from the rank. Also a
    look-up of alpha whose key is a factor's key less a fixed number of letters, `key[:-13] + "alpha"`,
    that fits `lora_A.weight` and not `lora_down.weight`, where both spellings come to it.

    ## Why it is wrong

    `layer.0.alpha` becomes `layer_0_alpha`, a name that no reader asks for, or `layer.0.loalpha` is asked
    for, a name that no file has. The alpha that is written
    under the right name is the rank, so a file that has an alpha comes out with scale 1.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    def load_adapter(state_dict, modules):
        for key, value in state_dict.items():
            if not key.endswith((".lora_A.weight", ".lora_down.weight")):
                continue
            alpha = state_dict.get(key[: -len("lora_A.weight")] + "alpha")
            rank = value.shape[0]
            modules[key].scale = (rank if alpha is None else alpha) / rank
    ```

    ## Good

    ```python
    def load_adapter(state_dict, modules):
        for key, value in state_dict.items():
            if not key.endswith((".lora_A.weight", ".lora_down.weight")):
                continue
            alpha = state_dict.get(key[: key.rindex("lora_")] + "alpha")
            rank = value.shape[0]
            modules[key].scale = (rank if alpha is None else alpha) / rank
    ```

    ## Fix safety

    Unsafe, and for keys that are cut at a length only: they are cut where the suffix begins, so that alphas
    count which were not found before. Where dots are restored, the right spelling of the source's alpha is
    not in the code: restore its suffix like those of the factors, and write the rank only where a module
    has no alpha.

    ## Limits

    Where no alpha is written and only the factors' dots come back, the finding is of medium confidence: files
    of the source may have no alphas. Silent if the function tests for an alpha key, and if the alpha that it
    writes comes from anything but the tensors' shapes. Converters that know the source's alpha and do not
    write one are LS302's, mappings of names that alpha's key never matches LS303's.

    ## References

    - kohya-ss/musubi-tuner commit 27c5a188: `convert_from_diffusers` keeps `.alpha`
    - deepbeepmeep/mmgp commit 186597b5: the alpha key of `lora_up` and `lora_down` names
    """

    code = "LS306"
    name = "alpha-key-mangled"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Renamings that lose alpha, in functions that write one of their own, and cuts that miss it."""
        for function in model.functions:
            if "alpha" in " ".join(function.facts.words) and not is_test_file(function.filename):
                for cut in misfit_cuts(model, function):
                    yield self._misfit(model, cut)
            if "replace" not in function.facts.words or is_test_file(function.filename):
                continue
            for flat, restored, write in flattened_keys(function):
                yield self._flattened(model, function, flat, restored, write)
            for renaming in _renamings(function):
                default = _default_alpha(function, renaming)
                if default is None or _knows_alpha(function):
                    continue
                new, old = renaming.restored[0]
                yield self.finding(
                    model,
                    function.filename,
                    renaming.write.loc,
                    f"`{function.facts.name}` restores the dots of the factors' keys and not those of alpha",
                    event=renaming.write,
                    effect=effect_of(ONE),
                    trace=(
                        (function.filename, renaming.flattened, "every dot of the key becomes an underscore"),
                        (
                            function.filename,
                            renaming.write.loc,
                            f"`{new}` becomes `{old}` again, alpha does not",
                        ),
                        (
                            function.filename,
                            default.loc,
                            "this alpha is written, whatever the file says",
                        ),
                    ),
                )

    def _flattened(
        self, model: Model, function: Function, flat: Loc, restored: tuple[Loc, str], write: Event
    ) -> Finding:
        """Of medium confidence: the code does not show that the files which come here have alphas."""
        return self.finding(
            model,
            function.filename,
            flat,
            f"`{function.facts.name}` restores the dots of the factors' keys and not those of alpha",
            event=write,
            confidence="medium",
            effect="the default for a missing alpha replaces the trained scale",
            trace=(
                (function.filename, flat, "every dot of the key becomes an underscore"),
                (function.filename, restored[0], f"`{restored[1]}` gets its dots back, alpha does not"),
                (function.filename, write.loc, "the tensor is kept under that key"),
            ),
        )

    def _misfit(self, model: Model, cut: MisfitCut) -> Finding:
        filename = cut.function.filename
        return self.finding(
            model,
            filename,
            cut.loc,
            f"the alpha key cut from a key that ends with `{cut.missed}` names no alpha",
            event=cut.event,
            effect="the default for a missing alpha replaces the trained scale",
            trace=(
                (filename, cut.accepted, f"keys that end with `{cut.missed}` are taken here"),
                (filename, cut.loc, f"the length that is cut off is right for `{cut.fitting}` only"),
                (filename, cut.event.loc, "the look-up misses, and says nothing"),
            ),
            fix=cut_before(model, cut),
        )


def _knows_alpha(function: Function) -> bool:
    """Does the function read or test for an alpha key, so that it may treat it apart?"""
    return any(use.role == "alpha" and use.how != "write" for use in key_traffic(function).uses)


def _renamings(function: Function) -> Iterator[_Renaming]:
    """Writes of all tensors of a file under keys whose dots were replaced."""
    for write in function.events("write"):
        if not isinstance(write.target, Item) or write.sign or tensor_of_loop(write.value) is None:
            continue
        if any(asks_for_alpha(g.test, g.holds) or asks_for_alpha(g.test, not g.holds) for g in write.guards):
            continue
        chain = tuple(_replacements(write.target.key))
        flat = next((index for index, (old, new, _) in enumerate(chain) if old == "." and new != "."), None)
        if flat is None:
            continue
        after = [(old, new) for old, new, _ in chain[flat + 1 :] if "." in new]
        sides = {key_side(new) for _, new in after}
        if {"A", "B"} <= sides and not any("alpha" in new for _, new in after):
            yield _Renaming(write, chain[flat][2], tuple(after))


def _replacements(key: Term) -> Iterator[tuple[str, str, Loc]]:
    """The literal replacements on a key, first to last."""
    found: list[tuple[str, str, Loc]] = []
    while isinstance(key, Call) and isinstance(key.func, Attr) and key.func.name == "replace":
        match key.args:
            case (Const(value=str() as old), Const(value=str() as new), *_):
                found.append((old, new, key.loc))
            case _:
                return
        key = key.func.base
    yield from reversed(found)


def _default_alpha(function: Function, renaming: _Renaming) -> Event | None:
    """The write of an alpha that is computed from shapes, into the dictionary of ``renaming``."""
    assert isinstance(renaming.write.target, Item)
    for event in function.events("write"):
        target = event.target
        if not isinstance(target, Item) or not same_place(target.base, renaming.write.target.base):
            continue
        if key_role(key_pattern(target.key)) != "alpha":
            continue
        named = {term.name for term in walk(event.value) if isinstance(term, Attr | Param | Global)}
        if is_file_alpha(event.value, event.guards) or any("alpha" in name for name in named):
            return None
        return event
    return None
