"""The query explorer: pick a query and a method, see what is found. A thin skin over `search`."""

import base64
import hashlib
import io
import os
import reprlib
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from PIL import Image

from helpers import cards, embeddings, evaluate, images, metrics, parts, retrieve
from helpers.clip import Encoder
from helpers.images import Gallery
from helpers.retrieve import METHODS, NO_WORDS, Prepared, Request, search
from helpers.store import Index, Match

__all__ = ["Prepared", "QueryExplorer", "Request", "search"]

MAX_K = 20
MAX_UPLOAD = 10_000_000
"""Bytes; a larger file is refused. Jupyter's own limit is just above: left alone, it then cuts the connection."""

KEPT_SIDE = 512
"""Longest side, in pixels, to which an uploaded picture is shrunk: more than any method here looks at."""


MAX_TEXT = 10_000
"""Characters; models read some hundred and cut the rest, so a longer text is a mistake."""

MAX_SAID = 250
"""Characters by which an upload is called."""


@dataclass(frozen=True, eq=False)
class _Query:
    """What is searched with: a stored picture (its path), an uploaded one, or a text; and what to call it."""

    said: str
    image: Path | Image.Image | None = None
    text: str | None = None
    label: str = ""


@dataclass(frozen=True, eq=False)
class _Answer:
    """What one method made of a request; times in seconds."""

    request: Request
    encoding: float = 0.0
    remark: str = ""
    matches: tuple[Match, ...] = ()
    seconds: float = 0.0
    error: str = ""


