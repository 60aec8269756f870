"""Pong's window: what is drawn, on SDL's dummy screen; and a real window under Xvfb, played with xdotool."""

from __future__ import annotations

import array
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")

import pygame

from demos.pong import panel, rules, sound
from demos.pong.bot import Bot
from demos.pong.canvas import Canvas
from demos.pong.network import PongClient
from demos.pong.painter import BALL, COLOURS, FIELD, Painter
from demos.pong.server import PongServer
from demos.pong.shared import STEP_S
from demos.pong.sprites import dimmed
from demos.pong.window import Window

FRAME_S = 1 / 60
LIMIT_S = 30.0
Pixel = tuple[int, int, int]


@contextmanager
def two_players(*names: str) -> Iterator[list[PongClient]]:
    """A real server on loopback, and players who are on it."""
    with ExitStack() as stack:
        backend = PongServer().backend
        backend.run_in_thread(interval=STEP_S)
        stack.callback(backend.shutdown)
        players = []
        for name in names:
            player = PongClient(name)
            stack.callback(player.client.disconnect)
            player.connect("127.0.0.1", backend.server.port or 0)
            players.append(player)
        yield players


@pytest.fixture
def players() -> Iterator[list[PongClient]]:
    with two_players("Ada", "Bob") as both:
        yield both


@pytest.fixture
def window(players: list[PongClient]) -> Iterator[Window]:
    window = Window(players[0], hint="to join: python -m demos.pong --join 192.0.2.1:12345", is_muted=True)
    yield window
    window.close()


def press(key: int) -> None:
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))


