// The tab "Style": a painting or the camera as a live style, and the paper's Figure 6, photos by captions. All of them are
// reduced here, so that little is sent.

const { EMPTY_IMAGE, MAX_SENT_LENGTH } = t2i;
const { clamp, drawSquare, findModel, isExample, make, onDrag, sendToTab, showNote, statusText, toSingleLine } = t2i;
const tab = t2i.createTab("style", element, server);
const { find, announce, modelMenu } = tab;
const restyle = ({ photo, captions, ...options }) =>
  captions.length ? tab.draw(captions, { photo }, options) : { pictures: [] };

const MAX_PHOTOS = 8;
const SQUARE_PATTERN = /^data:image\/png;base64,[A-Za-z0-9+/=]{1,30000}$/; // the square of a photo, stored by Recent
const photoSize = props.photoSize; // pixels a side of what the style encoder S sees

const captionNote = find("#t2i-style-note");
const photoNote = find(".photo-note");
const table = find("table");

// Without a style encoder, a model is asked for nothing: the note at its menu says why.
const hasStyle = () => findModel(modelMenu.value).has_style_encoder;
const ifStyled = (update) => () => hasStyle() && update();

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
  row.update = ifStyled(tab.createDraftUpdater(restyle, getRequest, (request, reply, isNewest) => {
    if (!rows.includes(row)) return; // removed meanwhile
    tab.showCaptionNote(captionNote, reply);
    if (reply.error) return;
    images.forEach((image, column) => {
      const i = request.columns.indexOf(column);
      image.src = reply.pictures[i] ?? EMPTY_IMAGE;
      image.alt = request.captions[i] ?? "";
    });
    if (!request.captions.length) return;
    find(".status").textContent = statusText(reply);
    if (!isNewest) return;
    if (!isUntouched()) addRecent(reply.pictures[0]);
    announce(`Photo ${rows.indexOf(row) + 1} under ${request.captions.length} captions`);
  }));
  cropButton.addEventListener("click", () => openCrop(row));
  useButton.addEventListener("click", () => useInDraw(squareSource(row)));
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

async function useInDraw(photo) {
  const model = modelMenu.value;
  if (!hasStyle()) return modelMenu.focus(); // its note says why
  const { like: style } = await tab.callWithNote(tab.style, { photo, model }, photoNote);
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
  drawSquare(row.canvas, row.image, ...squareOf(row));
  row.update();
}

// ---- photos from the button, a drop, the clipboard, or drawn by the model

tab.acceptPhotos(photoNote, addPhoto);

function showSamples() {
  find(".samples").replaceChildren(find("#t2i-style-samples"), ...findModel(modelMenu.value).examples.map(createSample));
}

