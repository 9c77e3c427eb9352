"""Which network addresses anybody may be sent to. Pure: addresses in, yes or no out.

What is not known to be public is not: ranges that point into this machine, its network, its cloud, or nowhere.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


#: IANA's special-purpose registry for IPv4, and what is no unicast; RFC numbers where the range has one.
_IPV4: Final = _networks(
    "0.0.0.0/8",  # this network (1122): Linux takes 0.0.0.0 for itself
    "10.0.0.0/8",  # private (1918)
    "100.64.0.0/10",  # behind a carrier's translation (6598); Alibaba's metadata 100.100.100.200
    "127.0.0.0/8",  # loopback (1122)
    "168.63.129.16/32",  # Azure's own services for a machine, at a public address
    "169.254.0.0/16",  # link-local (3927); the metadata 169.254.169.254 of most clouds
    "172.16.0.0/12",  # private (1918)
    "192.0.0.0/24",  # protocol assignments (6890); Oracle's metadata 192.0.0.192
    "192.0.2.0/24",  # documentation (5737)
    "192.88.99.0/24",  # relays of 6to4 (7526)
    "192.168.0.0/16",  # private (1918)
    "198.18.0.0/15",  # measurements (2544)
    "198.51.100.0/24",  # documentation (5737)
    "203.0.113.0/24",  # documentation (5737)
    "224.0.0.0/4",  # multicast (5771)
    "240.0.0.0/4",  # reserved (1112), and the broadcast address
)
#: The only IPv6 addresses given out (IANA's global unicast registry) …
_IPV6: Final = IPv6Network("2000::/3")
#: … without those that are no places: loopback, private fc00::/7, fe80::/10 and multicast lie outside anyway.
_IPV6_SPECIAL: Final = _networks(
    "2001::/23",  # protocol assignments (2928): Teredo, ORCHID, benchmarks
    "2001:db8::/32",  # documentation (3849)
    "2002::/16",  # 6to4 (3056), which names an IPv4 address
    "3fff::/20",  # documentation (9637)
)
#: NAT64's well-known prefix (6052): the last four bytes are the IPv4 address that is meant.
_NAT64: Final = IPv6Network("64:ff9b::/96")


def meant(address: Address) -> Address:
    """The address that packets end up at: IPv4, where IPv6 only carries it (``::ffff:127.0.0.1``, NAT64)."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether the address is a host of the public internet, as far as its number tells."""
    address = meant(address)
    if isinstance(address, IPv4Address):
        return not _within(address, _IPV4)
    return address in _IPV6 and not _within(address, _IPV6_SPECIAL)


def is_allowed(address: Address, networks: Iterable[Network]) -> bool:
    """Whether it is public, or in one of the networks that the operator has opened."""
    return is_public(address) or _within(meant(address), networks)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)
