// The tab "Blend". A point is [across, down], both from 0 to 1; between two sentences only across counts. While it moves,
// its picture is mixed from the nearest stops, which are there once the words have rested, and the exact one comes when
// the point rests. A machine that draws as many pictures a second as a screen shows draws each point.

const { EMPTY_IMAGE, MAX_SENT_LENGTH, REST_DELAY } = t2i;
const { clamp, findModel, initialState, isExample, make, splitFields, statusText, toSingleLine } = t2i;
const tab = t2i.createTab("blend", element, server);
const { find, announce, modelMenu } = tab;

const note = find("#t2i-blend-note");
const strip = find(".strip");
const pad = find(".pad");
const playButton = find(".play");

const ORDINALS = ["First", "Second", "Third", "Fourth"];
const STRIP_LENGTH = 9; // stops between two sentences that come with the words
const LINE_LENGTH = 33; // with those between them, which follow when the words rest
const MOSAIC_SIDE = 7; // stops a side among four sentences
const FIRST_POINT = 0.25; // near the first sentence: the middle of very different ones shows little
const LAP_DURATION = 8000; // ms of one round of Play
const STILL_DELAY = 100; // ms without a movement before the exact picture is asked for

const hasFour = () => find("input[name=t2i-blend-mode]:checked").value === "4";
const getPoint = () => sliders.map(({ slider }) => Number(slider.value));

// Points in equal steps, row by row.
function gridPoints(columns, rows = 1) {
  const step = (i, count) => (count > 1 ? i / (count - 1) : 0);
  return Array.from({ length: columns * rows }, (_, i) => [step(i % columns, columns), step(Math.floor(i / columns), rows)]);
}

const STRIP_POINTS = gridPoints(STRIP_LENGTH);
const MOSAIC_POINTS = gridPoints(MOSAIC_SIDE, MOSAIC_SIDE);
const isBetweenStrip = (_, i) => i % ((LINE_LENGTH - 1) / (STRIP_LENGTH - 1)) > 0;
const BETWEEN_POINTS = gridPoints(LINE_LENGTH).filter(isBetweenStrip);

// ---- requests: the exact picture of the point, and the stops that are missing

const draw = ({ captions, seed, ...options }) => tab.draw(captions, { seeds: [seed] }, options);
const update = tab.createUpdater(draw, getRequest, showPictures);
let stops = null; // {key, columns, rows, pictures}: bitmaps of the words `key`, in equal steps
let exact = null; // {point, picture}: the bitmap of the last point that was drawn
let haveWordsRested = false;
let restTimer;

const getWords = () => ({
  captions: boxes.slice(0, hasFour() ? 4 : 2).map((box) => box.value.slice(0, MAX_SENT_LENGTH)),
  seed: seedBox.read(),
  model: modelMenu.value,
});
const isHere = () => t2i.local.isPreferred(modelMenu.value, 1); // this machine draws the point
const isLive = () => t2i.local.isLive(modelMenu.value);
const hasStops = () => stops?.key === JSON.stringify(getWords());

function getRequest() {
  return { ...getWords(), points: [getPoint(), ...getMissingPoints()], full_size: 1 }; // the stops are drafts
}

// The server sends the first stops with the point. This machine would take too long for them at each letter.
function getMissingPoints() {
  if (isHere() && !haveWordsRested) return [];
  if (!hasStops()) return hasFour() ? MOSAIC_POINTS : STRIP_POINTS;
  return haveWordsRested && stops.columns === STRIP_LENGTH ? BETWEEN_POINTS : [];
}

function updateWords() {
  clearTimeout(restTimer);
  haveWordsRested = false;
  update();
}

function showPictures({ points, full_size: _, ...words }, reply, isNewest) {
  tab.showCaptionNote(note, reply);
  boxes.forEach((box) => box.setAttribute("aria-invalid", String(Boolean(reply.error) && !box.value.trim())));
  if (!reply.error) {
    const [picture, ...more] = reply.pictures;
    find("img.blended").src = picture;
    find("img.blended").alt = words.captions.join(" · ");
    find(".status").textContent = statusText(reply);
    tab.showSuggestedModel(reply.elsewhere);
    showBitmaps(JSON.stringify(words), points[0], reply);
    if (more.length && more.length !== BETWEEN_POINTS.length) {
      const images = (words.captions.length === 4 ? find(".mosaic") : strip).querySelectorAll("img");
      images.forEach((image, i) => (image.src = more[i]));
    }
  }
  if (!isNewest) return;
  if (!reply.error) {
    addRecent(reply.pictures[0]);
    clearTimeout(restTimer);
    restTimer = setTimeout(askForMissing, REST_DELAY);
  }
  const used = sliders.slice(0, hasFour() ? 2 : 1); // the other one is hidden
  announce(note.textContent || `At ${used.map(({ output }) => output.textContent).join(" and ")}`);
}

