"""Bodies: what comes of a request, past the reader of its head.

h11 and uvicorn copy a body six times on its way to the application, which for a GiB takes 2 s of a processor. So h11 is
shown all heads, and says how long a body is and where it ends; of one whose length was announced it is told how many
bytes have come, and is shown only the last.
"""

from __future__ import annotations

from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_WAITING: Final = 64 << 10
"""Bytes that may wait for the application; while there are more, nothing is read."""


class BodyProtocol(H11Protocol):
    """uvicorn's own, with bodies that are not copied on their way."""

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not self._passes(len(data)):
            super().data_received(data)
            return
        self._unset_keepalive_if_required()
        if self.conn.our_state is h11.DONE:
            # It was answered already: what still comes is not wanted.
            return
        cycle: Any = self.cycle
        # The application is given `bytes` of this, which of bytes is no copy.
        cycle.body = cycle.body + data if cycle.body else data
        if len(cycle.body) > _WAITING:
            self.flow.pause_reading()
        cycle.message_event.set()

    def _passes(self, size: int) -> bool:
        """Count so many bytes as come, if they are of a body and not its last.

        h11 has no public word for that. Where a later one counts otherwise, all goes through it, as before.
        """
        reader: Any = getattr(self.conn, "_reader", None)
        left = getattr(reader, "_remaining", 0)
        if size >= left or self.conn.trailing_data[0]:
            return False
        reader._remaining = left - size  # noqa: SLF001 - see above
        return True
