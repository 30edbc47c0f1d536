"""LS315: an alpha that can be chosen for training is a literal where the trained factors are loaded."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.interfaces import (
    LOADS_INTO_MODEL,
    SETTINGS_WORDS,
    TRAINS,
    UPDATES,
    WRITES_TENSORS,
)
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, role_of, speaks_of_lora, words
from lorascale_lint.ledger.defaults import Defaults
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import looks, row_in
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Alternative, Place, options
from lorascale_lint.rule import Rule


class AlphaFixedWhereLoaded(Rule):
    """Literal alpha where an adapter is loaded that was trained with a chosen one

    ## What it finds

    Code that makes LoRA layers with a literal alpha and loads trained factors into them, in a
    project whose training takes alpha from an option or a configuration; or by the same call as the training,
    without an alpha.

    ## Why it is wrong

    The file has the factors only. Trained with another alpha than the one that stands here, it is applied
    at another strength than it was trained at; another rank ends with an error, another alpha with nothing.

    ## Effect

    2.00x too strong if it was trained with alpha 256 and alpha 512 stands here.

    ## Bad

    ```python
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file


    def trained_model(model, args):
        config = LoraConfig(r=args.lora_rank, lora_alpha=args.lora_alpha, target_modules=["to_q"])
        return get_peft_model(model, config)


    def load_for_inference(model, path):
        config = LoraConfig(r=256, lora_alpha=512, target_modules=["to_q"])
        model = get_peft_model(model, config)
        model.load_state_dict(load_file(path), strict=False)
        return model
    ```

    ## Good

    ```python
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file


    def trained_model(model, args):
        config = LoraConfig(r=args.lora_rank, lora_alpha=args.lora_alpha, target_modules=["to_q"])
        return get_peft_model(model, config)


    def load_for_inference(model, path, args):
        config = LoraConfig(r=args.lora_rank, lora_alpha=args.lora_alpha, target_modules=["to_q"])
        model = get_peft_model(model, config)
        model.load_state_dict(load_file(path), strict=False)
        return model
    ```

    ## Fix safety

    No fix: the alpha has to be saved with the factors, or be an option here too.

    ## Limits

    Reported with `--preview` only: nobody can see with which settings a file was trained. Both sides must be
    among the checked files. Silent where the same code trains on, and in tests.

    ## References

    - PKU-YuanGroup/Spark-Wan: `infer.py` has alpha 512, the training's configuration 128
    """

    code = "LS315"
    name = "alpha-fixed-where-loaded"
    severity = "warning"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Literal alphas in code that loads, where other code takes alpha from its settings."""
        every = list(_chosen(ledger))
        if not every:
            return
        chosen, trainers = every[0], {use.spot.function for use in every}
        loaders = {u.spot.function for u in ledger.uses if u.called in LOADS_INTO_MODEL}
        opens = {u.spot.function for u in ledger.uses if any(map(_is_file, options(u.result)))}
        seen: set[tuple[str, int]] = set()
        for look in looks(ledger, callees=True):
            own = [use for use in look.uses if use.spot.function not in trainers]
            made = next((u for u in own if _is_literal(u) or _is_left_out(u, every)), None)
            if made is None or made.spot.file.is_test or look.function in trainers:
                continue
            if any(use.called in TRAINS for use in look.uses):
                continue
            after = [use for use in look.uses if row_in(look, use.spot) > row_in(look, made.spot)]
            loads = next((u for u in after if u.called in LOADS_INTO_MODEL or u.callee in loaders), None)
            if loads is None and made.spot.function in opens and not _is_literal(made):
                loads = next((u for u in after if u.called in UPDATES), None)
            place = (made.spot.file.filename, made.spot.row)
            if loads is None or place in seen:
                continue
            if any(
                u.called in WRITES_TENSORS and row_in(look, u.spot) < row_in(look, loads.spot) for u in after
            ):
                continue  # it loads what it has saved, to check it
            seen.add(place)
            alpha = _given(made, ALPHA)
            where = f"with alpha {alpha.formula()}" if alpha else "with the constructor's own alpha"
            yield self.at(
                made.spot,
                f"factors are loaded into layers {where}, and the training takes alpha from its settings",
                confidence="medium",
                effect="alpha here / alpha of the training, in strength",
                trace=[
                    (chosen.spot, "the training takes alpha from its settings"),
                    (made.spot, "here alpha is a literal" if alpha else "here nothing is given"),
                    (loads.spot, "trained factors are loaded into these layers"),
                ],
            )


def _chosen(ledger: Ledger) -> Iterator[Use]:
    """Where layers are made with an alpha and a rank that are settings (``args.lora_alpha``)."""
    defaults = Defaults(ledger)
    for use in ledger.uses:
        if use.spot.file.is_test or not speaks_of_lora(use.name.partition("(")[0]):
            continue
        alpha, rank = _given(use, ALPHA), _given(use, RANK)
        if alpha is None or rank is None:
            continue
        for symbol, power in alpha.powers:
            head, bracket, _ = symbol.origin.partition("[")
            entry = bool(bracket) and not SETTINGS_WORDS.isdisjoint(words(head)[-1:])
            setting = (
                "." in head
                or entry
                or any(item.how != "parameter" for item in defaults.of(f"settings.{symbol.origin}", use.spot))
            )
            own = symbol.origin.startswith("self.")  # which may be anything that the object was given
            if symbol.role == ALPHA and power == 1 and setting and rank.powers and not own:
                yield use


def _is_literal(use: Use) -> bool:
    if not speaks_of_lora(use.called):
        return False
    alpha, rank = _given(use, ALPHA), _given(use, RANK)
    return alpha is not None and rank is not None and not alpha.powers


def _is_left_out(use: Use, chosen: list[Use]) -> bool:
    """Does a call make the same layers as the training does, and say nothing of their scale but the rank?"""
    if use.hidden:
        return False
    said = {role_of(name, True) for name in use.given} & {ALPHA, SCALING, MULTIPLIER}
    same = [other for other in chosen if other.name == use.name]
    return bool(same) and all(use.spot.node is not other.spot.node for other in same) and not said


def _is_file(option: Alternative) -> bool:
    return isinstance(option.value, Place) and option.value.made == "state dict"


def _given(use: Use, role: str) -> Scale | None:
    found = [value for name, value in use.given.items() if not name.isdigit() and role_of(name, True) == role]
    return scale_of(found[0]) if len(found) == 1 else None
