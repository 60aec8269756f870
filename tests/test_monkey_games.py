"""What PyGaSe's programs count on: a state that is changed in place, the order of things, old numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pygase_gevent.legacy import Backend, Client, GameState, GameStateStore, Server
from pygase_gevent.legacy.connection import ClientConnection, ConnectionStatus, ServerConnection
from pygase_gevent.legacy.event import Event
from pygase_gevent.legacy.gamestate import TO_DELETE, GameStateUpdate, GameStatus
from pygase_gevent.legacy.utils import Sqn
from tests.conftest import eventually

LIMIT_S = 30.0


class Game:
    """A backend and a client that is connected to it, as PyGaSe's programs make them."""

    def __init__(self, state: GameState, time_step=lambda game_state, dt: {}, handlers=None) -> None:
        self.backend = Backend(state, time_step, handlers)
        self.machine, self.server = self.backend.game_state_machine, self.backend.server
        self.clients: list[Client] = []
        self.threads = [
            self.machine.run_game_loop_in_thread(),
            self.server.run_in_thread(0, "localhost", self.machine),
        ]

    def join(self, client: Client | None = None) -> Client:
        client = client or Client()
        self.clients.append(client)
        self.threads.append(client.connect_in_thread(self.server.port))
        eventually(lambda: client.connection.status == ConnectionStatus.get("Connected"), LIMIT_S)
        return client

    def end(self) -> None:
        for client in self.clients:
            client.disconnect()
        self.backend.shutdown()
        assert self.machine.stop() is True
        for thread in self.threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()


@pytest.fixture
def play() -> Iterator[object]:
    games: list[Game] = []

    def begin(*arguments, **keywords) -> Game:
        games.append(Game(*arguments, **keywords))
        return games[-1]

    yield begin
    for game in games:
        game.end()


def test_who_is_connected_has_a_state(play) -> None:
    for _ in range(10):
        client = play(GameState(players={0: {"name": "Anna"}})).join()
        with client.access_game_state() as game_state:
            assert game_state.players == {0: {"name": "Anna"}}
            assert set(game_state.__dict__) == {"players", "game_status", "time_order"}
            assert type(game_state) is GameState
            assert type(game_state.time_order) is Sqn


def test_an_event_finds_the_state_that_it_was_sent_with(play) -> None:
    def on_join(name, game_state, client_address, **kwargs):
        player_id = len(game_state.players)
        game.server.dispatch_event("CREATED", player_id, target_client=client_address, retries=5)
        return {"players": {player_id: {"name": name}}}

    game = play(GameState(players={}), handlers={"JOIN": on_join})
    client = game.join()
    seen: list[object] = []

    def on_created(player_id):
        with client.access_game_state() as game_state:
            seen.append(game_state.players[player_id]["name"])

    client.register_event_handler("CREATED", on_created)
    names = [f"player {number}" for number in range(30)]
    for name in names:
        client.dispatch_event("JOIN", name, retries=5)
        eventually(lambda name=name: name in seen, LIMIT_S)
    assert seen == names


def test_a_state_changed_in_place_reaches_the_clients(play) -> None:
    def on_add(name, game_state, **kwargs):
        players = game_state.players  # the same dict, changed and returned
        players[name] = {"points": 0}
        return {"players": players}

    def on_score(name, game_state, **kwargs):
        game_state.players[name]["points"] += 1  # changed, and nothing returned

    def on_remove(name, game_state, **kwargs):
        del game_state.players[name]
        return {}

    initial = GameState(players={})
    game = play(initial, handlers={"ADD": on_add, "SCORE": on_score, "REMOVE": on_remove})
    client = game.join()
    client.dispatch_event("ADD", "Anna", retries=5)
    client.dispatch_event("ADD", "Ben", retries=5)
    client.wait_until(lambda game_state: len(game_state.players) == 2, LIMIT_S)
    client.dispatch_event("SCORE", "Anna", retries=5)
    client.wait_until(lambda game_state: game_state.players["Anna"]["points"] == 1, LIMIT_S)
    client.dispatch_event("REMOVE", "Ben", retries=5)
    client.wait_until(lambda game_state: "Ben" not in game_state.players, LIMIT_S)
    assert game.backend.game_state_store.get_game_state() is initial
    assert initial.players == {"Anna": {"points": 1}}


def test_any_key_and_tuple_that_pygase_took(play) -> None:
    keys = [(1, "a"), ("127.0.0.1", 5), 7, "seven", 1.5, None, True, b"bytes", ((1, 2), 3), "\0pygase:00"]
    game = play(GameState(by_key={key: [number] for number, key in enumerate(keys)}, place=(1, 2)))
    client = game.join()
    with client.access_game_state() as game_state:
        assert game_state.by_key == {key: [number] for number, key in enumerate(keys)}
        assert game_state.place == [1, 2]  # tuples arrive as lists, as they did
    assert game.backend.game_state_store.get_game_state().place == (1, 2)
    heard: list[object] = []
    game.server.register_event_handler("KEYS", lambda tree, client_address: heard.append(tree))
    client.dispatch_event("KEYS", {("a", 1): [("b", 2)]}, retries=5)
    eventually(lambda: heard, LIMIT_S)
    assert heard == [{("a", 1): [["b", 2]]}]


def test_what_a_client_changes_stays_until_the_server_changes_it(play) -> None:
    def on_set(value, **kwargs):
        return {"player": {"x": value}}

    client = play(GameState(player={"x": 0, "y": 0}, other=0), handlers={"SET": on_set}).join()
    with client.access_game_state() as game_state:
        game_state.player["y"] = 5
        game_state.mine = "mine"
    client.dispatch_event("SET", 1, retries=5)
    client.wait_until(lambda game_state: game_state.player["x"] == 1, LIMIT_S)
    with client.access_game_state() as game_state:
        assert game_state.player == {"x": 1, "y": 5}
        assert game_state.mine == "mine"


