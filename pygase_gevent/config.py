"""Every limit of the library: its name, its unit, and the reason for the number.

One frozen `Config` is given to a `Server` or `Client`; nothing else in the library holds a number
that bounds a queue, a cache, a window or a retry. Units stand last in the names: `_s` seconds,
`_bytes`, `_hz` per second; a bare name is a count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pygase_gevent.errors import ArgumentError


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Config:
    """Limits and rates; the defaults suit a game server with up to a thousand players.

    Raises:
        ArgumentError: a value is not positive, or two values contradict each other.
    """

    # --- the life of a session ------------------------------------------------------------------
    timeout_s: float = 5.0
    """Silence after which the server calls a client dropped. Longer than any usual stall of a
    mobile network, short enough that a dead player leaves the field soon."""
    resume_after_s: float = 2.0
    """Silence after which a client starts to resume: eight missed keep-alives."""
    resume_window_s: float = 30.0
    """How long a dropped session's seat is kept: a phone changing cells, a router rebooting."""
    connect_window_s: float = 30.0
    """How long a client tries to reach a server for the first time (clients may start first)."""
    handshake_attempt_s: float = 5.0
    """One attempt of the handshake, after which the next address or ticket is tried."""
    resume_attempt_s: float = 1.0
    """The same while a session is resumed: a stage of the handshake that stands still for so long, or for
    two round trips where they are longer, stands on a ticket bound to an address that is gone, or on a
    challenge of a server that is."""
    resume_tickets: int = 3
    """Tickets the server sends over each fresh connection, 1.1 KiB each. One is used up by each
    handshake that gets through; the others serve when the line dies again before new ones came."""
    ticket_renewal_s: float = 60.0
    """Tickets are renewed this often: 3.4 KiB a minute."""
    ticket_lifetime_s: float = 180.0
    """A ticket older than this is nothing to a server process that did not issue it; so long may who was
    kicked come back to a server that was started anew. Renewal, timeout and resume window fit into it."""
    close_linger_s: float = 0.15
    """How long a closing side repeats its reason: three sends, so a burst of losses is outlived."""

    # --- netcode --------------------------------------------------------------------------------
    max_clients: int = 1024
    """Seats, dropped sessions included. About what one core serves."""
    max_half_open: int = 1024
    """Handshakes under way at once; the oldest goes first."""
    half_open_timeout_s: float = 5.0
    """A handshake not finished by then is forgotten."""
    challenge_lifetime_s: float = 5.0
    """A challenge older than this is not accepted; used tokens are remembered twice as long."""
    challenge_renewal_s: float = 1.0
    """A client whose response has had no answer for so long asks for another challenge beside it: the one
    it has may have come too late, or from a run of the server that is over."""
    used_tokens_per_client: int = 8
    """Used tokens remembered, times `max_clients`; when full of fresh ones, newcomers wait."""
    handshakes_per_source_per_s: float = 256.0
    """Connection requests looked at per source IP: a full LAN party behind one router reconnecting
    at 10 Hz each, and still under 2 % of a core's decryptions."""
    handshakes_per_s: float = 2048.0
    """Connection requests looked at in all: about a tenth of one core."""
    max_tracked_sources: int = 4096
    """Source IPs whose handshake rate is followed; beyond, all others share one allowance."""
    handshake_rate_hz: float = 10.0
    """Requests and responses per second from a connecting client (STANDARD.md's figure)."""
    netcode_keepalive_hz: float = 10.0
    """Keep-alives on a netcode connection with nothing else to send (STANDARD.md's figure); it is
    what a plain netcode peer gets."""
    replay_window: int = 256
    """Packets of reordering that netcode's replay window lets through (STANDARD.md's figure)."""
    disconnect_packets: int = 10
    """Copies of a disconnect packet sent at once, since none is ever acknowledged."""
    challenges_per_handshake: int = 64
    """Challenges of one handshake that may be answered: what 10 Hz makes in a challenge's life."""
    min_used_tokens: int = 2048
    """Used tokens remembered at least, so that a server of few seats does not lock newcomers out
    while players come and go."""
    netcode_timer_step_s: float = 0.05
    """How often a netcode server looks for keep-alives due and for silent clients."""

    # --- packets --------------------------------------------------------------------------------
    max_packets_per_s: float = 6000.0
    """Datagrams accepted per second from one client: a saturated event stream is about 4,000, and this many
    of the costliest take a good part of a core."""
    max_bytes_per_s: float = 32 * 1024 * 1024
    """Bytes accepted per second from one client: a 1 MiB event in 60 ms is half of it."""
    max_events_per_packet: int = 512
    """Frames in a payload: 1200 bytes hold no more that carry anything."""

    # --- acknowledgement and loss (RFC 9002) ----------------------------------------------------
    ack_delay_s: float = 0.020
    """An acknowledgement leaves after this long, alone if need be; one frame of a 50 Hz game."""
    max_ack_delay_s: float = 0.05
    """... or with the next packet of a sender that keeps to a rate, if that is due within this: games of 25
    to 50 Hz send no acknowledgements apart, also where a packet comes late."""
    ack_every_packets: int = 16
    """... or after this many packets that ask for one; a quarter of the 64-bit mask."""
    initial_rtt_s: float = 0.333
    """Round trip assumed before the first sample (RFC 9002, 6.2.2)."""
    max_probe_timeout_s: float = 1.0
    """A probe timeout never backs off beyond this: a resend is never later than 1 s."""
    packet_reorder_threshold: int = 3
    """Packets after which an earlier one counts as lost (RFC 9002, 6.1.1)."""
    max_reorder_threshold: int = 32
    """How far the threshold adapts to a path that reorders; half the mask."""
    min_window_packets: int = 10
    """The congestion window is never smaller: games share a bottleneck with nobody's patience."""
    max_window_bytes: int = 16 * 1024 * 1024
    """The congestion window is never larger than one full state."""
    max_packets_in_flight: int = 8192
    """Sent packets remembered; beyond, the oldest counts as lost."""
    send_interval_s: float = 1 / 60
    """The unit of guaranteed sending: one packet of events passes per interval whatever the
    congestion window says."""
    unpaced_packets: int = 16
    """Packets of events that leave at once in an interval before they are treated as bulk."""
    redundancy_share: float = 0.2
    """Share of sent bytes that unacknowledged small reliable messages may ride along in."""
    redundancy_floor_bytes_per_s: float = 3500.0
    """... but never less than this, so that on a bad line also a few small events per second arrive within a
    send interval of their time; a third of what one player's state takes."""
    max_riding_candidates: int = 256
    """Messages looked at for that, in each of two queues: what a lossy round trip leaves behind."""
    max_burst_packets: int = 256
    """Packets that a session sends in one go before others get their turn."""
    max_misfits: int = 4
    """Lines whose next message does not fit into what is left of a packet before it counts as full."""
    keepalive_s: float = 0.25
    """A session with nothing else to say says this often which state is the newest."""
    clock_interval_s: float = 1.0
    """Clock samples per connection: enough to follow the drift of a quartz."""
    max_clock_requests: int = 8
    """Clock requests that may still be answered: all quick ones of a connection's start, and some."""
    max_clock_answers: int = 4
    """Clock requests that wait for the next packet; the oldest gives way."""

    # --- messages -------------------------------------------------------------------------------
    max_event_bytes: int = 1024 * 1024
    """Largest event."""
    max_state_bytes: int = 16 * 1024 * 1024
    """Largest full state."""
    max_queued_events: int = 8192
    """Events waiting to be sent or acknowledged, per session; beyond, dispatching raises."""
    max_queued_bytes: int = 16 * 1024 * 1024
    """Bytes of them, per session."""
    max_received_events: int = 4096
    """Events received and not yet handled, per session; beyond, packets go unacknowledged."""
    max_received_bytes: int = 8 * 1024 * 1024
    """Bytes of them, and as many of calls and results: eight of the largest."""
    reliable_window: int = 4096
    """Reliable messages in flight: 100,000 a second at 40 ms of round trip. Both sides bound their
    memory of ids by it."""
    max_streams: int = 1024
    """Ordered or sequenced event types per session and direction."""
    max_reorder_bytes: int = 4 * 1024 * 1024
    """Ordered messages that wait for an earlier one, per session."""
    max_retries: int = 1000
    """Highest `retries`; above it the caller wants `Delivery.RELIABLE`."""
    unreliable_lifetime_s: float = 1.0
    """An unreliable event that could not leave within this is dropped."""
    max_calls: int = 64
    """Calls under way at once per peer and direction."""

    max_error_text: int = 2000
    """Characters of a handler's error that travel to the caller: a sentence, not a dump."""

    # --- transfers: what is larger than a packet ------------------------------------------------
    max_transfers: int = 8
    """Reassemblies at once per session."""
    transfer_timeout_s: float = 15.0
    """A reassembly without a new fragment for this long is dropped."""
    transfer_grace_s: float = 1.0
    """A state transfer that has arrived but is not acknowledged as applied after this long is given up."""

    # --- state ----------------------------------------------------------------------------------
    state_rate_hz: float = 60.0
    """State updates per second and client at the most; a 'bad' connection gets half."""
    update_cache_size: int = 256
    """Updates a store remembers: 5 s at 50 Hz. A client further behind gets the full state."""
    max_state_packets: int = 8
    """A delta that fits into this many packets is sent unreliably, at once and anew each tick; a
    larger one as a transfer."""
    max_state_assemblies: int = 4
    """Updates in several parts that a client puts together at once: on a path that reorders, the parts of
    one arrive among those of the next two."""
    max_client_states: int = 64
    """States a client keeps as possible bases: one second at the full rate."""
    reordered_bases: int = 4
    """States that a client keeps although the server has heard of a newer one: a path that reorders brings
    updates on them after that."""
    state_distrust_s: float = 5.0
    """After an update was lost the next ones hold all since an acknowledged state for this long: a loss
    costs no more than its own tick then. On a path that loses one in a hundred that is always."""
    state_patience_s: float = 1.0
    """... and also when no state was acknowledged for so long, though newer ones were sent."""
    max_learned_names: int = 128
    """Names that become small numbers on the wire: keys of the state for all clients together, and types of
    events per session and direction. 128 is the most that it may be set to; all of one byte are 32."""
    learned_after: int = 8
    """So often a name is sent in full before it is learned: one that does not recur is not worth it."""
    max_name_candidates: int = 1024
    """Names that are counted for that; when there are more, counting starts anew."""
    learning_interval_s: float = 1.0
    """Keys of the state are taken in at most this often, so that all clients know the same ones mostly."""
    recent_states: int = 64
    """States a client offers for interpolation."""

    # --- data -----------------------------------------------------------------------------------
    max_depth: int = 32
    """Nesting of state and event data: deeper is a mistake or an attack."""
    max_items: int = 1_000_000
    """Items in a state, so that a small datagram cannot become a large object."""
    max_event_items: int = 10_000
    """Items in the lists and dicts of one event or result (`bytes` or `str` of any length are one): they are
    decoded in one go, and so many take 5 ms. Send a large table as `bytes`, or raise it on both sides."""
    max_event_type_bytes: int = 255
    """An event type's name in UTF-8: names are kept and logged. 255 is the most that it may be set to."""

    # --- the shell ------------------------------------------------------------------------------
    receive_batch: int = 64
    """Datagrams taken from the kernel before other greenlets get their turn."""
    receive_batch_s: float = 0.002
    """... or processed for this long, whichever is first."""
    send_slice: int = 32
    """Clients that are sent to before the kernel's buffer of arrivals is looked at: a state for a thousand of
    them takes 10 ms and more, in which hundreds of datagrams come."""
    max_arrived: int = 2048
    """Datagrams taken out of the kernel's buffer beforehand; the rest waits there."""
    catch_up_s: float = 0.02
    """Datagrams that wait are processed for this long before a timer is believed, while others get their
    turn; after a stall for as long as the stall was."""
    socket_buffer_bytes: int = 4 * 1024 * 1024
    """Asked of the kernel for each direction (it may grant less)."""
    dense_datagrams_per_s: float = 4000.0
    """Arrivals above which the receiver looks every `dense_interval_s` instead of at each wake-up:
    a datagram that wakes the hub alone costs five times one that is taken in a batch."""
    dense_interval_s: float = 0.001
    """... which adds this much latency at the most."""
    dense_window_s: float = 0.1
    """Arrivals are counted over this long before the receiver changes its ways."""
    handler_log_s: float = 1.0
    """What the handler of one event type raises is logged once in this time; the rest is counted."""
    slow_client_s: float = 10.0
    """A client whose queue has had no room for a reliable event for this long is closed: whoever
    broadcasts would fail with it."""
    handler_grace_s: float = 0.5
    """How long handlers at work may go on when their server or client ends; a Ctrl-C must be
    through within a second."""
    max_datagram_bytes: int = 2048
    """Read of a datagram; netcode's largest is 1300, what is longer is cut and fails its check."""
    send_patience_s: float = 0.005
    """How long sending waits for a full kernel buffer to drain before it drops, as a router would."""
    max_bridge_calls: int = 65_536
    """Calls from other threads waiting for the hub; beyond, the caller gets an error."""
    max_wire_events: int = 8192
    """Events waiting for the game loop; beyond, the connections they come from wait."""
    max_wire_events_per_client: int = 128
    """Of these, the events of one client: 6,400 a second at 50 Hz, and about 2 ms of a step. The room of the
    others is not his to fill: a client of whom nothing waits always has room for one."""
    wire_share: float = 0.5
    """Share of a step's interval after which the events that still wait are left to the next step. One event
    of each client is handled in every step, however long that takes."""
    wire_retry_s: float = 0.002
    """A connection whose event found the event wire full asks again after this."""
    stop_check_s: float = 0.05
    """A game loop with a long interval looks this often whether it is to stop."""
    loop_rest_share: float = 0.1
    """Share of a step's duration that the game loop leaves to the network after it, also when the next
    step is overdue ..."""
    loop_rest_s: float = 0.01
    """... but no more than this: several round trips within the hub."""
    exit_timeout_s: float = 2.0
    """How long the interpreter's exit waits for hub threads."""
    blocked_hub_s: float = 0.1
    """A handler or time step that holds the hub for longer is named in the log."""
    blocked_log_s: float = 60.0
    """... once in this time for each of them."""
    max_blocked_names: int = 1024
    """Names of such handlers that are remembered."""

    # --- quality --------------------------------------------------------------------------------
    bad_latency_s: float = 0.25
    """A smoothed round trip above this makes the quality 'bad' ..."""
    bad_loss: float = 0.4
    """... and so does a share of lost packets above this."""

    def __repr__(self) -> str:
        """Only what differs from the defaults: signatures show it in `help`."""
        return f"Config({', '.join(f'{name}={value!r}' for name, value in self._changed().items())})"

    def __reduce__(self) -> tuple[Callable[[], Config], tuple[()]]:
        """For `copy` and `pickle`: compiled, a frozen dataclass has nothing of its own for them."""
        return partial(type(self), **self._changed()), ()

    def _changed(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name, field in self.__dataclass_fields__.items()
            if getattr(self, name) != field.default
        }

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ArgumentError(f"Config.{name} must be a positive number, not {value!r}")
        for name, field in self.__dataclass_fields__.items():
            if field.type == "int" and not isinstance(getattr(self, name), int):
                raise ArgumentError(f"Config.{name} must be a whole number, not {getattr(self, name)!r}")
        if self.max_queued_bytes < self.max_event_bytes:
            raise ArgumentError("Config.max_queued_bytes must not be smaller than Config.max_event_bytes")
        if self.resume_after_s >= self.timeout_s:
            raise ArgumentError("Config.resume_after_s must be smaller than Config.timeout_s")
        if self.reliable_window > 16_384:
            raise ArgumentError(
                "Config.reliable_window must be at most 16384 (ids are 16 bits wide on the wire)"
            )
        if self.max_received_bytes < self.max_event_bytes:
            raise ArgumentError("Config.max_received_bytes must be at least Config.max_event_bytes")
        if self.max_event_type_bytes > 255:
            raise ArgumentError("Config.max_event_type_bytes must be at most 255 (one byte on the wire)")
        if self.max_learned_names > 128:
            raise ArgumentError("Config.max_learned_names must be at most 128 (one byte on the wire)")
        if self.max_state_packets > 255:
            raise ArgumentError("Config.max_state_packets must be at most 255 (one byte on the wire)")
        if max(self.max_event_bytes, self.max_state_bytes) > 64 * 1024 * 1024:
            raise ArgumentError(
                "Config.max_event_bytes and max_state_bytes must be at most 64 MiB"
                " (fragments are counted in 16 bits on the wire)"
            )
