"""The patterns of ``match``."""

from __future__ import annotations

import ast

from lorascale_lint.provenance.conditions import holds, is_same
from lorascale_lint.provenance.containers import item_at, item_of
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.names import attribute
from lorascale_lint.provenance.unseen import instance
from lorascale_lint.provenance.values import Element, Klass, Place, Ref, Value


def pattern(m: Machine, node: ast.pattern, subject: Value) -> bool | None:
    """Does a pattern match? Binds its names."""
    local = m.frame.names.local
    match node:
        case ast.MatchValue(value=value):
            return is_same(m, subject, m.evaluate(value))
        case ast.MatchSingleton(value=value):
            return m.is_none(subject) if value is None else None
        case ast.MatchAs(pattern=None, name=None):
            return True
        case ast.MatchAs(pattern=None, name=str() as name):
            local[name] = subject
            return True
        case ast.MatchAs(pattern=ast.pattern() as inner, name=name):
            known = pattern(m, inner, subject)
            if name is not None:
                local[name] = subject
            return known
        case ast.MatchOr(patterns=patterns):
            known_all = [pattern(m, one, subject) for one in patterns]
            return True if True in known_all else None if None in known_all else False
        case ast.MatchSequence(patterns=patterns):
            held = m.elements(subject)
            starred = any(isinstance(one, ast.MatchStar) for one in patterns)
            if held is not None and not held[1] and len(held[0]) != len(patterns) and not starred:
                return False
            results = [
                pattern(m, one, item_at(m, subject, index))
                for index, one in enumerate(patterns)
                if not isinstance(one, ast.MatchStar)
            ]
            return _all([*results, True if held is not None else None])
        case ast.MatchMapping(keys=names, patterns=patterns):
            asked = [m.evaluate(key) for key in names]
            there = [holds(m, key, subject) for key in asked]
            parts = [
                pattern(m, one, item_of(m, subject, key)) for key, one in zip(asked, patterns, strict=True)
            ]
            return _all([*there, *parts])
        case ast.MatchClass(kwd_attrs=names, kwd_patterns=patterns, patterns=rest, cls=cls):
            meant = m.evaluate(cls)
            if isinstance(subject, Place | Element) and isinstance(meant, Klass):
                subject = instance(m, meant.info)
            parts = [
                pattern(m, one, attribute(m, subject, name))
                for name, one in zip(names, patterns, strict=True)
            ]
            parts += [pattern(m, one, item_at(m, subject, index)) for index, one in enumerate(rest)]
            if isinstance(meant, Klass) and isinstance(subject, Ref) and subject.cls is not None:
                return _all([meant.info in m.program.mro(subject.cls), *parts])
            return None
        case _:
            return None


def _all(results: list[bool | None]) -> bool | None:
    return False if False in results else None if None in results else True
