// Draws in a worker on the visitor's machine, with onnxruntime-web. Each message is {number, verb, …}; each reply has its
// number and `answer`, {fetched} while a download goes on, {part} of the pictures while more are drawn, or `error`, after
// which nothing more is drawn.
// It computes what `Studio` computes (t2i/studio.py) with the numbers of the model's manifest (t2i/onnx.py), and answers
// null where only the server can: then the page asks it.

const MAX_BATCH = 16; // pictures in one pass, which bounds the memory
const MAX_BLOCKS = 64; // of noise in memory, 51 kB each
const MAX_EMBEDDINGS = 256;
const WARM_UP = 400; // ms
const SESSION_OPTIONS = { extra: { session: { intra_op: { allow_spinning: "0" } } } }; // a thread that waits gives way
const BMP_HEADER = 54; // bytes

const models = new Map(); // by name: {manifest, sessions by role, embeddings by caption}
const blocks = new Map(); // by size and number: a promise of the noise of 128 seeds
let ort; // onnxruntime-web
let root; // where everything is fetched

// ---- what is fetched

class ServerAway extends Error {}

async function get(path) {
  const response = await fetch(root + path).catch(() => null);
  if (!response?.ok) throw new ServerAway();
  return response;
}

const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// The bytes at a path, which must have the hash; `count(bytes)` is told of each part.
async function fetchBytes(path, { bytes, sha256 }, count) {
  const data = new Uint8Array(bytes);
  const reader = (await get(path)).body.getReader();
  let size = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (size + part.value.length > bytes) throw new Error("a file is damaged");
    data.set(part.value, size);
    size += part.value.length;
    count(part.value.length);
  }
  if (hex(await crypto.subtle.digest("SHA-256", data)) !== sha256) throw new Error("a file is damaged");
  return data;
}

async function load({ model, root: address, threads }, tell) {
  root = address;
  const manifest = await (await get(`models/${model}/manifest.json`)).json();
  const { runtime, networks } = manifest;
  const total = Object.values(networks).reduce((sum, { bytes }) => sum + bytes, ort ? 0 : runtime.sent);
  let loaded = 0;
  const count = (bytes) => tell({ fetched: { loaded: (loaded += bytes), total } });
  count(0);
  if (!ort) {
    const share = runtime.sent / runtime.bytes; // it comes compressed
    const wasmBinary = await fetchBytes(`${location.pathname.split("/").at(-2)}/ort.wasm`, runtime, (n) => count(n * share));
    ort = await import(new URL("ort.mjs", location.href).href);
    Object.assign(ort.env.wasm, { wasmBinary, numThreads: threads });
  }
  const sessions = {};
  for (const [role, entry] of Object.entries(networks)) {
    const data = await fetchBytes(`models/${model}/${entry.file}`, entry, count);
    sessions[role] = await ort.InferenceSession.create(data, SESSION_OPTIONS);
  }
  models.set(model, { manifest, sessions, words: new Set(manifest.words.split(" ").filter(Boolean)), embeddings: new Map() });
  return { ms: await measure(models.get(model)) };
}

