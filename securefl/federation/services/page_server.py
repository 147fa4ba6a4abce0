"""The live page's server: a thread beside the run, which ends with it and cannot stop it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from securefl.errors import InputError
from securefl.tasks.served.loopback import LOOPBACK, listening

if TYPE_CHECKING:
    from securefl.federation.services.page import Status

PORT: Final = 8750
"""Where the page is if no port is named."""


@contextmanager
def serving(port: int, status: Status, place: Path) -> Iterator[str]:
    """Serve the live page on this machine alone within the block.

    Args:
        port: Its port; 0 for any that is free.
        status: Returns what is shown.
        place: The folder of the status file.

    Yields:
        The address of the page.

    Raises:
        InputError: If the packages for it are not installed, or the port is taken.
    """
    try:
        import uvicorn

        from securefl.federation.services.page import LivePage
    except ImportError:
        raise InputError("a page needs the extra: pip install 'securefl[serve]'") from None
    settings = uvicorn.Config(
        LivePage(status, str(place)).application(),
        log_config=None,  # its own would close the handlers of everything else
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        limit_concurrency=32,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(settings)
    with listening(LOOPBACK, port) as link:
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [link]}, name="page", daemon=True
        )
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{link.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(5)
