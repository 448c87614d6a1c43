"""One kernel, in a process that was not started as a program. It imports little: every visitor waits for that."""

import logging
import multiprocessing
import os
import threading


def run(connection_file: str, env: dict[str, str], folder: str) -> None:
    """Be a kernel until the server ends it, or ends.

    Parameters
    ----------
    connection_file : str
        Where Jupyter wrote how it will speak to this kernel.
    env : dict of str
        Added to the environment.
    folder : str
        Where the notebook lies.
    """
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in the terminal is for the server, which then ends its kernels
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    os.environ.update(env)
    os.chdir(folder)
    logging.disable(logging.WARNING)  # the terminal is the server's
    import prepared  # noqa: F401 (there already, where kernels are forked)
    from ipykernel.kernelapp import IPKernelApp

    # widgets, imported before there was a kernel, would not answer
    IPKernelApp.launch_instance(
        ["-f", connection_file, "--IPKernelApp.extra_extensions=ipywidgets", "--IPKernelApp.log_level=50"]
    )


def _end_with_the_server() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
