"""The game loop: its schedule in a clock made by hand, and its threads in real ones."""

import gc
import threading
import time
import weakref

import gevent
import pytest
from conftest import eventually

from pygase_gevent.codec import DELETE
from pygase_gevent.config import Config
from pygase_gevent.errors import AlreadyRunningError, ArgumentError, ArgumentTypeError
from pygase_gevent.event import Event
from pygase_gevent.gamestate import GameState, GameStateStore, GameStateUpdate, GameStatus
from pygase_gevent.hub import process
from pygase_gevent.hub.watchdog import Watchdog
from pygase_gevent.statemachine import GameStateMachine

LONG_S = 30.0


class HandMadeEnvironment:
    """A clock that stands still but for `sleep`, which ends by `lateness_s` too late."""

    def __init__(self, lateness_s=0.0):
        self.time = 1000.0
        self.lateness_s = lateness_s
        self.turns = 0

    def now(self):
        return self.time

    def watchdog(self, config):
        return Watchdog(config, self.now)

    def sleep(self, seconds):
        self.turns += 1
        self.time += seconds + (self.lateness_s if seconds > 0 else 0)


class Game:
    """A machine in a hand-made environment that stops itself after so many steps."""

    def __init__(self, time_step=None, *, steps=5, lateness_s=0.0, config=None, **attributes):
        self.environment = HandMadeEnvironment(lateness_s)
        self.store = GameStateStore(GameState(**attributes))
        self.machine = GameStateMachine(self.store, environment=self.environment, config=config or Config())
        self.machine.time_step = self._time_step
        self.steps = steps
        self.times = []
        self.dts = []
        self._body = time_step or (lambda game_state, dt: {})

    def _time_step(self, game_state, dt):
        self.times.append(self.environment.time - 1000.0)
        self.dts.append(dt)
        if len(self.times) >= self.steps:
            self.machine.stop()
        return self._body(game_state, dt)

    def run(self, interval=0.02):
        self.machine.run_game_loop(interval)
        return self.store.get_game_state()

    def push(self, event_type, *args, client_address=("127.0.0.1", 7), **kwargs):
        return self.machine._push_event(Event(event_type, *args, client_address=client_address, **kwargs))


def test_steps_are_made_at_whole_intervals_and_change_the_state():
    game = Game(lambda game_state, dt: {"x": game_state.x + 1}, steps=4, x=0)
    state = game.run(0.25)
    assert game.times == [0.25, 0.5, 0.75, 1.0]
    assert game.dts == [0.25] * 4
    assert game.machine.game_time == 1.0
    assert state.x == 4
    assert state.time_order == 6  # active, four steps, paused


def test_the_schedule_does_not_drift_over_a_minute():
    game = Game(steps=3000, lateness_s=0.0031)
    game.run(0.02)
    assert game.times[-1] == pytest.approx(60.0, abs=0.004)
    assert sum(game.dts) == pytest.approx(game.times[-1])
    assert game.machine.game_time == pytest.approx(game.times[-1])


def test_work_within_the_interval_does_not_delay_the_next_step():
    def work(game_state, dt):
        game.environment.time += 0.015
        return {}

    game = Game(work, steps=50)
    game.run(0.02)
    assert game.times == pytest.approx([0.02 * i for i in range(1, 51)])


def test_a_long_stall_is_caught_up_by_one_step():
    def stall_once(game_state, dt):
        if len(game.times) == 3:
            game.environment.time += 1.005
        return {}

    game = Game(stall_once, steps=7)
    game.run(0.02)
    assert game.times == pytest.approx([0.02, 0.04, 0.06, 1.075, 1.08, 1.10, 1.12])
    assert game.dts[3] == pytest.approx(1.015)  # the network had its share first


def test_a_loop_that_cannot_keep_up_still_lets_others_run():
    def work(game_state, dt):
        game.environment.time += 0.05
        return {}

    game = Game(work, steps=20)
    game.run(0.02)
    assert game.environment.turns >= 20
    assert game.dts[1:] == pytest.approx([0.055] * 19)


