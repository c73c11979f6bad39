// The tab "Draw".

const caption = find("#t2i-caption");
const grid = find(".grid");
const note = find("#t2i-note");
const dialog = find("dialog");

const seeds = [];
const ats = []; // how far on from each seed, [across, down], 0 to 1
const sliders = [];
let shown = null; // the request whose pictures are on the page
let size = 64; // pixels of a side of them

// ---- asking

const asking = followInDrafts(server.draw, request, show);

function ask() {
  grid.setAttribute("aria-busy", "true");
  sorting = false;
  markChips();
  asking();
}

function request() {
  return {
    caption: caption.value.slice(0, 1000),
    seeds: [...seeds],
    ...(ats.some(off) && { at: [...ats] }),
    ...(like && { like }),
    attributes: sliders.map((slider) => Number(slider.value)),
    model: menu.value,
  };
}

function show(sent, reply, newest) {
  remark(note, reply);
  caption.setAttribute("aria-invalid", String(Boolean(reply.error)));
  if (!reply.error) {
    shown = sent;
    size = reply.size;
    reply.pictures.forEach((source, i) => {
      const picture = tiles[i].picture.firstChild;
      picture.src = source;
      picture.alt = sent.caption;
    });
    markHearts();
    find(".status").textContent = speed(reply);
    find(".t2i-draw").classList.toggle("strange", Boolean(reply.hint));
    judged(null);
  }
  if (!newest) return;
  grid.setAttribute("aria-busy", "false");
  if (!reply.error) remember(reply.pictures[0]);
  judging = setTimeout(judge, "full_size" in sent ? RESTED : 0); // else it has rested already
  say(note.textContent || `Sixteen pictures${sent.like ? " in the style of a photo" : ""}: ${sent.caption}`);
}

// ---- the pictures

const tiles = Array.from({ length: props.numPictures }, (_, i) => {
  const item = make("li");
  const picture = make("button", { type: "button", class: "picture", "aria-describedby": `t2i-seed-${i} t2i-match-${i}` });
  const foot = make("div", { class: "foot" });
  const number = make("span", { id: `t2i-seed-${i}`, class: "number" });
  const match = make("span", { id: `t2i-match-${i}`, class: "match" });
  const lock = make("button", { type: "button", class: "lock", "aria-pressed": "false" });
  picture.append(make("img", { alt: "", width: 64, height: 64, decoding: "sync", src: EMPTY }));
  const heart = make("button", { type: "button", class: "heart", "aria-pressed": "false" });
  foot.append(number, match, lock);
  item.append(picture, heart, foot);
  grid.append(item);

  picture.addEventListener("click", () => enlarge(i));
  picture.addEventListener("focus", () => rove(i));
  lock.addEventListener("focus", () => rove(i));
  heart.addEventListener("focus", () => rove(i));
  heart.addEventListener("click", () => favour(i));
  lock.addEventListener("click", () => hold(i, !locked(i)));
  return { picture, heart, number, match, lock };
});

const locked = (i) => tiles[i].lock.getAttribute("aria-pressed") === "true";
const hold = (i, on) => tiles[i].lock.setAttribute("aria-pressed", String(on));

