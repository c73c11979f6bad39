// The tab "Draw".

const { EMPTY_IMAGE, MAX_SENT_LENGTH, NO_ANSWER, REST_DELAY, RETRY_DELAY } = t2i;
const { clamp, findModel, isExample, make, percent, showNote, splitFields, statusText, toSingleLine } = t2i;
const tab = t2i.createTab("draw", element, server);
const { find, announce, modelMenu } = tab;

const panel = find(".t2i-draw");
const captionBox = find("#t2i-draw-caption");
const grid = find(".grid");
const note = find("#t2i-draw-note");
const dialog = find("dialog");

const seeds = []; // of the sixteen places
const offsets = []; // from each seed on the plane of seeds, [across, down], 0 to 1
const values = []; // of the attributes, -1 to 1, finer than their sliders' steps
let shown = null; // the request of the pictures on the page
let pictureSize = 64; // pixels a side

// ---- requests

const draw = ({ caption, seeds, at, like, ...options }, onPart) =>
  tab.draw([caption], { seeds, at, like }, options, onPart);
const requestPictures = tab.createDraftUpdater(draw, getRequest, showPictures, showPart);

function update() {
  t2i.setDrawState({ caption: captionBox.value, seed: seedBox.read(), model: modelMenu.value });
  if (dialog.open) updateEnlarged(); // the sixteen follow when it is closed
  else updateSixteen();
}

function updateSixteen() {
  grid.setAttribute("aria-busy", "true");
  isSortPending = false;
  setSorted(false); // the matches will be others
  markExamples();
  requestWhenStill();
}

function getRequest() {
  return {
    caption: readCaption(),
    seeds: [...seeds],
    ...(offsets.some(isOffset) && { at: [...offsets] }),
    ...(photoStyle && { like: photoStyle }),
    ...(variety.read() !== 1 && { variety: variety.read() }),
    ...(parents && { parents, mutation: mutation.read() }),
    attributes: roundedValues(),
    model: modelMenu.value,
  };
}

const STILL_DELAY = 100; // ms without a step before the exact pictures are asked for
let stillTimer;
let isAhead = false; // the page shows what was drawn ahead: older answers are dropped

// What has been drawn ahead is shown at once.
function requestWhenStill() {
  clearTimeout(stillTimer);
  const request = getRequest();
  const pictures = prefetcher.preview(request, isLocked);
  isAhead = Boolean(pictures);
  if (!isAhead) return requestPictures();
  shown = request;
  showPart(request, { pictures });
  markHearts();
  showMatches(null);
  stillTimer = setTimeout(requestPictures, STILL_DELAY);
}

// Whether a request has the seeds and offsets that the sixteen places have now.
function isCurrent({ seeds, at }) {
  const request = getRequest();
  return String([request.seeds, request.at]) === String([seeds, at]);
}

function showPart(request, { pictures }) {
  if (isAhead && !isCurrent(request)) return;
  pictures.forEach((source, i) => {
    const image = tiles[i].picture.firstChild;
    if (image.getAttribute("src") !== source) image.src = source; // else it would be decoded anew
    image.alt = request.caption;
  });
}

function showPictures(request, reply, isNewest) {
  if (isAhead && !isCurrent(request)) return;
  tab.showCaptionNote(note, reply);
  const isUnreadable = Boolean(reply.error) && !reply.busy;
  captionBox.setAttribute("aria-invalid", String(Boolean(reply.error)));
  panel.classList.toggle("is-unreadable", isUnreadable);
  find(".unreadable").textContent = isUnreadable ? reply.error : "";
  if (!reply.error) {
    shown = request;
    pictureSize = reply.size;
    showPart(request, reply);
    prefetcher.noteShown(request, reply.pictures);
    markHearts();
    find(".status").textContent = statusText(reply);
    panel.classList.toggle("has-unknown-words", Boolean(reply.hint));
    showMatches(null);
  }
  if (!isNewest) return;
  grid.setAttribute("aria-busy", "false");
  tab.showSuggestedModel(reply.elsewhere);
  if (!reply.error && !omitted) addRecent(reply.pictures[0]);
  matchTimer = setTimeout(considerMatches, "full_size" in request ? REST_DELAY : 0); // else it has rested already
  announce(note.textContent || `Sixteen pictures${request.like ? " in the style of a photo" : ""}: ${request.caption}`);
}

// ---- the pictures

