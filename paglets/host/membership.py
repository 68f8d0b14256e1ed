"""A host's place in the mesh: it registers under its name, and keeps that by a lease for as long as it lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from paglets.directory.contract import HostRegistration, ServiceRecord
from paglets.errors import InvalidArgumentError, NotFoundError, PagletError
from paglets.host.load import load_figure
from paglets.host.parts import HostParts
from paglets.host.residents import Residents
from paglets.values import tidy_tags

__all__ = ["Membership"]

_log = logging.getLogger(__name__)


class Membership:
    """Of the host whose data folder has the given uid, and which offers `services` by itself."""

    def __init__(
        self,
        parts: HostParts,
        residents: Residents,
        *,
        uid: str,
        version: str,
        services: Callable[[], tuple[ServiceRecord, ...]],
    ) -> None:
        self._parts = parts
        self._residents = residents
        self._uid = uid
        self._version = version
        self._services = services

    async def register(self) -> None:
        """Takes the host's name. Raises HOST_NAME_TAKEN, and what it is when the directory cannot be asked.

        Raises MALFORMED_REQUEST, INVALID_ID for tags and properties that are none.
        """
        registration = HostRegistration(
            name=self._parts.name,
            uid=self._uid,
            address=self._parts.address,
            version=self._version,
            types=self._parts.registry.names,
            tags=tidy_tags(self._parts.settings.tags),
            properties=_tidy_properties(self._parts.settings.properties),
            services=self._services(),
        )
        await self._parts.directory.lease_register(registration, self._parts.settings.lease_s)

    async def keep(self) -> None:
        """Renews the lease in good time, for ever; it only tells others when to look."""
        lease_s = self._parts.settings.lease_s
        pause_s = lease_s / 3
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._renew(lease_s)
                pause_s = lease_s / 3
            except PagletError as error:
                pause_s = lease_s / 30  # soon again: a directory that was away for a moment must not cost the lease
                _log.warning("the lease of host %s was not renewed: %s", self._parts.name, error)

    async def leave(self) -> None:
        """Tells the mesh that the host ends, which sees so by the lease otherwise."""
        try:
            await self._parts.directory.lease_revoke(self._parts.name, self._uid)
        except PagletError as error:
            _log.warning("the mesh was not told that host %s leaves: %s", self._parts.name, error)

    async def _renew(self, lease_s: float) -> None:
        directory = self._parts.directory
        try:
            under_way = sum(resident.usage.number for resident in self._residents)
            await directory.lease_keepalive(self._parts.name, self._uid, lease_s, load_figure(under_way))
        except NotFoundError:
            await self.register()
            for resident in self._residents:  # the directory is another one, which has not heard of their services
                self._parts.discovery.owned(resident.paglet_id, type(resident.paglet))


def _tidy_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """Properties as a mesh tells them: those with a key. Raises MALFORMED_REQUEST for one that no message can hold."""
    for key, value in properties.items():
        if value != value.encode(errors="replace").decode():
            raise InvalidArgumentError(
                "MALFORMED_REQUEST", f"property {key} is no text: {value!r}", field="host.properties"
            )
    return {key: value for key, value in properties.items() if key}
