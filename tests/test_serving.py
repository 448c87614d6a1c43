"""The server of the explorer: whom it answers, what it gives away, and that no kernel stays without a page."""

import json
import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import nbformat
import psutil
import pytest
from conftest import free_port
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
CELLS = [
    "from helpers import clip, images, store\ngallery, queries = images.load_pictures()\nencoder = clip.load()",
    "index = store.open_index(encoder=encoder)\nprint('added', index.sync(gallery).added)",
    "import time, pathlib\nwhile not pathlib.Path('go').exists(): time.sleep(0.1)",
    "print('the last cell')",
]
SOON = 300  # seconds: a limit for what hangs, however busy the machine is
UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


class Server:
    """A server of a small notebook over twelve pictures; kernels without a page are ended after two seconds."""

    def __init__(self, folder, *options):
        self.folder, self.port = folder, free_port()
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
        notebook.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "Python 3"}
        nbformat.write(notebook, folder / "small.ipynb")
        for number in range(12):
            path = folder / "pictures" / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (20 * number, 90, 200)).save(path)
        self.go()
        command = [sys.executable, ROOT / "tools" / "serve.py", "small.ipynb", f"--port={self.port}", "--no-browser"]
        command += ["--port_retries=0", "--Kernels.cull_idle_timeout=2", "--Kernels.cull_interval=1", *options]
        environment = os.environ | {"COURSE_PICTURES": str(folder / "pictures"), "PYTHONPATH": str(ROOT)}
        self.log = folder / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        until(lambda: self.process.poll() is not None or "The explorer is at" in self.log.read_text())
        assert self.process.poll() is None, self.log.read_text()
        self._others = len(self._processes())

    def _processes(self):
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]

    def kernels(self):
        """Return how many kernels there are."""
        return len(self._processes()) - self._others

    def go(self):
        """Let the third cell of the notebook end."""
        (self.folder / "go").touch()

    def wait(self):
        """Let the third cell of the notebook wait for `go`."""
        (self.folder / "go").unlink()

    def ask(self, path="/", headers=(), method="GET"):
        """Return the status of an answer, its reason, and what it says."""
        connection = self.send(path, headers, method)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
        connection.close()
        return answer.status, answer.reason, said

    def page(self, path="/"):
        """Return the page that a visitor sees."""
        connection, answer = self.hold(path)
        said = answer.read().decode()
        connection.close()
        return said

    def hold(self, path="/"):
        """Ask for a page until there is room, and do not read it."""
        while True:
            connection = self.send(path)
            answer = connection.getresponse()
            if answer.status == 200:
                return connection, answer
            time.sleep(0.1)  # a kernel that has just ended is still being put away

    def send(self, path="/", headers=(), method="GET"):
        """Return an open connection that has asked for something."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SOON)
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": f"127.0.0.1:{self.port}", "Content-Length": "0", **dict(headers)}.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection

    def stop(self, signum=signal.SIGINT):
        children = self._processes()
        self.process.send_signal(signum)
        self.process.wait(SOON)
        until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def until(is_so):
    """Wait until something is so."""
    end = time.monotonic() + SOON
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("served"), "--visitors=2", "--hosts=Teacher.example")
    yield server
    server.stop()


def test_a_page_is_run_with_what_was_prepared(server):
    page = server.page()
    assert "added 10" in page and "the last cell" in page
    assert "Encoding" not in page and "widget-view" not in page  # no progress bars
    until(lambda: server.kernels() == 0)


NOBODY = "0ea81790-621d-4725-b6e9-a24254954132"
KERNEL = f"/api/kernels/{NOBODY}"
EVERYTHING = [
    ("GET", "/", {}),
    ("GET", "/voila/static/voila.js", {}),
    ("GET", "/voila/templates/lab/static/voila.js", {}),
    ("GET", KERNEL, {}),
    ("DELETE", KERNEL, {}),
    ("GET", f"{KERNEL}/channels", UPGRADE),
    ("POST", f"/voila/api/shutdown/{NOBODY}", {}),
    ("GET", "/voila/files/small.ipynb", {}),
    ("GET", "/no/such/page", {}),
]


@pytest.mark.parametrize("method, path, headers", EVERYTHING)
@pytest.mark.parametrize("foreign", [
    {"Host": "evil.example"},
    {"Host": "evil.example:8866"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost.evil.example:8866"},
    {"Host": "0.0.0.0:8866"},
    {"Host": "[::2]:8866"},
    {"Host": "192.168.0.1"},
    {"Host": ""},
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1.evil.example:8866"},
    {"Origin": "http://["},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"},
], ids=str)  # fmt: skip
def test_nobody_else_is_answered(server, method, path, headers, foreign):
    status, _, said = server.ask(path, headers | foreign, method)
    assert status == 403 and "does not answer" in said
    assert server.kernels() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:1", "[::1]:8866", "teacher.example", "TEACHER.example:80"])
def test_its_own_names_are_answered(server, host):
    for headers in ({}, {"Origin": f"http://{host}"}, {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "script"}):
        status, _, _ = server.ask("/voila/static/voila.js", {"Host": host, **headers})
        assert status == 200


@pytest.mark.parametrize("path", [
    "/voila/files/small.ipynb", "/voila/files/pictures/a/0.png", "/voila/files/server.log", "/voila/files/",
    "/files/small.ipynb", "/small.ipynb", "/pictures/a/0.png", "/voila/static/../../../../../../etc/passwd",
    "/voila/static//etc/passwd", "/voila/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/voila/templates/lab/static/../../../../../../../../../etc/passwd", "/voila/labextensions/../../../etc/passwd",
    "/api/contents", "/voila/api/contents", "/voila/tree", "/voila/render/small.ipynb", "/api/kernels",
    "/api/terminals",
])  # fmt: skip
def test_no_file_is_served(server, path):
    status, _, said = server.ask(path)
    assert status in (302, 403, 404, 500) and "root:" not in said and "encoder" not in said and "PNG" not in said
    assert server.kernels() == 0


@pytest.mark.parametrize("query", ["?template=classic", "?template=../../x", "?theme=dark"])
def test_no_visitor_chooses_how_the_page_is_made(server, query):
    page = server.page(f"/{query}")
    assert "the last cell" in page and "theme-dark" not in page
    until(lambda: server.kernels() == 0)


def test_a_full_room_is_said_in_words_and_empties_itself(server):
    server.wait()
    held = [server.hold() for _ in range(2)]
    for _ in range(5):
        status, reason, page = server.ask()
        assert status == 503 and "full for the moment: 2 use it" in reason and "Reload this page" in page
        assert server.kernels() == 2
    server.go()
    for _, answer in held:
        assert "the last cell" in answer.read().decode()
    until(lambda: server.kernels() == 0)  # no page speaks with them
    assert "the last cell" in server.page()
    until(lambda: server.kernels() == 0)


def test_who_leaves_before_the_page_is_complete_leaves_no_kernel(server):
    before = len(server.log.read_text())
    server.wait()
    for _ in range(3):
        for connection, answer in [server.hold() for _ in range(2)]:
            answer.close()
            connection.close()
        until(lambda: server.kernels() == 0)  # the third cell still waits
    for _ in range(6):
        server.send().close()
    server.go()
    until(lambda: server.kernels() == 0)
    assert "the last cell" in server.page()
    until(lambda: server.kernels() == 0)
    log = server.log.read_text()[before:]
    assert "Traceback" not in log, log


def test_a_kernel_stays_as_long_as_its_page_is_open(server):
    page = server.page()
    start = page.index('id="jupyter-config-data"')
    config = json.loads(page[page.index(">", start) + 1 : page.index("</script>", start)])

    connection = server.send(f"/api/kernels/{config['kernelId']}/channels", UPGRADE)
    assert connection.getresponse().status == 101
    before = time.monotonic()
    while time.monotonic() < before + 8:  # four times as long as a kernel without a page
        assert server.kernels() == 1
        time.sleep(0.2)
    connection.close()
    until(lambda: server.kernels() == 0)


def test_it_says_where_it_is(server, tmp_path):
    said = server.log.read_text()
    assert said.count("The explorer is at") == 1 and "2 at a time" in said
    assert f"http://Teacher.example:{server.port}/" in said and "for this computer only" in said


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("everywhere"), "--ip=0.0.0.0")
    yield server
    if server.process.poll() is None:
        server.stop()


def test_everywhere_is_said_and_its_own_addresses_are_answered(everywhere):
    said = everywhere.log.read_text()
    assert "for everybody who can reach this computer" in said
    for address in [word.strip(",") for word in said.split() if word.startswith("http://")]:
        host = address.removeprefix("http://").strip("/")
        assert everywhere.ask("/voila/static/voila.js", {"Host": host})[0] == 200
    for host in ("0.0.0.0", "evil.example", "203.0.113.9"):
        assert everywhere.ask("/voila/static/voila.js", {"Host": host})[0] == 403


def test_kernels_end_with_a_server_that_is_killed(everywhere):
    everywhere.wait()
    connection, _ = everywhere.hold()
    assert everywhere.kernels() == 1
    everywhere.stop(signal.SIGKILL)
    connection.close()


def test_pictures_that_are_not_there_are_said_in_one_sentence(tmp_path):
    command = [sys.executable, ROOT / "tools" / "serve.py", ROOT / "notebooks" / "05_query_explorer.ipynb"]
    environment = os.environ | {"COURSE_PICTURES": str(tmp_path / "gone"), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SOON)
    assert ended.returncode == 1 and "gone" in ended.stderr and "Traceback" not in ended.stderr
