// The tab "Style from a photo": the paper's Figure 6, photos by captions. A photo is cropped here, so what travels is small.

const SEEN = 64; // pixels of a side that S sees
const MOST = 8; // photos, and captions
const SQUARE = /^data:image\/png;base64,[A-Za-z0-9+/=]{1,30000}$/; // what S sees of a photo

const note = find("#t2i-style-note"); // on the captions
const said = find(".said"); // on photos
const table = find("table");
const dialog = find(".cropping");
const crop = find(".crop");

// ---- captions: a column each

const columns = Array.from({ length: props.numCaptions }, (_, i) => {
  const head = make("th", { scope: "col" });
  const box = make("textarea", { rows: 3, "aria-label": `Caption ${i + 1}`, autocapitalize: "off", enterkeyhint: "done" });
  box.setAttribute("aria-describedby", note.id);
  box.addEventListener("input", () => rows.forEach((row) => row.ask()));
  head.append(box);
  find("thead tr").append(head);
  return box;
});

// An empty column is left out, not an error; `places` says where the pictures of an answer belong.
function asked() {
  const places = columns.map((box, i) => i).filter((i) => columns[i].value.trim());
  return { places, captions: places.map((i) => columns[i].value.slice(0, 1000)), model: menu.value };
}

// ---- photos: a row each

const rows = [];
let sample; // the row that the page begins with, until a person adds a photo

function addPhoto(image) {
  if (rows.includes(sample)) remove(sample);
  if (rows.length >= MOST) return complain(said, `At most ${MOST} photos. Remove one first.`);
  const line = make("tr");
  const head = make("th", { scope: "row" });
  const open = make("button", { type: "button", class: "photo" });
  const canvas = make("canvas", { width: SEEN, height: SEEN });
  const use = make("button", { type: "button", class: "use" }, "Use in Draw");
  open.append(canvas);
  head.append(open, use);
  line.append(head);
  const cells = columns.map(() => {
    const picture = make("img", { alt: "", width: 64, height: 64, src: EMPTY });
    const cell = make("td");
    cell.append(picture);
    line.append(cell);
    return picture;
  });
  table.tBodies[0].append(line);

  const row = { image, line, open, use, canvas, cells, x: 0.5, y: 0.5, zoom: 1 };
  row.ask = followInDrafts(server.restyle, () => ({ photo: square(row), ...asked() }), (sent, reply, newest) => {
    if (!rows.includes(row)) return; // removed meanwhile
    remark(note, reply);
    if (reply.error) return;
    cells.forEach((cell, i) => {
      const place = sent.places.indexOf(i);
      cell.src = reply.pictures[place] ?? EMPTY;
      cell.alt = sent.captions[place] ?? "";
    });
    find(".status").textContent = speed(reply);
    if (newest && !begun()) remember(reply.pictures[0]);
    if (newest) say(`Photo ${rows.indexOf(row) + 1} under ${sent.captions.length} captions`);
  });
  open.addEventListener("click", () => edit(row));
  use.addEventListener("click", () => take(row));
  rows.push(row);
  see(row);
  count();
  return row;
}

// What the page begins with comes anew with each visit, and need not be kept.
const begun = () => rows.includes(sample) && columns.every(({ value }) => !value || isExample(value));

function remove(row) {
  row.line.remove();
  rows.splice(rows.indexOf(row), 1);
  count();
}

// The style goes to the tab "Draw", whatever is typed there.
async function take(row) {
  const [photo, model] = [square(row), menu.value];
  const { like } = await fetched(server.style, { photo, model }, said);
  if (like) handOver("Draw", { model, like, photo });
}

function count() {
  rows.forEach(({ open, use }, i) => {
    open.setAttribute("aria-label", `Photo ${i + 1}: choose what is seen`);
    use.setAttribute("aria-label", `Use in Draw: the style of photo ${i + 1}`);
  });
  find(".empty").hidden = rows.length > 0;
  find(".sheet").disabled = !rows.length;
}

// The square of the photo that S sees, as it travels.
const square = ({ canvas }) => canvas.toDataURL("image/png");

// Where that square lies: left, top and side in photo pixels, its centre within reach of the edges.
function place({ image, x, y, zoom }) {
  const side = Math.min(image.width, image.height) / zoom;
  return [x * (image.width - side), y * (image.height - side), side];
}

function see(row) {
  const [left, top, side] = place(row);
  const context = row.canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // behind what is transparent
  context.fillRect(0, 0, SEEN, SEEN);
  context.drawImage(row.image, left, top, side, side, 0, 0, SEEN, SEEN);
  row.ask();
}

// ---- getting photos: button, drop, paste, camera, or what the model draws of its examples

receive(said, addPhoto);

function offer() {
  find(".offered").replaceChildren(find("#t2i-offered"), ...spec(menu.value).examples.map(offered));
}

function offered(caption, i) {
  const request = { caption, seeds: [i + 1], model: menu.value };
  const button = make("button", { type: "button", class: "thumbnail", title: caption, "aria-label": `Add what is drawn of: ${caption}` });
  const picture = make("img", { alt: "", width: 64, height: 64, src: EMPTY });
  button.disabled = true;
  button.append(picture);
  button.addEventListener("click", async () => addPhoto(await createImageBitmap(picture)));
  follow(server.draw, () => request, async (_, reply) => {
    if (reply.error && !reply.busy) complain(said, reply.error);
    if (reply.error) return;
    picture.src = reply.pictures[0];
    button.disabled = false;
    const image = await loaded(picture.src);
    if (i === 0 && rows.every((row) => row === sample)) sample = addPhoto(image);
  })();
  return button;
}

// ---- the camera, which is on only while its dialog is open

