"""A bundle in the browser: `python -m perceiver_edge.demo` serves a page, `browser` runs models without one."""
