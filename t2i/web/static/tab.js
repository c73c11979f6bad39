// What each tab has: its part of the page, its model menu, its requests, its notes.

const ANNOUNCE_DELAY = 700; // ms without a change before a screen reader is told
const MAX_SENT_LENGTH = 1000; // characters of a caption; the server says how many it reads

const statusText = ({ ms, model, parameters }) =>
  `${ms.toFixed(1)} ms per picture · ${model} · ${(parameters / 1e6).toFixed(1)} M parameters`;

// A note beside a control; an error is marked as one.
function showNote(note, error, hint = "") {
  note.textContent = error || hint;
  note.classList.toggle("error", Boolean(error));
}

// Call `move` with how far a pointer has dragged over a node, across and down, in pixels.
function onDrag(node, move) {
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

// Draw a square of an image, given by left, top and side, onto a canvas.
function drawSquare(canvas, image, left, top, side) {
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // behind transparent pixels
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, left, top, side, side, 0, 0, canvas.width, canvas.height);
}

// A caption is one line: Enter ends it, and line breaks in pasted text become spaces. A box for several lines lacks
// `enterkeyhint`.
function keepSingleLines(element) {
  const isSingleLine = (node) => node.matches("textarea[enterkeyhint]");
  element.addEventListener(
    "input",
    ({ target }) => {
      if (!isSingleLine(target) || !target.value.includes("\n")) return;
      const position = target.selectionEnd;
      target.value = target.value.replaceAll("\n", " ");
      target.setSelectionRange(position, position);
    },
    true, // before the box's own listeners
  );
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || !isSingleLine(event.target)) return; // it may confirm a word
    event.preventDefault();
    event.target.blur();
  });
}

