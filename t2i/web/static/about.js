// The tab "About", whose script first runs when it is opened: what the chosen model fails on is drawn then, and its card
// shown under it.

const SEEDS = [1, 2, 3, 4]; // what the words beside the pictures are about
const note = find(".note");

function figure([caption, words]) {
  const item = make("li");
  const row = make("div", { class: "row" });
  const images = SEEDS.map(() => make("img", { alt: "", width: 64, height: 64, src: EMPTY }));
  row.append(...images);
  item.append(row, make("b", {}, `“${caption}”`), make("span", {}, words));
  return { item, images, caption };
}

// What is said of a model that was left meanwhile is not said of the next one.
const tell = (name, ...words) => menu.value === name && complain(note, ...words);

async function dress() {
  const { name, title, failures } = spec(menu.value);
  const figures = failures.map(figure);
  find(".failures").replaceChildren(...figures.map(({ item }) => item));
  trigger("select", { model: name });
  complain(note, "", failures.length ? "" : `What ${title} fails on has not been written down.`);
  for (const { images, caption } of figures) {
    const reply = await answered(server.draw, { caption, seeds: SEEDS, model: name }, (why) => tell(name, why));
    tell(name, reply.error, reply.note);
    if (menu.value !== name || reply.error) return;
    images.forEach((image, i) => Object.assign(image, { src: reply.pictures[i], alt: i ? "" : caption }));
  }
}

menu.addEventListener("change", dress);
shareable("about", () => [], dress);
