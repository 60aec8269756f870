"""Events on the wire, and which arguments reach a handler."""

import functools
import re
import tracemalloc

import pytest
from native import run_natively, switching_often

from pygase_gevent.codec import encode
from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, ArgumentTypeError, DecodeError, SerializationError
from pygase_gevent.event import Event, Handler, UniversalEventHandler

LIMIT_S = 30
LIBRARY = {"client_address": ("127.0.0.1", 1), "game_state": "state", "dt": 0.1}


def handle(function, event):
    handlers = UniversalEventHandler()
    handlers.register_event_handler(event.type, function)
    return handlers.handle(event, **LIBRARY)


def test_an_event_holds_its_arguments():
    event = Event("MOVE", 1, "up", speed=2.5)
    assert (event.type, event.handler_args, event.handler_kwargs) == ("MOVE", [1, "up"], {"speed": 2.5})
    assert repr(event) == "Event('MOVE', 1, 'up', speed=2.5)"
    assert event == Event("MOVE", 1, "up", speed=2.5)
    assert event != Event("MOVE", 1, "up")
    assert event != "MOVE"


def test_an_event_travels():
    event = Event("MOVE", (1, 2), b"x", where={"x": 1.5})
    arrived = Event.from_bytes(event.to_bytes())
    assert arrived == Event("MOVE", [1, 2], b"x", where={"x": 1.5})


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Event("X", 0, {"y": object()}), "args[1].y: object of type object cannot travel"),
        (Event("X", z={1}), "kwargs.z: object of type set cannot travel"),
        (Event("\ud800"), "event_type: text with a lone surrogate, which has no UTF-8 form"),
    ],
)
def test_what_cannot_travel_is_named(event, message):
    with pytest.raises(SerializationError) as error:
        event.to_bytes()
    assert str(error.value) == message


def test_whatever_can_be_sent_can_be_read():
    value = 0
    config = Config(max_depth=6, max_items=9)
    for _ in range(4):
        value = [value]
    assert Event.from_bytes(Event("X", value).to_bytes(config), config) == Event("X", value)
    with pytest.raises(SerializationError):
        Event("X", [value]).to_bytes(config)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        ["X", []],
        ["X", [], {}, 0],
        [1, [], {}],
        [b"X", [], {}],
        ["X", {}, {}],
        ["X", [], []],
        ["X", [], {1: 2}],
        {"type": "X"},
    ],
)
def test_other_values_are_no_events(value):
    with pytest.raises(DecodeError):
        Event.from_bytes(encode(value, config=Config()))


def test_many_items_are_refused_on_both_sides_and_many_bytes_are_not():
    config = Config(max_event_items=20)
    for value in (list(range(16)), b"x" * 100_000, {"a": [1] * 10, "b": "x" * 1000}):
        event = Event("X", value)
        assert Event.from_bytes(event.to_bytes(config), config) == event
    for value in (list(range(17)), [[], [[]]] * 8, {i: i for i in range(17)}):
        with pytest.raises(SerializationError, match=r"too many items \(Config.max_event_items\)"):
            Event("X", value).to_bytes(config)
        with pytest.raises(DecodeError, match="too many items"):
            Event.from_bytes(Event("X", value).to_bytes(), config)


@pytest.mark.parametrize(
    "body",
    [
        b"\xdd" + (990_000).to_bytes(4, "big") + b"\x90" * 990_000,
        b"\xdd" + (330_000).to_bytes(4, "big") + b"\x81\x01\x90" * 330_000,
        b"\xdd\x00\x00\x00\x64" + (b"\xdc\x27\x0f" + b"\xc0" * 9999) * 100,
    ],
    ids=["lists", "maps", "nils"],
)
def test_a_bomb_is_refused_before_it_is_built(body):
    data = b"\x92\xa1X" + body + b"\x80"
    data = b"\x93" + data[1:]
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="too many items"):
            Event.from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < len(data) + 1_000_000
    finally:
        tracemalloc.stop()


def test_the_type_is_read_without_the_arguments():
    for event_type in ("", "X", "x" * 31, "x" * 32, "ü" * 127):
        data = Event(event_type, [1, 2], a=3).to_bytes()
        assert Event.peek_type(data) == event_type
        assert Event.peek_type(data[: 3 + len(event_type.encode())]) == event_type
    for data in (b"", b"\x93", b"\x93\xa2X", b"\x93\xa1\xff", b"\x92\xa1X\x90", b"\x93\xc4\x01X\x90\x80"):
        with pytest.raises(DecodeError):
            Event.peek_type(data)


