"""What there is to be seen in a simulated world, as hooks: checkers, workloads, recorders are witnesses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pygase_gevent.gamestate import GameState
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.client_events import ClientEvent
from pygase_gevent.protocol.server_peer import CoreEvent, ServerPeer
from pygase_gevent.protocol.session import ReceivedMessage, SessionEvent

if TYPE_CHECKING:
    from pygase_gevent.testing.tap import TappedSession
    from pygase_gevent.testing.virtual_client import VirtualClient
    from pygase_gevent.testing.virtual_server import VirtualServer


class Witness:
    """Sees what happens in a `World`; each hook does nothing until overridden."""

    def datagram_sent(self, data: bytes, source: Address, target: Address) -> None:
        """A host sent a datagram; it has not met the line yet."""

    def datagram_arrived(
        self, data: bytes, source: Address, target: Address, sent_at: float, is_genuine: bool
    ) -> None:
        """A datagram is about to be taken. Genuine: unchanged, and not the copy of one."""

    def payload_sent(self, session: TappedSession, sequence: int, payload: bytes) -> None:
        """A session sent a payload in the netcode packet `sequence`."""

    def payload_received(
        self, session: TappedSession, sequence: int, payload: bytes, is_recorded: bool
    ) -> None:
        """A session took a payload. Recorded: there is no reason not to acknowledge it."""

    def session_attached(self, session: TappedSession) -> None:
        """A fresh connection stands below a session."""

    def server_event(self, server: VirtualServer, event: CoreEvent) -> None:
        """Something happened to a session on the server."""

    def client_event(self, client: VirtualClient, event: ClientEvent) -> None:
        """Something happened to a client (what its session says is apart)."""

    def message_received(self, session: TappedSession, message: ReceivedMessage) -> None:
        """The application takes a message out of a session."""

    def session_event(self, session: TappedSession, event: SessionEvent) -> None:
        """A session says what became of a message, or on a client that there is a newer state."""

    def state_pushed(self, server: VirtualServer, state: GameState) -> None:
        """The server has a newer state."""

    def host_moved(self, client: VirtualClient, old: Address | None, new: Address) -> None:
        """A client sends from another address from now on: a new socket, or a NAT's whim."""

    def peer_dropped_dead(self, server: VirtualServer, peer: ServerPeer) -> None:
        """A server process ended without a word, and this session with it."""


_HOOKS = tuple(name for name in vars(Witness) if not name.startswith("_"))


class Witnesses:
    """Calls each hook of those witnesses that have something to do in it."""

    def __init__(self) -> None:
        self._all: list[Witness] = []
        self._hooks: dict[str, tuple[Callable[..., None], ...]] = dict.fromkeys(_HOOKS, ())

    def add(self, *witnesses: Witness) -> None:
        """Lets more witnesses see what happens from now on."""
        self._all.extend(witnesses)
        self._hooks = {name: tuple(_overridden(self._all, name)) for name in _HOOKS}

    def __iter__(self) -> Any:
        return iter(self._all)

    def tell(self, hook: str, *arguments: Any) -> None:
        """Calls the hook of this name."""
        for see in self._hooks[hook]:
            see(*arguments)


def _overridden(witnesses: Iterable[Witness], name: str) -> Iterable[Callable[..., None]]:
    for witness in witnesses:
        if getattr(type(witness), name) is not getattr(Witness, name):
            yield getattr(witness, name)
