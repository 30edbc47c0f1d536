"""LS304: the tensors of an adapter name are kept when another file is loaded under that name."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.clear_before_load import clear_before_load
from lorascale_lint.facts.terms import Attr, Call, Event, Item, Op, Param, source_text, walk
from lorascale_lint.findings import Finding
from lorascale_lint.model import Loader, Model
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import is_receiver
from lorascale_lint.rule import Rule


class StaleAdapterEntries(Rule):
    """Adapter tensors of a former load kept under the same name

    ## What it finds

    A loader that fills `self.adapters[name][key]` from a file and never empties `self.adapters[name]`.

    ## Why it is wrong

    A second file under the same name (an update, or switching A, B, A by path) meets the first one's
    entries: keys that it lacks, its alpha among them, keep the former values, so that the new factors
    are applied at the old `alpha / r`; where the loader insists on fresh keys it raises instead.

    ## Effect

    alpha_old / alpha_new of the trained strength, or an error at the second load.

    ## Bad

    ```python
    from safetensors.torch import load_file


    class LoRAPipeline:
        def load_adapter(self, adapter_name, path):
            tensors = load_file(path)
            for key, tensor in tensors.items():
                self.adapters[adapter_name][key] = tensor
            adapter = self.adapters[adapter_name]
            for name, layer in self.layers.items():
                scale = adapter[name + ".alpha"] / adapter[name + ".lora_A"].shape[0]
                layer.weight.data += scale * (adapter[name + ".lora_B"] @ adapter[name + ".lora_A"])
    ```

    ## Good

    ```python
    from safetensors.torch import load_file


    class LoRAPipeline:
        def load_adapter(self, adapter_name, path):
            tensors = load_file(path)
            self.adapters[adapter_name] = {}
            for key, tensor in tensors.items():
                self.adapters[adapter_name][key] = tensor
            adapter = self.adapters[adapter_name]
            for name, layer in self.layers.items():
                scale = adapter[name + ".alpha"] / adapter[name + ".lora_A"].shape[0]
                layer.weight.data += scale * (adapter[name + ".lora_B"] @ adapter[name + ".lora_A"])
    ```

    ## Fix safety

    Safe: a first load finds the entry empty anyway, and no caller can rely on a second load that
    raised or mixed two files.

    ## Limits

    Looks for the clearing statement in the loader and in what it calls. Loaders that take a name only
    once (by a test on the name itself) are left alone.

    ## References

    - FastVideo 0.1.5 to 0.1.7, `set_lora_adapter`; 0.2.0 empties the entry before it loads
    """

    code = "LS304"
    name = "stale-adapter-entries"
    severity = "warning"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Stores under ``self.container[name][key]`` in loaders that never reset ``container[name]``."""
        for loader in model.loaders:
            store = _store(loader) if loader.traffic.files_read else None
            if store is None or _resets(model, loader, store) or _once_per_name(store):
                continue
            function = loader.function
            entry = _entry(store)
            load = loader.traffic.files_read[0]
            raises = _collision(loader, entry)
            steps = [(function.filename, load.loc, "another file may be read here under the same name")]
            if raises is not None:
                steps.append((function.filename, raises.loc, "a key of the former file raises here"))
            yield self.finding(
                model,
                function.filename,
                store.loc,
                f"entries of an adapter loaded before stay in `{source_text(entry)}`",
                event=store,
                effect="a second file under this name fails to load, or keeps the first one's alpha",
                trace=steps,
                fix=clear_before_load(model, function, load, entry.loc),
            )


def _store(loader: Loader) -> Event | None:
    """The write of a tensor under a key taken from the file, two levels deep in an own attribute."""
    for event in loader.function.events("write"):
        target = event.target
        if isinstance(target, Item) and isinstance(target.base, Item) and not event.sign:
            container, name = target.base.base, target.base.key
            own = isinstance(container, Attr) and is_receiver(container.base, loader.function)
            if own and isinstance(name, Param) and not key_pattern(target.key).strip("*"):
                return event
    return None


def _entry(store: Event) -> Item:
    """``self.container[name]`` of the write that `_store` found."""
    assert isinstance(store.target, Item)
    assert isinstance(store.target.base, Item)
    return store.target.base


def _resets(model: Model, loader: Loader, store: Event) -> bool:
    """Is the entry emptied, or replaced as a whole, by the loader or what it calls?"""
    container = _entry(store).base
    assert isinstance(container, Attr)
    for function in model.project.reachable(loader.function, 2):
        for event in function.facts.events:
            target = event.target
            if (
                event.kind == "write"
                and isinstance(target, Item)
                and _is_attribute(target.base, container.name)
            ):
                return True
            if event.kind == "write" and _is_attribute(target, container.name):
                return True
            for term in walk(event.value):
                if (
                    isinstance(term, Call)
                    and isinstance(term.func, Attr)
                    and term.func.name in ("clear", "pop")
                ):
                    cleared = walk(term.func.base)
                    if any(_is_attribute(part, container.name) for part in cleared):
                        return True
    return False


def _is_attribute(term: object, name: str) -> bool:
    return isinstance(term, Attr) and term.name == name


def _once_per_name(store: Event) -> bool:
    """Does the store happen only for a name that is not there yet?"""
    name, container = _entry(store).key, _entry(store).base
    return any(
        isinstance(guard.test, Op)
        and guard.test.left is name
        and source_text(guard.test.right) == source_text(container)
        and guard.holds == (guard.test.sign == "not in")
        for guard in store.guards
    )


def _collision(loader: Loader, entry: Item) -> Event | None:
    """The raise that refuses a key which is there already."""
    for event in loader.function.events("raise"):
        for test in (guard.test for guard in event.guards if guard.holds):
            if isinstance(test, Op) and test.sign == "in" and source_text(test.right) == source_text(entry):
                return event
    return None
