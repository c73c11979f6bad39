// The tab "Style": the paper's Figure 6, photos by captions. A photo is cropped here, so that little is sent.

const { EMPTY_IMAGE, MAX_SENT_LENGTH } = t2i;
const { clamp, findModel, isExample, make, onDrag, sendToTab, showNote, statusText, toSingleLine } = t2i;
const tab = t2i.createTab("style", element);
const { find, announce, modelMenu } = tab;

const MAX_PHOTOS = 8;
const SQUARE_PATTERN = /^data:image\/png;base64,[A-Za-z0-9+/=]{1,30000}$/; // the square of a photo, stored by Recent
const photoSize = props.photoSize; // pixels a side of what the style encoder S sees

const captionNote = find("#t2i-style-note");
const photoNote = find(".link-note");
const table = find("table");

// ---- captions, one for each column

const captionBoxes = Array.from({ length: props.numCaptions }, (_, i) => {
  const head = make("th", { scope: "col" });
  const labels = { "aria-label": `Caption ${i + 1}`, "aria-describedby": captionNote.id };
  const box = make("textarea", { rows: 3, autocapitalize: "off", enterkeyhint: "done", ...labels });
  box.addEventListener("input", () => rows.forEach((row) => row.update()));
  head.append(box);
  find("thead tr").append(head);
  return box;
});

// An empty column is left out. `columns` says to which columns the pictures of a reply belong.
function getCaptions() {
  const columns = captionBoxes.map((_, i) => i).filter((i) => captionBoxes[i].value.trim());
  const captions = columns.map((i) => captionBoxes[i].value.slice(0, MAX_SENT_LENGTH));
  return { columns, captions, model: modelMenu.value };
}

// ---- photos, one for each row

const rows = [];
let sampleRow; // the row that the tab begins with, until a person adds a photo

function addPhoto(image) {
  if (rows.includes(sampleRow)) removeRow(sampleRow);
  if (rows.length >= MAX_PHOTOS) return showNote(photoNote, `At most ${MAX_PHOTOS} photos. Remove one first.`);
  const tableRow = make("tr");
  const head = make("th", { scope: "row" });
  const cropButton = make("button", { type: "button", class: "photo" });
  const canvas = make("canvas", { width: photoSize, height: photoSize });
  const useButton = make("button", { type: "button", class: "use" }, "Use in Draw");
  cropButton.append(canvas);
  head.append(cropButton, useButton);
  const images = captionBoxes.map(() => make("img", { alt: "", width: 64, height: 64, src: EMPTY_IMAGE }));
  const cells = images.map((image) => {
    const cell = make("td");
    cell.append(image);
    return cell;
  });
  tableRow.append(head, ...cells);
  table.tBodies[0].append(tableRow);

  const row = { image, tableRow, cropButton, useButton, canvas, images, x: 0.5, y: 0.5, zoom: 1 };
  const getRequest = () => ({ photo: squareSource(row), ...getCaptions() });
  row.update = tab.createDraftUpdater(server.restyle, getRequest, (request, reply, isNewest) => {
    if (!rows.includes(row)) return; // removed meanwhile
    tab.showCaptionNote(captionNote, reply);
    if (reply.error) return;
    images.forEach((image, column) => {
      const i = request.columns.indexOf(column);
      image.src = reply.pictures[i] ?? EMPTY_IMAGE;
      image.alt = request.captions[i] ?? "";
    });
    find(".status").textContent = statusText(reply);
    if (!isNewest) return;
    if (!isUntouched()) addRecent(reply.pictures[0]);
    announce(`Photo ${rows.indexOf(row) + 1} under ${request.captions.length} captions`);
  });
  cropButton.addEventListener("click", () => openCrop(row));
  useButton.addEventListener("click", () => useInDraw(row));
  rows.push(row);
  showSquare(row);
  labelRows();
  return row;
}

// What the tab begins with comes again at each visit, and is not kept.
const isUntouched = () =>
  rows.includes(sampleRow) && captionBoxes.every(({ value }) => !value || isExample(value));

function removeRow(row) {
  row.tableRow.remove();
  rows.splice(rows.indexOf(row), 1);
  labelRows();
}

async function useInDraw(row) {
  const [photo, model] = [squareSource(row), modelMenu.value];
  const { like: style } = await tab.callWithNote(server.style, { photo, model }, photoNote);
  if (style) sendToTab("draw", { model, style, photo });
}

