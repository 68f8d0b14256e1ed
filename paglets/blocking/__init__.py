"""The SDK for scripts without a loop of their own: the same names as its coroutines, and calls that wait.

with Client(address) as client:
    counter = client.create("shop.Counter")
    counter.stub(CounterServiceStub).Add(AddRequest(amount=1))

Each class is a face of the one that has its name: it adds nothing but the waiting, and its docstrings are those of the
coroutines, to be read without their `await` and `async`. Errors are the same. All faces of a process share one event
loop, which runs in a thread of its own while there is one; callbacks, as for progress, are called there. A call that is
interrupted, as by Ctrl-C, is cancelled. Faces may be used by several threads at once.

Code that runs on an event loop uses the coroutines, and a paglet's `def` handler `self.blocking`.
"""

from __future__ import annotations

from paglets.blocking.artifacts import ArtifactReader, LocalArtifactStore, RemoteArtifactStore
from paglets.blocking.client import Client, DeadLetters, PagletProxy, Services
from paglets.blocking.patterns import EventClient, OperationClient, TaskClient

__all__ = [
    "ArtifactReader",
    "Client",
    "DeadLetters",
    "EventClient",
    "LocalArtifactStore",
    "OperationClient",
    "PagletProxy",
    "RemoteArtifactStore",
    "Services",
    "TaskClient",
]
