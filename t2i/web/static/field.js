// The tab "Field": over a hundred small pictures of one caption. It opens the page, and plays by itself until somebody
// touches anything: the examples type themselves, and the pictures blend from one to the next.

const { MAX_SENT_LENGTH } = t2i;
const { findModel, isExample, sendToTab, showNote, toSingleLine } = t2i;
const tab = t2i.createTab("field", element, server);
const { find, announce, modelMenu } = tab;

const panel = find(".t2i-field");
const canvas = find("canvas");
const context = canvas.getContext("2d");
const captionBox = find("#t2i-field-caption");
const note = find("#t2i-field-note");

const MIN_PICTURES = 112;
const MAX_UNDER_WAY = 2; // requests
const FADE = 260; // ms from one picture to the next
const HOVER_SCALE = 1.7; // of the picture under the mouse
const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;

// ---- the pictures: their seeds go from 1 in the middle outwards, and are asked for in the same parts by everybody,
// because the server remembers parts.

let side = 0; // pixels of the screen
let columns = 0;
let places = []; // by seed - 1: {x, y, image, index, old, oldIndex, start}; an image has many pictures side by side
let hovered = -1; // seed - 1
let isPainting = false;

function layOut() {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width) return;
  const ratio = devicePixelRatio;
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  columns = Math.ceil(Math.sqrt((MIN_PICTURES * width) / height));
  side = canvas.width / columns;
  const rows = Math.ceil(canvas.height / side);
  const fromMiddle = ({ x, y }) => Math.hypot(x - (columns - 1) / 2, y - (rows - 1) / 2);
  const old = places;
  places = Array.from({ length: columns * rows }, (_, i) => ({ x: i % columns, y: Math.floor(i / columns) }))
    .sort((a, b) => fromMiddle(a) - fromMiddle(b))
    .map((place, i) => ({ ...old[i], ...place }));
  canvas.setAttribute("aria-label", `${places.length} small pictures: ${target?.captions.at(-1) ?? ""}`);
  paint();
  requestParts();
}

function paint() {
  if (isPainting) return;
  isPainting = true;
  requestAnimationFrame(paintFrame);
}

function paintFrame(now) {
  isPainting = false;
  for (const place of places) paintPlace(place, now, 1);
  if (places[hovered]) paintPlace(places[hovered], now, HOVER_SCALE);
  if (places.some(({ old }) => old)) paint();
}

function paintPlace(place, now, scale) {
  const share = isCalm ? 1 : Math.min((now - place.start) / FADE, 1);
  const size = Math.ceil(side * scale);
  const at = (cell) => Math.floor((cell + 0.5) * side - size / 2);
  const draw = (image, index) =>
    context.drawImage(image, index * image.height, 0, image.height, image.height, at(place.x), at(place.y), size, size);
  if (!place.image) return;
  if (place.old && share < 1) draw(place.old, place.oldIndex);
  else place.old = null;
  context.globalAlpha = Math.max(share, 0);
  draw(place.image, place.index);
  context.globalAlpha = 1;
}

// ---- requests: the parts of the newest target, those first that have waited longest

let target = null; // {captions, at, model}
let version = 0; // of the target
const versions = []; // what each part shows
const askedVersions = [];
let underWay = 0;
const answers = new Map(); // what was played, as it is played again

function setTarget(captions, at = 0) {
  target = { captions, at, model: modelMenu.value };
  version += 1;
  canvas.setAttribute("aria-label", `${places.length} small pictures: ${captions.at(-1)}`);
  requestParts();
}

function requestParts() {
  const count = Math.ceil(places.length / props.partSize);
  const parts = [...Array(target ? count : 0).keys()].filter((part) => (askedVersions[part] ?? 0) < version);
  parts.sort((a, b) => (askedVersions[a] ?? 0) - (askedVersions[b] ?? 0) || a - b);
  while (underWay < MAX_UNDER_WAY && parts.length) askFor(parts.shift());
}

async function askFor(part) {
  const asked = (askedVersions[part] = version);
  const seeds = Array.from({ length: props.partSize }, (_, i) => part * props.partSize + i + 1);
  underWay += 1;
  const reply = await ask({ ...target, seeds });
  const image = reply.strip && Object.assign(new Image(), { src: reply.strip });
  await image?.decode();
  underWay -= 1;
  if (asked >= (versions[part] ?? 0)) show(part, asked, reply, image);
  requestParts();
}

const draw = ({ captions, at, seeds, model }) => tab.draw(captions, { seeds }, { model, points: [[at, 0]], strip: true });

async function ask(request) {
  const key = JSON.stringify(request);
  const reply = answers.get(key) ?? (await tab.callUntilAnswered(draw, request, (reason) => showNote(note, reason)));
  if (isPlaying && reply.strip) answers.set(key, reply);
  return reply;
}

