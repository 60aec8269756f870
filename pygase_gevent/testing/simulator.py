"""One simulated run: a world, its workload, its faults, and the checkers that hold promises against it."""

from __future__ import annotations

import random
import traceback
from collections import Counter
from dataclasses import dataclass, field
from math import ceil, log2

from pygase_gevent.codec import pack
from pygase_gevent.protocol.identity import NO_SESSION, Identity, encode_claims, encode_user_data
from pygase_gevent.protocol.netcode import generate_connect_token
from pygase_gevent.testing.attacker import Attacker
from pygase_gevent.testing.checker import Checker, Pairs
from pygase_gevent.testing.faults import Faults
from pygase_gevent.testing.ledger import Ledger, Violation
from pygase_gevent.testing.life_checkers import (
    EverybodyIsBack,
    HooksInOrder,
    NoSessionOutlives,
    SeatsAreCounted,
)
from pygase_gevent.testing.limit_checker import WithinLimits
from pygase_gevent.testing.message_checkers import (
    AckIffDelivered,
    AtMostOnce,
    OrderedInOrder,
    Recorder,
    ReliableExactlyOnce,
    RetriesBounded,
    SequencedNeverBack,
)
from pygase_gevent.testing.options import SimulationOptions
from pygase_gevent.testing.state_checkers import StateConverges, StateIsTheServers
from pygase_gevent.testing.virtual_client import VirtualClient
from pygase_gevent.testing.wire_checkers import AcksAreTrue, Amplification, Undisturbed, Untampered
from pygase_gevent.testing.workload import Workload, draw_state
from pygase_gevent.testing.world import SERVER_ADDRESS, World

LOOK_S = 1.0
"""How often checkers look around."""
CONVERGE_S = 2.0
CONVERGE_ROUND_TRIPS = 5
"""How soon after the network is well every client has the newest state."""
CONVERGE_ON_A_BAD_LINE_S = 0.5
"""... and so much later where a line loses or delays some packets even when it is well: what completes the
state may be among them, and comes again after a probe timeout."""
FIRST_WINDOW_BYTES = 12_000
"""What leaves of a large state in the first round trip; the window doubles with each."""
SETTLE_STEP_S = 0.25


@dataclass(slots=True)
class Result:
    """What came of a run.

    Attributes:
        replay: the one command that runs it again; "" where the options were not drawn from a seed.
        violation: which promise was broken and how; None if none was.
        digest: hash of everything that happened.
        virtual_s: seconds on the virtual clock.
        session_s: the same, times the sessions that stood.
        counts: faults, attacks and what the lines did, by kind.
        last_lines: the last of the trace, where there was a violation.
    """

    options: SimulationOptions
    replay: str = ""
    violation: str | None = None
    digest: str = ""
    virtual_s: float = 0.0
    session_s: float = 0.0
    datagrams: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    last_lines: list[str] = field(default_factory=list)


