"""/proc/net/unix: names of any bytes, and files that are cut short."""

import pytest

from sockmon.kernel.procfs import parse_unix
from sockmon.model.states import TcpState
from sockmon.model.unix_listeners import UnixSocket

HEAD = b"Num       RefCount Protocol Flags    Type St Inode Path\n"


def line(name: bytes = b"", flags: int = 0, state: int = 3, inode: int = 7) -> bytes:
    text = b"00000000bae78ffe: 00000003 00000000 %08X 0001 %02X %5d" % (flags, state, inode)
    return text + (b" " + name if name else b"") + b"\n"


def test_states_and_names() -> None:
    text = HEAD + b"".join(
        [
            line(b"/run/x.sock", flags=0x10000, state=1, inode=123456),
            line(b"@abstract", state=3),
            line(state=1),
            line(b"/with two  spaces", state=2),
        ]
    )
    assert parse_unix(text) == (
        UnixSocket(TcpState.LISTEN, 123456, b"/run/x.sock"),
        UnixSocket(TcpState.ESTABLISHED, 7, b"\0abstract"),
        UnixSocket(TcpState.CLOSE, 7, b""),
        UnixSocket(TcpState.ESTABLISHED, 7, b"/with two  spaces"),
    )


@pytest.mark.parametrize("name", [bytes([byte]) * 3 for byte in range(1, 256) if byte != 10])
def test_any_byte_in_a_name(name: bytes) -> None:
    (found,) = parse_unix(HEAD + line(b"/" + name))
    assert found.name == b"/" + name


def test_what_follows_a_line_break_in_a_name_is_no_socket() -> None:
    found = parse_unix(HEAD + line(b"/a\nb") + line(b"/c"))
    assert [its.name for its in found] == [b"/a", b"/c"]


def test_none() -> None:
    assert parse_unix(HEAD) == ()


@pytest.mark.parametrize("text", [b"", HEAD[:-1], HEAD + line()[:-1], HEAD + b"nonsense\n"])
def test_a_file_that_is_cut_short_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="not the lines of sockets"):
        parse_unix(text)