function show(part, asked, reply, image) {
  versions[part] = asked;
  const isNewest = asked === version;
  if (isNewest) {
    panel.classList.toggle("is-unreadable", Boolean(reply.error));
    captionBox.setAttribute("aria-invalid", String(Boolean(reply.error)));
    tab.showCaptionNote(note, reply);
    tab.showSuggestedModel(reply.elsewhere);
  }
  if (!image) return;
  const start = performance.now();
  for (let i = 0; i < props.partSize; i++) {
    const place = places[part * props.partSize + i];
    if (!place) break;
    Object.assign(place, { old: place.image, oldIndex: place.index, image, index: i, start });
  }
  paint();
  if (isNewest && !isPlaying && versions.every((each) => each === version)) announce(canvas.getAttribute("aria-label"));
}

// ---- it plays by itself

const LETTER_TIME = 45; // ms
const HOLD_TIME = 2200; // ms that a finished caption stays
const NUM_STEPS = 5; // of a blend
let isPlaying = false;
let played = ""; // the caption

function play(number = 0) {
  const { examples } = findModel(modelMenu.value);
  const [last, next] = [examples.at(number - 1), examples[number]];
  const start = performance.now();
  let step = 0;
  played = next;

  function frame(now) {
    if (!isPlaying) return;
    const share = Math.min((now - start) / (LETTER_TIME * next.length), 1);
    captionBox.placeholder = next.slice(0, Math.ceil(share * next.length));
    const newStep = Math.ceil(share * NUM_STEPS);
    if (newStep > step) {
      step = newStep;
      if (number || answers.size) setTarget([last, next], step / NUM_STEPS);
      else setTarget([beginning(next, step / NUM_STEPS)]);
    }
    if (now - start < LETTER_TIME * next.length + HOLD_TIME) requestAnimationFrame(frame);
    else play((number + 1) % examples.length);
  }
  requestAnimationFrame(frame);
}

// So many whole words.
function beginning(caption, share) {
  const words = caption.split(" ");
  return words.slice(0, Math.ceil(share * words.length)).join(" ");
}

function setPlaying(on) {
  isPlaying = on;
  panel.classList.toggle("is-playing", on);
}

// The first touch of anything. A letter begins a caption; all else leaves the one that is played.
function stop({ type, key }) {
  if (!isPlaying || !tab.isOpen()) return;
  setPlaying(false);
  captionBox.placeholder = findModel(modelMenu.value).placeholder;
  if (type === "keydown" && key.length === 1) return;
  captionBox.value = played;
  captionBox.select();
  update();
}

for (const type of ["pointerdown", "keydown", "wheel", "paste"]) {
  document.addEventListener(type, /** @type {any} */ (stop), { capture: true, passive: true });
}

// ---- the caption, the model, what leads on

function update() {
  const caption = captionBox.value.slice(0, MAX_SENT_LENGTH);
  t2i.setDrawState({ caption, seed: 1, model: modelMenu.value });
  setTarget([caption]);
}

captionBox.addEventListener("input", update);

modelMenu.addEventListener("change", () => {
  captionBox.placeholder = findModel(modelMenu.value).placeholder;
  if (isExample(captionBox.value)) captionBox.value = findModel(modelMenu.value).examples[0];
  update();
});

// To Draw, with the picture of this seed as the first.
function drawFrom(seed) {
  const query = { tab: "draw", model: modelMenu.value, caption: captionBox.value || played, seed };
  sendToTab("draw", { query: String(new URLSearchParams(Object.entries(query))) });
}

function findPlace({ offsetX, offsetY }) {
  const [x, y] = [offsetX, offsetY].map((offset) => Math.floor((offset * devicePixelRatio) / side));
  return places.findIndex((place) => place.x === x && place.y === y);
}

canvas.addEventListener("click", (event) => drawFrom(findPlace(event) + 1));
canvas.addEventListener("pointermove", (event) => {
  if (event.pointerType !== "mouse") return;
  hovered = findPlace(event);
  paint();
});
canvas.addEventListener("pointerleave", () => {
  hovered = -1;
  paint();
});
find(".sixteen").addEventListener("click", () => drawFrom(1));

// ---- the tab's state in a link

function restore(query) {
  const caption = query.get("caption");
  captionBox.placeholder = findModel(modelMenu.value).placeholder;
  setPlaying(caption === null && !isCalm);
  captionBox.value = isPlaying ? "" : toSingleLine(caption ?? findModel(modelMenu.value).examples[0] ?? "");
}

// What plays by itself is not kept in the address: a reload plays again.
const getState = () => (isPlaying ? [] : [["caption", captionBox.value || played]]);
const link = t2i.shareable(tab, getState, restore);

// It begins when it is seen, but not while the page turns to the tab of its link.
let isDue = [null, "field"].includes(t2i.pageLink.get("tab"));
new ResizeObserver(() => {
  if (!canvas.clientWidth) isDue = true;
  else if (isDue) {
    layOut();
    if (target) return;
    link.goToAddress(); // by Back it may be another than the page's first
    tab.focusFirst(captionBox);
    if (isPlaying && findModel(modelMenu.value).examples.length) play();
    else update();
  }
}).observe(canvas);

t2i.openTab(t2i.pageLink.get("tab")); // Field opens first, but the link may be for another tab