function askForMissing() {
  haveWordsRested = true;
  if (getMissingPoints().length) update();
}

// ---- the large picture, on a canvas: smoother than a browser would enlarge an image

const canvas = find(".motion");
const context = canvas.getContext("2d");
const mixed = make("canvas").getContext("2d"); // at the pictures' own size
const SCALE = 4; // of the canvas to the pictures
let numAnswers = 0;
let isPainting = false;

async function decode(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return createImageBitmap(image);
}

async function showBitmaps(key, point, { pictures, size }) {
  const number = (numAnswers += 1);
  const [picture, ...more] = await Promise.all(pictures.map(decode));
  if (more.length) addStops(key, more);
  if (number !== numAnswers) return;
  if (stops?.key !== key) stops = null; // of older words
  if (canvas.width !== SCALE * size) canvas.width = canvas.height = SCALE * size;
  canvas.parentElement.style.setProperty("--size", size);
  exact = { point, picture };
  paintSoon();
}

function addStops(key, pictures) {
  const isFilling = pictures.length === BETWEEN_POINTS.length;
  if (isFilling && (stops?.key !== key || stops.columns !== STRIP_LENGTH)) return; // of other words
  const [columns, rows] = pictures.length === MOSAIC_POINTS.length ? [MOSAIC_SIDE, MOSAIC_SIDE] : [STRIP_LENGTH, 1];
  if (!isFilling) return (stops = { key, columns, rows, pictures });
  const [old, added] = [stops.pictures.values(), pictures.values()];
  const all = gridPoints(LINE_LENGTH).map((_, i) => (isBetweenStrip(_, i) ? added : old).next().value);
  stops = { key, columns: LINE_LENGTH, rows: 1, pictures: all };
}

function paintSoon() {
  if (isPainting) return;
  isPainting = true;
  requestAnimationFrame(paint);
}

function paint() {
  isPainting = false;
  const point = getPoint();
  if (!exact) return;
  const isExact = !stops || isLive() || String(point) === String(exact.point);
  mixed.canvas.width = mixed.canvas.height = canvas.width / SCALE;
  if (isExact) mixed.drawImage(exact.picture, 0, 0, mixed.canvas.width, mixed.canvas.height);
  else mixStops(point);
  context.imageSmoothingQuality = "high";
  context.drawImage(mixed.canvas, 0, 0, canvas.width, canvas.height);
}

// The stops around the point, weighted by how near they are.
function mixStops(point) {
  const [across, down] = point;
  const { columns, rows, pictures } = stops;
  const [x, y] = [across * (columns - 1), down * (rows - 1)];
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [toRight, toBottom] = [x - left, y - top];
  const nearest = [
    [left, top, (1 - toRight) * (1 - toBottom)],
    [left + 1, top, toRight * (1 - toBottom)],
    [left, top + 1, (1 - toRight) * toBottom],
    [left + 1, top + 1, toRight * toBottom],
  ].filter(([, , weight]) => weight);
  t2i.drawMixed(mixed, nearest.map(([column, row, weight]) => [pictures[row * columns + column], weight]));
}

// ---- the sentences

const boxes = ORDINALS.map((ordinal, i) => {
  const id = `t2i-blend-${i + 1}`;
  const item = make("li");
  const box = make("textarea", { id, rows: 2, autocomplete: "off", autocapitalize: "off", enterkeyhint: "done" });
  box.setAttribute("aria-describedby", note.id);
  box.addEventListener("input", updateWords);
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
    updateWhenStill();
  });
  slider.addEventListener("change", updateAtRest);
  row.append(label, slider, output);
  find(".sliders").append(row);
  return { label, slider, output };
});

