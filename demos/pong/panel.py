"""The network panel (F1): figures of the line, its round trip over time, and two views of one paddle."""

from __future__ import annotations

import pygame

from demos.pong import rules
from demos.pong.canvas import Canvas
from demos.pong.meter import HISTORY, Meter
from demos.pong.painter import COLOURS, TEXT, Painter
from demos.pong.scene import Scene

LEFT, TOP, WIDTH, HEIGHT = 12.0, 61.0, 136.0, 25.0
PADDING = 2.0
LINE_HEIGHT = 3.7
TEXT_SIZE, LABEL_SIZE = 3.0, 2.7
GRAPHS_X = (70.0, 110.0)
GRAPH_WIDTH, GRAPH_HEIGHT = 36.0, 16.5
SHADE = (6, 9, 20)
FRAME = (30, 38, 66)
ROUND_TRIP = (255, 200, 87)
SERVER = (130, 255, 170)
_Line = tuple[list[float], tuple[int, int, int]]


def draw_panel(canvas: Canvas, painter: Painter, scene: Scene, meter: Meter) -> None:
    """Draws the panel on the field, and in green where the server, by its newest state, has what moves."""
    shade = pygame.Rect(painter.place(LEFT, TOP), (WIDTH * painter.scale, HEIGHT * painter.scale))
    canvas.box(SHADE, shade, radius=round(1.5 * painter.scale))
    for row, line in enumerate(meter.lines()):
        y = TOP + PADDING + LINE_HEIGHT * row
        painter.text(canvas, line, LEFT + PADDING, y, TEXT_SIZE, TEXT, "topleft")
    top_ms = max(50.0, *meter.round_trips_ms, 0.0)
    shares = [value / top_ms for value in meter.round_trips_ms]
    _graph(canvas, painter, 0, f"round trip, to {top_ms:.0f} ms", [(shares, ROUND_TRIP)])
    if meter.paddle:
        drawn = [1.0 - place / rules.HEIGHT for place, _ in meter.paddle]
        server = [1.0 - place / rules.HEIGHT for _, place in meter.paddle]
        lines = [(server, SERVER), (drawn, COLOURS[scene.side or ""])]
        _graph(canvas, painter, 1, "paddle here, green: server", lines)
    _draw_servers_view(canvas, painter, scene)


def _graph(
    canvas: Canvas,
    painter: Painter,
    number: int,
    label: str,
    lines: list[_Line],
) -> None:
    """Lines over time, each value a share of the graph's height; the newest stands right."""
    x, y = GRAPHS_X[number], TOP + PADDING
    painter.text(canvas, label, x, y, LABEL_SIZE, lines[-1][1], "topleft")
    corner = painter.place(x, y + LINE_HEIGHT)
    frame = pygame.Rect(corner, (GRAPH_WIDTH * painter.scale, GRAPH_HEIGHT * painter.scale))
    canvas.box(FRAME, frame, 1)
    inner = frame.inflate(-4, -4)
    step = inner.width / (HISTORY - 1)
    for shares, colour in lines:
        first = inner.right - step * (len(shares) - 1)
        points = [
            (first + step * index, inner.bottom - inner.height * min(1.0, max(0.0, share)))
            for index, share in enumerate(shares)
        ]
        if len(points) > 1:
            canvas.lines(colour, points, max(1, round(0.3 * painter.scale)))


def _draw_servers_view(canvas: Canvas, painter: Painter, scene: Scene) -> None:
    """Outlines of own paddle and ball where the newest state has them."""
    game = scene.game
    if game is None:
        return
    thickness = max(1, round(0.25 * painter.scale))
    if scene.side is not None:
        rect = painter.paddle_rect(scene.side, game.paddles[scene.side]["y"])
        rect.inflate_ip(2 * thickness, 2 * thickness)
        canvas.box(SERVER, rect, thickness, rect.width // 2)
    if all(game.seats.values()):
        centre = painter.place(game.ball["x"], game.ball["y"])
        canvas.circle(SERVER, centre, max(3, round(1.7 * painter.scale)), thickness)
