"""The parts of the explorer that are made of several widgets: what to pick from, and what was found."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets as widgets
from PIL import Image

from helpers import cards, images
from helpers.images import Gallery
from helpers.store import Match

PAGE = 8
"""Thumbnails to pick from at a time."""


class Picker(widgets.VBox):
    """A strip of thumbnails to pick from, page by page, all classes or one."""

    def __init__(self, gallery: Gallery, scope: str, on_pick: Callable[[Path], None]) -> None:
        self._labels = dict(zip(gallery.paths, gallery.labels.tolist(), strict=True))
        self._scope, self._on_pick = scope, on_pick
        self._paths, self._start, self._chosen = gallery.paths, 0, None
        self.classes = dropdown("Pictures of", class_choices(gallery), "", "260px")
        self.classes.layout.display = None if gallery.classes else "none"
        self.classes.observe(lambda change: self._turn(-self._start), names="value")
        self.previous = button("‹ Previous", lambda event: self._turn(-PAGE))
        self.next = button("Next ›", lambda event: self._turn(PAGE))
        self.surprise = button("Surprise me", lambda event: on_pick(random.choice(gallery.paths)))
        self.picks = [button("", lambda event, number=number: self._pick(number)) for number in range(PAGE)]
        for number, pick in enumerate(self.picks):
            pick.layout.width, pick.layout.height = "96px", "96px"
            for name in ("qx-pick", f"qx-pick-{number}"):
                pick.add_class(name)
        self._style, self._place, self._strip = widgets.HTML(), widgets.HTML(), row([], "qx-strip")
        tools = [self.classes, self.previous, self.next, self._place, self.surprise]
        super().__init__([self._style, row(tools), self._strip])
        self._turn(0)

    @property
    def shown(self) -> list[Path]:
        """The pictures on this page."""
        return self._paths[self._start : self._start + PAGE]

    def _turn(self, by: int) -> None:
        """Go forward by so many pictures, or back, among those of the class that is chosen."""
        label = self.classes.value
        self._paths = [path for path, theirs in self._labels.items() if label in ("", theirs)]
        self._start = min(max(self._start + by, 0), (len(self._paths) - 1) // PAGE * PAGE)
        first, last = self._start + 1, self._start + len(self.shown)
        self._place.value = cards.note(f"{first} to {last} of {len(self._paths)}")
        self.previous.disabled, self.next.disabled = first == 1, last == len(self._paths)
        self._draw()

    def _draw(self) -> None:
        self._style.value = cards.buttons(self._scope, self.shown)
        for path, pick in zip(self.shown, self.picks, strict=False):
            pick.description = cards.words(self._labels[path]) or images.spelled(path.stem)
            pick.tooltip = f"Search with {cards.name(self._labels[path], path)}"
        self._strip.children = self.picks[: len(self.shown)]
        self.mark(self._chosen)

    def _pick(self, number: int) -> None:
        self._on_pick(self.shown[number])

    def mark(self, chosen: Path | Image.Image | None) -> None:
        """Mark the picture that is the query."""
        self._chosen = chosen
        for path, pick in zip(self.shown, self.picks, strict=False):
            if isinstance(chosen, Path) and path == chosen:
                pick.add_class("qx-chosen")
            else:
                pick.remove_class("qx-chosen")


class Column(widgets.VBox):
    """The results of one method, and a button under them for each, to go on from there."""

    def __init__(self, on_more: Callable[[Match], None]) -> None:
        self._on_more, self._matches = on_more, ()
        self._buttons: list[widgets.Button] = []
        self.table, self.more = widgets.HTML(), row([], "qx-more")
        super().__init__([self.table, self.more])
        self.add_class("qx-column")

    def show(self, caption: Sequence[str], matches: Sequence[Match], label: str, shared: set[str]) -> None:
        """Show results, as `cards.table` writes them."""
        self._matches = matches
        self.table.value = cards.table(caption, matches, label, shared)
        for number in range(len(self._buttons), len(matches)):
            self._buttons.append(button(f"More like {number + 1}", lambda event, number=number: self._go_on(number)))
        self.more.children = self._buttons[: len(matches)]

    def _go_on(self, number: int) -> None:
        self._on_more(self._matches[number])


def class_choices(gallery: Gallery) -> list[tuple[str, str]]:
    """List the classes to choose from, after all of them."""
    return [("all classes", ""), *((cards.words(label), label) for label in gallery.classes)]


def dropdown(description: str, options: list[tuple[str, str]], value: str, width: str) -> widgets.Dropdown:
    """Make a dropdown of (what is read, value) pairs."""
    made = widgets.Dropdown(description=description, options=options, value=value)
    made.layout.width, made.style.description_width = width, "initial"
    return made


def button(description: str, on_click: Callable[[widgets.Button], None]) -> widgets.Button:
    """Make a button that is as wide as its words."""
    made = widgets.Button(description=description)
    made.layout.width = "auto"
    made.on_click(on_click)
    return made


def row(children: Sequence[widgets.Widget], name: str = "qx-row") -> widgets.Box:
    """Put widgets beside each other, in more than one line where the page is narrow."""
    made = widgets.Box(children)
    made.layout.flex_flow = "row wrap"
    made.add_class(name)
    return made
