// The page: what its tabs share. Python sends this file and the other shared ones once, as one script ahead of the tabs'
// own. Their only global name is `t2i`, which already holds `models`, `defaultModel` and `runtime`.
// Text of people and of the server goes only to textContent and setAttribute.

const EMPTY_IMAGE = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="; // not a broken one

const make = (tag, attributes = {}, text = "") => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
};

const clamp = (value, low, high) => Math.min(Math.max(Number(value) || 0, low), high); // anything but a number is 0
const percent = (share) => `${Math.round(100 * share)}%`;
const savesData = () => Boolean(/** @type {any} */ (navigator).connection?.saveData);

// ---- models

const findModel = (name) => t2i.models.find((model) => model.name === name);

// An unchanged example changes with the model; a person's own words stay.
const isExample = (caption) => t2i.models.some((model) => model.examples.includes(caption));

const invitation = (model) => model.placeholder.replace("\u00a0…", "");

// ---- the state of Draw, with which the other tabs begin

let drawState = { caption: "", seed: 1, model: t2i.defaultModel };

function setDrawState(state) {
  if (state.model !== drawState.model) {
    document.querySelector(".t2i-head span").textContent = invitation(findModel(state.model));
  }
  drawState = state;
}

// What a tab begins with when it is first opened, unless it is an example of another model.
function initialState(model) {
  const { caption, seed } = drawState;
  const isForeign = isExample(caption) && !findModel(model).examples.includes(caption);
  return caption.trim() && !isForeign ? { caption, seed } : {};
}

// ---- tabs

const receivers = {}; // by the name of a tab: a function that takes what another tab sends
const messages = {}; // for tabs that have not been opened yet

const TAB_BUTTONS = ".tab-wrapper :is([role=tab], .overflow-dropdown button)"; // narrow screens have some in a menu
const tabName = (button) => button.textContent.trim().toLowerCase();

// Open a tab by its name, if there is one.
function openTab(name) {
  /** @type {NodeListOf<HTMLElement>} */
  const buttons = document.querySelectorAll(TAB_BUTTONS);
  const button = [...buttons].find((button) => tabName(button) === name);
  button?.click();
  return button;
}

function sendToTab(name, message) {
  if (receivers[name]) receivers[name](message);
  else messages[name] = message;
  openTab(name)?.focus(); // for the keyboard: the button that was pressed is now hidden
}

// Once the script that calls this has run, `receiver` gets what other tabs send.
function receive(name, receiver) {
  receivers[name] = receiver;
  if (messages[name]) queueMicrotask(() => receiver(messages[name]));
}
