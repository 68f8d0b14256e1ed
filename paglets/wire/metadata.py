"""The keys of gRPC metadata that hosts and clients understand; values are text."""

from __future__ import annotations

from typing import Final

__all__ = [
    "CHAIN_KEY",
    "EPOCH_KEY",
    "FROM_KEY",
    "HOPS_KEY",
    "HOST_KEY",
    "PAGLET_ID_KEY",
    "PEER_KEY",
    "REPLAYED_KEY",
    "REQUEST_ID_KEY",
    "REQUIRE_ACTIVE_KEY",
    "TO_KEY",
]

PAGLET_ID_KEY: Final = "paglet-id"
"""Names the paglet that a call is for; the one key that a client in any language needs."""

REQUEST_ID_KEY: Final = "paglet-request-id"
"""Any text of at most 128 characters that makes a unary call safe to repeat: it is run once, whatever happens."""

REQUIRE_ACTIVE_KEY: Final = "paglet-require-active"
"""`true` refuses the call when the paglet is inactive, rather than bringing it back for it."""

CHAIN_KEY: Final = "paglet-chain"
"""Of what a paglet asks for in a turn: the paglets whose turns wait for it, the asking one last, with commas."""

HOPS_KEY: Final = "paglet-hops"
"""Between hosts: how often the call was forwarded."""

PEER_KEY: Final = "paglet-peer"
"""Between hosts: the connection by which the call came to the first of them; whose calls are counted together."""

TO_KEY: Final = "paglet-to"
"""Between hosts: the uid of the host that is meant; whoever else is at its address by now refuses."""

FROM_KEY: Final = "paglet-from"
"""Between hosts: the name of the host that calls, by which it is held to its read ticket."""

HOST_KEY: Final = "paglet-host"
"""In trailing metadata: the host that answered for the paglet."""

EPOCH_KEY: Final = "paglet-epoch"
"""In trailing metadata: the epoch at which that host owned the paglet."""

REPLAYED_KEY: Final = "paglet-replayed"
"""In trailing metadata: the reply is the one that was given to this request id before."""