const tiles = Array.from({ length: props.numPictures }, (_, i) => {
  const item = make("li");
  const [seedId, matchId] = [`t2i-draw-seed-${i}`, `t2i-draw-match-${i}`];
  const picture = make("button", { type: "button", class: "picture", "aria-describedby": `${seedId} ${matchId}` });
  const heart = make("button", { type: "button", class: "heart", "aria-pressed": "false" });
  const foot = make("div", { class: "foot" });
  const number = make("span", { id: seedId, class: "number" });
  const match = make("span", { id: matchId, class: "match" });
  const lock = make("button", { type: "button", class: "lock", "aria-pressed": "false" });
  picture.append(make("img", { alt: "", width: 64, height: 64, decoding: "sync", src: EMPTY_IMAGE }));
  foot.append(number, match, lock);
  item.append(picture, heart, foot);
  grid.append(item);

  for (const button of [picture, heart, lock]) button.addEventListener("focus", () => setTabStop(i));
  picture.addEventListener("click", () => enlarge(i));
  heart.addEventListener("click", () => shown && toggleFavourite(favouriteQuery(shown, i), picture.firstChild));
  lock.addEventListener("click", () => setLock(i, !isLocked(i)));
  return { picture, heart, number, match, lock };
});

const isLocked = (i) => tiles[i].lock.getAttribute("aria-pressed") === "true";
const setLock = (i, on) => tiles[i].lock.setAttribute("aria-pressed", String(on));
const setSorted = (on) => panel.classList.toggle("is-sorted", on);

// The Tab key stops once in the grid; arrow keys move within it.
function setTabStop(stop) {
  tiles.forEach(({ picture, heart, lock }, i) => {
    picture.tabIndex = heart.tabIndex = lock.tabIndex = i === stop ? 0 : -1;
  });
}

grid.addEventListener("keydown", (event) => {
  if (event.shiftKey && travelByKey(event.key)) return event.preventDefault();
  const kind = event.target.classList[0];
  const from = tiles.findIndex((tile) => tile[kind] === event.target);
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -4, ArrowDown: 4 }[event.key];
  const to = { Home: 0, End: props.numPictures - 1 }[event.key] ?? from + step;
  if (from < 0 || !tiles[to]) return;
  event.preventDefault();
  tiles[to][kind].focus();
});

// ---- seeds

const maxFirstSeed = props.maxSeed - props.numPictures;
const seedBox = tab.createSeedBox(maxFirstSeed, () => goToSeed(seedBox.read()));

function setSeeds() {
  const first = seedBox.read();
  tiles.forEach((_, i) => {
    if (!isLocked(i)) [seeds[i], offsets[i]] = [first + i, offset];
  });
  setSorted(false);
  labelTiles();
  update();
}

function labelTiles() {
  tiles.forEach(({ number, lock, heart }, i) => {
    number.textContent = seeds[i] + (isOffset(offsets[i]) ? " +" : "");
    lock.setAttribute("aria-label", `Lock seed ${seeds[i]}`);
    lock.title = "Locked pictures don't change";
    heart.setAttribute("aria-label", `Favourite seed ${seeds[i]}`);
  });
}

// ---- the plane of seeds: rows of four. The sixteen pictures are a window on it, which may lie between seeds. The grid
// is dragged like a map: by one picture to the next seed.

const DRAG_THRESHOLD = 6; // pixels; less is a click
const KEY_STEP = 0.1; // seeds
const MAX_OFFSET = 0.9999; // at the edge of the plane; 1 would be the next seed
/** @type {[number, number]} */
let offset = [0, 0]; // of the window from its seed
let lastSeed = 1; // the seed last typed or shuffled

const isOffset = ([across, down]) => across > 0 || down > 0;
const offsetText = (offset) => offset.map((part) => part.toFixed(2)).join(" across and ") + " down";

function goToSeed(seed, [across, down] = [0, 0]) {
  lastSeed = seed;
  placeWindow(seed, [across, down]);
}

// Put the window at an offset from a seed, of any size: whole steps are added to the seed. At the edge of the plane it
// stops in that direction only.
function placeWindow(seed, [across, down]) {
  const round = (number) => Math.round(1e4 * number) / 1e4;
  const x = clamp(round(across), -seed, maxFirstSeed - seed + MAX_OFFSET);
  const column = seed + Math.floor(x);
  const y = clamp(round(down), -Math.floor(column / 4), Math.floor((maxFirstSeed - column) / 4) + MAX_OFFSET);
  const first = column + 4 * Math.floor(y);
  seedBox.box.value = first;
  offset = [round(x - Math.floor(x)), round(y - Math.floor(y))];
  const isAway = first !== lastSeed || isOffset(offset);
  const place = `Seed ${first}` + (isOffset(offset) ? `, ${offsetText(offset)}` : "");
  find(".place span").textContent = isAway ? place : "Drag the pictures to travel to other seeds.";
  find(".back").hidden = !isAway;
  find(".back").textContent = `Back to seed ${lastSeed}`;
  setSeeds();
}

