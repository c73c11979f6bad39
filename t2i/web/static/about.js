// The tab "About". Its script runs when the tab is first opened: only then are the failures of the chosen model drawn,
// and its card is shown.

const { EMPTY_IMAGE, findModel, make, showNote } = t2i;
const tab = t2i.createTab("about", element, server);
const { find, modelMenu } = tab;

const SEEDS = [1, 2, 3, 4]; // of the pictures that the words describe
const note = find(".failure-note");

function createFailure([caption, words]) {
  const item = make("li");
  const row = make("div", { class: "row" });
  const images = SEEDS.map(() => make("img", { alt: "", width: 64, height: 64, src: EMPTY_IMAGE }));
  row.append(...images);
  item.append(row, make("b", {}, `“${caption}”`), make("span", {}, words));
  return { item, images, caption };
}

// The figure shows the chosen model's own networks.
function showNetworks(name) {
  const { size, noise, embedding, isConditional, isProjected } = props.networks[name];
  const sides = [];
  for (let side = 4; side < size; side *= 2) sides.push(side);
  find(".sides").textContent = [...sides, size].join(" → ");
  find(".noise-size").textContent = `${noise} numbers`;
  find(".embedding-size").textContent = `${embedding.toLocaleString("en")} numbers`;
  find(".size").textContent = `${size}×${size}`;
  find(".critic").textContent = isProjected ? "on features" : `${size} → 4`;
  for (const part of element.querySelectorAll(".everywhere")) part.toggleAttribute("hidden", !isConditional);
  find("figcaption").textContent = isConditional
    ? "After Figure 2 of the paper. This generator also hears the sentence on the way, at every size up to 32×32."
    : "Figure 2 of the paper, as it is built here.";
  find(".beyond").textContent = isProjected
    ? "Beyond it, the discriminator builds on a network that knows photos, and every picture must give away its noise."
    : "Beyond it, the pictures of two seeds must differ, and every picture must give away its noise.";
}

async function showModel() {
  const { name, title, failures } = findModel(modelMenu.value);
  const isCurrent = () => modelMenu.value === name;
  const showCurrentNote = (...texts) => isCurrent() && showNote(note, ...texts); // not about a model that was left
  const items = failures.map(createFailure);
  find(".failures").replaceChildren(...items.map(({ item }) => item));
  showNetworks(name);
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
