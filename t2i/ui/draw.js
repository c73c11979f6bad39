// The tab "Draw". Gradio runs this once, with `element`, `props` and `server` in scope.
// Text from people and from the server goes to textContent and setAttribute only.

const find = (selector) => element.querySelector(selector);
const make = (tag, attributes = {}, text = "") => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
};

const PATIENCE = 4000; // ms without an answer before a newer request may go out
const RETRY = 1000; // ms
const SETTLED = 700; // ms of quiet before the page speaks

const caption = find("#t2i-caption");
const seedBox = find("#t2i-seed");
const menu = find("#t2i-model");
const grid = find(".grid");
const note = find("#t2i-note");
const dialog = find("dialog");

const seeds = [];
const sliders = [];
let shown = null; // the request whose pictures are on the page

// ---- asking: one request under way, and always the newest one next

let latest = 0; // number of the newest request
let asked = 0; // number of the last one sent
let inflight = 0; // number of the one under way, 0 for none
let drawn = 0; // number of the one on the page
let quiet;

function ask() {
  latest += 1;
  grid.setAttribute("aria-busy", "true");
  pump();
}

function request() {
  return {
    caption: caption.value.slice(0, 1000),
    seeds: [...seeds],
    style: sliders.map((slider) => Number(slider.value)),
    model: menu.value,
  };
}

async function pump() {
  if (inflight || asked === latest) return;
  const stamp = (inflight = asked = latest);
  const sent = request();
  const release = () => {
    if (inflight === stamp) inflight = 0;
    pump();
  };
  const timer = setTimeout(release, PATIENCE);
  const reply = await server.draw(sent);
  clearTimeout(timer);
  if (stamp > drawn) show(stamp, sent, reply); // an older answer than the page's is dropped
  release();
}

function show(stamp, sent, reply) {
  drawn = stamp;
  if (!reply || reply.error) {
    complain(reply ? reply.error : "The server does not answer. These are the last pictures.");
    if (!reply || reply.busy) setTimeout(() => stamp === latest && ask(), RETRY);
  } else {
    shown = sent;
    reply.pictures.forEach((source, i) => {
      const picture = tiles[i].picture.firstChild;
      picture.src = source;
      picture.alt = sent.caption;
    });
    find(".status").textContent =
      `${reply.ms.toFixed(1)} ms a picture · ${reply.model} · ` +
      `${(reply.parameters / 1e6).toFixed(1)} M parameters`;
    complain("", reply.note);
  }
  if (stamp !== latest) return;
  grid.setAttribute("aria-busy", "false");
  clearTimeout(quiet);
  quiet = setTimeout(() => {
    find(".live").textContent = note.textContent || `Sixteen pictures: ${sent.caption}`;
  }, SETTLED);
}

function complain(error, hint = "") {
  note.textContent = error || hint;
  note.classList.toggle("error", Boolean(error));
  caption.setAttribute("aria-invalid", String(Boolean(error)));
}

// ---- the pictures

const tiles = Array.from({ length: props.count }, (_, i) => {
  const item = make("li");
  const picture = make("button", { type: "button", class: "picture", "aria-describedby": `t2i-seed-${i}` });
  const foot = make("div", { class: "foot" });
  const number = make("span", { id: `t2i-seed-${i}`, class: "number" });
  const lock = make("button", { type: "button", class: "lock", "aria-pressed": "false" });
  const image = make("img", { alt: "", width: 64, height: 64, decoding: "sync" });
  // A picture yet to come is an empty one, not a broken one.
  image.src = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";
  picture.append(image);
  foot.append(number, lock);
  item.append(picture, foot);
  grid.append(item);

  picture.addEventListener("click", () => enlarge(i));
  picture.addEventListener("focus", () => rove(i));
  lock.addEventListener("focus", () => rove(i));
  lock.addEventListener("click", () => {
    lock.setAttribute("aria-pressed", String(!locked(i)));
  });
  return { picture, number, lock };
});

const locked = (i) => tiles[i].lock.getAttribute("aria-pressed") === "true";

// One stop of the Tab key for the grid; the arrows do the rest.
function rove(to) {
  tiles.forEach(({ picture, lock }, i) => {
    picture.tabIndex = lock.tabIndex = i === to ? 0 : -1;
  });
}