const prefetcher = t2i.createPrefetcher(draw, props.maxSeed);

function moveWindow(across, down) {
  placeWindow(seedBox.read(), [offset[0] + across, offset[1] + down]);
  prefetcher.prefetch(getRequest(), seedBox.read());
}

// Whether the key travels.
function travelByKey(key) {
  const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (directions[key]) moveWindow(...directions[key].map((step) => KEY_STEP * step));
  return key in directions;
}

let held = null; // where the pointer was, while it holds the grid

grid.addEventListener("pointerdown", (event) => {
  if (event.button === 0 && event.isPrimary && event.target.closest(".picture")) held = event;
});
grid.addEventListener("pointermove", (event) => {
  if (!event.buttons) held = null; // it was released elsewhere
  if (held?.pointerId !== event.pointerId) return;
  const [across, down] = [event.clientX - held.clientX, event.clientY - held.clientY];
  if (!grid.hasPointerCapture(event.pointerId)) {
    if (Math.hypot(across, down) < DRAG_THRESHOLD) return;
    if (event.pointerType === "touch" && Math.abs(down) > Math.abs(across)) return (held = null); // it scrolls the page
    grid.setPointerCapture(event.pointerId); // the click is then the grid's and enlarges nothing
  }
  held = event;
  const pitch = tiles[1].picture.getBoundingClientRect().left - tiles[0].picture.getBoundingClientRect().left;
  moveWindow(-across / pitch, -down / pitch); // the window moves against the pointer
});
for (const type of ["pointerup", "pointercancel"]) grid.addEventListener(type, () => (held = null));
grid.addEventListener("dragstart", (event) => event.preventDefault());
find(".back").addEventListener("click", () => {
  goToSeed(lastSeed);
  seedBox.box.focus(); // for the keyboard: the button is now hidden
});

// ---- how well pictures match the caption. The server is asked when nothing has changed for a while, and the grid is
// sorted on demand. Words that the generator does not know, the image encoder does not know either: then it is not asked.

let matches = null; // of the pictures on the page, from 0 to 1; null while they are not known
let isSortPending = false; // until the matches are known
let matchTimer;
let askedFor = null; // the request whose matches are under way

// Pictures of this machine the server has to draw once more: it is asked only if somebody looks at them.
const areDrawnHere = () => t2i.local.isPreferred(modelMenu.value, props.numPictures);

function considerMatches() {
  if (!areDrawnHere() || isSortPending || grid.matches(":hover, :focus-within")) requestMatches();
}

for (const type of ["pointerenter", "focusin"]) {
  grid.addEventListener(type, () => !matches && areDrawnHere() && requestMatches());
}

async function requestMatches() {
  const request = shown;
  if (!request || request === askedFor || find(".has-unknown-words")) return;
  askedFor = request;
  const reply = (await server.match(request)) || NO_ANSWER;
  if (askedFor === request) askedFor = null;
  if (shown !== request || grid.getAttribute("aria-busy") === "true") return; // other pictures are on their way
  if (reply.busy) matchTimer = setTimeout(requestMatches, RETRY_DELAY);
  if (!reply.matches?.length) return; // an error, or a model without an image encoder
  showMatches(reply.matches);
  if (isSortPending) sortByMatch();
}

function showMatches(newMatches) {
  clearTimeout(matchTimer);
  matches = newMatches;
  tiles.forEach(({ match }, i) => {
    match.parentNode.style.setProperty("--match", matches ? matches[i] : 0);
    const prefix = make("span", { class: "visually-hidden" }, "match ");
    match.replaceChildren(...(matches ? [prefix, percent(matches[i])] : []));
  });
}