class QueryExplorer(widgets.VBox):
    """Search by a picture of the collection, one of your own, or a text; two methods side by side.

    Parameters
    ----------
    gallery : Gallery
        Where to search.
    encoder : Encoder
    index : Index
        Synced with `gallery`, by the same encoder.
    queries : Gallery, optional
        Pictures to pick a query from, such as the test pictures; those of the gallery if not given.

    Attributes
    ----------
    state : dict
        The query and all settings; `restore` brings them back.
    """

    def __init__(self, gallery: Gallery, *, encoder: Encoder, index: Index, queries: Gallery | None = None) -> None:
        self._prepared = Prepared(gallery, encoder, index, queries)
        _ = self._prepared.vectors  # encoded, or read from the cache, now: no part of the time of a search
        self._labels: dict[Path, str] = {}
        for known in (gallery, queries or gallery):
            self._labels |= zip(known.paths, known.labels.tolist(), strict=True)
        self._lock, self._asked, self._quiet, self._problem = threading.Lock(), 0, False, ""
        self._past: deque[_Query] = deque(maxlen=50)
        self._query = self._stored((queries or gallery).paths[0])
        self._answers: list[_Answer] = []
        self._build(queries or gallery)
        super().__init__(self._parts())
        self.add_class("query-explorer")
        self.add_class(self._scope)
        self._ask(wait=True)

    # -------------------------------------------------------------------------------------------- what it is made of

    def _build(self, pickable: Gallery) -> None:
        """Make the widgets and say what happens when they are used."""
        self._scope = f"qx-{uuid.uuid4().hex[:8]}"
        self._picker = parts.Picker(pickable, self._scope, self._handler(self._pick))
        self._text = widgets.Text(description="Text", continuous_update=False, placeholder="a red apple, then Enter")
        self._text.layout.width, self._text.style.description_width = "400px", "initial"
        self._text.observe(self._handler(self._type), names="value")
        self._upload = widgets.FileUpload(accept="image/*", description="Upload a picture below 10 MB")
        self._upload.layout.width = "auto"
        self._upload.observe(self._handler(self._receive), names="value")
        self._back = parts.button("← Back", self._handler(self._go_back))
        self._settings = self._make_settings()
        for setting in self._settings.values():
            setting.observe(self._handler(self._ask), names="value")
        self._notes, self._status, self._shown = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._columns = [parts.Column(self._handler(self._more_like)) for _ in range(2)]

    def _make_settings(self) -> dict[str, widgets.ValueWidget]:

        names = [(name, name) for name in metrics.METRICS]
        settings = {
            "method": parts.dropdown("Method", [(name, name) for name in METHODS], "CLIP", "165px"),
            "metric": parts.dropdown("Metric", names, "cosine", "170px"),
            "beside": parts.dropdown("Beside it", [("nothing", ""), *((name, name) for name in METHODS)], "", "180px"),
            "beside_metric": parts.dropdown("Its metric", names, "l1", "190px"),
            "k": widgets.BoundedIntText(description="k", value=5, min=1, max=MAX_K),
            "label": parts.dropdown("Only class", parts.class_choices(self._prepared.gallery), "", "240px"),
        }
        settings["k"].layout.width, settings["k"].style.description_width = "90px", "initial"
        settings["label"].layout.display = None if self._prepared.gallery.classes else "none"
        return settings

    def _parts(self) -> list[widgets.Widget]:
        setting = self._settings
        return [
            widgets.HTML(cards.STYLE),
            widgets.HTML(cards.part("1. Choose a query: click a picture, type a text, or upload a picture")),
            self._picker,
            parts.row([self._text, self._upload]),
            widgets.HTML(cards.part("2. Choose how to search")),
            parts.row(list(setting.values())),
            self._notes,
            parts.row([widgets.HTML(cards.part("3. Look at what is found")), self._status]),
            parts.row([self._back, self._shown]),
            parts.row(self._columns, "qx-columns"),
        ]

    def _handler(self, action: Callable[..., None]) -> Callable[..., None]:
        """Return an event handler: what `action` raises becomes a sentence in the widget."""

        def handle(event: Any = None) -> None:
            if self._quiet:
                return
            try:
                action(event) if isinstance(event, (Path, Match)) else action()
            except Exception as error:  # nobody sees what a handler raises
                self._complain(_sentence(error))

        return handle

    @contextmanager
    def _unheard(self):
        """Change widgets without an event."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    # -------------------------------------------------------------------------------------------------------- queries

    def _stored(self, path: Path, said: str = "") -> _Query:
        label = self._labels.get(path, "")
        said += cards.name(label, path)
        if path in self._prepared.ids:
            said += ". It is in the gallery, and left out of its own results"
        return _Query(said, image=path, label=label)

    def _pick(self, path: Path) -> None:
        self._new_query(self._stored(path))

    def _more_like(self, match: Match) -> None:
        paths = {key: path for path, key in self._prepared.ids.items()}
        self._new_query(self._stored(paths.get(match.id, match.path)))

    def _type(self) -> None:
        self._new_query(_worded(self._text.value))

    def _receive(self) -> None:
        if not self._upload.value:
            return
        file = self._upload.value[0]
        with self._unheard():
            self._upload.value = ()  # else the same file would not be an event when it is uploaded again
        name, content = _short(file["name"], MAX_SAID - len(" (uploaded)")), file["content"]
        if len(content) > MAX_UPLOAD:
            raise ValueError(
                f"{name} is too large ({len(content) / 1e6:.0f} MB): shrink it to less than {MAX_UPLOAD / 1e6:.0f} MB"
            )
        known = self._by_content.get(hashlib.sha256(content).hexdigest())
        if known is not None:
            self._new_query(self._stored(known, f"{name} (uploaded), which is a picture of this collection: "))
            return
        stream = io.BytesIO(content)
        stream.name = name
        picture = images.open_rgb(stream)
        picture.thumbnail((KEPT_SIDE, KEPT_SIDE))
        self._new_query(_Query(f"{name} (uploaded)", image=picture))

    @cached_property
    def _by_content(self) -> dict[str, Path]:
        """The pictures of gallery and queries by what their files hold."""
        return {embeddings.content_hash(path): path for path in self._labels if path.is_file()}

    def _go_back(self) -> None:
        if self._past:
            self._query = self._past.pop()
            self._ask()

    def _new_query(self, query: _Query) -> None:
        self._past.append(self._query)
        self._query = query
        self._ask()

    # ------------------------------------------------------------------------------------------- from query to results

    def _ask(self, *, wait: bool = False) -> None:
        """Search in the background, so that a slow search holds nothing up; only the newest one is shown."""
        self._asked += 1
        self._problem = ""
        self._adapt()
        with self._unheard():
            self._text.value = self._query.text or ""
        self._status.value = cards.status("Searching …")
        answers = [_encode(request) for request in self._requests()]
        self._job = threading.Thread(target=self._answer, args=(self._asked, self._query, answers), daemon=True)
        self._job.start()
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until the results of the newest request are shown."""
        self._job.join()

    def _requests(self) -> list[Request]:
        value = {name: setting.value for name, setting in self._settings.items()}
        request = Request(
            self._prepared,
            image=self._query.image,
            text=self._query.text,
            method=value["method"],
            metric=value["metric"],
            k=value["k"],
            label=value["label"] or None,
        )
        beside = [replace(request, method=value["beside"], metric=value["beside_metric"])] if value["beside"] else []
        return [request, *beside]

    def _answer(self, number: int, query: _Query, answers: Sequence[_Answer]) -> None:
        answers = [_searched(answer) for answer in answers]
        with self._lock:
            if number != self._asked:
                return
            try:
                self._show(query, answers)
            except Exception as error:  # as in a handler
                self._complain(_sentence(error))

    # -------------------------------------------------------------------------------------------------- what is shown

    def _adapt(self) -> None:
        """Show the settings that apply, and say why others do not."""
        method, beside = self._settings["method"].value, self._settings["beside"].value
        self._settings["metric"].layout.display = "none" if method == "ChromaDB" else None
        self._settings["beside_metric"].layout.display = "none" if beside in ("", "ChromaDB") else None
        self._text.disabled = method == "pixels"
        notes = [f"Text is off. {NO_WORDS}."] if method == "pixels" else []
        if "ChromaDB" in (method, beside):
            notes.append(f"ChromaDB has no choice of metric: its index was made for {self._prepared.index.space}.")
        self._notes.value = cards.note(" ".join(notes)) if notes else ""

    def _show(self, query: _Query, answers: list[_Answer]) -> None:
        self._answers = answers
        self._shown.value = cards.query(query.image, f"Query: {query.said}.")
        shared = self._shared()
        for number, column in enumerate(self._columns):
            answer = answers[number] if number < len(answers) else None
            column.layout.display = "none" if answer is None else None
            if answer is not None:
                column.show(_caption(answer, query.label), answer.matches, query.label, shared)
        self._picker.mark(query.image)
        self._back.disabled = not self._past
        errors = list(dict.fromkeys(answer.error for answer in answers if answer.error))
        if errors:
            self._complain(" ".join(errors))
        elif not self._problem:
            self._status.value = cards.status(self._summary())

    def _shared(self) -> set[str]:
        """Return the ids that both methods found; none, where there is only one."""
        if len(self._answers) < 2:
            return set()
        return set.intersection(*({match.id for match in answer.matches} for answer in self._answers))

    def _summary(self) -> str:
        said = [f"Found {len(self._answers[0].matches)} pictures."]
        if len(self._answers) == 2:
            said.append(f"The two methods share {len(self._shared())} of them.")
        return " ".join(said + list(dict.fromkeys(answer.remark for answer in self._answers if answer.remark)))

    def _complain(self, sentence: str) -> None:
        self._problem = sentence
        self._status.value = cards.status(sentence, alert=True)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Let pages in which no Python runs show what was found last."""
        found = [f"{_title(answer)}: {_told(answer, self._query.label)}" for answer in self._answers]
        tables = [column.table.value for column in self._columns[: len(self._answers)]]
        return super()._repr_mimebundle_(**kwargs) | {
            "text/plain": f"Query explorer. Query: {self._query.said}. " + ". ".join(found) + ".",
            "text/html": cards.page([self._shown.value, *tables]),
        }

    # ---------------------------------------------------------------------------------------------------- saved states

    @property
    def state(self) -> dict[str, Any]:
        """The query and all settings, of plain values that JSON can hold."""
        return {"query": self._query_state(), **{name: setting.value for name, setting in self._settings.items()}}

    def _query_state(self) -> dict[str, str]:
        query = self._query
        if query.text is not None:
            return {"text": query.text}
        if isinstance(query.image, Path):
            for name, gallery in self._galleries().items():
                if query.image in gallery.paths:
                    return {name: gallery.ids[gallery.paths.index(query.image)]}
            return {"file": str(query.image)}
        buffer = io.BytesIO()
        query.image.save(buffer, format="png")
        return {"upload": base64.b64encode(buffer.getvalue()).decode("ascii"), "said": query.said}

    def _galleries(self) -> dict[str, Gallery]:
        galleries = {"queries": self._prepared.queries, "gallery": self._prepared.gallery}
        return {name: gallery for name, gallery in galleries.items() if gallery is not None}

    def restore(self, state: dict[str, Any]) -> None:
        """Bring back a query and settings, and search.

        Parameters
        ----------
        state : dict
            As `state` gave it, or a part of it: what is not named stays as it is. The query is one of
            ``{"text": "a castle"}``, ``{"queries": "cat/cat_05.jpg"}``, ``{"gallery": "cat/cat_03.jpg"}`` (paths below
            the folder of the queries or the gallery), or an upload as `state` gave it.

        Raises
        ------
        ValueError
            It is not what `state` gives: a name, a value or its type is another, the picture is not one of this
            collection, or an upload does not open. Nothing is changed then, and nothing is searched.
        """
        if not isinstance(state, dict):
            raise _no_state(state)
        settings = {name: value for name, value in state.items() if name != "query"}
        for name, value in settings.items():
            self._check_setting(name, value)
        query = self._query_from(state["query"]) if "query" in state else self._query
        with self._unheard():
            for name, value in settings.items():
                self._settings[name].value = value
        if query is not self._query:
            self._past.append(self._query)
            self._query = query
        self._ask(wait=True)

    def _check_setting(self, name: Any, value: Any) -> None:
        if name not in self._settings:
            raise ValueError(f"unknown setting {_named(name)}: choose among query, {', '.join(self._settings)}")
        if name == "k":
            kind, allowed = int, list(range(1, MAX_K + 1))
        else:
            kind, allowed = str, [choice for _, choice in self._settings[name].options]
        if not isinstance(value, kind) or isinstance(value, bool) or value not in allowed:
            raise ValueError(f"{name} cannot be {_named(value)}: choose one of {', '.join(map(str, allowed))}")

    def _query_from(self, state: Any) -> _Query:
        if not isinstance(state, dict) or not all(isinstance(said, str) for said in (*state, *state.values())):
            raise _no_state(state)
        if state.keys() == {"text"}:
            return _worded(state["text"])
        if state.keys() == {"upload", "said"} and len(state["said"]) <= MAX_SAID:
            return _Query(state["said"], image=_decoded(state["upload"]))
        if state.keys() == {"file"} and self._is_in_collection(state["file"]):
            return self._stored(Path(state["file"]))
        for name, gallery in self._galleries().items():
            if state.keys() == {name} and state[name] in gallery.ids:
                return self._stored(gallery.paths[gallery.ids.index(state[name])])
        raise ValueError(f"there is no picture {_named(state)} here: was it saved with other pictures?")

    def _is_in_collection(self, name: str) -> bool:
        """Say whether a path is that of a picture below the gallery's folder: an index may know more than the gallery.

        Links out of the folder lead out of the collection.
        """
        try:
            path = Path(name).resolve()
            if os.path.abspath(name) != name or not path.is_relative_to(self._prepared.gallery.root.resolve()):  # noqa: PTH100
                return False
            images.open_rgb(path)
        except (OSError, ValueError):
            return False
        return True


def _no_state(said: Any) -> ValueError:
    return ValueError(f"{_named(said)} is no state of an explorer: give what `state` gave")


def _named(value: Any) -> str:
    """Write a value for a message, however large it is, or deep."""
    try:
        return reprlib.repr(value)
    except ValueError:  # a number of more digits than Python writes
        return f"this {type(value).__name__}"


def _worded(text: str) -> _Query:
    """Make a query of a text.

    Raises
    ------
    ValueError
        It is empty, too long, or not Unicode.
    """
    if not text.strip():
        raise ValueError("The text is empty: write what the picture should show, for instance “a red apple”")
    if len(text) > MAX_TEXT:
        raise ValueError(f"The text has {len(text):,} characters: shorten it to {MAX_TEXT:,}")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("The text holds half a character, which no encoding can write: type it anew")
    return _Query(f"“{_short(text)}”", text=text)


def _decoded(upload: str) -> Image.Image:
    """Return the picture that `state` wrote as a PNG in base 64.

    Raises
    ------
    ValueError
        It is something else, or larger than an uploaded picture is kept.
    """
    said = "the upload in this state is not what `state` gave"
    if len(upload) > MAX_UPLOAD:
        raise ValueError(f"{said}: it is too large")
    try:
        content = base64.b64decode(upload, validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if max(picture.size) > KEPT_SIDE:
                raise ValueError(f"it has {picture.width} × {picture.height} pixels, more than {KEPT_SIDE} on a side")
        return images.open_rgb(io.BytesIO(content))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{said}: {error}") from error


def _encode(request: Request) -> _Answer:
    """Make the query a vector; what the encoder prints is kept, since nobody sees what a handler prints."""
    printed, start = io.StringIO(), time.perf_counter()
    try:
        with redirect_stdout(printed):
            request = retrieve.encoded(request)
    except Exception as error:
        return _Answer(request, error=_sentence(error))
    return _Answer(request, encoding=time.perf_counter() - start, remark=_sentence(printed.getvalue()))


def _searched(answer: _Answer) -> _Answer:
    if answer.error:
        return answer
    try:
        if answer.request.method == "pixels":
            _ = answer.request.prepared.pixels  # made once, at the first use: no part of the time of a search
        start = time.perf_counter()
        matches = tuple(search(answer.request))
    except Exception as error:
        return replace(answer, error=_sentence(error))
    return replace(answer, matches=matches, seconds=time.perf_counter() - start)


def _title(answer: _Answer) -> str:
    request = answer.request
    metric = request.prepared.index.space if request.method == "ChromaDB" else request.metric
    return f"{request.method}, {metric}"


def _nearness(answer: _Answer) -> str:
    request = answer.request
    if request.method == "ChromaDB":
        larger = request.prepared.index.space != "l2"
    else:
        _, larger = metrics.METRICS[request.metric]
    return f"{'larger' if larger else 'smaller'} is nearer"


def _caption(answer: _Answer, label: str) -> list[str]:
    """Say in three lines how it was searched, how good that is, and how long it took."""
    if answer.error:
        return [_title(answer), answer.error]
    k, found = answer.request.k, [match.label for match in answer.matches]
    if label:
        precision = evaluate.precision_at_k([found], [label], k)[0]
        good = f"P@{k} = {precision:.2f}: {found.count(label)} of {k} right"
    else:
        good = "The class of the query is not known, so nothing is marked right or wrong"
    return [
        f"{_title(answer)}: {_nearness(answer)}",
        good,
        f"search {answer.seconds * 1000:.1f} ms, encoding {answer.encoding * 1000:.1f} ms",
    ]


def _told(answer: _Answer, label: str) -> str:
    """Name the results, for those who do not see them."""
    if answer.error:
        return answer.error
    marks = [f" ({'right' if match.label == label else 'wrong'})" if label else "" for match in answer.matches]
    names = [match.label or images.spelled(match.path.name) for match in answer.matches]
    return ", ".join(name + mark for name, mark in zip(names, marks, strict=True))


def _sentence(said: Exception | str) -> str:
    """Write an error or a remark as a sentence."""
    if isinstance(said, Exception) and not isinstance(said, (ValueError, OSError)):
        said = f"This search failed ({type(said).__name__}: {said}). Try another query, or restart the kernel"
    text = str(said).strip().removesuffix(".")
    starts_with_a_file = "." in text.partition(" ")[0]
    return (text if starts_with_a_file else text[:1].upper() + text[1:]) + "." if text else ""


def _short(text: str, longest: int = 82) -> str:
    return text if len(text) <= longest else f"{text[: longest - 2]} …"