function labelRows() {
  rows.forEach(({ cropButton, useButton }, i) => {
    cropButton.setAttribute("aria-label", `Photo ${i + 1}: choose what is seen`);
    useButton.setAttribute("aria-label", `Use in Draw: the style of photo ${i + 1}`);
  });
  find(".empty").hidden = rows.length > 0;
  find(".sheet").disabled = !rows.length;
}

const squareSource = ({ canvas }) => canvas.toDataURL("image/png");

// Left, top and side of a row's square, in pixels of the photo.
function squareOf({ image, x, y, zoom }) {
  const side = Math.min(image.width, image.height) / zoom;
  return [x * (image.width - side), y * (image.height - side), side];
}

function showSquare(row) {
  const [left, top, side] = squareOf(row);
  const context = row.canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // behind transparent pixels
  context.fillRect(0, 0, photoSize, photoSize);
  context.drawImage(row.image, left, top, side, side, 0, 0, photoSize, photoSize);
  row.update();
}

// ---- photos from the button, a drop, the clipboard, the camera, or drawn by the model

tab.acceptPhotos(photoNote, addPhoto);

function showSamples() {
  find(".samples").replaceChildren(find("#t2i-style-samples"), ...findModel(modelMenu.value).examples.map(createSample));
}

function createSample(caption, i) {
  const request = { caption, seeds: [i + 1], model: modelMenu.value };
  const labels = { title: caption, "aria-label": `Add what is drawn of: ${caption}` };
  const button = make("button", { type: "button", class: "thumbnail", ...labels });
  const picture = make("img", { alt: "", width: 64, height: 64, src: EMPTY_IMAGE });
  button.disabled = true;
  button.append(picture);
  button.addEventListener("click", async () => addPhoto(await createImageBitmap(picture)));
  const draw = tab.createUpdater(server.draw, () => request, async (_, reply) => {
    if (reply.error && !reply.busy) showNote(photoNote, reply.error);
    if (reply.error) return;
    picture.src = reply.pictures[0];
    button.disabled = false;
    const image = await loadImage(picture.src);
    if (i === 0 && rows.every((row) => row === sampleRow)) sampleRow = addPhoto(image);
  });
  draw();
  return button;
}

// An image once its size is known; 0×0 if it is broken.
async function loadImage(source) {
  const image = new Image();
  await new Promise((resolve) => Object.assign(image, { onload: resolve, onerror: resolve, src: source }));
  return image;
}

// ---- the camera, which is on only while its dialog is open

const cameraDialog = find(".camera");
const cameraNote = find(".camera .note");
const video = find("video");
const shootButton = find(".shoot");

const CAMERA_ERRORS = {
  NotAllowedError: "Your browser does not let this page use the camera. Allow it for this site, then try again.",
  NotFoundError: "There is no camera here.",
  NotReadableError: "The camera cannot be used: another program may have it.",
};

function setStream(stream) {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = stream;
}

find(".take").addEventListener("click", async () => {
  shootButton.disabled = true;
  showNote(cameraNote, "", "Waiting for the camera …");
  cameraDialog.showModal();
  try {
    setStream(await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }));
    if (!cameraDialog.open) setStream(null); // closed while the browser asked
  } catch (error) {
    showNote(cameraNote, CAMERA_ERRORS[error.name] ?? "Your browser lends this page no camera."); // as without https
  }
});

video.addEventListener("loadeddata", () => {
  showNote(cameraNote, "", "The middle is seen; another square can be chosen afterwards.");
  shootButton.disabled = false;
  shootButton.focus();
});

shootButton.addEventListener("click", async () => {
  addPhoto(await createImageBitmap(video));
  cameraDialog.close();
});

cameraDialog.addEventListener("close", () => setStream(null));
cameraDialog.addEventListener("click", ({ target }) => {
  if (target === cameraDialog || target.matches(".close")) cameraDialog.close(); // the former on its backdrop
});

// ---- the crop: drag the photo, or move the sliders

const cropDialog = find(".cropping");
const cropCanvas = find(".crop");
let croppedRow = null;

const CROP_SLIDERS = [
  { name: "x", label: "Across", min: 0, max: 1 },
  { name: "y", label: "Down", min: 0, max: 1 },
  { name: "zoom", label: "Closer", min: 1, max: 4 },
];
const cropSliders = CROP_SLIDERS.map(({ name, label, min, max }) => {
  const id = `t2i-style-crop-${name}`;
  const slider = make("input", { id, type: "range", min, max, step: 0.01 });
  slider.addEventListener("input", () => changeCrop({ [name]: Number(slider.value) }));
  const line = make("div", { class: "row" });
  line.append(make("label", { for: id }, label), slider);
  find(".rows").append(line);
  return { name, slider, min, max };
});