// The best first. Locks move with their pictures.
function sortByMatch() {
  isSortPending = !matches || grid.getAttribute("aria-busy") === "true";
  if (isSortPending && areDrawnHere()) requestMatches();
  if (isSortPending) return;
  if (!isCurrent(shown)) return; // a later request has failed
  const order = seeds.map((_, i) => i).sort((a, b) => matches[b] - matches[a]);
  const old = tiles.map(({ picture, lock }) => [picture.firstChild.src, lock.getAttribute("aria-pressed")]);
  order.forEach((from, to) => {
    tiles[to].picture.firstChild.src = old[from][0];
    tiles[to].lock.setAttribute("aria-pressed", old[from][1]);
  });
  for (const list of [seeds, offsets]) list.splice(0, list.length, ...order.map((i) => list[i]));
  shown = { ...shown, seeds: [...seeds], at: shown.at && [...offsets] };
  setSorted(true);
  labelTiles();
  markHearts();
  showMatches(order.map((i) => matches[i]));
  announce(`Sorted by match, the best first: seed ${seeds[0]}`);
}

find(".sort").addEventListener("click", sortByMatch);
find(".poster").addEventListener("click", ({ target }) => {
  if (shown) tab.saveFile(target, server.poster, shown, find(".link-note"));
});

// ---- attributes and their sliders

const roundedValues = () => values.map((value) => Math.round(100 * value) / 100); // a small step of a hand is less
let showValue; // shows an attribute, of this place, on its slider

function setAttribute(i, value) {
  values[i] = clamp(value, -1, 1);
  showValue(i);
  update();
}

function createSliders(attributes) {
  const rows = attributes.map(({ name, low, high }, i) => {
    const id = `t2i-draw-attribute-${i + 1}`;
    const slider = make("input", { id, type: "range", min: -1, max: 1, step: 0.05 });
    const output = make("output", { for: id });
    const reset = make("button", { type: "button", "aria-label": `Reset ${name}` }, "↺");
    slider.addEventListener("input", () => setAttribute(i, slider.value));
    reset.addEventListener("click", () => setAttribute(i, 0));
    const [left, right] = [low, high].map((end) => make("span", { class: "end", "aria-hidden": "true" }, end));
    return { slider, output, parts: [make("label", { for: id }, name), left, slider, right, output, reset] };
  });
  showValue = (i) => {
    const [value, { slider, output }, { low, high }] = [values[i], rows[i], attributes[i]];
    if (Number(slider.value) !== value) slider.value = value;
    output.textContent = value.toFixed(2).replace("-", "−");
    slider.setAttribute("aria-valuetext", value ? `${output.textContent}, ${value < 0 ? low : high}` : "as the seed has it");
    slider.style.setProperty("--at", value);
  };
  const resetAll = make("button", { type: "button", class: "reset-all" }, "Reset all");
  resetAll.addEventListener("click", () => attributes.forEach((_, i) => setAttribute(i, 0)));
  find(".attributes").replaceChildren(...rows.flatMap(({ parts }) => parts), resetAll);
  values.splice(0, values.length, ...attributes.map(() => 0));
  values.forEach((_, i) => showValue(i));
}

// ---- how far seeds stray, and children

// A slider that is not an attribute's.
function createSlider(id, first) {
  const slider = find(`#t2i-draw-${id}`);
  const set = (value) => {
    slider.value = value;
    slider.style.setProperty("--from", "0%");
    slider.style.setProperty("--at", String((2 * slider.value) / slider.max - 1));
  };
  slider.addEventListener("input", () => {
    set(slider.value);
    update();
  });
  set(first);
  return { set, read: () => Number(slider.value) };
}

find("#t2i-draw-variety").max = props.maxVariety;
const variety = createSlider("variety", 1);

// Two favourites and their children. A parent is {captions, weights, z}, as the server says it of a picture; in a link
// it is a query of its own. The seeds are those of the children.

const FIRST_MUTATION = 0.1;
const mutation = createSlider("mutation", FIRST_MUTATION);
const breedButton = find(".breed");
let parents = null;
let chosen = []; // queries of favourites, while two are chosen

const writeParent = ({ captions, weights, z }) =>
  String(
    new URLSearchParams([
      ["z", z],
      ...captions.map((caption) => ["caption", caption]),
      ...weights.map((weight) => ["weight", weight]),
    ]),
  );

function readParent(text) {
  const query = new URLSearchParams(text);
  return { captions: query.getAll("caption"), weights: query.getAll("weight").map(Number), z: query.get("z") };
}

const isParent = ({ captions, weights, z }) =>
  captions.length && captions.every((caption) => caption.trim()) && weights[0] > 0 && isStyle(z);

