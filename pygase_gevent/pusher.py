"""The state's way out: one sweep over all connections for each published state.

A published state goes out at once, to each client at most `Config.state_rate_hz` times a second;
faster publishing is thinned by a timer. The encoder makes each delta once, however many clients it
goes to. While the content stays the same, and all have it, publishing costs nothing: that the
`time_order` grows goes along with the sessions' keep-alives.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from pygase_gevent.clients import Client
from pygase_gevent.config import Config
from pygase_gevent.gamestate import GameStateStore
from pygase_gevent.hub.environment import Environment, Timer
from pygase_gevent.protocol.stateencoder import StateEncoder


class StatePusher:
    """Hands the newest state to every client that is due for one.

    Args:
        environment: clock and timers.
        config: the rate.
        store: publishes the states.
        encoder: encodes them.
        wake: asks the hub for a turn; any thread.
    """

    def __init__(
        self,
        environment: Environment,
        config: Config,
        store: GameStateStore,
        encoder: StateEncoder,
        wake: Callable[[], None],
    ) -> None:
        self._interval_s = 1.0 / config.state_rate_hz
        self._environment = environment
        self._store = store
        self._encoder = encoder
        self._wake = wake
        self._is_published = False
        self._content_version = -1  # of the last sweep
        self._have_all = False  # whether every client had that content
        self._next_at = inf  # when the earliest is due that was not
        self._timer: Timer = environment.timer(self._came_due)
        store.subscribe(self._published)

    def close(self) -> None:
        """No more states."""
        self._store.unsubscribe(self._published)
        self._timer.close()

    def begin_sweep(self) -> bool:
        """Whether a state was published since the last sweep: then each client is to be shown to `sweep`."""
        if not self._is_published:
            return False
        self._is_published = False
        self._content_version = self._store.snapshot[1]
        self._have_all = True
        self._next_at = inf
        return True

    def sweep(self, client: Client, now: float) -> bool:
        """Queue the newest state for this client if it is due; whether it is, and wants to be flushed.

        One client at a time is swept and flushed: of a thousand, each would have left the processor's cache
        by the time that the others were swept.
        """
        version = self._content_version
        if client.content_version == version or client.peer.attachment is None:
            return False
        if now >= client.next_state_at:
            self._push(client, version, now)
            return True
        self._have_all = False
        if client.next_state_at < self._next_at:
            self._next_at = client.next_state_at
        return False

    def end_sweep(self, now: float, *, is_whole: bool) -> None:
        """All have been shown, or as many as could be."""
        self._have_all = self._have_all and is_whole
        if self._next_at < inf:
            self._timer.start(max(0.0, self._next_at - now))

    def push(self, client: Client, now: float) -> None:
        """Queue the newest state for one client now."""
        self._push(client, self._store.snapshot[1], now)

    def _push(self, client: Client, version: int, now: float) -> None:
        session = client.peer.session
        interval_s = self._interval_s * (2.0 if session.is_bad else 1.0)
        # A publisher that jitters about the rate itself is not thinned: the next turn counts from
        # when this one was due, up to one interval back.
        client.next_state_at = max(client.next_state_at, now - interval_s) + interval_s
        session.queue_state(self._encoder, now)
        if session.state_sender.has_newest_content:
            client.content_version = version
        else:
            client.content_version = -1
            self._have_all = False

    def _published(self) -> None:
        """Called by the store in the publishing thread."""
        if self._have_all and self._store.snapshot[1] == self._content_version:
            return
        if not self._is_published:
            self._is_published = True
            self._wake()

    def _came_due(self) -> None:
        self._is_published = True
        self._wake()
