// Who draws, and when it is asked. Every tab draws through `tab.draw`, whether the server draws or this machine (local.js).

const REQUEST_TIMEOUT = 4000; // ms without an answer before a newer request may be sent
const RETRY_DELAY = 1000; // ms
const REST_DELAY = 300; // ms without a change before the page asks for more, or shows a hint
const FAR_REST_DELAY = 150; // the same for pictures at full size on a far connection, whose way comes on top
const NO_ANSWER = { error: "The server is busy or away.", busy: true };

// ---- the renderers

// Returns `draw(captions, noise, options, onPart)`, a promise of an answer.
//   captions  one for all pictures, or one for each in the style of a photo, or the two or four that `points` lie among
//   noise     {seeds, at, like}: a picture for each seed; or {photo}: its style
//   options   {model, attributes, points, models, full_size, draft_size}; with `models`, each draws
//             with `strip`, small pictures come side by side in one image, `strip`, all at the first of the points
//   onPart    if it may be drawn in parts; see `draw` in local.js
//   answer    {pictures: sources of images, size, ms, model, parameters, …} or {error, busy} or {isCut}
const createServerRenderer = (server) => (captions, noise, { points, strip, ...options }) => {
  if (strip) return server.field({ ...options, ...noise, captions, at: points[0][0] });
  if (points) return server.blend({ ...options, captions, at: points, seed: noise.seeds[0] });
  if (noise.photo) return server.restyle({ ...options, ...noise, captions });
  const request = { ...options, ...noise, caption: captions[0] };
  return options.models ? server.compare(request) : server.draw(request);
};

const countPictures = (captions, { photo, seeds }, { points, strip }) =>
  (photo ? captions : strip ? seeds : (points ?? seeds)).length;

// Instead of a photo's answer: a photo that was promised to stay on this machine is not sent.
const STOPPED = { error: "This device has stopped drawing. With the next change, the server draws." };

// The same for whoever draws: this machine, else the server. While this machine draws, a photo never leaves it.
function createDraw(server) {
  const drawOnServer = createServerRenderer(server);
  return async (captions, noise, options, onPart) => {
    const isPrivate = noise.photo && local.keepsPhotos(options.model);
    const answer = await local.draw(captions, noise, options, onPart);
    if (answer?.unread) return explain(server, answer.unread, options);
    if (answer) return answer;
    if (isPrivate) return STOPPED;
    const start = performance.now();
    const reply = await drawOnServer(captions, noise, options);
    connection.note(reply, performance.now() - start, countPictures(captions, noise, options));
    local.consider(options.model);
    return reply;
  };
}

// Why a caption cannot be read, in the server's words.
async function explain(server, caption, { model }) {
  const { error } = (await server.draw({ caption, model, seeds: [1] })) || NO_ANSWER;
  return { error };
}

// ---- the connection to the server, as measured by the answers: how long they are on their way besides the server's own
// work, and how many bytes a second come

const MAX_ANSWERS = 12; // that are remembered
const MIN_ANSWERS = 3; // of which one has waited for nothing else: then the connection is known
const FAR = 60; // ms on the way: more requests than one may then be under way, and the networks are fetched
const MAX_UNDER_WAY = 4;
const MIN_BYTES_APART = 20_000; // of two answers whose times tell how fast bytes come
const DRAFT_TIME = 150; // ms that sixteen drafts may take to come
const DRAFT_SIZES = [128, 96, 64]; // pixels a side
const DRAFT_BYTES = 16 * 0.25; // for a pixel of each of them, in base64

function createConnection() {
  const answers = []; // the last ones, {bytes, time, work, count}: work in ms, count of pictures
  let underWay = 1; // how many requests may be

  function note(reply, time, count) {
    if (!reply?.server_ms) return;
    const drawn = reply.compared ?? [reply];
    const sources = drawn.flatMap(({ pictures, strip }) => pictures ?? [strip]);
    const bytes = sources.reduce((sum, source) => sum + source.length, 0);
    answers.push({ bytes, time, work: reply.server_ms, count: count * drawn.length });
    if (answers.length > MAX_ANSWERS) answers.shift();
    const shortest = Math.min(...answers.map(({ time }) => time));
    const hasWaited = time - shortest > Math.max(reply.server_ms, shortest / 2); // behind others: there were too many
    underWay = latency() > FAR ? clamp(underWay + (hasWaited ? -1 : 1), 1, MAX_UNDER_WAY) : 1;
  }

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const latency = () => Math.min(...answers.map(({ time, work }) => time - work));

  // Bytes a millisecond: by how much later large answers come than small ones.
  function rate() {
    const [bytes, time] = [mean(answers.map(({ bytes }) => bytes)), mean(answers.map(({ time }) => time))];
    const variance = mean(answers.map((answer) => (answer.bytes - bytes) ** 2));
    const covariance = mean(answers.map((answer) => (answer.bytes - bytes) * (answer.time - time)));
    return variance < (MIN_BYTES_APART / 2) ** 2 || covariance <= 0 ? Infinity : variance / covariance;
  }

  return {
    note,
    isFar: () => answers.length >= MIN_ANSWERS && latency() > FAR,
    // Of a request for so many pictures to its answer, ms; 0 if there were none.
    answerTime: (count) =>
      answers.length ? latency() + count * mean(answers.map((answer) => answer.work / answer.count)) : 0,
    maxUnderWay: () => underWay,
    // Between two requests, ms: no faster than they are answered.
    spacing: () => (answers.length ? answers.at(-1).work + answers.at(-1).bytes / rate() : 0),
    // Pixels a side of drafts: as many as the connection brings in time.
    draftSize: () => DRAFT_SIZES.find((size) => DRAFT_BYTES * size ** 2 <= DRAFT_TIME * rate()) ?? DRAFT_SIZES.at(-1),
  };
}