function setParents(newParents, sources = []) {
  parents = newParents?.length === 2 && newParents.every(isParent) ? newParents : null;
  find(".parents").hidden = !parents;
  find(".variety").hidden = Boolean(parents); // children have their parents'
  find(".parents")
    .querySelectorAll("img")
    .forEach((image, i) => {
      image.hidden = !sources[i];
      image.src = sources[i] ?? EMPTY_IMAGE;
    });
}

const isChoosing = () => breedButton.getAttribute("aria-pressed") === "true";

function setChoosing(on) {
  breedButton.setAttribute("aria-pressed", String(on));
  choose([]);
}

function choose(queries) {
  chosen = queries;
  const all = favourites.queries();
  find(".favourites")
    .querySelectorAll(".thumbnail")
    .forEach((thumbnail, i) => thumbnail.classList.toggle("chosen", chosen.includes(all[i])));
  breedButton.textContent = isChoosing() ? `Choose ${chosen.length ? "another" : "two"}` : "Breed two";
}

// While two are chosen, a favourite is no link.
function openFavourite(query) {
  if (!isChoosing()) return open(query);
  choose(chosen.includes(query) ? [] : [...chosen, query]);
  if (chosen.length === 2) breed();
}

async function breed() {
  const pictures = chosen.map(readFavourite);
  const all = favourites.queries();
  const images = find(".favourites").querySelectorAll("img");
  const sources = chosen.map((query) => images[all.indexOf(query)].src);
  setChoosing(false);
  const reply = await tab.callWithNote(server.parents, { pictures }, find(".link-note"));
  if (!reply.parents) return;
  modelMenu.value = pictures[0].model;
  showModel(); // with its sliders at zero: the parents have their own attributes
  setCaption([...new Set(pictures.map(({ caption }) => caption))].join(" × "));
  mutation.set(FIRST_MUTATION);
  setParents(reply.parents, sources);
  update();
}

breedButton.addEventListener("click", () => setChoosing(!isChoosing()));
find(".stop-breeding").addEventListener("click", () => {
  setCaption(parents[0].captions[0]);
  setParents(null);
  find(".shuffle").focus(); // for the keyboard: this button is now hidden
  update();
});

// ---- the style of a photo, from the tab "Style", as text of the server

const photosByStyle = new Map(); // a link has no photo
let photoStyle = "";

// Whether a text is a z of the chosen model.
const isStyle = (text) => text?.length === findModel(modelMenu.value).style_length && /^[\w-]+$/.test(text);

function setPhotoStyle(style) {
  photoStyle = isStyle(style) ? style : "";
  find(".photo-style").hidden = !photoStyle;
  find(".photo-style img").hidden = !photosByStyle.has(photoStyle);
  find(".photo-style img").src = photosByStyle.get(photoStyle) ?? EMPTY_IMAGE;
}

find(".remove-style").addEventListener("click", () => {
  setPhotoStyle("");
  find(".shuffle").focus(); // for the keyboard: this button is now hidden
  update();
});

// ---- the words of the caption. One that has the focus, or on which the mouse rests, is left out of the pictures.

const HOVER_DELAY = 150; // ms that the mouse rests on a word
const wordList = find(".words"); // lies on the caption, each word on its own
let omitted = null; // the word that is left out
let hoverTimer;

function readCaption() {
  const parts = [...wordList.childNodes].filter((part) => part !== omitted).map((part) => part.textContent);
  return parts.join("").slice(0, MAX_SENT_LENGTH);
}

function setCaption(text) {
  captionBox.value = text;
  showWords();
}

function showWords() {
  clearTimeout(hoverTimer);
  omitted = null;
  const parts = captionBox.value.split(/(\s+)/);
  const isWord = (part) => part.trim();
  const hasOthers = parts.filter(isWord).length > 1; // the only word is never left out
  wordList.replaceChildren(
    ...parts.map((part) => {
      if (!isWord(part) || !hasOthers) return document.createTextNode(part);
      return make("span", { class: "word", role: "button", tabindex: -1, "aria-label": `Without “${part}”` }, part);
    }),
  );
  wordList.querySelector(".word")?.setAttribute("tabindex", "0");
}

function omit(word) {
  if (word === omitted) return;
  omitted?.classList.remove("omitted");
  omitted = word;
  omitted?.classList.add("omitted");
  update();
}

function omitUnderMouse({ clientX, clientY, pointerType, buttons }) {
  if (pointerType !== "mouse" || buttons) return;
  const isUnder = ({ left, right, top, bottom }) => left <= clientX && clientX < right && top <= clientY && clientY < bottom;
  const word = [...wordList.querySelectorAll(".word")].find((word) => [...word.getClientRects()].some(isUnder)) ?? null;
  clearTimeout(hoverTimer);
  hoverTimer = setTimeout(() => omit(word), HOVER_DELAY);
}

