// What every tab shares. Gradio runs this once a tab, with `element`, `props` and `server` in scope.
// Text from people and from the server goes to textContent and setAttribute only.

const find = (selector) => element.querySelector(selector);
const make = (tag, attributes = {}, text = "") => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
};

// A picture yet to come is an empty one, not a broken one.
const EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";
const PATIENCE = 4000; // ms without an answer before a newer request may go out
const RETRY = 1000; // ms
const RESTED = 300; // ms of quiet before the page asks or says more of what was typed
const SETTLED = 700; // ms of quiet before the page speaks

// An untouched example goes with its model; a person's own words stay.
const isExample = (words) => props.models.some((model) => model.examples.includes(words));

// A caption is one line: Enter ends it, and the line breaks of what is pasted become spaces. `#t2i-own` has many.
const isCaption = (node) => node.matches("textarea[enterkeyhint]");
element.addEventListener(
  "input",
  ({ target }) => {
    if (!isCaption(target) || !target.value.includes("\n")) return;
    const at = target.selectionEnd;
    target.value = target.value.replaceAll("\n", " ");
    target.setSelectionRange(at, at);
  },
  true, // before the box's own listeners
);
element.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !isCaption(event.target)) return;
  event.preventDefault();
  event.target.blur();
});

// A hand that drags over a node: `move` is told how far it went, across and down, in the page's pixels.
function dragged(node, move) {
  let last;
  node.addEventListener("pointerdown", (event) => {
    node.setPointerCapture(event.pointerId);
    last = event;
  });
  node.addEventListener("pointermove", (event) => {
    if (!node.hasPointerCapture(event.pointerId)) return;
    const [across, down] = [event.clientX - last.clientX, event.clientY - last.clientY];
    last = event;
    move(across, down);
  });
}

// While an answer is awaited the tab says so: common.css makes a bar of it after a second.
let awaitedNow = 0;
let failed = false; // the last answer
let whenAnswered = () => {};
async function awaited(answer) {
  const tell = (by) => element.firstElementChild.toggleAttribute("data-waiting", (awaitedNow += by) > 0);
  tell(1);
  const reply = await answer;
  tell(-1);
  failed = !reply || Boolean(reply.error);
  whenAnswered();
  return reply;
}

// Ask the server for what `request()` says at that moment: one request under way, and always the newest one next.
// `show(sent, reply, newest)` gets the answers, but for those that are older than the one shown.
function follow(verb, request, show) {
  let latest = 0; // number of the newest request
  let asked = 0; // number of the last one sent
  let inflight = 0; // number of the one under way, 0 for none
  let shown = 0; // number of the one on the page

  async function pump() {
    if (inflight || asked === latest) return;
    const stamp = (inflight = asked = latest);
    const sent = request();
    const release = () => {
      if (inflight === stamp) inflight = 0;
      pump();
    };
    const timer = setTimeout(release, PATIENCE);
    const silence = { error: "The server is busy or away. These are the last pictures.", busy: true };
    const reply = (await awaited(verb(sent))) || silence;
    clearTimeout(timer);
    if (stamp > shown) {
      shown = stamp;
      show(sent, reply, stamp === latest);
      if (reply.busy) setTimeout(() => stamp === latest && ask(), RETRY);
    }
    release();
  }

  function ask() {
    latest += 1;
    queueMicrotask(pump); // many changes in one turn are one request
  }
  return ask;
}

// The same for many pictures: drafts while something moves, and the pictures themselves, which are then the newest
// answer, once it rests. A small model's are never drafts.
function followInDrafts(verb, request, show) {
  let resting;
  let rests = false;

  const ask = follow(verb, () => ({ ...request(), ...(!rests && { full_size: 0 }) }), (sent, reply, newest) => {
    show(sent, reply, newest && !reply.drafts);
    if (newest && reply.drafts) resting = setTimeout(() => ask((rests = true)), RESTED);
  });

  return () => {
    clearTimeout(resting);
    rests = false;
    ask();
  };
}

// Words beside a control: an error is marked as one.
function complain(note, error, hint = "") {
  note.textContent = error || hint;
  note.classList.toggle("error", Boolean(error));
}

// What an answer says of the captions: an error or a note at once; that they are strange, once the typing rests. It stays
// while the same is said again.
let resting;
function remark(note, { error, note: words, hint }) {
  clearTimeout(resting);
  const strange = !error && !words && hint;
  if (strange && note.textContent === hint) return;
  complain(note, error, words);
  if (strange) resting = setTimeout(() => say((note.textContent = hint)), RESTED);
}

