// Two engines behind one interface. A page holds one build of LiteRT.js and one thread count at a time.

const LITERT_WASM = new URL("node_modules/@litertjs/core/wasm/", import.meta.url).href;

/** The format of the models that each engine runs. */
export const FORMATS = { litertjs: "tflite", "onnxruntime-web": "onnx" };

/**
 * Load a model.
 *
 * @param {"litertjs" | "onnxruntime-web"} engine
 * @param {Uint8Array} model a .tflite or .onnx file, as the engine wants it
 * @param {{accelerator: "wasm" | "webgpu", threads: number}} options more than one thread needs cross-origin isolation
 * @returns {Promise<{run: (feeds: Feed[]) => Promise<Result>, close: () => Promise<void>, isWhole: boolean}>}
 *   `isWhole`: nothing of the model runs elsewhere than asked. ONNX Runtime does not say, so only of WASM it is sure.
 *
 * A Feed is `{name, dtype, shape, data}`; a Result is `{data, shape, ms}` of the model's only output, where `ms` is the
 * wall-clock time from arrays in JavaScript to an array in JavaScript.
 */
export function open(engine, model, options) {
  if (options.threads > 1 && !globalThis.crossOriginIsolated) {
    throw new Error("Threads need a cross-origin isolated page: the COOP and COEP headers, and HTTPS or localhost.");
  }
  return engine === "litertjs" ? openLiteRt(model, options) : openOnnxRuntime(model, options);
}

let loadedBuild = null;

// LiteRT writes all its notices to stderr, which Emscripten takes for errors.
const printErr = (line) => (/^(INFO|WARNING|VERBOSE):/.test(line) ? console.debug(line) : console.error(line));

async function openLiteRt(model, { accelerator, threads }) {
  const litert = await import("@litertjs/core");
  // With JSPI LiteRT.js can run on WASM what WebGPU lacks; that build has no threads.
  const build =
    accelerator === "webgpu" ? { jspi: await litert.supportsFeature("jspi") } : { threads: threads > 1 };
  if (JSON.stringify(build) !== loadedBuild) {
    if (loadedBuild) litert.unloadLiteRt();
    loadedBuild = null;
    globalThis.Module = { printErr };
    await litert.loadLiteRt(LITERT_WASM, build);
    loadedBuild = JSON.stringify(build);
  }
  const compiled = await litert.loadAndCompile(model, { accelerator, cpuOptions: { numThreads: threads }, gpuOptions: { precision: "fp32" } });

  async function run(feeds) {
    const start = performance.now();
    const inputs = Object.fromEntries(feeds.map(({ name, data, shape }) => [name, new litert.Tensor(data, shape)]));
    const outputs = Object.values(await compiled.run(inputs));
    const data = await onlyOne(outputs).data();
    const ms = performance.now() - start;
    const shape = [...outputs[0].type.layout.dimensions];
    for (const tensor of [...Object.values(inputs), ...outputs]) tensor.delete();
    return { data, shape, ms };
  }
  return { run, close: async () => compiled.delete(), isWhole: accelerator === "wasm" || compiled.isFullyAccelerated };
}

async function openOnnxRuntime(model, { accelerator, threads }) {
  const ort = await (accelerator === "webgpu" ? import("onnxruntime-web/webgpu") : import("onnxruntime-web/wasm"));
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(model, { executionProviders: [accelerator] });

  async function run(feeds) {
    const start = performance.now();
    const inputs = feeds.map(({ name, dtype, data, shape }) => [name, new ort.Tensor(dtype, data, shape)]);
    const outputs = Object.values(await session.run(Object.fromEntries(inputs)));
    const data = await onlyOne(outputs).getData();
    const ms = performance.now() - start;
    return { data, shape: [...outputs[0].dims], ms };
  }
  return { run, close: () => session.release(), isWhole: accelerator === "wasm" };
}

function onlyOne(outputs) {
  if (outputs.length !== 1) throw new Error(`Expected a model with one output, got ${outputs.length}.`);
  return outputs[0];
}