captionBox.addEventListener("pointermove", omitUnderMouse);
captionBox.addEventListener("pointerleave", () => {
  clearTimeout(hoverTimer);
  omit(null);
});
captionBox.addEventListener("pointerdown", () => omit(null)); // to type there
captionBox.addEventListener("scroll", () => (wordList.scrollTop = captionBox.scrollTop));
wordList.addEventListener("focusin", ({ target }) => omit(target));
wordList.addEventListener("focusout", () => omit(null));
wordList.addEventListener("keydown", ({ key, target }) => {
  const words = [...wordList.querySelectorAll(".word")];
  const next = words[words.indexOf(target) + ({ ArrowLeft: -1, ArrowRight: 1 }[key] ?? NaN)];
  if (!next) return;
  target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});

// ---- caption, examples, model

captionBox.addEventListener("input", () => {
  setParents(null); // new words are not theirs
  showWords();
  update();
});

function showModel() {
  const model = findModel(modelMenu.value);
  const { attributes, examples, has_image_encoder: hasImageEncoder, placeholder } = model;
  setPhotoStyle(""); // it is of no use to another model, nor are parents
  setParents(null);
  createSliders(attributes);
  panel.classList.toggle("has-matches", hasImageEncoder);
  captionBox.placeholder = placeholder;
  find(".examples").classList.remove("has-thumbnails");
  find(".examples").replaceChildren(
    ...examples.map((example, i) => createExample(example, model.short_examples[i] ?? shortened(example), i)),
  );
  showThumbnails(modelMenu.value);
}

function createExample(example, label, place) {
  const labels = { title: example, "aria-label": example };
  const button = make("button", { type: "button", class: "button", ...labels }, label);
  button.prepend(make("span", { class: "thumb", style: `--place: ${place}` }));
  button.addEventListener("click", () => {
    setParents(null);
    setCaption(example);
    update();
  });
  return button;
}

// An example in a few words: without those with which many begin, and to the first detail.
const shortened = (example) =>
  example
    .replace(/^(a|the|this) (\w+ (has|is|are|with) (a )?)?/, "")
    .replace(/(,| (and|with|that|among|through|on|in|around|down)\b).*/, "");

async function showThumbnails(model) {
  const reply = await server.thumbnails({ model });
  if (!reply?.strip || model !== modelMenu.value) return;
  find(".examples").style.setProperty("--strip", `url(${reply.strip})`);
  find(".examples").classList.add("has-thumbnails");
}

const markExamples = () =>
  find(".examples").childNodes.forEach((button) =>
    button.setAttribute("aria-pressed", String(button.title === captionBox.value)),
  );

function changeModel() {
  if (isExample(captionBox.value)) setCaption(findModel(modelMenu.value).examples[0]);
  showModel();
  setSeeds(); // in order again
}

modelMenu.addEventListener("change", changeModel);

// From another tab: a model with a caption, or with a photo's style, or a whole query.
t2i.receive("draw", ({ query, model, caption, style, photo }) => {
  if (query) return open(query);
  if (modelMenu.value !== model) {
    modelMenu.value = model;
    changeModel();
  }
  setCaption(caption ?? parents?.[0].captions[0] ?? captionBox.value);
  setParents(null); // what was sent is not theirs
  if (style) {
    photosByStyle.set(style, photo);
    setPhotoStyle(style);
  }
  update();
});

// ---- one picture, enlarged. It is moved by hand, and follows at once; the sixteen follow when it is closed.

const dialogNote = find("dialog .note");
const bigImage = find(".big");
const handHelp = find(".hand");
let enlargedRequest = null; // the request of the picture in the dialog
let enlargedPlace = 0;
let handTimer;

function enlarge(i) {
  if (!shown) return;
  enlargedPlace = i;
  const one = { seeds: [shown.seeds[i]], at: shown.at && [shown.at[i]] };
  const request = { ...shown, ...one, attributes: roundedValues() };
  enlargedRequest = request;
  bigImage.src = tiles[i].picture.firstChild.src;
  bigImage.alt = request.caption;
  find("#t2i-draw-big-caption").textContent = request.caption;
  for (const button of dialog.querySelectorAll("[data-scale]")) {
    button.lastChild.textContent = `${button.dataset.scale * pictureSize} px`;
  }
  showRecipe();
  showHand();
  showToggles();
  if (!dialog.open) dialog.showModal();
  showSmooth();
}

