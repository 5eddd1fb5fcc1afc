"""The child's end of `isolated`: load the model that comes first, then answer until the parent hangs up."""

from __future__ import annotations

import os
import sys

from perceiver_edge.errors import PerceiverEdgeError
from perceiver_edge.runtime.frames import receive, send
from perceiver_edge.runtime.loading import load


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an engine prints is no answer
    feeds_from = sys.stdin.buffer
    try:
        first, arrays = receive(feeds_from)
        runner = load(arrays["model"].tobytes(), **first["options"])
        sides = {
            side: {name: (spec.shape, spec.dtype.str) for name, spec in specs.items()}
            for side, specs in (("inputs", runner.inputs), ("outputs", runner.outputs))
        }
    except PerceiverEdgeError as error:
        send(answers, {"error": str(error)}, {})
        return
    send(answers, {"engine": runner.engine, **sides}, {})
    while True:
        try:
            _, feeds = receive(feeds_from)
        except EOFError:
            return
        try:
            header, results = {}, runner._answer(feeds)
        except PerceiverEdgeError as error:
            header, results = {"error": str(error)}, {}
        send(answers, header, results)


if __name__ == "__main__":
    main()
