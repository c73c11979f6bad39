// The tab "Search". The server embeds photos and captions in one space. The embeddings are kept and compared here: no
// photo is sent twice, and a letter typed costs one caption.

const { EMPTY_IMAGE, MAX_SENT_LENGTH } = t2i;
const { drawSquare, findModel, initialState, isExample, make, percent, sendToTab, showNote, toSingleLine } = t2i;
const tab = t2i.createTab("search", element, server);
const { find, announce, modelMenu } = tab;

const MAX_PHOTOS = 200;
const NUM_RESULTS = 20;
const NUM_CAPTIONS = 5; // of the chosen picture
const photoSize = props.photoSize; // pixels a side of what the image encoder sees

const panel = find(".t2i-search");
const captionBox = find("#t2i-search-caption");
const captionNote = find("#t2i-search-note");
const ownCaptionsBox = find("#t2i-search-own");
const photoNote = find(".photo-note");
const progress = find("progress");

// Pictures {source, name, embedding}; a photo has no embedding until the server has sent it.
const pictures = { drawn: [], own: [] };
const getSource = () => find("input[name=t2i-search-source]:checked").value;
const getSearched = () => pictures[getSource()].filter(({ embedding }) => embedding);

let calibration = [0, 0]; // of the model: slope and offset of the log-odds of a match as a function of the cosine
let captionEmbedding = null;
let rankedCaptions = []; // {text, embedding}
let chosen = null; // the picture that a person chose; without one, the best is described
let linkedChoice = null; // the choice of a link among the drawn pictures, by place

// ---- embeddings

function decodeEmbeddings(base64, count) {
  const numbers = new Float32Array(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer);
  const size = numbers.length / count;
  return Array.from({ length: count }, (_, i) => numbers.subarray(i * size, (i + 1) * size));
}

function computeMatch(a, b) {
  const cosine = a.reduce((sum, number, i) => sum + number * b[i], 0);
  return 1 / (1 + Math.exp(-(calibration[0] * cosine + calibration[1])));
}

// Items with their match, the best first.
const rank = (items, embedding) =>
  items
    .map((item) => ({ item, match: computeMatch(item.embedding, embedding) }))
    .sort((a, b) => b.match - a.match);

// ---- words to pictures

const getRequest = () => ({ captions: [captionBox.value.slice(0, MAX_SENT_LENGTH)], model: modelMenu.value });
const update = tab.createUpdater(server.embed_captions, getRequest, (request, reply, isNewest) => {
  tab.showCaptionNote(captionNote, reply);
  captionBox.setAttribute("aria-invalid", String(Boolean(reply.error)));
  panel.classList.toggle("is-unreadable", Boolean(reply.error) && !reply.busy);
  if (reply.error) return;
  panel.classList.toggle("has-unknown-words", Boolean(reply.hint)); // they say nothing of a match
  tab.showSuggestedModel(reply.elsewhere);
  [captionEmbedding] = decodeEmbeddings(reply.embeddings, 1);
  showResults();
  const [best] = results;
  if (isNewest && best) {
    announce(reply.hint || `The best for ${request.captions[0]}: ${best.item.name}, match ${percent(best.match)}`);
  }
});

const tiles = Array.from({ length: NUM_RESULTS }, (_, i) => {
  const item = make("li");
  const label = make("label");
  const radio = make("input", { type: "radio", name: "t2i-search-result" });
  const image = make("img", { alt: "", width: photoSize, height: photoSize, decoding: "sync" });
  const meter = make("span", { class: "meter" });
  radio.addEventListener("change", () => {
    chosen = results[i].item;
    showChosen();
  });
  label.append(radio, image, meter);
  item.append(label);
  find(".results").append(item);
  return { item, radio, image, meter };
});

let results = [];
const getDescribed = () => chosen || results[0]?.item;

function showResults() {
  results = captionEmbedding ? rank(getSearched(), captionEmbedding).slice(0, NUM_RESULTS) : [];
  tiles.forEach(({ item, image, meter }, i) => {
    item.hidden = !results[i];
    if (!results[i]) return;
    image.src = results[i].item.source;
    image.alt = results[i].item.name;
    showMatch(meter, results[i].match);
  });
  const count = getSearched().length;
  const isDrawn = getSource() === "drawn";
  find(".empty").hidden = isDrawn || pictures.own.length > 0;
  const kind = isDrawn ? "pictures drawn by the model" : "of your photos";
  find(".status").textContent = count ? `${count} ${kind}, the best first` : "\u00a0";
  showChosen();
}

