// The tab "Draw".

const { EMPTY_IMAGE, MAX_SENT_LENGTH, NO_ANSWER, REST_DELAY, RETRY_DELAY } = t2i;
const { clamp, findModel, isExample, make, onDrag, percent, splitFields, statusText, toSingleLine } = t2i;
const tab = t2i.createTab("draw", element);
const { find, announce, modelMenu } = tab;

const captionBox = find("#t2i-draw-caption");
const grid = find(".grid");
const note = find("#t2i-draw-note");
const dialog = find("dialog");

const seeds = []; // of the sixteen places
const offsets = []; // from each seed on the plane of seeds, [across, down], 0 to 1
const sliders = [];
let shown = null; // the request of the pictures on the page
let pictureSize = 64; // pixels a side

// ---- requests

const requestPictures = tab.createDraftUpdater(server.draw, getRequest, showPictures);

function update() {
  t2i.setDrawState({ caption: captionBox.value, seed: seedBox.read(), model: modelMenu.value });
  grid.setAttribute("aria-busy", "true");
  isSortPending = false;
  markExamples();
  requestPictures();
}

function getRequest() {
  return {
    caption: captionBox.value.slice(0, MAX_SENT_LENGTH),
    seeds: [...seeds],
    ...(offsets.some(isOffset) && { at: [...offsets] }),
    ...(photoStyle && { like: photoStyle }),
    attributes: sliders.map((slider) => Number(slider.value)),
    model: modelMenu.value,
  };
}

function showPictures(request, reply, isNewest) {
  tab.showCaptionNote(note, reply);
  captionBox.setAttribute("aria-invalid", String(Boolean(reply.error)));
  if (!reply.error) {
    shown = request;
    pictureSize = reply.size;
    reply.pictures.forEach((source, i) => {
      const image = tiles[i].picture.firstChild;
      image.src = source;
      image.alt = request.caption;
    });
    markHearts();
    find(".status").textContent = statusText(reply);
    find(".t2i-draw").classList.toggle("has-unknown-words", Boolean(reply.hint));
    showMatches(null);
  }
  if (!isNewest) return;
  grid.setAttribute("aria-busy", "false");
  if (!reply.error) addRecent(reply.pictures[0]);
  matchTimer = setTimeout(requestMatches, "full_size" in request ? REST_DELAY : 0); // else it has rested already
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
  heart.addEventListener("click", () => toggleFavourite(i));
  lock.addEventListener("click", () => setLock(i, !isLocked(i)));
  return { picture, heart, number, match, lock };
});

const isLocked = (i) => tiles[i].lock.getAttribute("aria-pressed") === "true";
const setLock = (i, on) => tiles[i].lock.setAttribute("aria-pressed", String(on));

// The Tab key stops once in the grid; arrow keys move within it.
function setTabStop(stop) {
  tiles.forEach(({ picture, heart, lock }, i) => {
    picture.tabIndex = heart.tabIndex = lock.tabIndex = i === stop ? 0 : -1;
  });
}