function createSample(caption, i) {
  const model = modelMenu.value;
  const labels = { title: caption, "aria-label": `Add what is drawn of: ${caption}` };
  const button = make("button", { type: "button", class: "thumbnail", ...labels });
  const picture = make("img", { alt: "", width: 64, height: 64, src: EMPTY_IMAGE });
  button.disabled = true;
  button.append(picture);
  button.addEventListener("click", async () => addPhoto(await createImageBitmap(picture)));
  const request = () => tab.draw([caption], { seeds: [i + 1] }, { model });
  const draw = tab.createUpdater(request, () => ({}), async (_, reply) => {
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

// ---- the painting: strokes of blobs on a square paper. A link holds it as text: for each stroke a colour, a brush and
// three digits for each point; brush 0 fills the paper. The server reads it too, for the link's preview.

const { paperSize: PAPER_SIZE, digits: DIGITS, colours: COLOURS, radii: RADII } = props;
const FIRST_PAINTING = "AA.GHgEA.JEgEA"; // a pink blob with a yellow middle on dark green
const MIN_POINT_DISTANCE = 6; // between the points of a stroke
const KEY_STEP = 24;

const paper = find(".paper");
const livePicture = find(".live-picture");
const wordsBox = find("#t2i-style-words");
const wordsNote = find("#t2i-style-words-note");
const brushSlider = find("#t2i-style-brush");
const cursor = find(".cursor");
const square = make("canvas", { width: photoSize, height: photoSize }); // what the style encoder sees
let strokes = [];
let brushPoint = [PAPER_SIZE / 2, PAPER_SIZE / 2]; // of the keyboard

const getSource = () => find("input[name=t2i-style-source]:checked").value;
const getColour = () => Number(find(".palette input:checked").value);

function encodePainting(strokes) {
  const encodePoint = ([x, y]) => {
    const number = PAPER_SIZE * x + y;
    return DIGITS[number >> 12] + DIGITS[(number >> 6) & 63] + DIGITS[number & 63];
  };
  const encode = ({ colour, brush, points }) => DIGITS[colour] + DIGITS[brush] + points.map(encodePoint).join("");
  const start = strokes.findLastIndex(({ brush }) => brush === 0); // it hides all before
  return strokes.slice(Math.max(0, start)).map(encode).join(".");
}

function decodePainting(text) {
  const decode = (part) => {
    const [colour, brush, ...digits] = [...part].map((digit) => DIGITS.indexOf(digit));
    const points = [];
    for (let i = 0; i + 2 < digits.length; i += 3) {
      const number = (digits[i] << 12) | (digits[i + 1] << 6) | digits[i + 2];
      points.push([number >> 9, number & (PAPER_SIZE - 1)]);
    }
    return { colour, brush, points };
  };
  const isInside = (points) => points.length > 0 && points.every(([x]) => x >= 0); // else not of DIGITS
  const isValid = ({ colour, brush, points }) => COLOURS[colour] && (brush === 0 || (RADII[brush] && isInside(points)));
  return text.slice(0, props.maxPaintingLength).split(".", props.maxStrokes).map(decode).filter(isValid);
}

function paintStroke({ colour, brush, points }) {
  const context = paper.getContext("2d");
  context.fillStyle = context.strokeStyle = COLOURS[colour][1];
  if (brush === 0) return context.fillRect(0, 0, PAPER_SIZE, PAPER_SIZE);
  context.lineWidth = 2 * RADII[brush];
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  points.forEach(([x, y]) => context.lineTo(x, y));
  const [x, y] = points.at(-1);
  context.lineTo(x, y + 0.01); // one point alone is a blob
  context.stroke();
}

function setPainting(newStrokes) {
  strokes = newStrokes;
  find(".undo").disabled = !strokes.length;
  if (getSource() === "camera") return;
  paintStroke({ colour: COLOURS.findIndex(([name]) => name === "White"), brush: 0, points: [] });
  strokes.forEach(paintStroke);
  showLive();
}

const addStroke = (stroke) => setPainting([...strokes, stroke]);

// A stroke follows the pointer. Points close to the last are left out.
function toPaper(event) {
  const { left, top, width, height } = paper.getBoundingClientRect();
  const place = [(event.clientX - left) / width, (event.clientY - top) / height];
  return place.map((share) => Math.round(clamp(PAPER_SIZE * share, 0, PAPER_SIZE - 1)));
}

// Only the first finger paints, and not on the camera's picture.
const canPaint = (event) => event.isPrimary && getSource() !== "camera";

paper.addEventListener("pointerdown", (event) => {
  if (!canPaint(event) || event.button) return;
  event.preventDefault(); // focus by pointer would show the brush of the keyboard
  paper.setPointerCapture(event.pointerId);
  addStroke({ colour: getColour(), brush: Number(brushSlider.value), points: [toPaper(event)] });
});
paper.addEventListener("pointermove", (event) => {
  if (!canPaint(event) || !paper.hasPointerCapture(event.pointerId)) return;
  const stroke = strokes.at(-1);
  for (const one of event.getCoalescedEvents?.() ?? [event]) {
    const point = toPaper(one);
    const [x, y] = stroke.points.at(-1);
    if (Math.hypot(point[0] - x, point[1] - y) >= MIN_POINT_DISTANCE) stroke.points.push(point);
  }
  paintStroke(stroke);
  showLive();
});

paper.addEventListener("lostpointercapture", () => setPainting(strokes)); // painted at once, as a link will paint it

paper.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const isPaint = event.key === " " || event.key === "Enter";
  if (getSource() === "camera" || !(step || isPaint)) return;
  event.preventDefault();
  if (isPaint) return addStroke({ colour: getColour(), brush: Number(brushSlider.value), points: [[...brushPoint]] });
  brushPoint = brushPoint.map((value, i) => clamp(value + KEY_STEP * step[i], 0, PAPER_SIZE - 1));
  showCursor();
});

function showCursor() {
  const [left, top] = brushPoint.map((value) => `${(100 * value) / PAPER_SIZE}%`);
  const width = `${(200 * RADII[brushSlider.value]) / PAPER_SIZE}%`;
  Object.assign(cursor.style, { left, top, width, background: COLOURS[getColour()][1] });
  brushSlider.style.setProperty("--at", (2 * (brushSlider.value - 1)) / 7 - 1);
}

find(".palette").append(
  ...COLOURS.map(([name, colour], i) => {
    const swatch = make("input", { type: "radio", name: "t2i-style-colour", value: i, "aria-label": name, title: name });
    swatch.style.setProperty("--colour", colour);
    swatch.checked = name === "Pink";
    return swatch;
  }),
);
find(".brush").addEventListener("input", showCursor);
find(".fill").addEventListener("click", () => addStroke({ colour: getColour(), brush: 0, points: [] }));
find(".undo").addEventListener("click", () => setPainting(strokes.slice(0, -1)));
find(".surprise").addEventListener("click", () => {
  const choose = (from, to) => from + Math.floor(Math.random() * (to - from + 1));
  const [subject, middle] = [choose(6, 11), choose(4, 11)];
  const points = [[choose(130, 380), choose(130, 380)]];
  setPainting([
    { colour: choose(0, 5), brush: 0, points: [] },
    { colour: subject, brush: choose(4, 8), points },
    { colour: middle === subject ? 4 : middle, brush: choose(1, 3), points },
  ]);
});
showCursor();

// ---- the live picture: the caption in the style of the painting, or of what the camera sees

const getLiveRequest = () => ({
  photo: square.toDataURL("image/png"),
  captions: [wordsBox.value.slice(0, MAX_SENT_LENGTH)],
  model: modelMenu.value,
});

const updateLive = ifStyled(tab.createUpdater(restyle, getLiveRequest, (request, reply, isNewest) => {
  tab.showCaptionNote(wordsNote, reply);
  wordsBox.setAttribute("aria-invalid", String(Boolean(reply.error)));
  if (reply.error) return;
  livePicture.src = reply.pictures[0];
  livePicture.alt = request.captions[0];
  find(".status").textContent = statusText(reply);
  if (!isNewest || getSource() === "camera") return;
  if (encodePainting(strokes) !== FIRST_PAINTING) addRecent(reply.pictures[0]);
  announce(`Drawn in the style of the painting: ${request.captions[0]}`);
}));

function showLive() {
  drawSquare(square, paper, 0, 0, PAPER_SIZE);
  updateLive();
}

livePicture.src = EMPTY_IMAGE;
wordsBox.addEventListener("input", updateLive);
find(".keep").addEventListener("click", async () => addPhoto(await createImageBitmap(paper)));
find(".use-live").addEventListener("click", () => useInDraw(square.toDataURL("image/png")));

// ---- the camera, which is on only while it is seen

const cameraNote = find(".camera-note");
const video = make("video", { muted: "", playsinline: "" });
video.muted = true; // else it may not play by itself

const HINTS = {
  paint: find(".hint").textContent,
  camera: "Hold something up. The picture takes its size, position and background.",
};
const CAMERA_ERRORS = {
  NotAllowedError: "Your browser blocks the camera. Allow it for this site, then try again.",
  NotFoundError: "There is no camera here.",
  NotReadableError: "The camera is busy: another program may be using it.",
};

function setStream(stream) {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = stream;
}

async function changeSource() {
  const isCamera = getSource() === "camera";
  find(".studio").classList.toggle("from-camera", isCamera);
  find(".hint").textContent = HINTS[getSource()];
  showNote(cameraNote, "");
  paper.setAttribute("aria-label", isCamera ? "What the camera sees" : "Painting");
  if (!isCamera) {
    setStream(null);
    return setPainting(strokes);
  }
  showNote(cameraNote, "", "Waiting for the camera …");
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: PAPER_SIZE } });
    setStream(stream);
    if (getSource() !== "camera") return setStream(null); // left while the browser asked
    await video.play();
    showNote(cameraNote, "");
    showFrame(stream);
  } catch (error) {
    if (getSource() !== "camera") return;
    stopCamera();
    showNote(cameraNote, CAMERA_ERRORS[error.name] ?? "This page has no access to a camera."); // as without https
  }
}

