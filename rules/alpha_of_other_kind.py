"""LS406: layers of one kind get their own rank and the alpha of another kind."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.facts.terms import Attr, Call, Choice, Const, Item, Param, Term, walk
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function, is_test_file
from lorascale_lint.rule import Rule

_KIND_RANK = re.compile(r"_?(?:lora_|network_)?(?P<kind>[a-z][a-z_]*?)_(?:lora_|network_)?(?:dim|rank|r)")
_KIND_ALPHA = re.compile(r"_?(?:lora_|network_)?(?:(?P<kind>[a-z][a-z_]*?)_)?(?:lora_|network_)?alpha")
_NO_KIND = frozenset(
    "lora network max min in out hidden head inner target new old base linear global default".split()
)


class AlphaOfOtherKind(Rule):
    """Alpha of another kind of layer beside this kind's rank

    ## What it finds

    A call that makes an adapter with the rank of one kind of layer (`conv_dim`, `text_rank`) and an alpha
    that is not of that kind, in code that has an alpha for the kind (`conv_alpha`).

    ## Why it is wrong

    The trained scale is alpha / rank of the same layer. The person set an alpha for these layers, and it is
    never used.

    ## Effect

    alpha / conv_alpha: 16.00x too strong for alpha=16 where conv_alpha=1 was asked for.

    ## Bad

    ```python
    class LoRANetwork:
        def __init__(self, unet, lora_dim=4, conv_dim=4, alpha=1, conv_alpha=1):
            self.lora_dim = lora_dim
            self.conv_dim = conv_dim
            self.alpha = alpha
            self.conv_alpha = conv_alpha
            self.loras = []
            for name, module in unet.named_modules():
                if module.__class__.__name__ == "Linear":
                    self.loras.append(LoRAModule(name, module, self.lora_dim, self.alpha))
                elif module.__class__.__name__ == "Conv2d":
                    self.loras.append(LoRAModule(name, module, self.conv_dim, self.alpha))
    ```

    ## Good

    ```python
    class LoRANetwork:
        def __init__(self, unet, lora_dim=4, conv_dim=4, alpha=1, conv_alpha=1):
            self.lora_dim = lora_dim
            self.conv_dim = conv_dim
            self.alpha = alpha
            self.conv_alpha = conv_alpha
            self.loras = []
            for name, module in unet.named_modules():
                if module.__class__.__name__ == "Linear":
                    self.loras.append(LoRAModule(name, module, self.lora_dim, self.alpha))
                elif module.__class__.__name__ == "Conv2d":
                    self.loras.append(LoRAModule(name, module, self.conv_dim, self.conv_alpha))
    ```

    ## Fix safety

    No fix: adapters may have been trained with the other alpha meanwhile. Pass the alpha that goes with the
    rank, and keep the old one for files that were trained with it.

    ## Limits

    Goes by the names of both values, and looks at values that are passed on as they are.

    ## References

    - LyCORIS 29cbf60a, `LoRANetwork.__init__` of locon
    """

    code = "LS406"
    name = "alpha-of-other-kind"

    def check(self, model: Model) -> Iterator[Finding]:
        """One finding for each call that mixes the kinds."""
        words: dict[tuple[str, str], set[str]] = {}
        for function in model.project.functions.values():
            words.setdefault(_scope(function), set()).update(function.facts.words)
        for function in model.functions:
            if is_test_file(function.filename):
                continue
            for event in function.events("call"):
                if isinstance(event.value, Call):
                    found = _mixed(event.value, words[_scope(function)])
                    if found is not None:
                        rank, alpha, own = found
                        yield self.finding(
                            model,
                            function.filename,
                            alpha.loc,
                            f"`{function.facts.qualname}` gives layers of rank `{_name(rank)}` the alpha "
                            f"`{_name(alpha)}` and not `{own}`",
                            event=event,
                            effect=f"{_name(alpha)} / {own} of the strength that was asked for",
                            trace=(
                                (
                                    function.filename,
                                    rank.loc,
                                    f"the rank is that of the kind: `{_name(rank)}`",
                                ),
                                (function.filename, alpha.loc, f"the alpha is not, though there is `{own}`"),
                            ),
                        )


def _mixed(call: Call, words: set[str]) -> tuple[Term, Term, str] | None:
    """The rank and the alpha of different kinds in one call, and the alpha that belongs to the rank."""
    given = [leaf for argument in (*call.args, *(v for _, v in call.keywords)) for leaf in _leaves(argument)]
    alphas = [(leaf, match["kind"]) for leaf in given if (match := _KIND_ALPHA.fullmatch(_name(leaf)))]
    if not alphas:
        return None
    for leaf in given:
        match = _KIND_RANK.fullmatch(_name(leaf))
        if match is None or match["kind"] in _NO_KIND or any(kind == match["kind"] for _, kind in alphas):
            continue
        kind = match["kind"]
        plain = [alpha for alpha, other in alphas if other is None or other == "linear"]
        own = next((w for w in sorted(words) if (m := _KIND_ALPHA.fullmatch(w)) and m["kind"] == kind), None)
        others = {m["kind"] for part in given if (m := _KIND_RANK.fullmatch(_name(part)))} - _NO_KIND
        if own is not None and plain and others == {kind}:
            return leaf, plain[0], own
    return None


def _leaves(term: Term) -> Iterator[Term]:
    """The values of a conditional expression; conversions taken off."""
    if isinstance(term, Choice):
        yield from _leaves(term.then)
        yield from _leaves(term.other)
    elif (
        isinstance(term, Call) and getattr(term.func, "name", "") in ("int", "float") and len(term.args) == 1
    ):
        yield from _leaves(term.args[0])
    elif any(isinstance(part, Choice) for part in walk(term)):
        return
    else:
        yield term


def _name(term: Term) -> str:
    match term:
        case Attr(name=name) | Param(name=name):
            return name
        case Item(key=Const(value=str() as key)):
            return key
        case _:
            return ""


def _scope(function: Function) -> tuple[str, str]:
    """A class with its methods, or a function with those inside it."""
    return function.filename, function.facts.qualname.partition(".")[0]