const connection = createConnection();

// ---- newest wins

// Returns a function that sends `getRequest()` by `call`, and if it is called again meanwhile, then the newest request.
// On a long way some are under way at once. `show(request, reply, isNewest)` gets the replies, except those older than
// the last one shown. With `showPart(request, reply)`, replies may come in parts.
function createUpdater(call, getRequest, show, showPart) {
  const underWay = new Set(); // numbers of requests
  let newest = 0;
  let sent = 0; // number of the last one that was sent
  let shown = 0; // of the one on the page
  let lastTime = -Infinity; // when it was sent
  let timer;

  async function send() {
    clearTimeout(timer);
    const isHere = local.isBusy();
    if (sent === newest || underWay.size >= (isHere ? local : connection).maxUnderWay()) return;
    const start = performance.now();
    const wait = underWay.size && !isHere ? lastTime + connection.spacing() - start : 0;
    if (wait > 0) {
      timer = setTimeout(send, wait);
      return;
    }
    const number = (sent = newest);
    const request = getRequest();
    underWay.add(number);
    lastTime = start;
    const release = () => {
      underWay.delete(number);
      send();
    };
    const patience = setTimeout(release, REQUEST_TIMEOUT);
    const silence = { ...NO_ANSWER, error: `${NO_ANSWER.error} These are the last pictures.` };
    const onPart = (part) => showPart(request, part);
    const reply = (await (showPart ? call(request, onPart) : call(request))) || silence;
    clearTimeout(patience);
    if (number > shown && !reply.isCut) {
      shown = number;
      show(request, reply, number === newest);
      if (reply.busy) setTimeout(() => number === newest && update(), RETRY_DELAY);
    }
    release();
  }

  function update() {
    newest += 1;
    queueMicrotask(send); // several changes in one turn are one request
  }
  return update;
}

// The same with drafts while something changes, as small as the connection asks, then the pictures at full size; these
// are then the newest reply. The pictures of a small model are never drafts.
function createDraftUpdater(call, getRequest, show, showPart) {
  const modelsWithDrafts = new Set(); // as far as is known
  let timer;
  /** @type {"drafts" | "full size" | "done"} */
  let stage = "drafts"; // of the last change: what is asked for, until it is shown at full size
  let lastChange = 0;
  let lastModel;

  function getDraftRequest() {
    const request = getRequest();
    lastModel = request.model;
    return stage === "full size" ? request : { ...request, full_size: 0, draft_size: connection.draftSize() };
  }

  const send = createUpdater(call, getDraftRequest, (request, reply, isNewest) => {
    show(request, reply, isNewest && !reply.drafts);
    if (reply.drafts) modelsWithDrafts.add(request.model);
    if (isNewest && reply.error) clearTimeout(timer);
    if (isNewest && !reply.drafts && !reply.error) stage = "done"; // also as this machine draws it
    if (isNewest && reply.drafts) sendWhenResting();
  }, showPart);

  // Counted from the change, not from the drafts, which may be long on their way.
  function sendWhenResting() {
    clearTimeout(timer);
    const delay = connection.isFar() ? FAR_REST_DELAY : REST_DELAY;
    timer = setTimeout(sendResting, lastChange + delay - performance.now());
  }

  function sendResting() {
    if (!modelsWithDrafts.has(lastModel) || stage === "done") return;
    if (local.isBusy()) {
      timer = setTimeout(sendResting, REST_DELAY); // this machine may be drawing them at full size
      return;
    }
    stage = "full size";
    send();
  }

  return () => {
    stage = "drafts";
    lastChange = performance.now();
    sendWhenResting();
    send();
  };
}
