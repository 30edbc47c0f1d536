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
BASELINE_BYTES = 64 * 2**20
"""Of a baseline: half a million findings."""
SETTINGS_KEY_PARTS = 1000
"""Dots in one line of a `pyproject.toml`: `tomllib` takes quadratic time for a name of so many parts."""
FOLDER_DEPTH = 200
"""Folders within folders, below the given one; the walk recurses."""
UNROLL_LIMIT = 12
"""Items of a loop over a literal that are run one by one."""
INDEX_LIMIT = 2
"""Numbers by which one list out of sight is indexed; of more, any element is meant."""
HEIR_LIMIT = 3
"""Classes of one file with which an inherited method is looked at, beside its own."""
DISPLAY_LIMIT = 500
"""Elements of a literal list or table that are looked at; the longest table of keys seen has 300."""
NESTED_LIMIT = 10_000
"""Parts within parts of a tuple, each counted where it stands: `x = (x, x)` time and again doubles them."""
HELD_LIMIT = 1_000
"""Elements of a list or table that code makes, by putting it together with itself time and again."""
TEXT_LIMIT = 300
"""Letters of a text that is worked on, or made."""
DEPTH_LIMIT = 14
"""Calls inside calls; the deepest seen in real LoRA code (ComfyUI's patcher) is nine."""
STEP_LIMIT = 6_000
"""Expressions evaluated for one function that is looked at, with all that it calls."""
AWAY_STEPS = 1_000
"""Of them, in one call of code that does not speak of LoRA; what takes more is known by its name alone."""
MORE_TIMES = 4
MORE_STEPS = 1_500
"""How often a function goes on behind a statement that took too much, and with how many steps."""
TRIAL_STEPS = 2_000
"""Expressions evaluated in one trial from where the file comes in: three keys go through a converter of usual
size in a few hundred."""
GUARD_LIMIT = 24
"""Conditions remembered on one path; the oldest are forgotten."""
RESULT_VARIANTS = 6
"""Results of one call with the same arguments that are kept; the oldest goes."""
FIELD_LIMIT = 400
"""Methods of one class that are run to learn what they store."""
REPEAT_LIMIT = 6
"""Unbounded repetitions in a pattern: each multiplies the time that a failing match can take."""
SMALL_FUNCTION = 25
"""Rows of a function that is followed whatever it is about: properties, getters, little helpers."""
KEPT_SCALES = 16_384
"""Products, inverses and scales by role that are kept: a project has a few thousand scales, and asks for
the same ones a million times."""
KEPT_STATEMENTS = 4_096
"""Statements, and literals, of which is kept what is asked of them each time they run."""
STEP_COUNT = 24
"""Multiplications remembered of one value, the last ones."""
ROW_COUNT = 64
"""Rows of products remembered of one value: a sum that is doubled in each step would hold them twice."""
TRIAL_LIMIT = 3
"""Trials of one function: places where a file comes in, times the conventions that its code names."""
DORA_LIMIT = 1
"""Of them, those that are made again with a magnitude in the file, where the code speaks of DoRA."""
PATTERN_LIMIT = 3
"""Further trials, on names that the regular expressions of the code itself take."""
OPTION_LIMIT = 8
"""Alternatives kept of one value: rsLoRA, DoRA and a missing alpha together make eight."""
COMMIT_FILES = 16
"""Linted files, more of which are no commit but a project; they are looked at beside each other."""
IMPORT_REACH = 2
"""Imports on the way to a file that is looked at beside one that is linted."""
IMPORTER_LIMIT = 8
"""Files that import a linted one and are looked at beside it, those in the nearest folders first."""
COMPANION_BYTES = 64 * 2**10
"""Of all these files for one that is linted: a commit hook must answer while a person waits."""
CLUSTER_SECONDS = 20
"""For a scheduler of a cluster to answer, and to have a worker."""
SHARD_BYTES = 2**31
"""Of what one share of a run has seen; all of diffusers has a hundredth of it."""

NAME_STEPS = 4
"""Names that are followed from a key to where it was found."""
CALLS_OF_A_NAME = 8
"""Calls of one name in a file that are looked at, beside those of the function that uses the result."""
FLAG_REACH = 4
"""Imports on the way to a file that may know a flag of a layer."""
MENTION_DEPTH = 3
"""Calls inside calls that are looked through for a word of alpha."""
NUMBER_BITS = 1000
"""Of a number that is worked out; larger ones do not fit into a float, and their powers take minutes."""
REPEATED_LIMIT = 8
"""Times that ``[item] * n`` is written out; more are a list of unknown length."""
FILLER_LIMIT = 8
"""Functions of a file that are run because they fill a table of its top level."""
CLASS_LIMIT = 4
"""Classes that a thing out of sight may be after ``isinstance``, each with all that is stored in it."""
PATH_LIMIT = 160
"""Letters, from the end, of the way by which a thing out of sight is named."""
NAME_LIMIT = 60
"""Letters of the name of a piece of text that is not known; of a longer one a part, and a checksum of it."""
PARTS_IN_A_NAME = 8
"""Pieces of a text that the name of one with more than ``PART_LIMIT`` pieces tells."""
LETTER_LIMIT = 8
"""Letters of a text that a loop takes one by one (``for part in "qkv"``)."""
OWNER_LIMIT = 6
"""Classes of one family with a method by whose name an object of unknown class is known."""
RECURSION_LIMIT = 2
"""Times that a function runs inside itself: what it gives for a part, and for the whole."""
STAR_DEPTH = 6
"""Star imports within star imports on the way to a name."""
DOTTED_DEPTH = 8
"""Re-exports on the way to what a dotted name leads to."""
ANCESTOR_LIMIT = 64
"""Classes above one: bases that inherit from each other in a circle end there."""
ANCESTOR_DEPTH = 12
"""Bases of bases that are looked up."""
PART_LIMIT = 64
"""Pieces, known and unknown in turn, of which a text is made; beyond, nothing of it is known."""
PIECE_LIMIT = 2_000
"""Letters of one known piece of a text."""
WORD_LIMIT = 300
"""Letters of a word that a piece of text is remembered to hold."""
CHAIN_LIMIT = 6
"""Calls, the last ones, that tell one way to a function from another."""
OWN_NAME = 6
"""Letters of a method's name from which on it may be one that no other class has."""
STARRED_LIMIT = 4
"""Rows of arguments behind one star, of which one is given."""
