"""Sphinx's settings for the course's website: tools/build_site.py calls it."""

import os
from importlib.metadata import distribution
from pathlib import Path

project = "Image retrieval"
copyright = "the authors of the course. Code and text: MIT; each picture has its own licence"
author = "the authors of the course"

extensions = ["myst_nb", "sphinx.ext.mathjax"]
nb_merge_streams = True  # what a loop prints is one output
nb_execution_mode = "off"  # the outputs are those in the repository, which `make test` has compared
myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 4

html_title = "Image retrieval, from raw pixels to a vector database"
html_theme = "sphinx_book_theme"
html_theme_options = {
    "show_toc_level": 2,
    "navbar_persistent": [],  # no header: the buttons beside the title work only where there is no second pair of them
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
if repository := os.environ["COURSE_REPOSITORY"]:
    html_theme_options |= {
        "repository_url": repository,
        "repository_branch": "main",
        "use_repository_button": True,
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    }

# one file of MathJax draws formulas as SVG, with MathML for screen readers: no fonts and no network
_mathjax = distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax/tex-svg.js")
mathjax_path = "tex-svg.js"
html_static_path = [str(Path(__file__).with_name("static")), str(_mathjax)]
html_css_files = ["site.css"]
html_js_files = ["print.js"]
html_use_index = False
html_sourcelink_suffix = ""