// Milliseconds per picture, once the runtime is warm.
async function measure(model) {
  const { noise, embedding } = model.manifest;
  const first = performance.now();
  let best = Infinity;
  while (performance.now() - first < WARM_UP) {
    const start = performance.now();
    await render(model, [new Float32Array(noise)], [new Float32Array(embedding)]);
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

// ---- captions

function normalizeCharacter(character, { alphabet, undivided_letters: undividedLetters }) {
  if (alphabet.includes(character)) return character;
  if (/\s/.test(character)) return " ";
  if (/[\p{Cf}\p{Mn}]/u.test(character)) return "";
  if (!/[\p{L}\p{N}！-～]/u.test(character)) return character;
  const parts = undividedLetters[character] ?? character.normalize("NFKD").toLowerCase();
  const letters = parts.replace(/\p{Mn}/gu, "");
  return letters && [...letters].every((letter) => alphabet.includes(letter) && letter !== '"') ? letters : character;
}

function normalizeCaption(caption, reading) {
  const plain = Array.from(caption.toLowerCase(), (character) => normalizeCharacter(character, reading)).join("");
  return plain.replace(/(?<=[\p{L}\p{N}_])\P{L}(?=[\p{L}\p{N}_])/gu, (sign) => reading.word_joiners[sign] ?? sign);
}

// A caption as the text encoder reads it; null if only the server can say what is wrong with it.
function readCaption(caption, { length, reading }) {
  const line = normalizeCaption(caption.split(/\s+/).filter(Boolean).join(" "), reading);
  return /[a-z]/.test(line) && [...line].length <= length ? line : null;
}

// Whether so many words are unknown that the server says so.
function hasUnknownWords(line, { words, manifest }) {
  if (!words.size) return false;
  const all = line.match(/[a-z]+/g);
  const unknown = all.filter((word) => !words.has(word));
  const last = unknown.at(-1);
  if (last && line.endsWith(last) && [...words].some((word) => word.startsWith(last))) unknown.pop(); // still typed
  return unknown.length > 0 && unknown.length >= manifest.reading.min_unknown_share * all.length;
}

async function embed({ manifest, sessions, embeddings }, line) {
  const known = embeddings.get(line);
  if (known) return known;
  const characters = Array.from(line);
  const { alphabet, step_stride: stride, receptive_field: field } = manifest.reading;
  const steps = Math.ceil(characters.length / stride); // the rest would be padding
  const codes = new Int32Array(Math.min(manifest.length, stride * (steps - 1) + field));
  characters.forEach((character, i) => (codes[i] = alphabet.indexOf(character) + 1));
  const { h } = await sessions.text_encoder.run({ codes: new ort.Tensor("int32", codes, [1, codes.length]) });
  if (embeddings.size >= MAX_EMBEDDINGS) embeddings.delete(embeddings.keys().next().value);
  embeddings.set(line, h.data);
  return h.data;
}

const mix = (rows, weights) => rows[0].map((_, i) => rows.reduce((sum, row, j) => sum + weights[j] * row[i], 0));

// Captions as the server mixes them: centred on the mean caption, if the model has one (t2i/engine/mixing.py).
function mixCaptions({ caption_mean: mean }, rows, weights) {
  const mixed = mix(rows, weights);
  if (!mean || Math.max(...weights) >= 1) return mixed;
  const distance = (row) => Math.sqrt(row.reduce((sum, value, i) => sum + (value - mean[i]) ** 2, 0));
  const wanted = rows.reduce((sum, row, j) => sum + weights[j] * distance(row), 0);
  const scale = wanted / Math.max(1e-6, distance(mixed));
  return mixed.map((value, i) => mean[i] + scale * (value - mean[i]));
}

// ---- noise

async function noiseOf(seed, { noise: size, seeds_per_block: perBlock }) {
  const name = `${size}/${Math.floor(seed / perBlock)}`;
  if (!blocks.has(name)) {
    if (blocks.size >= MAX_BLOCKS) blocks.delete(blocks.keys().next().value);
    blocks.set(name, get(`noise/${name}`).then((response) => response.arrayBuffer()));
    blocks.get(name).catch(() => blocks.delete(name));
  }
  const block = new Float32Array(await blocks.get(name));
  const start = (seed % perBlock) * size;
  return block.subarray(start, start + size);
}

// Of a point on the plane of seeds.
async function noiseAt(seed, [across, down] = [0, 0], manifest) {
  if (!across && !down) return noiseOf(seed, manifest);
  const weights = [(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down];
  const { seeds_per_row: perRow } = manifest;
  const corners = await Promise.all([0, 1, perRow, perRow + 1].map((step) => noiseOf(seed + step, manifest)));
  return mix(corners, weights.map((weight) => weight / Math.hypot(...weights)));
}

function readStyle(text, { style_step: step }) {
  const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  return Float32Array.from(new Int8Array(bytes.buffer), (level) => level * step);
}

function writeStyle(z, { style_step: step }) {
  const levels = Int8Array.from(z, (value) => Math.min(127, Math.max(-128, Math.round(value / step))));
  const text = btoa(String.fromCharCode(...new Uint8Array(levels.buffer)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

// The noise of each picture of Draw, without its style, variety and attributes.
const noiseOfAll = ({ seeds, at }, manifest) => Promise.all(seeds.map((seed, i) => noiseAt(seed, at?.[i], manifest)));

// What the attributes add to z.
const attributeOffset = ({ directions }, { attributes = [] }) =>
  mix(directions, directions.map((_, i) => attributes[i] ?? 0));

// The noise z of each picture of Draw.
async function latents(manifest, noise, options) {
  const { variety = 1 } = options;
  const offset = attributeOffset(manifest, options);
  const mean = noise.like && readStyle(noise.like, manifest);
  const rest = mean && Math.sqrt(Math.max(0, 1 - mean.reduce((sum, value) => sum + value ** 2, 0) / mean.length));
  const rows = await noiseOfAll(noise, manifest);
  return rows.map((row) => row.map((value, i) => variety * value * (rest ?? 1) + (mean?.[i] ?? 0) + offset[i]));
}

// ---- children of two pictures, as t2i/breeding.py has them

const ERROR_FUNCTION = [0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429]; // Abramowitz, Stegun 7.1.26

// A standard normal number as one uniform between 0 and 1, to 10⁻⁷.
function uniform(normal) {
  const t = 1 / (1 + (0.3275911 * Math.abs(normal)) / Math.SQRT2);
  const tail = ERROR_FUNCTION.reduceRight((sum, factor) => (sum + factor) * t, 0) * Math.exp(-(normal ** 2) / 2);
  return normal < 0 ? tail / 2 : 1 - tail / 2;
}

// {z, weights of captions} of the child that a row of noise decides.
function child(parents, noise, mutation, { max_captions: maxCaptions }) {
  const size = noise.length;
  const [mother, father] = parents.map(({ z }) => z);
  const z = noise.map((value, i) => {
    const share = uniform(noise[(i + size - Math.floor(size / 2)) % size]);
    const mixed = (share * mother[i] + (1 - share) * father[i]) / Math.hypot(share, 1 - share);
    return Math.sqrt(1 - mutation) * mixed + Math.sqrt(mutation) * value;
  });
  const share = uniform(noise.reduce((sum, value) => sum + value, 0) / Math.sqrt(size));
  const weights = new Map();
  parents.forEach((parent, i) => {
    const own = i ? 1 - share : share;
    parent.weights.forEach((weight, caption) => weights.set(caption, (weights.get(caption) ?? 0) + own * weight));
  });
  return { z, weights: normalized([...weights].sort((a, b) => b[1] - a[1]).slice(0, maxCaptions)) };
}

// Pairs of captions and weights as a map whose weights sum to 1.
function normalized(pairs) {
  const sum = pairs.reduce((sum, [, weight]) => sum + weight, 0);
  return new Map(pairs.map(([caption, weight]) => [caption, weight / sum]));
}

const readParent = ({ captions, weights, z }, manifest) => ({
  z: readStyle(z, manifest),
  weights: normalized(captions.slice(0, manifest.max_captions).map((caption, i) => [caption, weights[i] || 0])),
});

// ---- photos

async function readPhoto(source) {
  const image = await createImageBitmap(await (await fetch(source)).blob());
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  return data.filter((_, i) => i % 4 < 3);
}

// The z of a photo's style; null if the model has no style encoder.
async function invert({ sessions }, photo) {
  if (!sessions.style_encoder) return null;
  const pixels = new Uint8Array(await readPhoto(photo));
  const side = Math.sqrt(pixels.length / 3);
  const { z } = await sessions.style_encoder.run({ pixels: new ort.Tensor("uint8", pixels, [1, side, side, 3]) });
  return z.data;
}

// ---- pictures

// Pixels, S×S×3 for each row of noise and embedding.
async function render({ manifest: { size, noise, embedding }, sessions }, zs, hs) {
  const pictures = [];
  for (let start = 0; start < zs.length; start += MAX_BATCH) {
    const join = (rows, width) => {
      const part = rows.slice(start, start + MAX_BATCH);
      const data = new Float32Array(part.length * width);
      part.forEach((row, i) => data.set(row, i * width));
      return new ort.Tensor("float32", data, [part.length, width]);
    };
    const { pixels } = await sessions.generator.run({ z: join(zs, noise), h: join(hs, embedding) });
    const length = size * size * 3;
    for (let i = 0; i < pixels.data.length; i += length) pictures.push(pixels.data.subarray(i, i + length));
  }
  return pictures;
}

// The bytes of a BMP, which costs nothing to write and loses nothing.
function bitmapFile(pixels, width, height) {
  const bytes = new Uint8Array(BMP_HEADER + pixels.length);
  const header = new DataView(bytes.buffer);
  const fields = [bytes.length, 0, BMP_HEADER, 40, width, -height]; // rows from the top
  bytes.set([0x42, 0x4d]);
  fields.forEach((value, i) => header.setInt32(2 + 4 * i, value, true));
  header.setInt16(26, 1, true);
  header.setInt16(28, 24, true); // bits of a pixel, blue first
  for (let i = 0; i < pixels.length; i += 3) {
    bytes[BMP_HEADER + i] = pixels[i + 2];
    bytes[BMP_HEADER + i + 1] = pixels[i + 1];
    bytes[BMP_HEADER + i + 2] = pixels[i];
  }
  return bytes;
}

// In the worker itself: a FileReader would ask the browser's other processes.
function dataAddress(bytes, type) {
  const text = bytes.toBase64?.() ?? btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return `data:${type};base64,${text}`;
}

const pictureAddress = (pixels, width, height) => dataAddress(bitmapFile(pixels, width, height), "image/bmp");

// Small pictures side by side, each reduced by means of squares.
function joinSmall(pictures, { size, small_size: smallSize }) {
  const factor = Math.max(1, size / smallSize);
  const side = size / factor;
  const joined = new Uint8Array(3 * side * side * pictures.length);
  const sums = new Float32Array(joined.length);
  pictures.forEach((pixels, picture) => {
    for (let i = 0; i < pixels.length; i++) {
      const [row, column, colour] = [Math.floor(i / 3 / size), Math.floor(i / 3) % size, i % 3];
      const [y, x] = [Math.floor(row / factor), Math.floor(column / factor) + picture * side];
      sums[3 * (y * side * pictures.length + x) + colour] += pixels[i];
    }
  });
  sums.forEach((sum, i) => (joined[i] = Math.round(sum / factor ** 2)));
  return { pixels: joined, width: side * pictures.length, height: side };
}

function cornerWeights(count, [across, down]) {
  const top = [1 - across, across];
  return count < 3 ? top.slice(-count) : [...top.map((w) => (1 - down) * w), ...top.map((w) => down * w)];
}

/** {model, zs, hs}, noise and embedding of each picture; {unread}, the caption that cannot be read; or null.
 * @returns {Promise<any>} */
async function plan({ captions, noise, options }) {
  const model = models.get(options.model);
  const { manifest } = model;
  const parents = options.parents?.map((parent) => readParent(parent, manifest));
  if (parents) captions = [...new Set(parents.flatMap(({ weights }) => [...weights.keys()]))];
  const lines = captions.map((caption) => readCaption(caption, manifest));
  if (noise.photo && lines.includes(null)) return { unread: captions[lines.indexOf(null)] };
  if (!noise.photo && lines.some((line) => line === null || hasUnknownWords(line, model))) return null;
  const embeddings = [];
  for (const line of lines) embeddings.push(await embed(model, line));
  const planned = await (parents
    ? planChildren(model, new Map(captions.map((caption, i) => [caption, embeddings[i]])), noise, parents, options)
    : planPictures(model, embeddings, noise, options));
  return planned.zs ? { model, ...planned } : null;
}

const statusOf = ({ manifest: { size, parameters } }, ms) =>
  ({ size, parameters, ms, note: "", hint: "", elsewhere: "" });

async function draw(request, tell) {
  if (request.partSize) return drawInParts(request, tell);
  const start = performance.now();
  const planned = await plan(request);
  if (!planned?.zs) return planned;
  const { model, zs, hs } = planned;
  const { noise: { seeds }, options } = request;
  const pictures = await render(model, zs, hs);
  const status = statusOf(model, (performance.now() - start) / pictures.length);
  if (options.strip) {
    const { pixels, width, height } = joinSmall(pictures, model.manifest);
    return { ...status, size: height, strip: pictureAddress(pixels, width, height) };
  }
  return { ...status, seeds, pictures: pictures.map((pixels) => pictureAddress(pixels, status.size, status.size)) };
}

let newestInParts = 0; // number of the last request whose pictures come in parts
let firstPlace = 0; // of the next one: after the last picture

// Between two parts, other requests have their turn, and a newer one in parts cuts this one: then the answer is {isCut}.
// The newer one begins where this one was cut, so that all pictures change while a hand moves. A part is {places,
// pictures, ms}.
async function drawInParts(request, tell) {
  const { number, partSize, noise: { seeds } } = request;
  const isOutdated = () => number !== newestInParts;
  const planned = await inTurn(() => !isOutdated() && plan(request));
  if (isOutdated()) return { isCut: true };
  if (!planned?.zs) return planned;
  const { model, zs, hs } = planned;
  const order = zs.map((_, i) => (firstPlace + i) % zs.length);
  const drawPart = async (places) => {
    const start = performance.now();
    const { size } = model.manifest;
    const pick = (list) => places.map((place) => list[place]);
    const pictures = (await render(model, pick(zs), pick(hs))).map((pixels) => pictureAddress(pixels, size, size));
    firstPlace = (places.at(-1) + 1) % order.length;
    return { places, pictures, ms: (performance.now() - start) / places.length };
  };
  let ms = 0;
  for (let start = 0; start < order.length; start += partSize) {
    await nextTask();
    if (isOutdated()) return { isCut: true };
    const part = await inTurn(() => drawPart(order.slice(start, start + partSize)));
    tell({ part });
    ms += (part.ms * part.places.length) / order.length;
  }
  return { ...statusOf(model, ms), seeds };
}

// One picture enlarged.
async function enlarge(request) {
  const planned = await plan(request);
  if (!planned?.zs) return null;
  const { model, zs, hs } = planned;
  const { enlarged_scale: scale, size } = model.manifest;
  const [pixels] = await render(model, zs, hs);
  const image = await createImageBitmap(new Blob([bitmapFile(pixels, size, size)]));
  const canvas = new OffscreenCanvas(scale * size, scale * size);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const file = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
  return { picture: dataAddress(new Uint8Array(await file.arrayBuffer()), file.type) };
}

// Noise and embedding of each picture.
async function planPictures(model, embeddings, noise, options) {
  const { points, strip } = options;
  if (noise.photo) {
    const z = await invert(model, noise.photo);
    return { zs: z && embeddings.map(() => z), hs: embeddings };
  }
  if (points) {
    const hs = points.map((point) => mixCaptions(model.manifest, embeddings, cornerWeights(embeddings.length, point)));
    const zs = await Promise.all(noise.seeds.map((seed) => noiseOf(seed, model.manifest)));
    return strip ? { zs, hs: zs.map(() => hs[0]) } : { zs: hs.map(() => zs[0]), hs };
  }
  const zs = await latents(model.manifest, noise, options);
  return { zs, hs: zs.map(() => embeddings[0]) };
}

async function planChildren({ manifest }, embeddings, noise, parents, options) {
  const offset = attributeOffset(manifest, options);
  const rows = await noiseOfAll(noise, manifest);
  const children = rows.map((row) => child(parents, row, options.mutation, manifest));
  const zs = children.map(({ z }) => z.map((value, i) => value + offset[i]));
  const mixChild = ({ weights }) =>
    mixCaptions(manifest, [...weights.keys()].map((caption) => embeddings.get(caption)), [...weights.values()]);
  return { zs, hs: children.map(mixChild) };
}

async function style({ model, photo }) {
  const z = await invert(models.get(model), photo);
  return z && { like: writeStyle(z, models.get(model).manifest) };
}

// ---- messages: pictures are drawn one request after the other, also while another model is loaded

const verbs = { load, draw, enlarge, style };
/** @type {Promise<any>} */
let lastDrawn = Promise.resolve();

function inTurn(work) {
  const result = lastDrawn.then(work);
  lastDrawn = result.catch(() => {}); // whoever asked is told
  return result;
}

// Resolves after the messages that have come meanwhile. Messages of a channel of its own would overtake them: then a
// request waited for several parts.
const nextTask = () => new Promise((resolve) => setTimeout(resolve));

addEventListener("message", ({ data: { verb, ...message } }) => {
  const { number, partSize } = message;
  if (partSize) newestInParts = number;
  const tell = (reply) => postMessage({ number, ...reply });
  const answer = async () => {
    try {
      tell({ answer: await verbs[verb](message, tell) });
    } catch (error) {
      tell(error instanceof ServerAway ? { answer: null } : { error: error.message });
    }
  };
  if (verb === "load" || partSize) answer();
  else inTurn(answer);
});