def test_the_length_of_a_type_is_bounded_on_both_sides():
    small, config = Config(max_event_type_bytes=10), Config()
    assert Event.from_bytes(Event("x" * 10).to_bytes(small), small).type == "x" * 10
    with pytest.raises(SerializationError, match="event_type: 12 bytes, more than the 10 of"):
        Event("ü" * 6).to_bytes(small)
    with pytest.raises(DecodeError):
        Event.from_bytes(Event("ü" * 6).to_bytes(config), small)
    with pytest.raises(SerializationError, match="event_type: 256 bytes"):
        Event("x" * 256).to_bytes()
    with pytest.raises(ArgumentError, match="max_event_type_bytes must be at most 255"):
        Config(max_event_type_bytes=256)


def test_a_copy_shares_no_container():
    event = Event.from_bytes(Event("X", [1, {"a": [2]}], b={"c": 3}).to_bytes())
    copy = event.copy()
    assert copy == event
    assert copy.size_bytes == event.size_bytes > 0
    copy.handler_args[0][1]["a"].append(4)
    copy.handler_kwargs["b"]["c"] = 5
    assert event == Event("X", [1, {"a": [2]}], b={"c": 3})


def test_other_bytes_are_no_events():
    with pytest.raises(DecodeError):
        Event.from_bytes(b"\xc1")


def test_an_event_type_is_text():
    with pytest.raises(ArgumentTypeError, match="an event type is a str, not int"):
        Event(1)
    with pytest.raises(ArgumentTypeError, match="an event type is a str, not NoneType"):
        UniversalEventHandler().register_event_handler(None, print)


def test_a_handler_gets_what_it_takes():
    class Game:
        def method(self, x, dt):
            return x, dt

        def __call__(self, x, *, client_address):
            return x, client_address

    address = LIBRARY["client_address"]
    assert handle(lambda x: x, Event("X", 1)) == 1
    assert handle(lambda x, client_address: (x, client_address), Event("X", 1)) == (1, address)
    assert handle(lambda x, **others: (x, others), Event("X", 1, y=2)) == (1, {"y": 2, **LIBRARY})
    assert handle(Game().method, Event("X", 1)) == (1, 0.1)
    assert handle(Game(), Event("X", 1)) == (1, address)
    assert handle(functools.partial(lambda x, y, game_state: (x, y, game_state), 1), Event("X", 2)) == (
        1,
        2,
        "state",
    )
    assert handle(max, Event("X", 1, 2)) == 2  # a builtin that tells no signature


def test_the_wire_cannot_give_the_library_s_arguments():
    forged = Event("X", 1, client_address="forged", game_state="forged", dt="forged", other=2)
    assert handle(lambda x, client_address, **others: (x, client_address, others), forged) == (
        1,
        ("127.0.0.1", 1),
        {"other": 2, "game_state": "state", "dt": 0.1},
    )
    handlers = UniversalEventHandler()
    handlers.register_event_handler("X", lambda x, dt=None, **others: (x, dt, others))
    assert handlers.handle(forged) == (1, None, {"other": 2})


def test_only_plain_functions_can_be_registered():
    async def coroutine_function():
        pass

    handlers = UniversalEventHandler()
    with pytest.raises(TypeError, match="'str' object is not callable"):
        handlers.register_event_handler("X", "not callable")
    with pytest.raises(ArgumentTypeError, match="is a coroutine function; handlers are plain functions"):
        handlers.register_event_handler("X", coroutine_function)
    assert not handlers.has_event_type("X")


def test_the_last_registration_counts_and_an_unknown_type_raises():
    handlers = UniversalEventHandler()
    handlers.register_event_handler("X", lambda: 1)
    handlers.register_event_handler("X", lambda: 2)
    assert handlers.has_event_type("X")
    assert handlers.handle(Event("X")) == 2
    with pytest.raises(ArgumentError, match="no handler is registered for events of type 'Y'"):
        handlers.handle(Event("Y"))


def test_registrations_in_several_threads_all_count():
    handlers = UniversalEventHandler()
    types = [[f"T{thread}.{number}" for number in range(300)] for thread in range(4)]

    def register(mine):
        for event_type in mine:
            handlers.register_event_handler(event_type, len)

    with switching_often():
        for thread in [run_natively(register, mine) for mine in types]:
            thread.wait(LIMIT_S)
    lost = [event_type for mine in types for event_type in mine if not handlers.has_event_type(event_type)]
    assert not lost


