"""The daemon's side: asks the helper for the program, and never waits for the answer."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterable

from sockmon.kernel.errors import HelperError
from sockmon.kernel.events.helper import protocol
from sockmon.kernel.events.helper.protocol import Listener, MessageError
from sockmon.kernel.events.loader import Descriptors

_OPERATION = "asking the events helper"
_HINT = "see systemctl status sockmon-events.socket and journalctl -u sockmon-events"
_OTHER_VERSION = "restart sockmon and sockmon-events.socket if one is newer than the other"

#: Within this time it has started and loaded the program, also on a busy machine.
_ANSWER_SECONDS = 30.0


class Asking:
    """One request. For one thread."""

    def __init__(self, path: str, listeners: Iterable[Listener], now: float) -> None:
        """Send the request. path: that of the socket. now: in monotonic seconds.

        Raises HelperError.
        """
        self._until = now + _ANSWER_SECONDS
        try:
            self._connection = socket.socket(
                socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
            )
        except OSError as error:
            raise _unanswered(error) from error
        try:
            self._connection.connect(path)
            self._connection.send(protocol.encode_request(listeners))
        except OSError as error:
            self._connection.close()
            raise _unanswered(error) from error

    def answer(self, now: float) -> Descriptors | None:
        """Return what the helper has passed; None if it has not answered yet.

        Raises HelperError, or the KernelError that the helper met; then all is over.
        """
        try:
            data, fds, flags, _ = socket.recv_fds(
                self._connection,
                protocol.ANSWER_BYTES,
                protocol.DESCRIPTORS,
                socket.MSG_CMSG_CLOEXEC,
            )
        except BlockingIOError:
            if now < self._until:
                return None
            self.close()
            raise _unanswered(TimeoutError()) from None
        except OSError as error:
            self.close()
            raise _unanswered(error) from error
        self.close()
        with contextlib.ExitStack() as closing:
            for fd in fds:
                closing.callback(os.close, fd)
            if not data:
                raise _unanswered(ConnectionResetError(errno.ECONNRESET, ""))
            try:
                protocol.parse_answer(data)
            except MessageError as error:
                raise _malformed(error) from error
            if len(fds) != protocol.DESCRIPTORS:
                if flags & socket.MSG_CTRUNC:
                    raise HelperError.from_errno(_OPERATION, errno.EMFILE, "raise LimitNOFILE=")
                raise _malformed(f"{len(fds)} descriptors, not {protocol.DESCRIPTORS}")
            closing.pop_all()
        return Descriptors(*fds)

    def close(self) -> None:
        """Give up."""
        self._connection.close()


def _unanswered(error: OSError) -> HelperError:
    if isinstance(error, TimeoutError):
        return HelperError(_OPERATION, "ETIMEDOUT", "no answer in time", _HINT)
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return HelperError(_OPERATION, "ECONNRESET", "it has closed the connection", _HINT)
    return HelperError.from_errno(_OPERATION, error.errno or errno.EIO, _HINT)


def _malformed(why: object) -> HelperError:
    return HelperError(_OPERATION, "malformed", f"malformed: {why}", _OTHER_VERSION)
