"""The addresses that a LAN server can be reached at."""

import ipaddress

from pygase_gevent.utils import get_available_ip_addresses


def test_loopback_is_among_the_addresses_and_all_are_local():
    addresses = get_available_ip_addresses()
    assert "127.0.0.1" in addresses
    for address in addresses:
        parsed = ipaddress.IPv4Address(address)
        assert parsed.is_private or parsed.is_loopback
