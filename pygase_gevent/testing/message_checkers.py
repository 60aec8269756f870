"""Checkers of what the public contract promises about messages."""

from __future__ import annotations

from pygase_gevent.event import Delivery
from pygase_gevent.protocol.session import MessageAcked, MessageLost, ReceivedMessage, SessionEvent
from pygase_gevent.testing.checker import Checker, Pairs
from pygase_gevent.testing.ledger import Ledger, SentMessage
from pygase_gevent.testing.tap import TappedSession


class MessageChecker(Checker):
    """Base of those that look at messages.

    Args:
        ledger: all messages.
        pairs: which sessions belong together.
    """

    def __init__(self, ledger: Ledger, pairs: Pairs) -> None:
        self.ledger = ledger
        self.pairs = pairs


class Recorder(MessageChecker):
    """Writes into the ledger what became of each message; comes before the others.

    What is received was sent so, over this very session, by the peer.
    """

    def payload_sent(self, session: TappedSession, sequence: int, payload: bytes) -> None:
        for message in self.ledger.in_payload(payload):
            message.on_wire += 1

    def payload_received(
        self, session: TappedSession, sequence: int, payload: bytes, is_recorded: bool
    ) -> None:
        for message in self.ledger.in_payload(payload):
            message.reached += 1

    def message_received(self, session: TappedSession, message: ReceivedMessage) -> None:
        sent = self.ledger.of_body(message.body)
        sent.received += 1
        if sent.kind != message.kind:
            self.fail(f"received as {message.kind!r}: {sent}")
        if self.pairs.peer(session) is not sent.session:
            self.fail(f"received over another session: {sent}")

    def session_event(self, session: TappedSession, event: SessionEvent) -> None:
        if isinstance(event, (MessageAcked, MessageLost)):
            sent = event.token
            assert isinstance(sent, SentMessage)
            if isinstance(event, MessageAcked):
                sent.acked += 1
            else:
                sent.lost += 1


class AtMostOnce(MessageChecker):
    """No message is handled twice, however it travels and however often it is sent again."""

    def message_received(self, session: TappedSession, message: ReceivedMessage) -> None:
        sent = self.ledger.of_body(message.body)
        if sent.received > 1:
            self.fail(f"handled twice: {sent}")


class ReliableExactlyOnce(MessageChecker):
    """A reliable message arrives while the session lives."""

    def is_settled(self) -> bool:
        return all(message.received for message in self._due())

    def finish(self) -> None:
        missing = [message for message in self._due() if not message.received]
        if missing:
            self.fail(f"{len(missing)} reliable messages never arrived, the first: {missing[:1]}")

    def _due(self) -> list[SentMessage]:
        living = self.pairs.living()
        return [m for m in self.ledger.messages if m.is_reliable and m.session in living]


class OrderedInOrder(MessageChecker):
    """What is RELIABLE_ORDERED is handled in the order of each stream, without a gap."""

    def __init__(self, ledger: Ledger, pairs: Pairs) -> None:
        super().__init__(ledger, pairs)
        self._next: dict[tuple[TappedSession, str], int] = {}

    def message_received(self, session: TappedSession, message: ReceivedMessage) -> None:
        sent = self.ledger.of_body(message.body)
        if sent.delivery is Delivery.RELIABLE_ORDERED:
            key = (session, sent.stream)
            expected = self._next.get(key, 0)
            if sent.position != expected:
                self.fail(f"number {expected} was due, and came: {sent}")
            self._next[key] = expected + 1


class SequencedNeverBack(MessageChecker):
    """Of SEQUENCED messages of a stream never an older one comes after a newer one."""

    def __init__(self, ledger: Ledger, pairs: Pairs) -> None:
        super().__init__(ledger, pairs)
        self._newest: dict[tuple[TappedSession, str], int] = {}

    def message_received(self, session: TappedSession, message: ReceivedMessage) -> None:
        sent = self.ledger.of_body(message.body)
        if sent.delivery is Delivery.SEQUENCED:
            key = (session, sent.stream)
            newest = self._newest.get(key, -1)
            if sent.position <= newest:
                self.fail(f"after number {newest} came: {sent}")
            self._newest[key] = sent.position


class RetriesBounded(MessageChecker):
    """`retries` is how often a message is sent again at the most."""

    def payload_sent(self, session: TappedSession, sequence: int, payload: bytes) -> None:
        for message in self.ledger.in_payload(payload):
            is_followed = message.is_whole and not message.is_reliable
            if is_followed and message.on_wire > 1 + message.retries:
                self.fail(f"sent too often: {message}")


class AckIffDelivered(MessageChecker):
    """The ack callback runs if and only if the message was delivered.

    At once: never before it came to the peer. In the end: what is acknowledged was handled, where the
    peer lived to do it; what is reliable is acknowledged where the session lives; and every sender is
    told once what became of a message.
    """

    def session_event(self, session: TappedSession, event: SessionEvent) -> None:
        if isinstance(event, (MessageAcked, MessageLost)):
            sent = event.token
            assert isinstance(sent, SentMessage)
            if not sent.has_token or sent.acked + sent.lost != 1:
                self.fail(f"news a second time: {sent}")
            if sent.acked and sent.is_whole and not sent.reached:
                self.fail(f"acknowledged, and it never came: {sent}")

    def is_settled(self) -> bool:
        living = self.pairs.living()
        return all(
            message.acked + message.lost
            for message in self.ledger.messages
            if message.has_token and message.session in living
        )

    def finish(self) -> None:
        living = self.pairs.living()
        for message in self.ledger.messages:
            if not message.has_token or message.session not in living:
                continue
            if message.acked + message.lost != 1:
                self.fail(f"the sender never heard of it: {message}")
            if message.is_reliable and not message.acked:
                self.fail(f"reliable, and given up: {message}")
            if message.acked and not message.received:
                self.fail(f"acknowledged, and never handled: {message}")