function showRecipe() {
  const { seeds, at, like, model } = enlargedRequest;
  const seedText = `Seed ${seeds[0]}` + (at ? `, ${offsetText(at[0])}` : "");
  const match = matches && !isMoved() && `matches ${percent(matches[enlargedPlace])}`;
  const styleText = like && "in the style of a photo";
  find(".recipe").textContent = [seedText, match, styleText, findModel(model).title].filter(Boolean).join(" · ");
}

// Whether the picture in the dialog has other attributes than the sixteen.
const isMoved = () => String(enlargedRequest.attributes) !== String(shown.attributes);

// A larger picture, smoother than a browser would enlarge it.
async function showSmooth() {
  const request = enlargedRequest;
  const reply = await tab.callWithNote(tab.enlarge, request, dialogNote);
  if (reply.picture && enlargedRequest === request) bigImage.src = reply.picture;
}

const requestEnlarged = tab.createUpdater(
  draw,
  () => (enlargedRequest = { ...enlargedRequest, attributes: roundedValues() }),
  (request, reply, isNewest) => {
    showNote(dialogNote, reply.error);
    if (reply.error || enlargedRequest.seeds[0] !== request.seeds[0]) return;
    bigImage.src = reply.pictures[0];
    showRecipe();
    showToggles();
    if (isNewest) handTimer = setTimeout(showSmooth, REST_DELAY);
  },
);

function updateEnlarged() {
  clearTimeout(handTimer);
  requestEnlarged();
}

const findAttribute = (name) => findModel(modelMenu.value).attributes.findIndex((attribute) => attribute.name === name);

function showHand() {
  const hasHand = findAttribute("Across") >= 0;
  const subject = findModel(modelMenu.value).subject.replace(/s$/, "");
  handHelp.hidden = !hasHand;
  handHelp.textContent = `Drag the ${subject} to move it, scroll or pinch to resize it, drag the background for light and greenery.`;
  bigImage.tabIndex = hasHand ? 0 : -1;
  bigImage.classList.toggle("has-hand", hasHand);
}

t2i.createHand(
  bigImage,
  (name) => values[findAttribute(name)] ?? 0,
  (steps) => {
    for (const [name, step] of Object.entries(steps)) {
      const i = findAttribute(name);
      if (i >= 0) setAttribute(i, values[i] + step);
    }
  },
);

const toggles = {
  heart: () => toggleFavourite(favouriteQuery(enlargedRequest, 0), bigImage),
  lock: () => setLock(enlargedPlace, !isLocked(enlargedPlace)),
};

// On a touch screen these are the only heart and lock.
function showToggles() {
  const isOn = { heart: favourites.has(favouriteQuery(enlargedRequest, 0)), lock: isLocked(enlargedPlace) };
  for (const name in toggles) find(`[data-toggle=${name}]`).setAttribute("aria-pressed", String(isOn[name]));
}

dialog.addEventListener("click", ({ target }) => {
  if (target === dialog || target.matches(".close")) dialog.close(); // a click on the backdrop is one on `dialog`
  const button = target.closest("button");
  const { scale, turn, toggle } = button?.dataset ?? {};
  if (scale) tab.saveFile(button, server.png, { ...enlargedRequest, scale: Number(scale) }, dialogNote);
  if (turn) turnBy(Number(turn));
  if (toggle) {
    toggles[toggle]();
    showToggles();
  }
});
dialog.addEventListener("keydown", ({ key, altKey }) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (step && !altKey) turnBy(step); // with Alt, the browser goes back or forward
});
dialog.addEventListener("close", () => {
  tiles[enlargedPlace].picture.focus();
  if (isMoved()) update();
});

// To the next of the sixteen; the first follows the last.
const turnBy = (step) => enlarge((enlargedPlace + step + props.numPictures) % props.numPictures);

// ---- the tab's state in a link: caption, seed, offset, attributes, a photo's style, the locked places, and each place
// that has another seed or offset as "place,seed,across,down"