def test_a_block_sees_one_state_and_holds_up_nobody(play) -> None:
    client = play(GameState(count=0), lambda game_state, dt: {"count": game_state.count + 1}).join()
    client.wait_until(lambda game_state: game_state.count > 0, LIMIT_S)
    with client.access_game_state() as game_state:
        count = game_state.count
        other: list[int] = []

        def look() -> None:
            with client.access_game_state() as later:
                other.append(later.count)

        while not other or other[-1] < count + 3:
            thread = threading.Thread(target=look)
            thread.start()
            thread.join(LIMIT_S)
        assert game_state.count == count
    client.wait_until(lambda game_state: game_state.count > count, LIMIT_S)


def test_connections_keep_their_places_and_their_numbers(play) -> None:
    game = play(GameState())
    assert game.server.connections == {}
    first, second = game.join(), game.join()
    eventually(lambda: len(game.server.connections) == 2, LIMIT_S)
    addresses = list(game.server.connections)
    assert game.server.host_client == addresses[0]
    one, two = game.server.connections.values()
    assert type(one) is ServerConnection
    assert one.remote_address == addresses[0]
    assert (one.status, ConnectionStatus.get(one.status)) == (3, "Connected")  # PyGaSe's numbers
    assert (one.quality, two.quality) == ("good", "good")
    eventually(lambda: one.local_sequence > 0 and one.remote_sequence > 0 and one.latency > 0, LIMIT_S)
    first.disconnect()
    eventually(lambda: one.status == ConnectionStatus.get("Disconnected") == 2, LIMIT_S)
    assert list(game.server.connections) == addresses  # who is gone keeps his place
    game.server.dispatch_event("TO_ALL")
    game.server.dispatch_event("TO_ONE", target_client=addresses[0])
    with pytest.raises(KeyError):
        game.server.dispatch_event("TO_NOBODY", target_client=("127.0.0.1", 1))
    assert second.connection.status == ConnectionStatus.get("Connected")
    assert first.connection.status == ConnectionStatus.get("Disconnected")
    first.dispatch_event("TOO_LATE")  # PyGaSe took it without a word


def test_the_methods_of_a_subclass_are_its_own(play) -> None:
    class Player(Client):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[object] = []
            for name in [name for name in dir(self) if name.startswith("on_")]:
                self.register_event_handler(name[3:].upper(), getattr(self, name))

        def on_connect(self, number):
            self.calls.append(number)

        def call(self):
            return "mine"

    player = play(GameState()).join(Player())
    assert player.calls == []
    assert player.call() == "mine"


def test_an_event_wire_of_ones_own() -> None:
    class Wire:
        def __init__(self) -> None:
            self.events: list[Event] = []

        async def _push_event(self, event):
            self.events.append(event)

    wire, server, client = Wire(), Server(GameStateStore()), Client()
    server.run_in_thread(event_wire=wire)
    thread = client.connect_in_thread(server.port)
    client.dispatch_event("MOVE", 1, retries=5, to=(2, 3))
    eventually(lambda: wire.events, LIMIT_S)
    [event] = wire.events
    address = next(iter(server.connections))
    assert event.handler_kwargs.pop("client_address") == address
    assert event == Event("MOVE", 1, to=[2, 3])
    client.disconnect(shutdown_server=True)
    thread.join(LIMIT_S)
    eventually(lambda: server.port is None, LIMIT_S)


def test_a_callback_for_what_timed_out() -> None:
    connection = ClientConnection(("localhost", 9), None)
    called = threading.Event()
    connection.dispatch_event(Event("X"), None, called.set)
    assert called.wait(LIMIT_S)


def test_updates_pushed_to_a_store() -> None:
    store = GameStateStore(GameState(players={0: {"x": 1}, 1: {"x": 2}}))
    assert store.get_update_cache() == [GameStateUpdate(0)]
    store.push_update(GameStateUpdate(1, players={0: TO_DELETE, 2: {"x": TO_DELETE}}))
    assert store.get_game_state().players == {1: {"x": 2}, 2: {}}
    store.push_update(GameStateUpdate(1, players={1: TO_DELETE}))  # not more recent
    assert store.get_game_state().players == {1: {"x": 2}, 2: {}}
    assert store.underlying.get_game_state().players == {1: {"x": 2}, 2: {}}
    assert len(store.get_update_cache()) == 3
    with pytest.raises(TypeError, match="players"):
        store.push_update(GameStateUpdate(2, players={1: object()}))
    assert store.get_game_state().time_order == 1
    with pytest.raises(TypeError, match="'initial_game_state' should be of type 'GameState', not 'dict'"):
        GameStateStore({})  # type: ignore[arg-type]


def test_running_and_stopping_sets_the_status(play) -> None:
    game = play(GameState())
    state = game.backend.game_state_store.get_game_state()
    eventually(lambda: state.game_status == GameStatus.get("Active") == 1, LIMIT_S)
    eventually(lambda: game.machine.game_time > 0.1, LIMIT_S)
    assert game.machine.stop() is True
    assert state.is_paused()
    assert state.time_order > 5


def test_not_connected_is_said() -> None:
    client = Client()
    assert client.connection is None
    for use in (client.disconnect, client.access_game_state, lambda: client.dispatch_event("X")):
        with pytest.raises(RuntimeError, match="call connect or connect_in_thread first"):
            use()
