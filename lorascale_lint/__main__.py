"""`python -m lorascale_lint`."""

from __future__ import annotations

from lorascale_lint.cli import main

main()