const camera = find(".camera");
const video = find("video");
const shoot = find(".shoot");
const told = find(".camera .note");

const NO_CAMERA = {
  NotAllowedError: "Your browser does not let this page use the camera. Allow it for this site, then try again.",
  NotFoundError: "There is no camera here.",
  NotReadableError: "The camera cannot be used: another program may have it.",
};

function watch(stream) {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = stream;
}

find(".take").addEventListener("click", async () => {
  shoot.disabled = true;
  complain(told, "", "Waiting for the camera …");
  camera.showModal();
  try {
    watch(await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }));
    if (!camera.open) watch(null); // closed while the browser asked
  } catch (error) {
    complain(told, NO_CAMERA[error.name] ?? "Your browser lends this page no camera."); // none at all without https
  }
});

video.addEventListener("loadeddata", () => {
  complain(told, "", "The middle is seen; another square can be chosen afterwards.");
  shoot.disabled = false;
  shoot.focus();
});

shoot.addEventListener("click", async () => {
  addPhoto(await createImageBitmap(video));
  camera.close();
});

camera.addEventListener("close", () => watch(null));
camera.addEventListener("click", ({ target }) => {
  if (target === camera || target.matches(".close")) camera.close(); // `camera` itself is the backdrop
});

// ---- choosing what is seen: drag, or the sliders

let edited = null;

const knobs = [["x", "Across", 0, 1], ["y", "Down", 0, 1], ["zoom", "Closer", 1, 4]].map(([name, label, min, max]) => {
  const id = `t2i-crop-${name}`;
  const slider = make("input", { id, type: "range", min, max, step: 0.01 });
  slider.addEventListener("input", () => move({ [name]: Number(slider.value) }));
  const line = make("div", { class: "row" });
  line.append(make("label", { for: id }, label), slider);
  find(".rows").append(line);
  return [name, slider, min, max];
});

function move(change) {
  Object.assign(edited, change);
  for (const [name, slider, min, max] of knobs) {
    edited[name] = Math.min(Math.max(edited[name], min), max);
    slider.value = edited[name];
    slider.style.setProperty("--at", (2 * (edited[name] - min)) / (max - min) - 1);
  }
  const [left, top, side] = place(edited);
  const room = { x: edited.image.width > side, y: edited.image.height > side, zoom: true };
  for (const [name, slider] of knobs) slider.disabled = !room[name]; // the square has nowhere to go
  crop.getContext("2d").drawImage(edited.image, left, top, side, side, 0, 0, crop.width, crop.height);
  see(edited);
}

function edit(row) {
  edited = row;
  if (row === sample) sample = null; // it is the person's own from now on
  move({});
  dialog.showModal(); // on the first slider that can be moved
}

dragged(crop, (across, down) => {
  const { image, x, y } = edited;
  const side = place(edited)[2];
  const scale = side / crop.clientWidth; // the picture follows the hand, so the window goes against it
  const by = (pixels, space) => (space > 0 ? (pixels * scale) / space : 0);
  move({ x: x - by(across, image.width - side), y: y - by(down, image.height - side) });
});
dialog.addEventListener("click", ({ target }) => {
  if (target.matches(".remove")) {
    remove(edited);
    complain(said, "");
  }
  if (target === dialog || target.matches(".close, .remove")) dialog.close(); // `dialog` itself is the backdrop
  if (target.matches(".remove")) find(".add").focus(); // the button that opened it is gone
});

// ---- the sheet, made from what is on the page

find(".sheet").addEventListener("click", () => {
  const used = asked().places;
  const side = Math.max(2 * SEEN, ...rows.flatMap(({ cells }) => used.map((i) => cells[i].naturalWidth)));
  const step = side + 4;
  const sheet = make("canvas", { width: (used.length + 1) * step, height: rows.length * step });
  const context = sheet.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, sheet.width, sheet.height);
  rows.forEach(({ canvas, cells }, y) =>
    [canvas, ...used.map((i) => cells[i])].forEach((picture, x) => context.drawImage(picture, x * step, y * step, side, side)),
  );
  make("a", { href: sheet.toDataURL("image/png"), download: `${menu.value}-styles.png` }).click();
});

menu.addEventListener("change", dress);

function dress() {
  columns.forEach((box, i) => {
    if (!box.value || isExample(box.value)) box.value = spec(menu.value).examples[i] || "";
  });
  refresh();
}

function refresh() {
  offer();
  columns.forEach((box) => (box.placeholder = spec(menu.value).placeholder));
  rows.forEach((row) => row.ask());
}

// ---- what a link says of this tab: the captions; photos stay with their owner

const state = () => columns.map((box) => ["caption", box.value]);

function restore(query) {
  const captions = query.has("caption") ? query.getAll("caption").map(oneLine) : spec(menu.value).examples;
  columns.forEach((box, i) => (box.value = captions[i] ?? ""));
  refresh();
}

const link = shareable("style", state, restore);

// ---- Recent keeps, in this browser alone, the squares as well

const remember = recall("style", {
  query: () => [link.query(), new URLSearchParams(rows.map((row) => ["photo", square(row)]))].join("&"),
  go: async (query) => {
    const found = query.getAll("photo").filter((source) => SQUARE.test(source));
    const images = await Promise.all(found.slice(0, MOST).map(loaded));
    [...rows].forEach(remove);
    link.go(query);
    images.filter(({ width, height }) => width === SEEN && height === SEEN).forEach((image) => addPhoto(image));
  },
});

// An image once its size is known, 0×0 if it is broken.
async function loaded(source) {
  const image = new Image();
  await new Promise((done) => Object.assign(image, { onload: done, onerror: done, src: source }));
  return image;
}

count();
