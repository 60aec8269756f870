"""A session against a peer that is authenticated and lies, as a state machine that Hypothesis can shorten.

After each step the session is within its limits, has not raised, and its timer comes to rest; in the end
it can still say goodbye, and another client of the same server is served.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pygase_gevent.gamestate import GameState, GameStateStore, GameStateUpdate
from pygase_gevent.protocol.statesync import StateEncoder
from tests.fuzz.parts_targets import CONFIG, check_limits
from tests.fuzz.session_target import End, act, carry, check_goodbye, check_other_client, malicious_payload
from tests.fuzz.source import Source

DECISIONS = st.binary(min_size=1, max_size=60)


class LyingPeer(RuleBasedStateMachine):
    """The victim is a session of either side; `honest` is where the liar has its first payloads from."""

    @initialize(is_server=st.booleans())
    def begin(self, is_server: bool) -> None:
        self.now = 1.0
        self.sequence = 0
        self.store = GameStateStore(GameState(a=1))
        self.encoder = StateEncoder(self.store, config=CONFIG, server_clock_us=lambda now: int(now * 1e6))
        self.victim = End(is_server)
        self.honest = End(not is_server)
        self.victim.attach(self.now)
        self.honest.attach(self.now)

    @rule(decisions=DECISIONS, step=st.integers(0, 300))
    def lie(self, decisions: bytes, step: int) -> None:
        self.sequence += step
        payload = malicious_payload(Source(decisions), self.victim, self.honest)
        self.victim.session.receive_payload(self.sequence, payload, self.now)

    @rule(payload=st.binary(max_size=1200), back=st.integers(0, 100))
    def babble(self, payload: bytes, back: int) -> None:
        self.victim.session.receive_payload(max(0, self.sequence - back), payload, self.now)

    @rule()
    def be_honest(self) -> None:
        carry(self.victim, self.honest, self.now)

    @rule(decisions=DECISIONS)
    def act(self, decisions: bytes) -> None:
        act(Source(decisions), self.victim, self.encoder, self.now)

    @rule(size=st.integers(0, 20_000))
    def push_state(self, size: int) -> None:
        self.store.push_update(GameStateUpdate(0, a=size, b=bytes(size)))
        if self.victim.is_server:
            self.victim.session.queue_state(self.encoder, self.now)

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.victim.turn(self.now)

    @rule()
    def drain(self) -> None:
        self.victim.drain()

    @rule(is_back=st.booleans())
    def lose_connection(self, is_back: bool) -> None:
        self.victim.session.detach(self.now)
        if is_back:
            self.victim.attach(self.now)
            self.sequence = 0

    @invariant()
    def is_within_limits(self) -> None:
        check_limits(self.victim.session)

    def teardown(self) -> None:
        check_goodbye(self.victim, self.now)
        check_other_client(self.store, self.encoder, self.now)


LyingPeer.TestCase.settings = settings(
    max_examples=35,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestLyingPeer = LyingPeer.TestCase
