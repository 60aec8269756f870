"""Helpers for programs that use the library."""

from __future__ import annotations

import ipaddress

import ifaddr


def get_available_ip_addresses() -> list[str]:
    """Return the IPv4 addresses of this machine that a server in a LAN can use: private ones and loopback."""
    addresses = [
        ipaddress.IPv4Address(ip.ip)
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if isinstance(ip.ip, str)  # IPv6 ones are tuples
    ]
    return [str(address) for address in addresses if address.is_private or address.is_loopback]
