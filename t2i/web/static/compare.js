// The tab "Compare": a column for each objective, the same seeds in each: one picture large, the next ones small.

const caption = find("#t2i-compare-caption");
const note = find("#t2i-compare-note");

// ---- the columns

function column({ name, objective, formula, description, isAvailable, figures }) {
  const title = objective.toUpperCase();
  const item = make("li");
  const images = Array.from({ length: props.seedsPerModel }, () => make("img", { alt: "", width: 64, height: 64, src: EMPTY }));
  const [large, ...next] = images;
  const steps = next.map((image, i) => {
    const step = make("button", { type: "button" });
    step.append(image);
    step.addEventListener("click", () => place(seed.read() + i + 1));
    return step;
  });
  const strip = make("div", { class: "strip" });
  strip.append(...steps);
  const more = make("button", { type: "button", class: "more", "aria-label": `Draw sixteen with ${title}` }, "Draw sixteen");
  more.addEventListener("click", () => handOver("Draw", { caption: caption.value, model: name, seed: seed.read() }));
  const missing = make("p", { class: "empty" }, `The weights of this model, weights/${name}, are not here.`);
  const measured = make("dl");
  for (const { label, text, best } of figures) {
    const row = make("div", { title: props.metrics.find((one) => one.label === label).meaning });
    const value = make("dd", {}, text);
    if (best) value.replaceChildren(make("b", {}, text), make("span", { class: "heard" }, ", the best"));
    row.append(term(label), value);
    measured.append(row);
  }
  const differs = make("p", { title: formula }, description);
  item.append(make("h2", {}, title), ...(isAvailable ? [large, strip] : [missing]), differs, measured);
  if (isAvailable) item.append(more);
  find(".objectives").append(item);
  return { name, isAvailable, title, images, steps, more };
}

// A figure's name, and which way is better: an arrow to the eye, words to the ear.
function term(label) {
  const { better } = props.metrics.find((one) => one.label === label);
  const name = make("dt", {}, label);
  if (better) {
    name.append(make("span", { class: "way", "aria-hidden": "true" }, better === "lower" ? " ↓" : " ↑"));
    name.append(make("span", { class: "heard" }, `, ${better} is better`));
  }
  return name;
}

const columns = props.columns.map(column).filter(({ isAvailable }) => isAvailable);

for (const { label, better, meaning } of props.metrics) {
  const told = make("dd", {}, meaning);
  if (better) told.append(make("span", { "aria-hidden": "true" }, `; ${better} is better`)); // heard with the name
  find(".meanings").append(term(label), told);
}
find("details").hidden = !find(".objectives dl div");

// ---- asking

const asking = follow(server.compare, request, show);

function ask() {
  columns.forEach(({ more }) => (more.disabled = !caption.value.trim()));
  if (columns.length) asking();
}

// Nobody may have asked for these models yet: then the server loads them first.
const LOADING = `Loading ${["no", "one", "two", "three", "four"][columns.length]} models …`;
const status = find(".status");
const loading = setTimeout(() => columns.length && say((status.textContent = LOADING)), RESTED);

function loaded() {
  clearTimeout(loading);
  if (status.textContent === LOADING) status.textContent = "\u00a0";
}

function request() {
  const seeds = Array.from({ length: props.seedsPerModel }, (_, i) => seed.read() + i);
  return { caption: caption.value.slice(0, 1000), seeds, models: columns.map(({ name }) => name), full_size: 1 };
}

function show(sent, reply, newest) {
  if (!reply.busy) loaded();
  remark(note, reply);
  caption.setAttribute("aria-invalid", String(Boolean(reply.error)));
  if (!reply.error) {
    reply.compared.forEach(({ pictures }, i) => paint(columns[i], pictures, sent));
    const ms = reply.compared.reduce((sum, { ms }) => sum + ms, 0) / columns.length;
    status.textContent = `${ms.toFixed(1)} ms a picture`;
  }
  if (newest && !reply.error) remember(reply.compared[0].pictures[0]);
  if (newest) say(note.textContent || `Seed ${sent.seeds[0]} by ${columns.length} models: ${sent.caption}`);
}

function paint({ title, images, steps }, pictures, { caption, seeds }) {
  images.forEach((image, i) => (image.src = pictures[i]));
  images[0].alt = caption;
  steps.forEach((step, i) => step.setAttribute("aria-label", `${title}, go to seed ${seeds[i + 1]}`));
}

// ---- words and seed

const seed = seedBox(props.maxSeed - props.seedsPerModel, ask);

function place(to) {
  seed.box.value = clamp(to, 0, seed.box.max);
  ask();
}

caption.placeholder = spec(menu.value).placeholder;
caption.addEventListener("input", ask);

// ---- what a link says of this tab

function restore(query) {
  const begin = fromDraw();
  caption.value = oneLine(query.get("caption") ?? begin.caption ?? spec(menu.value).examples[0]);
  place(Math.trunc(clamp(query.get("seed") ?? begin.seed ?? 1, 0, seed.box.max)));
}

const state = () => [["caption", caption.value], ["seed", seed.read()]];

const remember = recall("compare", shareable("compare", state, restore));
