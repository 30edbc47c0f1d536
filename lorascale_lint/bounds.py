"""Every bound of a lint run, with its reason. What passes one is reported, or costs time and nothing else."""

from __future__ import annotations

FRAMES = 8_000
"""Python frames while code is run on values: an expression inside a call inside a loop takes dozens."""
SOURCE_BYTES = 8 * 2**20
"""Of a Python file: the standard library's parser takes 100 times as much memory."""
CODE_BYTES = 4 * 2**20
"""Of a Python file, without the functions that can't matter: LibCST takes 2 s and 0.5 GB for one MB."""
EXPRESSION_LEVELS = 700
"""Levels of an expression that LibCST is given; its parser takes seconds from 1,000 on, and dies of 6,000."""
PATTERN_LEVELS = 100
"""Levels that count for one of a ``case`` pattern, for which LibCST's parser takes exponential time."""
DELETED_LEVELS = 35
"""The same for brackets within brackets after ``del``."""
EXPRESSION_CHARACTERS = 2**20
"""Of an expression whose parts are counted."""
EXPRESSION_PARTS = 50_000
"""Nodes of an expression that LibCST is given: a second's work."""
STATEMENT_LEVELS = 500
"""Statements within statements; each ``elif`` is in the ``else`` of the one before."""
CACHE_ENTRY_BYTES = 64 * 2**20
"""Of one entry of the cache; the largest seen has 2 MB."""
KEPT_FOR = 30 * 24 * 3600
"""Seconds after its last use for which an entry of the cache is kept."""
SETTINGS_BYTES = 4 * 2**20
"""Of a `pyproject.toml`; the largest seen has 0.2 MB."""
SETTINGS_KEY_PARTS = 1000
"""Dots in one line of a `pyproject.toml`: `tomllib` takes quadratic time for a name of so many parts."""
FOLDER_DEPTH = 200
"""Folders within folders, below the given one; the walk recurses."""
