"""One model, one file: an ONNX graph with an order and names that do not depend on the run that made it."""

from __future__ import annotations

import re
from typing import Any

import onnx


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    """Order the nodes by dependence, and number what has no name of its own, in that order.

    tf2onnx and TensorFlow number what they make with process-wide counters, and walk through sets: without this, the
    same model would have other bytes, and another SHA-256, each time.
    """
    graph = model.graph
    nodes = _ordered(graph)
    names = _names(graph, nodes)
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used = [constants[name] for name in names if name in constants]
    for value in (*used, *graph.value_info):
        value.name = names.get(value.name, value.name)
    result = _copy_without(model, "graph")
    result.graph.CopyFrom(_copy_without(graph, "node", "initializer", "value_info"))
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(used)
    computed = {name for node in nodes for name in node.output}
    shapes = {value.name: value for value in graph.value_info if value.name in computed}
    result.graph.value_info.extend(shapes[name] for name in sorted(shapes))
    return result


def _copy_without(message: Any, *names: str) -> Any:
    """A copy that lacks these fields; clearing them in a whole copy would not free the memory of its weights."""
    copy = type(message)()
    for field, value in message.ListFields():
        if field.name not in names:
            copy.MergeFrom(type(message)(**{field.name: value}))
    return copy


def _ordered(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """What the outputs need, each node after those it reads from, by depth-first search."""
    producer = {name: node for node in graph.node for name in node.output}
    done: dict[int, onnx.NodeProto] = {}
    stack = [producer[value.name] for value in reversed(graph.output)]
    while stack:
        node = stack[-1]
        waiting = [producer[n] for n in node.input if n in producer and id(producer[n]) not in done]
        if waiting:
            stack.append(waiting[0])
        else:
            done.setdefault(id(node), stack.pop())
    return list(done.values())


def _names(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> dict[str, str]:
    """New names by old ones, in order of first use: of every constant, and of results with a counter in their name."""
    constants = {tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    names: dict[str, str] = {}
    for node in nodes:
        for name in node.input:
            if name in constants and name not in names:
                names[name] = name if name.endswith((".weight", ".bias")) else f"constant.{len(names)}"
        node.name = re.sub(r"__\d+", f"__{len(names)}", node.name)
        names |= {n: f"{node.name}:{i}" for i, n in enumerate(node.output) if "__" in n and n not in outputs}
    return names
