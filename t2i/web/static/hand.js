// A picture's subject moved by hand, through the attributes that the generator was taught: a drag on the subject moves
// it, the wheel or two fingers resize it, and a drag on the background lights or darkens it, or changes its greenery.

const DRAG_RANGE = 0.4; // of the picture's side, for an attribute from 0 to 1
const SUBJECT_RADIUS = 0.34; // of the picture's side, at the middle of the attributes
const SUBJECT_SHIFT = 0.15; // how far the subject then lies from the middle, at an attribute of 1
const WHEEL_RANGE = 800; // pixels of a wheel, for an attribute from 0 to 1
const HAND_STEP = 0.1; // of a key
const HAND_KEYS = {
  ArrowLeft: { Across: -1 },
  ArrowRight: { Across: 1 },
  ArrowUp: { Height: 1 },
  ArrowDown: { Height: -1 },
  "+": { Size: 1 },
  "=": { Size: 1 },
  "-": { Size: -1 },
};
const HAND_SHIFT_KEYS = {
  ArrowLeft: { Greenery: -1 },
  ArrowRight: { Greenery: 1 },
  ArrowUp: { Background: 1 },
  ArrowDown: { Background: -1 },
};

// Let hands and keys move what the picture in `node` shows. `read(name)` is an attribute's value; `change(steps)` gets
// what to add to attributes, by name.
function createHand(node, read, change) {
  const pointers = new Map(); // the last event of each
  let isOnSubject = true;

  // Where a pointer is, in sides of the picture from its middle, across and up.
  function locate({ clientX, clientY }) {
    const { left, top, width, height } = node.getBoundingClientRect();
    return [(clientX - left) / width - 0.5, 0.5 - (clientY - top) / height];
  }

  function isSubject(event) {
    const [across, up] = locate(event);
    const [x, y] = [read("Across"), read("Height")].map((value) => SUBJECT_SHIFT * value);
    return Math.hypot(across - x, up - y) < SUBJECT_RADIUS * (1 + 0.3 * read("Size"));
  }

  function getSpan() {
    const [[x, y], [u, v]] = [...pointers.values()].map(locate);
    return Math.hypot(x - u, y - v);
  }

  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || pointers.size === 2) return;
    node.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, event);
    isOnSubject = isSubject(event);
  });
  node.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) {
      node.style.cursor = isSubject(event) ? "grab" : "move";
      return;
    }
    const span = pointers.size === 2 && getSpan();
    pointers.set(event.pointerId, event);
    if (span) return change({ Size: Math.log2(getSpan() / span) });
    const [from, to] = [locate(last), locate(event)];
    const [across, up] = to.map((part, i) => (part - from[i]) / DRAG_RANGE);
    change(isOnSubject ? { Across: across, Height: up } : { Greenery: across, Background: up });
  });
  for (const type of ["pointerup", "pointercancel"]) {
    node.addEventListener(type, ({ pointerId }) => pointers.delete(pointerId));
  }
  node.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      change({ Size: -event.deltaY / WHEEL_RANGE });
    },
    { passive: false },
  );
  node.addEventListener("dragstart", (event) => event.preventDefault());
  node.addEventListener("keydown", (event) => {
    const steps = (event.shiftKey ? HAND_SHIFT_KEYS : HAND_KEYS)[event.key] ?? HAND_KEYS[event.key];
    if (!steps || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // arrows do not turn to another picture
    change(Object.fromEntries(Object.entries(steps).map(([name, step]) => [name, HAND_STEP * step])));
  });
}
