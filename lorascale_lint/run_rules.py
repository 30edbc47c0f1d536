"""The codes of the run itself: what could not be checked, and comments that silence nothing."""

from __future__ import annotations

from lorascale_lint import rule
from lorascale_lint.rule import Explained


class InternalError(Explained):
    """The program itself failed

    ## What it finds

    A rule that raised an exception, or a fix that would have broken the file and was taken back.

    ## Why it is wrong

    It is a bug of lorascale-lint. Please report it with the lines that were printed.

    ## Effect

    The other rules and files are still reported. The exit code is 2, for not everything was checked.

    ## Example

    `<rule LS101>:1:1 LS000 internal-error: internal error in LS101 unscaled-merge: KeyError: 'alpha'`

    ## Limits

    It can be neither selected nor silenced.

    ## References

    - The exit codes in the README.
    """

    code = "LS000"
    name = "internal-error"


class UnreadableFile(Explained):
    """File that could not be checked

    ## What it finds

    A file that can't be opened, decoded or parsed; a notebook that is no notebook.

    ## Why it is wrong

    "No findings" must never mean "not read".

    ## Effect

    The other files are still reported. The exit code is 2.

    ## Example

    A file for Python 2 that says `print "lora merged"` is reported as

    `old.py:1:1 LS001 unreadable-file: cannot be parsed: Missing parentheses in call to 'print'. Did you mean
    print(...)? (Python 3.11)`

    ## Limits

    It can't be deselected. Leave a file out by `exclude`, or by `# lorascale: skip-file` if it can be
    decoded.

    ## References

    - The exit codes in the README.
    """

    code = "LS001"
    name = "unreadable-file"


class UnusedSuppression(Explained):
    """Comment that silences a rule where that rule finds nothing

    ## What it finds

    `# lorascale: ignore[...]`, `file-ignore[...]`, `disable[...]` and `# noqa: LS...` for a rule that ran and
    has nothing to report there.

    ## Why it is wrong

    The comment outlives the bug it was written for, and hides the next one on the same line.

    ## Effect

    None on the scale.

    ## Bad

    ```python
    def merge(weight, lora_A, lora_B, alpha, rank):
        weight += lora_B @ lora_A * (alpha / rank)  # lorascale: ignore[unscaled-merge] folded by the loader
    ```

    ## Good

    ```python
    def merge(weight, lora_A, lora_B, alpha, rank):
        weight += lora_B @ lora_A * (alpha / rank)
    ```

    ## Fix safety

    Safe: only the comment goes, or the rule's name in it.

    ## Limits

    Nothing is said of rules that did not run on the file, of files that could not be checked, of comments
    that name no rule (`# noqa`), and of standard input without a file name, where other files can't be read.

    ## References

    - The same in ruff: RUF100 unused-noqa.
    """

    code = "LS002"
    name = "unused-suppression"
    severity = "warning"
    fix = "always"


class UnknownSuppression(Explained):
    """Comment that silences a rule that does not exist

    ## What it finds

    `# lorascale: ignore[...]`, `file-ignore[...]`, `disable[...]` and `enable[...]` with a name or code that
    no rule has, with no name at all, or with a word that is none of these.

    ## Why it is wrong

    It silences nothing, and whoever wrote it believes that it does.

    ## Effect

    None on the scale.

    ## Bad

    ```python
    def undo_extraction(weight, lora_A, lora_B, alpha, rank):
        # lorascale: ignore[inverted-scal] the extraction multiplied by alpha / rank
        weight += lora_B @ lora_A * (rank / alpha)
    ```

    ## Good

    ```python
    def undo_extraction(weight, lora_A, lora_B, alpha, rank):
        # lorascale: ignore[inverted-scale] the extraction multiplied by alpha / rank
        weight += lora_B @ lora_A * (rank / alpha)
    ```

    ## Fix safety

    Safe: only the comment goes, or the name in it. Without a fix the message names the nearest rule.

    ## Limits

    Unknown codes in `# noqa` comments belong to other linters and are left alone.

    ## References

    - The same in ruff: RUF102 invalid-rule-code.
    """

    code = "LS003"
    name = "unknown-suppression"
    severity = "warning"
    fix = "always"


ALWAYS = (InternalError, UnreadableFile)
"""Reported whatever is selected; with them not everything was checked."""


def selectable_pages() -> tuple[Explained, ...]:
    """What options and settings can name, sorted by code."""
    return tuple(page for page in all_pages() if not isinstance(page, ALWAYS))


def all_pages() -> tuple[Explained, ...]:
    """Everything that has a code, sorted by it."""
    run = (page() for page in (*ALWAYS, UnusedSuppression, UnknownSuppression))
    return tuple(sorted((*run, *rule.all_rules()), key=lambda page: page.code))
