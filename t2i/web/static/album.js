// Small pictures, each with the query that brings it back. They stay in this browser, whose storage may be full,
// forbidden or written by anybody: without it they last as long as the page, and what it holds is read as a link is.

const RECENT = 16; // pictures
const STILL = 2000; // ms
const THUMBNAIL = 64; // pixels of a side
const KEPT = 250_000; // characters of a query, which may hold photos
const PICTURE = /^data:image\/jpeg;base64,[A-Za-z0-9+/=]{1,40000}$/;

// As much of a picture as a thumbnail shows.
function small(image) {
  if (image.naturalWidth <= THUMBNAIL) return image.src;
  const canvas = make("canvas", { width: THUMBNAIL, height: THUMBNAIL });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, THUMBNAIL, THUMBNAIL);
  return canvas.toDataURL("image/jpeg", 0.92);
}

const sound = (entry) =>
  typeof entry?.query === "string" && entry.query.length <= KEPT && PICTURE.test(entry.picture);

// An album in `place`, of the `most` last pictures; `open(query)` brings one back, `changed` hears of every change.
function album(place, key, most, open, changed = () => {}) {
  let entries = [];
  let lasting = true; // what is here is also in the storage
  const kept = new Set(); // their queries

  function read() {
    if (!lasting) return;
    try {
      const found = JSON.parse(localStorage.getItem(key));
      entries = Array.isArray(found) ? found.filter(sound).slice(0, most) : [];
    } catch {} // no storage, or not our words
  }

  function keep(pictures) {
    entries = pictures.slice(0, most);
    try {
      localStorage.setItem(key, JSON.stringify(entries));
    } catch {
      lasting = false;
    }
    show();
  }

  function show() {
    kept.clear();
    entries.forEach(({ query }) => kept.add(query));
    place.hidden = !entries.length;
    place.querySelector("ul").replaceChildren(...entries.map(thumbnail));
    changed();
  }

  function thumbnail({ query, picture }) {
    const words = new URLSearchParams(query).getAll("caption").join(" · ") || "no words";
    const item = make("li");
    const back = make("button", { type: "button", class: "thumbnail", title: words, "aria-label": `Return to: ${words}` });
    const out = make("button", { type: "button", class: "out", "aria-label": `Forget: ${words}` }, "×");
    back.append(make("img", { alt: "", width: 64, height: 64, src: picture }));
    back.addEventListener("click", () => open(query));
    out.addEventListener("click", () => {
      remove(query);
      (place.hidden ? find(".share") : place.querySelector(".thumbnail")).focus(); // for the keyboard
    });
    item.append(back, out);
    return item;
  }

  // Another window may have changed what is stored, so each change begins with reading it.
  function add(query, picture) {
    read();
    if (!entries.some((entry) => entry.query === query)) keep([{ query, picture }, ...entries]);
  }

  function remove(query) {
    read();
    keep(entries.filter((entry) => entry.query !== query));
  }

  read();
  show();
  return { add, remove, has: (query) => kept.has(query), queries: () => [...kept] };
}

// The album of a tab's states: the function returned is told of each, and keeps those that stand still for a while.
function recall(tab, { query, go }) {
  const recent = album(find(".recent"), `t2i-recent-${tab}`, RECENT, (old) => go(new URLSearchParams(old)));
  let still;
  return (source) => {
    const drawn = query(); // by then the page may ask for what cannot be drawn
    const image = Object.assign(new Image(), { src: source });
    clearTimeout(still);
    still = setTimeout(() => recent.add(drawn, small(image)), STILL);
  };
}
