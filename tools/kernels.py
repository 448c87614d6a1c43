"""Kernels for the visitors of the explorer: a limited number, started from one process that has prepared everything.

On Linux they are forked from it. So they start at once, and the memory that they only read exists once. Elsewhere a
fork is not safe, and every kernel prepares itself.
"""

import multiprocessing
import os
import sys
from contextvars import ContextVar
from importlib.metadata import EntryPoint
from typing import Any

import kernel
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import HTTPError, RequestHandler
from traitlets import Int, default

FORKED = sys.platform == "linux"

VISIT: ContextVar[RequestHandler] = ContextVar("VISIT")
"""The request for a page, which a kernel is started for: `kernel_id` is set then, and `left` says that nobody waits."""

_context = multiprocessing.get_context("forkserver" if FORKED else "spawn")
# one thread each: visitors share the cores, and what has threads cannot be forked. No graphics card, which a fork
# cannot use, and no progress bars, which the page cannot show
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "CUDA_VISIBLE_DEVICES": "",
    "TQDM_DISABLE": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # a kernel would choose it, and too late
}


def prepare() -> None:
    """Start the process that kernels are forked from, wait until it is ready, and let Jupyter start kernels there.

    Raises
    ------
    RuntimeError
        A process that is started there does not run.
    """
    os.environ.update(_ENVIRONMENT)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    if FORKED:
        _context.set_forkserver_preload(["prepared"])
        first = _context.Process(target=os.getpid)
        first.start()
        first.join()
        if first.exitcode != 0:
            raise RuntimeError(f"the process that kernels are forked from does not work (status {first.exitcode})")
    factory = KernelProvisionerFactory.instance()
    factory.provisioners["prepared"] = EntryPoint("prepared", f"{__name__}:PreparedKernel", factory.GROUP_NAME)
    factory.default_provisioner_name = "prepared"


class Kernels(AsyncMappingKernelManager):
    """Start a kernel for a visitor while there is room, and end it soon after its page is closed.

    Attributes
    ----------
    loading : set of str
        The ids of the kernels whose pages are not complete yet.
    """

    visitors = Int(12 if FORKED else 4, min=1, config=True, help="How many may use the explorer at the same time.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.loading: set[str] = set()

    @default("cull_idle_timeout")
    def _seconds_without_a_page(self) -> int:
        return 30

    @default("cull_interval")
    def _seconds_between_looks(self) -> int:
        return 10

    async def start_kernel(self, **kwargs: Any) -> str:
        """Start a kernel for the visitor of the page that is asked for.

        Raises
        ------
        HTTPError
            503: as many visitors as there may be have one.
        """
        if len(self.loading.union(self.list_kernel_ids())) >= self.visitors:
            raise HTTPError(
                503,
                reason=f"The explorer is full for the moment: {self.visitors} use it. "
                "Reload this page a minute after somebody has closed theirs",
            )
        page = VISIT.get()
        page.kernel_id = self.new_kernel_id()
        self.loading.add(page.kernel_id)
        await super().start_kernel(kernel_id=page.kernel_id, **kwargs)
        if page.left.is_set():
            await self.shutdown_kernel(page.kernel_id, now=True)
            raise HTTPError(503, reason="The visitor did not wait")
        return page.kernel_id

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End a kernel that nobody uses any more."""
        if kernel_id not in self.loading:
            await super().cull_kernel_if_idle(kernel_id)


class PreparedKernel(LocalProvisioner):
    """Start a kernel as a process of `multiprocessing`, instead of as a program."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        """Start it; the command is not used, since the program runs already."""
        self.process = _Process(self.parent.connection_file, kwargs["env"], kwargs["cwd"])
        self.pid, self.cwd = self.process.pid, kwargs["cwd"]
        return self.connection_info


class _Process:
    """A process of `multiprocessing`, with what `LocalProvisioner` uses of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, *arguments: Any) -> None:
        self._process = _context.Process(target=kernel.run, args=arguments, daemon=True)
        self._process.start()
        self.pid, self.kill, self.terminate = self._process.pid, self._process.kill, self._process.terminate

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)
