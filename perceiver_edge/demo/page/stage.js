// Where the input comes from: a pad for the digits, a picture for other models, and the bundle's examples for both.

import { inkImage, Pad } from "./pad.js";
import { fittedPixels, normalised } from "./picture.js";
import { byId } from "./view.js";

const CAMERA_PAUSE_MS = 150;

/** Whether a model reads drawings: its input and classes are those of the digits. */
export function isDrawn({ input_shape: [height, width], input_channels: channels, num_classes: classes }) {
  return height === 32 && width === 32 && channels === 1 && classes === 10;
}

/**
 * @param {object} config of the manifest
 * @param {Float32Array[]} examples in the model's own form
 * @param {(input: Float32Array | null) => void} onInput
 * @param {(error: Error) => void} onTrouble
 */
export function setUpStage(config, examples, onInput, onTrouble) {
  const drawn = isDrawn(config);
  byId("pad").hidden = byId("pad-hint").hidden = !drawn;
  byId("drop").hidden = drawn;
  const changed = (input) => {
    byId("clear").disabled = input === null;
    byId("pad-hint").hidden = !drawn || input !== null;
    if (drawn) showSeen(input);
    onInput(input);
  };
  const stage = drawn ? new Pad(byId("pad"), changed) : pictureStage(config, changed, onTrouble);
  let next = 0;
  byId("example").addEventListener("click", () => stage.show(examples[next++ % examples.length]));
  byId("clear").addEventListener("click", () => stage.clear());
}

function showSeen(input) {
  byId("seen").hidden = input === null;
  if (input === null) return;
  const canvas = byId("seen").querySelector("canvas");
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(inkImage(input, canvas.width, getComputedStyle(canvas).color), 0, 0);
}

function pictureStage(config, onInput, onTrouble) {
  const [height, width] = config.input_shape;
  const { input_channels: channels, image_mean: mean = [0], image_std: std = [1], resize = "cover" } = config;
  const drop = byId("drop"), canvas = byId("picture");
  Object.assign(canvas, { width, height });

  const display = (pixels) => {
    canvas.hidden = pixels === null;
    byId("drop-hint").hidden = pixels !== null;
    if (pixels) canvas.getContext("2d").putImageData(rgba(pixels, { width, height, channels }), 0, 0);
  };
  const take = async (file) => {
    if (!file) return;
    camera.stop();
    try {
      const pixels = await fittedPixels(file, { height, width, channels, resize });
      display(pixels);
      onInput(normalised(pixels, { channels, mean, std }));
    } catch (error) {
      onTrouble(new Error(`${file.name ?? "The picture"} cannot be read: ${error.message}`));
    }
  };
  byId("file").addEventListener("change", ({ target }) => take(target.files[0]));
  drop.addEventListener("dragover", (event) => event.preventDefault());
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  const camera = cameraStage(async (view) => {
    const pixels = await fittedPixels(view, { height, width, channels, resize });
    onInput(normalised(pixels, { channels, mean, std }));
  }, (isOn) => { if (isOn) display(null); byId("drop-hint").hidden = isOn; }, onTrouble);
  return {
    show(sample) {
      camera.stop();
      display(sample.map((value, index) =>
        255 * (value * std[std.length === 1 ? 0 : index % channels] + mean[mean.length === 1 ? 0 : index % channels])));
      onInput(sample);
    },
    clear() {
      camera.stop();
      byId("file").value = "";
      display(null);
      onInput(null);
    },
  };
}

/**
 * A button that turns the camera on and off; while it is on, pictures of it are taken one after the other.
 *
 * @param {(view: HTMLVideoElement) => Promise<void>} onPicture
 * @param {(isOn: boolean) => void} onTurned
 * @param {(error: Error) => void} onTrouble
 */
function cameraStage(onPicture, onTurned, onTrouble) {
  const view = byId("camera-view"), button = byId("camera");
  button.hidden = !navigator.mediaDevices?.getUserMedia; // pages over plain HTTP have none
  const turned = (isOn) => {
    view.hidden = !isOn;
    button.setAttribute("aria-pressed", String(isOn));
    onTurned(isOn);
  };
  const stop = () => {
    if (!view.srcObject) return;
    for (const track of view.srcObject.getTracks()) track.stop();
    view.srcObject = null;
    turned(false);
  };
  const start = async () => {
    try {
      view.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      await view.play();
      turned(true);
      while (view.srcObject) {
        await onPicture(view);
        await new Promise((done) => setTimeout(done, CAMERA_PAUSE_MS));
      }
    } catch (error) {
      stop();
      onTrouble(new Error(`The camera cannot be used: ${error.message}`));
    }
  };
  button.addEventListener("click", () => (view.srcObject ? stop() : start()));
  return { stop };
}

function rgba(pixels, { width, height, channels }) {
  const image = new ImageData(width, height);
  for (let index = 0; index < width * height; index++) {
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * index + channel] = pixels[index * channels + Math.min(channel, channels - 1)];
    }
    image.data[4 * index + 3] = 255;
  }
  return image;
}
