// The page: one input, every model of the chosen engine asked, the chosen precision's answer in front.

import { FORMATS } from "./engines.js";
import { artefactsOf, load, softmax } from "./models.js";
import { isDrawn, setUpStage } from "./stage.js";
import * as view from "./view.js";

const { byId } = view;
const ENGINES = {
  litertjs: { name: "LiteRT.js", package: "@litertjs/core" },
  "onnxruntime-web": { name: "ONNX Runtime", package: "onnxruntime-web" },
};
const MOST_THREADS = 4;

const manifest = await json("bundle/manifest.json");
const demo = await json("demo.json");
const examples = demo.examples.map(({ input, reference }) => ({ input: float32(input), reference: float32(reference) }));
const threads = globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
const engines = Object.keys(FORMATS).filter((engine) => artefactsOf(engine, manifest).length);

const state = {
  engine: engines[0],
  accelerator: "wasm",
  chosen: "", // an artefact's name
  models: new Map(),
  input: null,
  answers: new Map(),
};

// The engines take one call at a time.
let queue = Promise.resolve();
function inTurn(task) {
  queue = queue.then(task).catch(trouble);
}

function openEngine() {
  const { engine, accelerator, models: before } = state;
  const names = artefactsOf(engine, manifest);
  const precision = manifest.artefacts[state.chosen]?.precision;
  state.chosen = names.find((name) => manifest.artefacts[name].precision === precision) ?? names[0];
  const artefacts = Object.fromEntries(names.map((name) => [name, manifest.artefacts[name]]));
  view.precisionCards(byId("precisions"), artefacts, state.chosen, choose);
  byId("about").textContent = about();
  byId("claim").textContent = "Loading the models…";
  byId("trouble").hidden = true;
  const models = (state.models = new Map());
  state.answers = new Map();
  inTurn(async () => {
    for (const model of before.values()) await model.close();
    for (const name of chosenFirst(names)) {
      if (state.models === models) await openModel(name, models, { engine, accelerator, threads });
    }
  });
}

async function openModel(name, models, options) {
  const report = (status) => state.models === models && view.cardStatus(byId("precisions"), name, status);
  report({ status: "loading…", state: "loading" });
  await painted();
  try {
    const model = await load(name, manifest, { examples, bound: demo.bounds[name] }, options);
    models.set(name, model);
    const part = model.isWhole ? "" : ", partly on the CPU";
    const [error, bound] = [model.error, demo.bounds[name]].map(view.relativeError);
    report({ status: `✓ error ${error} ≤ ${bound}${part}`, state: "ready" });
  } catch (error) {
    report({ latency: "–", status: `not here: ${error?.message ?? error}`, state: "failed" });
    if (name === state.chosen && state.models === models) byId("claim").textContent = "This model does not run here.";
    return;
  }
  if (state.models !== models) return; // the next engine's turn closes them
  showLatency(name);
  if (state.input) await ask(name);
}

let isAskingSoon = false;
function inputChanged(input) {
  state.input = input;
  if (input === null) {
    state.answers.clear();
    showAnswer();
  } else if (!isAskingSoon) {
    isAskingSoon = true;
    inTurn(async () => {
      await painted();
      isAskingSoon = false; // what changes from here on is asked anew
      for (const name of chosenFirst([...state.models.keys()])) await ask(name);
    });
  }
}

async function ask(name) {
  const { input, models, answers } = state;
  if (input === null || !models.has(name)) return;
  const logits = await models.get(name).logits(input);
  if (state.input === null || state.models !== models) return;
  answers.set(name, softmax(logits));
  showLatency(name);
  showAnswer();
}

function choose(name) {
  state.chosen = name;
  view.choose(byId("precisions"), name);
  if (state.models.has(name)) showLatency(name);
  showAnswer();
}

function showAnswer() {
  const others = [...state.answers].filter(([name]) => name !== state.chosen).map(([, answer]) => answer);
  view.answer(state.answers.get(state.chosen) ?? null, others, manifest.config.num_classes, manifest.class_names ?? null);
  const [bar, ...lines] = chosenFirst(artefactsOf(state.engine, manifest)).map((name) => manifest.artefacts[name]);
  view.legend(bar, lines);
}

function showLatency(name) {
  const latency = view.duration(state.models.get(name).latencyMs);
  view.cardStatus(byId("precisions"), name, { latency, state: "ready" });
  if (name === state.chosen) {
    const size = view.megabytes(manifest.artefacts[name].size_bytes);
    byId("claim").textContent = `A ${size} Perceiver, answering in ${latency}.`;
  }
}

function about() {
  const name = ENGINES[state.engine].package;
  const processor = state.accelerator === "webgpu" ? "WebGPU" : `${threads} WASM thread${threads === 1 ? "" : "s"}`;
  return `${name} ${demo.versions[name]} · ${processor}`;
}

function chosenFirst(names) {
  return names.toSorted((a, b) => (b === state.chosen) - (a === state.chosen));
}

/** Until the browser has drawn what was changed so far; at once where nobody looks. */
function painted() {
  return document.hidden ? Promise.resolve() : new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
}

function trouble(error) {
  byId("trouble").textContent = error.message;
  byId("trouble").hidden = false;
  console.error(error);
}

async function json(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} cannot be fetched: ${response.status}`);
  return response.json();
}

function float32(base64) {
  return new Float32Array(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer);
}

async function hasWebGpu() {
  return Boolean(await navigator.gpu?.requestAdapter());
}

function setting(group, choices, key) {
  byId(group).hidden = Object.keys(choices).length < 2;
  view.segments(byId(group), choices, state[key], (value) => {
    if (state[key] === value) return;
    state[key] = value;
    view.choose(byId(group), value);
    openEngine();
  });
}

byId("title").textContent = isDrawn(manifest.config) ? "Draw a digit." : "Show it a picture.";
byId("how").hidden = !isDrawn(manifest.config);
byId("random").hidden = !manifest.is_random_weights;
document.title = `${manifest.name} · perceiver_edge`;
setUpStage(manifest.config, examples.map(({ input }) => input), inputChanged, trouble);
setting("engines", Object.fromEntries(engines.map((engine) => [engine, ENGINES[engine].name])), "engine");
showAnswer();
openEngine();
setting("accelerators", { wasm: "CPU", ...((await hasWebGpu()) && { webgpu: "GPU" }) }, "accelerator");
