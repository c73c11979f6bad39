// The tab "Blend". A point is [across, down], each from 0 to 1; two sentences know only across.

const note = find("#t2i-blend-note");
const big = find(".blended");
const strip = find(".strip");
const pad = find(".pad");
const play = find(".play");

const NUMBERS = ["First", "Second", "Third", "Fourth"];
const STOPS = Array.from({ length: 9 }, (_, i) => [i / 8, 0]);
const MAP = Array.from({ length: 49 }, (_, i) => [(i % 7) / 6, Math.floor(i / 7) / 6]);
const START = 0.25; // nearer the first sentence: halfway between far ones little can be seen
const LAP = 8000; // ms of one journey

const four = () => find("input[name=t2i-blend-mode]:checked").value === "4";
const stops = () => (four() ? MAP : STOPS);

// ---- asking: the point's picture, and the stops with it when they are no longer those of these words

const ask = follow(server.blend, request, show);
let known = ""; // what the stops on the page were made from

const words = () => ({
  captions: boxes.slice(0, four() ? 4 : 2).map((box) => box.value.slice(0, 1000)),
  seed: seed.read(),
  model: menu.value,
});

function request() {
  const fresh = JSON.stringify(words()) !== known;
  const point = sliders.map(({ slider }) => Number(slider.value));
  return { ...words(), at: [point, ...(fresh ? stops() : [])], full_size: 1 }; // the stops are small
}

function show({ at, full_size, ...asked }, reply, newest) {
  remark(note, reply);
  boxes.forEach((box) => box.setAttribute("aria-invalid", String(Boolean(reply.error) && !box.value.trim())));
  if (!reply.error) {
    big.src = reply.pictures[0];
    big.alt = asked.captions.join(" · ");
    if (at.length > 1) {
      known = JSON.stringify(asked);
      const images = (asked.captions.length === 4 ? find(".mosaic") : strip).querySelectorAll("img");
      images.forEach((image, i) => (image.src = reply.pictures[i + 1]));
    }
    find(".status").textContent = speed(reply);
  }
  if (newest && !reply.error) remember(reply.pictures[0]);
  if (newest) say(note.textContent || `At ${sliders.map(({ value }) => value.textContent).join(" and ")}`);
}

// ---- the sentences

const boxes = NUMBERS.map((number, i) => {
  const id = `t2i-blend-${i + 1}`;
  const item = make("li");
  const box = make("textarea", { id, rows: 2, autocomplete: "off", autocapitalize: "off", enterkeyhint: "done" });
  box.setAttribute("aria-describedby", "t2i-blend-note");
  box.addEventListener("input", ask);
  item.append(make("label", { for: id }, `${number} sentence`), box);
  find(".sentences").append(item);
  return box;
});

// ---- the point: sliders for the keyboard, a pad for the hand, stops for both

const sliders = ["Across", "Down"].map((name, i) => {
  const id = `t2i-blend-${name.toLowerCase()}`;
  const row = make("div", { class: "row" });
  const slider = make("input", { id, type: "range", min: 0, max: 1, step: 0.005 });
  const value = make("output", { for: id });
  slider.addEventListener("input", () => (halt(), told(), ask()));
  const label = make("label", { for: id }, name);
  row.append(label, slider, value);
  find(".sliders").append(row);
  return { row, label, slider, value };
});

function told() {
  for (const { slider, value } of sliders) {
    value.textContent = `${Math.round(100 * slider.value)} %`;
    slider.style.setProperty("--at", 2 * slider.value - 1);
  }
  const [left, top] = sliders.map(({ slider }) => `${100 * slider.value}%`);
  Object.assign(find(".point").style, { left, top });
}

function go(...point) {
  point.forEach((value, i) => (sliders[i].slider.value = value));
  told();
  ask();
}

STOPS.forEach(([across], i) => {
  const item = make("li");
  const stop = make("button", { type: "button", "aria-label": `Go to ${Math.round(100 * across)} %` });
  stop.append(make("img", { alt: "", width: 64, height: 64, src: EMPTY }));
  stop.addEventListener("click", () => (halt(), go(across)));
  item.append(stop);
  strip.append(item);
});
find(".mosaic").append(...MAP.map(() => make("img", { alt: "", width: 64, height: 64, src: EMPTY })));
big.src = EMPTY;

function drag(event) {
  const { left, top, width, height } = pad.getBoundingClientRect();
  halt();
  go((event.clientX - left) / width, (event.clientY - top) / height); // a slider clamps
}

pad.addEventListener("pointerdown", (event) => (pad.setPointerCapture(event.pointerId), drag(event)));
pad.addEventListener("pointermove", (event) => pad.hasPointerCapture(event.pointerId) && drag(event));

// ---- play: there and back between two, around the middle of four

let playing = 0; // when it began, 0 for not at all

function step(now) {
  if (!playing || !element.offsetParent) return halt(); // another tab is open
  const lap = ((now - playing) % LAP) / LAP;
  const turn = 2 * Math.PI * lap;
  if (four()) go(0.5 - 0.5 * Math.cos(turn), 0.5 - 0.5 * Math.sin(turn));
  else go(0.5 - 0.5 * Math.cos(turn));
  requestAnimationFrame(step);
}

function halt() {
  playing = 0;
  play.textContent = "Play";
}

play.addEventListener("click", () => {
  if (playing) return halt();
  playing = performance.now();
  play.textContent = "Pause";
  requestAnimationFrame(step);
});

// ---- modes, seed, model, files

function dress() {
  element.firstElementChild.classList.toggle("four", four());
  sliders[0].label.textContent = four() ? "Across" : "Blend";
  boxes.forEach((box) => (box.placeholder = spec(menu.value).placeholder));
}

function arrange() {
  halt();
  known = "";
  dress();
  ask();
}

const seed = seedBox(props.maxSeed, ask);
find(".modes").addEventListener("change", arrange);
menu.addEventListener("change", () => {
  const { examples } = spec(menu.value);
  boxes.forEach((box, i) => isExample(box.value) && (box.value = examples[i % examples.length]));
  arrange();
});
find(".actions").addEventListener("click", ({ target }) => {
  if (target.dataset.kind) save(target, server.film, { ...words(), kind: target.dataset.kind }, find(".said"));
});

// ---- what a link says of this tab: two captions or four, the seed, and the point

const state = () => [
  ...words().captions.map((caption) => ["caption", caption]),
  ["seed", seed.read()],
  ["at", sliders.map(({ slider }) => slider.value)],
];

// What stands in Draw, on the way to an example that it is not.
const blended = (caption, examples) => (caption ? [caption, ...examples.filter((one) => one !== caption)].slice(0, 2) : []);

function restore(query) {
  const begin = fromDraw();
  const { examples } = spec(menu.value);
  const captions = query.has("caption") ? query.getAll("caption").map(oneLine) : blended(begin.caption, examples);
  find(`input[name=t2i-blend-mode][value="${captions.length > 2 ? 4 : 2}"]`).checked = true;
  boxes.forEach((box, i) => (box.value = captions[i] ?? examples[i % examples.length] ?? ""));
  seed.box.value = clamp(query.get("seed") ?? begin.seed ?? 1, 0, props.maxSeed);
  const at = fields(query.get("at"), 2);
  sliders.forEach(({ slider }, i) => (slider.value = clamp(at[i] ?? START, 0, 1)));
  told();
  arrange();
}

const remember = recall("blend", shareable("blend", state, restore));
