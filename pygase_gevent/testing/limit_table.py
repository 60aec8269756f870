"""What bounds each container that a core or a session holds, by `Class.attribute`."""

from __future__ import annotations

from collections.abc import Callable

from pygase_gevent.config import Config

Limit = Callable[[Config], int]

A_FEW = 64
"""Counters by reason, claims, samples, and what is drained within the call that fills it."""
BURST_PACKETS = 4096
"""Datagrams between two turns of a shell: a burst to every client."""
PAYLOAD_EVENTS = 512
"""Messages of one payload: an empty inbox takes any payload."""
NOTICES = 2
"""What became of messages is told once each; of queued ones, and of those that left unreliably."""


def _few(config: Config) -> int:
    return A_FEW


def _seats(config: Config) -> int:
    return config.max_clients


def _events(config: Config) -> int:
    return config.max_queued_events + 4 * config.max_calls


def _received(config: Config) -> int:
    return config.max_received_events + PAYLOAD_EVENTS


def _calls(config: Config) -> int:
    return 2 * config.max_calls


def _window(config: Config) -> int:
    return config.reliable_window


def _streams(config: Config) -> int:
    return config.max_streams


def _channels(config: Config) -> int:
    return 2 * config.max_streams + A_FEW


def _transfers(config: Config) -> int:
    return 2 * config.max_transfers + 1


def _in_flight(config: Config) -> int:
    return config.max_packets_in_flight


def _fragments(config: Config) -> int:
    return -(-(config.max_state_bytes + 1024) // 256)


def _state_parts(config: Config) -> int:
    return config.max_state_packets


def _burst(config: Config) -> int:
    return BURST_PACKETS


def _used_tokens(config: Config) -> int:
    return max(config.min_used_tokens, config.used_tokens_per_client * config.max_clients)


LIMITS: dict[str, Limit] = {
    # The cores.
    "ServerCore.sessions": _seats,
    "ServerCore.by_name": _seats,
    "ServerCore._ready": _seats,
    "ServerCore._events": _burst,
    "ServerCore._adopted": lambda config: max(config.max_clients, config.min_used_tokens),
    "ServerPeer.events": _events,
    "ServerPeer.claims": _few,
    "CoreStats.drops": _few,
    "ClosingPeers._peers": _seats,
    "ClientCore._events": _events,
    "ClientCore._outgoing": _burst,
    "ClientCore._past_drops": _few,
    "ClientCore.claims": _few,
    "ClientCore.drops": _few,
    "TokenSource._fresh": _few,
    "TokenSource._tried": _few,
    # netcode.
    "NetcodeServer.peers": _seats,
    "NetcodeServer.drops": _few,
    "NetcodeServer._peers_by_client_id": _seats,
    "NetcodeServer._free_indices": _seats,
    "NetcodeServer._events": _burst,
    "NetcodeServer._outgoing": _burst,
    "NetcodeClient.drops": _few,
    "NetcodeClient._outgoing": _burst,
    "HandshakeLimits._sources": lambda config: config.max_tracked_sources,
    "HalfOpenTable._handshakes": lambda config: config.max_half_open,
    "HalfOpen._challenges": lambda config: config.challenges_per_handshake,
    "UsedTokens._pending": _used_tokens,
    "UsedTokens._spent": _used_tokens,
    # A session: packets.
    "SessionStats._drops": _few,
    "Recovery._sent": _in_flight,
    "Recovery._recently_lost": lambda config: 64,
    "CarriedTogether._items": lambda config: config.max_events_per_packet,
    "ControlSender._clock_answers": _few,
    "ControlSender._tickets": _few,
    "ServerClock._requests": _few,
    "ServerClock._samples": _few,
    "ClientRole._events": _few,
    "ServerRole._events": _few,
    "ClientRole._states": lambda config: config.recent_states,
    # A session: messages out.
    "ChannelTable._streams": _channels,
    "ChannelTable._plain": _few,
    "Channel.waiting": _events,
    "Channel.window": _window,
    "MessageSender.notices": lambda config: NOTICES * (_events(config) + _in_flight(config)),
    "MessageSender._active": _channels,
    "MessageSender._blocked": _channels,
    "MessageSender._large": _transfers,
    "MessageSender._resends": _events,
    "RetryTimeouts._deadlines": lambda config: 2 * (_events(config) + _in_flight(config)),
    "MessageSender._unsettled": lambda config: _events(config) + _in_flight(config),
    "Redundancy._fresh": lambda config: config.max_riding_candidates,
    "Redundancy._suspects": lambda config: config.max_riding_candidates,
    "TransferScheduler._turns": _transfers,
    "TransferScheduler._under_way": _transfers,
    "OutgoingTransfer._resends": _fragments,
    # A session: messages in.
    "Inbox._events": _received,
    "Inbox._numbers": _few,
    "Inbox._calls": _calls,
    "Inbox._results": _calls,
    "Inbox._ordered": _streams,
    "Inbox._sequenced": _streams,
    "Inbox._reassemblies": lambda config: 2 * config.max_transfers,
    "_OrderedStream.early": lambda config: min(config.reliable_window, config.max_received_events),
    "Reassembly._parts": _fragments,
    # A session: state.
    "StateEncoder._cache": _seats,
    "StateOutbox._parts": _state_parts,
    "StateReceiver._assemblies": lambda config: config.max_state_assemblies,
    "StateNames.entries": lambda config: config.max_learned_names,
    "StateNames._numbers": lambda config: config.max_learned_names,
    "StateNames._layouts": lambda config: config.max_learned_names,
    "StateNames._counts": lambda config: config.max_name_candidates,
    "StateNames._learned": lambda config: config.max_learned_names,
    "EventNamesSender._entries": lambda config: config.max_learned_names,
    "EventNamesSender._numbers": lambda config: config.max_learned_names,
    "EventNamesSender._counts": lambda config: config.max_name_candidates,
    "TableSender._entries": lambda config: config.max_learned_names,
    "KnownEventNames._heads": lambda config: config.max_learned_names,
    "KnownNames._entries": lambda config: config.max_learned_names,
    "StateEncoder._clocks": lambda config: config.update_cache_size,
    "StateReceiver._clocks": lambda config: config.max_client_states,
    "StateReceiver._size_bounds": lambda config: config.max_client_states,
    "StateReceiver._states": lambda config: config.max_client_states,
    "StateReceiver.drops": _few,
    "_Assembly.parts": _state_parts,
    "_Merge.changes": lambda config: config.max_items,
}
