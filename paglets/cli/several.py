"""One command for several things: what fails is told, the others go on, and the first failure is the exit code."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from paglets.cli.failures import exit_code, show_error
from paglets.cli.session import Session
from paglets.errors import PagletError, UnavailableError

__all__ = ["Several"]


class Several:
    """So many things to do; each is done in the context `one`."""

    def __init__(self, session: Session, count: int) -> None:
        self._session = session
        self.count = count
        self.done = 0
        self.failures = list[PagletError | OSError]()

    @contextmanager
    def one(self, what: str, aside: Callable[[], AbstractContextManager[None]] = nullcontext) -> Generator[None]:
        """Does one of them: an error inside is shown, and what it is about if they are several, and goes no further.

        What is drawn on the terminal meanwhile is out of the way in the context `aside`.
        """
        try:
            yield
        except (PagletError, OSError) as error:
            with aside():
                self.fail(error, what)
        else:
            self.done += 1

    def fail(self, error: PagletError | OSError, what: str = "") -> None:
        """Shows an error and keeps it."""
        show_error(self._session, error, about=what if self.count > 1 else "")
        self.failures.append(error)

    @property
    def is_hopeless(self) -> bool:
        """Whether the rest would fail alike: the host is not there, for longer than anybody waits."""
        return bool(self.failures) and isinstance(self.failures[-1], UnavailableError)

    @property
    def code(self) -> int:
        """What the command ends with."""
        return exit_code(self.failures[0]) if self.failures else 0

    def summary(self, verb: str) -> str:
        """How it went, e.g. `3 of 5 stored, 1 failed, 1 not tried`."""
        failed = len(self.failures)
        left = max(self.count - self.done - failed, 0)
        return f"{self.done} of {self.count} {verb}, {failed} failed" + (f", {left} not tried" if left else "")