// One stop of the Tab key for the grid; the arrows do the rest.
function rove(to) {
  tiles.forEach(({ picture, heart, lock }, i) => {
    picture.tabIndex = heart.tabIndex = lock.tabIndex = i === to ? 0 : -1;
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

const seed = seedBox(props.maxSeed - props.numPictures, () => place(seed.read()));

function reseed() {
  const base = seed.read();
  tiles.forEach((_, i) => {
    if (!locked(i)) [seeds[i], ats[i]] = [base + i, at];
  });
  label();
  ask();
}

function label() {
  tiles.forEach(({ number, lock, heart }, i) => {
    number.textContent = seeds[i] + (off(ats[i]) ? " +" : "");
    lock.setAttribute("aria-label", `Lock seed ${seeds[i]}`);
    lock.title = "Lock: another seed leaves this picture as it is";
    heart.setAttribute("aria-label", `Favourite seed ${seeds[i]}`);
  });
}

// ---- the plane of seeds: rows of four, on which the sixteen pictures are a window that may lie between them

const PITCH = 64; // pixels of drag from one seed to the next
const END = 0.9999; // of a step, as near to the next seed as is told
const plane = find(".plane");
let at = [0, 0]; // how far the window is on from its seed
let start = 1; // where Reset goes: the seed last typed or shuffled

plane.style.setProperty("--pitch", `${PITCH}px`);

const off = ([across, down]) => across > 0 || down > 0;
const onward = (at) => at.map((part) => part.toFixed(2)).join(" across and ") + " down";

function place(base, to = [0, 0]) {
  start = base;
  settle(base, to);
}

// The window at a point of the plane, counted from a seed: whole steps go into the seed. Where it would leave the plane,
// it stops in that direction alone.
function settle(base, point) {
  const [across, down] = point.map((part) => Math.round(1e4 * part) / 1e4);
  const x = clamp(across, -base, seed.box.max - base + END);
  const from = base + Math.floor(x);
  const y = clamp(down, -Math.floor(from / 4), Math.floor((seed.box.max - from) / 4) + END);
  seed.box.value = from + 4 * Math.floor(y);
  at = [x, y].map((part) => Number((part - Math.floor(part)).toFixed(4)));
  plane.style.setProperty("--x", `${-PITCH * at[0]}px`);
  plane.style.setProperty("--y", `${-PITCH * at[1]}px`);
  plane.setAttribute("aria-valuemax", seed.box.max);
  plane.setAttribute("aria-valuenow", seed.box.value);
  plane.setAttribute("aria-valuetext", `Seed ${seed.box.value}` + (off(at) ? `, ${onward(at)}` : ""));
  find(".snap").disabled = !off(at);
  reseed();
}

const move = (across, down) => settle(seed.read(), [at[0] + across, at[1] + down]);

// The plane follows the hand, so the window goes against it.
dragged(plane, (across, down) => move(-across / PITCH, -down / PITCH));
plane.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
  if (!step) return;
  event.preventDefault();
  move(...step);
});
find(".snap").addEventListener("click", () => settle(seed.read(), at.map(Math.round)));
find(".back").addEventListener("click", () => place(start));

// ---- does it match? The server is asked when nothing has changed for a while; the grid is sorted when the person says so.
// The judge knows no more than the model: of words strange to both it says nothing.

let matches = null; // of the pictures on the page, from 0 to 1; null while they are not known
let sorting = false; // asked for, and waiting for the matches
let judging;

async function judge() {
  const mine = shown;
  if (!mine || find(".strange")) return;
  const reply = (await server.match(mine)) || SILENCE;
  if (shown !== mine || grid.getAttribute("aria-busy") === "true") return; // other pictures are on their way
  if (reply.busy) judging = setTimeout(judge, RETRY);
  if (!reply.matches?.length) return; // refused, or the model cannot see
  judged(reply.matches);
  if (sorting) sort();
}

function judged(found) {
  clearTimeout(judging);
  matches = found;
  tiles.forEach(({ match }, i) => {
    match.parentNode.style.setProperty("--match", found ? found[i] : 0);
    match.replaceChildren(...(found ? [make("span", { class: "heard" }, "match "), percent(found[i])] : []));
  });
}

// The best first; equals, and what is locked, keep what they are.
function sort() {
  sorting = !matches || grid.getAttribute("aria-busy") === "true";
  if (sorting) return; // until the matches are there
  const next = request();
  if (String([next.seeds, next.at]) !== String([shown.seeds, shown.at])) return; // what was asked since has failed
  const order = seeds.map((_, i) => i).sort((a, b) => matches[b] - matches[a]);
  const was = tiles.map(({ picture, lock }) => [picture.firstChild.src, lock.getAttribute("aria-pressed")]);
  order.forEach((from, to) => {
    tiles[to].picture.firstChild.src = was[from][0];
    tiles[to].lock.setAttribute("aria-pressed", was[from][1]);
  });
  for (const all of [seeds, ats]) all.splice(0, all.length, ...order.map((i) => all[i]));
  shown = { ...shown, seeds: [...seeds], at: shown.at && [...ats] };
  label();
  markHearts();
  judged(order.map((i) => matches[i]));
  say(`Sorted by match, the best first: seed ${seeds[0]}`);
}

find(".sort").addEventListener("click", sort);

// ---- style

function slide(slider, value) {
  slider.value = value; // which clamps
  slider.dispatchEvent(new Event("input"));
}

// One slider for each style of the model.
function fit(styles) {
  const rows = styles.map(({ name, low, high }, i) => {
    const id = `t2i-attribute-${i + 1}`;
    const slider = make("input", { id, type: "range", min: -1, max: 1, step: 0.05, value: 0 });
    const value = make("output", { for: id });
    const reset = make("button", { type: "button", "aria-label": `Reset ${name}` }, "↺");
    const tell = () => {
      const at = Number(slider.value);
      value.textContent = at.toFixed(2).replace("-", "−");
      slider.setAttribute("aria-valuetext", at ? `${value.textContent}, ${at < 0 ? low : high}` : "as the seed has it");
      slider.style.setProperty("--at", at);
    };
    slider.addEventListener("input", () => ask(tell()));
    reset.addEventListener("click", () => slide(slider, 0));
    tell();
    const [left, right] = [low, high].map((end) => make("span", { class: "end", "aria-hidden": "true" }, end));
    return { slider, parts: [make("label", { for: id }, name), left, slider, right, value, reset] };
  });
  const resetAll = make("button", { type: "button", class: "reset-all" }, "Reset all styles");
  resetAll.addEventListener("click", () =>
    find(".attributes").querySelectorAll("[aria-label^=Reset]").forEach((reset) => reset.click()),
  );
  sliders.splice(0, sliders.length, ...rows.map(({ slider }) => slider));
  find(".attributes").replaceChildren(...rows.flatMap(({ parts }) => parts), resetAll);
}

// ---- the style of a photo, from the tab "Style", as the server told it

const LIKE = new RegExp(`^${props.stylePattern}$`);
const photos = new Map(); // by their style: a link has the style alone
let like = "";

function imitate(style) {
  like = LIKE.test(style) ? style : "";
  find(".like").hidden = !like;
  find(".like img").hidden = !photos.has(like);
  find(".like img").src = photos.get(like) ?? EMPTY;
}

find(".plain").addEventListener("click", () => {
  imitate("");
  find(".shuffle").focus(); // for the keyboard: this button is gone
  ask();
});

// ---- caption, examples, models

caption.addEventListener("input", ask);

function dress() {
  imitate(""); // another model's noise means other things
  fit(spec(menu.value).attributes);
  find(".t2i-draw").classList.toggle("sees", spec(menu.value).has_image_encoder);
  caption.placeholder = spec(menu.value).placeholder;
  document.querySelector(".t2i-head span").textContent = caption.placeholder.replace("\u00a0…", "");
  find(".chips").replaceChildren(
    ...spec(menu.value).examples.map((example) => {
      const chip = make("button", { type: "button", title: example, "aria-label": example }, short(example));
      chip.addEventListener("click", () => {
        caption.value = example;
        ask();
      });
      return chip;
    }),
  );
}

// An example without the words with which many begin.
const short = (example) => example.replace(/^(a|the|this) (\w+ (has|is|are|with) (a )?)?/, "");

const markChips = () =>
  find(".chips").childNodes.forEach((chip) => chip.setAttribute("aria-pressed", String(chip.title === caption.value)));

function change() {
  if (isExample(caption.value)) caption.value = spec(menu.value).examples[0];
  dress();
  ask();
}

menu.addEventListener("change", change);

// Words from another tab, or a photo's style; with a seed, all that a link would say.
document.addEventListener("t2i-draw", ({ detail }) => {
  if ("seed" in detail) return open(detail);
  if (menu.value !== detail.model) {
    menu.value = detail.model;
    change();
  }
  caption.value = detail.caption ?? caption.value;
  if (detail.like) {
    photos.set(detail.like, detail.photo);
    imitate(detail.like);
  }
  ask();
});

// ---- one picture, large

let held = null; // the request that makes the picture in the dialog
let enlarged = 0; // its place
const words = find("dialog .note");

async function enlarge(i) {
  if (!shown) return;
  enlarged = i;
  const mine = (held = { ...shown, seeds: [shown.seeds[i]], at: shown.at && [shown.at[i]] });
  const big = find(".big");
  big.src = tiles[i].picture.firstChild.src;
  big.alt = mine.caption;
  find("#t2i-big-caption").textContent = mine.caption;
  const made = [`Seed ${mine.seeds[0]}${mine.at ? `, ${onward(mine.at[0])}` : ""}`, mine.like && "in the style of a photo"];
  find(".made").textContent = [...made, spec(mine.model).title].filter(Boolean).join(" · ");
  if (!dialog.open) dialog.showModal();
  for (const button of dialog.querySelectorAll("[data-scale]")) button.lastChild.textContent = `${button.dataset.scale * size} px`;
  const reply = await fetched(server.enlarge, mine, words);
  if (reply.picture && held === mine) big.src = reply.picture;
}

dialog.addEventListener("click", ({ target }) => {
  if (target === dialog || target.matches(".close")) dialog.close(); // `dialog` itself is the backdrop
  const button = target.closest("button");
  if (button?.dataset.scale) save(button, server.png, { ...held, scale: Number(button.dataset.scale) }, words);
  if (button?.dataset.turn) turn(Number(button.dataset.turn));
});
dialog.addEventListener("keydown", ({ key }) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (by) turn(by);
});
dialog.addEventListener("close", () => tiles[enlarged].picture.focus());

