// The local renderer: draws on the visitor's own machine, in a worker (worker.js), once the networks are there. Until
// then, after any failure, and for what it cannot answer, the server draws; `createDraw` in drawing.js asks both.

const CHOICE_KEY = "t2i-draws-on"; // "device" or "server"; without it the page decides
const MIN_MEMORY = 4; // GB, below which nothing is fetched by itself
const LIVE_TIME = 20; // ms per picture, with which each frame of what moves can be drawn
const MEMORY_SHARE = 0.8; // of the last measured time per picture in the next one
const PART_TIME = 50; // ms of drawing after which pictures are shown
const MAX_THREADS = 4;
const LOCAL_TIMEOUT = 4000; // ms without a sign of the worker, on top of the expected time
const LOADING_TIMEOUT = 120_000; // ms without progress
const REASON_DURATION = 12_000; // ms that the page says why the server draws again

const local = createLocalRenderer();

function createLocalRenderer() {
  let worker = null;
  let models = new Map(); // by name: ms per picture as lately measured, or Infinity if the model could not be fetched
  const pending = new Map(); // by number: {resolve, onPart, timer} of a message to the worker
  let numMessages = 0;
  let loading = Promise.resolve(); // the last load
  let progress = null; // {loaded, total} in bytes, while something is fetched
  let numDrawing = 0; // requests
  let numInParts = 0; // of them
  let hasFailed = false;
  let choice = readChoice();
  const listeners = [];

  const canDraw = () => isSecureContext && "OffscreenCanvas" in window && "WebAssembly" in window;
  const msPerPicture = (model) => models.get(model) ?? Infinity;
  const isOn = (model) => choice !== "server" && Number.isFinite(msPerPicture(model));

  // Whether this machine should draw so many pictures: always if the visitor chose it, else if the server's answer would
  // come no sooner.
  const isPreferred = (model, count) =>
    isOn(model) && (choice === "device" || count * msPerPicture(model) <= connection.answerTime(count));

  // Whether photos stay here: with a model that is there, and if the visitor chose the device, with the next one as well.
  const keepsPhotos = (model) => isOn(model) || (choice === "device" && models.size > 0 && !models.has(model));

  async function waitForModel(model) {
    while (keepsPhotos(model) && !isOn(model)) {
      consider(model);
      await loading;
    }
  }

  // ---- the worker

  function send(message, timeout, onPart) {
    return new Promise((resolve) => {
      const number = (numMessages += 1);
      const wait = () => setTimeout(() => fail("it does not answer"), timeout);
      pending.set(number, { resolve, onPart, wait, timer: wait() });
      worker.postMessage({ number, ...message });
    });
  }

  function receiveMessage({ data: { number, answer, error, fetched, part } }) {
    if (error) return fail(error);
    const waiting = pending.get(number);
    if (!waiting) return;
    clearTimeout(waiting.timer);
    if (fetched) progress = fetched;
    if (part) waiting.onPart(part);
    if (fetched || part) {
      waiting.timer = waiting.wait();
    } else {
      pending.delete(number);
      waiting.resolve(answer);
    }
    showState();
  }

  // What was asked gets no answer here, and the server is asked, but not for what a newer request cuts.
  function stop() {
    worker?.terminate();
    worker = progress = null;
    models = new Map();
    const newestInParts = [...pending.values()].findLast(({ onPart }) => onPart);
    for (const waiting of pending.values()) {
      clearTimeout(waiting.timer);
      waiting.resolve(waiting.onPart && waiting !== newestInParts ? { isCut: true } : null);
    }
    pending.clear();
    showState();
  }

  function fail(reason) {
    hasFailed = true;
    stop();
    sayWhy(reason);
  }

  function sayWhy(reason) {
    const note = document.querySelector(".t2i-head .why");
    note.textContent = `This device cannot draw: ${reason}. The server draws.`;
    setTimeout(() => (note.textContent = ""), REASON_DURATION);
  }

  async function load(model) {
    const root = `${/** @type {any} */ (window).gradio_config.root}/browser/`;
    if (!worker) {
      try {
        worker = new Worker(`${root}${t2i.runtime}/worker.js`, { type: "module" });
      } catch {
        return fail("it allows no workers");
      }
      worker.addEventListener("message", receiveMessage);
      worker.addEventListener("error", () => fail("its worker stopped"));
    }
    progress = { loaded: 0, total: 0 };
    showState();
    const message = { verb: "load", model, root: new URL(root, location.href).href, threads: countThreads() };
    const ready = await send(message, LOADING_TIMEOUT);
    if (!worker) return; // stopped meanwhile
    progress = null;
    models.set(model, ready?.ms ?? Infinity);
    if (!ready) sayWhy("the model's networks cannot be fetched");
    showState();
  }

  // Half of the processor's, as the other half are often those of the same cores.
  const countThreads = () =>
    crossOriginIsolated ? clamp(Math.ceil(navigator.hardwareConcurrency / 2), 1, MAX_THREADS) : 1;

  // ---- when it begins

  const isFrugal = () => savesData() || /** @type {any} */ (navigator).deviceMemory < MIN_MEMORY;
  const mayBegin = () => choice === "device" || (!choice && !isFrugal() && connection.isFar());

  // After each answer of the server: fetch the networks of a model that is in use.
  function consider(model) {
    showState();
    if (model && canDraw() && !hasFailed && !models.has(model) && !progress && mayBegin()) loading = load(model);
  }

  function readChoice() {
    try {
      return localStorage.getItem(CHOICE_KEY) ?? "";
    } catch {
      return ""; // no storage
    }
  }

  function choose(newChoice) {
    choice = newChoice;
    hasFailed = false;
    models = new Map([...models].filter(([, ms]) => Number.isFinite(ms))); // what could not be fetched is tried again
    try {
      localStorage.setItem(CHOICE_KEY, choice);
    } catch {
      // it lasts as long as the page
    }
    if (choice === "server") stop();
    else consider(drawState.model);
  }

  // ---- the word in the bar

  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  const isDrawing = () => isPreferred(drawState.model, 1);

  function showState() {
    /** @type {HTMLButtonElement} */
    const button = document.querySelector(".t2i-head .draws-on");
    if (!button) return; // not yet
    const { loaded, total } = progress ?? {};
    const amount = total ? ` ${megabytes(loaded)} of ${megabytes(total)} MB` : "";
    const text = progress ? `Fetching${amount} …` : isDrawing() ? "On this device" : "On the server";
    if (button.textContent !== text) button.textContent = text; // else no new layout
    button.title = isDrawing()
      ? "Pictures are drawn on this device, photos stay on it. Click to draw on the server."
      : progress
        ? "The networks are on their way. Click to go on drawing on the server."
        : "Pictures are drawn on the server. Click to draw on this device (fetches about 20 MB once).";
    button.hidden = !canDraw();
    for (const listener of listeners) listener();
  }

  document.addEventListener("click", ({ target }) => {
    if (!(/** @type {Element} */ (target).matches(".t2i-head .draws-on"))) return;
    choose(isDrawing() || progress ? "server" : "device");
    showState();
  });

  // An answer like the server's, or null: then the server is to be asked. With `onPart`, many pictures are drawn in
  // parts; it gets an answer with the pictures so far, the others missing. If a newer such request comes meanwhile, the
  // answer is {isCut}.
  async function draw(captions, noise, options, onPart) {
    const { model } = options;
    const count = countPictures(captions, noise, options);
    if (noise.photo) await waitForModel(model);
    if (options.models || !(noise.photo ? isOn(model) : isPreferred(model, count))) return null;
    const partSize = Math.max(1, Math.floor(PART_TIME / msPerPicture(model)));
    const isInParts = onPart && partSize < count;
    numDrawing += 1;
    if (isInParts) numInParts += 1;
    const pictures = new Array(count);
    const takePart = (part) => {
      part.places.forEach((place, i) => (pictures[place] = part.pictures[i]));
      noteTime(model, part.ms);
      onPart({ pictures });
    };
    const request = { verb: "draw", captions, noise, options, ...(isInParts && { partSize }) };
    const timeout = LOCAL_TIMEOUT + 20 * count * msPerPicture(model);
    const answer = await send(request, timeout, isInParts && takePart);
    numDrawing -= 1;
    if (isInParts) numInParts -= 1;
    if (answer?.ms) noteTime(model, answer.ms);
    return answer && { ...(isInParts && { pictures }), ...answer, model: findModel(model).title };
  }

  const noteTime = (model, ms) =>
    models.has(model) && models.set(model, MEMORY_SHARE * msPerPicture(model) + (1 - MEMORY_SHARE) * ms);

  return {
    draw,
    consider,
    keepsPhotos,
    onChange: (listener) => listeners.push(listener),
    isPreferred,
    drawTime: (model, count) => count * msPerPicture(model),
    // Whether what moves may be drawn here at each frame.
    isLive: (model) => isPreferred(model, 1) && msPerPicture(model) <= LIVE_TIME,
    isBusy: () => numDrawing > 0,
    // While pictures are drawn in parts, any: the newest cuts the others.
    maxUnderWay: () => (numInParts ? Infinity : 1),
    // As the server's `style` and `enlarge`, or null.
    style: async (request) => {
      await waitForModel(request.model);
      return isOn(request.model) ? send({ verb: "style", ...request }, LOCAL_TIMEOUT) : null;
    },
    enlarge: ({ caption, seeds, at, like, ...options }) =>
      isPreferred(options.model, 1)
        ? send({ verb: "enlarge", captions: [caption], noise: { seeds, at, like }, options }, LOCAL_TIMEOUT)
        : null,
  };
}
