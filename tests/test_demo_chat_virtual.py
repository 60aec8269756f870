"""Minutes of chat over a bad line, in virtual time: the demo's own server and clients."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from demos.chat.client import ChatClient
from demos.chat.lines import formatted
from demos.chat.server import ChatServer
from demos.chat.shared import STEP_S, Line
from pygase_gevent.testing import LinkOptions, VirtualLink, VirtualNetwork

MINUTE_S, TEN_MINUTES_S = 60.0, 600.0
SETTLING_S = 20.0
LINE = LinkOptions(loss=0.2, delay_s=0.05, jitter_s=0.02, duplicate=0.02, corrupt=0.02)
LOST = "* connection lost, trying to get it back"


class House:
    """Where the server lives; another one may move in, which knows of the first what its transcript says."""

    def __init__(self, transcript: Path) -> None:
        self._transcript = transcript
        self._server = self._start(0)
        self.port: int = self._server.backend.server.port or 0

    def restart(self, away_s: float) -> None:
        self.shutdown()
        time.sleep(away_s)
        self._server = self._start(self.port)

    def shutdown(self) -> None:
        self._server.backend.shutdown()

    def _start(self, port: int) -> ChatServer:
        server = ChatServer(self._transcript)
        server.backend.run_in_thread(port=port, interval=STEP_S)
        return server


class Person:
    """Somebody in the lobby, on a line of his own."""

    def __init__(self, network: VirtualNetwork, port: int, name: str) -> None:
        self.line: VirtualLink = network.link(port, up=LINE)
        self.screen: list[str] = []
        self.spoken: list[str] = []
        self.client = ChatClient(name, self._show)
        self.client.connect("localhost", self.line.port)

    def say(self, text: str) -> None:
        self.client.say("lobby", text)
        self.spoken.append(f"<{self.client.name}> {text}")

    @property
    def said(self) -> list[str]:
        """What stands on the screen, without the notices."""
        return [line for line in self.screen if line.startswith("<")]

    def _show(self, line: Line, is_old: bool) -> None:
        self.screen.append(formatted(line))


def chat(
    network: VirtualNetwork, house: House, number_of_people: int, *, talk_s: float, accidents: int
) -> None:
    """Every other accident is a line that dies, the others are a server that does."""
    people = [Person(network, house.port, f"p{number}") for number in range(number_of_people)]
    time.sleep(SETTLING_S)
    ends_at = time.monotonic() + talk_s
    accidents_at = [talk_s * (1 + number) / (1 + accidents) for number in range(accidents)]
    while (left_s := ends_at - time.monotonic()) > 0:
        if accidents_at and left_s < accidents_at[-1]:
            accidents_at.pop()
            if len(accidents_at) % 2:
                house.restart(away_s=random.uniform(0.1, 8.0))
            else:
                random.choice(people).line.partition()
        random.choice(people).say(f"line {sum(len(person.spoken) for person in people)}")
        time.sleep(random.expovariate(1 / 1.5))
        for person in people:
            if person.screen[-1] == LOST:
                person.line.heal()
    time.sleep(SETTLING_S)

    transcript = people[0].said
    assert sorted(transcript) == sorted(line for person in people for line in person.spoken)
    for person in people:
        assert person.said == transcript  # everything, once, in the order of all
        own = set(person.spoken)
        assert [line for line in transcript if line in own] == person.spoken  # and of the speaker
    assert sum(person.screen.count(LOST) for person in people) >= accidents
    for person in people:
        assert person.client.quit(5)
    house.shutdown()


@pytest.mark.parametrize(
    ("talk_s", "accidents"), [(MINUTE_S, 2), pytest.param(TEN_MINUTES_S, 3, marks=pytest.mark.long)]
)
@pytest.mark.virtual_network(seed=1, real_limit_s=120)
def test_nobody_misses_a_line_in_minutes_at_20_percent_loss(
    talk_s: float, accidents: int, virtual_network: VirtualNetwork, tmp_path: Path
) -> None:
    chat(virtual_network, House(tmp_path / "transcript"), 3, talk_s=talk_s, accidents=accidents)


@pytest.mark.slow
@pytest.mark.virtual_network(seed=1, real_limit_s=900)
def test_twenty_people_miss_no_line_either(virtual_network: VirtualNetwork, tmp_path: Path) -> None:
    chat(virtual_network, House(tmp_path / "transcript"), 20, talk_s=TEN_MINUTES_S, accidents=10)
