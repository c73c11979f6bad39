// The tab "Blend". A point is [across, down], both from 0 to 1; between two sentences only across counts.

const { EMPTY_IMAGE, MAX_SENT_LENGTH } = t2i;
const { clamp, findModel, initialState, isExample, make, splitFields, statusText, toSingleLine } = t2i;
const tab = t2i.createTab("blend", element);
const { find, announce, modelMenu } = tab;

const note = find("#t2i-blend-note");
const blendedImage = find(".blended");
const strip = find(".strip");
const pad = find(".pad");
const playButton = find(".play");

const ORDINALS = ["First", "Second", "Third", "Fourth"];
const STRIP_POINTS = Array.from({ length: 9 }, (_, i) => [i / 8, 0]);
const MOSAIC_POINTS = Array.from({ length: 49 }, (_, i) => [(i % 7) / 6, Math.floor(i / 7) / 6]);
const FIRST_POINT = 0.25; // near the first sentence: the middle of very different ones shows little
const LAP_DURATION = 8000; // ms of one round of Play

const hasFour = () => find("input[name=t2i-blend-mode]:checked").value === "4";

// ---- requests: the picture of the point, and those of the strip or mosaic if they are of other words

const update = tab.createUpdater(server.blend, getRequest, showPictures);
let shownKey = ""; // what the strip or mosaic was drawn from

const getKeyFields = () => ({
  captions: boxes.slice(0, hasFour() ? 4 : 2).map((box) => box.value.slice(0, MAX_SENT_LENGTH)),
  seed: seedBox.read(),
  model: modelMenu.value,
});

function getRequest() {
  const fields = getKeyFields();
  const point = sliders.map(({ slider }) => Number(slider.value));
  const isNew = JSON.stringify(fields) !== shownKey;
  const more = hasFour() ? MOSAIC_POINTS : STRIP_POINTS;
  return { ...fields, at: [point, ...(isNew ? more : [])], full_size: 1 }; // the others are shown small
}

function showPictures({ at, full_size: _, ...fields }, reply, isNewest) {
  tab.showCaptionNote(note, reply);
  boxes.forEach((box) => box.setAttribute("aria-invalid", String(Boolean(reply.error) && !box.value.trim())));
  if (!reply.error) {
    blendedImage.src = reply.pictures[0];
    blendedImage.alt = fields.captions.join(" · ");
    if (at.length > 1) {
      shownKey = JSON.stringify(fields);
      const images = (fields.captions.length === 4 ? find(".mosaic") : strip).querySelectorAll("img");
      images.forEach((image, i) => (image.src = reply.pictures[i + 1]));
    }
    find(".status").textContent = statusText(reply);
  }
  if (!isNewest) return;
  if (!reply.error) addRecent(reply.pictures[0]);
  announce(note.textContent || `At ${sliders.map(({ output }) => output.textContent).join(" and ")}`);
}

// ---- the sentences

const boxes = ORDINALS.map((ordinal, i) => {
  const id = `t2i-blend-${i + 1}`;
  const item = make("li");
  const box = make("textarea", { id, rows: 2, autocomplete: "off", autocapitalize: "off", enterkeyhint: "done" });
  box.setAttribute("aria-describedby", note.id);
  box.addEventListener("input", update);
  item.append(make("label", { for: id }, `${ordinal} sentence`), box);
  find(".sentences").append(item);
  return box;
});

// ---- the point: sliders, a pad to drag on, and the pictures of the strip

const sliders = ["Across", "Down"].map((name) => {
  const id = `t2i-blend-${name.toLowerCase()}`;
  const row = make("div", { class: "row" });
  const label = make("label", { for: id }, name);
  const slider = make("input", { id, type: "range", min: 0, max: 1, step: 0.005 });
  const output = make("output", { for: id });
  slider.addEventListener("input", () => {
    stopPlaying();
    showPoint();
    update();
  });
  row.append(label, slider, output);
  find(".sliders").append(row);
  return { label, slider, output };
});

function showPoint() {
  for (const { slider, output } of sliders) {
    output.textContent = `${Math.round(100 * slider.value)} %`;
    slider.style.setProperty("--at", 2 * slider.value - 1);
  }
  const [left, top] = sliders.map(({ slider }) => `${100 * slider.value}%`);
  Object.assign(find(".point").style, { left, top });
}