def test_the_status_is_active_while_running_and_running_again_resumes():
    statuses = []

    def note(game_state, dt):
        statuses.append(game_state.game_status)
        return {"x": game_state.x + 1}

    game = Game(note, steps=3, x=0)
    assert game.run().game_status is GameStatus.PAUSED
    game.steps = 5
    state = game.run()
    assert statuses == [GameStatus.ACTIVE] * 5
    assert state.is_paused()
    assert state.x == 5
    assert game.machine.game_time == pytest.approx(0.1)


def test_a_state_that_says_paused_ends_the_loop():
    game = Game(
        lambda game_state, dt: {"game_status": GameStatus.PAUSED} if len(game.times) == 2 else {}, steps=9
    )
    game.run()
    assert len(game.times) == 2


def test_a_time_step_that_raises_is_skipped(caplog):
    def fail_sometimes(game_state, dt):
        if len(game.times) % 2:
            raise ZeroDivisionError("on purpose")
        return {"x": game_state.x + 1}

    game = Game(fail_sometimes, steps=6, x=0)
    state = game.run()
    assert state.x == 3
    assert state.time_order == 5  # a failed step pushes nothing
    assert game.machine.time_step_errors == 3
    assert caplog.text.count("the time_step raised") == 1  # the rest is counted, and told in a minute
    assert "on purpose" in caplog.text


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "time_step must return a dict of changed attributes, not NoneType"),
        ([1], "time_step must return a dict of changed attributes, not list"),
        ({"players": {1: {"name": set()}}}, "players[1].name: object of type set cannot travel"),
        ({1: 2}, "the attributes of a state have names of type str, not 1"),
        ({"is_paused": True}, "'is_paused' belongs to the library"),
        ({"game_status": 9}, "game_status must be a GameStatus, not 9"),
        ({"x": b"x" * 2000}, "the game state would have"),
    ],
)
def test_a_result_that_cannot_be_applied_is_skipped(result, message, caplog):
    game = Game(lambda game_state, dt: result, steps=2)
    game.store = GameStateStore(config=Config(max_state_bytes=1000))
    game.machine._store = game.store
    state = game.run()
    assert state.to_dict() == {"game_status": GameStatus.PAUSED}
    assert game.machine.time_step_errors == 2
    assert message in caplog.text


def test_a_machine_without_a_time_step_says_so(caplog):
    machine = GameStateMachine(GameStateStore(), environment=HandMadeEnvironment())
    machine.register_event_handler("STOP", lambda: machine.stop() and None)
    machine._push_event(Event("STOP"))
    machine.run_game_loop()
    assert "subclass GameStateMachine, or assign it" in caplog.text


def test_handlers_see_what_those_before_them_left_and_their_updates_merge():
    def add(name, amount, game_state, dt, client_address):
        seen.append((dict(game_state.scores), game_state.tick, dt, client_address))
        return {"scores": {name: game_state.scores.get(name, 0) + amount}}

    seen = []
    game = Game(lambda game_state, dt: {"tick": game_state.tick + 1}, steps=1, scores={"z": 9}, tick=0)
    game.machine.register_event_handler("ADD", add)
    game.machine.register_event_handler("LEAVE", lambda name: {"scores": {name: DELETE}})
    game.machine.register_event_handler("QUIET", lambda: None)
    for args in (("ADD", "a", 1), ("ADD", "b", 5), ("QUIET",), ("LEAVE", "z"), ("ADD", "a", 2)):
        assert game.push(*args)
    state = game.run()
    address = ("127.0.0.1", 7)
    assert seen == [
        ({"z": 9}, 1, pytest.approx(0.02), address),
        ({"z": 9, "a": 1}, 1, pytest.approx(0.02), address),
        ({"a": 1, "b": 5}, 1, pytest.approx(0.02), address),
    ]
    assert state.to_dict() == {"game_status": 0, "scores": {"a": 3, "b": 5}, "tick": 1}
    assert [update.time_order for update in game.store.get_update_cache()] == [1, 2, 3]


def test_a_key_deleted_by_one_handler_and_made_anew_by_another_holds_nothing_of_the_old():
    game = Game(steps=1, player={"x": 1, "shield": True})
    game.machine.register_event_handler("DIE", lambda: {"player": DELETE})
    game.machine.register_event_handler("SPAWN", lambda: {"player": {"x": 0}})
    game.push("DIE")
    game.push("SPAWN")
    assert game.run().player == {"x": 0}


