// The tab "Compare": a column for each model, with the same seeds; one picture is large, the next ones are small. The
// models of the objectives may be of two kinds of networks, a group each.

const { EMPTY_IMAGE, MAX_SENT_LENGTH, REST_DELAY } = t2i;
const { clamp, findModel, initialState, make, sendToTab, toSingleLine } = t2i;
const tab = t2i.createTab("compare", element, server);
const { find, announce, modelMenu } = tab;

const captionBox = find("#t2i-compare-caption");
const note = find("#t2i-compare-note");
const status = find(".status");

// ---- the columns

function createColumn({ name, title, formula, description, isAvailable }) {
  const images = Array.from({ length: props.seedsPerModel }, () =>
    make("img", { alt: "", width: 64, height: 64, src: EMPTY_IMAGE }),
  );
  const [largeImage, ...smallImages] = images;
  const seedButtons = smallImages.map((image, i) => {
    const button = make("button", { type: "button" });
    button.append(image);
    button.addEventListener("click", () => goToSeed(seedBox.read() + i + 1));
    return button;
  });
  const strip = make("div", { class: "strip" });
  strip.append(...seedButtons);
  const label = { "aria-label": `Draw sixteen with ${title}` };
  const drawButton = make("button", { type: "button", class: "draw-sixteen", ...label }, "Draw sixteen");
  drawButton.addEventListener("click", () => {
    sendToTab("draw", { query: { model: name, caption: captionBox.value, seed: seedBox.read() } });
  });
  const missing = make("p", { class: "empty" }, `The weights of this model, weights/${name}, are not here.`);
  const column = make("li", formula ? {} : { class: "flagship" });
  column.append(make("h2", {}, title), ...(isAvailable ? [largeImage, strip] : [missing]));
  column.append(make("p", { class: "words", ...(formula && { title: formula }) }, description));
  if (isAvailable) column.append(drawButton);
  find(".objectives").append(column);
  return { name, isAvailable, title, images, seedButtons, drawButton };
}

// A model's row of the table; a metric that it lacks stays empty.
function addFigures(title, figures) {
  const row = make("tr");
  row.append(make("th", { scope: "row" }, title));
  for (const { label } of props.metrics) {
    const { text, best } = figures.find((figure) => figure.label === label) ?? { text: "" };
    const cell = make("td", {}, text);
    if (best) cell.replaceChildren(make("b", {}, text), make("span", { class: "visually-hidden" }, ", the best"));
    row.append(cell);
  }
  find(".figures tbody").append(row);
}

// The name of a metric, and which way is better: an arrow to see, words to hear.
function addMetric({ label, better, meaning }) {
  const arrow = { lower: "\u00a0↓", higher: "\u00a0↑" }[better] ?? "";
  const head = make("th", { scope: "col", title: meaning }, label);
  head.append(make("span", { "aria-hidden": "true" }, arrow));
  if (better) head.append(make("span", { class: "visually-hidden" }, `, ${better} is better`));
  find(".figures thead tr").append(head);
  find(".meanings").append(make("dt", {}, label), make("dd", {}, meaning));
}

// ---- the groups

const groupButtons = props.groups.map(({ name, title }) => {
  const button = make("input", { type: "radio", name: "t2i-compare-networks", value: name });
  const label = make("label");
  label.append(button, ` ${title}`);
  find(".modes").append(label);
  return button;
});

let columns = [];
function showGroup(name) {
  const group = props.groups.find((group) => group.name === name) ?? props.groups[0];
  if (!group) return; // no model of an objective is registered
  groupButtons[props.groups.indexOf(group)].checked = true;
  find(".objectives").replaceChildren();
  find(".figures tbody").replaceChildren();
  columns = group.columns.map(createColumn).filter(({ isAvailable }) => isAvailable);
  for (const { title, figures } of group.columns) if (figures.length) addFigures(title, figures);
  find(".objectives").style.setProperty("--columns", group.columns.length);
  find("details").hidden = !find(".figures tbody tr");
  showLoading();
}

