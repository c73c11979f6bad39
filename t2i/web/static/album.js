// Thumbnails, each with the query that restores its state. They stay in this browser. Its storage may be full or
// forbidden: then they last as long as the page. Anybody may have written it: it is read like a link.

const MAX_RECENT = 16; // thumbnails
const RECENT_DELAY = 2000; // ms without a change
const THUMBNAIL_SIZE = 64; // pixels a side
const MAX_QUERY_LENGTH = 250_000; // characters; a query may hold photos
const PICTURE_PATTERN = /^data:image\/jpeg;base64,[A-Za-z0-9+/=]{1,40000}$/;

// A picture reduced to a thumbnail, a JPEG.
function thumbnailSource(image) {
  if (image.naturalWidth <= THUMBNAIL_SIZE && PICTURE_PATTERN.test(image.src)) return image.src;
  const canvas = make("canvas", { width: THUMBNAIL_SIZE, height: THUMBNAIL_SIZE });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, THUMBNAIL_SIZE, THUMBNAIL_SIZE);
  return canvas.toDataURL("image/jpeg", 0.92);
}

const isValidEntry = (entry) =>
  typeof entry?.query === "string" && entry.query.length <= MAX_QUERY_LENGTH && PICTURE_PATTERN.test(entry.picture);

// An album in `node`, stored under `key`; `open(query)` restores a state, `onChange` is called after every change. What is
// added to a full one takes the place of the oldest.
function createAlbum(tab, node, key, maxEntries, open, onChange = () => {}) {
  let entries = [];
  let isStored = true; // the storage has the same entries
  const queries = new Set();

  function read() {
    if (!isStored) return;
    try {
      const stored = JSON.parse(localStorage.getItem(key));
      entries = Array.isArray(stored) ? stored.filter(isValidEntry).slice(0, maxEntries) : [];
    } catch {
      // no storage, or not JSON
    }
  }

  function write(newEntries) {
    entries = newEntries.slice(0, maxEntries);
    try {
      localStorage.setItem(key, JSON.stringify(entries));
    } catch {
      isStored = false;
    }
    show();
  }

  function show() {
    queries.clear();
    entries.forEach(({ query }) => queries.add(query));
    node.hidden = !entries.length;
    node.querySelector("ul").replaceChildren(...entries.map(createThumbnail));
    onChange();
  }

  function createThumbnail({ query, picture }) {
    const words = new URLSearchParams(query).getAll("caption").join(" · ") || "no words";
    const item = make("li");
    const labels = { title: words, "aria-label": `Return to: ${words}` };
    const thumbnail = make("button", { type: "button", class: "thumbnail", ...labels });
    const forget = make("button", { type: "button", class: "forget", "aria-label": `Forget: ${words}` }, "×");
    thumbnail.append(make("img", { alt: "", width: 64, height: 64, src: picture }));
    thumbnail.addEventListener("click", () => open(query));
    forget.addEventListener("click", () => {
      remove(query);
      (node.hidden ? tab.find(".share") : node.querySelector(".thumbnail")).focus(); // for the keyboard
    });
    item.append(thumbnail, forget);
    return item;
  }

  // Another window may have changed the storage, so each change begins with reading it.
  function add(query, picture) {
    read();
    if (!entries.some((entry) => entry.query === query)) write([{ query, picture }, ...entries]);
  }

  function remove(query) {
    read();
    write(entries.filter((entry) => entry.query !== query));
  }

  read();
  show();
  function isFull() {
    read();
    return entries.length >= maxEntries;
  }

  return { add, remove, isFull, has: (query) => queries.has(query), queries: () => [...queries] };
}

// The album of a tab's last states. Returns a function to call with each new picture; its state is kept if it stands
// still for a while.
function createRecentAlbum(tab, { getQuery, go }) {
  const open = (query) => go(new URLSearchParams(query));
  const album = createAlbum(tab, tab.find(".recent"), `t2i-recent-${tab.name}`, MAX_RECENT, open);
  let timer;
  return (source) => {
    const query = getQuery(); // later, the page may hold words that cannot be drawn
    const image = Object.assign(new Image(), { src: source });
    clearTimeout(timer);
    timer = setTimeout(() => album.add(query, thumbnailSource(image)), RECENT_DELAY);
  };
}

Object.assign(t2i, {
  EMPTY_IMAGE,
  MAX_SENT_LENGTH,
  NO_ANSWER,
  REST_DELAY,
  RETRY_DELAY,
  clamp,
  createAlbum,
  createHand,
  createPrefetcher,
  createRecentAlbum,
  createTab,
  drawMixed,
  drawSquare,
  findModel,
  initialState,
  isExample,
  local,
  make,
  onDrag,
  openTab,
  pageLink,
  percent,
  receive,
  sendToTab,
  setDrawState,
  shareable,
  showNote,
  splitFields,
  statusText,
  thumbnailSource,
  toSingleLine,
});