class Simulation:
    """A run from its options; `run` it once."""

    def __init__(self, options: SimulationOptions) -> None:
        self.options = options
        self.counts: Counter[str] = Counter()
        seed = options.seed
        self._rng = random.Random(f"{seed} simulation")
        self.world = World(
            seed, config=options.config, line=options.line, state=draw_state(options, self._rng)
        )
        self.ledger = Ledger()
        self.pairs = Pairs()
        self.checkers = self._make_checkers()
        self._converges = next(c for c in self.checkers if isinstance(c, StateConverges))
        world, counts = self.world, self.counts
        self.workload = Workload(world, options, self.ledger, random.Random(f"{seed} workload"), counts)
        self.attacker = Attacker(world, random.Random(f"{seed} attacker"), options.attacks_hz, counts)
        self.faults = Faults(
            world,
            options,
            random.Random(f"{seed} faults"),
            counts,
            self.pairs,
            lambda: draw_state(options, self._rng),
            self.add_client,
        )
        world.witnesses.add(self.pairs, *self.checkers, self.workload, self.attacker)
        self._session_s = 0.0
        self._begun_at = world.now

    def _make_checkers(self) -> list[Checker]:
        world, ledger, pairs = self.world, self.ledger, self.pairs
        return [
            Recorder(ledger, pairs),
            AtMostOnce(ledger, pairs),
            ReliableExactlyOnce(ledger, pairs),
            OrderedInOrder(ledger, pairs),
            SequencedNeverBack(ledger, pairs),
            RetriesBounded(ledger, pairs),
            AckIffDelivered(ledger, pairs),
            StateIsTheServers(pairs),
            StateConverges(world),
            HooksInOrder(),
            NoSessionOutlives(world),
            SeatsAreCounted(world),
            EverybodyIsBack(world),
            WithinLimits(world),
            Amplification(),
            Untampered(pairs),
            AcksAreTrue(),
            Undisturbed(world),
        ]

    def add_client(self) -> VirtualClient:
        """Somebody comes."""
        options, world = self.options, self.world
        return world.add_client(
            config=options.client_config or options.config,
            key=bytes(32) if options.has_tokens else None,
            token=self._issue_token() if options.has_tokens else None,
        )

    def _issue_token(self) -> bytes:
        world = self.world
        return generate_connect_token(
            private_key=world.key,
            protocol_id=world.protocol_id,
            client_id=self._rng.getrandbits(64),
            server_addresses=[SERVER_ADDRESS],
            user_data=encode_user_data(Identity(claims=encode_claims({"user": 1}, world.config))),
            unix_time=world.unix_time,
            expire_seconds=-1,
            timeout_seconds=5,
            entropy=world.entropy,
        ).to_bytes()

    # --- the run --------------------------------------------------------------------------------

    def run(self) -> Result:
        """Runs; never raises for what the protocol does."""
        result = Result(self.options, counts=self.counts)
        try:
            self._run()
        except Violation as violation:
            result.violation = str(violation)
        except Exception as error:  # whatever leaves the protocol is a broken promise: it never raises
            place = traceback.format_exc(limit=-4)
            result.violation = f"{type(error).__name__} raised out of the protocol: {error}\n{place}"
        if result.violation is not None:
            result.last_lines = self.world.trace.last_lines()
        result.digest = self.world.trace.digest
        result.datagrams = self.world.trace.entries
        result.virtual_s = self.world.now - self._begun_at
        result.session_s = self._session_s
        self.counts.update({f"line_{kind}": n for kind, n in self.world.network.counts().items()})
        return result

    def _run(self) -> None:
        world = self.world
        world.server.start()
        for _ in range(self.options.clients):
            self.add_client()
        self._look()
        self.workload.start()
        self.faults.start()
        self.attacker.start()
        world.run(self.options.duration_s)
        self.workload.stop()
        self.attacker.stop()
        self.faults.heal()
        had_session = [client for client in world.clients if client.core.session_id != NO_SESSION]
        world.run(self._time_to_converge())
        self._converges.judge(had_session)
        until = world.now + self.options.settle_s
        while world.now < until and not all(checker.is_settled() for checker in self.checkers):
            world.run(SETTLE_STEP_S)
        for checker in self.checkers:
            checker.look()
            checker.finish()

    def _look(self) -> None:
        world = self.world
        world.timeline.after(LOOK_S, self._look)
        self._session_s += LOOK_S * sum(client.is_connected for client in world.clients if not client.is_dead)
        for checker in self.checkers:
            checker.look()

    def _time_to_converge(self) -> float:
        size = len(pack(self.world.server.store.get_game_state().to_dict()))
        round_trips = CONVERGE_ROUND_TRIPS + ceil(log2(1 + size / FIRST_WINDOW_BYTES))
        line = self.options.line
        is_bad = any((line.loss, line.corrupt, line.truncate, line.burst_start, line.reorder))
        bad_line_s = CONVERGE_ON_A_BAD_LINE_S if is_bad else 0.0
        return CONVERGE_S + bad_line_s + round_trips * 2 * line.delay_s