def test_a_handler_that_raises_harms_nobody(caplog):
    def fail():
        raise ZeroDivisionError("on purpose")

    game = Game(lambda game_state, dt: {"x": 1}, steps=1)
    game.machine.register_event_handler("FAIL", fail)
    game.machine.register_event_handler("WRONG", lambda: 5)
    game.machine.register_event_handler("GOOD", lambda: {"y": 2})
    for event_type in ("FAIL", "WRONG", "GOOD"):
        game.push(event_type)
    game.push("FAIL", "too", "many", "arguments")
    state = game.run()
    assert (state.x, state.y) == (1, 2)
    assert game.machine.handler_errors == {"FAIL": 2, "WRONG": 1}
    assert game.machine.time_step_errors == 0
    assert "client ('127.0.0.1', 7): the handler of event FAIL raised" in caplog.text
    assert "the handler must return a dict of changed attributes, not int" in caplog.text


def test_events_that_handlers_cause_wait_for_the_next_step():
    game = Game(steps=3)
    seen = []

    def again():
        seen.append(len(game.times))
        game.push("AGAIN")

    game.machine.register_event_handler("AGAIN", again)
    game.push("AGAIN")
    game.run()
    assert seen == [1, 2, 3]


def test_events_wait_while_the_game_is_paused_and_the_queue_is_bounded():
    seen = []
    game = Game(steps=1, config=Config(max_wire_events=3))
    game.machine.register_event_handler("X", seen.append)
    assert [game.push("X", i) for i in range(5)] == [True, True, True, False, False]
    assert game.push("NOBODY HANDLES THIS")
    assert game.machine.unhandled == {"NOBODY HANDLES THIS": 1}
    game.run()
    assert seen == [0, 1, 2]
    assert game.push("X", 3)


def test_a_client_cannot_take_the_room_of_others():
    game = Game(steps=1, config=Config(max_wire_events=4, max_wire_events_per_client=3))
    game.machine.register_event_handler("X", lambda *args: None)
    flooder, others = ("127.0.0.1", 1), [("127.0.0.1", port) for port in (2, 3, 4)]
    assert [game.push("X", client_address=flooder) for _ in range(4)] == [True, True, True, False]
    assert [game.push("X", client_address=other) for other in others] == [True] * 3
    assert not game.push("X", client_address=others[0])
    game.run()
    assert game.push("X", client_address=flooder)


def test_the_bytes_of_a_client_s_events_are_bounded():
    config = Config(max_event_bytes=1000, max_received_bytes=1500)
    game = Game(steps=1, config=config)
    game.machine.register_event_handler("X", lambda *args, **kwargs: None)

    def push(port):
        event = Event.from_bytes(Event("X", b"x" * 900).to_bytes(config), config)
        event.handler_kwargs["client_address"] = ("127.0.0.1", port)
        return game.machine._push_event(event)

    assert [push(1), push(1), push(2)] == [True, False, True]
    game.run()
    assert push(1)


def test_clients_take_turns_and_each_one_s_events_stay_in_order():
    order = []
    game = Game(steps=1)
    game.machine.register_event_handler("X", lambda i, client_address: order.append((client_address[1], i)))
    for client, count in ((1, 4), (2, 2), (3, 1)):
        for i in range(count):
            game.push("X", i, client_address=("127.0.0.1", client))
    game.run()
    assert order == [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2), (1, 3)]


def test_a_step_leaves_to_the_next_what_takes_too_long():
    def work(client_address):
        handled[-1].append(client_address[1])
        game.environment.time += 0.006

    def begin(game_state, dt):
        handled.append([])
        return {}

    handled = []
    game = Game(begin, steps=4)
    game.machine.register_event_handler("X", work)
    for client, count in ((1, 6), (2, 3)):
        for _ in range(count):
            game.push("X", client_address=("127.0.0.1", client))
    game.run(0.02)
    # Half of 20 ms is over after two events; and one of each client is handled whatever it takes.
    assert handled == [[1, 2], [1, 2], [1, 2], [1, 1]]
    game.steps = 5
    game.run(0.02)
    assert handled[-1] == [1]


