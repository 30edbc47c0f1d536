"""LS306: a renaming of keys restores the factors' suffixes and swallows the one of alpha."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.alpha_look_ups import Misfit, Renamed, misfits, renamed_alphas
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.key_traffic import roles_of_value
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.misgrouped import misgrouped
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


class AlphaKeyMangled(Rule):
    """Alpha key lost in a renaming of keys

    ## What it finds

    A conversion that goes through all keys of a file, replaces every dot by an underscore, restores
    the dots of the factors' suffixes only, and writes the alpha of each module from the rank. Also a
    look-up of alpha whose key is a factor's key less a fixed number of letters, `key[:-13] + "alpha"`,
    that fits `lora_A.weight` and not `lora_down.weight`, where both spellings come to it. And a grouping of
    a file's keys by module that puts the alpha under another name than its factors.

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

    Where no alpha is written and only the factors' dots come back, the finding is of medium confidence:
    files of the source may have no alphas. So is a look-up that fits one spelling: the other may never come
    to it. Silent if alpha's key is treated apart, and if the alpha that
    is written beside it comes from anything but the tensors' shapes. Converters that know the source's
    alpha and do not write one are LS302's, mappings of names that alpha's key never matches LS303's.

    ## References

    - kohya-ss/musubi-tuner commit 27c5a188: `convert_from_diffusers` keeps `.alpha`
    - deepbeepmeep/mmgp commit 186597b5: the alpha key of `lora_up` and `lora_down` names
    """

    code = "LS306"
    name = "alpha-key-mangled"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Alphas of a file that come out of a renaming without their dot, and look-ups that miss them."""
        for misfit in misfits(ledger):
            if not misfit.read.spot.file.is_test:
                yield self._misfit(ledger, misfit)
        for split in misgrouped(ledger):
            cut = [(split.cut, f"of the key of alpha it makes `{split.other}`")] if split.cut else []
            yield self.at(
                split.spot,
                f"alpha is put under `{split.other}`, and its factors under `{split.module}`",
                effect="the default for a missing alpha replaces the trained scale",
                trace=[*cut, (split.spot, "who looks for the alpha of the module finds none")],
            )
        seen: set[object] = set()
        every = list(renamed_alphas(ledger))
        for renamed in every:
            own = renamed.own_alphas
            known = any(ALPHA in roles_of_value(write.value) for write in own)
            lost = renamed.lost_its_dot and not renamed.came_without_its_dot(every)
            lost = lost or renamed.got_an_ending
            if lost and not known and renamed.table.down.spot.node not in seen:
                seen.add(renamed.table.down.spot.node)
                yield self._mangled(renamed)

    def _mangled(self, renamed: Renamed) -> Finding:
        """Of medium confidence where no other alpha is written: the files which come here may have none."""
        write = renamed.table.down.spot
        own = renamed.own_alphas
        trace = [(renamed.alpha.spot, f"alpha is kept as `{renamed.key}`, which no reader asks for")]
        trace += [(alpha.spot, "this alpha is written, whatever the file says") for alpha in own[:1]]
        return self.at(
            write,
            f"`{write.name}` {renamed.told}",
            confidence="high" if own else "medium",
            effect=effect_of(ONE) if own else "the default for a missing alpha replaces the trained scale",
            trace=trace,
        )

    def _misfit(self, ledger: Ledger, misfit: Misfit) -> Finding:
        place = misfit.cut or misfit.read.spot
        from lorascale_lint.codemods.cut_before import cut_before

        return self.at(
            place,
            f"the alpha key cut from a key that ends with `{misfit.missed}` names no alpha",
            confidence="medium",
            effect="the default for a missing alpha replaces the trained scale",
            trace=[
                (place, f"what is cut off is right for `{misfit.fitting}` only"),
                (misfit.read.spot, "the look-up misses, and says nothing"),
            ],
            fix=cut_before(ledger, misfit),
        )
