// A link says in its query what is on the screen. Being anybody's words, it is cut here, and each tab reads it as text
// and clamps every number. In a Space the page is a frame of its own address, which is what the link then names.

const LONGEST = 20_000; // characters of a query
const SAID = 2500; // ms that a button says what it has done
const LINK = new URLSearchParams(location.search.slice(0, LONGEST));

const clamp = (value, low, high) => Math.min(Math.max(Number(value) || 0, low), high); // what is no number is 0
const fields = (text, most) => (text ? text.split(",", most) : []);
const oneLine = (text) => text.slice(0, 1000).replace(/\s+/g, " "); // as a caption is typed

// `state()` tells what makes the pictures, as pairs for a query; `restore(query)` sets it, from an empty one as it first
// is; `stays()` says what of it no link brings. Returns the first two for whole queries, with the tab and the model; the
// tab starts from the page's link if it is for it.
function shareable(tab, state, restore, stays = () => "") {
  const share = find(".share");
  const told = find(".said");
  const amiss = make("p", { class: "amiss", role: "status" }); // above the words, where it is seen first
  (find(".ask, .intro") ?? share.closest("section")).prepend(amiss);
  menu.addEventListener("change", () => complain(amiss, ""));

  const query = () => String(new URLSearchParams([["tab", tab], ["model", menu.value], ...state()]));

  function go(query) {
    const model = query.get("model") ?? menu.value;
    complain(told, "");
    complain(amiss, spec(model) ? "" : `The link's model is not here. This is ${spec(props.model).title}.`);
    menu.value = spec(model) ? model : props.model;
    restore(query);
  }

  share.addEventListener("click", async () => {
    const whole = `?${query()}`;
    const link = location.origin + location.pathname + whole.slice(0, LONGEST);
    try {
      await navigator.clipboard.writeText(link);
      complain(told, "", whole.length > LONGEST ? "That is more than a link holds: its end is left out." : stays());
      brief(share, "Link copied");
    } catch {
      // Not every browser and frame lends its clipboard to a page.
      const field = make("input", { type: "text", readonly: "", value: link, "aria-label": "Link" });
      told.replaceChildren("Copy this link: ", field);
      field.select();
    }
  });

  go(LINK.get("tab") === tab ? LINK : new URLSearchParams());
  keepAddress(query);
  return { query, go };
}

// The address is the open tab's link as soon as something has been changed, so that a reload or the way back keeps it; what
// cannot be drawn is not kept. Of the rest of the query, what Gradio reads stays, such as __theme.
const REST = 700; // ms without a change: browsers refuse too many
const TAKEN = 6000; // characters that every server on the way takes

function keepAddress(query) {
  const first = query();
  let resting;

  function keep() {
    if (!element.offsetParent || awaitedNow || failed) return;
    const now = query();
    const old = new URLSearchParams(location.search);
    if (now === first && !old.has("tab")) return;
    const theirs = new URLSearchParams([...old].filter(([name]) => name === "view" || name.startsWith("__")));
    const whole = [theirs.toString(), now.slice(0, TAKEN)].filter(Boolean).join("&");
    history.replaceState(history.state, "", `${location.pathname}?${whole}${location.hash}`);
  }

  const soon = () => {
    clearTimeout(resting);
    resting = setTimeout(keep, REST);
  };
  whenAnswered = soon;
  document.addEventListener("click", soon); // a lock asks for nothing; another tab opens
}

// A button says for a moment what it has done, in its own place.
function brief(button, words) {
  const label = (button.dataset.label ??= button.textContent);
  button.textContent = words;
  clearTimeout(button.timer);
  button.timer = setTimeout(() => (button.textContent = label), SAID);
  say(words);
}