def test_what_comes_during_a_step_waits_behind_what_the_step_leaves():
    order = []
    game = Game(steps=2, config=Config(max_wire_events_per_client=2))

    def work(i, client_address):
        order.append((client_address[1], i))
        game.environment.time += 0.02
        if i == 0:
            # One of this client's two has been taken, so there is room for one and no more.
            assert game.push("X", 2, client_address=client_address)
            assert not game.push("X", 3, client_address=client_address)

    game.machine.register_event_handler("X", work)
    for i in range(2):
        assert game.push("X", i, client_address=("127.0.0.1", 1))
    game.run()
    assert order == [(1, 0), (1, 1)]
    game.steps = 3
    game.run()
    assert order == [(1, 0), (1, 1), (1, 2)]


def test_an_end_in_the_middle_of_a_step_keeps_what_was_not_handled():
    handled = []

    def end(i):
        handled.append(i)
        if i == 1:
            raise gevent.GreenletExit

    game = Game(steps=1)
    game.machine.register_event_handler("X", end)
    for i in range(4):
        game.push("X", i)
    with pytest.raises(gevent.GreenletExit):
        game.run()
    game.steps = 2
    game.run()
    assert handled == [0, 1, 2, 3]


def test_a_handler_s_view_of_the_state_stays_as_it_was():
    views = []

    def change(i, game_state):
        views.append(game_state)
        return {"seen": {i: i}}

    game = Game(steps=1, seen={})
    game.machine.register_event_handler("X", change)
    game.machine.register_event_handler("BLIND", lambda i: {"seen": {i: -i}})
    for i, name in enumerate(("X", "X", "BLIND", "X"), 1):
        game.push(name, i)
    state = game.run()
    assert [view.seen for view in views] == [{}, {1: 1}, {1: 1, 2: 2, 3: -3}]
    assert state.seen == {1: 1, 2: 2, 3: -3, 4: 4}


@pytest.mark.parametrize("error", [gevent.Timeout(1), SystemExit(1), BaseException("any")])
def test_what_is_no_exception_ends_no_loop_either(error):
    def fail(*args):
        raise error

    game = Game(fail, steps=3)
    game.machine.register_event_handler("X", fail)
    game.push("X")
    game.run()
    assert len(game.times) == 3
    assert game.machine.time_step_errors == 3
    assert game.machine.handler_errors == {"X": 1}


@pytest.mark.parametrize("error", [KeyboardInterrupt, gevent.GreenletExit])
def test_a_loop_that_is_to_end_ends(error):
    def end(*args):
        raise error

    with pytest.raises(error):
        Game(end).run()


def test_a_change_that_cannot_be_applied_takes_no_other_with_it(caplog):
    game = Game(lambda game_state, dt: {"x": game_state.x + 1}, steps=2, x=0)
    game.store = GameStateStore(GameState(x=0), config=Config(max_state_bytes=1000))
    game.machine._store = game.store
    game.machine.register_event_handler("GROW", lambda: {"blob": b"x" * 2000})
    game.machine.register_event_handler("GOOD", lambda: {"y": 1})
    game.push("GROW", client_address=("127.0.0.1", 1))
    game.push("GOOD", client_address=("127.0.0.1", 2))
    state = game.run()
    assert (state.x, state.y) == (2, 1)
    assert not hasattr(state, "blob")
    assert game.machine.handler_errors == {"GROW": 1}
    assert game.machine.time_step_errors == 0
    assert "client ('127.0.0.1', 1): the handler of event GROW raised" in caplog.text


def test_the_names_of_unhandled_events_are_bounded():
    game = Game(config=Config(max_streams=2, max_event_type_bytes=10))
    for name in ("a" * 1000, "b", "c", "c"):
        assert game.push(name)
    assert game.machine.unhandled == {"a" * 10: 1, "b": 1}


