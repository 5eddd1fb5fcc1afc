package ai.onnxruntime

import java.nio.ByteBuffer
import java.nio.FloatBuffer
import java.nio.IntBuffer
import java.util.Optional

enum class OnnxJavaType { FLOAT, BOOL }

interface OnnxValue

abstract class OnnxTensor : OnnxValue {
    abstract val floatBuffer: FloatBuffer

    companion object {
        fun createTensor(environment: OrtEnvironment, data: FloatBuffer, shape: LongArray): OnnxTensor =
            TODO("$environment $data $shape")

        fun createTensor(environment: OrtEnvironment, data: IntBuffer, shape: LongArray): OnnxTensor =
            TODO("$environment $data $shape")

        fun createTensor(environment: OrtEnvironment, data: ByteBuffer, shape: LongArray, type: OnnxJavaType): OnnxTensor =
            TODO("$environment $data $shape $type")
    }
}

abstract class OrtSession : AutoCloseable {
    abstract class Result : AutoCloseable {
        abstract fun get(key: String): Optional<OnnxValue>
    }

    abstract fun run(inputs: Map<String, OnnxTensor>): Result
}

abstract class OrtEnvironment {
    abstract fun createSession(model: ByteArray): OrtSession

    companion object {
        fun getEnvironment(): OrtEnvironment = TODO()
    }
}
