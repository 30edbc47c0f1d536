"""Every bound of a lint run, with its reason. What passes one is reported, or costs time and nothing else."""

from __future__ import annotations

POOL_FROM = 12
"""Files to analyse from which worker processes pay for their start."""
SECONDS_PER_FILE = 60.0
"""For a worker's analysis of one file; the slowest file known takes a tenth of it."""
RECURSION_LIMIT = 4000
"""Python frames for one file: LibCST takes several for each level, and an ``elif`` is a level."""
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
