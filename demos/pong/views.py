"""Which view of the game there is, and showing it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys

from demos.pong.bot import Bot
from demos.pong.network import PongClient
from demos.processes import NotStartedError, has_terminal


class ViewError(NotStartedError):
    """The game cannot be shown, or reached; the message says why."""


def choose_view(wanted: str | None) -> str:
    """The view that was asked for, or the best that this machine has: "window", "terminal" or "headless".

    Raises:
        ViewError: what was asked for cannot be.
    """
    if wanted == "window" and importlib.util.find_spec("pygame") is None:
        raise ViewError("--view window needs pygame-ce: pip install pygame-ce, or --view terminal")
    if wanted == "terminal" and importlib.util.find_spec("_curses") is None:
        raise ViewError("this Python has no curses, which --view terminal needs")
    if wanted == "terminal" and not has_terminal():
        raise ViewError("--view terminal needs a terminal")
    if wanted is not None:
        return wanted
    if _has_screen() and importlib.util.find_spec("pygame") is not None:
        return "window"
    if has_terminal() and importlib.util.find_spec("_curses") is not None:
        return "terminal"
    return "headless"


def show(view: str, player: PongClient, hint: str, bot: Bot | None, arguments: argparse.Namespace) -> None:
    """Shows the game until it is over.

    Raises:
        ViewError: it cannot be shown in the way asked for.
    """
    seconds = arguments.seconds or 0.0
    if view == "window":
        _show_window(player, hint, bot, arguments)
    elif view == "terminal":
        from demos.pong import terminal

        terminal.play(player, hint, bot, seconds)
    else:
        (bot or Bot()).play(player, 10.0 if arguments.seconds is None else seconds)


def _show_window(player: PongClient, hint: str, bot: Bot | None, arguments: argparse.Namespace) -> None:
    from demos.pong.window import Window, WindowError

    try:
        window = Window(player, hint, bot, size=arguments.size, is_muted=arguments.muted)
    except WindowError as error:
        raise ViewError(f"no window can be opened ({error}); try --view terminal") from None
    try:
        window.run(arguments.seconds or 0.0)
        if arguments.report:
            print(window.report())
    finally:
        window.close()


def _has_screen() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
