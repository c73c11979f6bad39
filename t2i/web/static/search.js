// The tab "Search". The server turns photos and captions into directions of one space; they are kept and compared here,
// so that no photo travels twice and every keystroke costs one caption.

const SEEN = 64; // pixels of a side that the image encoder sees
const NUMBERS = 1024; // of a direction
const MOST = 200; // photos
const SHOWN = 20; // pictures found
const TOLD = 5; // captions of a picture

const words = find("#t2i-words");
const own = find("#t2i-own");
const note = find("#t2i-words-note");
const hint = find(".hint"); // beside the pictures
const progress = find("progress");

// An index is a list of pictures {source, name, direction}; a photo has no direction until the server has seen it.
const indices = { drawn: [], own: [] };
const where = () => find("input[name=t2i-where]:checked").value;
const searched = () => indices[where()].filter(({ direction }) => direction);

let fit = [0, 0]; // of the model: slope and offset of a match's log-odds by the cosine
let wanted = null; // direction of the words
let captions = []; // {text, direction}
let chosen = null; // the picture that a person chose; else the best one is described
let pick = null; // a link's choice among the drawn ones, by its place

// ---- directions

function directions(text) {
  const all = new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  return Array.from({ length: all.length / NUMBERS }, (_, i) => all.subarray(i * NUMBERS, (i + 1) * NUMBERS));
}

function match(one, other) {
  const cosine = one.reduce((sum, number, i) => sum + number * other[i], 0);
  return 1 / (1 + Math.exp(-(fit[0] * cosine + fit[1])));
}

const ranked = (things, direction) =>
  things.map((thing) => ({ ...thing, thing, match: match(thing.direction, direction) })).sort((a, b) => b.match - a.match);

// ---- words to pictures

const asking = () => ({ captions: [words.value.slice(0, 1000)], model: menu.value });
const ask = follow(server.embed_captions, asking, (sent, reply, newest) => {
  remark(note, reply);
  words.setAttribute("aria-invalid", String(Boolean(reply.error)));
  if (reply.error) return;
  [wanted] = directions(reply.embeddings);
  show();
  const [best] = shown;
  if (newest && best) say(`The best for ${sent.captions[0]}: ${best.name}, match ${percent(best.match)}`);
});

const tiles = Array.from({ length: SHOWN }, (_, i) => {
  const item = make("li");
  const label = make("label");
  const choice = make("input", { type: "radio", name: "t2i-found" });
  const picture = make("img", { alt: "", width: SEEN, height: SEEN, decoding: "sync" });
  const foot = make("span", { class: "meter" });
  choice.addEventListener("change", () => {
    chosen = shown[i].thing;
    describe();
  });
  label.append(choice, picture, foot);
  item.append(label);
  find(".found").append(item);
  return { item, choice, picture, foot };
});

let shown = [];
const described = () => chosen || shown[0]?.thing;

function show() {
  shown = wanted ? ranked(searched(), wanted).slice(0, SHOWN) : [];
  tiles.forEach(({ item, picture, foot }, i) => {
    item.hidden = !shown[i];
    if (!shown[i]) return;
    picture.src = shown[i].source;
    picture.alt = shown[i].name;
    meter(foot, shown[i].match);
  });
  const count = searched().length;
  find(".empty").hidden = where() === "drawn" || indices.own.length > 0;
  const what = where() === "drawn" ? "pictures drawn by the model" : "of your photos";
  find(".status").textContent = count ? `${count} ${what}, the best first` : "\u00a0";
  describe();
}

function meter(foot, share) {
  foot.textContent = percent(share);
  foot.style.setProperty("--match", share);
}

// ---- a picture to captions

function describe() {
  const picture = described();
  tiles.forEach(({ choice }, i) => (choice.checked = Boolean(picture) && shown[i]?.thing === picture));
  find(".chosen img").src = picture?.source ?? EMPTY;
  find(".chosen img").alt = picture?.name ?? "";
  find(".which").textContent = picture?.name ?? "";
  find(".remove").hidden = !indices.own.includes(picture);
  find(".chosen").style.visibility = picture ? "visible" : "hidden";
  const told = picture ? ranked(captions, picture.direction).slice(0, TOLD) : [];
  lines.forEach(({ item, text, foot, draw }, i) => {
    item.style.visibility = told[i] ? "visible" : "hidden";
    if (!told[i]) return;
    text.textContent = told[i].text;
    draw.setAttribute("aria-label", `Draw “${told[i].text}”`);
    meter(foot, told[i].match);
  });
}

const lines = Array.from({ length: TOLD }, () => {
  const item = make("li");
  const text = make("span", { class: "text" });
  const foot = make("span", { class: "meter" });
  const draw = make("button", { type: "button" }, "Draw");
  draw.addEventListener("click", () => handOver("Draw", { caption: text.textContent, model: menu.value }));
  item.append(text, foot, draw);
  find(".captions").append(item);
  return { item, text, foot, draw };
});

find(".draw-words").addEventListener("click", () => handOver("Draw", { caption: words.value, model: menu.value }));

const typed = () => own.value.split("\n").filter((line) => line.trim()).map((line) => line.slice(0, 1000));

function list() {
  const { examples, gallery_captions: more } = spec(menu.value);
  return { captions: [...new Set([...typed(), ...examples, ...more])].slice(0, props.maxCaptions), model: menu.value };
}

