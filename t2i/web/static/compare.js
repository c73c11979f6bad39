// The tab "Compare": a column for each model, with the same seeds; one picture is large, the next ones are small.

const { EMPTY_IMAGE, MAX_SENT_LENGTH, REST_DELAY } = t2i;
const { clamp, findModel, initialState, make, sendToTab, toSingleLine } = t2i;
const tab = t2i.createTab("compare", element, server);
const { find, announce, modelMenu } = tab;

const captionBox = find("#t2i-compare-caption");
const note = find("#t2i-compare-note");
const status = find(".status");

// ---- the columns

function createColumn({ name, title, formula, description, isAvailable, figures }) {
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
  if (figures.length) addFigures(title, figures);
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

props.metrics.forEach(addMetric);
const columns = props.columns.map(createColumn).filter(({ isAvailable }) => isAvailable);
find(".objectives").style.setProperty("--columns", props.columns.length);
find("details").hidden = !find(".figures tbody tr");

// ---- requests

const draw = ({ caption, seeds, ...options }) => tab.draw([caption], { seeds }, options);
const requestPictures = tab.createUpdater(draw, getRequest, showPictures);

function update() {
  columns.forEach(({ drawButton }) => (drawButton.disabled = !captionBox.value.trim()));
  if (columns.length) requestPictures();
}

// If nobody has asked for these models yet, the server loads them first.
const LOADING_TEXT = `Loading ${["no", "one", "two", "three", "four", "five"][columns.length] ?? columns.length} models …`;
const loadingTimer = setTimeout(() => {
  if (columns.length) announce((status.textContent = LOADING_TEXT));
}, REST_DELAY);

function showLoaded() {
  clearTimeout(loadingTimer);
  if (status.textContent === LOADING_TEXT) status.textContent = "\u00a0";
}

function getRequest() {
  const seeds = Array.from({ length: props.seedsPerModel }, (_, i) => seedBox.read() + i);
  const caption = captionBox.value.slice(0, MAX_SENT_LENGTH);
  return { caption, seeds, models: columns.map(({ name }) => name), full_size: 1 };
}

function showPictures(request, reply, isNewest) {
  if (!reply.busy) showLoaded();
  tab.showCaptionNote(note, reply);
  tab.showElsewhere(reply.elsewhere);
  captionBox.setAttribute("aria-invalid", String(Boolean(reply.error)));
  if (!reply.error) {
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
  captionBox.value = toSingleLine(query.get("caption") ?? initial.caption ?? findModel(model).examples[0]);
  goToSeed(Math.trunc(clamp(query.get("seed") ?? initial.seed ?? 1, 0, maxFirstSeed)));
}

const getState = () => [["caption", captionBox.value], ["seed", seedBox.read()]];

const addRecent = t2i.createRecentAlbum(tab, t2i.shareable(tab, getState, restore));
