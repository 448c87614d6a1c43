"""Filters of a query, checked: Chroma answers some that make no sense with nothing or with everything, in silence."""

import unicodedata
from typing import Any

import numpy as np

OPERATORS = {str: ("$eq", "$ne", "$in", "$nin"), int: ("$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte")}
"""What can be asked of text and of whole numbers; Chroma takes more, and answers nothing or everything."""


def checked_filter(where: dict[str, Any], fields: dict[str, type], depth: int = 0) -> dict[str, Any]:
    """Return a filter as Chroma answers it rightly; raise where it would answer nothing or everything, in silence."""
    if depth > 40:
        raise ValueError("the filter is nested too deep: at most 40 times")
    if not isinstance(where, dict) or len(where) != 1:
        several = "{'$and': [{'label': 'windmill'}, {'width': {'$gt': 200}}]}"
        raise ValueError(f"{where!r:.80} is no filter: write {{'label': 'windmill'}}, or more than one as {several}")
    ((name, asked),) = where.items()
    if name in ("$and", "$or") and isinstance(asked, (list, tuple)) and asked:
        parts = [checked_filter(part, fields, depth + 1) for part in asked]
        return {name: parts} if len(parts) > 1 else parts[0]
    if name not in fields:
        there = f"choose among {', '.join(fields)}; '$and' and '$or' take a list of filters"
        raise ValueError(f"unknown field {name!r} in the filter: {there}")
    allowed = OPERATORS[fields[name]]
    operator, value = next(iter(asked.items())) if isinstance(asked, dict) and len(asked) == 1 else ("$eq", asked)
    if operator not in allowed:
        raise ValueError(f"{operator!r} cannot be asked of {name}: use one of {', '.join(allowed)}")
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if operator not in ("$in", "$nin"):
        return {name: {operator: _value(name, fields[name], value)}}
    if not isinstance(value, (list, tuple, set, range)) or not value:
        raise ValueError(f"{operator} takes a list of values with at least one in it, not {value!r:.80}")
    return {name: {operator: [_value(name, fields[name], part) for part in value]}}


def _value(name: str, kind: type, value: object) -> str | int:
    """Return a value of a filter in the type in which the field is stored."""
    if isinstance(value, np.generic):
        value = value.item()
    if kind is str and isinstance(value, str) and value == value.encode(errors="ignore").decode():
        return unicodedata.normalize("NFC", value)  # as labels are stored
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    meant = "text in UTF-8, such as '3'" if kind is str else "a whole number, such as 3"
    raise ValueError(f"{name} is {meant}, and the filter asks for {value!r:.80} ({type(value).__name__})")
