"""Make of a notebook that a student wrote one that can be opened: it shows what it showed, runs nothing, asks nobody.

A text without HTML, links, pictures and headings stays as it was written. Any other becomes one line of HTML that has
passed a sanitiser: a program that shows Markdown hands it on as it is, so no other reading of it can bring anything
back. What was left out is named in its place. Links show where they lead and cannot be clicked: an address of
nbgrader's form grader is enough to run a program in the teacher's name.
"""

import base64
import binascii
import html
import re
from collections import Counter
from collections.abc import Collection
from typing import Any

import nbformat
import nh3
from markupsafe import escape
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pygments.token import STANDARD_TYPES

WRITTEN = "as_written"
"""In the metadata of a cell whose text was changed: the text as the student wrote it."""
LONGEST, MOST_FORMULAS, LONGEST_TOGETHER = 20_000, 100, 200_000
"""What is still read as Markdown, of one text (in characters) and of a notebook: some take a time that grows with the
square of their length. What is longer is shown as it was written.
"""
MOST_ELEMENTS, DEEPEST = 20_000, 100
"""What is still read as HTML."""
TAGS = {
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "code", "kbd", "samp", "ul", "ol",
    "li", "dl", "dt", "dd", "div", "span", "img", "strong", "b", "em", "i", "u", "s", "del", "ins", "mark",
    "small", "sub", "sup", "abbr", "q", "figure", "figcaption", "table", "caption",
    "colgroup", "col", "thead", "tbody", "tfoot", "tr", "th", "td",
}  # fmt: skip
ATTRIBUTES = {
    "img": {"src", "alt", "width", "height", "style"},
    "ol": {"start"},
    "table": {"border"},
    "tr": {"style"},
    "th": {"colspan", "rowspan", "style"},
    "td": {"colspan", "rowspan", "style"},
}
CLASSES = {
    "table": {"dataframe", "tex2jax_ignore", "mathjax_ignore"},
    "div": {"highlight"},
    "span": {name for name in STANDARD_TYPES.values() if name},
}
STYLES = {"text-align", "max-width"}
NAMED = {
    "script", "svg", "math", "iframe", "frame", "frameset", "object", "embed", "applet", "audio", "video",
    "canvas", "map", "form", "input", "button", "select", "textarea", "noscript", "noembed", "noframes",
    "template", "portal", "link", "meta", "base", "title", "xmp", "plaintext", "dialog",
}  # fmt: skip
"""Elements in whose place stands a word, nothing that is in them. Of others that are not in TAGS, the content stays."""
ELEMENTS = TAGS | NAMED | {
    "a", "html", "head", "body", "style", "main", "nav", "header", "footer", "section", "article", "center",
    "font", "address", "details", "summary", "picture", "source", "track", "param", "area", "option", "marquee",
    "mtext", "mglyph",
}  # fmt: skip
"""What between < and > is no name of these is no HTML, but was meant to be read: <name>, or x<y and y>z."""
VOID = {
    "area", "base", "br", "col", "embed", "frame", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
}  # fmt: skip
UNCLOSED = {"p", "li", "dt", "dd", "td", "th", "tr", "thead", "tbody", "tfoot", "colgroup", "option"}
"""What needs no end: the next of its kind is one."""
PICTURES = ("image/png", "image/jpeg")
PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+")
TAG = re.compile(r"""<(/?)([A-Za-z][^\s/>]*+)((?:[^>"'=]++|=\s*+(?:"[^"]*+"|'[^']*+'|)|["'])*+)>""")
ATTRIBUTE = re.compile(r"""([^\s"'<>/=]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]*+)))?""")
NUMBER = re.compile(r"\d{1,4}")
FORMULA = re.compile(r"\\\\[\[(]|\\begin\b|\$\$")
MACRO = re.compile(
    r"\\(?=(?:href|style|class|cssId|unicode|require|csname|e?def|gdef|let|(?:re)?newcommand|newenvironment|data"
    r"|html[A-Z]\w*|url|includegraphics|mmlToken|texttip|tooltip|action|toggle)(?![A-Za-z]))"
)
"""Commands of MathJax that make links, styles or other commands; broken by a character that shows nothing."""
CONTROL = re.compile("[\0-\b\v\f\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
SAYS = {
    "application/javascript": "JavaScript",
    "text/javascript": "JavaScript",
    "image/svg+xml": "an SVG picture",
    "application/vnd.jupyter.widget-view+json": "a widget",
}
NBGRADER = {
    **dict.fromkeys(("grade", "locked", "solution", "task"), bool),
    **dict.fromkeys(("grade_id", "cell_type", "checksum"), str),
    **dict.fromkeys(("points", "schema_version"), (int, float)),
}


class Clean(Preprocessor):
    """What nbconvert calls before nbgrader's form grader shows a notebook, however that came to be where it is."""

    enabled = True

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Clean the notebook, and write the names that the form grader puts on its page as HTML."""
        for key, value in resources.items():
            resources[key] = str(escape(value)) if isinstance(value, str) else value
        return clean(nb), resources


def clean(notebook: NotebookNode, own: Collection[str] = ()) -> NotebookNode:
    """Return a notebook that shows the same and can be opened; the one that was given is not changed.

    Parameters
    ----------
    notebook : NotebookNode
        Of version 4, run or not, with anything in it.
    own : collection of str
        The assignment's own texts: cells of text that hold exactly one of these stay as they are.

    Returns
    -------
    NotebookNode
        With new ids, and of the metadata only what nbgrader needs. What a student wrote into a cell of text is
        returned by `written`, also where the cell shows something else.
    """
    cells, together = [], 0
    for number, cell in enumerate(notebook.cells):
        source, metadata = text(cell.source), _metadata(cell)
        if cell.cell_type == "code":
            outputs = [kept for output in cell.get("outputs", []) for kept in _output(output)]
            count = cell.get("execution_count")
            made = new_code_cell(source, outputs=outputs, execution_count=count if isinstance(count, int) else None)
        else:
            shown = source
            if cell.source not in own:
                together += len(source)
                read = cell.cell_type == "markdown" and (together <= LONGEST_TOGETHER or is_clean(source))
                shown = markdown(source) if read else plain(source)
            made = new_markdown_cell(shown)
            if shown != source:
                metadata[WRITTEN] = source
        made.id, made.metadata = f"cell-{number:03d}", nbformat.from_dict(metadata)
        cells.append(made)
    names = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return new_notebook(cells=cells, metadata=names | {"language_info": {"name": "python"}})


def written(cell: NotebookNode) -> str:
    """Return the text of a cell as the student wrote it."""
    return cell.metadata.get(WRITTEN, cell.source)


def markdown(source: str) -> str:
    """Return a text that can be shown as Markdown anywhere: itself, or one line of sanitised HTML."""
    try:
        if is_clean(source):
            return source
        if len(source) > LONGEST or len(FORMULA.findall(source)) > MOST_FORMULAS:
            return plain(source)
        reader = _Reader()
        shown = MarkdownWithMath(renderer=reader).render(source)
        if not reader.found and not MACRO.search(html.unescape(shown)):
            return source
        return _one_line(sanitise(shown))
    except Exception:  # what a text may hold knows no end; shown as it was written it harms nobody
        return plain(source)


def is_clean(source: str) -> bool:
    """Tell whether a text is one that `markdown` or `plain` returned in place of another."""
    if re.fullmatch(r"<div><pre>[^<>\r\n]*</pre></div>", source):
        return True
    try:
        return source.startswith("<div>") and source == _one_line(sanitise(source[5:-6]))
    except ValueError:
        return False


def plain(source: str) -> str:
    """Return a text as one line of HTML that shows it as it was written."""
    return _one_line(f"<pre>{html.escape(_unmathed(source), quote=False)}</pre>")


def sanitise(shown: str) -> str:
    """Return HTML without anything that runs, asks for something elsewhere or covers the page.

    Raises
    ------
    ValueError
        It has more elements, or these are nested more deeply, than can be shown in reasonable time.
    """
    if shown.count("<") + shown.count("&") > MOST_ELEMENTS:
        raise ValueError("too many elements")
    kept = nh3.clean(
        "".join(_Words(shown).said),
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=_attribute,
        allowed_classes=CLASSES,
        filter_style_properties=STYLES,
        url_schemes={"data"},
        link_rel=None,
    )
    return _unmathed(re.sub("<pre>\n+", "<pre>", kept))  # a reader of HTML takes the first of these away each time


def text(value: object) -> str:
    """Return a text without halves of letters and control characters; those that begin a colour stay."""
    return CONTROL.sub("", str(value).encode("utf-8", "replace").decode())


class _Reader(IPythonRenderer):
    """Writes Markdown as HTML, and notes whether there was anything in it that a page takes for more than words."""

    def __init__(self) -> None:
        super().__init__(escape=False, exclude_anchor_links=True)
        self.found = False

    def inline_html(self, html: str) -> str:
        self.found = True
        name = re.match(r"</?([A-Za-z][\w:-]*)", html)
        if name and name[1].lower() not in ELEMENTS:
            return self.escape_html(html)
        if name and name[1].lower() in NAMED:  # what it is around is said further on in the text, and stays there
            return "" if html.startswith("</") else _left_out(name[1].lower())
        return html

    def block_html(self, html: str) -> str:
        self.found = True
        name = re.match(r"\s*</?([A-Za-z][\w:-]*)", html)
        if name and name[1].lower() not in ELEMENTS:
            return f"<p>{self.escape_html(html)}</p>\n"
        return sanitise(html)  # by itself, so that what it leaves open ends here

    def link(self, text: str, url: str, title: str | None = None) -> str:
        self.found = True
        return f'<a href="{escape(url)}">{text}</a>'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        self.found = True
        return f'<img src="{escape(url)}" alt="{escape(text)}">'

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        self.found = True  # nbconvert would give it an id, which may be that of a field of the form grader
        return f"<h{level}>{text}</h{level}>\n"

    def block_code(self, code: str, info: str | None = None) -> str:
        if (info or "").startswith("mermaid"):  # nbconvert writes such a drawing as it is, HTML and all
            self.found, info = True, None
        return super().block_code(code, info)


class _Words:
    """Writes HTML anew, with words where something is left out, in a time that grows with its length alone.

    It is no sanitiser, but what makes any input one that the sanitiser can take: each element in whole, not too deep.
    """

    def __init__(self, page: str) -> None:
        self.page, self.said = page, []
        self.open: Counter[str] = Counter()
        self.link: tuple[str, int] | None = None
        at = 0
        while (start := page.find("<", at)) >= 0:
            self.said.append(page[at:start])
            at = self._markup(start)
        self.said.append(page[at:])

    def _say(self, words: str) -> None:
        self.said.append(html.escape(words, quote=False))

    def _markup(self, start: int) -> int:
        """Write what begins here, and return where it ends; what has no end reaches to that of the page."""
        page = self.page
        if not re.match(r"[A-Za-z/!?]", page[start + 1 : start + 2]):
            self._say("<")
            return start + 1
        end = "-->" if page.startswith("<!--", start) else ">"
        found = TAG.match(page, start)
        if not found:
            return page.index(end, start) + len(end) if page.find(end, start) >= 0 else len(page)
        name, after = found[2].lower(), found.end()
        if found[1]:
            self._end(name)
        elif name in NAMED or name == "style":
            self._say(_left_out(name) if name in NAMED else "")
            closing = None if name in VOID else re.compile(rf"</{name}\b[^>]*>", re.IGNORECASE).search(page, after)
            return after if name in VOID else closing.end() if closing else len(page)
        else:
            attributes = {key.lower(): html.unescape("".join(value)) for key, *value in ATTRIBUTE.findall(found[3])}
            self._start(name, attributes)
        return after

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "a":
            self._end("a")  # a link in a link ends it
            self.link = (attributes.get("href", ""), len(self.said))
        elif name == "img" and not PICTURE.fullmatch(attributes.get("src", "")):
            self._say(_left_out("a picture", attributes.get("alt", "")))
        elif name in TAGS:
            kept = ATTRIBUTES.get(name, set()) | ({"class"} if name in CLASSES else set())
            said = "".join(f' {key}="{html.escape(attributes[key])}"' for key in sorted(kept & attributes.keys()))
            self.said.append(f"<{name}{said}>")
            self.open[name] += name not in VOID | UNCLOSED
            if self.open.total() > DEEPEST:
                raise ValueError("nested too deeply")

    def _end(self, name: str) -> None:
        if name == "a" and self.link:
            (href, start), self.link = self.link, None
            self._say(_address(href, html.unescape(re.sub("<[^>]*>", "", "".join(self.said[start:])))))
        elif name in TAGS:
            self.said.append(f"</{name}>")
            self.open[name] -= self.open[name] > 0


def _output(output: NotebookNode) -> list[NotebookNode]:
    """Return what of an output can be shown, and a word for what cannot."""
    if output.output_type == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return [new_output("stream", name=name, text=text(output.get("text", "")))]
    if output.output_type == "error":
        lines = [text(line) for line in output.get("traceback", [])]
        said = {key: text(output.get(key, "")) for key in ("ename", "evalue")}
        return [new_output("error", **said, traceback=lines)]
    data, metadata, dropped = {}, {}, []
    for kind, value in output.get("data", {}).items():
        if kind in PICTURES and _is_base64(value):
            data[kind] = value
            sizes = output.get("metadata", {}).get(kind)
            sizes = {key: sizes.get(key) for key in ("width", "height")} if isinstance(sizes, dict) else {}
            metadata[kind] = {key: size for key, size in sizes.items() if isinstance(size, int | float)}
        elif kind in ("text/html", "text/markdown"):
            try:
                data["text/html"] = sanitise(text(value)) if kind == "text/html" else _html(text(value))
            except Exception as error:  # what it may hold knows no end
                dropped.append(f"{kind}, {error}")
        elif kind in ("text/plain", "text/latex"):  # a formula is shown as it is written
            data["text/plain"] = text(value) if kind == "text/latex" else data.get("text/plain", text(value))
        else:
            dropped.append(SAYS.get(kind, kind))
    made = []
    if data:
        result = output.output_type == "execute_result"
        more = {"output_type": "execute_result", "execution_count": None} if result else {"output_type": "display_data"}
        made.append(new_output(data=data, metadata=metadata, **more))
    if dropped:
        words = " ".join(_left_out(kind) for kind in sorted(set(dropped)))
        made.append(new_output("display_data", data={"text/plain": text(words)}))
    return made


def _html(source: str) -> str:
    """Return Markdown as sanitised HTML."""
    if len(source) > LONGEST or len(FORMULA.findall(source)) > MOST_FORMULAS:
        raise ValueError("too long")
    return sanitise(MarkdownWithMath(renderer=_Reader()).render(source))


def _metadata(cell: NotebookNode) -> dict[str, Any]:
    """Return of a cell's metadata what nbgrader needs, each of its type; a name must be one."""
    found = cell.metadata.get("nbgrader")
    found = found if isinstance(found, dict) else {}
    kept = {key: found[key] for key, kind in NBGRADER.items() if isinstance(found.get(key), kind)}
    kept = {key: value for key, value in kept.items() if not isinstance(value, str) or re.fullmatch(r"[\w.:-]*", value)}
    return {"nbgrader": kept} if "grade_id" in kept else {}


def _attribute(tag: str, name: str, value: str) -> str | None:
    """Return the value that an attribute may have, or None."""
    if name in ("colspan", "rowspan", "width", "height", "border", "start"):
        return value if NUMBER.fullmatch(value) else None
    if name == "src":
        return value if PICTURE.fullmatch(value) else None
    return value


def _address(href: str, said: str) -> str:
    """Return what is added to a link's words: where it leads."""
    if href in ("", said, f"mailto:{said}"):
        return ""
    return f" ({href})" if re.match(r"(https?://|mailto:)", href) else f" {_left_out('a link')}"


def _left_out(what: str, name: str = "") -> str:
    return f"[left out: {what}{f' “{name}”' if name else ''}]"


def _is_base64(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(base64.b64decode(re.sub(r"\s", "", value), validate=True))
    except (binascii.Error, ValueError):
        return False


def _unmathed(shown: str) -> str:
    return MACRO.sub("\\\\\u200b", shown)


def _one_line(shown: str) -> str:
    """Return HTML so that it is one block of HTML to every reader of Markdown: such a block ends at an empty line."""
    return "<div>" + re.sub(r"\r\n?|\n", "&#10;", shown.rstrip("\n")) + "</div>"