function goToPoint(...point) {
  point.forEach((value, i) => (sliders[i].slider.value = value)); // the browser clamps it
  showPoint();
  update();
}

STRIP_POINTS.forEach(([across]) => {
  const item = make("li");
  const button = make("button", { type: "button", "aria-label": `Go to ${Math.round(100 * across)} %` });
  button.append(make("img", { alt: "", width: 64, height: 64, src: EMPTY_IMAGE }));
  button.addEventListener("click", () => {
    stopPlaying();
    goToPoint(across);
  });
  item.append(button);
  strip.append(item);
});
find(".mosaic").append(...MOSAIC_POINTS.map(() => make("img", { alt: "", width: 64, height: 64, src: EMPTY_IMAGE })));
blendedImage.src = EMPTY_IMAGE;

function followPointer(event) {
  const { left, top, width, height } = pad.getBoundingClientRect();
  stopPlaying();
  goToPoint((event.clientX - left) / width, (event.clientY - top) / height);
}

pad.addEventListener("pointerdown", (event) => {
  pad.setPointerCapture(event.pointerId);
  followPointer(event);
});
pad.addEventListener("pointermove", (event) => pad.hasPointerCapture(event.pointerId) && followPointer(event));

// ---- Play: forward and back between two sentences, on a circle around the middle of four

let playStart = 0; // time, 0 if not playing

function playFrame(now) {
  if (!playStart || !tab.isOpen()) return stopPlaying();
  const angle = (2 * Math.PI * (now - playStart)) / LAP_DURATION;
  const across = 0.5 - 0.5 * Math.cos(angle);
  if (hasFour()) goToPoint(across, 0.5 - 0.5 * Math.sin(angle));
  else goToPoint(across);
  requestAnimationFrame(playFrame);
}

function stopPlaying() {
  playStart = 0;
  playButton.textContent = "Play";
}

playButton.addEventListener("click", () => {
  if (playStart) return stopPlaying();
  playStart = performance.now();
  playButton.textContent = "Pause";
  requestAnimationFrame(playFrame);
});

// ---- mode, seed, model, files

function refresh() {
  stopPlaying();
  shownKey = "";
  element.firstElementChild.classList.toggle("four", hasFour());
  sliders[0].label.textContent = hasFour() ? "Across" : "Blend";
  boxes.forEach((box) => (box.placeholder = findModel(modelMenu.value).placeholder));
  update();
}

const seedBox = tab.createSeedBox(props.maxSeed, update);
find(".modes").addEventListener("change", refresh);
modelMenu.addEventListener("change", () => {
  const { examples } = findModel(modelMenu.value);
  boxes.forEach((box, i) => isExample(box.value) && (box.value = examples[i % examples.length]));
  refresh();
});
find(".actions").addEventListener("click", ({ target }) => {
  const { kind } = target.dataset;
  if (kind) tab.saveFile(target, server.film, { ...getKeyFields(), kind }, find(".link-note"));
});

// ---- the tab's state in a link: two captions or four, the seed, and the point

const getState = () => [
  ...getKeyFields().captions.map((caption) => ["caption", caption]),
  ["seed", seedBox.read()],
  ["at", sliders.map(({ slider }) => slider.value)],
];

// From the caption of Draw to an example.
const firstCaptions = (caption, examples) =>
  caption ? [caption, ...examples.filter((example) => example !== caption)].slice(0, 2) : [];

function restore(query) {
  const initial = initialState(modelMenu.value);
  const { examples } = findModel(modelMenu.value);
  const linked = query.getAll("caption").map(toSingleLine);
  const captions = linked.length ? linked : firstCaptions(initial.caption, examples);
  find(`input[name=t2i-blend-mode][value="${captions.length > 2 ? 4 : 2}"]`).checked = true;
  boxes.forEach((box, i) => (box.value = captions[i] ?? examples[i % examples.length] ?? ""));
  seedBox.box.value = clamp(query.get("seed") ?? initial.seed ?? 1, 0, props.maxSeed);
  const at = splitFields(query.get("at"), 2);
  sliders.forEach(({ slider }, i) => (slider.value = clamp(at[i] ?? FIRST_POINT, 0, 1)));
  showPoint();
  refresh();
}

const addRecent = t2i.createRecentAlbum(tab, t2i.shareable(tab, getState, restore));
