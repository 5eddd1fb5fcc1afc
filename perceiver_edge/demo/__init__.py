"""A bundle in the browser: `python -m perceiver_edge.demo` serves the page, `browser` runs models without showing one."""