def test_hooks_run_in_turn_with_the_events():
    order = []

    def on_join(client_address, game_state, dt):
        order.append(("join", client_address))
        return {"players": {client_address[1]: {"x": 0}}}

    game = Game(steps=1, players={}, config=Config(max_wire_events=1))
    game.machine.register_event_handler(
        "MOVE", lambda client_address, game_state: order.append(game_state.players)
    )
    assert game.machine._push_call(on_join, client_address=("127.0.0.1", 7), reason="is not taken")
    assert not game.push("MOVE")
    game.run()
    assert game.push("MOVE")
    assert game.machine._push_call(lambda reason: order.append(reason), client_address=None, reason="left")
    assert not game.machine._push_call(print)
    game.steps = 2
    state = game.run()
    assert order == [("join", ("127.0.0.1", 7)), {7: {"x": 0}}, "left"]
    assert state.players == {7: {"x": 0}}


def test_the_state_given_to_a_step_is_for_reading():
    errors = []

    def assign(game_state, dt):
        try:
            game_state.x = 5
        except AttributeError as error:
            errors.append(str(error))
        return {}

    Game(assign, steps=1, x=0).run()
    assert "return the change from time_step" in errors[0]


@pytest.mark.parametrize("interval", [0, -1, float("inf"), float("nan")])
def test_an_interval_must_be_positive(interval):
    with pytest.raises(ArgumentError, match="interval must be a positive number of seconds"):
        Game().machine.run_game_loop(interval)


def test_arguments_of_a_wrong_type_are_refused():
    with pytest.raises(ArgumentTypeError, match="interval must be seconds, not str"):
        Game().machine.run_game_loop_in_thread("0.02")
    with pytest.raises(ArgumentTypeError, match="a GameStateStore is needed, not GameState"):
        GameStateMachine(GameState())
    with pytest.raises(TypeError, match="not callable"):
        Game().machine.register_event_handler("X", None)


def test_stop_without_a_loop_pauses_the_state():
    game = Game(game_status=GameStatus.ACTIVE)
    assert game.machine.stop()
    assert game.store.get_game_state().is_paused()


class Counter(GameStateMachine):
    def time_step(self, game_state, dt):
        return {"count": game_state.count + 1}


def wait_for_count(store, count):
    eventually(lambda: store.get_game_state().count >= count, LONG_S)


@pytest.mark.crosses_threads
def test_a_loop_in_a_thread_runs_and_stops_and_runs_again():
    store = GameStateStore(GameState(count=0))
    machine = Counter(store)
    for goal in (3, 6):
        thread = machine.run_game_loop_in_thread(interval=0.005)
        with pytest.raises(AlreadyRunningError, match="runs already"):
            machine.run_game_loop()
        with pytest.raises(AlreadyRunningError, match="runs already"):
            machine.run_game_loop_in_thread()
        wait_for_count(store, goal)
        assert store.get_game_state().game_status is GameStatus.ACTIVE
        assert isinstance(thread, threading.Thread)
        assert machine.stop(timeout=LONG_S)
        thread.join(LONG_S)
        assert not thread.is_alive()
        assert store.get_game_state().is_paused()


@pytest.mark.crosses_threads
def test_stop_right_after_the_start_is_not_lost():
    machine = Counter(GameStateStore(GameState(count=0)))
    for _ in range(5):
        thread = machine.run_game_loop_in_thread()
        assert machine.stop(timeout=LONG_S)
        thread.join(LONG_S)
        assert not thread.is_alive()


@pytest.mark.crosses_threads
def test_stop_does_not_wait_for_a_long_interval():
    machine = Counter(GameStateStore(GameState(count=0)))
    thread = machine.run_game_loop_in_thread(interval=3600)
    assert machine.stop(timeout=LONG_S)
    thread.join(LONG_S)


@pytest.mark.crosses_threads
def test_stop_says_whether_the_loop_has_ended():
    has_entered, may_leave = [], []

    def hang(game_state, dt):
        has_entered.append(True)
        eventually(lambda: may_leave, LONG_S)
        return {}

    machine = GameStateMachine(GameStateStore())
    machine.time_step = hang
    thread = machine.run_game_loop_in_thread(interval=0.001)
    eventually(lambda: has_entered, LONG_S)
    assert not machine.stop(timeout=0.01)
    may_leave.append(True)
    assert machine.stop(timeout=LONG_S)
    thread.join(LONG_S)


