// A picture as the models were calibrated on: what `perceiver_edge.calibration` does with Pillow, step by step.

/** Of the largest box of the input's shape about the centre, the share that is kept; null: the whole picture. */
const KEPT = { cover: 1, shortest: 7 / 8, squash: null };

/** Of a centred square of the shorter side, the share that is kept by "crop". */
const KEPT_OF_SQUARE = 7 / 8;

/** How far a filter reaches, in pixels of the smaller picture, and its weight at a distance. */
const TRIANGLE = { reach: 1, weight: (x) => Math.max(1 - x, 0) };
const CUBIC = {
  reach: 2,
  weight: (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0),
};

/**
 * Turned upright, made grey or RGB, scaled to the input.
 *
 * @param {Blob} file a picture; a transparent one is laid on black
 * @param {{height: number, width: number, channels: 1 | 3, resize?: "cover" | "squash" | "shortest" | "crop"}} size
 * @returns {Promise<Uint8ClampedArray>} [height, width, channels]
 */
export async function fittedPixels(file, { height, width, channels, resize = "cover" }) {
  const picture = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, picture.width, picture.height);
  context.drawImage(picture, 0, 0);
  const source = withChannels(context.getImageData(0, 0, picture.width, picture.height).data, channels);

  if (resize === "crop") return croppedSquare(source, picture, { height, width, channels });
  const box = { width: picture.width, height: picture.height };
  if (KEPT[resize] !== null) {  // ImageOps.fit: without a border, the largest box of the input's shape about the centre
    const border = (1 - KEPT[resize]) / 2;
    const live = { width: picture.width * (1 - 2 * border), height: picture.height * (1 - 2 * border) };
    Object.assign(box, live);
    if (live.width / live.height >= width / height) box.width = (live.height * width) / height;
    else box.height = (live.width * height) / width;
  }
  const columns = resampling(picture.width, width, (picture.width - box.width) / 2, box.width, TRIANGLE);
  const rows = resampling(picture.height, height, (picture.height - box.height) / 2, box.height, TRIANGLE);

  const narrow = resampled(source, { outer: picture.height, inner: channels, length: picture.width }, columns);
  return resampled(narrow, { outer: 1, inner: width * channels, length: picture.height }, rows);
}

/** What transformers does: a centred square is cut out, and scaled with Pillow's bicubic filter. */
function croppedSquare(source, picture, { height, width, channels }) {
  const side = Math.trunc(KEPT_OF_SQUARE * Math.min(picture.width, picture.height));
  const left = Math.floor((picture.width - side) / 2), top = Math.floor((picture.height - side) / 2);
  const square = new Uint8ClampedArray(side * side * channels);
  for (let row = 0; row < side; row++) {
    const from = ((top + row) * picture.width + left) * channels;
    square.set(source.subarray(from, from + side * channels), row * side * channels);
  }
  const narrow = resampled(square, { outer: side, inner: channels, length: side }, resampling(side, width, 0, side, CUBIC));
  return resampled(narrow, { outer: 1, inner: width * channels, length: side }, resampling(side, height, 0, side, CUBIC));
}

/** (pixel / 255 - mean) / std, float32 [height, width, channels]. */
export function normalised(pixels, { channels, mean, std }) {
  const of = (values, index) => values[values.length === 1 ? 0 : index % channels];
  return Float32Array.from(pixels, (pixel, index) => (pixel / 255 - of(mean, index)) / of(std, index));
}

/** RGBA bytes to RGB, or to grey by Pillow's ITU-R 601 weights. */
function withChannels(rgba, channels) {
  const pixels = new Uint8ClampedArray((rgba.length / 4) * channels);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    const [red, green, blue] = [rgba[from], rgba[from + 1], rgba[from + 2]];
    if (channels === 1) pixels[to++] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    else for (const value of [red, green, blue]) pixels[to++] = value;
  }
  return pixels;
}

/** Of every output pixel: its first input pixel and the weights from there. The filter is as wide as the reduction. */
function resampling(length, size, start, extent, { reach, weight }) {
  const scale = extent / size;
  const step = Math.max(scale, 1);
  return Array.from({ length: size }, (_, index) => {
    const centre = start + (index + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - reach * step + 0.5), 0);
    const end = Math.min(Math.trunc(centre + reach * step + 0.5), length);
    const weights = Array.from({ length: end - first }, (_, tap) => weight(Math.abs((first + tap + 0.5 - centre) / step)));
    const sum = weights.reduce((total, value) => total + value, 0);
    return { first, weights: weights.map((value) => value / sum) };
  });
}

/** One axis of [outer, length, inner], rounded to bytes as Pillow does after each axis. */
function resampled(source, { outer, inner, length }, taps) {
  const result = new Uint8ClampedArray(outer * taps.length * inner);
  for (let block = 0, to = 0; block < outer; block++) {
    for (const { first, weights } of taps) {
      for (let offset = 0; offset < inner; offset++, to++) {
        let from = (block * length + first) * inner + offset;
        let sum = 0;
        for (const weight of weights) {
          sum += weight * source[from];
          from += inner;
        }
        result[to] = Math.floor(sum + 0.5);
      }
    }
  }
  return result;
}
