"""Ten minutes of chat over a bad line, in virtual time: the demo's own server and clients."""

from __future__ import annotations

import random
import time

import pytest

from demos.chat.client import ChatClient
from demos.chat.server import ChatServer
from demos.chat.shared import STEP_S
from pygase_gevent.testing import LinkOptions, VirtualLink, VirtualNetwork

TEN_MINUTES_S = 600.0
SETTLING_S = 20.0
LINE = LinkOptions(loss=0.2, delay_s=0.05, jitter_s=0.02, duplicate=0.02, corrupt=0.02)


class Person:
    """Somebody in the room, on a line of his own."""

    def __init__(self, network: VirtualNetwork, port: int, name: str) -> None:
        self.line: VirtualLink = network.link(port, up=LINE)
        self.screen: list[str] = []
        self.client = ChatClient(name, self.screen.append)
        self.client.connect("localhost", self.line.port)

    @property
    def said(self) -> list[str]:
        """What stands on the screen, without the notices."""
        return [line for line in self.screen if line.startswith("<")]


def chat(network: VirtualNetwork, number_of_people: int, *, accidents: int = 0) -> None:
    backend = ChatServer().backend
    backend.run_in_thread(interval=STEP_S)
    people = [Person(network, backend.server.port or 0, f"p{number}") for number in range(number_of_people)]
    time.sleep(SETTLING_S)
    spoken: list[list[str]] = [[] for _ in people]
    ends_at = time.monotonic() + TEN_MINUTES_S
    accidents_at = [TEN_MINUTES_S * (1 + number) / (1 + accidents) for number in range(accidents)]
    while (left_s := ends_at - time.monotonic()) > 0:
        if accidents_at and left_s < accidents_at[-1]:
            accidents_at.pop()
            random.choice(people).line.partition()
        who = random.randrange(number_of_people)
        line = f"line {sum(map(len, spoken))}"
        people[who].client.say(line)
        spoken[who].append(f"<p{who}> {line}")
        time.sleep(random.expovariate(1 / 1.5))
        for person in people:
            if person.screen[-1].startswith("* connection lost"):
                person.line.heal()
    time.sleep(SETTLING_S)

    transcript = people[0].said
    assert sorted(transcript) == sorted(line for lines in spoken for line in lines)
    for person, lines in zip(people, spoken, strict=True):
        assert person.said == transcript  # everything, once, in the order of all
        assert [line for line in transcript if line in set(lines)] == lines  # and in the order of the speaker
    losses = sum(screen.screen.count("* connection lost, trying to get it back") for screen in people)
    assert losses >= accidents
    for person in people:
        person.client.quit(5)
    backend.shutdown()


@pytest.mark.virtual_network(seed=1, real_limit_s=120)
def test_nobody_misses_a_line_in_ten_minutes_at_20_percent_loss(virtual_network: VirtualNetwork) -> None:
    chat(virtual_network, 3, accidents=3)


@pytest.mark.slow
@pytest.mark.virtual_network(seed=1, real_limit_s=600)
def test_twenty_people_miss_no_line_either(virtual_network: VirtualNetwork) -> None:
    chat(virtual_network, 20, accidents=10)