grid.addEventListener("keydown", (event) => {
  const kind = event.target.classList.contains("lock") ? "lock" : "picture";
  const from = tiles.findIndex((tile) => tile[kind] === event.target);
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -4, ArrowDown: 4 }[event.key];
  const to = { Home: 0, End: props.count - 1 }[event.key] ?? from + step;
  if (from < 0 || !tiles[to]) return;
  event.preventDefault();
  tiles[to][kind].focus();
});

// ---- seeds

function reseed() {
  const base = Math.min(Math.max(Math.trunc(Number(seedBox.value)) || 0, 0), props.seedMax - props.count);
  tiles.forEach(({ number, lock }, i) => {
    if (!locked(i)) seeds[i] = base + i;
    number.textContent = seeds[i];
    lock.setAttribute("aria-label", `Lock seed ${seeds[i]}`);
  });
  ask();
}

seedBox.max = props.seedMax - props.count;
seedBox.addEventListener("input", () => seedBox.value !== "" && reseed());
find(".shuffle").addEventListener("click", () => {
  seedBox.value = Math.floor(Math.random() * (props.seedMax - props.count));
  reseed();
});

// ---- style

for (let i = 1; i <= props.styles; i += 1) {
  const id = `t2i-style-${i}`;
  const slider = make("input", { id, type: "range", min: -1, max: 1, step: 0.05, value: 0 });
  const value = make("output", { for: id });
  const reset = make("button", { type: "button", "aria-label": `Reset style ${i}` }, "↺");
  slider.addEventListener("input", () => ask(tell()));
  reset.addEventListener("click", () => set(0));
  const tell = () => {
    value.textContent = Number(slider.value).toFixed(2).replace("-", "−");
    slider.style.setProperty("--at", slider.value);
  };
  const set = (to) => {
    slider.value = to;
    ask(tell());
  };
  sliders.push(slider);
  find(".styles").append(make("label", { for: id }, `Style ${i}`), slider, value, reset);
  tell();
}

const resetAll = make("button", { type: "button", class: "reset-all" }, "Reset all styles");
resetAll.addEventListener("click", () =>
  find(".styles").querySelectorAll("[aria-label^=Reset]").forEach((reset) => reset.click()),
);
find(".styles").append(resetAll);

// ---- caption, examples, models

caption.addEventListener("input", ask);
caption.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // a caption is one line
  caption.blur();
});

const spec = (name = menu.value) => props.models.find((model) => model.name === name);

function dress() {
  caption.placeholder = spec().placeholder;
  find(".chips").replaceChildren(
    ...spec().examples.map((example) => {
      const chip = make("button", { type: "button" }, example);
      chip.addEventListener("click", () => {
        caption.value = example;
        ask();
      });
      return chip;
    }),
  );
}

for (const { name, title } of props.models) menu.append(make("option", { value: name }, title));
menu.value = props.model;
menu.addEventListener("change", () => {
  // An untouched example goes with its model; a person's own words stay.
  const untouched = props.models.some((model) => model.examples.includes(caption.value));
  if (untouched) caption.value = spec().examples[0];
  dress();
  ask();
});

// ---- one picture, large

let held = null; // the request that makes the picture in the dialog
const words = find("dialog .note");

async function png(scale) {
  const reply = (await server.png({ ...held, scale })) || { error: "The server does not answer." };
  words.textContent = reply.error || "";
  return reply;
}

async function enlarge(i) {
  if (!shown) return;
  const mine = (held = { ...shown, seeds: [shown.seeds[i]] });
  const big = find(".big");
  big.src = tiles[i].picture.firstChild.src;
  big.alt = mine.caption;
  find("#t2i-big-caption").textContent = mine.caption;
  find(".made").textContent = `Seed ${mine.seeds[0]} · ${spec(mine.model).title}`;
  dialog.showModal();
  const reply = await png(4); // smoother than what the browser makes of 64 pixels
  if (reply.png && held === mine) big.src = reply.png;
}

dialog.addEventListener("click", async ({ target }) => {
  if (target === dialog || target.matches(".close")) dialog.close(); // `dialog` itself is the backdrop
  if (!target.dataset.scale) return;
  const reply = await png(Number(target.dataset.scale));
  if (reply.png) make("a", { href: reply.png, download: reply.name }).click();
});

caption.value = spec().examples[0];
seedBox.value = 1;
dress();
rove(0);
reseed();