const learn = follow(server.embed_captions, list, (sent, reply) => {
  complain(find("#t2i-own-note"), reply.error, reply.note);
  if (reply.error) return;
  const heard = directions(reply.embeddings);
  captions = reply.captions.map((text, i) => ({ text, direction: heard[i] }));
  describe();
});

// ---- pictures that the model draws

async function draw() {
  const model = menu.value;
  const reply = await patient(server.gallery, { model });
  if (menu.value !== model) return;
  if (reply.error) return complain(hint, reply.error);
  const seen = directions(reply.embeddings);
  fit = reply.calibration;
  indices.drawn = reply.pictures.map((source, i) => {
    return { source, name: `drawn by the model from “${reply.captions[i]}”`, direction: seen[i] };
  });
  chosen = indices.drawn.find((_, i) => String(i) === pick) ?? null;
  show();
}

// ---- photos of one's own

async function addPhoto(image, name, following) {
  if (indices.own.length >= MOST) return complain(hint, `At most ${MOST} photos. Remove one first.`);
  find("input[value=own]").checked = true;
  indices.own.push({ source: seenOf(image), name, direction: null });
  image.close();
  if (unseen().length >= props.photosPerRequest) await see(following);
}

// The central square, as the image encoder sees it.
function seenOf(image) {
  const canvas = make("canvas", { width: SEEN, height: SEEN });
  const context = canvas.getContext("2d");
  const side = Math.min(image.width, image.height);
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // behind what is transparent
  context.fillRect(0, 0, SEEN, SEEN);
  context.drawImage(image, (image.width - side) / 2, (image.height - side) / 2, side, side, 0, 0, SEEN, SEEN);
  return canvas.toDataURL("image/png");
}

// The photo in its place is described next.
find(".remove").addEventListener("click", () => {
  const photo = described();
  const place = Math.max(shown.findIndex(({ thing }) => thing === photo), 0);
  indices.own.splice(indices.own.indexOf(photo), 1);
  complain(hint, "");
  arrange();
  const next = Math.min(place, shown.length - 1);
  chosen = shown[next]?.thing ?? null;
  describe();
  (tiles[next]?.choice ?? find(".add")).focus(); // for the keyboard: the button may be gone
  say(`Removed: ${photo.name}`);
});

const unseen = () => indices.own.filter(({ direction }) => !direction);

// Show the server the photos that it has not seen yet, some at a time.
async function see(following = 0) {
  const model = menu.value;
  while (unseen().length && menu.value === model) {
    const some = unseen().slice(0, props.photosPerRequest);
    progress.hidden = false;
    progress.max = indices.own.length + following;
    progress.value = indices.own.length - unseen().length;
    const reply = await patient(server.embed_photos, { photos: some.map(({ source }) => source), model });
    if (menu.value !== model) break;
    if (reply.error) return complain(hint, reply.error);
    fit = reply.calibration;
    directions(reply.embeddings).forEach((direction, i) => (some[i].direction = direction));
    show();
  }
  progress.hidden = !following;
}

// An answer, however long it takes; what was said beside the pictures is said again, once all that wait have theirs.
let waiting = 0;
let said = "";
async function patient(verb, request) {
  let waits = false;
  const reply = await answered(verb, request, (why) => {
    if (!waits && !waiting++) said = hint.textContent;
    waits = true;
    complain(hint, why);
  });
  if (waits && !--waiting) complain(hint, said);
  return reply;
}

// ---- starting

function arrange() {
  chosen = null;
  show();
}

// Without words there is nothing to draw.
const offer = () => (find(".draw-words").disabled = !words.value.trim());

function dress() {
  offer();
  const { title, has_image_encoder: sees, placeholder } = spec(menu.value);
  words.placeholder = own.placeholder = placeholder;
  indices.drawn = [];
  indices.own.forEach((photo) => (photo.direction = null));
  wanted = null;
  captions = [];
  arrange();
  complain(note, sees ? "" : `${title} cannot see pictures: it has no image encoder.`);
  if (!sees) return;
  draw();
  ask();
  learn();
  see();
}

words.addEventListener("input", ask);
words.addEventListener("input", offer);
own.addEventListener("input", learn);
find(".where").addEventListener("change", arrange);
menu.addEventListener("change", () => {
  if (!words.value || isExample(words.value)) words.value = spec(menu.value).examples[0] || "";
  pick = null;
  dress();
});
receive(hint, addPhoto, () => see());

// ---- what a link says of this tab: the words, where they are searched, which drawn picture is chosen, and captions of
// one's own; photos stay with their owner

function state() {
  const place = indices.drawn.indexOf(chosen);
  const choice = place < 0 ? [] : [["chosen", place]];
  return [["caption", words.value], ["where", where()], ...choice, ...typed().map((line) => ["own", line])];
}

function restore(query) {
  words.value = oneLine(query.get("caption") ?? fromDraw().caption ?? spec(menu.value).examples[0] ?? "");
  own.value = query.getAll("own").slice(0, props.maxCaptions).map(oneLine).join("\n");
  find(`input[value=${query.get("where") === "own" ? "own" : "drawn"}]`).checked = true;
  pick = query.get("chosen");
  dress();
}

const stays = () => (where() === "own" && indices.own.length ? "Your photos stay here: the link brings the words." : "");

shareable("search", state, restore, stays);
