package com.google.ai.edge.litert

import android.content.res.AssetManager

enum class Accelerator { NONE, CPU, GPU, NPU }

abstract class TensorBuffer {
    abstract fun writeFloat(data: FloatArray)

    abstract fun writeInt(data: IntArray)

    abstract fun writeBoolean(data: BooleanArray)

    abstract fun readFloat(): FloatArray
}

abstract class CompiledModel {
    class Options(vararg val accelerators: Accelerator)

    abstract fun createInputBuffer(inputName: String, signature: String = ""): TensorBuffer

    abstract fun createOutputBuffer(outputName: String, signature: String = ""): TensorBuffer

    abstract fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String = "")

    companion object {
        fun create(assetManager: AssetManager, assetName: String, options: Options): CompiledModel =
            TODO("$assetManager $assetName $options")
    }
}