grid.addEventListener("keydown", (event) => {
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
  labelTiles();
  update();
}

function labelTiles() {
  tiles.forEach(({ number, lock, heart }, i) => {
    number.textContent = seeds[i] + (isOffset(offsets[i]) ? " +" : "");
    lock.setAttribute("aria-label", `Lock seed ${seeds[i]}`);
    lock.title = "Lock: another seed leaves this picture as it is";
    heart.setAttribute("aria-label", `Favourite seed ${seeds[i]}`);
  });
}

// ---- the plane of seeds: rows of four. The sixteen pictures are a window on it, which may lie between seeds.

const PIXELS_PER_SEED = 64; // of a drag
const MAX_OFFSET = 0.9999; // at the edge of the plane; 1 would be the next seed
const plane = find(".plane");
/** @type {[number, number]} */
let offset = [0, 0]; // of the window from its seed
let resetSeed = 1; // the seed last typed or shuffled, for Reset

plane.style.setProperty("--pitch", `${PIXELS_PER_SEED}px`);

const isOffset = ([across, down]) => across > 0 || down > 0;
const offsetText = (offset) => offset.map((part) => part.toFixed(2)).join(" across and ") + " down";

function goToSeed(seed, [across, down] = [0, 0]) {
  resetSeed = seed;
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
  plane.style.setProperty("--x", `${-PIXELS_PER_SEED * offset[0]}px`);
  plane.style.setProperty("--y", `${-PIXELS_PER_SEED * offset[1]}px`);
  plane.setAttribute("aria-valuemax", maxFirstSeed);
  plane.setAttribute("aria-valuenow", first);
  plane.setAttribute("aria-valuetext", `Seed ${first}` + (isOffset(offset) ? `, ${offsetText(offset)}` : ""));
  find(".snap").disabled = !isOffset(offset);
  setSeeds();
}

const moveWindow = (across, down) => placeWindow(seedBox.read(), [offset[0] + across, offset[1] + down]);

// The plane follows the pointer, so the window moves against it.
onDrag(plane, (across, down) => moveWindow(-across / PIXELS_PER_SEED, -down / PIXELS_PER_SEED));
plane.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
  if (!step) return;
  event.preventDefault();
  moveWindow(...step);
});
find(".snap").addEventListener("click", () => placeWindow(seedBox.read(), [Math.round(offset[0]), Math.round(offset[1])]));
find(".reset").addEventListener("click", () => goToSeed(resetSeed));

// ---- how well pictures match the caption. The server is asked when nothing has changed for a while, and the grid is
// sorted on demand. Words that the generator does not know, the image encoder does not know either: then it is not asked.

let matches = null; // of the pictures on the page, from 0 to 1; null while they are not known
let isSortPending = false; // until the matches are known
let matchTimer;

async function requestMatches() {
  const request = shown;
  if (!request || find(".has-unknown-words")) return;
  const reply = (await server.match(request)) || NO_ANSWER;
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
  if (isSortPending) return;
  const request = getRequest();
  if (String([request.seeds, request.at]) !== String([shown.seeds, shown.at])) return; // a later request has failed
  const order = seeds.map((_, i) => i).sort((a, b) => matches[b] - matches[a]);
  const old = tiles.map(({ picture, lock }) => [picture.firstChild.src, lock.getAttribute("aria-pressed")]);
  order.forEach((from, to) => {
    tiles[to].picture.firstChild.src = old[from][0];
    tiles[to].lock.setAttribute("aria-pressed", old[from][1]);
  });
  for (const list of [seeds, offsets]) list.splice(0, list.length, ...order.map((i) => list[i]));
  shown = { ...shown, seeds: [...seeds], at: shown.at && [...offsets] };
  labelTiles();
  markHearts();
  showMatches(order.map((i) => matches[i]));
  announce(`Sorted by match, the best first: seed ${seeds[0]}`);
}

find(".sort").addEventListener("click", sortByMatch);

// ---- attribute sliders

function setSlider(slider, value) {
  slider.value = value; // the browser clamps it
  slider.dispatchEvent(new Event("input"));
}

function createSliders(attributes) {
  const rows = attributes.map(({ name, low, high }, i) => {
    const id = `t2i-draw-attribute-${i + 1}`;
    const slider = make("input", { id, type: "range", min: -1, max: 1, step: 0.05, value: 0 });
    const output = make("output", { for: id });
    const reset = make("button", { type: "button", "aria-label": `Reset ${name}` }, "↺");
    const showValue = () => {
      const value = Number(slider.value);
      const end = value < 0 ? low : high;
      output.textContent = value.toFixed(2).replace("-", "−");
      slider.setAttribute("aria-valuetext", value ? `${output.textContent}, ${end}` : "as the seed has it");
      slider.style.setProperty("--at", value);
    };
    slider.addEventListener("input", () => {
      showValue();
      update();
    });
    reset.addEventListener("click", () => setSlider(slider, 0));
    showValue();
    const [left, right] = [low, high].map((end) => make("span", { class: "end", "aria-hidden": "true" }, end));
    return { slider, parts: [make("label", { for: id }, name), left, slider, right, output, reset] };
  });
  const resetAll = make("button", { type: "button", class: "reset-all" }, "Reset all attributes");
  resetAll.addEventListener("click", () => sliders.forEach((slider) => setSlider(slider, 0)));
  sliders.splice(0, sliders.length, ...rows.map(({ slider }) => slider));
  find(".attributes").replaceChildren(...rows.flatMap(({ parts }) => parts), resetAll);
}

