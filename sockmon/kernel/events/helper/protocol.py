"""The messages between the helper and the daemon, as bytes (pure).

A request is a number of fixed fields, so that the privileged process parses almost nothing. An
answer is JSON; with one that is no error, four descriptors come: two links,
rows and control.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from sockmon.kernel.errors import KernelError
from sockmon.kernel.events import layout

Listener = tuple[int, int]

#: No more of them are sent: the program's map of listeners has no more entries.
LISTENERS_AT_MOST = 4096
DESCRIPTORS = 4
_HEADER, _LISTENER = struct.Struct("!BH"), struct.Struct("!IH")
REQUEST_BYTES = _HEADER.size + LISTENERS_AT_MOST * _LISTENER.size
ANSWER_BYTES = 4096
_TEXT_BYTES = 512  # of each text of an error

_FORMAT = {"version": layout.VERSION, "rows": layout.ROWS, "words": layout.WORDS}


class MessageError(ValueError):
    """Bytes that are not a message of this version."""


def encode_request(listeners: Iterable[Listener]) -> bytes:
    """Return a request. listeners: (inode of a network namespace, port)."""
    sent = [pair for pair, _ in zip(listeners, range(LISTENERS_AT_MOST), strict=False)]
    parts = [_LISTENER.pack(netns, port) for netns, port in sent]
    return b"".join([_HEADER.pack(layout.VERSION, len(sent)), *parts])


def parse_request(data: bytes) -> Sequence[Listener]:
    """Return a request's listeners; raises MessageError."""
    if len(data) < _HEADER.size:
        raise MessageError(f"a request of {len(data)} bytes")
    version, count = _HEADER.unpack_from(data)
    if version != layout.VERSION:
        raise MessageError(f"a request of version {version}, not {layout.VERSION}")
    if count > LISTENERS_AT_MOST or len(data) != _HEADER.size + count * _LISTENER.size:
        raise MessageError(f"a request of {len(data)} bytes for {count} listeners")
    return list(_LISTENER.iter_unpack(data[_HEADER.size :]))


def encode_answer(error: KernelError | None = None) -> bytes:
    """Return the answer: the descriptors come with it, or why there are none."""
    body: dict[str, Any] = dict(_FORMAT)
    if error is not None:
        texts = (error.operation, error.reason, error.detail, error.hint)
        body = {"error": [text[:_TEXT_BYTES] for text in texts]}
    return json.dumps(body).encode()


def parse_answer(data: bytes) -> None:
    """Check an answer.

    Raises MessageError; and, if the helper could not load the program, the KernelError that it met.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MessageError("it is not JSON") from error
    match body:
        case {"error": [str(operation), str(reason), str(detail), str(hint)]}:
            raise KernelError(operation, reason, detail, hint)
        case dict() if body == _FORMAT:
            return
        case {"version": int(version)} if version != layout.VERSION:
            raise MessageError(f"version {version}, not {layout.VERSION}")
    raise MessageError("it has neither an error nor this version's form")