function changeCrop(change) {
  const row = Object.assign(croppedRow, change);
  for (const { name, slider, min, max } of cropSliders) {
    row[name] = clamp(row[name], min, max);
    slider.value = row[name];
    slider.style.setProperty("--at", (2 * (row[name] - min)) / (max - min) - 1);
  }
  const [left, top, side] = squareOf(row);
  const canMove = { x: row.image.width > side, y: row.image.height > side, zoom: true };
  for (const { name, slider } of cropSliders) slider.disabled = !canMove[name];
  cropCanvas.getContext("2d").drawImage(row.image, left, top, side, side, 0, 0, cropCanvas.width, cropCanvas.height);
  showSquare(row);
}

function openCrop(row) {
  croppedRow = row;
  if (row === sampleRow) sampleRow = null; // from now on it is the person's own
  changeCrop({});
  cropDialog.showModal(); // which focuses the first slider that is not disabled
}

onDrag(cropCanvas, (across, down) => {
  const { image, x, y } = croppedRow;
  const side = squareOf(croppedRow)[2];
  const scale = side / cropCanvas.clientWidth; // the photo follows the pointer, so the square moves against it
  const step = (pixels, room) => (room > 0 ? (pixels * scale) / room : 0);
  changeCrop({ x: x - step(across, image.width - side), y: y - step(down, image.height - side) });
});
cropDialog.addEventListener("click", ({ target }) => {
  const isRemove = target.matches(".remove");
  if (isRemove) {
    removeRow(croppedRow);
    showNote(photoNote, "");
  }
  if (isRemove || target === cropDialog || target.matches(".close")) cropDialog.close(); // the second on its backdrop
  if (isRemove) find(".add").focus(); // the button that opened the dialog is gone
});

// ---- the PNG sheet, made of what is on the page

find(".sheet").addEventListener("click", () => {
  const { columns } = getCaptions();
  const pictures = rows.map(({ canvas, images }) => [canvas, ...columns.map((column) => images[column])]);
  const side = Math.max(2 * photoSize, ...rows.flatMap(({ images }) => columns.map((i) => images[i].naturalWidth)));
  const step = side + 4;
  const sheet = make("canvas", { width: (columns.length + 1) * step, height: rows.length * step });
  const context = sheet.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, sheet.width, sheet.height);
  pictures.forEach((line, y) =>
    line.forEach((picture, x) => context.drawImage(picture, x * step, y * step, side, side)),
  );
  make("a", { href: sheet.toDataURL("image/png"), download: `${modelMenu.value}-styles.png` }).click();
});

// ---- the model

function refresh() {
  showSamples();
  captionBoxes.forEach((box) => (box.placeholder = findModel(modelMenu.value).placeholder));
  rows.forEach((row) => row.update());
}

modelMenu.addEventListener("change", () => {
  captionBoxes.forEach((box, i) => {
    if (!box.value || isExample(box.value)) box.value = findModel(modelMenu.value).examples[i] || "";
  });
  refresh();
});

// ---- the tab's state in a link: the captions. Photos stay with their owner: only Recent has their squares, in this
// browser.

const getState = () => captionBoxes.map((box) => ["caption", box.value]);

function restore(query) {
  const linked = query.getAll("caption").map(toSingleLine);
  const captions = linked.length ? linked : findModel(modelMenu.value).examples;
  captionBoxes.forEach((box, i) => (box.value = captions[i] ?? ""));
  refresh();
}

const link = t2i.shareable(tab, getState, restore);

const addRecent = t2i.createRecentAlbum(tab, {
  getQuery: () => [link.getQuery(), new URLSearchParams(rows.map((row) => ["photo", squareSource(row)]))].join("&"),
  go: async (query) => {
    const sources = query.getAll("photo").filter((source) => SQUARE_PATTERN.test(source));
    const images = await Promise.all(sources.slice(0, MAX_PHOTOS).map(loadImage));
    [...rows].forEach(removeRow);
    link.go(query);
    images.filter(({ width, height }) => width === photoSize && height === photoSize).forEach((image) => addPhoto(image));
  },
});

labelRows();
