"""Models taken apart, to be broken in one place and put together again: the same methods for both formats.

Weights are int8 ``[out, in]`` with a scale for each row, biases int32 or float ``[out]``. ``rewrite_…`` returns whether
there was something to rewrite.
"""

from __future__ import annotations

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import helper, numpy_helper

from perceiver_edge.converters.onnx.graph import onnx_sites
from perceiver_edge.converters.tflite.graph import tflite_sites

_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT8: np.int8,
}


class Tflite:
    """A TFLite model taken apart; ``pack`` puts it together again."""

    def __init__(self, model):
        self.root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
        (self.graph,) = self.root.subgraphs
        self.sites = tflite_sites(model)
        for buffer in self.root.buffers:  # large ones lie behind the flatbuffer; bring them in
            if buffer.data is None and buffer.size:
                buffer.data = np.frombuffer(model[buffer.offset : buffer.offset + buffer.size], np.uint8)
            buffer.offset = buffer.size = 0

    def operator(self, site):
        return self.graph.operators[int(self.sites[site].operator)]

    def tensor(self, site, which):
        operator = self.operator(site)
        index = operator.outputs[0] if which == "output" else operator.inputs[("input", "weight", "bias").index(which)]
        return self.graph.tensors[index]

    def _values(self, tensor):
        data = self.root.buffers[tensor.buffer].data
        if data is None or not len(data):
            return None
        return np.frombuffer(data.tobytes(), _DTYPES.get(tensor.type, np.uint8)).reshape(tensor.shape)

    def _rewrite(self, tensor, change):
        values = self._values(tensor)
        changed = np.ascontiguousarray(change(values)).astype(values.dtype)
        buffer = schema.BufferT()  # of its own: tensors may share one
        buffer.data = np.frombuffer(changed.tobytes(), np.uint8)
        self.root.buffers.append(buffer)
        tensor.buffer = len(self.root.buffers) - 1

    def weights(self, site):
        return self._values(self.tensor(site, "weight"))

    def rewrite_weights(self, site, change):
        self._rewrite(self.tensor(site, "weight"), change)
        return True

    def rewrite_bias(self, site, change):
        operator = self.operator(site)
        if len(operator.inputs) < 3 or operator.inputs[2] < 0:
            return False
        self._rewrite(self.tensor(site, "bias"), change)
        return True

    def rewrite_scales(self, site, change):
        quantization = self.tensor(site, "weight").quantization
        quantization.scale = change(np.array(quantization.scale, np.float32))
        return True

    def rewrite_range(self, site, which, *, factor=1.0, shift=0):
        """Of the activation before or behind a product: producer and readers of a TFLite tensor share it."""
        quantization = self.tensor(site, which).quantization
        if quantization is None or quantization.scale is None:
            return False
        quantization.scale = np.array(quantization.scale, np.float32) * np.float32(factor)
        quantization.zeroPoint = np.array(quantization.zeroPoint) + shift
        return True

    def constants(self):
        """Float constants, by name: their values."""
        found = {}
        for index, tensor in enumerate(self.graph.tensors):
            if tensor.type == schema.TensorType.FLOAT32 and (values := self._values(tensor)) is not None:
                found[str(index)] = values
        return found

    def rewrite_constant(self, name, change):
        self._rewrite(self.graph.tensors[int(name)], change)
        return True

    def inner_scales(self):
        """Names of the 8-bit activations that belong to no product with weights: those of integer cores."""
        of_products = {id(self.tensor(site, which)) for site in self.sites for which in ("input", "weight", "output")}
        return [
            str(index)
            for index, tensor in enumerate(self.graph.tensors)
            if tensor.type == schema.TensorType.INT8 and id(tensor) not in of_products
            and any(index in operator.outputs for operator in self.graph.operators)
        ]  # fmt: skip

    def rewrite_inner_scale(self, name, factor):
        quantization = self.graph.tensors[int(name)].quantization
        quantization.scale = np.array(quantization.scale, np.float32) * np.float32(factor)
        return True

    def residuals(self):
        """Names of the sums of latents with what a block adds to them."""
        return [str(i) for i, op in enumerate(self.graph.operators) if op in self.of_kind("ADD") and self._branch(op)]

    def _branch(self, add):
        results = {op.outputs[0] for op in self.of_kind("DEQUANTIZE")} & set(add.inputs)
        return [i for i in add.inputs if i in results and list(self.graph.tensors[i].shape) == self._shape(add)]

    def _shape(self, operator):
        return list(self.graph.tensors[operator.outputs[0]].shape)

    def pass_on(self, residual, which):
        """Let the readers of a sum read only what is added (``branch``), or only what it is added to (``rows``)."""
        add = self.graph.operators[int(residual)]
        branch = self._branch(add)[0]
        (rows,) = [i for i in add.inputs if i != branch]
        self._redirect(add.outputs[0], branch if which == "branch" else rows)

    def _redirect(self, old, new):
        for operator in self.graph.operators:
            operator.inputs = [new if i == old else i for i in operator.inputs]

    def num_gelus(self):
        return len(self.of_kind("GELU"))

    def approximate_gelu(self, index):
        self.of_kind("GELU")[index].builtinOptions.approximate = True

    def num_softmaxes(self):
        return len(self.of_kind("SOFTMAX"))

    def sharpen_softmax(self, index, factor):
        self.of_kind("SOFTMAX")[index].builtinOptions.beta *= factor

    def of_kind(self, kind):
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in self.root.operatorCodes]
        return [o for o in self.graph.operators if codes[o.opcodeIndex] == getattr(schema.BuiltinOperator, kind)]

    def pack(self):
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.root.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class Onnx:
    """An ONNX model taken apart; ``pack`` puts it together again."""

    def __init__(self, model):
        self.proto = onnx.load_model_from_string(model)
        self.graph = self.proto.graph
        self.sites = onnx_sites(self.graph)
        self.made_by = {name: node for node in self.graph.node for name in node.output}
        self.constants_by_name = {tensor.name: tensor for tensor in self.graph.initializer}

    def set(self, name, change):
        tensor = self.constants_by_name[name]
        array = numpy_helper.to_array(tensor)
        changed = np.ascontiguousarray(change(array)).astype(array.dtype)
        tensor.CopyFrom(numpy_helper.from_array(changed.reshape(changed.shape), name))

    def _own(self, node, position, change):
        """Give a node's constant input a value of its own: others may read the same."""
        array = numpy_helper.to_array(self.constants_by_name[node.input[position]])
        name = f"{node.input[position]}.broken{len(self.graph.initializer)}"
        tensor = numpy_helper.from_array(np.asarray(change(array)).astype(array.dtype), name)
        self.graph.initializer.append(tensor)
        self.constants_by_name[name] = self.graph.initializer[-1]
        node.input[position] = name

    def _gemm(self, site):
        (node,) = [node for node in self.graph.node if node.name == self.sites[site].operator]
        return node

    def _weight(self, site):
        return self.made_by[self.sites[site].weight]

    def weights(self, site):  # [in, out] in the file
        return numpy_helper.to_array(self.constants_by_name[self._weight(site).input[0]]).T

    def rewrite_weights(self, site, change):
        self.set(self._weight(site).input[0], lambda w: change(w.T).T)
        return True

    def rewrite_bias(self, site, change):
        gemm = self._gemm(site)
        if len(gemm.input) < 3:
            return False
        source = self.made_by.get(gemm.input[2])
        self.set(source.input[0] if source is not None else gemm.input[2], change)
        return True

    def rewrite_scales(self, site, change):
        self._own(self._weight(site), 1, change)
        return True

    def _rounding(self, site, which):
        """The QuantizeLinear and the DequantizeLinear of the activation before or behind a product."""
        if which == "input":
            dequantize = self.made_by[self.sites[site].input]
            return self.made_by[dequantize.input[0]], dequantize
        (quantize,) = [n for n in self.of_kind("QuantizeLinear") if n.input[0] == self.sites[site].output]
        (dequantize,) = [n for n in self.of_kind("DequantizeLinear") if n.input[0] == quantize.output[0]]
        return quantize, dequantize

    def rewrite_range(self, site, which, *, factor=1.0, shift=0):
        for node in self._rounding(site, which):
            self._own(node, 1, lambda scale: scale * np.float32(factor))
            self._own(node, 2, lambda zero: np.clip(zero.astype(int) + shift, 0, 255))
        return True

    def constants(self):
        roundings = {
            name
            for node in self.graph.node
            if node.op_type in ("QuantizeLinear", "DequantizeLinear", "QLinearMatMul")
            for name in node.input[1:]
        }
        return {
            name: numpy_helper.to_array(tensor)
            for name, tensor in self.constants_by_name.items()
            if tensor.data_type == onnx.TensorProto.FLOAT and name not in roundings
        }

    def rewrite_constant(self, name, change):
        self.set(name, change)
        return True

    def inner_scales(self):
        return [
            name
            for name, tensor in self.constants_by_name.items()
            if name.startswith("core_constant") and tensor.data_type == onnx.TensorProto.FLOAT
        ]

    def rewrite_inner_scale(self, name, factor):
        self.set(name, lambda scale: scale * np.float32(factor))
        return True

    def residuals(self):
        return [n.output[0] for n in self.of_kind("Add") if self._branch(n)]

    def _branch(self, add):
        made = (self.made_by.get(name) for name in add.input)
        return [
            node.output[0]
            for node in made
            if node is not None and node.op_type == "DequantizeLinear" and ".output" in node.input[0]
        ]

    def pass_on(self, residual, which):
        add = self.made_by[residual]
        branch = self._branch(add)[0]
        (rows,) = [name for name in add.input if name != branch]
        new = branch if which == "branch" else rows
        for node in self.graph.node:
            node.input[:] = [new if name == residual else name for name in node.input]

    def num_gelus(self):
        return len(self.of_kind("Erf"))

    def approximate_gelu(self, index):
        """erf(x/√2) becomes tanh(√(2/π) (x + 0.044715 x³)); the node reads x/√2."""
        erf = self.of_kind("Erf")[index]
        at = next(i for i, node in enumerate(self.graph.node) if node.name == erf.name)
        slope, cubic = np.sqrt(2 / np.pi) * np.sqrt(2), 0.044715 * 2  # of x/√2
        for name, value in (("slope", slope), ("cubic", cubic), ("one", 1.0)):
            self.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), f"tanh.{index}.{name}"))
        source, result, t = erf.input[0], erf.output[0], f"tanh.{index}."
        nodes = [
            helper.make_node("Mul", [source, source], [f"{t}square"]),
            helper.make_node("Mul", [f"{t}square", f"{t}cubic"], [f"{t}scaled"]),
            helper.make_node("Add", [f"{t}scaled", f"{t}one"], [f"{t}factor"]),
            helper.make_node("Mul", [source, f"{t}factor"], [f"{t}product"]),
            helper.make_node("Mul", [f"{t}product", f"{t}slope"], [f"{t}inner"]),
            helper.make_node("Tanh", [f"{t}inner"], [result]),
        ]
        del self.graph.node[at]
        for offset, node in enumerate(nodes):
            self.graph.node.insert(at + offset, node)

    def num_softmaxes(self):
        return len(self.of_kind("Softmax"))

    def sharpen_softmax(self, index, factor):
        softmax = self.of_kind("Softmax")[index]
        at = next(i for i, node in enumerate(self.graph.node) if node.name == softmax.name)
        name = f"sharp.{index}"
        self.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), f"{name}.factor"))
        self.graph.node.insert(at, helper.make_node("Mul", [softmax.input[0], f"{name}.factor"], [name]))
        softmax.input[0] = name

    def of_kind(self, kind):
        return [node for node in self.graph.node if node.op_type == kind]

    def pack(self):
        return self.proto.SerializeToString()


FORMATS = {"tflite": Tflite, "onnx": Onnx}