// To the next of the sixteen; after the last comes the first.
const turn = (by) => enlarge((enlarged + by + props.numPictures) % props.numPictures);

// ---- what a link says of this tab: caption, seed, how far on, styles, a photo's style, which pictures are locked, and
// each that is not where the seed puts it as "place,seed,across,down"

function state() {
  const { caption, attributes } = request();
  const base = seed.read();
  const held = [...seeds.keys()].filter(locked).map((i) => ["lock", i]);
  const strayed = [...seeds.keys()].filter((i) => seeds[i] !== base + i || String(ats[i]) !== String(at));
  const places = strayed.map((i) => ["tile", [i, seeds[i], ats[i]]]);
  const photo = like ? [["like", like]] : [];
  return [["caption", caption], ["seed", base], ["at", at], ["attributes", attributes], ...photo, ...held, ...places];
}

const point = ([across, down]) => [clamp(across, 0, 1), clamp(down, 0, 1)];

function restore(query) {
  dress();
  caption.value = oneLine(query.get("caption") ?? spec(menu.value).examples[0] ?? "");
  tiles.forEach((_, i) => hold(i, false));
  if (query.get("model") === menu.value) imitate(query.get("like"));
  const style = fields(query.get("attributes") ?? query.get("style"), sliders.length);
  sliders.forEach((slider, i) => slide(slider, clamp(style[i], -1, 1)));
  place(Math.trunc(clamp(query.get("seed") ?? 1, 0, seed.box.max)), point(fields(query.get("at"), 2)));
  for (const i of query.getAll("lock").map(Number)) if (tiles[i]) hold(i, true);
  for (const [tile, own, ...on] of query.getAll("tile").map((tile) => fields(tile, 4))) {
    const i = Number(tile); // "length" is no tile
    if (tiles[i]) [seeds[i], ats[i]] = [Math.trunc(clamp(own, 0, props.maxSeed)), point(on)];
  }
  label();
}