// The tools of the tab in `element`, for its own script; `server` has the functions that it may call there.
function createTab(name, element, server) {
  const find = (selector) => element.querySelector(selector);
  const isOpen = () => Boolean(element.offsetParent);
  keepSingleLines(element);

  // ---- requests

  // While there are any, the tab says so: after a second, common.css shows a bar.
  let pendingRequests = 0;
  let hasFailed = false; // the last request
  let onAnswer = () => {};

  async function track(answer) {
    const count = (step) => element.firstElementChild.toggleAttribute("data-waiting", (pendingRequests += step) > 0);
    count(1);
    const reply = await answer;
    count(-1);
    hasFailed = !reply || Boolean(reply.error);
    onAnswer();
    return reply;
  }

  const tracked = (call) => (...request) => track(call(...request));

  // An answer, however long it takes; `onWait` gets the reason of each wait.
  async function callUntilAnswered(call, request, onWait) {
    for (;;) {
      const reply = (await track(call(request))) || NO_ANSWER;
      if (!reply.busy) return reply;
      onWait(reply.error);
      await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY));
    }
  }

  // The same with a note beside a control: why it waits, what went wrong, or what the server says of the result.
  async function callWithNote(call, request, note) {
    const reply = await callUntilAnswered(call, request, (reason) => showNote(note, reason));
    showNote(note, reply.error, reply.note);
    return reply;
  }

  // Save a file that the server makes. The button is dimmed meanwhile, and makes no second one.
  async function saveFile(button, call, request, note) {
    if (button.hasAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    const reply = await callWithNote(call, request, note);
    button.removeAttribute("aria-disabled");
    if (reply.file) make("a", { href: reply.file, download: reply.name }).click();
  }

  // ---- notes

  // A reply's error or note on the captions at once; a hint on unknown words only when typing rests. A hint stays while
  // it is the same.
  let hintTimer;
  function showCaptionNote(note, { error, note: text, hint }) {
    clearTimeout(hintTimer);
    const isHint = !error && !text && hint;
    if (isHint && note.textContent === hint) return;
    showNote(note, error, text);
    if (isHint) hintTimer = setTimeout(() => announce((note.textContent = hint)), REST_DELAY);
  }

  // Tell screen readers, when nothing changes any more.
  let announceTimer;
  function announce(text) {
    clearTimeout(announceTimer);
    announceTimer = setTimeout(() => (find(".live").textContent = text), ANNOUNCE_DELAY);
  }

  // ---- controls

  const modelMenu = find("select") ?? make("select"); // Compare has no menu
  const groups = { "": modelMenu };
  for (const { name, title, group } of t2i.models) {
    if (!groups[group]) modelMenu.append((groups[group] = make("optgroup", { label: group })));
    groups[group].append(make("option", { value: name }, title));
  }
  modelMenu.value = drawState.model;

  // Offer the model that knows a caption's words, if this one does not; without a menu, that is in Draw.
  const suggestionButton = find(".suggested-model");
  function showSuggestedModel(name) {
    suggestionButton.hidden = !name;
    if (!name) return;
    suggestionButton.textContent = `Draw this with ${findModel(name).title} →`;
    suggestionButton.value = name;
  }

  suggestionButton?.addEventListener("click", () => {
    const { value: model } = suggestionButton;
    if (!modelMenu.isConnected) return sendToTab("draw", { model, caption: find("textarea").value });
    modelMenu.value = model;
    modelMenu.dispatchEvent(new Event("change"));
    find("textarea").focus(); // for the keyboard: the button is now hidden
  });

  // Let a person type at once in the tab that opens. Not on a touch screen, whose keyboard would cover the page, and not
  // if the focus is elsewhere, as on a tab that was opened with the keyboard.
  function focusFirst(box) {
    const { activeElement } = document;
    const isFree = activeElement === document.body || activeElement.matches(`${TAB_BUTTONS}:not(:focus-visible)`);
    if (isOpen() && isFree && matchMedia("(hover: hover)").matches) box.focus({ preventScroll: true });
  }

  // The seed box and its Shuffle button; both call `onChange`.
  function createSeedBox(maxSeed, onChange) {
    const box = find("input[type=number]");
    box.max = maxSeed;
    box.addEventListener("input", () => box.value !== "" && onChange());
    find(".shuffle").addEventListener("click", () => {
      box.value = Math.floor(Math.random() * (maxSeed + 1));
      onChange();
    });
    return { box, read: () => clamp(Math.trunc(box.value), 0, maxSeed) };
  }

  // ---- photos

  // The open tab takes files that are dropped anywhere on the page: else the browser would leave the page to show them.
  const isFileDrop = (event) => isOpen() && event.dataTransfer.types.includes("Files");
  /** @type {(files: FileList | File[]) => void | Promise<void>} */
  let takeFiles = () => {
    const text = "Photos go to Style or Search.";
    showNote(find(".status") ?? find(".note"), "", text);
    announce(text);
  };
  document.addEventListener("dragover", (event) => isFileDrop(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!isFileDrop(event)) return;
    event.preventDefault();
    takeFiles(event.dataTransfer.files);
  });

  // Take photos from the button, a drop or the clipboard. `addPhoto` gets each as a bitmap, with its name and how many
  // follow; `onDone` is called after the last.
  function acceptPhotos(note, addPhoto, onDone = () => {}) {
    takeFiles = async (files) => {
      showNote(note, "");
      for (const [i, file] of [...files].entries()) {
        try {
          const image = await createImageBitmap(file); // turned as the camera was
          await addPhoto(image, file.name, files.length - 1 - i);
        } catch {
          showNote(note, `${file.name || "This"} is not a picture that your browser can read.`);
        }
      }
      await onDone();
    };

    const chooser = find("input[type=file]");
    find(".add").addEventListener("click", () => chooser.click());
    chooser.addEventListener("change", async () => {
      await takeFiles(chooser.files);
      chooser.value = "";
    });
    document.addEventListener("paste", (event) => {
      const files = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
      if (isOpen() && files.length) takeFiles(files);
    });
  }

  return {
    name,
    find,
    isOpen,
    isSettled: () => !pendingRequests && !hasFailed,
    setOnAnswer: (callback) => (onAnswer = callback),
    draw: createDraw(server),
    style: async (request) => {
      const isPrivate = local.keepsPhotos(request.model);
      return (await local.style(request)) ?? (isPrivate ? STOPPED : server.style(request));
    },
    enlarge: async (request) => (await local.enlarge(request)) ?? server.enlarge(request),
    createUpdater: (call, ...more) => createUpdater(tracked(call), ...more),
    createDraftUpdater: (call, ...more) => createDraftUpdater(tracked(call), ...more),
    callUntilAnswered,
    callWithNote,
    saveFile,
    showCaptionNote,
    announce,
    modelMenu,
    showSuggestedModel,
    focusFirst,
    createSeedBox,
    acceptPhotos,
  };
}
