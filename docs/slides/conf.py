"""How Sphinx makes the slides: tools/slides.py calls it."""

from importlib.metadata import distribution

project = "Image retrieval, from raw pixels to a vector database"
extensions = ["myst_parser", "sphinx.ext.mathjax", "sphinx_revealjs"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
html_copy_source = False

# One file of MathJax is all that formulas need. It draws them without fonts, and asks no server.
_mathjax = distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax/tex-svg.js")
mathjax_path = "tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}

revealjs_static_path = ["style.css", str(_mathjax)]
revealjs_style_theme = "style.css"
revealjs_script_plugins = [{"src": "revealjs/plugin/notes/notes.js", "name": "RevealNotes"}]
revealjs_script_conf = {
    "width": 1280,
    "height": 720,
    "margin": 0,
    "display": "flex",  # style.css gives a figure the room that the words leave
    "center": False,
    "hash": True,
    "slideNumber": "c/t",
    "transition": "none",
    "scrollActivationWidth": None,
    "pdfSeparateFragments": False,
    "pdfMaxPagesPerSlide": 1,
}
# what comes with reveal.js and no deck uses
exclude_patterns = [
    "revealjs/css/**",
    "revealjs/dist/theme/**",
    "revealjs/**/*.esm.js",
    "revealjs/**/*.map",
    *(f"revealjs/plugin/{name}/**" for name in ("highlight", "markdown", "math", "search", "zoom")),
    "revealjs/plugin/notes/plugin.js",
    "revealjs/plugin/notes/speaker-view.html",
]