function showMatch(meter, match) {
  meter.textContent = percent(match);
  meter.style.setProperty("--match", match);
}

// ---- a picture to captions

function showChosen() {
  const picture = getDescribed();
  tiles.forEach(({ radio }, i) => (radio.checked = Boolean(picture) && results[i]?.item === picture));
  find(".chosen img").src = picture?.source ?? EMPTY_IMAGE;
  find(".chosen img").alt = picture?.name ?? "";
  find(".picture-name").textContent = picture?.name ?? "";
  find(".remove").hidden = !pictures.own.includes(picture);
  find(".chosen").hidden = find(".captions").hidden = find(".help").hidden = !picture;
  const best = picture ? rank(rankedCaptions, picture.embedding).slice(0, NUM_CAPTIONS) : [];
  captionLines.forEach(({ line, text, meter, drawButton }, i) => {
    line.style.visibility = best[i] ? "visible" : "hidden";
    if (!best[i]) return;
    text.textContent = best[i].item.text;
    drawButton.setAttribute("aria-label", `Draw “${best[i].item.text}”`);
    showMatch(meter, best[i].match);
  });
}

const captionLines = Array.from({ length: NUM_CAPTIONS }, () => {
  const line = make("li");
  const text = make("span", { class: "text" });
  const meter = make("span", { class: "meter" });
  const drawButton = make("button", { type: "button", class: "button" }, "Draw");
  drawButton.addEventListener("click", () => drawCaption(text.textContent));
  line.append(text, meter, drawButton);
  find(".captions").append(line);
  return { line, text, meter, drawButton };
});

const drawCaption = (caption) => sendToTab("draw", { caption, model: modelMenu.value });
find(".draw-caption").addEventListener("click", () => drawCaption(captionBox.value));

const getOwnCaptions = () =>
  ownCaptionsBox.value.split("\n").filter((line) => line.trim()).map((line) => line.slice(0, MAX_SENT_LENGTH));

function getRankedRequest() {
  const own = getOwnCaptions().slice(0, props.maxCaptions);
  return { ...(own.length && { captions: own, with_own: true }), model: modelMenu.value };
}

const updateCaptions = tab.createUpdater(server.embed_captions, getRankedRequest, (_, reply) => {
  showNote(find("#t2i-search-own-note"), reply.error, reply.note);
  if (reply.error) return;
  const embeddings = decodeEmbeddings(reply.embeddings, reply.captions.length);
  rankedCaptions = reply.captions.map((text, i) => ({ text, embedding: embeddings[i] }));
  showChosen();
});

// ---- pictures that the model draws

async function loadGallery() {
  const model = modelMenu.value;
  const reply = await callPatiently(server.gallery, { model });
  if (modelMenu.value !== model) return;
  if (reply.error) return showNote(photoNote, reply.error);
  const embeddings = decodeEmbeddings(reply.embeddings, reply.pictures.length);
  calibration = reply.calibration;
  pictures.drawn = reply.pictures.map((source, i) => {
    return { source, name: `drawn by the model from “${reply.captions[i]}”`, embedding: embeddings[i] };
  });
  chosen = pictures.drawn.find((_, i) => String(i) === linkedChoice) ?? null;
  showResults();
}

// ---- photos

async function addPhoto(image, name, numFollowing) {
  if (pictures.own.length >= MAX_PHOTOS) return showNote(photoNote, `At most ${MAX_PHOTOS} photos. Remove one first.`);
  find("input[value=own]").checked = true;
  pictures.own.push({ source: centralSquare(image), name, embedding: null });
  image.close();
  if (getNewPhotos().length >= props.photosPerRequest) await embedNewPhotos(numFollowing);
}

// The central square, as the image encoder sees it.
function centralSquare(image) {
  const canvas = make("canvas", { width: photoSize, height: photoSize });
  const side = Math.min(image.width, image.height);
  drawSquare(canvas, image, (image.width - side) / 2, (image.height - side) / 2, side);
  return canvas.toDataURL("image/png");
}

