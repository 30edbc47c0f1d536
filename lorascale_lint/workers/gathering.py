"""Have the shares of a project looked at elsewhere, and put together what was seen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import CancelledError, as_completed
from pathlib import Path

from lorascale_lint.errors import InputError
from lorascale_lint.provenance.driver import shares
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.workers.executors import Workers
from lorascale_lint.workers.packing import Places, unpacked
from lorascale_lint.workers.projects import Project, project_of

DIED = "the process that followed its code died"


def gather(
    workers: Workers,
    whole: Machine,
    sources: Mapping[Path, bytes],
    modules: Mapping[Path, str],
    files: Collection[str],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, str]:
    """Add to ``whole`` what is seen in ``files``; the files of which nothing is known, and why.

    Who answers first does not matter. Raises `InputError` where nobody answers.
    """
    asked = dict(enumerate(shares(files)))
    answers: dict[int, bytes] = {}
    lost: dict[str, str] = {}
    done = 0
    for number, share, answer in _answers(workers, project_of(sources, modules), asked):
        if isinstance(answer, bytes):
            answers[number] = answer
        else:
            why = DIED if isinstance(answer, workers.deaths) else f"internal error: {answer!r}"
            lost |= dict.fromkeys(share, why)
        done += len(share)
        if progress is not None:
            progress(done, len(files))
    places = Places(whole.program)
    for _, answer in sorted(answers.items()):
        looked_at, ledger = unpacked(answer, places)
        whole.looked_at |= looked_at
        whole.ledger.add(ledger)
    return lost


def _answers(
    workers: Workers, project: Project, asked: Mapping[int, tuple[str, ...]]
) -> Iterator[tuple[int, tuple[str, ...], bytes | BaseException]]:
    """The answers as they come.

    A process that dies may take answers with it that others were to give, so each of these shares is tried
    once more, with processes that look at nothing else, and then each of its files, for one is to blame.
    """
    dead = {}
    for number, answer in _tried(workers, project, asked):
        if isinstance(answer, workers.deaths):
            dead[number] = asked[number]
        else:
            yield number, asked[number], answer
    singly = max(asked, default=0)
    for number, share in sorted(dead.items()):
        ((_, answer),) = _tried(workers, project, {number: share})
        if len(share) == 1 or not isinstance(answer, workers.deaths):
            yield number, share, answer
            continue
        for file in share:
            singly += 1
            for own, answer in _tried(workers, project, {singly: (file,)}):
                yield own, (file,), answer


def _tried(
    workers: Workers, project: Project, asked: Mapping[int, tuple[str, ...]]
) -> Iterator[tuple[int, bytes | BaseException]]:
    """Answers to what is asked, and failures; the largest shares are begun first."""

    def size(number: int) -> int:
        return sum(len(project.sources[Path(file)]) for file in asked[number])

    with workers.open(project, [*asked.values()]) as submit:
        begun = {submit(i, asked[i]): i for i in sorted(asked, key=lambda i: (-size(i), i))}
        for future in as_completed(begun):
            try:
                yield begun[future], future.result()
            except InputError:
                raise
            except CancelledError:
                raise InputError("the workers have gone") from None
            except Exception as error:
                yield begun[future], error
