"""The back room of the self-checks: the right answers, and what judges a reader's own. `lab.check` opens it."""