// The photo that takes its place is chosen next.
find(".remove").addEventListener("click", () => {
  const photo = getDescribed();
  const place = Math.max(results.findIndex(({ item }) => item === photo), 0);
  pictures.own.splice(pictures.own.indexOf(photo), 1);
  showNote(photoNote, "");
  showResultsAnew();
  const next = Math.min(place, results.length - 1);
  chosen = results[next]?.item ?? null;
  showChosen();
  (tiles[next]?.radio ?? find(".add")).focus(); // for the keyboard: the button may be gone
  announce(`Removed: ${photo.name}`);
});

const getNewPhotos = () => pictures.own.filter(({ embedding }) => !embedding);

// Send the photos without an embedding to the server, some at a time.
async function embedNewPhotos(numFollowing = 0) {
  const model = modelMenu.value;
  while (getNewPhotos().length && modelMenu.value === model) {
    const photos = getNewPhotos().slice(0, props.photosPerRequest);
    progress.hidden = false;
    progress.max = pictures.own.length + numFollowing;
    progress.value = pictures.own.length - getNewPhotos().length;
    const request = { photos: photos.map(({ source }) => source), model };
    const reply = await callPatiently(server.embed_photos, request);
    if (modelMenu.value !== model) break;
    if (reply.error) return showNote(photoNote, reply.error);
    calibration = reply.calibration;
    decodeEmbeddings(reply.embeddings, photos.length).forEach((embedding, i) => (photos[i].embedding = embedding));
    showResults();
  }
  progress.hidden = !numFollowing;
}

// An answer, however long it takes. The note says why it waits; once nothing waits any more, its old text comes back.
let numWaiting = 0;
let oldNote = "";
async function callPatiently(call, request) {
  let isWaiting = false;
  const reply = await tab.callUntilAnswered(call, request, (reason) => {
    if (!isWaiting && !numWaiting++) oldNote = photoNote.textContent;
    isWaiting = true;
    showNote(photoNote, reason);
  });
  if (isWaiting && !--numWaiting) showNote(photoNote, oldNote);
  return reply;
}

// ---- the model

function showResultsAnew() {
  chosen = null;
  showResults();
}

const enableDrawing = () => (find(".draw-caption").disabled = !captionBox.value.trim());

function showModel() {
  enableDrawing();
  const { title, has_image_encoder: hasImageEncoder, placeholder } = findModel(modelMenu.value);
  captionBox.placeholder = ownCaptionsBox.placeholder = placeholder;
  pictures.drawn = [];
  pictures.own.forEach((photo) => (photo.embedding = null));
  captionEmbedding = null;
  rankedCaptions = [];
  showResultsAnew();
  showNote(captionNote, hasImageEncoder ? "" : `${title} cannot see pictures: it has no image encoder.`);
  if (!hasImageEncoder) return;
  loadGallery();
  update();
  updateCaptions();
  embedNewPhotos();
}

captionBox.addEventListener("input", update);
captionBox.addEventListener("input", enableDrawing);
ownCaptionsBox.addEventListener("input", updateCaptions);
find(".source").addEventListener("change", showResultsAnew);
modelMenu.addEventListener("change", () => {
  const isOwn = captionBox.value && !isExample(captionBox.value);
  if (!isOwn) captionBox.value = findModel(modelMenu.value).examples[0] || "";
  linkedChoice = null;
  showModel();
});
tab.acceptPhotos(photoNote, addPhoto, () => embedNewPhotos());

// ---- the tab's state in a link: the caption, what is searched, which drawn picture is chosen, and a person's own
// captions. Photos stay with their owner.

function getState() {
  const place = pictures.drawn.indexOf(chosen);
  return [
    ["caption", captionBox.value],
    ["where", getSource()],
    ...(place < 0 ? [] : [["chosen", place]]),
    ...getOwnCaptions().map((caption) => ["own", caption]),
  ];
}

function restore(query) {
  const model = modelMenu.value;
  const caption = query.get("caption") ?? initialState(model).caption ?? findModel(model).examples[0] ?? "";
  captionBox.value = toSingleLine(caption);
  ownCaptionsBox.value = query.getAll("own").slice(0, props.maxCaptions).map(toSingleLine).join("\n");
  find(`input[value=${query.get("where") === "own" ? "own" : "drawn"}]`).checked = true;
  linkedChoice = query.get("chosen");
  showModel();
}

const getOmission = () =>
  getSource() === "own" && pictures.own.length ? "Your photos stay here: the link brings the words." : "";

t2i.shareable(tab, getState, restore, getOmission);
tab.focusFirst(captionBox);
