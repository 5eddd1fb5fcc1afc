// For `perceiver_edge.demo.browser`: one model, many samples, no page.

import { open } from "./engines.js";

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array, bool: Uint8Array };

/**
 * Run the file `model` on every sample of the files `input/0`, `input/1`, …
 *
 * @param {{engine: string, accelerator: string, threads: number, samples: number,
 *   inputs: {name: string, dtype: string, shape: number[]}[]}} job `shape` is that of one call
 * @returns {Promise<{shape: number[], outputs: string, times_ms: number[]}>} `outputs`: base64 of float32, little-endian
 */
globalThis.runModel = async ({ engine, accelerator, threads, samples, inputs }) => {
  const session = await open(engine, await fetched("model"), { accelerator, threads });
  const values = await Promise.all(inputs.map((_, index) => fetched(`input/${index}`)));
  const rows = [];
  for (let sample = 0; sample < samples; sample++) {
    const feeds = inputs.map(({ name, dtype, shape }, index) => {
      const all = new ARRAYS[dtype](values[index].buffer);
      const size = all.length / samples;
      return { name, dtype, shape, data: all.slice(sample * size, (sample + 1) * size) };
    });
    rows.push(await session.run(feeds));
  }
  await session.close();
  return {
    shape: rows[0].shape,
    outputs: await base64(new Blob(rows.map((row) => row.data))),
    times_ms: rows.map((row) => row.ms),
  };
};

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
