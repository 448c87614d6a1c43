"""Serve the query explorer to a class. `make explorer` calls this; its options are Voilà's, and those of `serving`."""

if __name__ == "__main__":  # every kernel imports this file anew: there it should cost nothing
    import lean  # noqa: F401 (before Jupyter)
    from serving import Explorer

    Explorer.launch_instance()
