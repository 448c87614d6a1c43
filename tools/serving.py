"""The server of the query explorer: Voilà, for as many visitors as there is room for, and under its own names only."""

import asyncio
import ipaddress
import logging
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import kernels
import psutil
import tornado.web
from kernels import VISIT, Kernels
from tornado.httputil import HTTPServerRequest, split_host_and_port
from tornado.ioloop import IOLoop
from tornado.routing import Matcher
from traitlets import List, Unicode, default
from traitlets.config import Config
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
EVERYWHERE = ("", "0.0.0.0", "::")

_DEFAULTS = Config(
    Voila={
        "ip": "127.0.0.1",
        # the explorer refuses an upload of more than 10 MB in words; left alone, the connection is cut without any
        "tornado_settings": {"websocket_max_message_size": 500_000_000, "ws_ping_timeout": 30_000},
    },
    VoilaConfiguration={
        "multi_kernel_manager_class": Kernels,
        "file_allowlist": [],  # all pictures come through the kernel
        "allow_template_override": "NO",
        "allow_theme_override": "NO",
    },
)


class Page(TornadoVoilaHandler):
    """The page with the explorer; the kernel of a visitor who does not wait for it ends at once."""

    kernel_id: str | None = None

    def initialize(self, **options: Any) -> None:
        """Prepare for one request."""
        super().initialize(**options)
        self.left = asyncio.Event()

    @tornado.web.authenticated
    async def get(self, path: str | None = None) -> None:
        """Run the notebook in a kernel of its own and send what it shows."""
        VISIT.set(self)
        sending, leaving = asyncio.create_task(super().get(path)), asyncio.create_task(self.left.wait())
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if self.left.is_set() and self.kernel_id in self.kernel_manager:
                await self.kernel_manager.shutdown_kernel(self.kernel_id, now=True)
                while not sending.done():  # Python before 3.12 may overlook that a task is cancelled
                    sending.cancel()
                    await asyncio.wait({sending}, timeout=1)
            else:
                await sending
        finally:
            leaving.cancel()
            self.kernel_manager.loading.discard(self.kernel_id)

    def on_connection_close(self) -> None:
        """Remember that nobody waits."""
        super().on_connection_close()
        self.left.set()

    def log_exception(self, *said: Any) -> None:
        """Say what went wrong, unless nobody waits for the page: then its kernel was ended in the midst of it."""
        if not self.left.is_set():
            super().log_exception(*said)


class Elsewhere(Matcher):
    """Matches requests that are not for this server, or that the page of another one has sent.

    Any page in the web can let the name of its own server point to this computer, and would read from here as if from
    there. The browser still says which name was asked for.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return something for a request to be refused."""
        said = request.headers.get
        drawn_in = said("Sec-Fetch-Site") == "cross-site" and said("Sec-Fetch-Dest") != "document"
        by_ours = "Origin" not in request.headers or self._is_ours(_host(said("Origin")))
        return None if self._is_ours(request.host) and by_ours and not drawn_in else {}

    def _is_ours(self, host: str) -> bool:
        return split_host_and_port(host.lower())[0] in self._names


def _host(origin: str) -> str:
    """Return what an origin says of its host; "" where it says nothing, as `null` does."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


class Refused(tornado.web.RequestHandler):
    """Answers 403, in words."""

    def prepare(self) -> None:
        """Answer, whatever is asked."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(
            "The explorer does not answer under this name, or to the page of another server. Its address stands in the "
            'terminal where it was started. To allow another name: make explorer VOILA="--hosts=NAME"\n'
        )


class Explorer(Voila):
    """Voilà, with what visitors share prepared once, a limit for visitors, and names to answer under."""

    hosts = List(Unicode(), config=True, help="Names to answer under, beside the addresses that it listens on.")

    aliases: ClassVar = {**Voila.aliases, "ip": "Voila.ip", "hosts": "Explorer.hosts", "visitors": "Kernels.visitors"}
    classes: ClassVar = [*Voila.classes, Kernels]

    @default("log_level")
    def _default_log_level(self) -> str:
        return "ERROR"

    def initialize(self, argv: list[str] | None = None) -> None:
        """Read the options."""
        self.update_config(_DEFAULTS)
        super().initialize(argv)
        for log in (self.log, logging.getLogger("asyncio"), logging.getLogger("tornado.general")):
            log.addFilter(_is_news)

    def start(self) -> None:
        """Prepare what visitors share, then serve."""
        encoding = subprocess.run([sys.executable, Path(__file__).with_name("prepared.py")], check=False)
        if encoding.returncode:
            self.exit(encoding.returncode)
        kernels.prepare()
        super().start()

    def init_handlers(self) -> list:
        """Refuse before anything else is looked at."""
        *others, (pattern, _, options) = super().init_handlers()
        names = (name.lower() for name in (*LOOPBACK, *self._addresses(), *self.hosts))
        return [(Elsewhere(names), Refused), *others, (pattern, Page, options)]

    def listen(self) -> None:
        """Listen, and say where."""
        IOLoop.current().add_callback(self._say_where)
        super().listen()

    def _addresses(self) -> list[str]:
        """Return where the server can be reached: as it was told, or at every address of this computer."""
        if self.ip not in EVERYWHERE:
            return [_written(self.ip)]
        found = [one.address for several in psutil.net_if_addrs().values() for one in several]
        return [_written(address) for address in found if _is_reachable(address, only_4=self.ip == "0.0.0.0")]

    @property
    def connection_url(self) -> str:
        """The address for the browser on this computer."""
        return self._url("127.0.0.1" if self.ip in EVERYWHERE else _written(self.ip))

    def _say_where(self) -> None:
        addresses = self._addresses()
        outside = [name for name in addresses if name not in LOOPBACK]
        whose = "for everybody who can reach this computer" if outside else "for this computer only"
        at = " or ".join(self._url(name) for name in [*self.hosts, *outside] or addresses)
        limit = self.kernel_manager.visitors
        print(f"The explorer is at {at}, {whose}, {limit} at a time. Ctrl-C ends it.", flush=True)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what follows from a kernel being ended in the midst of its work, since its visitor had left."""
    said = f"{record.msg} {record.exc_info and record.exc_info[1]}"
    return "Kernel died" not in said and "events for closed stream" not in said


def _written(address: str) -> str:
    """Write an address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


def _is_reachable(said: str, *, only_4: bool) -> bool:
    try:
        address = ipaddress.ip_address(said)
    except ValueError:  # the number of a network card, for instance
        return False
    return not address.is_link_local and not (only_4 and address.version == 6)