// ---- the style of a photo, from the tab "Style", as text of the server

const STYLE_PATTERN = new RegExp(`^${props.stylePattern}$`);
const photosByStyle = new Map(); // a link has no photo
let photoStyle = "";

function setPhotoStyle(style) {
  photoStyle = STYLE_PATTERN.test(style) ? style : "";
  find(".photo-style").hidden = !photoStyle;
  find(".photo-style img").hidden = !photosByStyle.has(photoStyle);
  find(".photo-style img").src = photosByStyle.get(photoStyle) ?? EMPTY_IMAGE;
}

find(".remove-style").addEventListener("click", () => {
  setPhotoStyle("");
  find(".shuffle").focus(); // for the keyboard: this button is now hidden
  update();
});

// ---- caption, examples, model

captionBox.addEventListener("input", update);

function showModel() {
  const { attributes, examples, has_image_encoder: hasImageEncoder, placeholder } = findModel(modelMenu.value);
  setPhotoStyle(""); // it is of no use to another model
  createSliders(attributes);
  find(".t2i-draw").classList.toggle("has-matches", hasImageEncoder);
  captionBox.placeholder = placeholder;
  find(".examples").replaceChildren(
    ...examples.map((example) => {
      const labels = { title: example, "aria-label": example };
      const button = make("button", { type: "button", class: "button", ...labels }, shortened(example));
      button.addEventListener("click", () => {
        captionBox.value = example;
        update();
      });
      return button;
    }),
  );
}

// An example without the words with which many begin.
const shortened = (example) => example.replace(/^(a|the|this) (\w+ (has|is|are|with) (a )?)?/, "");

const markExamples = () =>
  find(".examples").childNodes.forEach((button) =>
    button.setAttribute("aria-pressed", String(button.title === captionBox.value)),
  );

function changeModel() {
  if (isExample(captionBox.value)) captionBox.value = findModel(modelMenu.value).examples[0];
  showModel();
  update();
}

modelMenu.addEventListener("change", changeModel);

// From another tab: a model with a caption, or with a photo's style, or a whole query.
t2i.receivers.draw = ({ query, model, caption, style, photo }) => {
  if (query) return open(query);
  if (modelMenu.value !== model) {
    modelMenu.value = model;
    changeModel();
  }
  captionBox.value = caption ?? captionBox.value;
  if (style) {
    photosByStyle.set(style, photo);
    setPhotoStyle(style);
  }
  update();
};

// ---- one picture, enlarged

const dialogNote = find("dialog .note");
let enlargedRequest = null; // the request of the picture in the dialog
let enlargedPlace = 0;

async function enlarge(i) {
  if (!shown) return;
  enlargedPlace = i;
  const request = { ...shown, seeds: [shown.seeds[i]], at: shown.at && [shown.at[i]] };
  enlargedRequest = request;
  const image = find(".big");
  image.src = tiles[i].picture.firstChild.src;
  image.alt = request.caption;
  find("#t2i-draw-big-caption").textContent = request.caption;
  const seedText = `Seed ${request.seeds[0]}` + (request.at ? `, ${offsetText(request.at[0])}` : "");
  const styleText = request.like && "in the style of a photo";
  find(".recipe").textContent = [seedText, styleText, findModel(request.model).title].filter(Boolean).join(" · ");
  for (const button of dialog.querySelectorAll("[data-scale]")) {
    button.lastChild.textContent = `${button.dataset.scale * pictureSize} px`;
  }
  if (!dialog.open) dialog.showModal();
  const reply = await tab.callWithNote(server.enlarge, request, dialogNote);
  if (reply.picture && enlargedRequest === request) image.src = reply.picture;
}