function showPoint() {
  for (const { slider, output } of sliders) {
    output.textContent = `${Math.round(100 * slider.value)}%`;
    slider.style.setProperty("--at", 2 * slider.value - 1);
  }
  const [left, top] = sliders.map(({ slider }) => `${100 * slider.value}%`);
  Object.assign(find(".point").style, { left, top });
  paintSoon();
}

function goToPoint(...point) {
  point.forEach((value, i) => (sliders[i].slider.value = value)); // the browser clamps it
  showPoint();
}

let stillTimer;

function updateWhenStill() {
  clearTimeout(stillTimer);
  if (hasStops() && !isLive()) stillTimer = setTimeout(update, STILL_DELAY);
  else update(); // there is nothing to mix, or no need to
}

function updateAtRest() {
  clearTimeout(stillTimer);
  update();
}

STRIP_POINTS.forEach(([across]) => {
  const item = make("li");
  const button = make("button", { type: "button", "aria-label": `Go to ${Math.round(100 * across)}%` });
  button.append(make("img", { alt: "", width: 64, height: 64, src: EMPTY_IMAGE }));
  button.addEventListener("click", () => {
    stopPlaying();
    goToPoint(across);
    updateAtRest();
  });
  item.append(button);
  strip.append(item);
});
find(".mosaic").append(...MOSAIC_POINTS.map(() => make("img", { alt: "", width: 64, height: 64, src: EMPTY_IMAGE })));
find("img.blended").src = EMPTY_IMAGE;

function followPointer(event) {
  const { left, top, width, height } = pad.getBoundingClientRect();
  stopPlaying();
  goToPoint((event.clientX - left) / width, (event.clientY - top) / height);
  updateWhenStill();
}

pad.addEventListener("pointerdown", (event) => {
  pad.setPointerCapture(event.pointerId);
  followPointer(event);
});
pad.addEventListener("pointermove", (event) => pad.hasPointerCapture(event.pointerId) && followPointer(event));
pad.addEventListener("pointerup", updateAtRest);

// ---- Play: forward and back between two sentences, on a circle around the middle of four

let playStart = 0; // time, 0 if not playing

function playFrame(now) {
  if (!playStart) return;
  if (!tab.isOpen()) return pause();
  const angle = (2 * Math.PI * (now - playStart)) / LAP_DURATION;
  const across = 0.5 - 0.5 * Math.cos(angle);
  if (hasFour()) goToPoint(across, 0.5 - 0.5 * Math.sin(angle));
  else goToPoint(across);
  if (isLive()) update();
  requestAnimationFrame(playFrame);
}

function stopPlaying() {
  playStart = 0;
  playButton.textContent = "Play";
}

function pause() {
  stopPlaying();
  updateAtRest();
}

playButton.addEventListener("click", () => {
  if (playStart) return pause();
  playStart = performance.now();
  playButton.textContent = "Pause";
  requestAnimationFrame(playFrame);
});

// ---- mode, seed, model, files

function refresh() {
  stopPlaying();
  stops = null;
  element.firstElementChild.classList.toggle("four", hasFour());
  sliders[0].label.textContent = hasFour() ? "Across" : "Blend";
  boxes.forEach((box) => (box.placeholder = findModel(modelMenu.value).placeholder));
  updateWords();
}

const seedBox = tab.createSeedBox(props.maxSeed, updateWords);
find(".modes").addEventListener("change", refresh);
modelMenu.addEventListener("change", () => {
  const { examples } = findModel(modelMenu.value);
  boxes.forEach((box, i) => isExample(box.value) && (box.value = examples[i % examples.length]));
  refresh();
});
if (!props.canWriteMp4) find("[data-kind=mp4]").remove();
find(".actions").addEventListener("click", ({ target }) => {
  const { kind } = target.dataset;
  const request = { ...getWords(), kind, written: Number(find(".written").checked) };
  if (kind) tab.saveFile(target, server.film, request, find(".link-note"));
  if (target.matches(".poster")) tab.saveFile(target, server.blend_poster, getWords(), find(".link-note"));
});

// ---- the tab's state in a link: two captions or four, the seed, and the point

const getState = () => [
  ...getWords().captions.map((caption) => ["caption", caption]),
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
tab.focusFirst(boxes[0]);