function stopCamera() {
  find("input[value=paint]").checked = true;
  changeSource();
}

// The middle of each frame, as in a mirror.
function showFrame(stream) {
  if (video.srcObject !== stream) return;
  if (!tab.isOpen()) return stopCamera();
  const { videoWidth: width, videoHeight: height } = video;
  const side = Math.min(width, height);
  const context = paper.getContext("2d");
  context.setTransform(-1, 0, 0, 1, PAPER_SIZE, 0);
  context.drawImage(video, (width - side) / 2, (height - side) / 2, side, side, 0, 0, PAPER_SIZE, PAPER_SIZE);
  context.resetTransform();
  showLive();
  requestAnimationFrame(() => showFrame(stream));
}

find(".modes").addEventListener("change", changeSource);
document.addEventListener("visibilitychange", () => document.hidden && video.srcObject && stopCamera());

// ---- the crop: drag the photo, or move the sliders

const cropDialog = find(".cropping");
const cropCanvas = find(".crop");
let croppedRow = null;

const CROP_SLIDERS = [
  { name: "x", label: "Position across", min: 0, max: 1 },
  { name: "y", label: "Position down", min: 0, max: 1 },
  { name: "zoom", label: "Zoom", min: 1, max: 4 },
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
  drawSquare(cropCanvas, row.image, left, top, side);
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

// ---- the sheet, made of what is on the page: a row of captions, then a row for each photo

const SHEET_SIDE = 256; // pixels of a picture, or its own if that is more
const SHEET_GAP = 8;
const SHEET_LINE = 24;
const SHEET_FONT = "19px system-ui, sans-serif";

// A text in lines that are no wider than `width`.
function wrapText(context, text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (context.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.filter(Boolean);
}

find(".sheet").addEventListener("click", () => {
  const { columns, captions, model } = getCaptions();
  const pictures = rows.map(({ canvas, images }) => [canvas, ...columns.map((column) => images[column])]);
  const side = Math.max(SHEET_SIDE, ...rows.flatMap(({ images }) => columns.map((i) => images[i].naturalWidth)));
  const step = side + SHEET_GAP;
  const sheet = make("canvas", { width: (columns.length + 1) * step + SHEET_GAP });
  const context = sheet.getContext("2d");
  context.font = SHEET_FONT;
  const heads = captions.map((caption) => wrapText(context, toSingleLine(caption), side));
  const top = SHEET_GAP + SHEET_LINE * Math.max(0, ...heads.map(({ length }) => length)) + SHEET_GAP;
  sheet.height = top + rows.length * step; // which also clears the canvas
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, sheet.width, sheet.height);
  context.fillStyle = "#1d1a18";
  context.font = SHEET_FONT;
  heads.forEach((lines, x) =>
    lines.forEach((line, y) =>
      context.fillText(line, SHEET_GAP + (x + 1) * step, top - SHEET_GAP - SHEET_LINE * (lines.length - 1 - y), side),
    ),
  );
  pictures.forEach((line, y) =>
    line.forEach((picture, x) => context.drawImage(picture, SHEET_GAP + x * step, top + y * step, side, side)),
  );
  const time = new Date().toISOString().slice(0, 19).replace(/[-:]/g, "");
  make("a", { href: sheet.toDataURL("image/png"), download: `${model}-styles-${time}.png` }).click();
});

// ---- the model

function showPrivacy() {
  element.firstElementChild.classList.toggle("on-device", t2i.local.keepsPhotos(modelMenu.value));
}

function refresh() {
  showPrivacy();
  const { title } = findModel(modelMenu.value);
  const reason = `${title} cannot follow a picture's style: it has no style encoder. Choose another model.`;
  showNote(find("#t2i-style-model-note"), hasStyle() ? "" : reason);
  find(".t2i-style").classList.toggle("has-no-style", !hasStyle());
  showSamples();
  updateLive();
  [wordsBox, ...captionBoxes].forEach((box) => (box.placeholder = findModel(modelMenu.value).placeholder));
  rows.forEach((row) => row.update());
}

modelMenu.addEventListener("change", () => {
  const { examples } = findModel(modelMenu.value);
  [wordsBox, ...captionBoxes].forEach((box, i) => {
    if (!box.value || isExample(box.value)) box.value = examples[Math.max(0, i - 1)] || "";
  });
  refresh();
});

// ---- the tab's state in a link: the captions and the painting, which comes last: what a link cannot hold is cut off
// there. Photos stay with their owner: only Recent has their squares, in this browser.

const getState = () => [
  ...captionBoxes.map((box) => ["caption", box.value]),
  ["words", wordsBox.value],
  ["paint", encodePainting(strokes)],
];

const getOmission = () =>
  rows.some((row) => row !== sampleRow) ? "Your photos stay here: the link brings the words and the painting." : "";

function restore(query) {
  const linked = query.getAll("caption").map(toSingleLine);
  const captions = linked.length ? linked : findModel(modelMenu.value).examples;
  captionBoxes.forEach((box, i) => (box.value = captions[i] ?? ""));
  wordsBox.value = toSingleLine(query.get("words") ?? captions[0] ?? "");
  setPainting(decodePainting(query.get("paint") ?? FIRST_PAINTING));
  refresh();
}

const link = t2i.shareable(tab, getState, restore, getOmission);

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

t2i.local.onChange(showPrivacy);
labelRows();
tab.focusFirst(wordsBox);