rove(0);
const link = shareable("draw", state, restore);
const remember = recall("draw", link);

// ---- favourites: a picture is kept with the query that draws it first of sixteen

const open = (query) => link.go(new URLSearchParams(query));
const favourites = album(find(".favourites"), "t2i-favourites", props.maxFavourites, open, () => markHearts());

function recipe(i) {
  const { model, caption, seeds, attributes, at, like } = shown;
  const pairs = { tab: "draw", model, caption, seed: seeds[i], at: at?.[i] ?? [0, 0], attributes, ...(like && { like }) };
  return String(new URLSearchParams(Object.entries(pairs)));
}

function favour(i) {
  if (!shown) return;
  if (favourites.has(recipe(i))) favourites.remove(recipe(i));
  else favourites.add(recipe(i), small(tiles[i].picture.firstChild));
}

function markHearts() {
  if (shown) tiles.forEach(({ heart }, i) => heart.setAttribute("aria-pressed", String(favourites.has(recipe(i)))));
}

find(".sheet").addEventListener("click", ({ target }) => {
  const pictures = favourites.queries().map((query) => new URLSearchParams(query)).map((query) => ({
    model: query.get("model"),
    caption: query.get("caption"),
    seeds: [query.get("seed")],
    at: [fields(query.get("at"), 2)],
    attributes: fields(query.get("attributes") ?? query.get("style"), props.numPictures),
    like: query.get("like"),
  }));
  save(target, server.sheet, { pictures }, find(".said"));
});

openTab(LINK.get("tab")); // this is the tab that opens first: a link may be for another
