"""Advice about the range of local ports, and addresses as rows and commands have them."""

import numpy as np
from numpy.typing import NDArray

from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Command
from sockmon.model.limits import PortRange
from sockmon.model.states import TcpState
from sockmon.model.table import Column, IPAddress

_WIDEST = "1024 65535"
_FIRST_UNPRIVILEGED, _LAST = 1024, 65535
_RESERVED_SHOWN = 50


def widen(data: DetectorInput, port_range: PortRange) -> tuple[Advice, ...]:
    """Advise to widen the range, with this host's listeners kept out of it."""
    table = data.table
    ports = table.local_port[table.state == TcpState.LISTEN]
    listened = sorted({port for port in ports.tolist() if port >= _FIRST_UNPRIVILEGED})
    reserved = [*(_span(first, last) for first, last in port_range.reserved)]
    reserved += [str(port) for port in listened if not _is_reserved(port, port_range)]
    widen = Command(f"sysctl -w net.ipv4.ip_local_port_range='{_WIDEST}'", effect="changes")
    if port_range.low <= _FIRST_UNPRIVILEGED and port_range.high >= _LAST:
        widest = Text(
            f"net.ipv4.ip_local_port_range is {port_range.low} {port_range.high}, and cannot be "
            "wider: add a source or a destination address.",
            f"net.ipv4.ip_local_port_range 已是 {port_range.low} {port_range.high}，无法再扩大：增"
            "加源地址或目的地址。",
        )
        return (Advice(widest),)
    text = Text(
        f"net.ipv4.ip_local_port_range is {port_range.low} {port_range.high}: widen it, or add a "
        "source or a destination address.",
        f"net.ipv4.ip_local_port_range 现在是 {port_range.low} {port_range.high}：扩大范围，或者"
        "增加"
        "源地址、目的地址。",
    )
    if not listened or len(reserved) > _RESERVED_SHOWN:
        return (Advice(text, widen, "stop"),)
    keep = f"sysctl -w net.ipv4.ip_local_reserved_ports={','.join(reserved)}"
    return (
        Advice(
            Text(
                "First keep the ports that this host listens on out of the wider range:",
                "先把本机的监听端口设为保留，避免扩大范围后被占用：",
            ),
            Command(keep, effect="changes"),
            "stop",
        ),
        Advice(text, widen, "stop"),
    )


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _is_reserved(port: int, port_range: PortRange) -> bool:
    return any(first <= port <= last for first, last in port_range.reserved)


def equals(words: Column, address: IPAddress) -> NDArray[np.bool_]:
    """Mask over the rows of a column of addresses: those that are this one."""
    wanted = np.frombuffer(address.packed, np.uint32)
    equal: NDArray[np.bool_] = (words[:, : wanted.size] == wanted).all(axis=1)
    return equal


def host(address: IPAddress) -> str:
    """Return an address as a command takes it before a port."""
    return f"[{address}]" if address.version == 6 else str(address)