def test_a_step_that_holds_up_other_greenlets_is_named(caplog):
    def work(game_state, dt):
        game.environment.time += 0.5
        return {}

    gevent.get_hub()  # there are others only where there is a hub
    game = Game(work, steps=1)
    game.run()
    with gevent.Timeout(LONG_S):
        while "time_step held the hub for 500 ms" not in caplog.text:
            gevent.sleep(0.001)


def test_a_loop_stops_itself_from_inside():
    machine = GameStateMachine(GameStateStore())
    results = []

    def time_step(game_state, dt):
        results.append(machine.stop())
        return {"x": 1}

    machine.time_step = time_step
    machine.run_game_loop(interval=0.001)
    assert results == [False]
    assert machine._store.get_game_state().x == 1


@pytest.mark.crosses_threads
def test_a_loop_shares_its_hub_with_other_greenlets():
    store = GameStateStore(GameState(count=0))
    machine = Counter(store)
    loop = gevent.spawn(machine.run_game_loop, 0.001)
    with gevent.Timeout(LONG_S):
        while store.get_game_state().count < 5:
            gevent.sleep(0.001)
        assert machine.stop(timeout=LONG_S)
        loop.get()


@pytest.mark.crosses_threads
def test_a_loop_in_a_user_s_own_thread():
    store = GameStateStore(GameState(count=0))
    machine = Counter(store)
    thread = threading.Thread(target=machine.run_game_loop, args=(0.001,))
    thread.start()
    wait_for_count(store, 3)
    assert machine.stop(timeout=LONG_S)
    thread.join(LONG_S)
    assert not thread.is_alive()


@pytest.mark.crosses_threads
def test_a_loop_that_is_killed_leaves_the_game_paused():
    store = GameStateStore(GameState(count=0))
    machine = Counter(store)
    loop = gevent.spawn(machine.run_game_loop, 0.001)
    with gevent.Timeout(LONG_S):
        while store.get_game_state().count < 1:
            gevent.sleep(0.001)
        loop.kill()
    assert store.get_game_state().is_paused()
    assert machine.stop()


@pytest.mark.crosses_threads
def test_pushes_from_outside_are_never_lost():
    store = GameStateStore(GameState(count=0, log={}))
    machine = Counter(store)
    thread = machine.run_game_loop_in_thread(interval=0.001)
    for i in range(500):
        store.push_update(GameStateUpdate(0, log={i: True}))
    wait_for_count(store, 3)
    assert machine.stop(timeout=LONG_S)
    thread.join(LONG_S)
    state = store.get_game_state()
    assert len(state.log) == 500
    updates = store.get_update_cache()
    assert [update.time_order for update in updates] == list(
        range(state.time_order - len(updates) + 1, state.time_order + 1)
    )


def test_a_step_by_hand() -> None:
    store = GameStateStore(GameState(seconds=0.0))
    machine = GameStateMachine(store)
    machine.time_step = lambda game_state, dt: {"seconds": game_state.seconds + dt}
    machine.step(0.5)
    machine.step(0.25)
    assert store.get_game_state().seconds == machine.game_time == 0.75
    assert store.get_game_state().is_paused()
    with pytest.raises(ArgumentError):
        machine.step(0)
    machine.time_step = lambda game_state, dt: machine.step(dt)
    machine.step(0.5)
    assert machine.time_step_errors == 1  # a step within a step


def test_a_step_by_hand_leaves_nothing_behind() -> None:
    machine = GameStateMachine(GameStateStore(GameState()))
    machine.time_step = lambda game_state, dt: {}
    machine.step(0.5)
    assert machine._after_fork not in process._fork_callbacks
    reference = weakref.ref(machine)
    del machine
    gc.collect()
    assert reference() is None


def test_a_step_by_hand_that_stops_the_game_does_not_wait_for_itself() -> None:
    machine = GameStateMachine(GameStateStore(GameState()))
    results: list[object] = []

    def time_step(game_state, dt):
        start = time.monotonic()
        results.append((machine.stop(LONG_S), time.monotonic() - start < LONG_S / 2))
        return {}

    machine.time_step = time_step
    machine.step(0.5)
    assert results == [(False, True)]
    assert machine.stop() is True
