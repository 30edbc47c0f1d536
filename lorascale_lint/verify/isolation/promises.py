"""What `verify` promises about the code that it runs, and which of it this machine can keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Promise(StrEnum):
    """One promise. All others (time, memory, the folder's removal) hold on every machine."""

    NETWORK = "network"
    SERVICES = "services"
    SECRETS = "secrets"
    WRITES = "writes"
    LEFTOVERS = "leftovers"


WORDS: Mapping[Promise, str] = {
    Promise.NETWORK: "it reaches no network",
    Promise.SERVICES: "it reaches no socket of another program on this machine",
    Promise.SECRETS: "it reads the environment of no other process",
    Promise.WRITES: "it writes only into a temporary folder of its own",
    Promise.LEFTOVERS: "no process of it is left, whatever it does",
}


class Isolation(StrEnum):
    """What to do where a promise cannot be kept: say so, refuse to run, or not try at all."""

    AUTO = "auto"
    REQUIRED = "required"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Containment:
    """What this machine offers.

    `unshare` are the options of unshare(1) that work here; None: no namespaces are used. `broken` are the
    promises that are not kept, each with the reason.
    """

    unshare: tuple[str, ...] | None
    broken: Mapping[Promise, str] = field(default_factory=dict)

    @classmethod
    def none(cls, reason: str) -> Containment:
        """No namespaces, so none of the promises is kept."""
        return cls(None, dict.fromkeys(Promise, reason))

    def sentences(self) -> Iterator[str]:
        """What is not promised, for a person; promises that are broken for one reason share a sentence."""
        for reason in dict.fromkeys(self.broken.values()):
            words = [WORDS[promise] for promise, why in self.broken.items() if why == reason]
            yield f"Not promised of the code that is run: {'; '.join(words)} ({reason})"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the promises that are kept, and those that are not with their reasons."""
        return {
            "kept": [promise.value for promise in Promise if promise not in self.broken],
            "not_kept": {promise.value: reason for promise, reason in self.broken.items()},
        }