function getState() {
  const { attributes } = getRequest();
  const caption = captionBox.value.slice(0, MAX_SENT_LENGTH);
  const first = seedBox.read();
  const places = [...seeds.keys()];
  const moved = places.filter((i) => seeds[i] !== first + i || String(offsets[i]) !== String(offset));
  return [
    ["caption", caption],
    ["seed", first],
    ["at", offset],
    ["attributes", attributes],
    ...(photoStyle ? [["like", photoStyle]] : []),
    ...(variety.read() !== 1 ? [["variety", variety.read()]] : []),
    ...(parents ? [...parents.map((parent) => ["parent", writeParent(parent)]), ["mutation", mutation.read()]] : []),
    ...places.filter(isLocked).map((i) => ["lock", i]),
    ...moved.map((i) => ["tile", [i, seeds[i], offsets[i]]]),
  ];
}

/** @returns {[number, number]} */
const readOffset = ([across, down]) => [clamp(across, 0, 1), clamp(down, 0, 1)];

function restore(query) {
  showModel();
  setCaption(toSingleLine(query.get("caption") ?? findModel(modelMenu.value).examples[0] ?? ""));
  tiles.forEach((_, i) => setLock(i, false));
  variety.set(clamp(query.get("variety") ?? 1, 0, props.maxVariety));
  mutation.set(clamp(query.get("mutation") ?? FIRST_MUTATION, 0, 1));
  if (query.get("model") === modelMenu.value) {
    setPhotoStyle(query.get("like"));
    setParents(query.getAll("parent").map(readParent));
  }
  const attributes = splitFields(query.get("attributes"), values.length);
  values.forEach((_, i) => setAttribute(i, attributes[i]));
  find(".fine").open = values.some(Boolean);
  const seed = Math.trunc(clamp(query.get("seed") ?? 1, 0, maxFirstSeed));
  goToSeed(seed, readOffset(splitFields(query.get("at"), 2)));
  for (const i of query.getAll("lock").map(Number)) if (tiles[i]) setLock(i, true);
  for (const [place, seed, ...at] of query.getAll("tile").map((tile) => splitFields(tile, 4))) {
    const i = Number(place); // "length" is not a tile
    if (tiles[i]) [seeds[i], offsets[i]] = [Math.trunc(clamp(seed, 0, props.maxSeed)), readOffset(at)];
  }
  labelTiles();
}

setTabStop(0);
const link = t2i.shareable(tab, getState, restore);
const addRecent = t2i.createRecentAlbum(tab, link);

// ---- favourites: each picture has the query that draws it as the first of sixteen

const open = (query) => link.go(new URLSearchParams(query));
const markHearts = () => {
  if (!shown) return;
  tiles.forEach(({ heart }, i) => heart.setAttribute("aria-pressed", String(favourites.has(favouriteQuery(shown, i)))));
};
const favourites = t2i.createAlbum(tab, find(".favourites"), "t2i-favourites", props.maxFavourites, openFavourite, showFavourites);

function showFavourites() {
  breedButton.hidden = find(".favourites").querySelectorAll("li").length < 2;
  markHearts();
}

function favouriteQuery({ model, caption, seeds, attributes, at, like, variety, parents, mutation }, i) {
  const pairs = { tab: "draw", model, caption, seed: seeds[i], at: at?.[i] ?? [0, 0], attributes };
  const more = { ...(like && { like }), ...(variety !== undefined && { variety }), ...(parents && { mutation }) };
  const query = new URLSearchParams(Object.entries({ ...pairs, ...more }));
  for (const parent of parents ?? []) query.append("parent", writeParent(parent));
  return String(query);
}

// The request of a favourite.
function readFavourite(text) {
  const query = new URLSearchParams(text);
  return {
    model: query.get("model"),
    caption: query.get("caption"),
    seeds: [query.get("seed")],
    at: [splitFields(query.get("at"), 2)],
    attributes: splitFields(query.get("attributes"), props.numPictures),
    like: query.get("like"),
    variety: query.get("variety") ?? 1,
    parents: query.getAll("parent").map(readParent),
    mutation: query.get("mutation"),
  };
}

function toggleFavourite(query, image) {
  const isKept = favourites.has(query);
  const isRefused = !isKept && favourites.isFull();
  const reason = isRefused && `At most ${props.maxFavourites} favourites. Forget one first.`;
  showNote(dialog.open ? dialogNote : find(".link-note"), reason);
  if (isKept) favourites.remove(query);
  else if (!isRefused) favourites.add(query, t2i.thumbnailSource(image));
}

find(".save-sheet").addEventListener("click", ({ target }) => {
  tab.saveFile(target, server.sheet, { pictures: favourites.queries().map(readFavourite) }, find(".link-note"));
});

tab.focusFirst(captionBox);