// The line for screen readers speaks when things have settled.
let quiet;
function say(text) {
  clearTimeout(quiet);
  quiet = setTimeout(() => (find(".live").textContent = text), SETTLED);
}

const spec = (name) => props.models.find((model) => model.name === name);
const speed = (reply) =>
  `${reply.ms.toFixed(1)} ms a picture · ${reply.model} · ${(reply.parameters / 1e6).toFixed(1)} M parameters`;

const SILENCE = { error: "The server is busy or away.", busy: true };
const percent = (share) => `${Math.round(100 * share)} %`;

// An answer, however long it takes: `wait` hears each time why there is none yet.
async function answered(verb, request, wait) {
  for (;;) {
    const reply = (await awaited(verb(request))) || SILENCE;
    if (!reply.busy) return reply;
    wait(reply.error);
    await new Promise((resolve) => setTimeout(resolve, RETRY));
  }
}

// What the server made, with words beside the control if there is something to say of it, or it made nothing.
async function fetched(verb, request, note) {
  const reply = await answered(verb, request, (why) => complain(note, why));
  complain(note, reply.error, reply.note);
  return reply;
}

// One file at a time from a button, which says by being dim that one is under way.
async function save(button, verb, request, note) {
  if (button.hasAttribute("aria-disabled")) return;
  button.setAttribute("aria-disabled", "true");
  const reply = await fetched(verb, request, note);
  button.removeAttribute("aria-disabled");
  if (reply.file) make("a", { href: reply.file, download: reply.name }).click();
}

const menu = find("select") ?? make("select"); // a tab without a choice has none on the page
const ofThePaper = make("optgroup", { label: "The paper's networks" });
for (const { name, title, paper } of props.models) {
  (paper ? ofThePaper : menu).append(make("option", { value: name }, title));
}
if (ofThePaper.firstChild) menu.append(ofThePaper);
// A tab opened for the first time begins with the model that is chosen in Draw.
menu.value = document.querySelector("#t2i-model")?.value || props.model;

// The seed box of a tab: `changed` is called with every seed typed or shuffled.
function seedBox(most, changed) {
  const box = find("input[type=number]");
  box.max = most;
  box.addEventListener("input", () => box.value !== "" && changed());
  find(".shuffle").addEventListener("click", () => {
    box.value = Math.floor(Math.random() * (most + 1));
    changed();
  });
  return { box, read: () => Math.min(Math.max(Math.trunc(Number(box.value)) || 0, 0), most) };
}

// Files that fall anywhere on the page are the open tab's: else the browser would leave the page to show them.
const brought = (event) => element.offsetParent && event.dataTransfer.types.includes("Files");
let takeFiles = () => {
  const words = "Photos go to Style or Search.";
  complain(find(".status") ?? find(".note"), "", words);
  say(words);
};
document.addEventListener("dragover", (event) => brought(event) && event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!brought(event)) return;
  event.preventDefault();
  takeFiles(event.dataTransfer.files);
});

// Photos from a button, a drop or the clipboard: `add` gets each as a bitmap, with its name and how many may follow;
// then comes `done`.
function receive(note, add, done = () => {}) {
  takeFiles = async (files) => {
    complain(note, "");
    for (const [i, file] of [...files].entries()) {
      try {
        const image = await createImageBitmap(file); // honours the camera's orientation
        await add(image, file.name, files.length - 1 - i);
      } catch {
        complain(note, `${file.name || "This"} is not a picture that your browser can read.`);
      }
    }
    await done();
  };

  const chooser = find("input[type=file]");
  find(".add").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => takeFiles(chooser.files).then(() => (chooser.value = "")));
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
    if (element.offsetParent && files.length) takeFiles(files);
  });
}

// Open a tab by its name in small letters, if there is one; narrow screens keep some in a menu.
function openTab(name) {
  const tabs = [...document.querySelectorAll(".tab-wrapper :is([role=tab], .overflow-dropdown button)")];
  const tab = tabs.find((tab) => tab.textContent.trim().toLowerCase() === name);
  tab?.click();
  return tab;
}

// Go to another tab with something in hand: its script listens for the event `t2i-<tab>`.
function handOver(tab, detail) {
  document.dispatchEvent(new CustomEvent(`t2i-${tab.toLowerCase()}`, { detail }));
  openTab(tab.toLowerCase())?.focus(); // for the keyboard: the button that was pressed is out of sight
}

// What a tab begins with, opened for the first time: what stands in Draw, unless it is an example of another model.
function fromDraw() {
  const caption = document.querySelector("#t2i-caption").value;
  const other = isExample(caption) && !spec(menu.value).examples.includes(caption);
  return caption.trim() && !other ? { caption, seed: document.querySelector("#t2i-seed").value } : {};
}
