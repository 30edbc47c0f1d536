"""``lorascale-lint map``: the model as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lorascale_lint.facts.terms import source_text
from lorascale_lint.model.adapter_keys import KeyTraffic, alpha_mentions
from lorascale_lint.model.applications import Application, describe_guard
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.model import Implementation, Loader, Model
from lorascale_lint.model.project import Class
from lorascale_lint.model.state import AttributeState, Setter, state_attributes
from lorascale_lint.model.vocabulary import ALPHA_KEYS
from lorascale_lint.report.terminal import printable

Record = dict[str, Any]


def render_map(model: Model, targets: Collection[Path], *, as_json: bool) -> str:
    """`map_record` as text or JSON."""
    record = map_record(model, targets)
    text = json.dumps(record, indent=2) if as_json else "\n".join(map(printable, _text(record))).rstrip("\n")
    return text + "\n"


def map_record(model: Model, targets: Collection[Path]) -> Record:
    """The LoRA implementations, state, loaders and converters of ``model`` that lie in ``targets``."""
    wanted = {str(path) for path in targets}
    return {
        "implementations": [
            _implementation(item) for item in model.implementations if item.root.filename in wanted
        ],
        "functions": [
            {"function": a.function.facts.qualname, "filename": a.function.filename, **_application(a)}
            for a in model.applications
            if a.owner is None and a.function.filename in wanted
        ],
        "state": [
            {"class": cls.name, "filename": cls.filename, "attributes": [_state(state) for state in states]}
            for cls, states in _other_state(model)
            if cls.filename in wanted
        ],
        "loaders": [_loader(model, item) for item in model.loaders if item.function.filename in wanted],
        "converters": [
            _traffic(model, item) for item in _converters(model) if item.function.filename in wanted
        ],
    }


# ---- records ------------------------------------------------------------------------------


def _implementation(item: Implementation) -> Record:
    return {
        "class": item.root.name,
        "filename": item.root.filename,
        "row": item.root.facts.loc.row,
        "applications": [
            *({"method": a.function.facts.qualname, **_application(a)} for a in item.applications),
            *(
                {
                    "method": found.function.facts.qualname,
                    "kind": "unmerge",
                    "row": found.loc.row,
                    "scale": f"restores the weight saved in `{found.saved}`",
                }
                for found in item.restorations
            ),
        ],
        "state": [_state(state) for state in item.state],
        "setters": [_setter(setter) for setter in item.setters],
    }


def _application(application: Application) -> Record:
    record: Record = {"kind": application.kind, "row": application.loc.row, "scale": application.formula()}
    if application.misoriented:
        record["note"] = "the delta is in weight layout and not transposed"
    return record


def _state(state: AttributeState) -> Record:
    return {
        "role": state.role,
        "attribute": state.name,
        "may_be_none": state.may_be_none,
        "writes": [
            {
                "row": write.loc.row,
                "filename": write.filename,
                "by": "class body" if write.function is None else write.function.facts.qualname,
                "value": "" if write.value is None else source_text(write.value),
                "may_be_none": write.may_be_none,
                "condition": " and ".join(map(describe_guard, write.conditional)),
            }
            for write in state.writes
        ],
    }


def _setter(setter: Setter) -> Record:
    return {
        "method": setter.function.facts.qualname,
        "row": setter.function.facts.loc.row,
        "alpha_parameter": setter.alpha_parameter,
        "writes_alpha": setter.writes_alpha,
    }


def _other_state(model: Model) -> Iterator[tuple[Class, list[AttributeState]]]:
    """Classes that keep an alpha for LoRA layers without applying any themselves."""
    families = {cls for item in model.implementations for cls in model.project.family(item.root)}
    for cls in model.project.classes.values():
        if cls in families:
            continue
        states = [state for state in state_attributes(model.project, cls) if state.name.startswith("lora")]
        if any(
            write.function is not None and write.function.owner is cls for s in states for write in s.writes
        ):
            yield cls, states


def _loader(model: Model, loader: Loader) -> Record:
    return {
        **_traffic(model, loader.traffic),
        "reads_files": [event.loc.row for event in loader.traffic.files_read],
        "gives_factors_to": [
            {
                "setter": setter.function.facts.qualname,
                "row": site.call.loc.row,
                "arguments": [name for name, _ in site.call.keywords],
            }
            for site, _, setter in loader.setter_calls
        ],
    }


def _traffic(model: Model, traffic: KeyTraffic) -> Record:
    known = " ".join(word for _, word in alpha_mentions(model.project, traffic.function))
    stores_all = any(
        key_pattern(target.key).strip("*") == ""
        for event in traffic.function.events("write")
        for target in [event.target]
        if target is not None and hasattr(target, "key")
    )
    return {
        "function": traffic.function.facts.qualname,
        "filename": traffic.function.filename,
        "row": traffic.function.facts.loc.row,
        "reads": list(traffic.patterns("read")),
        "tests": list(traffic.patterns("test")),
        "writes": [*traffic.patterns("write"), *(["(computed keys)"] if stores_all else [])],
        "never_reads": [key for key in (*ALPHA_KEYS, "adapter_config.json") if not _is_known(key, known)],
    }


def _is_known(key: str, literals: str) -> bool:
    return f'{key}"' in literals or f"{key}'" in literals or literals.endswith(key)


def _converters(model: Model) -> Iterator[KeyTraffic]:
    loading = {loader.function for loader in model.loaders}
    for traffic in model.key_traffic:
        if {"A", "B"} <= traffic.roles("write") and traffic.function not in loading:
            yield traffic


# ---- text ---------------------------------------------------------------------------------


def _text(record: Record) -> Iterator[str]:
    for item in record["implementations"]:
        yield f"{item['filename']}:{item['row']} {item['class']}"
        yield from _lines("applications", [_application_line(a) for a in item["applications"]])
        yield from _state_lines(item["state"])
        yield from _lines("setters", [_setter_line(setter) for setter in item["setters"]])
        yield ""
    for item in record["functions"]:
        yield f"{item['filename']}:{item['row']} {item['function']}"
        yield from _lines("applications", [_application_line({**item, "method": item["function"]})])
        yield ""
    for item in record["state"]:
        yield f"{item['filename']} {item['class']}"
        yield from _state_lines(item["attributes"])
        yield ""
    for kind in ("loaders", "converters"):
        for item in record[kind]:
            yield f"{item['filename']}:{item['row']} {item['function']} ({kind[:-1]})"
            yield from _traffic_lines(item)
            yield ""
    if not any(record.values()):
        yield "No LoRA implementation found."


def _lines(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"  {title}"
        yield from (f"    {line}" for line in lines)


def _application_line(application: Record) -> str:
    note = f"  ({application['note']})" if "note" in application else ""
    place = f"row {application['row']:<5} {application['kind']:<8} {application['method']}"
    return f"{place}: {application['scale']}{note}"


def _state_lines(states: list[Record]) -> Iterator[str]:
    for state in states:
        ending = "can be None when it is used" if state["may_be_none"] else "is set when it is used"
        yield f"  {state['role']}: `{state['attribute']}` {ending}"
        for write in state["writes"]:
            value = f" <- {write['value']}" if write["value"] else ""
            none = ", can be None" if write["may_be_none"] else ""
            condition = f", only if {write['condition']}" if write["condition"] else ""
            yield f"    row {write['row']:<5} {write['by']}{value}{none}{condition}"


def _setter_line(setter: Record) -> str:
    alpha = f"takes alpha as `{setter['alpha_parameter']}`" if setter["alpha_parameter"] else "takes no alpha"
    writes = "stores it" if setter["writes_alpha"] else "stores none"
    return f"row {setter['row']:<5} {setter['method']}: {alpha}, {writes}"


def _traffic_lines(item: Record) -> Iterator[str]:
    for title in ("reads", "tests", "writes", "never_reads"):
        if item[title]:
            yield f"  {title.replace('_', ' ')}: {', '.join(item[title])}"
    for call in item.get("gives_factors_to", []):
        passed = ", ".join(call["arguments"]) or "nothing else"
        yield f"  row {call['row']:<5} gives both factors to {call['setter']}, with {passed}"
