"""pytest fixtures for tests of games; installed with the library, see docs/testing.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from pygase_gevent.protocol.address import Address
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.virtual.network import VirtualNetwork
from pygase_gevent.testing.virtual.wires import VirtualLink


class LossyLink(Protocol):
    """What the fixture `lossy_link` is."""

    def __call__(
        self,
        target: Address | int,
        *,
        loss: float = 0.2,
        delay_s: float = 0.05,
        jitter_s: float = 0.02,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        corrupt: float = 0.0,
    ) -> VirtualLink: ...


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "virtual_network(seed=0, real_limit_s=...): keywords of the fixture's VirtualNetwork"
    )


@pytest.fixture
def virtual_network(request: pytest.FixtureRequest) -> Iterator[VirtualNetwork]:
    """A `VirtualNetwork` in which the whole test runs; a marker of the same name holds its keywords."""
    marker = request.node.get_closest_marker("virtual_network")
    with VirtualNetwork(**(marker.kwargs if marker is not None else {})) as network:
        yield network


@pytest.fixture
def lossy_link(virtual_network: VirtualNetwork) -> LossyLink:
    """Lays a bad line to a server: `lossy_link(server.port, loss=0.2).port` is where clients connect."""

    def lay(
        target: Address | int,
        *,
        loss: float = 0.2,
        delay_s: float = 0.05,
        jitter_s: float = 0.02,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        corrupt: float = 0.0,
    ) -> VirtualLink:
        line = LinkOptions(
            loss=loss,
            delay_s=delay_s,
            jitter_s=jitter_s,
            duplicate=duplicate,
            reorder=reorder,
            corrupt=corrupt,
        )
        return virtual_network.link(target, up=line)

    return lay
