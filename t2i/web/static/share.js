// A link holds in its query what is on the screen. It may come from anybody: it is cut here, and each tab reads it as
// text and clamps every number. In a Space the page is a frame with its own address, which the link then names.

const MAX_LINK_LENGTH = 20_000; // characters of a query
const MAX_ADDRESS_LENGTH = 6000; // characters of a query that every server on the way accepts
const ADDRESS_DELAY = 700; // ms without a change: browsers refuse too many changes of the address
const ENTRY_DELAY = 300; // ms in a tab; less than that of the address, which is then the entry's
const LABEL_DURATION = 2500; // ms that a button says what it has done

const readAddress = () => new URLSearchParams(location.search.slice(0, MAX_LINK_LENGTH));
const pageLink = readAddress();
const splitFields = (text, maxCount) => (text ? text.split(",", maxCount) : []);
const toSingleLine = (text) => text.slice(0, MAX_SENT_LENGTH).replace(/\s+/g, " ");

// Make a tab's state shareable. `getState()` returns the state as pairs for a query; `restore(query)` sets it, or the
// first state for an empty query; `getOmission()` says what a link leaves out. Returns `getQuery`, for the whole state
// with tab and model, `go`, which sets it, and `goToAddress`, which takes it from the page's address, if that is for this
// tab: with it the tab begins. After a reload, Back leads to addresses older than the page's link.
function shareable(tab, getState, restore, getOmission = () => "") {
  const { find, modelMenu } = tab;
  const share = find(".share");
  const note = find(".link-note");
  const error = make("p", { class: "link-error", role: "status" }); // at the top, where it is noticed
  (find(".ask, .intro") ?? share.closest("section")).prepend(error);
  modelMenu.addEventListener("change", () => showNote(error, ""));

  const getQuery = () => String(new URLSearchParams([["tab", tab.name], ["model", modelMenu.value], ...getState()]));

  function go(query) {
    const name = query.get("model") ?? modelMenu.value;
    const isKnown = Boolean(findModel(name));
    showNote(note, "");
    showNote(error, isKnown ? "" : `The link's model is not here. This is ${findModel(t2i.defaultModel).title}.`);
    modelMenu.value = isKnown ? name : t2i.defaultModel;
    restore(query);
  }

  share.addEventListener("click", async () => {
    const query = `?${getQuery()}`;
    const link = location.origin + location.pathname + query.slice(0, MAX_LINK_LENGTH);
    try {
      await navigator.clipboard.writeText(link);
      const isCut = query.length > MAX_LINK_LENGTH;
      showNote(note, "", isCut ? "That is more than a link holds: its end is left out." : getOmission());
      flashLabel(share, "Link copied");
      tab.announce("Link copied");
    } catch {
      // Some browsers and frames do not let a page use the clipboard.
      const field = make("input", { type: "text", readonly: "", value: link, "aria-label": "Link" });
      note.replaceChildren("Copy this link: ", field);
      field.select();
    }
  });

  function goToAddress() {
    const query = readAddress();
    go(query.get("tab") === tab.name ? query : new URLSearchParams());
  }

  goToAddress();
  keepAddress(tab, getQuery);
  return { getQuery, go, goToAddress };
}

// Once something has been changed, the page's address is the link of the open tab, so that a reload keeps the state. A
// state that cannot be drawn is not kept.
function keepAddress(tab, getQuery) {
  const firstQuery = getQuery();
  let timer;

  function writeAddress() {
    if (!tab.isOpen() || !tab.isSettled()) return;
    const query = getQuery();
    const old = new URLSearchParams(location.search);
    if (query === firstQuery && !old.has("model")) return;
    history.replaceState(history.state, "", addressOf(query));
  }

  function writeAddressSoon() {
    clearTimeout(timer);
    timer = setTimeout(writeAddress, ADDRESS_DELAY);
  }
  tab.setOnAnswer(writeAddressSoon);
  document.addEventListener("click", writeAddressSoon); // a lock sends no request; another tab opens
}

// The page's address with another query. Of the present one, what Gradio reads is kept, such as __theme.
function addressOf(query) {
  const isGradios = (key) => key === "view" || key.startsWith("__");
  const kept = new URLSearchParams([...new URLSearchParams(location.search)].filter(([key]) => isGradios(key)));
  const search = [kept.toString(), query.slice(0, MAX_ADDRESS_LENGTH)].filter(Boolean).join("&");
  return `${location.pathname}?${search}${location.hash}`;
}

// Back and forward of the browser go between tabs: to stay in another one is an entry in the history. An entry takes the
// browser a while, so it waits until the tab is shown.
let entryTab = pageLink.get("tab"); // of the present entry
let entryTimer;

const firstTab = () => tabName(document.querySelector(TAB_BUTTONS));

document.addEventListener("click", ({ target }) => {
  const button = /** @type {Element} */ (target).closest(TAB_BUTTONS);
  if (!button) return;
  const name = tabName(button);
  clearTimeout(entryTimer);
  if (name !== (entryTab ?? firstTab())) entryTimer = setTimeout(addEntry, ENTRY_DELAY, name);
});

function addEntry(name) {
  entryTab = name;
  history.pushState({}, "", addressOf(`tab=${name}`));
}

addEventListener("popstate", () => {
  clearTimeout(entryTimer);
  entryTab = new URLSearchParams(location.search).get("tab") ?? firstTab(); // before the click: it is no new entry
  /** @type {HTMLDialogElement} */
  const dialog = document.querySelector("dialog[open]");
  dialog?.close(); // in a hidden tab it would still make the page inert
  openTab(entryTab);
});

// Let a button say for a moment what it has done.
function flashLabel(button, text) {
  const label = (button.dataset.label ??= button.textContent);
  button.textContent = text;
  clearTimeout(button.timer);
  button.timer = setTimeout(() => (button.textContent = label), LABEL_DURATION);
}