props.metrics.forEach(addMetric);
find(".modes").hidden = props.groups.length < 2;
find(".modes").addEventListener("change", (event) => {
  showGroup(event.target.value);
  update();
});

// ---- requests

const draw = ({ caption, seeds, ...options }) => tab.draw([caption], { seeds }, options);
const requestPictures = tab.createUpdater(draw, getRequest, showPictures);

function update() {
  columns.forEach(({ drawButton }) => (drawButton.disabled = !captionBox.value.trim()));
  if (columns.length) requestPictures();
}

// If nobody has asked for these models yet, the server loads them first.
let loadingTimer;
function showLoading() {
  clearTimeout(loadingTimer);
  const count = ["no", "one", "two", "three", "four", "five"][columns.length] ?? columns.length;
  loadingTimer = setTimeout(() => {
    if (columns.length) announce((status.textContent = `Loading ${count} models …`));
  }, REST_DELAY);
}

function showLoaded() {
  clearTimeout(loadingTimer);
  if (status.textContent.startsWith("Loading")) status.textContent = "\u00a0";
}

function getRequest() {
  const seeds = Array.from({ length: props.seedsPerModel }, (_, i) => seedBox.read() + i);
  const caption = captionBox.value.slice(0, MAX_SENT_LENGTH);
  return { caption, seeds, models: columns.map(({ name }) => name), full_size: 1 };
}

function showPictures(request, reply, isNewest) {
  if (!reply.busy) showLoaded();
  tab.showCaptionNote(note, reply);
  tab.showSuggestedModel(reply.elsewhere);
  captionBox.setAttribute("aria-invalid", String(Boolean(reply.error)));
  const isShown = columns.every(({ name }, i) => name === request.models[i]); // else of the other group
  if (!reply.error && isShown) {
    reply.compared.forEach(({ pictures }, i) => showColumn(columns[i], pictures, request));
    const ms = reply.compared.reduce((sum, { ms }) => sum + ms, 0) / columns.length;
    status.textContent = `${ms.toFixed(1)} ms per picture`;
  }
  if (!isNewest) return;
  if (!reply.error) addRecent(reply.compared.at(-1).pictures[0]);
  announce(note.textContent || `Seed ${request.seeds[0]} by ${columns.length} models: ${request.caption}`);
}

function showColumn({ title, images, seedButtons }, pictures, { caption, seeds }) {
  images.forEach((image, i) => (image.src = pictures[i]));
  images[0].alt = caption;
  seedButtons.forEach((button, i) => button.setAttribute("aria-label", `${title}, go to seed ${seeds[i + 1]}`));
}

// ---- caption and seed

const maxFirstSeed = props.maxSeed - props.seedsPerModel;
const seedBox = tab.createSeedBox(maxFirstSeed, update);

function goToSeed(seed) {
  seedBox.box.value = clamp(seed, 0, maxFirstSeed);
  update();
}

captionBox.placeholder = findModel(modelMenu.value).placeholder;
captionBox.addEventListener("input", update);

// ---- the tab's state in a link

function restore(query) {
  const model = modelMenu.value;
  const initial = initialState(model);
  showGroup(query.get("networks"));
  captionBox.value = toSingleLine(query.get("caption") ?? initial.caption ?? findModel(model).examples[0]);
  goToSeed(Math.trunc(clamp(query.get("seed") ?? initial.seed ?? 1, 0, maxFirstSeed)));
}

const getNetworks = () => groupButtons.slice(1).filter(({ checked }) => checked).map(({ value }) => ["networks", value]);
const getState = () => [["caption", captionBox.value], ["seed", seedBox.read()], ...getNetworks()];

const addRecent = t2i.createRecentAlbum(tab, t2i.shareable(tab, getState, restore));
tab.focusFirst(captionBox);