def frames_until(window: Window, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    window.frame(FRAME_S)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(FRAME_S)
        window.frame(FRAME_S)


def pixel(window: Window, place: tuple[int, int]) -> Pixel:
    red, green, blue, _ = window.surface.get_at(place)
    return red, green, blue


def share_of(surface: pygame.Surface, rect: pygame.Rect, colour: Pixel) -> float:
    """How much of a part of a picture has about that colour."""
    mask = pygame.mask.from_threshold(surface.subsurface(rect), colour, (24, 24, 24, 255))
    return mask.count() / (rect.width * rect.height)


# --- the dummy screen ---------------------------------------------------------------------------------


def test_paddles_ball_and_score_are_where_they_should_be(window: Window, players: list[PongClient]) -> None:
    scene = window.scene
    frames_until(window, lambda: scene.shown is not None and scene.countdown_s)
    for side in rules.SIDES:
        rect = window.painter.paddle_rect(side, scene.paddles[side])
        assert pixel(window, rect.center) == COLOURS[side]
        assert pixel(window, (rect.centerx, rect.top - 40)) != COLOURS[side]
    assert pixel(window, window.painter.place(*scene.ball)) == BALL
    # Nobody moves, so there will be a point; whose it is, is to be seen.
    frames_until(window, lambda: scene.shown and sum(scene.shown.score.values()) > 0)
    for side, x in (("left", 67.0), ("right", rules.WIDTH - 67.0)):
        score = pygame.Rect(0, 0, 80, 80)
        score.center = window.painter.place(x, 11.0)
        drawn = share_of(window.surface, score, dimmed(COLOURS[side], 0.75))
        assert 0.05 < drawn < 0.5
        digit = window.painter.sprites.text(str(scene.shown.score[side]), 15.0, dimmed(COLOURS[side], 0.75))
        expected = pygame.mask.from_surface(digit).count() / (80 * 80)
        assert abs(drawn - expected) < 0.06


def test_the_paddle_is_drawn_elsewhere_in_the_frame_of_the_key(window: Window) -> None:
    frames_until(window, lambda: window.scene.side == "left")
    before = window.painter.paddle_rect("left", window.scene.paddles["left"])
    for _ in range(8):
        press(pygame.K_s)
        window.frame(FRAME_S)
    after = window.painter.paddle_rect("left", window.scene.paddles["left"])
    assert after.y - before.y == pytest.approx(8 * FRAME_S * rules.PADDLE_SPEED * window.painter.scale, abs=2)
    assert pixel(window, (after.centerx, after.bottom - 10)) == COLOURS["left"]
    assert pixel(window, (after.centerx, before.top + 10)) != COLOURS["left"]
    press(pygame.K_UP)
    window.frame(FRAME_S)
    assert window.painter.paddle_rect("left", window.scene.paddles["left"]).y < after.y


def test_f1_shows_the_network_and_hides_it_again(window: Window) -> None:
    frames_until(window, lambda: window.scene.side == "left")
    where = pygame.Rect(window.painter.place(panel.LEFT + 2, panel.TOP + 1), (300, 100))
    assert share_of(window.surface, where, panel.SHADE) < 0.1
    press(pygame.K_F1)
    for _ in range(40):
        window.frame(FRAME_S)
        time.sleep(FRAME_S)
    assert share_of(window.surface, where, panel.SHADE) > 0.6
    graph = pygame.Rect(window.painter.place(panel.GRAPHS_X[0], panel.TOP + 5), (216, 110))
    assert share_of(window.surface, graph, panel.ROUND_TRIP) > 0
    press(pygame.K_F1)
    window.frame(FRAME_S)
    assert share_of(window.surface, where, panel.SHADE) < 0.1


def test_m_mutes_and_q_closes(window: Window) -> None:
    window.frame(FRAME_S)
    assert window.sounds.is_muted
    press(pygame.K_m)
    window.frame(FRAME_S)
    assert not window.sounds.is_muted
    press(pygame.K_q)
    window.frame(FRAME_S)
    assert window.is_closed


class Notebook(Painter):
    """A painter that remembers what it wrote where."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(size)
        self.written: dict[str, pygame.Rect] = {}

    def text(self, canvas: Canvas, text: str, *place: object, **how: object) -> pygame.Rect:
        rect = super().text(canvas, text, *place, **how)  # type: ignore[arg-type]
        if text:
            self.written[text] = rect
        return rect


def test_no_text_lies_on_another_one_at_any_size() -> None:
    with two_players("Wilhelmina Wagne", "Maximilian Mustermann") as both:
        for size in ((640, 360), (1000, 400), (1280, 960), (1920, 1080)):
            for shows_panel in (False, True):
                check_texts(both[0], size, shows_panel)


def check_texts(player: PongClient, size: tuple[int, int], shows_panel: bool) -> None:
    window = Window(player, hint="to join: python -m demos.pong --join 192.168.100.200:65535", size=size)
    window.painter = notebook = Notebook(size)
    window.shows_panel = shows_panel
    fewest = 10 if shows_panel else 6
    frames_until(window, lambda: window.scene.side == "left" and len(notebook.written) >= fewest)
    notebook.written.clear()  # of one picture only
    window.frame(FRAME_S)
    window.close()
    texts = list(notebook.written.items())
    assert len(texts) >= fewest
    for index, (text, rect) in enumerate(texts):
        assert notebook.field.contains(rect), text
        for other_text, other in texts[index + 1 :]:
            assert not rect.colliderect(other), (text, other_text)


def test_drawing_only_what_changes_shows_the_same_as_drawing_all() -> None:
    pygame.display.init()
    surface = pygame.display.set_mode((320, 180))
    background = pygame.Surface((320, 180))
    background.fill(FIELD)
    canvas = Canvas(surface, background)
    random = Random(1)
    for number in range(60):
        canvas.begin()
        everything = Canvas(pygame.Surface((320, 180)), background)
        everything.begin()
        for _ in range(number % 9):
            place = (random.randrange(-20, 340), random.randrange(-20, 200))
            size = random.randrange(1, 60)
            for each in (canvas, everything):
                each.circle(COLOURS["left"], place, size, size % 3)
                each.fill((20, 20, 20), pygame.Rect(place, (size, 9)), pygame.BLEND_RGB_ADD)
                each.lines(BALL, [place, (size, size), (160, 90)], 2)
                each.box(COLOURS["right"], pygame.Rect(place, (9, size)), 0, 4)
        canvas.show()
        assert surface.get_buffer().raw == everything.surface.get_buffer().raw
        if number == 30:
            surface.fill((0, 0, 0))  # as when another window lay on it
            canvas.spoil()
    pygame.quit()


def test_another_size_of_the_window_is_filled(window: Window) -> None:
    frames_until(window, lambda: window.scene.side == "left")
    window.surface = pygame.display.set_mode((640, 360), pygame.RESIZABLE)
    pygame.event.post(pygame.event.Event(pygame.VIDEORESIZE, size=(640, 360), w=640, h=360))
    window.frame(FRAME_S)
    assert window.painter.size == (640, 360)
    rect = window.painter.paddle_rect("left", window.scene.paddles["left"])
    assert pixel(window, rect.center) == COLOURS["left"]
    assert pixel(window, (330, 20)) == FIELD


def test_f11_fills_the_screen_and_gives_the_window_back(window: Window) -> None:
    frames_until(window, lambda: window.scene.side == "left")
    desktop = pygame.display.get_desktop_sizes()[0]
    for size in (desktop, (960, 540), desktop):
        press(pygame.K_F11)
        window.frame(FRAME_S)
        assert window.surface.get_size() == window.painter.size == size
        rect = window.painter.paddle_rect("left", window.scene.paddles["left"])
        assert pixel(window, rect.center) == COLOURS["left"]


def test_beside_a_field_of_another_shape_it_is_dark() -> None:
    pygame.display.init()
    painter = Painter((1000, 400))
    assert painter.field.size == (711, 400) and painter.field.centerx == pytest.approx(500, abs=1)
    pygame.quit()


def test_where_sdl_finds_no_screen_nobody_plays_unseen() -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY")
    }
    command = [sys.executable, "-m", "demos.pong", "--view", "window", "--port", "0", "--seconds", "20"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL
    )
    assert done.returncode != 0
    assert "no window can be opened" in done.stderr and "--view terminal" in done.stderr


def test_spectators_and_the_queue_are_drawn_without_a_seat(players: list[PongClient]) -> None:
    with ExitStack() as stack:
        third = PongClient("Max")
        stack.callback(third.client.disconnect)
        port = (players[0].client.connection.remote_address or ("", 0))[1]
        third.connect("127.0.0.1", port)
        window = Window(third, is_muted=True)
        stack.callback(window.close)
        window.painter = notebook = Notebook(window.surface.get_size())
        frames_until(window, lambda: "next: you" in notebook.written)
        assert window.scene.side is None
        press(pygame.K_s)
        before = dict(window.scene.paddles)
        window.frame(FRAME_S)
        assert window.scene.paddles == before


def test_a_bot_plays_in_the_window_and_the_report_says_how_smooth_it_was(players: list[PongClient]) -> None:
    hand = threading.Thread(target=Bot().play, args=(players[1], 1.5))
    hand.start()
    window = Window(players[0], bot=Bot(), is_muted=True)
    window.run(1.5)
    assert "window 960 x 540 (dummy): " in window.report() and "process CPU" in window.report()
    window.close()
    hand.join()


# --- sound --------------------------------------------------------------------------------------------


def test_tones_are_heard_and_do_not_overflow() -> None:
    for frequencies, seconds in sound.TONES.values():
        samples = array.array("h", sound.wave(frequencies, seconds))
        assert len(samples) == len(frequencies) * round(sound.RATE_HZ * seconds)
        assert 3_000 < max(samples) < 32_767 and samples[0] == 0 and abs(samples[-1]) < 100


def test_without_an_audio_device_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    pygame.mixer.quit()
    monkeypatch.setenv("SDL_AUDIODRIVER", "no such driver")
    sounds = sound.Sounds()
    assert not sounds.has_device
    sounds.play([], is_serve=True)
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    sounds = sound.Sounds()
    assert sounds.has_device
    sounds.play([], is_serve=True)
    assert pygame.mixer.get_busy()
    pygame.mixer.quit()


# --- a real window ------------------------------------------------------------------------------------

missing = [tool for tool in ("Xvfb", "xdotool") if shutil.which(tool) is None]


class Screen:
    """An X server of our own, and what is to be seen on it."""

    def __init__(self, directory: Path) -> None:
        self._picture = directory / "Xvfb_screen0"
        read, write = os.pipe()
        command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "960x540x24", "-nolisten", "tcp"]
        self.process = subprocess.Popen(
            [*command, "-fbdir", str(directory)], pass_fds=[write], stderr=subprocess.DEVNULL
        )
        os.close(write)
        with open(read) as numbers:
            self.environment = {
                **{name: value for name, value in os.environ.items() if name != "SDL_VIDEODRIVER"},
                "DISPLAY": ":" + numbers.readline().strip(),
            }

    def xdotool(self, *arguments: str) -> str:
        command = ["xdotool", *arguments]
        run = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=LIMIT_S)
        return run.stdout

    def window(self, title: str) -> str:
        """The number of the window with this title."""
        numbers = self.xdotool("search", "--class", ".*").split()
        return next(each for each in numbers if self.xdotool("getwindowname", each).strip() == title)

    def picture(self) -> pygame.Surface:
        """The screen now: an XWD file, whose head is 25 numbers."""
        data = self._picture.read_bytes()
        head = struct.unpack(">25I", data[:100])
        width, height, line_bytes, start = head[4], head[5], head[12], head[0] + 12 * head[19]
        pixels = data[start : start + line_bytes * height]
        return pygame.image.frombuffer(pixels, (width, height), "BGRA", line_bytes)


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    screen = Screen(tmp_path)
    yield screen
    screen.process.terminate()
    screen.process.wait()


def left_paddle(screen: Screen) -> float | None:
    """The middle of the left paddle on the screen, in pixels; None if there is none."""
    picture = screen.picture()
    column = Painter((960, 540)).paddle_rect("left", 45.0).centerx
    colour = (*COLOURS["left"], 255)
    rows = [row for row in range(540) if (*picture.get_at((column, row))[:3], 255) == colour]
    return sum(rows) / len(rows) if len(rows) > 60 else None


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
def test_a_real_window_is_played_with_real_keys(screen: Screen) -> None:
    command = [sys.executable, "-m", "demos.pong", "--name", "Zoe", "--lossy", "2%,20ms,5ms", "--report"]
    game = subprocess.Popen(command, env=screen.environment, stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: left_paddle(screen), "a paddle on the screen")
        screen.xdotool("windowfocus", "--sync", screen.window("pong"))
        middle = left_paddle(screen)
        assert middle is not None
        screen.xdotool("keydown", "s")
        wait_for(lambda: (left_paddle(screen) or 0) > middle + 100, "the paddle down")
        screen.xdotool("keyup", "s", "keydown", "Up")
        wait_for(lambda: (left_paddle(screen) or 999) < middle - 100, "the paddle up")
        screen.xdotool("keyup", "Up")
        shade = pygame.Rect(Painter((960, 540)).place(panel.LEFT + 2, panel.TOP + 1), (300, 100))
        assert share_of(screen.picture(), shade, FIELD) > 0.5
        screen.xdotool("key", "F1")
        wait_for(lambda: share_of(screen.picture(), shade, panel.SHADE) > 0.6, "the network panel")
        screen.xdotool("key", "q")
        output, _ = game.communicate(timeout=LIMIT_S)
    finally:
        game.kill()
        game.wait()
    assert game.returncode == 0
    assert "to join: python -m demos.pong --join " in output
    assert "window 960 x 540 (x11): " in output and "Zoe (left): round trip " in output
