"""The explorer's widgets: pick a query and a method, and see what `search` finds."""

import hashlib
import io
import random
import reprlib
import time
from collections import deque
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from PIL import Image

from helpers import images, metrics
from helpers.explorer import html
from helpers.explorer.search import METHODS, NO_WORDS, Prepared, check_text, encode, search
from helpers.images import Gallery, Match

if TYPE_CHECKING:  # a search by pixels needs no model and no database
    from helpers.clip import Encoder
    from helpers.store import Index

MAX_K = 20
PAGE = 8
"""Thumbnails to pick from at a time."""

MAX_UPLOAD = 10_000_000
"""Bytes; a larger file is refused. Jupyter's own limit is just above: left alone, it then cuts the connection."""

KEPT_SIDE = 512
"""Longest side, in pixels, to which an uploaded picture is shrunk: more than any method here looks at."""


@dataclass(frozen=True, eq=False)
class Query:
    """What is searched with: a picture or a text.

    Attributes
    ----------
    said : str
        What to call it.
    state : dict
        What `QueryExplorer.state` writes of it.
    image : Path or PIL image, optional
    text : str, optional
    label : str
        The class, ``""`` if it is not known.
    own : str, optional
        The id in the gallery, if it is there.
    """

    said: str
    state: dict[str, str]
    image: Path | Image.Image | None = None
    text: str | None = None
    label: str = ""
    own: str | None = None


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
    prepared : Prepared
        For `encode` and `search`, to do the same without buttons.
    state : dict
        The query and all settings; `restore` brings them back.
    """

    def __init__(self, gallery: Gallery, *, encoder: "Encoder", index: "Index", queries: Gallery | None = None) -> None:
        super().__init__()
        self.prepared = Prepared(gallery, encoder, index)
        _ = self.prepared.embeddings  # now, so that no search waits for them
        self._galleries = {"gallery": gallery} if queries is None else {"queries": queries, "gallery": gallery}
        self._pickable, pictures = next(iter(self._galleries.items()))
        self._ids = dict(zip(gallery.paths, gallery.ids, strict=True))
        self._past: deque[Query] = deque(maxlen=50)
        self._query = self._stored(self._pickable, pictures.ids[0])
        self._restoring = False
        self._build(pictures)
        self.add_class("query-explorer")
        self._ask()

    # -------------------------------------------------------------------------------------------- what it is made of

    def _build(self, pictures: Gallery) -> None:
        """Make the widgets, say what happens when they are used, and put them in their places."""
        self._picker = Picker(pictures, lambda key: self._do(self._pick, self._pickable, key))
        self._text = widgets.Text(description="Text", continuous_update=False, placeholder="a red apple, then Enter")
        self._text.observe(lambda change: self._do(self._type), names="value")
        self._upload = widgets.FileUpload(accept="image/*", description="Upload a picture below 10 MB")
        self._upload.observe(lambda change: self._do(self._receive), names="value")
        self._back = button("← Back", lambda event: self._do(self._go_back))
        methods, names = ([(name, name) for name in known] for known in (METHODS, metrics.METRICS))
        self._settings = {
            "method": widgets.Dropdown(description="Method", options=methods, value="CLIP"),
            "metric": widgets.Dropdown(description="Metric", options=names, value="cosine"),
            "beside": widgets.Dropdown(description="Beside it", options=[("nothing", ""), *methods], value=""),
            "beside_metric": widgets.Dropdown(description="Its metric", options=names, value="l1"),
            "k": widgets.BoundedIntText(description="k", value=5, min=1, max=MAX_K).add_class("qx-k"),
            "label": class_dropdown("Only class", self.prepared.gallery),
        }
        for setting in self._settings.values():
            setting.observe(lambda change: self._do(self._ask), names="value")
        self._notes, self._status, self._shown = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._columns = [Column(lambda match: self._do(self._pick, "gallery", match.id)) for _ in range(2)]
        found = widgets.HTML(html.line("3. Look at what is found", "part"))
        self.children = [
            widgets.HTML(html.STYLE),
            widgets.HTML(html.line("1. Choose a query: click a picture, type a text, or upload a picture", "part")),
            self._picker,
            widgets.Box([self._text, self._upload]).add_class("qx-row"),
            widgets.HTML(html.line("2. Choose how to search", "part")),
            widgets.Box(list(self._settings.values())).add_class("qx-row"),
            self._notes,
            widgets.Box([found, self._status]).add_class("qx-row"),
            widgets.Box([self._back, self._shown]).add_class("qx-row"),
            widgets.Box(self._columns).add_class("qx-columns"),
        ]

    def _do(self, action: Callable[..., None], *arguments: Any) -> None:
        """Handle an event. What `action` raises becomes a sentence: nobody sees what a handler raises."""
        try:
            action(*arguments)
        except Exception as error:
            self._status.value = html.status(sentence(error), alert=True)

    # -------------------------------------------------------------------------------------------------------- queries

    def _new_query(self, query: Query) -> None:
        self._past.append(self._query)
        self._query = query
        self._ask()

    def _go_back(self) -> None:
        if self._past:
            self._query = self._past.pop()
            self._ask()

    def _pick(self, where: str, key: str, said: str = "") -> None:
        self._new_query(self._stored(where, key, said))

    def _stored(self, where: str, key: str, said: str = "") -> Query:
        """Make a query of the picture that has this id in the gallery or the queries."""
        gallery = self._galleries[where]
        if key not in gallery.ids:
            raise ValueError(f"there is no picture {reprlib.repr(key)} in the {where} that this explorer was given")
        row = gallery.ids.index(key)
        path, label = gallery.paths[row], str(gallery.labels[row])
        own = self._ids.get(path)
        said += html.name(label, path) + (". It is in the gallery, and left out of its own results" if own else "")
        return Query(said, {where: key}, image=path, label=label, own=own)

    def _type(self) -> None:
        if self._text.value != (self._query.text or ""):  # else it was the explorer that wrote it
            self._new_query(worded(self._text.value))

    def _receive(self) -> None:
        if not self._upload.value:
            return
        file = self._upload.value[0]
        self._upload.value = ()  # else the same file would not be an event when it is uploaded again
        name, content = short(file["name"], 240), file["content"]
        if len(content) > MAX_UPLOAD:
            raise ValueError(f"{name} is too large ({len(content) / 1e6:.0f} MB): shrink it to less than 10 MB")
        known = self._by_content.get(hashlib.sha256(content).hexdigest())
        if known is not None:
            self._pick(*known, f"{name} (uploaded), which is a picture of this collection: ")
            return
        stream = io.BytesIO(content)
        stream.name = name
        picture = images.open_rgb(stream)
        picture.thumbnail((KEPT_SIDE, KEPT_SIDE))
        self._new_query(Query(f"{name} (uploaded)", {"upload": name}, image=picture))

    @cached_property
    def _by_content(self) -> dict[str, tuple[str, str]]:
        """The pictures of gallery and queries by what their files hold."""
        known = {}
        for where, gallery in self._galleries.items():
            for path, key in zip(gallery.paths, gallery.ids, strict=True):
                with suppress(OSError, ValueError):  # it is gone, or damaged, since the gallery was loaded
                    known[images.facts(path).hash] = where, key
        return known

    # ------------------------------------------------------------------------------------------- from query to results

    def _ask(self) -> None:
        """Search by the query and the settings as they are now, and show what is found."""
        if self._restoring:
            return
        query, value = self._query, {name: setting.value for name, setting in self._settings.items()}
        self._adapt(value["method"], value["beside"])
        self._text.value = query.text or ""
        self._status.value = html.status("Searching …")
        self._used = self._columns[: 2 if value["beside"] else 1]
        asked = [(value["method"], value["metric"]), (value["beside"], value["beside_metric"])]
        for column, (method, metric) in zip(self._used, asked, strict=False):
            column.ask(self.prepared, query, method, metric, value["k"], value["label"] or None)
        first, last = ({match.id for match in self._used[end].matches} for end in (0, -1))
        shared = first & last if value["beside"] else set()
        for column in self._used:
            column.show(query.label, shared)
        self._columns[1].layout.display = None if value["beside"] else "none"
        self._shown.value = html.query(query.image, f"Query: {query.said}.")
        self._picker.mark(query.image)
        self._back.disabled = not self._past
        errors = [column.error for column in self._used if column.error]
        found = [f"Found {len(first)} pictures."]
        found += [f"The two methods share {len(shared)} of them."] if value["beside"] else []
        found += [column.remark for column in self._used if column.remark]
        self._status.value = html.status(" ".join(dict.fromkeys(errors or found)), alert=bool(errors))

    def _adapt(self, method: str, beside: str) -> None:
        """Show the settings that apply, and say why others do not."""
        self._settings["metric"].layout.display = "none" if method == "ChromaDB" else None
        self._settings["beside_metric"].layout.display = "none" if beside in ("", "ChromaDB") else None
        self._text.disabled = method == "pixels"
        notes = [f"Text is off. {NO_WORDS}."] if method == "pixels" else []
        if "ChromaDB" in (method, beside):
            notes.append(f"ChromaDB has no choice of metric: its index was made for {self.prepared.index.space}.")
        self._notes.value = html.line(" ".join(notes), "note") if notes else ""

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Let pages in which no Python runs show what was found last."""
        found = [f"{one.title}: {one.error or html.told(one.matches, self._query.label)}" for one in self._used]
        return super()._repr_mimebundle_(**kwargs) | {
            "text/plain": f"Query explorer. Query: {self._query.said}. " + ". ".join(found) + ".",
            "text/html": html.page([self._shown.value, *(one.table.value for one in self._used)]),
        }

    # ---------------------------------------------------------------------------------------------------- saved states

    @property
    def state(self) -> dict[str, Any]:
        """The query and all settings, of plain values that JSON can hold; of an upload only the name."""
        return {"query": dict(self._query.state), **{name: setting.value for name, setting in self._settings.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Bring back a query and settings, and search.

        Parameters
        ----------
        state : dict
            As `state` gave it, or a part of it: what is not named stays as it is. The query is one of
            ``{"text": "a castle"}``, ``{"queries": "cat/cat_05.jpg"}``, ``{"gallery": "cat/cat_03.jpg"}`` (ids in
            the queries or in the gallery).

        Raises
        ------
        ValueError
            It is not what `state` gives: a name, a value or its type is another, or the picture is not one of this
            collection; or the query was an upload. Nothing is changed then, and nothing is searched.
        """
        if not isinstance(state, dict):
            raise ValueError(f"{reprlib.repr(state)} is no state of an explorer: give what `state` gave")
        settings = {name: value for name, value in state.items() if name != "query"}
        for name, value in settings.items():
            self._check_setting(name, value)
        query = self._query_from(state["query"]) if "query" in state else None
        self._restoring = True
        for name, value in settings.items():
            self._settings[name].value = value
        self._restoring = False
        self._ask() if query is None else self._new_query(query)

    def _check_setting(self, name: Any, value: Any) -> None:
        if name not in self._settings:
            raise ValueError(f"unknown setting {reprlib.repr(name)}: choose among query, {', '.join(self._settings)}")
        allowed = list(range(1, MAX_K + 1)) if name == "k" else [choice for _, choice in self._settings[name].options]
        if isinstance(value, bool) or not isinstance(value, type(allowed[0])) or value not in allowed:
            raise ValueError(f"{name} cannot be {reprlib.repr(value)}: choose one of {', '.join(map(str, allowed))}")

    def _query_from(self, state: Any) -> Query:
        kind, said = next(iter(state.items())) if isinstance(state, dict) and len(state) == 1 else (None, None)
        if kind == "upload":
            raise ValueError(f"{reprlib.repr(said)} was uploaded, and a state does not hold it: upload it again")
        if not isinstance(said, str) or kind not in ("text", *self._galleries):
            raise ValueError(f"{reprlib.repr(state)} is no query of an explorer: give what `state` gave")
        return worded(said) if kind == "text" else self._stored(kind, said)


class Picker(widgets.VBox):
    """A strip of thumbnails to pick from, page by page, all classes or one; `on_pick` gets the id of a picture."""

    def __init__(self, gallery: Gallery, on_pick: Callable[[str], None]) -> None:
        self._gallery, self._start, self._chosen = gallery, 0, None
        self.classes = class_dropdown("Pictures of", gallery)
        self.classes.observe(lambda change: self._turn(-self._start), names="value")
        self.previous = button("‹ Previous", lambda event: self._turn(-PAGE))
        self.next = button("Next ›", lambda event: self._turn(PAGE))
        self.surprise = button("Surprise me", lambda event: on_pick(random.choice(gallery.ids)))
        self.picks = [button("", lambda event, n=number: on_pick(self.shown.ids[n])) for number in range(PAGE)]
        for number, pick in enumerate(self.picks):
            pick.add_class("qx-pick").add_class(f"qx-pick-{number}")
        self._style, self._place, self._strip = widgets.HTML(), widgets.HTML(), widgets.Box().add_class("qx-strip")
        tools = widgets.Box([self.classes, self.previous, self.next, self._place, self.surprise]).add_class("qx-row")
        super().__init__([self._style, tools, self._strip])
        self._scope = f"qx-{self.model_id}"
        self.add_class(self._scope)
        self._turn(0)

    def _turn(self, by: int) -> None:
        """Go forward by so many pictures, or back, among those of the class that is chosen."""
        rows = [row for row, label in enumerate(self._gallery.labels) if self.classes.value in ("", label)]
        self._start = min(max(self._start + by, 0), (len(rows) - 1) // PAGE * PAGE)
        self.shown = self._gallery.take(rows[self._start : self._start + PAGE])
        end, titles = self._start + len(self.shown), self.shown.titles(range(len(self.shown)))
        self._place.value = html.line(f"{self._start + 1} to {end} of {len(rows)}", "note")
        self.previous.disabled, self.next.disabled = self._start == 0, end == len(rows)
        self._style.value = html.buttons(self._scope, self.shown.paths)
        self._strip.children = self.picks[: len(self.shown)]
        for pick, title, label, path in zip(self.picks, titles, self.shown.labels, self.shown.paths, strict=False):
            pick.description, pick.tooltip = title, f"Search with {html.name(str(label), path)}"
        self.mark(self._chosen)

    def mark(self, chosen: Path | Image.Image | None) -> None:
        """Mark the picture that is the query."""
        self._chosen = chosen
        for pick, path in zip(self.picks, self.shown.paths, strict=False):
            (pick.add_class if path == chosen else pick.remove_class)("qx-chosen")


class Column(widgets.VBox):
    """What one method finds: a table of pictures, and a button under each to go on from there."""

    def __init__(self, on_more: Callable[[Match], None]) -> None:
        self.title, self.caption, self.error, self.remark, self.matches = "", [], "", "", []
        self._on_more, self._buttons = on_more, []
        self.table, self.more = widgets.HTML(), widgets.Box().add_class("qx-more")
        super().__init__([self.table, self.more])
        self.add_class("qx-column")

    def ask(self, prepared: Prepared, query: Query, method: str, metric: str, k: int, label: str | None) -> None:
        """Search; keep what is found and how long it took, or why nothing is."""
        metric = prepared.index.space if method == "ChromaDB" else metric
        self.title, self.matches, self.error, printed = f"{method}, {metric}", [], "", io.StringIO()
        try:
            start = time.perf_counter()
            with redirect_stdout(printed):  # nobody sees what a handler prints
                vector = encode(prepared, image=query.image, text=query.text, method=method)
            encoding = time.perf_counter() - start
            if method == "pixels":
                _ = prepared.pixels  # made once, at the first use: no part of the time of a search
            start = time.perf_counter()
            options = {"method": method, "metric": metric, "k": k, "label": label, "leave_out": query.own}
            self.matches = search(prepared, vector, **options)
            seconds = time.perf_counter() - start
            right = sum(match.label == query.label for match in self.matches)
            self.caption = [
                f"{self.title}: {'larger' if metrics.METRICS.get(metric, (None, True))[1] else 'smaller'} is nearer",
                f"P@{k} = {right / k:.2f}: {right} of {k} right" if query.label else html.NOT_MARKED,
                f"search {seconds * 1000:.1f} ms, encoding {encoding * 1000:.1f} ms",
            ]
        except Exception as error:
            self.error = sentence(error)
            self.caption = [self.title, self.error]
        self.remark = sentence(printed.getvalue())

    def show(self, label: str, shared: set[str]) -> None:
        """Show what was found, right or wrong by the class of the query; `shared` are ids that both methods found."""
        self.table.value = html.table(self.caption, self.matches, label, shared)
        for number in range(len(self._buttons), len(self.matches)):
            go_on = button(f"More like {number + 1}", lambda event, n=number: self._on_more(self.matches[n]))
            self._buttons.append(go_on)
        self.more.children = self._buttons[: len(self.matches)]


def class_dropdown(description: str, gallery: Gallery) -> widgets.Dropdown:
    """Make a dropdown of the classes, after all of them; it is not seen where there are none."""
    choices = [("all classes", ""), *((html.words(label), label) for label in gallery.classes)]
    made = widgets.Dropdown(description=description, options=choices, value="")
    made.layout.display = None if gallery.classes else "none"
    return made


def button(description: str, on_click: Callable[[widgets.Button], None]) -> widgets.Button:
    """Make a button."""
    made = widgets.Button(description=description)
    made.on_click(on_click)
    return made


def worded(text: str) -> Query:
    """Make a query of a text, or raise what `check_text` does."""
    check_text(text)
    return Query(f"“{short(text)}”", {"text": text}, text=text)


def sentence(said: Exception | str) -> str:
    """Write an error or a remark as a sentence."""
    if isinstance(said, Exception) and not isinstance(said, (ValueError, OSError)):
        said = f"This search failed ({type(said).__name__}: {said}). Try another query, or restart the kernel"
    text = str(said).strip().removesuffix(".")
    starts_with_a_file = "." in text.partition(" ")[0]
    return (text if starts_with_a_file else text[:1].upper() + text[1:]) + "." if text else ""


def short(text: str, longest: int = 82) -> str:
    """Cut a text that is too long to be called by."""
    return text if len(text) <= longest else f"{text[: longest - 2]} …"
