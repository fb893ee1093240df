"""Check plain values against a JSON schema and say in one line what is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from regcore.errors import InputError

_KINDS = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "minLength": "some text",
    "uniqueItems": "each entry once",
}


def _whole_match(
    validator: Any, pattern: str, instance: Any, schema: Mapping[str, Any]
) -> Iterator[jsonschema.ValidationError]:
    """Whether a pattern matches all of a text: Python's ``$`` lets a line break behind a name pass."""
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


_VALIDATOR = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"pattern": _whole_match}
)


def check_schema(values: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Refuse values that a schema does not allow.

    Parameters
    ----------
    values : mapping
        Content of a configuration file.
    schema : mapping
        JSON schema, draft 2020-12.

    Raises
    ------
    InputError
        For the first offence, in the order of the keys.

    Examples
    --------
    >>> check_schema({"size": 0}, {"properties": {"size": {"type": "integer", "minimum": 1}}})
    Traceback (most recent call last):
        ...
    regcore.errors.InputError: config size: expected at least 1, found 0
    """
    validator = _VALIDATOR(dict(schema))
    errors = sorted(
        validator.iter_errors(values), key=lambda error: [str(part) for part in error.absolute_path]
    )
    if errors:
        raise InputError(f"config {_one_line(errors[0])}")


def _one_line(error: jsonschema.ValidationError) -> str:
    """Say what a schema error means: where, what was expected, what was found."""
    while error.context:
        error = min(error.context, key=lambda each: (each.validator == "type", -len(each.absolute_path)))
    where = ""
    for part in error.absolute_path:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    wanted: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    found = repr(instance)
    found = found if len(found) <= 80 else found[:77] + "..."
    if error.validator == "additionalProperties":
        known = list(schema.get("properties", {}))
        extra = sorted(set(instance) - set(known))[0]
        near = difflib.get_close_matches(str(extra), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
        return f"{where + '.' if where else ''}{extra}: expected a known key ({hint}), found an unknown one"
    if error.validator == "required":
        missing = next(name for name in wanted if name not in instance)
        return f"{where + '.' if where else ''}{missing}: expected a value, found none"
    if error.validator == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        expected = " or ".join(_KINDS[kind] for kind in kinds)
    elif error.validator == "enum":
        expected = f"one of {', '.join(map(str, wanted))}"
    elif error.validator == "pattern":
        expected = str(schema.get("x-pattern", f"text like {wanted}"))
    else:
        expected = _LIMITS.get(str(error.validator), error.message).format(wanted)
    return f"{where or 'file'}: expected {expected}, found {found}"