def test_a_handler_s_exception_is_raised():
    with pytest.raises(ZeroDivisionError):
        handle(lambda: 1 / 0, Event("X"))


@pytest.mark.parametrize(
    "function",
    [
        lambda *args, **kwargs: (args, kwargs),
        lambda *args, client_address: (args, client_address),
        lambda a, b=0, dt=None, game_state=None: (a, b, dt, game_state),
        lambda a, b: (a, b),
    ],
)
def test_the_game_loop_s_way_to_call_a_handler_is_the_same(function):
    handler = Handler(function)
    from_wire = {"b": 2, "client_address": "forged", "game_state": "forged", "dt": "forged"}
    mine = {"client_address": ("127.0.0.1", 7), "game_state": "state", "dt": 0.5}
    before = dict(from_wire)
    kwargs = {"b": 2} if "b" in function.__code__.co_varnames else {}
    for given in (kwargs, {**from_wire} if kwargs or function.__code__.co_flags & 8 else {}):
        once = handler([1], given, mine)
        assert handler.call_in_loop([1], given, *mine.values()) == once
        assert "forged" not in repr(once)
    assert from_wire == before


class Player:
    def move(self, a, dt, client_address):
        return self.__class__, a, dt, client_address

    @classmethod
    def meet(cls, a, game_state, dt=None):
        return cls, a, game_state, dt

    def __call__(self, a, client_address):
        return a, client_address


class Proxy:
    """Calls itself the bound method that it stands for, as wrapt's do."""

    def __init__(self, method):
        self.method = method

    @property
    def __class__(self):
        return type(self.method)

    @property
    def __func__(self):
        return self.method.__func__

    @property
    def __self__(self):
        return self.method.__self__

    def __call__(self, *args, client_address, dt):
        return args, client_address, dt


def gives_by_name(function):
    @functools.wraps(function)
    def wrapper(*args, client_address, **kwargs):
        return args, client_address, kwargs

    return wrapper


@pytest.mark.parametrize(
    "function",
    [
        lambda a, client_address: (a, client_address),
        lambda a, dt, game_state, client_address: (a, dt, game_state, client_address),
        lambda a, client_address=None, b=3: (a, client_address, b),
        lambda a, b=0, client_address=None: (a, b, client_address),
        lambda a, b=0, client_address=None, *, c=5: (a, b, client_address, c),
        lambda a, b=0, *, client_address=None: (a, b, client_address),
        lambda a, client_address="mine", /: (a, client_address),
        lambda client_address="mine", /, dt=None: (client_address, dt),
        lambda a, b=0: (a, b),
        lambda a, b, client_address: (a, b, client_address),
        lambda a, b, c, client_address: (a, b, c, client_address),
        lambda a, b, c, d, client_address: (a, b, c, d, client_address),
        lambda client_address: client_address,
        Player().move,
        Player.meet,
        Player(),
        gives_by_name(lambda a, client_address: None),
        gives_by_name(Player.move).__get__(Player()),
        Proxy(Player().move),
        functools.partial(lambda a, b, client_address: (a, b, client_address), b=4),
        functools.partial(lambda b, a, client_address: (a, b, client_address), 4),
    ],
)
def test_in_the_game_loop_the_library_s_arguments_go_where_they_belong(function):
    handler = Handler(function)
    mine = {"client_address": ("127.0.0.1", 7), "game_state": "state", "dt": 0.5}
    for args in ([1], [1, 2], [], [1, 2, 3], [1, 2, 3, 4]):
        given = list(args)
        try:
            once = handler(args, {}, mine)
        except TypeError as error:
            with pytest.raises(TypeError, match=re.escape(str(error)[:40])):
                handler.call_in_loop(args, {}, *mine.values())
        else:
            assert handler.call_in_loop(args, {}, *mine.values()) == once
        assert args == given


def test_a_method_that_forgot_its_self_can_be_registered_and_fails_when_it_is_called():
    class Game:
        def on_ping():  # type: ignore[misc]
            pass

    handler = Handler(Game().on_ping)
    with pytest.raises(TypeError, match="takes 0 positional arguments"):
        handler.call_in_loop([], {}, None, None, 0.1)


def test_a_builtin_can_be_registered_while_another_thread_parses(monkeypatch):
    def signature(function):
        raise SystemError("AST constructor recursion depth mismatch (before=91, after=94)")

    monkeypatch.setattr("inspect.signature", signature)
    handler = Handler(max)
    assert handler([1, 2], {}, {"client_address": None}) == 2
    assert handler.call_in_loop([1, 2], {}, None, None, 0.1) == 2
