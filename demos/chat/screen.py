"""The chat on a full screen: messages, rooms and people, a line to type into, a line of figures."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import (
    BufferControl,
    CompletionsMenu,
    ConditionalContainer,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    VSplit,
    Window,
)
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth

from demos.chat import rules
from demos.chat.client import ChatClient
from demos.chat.commands import Commands
from demos.chat.completion import ChatCompleter
from demos.chat.conversations import Conversations
from demos.chat.drawing import MessagePane, colour_of, title_of
from demos.chat.shared import PRIVATE, Line

QUIT_TIMEOUT_S = 2.0
REFRESH_S = 0.25
SIDEBAR_COLUMNS, SIDEBAR_FROM_COLUMNS = 20, 60
MAX_SHOWN_TYPING = 3

STYLE = Style.from_dict(
    {
        "bar": "bg:ansibrightblack fg:ansiwhite",
        "side": "",
        "heading": "fg:ansibrightblack",
        "front": "bold",
        "unread": "bold fg:ansiyellow",
        "called": "bold fg:ansibrightred",
        "time": "fg:ansibrightblack",
        "notice": "italic fg:ansibrightblack",
        "typing": "italic fg:ansibrightblack",
        "line": "fg:ansibrightblack",
        "good": "fg:ansibrightgreen",
        "bad": "fg:ansibrightyellow",
    }
)


class ChatScreen:
    """Shows what is said and says what is typed.

    What comes from other threads waits in `_todo` for the screen's own, which takes it before it draws.

    Args:
        name: as the user wants to be called.
        hints: shown at the beginning.

    Attributes:
        client: the user's connection.
    """

    def __init__(self, name: str, *hints: str) -> None:
        self.client = ChatClient(name, lambda line, is_old: self._do(lambda: self._add(line, is_old)))
        self._hints = hints
        self._conversations = Conversations()
        self._todo: deque[Callable[[], None]] = deque()
        self._typed: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._commands = Commands(
            self.client,
            show_history=lambda line: self._do(lambda: self._add(line, True)),
            go=lambda place: self._do(lambda: self._conversations.go(place)),
            close=lambda place: self._do(lambda: self._conversations.close(place)),
        )
        self._input = Buffer(
            multiline=False,
            history=InMemoryHistory(),
            completer=ChatCompleter(self.client),
            complete_while_typing=Condition(lambda: self._input.text.startswith("/")),
            accept_handler=self._accept,
            on_text_changed=self._say_who_types,
        )
        self._input_window = Window(
            BufferControl(self._input), height=1, get_horizontal_scroll=lambda window: self._columns_left()
        )
        self._pane = MessagePane(lambda: self._conversations.front, lambda: self.client.name)
        self._app: Application[None] = Application(
            Layout(self._layout(), self._input_window),
            key_bindings=self._keys(),
            style=STYLE,
            full_screen=True,
            refresh_interval=REFRESH_S,
            before_render=lambda _: self._catch_up(),
        )

    def run(self, host: str, port: int) -> None:
        """Chats until the user has enough.

        Raises:
            ConnectionError: there is no connection, or not everything was heard at the end.
        """
        # What the library has to say would be written across the screen; the screen says it in its own way.
        logging.getLogger("pygase_gevent").addHandler(logging.NullHandler())
        try:
            self.client.connect(host, port)
            for hint in self._hints:
                self.client.notice(hint)
            obeying = threading.Thread(target=self._obey, daemon=True)
            obeying.start()
            self._app.run()
            self._typed.put(None)
            obeying.join(QUIT_TIMEOUT_S)
            if not self.client.quit(QUIT_TIMEOUT_S):
                raise ConnectionError(f"{self.client.unsent} lines were not heard by the server")
        finally:
            self.client.disconnect()

    # --- other threads --------------------------------------------------------------------------------------

    def _do(self, job: Callable[[], None]) -> None:
        self._todo.append(job)
        self._app.invalidate()

    def _obey(self) -> None:
        while (typed := self._typed.get()) is not None:
            self._commands.do(*typed)

    # --- the screen's thread --------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        while self._todo:
            self._todo.popleft()()

    def _add(self, line: Line, is_old: bool) -> None:
        self._pane.keep_in_place(line, self._conversations)
        if self._conversations.add(line, is_old, self.client.name):
            self._app.output.bell()

    def _accept(self, buffer: Buffer) -> bool:
        for line in buffer.text.splitlines():  # of what is pasted each is one
            if line.strip() == "/quit":
                self._end()
            else:
                self._typed.put((line, self._conversations.place))
        self._conversations.front.rows_up = 0
        return False

    def _end(self) -> None:
        if self._app.is_running and not self._app.is_done:  # whoever is in a hurry says it twice
            self._app.exit()

    def _columns_left(self) -> int:
        """How much of a long line stands left of the screen: as little as may be."""
        drawn = self._input_window.render_info
        columns = drawn.window_width if drawn else self._app.output.get_size().columns
        return max(0, get_cwidth(self._input.document.text_before_cursor) + 1 - columns)

    def _say_who_types(self, buffer: Buffer) -> None:
        place = self._conversations.place
        is_said = buffer.text and not buffer.text.startswith("/") and not place.startswith(PRIVATE)
        self.client.type(place if is_said else "")

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c")
        @keys.add("<sigint>")
        @keys.add("c-d", filter=Condition(lambda: not self._input.text))
        def _(event: KeyPressEvent) -> None:
            self._end()

        @keys.add("f1")
        def _(event: KeyPressEvent) -> None:
            self._typed.put(("/help", self._conversations.place))

        @keys.add("pageup")
        def _(event: KeyPressEvent) -> None:
            self._pane.scroll(+1)

        @keys.add("pagedown")
        def _(event: KeyPressEvent) -> None:
            self._pane.scroll(-1)

        @keys.add("c-n")
        def _(event: KeyPressEvent) -> None:
            self._conversations.go_on(+1)

        @keys.add("c-p")
        def _(event: KeyPressEvent) -> None:
            self._conversations.go_on(-1)

        for number in range(1, 10):

            @keys.add("escape", str(number))
            def _(event: KeyPressEvent, number: int = number) -> None:
                places = self._conversations.places()
                if number <= len(places):
                    self._conversations.go(places[number - 1])

        return keys

    def _layout(self) -> FloatContainer:
        def row(draw: Callable[[], StyleAndTextTuples], style: str = "") -> Window:
            return Window(FormattedTextControl(draw), height=1, style=style)

        has_room = Condition(lambda: self._app.output.get_size().columns >= SIDEBAR_FROM_COLUMNS)
        sidebar = VSplit(
            [
                Window(width=1, char="\u2502", style="class:line"),
                Window(FormattedTextControl(self._draw_sidebar), width=SIDEBAR_COLUMNS),
            ]
        )
        prompt = FormattedTextControl(lambda: f"{title_of(self._conversations.place)}> ")
        typed = VSplit([Window(prompt, height=1, dont_extend_width=True), self._input_window])
        rows = HSplit(
            [
                row(self._draw_title, "class:bar"),
                VSplit([Window(self._pane), ConditionalContainer(sidebar, has_room)]),
                row(self._draw_typing, "class:typing"),
                typed,
                row(self._draw_status, "class:bar"),
            ]
        )
        menu = Float(CompletionsMenu(max_height=8), xcursor=True, ycursor=True)
        return FloatContainer(rows, [menu])

    # --- drawing --------------------------------------------------------------------------------------------

    def _draw_title(self) -> StyleAndTextTuples:
        place = self._conversations.place
        count = len(rules.members(self.client.users(), place))
        people = "" if place.startswith(PRIVATE) else f"  {count} {'person' if count == 1 else 'people'}"
        return [("bold", f" {title_of(place)}"), ("", people)]

    def _draw_sidebar(self) -> StyleAndTextTuples:
        drawn: StyleAndTextTuples = [("class:heading", " rooms\n")]
        for place in self._conversations.places():
            conversation = self._conversations[place]
            is_front = place == self._conversations.place
            style = "class:front" if is_front else "class:unread" if conversation.unread else ""
            drawn.append((style, f" {'>' if is_front else ' '}{title_of(place)}"))
            if conversation.unread:
                drawn.append(("class:called" if conversation.is_called else style, f" {conversation.unread}"))
                drawn.append(("class:called", "!" if conversation.is_called else ""))
            drawn.append(("", "\n"))
        drawn.append(("class:heading", "\n people\n"))
        users = self.client.users()
        ids = rules.members(users, self._conversations.place)
        for user in sorted((users[user_id] for user_id in ids), key=lambda user: user["name"].casefold()):
            name = rules.clean(user["name"])
            drawn.append((colour_of(name) if user["is_here"] else "class:notice", f"  {name}"))
            drawn.append(("class:notice", "" if user["is_here"] else " (lost)"))
            drawn.append(("class:typing", " \u2026\n" if user["typing"] else "\n"))
        return drawn

    def _draw_typing(self) -> StyleAndTextTuples:
        rows_up = self._conversations.front.rows_up
        if rows_up:
            return [("class:unread", f" {rows_up} rows below: PageDown")]
        names = [
            rules.clean(user["name"])
            for user in self.client.users().values()
            if user["typing"] == self._conversations.place and user["name"] != self.client.name
        ]
        if not names or self.client.status()[0] != "connected":
            return []
        if len(names) > MAX_SHOWN_TYPING:
            return [("", f" {len(names)} people are typing\u2026")]
        return [("", f" {' and '.join(sorted(names))} {'is' if len(names) == 1 else 'are'} typing\u2026")]

    def _draw_status(self) -> StyleAndTextTuples:
        word, round_trip_s, loss = self.client.status()
        figures = f"  round trip {round_trip_s * 1000:.0f} ms  loss {loss:.0%}" if word == "connected" else ""
        unsent = self.client.unsent
        return [
            ("class:good" if word == "connected" else "class:bad", f" \u25cf {word}"),
            ("", figures),
            ("class:bad", f"  {unsent} unsent" if unsent else ""),
            ("", f"  you are {self.client.name}  F1 help"),
        ]
