"""Checkers of what the public contract promises about the state."""

from __future__ import annotations

from typing import Any

from pygase_gevent.gamestate import GameState
from pygase_gevent.protocol.server_peer import CoreEvent, PeerLeft
from pygase_gevent.protocol.session import SessionEvent, StateReceived
from pygase_gevent.testing.checker import Checker, Pairs
from pygase_gevent.testing.tap import TappedSession
from pygase_gevent.testing.virtual_client import VirtualClient
from pygase_gevent.testing.virtual_server import VirtualServer
from pygase_gevent.testing.world import World


class StateIsTheServers(Checker):
    """A client's state always equals the one that the server had at that `time_order`; it never goes back."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._states: dict[VirtualServer, dict[int, dict[str, Any]]] = {}
        self._newest: dict[TappedSession, int] = {}

    def state_pushed(self, server: VirtualServer, state: GameState) -> None:
        self._states.setdefault(server, {})[state.time_order] = state.to_dict()

    def session_event(self, session: TappedSession, event: SessionEvent) -> None:
        if not isinstance(event, StateReceived):
            return
        state = event.state
        server = self._pairs.home(session)
        if server is None:
            self.fail(f"a state over a session that no server has: {state.time_order}")
        newest = self._newest.get(session, -1)
        if state.time_order <= newest:
            self.fail(f"{session.owner.name} went back from {newest} to {state.time_order}")
        self._newest[session] = state.time_order
        states = self._states.get(server, {})
        content = states.get(state.time_order)
        if content is None:
            self.fail(f"{session.owner.name} has a state that never was: {state.time_order}")
        if content != state.to_dict():
            self.fail(f"{session.owner.name} has a state unlike the server's: {state.time_order}")


class StateConverges(Checker):
    """The client's state equals the newest within 2 s and 5 round trips after the network is well.

    Half a second later where the line loses packets even then.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._states: dict[TappedSession, GameState] = {}
        self._ended: set[bytes] = set()

    def session_event(self, session: TappedSession, event: SessionEvent) -> None:
        if isinstance(event, StateReceived):
            self._states[session] = event.state

    def server_event(self, server: VirtualServer, event: CoreEvent) -> None:
        if isinstance(event, PeerLeft):
            self._ended.add(event.peer.session_id)

    def is_settled(self) -> bool:
        return not any(self._behind(client) for client in self._world.clients)

    def finish(self) -> None:
        behind = [behind for client in self._world.clients if (behind := self._behind(client))]
        if behind:
            self.fail(f"still behind: {', '.join(behind)}")

    def judge(self, clients: list[VirtualClient]) -> None:
        """The time after the healing is over for these clients, which had a session when it began."""
        # Somebody who was kicked while he could not hear it has no state to come, but does not know.
        standing = [client for client in clients if client.core.session_id not in self._ended]
        late = [behind for client in standing if (behind := self._behind(client))]
        if late:
            self.fail(f"behind the time allowed after the network healed: {', '.join(late)}")

    def _behind(self, client: VirtualClient) -> str:
        """How far a client is behind; empty if it is not, or is over."""
        newest = self._world.server.store.get_game_state()
        state = self._states.get(client.session)
        if client.is_over or (state is not None and state.to_dict() == newest.to_dict()):
            return ""
        has = "nothing" if state is None else state.time_order
        return f"{client.name} ({client.core.phase.name}) has {has} of {newest.time_order}"
