"""Write the JSON Schemas beside this script, from what sockmon/export/messages declares.

python docs/api/generate.py           # write them
python docs/api/generate.py --check   # exit 1 if one is not current

The string below a key is its description. page/generate.py makes the page's types of the schemas.
"""  # noqa: INP001 - a script by itself, of no package

import argparse
import ast
import inspect
import json
import sys
import types
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from sockmon.export.messages import (
    alerts,
    doctor,
    finding,
    history,
    observation,
    page,
    sockets,
    trace,
)
from sockmon.history.snapshot import Range
from sockmon.model.direction import Direction
from sockmon.model.finding import Effect, Purpose, Severity, Unit, Where
from sockmon.model.states import StateLabel

HERE = Path(__file__).parent

#: File -> what it describes.
SCHEMAS: Mapping[str, type] = {
    "observation": observation.ObservationAnswer,
    "alerts": alerts.AlertsAnswer,
    "history": history.History,
    "sockets": sockets.SocketsAnswer,
    "events-observation": page.Observation,
    "events-beat": page.Beat,
    "doctor": doctor.DoctorAnswer,
    "trace-connection": trace.TraceConnection,
    "trace-end": trace.TraceSummary,
}

#: Where messages are declared, those that others are made of first.
DECLARED = (finding, observation, alerts, history, sockets, page, doctor, trace)

#: Sets of words that have a definition of their own.
NAMED = {
    "AlertState": alerts.AlertState,
    "Direction": Direction,
    "Effect": Effect,
    "Purpose": Purpose,
    "Range": Range,
    "Severity": Severity,
    "State": StateLabel,
    "Unit": Unit,
    "Where": Where,
}
_NAMES = {get_args(literal): name for name, literal in NAMED.items()}

Json = dict[str, Any]

_PLAIN: Mapping[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
}


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Write the schemas, or check them.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    check = parser.parse_args().check
    status = 0
    for name, message in SCHEMAS.items():
        path = HERE / f"{name}.schema.json"
        text = json.dumps(Schema(message).whole, indent=2, ensure_ascii=False) + "\n"
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.stderr.write(f"{path} is not current: run {Path(__file__).name}\n")
            status = 1
    return status


class Schema:
    """The schema of one message (JSON Schema, draft 2020-12); `whole` is all of it."""

    def __init__(self, message: type) -> None:
        self._definitions: dict[str, Json] = {}
        self._define(message)
        self.whole = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": message.__name__,
            **self._definitions.pop(message.__name__),
            "$defs": dict(sorted(self._definitions.items())),
        }

    def _define(self, message: Any) -> None:
        name, hints = message.__name__, get_type_hints(message)
        self._definitions[name] = {
            "description": " ".join(message.__doc__.split()),
            "type": "object",
            "properties": {
                key: {**self._of(hint), **DESCRIPTIONS[name].get(key, {})}
                for key, hint in hints.items()
            },
            "required": [key for key in hints if key in message.__required_keys__],
            "additionalProperties": False,
        }

    def _of(self, hint: Any) -> Json:
        """Return the schema of an annotation."""
        arguments = get_args(hint)
        if hint in _PLAIN:
            return {"type": _PLAIN[hint]}
        if is_typeddict(hint):
            if hint.__name__ not in self._definitions:
                self._define(hint)
            return {"$ref": f"#/$defs/{hint.__name__}"}
        if get_origin(hint) is Literal:
            return self._literal(arguments)
        if get_origin(hint) in (Union, types.UnionType):
            return {"anyOf": [self._of(each) for each in arguments]}
        return self._container(get_origin(hint), arguments)

    def _literal(self, values: tuple[str, ...]) -> Json:
        its: Json = {"const": values[0]} if len(values) == 1 else {"enum": list(values)}
        if values not in _NAMES:
            return its
        self._definitions[_NAMES[values]] = its
        return {"$ref": f"#/$defs/{_NAMES[values]}"}

    def _container(self, origin: object, arguments: tuple[Any, ...]) -> Json:
        if origin is list:
            return {"type": "array", "items": self._of(arguments[0])}
        if origin is tuple:
            items = [self._of(each) for each in arguments]
            return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
        if origin is dict:
            keys = {} if arguments[0] is str else {"propertyNames": self._of(arguments[0])}
            return {"type": "object", **keys, "additionalProperties": self._of(arguments[1])}
        raise TypeError(f"no schema for {origin} of {arguments}")


def _descriptions() -> dict[str, dict[str, Json]]:
    """Return the descriptions of the keys by message, those of its bases too."""
    found: dict[str, dict[str, Json]] = {}
    for node in [each for its in DECLARED for each in ast.parse(inspect.getsource(its)).body]:
        match node:
            case ast.ClassDef(name=name, bases=bases, body=body):
                known = [found.get(base.id, {}) for base in bases if isinstance(base, ast.Name)]
                found[name] = {key: text for base in known for key, text in base.items()}
                for line, below in pairwise(body):
                    match line, below:
                        case (
                            ast.AnnAssign(target=ast.Name(id=key)),
                            ast.Expr(value=ast.Constant(value=str(text))),
                        ):
                            found[name][key] = {"description": " ".join(text.split())}
    return found


DESCRIPTIONS = _descriptions()

if __name__ == "__main__":
    sys.exit(main())
