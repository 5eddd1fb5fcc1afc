// The models of one engine, one of each precision: loaded, proven on the bundle's examples, asked.

import { FORMATS, open } from "./engines.js";

const PROOF_MS = 1000, MIN_PROVING = 3, KEPT_TIMES = 25;

/** A model in an engine. `error`: relative L2 error against the float reference, on the examples, in this browser. */
export class Model {
  #session; #feed; #times = [];

  constructor(session, feed) {
    this.#session = session;
    this.#feed = feed;
  }

  /** Median of the last calls, in milliseconds. */
  get latencyMs() {
    return this.#times.toSorted((a, b) => a - b)[Math.floor(this.#times.length / 2)];
  }

  get isWhole() {
    return this.#session.isWhole;
  }

  /** @param {Float32Array} input of one sample; @returns {Promise<Float32Array>} logits */
  async logits(input) {
    const { data, ms } = await this.#session.run([{ ...this.#feed, data: input }]);
    this.#times = [...this.#times, ms].slice(-KEPT_TIMES);
    return data;
  }

  /** Answer the examples for about a second; the first call, which allocates, is no measure of the latency. */
  async prove({ examples, bound }) {
    await this.logits(examples[0].input);
    this.#times = [];
    let difference = 0, size = 0;
    const start = performance.now();
    for (const [index, { input, reference }] of examples.entries()) {
      if (index >= MIN_PROVING && performance.now() - start > PROOF_MS) break;
      const logits = await this.logits(input);
      reference.forEach((value, position) => {
        difference += (logits[position] - value) ** 2;
        size += value ** 2;
      });
    }
    this.error = Math.sqrt(difference / size);
    if (!(this.error <= bound)) {
      throw new Error(`it answers wrongly, relative error ${this.error.toPrecision(2)}; allowed is ${bound}`);
    }
  }

  close() {
    return this.#session.close();
  }
}

/** Names of the artefacts that an engine runs, the most compact precision first. */
export function artefactsOf(engine, manifest) {
  const sized = Object.entries(manifest.artefacts).filter(([, { format }]) => format === FORMATS[engine]);
  return sized.sort(([, a], [, b]) => a.size_bytes - b.size_bytes).map(([name]) => name);
}

/**
 * @param {{examples: {input: Float32Array, reference: Float32Array}[], bound: number}} proof `bound`: of the relative L2
 *   error, the bundle's own
 * @returns {Promise<Model>} proven; throws where the answers are wrong
 */
export async function load(name, manifest, proof, { engine, accelerator, threads }) {
  const response = await fetch(`bundle/${name}`);
  if (!response.ok) throw new Error(`${name} cannot be fetched: ${response.status}`);
  const content = new Uint8Array(await response.arrayBuffer());
  const session = await open(engine, content, { accelerator, threads });
  const model = new Model(session, manifest.artefacts[name].inputs[0]);
  try {
    await model.prove(proof);
  } catch (error) {
    await model.close();
    throw error;
  }
  return model;
}

/** Logits to probabilities. */
export function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
