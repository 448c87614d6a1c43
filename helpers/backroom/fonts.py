"""Let any name be drawn by Matplotlib as it stands: in any script that a font here has, and with ``$`` as no formula.

What no font has is drawn as ``?`` and named in a printed line.
"""

import unicodedata
from functools import cache

from matplotlib import get_cachedir
from matplotlib.category import StrCategoryFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Arial Unicode MS",
    "Apple SD Gothic Neo", "Thonburi", "Microsoft YaHei", "SimSun", "Yu Gothic", "Malgun Gothic", "Leelawadee UI",
    "Nirmala UI", "Segoe UI", "Segoe UI Symbol", "Segoe UI Emoji", "Noto Sans Thai", "Loma", "Noto Sans Devanagari",
    "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Emoji", "Noto Sans Symbols 2", "Symbola", "FreeSans", "Unifont",
)  # fmt: skip
"""Fonts of Linux, macOS and Windows that have signs which Matplotlib's own font lacks: Chinese, Thai, emoji, …"""


def make_drawable(fig: Figure) -> None:
    """Let the text of a figure be drawn as it stands, with the fonts that this computer has."""
    axes = [axis for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)]
    ticks = {text for axis in axes for text in axis.findobj(Text)} - {axis.label for axis in axes}
    texts = set(fig.findobj(Text)) - ticks
    named = {  # axes whose ticks are words; shared axes have one formatter
        formatter: axis
        for axis in axes
        if isinstance(formatter := axis.get_major_formatter(), (FixedFormatter, FuncFormatter, StrCategoryFormatter))
    }
    said = [text.get_text() for text in texts]
    said += [
        str(word) for formatter, axis in named.items() for word in formatter.format_ticks(axis.get_majorticklocs())
    ]
    table, fonts = _signs(set("".join(said)))
    for text in texts:
        text.set_text(text.get_text().translate(table))
    for formatter, axis in named.items():
        axis.set_major_formatter(lambda x, at, words=formatter: _cut(str(words(x, at))).translate(table))
    for text in texts | ticks if fonts else ():
        text.set_fontfamily([*text.get_fontfamily(), *fonts])


def _signs(signs: set[str]) -> tuple[dict[int, str], list[str]]:
    """Return what to draw instead of some signs, and which fonts the others need beside Matplotlib's own."""
    table = {"$": r"\$"} | {sign: " " for sign in signs if unicodedata.category(sign) == "Cc" and sign != "\n"}
    own = _drawn_by(findfont(FontProperties()))
    missing = {sign for sign in signs - table.keys() - {"\n"} if ord(sign) not in own}
    used = []
    installed = {font.name for font in fontManager.ttflist}
    for font in [name for name in FONTS if name in installed] if missing else ():
        has = _drawn_by(findfont(FontProperties(family=[font])))
        if found := {sign for sign in missing if ord(sign) in has}:
            used.append(font)
            missing -= found
    unseen = {sign for sign in missing if unicodedata.category(sign) in ("Cf", "Mn")}  # they only shape others
    table |= dict.fromkeys(unseen, "") | dict.fromkeys(missing - unseen, "?")
    if missing - unseen:
        named = " ".join(sorted(missing - unseen)[:12]).encode("utf-8", "backslashreplace").decode()
        print(
            f"Drawn as ?, because no font here has them: {named}. To see them, "
            f"install Noto Sans for this script and remove {get_cachedir()} (its list of fonts)."
        )
    return str.maketrans(table), used


@cache
def _drawn_by(font: str) -> frozenset[int]:
    """Return the signs that a font has, as code points."""
    return frozenset(get_font(font).get_charmap())


def _cut(name: str, longest: int = 32) -> str:
    lines = name.split("\n")[:3]
    return "\n".join(line if len(line) <= longest else line[: longest - 1] + "…" for line in lines)
