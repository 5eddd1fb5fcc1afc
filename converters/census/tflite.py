"""Read a TFLite FlatBuffer into the census's `Graph`."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from perceiver_edge.converters.census.graph import FLOATS, INTEGER_WEIGHTS, Gemm, Graph, Operator, Tensor, product
from perceiver_edge.errors import BadInputError, importing

# operator: index of its weight among the inputs; input 0 is the activation.
_WEIGHT_INDEX = {"FULLY_CONNECTED": 1, "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "BATCH_MATMUL": 1}
_DEQUANTIZE = "DEQUANTIZE"


def read_tflite(model: bytes) -> Graph:
    """Read all subgraphs of a TFLite model; inputs and outputs are the first one's, by signature name if it has one.

    Raises:
        BadInputError: LiteRT's verifier refuses the file.
        MissingExtraError: ai-edge-litert is not installed.
    """
    with importing("ai_edge_litert", "litert"):
        from ai_edge_litert import schema_py_generated as schema
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    try:  # The generated reader below trusts every offset, so the file is verified first.
        Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    except (ValueError, RuntimeError) as error:
        raise BadInputError("The TFLite model cannot be read.", expected="an undamaged model", got=error) from error
    return _Reader(schema, schema.Model.GetRootAs(model, 0)).graph()


class _Reader:
    def __init__(self, schema: Any, model: Any) -> None:
        self._builtins = _names_of(schema.BuiltinOperator)
        self._dtypes = {code: name.lower() for code, name in _names_of(schema.TensorType).items()}
        self._custom_code = schema.BuiltinOperator.CUSTOM
        self._batch_matmul_options = schema.BatchMatMulOptions
        self._model = model
        self._codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
        self._tensors: dict[str, Tensor] = {}
        self._operators: list[Operator] = []
        self._gemms: dict[str, Gemm] = {}
        self._dequantized_from: dict[str, Tensor] = {}

    def graph(self) -> Graph:
        subgraphs = [self._model.Subgraphs(i) for i in range(self._model.SubgraphsLength())]
        for index, subgraph in enumerate(subgraphs):
            self._read(subgraph, f"{index}:")
        kinds = Counter(operator.kind for operator in self._operators)
        versions: dict[str, int] = {}
        for code in self._codes:
            versions[self._kind(code)] = max(code.Version(), versions.get(self._kind(code), 0))
        inputs, outputs = self._interface(subgraphs[0])
        return Graph(
            format="tflite",
            format_version=self._model.Version(),
            versions={kind: version for kind, version in versions.items() if kind in kinds},
            operators=tuple(self._operators),
            file_operators=kinds,
            tensors=self._tensors,
            inputs=inputs,
            outputs=outputs,
            gemms=self._gemms,
            weight_bytes=self._weight_bytes(subgraphs),
            quantizers=frozenset({"QUANTIZE"}),
            dequantizers=frozenset({_DEQUANTIZE}),
        )

    def _kind(self, code: Any) -> str:
        return code.CustomCode().decode() if self._is_custom(code) else self._builtins[_builtin(code)]

    def _is_custom(self, code: Any) -> bool:
        return _builtin(code) == self._custom_code

    def _buffer_bytes(self, tensor: Any) -> int:
        buffer = self._model.Buffers(tensor.Buffer())
        return buffer.Size() if buffer.Offset() > 1 else buffer.DataLength()

    def _tensor(self, tensor: Any) -> Tensor:
        return Tensor(
            name=tensor.Name().decode(),
            shape=_shape(tensor),
            dtype=self._dtypes[tensor.Type()],
            constant=self._buffer_bytes(tensor) > 0,
        )

    def _read(self, subgraph: Any, prefix: str) -> None:
        for i in range(subgraph.TensorsLength()):
            self._tensors[f"{prefix}{i}"] = self._tensor(subgraph.Tensors(i))
        for i in range(subgraph.OperatorsLength()):
            node = subgraph.Operators(i)
            code = self._codes[node.OpcodeIndex()]
            inputs = [node.Inputs(k) for k in range(node.InputsLength())]
            operator = Operator(
                name=self._tensors[f"{prefix}{node.Outputs(0)}"].name if node.OutputsLength() else f"{prefix}{i}",
                kind=self._kind(code),
                inputs=tuple(f"{prefix}{k}" for k in inputs if k >= 0),
                outputs=tuple(f"{prefix}{node.Outputs(k)}" for k in range(node.OutputsLength())),
                custom=self._is_custom(code),
            )
            self._require_right(operator)
            self._operators.append(operator)
            if operator.kind == _DEQUANTIZE:
                self._dequantized_from[operator.outputs[0]] = self._tensors[operator.inputs[0]]
            elif operator.kind in _WEIGHT_INDEX and (gemm := self._gemm(operator, node)):
                self._gemms[operator.outputs[0]] = gemm

    def _require_right(self, operator: Operator) -> None:
        """LiteRT answers zeros for float32 times int8 that is computed at run time, and no error."""
        sides = [self._tensors[key] for key in operator.inputs[:2]]
        is_mixed = operator.kind == "BATCH_MATMUL" and [side.dtype for side in sides] == ["float32", "int8"]
        if is_mixed and not sides[1].constant:
            raise BadInputError(
                "LiteRT is known to run this model wrongly.", expected="both sides of a product in one type",
                got=f"BATCH_MATMUL {operator.name} of float32 with int8 that is computed at run time",
                fix="dequantise the int8 side, or quantise the other",
            )  # fmt: skip

    def _gemm(self, operator: Operator, node: Any) -> Gemm | None:
        key = operator.inputs[_WEIGHT_INDEX[operator.kind]]
        weight, behind_dequantize = self._tensors[key], self._dequantized_from.get(key)
        if behind_dequantize is not None:
            weight = behind_dequantize
        if not weight.constant or weight.shape is None:
            return None
        activation = self._tensors[operator.inputs[0]]
        outputs = product(self._tensors[operator.outputs[0]].shape)
        depth = self._depth(operator.kind, node, weight.shape)
        return Gemm(
            name=operator.name,
            kind=operator.kind,
            weight_dtype=weight.dtype,
            activation_dtype=activation.dtype,
            weight_shape=weight.shape,
            macs=None if outputs is None else outputs * depth,
            # A float activation with an integer weight right at the operator is LiteRT's hybrid kernel.
            dynamic=behind_dequantize is None and activation.dtype in FLOATS and weight.dtype in INTEGER_WEIGHTS,
        )

    def _depth(self, kind: str, node: Any, weight: tuple[int, ...]) -> int:
        """Multiply-accumulates per output element."""
        if kind == "CONV_2D":  # [output, height, width, input]
            return math.prod(weight[1:])
        if kind == "DEPTHWISE_CONV_2D":  # [1, height, width, channels]
            return math.prod(weight[1:3])
        if kind == "FULLY_CONNECTED":  # [output, input]
            return weight[-1]
        options = self._batch_matmul_options()
        options.Init(node.BuiltinOptions().Bytes, node.BuiltinOptions().Pos)
        return weight[-1] if options.AdjY() else weight[-2]

    def _interface(self, subgraph: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        names: dict[int, str] = {}
        if self._model.SignatureDefsLength():
            signature = self._model.SignatureDefs(0)
            for entry in (
                *(signature.Inputs(i) for i in range(signature.InputsLength())),
                *(signature.Outputs(i) for i in range(signature.OutputsLength())),
            ):
                names[entry.TensorIndex()] = entry.Name().decode()

        def named(index: int) -> Tensor:
            tensor = self._tensors[f"0:{index}"]
            return Tensor(names.get(index, tensor.name), tensor.shape, tensor.dtype)

        inputs = tuple(named(subgraph.Inputs(i)) for i in range(subgraph.InputsLength()))
        return inputs, tuple(named(subgraph.Outputs(i)) for i in range(subgraph.OutputsLength()))

    def _weight_bytes(self, subgraphs: list[Any]) -> dict[str, int]:
        sizes: dict[int, tuple[str, int]] = {}  # by buffer: tensors may share one
        for subgraph in subgraphs:
            for i in range(subgraph.TensorsLength()):
                tensor = subgraph.Tensors(i)
                if size := self._buffer_bytes(tensor):
                    sizes[tensor.Buffer()] = (self._dtypes[tensor.Type()], size)
        totals: Counter[str] = Counter()
        for dtype, size in sizes.values():
            totals[dtype] += size
        return totals


def _builtin(code: Any) -> int:
    # Files made before the enumeration outgrew a byte have the builtin only in the deprecated field.
    return max(code.BuiltinCode(), code.DeprecatedBuiltinCode())


def _names_of(enumeration: type) -> dict[int, str]:
    return {code: name for name, code in vars(enumeration).items() if not name.startswith("_")}


def _shape(tensor: Any) -> tuple[int, ...]:
    """The signature's shape, which has -1 for open sizes, where there is one."""
    if tensor.ShapeSignatureLength():
        return tuple(int(tensor.ShapeSignature(i)) for i in range(tensor.ShapeSignatureLength()))
    return tuple(int(tensor.Shape(i)) for i in range(tensor.ShapeLength()))
