// The tab "About". Its script runs when the tab is first opened: only then are the failures of the chosen model drawn,
// and its card is shown.

const { EMPTY_IMAGE, findModel, make, showNote } = t2i;
const tab = t2i.createTab("about", element, server);
const { find, modelMenu } = tab;

const SEEDS = [1, 2, 3, 4]; // of the pictures that the words describe
const note = find(".note");

function createFailure([caption, words]) {
  const item = make("li");
  const row = make("div", { class: "row" });
  const images = SEEDS.map(() => make("img", { alt: "", width: 64, height: 64, src: EMPTY_IMAGE }));
  row.append(...images);
  item.append(row, make("b", {}, `“${caption}”`), make("span", {}, words));
  return { item, images, caption };
}

async function showModel() {
  const { name, title, failures } = findModel(modelMenu.value);
  const isCurrent = () => modelMenu.value === name;
  const showCurrentNote = (...texts) => isCurrent() && showNote(note, ...texts); // not about a model that was left
  const items = failures.map(createFailure);
  find(".failures").replaceChildren(...items.map(({ item }) => item));
  trigger("select", { model: name }); // shows the card
  showNote(note, "", failures.length ? "" : `What ${title} fails on has not been written down.`);
  for (const { images, caption } of items) {
    const draw = () => tab.draw([caption], { seeds: SEEDS }, { model: name });
    const reply = await tab.callUntilAnswered(draw, {}, (reason) => showCurrentNote(reason));
    showCurrentNote(reply.error, reply.note);
    if (!isCurrent() || reply.error) return;
    images.forEach((image, i) => Object.assign(image, { src: reply.pictures[i], alt: i ? "" : caption }));
  }
}

modelMenu.addEventListener("change", showModel);
t2i.shareable(tab, () => [], showModel);
