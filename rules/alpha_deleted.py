"""LS316: alphas are deleted from a file's entries, and the rest is saved."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.interfaces import WRITES_TENSORS
from lorascale_lint.knowledge.roles import ALPHA, A, B
from lorascale_lint.ledger.entries import KeyRead, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.values import Place, Ref, Value, options
from lorascale_lint.rule import Rule


class AlphaDeleted(Rule):
    """Alpha deleted from an adapter's entries that are saved again

    ## What it finds

    A function that opens an adapter file, deletes its alphas (`del`, or `pop` whose result nobody takes) and
    saves the other entries, under new names or the old ones.

    ## Why it is wrong

    The factors go on without the alpha that belongs to them: every reader of the new file takes the scale 1.

    ## Effect

    2.00x too strong for alpha 16 and rank 32.

    ## Bad

    ```python
    from safetensors.torch import load_file, save_file


    def rename_lora(src, dst):
        tensors = load_file(src)
        for key in list(tensors):
            if key.endswith(".alpha"):
                del tensors[key]
        renamed = {key.replace("lora_down", "lora_A"): tensor for key, tensor in tensors.items()}
        save_file(renamed, dst)
    ```

    ## Good

    ```python
    from safetensors.torch import load_file, save_file


    def rename_lora(src, dst):
        tensors = load_file(src)
        renamed = {key.replace("lora_down", "lora_A"): tensor for key, tensor in tensors.items()}
        save_file(renamed, dst)
    ```

    ## Fix safety

    No fix: if the new format has no place for alpha, it has to be folded into a factor.

    ## Limits

    Silent if the function, or one that it calls, reads an alpha, multiplies a factor or writes an alpha, and
    where it writes both factors under keys of their own (LS302 looks at those).

    ## References

    - kohya-ss/sd-scripts: a file without `.alpha` is read with alpha = rank
    """

    code = "LS316"
    name = "alpha-deleted"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Functions that throw alphas away and save what is left."""
        folded = {(fold.spot.file.filename, fold.spot.name) for fold in ledger.folds}
        whole = {look.function: look for look in looks(ledger, callees=True)}
        for look in looks(ledger):
            thrown = next((r for r in look.reads if r.how == "del" and key_role_of(r.key) == ALPHA), None)
            if thrown is None or thrown.spot.file.is_test or _keeps_alpha(whole.get(look.function, look)):
                continue
            saved = _saved(look, thrown)
            if saved is None or (thrown.spot.file.filename, thrown.spot.name) in folded:
                continue
            yield self.at(
                thrown.spot,
                f"`{thrown.spot.name}` deletes the alphas of a file and saves its factors",
                effect="alpha / rank is lost: every reader takes the scale 1",
                trace=[(thrown.spot, "alpha is thrown away"), (saved.spot, "what is left is saved")],
            )


def _keeps_alpha(look: Look) -> bool:
    read = any(r.how not in ("del", "in") and key_role_of(r.key) == ALPHA for r in look.reads)
    roles = {key_role_of(write.key) for write in look.writes}
    return read or ALPHA in roles or {A, B} <= roles


def _saved(look: Look, thrown: KeyRead) -> Use | None:
    """Where the dictionary, or what its entries were copied into, is saved."""
    source = thrown.container
    path = source.path if isinstance(source, Place) else None
    if path is None or not path.startswith("file("):
        return None
    copies = {
        write.container.key
        for write in look.writes
        if isinstance(write.container, Ref) and _comes_from(write.value, path)
    }
    for use in look.uses:
        if use.called not in WRITES_TENSORS:
            continue
        for value in use.given.values():
            for option in options(value):
                held = option.value
                if held == source or (isinstance(held, Ref) and held.key in copies):
                    return use
    return None


def _comes_from(value: Value, path: str) -> bool:
    return any(
        isinstance(option.value, Place) and option.value.path.startswith(f"{path}[")
        for option in options(value)
    )
