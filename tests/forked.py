"""Run a notebook in a kernel of its own that starts at once: a fork of a process that has imported what lessons import.

Nothing but imports is shared. A kernel that is started as a program imports them for some seconds of its own; so do
those that nbval runs, where a lesson's own imports are tried. Where a fork is not safe, this one is such a kernel too.
"""

import multiprocessing
import os
import sys
import threading
from importlib.metadata import EntryPoint

from jupyter_client import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner
from nbclient import NotebookClient

FORKED = sys.platform == "linux"
_context = multiprocessing.get_context("forkserver" if FORKED else "spawn")
# one thread each: what has threads cannot be forked
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # a kernel would choose it, and too late
    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
}


def execute(notebook, folder, timeout=1200):
    """Execute all cells of a notebook in `folder`, as nbclient does.

    Raises
    ------
    CellExecutionError, CellTimeoutError
        A cell fails, or takes too long.
    """
    manager = Manager if FORKED else AsyncKernelManager
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", kernel_manager_class=manager, resources=resources
    ).execute()


class Manager(AsyncKernelManager):
    """Has its kernels forked."""

    @property
    def kernel_spec(self):
        """What kind of kernel it is, and how it is started."""
        spec = super().kernel_spec
        spec.metadata = {"kernel_provisioner": {"provisioner_name": "forked"}}
        factory = KernelProvisionerFactory.instance()
        factory.provisioners["forked"] = EntryPoint("forked", f"{__name__}:Provisioner", factory.GROUP_NAME)
        return spec


class Provisioner(LocalProvisioner):
    """Starts a kernel as a process of `multiprocessing`, instead of as a program."""

    async def launch_kernel(self, cmd, **kwargs):
        """Start it; the command is not used, since the program runs already."""
        self.process = Process(self.parent.connection_file, kwargs["env"], kwargs["cwd"])
        self.pid, self.cwd = self.process.pid, kwargs["cwd"]
        return self.connection_info


class Process:
    """A process of `multiprocessing`, with what `LocalProvisioner` uses of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, *arguments):
        own = {name: os.environ.get(name) for name in _ENVIRONMENT}
        os.environ.update(_ENVIRONMENT)  # for the process to fork from, which the first one starts
        try:
            _context.set_forkserver_preload(["imported"])
            self._process = _context.Process(target=run, args=arguments, daemon=True)
            self._process.start()
        finally:
            os.environ.update({name: value for name, value in own.items() if value is not None})
            for name in [name for name, value in own.items() if value is None]:
                del os.environ[name]
        self.pid, self.kill, self.terminate = self._process.pid, self._process.kill, self._process.terminate

    def poll(self):
        """Return its status, or None while it runs."""
        return self._process.exitcode

    def wait(self):
        """Wait for its end, and return its status."""
        self._process.join()
        return self._process.exitcode

    def send_signal(self, signum):
        """Send it a signal."""
        os.kill(self.pid, signum)


def run(connection_file, env, folder):
    """Be a kernel, until it or the tests are ended."""
    os.setsid()
    threading.Thread(target=end_with_the_tests, daemon=True).start()
    os.environ.update(env)
    os.chdir(folder)
    from ipykernel.kernelapp import IPKernelApp

    # widgets, imported before there was a kernel, would not answer
    IPKernelApp.launch_instance(
        ["-f", connection_file, "--IPKernelApp.extra_extensions=ipywidgets", "--IPKernelApp.log_level=50"]
    )


def end_with_the_tests():
    """Wait for the end of the process that asked for this one."""
    multiprocessing.parent_process().join()
    os._exit(1)
