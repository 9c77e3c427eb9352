"""Changes that a client has asked one process for and that all of them make. Knows no model."""

from itertools import count

from dragoman.supervisor.messages import Message
from dragoman.supervisor.process import Process


class Changes:
    """Passes changes on, and tells who asked when all others have made them."""

    def __init__(self) -> None:
        self.made: list[list[str]] = []  #: actions and names, oldest first, for processes that start later
        self._serials = count(1)
        self._open: dict[int, _Change] = {}

    def tell(self, asker: Process, message: Message, others: list[Process]) -> None:
        """``asker`` has made a change: let the others make it."""
        action, name = message["action"], message["name"]
        # Of one name the last word counts.
        self.made = [each for each in self.made if each[1] != name] + [[action, name]]
        serial = next(self._serials)
        change = self._open[serial] = _Change(asker, message["serial"], set(others))
        for other in others:
            other.send("told", serial=serial, action=action, name=name)
        self._close(serial, change)

    def done(self, process: Process, message: Message) -> None:
        """One of the others has made it, or could not."""
        change = self._open.get(message["serial"])
        if change is None or process not in change.waiting:
            return
        change.waiting.discard(process)
        if message["failure"]:
            change.failures.append(message["failure"])
        self._close(message["serial"], change)

    def bury(self, process: Process) -> None:
        """A process is gone: nobody waits for it. The one that takes its place begins with what was made."""
        for serial, change in list(self._open.items()):
            change.waiting.discard(process)
            self._close(serial, change)

    def _close(self, serial: int, change: "_Change") -> None:
        if not change.waiting and self._open.pop(serial, None) is not None:
            change.asker.send("followed", serial=change.serial, failures=change.failures)


class _Change:
    def __init__(self, asker: Process, serial: int, waiting: set[Process]) -> None:
        self.asker, self.serial, self.waiting = asker, serial, waiting
        self.failures: list[str] = []
