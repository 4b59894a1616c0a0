"""Network devices of a namespace."""

from sockmon.drill.netns import NetNs
from sockmon.drill.terms import Host
from sockmon.drill.waiting import eventually


def bring_up(netns: NetNs, device: str, host: Host) -> None:
    """Give the device the host's addresses, and return when packets to them are taken."""
    netns.ip(
        f"addr add {host.ipv4}/24 dev {device}",
        f"addr add {host.ipv6}/64 dev {device} nodad",
        f"link set {device} up",
    )

    # Even without duplicate address detection, a worker of the kernel adds the IPv6 address's
    # local route a moment later. Until then the address can be bound, but packets to it are lost.
    def route() -> str:
        return netns.run(["ip", "route", "get", host.ipv6], check=False).stdout

    eventually(route, until=lambda shown: shown.startswith("local"))
