// What is on the page, from values; no state but the document's.

const PRECISIONS = { fp32: "Float32", fp16: "Float16", dynamic: "Dynamic int8", int8: "Int8" };
const MOST_BARS = 10, TOP = 5, SMALLEST_MARK = 0.02;

export const byId = (id) => document.getElementById(id);

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

export function megabytes(bytes) {
  return `${digits(bytes / 1e6, bytes < 1e7 ? 2 : 3)} MB`;
}

export function duration(ms) {
  return ms < 1000 ? `${digits(ms, ms < 100 ? 2 : 3)} ms` : `${digits(ms / 1000, 2)} s`;
}

/** Rounded to so many digits. Where that takes the number to the next power of ten, toPrecision writes an exponent. */
function digits(value, count) {
  const text = value.toPrecision(count);
  return text.includes("e") ? String(Number(text)) : text;
}

export function percent(share) {
  return `${(100 * share).toFixed(share > 0.9995 || share < 0.1 ? 1 : 0)} %`;
}

/** Of float32 a power of ten says enough. */
export function relativeError(error) {
  return error < 1e-3 ? error.toExponential(0).replace("-", "−") : String(Number(error.toPrecision(2)));
}

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** Keys of a radio group: arrows choose the next one around, Home and End the first and the last. */
function withArrowKeys(group) {
  group.onkeydown = (event) => {
    const buttons = [...group.children];
    const at = buttons.indexOf(document.activeElement);
    const last = buttons.length - 1;
    const to = { Home: 0, End: last }[event.key] ?? (event.key in STEPS ? at + STEPS[event.key] : undefined);
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const button = buttons[(to + buttons.length) % buttons.length];
    button.focus();
    button.click();
  };
}

/** A row of buttons of which one is chosen. `choices`: value → label. */
export function segments(group, choices, chosen, onChoose) {
  withArrowKeys(group);
  group.replaceChildren(...Object.entries(choices).map(([value, label]) => {
    const button = element("button", "", label);
    return asRadio(button, value, value === chosen, onChoose);
  }));
}

/** A card for each artefact: its precision, latency, size, and what it is doing or found. */
export function precisionCards(group, artefacts, chosen, onChoose) {
  withArrowKeys(group);
  group.replaceChildren(...Object.entries(artefacts).map(([name, artefact]) => {
    const card = element("button", "card");
    card.append(
      element("span", "name", PRECISIONS[artefact.precision]),
      element("span", "size soft", megabytes(artefact.size_bytes)),
      element("strong", "latency", "…"),
      element("span", "status soft", "waiting"),
    );
    return asRadio(card, name, name === chosen, onChoose);
  }));
}

function asRadio(button, value, isChosen, onChoose) {
  button.type = "button";
  button.dataset.value = value;
  button.setAttribute("role", "radio");
  setChosen(button, isChosen);
  button.addEventListener("click", () => onChoose(value));
  return button;
}

/** Of a radio group Tab reaches the chosen one alone. */
function setChosen(button, isChosen) {
  button.setAttribute("aria-checked", String(isChosen));
  button.tabIndex = isChosen ? 0 : -1;
}

export function choose(group, value) {
  for (const button of group.children) setChosen(button, button.dataset.value === value);
}

export function cardStatus(group, name, { latency, status, state }) {
  const card = [...group.children].find(({ dataset }) => dataset.value === name);
  card.dataset.state = state;
  if (latency) card.querySelector(".latency").textContent = latency;
  if (status) card.querySelector(".status").textContent = card.title = status;
}

/**
 * The chosen model's probabilities as bars, the other models' as marks on them; of many classes only the first few.
 *
 * @param {number[] | null} chosen null: nothing was asked yet
 * @param {number[][]} others
 * @param {string[] | null} names of the classes, where they have some
 */
export function answer(chosen, others, numClasses, names) {
  const nameOf = (index, otherwise) => names?.[index] ?? otherwise;
  const bars = byId("bars");
  const isSmall = numClasses <= MOST_BARS && (names ?? []).every((name) => name.length <= 2);
  bars.className = isSmall ? "columns" : "rows";
  const classes = Array.from({ length: numClasses }, (_, index) => index);
  const ranked = chosen ? classes.toSorted((a, b) => chosen[b] - chosen[a]) : classes;
  const shown = isSmall ? classes : ranked.slice(0, TOP);
  // Bars that stay are changed in place, so that they move.
  while (bars.children.length < shown.length) bars.append(bar());
  shown.forEach((index, position) => {
    const row = bars.children[position];
    row.classList.toggle("best", chosen !== null && index === ranked[0]);
    row.querySelector(".label").textContent = nameOf(index, isSmall ? index : `class ${index}`);
    row.querySelector(".share").textContent = chosen ? percent(chosen[index]) : "";
    row.style.setProperty("--share", chosen ? chosen[index] : 0);
    const marks = others.filter((probabilities) => probabilities[index] >= SMALLEST_MARK).map((probabilities) => {
      const mark = element("i", "mark");
      mark.style.setProperty("--share", probabilities[index]);
      return mark;
    });
    row.querySelector(".track").replaceChildren(row.querySelector(".fill"), ...marks);
  });
  byId("top").children[0].textContent = chosen ? nameOf(ranked[0], ranked[0]) : "–";
  byId("top").children[1].textContent = chosen ? percent(chosen[ranked[0]]) : "\u00a0";
}

/** Which artefact the bars stand for, and which the marks. */
export function legend(bar, marks) {
  const entries = [["fill", bar], ...marks.map((artefact) => ["mark", artefact])];
  byId("legend").replaceChildren(...entries.map(([className, { precision }]) => {
    const entry = element("span", "", PRECISIONS[precision]);
    entry.prepend(element("i", className));
    return entry;
  }));
}

function bar() {
  const row = element("div", "bar");
  const track = element("span", "track");
  track.append(element("span", "fill"));
  row.append(track, element("span", "label"), element("span", "share soft"));
  return row;
}
