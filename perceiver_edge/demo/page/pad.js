// A drawing in the form that the digits model was trained on.

const SIDE = 32, BLOCK = 4, CELLS = SIDE / BLOCK, SUPERSAMPLING = 4;
const INK = 0.3; // of the area: the mean of every class of the training digits, the ones' too
const THINNEST = 3, BOLDEST = 12, HALVINGS = 5;

/**
 * Points to the model's input, as the digits' makers prepared theirs: the drawing fills the height of 32×32 pixels, as
 * bold as all of them are, ink is counted in blocks of 4×4, and `upsample` makes 32×32 of the 8×8 counts.
 *
 * @param {{x: number, y: number}[][]} strokes in any unit
 * @returns {Float32Array} [32, 32, 1], 1 is ink
 */
export function rasterise(strokes) {
  let [thin, bold] = [THINNEST, BOLDEST];
  for (let halving = 0; halving < HALVINGS; halving++) {
    const width = (thin + bold) / 2;
    const counts = inkCounts(strokes, width);
    const ink = counts.reduce((sum, count) => sum + count, 0) / counts.length;
    if (ink < INK) thin = width;
    else bold = width;
  }
  return upsample(inkCounts(strokes, (thin + bold) / 2), CELLS, SIDE);
}

/** The share of ink in each block, [8, 8], of strokes `lineWidth` pixels of 32 wide. */
function inkCounts(strokes, lineWidth) {
  const points = strokes.flat();
  const xs = points.map(({ x }) => x), ys = points.map(({ y }) => y);
  const left = Math.min(...xs), top = Math.min(...ys);
  const width = Math.max(...xs) - left, height = Math.max(...ys) - top;
  const scale = (SIDE - lineWidth) / Math.max(width, height, 1);

  const canvas = new OffscreenCanvas(SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.scale(SUPERSAMPLING, SUPERSAMPLING);
  context.translate(SIDE / 2, SIDE / 2);
  context.scale(scale, scale);
  context.translate(-left - width / 2, -top - height / 2);
  trace(context, strokes, lineWidth / scale);

  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const counts = new Float32Array(CELLS ** 2);
  const cell = BLOCK * SUPERSAMPLING;
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      const alpha = data[4 * (y * canvas.width + x) + 3];
      counts[Math.floor(y / cell) * CELLS + Math.floor(x / cell)] += alpha / 255 / cell ** 2;
    }
  }
  return counts;
}

/** Bilinear, pixel centres at (i + 1/2) / length, the border repeats: `perceiver_edge.data.upsample`. */
function upsample(values, from, to) {
  const axis = Array.from({ length: to }, (_, index) => {
    const position = Math.min(Math.max(((index + 0.5) * from) / to - 0.5, 0), from - 1);
    const low = Math.min(Math.floor(position), from - 2);
    return { low, share: position - low };
  });
  const result = new Float32Array(to * to);
  axis.forEach((row, y) => axis.forEach((column, x) => {
    const at = (dy, dx) => values[(row.low + dy) * from + column.low + dx];
    const upper = at(0, 0) * (1 - column.share) + at(0, 1) * column.share;
    const lower = at(1, 0) * (1 - column.share) + at(1, 1) * column.share;
    result[y * to + x] = upper * (1 - row.share) + lower * row.share;
  }));
  return result;
}

function trace(context, strokes, lineWidth) {
  Object.assign(context, { lineWidth, lineCap: "round", lineJoin: "round" });
  for (const [first, ...rest] of strokes) {
    context.beginPath();
    context.moveTo(first.x, first.y);
    context.lineTo(first.x, first.y); // a lone point is a dot
    for (const { x, y } of rest) context.lineTo(x, y);
    context.stroke();
  }
}

/** A canvas to draw on; `onChange(input)` is called with the model's input, or null when it is empty again. */
export class Pad {
  #canvas; #onChange; #strokes = []; #sample = null;

  constructor(canvas, onChange) {
    this.#canvas = canvas;
    this.#onChange = onChange;
    let pen = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (pen !== null || event.button !== 0) return;
      pen = event.pointerId;
      canvas.setPointerCapture(pen);
      this.#sample = null;
      this.#strokes.push([]);
      this.#extend(event);
    });
    canvas.addEventListener("pointermove", (event) => event.pointerId === pen && this.#extend(event));
    const lift = (event) => { if (event.pointerId === pen) pen = null; };
    canvas.addEventListener("pointerup", lift);
    canvas.addEventListener("pointercancel", lift);
    new ResizeObserver(() => this.#paint()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#paint());
  }

  clear() {
    this.#strokes = [];
    this.#sample = null;
    this.#changed(null);
  }

  /** Show a sample of the model's own kind, [32, 32, 1], instead of a drawing. */
  show(sample) {
    this.#strokes = [];
    this.#sample = sample;
    this.#changed(sample);
  }

  #extend(event) {
    const box = this.#canvas.getBoundingClientRect();
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of moves.length ? moves : [event]) {
      this.#strokes.at(-1).push({ x: clientX - box.left, y: clientY - box.top });
    }
    this.#changed(rasterise(this.#strokes));
  }

  #changed(input) {
    this.#paint();
    this.#onChange(input);
  }

  #paint() {
    const { clientWidth, clientHeight } = this.#canvas;
    Object.assign(this.#canvas, { width: clientWidth * devicePixelRatio, height: clientHeight * devicePixelRatio });
    const context = this.#canvas.getContext("2d");
    context.scale(devicePixelRatio, devicePixelRatio);
    context.strokeStyle = getComputedStyle(this.#canvas).color;
    if (this.#sample) {
      const side = Math.min(clientWidth, clientHeight) * 0.74;
      const image = inkImage(this.#sample, SIDE, context.strokeStyle);
      context.drawImage(image, (clientWidth - side) / 2, (clientHeight - side) / 2, side, side);
    }
    trace(context, this.#strokes, Math.min(clientWidth, clientHeight) / 12);
  }
}

/** A square picture of ink on nothing. */
export function inkImage(values, side, colour) {
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, side, side);
  const image = context.getImageData(0, 0, side, side);
  values.forEach((value, index) => { image.data[4 * index + 3] = Math.round(255 * value); });
  context.putImageData(image, 0, 0);
  return canvas;
}
