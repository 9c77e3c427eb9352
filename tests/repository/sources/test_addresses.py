"""Which addresses a download may go to."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import ConfigError, UrlNotAllowed
from dragoman.repository.sources import Rules, parse_rules
from dragoman.repository.sources.addresses import is_public, meant

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1",
          "169.253.0.1", "192.167.0.1", "223.255.255.1", "2606:4700::1111", "2a00:1450:4001::1",
          "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]  # fmt: skip
CLOSED = ["0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1",
          "127.255.255.254", "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255",
          "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
          "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
          "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
          "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8",
          "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1",
          "fc00::1", "fd00:ec2::254", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_open(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", CLOSED)
def test_all_others_are_closed(address: str) -> None:
    assert not is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_the_same_in_every_disguise(address: IPv4Address) -> None:
    mapped = IPv6Address(0xFFFF_0000_0000 | int(address))
    translated = IPv6Address(int(IPv6Address("64:ff9b::")) | int(address))
    assert meant(mapped) == meant(translated) == address
    assert is_public(mapped) == is_public(translated) == is_public(address)


@given(st.ip_addresses())
def test_nothing_is_public_that_python_knows_to_be_special(address: IPv4Address | IPv6Address) -> None:
    if is_public(address) and meant(address) == address:
        assert address.is_global
        special = (address.is_multicast, address.is_private, address.is_loopback, address.is_reserved)
        assert not any(special)


def test_an_operator_opens_networks_and_nothing_else() -> None:
    rules = parse_rules("", ["10.1.0.0/16", "fd00:1::/32"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::5", "8.8.8.8"):
        assert rules.allows(ip_address(address))
    for address in ("10.2.0.1", "127.0.0.1", "::1", "fd00:2::5", "::ffff:10.2.0.1"):
        assert not rules.allows(ip_address(address))


def test_a_pattern_must_match_the_whole_url() -> None:
    rules = parse_rules(r"https://s3\.amazonaws\.com/.*, file:///models/[^/]*")
    rules.check_url("https://s3.amazonaws.com/a/x.mar", "")
    rules.check_url("file:///models/x.mar", "")
    for url in (
        "https://s3.amazonaws.com.evil.example/x.mar",
        "xhttps://s3.amazonaws.com/x.mar",
        "HTTPS://S3.amazonaws.com/x.mar",
        "file:///models/a/x.mar",
        "http://s3.amazonaws.com/x.mar",
        "https://s3.amazonaws.com/x\n.mar",
    ):
        with pytest.raises(UrlNotAllowed) as refused:
            rules.check_url(url, "asked")
        assert refused.value.location == "asked"


def test_without_a_word_of_the_operator_nothing_is_allowed() -> None:
    with pytest.raises(UrlNotAllowed):
        Rules().check_url("https://example.com/x.mar", "")
    with pytest.raises(UrlNotAllowed):
        parse_rules(" , ").check_url("https://example.com/x.mar", "")


@pytest.mark.parametrize(("urls", "networks"), [("(", []), (".*", ["10.0.0.1/8"]), (".*", ["localhost"])])
def test_what_is_no_rule_is_told_to_the_operator(urls: str, networks: list[str]) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        parse_rules(urls, networks)
