"""LS308: n factors are fused into one of n times the rank, and alpha stays what it was."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.cut_ranks import cut_ranks
from lorascale_lint.ledger.fusions import fusions
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.resized import recuts, resized
from lorascale_lint.rule import Rule


class FusedRankAlpha(Rule):
    """Fused factors with the alpha of one of them

    ## What it finds

    A function that concatenates several A factors along the rank (`torch.cat(downs, dim=0)`), puts
    the B factors side by side or on a block diagonal, and writes the alpha of one of them unchanged
    under the fused module's key, or gives all three back together; also where adapters are stacked, each part
    times its weight. Also a function that decomposes the delta of a PEFT adapter anew
    (`torch.linalg.svd`) or joins several, writes the new rank into its configuration, and says nothing of
    alpha; and one that writes both factors of a file anew, out of a decomposition, and copies the file's
    alpha. With `--preview`, one that keeps some ranks of both factors (`down[:rank]`, `up[:, :rank]`) beside
    the alpha of all of them.

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

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Modules whose factors are fused, or decomposed, and whose alpha is handed through."""
        for found in resized(ledger):
            yield self.at(
                found.rank,
                f"`{found.rank.name}` joins adapters of several ranks and keeps the alpha of one"
                if found.joined
                else f"`{found.rank.name}` decomposes an adapter to another rank and keeps its alpha",
                confidence="medium" if found.joined else "high",
                effect="effective scale alpha / new rank instead of alpha / rank",
                trace=[
                    (
                        found.decomposed,
                        "factors are put side by side" if found.joined else "the delta is decomposed anew",
                    ),
                    (found.rank, "their rank is written, `lora_alpha` stays"),
                    (found.saved, "and the configuration is handed on with both"),
                ],
            )
        for recut in recuts(ledger):
            yield self.at(
                recut.alpha,
                f"`{recut.alpha.name}` decomposes the factors of a file anew and copies their alpha",
                confidence="high" if recut.to_rank or recut.scaled else "medium",
                effect="the trained scale, and alpha / new rank once more"
                if recut.scaled
                else "effective scale alpha / new rank: 4.00x too strong from rank 64 to 16",
                trace=[
                    (
                        recut.decomposed,
                        f"the delta, {'with' if recut.scaled else 'without'} its scale, is decomposed",
                    ),
                    (recut.factor, "new factors are written, of as many columns as were kept"),
                    (recut.alpha, "and alpha as it was read"),
                ],
            )
        for cut in cut_ranks(ledger):
            yield self.at(
                cut.alpha,
                f"`{cut.alpha.name}` keeps `{cut.kept}` of the ranks and the alpha of all of them",
                confidence="medium",
                effect="effective scale alpha / new rank: 4.00x too strong from rank 64 to 16",
                trace=[
                    (cut.factor, "some rows of the factor are kept, and the same columns of the other one"),
                    (cut.alpha, "alpha goes on as it was"),
                ],
            )
        for fusion in fusions(ledger):
            yield self.at(
                fusion.alpha,
                f"`{fusion.alpha.name}` fuses n factors into one of n times the rank and keeps alpha",
                confidence="high" if fusion.sure else "medium",
                effect="effective scale alpha / (n * rank) instead of alpha / rank: 3.00x too weak for 3",
                trace=[
                    (fusion.down, "the A factors are concatenated: n times the rank"),
                    (fusion.up, "the fused B factor has as many columns"),
                    (fusion.alpha, "alpha is written as it was read"),
                ],
            )
