"""A network of lines in virtual time: one line each way per client host, a `LinkModel` each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from pygase_gevent.protocol.address import Address
from pygase_gevent.testing.link import PERFECT_LINE, LinkModel, LinkOptions
from pygase_gevent.testing.timeline import Timeline, Trace
from pygase_gevent.testing.witness import Witnesses

Receive = Callable[[bytes, Address], None]


class Line:
    """A host's way to the rest of the world, and back.

    Attributes:
        up, down: the models of both directions.
    """

    def __init__(self, options: LinkOptions, rng: random.Random) -> None:
        self.up = LinkModel(options, rng=rng)
        self.down = LinkModel(options, rng=rng)

    def set_options(self, options: LinkOptions) -> None:
        """Both directions are so from now on; what is under way arrives as it was sent."""
        self.up.options = self.down.options = options

    def cut(self, *, up: bool = True, down: bool = True) -> None:
        """Cuts the named directions and opens the others."""
        self.up.is_cut, self.down.is_cut = up, down

    @property
    def is_cut(self) -> bool:
        """Whether a direction is."""
        return self.up.is_cut or self.down.is_cut


class SimulatedNetwork:
    """Carries datagrams between addresses.

    Clients have a host (and a line) each; a server's host has a perfect line of its own. A datagram
    to an address where nobody listens is gone, as on a network without ICMP.
    """

    def __init__(self, timeline: Timeline, trace: Trace, witnesses: Witnesses, rng: random.Random) -> None:
        self._timeline = timeline
        self._trace = trace
        self._witnesses = witnesses
        self._rng = rng
        self._endpoints: dict[Address, Receive] = {}
        self.lines: dict[str, Line] = {}

    def add_line(self, host: str, options: LinkOptions = PERFECT_LINE) -> Line:
        """Lays a line to a host."""
        line = self.lines[host] = Line(options, self._rng)
        return line

    def open(self, address: Address, receive: Receive) -> None:
        """Somebody listens at this address."""
        self._endpoints[address] = receive

    def close(self, address: Address) -> None:
        """Nobody listens there any more."""
        self._endpoints.pop(address, None)

    def send(self, data: bytes, source: Address, target: Address) -> None:
        """A host sends a datagram."""
        timeline = self._timeline
        now = timeline.now
        self._trace.add(now, "sent", f"{source[0]}:{source[1]}>{target[0]}:{target[1]}", data)
        self._witnesses.tell("datagram_sent", data, source, target)
        line = self.lines.get(source[0])
        model = None if line is None else line.up
        if model is None and target[0] in self.lines:
            model = self.lines[target[0]].down
        if model is None:
            timeline.at(now, self._arrive, data, source, target, now, True)
            return
        is_copy = False
        for when, arriving in model.deliveries(data, now):
            is_genuine = arriving is data and not is_copy
            timeline.at(when, self._arrive, arriving, source, target, now, is_genuine)
            is_copy = True

    def inject(self, data: bytes, source: Address, target: Address) -> None:
        """A datagram out of nowhere arrives now."""
        self._trace.add(self._timeline.now, "injected", f"{source[0]}:{source[1]}>{target[0]}", data)
        self._arrive(data, source, target, self._timeline.now, False)

    def counts(self) -> Counter[str]:
        """What became of the datagrams on all lines: see `LinkModel.counts`."""
        total: Counter[str] = Counter()
        for line in self.lines.values():
            total += line.up.counts + line.down.counts
        return total

    def _arrive(
        self, data: bytes, source: Address, target: Address, sent_at: float, is_genuine: bool
    ) -> None:
        receive = self._endpoints.get(target)
        if receive is None:
            return
        self._witnesses.tell("datagram_arrived", data, source, target, sent_at, is_genuine)
        receive(data, source)