dialog.addEventListener("click", ({ target }) => {
  if (target === dialog || target.matches(".close")) dialog.close(); // a click on the backdrop is one on `dialog`
  const button = target.closest("button");
  const { scale, turn } = button?.dataset ?? {};
  if (scale) tab.saveFile(button, server.png, { ...enlargedRequest, scale: Number(scale) }, dialogNote);
  if (turn) turnBy(Number(turn));
});
dialog.addEventListener("keydown", ({ key }) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (step) turnBy(step);
});
dialog.addEventListener("close", () => tiles[enlargedPlace].picture.focus());

// To the next of the sixteen; the first follows the last.
const turnBy = (step) => enlarge((enlargedPlace + step + props.numPictures) % props.numPictures);

// ---- the tab's state in a link: caption, seed, offset, attributes, a photo's style, the locked places, and each place
// that has another seed or offset as "place,seed,across,down"

function getState() {
  const { caption, attributes } = getRequest();
  const first = seedBox.read();
  const places = [...seeds.keys()];
  const moved = places.filter((i) => seeds[i] !== first + i || String(offsets[i]) !== String(offset));
  return [
    ["caption", caption],
    ["seed", first],
    ["at", offset],
    ["attributes", attributes],
    ...(photoStyle ? [["like", photoStyle]] : []),
    ...places.filter(isLocked).map((i) => ["lock", i]),
    ...moved.map((i) => ["tile", [i, seeds[i], offsets[i]]]),
  ];
}

/** @returns {[number, number]} */
const readOffset = ([across, down]) => [clamp(across, 0, 1), clamp(down, 0, 1)];
const readAttributes = (query) => query.get("attributes") ?? query.get("style"); // "style" in links of earlier versions

function restore(query) {
  showModel();
  captionBox.value = toSingleLine(query.get("caption") ?? findModel(modelMenu.value).examples[0] ?? "");
  tiles.forEach((_, i) => setLock(i, false));
  if (query.get("model") === modelMenu.value) setPhotoStyle(query.get("like"));
  const attributes = splitFields(readAttributes(query), sliders.length);
  sliders.forEach((slider, i) => setSlider(slider, clamp(attributes[i], -1, 1)));
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
  tiles.forEach(({ heart }, i) => heart.setAttribute("aria-pressed", String(favourites.has(favouriteQuery(i)))));
};
const favourites = t2i.createAlbum(tab, find(".favourites"), "t2i-favourites", props.maxFavourites, open, markHearts);

function favouriteQuery(i) {
  const { model, caption, seeds, attributes, at, like } = shown;
  const pairs = { tab: "draw", model, caption, seed: seeds[i], at: at?.[i] ?? [0, 0], attributes, ...(like && { like }) };
  return String(new URLSearchParams(Object.entries(pairs)));
}

function toggleFavourite(i) {
  if (!shown) return;
  const query = favouriteQuery(i);
  if (favourites.has(query)) favourites.remove(query);
  else favourites.add(query, t2i.thumbnailSource(tiles[i].picture.firstChild));
}

find(".sheet").addEventListener("click", ({ target }) => {
  const pictures = favourites.queries().map((text) => {
    const query = new URLSearchParams(text);
    return {
      model: query.get("model"),
      caption: query.get("caption"),
      seeds: [query.get("seed")],
      at: [splitFields(query.get("at"), 2)],
      attributes: splitFields(readAttributes(query), props.numPictures),
      like: query.get("like"),
    };
  });
  tab.saveFile(target, server.sheet, { pictures }, find(".link-note"));
});

t2i.openTab(t2i.pageLink.get("tab")); // Draw opens first, but the link may be for another tab
