"""What was said: the last lines of each room, in memory and in a file that outlives the server.

A line is written before anybody sees it, so a server that is killed and started again knows all that
anybody saw. The file is append-only, one JSON object a line:

    {"heard": {id: number}, "lines": [[log, *the fields of a Line], ...]}

`heard` is the author's own number of what was said: when a client says it again because it does not
know whether it was heard, it is not said twice. A log is a room, or somebody's private messages.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from demos.chat.shared import PAGE, Line

logger = logging.getLogger(__name__)

KEPT_LINES = 1000
"""Lines kept of each log: what may be missed while away."""
MAX_LOGS = 1000
"""Logs kept, and authors' numbers four times as many; of more the ones quiet for longest are forgotten."""
MAX_RECORDS = 50_000
"""Records in the file, after which it is written anew with what is kept."""
MAX_NUMBER = 2**53
"""Of a line, and of what an author said."""
MAX_TIME = 2.0**40
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Transcript:
    """The logs, and the last number heard of each author.

    Args:
        path: the file; `None` keeps everything in memory only.

    Raises:
        OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._file = -1
        self._records = 0
        self._logs: OrderedDict[str, _Log] = OrderedDict()
        self._heard: OrderedDict[str, int] = OrderedDict()
        # The number before the first one of a log that is not kept. It begins with the clock and goes past
        # the numbers of each log that is forgotten, so those of a log made anew were never seen before.
        self._before_first = int(time.time() * 1000)
        if path is not None:
            self._open(path)

    def add(self, author_id: str, heard: int, lines: Iterable[tuple[str, Line]]) -> list[Line]:
        """Keeps what an author said with one number, in one or two logs; returns the numbered lines.

        Raises:
            OSError: it could not be written, and is not kept.
        """
        numbered = [(log, line._replace(number=self.last(log) + 1)) for log, line in lines]
        self._write({"heard": {author_id: heard}, "lines": [[log, *line] for log, line in numbered]})
        self.has_heard(author_id, heard)
        for log, line in numbered:
            self._keep(log, line)
        if self._records > MAX_RECORDS:
            self._write_anew()
        return [line for _, line in numbered]

    def heard(self, author_id: str) -> int:
        """The last number that was heard of this author."""
        return self._heard.get(author_id, 0)

    def has_heard(self, author_id: str, number: int) -> None:
        """Nothing up to this number of this author will be heard again."""
        self._heard[author_id] = max(number, self.heard(author_id))
        self._heard.move_to_end(author_id)
        if len(self._heard) > 4 * MAX_LOGS:
            self._heard.popitem(last=False)

    def last(self, log: str) -> int:
        """The number of the last line of a log."""
        return self._logs[log].last if log in self._logs else self._before_first

    def lines(self, log: str, after: int | None) -> list[Line]:
        """A page of a log: from the line after this number on, or its end."""
        lines = list(self._logs[log].lines) if log in self._logs else []
        return lines[-PAGE:] if after is None else [line for line in lines if line.number > after][:PAGE]

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _keep(self, name: str, line: Line) -> None:
        log = self._logs.setdefault(name, _Log())
        log.lines.append(line)
        log.last = line.number
        self._logs.move_to_end(name)
        if len(self._logs) > MAX_LOGS:
            _, forgotten = self._logs.popitem(last=False)
            self._before_first = max(self._before_first, forgotten.last)

    # --- the file -----------------------------------------------------------------------------------------

    def _open(self, path: Path) -> None:
        check_writable(path)
        self._file = _open_privately(path, _APPEND)
        data = path.read_bytes()
        bad = 0
        for record in data.splitlines():
            self._records += 1
            bad += not self._take(record)
        if bad:
            logger.warning("%d records of the transcript %s cannot be read, and are passed over", bad, path)
        if data and not data.endswith(b"\n"):  # the machine died while this was written
            os.write(self._file, b"\n")

    def _take(self, record: bytes) -> bool:
        """Whether it is one: half a record, for example, is none, and nobody saw it."""
        try:
            fields: dict[str, Any] = json.loads(record)
            numbered = [(_text(log), _line(*line)) for log, *line in fields["lines"]]
            heard = {_text(author_id): _number(number) for author_id, number in fields["heard"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False
        for author_id, number in heard.items():
            self.has_heard(author_id, number)
        for log, line in numbered:
            self._keep(log, line)
        return True

    def _write(self, record: dict[str, Any]) -> None:
        # One write for one record, so being killed leaves it whole or not there. It is in the kernel then,
        # which is enough for the death of a process; a power cut may take the last seconds with it.
        if self._file >= 0:
            data = _encoded(record)
            if os.write(self._file, data) != len(data):
                raise OSError(f"no room for the transcript {self._path}")
            self._records += 1

    def _write_anew(self) -> None:
        assert self._path is not None
        anew = self._path.with_suffix(".new")
        records: list[dict[str, Any]] = [{"heard": dict(self._heard), "lines": []}]
        records += [
            {"heard": {}, "lines": [[name, *line] for line in log.lines]} for name, log in self._logs.items()
        ]
        anew.unlink(missing_ok=True)
        with open(anew, "xb", opener=_open_privately) as output:
            output.writelines(map(_encoded, records))
        self.close()
        os.replace(anew, self._path)
        self._file, self._records = _open_privately(self._path, _APPEND), len(records)


def check_writable(path: Path) -> None:
    """Raises `OSError` if there cannot be a transcript here."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(_open_privately(path, _APPEND))


class _Log:
    """The last lines of one log."""

    def __init__(self) -> None:
        self.lines: deque[Line] = deque(maxlen=KEPT_LINES)
        self.last = 0


def _line(*fields: Any) -> Line:
    """A line of the file. Raises `TypeError` or `ValueError` if it is none."""
    line = Line(*fields)
    for text in (line.room, line.kind, line.author, line.text, line.to):
        _text(text)
    for number in (line.number, line.said):
        _number(number)
    if not isinstance(line.time, int | float) or not 0 <= line.time < MAX_TIME:
        raise ValueError("no time")
    return line


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError("no text")
    return text


def _number(number: object) -> int:
    if not isinstance(number, int) or not 0 <= number <= MAX_NUMBER:
        raise ValueError("no number")
    return number


def _open_privately(path: str | Path, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _encoded(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
